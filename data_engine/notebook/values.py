"""What an expression may give, and what running a statement may do to it: frozen values, joined where several are possible."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
    it holds some; `labels` are what only labels a frame: to write to its data does not change them.
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


PLAIN = Value(kinds.PLAIN)
NOBODY_KNOWS = Value()


def join(values: Iterable[Value]) -> Value:
    """What may be any of these.

    Example:
        >>> join([PLAIN, PLAIN]).kind, join([PLAIN, NOBODY_KNOWS]).kind
        ('plain', 'unknown')
    """
    found = list(values)
    if len(found) == 1:
        return found[0]
    if not found:
        return NOBODY_KNOWS
    kind = found[0].kind if len({value.kind for value in found}) == 1 else kinds.UNKNOWN
    return Value(
        kind,
        NONE.union(*(value.origins for value in found)),
        NONE.union(*(value.held for value in found)),
        found[0].text if len({value.text for value in found}) == 1 else "",
        tuple(dict.fromkeys(code for value in found for code in value.code)),
        tuple(dict.fromkeys(each for value in found for each in value.classes)),
        any(value.is_instance for value in found),
        labels=NONE.union(*(value.labels for value in found)),
    )


@dataclass(slots=True)
class Outcome:
    """What running one statement comes to: values bound, what was stored in which objects, touches, seeds; `asks` for the chart at hand."""

    bound: dict[str, Value] = field(default_factory=dict)
    stores: list[tuple[frozenset[Origin], frozenset[Origin]]] = field(default_factory=list)
    touches: dict[Touch, None] = field(default_factory=dict)
    seeds: set[str] = field(default_factory=set)
    asks: bool = False


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
    if value.kind in (kinds.CONTAINER, kinds.ITERATOR, kinds.DEFAULTS):
        return Value(kinds.UNKNOWN, value.all, value.held, code=value.code, classes=value.classes)
    return Value(kinds.UNKNOWN, value.all, value.held, code=value.code)
