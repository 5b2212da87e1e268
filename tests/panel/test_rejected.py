"""What checks reject, in the panel: each rule over its last runs, and the rows themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.panel import flows
from tests.panel.lab import Lab, Page
from tests.panel.test_pictures import look

CLAIMS = """
import polars as pl
from data_engine import Flow

def read(context):
    return pl.DataFrame({"id": [1, 2, 2], "amount": [1.0, -2.0, 3.0]})

def build():
    rules = {"positive": "amount > 0", "unique_id": pl.col("id").is_unique()}
    return Flow(group="G").step(read).check(rules, on_fail="quarantine")
"""
RUN = """
import sys
from data_engine import Workspace
for _ in range(3):
    Workspace(sys.argv[1]).load_flow("claims").run_once()
"""


def test_the_rows_that_checks_reject_are_told_and_looked_at(lab: Lab, page: Page, pictures: Path) -> None:
    """In the flow's *Data*: of each rule how many rows now, its last runs as a line, and the rows in the grid."""
    workspace = lab.workspace("rejected")
    flows.fill(workspace, claims=CLAIMS)
    subprocess.run([sys.executable, "-c", RUN, str(workspace)], env=lab.environment, check=True, timeout=60)
    page.open()
    panel = page.side(workspace)
    detail = panel.select("claims")
    detail.get_by_role("tab", name="Data").click()

    rule = detail.locator("[data-rule='unique_id']")
    rule.get_by_text("2 rows now · over 3 runs").wait_for()
    assert rule.locator("svg circle.de-te").count() == 1
    detail.get_by_text("2 rows rejected").first.wait_for()
    page.page.screenshot(path=pictures / "side-rejected.png")
    detail.locator("[data-rejected='all.parquet']").click()
    detail.locator(".de-grid td", has_text="-2").first.wait_for()
    page.page.screenshot(path=pictures / "side-rejected-rows.png")
    assert look(panel, pictures, "rejected") == []
