"""Random schedules of deployments and requests over the product's lease: what runs is what an owner pointed to, at most once.

The product's own code deploys (`DeploymentFiles`, `HeldLease`), decides about requests (`RequestInbox`, `judge`) and collects. What
the simulator keeps in place of a ledger is a set of rows a machine, with those that are not published yet beside it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from data_engine.daemon.requests import Pace, RequestInbox
from data_engine.errors import DamagedSetError, FlowValidationError
from data_engine.lease.deployment_files import SETS, DeploymentFiles
from data_engine.lease.folder import names_in
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import Damaged, Fenced, LeaseOutcome
from data_engine.lease.requests import ROOT, RemoteRequest, RequestFiles
from data_engine.ledger.requests import RequestRow
from data_engine.notebook.module_sets import hashes_of, set_id
from tests.lease import schedules
from tests.lease.simulated_share import Machine, Profile, SimulatedFolder, Violation, World, content_of
from tests.lease.snapshots import snapshot_of

STEPS = 500
KEEP = 2


class Memory:
    """What a machine keeps over crashes: published rows (key -> version), rows that are not, its own copies of sets."""

    def __init__(self) -> None:
        self.published: dict[str, int] = {}
        self.pending: list[tuple[str, str]] = []
        self.copies: dict[str, dict[str, bytes]] = {}
        self.asked: list[RemoteRequest] = []
        self.backups: dict[str, bytes] = {}

    def deployments(self) -> list[tuple[int, str]]:
        """Number and set of each published deployment, the newest last."""
        keys = (key.split(":", 1)[1] for key in self.published if key.startswith("deployments:"))
        return sorted((int(number), name) for number, name in (key.split(".") for key in keys))


class Truth:
    """What really happened."""

    def __init__(self) -> None:
        self.pointed: set[str] = set()
        self.carried: Counter[str] = Counter()
        self.given_up: set[str] = set()


class SimulatedRows:
    """The rows of requests in a machine's memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def known(self, ids: Iterable[str]) -> dict[str, RequestRow]:
        wanted = set(ids)
        found = {}
        for row in sorted(self._all(), key=lambda row: row.state, reverse=True):
            if row.request_id in wanted:
                found[row.request_id] = row
        return found

    def unanswered(self) -> list[RequestRow]:
        answered = {row.request_id for row in self._all() if row.state == "answered"}
        return [row for row in self._all() if row.state == "taken" and row.request_id not in answered]

    def write(self, rows: Sequence[RequestRow]) -> None:
        self._memory.pending += [("requests", f"{row.request_id}.{row.state}") for row in rows]

    def _all(self) -> list[RequestRow]:
        keys = [key.split(":", 1)[1] for key in self._memory.published if key.startswith("requests:")]
        return [RequestRow(one.split(".")[0], "run", "claims", one.split(".")[1]) for one in keys]


class Owner:
    """The ownership as the inbox sees it."""

    def __init__(self, world: World, machine: Machine, memory: Memory, truth: Truth) -> None:
        self.world, self.machine, self.memory, self.truth = world, machine, memory, truth

    @property
    def held(self) -> HeldLease | None:
        return self.machine.held

    @property
    def token(self) -> int | None:
        return None if self.held is None or self.held.is_over else self.held.token

    def can_work(self) -> bool:
        return self.held is not None and self.held.can_work()

    async def publish(self, write: Any) -> None:
        write()
        publish(self)


def publish(owner: Owner) -> None:
    """Commit what is pending, as the keeper does: again after a doubt, never under another token."""
    held, memory = owner.held, owner.memory
    if held is None or not held.can_work():
        raise FlowValidationError("not owned here")
    tables: dict[str, list[tuple[str, int]]] = {}
    for table, key in memory.pending:
        tables.setdefault(table, []).append((key, 1))
    if not tables:
        return
    generation = held.commit({table: content_of(rows) for table, rows in tables.items()})
    told = {f"{table}:{key}": 1 for table, rows in tables.items() for key, _ in rows}
    owner.world.ghost.told_committed(owner.machine, generation, told)
    memory.published |= told
    memory.pending = []


def violation_of(seed: int, *, trace: bool = False) -> tuple[str | None, World]:
    """What schedule `seed` breaks, None when nothing, and the world it ended in."""
    memories: defaultdict[str, Memory] = defaultdict(Memory)
    truth = Truth()
    return schedules.play(
        seed,
        without_harm(schedules.profile_of(seed)),
        lambda world, machine: daemon(world, machine, memories[machine.name], truth),
        lambda world: check_it_goes_on(world, memories, truth),
        steps=STEPS,
        trace=trace,
    )


def without_harm(profile: Profile) -> Profile:
    """The profile without what rots on the server: damaged sets are a case of their own."""
    from dataclasses import replace

    return replace(profile, p_damage=0.0, p_rot=0.0, p_back=0.0, p_link=0.0, p_full=profile.p_full)


def violations(seeds: Iterable[int]) -> tuple[list[tuple[int, str]], Counter[str]]:
    """(seed, what) of every schedule that breaks something, and all counts."""
    return schedules.violations(seeds, violation_of)


def first_violation(seeds: Iterable[int]) -> tuple[int, str] | None:
    """The first seed that breaks something."""
    return schedules.first_violation(seeds, violation_of)


def daemon(world: World, machine: Machine, memory: Memory, truth: Truth) -> None:
    """A daemon around the product: it observes, claims, deploys, runs what is deployed, asks and answers."""
    rng, observer = world.rng, world.observer(machine)
    folder = SimulatedFolder(world, machine)
    files = DeploymentFiles(folder, world.new_id)
    asks = RequestFiles(folder, world.new_id)
    owner = Owner(world, machine, memory, truth)

    async def carry(request: RemoteRequest) -> tuple[str, dict[str, Any]]:
        check_only_the_owner_carries(owner)
        truth.carried[request.request_id] += 1
        if truth.carried[request.request_id] > 1:
            raise Violation(f"request {request.request_id[-4:]} was carried out twice")
        world.sleep(machine, rng.uniform(0, 40))
        return "done", {}

    inbox = RequestInbox(
        asks,
        SimulatedRows(memory),
        owner,
        carry,
        finish,
        pace=Pace(_here, lambda seconds: _pause(world, machine, 5.0), lambda: world.clock(machine)),
        setting=lambda: "all",
    )
    wait_s, next_beat_s, token = 0.0, 0.0, None
    while True:
        world.sleep(machine, wait_s)
        wait_s = rng.uniform(1, 5)
        try:
            held = machine.held
            if held is None or held.is_over:
                wait_s = schedules.observe(world, machine, observer)
                ask(world, machine, memory, asks, truth)
                next_beat_s = world.clock(machine) + rng.uniform(0, 0.5) * machine.limits.heartbeat_s
                continue
            if token != held.token:
                memory.pending = []
                take_in(world, machine, observer, memory)
                token = held.token
            if world.clock(machine) >= next_beat_s:
                held.heartbeat()
                next_beat_s = world.clock(machine) + held.limits.heartbeat_s
            wait_s = rng.uniform(1, 12) * held.limits.stale_after_s / 90
            own(world, machine, owner, files, inbox)
        except Damaged as error:
            raise Violation(f"{machine.name} found a damaged file: {error}") from None
        except (OSError, LeaseOutcome, FlowValidationError) as error:
            if isinstance(error, Fenced):
                memory.pending = []
            world.note(machine, f"... {type(error).__name__}: {error}")
        machine.known = observer.known_list


def own(world: World, machine: Machine, owner: Owner, files: DeploymentFiles, inbox: RequestInbox) -> None:
    """One round of an owner."""
    rng, held = world.rng, owner.held
    assert held is not None
    chance = rng.random()
    if chance < 0.25 and held.can_work():
        deploy(world, owner, files)
    elif chance < 0.5 and held.can_work():
        run(world, owner, files)
    elif chance < 0.55 and held.can_work():
        publish(owner)
    if rng.random() < 0.5:
        finish(inbox.look())
    if rng.random() < 0.15:
        held.collect()
        files.collect(kept_sets(owner.memory), now_s=world.clock(machine), may_go_on=held.can_work)
    if rng.random() < 0.15:
        observer = machine.observer
        assert observer is not None
        schedules.consent(world, machine, observer, held)


def kept_sets(memory: Memory) -> set[str]:
    """The sets of the newest deployments."""
    return {name for _, name in memory.deployments()[-KEEP:]}


def deploy(world: World, owner: Owner, files: DeploymentFiles) -> None:
    """Blobs, set, pointer: in this order."""
    contents = {"claims.py": f"v{world.rng.randrange(6)}".encode(), "flow_helpers/a.py": b"a"}
    name = files.put(contents)
    point_to(owner, name, contents)


def point_to(owner: Owner, name: str, contents: dict[str, bytes]) -> None:
    """Let the flow run this set from now on."""
    memory = owner.memory
    memory.copies[name] = contents
    number = max((number for number, _ in memory.deployments()), default=0) + 1
    owner.truth.pointed.add(name)
    if not any(table == "deployments" for table, _ in memory.pending):
        memory.pending.append(("deployments", f"{number}.{name}"))
    publish(owner)
    owner.world.counts["deployed"] += 1


def run(world: World, owner: Owner, files: DeploymentFiles) -> None:
    """Run what is live, from this machine's verified copy or from the share."""
    deployments = owner.memory.deployments()
    if not deployments:
        return
    name = deployments[-1][1]
    if name not in owner.truth.pointed:
        raise Violation(f"{owner.machine.name} runs {name}, which no owner pointed to")
    contents = owner.memory.copies.get(name)
    if contents is None:
        try:
            contents = files.read(name)
        except DamagedSetError as error:
            raise_where_nothing_excuses(world, name, error)
            return
        owner.memory.copies[name] = contents
        world.counts["fetched"] += 1
    elif f"{name}.json" not in names_in(files.folder, SETS):
        files.put(contents, anew=True)
        world.counts["written anew"] += 1
    if set_id(hashes_of(contents)) != name:
        raise Violation(f"{owner.machine.name} runs other code than {name}")
    world.counts["ran"] += 1


def raise_where_nothing_excuses(world: World, name: str, error: DamagedSetError) -> None:
    """A live set that is not on the share is a violation, unless only this machine's cache does not show it yet."""
    share = world.share
    if f"deployments/sets/{name}.json" in share.files:
        record = json.loads(share.files[f"deployments/sets/{name}.json"].partition(b"\n")[2])
        if all(f"deployments/blobs/{blob}" in share.files for blob, _ in record["files"].values()):
            world.counts["not seen yet"] += 1
            return
    raise Violation(f"what is live cannot be had: {error.what}")


def ask(world: World, machine: Machine, memory: Memory, asks: RequestFiles, truth: Truth) -> None:
    """Somebody asks, waits or not, gives up, and a backup brings old files back."""
    rng = world.rng
    chance = rng.random()
    if chance < 0.15:
        request = RemoteRequest(
            f"{rng.getrandbits(128):032x}", "run", "claims", "{}", "eve", machine.name, machine.name, "2026"
        )
        asks.put(request)
        memory.asked.append(request)
        path = f"{ROOT}/{request.request_id}.json"
        if path in world.share.files:
            memory.backups[path] = world.share.files[path]
        world.counts["asked"] += 1
    elif chance < 0.2 and memory.backups:
        path = rng.choice(sorted(memory.backups))
        if path not in world.share.files and truth.carried[path[len(ROOT) + 1 : -5]]:
            world.share.folders.setdefault(ROOT, set()).add(path[len(ROOT) + 1 :])
            world.share.files[path] = memory.backups[path]
            world.counts["old file put back"] += 1


def take_in(world: World, machine: Machine, observer: Observer, memory: Memory) -> None:
    """All that the newest generation holds."""
    snapshot = snapshot_of(observer)
    if snapshot is not None:
        rows = schedules.check_whole(world, machine, snapshot)
        if not memory.published.keys() <= rows.keys():
            raise Violation(f"{machine.name} knew more than generation {snapshot.generation.number} holds")
        memory.published = dict(rows)


def check_only_the_owner_carries(owner: Owner) -> None:
    """While the clocks keep their promises whoever begins is who owns."""
    world, held = owner.world, owner.held
    if world.profile.timing_holds and held is not None:
        newest = world.ghost.history[world.ghost.newest]
        if newest.token != held.token:
            raise Violation(f"{owner.machine.name} carries out a request, and {newest.by.machine_id} owns")


def check_it_goes_on(world: World, memories: dict[str, Memory], truth: Truth) -> None:
    """Without faults one owner runs what was deployed last, and carries out what is asked of it exactly once."""
    world.faults_on = False
    world.check_step = lambda: None
    for machine in world.machines:
        machine.offline_until_s = -1
        world.kill(machine)
    owner_machine, asker = world.machines[0], world.machines[1]
    request = RemoteRequest("f" * 32, "run", "claims", "{}", "eve", "eve", "eve", "2026")
    waited = {"looks": 0}

    def own_alone(world: World, machine: Machine) -> None:
        memory = memories[machine.name]
        observer, folder = world.observer(machine), SimulatedFolder(world, machine)
        files, asks = DeploymentFiles(folder, world.new_id), RequestFiles(folder, world.new_id)
        while not (view := observer.poll()).is_claimable:
            world.sleep(machine, view.limits.poll_s)
        machine.held = observer.claim(view)
        memory.pending = []
        take_in(world, machine, observer, memory)
        owner = Owner(world, machine, memory, truth)

        async def carry(one: RemoteRequest) -> tuple[str, dict[str, Any]]:
            truth.carried[one.request_id] += 1
            return "done", {}

        inbox = RequestInbox(
            asks, SimulatedRows(memory), owner, carry, finish, pace=Pace(_here, clock=lambda: world.clock(machine)),
            setting=lambda: "all",
        )  # fmt: skip
        finish(inbox.look())
        run(world, owner, files)
        asks.put(request)
        for _ in range(3):
            machine.held.heartbeat()
            finish(inbox.look())
            waited["looks"] += 1
        if truth.carried[request.request_id] != 1:
            raise Violation(f"a living owner carried a request out {truth.carried[request.request_id]} times")
        if SimulatedRows(memory).unanswered():
            raise Violation("a request stays unanswered")
        if any(count > 1 for count in truth.carried.values()):
            raise Violation("a request was carried out twice")
        if lost := world.ghost.lost(schedules.check_whole(world, machine, snapshot_of(observer))):  # type: ignore[arg-type]
            raise Violation(f"acknowledged rows are lost: {lost}")
        machine.held.release()

    world.kill(asker)
    schedules._alone(world, owner_machine, own_alone)
    world.counts["liveness phase"] += 1


def finish(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing but what is done at once."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


async def _here(deed: Any, *arguments: Any) -> Any:
    return deed(*arguments)


async def _pause(world: World, machine: Machine, seconds: float) -> None:
    held = machine.held
    if held is not None and not held.can_work():
        world.sleep(machine, seconds)
        held.heartbeat()
