"""How it looks: in the light and the dark theme, wide and narrow. The pictures are for a person's eyes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.panel import flows
from tests.panel.conftest import KEPT
from tests.panel.lab import Lab, Page, Panel
from tests.support import notebook_bytes


@pytest.fixture(scope="module")
def workspace(lab: Lab) -> Path:
    workspace = lab.workspace("claims")
    flows.fill(
        workspace,
        claims_import=flows.POLLED,
        monthly_totals=flows.GOOD,
        month_end=flows.FAILING,
        nightly_report=flows.NIGHTLY,
        slow_backfill=flows.SLOW,
        half_written=flows.BROKEN,
    )
    flows.sources(workspace, good=12, bad=2)
    return workspace


SHOWN = (
    "import polars as pl\nfrom data_engine import Batch, Workspace, compile_notebook, load_flow\n"
    "ws = Workspace({root!r})\nload_flow('claims_import', data_root={root!r})",
    "ws.status()",
    "ws.runs()",
    "ws.steps(ws.runs('month_end', 1)[0].run_id)",
    "ws.explain('claims_import')",
    "compile_notebook(ws.layout.flow_modules_dir / 'month_end.ipynb')",
    "Batch([*range(40), None, 'x' * 90, {{'a': [1, 2]}}])",
    "load_flow('month_end', data_root={root!r}).run_once()",
)
"""Cells that show each kind of value; the last one fails."""

OVERFLOW = """
(root) => [...root.querySelectorAll('*')]
    .filter((one) => one.getBoundingClientRect().right > root.getBoundingClientRect().right + 1
        && !one.closest('.de-scroll, .de-grid, .de-tabs, .de-file-main, .de-log, .de-sr, .jp-RenderedText') && getComputedStyle(one).display !== 'none'
        && !(one.closest('.de-clip')))
    .map((one) => one.className).slice(0, 5)
"""


def look(panel: Panel, pictures: Path, name: str) -> list[Any]:
    """Keep a picture; what sticks out of the panel."""
    panel.page.mouse.move(5, 5)
    panel.page.wait_for_timeout(150)
    panel.page.screenshot(path=pictures / f"{name}.png")
    found: list[Any] = panel.element.evaluate(OVERFLOW)
    return found


def busy(panel: Panel) -> None:
    """Let each flow be in the state that its picture shows, as far as no test before has done so."""
    if panel.button("start engine").is_visible():
        panel.button("start engine").click()
    panel.row("claims_import").get_by_text("2 held").wait_for()
    for flow, word in (("monthly_totals", "success"), ("month_end", "failed")):
        panel.row(flow).locator(".de-run").click()
        panel.wait_for_last(flow, word)
    panel.row("slow_backfill").locator(".de-run").click()
    panel.wait_for_state("slow_backfill", "running")


def test_the_panel_in_a_notebook(lab: Lab, page: Page, pictures: Path, workspace: Path) -> None:
    """Side by side at full width; nothing sticks out, in either theme."""
    (lab.root / "look.ipynb").write_bytes(notebook_bytes(f"from data_engine import panel\npanel({str(workspace)!r})"))
    page.open("look.ipynb")
    page.run_all()
    panel = page.in_cell()
    page.command("application:toggle-left-area")
    busy(panel)
    out = []
    for theme in ("Light", "Dark"):
        page.theme(theme)
        panel.select("claims_import")
        panel.element.get_by_role("tab", name="Runs").click()
        out += look(panel, pictures, f"notebook-steps-{theme}")
        panel.element.get_by_role("tab", name="Files").click()
        out += look(panel, pictures, f"notebook-files-{theme}")
        panel.select("month_end")
        panel.element.get_by_role("tab", name="Runs").click()
        panel.element.locator(".de-run-main").first.click()
        panel.element.locator(".de-log-line").first.wait_for()
        out += look(panel, pictures, f"notebook-error-{theme}")
        panel.element.locator(".de-run-main").first.click()
        panel.select("slow_backfill")
        out += look(panel, pictures, f"notebook-running-{theme}")
    page.theme("Light")
    page.command("application:toggle-left-area")

    assert out == []


def test_the_panel_in_the_side_bar(lab: Lab, page: Page, pictures: Path, workspace: Path) -> None:
    """Narrow: one thing at a time; nothing sticks out, in either theme."""
    page.open()
    panel = page.side(workspace)
    panel.row("monthly_totals").wait_for()
    busy(panel)
    out = []
    for theme in ("Light", "Dark"):
        page.theme(theme)
        out += look(panel, pictures, f"side-flows-{theme}")
        panel.select("claims_import")
        panel.element.get_by_role("tab", name="Files").click()
        out += look(panel, pictures, f"side-files-{theme}")
        panel.menu("backfill")
        out += look(panel, pictures, f"side-menu-{theme}")
        page.page.keyboard.press("Escape")
        for name in ("Runs", "Data", "Code"):
            panel.element.get_by_role("tab", name=name).click()
            out += look(panel, pictures, f"side-{name.lower()}-{theme}")
        panel.element.get_by_role("tab", name="Runs").click()
        panel.element.locator("[data-step='Write']").get_by_role("button", name="Inspect").click()
        panel.element.locator(".de-grid td").first.wait_for()
        out += look(panel, pictures, f"side-output-{theme}")
        panel.element.get_by_role("button", name="Filter amount").click()
        panel.element.get_by_role("button", name="Add condition").click()
        panel.element.locator(".de-values .de-value").first.wait_for()
        out += look(panel, pictures, f"side-filter-{theme}")
        panel.element.get_by_role("button", name="Clear column").click()
        panel.tab("Settings")
        panel.element.locator(".de-danger").wait_for()
        out += look(panel, pictures, f"side-settings-{theme}")
        panel.element.locator(".de-danger").scroll_into_view_if_needed()
        out += look(panel, pictures, f"side-emergency-{theme}")
        panel.tab("Flows")
        panel.element.locator(".de-back").click()
    page.theme("Light")

    assert out == []


HEAD = """
(panel) => panel.querySelector('.de-section').getBoundingClientRect().top - panel.querySelector('.de-detail').getBoundingClientRect().top
"""


def test_the_head_of_a_flow_leaves_the_room_to_what_is_looked_at(
    lab: Lab, page: Page, pictures: Path, workspace: Path
) -> None:
    """At most a fifth of a column of 900 px before the content, also while it runs; with an error of the last run a third."""
    page.page.set_viewport_size({"width": 1400, "height": 900})
    page.open()
    panel = page.side(workspace)
    panel.row("monthly_totals").wait_for()
    busy(panel)
    heads = {}
    for flow in ("monthly_totals", "nightly_report", "slow_backfill", "month_end", "claims_import"):
        panel.select(flow)
        look(panel, pictures, f"head-{flow}")
        heads[flow] = panel.element.evaluate(HEAD)
        panel.element.locator(".de-back").click()

    assert {
        flow: px for flow, px in heads.items() if px > (300 if flow in ("month_end", "claims_import") else 180)
    } == {}


def test_what_cells_show(lab: Lab, page: Page, pictures: Path, workspace: Path) -> None:
    """Each kind of value, in either theme: nothing is wider than its cell."""
    cells = [cell.format(root=str(workspace)) for cell in SHOWN]
    (lab.root / "shown_values.ipynb").write_bytes(notebook_bytes(*cells))
    page.open("shown_values.ipynb")
    page.run_all()
    out = []
    for theme in ("Light", "Dark"):
        page.theme(theme)
        for number in range(len(cells)):
            cell = page.cell(number)
            for shown in cell.locator(".jp-OutputArea-output").all():
                out += shown.evaluate(OVERFLOW)
            cell.screenshot(path=pictures / f"cell-{number}-{theme}.png")
    page.theme("Light")

    assert out == []


@pytest.fixture(scope="module")
def flights(lab: Lab) -> Path:
    """The demo's workspace as a reader has it, and one day whose file lacks a column."""
    root = lab.workspace("flights")
    code = (
        "import sys, pathlib; from data_engine import Workspace; from data_engine.demo.content import lay_out;"
        " lay_out(pathlib.Path(sys.argv[1])); Workspace(sys.argv[1]).deploy()"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], env=lab.environment, check=True)
    days = root / "data" / "flights"
    first = (days / "2013-01-14.csv").read_text()
    (days / "2013-01-15.csv").write_text(first.replace("dep_delay", "delay", 1))
    return root


@pytest.mark.skipif(KEPT is None, reason="it makes pictures: PANEL_SCREENSHOTS names no folder for them")
def test_the_readmes_pictures(lab: Lab, browser: Any, pictures: Path, flights: Path) -> None:
    """The panel and JupyterLab around it with the demo: `notebooks/images` holds them as they came out once."""
    (pictures / "readme").mkdir(exist_ok=True)
    (lab.root / "panel.ipynb").write_bytes(notebook_bytes(f"from data_engine import panel\npanel({str(flights)!r})"))
    page = Page(lab, browser, width=1180, height=900)
    page.load(name="readme")
    page.command("application:toggle-left-area")
    side = page.side(flights)
    side.button("start engine").click()
    side.row("daily_flights").get_by_text("1 held").wait_for(timeout=60000)
    for name in ("carrier_summary", "delay_report"):
        side.row(name).locator(".de-run").click()
        side.row(name).locator(".de-last .de-good").wait_for(timeout=60000)
    notebook = flights / "flow_modules" / "daily_flights.ipynb"
    cells = json.loads(notebook.read_text())
    cells["cells"] = [cell for cell in cells["cells"] if cell["id"] != "preview-weekend"]
    drawn = {
        "cell_type": "code",
        "id": "drawn",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "source": "build()",
    }
    notebook.write_text(json.dumps(cells | {"cells": [*cells["cells"], drawn]}))
    page.open("flights/flow_modules/daily_flights.ipynb")
    page.run_all()
    page.cell(len(cells["cells"]))
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.scrollToItem(99, 'end')")
    side.select("daily_flights").get_by_role("tab", name="Files").click()
    page.page.wait_for_timeout(7000)  # what was said has gone
    look(side, pictures / "readme", "lab")
    page.command("application:toggle-right-area")
    page.open("panel.ipynb")
    page.run_all()
    panel = page.in_cell()
    detail = panel.select("daily_flights")
    detail.get_by_role("tab", name="Runs").click()
    page.page.wait_for_timeout(500)
    detail.evaluate("(detail) => { detail.scrollTop = 0; }")
    panel.element.screenshot(path=pictures / "readme" / "panel.png")
    panel.tab("Map")
    panel.element.locator(".de-map [data-node='delay_report']").wait_for()
    page.page.wait_for_timeout(500)
    panel.element.locator(".de-lineage").screenshot(path=pictures / "readme" / "map.png")
    lab.do(flights, "kill")
    page.close()

    assert page.errors == []


def test_no_workspace_and_an_empty_one(lab: Lab, page: Page, pictures: Path) -> None:
    """Both say what to do."""
    page.open()
    panel = page.side(lab.workspace("empty"))
    panel.element.get_by_text("There are no flow modules yet.").wait_for()

    assert look(panel, pictures, "side-empty-Light") == []
    assert panel.element.get_by_role("button", name="New flow notebook").is_visible()
