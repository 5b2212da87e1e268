"""A feed that has changed, in a real JupyterLab: said where a flow runs well, accepted where a check holds it."""

from __future__ import annotations

from pathlib import Path

from tests.panel import flows
from tests.panel.lab import Lab, Page

READ = (
    "from pathlib import Path\nimport polars as pl\nfrom data_engine import Flow",
    'def read(context):\n    return pl.DataFrame({name: [1] for name in Path("../columns.txt").read_text().split()})',
)
DRIFTS = (*READ, 'def build():\n    return Flow(group="Claims").step(read, save_as="raw_df")')
HOLDS = (
    *READ,
    'def build():\n    return Flow(group="Claims").step(read, save_as="raw_df").check(schema="as_before", label="As before")',
)
CHANGE = "raw_df: dep_delay is gone, departure_delay is new"


def test_a_feed_that_has_changed_is_said_and_accepted(lab: Lab, page: Page, pictures: Path) -> None:
    """The columns by name; a check `as_before` fails until somebody accepts them."""
    workspace = lab.workspace("feeds")
    (workspace / "columns.txt").write_text("day dep_delay")
    flows.fill(workspace, drifts=DRIFTS, holds=HOLDS)
    page.open()
    panel = page.side(workspace)
    for name in ("drifts", "holds"):
        panel.row(name).locator(".de-run").click()
        panel.wait_for_last(name, "success")

    (workspace / "columns.txt").write_text("day departure_delay")
    panel.row("drifts").locator(".de-run").click()
    detail = panel.select("drifts")
    note = detail.locator(".de-note", has_text="Its feed has changed")
    note.wait_for()
    assert CHANGE in note.inner_text()
    page.page.screenshot(path=pictures / "drift.png")

    page.open()
    panel = page.side(workspace)
    panel.row("holds").locator(".de-run").click()
    panel.wait_for_last("holds", "failed")
    detail = panel.select("holds")
    accept = detail.get_by_role("button", name="Accept")
    accept.wait_for()
    assert CHANGE in detail.inner_text()
    page.page.screenshot(path=pictures / "drift_held.png")
    accept.click()
    detail.get_by_role("button", name="Really let these columns pass from now on?").click()
    detail.locator(".de-run-main", has_text="success").nth(1).wait_for()
    page.page.screenshot(path=pictures / "drift_accepted.png")
