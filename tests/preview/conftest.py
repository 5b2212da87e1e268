"""Cells run one after another, and what the previews among them did."""

from __future__ import annotations

import gc
import sqlite3
import warnings
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import pytest

from data_engine.engine.preview import clear_preview_cache, last_report


@pytest.fixture(autouse=True, scope="module")
def no_leftovers() -> Iterator[None]:
    """A step that is refused closes nothing: what it left open is collected here, and not blamed on a test of another file."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Cells:
    """The names of a kernel: `run` is a cell, `preview` one that looks at a result."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}

    def run(self, text: str) -> Cells:
        exec(compile(dedent(text), "<cell>", "exec"), self.names)
        return self

    def preview(self, **options: Any) -> Any:
        shown: list[Any] = []
        self.names["_show"] = lambda: shown.append(self.names["build"]().preview(**options))
        exec("_show()", self.names)
        del self.names["_show"]
        return shown[0]

    def check(self, **options: Any) -> Any:
        """The value of a preview, which must be what a run of every step gives."""
        value = self.preview(**options)
        made = reasons()
        assert same(value, self.preview(fresh=True, **options)), made
        return value


def same(one: Any, other: Any) -> bool:
    return bool(one.equals(other)) if hasattr(one, "equals") else type(one) is type(other) and bool(one == other)


def reasons() -> dict[str, str | None]:
    """Each step of the last preview with why it ran, None when it was reused."""
    report = last_report()
    assert report is not None
    return {step.name: step.why if step.ran else None for step in report.steps}


def ran() -> list[str]:
    """The names of the steps that ran in the last preview."""
    return [name for name, why in reasons().items() if why is not None]


@pytest.fixture
def cells() -> Iterator[Cells]:
    made = Cells()
    yield made
    for value in made.names.values():
        if isinstance(value, sqlite3.Connection):
            value.close()


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    clear_preview_cache()
    yield
    clear_preview_cache()
