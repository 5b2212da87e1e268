"""A batch waits for what ran or was due in the flows that feed it: by the table, scene by scene, and against an oracle."""

from __future__ import annotations

from typing import Any

import pytest

from data_engine import Flow
from data_engine.planning.due import PlannedFlow
from data_engine.planning.feeds import Backlog, feeders
from data_engine.scheduler.feed_hold import FeedWaits
from tests.scheduler.upstream_schedules import violations


def planned(name: str, source: str | None, mirror: str, *, collect: str = "", **more: Any) -> PlannedFlow:
    flow = Flow("G", name)
    if "time" in more:
        flow = flow.watch(mode="schedule", **more, **({} if source is None else {"source": source, "run_as": "batch"}))
    elif source is not None:
        flow = flow.watch(**{"mode": "poll", "source": source, "interval": "30s", "extensions": ".csv"} | more)
    if collect:
        flow = flow.collect(".csv", root=collect)
    return PlannedFlow.of(flow.mirror(root=mirror))


TOTAL = planned("total", "/parts", "/sum", run_as="batch")
FIRST, LEFT, RIGHT = (
    planned("first", "/in", "/raw"),
    planned("left", "/raw", "/parts/l"),
    planned("right", "/raw", "/parts/r"),
)
OF_FIRST = {"left": {"first"}, "right": {"first"}}


@pytest.mark.parametrize(
    ("flows", "disabled", "expected"),
    [
        pytest.param([TOTAL, LEFT], "", {"left": set()}, id="its source contains a mirror"),
        pytest.param([TOTAL, planned("wide", "/in", "/")], "", {"wide": set()}, id="a mirror contains its source"),
        pytest.param([TOTAL, planned("other", "/in", "/parts2")], "", {}, id="a name that only begins alike"),
        pytest.param([TOTAL, FIRST], "", {}, id="none that writes its source"),
        pytest.param([TOTAL, FIRST, LEFT, RIGHT], "", {"first": set()} | OF_FIRST, id="diamond"),
        pytest.param([TOTAL, FIRST, LEFT], "left", {"left": set()}, id="disabled in the middle"),
        pytest.param(
            [TOTAL, FIRST, planned("left", "/raw", "/parts/l", time="06:00")],
            *("", {"first": set(), "left": set()}),
            id="a schedule in the middle finds nothing by looking",
        ),
        pytest.param([TOTAL, planned("back", "/sum", "/parts/b")], "", {}, id="a circle with itself"),
        pytest.param(
            [TOTAL, planned("a", "/x", "/parts/a/x"), planned("b", "/parts/a", "/x")],
            *("", {"a": set(), "b": set()}),
            id="a circle above it",
        ),
        pytest.param(
            [planned("total", "/parts", "/sum"), LEFT], "", {}, id="a flow that runs for each file never waits"
        ),
        pytest.param([planned("total", "/parts", "/sum", time="06:00"), LEFT], "", {"left": set()}, id="a slot"),
        pytest.param(
            [planned("total", None, "/sum", collect="/parts/l", time="06:00"), LEFT],
            "",
            {"left": set()},
            id="a collect",
        ),
        pytest.param(
            [TOTAL, planned("beside", "/parts/l", "/parts/l")],
            "",
            {"beside": set()},
            id="one that writes into its source",
        ),
    ],
)
def test_a_batch_waits_for_the_flows_whose_mirrors_its_source_lies_in(
    flows: list[PlannedFlow], disabled: str, expected: dict[str, set[str]]
) -> None:
    of = feeders("total", {flow.flow: flow for flow in flows}, {flow.flow for flow in flows} - {disabled})

    assert of == expected
    assert all(other in list(of)[: list(of).index(name)] for name in of for other in of[name])


class Scene:
    """The diamond, or some of it, and what is known of each flow."""

    def __init__(self, *flows: PlannedFlow) -> None:
        self.now_s = 10.0
        self.flows = {flow.flow: flow for flow in (TOTAL, *flows)}
        self.watched = dict(self.flows)
        self.runs: dict[str, tuple[str, ...]] = {}
        self.asked: dict[str, float] = {}
        runs: Any = lambda name, is_exact: self.runs.get(name, ())  # noqa: E731
        self.waits = FeedWaits(self.flows, self.watched, runs, self.asked.__setitem__, clock=lambda: self.now_s)

    def saw(self, flow: str, *items: str) -> None:
        """A look of the flow that began and ended now."""
        self.now_s += 1
        self.waits.note(flow, Backlog(self.now_s, frozenset(items)))

    def runs_total(self) -> bool:
        self.now_s += 1
        return self.waits.judge("total", self.now_s) is None

    def waits_for(self) -> tuple[str, str | None]:
        why = self.waits.judge("total", self.now_s)
        assert why is not None
        return why.flow, why.run_id


def test_a_missed_update_what_was_not_looked_at_yet_is_waited_for() -> None:
    """A feeder that looks rarely has not seen what the first one has written."""
    scene = Scene(FIRST, LEFT, RIGHT)
    assert not scene.runs_total()
    scene.saw("first")
    assert not scene.runs_total()
    scene.saw("left")
    assert not scene.runs_total()

    scene.saw("right", "a.csv")
    assert not scene.runs_total()
    scene.saw("right")

    assert scene.runs_total()


def test_its_feeders_are_asked_to_look_when_what_feeds_them_is_done() -> None:
    scene = Scene(FIRST, LEFT, RIGHT)
    scene.runs_total()
    assert scene.asked == {"first": 11.0}

    scene.saw("first")

    assert scene.asked == {"first": 11.0, "left": 12.0, "right": 12.0}


def test_a_look_that_began_before_does_not_count() -> None:
    scene = Scene(LEFT)
    scene.runs_total()

    scene.waits.note("left", Backlog(scene.now_s - 0.5))

    assert not scene.runs_total()


def test_a_batch_looks_at_its_own_sources_once_more() -> None:
    """What it has seen of them is from before its feeders were done."""
    scene = Scene(LEFT)
    scene.runs_total()
    scene.saw("left")

    assert scene.waits.judge("total", scene.now_s - 0.5) is not None
    assert scene.asked["total"] == scene.now_s
    assert scene.waits.judge("total", scene.now_s) is None


def test_a_late_file_prolongs_nothing() -> None:
    scene = Scene(LEFT)
    scene.runs_total()
    scene.saw("left", "a.csv")

    scene.saw("left", "a.csv", "late.csv")
    assert not scene.runs_total()
    scene.saw("left", "late.csv")

    assert scene.runs_total()


def test_a_file_that_changes_again_while_it_is_waited_for_prolongs_nothing() -> None:
    """A doubled event is two contents of one file: it is the first that was due."""
    scene = Scene(LEFT)
    scene.runs_total()
    scene.saw("left", "a.csv of 7 bytes")

    scene.saw("left", "a.csv of 9 bytes")

    assert scene.runs_total()


def test_what_begins_to_be_due_after_the_wait_began_anew_is_waited_for_the_next_time() -> None:
    scene = Scene(LEFT)
    scene.runs_total()
    scene.saw("left")
    assert scene.runs_total()
    scene.waits.end("total", is_begun=True)

    assert not scene.runs_total()
    scene.saw("left", "b.csv")

    assert not scene.runs_total()


def test_a_run_by_hand_in_a_manual_flow_is_waited_for_and_a_manual_flow_is_not() -> None:
    scene = Scene(LEFT)
    del scene.watched["left"]
    assert scene.runs_total()
    scene.waits.end("total")
    scene.runs["left"] = ("r1",)

    assert scene.waits_for() == ("left", "r1")
    scene.runs["left"] = ("r2",)

    assert scene.runs_total()


def test_a_flow_that_hangs_is_named_with_its_run() -> None:
    scene = Scene(LEFT, RIGHT)
    scene.runs_total()
    scene.runs["right"] = ("r7",)
    scene.saw("right", "a.csv")

    assert scene.waits_for() == ("right", "r7")
    scene.saw("left")
    scene.runs.clear()  # its time limit ends it, and the file is held
    scene.saw("right")

    assert scene.runs_total()


def test_a_flow_that_is_disabled_in_the_middle_blocks_no_more() -> None:
    scene = Scene(LEFT)
    scene.runs_total()
    scene.saw("left", "a.csv")

    del scene.watched["left"]
    scene.waits.forget("left")
    scene.waits.note("left")

    assert scene.runs_total()


def test_a_flow_of_which_nothing_is_known_for_a_moment_is_still_waited_for() -> None:
    """It was deployed anew with another interval: what was due in it is looked for again."""
    scene = Scene(LEFT)
    scene.runs_total()
    scene.saw("left", "a.csv")
    scene.waits.forget("left")
    scene.waits.note("left")

    assert not scene.runs_total()
    scene.saw("left", "a.csv")
    assert not scene.runs_total()
    scene.saw("left")

    assert scene.runs_total()


def test_no_schedule_breaks_a_promise() -> None:
    """Thousands of chains, diamonds and circles of flows that fail, hang, are disabled, run by hand and change their owner."""
    broken, counts = violations(range(2000))

    assert broken == []
    assert counts["batches that waited"] > 1000
