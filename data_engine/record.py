"""Frozen values that also read like the JSON objects they become: keys for programs, attributes for people."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields, is_dataclass
from functools import cache, cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

R = TypeVar("R", bound="Record")
V = TypeVar("V")

if TYPE_CHECKING:
    _Base = Mapping[str, Any]
else:
    _Base = (
        object  # `Mapping` has a metaclass, which makes `isinstance` slow: a look asks it of a hundred thousand files
    )


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(kind: type[V]) -> type[V]:
    """The same as `dataclass(frozen=True, slots=True)`, in a twentieth of the time: fields and `__init__` are made at their first use.

    Most classes of a process never get a value, and compiling six functions for each would take most of its start.
    No field is keyword-only; any other annotation is a `ClassVar`. The class may have a `cached_property`.

    Example:
        >>> @frozen
        ... class Point:
        ...     x: int
        ...     y: int = 0
        >>> Point(3), Point(3) == Point(3, 0), hash(Point(3)) == hash(Point(3))
        (Point(x=3, y=0), True, True)
    """
    own = dict(vars(kind))
    annotations = own.get("__annotations__", {}).items()
    names = {name: of for name, of in annotations if not str(of).startswith(("ClassVar", "KW_ONLY"))}
    defaults = {name: own.pop(name) for name in names if name in own}
    inherited = {name for base in kind.__mro__[1:] for name in getattr(base, "__slots__", ())}
    own.pop("__dict__", None)
    own.pop("__weakref__", None)
    own["__slots__"] = tuple(name for name in names if name not in inherited)
    if any(isinstance(value, cached_property) for value in own.values()):
        own["__slots__"] += ("__dict__",)
    own |= {"__dataclass_params__": _PARAMS, "__frozen__": (names, defaults)}
    own |= {"__init__": _Init(), "__setattr__": _refuse_change, "__delattr__": _refuse_change}
    own |= {"__getstate__": _state, "__setstate__": _set_state}
    own.setdefault("__repr__", _repr)
    if kind.__eq__ is object.__eq__:
        own |= {"__eq__": _is_equal, "__hash__": _hash}
    if hasattr(kind, "__frozen__"):  # only who has a frozen base asks `super()`
        own |= _class_cell(own.values())
    copy: Any = type(kind)
    copy = copy(kind.__name__, kind.__bases__, own | {"__dataclass_fields__": _Fields(names, defaults)})
    copy.__qualname__ = kind.__qualname__
    done: type[V] = copy
    return done


def _class_cell(members: Iterable[Any]) -> dict[str, Any]:
    """The cell by which `super()` knows its class, for the class that is made anew; nothing where no member asks for it."""
    for member in members:
        function = getattr(member, "fget", member)
        names = getattr(getattr(function, "__code__", None), "co_freevars", ())
        if "__class__" in names:
            return {"__classcell__": function.__closure__[names.index("__class__")]}
    return {}


_PARAMS = dataclass(init=False, repr=False, eq=False)(type("_Plain", (), {"__doc__": "fields"})).__dataclass_params__  # type: ignore[attr-defined]


class _Fields:
    """The `__dataclass_fields__` of a class, made by `dataclass` at their first use."""

    def __init__(self, types: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._types, self._defaults = types, defaults

    def __set_name__(self, kind: Any, name: str) -> None:
        self._kind = kind

    def __get__(self, value: object, kind: Any) -> dict[str, Any]:
        own = self._kind
        body = {"__annotations__": self._types, "__doc__": "fields", "__module__": own.__module__, **self._defaults}
        twin: Any = dataclass(init=False, repr=False, eq=False)(type(own.__name__, own.__bases__, body))
        table: dict[str, Any] = twin.__dataclass_fields__
        own.__dataclass_fields__ = table
        return table


class _Init:
    """The `__init__` of a class, compiled at its first use."""

    def __set_name__(self, kind: Any, name: str) -> None:
        self._kind = kind

    def __get__(self, value: object, kind: Any) -> Any:
        own, words, lines = self._kind, ["self"], []
        names: dict[str, Any] = {"__MISSING": MISSING}
        types, defaults = _declared(own)
        for name in types:
            entry, value_of = defaults.get(name, MISSING), name
            is_field = isinstance(entry, Field)
            default, new = (entry.default, entry.default_factory) if is_field else (entry, MISSING)
            names |= {f"__set_{name}": getattr(own, name).__set__, f"__default_{name}": default}
            if new is not MISSING:
                names[f"__new_{name}"] = new
                value_of = f"__new_{name}() if {name} is __MISSING else {name}"
            words.append(name if default is MISSING and new is MISSING else f"{name}=__default_{name}")
            lines.append(f" __set_{name}(self, {value_of})")
        if hasattr(own, "__post_init__"):
            lines.append(" self.__post_init__()")
        exec("\n".join([f"def __init__({', '.join(words)}):", *(lines or [" pass"])]), names)
        own.__init__ = init = names["__init__"]
        init.__qualname__, init.__module__ = f"{own.__qualname__}.__init__", own.__module__
        init.__annotations__ = types
        return init if value is None else init.__get__(value, kind)


def _declared(kind: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """The declared fields of a class and its bases: their types, and their defaults."""
    types: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for part in reversed(kind.__mro__):
        own = vars(part).get("__frozen__", ({}, {}))
        types |= own[0]
        defaults |= own[1]
    return types, defaults


def _refuse_change(self: object, name: str, value: object = None) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


@cache
def _slots(kind: Any) -> tuple[Any, ...]:
    """The descriptors of a class's fields, in order."""
    return tuple(getattr(kind, spec.name) for spec in fields(kind))


def _state(self: Any) -> list[Any]:
    return [slot.__get__(self) for slot in _slots(self.__class__)]


def _set_state(self: Any, state: list[Any]) -> None:
    for slot, value in zip(_slots(self.__class__), state, strict=True):
        slot.__set__(self, value)


def _repr(self: Any) -> str:
    shown = (f"{spec.name}={getattr(self, spec.name)!r}" for spec in fields(self) if spec.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _is_equal(self: object, other: object) -> bool:
    return bool(_compared(self) == _compared(other)) if type(other) is type(self) else NotImplemented


def _hash(self: object) -> int:
    return hash(_compared(self))


class Record(_Base):
    """A frozen value whose fields, and the properties that `computed` names, are also keys.

    Read by a key a tuple is a list, as in JSON; a record equals every mapping of the same keys and values. A subclass is
    `@frozen`; the metadata `of` of a field makes records of its JSON objects.

    Example:
        >>> @frozen
        ... class Point(Record):
        ...     x: int = 0
        ...     names: tuple[str, ...] = ()
        >>> point = Point(3, ("a",))
        >>> point.x, point["names"], point == {"x": 3, "names": ["a"]}, Point.read({"x": 3, "z": 9})
        (3, ['a'], True, Point(x=3, names=()))
    """

    __slots__ = ()
    computed: ClassVar[tuple[str, ...]] = ()
    sparse: ClassVar[tuple[str, ...]] = ()
    """Keys that are left out where their value is empty."""

    def __getitem__(self, key: str) -> Any:
        if key not in _keys(type(self)):
            raise KeyError(key)
        value = getattr(self, key)
        return list(value) if type(value) is tuple else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._present())

    def __len__(self) -> int:
        return len(self._present())

    def __contains__(self, key: object) -> bool:
        return key in _keys(type(self))

    def keys(self) -> KeysView[str]:
        """As of any mapping."""
        return KeysView(self)

    def values(self) -> ValuesView[Any]:
        """As of any mapping."""
        return ValuesView(self)

    def items(self) -> ItemsView[str, Any]:
        """As of any mapping."""
        return ItemsView(self)

    def get(self, key: str, default: Any = None) -> Any:
        """As of any mapping."""
        try:
            return self[key]
        except KeyError:
            return default

    def __eq__(self, other: object) -> bool:
        if type(other) is type(self):
            return bool(_compared(self) == _compared(other))
        return dict(self) == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), _compared(self)))

    def as_dict(self) -> dict[str, Any]:
        """Every key with its value, as plain JSON values."""
        kind = type(self)
        values = dict(zip(_keys(kind), _values(kind)(self), strict=True))
        for key in _nested(kind):
            values[key] = as_json(values[key])
        return {key: values[key] for key in self._present()} if self.sparse else values

    def _present(self) -> tuple[str, ...]:
        keys = _keys(type(self))
        return tuple(key for key in keys if key not in self.sparse or getattr(self, key)) if self.sparse else keys

    @classmethod
    def read(cls: type[R], data: Mapping[str, Any]) -> R:
        """The record of a JSON object: missing keys get their defaults, unknown keys are ignored."""
        values = {}
        for name, of in _readers(cls):
            if name in data:
                value = data[name]
                values[name] = value if value.__class__ in _PLAIN else _read(of, value)
        return cls(**values)


Mapping.register(Record)


def as_json(value: Any) -> Any:
    """`value` with every record and dataclass in it as plain JSON values."""
    if value.__class__ in _PLAIN:
        return value
    if isinstance(value, Record):
        return value.as_dict()
    if isinstance(value, (tuple, list)):
        return [as_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {spec.name: as_json(getattr(value, spec.name)) for spec in fields(value)}
    return value


_PLAIN = frozenset({str, int, float, bool, type(None)})
_PLAIN_NAMES = frozenset({"str", "int", "float", "bool", "None"})


def _read(of: Any, data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        return tuple(_read(of, part) for part in data)
    return data if of is None or data is None else of(data)


@cache
def _keys(kind: Any) -> tuple[str, ...]:
    return (*kind.computed, *(spec.name for spec in fields(kind)))


@cache
def _nested(kind: Any) -> tuple[str, ...]:
    """The keys whose values need not be plain."""
    plain = {spec.name for spec in fields(kind) if set(str(spec.type).split(" | ")) <= _PLAIN_NAMES}
    return tuple(key for key in _keys(kind) if key not in plain)


@cache
def _values(kind: Any) -> Callable[[Any], tuple[Any, ...]]:
    """A function that gets the values of all keys of a record at once."""
    keys = _keys(kind)
    return attrgetter(*keys) if len(keys) > 1 else lambda record: tuple(getattr(record, key) for key in keys)


@cache
def _readers(kind: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((spec.name, spec.metadata.get("of")) for spec in fields(kind))


@cache
def _compared_fields(kind: Any) -> Callable[[Any], Any]:
    names = [spec.name for spec in fields(kind) if spec.compare]
    return attrgetter(*names) if names else lambda value: ()


def _compared(value: Any) -> Any:
    """The values that equality and hash compare."""
    kind: Any = type(value)
    return _compared_fields(kind)(value)
