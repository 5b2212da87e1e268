"""Polling a folder: what is handed over, when, and again when. Clocks are arguments; the files are real."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine import Flow
from data_engine.engine.candidates import content_hash
from data_engine.flow.paths import portable_text
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.rows import SourceStates
from data_engine.model import RunFinished, RunStarted, SeenSource, SourceKey, StepFinished
from data_engine.planning.due import Due, PlannedFlow, SourceRules
from data_engine.reasons.kinds import Asked, Held, Locked, Settling, Unreachable, WaitsForSettling
from data_engine.reasons.remedies import Reason
from data_engine.scheduler.folder_poller import FolderPoller, KnownSources
from data_engine.scheduler.scanner import FileEvents
from tests.support import examples, said_of_nothing


@pytest.fixture(autouse=True)
def closed_ledgers() -> Iterator[None]:
    """From Python 3.13 on a database that nobody closes is warned of."""
    yield
    while Watched.open:
        Watched.open.pop().close()


class Watched:
    """A watched folder with its ledger, on clocks that stand still until told."""

    open: ClassVar[list[Ledger]] = []

    def __init__(self, folder: Path, **options: Any) -> None:
        self.root = (folder / "in").resolve()
        self.root.mkdir(parents=True)
        self.now_s = 1000.0
        self.runs = 0
        self.under_way: set[str] = set()
        self.ledger = Ledger.open(folder / "ledger.sqlite")
        self.open.append(self.ledger)
        given = {"mode": "poll", "source": self.root, "interval": "10s", "settle": 0, **options}
        self.watch = PlannedFlow.of(Flow("G", "claims").watch(**given))
        self.restart()

    def restart(self, *, frees_held: bool = True, rules: SourceRules | None = None) -> None:
        self.poller = FolderPoller(
            self.watch,
            read=lambda: KnownSources(self.ledger.source_states("claims"), self.ledger.outputs("claims")),
            rules=rules,
            under_way=self.under_way,
            clock=lambda: self.now_s,
            wall=lambda: self.now_s,
        )
        if frees_held:
            self.poller.free()

    def look(self, after_s: float = 10.0) -> list[Due]:
        self.now_s += after_s
        return self.poller.poll()

    def names(self, after_s: float = 10.0) -> list[str]:
        return [self.poller.name_of(due) for due in self.look(after_s)]

    def run(self, due: Due, status: str = "success", *, outputs: tuple[Path, ...] = (), error: str = "boom") -> str:
        self.begin(due, outputs=outputs)
        return self.end(due, status, error=error)

    def begin(self, due: Due, *, outputs: tuple[Path, ...] = ()) -> None:
        self.runs += 1
        self.hear(RunStarted(f"r{self.runs}", "claims", "G", None, self.now_s, due.key, due.seen))
        if outputs:
            paths = tuple(map(str, outputs))
            self.hear(StepFinished(f"r{self.runs}", 0, "Write", "success", self.now_s, 0.1, None, paths))

    def end(self, due: Due, status: str = "success", *, error: str = "boom") -> str:
        wrong = None if status == "success" else error
        self.hear(RunFinished(f"r{self.runs}", status, self.now_s, 0.1, wrong, None, due.seen))
        return f"r{self.runs}"

    def hear(self, event: RunStarted | StepFinished | RunFinished) -> None:
        self.ledger.record(event)
        self.poller.note(event)

    def kinds(self) -> dict[str, str]:
        return {verdict.key.path: verdict.why.kind for verdict in self.poller.verdicts() if verdict.key is not None}

    def reasons(self) -> dict[str, Reason]:
        return {verdict.key.path: verdict.why for verdict in self.poller.verdicts() if verdict.key is not None}

    def write(self, name: str, text: str = "x") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "watched")


def test_a_file_is_handed_over_once_until_its_run_has_ended(watched: Watched) -> None:
    watched.write("b.csv")
    watched.write("a.csv")

    dues = watched.look(0)

    assert [watched.poller.name_of(due) for due in dues] == ["a.csv", "b.csv"]
    assert watched.names() == []
    assert set(watched.kinds().values()) == {"running"}
    for due in dues:
        watched.run(due)
    assert watched.names() == []
    assert set(watched.kinds().values()) == {"done"}


def slow_scan(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a folder takes a second."""
    read = watched.poller._scanner._read

    def reading(*given: Any) -> set[str]:
        watched.now_s += 1
        return read(*given)

    monkeypatch.setattr(watched.poller._scanner, "_read", reading)


def test_a_new_file_need_not_wait_for_the_first_scan_to_end(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that changed last is looked at first, and what it has is handed over before the others are seen."""
    for number in range(5):
        watched.write(f"{number}/old.csv")
        os.utime(watched.root / str(number), (number, number))
    for due in watched.look(0):
        watched.run(due)
    watched.write("2/new.csv")
    watched.write("4/old.csv", "changed")
    watched.restart()
    slow_scan(watched, monkeypatch)

    found = [watched.names(0) for _ in range(7)]

    assert [one for one in found if one] == [["2/new.csv"], ["4/old.csv"]]
    assert found[0] == ["2/new.csv"]
    assert watched.poller.next_look_s > watched.now_s
    assert len(list(watched.poller.verdicts())) == 6


def test_what_is_told_during_a_first_scan_is_looked_at_after_it(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        watched.write(f"{number}/old.csv")
        os.utime(watched.root / str(number), (number, number))
    slow_scan(watched, monkeypatch)
    found = [watched.names(0), watched.names(0)]
    path = watched.write("2/late.csv")
    watched.poller.hint(str(path))

    found += [watched.names(0) for _ in range(4)]

    assert [name for names in found for name in names] == ["2/old.csv", "1/old.csv", "0/old.csv", "2/late.csv"]


def test_a_batch_waits_for_the_whole_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path / "w", run_as="batch")
    for number in range(3):
        watched.write(f"{number}/a.csv")
    slow_scan(watched, monkeypatch)

    (due,) = watched.look(0)

    assert len(due.seen) == 3


def test_the_backlog_settles_as_well(tmp_path: Path) -> None:
    """A file that is being written when the engine starts is not taken half."""
    watched = Watched(tmp_path / "w", settle=2)
    watched.write("a.csv", "half")

    assert watched.names(0) == []
    assert watched.reasons() == {"a.csv": Settling(2.0)}
    assert watched.poller.next_look_s == watched.now_s + 2
    watched.write("a.csv", "whole file")
    assert watched.names(2) == []
    assert watched.names(1.99) == []
    assert watched.names(0.01) == ["a.csv"]


def test_what_comes_at_about_the_same_time_is_taken_together_by_path(tmp_path: Path) -> None:
    """Whatever the order of its events; what comes later has its own time, and holds up nobody."""
    watched = Watched(tmp_path / "w", settle=2, interval="15m")
    watched.look(0)
    watched.look(0)
    for name in ("f.csv", "sub/x.csv", "c.csv", "a.csv"):
        watched.poller.hint(str(watched.write(name)))
        assert watched.names(0.05) == []
    watched.poller.hint(str(watched.write("late.csv")))
    assert watched.names(0.5) == []

    watched.now_s = watched.poller.next_look_s
    assert watched.names(0) == ["a.csv", "c.csv", "f.csv", "sub/x.csv"]
    watched.now_s = watched.poller.next_look_s
    assert watched.names(0) == ["late.csv"]


def test_a_second_sighting_needs_no_scan(tmp_path: Path) -> None:
    """With an interval of a quarter of an hour a file settles in its two seconds all the same."""
    watched = Watched(tmp_path / "w", settle=2, interval="15m")
    watched.look(0)
    path = watched.write("a.csv")

    watched.poller.hint(str(path))
    assert watched.names(5) == []
    assert watched.poller.next_look_s == watched.now_s + 2
    assert watched.names(2) == ["a.csv"]


def test_a_file_that_changes_while_it_is_read_is_due_again(watched: Watched) -> None:
    watched.write("a.csv", "one")
    (due,) = watched.look()
    watched.begin(due)
    watched.write("a.csv", "other")
    assert watched.names() == []
    watched.end(due)

    (again,) = watched.look()
    assert again.seen[0].signature.size_bytes == 5
    watched.run(again)
    assert watched.names() == []


@pytest.mark.parametrize("status", ["failed", "stopped", "killed"])
def test_a_bad_end_holds_the_file_until_it_changes(watched: Watched, status: str) -> None:
    watched.write("a.csv")
    (due,) = watched.look()
    watched.run(due, status)

    assert watched.names() == []
    assert isinstance(held := watched.reasons()["a.csv"], Held)
    assert (held.status, held.error) == (status, "boom")
    watched.write("a.csv", "repaired")
    assert watched.names() == ["a.csv"]


@pytest.mark.parametrize("run_as", ["individual", "batch"])
def test_what_is_held_is_counted_as_it_is_explained(tmp_path: Path, run_as: str) -> None:
    """Through failures, runs by hand, files that change or go, a retry, and another machine's writes."""
    watched = Watched(tmp_path / run_as, run_as=run_as)
    counts = []

    def see() -> None:
        assert watched.look() == []
        held = [path for path, reason in watched.reasons().items() if path and isinstance(reason, Held)]
        assert watched.poller.held == len(held)
        counts.append(len(held))

    def by_hand(name: str, status: str) -> None:
        seen = watched.poller._scanner.signature(name)
        assert seen is not None
        watched.run(Due(None, Asked(), (SeenSource(watched.watch.key(name), seen),)), status)

    for name in ("a.csv", "b.csv", "c.csv"):
        watched.write(name)
    for due in watched.look():
        watched.run(due, "failed")
    see()
    by_hand("a.csv", "success")
    see()
    by_hand("a.csv", "failed")
    see()
    (watched.root / "c.csv").unlink()
    see()
    watched.write("b.csv", "repaired")
    for due in watched.look():
        watched.run(due)
    see()
    watched.poller.free()
    for due in watched.look():
        watched.run(due, "killed")
    see()
    by_hand("b.csv", "failed")
    see()
    watched.hear = watched.ledger.record  # type: ignore[method-assign]  # in another process
    by_hand("b.csv", "success")
    watched.poller.reload()
    see()

    assert counts == {"individual": [3, 2, 3, 2, 1, 1, 2, 1], "batch": [3, 2, 3, 2, 0, 0, 1, 0]}[run_as]


def test_a_person_who_starts_the_engine_frees_what_is_held_and_its_own_return_does_not(watched: Watched) -> None:
    watched.write("a.csv")
    (due,) = watched.look()
    watched.run(due, "failed")

    watched.restart(frees_held=False)
    assert watched.names() == []
    watched.restart(frees_held=True)
    (again,) = watched.look()
    watched.run(again, "failed")
    assert watched.names() == []


def test_a_file_can_be_freed_alone(watched: Watched) -> None:
    watched.write("a.csv")
    watched.write("b.csv")
    for due in watched.look():
        watched.run(due, "failed")
    assert watched.names() == []

    watched.poller.free(frozenset({watched.watch.key("b.csv")}))

    assert watched.names() == ["b.csv"]


def test_retries_come_by_themselves_and_end(watched: Watched) -> None:
    watched.restart(rules=SourceRules(retries=2, retry_delay_s=30))
    watched.write("a.csv")
    (due,) = watched.look()
    watched.run(due, "failed")

    assert watched.names(29) == []
    assert watched.kinds()["a.csv"] == "retry_later"
    ((path, why),) = watched.poller.retries_to_come
    assert (Path(path).name, why.attempt, watched.poller.held) == ("a.csv", 1, 0)
    assert watched.poller.next_look_s == watched.now_s + 1
    (due,) = watched.look(1)
    assert watched.poller.retries_to_come == []
    watched.run(due, "failed")
    assert watched.names(59) == []
    (due,) = watched.look(1)
    watched.run(due, "failed")
    assert watched.names(9999) == []
    assert watched.kinds()["a.csv"] == "held"
    assert (watched.poller.retries_to_come, watched.poller.held) == ([], 1)


def test_a_change_counts_failures_anew(watched: Watched) -> None:
    watched.restart(rules=SourceRules(retries=1, retry_delay_s=30))
    for text in ("one", "other"):
        watched.write("a.csv", text)
        (due,) = watched.look()
        watched.run(due, "failed")
        (due,) = watched.look(30)
        watched.run(due, "failed")
        assert watched.names(9999) == []


def test_what_the_flow_writes_into_its_source_is_no_source(watched: Watched) -> None:
    watched.write("a.csv")
    (due,) = watched.look()
    watched.run(due, outputs=(watched.write("result.csv"),))

    assert watched.names() == []
    assert watched.kinds()["result.csv"] == "own_output"
    watched.restart()
    assert watched.names() == []


def test_a_step_that_returns_files_it_only_read_takes_no_source_away(watched: Watched) -> None:
    """Steps often return `context.source.path`, or a listing of the folder."""
    one, two = watched.write("a.csv"), watched.write("b.csv")
    first, second = watched.look()
    watched.now_s += 1
    watched.run(first, outputs=(one, two))
    assert watched.names() == []
    watched.run(second)

    watched.write("a.csv", "new")
    watched.write("b.csv", "new")

    assert watched.names() == ["a.csv", "b.csv"]


def test_a_listing_takes_no_source_away_that_still_settles(tmp_path: Path) -> None:
    """Also not when the ledger, which holds every file a step returned, is read again."""
    watched = Watched(tmp_path / "w", settle=20)
    one = watched.write("a.csv")
    watched.look()
    (due,) = watched.look(20)
    two = watched.write("b.csv")
    watched.look()
    watched.now_s += 1
    watched.run(due, outputs=(one, two))
    watched.poller.reload()

    assert watched.names(19) == ["b.csv"]


def test_a_file_seen_while_the_run_writes_it_is_no_source(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "w", settle=20)
    watched.write("a.csv")
    watched.look()
    (due,) = watched.look(20)
    watched.begin(due)
    result = watched.write("result.csv")
    assert watched.names() == []
    watched.hear(StepFinished("r1", 0, "Write", "success", watched.now_s, 0.1, None, (str(result),)))
    watched.end(due)

    assert watched.names(60) == []
    assert watched.kinds()["result.csv"] == "own_output"


def test_a_file_given_back_is_judged_again(watched: Watched) -> None:
    """It changed, or went away, between being found due and its run."""
    kept, gone = watched.write("a.csv"), watched.write("b.csv")
    first, second = watched.look()
    kept.write_text("longer")
    gone.unlink()
    watched.poller.give_back(first)
    watched.poller.give_back(second)

    (again,) = watched.look(0)

    assert again.seen[0].signature.size_bytes == 6
    watched.poller.give_back(first)
    assert watched.names(0) == []


@pytest.mark.parametrize("settle", [0, 3])
@pytest.mark.parametrize("by_content", [False, True])
def test_a_file_that_nobody_may_read_now_is_told_and_runs_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settle: int, by_content: bool
) -> None:
    """As a program has it that copies a large file on Windows; nothing of it changes when it is free, so nothing else tells."""
    watched = Watched(tmp_path / "watched", settle=settle)
    watched.restart(rules=SourceRules(by_content=by_content))
    locked = {"a.csv"}
    holder = "Microsoft Excel (process 7)"
    monkeypatch.setattr(
        "data_engine.scheduler.scanner.who_locks", lambda path: holder if os.path.basename(path) in locked else None
    )
    watched.write("a.csv")
    watched.write("b.csv")

    assert watched.names(0) + watched.names(settle) == ["b.csv"]
    assert watched.reasons()["a.csv"] == Locked(holder)
    wait_s = watched.poller.next_look_s - watched.now_s
    assert watched.names(wait_s) == []
    assert watched.reasons()["a.csv"] == Locked(holder)
    locked.clear()
    assert watched.names(wait_s / 2) == []
    assert watched.names(wait_s / 2) == ["a.csv"]
    assert wait_s == max(settle, 1)


def test_a_batch_waits_until_everybody_may_read_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path / "watched", run_as="batch")
    locked = {"a.csv"}
    monkeypatch.setattr(
        "data_engine.scheduler.scanner.who_locks", lambda path: "Excel" if os.path.basename(path) in locked else None
    )
    watched.write("a.csv")
    watched.write("b.csv")

    assert watched.look(0) == []
    assert watched.kinds()[""] == "locked"
    locked.clear()
    (due,) = watched.look(2)
    assert [seen.key.path for seen in due.seen] == ["a.csv", "b.csv"]


def test_a_share_that_is_away_is_told_and_outlived(watched: Watched) -> None:
    """What was done stays done, what waited still waits, and what failed is still held."""
    for name in ("bad.csv", "good.csv"):
        watched.write(name)
    bad, good = watched.look()
    watched.run(bad, "failed")
    watched.run(good)
    watched.look()
    away = watched.root.rename(watched.root.with_name("away"))

    assert watched.names() == []
    since = watched.poller.unreachable
    assert since is not None
    assert isinstance(away_why := watched.reasons()[""], Unreachable)
    assert away_why.error.endswith(said_of_nothing())
    assert watched.names() == []
    assert watched.poller.unreachable is since
    away.rename(watched.root)
    watched.write("new.csv")
    assert watched.names() == ["new.csv"]
    assert watched.poller.unreachable is None


def test_a_folder_that_is_emptied_for_a_while_makes_nothing_due(watched: Watched) -> None:
    """An unmounted share often is an empty folder."""
    path = watched.write("a.csv")
    (due,) = watched.look()
    watched.run(due)
    watched.look()
    path.rename(watched.root.with_name("a.csv"))
    assert watched.names() == []
    watched.root.with_name("a.csv").rename(path)

    assert watched.names() == []


def test_a_touched_file_with_equal_content_is_not_run_again_where_content_decides(watched: Watched) -> None:
    watched.restart(rules=SourceRules(by_content=True))
    path = watched.write("a.csv", "one")
    (due,) = watched.look()
    assert due.seen[0].signature.content_hash is not None
    watched.run(due)

    os.utime(path, (5, 5))
    assert watched.names() == []
    path.write_text("two")
    assert watched.names() == ["a.csv"]


@pytest.mark.parametrize("run_as", ["individual", "batch"])
def test_a_file_whose_content_is_in_a_cloud_is_not_fetched_to_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_as: str
) -> None:
    """As OneDrive has it: size and time decide then, and only the run that is due reads it. One that is here is read as ever."""
    watched = Watched(tmp_path / "watched", run_as=run_as)
    watched.restart(rules=SourceRules(by_content=True))
    read: list[str] = []
    elsewhere: set[int] = set()

    def reads(path: str) -> str | None:
        read.append(os.path.basename(path))
        return content_hash(path)

    monkeypatch.setattr("data_engine.scheduler.folder_poller.content_hash", reads)
    monkeypatch.setattr("data_engine.scheduler.scanner.is_placeholder", lambda facts: facts.st_ino in elsewhere)
    path = watched.write("a.csv", "one")
    elsewhere.add(path.stat().st_ino)

    (due,) = watched.look()
    watched.run(due)
    assert watched.look() == []
    os.utime(path, (5, 5))
    (due,) = watched.look()
    assert due.seen[0].signature.content_hash is None
    watched.run(due)
    assert read == []

    elsewhere.clear()
    os.utime(path, (6, 6))
    (due,) = watched.look()
    watched.run(due)
    assert read == ["a.csv"]
    os.utime(path, (7, 7))
    assert watched.look() == []
    os.utime(path, (6, 6))
    elsewhere.add(path.stat().st_ino)  # what is done may be sent there again, with its size and time
    watched.restart(rules=SourceRules(by_content=True))
    assert watched.look() == []


def test_what_others_wrote_into_the_ledger_counts_after_a_reload(watched: Watched) -> None:
    """Another process ran the held file; a third reset everything."""
    watched.write("a.csv")
    (due,) = watched.look()
    watched.run(due, "failed")
    watched.look()
    watched.ledger.record(RunStarted("theirs", "claims", "G", None, watched.now_s, due.key, due.seen))
    watched.ledger.record(RunFinished("theirs", "success", watched.now_s, 0.1, None, None, due.seen))

    watched.poller.reload()
    assert watched.names() == []
    assert watched.kinds()["a.csv"] == "done"
    watched.ledger.reset_flow("claims")
    watched.poller.reload()
    assert watched.names() == ["a.csv"]


# -- batches ------------------------------------------------------------------------------------------------------


@pytest.fixture
def batch(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "batch", run_as="batch")


def test_a_batch_settles_all_it_started_with_and_no_more(batch: Watched) -> None:
    """A file that came meanwhile makes it due again; after a restart nothing does."""
    batch.write("a.csv")
    batch.write("b.csv")
    (due,) = batch.look()
    batch.begin(due)
    batch.write("late.csv")
    assert batch.look() == []
    batch.end(due)

    (again,) = batch.look()
    assert [seen.key.path for seen in again.seen] == ["a.csv", "b.csv", "late.csv"]
    batch.run(again)
    assert batch.look() == []
    batch.restart()
    assert batch.look() == []


def test_a_deletion_starts_no_batch(batch: Watched) -> None:
    path = batch.write("a.csv")
    batch.write("b.csv")
    (due,) = batch.look()
    batch.run(due)
    path.unlink()

    assert batch.look() == []


def test_a_batch_waits_for_the_last_file_to_settle(tmp_path: Path) -> None:
    batch = Watched(tmp_path / "b", run_as="batch", settle=5)
    batch.write("a.csv")
    assert batch.look(0) == []
    batch.poller.hint(str(batch.write("b.csv")))
    assert batch.look(3) == []

    assert batch.look(3) == []
    assert batch.reasons()[""] == WaitsForSettling(1, 2.0)
    assert len(batch.look(2)) == 1


def test_a_failed_batch_is_held_until_something_changes(batch: Watched) -> None:
    batch.write("a.csv")
    (due,) = batch.look()
    batch.run(due, "failed")
    assert batch.look() == []
    assert batch.kinds()[""] == "held"

    batch.write("b.csv")

    assert len(batch.look()) == 1


def test_a_batch_that_was_given_back_is_judged_again(batch: Watched) -> None:
    batch.write("a.csv")
    (due,) = batch.look()

    batch.poller.give_back(due)

    assert len(batch.look(0)) == 1


def test_a_single_file_is_watched_alike(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "w")
    path = watched.write("rates.csv")
    for run_as in ("individual", "batch"):
        watched.watch = PlannedFlow.of(
            Flow("G", "claims").watch(mode="poll", source=path, interval="10s", settle=0, run_as=run_as)
        )
        watched.restart()
        path.write_text(run_as)
        (due,) = watched.look()
        assert (due.key, [seen.key.path for seen in due.seen]) == (watched.watch.key(""), [""])
        watched.run(due)
        assert watched.look() == []


# -- cadence ------------------------------------------------------------------------------------------------------


class SlowClock:
    """Every reading is so much later: a scan seems to take that long."""

    def __init__(self, step_s: float) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def test_scans_take_at_most_a_tenth_of_the_time(tmp_path: Path) -> None:
    """A scan of three seconds on a share, with an interval of one second."""
    watched = Watched(tmp_path / "w", interval="1s")
    clock = SlowClock(0.0)
    poller = FolderPoller(watched.watch, read=lambda: KnownSources(SourceStates("claims")), clock=clock)
    clock.step_s = 3.0

    poller.poll()

    assert poller.looks.every_s >= 30


def test_the_interval_is_kept_where_scans_are_quick(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "w", interval="10s")
    watched.look(0)

    assert watched.poller.looks.every_s == 10
    assert watched.poller.next_look_s == watched.now_s + 10


class LateEvents(FileEvents):
    """Events that begin a while after they were asked for; a file comes before they do."""

    def __init__(self, before: Callable[[], object]) -> None:
        super().__init__()
        self.before = before

    def watch(self, folder: Path, tell: Callable[[str], None], *, recursive: bool) -> Callable[[], None]:
        self.before()
        return lambda: None


def test_what_comes_before_the_first_event_and_after_the_first_scan_is_seen_at_once(tmp_path: Path) -> None:
    """Not an hour later."""
    watched = Watched(tmp_path / "w", interval="1h")
    events = LateEvents(lambda: watched.write("between.csv"))
    poller = FolderPoller(
        watched.watch, read=lambda: KnownSources(SourceStates("claims")), events=events, clock=lambda: watched.now_s
    )
    poller.poll()
    assert watched.now_s <= poller.next_look_s < watched.now_s + 1
    watched.now_s = poller.next_look_s

    assert [poller.name_of(due) for due in poller.poll()] == ["between.csv"]
    assert poller.next_look_s > watched.now_s + 3000


# -- the ledger agrees --------------------------------------------------------------------------------------------


@settings(max_examples=examples(15), deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["success", "failed", "stopped", "killed", "abandoned"]), st.booleans()), max_size=8
    )
)
def test_what_the_lookout_remembers_is_what_the_ledger_would_say(
    tmp_path_factory: pytest.TempPathFactory, ends: list[tuple[str, bool]]
) -> None:
    """So a restart decides as the engine that was there would have."""
    watched = Watched(tmp_path_factory.mktemp("agree"))
    size = 0
    for status, is_changed in ends:
        size += is_changed
        watched.write("a.csv", "x" * size)
        for due in watched.look():
            watched.run(due, status)
        watched.look(0)

        assert watched.poller._memory.states == watched.ledger.source_states("claims")
    watched.ledger.close()


def test_names_are_known_in_one_spelling_whatever_the_drive_writes(watched: Watched) -> None:
    """A Mac writes letters and accents apart; the key is the same for every workstation, the path is the drive's."""
    apart = "Pra\u0308mien.csv"
    watched.write(apart)

    (due,) = watched.look()

    assert due.key == SourceKey(portable_text(watched.root), "Pr\u00e4mien.csv")
    assert watched.poller.name_of(due) == apart
    watched.run(due)
    assert watched.names() == []


NFC, NFD = "\u00e9.csv", "e\u0301.csv"


def test_two_files_that_people_read_the_same_are_two(watched: Watched) -> None:
    """Each is run once, whichever was there first and whichever is run first; alone, a name has one key in both spellings."""
    for name in (NFC, NFD):
        watched.write(name, name)
    due = watched.look()
    assert {watched.poller.name_of(one) for one in due} == {NFC, NFD}
    for one in due:
        watched.run(one)
    assert watched.look() == []
    watched.restart()
    assert watched.look() == []

    (watched.root / NFC).unlink()
    watched.write(NFD, "changed")
    (due_again,) = watched.look()
    assert due_again.key is not None
    assert due_again.key.path == NFC


def test_a_file_that_comes_while_one_of_the_same_reading_runs_is_run_after_it(watched: Watched) -> None:
    watched.write(NFD, "first")
    (first,) = watched.look()
    watched.begin(first)
    watched.write(NFC, "second")
    during = watched.names()
    watched.end(first)
    after = watched.look()
    for one in after:
        watched.run(one)
    assert [*during, *(watched.poller.name_of(one) for one in after)].count(NFC) == 1
    while again := watched.look():
        assert [watched.poller.name_of(one) for one in again] == [NFD]  # done again rather than never
        for one in again:
            watched.run(one)
    assert set(watched.reasons()) == {NFC, NFD}


# -- what may be an output ----------------------------------------------------------------------------------------


def hand_out(watched: Watched) -> Due:
    """A source whose run `r1` is under way, as the dispatcher tells before it begins; nothing was heard of it yet."""
    watched.write("a.csv")
    (due,) = watched.look()
    watched.under_way.add("r1")
    return due


def test_a_file_seen_before_its_run_has_said_anything_waits_for_its_report(watched: Watched) -> None:
    """However long the report takes; then it is an output, and what somebody dropped meanwhile is due."""
    due = hand_out(watched)
    written, dropped = watched.write("done_a.csv"), watched.write("dropped.csv")

    assert watched.names() == []
    assert watched.names(1000) == []
    assert watched.kinds()["done_a.csv"] == "may_be_output"
    watched.run(due, outputs=(written,))

    assert watched.names(0) == [dropped.name]
    assert watched.kinds()["done_a.csv"] == "own_output"


def test_a_run_that_never_began_is_waited_for_no_longer(watched: Watched) -> None:
    due = hand_out(watched)
    watched.write("dropped.csv")
    assert watched.names() == []

    watched.under_way.clear()
    watched.poller.give_back(due)

    assert watched.names(0) == ["a.csv", "dropped.csv"]


@pytest.mark.parametrize("writes_beside", [True, False])
def test_new_sources_of_a_parallel_flow_wait_for_no_run_of_a_flow_that_writes_elsewhere(
    tmp_path: Path, writes_beside: bool
) -> None:
    """Known from a good run of the same code."""
    watched = Watched(tmp_path, max_parallel=2)
    watched.write("a.csv")
    (due,) = watched.look()
    watched.run(due, outputs=(watched.write("done_a.csv"),) if writes_beside else ())
    watched.write("b.csv")
    (slow,) = watched.look()
    watched.begin(slow)

    watched.write("c.csv")

    assert watched.names() == ([] if writes_beside else ["c.csv"])
    watched.poller.expect_new_code()
    watched.write("d.csv")
    assert watched.names() == []
    watched.end(slow)
    assert watched.names() == (["c.csv", "d.csv"] if writes_beside else ["d.csv"])


def test_edited_rules_hold_for_what_has_failed_before(watched: Watched) -> None:
    watched.write("a.csv")
    (due,) = watched.look()
    watched.run(due, "failed")
    assert watched.names() == []
    assert watched.poller.held == 1

    watched.poller.use_rules(SourceRules(retries=1, retry_delay_s=5.0))

    assert watched.names(0) == ["a.csv"]


# -- what others wait for ----------------------------------------------------------------------------------------------


def backlog(watched: Watched) -> list[tuple[str, int]]:
    return sorted((key.path, size) for key, size, _ in watched.poller.backlog().open)


def test_what_is_due_settles_or_runs_is_waited_for_and_no_more_when_it_has_run(tmp_path: Path) -> None:
    """Of a file that changes while it runs both contents."""
    watched = Watched(tmp_path / "watched", settle=5)
    watched.write("a.csv")
    watched.look(0)
    assert backlog(watched) == [("a.csv", 1)]

    (due,) = watched.look()
    assert backlog(watched) == [("a.csv", 1)]
    watched.begin(due)
    watched.write("a.csv", "new")
    watched.look()
    assert backlog(watched) == [("a.csv", 1), ("a.csv", 3)]

    watched.end(due)
    watched.look(1)
    assert backlog(watched) == [("a.csv", 3)]
    (due,) = watched.look()
    watched.run(due)
    watched.look()
    assert backlog(watched) == []


def test_what_is_held_tried_again_later_or_out_of_reach_is_not_waited_for(watched: Watched) -> None:
    watched.write("a.csv")
    (due,) = watched.look(0)
    watched.run(due, "failed")
    watched.look()
    assert (watched.kinds(), backlog(watched)) == ({"a.csv": "held"}, [])

    watched.restart(frees_held=False, rules=SourceRules(retries=3, retry_delay_s=600.0))
    watched.write("b.csv")
    (due,) = [due for due in watched.look(0) if watched.poller.name_of(due) == "b.csv"]
    watched.run(due, "failed")
    watched.look(0.1)
    assert (watched.kinds()["b.csv"], backlog(watched)) == ("retry_later", [])

    watched.write("c.csv")
    watched.root.rename(watched.root.with_name("away"))
    watched.look()
    assert (isinstance(watched.poller.unreachable, Unreachable), backlog(watched)) == (True, [])


def test_a_look_that_is_to_be_fresh_does_not_wait_for_its_interval(watched: Watched) -> None:
    watched.look(0)
    watched.write("a.csv")
    assert watched.names(0.5) == []

    watched.now_s += 0.5
    dues = watched.poller.poll(fresh_s=watched.now_s)

    assert [watched.poller.name_of(due) for due in dues] == ["a.csv"]
    assert watched.poller.backlog().looked_s == watched.now_s
