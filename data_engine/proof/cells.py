"""Which cell changed what: after each cell the values of all names are looked at, quickly, and those that changed are noted.

A value is looked at as far as a bound: of huge ones the identity, the size and some samples. What a slice reaches is compared
whole when a comparison is asked for; this only says after which cell a name had changed.
"""

from __future__ import annotations

import io
import operator
import re
import sys
import time
import types
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

_PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None)})
_MOST_ITEMS = 20
_DEEPEST = 3
_SAMPLES = 32
_MOST_COLUMNS = 30
_MOST_CELLS = 2000
_OF_IPYTHON = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})
_MOST_S = 0.005
"""A look ends then, after the names that stand in the cell: what it has not reached counts as it was."""
_WORD = re.compile(r"\w+")
_RANDOM = ("random", "numpy.random")


class CellChanges:
    """The names that each cell changed, by the cell's text, in the order in which cells ran."""

    def __init__(self) -> None:
        self._marks: dict[str, object] = {}
        self._changed: dict[str, dict[str, None]] = {}

    def look(self, namespace: Mapping[str, Any], cell: str) -> None:
        """Note what changed since the last look; `cell` is the text that ran."""
        until_s = time.perf_counter() + _MOST_S
        words = set(_WORD.findall(cell))
        marks: dict[str, object] = {}
        for name, value in sorted(namespace.items(), key=lambda item: item[0] not in words):
            if name.startswith("_") or name in _OF_IPYTHON or isinstance(value, types.ModuleType):
                continue
            is_late = name not in words and name in self._marks and time.perf_counter() > until_s
            marks[name] = self._marks[name] if is_late else _mark(value)
        marks |= {name: state for name in _RANDOM if (state := _stream(name)) is not None}
        cell = cell.strip()
        for name, mark in marks.items():
            if self._marks.get(name) != mark and len(self._changed) < _MOST_CELLS:
                self._changed.setdefault(name, {})[cell] = None
        self._marks = marks

    def cells_that_changed(self, name: str) -> list[str]:
        """The texts of the cells after which a name had changed."""
        return list(self._changed.get(name, ()))

    def cells_behind(
        self, name: str, namespace: Mapping[str, Any], bound: Collection[str], left: Mapping[str, Collection[str]]
    ) -> list[str]:
        """Of the texts of left-out cells those after which what a name stands for had changed, under any name; where there are none,
        those after which a name that the slice binds, or a random stream, had. Each has the names in what is taken of it: a cell that
        makes the value is none of the first, and where there is only that, all are named."""
        value = namespace.get(name)
        same = [
            name,
            *(other for other, found in list(namespace.items()) if found is value and type(value) not in _PLAIN),
        ]
        own = [text for one in same for text in self.cells_that_changed(one) if text in left]
        near = [text for one in (*bound, *_RANDOM) for text in self.cells_that_changed(one) if text in left]
        later = [text for text in own if name not in left[text]]
        return list(dict.fromkeys(later or [*own, *near]))


CHANGES = CellChanges()
"""What the cells of this kernel changed."""


def after_cell(namespace: Mapping[str, Any], cell: str) -> None:
    """Look at what a cell of this kernel changed; that never makes a cell fail."""
    with suppress(Exception):
        CHANGES.look(namespace, cell)


def _mark(value: Any) -> object:
    """What stands for a value; of one that cannot be looked at, its identity."""
    try:
        return quick_mark(value)
    except Exception:
        return id(value)


def quick_mark(value: Any, depth: int = 0) -> object:
    """What stands for a value as far as it is looked at; equal as long as nothing of that has changed.

    Example:
        >>> rows = [1, 2]
        >>> before = quick_mark(rows)
        >>> rows.append(3)
        >>> quick_mark(rows) == before
        False
    """
    kind = type(value)
    if kind in _PLAIN:
        return value if kind is not str or len(value) < 200 else (len(value), value[:100])
    if depth > _DEEPEST:
        return id(value)
    own: tuple[object, ...] = (id(value), kind.__name__)
    if isinstance(value, dict):
        keys = list(value)[:_MOST_ITEMS]
        return (*own, len(value), *((_shallow(key), quick_mark(value[key], depth + 1)) for key in keys))
    if isinstance(value, (list, tuple)):
        some = value if len(value) <= _MOST_ITEMS else [*value[: _MOST_ITEMS // 2], *value[-_MOST_ITEMS // 2 :]]
        return (*own, len(value), *(quick_mark(item, depth + 1) for item in some))
    if isinstance(value, (set, frozenset)):
        return (*own, len(value), hash(frozenset(value)) if len(value) <= 1000 else 0)
    if isinstance(value, types.GeneratorType):
        return (*own, value.gi_frame and value.gi_frame.f_lasti, value.gi_frame and value.gi_frame.f_lineno)
    if isinstance(value, io.IOBase):
        return (*own, value.closed or value.tell())
    return (*own, *(_library(value, kind) or _object(value, kind, depth)))


def _shallow(value: Any) -> object:
    return value if type(value) in _PLAIN else id(value)


def _object(value: Any, kind: type, depth: int) -> tuple[object, ...]:
    if kind.__module__ == "random" and hasattr(value, "getstate"):
        return (hash(value.getstate()),)
    if kind.__name__ == "Generator" and hasattr(value, "bit_generator"):
        return (str(value.bit_generator.state),)
    if isinstance(value, types.FunctionType):
        cells = (cell.cell_contents for cell in value.__closure__ or () if cell != types.CellType())
        return tuple(quick_mark(part, depth + 1) for part in (*cells, *(value.__defaults__ or ())))
    if isinstance(value, type):
        parts = [(key, quick_mark(part, depth + 1)) for key, part in vars(value).items() if not key.startswith("__")]
        return tuple(parts) if depth == 0 else ()
    if (state := getattr(value, "__dict__", None)) is not None:
        keys = list(state)[:_MOST_ITEMS]
        return (len(state), *((key, quick_mark(state[key], depth + 1)) for key in keys))
    return (operator.length_hint(value, -1),)


def _library(value: Any, kind: type) -> tuple[object, ...] | None:
    """Frames and arrays: their shape, and of the values some."""
    library = kind.__module__.partition(".")[0]
    if library == "numpy" and kind.__name__ == "ndarray":
        return _samples(value)
    if library == "pandas" and kind.__name__ in ("DataFrame", "Series"):
        some = value.iloc[:: max(1, len(value) // _SAMPLES)]
        if kind.__name__ == "Series":
            return (value.shape, value.name, *_samples(some.to_numpy()))
        names = repr(value.columns[:_MOST_COLUMNS].tolist())
        return (value.shape, names, *_samples(some.to_numpy()[:, :_MOST_COLUMNS]))
    if library == "polars" and kind.__name__ == "DataFrame":
        return (value.shape, tuple(value.columns))
    return (value.name, len(value)) if library == "polars" and kind.__name__ == "Series" else None


def _samples(array: Any) -> tuple[object, ...]:
    flat = array.reshape(-1)
    some = flat[:: max(1, len(flat) // _SAMPLES)]
    return (
        array.shape,
        str(array.dtype),
        tuple(map(_shallow, some.tolist())) if array.dtype.hasobject else some.tobytes(),
    )


def _stream(name: str) -> object:
    if name == "random":
        return hash(sys.modules["random"].getstate()) if "random" in sys.modules else None
    if "numpy" not in sys.modules:
        return None
    _, keys, place, *rest = sys.modules["numpy"].random.get_state()
    return (keys[:4].tobytes(), place, *rest)
