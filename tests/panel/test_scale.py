"""500 flows and 10,000 runs: a click is answered at once, a refresh costs little, and an idle panel next to nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.panel.flows import deploy
from tests.panel.lab import Lab, Page

FLOWS, RUNS = 500, 10_000
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


def fill(lab: Lab, workspace: Path, *, flows: int = FLOWS, runs: int = RUNS) -> None:
    """So many flows in 20 groups with so many runs behind them."""
    for number in range(flows):
        more = ', interval="1h"' if number % 2 else ""
        text = MODULE.format(group=number % 20, mode="schedule" if number % 2 else "manual", more=more)
        (workspace / "flow_modules" / f"flow_{number:03}.py").write_text(text)
    subprocess.run(
        [sys.executable, "-c", FILL, str(workspace), str(flows), str(runs)],
        env=lab.environment,
        check=True,
        timeout=100,
    )
    deploy(workspace)


def test_a_large_workspace_stays_quick(lab: Lab, page: Page) -> None:
    """No design that draws 500 flows for one, or while nothing happens, is so quick on any machine; `benchmarks.panel` has the figures."""
    workspace = lab.workspace("large")
    fill(lab, workspace)
    lab.do(workspace, "start_daemon")
    page.open()
    panel = page.side(workspace)
    panel.element.locator(".de-footer", has_text=f"{FLOWS} flows").wait_for(timeout=60000)

    answered_ms = [click_to_answer_ms(page, f"flow_{number:03}") for number in range(4)]
    drawn_ms = []
    for number in range(4):
        lab.do(workspace, "disable" if number % 2 == 0 else "enable", flow="flow_001")
        word = "disabled" if number % 2 == 0 else "idle"
        panel.row("flow_001").locator(".de-state", has_text=word).wait_for()
        drawn_ms.append(float(panel.element.get_attribute("data-drawn-ms")))

    assert min(answered_ms) < 2000
    assert min(drawn_ms) < 500
    assert sum(idle_shares(lab, page, workspace).values()) < 0.5


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
            while (!panel.querySelector('.de-list')) await frame();
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
