"""The control panel in a real JupyterLab: how soon it is there, how soon it answers, and what it costs to follow.

Needs Chromium, as the tests of the panel do. The least of several looks counts: the machine does other work too. What a person waits for
is told by its floor on the same page: a cell that shows a word, and a request that nobody has to think about until the page has drawn again.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import finish, report
from data_engine.model import Run
from data_engine.notebook.catalog import CatalogEntry
from data_engine.record import as_json
from data_engine.status.build import FlowFacts, WorkspaceFacts, build_status
from data_engine.view.panel import render
from jupyter_extension.assets import panel_js
from jupyter_extension.server import message_of
from tests.panel import flows
from tests.panel.lab import Lab, Page, Panel, chromium
from tests.support import notebook_bytes

FLOWS, RUNS, LOOKS, QUIET_S = 500, 10_000, 5, 5.0

FILL = """
import sys, time, uuid
from data_engine import Workspace
from data_engine.model import RunFinished, RunStarted, StepFinished, StepStarted
ws = Workspace(sys.argv[1])
ledger = ws.home.ledger()
now_s = time.time()
for number in range(int(sys.argv[3])):
    run_id, flow = uuid.uuid4().hex, f"flow_{number % int(sys.argv[2]):03}"
    at_s = now_s - 86400 + number
    ledger.record(RunStarted(run_id, flow, "G", None, at_s))
    ledger.record(StepStarted(run_id, 0, "Step", at_s))
    ledger.record(StepFinished(run_id, 0, "Step", "success", at_s + 1, 1.0))
    ledger.record(RunFinished(run_id, "failed" if number % 97 == 0 else "success", at_s + 1, 1.0))
ledger.close()
"""
MODULE = """
from data_engine import Flow

def step(context):
    return 1

def build():
    return Flow(group="Group {group:02}").watch(mode="{mode}"{more}).step(step)
"""


SHOWN = """
async () => {
    const app = window.jupyterapp;
    const ready = () => document.querySelector('.jp-Notebook .jp-Cell:nth-child(2) .de-panel[data-live] .de-row');
    if (ready()) throw new Error('the panel of the last look is still there');
    const began = performance.now();
    app.commands.execute('notebook:run-cell');
    while (!ready()) await new Promise((done) => setTimeout(done, 4));
    return performance.now() - began;
}
"""
BARE_SHOWN = """
async () => {
    const ready = () => document.querySelector('.jp-Notebook .bare-word');
    if (ready()) throw new Error('the word of the last look is still there');
    const began = performance.now();
    window.jupyterapp.commands.execute('notebook:run-cell');
    while (!ready()) await new Promise((done) => setTimeout(done, 4));
    return performance.now() - began;
}
"""
REQUEST = """
async () => {
    const base = JSON.parse(document.querySelector('#jupyter-config-data').textContent).baseUrl;
    const began = performance.now();
    await (await fetch(base + 'api/status', { cache: 'no-store' })).json();
    await new Promise((done) => requestAnimationFrame(done));
    return performance.now() - began;
}
"""
RUNNING = """
async () => {
    const row = document.querySelector('#data-engine-panel [data-flow="slow"]');
    const began = performance.now();
    row.querySelector('.de-run').click();
    const shown = () => document.querySelector('#data-engine-panel [data-flow="slow"] .de-state.de-live');
    while (!shown()) await new Promise((done) => requestAnimationFrame(done));
    return performance.now() - began;
}
"""


def sizes() -> None:
    """The whole status of 500 flows, and what one run of one of them sends after it."""
    facts = [
        FlowFacts(
            CatalogEntry(
                f"flow_{n:03}", Path(f"/ws/flow_modules/flow_{n:03}.py"), f"Flow {n}", group=f"Group {n % 20}"
            ),
            last_run=Run(f"{n * 7919:032x}", f"flow_{n:03}", "G", None, "success", "2026-01-05T06:30:00+00:00"),
        )
        for n in range(FLOWS)
    ]
    status = build_status(WorkspaceFacts("ws", "/ws", flows=facts))
    before = as_json(render(status))
    last = facts[7].last_run
    assert last is not None
    failed = replace(facts[7], last_run=replace(last, status="failed"))
    status = build_status(WorkspaceFacts("ws", "/ws", flows=[*facts[:7], failed, *facts[8:]]))
    after = as_json(render(status))
    report("status of 500 flows, compressed", len(gzip.compress(message_of(None, before).encode())) / 1000, 40, "kB")
    report("what a run sends after it", len(message_of(before, after).encode()) / 1000, 5, "kB")
    report("the panel's script, compressed", len(gzip.compress(panel_js().encode())) / 1000, 50, "kB")


def fill(lab: Lab, workspace: Path) -> None:
    """FLOWS flows in 20 groups with RUNS runs behind them."""
    for number in range(FLOWS):
        more = ', interval="1h"' if number % 2 else ""
        text = MODULE.format(group=number % 20, mode="schedule" if number % 2 else "manual", more=more)
        (workspace / "flow_modules" / f"flow_{number:03}.py").write_text(text)
    subprocess.run(
        [sys.executable, "-c", FILL, str(workspace), str(FLOWS), str(RUNS)],
        env=lab.environment,
        check=True,
        timeout=100,
    )
    flows.deploy(workspace)


def click_to_answer_ms(page: Page, flow: str) -> float:
    """From the click on a flow in the list to its steps on the page."""
    found: float = page.page.evaluate(
        """async (name) => {
            const panel = document.querySelector('#data-engine-panel .de-panel');
            const frame = () => new Promise((done) => requestAnimationFrame(done));
            const began = performance.now();
            panel.querySelector(`[data-flow="${name}"] .de-row-main`).click();
            while (!panel.querySelector('.de-detail .de-step')) await frame();
            const took = performance.now() - began;
            panel.querySelector('.de-back').click();
            while (panel.querySelector('.de-detail')) await frame();
            await new Promise((done) => setTimeout(done, 350));
            return took;
        }""",
        flow,
    )
    return found


def idle_shares(lab: Lab, page: Page, workspace: Path, *, looks: int = 3, seconds: float = 1.0) -> dict[str, float]:
    """The part of one core that the page, the Jupyter server and the workspace's daemon take while nothing happens.

    The quietest look counts, by its sum: the machine, and JupyterLab itself, do other work too.
    """
    client = page.context.new_cdp_session(page.page)
    client.send("Performance.enable")
    daemon = next(one for one in psutil.process_iter(["cmdline"]) if str(workspace) in (one.info["cmdline"] or ()))
    processes = {"server": psutil.Process(lab.pid), "daemon": daemon}

    def spent() -> dict[str, float]:
        metrics = {one["name"]: one["value"] for one in client.send("Performance.getMetrics")["metrics"]}
        times = {name: process.cpu_times() for name, process in processes.items()}
        return {"page": float(metrics["TaskDuration"])} | {name: one.user + one.system for name, one in times.items()}

    found = []
    for _ in range(looks):
        began_s, before = time.monotonic(), spent()
        page.page.wait_for_timeout(seconds * 1000)
        after, took_s = spent(), time.monotonic() - began_s
        found.append({name: (after[name] - before[name]) / took_s for name in after})
    return min(found, key=lambda shares: sum(shares.values()))


def first_shown_s(lab: Lab, page: Page, workspace: Path) -> tuple[float, float]:
    """From running the cell to the flows on the page, the import was made before; and to the word that another cell shows."""
    word = "HTML('<b class=bare-word>word</b>')"
    (lab.root / "shown.ipynb").write_bytes(
        notebook_bytes(
            "from IPython.display import HTML\nfrom data_engine import panel\npanel", f"panel({str(workspace)!r})", word
        )
    )
    page.open("shown.ipynb")
    page.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell').then(() => true)")
    taken: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(LOOKS):
        for cell, look in ((1, SHOWN), (2, BARE_SHOWN)):
            page.page.evaluate(
                """(cell) => {
                    const notebook = window.jupyterapp.shell.currentWidget.content;
                    notebook.activeCellIndex = cell;
                    notebook.activeCell.model.clearExecution();
                    notebook.activeCell.model.outputs.clear();
                }""",
                cell,
            )
            page.page.wait_for_timeout(200)
            taken[cell].append(page.page.evaluate(look) / 1000)
    return min(taken[1]), min(taken[2])


def request_s(page: Page) -> float:
    """From a request of the page that Jupyter's own server answers until the page has drawn again."""
    return float(min(page.page.evaluate(REQUEST) for _ in range(4 * LOOKS))) / 1000


def click_to_running_s(lab: Lab, page: Page, panel: Panel, workspace: Path) -> float:
    """From the click on Run to the word "running"."""
    taken = []
    for _ in range(LOOKS):
        taken.append(page.page.evaluate(RUNNING) / 1000)
        lab.do(workspace, "kill_run", flow="slow")
        panel.row("slow").locator(".de-state", has_text="manual").wait_for()
        page.page.wait_for_timeout(500)
    return float(min(taken))


def idle_requests(page: Page) -> float:
    """How many requests to our handlers a page with the panel makes in a second in which nothing happens."""
    seen: list[Any] = []
    page.page.on("request", lambda request: seen.append(request.url) if "/data-engine/" in request.url else None)
    page.page.wait_for_timeout(QUIET_S * 1000)
    return len(seen) / QUIET_S


LOAD = """
import time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
began_s = time.perf_counter()
shell.run_line_magic("load_ext", "data_engine")
print(time.perf_counter() - began_s)
"""


def load_ext_s() -> float:
    """`%load_ext data_engine` in a fresh process that has IPython already, as a kernel has."""
    environment = os.environ | {"IPYTHONDIR": tempfile.mkdtemp()}
    ran = [
        subprocess.run([sys.executable, "-c", LOAD], env=environment, capture_output=True, check=True)
        for _ in range(LOOKS)
    ]
    return min(float(one.stdout) for one in ran)


def main() -> None:
    """Print every figure beside its limit."""
    report("%load_ext data_engine", load_ext_s(), 0.3, "s")
    sizes()
    lab = Lab(Path(tempfile.mkdtemp(prefix="panel-benchmark-")))
    with lab.running(), chromium() as browser:
        page = Page(lab, browser)
        workspace = lab.workspace("small")
        flows.fill(workspace, good=flows.GOOD, slow=flows.SLOW)
        lab.do(workspace, "start")
        shown_s, word_s = first_shown_s(lab, page, workspace)
        note = f"{shown_s:.2f} s"
        report("panel shown after its cell runs, by a cell that shows a word", shown_s / word_s, 10, "x", note)
        page.open()
        panel = page.side(workspace)
        panel.row("slow").wait_for()
        running_s, bare_s = click_to_running_s(lab, page, panel, workspace), request_s(page)
        note = f"{running_s:.2f} s"
        report("click on Run until it says running, by a bare request", running_s / bare_s, 20, "x", note)
        large = lab.workspace("large")
        fill(lab, large)
        lab.do(large, "start")
        panel.choose(large)
        panel.element.locator(".de-row").nth(FLOWS - 1).wait_for(state="attached", timeout=60000)
        clicks = [click_to_answer_ms(page, f"flow_{number:03}") for number in range(LOOKS)]
        click_s = min(clicks) / 1000
        note = f"with 10,000 runs, {click_s:.2f} s"
        report("click on one of 500 flows until its steps, by a bare request", click_s / request_s(page), 16, "x", note)
        lab.do(large, "disable", flow="flow_001")
        panel.row("flow_001").locator(".de-state", has_text="disabled").wait_for()
        report("refresh of 500 flows, page time", float(panel.element.get_attribute("data-drawn-ms")), 50, "ms")
        page.page.wait_for_timeout(QUIET_S * 1000)
        shares = {name: 100 * share for name, share in idle_shares(lab, page, large, seconds=QUIET_S).items()}
        print("idle, of a core:", ", ".join(f"{name} {share:.2f} %" for name, share in shares.items()))
        report("page, server and daemon of 500 flows while idle, of a core", sum(shares.values()), 5, "%")
        report("requests of an idle page", idle_requests(page), 1, "a second")
        page.close()
        lab.end_daemons()
    finish()


if __name__ == "__main__":
    main()
