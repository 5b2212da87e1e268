"""A source that is not there, or holds nothing to run for, is told at once with what helps."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.cli.app import run as command
from data_engine.status import places as source_trouble
from data_engine.status.places import source_warnings, why_nothing
from tests.support import WorkspaceFiles

FLOW = """
    from data_engine import Flow

    def build():
        return Flow(group="G").watch(mode="manual", source="../in", extensions=".csv").step(print)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Workspace:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    ws.notebook("claims", FLOW)
    return Workspace(ws.root)


def nothing(root: Path) -> None:
    """The folder is not there."""


def empty(root: Path) -> None:
    root.mkdir()


def other_files(root: Path) -> None:
    root.mkdir()
    (root / "a.txt").touch()
    (root / "b.xlsx").touch()


def hidden_files(root: Path) -> None:
    root.mkdir()
    (root / ".a.csv").touch()
    (root / "a.csv.tmp").touch()


def a_file(root: Path) -> None:
    root.touch()


@pytest.mark.parametrize(
    ("make", "warning", "why"),
    [
        pytest.param(nothing, "does not exist; create it, connect its drive", "does not exist", id="missing"),
        pytest.param(empty, None, "the folder is empty; put files there", id="empty"),
        pytest.param(
            other_files, None, "there are only .txt, .xlsx files, and the flow takes .csv", id="other endings"
        ),
        pytest.param(hidden_files, None, "is hidden, temporary, a lock file", id="no candidates"),
        pytest.param(a_file, "is a file, and the flow takes .csv; name its folder", "is a file", id="a file"),
    ],
)
def test_what_lies_there_is_told_with_what_helps(
    ws: WorkspaceFiles, workspace: Workspace, make: Callable[[Path], None], warning: str | None, why: str
) -> None:
    """A warning only where nothing could ever run as it is: an empty folder is a folder that waits."""
    make(ws.root / "in")
    flow = workspace.load_flow("claims")

    assert why in why_nothing(flow)
    found = source_warnings(flow)
    assert [str(ws.root / "in") in one and warning is not None and warning in one for one in found] == [True] * bool(
        warning
    )


def test_below_a_file_no_folder_can_be(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.source("data.csv")
    ws.notebook("claims", FLOW.replace("../in", "../data.csv/in"))

    (warning,) = source_warnings(workspace.load_flow("claims"))

    assert f"cannot exist, because {ws.root / 'data.csv'} is a file" in warning


@pytest.mark.parametrize(
    ("written", "there", "said"),
    [
        ("../Inbox", "inbox", "did you mean {root}/inbox? Else create it"),
        ("../inbx/north", "inbox/north", "did you mean {root}/inbox/north? Else create it"),
        ("../wholly other", "inbox", "does not exist; create it"),
        (r"..\\inbox", "inbox", 'write "/" between folders'),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="names differ in more than case there, and a backslash separates")
def test_a_name_that_is_nearly_right_is_told_by_a_deploy_and_a_preview(
    ws: WorkspaceFiles, workspace: Workspace, written: str, there: str, said: str
) -> None:
    (ws.root / there).mkdir(parents=True)
    ws.notebook("claims", FLOW.replace("../in", written))

    flow = workspace.load_flow("claims")
    (warning,) = source_warnings(flow)
    with pytest.raises(FlowValidationError) as caught:
        flow.preview()

    assert said.format(root=ws.root) in warning
    assert said.format(root=ws.root).removeprefix("does not exist; ") in str(caught.value.fix)


@pytest.mark.parametrize(
    ("written", "what", "fix"),
    [
        (
            "../inbox/*.csv",
            "is a pattern, not a folder",
            'give "../inbox", and choose its files with extensions=".csv"',
        ),
        ("*.csv", "is a pattern, not a folder", "name the folder"),
        ("https://example.org/data", "is an address, not a folder", "let a step fetch"),
        ("s3://bucket/data", "is an address, not a folder", "let a step fetch"),
    ],
)
def test_what_can_be_no_folder_is_refused_where_it_stands(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str], written: str, what: str, fix: str
) -> None:
    ws.notebook("claims", FLOW.replace("../in", written))

    assert command(["--workspace", str(ws.root), "deploy", "claims"]) == 1
    told = capsys.readouterr().out
    assert f"{written} {what}" in told
    assert fix in told


def test_a_deploy_warns_of_a_source_that_is_not_there(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """And deploy all the same: its drive may be connected tomorrow."""
    said = f"warning: claims: its source {ws.root / 'in'} does not exist; create it"
    assert command(["--workspace", str(ws.root), "deploy", "claims"]) == 0
    assert said in capsys.readouterr().err
    assert workspace.deployment("claims") == "as deployed"
    assert command(["--workspace", str(ws.root), "show", "claims"]) == 0
    assert "does not exist" in capsys.readouterr().out
    assert command(["--workspace", str(ws.root), "list", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert "does not exist" in entry["warnings"][0]

    ws.notebook(
        "makes", FLOW.replace('watch(mode="manual", source="../in", extensions=".csv")', 'mirror(root="../in")')
    )
    assert [entry.warnings for entry in workspace.deploy()] == [(), ()]  # its first run makes the folder
    (ws.root / "in").mkdir()
    assert command(["--workspace", str(ws.root), "show", "claims"]) == 0
    assert "does not exist" not in capsys.readouterr().out


def test_a_run_in_the_daemon_that_finds_nothing_says_why(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    other_files(ws.root / "in")
    workspace.deploy()

    try:
        assert command(["--workspace", str(ws.root), "run", "claims"]) == 0
    finally:
        workspace.kill()
    told = capsys.readouterr().out
    assert "there are only .txt, .xlsx files, and the flow takes .csv; correct extensions=" in told


def test_a_drive_that_hangs_is_told_and_holds_up_neither_a_list_nor_a_deploy(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other flows are looked at all the same."""
    answers, real = threading.Event(), source_trouble._source_trouble

    def look(source: Path, extensions: tuple[str, ...] | None) -> str | None:
        if "hangs" in source.name:
            answers.wait(60)
        return real(source, extensions)

    monkeypatch.setattr(source_trouble, "_source_trouble", look)
    monkeypatch.setattr(source_trouble, "LOOK_LIMIT_S", 0.8)
    text = "from data_engine import Flow\ndef build():\n    return Flow(group='G').watch(mode='manual', source='../{}').step(print)\n"
    for name, source in (("a", "hangs_1"), ("b", "missing"), ("c", "hangs_2"), ("d", "there")):
        ws.module(name, text.format(source))
    ws.source("there/x.txt")
    workspace = Workspace(ws.root)
    try:
        entries = {entry.name: entry for entry in workspace.deploy()}
        assert command(["--workspace", str(workspace.root), "list", "--json"]) == 0
    finally:
        answers.set()

    told = {name: entry.warnings for name, entry in entries.items()}
    assert ["gave no answer within 0.8 s" in " ".join(told[name]) for name in "abcd"] == [True, False, True, False]
    assert "does not exist" in " ".join(told["b"])
    assert told["d"] == ()
    assert all(entry.error is None for entry in entries.values())
