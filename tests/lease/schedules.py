"""Random schedules of the product's lease: safety under faults, then a liveness phase without.

A schedule is its seed. Of ten seeds four keep the timing assumptions (so working at once is checked, too), four break
them, and two are slow and sleepy but keep them. A few let the newest generation rot.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise

from data_engine.errors import FlowValidationError
from data_engine.lease.generations import GENERATIONS, KEEP
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import Damaged, Fold, LeaseOutcome, Limits, View
from tests.lease.simulated_share import Crash, Machine, Profile, Violation, World, content_of, rows_in
from tests.lease.snapshots import Snapshot, snapshot_of

STEPS = 600
_LIMITS = (Limits(30, 90), Limits(30, 90), Limits(20, 60), Limits(30, 120), Limits(10, 60))
_TABLES = ("runs", "file_state")


def profile_of(seed: int) -> Profile:
    """What may go wrong in schedule `seed`."""
    rng = random.Random(seed * 7919 + 1)
    replaces_empty, limits = rng.random() < 0.6, _LIMITS if rng.random() < 0.5 else _LIMITS[:1]
    harm = {
        "p_damage": 0.002 if rng.random() < 0.08 else 0.0,
        "p_rot": 0.002 if rng.random() < 0.1 else 0.0,
        "p_back": 0.003 if rng.random() < 0.1 else 0.0,
        "p_link": 0.002 if rng.random() < 0.1 else 0.0,
    }
    if seed % 5 == 4:
        return Profile(
            replaces_empty=replaces_empty,
            skew_s=0,
            p_slow=0.5,
            p_pause=rng.choice((0.01, 0.02)),
            p_crash=rng.choice((0, 0.001, 0.004)),
            p_offline=rng.choice((0.001, 0.004)),
        )
    if seed % 2 == 0:
        return Profile(
            replaces_empty=replaces_empty,
            skew_s=rng.choice((0, 60, 3600)),
            p_pause=rng.choice((0, 0.004, 0.01)),
            p_crash=rng.choice((0, 0.004, 0.01)),
            p_error_after=rng.choice((0, 0.006, 0.02)),
            **harm,
            limits=limits,
        )
    return Profile(
        timing_holds=False,
        replaces_empty=replaces_empty,
        skew_s=86400,
        rates=rng.choice(((0.3, 3.0), (0.9, 1.1))),
        p_blind=0.4,
        cache_s=rng.choice((3, 60, 300)),
        p_cache=rng.choice((0.3, 0.7)),
        p_slow=rng.choice((0.05, 0.2)),
        p_pause=rng.choice((0.005, 0.02)),
        p_crash=rng.choice((0.003, 0.01)),
        p_error_after=rng.choice((0.006, 0.03)),
        **harm,
        limits=limits,
    )


def violation_of(
    seed: int, *, profile: Profile | None = None, steps: int = STEPS, trace: bool = False
) -> tuple[str | None, World]:
    """What schedule `seed` breaks, None when nothing, and the world it ended in."""
    return play(seed, profile or profile_of(seed), daemon, check_liveness, steps=steps, trace=trace)


def play(
    seed: int,
    profile: Profile,
    body: Callable[[World, Machine], None],
    check_end: Callable[[World], None],
    *,
    steps: int = STEPS,
    trace: bool = False,
) -> tuple[str | None, World]:
    """What machines that run `body` break in schedule `seed`, or the world after it by `check_end`; None when nothing."""
    world = World(seed, profile, machines=2 + seed // 2 % 2, trace=trace)
    if profile.timing_holds and not profile.p_back:  # a server that forgets a claim lets another one begin at once
        world.check_step = lambda: check_nobody_works_beside_another(world)
    for machine in world.machines:
        machine.ready_s = world.rng.uniform(0, 3)
        world.spawn(machine, body)
    try:
        for _ in range(steps):
            for machine in world.machines:
                if not machine.is_alive:
                    down_s = world.rng.choice((world.rng.uniform(0.5, 5), world.rng.uniform(60, 300)))
                    machine.ready_s = world.now + down_s
                    world.spawn(machine, body)
            world.step()
        check_end(world)
    except Violation as violation:
        world.note(None, f"VIOLATION: {violation}")
        return str(violation), world
    finally:
        for machine in world.machines:
            world.kill(machine)
    world.counts["schedules"] += 1
    return None, world


def violations(
    seeds: Iterable[int], violation_of: Callable[[int], tuple[str | None, World]] = violation_of
) -> tuple[list[tuple[int, str]], Counter[str]]:
    """(seed, what) of every schedule that breaks something, and all counts."""
    found: list[tuple[int, str]] = []
    counts: Counter[str] = Counter()
    for seed in seeds:
        violation, world = violation_of(seed)
        counts.update(world.counts)
        if violation is not None:
            found.append((seed, violation))
    return found, counts


def first_violation(
    seeds: Iterable[int], violation_of: Callable[[int], tuple[str | None, World]] = violation_of
) -> tuple[int, str] | None:
    """The first seed that breaks something."""
    for seed in seeds:
        violation, _ = violation_of(seed)
        if violation is not None:
            return seed, violation
    return None


def daemon(world: World, machine: Machine) -> None:
    """A daemon around the product: it observes, claims, works, commits, hands over; errors are what they are."""
    rng, observer = world.rng, world.observer(machine)
    wait_s, next_beat_s = 0.0, 0.0
    while True:
        world.sleep(machine, wait_s)
        wait_s = rng.uniform(1, 5)
        try:
            held = machine.held
            if held is None or held.is_over:
                wait_s = observe(world, machine, observer)
                next_beat_s = world.clock(machine) + rng.uniform(0, 0.5) * machine.limits.heartbeat_s
            else:
                wait_s = rng.uniform(1, 12) * held.limits.stale_after_s / 90
                next_beat_s = own(world, machine, observer, held, next_beat_s)
        except Damaged as error:
            if not world.ghost.has_harm:
                raise Violation(f"{machine.name} found a damaged file: {error}") from None
        except (OSError, LeaseOutcome) as error:
            world.note(machine, f"... {type(error).__name__}: {error}")
        machine.known = observer.known_list


def observe(world: World, machine: Machine, observer: Observer) -> float:
    """One look of a machine that does not own; seconds until the next."""
    rng = world.rng
    view = look(world, machine, observer)
    if view.state == "damaged" and view.top is None:
        repair(world, machine, observer, view)
    elif view.is_claimable and (rng.random() < 0.8 or machine.asks_again_s is not None):
        claim(world, machine, observer, view)
    elif view.state == "owned" and rng.random() < 0.08:
        observer.request_control()
        machine.asks_again_s = world.clock(machine) + view.limits.request_repeat_s
    elif machine.asks_again_s is not None and world.clock(machine) >= machine.asks_again_s:
        machine.asks_again_s = None
        if rng.random() < 0.2:
            observer.withdraw_request()
        elif observer.repeat_request():
            machine.asks_again_s = world.clock(machine) + view.limits.request_repeat_s
    elif rng.random() < 0.3:
        read(world, machine, observer)
    return view.limits.poll_s


def look(world: World, machine: Machine, observer: Observer) -> View:
    """One look, remembered."""
    view = observer.poll()
    world.counts[f"look: {view.state}"] += 1
    if view.state != "unreachable":
        machine.polls = [s for s in machine.polls if s > world.clock(machine) - 400] + [world.clock(machine)]
    return view


def claim(world: World, machine: Machine, observer: Observer, view: View) -> None:
    """Claim what `view` saw; a takeover only after looking all the time."""
    if view.state == "stale" and view.top is not None and view.top.by.machine_id != machine.name:
        check_it_looked(world, machine, view)
    what = {"stale": "takeover", "available": "claim", "mine": "late claim found"}[view.state]
    if view.state == "stale" and view.top is not None and view.top.by.machine_id == machine.name:
        what = "takeover of a dead predecessor at once"
    if view.state == "available" and view.top is not None and view.top.handoff_to == machine.name:
        what = "hand-over taken"
    machine.claims_since_s = world.now
    try:
        machine.held = observer.claim(view)
    except Damaged as error:
        if not world.ghost.has_harm:
            raise
        world.note(machine, f"... not claimed: {error}")
        repair(world, machine, observer, view)
        return
    machine.asks_again_s = None
    world.counts[what] += 1


def repair(world: World, machine: Machine, observer: Observer, view: View) -> None:
    """A person asks for a repair of what is really damaged."""
    ghost = world.ghost
    if not ghost.has_harm or world.rng.random() < 0.5:
        return
    newest = ghost.newest
    readable = max(number for number in ghost.history if number not in ghost.damaged)
    try:
        repaired = observer.repair(view)
    except FlowValidationError as error:
        world.note(machine, f"... {error.what}")
        return
    if repaired is None:
        world.note(machine, "... nothing was damaged")
        return
    world.counts["repair"] += 1
    is_plain = not (ghost.rotten or ghost.went_back or ghost.links)
    if is_plain and (repaired.lost_segments or repaired.lost_generations != tuple(range(readable + 1, newest + 1))):
        raise Violation(f"the repair reports {repaired.lost_generations} {repaired.lost_segments}")


def own(world: World, machine: Machine, observer: Observer, held: HeldLease, next_beat_s: float) -> float:
    """One round of an owner; when its next heartbeat is due."""
    rng = world.rng
    if machine.hydrated != held.token:
        read(world, machine, observer)
        machine.hydrated = held.token
    if world.clock(machine) >= next_beat_s:
        held.heartbeat()
        next_beat_s = world.clock(machine) + held.limits.heartbeat_s
    if held.can_work() and rng.random() < 0.6:
        row = (f"{rng.choice(_TABLES)}:{machine.name}{rng.randrange(6)}", int(world.new_id(), 16))
        machine.ledger[row[0]] = row[1]
        machine.unpublished.append(row)
    if machine.unpublished and rng.random() < 0.6:
        commit(world, machine, held)
    if world.ghost.rotten and rng.random() < 0.2:
        fix(world, machine, observer, held)
    if rng.random() < 0.15:
        held.collect()
    if rng.random() < 0.3:
        consent(world, machine, observer, held)
    return next_beat_s


def fix(world: World, machine: Machine, observer: Observer, held: HeldLease) -> None:
    """Publish again from the own ledger what broken segments held."""
    broken = observer.generations.broken_segments(held.head)
    if not broken:
        return
    rows = {key: version for key, version in machine.ledger.items() if key.split(":")[0] in broken}
    add = {
        table: content_of(
            [(key.split(":")[1], version) for key, version in rows.items() if key.startswith(f"{table}:")]
        )
        for table in broken
    }
    generation = held.commit(add, fold={table: Fold(tuple(names), None) for table, names in broken.items()})
    if not generation.names & world.ghost.rotten.keys():
        world.ghost.excused -= {key for key, version in rows.items() if version >= world.ghost.told.get(key, -1)}
    world.ghost.told_committed(machine, generation, rows)
    world.counts["repaired by the owner"] += 1


def commit(world: World, machine: Machine, held: HeldLease) -> None:
    """Publish the unpublished rows, now and then with a fold, an end of retention, or a switch of the engine."""
    rng, batch = world.rng, list(machine.unpublished)
    fold: dict[str, Fold] = {}
    if rng.random() < 0.4:
        table = rng.choice(_TABLES)
        segments = held.head.files.get(table, ())
        if len(segments) >= 2 and not world.ghost.rotten:
            first = rng.randrange(len(segments))
            names = tuple(s.name for s in segments[first : first + rng.randrange(1, 5)])
            fold[table] = fold_of(world, table, names)
            world.counts["fold" if fold[table].content else "retention"] += 1
    add = {}
    for table in _TABLES:
        rows = [(key.split(":")[1], version) for key, version in batch if key.startswith(f"{table}:")]
        if rows:
            add[table] = content_of(rows)
    engine_on = rng.choice((None, None, True, False))
    generation = held.commit(add, fold=fold, engine_on=engine_on)
    world.ghost.told_committed(machine, generation, dict(batch))
    if engine_on not in (None, generation.engine_on):
        raise Violation(f"{machine.name} switched the engine, and generation {generation.number} does not say so")
    machine.unpublished = [row for row in machine.unpublished if row not in batch]


def fold_of(world: World, table: str, names: tuple[str, ...]) -> Fold:
    """The named segments as one; once in a while retention drops them and their keys with them."""
    rows: dict[str, int] = {}
    for name in names:
        data = world.share.files.get(f"state/{table}/{name}")
        rows.update(rows_in(table, data) if data is not None else ())
    if world.rng.random() < 0.1:
        world.ghost.dropped |= set(rows)
        return Fold(names, None)
    return Fold(names, content_of({key.split(":")[1]: version for key, version in rows.items()}))


def consent(world: World, machine: Machine, observer: Observer, held: HeldLease) -> None:
    """Hand over to whoever asked; sometimes give up to nobody."""
    view = look(world, machine, observer)
    if view.state != "mine" or world.rng.random() > (0.5 if view.request else 0.1):
        return
    held.release(view.request)
    world.counts["hand-over" if view.request else "release"] += 1


def read(world: World, machine: Machine, observer: Observer) -> None:
    """Refresh the ledger from one whole generation, reading only segments not seen before."""
    snapshot = snapshot_of(observer, machine.seen)
    if snapshot is None:
        return
    check_snapshot(world, machine, snapshot)
    if world.rng.random() < 0.1:  # and once in a while all of it
        whole = snapshot_of(observer)
        if whole is not None:
            machine.last_read = max(machine.last_read, snapshot.generation.number)
            check_whole(world, machine, whole)


def check_snapshot(world: World, machine: Machine, snapshot: Snapshot) -> None:
    """What was seen before and what is new make the whole generation, which is no older than the last one."""
    number = snapshot.generation.number
    if number < machine.last_read and not world.ghost.went_back:
        raise Violation(f"{machine.name} read generation {number} after {machine.last_read}")
    machine.last_read = number
    for segments in snapshot.new.values():
        if machine.seen & set(segments):
            raise Violation(f"{machine.name} read again what it had seen")
        machine.seen |= set(segments)
    if not snapshot.generation.names <= machine.seen:
        raise Violation(f"{machine.name} was not given all of generation {number}")
    for table, contents in snapshot.new.items():
        for content in contents.values():
            for key, version in rows_in(table, content):  # a folded segment that is new here may hold older versions
                if not key.split(":")[1].startswith(machine.name):
                    machine.ledger[key] = max(version, machine.ledger.get(key, -1))


def check_whole(world: World, machine: Machine, snapshot: Snapshot) -> dict[str, int]:
    """A whole snapshot holds exactly what its generation published."""
    rows = {
        key: version
        for table, contents in snapshot.new.items()
        for content in contents.values()
        for key, version in rows_in(table, content)
    }
    is_sure = not (world.ghost.went_back or world.ghost.rotten)
    if is_sure and rows != world.ghost.rows[snapshot.generation.number]:
        raise Violation(f"{machine.name} read a mixture: generation {snapshot.generation.number}")
    return rows


def check_it_looked(world: World, machine: Machine, view: View) -> None:
    """Takeover is offered only to a machine that looked without a hole for the whole threshold."""
    limits, now_s = view.limits, world.clock(machine)
    recent = [s for s in machine.polls if s >= now_s - limits.stale_after_s]
    holes = [b - a for a, b in pairwise(recent)]
    enough_s = limits.stale_after_s - limits.max_gap_s - 5
    is_whole = bool(holes) and max(holes) <= limits.max_gap_s + 0.001 and recent[-1] - recent[0] >= enough_s
    if world.profile.timing_holds and not is_whole:
        raise Violation(f"{machine.name} offers a takeover after looking away")


def check_nobody_works_beside_another(world: World) -> None:
    """Two machines may never start work at the same time."""
    working = [m.name for m in world.machines if m.is_alive and m.held is not None and m.held.can_work()]
    if len(working) > 1:
        raise Violation(f"{' and '.join(working)} may both start work")


def check_liveness(world: World) -> None:
    """All die. One owns and dies; another is offered takeover in time, not earlier, and finds all that was told."""
    world.faults_on = False
    world.check_step = lambda: None
    for machine in world.machines:
        machine.offline_until_s = -1
        world.kill(machine)
    owner, heir = world.machines[0], world.machines[1]
    _alone(world, owner, _own_and_die)
    if not world.ghost.is_beyond_telling:
        _alone(world, heir, _watch_and_take_over)
    world.counts["liveness phase"] += 1


def _alone(world: World, machine: Machine, body: Callable[[World, Machine], None]) -> None:
    world.spawn(machine, body)
    machine.ready_s = world.now
    try:
        while machine.life is not None and not machine.life.dead:
            world.step()
    except (OSError, LeaseOutcome, FlowValidationError) as error:
        raise Violation(f"liveness: {type(error).__name__}: {error}") from None


def _own_and_die(world: World, machine: Machine) -> None:
    observer = world.observer(machine)
    for _ in range(1000):  # a repair waits for the limits of an owner that may be slower than this machine
        view = observer.poll()
        if view.is_claimable:
            try:
                held = observer.claim(view)
                break
            except Damaged:
                repair(world, machine, observer, view)
        elif view.state == "damaged" and world.ghost.is_beyond_telling:
            world.counts["nothing left of a restored list"] += 1
            raise Crash
        elif view.state == "damaged" and world.ghost.has_harm:
            repair(world, machine, observer, view)
        elif view.state == "damaged":
            raise Violation(f"the list is damaged: {view.why}")
        world.sleep(machine, view.limits.poll_s)
    else:
        raise Violation(f"it cannot be owned any more: {view.state} {view.why}")
    held.heartbeat()
    machine.known = observer.known_list
    names = world.share.folders
    if not world.share.links and (
        names.get("leased") != {"demo"}
        or names.get("available")
        or names["leased/demo"] != {f"token-{held.token:010d}"}
    ):
        raise Violation("the markers were not repaired by the first heartbeat")


def _watch_and_take_over(world: World, machine: Machine) -> None:
    observer = world.observer(machine)
    begun_s = 0.0
    for turn in range(60 if not world.ghost.has_harm else 1000):
        view = observer.poll()
        begun_s = world.now if turn == 0 else begun_s
        if view.state == "stale" or (view.is_claimable and world.ghost.has_harm):
            break
        if view.state == "damaged" and world.ghost.has_harm:
            repair(world, machine, observer, view)
        world.sleep(machine, view.limits.poll_s)
    waited_s = (world.now - begun_s) * machine.rate
    limits = world.machines[0].limits
    is_late = not limits.stale_after_s - 0.001 <= waited_s <= limits.stale_after_s + limits.poll_s + machine.rate
    if is_late and not world.ghost.has_harm:
        raise Violation(f"takeover was offered after {waited_s:.1f} s")
    held = observer.claim(view)
    snapshot = snapshot_of(observer)
    assert snapshot is not None
    lost = world.ghost.lost(check_whole(world, machine, snapshot))
    if lost:
        raise Violation(f"committed rows are lost: {lost}")
    try:
        held.collect()
    except FileNotFoundError:
        if not world.ghost.has_harm:  # the entry of a generation that is still kept may have vanished
            raise
    else:
        kept = world.share.listdir(GENERATIONS)
        if len(kept) > KEEP:
            raise Violation(f"collection left {kept}")
    held.release()
