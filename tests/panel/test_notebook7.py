"""In a real Notebook 7: displays, the panel under a cell and in the side bar, in the light and the dark theme."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.panel import flows
from tests.panel.lab import Lab, Page
from tests.panel.test_pictures import look
from tests.support import notebook_bytes


@pytest.fixture(scope="module")
def notebook7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    pytest.importorskip("notebook", reason="no Notebook 7: pip install -e '.[test]'")
    with Lab(tmp_path_factory.mktemp("notebook7"), "notebook").running() as server:
        yield server
        server.end_daemons()


@pytest.fixture(scope="module")
def workspace(notebook7: Lab) -> Path:
    workspace = notebook7.workspace("claims")
    flows.fill(workspace, monthly_totals=flows.GOOD, month_end=flows.FAILING, claims_import=flows.POLLED)
    flows.sources(workspace)
    return workspace


@pytest.fixture
def page(notebook7: Lab, browser: Any, workspace: Path) -> Iterator[Page]:
    """Notebook 7 with a notebook open, its cells run; what its console complains of fails the test."""
    root = str(workspace)
    (notebook7.root / "shown.ipynb").write_bytes(
        notebook_bytes(
            f"%cd -q {root}\n%load_ext data_engine",
            f"from data_engine import load_flow, panel\nload_flow('claims_import', data_root={root!r})",
            f"panel({root!r})",
            "%flow status",
        )
    )
    page = Page(notebook7, browser, width=1100, height=800)
    page.page.goto(f"{notebook7.base}/notebooks/shown.ipynb?token={notebook7.token}")
    page.wait_for_kernel()
    page.run_all()
    yield page
    page.close()
    assert page.errors == []


def test_a_notebook_in_notebook_7(page: Page, pictures: Path) -> None:
    """A flow as a picture, the panel live under its cell, a run that succeeds, the status; nothing sticks out."""
    drawn = page.page.locator(".jp-OutputArea-output svg.de-flow[aria-label='Flow Claims Import']")
    drawn.wait_for()
    panel = page.in_cell()
    panel.row("monthly_totals").locator(".de-run").click()
    panel.wait_for_last("monthly_totals", "just now")
    panel.row("monthly_totals").locator(".de-last .de-good").first.wait_for()
    panel.select("monthly_totals")
    out = []
    for theme in ("Light", "Dark"):
        page.theme(theme)
        drawn.scroll_into_view_if_needed()
        out += look(panel, pictures, f"notebook7-{theme}")
    page.theme("Light")

    assert out == []
    assert panel.element.get_attribute("data-live") == "server"
    assert page.page.locator(".jp-OutputArea-output .de-card .de-title", has_text="claims").count() > 0


def test_the_side_bar_of_notebook_7(page: Page, pictures: Path) -> None:
    """It has the room it needs in a narrow window too; a failed step leads to its cell, in the tab that opens for it."""
    side = page.side()
    side.row("month_end").locator(".de-run").click()
    side.wait_for_last("month_end", "failed")
    out = look(side, pictures, "notebook7-side-Light")
    room = page.page.evaluate(
        "() => innerWidth - document.querySelector('#data-engine-panel').getBoundingClientRect().right"
    )
    side.select("month_end")
    side.element.get_by_role("tab", name="Runs").click()
    side.element.locator(".de-run-main").first.click()
    with page.context.expect_page() as opened:
        side.element.get_by_role("button", name="Open month_end.ipynb, cell 3").click()
    opened.value.locator(".jp-Notebook .jp-Cell.jp-mod-active", has_text='row["total"]').wait_for()
    opened.value.close()

    assert (out, room) == ([], 0)
