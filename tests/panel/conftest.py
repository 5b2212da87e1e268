"""One JupyterLab and one browser for all tests of the panel; with PANEL_SCREENSHOTS, a folder, pictures of it are kept there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.panel.lab import CHROMIUM, Lab, Page, chromium

KEPT = os.environ.get("PANEL_SCREENSHOTS")
"""The folder for pictures; drawing and packing one takes as long as what it shows, so that without it there are only those of failures."""
THEMES = ("Light", "Dark") if KEPT else ("Light",)
"""In which a picture is taken where the theme changes nothing but colours."""


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")).running() as lab:
        yield lab
        lab.end_daemons()


@pytest.fixture(autouse=True, scope="module")
def ended_with_its_file() -> Iterator[None]:
    """Kernels and daemons that the tests of a file began end with them: those of all files would take a good part of a core."""
    yield
    for lab in Lab.up:
        open_pages = [page for page in lab.pages if page.is_loaded]
        for page in open_pages:
            with suppress(Exception):  # after a failure it may be past that
                page.open()
        lab.end_kernels()
        lab.end_daemons()
        for page in open_pages:
            page.page.wait_for_timeout(300)  # what JupyterLab complains of kernels that end is none of the next test's


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if not os.path.exists(CHROMIUM):
        pytest.skip("no Chromium on the path: apt-get install -y --no-install-recommends chromium fonts-dejavu-core")
    pytest.importorskip("playwright", reason="no playwright: pip install -e '.[test]'")
    from playwright.sync_api import Locator
    from playwright.sync_api import Page as Tab

    with chromium() as browser, pytest.MonkeyPatch.context() as patch:
        for kind in () if KEPT else (Tab, Locator):
            patch.setattr(kind, "screenshot", _of_failures(kind.screenshot))
        yield browser


def _of_failures(screenshot: Any) -> Any:
    def take(shown: Any, *, path: Path, **options: Any) -> bytes:
        return screenshot(shown, path=path, **options) if path.name.startswith("failed-") else b""

    return take


@pytest.fixture(scope="session")
def loaded(lab: Lab, browser: Any) -> Iterator[Page]:
    page = Page(lab, browser)
    yield page
    page.close()


@pytest.fixture
def page(loaded: Page, request: pytest.FixtureRequest, pictures: Path) -> Iterator[Page]:
    """The one page, as it was left; what its console complains of during a test fails that test."""
    loaded.errors.clear()
    failed_before = request.session.testsfailed
    yield loaded
    if request.session.testsfailed > failed_before:
        loaded.page.screenshot(path=pictures / f"failed-{request.node.name}.png")
    assert loaded.errors == []


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots are kept: PANEL_SCREENSHOTS, else a folder for temporary files, which gets those of failures."""
    folder = Path(KEPT or Path(tempfile.gettempdir()) / "data-engine-screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
