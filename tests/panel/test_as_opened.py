"""A notebook that Data Engine wrote is not unsaved as soon as JupyterLab has opened it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.panel import flows
from tests.panel.lab import Lab, Page

_IS_TOLD = (
    "() => window.jupyterapp.shell.currentWidget.context.model.getMetadata('language_info').version !== undefined"
)
_DIRTY = "() => window.jupyterapp.shell.currentWidget.context.model.dirty"
_WRITTEN = (
    "import sys, pathlib; from data_engine import Workspace; from data_engine.demo.content import lay_out;"
    " from jupyter_extension.template import new_flow_notebook;"
    " root = Workspace.create(sys.argv[1]).root; lay_out(root); new_flow_notebook(root / 'flow_modules', 'new')"
)


@pytest.fixture(scope="module")
def written(lab: Lab) -> Path:
    """A workspace with its example, the demo's notebooks and a new flow; and a notebook that says nothing of its kernel."""
    root = lab.workspace("as_opened")
    subprocess.run([sys.executable, "-c", _WRITTEN, str(root)], env=lab.environment, check=True)
    flows.fill(root, bare=flows.GOOD)
    return root


@pytest.mark.parametrize(
    ("name", "is_unsaved"),
    [("example", False), ("daily_flights", False), ("delay_report", False), ("new", False), ("bare", True)],
)
def test_what_the_kernel_is_stands_in_the_notebook(page: Page, written: Path, name: str, is_unsaved: bool) -> None:
    """Else JupyterLab adds it, as it does to the last one."""
    page.open(f"{written.name}/flow_modules/{name}.ipynb")
    page.page.wait_for_function(_IS_TOLD)
    page.page.wait_for_timeout(1000)  # for what it does after that

    assert page.page.evaluate(_DIRTY) is is_unsaved
