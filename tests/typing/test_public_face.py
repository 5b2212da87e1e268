"""What a type checker knows of the public names, as an author's own project sees them: through `py.typed`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLES = ("right.py", "wrong.py")
PYRIGHT = ROOT / "jupyter_extension" / "node_modules" / "pyright" / "index.js"


Said = dict[str, dict[int, str]]
"""By the names of the examples what is wrong in them, by line."""


def mypy(folder: Path) -> Said:
    """What mypy says of the examples in a folder elsewhere than here; only of their lines."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--output", "json"]
    found = subprocess.run(
        [*command, "--cache-dir", "../mypy_cache", *EXAMPLES], cwd=folder, capture_output=True, text=True, check=False
    )
    assert found.returncode in (0, 1), found.stdout + found.stderr
    said = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    assert {one["file"] for one in said} <= {*EXAMPLES}
    return {
        name: {one["line"]: one["message"] for one in said if (one["file"], one["severity"]) == (name, "error")}
        for name in EXAMPLES
    }


def pyright(folder: Path) -> Said:
    """What pyright says of them."""
    node = shutil.which("node")
    if node is None or not PYRIGHT.exists():
        pytest.skip("no pyright: install Node, and run `npm --prefix jupyter_extension install`")
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    found = subprocess.run(
        [node, PYRIGHT, "--outputjson", "--pythonpath", sys.executable, *EXAMPLES],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    said = [one for one in json.loads(found.stdout)["generalDiagnostics"] if one["severity"] == "error"]
    return {
        name: {one["range"]["start"]["line"] + 1: one["message"] for one in said if Path(one["file"]).name == name}
        for name in EXAMPLES
    }


@pytest.fixture(scope="module", params=[mypy, pyright], ids=["mypy", "pyright"])
def said(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Said:
    """What a type checker says of copies in a folder where only the installed packages are seen."""
    folder = tmp_path_factory.mktemp("examples") / request.param.__name__
    folder.mkdir()
    for name in EXAMPLES:
        shutil.copy(HERE / name, folder)
    found: Said = request.param(folder)
    return found


@pytest.mark.timeout(300)
def test_right_uses_are_accepted(said: Said) -> None:
    """And the types that are said of them hold."""
    assert said["right.py"] == {}


@pytest.mark.timeout(300)
def test_wrong_uses_are_reported(said: Said) -> None:
    """Each line marked as wrong, and no other."""
    lines = (HERE / "wrong.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}

    assert set(said["wrong.py"]) == wrong
