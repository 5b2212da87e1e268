"""What the older system recorded, as frozen values: read from its ledger, and from what it published on the share.

Nothing is written: a ledger is opened to look, a Parquet file is read. A row that cannot be understood is left out and counted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.errors import LedgerError, WorkspaceError
from data_engine.lease.older_owner import TABLES
from data_engine.ledger.connection import connect_to_look
from data_engine.model import utc_text


class OlderRun(NamedTuple):
    """A run; `status` is a word of this system."""

    run_id: str
    flow: str
    group: str
    source: str | None
    status: str
    began_utc: str
    ended_utc: str | None
    error: str | None


class OlderStep(NamedTuple):
    """A step of a run; `number` orders those of one run."""

    number: int
    run_id: str
    label: str
    status: str
    began_utc: str
    ended_utc: str | None
    elapsed_s: float | None
    error: str | None
    output: str | None


class OlderLine(NamedTuple):
    """A line of a run's log."""

    number: int
    run_id: str
    step: str | None
    level: str
    message: str
    at_utc: str


class OlderFile(NamedTuple):
    """What is known of one source file of a flow: how its last run ended, and what the file looked like then."""

    flow: str
    path: str
    mtime_ns: int
    size_bytes: int
    status: str
    success_run_id: str | None
    success_at_utc: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class OlderHistory:
    """What one place holds: `where` for people. `odd` counts the rows that were left out, by table."""

    where: str
    runs: tuple[OlderRun, ...] = ()
    steps: tuple[OlderStep, ...] = ()
    lines: tuple[OlderLine, ...] = ()
    files: tuple[OlderFile, ...] = ()
    odd: Mapping[str, int] | None = None


def read_ledger(path: Path) -> OlderHistory:
    """What the older system's ledger of this machine holds.

    Raises:
        LedgerError: it is locked, damaged, no database, or not the older system's.
    """
    try:
        with closing(connect_to_look(path)) as connection:
            there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            missing = [table for table in ("runs", "file_state") if table not in there]
            if missing:
                raise LedgerError(
                    f"it has no table {missing[0]}: it is not a ledger of the older system (versions 0.1 to 0.3)",
                    where=str(path),
                    fix="name the right one (--ledger PATH), or leave it out: --without ledger",
                )
            return _history(str(path), {table: _rows(connection, table) for table in TABLES if table in there}, path)
    except sqlite3.Error as error:
        is_busy = getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
        raise LedgerError(
            f"the older system's ledger {'is locked by a process that writes it' if is_busy else 'cannot be read'}: {error}",
            where=str(path),
            fix="end the older system, then try again" if is_busy else "restore it, or leave it out: --without ledger",
        ) from error


def read_shared(state: Path, older_id: str) -> OlderHistory | None:
    """What the older system published in the workspace under this id; None where it published nothing.

    Raises:
        WorkspaceError: a file of it is no Parquet file, or lacks columns.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for table in TABLES:
        path = state / "state" / table / f"{older_id}.parquet"
        if path.is_file():
            found[table] = _parquet_rows(path)
    return _history(str(state / "state"), found, state / "state") if found else None


def _rows(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    cursor = connection.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise WorkspaceError(
            f"what the older system published cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            fix="restore it from a backup, or leave it out: --without share",
        ) from error
    return rows


def _history(where: str, tables: Mapping[str, list[dict[str, Any]]], path: Path) -> OlderHistory:
    odd: dict[str, int] = {}

    def read(table: str, make: Callable[[dict[str, Any]], Any], needed: Sequence[str]) -> tuple[Any, ...]:
        rows = tables.get(table, [])
        lacking = [name for name in needed if rows and name not in rows[0]]
        if lacking:
            raise WorkspaceError(
                f"the table {table} of the older system has no column {lacking[0]}: versions 0.1 to 0.3 have it",
                where=str(path),
                fix="leave it out: --without ledger, or --without share",
            )
        made = [_tried(make, row) for row in rows]
        if left_out := sum(one is None for one in made):
            odd[table] = left_out
        return tuple(one for one in made if one is not None)

    return OlderHistory(
        where,
        read("runs", _run, ("run_id", "flow_name", "status", "started_at_utc")),
        read("step_runs", _step, ("id", "run_id", "step_label", "status", "started_at_utc")),
        tuple(line for line in read("logs", _line, ("id", "message", "created_at_utc")) if line.run_id),
        read("file_state", _file, ("flow_name", "source_path", "mtime_ns", "size_bytes", "last_status")),
        odd,
    )


def _tried(make: Callable[[dict[str, Any]], Any], row: dict[str, Any]) -> Any:
    try:
        return make(row)
    except (ValueError, TypeError, OverflowError):
        return None


def _run(row: dict[str, Any]) -> OlderRun:
    ended = _time_or_none(row.get("finished_at_utc"))
    return OlderRun(
        _text(row["run_id"]),
        _text(row["flow_name"]),
        str(row.get("group_name") or ""),
        _text_or_none(row.get("source_path")),
        _status(row["status"]),
        began := _time(row["started_at_utc"]),
        ended or began,
        _text_or_none(row.get("error_text")),
    )


def _step(row: dict[str, Any]) -> OlderStep:
    elapsed_ms = row.get("elapsed_ms")
    began = _time(row["started_at_utc"])
    return OlderStep(
        int(row["id"]),
        _text(row["run_id"]),
        _text(row["step_label"]),
        _status(row["status"]),
        began,
        _time_or_none(row.get("finished_at_utc")) or began,
        None if elapsed_ms is None else max(0, int(elapsed_ms)) / 1000,
        _text_or_none(row.get("error_text")),
        _text_or_none(row.get("output_path")),
    )


def _line(row: dict[str, Any]) -> OlderLine:
    return OlderLine(
        int(row["id"]),
        str(row.get("run_id") or ""),
        _text_or_none(row.get("step_label")),
        str(row.get("level") or "INFO"),
        str(row["message"]),
        _time(row["created_at_utc"]),
    )


def _file(row: dict[str, Any]) -> OlderFile:
    size = int(row["size_bytes"])
    if size < 0:
        raise ValueError(size)
    return OlderFile(
        _text(row["flow_name"]),
        _text(row["source_path"]),
        int(row["mtime_ns"]),
        size,
        _status(row["last_status"]),
        _text_or_none(row.get("last_success_run_id")),
        _time_or_none(row.get("last_success_at_utc")),
        _text_or_none(row.get("last_error_text")),
    )


def _status(value: object) -> str:
    """The word of this system: what nobody will end any more was abandoned."""
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


def _time(value: object) -> str:
    at = datetime.fromisoformat(_text(value))
    return utc_text((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def _time_or_none(value: object) -> str | None:
    return _time(value) if value else None


def newest_time(times: Iterable[str | None]) -> str | None:
    """The latest of these times; None where none is known.

    Example:
        >>> newest_time(["2026-04-01T00:00:00+00:00", None, "2026-04-02T00:00:00+00:00"])
        '2026-04-02T00:00:00+00:00'
    """
    return max((time for time in times if time is not None), default=None)
