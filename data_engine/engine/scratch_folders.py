"""The scratch folders of this process: one for each flow that was previewed, gone when the process ends.

A folder of a process that died is removed by the next one that makes its own: an OS lock tells that nobody uses it.
"""

from __future__ import annotations

import atexit
import os
import tempfile
import threading
import uuid
from contextlib import suppress
from pathlib import Path

from data_engine import nofollow, private
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.scratch import Scratch
from data_engine.flow.flow import Flow
from data_engine.locks import OsLock
from data_engine.platforms.access import user_name

_lock = threading.Lock()
_folders: dict[Path, tuple[Path, OsLock]] = {}
_scratches: dict[tuple[Path, str], Scratch] = {}


def scratch_of(flow: Flow, home: LocalWorkspace | None, *, limit_bytes: int, of: str = "") -> Scratch:
    """Where previews of the flow write in this process; those `of` something else have a place of their own.

    Raises:
        LedgerError: no folder can be made on this machine.
    """
    base = Path(tempfile.gettempdir()) / f"data-engine-{user_name()}" if home is None else home.local.runtime_dir
    name = f"{flow.name or 'flow'}{of}"
    mirror = None if flow.mirror_spec is None else flow.mirror_spec.root
    databases = None if home is None else home.layout.root / "databases"
    with _lock:
        folder = _folder_in(base / "scratch")
        known = _scratches.get((folder, name))
        if known is None or not known.serves(mirror, databases, limit_bytes):
            if known is not None:
                nofollow.remove_tree(folder, known.folder)
            known = Scratch(folder / name, mirror_root=mirror, databases=databases, limit_bytes=limit_bytes)
            _scratches[folder, name] = known
        return known


def forget_scratch(scratch: Scratch) -> None:
    """Remove this scratch folder with all that is in it."""
    with _lock:
        for key, known in list(_scratches.items()):
            if known is scratch:
                del _scratches[key]
                with suppress(OSError):
                    nofollow.remove_tree(key[0], scratch.folder)


def _folder_in(base: Path) -> Path:
    """This process's own folder in `base`, made once; those of processes that are gone are removed."""
    known = _folders.get(base)
    if known is not None and known[0].is_dir() and known[1].is_held:
        return known[0]
    private.make_folder(base)
    name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    lock = OsLock(base / f"{name}.lock")
    lock.try_acquire()
    _remove_abandoned(base)
    folder = base / name
    private.make_folder(folder)
    if not _folders:
        atexit.register(remove_scratch)
    _folders[base] = folder, lock
    return folder


def _remove_abandoned(base: Path) -> None:
    for path in base.glob("*.lock"):
        lock = OsLock(path)
        if lock.try_acquire():
            nofollow.remove_tree(base, path.with_suffix(""))
            path.unlink(missing_ok=True)
            lock.release()


def remove_scratch() -> None:
    """Remove what previews of this process wrote to scratch."""
    for base, (folder, lock) in list(_folders.items()):
        if lock.is_held:  # not in a forked child
            with suppress(OSError):
                nofollow.remove_tree(base, folder)
                lock.path.unlink(missing_ok=True)
            lock.release()
    _folders.clear()
    _scratches.clear()
