"""Rejected rows as people see them: `rejected`, `runs`, `log`, `status`, a card and a plan."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import polars as pl
import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.view.results import contexts_card
from data_engine.view.runs import runs_card
from data_engine.view.text import text
from tests.cli.conftest import Cli
from tests.support import until

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
    with pytest.raises(FlowValidationError, match="'other' is not available"):
        ws.rejected("other")


def test_a_run_tells_what_its_checks_found(ws: Workspace, cli: Cli) -> None:
    """In its record, its log, the list of runs, and its card."""
    (run,) = ws.runs()
    told = cli("log", run.run_id, "--json").json["run"]

    assert told["checks"] == [
        {"check": "Check", "rule": "positive", "rows": 3, "failed": 1, "unknown": 0},
        {"check": "Check", "rule": "unique_id", "rows": 3, "failed": 2, "unknown": 0},
    ]
    assert [check.as_dict() for check in ws.log(run.run_id).checks] == told["checks"]
    assert told["rejected"] == 2
    assert "2 rows rejected" in cli("runs").out
    assert "2 rows rejected (positive: 1 of 3, unique_id: 2 of 3)" in cli("log", run.run_id).out
    assert "2 rows rejected" in text(runs_card([run], now_s=0))
    assert "2 of 3 rows rejected (positive 1, unique_id 2)" in text(contexts_card(ws.load_flow("claims").run_once()))


def test_a_flow_tells_how_many_rows_it_rejects_now(ws: Workspace, cli: Cli) -> None:
    """None where none are."""
    flows = {one["name"]: one for one in cli("status", "--json").json["flows"]}

    assert flows["claims"]["rejected"] == 2
    assert flows["example"]["rejected"] == 0


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
    assert {one["name"]: one["rejected"] for one in cli("status", "--json").json["flows"]} == {
        "claims_checked": 2,
        "example": 0,
    }


def test_a_daemon_counts_no_rows_of_sources_that_are_gone(ws: Workspace) -> None:
    """As the list of rejected rows does."""
    folder = ws.root / "in"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("x", encoding="ascii")
    path = ws.root / "flow_modules" / "claims.py"
    path.write_text(MODULE.replace('Flow(group="G")', 'Flow(group="G").watch(mode="manual", source="../in")'))
    ws.deploy("claims")
    ws.load_flow("claims").run_once()
    (folder / "b.csv").unlink()
    ws.start()

    try:
        rows = sum(entry.rows for entry in ws.rejected("claims"))
        until(lambda: rows in [flow.rejected for flow in ws.status().flows if flow.name == "claims"])
    finally:
        ws.kill()


ODD = """
import datetime as dt
import polars as pl
from data_engine import Flow

FRAME = pl.DataFrame({
    "id": [1, 2], "ID": [3, 4], "": [5, 6], "bytes": [b"\\xff\\x00", None], "long": ["x" * 40_000, "=1+1"],
    "link": ["https://example.org", "0012"], "tags": [["a", "b"], []], "at": [dt.datetime(1800, 1, 1), None],
    "big": [2**60, 1], "nested": [{"a": [1]}, None],
}).with_columns(zoned=pl.col("at").dt.replace_time_zone("UTC"))

def build():
    return Flow(group="G").step(lambda context: FRAME).check({"=none": "id > 9"}, on_fail="quarantine")
"""


def test_a_workbook_holds_whatever_is_rejected(ws: Workspace, cli: Cli, tmp_path: Path) -> None:
    """What does not fit a cell is told in it; lists are texts; nothing becomes a formula, a link or a number."""
    (ws.root / "flow_modules" / "odd.py").write_text(ODD)
    ws.load_flow("odd").run_once()
    answer = cli("rejected", "--excel", tmp_path / "bad.xlsx")
    assert answer.code == 0
    book = openpyxl.load_workbook(tmp_path / "bad.xlsx")
    names, *rows = [[cell.value for cell in row] for row in book["odd"].iter_rows()]
    first, second = (dict(zip(names, row, strict=True)) for row in rows)

    assert names[:3] == ["id", "ID 2", "column"]
    assert first["bytes"] == "(2 bytes)"
    assert (len(first["long"]), first["long"][-23:]) == (32_767, "... (40,000 characters)"[-23:])
    assert second["long"] == "=1+1"
    assert all(cell.data_type != "f" and cell.hyperlink is None for row in book["odd"].iter_rows() for cell in row)
    assert (first["link"], second["link"]) == ("https://example.org", "0012")
    assert (first["tags"], first["_rules"], first["nested"]) == ("['a', 'b']", "=none", "{'a': [1]}")
    assert first["big"] == str(2**60)
    assert first["at"].startswith("1800-01-01")


def test_a_workbook_has_the_ending_of_one(ws: Workspace, cli: Cli, tmp_path: Path) -> None:
    """Also where no rows are rejected."""
    for name in ((), ("example",)):
        answer = cli("rejected", *name, "--excel", tmp_path / "bad.csv")
        assert (answer.code, "bad.xlsx" in answer.err) == (2, True)
    assert not (tmp_path / "bad.csv").exists()


def test_a_workbook_that_is_there_is_not_overwritten(ws: Workspace, cli: Cli, tmp_path: Path) -> None:
    """Somebody may have written notes into it; and no folder is made."""
    (tmp_path / "bad.xlsx").write_text("notes")
    for place, why in ((tmp_path / "bad.xlsx", "not overwritten"), (tmp_path / "no" / "bad.xlsx", "no folder")):
        answer = cli("rejected", "--excel", place)
        assert (answer.code, why in answer.err) == (2, True)
    assert (tmp_path / "bad.xlsx").read_text() == "notes"
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("name", ["../..", "..", ".", "/", "claims/", "../claims", "a\\0b", "sub/claims"])
def test_a_name_that_can_be_no_flow_is_refused_everywhere(ws: Workspace, cli: Cli, name: str) -> None:
    """With the nearest flow."""
    with pytest.raises(FlowValidationError) as caught:
        ws.rejected(name)
    assert caught.value.fix
    if "\0" not in name:
        assert cli("rejected", name).code == 2
        assert "Traceback" not in cli("rejected", name).err
