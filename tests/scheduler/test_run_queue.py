"""The queue keeps groups in turn, spreads parallel flows, and looks ahead only over quick work."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from data_engine.scheduler.run_queue import MOST_AHEAD, RunQueue, Turn, Work


def take(queue: RunQueue, free: int = 99, allowed: Any = None, **max_parallel: int) -> list[list[Any]]:
    jobs = queue.take(free=free, max_parallel=max_parallel, may_start=lambda group: allowed is None or group in allowed)
    return [[work.run for work in job.works] for job in jobs]


def fill(queue: RunQueue, flow: str, group: str, *items: Any, batch: Any = None) -> None:
    for item in items:
        queue.add(Work(flow, group, item, batch))


def test_groups_run_in_parallel_and_flows_of_one_group_in_turn() -> None:
    queue = RunQueue()
    fill(queue, "a", "G", 1)
    fill(queue, "b", "G", 2)
    fill(queue, "c", "H", 3)

    assert take(queue) == [[1], [3]]
    assert queue.holder("G") == "a"
    assert queue.ended("a") == "G"
    assert take(queue) == [[2]]


def test_a_busy_flow_starves_no_other_of_its_group() -> None:
    queue = RunQueue()
    fill(queue, "busy", "G", *range(100))
    assert take(queue) == [[0]]
    fill(queue, "nightly", "G", "slot")

    queue.ended("busy", seconds=0.001, runs=1)
    assert take(queue) == [["slot"]]
    queue.ended("nightly")
    assert take(queue)[0][0] == 1


def test_a_parallel_flow_gets_so_many_jobs_and_shares_its_work_among_them() -> None:
    queue = RunQueue()
    fill(queue, "a", "G", *range(5))

    assert take(queue, a=3) == [[0], [1], [2]]
    assert queue.ended("a") is None
    assert take(queue, a=3) == [[3]]


def test_quick_work_is_handed_ahead_and_slow_work_is_not() -> None:
    queue = RunQueue()
    fill(queue, "a", "G", *range(1000))
    for seconds in (0.0001, 0.0001, 0.0001, 0.0001, 0.0001, 0.0001, 0.0001, 0.0001):
        take(queue)
        queue.ended("a", seconds=seconds, runs=1)
    assert len(take(queue)[0]) == MOST_AHEAD
    queue.ended("a", seconds=100.0, runs=1)
    assert len(take(queue)[0]) == 1


def test_a_job_never_mixes_passes() -> None:
    queue = RunQueue()
    fill(queue, "a", "G", 1, batch="first")
    fill(queue, "a", "G", 2, batch="second")

    assert take(queue) == [[1]]


def test_a_group_that_may_not_start_waits_and_the_others_go() -> None:
    queue = RunQueue()
    fill(queue, "a", "G", 1)
    fill(queue, "b", "H", 2)

    assert take(queue, allowed={"H"}) == [[2]]
    assert take(queue, allowed={"G"}) == [[1]]


def test_no_more_is_handed_out_than_there_are_workers_free() -> None:
    queue = RunQueue()
    for name in "abc":
        fill(queue, name, name, name)

    assert take(queue, free=2) == [["a"], ["b"]]
    assert take(queue, free=0) == []


def test_what_a_person_asks_for_goes_first() -> None:
    """In the order it was asked for: before what is due of its flow, of its group, and of every other group."""
    queue = RunQueue()
    fill(queue, "c", "H", *range(5))
    fill(queue, "b", "G", *range(5))
    fill(queue, "a", "G", 1, 2)
    for name in ("first", "second"):
        queue.add(Work("a", "G", name, batch=name, turn=Turn.ASKED))

    assert [queue.first(flow) and queue.first(flow).run for flow in "abc"] == ["first", 0, 0]  # type: ignore[union-attr]
    order = []
    for _ in range(4):
        (((work,), *_),) = queue.take(free=1, max_parallel={}, may_start=lambda group: True)
        order.append(work.run)
        queue.ended(work.flow)
    assert order == ["first", "second", 0, 0]


def test_what_is_only_due_is_not_fed_to_a_group_somebody_waits_for() -> None:
    """Its running work ends, then what was asked for runs; other groups go on."""
    queue = RunQueue()
    fill(queue, "a", "G", *range(10))
    assert take(queue, a=4) == [[0], [1], [2], [3]]
    queue.add(Work("b", "G", "asked", turn=Turn.ASKED))
    fill(queue, "c", "H", "other")

    assert take(queue, a=4) == [["other"]]
    for _ in range(4):
        assert take(queue, a=4) == []
        queue.ended("a")
    assert take(queue, a=4) == [["asked"]]
    queue.ended("b")
    assert take(queue, a=4) == [[4], [5], [6], [7]]


def test_what_comes_back_keeps_its_place_behind_what_was_asked_for() -> None:
    """Taken back from a worker, it goes before its like only."""
    queue = RunQueue()
    fill(queue, "a", "G", 2, 3)
    queue.add(Work("a", "G", "asked", turn=Turn.ASKED))
    queue.add(Work("a", "G", 1), again=True)

    order = []
    while job := take(queue):
        order += job[0]
        queue.ended("a")
    assert order == ["asked", 1, 2, 3]


def test_dropped_work_does_not_run() -> None:
    queue = RunQueue()
    fill(queue, "a", "G", 1)
    fill(queue, "b", "H", 2)

    assert [work.run for work in queue.drop("a")] == [1]
    assert take(queue) == [[2]]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=60), st.integers(1, 4))
def test_everything_runs_once_and_no_group_twice_at_a_time(steps: list[tuple[str, int]], workers: int) -> None:
    """Whatever comes and ends in whatever order, nothing is lost, doubled, or beside its group."""
    groups = {"a": "G", "b": "G", "c": "H", "d": "H"}
    limits = {"a": 2, "c": 3}
    queue, running, done, added = RunQueue(), [], [], 0

    def check() -> None:
        for group in "GH":
            flows = {flow for flow, _ in running if groups[flow] == group}
            assert len(flows) <= 1
        for flow in groups:
            assert sum(one == flow for one, _ in running) <= limits.get(flow, 1)
        assert len(running) <= workers

    def start() -> None:
        jobs = queue.take(free=workers - len(running), max_parallel=limits, may_start=lambda group: True)
        running.extend((job.works[0].flow, [work.run for work in job.works]) for job in jobs)
        check()

    for flow, ending in steps:
        queue.add(Work(flow, groups[flow], added))
        added += 1
        start()
        if running and ending:
            ended, items = running.pop(ending % len(running))
            done.extend(items)
            queue.ended(ended, seconds=0.001, runs=len(items))
            start()
    while running:
        ended, items = running.pop(0)
        done.extend(items)
        queue.ended(ended)
        start()

    assert sorted(done) == list(range(added))


# -- passes -------------------------------------------------------------------------------------------------------


def passes(queue: RunQueue, **max_parallel: int) -> list[tuple[list[Any], int, bool]]:
    jobs = queue.take(free=99, max_parallel=max_parallel, may_start=lambda group: True)
    return [([work.run for work in job.works], job.pass_number, job.ends_pass) for job in jobs]


def test_what_waits_when_a_pass_begins_is_of_it_and_what_comes_later_is_of_the_next() -> None:
    queue = RunQueue()
    fill(queue, "a", "G", 1, 2)
    assert passes(queue) == [([1], 1, False)]
    fill(queue, "a", "G", 3)

    queue.ended("a", pass_number=1)
    assert queue.ended_passes() == []
    assert passes(queue) == [([2], 1, True)]
    queue.ended("a", pass_number=1)
    assert queue.ended_passes() == [1]
    assert passes(queue) == [([3], 2, True)]


def test_a_pass_that_several_workers_share_is_over_when_the_last_of_them_ends() -> None:
    queue = RunQueue()
    fill(queue, "a", "G", 1, 2)

    assert passes(queue, a=2) == [([1], 1, False), ([2], 1, False)]
    queue.ended("a", pass_number=1)
    assert queue.ended_passes() == []
    queue.ended("a", pass_number=1)
    assert queue.ended_passes() == [1]


def test_what_comes_back_of_a_job_stays_in_its_pass() -> None:
    queue = RunQueue()
    fill(queue, "a", "G", 1)
    assert passes(queue) == [([1], 1, True)]

    queue.add(Work("a", "G", 1), again=True)
    queue.ended("a", pass_number=1)

    assert queue.ended_passes() == []
    assert passes(queue) == [([1], 1, True)]


def test_what_a_person_asks_for_is_a_pass_of_its_own_between_the_works_of_another() -> None:
    queue = RunQueue()
    fill(queue, "a", "G", 1, 2)
    assert passes(queue) == [([1], 1, False)]
    queue.add(Work("a", "G", "asked", batch="request", turn=Turn.ASKED))

    queue.ended("a", pass_number=1)
    assert passes(queue) == [(["asked"], 2, True)]
    queue.ended("a", pass_number=2)
    assert queue.ended_passes() == [2]
    assert passes(queue) == [([2], 1, True)]


def test_dropped_work_leaves_its_pass() -> None:
    queue = RunQueue()
    fill(queue, "a", "G", 1, 2, 3)
    assert passes(queue) == [([1], 1, False)]

    queue.drop("a", only=lambda work: work.run == 2)
    queue.ended("a", pass_number=1)

    assert passes(queue) == [([3], 1, True)]
