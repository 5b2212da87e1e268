"""What the panel asks before it does what a click may not have meant: a deploy of old code, a run of files that are done."""

from __future__ import annotations

import json
from pathlib import Path

from tests.panel import flows
from tests.panel.lab import Lab, Page

_DOUBLE_CLICK_MS = 600
"""After that a click asks anew."""
_DIRTY = "() => window.jupyterapp.shell.currentWidget.context.model.dirty"


def asked_to_deploy(workspace: Path) -> None:
    """Nothing is deployed here unless somebody asks for it."""
    (workspace / "config" / "data_engine.toml").write_text('[deploy]\nmode = "ask"\n')


def edit(page: Page, text: str) -> None:
    """Put this text before what the first cell holds, without saving."""
    page.page.evaluate(
        """(text) => {
            const model = window.jupyterapp.shell.currentWidget.content.model;
            const cell = model.sharedModel.getCell(0);
            cell.setSource(text + cell.getSource());
        }""",
        text,
    )
    page.page.wait_for_function(_DIRTY)


def source(path: Path) -> str:
    return "".join(json.loads(path.read_text())["cells"][0]["source"])


def test_a_deploy_of_a_notebook_with_unsaved_edits_asks_first(lab: Lab, page: Page, pictures: Path) -> None:
    """Nothing is saved or deployed before somebody says which; a flow that is deployed as saved does not say that it is as it is."""
    workspace = lab.workspace("unsaved")
    flows.fill(workspace, good=flows.GOOD)
    asked_to_deploy(workspace)
    page.open("unsaved/flow_modules/good.ipynb")
    page.page.wait_for_function(_DIRTY)  # JupyterLab adds what the kernel is as soon as it opens one
    panel = page.side(workspace)
    detail = panel.select("good")
    detail.get_by_role("tab", name="Code").click()
    detail.get_by_text("Production runs the notebook as it is.").wait_for()
    button = detail.locator("[data-action='deploy now']")

    edit(page, "# once\n")
    detail.get_by_text("it has unsaved edits").wait_for()
    why = button.get_attribute("data-why")
    page.command("docmanager:save")
    panel.row("good").get_by_text("edited").wait_for(state="attached")
    edit(page, "# twice\n")
    button.click()
    question = panel.element.get_by_role("alertdialog")
    question.wait_for()
    page.page.screenshot(path=pictures / "deploy-unsaved.png")
    text, answers = question.inner_text(), question.get_by_role("button").all_inner_texts()
    question.get_by_role("button", name="Cancel").click()
    question.wait_for(state="detached")
    path = workspace / "flow_modules" / "good.ipynb"
    cancelled = source(path)
    page.command("data-engine:deploy")
    question.get_by_role("button", name="Cancel").click()
    question.wait_for(state="detached")
    button.click()
    question.get_by_role("button", name="Save and deploy").click()
    detail.get_by_text("Production runs the notebook as it is.").wait_for()

    assert why == "not saved: save it first"
    assert "good.ipynb has unsaved edits." in text
    assert answers == ["Save and deploy", "Deploy the saved file", "Cancel"]
    assert cancelled.startswith("# once\n")
    assert source(path).startswith("# twice\n# once\n")
    assert not page.page.evaluate(_DIRTY)


def test_a_run_of_a_polled_flow_asks_before_files_that_are_done_run_again(lab: Lab, page: Page, pictures: Path) -> None:
    """How many are due and done is told; a click on the row asks alike, and the Enter that follows it answers nothing."""
    workspace = lab.workspace("again")
    flows.fill(workspace, polled=flows.POLLED)
    flows.sources(workspace, good=2, bad=0)
    page.open()
    panel = page.side(workspace)
    panel.row("polled").locator(".de-run").click()
    question = panel.element.get_by_role("alertdialog")
    question.get_by_role("button", name="Run both").click()
    panel.wait_for_last("polled", "success")
    detail = panel.select("polled")
    detail.get_by_role("tab", name="Files").click()
    detail.locator(".de-file", has_text="already done").nth(1).wait_for()
    (workspace / "in" / "02.csv").write_text("city,amount\nOslo,1\n")

    detail.locator("[data-action='run']").dblclick()
    question.wait_for()
    text = question.inner_text()
    page.page.screenshot(path=pictures / "run-asks.png")
    page.page.keyboard.press("Enter")
    question.get_by_role("button", name="Run the one due").click()
    detail.locator("[data-file='02.csv']").get_by_text("already done").wait_for()

    assert "Run Polled: 1 file is due, 2 are done." in text
    assert question.count() == 0


def test_a_run_with_unsaved_edits_says_what_runs_and_its_question_goes_with_its_tab(
    lab: Lab, page: Page, pictures: Path
) -> None:
    """Nothing runs before somebody says so; in another tab, or a form, the question is over."""
    workspace = lab.workspace("run_unsaved")
    flows.fill(workspace, good=flows.GOOD)
    asked_to_deploy(workspace)
    page.open("run_unsaved/flow_modules/good.ipynb")
    page.page.wait_for_function(_DIRTY)
    panel = page.side(workspace)
    detail = panel.select("good")
    edit(page, "# once\n")
    run, question = detail.locator("[data-action='run']"), panel.element.get_by_role("alertdialog")
    run.click()
    question.wait_for()
    page.page.screenshot(path=pictures / "run-unsaved.png")
    text, answers = question.inner_text(), question.get_by_role("button").all_inner_texts()
    panel.tab("Outputs")
    question.wait_for(state="detached")
    panel.tab("Flows")
    page.page.wait_for_timeout(_DOUBLE_CLICK_MS)
    run.click()
    question.wait_for()
    page.page.keyboard.press("Escape")
    question.wait_for(state="detached")
    page.page.wait_for_timeout(_DOUBLE_CLICK_MS)
    never_ran = lab.do(workspace, "flow", flow="good")["result"]["runs"]
    run.click()
    question.get_by_role("button", name="Run it").click()
    panel.element.locator(".de-answer", has_text="1 run started").wait_for()

    assert "good.ipynb has unsaved edits: the flow runs as it is deployed, without them." in text
    assert answers == ["Run it", "Cancel"]
    assert never_ran == []


RENAME = "([path, name]) => window.jupyterapp.serviceManager.contents.rename(path, name).then(() => true)"
"""What the file browser does."""


def test_a_deploy_after_a_rename_of_the_notebook_asks_for_its_unsaved_edits(
    lab: Lab, page: Page, pictures: Path
) -> None:
    """A new flow, edited and renamed before it was ever saved: nothing is deployed by its old file unasked, by its new name or all."""
    workspace = lab.workspace("renamed_unsaved")
    flows.fill(workspace, other=flows.GOOD)
    asked_to_deploy(workspace)
    page.open()
    panel = page.side(workspace)
    page.page.evaluate("() => window.jupyterapp.commands.execute('data-engine:new-flow').then(() => true)")
    page.wait_for_kernel()
    edit(page, "# mine\n")
    folder = "renamed_unsaved/flow_modules"
    page.page.evaluate(RENAME, [f"{folder}/new_flow.ipynb", f"{folder}/stock.ipynb"])
    page.page.wait_for_function("() => window.jupyterapp.shell.currentWidget.context.path.endsWith('stock.ipynb')")
    panel.row("stock").wait_for()

    detail = panel.select("stock")
    detail.get_by_role("tab", name="Code").click()
    detail.locator("[data-action='deploy now']").click()
    question = panel.element.get_by_role("alertdialog")
    question.wait_for()
    page.page.screenshot(path=pictures / "deploy-unsaved-renamed.png")
    text = question.inner_text()
    question.get_by_role("button", name="Cancel").click()
    question.wait_for(state="detached")
    page.command("data-engine:deploy")
    question.wait_for()
    of_all = question.inner_text()
    question.get_by_role("button", name="Cancel").click()
    detail.locator("[data-action='deploy now']").click()
    question.get_by_role("button", name="Save and deploy").click()
    detail.get_by_text("Production runs the notebook as it is.").wait_for()

    assert "stock.ipynb has unsaved edits." in text
    assert "stock.ipynb has unsaved edits." in of_all
    assert source(workspace / "flow_modules" / "stock.ipynb").startswith("# mine\n")
    assert not page.page.evaluate(_DIRTY)


def test_a_deploy_of_a_linked_workspace_asks_for_its_unsaved_edits(lab: Lab, page: Page) -> None:
    """Jupyter names the notebook by the link, Data Engine by where it is; the panel opens it by the link."""
    workspace = lab.workspace("linked_from")
    away = lab.home / "away" / "linked_workspace"
    lab.do(workspace, "provision", path=str(away))
    (lab.root / "by_link").symlink_to(away, target_is_directory=True)
    flows.fill(away, good=flows.GOOD)
    asked_to_deploy(away)
    page.load()
    page.open("by_link/flow_modules/good.ipynb")
    panel = page.side(away)
    panel.row("good").wait_for()
    detail = panel.select("good")
    edit(page, "# twice\n")
    detail.get_by_role("tab", name="Runs").click()
    detail.locator("[data-action='deploy']").click()
    question = panel.element.get_by_role("alertdialog")
    text = question.inner_text()
    question.get_by_role("button", name="Save and deploy").click()
    page.page.wait_for_function(_DIRTY.replace("=> ", "=> !"))
    page.open()
    panel.menu("open").click()
    page.page.wait_for_function(
        "() => (window.jupyterapp.shell.currentWidget.context || {}).path === 'by_link/flow_modules/good.ipynb'"
    )
    page.wait_for_kernel()
    (lab.root / "by_link").unlink()

    assert "good.ipynb has unsaved edits." in text
    assert source(away / "flow_modules" / "good.ipynb").startswith("# twice\n")


def test_a_file_read_again_from_the_disk_has_no_unsaved_edits(lab: Lab, page: Page) -> None:
    """A revert and a rename of what is saved leave nothing to ask for; a helper with unsaved edits is asked for with each flow."""
    workspace = lab.workspace("reverted")
    flows.fill(workspace, good=flows.GOOD)
    asked_to_deploy(workspace)
    (workspace / "flow_modules" / "flow_helpers").mkdir(exist_ok=True)
    (workspace / "flow_modules" / "flow_helpers" / "rates.py").write_text("RATE = 1\n")
    page.open("reverted/flow_modules/good.ipynb")
    page.page.wait_for_function(_DIRTY)
    panel = page.side(workspace)
    unsaved = "() => { const detail = { paths: [] };"
    unsaved += " document.dispatchEvent(new CustomEvent('data-engine:unsaved', { detail })); return detail.paths; }"
    before = page.page.evaluate(unsaved)
    edit(page, "# thrown away\n")
    edited = page.page.evaluate(unsaved)
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.revert().then(() => true)")
    reverted = page.page.evaluate(unsaved)
    folder = "reverted/flow_modules"
    page.page.evaluate(RENAME, [f"{folder}/good.ipynb", f"{folder}/better.ipynb"])
    page.page.wait_for_function("() => window.jupyterapp.shell.currentWidget.context.path.endsWith('better.ipynb')")
    renamed = page.page.evaluate(unsaved)
    page.command("docmanager:open", path=f"{folder}/flow_helpers/rates.py", factory="Editor")
    page.page.locator(".jp-FileEditor .cm-content").click()
    page.page.keyboard.type("# twice")
    page.page.wait_for_function(_DIRTY)
    detail = panel.select("better")
    detail.get_by_role("tab", name="Runs").click()
    detail.locator("[data-action='deploy']").click()
    question = panel.element.get_by_role("alertdialog")
    text = question.inner_text()
    question.get_by_role("button", name="Cancel").click()

    assert (before, reverted, renamed) == ([], [], [])
    assert "flow_helpers/rates.py has unsaved edits." in text
    assert [path.rpartition("/")[2] for path in edited] == ["good.ipynb"]
