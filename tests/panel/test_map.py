"""The map: all flows and the places between them, at each width, in both themes; a click leads to the flow and to the place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from data_engine import Workspace
from data_engine.demo.content import FLOWS, lay_out
from tests.panel import flows
from tests.panel.conftest import KEPT, THEMES
from tests.panel.lab import Lab, Page, Panel
from tests.panel.test_own_page import STICKS_OUT, Served
from tests.panel.test_pictures import look

MODULE = """
from pathlib import Path
from data_engine import Flow

def work(context):
    {reads}
    target = context.mirror.file("{name}.csv")
    target.write_text("amount\\n1\\n")
    return target

def build():
    return Flow(group="{group}").watch({watch}).mirror(root="../{mirror}").step(work)
"""
POLL = 'mode="poll", source="../{source}", interval="1s", settle=0, run_as="batch", extensions=".csv"'
AREAS = "claims policies payments customers brokers fleet weather complaints reinsurance marketing".split()


def write(workspace: Path, name: str, source: str | None, mirror: str, *reads: str, group: str = "Reports") -> None:
    """A flow that takes what lies in `source`, reads some files beside it, and writes below `mirror`."""
    watch = 'mode="manual"' if source is None else POLL.format(source=source)
    files = "; ".join(f"Path('../{path}').exists() and Path('../{path}').read_text()" for path in reads) or "pass"
    text = MODULE.format(reads=files, name=name, group=group, watch=watch, mirror=mirror)
    (workspace / "flow_modules" / f"{name}.py").write_text(text)


def fifty(workspace: Path) -> None:
    """Fifty flows of an insurance company: each area is imported, checked and cleaned, and reports are made of several."""
    (workspace / "ref").mkdir()
    for name in ("countries", "products", "rates"):
        (workspace / "ref" / f"{name}.csv").write_text("a\n1\n")
    for number, area in enumerate(AREAS):
        (workspace / "inbox" / area).mkdir(parents=True)
        for file in range(1 + number):
            (workspace / "inbox" / area / f"{file}.csv").write_text("amount\n1\n")
        ref = ("ref/countries.csv", "ref/products.csv")[number % 2]
        write(workspace, f"clean_{area}", f"inbox/{area}", f"clean/{area}", ref, group=area)
        write(workspace, f"check_{area}", f"inbox/{area}", f"checked/{area}", group=area)
        write(workspace, f"monthly_{area}", f"clean/{area}", f"monthly/{area}", "ref/rates.csv", group=area)
    for number, area in enumerate(AREAS[:6]):
        write(workspace, f"report_{area}", f"monthly/{area}", f"reports/{area}", f"clean/{AREAS[number + 1]}/x.csv")
    for name, area in (("fraud", "claims"), ("storms", "weather"), ("campaigns", "customers"), ("nps", "complaints")):
        write(workspace, name, f"clean/{area}", f"scores/{name}", "clean/payments/clean_payments.csv")
    write(workspace, "solvency", "reports/claims", "reports/solvency", "monthly/reinsurance/monthly_reinsurance.csv")
    write(workspace, "board", "reports/solvency", "reports/board", "reports/policies/report_policies.csv")
    write(workspace, "regulator", "reports/solvency", "reports/regulator", "scores/nps/nps.csv")
    for name in ("housekeeping", "archive", "mail_digest", "fx", "heatmap", "drivers"):
        write(workspace, name, None, f"other/{name}")
    failing = workspace / "flow_modules" / "monthly_brokers.py"
    failing.write_text(
        failing.read_text().replace("def work(context):\n", "def work(context):\n    raise ValueError('no rate')\n")
    )


@pytest.fixture(scope="module")
def three(lab: Lab) -> Path:
    """Two flows in a row, and one that fails."""
    root = lab.workspace("three")
    flows.fill(root, polled=flows.POLLED, month_end=flows.FAILING)
    flows.sources(root, good=3, bad=0)
    write(root, "total", "out", "sum")
    flows.deploy(root)
    return root


def opened(page: Page, workspace: Path) -> Panel:
    page.open()
    panel = page.side(workspace)
    panel.element.locator(".de-row").first.wait_for()
    if panel.button("start engine").is_visible():
        panel.button("start engine").click()
        panel.button("stop engine").wait_for()
    return panel


def test_the_map_has_each_flow_with_its_state_now_and_leads_to_flows_and_places(
    page: Page, three: Path, pictures: Path
) -> None:
    """By click and by keyboard; the state follows without the picture being read again."""
    panel = opened(page, three)
    panel.tab("Map")
    boxes = panel.element.locator(".de-map [data-node]")
    panel.element.locator(".de-map [data-node='polled']", has_text="polling").wait_for()
    sticks_out = []
    for theme in THEMES:
        page.theme(theme)
        sticks_out += look(panel, pictures, f"map-side-{theme}")
    page.theme("Light")
    shown = {box.get_attribute("data-node") for box in boxes.all()}
    panel.element.locator(".de-map [data-node='month_end']").click()
    panel.element.locator(".de-detail[data-flow='month_end']").wait_for()
    panel.button("run").click()
    panel.tab("Map")
    panel.element.locator(".de-map [data-node='month_end'].de-bad").wait_for()
    panel.element.locator(".de-map [data-node='month_end']").focus()
    page.page.keyboard.press("Enter")
    panel.element.locator(".de-detail[data-flow='month_end']").wait_for()
    panel.tab("Map")
    panel.element.locator(".de-map [data-node='out/']").click()
    panel.element.locator(".de-whole", has_text="total reads out/").wait_for()
    panel.element.locator(".de-whole", has_text="polled writes out/").wait_for()
    look(panel, pictures, "map-place")

    assert sticks_out == []
    assert shown >= {"in/", "polled", "out/", "total", "sum/", "month_end"}


def test_a_flows_data_say_what_it_is_made_from_and_what_is_made_from_it(
    page: Page, three: Path, pictures: Path
) -> None:
    """One step each way, a sentence for each line; a box leads on."""
    panel = opened(page, three)
    detail = panel.select("total")
    detail.get_by_role("tab", name="Data").click()
    detail.locator(".de-whole", has_text="total reads out/").wait_for()
    detail.locator(".de-whole", has_text="total writes sum/").wait_for()
    look(panel, pictures, "map-one-step")
    detail.locator("[data-node='out/']").click()
    detail.locator(".de-whole", has_text="polled writes out/").wait_for()
    detail.locator("[data-node='polled']").click()

    panel.element.locator(".de-detail[data-flow='polled']").wait_for()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no files of these names")
def test_hostile_names_are_text_in_a_browser(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As flow, group and folder; each box has the state of its own flow, and nothing of a name runs."""
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(tmp_path / "state"))
    tag, sign, mark = "<img src=x onerror=alert(1)>", "R&D", "{{tone:x}}"
    root = tmp_path / "team"
    (root / "flow_modules").mkdir(parents=True)
    for name in (tag, sign, mark):
        write(root, name, f"in {name}", f"out {name}", group=name)
        (root / f"in {name}").mkdir()
    served = Served(root, tmp_path)
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(60000)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    try:
        page.goto(served.address())
        page.get_by_role("tab", name="Map").click()
        boxes = page.locator(".de-map [data-kind=flow]")
        boxes.first.wait_for()
        shown = {box.get_attribute("data-node"): box.get_attribute("aria-label") for box in boxes.all()}
        places = {box.get_attribute("data-node") for box in page.locator(".de-map .de-p").all()}
        states = page.locator(".de-map [data-kind=flow] .de-s").all_text_contents()
        images = page.locator("img").count()
    finally:
        page.close()
        served.end()

    assert (dialogs, images) == ([], 0)
    assert shown.keys() == {tag, sign, mark}
    assert places >= {f"in {sign}/", f"out {sign}/"}
    assert all(": " in str(tip) for tip in shown.values())
    assert all(states)


@pytest.mark.skipif(KEPT is None, reason="it makes pictures: PANEL_SCREENSHOTS names no folder for them")
@pytest.mark.parametrize("count", [3, 50])
def test_how_the_map_looks(
    browser: Any, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """With the demo and with fifty flows that run, at 400 and 1,600 px, in both themes: for a person's eyes."""
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(tmp_path / "state"))
    root = tmp_path / "team"
    (root / "flow_modules").mkdir(parents=True)
    lay_out(root) if count == 3 else fifty(root)
    workspace = Workspace(root)
    workspace.deploy()
    for name in FLOWS if count == 3 else ():
        workspace.load_flow(name).run_once()
    workspace.start_engine()
    served = Served(root, tmp_path)
    sticks_out = []
    for theme in ("light", "dark"):
        page = browser.new_page(viewport={"width": 1600, "height": 1000}, color_scheme=theme)
        page.set_default_timeout(60000)
        page.goto(served.address())
        if count == 50:
            page.locator(".de-row[data-flow='board'] .de-last", has_text="success").wait_for(state="attached")
        for width in (400, 1000, 1600):
            page.set_viewport_size({"width": width, "height": 1000})
            page.get_by_role("tab", name="Map").click()
            page.locator(f".de-lineage[data-room='{width - 32}']").wait_for()
            high = 160 + page.locator(".de-lineage").bounding_box()["height"]
            page.set_viewport_size({"width": width, "height": int(high)})
            page.wait_for_timeout(300)
            page.screenshot(path=pictures / f"map-{count}-{width}-{theme}.png")
            sticks_out += page.locator(".de-panel").evaluate(STICKS_OUT)
        page.close()
    served.end()
    workspace.kill()

    assert sticks_out == []
