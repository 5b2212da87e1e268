"""Moving a workspace from the older system: `look` finds what there is and plans, `carry_out` does it, `undo` takes the seal off.

Nothing of the older system's is changed but its marker, which is taken as one of its own owners would take it (`older_lease.py`).
Doing it twice changes nothing; what was interrupted goes on. Rows are published to the other workstations before it returns.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from data_engine.counted import counted
from data_engine.daemon.control import DaemonGoneError
from data_engine.daemon.endpoint import read_endpoint
from data_engine.daemon.one_commit import owning, publish
from data_engine.engine.candidates import candidates
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.errors import FlowValidationError, OwnedElsewhereError, WorkspaceError
from data_engine.flow.flow import Flow
from data_engine.flow.paths import portable_text
from data_engine.lease.folder import OsFolder
from data_engine.lease.keeper import Keeper
from data_engine.lease.older_owner import older_ids
from data_engine.lease.peek import peek
from data_engine.ledger.brought import known_runs, known_states, put_runs, put_states, resets
from data_engine.model import SourceKey
from data_engine.moving import keys, older_lease
from data_engine.moving.edits import find_edits
from data_engine.moving.merging import Merged, merge
from data_engine.moving.older_history import OlderHistory, read_ledger, read_shared
from data_engine.moving.places import OlderPlaces, find_places
from data_engine.moving.placing import FileHere, FlowSource, Placed, place
from data_engine.moving.plan import Plan, make_plan
from data_engine.notebook.catalog import CatalogEntry, read_catalog
from data_engine.notebook.load import FlowModules
from data_engine.platforms.files import changed_ns
from data_engine.workspace.identity import known_local_layout
from data_engine.workspace.layout import WorkspaceLayout
from data_engine.workspace.machine import load_machine_settings, person, save_machine_settings

PARTS = ("ledger", "share", "settings", "databases")
"""What can be left out."""

_AT_ONCE = 2_000
"""Runs in one transaction, each with its steps and lines."""

_SETTINGS = {"workspace_collection_root": "collection_root", "default_workspace_id": "default_workspace"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What to look at: `without` are parts to leave out, `state` and `ledger` say where the older system's are, `databases` are
    databases besides those of the workspace and those that its flows name."""

    without: Collection[str] = ()
    state: Path | None = None
    ledger: Path | None = None
    databases: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The plan, and with which keys of files the databases are looked through."""

    plan: Plan
    exchanges: tuple[keys.Exchange, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """What was done: runs and files that were taken over, and the ids that were sealed now."""

    runs: int = 0
    files: int = 0
    sealed: tuple[str, ...] = ()


def look(layout: WorkspaceLayout, asked: Asked) -> Found:
    """What moving the workspace would do. Modules are executed to learn their sources; nothing is changed, and the workspace gets no
    identity by it.

    Raises:
        WorkspaceError, LedgerError: something of the older system's cannot be read; the fix says how to leave it out.
    """
    state = layout.workspace_state_dir
    folder = OsFolder(state)
    ids = older_ids(folder, layout.workspace_id)
    places = find_places(layout.root, ids, state=asked.state, ledger=asked.ledger)
    histories = list(_histories(state, ids, places, asked.without))
    merged = merge(histories)
    entries = read_catalog(FlowModules(layout.flow_modules_dir))
    sources = {entry.name: source for entry in entries if (source := _source_of(entry)) is not None}
    broken = [entry.name for entry in entries if entry.error is not None]
    batches = {
        name: (_batch_run(merged, name, began), began)
        for name, source in sources.items()
        if source.is_batch and (began := merged.batch_began_utc(name)) is not None
    }
    placed = place(merged.files, sources, broken, batches)
    known = known_local_layout(layout)
    ledger = LocalWorkspace(layout, known).ledger() if known is not None and known.ledger_path.exists() else None
    settings, kept = ({}, {}) if "settings" in asked.without else _settings(places)
    exchanges = _exchanges(entries, sources, merged, placed)
    databases = [] if "databases" in asked.without else keys.find_keys(_databases(layout, asked, exchanges), exchanges)
    leases = older_lease.look(state, layout.workspace_id)
    if not leases and any(one.runs or one.files for one in histories):
        leases = [older_lease.OlderLease(layout.workspace_id, "unmarked")]
    facts = Plan(
        layout.root,
        tuple(one.where for one in histories),
        tuple(leases),
        settings=settings,
        kept_settings=kept,
        databases=tuple(databases),
        edits=tuple(find_edits(layout.flow_modules_dir)),
        notes=tuple(_notes(histories, places, broken)),
    )
    plan = make_plan(
        merged,
        sources,
        placed,
        known_runs=set() if ledger is None else known_runs(ledger),
        known_states={} if ledger is None else known_states(ledger),
        forgotten={} if ledger is None else resets(ledger),
        facts=facts,
    )
    return Found(plan, exchanges)


def require_free(layout: WorkspaceLayout, leases: Sequence[older_lease.OlderLease] = ()) -> None:
    """Return when nobody works in the workspace, neither in the older system, by its `leases`, nor in a daemon of this machine.

    Raises:
        OwnedElsewhereError: a daemon of the older system owns it.
        WorkspaceError: this machine's daemon works in it.
    """
    older_lease.refuse_live(leases)
    local = known_local_layout(layout)
    daemon = None if local is None else read_endpoint(local)
    if daemon is not None and daemon.is_alive():
        raise WorkspaceError(
            f"this machine's daemon (pid {daemon.pid}) works in the workspace",
            where="data-engine import",
            fix="end it first: data-engine stop; then import again",
        )


def carry_out(layout: WorkspaceLayout, plan: Plan) -> Done:
    """Do what the plan says, but for the databases; what fails before anything was written leaves no seal.

    Raises:
        OwnedElsewhereError, WorkspaceError: as `require_free`; another workstation owns it; or the share cannot be written.
        LedgerError: this machine's history cannot be written.
    """
    state = layout.workspace_state_dir
    require_free(layout, plan.leases)
    by = "@".join(person())
    sealed: list[str] = []
    is_written = False
    runs = files = 0
    try:
        for lease in plan.to_seal:
            if older_lease.seal(state, lease, by):
                sealed.append(lease.older_id)
        if plan.settings:
            save_machine_settings(**dict(plan.settings))
        if plan.states or plan.runs:
            home = local_workspace(layout.root)  # which gives it an identity; what was refused has none
            with owning(home) as keeper:
                for count in _written_states(keeper, home, plan):
                    files += count
                    is_written = True
                for count in _written_runs(keeper, home, plan):
                    runs += count
                    is_written = True
    except DaemonGoneError as error:
        _unseal(state, sealed)
        raise WorkspaceError(
            "a daemon of this machine is just starting or ending",
            where="data-engine import",
            fix="try again in a moment",
        ) from error
    except BaseException:
        if not is_written:
            _unseal(state, sealed)
        raise
    return Done(runs, files, tuple(sealed))


def undo(home: LocalWorkspace) -> list[str]:
    """Take the seal off, so that the older system can own the workspace again; the ids it was taken off.

    Raises:
        OwnedElsewhereError: a workstation of this system owns the workspace.
        WorkspaceError: this machine's daemon works in it; or the share cannot be written.
    """
    state = home.layout.workspace_state_dir
    require_free(home.layout)
    status = peek(state, home.local.identity)
    if status.owner is not None:
        raise OwnedElsewhereError(
            f"the workspace is {status.words}",
            where="data-engine import --undo",
            fix="let that workstation give it up first: `data-engine stop` there",
        )
    sealed = older_lease.sealed_ids(state, home.layout.workspace_id)
    for older_id in sealed:
        older_lease.take_seal_off(state, older_id)
    return sealed


def _written_states(keeper: Keeper, home: LocalWorkspace, plan: Plan) -> Iterator[int]:
    """All of it in one transaction: half of what is known would let the other half run again."""
    counts: list[int] = []
    if plan.states:
        publish(keeper, lambda: counts.append(put_states(home.ledger(), plan.states)))
    yield from counts


def _written_runs(keeper: Keeper, home: LocalWorkspace, plan: Plan) -> Iterator[int]:
    for at in range(0, len(plan.runs), _AT_ONCE):
        some = plan.runs[at : at + _AT_ONCE]
        counts: list[int] = []

        def write(some: Sequence[object] = some, counts: list[int] = counts) -> None:
            counts.append(put_runs(home.ledger(), some))  # type: ignore[arg-type]

        publish(keeper, write)
        yield from counts


def _unseal(state: Path, sealed: Sequence[str]) -> None:
    for older_id in sealed:
        with suppress(WorkspaceError):
            older_lease.take_seal_off(state, older_id)


def _histories(
    state: Path, ids: Sequence[str], places: OlderPlaces, without: Collection[str]
) -> Iterator[OlderHistory]:
    if "ledger" not in without:
        for path in places.ledgers:
            yield read_ledger(path)
    if "share" not in without:
        for one in ids:
            found = read_shared(state, one)
            if found is not None:
                yield found


def _source_of(entry: CatalogEntry) -> FlowSource | None:
    """The flow's source with its candidates; None without one."""
    trigger = None if entry.flow is None else entry.flow.trigger
    if entry.flow is None or trigger is None or trigger.source is None:
        return None
    root = trigger.source
    found: dict[str, FileHere] = {}
    with suppress(OSError, FlowValidationError):  # not connected now: paths below it are known all the same
        if root.is_dir():
            found = {_nfc(name): _here(one.path, one.stat()) for name, one in _candidates(entry.flow)}
        elif root.is_file():
            found = {"": _here(str(root), root.stat())}
    is_batch = trigger.run_as == "batch" and trigger.mode == "poll"
    return FlowSource(entry.name, trigger.source_as_authored or "", portable_text(root), is_batch, found)


def _candidates(flow: Flow) -> list[tuple[str, os.DirEntry[str]]]:
    return candidates(flow)


def _here(path: str, facts: os.stat_result) -> FileHere:
    return FileHere(facts.st_size, facts.st_mtime_ns, max(facts.st_mtime_ns, changed_ns(path, facts)))


def _nfc(name: str) -> str:
    return name if name.isascii() else portable_text(name)


def _batch_run(merged: Merged, flow: str, began_utc: str) -> str:
    return next(
        run.run_id
        for run in merged.runs.values()
        if run.flow == flow and run.source is None and run.status == "success" and run.began_utc == began_utc
    )


def _settings(places: OlderPlaces) -> tuple[dict[str, str], dict[str, str]]:
    """What of the older settings to keep here, and what stays because it is set here; by the keys of this system."""
    here = load_machine_settings()
    new: dict[str, str] = {}
    kept: dict[str, str] = {}
    for older, key in _SETTINGS.items():
        value = (places.settings or {}).get(older, "").strip()
        now = getattr(here, key)
        if not value or (now is not None and str(now) == value):
            continue
        if now is not None:
            kept[key] = value
        elif key != "collection_root" or os.path.isabs(value):
            new[key] = value
    return new, kept


def _exchanges(
    entries: Sequence[CatalogEntry],
    sources: Mapping[str, FlowSource],
    merged: Merged,
    placed: Placed,
) -> tuple[keys.Exchange, ...]:
    """Per flow the older key of each file that is known or there, by the new one."""
    found = []
    inside: dict[str, set[SourceKey]] = {}
    for state in placed.states:
        inside.setdefault(state.flow, set()).add(state.key)
    for run in merged.runs.values():
        source = sources.get(run.flow)
        name = None if source is None or run.source is None else source.inside(run.source)
        if source is not None and name is not None:
            inside.setdefault(run.flow, set()).add(SourceKey(source.authored, name))
    for entry in entries:
        source = sources.get(entry.name)
        if source is None:
            continue
        every = inside.get(entry.name, set()) | {SourceKey(source.authored, name) for name in source.files}
        exchanged = {keys.older_hash(key, source.root): keys.this_hash(key) for key in every}
        found.append(keys.Exchange(entry.name, exchanged, keys.names_in(_code_of(entry))))
    return tuple(found)


def _code_of(entry: CatalogEntry) -> str:
    """The code of a module that loads; "" where it cannot be read."""
    from data_engine.notebook.compile import compile_notebook

    with suppress(OSError, FlowValidationError):
        if entry.path.suffix == ".ipynb":
            return compile_notebook(entry.path).source
        return entry.path.read_text(encoding="utf-8")
    return ""


def _databases(layout: WorkspaceLayout, asked: Asked, exchanges: Sequence[keys.Exchange]) -> list[Path]:
    """Those of the workspace, those its flows name, and those that are asked for.

    Raises:
        WorkspaceError: one that is asked for is not there.
    """
    for path in asked.databases:
        if not path.is_file():
            raise WorkspaceError(f"{path} does not exist", where="--database", fix="give the path of a DuckDB file")
    named = keys.databases_named(exchanges, layout.flow_modules_dir)
    return [*keys.databases_in(layout.databases_dir), *named, *asked.databases]


def _notes(histories: Sequence[OlderHistory], places: OlderPlaces, broken: Sequence[str]) -> Iterator[str]:
    if not histories:
        looked = ", ".join(map(str, places.looked_in))
        yield f"no history of the older system was found, neither in the workspace nor in {looked}; --state or --ledger name another place"
    for one in histories:
        for table, count in (one.odd or {}).items():
            yield f"{counted(count, 'row')} of {table} in {one.where} left out: not understood"
    for path in places.elsewhere:
        yield f"{path} belongs to a workspace of this name at another path: if it was this one, name it with --ledger"
    if broken:
        yield f"modules that do not load yet: {', '.join(broken)}; `data-engine list` says why"


def exchange_keys(found: Found) -> list[tuple[Path, Path, int]]:
    """Exchange the older keys in each database of the plan: the database, the copy that was kept, and how many rows.

    Raises:
        FlowValidationError: a database is in use or refuses the change; those before it are done, it is as it was.
    """
    done = []
    for one in found.plan.due_databases:
        backup, rows = keys.exchange(one, found.exchanges)
        done.append((one.path, backup, rows))
    return done
