"""A run whose process died becomes `abandoned`; a living one's never."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from data_engine.cause import Cause
from data_engine.ledger.ledger import Ledger
from data_engine.model import Signature, SourceKey, Switch, utc_text
from tests.ledger.events import begin, end, finish, line, seen, start
from tests.support import end_now

RECORD = """
import os, sys
from pathlib import Path
from data_engine.ledger.ledger import Ledger
from tests.ledger.events import begin, end, finish, line, seen, start
ledger = Ledger.open(Path(sys.argv[1]))
ledger.record(start("done", sees=(seen("done.csv"),)))
ledger.record(finish("done", seen=(seen("done.csv"),)))
ledger.record(start("open", at=5.0, sees=(seen("open.csv", size=7),)))
ledger.record(end("open", 0))
ledger.record(begin("open", 1))
ledger.flush()
print("recorded", os.getpid(), flush=True)
sys.stdin.read()
"""


class Recorder(NamedTuple):
    """A process that records, with its own number: in an environment on Windows the one that is started is a launcher."""

    process: subprocess.Popen[str]
    pid: int


@pytest.fixture
def recorder(path: Path) -> Recorder:
    """A process with one run done and one in its second step."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", RECORD, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    said, pid = process.stdout.readline().split()
    assert said == "recorded"
    return Recorder(process, int(pid))


def kill(recorder: Recorder) -> None:
    end_now(recorder.pid)
    recorder.process.communicate()


def test_whoever_ended_the_process_says_why(recorder: Recorder, path: Path) -> None:
    """A person who has killed a daemon is told so, and not that it died."""
    with Ledger.open(path) as ledger:
        kill(recorder)
        ledger.recover(why=Cause("daemon_killed"))
        run = ledger.run("open")

        assert run is not None
        assert run.cause == "the daemon was killed, and its runs with it"


def test_a_killed_process_leaves_abandoned_runs(recorder: Recorder, path: Path) -> None:
    """Its open run, its open step and its source say so; what it had ended stays; nothing is done twice."""
    kill(recorder)
    with Ledger.open(path) as ledger:
        abandoned = ledger.recover(now_s=50.0)
        again = ledger.recover(now_s=99.0)
        run = ledger.run("open")

        assert (abandoned, again) == (["open"], [])
        assert run is not None
        assert (run.status, run.why, run.finished_at_utc, run.elapsed_s) == (
            "abandoned",
            Cause("process_gone", {"pid": recorder.pid}),
            utc_text(50),
            None,
        )
        assert [(step.status, step.finished_at_utc) for step in ledger.steps("open")] == [
            ("success", utc_text(2)),
            ("abandoned", utc_text(50)),
        ]
        states = {key.path: state for key, state in ledger.source_states("claims").items()}
        assert {name: state.status for name, state in states.items()} == {
            "done.csv": "success",
            "open.csv": "abandoned",
        }
        assert states["open.csv"].last == Signature(7, 100)
        assert states["open.csv"].success is None
        assert [run.status for run in ledger.runs("claims")] == ["abandoned", "success"]
        assert ledger.running() == []
    assert list((path.parent / "runners").iterdir()) == []


def test_a_living_process_keeps_its_runs(recorder: Recorder, path: Path) -> None:
    """Whoever asks, how often so ever."""
    with Ledger.open(path) as ledger:
        abandoned = [ledger.recover() for _ in range(3)]
        running = [(run.run_id, pid) for run, pid in ledger.running_with_pids()]
        kill(recorder)

        assert abandoned == [[], [], []]
        assert running == [("open", recorder.pid)]
        assert ledger.recover() == ["open"]


def test_other_ledgers_and_threads_of_this_process_keep_their_runs(ledger: Ledger, path: Path) -> None:
    """A process that looks at itself finds itself alive."""
    ledger.record(start("r1"))
    found: list[list[str]] = []

    def look() -> None:
        with Ledger.open(path) as other:
            other.record(start("r2"))
            found.append(other.recover())
            other.record(finish("r2"))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert (found, ledger.recover()) == ([[]], [])
    assert [run.run_id for run in ledger.running()] == ["r1"]


def test_a_ledger_closed_in_the_middle_of_a_run_abandons_it(path: Path) -> None:
    """Nobody is left who could end it."""
    with Ledger.open(path) as ledger:
        ledger.record(start("r1"))
    with Ledger.open(path) as ledger:
        assert ledger.recover() == ["r1"]


def test_abandoned_in_a_row_is_counted_and_ends_with_any_other_end(path: Path) -> None:
    """Once is due at once, twice is held; so the number is kept with the source."""
    counts = []
    for number, ending in enumerate((None, None, "failed", None, "success")):
        with Ledger.open(path) as ledger:
            ledger.record(start(f"r{number}", at=number, sees=(seen(),)))
            if ending:
                ledger.record(finish(f"r{number}", ending, at=number + 0.5, seen=(seen(),)))
        with Ledger.open(path) as ledger:
            ledger.recover()
            counts.append(ledger.source_states("claims")[SourceKey("../in", "a.csv")].abandoned_in_a_row)

    assert counts == [1, 2, 0, 1, 0]


def test_an_abandoned_source_keeps_what_succeeded_before(path: Path) -> None:
    """Also one whose name is no UTF-8."""
    odd = seen("a\udcff.csv")
    with Ledger.open(path) as ledger:
        ledger.record(start("r1", sees=(odd,)))
        ledger.record(finish("r1", seen=(odd,)))
        ledger.record(start("r2", at=4.0, sees=(odd,)))
    with Ledger.open(path) as ledger:
        ledger.recover()
        (state,) = ledger.source_states("claims").values()

    assert (state.key, state.status, state.success, state.last_run_id) == (
        odd.key,
        "abandoned",
        odd.signature,
        "r2",
    )


def test_runs_of_another_machine_are_not_ours_to_abandon(ledger: Ledger) -> None:
    """A published run whose runner is unknown here stays as its owner published it."""
    ledger.record(start("r1"))
    with ledger.writing() as (connection, _):
        connection.execute("UPDATE runs SET runner_id = 'elsewhere'")

    assert ledger.recover() == []
    assert [run.status for run in ledger.runs()] == ["started"]
    assert ledger.running_with_pids() == []


def test_reading_makes_no_runner(ledger: Ledger, path: Path) -> None:
    """A ledger that only answers, or only keeps switches, leaves no lock file."""
    ledger.runs()
    ledger.recover()
    ledger.set_switch("claims", Switch(True))
    ledger.record(line("", "the daemon says hello"))
    ledger.flush()
    before = (path.parent / "runners").exists()
    ledger.record(start("r1"))

    assert not before
    assert len(list((path.parent / "runners").iterdir())) == 1
    ledger.record(begin("r1"))
    ledger.record(end("r1"))
