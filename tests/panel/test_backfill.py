"""A backfill in the panel: a range is chosen, what would run is shown, then it runs; how far it is; what failed is tried again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.panel import flows
from tests.panel.lab import Lab, Page
from tests.panel.test_pictures import look

MONTHLY = (
    "import time\nfrom dataclasses import dataclass\nfrom pathlib import Path\nfrom data_engine import Flow",
    "@dataclass\nclass Settings:\n    month: str = 'all'",
    "def check(context):\n"
    "    while (Path('..') / 'wait').exists():\n        time.sleep(0.01)\n"
    "    if 'oslo' not in context.source.path.read_text().lower():\n        raise ValueError('no Oslo')\n"
    "    print(context.params.month)",
    "def build():\n    return Flow(group='Months').watch(mode='manual', source='../in').params(Settings).step(check)",
)


def test_a_range_is_shown_then_run_and_what_failed_is_tried_again(lab: Lab, page: Page, pictures: Path) -> None:
    """By keyboard as by mouse: fields and buttons in their order."""
    workspace = lab.workspace("months")
    flows.fill(workspace, monthly=MONTHLY)
    flows.sources(workspace, good=14, bad=0)
    (workspace / "in" / "03.csv").write_text("Rome")
    page.open()
    panel = page.side(workspace)
    detail = panel.select("monthly")
    panel.menu("backfill").click()
    form = detail.get_by_role("form", name="Backfill of")

    form.get_by_label("From").fill("soon")
    form.get_by_label("From").press("Enter")
    form.get_by_text("From cannot be 'soon'").wait_for()
    form.get_by_text("write a day as 2026-12-31").wait_for()
    form.get_by_label("From").fill("2013-01")
    form.get_by_label("Run", exact=True).select_option("all")
    form.get_by_label("Month").fill("2013-01")
    form.get_by_role("button", name="Show what would run").click()
    form.get_by_text("14 of 14 in the range:").wait_for()
    form.get_by_text("and 2 more").wait_for()
    assert look(panel, pictures, "backfill_form") == []

    (workspace / "wait").touch()
    form.get_by_role("button", name="Run these 14").click()
    line = detail.locator("[data-backfill]")
    line.get_by_text("0 of 14").wait_for(timeout=20000)
    line.get_by_text("month=2013-01").wait_for()
    line.get_by_role("button", name="Stop the backfill").wait_for()
    assert look(panel, pictures, "backfill_running") == []

    (workspace / "wait").unlink()
    line.get_by_text("14 of 14, 1 failed, done").wait_for(timeout=20000)
    (workspace / "in" / "03.csv").write_text("Oslo")
    line.get_by_role("button", name="Retry the 1 failed").click()
    line.wait_for(state="detached", timeout=20000)
    told: Any = lab.do(workspace, "flow", flow="monthly")["result"]
    assert {run["params"] for run in told["runs"]} == {"month=2013-01"}
    assert told["runs"][0]["began_by"].startswith("by a backfill")
