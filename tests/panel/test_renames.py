"""A kernel of a real Jupyter server knows what its notebook is called after each rename that the server makes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_engine.workspace.layout import renamed_file
from jupyter_extension.server import moved_path
from tests.panel.lab import Lab
from tests.support import notebook_bytes, until

ASK = "(str(current_notebook().path), current_notebook().problem)"
pytestmark = pytest.mark.timeout(300)


def asking(connection_file: Path) -> tuple[Any, Callable[[], Any]]:
    """A client of the kernel, and what asks it for its notebook."""
    from jupyter_client.blocking import BlockingKernelClient

    client = BlockingKernelClient(connection_file=str(connection_file))
    client.load_connection_file()
    client.start_channels(iopub=False, hb=False)

    def ask() -> Any:
        reply = client.execute(
            "from data_engine.workspace.layout import current_notebook",
            user_expressions={"found": ASK},
            reply=True,
            timeout=120,
        )
        return eval(reply["content"]["user_expressions"]["found"]["data"]["text/plain"])

    return client, ask


def test_what_the_server_renames_is_followed(lab: Lab) -> None:
    """The first run after a rename, with nothing saved; a move to another folder; a folder's rename. Then nothing is left."""
    folder = lab.workspace("renames") / "flow_modules"
    (folder / "daily.ipynb").write_bytes(notebook_bytes("1"))
    other = lab.workspace("renames_too") / "flow_modules"
    path = "renames/flow_modules/daily.ipynb"
    kernel = {"name": "python3"}
    _, body = lab.request("/api/sessions", {"path": path, "name": "daily.ipynb", "type": "notebook", "kernel": kernel})
    session = json.loads(body)
    connection_file = lab.home / "runtime" / f"kernel-{session['kernel']['id']}.json"
    until(connection_file.exists)
    client, ask = asking(connection_file)

    def rename(before: str, now: str, session_path: str) -> None:
        """As JupyterLab does: the file first, then the session."""
        assert lab.request(f"/api/contents/{before}", {"path": now}, method="PATCH")[0] == 200
        assert lab.request(f"/api/sessions/{session['id']}", {"path": session_path}, method="PATCH")[0] == 200

    try:
        assert ask() == (str(folder / "daily.ipynb"), None)
        weekly = "renames/flow_modules/weekly.ipynb"
        rename(path, weekly, weekly)
        assert ask() == (str(folder / "weekly.ipynb"), None)
        moved = "renames_too/flow_modules/weekly.ipynb"
        rename(weekly, moved, moved)
        assert ask() == (str(other / "weekly.ipynb"), None)
        rename("renames_too", "rates", "rates/flow_modules/weekly.ipynb")
        found, problem = ask()
        assert (Path(found), problem) == (lab.root / "rates" / "flow_modules" / "weekly.ipynb", None)
        if sys.platform != "win32":  # where the folder of connection files is this user's own
            assert Path(renamed_file(str(connection_file))).stat().st_mode & 0o077 == 0
    finally:
        client.stop_channels()
        assert lab.request(f"/api/sessions/{session['id']}", method="DELETE")[0] == 204
    until(lambda: not Path(renamed_file(str(connection_file))).exists())


@pytest.mark.parametrize(
    ("path", "before", "now", "expected"),
    [
        ("a/b.ipynb", "a/b.ipynb", "a/c.ipynb", "a/c.ipynb"),
        ("a/c.ipynb", "a/b.ipynb", "a/c.ipynb", "a/c.ipynb"),
        ("a/b.ipynb", "a", "d/e", "d/e/b.ipynb"),
        ("d/e/b.ipynb", "a", "d/e", "d/e/b.ipynb"),
        ("a/b.ipynb", "/a/", "/d", "d/b.ipynb"),
        ("ab/c.ipynb", "a", "d", None),
        ("a/b.ipynb", "a/b", "a/c", None),
    ],
)
def test_a_file_is_renamed_with_its_folder(path: str, before: str, now: str, expected: str | None) -> None:
    """Whether its session was told before or after."""
    assert moved_path(path, before, now) == expected
