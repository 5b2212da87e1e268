"""The key of a step's code: its function and everything it reaches, by value.

From the function the walk follows every name its code reads: helpers, classes, closures, defaults, the values of globals,
helper modules by the attributes used of them. The author's code counts by its compiled form, libraries by name and version,
values by content. What cannot be followed gives a reason, and the step is always run.
"""

from __future__ import annotations

import builtins
import datetime
import decimal
import enum
import functools
import hashlib
import importlib
import inspect
import io
import locale
import logging
import os
import pickle
import re
import sys
import types
import typing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from data_engine.engine.memo.access_log import Namespace
from data_engine.engine.memo.bytecode import Chain, CodeFacts, code_facts, constant_bytes, identifiers
from data_engine.engine.memo.interceptors import is_intercepted, is_reader, watched_libraries
from data_engine.engine.memo.libraries import LOOSE, is_authored, version_of, why_unseen
from data_engine.engine.memo.recorders import is_frame
from data_engine.engine.memo.value_copy import PLAIN
from data_engine.flow.batch import Batch, FileRef
from data_engine.flow.spec import Collect, Map, StepSpec

_MAX_VALUE_BYTES = 256 * 1024 * 1024
_MAX_PARTS = 5000
_PATH_LIKE = re.compile(r"[^\n\0]{0,400}([/\\][^\n\0]{0,400}|\.\w{1,8})")
_BY_NAME = frozenset({"builtins.getattr", "operator.attrgetter", "operator.methodcaller"})
_AT_NAME = re.compile(r"@([^\W\d]\w*)")
_VOLATILE = re.compile(
    r"\b(random|uuid|gen_random_uuid|uuidv4|uuidv7|now|today|get_current_time(stamp)?|getenv|getvariable)\s*\(\s*\)"
    r"|\brandomblob\s*\("
    r"|\b(current_(date|time|timestamp|localtime|localtimestamp)|localtimestamp)\b"
    r"|\b(date|datetime|time|julianday|unixepoch|strftime)\s*\([^)]*'now'",
    re.IGNORECASE,
)
_ATTACH = re.compile(r"\battach\s+(database\s+)?['\"?:@$]", re.IGNORECASE)
_VOLATILE_WORDS = frozenset({"now", "today", "random", "uuid", "gen_random_uuid"})
_ASKERS = frozenset({"library numpy", "library pandas", "library duckdb"})
_BUILTINS: Namespace = vars(builtins)
_CLASS_NOISE = frozenset(
    """__dict__ __weakref__ __doc__ __module__ __annotations__ __annotate__ __annotate_func__ __annotations_cache__
    __firstlineno__ __static_attributes__ __abstractmethods__ _abc_impl __dataclass_fields__ __parameters__
    __orig_bases__ __type_params__ __slots__ _is_protocol __protocol_attrs__ __non_callable_proto_members__
    _is_runtime_protocol __subclasshook__""".split()
)
_PASSING = frozenset(
    {"PYTEST_CURRENT_TEST", "COLUMNS", "LINES", b"PYTEST_CURRENT_TEST", b"COLUMNS", b"LINES"}
)  # set anew all the time by the tools around a kernel
_TIMES_AND_NUMBERS = frozenset(
    {decimal.Decimal, Fraction, UUID, datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
    | {datetime.timezone, ZoneInfo}
)
_DESCRIPTORS = (
    types.MemberDescriptorType, types.GetSetDescriptorType, types.MethodDescriptorType, types.WrapperDescriptorType,
    types.ClassMethodDescriptorType, types.MethodWrapperType,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CodeFingerprint:
    """What a step's code is at this moment.

    `parts` name everything it is made of, each with a digest; `unseen` is why it must always run, None when it need not;
    `literals` are texts and paths in it that could be files; `classes` the identities of the author's classes; `captured` the author's names that hold a reader itself;
    `tables` are the tables of a context among the attributes it reads, `odd_metadata` whether those could give facts that
    differ from run to run.
    """

    parts: Mapping[str, bytes]
    unseen: str | None
    literals: frozenset[str]
    classes: frozenset[int]
    captured: tuple[tuple[Namespace, str], ...]
    tables: frozenset[str]
    odd_metadata: bool

    @property
    def names_objects(self) -> bool:
        """Whether it may take saved objects from the context."""
        return "objects" in self.tables


def code_fingerprint(step: StepSpec) -> CodeFingerprint:
    """The code of `step`. Modules it imports inside functions are imported, as the step itself would do."""
    walk = _CodeTracer()
    fn = step.fn
    options: tuple[object, ...] = (step.use, step.save_as, step.label)
    if isinstance(fn, Map):
        options += ("map", fn.takes_context, fn.max_parallel, fn.keep_errors)
        fn = fn.fn
    elif isinstance(fn, Collect):
        options += ("collect", fn.extensions, fn.recursive, None if fn.root is None else str(fn.root.path))
        walk.parts["its options"] = constant_bytes(options)
        return walk.result()
    walk.parts["its options"] = constant_bytes(options)
    walk.root(fn)
    return walk.result()


def world() -> dict[str, bytes]:
    """What every step depends on without naming it: environment, working directory, locale, decimal context."""
    decimals = decimal.getcontext()
    traps = [flag.__name__ for flag, is_set in decimals.traps.items() if is_set]
    shape = (decimals.prec, decimals.rounding, decimals.Emin, decimals.Emax, decimals.capitals, decimals.clamp, traps)
    return {
        "the environment": _environment(),
        "the working directory": os.fsencode(_working_directory()),
        "the locale": locale.setlocale(locale.LC_ALL).encode(),
        "the decimal context": repr(shape).encode(),
    }


def value_digest(value: object) -> bytes | None:
    """A digest of the content of `value`; None when it has none."""
    walk = _CodeTracer()
    digest = walk.value(value, "value")
    return None if walk.unseen else hashlib.sha256(b"".join([digest, *walk.parts.values()])).digest()


def digest_of(*items: object) -> bytes:
    """One digest of several texts, digests and mappings of digests."""
    return hashlib.sha256(repr(items).encode("utf-8", "surrogatepass")).digest()


_environment_then: tuple[dict[Any, Any], bytes] = ({}, b"")


def _environment() -> bytes:
    global _environment_then
    raw: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)  # decoding every entry takes longer than a step
    then, digest = _environment_then
    if raw != then:
        digest = digest_of(sorted(item for item in raw.items() if item[0] not in _PASSING))
        _environment_then = (dict(raw), digest)
    return digest


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


@dataclass
class _CodeTracer:
    parts: dict[str, bytes] = field(default_factory=dict)
    unseen: str | None = None
    literals: set[str] = field(default_factory=set)
    captured: list[tuple[Namespace, str]] = field(default_factory=list)
    mentions: set[str] = field(default_factory=set)
    odd_metadata: bool = False
    words: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    attached: bool = False
    by_name: bool = False
    volatile: set[str] = field(default_factory=set)
    spaces: dict[int, Namespace] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)
    alive: list[object] = field(default_factory=list)
    open_values: dict[int, int] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)
    cycles: int = 0

    def result(self) -> CodeFingerprint:
        self._frames_named_in_texts()
        self._added_methods()
        if "__doc__" in self.mentions | self.literals:
            told = [one.__doc__ for one in self.alive if isinstance(one, (types.FunctionType, type))]
            self.parts["a docstring"] = digest_of(told)
        return CodeFingerprint(
            self.parts,
            self.unseen,
            frozenset(text for text in self.literals if _PATH_LIKE.fullmatch(text)),
            frozenset(id(target) for target in self.alive if isinstance(target, type)),
            tuple(self.captured),
            frozenset({"objects", "metadata"} & self.mentions),
            self.odd_metadata,
        )

    def mark_unseen(self, reason: str) -> None:
        if self.unseen is None:
            self.unseen = reason

    # -- callables ---------------------------------------------------------------------------------------------------

    def root(self, fn: Any) -> None:
        """The step's own function; a partial is taken apart, a reader given as a step is seen by its wrapper."""
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
        """What stands for a function, class or module in the digest of whoever names it."""
        known = self.labels.get(id(target))
        if known is not None:
            return known
        if is_reader(target):
            self.mark_unseen(f"{name} is held where it cannot be watched")
            return _dotted(target)
        if isinstance(target, types.FunctionType):
            return (
                self.function(target, f"helper {name}") if self._is_to_follow(target) else self.library(_dotted(target))
            )
        if isinstance(target, type):
            return self.cls(target, name) if is_authored(target.__module__) else self.library(_dotted(target))
        if isinstance(target, types.ModuleType):
            return self.module(target, name)
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
            return self.reference(target.__wrapped__, name)
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
        found: Any = home
        for part in (fn.__qualname__ or "").split("."):
            found = getattr(found, part, None)
        return found is not fn and (fn.__closure__ is not None or "<locals>" in fn.__qualname__ or home is None)

    def function(self, fn: types.FunctionType, label: str) -> str:
        label = self._label(fn, label)
        if len(self.parts) > _MAX_PARTS:
            self.mark_unseen("more code than can be followed")
            return label
        self.parts[label] = b""
        facts = code_facts(fn.__code__)
        space = fn.__globals__
        if is_authored(_space_name(space)):
            self._note_facts(facts, space)
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
        pieces += [(chain, self._global(space, chain)) for chain in sorted(facts.globals)]
        for module, level in sorted(facts.imported):
            found = self._import(space, module, level)
            pieces.append((module, "missing" if found is None else ""))
        for module, level, chain in sorted(facts.imports):
            found = self._import(space, module, level)
            pieces.append((module, level, chain, "missing" if found is None else self._through(found, chain, module)))
        self.parts[label] = digest_of(*pieces)
        return label

    def _note_facts(self, facts: CodeFacts, space: Namespace) -> None:
        self.mentions |= facts.mentions
        self.odd_metadata = self.odd_metadata or facts.odd_metadata
        self.literals.update(facts.strings)
        for text in facts.strings:
            self._text(text)
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
        return self._named(content, name)

    def _global(self, space: Namespace, chain: Chain) -> str:
        name = chain[0]
        if name in space:
            value = space[name]
            if is_reader(value):
                self.captured.append((space, name))
                return self.library(_dotted(value))
            return self._through(value, chain[1:], name)
        own = space.get("__builtins__")
        names: Namespace = own if isinstance(own, dict) else _BUILTINS
        if name not in names:
            return "missing"
        value = names[name]
        if name == "display":  # shows, gives nothing back
            return name
        if value is _BUILTINS.get(name) or is_reader(value) or name == "__import__":
            return self.library(f"builtins.{name}")
        return self._through(value, chain[1:], name)

    def _through(self, value: Any, chain: Chain, name: str) -> str:
        """What `value.a.b` stands for: modules are followed by the attributes used of them."""
        while isinstance(value, types.ModuleType) and chain:
            owner, attribute = value, chain[0]
            is_ours = is_authored(owner.__name__)
            if attribute not in vars(owner) and hasattr(owner, "__path__"):
                with suppress(Exception):
                    importlib.import_module(f"{owner.__name__}.{attribute}")
            if attribute not in vars(owner) and is_ours:
                maker = vars(owner).get("__getattr__")
                if maker is None:
                    return f"no {owner.__name__}.{attribute}"
                self.reference(maker, f"{owner.__name__}.__getattr__")
            value, chain, name = getattr(owner, attribute, None), chain[1:], attribute
            if is_reader(value) and not is_intercepted(owner, attribute):
                self.captured.append((vars(owner), attribute))
                return self.library(_dotted(value))
            if not is_ours and not isinstance(value, types.ModuleType):
                return self._of_library(owner.__name__, attribute, value, chain)
        if isinstance(value, type) and not is_authored(value.__module__):
            return self.library(".".join((_dotted(value), *chain)))
        return self._named(value, name)

    def _of_library(self, module: str, attribute: str, value: Any, chain: Chain) -> str:
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
            return f"{text} {self._named(value, attribute)}"
        if type(value).__module__.startswith("unittest"):
            self.mark_unseen(f"{module}.{attribute}, which is a mock")
        is_plain = isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType))
        if is_plain and module.partition(".")[0] != "duckdb":  # its functions live under other names
            self.library(".".join((_dotted(value), *chain)))
        return text

    def _import(self, space: Namespace, module: str, level: int) -> types.ModuleType | None:
        """The module an import inside a function gives; it is imported now, so that its readers can be watched."""
        own = space.get("__builtins__")
        look_in = own.get("__import__") if isinstance(own, dict) else None
        top = module.partition(".")[0]
        is_known = look_in is not None or is_authored(top) or top in watched_libraries() or top in sys.modules
        if level == 0 and not is_known and why_unseen(module) is not None:
            self.library(module)
            return None
        with suppress(Exception):
            found = (look_in or builtins.__import__)(module, space, None, ("__name__",) if module else (), level)
            if isinstance(found, types.ModuleType):
                return found
        return None

    def module(self, module: types.ModuleType, name: str) -> str:
        """A module as a whole, because it is handed on."""
        if not is_authored(module.__name__):
            return self.library(module.__name__)
        label = self._label(module, f"module {name}")
        self.parts[label] = b""
        self.spaces.setdefault(id(vars(module)), vars(module))
        pieces = [
            (key, self._named(value, key))
            for key, value in sorted(vars(module).items())
            if not (key.startswith("__") and key.endswith("__"))
        ]
        self.parts[label] = digest_of(*pieces)
        return label

    def cls(self, kind: type, name: str) -> str:
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
                pieces += [(one.name, one.kw_only, self.value(dict(one.metadata), name)) for one in fields(kind)]
            elif isinstance(value, types.FunctionType):
                pieces.append((key, self.reference(value, f"{kind.__name__}.{key}")))
            elif type(value).__name__ == "_tuplegetter":
                pieces.append((key, value.__reduce__()[1][0]))
            else:
                pieces.append((key, self._named(value, f"{kind.__name__}.{key}")))
        self.parts[label] = digest_of(*pieces)
        return label

    def _annotations(self, target: Any, name: str) -> Iterator[object]:
        """What is annotated, for schemas are written so; a type of the author's counts with all it is."""
        annotated: Mapping[str, Any] = {}
        with suppress(Exception):  # from Python 3.14 they are evaluated when asked for, and may name what is not there
            annotated = inspect.get_annotations(target)
        for key, value in annotated.items():
            is_ours = isinstance(value, type) and is_authored(value.__module__)
            with suppress(Exception):  # the author's own `__repr__`
                yield key, self.reference(value, name) if is_ours else repr(value)

    def library(self, dotted: str) -> str:
        self.by_name = self.by_name or dotted in _BY_NAME
        reason = why_unseen(dotted)
        if reason is not None:
            self.mark_unseen(reason)
        top = dotted.partition(".")[0]
        self.parts.setdefault(f"library {top}", version_of(top).encode())
        return dotted

    def _label(self, target: object, wanted: str) -> str:
        label, number = wanted, 2
        while label in self.parts:
            label, number = f"{wanted}#{number}", number + 1
        self.labels[id(target)] = label
        self.alive.append(target)
        return label

    # -- values --------------------------------------------------------------------------------------------------------

    def _named(self, value: Any, name: str) -> str:
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
                    self._text(value)
            return _short(constant_bytes(value))
        if is_reader(value):
            self.mark_unseen(f"{name} is held where it cannot be watched")
            return b"reader"
        reference = self.reference(value, name)
        if reference:
            return _short(b"ref:" + reference.encode("utf-8", "surrogatepass"))
        if id(value) in self.open_values:
            self.cycles += 1
            return b"again:%d" % self.open_values[id(value)]
        known = self.digests.get(id(value))
        if known is not None:
            return known
        self.open_values[id(value)] = len(self.open_values)
        self.alive.append(value)
        cycles = self.cycles
        try:
            if len(self.open_values) > 60:
                self.mark_unseen(f"{name} is nested too deeply")
                return b""
            content = _short(self._content(value, kind, name))
        finally:
            del self.open_values[id(value)]
        if self.cycles == cycles:
            self.digests[id(value)] = content
        return content

    def _content(self, value: Any, kind: type, name: str) -> bytes:
        title = f"{kind.__module__}.{kind.__qualname__}:".encode()
        if isinstance(value, (PurePath, FileRef)):
            self.literals.add(os.fspath(value))
            return title + os.fsencode(os.fspath(value))
        if isinstance(value, enum.Enum):
            return title + self.reference(kind, kind.__name__).encode() + str(value.name).encode()
        if kind in _TIMES_AND_NUMBERS:
            zone = getattr(value, "tzinfo", None)
            return title + repr(value).encode() + (b"" if zone is None else self.value(zone, name))
        if kind in (list, tuple, set, frozenset, deque):
            return title + self._items(value, kind, name)
        if kind is bytearray:
            return title + bytes(value)
        if kind is re.Pattern:
            return title + constant_bytes((value.pattern, value.flags))
        if kind is slice:
            return title + constant_bytes((repr(value.start), repr(value.stop), repr(value.step)))
        if kind is types.MappingProxyType or (isinstance(value, dict) and not is_authored(kind.__module__)):
            factory = getattr(value, "default_factory", None)
            return title + self._mapping(value, name) + (b"" if factory is None else self.value(factory, name))
        if kind is Batch:
            return title + self._items(value.items, tuple, name)
        if isinstance(value, (logging.Logger, types.GenericAlias, types.UnionType, typing.TypeVar)):
            return title + repr(value).encode()
        if kind.__module__ in ("typing", "_typing") or kind.__name__ in ("_HAS_DEFAULT_FACTORY_CLASS", "_MISSING_TYPE"):
            return title + repr(value).encode()
        if isinstance(value, io.TextIOBase) and value in (sys.stdout, sys.stderr):
            return title
        if is_authored(kind.__module__):
            return title + self._instance(value, kind, name)
        library = kind.__module__.partition(".")[0]
        content = _library_content(value, kind, library)
        if content is None:
            self.mark_unseen(f"{name} is a {kind.__name__}, whose state nobody can see")
            return title
        return title + content

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
                self.mark_unseen(f"{name} is a {kind.__name__}, whose state nobody can see")
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

    # -- what no name leads to --------------------------------------------------------------------------------------------

    def _text(self, text: str) -> None:
        """A text may be a query: its words may name frames, `@name` any value, and it may ask for the time."""
        self.words |= identifiers(text)
        if "@" in text:
            self.asked |= set(_AT_NAME.findall(text))
        if (found := _VOLATILE.search(text)) is not None:
            self.volatile.add(found[0])
        if _ATTACH.search(text) is not None:
            self.attached = True

    def _frames_named_in_texts(self) -> None:
        """SQL reads frames by name: any word in any text that is the name of a frame in a module reached."""
        if self.attached and "library duckdb" not in self.parts:
            self.mark_unseen("a database that SQLite attaches")
        if self.by_name and ("library datetime" in self.parts or not self.literals.isdisjoint(LOOSE)):
            self.mark_unseen("an attribute read by a name made while it runs")
        if self.volatile:
            self.mark_unseen(f"the clock or random numbers in a query ({min(self.volatile)})")
        if not self.parts.keys().isdisjoint(_ASKERS) and self.words & _VOLATILE_WORDS & self.literals:
            self.mark_unseen(f"the clock or random numbers ({min(self.words & _VOLATILE_WORDS & self.literals)!r})")
        for space in list(self.spaces.values()):
            for word in sorted(self.asked & space.keys()):
                self._named(space[word], word)
            for word in sorted(self.words & space.keys()):
                if is_frame(space[word]) and not isinstance(space[word], (types.ModuleType, type, types.FunctionType)):
                    self._named(space[word], word)

    def _added_methods(self) -> None:
        """Methods and name spaces the author added to frames: no name in the step leads to them."""
        for label, members in _frame_classes():
            for name in self.mentions:
                if name in members:
                    self._added_method(members[name], f"{label}.{name}")

    def _added_method(self, added: Any, name: str) -> None:
        target = getattr(added, "_ns", None) or getattr(added, "_accessor", None) or added
        if not isinstance(target, (types.FunctionType, type)) or is_reader(target):
            return
        home = _space_name(target.__globals__) if isinstance(target, types.FunctionType) else target.__module__
        if is_authored(home):
            self.reference(target, name)


_CLASSES = {
    "polars": ("DataFrame", "LazyFrame", "Series", "Expr"),
    "pandas": ("DataFrame", "Series"),
    "duckdb": ("DuckDBPyConnection", "DuckDBPyRelation"),
    "pathlib": ("Path", "PurePath"),
    "data_engine.flow.batch": ("Batch", "FileRef"),
}


def _frame_classes() -> list[tuple[str, Mapping[str, Any]]]:
    """The classes whose objects a step gets without naming them, and to which an author may add methods."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for library, names in _CLASSES.items():
        space = vars(sys.modules[library]) if library in sys.modules else {}
        found += [(name, vars(space[name])) for name in names if isinstance(space.get(name), type)]
    return found


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
