"""The panel's Files tab over 100,000 files: how soon they are listed, and how soon a search is answered; no browser is needed."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.figures import finish, report
from data_engine.client import Workspace
from jupyter_extension.actions import answer

FILES, FOLDERS, LOOKS = 100_000, 100, 5
MODULE = """
from data_engine import Flow

def read(context):
    return context.source.path

def build():
    return Flow("Files").watch(mode="poll", source="../in", interval="1h", settle=0).step(read)
"""


def lay_out(root: Path) -> Workspace:
    """A workspace with one polled flow and its files, which have not run."""
    workspace = Workspace.create(root)
    (root / "flow_modules" / "many.py").write_text(MODULE)
    for folder in range(FOLDERS):
        inside = root / "in" / f"{folder:03}"
        inside.mkdir(parents=True)
        for number in range(FILES // FOLDERS):
            (inside / f"claims-{folder:03}-{number:04}.csv").touch()
    return workspace


def ask_s(workspace: Workspace, **asked: Any) -> tuple[float, int]:
    """How long the Jupyter server needs for a question, and how many files it finds."""
    began_s = time.perf_counter()
    found = answer(str(workspace.root), "files", {"flow": "many", **asked})
    return time.perf_counter() - began_s, found["result"]["found"]


def main() -> None:
    """Print every figure beside its limit."""
    with tempfile.TemporaryDirectory(prefix="files-benchmark-") as folder:
        workspace = lay_out(Path(folder) / "ws")
        first_s, found = ask_s(workspace)
        assert found == FILES
        report("panel: first list of 100,000 files, with the process that looks", first_s, 10, "s")
        for words in ("claims-099-0999", "csv", "not deployed 042"):
            taken = [ask_s(workspace, search=words) for _ in range(LOOKS)]
            assert all(found for _, found in taken)
            report(f"panel: search {words!r} over 100,000 files", min(took_s for took_s, _ in taken), 0.3, "s")
        workspace.kill()
    finish()


if __name__ == "__main__":
    main()
