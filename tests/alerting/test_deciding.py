"""What people are told, when, and how often: each row is a sentence, played against the decision alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import pytest

from data_engine.alerting.deciding import MOST_OF_A_FLOW, Recipients, Telling, decide, decide_reports, gathered
from data_engine.flow.expectation import AlertRule
from data_engine.ledger.outputs import NewPage
from data_engine.ledger.troubles import TroubleKey, TroubleRecord
from data_engine.model import utc_text
from data_engine.workspace.settings import AlertSettings

START_S = datetime.fromisoformat("2026-01-05T06:00:00+00:00").timestamp()
FAILED = TroubleKey("claims", "failed", "Clean", "KeyError", "claims.ipynb, cell 4")
OTHER = TroubleKey("claims", "failed", "Read", "OSError", "claims.ipynb, cell 2")
LATE = TroubleKey("claims", "late")
OPS = AlertSettings(to=("ops",), digest_s=300.0)


@dataclass
class Played:
    """One flow whose troubles come and go; what was told is kept as (minute, kind, to, subject)."""

    settings: AlertSettings = OPS
    rules: tuple[AlertRule, ...] = ()
    known: dict[TroubleKey, TroubleRecord] = field(default_factory=dict)
    told: list[tuple[float, Telling]] = field(default_factory=list)

    def at(
        self, minute: float, *seen: TroubleKey, over: tuple[TroubleKey, ...] = (), failures: int = 0
    ) -> list[Telling]:
        now_s = START_S + 60 * minute
        at_utc = utc_text(now_s)
        decision = decide(
            "claims",
            self.known.values(),
            [TroubleRecord(key, at_utc, {"detail": f"{key.error_type}: x"}) for key in seen],
            dict.fromkeys(over, at_utc),
            Recipients(self.settings, self.rules),
            failures=failures,
            now_s=now_s,
        )
        self.known |= {one.key: one for one in decision.changed}
        self.told += [(minute, one) for one in decision.tellings]
        return list(decision.tellings)

    @property
    def kinds(self) -> list[tuple[float, str]]:
        return [(minute, one.kind) for minute, one in self.told]


Step = tuple[float, tuple[TroubleKey, ...], tuple[TroubleKey, ...], int]
SENTENCES: list[tuple[str, list[Step], list[tuple[float, str]]]] = [
    ("a first failure is told at once", [(0, (FAILED,), (), 0)], [(0, "failed")]),
    ("the same failure again is not told", [(0, (FAILED,), (), 0), (60, (FAILED,), (), 0)], [(0, "failed")]),
    (
        "what follows within the digest waits until its end",
        [(0, (FAILED,), (), 0), (1, (OTHER,), (), 0), (4.9, (), (), 1), (5, (), (), 1)],
        [(0, "failed"), (5, "digest")],
    ),
    (
        "ten thousand failures are one message and one digest",
        [(0, (FAILED,), (), 0), (1, (FAILED,), (), 5_000), (5, (FAILED,), (), 9_999), (9, (FAILED,), (), 0)],
        [(0, "failed"), (5, "digest")],
    ),
    ("a digest in which nothing followed is not sent", [(0, (FAILED,), (), 0), (5, (), (), 0)], [(0, "failed")]),
    (
        "a failure that has changed is told",
        [(0, (FAILED,), (), 0), (5, (), (), 0), (60, (OTHER,), (), 0)],
        [(0, "failed"), (60, "failed")],
    ),
    (
        "good again is told after the digest",
        [(0, (FAILED,), (), 0), (2, (), (FAILED,), 0), (5, (), (), 0)],
        [(0, "failed"), (5, "recovered")],
    ),
    (
        "good again long after is told at once",
        [(0, (FAILED,), (), 0), (5, (), (), 0), (90, (), (FAILED,), 0), (95, (), (), 0)],
        [(0, "failed"), (90, "recovered")],
    ),
    (
        "a failure after it was good again is told at once",
        [(0, (FAILED,), (), 0), (5, (), (), 0), (90, (), (FAILED,), 0), (91, (FAILED,), (), 0)],
        [(0, "failed"), (90, "recovered"), (91, "failed")],
    ),
    (
        "what flaps within the digest is one message at its end",
        [(0, (FAILED,), (), 0), (1, (), (FAILED,), 0), (2, (FAILED,), (), 1), (3, (), (FAILED,), 0), (4, (FAILED,), (), 2), (5, (), (), 2)],
        [(0, "failed"), (5, "digest")],
    ),
    (
        "what came and went while a digest waited was no trouble of anybody's",
        [(0, (FAILED,), (), 0), (1, (LATE,), (), 0), (2, (), (LATE,), 0), (5, (), (), 0)],
        [(0, "failed")],
    ),
    ("two troubles of one moment are one message", [(0, (FAILED, LATE), (), 0)], [(0, "failed")]),
    (
        "late after a failure was told is told too",
        [(0, (FAILED,), (), 0), (5, (), (), 0), (60, (LATE,), (), 0)],
        [(0, "failed"), (60, "late")],
    ),
    (
        "one of two troubles that is over is told as such",
        [(0, (FAILED, LATE), (), 0), (5, (), (), 0), (60, (), (LATE,), 0)],
        [(0, "failed"), (60, "recovered")],
    ),
    ("good again of what nobody was told of is not told", [(0, (), (FAILED,), 0)], []),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "steps", "expected"), SENTENCES, ids=[one[0] for one in SENTENCES])
def test_what_is_told(sentence: str, steps: list[Step], expected: list[tuple[float, str]]) -> None:
    played = Played()
    for minute, seen, over, failures in steps:
        played.at(minute, *seen, over=over, failures=failures)

    assert played.kinds == expected


def test_the_message_says_what_counts() -> None:
    played = Played()
    first = played.at(0, FAILED)[0]
    (digest,) = played.at(5, failures=9_999)
    (good,) = played.at(60, over=(FAILED,))

    assert first.subject == "claims failed in Clean: KeyError: x"
    assert (first.notices[0].step, first.notices[0].cell) == ("Clean", "claims.ipynb, cell 4")
    assert "data-engine retry claims" in (first.notices[0].fix or "")
    assert digest.subject == "claims: 9,999 more runs failed"
    assert digest.notices[0].more == 9_999
    assert good.subject == "claims has recovered"
    assert "it failed for 1 h" in good.notices[0].headline
    assert len({one.id for one in (first, digest, good)}) == 3


def test_what_is_better_is_not_called_good() -> None:
    """One trouble is over and another is not: subject and text say so."""
    played = Played()
    played.at(0, FAILED, LATE)
    (told,) = played.at(6, FAILED, over=(LATE,))

    assert told.subject == "claims: no longer late"
    assert "claims no longer has this trouble, but still has others: it was late for 6 min" in told.notices[0].headline


def test_what_nobody_heard_of_at_the_end_of_a_digest_is_told_later() -> None:
    """Whoever was to be told was taken out of the settings, and comes back."""
    played = Played()
    played.at(0, FAILED)
    played.at(1, LATE)
    played.settings = AlertSettings(digest_s=300.0)
    played.at(5, FAILED, LATE)
    played.settings = OPS
    played.at(6, FAILED, LATE)

    assert played.kinds == [(0, "failed"), (6, "late")]


def test_whoever_decides_gives_the_same_id() -> None:
    """A new owner that did not see that a trouble was told tells it under the same id: one message, not two."""
    one, other = Played().at(0, FAILED)[0], Played()
    key = FAILED
    again = decide(
        "claims", [], [TroubleRecord(key, utc_text(START_S))], {}, Recipients(OPS), failures=0, now_s=START_S + 300
    )

    assert [telling.id for telling in again.tellings] == [one.id]
    assert other.at(1, FAILED)[0].id != one.id


def test_what_was_good_before_it_failed_does_not_end_it() -> None:
    """A success that is heard of late is no recovery."""
    played = Played()
    played.at(0, FAILED)
    early = decide(
        "claims", played.known.values(), [], {FAILED: utc_text(START_S - 60)}, Recipients(OPS), failures=0, now_s=START_S + 400
    )  # fmt: skip

    assert early.tellings == ()
    assert all(one.recovered_at_utc is None for one in early.changed)


def test_nobody_to_be_told_keeps_nothing() -> None:
    played = Played(settings=AlertSettings())
    played.at(0, FAILED, LATE)

    assert (played.known, played.told) == ({}, [])


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((), {"failed": ("ops",), "late": ("ops",)}),
        ((AlertRule(to=()),), {"failed": (), "late": ()}),
        ((AlertRule(to=("me",)),), {"failed": ("me",), "late": ("me",)}),
        ((AlertRule(on=("late",)),), {"failed": (), "late": ("ops",)}),
        ((AlertRule(on=("failed",)), AlertRule(to=("boss",), on=("late",))), {"failed": ("ops",), "late": ("boss",)}),
    ],
)
def test_who_is_told(rules: tuple[AlertRule, ...], expected: dict[str, tuple[str, ...]]) -> None:
    """What a flow says stands in place of what the workspace says, part by part."""
    assert {kind: Recipients(OPS, rules).of(kind) for kind in expected} == expected


def test_each_is_told_of_what_is_for_them() -> None:
    """Two people, two messages; and who did not ask to hear that it is good again does not."""
    rules = AlertRule(to=("ops",), on=("failed", "recovered")), AlertRule(to=("boss",), on=("late",))
    played = Played(rules=rules)
    first = played.at(0, FAILED, LATE)
    played.at(5)
    good = played.at(60, over=(FAILED, LATE))

    assert [(one.kind, one.to) for one in first] == [("failed", ("ops",)), ("late", ("boss",))]
    assert [(one.kind, one.to) for one in good] == [("recovered", ("ops",))]


def test_what_differs_each_time_has_a_bound() -> None:
    """An error whose type is made up anew each time fills neither the table nor anybody's mailbox."""
    played = Played()
    for number in range(1_000):
        played.at(number / 300, FAILED._replace(error_type=f"Error{number}"))
    played.at(5, failures=999)

    assert len(played.known) == MOST_OF_A_FLOW + 1
    assert played.kinds == [(0, "failed"), (5, "digest")]


def test_many_flows_that_fail_at_one_moment_are_one_message() -> None:
    """A share that is gone fails five hundred flows."""
    tellings = [
        decide(
            f"flow{number}", [], [TroubleRecord(FAILED._replace(flow=f"flow{number}"), utc_text(START_S))], {},
            Recipients(OPS), failures=0, now_s=START_S,
        ).tellings[0]
        for number in range(500)
    ]  # fmt: skip

    (one,) = gathered(tellings, "sales")

    assert (one.subject, len(one.notices), one.to) == ("sales: trouble in 500 flows", 500, ("ops",))
    assert gathered(tellings[:5], "sales") == tellings[:5]


def test_without_a_digest_everything_is_told_at_once() -> None:
    played = Played(settings=AlertSettings(to=("ops",), digest_s=0))
    played.at(0, FAILED)
    played.at(1, OTHER)
    played.at(2, over=(FAILED, OTHER))

    assert played.kinds == [(0, "failed"), (1, "failed"), (2, "recovered")]


# -- reports -----------------------------------------------------------------------------------------------------------

ON_REPORT = AlertRule(to=("boss",), on=("report",))


def page(number: int) -> NewPage:
    return NewPage(
        f"r{number}", f"/out/{number}.html", f"Delays {number}", f"/in/{number}.csv", utc_text(START_S + number)
    )


@dataclass
class Reported:
    """A flow whose runs make pages; each is told of once."""

    rules: tuple[AlertRule, ...] = (ON_REPORT,)
    known: TroubleRecord | None = None

    def at(self, minute: float, *pages: NewPage, backfill: bool = False) -> tuple[list[str], float | None]:
        """The subjects that are sent, and in how many minutes it is decided again."""
        now_s = START_S + 60 * minute
        new = [one for one in pages if self.known is None or one.at_utc > self.known.since_utc]
        decision = decide_reports(
            "claims", self.known, new, Recipients(OPS, self.rules), is_backfilling=backfill, now_s=now_s
        )
        for changed in decision.changed:
            self.known = changed
        again = None if decision.next_s is None else round((decision.next_s - now_s) / 60, 2)
        return [one.subject for one in decision.tellings], again


def test_a_new_page_is_sent_at_once_and_once() -> None:
    """To those of on=["report"], with the page."""
    flow = Reported()

    decision = decide_reports(
        "claims", None, [page(1)], Recipients(OPS, flow.rules), is_backfilling=False, now_s=START_S
    )
    (telling,) = decision.tellings
    assert (telling.kind, telling.to, telling.attachment) == ("report", ("boss",), "/out/1.html")
    assert (telling.notices[0].headline, telling.notices[0].page) == ("Delays 1", "/out/1.html")
    assert decision.changed[0].is_closed
    assert flow.at(0, page(1)) == (["claims: a new report"], None)
    assert flow.at(60, page(1)) == ([], None)


def test_pages_within_a_digest_are_one_message_with_the_newest() -> None:
    """At its end."""
    flow = Reported()
    flow.at(0, page(1))

    assert flow.at(1, page(1), page(2)) == ([], 4)
    assert flow.at(4.99, *map(page, range(1, 5))) == ([], 0.01)
    assert flow.at(5, *map(page, range(1, 5))) == (["claims: 3 new reports, the newest of them"], None)
    assert flow.known is not None
    assert flow.known.detail == {"page": "/out/4.html"}


def test_pages_of_a_backfill_wait_for_its_end() -> None:
    """However long it takes."""
    flow = Reported()

    assert flow.at(0, page(1), backfill=True)[0] == []
    assert flow.at(90, page(1), page(2), backfill=True)[0] == []
    assert flow.at(91, page(1), page(2)) == (["claims: 2 new reports, the newest of them"], None)


@pytest.mark.parametrize(
    ("rules", "failed", "report"),
    [
        ((), ("ops",), ()),
        ((ON_REPORT,), ("ops",), ("boss",)),
        ((AlertRule(on=("report",)),), ("ops",), ("ops",)),
        ((AlertRule(to=("dev",), on=("failed", "report")),), ("dev",), ("dev",)),
        ((AlertRule(to=("dev",)), ON_REPORT), ("dev",), ("boss",)),
        ((AlertRule(to=("dev",)),), ("dev",), ()),
    ],
)
def test_reports_are_in_no_default_and_leave_other_alerts_as_they_are(
    rules: tuple[AlertRule, ...], failed: tuple[str, ...], report: tuple[str, ...]
) -> None:
    """Who is told of a failure, and who gets the page."""
    recipients = Recipients(OPS, rules)

    assert (recipients.of("failed"), recipients.of("report")) == (failed, report)
