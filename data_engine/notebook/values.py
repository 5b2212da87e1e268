"""What an expression may give, and what running a statement may do to it: frozen values, joined where several are possible."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from data_engine.notebook import kinds
from data_engine.notebook.statements import Statement

Origin = tuple[Any, str]
"""A binding, by its statement's index and its name; or what a call made for its closures ("" for the name); or one of
("name", a rebound global), ("stream", a package), ("chart", a package), ("file", its name), ("log", "") for the files logged to,
("imported", a function of another module), ("text", any name)."""

NONE: frozenset[Origin] = frozenset()


@dataclass(frozen=True, slots=True)
class Touch:
    """What a statement may do to objects: `verb` is "changes", "may change", "draws from", "uses up", "fills the cache of", "sets", "writes"
    or "logs to"."""

    verb: str
    origins: frozenset[Origin]
    line: int
    shown: str


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """A function of the notebook. `env` are the variables around it, `token` what stands for them; `me` its own object.

    `before` and `named` are what a `functools.partial` gives it already; `cache` is what stands for the results it keeps.
    """

    owner: Statement
    node: Any
    env: Mapping[str, Value] | None = None
    token: frozenset[Origin] = NONE
    me: Value | None = None
    before: tuple[Value, ...] = ()
    named: tuple[tuple[str, Value], ...] = ()
    cache: frozenset[Origin] = NONE


class OwnClass(NamedTuple):
    """A class of the notebook: the statement it stands in, and itself."""

    owner: Statement
    node: ast.ClassDef


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """What an expression may give. `text` is a constant's or an import's dotted name; `code` what a call of it runs.

    `bound` is a method that is not called yet; `may_run_out` says of an unknown object that it may be an iterator, of a container that
    it holds some; `labels` are what only labels a frame: to write to its data does not change them. `either` are the kinds of which an
    unknown object has one, `part` is what each element of a container as written may be, `places` are those of a tuple, or the keys and
    the entries of a dict. `names` are the texts of which a plain object has one.
    """

    kind: str = kinds.UNKNOWN
    origins: frozenset[Origin] = NONE
    held: frozenset[Origin] = NONE
    text: str = ""
    code: tuple[Code, ...] = ()
    classes: tuple[OwnClass, ...] = ()
    is_instance: bool = False
    bound: tuple[str, ...] = ()
    may_run_out: bool = False
    labels: frozenset[Origin] = NONE
    either: frozenset[str] = frozenset()
    part: Value | None = None
    places: tuple[Value, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def all(self) -> frozenset[Origin]:
        """What it may be or hold; a cell of a frame is mostly a number or a text, so that nothing is who holds it."""
        if self.kind == kinds.CELL:
            return NONE
        return self.origins | self.held | self.labels if self.held or self.labels else self.origins

    @property
    def data(self) -> frozenset[Origin]:
        """What it may be or hold, without what only labels it."""
        return self.origins | self.held

    @property
    def exposed(self) -> frozenset[Origin]:
        """What somebody who is handed it may change: of a function only what it holds."""
        return self.held if self.kind == kinds.FUNCTION else self.all

    @property
    def mixed(self) -> Value:
        """The container once nobody knows what is in it."""
        return replace(self, part=None, places=())

    @property
    def shallow(self) -> Value:
        """The container once nobody knows what is in those that it holds."""
        part = None if self.part is None else self.part.shallow if self.part.text == kinds.FIXED else self.part.mixed
        places = tuple(each.shallow if each.text == kinds.FIXED else each.mixed for each in self.places)
        return replace(self, part=part, places=places)

    @property
    def entry(self) -> Value:
        """What `container[key]` may be."""
        is_dict = len(self.places) == 2 and self.text != kinds.FIXED
        return element(replace(self, part=self.places[1]) if is_dict else self)

    @property
    def alternatives(self) -> list[Value]:
        """The object as each of the kinds of which it has one."""
        return [replace(self, kind=kind, either=frozenset()) for kind in sorted(self.either)]


PLAIN = Value(kinds.PLAIN)
NOBODY_KNOWS = Value()


def join(values: Iterable[Value]) -> Value:
    """What may be any of these.

    Example:
        >>> join([PLAIN, PLAIN]).kind, join([PLAIN, NOBODY_KNOWS]).kind
        ('plain', 'unknown')
        >>> sorted(join([PLAIN, Value(kinds.FRAME)]).either)
        ['frame', 'plain']
    """
    found = list(values)
    if len(found) == 1:
        return found[0]
    if not found:
        return NOBODY_KNOWS
    met = {value.kind for value in found}
    kind = found[0].kind if len(met) == 1 else kinds.UNKNOWN
    return Value(
        kind,
        NONE.union(*(value.origins for value in found)),
        NONE.union(*(value.held for value in found)),
        found[0].text if len({value.text for value in found}) == 1 else "",
        tuple(dict.fromkeys(code for value in found for code in value.code)),
        tuple(dict.fromkeys(each for value in found for each in value.classes)),
        any(value.is_instance for value in found),
        labels=NONE.union(*(value.labels for value in found)),
        either=_either(found) if kind == kinds.UNKNOWN else frozenset(),
        part=_part_of_all(found) if kind == kinds.CONTAINER else None,
        places=_places(found) if kind == kinds.CONTAINER else (),
        names=_names(found) if kinds.PLAIN in met else (),
    )


def _part_of_all(found: Sequence[Value]) -> Value | None:
    parts = [value.part for value in found if value.part is not None]
    return join(parts) if len(parts) == len(found) else None


def _places(found: Sequence[Value]) -> tuple[Value, ...]:
    """What stands at each place of a tuple that may be any of these."""
    if len({(len(value.places), value.text) for value in found}) > 1:
        return ()
    return tuple(map(join, zip(*(value.places for value in found), strict=True)))


def _names(found: Sequence[Value]) -> tuple[str, ...]:
    """The texts of which one is meant, where all are known and there are several."""
    texts = [value.names or (value.text,) for value in found if value.kind == kinds.PLAIN or value.names]
    names = dict.fromkeys(name for each in texts for name in each)
    return () if "" in names or (len(names) == 1 and len(texts) == len(found)) else tuple(names)


def _either(found: Sequence[Value]) -> frozenset[str]:
    """The kinds of which an object has one that may be any of these; none where nobody knows."""
    if any(value.code or value.classes or (value.kind not in kinds.KNOWN and not value.either) for value in found):
        return frozenset()
    return frozenset().union(*(value.either or {value.kind} for value in found))


def part_of(found: Sequence[Value]) -> Value | None:
    """What each element of a container may be that is written with these; None where nobody knows."""
    part = join(found)
    is_known = part.either or (part.kind in (*kinds.KNOWN, kinds.DEFAULTS) and not part.code)
    has_open_path = any("*" in value.text for value in found)
    return part if found and is_known and not has_open_path else None


@dataclass(slots=True)
class Outcome:
    """What running one statement comes to: values bound, what was stored in which objects, touches, seeds; `asks` are the lines that ask for the
    chart at hand."""

    bound: dict[str, Value] = field(default_factory=dict)
    stores: list[tuple[frozenset[Origin], frozenset[Origin]]] = field(default_factory=list)
    touches: dict[Touch, None] = field(default_factory=dict)
    seeds: set[str] = field(default_factory=set)
    asks: set[int] = field(default_factory=set)


def element(value: Value) -> Value:
    """What a part of a value may be.

    Example:
        >>> element(Value(kinds.FRAME, frozenset({(0, "frame")}))).kind
        'frame'
    """
    if value.kind in kinds.TABLES:
        return Value(value.kind, value.origins)
    if value.kind == kinds.PLOT or value.kind in kinds.TRAINED:
        return Value(value.kind, value.origins, value.held)
    if value.kind in (kinds.PLAIN, kinds.POLARS):
        return Value(value.kind)
    if value.kind == kinds.CELL:
        return value
    if value.kind == kinds.CONTAINER and value.may_run_out:
        return Value(kinds.ITERATOR, value.origins, value.held)
    if value.either:
        return join([element(each) for each in value.alternatives])
    if value.part is not None:
        if value.part.kind in (kinds.PLAIN, kinds.POLARS):
            return value.part
        return replace(value.part, origins=value.part.origins | value.origins)
    if value.kind in (kinds.CONTAINER, kinds.ITERATOR, kinds.DEFAULTS):
        return Value(kinds.UNKNOWN, value.all, value.held, code=value.code, classes=value.classes)
    return Value(kinds.UNKNOWN, value.all, value.held, code=value.code)
