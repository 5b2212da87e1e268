"""What a run of the daemon is recorded with: what began it, for whom, and which deployment it ran."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.cli.app import run as command
from data_engine.platforms.host import user_name
from jupyter_extension.actions import answer
from tests.support import AUTO, WorkspaceFiles, until

FLOW = """
    from dataclasses import dataclass
    from pathlib import Path
    import polars as pl
    from data_engine import Flow, Secret

    @dataclass
    class Settings:
        dwh: Secret | None
        share: float = 1.0

    def read(context):
        return pl.read_csv(context.source.path)

    def check(context):
        if Path("../fail").exists():
            raise ValueError("not yet")
        return context.current.head(1)

    def build():
        return (
            Flow(group="G").watch(mode="poll", source="../in", interval="200ms", settle=0).params(Settings)
            .step(read).step(check)
        )
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("config/data_engine.toml", AUTO)
    ws.source("in/a.csv", "a\n1\n2\n")
    ws.source("fail", "")
    ws.notebook("claims", FLOW)
    found = Workspace(ws.root)
    found.deploy("claims")
    yield found
    found.kill()


def test_each_way_to_begin_a_run_is_told(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """A file, a retry, a person; the files, rows, code and cost of each; in the panel and on the command line too."""
    workspace.start_engine()
    until(lambda: [run.status for run in workspace.runs()] == ["failed"])
    os.remove(workspace.root / "fail")
    workspace.retry("claims")
    until(lambda: [run.status for run in workspace.runs()] == ["success", "failed"])
    asked = workspace.run("claims", params={"share": "0.5"})[0]

    runs = workspace.runs()
    by_hand, retried, first = runs
    assert [run.trigger and run.trigger.kind for run in (first, retried, by_hand)] == ["file", "retry", "hand"]
    assert {run.by.split("@")[0] for run in runs if run.by} == {user_name()}
    assert {run.deployment_id for run in runs} == {workspace.deployments("claims")[0].id}
    assert [run.params for run in runs] == [{"share": 0.5}, None, None]
    assert [Path(one.path).name for one in first.inputs] == ["a.csv"]
    assert [(step.rows_in, step.rows_out) for step in workspace.steps(by_hand.run_id)] == [(None, 2), (2, 1)]
    assert by_hand.environment == retried.environment == first.environment
    assert workspace.home.ledger().environment(by_hand.environment or "")
    assert (by_hand.cpu_s or 0) >= 0
    assert (by_hand.peak_memory_bytes or 0) > 1_000_000

    shown = answer(str(workspace.root), "run_details", {"run_id": asked.run_id})["result"]  # type: ignore[union-attr]
    facts = dict(shown["facts"])
    assert (facts["Started"], facts["Params"]) == ("by hand", "share=0.5")
    assert shown["steps"][1]["rows"] == "2 → 1"
    flow = answer(str(workspace.root), "flow", {"flow": "claims"})["result"]
    assert ([one["name"] for one in flow["parameters"]], flow["last_params"]) == (["dwh", "share"], {"share": 0.5})
    command(["--workspace", str(workspace.root), "log", by_hand.run_id])
    out = capsys.readouterr().out
    assert "Params    share=0.5" in out
    assert "2 → 1" in out
