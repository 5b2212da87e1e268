"""Several flows at once, the runs of today, files of one name, and by keyboard alone: a rollback and a backfill."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.panel import flows
from tests.panel.conftest import THEMES
from tests.panel.lab import Lab, Page, Panel
from tests.panel.test_pictures import look
from tests.support import notebook_bytes


@pytest.fixture(scope="module")
def several(lab: Lab) -> Path:
    """Three good flows, one that fails, and one over files of one name in two folders."""
    root = lab.workspace("several")
    flows.fill(
        root,
        good=flows.GOOD,
        other=flows.GOOD,
        third=flows.GOOD,
        failing=flows.FAILING,
        polled=flows.POLLED,
        nightly=flows.NIGHTLY,
    )
    for folder in ("north", "south"):
        (root / "in" / folder).mkdir(parents=True)
        (root / "in" / folder / "may.csv").write_text("amount\n1\n")
    (root / "in" / "june.csv").write_text("amount\n1\n")
    return root


def opened(page: Page, workspace: Path) -> Panel:
    page.open()
    panel = page.side(workspace)
    panel.row("good").wait_for()
    if panel.button("start engine").is_visible():
        panel.button("start engine").click()
        panel.button("stop engine").wait_for()
    return panel


def chosen(panel: Panel, *names: str) -> None:
    panel.element.get_by_role("button", name="Choose", exact=True).click()
    for name in names:
        panel.row(name).locator(".de-choose").check()


def test_one_question_names_the_flows_that_were_chosen(lab: Lab, page: Page, several: Path, pictures: Path) -> None:
    """Run, disable and enable; what it cannot be done with is named with its reason, Cancel and Esc do nothing."""
    panel = opened(page, several)
    chosen(panel, "good", "failing")
    sticks_out = look(panel, pictures, "several-chosen")
    panel.button("run chosen").click()
    question = panel.element.get_by_role("alertdialog")
    question.get_by_text("Run failing, good?").wait_for()
    sticks_out += look(panel, pictures, "several-question")
    question.get_by_role("button", name="Run 2 flows").click()
    panel.wait_for_last("good", "success")
    panel.wait_for_last("failing", "failed")
    panel.element.get_by_text("Run: done with 2 flows.").wait_for()

    chosen(panel, "polled", "nightly")
    panel.button("disable chosen").click()
    question.get_by_role("button", name="Disable 2 flows").click()
    panel.element.get_by_text("Disable: done with 2 flows.").wait_for()
    chosen(panel, "good", "nightly")
    panel.button("enable chosen").click()
    question.get_by_text("Enable nightly? Not good (").wait_for()
    page.page.keyboard.press("Escape")
    question.wait_for(state="detached")
    assert page.page.evaluate("document.activeElement.dataset.action") == "enable chosen"  # the keys go on there
    page.page.keyboard.press("Escape")
    panel.element.locator(".de-chosen").wait_for(state="detached")

    assert sticks_out == []
    for name in ("polled", "nightly"):
        panel.row(name).get_by_text("disabled").first.wait_for()
    lab.do(several, "enable", flow="polled")


def test_the_runs_of_today_are_a_row_a_flow_and_lead_to_the_run(
    lab: Lab, page: Page, several: Path, pictures: Path
) -> None:
    """Those that did not run are a number."""
    panel = opened(page, several)
    panel.row("failing").locator(".de-run").click()
    panel.wait_for_last("failing", "failed")
    sticks_out = []
    for theme in THEMES:
        page.theme(theme)
        panel.tab("Today")
        row = panel.element.locator("[data-day='failing']")
        row.locator(".de-day-run.de-bad").first.wait_for()
        sticks_out += look(panel, pictures, f"today-{theme}")
    page.theme("Light")
    panel.element.get_by_text("did not run today.").wait_for()
    row.locator(".de-day-run.de-bad").last.click()
    panel.element.locator(".de-detail[data-flow='failing'] .de-run-row.de-open").wait_for()
    panel.element.locator(".de-back").click()

    assert sticks_out == []


def test_files_of_one_name_show_the_part_of_their_path_that_differs(page: Page, several: Path, pictures: Path) -> None:
    """The others their name alone; the whole path is the line's title."""
    panel = opened(page, several)
    panel.select("polled")
    panel.element.get_by_role("tab", name="Files").click()
    panel.element.locator(".de-file").nth(2).wait_for()
    look(panel, pictures, "files-of-one-name")
    names = {one.inner_text() for one in panel.element.locator(".de-file .de-strong").all()}
    panel.element.locator(".de-back").click()

    assert names == {"june.csv", "north/may.csv", "south/may.csv"}


FOCUSED = """() => {
    const one = document.activeElement;
    return one.matches("button, input, select, a") ? [one.getAttribute("aria-label"), one.textContent, one.dataset.backfill].join(" ") : "";
}"""


def tab_to(panel: Panel, name: str) -> None:
    """Press Tab until something of this name, which is there, has the focus."""
    for _ in range(80):
        if name in panel.page.evaluate(FOCUSED):
            return
        panel.page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {name}")


def go_to(panel: Panel, flow: str) -> None:
    """Open a flow's details from the list with Enter."""
    panel.row(flow).locator(".de-row-main").focus()
    panel.page.keyboard.press("Enter")
    panel.element.locator(f".de-detail[data-flow='{flow}'] .de-section").wait_for()


def test_a_rollback_is_confirmed_by_keyboard_alone(lab: Lab, page: Page, several: Path, pictures: Path) -> None:
    """From the list to the flow, its Code, the deployment before, and the second press that says yes."""
    (several / "flow_modules" / "third.ipynb").write_bytes(notebook_bytes(flows.GOOD.replace("[1, 2, 3]", "[1, 2]")))
    lab.do(several, "deploy", name="third")
    panel = opened(page, several)
    keys = page.page.keyboard
    go_to(panel, "third")
    tab_to(panel, "Runs")
    while "Code" not in page.page.evaluate(FOCUSED):
        keys.press("ArrowRight")
    panel.element.get_by_text("Roll back").first.wait_for()
    tab_to(panel, "Roll back")
    keys.press("Enter")
    panel.element.get_by_text("Roll back to").wait_for()
    look(panel, pictures, "rollback-asks")
    assert panel.element.get_by_text("third runs again as it was deployed").count() == 0  # it asks first
    keys.press("Enter")
    panel.element.get_by_text("third runs again as it was deployed").wait_for()
    panel.element.locator(".de-back").click()


def test_a_backfill_is_filled_in_and_begun_by_keyboard_alone(page: Page, several: Path, pictures: Path) -> None:
    """The menu, the form with its fields in order, what would run, and Esc that leaves a second form as it was."""
    panel = opened(page, several)
    keys = page.page.keyboard
    go_to(panel, "polled")
    tab_to(panel, "More for")
    keys.press("Enter")
    panel.button("backfill").wait_for()
    tab_to(panel, "Backfill…")
    keys.press("Enter")
    form = panel.element.get_by_role("form", name="Backfill of")
    form.wait_for()
    page.page.wait_for_timeout(200)
    assert page.page.evaluate("() => document.activeElement.dataset.backfill") == "since"
    keys.type("2013-01")
    tab_to(panel, "reprocess")
    keys.type("all")
    tab_to(panel, "Show what would run")
    keys.press("Enter")
    form.get_by_text("3 of 3 in the range:").wait_for()
    look(panel, pictures, "backfill-by-keyboard")
    form.get_by_role("button", name="Run these 3").wait_for()
    tab_to(panel, "Run these 3")
    keys.press("Enter")
    form.wait_for(state="detached")
    tab_to(panel, "More for")
    keys.press("Enter")
    panel.button("backfill").wait_for()
    tab_to(panel, "Backfill…")
    keys.press("Enter")
    form.wait_for()
    keys.press("Escape")
    form.wait_for(state="detached")
    panel.element.locator(".de-back").click()
