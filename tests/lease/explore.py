"""Small scenarios explored to the end: every placement of a few preemptions, and one fault at every single operation.

Nothing is left to chance: machines run one after another, and at the listed operations the turn goes to another one. Time
moves only where a scenario moves it.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from greenlet import greenlet  # type: ignore[import-untyped]

from data_engine.lease.generations import KEEP
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.protocol import LeaseOutcome
from tests.lease.schedules import check_nobody_works_beside_another
from tests.lease.simulated_share import MUTATIONS, Crash, Machine, Profile, Violation, World, content_of

Body = Callable[["Script", Machine], None]
FAULTS = ("crash before", "crash after", "lost answer", "refused")
RENAMES = (True, False)
"""Whether a folder rename replaces an empty folder, as POSIX does, or not, as Windows does."""


@dataclass(frozen=True)
class Fault:
    """`kind` befalls the operation number `at` of the machine `who`."""

    who: str
    at: int
    kind: str


class Script(World):
    """A world without chance: `switches` says at which operation the turn moves on, and by how many machines."""

    def __init__(self, machines: int, replaces_empty: bool, switches: Mapping[int, int], fault: Fault | None) -> None:
        profile = Profile(replaces_empty=replaces_empty, rates=(1.0, 1.0), skew_s=0, cache_s=0, p_cache=0)
        super().__init__(1, profile, machines)
        self.faults_on = False
        self.switches = switches
        self.fault = fault
        self.has_befallen = False
        self.operations = 0
        self.choose = self._whose_turn
        self.check_step = lambda: check_nobody_works_beside_another(self)
        self._turn: Machine | None = None
        for machine in self.machines:
            machine.base_s = 0.0

    def spawn(self, machine: Machine, body: Callable[[World, Machine], None]) -> None:
        """As a process that stays when its script is through."""
        machine.incarnation, machine.is_alive = 1, True

        def live() -> None:
            try:
                with suppress(OSError, LeaseOutcome):
                    body(self, machine)
            except Crash:
                machine.is_alive, machine.held = False, None

        machine.life = greenlet(live, parent=self._main)

    def operate(self, machine: Machine, name: str, args: tuple[Any, ...]) -> Any:
        self.operations += 1
        machine.operations += 1
        self._main.switch()
        fault = self.fault
        if fault is not None and (fault.who, fault.at) == (machine.name, machine.operations):
            self._befall_with(fault.kind, machine, name, args)
        return self.apply(machine, name, args)

    def _befall_with(self, kind: str, machine: Machine, name: str, args: tuple[Any, ...]) -> None:
        self.has_befallen = True
        if kind == "crash before":
            raise Crash
        if kind == "crash after":
            self.apply(machine, name, args)
            raise Crash
        if kind == "lost answer" and name in MUTATIONS:
            self.apply(machine, name, args)
            raise OSError(errno.EIO, "timed out")
        if kind == "refused":
            raise PermissionError(errno.EACCES, "sharing violation")

    def _whose_turn(self, live: list[Machine]) -> Machine:
        if self._turn not in live:
            self._turn = live[0]
        elif self.operations in self.switches:
            self._turn = live[(live.index(self._turn) + self.switches[self.operations]) % len(live)]
        assert self._turn is not None
        return self._turn


def commit(world: Script, machine: Machine, held: HeldLease, key: str, **others: Any) -> None:
    """One row, and tell the ghost."""
    generation = held.commit({"runs": content_of({key: 1})}, **others)
    world.ghost.told_committed(machine, generation, {f"runs:{key}": 1})


def first_claimer(world: Script, machine: Machine) -> None:
    """Claims what nobody owns, commits and beats."""
    observer = world.observer(machine)
    view = observer.poll()
    if view.state == "available":
        machine.held = observer.claim(view)
        commit(world, machine, machine.held, f"{machine.name}1")
        machine.held.heartbeat()


def slow_owner(world: Script, machine: Machine) -> None:
    """Owns, commits past the retention, collects and releases; wherever it is preempted, it sleeps."""
    observer = world.observer(machine)
    machine.held = observer.claim(observer.poll())
    for number in range(4):
        commit(world, machine, machine.held, f"a{number}", engine_on=True)
    machine.held.collect()
    machine.held.release()


def beating_owner(world: Script, machine: Machine) -> None:
    """Owns and beats again and again."""
    observer = world.observer(machine)
    machine.held = observer.claim(observer.poll())
    for _ in range(3):
        with suppress(OSError):
            machine.held.heartbeat()


def heir(world: Script, machine: Machine) -> None:
    """Sees the owner, waits out the threshold, takes over, commits past the retention, collects."""
    quick_heir(world, machine)
    if machine.held is not None:
        for number in range(KEEP + 1):
            commit(world, machine, machine.held, f"{machine.name}{number}")
        machine.held.collect()


def quick_heir(world: Script, machine: Machine) -> None:
    """Sees the owner, waits out the threshold and takes over."""
    observer = world.observer(machine)
    view = observer.poll()
    for _ in range(10):
        world.now += view.limits.poll_s
        view = observer.poll()
    if view.is_claimable:
        machine.held = observer.claim(view)


SCENARIOS: dict[str, tuple[Body, ...]] = {
    "three first claims": (first_claimer, first_claimer, first_claimer),
    "takeover from a slow owner": (slow_owner, heir),
    "takeover from a beating owner": (beating_owner, quick_heir),
    "two heirs, one slow owner": (slow_owner, heir, heir),
}


def play(
    bodies: tuple[Body, ...], replaces_empty: bool, switches: Mapping[int, int], fault: Fault | None
) -> tuple[str | None, Script]:
    """What this one course of events breaks, None when nothing."""
    world = Script(len(bodies), replaces_empty, switches, fault)
    for machine, body in zip(world.machines, bodies, strict=True):
        world.spawn(machine, body)  # type: ignore[arg-type]
    try:
        while world.step():
            pass
        lost = world.ghost.lost(world.ghost.rows.get(world.ghost.newest, {}))
        if lost:
            raise Violation(f"committed rows are lost: {lost}")
    except Violation as violation:
        return str(violation), world
    finally:
        for machine in world.machines:
            world.kill(machine)
    return None, world


def preempted(name: str, replaces_empty: bool, moves: dict[int, int]) -> str | None:
    """What the scenario breaks with these preemptions: at which operation how many machines further."""
    return play(SCENARIOS[name], replaces_empty, moves, None)[0]


def with_preemptions(
    name: str, count: int, *, renames: Iterable[bool] = RENAMES, first: int = 0, each: int = 1
) -> Iterator[str | None]:
    """Every placement of exactly `count` preemptions in the scenario, or `each` so many from the `first` on, on both kinds of folder rename."""
    bodies = SCENARIOS[name]
    for replaces_empty in renames:
        length = play(bodies, replaces_empty, {}, None)[1].operations
        for ticks in itertools.islice(itertools.combinations(range(1, length + 1), count), first, None, each):
            for moves in itertools.product(range(1, len(bodies)), repeat=count):
                yield preempted(name, replaces_empty, dict(zip(ticks, moves, strict=True)))


def with_a_fault(
    name: str, *, preemptions: int = 8, renames: Iterable[bool] = RENAMES, first: int = 0, each: int = 1
) -> Iterator[str | None]:
    """One fault of each kind at every operation of every machine, or at `each` so many from the `first` on, each with several placements
    of one preemption."""
    bodies = SCENARIOS[name]
    for replaces_empty in renames:
        length = play(bodies, replaces_empty, {}, None)[1].operations
        ticks = range(1, length + 1, max(1, length // preemptions))
        for who in "ABC"[: len(bodies)]:
            for at in itertools.count(1 + first, each):
                worlds = []
                for kind, tick in itertools.product(FAULTS, ticks):
                    violation, world = play(bodies, replaces_empty, {tick: 1}, Fault(who, at, kind))
                    worlds.append(world)
                    yield violation
                if not any(world.has_befallen for world in worlds):
                    break
