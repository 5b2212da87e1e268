"""The log of a run tells with which values of its declared parameters it ran, also those it was not given."""

from __future__ import annotations

import pytest

from data_engine import Workspace
from data_engine.cli.app import run as command
from tests.support import WorkspaceFiles

FLOW = """
    from dataclasses import dataclass, field
    from data_engine import Flow, Secret

    @dataclass
    class Settings:
        dwh: Secret
        share: float = 1.0
        month: str = field(default_factory=lambda: "2026-" + "11")

    def build():
        return Flow(group="G").params(Settings).step(lambda context: None, label="Look")
"""


def test_values_that_were_not_given_stand_in_the_log(
    ws: WorkspaceFiles, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record holds what was given, as before; a secret is hidden."""
    monkeypatch.setenv("DATA_ENGINE_SECRET_DWH", "correct horse")
    ws.notebook("claims", FLOW)
    workspace = Workspace(ws.root)

    workspace.load_flow("claims").run_once(params={"share": 0.5})
    workspace.load_flow("claims").run_once()

    by_default, given = workspace.runs("claims")
    told = [[line.message for line in workspace.log(run.run_id)] for run in (given, by_default)]
    assert told == [
        ["params by default: dwh=***, month=2026-11"],
        ["params by default: dwh=***, share=1.0, month=2026-11"],
    ]
    assert (given.params, by_default.params) == ({"share": 0.5}, None)
    assert command(["--workspace", str(ws.root), "log", by_default.run_id]) == 0
    assert "month=2026-11" in capsys.readouterr().out
