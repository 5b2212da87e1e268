"""The search as a reader uses it, in a browser: a question in their own words finds its page, the best first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.built import built_site

QUESTIONS = {
    "bank holidays schedule": "howto/business-days",
    "html report pdf": "howto/run-report",
    "lineage": "howto/made-by",
    "data quality": "howto/checks",
    "why not": "howto/why",
    "combine files parquet": "howto/combine-files",
    "why was file not processed": "howto/why",
    "debugging failed runs": "howto/debug",
    "who makes this file": "howto/made-by",
    "read the warehouse while a flow runs": "howto/read-warehouse",
    "reports of each run": "howto/run-report",
    "stopping a flow": "howto/stop",
    "undo xyzzy": "howto/undo",
}

SHOWN = """() => {
    const said = /found (one|[0-9]+) /.exec(document.querySelector("#search-results .search-summary")?.innerText ?? "");
    return said && document.querySelectorAll("#search-results li > a").length >= Math.min(3, said[1] === "one" ? 1 : Number(said[1]));
}"""
"""That the first three of what was found stand there, or all."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_site(tmp_path_factory)


@pytest.fixture(scope="module")
def tab(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield page
    page.close()


@pytest.mark.parametrize(("typed", "page"), QUESTIONS.items())
def test_a_question_finds_its_page(tab: Any, site: Path, typed: str, page: str) -> None:
    """By any of its words, with their stems; words that no page has take nothing away. Among the first three."""
    tab.goto(f"{(site / 'search.html').as_uri()}?q={typed.replace(' ', '+')}")
    tab.wait_for_function(SHOWN)
    links = [link.get_attribute("href") for link in tab.locator("#search-results li > a").all()[:3]]

    assert any(link.startswith(f"{page}.html") for link in links), links


def test_the_first_page_has_one_list_of_questions(tab: Any, site: Path, pictures: Path) -> None:
    """Each question once, and the guides, topics and reference below; the other pages have all at their side."""
    tab.goto((site / "index.html").as_uri())
    tab.screenshot(path=pictures / "documentation-home.png", full_page=True)
    links = [link for link in tab.locator("article a").all() if link.is_visible()]
    pages = [str(link.get_attribute("href")).partition("#")[0] for link in links]
    questions = [page for page in pages if page.startswith("howto/")]

    assert len(questions) - len(set(questions)) <= 1  # the line for who is in trouble
    assert "guides/01_first_flow.html" in pages
    assert "reference/settings.html" in pages
    tab.goto((site / "howto" / "undo.html").as_uri())
    assert tab.locator(".sidebar-tree a", has_text="Stop a run").is_visible()
