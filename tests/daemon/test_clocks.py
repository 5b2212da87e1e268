"""Clocks that jump, and machines that sleep: no slot is lost or run twice, scans go on, and the daemon is still found."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from data_engine import Flow, Workspace
from data_engine.daemon.endpoint import read_endpoint
from data_engine.engine.plan import Candidate, Due, NotDue, Rules, Watch, judge
from data_engine.engine.reasons import Retried, RetryLater
from data_engine.files import write_text_atomic
from data_engine.model import Signature, SourceState, utc_text
from tests.daemon.support import ended, until
from tests.engine.test_schedules import Engine, at
from tests.support import WorkspaceFiles

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


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
    watch = Watch.of(Flow("G", "a").watch(mode="poll", source="/in", interval="1s", settle=0))
    key, signature, now_s = watch.key("a.csv"), Signature(5, 7), 1_000_000.0
    state = SourceState("a", key, "failed", signature, "r1", utc_text(now_s - ago_s), "KeyError")
    rules = Rules(retries=1, retry_delay_s=30, failures={key: 1})

    verdict = judge(Candidate(key, signature, 0.0, 9.0), state, rules, settle_s=0, now_s=now_s)

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
    ws.source("config/data_engine.toml", '[deploy]\nquiet = "0s"\n')
    (ws.root / "in").mkdir()
    ws.notebook("poll", POLL)
    ws.notebook("ticks", TICKS)
    ws.notebook("slow", SLOW)
    found = Workspace(ws.root)
    yield found
    found.kill()


def drop(ws: WorkspaceFiles, name: str) -> None:
    write_text_atomic(ws.root / "in" / name, name, durable=False)


@pytest.mark.skipif(not LIBRARIES, reason="libfaketime (package faketime) is not installed")
def test_the_daemon_outlives_a_clock_that_jumps_by_hours(
    workspace: Workspace, ws: WorkspaceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward over a slot, back before it, and over it again: it runs once, and files are run after their settle time."""
    offset = tmp_path / "offset"
    for name, value in {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    write_text_atomic(offset, "+0", durable=False)
    slot = datetime.now(UTC) + timedelta(hours=2)
    ws.notebook("daily", DAILY.format(slot=f"{slot:%H:%M}"))
    workspace.start_engine()
    endpoint = read_endpoint(workspace.home.local)
    until(lambda: ended(workspace, "ticks", 1))
    assert workspace.runs("daily") == []

    for number, jump in enumerate(("+3h", "-5h", "+3h"), start=1):
        write_text_atomic(offset, jump, durable=False)  # half a file would end whoever reads the time
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


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP")
def test_the_daemon_goes_on_after_a_sleep(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Of the ticks it slept through it makes one; what was dropped meanwhile and what was running is done."""
    workspace.start_engine()
    until(lambda: ended(workspace, "ticks", 1))
    (run_id,) = workspace.run("slow", wait=False)
    until(lambda: workspace.status()["active_runs"])
    daemon = psutil.Process(workspace.status()["daemon"]["pid"])
    sleepers = [*daemon.children(recursive=True), daemon]
    for process in sleepers:
        os.kill(process.pid, signal.SIGSTOP)
    before = len(workspace.runs("ticks", 10_000))
    for number in range(5):
        drop(ws, f"{number}.txt")
    time.sleep(2)
    for process in reversed(sleepers):
        os.kill(process.pid, signal.SIGCONT)
    woke_s = time.monotonic()

    until(lambda: len(ended(workspace, "poll", 5)) == 5)
    until(lambda: workspace.run_record(str(run_id)).status == "success")
    made = len(workspace.runs("ticks", 10_000)) - before
    assert made <= (time.monotonic() - woke_s) / 0.25 + 2
    assert workspace.status()["daemon"]["pid"] == daemon.pid
