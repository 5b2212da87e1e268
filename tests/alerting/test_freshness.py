"""Which runs count for what is expected, whether a slot began in time, and what people were told: from a real history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from data_engine import Flow
from data_engine.alerting.expectations import freshness, late_slot, look
from data_engine.ledger import troubles
from data_engine.ledger.freshness import failures_between, is_good_since
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.troubles import TroubleKey, TroubleRecord
from data_engine.model import RunAbout, RunFinished, RunStarted, SourceKey, utc_text
from tests.ledger.sharing import Folder, Machine

SIX_S = datetime.fromisoformat("2026-01-05T06:00:00+00:00").timestamp()
DAY_S = 86_400.0
NIGHTLY = Flow("G", "claims").watch(mode="schedule", time="06:00", tz="UTC").expect(by="07:00", tz="UTC")
FOLDER = Flow("G", "claims").watch(mode="poll", source="/in", interval="5s").expect(every="1h")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        yield opened


def ran(
    ledger: Ledger,
    begun_s: float,
    status: str = "success",
    *,
    slot_s: float | None = None,
    kind: str = "file",
    params: str | None = None,
    source: str | None = None,
    took_s: float = 60.0,
) -> None:
    """A run of claims, as the daemon records it."""
    run_id = f"r{begun_s:.0f}{source or ''}{kind}"
    slot = None if slot_s is None else utc_text(slot_s)
    about = RunAbout(kind, slot, "anna@PC", params, scheduled_for=slot)
    key = None if source is None else SourceKey("../in", source)
    ledger.record(RunStarted(run_id, "claims", "G", source, begun_s, key, (), about))
    ledger.record(RunFinished(run_id, status, begun_s + took_s, took_s, None if status == "success" else "no"))


def test_a_run_counts_for_its_slot(ledger: Ledger) -> None:
    """A slot of three days ago that is run again this morning is three days old."""
    ran(ledger, SIX_S + 60, slot_s=SIX_S - 3 * DAY_S, kind="backfill")
    assert freshness(ledger, NIGHTLY).for_s == SIX_S - 3 * DAY_S

    ran(ledger, SIX_S + 120, slot_s=SIX_S, kind="slot")
    assert freshness(ledger, NIGHTLY).for_s == SIX_S


def test_an_experiment_does_not_count(ledger: Ledger) -> None:
    """Nor do files that were backfilled, or a run that failed."""
    ran(ledger, SIX_S, params='{"month": "2013-01"}', kind="hand")
    ran(ledger, SIX_S + 100, kind="backfill")
    ran(ledger, SIX_S + 200, "failed")
    assert freshness(ledger, FOLDER) == (None, None)

    ran(ledger, SIX_S + 300)
    assert freshness(ledger, FOLDER) == (SIX_S + 360, SIX_S + 360)


def test_within_an_interval_an_old_slot_is_not_fresh(ledger: Ledger) -> None:
    hourly = Flow("G", "claims").watch(mode="schedule", cron="0 * * * *", tz="UTC").expect(every="1h")
    ran(ledger, SIX_S + 1_800, slot_s=SIX_S - DAY_S, kind="slot")
    assert freshness(ledger, hourly).ended_s is None

    ran(ledger, SIX_S + 2_000, slot_s=SIX_S, kind="slot")
    assert freshness(ledger, hourly).ended_s == SIX_S + 2_060


def test_what_is_not_deployed_owes_nothing(ledger: Ledger) -> None:
    found = look(ledger, FOLDER, timezone=None, active={}, now_s=SIX_S)

    assert found.late is None
    assert found.next_s == SIX_S + 3_600


def slot_at(ledger: Ledger, minutes: float) -> tuple[bool, str | None]:
    """Whether the slot of 06:00 counts as one that did not begin so long after it, and when its run began after all."""
    slot_s, began, _ = late_slot(ledger, NIGHTLY, timezone=None, after_s=SIX_S - 3_600, now_s=SIX_S + 60 * minutes)
    return slot_s is not None, None if began is None else began[11:16]


def test_a_slot_that_did_not_begin(ledger: Ledger) -> None:
    """From the end of its grace on, until there is a success for it."""
    assert slot_at(ledger, 4.9) == (False, None)
    assert slot_at(ledger, 5) == (True, None)
    ran(ledger, SIX_S + 7_200, "failed", slot_s=SIX_S, kind="slot")
    assert slot_at(ledger, 125) == (True, "08:00")
    ran(ledger, SIX_S + 7_500, slot_s=SIX_S, kind="slot")
    assert slot_at(ledger, 130) == (False, "08:00")


def test_a_slot_that_began_in_time_and_failed_is_not_missed(ledger: Ledger) -> None:
    ran(ledger, SIX_S + 30, "failed", slot_s=SIX_S, kind="slot")

    assert slot_at(ledger, 30) == (False, None)


def test_a_new_schedule_has_missed_nothing(ledger: Ledger) -> None:
    """When it was first seen is kept as a slot without a run."""
    ledger.serve_slot("claims", utc_text(SIX_S + 3_600), "")

    assert slot_at(ledger, 90) == (False, None)


def test_a_flow_is_good_again_when_all_of_its_newest_slot_is(ledger: Ledger) -> None:
    """A folder's files of one slot, one of which fails."""
    since = utc_text(SIX_S)
    for source, status in (("a", "failed"), ("b", "success")):
        ran(ledger, SIX_S, status, slot_s=SIX_S, kind="slot", source=source)
    assert not is_good_since(ledger, "claims", since, counts=lambda given: True)
    assert failures_between(ledger, "claims", utc_text(SIX_S + 30), utc_text(SIX_S + 90)) == 1
    assert failures_between(ledger, "claims", utc_text(SIX_S + 90), utc_text(SIX_S + 900)) == 0
    assert failures_between(ledger, "claims", utc_text(SIX_S - 900), utc_text(SIX_S + 30)) == 0

    ran(ledger, SIX_S + 600, kind="hand", source="a")
    assert is_good_since(ledger, "claims", since, counts=lambda given: True)

    ran(ledger, SIX_S + DAY_S, "failed", slot_s=SIX_S + DAY_S, kind="slot", source="b")
    assert not is_good_since(ledger, "claims", since, counts=lambda given: True)


TOLD = TroubleRecord(
    TroubleKey("claims", "failed", "Clean", "KeyError", "claims.ipynb, cell 4"),
    utc_text(SIX_S),
    {"source": "ä.csv"},
    told_at_utc=utc_text(SIX_S),
    message_id="3fa2",
    digest_until_utc=utc_text(SIX_S + 300),
    at_utc=utc_text(SIX_S),
)


def keep(ledger: Ledger, *ones: TroubleRecord) -> None:
    with ledger.writing() as (connection, rev):
        troubles.put(connection, rev, ones)


def test_what_was_told_is_kept_and_changed(ledger: Ledger) -> None:
    keep(ledger, TOLD)
    assert troubles.all_troubles(ledger) == [TOLD]

    closed = replace(TOLD, recovered_at_utc=utc_text(SIX_S + 600), is_closed=True, again=2, digest_until_utc=None)
    keep(ledger, closed)
    assert troubles.all_troubles(ledger) == [closed]


def test_what_was_told_goes_with_the_workspace(tmp_path: Path) -> None:
    """The next owner knows it, changes it, and the first learns of that."""
    folder = Folder()
    one, other = Machine(folder, tmp_path / "one" / "l.sqlite"), Machine(folder, tmp_path / "other" / "l.sqlite")
    one.claim()
    keep(one.ledger, TOLD)
    one.commit()
    one.release()

    other.claim()
    assert troubles.all_troubles(other.ledger) == [TOLD]
    closed = replace(TOLD, is_closed=True)
    keep(other.ledger, closed)
    other.commit()
    other.release()

    one.claim()
    assert troubles.all_troubles(one.ledger) == [closed]
    for machine in (one, other):
        machine.ledger.close()
