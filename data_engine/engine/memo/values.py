"""Values of a preview: their content in bytes, which is equal for equal content, and copies that can be kept.

A kept value shares nothing that can change with the value it was copied from. Frames and Arrow tables share their
buffers, which nobody writes to while there are two owners.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import hashlib
import io
import logging
import os
import pathlib
import pickle
import re
import sys
import types
import typing
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from fractions import Fraction
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from data_engine.engine.access.code import constant_bytes, identifiers, is_authored
from data_engine.engine.access.interceptors import is_reader
from data_engine.flow.batch import Batch, FileRef

MAX_PLAIN_BYTES = 50 * 1024 * 1024
"""Beyond this, only frames and Arrow tables are kept: copying anything else would be slower than many steps."""

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, type(...), range})
_TIMES_AND_NUMBERS = frozenset(
    {decimal.Decimal, Fraction, UUID, datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
    | {datetime.timezone, ZoneInfo}
)
_PATHS = {pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath, FileRef}
_SINGLE: frozenset[type] = PLAIN | _TIMES_AND_NUMBERS | _PATHS | {re.Pattern}
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
        if kind in _SINGLE or isinstance(value, enum.Enum):
            self._weigh(sys.getsizeof(value))
            if kind not in _SINGLE:
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
    if kind in _SINGLE:
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
    return {id(item) for item in _each(value) if type(item) not in _SINGLE and not _is_fixed(type(item))}


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


_MAX_VALUE_BYTES = 256 * 1024 * 1024


def digest_of(*items: object) -> bytes:
    """One digest of several texts, digests and mappings of digests."""
    return hashlib.sha256(repr(items).encode("utf-8", "surrogatepass")).digest()


class ContentTracer:
    """Follow a value to everything it holds; `reference` says what stands for functions, classes and modules in it.

    `parts` name everything that was met, each with a digest; `unseen` is the first thing whose content is unknown.
    """

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self.unseen: str | None = None
        self.literals: set[str] = set()
        self.texts = QueryTexts()
        self.alive: list[object] = []  # what is known by its identity must stay where it is
        self._open: dict[int, int] = {}
        self._digests: dict[int, bytes] = {}
        self._cycles = 0

    def mark_unseen(self, reason: str) -> None:
        """Note that something cannot be seen."""
        if self.unseen is None:
            self.unseen = reason

    def reference(self, target: Any, name: str) -> str:
        """The text for a function, class or module where it is named; "" for any other value."""
        raise NotImplementedError

    def named(self, value: Any, name: str) -> str:
        """The label of a value that has a name of its own, under which a change of it is reported."""
        reference = self.reference(value, name)
        if reference:
            return reference
        label = f"constant {name}"
        digest = self.value(value, name)
        if self.parts.setdefault(label, digest) != digest:
            label = f"constant {name} {digest.hex()[:8]}"
            self.parts[label] = digest
        return label

    def value(self, value: Any, name: str) -> bytes:
        """The content of `value` in bytes; equal bytes mean equal content."""
        kind = type(value)
        if kind in PLAIN:
            if kind is str:
                self.literals.add(value)
                if len(value) < 100_000:
                    self.texts.add(value)
            return _short(constant_bytes(value))
        if is_reader(value):
            self.mark_unseen(f"{name} is held where it cannot be watched")
            return b"reader"
        reference = self.reference(value, name)
        if reference:
            return _short(b"ref:" + reference.encode("utf-8", "surrogatepass"))
        if id(value) in self._open:
            self._cycles += 1
            return b"again:%d" % self._open[id(value)]
        digest = self._digests.get(id(value))
        if digest is not None:
            return digest
        self._open[id(value)] = len(self._open)
        self.alive.append(value)
        cycles = self._cycles
        try:
            if len(self._open) > 60:
                self.mark_unseen(f"{name} is nested too deeply")
                return b""
            content = _short(self._content(value, kind, name))
        finally:
            del self._open[id(value)]
        if self._cycles == cycles:
            self._digests[id(value)] = content
        if not self._open:
            self.note_content(value, content)
        return content

    def note_content(self, value: object, content: bytes) -> None:
        """Note the content of a value that no other value holds."""

    def _content(self, value: Any, kind: type, name: str) -> bytes:
        title = f"{kind.__module__}.{kind.__qualname__}:".encode()
        content = self._standard_content(value, kind, name)
        if content is None and is_authored(kind.__module__):
            content = self._instance(value, kind, name)
        elif content is None:
            content = _library_content(value, kind, kind.__module__.partition(".")[0])
        if content is None:
            self.mark_unseen(f"{name} is a {kind.__name__}, whose state cannot be compared")
        return title + (content or b"")

    def _standard_content(self, value: Any, kind: type, name: str) -> bytes | None:
        """The content of a value of Python's own types or ours; None for another's."""
        if isinstance(value, (pathlib.PurePath, FileRef)):
            self.literals.add(os.fspath(value))
            return os.fsencode(os.fspath(value))
        if isinstance(value, enum.Enum):
            return self.reference(kind, kind.__name__).encode() + str(value.name).encode()
        if kind in _TIMES_AND_NUMBERS:
            zone = getattr(value, "tzinfo", None)
            return repr(value).encode() + (b"" if zone is None else self.value(zone, name))
        if kind in (list, tuple, set, frozenset, deque):
            return self._items(value, kind, name)
        if kind is types.MappingProxyType or (isinstance(value, dict) and not is_authored(kind.__module__)):
            factory = getattr(value, "default_factory", None)
            return self._mapping(value, name) + (b"" if factory is None else self.value(factory, name))
        if kind is Batch:
            return self._items(value.items, tuple, name)
        return _single_content(value, kind)

    def _items(self, value: Iterable[Any], kind: type, name: str) -> bytes:
        items = list(value)
        if len(items) > 1000 and PLAIN.issuperset(map(type, items)):
            parts = [constant_bytes(item) for item in items]
        else:
            parts = [self.value(item, name) for item in items]
        return b",".join(b"%d:" % len(part) + part for part in (sorted(parts) if kind in (set, frozenset) else parts))

    def _mapping(self, value: Mapping[Any, Any], name: str) -> bytes:
        return self._items([piece for pair in value.items() for piece in pair], tuple, name)

    def _instance(self, value: Any, kind: type, name: str) -> bytes:
        pieces: list[bytes] = [self.reference(kind, kind.__name__).encode()]
        state = getattr(value, "__dict__", None)
        if isinstance(state, dict):
            pieces.append(self._mapping(state, name))
        for base in kind.__mro__:
            slots = vars(base).get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if slot not in ("__dict__", "__weakref__"):
                    pieces.append(self.value(getattr(value, slot, None), name))
            if (
                base.__module__ != "builtins"
                and not is_authored(base.__module__)
                and not is_dataclass(base)
                and base.__module__ not in ("abc", "typing", "enum")
            ):
                self.mark_unseen(f"{name} is a {kind.__name__}, whose state cannot be compared")
        if isinstance(value, (list, tuple, set, frozenset)):
            pieces.append(self._items(value, list, name))
        elif isinstance(value, dict):
            pieces.append(self._mapping(value, name))
        elif isinstance(value, (str, bytes, int, float)):
            base = next(builtin for builtin in (str, bytes, int, float) if isinstance(value, builtin))
            pieces.append(constant_bytes(base(value)))  # type: ignore[arg-type]
        elif isinstance(value, BaseException):
            pieces.append(self.value(value.args, name))
        return b",".join(b"%d:" % len(part) + part for part in pieces)


def _single_content(value: Any, kind: type) -> bytes | None:
    """The content of a value that holds no others."""
    if kind is bytearray:
        return bytes(value)
    if kind is re.Pattern:
        return constant_bytes((value.pattern, value.flags))
    if kind is slice:
        return constant_bytes((repr(value.start), repr(value.stop), repr(value.step)))
    if isinstance(value, (logging.Logger, types.GenericAlias, types.UnionType, typing.TypeVar)):
        return repr(value).encode()
    if kind.__module__ in ("typing", "_typing") or kind.__name__ in ("_HAS_DEFAULT_FACTORY_CLASS", "_MISSING_TYPE"):
        return repr(value).encode()
    if isinstance(value, io.TextIOBase) and value in (sys.stdout, sys.stderr):
        return b""
    return None


def _library_content(value: Any, kind: type, library: str) -> bytes | None:
    """The content of a library's value, None when unknown."""
    with suppress(Exception):  # of another library: content that cannot be read is unknown
        if library == "polars":
            return _polars_content(value, kind)
        if library == "pyarrow" and kind.__name__ in ("Table", "RecordBatch"):
            if value.nbytes > _MAX_VALUE_BYTES:
                return None
            import pyarrow.ipc

            sink = io.BytesIO()
            with pyarrow.ipc.new_stream(sink, value.schema) as writer:
                writer.write(value)
            return hashlib.sha256(sink.getbuffer()).digest()
        if library == "pyarrow" and kind.__name__ in ("Schema", "Field"):
            return f"{value.to_string()} {value.metadata!r}".encode()
        if library == "pyarrow" and kind.__name__.endswith(("DataType", "Type")):
            return repr(value).encode()
        if library == "numpy" and hasattr(value, "dtype"):
            if value.dtype.hasobject or value.nbytes > _MAX_VALUE_BYTES or kind.__name__ == "memmap":
                return None
            return hashlib.sha256(repr((value.dtype, value.shape)).encode() + value.tobytes()).digest()
        if library == "numpy" and isinstance(value, sys.modules["numpy"].dtype):
            return repr(value).encode()
        if library == "pandas" and kind.__name__ in ("DataFrame", "Series", "Index", "Timestamp", "Timedelta"):
            return hashlib.sha256(pickle.dumps(value, 5)).digest()
    return None


def _polars_content(value: Any, kind: type) -> bytes | None:
    name = kind.__name__
    if name in ("DataFrame", "Series"):
        frame = value if name == "DataFrame" else value.to_frame()
        if frame.estimated_size() > _MAX_VALUE_BYTES or "Object" in repr(frame.dtypes):
            return None
        sink = io.BytesIO()
        frame.write_ipc_stream(sink)
        return hashlib.sha256(repr(frame.schema).encode() + sink.getbuffer()).digest()
    if name == "Expr":
        data = bytes(value.meta.serialize())
        return None if b"AnonymousFunction" in data or b"PLPYFN" in data else hashlib.sha256(data).digest()
    polars: Any = sys.modules["polars"]
    if isinstance(value, polars.DataType):
        return repr(value).encode()
    return None


def _short(data: bytes) -> bytes:
    return data if len(data) <= 64 else hashlib.sha256(data).digest()


_AT_NAME = re.compile(r"@([^\W\d]\w*)")
_VOLATILE = re.compile(
    r"\b(random|uuid|gen_random_uuid|uuidv4|uuidv7|now|today|get_current_time(stamp)?|getenv|getvariable)\s*\(\s*\)"
    r"|\brandomblob\s*\("
    r"|\b(current_(date|time|timestamp|localtime|localtimestamp)|localtimestamp)\b"
    r"|\b(date|datetime|time|julianday|unixepoch|strftime)\s*\([^)]*'now'",
    re.IGNORECASE,
)
_ATTACH = re.compile(r"\battach\s+(database\s+)?['\"?:@$]", re.IGNORECASE)


class QueryTexts:
    """The names and calls in the texts of some code, read as queries."""

    def __init__(self) -> None:
        self.words: set[str] = set()  # names of frames, perhaps
        self.variables: set[str] = set()  # names after `@`, of any value
        self.volatile: set[str] = set()  # calls that give something else each time
        self.attaches = False  # a database is opened by SQL

    def add_all(self, other: QueryTexts) -> None:
        """Add the texts of others."""
        self.words |= other.words
        self.variables |= other.variables
        self.volatile |= other.volatile
        self.attaches = self.attaches or other.attaches

    def add(self, text: str) -> None:
        """Add a text, which may be a query."""
        self.words |= identifiers(text)
        if "@" in text:
            self.variables |= set(_AT_NAME.findall(text))
        if (call := _VOLATILE.search(text)) is not None:
            self.volatile.add(call[0])
        if _ATTACH.search(text) is not None:
            self.attaches = True
