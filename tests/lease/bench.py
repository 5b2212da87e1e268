"""Machines on one share in memory whose clock the test moves, and a place to interfere with any file operation."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from data_engine.lease.folder import LARGEST_READ_BYTES, Kind
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Ambient, Observer
from data_engine.lease.protocol import Identity, Limits, View
from tests.lease.simulated_share import MUTATIONS, Share

LIMITS = Limits(30, 90)
Interfere = Callable[[str, tuple[Any, ...]], None]


class Bench:
    """One share, one clock in seconds, and the operations done on the share."""

    def __init__(self, *, replaces_empty: bool = True) -> None:
        self.share = Share(replaces_empty)
        self.now = 1000.0
        self.done: list[tuple[str, str]] = []
        self.folders: dict[str, Folder] = {}
        self._ids = 0

    def new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:06x}"

    def machine(
        self,
        name: str,
        *,
        limits: Limits = LIMITS,
        daemon: str = "1",
        lock_id: str = "",
        host_id: str = "",
        holds_lock: bool = True,
        known: int = 0,
        nonce: str = "",
        repairs: Collection[str] = (),
        version: str = "1.0",
    ) -> Observer:
        """An observer; its way to the share is `folders[name]`."""
        me = Identity(
            name, f"{name}{daemon}", f"{name}-PC", 4711, version, lock_id or f"lock-{name}", host_id or "host"
        )
        self.folders[name] = Folder(self)
        return Observer(
            self.folders[name],
            me,
            workspace="w",
            limits=limits,
            holds_lock=lambda: holds_lock,
            known_list=(known, nonce, repairs),
            ambient=Ambient(lambda: self.now, lambda: "2026-01-01T00:00:00+00:00", self.new_id),
        )

    def owner(self, name: str = "A", **others: Any) -> tuple[Observer, HeldLease]:
        """A machine that has claimed the free workspace."""
        observer = self.machine(name, **others)
        return observer, observer.claim(observer.poll())

    def watch(self, observer: Observer, seconds: float) -> View:
        """Let `observer` look every poll interval for so long; the last view."""
        view = observer.poll()
        end_s = self.now + seconds
        while self.now < end_s:
            self.now = min(end_s, self.now + view.limits.poll_s)
            view = observer.poll()
        return view

    @property
    def written(self) -> list[tuple[str, str]]:
        """The operations that change the share."""
        return [(name, path) for name, path in self.done if name in MUTATIONS]


class Folder:
    """One machine's way to the share; `before` sees every operation and may raise, `after` may raise when it was done."""

    readers = 1

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.before: Interfere = lambda name, args: None
        self.after: Interfere = lambda name, args: None

    def read(self, path: str, limit: int = LARGEST_READ_BYTES) -> bytes:
        found: bytes = self._do("read", path, limit)
        return found

    def kind(self, path: str) -> Kind:
        found: Kind = self._do("kind", path)
        return found

    def listdir(self, path: str) -> list[str]:
        names: list[str] = self._do("listdir", path)
        return names

    def write(self, path: str, data: bytes) -> None:
        self._do("write", path, data)

    def replace(self, src: str, dst: str) -> None:
        self._do("replace", src, dst)

    def rename_dir(self, src: str, dst: str) -> None:
        self._do("rename_dir", src, dst)

    def mkdir(self, path: str) -> None:
        self._do("mkdir", path)

    def unlink(self, path: str) -> None:
        self._do("unlink", path)

    def rmdir(self, path: str) -> None:
        self._do("rmdir", path)

    def _do(self, name: str, *args: Any) -> Any:
        self.before(name, args)
        self._bench.done.append((name, args[0]))
        result = getattr(self._bench.share, name)(*args)
        self.after(name, args)
        return result


def fail(error: OSError, *operations: str, path: str = "", times: int = 10**9) -> Interfere:
    """Raise `error` at these operations on paths that begin with `path`, so many times."""
    left = [times]

    def interfere(name: str, args: tuple[Any, ...]) -> None:
        if name in operations and args[0].startswith(path) and left[0] > 0:
            left[0] -= 1
            raise error

    return interfere
