"""The content of a value in bytes: equal bytes mean equal content, whatever the value's identity."""

from __future__ import annotations

import datetime
import decimal
import enum
import hashlib
import io
import logging
import os
import pickle
import re
import sys
import types
import typing
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from data_engine.engine.access.bytecode import constant_bytes, identifiers
from data_engine.engine.access.interceptors import is_reader
from data_engine.engine.access.libraries import is_authored
from data_engine.engine.memo.value_copy import PLAIN
from data_engine.flow.batch import Batch, FileRef

_MAX_VALUE_BYTES = 256 * 1024 * 1024
_TIMES_AND_NUMBERS = frozenset(
    {decimal.Decimal, Fraction, UUID, datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
    | {datetime.timezone, ZoneInfo}
)


def digest_of(*items: object) -> bytes:
    """One digest of several texts, digests and mappings of digests."""
    return hashlib.sha256(repr(items).encode("utf-8", "surrogatepass")).digest()


class ContentTracer:
    """Follows a value to everything it holds. What stands for functions, classes and modules in it is `reference`'s to say.

    `parts` name everything that was met, each with a digest; `unseen` is the first thing whose content nobody can tell.
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
        """What stands for a function, class or module where it is named; "" for any other value."""
        raise NotImplementedError

    def named(self, value: Any, name: str) -> str:
        """A value that has a name of its own, so that a change of it can be told by that name."""
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
        known = self._digests.get(id(value))
        if known is not None:
            return known
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
        if isinstance(value, (PurePath, FileRef)):
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
            base = next(one for one in (str, bytes, int, float) if isinstance(value, one))
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
    """The content of a library's value, None when it cannot be told."""
    with suppress(Exception):
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
    """What the texts of some code would mean as queries."""

    def __init__(self) -> None:
        self.words: set[str] = set()  # names of frames, perhaps
        self.asked: set[str] = set()  # names asked for with `@name`, of any value
        self.volatile: set[str] = set()  # calls that give something else each time
        self.attaches = False  # a database is opened by SQL

    def add_all(self, other: QueryTexts) -> None:
        """Add the texts of others."""
        self.words |= other.words
        self.asked |= other.asked
        self.volatile |= other.volatile
        self.attaches = self.attaches or other.attaches

    def add(self, text: str) -> None:
        """Add a text, which may be a query."""
        self.words |= identifiers(text)
        if "@" in text:
            self.asked |= set(_AT_NAME.findall(text))
        if (found := _VOLATILE.search(text)) is not None:
            self.volatile.add(found[0])
        if _ATTACH.search(text) is not None:
            self.attaches = True
