"""Carry out a deploy, an undeploy and a rollback, from a look at the modules to the rows that say what production runs: the same
code for a daemon and for a process that owns the workspace for one commit."""

from __future__ import annotations

import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from data_engine.commands.command import Asker
from data_engine.commands.deployments import Deploy, Outcome, Rollback, Undeploy
from data_engine.deploy.gate import GoldenGate
from data_engine.deploy.sets import mend
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.quarantine import follow_rename
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line
from data_engine.ledger import deployments as ledger_rows
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.merge import known_states, put_outputs, put_states
from data_engine.model import Deployment, KernelComparison, utc_text
from data_engine.notebook import deployment_status
from data_engine.notebook.catalog import CatalogEntry
from data_engine.notebook.deploy import (
    Move,
    Sighting,
    mirror_key,
    mirror_taken_error,
    next_move,
    shared_mirror,
    shares_mirror_error,
)
from data_engine.notebook.deployments import Pointer, config_of
from data_engine.notebook.flow_files import module_files
from data_engine.notebook.mirror_warnings import shared_text
from data_engine.notebook.module_sets import ModuleSet
from data_engine.record import frozen
from data_engine.status.deployed_before import find_flow, history_of
from data_engine.suggestions import near_offer
from data_engine.workspace.git import git_state
from data_engine.workspace.machine import person

T = TypeVar("T")


@frozen
class Looked:
    """The modules at one look: the set they are stored in, the entry of each, and the names of those that were `moved` to where flows
    are not looked for."""

    stored: ModuleSet
    entries: Mapping[str, CatalogEntry]
    moved: frozenset[str] = frozenset()


@frozen
class DeployDecision:
    """The move of each module; the flows `going` live, and those `gone`, which end; the `renames` that production follows (old name by
    new); the flows that somebody had undeployed; and of the flows that stay as deployed and had damaged files those `mended`, and
    those `lost`, without a whole copy."""

    moves: Mapping[str, Move]
    going: frozenset[str]
    gone: frozenset[str]
    renames: Mapping[str, str]
    undeployed: frozenset[str]
    mended: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()


class Production(ABC):
    """Changes what a workspace runs. Each kind of owner says how it owns the workspace, looks at modules, publishes, and where it runs
    blocking calls; `gate` refuses flows whose goldens do not hold."""

    __slots__ = ()

    home: LocalWorkspace
    gate: GoldenGate

    @abstractmethod
    def owned(self, look: Callable[[], Coroutine[Any, Any, T]]) -> AbstractAsyncContextManager[T]:
        """Own the workspace until the end of the block, which gets the value of `look`.

        Raises:
            OwnedElsewhereError: another workstation owns it, or the share cannot be used.
        """

    @abstractmethod
    async def look(self, command: Deploy) -> Looked:
        """The modules as they are now, or in the set that the command names."""

    @abstractmethod
    async def publish(self, rows: list[Deployment]) -> None:
        """Put the sets of these deployments on the share, and let flows run them.

        Raises:
            FlowValidationError: it cannot be published.
            OwnedElsewhereError: the workspace is not ours any more.
        """

    @abstractmethod
    async def call(self, work: Callable[..., T], *args: object) -> T:
        """Call `work`, which may block; its value."""

    @abstractmethod
    async def follow(self) -> None:
        """Show what was published, where there is a screen."""

    def unchanged_for_s(self, name: str, digest: str) -> float:
        """How long a module has had this digest, where that counts."""
        return 0.0

    async def deploy(self, command: Deploy, asker: Asker) -> Outcome:
        """Deploy the module that the command names, or every one.

        Raises:
            FlowValidationError: there is no such module, or it cannot be published.
            DamagedSetError: the set on the share is not what its name says.
        """
        if command.flow is not None and command.set_id is None:
            await self.call(find_flow, self.home, command.flow)
        damaged = await self.call(_damaged, self.home, command)  # before the modules are put on the share again
        async with self.owned(lambda: self.look(command)) as looked:
            await self.take_over_local()
            if command.flow is not None and command.flow not in looked.entries:
                place = self.home.layout.flow_modules_dir if command.set_id is None else f"the set {command.set_id[:8]}"
                what = f"there is no flow {command.flow!r} to deploy"
                raise FlowValidationError(what, where=str(place), fix="save the notebook first")
            decided = await self.decide(looked, command, damaged=damaged)
            rows = await self.put_live(looked, decided, command, asker)
        await self.follow()
        return Outcome(
            answered(looked, decided, command),
            tuple(rows),
            tuple(sorted(decided.gone)),
            mended=tuple(sorted(decided.mended)),
            lost=tuple(sorted(decided.lost)),
        )

    async def undeploy(self, command: Undeploy, asker: Asker) -> Outcome:
        """Stop running a flow in production.

        Raises:
            FlowValidationError: it is not deployed, or would be deployed again by itself.
        """
        row = await self._add(command, lambda: withdrawal(self.home, command, asker))
        return Outcome((), (row,), (row.flow,))

    async def roll_back(self, command: Rollback, asker: Asker) -> Deployment:
        """Let a flow run what it ran before.

        Raises:
            FlowValidationError: there is nothing to go back to.
        """
        return await self._add(command, lambda: rolled_back(self.home, command, asker))

    async def _add(self, command: Undeploy | Rollback, make: Callable[[], Deployment]) -> Deployment:
        async with self.owned(_nothing):
            await self.take_over_local()
            rows = await self.call(ledger_rows.published, self.home.ledger(), command.flow)
            row = next((row for row in rows if row.id == command.id), None)  # of the same request, made before
            if row is None:
                row = await self.call(make)
                await self.publish([row])
        await self.follow()
        return row

    async def decide(
        self, looked: Looked, command: Deploy | None, *, by_itself: bool = False, damaged: Collection[str] = ()
    ) -> DeployDecision:
        """Decide about the modules: by a `command`, or by the rule alone, which lets modules go live only `by_itself`.

        Where every flow is deployed, one whose module is gone ends. Reads the history, the sets and, as a gate, the goldens, which
        follow a renamed flow; changes nothing, but repairs the `damaged` files of flows.

        Raises:
            FlowValidationError: the command is not possible.
        """
        return await self.call(self._decision, looked, command, by_itself, damaged)

    def _decision(
        self, looked: Looked, command: Deploy | None, by_itself: bool, damaged: Collection[str]
    ) -> DeployDecision:
        home = self.home
        past, pointers = ledger_rows.published(home.ledger()), home.deployments().deployed()
        is_all = by_itself if command is None else command.flow is None and command.set_id is None
        renames = renames_of(home, looked, pointers, past, command=command)
        undeployed = looked.entries.keys() & deployment_status.ended_deployments(past).keys()
        digests = looked.stored.digests
        # any other is put whole anyway
        again = {name for name, pointer in pointers.items() if name in damaged and digests.get(name) == pointer.digest}
        lost = set[str]()
        with suppress(OSError):  # a share that is away is told by what needs it
            if again:
                lost = set(mend(home, again).lost)
        live = [*deployment_status.live_deployments(past).values()]
        if is_all and command is not None:  # by itself the other one goes first
            going_away = gone_of(pointers, looked) - set(renames.values())
            live = [row for row in live if row.flow not in going_away]
        deployed = {name: pointer.digest for name, pointer in pointers.items() if name not in lost}
        moves = self._moves(looked, command, undeployed, deployed, live, renames)
        going = {name for name, move in moves.items() if move.kind == "deploy"} if command or by_itself else set()
        if going:
            held = self._held_back(looked, {new: renames.get(new) for new in going}, command)
            moves |= {name: Move("held_back", error=error) for name, error in held.items()}
            going -= held.keys()
        gone = leaving(pointers, looked, renames, going, is_all=is_all)
        again -= going
        return DeployDecision(
            moves,
            going=frozenset(going),
            gone=frozenset(gone),
            renames=renames,
            undeployed=frozenset(undeployed),
            mended=frozenset(again - lost),
            lost=frozenset(again & lost),
        )

    def _held_back(
        self, looked: Looked, going: Mapping[str, str | None], command: Deploy | None
    ) -> dict[str, FlowValidationError]:
        """The errors of flows `going` live whose goldens do not hold; `going` has their old names, which goldens follow, or None."""
        for new, old in going.items():
            if old is not None:
                from data_engine.plan.golden import follow_rename

                follow_rename(self.home, old, new)
        digests = {name: looked.stored.digests[name] for name in going}
        return self.gate.refuse(looked.stored.folder, digests, is_approved=command is not None and command.approve)

    def _moves(
        self,
        looked: Looked,
        command: Deploy | None,
        undeployed: Collection[str],
        deployed: Mapping[str, str],
        live: Iterable[Deployment],
        renames: Mapping[str, str],
    ) -> dict[str, Move]:
        """The move of each module; `deployed` are the digests of what flows run, `live` the deployments that stay, `renames` the old
        names that production follows. An `undeployed` flow goes live only by name."""
        settings, there = self.home.settings().deploy, list(live)
        left_out = undeployed if command is None or command.flow is None else ()
        moves: dict[str, Move] = {}
        for name, entry in sorted(looked.entries.items()):
            digest, mirror = looked.stored.digests.get(name, ""), _mirror(self.home, entry)
            is_asked = command is not None and command.is_about(name) and name not in left_out
            others = [row for row in there if row.flow != renames.get(name)]  # without the one it replaces
            sighting = Sighting(
                current=digest,
                deployed=deployed.get(name),
                error=entry.error,
                shares_with=shared_mirror(name, mirror, others),
                unchanged_for_s=self.unchanged_for_s(name, digest),
                is_asked=is_asked,
                is_confirmed=is_asked and command is not None and command.force,
            )
            move = next_move(sighting, mode=settings.mode, quiet_s=settings.quiet_s)
            if move.kind == "shares_mirror":
                move = replace(move, is_gone=move.other not in looked.stored.digests)
            moves[name] = move
            if move.kind == "deploy":  # the second of two in one command is refused for the first
                there = [*others, Deployment("", 0, name, "deploy", "", mirror=mirror)]
        return moves

    async def put_live(
        self, looked: Looked, decided: DeployDecision, command: Deploy | None, asker: Asker
    ) -> list[Deployment]:
        """Publish a decision; its rows.

        Raises:
            FlowValidationError: it cannot be published.
        """
        if not (decided.going or decided.gone):
            return []
        rows = await self.call(new_deployments, self.home, looked, decided, command, asker)
        await self.publish(rows)
        return rows

    async def take_over_local(self) -> None:
        """Publish, once, what this machine deployed before deployments travelled.

        Raises:
            OwnedElsewhereError, WorkspaceError: it cannot be published now.
        """
        rows = await self.call(_deployed_locally, self.home)
        if rows:
            await self.publish(rows)
        path = _local_list(self.home)
        with suppress(OSError):
            path.replace(path.with_suffix(".taken"))


async def _nothing() -> None:
    """Look at nothing."""


def _damaged(home: LocalWorkspace, command: Deploy) -> set[str]:
    """The flows of the command that run a set with missing or damaged files; none where the share is away, which fails later."""
    flows = list(filter(command.is_about, home.deployments().deployed()))
    with suppress(OSError):
        if flows:
            sets = mend(home, flows, may_write=False)
            return {*sets.mended, *sets.lost}
    return set()


def _deployed_locally(home: LocalWorkspace) -> list[Deployment]:
    """The rows for what this machine alone had deployed; without flows that have a history already, or no set."""
    try:
        values = json.loads(_local_list(home).read_text(encoding="utf-8"))
        pointers = {str(name): (str(value["set"]), str(value["digest"])) for name, value in values.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []
    flows = {row.flow for row in ledger_rows.published(home.ledger())}
    sets = home.deployments()
    there = {set_id for set_id in {set_id for set_id, _ in pointers.values()} if sets.contents_of(set_id) is not None}
    note, at_utc = "was deployed on this machine before deployments travelled", utc_text(time.time())
    return [
        Deployment(uuid.uuid4().hex, 0, name, "deploy", set_id, digest, *person(), at_utc, note)
        for name, (set_id, digest) in sorted(pointers.items())
        if name not in flows and set_id in there
    ]


def _local_list(home: LocalWorkspace) -> Path:
    return home.local.runtime_dir / "deployments" / "deployed.json"


def answered(looked: Looked, decided: DeployDecision, command: Deploy) -> tuple[CatalogEntry, ...]:
    """The entries of the command's modules, each with the error why it was not deployed; a command for every flow leaves out the
    undeployed ones. A refusal about two flows with one mirror is not repeated as a warning."""
    left_out, moves = decided.undeployed if command.flow is None else (), decided.moves
    about = {name: entry for name, entry in looked.entries.items() if command.is_about(name) and name not in left_out}
    warnings = {
        shared_text(Path(entry.mirror), (name, move.other))
        for name, entry in about.items()
        if (move := moves.get(name)) is not None and move.kind == "shares_mirror" and entry.mirror is not None
    }
    entries = (_refused(entry, moves.get(name)) for name, entry in sorted(about.items()))
    return tuple(replace(entry, warnings=tuple(w for w in entry.warnings if w not in warnings)) for entry in entries)


def _refused(entry: CatalogEntry, move: Move | None) -> CatalogEntry:
    """The entry, with an error where its move needs a decision by a person."""
    if move is not None and move.kind == "held_back":
        return replace(entry, error=move.error)
    if move is not None and move.kind == "shares_mirror":
        error = shares_mirror_error(entry.name, entry.mirror, str(entry.path), move.other, is_gone=move.is_gone)
        return replace(entry, error=error)
    return entry


def renames_of(
    home: LocalWorkspace,
    looked: Looked,
    pointers: Mapping[str, Pointer],
    rows: Sequence[Deployment],
    *,
    command: Deploy | None,
) -> dict[str, str]:
    """The old name of each module that is a renamed flow, deployed or undeployed before, by its new name. A good module must write
    where the old flow did, unless the `command` names the rename. `rows` is the history.

    Raises:
        FlowValidationError: the rename of the command is not possible.
    """
    renames = _renames_seen(home, looked, pointers, rows, may_fetch=command is not None)
    if command is None or command.replaces is None:
        return renames
    new, old = require_replaceable(command, looked, pointers, rows)
    return {name: was for name, was in renames.items() if was != old} | {new: old}


def require_replaceable(
    command: Deploy, looked: Looked, pointers: Mapping[str, Pointer], rows: Sequence[Deployment]
) -> tuple[str, str]:
    """The new and the old flow of a `--replaces`.

    Raises:
        FlowValidationError: the new one is not named or is deployed, or the old one was never deployed or has its module.
    """
    new, old = command.flow, command.replaces or ""
    ran = {*pointers, *deployment_status.ended_deployments(rows)}
    if new is None:
        what, fix = (
            "the flow that replaces it is not named",
            f"name it: `{cli_line('deploy', 'NAME', '--replaces', old)}`",
        )
    elif old in looked.stored.digests:
        what, fix = (
            f"the module of {old} is still there",
            f"leave --replaces out; `{cli_line('undeploy', old)}` ends {old}",
        )
    elif old not in ran and any(row.flow == old for row in rows):
        what, fix = (
            "production follows it under another name already",
            f"`{cli_line('deployments', old)}` shows what became of it",
        )
    elif old not in ran:
        what = f"{old} was never deployed"
        fix = f"{near_offer(old, ran - {new})}`{cli_line('deployments')}` lists what was deployed"
    elif new in pointers:
        what, fix = f"{new} is deployed itself", f"leave --replaces out; `{cli_line('undeploy', old)}` ends {old}"
    else:
        return new, old
    raise FlowValidationError(f"{new or 'nothing'} cannot replace {old}: {what}", where="deploy --replaces", fix=fix)


def _renames_seen(
    home: LocalWorkspace,
    looked: Looked,
    pointers: Mapping[str, Pointer],
    rows: Sequence[Deployment],
    *,
    may_fetch: bool,
) -> dict[str, str]:
    """The renames that the modules' contents show; `may_fetch`: sets may be read from the share."""
    there = looked.stored.digests
    ran = {name: row for name, row in deployment_status.ended_deployments(rows).items() if name not in there}
    was = {name: row for name, row in deployment_status.live_deployments(rows).items() if name not in there}
    if not (ran or was) or not looked.entries.keys() - pointers.keys():
        return {}
    deployments = home.deployments()
    contents = deployments.contents_of(looked.stored.id) or {}
    newest = {row.flow: row.number for row in sorted(rows, key=lambda row: row.number)}
    now: dict[str, Deployment] = {}
    for name, row in (*sorted(ran.items(), key=lambda pair: pair[1].number), *sorted(was.items())):
        new = deployments.became(name, row.set_id, contents, may_fetch=may_fetch and name in ran)
        if new is None or new not in looked.entries or (name in ran and newest.get(new, 0) > row.number):
            continue  # deployed itself since then: a flow of its own
        now[new] = row
    return {
        new: row.flow
        for new, row in now.items()
        if looked.entries[new].error is not None or _mirror(home, looked.entries[new]) == row.mirror
    }


def leaving(
    pointers: Mapping[str, Pointer], looked: Looked, renames: Mapping[str, str], going: Collection[str], *, is_all: bool
) -> set[str]:
    """The flows that production ends: those whose new name goes live, and where `is_all` those whose module is gone; a renamed flow
    runs on until its new name is good."""
    followed = {old for new, old in renames.items() if new in going}
    return followed | (gone_of(pointers, looked) - set(renames.values()) if is_all else set())


def gone_of(pointers: Mapping[str, Pointer], looked: Looked) -> set[str]:
    """The deployed flows whose module was deleted; for a moved one a person has to say that it ends."""
    return set(pointers.keys() - looked.entries.keys() - looked.moved)


def new_deployments(
    home: LocalWorkspace, looked: Looked, decided: DeployDecision, command: Deploy | None, asker: Asker
) -> list[Deployment]:
    """The rows of a decision: one for each flow that goes live, and one that ends each flow that is gone; for a renamed flow it
    points to the row of its new name."""
    from data_engine.proof.verdict_store import compared_in

    deployments, renames = home.deployments(), decided.renames
    contents = deployments.contents_of(looked.stored.id) or {}
    commit, is_dirty = git_state(home.layout.flow_modules_dir)
    note = '[deploy] mode = "auto"' if command is None else command.note
    if command is not None and command.approve:
        note = f"{note} [goldens approved by {asker.who}]".lstrip()
    facts: dict[str, Any] = {
        "git_commit": commit,
        "git_dirty": is_dirty,
        "config": config_of(home.layout),
        **_asked(asker, note),
    }
    base = Deployment("", 0, "", "deploy", "", **facts)
    values = {} if command is None else command.compared or {}
    going = sorted(decided.going)
    compared = {
        **compared_in(home, contents, going),
        **{flow: KernelComparison.read(data) for flow, data in values.items()},
    }
    rows = []
    for name in going:
        entry = looked.entries[name]
        row = replace(
            base,
            id=uuid.uuid4().hex,
            flow=name,
            kind="deploy",
            set_id=looked.stored.id,
            digest=looked.stored.digests[name],
            cells=deployments.changed_cells(name, looked.stored.id) or (),
            helpers=deployments.changed_helpers(name, contents),
            mirror=_mirror(home, entry),
            watches=None if entry.mode == "manual" else mirror_key(entry.source, home.layout.flow_modules_dir),
            compared=compared.get(name),
        )
        rows.append(row)
    now = {renames[row.flow]: row.id for row in rows if row.flow in renames}
    return rows + [_withdrawn(base, name, now.get(name)) for name in sorted(decided.gone)]


def _mirror(home: LocalWorkspace, entry: CatalogEntry) -> str | None:
    """The key of the flow's mirror, the same on every workstation."""
    return mirror_key(entry.mirror, home.layout.flow_modules_dir)


def withdrawal(home: LocalWorkspace, command: Undeploy, asker: Asker) -> Deployment:
    """The row that ends a flow in production.

    Raises:
        FlowValidationError: it is not deployed, or would be deployed again by itself.
    """
    name, looked = command.flow, module_files(home.layout.flow_modules_dir)
    if name not in home.deployments().deployed():
        near = "" if name in looked else near_offer(name, home.deployments().deployed())
        raise FlowValidationError(
            f"{name} is not deployed, so there is nothing to undeploy",
            where="undeploy",
            fix=f"{near}`data-engine deployments` lists what was deployed",
        )
    if name in looked and home.settings().deploy.mode == "auto":
        raise FlowValidationError(
            f'{name} would be deployed again at once: [deploy] mode is "auto", and its module is there',
            where="undeploy",
            fix=f"take the module out of flow_modules, or let it run by hand only: {cli_line('disable', name)}",
        )
    return replace(_withdrawn(Deployment("", 0, "", "", "", **_asked(asker, command.note)), name), id=command.id)


def _withdrawn(base: Deployment, name: str, of: str | None = None) -> Deployment:
    return replace(base, id=uuid.uuid4().hex, flow=name, kind="withdraw", set_id="", of=of)


def write_deployments(home: LocalWorkspace, rows: list[Deployment], put: Collection[str] = ()) -> None:
    """Put the sets of these deployments on the share, except those just `put`, and then their rows into the ledger.

    Raises:
        OSError: the share is away, full or read-only.
        FlowValidationError: a set is not on this machine.
    """
    files, deployments = home.deployment_files(), home.deployments()
    for set_id in {row.set_id for row in rows if row.kind != "withdraw"} - set(put):
        contents = deployments.contents_of(set_id)
        if contents is None:
            raise FlowValidationError(
                f"the set {set_id[:8]} is not on this machine any more",
                where=str(home.local.runtime_dir),
                fix="deploy again",
            )
        files.put(contents)
    for old in rows:
        for new in rows:
            if old.kind == "withdraw" and old.of == new.id:
                carry_over(home.ledger(), old.flow, new.flow)
                follow_rename(home.layout.root, old.flow, new.flow)
    ledger_rows.add(home.ledger(), rows)


def rolled_back(home: LocalWorkspace, command: Rollback, asker: Asker) -> Deployment:
    """The row that lets a flow run its previous deployment again, or the one that the command names.

    Raises:
        FlowValidationError: there is nothing to go back to, or another flow that is deployed writes its mirror now.
        DamagedSetError: its set is not what was deployed.
    """
    rows = history_of(home)
    chosen = deployment_status.to_roll_back_to(rows, command.flow, command.to)
    other = shared_mirror(command.flow, chosen.mirror, deployment_status.live_deployments(rows).values())
    if other is not None:
        raise mirror_taken_error(chosen, other)
    home.deployments().copy_of(chosen.set_id)
    return replace(
        chosen,
        id=command.id,
        kind="rollback",
        of=chosen.of or chosen.id,
        **_asked(asker, command.note),
    )


def _asked(asker: Asker, note: str) -> dict[str, Any]:
    """The fields of a row that say who asked for it, now."""
    who = {"by": asker.by, "machine": asker.machine, "asked_by": asker.file_owner}
    return {**who, "at_utc": utc_text(time.time()), "note": note}


def carry_over(ledger: Ledger, old: str, new: str) -> None:
    """Copy the sources, outputs and switch of flow `old` to flow `new`, where it has nothing newer; the runs stay with `old`.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    put_states(ledger, [state._replace(flow=new) for state in known_states(ledger).values() if state.flow == old])
    put_outputs(ledger, new, ledger.outputs(old))
    switches = ledger.switches()
    if old in switches and new not in switches:
        ledger.set_switch(new, switches[old])
