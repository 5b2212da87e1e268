"""What a newcomer meets in the panel: a flow that nobody has deployed, a deploy, a run that failed, and doing files again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.panel import flows
from tests.panel.lab import Lab, Page, Panel
from tests.panel.test_questions import asked_to_deploy
from tests.support import notebook_bytes

STOCK = """
from dataclasses import dataclass

import polars as pl
from data_engine import Flow

@dataclass
class Settings:
    share: float = 0.5

def read_the_delivery(context):
    frame = pl.read_csv(context.source.path)
    context.log("read " + str(context.source.path))
    if "amount" not in frame.columns:
        raise ValueError("no column amount in this delivery")
    return frame

def write_the_stock(context):
    target = context.mirror.with_suffix(".parquet")
    context.current.write_parquet(target)
    return target

def build():
    return (
        Flow(group="Files")
        .params(Settings)
        .watch(mode="poll", source="../in", interval="1s", settle=0, extensions=".csv")
        .mirror(root="../out").step(read_the_delivery).step(write_the_stock)
    )
"""
OVERLAPS = """
(part) => {
    const shown = [...part.querySelectorAll('*')].filter((one) => !one.children.length && one.textContent.trim() && !one.closest('.de-sr, svg, .de-log, .de-fold, .de-tabs')
        && getComputedStyle(one).clipPath === 'none');
    const boxes = shown.flatMap((one) => {
        const range = document.createRange();
        range.selectNodeContents(one);
        return [...range.getClientRects()].map((box) => [one, box]);
    });
    return boxes.flatMap(([one, a], at) => boxes.slice(at + 1).filter(([other, b]) => one !== other
        && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3)
        .map(([other]) => `${one.textContent.slice(0, 30)} | ${other.textContent.slice(0, 30)}`)).slice(0, 5);
}
"""


@pytest.fixture(scope="module")
def workspace(lab: Lab) -> Path:
    """A polled flow that nobody deployed, another one, and files it can read and one it cannot."""
    workspace = lab.workspace("first_steps")
    flows.fill(workspace, good=flows.GOOD)
    asked_to_deploy(workspace)
    (workspace / "flow_modules" / "stock.ipynb").write_bytes(notebook_bytes(STOCK))
    flows.sources(workspace, good=2, bad=1)
    return workspace


def open_side(page: Page, workspace: Path) -> Panel:
    page.open()
    return page.side(workspace)


def test_a_flow_that_is_not_deployed_offers_deploy_and_a_newer_edit_is_shown(
    page: Page, workspace: Path, pictures: Path
) -> None:
    """On its first page, in words for the panel; each further edit that is saved is shown, and of what was not shown that is said."""
    panel = open_side(page, workspace)
    detail = panel.select("stock")
    detail.get_by_role("tab", name="Runs").click()
    line = detail.locator(".de-note", has_text="Not deployed yet")
    line.wait_for()
    page.page.screenshot(path=pictures / "first-not-deployed.png")
    first = detail.inner_text()
    line.get_by_role("button", name="Deploy").click()
    line.wait_for(state="detached")
    detail.get_by_role("tab", name="Code").click()
    notebook = workspace / "flow_modules" / "stock.ipynb"
    for word in ("once", "twice"):
        notebook.write_bytes(notebook_bytes(STOCK.replace('"read "', f'"read {word} "')))
        detail.locator(".de-added", has_text=f"read {word}").wait_for(timeout=20000)
    shown = detail.locator(".de-added").all_inner_texts()

    assert "data-engine deploy" not in first
    assert len(shown) == 1


def test_a_deploy_says_that_files_were_done_before_and_leads_to_backfill(
    page: Page, workspace: Path, lab: Lab, pictures: Path
) -> None:
    """Nobody believes then that old outputs are new; where a newer edit than the panel showed went live, that is said too."""
    code = "import sys; from data_engine import Workspace; w = Workspace(sys.argv[1])\nw.deploy('stock')\nfor name in ('00', '01'): w.load_flow('stock').run_once(source=f'{name}.csv')"
    subprocess.run([sys.executable, "-c", code, str(workspace)], check=True, env=lab.environment, capture_output=True)
    panel = open_side(page, workspace)
    detail = panel.select("stock")
    detail.get_by_role("tab", name="Code").click()
    notebook = workspace / "flow_modules" / "stock.ipynb"
    notebook.write_bytes(notebook_bytes(STOCK.replace('"read "', '"read three times "')))
    detail.locator(".de-added", has_text="three times").wait_for(timeout=20000)
    shown = lab.do(workspace, "flow", flow="stock")["result"]["digest"]
    notebook.write_bytes(notebook_bytes(STOCK.replace('"read "', '"read four times "')))
    newer = lab.do(workspace, "deploy", name="stock", shown=shown)
    notebook.write_bytes(notebook_bytes(STOCK.replace('"read "', '"read five times "')))
    detail.locator(".de-added", has_text="five times").wait_for(timeout=20000)
    panel.button("deploy now").click()
    footer = panel.element.locator(".de-answer")
    footer.get_by_role("button", name="Backfill…").wait_for()
    page.page.screenshot(path=pictures / "first-deployed.png")
    said = footer.inner_text()
    footer.get_by_role("button", name="Backfill…").click()
    form = detail.get_by_role("form", name="Backfill of Stock")
    form.wait_for()

    assert (
        "It was saved once more after the panel showed it: what was saved last is deployed." in newer["result"]["html"]
    )
    assert "deployed stock.ipynb" in said
    assert "2 files were done before and count as done" in said
    assert "saved once more" not in said
    assert form.locator("[data-backfill=reprocess]").input_value() == "all"


def test_a_deploy_leads_to_retry_where_a_file_is_held(page: Page, lab: Lab, pictures: Path) -> None:
    """It is tried by the code that was deployed, and what says so is there for longer than what leads nowhere."""
    workspace = lab.workspace("held_at_deploy")
    flows.fill(workspace, polled=flows.POLLED)
    asked_to_deploy(workspace)
    flows.sources(workspace, good=0, bad=1)
    assert "error" not in lab.do(workspace, "start_engine")
    panel = open_side(page, workspace)
    panel.wait_for_state("polled", "1 held")
    detail = panel.select("polled")
    notebook = workspace / "flow_modules" / "polled.ipynb"
    notebook.write_bytes(notebook_bytes(flows.POLLED.replace('"amount" not', '"city" not')))
    detail.locator(".de-note", has_text="edited, not deployed").get_by_role("button", name="Deploy").click()
    footer = panel.element.locator(".de-answer")
    footer.get_by_role("button", name="Retry").wait_for()
    page.page.screenshot(path=pictures / "first-held.png")
    said = footer.inner_text()
    footer.get_by_role("button", name="Retry").click()
    footer.get_by_text("1 held source runs again.").wait_for()
    panel.element.locator(".de-back").click()
    panel.wait_for_last("polled", "success")

    assert "deployed polled.ipynb" in said
    assert "held polled: 1 file is held" in said
    assert "Backfill" not in said


def test_run_takes_what_is_typed_in_the_open_form(page: Page, lab: Lab, pictures: Path) -> None:
    """A wrong value is refused with its fix, and nothing runs; with the form closed the defaults are taken."""
    workspace = lab.workspace("typed_run")
    flows.fill(workspace, monthly=flows.TYPED)
    panel = open_side(page, workspace)
    detail = panel.select("monthly")
    run = detail.locator("[data-action='run']")
    panel.menu("params").click()
    field = detail.locator("form.de-params").get_by_label("Days back")
    field.fill("few")
    run.click()
    panel.element.get_by_text("parameter days: it cannot be 'few'").wait_for()
    page.page.screenshot(path=pictures / "first-run-refused.png")
    field.fill("7")
    run.click()
    detail.locator("form.de-params").get_by_role("button", name="Close").click()
    detail.get_by_role("tab", name="Runs").click()
    rows = detail.locator(".de-run-row[data-run]")
    rows.first.get_by_text("days=7").wait_for(timeout=40000)
    count = rows.count()
    run.click()
    rows.nth(1).wait_for(timeout=40000)

    assert count == 1
    assert "days=" not in rows.first.inner_text()


def test_backfill_says_by_what_its_days_go_and_leads_to_names(page: Page, workspace: Path, pictures: Path) -> None:
    """Who means the month in a file's name is led to the field for names."""
    panel = open_side(page, workspace)
    detail = panel.select("stock")
    panel.menu("backfill").click()
    form = detail.get_by_role("form", name="Backfill of Stock")
    before = form.inner_text()
    form.locator("[data-backfill=since]").fill("2013-03")
    form.locator("[data-backfill=until]").fill("2013-03")
    form.locator("[data-backfill=reprocess]").select_option("all")
    form.get_by_role("button", name="Show what would run").click()
    form.get_by_text("Nothing to run").wait_for()
    page.page.screenshot(path=pictures / "first-backfill.png")

    assert "by the day on which a file changed" in before
    assert "write *2013-03* into Files" in form.inner_text()
    cut = "(one) => one.scrollWidth > one.clientWidth"
    assert [one.evaluate(cut) for one in form.locator("input").all()[:3]] == [False] * 3


@pytest.mark.parametrize(
    ("name", "style"), [("normal", ""), ("narrow", "width: 265px"), ("zoomed", "width: 206px; zoom: 1.5")]
)
def test_a_failed_run_says_its_error_first_and_its_log_has_room(
    page: Page, workspace: Path, lab: Lab, pictures: Path, name: str, style: str
) -> None:
    """Before who started it and with what; and no text lies over another, in runs, files and deployments."""
    panel = open_side(page, workspace)
    lab.do(workspace, "run", flow="stock", source=str(workspace / "in" / "bad-0.csv"))
    panel.row("stock").get_by_text("held").first.wait_for(timeout=60000)
    panel.element.evaluate("(panel, style) => panel.style.cssText = style", style)
    detail = panel.select("stock")
    detail.get_by_role("button", name="Whole error and log").click()
    opened = detail.locator(".de-run-detail")
    opened.get_by_role("log").wait_for()
    page.page.screenshot(path=pictures / f"first-failed-{name}.png")
    text = opened.inner_text()
    line = opened.locator(".de-log-line", has_text="read ").last
    line.scroll_into_view_if_needed()
    page.page.screenshot(path=pictures / f"first-log-{name}.png")
    width = line.bounding_box()["width"]
    room = line.locator(".de-log-text").bounding_box()["width"]
    overlaps = {}
    for tab in ("Runs", "Files", "Code"):
        detail.get_by_role("tab", name=tab).click()
        detail.locator(f".de-section[aria-label={tab.lower()}]").wait_for()
        if tab == "Files":
            detail.locator(".de-file").first.wait_for()
        page.page.wait_for_timeout(200)
        overlaps[tab] = detail.evaluate(OVERLAPS)
        page.page.screenshot(path=pictures / f"first-{tab}-{name}.png")
    panel.element.evaluate("(panel) => panel.style.cssText = ''")

    assert text.index("no column amount") < text.index("Started")
    assert "the code raised" not in text
    assert room > width - 20
    assert {tab: found for tab, found in overlaps.items() if found} == {}


def test_an_error_goes_with_its_flow_and_covers_nothing(page: Page, workspace: Path, pictures: Path) -> None:
    """It stands below what is looked at, and not over it."""
    panel = open_side(page, workspace)
    panel.select("stock")
    panel.menu("params").click()
    panel.element.get_by_label("share").fill("0,2")
    panel.element.get_by_role("form", name="Parameters of Stock").get_by_role("button", name="Run").click()
    panel.element.get_by_role("alertdialog").get_by_role("button", name="Run").first.click()
    error = panel.element.locator(".de-said[role=alert] .de-note")
    error.wait_for()
    page.page.screenshot(path=pictures / "first-error.png")
    top = error.bounding_box()["y"]
    body = panel.element.locator(".de-body").bounding_box()
    panel.element.locator(".de-back").click()
    panel.select("good")
    error.wait_for(state="detached")

    assert body["y"] + body["height"] <= top + 1
