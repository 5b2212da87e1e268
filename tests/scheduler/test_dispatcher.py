"""The dispatcher hands out what waits and takes back what had no run; with an executor that takes notes, on a clock of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from data_engine import Flow
from data_engine.cause import Cause
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace, settle_flow
from data_engine.locks import GroupLock
from data_engine.model import Run, RunFinished, RunStarted
from data_engine.planning.due import Due
from data_engine.reasons.kinds import (
    Asked,
    Freed,
    GroupRun,
    WaitingForGroup,
    WaitingForOwnRun,
    WaitingForShare,
    WaitingForWorker,
)
from data_engine.reasons.remedies import Reason
from data_engine.scheduler.executor import JobEnd
from data_engine.scheduler.folder_poller import FolderPoller
from tests.scheduler.support import Stage
from tests.support import WorkspaceFiles

A, B, C = Flow("G", "a"), Flow("G", "b"), Flow("H", "c")
DUE = Due(None, Freed("failed"))
TRY_AGAIN = JobEnd("refused", error={"what": "the disk is full", "where": None, "fix": None}, is_passing=True)
BROKEN = JobEnd("refused", error={"what": "no module", "where": "a.py", "fix": "fix it"}, why=Cause("module_broken"))


@pytest.fixture
def place(ws: WorkspaceFiles) -> LocalWorkspace:
    return local_workspace(ws.root)


def record(place: LocalWorkspace, run_id: str) -> Run:
    found = place.ledger().run(run_id)
    assert found is not None
    return found


def test_groups_go_side_by_side_and_flows_of_one_group_in_turn() -> None:
    stage = Stage(A, B, C)
    for flow in "abc":
        stage.ask(flow, flow)

    assert stage.out() == [["a"], ["c"]]
    stage.executor.run()
    assert stage.out() == [["c"], ["b"]]
    stage.executor.run()
    stage.executor.run()
    assert stage.dispatcher.is_idle


def test_nothing_begins_while_it_may_not() -> None:
    """What waits is kept, and says why it waits."""
    stage = Stage(A)
    stage.is_allowed = False
    stage.ask("a", "1")
    assert (stage.out(), stage.dispatcher.why_waiting("a", [])) == ([], WaitingForShare())

    stage.is_allowed = True
    stage.dispatcher.dispatch()

    assert stage.out() == [["1"]]


def test_what_waits_says_for_what() -> None:
    stage = Stage(A, B, C, limit=1)
    for flow in "abc":
        stage.ask(flow, flow)
    stage.executor.begin()

    def why(flow: str) -> Reason | None:
        return stage.dispatcher.why_waiting(flow, [])

    assert why("a") is None
    assert isinstance(why("b"), WaitingForGroup)
    assert why("c") == WaitingForWorker()


def test_what_waits_is_told_for_each_flow_with_how_much_and_for_what() -> None:
    """For another run of its flow, for its group, for a worker; also what a worker was handed ahead."""
    stage = Stage(A, B, C, limit=1)
    stage.ask("a", "1", "2", "3")
    stage.ask("b", "4")
    stage.ask("c", "5")
    stage.executor.begin()

    found = {one.flow: one for one in stage.dispatcher.waiting([])}

    assert {flow: one.count for flow, one in found.items()} == {"a": 2, "b": 1, "c": 1}
    assert found["b"].why == WaitingForGroup("G", (GroupRun("a", "1", os.getpid()),))
    assert found["c"].why == WaitingForWorker()
    assert Stage(A).dispatcher.waiting([]) == []


def test_what_waits_behind_runs_of_its_own_flow_says_so() -> None:
    """In the queue, and in the hand of the worker that runs the one before."""
    stage = Stage(A)
    stage.ask("a", *map(str, range(20)))
    while len(stage.executor.jobs[0].runs) == 1:  # quick work is handed out ahead
        stage.executor.run()
    (one,) = stage.dispatcher.waiting([])
    assert (one.why, one.reason) == (None, "about to begin")

    stage.executor.begin()

    (behind,) = stage.dispatcher.waiting([])
    assert behind.count == one.count - 1
    assert behind.why == WaitingForOwnRun()
    stage.dispatcher.drop()
    (handed,) = stage.dispatcher.waiting([])
    assert (handed.count, handed.why) == (len(stage.executor.jobs[0].runs) - 1, WaitingForOwnRun())


def test_a_run_that_was_asked_to_end_is_stopping() -> None:
    """By its id, with its flow (also one that nobody had heard of yet), and with all the rest."""
    stage = Stage(A, C)
    stage.ask("a", "1")
    stage.ask("c", "2")
    stage.dispatcher.stop_flow("a", Cause("stop_requested"))
    stage.executor.begin()
    assert stage.dispatcher.active["1"].is_stopping
    stage.executor.jobs.reverse()
    stage.executor.begin()
    assert not stage.dispatcher.active["2"].is_stopping

    stage.dispatcher.wind_down(Cause("handed_over"), stop=False)
    assert not stage.dispatcher.active["2"].is_stopping
    stage.dispatcher.wind_down(Cause("handed_over"), stop=True)
    assert stage.dispatcher.active["2"].is_stopping
    stage.executor.jobs.reverse()
    stage.executor.run()
    stage.ask("a", "3")
    stage.executor.jobs.reverse()
    stage.executor.begin()
    stage.dispatcher.note_stop("3")
    stage.dispatcher.note_stop("gone")
    assert stage.dispatcher.active["3"].is_stopping


def test_work_of_a_worker_that_died_in_the_run_before_waits_again_in_its_pass() -> None:
    """The run that began is done with; what had none is handed out once more, before what came later."""
    stage = Stage(A)
    stage.ask("a", *map(str, range(20)))
    while len(stage.executor.jobs[0].runs) == 1:  # quick work is handed out ahead
        stage.executor.run()
    (job,) = stage.executor.jobs
    first, second, *_ = (run.run_id for run in job.runs)
    stage.executor.begin()
    stage.executor.finish(status="failed")
    stage.executor.end(JobEnd("crashed"))

    (again,) = stage.executor.jobs
    assert again.runs[0].run_id == second
    assert first not in [run.run_id for run in again.runs]
    assert again.pass_number == job.pass_number


def test_a_machine_that_cannot_just_now_is_tried_again_after_a_second() -> None:
    stage = Stage(A)
    stage.ask("a", "1")
    stage.executor.end(TRY_AGAIN)
    assert stage.dispatcher.trouble is not None
    assert stage.dispatcher.trouble.what == "the disk is full"

    stage.loop.advance(0.9)
    assert stage.out() == []
    stage.loop.advance(0.2)
    assert stage.out() == [["1"]]


def test_a_module_that_is_broken_is_the_run_of_each_of_its_works(place: LocalWorkspace) -> None:
    stage = Stage(A, home=place)
    stage.ask("a", "1", "2")
    stage.executor.end(BROKEN)
    stage.executor.end(BROKEN)

    assert stage.dispatcher.is_idle
    for run_id in "12":
        run = record(place, run_id)
        assert (run.status, run.why and run.why.kind) == ("failed", "module_broken")
        assert "no module" in (run.error or "")


def test_what_runs_is_recorded_and_shown_while_it_does(place: LocalWorkspace) -> None:
    stage = Stage(A, home=place)
    stage.ask("a", "1")
    stage.executor.begin()
    assert list(stage.dispatcher.active) == ["1"]
    assert record(place, "1").status == "started"

    stage.executor.finish()
    stage.executor.end()

    assert stage.dispatcher.active == {}
    assert record(place, "1").status == "success"


def test_a_group_that_another_process_has_is_asked_for_every_fifth_of_a_second(place: LocalWorkspace) -> None:
    """Who waits for a person goes first: what is only due elsewhere gives way."""
    stage = Stage(A, home=place)
    with GroupLock(place.local.locks_dir, "G") as other:
        stage.ask("a", "1")
        assert stage.out() == []
        assert stage.dispatcher.groups_held_elsewhere() == {"G": "a"}
        assert other.gives_way
    stage.loop.advance(0.1)
    assert stage.out() == []

    stage.loop.advance(0.11)

    assert stage.out() == [["1"]]
    assert not GroupLock(place.local.locks_dir, "G").try_acquire()
    stage.executor.run()
    assert GroupLock(place.local.locks_dir, "G").try_acquire()


def test_the_executor_lets_go_of_a_pass_when_it_is_over() -> None:
    stage = Stage(A)
    stage.ask("a", "1", "2")
    assert [job.ends_pass for job in stage.executor.jobs] == [False]

    stage.executor.run()
    assert (stage.executor.ended_passes, stage.executor.jobs[0].ends_pass) == ([], True)
    stage.executor.run()
    assert stage.executor.ended_passes == [1]


def test_what_was_handed_ahead_is_taken_back_for_what_a_person_asks_for() -> None:
    stage = Stage(A, B)
    stage.due("a", *map(str, range(40)), why=DUE)
    while len(stage.executor.jobs[0].runs) == 1:
        stage.executor.run()
    (job,) = stage.executor.jobs

    stage.ask("b", "asked")

    assert stage.executor.left == [job.job_id]


def test_stopping_a_flow_also_ends_the_run_that_nobody_has_heard_of_yet(place: LocalWorkspace) -> None:
    stage = Stage(A, home=place)
    stage.ask("a", "1")

    assert stage.dispatcher.stop_flow("a", Cause("stop_requested")) == []
    assert stage.executor.stopped_for == [Cause("stop_requested")]


def test_what_is_asked_for_is_never_run_once_the_workspace_is_lost(place: LocalWorkspace) -> None:
    """That it was not is its run."""
    stage = Stage(A, B, home=place)
    stage.ask("a", "1")
    stage.ask("b", "2")
    stage.is_allowed = stage.is_ours = False
    stage.dispatcher.wind_down(Cause("taken_over", {"by": "other"}), stop=True)
    stage.executor.end(JobEnd("done"))

    assert stage.dispatcher.is_idle
    assert stage.executor.wound_down_for == [Cause("taken_over", {"by": "other"})]
    assert {(run.status, run.why) for run in (record(place, run_id) for run_id in "12")} == {
        ("stopped", Cause("taken_over", {"by": "other"})),
        ("stopped", Cause("no_longer_owner")),
    }


def test_what_was_due_and_has_no_trigger_any_more_is_not_run() -> None:
    """A worker gave it back after its flow was switched off."""
    stage = Stage(A)
    stage.due("a", "1", why=Due(None, Asked()))

    stage.executor.end(JobEnd("done"))

    assert stage.dispatcher.is_idle


@pytest.mark.parametrize("noticed", ["as it is to begin", "by the beat", "when the one before was to begin"])
def test_a_file_that_another_process_has_run_since_it_was_found_due_is_not_run_again(
    noticed: str, place: LocalWorkspace, ws: WorkspaceFiles
) -> None:
    """However late it is handed over, and whoever has noticed the other's run by then."""
    ws.source("in/a.csv")
    flow = settle_flow(
        Flow("G", "p").watch(mode="poll", source=str(ws.root / "in"), interval="10s", settle=0).step(str)
    )
    stage = Stage(flow, home=place)
    triggers = stage.scheduler.triggers
    triggers.set_flow("p", flow, version=None, frees_held=False)
    until(lambda: bool(stage.loop._timers))  # it is on its way to the loop

    watched = triggers.planner("p")
    assert isinstance(watched, FolderPoller)
    (handed,) = watched._handed.values()
    started = RunStarted("other", "p", "G", str(ws.root / "in" / "a.csv"), time.time() - 1, None, handed.seen)
    place.ledger().record(started, RunFinished("other", "success", time.time(), 1.0, None, None, handed.seen))
    if noticed == "by the beat":
        triggers.reload()
        until(lambda: watched.state("a.csv") is not None)
    elif noticed == "when the one before was to begin":
        assert triggers.notice_others("p") == 1
    for _ in range(20):
        stage.loop.advance(0.1)
        time.sleep(0.01)

    assert stage.out() == []
    assert watched.state("a.csv") is not None
    triggers.close()


def until(claim: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
