"""The panel in little room, narrow or zoomed: nothing is cut, names win over chips, and Kill stays where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.panel import flows
from tests.panel.lab import Lab, Page, Panel

LONG = "quarterly_reconciliation_of_supplier_invoices"
STUCK = """
import time
from data_engine import Flow

def wait(context):
    time.sleep(6)

def build():
    return Flow(group="Slow").step(wait)
"""

CUT = """
(panel) => [...panel.querySelectorAll('*')].filter((one) => {
    const style = getComputedStyle(one);
    if (one.closest('.de-grid, .de-log, .de-sr, .de-pre, select, input, svg') || !one.textContent.trim()) return false;
    if (style.display === 'none' || style.visibility === 'hidden' || !one.getClientRects().length) return false;
    const sticksOut = one.getBoundingClientRect().right > panel.getBoundingClientRect().right + 1;
    return sticksOut || (style.overflowX !== 'visible' && one.scrollWidth > one.clientWidth + 1);
}).map((one) => `${one.className} ${one.textContent.slice(0, 40)}`).slice(0, 6)
"""
NAME_FITS = """
(select) => {
    const pen = document.createElement('canvas').getContext('2d');
    pen.font = getComputedStyle(select).font;
    return select.clientWidth - pen.measureText(select.selectedOptions[0].textContent).width;
}
"""


@pytest.fixture(scope="module")
def workspace(lab: Lab) -> Path:
    workspace = lab.workspace("supplier_reconciliation")
    flows.fill(
        workspace,
        **{LONG: flows.POLLED},
        nightly=flows.NIGHTLY,
        failing=flows.FAILING,
        broken=flows.BROKEN,
        stuck=STUCK,
    )
    flows.sources(workspace, good=8)
    (workspace / "in" / "supplier-invoices-of-the-northern-region-2025-01-31-final-corrected.csv").write_text(
        "city\nOslo\n"
    )
    return workspace


def cut(panel: Panel, pictures: Path, name: str) -> list[Any]:
    panel.page.wait_for_timeout(200)
    panel.page.screenshot(path=pictures / f"{name}.png")
    found: list[Any] = panel.element.evaluate(CUT)
    return found


@pytest.mark.parametrize(("name", "style"), [("narrow", "width: 265px"), ("zoomed", "width: 206px; zoom: 1.5")])
def test_nothing_is_cut_in_little_room(
    lab: Lab, page: Page, pictures: Path, workspace: Path, name: str, style: str
) -> None:
    """At 265 px, and at twice the size: names, reasons, tabs and buttons are whole; names of files too."""
    page.open()
    panel = page.side(workspace)
    if panel.button("start engine").is_visible():
        panel.button("start engine").click()
    panel.row(LONG).get_by_text("2 held").wait_for(timeout=60000)
    panel.row("failing").locator(".de-run").click()
    panel.wait_for_last("failing", "failed")
    page.page.wait_for_timeout(6500)  # what was said has gone
    panel.element.evaluate("(panel, style) => panel.style.cssText = style", style)
    found = cut(panel, pictures, f"{name}-flows")
    room = panel.element.locator(".de-workspace").evaluate(NAME_FITS)
    panel.select(LONG)
    for tab in ("Steps", "Runs", "Files", "Deployment", "About"):
        panel.element.get_by_role("tab", name=tab).click()
        if tab == "Files":
            panel.element.locator(".de-file").first.wait_for()
        found += cut(panel, pictures, f"{name}-{tab.lower()}")
    panel.tab("Outputs")
    panel.element.locator("[data-output]").first.wait_for()
    found += cut(panel, pictures, f"{name}-outputs")
    panel.tab("Settings")
    panel.element.locator(".de-danger").wait_for()
    found += cut(panel, pictures, f"{name}-settings")
    panel.element.evaluate("(panel) => panel.style.cssText = ''")
    panel.tab("Flows")
    panel.element.locator(".de-back").click()

    assert found == []
    assert room >= 0 or name == "zoomed"  # a list of choices cannot wrap: its tip has the whole name


def test_kill_stays_where_it_is_while_a_flow_stops(page: Page, workspace: Path) -> None:
    """Whoever moves to Kill finds it under the pointer."""
    page.open()
    panel = page.side(workspace)
    panel.row("stuck").locator(".de-run").click()
    panel.wait_for_state("stuck", "running")
    panel.select("stuck")
    before = panel.button("kill").bounding_box()
    panel.button("stop").click()
    panel.element.locator("[data-action='stop']", has_text="Stopping…").wait_for()
    page.page.wait_for_timeout(300)
    after = panel.button("kill").bounding_box()
    panel.button("kill").click()
    panel.button("kill").click()

    assert after == before


def test_a_new_workspace_appears_by_itself(lab: Lab, page: Page, workspace: Path) -> None:
    """Without a reload of the page, and without a click."""
    page.open()
    panel = page.side(workspace)
    made = lab.workspace("made_meanwhile")
    panel.element.locator(f".de-workspace option[value='{made}']").wait_for(state="attached", timeout=40000)
