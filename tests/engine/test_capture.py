"""What a run prints belongs to its run, also in threads, and is still seen on the screen."""

from __future__ import annotations

import logging
import sys
import threading

import pytest

from data_engine.engine.capture import captured
from data_engine.flow.control import StepControl
from data_engine.model import Event, LogLine


def listening(run_id: str) -> tuple[StepControl, list[str]]:
    lines: list[str] = []

    def emit(event: Event) -> None:
        assert isinstance(event, LogLine)
        assert event.run_id == run_id
        lines.append(f"{event.level} {event.message}")

    return StepControl(emit=emit, run_id=run_id), lines


def test_lines_are_whole_and_still_printed(capsys: pytest.CaptureFixture[str]) -> None:
    control, lines = listening("r")

    with captured(control):
        print("one", end="")
        print(" line\nand", "another")
        sys.stderr.write("no newline at the end")

    assert lines == ["INFO one line", "INFO and another", "STDERR no newline at the end"]
    assert capsys.readouterr() == ("one line\nand another\n", "no newline at the end")


def test_only_the_last_state_of_a_rewritten_line_counts() -> None:
    control, lines = listening("r")

    with captured(control):
        sys.stderr.write("\r10 %\r50 %\r100 %\n")

    assert lines == ["STDERR 100 %"]


def test_two_runs_at_once_do_not_mix() -> None:
    barrier = threading.Barrier(2)
    found = {}

    def run(name: str) -> None:
        control, lines = listening(name)
        with captured(control):
            barrier.wait()
            for number in range(50):
                print(name, number)
            barrier.wait()
        found[name] = lines

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {name: [f"INFO {name} {number}" for number in range(50)] for name in "ab"}


def test_streams_and_log_handlers_are_as_before_afterwards() -> None:
    before = (sys.stdout, sys.stderr, list(logging.root.handlers))

    with pytest.raises(KeyError), captured(listening("r")[0]):
        raise KeyError("x")

    assert (sys.stdout, sys.stderr, list(logging.root.handlers)) == before


def test_log_records_keep_their_level_and_traceback() -> None:
    control, lines = listening("r")

    with captured(control):
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            logging.getLogger("x").exception("it broke")

    assert lines[0].startswith("ERROR it broke\nTraceback")
    assert lines[0].endswith("ZeroDivisionError: division by zero")
