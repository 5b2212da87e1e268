"""The trends of a flow in the panel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.panel import flows
from tests.panel.lab import Lab, Page
from tests.panel.test_pictures import look

FILL = """
import random, sys, time
from data_engine import Workspace
from data_engine.model import FileFacts, RunFinished, RunSpent, RunStarted, StepFinished, StepStarted
ledger = Workspace(sys.argv[1]).home.ledger()
draw, now_s = random.Random(3), time.time()
for number in range(130):
    run_id, at_s = f"{number:032x}", now_s - 86400 * (130 - number)
    rows = {90: 9_800, 129: 9_000}.get(number) or round(draw.gauss(30_000, 800))
    ledger.record(RunStarted(run_id, "monthly_totals", "G", None, at_s))
    for index, label in enumerate(("Read the claims", "Clean")):
        ledger.record(StepStarted(run_id, index, label, at_s))
        ledger.record(StepFinished(run_id, index, label, "success", at_s + 9, draw.gauss(9, 1), rows_out=rows - 100 * index))
    spent = RunSpent(outputs=(FileFacts("/out/claims.parquet", 10, 0, rows - 100),))
    ledger.record(RunFinished(run_id, "success", at_s + 20, draw.gauss(20, 1), spent=spent))
ledger.close()
"""


def test_the_trends_of_a_flow_are_drawn(lab: Lab, page: Page, pictures: Path) -> None:
    """Of the newest 100 runs, with the words of the last one."""
    workspace = lab.workspace("trends")
    flows.fill(workspace, monthly_totals=flows.GOOD)
    subprocess.run([sys.executable, "-c", FILL, str(workspace)], env=lab.environment, check=True, timeout=60)
    page.open()
    panel = page.side(workspace)
    detail = panel.select("monthly_totals")
    panel.button("trend").click()

    row = detail.locator("[data-trend='claims.parquet: rows']")
    row.get_by_text("last run: 8,900 rows").wait_for()
    assert row.locator("svg circle.de-te").count() == 1
    assert detail.locator("[data-trend]").count() == 6
    assert look(panel, pictures, "trends") == []
