"""From a look at the modules to the rows that say what production runs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from data_engine.commands.command import Asker
from data_engine.commands.deployments import Deploy, Rollback, Undeploy
from data_engine.deploy.gate import GoldenGate
from data_engine.deploy.sets import mend
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.quarantine import follow_rename
from data_engine.errors import FlowValidationError
from data_engine.flow.suggestions import near_offer
from data_engine.formatting import cli_line
from data_engine.ledger import deployments as ledger_rows
from data_engine.ledger.brought import known_states, put_outputs, put_states
from data_engine.ledger.ledger import Ledger
from data_engine.model import Compared, Deployment, utc_text
from data_engine.notebook import deployment_status
from data_engine.notebook.catalog import CatalogEntry
from data_engine.notebook.deploy import Deploy as GoesLive
from data_engine.notebook.deploy import (
    HeldBack,
    Move,
    SharesMirror,
    Sighting,
    mirror_key,
    mirror_taken_error,
    next_move,
    shared_mirror,
)
from data_engine.notebook.deployments import Pointer, config_of
from data_engine.notebook.flow_files import module_files
from data_engine.notebook.module_sets import ModuleSet
from data_engine.record import frozen
from data_engine.status.deployed_before import history_of
from data_engine.workspace.git import git_state
from data_engine.workspace.settings import DeploySettings


@frozen
class Looked:
    """The modules as they were found: the set they are stored in, and what becomes of each; the names of those that were `moved` to
    where flows are not looked for."""

    stored: ModuleSet
    entries: Mapping[str, CatalogEntry]
    moved: frozenset[str] = frozenset()


@frozen
class Production:
    """What production has: the `pointers` to what flows run, the `live` deployments, the names of flows that somebody `undeployed`, and of
    those `lost`, of whose deployment no whole copy is left."""

    pointers: Mapping[str, Pointer]
    live: Iterable[Deployment]
    undeployed: Collection[str] = ()
    lost: Collection[str] = ()


@frozen
class Decision:
    """The move of each module; the flows `going` live and those `gone`, which run no more; the new names of flows by which production
    follows them (`renames`: old by new), the flows that somebody had undeployed; and of those that stay as they were deployed and of
    which files were damaged those `mended`, and those `lost`, of which no whole copy is left."""

    moves: Mapping[str, Move]
    going: frozenset[str]
    gone: frozenset[str]
    renames: Mapping[str, str]
    undeployed: frozenset[str]
    mended: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()


def decision(
    home: LocalWorkspace,
    looked: Looked,
    asked: Deploy | None,
    gate: GoldenGate,
    *,
    by_itself: bool,
    unchanged_for_s: Callable[[str, str], float],
    damaged: Collection[str] = (),
) -> Decision:
    """What to do about the modules: of what somebody `asked` for, or by the rule alone, by which something goes live only `by_itself`.

    Where every flow is deployed, one whose module is gone runs no more. Reads the history, the sets and, as a gate, the goldens, which
    follow a flow that was renamed; changes nothing else but files of what flows run that are `damaged`, which are written anew.

    Raises:
        FlowValidationError: what was asked for cannot be.
    """

    def mirror_of(entry: CatalogEntry) -> str | None:
        return mirror_key(entry.mirror, home.layout.flow_modules_dir)

    past, pointers = ledger_rows.published(home.ledger()), home.deployments().deployed()
    is_all = by_itself if asked is None else asked.flow is None and asked.set_id is None
    renames = renames_of(home, looked, pointers, past, mirror_of, asked=asked)
    undeployed = undeployed_of(looked, past)
    digests = looked.stored.digests
    is_again = {
        name for name, one in pointers.items() if digests.get(name) == one.digest
    }  # any other is put whole anyway
    again, lost = is_again & {*damaged}, set[str]()
    with suppress(OSError):  # a share that is away is told by what needs it
        if again:
            lost = set(mend(home, again).lost)
    moves = decide(
        looked,
        Production(pointers, deployment_status.live_deployments(past).values(), undeployed, lost),
        asked=asked,
        settings=home.settings().deploy,
        mirror_of=mirror_of,
        unchanged_for_s=unchanged_for_s,
        renames=renames,
        is_all=is_all and asked is not None,  # by itself the other one goes first
    )
    going = {name for name, move in moves.items() if isinstance(move, GoesLive)} if asked or by_itself else set()
    for new in going & renames.keys():
        from data_engine.plan.golden import follow_rename

        follow_rename(home, renames[new], new)
    if going:
        held = gate.refuse(
            looked.stored.folder,
            {name: digests[name] for name in going},
            is_approved=asked is not None and asked.approve,
        )
        moves |= {name: HeldBack(error) for name, error in held.items()}
        going -= held.keys()
    gone = leaving(pointers, looked, renames, going, is_all=is_all)
    again -= going
    return Decision(
        moves,
        going=frozenset(going),
        gone=frozenset(gone),
        renames=renames,
        undeployed=frozenset(undeployed),
        mended=frozenset(again - lost),
        lost=frozenset(again & lost),
    )


def decide(
    looked: Looked,
    production: Production,
    *,
    asked: Deploy | None,
    settings: DeploySettings,
    mirror_of: Callable[[CatalogEntry], str | None],
    unchanged_for_s: Callable[[str, str], float],
    renames: Mapping[str, str],
    is_all: bool,
) -> dict[str, Move]:
    """What to do about each module that was found; `unchanged_for_s` says how long a module has had a digest, `renames` what a
    module was called that production is to follow, `is_all` that a flow whose module is gone will not run any more. Those that
    were undeployed go live only when they are asked for by their name; those lost are deployed anew."""
    pointers = production.pointers
    going_away = gone_of(pointers, looked) - set(renames.values()) if is_all else set()
    there = [one for one in production.live if one.flow not in going_away]
    moves: dict[str, Move] = {}
    for name, entry in sorted(looked.entries.items()):
        digest = looked.stored.digests.get(name, "")
        is_asked = (
            asked is not None and asked.is_about(name) and not (asked.flow is None and name in production.undeployed)
        )
        others = [one for one in there if one.flow != renames.get(name)]  # which it takes the place of
        sighting = Sighting(
            current=digest,
            deployed=pointers[name].digest if name in pointers and name not in production.lost else None,
            error=None if entry.error is None else str(entry.error),
            shares_with=shared_mirror(name, mirror_of(entry), others),
            unchanged_for_s=unchanged_for_s(name, digest),
            is_asked=is_asked,
            is_confirmed=is_asked and asked is not None and asked.force,
        )
        move = next_move(sighting, mode=settings.mode, quiet_s=settings.quiet_s)
        if isinstance(move, SharesMirror):
            move = replace(move, is_gone=move.other not in looked.stored.digests)
        moves[name] = move
        if isinstance(moves[name], GoesLive):  # of two that are asked for at once the second is told of the first
            there = [*others, Deployment("", 0, name, "deploy", "", mirror=mirror_of(entry))]
    return moves


def undeployed_of(looked: Looked, rows: Iterable[Deployment]) -> set[str]:
    """Of the modules that were found, those whose flow somebody undeployed."""
    return looked.entries.keys() & deployment_status.ended_deployments(rows).keys()


def renames_of(
    home: LocalWorkspace,
    looked: Looked,
    pointers: Mapping[str, Pointer],
    rows: Sequence[Deployment],
    mirror_of: Callable[[CatalogEntry], str | None],
    *,
    asked: Deploy | None = None,
) -> dict[str, str]:
    """Of each module that a flow has become by a new file name, the old name: a flow that is deployed, or that somebody undeployed
    before. A good one writes where that one does; or somebody who `asked` says so. `rows` is the history.

    Raises:
        FlowValidationError: what somebody says cannot be so.
    """
    found = _renames_seen(home, looked, pointers, rows, mirror_of, may_fetch=asked is not None)
    if asked is None or asked.replaces is None:
        return found
    new, old = require_replaceable(asked, looked, pointers, rows)
    return {name: was for name, was in found.items() if was != old} | {new: old}


def require_replaceable(
    asked: Deploy, looked: Looked, pointers: Mapping[str, Pointer], rows: Sequence[Deployment]
) -> tuple[str, str]:
    """The flow that is asked for, and the one whose place it is to take.

    Raises:
        FlowValidationError: none is named, it runs itself, or the other was never deployed or has its module.
    """
    new, old = asked.flow, asked.replaces or ""
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
    elif old not in ran and any(one.flow == old for one in rows):
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
    mirror_of: Callable[[CatalogEntry], str | None],
    *,
    may_fetch: bool,
) -> dict[str, str]:
    """The renames that show by what the modules hold; `may_fetch` that sets are brought from the share."""
    there = looked.stored.digests
    ran = {name: one for name, one in deployment_status.ended_deployments(rows).items() if name not in there}
    was = {name: one for name, one in deployment_status.live_deployments(rows).items() if name not in there}
    if not (ran or was) or not looked.entries.keys() - pointers.keys():
        return {}
    deployments = home.deployments()
    contents = deployments.contents_of(looked.stored.id) or {}
    newest = {one.flow: one.number for one in sorted(rows, key=lambda one: one.number)}
    now: dict[str, Deployment] = {}
    for name, one in (*sorted(ran.items(), key=lambda item: item[1].number), *sorted(was.items())):
        new = deployments.became(name, one.set_id, contents, may_fetch=may_fetch and name in ran)
        if new is None or new not in looked.entries or (name in ran and newest.get(new, 0) > one.number):
            continue  # what was deployed itself since then is a flow of its own
        now[new] = one
    return {
        new: one.flow
        for new, one in now.items()
        if looked.entries[new].error is not None or mirror_of(looked.entries[new]) == one.mirror
    }


def leaving(
    pointers: Mapping[str, Pointer], looked: Looked, renames: Mapping[str, str], going: Collection[str], *, is_all: bool
) -> set[str]:
    """The flows that production runs no more: those whose new name goes live, and where `is_all` those whose module is gone; one
    that was renamed runs on until its new name is good."""
    followed = {old for new, old in renames.items() if new in going}
    return followed | (gone_of(pointers, looked) - set(renames.values()) if is_all else set())


def gone_of(pointers: Mapping[str, Pointer], looked: Looked) -> set[str]:
    """The deployed flows whose module was deleted: of those that were moved somebody has to say it."""
    return set(pointers.keys() - looked.entries.keys() - looked.moved)


def new_deployments(
    home: LocalWorkspace, looked: Looked, decided: Decision, asked: Deploy | None, asker: Asker
) -> list[Deployment]:
    """The rows that let the flows that go live run from what was found, and those that are gone from nothing any more; where a flow
    was renamed, that row points to the one of its new name."""
    from data_engine.proof.kept import compared_in

    deployments, renames = home.deployments(), decided.renames
    contents = deployments.contents_of(looked.stored.id) or {}
    commit, is_dirty = git_state(home.layout.flow_modules_dir)
    note = '[deploy] mode = "auto"' if asked is None else asked.note
    if asked is not None and asked.approve:
        note = f"{note} [goldens approved by {asker.who}]".lstrip()
    base = replace(_row(asker, note), git_commit=commit, git_dirty=is_dirty, config=config_of(home.layout))
    told = {} if asked is None else asked.compared or {}
    going = sorted(decided.going)
    compared = {**compared_in(home, contents, going), **{flow: Compared.read(one) for flow, one in told.items()}}
    rows = []
    for name in going:
        row = replace(
            base,
            id=uuid.uuid4().hex,
            flow=name,
            kind="deploy",
            set_id=looked.stored.id,
            digest=looked.stored.digests[name],
            cells=deployments.changed_cells(name, looked.stored.id) or (),
            helpers=deployments.changed_helpers(name, contents),
            mirror=mirror_key(looked.entries[name].mirror, home.layout.flow_modules_dir),
            watches=_watched(looked.entries[name], home.layout.flow_modules_dir),
            compared=compared.get(name),
        )
        rows.append(row)
    now = {renames[row.flow]: row.id for row in rows if row.flow in renames}
    return rows + [_withdrawn(base, name, now.get(name)) for name in sorted(decided.gone)]


def _watched(entry: CatalogEntry, folder: Path) -> str | None:
    """Where the flow reads by itself, as every workstation calls it."""
    return None if entry.mode == "manual" else mirror_key(entry.source, folder)


def withdrawal(home: LocalWorkspace, asked: Undeploy, asker: Asker) -> Deployment:
    """The row that lets a flow run from nothing any more, as a person asked for.

    Raises:
        FlowValidationError: it is not deployed, or would be deployed again by itself.
    """
    name, looked = asked.flow, module_files(home.layout.flow_modules_dir)
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
    return replace(_withdrawn(_row(asker, asked.note), name), id=asked.id)


def done_already(home: LocalWorkspace, asked: Undeploy | Rollback) -> Deployment | None:
    """What came of this very request, when it was asked before; None where it is new."""
    return next((one for one in ledger_rows.published(home.ledger(), asked.flow) if one.id == asked.id), None)


def _withdrawn(base: Deployment, name: str, of: str | None = None) -> Deployment:
    return replace(base, id=uuid.uuid4().hex, flow=name, kind="withdraw", set_id="", of=of)


def write_deployments(home: LocalWorkspace, rows: list[Deployment], put: Collection[str] = ()) -> None:
    """Put the sets of these deployments on the share, but for those just `put`, and then the rows that point to them into the ledger.

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


def rolled_back(home: LocalWorkspace, asked: Rollback, asker: Asker) -> Deployment:
    """The row that lets a flow run what it ran before, or the deployment that was asked for.

    Raises:
        FlowValidationError: there is nothing to go back to, or another flow that is deployed writes its mirror now.
        DamagedSetError: its set is not what was deployed.
    """
    rows = history_of(home)
    chosen = deployment_status.to_roll_back_to(rows, asked.flow, asked.to)
    other = shared_mirror(asked.flow, chosen.mirror, deployment_status.live_deployments(rows).values())
    if other is not None:
        raise mirror_taken_error(chosen, other)
    home.deployments().copy_of(chosen.set_id)
    return replace(
        chosen,
        id=asked.id,
        kind="rollback",
        of=chosen.of or chosen.id,
        by=asker.by,
        machine=asker.machine,
        asked_by=asker.file_owner,
        note=asked.note,
        at_utc=utc_text(time.time()),
    )


def _row(asker: Asker, note: str) -> Deployment:
    """A row of now, for whoever asks."""
    return Deployment(
        "",
        0,
        "",
        "deploy",
        "",
        by=asker.by,
        machine=asker.machine,
        at_utc=utc_text(time.time()),
        note=note,
        asked_by=asker.file_owner,
    )


def carry_over(ledger: Ledger, old: str, new: str) -> None:
    """Let flow `new` know the sources, outputs and switch of flow `old`, where it knows nothing newer; the runs stay where they are.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    put_states(ledger, [state._replace(flow=new) for state in known_states(ledger).values() if state.flow == old])
    put_outputs(ledger, new, ledger.outputs(old))
    switches = ledger.switches()
    if old in switches and new not in switches:
        ledger.set_switch(new, switches[old])
