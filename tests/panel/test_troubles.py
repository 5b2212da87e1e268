"""Of what people in JupyterLab are notified, as one pure function of the status and what the history says beyond it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_engine.cause import Cause
from data_engine.errors import cell_place
from data_engine.ledger import troubles as kept
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.troubles import TroubleKey, TroubleRecord
from data_engine.model import Run, RunTrigger
from data_engine.reasons.kinds import HeldSlot, Late, Overlong
from data_engine.status.record import FlowStatus, WorkspaceStatus
from data_engine.status.troubles import Failure, History, Known, has_recovered, troubles_of

ME = "ann@ann-pc"
AT, BEFORE = "2026-01-05T06:30:00+00:00", "2026-01-05T05:30:00+00:00"


def cause(step: str = "Clean", detail: str = "KeyError: 'amount'", cell: int = 4) -> Cause:
    return Cause("code_raised", {"step": step, "detail": detail, "places": [cell_place("claims.ipynb", cell, 3)]})


def run(status: str = "failed", kind: str = "slot", by: str = ME, **changes: Any) -> Run:
    given = {"why": cause() if status == "failed" else None, "trigger": RunTrigger(kind), "by": by}
    return Run(
        **{
            "run_id": "r1",
            "flow": "claims",
            "group": "Claims",
            "source": None,
            "status": status,
            "started_at_utc": AT,
            **given,
            **changes,
        }
    )


def flow(last: Run | None = None, **changes: Any) -> FlowStatus:
    return FlowStatus(**{"name": "claims", "mode": "schedule", "state_kind": "scheduled", "last_run": last, **changes})


def known(*told: TroubleRecord, **failures: Failure) -> Known:
    return Known(ME, failures, {"claims": told} if told else {})


def texts(one: FlowStatus, of: Known | None = None) -> list[str]:
    return [line.text for line in troubles_of(one, of or known())]


def test_a_failure_leads_to_its_cell() -> None:
    """With the words that a message has."""
    (line,) = troubles_of(flow(run()), known())

    assert (line.kind, line.text) == ("failed", "claims failed in Clean: KeyError: 'amount'")
    assert line.cells == (cell_place("claims.ipynb", 4, 3),)


def test_a_failure_names_its_file_and_leads_to_the_notebook_as_it_is_called_now() -> None:
    """Also when it ran under the name that the flow had before."""
    one = flow(run(source="/in/may.csv"), name="claims_2013", mode="poll", held=1)
    (line,) = troubles_of(one, known())

    assert line.text == "claims_2013 failed with may.csv in Clean: KeyError: 'amount'"
    assert line.cells == (cell_place("claims_2013.ipynb", 4, 3),)


def test_the_same_trouble_has_the_same_id() -> None:
    """Another step, another error or another cell is another one; another run or line is not."""
    one, *others = (
        troubles_of(flow(run(why=why)), known())[0].id
        for why in (cause(), cause("Read"), cause(detail="ValueError: x"), cause(cell=5))
    )
    again = troubles_of(flow(run(finished_at_utc=AT, error="more text")), known())[0].id
    held = troubles_of(flow(run(), mode="poll", held=3), known())[0].id
    another_value = troubles_of(flow(run(why=cause(detail="KeyError: 'total'"))), known())[0].id

    assert one == again == held == another_value
    assert len({one, *others}) == 4


@pytest.mark.parametrize(
    ("kind", "by", "is_told"),
    [
        ("hand", ME, False),
        ("backfill", ME, False),
        ("hand", "ben@ben-pc", True),
        ("hand", "ann@ben-pc", True),
        ("slot", ME, True),
        ("file", ME, True),
        ("retry", ME, True),
    ],
)
def test_what_this_person_began_here_is_shown_where_they_did(kind: str, by: str, *, is_told: bool) -> None:
    """What the schedule, a file or a colleague on another workstation began is told; in no case is anything over."""
    one = flow(run(kind=kind, by=by))

    assert (bool(texts(one)), has_recovered(one, known())) == (is_told, False)


@pytest.mark.parametrize(
    ("status", "changes", "is_told", "is_over"),
    [
        ("success", {}, False, True),
        ("started", {}, False, False),
        ("stopped", {}, False, False),
        ("killed", {"why": Cause("kill_requested")}, False, False),
        ("killed", {"why": Cause("time_limit", {"limit_s": 9.0})}, True, False),
        ("abandoned", {}, False, False),
    ],
)
def test_a_trouble_is_over_only_when_a_run_went_well(
    status: str, changes: dict[str, Any], *, is_told: bool, is_over: bool
) -> None:
    """A run under way or one that a person ended says nothing yet."""
    one = flow(run(status, **changes))

    assert (bool(texts(one)), has_recovered(one, known())) == (is_told, is_over)


def test_a_poll_flow_that_goes_on_is_in_trouble_while_it_holds_files() -> None:
    """Its last run went well, with another file."""
    one = flow(run("success"), mode="poll", held=3)

    assert texts(one, known(claims=Failure(run()))) == ["claims failed in Clean: KeyError: 'amount'"]
    assert not has_recovered(one, known())
    assert texts(replace(one, held=0), known(claims=Failure(run()))) == []
    assert has_recovered(replace(one, held=0), known())


def test_a_failure_is_over_when_its_file_is_gone(tmp_path: Path) -> None:
    """Not while the file is there, as its flow has not been looked at again then; nor when its whole folder is away."""
    there, gone, away = (str(tmp_path / name) for name in ("a.csv", "b.csv", "away/c.csv"))
    (tmp_path / "a.csv").touch()
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        history = History(ledger, ME)
        found = []
        for source in (there, gone, away):
            one = flow(replace(run(), source=source), mode="poll")
            of = history.of(WorkspaceStatus("ws", "/ws", flows=(one,)))
            found.append((texts(one, of), has_recovered(one, of)))
        held = flow(replace(run(), source=gone), mode="poll", held=1)
        of = history.of(WorkspaceStatus("ws", "/ws", flows=(held,)))

    assert found == [([], False), ([], True), ([], False)]
    assert (len(texts(held, of)), has_recovered(held, of)) == (1, False)


def test_a_flow_that_is_not_read_yet_says_nothing() -> None:
    """Neither that it is in trouble, nor that it is well."""
    one = flow(run(), state_kind="being_read")

    assert (texts(one), has_recovered(one, known())) == ([], False)


def test_late_overlong_and_held_slots_are_told() -> None:
    """In the words of the status."""
    late, overlong = Late(AT, "UTC", "the engine is off"), Overlong(AT, 60.0, tz="UTC")
    held = HeldSlot(AT, AT, "its process died")

    assert texts(flow(expected=late)) == [f"claims has been {late.text}"]
    assert texts(flow(expected=overlong)) == [f"claims: {overlong.text}"]
    assert texts(flow(run("abandoned"), why=held)) == [f"claims: {held.text}"]


def test_a_slot_that_alerts_found_missing_is_told_until_a_run_goes_well() -> None:
    """Other troubles of alerts are known of the status."""
    missed = TroubleRecord(TroubleKey("claims", "missed"), AT, {"reason": "the engine is off"})
    of = known(missed, TroubleRecord(TroubleKey("claims", "failed", "Clean", "KeyError"), AT))

    (text,) = texts(flow(), of)
    assert text.startswith('"claims" did not start at ')
    assert text.endswith(" the engine is off")
    assert texts(flow(replace(run("success"), started_at_utc=BEFORE)), of) == [text]
    assert texts(flow(run("success")), of) == []


def test_the_history_is_asked_only_for_what_is_new(tmp_path: Path) -> None:
    """A failure is kept while files are held; what alerts have told is read while it is open."""
    missed = TroubleRecord(TroubleKey("claims", "missed"), AT)
    over = TroubleRecord(TroubleKey("other", "missed"), AT, recovered_at_utc=AT)
    bad, good = flow(run(), mode="poll", held=1), flow(run("success"), mode="poll", held=1)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        with ledger.writing() as (connection, rev):
            kept.put(connection, rev, [missed, over])
        history = History(ledger, ME)

        found = [
            history.of(WorkspaceStatus("ws", "/ws", flows=(one,))) for one in (bad, good, replace(good, held=0), good)
        ]

    assert [bool(one.failures) for one in found] == [True, True, False, False]
    assert [[one.key.kind for one in found[0].troubles.get(name, ())] for name in ("claims", "other")] == [
        ["missed"],
        [],
    ]
