"""Events wait for each other, never for long, and a failing write loses none."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine.errors import LedgerError
from data_engine.ledger.connection import GroupCommit
from data_engine.ledger.ledger import Ledger
from data_engine.model import Event
from tests.ledger.events import begin, end, finish, line, start

NEVER_S = 3600.0


class Paper:
    """A place to write batches to, which can be out of order."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self.failure: BaseException | None = None
        self.tried = threading.Event()
        self.written = threading.Event()

    def write(self, batch: list[Event]) -> None:
        self.tried.set()
        if self.failure is not None:
            raise self.failure
        self.batches.append(batch)
        self.written.set()


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def slow(paper: Paper) -> Iterator[GroupCommit]:
    """Writes only when flushed."""
    commit = GroupCommit(paper.write, every_s=NEVER_S)
    yield commit
    paper.failure = None
    commit.close()


@pytest.fixture
def quick(paper: Paper) -> Iterator[GroupCommit]:
    """Writes by itself after 5 ms."""
    commit = GroupCommit(paper.write, every_s=0.005)
    yield commit
    paper.failure = None
    commit.close()


def test_what_waits_is_written_together_and_in_order(paper: Paper, slow: GroupCommit) -> None:
    """An event that is written at once takes all earlier ones along."""
    slow.add(begin("r1"))
    slow.add(end("r1"))
    slow.add_and_flush(finish("r1"))
    slow.flush()

    assert paper.batches == [[begin("r1"), end("r1"), finish("r1")]]


def test_what_waits_is_written_without_a_flush(paper: Paper, quick: GroupCommit) -> None:
    """Again and again, also after the thread has slept."""
    for number in range(3):
        paper.written.clear()
        quick.add(begin("r1", number))
        assert paper.written.wait(10)

    assert [event for batch in paper.batches for event in batch] == [begin("r1", number) for number in range(3)]


def test_closing_writes_what_waits(paper: Paper) -> None:
    """Also when the thread has just begun to wait for its time."""
    commit = GroupCommit(paper.write, every_s=NEVER_S)
    commit.add(begin("r1"))
    commit.close()

    assert paper.batches == [[begin("r1")]]


def test_many_short_lives_end(paper: Paper) -> None:
    """Closing never waits for a thread that went to sleep at the wrong moment."""
    for number in range(300):
        commit = GroupCommit(paper.write, every_s=0.0)
        commit.add(begin("r1", number))
        commit.close()

    assert sum(map(len, paper.batches)) == 300


def test_a_failed_write_keeps_its_events_in_front(paper: Paper, slow: GroupCommit) -> None:
    """The next success writes all of them, in order, once."""
    slow.add(begin("r1"))
    paper.failure = LedgerError("the disk is full")
    with pytest.raises(LedgerError):
        slow.add_and_flush(finish("r1"))
    paper.failure = None
    slow.add_and_flush(start("r2"))

    assert paper.batches == [[begin("r1"), finish("r1"), start("r2")]]


def test_an_event_that_must_be_written_now_or_never_is_forgotten(paper: Paper, slow: GroupCommit) -> None:
    """What waited with it is kept."""
    slow.add(begin("r1"))
    paper.failure = LedgerError("the disk is full")
    with pytest.raises(LedgerError):
        slow.add_and_flush(end("r1"), start("r2"), forget=[start("r2")])
    paper.failure = None
    slow.flush()

    assert paper.batches == [[begin("r1"), end("r1")]]


def test_a_failure_of_the_thread_is_raised_where_the_next_event_is_added(paper: Paper, quick: GroupCommit) -> None:
    """The thread outlives it; the event is kept, and after a success nothing is raised any more."""
    paper.failure = LedgerError("the disk is full", where="here", fix="free some")
    quick.add(begin("r1"))
    assert paper.tried.wait(10)

    def add_until_it_raises() -> None:
        while True:
            quick.add(begin("r1", 1))

    with pytest.raises(LedgerError, match="the disk is full") as caught:
        add_until_it_raises()
    paper.failure = None
    assert paper.written.wait(10)
    quick.flush()
    quick.add(end("r1"))
    quick.flush()

    assert caught.value.fix == "free some"
    written = [event for batch in paper.batches for event in batch]
    assert (written[0], written[-1]) == (begin("r1"), end("r1"))
    assert set(written[1:-1]) == {begin("r1", 1)}


def test_an_interrupt_during_a_write_keeps_the_events(paper: Paper, slow: GroupCommit) -> None:
    """It goes to the caller, once; it is no failure of the file."""
    slow.add(begin("r1"))
    paper.failure = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        slow.flush()
    paper.failure = None
    slow.add(end("r1"))
    slow.flush()

    assert paper.batches == [[begin("r1"), end("r1")]]


def test_threads_lose_no_event_and_keep_each_run_in_order(ledger: Ledger) -> None:
    """Eight runs at once in one ledger."""

    def work(name: str) -> None:
        ledger.record(start(name))
        for index in range(50):
            ledger.record(begin(name, index))
            ledger.record(line(name, str(index)))
            ledger.record(end(name, index))
        ledger.record(finish(name))

    threads = [threading.Thread(target=work, args=(f"r{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number in range(8):
        assert {step.status for step in ledger.steps(f"r{number}")} == {"success"}
        assert len(ledger.steps(f"r{number}")) == 50
        assert [entry.message for entry in ledger.log(f"r{number}")] == [str(index) for index in range(50)]
    assert {run.status for run in ledger.runs()} == {"success"}


def test_starts_and_ends_are_seen_by_others_at_once(ledger: Ledger, path: Path) -> None:
    """A crash right after is a crash that is known of."""
    with Ledger.open(path) as other:
        ledger.record(start("r1"))
        started = [run.status for run in other.runs()]
        ledger.record(end("r1"))
        ledger.record(finish("r1"))

        assert started == ["started"]
        assert [run.status for run in other.runs()] == ["success"]
        assert len(other.steps("r1")) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told_to_open_its_own(ledger: Ledger, path: Path) -> None:
    """It cannot spoil what its parent records."""
    ledger.record(start("r1"))
    ledger.record(begin("r1"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ledger.close()
            for call in (ledger.flush, ledger.runs, lambda: ledger.record(finish("r1"))):
                with pytest.raises(LedgerError, match="forked"):
                    call()
            with Ledger.open(path) as own:
                own.record(start("r2"))
                own.record(finish("r2"))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    ledger.record(finish("r1"))

    assert os.waitstatus_to_exitcode(status) == 0
    assert {run.run_id: run.status for run in ledger.runs()} == {"r1": "success", "r2": "success"}
