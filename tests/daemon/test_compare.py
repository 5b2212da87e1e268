"""What differs between two runs: told by kind, the most telling first; what is not known is said, never guessed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.cli.app import run as command
from data_engine.display_hook import bundle_of
from data_engine.model import Run, RunAbout, RunTrigger
from data_engine.status.run_comparison import Change, Comparison, compare
from jupyter_extension.actions import answer
from tests.ledger.events import begin, end, finish, start
from tests.support import AUTO, WorkspaceFiles

CELLS = (
    "import polars as pl\nfrom data_engine import Flow\nfrom flow_helpers.rates import RATE",
    "def read(context):\n    return pl.read_csv(context.source.path)",
    "def keep(context):\n    return context.current.filter(pl.col('a') > {least})",
    "def build():\n    return (\n        Flow(group='G').watch(mode='manual', source='../in')\n        .step(read).step(keep)\n    )",
)


def notebook(ws: WorkspaceFiles, least: int) -> None:
    ws.notebook("claims", *(cell.replace("{least}", str(least)) for cell in CELLS))


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("config/data_engine.toml", AUTO.replace("auto", "ask"))
    ws.source("in/a.csv", "a\n1\n2\n3\n")
    ws.helper("rates", "RATE = 1\n")
    notebook(ws, 1)
    found = Workspace(ws.root)
    found.deploy("claims")
    yield found
    found.kill()


def run(workspace: Workspace, **params: object) -> str:
    return workspace.run("claims", params=params)[0].run_id  # type: ignore[union-attr]


def test_code_params_inputs_and_rows_of_two_runs(
    workspace: Workspace, ws: WorkspaceFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cells come from the two deployed sets, whatever the notebook holds by then."""
    first = run(workspace, month="2013-01")
    same = run(workspace, month="2013-01")
    notebook(ws, 2)
    ws.helper("rates", "RATE = 2\n")
    workspace.deploy("claims")
    ws.source("in/a.csv", "a\n1\n2\n3\n4\n5\n")
    notebook(ws, 9)
    second = run(workspace, month="2013-02")

    found = workspace.compare(first, second)
    assert [(one.name, list(one.lines)) for one in found.code] == [
        (
            "cell 3",
            [
                "-     return context.current.filter(pl.col('a') > 1)",
                "+     return context.current.filter(pl.col('a') > 2)",
            ],
        ),
        ("flow_helpers/rates.py", ["- RATE = 1", "+ RATE = 2"]),
    ]
    assert found.params == (Change("month", "2013-01", "2013-02"),)
    assert [(one.name, one.before, one.after) for one in found.rows] == [
        ("Read out", 3, 5),
        ("Keep in", 3, 5),
        ("Keep out", 2, 3),
    ]
    assert len(found.inputs) == 1
    assert (found.environment, found.notes, found.is_equal) == ((), (), False)
    assert Comparison.read(found.as_dict()) == found
    assert workspace.compare(first, same).is_equal

    assert command(["--workspace", str(workspace.root), "compare", first[:12], second[:12]]) == 0
    out = capsys.readouterr().out
    assert out.index("cell 3") < out.index("month: 2013-01 → 2013-02") < out.index("Keep out: 2 → 3")
    shown = answer(str(workspace.root), "compare", {"run_a": first, "run_b": second})["result"]["html"]
    assert "month: 2013-01 → 2013-02" in shown
    assert "month: 2013-01 → 2013-02" in (bundle_of(found) or {})["text/plain"]
    with pytest.raises(FlowValidationError, match="there is no run"):
        workspace.compare(first, "nothing")


def test_what_is_not_known_is_said(workspace: Workspace) -> None:
    """Of a run of the folder's content, and of one that an older version recorded."""
    ledger = workspace.home.ledger()
    ledger.record(start("old"), finish("old"))
    about = RunAbout(
        git_commit="ab" * 20, git_dirty=True, environment="e1", python="3.11.7", distributions='["polars 1"]'
    )
    other = about._replace(git_commit="cd" * 20, environment="e2", python="3.12.1", distributions='["polars 2", "x 1"]')
    ledger.record(start("a")._replace(about=about), begin("a"), end("a"), finish("a"))
    ledger.record(start("b")._replace(about=other), begin("b"), end("b"), finish("b", elapsed_s=9.0))

    found = workspace.compare("old", "a")
    assert any("for old, only times, steps and errors were recorded" in note for note in found.notes)
    found = workspace.compare("a", "b")
    assert [one.name for one in found.code] == ["Git commit"]
    assert found.notes[0] == f"run a ran the modules as they were in the folder at commit {'ab' * 4}, with edits"
    assert found.environment == (
        Change("Python", "3.11.7", "3.12.1"),
        Change("polars", "1", "2"),
        Change("x", None, "1"),
    )
    assert found.durations == (Change("the run", 3.0, 9.0),)


def test_runs_of_two_flows_can_be_compared(workspace: Workspace) -> None:
    a = Run("a", "claims", "G", None, "success", "t0", trigger=RunTrigger("hand"))
    b = Run("b", "audit", "G", None, "success", "t0")

    assert "they are of different flows: claims and audit" in compare(workspace.home, a, b).notes
