"""A preview changes nothing that production reads: what deployed flows watch and write, whatever process previews."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine import FlowExecutionError, Workspace, load_flow
from tests.support import WorkspaceFiles

POLLS = """
from data_engine import Flow

def write(context):
    context.mirror.with_suffix(".txt").write_text("x")

def build():
    return Flow(group="G").watch(mode="poll", source="../roh", interval="1h").mirror(root="../fertig").step(write)
"""
DRAFT = """
import os, shutil
from pathlib import Path
from data_engine import Flow

HERE = Path(__file__).parent

def read(context):
    return os.listdir(HERE / "../roh")

def change(context):
    for n in context.current:
        {change}

def build():
    return Flow(group="G").watch(mode="manual").step(read, save_as="names").step(change)
"""
ACCIDENTS = {
    "moves inputs to an archive": 'shutil.move(HERE / "../roh" / n, HERE / "../archiv" / n)',
    "removes inputs": 'os.remove(HERE / "../roh" / n)',
    "empties inputs": 'open(HERE / "../roh" / n, "w").close()',
}
NEW = {
    "into a watched folder": ('(HERE / "../roh/new.csv").write_text("x")', "the deployed flow polls watches"),
    "below a watched folder": (
        '(HERE / "../roh/sub").mkdir(); (HERE / "../roh/sub/new.csv").write_text("x")',
        "the deployed flow polls watches",
    ),
    "into a mirror": (
        '(HERE / "../fertig").mkdir(exist_ok=True); (HERE / "../fertig/new.csv").write_text("x")',
        "is the mirror of the deployed flow polls",
    ),
}


@pytest.fixture
def roh(ws: WorkspaceFiles) -> Path:
    """The folder that a deployed flow polls."""
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    ws.source("archiv/readme.txt")
    source = ws.source("roh/a.csv", "a\n1\n")
    ws.module("polls", POLLS)
    Workspace(ws.root).deploy("polls")
    return source.parent


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("change", ACCIDENTS.values(), ids=ACCIDENTS)
def test_the_inputs_of_another_flow_stay(ws: WorkspaceFiles, roh: Path, change: str) -> None:
    ws.module("draft", DRAFT.format(change=change))
    before = files(ws.root / "roh") | files(ws.root / "archiv")

    with pytest.raises(FlowExecutionError, match="the deployed flow polls watches") as caught:
        load_flow("draft", data_root=ws.root).preview()

    assert files(ws.root / "roh") | files(ws.root / "archiv") == before
    assert "draft.py, line" in str(caught.value)
    assert "preview(use='names')" in str(caught.value.fix)
    load_flow("draft", data_root=ws.root).preview(write=True)
    assert files(ws.root / "roh") | files(ws.root / "archiv") != before


@pytest.mark.parametrize(("change", "why"), NEW.values(), ids=NEW)
def test_nothing_new_comes_where_a_deployed_flow_reads_or_writes(
    ws: WorkspaceFiles, roh: Path, change: str, why: str
) -> None:
    ws.module("draft", DRAFT.format(change=change))

    with pytest.raises(FlowExecutionError, match=why):
        load_flow("draft", data_root=ws.root).preview()

    assert not list(ws.root.rglob("new.csv"))


def test_what_is_not_deployed_watches_nothing(ws: WorkspaceFiles, roh: Path) -> None:
    Workspace(ws.root).undeploy("polls")
    ws.module("draft", DRAFT.format(change=NEW["into a watched folder"][0]))

    load_flow("draft", data_root=ws.root).preview()

    assert (roh / "new.csv").exists()
