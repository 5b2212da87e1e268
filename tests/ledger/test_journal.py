"""Journals: what a worker told is recorded, once, whoever died before the ledger had it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.cause import Cause
from data_engine.errors import LedgerError
from data_engine.ledger.journal import JournalReader, JournalWriter, event_line, events_in, recorded_later
from data_engine.ledger.ledger import Ledger
from data_engine.locks import RunnerLock
from data_engine.model import Event, LogLine, RunFinished, RunStarted, SeenSource, Signature, SourceKey, StepFinished
from tests.ledger.events import begin, end, finish, line, seen, start
from tests.support import examples

ODD = (SeenSource(SourceKey("in", "ä\udcff\n.csv"), Signature(5, 7)),)
WORK: list[Event] = [
    event
    for number, run_id in enumerate(("one", "two", "three"))
    for event in (
        start(run_id, at=10.0 * number, sees=(seen(f"{run_id}.csv"),)),
        begin(run_id, 0, at=10.0 * number + 1),
        line(run_id, "hello", at=10.0 * number + 1.5),
        line(run_id, "hello", at=10.0 * number + 1.6),
        end(run_id, 0, at=10.0 * number + 2),
        finish(run_id, at=10.0 * number + 3, seen=(seen(f"{run_id}.csv"),)),
    )
]


def killed(ledger: Ledger) -> None:
    """Leave everything as `kill -9` does: the lock is free, nothing is written, no file is removed."""
    assert ledger._runner is not None
    super(RunnerLock, ledger._runner).release()
    ledger._connection.close()


def rows(ledger: Ledger) -> object:
    runs = sorted(ledger.runs(), key=lambda run: run.started_at_utc)
    details = [(run.run_id, run.status, ledger.steps(run.run_id), ledger.log(run.run_id)) for run in runs]
    return details, [(state.key, state.status) for state in ledger.source_states("claims").values()]


def test_events_are_the_same_again() -> None:
    """Odd texts and nested parts included, and as the kinds they were."""
    events: list[Event] = [
        RunStarted("r", "f", "G", "/in/a\n.csv", 1.5, ODD[0].key, ODD),
        begin("r"),
        StepFinished("r", 0, "Read\n", "failed", 3.5, 1.0, "line 1\nline 2", ("/out/a", "/out/b")),
        LogLine("r", "f", None, "INFO", "x\r\u2028y", 4.0),
        RunFinished("r", "failed", 4.5, 3.0, "line 1\nline 2", Cause("code_raised", {"step": "Read"}), ODD),
    ]

    found = events_in(b"".join(map(event_line, events)))

    assert found == events
    assert [type(event) for event in found] == [type(event) for event in events]


@pytest.mark.parametrize("line", [b"{{{\n", b"[1]\n", b'["Nothing",1]\n', b'["RunFinished","r"]\n', b"\xff\n"])
def test_lines_that_are_no_events_are_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="is no event"):
        events_in(line)


def test_a_reader_gives_whole_lines_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of an event that is longer than one read; once each; and again from the beginning after it was emptied."""
    monkeypatch.setattr("data_engine.ledger.journal._READ_BYTES", 50)
    reader = JournalReader(tmp_path / "a.events")
    writer = JournalWriter(reader.path)
    events: list[Event] = [begin("r"), line("r", "x" * 500), finish("r")]

    found = []
    for event in events:
        writer.append(event)
        found.append(reader.read())
    torn = event_line(begin("r", 1))
    os.write(writer._file, torn[:9])
    before = reader.read()
    os.write(writer._file, torn[9:])

    assert (found, before, reader.read(), reader.read()) == ([[event] for event in events], [], [begin("r", 1)], [])
    reader.clear()
    writer.append(begin("r", 2))
    assert (reader.read(), recorded_later(reader.path)) == ([begin("r", 2)], [begin("r", 2)])
    writer.close()
    reader.close()
    assert not reader.path.exists()


def test_a_start_that_cannot_be_kept_leaves_nothing(tmp_path: Path) -> None:
    """A drive that takes half of it: an error that says the fix, and what comes later is whole."""
    resource = pytest.importorskip("resource", reason="Windows bounds no file sizes")
    reader = JournalReader(tmp_path / "a.events")
    writer = JournalWriter(reader.path)
    writer.append(begin("r"))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (reader.path.stat().st_size + 20, limit[1]))
    try:
        with pytest.raises(LedgerError, match=r"cannot be kept[\s\S]*free some space"):
            writer.begin(start("two"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    writer.begin(start("three"))

    assert reader.read() == [begin("r"), start("three")]


def test_nothing_is_written_into_a_file_that_took_the_journals_number(tmp_path: Path) -> None:
    """Author code that closes all files and opens its own keeps that one whole."""
    writer = JournalWriter(JournalReader(tmp_path / "a.events").path)
    os.close(writer._file)
    other = os.open(tmp_path / "mine.csv", os.O_WRONLY | os.O_CREAT)
    os.dup2(other, writer._file)

    with pytest.raises(OSError, match="journal was closed"):
        writer.append(begin("r"))
    assert (tmp_path / "mine.csv").read_bytes() == b""


@settings(max_examples=examples(20), deadline=None)
@given(
    told=st.integers(0, len(WORK)),
    recorded=st.integers(0, len(WORK)),
    torn=st.integers(0, 30),
    is_flushed=st.booleans(),
)
def test_a_death_at_any_moment_loses_nothing_that_was_told(
    told: int, recorded: int, torn: int, is_flushed: bool
) -> None:
    """However far the daemon was behind: afterwards the history is that of a daemon that had recorded all of it."""
    recorded = min(recorded, told)
    with tempfile.TemporaryDirectory() as name:
        lost = Ledger.open(Path(name, "lost", "ledger.sqlite"))
        reader = lost.new_journal()
        writer = JournalWriter(reader.path)
        for event in WORK[:told]:
            writer.append(event)
        if told < len(WORK):
            os.write(writer._file, event_line(WORK[told])[:torn])
        lost.record(*WORK[:recorded], has_begun=True)
        if is_flushed:
            lost.flush()
        killed(lost)
        writer.close()
        reader.close(keep=True)
        whole = Ledger.open(Path(name, "whole", "ledger.sqlite"))
        whole.record(*WORK[:told], start("other"))  # so that it has a run to lose, whatever was told
        whole.flush()
        killed(whole)

        with Ledger.open(lost.path) as found, Ledger.open(whole.path) as wanted:
            abandoned = found.recover(now_s=99.0)
            assert found.recover(now_s=99.0) == []
            assert abandoned == [run_id for run_id in wanted.recover(now_s=99.0) if run_id != "other"]
            details, states = rows(wanted)  # type: ignore[misc]
            assert rows(found) == ([one for one in details if one[0] != "other"], states)
            assert not reader.path.exists()


def test_a_ledger_that_is_closed_leaves_what_it_could_not_record(path: Path) -> None:
    """The journal stays until somebody recovers it."""
    ledger = Ledger.open(path)
    reader = ledger.new_journal()
    writer = JournalWriter(reader.path)
    for event in WORK[:6]:
        writer.append(event)
    reader.close(keep=True)
    ledger.close()

    with Ledger.open(path) as again:
        assert again.recover() == []
        assert [(run.run_id, run.status) for run in again.runs()] == [("one", "success")]
