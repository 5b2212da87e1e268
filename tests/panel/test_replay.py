"""A failed run is opened with its data in a real JupyterLab, mended, deployed and tried again."""

from __future__ import annotations

import json
from pathlib import Path

from tests.panel import flows
from tests.panel.lab import Lab, Page

CELLS = (
    "%load_ext data_engine\nfrom data_engine import Flow",
    "1 + 1",
    'def read(context):\n    return (3, "a")',
    'def bad(context):\n    row = context.current\n    return row["total"]',
    'def build():\n    return Flow(group="Claims").step(read, save_as="row").step(bad)',
)
SOURCES = """() => window.jupyterapp.shell.currentWidget.content.widgets.map((one) => [
    one.model.sharedModel.getSource(), one.model.sharedModel.getMetadata("tags") || [], one.model.executionCount])"""


def test_a_failure_is_opened_mended_deployed_and_green(lab: Lab, page: Page, pictures: Path) -> None:
    """One cell below the failing one, those that it needs are run, and Deploy and retry takes it away again."""
    workspace = lab.workspace("replayed")
    flows.fill(workspace, night=CELLS)
    path = workspace / "flow_modules" / "night.ipynb"
    page.open()
    panel = page.side(workspace)
    panel.row("night").locator(".de-run").click()
    panel.wait_for_last("night", "failed")
    before = path.read_bytes()
    detail = panel.select("night")
    detail.get_by_role("button", name="Open with its data").click()
    detail.get_by_text("variables at the failing line").wait_for()
    page.page.wait_for_function("() => (window.jupyterapp.shell.currentWidget.content || {}).activeCellIndex === 4")
    detail.get_by_text("Cells 1, 3, 4 and 5 must have run before the added one.").wait_for()
    page.page.screenshot(path=pictures / "replay_opened.png")
    added = page.page.evaluate(SOURCES)
    run_id = lab.do(workspace, "flow", flow="night")["result"]["runs"][0]["run_id"][:8]
    assert added[4][:2] == [f"%flow replay {run_id}\nbad(context)", ["replay"]]
    assert len(added) == len(CELLS) + 1
    assert path.read_bytes() == before, "the notebook's file was changed by opening it"

    page.wait_for_kernel()
    detail.get_by_role("button", name="Run them").click()
    page.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.widgets[5].model.executionCount !== null"
    )
    ran = [entry[2] for entry in page.page.evaluate(SOURCES)]
    assert [count is not None for count in ran] == [True, False, True, True, False, True]
    page.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell').then(() => true)")
    page.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.widgets[4].node.innerText.includes('TypeError')"
    )
    page.page.screenshot(path=pictures / "replay_error.png")

    page.page.evaluate(
        """async () => {
            const { content } = window.jupyterapp.shell.currentWidget;
            const set = (at, text) => content.widgets[at].model.sharedModel.setSource(text);
            set(3, 'def bad(context):\\n    row = context.current\\n    return row[0]');
            set(4, content.widgets[4].model.sharedModel.getSource().replace('bad(context)', 'replay.run()'));
            for (const at of [3, 4]) {
                content.deselectAll();
                content.activeCellIndex = at;
                await window.jupyterapp.commands.execute('notebook:run-cell');
            }
            return true;
        }"""
    )
    page.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.widgets[4].node.innerText.includes('passes now')"
    )
    page.page.screenshot(path=pictures / "replay_passes.png")

    detail.get_by_role("button", name="Deploy and retry").click()
    page.page.wait_for_function("() => window.jupyterapp.shell.currentWidget.content.widgets.length === 5")
    detail.get_by_role("tab", name="Code").click()
    detail.get_by_text("Production runs the notebook as it is.").wait_for(timeout=60000)
    saved = json.loads(path.read_bytes())
    assert not any("replay" in cell["metadata"].get("tags", ()) for cell in saved["cells"])
    panel.wait_for_last("night", "success")
    page.page.screenshot(path=pictures / "replay_green.png")
