"""A batch waits for the flows that feed it, in the real daemon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from data_engine import Workspace
from tests.daemon.support import flow_of
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
        return flow.mirror(root="../{mirror}").step(pass_on)
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


def each(ws: WorkspaceFiles, name: str, source: str, mirror: str, factor: int = 1, interval: str = "100ms") -> None:
    text = EACH
    for word, value in {
        "name": name,
        "source": source,
        "mirror": mirror,
        "factor": factor,
        "interval": interval,
    }.items():
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
    each(ws, "left", "raw", "parts/left", 10)
    each(ws, "right", "raw", "parts/right", 100, interval="1s")
    total(ws, "parts")
    numbers = range(60)
    for number in numbers:
        ws.source(f"in/{number}.csv", str(number))

    workspace.start_engine()

    result = ws.root / "sum" / "total.txt"
    until(lambda: result.exists() and result.read_text() == str(110 * sum(numbers)), timeout_s=60)
    assert len(workspace.runs("total")) <= 2
