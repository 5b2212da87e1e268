"""Rejected rows as people see them: `rejected`, `runs`, `log`, `status`, a card and a plan."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from data_engine import Workspace
from data_engine.view.results import contexts_card
from data_engine.view.runs import runs_card
from data_engine.view.text import text
from tests.cli.conftest import Cli

MODULE = """
import polars as pl
from data_engine import Flow

def read(context):
    return pl.DataFrame({"id": [1, 2, 2], "amount": [1.0, -2.0, 3.0], "at": ["2026"] * 3})

def build():
    rules = {"positive": "amount > 0", "unique_id": pl.col("id").is_unique()}
    return Flow(group="G").step(read).check(rules, on_fail="quarantine")
"""


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose flow has run once, and rejects two rows."""
    found = Workspace.create(tmp_path / "ws")
    (found.root / "flow_modules" / "claims.py").write_text(MODULE)
    monkeypatch.chdir(found.root)
    found.load_flow("claims").run_once()
    return found


def test_what_is_rejected_now_is_listed_and_written_as_a_workbook(ws: Workspace, cli: Cli, tmp_path: Path) -> None:
    """For whoever owns the data: each row with the rules that it breaks."""
    (found,) = cli("rejected", "--json").json
    answer = cli("rejected", "claims", "--excel", tmp_path / "bad.xlsx")
    sheet = pl.read_excel(tmp_path / "bad.xlsx", sheet_name="claims", schema_overrides={"_source": pl.String})

    assert {name: found[name] for name in ("flow", "source", "rows", "rules")} == {
        "flow": "claims",
        "source": None,
        "rows": 2,
        "rules": {"positive": 1, "unique_id": 2},
    }
    assert answer.code == 0
    assert sheet.select("id", "_row", "_rules").rows() == [(2, 1, "positive, unique_id"), (2, 2, "unique_id")]
    assert [(one.flow, one.rows) for one in ws.rejected("claims")] == [("claims", 2)]
    assert ws.rejected("other") == []


def test_a_run_tells_what_its_checks_found(ws: Workspace, cli: Cli) -> None:
    """In its record, its log, the list of runs, and its card."""
    (run,) = ws.runs()
    told = cli("log", run.run_id, "--json").json["run"]

    assert told["checks"] == [
        {"check": "Check", "rule": "positive", "rows": 3, "failed": 1, "unknown": 0},
        {"check": "Check", "rule": "unique_id", "rows": 3, "failed": 2, "unknown": 0},
    ]
    assert told["rejected"] == 2
    assert "2 rows rejected" in cli("runs").out
    assert "2 rows rejected (positive: 1 of 3, unique_id: 2 of 3)" in cli("log", run.run_id).out
    assert "2 rows rejected" in text(runs_card([run], now_s=0))
    assert "2 of 3 rows rejected (positive 1, unique_id 2)" in text(contexts_card(ws.load_flow("claims").run_once()))


def test_a_flow_tells_how_many_rows_it_rejects_now(ws: Workspace, cli: Cli) -> None:
    """None where none are."""
    flows = {one["name"]: one for one in cli("status", "--json").json["flows"]}

    assert flows["claims"]["rejected"] == 2
    assert "rejected" not in flows["example"]


def test_a_check_that_rejects_other_rows_is_a_difference_of_a_plan(ws: Workspace) -> None:
    """Also where its rejected rows have no name."""
    ws.deploy("claims")
    path = ws.root / "flow_modules" / "claims.py"
    path.write_text(MODULE.replace("amount > 0", "amount > 1"))

    found = ws.plan("claims").objects["rejected by Check"]
    assert (found.equal, found.rows.before, found.rows.after) == (False, 2, 3)


@pytest.mark.parametrize("use", ["good_df", "bad_df"])
def test_a_check_that_rejects_other_rows_is_a_difference_of_a_golden(ws: Workspace, cli: Cli, use: str) -> None:
    """Of the rows that go on, and of those that do not."""
    path = ws.root / "flow_modules" / "claims.py"
    path.write_text(MODULE.replace('"quarantine")', '"quarantine", save_as="good_df", rejected="bad_df")'))
    ws.load_flow("claims").golden(use=use)
    assert cli("test", "claims").code == 0

    path.write_text(
        path.read_text().replace("amount > 0", "amount > -9").replace('"id").is_unique', '"amount").is_unique')
    )
    (found,) = ws.test("claims")

    assert (found.status, cli("test", "claims").code) == ("differs", 1)
    assert found.difference is not None
    assert (found.difference.rows.before, found.difference.rows.after) == ((1, 3) if use == "good_df" else (2, 0))


def test_a_flow_that_is_renamed_takes_its_rejected_rows_along(ws: Workspace, cli: Cli) -> None:
    """As it does what is done: the next good run of a source replaces them under the new name."""
    ws.deploy("claims")
    modules = ws.root / "flow_modules"
    (modules / "claims.py").rename(modules / "claims_checked.py")
    ws.deploy("claims_checked", replaces="claims")

    assert [(one.flow, one.rows) for one in ws.rejected()] == [("claims_checked", 2)]
    assert {one["name"]: one.get("rejected") for one in cli("status", "--json").json["flows"]} == {
        "claims_checked": 2,
        "example": None,
    }
