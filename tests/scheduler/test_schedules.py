"""Which slot or tick of a schedule is due, and that none runs twice or is lost, whatever happens to the engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine import Flow
from data_engine.flow.paths import module_folder
from data_engine.flow.trigger import Schedule
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.wall_clock import Believed, prune
from data_engine.model import RunAbout, RunFinished, RunStarted, utc_text
from data_engine.planning.due import Due, NotDue, PlannedFlow, plan_interval, plan_slots
from data_engine.planning.slots import Slots, slots_of, zone_of
from data_engine.reasons.kinds import DaysUnknown, HeldSlot, NotYet, Slot, Tick
from data_engine.scheduler.schedule_clock import ScheduleClock, owed_slots
from data_engine.workspace.settings import HistorySettings, WorkspaceSettings
from tests.support import examples

HOUR_S, DAY_S = 3600.0, 86400.0
MIDNIGHT_S = datetime(2026, 6, 1, tzinfo=UTC).timestamp()


def schedule(**options: Any) -> Schedule:
    trigger = Flow("G", "nightly").watch(mode="schedule", **{"time": "06:00", "tz": "UTC", **options}).trigger
    assert isinstance(trigger, Schedule)
    return trigger


def at(hours: float) -> float:
    """So many hours after midnight of the first day."""
    return MIDNIGHT_S + hours * HOUR_S


def plan(trigger: Schedule, *, served: float, on_since: float, now: float, keep_days: float = 30) -> Due | NotDue:
    """In hours after midnight of the first day."""
    return plan_slots(
        trigger,
        slots_of(trigger, "UTC"),
        served_until_s=at(served),
        on_since_s=at(on_since),
        now_s=at(now),
        retention_s=keep_days * DAY_S,
    )


def slot(hours: float, **more: Any) -> Due:
    return Due(None, Slot(utc_text(at(hours)), **more))


def next_at(hours: float) -> NotDue:
    return NotDue(None, NotYet(utc_text(at(hours))))


@pytest.mark.parametrize(
    ("catch_up", "served", "on_since", "now", "verdict"),
    [
        pytest.param("latest", 0, 0, 5.99, next_at(6), id="not before its time"),
        pytest.param("latest", 0, 0, 6, slot(6), id="at its time"),
        pytest.param("latest", 6, 0, 7, next_at(30), id="once"),
        pytest.param("latest", 0, 10, 10, slot(6, is_missed=True), id="a missed slot is caught up"),
        pytest.param("latest", 0, 60, 60, slot(54, is_missed=True), id="latest: of several missed the newest, once"),
        pytest.param("latest", 54, 60, 60, next_at(78), id="latest: the older ones are not owed any more"),
        pytest.param("all", 0, 60, 60, slot(6, is_missed=True), id="all: the oldest first"),
        pytest.param("all", 6, 60, 60, slot(30, is_missed=True), id="all: then the next"),
        pytest.param("none", 0, 10, 10, next_at(30), id="none: what was missed is skipped"),
        pytest.param("none", 0, 5, 6.5, slot(6), id="none: a slot that came while somebody looked is run"),
        pytest.param("latest", 10, 10, 11, next_at(30), id="a flow that is new at ten owes nothing for six o'clock"),
    ],
)
def test_a_slot_is_due_or_not(catch_up: str, served: float, on_since: float, now: float, verdict: Due | NotDue) -> None:
    assert plan(schedule(catch_up=catch_up), served=served, on_since=on_since, now=now) == verdict


def test_all_goes_no_further_back_than_history_and_says_so() -> None:
    verdict = plan(schedule(catch_up="all"), served=0, on_since=24 * 10, now=24 * 10, keep_days=2)

    oldest = utc_text(at(24 * 8))
    assert verdict == slot(24 * 8 + 6, is_missed=True, skipped_before_utc=oldest)


@pytest.mark.parametrize(
    ("elapsed", "ticks_done", "due"),
    [(59, 0, None), (60, 0, 1), (119, 1, None), (120, 1, 2), (300, 1, 5), (301, 5, None)],
)
def test_intervals_keep_their_distance_and_missed_ones_are_one(
    elapsed: float, ticks_done: int, due: int | None
) -> None:
    verdict = plan_interval(
        schedule(interval="60s", time=None, tz=None),
        started_s=1000.0,
        ticks_done=ticks_done,
        local_s=1000.0 + elapsed,
        now_s=MIDNIGHT_S + elapsed,
    )

    following = NotYet(utc_text(MIDNIGHT_S + (max(int(elapsed // 60), ticks_done) + 1) * 60))
    assert verdict == (NotDue(None, following) if due is None else Due(None, Tick(due)))


# -- with the ledger ----------------------------------------------------------------------------------------------


class Engine:
    """An engine that is on from `start` to `stop`, looks when told, and runs what is due."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.path = folder / "ledger.sqlite"
        self.watch = PlannedFlow("nightly", "G", schedule(**options))
        self.ran: list[float] = []

    def start(self, now: float, *, by_person: bool = False) -> None:
        self.ledger = Ledger.open(self.path)
        self.ledger.recover(now_s=now)
        self.on_since_s = now
        self.schedule_clock = ScheduleClock(
            self.watch,
            settings=WorkspaceSettings(history=HistorySettings(retention_days=30)),
            ledger=self.ledger,
            now_s=now,
            local_s=0.0,
            frees_held=by_person,
        )

    def verdict(self, now: float) -> Due | NotDue:
        return self.schedule_clock.check(now_s=now, local_s=0.0, on_since_s=self.on_since_s)

    def held_slot(self) -> HeldSlot | None:
        return self.schedule_clock.held

    def die(self, now: float, *, runs: int = 1) -> None:
        """The slot that is due begins, and the process ends in its runs."""
        due = self.verdict(now)
        assert isinstance(due, Due)
        self.schedule_clock.begin(due, now_s=now)
        for number in range(runs):
            self.ledger.record(RunStarted(f"{now}-{number}", "nightly", "G", None, at_s=now))
        self.ledger.close()

    def look(self, now: float, *, dies: bool = False) -> None:
        while isinstance(due := self.schedule_clock.check(now_s=now, local_s=0.0, on_since_s=self.on_since_s), Due):
            if dies:
                return
            assert isinstance(due.why, Slot)
            self.ran.append(datetime.fromisoformat(due.why.slot_utc).timestamp())
            self.schedule_clock.serve(due, "r1")

    def stop(self) -> None:
        self.ledger.close()


def test_a_slot_is_served_once_also_over_restarts(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    for hours in (1, 7, 8, 9, 31):
        engine.start(at(hours))
        engine.look(at(hours))
        engine.stop()

    assert engine.ran == [at(6), at(30)]


def test_a_slot_whose_run_died_with_the_engine_is_owed(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.start(at(1))
    engine.look(at(6), dies=True)
    engine.stop()
    engine.start(at(7))
    engine.look(at(7))

    assert engine.ran == [at(6)]
    engine.stop()


def test_a_changed_schedule_owes_nothing_for_the_past(tmp_path: Path) -> None:
    """Somebody changes 06:00 to 09:00 at ten: it runs at nine the next day."""
    engine = Engine(tmp_path)
    engine.start(at(1))
    engine.look(at(6))
    engine.stop()
    engine.watch = PlannedFlow("nightly", "G", schedule(time="09:00"))
    engine.start(at(10))
    engine.look(at(10))
    engine.look(at(33))
    engine.stop()

    assert engine.ran == [at(6), at(33)]


def test_slots_that_came_from_another_workstation_count(tmp_path: Path) -> None:
    """After a take-over the ledger holds its slots, and nothing of this machine's own."""
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.serve_slot("nightly", utc_text(at(6)), "theirs")
    engine = Engine(tmp_path)
    engine.start(at(31))
    engine.look(at(31))
    engine.stop()

    assert engine.ran == [at(30)]


def backfill(path: Path, *hours: float) -> None:
    """A backfill of these slots has run well."""
    with Ledger.open(path) as ledger:
        for number, hour in enumerate(hours):
            about = RunAbout("backfill", "b1", scheduled_for=utc_text(at(hour)))
            run_id = f"b{number}"
            ledger.record(RunStarted(run_id, "nightly", "G", None, at_s=at(200), about=about))
            ledger.record(RunFinished(run_id, "success", at(200), 1.0))
            ledger.serve_slot("nightly", utc_text(at(hour)), run_id)


@pytest.mark.parametrize("catch_up", ["all", "latest"])
def test_a_backfill_of_a_new_schedule_makes_no_other_slot_owed(tmp_path: Path, catch_up: str) -> None:
    """The flow owes nothing for the past: its engine was never on before."""
    engine = Engine(tmp_path, catch_up=catch_up)
    backfill(engine.path, 6, 30)

    engine.start(at(201))
    engine.look(at(201))
    engine.look(at(24 * 9 + 6))
    engine.stop()

    assert engine.ran == [at(24 * 9 + 6)]


def test_a_backfill_serves_its_slots_and_no_earlier_one(tmp_path: Path) -> None:
    """The engine was off for days, and owes all of them but those."""
    engine = Engine(tmp_path, catch_up="all")
    engine.start(at(1))
    engine.stop()
    backfill(engine.path, 30, 78)

    engine.start(at(104))
    engine.look(at(104))
    engine.stop()

    assert engine.ran == [at(6), at(54), at(102)]


def test_what_a_wrong_clock_served_in_the_future_holds_up_nothing(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.start(at(1))
    engine.stop()
    with Ledger.open(engine.path) as ledger:
        ledger.serve_slot("nightly", utc_text(at(24 * 365)), "wrong")
    engine.start(at(2))
    engine.look(at(6))
    engine.stop()

    assert engine.ran == [at(6)]


def test_a_slot_from_the_future_hides_none_that_was_served_long_ago(tmp_path: Path) -> None:
    """A monthly flow that was away for fifty days owes what came since the first of June."""
    engine = Engine(tmp_path, time=None, cron="0 6 1 * *")
    engine.start(at(1))
    engine.look(at(6))
    engine.ledger.serve_slot("nightly", utc_text(at(24 * 400)), "wrong")
    engine.stop()
    engine.start(at(24 * 50))
    engine.look(at(24 * 50))
    engine.stop()

    assert engine.ran == [at(6), at(24 * 30 + 6)]


def test_a_schedule_first_seen_under_a_wrong_clock_owes_what_comes_after_it_is_right(tmp_path: Path) -> None:
    """Also over restarts."""
    engine = Engine(tmp_path)
    for hours in (24 * 400, 1, 7):
        engine.start(at(hours))
        engine.look(at(hours))
        engine.stop()

    assert engine.ran == [at(6)]


def test_a_slot_that_a_wrong_clock_served_runs_when_its_day_comes(tmp_path: Path) -> None:
    """Once the history was tidied up by a clock that is believed; what the right clock served stays."""
    engine = Engine(tmp_path)
    engine.start(at(1))
    engine.look(at(24 * 365 + 7))
    engine.look(at(6))
    prune(engine.ledger, retention_days=30, at=Believed(at(7), at(7)))
    engine.look(at(24 * 365 + 7))
    engine.stop()

    assert engine.ran == [at(24 * 365 + 6), at(6), at(24 * 365 + 6)]


def test_runs_from_the_future_that_died_hold_no_slot_and_are_not_tried_again(tmp_path: Path) -> None:
    """The daemon died twice under a wrong clock; under the right one a first death is a first death."""
    engine = Engine(tmp_path)
    engine.start(at(1))
    for hours in (24 * 400 + 6, 24 * 400 + 6.1):
        engine.die(at(hours))
        engine.start(at(hours + 0.05))
    engine.stop()
    engine.start(at(2), by_person=True)
    assert (engine.verdict(at(2)), engine.held_slot()) == (next_at(6), None)
    engine.die(at(6))
    engine.start(at(7))

    assert engine.verdict(at(7)) == slot(6, is_missed=True)
    engine.stop()


def test_a_slot_whose_runs_died_twice_is_held_and_the_next_one_is_run(tmp_path: Path) -> None:
    """Once is no reason; what died together died once; the hold outlives restarts, and the next slot ends it."""
    engine = Engine(tmp_path)
    engine.start(at(1))
    engine.die(at(6), runs=3)
    engine.start(at(6.1))
    assert engine.held_slot() is None
    engine.die(at(6.2))
    engine.start(at(6.3))
    assert engine.verdict(at(6.3)) == next_at(30)
    engine.stop()
    engine.start(at(7))

    assert engine.verdict(at(7)) == next_at(30)
    held = engine.held_slot()
    assert held is not None
    assert (held.kind, held.slot_utc, held.since_utc) == ("held_slot", utc_text(at(6)), utc_text(at(6.3)))
    assert held.cause is not None
    engine.look(at(30))
    assert (engine.ran, engine.held_slot()) == ([at(30)], None)
    engine.stop()


def test_a_person_frees_a_held_slot_for_one_more_try(tmp_path: Path) -> None:
    """By starting the engine, or by a retry; a run that ends serves it, one that dies holds it again."""
    engine = Engine(tmp_path)
    engine.start(at(1))
    for hours in (6.0, 6.1):
        engine.die(at(hours))
        engine.start(at(hours + 0.05))
    engine.schedule_clock.free()
    assert engine.verdict(at(6.2)) == slot(6, is_freed=True)
    engine.die(at(6.2))
    engine.start(at(6.3))
    assert (engine.verdict(at(6.3)), engine.held_slot() is None) == (next_at(30), False)
    engine.stop()
    engine.start(at(6.4), by_person=True)
    engine.ledger.record(RunStarted("good", "nightly", "G", None, at_s=at(6.4)))
    due = engine.verdict(at(6.4))
    assert isinstance(due, Due)
    engine.ledger.record(RunFinished("good", "success", at(6.5), 360.0))
    engine.schedule_clock.serve(due, "good")

    assert (engine.verdict(at(6.5)), engine.held_slot()) == (next_at(30), None)
    engine.stop()
    engine.start(at(7), by_person=True)
    assert engine.verdict(at(7)) == next_at(30)
    engine.stop()


def test_runs_by_hand_that_died_before_a_slot_do_not_count_for_it(tmp_path: Path) -> None:
    """Only what died since the slot was begun."""
    engine = Engine(tmp_path)
    for number in range(3):
        engine.start(at(1 + number))
        engine.ledger.record(RunStarted(f"by hand {number}", "nightly", "G", None, at_s=at(1 + number)))
        engine.stop()
    engine.start(at(5))
    engine.die(at(6))
    engine.start(at(7))

    assert engine.verdict(at(7)) == slot(6, is_missed=True)
    engine.stop()


@settings(max_examples=examples(20), deadline=None)
@given(
    st.sampled_from(["latest", "all", "none"]),
    st.sampled_from(["Europe/Berlin", "America/Sao_Paulo", "UTC"]),
    st.sampled_from(["0 */3 * * *", "30 2 * * *", "*/20 1-3 * * *"]),
    st.lists(st.tuples(st.sampled_from(["look", "die", "restart"]), st.integers(60, 30 * 3600)), max_size=12),
)
def test_no_slot_runs_twice_and_none_that_is_owed_is_lost(
    tmp_path_factory: pytest.TempPathFactory, catch_up: str, zone: str, cron: str, acts: list[tuple[str, int]]
) -> None:
    """Whatever happens: looks far apart, deaths in the middle of a run, restarts; in autumn, where clocks change."""
    engine = Engine(tmp_path_factory.mktemp("slots"), time=None, cron=cron, tz=zone, catch_up=catch_up)
    first = now = datetime(2017, 10, 14, tzinfo=UTC).timestamp()
    engine.start(now)
    for act, seconds in acts:
        now += seconds
        if act == "restart":
            engine.stop()
            engine.start(now)
        engine.look(now, dies=act == "die")
        if act == "die":
            engine.stop()
            engine.start(now + 1)
            engine.look(now + 1)
    engine.stop()

    owed = Slots((cron,), zone_of(zone)).between(first, now + 1)
    assert len(engine.ran) == len(set(engine.ran))
    assert engine.ran == sorted(engine.ran)
    assert set(engine.ran) <= set(owed)
    if catch_up == "all":
        assert engine.ran == [one for one in owed if one <= now]
    if catch_up == "latest" and acts and (passed := [one for one in owed if one <= now]):
        assert engine.ran[-1] == passed[-1]


@pytest.mark.parametrize("catch_up", ["all", "latest", "none"])
@pytest.mark.parametrize("day", ["2026-03-29", "2026-06-01", "2026-10-25"])
def test_what_is_listed_as_owed_is_what_is_planned_one_after_the_other(tmp_path: Path, catch_up: str, day: str) -> None:
    """Also where an hour is missing or comes twice, and of what is too old to be done."""
    trigger = schedule(time=None, cron="*/50 1-3 * * *", tz="Europe/Berlin", catch_up=catch_up)
    zone = zone_of("Europe/Berlin")
    now_s = datetime.fromisoformat(day).replace(tzinfo=zone).timestamp() + 20 * HOUR_S
    first_s, keep_s = now_s - 4 * DAY_S, 2 * DAY_S
    planned: list[str] = []
    served_s = first_s
    while isinstance(
        due := plan_slots(
            trigger, slots_of(trigger, None), served_until_s=served_s, on_since_s=now_s, now_s=now_s, retention_s=keep_s
        ),
        Due,
    ):
        assert isinstance(due.why, Slot)
        planned.append(due.why.slot_utc)
        served_s = datetime.fromisoformat(due.why.slot_utc).timestamp()

    kept = WorkspaceSettings(history=HistorySettings(retention_days=2))
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.serve_slot("nightly", utc_text(first_s), "")
        listed = owed_slots(ledger, PlannedFlow("nightly", "G", trigger), settings=kept, now_s=now_s)

    assert listed == planned
    assert (
        len(planned)
        == {"all": len(Slots(trigger.cron_lines, zone).between(now_s - keep_s, now_s)), "latest": 1, "none": 0}[
            catch_up
        ]
    )


def test_a_day_without_slots_has_none_and_says_so(tmp_path: Path) -> None:
    """What the file says counts at once; a slot that was skipped is not owed afterwards; without the file nothing runs."""
    days = tmp_path / "config" / "holidays.txt"
    days.parent.mkdir()
    days.write_text("")
    with module_folder(tmp_path / "flow_modules"):
        engine = Engine(tmp_path, skip="holidays.txt")
    engine.start(at(1))
    assert engine.verdict(at(2)) == next_at(6)
    days.write_text(f"{datetime.fromtimestamp(MIDNIGHT_S, UTC):%Y-%m-%d}\n")
    skipping = NotDue(None, NotYet(utc_text(at(30)), skipped_utc=utc_text(at(6)), by="config/holidays.txt"))

    assert [engine.verdict(at(hours)) for hours in (3, 6.5)] == [skipping, skipping]
    assert "none at" in skipping.why.text
    assert slots_of(schedule(time="06:00"), None) == slots_of(schedule(time="06:00"), None)  # else each look plans anew
    days.unlink()
    assert isinstance(engine.verdict(at(30)).why, DaysUnknown)
    days.write_text("")
    assert engine.verdict(at(30.1)) == slot(30)
    engine.stop()


@settings(max_examples=examples(20), deadline=None)
@given(
    st.sets(st.integers(0, 20)),
    st.sampled_from(["30 2 * * *", "*/50 1-3 * * *"]),
    st.sampled_from(["Europe/Berlin", "UTC"]),
)
def test_slots_without_some_days_are_the_slots_but_those_of_these_days(numbers: set[int], line: str, zone: str) -> None:
    """In spring and in autumn, by the local date."""
    there = zone_of(zone)
    for begin in (datetime(2026, 3, 20, tzinfo=there), datetime(2026, 10, 15, tzinfo=there)):
        without = frozenset(begin.date() + timedelta(days=number) for number in numbers)
        span = begin.timestamp(), begin.timestamp() + 21 * DAY_S
        every, some = Slots((line,), there), Slots((line,), there, without)

        kept = [one for one in every.between(*span) if datetime.fromtimestamp(one, there).date() not in without]
        assert some.between(*span) == kept
        assert some.newest(*span) == (kept[-1] if kept else None)
        assert some.upcoming(span[0], len(kept)) == kept
