"""How many rows are rejected now, as the history says it: of each source what its newest good run has put apart."""

from __future__ import annotations

from data_engine.ledger.freshness import newest_checked, rejected_by_source
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.wall_clock import Believed, prune
from data_engine.model import Run, RunSpent, utc_text
from tests.ledger.events import finish, seen, start

DAY_S = 86_400.0


def run(
    ledger: Ledger, run_id: str, source: str | None, rejected: int | None, at: float, status: str = "success"
) -> None:
    """A whole run of `claims` for one source, or for all."""
    ledger.record(start(run_id, at=at, sees=() if source is None else (seen(source),)))
    ledger.record(finish(run_id, status, at=at + 1, spent=RunSpent(rejected=rejected)))


def test_of_each_source_the_newest_good_run_counts(ledger: Ledger) -> None:
    """A run that fails changes nothing; a flow without checks has none."""
    run(ledger, "r1", "a.csv", 3, 10)
    run(ledger, "r2", "b.csv", 2, 20)
    run(ledger, "r3", "a.csv", 1, 30)
    run(ledger, "r4", "a.csv", None, 40, "failed")
    assert rejected_by_source(ledger, {}) == {("claims", "a.csv"): 1, ("claims", "b.csv"): 2}

    run(ledger, "r5", "a.csv", 0, 50)
    run(ledger, "r6", "b.csv", 0, 60)
    assert rejected_by_source(ledger, {}) == {}


def test_a_flow_that_gets_a_source_replaces_what_it_rejected_without_one(ledger: Ledger) -> None:
    """Both are its rows for all."""
    run(ledger, "r1", None, 3, 10)
    run(ledger, "r2", "", 1, 20)

    assert rejected_by_source(ledger, {}) == {("claims", ""): 1}
    assert {key: one.run_id for key, one in newest(ledger, at=0).items()} == {"": "r2"}


def test_a_flow_that_was_renamed_has_the_rows_of_its_name_of_before(ledger: Ledger) -> None:
    """Of each source as the newest run under any of the names says."""
    run(ledger, "r1", "a.csv", 3, 10)
    run(ledger, "r2", "b.csv", 2, 20)
    ledger.record(
        start("r3", flow="parts", at=30, sees=(seen("a.csv"),)), finish("r3", at=31, spent=RunSpent(rejected=1))
    )

    assert rejected_by_source(ledger, {"claims": "parts"}) == {("parts", "a.csv"): 1, ("parts", "b.csv"): 2}


def test_what_rejects_rows_since_then_is_found_and_what_is_asked_for(ledger: Ledger) -> None:
    """With the run that says so."""
    for number, (source, rejected) in enumerate([("a.csv", 1), ("b.csv", 0), ("c.csv", 2), ("d.csv", 0)]):
        run(ledger, f"r{number}", source, rejected, 100.0 * number)

    assert {key: one.rejected for key, one in newest(ledger, "b.csv", at=150).items()} == {"c.csv": 2, "b.csv": 0}


def newest(ledger: Ledger, *sources: str, at: float) -> dict[str, Run]:
    return newest_checked(ledger, "claims", rejecting_since=utc_text(at), sources=sources)


def test_a_run_whose_rows_are_rejected_still_outlives_its_retention(ledger: Ledger) -> None:
    """So that they are counted as long as they lie there."""
    run(ledger, "r1", "a.csv", 3, 0)
    run(ledger, "r2", "a.csv", 2, DAY_S)
    run(ledger, "r3", "b.csv", 0, DAY_S)

    assert prune(ledger, retention_days=30, at=Believed(40 * DAY_S, 40 * DAY_S)) == 2
    assert rejected_by_source(ledger, {}) == {("claims", "a.csv"): 2}
