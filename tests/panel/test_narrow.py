"""The panel in little room, narrow or zoomed: nothing is cut, and names win over chips."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.panel import flows
from tests.panel.conftest import THEMES
from tests.panel.lab import Lab, Page, Panel
from tests.plan.production import cells
from tests.support import notebook_bytes

LONG = "quarterly_reconciliation_of_supplier_invoices"
CUT = """
(panel) => [...panel.querySelectorAll('*')].filter((one) => {
    const style = getComputedStyle(one);
    if (one.closest('.de-grid, .de-log, .de-sr, .de-pre, .de-picture, .de-file-main[aria-expanded=false], select, input, svg') || !one.textContent.trim()) return false;
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

HEAD = """
(panel) => {
    const place = (selector) => panel.querySelector(selector).getBoundingClientRect();
    const select = panel.querySelector('.de-workspace'), style = getComputedStyle(select);
    const pen = document.createElement('canvas').getContext('2d');
    pen.font = style.font;
    const letters = pen.measureText(select.selectedOptions[0].textContent).width;
    const name = place('.de-workspace'), engine = place('.de-engine'), button = place('.de-engine-line .de-button');
    const lines = Math.max(1, Math.floor(select.clientHeight / parseFloat(style.lineHeight)) || 1);
    return {
        isWhole: lines * select.clientWidth >= letters && select.scrollHeight <= select.clientHeight + 1,
        isBesideName: name.bottom > engine.top,
        isBesideButton: engine.bottom > button.top && engine.right <= button.left,
        isInside: Math.max(name.right, button.right) <= panel.getBoundingClientRect().right,
    };
}
"""
SIXTY_LETTERS = "quarterly reconciliation of supplier invoices northern areas"


@pytest.fixture(scope="module")
def workspace(lab: Lab) -> Path:
    workspace = lab.workspace("supplier_reconciliation")
    flows.fill(
        workspace,
        **{LONG: flows.POLLED},
        nightly=flows.NIGHTLY,
        failing=flows.FAILING,
        broken=flows.BROKEN,
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
    for tab in ("Runs", "Files", "Data", "Code"):
        panel.element.get_by_role("tab", name=tab).click()
        if tab == "Files":
            panel.element.locator(".de-file-main").first.click()
            panel.element.locator(".de-file.de-open").wait_for()
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
    assert room >= 0 or name == "zoomed"  # there it wraps


@pytest.mark.parametrize("name", [SIXTY_LETTERS, SIXTY_LETTERS.replace(" ", "_")], ids=["words", "one word"])
def test_a_long_name_of_a_workspace_is_whole(lab: Lab, page: Page, pictures: Path, name: str) -> None:
    """It wraps in its own place; what tells of the engine stands beside it, else in one line below it."""
    workspace = lab.workspace(name)
    flows.fill(workspace, nightly=flows.NIGHTLY)
    page.open()
    panel = page.side(workspace)
    panel.button("start engine").wait_for()
    panel.element.locator(".de-engine", has_text="off").wait_for()
    heads = {}
    for room, style in {"wide": "width: 1400px", "narrow": "width: 265px", "zoomed": "width: 206px; zoom: 1.5"}.items():
        panel.element.evaluate("(panel, style) => panel.style.cssText = style", style)
        page.page.wait_for_timeout(200)
        heads[room] = panel.element.evaluate(HEAD)
        page.page.screenshot(path=pictures / f"{room}-long-name-{len(name.split())}.png")
    panel.element.evaluate("(panel) => panel.style.cssText = ''")

    tidy = {"isWhole": True, "isBesideButton": True, "isInside": True}
    assert heads == {
        "wide": tidy | {"isBesideName": True},
        "narrow": tidy | {"isBesideName": False},
        "zoomed": tidy | {"isBesideName": False},
    }


def test_a_new_workspace_appears_by_itself(lab: Lab, page: Page, workspace: Path) -> None:
    """Without a reload of the page, and without a click."""
    page.open()
    panel = page.side(workspace)
    made = lab.workspace("made_meanwhile")
    panel.element.locator(f".de-workspace option[value='{made}']").wait_for(state="attached", timeout=40000)


INVOICES = """
import polars as pl
from data_engine import Flow

def read(context):
    return pl.read_csv(context.source.path)

def clean(context):
    return context.current.filter(pl.col("amount") > {least}).with_columns(pl.col("delivery_note").str.replace("pallet", "{word}"))

def total_by_supplier(context):
    return context.current.group_by("supplier").agg(pl.col("amount").sum()).sort("supplier")

def write(context):
    target = context.mirror.with_suffix(".parquet")
    context.current.write_parquet(target)
    return target

def build():
    return (
        Flow(group="Sales")
        .watch(mode="poll", source="../in", interval="5s", extensions="csv", settle=0)
        .mirror(root="../out")
        .step(read, save_as="invoices_as_delivered").step(clean, save_as="invoices_without_small_amounts").step(write)
        .step(total_by_supplier, use="invoices_without_small_amounts", save_as="total_by_supplier"){more}
    )
"""
GO = """
import sys
from data_engine.client import Workspace
ws = Workspace(sys.argv[1])
ws.deploy()
for name in ("april-northern-region-final", "may"):
    ws.load_flow("invoices").run_once(source=f"{name}.csv")
"""
FAILS = """
        .step(lambda context: context.current.select("no_such_column_of_the_invoices"))"""


def is_a_plan(answer: Any) -> bool:
    return answer.url.endswith("/data-engine/do") and (answer.request.post_data_json or {}).get("action") == "plan"


def edit(root: Path, **values: str) -> None:
    text = INVOICES
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    (root / "flow_modules" / "invoices.ipynb").write_bytes(notebook_bytes(*cells(text)))


@pytest.mark.parametrize(("name", "style"), [("narrow", "width: 265px"), ("zoomed", "width: 206px; zoom: 1.5")])
def test_a_plan_is_whole_in_little_room(lab: Lab, page: Page, pictures: Path, name: str, style: str) -> None:
    """Code, counts, rows that differ, and an edit that fails: nothing is cut, and nothing has to be pushed aside to be read."""
    root = lab.workspace(f"planned_{name}")
    (root / "in").mkdir()
    for file in ("april-northern-region-final", "may"):
        rows = "".join(
            f'{number},{amount},Northern Supplies & Sons,"one pallet of {number} boxes, left at the gate"\n'
            for number, amount in enumerate((5, 1200, 98000), start=1)
        )
        (root / f"in/{file}.csv").write_text(f"id,amount,supplier,delivery_note\n{rows}", encoding="utf-8")
    edit(root, least="0", word="pallet", more="")
    subprocess.run([sys.executable, "-c", GO, str(root)], check=True, env=lab.environment, capture_output=True)
    edit(root, least="10", word="half-sized euro pallet", more="")
    page.open()
    panel = page.side(root)
    panel.element.evaluate("(panel, style) => panel.style.cssText = style", style)
    panel.select("invoices")
    panel.element.get_by_role("tab", name="Code").click()
    found = cut(panel, pictures, f"{name}-plan-before")
    data = panel.element.get_by_role("region", name="Plan of invoices")
    plans = {"keyed": ("id", "1 row removed"), "whole": ("", "removed"), "fails": ("id", "the edit fails")}
    for kind, (key, said) in plans.items():
        if kind == "fails":
            edit(root, least="10", word="half-sized euro pallet", more=FAILS)
        panel.element.get_by_label("Columns that match rows").fill(key)
        with page.page.expect_response(is_a_plan, timeout=60000):  # what was shown before may read alike
            panel.button("plan").click()
        data.get_by_text(said).first.wait_for(timeout=60000)
        found += cut(panel, pictures, f"{name}-plan-{kind}")
        for part in data.locator(".de-card > *").all()[1:]:
            part.scroll_into_view_if_needed()
        found += cut(panel, pictures, f"{name}-plan-{kind}-below")
    panel.element.evaluate("(panel) => panel.style.cssText = ''")
    panel.tab("Flows")

    assert found == []


WORDY = flows.POLLED.replace(
    "no column amount", "no column amount in this file: it has " + ", ".join(f"column_{number}" for number in range(30))
)
SIZES = {"normal": (1400, 900, ""), "at 150 %": (933, 600, ""), "narrow": (1400, 700, "width: 265px")}
SEEN = """
(panel) => {
    const section = panel.querySelector('.de-section').getBoundingClientRect();
    const body = panel.querySelector('.de-body').getBoundingClientRect();
    return Math.min(section.bottom, body.bottom) - Math.max(section.top, body.top);
}
"""


def test_what_a_tab_shows_has_room_whatever_stands_above_it(lab: Lab, page: Page, pictures: Path) -> None:
    """With a long error and a broken edit: both are folded and open at a click; a tab that is chosen shows at least 200 px."""
    root = lab.workspace("crowded")
    flows.fill(root, invoices=WORDY)
    flows.sources(root, good=12)
    (root / "in" / "invoices-of-the-northern-region-2025-01-31-final-corrected.csv").write_text("city\nOslo\n")
    settings = root / "config" / "data_engine.toml"
    settings.write_text("")
    page.open()
    panel = page.side(root)
    panel.button("start engine").click()
    panel.row("invoices").get_by_text("2 held").wait_for(timeout=60000)
    wrong = WORDY.replace('interval="1s"', 'interval="every quarter of an hour or so, but not at night"')
    (root / "flow_modules" / "invoices.ipynb").write_bytes(notebook_bytes(wrong))
    panel.row("invoices").get_by_text("edited").first.wait_for(timeout=60000)
    seen = {}
    for theme in THEMES:
        page.theme(theme)
        for name, (width, height, style) in SIZES.items():
            page.page.set_viewport_size({"width": width, "height": height})
            panel.element.evaluate("(panel, style) => panel.style.cssText = style", style)
            panel.select("invoices")
            page.page.wait_for_timeout(300)
            page.page.screenshot(path=pictures / f"room-{name}-{theme}-opened.png")
            for tab in ("Files", "Runs", "Data", "Code"):
                panel.element.get_by_role("tab", name=tab).click()
                page.page.wait_for_timeout(500)
                page.page.screenshot(path=pictures / f"room-{name}-{theme}-{tab}.png")
                seen[name, theme, tab] = panel.element.evaluate(SEEN)
            panel.element.locator(".de-body").evaluate("(body) => { body.scrollTop = 0; }")
            folded = panel.element.locator(".de-fold").all()
            heights = [one.bounding_box()["height"] for one in folded]
            for one in folded:
                one.locator("summary").click()
            opened = [one.bounding_box()["height"] for one in folded]
            page.page.screenshot(path=pictures / f"room-{name}-{theme}-unfolded.png")
            assert len(folded) == 2
            assert max(heights) < 60 < min(opened)
            panel.element.locator(".de-back").click()
            panel.element.evaluate("(panel) => panel.style.cssText = ''")
    page.page.set_viewport_size({"width": 1400, "height": 900})
    page.theme("Light")

    assert {key: height for key, height in seen.items() if height < 190} == {}


def test_a_flow_is_disabled_with_a_note_and_undeployed_in_the_narrowest_side_bar(
    lab: Lab, page: Page, pictures: Path
) -> None:
    """The side bar opens wide enough to read and is drawn to its least width; a note is taken; Undeploy asks first."""
    root = lab.workspace("noted")
    flows.fill(root, nightly=flows.NIGHTLY)
    (root / "config" / "data_engine.toml").write_text("")
    page.open()
    panel = page.side(root)
    opened = panel.element.bounding_box()
    page.page.mouse.move(opened["x"] - 4, 500)
    page.page.mouse.down()
    page.page.mouse.move(opened["x"] + 200, 500, steps=4)
    page.page.mouse.up()
    narrow = panel.element.bounding_box()
    detail = panel.select("nightly")
    panel.menu("disable").click()
    page.page.wait_for_timeout(300)
    page.page.screenshot(path=pictures / "note-disable.png")
    page.page.keyboard.type("stock-taking until Monday")
    page.page.keyboard.press("Enter")
    detail.get_by_text("stock-taking until Monday").first.wait_for()
    detail.get_by_role("tab", name="Code").click()
    cut_off = cut(panel, pictures, "note-deployment")
    panel.menu("undeploy").click()
    detail.get_by_text("Really undeploy it?").click()
    panel.element.locator(".de-back").click()
    panel.wait_for_state("nightly", "not deployed")
    left = panel.element.bounding_box()["x"]
    page.page.mouse.move(left - 4, 500)
    page.page.mouse.down()
    page.page.mouse.move(opened["x"] - 4, 500, steps=4)
    page.page.mouse.up()

    assert opened["width"] >= 320
    assert narrow["width"] <= 201
    assert cut_off == []


WIDTHS = """
() => ['.jp-NotebookPanel:not(.lm-mod-hidden)', '#data-engine-panel'].map((one) => document.querySelector(one).getBoundingClientRect().width)
"""


def test_beside_the_panel_a_notebook_keeps_its_room_and_the_panel_its_width(
    lab: Lab, browser: Any, workspace: Path, pictures: Path
) -> None:
    """At 1280 px with the file browser the notebook has 750 px; made wider, the panel is so after a reload; nothing is cut at 200 px."""
    lab_page = Page(lab, browser, width=1280, height=800)
    lab_page.load(name="small")
    lab_page.open(f"{workspace.name}/flow_modules/nightly.ipynb")
    panel = lab_page.side(workspace)
    panel.row("nightly").wait_for()
    lab_page.page.wait_for_timeout(1000)
    first = lab_page.page.evaluate(WIDTHS)
    found = cut(panel, pictures, "least-flows")
    panel.select(LONG)
    found += cut(panel, pictures, "least-runs")
    edge = panel.element.bounding_box()["x"] - 4
    lab_page.page.mouse.move(edge, 500)
    lab_page.page.mouse.down()
    lab_page.page.mouse.move(edge - 90, 500, steps=4)
    lab_page.page.mouse.up()
    lab_page.page.wait_for_timeout(300)
    lab_page.load(name="smaller")
    lab_page.side(workspace).row("nightly").wait_for()
    lab_page.page.wait_for_timeout(1000)
    again = lab_page.page.locator("#data-engine-panel").bounding_box()["width"]
    lab_page.close()

    assert found == []
    assert first[0] >= 750
    assert 285 <= again <= 295
