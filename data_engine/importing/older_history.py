"""Read the history of the older system, as this one keeps it: from its ledger, and from its files on the share.

Nothing is written. A row that cannot be understood is left out and counted.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.errors import LedgerError, WorkspaceError
from data_engine.lease.older_owner import TABLES
from data_engine.ledger.connection import connect_to_look
from data_engine.ledger.merge import LONGEST_ERROR
from data_engine.model import Event, LogLine, RunFinished, RunStarted, StepFinished, utc_text
from data_engine.record import frozen

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
        whole = [
            run
            for run in self.runs.values()
            if (run.began.flow, run.began.source, run.ended.status) == (flow, None, "success")
        ]
        return max(whole, key=lambda run: run.began_utc, default=None)


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
