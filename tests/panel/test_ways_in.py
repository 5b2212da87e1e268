"""Each way into the server's side asks who it is: every method of every handler, without a server started for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tornado.web import RequestHandler

from jupyter_extension.server import _load_jupyter_server_extension
from tests.panel.lab import Lab, Page
from tests.support import notebook_bytes


@pytest.fixture(scope="module")
def ways() -> list[tuple[str, type[RequestHandler]]]:
    found: list[tuple[str, type[RequestHandler]]] = []

    def add_handlers(host: str, handlers: list[tuple[Any, ...]]) -> None:
        found.extend((str(way[0]), way[1]) for way in handlers)

    settings = {"base_url": "/"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONSTARTUP", "")  # it is the server's own; what is set of it goes again
        _load_jupyter_server_extension(
            SimpleNamespace(web_app=SimpleNamespace(settings=settings, add_handlers=add_handlers))
        )
    return found


def test_no_method_answers_a_stranger(ways: list[tuple[str, type[RequestHandler]]]) -> None:
    """Tornado's decorator is what the server looks for; without it a person who starts the panel reads a warning first."""
    methods = [
        (address, name, getattr(handler, name.lower()))
        for address, handler in ways
        for name in handler.SUPPORTED_METHODS
        if getattr(handler, name.lower()) is not RequestHandler._unimplemented_method
    ]
    open_to_all = [
        (address, name)
        for address, name, method in methods
        if not _asks(method) and not hasattr(method, "__allow_unauthenticated")  # OPTIONS, of the server's own
    ]

    assert ("/data-engine/docs/(.*)", "HEAD") in [(address, name) for address, name, _ in methods]
    assert open_to_all == []


def test_a_kernel_that_imported_nothing_of_ours_knows_the_magic(lab: Lab, page: Page) -> None:
    """In a JupyterLab that was started without us, whose environment has us."""
    (lab.root / "plain.ipynb").write_bytes(notebook_bytes("%flow --help"))
    page.open("plain.ipynb")
    page.run_all()

    assert "preview" in page.cell(0).locator(".jp-OutputArea-output").first.inner_text()


def _asks(method: Any) -> bool:
    is_tornados = method.__code__.co_filename.replace("\\", "/").endswith("tornado/web.py")
    return is_tornados and hasattr(method, "__wrapped__")
