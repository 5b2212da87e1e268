"""What a person does with the panel, in a real JupyterLab."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path

from data_engine import panel
from data_engine.formatting import cli_line
from tests.panel import flows
from tests.panel.lab import Lab, Page
from tests.support import notebook_bytes


def panel_notebook(lab: Lab, workspace: Path, name: str, *more: str, before: str = "") -> str:
    """A notebook at the server's root whose first cell shows the workspace's panel."""
    path = lab.root / f"{name}.ipynb"
    path.write_bytes(notebook_bytes(f"{before}\nfrom data_engine import panel\npanel({str(workspace)!r})", *more))
    return path.name


def test_a_first_flow_from_the_launcher_tile_to_a_green_run(lab: Lab, page: Page) -> None:
    """The tile makes a notebook that is a flow; the panel shows it and runs it."""
    workspace = lab.workspace("first")
    page.open()
    panel = page.side(workspace)
    panel.element.get_by_text("There are no flow modules yet.").wait_for()

    page.page.locator(".jp-LauncherCard", has_text="New flow notebook").click()
    page.page.wait_for_selector(".jp-Notebook .jp-Cell")
    detail = panel.select("new_flow")
    detail.get_by_role("tab", name="Code").click()
    detail.get_by_role("button", name="Deploy", exact=True).click()
    detail.get_by_text("Production runs the notebook as it is.").wait_for(timeout=20000)
    panel.element.locator(".de-back").click()
    panel.row("new_flow").locator(".de-run").click()

    panel.row("new_flow").locator(".de-last .de-good").wait_for(timeout=20000)
    page.page.locator("#jp-main-statusbar .de-status", has_text="Engine off").wait_for()
    page.command("apputils:activate-command-palette")
    page.page.locator(".lm-CommandPalette-input").fill("data engine")
    offered = page.page.locator(".lm-CommandPalette-item .lm-CommandPalette-itemLabel")
    offered.filter(has_text="Show Data Engine panel").wait_for()
    commands = set(offered.all_inner_texts())
    page.page.keyboard.press("Escape")
    assert (workspace / "flow_modules" / "new_flow.ipynb").is_file()
    assert commands >= {"Show Data Engine panel", "Start the engine", "Stop the engine", "Deploy every flow module"}


def test_the_notebook_from_the_tile_is_renamed_and_previewed(lab: Lab, page: Page, pictures: Path) -> None:
    """As its first cell says: the kernel runs already, and the flow is called what the notebook is called now."""
    workspace = lab.workspace("renamed")
    page.open()
    page.side(workspace).element.get_by_text("There are no flow modules yet.").wait_for()
    page.page.locator(".jp-LauncherCard", has_text="New flow notebook").click()
    page.wait_for_kernel()
    is_dirty = page.page.evaluate(
        """async () => {
            const { context } = window.jupyterapp.shell.currentWidget;
            await context.sessionContext.session.kernel.info;
            await new Promise((resolve) => setTimeout(resolve, 200));  // JupyterLab puts it into the notebook then
            return context.model.dirty;
        }"""
    )
    page.command("docmanager:rename")
    name = page.page.locator(".jp-Dialog input")
    name.fill("monthly.ipynb")
    name.press("Enter")
    page.page.wait_for_function("() => window.jupyterapp.shell.currentWidget.context.path.endsWith('monthly.ipynb')")
    page.page.evaluate(
        """() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.addCell(
            { cell_type: "code", source: "build().preview(use='sales')" })"""
    )

    page.run_all()

    assert is_dirty is False, "a notebook that nobody touched counts as unsaved"
    previews = [page.cell(number).inner_text() for number in (3, 5)]
    page.page.screenshot(path=pictures / "renamed.png")
    assert all("amount" in one and "no longer there" not in one for one in previews), previews
    page.side(workspace).row("monthly").wait_for()


def test_a_panel_in_the_flows_own_notebook_asks_by_what_its_kernel_holds(lab: Lab, page: Page) -> None:
    """Nobody has compared before: the kernel does when Deploy is pressed, and what differs is on the screen before anything is deployed."""
    workspace = lab.workspace("own_kernel")
    cells = (
        "%load_ext data_engine\nfrom data_engine import Flow, panel\nRATES = {'EUR': 1.0}",
        "def rates(context):\n    return RATES\ndef build():\n    return Flow(group='G').step(rates)",
        "kept = vars()['RATES']\nkept['EUR'] = 1.1",
        "panel()",
    )
    path = workspace / "flow_modules" / "claims.ipynb"
    path.write_bytes(notebook_bytes(*cells))
    page.open(str(path.relative_to(lab.root)))
    page.run_all()
    panel = page.in_cell()
    page.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save').then(() => true)")
    detail = panel.select("claims")
    detail.get_by_role("tab", name="Code").click()

    detail.get_by_role("button", name="Deploy", exact=True).click()
    panel.element.get_by_text("is 1.1 here, 1.0 in production: cell 3").wait_for(timeout=60000)
    before = detail.inner_text()
    panel.element.get_by_role("button", name="Deploy it all the same").click()

    detail.get_by_text("Production runs the notebook as it is.").wait_for(timeout=30000)
    detail.get_by_text("not as in the kernel of").first.wait_for(timeout=10000)
    assert "not deployed" in before


def test_a_failing_step_leads_to_its_cell(lab: Lab, page: Page) -> None:
    """The error names the cell; pressing that opens the notebook there."""
    workspace = lab.workspace("failing")
    flows.fill(workspace, failing=flows.FAILING)
    page.open()
    panel = page.side(workspace)
    panel.row("failing").locator(".de-run").click()
    panel.wait_for_last("failing", "failed")
    detail = panel.select("failing")

    detail.get_by_role("button", name="Open failing.ipynb, cell 3, line 3").click()
    page.page.wait_for_selector(".jp-Notebook .jp-Cell")

    page.page.wait_for_function(
        "() => { const w = window.jupyterapp.shell.currentWidget; return w.content && w.content.activeCellIndex === 2; }"
    )
    assert "KeyError: 'total'" in detail.inner_text()


def test_a_failing_line_far_down_is_where_the_cursor_is(lab: Lab, page: Page, pictures: Path) -> None:
    """Also in a long notebook, whose cells out of sight have no editor, and in one that is open already."""
    workspace = lab.workspace("far_down")
    first, read, bad, build = flows.FAILING
    far = bad.replace("\n    return", "\n" + "    row = dict(row)\n" * 50 + "    return")
    flows.fill(workspace, far=(first, read, *(f"# note {number}\n" * 9 for number in range(40)), far, build))
    page.open()
    panel = page.side(workspace)
    panel.row("far").locator(".de-run").click()
    panel.wait_for_last("far", "failed")
    link = panel.select("far").get_by_role("button", name="Open far.ipynb, cell 43, line 53")
    at = """() => {
        const { content } = window.jupyterapp.shell.currentWidget || {};
        const editor = content && content.activeCellIndex === 42 && content.activeCell.editor;
        if (!editor || !editor.hasFocus() || editor.getCursorPosition().line !== 52) return false;
        const { top, bottom } = editor.getCoordinateForPosition(editor.getCursorPosition());
        const seen = content.node.getBoundingClientRect();
        return top >= seen.top && bottom <= seen.bottom;
    }"""

    link.click()
    page.page.wait_for_function(at)
    page.page.screenshot(path=pictures / "far_down.png")
    page.page.evaluate(
        """() => {
            const { content } = window.jupyterapp.shell.currentWidget;
            content.activeCell.editor.setCursorPosition({ line: 0, column: 0 });
            content.activeCellIndex = 0;
            return content.scrollToItem(0, 'start').then(() => true);
        }"""
    )
    link.click()
    page.page.wait_for_function(at)


def test_a_duplicate_of_a_notebook_is_told_to_be_none_of_the_flows(lab: Lab, page: Page, pictures: Path) -> None:
    """Below the list, as soon as it is there; so is one that was moved into a subfolder."""
    workspace = lab.workspace("duplicates")
    flows.fill(workspace, claims=flows.GOOD, parts=flows.GOOD)
    page.open()
    panel = page.side(workspace)
    panel.row("claims").wait_for()
    modules = workspace / "flow_modules"

    page.page.evaluate(
        "(path) => window.jupyterapp.serviceManager.contents.copy(path, path.replace(/\\/[^/]*$/, '')).then(() => true)",
        "duplicates/flow_modules/claims.ipynb",
    )
    (modules / "old").mkdir()
    (modules / "parts.ipynb").rename(modules / "old" / "parts.ipynb")
    panel.element.get_by_text("claims-Copy1.ipynb is a copy: rename it to make it a flow").wait_for()
    panel.element.get_by_text("old/parts.ipynb is not a flow: it is in a subfolder.").wait_for()
    panel.select("parts").get_by_text("is in a subfolder now (old/parts.ipynb)").first.wait_for()

    page.page.screenshot(path=pictures / "duplicates.png")


def test_a_workspace_that_is_not_served_is_named(lab: Lab, page: Page, pictures: Path) -> None:
    """By what opens it, where a link cannot, and in the status bar beside a notebook of another one."""
    first = lab.workspace("served")
    flows.fill(first, good=flows.GOOD)
    second = lab.home / "elsewhere" / "not served"
    lab.do(first, "provision", path=str(second))
    lab.do(first, "save_settings", collection_root=str(second.parent))
    flows.fill(second, good=flows.GOOD)
    page.open("served/flow_modules/good.ipynb")
    line = page.page.locator("#jp-main-statusbar .de-status")
    page.side(first).row("good").wait_for()
    line.get_by_text("Engine off", exact=True).wait_for()

    panel = page.side(second)
    panel.select("good")
    panel.menu("open").click()
    told = page.page.locator(".jp-Dialog").inner_text()
    page.page.screenshot(path=pictures / "not_served.png")
    page.page.locator(".jp-Dialog button").click()
    line.get_by_text("not served: Engine off", exact=True).wait_for()
    page.open()
    line.get_by_text("Engine off", exact=True).wait_for()
    page.side(first)
    lab.do(first, "save_settings", collection_root="")

    assert f"This JupyterLab serves {lab.root}. For {second}" in told
    assert cli_line("--workspace", str(second), "lab") in told


def test_the_panel_works_while_a_cell_runs_and_outlives_its_kernel(lab: Lab, page: Page) -> None:
    """A run is started and stopped while the kernel is busy; after a restart the panel is as live as before."""
    workspace = lab.workspace("busy")
    flows.fill(workspace, slow=flows.SLOW, good=flows.GOOD)
    tells = "import ipykernel\nprint('ipykernel', ipykernel.__version__)"
    page.open(panel_notebook(lab, workspace, "busy_panel", "import time\ntime.sleep(60)", before=tells))
    page.command("notebook:run-all-cells")
    panel = page.in_cell()
    panel.row("slow").locator(".de-run").click()
    panel.wait_for_state("slow", "running")
    detail = panel.select("slow")
    detail.locator("[role=progressbar]").wait_for()
    panel.button("stop").click()
    detail.locator("[data-step='Beat'][data-status='stopped']").wait_for()
    kernel = "window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel"
    cell = "window.jupyterapp.shell.currentWidget.content.widgets[1].model"
    state = page.page.evaluate(f"() => [{cell}.executionState, {cell}.executionCount]")
    version = page.page.locator(".jp-OutputArea-output", has_text="ipykernel").inner_text().strip()

    page.page.evaluate(f"() => {kernel}.restart().then(() => true)")
    page.wait_for_kernel()
    if detail.locator(".de-back").is_visible():
        detail.locator(".de-back").click()
    panel.row("good").locator(".de-run").click()
    panel.row("good").locator(".de-last .de-good").wait_for()

    assert state == ["running", None]
    assert version == f"ipykernel {os.environ.get('PANEL_KERNEL_VERSION') or metadata.version('ipykernel')}"
    assert page.page.locator(".jp-OutputArea-output", has_text="Traceback").count() == 0


def test_without_the_server_the_kernel_answers(lab: Lab, page: Page) -> None:
    """A kernel that keeps another state than the server (a remote one) is asked by the same panel."""
    workspace = lab.workspace("remote")
    flows.fill(workspace, good=flows.GOOD)
    before = f"import os\nos.environ['DATA_ENGINE_STATE_ROOT'] = {str(lab.home / 'remote-state')!r}"
    page.open(
        panel_notebook(
            lab,
            workspace,
            "remote_panel",
            f"from data_engine import Workspace\nWorkspace({str(workspace)!r}).kill()",
            before=before,
        )
    )
    page.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell').then(() => true)")
    panel = page.in_cell()
    panel.row("good").locator(".de-run").click()
    panel.row("good").locator(".de-last .de-good").wait_for(timeout=20000)

    live = panel.element.get_attribute("data-live")
    detail = panel.select("good")
    steps = detail.locator(".de-step").all_inner_texts()
    page.run_all()

    assert live == "kernel"
    assert [text.split()[1] for text in steps] == ["Read", "Total:"]


def test_a_panel_of_the_kernel_changes_workspaces_and_says_when_its_kernel_has_ended(lab: Lab, page: Page) -> None:
    """The other workspace's flows are shown; once the kernel was restarted a button and a redraw say so, and break nothing."""
    workspace, other = lab.workspace("far"), lab.workspace("far_other")
    flows.fill(workspace, good=flows.GOOD)
    flows.fill(other, elsewhere=flows.GOOD)
    before = f"import os\nos.environ['DATA_ENGINE_STATE_ROOT'] = {str(lab.home / 'far-state')!r}"
    page.open(panel_notebook(lab, workspace, "far_panel", "1", before=before))
    page.command("notebook:run-all-cells")
    panel = page.in_cell()
    panel.row("good").wait_for()

    panel.choose(other)
    panel.row("elsewhere").wait_for()
    kernel = "window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel"
    page.page.evaluate(f"() => {kernel}.restart().then(() => true)")
    page.wait_for_kernel()
    panel.row("elsewhere").locator(".de-run").click()
    panel.element.locator(".de-said", has_text="The kernel of this panel has ended").wait_for()
    said = panel.said()
    panel.element.locator(".de-workspace").select_option(str(workspace))

    panel.element.get_by_text("The kernel of this panel has ended: run the panel's cell again.").wait_for()
    assert "run the panel's cell again" in said


def test_a_reopened_notebook_shows_what_was_there_with_its_time(lab: Lab, page: Page) -> None:
    """Where the workspace's state is not to be found, the snapshot says when it was taken and how to go live."""
    workspace = lab.workspace("moved")
    flows.fill(workspace, good=flows.GOOD)
    shown = panel(workspace)  # with the state of this test, which is not the server's
    data, _ = shown._repr_mimebundle_()
    shown.close()
    notebook = json.loads(notebook_bytes("panel()", counts=True))
    notebook["cells"][0]["outputs"] = [
        {"output_type": "execute_result", "execution_count": 1, "data": data, "metadata": {}}
    ]
    (lab.root / "snapshot.ipynb").write_text(json.dumps(notebook))

    page.open()
    page.command("docmanager:open", path="snapshot.ipynb")
    found = page.in_cell()
    found.element.get_by_text("Run this cell again to go live.").wait_for()

    assert "Snapshot of" in found.element.inner_text()
    assert found.row("good").count() == 1
    assert found.element.locator("[data-action]").count() == 0
    page.wait_for_kernel()


def test_a_daemon_that_dies_is_told_of(lab: Lab, page: Page) -> None:
    """The panel says that no daemon runs, and starts another."""
    workspace = lab.workspace("dying")
    flows.fill(workspace, good=flows.GOOD)
    page.open()
    panel = page.side(workspace)
    panel.tab("Settings")
    panel.button("start daemon").click()
    panel.element.locator(".de-setting .de-good", has_text="running").wait_for()

    panel.element.locator(".de-danger > summary").click()
    panel.button("force stop").click()
    panel.button("force stop").click()

    panel.element.locator(".de-setting .de-idle", has_text="not running").wait_for()
    panel.tab("Flows")
    panel.row("good").locator(".de-run").click()
    panel.row("good").locator(".de-last .de-good").wait_for(timeout=20000)


def test_a_run_that_a_wrong_clock_dated_ahead_is_marked_in_the_list(lab: Lab, page: Page) -> None:
    """It stands first and says so; the flow's last run is the newest of the others, and the bars are without it."""
    workspace = lab.workspace("ahead")
    flows.fill(workspace, good=flows.GOOD)
    before = f"""
import time
from data_engine import Workspace
from data_engine.model import RunFinished, RunStarted
ledger = Workspace({str(workspace)!r}).home.ledger()
for run_id, status, days in (("one", "success", -2), ("two", "success", -1), ("ahead", "failed", 400)):
    at_s = time.time() + days * 86400
    ledger.record(RunStarted(run_id, "good", "G", None, at_s), RunFinished(run_id, status, at_s, 1.0))
"""
    page.open(panel_notebook(lab, workspace, "ahead_panel", before=before))
    page.run_all()
    panel = page.in_cell()
    panel.row("good").locator(".de-last .de-good").wait_for()
    detail = panel.select("good")
    detail.get_by_role("tab", name="Runs").click()
    rows = detail.locator(".de-run-row")
    rows.first.wait_for()

    assert ["(from the future)" in text for text in rows.all_inner_texts()] == [True, False, False]
    assert detail.locator(".de-timeline").get_attribute("aria-label") == "The last 2 runs: 2 success"
    assert detail.get_by_text("Last run failed").count() == 0


def test_a_held_file_is_seen_with_its_reason_and_tried_again(lab: Lab, page: Page) -> None:
    """In the list, in the flow's files, and after the fix it is done."""
    workspace = lab.workspace("held")
    flows.fill(workspace, polled=flows.POLLED)
    flows.sources(workspace)
    page.open()
    panel = page.side(workspace)
    panel.button("start engine").click()
    panel.row("polled").get_by_text("1 held").wait_for()
    detail = panel.select("polled")
    detail.get_by_role("tab", name="Files").click()
    file = panel.open_file("bad-0.csv")
    reason = file.locator(".de-file-reason").inner_text()

    file.get_by_role("button", name="Preview this file").click()
    page.page.wait_for_function(
        """() => {
            const widget = window.jupyterapp.shell.currentWidget;
            const model = widget && widget.content && widget.content.model;
            const last = model && model.cells && model.cells.get(model.cells.length - 1);
            return last && last.sharedModel.source.endsWith('use=build().last_saved)');
        }"""
    )
    panel.element.locator(".de-answer", has_text="A cell was added to polled.ipynb: run it with Shift+Enter").wait_for()
    has_keys = page.page.evaluate("!!document.activeElement.closest('.jp-Cell.jp-mod-active')")
    is_run = page.page.locator(".jp-Notebook:visible .jp-Cell.jp-mod-active .jp-OutputArea-output").count()

    (workspace / "in" / "bad-0.csv").write_text("city,amount\nOslo,1\n")
    file.get_by_text("already done").wait_for()

    assert reason.startswith("held since")
    assert "no column amount" in reason
    assert (has_keys, is_run) == (True, 0)
    panel.row("polled").get_by_text("1 held").wait_for(state="detached")


def test_outputs_are_looked_into_sorted_and_filtered(lab: Lab, page: Page) -> None:
    """From the step that wrote them, and what a step saved for a look."""
    workspace = lab.workspace("outputs")
    flows.fill(workspace, polled=flows.POLLED)
    flows.sources(workspace, good=1, bad=0)
    page.open()
    panel = page.side(workspace)
    panel.row("polled").locator(".de-run").click()
    panel.row("polled").locator(".de-last .de-good").wait_for(timeout=20000)
    detail = panel.select("polled")

    detail.locator("[data-step='Write']").get_by_role("button", name="Inspect").click()
    cells = panel.element.locator(".de-grid tbody td:nth-child(2)")
    cells.first.wait_for(timeout=20000)
    as_written = cells.all_inner_texts()
    panel.element.get_by_role("button", name="city", exact=True).dblclick()
    page.page.wait_for_function("() => document.querySelector('.de-grid th[aria-sort=descending]')")
    page.page.wait_for_function("() => document.querySelector('.de-grid tbody td:nth-child(2)').innerText === 'Rome'")
    panel.element.get_by_role("button", name="Filter city").click()
    panel.element.get_by_label("All values").uncheck()  # all are ticked as long as nothing is filtered
    panel.element.get_by_label("Oslo").check()
    panel.element.get_by_role("button", name="Apply").click()
    panel.element.get_by_text("1 row · 2 columns").wait_for()
    panel.element.get_by_role("button", name="Filter amount").click()
    panel.element.get_by_label("Condition", exact=True).select_option(">=")
    panel.element.get_by_label("Value", exact=True).fill("0")
    panel.element.get_by_role("button", name="Add condition").click()
    panel.element.get_by_label("Condition", exact=True).nth(1).select_option("<")
    panel.element.get_by_label("Value", exact=True).nth(1).fill("0")
    panel.element.get_by_role("button", name="Apply").click()
    panel.element.get_by_text("0 rows · 2 columns").wait_for()
    panel.element.get_by_label("Remove filter amount <", exact=True).click()
    panel.element.get_by_text("1 row · 2 columns").wait_for()
    with page.page.expect_download() as saved:
        panel.button("download").click()

    assert as_written == ["Oslo", "Rome"]
    assert saved.value.suggested_filename == "00.xlsx"
    assert cells.all_inner_texts() == ["Oslo"]
    panel.element.locator(".de-frame", has_text="before · 00.csv").wait_for()


def test_refreshes_keep_focus_and_what_was_typed(lab: Lab, page: Page) -> None:
    """While runs come and go, a person goes on typing; keys move among flows, tabs and back."""
    workspace = lab.workspace("typing")
    flows.fill(workspace, good=flows.GOOD, other=flows.GOOD, slow=flows.SLOW)
    page.open()
    panel = page.side(workspace)
    panel.row("slow").locator(".de-run").click()
    panel.wait_for_state("slow", "running")

    search = panel.element.get_by_label("Search flows")
    search.press_sequentially("o", delay=120)
    search.press_sequentially("ther", delay=120)
    focused = page.page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    shown = panel.element.locator(".de-row").count()
    search.fill("")
    panel.row("good").locator(".de-row-main").focus()
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.press("Enter")
    panel.element.locator(".de-detail[data-flow='other']").wait_for()
    page.page.keyboard.press("Escape")
    panel.row("slow").wait_for()
    disabled = panel.select("good").locator("[data-action='stop']")
    lab.do(workspace, "kill_run", flow="slow")

    assert (focused, shown) == ("Search flows", 1)
    assert disabled.get_attribute("aria-disabled") == "true"
    assert disabled.get_attribute("title") == "Stop: no run of it is under way"


def test_two_machines_hand_a_workspace_over(lab: Lab, page: Page, pictures: Path) -> None:
    """One panel is this server's machine, the other a kernel's with another state: each says who owns and who watches, and why not."""
    workspace = lab.workspace("shared")
    flows.fill(workspace, nightly=flows.NIGHTLY)
    settings = workspace / "config" / "data_engine.toml"
    settings.write_text(
        settings.read_text() + '[lease]\nheartbeat = "1s"\nstale_after = "5s"\n[alerts]\nto = ["ops"]\n'
    )
    before = (
        f"import os\nos.environ['DATA_ENGINE_STATE_ROOT'] = {str(lab.home / 'other-state')!r}\n"
        "os.environ['DATA_ENGINE_MACHINE_ID'] = 'the-other'\n"
        "os.environ['DATA_ENGINE_SECRET_OPS'] = 'json://127.0.0.1:9/nowhere'"  # it alone could tell people
    )
    path = panel_notebook(
        lab,
        workspace,
        "shared_panel",
        f"from data_engine import Workspace\nWorkspace({str(workspace)!r}).kill()",
        before=before,
    )
    page.open(path)
    here = page.side(workspace)
    here.button("start engine").click()
    here.element.get_by_text("Engine on").wait_for()
    alone = here.element.locator(".de-lease").count()  # no other workstation has been seen yet
    page.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell').then(() => true)")
    there = page.in_cell()
    there.element.locator(".de-lease", has_text="Owned by").wait_for()
    there.wait_for_state("nightly", "schedule · idle")
    why = there.button("start engine").get_attribute("title")

    there.button("request").click()
    here.element.locator(".de-lease", has_text="control requested by").wait_for()
    there.element.locator(".de-lease", has_text="control requested by").wait_for()
    page.page.screenshot(path=pictures / "two-machines.png")
    here.button("hand over").click()
    there.element.locator(".de-owned", has_text="owned here").wait_for()
    here.element.locator(".de-lease .de-warn").wait_for()
    observed = here.row("nightly").locator(".de-run").get_attribute("title")
    page.run_all()

    assert alone == 0
    assert why is not None
    assert why.endswith("has control of this workspace")
    assert observed is not None
    assert observed == "Run Nightly"  # the owner is asked


def test_a_run_with_typed_parameters_and_what_differs_from_the_one_before(lab: Lab, page: Page, tmp_path: Path) -> None:
    """A field for each parameter, by keyboard too; a mistake names it; two runs are compared in the panel."""
    workspace = lab.workspace("typed")
    flows.fill(workspace, monthly=flows.TYPED)
    page.open()
    panel = page.side(workspace)
    detail = panel.select("monthly")
    panel.menu("params").click()
    form = detail.locator("form.de-params")
    form.get_by_label("Days back").wait_for(timeout=20000)
    assert form.locator("label").all_inner_texts() == ["The month", "Mode", "Full", "Days back"]

    form.get_by_label("Days back").fill("few")
    form.get_by_label("Days back").press("Enter")
    panel.element.get_by_text("parameter days: it cannot be 'few'").wait_for(timeout=20000)
    form.get_by_label("Days back").fill("7")
    form.get_by_label("Mode").select_option("late")
    form.get_by_label("Full").check()
    form.get_by_role("button", name="Run with these").click()
    detail.get_by_role("tab", name="Runs").click()
    rows = detail.locator(".de-run-row[data-run]")
    rows.first.get_by_text("mode=late, full=true, days=7").wait_for(timeout=40000)
    form.get_by_role("button", name="Defaults").click()
    form.get_by_role("button", name="Run with these").click()
    rows.nth(1).wait_for(timeout=40000)

    rows.first.locator(".de-run-main").click()
    rows.first.get_by_text("by hand").wait_for(timeout=20000)
    choice = rows.first.get_by_label("Compare with")
    choice.select_option(index=1)
    rows.first.get_by_text("days: 7 → -").wait_for(timeout=20000)
