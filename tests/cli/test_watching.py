"""`run --watch` as a process: a line for each run, edits seen, and an end by Ctrl-C or by death that loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.errors import FlowValidationError
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

pytestmark = pytest.mark.skipif(
    os.name != "posix",
    reason="no Ctrl-C can be sent to one process of a console on Windows; tests/client/test_foreground.py is the twin",
)
LIMIT_S = 30.0

POLLED = """
    import time
    from data_engine import Flow

    def read(context):
        text = context.source.path.read_text()
        if text == "bad":
            raise KeyError("amount")
        if text == "slow":
            (context.source.root.parent / "begun").touch()
            time.sleep(60)
        return text

    def build():
        return Flow(group="G").watch(mode="poll", source="../in", interval="100ms", settle=0).step(read)
"""


@pytest.fixture(autouse=True)
def inside(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ws.root)
    ws.notebook("claims", POLLED)
    (ws.root / "in").mkdir()


@pytest.fixture
def watching(process: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> Iterator[Callable[..., Watching]]:
    started: list[Watching] = []

    def start(*arguments: object) -> Watching:
        started.append(Watching(process, tmp_path / f"out-{len(started)}", *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()


class Watching:
    """A `run --watch` whose output goes to files."""

    def __init__(self, process: Callable[..., subprocess.Popen[bytes]], out: Path, *arguments: object) -> None:
        self.paths = (out.with_suffix(".out"), out.with_suffix(".err"))
        with self.paths[0].open("wb") as stdout, self.paths[1].open("wb") as stderr:
            self.process = process("run", "--watch", *arguments, stdout=stdout, stderr=stderr)

    @property
    def out(self) -> str:
        return self.paths[0].read_text()

    @property
    def err(self) -> str:
        return self.paths[1].read_text()

    def until(self, claim: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not claim():
            assert self.process.poll() is None, self.out + self.err
            assert time.monotonic() < deadline, self.out + self.err
            time.sleep(0.01)

    def press_ctrl_c(self) -> None:
        self.process.send_signal(signal.SIGINT)


def test_a_line_for_each_run_until_ctrl_c(watching: Callable[..., Watching], ws: WorkspaceFiles) -> None:
    """A failure is placed in its cell, as `run --once` shows it, and ends nothing; the exit code is that of Ctrl-C."""
    watch = watching()
    ws.source("in/a.csv", "bad")
    watch.until(lambda: "failed    claims  a.csv" in watch.out)
    ws.source("in/b.csv", "good")
    watch.until(lambda: "success   claims  b.csv" in watch.out)

    watch.press_ctrl_c()

    assert watch.process.wait(LIMIT_S) == 130
    assert "claims.ipynb, cell 1, line 7" in watch.out
    assert watch.out.splitlines()[-1].startswith("2 runs: 1 success, 1 failed")
    assert "Traceback" not in watch.out + watch.err
    assert [run.status for run in Workspace(ws.root).runs()] == ["success", "failed"]


def test_json_is_a_line_for_each_run(watching: Callable[..., Watching], ws: WorkspaceFiles) -> None:
    ws.source("in/a.csv", "bad")
    watch = watching("--json")
    watch.until(lambda: watch.out.count("\n") == 1)
    watch.press_ctrl_c()
    watch.process.wait(LIMIT_S)

    assert json.loads(watch.out) == Workspace(ws.root).runs()[0].as_dict() | {"warnings": 0}


def test_edits_are_taken_up_and_a_broken_module_goes_on_as_it_was(
    watching: Callable[..., Watching], ws: WorkspaceFiles
) -> None:
    """The code of a pass is that of the file; a changed trigger and a new module join by themselves."""
    watch = watching()
    ws.source("in/a.csv")
    watch.until(lambda: "claims  a.csv" in watch.out)
    ws.notebook("claims", POLLED.replace("context.source.path.read_text()", '"bad"'))
    ws.source("in/b.csv")
    watch.until(lambda: "failed    claims  b.csv" in watch.out)

    ws.notebook("claims", "def build(:")
    watch.until(lambda: "broken    claims" in watch.out)
    ws.source("in/c.csv")
    watch.until(lambda: "failed    claims  c.csv" in watch.out)

    ws.notebook("claims", POLLED.replace("../in", "../other"))
    ws.notebook("second", POLLED.replace("../in", "../other"))
    ws.source("other/d.csv")
    watch.until(lambda: "claims  d.csv" in watch.out and "second  d.csv" in watch.out)


def test_ctrl_c_waits_for_the_step_and_a_second_one_does_not(
    watching: Callable[..., Watching], ws: WorkspaceFiles
) -> None:
    ws.source("in/a.csv", "slow")
    watch = watching("claims")
    watch.until((ws.root / "begun").exists)
    watch.press_ctrl_c()
    watch.until(lambda: "Ctrl-C again leaves at once" in watch.err)

    watch.press_ctrl_c()

    assert watch.process.wait(5) == 130
    assert [(run.status, run.cause) for run in Workspace(ws.root).runs()] == [
        ("killed", "ended at once by a second Ctrl-C")
    ]
    assert "Traceback" not in watch.out + watch.err


def test_a_run_that_died_with_its_process_is_run_again(watching: Callable[..., Watching], ws: WorkspaceFiles) -> None:
    """kill -9 in the middle of a run: the file is not lost, and what was done is not done again."""
    ws.source("in/a.csv")
    watch = watching()
    watch.until(lambda: "success   claims  a.csv" in watch.out)
    ws.source("in/b.csv", "slow")
    watch.until((ws.root / "begun").exists)
    watch.process.kill()
    watch.process.wait()
    ws.notebook("claims", POLLED.replace("time.sleep(60)", "pass"))

    again = watching()
    again.until(lambda: "success   claims  b.csv" in again.out)

    assert [(Path(run.source or "").name, run.status) for run in Workspace(ws.root).runs()] == [
        ("b.csv", "success"),
        ("b.csv", "abandoned"),
        ("a.csv", "success"),
    ]


def test_a_file_another_process_has_run_meanwhile_is_not_run_twice(
    watching: Callable[..., Watching], ws: WorkspaceFiles
) -> None:
    """Two engines on one workspace of one machine: the group's lock and the ledger keep them from doing work twice."""
    both = [watching(), watching()]
    for number in range(10):
        ws.source(f"in/{number}.csv")
        both[0].until(lambda: f"claims  {number}.csv" in both[0].out + both[1].out)  # noqa: B023
    for one in both:
        one.press_ctrl_c()
        one.process.wait(LIMIT_S)

    sources = [Path(run.source or "").name for run in Workspace(ws.root).runs()]
    assert sorted(sources) == [f"{number}.csv" for number in range(10)]


@pytest.mark.parametrize(
    "options", [("--once",), ("--source", "a.csv"), ("--set", "day=1"), ("--on-error", "raise")], ids=lambda o: o[0]
)
def test_what_belongs_to_once_is_refused(cli: Cli, options: tuple[str, ...]) -> None:
    answer = cli("run", "--watch", *options)

    assert answer.code == 2
    assert options[0] in answer.err


def test_an_unknown_name_is_refused(cli: Cli) -> None:
    answer = cli("run", "--watch", "claims", "clams")

    assert answer.code == 2
    assert "clams" in answer.err


def test_several_names_belong_to_watch(cli: Cli) -> None:
    assert cli("run", "--once", "claims", "other").code == 2


def test_nothing_to_watch_is_refused(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.notebook("claims", 'from data_engine import Flow\ndef build():\n    return Flow(group="G").step(print)')

    answer = cli("run", "--watch")

    assert answer.code == 2
    assert "nothing to watch" in answer.err
    assert FlowValidationError.__name__ not in answer.err


def test_a_flow_without_steps_is_an_error_and_not_waited_for(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.notebook("empty", "from data_engine import Flow\n\ndef build():\n    return Flow(group='E')")

    refused = cli("--workspace", ws.root, "run", "--watch", "empty")

    assert (refused.code, "has no steps" in refused.err) == (2, True)
