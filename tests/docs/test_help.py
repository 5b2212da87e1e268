"""Help in JupyterLab, where the pages cannot be shown."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from jupyter_extension import server


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    server._kept_at.cache_clear()
    yield
    server._kept_at.cache_clear()


def test_a_server_from_before_an_upgrade_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages that were made are of another version than those it looks for, which nobody will ever make."""
    done = subprocess.CompletedProcess([], 0, b"/of/another/version/index.html", b"")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    assert "restart JupyterLab" in server._made()


def test_what_went_wrong_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it said nothing."""
    for told, shown in ((b"no room\n", "no room"), (b"", "it ended")):
        done = subprocess.CompletedProcess([], 1, b"", told)
        monkeypatch.setattr(subprocess, "run", lambda *_, done=done, **__: done)

        assert server._made() == shown
