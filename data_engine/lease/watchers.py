"""Which other machines watch the owner and can tell people of it: a small file each on the share, renewed rarely.

    watchers/<16 hex digits>.json    one machine, with a beat; the digits are made of its name

Whether one is there is judged as everything else is: by when its file was seen to change on the own clock.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace

from data_engine.lease.folder import FileSystem
from data_engine.lease.protocol import NEVER, Damaged, Limits
from data_engine.lease.records import encode, fields_of
from data_engine.lease.removal import clear_way, names_in, put, unlink
from data_engine.nofollow import NotFollowedError
from data_engine.record import frozen

ROOT = "watchers"
MOST_WATCHERS = 200
"""At once; who finds more looks at the first."""

LARGEST_WATCHER_BYTES = 16_000
_LONG_GONE_S = 86_400.0
_NAME = re.compile(r"[0-9a-f]{16}\.json")


def renew_s(limits: Limits) -> float:
    """How often a watcher says that it is there: each five minutes, where an owner may be silent for 90 s."""
    return limits.stale_after_s * 10 / 3


def gone_s(limits: Limits) -> float:
    """So long after its last sign nobody counts on a watcher any more."""
    return limits.stale_after_s * 10


def look_s(limits: Limits) -> float:
    """How often the signs of others are looked at."""
    return limits.stale_after_s * 2 / 3


@frozen
class Watcher:
    """One machine that watches and can tell people; `beat` counts its signs."""

    machine_id: str
    host_name: str
    daemon_id: str
    beat: int

    @property
    def shown(self) -> str:
        """What people know it by."""
        return self.host_name or self.machine_id


@frozen
class Heard:
    """A watcher as it was last seen, and when that was seen to be new; never, where it lay there at the first look."""

    watcher: Watcher
    moved_s: float = NEVER


@frozen
class Others:
    """What one machine knows of the others that watch. `since_s` is its first look, None before it."""

    since_s: float | None = None
    heard: tuple[Heard, ...] = ()

    def after(self, listed: Mapping[str, Watcher], now_s: float) -> Others:
        """After a look that showed these, by machine."""
        known = {one.watcher.machine_id: one for one in self.heard}
        found = []
        for machine_id, watcher in sorted(listed.items()):
            before = known.get(machine_id)
            if before is not None and before.watcher == watcher:
                found.append(before)
            else:
                is_old = before is None and self.since_s is None
                found.append(Heard(watcher, NEVER if is_old else now_s))
        return replace(self, since_s=now_s if self.since_s is None else self.since_s, heard=tuple(found))

    def long_gone(self, now_s: float) -> tuple[str, ...]:
        """The machines that have given no sign for a day."""
        since_s = now_s if self.since_s is None else self.since_s
        gone = (one for one in self.heard if now_s - max(one.moved_s, since_s) > _LONG_GONE_S)
        return tuple(one.watcher.machine_id for one in gone)

    def names(self, now_s: float, limits: Limits) -> tuple[str, ...] | None:
        """The machines that watch, for people; none when nobody does, None as long as that is not known.

        Example:
            >>> ben = {"m2": Watcher("m2", "BEN-PC", "d1", 1)}
            >>> first = Others().after(ben, 0.0)
            >>> second = first.after({"m2": replace(ben["m2"], beat=2)}, 300.0)
            >>> first.names(10.0, Limits()), second.names(310.0, Limits()), second.names(1300.0, Limits())
            (None, ('BEN-PC',), ())
        """
        is_here = tuple(one.watcher.shown for one in self.heard if now_s - one.moved_s < gone_s(limits))
        if is_here:
            return is_here
        is_known = self.since_s is not None and (not self.heard or now_s - self.since_s >= gone_s(limits))
        return () if is_known else None


class WatcherFiles:
    """The signs of the machines that watch one workspace; `new_id` names what is being written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from data_engine.lease.folder import OsFolder
        >>> files = WatcherFiles(OsFolder(Path(tempfile.mkdtemp())), iter("abcdef").__next__)
        >>> files.put(Watcher("m2", "BEN-PC", "d1", 1)), [one.shown for one in files.listed().values()]
        (None, ['BEN-PC'])
        >>> files.remove("m2"), files.listed()
        (None, {})
    """

    def __init__(self, folder: FileSystem, new_id: Callable[[], str]) -> None:
        self.folder = folder
        self.left_alone: dict[str, str] = {}
        self._new_id = new_id

    def put(self, watcher: Watcher) -> None:
        """Say that this machine watches.

        Raises:
            OSError: the share is away, full or read-only.
        """
        path, record = _path(watcher.machine_id), encode(asdict(watcher))
        try:
            put(self.folder, path, record, self._new_id())
        except (NotFollowedError, NotADirectoryError):
            self.left_alone |= clear_way(self.folder, path, self._new_id(), to="file")
            put(self.folder, path, record, self._new_id())

    def listed(self) -> dict[str, Watcher]:
        """The machines that have said so, by their id; a file that cannot be read is none.

        Raises:
            OSError: the share is away.
        """
        found: dict[str, Watcher] = {}
        try:
            names = [name for name in names_in(self.folder, ROOT) if _NAME.fullmatch(name)]
        except (NotFollowedError, NotADirectoryError) as error:
            self.left_alone[ROOT] = error.strerror or str(error)
            return found
        self.left_alone.pop(ROOT, None)
        for name in sorted(names)[:MOST_WATCHERS]:
            with suppress(FileNotFoundError, NotFollowedError, IsADirectoryError, Damaged):
                watcher = watcher_of(self.folder.read(f"{ROOT}/{name}", LARGEST_WATCHER_BYTES))
                if _path(watcher.machine_id) == f"{ROOT}/{name}":
                    found[watcher.machine_id] = watcher
        return found

    def remove(self, machine_id: str) -> None:
        """Say that this machine does not watch any more.

        Raises:
            OSError: the share is away or read-only.
        """
        with suppress(NotFollowedError, NotADirectoryError, IsADirectoryError):
            unlink(self.folder, _path(machine_id))


def watcher_of(data: bytes) -> Watcher:
    """The sign stored as `data`.

    Raises:
        Damaged: it is none.
    """
    return Watcher(**fields_of(Watcher, data, "watcher", LARGEST_WATCHER_BYTES))


def _path(machine_id: str) -> str:
    return f"{ROOT}/{hashlib.sha256(machine_id.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}.json"
