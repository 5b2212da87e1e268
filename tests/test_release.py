"""What is released: the sdist holds all, the wheel what runs, and the demo runs from it in a fresh environment."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import release

DEPENDENCIES = [
    "anywidget",
    "duckdb",
    "fastexcel",
    "ipykernel",
    "ipywidgets",
    "jupyterlab",
    "polars",
    "pyarrow",
    "rich",
    "tornado",
    "traitlets",
]
NEEDED = {
    "data_engine/py.typed",
    "data_engine/docs/built/index.html",
    "data_engine/docs/built/searchindex.js",
    "data_engine/docs/built/reference/python.html",
    "data_engine/demo/data/airlines.csv",
    "jupyter_extension/py.typed",
    "jupyter_extension/static/panel.css",
    "jupyter_extension/static/panel.js",
}


WITHOUT_DEPENDENCIES = f"""
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {DEPENDENCIES!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refused())
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return release.build(tmp_path_factory.mktemp("dist"))


def test_each_python_that_the_forge_tests_is_named_as_supported() -> None:
    """What a package index shows of it, and what `requires-python` begins with."""
    workflow = (release.ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (matrix,) = re.findall(r"^ +python: \[(.+)\]$", workflow, re.MULTILINE)
    project = tomllib.loads((release.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [found[1] for one in project["classifiers"] if (found := re.search(r":: (3\.\d+)$", one))]

    assert named == matrix.replace('"', "").split(", ")
    assert project["requires-python"] == f">={named[0]}"


def test_what_makes_the_documentation_still_imports_what_an_isolated_build_installed() -> None:
    """pip names that by PYTHONPATH; the checkout is added and takes no place."""
    spec = importlib.util.spec_from_file_location("backend", release.ROOT / ".ci" / "backend.py")
    assert spec is not None
    assert spec.loader is not None
    backend = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(backend)

    given = {"PYTHONPATH": "isolated", "PATH": "programs"}
    assert backend.importing("checkout", given) == {**given, "PYTHONPATH": f"checkout{os.pathsep}isolated"}
    assert backend.importing("checkout", {}) == {"PYTHONPATH": "checkout"}


def test_the_documentation_is_made_without_what_an_isolated_build_has_not(tmp_path: Path) -> None:
    """It has the extra `docs`, and none of the dependencies."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_DEPENDENCIES, encoding="utf-8")
    seen = os.pathsep.join((str(release.ROOT), str(tmp_path)))
    command = [sys.executable, "-m", "data_engine.docs", str(tmp_path / "site")]
    made = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": seen}, capture_output=True, text=True, check=False
    )

    assert made.returncode == 0, made.stderr
    assert (tmp_path / "site" / "index.html").is_file()


@pytest.mark.timeout(300)
def test_the_sdist_holds_every_file_of_the_project(built: tuple[Path, Path]) -> None:
    """Whoever gets it can read, test and build all of it."""
    assert release.left_out(built[0]) == set()


def test_the_wheel_holds_what_runs_and_nothing_else(built: tuple[Path, Path]) -> None:
    """Also what is no Python; and neither tests, nor what checks the front end."""
    names = release.files_of(built[1])

    assert names >= NEEDED
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"data_engine", "jupyter_extension"}


@pytest.mark.timeout(300)
def test_the_demo_runs_from_the_wheel_in_a_fresh_environment(built: tuple[Path, Path], tmp_path: Path) -> None:
    """The dependencies are those of this environment; the package is not."""
    programs = release.install(built[1], tmp_path / "environment")

    release.check(programs, tmp_path)
