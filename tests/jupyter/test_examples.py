"""The examples in the extension's docstrings run, as those of the package do."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import jupyter_extension

MODULES = [info.name for info in pkgutil.walk_packages(jupyter_extension.__path__, "jupyter_extension.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_give_what_they_show(name: str) -> None:
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for example in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), name):
        runner.run(example, out=report.append)

    assert "".join(report) == ""
