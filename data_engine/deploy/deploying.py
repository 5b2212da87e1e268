"""From a look at the modules to the rows that say what production runs: the same with a daemon and without."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.flow.suggestions import meant
from data_engine.ledger import deployments as ledger_rows
from data_engine.ledger.renamed import carry_over
from data_engine.model import Compared, Deployment, utc_text
from data_engine.notebook import history
from data_engine.notebook.catalog import CatalogEntry, entry_message, entry_of_message
from data_engine.notebook.config_read import configs_read
from data_engine.notebook.deploy import (
    Deploy,
    HeldBack,
    Move,
    SharesMirror,
    Sighting,
    mirror_key,
    mirror_taken_error,
    next_move,
    shared_mirror,
    shares_mirror_error,
)
from data_engine.notebook.deployments import Pointer
from data_engine.notebook.mirror_warnings import shared_words
from data_engine.notebook.module_sets import ModuleSet
from data_engine.status.deployed_before import history_of
from data_engine.typed import typed
from data_engine.workspace.git import git_state
from data_engine.workspace.machine import person
from data_engine.workspace.settings import DeploySettings


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for: the flow `name`, or every module (None). `is_confirmed` that two flows may write one mirror.

    `is_approved` that it goes live though its goldens do not hold; `is_withdrawal` that production is to run it no more; `replaces` is
    the flow whose module is gone and that it is now. `by` and `machine` are who says so; `file_owner` who owns the request's file, where it came as one.
    `id` is that of the deployment which undeploys or rolls back: who asks again, because the answer was lost, gets what was done.
    `compared` is how the notebooks compared with their kernels where it was asked, by flow.
    """

    name: str | None = None
    note: str = ""
    is_confirmed: bool = False
    by: str = ""
    machine: str = ""
    file_owner: str | None = None
    is_approved: bool = False
    is_withdrawal: bool = False
    replaces: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    compared: Mapping[str, Compared] = field(default_factory=dict)

    def is_about(self, name: str) -> bool:
        """Whether this module was asked for."""
        return self.name in (None, name)


@dataclass(frozen=True, slots=True)
class Looked:
    """The modules as they were found: the set they are stored in, and what becomes of each; the names of those that were `moved` to
    where flows are not looked for."""

    stored: ModuleSet
    entries: Mapping[str, CatalogEntry]
    moved: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: the `entries` that were asked for, each with its error where it was not deployed; the `deployments`
    that were made; the names of flows that were `withdrawn`, and of those that were `renamed` the new one by the old."""

    entries: tuple[CatalogEntry, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    withdrawn: tuple[str, ...] = ()

    @property
    def renamed(self) -> dict[str, str]:
        """The new names of flows that production follows, by the old."""
        new = {one.id: one.flow for one in self.deployments}
        return {one.flow: new[one.of] for one in self.deployments if one.kind == "withdraw" and one.of in new}

    def as_dict(self) -> dict[str, Any]:
        """As it crosses processes."""
        return {
            "entries": [entry_message(entry) for entry in self.entries],
            "deployments": [one.as_dict() for one in self.deployments],
            "withdrawn": list(self.withdrawn),
        }

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Outcome:
        """The outcome that `as_dict` tells of; its flows have no steps."""
        return cls(
            tuple(entry_of_message(entry) for entry in told["entries"]),
            tuple(Deployment.read(one) for one in told["deployments"]),
            tuple(told["withdrawn"]),
        )


def decide(
    looked: Looked,
    pointers: Mapping[str, Pointer],
    live: Iterable[Deployment],
    *,
    asked: Asked | None,
    settings: DeploySettings,
    mirror_of: Callable[[CatalogEntry], str | None],
    unchanged_for_s: Callable[[str, str], float],
    renames: Mapping[str, str],
    is_all: bool,
    undeployed: Collection[str] = (),
    lost: Collection[str] = (),
) -> dict[str, Move]:
    """What to do about each module that was found; `unchanged_for_s` says how long a module has had a digest, `renames` what a
    module was called that production is to follow, `is_all` that a flow whose module is gone will not run any more. Those that
    were `undeployed` go live only when they are asked for by their name. Those `lost`, of whose deployment no whole copy is left, are
    deployed anew."""
    going_away = gone_of(pointers, looked) - set(renames.values()) if is_all else set()
    there = [one for one in live if one.flow not in going_away]
    moves: dict[str, Move] = {}
    for name, entry in sorted(looked.entries.items()):
        digest = looked.stored.digests.get(name, "")
        is_asked = asked is not None and asked.is_about(name) and not (asked.name is None and name in undeployed)
        others = [one for one in there if one.flow != renames.get(name)]  # which it takes the place of
        sighting = Sighting(
            current=digest,
            deployed=pointers[name].digest if name in pointers and name not in lost else None,
            error=None if entry.error is None else str(entry.error),
            shares_with=shared_mirror(name, mirror_of(entry), others),
            unchanged_for_s=unchanged_for_s(name, digest),
            is_asked=is_asked,
            is_confirmed=is_asked and asked is not None and asked.is_confirmed,
        )
        move = next_move(sighting, mode=settings.mode, quiet_s=settings.quiet_s)
        if isinstance(move, SharesMirror):
            move = replace(move, is_gone=move.other not in looked.stored.digests)
        moves[name] = move
        if isinstance(moves[name], Deploy):  # of two that are asked for at once the second is told of the first
            there = [*others, Deployment("", 0, name, "deploy", "", mirror=mirror_of(entry))]
    return moves


def undeployed_of(looked: Looked, rows: Iterable[Deployment]) -> set[str]:
    """Of the modules that were found, those whose flow somebody undeployed."""
    return looked.entries.keys() & history.ended(rows).keys()


def renames_of(
    home: LocalWorkspace,
    looked: Looked,
    pointers: Mapping[str, Pointer],
    rows: Sequence[Deployment],
    mirror_of: Callable[[CatalogEntry], str | None],
    *,
    asked: Asked | None = None,
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
    asked: Asked, looked: Looked, pointers: Mapping[str, Pointer], rows: Sequence[Deployment]
) -> tuple[str, str]:
    """The flow that is asked for, and the one whose place it is to take.

    Raises:
        FlowValidationError: none is named, it runs itself, or the other was never deployed or has its module.
    """
    new, old = asked.name, asked.replaces or ""
    ran = {*pointers, *history.ended(rows)}
    if new is None:
        what, fix = "the flow that replaces it is not named", f"name it: `{typed('deploy', 'NAME', '--replaces', old)}`"
    elif old in looked.stored.digests:
        what, fix = (
            f"the module of {old} is still there",
            f"leave --replaces out; `{typed('undeploy', old)}` ends {old}",
        )
    elif old not in ran and any(one.flow == old for one in rows):
        what, fix = (
            "production follows it under another name already",
            f"`{typed('deployments', old)}` shows what became of it",
        )
    elif old not in ran:
        what = f"{old} was never deployed"
        fix = f"{meant(old, ran - {new})}`{typed('deployments')}` lists what was deployed"
    elif new in pointers:
        what, fix = f"{new} is deployed itself", f"leave --replaces out; `{typed('undeploy', old)}` ends {old}"
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
    ran = {name: one for name, one in history.ended(rows).items() if name not in there}
    was = {name: one for name, one in history.live(rows).items() if name not in there}
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
    home: LocalWorkspace,
    looked: Looked,
    going: Iterable[str],
    gone: Iterable[str],
    asked: Asked | None,
    renames: Mapping[str, str],
) -> list[Deployment]:
    """The rows that let the flows `going` run from what was found, and the flows `gone` from nothing any more; where a flow was
    renamed, that row points to the one of its new name."""
    from data_engine.proof.kept import compared_in  # what fingerprints is needed where flows are deployed

    deployments = home.deployments()
    contents = deployments.contents_of(looked.stored.id) or {}
    commit, is_dirty = git_state(home.layout.flow_modules_dir)
    base = replace(_decided(asked), git_commit=commit, git_dirty=is_dirty, config=config_of(home))
    going = sorted(going)
    compared = {**compared_in(home, contents, going), **({} if asked is None else asked.compared)}
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
    return rows + [_withdrawn(base, name, now.get(name)) for name in sorted(gone)]


def _watched(entry: CatalogEntry, folder: Path) -> str | None:
    """Where the flow reads by itself, as every workstation calls it."""
    return None if entry.mode == "manual" else mirror_key(entry.source, folder)


def withdrawal(home: LocalWorkspace, looked: Collection[str], asked: Asked) -> Deployment:
    """The row that lets a flow run from nothing any more, as a person asked for; `looked` are the modules that are there.

    Raises:
        FlowValidationError: it is not deployed, or would be deployed again by itself.
    """
    name = asked.name
    if name is None or name not in home.deployments().deployed():
        near = "" if name in looked else meant(name or "", home.deployments().deployed())
        raise FlowValidationError(
            f"{name} is not deployed, so there is nothing to undeploy",
            where="undeploy",
            fix=f"{near}`data-engine deployments` lists what was deployed",
        )
    if name in looked and home.settings().deploy.mode == "auto":
        raise FlowValidationError(
            f'{name} would be deployed again at once: [deploy] mode is "auto", and its module is there',
            where="undeploy",
            fix=f"take the module out of flow_modules, or let it run by hand only: {typed('disable', name)}",
        )
    return replace(_withdrawn(_decided(asked), name), id=asked.id)


def done_already(home: LocalWorkspace, asked: Asked) -> Deployment | None:
    """What came of this very request, when it was asked before; None where it is new."""
    return next((one for one in ledger_rows.published(home.ledger(), asked.name) if one.id == asked.id), None)


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
    ledger_rows.add(home.ledger(), rows)


def rolled_back(home: LocalWorkspace, flow: str, to: str | None, asked: Asked) -> Deployment:
    """The row that lets `flow` run what it ran before, or what `to` names.

    Raises:
        FlowValidationError: there is nothing to go back to, or another flow that is deployed writes its mirror now.
        DamagedSetError: its set is not what was deployed.
    """
    rows = history_of(home)
    chosen = history.to_roll_back_to(rows, flow, to)
    other = shared_mirror(flow, chosen.mirror, history.live(rows).values())
    if other is not None:
        raise mirror_taken_error(chosen, other)
    home.deployments().copy_of(chosen.set_id)
    return replace(
        chosen,
        id=asked.id,
        kind="rollback",
        of=chosen.of or chosen.id,
        by=asked.by,
        machine=asked.machine,
        asked_by=asked.file_owner,
        note=asked.note,
        at_utc=utc_text(time.time()),
    )


def config_of(home: LocalWorkspace) -> tuple[tuple[str, str], ...]:
    """The SHA-256 of each of the workspace's config files, which code reads as they are when it runs."""
    found = []
    for path in sorted(home.layout.config_dir.glob("*.toml")):
        if path != home.layout.settings_path:
            try:
                found.append((path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
            except OSError:
                continue
    return tuple(found)


def changed_config(home: LocalWorkspace, since: Deployment, edit: Mapping[str, bytes] | None = None) -> list[str]:
    """The config files that are not as they were at a deployment, and that what was deployed may read, or the `edit`, if any."""
    then, now = dict(since.config), dict(config_of(home))
    changed = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    if not changed:
        return []
    folder, was = home.layout.flow_modules_dir, home.deployments().contents_of(since.set_id)
    read = set(changed) if was is None else configs_read(was, since.flow, folder, changed)
    if edit is not None:
        read |= configs_read(edit, since.flow, folder, changed)
    return [name for name in changed if name in read]


def answered(
    looked: Looked, moves: Mapping[str, Move], asked: Asked, undeployed: Collection[str] = ()
) -> tuple[CatalogEntry, ...]:
    """The modules that a person asked for, each with why it was not deployed; who asks for every one did not ask for those that
    were `undeployed`. What a refusal says of two flows and their mirror is not said again as a warning."""
    left_out = undeployed if asked.name is None else ()
    about = {name: one for name, one in looked.entries.items() if asked.is_about(name) and name not in left_out}
    told = {
        shared_words(Path(entry.mirror), (name, move.other))
        for name, entry in about.items()
        if isinstance(move := moves.get(name), SharesMirror) and entry.mirror is not None
    }
    return tuple(_without(_refused(entry, moves.get(name)), told) for name, entry in sorted(about.items()))


def _without(entry: CatalogEntry, told: Collection[str]) -> CatalogEntry:
    left = tuple(warning for warning in entry.warnings if warning not in told)
    return entry if left == entry.warnings else replace(entry, warnings=left)


def _refused(entry: CatalogEntry, move: Move | None) -> CatalogEntry:
    """The entry with its error where it was asked for and a person has to say more."""
    if isinstance(move, HeldBack):
        return replace(entry, error=move.error)
    if isinstance(move, SharesMirror):
        return replace(entry, error=_shares_mirror(entry, move))
    return entry


def _shares_mirror(entry: CatalogEntry, move: SharesMirror) -> FlowValidationError:
    return shares_mirror_error(entry.name, entry.mirror, str(entry.path), move.other, is_gone=move.is_gone)


def require_found(name: str | None, looked: Looked, where: str) -> None:
    """Return when the module that was asked for is there.

    Raises:
        FlowValidationError: it is not.
    """
    if name is not None and name not in looked.entries:
        raise FlowValidationError(f"there is no flow {name!r} to deploy", where=where, fix="save the notebook first")


def _decided(asked: Asked | None) -> Deployment:
    by, machine = person()
    row = Deployment("", 0, "", "deploy", "", by=by, machine=machine, at_utc=utc_text(time.time()))
    if asked is None:
        return replace(row, by="data-engine", note='[deploy] mode = "auto"')
    by, machine = asked.by or by, asked.machine or machine
    approved = f"[goldens approved by {by}@{machine}]" if asked.is_approved else ""
    note = " ".join(filter(None, (asked.note, approved)))
    return replace(row, by=by, machine=machine, note=note, asked_by=asked.file_owner)
