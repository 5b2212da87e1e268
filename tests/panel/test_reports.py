"""A report in the panel: a run leads to its page, which is shown in place and does nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.panel import flows
from tests.panel.lab import Lab, Page
from tests.panel.test_pictures import look
from tests.support import until

HOSTILE = "<script>parent.document.title = 'x'</script>"
DELAYS = f"""
import polars as pl
from data_engine import Flow

class Chart:
    def _repr_svg_(self):
        return '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="40" onload="parent.x()"><rect width="200" height="30" fill="#0a6ebd"/></svg>'

class Words:
    def _repr_html_(self):
        return "<b>late</b>{HOSTILE}<a href='javascript:parent.x()'>why</a><img src=x onerror='parent.x()'>"

def read(context):
    return pl.DataFrame({{"airport": ["EWR", "JFK"], "late": [266, 211], "{HOSTILE}": [0.5, None]}})

def build():
    flow = Flow(group="G").mirror(root="../out", staged=True).step(read, save_as="airports_df")
    flow = flow.step(lambda context: Chart(), save_as="chart").step(lambda context: Words(), save_as="words")
    return flow.report("airports_df", "chart", "words", title="Delays", note="By airport.")
"""
RUN = "import sys; from data_engine import Workspace; Workspace(sys.argv[1]).load_flow('delays').run_once()"


def test_a_run_shows_its_page_in_place(lab: Lab, page: Page, pictures: Path) -> None:
    """In a frame that may run nothing; and a page that was made by something else is text."""
    workspace = lab.workspace("reports")
    flows.fill(workspace, delays=DELAYS)
    subprocess.run([sys.executable, "-c", RUN, str(workspace)], env=lab.environment, check=True, timeout=60)
    (workspace / "out" / "other.html").write_text("<h1>Other</h1>")
    page.open()
    panel = page.side(workspace)
    detail = panel.select("delays")
    detail.locator(".de-run-main").first.click()
    detail.get_by_role("button", name="Show delays.html").click()

    frame = panel.element.locator("iframe.de-page")
    frame.wait_for()
    inside = frame.content_frame
    inside.get_by_role("heading", name="Delays").wait_for()
    assert inside.locator("td", has_text="266").count() == 1
    assert inside.locator("th", has_text="<script>").count() == 1
    assert (frame.get_attribute("sandbox"), inside.locator("script").count()) == ("", 0)
    assert inside.get_by_text("why").get_attribute("href") is None
    page.page.screenshot(path=pictures / "side-report.png")
    assert look(panel, pictures, "report") == []

    page.page.emulate_media(color_scheme="null")  # else a frame has what the test says, whatever its page wants
    page.theme("Dark")
    background = "(body) => getComputedStyle(body).backgroundColor"
    until(lambda: inside.locator("body").evaluate(background) == "rgb(20, 24, 29)")
    page.page.screenshot(path=pictures / "side-report-dark.png")
    page.theme("Light")
    until(lambda: inside.locator("body").evaluate(background) == "rgb(255, 255, 255)")
    panel.tab("Outputs")
    panel.element.get_by_label("File to inspect").fill(str(workspace / "out" / "other.html"))
    panel.element.get_by_role("button", name="Inspect").click()
    panel.element.locator("pre", has_text="<h1>Other</h1>").wait_for()
    assert page.page.title() != "x"
