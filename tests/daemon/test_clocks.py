"""Clocks that jump, and machines that sleep: no slot is lost or run twice, scans go on, and the daemon is still found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_engine import Flow, Workspace
from data_engine.daemon.control import read_endpoint
from data_engine.files import write_text_atomic
from data_engine.model import Run, Signature, SourceState, utc_text
from data_engine.planning.due import Due, NotDue, PlannedFlow, SeenFile, SourceRules, judge
from data_engine.reasons.kinds import Retried, RetryLater
from tests.daemon.support import ended, flow_of
from tests.daemon.test_network_share import network_of
from tests.scheduler.test_schedules import Engine, at
from tests.support import WorkspaceFiles, pause, resume, until

# Under Wine this system's folders are there too, and their libraries do nothing.
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")) if sys.platform == "linux" else []


# -- what is due, with the clock as an argument ---------------------------------------------------------------------


@pytest.mark.parametrize("catch_up", ["latest", "all", "none"])
def test_a_clock_that_is_set_back_runs_no_slot_twice_and_skips_none(tmp_path: Path, catch_up: str) -> None:
    """An hour that comes again: its slots were served; the ones after it are not waited for longer than they say."""
    engine = Engine(tmp_path, time=None, cron="0 * * * *", catch_up=catch_up)
    engine.start(at(0.5))
    for hours in (1, 2, 3, 4, 4.1, 1.6, 2, 3, 4, 5, 6):
        engine.look(at(hours))
    engine.stop()

    assert engine.ran == [at(hours) for hours in (1, 2, 3, 4, 5, 6)]


def test_slots_that_were_not_served_before_the_clock_was_set_back_are_run_when_they_come(tmp_path: Path) -> None:
    """The clock was wrong by a year, and what it served there holds up nothing, also without a restart."""
    engine = Engine(tmp_path)
    engine.start(at(1))
    engine.look(at(24 * 365 + 7))
    engine.on_since_s = at(2)
    for hours in (2, 5, 6, 7, 30):
        engine.look(at(hours))
    engine.stop()

    assert engine.ran == [at(24 * 365 + 6), at(6), at(30)]


@pytest.mark.parametrize(
    ("catch_up", "ran"),
    [("latest", (6, 9)), ("all", (6, 7, 8, 9)), ("none", (6,))],
)
def test_slots_that_were_overslept_follow_catch_up(tmp_path: Path, catch_up: str, ran: tuple[int, ...]) -> None:
    """The machine sleeps from before seven until after nine; who looks again has been looking since then."""
    engine = Engine(tmp_path, time=None, cron="0 6-9 * * *", catch_up=catch_up)
    engine.start(at(1))
    engine.look(at(6.5))
    engine.on_since_s = at(9.5)
    engine.look(at(9.5))
    engine.stop()

    assert engine.ran == [at(hours) for hours in ran]


def test_a_clock_that_jumps_over_a_slot_runs_it(tmp_path: Path) -> None:
    """Nobody was away: `catch_up="none"` does not mean it."""
    engine = Engine(tmp_path, catch_up="none")
    engine.start(at(5))
    engine.look(at(5.5))
    engine.look(at(9))
    engine.stop()

    assert engine.ran == [at(6)]


@pytest.mark.parametrize(("ago_s", "is_due"), [(29, False), (31, True), (-5 * 3600, True)], ids=["soon", "now", "back"])
def test_a_retry_does_not_wait_for_a_clock_that_was_set_back(ago_s: float, is_due: bool) -> None:
    watch = PlannedFlow.of(Flow("G", "a").watch(mode="poll", source="/in", interval="1s", settle=0))
    key, signature, now_s = watch.key("a.csv"), Signature(5, 7), 1_000_000.0
    state = SourceState("a", key, "failed", signature, "r1", utc_text(now_s - ago_s), "KeyError")
    rules = SourceRules(retries=1, retry_delay_s=30, failures={key: 1})

    verdict = judge(key, SeenFile(signature, 0.0, 9.0), state, rules, settle_s=0, now_s=now_s)

    assert isinstance(verdict, Due if is_due else NotDue)
    assert isinstance(verdict.why, Retried if is_due else RetryLater)


# -- the whole daemon ------------------------------------------------------------------------------------------------


POLL = """
    from data_engine import Flow
    def read(context):
        return context.source.path.read_text()
    def build():
        return Flow(group="P").watch(mode="poll", source="../in", interval="300ms", settle=1).step(read)
"""
DAILY = """
    from data_engine import Flow
    def build():
        return Flow(group="D").watch(mode="schedule", time="{slot}", tz="UTC").step(lambda context: 1)
"""
TICKS = """
    from data_engine import Flow
    def build():
        return Flow(group="T").watch(mode="schedule", interval="250ms").step(lambda context: 1)
"""
SLOW = """
    import time
    from data_engine import Flow
    def work(context):
        for number in range(100):
            time.sleep(0.02)
            context.progress(number)
    def build():
        return Flow(group="S").step(work)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
    (ws.root / "in").mkdir()
    ws.notebook("poll", POLL)
    ws.notebook("ticks", TICKS)
    ws.notebook("slow", SLOW)
    found = Workspace(ws.root)
    yield found
    found.kill()


def drop(ws: WorkspaceFiles, name: str) -> None:
    write_text_atomic(ws.root / "in" / name, name, durable=False)


@pytest.fixture
def set_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the clock of every process that is started from now on, also while it runs; this one's stays right."""
    if not LIBRARIES:
        pytest.skip("libfaketime, a library of Linux (package faketime), is not here")
    offset = tmp_path / "offset"

    def set_to(jump: str) -> None:
        write_text_atomic(offset, jump, durable=False)  # half a file would end whoever reads the time

    set_to("+0")
    for name, value in {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return set_to


def test_the_daemon_outlives_a_clock_that_jumps_by_hours(
    workspace: Workspace, ws: WorkspaceFiles, set_clock: Callable[[str], None]
) -> None:
    """Forward over a slot, back before it, and over it again: it runs once, and files are run after their settle time."""
    slot = datetime.now(UTC) + timedelta(hours=2)
    ws.notebook("daily", DAILY.format(slot=f"{slot:%H:%M}"))
    workspace.start_engine()
    endpoint = read_endpoint(workspace.home.local)
    until(lambda: ended(workspace, "ticks", 1))
    assert workspace.runs("daily") == []

    for number, jump in enumerate(("+3h", "-5h", "+3h"), start=1):
        set_clock(jump)
        drop(ws, f"{number}.txt")
        dropped_s = time.monotonic()
        until(lambda number=number: len(ended(workspace, "poll", number)) == number)  # type: ignore[misc]
        assert time.monotonic() - dropped_s >= 1
        until(lambda: workspace.runs("daily"))
        ticks = len(workspace.runs("ticks", 10_000))
        until(lambda ticks=ticks: len(workspace.runs("ticks", 10_000)) > ticks + 1)  # type: ignore[misc]

    (run,) = workspace.runs("daily")
    assert run.status == "success"
    assert {Path(one.source or "").name for one in workspace.runs("poll")} == {"1.txt", "2.txt", "3.txt"}
    assert read_endpoint(workspace.home.local) == endpoint
    assert endpoint is not None
    assert endpoint.is_alive()


HELLO = """
    from data_engine import Flow
    def hello(context):
        print("hello")
    def build():
        return Flow(group="H").step(hello)
"""


def test_a_start_under_a_clock_far_ahead_removes_nothing_until_the_clock_is_accepted(
    ws: WorkspaceFiles, set_clock: Callable[[str], None]
) -> None:
    """Runs, steps, logs and published segments stay, and it is told; once somebody accepts the clock, all that is old goes."""
    ws.source("config/data_engine.toml", '[lease]\nheartbeat = "1s"\nstale_after = "5s"\n')
    ws.notebook("hello", HELLO)
    workspace = Workspace(ws.root)
    state = ws.root / ".workspace_state" / "state"

    def published() -> list[str]:
        newest = max((state / "generations").glob("*/entry.json"), key=lambda path: path.parent.name)
        return [name for name in os.listdir(state / "runs") if name in newest.read_text()]

    try:
        (before,) = workspace.run("hello")
        assert isinstance(before, Run)
        (segment,) = until(published)
        workspace.kill()

        set_clock("+400d")
        (ahead,) = workspace.run("hello")
        until(lambda: len(published()) == 2)
        (doubt,) = until(lambda: workspace.status()["warnings"])

        assert "400 days after the newest record" in doubt
        assert "data-engine doctor --accept-clock" in doubt
        assert workspace.run_record(before.run_id) == before
        assert (len(workspace.steps(before.run_id)), len(workspace.log(before.run_id))) == (1, 1)
        assert segment in published()
        log = workspace.home.local.daemon_log_path.read_text()
        assert log.count("--accept-clock") == 1
        assert doctor(ws)["age of history"]["ok"] is False

        assert doctor(ws, "--accept-clock")["age of history"]["ok"] is True
        until(lambda: [run.run_id for run in workspace.runs()] == [ahead.run_id])  # type: ignore[union-attr]
        assert workspace.status()["warnings"] == []
        workspace.run("hello")  # with what is published next, the old goes
        until(lambda: segment not in published())
    finally:
        workspace.kill()


def test_a_clock_that_is_right_again_goes_on_where_it_was(ws: WorkspaceFiles, set_clock: Callable[[str], None]) -> None:
    """Nothing is doubted and nothing was lost; the run from the future is marked, and is not the last one."""
    ws.notebook("hello", HELLO)
    workspace = Workspace(ws.root)
    try:
        workspace.run("hello")
        workspace.kill()
        set_clock("+400d")
        workspace.run("hello")
        until(lambda: workspace.status()["warnings"])
        workspace.kill()
        set_clock("+0")
        (last,) = workspace.run("hello")

        assert isinstance(last, Run)
        assert [run.from_the_future for run in workspace.runs()] == [True, False, False]
        assert flow_of(workspace, "hello")["last_run"] == last.as_dict()
        assert workspace.status()["warnings"] == []
    finally:
        workspace.kill()


def test_the_file_servers_clock_is_asked_over_the_network_and_a_local_drive_has_none(
    tmp_path: Path, set_clock: Callable[[str], None]
) -> None:
    """A machine that is 400 days ahead learns it from the share, and from nothing of its own."""
    ask = (
        "import sys; from pathlib import Path; from data_engine.lease.folder import server_ahead_s;"
        "print([server_ahead_s(Path(folder)) for folder in sys.argv[1:]])"
    )
    with network_of("sftp") as network:
        set_clock("+400d")
        command = [sys.executable, "-c", ask, str(network.mount(0)), str(tmp_path)]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        ahead_s, local = json.loads(told.stdout.replace("None", "null"))

        assert abs(ahead_s + 400 * 86_400) < 60
        assert local is None
        assert list(network.export.glob(".probe*")) == []


def doctor(ws: WorkspaceFiles, *options: str) -> dict[str, Any]:
    """What the command finds in a process of its own, under the clock that is set."""
    command = [sys.executable, "-m", "data_engine", "--workspace", str(ws.root), "doctor", "--json", *options]
    answer = subprocess.run(command, capture_output=True, check=False, timeout=60)
    return {finding["name"]: finding for finding in json.loads(answer.stdout)["findings"]}


def test_the_daemon_goes_on_after_a_sleep(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Of the ticks it slept through it makes one; what was dropped meanwhile and what was running is done."""
    workspace.start_engine()
    until(lambda: ended(workspace, "ticks", 1))
    (run_id,) = workspace.run("slow", wait=False)
    until(lambda: workspace.status()["active_runs"])
    daemon = psutil.Process(workspace.status()["daemon"]["pid"])
    sleepers = [*daemon.children(recursive=True), daemon]
    for process in sleepers:
        pause(process.pid)
    before = len(workspace.runs("ticks", 10_000))
    for number in range(5):
        drop(ws, f"{number}.txt")
    time.sleep(2)
    for process in reversed(sleepers):
        resume(process.pid)
    woke_s = time.monotonic()

    until(lambda: len(ended(workspace, "poll", 5)) == 5)
    until(lambda: workspace.run_record(str(run_id)).status == "success")
    made = len(workspace.runs("ticks", 10_000)) - before
    assert made <= (time.monotonic() - woke_s) / 0.25 + 2
    assert workspace.status()["daemon"]["pid"] == daemon.pid
