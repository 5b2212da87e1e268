"""How the panel behaves under a person's hands: by keyboard, with words and reasons, and without flicker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.panel import flows
from tests.panel.lab import Lab, Page

STUBBORN = """
import time
from data_engine import Flow

def sleep(context):
    time.sleep(9)

def after(context):
    return 1

def build():
    return Flow(group="Slow").step(sleep).step(after)
"""

UNNAMED = """
(panel) => [...panel.querySelectorAll('button, input, select, [role=tab]')]
    .filter((one) => !(one.innerText.trim() || one.getAttribute('aria-label') || (one.labels && one.labels.length)))
    .map((one) => one.outerHTML.slice(0, 120))
"""
WITHOUT_REASON = """
(panel) => [...panel.querySelectorAll('[aria-disabled=true]')]
    .filter((one) => !one.dataset.why || !one.title.endsWith(one.dataset.why))
    .map((one) => one.outerHTML.slice(0, 120))
"""
WORDLESS = """
(panel) => [...panel.querySelectorAll('.de-row, .de-step, .de-run-row, .de-file, .de-engine, .de-lease')]
    .filter((one) => !one.textContent.trim() || ![...one.querySelectorAll('.de-shape')].every((shape) => shape.querySelector('svg')))
    .map((one) => one.className)
"""


@pytest.fixture(scope="module")
def workspace(lab: Lab) -> Path:
    workspace = lab.workspace("manners")
    flows.fill(
        workspace,
        good=flows.GOOD,
        other=flows.GOOD,
        polled=flows.POLLED,
        broken=flows.BROKEN,
        slow=flows.SLOW,
        stubborn=STUBBORN,
        month_end=flows.FAILING,
    )
    flows.sources(workspace, good=8)
    return workspace


def test_a_flow_is_found_run_and_looked_at_by_keyboard_alone(lab: Lab, page: Page, workspace: Path) -> None:
    """Search, arrows, Shift Enter to run, Enter to look closely, arrows among the tabs, Esc back to where one was."""
    page.open()
    panel = page.side(workspace)
    panel.row("other").wait_for()
    page.page.locator(".jp-Launcher").wait_for()
    page.page.wait_for_timeout(1000)  # JupyterLab gives a new launcher the focus
    press = page.page.keyboard.press
    panel.row("good").locator(".de-row-main").focus()

    press("/")
    page.page.keyboard.type("oth")
    panel.row("good").wait_for(state="detached")
    press("ArrowDown")
    found = page.page.evaluate("() => document.activeElement.closest('[data-flow]')?.dataset.flow")
    press("Shift+Enter")
    panel.row("other").locator(".de-last .de-good").wait_for(timeout=20000)
    press("Enter")
    detail = panel.element.locator(".de-detail[data-flow='other']")
    detail.locator(".de-step").first.wait_for()
    detail.get_by_role("tab", name="Runs").focus()
    press("ArrowRight")
    detail.locator("[role=tab][aria-selected=true]", has_text="Data").wait_for()
    press("Escape")
    panel.row("other").wait_for()
    focused = page.page.evaluate("() => document.activeElement.closest('[data-flow]')?.dataset.flow")
    search = panel.element.get_by_label("Search flows")
    search.focus()
    press("Enter")
    detail.wait_for()
    press("Escape")
    search.fill("")
    panel.row("good").locator(".de-row-main").focus()
    press("s")
    panel.element.locator(".de-answer", has_text="Stop engine: the engine is off.").wait_for()

    assert (found, focused) == ("other", "other")


def test_every_control_has_a_name_and_says_why_it_cannot_be_used(lab: Lab, page: Page, workspace: Path) -> None:
    """On every tab of the panel and of a flow; what is disabled asks for nothing; every state is a word beside its shape."""
    page.open()
    panel = page.side(workspace)
    panel.button("start engine").click()
    panel.row("polled").get_by_text("1 held").wait_for()
    found = []
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url) if "/data-engine/do" in request.url else None)

    def see() -> None:
        for script in (UNNAMED, WITHOUT_REASON, WORDLESS):
            found.extend(panel.element.evaluate(script))

    see()
    for flow in ("polled", "broken", "month_end"):
        for tab in panel.select(flow).get_by_role("tab").all():
            tab.click()
            see()
        panel.button("more").click()
        see()
        panel.element.locator(".de-back").click()
    panel.tab("Outputs")
    see()
    panel.tab("Settings")
    panel.element.locator(".de-danger").wait_for()
    panel.element.locator(".de-danger > summary").click()
    see()
    panel.tab("Flows")
    panel.select("good")
    page.page.wait_for_timeout(800)
    before = len(asked)
    for action in ("stop", "undeploy"):
        (panel.button if action == "stop" else panel.menu)(action).dispatch_event("click")
    page.page.wait_for_timeout(300)
    sent = len(asked) - before
    panel.element.locator(".de-back").click()

    assert found == []
    assert sent == 0


def test_a_refresh_replaces_nothing_that_stays(lab: Lab, page: Page, workspace: Path) -> None:
    """While a run reports its progress twenty times a second, every other row is the same node and is not touched."""
    page.open()
    panel = page.side(workspace)
    panel.row("slow").locator(".de-run").click()
    panel.wait_for_state("slow", "running")
    page.page.wait_for_timeout(500)
    touched = page.page.evaluate(
        """async () => {
            const panel = document.querySelector('#data-engine-panel .de-panel');
            const rows = new Map([...panel.querySelectorAll('.de-row')].map((row) => [row.dataset.flow, row]));
            const touched = new Set();
            let changes = 0;
            const observer = new MutationObserver((records) => {
                for (const record of records) {
                    changes += 1;
                    const row = (record.target.closest ? record.target : record.target.parentElement).closest('.de-row');
                    if (row && !record.target.hasAttribute?.('data-tick')) touched.add(row.dataset.flow);
                }
            });
            observer.observe(panel, { subtree: true, childList: true, characterData: true });
            await new Promise((done) => setTimeout(done, 2000));
            observer.disconnect();
            const replaced = [...panel.querySelectorAll('.de-row')].filter((row) => rows.get(row.dataset.flow) !== row);
            return { touched: [...touched], replaced: replaced.length, changes };
        }"""
    )
    lab.do(workspace, "kill_run", flow="slow")

    assert touched["changes"] > 0
    assert touched["replaced"] == 0
    assert set(touched["touched"]) <= {"slow"}


def test_the_list_stays_as_it_is_behind_a_flow(lab: Lab, page: Page, workspace: Path) -> None:
    """Where there is room for one of both: back to it none of its rows is made anew, and each says what is true by then."""
    page.open()
    panel = page.side(workspace)
    panel.row("polled").wait_for()
    panel.element.get_by_text("being read").first.wait_for(state="detached")
    list_part = panel.element.locator(".de-list")
    list_part.evaluate("(list) => list.querySelectorAll('.de-row').forEach((row) => { row.isMarked = true; })")
    panel.select("good")
    page.page.wait_for_function("() => document.activeElement.classList.contains('de-back')")
    is_hidden = list_part.is_hidden()
    lab.do(workspace, "disable", flow="polled")
    panel.element.locator(".de-back").click()
    panel.wait_for_state("polled", "disabled")
    focused = page.page.evaluate("() => document.activeElement.closest('[data-flow]')?.dataset.flow")
    made = list_part.evaluate("(list) => [...list.querySelectorAll('.de-row')].filter((row) => !row.isMarked).length")
    lab.do(workspace, "enable", flow="polled")

    assert is_hidden
    assert (focused, made) == ("good", 0)


def test_a_flow_is_asked_for_once_and_at_the_click(page: Page, workspace: Path) -> None:
    """Before anything is drawn, and before its files are."""
    page.open()
    panel = page.side(workspace)
    panel.row("good").wait_for()
    panel.element.get_by_text("being read").first.wait_for(state="detached")
    page.page.wait_for_timeout(500)
    asked: list[str] = []

    def note(request: Any) -> None:
        if request.url.endswith("/data-engine/do"):
            asked.append(json.loads(request.post_data)["action"])

    page.page.on("request", note)
    at_once = panel.row("good").evaluate(
        """(row) => {
            const real = window.fetch;
            let count = 0;
            window.fetch = (...given) => { count += 1; return real(...given); };
            row.querySelector('.de-row-main').click();
            window.fetch = real;
            return count;
        }"""
    )
    panel.element.locator(".de-detail[data-flow='good'] .de-section").wait_for()
    page.page.wait_for_timeout(1000)
    page.page.remove_listener("request", note)

    assert at_once == 1
    assert asked == ["flow", "files"]


def test_a_run_that_was_told_to_stop_says_so_until_it_does(lab: Lab, page: Page, workspace: Path) -> None:
    """A step that cannot be interrupted keeps running; the button tells that the stop is under way; Kill comes when it takes long."""
    page.open()
    panel = page.side(workspace)
    panel.row("stubborn").locator(".de-run").click()
    panel.wait_for_state("stubborn", "running")
    detail = panel.select("stubborn")
    panel.button("stop").click()
    detail.locator("[data-action=stop][data-why]", has_text="Stopping…").wait_for()
    why = panel.button("stop").get_attribute("data-why")
    at_once = panel.button("kill").count()
    panel.button("kill").wait_for(timeout=7000)
    detail.get_by_role("tab", name="Runs").click()
    detail.locator(".de-run-row", has_text="stopped").wait_for()
    panel.element.locator(".de-back").click()
    lab.do(workspace, "kill")

    assert why == "it ends at its next step, map item, context.log or context.progress"
    assert at_once == 0
