"""In a real JupyterLab: a flow that fails is told once, leads to its cell, and is taken back when it is good again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.panel import flows
from tests.panel.conftest import THEMES
from tests.panel.lab import Lab, Page

TOAST = ".jp-toastContainer .jp-Notification-Toast-error"
NOTHING_TOLD = """
() => Object.keys(localStorage).filter((key) => key.startsWith('data-engine:told:')).every((key) => localStorage[key] === '{}')
"""
LISTED = ".jp-Notification-Center .jp-Notification-List-Item"
TAB = ".jp-SideBar .lm-TabBar-tab[data-id='data-engine-panel']"
STATUS_LINE = "#jp-main-statusbar .de-status"
HAS_COLOUR = """
(node, name) => {
  const asked = document.createElement("span");
  asked.style.color = `var(${name})`;
  node.append(asked);
  const { color } = getComputedStyle(asked);
  asked.remove();
  return color === getComputedStyle(node).color && color !== getComputedStyle(node.parentElement).color;
}
"""
FAILED = "claims_import failed with bad-0.csv in Read: ValueError: no column amount"
BY_CELLS = tuple(flows.POLLED.strip().split("\n\n"))

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("loud"), loud=True).running() as lab:
        yield lab
        lab.end_daemons()


@pytest.fixture
def workspace(loud: Lab) -> Path:
    workspace = loud.workspace("claims")
    flows.fill(workspace, claims_import=BY_CELLS, month_end=flows.FAILING, good=flows.GOOD)
    flows.sources(workspace)
    return workspace


@pytest.fixture
def page(loud: Lab, browser: Any, pictures: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    failed_before = request.session.testsfailed
    page = Page(loud, browser)
    yield page
    if request.session.testsfailed > failed_before:
        page.page.screenshot(path=pictures / f"failed-{request.node.name}.png")
    page.close()
    assert page.errors == []


def listed(page: Any) -> list[str]:
    """What JupyterLab's list of notifications holds; it is open meanwhile."""
    show_list(page)
    found = [text.split("\n")[0] for text in page.locator(LISTED).all_inner_texts()]
    show_list(page, "hidden")
    return found


def listed_soon(page: Any) -> list[str]:
    """As `listed`, once it holds something: a page that was just loaded fills it a while after it shows the count."""
    for _ in range(20):
        if found := listed(page):
            return found
        page.wait_for_timeout(1000)
    return []


def show_list(page: Any, state: str = "visible") -> None:
    """Open or close JupyterLab's list of notifications."""
    page.evaluate("() => { window.jupyterapp.commands.execute('apputils:display-notifications'); }")
    page.locator(".jp-Notification-Center").wait_for(state=state)


def test_a_flow_that_fails_is_told_once_and_leads_to_its_cell(
    loud: Lab, page: Page, workspace: Path, pictures: Path
) -> None:
    """Not for what was run by hand here, not again on a reload or a second page; gone when the file is good, or deleted."""
    page.open()
    panel = page.side(workspace)
    panel.row("month_end").locator(".de-run").click()
    panel.wait_for_last("month_end", "failed")
    page.page.locator(f"{TAB}[title='Data Engine: 1 flow in trouble'][data-de-count='1']").wait_for()
    line = page.page.locator(STATUS_LINE, has_text="Engine off · 1 flow in trouble")
    line.wait_for()
    assert line.evaluate(HAS_COLOUR, "--jp-error-color1")
    by_hand = page.page.locator(TOAST).count()
    panel.button("start engine").click()

    toast = page.page.locator(TOAST)
    toast.wait_for(timeout=60000)
    assert (by_hand, toast.count()) == (0, 1)
    assert FAILED in toast.inner_text()
    page.page.locator(f"{TAB}[title='Data Engine: 2 flows in trouble'][data-de-count='2']").wait_for()
    toast.get_by_role("button", name="Show flow").wait_for()
    detail = panel.select("claims_import")
    detail.locator(".de-detail-head .de-sign.de-bad", has_text="failing, 1 held").wait_for()
    for theme in THEMES:
        page.theme(theme)
        page.page.mouse.move(5, 5)
        page.page.wait_for_timeout(400)
        page.page.screenshot(path=pictures / f"bell-{theme}.png")
    page.theme("Light")
    toast.wait_for(state="detached", timeout=60000)
    assert listed(page.page) == [FAILED]

    streams: list[str] = []
    page.page.on("request", lambda asked: streams.append(asked.url) if "/data-engine/events" in asked.url else None)
    page.load()
    page.page.locator(f"{TAB}[data-de-count='2']").wait_for()
    page.page.wait_for_timeout(1500)
    again = (page.page.locator(TOAST).count(), listed(page.page))
    second = page.context.new_page()
    second.goto(f"{loud.base}/lab/workspaces/second?reset&token={loud.token}")
    second.locator(f"{TAB}[data-de-count='2']").wait_for(timeout=60000)
    second.wait_for_timeout(1500)
    on_second = (second.locator(TOAST).count(), listed(second))
    second.close()
    assert (again, on_second) == ((0, [FAILED]), (0, [FAILED]))
    assert len(streams) == 1

    show_list(page.page)
    page.page.locator(LISTED).get_by_role("button", name="Open cell").click()
    page.page.wait_for_function(
        "() => { const w = window.jupyterapp.shell.currentWidget; return w && w.content && w.content.activeCellIndex === 1; }"
    )
    show_list(page.page, "hidden")
    (workspace / "in" / "bad-0.csv").write_text("city,amount\nOslo,1\n")
    page.page.locator(f"{TAB}[title='Data Engine: 1 flow in trouble']").wait_for(timeout=60000)

    page.page.wait_for_function(NOTHING_TOLD, timeout=60000)
    (workspace / "in" / "bad-1.csv").write_text("city\nOslo\n")
    toast.wait_for(timeout=60000)
    toast.get_by_role("button", name="Show flow").click()
    page.side().element.locator(".de-detail[data-flow='claims_import']").wait_for()
    (workspace / "in" / "bad-2.csv").write_text("city\nOslo\n")
    page.page.locator(".de-detail-head .de-sign", has_text="failing, 2 held").wait_for(timeout=60000)
    page.page.wait_for_timeout(1000)
    assert page.page.locator(TOAST).count() == 0
    for name in ("bad-1", "bad-2"):
        (workspace / "in" / f"{name}.csv").unlink()
    page.page.locator(f"{TAB}[title='Data Engine: 1 flow in trouble']").wait_for(timeout=60000)
    page.page.wait_for_function(NOTHING_TOLD, timeout=60000)
    page.side().element.screenshot(path=pictures / "bell-file-deleted.png")
    assert page.page.locator(".de-detail .de-note.de-bad").count() == 0
    assert listed(page.page) == []


def test_a_notification_opens_the_failure_with_its_data(loud: Lab, page: Page, pictures: Path) -> None:
    """One click from the message: the notebook with the cell that opens the failing step."""
    workspace = loud.workspace("night")
    flows.fill(workspace, claims_import=BY_CELLS)
    flows.sources(workspace)
    page.open()
    page.side(workspace).button("start engine").click()
    toast = page.page.locator(TOAST)
    toast.wait_for(timeout=60000)

    toast.get_by_role("button", name="Open with its data").click()
    page.page.wait_for_function(
        """() => {
            const { content } = window.jupyterapp.shell.currentWidget || {};
            const source = content && content.activeCell && content.activeCell.model.sharedModel.getSource();
            return Boolean(source) && source.startsWith('%flow replay ') && source.endsWith('read(context)');
        }""",
        timeout=60000,
    )
    page.page.screenshot(path=pictures / "replay_notified.png")
    page.side().element.get_by_text("must have run before the added one.").wait_for()
