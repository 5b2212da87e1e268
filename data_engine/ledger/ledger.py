"""The ledger: records what happens, and answers what happened."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from data_engine import private
from data_engine.cause import Cause, cause_from
from data_engine.errors import LedgerError
from data_engine.files import trouble_of
from data_engine.ledger.connection import GroupCommit, as_ledger_error, connect, known_list, put_setting, transaction
from data_engine.ledger.migrations import migrate
from data_engine.ledger.rows import (
    LOG_COLUMNS,
    RUN_COLUMNS,
    SHORT_RUN_COLUMNS,
    STATE_COLUMNS,
    STEP_COLUMNS,
    SourceStates,
    files_of,
    restored,
    run_of,
    source_state,
    step_of,
    storable,
)
from data_engine.locks import InterruptsHeld, RunnerLock, is_runner_gone
from data_engine.model import (
    RUN_STATUSES,
    ActiveRun,
    Event,
    FeedCount,
    LogEntry,
    PublishStarted,
    Run,
    RunFinished,
    RunStarted,
    SeenSource,
    SourceState,
    StepProgress,
    StepRun,
    Switch,
    WrittenFile,
    future_utc,
    utc_text,
)
from data_engine.record import frozen

if TYPE_CHECKING:
    from data_engine.ledger.journal import JournalReader

_WRITTEN = (
    "SELECT flow_name, run_id, finished_at_utc, outputs, source_path, source_key FROM runs"
    " WHERE outputs IS NOT NULL AND finished_at_utc IS NOT NULL AND started_at_utc <= ?"
    " ORDER BY started_at_utc DESC, rowid DESC LIMIT ?"
)
# The newest run of each flow by one index seek per flow, however long the history is; what is from the future is none.
_LAST_RUNS = f"""
WITH RECURSIVE flows (name) AS (
    SELECT MIN(flow_name) FROM runs
    UNION ALL SELECT (SELECT MIN(flow_name) FROM runs WHERE flow_name > flows.name) FROM flows WHERE name IS NOT NULL
)
SELECT {SHORT_RUN_COLUMNS} FROM flows JOIN runs ON runs.rowid = (
    SELECT rowid FROM runs WHERE flow_name = flows.name AND started_at_utc <= ?
    ORDER BY started_at_utc DESC, rowid DESC LIMIT 1
)
"""
_FLUSH_EVERY_S = 0.2
_BEGINNINGS = (RunStarted, PublishStarted)
_WRITTEN_AT_ONCE = (*_BEGINNINGS, RunFinished)
_HANDLED = (*_WRITTEN_AT_ONCE, StepProgress)


@frozen
class RunsWanted:
    """A choice of runs: of one flow, in one status, of one source (its absolute path as recorded), that began in a range with
    both ends in it; None is any.
    """

    flow: str | None = None
    status: str | None = None
    source: str | None = None
    since_utc: str | None = None
    until_utc: str | None = None

    def of(self, *, flow: str | None = None, source: str | None = None) -> RunsWanted:
        """The same choice for that flow, or that source."""
        return replace(self, flow=flow, source=source)

    def where(self) -> tuple[str, tuple[str, ...]]:
        """The SQL condition on a row of `runs`, and its parameters.

        Raises:
            LedgerError: no run can have that status.

        Example:
            >>> RunsWanted("claims", "failed").where()
            ('flow_name = ? AND status = ?', ('claims', 'failed'))
        """
        if self.status is not None and self.status not in RUN_STATUSES:
            raise LedgerError(
                f"no run has the status {self.status!r}", where="status=", fix=f"use one of {RUN_STATUSES}"
            )
        candidates = (
            *(("flow_name = ?", self.flow), ("status = ?", self.status), ("source_path = ?", self.source)),
            *(("started_at_utc >= ?", self.since_utc), ("started_at_utc <= ?", self.until_utc)),
        )
        conditions = [(text, value) for text, value in candidates if value is not None]
        return " AND ".join(text for text, _ in conditions) or "1", tuple(value for _, value in conditions)


class Ledger:
    """The history of runs of one workspace on this machine. Any thread may use it; several processes may have the file open.

    Answers hold what has been written: a run's start and end at once, its steps and log within 200 ms or after
    `flush()`. Every method raises `LedgerError` when the file cannot be used, when the ledger is closed, and in a
    forked child, which opens its own.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from data_engine.model import LogLine, RunFinished, RunStarted
        >>> with Ledger.open(Path(tempfile.mkdtemp()) / "ledger.sqlite") as ledger:
        ...     ledger.record(RunStarted("3fa2", "claims", "Claims", None, at_s=0.0))
        ...     ledger.record(LogLine("3fa2", "claims", None, "INFO", "hello", at_s=0.5))
        ...     ledger.record(RunFinished("3fa2", "success", at_s=1.0, elapsed_s=1.0))
        ...     ledger.run("3f").status, [entry.message for entry in ledger.log("3fa2")]
        ('success', ['hello'])
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._connection_lock = threading.Lock()
        self._pid, self._is_closed = os.getpid(), False
        self._runner: RunnerLock | None = None
        self._runner_id: str | None = None
        self._created_s, self._is_runner_stored = 0.0, False
        self._commit = GroupCommit(self._write, every_s=_FLUSH_EVERY_S)

    @classmethod
    def open(cls, path: Path, *, busy_timeout_s: float = 5.0) -> Self:
        """The ledger in the file `path`, made or brought to the newest version first; close it when done.

        `busy_timeout_s` is how long a write waits for another process's.

        Raises:
            LedgerError: disk full, read-only, not a ledger, or written by a newer Data Engine.
        """
        try:
            private.make_folder(path.parent)
            private.make_file(path)  # SQLite gives its log the mode of this file
        except OSError as error:
            raise LedgerError(
                f"the run history cannot be made: {trouble_of(error)}",
                where=str(error.filename or path),
                fix="make its folder a plain one that is writable for this user",
            ) from error
        try:
            connection = connect(path, busy_timeout_s=busy_timeout_s)
            try:
                migrate(connection, path)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise as_ledger_error(error, path) from error
        return cls(path, connection)

    @property
    def runners_dir(self) -> Path:
        """The folder with the lock of each process that records runs."""
        return self.path.parent / "runners"

    def new_journal(self) -> JournalReader:
        """A journal for one worker of this process; what it holds is recovered when this process dies.

        Raises:
            LedgerError: this process cannot be entered as one that records runs.
            OSError: the file cannot be made.
        """
        from data_engine.ledger.journal import JournalReader, journal_path

        self._require_usable()
        with self._use() as connection:
            if not self._is_runner_stored:
                with transaction(connection):
                    self._enter_runner(connection)
                self._is_runner_stored = True
        return JournalReader(journal_path(self.runners_dir, str(self._runner_id), os.urandom(8).hex()))

    def record(self, *events: Event, has_begun: bool = False, end_waits: bool = False) -> None:
        """Store what happened, in this order: with a run's start, its publishing or its end among it before this returns, in
        one commit; all else within 200 ms. Progress is not stored. Where `end_waits`, an end is stored with the next start: the next
        run of the same pass begins at once, and `flush` follows the last.

        The first end of a run decides; steps of a run that has ended or never began change nothing.

        Raises:
            LedgerError: these events, or earlier ones, cannot be written now. Starts of runs among them are then not
                stored, ever, unless these have begun all the same (`has_begun`: a journal has them); any other event is
                kept in memory and written as soon as the file can be.
        """
        self._require_usable()
        if len(events) == 1 and type(events[0]) not in _HANDLED:  # most
            self._commit.add(*events)
            return
        stored = [event for event in events if type(event) is not StepProgress]
        at_once = _BEGINNINGS if end_waits else _WRITTEN_AT_ONCE
        if any(type(event) in at_once for event in stored):
            unbegun = [] if has_begun else [event for event in stored if type(event) is RunStarted]
            self._commit.add_and_flush(*stored, forget=unbegun)
        elif stored:
            self._commit.add(*stored)

    def wait_at_most(self, busy_timeout_s: float) -> None:
        """Let each write wait at most so long for that of another process."""
        with self._use() as connection:
            connection.execute(f"PRAGMA busy_timeout = {int(busy_timeout_s * 1000)}")

    def flush(self) -> None:
        """Write all that was recorded; raises `LedgerError` when that fails, keeping it for the next time."""
        self._require_usable()
        self._commit.flush()

    def require_writable(self) -> None:
        """Write all that was recorded, and see that more could be written now; raises `LedgerError` when not."""
        self.flush()
        with self._use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")

    def close(self) -> None:
        """Write all that was recorded and close the file. Runs that are still open count as abandoned from now on.

        Raises:
            LedgerError: the last events could not be written; the file is closed all the same.
        """
        if self._is_closed or self._pid != os.getpid():
            return
        self._is_closed = True
        try:
            self._commit.close()
        finally:
            with self._connection_lock:
                self._connection.close()
            if self._runner is not None:
                self._runner.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def data_version(self) -> int:
        """A number that changes when another connection, of this or another process, has written."""
        return int(self.rows("PRAGMA data_version")[0][0])

    def version(self) -> tuple[int, int]:
        """Two numbers that stay equal while nobody writes, this connection included."""
        with self.reading() as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0]), connection.total_changes

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows that the SQL statement gives; for the other modules of this folder."""
        self._require_usable()
        with self._use() as connection:
            return connection.execute(statement, storable(parameters)).fetchall()

    def runs_where(self, condition: str, *parameters: Any) -> list[Run]:
        """The runs for which the SQL condition, with what may follow it, holds; for the other modules of this folder."""
        return [run_of(row) for row in self.rows(f"SELECT {RUN_COLUMNS} FROM runs WHERE {condition}", *parameters)]

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, to read; for the other modules of this folder."""
        self._require_usable()
        with self._use() as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[tuple[sqlite3.Connection, int]]:
        """A transaction with the revision of its rows; `durable`: kept through a power cut. For the modules of this folder."""
        self._require_usable()
        with self._use() as connection:
            if durable:
                connection.execute("PRAGMA synchronous = FULL")
            try:
                with transaction(connection) as rev:
                    yield connection, rev
            finally:
                if durable:
                    connection.execute("PRAGMA synchronous = NORMAL")

    # -- questions --------------------------------------------------------------------------------------------------------------

    def runs(
        self, flow: str | None = None, limit: int = 100, *, status: str | None = None, source: str | None = None
    ) -> list[Run]:
        """The newest runs, newest first, of one flow, in one status, of one source (its absolute path as recorded).

        Those from the future come first: the one that ran last is `last_run`.

        Raises:
            LedgerError: `status` is no status of a run, or `limit` is negative.
        """
        return self.runs_wanted(RunsWanted(flow, status, source), limit)

    def runs_wanted(self, wanted: RunsWanted, limit: int) -> list[Run]:
        """The newest of these runs, newest first.

        Raises:
            LedgerError: no run can have that status, or `limit` is negative.
        """
        if limit < 0:
            raise LedgerError(f"the limit {limit} is negative", where="limit=", fix="give how many runs you want")
        where, values = wanted.where()
        limit = min(limit, 2**63 - 1)  # as many as SQLite can count
        return self.runs_where(f"{where} ORDER BY started_at_utc DESC, rowid DESC LIMIT ?", *values, limit)

    def count_wanted(self, wanted: RunsWanted) -> int:
        """How many of these runs there are.

        Raises:
            LedgerError: no run can have that status.
        """
        where, values = wanted.where()
        return int(self.rows(f"SELECT count(*) FROM runs WHERE {where}", *values)[0][0])

    def sources_called(self, name: str, path: str) -> list[str]:
        """The paths of the sources that ran and have this `path`, or end with `name`: a file's, or its folder's as well."""
        text = "SELECT DISTINCT source_path FROM runs WHERE source_path = ?1 OR substr(source_path, -length(?2)) = ?2"
        return [source for (source,) in self.rows(text, path, os.sep + name)]

    def run(self, run_id: str) -> Run | None:
        """The run with this id, or with the only id that begins so; None when there is none.

        Raises:
            LedgerError: several ids begin so; the message names them.
        """
        runs = self.runs_where("run_id = ?", run_id)
        if not runs and run_id:
            begins = "run_id > ? AND run_id < ? ORDER BY run_id LIMIT 4"
            runs = self.runs_where(begins, run_id, run_id + chr(0x10FFFF))
        if len(runs) > 1:
            ids = ", ".join(run.run_id for run in runs[:3]) + (", ..." if len(runs) > 3 else "")
            raise LedgerError(
                f"several runs begin with {run_id!r}: {ids}", where="run id", fix="give more characters of the id"
            )
        return runs[0] if runs else None

    def causes(self, *flows: str, limit: int = 1000) -> dict[str, Cause]:
        """The causes of the newest runs of these flows that did not end well, by run id."""
        rows = self.rows(
            "SELECT run_id, cause_kind, cause_data, cause FROM runs"
            f" WHERE flow_name IN ({', '.join('?' * len(flows))}) AND cause IS NOT NULL ORDER BY started_at_utc DESC LIMIT ?",
            *flows,
            limit,
        )
        return {run_id: cause for run_id, *columns in rows if (cause := cause_from(*columns)) is not None}

    def steps(self, run_id: str) -> list[StepRun]:
        """The steps of a run, in their order."""
        rows = self.rows(f"SELECT {STEP_COLUMNS} FROM step_runs WHERE run_id = ? ORDER BY step_index", run_id)
        ended_badly = any(row[3] not in ("success", "started") for row in rows)
        why = (
            self.rows("SELECT cause_kind, cause_data, cause FROM runs WHERE run_id = ?", run_id) if ended_badly else []
        )
        return [step_of(row, cause_from(*why[0]) if why else None) for row in rows]

    def steps_of(self, run_ids: Sequence[str]) -> dict[str, list[StepRun]]:
        """The steps of several good runs, each in its order, by the id of the run."""
        steps: dict[str, list[StepRun]] = {}
        query = f"SELECT {STEP_COLUMNS} FROM step_runs WHERE run_id IN (SELECT value FROM json_each(?)) ORDER BY run_id, step_index"
        for row in self.rows(query, json.dumps(run_ids)):
            steps.setdefault(row[0], []).append(step_of(row, None))
        return steps

    def outputs_of(self, run_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The files that each of these runs wrote, by run id; without runs that wrote none, or are pruned."""
        query = (
            "SELECT run_id, outputs FROM runs WHERE run_id IN (SELECT value FROM json_each(?)) AND outputs IS NOT NULL"
        )
        rows = self.rows(query, json.dumps(run_ids))
        return {run_id: tuple(file.path for file in files_of(text)[0]) for run_id, text in rows}

    def environment(self, digest: str) -> tuple[str, ...]:
        """The distributions of an environment, "name version" each; empty where its list is not here."""
        rows = self.rows("SELECT distributions FROM environments WHERE digest = ?", digest)
        return tuple(json.loads(rows[0][0])) if rows else ()

    def log(self, run_id: str) -> list[LogEntry]:
        """The log of a run, oldest line first."""
        rows = self.rows(f"SELECT {LOG_COLUMNS} FROM logs WHERE run_id = ? ORDER BY line_no", run_id)
        return [LogEntry(*row) for row in rows]

    def written(self, most_runs: int) -> list[WrittenFile]:
        """The files that the newest runs wrote, each as its newest run left it, the newest first."""
        files: dict[str, WrittenFile] = {}
        sources: dict[str, dict[str, None]] = {}
        for flow, run_id, ended, text, source, key in self.rows(_WRITTEN, future_utc(time.time()), most_runs):
            where = restored(source) if source else ""
            for file in files_of(text)[0]:
                path = file.path
                if path not in files:
                    root = _root_of(where, restored(key) if key else "")
                    facts = (file.size_bytes, file.rows)
                    files[path] = WrittenFile(path, restored(flow), run_id, ended, *facts, source_root=root)
                sources.setdefault(path, {})[where] = None
        return [replace(entry, sources=tuple(sources[path])) for path, entry in files.items()]

    def source_folders(self) -> list[tuple[str, str]]:
        """Each source folder of past runs: as its author wrote it, and its path then."""
        rows = self.rows(
            "SELECT DISTINCT source_root, rtrim(substr(source_path, 1, length(source_path) - length(source_key)), '/\\')"
            " FROM runs WHERE source_key <> '' AND source_root IS NOT NULL"
        )
        return [(restored(authored), restored(folder)) for authored, folder in rows]

    def last_runs(self) -> dict[str, Run]:
        """The newest run of every flow that ever ran, by flow name; runs from the future do not count."""
        return {run.flow: run for run in map(run_of, self.rows(_LAST_RUNS, future_utc(time.time())))}

    def last_run(self, flow: str) -> Run | None:
        """The newest run of the flow; runs from the future do not count."""
        newest = "flow_name = ? AND started_at_utc <= ? ORDER BY started_at_utc DESC, rowid DESC LIMIT 1"
        return next(iter(self.runs_where(newest, flow, future_utc(time.time()))), None)

    def not_good(self) -> list[SourceState]:
        """The state of each source whose last run did not end well, of every flow; also of files long gone."""
        rows = self.rows(f"SELECT flow_name, {STATE_COLUMNS} FROM file_state WHERE last_status != 'success'")
        return [source_state(restored(flow), tuple(row)) for flow, *row in rows]

    def running(self, group: str | None = None) -> list[Run]:
        """The runs that have begun and not ended, oldest first; `recover()` first takes out those whose process died."""
        return self.runs_where(
            "status = 'started' AND (?1 IS NULL OR group_name = ?1) ORDER BY started_at_utc, rowid", group
        )

    def running_with_pids(self, group: str | None = None) -> list[tuple[Run, int]]:
        """Like `running`, with the process that records each; only runs of this machine."""
        pids = dict(self.rows("SELECT run_id, pid FROM runs JOIN runners USING (runner_id) WHERE status = 'started'"))
        return [(run, pids[run.run_id]) for run in self.running(group) if run.run_id in pids]

    def active_runs(self, *, but_of: int | None = None) -> list[ActiveRun]:
        """The runs under way on this machine, but for those of the process `but_of`; oldest first."""
        runs = []
        for run, pid in self.running_with_pids():
            if pid == but_of:
                continue
            step = next((step for step in reversed(self.steps(run.run_id)) if step.status == "started"), None)
            runs.append(
                ActiveRun(
                    run_id=run.run_id,
                    flow=run.flow,
                    group=run.group,
                    source=run.source,
                    started_at_utc=run.started_at_utc,
                    pid=pid,
                    in_daemon=False,
                    step=None if step is None else step.label,
                    step_started_at_utc=None if step is None else step.started_at_utc,
                )
            )
        return runs

    def source_states(self, flow: str) -> SourceStates:
        """The state of each source of the flow that a run has settled."""
        return SourceStates(flow, self.rows(f"SELECT {STATE_COLUMNS} FROM file_state WHERE flow_name = ?", flow))

    def same_bytes(self, flow: str, source: SeenSource) -> str | None:
        """The path of another source of the flow that is done and has the same size and recorded digest; None for an empty one."""
        key, signature = source
        if not signature.size_bytes or signature.content_hash is None:
            return None
        query = (
            "SELECT source_key FROM file_state WHERE flow_name = ? AND success_content_hash = ? AND success_size_bytes = ?"
            " AND source_root = ? AND source_key <> ? ORDER BY last_success_at_utc LIMIT 1"
        )
        rows = self.rows(query, flow, signature.content_hash, signature.size_bytes, key.root, key.path)
        return next((restored(path) for (path,) in rows), None)

    def feeds(self, flow: str) -> dict[str, FeedCount]:
        """What the newest good batch of the flow took, by its source root as authored ("" without one); runs from the future do not count."""
        query = (
            "SELECT source_root, run_id, feed, max(finished_at_utc) FROM runs WHERE flow_name = ? AND feed IS NOT NULL"
            " AND status = 'success' AND finished_at_utc <= ? GROUP BY source_root"
        )
        feeds = {}
        for root, run_id, text, _ in self.rows(query, flow, future_utc(time.time())):
            feeds["" if root is None else restored(root)] = FeedCount(json.loads(text), run_id)
        return feeds

    def outputs(self, flow: str) -> set[str]:
        """Every file the flow's steps ever returned, as absolute paths; kept when their runs are pruned."""
        return {restored(path) for (path,) in self.rows("SELECT output_path FROM outputs WHERE flow_name = ?", flow)}

    def served_slots(self, flow: str, *, since_utc: str = "", by_schedule: bool = False) -> set[str]:
        """The schedule slots of the flow that a run has served, from `since_utc` on; `by_schedule` without those of backfills."""
        query = "SELECT slot_utc FROM schedule_slots WHERE flow_name = ? AND slot_utc >= ?"
        if by_schedule:
            query += " AND coalesce(run_id, '') NOT IN (SELECT run_id FROM runs WHERE trigger_kind = 'backfill')"
        return {slot for (slot,) in self.rows(query, flow, since_utc)}

    def slots(self, flow: str, since_utc: str) -> list[tuple[str, str]]:
        """The slots of the flow that count as served from `since_utc` on, each with the id of its run, "" for none."""
        query = "SELECT slot_utc, run_id FROM schedule_slots WHERE flow_name = ? AND slot_utc >= ? ORDER BY slot_utc"
        return [(slot, run_id) for slot, run_id in self.rows(query, flow, since_utc)]

    def serve_slot(self, flow: str, slot_utc: str, run_id: str) -> None:
        """Remember that `run_id` served the slot; the first run that did, and was not abandoned, stays its run."""
        with self.writing() as (connection, rev):
            connection.execute(
                "INSERT INTO schedule_slots (flow_name, slot_utc, run_id, rev) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (flow_name, slot_utc) DO UPDATE SET run_id = excluded.run_id, rev = excluded.rev"
                " WHERE schedule_slots.run_id IN (SELECT run_id FROM runs WHERE status = 'abandoned')",
                storable((flow, slot_utc, run_id, rev)),
            )

    def abandoned_slots(self, flow: str) -> list[tuple[str, Run]]:
        """The slots of the flow that nothing but an abandoned run has served, oldest first, each with that run."""
        columns = ", ".join(
            column if column == "NULL" else f"runs.{column}" for column in SHORT_RUN_COLUMNS.split(", ")
        )
        rows = self.rows(
            f"SELECT slot_utc, {columns} FROM schedule_slots JOIN runs USING (run_id)"
            " WHERE schedule_slots.flow_name = ? AND status = 'abandoned' ORDER BY slot_utc",
            flow,
        )
        return [(slot, run_of(tuple(row))) for slot, *row in rows]

    def switches(self) -> dict[str, Switch]:
        """The flows somebody enabled or disabled; a flow that is not here is as its author left it."""
        rows = self.rows("SELECT flow_name, enabled, decided_by, machine, at_utc, note FROM flow_switches")
        return {
            restored(flow): Switch(
                bool(enabled), restored(by or ""), restored(machine or ""), at_utc, restored(note or "")
            )
            for flow, enabled, by, machine, at_utc, note in rows
        }

    def switch(self, flow: str) -> Switch:
        """The last switch of this flow; of a flow that nobody has switched, the default: as its author left it."""
        return self.switches().get(flow, Switch())

    def set_switch(self, flow: str, switch: Switch) -> None:
        """Store that the flow is enabled or disabled, and by whom; disabled again without a note, it keeps its note."""
        switch = switch.after(self.switch(flow))
        row = (flow, int(switch.is_enabled), switch.by, switch.machine, switch.at_utc, switch.note)
        with self.writing() as (connection, rev):
            connection.execute(
                "INSERT INTO flow_switches (flow_name, enabled, decided_by, machine, at_utc, note, rev)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (flow_name) DO UPDATE SET enabled = excluded.enabled,"
                " decided_by = excluded.decided_by, machine = excluded.machine, at_utc = excluded.at_utc,"
                " note = excluded.note, rev = excluded.rev",
                storable((*row, rev)),
            )

    def setting(self, key: str) -> str | None:
        """A setting that this machine keeps beside the history; None when it was never set."""
        rows = self.rows("SELECT value FROM settings WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def set_setting(self, key: str, value: str) -> None:
        """Store a setting of this machine; it is not published."""
        with self.writing() as (connection, _):
            put_setting(connection, *storable((key, value)))

    def has_rows_of_others(self) -> bool:
        """Whether any run was taken from the shared history that this machine has not published itself."""
        text = "SELECT EXISTS (SELECT 1 FROM runs WHERE seen_token > 0 AND seen_token NOT IN (SELECT token FROM own_tokens))"
        return bool(self.rows(text)[0][0])

    def known_list(self) -> tuple[int, str, frozenset[str]]:
        """The known end of the list of generations: the highest number, its nonce, and the nonces of its repairs."""
        with self.reading() as connection:
            return known_list(connection)

    def taken_segments(self) -> frozenset[str]:
        """The names of the shared segments that were taken in, or were published from here, and are still listed."""
        return frozenset(name for (name,) in self.rows("SELECT name FROM taken_segments"))

    def recover(self, *, now_s: float | None = None, why: Cause | None = None) -> list[str]:
        """Mark runs whose process is gone as `abandoned`, with their steps and sources; returns their ids. `why`: the cause, where it
        is known.

        What journals of that process hold is recorded first. A run of a living process, this one included, is never touched.
        """
        runners = [runner for (runner,) in self.rows("SELECT runner_id FROM runners")]
        # What is gone stays gone, because no id is used twice: so this may be asked before the transaction.
        gone = [runner for runner in runners if is_runner_gone(self.runners_dir, runner)]
        if not gone:
            return []
        from data_engine.ledger.maintenance import recover_runner, remove_runner

        at_s = time.time() if now_s is None else now_s
        abandoned: list[str] = []
        with self.writing() as (connection, rev):
            for runner in gone:
                abandoned += recover_runner(connection, self.runners_dir, runner, why, now_s=at_s, rev=rev)
        for runner in gone:
            remove_runner(self.runners_dir, runner)
        return abandoned

    def reset_flow(self, flow: str) -> int:
        """Forget the flow's runs and sources, so that every source is due again; how many runs went.

        Raises:
            LedgerError: a run of it is running.
        """
        return self._reset(flow, [flow])

    def reset_all(self, named: Iterable[str] = ()) -> int:
        """Forget every flow's runs and sources; how many runs went. Switches, slots, outputs and settings stay.

        Flows `named` are reset also where nothing is known of them here: they may have a history that others published.

        Raises:
            LedgerError: a run is running.
        """
        return self._reset(None, named)

    def _reset(self, flow: str | None, named: Iterable[str]) -> int:
        from data_engine.ledger.maintenance import reset

        self.flush()
        with self.writing() as (connection, rev):
            return reset(
                connection,
                storable(flow),
                named=[storable(name) for name in named],
                runners_dir=self.runners_dir,
                now_s=time.time(),
                rev=rev,
            )

    def _write(self, batch: list[Event]) -> None:
        try:
            self._write_rows(batch)
        except UnicodeEncodeError:
            self._write_rows([storable(event) for event in batch])

    def _write_rows(self, batch: list[Event]) -> None:
        from data_engine.ledger.writer import write_events

        with self._use() as connection:
            has_starts = any(type(event) is RunStarted for event in batch)
            with transaction(connection) as rev:
                if has_starts and not self._is_runner_stored:
                    self._enter_runner(connection)
                write_events(connection, batch, runner_id=self._runner_id, rev=rev)
            self._is_runner_stored = self._is_runner_stored or has_starts

    def _enter_runner(self, connection: sqlite3.Connection) -> None:
        """Store, in a transaction of the caller's, that this process records runs; its lock says for how long."""
        if self._runner is None:
            self._become_runner()
        connection.execute(
            "INSERT INTO runners (runner_id, pid, create_time, started_at_utc) VALUES (?, ?, ?, ?)",
            (self._runner_id, self._pid, self._created_s, utc_text(time.time())),
        )

    def _become_runner(self) -> None:
        import psutil

        runner_id = f"{self._pid}-{os.urandom(8).hex()}"
        runner = RunnerLock(self.runners_dir, runner_id)
        runner.try_acquire()
        self._created_s = psutil.Process().create_time()
        self._runner, self._runner_id = runner, runner_id

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with InterruptsHeld(), self._connection_lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise as_ledger_error(error, self.path) from error

    def _require_usable(self) -> None:
        if self._pid != os.getpid():
            raise LedgerError(
                "the run history was opened by the process this one was forked from",
                where=str(self.path),
                fix="open it here: Ledger.open(path)",
            )
        if self._is_closed:
            raise LedgerError("the run history is closed", where=str(self.path), fix="open it again")


def _root_of(source: str, key: str) -> str | None:
    """The folder of a source that is a file at `key` inside it; None of any other."""
    depth = len(PurePath(key).parts)
    path = PurePath(source)
    return str(path.parents[depth - 1]) if key and len(path.parts) > depth else None
