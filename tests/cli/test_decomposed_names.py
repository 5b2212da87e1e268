"""A flow whose file a Mac named, with letters in two parts, is found by its name as everybody types it."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from data_engine import Batch, FlowValidationError, Workspace
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

FLOW = "from data_engine import Flow\ndef build():\n    return Flow(group='G').step(print)"
TYPED = "täglich"
FILED = unicodedata.normalize("NFD", TYPED)

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="there both are one name")


@pytest.fixture(autouse=True)
def inside(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    ws.notebook(FILED, FLOW)
    monkeypatch.chdir(ws.root)


def test_each_command_finds_it(cli: Cli) -> None:
    for words in (
        *(("compile", TYPED), ("deploy", TYPED), ("show", TYPED), ("explain", TYPED), ("run", "--once", TYPED)),
        *(("runs", TYPED), ("deployments", TYPED), ("disable", TYPED), ("enable", TYPED), ("undeploy", TYPED)),
    ):
        answer = cli(*words)
        assert answer.code == 0, (words, answer)
    assert cli("runs", TYPED, "--json").json[0]["flow"] == FILED


def test_a_name_that_is_there_as_it_was_typed_is_that(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.notebook(TYPED, FLOW)

    assert cli("compile", TYPED, "--json").json["name"] == TYPED
    assert cli("compile", FILED, "--json").json["name"] == FILED


def test_python_says_how_it_is_written(ws: WorkspaceFiles) -> None:
    with pytest.raises(FlowValidationError) as caught:
        Workspace(ws.root).load_flow(TYPED)

    assert "is written with other characters that look the same" in (caught.value.fix or "")
    assert "'ta\\u0308glich'" in (caught.value.fix or "")


COPY = """
from data_engine import Flow

def copy(context):
    target = context.mirror.with_suffix(".txt")
    target.write_text("x")
    return target

def read(file):
    return file.path.read_text()

def build():
    flow = Flow(group="G").watch(mode="poll", source="../in", interval="1s", extensions=".csv", run_as="{run_as}")
    return {steps}
"""
EACH = COPY.format(run_as="individual", steps='flow.mirror(root="../out").step(copy)')
ALL = COPY.format(run_as="batch", steps="flow.collect('.csv').map(read, save_as='texts')")


def test_two_files_of_one_name_never_take_each_others_place(ws: WorkspaceFiles) -> None:
    """They have one key, so that a row or a state of the one would stand for the other: each run fails, a batch warns."""
    for name in (TYPED, FILED):
        ws.source(f"in/{name}.csv", name)
    ws.module("each", EACH)
    ws.module("all", ALL)
    workspace = Workspace(ws.root)

    for name in (TYPED, FILED):
        with pytest.raises(FlowValidationError, match="two files are called"):
            workspace.load_flow("each").run_once(source=f"{name}.csv")
    assert not (ws.root / "out").exists()
    assert {run.status for run in workspace.runs("each")} == {"failed"}
    batch = workspace.load_flow("all").run_once()[0].current
    assert sorted(batch) == sorted([TYPED, FILED])
    assert [line.message.startswith("two files") for line in workspace.log(workspace.runs("all")[0].run_id)] == [True]
    with pytest.raises(FlowValidationError, match="two files are called"):
        workspace.load_flow("all").golden(use="texts")

    (ws.root / "in" / f"{FILED}.csv").unlink()
    assert len(workspace.load_flow("each").run_once()) == 1
    assert workspace.load_flow("all").run_once()[0].current == Batch((TYPED,))
