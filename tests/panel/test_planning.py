"""The Deployment tab: code on the left, what it does to the data on the right, then Deploy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data_engine.client import Workspace
from jupyter_extension.actions import answer
from tests.panel.conftest import THEMES
from tests.panel.lab import Lab, Page
from tests.panel.test_pictures import look
from tests.plan.production import FLOW, Production, cells
from tests.plan.test_plan import SENDS
from tests.support import notebook_bytes


@pytest.fixture
def production(tmp_path: Path) -> Production:
    return Production.live(tmp_path / "ws")


def plan(ws: Workspace, **args: Any) -> dict[str, Any]:
    return answer(str(ws.root), "plan", {"name": "sales", **args})


def test_a_plan_is_drawn_as_a_cell_draws_it(production: Production) -> None:
    """With samples, since nothing of it is saved; the code stands beside it."""
    production.edit(least="1")

    found = plan(production.ws, key=["id"])["result"]

    assert "<span>differs</span>" in found["html"]
    assert "clean_df: 1 row removed" in found["html"]
    assert "april.csv: 1 row removed" in found["html"]
    assert "cell 3" not in found["html"]
    assert "<td" in found["html"]


def test_what_cannot_be_held_back_is_asked_for_first(production: Production) -> None:
    """Nothing has run then; once a person has agreed to exactly that it does."""
    production.edit(SENDS, least="0")

    asked = plan(production.ws)["result"]["question"]
    ((label, key),) = asked["answers"]
    made = plan(production.ws, agreed=[key])["result"]

    assert asked["text"] == "A plan of sales runs these steps for real, once for each version:\n  Write: uses smtplib"
    assert label == "Run them"
    assert "<span>equal</span>" in made["html"]
    assert "question" in plan(production.ws, agreed=["another"])["result"]


def test_what_cannot_be_planned_is_an_error(production: Production) -> None:
    """With its fix."""
    production.files.module("other", "from data_engine import Flow\ndef build(): return Flow('G').step(str)")

    found = answer(str(production.ws.root), "plan", {"name": "other"})

    assert "never deployed" in found["error"]["what"]


def test_a_gate_is_told_and_can_be_approved(production: Production) -> None:
    """By who sees what differs."""
    production.ws.load_flow("sales").golden("clean_df", "april.csv", key="id")
    production.files.source("config/data_engine.toml", '[deploy]\ngate = "golden"\n')
    production.edit(least="1")
    root = str(production.ws.root)

    refused = answer(root, "deploy", {"name": "sales"})
    assert answer(root, "flow", {"flow": "sales"})["result"]["gate"] == "golden"
    approved = answer(root, "deploy", {"name": "sales", "approve": True})

    assert "1 row removed" in refused["error"]["what"]
    assert "deployed      sales.ipynb" in approved["result"]["html"]


GO = """
import sys
from data_engine.client import Workspace
ws = Workspace(sys.argv[1])
ws.deploy()
for name in ("april", "may", "june"):
    ws.load_flow("sales").run_once(source=f"{name}.csv")
"""


def test_the_deployment_tab_shows_code_and_data_and_deploys(lab: Lab, page: Page, pictures: Path) -> None:
    """Asked for by a button; wide they stand side by side, and nothing sticks out in either theme."""
    root = lab.workspace("planned")
    for name, values in (("april", (1, 2, 50)), ("may", (11, 12, 50)), ("june", (21, 22, 50))):
        (root / "in").mkdir(exist_ok=True)
        lines = "".join(f"{number},{value}\n" for number, value in enumerate(values, start=1))
        (root / f"in/{name}.csv").write_text(f"id,amount\n{lines}", encoding="utf-8")
    notebook = root / "flow_modules" / "sales.ipynb"
    notebook.write_bytes(notebook_bytes(*cells(FLOW.replace("{least}", "0"))))
    subprocess.run([sys.executable, "-c", GO, str(root)], check=True, env=lab.environment, capture_output=True)
    notebook.write_bytes(notebook_bytes(*cells(FLOW.replace("{least}", "1"))))
    (lab.root / "plan.ipynb").write_bytes(notebook_bytes(f"from data_engine import panel\npanel({str(root)!r})"))
    page.open("plan.ipynb")
    page.run_all()
    panel = page.in_cell()
    page.page.evaluate("() => { jupyterapp.shell.collapseLeft(); jupyterapp.shell.collapseRight(); }")
    panel.select("sales")
    panel.element.get_by_role("tab", name="Code").click()
    panel.element.get_by_label("Columns that match rows").fill("id")

    panel.button("plan").click()
    data = panel.element.get_by_role("region", name="Plan of sales")
    data.get_by_text("clean_df: 1 row removed").first.wait_for(timeout=60000)

    code = panel.element.locator(".de-plan-code").bounding_box()
    box = data.bounding_box()
    assert code is not None
    assert box is not None
    assert box["x"] > code["x"] + code["width"] - 1
    data.get_by_text("removed", exact=True).first.scroll_into_view_if_needed()
    out = []
    for theme in THEMES:
        page.theme(theme)
        out += look(panel, pictures, f"notebook-plan-{theme}")
    page.theme("Light")
    page.page.evaluate("() => { jupyterapp.shell.expandLeft(); jupyterapp.shell.expandRight(); }")
    assert out == []
    panel.button("deploy now").click()
    panel.element.get_by_text("Production runs the notebook as it is.").first.wait_for(timeout=20000)
    data.get_by_text("clean_df: 1 row removed").first.wait_for(state="detached")

    back = panel.element.locator(".de-deployments [role=listitem]").nth(1).get_by_role("button")
    back.click()
    panel.element.get_by_role("button", name=re.compile(r"^Roll back to \w{8} of .+\?$")).wait_for(timeout=10000)
    back.click()
    panel.element.get_by_text("the notebook differs: cell 3").first.wait_for(timeout=20000)
    page.page.screenshot(path=pictures / "rolled-back.png")
    assert "de-primary" not in panel.button("deploy now").get_attribute("class")
