"""`demo` and `lab`: from nothing to results, and to JupyterLab."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from data_engine.cli.browser import lab_command, lab_hint
from data_engine.workspace.layout import WorkspaceLayout
from jupyter_extension.server import kernel_variables
from tests.cli.conftest import Cli
from tests.support import notebook_bytes


def test_the_demo_runs_its_flows_and_says_how_to_open_it(cli: Cli) -> None:
    """A second time gives the same."""
    for _ in range(2):
        answer = cli("demo")

        assert answer.code == 0
        assert f"Demo workspace: {Path.cwd() / 'data-engine-demo'}" in answer.out
        steps = [re.split(r"  +", line.rstrip()) for line in answer.out.splitlines()]
        shown = {step[0]: (step[1], step[-1]) for step in steps if len(step) > 2}
        assert shown["Read Flights"][0] == shown["Clean Flights"][0] == "12,208"
        assert shown["Concat Days"][0] == "12,206"
        assert shown["Write Parquet"] == ("12,206", "14 files in output/daily_flights/")
        assert shown["Load Database"][-1] == "databases/flights.duckdb"
        assert shown["Summarize Carrier Days"][0] == "206"
        assert shown["Write Summary"][-1] == "2 files in output/carrier_summary/"
        assert shown["Find Late Flights"][0] == "569"
        assert shown["Write Report"][-1] == "output/delay_report/delay_report.xlsx"
        assert shown["Report"][-1] == "output/delay_report/delay_report.html"
        commands = [line.strip() for line in answer.out.splitlines() if line.startswith("  data-engine")]
        assert commands == [
            f"data-engine --workspace data-engine-demo {command}" for command in ("lab", "deploy", "start")
        ]


def test_the_demo_as_json(cli: Cli, tmp_path: Path) -> None:
    answer = cli("demo", tmp_path / "my demo", "--json")

    assert answer.code == 0
    assert answer.json["workspace_root"] == str(tmp_path / "my demo")
    assert [(flow["flow"], flow["sources"]) for flow in answer.json["flows"]] == [
        ("daily_flights", 14),
        ("carrier_summary", 1),
        ("delay_report", 1),
    ]
    outputs = [Path(path) for flow in answer.json["flows"] for step in flow["steps"] for path in step["outputs"]]
    assert len(outputs) == 19
    assert all(path.is_file() for path in outputs)
    quote = '"' if sys.platform == "win32" else "'"  # as PowerShell and the command prompt both take it
    assert answer.json["open_with"] == f"data-engine --workspace {quote}{tmp_path / 'my demo'}{quote} lab"


def test_what_is_in_the_folder_stays(cli: Cli, tmp_path: Path) -> None:
    """A folder that is not ours is added to; a file of the same name is kept, and the demo runs with it or fails."""
    mine = tmp_path / "mine"
    kept = {
        "notes.txt": "mine",
        "data/airlines.csv": "carrier,name\nUA,My airline\n",
        "config/data_engine.toml": "# mine\n",
    }
    for name, text in kept.items():
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text(text)

    answer = cli("demo", mine)

    assert answer.code == 0
    assert {name: (mine / name).read_text() for name in kept} == kept


def test_a_demo_flow_that_fails_is_told_with_its_cell(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine" / "data").mkdir(parents=True)
    (tmp_path / "mine" / "data" / "airlines.csv").write_text("code,name\nUA,x\n")

    answer = cli("demo", tmp_path / "mine")

    assert answer.code == 1
    assert "daily_flights.ipynb, cell 4" in answer.err


def test_lab_serves_the_workspace_and_opens_its_first_notebook(tmp_path: Path) -> None:
    """Options for JupyterLab go last, so that they win."""
    layout = WorkspaceLayout(tmp_path / "claims")
    layout.flow_modules_dir.mkdir(parents=True)
    for name in ("_scratch.ipynb", "b.ipynb", "a claim.ipynb", "c.py"):
        (layout.flow_modules_dir / name).touch()

    assert lab_command(layout, ["--no-browser"]) == [
        *(sys.executable, "-m", "jupyter", "lab"),
        f"--ServerApp.root_dir={tmp_path / 'claims'}",
        "--LabApp.default_url=/lab/tree/flow_modules/a%20claim.ipynb",
        "--no-browser",
    ]


def test_the_hint_is_short_inside_and_whole_outside(tmp_path: Path) -> None:
    assert lab_hint(Path.cwd() / "demo") == "data-engine --workspace demo lab"
    assert lab_hint(tmp_path / "demo") == f"data-engine --workspace {tmp_path / 'demo'} lab"


@pytest.mark.parametrize("is_lab", [True, False])
def test_every_kernel_has_the_magic_also_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_lab: bool
) -> None:
    """Of `data-engine lab` and of any Jupyter server with our extension, without a cell that loads it; the person's own
    start-up file is executed too, and no name of ours is left."""
    own = tmp_path / "own.py"
    own.write_text("mine = 3\n")
    for name, value in kernel_variables({"PYTHONSTARTUP": str(own)}).items():
        monkeypatch.setenv(name, value)
    if is_lab:
        monkeypatch.setenv("DATA_ENGINE_WORKSPACE_ROOT", str(tmp_path / "claims"))
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    try:
        for _ in range(2):
            said: list[str] = []
            client.execute_interactive(
                "%flow --help\nprint(mine, 'os' in globals(), '_start' in globals())",
                timeout=60,
                output_hook=lambda message, said=said: said.append(message["content"].get("text", "")),
            )
            assert "preview" in "".join(said)
            assert "3 False False" in "".join(said)
            manager.restart_kernel(now=True)
            client.wait_for_ready(timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_kernel_that_has_imported_a_flow_loads_the_magic_when_it_is_used(tmp_path: Path) -> None:
    """Nobody has to know the line that loads it; `%flow` gives its value."""
    notebook = tmp_path / "look.ipynb"
    notebook.write_bytes(notebook_bytes("from data_engine import Flow", "%flow --help"))
    found = nbformat.read(notebook, as_version=4)
    NotebookClient(found, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()

    assert "preview" in found.cells[1].outputs[0].text
