"""A check of a notebook: what of it goes into production, and which cell its errors name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_engine import FlowValidationError, compile_notebook, load_flow
from tests.support import WorkspaceFiles

READ = """
import polars as pl
from data_engine import Flow

def read(context):
    return pl.DataFrame({"id": [1, 2], "amount": [5, -1]})
"""
RULES = """
MOST = 100
LEAST = 0
SCRATCH = "amount > 1"

def is_low(name):
    return pl.col(name) < MOST

RULES = {"low": is_low("amount")}
RULES["positive"] = pl.col("amount") > LEAST
RULES |= {"known": "id IS NOT NULL"}
"""
BUILD = """
def build():
    return (
        Flow(group="G")
        .step(read)
        .check(RULES{options})
    )
"""


@pytest.fixture
def files(tmp_path: Path) -> WorkspaceFiles:
    return WorkspaceFiles(tmp_path / "ws")


def notebook(files: WorkspaceFiles, options: str = "", *more: str) -> Path:
    return files.notebook("claims", READ, RULES, *more, BUILD.replace("{options}", options))


def test_what_rules_are_made_of_goes_into_production(files: WorkspaceFiles) -> None:
    """Constants and functions that expressions are built of, and rules that are added later; nothing else."""
    path = notebook(files, ', on_fail="quarantine"', "build().preview()")
    source = compile_notebook(path).source
    (context,) = load_flow("claims", data_root=files.root).run_once()

    for kept in ("MOST = 100", "LEAST = 0", "def is_low", 'RULES["positive"]', "RULES |="):
        assert kept in source
    assert "SCRATCH" not in source
    assert "preview" not in source
    assert [one.rule for one in context.control.checked[0].rules] == ["low", "positive", "known"]
    assert context.current["id"].to_list() == [1]


@pytest.mark.parametrize("options", ["", ', on_fail="quarantine", at_most=0.1'])
def test_an_error_of_a_check_names_the_cell_and_line_of_its_call(files: WorkspaceFiles, options: str) -> None:
    """As an error of a step names its own."""
    notebook(files, options)
    with pytest.raises(FlowValidationError) as caught:
        load_flow("claims", data_root=files.root).run_once()

    error: Any = caught.value
    assert error.places == ({"notebook": "claims.ipynb", "cell": 3, "line": 5},)
    assert error.trace[0].startswith("claims.ipynb, cell 3")
    assert ".check(RULES" in error.trace[1]
