"""History ends with its retention; a reset forgets runs and sources, and nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from data_engine.errors import LedgerError
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.wall_clock import Believed, prune
from data_engine.model import Switch, utc_text
from tests.ledger.events import end, finish, line, seen, start

DAY_S = 86_400.0


def at(days: float) -> Believed:
    """A time that is believed, so many days after the epoch."""
    return Believed(days * DAY_S, days * DAY_S)


def record_run(ledger: Ledger, run_id: str, at_s: float, flow: str = "claims") -> None:
    """One whole run that began and ended at `at_s`."""
    ledger.record(start(run_id, flow=flow, at=at_s))
    ledger.record(end(run_id, at=at_s, outputs=(f"/out/{run_id}",)))
    ledger.record(line(run_id, at=at_s, flow=flow))
    ledger.record(finish(run_id, at=at_s, seen=(seen(f"{run_id}.csv"),)))


def test_runs_older_than_the_retention_go_with_steps_and_logs(ledger: Ledger) -> None:
    """Both sides of the bound; sources, outputs and slots stay."""
    record_run(ledger, "old", 10 * DAY_S - 1)
    record_run(ledger, "new", 10 * DAY_S + 1)
    ledger.serve_slot("claims", "1970-01-02T00:00:00+00:00", "old")
    gone = prune(ledger, retention_days=30, at=at(40))

    assert gone == 1
    assert [run.run_id for run in ledger.runs()] == ["new"]
    assert (ledger.steps("old"), ledger.log("old")) == ([], [])
    assert (len(ledger.steps("new")), len(ledger.log("new"))) == (1, 1)
    assert {key.path for key in ledger.source_states("claims")} == {"old.csv", "new.csv"}
    assert ledger.outputs("claims") == {"/out/old", "/out/new"}
    assert len(ledger.served_slots("claims")) == 1


def test_a_run_that_ended_lately_or_not_at_all_stays(ledger: Ledger) -> None:
    """Its age counts from its end, and its log stays whole."""
    ledger.record(start("long", at=0.0))
    ledger.record(line("long", "early", at=0.0))
    ledger.record(finish("long", at=39 * DAY_S))
    ledger.record(start("open", at=0.0))

    assert prune(ledger, retention_days=30, at=at(40)) == 0
    assert len(ledger.runs()) == 2
    assert [entry.message for entry in ledger.log("long")] == ["early"]


def test_log_lines_of_no_run_go_too(ledger: Ledger) -> None:
    """Those of nobody, and those that came after their run was removed."""
    for run_id in ("", "gone"):
        ledger.record(line(run_id, "old", at=0.0))
        ledger.record(line(run_id, "new", at=39 * DAY_S))
    ledger.flush()
    prune(ledger, retention_days=30, at=at(40))

    assert ledger.rows("SELECT run_id, message FROM logs ORDER BY id") == [(None, "new"), ("gone", "new")]


def test_many_runs_go_in_one_statement(ledger: Ledger) -> None:
    """More than SQLite allows variables in a statement."""
    with ledger.writing() as (connection, rev):
        connection.execute(
            "INSERT INTO runs (run_id, flow_name, group_name, status, started_at_utc, finished_at_utc, rev)"
            " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)"
            " SELECT 'r' || i, 'claims', 'G', 'success', '1970', '1970', ? FROM n",
            (rev,),
        )

    assert prune(ledger, retention_days=1, at=at(40)) == 40_000


def test_reset_of_a_flow_makes_its_sources_unknown(ledger: Ledger) -> None:
    """Runs, steps, logs and file state go; outputs, slots, switches and other flows stay; a tombstone is left.

    A schedule owes nothing for the time before: that moment counts as a slot that was served.
    """
    record_run(ledger, "r1", 1.0)
    record_run(ledger, "r2", 2.0, flow="audit")
    ledger.serve_slot("claims", "1970-01-02T00:00:00+00:00", "r1")
    ledger.set_switch("claims", Switch(False))
    before = utc_text(time.time())
    gone = ledger.reset_flow("claims")

    assert gone == 1
    assert ([run.run_id for run in ledger.runs()], ledger.steps("r1"), ledger.log("r1")) == (["r2"], [], [])
    assert (ledger.source_states("claims"), len(ledger.source_states("audit"))) == ({}, 1)
    assert (len(ledger.steps("r2")), len(ledger.log("r2"))) == (1, 1)
    assert ledger.outputs("claims") == {"/out/r1"}
    assert (min(ledger.served_slots("claims")), ledger.switches()) == (
        "1970-01-02T00:00:00+00:00",
        {"claims": Switch(False)},
    )
    assert len([slot for slot in ledger.served_slots("claims") if slot >= before]) == 1
    assert ledger.served_slots("audit") == set()
    assert ledger.rows("SELECT flow_name FROM tombstones") == [("claims",)]
    assert ledger.reset_flow("unknown") == 0
    assert ledger.rows("SELECT flow_name FROM tombstones") == [("claims",), ("unknown",)]


def test_reset_of_everything(ledger: Ledger) -> None:
    """Every flow's history; what was recorded but not yet written goes with it."""
    record_run(ledger, "r1", 1.0)
    record_run(ledger, "r2", 2.0, flow="audit")
    ledger.record(line("r1", "late"))

    assert ledger.reset_all() == 2
    assert (ledger.runs(), ledger.source_states("audit"), ledger.log("r1")) == ([], {}, [])
    assert ledger.rows("SELECT flow_name FROM tombstones ORDER BY 1") == [("audit",), ("claims",)]


def test_a_flow_that_runs_is_not_reset(ledger: Ledger, path: Path) -> None:
    """Whoever runs it; other flows can be reset; nothing is lost by the refusal."""
    record_run(ledger, "r1", 1.0)
    record_run(ledger, "r2", 1.0, flow="audit")
    with Ledger.open(path) as other:
        other.record(start("r3", at=5.0))
        for reset in (lambda: ledger.reset_flow("claims"), ledger.reset_all):
            with pytest.raises(LedgerError, match='"claims" is running'):
                reset()
        assert ledger.reset_flow("audit") == 1
        assert [run.run_id for run in ledger.runs()] == ["r3", "r1"]

    assert ledger.reset_flow("claims") == 2


def test_pruning_a_ledger_while_another_process_has_it_open_is_seen_there(ledger: Ledger, path: Path) -> None:
    """No cache in between."""
    record_run(ledger, "r1", 0.0)
    with Ledger.open(path) as other:
        prune(other, retention_days=1, at=at(40))

    assert ledger.runs() == []


def test_slots_that_no_believed_time_comes_near_go(ledger: Ledger) -> None:
    """A wrong clock served them; they would count as served when their day comes. Both sides of the bound."""
    kept, gone = utc_text(42 * DAY_S), utc_text(42 * DAY_S + 1)
    for slot in (kept, gone):
        ledger.serve_slot("claims", slot, "r1")
    prune(ledger, retention_days=1, at=Believed(30 * DAY_S, 40 * DAY_S))

    assert ledger.served_slots("claims") == {kept}
