"""The outbox: a message is put once, tried with growing pauses for a day, and seen until each recipient has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from data_engine.ledger import outbox
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.outbox import (
    FIRST_PAUSE_S,
    KEPT_S,
    LEAST_TRIES,
    LONGEST_PAUSE_S,
    MOST_WAITING,
    MOST_WAITING_BYTES,
    TRIED_FOR_S,
    Delivery,
    next_try_s,
)
from data_engine.ledger.troubles import TroubleKey, TroubleRecord
from data_engine.ledger.troubles import put as put_troubles
from data_engine.message import Message
from data_engine.model import utc_text
from tests.alerts.conftest import AT_S, told, waiting

DAY_S = 86_400.0


def put(ledger: Ledger, *messages: Message) -> int:
    with ledger.writing() as (connection, _):
        return outbox.put(connection, messages)


def give_up(ledger: Ledger, message_id: str, to: str) -> None:
    """Let the tries of more than a day fail."""
    for _ in range(LEAST_TRIES):
        outbox.failed(ledger, [message_id], to, AT_S + 2 * DAY_S, "refused")


def test_a_message_is_put_once_and_due_for_each_recipient(ledger: Ledger) -> None:
    """Its id decides: the same trouble told again is not kept again, but for a recipient that it did not have."""
    assert put(ledger, told("1", "ops", "anna"), told("2")) == 2
    assert put(ledger, told("1", "ops", "anna")) == 0
    assert put(ledger, told("1", "ops", "ben")) == 0

    assert sorted(outbox.due(ledger, AT_S), key=str) == sorted(
        [Delivery("1", "anna"), Delivery("1", "ben"), Delivery("1", "ops"), Delivery("2", "ops")], key=str
    )
    assert put(ledger, replace(told("3"), to=())) == 0


def test_a_commit_that_fails_puts_nothing(ledger: Ledger) -> None:
    """What was told and the message are one transaction of the caller's."""

    def fail() -> None:
        with ledger.writing() as (connection, _):
            outbox.put(connection, [told("1")])
            raise KeyError("undone")

    with pytest.raises(KeyError):
        fail()

    assert outbox.due(ledger, AT_S) == []


def test_what_was_sent_is_never_due_again(ledger: Ledger) -> None:
    """Nor after it was put again; its text is not kept."""
    put(ledger, told("1", "ops", "anna"))
    outbox.sent(ledger, "1", "ops", AT_S + 1)
    put(ledger, told("1", "ops", "anna"))

    assert outbox.due(ledger, AT_S + DAY_S) == [Delivery("1", "anna")]
    found = outbox.body(ledger, "1", "ops")
    assert found is not None
    assert found.subject == "claims failed"
    assert found.text
    outbox.sent(ledger, "1", "anna", AT_S + 2)
    assert outbox.undelivered(ledger) == []
    found = outbox.body(ledger, "1", "ops")
    assert found is not None
    assert (found.text, found.html) == ("", "")


def test_a_recipient_that_comes_later_gets_the_whole_message(ledger: Ledger) -> None:
    """Though its text was dropped when the first one had it."""
    put(ledger, told("1", "ops"))
    outbox.sent(ledger, "1", "ops", AT_S)
    put(ledger, told("1", "ops", "anna"))

    found = outbox.body(ledger, "1", "ops")

    assert found is not None
    assert "KeyError" in found.text
    assert outbox.due(ledger, AT_S) == [Delivery("1", "anna")]


def test_pauses_grow_to_an_hour(ledger: Ledger) -> None:
    """A table of both sides of each deadline."""
    put(ledger, told("1"))
    at_s, pauses = AT_S, []
    for _ in range(12):
        outbox.failed(ledger, ["1"], "ops", at_s, "refused")
        next_s = outbox.next_due_s(ledger, at_s)
        assert next_s is not None
        assert outbox.due(ledger, next_s - 0.001) == []
        assert [one.message_id for one in outbox.due(ledger, next_s)] == ["1"]
        pauses.append(next_s - at_s)
        at_s = next_s

    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert pauses == sorted(pauses)


def test_after_a_day_it_is_given_up_and_shown_for_a_week(ledger: Ledger) -> None:
    """With what the last try met; then it is forgotten."""
    put(ledger, told("1"))
    at_s, tries = AT_S, 0
    while waiting(ledger):
        outbox.failed(ledger, ["1"], "ops", at_s, "refused: 554")
        tries += 1
        at_s = outbox.next_due_s(ledger, at_s) or at_s

    (shown,) = outbox.undelivered(ledger)
    assert DAY_S <= at_s - AT_S < DAY_S + LONGEST_PAUSE_S
    assert (shown.state, shown.error, shown.tries, shown.next_try_utc) == ("given_up", "refused: 554", tries, None)
    assert outbox.due(ledger, at_s + DAY_S) == []
    put(ledger, told("2", at_s=AT_S + KEPT_S + 1))
    outbox.sent(ledger, "2", "ops", AT_S + KEPT_S - 1)
    assert [one.message_id for one in outbox.undelivered(ledger)] == ["1"]
    put(ledger, told("3", at_s=AT_S + KEPT_S + 1))
    outbox.sent(ledger, "3", "ops", AT_S + KEPT_S + 1)
    assert outbox.undelivered(ledger) == []


def test_what_was_given_up_is_told_until_a_person_was_shown_it(ledger: Ledger) -> None:
    """What waits then is still told, also when it is given up later; the history has all of it."""
    put(ledger, told("1"), told("2", "boss"))
    outbox.failed(ledger, ["2"], "boss", AT_S + 1, "refused")
    give_up(ledger, "1", "ops")
    assert {one.state for one in outbox.undelivered(ledger)} == {"given_up", "waiting"}

    outbox.are_shown(ledger, outbox.history(ledger), AT_S + 3)

    assert [one.to for one in outbox.undelivered(ledger)] == ["boss"]
    give_up(ledger, "2", "boss")
    assert [(one.to, one.state) for one in outbox.undelivered(ledger)] == [("boss", "given_up")]
    assert {one.to for one in outbox.history(ledger)} == {"ops", "boss"}


def test_what_people_want_no_more_is_told_by_the_history_only(ledger: Ledger) -> None:
    """They have taken the recipient out of the settings themselves."""
    put(ledger, told("1"))
    outbox.failed(ledger, ["1"], "ops", AT_S + 1, "refused")

    outbox.give_up(ledger, "ops", AT_S + 2, "it is not named any more")

    assert outbox.undelivered(ledger) == []
    assert [(one.state, one.error) for one in outbox.history(ledger)] == [("given_up", "it is not named any more")]


def test_what_was_given_up_is_told_no_more_when_its_trouble_is_over(ledger: Ledger) -> None:
    """What waits is: its recipient is still to hear of it."""
    put(ledger, told("1"), told("2"))
    outbox.failed(ledger, ["2"], "ops", AT_S + 1, "refused")
    give_up(ledger, "1", "ops")
    found = []
    for over_utc in (None, utc_text(AT_S + 9)):
        troubles = [
            TroubleRecord(
                TroubleKey("claims", "failed", step), utc_text(AT_S), message_id=one, recovered_at_utc=over_utc
            )
            for step, one in (("Read", "1"), ("Clean", "2"))
        ]
        with ledger.writing() as (connection, rev):
            put_troubles(connection, rev, troubles)
        found.append(sorted(one.message_id for one in outbox.undelivered(ledger)))

    assert found == [["1", "2"], ["2"]]


def test_a_machine_that_slept_has_not_tried_for_a_day(ledger: Ledger) -> None:
    """It is given up after a day and so many tries."""
    assert next_try_s(LEAST_TRIES - 1, 0.0, 2 * TRIED_FOR_S) is not None
    assert next_try_s(LEAST_TRIES, 0.0, TRIED_FOR_S) is None
    assert next_try_s(LEAST_TRIES, 0.0, TRIED_FOR_S - 1) is not None


def test_a_clock_that_is_set_back_lets_nothing_wait_for_a_year(ledger: Ledger) -> None:
    """What is to be tried later than any pause was written by another clock."""
    put(ledger, told("1", at_s=AT_S + 365 * DAY_S))

    assert outbox.due(ledger, AT_S) == [Delivery("1", "ops")]


def test_a_success_lets_what_waits_for_the_same_recipient_be_due(ledger: Ledger) -> None:
    """A server that is back is not waited for."""
    put(ledger, told("1", "ops", "anna"), told("2"))
    for _ in range(8):
        outbox.failed(ledger, ["1"], "ops", AT_S, "refused")
        outbox.failed(ledger, ["1"], "anna", AT_S, "refused")
    outbox.sent(ledger, "2", "ops", AT_S + 1)

    assert outbox.due(ledger, AT_S + 1) == [Delivery("1", "ops", 8)]
    assert outbox.hurry(ledger, "anna", AT_S + 2) == 1
    assert len(outbox.due(ledger, AT_S + 2)) == 2


def test_who_has_it_behind_an_address_is_remembered(ledger: Ledger) -> None:
    """Over the tries, of the message that was tried and of no other."""
    put(ledger, told("1"), told("2"))
    outbox.failed(ledger, ["1", "2"], "ops", AT_S, "one refused", ["aa", "bb"])
    outbox.failed(ledger, ["1"], "ops", AT_S, "one refused", ["cc"])
    outbox.failed(ledger, ["1"], "ops", AT_S, "one refused")

    first, second = outbox.body(ledger, "1", "ops"), outbox.body(ledger, "2", "ops")

    assert first is not None
    assert second is not None
    assert (first.has_it, second.has_it) == (("aa", "bb", "cc"), ())


def test_a_message_that_alone_is_refused_does_not_keep_others_from_being_tried(ledger: Ledger) -> None:
    """Of those that were not tried because the first failed, the one that waits longest is the next first."""
    put(ledger, told("1", at_s=AT_S), told("2", at_s=AT_S + 1), told("3", at_s=AT_S + 2))
    firsts = []
    at_s = AT_S + 2
    for _ in range(4):
        ids = [one.message_id for one in outbox.due(ledger, at_s)]
        firsts.append(ids[0])
        outbox.failed(ledger, ids, "ops", at_s, "refused")
        at_s += LONGEST_PAUSE_S

    assert firsts == ["1", "2", "3", "1"]


def test_what_waits_is_bounded_in_number(ledger: Ledger) -> None:
    """The oldest makes room for the newest, and is told as given up."""
    put(ledger, *(told(str(number), at_s=AT_S + number) for number in range(MOST_WAITING + 5)))

    assert waiting(ledger) == MOST_WAITING
    lost = [one for one in outbox.undelivered(ledger, 10_000) if one.state == "given_up"]
    assert sorted(int(one.message_id) for one in lost) == [0, 1, 2, 3, 4]
    assert "dropped for newer ones" in str(lost[0].error)


def test_what_waits_is_bounded_in_bytes(ledger: Ledger) -> None:
    """A few large messages are as much as many small ones; the newest stays, however large."""
    size = MOST_WAITING_BYTES // 4
    put(ledger, *(replace(told(str(n), at_s=AT_S + n), text="x" * size, html="") for n in range(6)))
    assert sorted({one.message_id for one in outbox.due(ledger, AT_S + 6)}) == ["2", "3", "4", "5"]

    put(ledger, replace(told("9", at_s=AT_S + 9), text="x" * (2 * MOST_WAITING_BYTES), html=""))
    assert [one.message_id for one in outbox.due(ledger, AT_S + 9)] == ["9"]


def test_it_outlives_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What waits, how often it was tried and why it failed."""
    path = tmp_path_factory.mktemp("kept") / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        put(ledger, told("1"))
        outbox.failed(ledger, ["1"], "ops", AT_S, "refused")
    with Ledger.open(path) as ledger:
        (shown,) = outbox.undelivered(ledger)
        at_utc = utc_text(AT_S + FIRST_PAUSE_S)

        assert (shown.tries, shown.error, shown.next_try_utc, shown.flow) == (1, "refused", at_utc, "claims")
        with ledger.reading() as connection:
            assert not outbox.is_sent(connection, "1")
