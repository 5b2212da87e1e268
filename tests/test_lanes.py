"""A lane that fails fails the run; one that has no time says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lanes import LANES, ROOT, Lane, run_lanes

FIRST = Lane("first", 0, ("-c", ""))


def ends_with(code: int, minutes: float = 0) -> Lane:
    return Lane("second", minutes, ("-c", f"raise SystemExit({code})"))


@pytest.mark.parametrize("code", [1, 2, 5])
def test_a_lane_that_fails_fails_the_run(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """At once: the one after it does not begin."""
    assert run_lanes([FIRST, ends_with(code), Lane("third", 0, ("-c", ""))]) == code

    said = capsys.readouterr().out
    assert "FAILED after" in said
    assert f"second: FAILED with {code}" in said
    assert "third" not in said


def test_a_process_that_dies_fails_the_run() -> None:
    assert run_lanes([FIRST, Lane("second", 0, ("-c", "import os; os.abort()"))]) != 0


@pytest.mark.parametrize("code", [75, 77])
def test_one_that_cannot_be_or_not_in_time_is_named_as_skipped(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """And the next one runs."""
    assert run_lanes([FIRST, ends_with(code), Lane("third", 0, ("-c", ""))]) == 0

    said = capsys.readouterr().out
    assert "second: skipped" in said
    assert "third: passed" in said


def test_one_for_which_no_time_is_left_does_not_begin_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_lanes([FIRST, ends_with(1, minutes=4)], already_s=1600, end_s=1800) == 0

    assert "second: skipped, it takes 4 minutes" in capsys.readouterr().out
    assert run_lanes([FIRST, ends_with(1, minutes=3)], already_s=1600, end_s=1800) == 1


def test_what_a_lane_needs_is_there_when_it_begins(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = tmp_path_factory.mktemp("made") / "ready"
    prepare = ("-c", f"import time, pathlib; time.sleep(0.2); pathlib.Path({str(made)!r}).touch()")

    assert run_lanes([FIRST, Lane("second", 0, ("-c", f"open({str(made)!r})"), prepare)]) == 0


def test_there_is_a_lane_for_each_that_may_differ() -> None:
    modules = ["tests", "tests.newest", "tests.release", "tests.windows", "tests.windows"]

    assert [lane.command[1] for lane in LANES] == modules


def test_a_test_that_crashes_its_process_fails_and_the_others_run(tmp_path: Path) -> None:
    """Also where what is left are files that this process has ended, and one test alone."""
    pytest.importorskip("xdist")
    for name, line in (("a", "pass"), ("b", "os.abort()"), ("c", "pass")):
        tests = f"import os\ndef test_1(): pass\ndef test_2(): {line}\ndef test_3(): pass\n"
        (tmp_path / f"test_{name}.py").write_text(tests, encoding="utf-8")
    side_by_side = ("-n", "1", "--dist", "loadfile", "--no-loadscope-reorder", "-p", "tests.conftest")

    command = [sys.executable, "-m", "pytest", *side_by_side, f"--rootdir={tmp_path}", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert "1 failed, 8 passed" in ended.stdout
    assert "crashed while running" in ended.stdout
