"""Files that a run writes by SQL, and databases that it makes: watched only for code that says COPY or ATTACH, since queries are called through a frame of ours then."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from data_engine.engine.access.access_log import AccessLog, Namespace
from data_engine.engine.access.bytecode import code_facts
from data_engine.engine.access.interceptors import Interceptors, watched_libraries
from data_engine.engine.access.signatures import Kind
from data_engine.flow.check import Check
from data_engine.flow.flow import Flow
from data_engine.flow.spec import Collect, Map

_COPY = re.compile(r"(^|[;\n])\s*(copy|attach)\s", re.IGNORECASE)
_MOST = 1_000


def says_copy(flow: Flow) -> bool:
    """Whether a text that the steps of the flow reach begins a COPY or an ATTACH statement.

    Example:
        >>> def write(context): return f"COPY (select 1 as a) TO '{context.source.path}'"
        >>> says_copy(Flow("Demo").step(write)), says_copy(Flow("Demo").step(str))
        (True, False)
    """
    called = [step.fn.fn if isinstance(step.fn, Map) else step.fn for step in flow.steps]
    return reaches_copy(one for one in called if not isinstance(one, (Collect, Check)))


def reaches_copy(called: Iterable[Any]) -> bool:
    """As `says_copy`, of functions."""
    todo = list(called)
    seen: set[int] = set()
    while todo and len(seen) < _MOST:
        one = todo.pop()
        if isinstance(one, str) and _COPY.search(one):
            return True
        if id(one) not in seen:
            seen.add(id(one))
            todo += _reached(one)
    return False


def _reached(value: object) -> Iterator[Any]:
    """The texts and functions that a function reaches."""
    if isinstance(value, partial):
        yield value.func
    elif not isinstance(value, FunctionType):
        yield from filter(None, (getattr(value, "__func__", None), vars(type(value)).get("__call__")))
    elif (value.__module__ or "").partition(".")[0] not in watched_libraries():
        facts = code_facts(value.__code__)
        yield from facts.strings
        for cell in value.__closure__ or ():
            try:
                yield _named(cell.cell_contents)
            except ValueError:  # it is not bound yet
                continue
        for chain in facts.globals:
            found = value.__globals__.get(chain[0])
            if isinstance(found, ModuleType) and len(chain) > 1:
                found = vars(found).get(chain[1])
            yield _named(found)


def _named(value: object) -> Any:
    return value if isinstance(value, (str, FunctionType, partial)) else None


class _WritesOnly(AccessLog):
    """A log that lets what is about to be written be seen, and keeps nothing."""

    def read(self, kind: Kind, path: str) -> None:
        """Reads are not looked at."""

    def wrote(self, path: str) -> None:
        """Whoever may refuse it has seen it by now."""

    def mark_unseen(self, reason: str) -> None:
        """It is no matter."""

    def frame(self, space: Namespace, name: str) -> None:
        """It is no matter."""


@contextmanager
def sql_watched() -> Iterator[None]:
    """Inside, the files that this context's queries write are seen before they are written; what a step imports is not replaced any
    more, so DuckDB is imported before."""
    importlib.import_module("duckdb")
    log = _WritesOnly(_no_digest, is_duckdb_pristine=True)
    with Interceptors() as interceptors, interceptors.intercept(log):
        yield


def _no_digest(value: object) -> None:
    """Frames are not looked at."""
