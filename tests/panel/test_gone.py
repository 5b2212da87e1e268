"""A notebook that is gone, a source that a flow would overwrite, outputs left behind and a stopping run, as the panel shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.panel import flows
from tests.panel.conftest import THEMES
from tests.panel.lab import Lab, Page, Panel
from tests.panel.test_narrow import CUT

OWN_SOURCE = """
from data_engine import Flow

def shout(context):
    context.source.path.write_text(context.source.path.read_text().upper())

def build():
    return Flow(group="Own").watch(mode="poll", source="../letters", interval="1s", settle=0, extensions=".txt").step(shout)
"""
SLEEPS = """
import time
from data_engine import Flow

def wait(context):
    time.sleep(120)

def build():
    return Flow(group="Slow").step(wait)
"""
WIDTHS = {"normal": "", "narrow": "width: 265px"}


@pytest.fixture(scope="module")
def workspace(lab: Lab) -> Path:
    workspace = lab.workspace("gone_notebooks")
    (workspace / "letters").mkdir()
    (workspace / "letters" / "monday.txt").write_text("hello")
    flows.fill(
        workspace,
        claims=flows.POLLED,
        adds=flows.GOOD,
        monthly_reconciliation=flows.GOOD,
        own=OWN_SOURCE,
        slow=SLEEPS,
    )
    (workspace / "config" / "data_engine.toml").write_text('[deploy]\nmode = "ask"\n')
    flows.sources(workspace, good=3, bad=1)
    return workspace


def look(panel: Panel, pictures: Path, name: str) -> None:
    """A picture of the panel in each theme and width; nothing is cut in any."""
    cut = []
    for width, style in WIDTHS.items():
        panel.element.evaluate("(panel, style) => panel.style.cssText = style", style)
        for theme in THEMES:
            panel.page.evaluate(
                "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })",
                f"JupyterLab {theme}",
            )
            panel.page.wait_for_timeout(700)
            panel.element.screenshot(path=pictures / f"gone-{name}-{width}-{theme.lower()}.png")
        cut += panel.element.evaluate(CUT)
    panel.element.evaluate("(panel) => panel.style.cssText = ''")
    assert cut == []


def test_restore_and_undeploy_do_what_they_say(page: Page, pictures: Path, workspace: Path) -> None:
    """Restore puts the notebook back as it was deployed; Undeploy asks, and the flow is gone from the list."""
    page.open()
    panel = page.side(workspace)
    modules = workspace / "flow_modules"
    before = (modules / "adds.ipynb").read_bytes()
    panel.button("start engine").click()
    panel.row("claims").get_by_text("1 held").wait_for(timeout=90000)
    for name in ("adds", "monthly_reconciliation"):
        (modules / f"{name}.ipynb").unlink()
        panel.row(name).get_by_text("gone", exact=True).wait_for(timeout=60000)
    look(panel, pictures, "list")
    panel.select("adds")
    panel.button("restore adds").wait_for()
    look(panel, pictures, "detail")

    panel.button("restore adds").click()
    panel.button("restore adds").wait_for(state="detached", timeout=60000)
    panel.element.locator(".de-back").click()
    panel.select("monthly_reconciliation")
    undeploy = panel.button("undeploy monthly_reconciliation")
    for width, style in WIDTHS.items():
        panel.element.evaluate("(panel, style) => panel.style.cssText = style", style)
        undeploy.get_by_text("Undeploy", exact=True).wait_for()
        undeploy.click()
        undeploy.get_by_text("Really undeploy it?").wait_for()
        panel.element.screenshot(path=pictures / f"gone-asked-{width}.png")
        assert panel.element.evaluate(CUT) == []
    panel.element.evaluate("(panel) => panel.style.cssText = ''")
    undeploy.get_by_text("Undeploy", exact=True).wait_for()
    assert panel.menu("open").get_attribute("data-why") == "its notebook is gone"
    undeploy.click()
    panel.button("undeploy monthly_reconciliation").click()
    panel.row("monthly_reconciliation").wait_for(state="detached", timeout=60000)
    page.page.wait_for_timeout(1000)

    assert json.loads((modules / "adds.ipynb").read_bytes())["cells"] == json.loads(before)["cells"]
    assert not (modules / "monthly_reconciliation.ipynb").exists()


def test_a_notebook_that_was_moved_is_to_be_moved_back_and_not_written_again(
    page: Page, pictures: Path, workspace: Path
) -> None:
    page.open()
    panel = page.side(workspace)
    if panel.element.locator(".de-back").is_visible():
        panel.element.locator(".de-back").click()
    modules = workspace / "flow_modules"
    (modules / "old").mkdir()
    (modules / "adds.ipynb").rename(modules / "old" / "adds.ipynb")
    panel.row("adds").get_by_text("gone", exact=True).wait_for(timeout=60000)
    panel.select("adds")
    panel.element.get_by_text("move old/adds.ipynb back into flow_modules itself").wait_for(timeout=60000)
    look(panel, pictures, "moved")
    assert panel.button("restore adds").count() == 0

    (modules / "old" / "adds.ipynb").rename(modules / "adds.ipynb")
    panel.button("undeploy adds").wait_for(state="detached", timeout=60000)


def test_what_is_held_left_behind_or_stopping_is_told(page: Page, pictures: Path, workspace: Path) -> None:
    page.open()
    panel = page.side(workspace)
    if panel.element.locator(".de-back").is_visible():
        panel.element.locator(".de-back").click()
    panel.row("own").get_by_text("1 held").wait_for(timeout=90000)
    panel.select("own")
    panel.element.get_by_role("tab", name="Files").click()
    panel.element.locator(".de-file").first.wait_for()
    panel.element.locator(".de-note", has_text="Last run failed").get_by_text("Write to another folder").wait_for()
    look(panel, pictures, "own-source")
    panel.element.locator(".de-back").click()
    panel.row("slow").locator(".de-run").click()
    panel.wait_for_state("slow", "running")
    panel.select("slow")
    panel.button("stop").click()
    panel.element.locator("[data-action='stop']", has_text="Stopping…").wait_for()
    look(panel, pictures, "stopping")
    panel.button("kill").click()
    panel.element.locator(".de-back").click()
    (workspace / "in" / "00.csv").unlink()
    panel.tab("Outputs")
    panel.element.locator("[data-output]").first.wait_for()
    panel.element.get_by_text("source gone").first.wait_for(timeout=60000)
    look(panel, pictures, "outputs")
    panel.tab("Flows")

    assert (workspace / "letters" / "monday.txt").read_text() == "hello"
