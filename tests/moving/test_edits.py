"""What needs a look in the modules of the older system is listed with its cell and line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from data_engine.moving.edits import edits_of_module, find_edits
from tests.moving.conftest import Claims, Cli
from tests.support import WorkspaceFiles

BUILD = """
    def build():
        return Flow(group="G").step(load)
"""
LOAD = """
    from data_engine import Flow

    def load(context):
        return 1
"""


def listed(ws: WorkspaceFiles, *cells: str) -> list[tuple[int | None, int, str]]:
    ws.notebook("claims", *cells)
    return [(edit.cell, edit.line, edit.what) for edit in find_edits(ws.modules)]


def test_a_notebook_that_is_right_has_none(ws: WorkspaceFiles) -> None:
    looks = "build().preview()\nbuild().preview(use='x').head()\nprint('hello')\nFlow(group='G').step(load).show()"

    assert listed(ws, LOAD, BUILD, "build().preview()", "print(load(None))", looks.splitlines()[1]) == []


@pytest.mark.parametrize(
    ("cell", "line", "what"),
    [
        ("x = 1\nprepare_folders()", 2, "`prepare_folders(...)` was called when the module was loaded"),
        ("import flow_helpers.logs as logs\nlogs.start()", 2, "`logs.start(...)`"),
    ],
)
def test_calls_that_production_leaves_out(ws: WorkspaceFiles, cell: str, line: int, what: str) -> None:
    """The older system made them each time it loaded the notebook."""
    ((number, at, told),) = listed(ws, LOAD, "def prepare_folders():\n    pass", cell, BUILD)

    assert (number, at, what in told) == (3, line, True), told


@pytest.mark.parametrize(
    ("code", "line", "what", "fix"),
    [
        (
            'Flow(group="G").watch(mode="poll", source="../in", interval="10m",\n    settle=3)',
            2,
            "settle=3 was 3 polls of 10m; here it is 3 s",
            'write settle="1800s" to wait as long as before',
        ),
        ('Flow(group="G").watch(mode="poll", source=S, interval=I, settle=N)', 1, "settle counted polls", "settle="),
        ("from data_engine.hosts.daemon import app", 1, "this part of the older system is not here", "import what"),
        ("import data_engine.core.flow", 1, "this part of the older system is not here", "import what"),
        ("from data_engine import FlowCatalogEntry", 1, "there is no such name", "import what"),
        ("from data_engine.helpers import DataEngineDataFrameNamespace", 1, "there is no such helper", "import what"),
        (
            "from data_engine.helpers import networkdays\nframe.with_columns(networkdays('a', 'b'))",
            2,
            "its column is called 'networkdays' here",
            '.alias("...")',
        ),
        ("frame.with_columns(frame.de.workday('a', 3))", 1, "its column is called 'workday' here", ".alias"),
        (
            "from data_engine.helpers import remove_null_columns as clean\nclean(df=frame)",
            2,
            "remove_null_columns(df=...): there is no such argument",
            "it takes frame",
        ),
        ('frame.de.replace_table("a.duckdb", "t", df=frame)', 1, "there is no such argument", "leave it out"),
        ('context.database("../other.duckdb")', 1, "leaves its folder", "inside it"),
        ('context.mirror.file("../../x.json")', 1, "leaves its folder", "inside it"),
        ("schema.dtypes.apply(frame=raw)", 1, "there is no such argument", "df="),
        ("def (", 1, "it cannot be read", "correct it"),
    ],
)
def test_what_has_changed_between_the_systems(tmp_path: Path, code: str, line: int, what: str, fix: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(dedent(code), encoding="utf-8")

    (edit,) = edits_of_module(path, "module.py")

    assert (edit.line, what in edit.what, fix in edit.fix) == (line, True, True), edit
    assert edit.place == f"module.py, line {line}"


@pytest.mark.parametrize(
    "code",
    [
        'Flow(group="G").watch(mode="poll", source="../in", interval="10m")',
        'Flow(group="G").watch(mode="poll", source="../in", interval="10m", settle=0)',
        "from data_engine import Flow, FlowContext, helpers\nfrom data_engine.helpers import duckdb, replace_table",
        "from data_engine.helpers import networkdays\nframe.with_columns(networkdays('a', 'b').alias('days'))",
        "from data_engine.helpers import networkdays\nframe.with_columns(days=networkdays('a', 'b') + 1)",
        "from data_engine.helpers import networkdays\nframe.filter(networkdays('a', 'b') > 3)",
        "from data_engine.helpers import replace_table\nreplace_table('a.duckdb', 't', df=frame)",
        "schema.dtypes.apply(df=raw)\nframe.columns.apply(raw)",
        'context.database("mart/a.duckdb")\nother.get("../x")',
    ],
)
def test_what_is_the_same_is_not_told(tmp_path: Path, code: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(code, encoding="utf-8")

    assert edits_of_module(path, "module.py") == []


def test_a_notebook_that_does_not_compile_is_listed_with_its_cell(ws: WorkspaceFiles) -> None:
    ((cell, line, told),) = listed(ws, LOAD, "def build():\n    return Flow(group='G').step(lost)")

    assert (cell, line, "`lost`" in told) == (2, 2, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (r'{ /* ours */ "python.defaultInterpreterPath": "C:\\old\\python.exe", }', r"VS Code uses C:\old\python.exe"),
        ('{"files.exclude": {}}', None),
        ('{"python.defaultInterpreterPath": ' + json.dumps(sys.executable) + "}", None),
    ],
)
def test_another_python_of_the_editor_is_listed(ws: WorkspaceFiles, text: str, told: str | None) -> None:
    """In its terminals the commands would be the older system's."""
    settings = ws.root / ".vscode" / "settings.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(text, encoding="utf-8")

    assert [edit.what for edit in find_edits(ws.modules)] == ([told] if told else [])


def test_the_command_lists_them(cli: Cli, claims: Claims) -> None:
    (claims.root / "flow_modules" / "flow_helpers" / "logs.py").write_text("from data_engine.core import x\n")

    shown = cli("import", claims.root, "--dry-run")

    assert "In the modules 1 place to look at before they are deployed:" in shown.out
    assert "flow_helpers/logs.py, line 1: `from data_engine.core import x`" in shown.out
