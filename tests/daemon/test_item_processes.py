"""A worker's run whose items are in processes of their own: they end with it, however it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from data_engine.clock import boot_clock
from tests.daemon.test_worker_runs import REPOSITORY
from tests.daemon.worker_harness import Shop, is_running, play, until
from tests.support import PATIENCE, WorkspaceFiles, end_now

FLOW = """
import os, time
from pathlib import Path
from data_engine import Flow

def item(context, number):
    (Path({told!r}) / f"{{number}}.pid").write_text(str(os.getpid()))
    for done in range({loops}):
        time.sleep(0.01)
        context.progress(done)
        (Path({told!r}) / f"{{number}}.done").write_text(str(done))
    print("item", number)
    return number

def build():
    return Flow(group="G").step(lambda context: list(range(4))).map(item, max_parallel=2, label="Each")
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def prepared(ws: WorkspaceFiles, *, loops: int) -> Path:
    """The folder where the items tell their processes."""
    ws.source("config/data_engine.toml", '[executor]\nkind = "processes"\nworkers = 2\n')
    told = ws.root / "told"
    told.mkdir()
    ws.module("a", FLOW.format(told=str(told), loops=loops))
    return told


def pids(told: Path) -> set[int]:
    return {int(text) for path in told.glob("*.pid") if (text := path.read_text())}


def test_a_worker_is_as_good_as_new_after_items_in_processes(ws: WorkspaceFiles) -> None:
    """Nothing is left of them: the next run is in the same worker. What they print is in the log."""
    told = prepared(ws, loops=1)

    async def scene() -> None:
        async with Shop(ws, limit=1) as shop:
            await shop.run("a", "one")
            await until(shop.is_idle)
            first = shop.begun()
            await shop.run("a", "two")

            assert first == ["one"]
            assert [shop.finished(run).status for run in ("one", "two")] == ["success", "success"]
            said = sorted(text for text in shop.log("two") if text.startswith("INFO item "))
            assert said == [f"INFO item {number}" for number in range(4)]
            assert [text for text in shop.log("one") if "threads in each" in text]
            assert not [pid for pid in pids(told) if is_running(pid)]
            assert shop.forgotten == []

    play(scene())


def test_a_stop_reaches_items(ws: WorkspaceFiles) -> None:
    """Where they tell how far they are."""
    told = prepared(ws, loops=3000)

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.submit("a")
            await until(lambda: len(pids(told)) == 2)
            shop.workers.stop("run")
            await shop.end()

            assert (shop.finished().status, shop.finished().cause) == ("stopped", "stopped by request")
            await until(lambda: not any(map(is_running, pids(told))))

    play(scene())


@pytest.mark.parametrize("how", ["kill", "limit", "worker", "pool"])
def test_items_end_with_their_run(ws: WorkspaceFiles, how: str) -> None:
    """A kill, a time limit, the death of the worker, the end of the pool."""
    told = prepared(ws, loops=3000)

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.submit("a", run_timeout_s=2.0 * PATIENCE if how == "limit" else None)
            await until(lambda: len(pids(told)) == 2)
            if how == "kill":
                shop.workers.kill("run")
            elif how == "worker":
                busy = [handle for handle in shop.workers._handles if handle.job is not None]
                end_now(busy[0].pid)
            if how != "pool":
                await shop.end()
                assert shop.finished().status == ("failed" if how == "worker" else "killed")
                await until(lambda: not any(map(is_running, pids(told))))
        await until(lambda: not any(map(is_running, pids(told))))

    play(scene())


def test_items_wait_where_their_run_may_not_go_on(ws: WorkspaceFiles) -> None:
    """An owner that is not sure to own the workspace any more holds them up at their next word."""
    told = prepared(ws, loops=100)

    def words() -> list[str]:
        return [path.read_text() for path in sorted(told.glob("*.done"))]

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.submit("a")
            await until(lambda: len(words()) == 2)
            shop.workers.set_work_until(boot_clock())
            await asyncio.sleep(0.3)
            held = words()
            await asyncio.sleep(0.5)
            assert words() == held
            shop.workers.set_work_until(None)
            await shop.end()

            assert shop.finished().status == "success"

    play(scene())
