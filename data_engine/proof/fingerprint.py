"""The fingerprint of what `build` reaches in a namespace: equal bytes in two processes mean equal content.

Code is followed as for the keys of previews; here the values decide, and not whether a preview could watch them. Addresses,
the order of sets, the modules that the author's classes are in and the names of scratch variables do not count.
"""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import field
from enum import Enum
from pathlib import PurePath
from typing import Any

from data_engine.engine.access.code import is_authored
from data_engine.engine.access.databases import is_frame
from data_engine.engine.memo.query_texts import QueryTexts
from data_engine.engine.memo.tracer import Purpose, Tracer, attributes_of
from data_engine.engine.memo.values import PLAIN
from data_engine.formatting import ShortRepr, beginning
from data_engine.proof import data
from data_engine.record import frozen

_MOST_OBJECTS = 40_000
"""Of a value that has a name, more than this is not followed: it is told as doubt."""
_MOST_IN_ALL = 300_000
"""What comes after so many objects of all values, 2 s of work, is told as doubt; frames and arrays count by their size."""
_BYTES_OF_ONE = 8192
UNREACHED = "the values before it hold more objects than are followed"
_DRAWN = ("matplotlib.", "mpl_toolkits.")
_MOST_SHOWN = 60
_ROOTS = ("build", "DESCRIPTION")
STREAM = "stream "
"""How the names of parts begin that stand for a state of the process: a stream of random numbers, the figures of pyplot."""
_NEW_FIGURES = frozenset({"figure", "subplots", "subplot_mosaic"})
_DEFAULT_DATABASE = frozenset({"sql", "query", "execute", "table", "view"})


@frozen
class Fingerprint:
    """The content that `build` reaches: `parts` by name, each with a digest; `code` are the digests of functions' own code, `doubts` what
    cannot be compared, by name, and why."""

    parts: Mapping[str, bytes] = field(default_factory=dict)
    code: Mapping[str, bytes] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What `read` reads."""
        return {"parts": _texts(self.parts), "code": _texts(self.code), "doubts": dict(self.doubts)}

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Fingerprint:
        """As another process gave it."""
        return cls(_digests(content["parts"]), _digests(content["code"]), content["doubts"])


def _texts(digests: Mapping[str, bytes]) -> dict[str, str]:
    return {name: digest.hex() for name, digest in digests.items()}


def _digests(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {name: bytes.fromhex(text) for name, text in texts.items()}


def name_of(label: str) -> str:
    """The name, as people write it, of the part with this label.

    Example:
        >>> name_of("RATES"), name_of("step()"), name_of("step()#2")
        ('RATES', 'step', 'step')
    """
    return label.partition("#")[0].removesuffix("()")


@frozen
class Detail:
    """A value in short, and digests of what it holds by key, column or attribute, and of what that holds, each in short."""

    shown: str = ""
    inner: Mapping[tuple[str, ...], tuple[bytes, str]] = field(default_factory=dict)

    def as_json(self) -> list[Any]:
        """What `read` reads."""
        return [self.shown, [[path, digest.hex(), shown] for path, (digest, shown) in self.inner.items()]]

    @classmethod
    def read(cls, content: Sequence[Any]) -> Detail:
        """As another process gave it."""
        shown, inner = content
        return cls(shown, {tuple(path): (bytes.fromhex(digest), text) for path, digest, text in inner})


def trace(namespace: Mapping[str, Any], names: Set[str]) -> Tracer:
    """Trace what `build` and `DESCRIPTION` reach in a namespace; `names` are those that the slice binds.

    Example:
        >>> space = {"__name__": "__main__", "RATE": 2}
        >>> exec("def build(): return RATE", space)
        >>> tracer = trace(space, {"RATE", "build"})
        >>> sorted(fingerprint_of(tracer).parts), details_of(tracer, ["RATE"])["RATE"].shown
        (['RATE', 'build()'], '2')
    """
    tracer = Tracer(COMPARED)
    for root in _ROOTS:
        if root in namespace:
            tracer.named(namespace[root], root)
    _follow_texts(tracer, names)
    return tracer


def fingerprint_of(tracer: Tracer) -> Fingerprint:
    """The fingerprint of what was followed."""
    return Fingerprint(tracer.contents(), tracer.code, tracer.doubts)


def details_of(tracer: Tracer, labels: Iterable[str]) -> dict[str, Detail]:
    """The values of these names in short, of functions their defaults; of a name that is none, nothing."""
    values = {label: tracer.values[label] for label in labels if label in tracer.values}
    return {label: Detail(show(value), _inner(value)) for label, value in values.items()}


def _follow_texts(tracer: Tracer, names: Set[str]) -> None:
    """SQL reads frames by name: of the names that the slice binds, those that stand in a text."""
    for space in list(tracer.spaces.values()):
        for word in sorted(tracer.texts.words & space.keys() & names):
            if is_frame(space[word]) and not isinstance(space[word], (types.ModuleType, type, types.FunctionType)):
                tracer.named(space[word], word)


def _label(fn: types.FunctionType, label: str) -> str:
    return f"{fn.__qualname__.replace('<locals>.', '')}()"


def _note_use(tracer: Tracer, module: str, attribute: str, value: Any) -> None:
    """Follow what code uses beside names: DuckDB's own connection, a process-wide stream of random numbers, pyplot's current figure."""
    if module == "duckdb" and attribute in _DEFAULT_DATABASE:
        tracer.named(sys.modules["duckdb"].default_connection(), "duckdb")
    module = module or data.stream_of(value)
    label = f"{STREAM}{module}"
    if module == data.PYPLOT and attribute in _NEW_FIGURES:
        tracer.parts[label] = b""  # it draws into its own
    if attribute[:1].islower() and label not in tracer.parts and (state := data.stream_state(module)) is not None:
        tracer.parts[label] = tracer.value(state, module)


def _content(tracer: Tracer, value: Any, kind: type, name: str) -> bytes:
    if kind.__module__.startswith(_DRAWN):
        tracer.doubt("a figure of Matplotlib")
        return b""
    if tracer.followed > _MOST_IN_ALL:
        tracer.doubt(UNREACHED)
        return b""
    try:
        tracer.followed += data.size_bytes(value, kind) // _BYTES_OF_ONE
        content = data.of_library(value, kind, tracer.doubt)
        if content is None and tracer.objects > _MOST_OBJECTS:
            tracer.doubt("it holds more objects than are followed")
            return b""
        pieces = data.taken_apart(value, kind, tracer.doubt) if content is None else None
    except Exception:  # a library of another version
        tracer.doubt(f"a {kind.__name__} cannot be compared")
        return b""
    if pieces is not None:
        return tracer.items(pieces, tuple, name)
    if content is None and not isinstance(value, io.IOBase):
        content = tracer.standard_content(value, kind, name)
    if content is None and is_authored(kind.__module__):
        content = _instance(tracer, value, kind, name)
    return _reduced(tracer, value, kind, name) if content is None else content


def _instance(tracer: Tracer, value: Any, kind: type, name: str) -> bytes:
    """An object of the author's class: its attributes, and what a base of a library holds besides."""
    state = attributes_of(value)
    remembered = data.remembered_by(kind) & state.keys()
    if remembered:
        tracer.doubt("it remembers results (cached_property)")
    own = tracer.instance(value, kind, name, {key: part for key, part in state.items() if key not in remembered})
    base = next((base for base in kind.__mro__ if not is_authored(base.__module__)), object)
    return own + (data.of_library(value, base, tracer.doubt) or b"")


def _reduced(tracer: Tracer, value: Any, kind: type, name: str) -> bytes:
    """The parts that `__reduce_ex__` gives of a library's object; of one that the library itself holds, its name."""
    if reference := data.name_in_library(value, kind):
        return reference.encode()
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:
        tracer.doubt(f"a {kind.__name__} cannot be compared")
        return b""
    if isinstance(reduced, str):
        return reduced.encode()
    maker, arguments, *more = reduced
    state = more[0] if more else None
    if isinstance(state, dict):
        state = {key: part for key, part in state.items() if not data.is_remembered(kind, key)}
    pieces: list[Any] = [maker, *arguments, state]
    pieces += [list(items) for items in more[1:3] if items is not None]
    texts, tracer.texts = tracer.texts, QueryTexts()  # what a library keeps are no queries
    try:
        return tracer.items(pieces, tuple, name)
    finally:
        tracer.texts = texts


def _inner(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], tuple[bytes, str]]:
    inner: dict[tuple[str, ...], tuple[bytes, str]] = {}
    for key, part in data.parts_of(value):
        with suppress(Exception):  # of the author's class: a part that cannot be read is not named
            inner[*path, key] = (Tracer(COMPARED).value(part, key), show(part))
            if not path and (data.shape_of(part) is None or data.shape_of(value) is not None):  # no frame in a mapping
                inner |= _inner(part, (key,))
    return inner


COMPARED = Purpose("", _label, _content, _note_use)
"""A kernel's namespace and its slice: values decide, and not whether a preview could watch them."""


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
            text = _short.repr(value)
        elif getattr(kind, "__repr__", None) is object.__repr__ or len(data.parts_of(value)) > 1000:
            text = f"a {kind.__name__}"
        else:
            text = repr(value)
    except Exception:
        text = f"a {kind.__name__}"
    text = " ".join(text.split())
    if " at 0x" in text:
        text = f"a {kind.__name__}"
    return beginning(text, _MOST_SHOWN)


_short = ShortRepr()
_short.maxlevel, _short.maxstring, _short.maxother = 3, 50, 50
