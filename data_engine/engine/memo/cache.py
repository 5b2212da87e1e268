"""Keep the results of previewed steps and what each was made of, and say why a step cannot be reused."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_engine.engine.access.access_log import Kind, Namespace, PathState, compare, signature_of
from data_engine.engine.access.code import is_authored
from data_engine.engine.memo.caption import PreviewedStep
from data_engine.engine.memo.fingerprint import value_digest
from data_engine.engine.scratch import ScratchFile
from data_engine.record import frozen

DEFAULT_CACHE_BYTES = 1024**3
"""The limit for a flow that belongs to no workspace."""

_MAX_ENTRIES = 2000
Reads = dict[tuple[Kind, str], PathState]
"""The signature of each path, by what of it was read."""

Place = tuple[str, ...]
"""The place of a step, whatever its code: workspace, flow, group, source, name and number among its namesakes."""


@dataclass(slots=True)
class CacheEntry:
    """The result of one run of a step, and all it depended on beside its key.

    `unseen` is why it can never be reused, `report` what people read about it; `same_as` is the input that it handed on;
    `shares` says that its value holds a part of another's, `is_stateful` that its value can be used up. `versions` tells which
    contents it read of files that earlier steps wrote, `scratch` what it wrote itself to the preview's own folder.
    """

    reads: Reads
    frames: dict[tuple[int, str], tuple[Namespace, bytes]]
    files: Reads
    versions: Mapping[str, str]
    report: PreviewedStep
    out_key: bytes = b""
    unseen: str | None = None
    needs_order: bool = False
    scratch: dict[Path, ScratchFile] = field(default_factory=dict)
    is_stateful: bool = False
    same_as: str | None = None
    shares: bool = False
    classes: frozenset[type] = frozenset()
    value: Any = None
    size_bytes: int = 0

    @property
    def kept_bytes(self) -> int:
        """The size of the copies that are kept of what it wrote to scratch."""
        return sum(file.copy.size_bytes for file in self.scratch.values() if file.copy is not None)


@frozen
class StepMakeup:
    """The parts of a step when it was last previewed, to say what changed."""

    parts: Mapping[str, bytes]
    consumed: Mapping[str, bytes]


class PreviewCache:
    """Results of previewed steps, the least recently used dropped first; safe for several threads.

    Values in memory, and copies of files on the drive, may each be as large as the limit; a copy goes with its last entry.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, CacheEntry] = OrderedDict()
        self._pasts: OrderedDict[Place, StepMakeup] = OrderedDict()
        self._in_order: set[Place] = set()
        self._used_bytes = 0
        self._kept_bytes = 0

    @property
    def used_bytes(self) -> int:
        """The estimated size of what is kept in memory."""
        return self._used_bytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._pasts.clear()
            self._used_bytes = self._kept_bytes = 0

    def get(self, key: bytes) -> CacheEntry | None:
        """The entry of a key, now the most recently used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def put(self, key: bytes, entry: CacheEntry, limit_bytes: int) -> None:
        """Keep an entry, dropping the least recently used ones beyond `limit_bytes`."""
        if entry.kept_bytes > limit_bytes:
            entry.scratch = {path: replace(file, copy=None) for path, file in entry.scratch.items()}
        with self._lock:
            before = self._entries.pop(key, None)
            if before is not None:
                self._count(before, -1)
            self._count(entry, 1)
            self._entries[key] = entry
            while self._entries and (
                max(self._used_bytes, self._kept_bytes) > limit_bytes or len(self._entries) > _MAX_ENTRIES
            ):
                self._count(self._entries.popitem(last=False)[1], -1)

    def _count(self, entry: CacheEntry, sign: int) -> None:
        self._used_bytes += sign * entry.size_bytes
        self._kept_bytes += sign * entry.kept_bytes

    def needs_order(self, place: Place) -> bool:
        """Whether a step of this flow changed more than its result last time."""
        return place in self._in_order

    def set_order(self, place: Place, *, needed: bool) -> None:
        """Remember whether a step did."""
        (self._in_order.add if needed else self._in_order.discard)(place)

    def past(self, place: Place, now: StepMakeup) -> StepMakeup | None:
        """The last makeup of the step at `place`; from now on it is `now`."""
        with self._lock:
            before = self._pasts.pop(place, None)
            self._pasts[place] = now
            while len(self._pasts) > _MAX_ENTRIES:
                self._pasts.popitem(last=False)
            return before


def signatures_of(literals: frozenset[str], ours: tuple[str, ...]) -> Reads:
    """Signatures of the paths written in the code, which a native reader may open unwatched."""
    signatures: Reads = {}
    for text in literals:
        path = os.path.abspath(os.path.expanduser(text))
        if path.startswith(ours):
            continue
        kind: Kind = "content" if os.path.isfile(path) else "kind"
        signatures[kind, path] = signature_of(kind, path)
    return signatures


def facts_of(signatures: Mapping[tuple[Kind, str], PathState]) -> list[tuple[str, str, str | None]]:
    return sorted((repr(place), repr(signature.facts), signature.content) for place, signature in signatures.items())


class Comparisons:
    """Files compared with what they were, each once until a step runs, which may change them."""

    def __init__(self, source: Path | None, workspace_root: Path | None) -> None:
        self._source = source
        self._root = workspace_root
        self._signatures: dict[tuple[Kind, str, PathState], PathState | None] = {}

    def forget(self) -> None:
        """Compare everything anew."""
        self._signatures.clear()

    def why_moved(self, entry: CacheEntry) -> str | None:
        """Say what the step read or left behind that is not as it was; signatures that have settled are renewed."""
        for (kind, path), before in entry.reads.items():
            now = self._compare(kind, path, before)
            if now is None:
                return f"{self._called(path)} changed"
            entry.reads[kind, path] = now
        for (kind, path), before in entry.files.items():
            now = self._compare(kind, path, before)
            if now is None:
                return f"file {os.path.basename(path)} is {'changed' if os.path.exists(path) else 'gone'}"
            entry.files[kind, path] = now
        for (_, name), (space, digest) in entry.frames.items():
            if name not in space or value_digest(space[name]) != digest:
                return f"constant {name} changed"
        return None

    def _compare(self, kind: Kind, path: str, before: PathState) -> PathState | None:
        key = (kind, path, replace(before, at_ns=0))  # the same facts and content: the same files were fresh
        if key not in self._signatures:
            self._signatures[key] = compare(kind, path, before)
        return self._signatures[key]

    def _called(self, path: str) -> str:
        name = os.path.basename(path) or path
        if self._source is not None and path == str(self._source):
            return f"source {name}"
        if self._root is not None and os.path.dirname(path) == str(self._root / "config"):
            return f"config {name}"
        is_database = self._root is not None and path.startswith(str(self._root / "databases"))
        return f"database {name}" if is_database else f"file {name}"


def why_defined_anew(entry: CacheEntry, classes: Iterable[frozenset[int]]) -> str | None:
    """Say which class of the kept result the code has defined again since: `isinstance` would tell the two apart."""
    now = frozenset[int]().union(*classes)
    for kind in entry.classes:
        if id(kind) not in now and is_authored(kind.__module__):
            return f"class {kind.__name__} was defined again"
    return None


def why_no_entry(before: StepMakeup | None, now: StepMakeup) -> str:
    """Say what changed of the step since its last preview, when nothing is kept under its key."""
    if before is None:
        return "first preview"
    changed = _changed(before.parts, now.parts)
    if changed:
        named = [label for label in changed if label in now.parts and label in before.parts and label[:4] != "its "]
        own = "its code" if "its code" in changed else changed[0]
        return f"{named[0].partition('#')[0] if named else own} changed"
    moved = _changed(before.consumed, now.consumed)
    if moved:
        return "params changed" if moved[0] == "params" else f"{moved[0].partition(' (')[0]} before it changed"
    return "its result is no longer kept"


def _changed(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> list[str]:
    return [label for label in {**now, **before} if now.get(label) != before.get(label)]
