"""Every question gets the rows it means."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from data_engine.errors import LedgerError
from data_engine.ledger.ledger import Ledger, RunsWanted
from data_engine.model import SeenSource, Signature, SourceKey, Switch, utc_text
from tests.ledger.events import finish, start


def ids(runs: object) -> list[str]:
    assert isinstance(runs, list)
    return [run.run_id for run in runs]


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """Four ended runs and one open one, of two flows."""
    ledger.record(start("aa1", flow="claims", source="/in/a", at=1.0))
    ledger.record(finish("aa1"))
    ledger.record(start("aa2", flow="claims", source="/in/b", at=2.0))
    ledger.record(finish("aa2", "failed"))
    ledger.record(start("bb1", flow="audit", group="H", at=3.0))
    ledger.record(finish("bb1"))
    ledger.record(start("cc1", flow="claims", source="/in/a", at=4.0))
    ledger.record(start("cc2", flow="audit", group="H", at=4.0))
    ledger.record(finish("cc2"))
    return ledger


def test_runs_come_newest_first_and_narrowed(filled: Ledger) -> None:
    """By flow, status, source and number; of two with one start time the later recorded is newer."""
    assert ids(filled.runs()) == ["cc2", "cc1", "bb1", "aa2", "aa1"]
    assert ids(filled.runs("claims")) == ["cc1", "aa2", "aa1"]
    assert ids(filled.runs("claims", 1)) == ["cc1"]
    assert ids(filled.runs(status="success")) == ["cc2", "bb1", "aa1"]
    assert ids(filled.runs("claims", status="failed")) == ["aa2"]
    assert ids(filled.runs(source="/in/a")) == ["cc1", "aa1"]
    assert filled.runs("none") == filled.runs(limit=0) == []


def test_runs_of_a_range_are_found_and_counted_by_an_index(filled: Ledger) -> None:
    """Both ends are in it; of a flow by the index of flows."""
    wanted = RunsWanted(since_utc=utc_text(2.0), until_utc=utc_text(3.0))
    assert ids(filled.runs_wanted(wanted, 10)) == ["bb1", "aa2"]
    assert ids(filled.runs_wanted(wanted, 1)) == ["bb1"]
    assert (filled.count_wanted(wanted), filled.count_wanted(replace(wanted, flow="claims"))) == (2, 1)

    for asked, index in ((wanted, "runs_by_start"), (replace(wanted, flow="claims"), "runs_by_flow")):
        where, given = asked.where()
        with filled.reading() as connection:
            plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM runs WHERE {where}", given).fetchall()
        assert f"USING INDEX {index}" in plan[0][3]


def test_a_wrong_narrowing_is_an_error_with_a_fix(filled: Ledger) -> None:
    """A status that no run can have, a negative limit."""
    with pytest.raises(LedgerError, match="'done'") as caught:
        filled.runs(status="done")
    assert "success" in (caught.value.fix or "")
    with pytest.raises(LedgerError, match="negative"):
        filled.runs(limit=-1)


def test_a_run_is_found_by_a_prefix_that_only_it_has(filled: Ledger) -> None:
    """The whole id wins; a prefix of several is an error that names them."""
    filled.record(start("aa"))

    assert ids([filled.run("bb"), filled.run("cc1"), filled.run("aa")]) == ["bb1", "cc1", "aa"]
    assert filled.run("zz") is filled.run("") is None
    with pytest.raises(LedgerError, match="cc1, cc2"):
        filled.run("c")


def test_the_newest_run_of_each_flow(filled: Ledger) -> None:
    """One per flow, open or ended; empty for an empty ledger."""
    assert {flow: run.run_id for flow, run in filled.last_runs().items()} == {"claims": "cc1", "audit": "cc2"}
    filled.record(finish("cc1"))
    filled.reset_all()
    assert filled.last_runs() == {}


def test_running_names_open_runs_and_their_process(filled: Ledger) -> None:
    """Of one group or of all."""
    filled.record(start("dd1", flow="audit", group="H", at=5.0))

    assert ids(filled.running()) == ["cc1", "dd1"]
    assert ids(filled.running("H")) == ["dd1"]
    assert filled.running("None") == []
    assert [(run.run_id, pid) for run, pid in filled.running_with_pids("H")] == [("dd1", os.getpid())]


def test_slots_switches_and_settings_last(path: Path) -> None:
    """They are there when the ledger is opened again; the first run of a slot stays its run."""
    with Ledger.open(path) as ledger:
        ledger.serve_slot("claims", "2026-01-01T08:00:00+00:00", "r1")
        ledger.serve_slot("claims", "2026-01-02T08:00:00+00:00", "r2")
        ledger.serve_slot("claims", "2026-01-02T08:00:00+00:00", "r3")
        ledger.serve_slot("audit", "2026-01-03T08:00:00+00:00", "r4")
        ledger.set_switch("claims", Switch(True))
        ledger.set_switch("claims", Switch(False))
        ledger.set_switch("audit", Switch(True))
        ledger.set_setting("pruned_at_s", "1")
        ledger.set_setting("pruned_at_s", "2")

    with Ledger.open(path) as ledger:
        assert ledger.served_slots("claims") == {"2026-01-01T08:00:00+00:00", "2026-01-02T08:00:00+00:00"}
        assert ledger.served_slots("claims", since_utc="2026-01-02") == {"2026-01-02T08:00:00+00:00"}
        assert ledger.rows("SELECT run_id FROM schedule_slots WHERE slot_utc LIKE '2026-01-02%'") == [("r2",)]
        assert ledger.switches() == {"claims": Switch(False), "audit": Switch(True)}
        assert (ledger.setting("pruned_at_s"), ledger.setting("other")) == ("2", None)


def test_a_run_from_the_future_is_marked_where_it_sorts_and_is_never_the_newest(ledger: Ledger) -> None:
    """What begins within five minutes is a machine whose clock is a little ahead."""
    now_s = time.time()
    for run_id, flow, ahead_s in (
        ("now", "claims", 0),
        ("soon", "claims", 240),
        ("ahead", "claims", 400 * 86_400),
        ("alone", "audit", 360),
    ):
        ledger.record(start(run_id, flow=flow, at=now_s + ahead_s))

    marked = {run.run_id: run.from_the_future for run in ledger.runs()}
    assert marked == {"ahead": True, "alone": True, "soon": False, "now": False}
    assert ids(ledger.runs("claims")) == ["ahead", "soon", "now"]
    assert {flow: run.run_id for flow, run in ledger.last_runs().items()} == {"claims": "soon"}
    assert ids([ledger.last_run("claims")]) == ["soon"]
    assert ledger.last_run("audit") is None
    run = ledger.run("ahead")
    assert run is not None
    assert run.as_dict()["from_the_future"] is True


def test_sources_that_failed_last_are_known(ledger: Ledger) -> None:
    """Until a run of theirs ends well."""
    seen = SeenSource(SourceKey("../in", "a.csv"), Signature(1, 1))
    ledger.record(start("r1", flow="claims", source="/in/a.csv"))
    ledger.record(finish("r1", "failed", seen=(seen,)))
    bad = ledger.not_good()
    ledger.record(start("r2", flow="claims", source="/in/a.csv"))
    ledger.record(finish("r2", seen=(seen,)))

    assert [(state.flow, state.key, state.status) for state in bad] == [("claims", seen.key, "failed")]
    assert ledger.not_good() == []


def test_data_version_moves_with_the_writes_of_others_only(ledger: Ledger, path: Path) -> None:
    """A reader asks this one number to learn whether to ask the rest."""
    before = ledger.data_version()
    ledger.record(start("r1"))
    own = ledger.data_version()
    with Ledger.open(path) as other:
        other.set_switch("claims", Switch(True))
    after = ledger.data_version()

    assert (own == before, after == before) == (True, False)


def test_the_frequent_questions_use_an_index(filled: Ledger) -> None:
    """No full scan and no sorting, so a long history costs nothing."""
    for statement in (
        "SELECT * FROM runs ORDER BY started_at_utc DESC, rowid DESC LIMIT 5",
        "SELECT * FROM runs WHERE flow_name = 'a' ORDER BY started_at_utc DESC, rowid DESC LIMIT 5",
        "SELECT * FROM runs WHERE source_path = 'a' ORDER BY started_at_utc DESC, rowid DESC LIMIT 5",
        "SELECT * FROM runs WHERE run_id > 'a' AND run_id < 'b'",
        "SELECT * FROM logs WHERE run_id = 'a' ORDER BY line_no",
        "SELECT * FROM file_state WHERE flow_name = 'a'",
        "SELECT * FROM runs WHERE rev > 5 AND rev > 0",
    ):
        plan = " ".join(row[-1] for row in filled.rows(f"EXPLAIN QUERY PLAN {statement}"))
        assert "USING" in plan, statement
        assert "TEMP B-TREE" not in plan, statement
