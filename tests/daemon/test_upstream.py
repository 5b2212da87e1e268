"""A batch waits for the flows that feed it, in the real daemon."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from tests.daemon.support import ended, flow_of
from tests.support import WorkspaceFiles, until

EACH = """
    import time
    from pathlib import Path
    from data_engine import Flow

    def pass_on(context):
        while (Path(context.source.root).parent / "gate" / "{name}").exists():
            time.sleep(0.02)
        target = context.mirror.file(context.source.path.name)
        target.write_text(str({factor} * int(context.source.path.read_text())))
        return target

    def build():
        flow = Flow(group="{name}").watch(mode="poll", source="../{source}", interval="{interval}", settle=0, extensions=".csv")
        return flow.mirror(root="../{mirror}"{staged}).step(pass_on)
"""

TOTAL = """
    from pathlib import Path
    from data_engine import Flow

    def add(context):
        target = context.mirror.file("total.txt")
        target.write_text(str(sum(int(path.read_text()) for path in Path(context.source.root).rglob("*.csv"))))
        return target

    def build():
        flow = Flow(group="total").watch({watch}, source="../{source}", run_as="batch", extensions=".csv")
        return flow.mirror(root="../sum").step(add)
"""
POLLED = 'mode="poll", interval="100ms", settle=0'
TICKS = 'mode="schedule", interval="200ms"'


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    found = Workspace(ws.root)
    yield found
    found.kill()


def each(ws: WorkspaceFiles, name: str, source: str, mirror: str, **more: object) -> None:
    words = {"factor": 1, "interval": "100ms", "staged": ""} | more | {"name": name, "source": source, "mirror": mirror}
    text = EACH
    for word, value in words.items():
        text = text.replace("{" + word + "}", str(value))
    ws.notebook(name, text)


def total(ws: WorkspaceFiles, source: str, watch: str = POLLED) -> None:
    ws.notebook("total", TOTAL.replace("{watch}", watch).replace("{source}", source))


def why(workspace: Workspace) -> dict[str, object]:
    return flow_of(workspace, "total")["why"] or {}


def waits(workspace: Workspace) -> bool:
    return why(workspace).get("kind") == "upstream_running"


def test_a_diamond_over_files_runs_its_last_flow_at_most_twice(workspace: Workspace, ws: WorkspaceFiles) -> None:
    each(ws, "first", "in", "raw")
    each(ws, "left", "raw", "parts/left", factor=10)
    each(ws, "right", "raw", "parts/right", factor=100, interval="1s")
    total(ws, "parts")
    numbers = range(60)
    for number in numbers:
        ws.source(f"in/{number}.csv", str(number))

    workspace.start_engine()

    result = ws.root / "sum" / "total.txt"
    until(lambda: result.exists() and result.read_text() == str(110 * sum(numbers)), timeout_s=60)
    assert len(workspace.runs("total")) <= 2


def hold_back(ws: WorkspaceFiles, name: str) -> Path:
    """Let the runs of this flow hang until the file is gone."""
    return ws.source(f"gate/{name}")


def begin(workspace: Workspace, ws: WorkspaceFiles, watch: str = POLLED) -> Path:
    """One file is through, and the next one hangs in the first flow; the last one is due."""
    each(ws, "first", "in", "parts/first")
    total(ws, "parts", watch)
    ws.source("parts/given.csv", "1")
    ws.source("in/a.csv", "10")
    workspace.start_engine()
    result = ws.root / "sum" / "total.txt"
    until(lambda: result.exists() and result.read_text() == "11")
    until(lambda: not waits(workspace))
    gate = hold_back(ws, "first")
    ws.source("in/b.csv", "100")
    until(lambda: any(run.status == "started" for run in workspace.runs("first")))
    ws.source("parts/given.csv", "2")
    return gate


@pytest.mark.parametrize("watch", [POLLED, TICKS], ids=["poll", "slots"])
def test_a_batch_waits_for_a_run_under_way_and_says_so(workspace: Workspace, ws: WorkspaceFiles, watch: str) -> None:
    gate = begin(workspace, ws, watch)
    (run,) = until(lambda: [run for run in workspace.runs("first") if run.status == "started"])

    until(lambda: waits(workspace) and why(workspace)["run_id"] is not None)

    assert (why(workspace)["flow"], why(workspace)["run_id"]) == ("first", run.run_id)
    assert [row["why"]["kind"] for row in workspace.explain("total")].count("upstream_running") == 1
    assert flow_of(workspace, "total")["state_kind"] == ("polling" if watch == POLLED else "scheduled")
    gate.unlink()
    until(lambda: (ws.root / "sum" / "total.txt").read_text() == "112")
    until(lambda: watch == TICKS or not why(workspace))


def test_a_run_by_hand_never_waits(workspace: Workspace, ws: WorkspaceFiles) -> None:
    begin(workspace, ws)
    until(lambda: waits(workspace))

    workspace.run("total")

    until(lambda: (ws.root / "sum" / "total.txt").read_text() == "12")


def test_a_feeder_that_is_stopped_is_held_and_blocks_no_more(workspace: Workspace, ws: WorkspaceFiles) -> None:
    begin(workspace, ws)
    until(lambda: waits(workspace))
    (run,) = [run for run in workspace.runs("first") if run.status == "started"]

    workspace.kill_run(run.run_id)

    until(lambda: (ws.root / "sum" / "total.txt").read_text() == "12")


def test_a_batch_goes_on_when_its_feeder_is_disabled(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """With a file that is due in it and waits."""
    gate = begin(workspace, ws)
    ws.source("in/c.csv", "1000")
    until(lambda: waits(workspace))

    workspace.disable("first")
    gate.unlink()

    until(lambda: (ws.root / "sum" / "total.txt").read_text() == "112")


def test_the_same_outputs_made_again_start_nothing(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """A nightly flow that writes the same files makes no reader run."""
    each(ws, "first", "in", "parts", staged=", staged=True")
    total(ws, "parts")
    for number in range(20):
        ws.source(f"in/{number}.csv", str(number))
    workspace.start_engine()
    until(lambda: (ws.root / "sum" / "total.txt").exists() and (ws.root / "sum" / "total.txt").read_text() == "190")
    until(lambda: not why(workspace))
    runs = len(workspace.runs("total"))
    before = {path: path.stat().st_mtime_ns for path in (ws.root / "parts").glob("*.csv")}

    workspace.backfill("first", reprocess="all")
    until(lambda: len(ended(workspace, "first", 40)) == 40)

    time.sleep(0.5)
    assert len(workspace.runs("total")) == runs
    assert {path: path.stat().st_mtime_ns for path in (ws.root / "parts").glob("*.csv")} == before


def test_a_run_in_another_process_is_waited_for(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """As from a notebook or a command line; its flow is disabled, so that nothing else of it runs."""
    gate = begin(workspace, ws)
    workspace.disable("first")
    gate.unlink()
    until(lambda: (ws.root / "sum" / "total.txt").read_text() == "112")
    until(lambda: not why(workspace))
    gate = hold_back(ws, "first")
    ws.source("in/c.csv", "1000")
    by_hand = threading.Thread(target=workspace.load_flow("first").run_once, kwargs={"source": "c.csv"})
    by_hand.start()
    (run,) = until(lambda: [run for run in workspace.runs("first") if run.status == "started"])

    ws.source("parts/given.csv", "3")

    until(lambda: why(workspace).get("run_id") == run.run_id)
    gate.unlink()
    by_hand.join()
    until(lambda: (ws.root / "sum" / "total.txt").read_text() == "1113")


def test_a_daemon_that_is_killed_in_the_middle_waits_for_nothing_that_is_gone(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    """What its run would have made is made again, and waited for anew."""
    gate = begin(workspace, ws)
    until(lambda: waits(workspace))

    workspace.kill()
    gate.unlink()
    workspace.start_engine()

    until(lambda: (ws.root / "sum" / "total.txt").read_text() == "112")
    assert len(workspace.runs("total")) <= 4  # two of them may be of its begin, before the first file was through
