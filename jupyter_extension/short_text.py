"""Any value in a few words: its own text when that is short and costs nothing, else its type and shape."""

from __future__ import annotations

import reprlib
from os import PathLike, fspath
from typing import Any

from data_engine.counted import counted
from data_engine.cut import beginning
from data_engine.flow.batch import Batch

_LIBRARIES = frozenset({"polars", "duckdb", "pyarrow", "pandas", "numpy", "_duckdb"})
"""The text of their values is long, or even runs a query: they are told by type and shape."""


class _Short(reprlib.Repr):
    def repr_instance(self, x: Any, level: int) -> str:
        return _of_object(x)

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x) if len(x) <= self.maxstring else f"{type(x).__name__} of {len(x):,}"

    repr_bytearray = repr_bytes


_ENOUGH = 1_000
"""Characters of a text that are looked at: no more can be among the 80."""

_short = _Short()
_short.maxstring = _short.maxother = 60


def short_text(value: Any) -> str:
    """`value` in at most 80 letters; never raises, whatever the value's own `repr` does.

    Example:
        >>> short_text([1, 2]), short_text(list(range(1000))), short_text(Batch((1, 2, 3)))
        ('[1, 2]', '[0, 1, 2, 3, 4, 5, ...]', 'Batch of 3')
    """
    try:
        text = _of_object(value) if isinstance(value, (Batch, PathLike)) else _short.repr(value)
    except Exception:  # a class that is called list and is none
        text = _of_object(value)
    text = " ".join(text[:_ENOUGH].split())
    return beginning(text, 80)


def _of_object(value: Any) -> str:
    kind = type(value)
    name = kind.__qualname__
    try:
        if kind.__module__.partition(".")[0] in _LIBRARIES:
            return _of_library(name, value)
        if isinstance(value, Batch):
            return f"Batch of {len(value):,}"
        if isinstance(value, PathLike):
            return str(fspath(value))
        return repr(value)
    except Exception:  # a broken repr is the value's, not ours
        return f"<{name}>"


def _of_library(name: str, value: Any) -> str:
    shape = getattr(value, "shape", None) if name not in ("LazyFrame", "DuckDBPyRelation") else None
    if isinstance(shape, tuple) and len(shape) == 2:
        return f"{name}, {counted(shape[0], 'row')} × {counted(shape[1], 'column')}"
    if isinstance(shape, tuple) and len(shape) == 1:
        return f"{name}, {counted(shape[0], 'value')}"
    is_told = name in ("LazyFrame", "DuckDBPyRelation") or (isinstance(shape, tuple) and len(shape) > 0)
    return name if is_told else repr(value)
