"""Values of a preview: copies of them that can be kept, and whether a value is still as its copy.

A kept value shares nothing that can change with the value it was copied from. Frames and Arrow tables share their
buffers, which nobody writes to while there are two owners.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import io
import pathlib
import re
import sys
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import is_dataclass
from fractions import Fraction
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from data_engine.flow.batch import Batch, FileRef

MAX_PLAIN_BYTES = 50 * 1024 * 1024
"""Beyond this, only frames and Arrow tables are kept: copying anything else would be slower than many steps."""

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, type(...), range})
MARSHALLED = PLAIN - {type(...), range}
"""Those that `marshal` can write."""
TIMES_AND_NUMBERS = frozenset(
    {decimal.Decimal, Fraction, UUID, datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
    | {datetime.timezone, ZoneInfo}
)
_PATHS = {pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath, FileRef}
FIXED: frozenset[type] = PLAIN | TIMES_AND_NUMBERS | _PATHS | {re.Pattern}
"""The classes whose values cannot change, and hold no others."""
_CONTAINERS = (list, tuple, dict, set, frozenset, deque, OrderedDict, Batch)
_ARROW = frozenset({"Table", "RecordBatch", "ChunkedArray", "Schema", "DataType", "Field"})
_LAZY = frozenset({"LazyFrame", "Expr", "LazyGroupBy", "DuckDBPyRelation"})


class CannotCopy(Exception):
    """The value has no sound cheap copy; the text says what it is."""


class TooLarge(CannotCopy):
    """Copying the value would be slower than many steps."""


def copy_of(value: Any, *, apart: bool = False, most_bytes: int = MAX_PLAIN_BYTES) -> Copied:
    """A copy that shares nothing changeable with `value`; what is shared inside `value` is shared inside the copy.

    A frame made of a NumPy array changes with it: with `apart`, frames get buffers of their own. What is neither frame nor Arrow
    table takes `most_bytes` at most.

    Raises:
        CannotCopy: a handle, a generator, a lazy frame, an object of another class, or too large.

    Example:
        >>> inner = [1]
        >>> copied = copy_of({"a": inner, "b": inner}).value
        >>> copied, copied["a"] is copied["b"], copied["a"] is inner
        ({'a': [1], 'b': [1]}, True, False)
    """
    work = _Copy(apart=apart or holds_arrays(value), most_bytes=most_bytes)
    copied = work.copy(value)
    return Copied(copied, work.frame_bytes + work.plain_bytes, frozenset(work.classes))


class Copied(NamedTuple):
    """A copy, the bytes it takes, and the author's classes in it, which may be defined anew while it is kept."""

    value: Any
    size_bytes: int
    classes: frozenset[type]


class _Copy:
    def __init__(self, *, apart: bool, most_bytes: int) -> None:
        self.apart, self.most_bytes = apart, most_bytes
        self.frame_bytes = 0
        self.plain_bytes = 0
        self.classes: set[type] = set()
        self._done: dict[int, Any] = {}
        self._depth = 0

    def copy(self, value: Any) -> Any:
        kind = type(value)
        if kind in FIXED or isinstance(value, enum.Enum):
            self._weigh(sys.getsizeof(value))
            if kind not in FIXED:
                self.classes.add(kind)
            return value
        twin = self._done.get(id(value))
        if twin is not None:
            return twin
        self._depth += 1
        if self._depth > 100:
            raise CannotCopy("a value nested too deeply")
        copied = self._container(value, kind) if _is_container(kind) else self._other(value, kind)
        self._depth -= 1
        self._done[id(value)] = copied
        return copied

    def _weigh(self, size_bytes: int) -> None:
        self.plain_bytes += size_bytes
        if self.plain_bytes > self.most_bytes:
            raise TooLarge(f"over {self.most_bytes // 1024**2} MB")

    def _container(self, value: Any, kind: type) -> Any:
        self._weigh(sys.getsizeof(value))
        if kind is list or kind is deque:
            if len(value) > 100 and PLAIN.issuperset(map(type, value)):
                self._weigh(_size_of_many(value))
                return value.copy()
            many: Any = [] if kind is list else deque(maxlen=value.maxlen)
            self._done[id(value)] = many
            many.extend(map(self.copy, value))
            return many
        if kind is dict or kind is OrderedDict:
            mapping = self._done[id(value)] = kind()
            for key, item in value.items():
                mapping[self.copy(key)] = self.copy(item)
            return mapping
        if kind is Batch:
            return Batch(tuple(map(self.copy, value.items)))
        if kind in (tuple, set, frozenset):
            return kind(map(self.copy, value))
        self.classes.add(kind)
        return tuple.__new__(kind, map(self.copy, value))  # a named tuple

    def _other(self, value: Any, kind: type) -> Any:
        library, name = kind.__module__.partition(".")[0], kind.__name__
        if library == "polars" and name in ("DataFrame", "Series") and kind is getattr(sys.modules["polars"], name):
            return self._polars(value)
        if library == "pyarrow" and (name in _ARROW or name.endswith(("Array", "Scalar", "Type"))):
            self.frame_bytes += getattr(value, "nbytes", 64)
            return _own_arrow(value, name) if self.apart else value
        if library == "numpy":
            return self._numpy(value, kind)
        if library == "pandas" and name in ("DataFrame", "Series"):
            return self._pandas(value)
        if kind is bytearray:
            self._weigh(len(value))
            return bytearray(value)
        if is_plain_dataclass(kind):
            self._weigh(sys.getsizeof(value.__dict__))
            self.classes.add(kind)
            twin: Any = object.__new__(kind)
            self._done[id(value)] = twin
            twin.__dict__.update({key: self.copy(item) for key, item in value.__dict__.items()})
            return twin
        raise CannotCopy(name)

    def _polars(self, value: Any) -> Any:
        dtypes = value.dtypes if hasattr(value, "dtypes") else [value.dtype]
        if "Object" in repr(dtypes):
            raise CannotCopy("a frame of Python objects")
        size_bytes = value.estimated_size()
        self.frame_bytes += size_bytes
        return _own_polars(value, size_bytes) if self.apart else value.clone()

    def _numpy(self, value: Any, kind: type) -> Any:
        numpy = sys.modules["numpy"]
        if isinstance(value, (numpy.generic, numpy.dtype)) and not isinstance(value, numpy.void):
            self._weigh(64)
            return value
        if kind is not numpy.ndarray or value.dtype.hasobject:
            raise CannotCopy(kind.__name__)
        self._weigh(value.nbytes)
        return value.copy(order="K")

    def _pandas(self, value: Any) -> Any:
        pandas = sys.modules["pandas"]
        if type(value) not in (pandas.DataFrame, pandas.Series):
            raise CannotCopy("a pandas object of another class")
        if _pandas_bytes(value, deep=False) > self.most_bytes:  # before each of its texts is looked at
            raise TooLarge(f"over {self.most_bytes // 1024**2} MB")
        if not _is_plain_pandas(value, pandas):
            raise CannotCopy("a pandas object of Python objects")
        self._weigh(_pandas_bytes(value, deep=True))
        return value.copy(deep=True)


def is_unchanged(now: Any, before: Any) -> bool:
    """Whether `now`, of which `before` is an earlier copy, is still the same; False when unknown.

    Example:
        >>> rows = [1, {"a": 2}]
        >>> before = copy_of(rows).value
        >>> rows[1]["a"] = 3
        >>> is_unchanged(rows, before)
        False
    """
    if now is before:
        return True
    kind = type(now)
    if kind is not type(before):
        return False
    if kind in FIXED:
        return repr(now) == repr(before) if kind in (float, complex) else bool(now == before)
    if kind in (set, frozenset, bytearray):
        return bool(now == before)
    if _is_container(kind) or is_plain_dataclass(kind):
        pieces, others = _pieces(now), _pieces(before)
        return len(pieces) == len(others) and all(map(is_unchanged, pieces, others))
    library = kind.__module__.partition(".")[0]
    if library == "polars":
        return _same_polars(now, before)
    if library == "pyarrow":
        return bool(now.equals(before))
    if library == "numpy":
        return bool(now.dtype == before.dtype and now.shape == before.shape and now.tobytes() == before.tobytes())
    if library == "pandas":
        return bool(now.equals(before)) and bool(now.index.equals(before.index)) and _labels(now) == _labels(before)
    return False


def mutable_ids(value: Any) -> set[int]:
    """The identities of everything in `value` that could be changed in place, to see whether two values share any."""
    return {id(item) for item in _each(value) if type(item) not in FIXED and not _is_fixed(type(item))}


def is_lazy(value: Any) -> bool:
    """Whether the value has no state of its own, though it is not kept: a lazy frame, an expression, a relation."""
    kind = type(value)
    return kind.__name__ in _LAZY and kind.__module__.partition(".")[0] in ("polars", "duckdb", "_duckdb")


def is_plain_dataclass(kind: type) -> bool:
    """Whether objects of this dataclass are no more than the values in their `__dict__`."""
    if not is_dataclass(kind) or hasattr(kind, "__del__") or kind.__module__.startswith("data_engine."):
        return False
    for base in kind.__mro__[:-1]:
        members = vars(base)
        if not is_dataclass(base) or "__slots__" in members or "__new__" in members or "__getattribute__" in members:
            return False
        if "__setstate__" in members or "__reduce__" in members or "__reduce_ex__" in members or "__copy__" in members:
            return False
    return True


def paths_in(value: Any, limit: int = 100_000) -> list[str]:
    """The files a result names: each Path and FileRef in it, at most `limit`."""
    return list(islice((str(item) for item in _each(value) if isinstance(item, (pathlib.Path, FileRef))), limit))


def holds_arrays(value: Any) -> bool:
    """Whether there is a NumPy array or a pandas object in `value`, whose memory a frame may share."""
    return "numpy" in sys.modules and any(
        type(item).__module__.partition(".")[0] in ("numpy", "pandas") for item in _each(value)
    )


def _each(value: Any) -> Iterator[Any]:
    """`value` and all that it holds, each once, but for plain values."""
    todo, ids = [value], set[int]()
    while todo:
        item = todo.pop()
        if type(item) not in PLAIN and id(item) not in ids:
            ids.add(id(item))
            yield item
            pieces = _pieces(item)
            todo += () if PLAIN.issuperset(map(type, pieces)) else pieces


def _pieces(value: Any) -> tuple[Any, ...]:
    """The items of a container, or the fields of a plain dataclass."""
    kind = type(value)
    if kind is Batch:
        return tuple(value.items)
    if isinstance(value, dict):
        return (*value, *value.values())
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return tuple(value)
    return (*value.__dict__, *value.__dict__.values()) if is_plain_dataclass(kind) else ()


def _is_fixed(kind: type) -> bool:
    """Whether such a container cannot get other items; a tuple of the author's class may have attributes."""
    return kind in (frozenset, Batch) or (_is_container(kind) and issubclass(kind, tuple))


def _is_container(kind: type) -> bool:
    if kind in _CONTAINERS:
        return True
    is_named_tuple = issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple)
    return is_named_tuple and kind.__bases__ == (tuple,) and "__slots__" in vars(kind)


def _same_polars(now: Any, before: Any) -> bool:
    if hasattr(now, "schema"):
        if list(now.schema.items()) != list(before.schema.items()) or now.height != before.height:
            return False
        if now.width == 0:
            return True
    elif now.name != before.name or now.dtype != before.dtype:
        return False
    return bool(now.equals(before))


def _pandas_bytes(value: Any, *, deep: bool) -> int:
    used = value.memory_usage(deep=deep, index=True)
    return int(used if isinstance(used, int) else used.sum())


def _is_plain_pandas(value: Any, pandas: Any) -> bool:
    columns = [value] if isinstance(value, pandas.Series) else [value.iloc[:, at] for at in range(value.shape[1])]
    fine = ("string", "boolean", "integer", "floating", "empty", "date", "datetime", "decimal")
    objects = [column for column in columns if column.dtype == object]
    return not value.attrs and all(pandas.api.types.infer_dtype(column, skipna=True) in fine for column in objects)


def _labels(value: Any) -> Any:
    return list(value.columns) + list(value.dtypes) if hasattr(value, "columns") else [value.name, value.dtype]


def _own_polars(value: Any, size_bytes: int) -> Any:
    if size_bytes > MAX_PLAIN_BYTES:
        raise CannotCopy("a large frame that may share memory with an array")
    polars = sys.modules["polars"]
    frame = value.to_frame() if type(value) is polars.Series else value
    sink = io.BytesIO()
    frame.write_ipc_stream(sink)
    copied = polars.read_ipc_stream(io.BytesIO(sink.getvalue()))
    return copied.to_series() if type(value) is polars.Series else copied


def _own_arrow(value: Any, name: str) -> Any:
    if name in ("Schema", "DataType", "Field") or name.endswith("Type"):
        return value
    if name not in ("Table", "RecordBatch") or value.nbytes > MAX_PLAIN_BYTES:
        raise CannotCopy(f"Arrow {name} that may share memory with an array")
    import pyarrow.ipc

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, value.schema) as writer:
        writer.write(value)
    with pyarrow.ipc.open_stream(sink.getvalue()) as reader:
        return reader.read_all() if name == "Table" else reader.read_next_batch()


def _size_of_many(values: Any) -> int:
    if len(values) <= 1000:
        return sum(map(sys.getsizeof, values))
    step = len(values) // 1000
    sample = [values[at] for at in range(0, len(values), step)] if isinstance(values, list) else list(values)
    return sum(map(sys.getsizeof, sample)) * len(values) // len(sample)
