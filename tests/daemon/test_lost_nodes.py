"""`runs = "dask"`: what a node had when it was lost is begun once more, and fails when that node is lost as well."""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from data_engine import Workspace
from data_engine.cluster import link, node
from data_engine.cluster.node import Assignment
from data_engine.daemon.cluster_runs import ClusterRuns
from data_engine.daemon.messages import Frames, unpack_job
from data_engine.daemon.worker_pool import JobCallbacks
from data_engine.engine.candidates import Source
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.model import Event, LogLine, RunFinished, RunStarted, StepStarted
from data_engine.scheduler.executor import Job, JobEnd, SourceRun
from tests.daemon.dask_cluster import DaskCluster
from tests.daemon.support import ended as ended_runs
from tests.support import WorkspaceFiles, until

A, B = "tcp://10.0.0.1:1", "tcp://10.0.0.2:1"


class Task:
    """A future of Dask, and what was submitted with it."""

    def __init__(self, assignment: Assignment, address: str) -> None:
        self.assignment, self.address = assignment, address
        self.status = "pending"
        self._result: bytes | Exception = b""
        self._done: Callable[[Any], None] = lambda future: None

    def add_done_callback(self, done: Callable[[Any], None]) -> None:
        self._done = done

    def result(self, timeout: float) -> bytes:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    def end(self, result: bytes | Exception) -> None:
        self._result, self.status = result, "finished"
        self._done(self)


class Cluster:
    """A cluster of two nodes with one thread each, as `Connection` shows it; `processes` are those that have the addresses."""

    topic, dashboard, is_there = "t", "", True

    def __init__(self) -> None:
        self.scheduler = type("Scheduler", (), {"name": "paper"})
        self.client = self
        self.processes = {A: "a1", B: "b1"}
        self.tasks: list[Task] = []
        self.hearers: dict[str, Any] = {}

    def subscribe(self, key: str, hearer: Any) -> None:
        self.hearers[key] = hearer

    def workers(self) -> dict[str, dict[str, Any]]:
        return {
            address: {"nthreads": 1, "local_directory": one, "others": 0} for address, one in self.processes.items()
        }

    checked_workers = workers

    def submit(self, function: Any, content: bytes, shared: bytes, *, workers: list[str], **_: Any) -> Task:
        self.tasks.append(Task(pickle.loads(content), workers[0]))
        return self.tasks[-1]

    def run(self, *_: Any, **__: Any) -> None: ...

    def cancel(self, *_: Any, **__: Any) -> None: ...


def is_back_under_its_address(cluster: Cluster, task: Task) -> None:
    """The nanny starts another process, which the next look shows."""
    cluster.processes[task.address] += "+"


def is_gone(cluster: Cluster, task: Task) -> None:
    del cluster.processes[task.address]
    cluster.processes[f"{task.address}{len(cluster.tasks)}"] = f"new{len(cluster.tasks)}"


def is_refused_by_the_next(cluster: Cluster, task: Task) -> None:
    """The nanny starts another process, and Dask begins the task there before anybody has looked."""
    is_back_under_its_address(cluster, task)
    task.end(pickle.dumps(None))


def is_given_up_by_dask(cluster: Cluster, task: Task) -> None:
    is_back_under_its_address(cluster, task)
    task.end(RuntimeError("KilledWorker"))


class Owner:
    """`ClusterRuns` on the cluster of a test, and what it tells."""

    def __init__(self, home: LocalWorkspace) -> None:
        self.cluster = Cluster()
        self.events: list[Event] = []
        self.ends: list[JobEnd] = []
        self.root = home.layout.root
        self.runs = ClusterRuns(
            home,
            lambda: self.cluster,  # type: ignore[arg-type, return-value]
            JobCallbacks(
                lambda job, events: None,
                lambda job, events: self.events.extend(events),
                lambda job, end: self.ends.append(end),
            ),
            flows=dict,
            wake=lambda: None,
        )

    async def submit(self, *names: str) -> Task:
        await self.until(lambda: self.runs.free() > 0)
        runs = tuple(SourceRun(Source(self.root, self.root / name), name) for name in names)
        self.runs.submit(Job("j", "run", "killer", None, runs))
        return await self.task(0)

    async def task(self, number: int) -> Task:
        """What was given to a node as the attempt with this number, once it is under way."""
        await self.until(lambda: len(self.cluster.tasks) > number)
        await self.until(lambda: all(one.future for one in self.runs.link.attempts.values()))
        return self.cluster.tasks[number]

    def names(self, task: Task) -> list[str | None]:
        (message,) = Frames().feed(pickle.loads(task.assignment.job).frame)
        return [one.run_id for one in unpack_job(message).runs]

    async def hear(self, task: Task, *events: Event, number: int = 0) -> None:
        """What the node tells."""
        self.cluster.hearers[task.assignment.attempt]((number, pickle.dumps(list(events))))
        await asyncio.sleep(0)

    async def done(self, task: Task, *names: str) -> None:
        parts = [pickle.dumps([began(name), ended(name)]) for name in names]
        task.end(pickle.dumps((parts, JobEnd("done"))))
        await self.until(lambda: task.assignment.attempt not in self.runs._placed)

    async def until(self, condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.005)

    def finished(self) -> dict[str, str]:
        return {one.run_id: one.status for one in self.events if isinstance(one, RunFinished)}


def began(name: str) -> RunStarted:
    return RunStarted(name, "killer", "G", name, time.time())


def ended(name: str) -> RunFinished:
    return RunFinished(name, "success", time.time(), 0.1)


Scenario = Callable[[Owner], Awaitable[None]]


@pytest.fixture
def play(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scenario], Owner]:
    monkeypatch.setattr(link, "_LOOK_EVERY_S", 0.02)

    def run(scenario: Scenario) -> Owner:
        async def main() -> Owner:
            owner = Owner(local_workspace(ws.root))
            await scenario(owner)
            owner.runs.link.close()
            return owner

        return asyncio.run(main())

    return run


WAYS = [is_back_under_its_address, is_gone, is_refused_by_the_next, is_given_up_by_dask]


@pytest.mark.parametrize("lose", WAYS)
@pytest.mark.parametrize("is_heard", [True, False])
def test_a_source_that_ends_each_node_begins_twice_and_has_failed(
    play: Callable[[Scenario], Owner], lose: Callable[[Cluster, Task], None], is_heard: bool
) -> None:
    """Whatever shows that the node was lost, and whether or not it could tell that the run began."""

    async def scenario(owner: Owner) -> None:
        task = await owner.submit("killer.csv")
        for number in range(2):
            task = await owner.task(number)
            if is_heard:
                await owner.hear(task, began("killer.csv"))
            lose(owner.cluster, task)
        await owner.until(lambda: owner.ends)

    owner = play(scenario)

    assert [owner.names(task) for task in owner.cluster.tasks] == [["killer.csv"]] * 2
    assert owner.cluster.tasks[0].address != owner.cluster.tasks[1].address
    assert owner.finished() == {"killer.csv": "failed"}
    (end,) = [one for one in owner.events if isinstance(one, RunFinished)]
    assert end.why is not None
    assert end.why.kind == "worker_lost"
    assert "None" not in str(end.error)
    assert [one.run_id for one in owner.events if isinstance(one, RunStarted)] == ["killer.csv"]
    assert owner.ends == [JobEnd("crashed")]


def test_of_several_sources_the_one_that_ends_its_node_is_found(play: Callable[[Scenario], Owner]) -> None:
    """A node that is lost may have told nothing of what it had done: each is then tried on its own, and the others go well."""

    async def scenario(owner: Owner) -> None:
        is_back_under_its_address(owner.cluster, await owner.submit("a", "killer", "c"))
        await owner.done(await owner.task(1), "a")
        is_back_under_its_address(owner.cluster, await owner.task(2))
        await owner.done(await owner.task(3), "c")
        await owner.until(lambda: owner.ends)

    owner = play(scenario)

    assert [owner.names(task) for task in owner.cluster.tasks] == [["a", "killer", "c"], ["a"], ["killer"], ["c"]]
    assert owner.finished() == {"a": "success", "killer": "failed", "c": "success"}
    assert owner.ends == [JobEnd("done")]


def test_what_was_heard_says_which_run_is_tried_again(play: Callable[[Scenario], Owner]) -> None:
    """What had ended is not, and what follows runs together as before."""

    async def scenario(owner: Owner) -> None:
        task = await owner.submit("a", "killer", "c", "d")
        await owner.hear(task, began("a"), ended("a"), began("killer"), StepStarted("killer", 0, "Read", 0.0))
        is_back_under_its_address(owner.cluster, task)
        task = await owner.task(1)
        await owner.hear(task, began("killer"))
        is_back_under_its_address(owner.cluster, task)
        await owner.done(await owner.task(2), "c", "d")
        await owner.until(lambda: owner.ends)

    owner = play(scenario)

    assert [owner.names(task) for task in owner.cluster.tasks] == [["a", "killer", "c", "d"], ["killer"], ["c", "d"]]
    assert owner.finished() == {"a": "success", "killer": "failed", "c": "success", "d": "success"}
    assert any("begun once more elsewhere" in one.message for one in owner.events if isinstance(one, LogLine))


def test_a_job_that_is_to_be_left_is_not_begun_elsewhere(play: Callable[[Scenario], Owner]) -> None:
    """What it had begun has failed with its node, the others have no run."""

    async def scenario(owner: Owner) -> None:
        task = await owner.submit("a", "b")
        await owner.hear(task, began("a"))
        owner.runs.leave("j")
        is_gone(owner.cluster, task)
        await owner.until(lambda: owner.ends)

    owner = play(scenario)

    assert len(owner.cluster.tasks) == 1
    assert owner.finished() == {"a": "failed"}
    assert [one.run_id for one in owner.ends[0].not_begun] == ["b"]


def test_a_process_takes_no_job_that_was_given_to_another_one(
    play: Callable[[Scenario], Owner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask begins the task of a lost process again in the one that has its address by now."""
    import distributed

    async def scenario(owner: Owner) -> None:
        await owner.submit("a")

    (task,) = play(scenario).cluster.tasks
    there = type("Worker", (), {"address": A, "local_directory": "a1+"})
    monkeypatch.setattr(distributed, "get_worker", lambda: there)

    assert pickle.loads(node.run_job(pickle.dumps(task.assignment))) is None


KILLER = """
import os, time
from data_engine import Flow

def read(context):
    if context.source.path.name == "killer.txt":
        with (context.config.config_dir.parent / "begun.txt").open("a") as file:
            file.write("x")
        os.kill(os.getppid(), 9)
        time.sleep(60)
    return context.source.path.name

def build():
    return Flow(group="G").watch(mode="poll", source="../in", interval="1s", settle=0, extensions=".txt").step(read)
"""


@pytest.mark.skipif(os.name == "nt", reason="it kills its parent by a signal")
def test_a_source_that_kills_its_dask_worker_begins_twice(ws: WorkspaceFiles, tmp_path: Path) -> None:
    """With nannies, which bring a worker back under its address."""
    cluster = DaskCluster(tmp_path / "cluster", has_nanny=True)
    workspace = Workspace(ws.root)
    try:
        ws.source("config/data_engine.toml", cluster.settings())
        for name in ("a.txt", "killer.txt", "z.txt"):
            ws.source(f"in/{name}")
        ws.notebook("killer", KILLER)
        cluster.wait_for_workers()
        workspace.start_engine()
        runs = until(lambda: ended_runs(workspace, "killer", 3), 120)

        assert {Path(str(one.source)).name: one.status for one in runs} == {
            "a.txt": "success",
            "killer.txt": "failed",
            "z.txt": "success",
        }
        (failed,) = [one for one in runs if one.status == "failed"]
        assert "the cluster's worker tcp://127.0.0.1:" in str(failed.cause)
        assert "None" not in str(failed.error)
        assert (ws.root / "begun.txt").read_text() == "xx"
    finally:
        workspace.kill()
        cluster.close()
