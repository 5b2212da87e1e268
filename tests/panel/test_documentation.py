"""The documentation from JupyterLab: the tile, the palette and the panel's Help lead to it, and it is searched without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from data_engine.docs import site
from tests.docs.built import built_site
from tests.panel import flows
from tests.panel.lab import Lab, Page


@pytest.fixture(scope="module")
def made(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What `data-engine docs` does, with a site that is built already; before, the page says so."""
    status, text = lab.request("/data-engine/docs/")
    assert status == 200
    assert b"<code>data-engine docs</code>" in text
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_ENGINE_STATE_ROOT", lab.environment["DATA_ENGINE_STATE_ROOT"])
        folder = site.site_folder()
    shutil.copytree(built_site(tmp_path_factory), folder)
    subprocess.run(
        [sys.executable, "-m", "data_engine.docs"], env=lab.environment, check=True, stdout=subprocess.DEVNULL
    )


def opened(page: Page, press: Any) -> Any:
    with page.context.expect_page() as found:
        press()
    tab = found.value
    tab.get_by_role("heading", level=2, name="I want to").wait_for()
    return tab


@pytest.mark.usefixtures("made")
def test_the_server_has_the_pages(lab: Lab) -> None:
    """Once made they come at once, to who has the token; what is none of them is not found, above its folder neither."""
    began_s = time.monotonic()
    status, text = lab.request("/data-engine/docs/howto/undo.html")
    took_s = time.monotonic() - began_s

    assert status == 200
    assert b"rollback" in text
    assert took_s < 1
    assert b"rollback" not in lab.request("/data-engine/docs/howto/undo.html", token="")[1]
    for path in ("nothing.html", "%00", "a%00b.html", "howto/%1b", "a" * 4000):
        assert lab.request(f"/data-engine/docs/{path}")[0] == 404
    assert lab.request("/data-engine/docs/..%2f..%2fledger")[0] in (403, 404)


@pytest.mark.usefixtures("made")
def test_tile_palette_and_help_lead_to_it(lab: Lab, page: Page, pictures: Path) -> None:
    """Each into a tab of the browser, where the search finds a page."""
    workspace = lab.workspace("reads")
    flows.fill(workspace, good=flows.GOOD)
    page.open()
    panel = page.side(workspace)

    tab = opened(page, lambda: page.page.locator(".jp-LauncherCard", has_text="Data Engine documentation").click())
    tab.get_by_role("searchbox").or_(tab.get_by_placeholder("Search")).first.fill("rollback")
    tab.keyboard.press("Enter")
    tab.locator("#search-results a", has_text="Undo").first.wait_for()
    tab.locator("#search-results .context mark").first.wait_for()  # an excerpt, with the word marked
    tab.goto(tab.url.replace("rollback", "compare+two+runs"))
    tab.get_by_text("Search finished, found 12 pages").wait_for()
    best = tab.locator("#search-results li a").first.inner_text()
    tab.close()
    page.page.screenshot(path=pictures / "documentation-help.png")
    opened(page, lambda: panel.element.get_by_role("link", name="Help").click()).close()
    page.command("apputils:activate-command-palette")
    page.page.locator(".lm-CommandPalette-input").fill("data engine doc")
    found = page.page.locator(".lm-CommandPalette-itemLabel", has_text="Data Engine documentation")
    opened(page, found.click).close()

    assert best == "See what happened while you were away"


ANSWERS = {
    "file is in use": "howto/troubleshoot",
    "run every monday morning": "howto/schedule",
    "undo a deploy": "howto/undo",
    "wrong number in report": "howto/made-by",
    "share workspace with colleague": "topics/sharing",
    "send mail when failed": "howto/be-told",
    "two runs at same time": "howto/after-another",
    "excel file with title rows": "howto/messy-files",
    "password for database": "howto/passwords",
    "compare two runs": "howto/what-happened",
    "run B after A": "howto/after-another",
    "delete old outputs": "howto/rename",
    "test before production": "howto/edit-safely",
    "decimal comma": "howto/encoding",
    "laptop closed at night": "howto/logon",
    "stop a running job": "howto/stop",
    "new columns in file": "howto/combine-files",
    "only changed files": "howto/csv-to-parquet",
    "progress of long run": "howto/stop",
    "duplicate rows": "howto/checks",
    "Flow.preview": "reference/python.html#data_engine.Flow.preview",
}


def test_a_question_finds_its_page_in_a_site_that_is_opened_from_its_folder(
    browser: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The page is among the first three, each excerpt has words of the question marked, and the reference comes for its names only."""
    tab = browser.new_page()
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    try:
        tab.goto(f"{(built_site(tmp_path_factory) / 'search.html').as_uri()}?q=file+in+use")
        tab.locator("#search-results li mark").first.wait_for()
        results = tab.evaluate(
            """(questions) => questions.map((question) => {
                Search.output.replaceChildren();
                Search.query(question);
                return [...Search.output.children].map((line) => [line.firstChild.getAttribute("href"), line.querySelectorAll("mark").length]);
            })""",
            list(ANSWERS),
        )
    finally:
        tab.close()

    assert complaints == []
    for (question, answer), listed in zip(ANSWERS.items(), results, strict=True):
        pages = [page for page, _ in listed]
        assert [page for page in pages[:3] if page.startswith(answer)], (question, pages)
        assert len(pages) <= 12
        assert [page for page, marks in listed if not marks and "#data_engine" not in page] == [], question
        assert ("reference/python" in str(pages[:3])) == ("reference/python" in answer), question
