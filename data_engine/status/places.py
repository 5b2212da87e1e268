"""Look where flows read and write: what is wrong with sources and mirrors, why a run finds nothing to do, which outputs are
gone, and which run wrote a file last. Also: the alert recipients that have no secret on this machine."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.flow.scan import CORRECT_SOURCE, missing_source_fix, walk
from data_engine.formatting import cli_line, first_few, path_in
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.outputs import OutputRun, output_runs
from data_engine.model import RunFile
from data_engine.notebook.catalog import CatalogEntry
from data_engine.reasons.kinds import LastWritten, RowsRecorded
from data_engine.status.runs import with_text
from data_engine.suggestions import near_offer

T = TypeVar("T")
LOOK_LIMIT_S = 2.0
"""A person waits for it: a drive that answers at all does so in less."""

_MOST_ENDINGS = 5


def source_warnings(flow: Flow, mirrors: Collection[Path] = ()) -> list[str]:
    """Why the flow's source or mirror cannot be used now, each with its fix; tomorrow it may be there. A source that is missing in one
    of the `mirrors`, those of flows beside it, is none: its first run makes it.

    Example:
        >>> flow = Flow("Claims", "claims").watch(mode="poll", source="/nowhere/in", interval="10s")
        >>> source_warnings(flow)[0].partition(";")[0]
        'claims: its source /nowhere/in does not exist'
    """
    warnings = []
    trigger, mirror = flow.trigger, flow.mirror_spec
    if trigger is not None and trigger.source is not None:
        is_made = any(trigger.source.is_relative_to(root) for root in mirrors) and not trigger.source.exists()
        trouble = None if is_made else _source_trouble(trigger.source, trigger.extensions)
        warnings += [] if trouble is None else [f"{flow.name}: its source {trouble}"]
    if mirror is not None and mirror.root.is_file():
        warnings.append(f"{flow.name}: its mirror root {mirror.root} is a file; name a folder in mirror(root=...)")
    return warnings


def all_source_warnings(flows: Sequence[Flow]) -> list[list[str]]:
    """The `source_warnings` of each flow, within `LOOK_LIMIT_S` for all together; a drive that hangs gets a warning."""
    warnings: dict[int, list[str]] = {}
    mirrors = {flow.mirror_spec.root for flow in flows if flow.mirror_spec is not None}

    def look(number: int) -> None:
        warnings[number] = source_warnings(flows[number], mirrors)

    until_s = time.monotonic() + LOOK_LIMIT_S
    threads = [threading.Thread(target=look, args=(number,), daemon=True) for number in range(len(flows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    answered = dict(warnings)
    for number, flow in enumerate(flows):
        if number not in answered:
            source = None if flow.trigger is None else flow.trigger.source
            where = flow.mirror_spec.root if source is None and flow.mirror_spec is not None else source
            silent = f"{where} gave no answer within {LOOK_LIMIT_S:g} s; check whether its drive is connected"
            answered[number] = [f"{flow.name}: {silent}"]
    return [answered[number] for number in range(len(flows))]


def with_source_warnings(entries: Iterable[CatalogEntry]) -> tuple[CatalogEntry, ...]:
    """The entries, each with the `source_warnings` of its flow among its warnings."""
    listed = list(entries)
    flows = [entry.flow for entry in listed if entry.flow is not None]
    warnings = iter(all_source_warnings(flows))
    return tuple(
        entry if entry.flow is None else replace(entry, warnings=(*entry.warnings, *next(warnings))) for entry in listed
    )


def with_recipient_warnings(entries: Iterable[CatalogEntry], others: Collection[str]) -> tuple[CatalogEntry, ...]:
    """Warn each entry of alert recipients that have no secret on this machine; `others` are the recipients of other flows.

    The keyring is asked only for names that are nowhere else.
    """
    catalog = tuple(entries)
    if not any(entry.flow is not None and entry.flow.alerts for entry in catalog):
        return catalog
    from data_engine.workspace.secret_store import has_secret, stored_secrets

    try:
        stored = {secret.name for secret in stored_secrets()}
        names = {name for entry in catalog if entry.flow is not None for name in recipients_of(entry.flow)}
        secrets = stored | {name for name in names - stored if has_secret(name)}
    except FlowValidationError:  # nobody can know; `doctor` says so
        return catalog
    warned = []
    for entry in catalog:
        unknown = [] if entry.flow is None else [name for name in recipients_of(entry.flow) if name not in secrets]
        warnings = []
        for name in unknown:
            known_here = sorted(stored | {*others} - {name})
            fix = f"{near_offer(name, known_here)}`{cli_line('secret', 'set', name)}` stores its address"
            listed = f"; known here: {', '.join(known_here)}" if known_here else ""
            warnings.append(
                f"{entry.name}: Flow.alert(to=...) names {name!r}, and this machine has no such secret: {fix}{listed}"
            )
        warned.append(replace(entry, warnings=(*entry.warnings, *warnings)))
    return tuple(warned)


def recipients_of(flow: Flow) -> tuple[str, ...]:
    """The secrets that `Flow.alert(to=...)` names.

    Example:
        >>> recipients_of(Flow(group="Claims").alert(to=["ops", "boss"]).alert(to="ops", on=["late"]))
        ('ops', 'boss')
    """
    return tuple(dict.fromkeys(name for rule in flow.alerts for name in rule.to or ()))


def why_nothing(flow: Flow) -> str:
    """Why a run of the flow finds no file in its source, and what to do.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> flow = Flow("Claims", "claims").watch(mode="manual", source=folder, extensions=".csv")
        >>> why_nothing(flow).replace(str(folder), "/in")
        'no files to run for in /in: the folder is empty; put files there, or correct source='
        >>> _ = (folder / "a.txt").write_text("1")
        >>> why_nothing(flow).replace(str(folder), "/in")
        'no files to run for in /in: there are only .txt files, and the flow takes .csv; correct extensions=, or put such files there'
    """
    trigger = flow.trigger
    if trigger is None or trigger.source is None:
        return "no files to run for"
    start = f"no files to run for in {trigger.source}"
    trouble = _source_trouble(trigger.source, trigger.extensions)
    if trouble is not None:
        return f"no files to run for: its source {trouble}"
    mirror = None if flow.mirror_spec is None else flow.mirror_spec.root
    try:
        is_empty = not os.listdir(trigger.source)
        endings = sorted({Path(name).suffix for name, _ in walk(trigger.source, None, skip=mirror)})
    except OSError as error:
        return f"{start}: it cannot be read ({error.strerror}); check its permissions"
    if is_empty:
        return f"{start}: the folder is empty; put files there, or correct source="
    if endings and trigger.extensions is not None:
        shown = ", ".join(ending or "nameless" for ending in endings[:_MOST_ENDINGS])
        more = " and other" if len(endings) > _MOST_ENDINGS else ""
        takes = ", ".join(trigger.extensions)
        return f"{start}: there are only {shown}{more} files, and the flow takes {takes}; correct extensions=, or put such files there"
    return f"{start}: what is there is hidden, temporary, a lock file, an empty folder or the flow's own output"


def _source_trouble(source: Path, extensions: tuple[str, ...] | None) -> str | None:
    """What is wrong with a source, and the fix; None without a fault."""
    correct = f"or {CORRECT_SOURCE}"
    try:
        mode = os.stat(source).st_mode
    except (FileNotFoundError, NotADirectoryError):  # Windows does not tell them apart
        above = next((folder for folder in source.parents if folder.is_file()), None)
        if above is not None:
            return f"{source} cannot exist, because {above} is a file; name another folder, {correct}"
        return f"{source} does not exist; {missing_source_fix(source)}"
    except OSError as error:
        return f"{source} cannot be looked at ({error.strerror}); check its drive and permissions"
    if not stat.S_ISDIR(mode) and extensions is not None and not source.name.lower().endswith(extensions):
        return f"{source} is a file, and the flow takes {', '.join(extensions)}; name its folder, {correct}"
    return None


_MOST_LOOKS = 2_000
_MOST_NAMED = 3


def gone_outputs(written: Mapping[str, tuple[str, ...]], *, workspace: str) -> dict[str, tuple[str, ...]]:
    """The files `written` that are gone, by the id of their run, as far as `LOOK_LIMIT_S` allows.

    Outside the `workspace` a folder that is away with the folder above it does not count: that is a drive, and no loss.

    Example:
        >>> gone_outputs({"r1": ("/nowhere/out/a.parquet",)}, workspace="/ws")
        {}
    """
    gone_by_run: dict[str, tuple[str, ...]] = {}

    def look() -> None:
        looks = 0
        for run_id, paths in written.items():
            looks += len(paths)
            if looks > _MOST_LOOKS:
                return
            gone = tuple(path for path in paths if is_gone(path, workspace=workspace))
            if gone:
                gone_by_run[run_id] = gone

    if written:
        within_the_limit(look, None)
    return dict(gone_by_run)  # as far as the look has come


def count_gone(paths: Sequence[Path]) -> int:
    """How many of these files are gone; 0 where they are too many, or do not answer within `LOOK_LIMIT_S`.

    Example:
        >>> count_gone([Path(__file__), Path("/nowhere/a.csv")])
        1
    """
    if not paths or len(paths) > _MOST_LOOKS:
        return 0
    return within_the_limit(lambda: sum(not os.path.lexists(path) for path in paths), 0)


def is_gone(path: str, *, workspace: str) -> bool:
    """Whether the file is not there, and the workspace it lies in, or its folder or the one above, is."""
    try:
        os.stat(path)
    except FileNotFoundError:
        folder = os.path.dirname(path)
        if Path(path).is_relative_to(workspace):
            return os.path.isdir(workspace)
        return os.path.isdir(folder) or os.path.isdir(os.path.dirname(folder))
    except OSError:
        return False
    return False


def within_the_limit(look: Callable[[], T], otherwise: T) -> T:
    """The result of a look; `otherwise` where it takes longer than a person would wait for a drive that hangs."""
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(look()), daemon=True)
    thread.start()
    thread.join(LOOK_LIMIT_S)
    return results[0] if results else otherwise


def gone_text(paths: Sequence[str]) -> str:
    """Say that outputs are gone.

    Example:
        >>> gone_text(["/out/a.csv"]), gone_text([f"/out/{number}.csv" for number in range(5)])
        ('its output /out/a.csv is gone', 'its outputs /out/0.csv, /out/1.csv, /out/2.csv and 2 more are gone')
    """
    if len(paths) == 1:
        return f"its output {paths[0]} is gone"
    return f"its outputs {first_few(paths, _MOST_NAMED)} are gone"


State = Literal["as_written", "changed", "gone", "source_gone", "set_aside", "unknown"]
_SAME_TIME_S = 2.0
"""Drives round times by so much."""


def last_written(
    ledger: Ledger, subject: str, file: str, *, workspace: str, by_name: bool
) -> Iterator[tuple[str, str | None, LastWritten]]:
    """The flows that wrote the file, each with the source of its last run that did; `by_name` also finds the file by its name
    or its path inside the `workspace`.

    Raises:
        LedgerError: the history cannot be read.
    """
    from data_engine.engine.left_behind import is_set_aside

    inside = [os.path.relpath(file, workspace)] if Path(file).is_relative_to(workspace) else []
    names = dict.fromkeys([os.path.normpath(subject), *inside])
    endings = [name for name in names if not name.startswith(os.pardir)]
    paths = [file, os.path.join(workspace, subject)]
    for output in output_runs(ledger, file, endings if by_name else ()):
        run = output.run
        if run is None:
            yield output.flow, None, LastWritten(output.path)
            continue
        read = () if run.source is not None else tuple(part.path for part in run.inputs if not part.tables)
        with_ = with_text(run)
        state, path = _now(output, paths, workspace)
        if state == "gone" and run.source is not None and is_gone(run.source, workspace=workspace):
            state = "set_aside" if is_set_aside(Path(path)) else "source_gone"
        why = LastWritten(path, run.run_id, run.finished_at_utc, with_, read, run.more_inputs if read else 0, state)
        yield output.flow, run.source, why


def _now(output: OutputRun, paths: Sequence[str], workspace: str) -> tuple[State, str]:
    """The state of the file now, as far as its drive answers, and its path: in a moved workspace one of `paths`."""
    outputs = () if output.run is None else output.run.outputs
    file = next((file for file in outputs if file.path == output.path), None)
    same = [path for path in paths if os.path.basename(path) == os.path.basename(output.path)]

    def look() -> tuple[State, str]:
        at = next(filter(os.path.lexists, (output.path, *same)), output.path)
        return state_of(file, at, workspace=workspace), at

    unknown: tuple[State, str] = ("unknown", output.path)
    return unknown if file is None else within_the_limit(look, unknown)


def state_of(file: RunFile | None, path: str, *, workspace: str) -> State:
    """The state of the file at `path` now, compared with its record `file`.

    Example:
        >>> file = RunFile("/out/a.csv", 3, "2026-01-05T06:30:00+00:00")
        >>> state_of(file, "/out/a.csv", workspace="/ws"), state_of(None, __file__, workspace="/ws")
        ('gone', 'unknown')
    """
    if file is None or file.size_bytes is None or file.modified_at_utc is None:
        return "unknown"
    try:
        facts = os.stat(path)
    except OSError:
        return "gone" if is_gone(path, workspace=workspace) else "unknown"
    later_s = facts.st_mtime - datetime.fromisoformat(file.modified_at_utc).timestamp()
    return "changed" if facts.st_size != file.size_bytes or abs(later_s) > _SAME_TIME_S else "as_written"


def table_meant(databases: Path, subject: str) -> tuple[Path, str] | None:
    """The database and the table that `subject` names, as in "warehouse.duckdb:sales"; None where no such file is there.

    The file is named by its path, by its path in the workspace, or by its path in its folder `databases`.
    """
    for at in (at for at, letter in enumerate(subject) if letter == ":"):
        for path in (Path(subject[:at]), databases.parent / subject[:at], databases / subject[:at]):
            if path.is_file():
                return path.resolve(), subject[at + 1 :]
    return None


def table_named(databases: Path, database: Path, table: str) -> str:
    """The one name of a table, however somebody has named it: its database in the folder `databases`, else in the workspace.

    Example:
        >>> databases = Path("/ws/databases").resolve()
        >>> table_named(databases, databases / "mart.duckdb", "sales"), table_named(databases, databases.parent / "out" / "a.duckdb", "main.b")
        ('mart.duckdb:sales', 'out/a.duckdb:main.b')
    """
    folder = databases.resolve()
    root = folder if database.is_relative_to(folder) else folder.parent
    return f"{path_in(root, str(database))}:{table}"


def rows_recorded(path: Path, name: str, root: Path) -> Iterator[tuple[str, str | None, RowsRecorded]]:
    """The flow, source and record of the rows that runs wrote to the table of the database and that stand in it, the newest first.

    Raises:
        FlowValidationError: no such table, or the database is in use by a program that writes it.
    """
    from data_engine.helpers.duckdb.applied import records_of
    from data_engine.helpers.duckdb.connection import reading
    from data_engine.helpers.duckdb.names import folded

    with reading(path, wait="2s") as database:
        table = database.table(name)
        database.known_columns(table)
        records = records_of(database)
    meant = [
        row for row in records if (folded(row.schema), folded(row.table)) == (folded(table.schema), folded(table.name))
    ]
    for row in reversed(meant):
        source = os.path.normpath(root / row.source) if row.source else None
        yield row.flow, source, RowsRecorded(name, row.run_id, row.at, row.rows, row.column, row.key)
    if not meant:
        yield "", None, RowsRecorded(name)
