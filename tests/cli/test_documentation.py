"""`data-engine docs`: where the documentation is, and the browser only when asked for."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from data_engine.docs import site
from data_engine.errors import FlowValidationError
from tests.cli.conftest import Cli


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser was asked for, with a site that is made in no time."""
    asked: list[str] = []

    def build(folder: Path) -> None:
        (folder / site.FIRST).write_text("here")

    monkeypatch.setattr(site, "build", build)
    monkeypatch.setattr(webbrowser, "open", asked.append)
    return asked


def test_it_is_told_where_the_documentation_is(cli: Cli, opened: list[str]) -> None:
    """As an address to click on; the page is there then, and nothing was opened."""
    answer = cli("docs")
    told = cli("docs", "--json").json

    assert (answer.code, answer.err) == (0, "Building the documentation (about ten seconds) ...\n")
    assert answer.out.strip() == (site.site_folder() / site.FIRST).as_uri()
    assert Path(told["page"]).read_text() == "here"
    assert opened == []


def test_the_browser_opens_it_when_asked(cli: Cli, opened: list[str]) -> None:
    """Once."""
    assert cli("docs", "--open").code == 0
    assert opened == [(site.site_folder() / site.FIRST).as_uri()]


def test_what_cannot_be_made_is_an_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what, where and fix, as every other."""

    def build(folder: Path) -> None:
        raise FlowValidationError("the documentation cannot be built", where="pages", fix="see above")

    monkeypatch.setattr(site, "build", build)
    answer = cli("docs")

    assert answer.code == 2
    assert "cannot be built" in answer.err
    assert "see above" in answer.err
