"""How much is said: the commands of every day in a real terminal of 120 columns and 24 rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from tests.support import WorkspaceFiles

if sys.platform == "win32":
    pytest.skip("a pseudo terminal of this kind is POSIX", allow_module_level=True)

from tests.cli.terminal import Terminal

FLOW = """
from data_engine import Flow
def read(context):
    return context.source.path.read_text()
def build():
    return Flow(group="Claims").watch(mode="poll", source="../in", interval="1h", settle=0).step(read, save_as="text")
"""
BROKEN = FLOW.replace("return context.source.path.read_text()", "raise ValueError('it is wrong ' * 30)")


@pytest.fixture
def root(ws: WorkspaceFiles) -> Iterator[Path]:
    """A workspace of sixteen flows, one of them failing with a long error, over two files."""
    for number in range(15):
        ws.module(f"claims_of_region_{number}", FLOW)
    ws.module("broken", BROKEN)
    for name in ("january.csv", "february.csv"):
        ws.source(f"in/{name}", "1")
    yield ws.root
    Workspace(ws.root).kill()


def said(root: Path, *arguments: str) -> list[str]:
    """The rows of the screen that something stands on, once the command has ended well."""
    with Terminal("--workspace", root, *arguments, columns=120, rows=60) as terminal:
        lines = terminal.said()
        assert terminal.end() == 0, terminal.text
        return lines


def test_a_deploy_of_one_flow_is_a_line_and_what_starts(root: Path) -> None:
    """Nothing of the fifteen others."""
    assert said(root, "deploy", "claims_of_region_1") == [
        "deployed      claims_of_region_1.py",
        "starts        claims_of_region_1: 2 files run once the engine is on (data-engine start)",
    ]
    assert said(root, "deploy", "claims_of_region_1") == ["unchanged     claims_of_region_1.py: as deployed before"]


def test_a_deploy_of_all_is_a_line_a_flow_before_it_asks(root: Path) -> None:
    """The list of what would go live, and what starts at once."""
    with Terminal("--workspace", root, "deploy", columns=120, rows=60) as terminal:
        terminal.wait_for("Deploy all 16?")
        lines = [line for line in terminal.lines if line]
        terminal.type("n\n")
        terminal.end()

    assert (lines[0], len(lines)) == ("This would change:", 18)
    assert all("2 files" in line for line in lines[1:17])


def test_start_is_two_lines_and_status_fits_the_screen(root: Path) -> None:
    """24 rows for sixteen flows, with the reason of each as far as it fits; one of them has failed."""
    Workspace(root).deploy()
    with Terminal("--workspace", root, "run", "--once", "broken", columns=120, rows=60) as terminal:
        terminal.end()

    assert len(said(root, "start")) == 2
    assert len(said(root, "stop")) <= 2
    assert len(said(root, "status")) <= 24
    assert len(said(root, "list")) <= 24


def test_a_preview_where_all_is_well_is_one_line_and_its_value(root: Path) -> None:
    """The caption has at most 120 columns of this terminal."""
    lines = said(root, "preview", "claims_of_region_1", "--use", "text", "--source", "january.csv")

    assert len(lines) == 2, lines


@pytest.mark.parametrize(("arguments", "most"), [(("run", "--once", "claims_of_region_1"), 4), (("--help",), 60)])
def test_what_runs_well_is_short(root: Path, arguments: tuple[str, ...], most: int) -> None:
    """A line a run, their sum, and that the flow is not deployed; the commands on one screen."""
    assert len(said(root, *arguments)) <= most
