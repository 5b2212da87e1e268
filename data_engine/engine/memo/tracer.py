"""The one tracer: follow code and values to all their content, so that equal digests mean equal content.

From a function every name its code reads is followed: helpers, classes, closures, defaults, the values of globals,
helper modules by the attributes used of them. The author's code counts by its compiled form, libraries by name and version,
values by content. A `Purpose` says what differs between the keys of previews and the comparison of a kernel with its slice.
"""

from __future__ import annotations

import builtins
import enum
import functools
import hashlib
import inspect
import io
import logging
import marshal
import operator
import os
import pathlib
import re
import sys
import types
import typing
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from functools import cached_property
from typing import Any

from data_engine.engine.access.access_log import Namespace
from data_engine.engine.access.code import (
    LOOSE,
    Chain,
    CodeFacts,
    code_facts,
    constant_bytes,
    is_authored,
    version_of,
    why_unseen,
)
from data_engine.engine.access.databases import is_frame
from data_engine.engine.access.interceptors import is_intercepted, is_reader, watched_libraries
from data_engine.engine.memo.query_texts import QueryTexts
from data_engine.engine.memo.values import MARSHALLED, PLAIN, TIMES_AND_NUMBERS
from data_engine.flow.batch import Batch, FileRef
from data_engine.record import frozen

_MAX_PARTS = 5000
_MISSING = object()
_BY_NAME = frozenset({"builtins.getattr", "operator.attrgetter", "operator.methodcaller"})
_VOLATILE_WORDS = frozenset({"now", "today", "random", "uuid", "gen_random_uuid"})
_ASKERS = frozenset({"library numpy", "library pandas", "library duckdb"})
_BUILTINS: Namespace = vars(builtins)
_CLASS_NOISE = frozenset(
    """__dict__ __weakref__ __doc__ __module__ __annotations__ __annotate__ __annotate_func__ __annotations_cache__
    __firstlineno__ __static_attributes__ __abstractmethods__ _abc_impl __dataclass_fields__ __parameters__
    __orig_bases__ __type_params__ __slots__ _is_protocol __protocol_attrs__ __non_callable_proto_members__
    _is_runtime_protocol __subclasshook__""".split()
)
_EMPTY = types.CellType()
_DESCRIPTORS = (
    types.MemberDescriptorType, types.GetSetDescriptorType, types.MethodDescriptorType, types.WrapperDescriptorType,
    types.ClassMethodDescriptorType, types.MethodWrapperType,
)  # fmt: skip


_PATH_LIKE = re.compile(r"[^\n\0]{0,400}([/\\][^\n\0]{0,400}|\.\w{1,8})")
_NAMES_LOOKED_UP = frozenset({"globals", "eval", "exec", "locals"})
_PLAIN_BASES: tuple[Any, ...] = (str, bytes, int, float)


@frozen
class Purpose:
    """What a trace is made for.

    `prefix` begins the labels of values, `label` gives that of a function where it is named; `content` is the content of a value that is
    neither plain nor a reference, by its type and name; `note_use` hears of each name of a library's module that code uses, and of each
    bound method (its module is then "").
    """

    prefix: str
    label: Callable[[types.FunctionType, str], str]
    content: Callable[[Tracer, Any, type, str], bytes]
    note_use: Callable[[Tracer, str, str, Any], None]


class Tracer:
    """Follow code by the names it reads, and the values of these to everything they hold.

    `parts` name everything that was met, each with a digest; `reasons` are why a preview cannot see through it, `doubts` what of it cannot
    be compared, by name. `code` are the digests of functions' own code, `values` the values that have names. `captured` are the author's
    names that hold a reader itself, `mentions` every attribute name that is read, `odd_metadata` whether facts of the context are read that
    differ from run to run. `helpers` are traces of functions by identity and name, which several traces share as long as each is as it was.
    """

    def __init__(self, purpose: Purpose, helpers: dict[tuple[int, str], Tracer] | None = None) -> None:
        self.purpose = purpose
        self.parts: dict[str, bytes] = {}
        self.reasons: dict[str, None] = {}
        self.doubts: dict[str, str] = {}
        self.code: dict[str, bytes] = {}
        self.values: dict[str, Any] = {}
        self.objects = self.followed = 0  # of the named value that is followed now, and of all values
        self.literals: set[str] = set()
        self.texts = QueryTexts()
        self.alive: list[object] = []  # what is known by its identity must stay where it is
        self.captured: list[tuple[Namespace, str]] = []
        self.mentions: set[str] = set()
        self.spaces: dict[int, Namespace] = {}
        self.odd_metadata = False
        self._helpers = helpers
        self._owner = ""  # the named value that is followed now
        self._open: dict[int, int] = {}
        self._digests: dict[int, bytes] = {}
        self._cycles = 0
        self._labels: dict[int, str] = {}
        self._by_name = False  # attributes are read by names made while it runs
        self._is_simple = True  # `is_as_it_was` can tell
        self._names_read: list[tuple[Namespace, str, object]] = []
        self._attributes_read: list[tuple[object, str, object]] = []
        self._functions: list[tuple[types.FunctionType, tuple[object, ...]]] = []
        self._contents: list[tuple[object, bytes, tuple[object, ...] | None]] = []
        self._in_texts: list[tuple[Namespace, dict[str, object]]] = []

    @property
    def unseen(self) -> str | None:
        """The first reason why what was followed must always run; None when it need not."""
        return next(iter(self.reasons), None)

    def mark_unseen(self, reason: str) -> None:
        """Note that something cannot be seen."""
        self.reasons.setdefault(reason)

    def doubt(self, why: str) -> None:
        """Note that what is followed now cannot be compared."""
        self.doubts.setdefault(self._owner, why)

    def contents(self) -> dict[str, bytes]:
        """The parts but for libraries."""
        return {label: digest for label, digest in self.parts.items() if not label.startswith("library ")}

    @cached_property
    def paths(self) -> frozenset[str]:
        """Texts and paths in it that could be files."""
        return frozenset(text for text in self.literals if _PATH_LIKE.fullmatch(text))

    @cached_property
    def classes(self) -> frozenset[int]:
        """The identities of the author's classes."""
        return frozenset(id(target) for target in self.alive if isinstance(target, type))

    @property
    def tables(self) -> set[str]:
        """The tables of a context among the attributes it reads."""
        return {"objects", "metadata"} & self.mentions

    def is_as_it_was(self) -> bool:
        """Whether a trace would find the same now; False, too, where only a trace can tell."""
        return (
            self._is_reached_as_it_was()
            and all(_are_same(_of_names(space, self.texts.words), then) for space, then in self._in_texts)
            and not self._added_methods()
        )

    def _is_reached_as_it_was(self) -> bool:
        return (
            self._is_simple
            and all(space.get(name, _MISSING) is value for space, name, value in self._names_read)
            and all(getattr(owner, name, None) is value for owner, name, value in self._attributes_read)
            and all(_are_same(_state_of(fn), state) for fn, state in self._functions)
            and all(_is_content(self.purpose, value, content, items) for value, content, items in self._contents)
        )

    def _helper(self, fn: types.FunctionType, name: str) -> str:
        """The label of a function that code names, by the shared trace of it where that agrees with this one."""
        if self._helpers is None or self._open:
            return self.function(fn, f"helper {name}")
        own = self._helpers.get((id(fn), name))
        if own is None or not own._is_reached_as_it_was():
            own = self._helpers[id(fn), name] = Tracer(self.purpose)
            own.function(fn, f"helper {name}")
        agrees = all(self._labels.get(at, label) == label for at, label in own._labels.items())
        if not agrees or any(self.parts.get(label, digest) != digest for label, digest in own.parts.items()):
            return self.function(fn, f"helper {name}")
        self._add(own)
        return own._labels[id(fn)]

    def _add(self, other: Tracer) -> None:
        """Add all that another trace has."""
        self.parts |= other.parts
        self._labels |= other._labels
        self._digests |= other._digests
        self.spaces |= other.spaces
        self.literals |= other.literals
        self.mentions |= other.mentions
        self.texts.add_all(other.texts)
        self.alive += other.alive
        self.captured += other.captured
        self.odd_metadata = self.odd_metadata or other.odd_metadata
        self._by_name = self._by_name or other._by_name
        self._is_simple = self._is_simple and other._is_simple
        self._names_read += other._names_read
        self._attributes_read += other._attributes_read
        self._functions += other._functions
        self._contents += other._contents
        self.reasons |= other.reasons
        self.doubts = other.doubts | self.doubts
        self.code |= other.code
        self.values |= other.values

    def _note_content(self, value: object, content: bytes) -> None:
        items = _items_of(value)
        is_plain = items is not None and PLAIN.issuperset(map(type, items))
        self._contents.append((value, content, items if is_plain else None))

    def root(self, fn: Any) -> None:
        """Follow the step's own function; a partial is taken apart, a reader given as a step is seen by its wrapper."""
        if isinstance(fn, functools.partial):
            self.parts["its arguments"] = digest_of(
                self.value(fn.args, "its arguments"), self.value(fn.keywords, "its arguments")
            )
            self.root(fn.func)
        elif is_reader(fn):
            self.parts["its code"] = self.library(_dotted(fn)).encode()
        elif isinstance(fn, types.FunctionType) and self._is_to_follow(fn):
            self.function(fn, "its code")
        else:
            own = self.reference(fn, "its code")
            self.parts["its code"] = digest_of(own, b"" if own else self.value(fn, "its code"))

    def reference(self, target: Any, name: str) -> str:
        """The text for a function, class or module in the digest of the code that names it."""
        label = self._labels.get(id(target))
        if label is not None:
            return label
        if is_reader(target):
            self.mark_unseen(f"{name} is held where it cannot be watched")
            return _dotted(target)
        if isinstance(target, types.FunctionType):
            return self._helper(target, name) if self._is_to_follow(target) else self.library(_dotted(target))
        if isinstance(target, type):
            return self.cls(target, name) if is_authored(target.__module__) else self.library(_dotted(target))
        if isinstance(target, types.ModuleType):
            return self.module(target, name)
        text = self._other_reference(target, name)
        if text and not isinstance(target, types.BuiltinFunctionType):
            self._is_simple = False
        return text

    def _other_reference(self, target: Any, name: str) -> str:
        if isinstance(target, (types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType)):
            return self._bound(target, name)
        if isinstance(target, _DESCRIPTORS):
            owner = getattr(target, "__objclass__", None)
            is_ours = isinstance(owner, type) and is_authored(owner.__module__)
            return f"slot {target.__name__}" if is_ours else self.library(_dotted(target))
        if isinstance(target, functools.partial):
            pieces = (target.func, target.args, target.keywords)
            return "partial " + " ".join(self.value(piece, name).hex() for piece in pieces)
        if type(target).__name__ == "_lru_cache_wrapper":
            self.mark_unseen(f"{name} remembers its results (functools.cache)")
            if target.cache_info().currsize:
                self.doubts.setdefault(name, "it remembers results (functools.cache)")
            return f"cache of {self.reference(target.__wrapped__, name)}"
        if isinstance(target, (staticmethod, classmethod)):
            return f"{type(target).__name__} {self.reference(target.__func__, name)}"
        if isinstance(target, property):
            return "property " + " ".join(
                self.reference(part, name) for part in (target.fget, target.fset, target.fdel) if part is not None
            )
        if isinstance(target, functools.cached_property):
            return f"cached_property {self.reference(target.func, name)}"
        return ""

    def _bound(self, target: Any, name: str) -> str:
        self.purpose.note_use(self, "", target.__name__, target)
        owner = target.__self__
        if isinstance(target, types.MethodType):
            return f"{self.reference(target.__func__, name)} of {self.value(owner, name).hex()}"
        if isinstance(owner, type):
            return self.library(f"{_dotted(owner)}.{target.__name__}")
        if owner is None or isinstance(owner, types.ModuleType):
            return self.library(_dotted(target))
        return f"{target.__name__} of {self.value(owner, name).hex()}"

    def _is_to_follow(self, fn: types.FunctionType) -> bool:
        """Whether the code of `fn` counts: the author's, or made by a library around the author's (a decorator)."""
        if is_authored(_space_name(fn.__globals__)) or is_authored(fn.__module__):
            return True
        home = sys.modules.get(fn.__module__ or "")
        member: Any = home
        for part in (fn.__qualname__ or "").split("."):
            member = getattr(member, part, None)
        return member is not fn and (fn.__closure__ is not None or "<locals>" in fn.__qualname__ or home is None)

    def function(self, fn: types.FunctionType, label: str) -> str:
        outer, self._owner = self._owner, fn.__name__
        try:
            return self._function(fn, self._label(fn, self.purpose.label(fn, label)))
        finally:
            self._owner = outer

    def _function(self, fn: types.FunctionType, label: str) -> str:
        if len(self.parts) > _MAX_PARTS:
            self.mark_unseen("more code than can be followed")
            self.doubt("more code than can be followed")
            return label
        self.parts[label] = b""
        facts = code_facts(fn.__code__)
        self.code[label], self.values[label] = facts.digest, fn
        self._note_function(fn, facts)
        space = fn.__globals__
        if is_authored(_space_name(space)):
            self._note_facts(facts, space)
            if not _NAMES_LOOKED_UP.isdisjoint(chain[0] for chain in facts.globals):
                self.doubts.setdefault(label, "it looks names up while it runs")
        pieces: list[object] = [facts.digest, *self._annotations(fn, label)]
        pieces += [self.value(value, f"a default of {fn.__name__}") for value in fn.__defaults__ or ()]
        pieces += [
            (key, self.value(value, f"a default of {fn.__name__}")) for key, value in (fn.__kwdefaults__ or {}).items()
        ]
        cells = dict(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True))
        chains = {chain[0]: [other[1:] for other in facts.free if other[0] == chain[0]] for chain in facts.free}
        for name in sorted(cells):
            pieces.append((name, self._cell(cells[name], name, chains.get(name, [()]))))
        for key, value in vars(fn).items():
            pieces.append((key, self.value(value, f"{fn.__name__}.{key}")))
        if not is_authored(_space_name(space)):  # a library's wrapper: what it closes over is the author's, no more
            pieces.append(self.library(_space_name(space)))
            self.parts[label] = digest_of(*pieces)
            return label
        pieces += self._reached(facts, space)
        self.parts[label] = digest_of(*pieces)
        return label

    def _reached(self, facts: CodeFacts, space: Namespace) -> Iterator[object]:
        """What code reads as globals, and imports."""
        yield from [(chain, self._global(space, chain)) for chain in sorted(facts.globals)]
        for module, level in sorted(facts.imported):
            target = self._import(space, module, level)
            yield module, "missing" if target is None else ""
        for module, level, chain in sorted(facts.imports):
            target = self._import(space, module, level, *chain[:1])
            yield module, level, chain, "missing" if target is None else self._through(target, chain, module)

    def _note_function(self, fn: types.FunctionType, facts: CodeFacts) -> None:
        """Note what `is_as_it_was` compares of a function."""
        self._functions.append((fn, _state_of(fn)))
        asks_for_texts = "__doc__" in facts.mentions or "__doc__" in facts.strings
        self._is_simple = self._is_simple and not (facts.imported or vars(fn) or asks_for_texts)

    def _note_facts(self, facts: CodeFacts, space: Namespace) -> None:
        self.mentions |= facts.mentions
        self.odd_metadata = self.odd_metadata or facts.odd_metadata
        self.literals.update(facts.strings)
        for text in facts.strings:
            self.texts.add(text)
        self.spaces.setdefault(id(space), space)
        for name in facts.loose & LOOSE.keys():
            self.mark_unseen(f"{LOOSE[name]} ({name})")
        own = space.get("__builtins__")
        if isinstance(own, dict) and own is not _BUILTINS and is_reader(own.get("open")):
            self.captured.append((own, "open"))

    def _cell(self, cell: types.CellType, name: str, chains: list[Chain]) -> object:
        try:
            content = cell.cell_contents
        except ValueError:
            return "empty"
        if isinstance(content, types.ModuleType):
            return [self._through(content, chain, name) for chain in sorted(chains)]
        return self.named(content, name)

    def _global(self, space: Namespace, chain: Chain) -> str:
        name = chain[0]
        self._names_read.append((space, name, space.get(name, _MISSING)))
        if name in space:
            value = space[name]
            if is_reader(value):
                self.captured.append((space, name))
                return self.library(_dotted(value))
            if isinstance(value, dict):  # such as of the writer for each extension
                self.captured += [(value, key) for key, held in value.items() if is_reader(held)]
            return self._through(value, chain[1:], name)
        own = space.get("__builtins__")
        names: Namespace = own if isinstance(own, dict) else _BUILTINS
        self._names_read.append((names, name, names.get(name, _MISSING)))
        if name not in names:
            return "missing"
        value = names[name]
        if name == "display":  # shows, gives nothing back
            return name
        if value is _BUILTINS.get(name) or is_reader(value) or name == "__import__":
            return self.library(f"builtins.{name}")
        return self._through(value, chain[1:], name)

    def _through(self, value: Any, chain: Chain, name: str) -> str:
        """The text for `value.a.b`: modules are followed by the attributes used of them."""
        while isinstance(value, types.ModuleType) and chain:
            owner, attribute = value, chain[0]
            is_ours = is_authored(owner.__name__)
            if (
                attribute not in vars(owner) and not is_ours
            ):  # a module that is not loaded, or is only when it is asked for
                return self.library(".".join((owner.__name__, *chain)))
            if attribute not in vars(owner):
                maker = vars(owner).get("__getattr__")
                if maker is None:
                    self._attributes_read.append((owner, attribute, None))
                    return f"no {owner.__name__}.{attribute}"
                self._is_simple = False
                self.reference(maker, f"{owner.__name__}.__getattr__")
            value, chain, name = getattr(owner, attribute, None), chain[1:], attribute
            self._attributes_read.append((owner, attribute, value))
            if is_reader(value) and not is_intercepted(owner, attribute):
                self.captured.append((vars(owner), attribute))
                return self.library(_dotted(value))
            if not is_ours and not isinstance(value, types.ModuleType):
                return self._of_library(owner.__name__, attribute, value, chain)
        if isinstance(value, type) and not is_authored(value.__module__):
            return self.library(".".join((_dotted(value), *chain)))
        return self.named(value, name)

    def _of_library(self, module: str, attribute: str, value: Any, chain: Chain) -> str:
        self.purpose.note_use(self, module, attribute, value)
        if (
            isinstance(value, types.FunctionType)
            and not is_reader(value)
            and is_authored(_space_name(value.__globals__))
        ):
            return self.function(value, f"helper {attribute}")  # the author put it there
        text = self.library(".".join((module, attribute, *chain)))
        if is_reader(value):
            return text
        if type(value) in PLAIN:
            return f"{text} {self.value(value, attribute).hex()}"  # a setting somebody may set
        if is_authored(type(value).__module__) or isinstance(value, functools.partial):
            return f"{text} {self.named(value, attribute)}"
        if type(value).__module__.startswith("unittest"):
            self.mark_unseen(f"{module}.{attribute}, which is a mock")
        is_plain = isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType))
        if is_plain and module.partition(".")[0] != "duckdb":  # its functions live under other names
            self.library(".".join((_dotted(value), *chain)))
        return text

    def _import(self, space: Namespace, module: str, level: int, part: str = "__name__") -> types.ModuleType | None:
        """The module that an import inside a function gives, whose `part` is used. It is imported now as the step will do, so that its
        readers can be watched, and so that the digest is the same in a process that has run the step and in a fresh one."""
        own = space.get("__builtins__")
        look_in = own.get("__import__") if isinstance(own, dict) else None
        top = module.partition(".")[0]
        is_known = look_in is not None or is_authored(top) or top in watched_libraries() or top in sys.modules
        if level == 0 and not is_known and why_unseen(module) is not None:
            self.library(module)
            return None
        with suppress(Exception):  # the same: a module that cannot be imported is unknown
            target = (look_in or builtins.__import__)(module, space, None, (part,) if module else (), level)
            if isinstance(target, types.ModuleType):
                return target
        return None

    def module(self, module: types.ModuleType, name: str) -> str:
        """A module as a whole, because it is handed on."""
        if not is_authored(module.__name__):
            return self.library(module.__name__)
        self._is_simple = False
        label = self._label(module, f"module {name}")
        self.parts[label] = b""
        self.spaces.setdefault(id(vars(module)), vars(module))
        pieces = [
            (key, self.named(value, key))
            for key, value in sorted(vars(module).items())
            if not (key.startswith("__") and key.endswith("__"))
        ]
        self.parts[label] = digest_of(*pieces)
        return label

    def cls(self, kind: type, name: str) -> str:
        self._is_simple = False
        label = self._label(kind, f"class {kind.__name__}")
        self.parts[label] = b""
        pieces: list[object] = [kind.__qualname__, [self.reference(base, base.__name__) for base in kind.__bases__]]
        if type(kind) is not type:
            pieces.append(self.reference(type(kind), type(kind).__name__))
        pieces += self._annotations(kind, name)
        members: Mapping[str, enum.Enum] = kind.__members__ if issubclass(kind, enum.Enum) else {}
        is_enum = issubclass(kind, enum.Enum)
        pieces += [(key, self.value(member._value_, key)) for key, member in members.items()]
        for key, value in vars(kind).items():
            if key in _CLASS_NOISE or (is_enum and (key.startswith("_") or key in members)):
                continue
            if key == "__dataclass_params__":
                pieces.append(repr(value))
                pieces += [(item.name, item.kw_only, self.value(dict(item.metadata), name)) for item in fields(kind)]
            elif isinstance(value, types.FunctionType):
                pieces.append((key, self.reference(value, f"{kind.__name__}.{key}")))
            elif type(value).__name__ == "_tuplegetter":
                pieces.append((key, value.__reduce__()[1][0]))
            else:
                pieces.append((key, self.named(value, f"{kind.__name__}.{key}")))
        self.parts[label] = digest_of(*pieces)
        return label

    def _annotations(self, target: Any, name: str) -> Iterator[object]:
        """The annotations of a target, since schemas are written so; a type of the author's counts with all its code."""
        annotated: Mapping[str, Any] = {}
        with suppress(Exception):  # from Python 3.14 they are evaluated when asked for, and may name what is not there
            annotated = inspect.get_annotations(target)
        for key, value in annotated.items():
            is_ours = isinstance(value, type) and is_authored(value.__module__)
            with suppress(Exception):  # the author's own `__repr__`
                yield key, self.reference(value, name) if is_ours else repr(value)

    def library(self, dotted: str) -> str:
        self._by_name = self._by_name or dotted in _BY_NAME
        reason = why_unseen(dotted)
        if reason is not None:
            self.mark_unseen(reason)
        top = dotted.partition(".")[0]
        self.parts.setdefault(f"library {top}", version_of(top).encode())
        return dotted

    def _label(self, target: object, base: str) -> str:
        label, number = base, 2
        while label in self.parts:
            label, number = f"{base}#{number}", number + 1
        self._labels[id(target)] = label
        self.alive.append(target)
        return label

    # -- values ---------------------------------------------------------------------------------------------------------

    def named(self, value: Any, name: str) -> str:
        """The label of a value that has a name of its own, under which a change of it is reported."""
        outer, self._owner = self._owner, self._owner or name
        try:
            reference = self.reference(value, name)
            if reference:
                return reference
            self._owner, objects, self.objects = name, self.objects, 0
            base = label = f"{self.purpose.prefix}{name}"
            number, digest = 2, self.value(value, name)
            self.objects = objects
            while self.parts.get(label, digest) != digest:
                label, number = f"{base}#{number}", number + 1
            self.parts[label] = digest
            self.values[label] = value
            return label
        finally:
            self._owner = outer

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
                self.doubt("it is nested too deeply")
                return b""
            content = _short(self._content(value, kind, name))
        finally:
            del self._open[id(value)]
        if self._cycles == cycles:
            self._digests[id(value)] = content
        if not self._open:
            self._note_content(value, content)
        return content

    def _content(self, value: Any, kind: type, name: str) -> bytes:
        self.objects += 1
        self.followed += 1
        title = f"{'' if is_authored(kind.__module__) else kind.__module__}.{kind.__qualname__}:".encode()
        return title + self.purpose.content(self, value, kind, name)

    def standard_content(self, value: Any, kind: type, name: str) -> bytes | None:
        """The content of a value of Python's own types or ours; None for another's."""
        if isinstance(value, (pathlib.PurePath, FileRef)):
            self.literals.add(os.fspath(value))
            return os.fsencode(os.fspath(value))
        if isinstance(value, enum.Enum):
            return self.reference(kind, kind.__name__).encode() + str(value.name).encode()
        if kind in TIMES_AND_NUMBERS:
            zone = getattr(value, "tzinfo", None)
            return repr(value).encode() + (b"" if zone is None else self.value(zone, name))
        if kind in (list, tuple, set, frozenset, deque):
            return self.items(value, kind, name)
        if kind is types.MappingProxyType or (isinstance(value, dict) and not is_authored(kind.__module__)):
            factory = getattr(value, "default_factory", None)
            return self._mapping(value, name) + (b"" if factory is None else self.value(factory, name))
        if kind is Batch:
            return self.items(value.items, tuple, name)
        return _single_content(value, kind)

    def items(self, value: Iterable[Any], kind: type, name: str) -> bytes:
        """The content of several values, which that of a container of this kind is."""
        items = list(value)
        if kind in (set, frozenset) and not PLAIN.issuperset(map(type, items)):
            items.sort(key=self._alone)
        if len(items) > 1000 and PLAIN.issuperset(kinds := frozenset(map(type, items))):
            if kind in (list, tuple) and kinds <= MARSHALLED:
                return marshal.dumps(items, 0)  # the oldest format: it does not tell which values are one object
            parts = [constant_bytes(item) for item in items]
        else:
            parts = [self.value(item, name) for item in items]
        return b",".join(b"%d:" % len(part) + part for part in (sorted(parts) if kind in (set, frozenset) else parts))

    def _mapping(self, value: Mapping[Any, Any], name: str) -> bytes:
        return self.items([piece for pair in value.items() for piece in pair], tuple, name)

    def instance(self, value: Any, kind: type, name: str, state: Mapping[str, Any]) -> bytes:
        """The content of an object of the author's class with these attributes, but for what a base of a library holds besides."""
        pieces: list[Any] = [kind, state]
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
        return self.items(pieces, tuple, name)

    def _alone(self, value: Any) -> bytes:
        """The content of an item of a set, by which items are sorted, so that labels do not depend on the order of a set."""
        other = Tracer(self.purpose)
        other.objects, other.followed = self.objects, self.followed
        own = other.value(value, "")
        self.followed = other.followed
        return digest_of(own, sorted(other.contents().items()))

    # -- what no name leads to --------------------------------------------------------------------------------------------

    def follow_texts(self) -> None:
        """Follow the frames that SQL may read by name: each word of a text that names a frame in a module reached."""
        if self.texts.attaches and "library duckdb" not in self.parts:
            self.mark_unseen("a database that SQLite attaches")
        if self._by_name and ("library datetime" in self.parts or not self.literals.isdisjoint(LOOSE)):
            self.mark_unseen("an attribute read by a name made while it runs")
        if self.texts.volatile:
            self.mark_unseen(f"the clock or random numbers in a query ({min(self.texts.volatile)})")
        if not self.parts.keys().isdisjoint(_ASKERS) and self.texts.words & _VOLATILE_WORDS & self.literals:
            self.mark_unseen(
                f"the clock or random numbers ({min(self.texts.words & _VOLATILE_WORDS & self.literals)!r})"
            )
        for space in list(self.spaces.values()):
            names = _of_names(space, self.texts.words)
            self._in_texts.append((space, names))
            for word in sorted(self.texts.variables & space.keys()):
                self.named(space[word], word)
            for word in sorted(names):
                if is_frame(names[word]) and not isinstance(names[word], (types.ModuleType, type, types.FunctionType)):
                    self.named(names[word], word)

    def follow_added_methods(self) -> None:
        """Follow methods and name spaces that the author added to frames: no name in the step leads to them."""
        for target, name in self._added_methods():
            self._is_simple = False
            self.reference(target, name)

    def _added_methods(self) -> list[tuple[Any, str]]:
        methods = []
        for label, members in _frame_classes(tuple(library for library in _CLASSES if library in sys.modules)):
            for name in self.mentions & members.keys():
                added = members[name]
                target = getattr(added, "_ns", None) or getattr(added, "_accessor", None) or added
                if not isinstance(target, (types.FunctionType, type)) or is_reader(target):
                    continue
                home = _space_name(target.__globals__) if isinstance(target, types.FunctionType) else target.__module__
                if is_authored(home):
                    methods.append((target, f"{label}.{name}"))
        return sorted(methods, key=lambda method: method[1])


def attributes_of(value: Any) -> dict[str, Any]:
    """The attributes that an object holds by name."""
    state = getattr(value, "__dict__", None)
    return state if isinstance(state, dict) else {}


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


def _short(data: bytes) -> bytes:
    return data if len(data) <= 64 else hashlib.sha256(data).digest()


def digest_of(*items: object) -> bytes:
    """One digest of several texts, digests and mappings of digests."""
    return hashlib.sha256(repr(items).encode("utf-8", "surrogatepass")).digest()


_CLASSES = {
    "polars": ("DataFrame", "LazyFrame", "Series", "Expr"),
    "pandas": ("DataFrame", "Series"),
    "duckdb": ("DuckDBPyConnection", "DuckDBPyRelation"),
    "pathlib": ("Path", "PurePath"),
    "data_engine.flow.batch": ("Batch", "FileRef"),
}


@functools.cache
def _frame_classes(libraries: tuple[str, ...]) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """The classes whose objects a step gets without naming them, and to which an author may add methods."""
    classes: list[tuple[str, Mapping[str, Any]]] = []
    for library in libraries:
        space = vars(sys.modules[library])
        classes += [(name, vars(space[name])) for name in _CLASSES[library] if isinstance(space.get(name), type)]
    return tuple(classes)


def _of_names(space: Namespace, words: Collection[str]) -> dict[str, object]:
    return {word: space[word] for word in space.keys() & words}


def _are_same(now: Any, then: Any) -> bool:
    """Whether two tuples, or two dicts, hold the very same objects."""
    if isinstance(now, dict):
        return now.keys() == then.keys() and all(now[key] is then[key] for key in now)
    return len(now) == len(then) and all(map(operator.is_, now, then))


def _state_of(fn: types.FunctionType) -> tuple[object, ...]:
    """The objects that a function consists of."""
    named = [part for pair in (fn.__kwdefaults__ or {}).items() for part in pair]
    annotated = list(fn.__annotations__.values()) if sys.version_info < (3, 14) else [getattr(fn, "__annotate__", None)]
    cells = [
        content for cell in fn.__closure__ or () for content in (_MISSING if cell == _EMPTY else cell.cell_contents,)
    ]
    return (fn.__code__, fn.__defaults__, *named, *annotated, *cells)


def _items_of(value: object) -> tuple[object, ...] | None:
    """The items of a container of Python; None of any other value."""
    if isinstance(value, dict):
        return (*value, *value.values())
    return tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else None


def _is_content(purpose: Purpose, value: object, content: bytes, items: tuple[object, ...] | None) -> bool:
    """Whether a value holds these plain items, else has this content; False of one that refers to code."""
    if items is not None:
        now = _items_of(value)
        return now is not None and _are_same(now, items)
    tracer = Tracer(purpose)
    return tracer.value(value, "value") == content and tracer._is_simple and not tracer._labels


def _space_name(space: Namespace) -> str:
    name = space.get("__name__")
    if isinstance(name, str) and name.startswith("namedtuple_"):
        return "collections"
    return name if isinstance(name, str) and name != "builtins" else "__main__"


def _dotted(target: Any) -> str:
    owner = getattr(target, "__objclass__", None)
    module = getattr(owner or target, "__module__", None) or "builtins"
    name = getattr(target, "__qualname__", None) or getattr(target, "__name__", type(target).__name__)
    return f"{module}.{name}"
