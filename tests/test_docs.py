"""Every example in a docstring runs, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import data_engine
from data_engine import helpers
from data_engine.flow.context import WorkspaceConfigContext
from data_engine.flow.debug import FlowDebugContext
from data_engine.flow.locations import MirrorContext, SourceContext
from tests.conftest import forget

OF_OTHER_SYSTEMS = ("_posix",) if sys.platform == "win32" else ("_windows", "_win32")

OF_POSIX_PATHS = (
    "engine.access.guards.OwnSources",
    "daemon.worker_process.place_in",
    "nofollow.opened",
    "private.open_file",
    "private.exposures",
    "notebook.catalog.with_unreadable",
)
"""Examples with modes, links or texts of paths that Windows has not."""


class _Checker(doctest.OutputChecker):
    """Takes paths as this system spells them for the ones in an example."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if sys.platform == "win32":
            want, got = (re.sub(r"[\\/]+", "/", re.sub(r"\b[A-Z]:(?=[\\/])", "", text)) for text in (want, got))
            got = got.replace("WindowsPath", "PosixPath")
        return super().check_output(want, got, optionflags)


def module_names() -> list[str]:
    """Every module of the package; `__main__` would start the command line."""
    found = pkgutil.walk_packages(data_engine.__path__, "data_engine.", onerror=lambda name: None)
    return ["data_engine", *(info.name for info in found if not info.name.endswith(("__main__", *OF_OTHER_SYSTEMS)))]


def examples_of(name: str) -> list[doctest.DocTest]:
    """The doctests of every object of a module, which is imported."""
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), name)
    return [one for one in found if one.examples]


@pytest.mark.parametrize("module", module_names())
def test_the_examples_of_a_module_give_what_they_show(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by people as the truth about the name above them; each runs in an empty folder, on a machine of its own."""
    report: list[str] = []
    for number, example in enumerate(examples_of(module)):
        if sys.platform == "win32" and example.name.endswith(OF_POSIX_PATHS):
            continue  # it shows modes, links or paths of POSIX
        own = tmp_path / f"example{number}"
        (own / "here").mkdir(parents=True)
        monkeypatch.chdir(own / "here")
        monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(own / "state"))
        monkeypatch.setattr(tempfile, "tempdir", str(own))  # what it leaves there goes with the tests
        doctest.DocTestRunner(checker=_Checker(), verbose=False).run(example, out=report.append)
        assert list(Path.cwd().iterdir()) == [], example.name
        forget()

    assert "".join(report) == ""


def test_there_are_examples() -> None:
    """The collector finds modules, functions, classes and methods; an empty list would pass every test above."""
    modules = [f"data_engine.{name}" for name in ("duration", "errors", "flow.flow")]
    assert set(modules) <= set(module_names())
    names = {one.name for module in modules for one in examples_of(module)}

    assert {
        "data_engine.duration.parse_duration",
        "data_engine.errors.FlowValidationError",
        "data_engine.flow.flow.Flow.watch",
    } <= names


@pytest.mark.parametrize("name", data_engine.__all__)
def test_a_public_name_says_what_it_is_with_an_example(name: str) -> None:
    """A class may show it at one of its methods."""
    value = getattr(data_engine, name)
    texts = [inspect.getdoc(value) or ""]
    if inspect.isclass(value):
        texts += [inspect.getdoc(member) or "" for key, member in vars(value).items() if not key.startswith("_")]

    assert texts[0].strip()
    if inspect.isclass(value):
        assert texts[0] != inspect.getdoc(value.__mro__[1]), "only inherited"
    assert any(">>>" in text for text in texts)


HANDED_OUT = (SourceContext, MirrorContext, WorkspaceConfigContext, FlowDebugContext, helpers.TableSchema)
"""What authors are given without importing its class, and a class of the helpers."""

PUBLIC = {value.__name__: value for name in data_engine.__all__ if inspect.isclass(value := getattr(data_engine, name))}
PUBLIC |= {kind.__name__: kind for kind in HANDED_OUT}


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Its public methods and properties, also those of our classes that it is made of."""
    for base in kind.__mro__:
        if base.__module__.startswith("data_engine"):
            yield from ((name, value) for name, value in vars(base).items() if not name.startswith("_"))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_method_says_what_it_gives(name: str) -> None:
    """Methods and properties alike; `help()` is read in a notebook."""
    undocumented = [
        key
        for key, member in members(PUBLIC[name])
        if (callable(member) or isinstance(member, (property, classmethod, staticmethod)))
        if not (inspect.getdoc(member) or "").strip()
    ]

    assert undocumented == []


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_method_shows_an_example(name: str) -> None:
    """Properties are in that of their class."""
    without = [
        key
        for key, member in members(PUBLIC[name])
        if (inspect.isfunction(member) or isinstance(member, (classmethod, staticmethod)))
        if ">>>" not in (inspect.getdoc(member) or "")
    ]

    assert without == []


@pytest.mark.parametrize("name", helpers.__all__)
def test_every_helper_says_what_it_is_what_it_raises_and_shows_an_example(name: str) -> None:
    """As `frame.de` shows it too."""
    told = inspect.getdoc(getattr(helpers, name)) or ""

    assert "Raises:" in told
    assert ">>>" in told
