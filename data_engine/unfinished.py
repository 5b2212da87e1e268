"""Remove what an atomic write leaves behind when its process is killed, by a note that was made before.

A kill in the middle leaves a hidden file beside the target, `.a.parquet.<12 hex digits>.tmp`, in a folder of the user's that
nobody scans. So its path is noted first, on this machine, under a lock that ends with the writer. A note whose lock is free is
a dead writer's: the file is removed, and then the note. Nothing is guessed from names or times, and only files that a writer of
this machine and user has noted are touched; a file on a drive that is away is removed when the drive is back.

    notes = <state root>/unfinished/<id>.json, <id>.lock
    note  = {"path": the file, "device": the device number of its folder}
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_engine import private
from data_engine.errors import FlowValidationError
from data_engine.files import atomic_target, fresh_name
from data_engine.locks import OsLock
from data_engine.platforms.host import host_name

_NAME = re.compile(r"\..+\.[0-9a-f]{12}\.tmp", re.DOTALL)
_swept: set[Path] = set()


@contextmanager
def noted_target(target: Path) -> Iterator[Path]:
    """The same as `files.atomic_target`; what a kill leaves behind is removed by the next write, or by the daemon.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with noted_target(target) as fresh:
        ...     _ = fresh.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    fresh = fresh_name(target)
    with _noted(fresh), atomic_target(target, fresh=fresh):
        yield fresh


def remove_unfinished() -> None:
    """Remove what killed writers of this machine and user have left behind, and their notes."""
    folder = _folder()
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for identity in {name.rpartition(".")[0] for name in names}:
        note, lock = _note(folder, identity), _lock(folder, identity)
        with suppress(FlowValidationError):
            if lock.try_acquire():
                if _is_done_with(note):
                    _forget(note, lock)
                lock.release()


@contextmanager
def _noted(fresh: Path) -> Iterator[None]:
    """Keep a note of `fresh` until it is gone; a machine that cannot keep notes writes all the same."""
    folder = _folder()
    if folder not in _swept:
        _swept.add(folder)
        remove_unfinished()
    identity = secrets.token_hex(8)
    note, lock = _note(folder, identity), _lock(folder, identity)
    try:
        private.make_folder(folder)
        facts = {"path": str(fresh.absolute()), "device": fresh.parent.stat().st_dev}
        with open(note, "w", encoding="ascii", opener=private.open_file) as file:
            json.dump(facts, file)
        # In this order: a remover holds the lock and takes the note away first, so a note that is still there is under our lock.
        if not lock.try_acquire() or not note.exists():
            _forget(note, lock)
    except (OSError, FlowValidationError):  # a full or read-only state root
        _forget(note, lock)
    try:
        yield
    finally:
        _forget(note, lock)
        lock.release()


def _is_done_with(note: Path) -> bool:
    """Remove what the note of a dead writer names; False while its drive cannot be asked."""
    try:
        facts = json.loads(note.read_bytes())
        path, device = Path(facts["path"]), int(facts["device"])
    except (OSError, ValueError, TypeError, LookupError):
        return True  # it was killed before or while it wrote the note, when the file was not there yet, or after it was done
    try:
        if path.is_absolute() and _NAME.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
            path.unlink()
    except FileNotFoundError:
        try:
            return path.parent.stat().st_dev == device  # else it may lie on a drive that is not connected now
        except OSError:
            return False
    except OSError:
        return False
    return True


def _forget(note: Path, lock: OsLock) -> None:
    with suppress(OSError):
        note.unlink(missing_ok=True)
        lock.path.unlink(missing_ok=True)


def _note(folder: Path, identity: str) -> Path:
    return folder / f"{identity}.json"


def _lock(folder: Path, identity: str) -> OsLock:
    return OsLock(folder / f"{identity}.lock")


def _folder() -> Path:
    """The folder of the notes; found here and not in `workspace.machine`, as an author's script writes without any workspace."""
    base = os.environ.get("DATA_ENGINE_STATE_ROOT", "").strip()
    if not base:
        import platformdirs

        base = platformdirs.user_state_dir("data_engine", appauthor=False)
    host = re.sub(r"[^\w.-]", "-", host_name().lower()).strip(".-") or "host"
    return Path(base).expanduser() / host / "unfinished"
