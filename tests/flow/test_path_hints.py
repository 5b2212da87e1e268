"""A relative path that leads to no file is told with where it leads, and with the file of the workspace that is meant."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest

from data_engine import Flow, Workspace
from data_engine.errors import FlowExecutionError
from tests.flow.running import run
from tests.support import WorkspaceFiles

READERS: list[Callable[[str], Any]] = [
    lambda path: pl.read_csv(path),
    lambda path: pl.scan_csv(path).collect(),
    lambda path: pl.read_parquet(path),
    lambda path: pl.read_excel(path),
    lambda path: pd.read_csv(path),
    lambda path: duckdb.read_csv(path),
    lambda path: open(path),  # noqa: SIM115 - there is no such file
    lambda path: Path(path).read_text(),
]


@pytest.fixture
def modules(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the steps of a workspace work."""
    monkeypatch.chdir(ws.modules)
    return ws.modules


def fix_of(read: Callable[[str], Any], path: str, root: Path | None) -> str:
    with pytest.raises(FlowExecutionError) as caught:
        run(Flow("G").step(lambda context: read(path)), workspace_root=root)
    return caught.value.fix or ""


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("place", "name", "written"),
    [
        ("prices.csv", "prices.csv", "../prices.csv"),
        ("inbox/prices.csv", "prices.csv", "../inbox/prices.csv"),
        ("inbox/prices.csv", "inbox/prices.csv", "../inbox/prices.csv"),
    ],
)
def test_the_file_of_the_workspace_that_is_meant_is_named(
    ws: WorkspaceFiles, modules: Path, read: Callable[[str], Any], place: str, name: str, written: str
) -> None:
    """Whatever reads it; the path that is told leads there."""
    file = ws.source(place)
    fix = fix_of(read, name, ws.root)

    assert f'"{name}" means {modules / name}: a relative path starts in {modules}' in fix
    assert f'{file} is there: write "{written}"' in fix
    assert os.path.samefile(written, file)


def test_where_no_such_file_is_in_the_workspace_only_the_folder_is_told(ws: WorkspaceFiles, modules: Path) -> None:
    """A file that lies deeper, or in a hidden folder, is nobody's guess."""
    ws.source("inbox/2026/prices.csv")
    ws.source(".old/prices.csv")

    for root in (ws.root, None):
        assert fix_of(pl.read_csv, "prices.csv", root).endswith(f"a relative path starts in {modules}")


def test_a_file_that_would_be_written_is_not_led_to_another_one(ws: WorkspaceFiles, modules: Path) -> None:
    """It would overwrite a source."""
    ws.source("inbox/prices.csv")
    ws.source("inbox/out/prices.csv")

    assert "is there" not in fix_of(lambda path: pl.DataFrame({"a": [1]}).write_csv(path), "out/prices.csv", ws.root)


@pytest.mark.parametrize("path", ["/nowhere/prices.csv", "p*.csv", "file://x/prices.csv"])
def test_of_other_paths_nothing_is_said(ws: WorkspaceFiles, modules: Path, path: str) -> None:
    """They say themselves where they lead, or lead to no file at all."""
    ws.source("prices.csv")

    assert "relative" not in fix_of(duckdb.read_csv, path, ws.root)


def test_a_run_names_it(ws: WorkspaceFiles, modules: Path) -> None:
    """By the workspace it belongs to."""
    ws.source("prices.csv", "a\n1\n")
    ws.notebook(
        "claims",
        "import polars as pl\nfrom data_engine import Flow",
        "def read(context):\n    return pl.read_csv('prices.csv')",
        "def build():\n    return Flow('G').step(read)",
    )
    with pytest.raises(FlowExecutionError) as caught:
        Workspace(ws.root).load_flow("claims").run_once()

    assert 'write "../prices.csv"' in str(caught.value.fix)
