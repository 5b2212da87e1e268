"""A daemon started in a cell, in a real JupyterLab, outlives its kernel; a later kernel sees all that ran meanwhile."""

from __future__ import annotations

import psutil

from data_engine.files import write_text_atomic
from tests.panel.lab import Lab, Page
from tests.support import WorkspaceFiles, notebook_bytes, until

POLL = """
    import os
    from data_engine import Flow

    def copy(context):
        print("kernel's variables:", sorted(name for name in os.environ if name.startswith(("JPY_", "IPYTHON"))))
        target = context.mirror.with_suffix(".out")
        target.write_text(context.source.path.read_text())
        return target

    def build():
        return (
            Flow(group="G").watch(mode="poll", source="../in", interval="200ms", extensions=".txt", settle=0)
            .mirror(root="../out").step(copy)
        )
"""
FIRST = """
    from data_engine import Workspace
    ws = Workspace({root!r})
    ws.start_engine()
    print("started by", __import__("os").getpid(), "daemon", ws.status().daemon.pid)
"""
SECOND = """
    import os
    from data_engine import Workspace
    ws = Workspace({root!r})
    status = ws.status()
    print("daemon", status.daemon.pid, "engine", status.engine.on)
    for run in sorted(ws.runs("poll"), key=lambda run: run.source):
        print(os.path.basename(run.source), run.status, [line.message for line in ws.log(run.run_id)])
"""
SESSION = "window.jupyterapp.shell.currentWidget.context.sessionContext"


def test_a_daemon_started_in_a_cell_works_on_without_its_kernel(lab: Lab, page: Page) -> None:
    """Interrupt, restart and shutdown of the kernel: files dropped after each are run, and a second kernel sees them all."""
    files = WorkspaceFiles(lab.root / "outlives")
    files.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
    (files.root / "in").mkdir()
    files.notebook("poll", POLL)
    for name, text in (("first", FIRST), ("second", SECOND)):
        (lab.root / f"outlives_{name}.ipynb").write_bytes(notebook_bytes(text.format(root=str(files.root))))

    def drop(name: str) -> None:
        write_text_atomic(files.root / "in" / f"{name}.txt", name, durable=False)
        until(lambda: (files.root / "out" / f"{name}.out").exists())

    page.open("outlives_first.ipynb")
    page.run_all()
    _, _, kernel_pid, _, daemon_pid = output(page).split()
    drop("while the kernel is there")
    page.page.evaluate(f"() => {SESSION}.session.kernel.interrupt().then(() => true)")
    page.wait_for_kernel()
    drop("after an interrupt")
    page.page.evaluate(f"() => {SESSION}.session.kernel.restart().then(() => true)")
    page.wait_for_kernel()
    drop("after a restart")
    page.page.evaluate(f"() => {SESSION}.shutdown().then(() => true)")
    until(lambda: not psutil.pid_exists(int(kernel_pid)))
    drop("after the shutdown")

    page.open("outlives_second.ipynb")
    page.run_all()
    first, *runs = output(page).splitlines()
    assert first == f"daemon {daemon_pid} engine True"
    names = ["after a restart", "after an interrupt", "after the shutdown", "while the kernel is there"]
    assert runs == [f'{name}.txt success ["kernel\'s variables: []"]' for name in names]


def output(page: Page) -> str:
    """What the notebook's only cell printed."""
    found = page.page.locator(".jp-Notebook .jp-OutputArea-output").first
    found.wait_for()
    text: str = found.inner_text()
    return text.strip()
