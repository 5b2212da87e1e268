"""File-system events as wake-ups: they only say where to look, the scan decides.

Network drives tell nobody about what other machines do, so they get no events; their scans come by the clock.

On Windows the library is kept below 7 (pyproject.toml): from 7.0 on it hands events over only after a second without any, so
that a folder which is written to steadily gives none.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_engine.platforms.drives import network_drive
from data_engine.record import frozen

_KINDS = (
    "FileCreated",
    "FileModified",
    "FileAttrib",
    "FileMoved",
    "FileDeleted",
    "DirCreated",
    "DirMoved",
    "DirDeleted",
)


class FileEvents:
    """One watcher of folders for this process. Callbacks come from its thread, with the absolute path that changed.

    Not the library's polling observer, which costs a third of a core at 100,000 files and ends when a share is away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._observer: Any = None
        self._watched: dict[tuple[str, bool], _Watched] = {}

    def watch(self, folder: Path, tell: Callable[[str], None], *, recursive: bool) -> bool:
        """Call `tell` with the path of whatever changes under `folder`; whether events come at all.

        They do not for a network drive, for a folder that is not there, and when the system's watches are used up.
        """
        if network_drive(folder) is not None:
            return False
        with self._lock:
            key = (str(folder), recursive)
            watched = self._watched.get(key)
            if watched is None:
                try:
                    watched = self._watched[key] = _Watched(self._schedule(*key), set())
                except OSError:
                    return False
            watched.tells.add(tell)
            return True

    def forget(self, folder: Path, tell: Callable[[str], None], *, recursive: bool) -> None:
        """No longer call `tell`."""
        with self._lock:
            key = (str(folder), recursive)
            watched = self._watched.get(key)
            if watched is not None:
                watched.tells.discard(tell)
                if not watched.tells:
                    del self._watched[key]
                    with suppress(KeyError, OSError):
                        self._observer.unschedule(watched.watch)

    def close(self) -> None:
        """End the watcher's threads."""
        with self._lock:
            observer, self._observer = self._observer, None
            self._watched.clear()
        if observer is not None:
            observer.stop()
            observer.join()

    def _schedule(self, folder: str, recursive: bool) -> Any:
        import watchdog.events

        from data_engine.platforms.drives import new_observer

        if self._observer is None:
            import logging

            # What it says of its own threads is for whoever has set logging up, not for standard error.
            logging.getLogger("watchdog").addHandler(logging.NullHandler())
            self._observer = new_observer()
            self._observer.daemon = True
            self._observer.start()
        # Not DirModified: it comes with every file, and would have the whole folder looked through for each.
        kinds = [getattr(watchdog.events, f"{kind}Event", None) for kind in _KINDS]
        handler = _Handler(lambda path: self._pass_on((folder, recursive), path))
        return self._observer.schedule(
            handler, folder, recursive=recursive, event_filter=[kind for kind in kinds if kind is not None]
        )

    def _pass_on(self, key: tuple[str, bool], path: str) -> None:
        watched = self._watched.get(key)
        if watched is not None:
            for tell in tuple(watched.tells):
                tell(path)


class FolderEvents:
    """The events of one folder, or of a single file's; `tell` gets the paths. Without `events` none ever come."""

    def __init__(self, events: FileEvents | None, root: Path, tell: Callable[[str], None]) -> None:
        self._events, self._root, self._tell = events, root, tell
        self._heard: tuple[Path, bool, tuple[int, int]] | None = None

    @property
    def come(self) -> bool:
        """Whether events come, as far as is known."""
        return self._heard is not None

    def listen(self) -> bool:
        """Listen to the folder that is there now, which may be another one than before; whether events come."""
        if self._events is None:
            return False
        try:
            facts = os.stat(self._root)
            folder, is_deep = self._root, True
            if not stat.S_ISDIR(facts.st_mode):
                folder, is_deep = self._root.parent, False
                facts = os.stat(folder)
        except OSError:
            self.forget()
            return False
        place = (folder, is_deep, (facts.st_dev, facts.st_ino))
        if self._heard != place:
            self.forget()
            if not self._events.watch(folder, self._tell, recursive=is_deep):
                return False
            self._heard = place
        return True

    def forget(self) -> None:
        """Listen no longer."""
        if self._heard is not None and self._events is not None:
            folder, is_deep, _ = self._heard
            self._events.forget(folder, self._tell, recursive=is_deep)
            self._heard = None


@frozen
class _Watched:
    watch: Any
    tells: set[Callable[[str], None]]


class _Handler:
    """What the library calls a handler: it needs no more than `dispatch`."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def dispatch(self, event: Any) -> None:
        """Tell of the path, and of the new one when something moved: a writer that renames shows only so."""
        for path in (event.src_path, event.dest_path):
            if path:
                self._tell(os.fsdecode(path))
