"""A world without chance but its seed: one share in memory, several machines, one scheduler, and a ghost that knows all.

Every file operation of the product is a scheduling point. There the machine may be paused, killed (before or after the
effect, or inside a write), told a lie about the outcome, or shown an older answer. The ghost sees what the server really
holds and raises `Violation` the moment an invariant is broken.
"""

from __future__ import annotations

import errno
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

from data_engine.lease.folder import LARGEST_READ_BYTES, Kind, NotOursError
from data_engine.lease.generations import GENERATIONS
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Ambient, Observer
from data_engine.lease.protocol import Damaged, Generation, Identity, Limits
from data_engine.lease.records import generation_of, lease_of
from data_engine.ledger.segments import TABLES
from data_engine.nofollow import NotFollowedError

Rows = Mapping[str, int]
MUTATIONS = frozenset(("write", "replace", "rename_dir", "mkdir", "unlink", "rmdir"))


class Crash(BaseException):
    """The process is gone. No handler of the product catches it."""


class Violation(AssertionError):
    """An invariant is broken."""


@dataclass(frozen=True)
class Profile:
    """What may go wrong. `timing_holds`: delays, clocks and caches stay within the protocol's assumptions."""

    timing_holds: bool = True
    p_crash: float = 0.004
    p_error_before: float = 0.006
    p_error_after: float = 0.006
    p_pause: float = 0.004
    p_offline: float = 0.001
    p_full: float = 0.0008
    p_slow: float = 0.04
    p_damage: float = 0.0
    p_rot: float = 0.0
    p_back: float = 0.0
    p_link: float = 0.0
    cache_s: float = 3.0
    p_cache: float = 0.3
    replaces_empty: bool = True
    rates: tuple[float, float] = (0.9, 1.1)
    skew_s: float = 300.0
    p_blind: float = 0.0
    limits: tuple[Limits, ...] = (Limits(),)


class Share:
    """The server: strictly ordered, atomic operations. `links` lead out of it; nothing may follow or remove one."""

    def __init__(self, replaces_empty: bool = True) -> None:
        self.replaces_empty = replaces_empty
        self.files: dict[str, bytes] = {}
        self.folders: dict[str, set[str]] = {"": set()}
        self.links: set[str] = set()

    def link(self, path: str) -> None:
        """Somebody puts a link there, in place of what was there."""
        names, name = self._parent(path)
        for place in (self.files, self.folders):
            for below in [one for one in place if one == path or one.startswith(f"{path}/")]:
                del place[below]
        self.links = {one for one in self.links if not one.startswith(f"{path}/")} | {path}
        names.add(name)

    def kind(self, path: str) -> Kind:
        self._check_way(_split(path)[0])
        if path in self.links:
            return "foreign"
        if path in self.folders:
            return "folder"
        if path in self.files:
            return "file"
        raise FileNotFoundError(errno.ENOENT, "not found", path)

    def read(self, path: str, limit: int = LARGEST_READ_BYTES) -> bytes:
        self._check_way(path)
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "not found", path)
        if len(self.files[path]) > limit:
            raise NotOursError(errno.EFBIG, "too large", path)
        return self.files[path]

    def listdir(self, path: str) -> list[str]:
        self._check_way(path)
        if path in self.files:
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", path)
        if path not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "not found", path)
        return sorted(self.folders[path])

    def write(self, path: str, data: bytes) -> None:
        names, name = self._parent(path)
        self._check_free(path)
        names.add(name)
        self.files[path] = data

    def replace(self, src: str, dst: str) -> None:
        is_link = self.kind(src) == "foreign"
        if not is_link:
            self.read(src)
        names, name = self._parent(dst)
        if dst in self.links or dst in self.folders:
            raise NotOursError(errno.EEXIST, "a link or a folder", dst)
        names.add(name)
        if is_link:
            self.links = (self.links - {src}) | {dst}
        else:
            self.files[dst] = self.files.pop(src)
        parent, old = _split(src)
        self.folders[parent].discard(old)

    def mkdir(self, path: str) -> None:
        names, name = self._parent(path)
        self._check_free(path)
        names.add(name)
        self.folders[path] = set()

    def rename_dir(self, src: str, dst: str) -> None:
        self._check_way(src)
        if src not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "not found", src)
        names, name = self._parent(dst)
        if dst in self.links or dst in self.files:
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", dst)
        if dst in self.folders and (self.folders[dst] or not self.replaces_empty):
            raise FileExistsError(errno.ENOTEMPTY, "filled", dst)
        names.add(name)
        parent, old = _split(src)
        self.folders[parent].discard(old)
        inside = f"{src}/"
        for path in [p for p in self.folders if p == src or p.startswith(inside)]:
            self.folders[dst + path[len(src) :]] = self.folders.pop(path)
        for path in [p for p in self.files if p.startswith(inside)]:
            self.files[dst + path[len(src) :]] = self.files.pop(path)
        self.links = {dst + path[len(src) :] if path.startswith(inside) else path for path in self.links}

    def unlink(self, path: str) -> None:
        self.read(path)
        del self.files[path]
        parent, name = _split(path)
        self.folders[parent].discard(name)

    def rmdir(self, path: str) -> None:
        if self.listdir(path):
            raise OSError(errno.ENOTEMPTY, "filled", path)
        del self.folders[path]
        parent, name = _split(path)
        self.folders[parent].discard(name)

    def _check_way(self, path: str) -> None:
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            if "/".join(parts[:count]) in self.links:
                raise NotFollowedError(errno.ELOOP, "it is a link", "/".join(parts[:count]))

    def _check_free(self, path: str) -> None:
        if path in self.files or path in self.folders or path in self.links:
            raise FileExistsError(errno.EEXIST, "exists", path)

    def _parent(self, path: str) -> tuple[set[str], str]:
        parent, name = _split(path)
        self._check_way(parent)
        if parent not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "not found", path)
        return self.folders[parent], name


@dataclass
class Machine:
    """A workstation. What a crash does not take away: `known`, its ledger and the rows it has not published."""

    name: str
    limits: Limits
    rate: float = 1.0
    base_s: float = 0.0
    skew_s: float = 0.0
    is_blind: bool = False
    ready_s: float = 0.0
    missed_s: float = 0.0
    offline_until_s: float = -1.0
    life: greenlet | None = None
    is_alive: bool = False
    incarnation: int = 0
    known: tuple[int, str, frozenset[str]] = (0, "", frozenset())
    observer: Observer | None = None
    held: HeldLease | None = None
    cache: dict[tuple[str, str], tuple[float, Any]] = field(default_factory=dict)
    unpublished: list[tuple[str, int]] = field(default_factory=list)
    ledger: dict[str, int] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    hydrated: int | None = None
    last_read: int = -1
    polls: list[float] = field(default_factory=list)
    claims_since_s: float = 0.0
    asks_again_s: float | None = None
    operations: int = 0

    @property
    def identity(self) -> Identity:
        """Every daemon has the same process id, so that nothing can rest on it."""
        name = self.name
        return Identity(name, f"{name}{self.incarnation}", f"{name}-PC", 4711, "1.0", f"lock-{name}", f"host-{name}")


class World:
    """The machines, the share and the ghost. `faults_on` False: the world behaves."""

    def __init__(self, seed: int, profile: Profile, machines: int, *, trace: bool = False) -> None:
        self.rng = random.Random(seed)
        self.profile = profile
        self.now = 0.0
        self.faults_on = True
        self.share = Share(profile.replaces_empty)
        self.machines = [self._machine(chr(65 + i)) for i in range(machines)]
        self.counts: Counter[str] = Counter()
        self.log: list[str] | None = [] if trace else None
        self.check_step: Callable[[], None] = lambda: None
        self.choose: Callable[[list[Machine]], Machine] = lambda live: min(live, key=lambda m: m.ready_s)
        self.ghost = Ghost(self)
        self._ids = 0
        self._main = getcurrent()

    def note(self, machine: Machine | None, text: str) -> None:
        if self.log is not None:
            who = "--" if machine is None else f"{machine.name}{machine.incarnation}"
            self.log.append(f"{self.now:9.2f}  {who:4} {text}")

    def new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:06x}"

    def clock(self, machine: Machine) -> float:
        return machine.base_s + machine.rate * (self.now - machine.missed_s)

    def observer(self, machine: Machine) -> Observer:
        """The product's, on this machine's folder and clock."""
        machine.held = None
        machine.observer = Observer(
            SimulatedFolder(self, machine),
            machine.identity,
            workspace="demo",
            limits=machine.limits,
            holds_lock=lambda: True,
            known_list=machine.known,
            ambient=Ambient(lambda: self.clock(machine), lambda: f"{self.now + machine.skew_s:.0f}", self.new_id),
        )
        return machine.observer

    def spawn(self, machine: Machine, body: Callable[[World, Machine], None]) -> None:
        """A new process on the machine."""
        machine.incarnation += 1
        machine.is_alive, machine.observer, machine.held = True, None, None
        machine.cache, machine.hydrated = {}, None

        def live() -> None:
            with suppress(Crash):
                body(self, machine)
            machine.is_alive, machine.observer, machine.held = False, None, None

        machine.life = greenlet(live, parent=self._main)

    def kill(self, machine: Machine) -> None:
        """End its process here and now."""
        if machine.life is not None and not machine.life.dead:
            with suppress(Crash):  # it had not even begun
                machine.life.throw(Crash)
        machine.life = None
        machine.is_alive = False

    def step(self) -> bool:
        """Let one machine go on to its next operation; False when none is left."""
        live = [machine for machine in self.machines if machine.life is not None and not machine.life.dead]
        if not live:
            return False
        machine = self.choose(live)
        self.now = max(self.now, machine.ready_s)
        assert machine.life is not None
        machine.life.switch()
        self.check_step()
        return True

    def sleep(self, machine: Machine, seconds: float) -> None:
        machine.ready_s = self.now + seconds / machine.rate
        self._main.switch()

    def operate(self, machine: Machine, name: str, args: tuple[Any, ...]) -> Any:
        """One file operation of one machine, with what may befall it."""
        self.counts["file operations"] += 1
        machine.ready_s = self.now + self._latency_s()
        if self.faults_on and self.rng.random() < self.profile.p_pause:
            pause_s = self.rng.uniform(20, 500)
            self.counts["fault: pause"] += 1
            self.note(machine, f"*** paused {pause_s:.0f} s before {name} {args[0]}")
            machine.ready_s += pause_s
            if machine.is_blind:
                machine.missed_s += pause_s
        self._main.switch()
        if self.faults_on:
            self._befall(machine, name, args)
        return self.apply(machine, name, args)

    def apply(self, machine: Machine, name: str, args: tuple[Any, ...]) -> Any:
        """The effect on the server, or a look through the machine's cache."""
        if name not in MUTATIONS:
            return self._look(machine, name, args[0])
        for path in args[:2] if name in ("replace", "rename_dir") else args[:1]:
            for key in (("read", path), ("kind", path), ("listdir", path), ("listdir", _split(path)[0])):
                machine.cache.pop(key, None)
        getattr(self.share, name)(*args)
        if self.log is not None:
            self.note(machine, f"{name} {' -> '.join(str(a) for a in args if isinstance(a, str))}")
        self.ghost.saw(machine, name, args)
        return None

    def _machine(self, name: str) -> Machine:
        rng, profile = self.rng, self.profile
        return Machine(
            name,
            rng.choice(profile.limits),
            rng.uniform(*profile.rates),
            rng.uniform(0, 1e6),
            rng.uniform(-profile.skew_s, profile.skew_s),
            rng.random() < profile.p_blind,
        )

    def _latency_s(self) -> float:
        rng = self.rng
        if not self.faults_on or rng.random() > self.profile.p_slow:
            return rng.uniform(0.001, 0.05)
        if self.profile.timing_holds:
            return rng.uniform(0.1, 1.0)
        return rng.choice((rng.uniform(0.1, 3), rng.uniform(1, 40), rng.uniform(20, 400)))

    def _befall(self, machine: Machine, name: str, args: tuple[Any, ...]) -> None:
        rng, profile = self.rng, self.profile
        if rng.random() < profile.p_offline:
            machine.offline_until_s = self.now + rng.uniform(5, 200)
            self.counts["fault: share away"] += 1
        if self.now < machine.offline_until_s:
            machine.ready_s = self.now + rng.uniform(0.5, 5)
            self._main.switch()
            raise OSError(errno.EHOSTDOWN, "share is away")
        if profile.p_damage and rng.random() < profile.p_damage:
            self.ghost.damage()
        if profile.p_rot and rng.random() < profile.p_rot:
            self.ghost.rot()
        if profile.p_back and rng.random() < profile.p_back:
            self.ghost.go_back()
        if profile.p_link and rng.random() < profile.p_link:
            self.ghost.link()
        chance = rng.random() - profile.p_crash
        if chance < 0:
            self._crash(machine, name, args)
        chance -= profile.p_error_before
        if chance < 0:
            self.counts["fault: error, no effect"] += 1
            raise PermissionError(errno.EACCES, "sharing violation")
        chance -= profile.p_error_after
        if name in MUTATIONS and chance < 0:
            self.counts["fault: error, but done"] += 1
            self.apply(machine, name, args)
            self.note(machine, f"*** {name} {args[0]} was done but reported as an error")
            raise OSError(errno.EIO, "timed out")
        if name == "write" and rng.random() < profile.p_full:
            self.counts["fault: disk full"] += 1
            self.apply(machine, "write", (args[0], args[1][: rng.randrange(len(args[1]) + 1)]))
            raise OSError(errno.ENOSPC, "disk full")

    def _crash(self, machine: Machine, name: str, args: tuple[Any, ...]) -> None:
        self.counts["fault: crash"] += 1
        self.note(machine, f"*** crash at {name} {args[0]}")
        if name == "write" and self.rng.random() < 0.6:
            self.apply(machine, "write", (args[0], args[1][: self.rng.randrange(len(args[1]) + 1)]))
        elif self.rng.random() < 0.5:
            self.apply(machine, name, args)
        raise Crash

    def _look(self, machine: Machine, name: str, path: str) -> Any:
        key = (name, path)
        hit = machine.cache.get(key)
        if hit is not None and hit[0] > self.now and self.faults_on and self.rng.random() < self.profile.p_cache:
            result = hit[1]
            self.counts["fault: stale answer" if result != self._true_answer(*key) else "cached answer"] += 1
        else:
            result = self._true_answer(*key)
            machine.cache[key] = (self.now + self.rng.uniform(0, self.profile.cache_s), result)
        if isinstance(result, OSError):
            raise type(result)(*result.args)
        return list(result) if isinstance(result, list) else result

    def _true_answer(self, name: str, path: str) -> Any:
        try:
            return getattr(self.share, name)(path)
        except OSError as error:
            return error


class SimulatedFolder:
    """The product's `FileSystem` as one machine sees it."""

    readers = 1

    def __init__(self, world: World, machine: Machine) -> None:
        self._world = world
        self._machine = machine

    def read(self, path: str, limit: int = LARGEST_READ_BYTES) -> bytes:
        found: bytes = self._world.operate(self._machine, "read", (path,))
        return found

    def kind(self, path: str) -> Kind:
        found: Kind = self._world.operate(self._machine, "kind", (path,))
        return found

    def listdir(self, path: str) -> list[str]:
        names: list[str] = self._world.operate(self._machine, "listdir", (path,))
        return names

    def write(self, path: str, data: bytes) -> None:
        self._world.operate(self._machine, "write", (path, data))

    def replace(self, src: str, dst: str) -> None:
        self._world.operate(self._machine, "replace", (src, dst))

    def rename_dir(self, src: str, dst: str) -> None:
        self._world.operate(self._machine, "rename_dir", (src, dst))

    def mkdir(self, path: str) -> None:
        self._world.operate(self._machine, "mkdir", (path,))

    def unlink(self, path: str) -> None:
        self._world.operate(self._machine, "unlink", (path,))

    def rmdir(self, path: str) -> None:
        self._world.operate(self._machine, "rmdir", (path,))


class Ghost:
    """Knows what really happened: every generation ever published, its rows, and what machines were told.

    A row is a key with a version; a later segment's version of a key stands. A key belongs to the machine that makes it,
    so versions never fall. `dropped` are keys that retention took away, `excused` those that damage took. `rotten` are the
    segments that damage took, with the time; `went_back` counts how often a backup was restored.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.history: dict[int, Generation] = {}
        self.rows: dict[int, Rows] = {}
        self.published_s: dict[int, float] = {}
        self.told: dict[str, int] = {}
        self.dropped: set[str] = set()
        self.excused: set[str] = set()
        self.damaged: set[int] = set()
        self.rotten: dict[str, float] = {}
        self.went_back = 0
        self.is_beyond_telling = False
        self.links = 0
        self._backup: tuple[dict[str, bytes], dict[str, set[str]], set[str], dict[str, float], int] | None = None

    @property
    def newest(self) -> int:
        """The number of the newest generation, -1 before the first."""
        return max(self.history, default=-1)

    @property
    def has_harm(self) -> bool:
        """Whether a machine may meet something that cannot be read as it was written."""
        return bool(self.damaged or self.rotten or self.went_back or self.links)

    def saw(self, machine: Machine, name: str, args: tuple[Any, ...]) -> None:
        """A mutation has taken effect on the server."""
        if name == "rename_dir" and args[1] == GENERATIONS:
            (number,) = self.world.share.folders[GENERATIONS]
            self._published(machine, f"{GENERATIONS}/{number}")
        elif name == "rename_dir" and args[1].startswith(GENERATIONS):
            self._published(machine, args[1])
        elif name == "write" and args[0].startswith(GENERATIONS) and "stage-" not in args[0]:
            if not b"lost\n".startswith(args[1]):  # that an entry is given up, or the half of it, is no generation
                self._published(machine, _split(args[0])[0])
        elif name == "unlink" and args[0].startswith("state/"):
            self._unlinked(machine, args[0])
        if len(self.world.share.links) != self.links:
            raise Violation(f"{machine.name} removed a link: {name} {args[0]}")

    def told_committed(self, machine: Machine, generation: Generation, rows: Rows) -> None:
        """The product said that these rows are committed."""
        if generation.number not in self.history or self.history[generation.number].nonce != generation.nonce:
            if self.went_back:
                return
            raise Violation(f"{machine.name} was told that generation {generation.number} is its own, but it is not")
        stored = self.rows[generation.number]
        for key, version in rows.items():
            if self.went_back and stored.get(key, -1) < version:
                continue  # what it had uploaded went back with the share
            if stored.get(key, -1) < version and key not in self.dropped | self.excused:
                raise Violation(f"{machine.name} was told that {key} is committed, but it is not")
            self.told[key] = max(version, self.told.get(key, -1))

    def lost(self, rows: Rows) -> list[str]:
        """What machines were told is committed, and `rows` lacks."""
        gone = self.dropped | self.excused
        return sorted(key for key, version in self.told.items() if rows.get(key, -1) < version and key not in gone)

    def damage(self) -> None:
        """The newest entry rots or vanishes on the server; what only it listed is excused."""
        newest = self.newest
        path = f"{GENERATIONS}/{newest:010d}/entry.json"
        if newest < 1 or self.damaged or path not in self.world.share.files:
            return
        if self.world.rng.random() < 0.7:
            self.world.share.files[path] = self.world.share.files[path][:-5]
        else:  # something stays: a folder that is left empty is won by whoever had looked before; no such drive is fenced
            self.world.share.unlink(path)
            self.world.share.write(f"{_split(path)[0]}/.DS_Store", b"")
        self.damaged.add(newest)
        self.world.counts["fault: newest entry damaged"] += 1
        self.world.note(None, f"*** generation {newest} rots")
        self._forget_cached("read", path)

    def rot(self) -> None:
        """A listed segment rots or vanishes; its rows are excused until somebody publishes them again."""
        head = self.history.get(self.newest)
        listed = [(t, one) for t, rows in (head.files if head else {}).items() for one in rows]
        if not listed:
            return
        table, segment = self.world.rng.choice(listed)
        path = f"state/{table}/{segment.name}"
        if path not in self.world.share.files or segment.name in self.rotten:
            return
        self.excused |= {key for key, _ in rows_in(table, self.world.share.files[path])}
        if self.world.rng.random() < 0.5:
            self.world.share.files[path] = self.world.share.files[path][:-1] + b"?"
        else:
            self.world.share.unlink(path)
        self.rotten[segment.name] = self.world.now
        self.world.counts["fault: segment damaged"] += 1
        self.world.note(None, f"*** segment {path} rots")
        self._forget_cached("read", path)
        self._forget_cached("listdir", f"state/{table}")

    def go_back(self) -> None:
        """First a backup is made, later it is restored: the server forgets what it had acknowledged."""
        share = self.world.share
        if self._backup is None:
            folders = {path: set(names) for path, names in share.folders.items()}
            if self.newest > 0 and self.newest not in self.damaged:
                self._backup = dict(share.files), folders, set(share.links), dict(self.rotten), self.newest
            return
        files, folders, links, rotten, newest = self._backup
        if self.went_back or newest not in self.history or self.newest <= newest:
            return
        self.went_back += 1
        self.world.counts["fault: backup restored"] += 1
        self.world.note(None, f"*** a backup is restored: the list ends at generation {newest}")
        share.files, share.folders, share.links, self.links = files, folders, links, len(links)
        for place in (self.history, self.rows, self.published_s):
            for number in [number for number in place if number > newest]:
                del place[number]  # type: ignore[attr-defined]
        self.damaged -= {number for number in self.damaged if number > newest}
        self.rotten = rotten
        rows = {} if rotten else self.rows[newest]
        self.excused |= {key for key, version in self.told.items() if rows.get(key, -1) < version} | set(
            self.rows[newest] if rotten else ()
        )
        for machine in self.world.machines:
            machine.cache.clear()

    def link(self) -> None:
        """Somebody puts a link among the files of the share; where it leads nobody knows, and nobody may care."""
        rng, share = self.world.rng, self.world.share
        names = [f"{GENERATIONS}/{self.newest:010d}/stage-x{self.links}", f"stale/demo__0000000000__x{self.links}"]
        names += [f"state/runs/0000000000-x{self.links}.parquet", f"leased/demo/token-000000000{self.links}"]
        names += ["leased/demo", "available/demo", "leases/demo.json", "control_requests/demo.json"]
        path = rng.choice(names)
        if self.links >= 6 or _split(path)[0] not in share.folders or path in share.links:
            return
        share.link(path)
        self.links = len(share.links)
        self.world.counts["fault: link"] += 1
        self.world.note(None, f"*** a link at {path}")
        for machine in self.world.machines:
            machine.cache.clear()

    def _unlinked(self, machine: Machine, path: str) -> None:
        """A collection that was under way when a backup was restored goes on for a moment, by what it knew before."""
        in_newest = path == f"{GENERATIONS}/{self.newest:010d}/entry.json"
        if not (in_newest or self._is_live(path)):
            return
        if not self.went_back:
            raise Violation(f"{machine.name} removed the live file {path}")
        if in_newest:
            self.is_beyond_telling = True
        else:
            self.rotten[path.rsplit("/", 1)[1]] = self.world.now
            table = path.split("/")[1]
            self.excused |= {key for key in self.told if key.startswith(f"{table}:")}

    def _forget_cached(self, name: str, path: str) -> None:
        for machine in self.world.machines:
            machine.cache.pop((name, path), None)
            machine.cache.pop(("kind", path), None)

    def _is_live(self, path: str) -> bool:
        name = path.rsplit("/", 1)[1]
        return (
            self.newest >= 0
            and self.newest not in self.damaged
            and name not in self.rotten
            and name in self.history[self.newest].names
        )

    def _published(self, machine: Machine, folder: str) -> None:
        number = int(folder.rsplit("/", 1)[1])
        try:
            generation = generation_of(self.world.share.files[f"{folder}/entry.json"], number)
        except (KeyError, Damaged):
            if self.went_back:  # the backup was made, and restored, in the middle of a publication
                self.is_beyond_telling = True
                return
            raise Violation("a half-written generation is visible") from None
        self.world.note(
            machine, f"==> generation {number} {generation.kind} token {generation.token} by {generation.by.daemon_id}"
        )
        self.world.counts[f"generation: {generation.kind}"] += 1
        prev = self.history.get(self.newest)
        is_next = number == (prev.next_number if prev else 0) or (generation.kind == "repair" and number > self.newest)
        if self.went_back and number < self.newest and number not in self.history:
            return  # by who does not know of the repair yet: beside the list, and fenced at the next look
        if self.is_beyond_telling:  # a restored list was collected as it came: what follows begins anew
            return
        if not is_next or number in self.history:
            raise Violation(f"generation {number} was published after {self.newest}")
        rows = self._rows_of(generation)
        if prev is not None:
            try:
                base = self._check_follows(machine, generation, prev)
                self._check_rows(generation, self.rows[base], rows)
            except Violation:
                if not (self.went_back and generation.kind in ("commit", "renew", "release")):
                    raise
                self.is_beyond_telling = True  # it was under way, with its checks done, when the backup was restored
                return
        self.history[number] = generation
        self.rows[number] = rows
        self.published_s[number] = self.world.now

    def _check_follows(self, machine: Machine, generation: Generation, prev: Generation) -> int:
        """The rules of the chain; the number of the generation whose rows must go on."""
        base = prev.number
        if generation.kind == "repair":
            base = max(number for number in self.history if number not in self.damaged)
            self._check_silence_before_repair(generation)
            before, left = self.rows[prev.number], self._rows_of(self.history[base])
            self.excused |= {k for k, version in before.items() if left.get(k, -1) < version}
            if generation.is_owned:
                raise Violation("a repair owns the workspace")
            if not generation.goes_on_at and generation.number <= machine.known[0]:
                raise Violation(f"{machine.name} repaired at {generation.number}, and knew {machine.known[0]}")
        elif generation.kind == "claim":
            if generation.token != generation.number:
                raise Violation("a claim without a fresh token")
            if generation.limits != machine.limits:
                raise Violation("a claim with somebody else's limits")
            self._check_handoff(machine, prev)
            self._check_history_was_whole(machine, generation)
        elif not prev.is_owned or generation.token != prev.token or generation.by.daemon_id != prev.by.daemon_id:
            owner = prev.by.machine_id if prev.is_owned else "nobody"
            raise Violation(
                f"{generation.kind} {generation.number} of token {generation.token}, but {owner} owns {prev.token}"
            )
        elif generation.limits != prev.limits:
            raise Violation(f"{generation.kind} {generation.number} changes the limits")
        if generation.kind != "commit" and generation.engine_on not in (self.history[base].engine_on, prev.engine_on):
            raise Violation(f"{generation.kind} {generation.number} changes the engine's state")
        return base

    def _check_history_was_whole(self, machine: Machine, generation: Generation) -> None:
        """Nobody claims what could not be read whole, not even who has its rows."""
        for segments in generation.files.values():
            for segment in segments:
                if segment.name not in self.rotten:
                    continue
                if self.world.profile.timing_holds and self.rotten[segment.name] < machine.claims_since_s - 10:
                    raise Violation(f"{machine.name} claimed without {segment.name}")

    def _check_handoff(self, machine: Machine, prev: Generation) -> None:
        if prev.handoff_to in ("", machine.name):
            return
        waited_s = (self.world.now - self.published_s[prev.number]) * machine.rate
        if waited_s < (prev.limits or machine.limits).handoff_grace_s - 0.001:
            raise Violation(f"{machine.name} took what was handed to {prev.handoff_to} after {waited_s:.1f} s")

    def _check_silence_before_repair(self, generation: Generation) -> None:
        if self.went_back or not (self.world.profile.timing_holds and self.world.faults_on):
            return
        for other in self.world.machines:
            if other.is_alive and other.held is not None and other.held.can_work() and self._has_spoken(other.held):
                raise Violation(f"repair {generation.number} while {other.name} may work")

    def _has_spoken(self, held: HeldLease) -> bool:
        # Damage between a claim and its first heartbeat leaves nothing that tells the owner's limits.
        try:
            return lease_of(self.world.share.read("leases/demo.json")).token == held.token
        except (OSError, Damaged):
            return False

    def _check_rows(self, generation: Generation, before: Rows, after: Rows) -> None:
        for key, version in before.items():
            if after.get(key, -1) < version and key not in self.dropped and key not in self.excused:
                raise Violation(
                    f"{generation.kind} {generation.number} by {generation.by.daemon_id} turned {key} from {version} "
                    f"to {after.get(key, 'nothing')}"
                )

    def _rows_of(self, generation: Generation) -> Rows:
        rows: dict[str, int] = {}
        for table, segments in generation.files.items():
            for segment in segments:
                data = self.world.share.files.get(f"state/{table}/{segment.name}")
                if data is None and self.went_back:  # it was uploaded just before
                    self.rotten[segment.name] = self.world.now
                if segment.name in self.rotten:
                    continue
                if table not in TABLES or data is None or len(data) != segment.size_bytes:
                    raise Violation(f"generation {generation.number} lists {segment.name}, which is not there")
                rows.update(rows_in(table, data))
        return rows


def content_of(rows: Mapping[str, int] | list[tuple[str, int]]) -> bytes:
    """A segment's content."""
    return json.dumps(list(rows.items()) if isinstance(rows, Mapping) else rows).encode()


def rows_in(table: str, data: bytes) -> Iterator[tuple[str, int]]:
    """The rows of a segment, each key with its table."""
    for key, version in json.loads(data):
        yield f"{table}:{key}", version


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition("/")
    return parent, name
