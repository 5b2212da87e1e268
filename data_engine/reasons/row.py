"""What one row of the table of reasons is, and how its sentence is filled with the fields of a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cache
from typing import Any, ClassVar, TypeAlias, TypeVar, dataclass_transform

from data_engine.marks import IDLE, Look, Mark
from data_engine.record import Record, frozen
from data_engine.times import clock_words, time_words, zoned_words

R = TypeVar("R", bound="Reason")
Words: TypeAlias = str | Callable[[Any], str | None]
"""A sentence with its fields in braces, or what makes one of the value."""

SHORT_ID = 8
"""So many letters of a run's id are shown."""

_FORMS: Mapping[str, Callable[[Any, Any], str]] = {
    "": lambda value, of: str(value),
    "if": lambda value, of: "",
    "id": lambda value, of: (value or "?")[:SHORT_ID],
    "list": lambda value, of: ", ".join(value),
    "or": lambda value, of: " or ".join(value),
    "quoted": lambda value, of: repr(value),
    "time": lambda value, of: time_words(value),
    "zoned": lambda value, of: zoned_words(value, getattr(of, "tz", None)),
    "clock": lambda value, of: clock_words(value, getattr(of, "tz", None)),
}
_OPTIONAL = re.compile(r"\[([^\[\]{}]*\{[^\[\]]*)\]")
_FIELD = re.compile(r"\{(\w+)(?::([^{}]*))?\}")


def filled(sentence: str, of: object) -> str:
    """A sentence with the fields of a value. A part in brackets with a field stands only where all fields in it hold something.

    `{at_utc:time}` is a form of `_FORMS`, else a format of Python's; of a method the form is the argument.

    Example:
        >>> from types import SimpleNamespace
        >>> [filled("failed[: {error}] [retry]", SimpleNamespace(error=error)) for error in ("oh", None)]
        ['failed: oh [retry]', 'failed [retry]']
    """

    if "{" not in sentence:
        return sentence
    found: list[str] = []
    for needed, part in _parts(sentence):
        if not needed or all(getattr(of, name) for name in needed):
            found += [text if name is None else _shown(of, name, text) for name, text in part]
    return "".join(found)


@cache
def _parts(sentence: str) -> tuple[tuple[tuple[str, ...], tuple[tuple[str | None, str], ...]], ...]:
    """The parts of a sentence, each with the fields that it needs, and as texts (no name) and fields with their forms."""
    found = []
    for number, text in enumerate(_OPTIONAL.split(sentence)):
        pieces = _FIELD.split(text)  # text, name, form, text, ...
        part: list[tuple[str | None, str]] = []
        for at in range(0, len(pieces), 3):
            part.append((None, pieces[at]))
            part += [(pieces[at + 1], pieces[at + 2] or "")] if at + 1 < len(pieces) else []
        needs = tuple(name for name, _ in part if name is not None) if number % 2 else ()
        found.append((needs, tuple(part)))
    return tuple(found)


def _shown(of: object, name: str, form: str) -> str:
    value = getattr(of, name)
    if callable(value):
        return str(value(form))
    return _FORMS[form](value, of) if form in _FORMS else format(value, form)


@frozen
class Row:
    """What the table says of one kind of reason: its `sentence`, the `remedy` (None where it changes by itself) and its `look`."""

    sentence: Words
    remedy: Words | None = None
    look: Look = IDLE


class Reason(Record):
    """Why something runs or does not. As JSON it is its `kind` and its fields."""

    __slots__ = ()
    computed: ClassVar = ("kind",)
    kind: ClassVar[str]
    row: ClassVar[Row]

    @property
    def text(self) -> str:
        """The sentence for people."""
        sentence = self.row.sentence
        return filled(sentence, self) if isinstance(sentence, str) else sentence(self) or ""

    def mark(self, word: str | None = None) -> Mark:
        """Its mark; `word` stands for its sentence."""
        return Mark(self.text if word is None else word, *self.row.look, self.kind)


KINDS: dict[str, type[Reason]] = {}
"""Every kind a reason can be of."""


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def reason(kind: str, sentence: Words, remedy: Words | None = None, look: Look = IDLE) -> Callable[[type[R]], type[R]]:
    """Make a class of fields a row of the table."""

    def listed(fields: type[R]) -> type[R]:
        made = frozen(fields)
        made.kind, made.row = kind, Row(sentence, remedy, look)
        KINDS[kind] = made
        return made

    return listed
