"""A notebook is not unsaved as soon as JupyterLab has opened it and knows the Python of its kernel."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.panel import flows
from tests.panel.lab import ROOT, Lab, Page

GUIDE = ROOT / "notebooks" / "01_first_flow.ipynb"
"""It does not say which Python it was saved by."""
_IS_TOLD = (
    "() => window.jupyterapp.shell.currentWidget.context.model.getMetadata('language_info').version !== undefined"
)
_DIRTY = "() => window.jupyterapp.shell.currentWidget.context.model.dirty"
_WRITTEN = (
    "import sys, pathlib; from data_engine import Workspace; from data_engine.demo.content import lay_out;"
    " from jupyter_extension.actions import new_flow_notebook;"
    " root = Workspace.create(sys.argv[1]).root; lay_out(root); new_flow_notebook(root / 'flow_modules', 'new')"
)


@pytest.fixture(scope="module")
def written(lab: Lab) -> Path:
    """A workspace with its example, the demo's notebooks, a new flow and a guide; and a notebook that says nothing of its kernel."""
    root = lab.workspace("as_opened")
    subprocess.run([sys.executable, "-c", _WRITTEN, str(root)], env=lab.environment, check=True)
    flows.fill(root, bare=flows.GOOD)
    shutil.copy(GUIDE, root / "flow_modules" / "guide.ipynb")
    return root


@pytest.mark.parametrize(
    ("name", "is_unsaved"),
    [
        ("example", False),
        ("daily_flights", False),
        ("delay_report", False),
        ("new", False),
        ("guide", False),
        ("bare", True),
    ],
)
def test_what_the_kernel_is_stands_in_the_notebook(page: Page, written: Path, name: str, is_unsaved: bool) -> None:
    """Else JupyterLab adds it: of the guide only which Python it is, of the last one more."""
    page.open(f"{written.name}/flow_modules/{name}.ipynb")
    page.page.wait_for_function(_IS_TOLD)
    page.page.wait_for_timeout(1000)  # for what it does after that

    assert page.page.evaluate(_DIRTY) is is_unsaved


def test_an_edit_of_a_notebook_of_another_python_is_unsaved_and_saved_with_it(page: Page, written: Path) -> None:
    """What JupyterLab knows of the kernel is written with the edit, and not before."""
    path = written / "flow_modules" / "guide.ipynb"
    page.open(f"{written.name}/flow_modules/guide.ipynb")
    page.page.wait_for_function(_IS_TOLD)
    page.page.wait_for_timeout(1000)
    before = path.read_bytes()
    page.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.insertCell(0, { cell_type: 'code' })"
    )
    page.page.wait_for_function(_DIRTY)
    page.command("docmanager:save")
    page.page.wait_for_function(_DIRTY.replace("=> ", "=> !"))

    assert before == GUIDE.read_bytes()
    assert json.loads(path.read_text())["metadata"]["language_info"]["version"] == platform.python_version()
