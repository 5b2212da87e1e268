"""The fold below a preview of a frame, in JupyterLab: closed, opened, in both themes, and gone when the notebook is opened without its kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.panel.conftest import THEMES
from tests.panel.lab import Lab, Page
from tests.panel.test_pictures import OVERFLOW
from tests.support import notebook_bytes

CELLS = (
    "import polars as pl\nfrom data_engine import Flow\n\n"
    "def read(context):\n"
    "    n = pl.int_range(1000)\n"
    "    delay = pl.when(n % 9 == 0).then(None).otherwise((n * n % 97).cast(pl.Float64) ** 1.5 - 20)\n"
    "    return pl.select(id=n, carrier=pl.format('{}', (n % 40).sqrt().cast(pl.Int8)), dep_delay=delay,\n"
    "        day=pl.lit(15000).cast(pl.Date) + pl.duration(days=n % 300), late=n % 7 == 0, stops=pl.concat_list(n, n))\n\n"
    "def build():\n"
    "    return Flow(group='G').step(read, save_as='raw_df')",
    "build().preview()",
)


@pytest.fixture
def notebook(lab: Lab) -> Path:
    path = lab.root / "profiled.ipynb"
    path.write_bytes(notebook_bytes(*CELLS))
    return path


def test_the_fold_below_a_frame(lab: Lab, page: Page, pictures: Path, notebook: Path) -> None:
    """Nothing is drawn before it is opened; nothing is wider than its cell; no error is left where its kernel is gone."""
    page.open(notebook.name)
    page.run_all()
    cell = page.cell(1)
    fold = cell.locator(".jupyter-widget-Collapse-header")
    fold.wait_for()
    assert fold.inner_text().strip() == "Profile"
    assert cell.locator(".de-profile").count() == 0

    fold.click()
    cell.locator(".de-profile").first.wait_for()

    shown = cell.inner_text()
    assert all(
        word in shown
        for word in ("1,000 rows × 6 columns", "dep_delay", "112 (11 %)", "values of List(Int64) are not counted")
    )
    out = []
    for theme in THEMES:
        page.theme(theme)
        out += cell.evaluate(OVERFLOW)
        cell.screenshot(path=pictures / f"profile-{theme}.png")
    page.theme("Light")
    assert out == []

    page.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.open()
    lab.end_kernels()
    page.open(notebook.name)
    opened = page.cell(1)
    page.page.wait_for_timeout(2500)  # for so long a widget that is missing is waited for
    assert "not found" not in opened.inner_text()
    assert "Loading" not in opened.inner_text()
    assert opened.locator(".jupyter-widget-Collapse-header").count() == 0
