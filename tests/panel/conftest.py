"""One JupyterLab and one browser for all tests of the panel; screenshots go to a folder that is not committed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.panel.lab import CHROMIUM, Lab, Page, chromium


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")).running() as lab:
        yield lab
        lab.end_daemons()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if not os.path.exists(CHROMIUM):
        pytest.skip("no Chromium on the path: apt-get install -y --no-install-recommends chromium fonts-dejavu-core")
    pytest.importorskip("playwright", reason="no playwright: pip install -e '.[test]'")
    with chromium() as browser:
        yield browser


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
    """Where screenshots are kept: PANEL_SCREENSHOTS, else a folder for temporary files."""
    folder = Path(os.environ.get("PANEL_SCREENSHOTS", Path(tempfile.gettempdir()) / "data-engine-screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
