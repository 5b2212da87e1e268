"""What a file, a folder or a pattern looked like, so that a change is noticed.

A file's signature is its times, size and inode. Times are coarse (two seconds on some drives), so for a file that was
changed just before it was looked at, its content counts too; once that has been compared later than the coarsest clock
could hide a change, the times suffice.

Reference: "racy git", https://git-scm.com/docs/racy-git: an entry as new as the look at it cannot be trusted.
"""

from __future__ import annotations

import glob as globbing
import hashlib
import os
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

from data_engine.platforms.copies import head_of
from data_engine.platforms.files import changed_ns
from data_engine.record import frozen

Kind = Literal["content", "stat", "kind", "folder", "names", "entries", "link", "database", "tree"]
"""What of a path was read: its content; all its facts; what it is, or only whether it is a folder; a folder's names, or its entries
with their facts; where its links lead; a database with its log; everything below it, or below where its pattern starts."""

_RACY_NS = 2_000_000_000
_LATER_NS = 2**63
_MAX_HASHED_BYTES = 64 * 1024 * 1024
_MAX_ENTRIES = 20_000

# Kept from before any preview wraps them, so that looking at a signature is never taken for a read.
_stat, _lstat, _scandir, _listdir = os.stat, os.lstat, os.scandir, os.listdir
_realpath, _exists, _islink, _isdir = os.path.realpath, os.path.exists, os.path.islink, os.path.isdir


@frozen
class Signature:
    """What was seen: `facts` (None: nothing there), and for what was changed just before, its `content` too.

    `fresh_ns` is the newest change so young that the facts alone could hide another one, 0 when there is none; with
    `content` None nobody can tell then. `at_ns` is the time it was taken.
    """

    facts: object
    fresh_ns: int = 0
    content: str | None = None
    at_ns: int = 0


UNREADABLE = Signature("too large to check", fresh_ns=1)
"""What is never as it was."""


def signature_of(kind: Kind, path: str, now_ns: int | None = None) -> Signature:
    """What `path` signatures like now; a change after two seconds before `now_ns` is a fresh one."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    try:
        if kind == "content":
            return _file_signature(path, now_ns)
        if kind == "database":
            return _database_signature(path, now_ns)
        if kind == "tree":
            return _tree_signature(path, now_ns)
        if kind == "kind":
            return Signature(_kind_of(path))
        if kind == "folder":
            return Signature(_isdir(path))
        if kind == "stat":
            return _facts_signature(path, now_ns)
        if kind == "names":
            return Signature(tuple(sorted(os.fsdecode(name) for name in _listdir(path))))
        if kind == "entries":
            return _entries_signature([path], now_ns, is_deep=False)
        return Signature(_realpath(path))
    except (OSError, ValueError):
        return Signature(None)


def compare(kind: Kind, path: str, before: Signature) -> Signature | None:
    """None when `path` is not surely as it was; else the signature to remember from now on."""
    if before is UNREADABLE or (before.fresh_ns and before.content is None):
        return None
    started_ns = time.time_ns()
    # The same freshness, so that the same contents are compared; none where the facts suffice.
    now = signature_of(kind, path, before.at_ns if before.fresh_ns else _LATER_NS)
    if now.facts != before.facts or (before.fresh_ns and now.content != before.content):
        return None
    is_settled = before.fresh_ns and before.fresh_ns < started_ns - _RACY_NS
    return replace(before, fresh_ns=0, content=None) if is_settled else before


def _file_signature(path: str, now_ns: int) -> Signature:
    facts = _stat(path)
    if _is_folder(facts):
        return _tree_signature(path, now_ns)
    if not stat.S_ISREG(facts.st_mode):
        return UNREADABLE
    return _content_signature(path, facts, now_ns)


def _facts_signature(path: str, now_ns: int) -> Signature:
    facts = _stat(path)
    return (
        Signature(_numbers(path, facts)) if not stat.S_ISREG(facts.st_mode) else _content_signature(path, facts, now_ns)
    )


def _content_signature(path: str, facts: os.stat_result, now_ns: int) -> Signature:
    fresh_ns = _fresh(path, facts, now_ns)
    return Signature(_numbers(path, facts), fresh_ns, _hash(path) if fresh_ns else None, now_ns)


def _database_signature(path: str, now_ns: int) -> Signature:
    signatures = [signature_of("content", path, now_ns)]
    for beside in (f"{path}.wal", f"{path}-wal", f"{path}-journal"):
        found = signature_of("content", beside, now_ns)
        is_empty = isinstance(found.facts, tuple) and found.facts[2] == 0
        signatures.append(Signature(None) if is_empty else found)  # opening a database makes an empty log
    return _joined(tuple(one.facts for one in signatures), signatures, now_ns)


def _tree_signature(path: str, now_ns: int) -> Signature:
    if not globbing.has_magic(path) or _exists(path):
        return _entries_signature([path], now_ns, is_deep=True)
    start = path
    while globbing.has_magic(start):
        start = os.path.dirname(start)
    return _entries_signature([start or "."], now_ns, is_deep=globbing.has_magic(os.path.dirname(path)))


def _entries_signature(folders: list[str], now_ns: int, *, is_deep: bool) -> Signature:
    seen: list[object] = []
    fresh: list[Signature] = []
    while folders:
        folder = folders.pop()
        with _scandir(folder) as entries:
            found = sorted(entries, key=lambda one: one.name)
        for entry in found:
            if len(seen) >= _MAX_ENTRIES:
                return UNREADABLE
            try:
                facts = _stat(entry.path)
            except OSError:
                seen.append((entry.path, "broken"))
                continue
            if _is_folder(facts):
                seen.append((entry.path, _realpath(entry.path) if entry.is_symlink() else "folder"))
                if is_deep:
                    folders.append(entry.path)
                continue
            seen.append((entry.path, _numbers(entry.path, facts)))
            if _fresh(entry.path, facts, now_ns):
                fresh.append(_content_signature(entry.path, facts, now_ns))
    return _joined(tuple(seen), fresh, now_ns)


def _joined(facts: object, signatures: list[Signature], now_ns: int) -> Signature:
    fresh = [one for one in signatures if one.fresh_ns]
    texts = [one.content for one in fresh]
    content = None if None in texts else " ".join(map(str, texts))
    return Signature(facts, max((one.fresh_ns for one in fresh), default=0), content, now_ns)


def _fresh(path: str, facts: os.stat_result, now_ns: int) -> int:
    newest_ns = max(facts.st_mtime_ns, changed_ns(path, facts))
    return newest_ns if newest_ns > now_ns - _RACY_NS else 0


def _is_folder(facts: os.stat_result) -> bool:
    return stat.S_ISDIR(facts.st_mode)


def _numbers(path: str, facts: os.stat_result) -> tuple[int, ...]:
    return (facts.st_mtime_ns, changed_ns(path, facts), facts.st_size, facts.st_ino, facts.st_dev, facts.st_mode)


def _kind_of(path: str) -> str | None:
    try:
        mode = _stat(path).st_mode
    except (OSError, ValueError):
        try:
            return "broken link" if stat.S_ISLNK(_lstat(path).st_mode) else None
        except (OSError, ValueError):
            return None
    return f"{stat.S_IFMT(mode)} {_islink(path)}"


def _hash(path: str) -> str | None:
    try:
        size = _stat(path).st_size
        if size > _MAX_HASHED_BYTES:
            return None
        return hashlib.blake2b(head_of(Path(path), size), digest_size=16).hexdigest()
    except OSError:
        return None
