"""Random schedules of the alarms of silent owners: no alarm is lost, and each claim notifies people once at most, beside what a
sender forgot that died between the call and its answer.

The product's own code looks, claims, notifies and records (`Observer`, `OwnerWatch`, `AlarmFiles`); what stands in are the outbox, a
mapping that a crash does not take away, and the notifier, which calls and is answered later. `Truth` sees what the server
holds and what people got.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast
from unittest.mock import patch

from data_engine.daemon.silence import AlarmOutbox, OwnerWatch
from data_engine.errors import FlowValidationError
from data_engine.lease import generations, heartbeat_files
from data_engine.lease.alarms import AGAIN_S, ROOT, Alarm, AlarmFiles, is_alarming, is_unattended
from data_engine.lease.generations import path_of
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import NEVER, Damaged, LeaseOutcome, View
from data_engine.lease.records import lease_of
from tests.lease import schedules
from tests.lease.simulated_share import Crash, Machine, SimulatedFolder, Violation, World

STEPS = 1000
KINDS = ("silent_owner", "recovered", "unreachable")
END = " over"
AGAIN = "/again"
_VISIBLE_S = 5.0
"""So long after it was made a sign may not be seen yet."""


@dataclass
class Call:
    """One call of a notifier that people got."""

    machine: Machine
    incarnation: int


class Memory:
    """What a machine keeps over crashes: its outbox, and whether it can send."""

    def __init__(self, can_send: bool) -> None:
        self.can_send = can_send
        self.channel_works = True
        self.outbox: dict[str, str] = {}
        self.last: Alarm | None = None
        self.away = False


class Truth:
    """What really happened."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls: dict[str, list[Call]] = defaultdict(list)
        self.won: dict[str, Machine] = {}
        self.won_s: dict[str, float] = {}
        self.signs_s: list[float] = []
        self._saw = world.ghost.saw
        world.ghost.saw = self.saw  # type: ignore[method-assign]

    def saw(self, machine: Machine, name: str, args: tuple[Any, ...]) -> None:
        """A mutation has taken effect on the server."""
        newest = self.world.ghost.newest
        self._saw(machine, name, args)
        if self.world.ghost.newest != newest or (name == "replace" and args[1] == "leases/demo.json"):
            self._saw_a_sign()
        if name in ("rename_dir", "mkdir") and self._is_claim(args[-1] if name == "rename_dir" else args[0]):
            self._was_claimed(machine, args[1] if name == "rename_dir" else args[0])
        elif name == "replace" and args[1].endswith("/sent.json"):
            self._was_recorded(machine, args[1].rpartition("/")[0])
        elif name == "rmdir" and args[0].startswith(f"{ROOT}/") and args[0].count("/") == 1:
            self._was_removed(machine, args[0])

    def _was_removed(self, machine: Machine, path: str) -> None:
        if path_of(int(path[len(ROOT) + 1 :])) in self.world.share.folders:
            raise Violation(f"{machine.name} removed {path}, whose generation is there")

    @staticmethod
    def _is_claim(path: str) -> bool:
        return path.startswith(f"{ROOT}/") and "stage-" not in path

    def _saw_a_sign(self) -> None:
        ghost = self.world.ghost
        try:
            token = lease_of(self.world.share.files["leases/demo.json"]).token
        except (KeyError, Damaged):
            token = -1
        newest = ghost.history.get(ghost.newest)
        if newest is not None and (token == newest.token or ghost.published_s[newest.number] == self.world.now):
            self.signs_s.append(self.world.now)

    def _was_claimed(self, machine: Machine, path: str) -> None:
        if path in self.won:
            raise Violation(f"{machine.name} won {path}, which was won before")
        self.won[path] = machine
        self.won_s[path] = self.world.now
        first = path.removesuffix(AGAIN)
        if first != path and (self.world.now - self.won_s[first]) * machine.rate < AGAIN_S - 0.001:
            raise Violation(f"{machine.name} claimed {path} anew before its ten minutes were over")
        what = "alarm claimed" if first == path else "claimed anew"
        self.world.counts[what] += 1
        self.world.note(machine, f"==> {path}")

    def _was_recorded(self, machine: Machine, path: str) -> None:
        if not any(calls for message_id, calls in self.calls.items() if message_id.startswith(f"{path} ")):
            raise Violation(f"{machine.name} recorded that people were told of {path}, and nobody was")

    def reached(self, machine: Machine, message_id: str) -> None:
        """People got a message."""
        world, calls = self.world, self.calls[message_id]
        silence = message_id.removesuffix(END)
        path = silence.partition(" ")[0]
        is_end = message_id != silence
        world.note(machine, f"==> people are told: {message_id}")
        world.counts["recovery told" if is_end else "alarm told"] += 1
        if any(call.machine is machine and call.incarnation == machine.incarnation for call in calls):
            raise Violation(f"{machine.name} told {message_id} for the {len(calls) + 1}. time")
        if any(call.machine is machine for call in calls):
            world.counts["told again, its sender died before the record"] += 1
        elif calls:
            world.counts["told once more, by the second claim"] += 1
        calls.append(Call(machine, machine.incarnation))
        if not is_end and machine not in (self.won.get(path), self.won.get(path + AGAIN)):
            raise Violation(f"{machine.name} told {message_id}, and has claimed nothing")
        if is_end:
            self._check_is_over(machine, path, silence)

    def _check_is_over(self, machine: Machine, path: str, silence: str) -> None:
        if not any(call.machine is machine for call in self.calls[silence]):
            raise Violation(f"{machine.name} told the end of what was never told")
        if self.world.profile.timing_holds and self.world.ghost.newest <= int(path.rpartition("/")[2]):
            raise Violation(f"{machine.name} told the end of a silence that lasts")


class SimulatedOutbox:
    """A machine's outbox as its watch sees it."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def kinds(self) -> Collection[str]:
        return KINDS if self.memory.can_send else ()

    def is_whole(self) -> bool:
        return True

    def id_of(self, alarm: Alarm) -> str:
        return f"{alarm.path} {alarm.generation}"

    def put(self, alarm: Alarm) -> None:
        self.memory.outbox.setdefault(self.id_of(alarm), "waiting")
        self.memory.last = alarm

    def kept(self) -> Alarm | None:
        return self.memory.last

    def is_told(self, alarm: Alarm) -> bool:
        return self.memory.outbox.get(self.id_of(alarm)) == "sent"

    def end(self, alarm: Alarm, over: str = "") -> None:
        message_id = self.id_of(alarm)
        if not self.is_told(alarm):
            self.memory.outbox.pop(message_id, None)
        elif over:
            self.memory.outbox.setdefault(message_id + END, "waiting")
        self.memory.last = None

    def put_away(self, why: str) -> None:
        self.memory.away = True

    def put_back(self) -> None:
        self.memory.away = False

    def is_away_told(self) -> bool:
        return self.memory.away


class Notifier:
    """Calls for what waits in the outbox; the answer comes later, and a crash in between loses it."""

    def __init__(self, world: World, machine: Machine, teller: SimulatedOutbox, truth: Truth) -> None:
        self._world, self._machine, self._teller, self._truth = world, machine, teller, truth
        self._under_way: dict[str, tuple[float, bool]] = {}
        self._pause_until_s: dict[str, float] = {}

    def turn(self) -> None:
        """What is answered by now, and what is due."""
        world, outbox, rng = self._world, self._teller.memory.outbox, self._world.rng
        for message_id, (answered_s, is_sent) in list(self._under_way.items()):
            if world.now >= answered_s:
                del self._under_way[message_id]
                if is_sent and message_id in outbox:
                    outbox[message_id] = "sent"
                self._pause_until_s[message_id] = world.now + rng.choice((10, 40, 160))
        for message_id, state in list(outbox.items()):
            is_due = state == "waiting" and world.now >= self._pause_until_s.get(message_id, 0.0)
            if is_due and message_id not in self._under_way:
                self._call(message_id)

    def _call(self, message_id: str) -> None:
        world, rng = self._world, self._world.rng
        is_good = self._teller.memory.channel_works and (not world.faults_on or rng.random() < 0.8)
        if is_good:
            self._truth.reached(self._machine, message_id)
        if world.faults_on and rng.random() < 0.1:
            world.counts["fault: died between call and answer"] += 1
            raise Crash
        slow_s = rng.uniform(1, 30) if rng.random() < 0.2 else rng.uniform(0.05, 2)
        self._under_way[message_id] = (world.now + slow_s, is_good)


@contextmanager
def remembering() -> Iterator[None]:
    """Bytes that were understood once are not read again: a schedule is mostly that, and takes half the time."""
    with ExitStack() as stack:
        for module, name in ((generations, "generation_of"), (heartbeat_files, "lease_of")):
            stack.enter_context(patch.object(module, name, lru_cache(64)(getattr(module, name))))
        yield


def violation_of(seed: int, *, trace: bool = False) -> tuple[str | None, World]:
    """What schedule `seed` breaks, None when nothing, and the world it ended in."""
    with remembering():
        return _violation_of(seed, trace=trace)


def _violation_of(seed: int, *, trace: bool = False) -> tuple[str | None, World]:
    profile = replace(schedules.profile_of(seed), p_damage=0.0, p_rot=0.0, p_back=0.0, p_link=0.0)
    world = World(seed, profile, machines=3, trace=trace)
    truth = Truth(world)
    memories = {one.name: Memory(world.rng.random() < 0.85) for one in world.machines}
    for memory in memories.values():
        memory.channel_works = world.rng.random() < 0.9

    def body(world: World, machine: Machine) -> None:
        daemon(world, machine, memories[machine.name], truth)

    for machine in world.machines:
        machine.ready_s = world.rng.uniform(0, 3)
        world.spawn(machine, body)
    try:
        for _ in range(STEPS):
            for machine in world.machines:
                if not machine.is_alive:
                    machine.ready_s = world.now + down_s(world)
                    world.spawn(machine, body)
            world.step()
        check_it_is_told(world, memories, truth, body)
    except Violation as violation:
        world.note(None, f"VIOLATION: {violation}")
        return str(violation), world
    finally:
        for machine in world.machines:
            world.kill(machine)
    world.counts["schedules"] += 1
    return None, world


def down_s(world: World) -> float:
    """How long a machine that died is off: restarted, looked after, or off for the night."""
    rng = world.rng
    return rng.choice((rng.uniform(0.5, 5), rng.uniform(60, 300), rng.uniform(600, 3000)))


def violations(seeds: Iterable[int]) -> tuple[list[tuple[int, str]], Counter[str]]:
    """(seed, what) of every schedule that breaks something, and all counts."""
    return schedules.violations(seeds, violation_of)


def first_violation(seeds: Iterable[int]) -> tuple[int, str] | None:
    """The first seed that breaks something."""
    return schedules.first_violation(seeds, violation_of)


def watch_of(world: World, machine: Machine, observer: Observer, memory: Memory) -> tuple[OwnerWatch, SimulatedOutbox]:
    """The product's, on this machine's folder and clock."""
    folder, teller = SimulatedFolder(world, machine), SimulatedOutbox(memory)
    watch = OwnerWatch(
        AlarmFiles(folder, world.new_id, keep=1),
        cast(AlarmOutbox, teller),
        machine.identity,
        oldest=observer.oldest,
        new_id=world.new_id,
        utc=lambda: f"{world.now + machine.skew_s:.0f}",
        clock=lambda: world.clock(machine),
    )
    return watch, teller


def daemon(world: World, machine: Machine, memory: Memory, truth: Truth) -> None:
    """A daemon around the product: it looks, watches, claims now and then, beats, commits and gives up."""
    observer = world.observer(machine)
    watch, teller = watch_of(world, machine, observer, memory)
    notifier = Notifier(world, machine, teller, truth)
    look_s = beat_s = NEVER
    wait_s = 0.0
    while True:
        world.sleep(machine, wait_s)
        wait_s = world.rng.uniform(1, 4)
        try:
            notifier.turn()
            held = _held(machine)
            if world.clock(machine) >= look_s:
                begun_s = world.now
                view = schedules.look(world, machine, observer)
                look_s = world.clock(machine) + view.limits.poll_s
                if held is None:
                    claim(world, machine, observer, view)
                    beat_s = world.clock(machine)
                look(world, machine, watch, teller, view, truth, begun_s)
                notifier.turn()
            held = _held(machine)
            if held is not None and world.clock(machine) >= beat_s:
                beat_s = world.clock(machine) + held.limits.retry_s
                own(world, machine, held)
                beat_s = world.clock(machine) + held.limits.heartbeat_s
        except Damaged as error:
            raise Violation(f"{machine.name} found a damaged file: {error}") from None
        except (OSError, LeaseOutcome, FlowValidationError) as error:
            world.note(machine, f"... {type(error).__name__}: {error}")
        machine.known = observer.known_list


def _held(machine: Machine) -> HeldLease | None:
    return None if machine.held is None or machine.held.is_over else machine.held


def look(
    world: World, machine: Machine, watch: OwnerWatch, teller: SimulatedOutbox, view: View, truth: Truth, begun_s: float
) -> None:
    """What the keeper does after each look, which has begun at `begun_s`; then a silence that was seen is claimed by somebody."""
    top, before = view.top, set(truth.won)
    signs_s = [at_s for at_s in truth.signs_s if at_s <= begun_s - _VISIBLE_S]
    watch.look(view, _held(machine))
    if (
        top is None
        or not teller.kinds()
        or not is_alarming(view, machine.identity, is_whole=True)
        or watch.is_known(view)
    ):
        return
    place = f"{ROOT}/{top.number:010d}"
    if place not in world.share.folders and path_of(top.number) in world.share.folders:
        raise Violation(f"{machine.name} saw a silent owner, and nobody has claimed {place}")
    if world.profile.timing_holds and place in truth.won.keys() - before and signs_s:
        silent_s = (begun_s - signs_s[-1]) * machine.rate
        if silent_s < view.limits.stale_after_s - 0.001:
            raise Violation(f"{machine.name} claimed the alarm of an owner that was heard of {silent_s:.0f} s before")


def claim(world: World, machine: Machine, observer: Observer, view: View) -> None:
    """Own what nobody owns; a silent owner, or one that ended with its engine on, is seldom relieved, so that silences last."""
    top = view.top
    is_own = top is not None and top.by.machine_id == machine.name
    chance = {"available": 0.05 if is_unattended(view) else 0.8, "mine": 1.0, "stale": 0.4 if is_own else 0.03}.get(
        view.state, 0.0
    )
    if world.rng.random() < chance:
        schedules.claim(world, machine, observer, view)


def own(world: World, machine: Machine, held: HeldLease) -> None:
    """One round of an owner."""
    rng = world.rng
    held.heartbeat()
    if held.can_work() and rng.random() < 0.5:
        for _ in range(rng.choice((1, 1, 6))):  # so many commits remove the generation an alarm is about
            held.commit(engine_on=rng.choice((True, False)))
        held.collect()
    if rng.random() < 0.03:
        held.release()


def check_it_is_told(
    world: World,
    memories: dict[str, Memory],
    truth: Truth,
    body: Callable[[World, Machine], None],
) -> None:
    """Without faults: an owner dies, or ends with its engine on; people are told once, in time, also when who claims it first dies
    or cannot send; and once more when the owner is back."""
    world.faults_on = False
    world.check_step = lambda: None
    for machine in world.machines:
        machine.offline_until_s = -1
        world.kill(machine)
    owner, first, second = world.machines
    end = world.rng.choice((schedules._own_and_die, _own_and_leave))
    schedules._alone(world, owner, end)
    dead = world.ghost.newest
    for machine in (owner, first, second):
        memories[machine.name].can_send = memories[machine.name].channel_works = True
    cases = ("both live", "both live", "the first dies", "the first cannot send")
    case = world.rng.choice(cases if world.profile.timing_holds else cases[:3])
    if case != "both live":
        memories[first.name].channel_works = False
    begun_s = world.now
    for machine in (first, second):
        machine.ready_s = world.now + world.rng.uniform(0, 0.2)  # so that they race
        world.spawn(machine, _watch_only(memories[machine.name], truth))
    alarm = Alarm(dead, world.ghost.history[dead].nonce)
    message_id = f"{alarm.path} {alarm.generation}"
    limits = owner.limits
    within_s = (limits.stale_after_s + limits.poll_s) / max(first.rate, second.rate) + 10
    _run_until(world, lambda: alarm.path in truth.won, begun_s + within_s, "nobody claimed the alarm in time")
    if case == "the first dies":
        world.kill(first)
    again_s = 0 if case == "both live" else (AGAIN_S + 2 * 60) / 0.3 + 60
    _run_until(world, lambda: bool(truth.calls[message_id]), world.now + again_s + 60, f"{case}: nobody was told")
    most = 1 if world.profile.timing_holds else 2
    if not 1 <= len(truth.calls[message_id]) <= most:
        raise Violation(f"{case}: people were told {len(truth.calls[message_id])} times")
    if case == "the first cannot send":  # it sees the record of the second, and drops its own message
        _run_until(world, lambda: False, world.now + 120, None)
    owner.ready_s = world.now + 30
    world.spawn(owner, _own_again(memories[owner.name], truth))
    end_id = message_id + END
    memories[first.name].channel_works = True
    _run_until(world, lambda: bool(truth.calls[end_id]), world.now + 1500 / 0.3, f"{case}: its end was not told")
    _run_until(world, lambda: False, world.now + 100, None)
    if not (1 <= len(truth.calls[message_id]) <= most and 1 <= len(truth.calls[end_id]) <= most):
        raise Violation(f"{case}: told {len(truth.calls[message_id])} times, its end {len(truth.calls[end_id])} times")
    world.counts[f"liveness phase: {case}"] += 1
    world.counts[f"its owner: {end.__name__}"] += 1


def _run_until(world: World, is_done: Callable[[], bool], until_s: float, or_else: str | None) -> None:
    while not is_done():
        if world.now > until_s or not world.step():
            if or_else is not None:
                raise Violation(or_else)
            return


def _own_and_leave(world: World, machine: Machine) -> None:
    """An owner whose machine is shut down while its engine is on."""
    observer = world.observer(machine)
    view = observer.poll()
    while not view.is_claimable:
        world.sleep(machine, view.limits.poll_s)
        view = observer.poll()
    held = observer.claim(view)
    held.heartbeat()
    held.commit(engine_on=True)
    held.release()


def _watch_only(memory: Memory, truth: Truth) -> Callable[[World, Machine], None]:
    """A daemon that only watches."""

    def live(world: World, machine: Machine) -> None:
        observer = world.observer(machine)
        watch, teller = watch_of(world, machine, observer, memory)
        notifier = Notifier(world, machine, teller, truth)
        while True:
            begun_s = world.now
            view = schedules.look(world, machine, observer)
            look(world, machine, watch, teller, view, truth, begun_s)
            for _ in range(5):
                notifier.turn()
                world.sleep(machine, view.limits.poll_s / 5)

    return live


def _own_again(memory: Memory, truth: Truth) -> Callable[[World, Machine], None]:
    """The owner is back: it claims and watches."""

    def live(world: World, machine: Machine) -> None:
        observer = world.observer(machine)
        watch, teller = watch_of(world, machine, observer, memory)
        notifier = Notifier(world, machine, teller, truth)
        while True:
            begun_s = world.now
            view = schedules.look(world, machine, observer)
            if _held(machine) is None and view.is_claimable:
                machine.held = observer.claim(view)
            elif machine.held is not None:
                machine.held.heartbeat()
            look(world, machine, watch, teller, view, truth, begun_s)
            for _ in range(5):
                notifier.turn()
                world.sleep(machine, view.limits.poll_s / 5)

    return live
