"""Recover what a dead process left, and reset flows; each inside a transaction of the caller."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from data_engine.cause import Cause
from data_engine.errors import LedgerError
from data_engine.ledger.journal import journals_of, last_lines_path, read_last_lines, recorded_later, replay
from data_engine.ledger.writer import abandon_runs
from data_engine.locks import RunnerLock, is_runner_gone
from data_engine.model import RunFinished, utc_text
from data_engine.nofollow import remove_tree


def recover_runner(
    connection: sqlite3.Connection, runners_dir: Path, runner_id: str, why: Cause | None, *, now_s: float, rev: int
) -> list[str]:
    """Record the journals of a runner that is gone, abandon its open runs, and forget it; returns their ids, oldest first.

    Only this machine's runners are known here, so a run published by another machine is never touched.
    """
    pid = connection.execute("SELECT pid FROM runners WHERE runner_id = ?", (runner_id,)).fetchone()
    if pid is None:
        return []  # another process was quicker
    for journal in journals_of(runners_dir, runner_id):
        events = recorded_later(journal)
        ended = {event.run_id for event in events if isinstance(event, RunFinished)}
        for run_id in {event.run_id for event in events} - ended:
            events += read_last_lines(last_lines_path(journal), run_id)
        replay(connection, events, runner_id=runner_id, rev=rev)
    lost = connection.execute(
        "SELECT run_id, started_seen FROM runs WHERE runner_id = ? AND status = 'started'"
        " ORDER BY started_at_utc, rowid",
        (runner_id,),
    ).fetchall()
    gone = why or Cause("process_gone", {"pid": pid[0]})
    abandoned = abandon_runs(connection, lost, why=gone, at_s=now_s, rev=rev)
    connection.execute("DELETE FROM runners WHERE runner_id = ?", (runner_id,))
    return abandoned


def remove_runner(runners_dir: Path, runner_id: str) -> None:
    """Remove the journals and the lock of a runner that was recovered."""
    for journal in journals_of(runners_dir, runner_id):
        remove_tree(runners_dir.parent, journal)
        remove_tree(runners_dir.parent, last_lines_path(journal))
    RunnerLock(runners_dir, runner_id).remove()


def reset(
    connection: sqlite3.Connection,
    flow: str | None,
    *,
    named: Iterable[str],
    runners_dir: Path,
    now_s: float,
    rev: int,
) -> int:
    """Remove the runs, steps, logs and file state of `flow` (None: of every flow); how many runs went.

    What the author chose or the schedule has done stays: switches, slots served, and which files are outputs. A schedule
    owes nothing for the time before. A tombstone per flow tells the publisher; each flow of `named` gets one also where
    nothing is known of it, for it may have a shared history that was not taken in yet.

    Raises:
        LedgerError: a run of it is running.
    """
    which = {"flow": flow, "named": json.dumps(list(named))}
    mine = "(:flow IS NULL OR flow_name = :flow)"
    started = f"SELECT run_id, flow_name, runner_id FROM runs WHERE status = 'started' AND {mine}"
    for run_id, name, runner_id in connection.execute(started, which).fetchall():
        if runner_id is not None and not is_runner_gone(runners_dir, runner_id):
            raise LedgerError(
                f'flow "{name}" is running (run {run_id}) and cannot be reset',
                where=f'flow "{name}"',
                fix="wait for the run to end, or stop it",
            )
    # It counts for all that this ledger has seen of the shared history, and for all it has published itself.
    version = max(
        connection.execute(
            "SELECT (SELECT value FROM meta WHERE key = 'seen_token'), (SELECT value FROM meta WHERE key = 'seen_rev')"
        ).fetchone(),
        (connection.execute("SELECT max(token) FROM own_tokens").fetchone()[0] or 0, rev),
    )
    connection.execute(
        "INSERT INTO tombstones (flow_name, reset_at_utc, seen_token, seen_rev, rev) SELECT flow_name, :at, :token,"
        f" :seen_rev, :rev FROM (SELECT flow_name FROM runs WHERE {mine} UNION SELECT flow_name FROM file_state WHERE {mine}"
        " UNION SELECT value FROM json_each(:named)) WHERE true"
        " ON CONFLICT (flow_name) DO UPDATE SET reset_at_utc = excluded.reset_at_utc, rev = excluded.rev,"
        " seen_token = excluded.seen_token, seen_rev = excluded.seen_rev",
        which | {"at": utc_text(now_s), "rev": rev, "token": version[0], "seen_rev": version[1]},
    )
    connection.execute(
        "INSERT INTO schedule_slots (flow_name, slot_utc, run_id, rev)"
        f" SELECT DISTINCT flow_name, :at, '', :rev FROM schedule_slots WHERE {mine} ON CONFLICT DO NOTHING",
        which | {"at": utc_text(now_s), "rev": rev},
    )
    connection.execute(f"DELETE FROM logs WHERE {mine} OR run_id IN (SELECT run_id FROM runs WHERE {mine})", which)
    connection.execute(f"DELETE FROM step_runs WHERE {mine}", which)
    connection.execute(f"DELETE FROM file_state WHERE {mine}", which)
    return connection.execute(f"DELETE FROM runs WHERE {mine}", which).rowcount
