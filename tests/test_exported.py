"""Public means listed: `__all__` is what people may import, and each name is in the changelog."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import data_engine

ROOT = Path(data_engine.__file__).parent.parent


def test_all_is_sorted_and_each_name_has_one_home() -> None:
    """No name is listed twice, and none is looked up that is not listed."""
    assert data_engine.__all__ == sorted(set(data_engine.__all__))
    assert {*data_engine.__all__, "__version__"} == set(data_engine._HOMES)


def test_nothing_else_is_public() -> None:
    """Besides the names, the package holds its version, IPython's two hooks and, once loaded, its own modules."""
    hooks = {"load_ipython_extension", "unload_ipython_extension"}
    modules = {path.stem for path in Path(data_engine.__file__).parent.iterdir()}
    public = {name for name in vars(data_engine) if not name.startswith("_")}

    assert public - set(data_engine.__all__) - modules - hooks - {"annotations", "TYPE_CHECKING"} == set()


@pytest.mark.parametrize("name", data_engine.__all__)
def test_every_name_can_be_imported(name: str) -> None:
    """And is the same object at its home and at every look."""
    value = getattr(data_engine, name)

    assert value is getattr(data_engine, name)
    assert value is getattr(sys.modules[data_engine._HOMES[name]], name)
    assert value.__name__ == name


def test_every_name_is_listed_by_dir() -> None:
    """Completion in a notebook shows them before they are used."""
    assert set(data_engine.__all__) <= set(dir(data_engine))


@pytest.mark.parametrize("name", ["flow_context", "flwo", "__wrapped__", ""])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    """As of any module; the message names it."""
    with pytest.raises(AttributeError, match=re.escape(repr(name))):
        getattr(data_engine, name)


def test_an_unknown_import_is_an_import_error() -> None:
    """`from data_engine import typo`."""
    with pytest.raises(ImportError):
        exec("from data_engine import typo", {})


def test_star_import_gives_exactly_all() -> None:
    """In a fresh interpreter."""
    code = "before = set(globals())\nfrom data_engine import *\nprint(sorted(set(globals()) - before - {'before'}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == repr(data_engine.__all__)


def test_every_name_is_in_the_changelog() -> None:
    """As `data_engine.<name>`, the full public name."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`data_engine\.(\w+)`", text))

    assert set(data_engine.__all__) - told == set()


def test_every_helper_is_in_the_changelog() -> None:
    """As `data_engine.helpers.<name>`; and nothing is told there that is none."""
    from data_engine import helpers

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert set(re.findall(r"`data_engine\.helpers\.(\w+)`", text)) == set(helpers.__all__)
