"""What a type checker knows of the public names, as an author's own project sees them: through `py.typed`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PYRIGHT = ROOT / "jupyter_extension" / "node_modules" / "pyright" / "index.js"


def mypy(file: Path) -> dict[int, str]:
    """What mypy says of a file elsewhere than here, by line; only of lines of that file."""
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file",
            "",
            "--output",
            "json",
            "--cache-dir",
            "../mypy_cache",
            file.name,
        ],
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode in (0, 1), found.stdout + found.stderr
    said = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    assert {one["file"] for one in said} <= {file.name}
    return {one["line"]: one["message"] for one in said if one["severity"] == "error"}


def pyright(file: Path) -> dict[int, str]:
    """What pyright says of a file elsewhere than here, by line."""
    node = shutil.which("node")
    if node is None or not PYRIGHT.exists():
        pytest.skip("no pyright: install Node, and run `npm --prefix jupyter_extension install`")
    (file.parent / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    found = subprocess.run(
        [node, PYRIGHT, "--outputjson", "--pythonpath", sys.executable, file.name],
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    said = json.loads(found.stdout)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1: one["message"] for one in said if one["severity"] == "error"}


CHECKERS = [pytest.param(mypy, id="mypy"), pytest.param(pyright, id="pyright")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.fixture
def elsewhere(folder: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one of the examples in a folder where only the installed packages are seen, which are read once for all."""
    mine = folder / tmp_path.name
    mine.mkdir()

    def copy(name: str) -> Path:
        return Path(shutil.copy(HERE / name, mine / name))

    return copy


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", CHECKERS)
def test_right_uses_are_accepted(elsewhere: Callable[[str], Path], checker: Callable[[Path], dict[int, str]]) -> None:
    """And the types that are said of them hold."""
    assert checker(elsewhere("right.py")) == {}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", CHECKERS)
def test_wrong_uses_are_reported(elsewhere: Callable[[str], Path], checker: Callable[[Path], dict[int, str]]) -> None:
    """Each line marked as wrong, and no other."""
    lines = (HERE / "wrong.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}

    assert set(checker(elsewhere("wrong.py"))) == wrong
