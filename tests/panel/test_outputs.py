"""The Outputs tab in a browser: what flows wrote, long pages, copies, workbooks, and the cell that makes the same table."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from tests.panel import flows
from tests.panel.lab import Lab, Page
from tests.support import notebook_bytes, until

ROWS = 120_000


def test_the_outputs_tab(lab: Lab, page: Page, pictures: Path) -> None:
    """Found by a search, scrolled through in a page of 100,000 rows, copied whole, saved, and opened in a cell as it is shown."""
    workspace = lab.workspace("outputs_tab")
    flows.fill(workspace, polled=flows.POLLED)
    flows.sources(workspace, good=8)
    (workspace / "in" / "large.csv").write_text(
        "city,amount\n" + "".join(f"c{number},{number}\n" for number in range(ROWS))
    )
    (lab.root / "reader.ipynb").write_bytes(notebook_bytes("1"))
    page.open("reader.ipynb")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel = page.side(workspace)
    panel.row("polled").locator(".de-run").click()
    panel.element.get_by_role("button", name="Run all 10").click()
    until((workspace / "out" / "large.parquet").exists)
    panel.row("polled").locator(".de-last .de-good").wait_for(timeout=60000)
    panel.tab("Outputs")
    part = panel.element.locator(".de-outputs")
    part.locator("[data-output='00.parquet']").wait_for()
    page.page.screenshot(path=pictures / "side-outputs-list.png")
    part.get_by_label("Search outputs").fill("large")
    page.page.wait_for_function("() => document.querySelectorAll('[data-output]').length === 1")
    part.locator("[data-output='large.parquet']").click()
    grid = part.locator(".de-grid")
    grid.locator("td", has_text="c0").first.wait_for()
    part.get_by_label("Sort by amount").or_(part.get_by_title("Sort by amount")).first.click()
    part.get_by_title("Sort by amount").first.click()
    grid.locator("td", has_text=f"c{ROWS - 1}").first.wait_for()
    part.get_by_label("Rows a page").select_option("100000")
    grid.locator("td.de-space").first.wait_for(state="attached")
    grid.evaluate("(grid) => { grid.scrollTop = 22 * 65432; }")
    grid.locator("td", has_text=f"c{ROWS - 1 - 65440}").first.wait_for()
    drawn = grid.locator("tbody tr").count()
    grid.locator("td", has_text=f"c{ROWS - 1 - 65440}").first.click()
    page.page.keyboard.press("Control+c")
    panel.element.get_by_text("Copied 1 row of city").wait_for()
    cell = page.page.evaluate("() => navigator.clipboard.readText()")
    page.page.screenshot(path=pictures / "side-outputs-long.png")
    part.get_by_label("Copy amount").click()
    panel.element.get_by_text("Copied 100,000 rows of amount").wait_for()
    column = page.page.evaluate("() => navigator.clipboard.readText()").split("\n")
    part.get_by_label("Filter amount").click()
    part.get_by_label("Value", exact=True).fill("119990")
    part.get_by_role("button", name="Apply").click()
    part.get_by_text("10 rows").wait_for()
    with page.page.expect_download(timeout=60000) as saved:
        panel.button("download").click()
    panel.button("as cell").click()
    code = page.page.wait_for_function(
        "() => { const w = window.jupyterapp.shell.currentWidget.content.widgets; return w.length > 1 && w[1].model.sharedModel.source; }"
    ).json_value()

    assert drawn < 200
    assert cell == f"c{ROWS - 1 - 65440}"
    assert (len(column), column[0], column[-1]) == (100_000, str(ROWS - 1), str(ROWS - 100_000))
    assert pl.read_excel(io.BytesIO(Path(saved.value.path()).read_bytes()))["amount"].to_list() == [
        *range(ROWS - 1, ROWS - 11, -1)
    ]
    assert ".filter(pl.col('amount') >= 119990)" in code
    assert ".sort(['amount'], descending=[True], nulls_last=True)" in code
    lab.do(workspace, "kill")
