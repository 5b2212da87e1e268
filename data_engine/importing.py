"""Bring a workspace from the older system: its history, the state of its sources, and the settings of this machine. `look` plans it,
`carry_out` does it.

Nothing of the older system's is changed but its marker, which is taken as one of its own owners would take it (`data_engine/lease/older_owner.py`).
A row of its history that cannot be understood is left out and counted. Doing it twice changes nothing; what was interrupted goes on. Rows are
published to the other workstations before it returns.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.daemon.control import DaemonGoneError, read_endpoint
from data_engine.daemon.one_commit import owning, publish
from data_engine.engine.candidates import candidates
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.errors import FlowValidationError, LedgerError, WorkspaceError
from data_engine.flow.paths import portable_text
from data_engine.formatting import plural
from data_engine.lease.folder import OsFolder
from data_engine.lease.older_owner import TABLES, OlderLease, look_at_leases, older_ids, refuse_live, seal
from data_engine.ledger.connection import connect_to_look
from data_engine.ledger.merge import (
    LONGEST_ERROR,
    known_runs,
    known_states,
    newer_states,
    put_runs,
    put_states,
    resets,
)
from data_engine.model import (
    Event,
    LogLine,
    RunFinished,
    RunStarted,
    Signature,
    SourceKey,
    SourceState,
    StepFinished,
    utc_text,
)
from data_engine.notebook.catalog import CatalogEntry, read_catalog
from data_engine.notebook.load import FlowModules
from data_engine.planning.due import is_same_time
from data_engine.platforms.files import changed_ns
from data_engine.platforms.names import with_home
from data_engine.record import frozen
from data_engine.workspace.identity import known_local_layout
from data_engine.workspace.layout import WorkspaceLayout
from data_engine.workspace.machine import load_machine_settings, person, save_machine_settings

_AT_ONCE = 2_000
"""Runs in one transaction, each with its steps and lines."""

_SETTINGS = {"workspace_collection_root": "collection_root", "default_workspace_id": "default_workspace"}
_STATUS_WORDS = {
    "success": "done: they run again when they change",
    "failed": "failed, which the older system never tried again: held until they change, `retry`, or the engine is started",
    "stopped": "stopped: held until they change, `retry`, or the engine is started",
    "abandoned": "begun and never ended: they run when the engine does",
}


@frozen
class ImportPlan:
    """The plan of an import. `runs` and `states` are those that this machine's history lacks, `settings` those that are not set here.

    `unplaced` are flow, path and reason of files that cannot be taken over; `notes` are sentences on what else was found.
    """

    root: Path
    read_from: tuple[str, ...] = ()
    leases: tuple[OlderLease, ...] = ()
    runs: tuple[OlderRun, ...] = ()
    states: tuple[SourceState, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    unplaced: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def to_seal(self) -> list[OlderLease]:
        """The older system's leases that are to be sealed."""
        return [lease for lease in self.leases if lease.state != "sealed"]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.runs or self.states or self.settings or self.to_seal)

    @property
    def by_flow(self) -> list[tuple[str, str, int]]:
        """Flow, status and number of the files."""
        counts = Counter((state.flow, state.status) for state in self.states)
        return [(flow, status, count) for (flow, status), count in sorted(counts.items())]

    def lines(self) -> Iterator[str]:
        """The plan in lines for people."""
        yield from (f"Read, and left as it is: {place}" for place in self.read_from)
        yield "Nothing of the older system is left to take over." if self.is_empty else "This would be done:"
        for lease in self.to_seal:
            yield f"  seal      no daemon of the older system can own {lease.older_id} any more"
        for key, value in self.settings.items():
            yield f"  setting   {key} = {value}, in this machine's settings.toml"
        if self.runs:
            yield f"  history   {plural(len(self.runs), 'run')} with their steps and logs"
        if self.states:
            yield f"  files     what is known of {plural(len(self.states), 'source file')}"
        for flow, status, count in self.by_flow:
            yield f"            {flow}: {count:,} {_STATUS_WORDS.get(status, status)}"
        by_why: dict[tuple[str, str], list[str]] = {}
        for flow, path, why in self.unplaced:
            by_why.setdefault((flow, why), []).append(path)
        for (flow, why), paths in sorted(by_why.items()):
            yield f"  ({flow}: {plural(len(paths), 'file')} cannot be taken over: {why}, such as {paths[0]})"
        yield from (f"  ({note})" for note in self.notes)

    def as_dict(self) -> dict[str, Any]:
        """The plan as `--json` prints it."""
        return {
            "workspace_root": self.root,
            "read_from": list(self.read_from),
            "older": [
                {"id": lease.older_id, "state": lease.state, "owner": lease.owner or None} for lease in self.leases
            ],
            "runs": len(self.runs),
            "files": len(self.states),
            "by_flow": [{"flow": flow, "status": status, "files": count} for flow, status, count in self.by_flow],
            "unplaced": [{"flow": flow, "path": path, "why": why} for flow, path, why in self.unplaced],
            "settings": dict(self.settings),
            "notes": list(self.notes),
        }


def look(layout: WorkspaceLayout, *, with_history: bool = True, ledger: Path | None = None) -> ImportPlan:
    """Plan the import of the workspace. Modules are executed to learn their sources; nothing is changed.

    `ledger` is the older system's, where it is not at its usual place.

    Raises:
        WorkspaceError, LedgerError: something of the older system's cannot be read; the fix says how to leave it out.
    """
    shared = layout.workspace_state_dir
    ids = older_ids(OsFolder(shared), layout.workspace_id)
    older, ledgers = find_places(layout.root, ids, ledger)
    leases = look_at_leases(shared, layout.workspace_id)
    settings, notes = _settings(older)
    plan = ImportPlan(layout.root, leases=tuple(leases), settings=settings, notes=tuple(notes))
    if not with_history:
        return plan
    history = merge([*map(read_ledger, ledgers), *(read_shared(shared, older_id) for older_id in ids)])
    return _with_history(plan, history, layout)


def _with_history(plan: ImportPlan, history: OlderHistory, layout: WorkspaceLayout) -> ImportPlan:
    """The plan with the part of the history that this machine lacks."""
    entries = read_catalog(FlowModules(layout.flow_modules_dir))
    sources = {entry.name: source for entry in entries if (source := _source_of(entry)) is not None}
    broken = [entry.name for entry in entries if entry.error is not None]
    batches = ((name, history.newest_batch(name)) for name, source in sources.items() if source.is_batch)
    states, unplaced = place(history.files, sources, broken, {name: run for name, run in batches if run is not None})
    local = known_local_layout(layout)
    ledger = LocalWorkspace(layout, local).ledger() if local is not None and local.ledger_path.exists() else None
    forgotten, run_ids = ({}, set()) if ledger is None else (resets(ledger), known_runs(ledger))
    leases = plan.leases
    if not leases and (history.runs or history.files):
        leases = (OlderLease(layout.workspace_id, "unmarked"),)
    return replace(
        plan,
        read_from=history.read_from,
        leases=leases,
        runs=tuple(
            _with_key(run, sources.get(run.began.flow))
            for run_id, run in history.runs.items()
            if run_id not in run_ids and run.began_utc >= forgotten.get(run.began.flow, "")
        ),
        states=tuple(newer_states(states, {} if ledger is None else known_states(ledger), forgotten)),
        unplaced=tuple(unplaced),
        notes=(*plan.notes, *_notes(history, broken)),
    )


def require_free(layout: WorkspaceLayout) -> None:
    """Return when nobody works in the workspace, neither in the older system nor in a daemon of this machine.

    Raises:
        OwnedElsewhereError: a daemon of the older system owns it.
        WorkspaceError: this machine's daemon works in it.
    """
    refuse_live(look_at_leases(layout.workspace_state_dir, layout.workspace_id))
    local = known_local_layout(layout)
    daemon = None if local is None else read_endpoint(local)
    if daemon is not None and daemon.is_alive():
        raise WorkspaceError(
            f"this machine's daemon (pid {daemon.pid}) works in the workspace",
            where="data-engine import",
            fix="end it first: data-engine stop; then import again",
        )


def carry_out(layout: WorkspaceLayout, plan: ImportPlan) -> tuple[int, int]:
    """Carry the plan out; returns how many runs and files were taken over.

    Raises:
        OwnedElsewhereError, WorkspaceError: as `require_free`; another workstation owns it; or the share cannot be written.
        LedgerError: this machine's history cannot be written.
    """
    require_free(layout)
    for lease in plan.to_seal:
        seal(layout.workspace_state_dir, lease, "@".join(person()))
    if plan.settings:
        save_machine_settings(**dict(plan.settings))
    if not (plan.states or plan.runs):
        return 0, 0
    counts: list[int] = []
    home = local_workspace(layout.root)
    ledger = home.ledger()
    try:
        with owning(home) as keeper:
            # All states in one transaction: half of what is known would let the other half run again.
            publish(keeper, lambda: counts.append(put_states(ledger, plan.states)))
            for at in range(0, len(plan.runs), _AT_ONCE):
                some = [run.events for run in plan.runs[at : at + _AT_ONCE]]
                publish(keeper, lambda some=some: counts.append(put_runs(ledger, some)))  # type: ignore[misc]
    except DaemonGoneError as error:
        what = "a daemon of this machine is just starting or ending"
        raise WorkspaceError(what, where="data-engine import", fix="try again in a moment") from error
    return sum(counts[1:]), counts[0]


def _source_of(entry: CatalogEntry) -> FlowSource | None:
    """The flow's source with its candidates; None without one."""
    trigger = None if entry.flow is None else entry.flow.trigger
    if entry.flow is None or trigger is None or trigger.source is None:
        return None
    root = trigger.source
    files: dict[str, FileHere] = {}
    with suppress(OSError, FlowValidationError):  # not connected now: paths below it are known all the same
        if root.is_dir():
            files = {portable_text(name): _file_here(file.path, file.stat()) for name, file in candidates(entry.flow)}
        elif root.is_file():
            files = {"": _file_here(str(root), root.stat())}
    is_batch = trigger.run_as == "batch" and trigger.mode == "poll"
    return FlowSource(trigger.source_as_authored or "", portable_text(root), is_batch, files)


def _with_key(run: OlderRun, source: FlowSource | None) -> OlderRun:
    return run if source is None else run._replace(began=run.began._replace(key=source.key(run.began.source)))


def _file_here(path: str, facts: os.stat_result) -> FileHere:
    return FileHere(facts.st_size, facts.st_mtime_ns, max(facts.st_mtime_ns, changed_ns(path, facts)))


def _settings(older: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The older settings to take over, by the keys of this system; and a note on each that is set here already."""
    settings = load_machine_settings()
    new: dict[str, str] = {}
    notes: list[str] = []
    for name, key in _SETTINGS.items():
        value, own = older.get(name, "").strip(), getattr(settings, key)
        if not value or (own is not None and str(own) == value):
            continue
        if own is not None:
            notes.append(f"{key} is {value} in the older system, and stays as it is set here")
        elif key != "collection_root" or os.path.isabs(value):
            new[key] = value
    return new, notes


def _notes(history: OlderHistory, broken: Sequence[str]) -> Iterator[str]:
    if not history.read_from:
        yield "no history of the older system was found; --ledger names a ledger of it"
    if history.odd:
        yield f"{plural(history.odd, 'row')} left out: not understood"
    if broken:
        yield f"modules that do not load yet: {', '.join(broken)}; correct them and import again: what is there already stays"


_MARGIN_NS = 60 * 10**9
"""How much the clock of a file server and that of the machine that ran may differ."""


class FileHere(NamedTuple):
    """A candidate as it is now; `there_since_ns` is since when it surely was there."""

    size_bytes: int
    mtime_ns: int
    there_since_ns: int


@frozen
class FlowSource:
    """A flow's source: as authored, as an absolute path here (forward slashes), and its files by their path inside it.

    A source that is a single file has it under "".
    """

    authored: str
    root: str
    is_batch: bool
    files: Mapping[str, FileHere]

    def key(self, path: str | None) -> SourceKey | None:
        """The source that this absolute path is; None for what lies elsewhere."""
        inside = None if path is None else below(self.root, path)
        return None if inside is None else SourceKey(self.authored, inside)


def place(
    files: Iterable[OlderFile],
    sources: Mapping[str, FlowSource],
    broken: Iterable[str],
    batches: Mapping[str, OlderRun],
) -> tuple[list[SourceState], list[tuple[str, str, str]]]:
    """The states of the flows' `sources` from `files`; and flow, path and reason of each file without a place.

    Flows in `broken` do not load yet.

    `batches` maps a batch flow to its newest good run. The older system notes only some of the files that a batch has read: those that
    were surely there before it are taken for read.
    """
    states: dict[tuple[str, SourceKey], SourceState] = {}
    unplaced: list[tuple[str, str, str]] = []
    by_flow: dict[str, list[OlderFile]] = {}
    for file in files:
        by_flow.setdefault(file.flow, []).append(file)
    for flow, of_flow in by_flow.items():
        source = sources.get(flow)
        if source is None:
            why = "its module does not load yet" if flow in broken else "no flow of this name has a source"
            unplaced += [(flow, file.path, why) for file in of_flow]
            continue
        other = _folder_elsewhere([file for file in of_flow if below(source.root, file.path) is None], source)
        for file in of_flow:
            inside = below(source.root, file.path)
            if inside is None and other is not None:
                inside = below(other, file.path)
            if inside is None:
                unplaced.append((flow, file.path, f"it is not below {source.root}"))
                continue
            state = _state(SourceKey(source.authored, inside), file)
            before = states.get((flow, state.key))
            if before is None or (state.last_at_utc or "") > (before.last_at_utc or ""):
                states[flow, state.key] = state
    flows = {flow for flow, _ in states}
    for flow, run in batches.items():
        if flow in flows:
            _add_implied(flow, sources[flow], run, states)
    return [*states.values()], unplaced


def _folder_elsewhere(strangers: Sequence[OlderFile], source: FlowSource) -> str | None:
    """The folder (of a single file: the path) of another workstation that stands for the source: most files there are here alike."""
    votes: Counter[str] = Counter()
    for file in strangers:
        for name, here in source.files.items():
            is_same = here.size_bytes == file.size_bytes and is_same_time(here.mtime_ns, file.mtime_ns)
            if is_same and not name and file.path.rpartition("/")[2] == source.root.rpartition("/")[2]:
                votes[file.path] += 1
            elif is_same and name and file.path.endswith(f"/{name}"):
                votes[file.path.removesuffix(f"/{name}")] += 1
    return votes.most_common(1)[0][0] if votes else None


def below(root: str, path: str) -> str | None:
    """The path below the root of an absolute `path`; "" is the root itself, None what lies elsewhere. Drives and servers of Windows do not
    tell case apart.

    Example:
        >>> below("/team/in", "/team/in/a/b.csv"), below("/team/in", "/team/in"), below("/team/in", "/team/inside/b.csv")
        ('a/b.csv', '', None)
        >>> below("//srv/team/Straße", "//SRV/Team/STRASSE/a.csv")
        'a.csv'
    """
    is_windows = root[1:2] == ":" or root.startswith("//")
    above, names = root.rstrip("/").split("/"), path.split("/")
    head, rest = names[: len(above)], names[len(above) :]
    is_below = [*map(str.casefold, head)] == [*map(str.casefold, above)] if is_windows else head == above
    return "/".join(rest) if is_below else None


def _state(key: SourceKey, file: OlderFile) -> SourceState:
    signature, is_good = Signature(file.size_bytes, file.mtime_ns), file.status == "success"
    is_cut = file.status == "abandoned"
    why = None if is_good else file.error or (ENDED if is_cut else None)
    last = (file.status, signature, file.run_id, file.at_utc, why)
    good, good_id = (signature, file.run_id) if is_good else (None, file.success_run_id)
    return SourceState(file.flow, key, *last, good, good_id, file.success_at_utc, int(is_cut))


def _add_implied(
    flow: str, source: FlowSource, run: OlderRun, states: dict[tuple[str, SourceKey], SourceState]
) -> None:
    before_ns = int(run.began.at_s * 1e9) - _MARGIN_NS
    for name, file in source.files.items():
        key, signature = SourceKey(source.authored, name), Signature(file.size_bytes, file.mtime_ns)
        if (flow, key) not in states and file.there_since_ns < before_ns:
            end = run.began.run_id, run.began_utc
            states[flow, key] = SourceState(flow, key, "success", signature, *end, None, signature, *end, 0)


_LEDGERS = ("runtime_cache.sqlite", "runtime_ledger.sqlite")
_OLDER_SETTINGS = "settings/app_settings.sqlite"


def find_places(root: Path, ids: Iterable[str], ledger: Path | None) -> tuple[dict[str, str], list[Path]]:
    """The older system's settings and ledgers for the workspace at `root`, which it calls by one of `ids`.

    `ledger` is a ledger's file, for who knows it; else the usual places are looked in.

    Raises:
        WorkspaceError: what was named is not there.
        LedgerError: its settings cannot be read.
    """
    if ledger is not None and not ledger.exists():
        raise WorkspaceError(f"{ledger} does not exist", where="--ledger", fix="give the path of a ledger's file")
    roots = _state_roots()
    file = next((path for folder in roots if (path := folder / _OLDER_SETTINGS).is_file()), None)
    settings = {} if file is None else _read_settings(file)
    others = (settings.get("runtime_root"), os.environ.get("DATA_ENGINE_RUNTIME_ROOT", "").strip())
    artifacts = [*(folder / "artifacts" for folder in roots), *(Path(other) for other in others if other)]
    texts = [os.path.abspath(root), os.path.realpath(root)]
    spellings = dict.fromkeys([*texts, *(text.casefold() for text in texts)])  # as its versions may have spelt it
    names = [namespace(name, spelling) for name in (*sorted({*ids, root.name}), "default") for spelling in spellings]
    folders = [base / "runtime_state" / name for base in artifacts for name in names]
    ledgers = [folder / name for folder in folders for name in _LEDGERS] if ledger is None else [ledger]
    return settings, list(dict.fromkeys(filter(Path.is_file, ledgers)))


def namespace(older_id: str, root: str) -> str:
    """The name of the older system's folder for the workspace `older_id` at the absolute path `root`."""
    return f"{older_id}_{hashlib.sha1(portable_text(root).encode(), usedforsecurity=False).hexdigest()[:12]}"


def _read_settings(path: Path) -> dict[str, str]:
    try:
        with closing(connect_to_look(path)) as connection:
            return {str(key): str(value) for key, value in connection.execute("SELECT key, value FROM settings")}
    except sqlite3.Error as error:
        fix = "restore them, or move them away"
        raise LedgerError(f"the older system's settings cannot be read: {error}", where=str(path), fix=fix) from error


def _state_roots() -> list[Path]:
    import platformdirs

    app = os.environ.get("DATA_ENGINE_APP_ROOT", "").strip()
    named = (os.environ.get("DATA_ENGINE_STATE_ROOT", "").strip(), f"{app}/.data_engine_state" if app else "")
    usual = (platformdirs.user_state_path, platformdirs.user_data_path)
    return [
        *(Path(os.path.abspath(with_home(text))) for text in named if text),
        *(folder("data_engine", appauthor=False) for folder in usual),
    ]


# -- the history of the older system, read as this one keeps it -----------------------------------------------------------

ENDED = "the older system ended while it ran"
_LEAVE_OUT = "restore it, or leave it out: --without-history"
Row = Mapping[str, Any]


class OlderRun(NamedTuple):
    """A run that has ended, as its events."""

    began: RunStarted
    ended: RunFinished
    steps: Sequence[StepFinished] = ()
    lines: Sequence[LogLine] = ()

    @property
    def began_utc(self) -> str:
        """When it began."""
        return utc_text(self.began.at_s)

    @property
    def events(self) -> tuple[Event, ...]:
        """Its events, from start to end."""
        return (self.began, *self.steps, *self.lines, self.ended)


class OlderFile(NamedTuple):
    """A source file of a flow: how its last run ended, what the file looked like then, and when that was, as far as that is known."""

    flow: str
    path: str
    mtime_ns: int
    size_bytes: int
    status: str
    success_run_id: str | None
    success_at_utc: str | None
    error: str | None
    run_id: str = ""
    at_utc: str | None = None


@frozen
class OlderHistory:
    """Runs by id, oldest first, and files; `read_from` are the places, for people, and `odd` counts rows that were left out."""

    read_from: tuple[str, ...] = ()
    runs: Mapping[str, OlderRun] = field(default_factory=dict)
    files: tuple[OlderFile, ...] = ()
    odd: int = 0

    def newest_batch(self, flow: str) -> OlderRun | None:
        """The newest good run of the flow that was for no single file."""
        good = (flow, None, "success")
        runs = tuple(self.runs.values())[::-1]  # the newest first
        return next((run for run in runs if (run.began.flow, run.began.source, run.ended.status) == good), None)


def read_ledger(path: Path) -> OlderHistory:
    """The history in the older system's ledger of this machine.

    Raises:
        LedgerError: it is locked, damaged, no database, or not the older system's.
    """
    try:
        with closing(connect_to_look(path)) as connection:
            connection.row_factory = sqlite3.Row
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            cursors = {table: connection.execute(f"SELECT * FROM {table}") for table in TABLES if table in tables}
            return _history(str(path), {table: list(map(dict, rows)) for table, rows in cursors.items()})
    except sqlite3.Error as error:
        is_busy = getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
        raise LedgerError(
            f"the older system's ledger {'is locked by a process that writes it' if is_busy else 'cannot be read'}: {error}",
            where=str(path),
            fix="end the older system, then try again" if is_busy else _LEAVE_OUT,
        ) from error


def read_shared(state: Path, older_id: str) -> OlderHistory:
    """The history that the older system published in the workspace under this id.

    Raises:
        WorkspaceError: a file of it is no Parquet file, or lacks columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables: dict[str, list[dict[str, Any]]] = {}
    for table in TABLES:
        path = state / "state" / table / f"{older_id}.parquet"
        try:
            if path.is_file():
                tables[table] = pq.ParquetFile(path).read().to_pylist()
        except (pa.ArrowException, OSError) as error:
            what = f"what the older system published cannot be read: {str(error).splitlines()[0]}"
            raise WorkspaceError(what, where=str(path), fix=_LEAVE_OUT) from error
    return _history(str(state / "state"), tables) if tables else OlderHistory()


def merge(histories: Sequence[OlderHistory]) -> OlderHistory:
    """Merge histories; of two records of one run or file the newer or longer counts, else the earlier in their order.

    Example:
        >>> def old(status, at): return OlderFile("claims", "/in/a.csv", 1, 5, status, "r1", at, None, "r1", at)
        >>> merged = merge([OlderHistory(files=(old("success", "2026-04-01"),)), OlderHistory(files=(old("failed", "2026-04-02"),))])
        >>> [(file.status, file.at_utc) for file in merged.files]
        [('failed', '2026-04-02')]
    """
    runs: dict[str, OlderRun] = {}
    for run in (run for history in histories for run in history.runs.values()):
        run_id = run.began.run_id
        before = runs.get(run_id)
        if before is None:
            runs[run_id] = run
            continue
        first = run if before.ended.status == "abandoned" else before
        steps, lines = max(before.steps, run.steps, key=len), max(before.lines, run.lines, key=len)
        runs[run_id] = first._replace(steps=steps, lines=lines)
    runs = dict(sorted(runs.items(), key=lambda pair: (pair[1].began_utc, pair[0])))
    last = {(run.began.flow, run.began.source): run for run in runs.values()}
    newest: dict[tuple[str, str], OlderFile] = {}
    for file in (file for history in histories for file in history.files):
        dated = file if file.run_id else _dated(file, last.get((file.flow, file.path)))
        other = newest.get((file.flow, file.path))
        if other is None or (dated.at_utc or "") > (other.at_utc or ""):
            newest[file.flow, file.path] = dated
    read_from = tuple(place for history in histories for place in history.read_from)
    files = tuple(newest[key] for key in sorted(newest))
    return OlderHistory(read_from, runs, files, sum(history.odd for history in histories))


def _dated(file: OlderFile, last: OlderRun | None) -> OlderFile:
    """The file with its run and when that ended: the older system dates good runs of a file only."""
    text = "\0".join((file.flow, file.path, file.status, str(file.mtime_ns)))
    made_id = f"older-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
    if file.status == "success":
        return file._replace(run_id=file.success_run_id or made_id, at_utc=file.success_at_utc)
    if last is not None and last.ended.status == file.status:
        return file._replace(run_id=last.began.run_id, at_utc=utc_text(last.ended.at_s))
    return file._replace(run_id=made_id, at_utc=file.success_at_utc)


def _history(where: str, tables: Mapping[str, list[dict[str, Any]]]) -> OlderHistory:
    odd = 0

    def read(table: str, make: Callable[[Row], Any]) -> list[Any]:
        nonlocal odd
        records = []
        try:
            for row in sorted(tables.get(table, []), key=lambda row: row.get("id", 0)):
                try:
                    records.append(make(row))
                except (ValueError, TypeError, OverflowError):
                    odd += 1
        except KeyError as error:
            what = f"the table {table} of the older system has no column {error}: versions 0.1 to 0.3 have it"
            raise WorkspaceError(what, where=where, fix=_LEAVE_OUT) from error
        return records

    if "runs" not in tables and "file_state" not in tables:
        what = "it has neither runs nor files of the older system (versions 0.1 to 0.3)"
        raise LedgerError(
            what, where=where, fix="name the right one (--ledger PATH), or leave it out: --without-history"
        )
    steps: dict[str, list[StepFinished]] = {}
    lines: dict[str, list[LogLine]] = {}
    for step in read("step_runs", _step):
        earlier = steps.setdefault(step.run_id, [])
        earlier.append(step._replace(step_index=len(earlier)))
    for line in read("logs", _line):
        lines.setdefault(line.run_id, []).append(line)
    runs = {}
    for run in read("runs", _run):
        run_id, flow = run.began.run_id, run.began.flow
        log = [line._replace(flow=flow) for line in lines.get(run_id, ())]
        runs[run_id] = run._replace(steps=steps.get(run_id, ()), lines=log)
    return OlderHistory((where,), runs, tuple(read("file_state", _file)), odd)


def _run(row: Row) -> OlderRun:
    status, began_s = _status(row["status"]), _time_s(row["started_at_utc"])
    ended_s = _time_s(row["finished_at_utc"]) if row.get("finished_at_utc") else began_s
    run_id, flow, group = _text(row["run_id"]), _text(row["flow_name"]), str(row.get("group_name") or "")
    error = _error(row) or (ENDED if status == "abandoned" else None)
    began = RunStarted(run_id, flow, group, _text_or_none(row.get("source_path")), began_s)
    return OlderRun(began, RunFinished(run_id, status, ended_s, max(0.0, ended_s - began_s), error))


def _step(row: Row) -> StepFinished:
    run_id, label, status = _text(row["run_id"]), _text(row["step_label"]), _status(row["status"])
    elapsed_ms, began_s = row.get("elapsed_ms"), _time_s(row["started_at_utc"])
    ended_s = _time_s(row["finished_at_utc"]) if row.get("finished_at_utc") else began_s
    elapsed_s = max(0.0, ended_s - began_s) if elapsed_ms is None else max(0, int(elapsed_ms)) / 1000
    output = _text_or_none(row.get("output_path"))
    return StepFinished(run_id, 0, label, status, ended_s, elapsed_s, _error(row), (output,) if output else ())


def _line(row: Row) -> LogLine:
    step, level = _text_or_none(row.get("step_label")), str(row.get("level") or "INFO")
    return LogLine(str(row.get("run_id") or ""), "", step, level, str(row["message"]), _time_s(row["created_at_utc"]))


def _file(row: Row) -> OlderFile:
    if (size := int(row["size_bytes"])) < 0:
        raise ValueError(size)
    return OlderFile(
        *(_text(row["flow_name"]), _text(row["source_path"]), int(row["mtime_ns"]), size, _status(row["last_status"])),
        _text_or_none(row.get("last_success_run_id")),
        _time_or_none(row.get("last_success_at_utc")),
        _text_or_none(row.get("last_error_text")),
    )


def _status(value: object) -> str:
    """The status in this system: a run that nobody will end any more was abandoned."""
    if value == "started":
        return "abandoned"
    if value not in ("success", "failed", "stopped"):
        raise ValueError(value)
    return str(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(value)
    return value


def _text_or_none(value: object) -> str | None:
    return str(value) if value else None


def _error(row: Row) -> str | None:
    return (_text_or_none(row.get("error_text")) or "")[:LONGEST_ERROR] or None


def _time_s(value: object) -> float:
    at = datetime.fromisoformat(_text(value))
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _time_or_none(value: object) -> str | None:
    return utc_text(_time_s(value)) if value else None
