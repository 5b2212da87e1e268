"""The fingerprint of what `build` reaches in a namespace: equal bytes in two processes mean equal content.

Code is followed as for the keys of previews; here the values decide, and not whether a preview could watch them. Addresses,
the order of sets, the modules that the author's classes are in and the names of scratch variables do not count.
"""

from __future__ import annotations

import io
import reprlib
import sys
import types
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import field
from enum import Enum
from pathlib import PurePath
from typing import Any

from data_engine.engine.access.code import Chain, code_facts, is_authored
from data_engine.engine.access.databases import is_frame
from data_engine.engine.memo.fingerprint import CodeTracer
from data_engine.engine.memo.values import PLAIN, QueryTexts, digest_of
from data_engine.proof import data
from data_engine.record import frozen
from data_engine.secret import masked

_MOST_OBJECTS = 200_000
"""More than this is not followed: it is told as doubt."""
_MOST_SHOWN = 60
_ROOTS = ("build", "DESCRIPTION")
_PLAIN_BASES: tuple[Any, ...] = (str, bytes, int, float)
STREAM = "stream "
"""How the names of parts begin that stand for a process-wide stream of random numbers."""
_DEFAULT_DATABASE = frozenset({"sql", "query", "execute", "table", "view"})


@frozen
class Fingerprint:
    """The content that `build` reaches: `parts` by name, each with a digest; `code` are the digests of functions' own code, `doubts` what
    cannot be compared, by name, and why."""

    parts: Mapping[str, bytes] = field(default_factory=dict)
    code: Mapping[str, bytes] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)


@frozen
class Detail:
    """A value in short, and digests of what it holds by key, column or attribute, and of what that holds, each in short."""

    shown: str = ""
    inner: Mapping[tuple[str, ...], tuple[bytes, str]] = field(default_factory=dict)


def trace(namespace: Mapping[str, Any], names: Collection[str]) -> Tracer:
    """Trace what `build` and `DESCRIPTION` reach in a namespace; `names` are those that the slice binds.

    Example:
        >>> space = {"__name__": "__main__", "RATE": 2}
        >>> exec("def build(): return RATE", space)
        >>> tracer = trace(space, {"RATE", "build"})
        >>> sorted(tracer.fingerprint().parts), tracer.details(["RATE"])["RATE"].shown
        (['RATE', 'build()'], '2')
    """
    tracer = Tracer(frozenset(names))
    for root in _ROOTS:
        if root in namespace:
            tracer.named(namespace[root], root)
    tracer.follow_texts()
    return tracer


class Tracer(CodeTracer):
    """Follows code and values to all their content."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__()
        self.names = frozenset(names)
        self.doubts: dict[str, str] = {}
        self.code: dict[str, bytes] = {}
        self._values: dict[str, Any] = {}
        self._owner = ""  # the named value that is followed now
        self._objects = 0

    def fingerprint(self) -> Fingerprint:
        """The fingerprint of what was followed."""
        parts = {label: digest for label, digest in self.parts.items() if not label.startswith("library ")}
        return Fingerprint(parts, self.code, self.doubts)

    def details(self, labels: Iterable[str]) -> dict[str, Detail]:
        """The values of these names in short; of a name that is none, or a function's, nothing."""
        values = {label: self._values[label] for label in labels if label in self._values}
        return {label: Detail(show(value), self._inner(value)) for label, value in values.items()}

    # what previews mind and a comparison does not

    def mark_unseen(self, reason: str) -> None:
        """Clocks, networks and readers do not change what a value is now."""

    def library(self, dotted: str) -> str:
        """A thing of a library, by its name: both sides have the same one."""
        return dotted

    def doubt(self, why: str) -> None:
        """Note that what is followed now cannot be compared."""
        self.doubts.setdefault(self._owner, why)

    # names

    def reference(self, target: Any, name: str) -> str:
        if type(target).__name__ == "_lru_cache_wrapper":
            if target.cache_info().currsize:
                self.doubts.setdefault(name, "it remembers results (functools.cache)")
            return f"cache of {self.reference(target.__wrapped__, name)}"
        if isinstance(target, (types.BuiltinMethodType, types.MethodType)) and (module := data.stream_of(target)):
            self._note_stream(module, target.__name__)
        return super().reference(target, name)

    def named(self, value: Any, name: str) -> str:
        """A value with a name of its own: what differs is told by that name."""
        outer, self._owner = self._owner, self._owner or name
        try:
            reference = self.reference(value, name)
            if reference:
                return reference
            self._owner = name
            label, number = name, 2
            digest = self.value(value, name)
            while self.parts.get(label, digest) != digest:
                label, number = f"{name}#{number}", number + 1
            self.parts[label] = digest
            self._values[label] = value
            return label
        finally:
            self._owner = outer

    def function(self, fn: types.FunctionType, label: str) -> str:
        outer, self._owner = self._owner, fn.__name__
        try:
            label = super().function(fn, f"{fn.__qualname__.replace('<locals>.', '')}()")
        finally:
            self._owner = outer
        facts = code_facts(fn.__code__)
        self.code[label] = facts.digest
        if is_authored(fn.__globals__.get("__name__", "__main__")):
            named = {chain[0] for chain in facts.globals}
            if named & {"globals", "eval", "exec", "locals"}:
                self.doubts.setdefault(label, "it looks names up while it runs")
        return label

    def _note_stream(self, module: str, attribute: str) -> None:
        """The state of a process-wide stream of random numbers that code draws from."""
        label = f"{STREAM}{module}"
        if attribute[:1].islower() and label not in self.parts and (state := data.stream_state(module)) is not None:
            self.parts[label] = self.value(state, module)

    def follow_texts(self) -> None:
        """SQL reads frames by name: of the names that the slice binds, those that stand in a text."""
        for space in list(self._spaces.values()):
            for word in sorted(self.texts.words & space.keys() & self.names):
                if is_frame(space[word]) and not isinstance(space[word], (types.ModuleType, type, types.FunctionType)):
                    self.named(space[word], word)

    def _of_library(self, module: str, attribute: str, value: Any, chain: Chain) -> str:
        if module == "duckdb" and attribute in _DEFAULT_DATABASE:
            self.named(sys.modules["duckdb"].default_connection(), "duckdb")
        self._note_stream(module, attribute)
        return super()._of_library(module, attribute, value, chain)

    # values

    def _content(self, value: Any, kind: type, name: str) -> bytes:
        self._objects += 1
        if self._objects > _MOST_OBJECTS:
            self.doubt("it holds more objects than are followed")
            return b""
        title = f"{'' if is_authored(kind.__module__) else kind.__module__}.{kind.__qualname__}:".encode()
        try:
            content = data.of_library(value, kind)
            pieces = data.taken_apart(value, kind, self.doubt) if content is None else None
        except Exception:  # a library of another version
            self.doubt(f"a {kind.__name__} cannot be compared")
            return title
        if pieces is not None:
            return title + self._items(pieces, tuple, name)
        if content is None and not isinstance(value, io.IOBase):
            content = self._standard_content(value, kind, name)
        if content is None and is_authored(kind.__module__):
            content = self._instance(value, kind, name)
        if content is None:
            content = self._reduced(value, kind, name)
        return title + content

    def _reduced(self, value: Any, kind: type, name: str) -> bytes:
        """The parts that `__reduce_ex__` gives of a library's object; of one that the library itself holds, its name."""
        if reference := data.name_in_library(value, kind):
            return reference.encode()
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:
            self.doubt(f"a {kind.__name__} cannot be compared")
            return b""
        if isinstance(reduced, str):
            return reduced.encode()
        maker, arguments, *more = reduced
        state = more[0] if more else None
        if isinstance(state, dict):
            state = {key: part for key, part in state.items() if not data.is_remembered(kind, key)}
        pieces: list[Any] = [maker, *arguments, state]
        pieces += [list(items) for items in more[1:3] if items is not None]
        texts, self.texts = self.texts, QueryTexts()  # what a library keeps are no queries
        try:
            return self._items(pieces, tuple, name)
        finally:
            self.texts = texts

    def _items(self, value: Iterable[Any], kind: type, name: str) -> bytes:
        items = list(value)
        if kind in (set, frozenset) and not PLAIN.issuperset(map(type, items)):
            items.sort(key=self._alone)  # so that labels do not depend on the order of a set
        return super()._items(items, kind, name)

    def _alone(self, value: Any) -> bytes:
        other = Tracer(self.names)
        other._objects = self._objects
        own = other.value(value, "")
        return digest_of(own, sorted(other.parts.items()))

    def _instance(self, value: Any, kind: type, name: str) -> bytes:
        """An object of the author's class: its attributes, and what a base of a library holds besides."""
        pieces: list[Any] = [kind]
        state = getattr(value, "__dict__", None)
        if isinstance(state, dict):
            remembered = data.remembered_by(kind) & state.keys()
            if remembered:
                self.doubt("it remembers results (cached_property)")
            pieces.append({key: part for key, part in state.items() if key not in remembered})
        for base in kind.__mro__:
            slots = vars(base).get("__slots__", ())
            names = (slots,) if isinstance(slots, str) else slots
            pieces += [getattr(value, slot, None) for slot in names if slot not in ("__dict__", "__weakref__")]
        if isinstance(value, (set, frozenset)):
            pieces.append(set(value))
        elif isinstance(value, (list, tuple, dict)):
            pieces.append(dict(value) if isinstance(value, dict) else list(value))
        elif isinstance(value, _PLAIN_BASES):
            pieces.append(next(plain.__getnewargs__(value) for plain in _PLAIN_BASES if isinstance(value, plain)))
        elif isinstance(value, BaseException):
            pieces.append(value.args)
        base = next((base for base in kind.__mro__ if not is_authored(base.__module__)), object)
        return self._items(pieces, tuple, name) + (data.of_library(value, base) or b"")

    def _inner(self, value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], tuple[bytes, str]]:
        inner: dict[tuple[str, ...], tuple[bytes, str]] = {}
        for key, part in data.parts_of(value):
            with suppress(Exception):  # of the author's class: a part that cannot be read is not named
                inner[*path, key] = (Tracer(self.names).value(part, key), show(part))
                if (
                    not path and data.shape_of(part) is None
                ):  # what a frame or an array is made of says nothing to people
                    inner |= self._inner(part, (key,))
        return inner


def show(value: Any) -> str:
    """A value in short: never an address, a secret that this process has read, or more than a line.

    Example:
        >>> show({"EUR": 1.1}), show([1] * 1000)
        ("{'EUR': 1.1}", '[1, 1, 1, 1, 1, 1, ...]')
    """
    kind = type(value)
    try:
        if (shape := data.shape_of(value)) is not None:
            return shape
        if kind in PLAIN or isinstance(value, (list, tuple, dict, set, frozenset, PurePath, Enum, str, bytes)):
            text = _short.repr(masked(value) if kind is str else value)
        elif getattr(kind, "__repr__", None) is object.__repr__ or len(data.parts_of(value)) > 1000:
            text = f"a {kind.__name__}"
        else:
            text = repr(value)
    except Exception:
        text = f"a {kind.__name__}"
    text = " ".join(masked(text).split())
    if " at 0x" in text:
        text = f"a {kind.__name__}"
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother = 3, 50, 50
