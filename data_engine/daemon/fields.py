"""What the JSON of a request may hold: its fields by name, each checked before anybody acts on one of them.

One table of fields per request, here for the daemon's API and for the panel's actions alike.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from data_engine.argument_checks import is_text, is_unicode
from data_engine.cut import beginning
from data_engine.errors import FlowValidationError
from data_engine.platforms.names import is_too_long

MOST_COUNTED = 1_000_000_000
_REQUIRED = object()


class BadRequestError(FlowValidationError):
    """A field of a request is missing, or of the wrong type."""


@dataclass(frozen=True, slots=True)
class Field:
    """A value of a request: `words` name its type, `fits` says whether a value is of it."""

    words: str
    fits: Callable[[Any], bool]
    default: Any = _REQUIRED
    read: Callable[[Any], Any] = lambda value: value

    def or_else(self, default: Any) -> Field:
        """The same for a field that may be missing, or null."""
        return replace(self, default=default)

    @property
    def optional(self) -> Field:
        """The same for a field that is None when it is missing."""
        return self.or_else(None)


Fields: TypeAlias = Mapping[str, Field]
Answer: TypeAlias = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def checked(given: Mapping[str, Any], fields: Fields, where: str) -> dict[str, Any]:
    """The values of these fields; those nobody asked for are left out.

    Raises:
        BadRequestError: one is missing, or of the wrong type.

    Example:
        >>> checked({"flow": "claims"}, {"flow": TEXT, "now": FLAG.or_else(False)}, "run")
        {'flow': 'claims', 'now': False}
        >>> checked({"flow": 3}, {"flow": TEXT}, "run")
        Traceback (most recent call last):
        ...
        data_engine.daemon.fields.BadRequestError: flow must be a text, not 3
          where: run
          fix:   give flow as a text
    """
    return {name: _value(given.get(name), name, field, where) for name, field in fields.items()}


def asked(act: Answer, where: str, /, **fields: Field) -> Answer:
    """`act`, called with the checked values of these fields."""

    async def answer(given: dict[str, Any]) -> dict[str, Any]:
        return await act(checked(given, fields, where))

    return answer


def _value(value: Any, name: str, field: Field, where: str) -> Any:
    if value is None and field.default is not _REQUIRED:
        return field.default
    if not field.fits(value):
        raise BadRequestError(
            f"{name} must be {field.words}, not {beginning(repr(value), 200)}",
            where=where,
            fix=f"give {name} as {field.words}",
        )
    return field.read(value)


def _is_path(value: Any) -> bool:
    return is_text(value) and bool(value.strip()) and not is_too_long(value)


def _is_text(value: Any) -> bool:
    return is_unicode(value) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    if isinstance(value, str):  # of a query all is text
        return value.isascii() and value.isdigit() and len(value) < 10
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_COUNTED


TEXT = Field("a text", _is_text)
ANY_TEXT = Field("a text", is_text)
PATH = Field("a path", _is_path)
TEXTS = Field("a list of texts", lambda value: isinstance(value, list) and all(map(_is_text, value)))
PATHS = Field("a list of paths", lambda value: isinstance(value, list) and all(map(_is_path, value)))
FLAG = Field("true or false", lambda value: isinstance(value, bool))
COUNT = Field("a whole number", _is_count, read=int)
SECONDS = Field(
    "a number of seconds", lambda value: _is_number(value) and 0 <= value < math.inf, read=lambda value: min(value, 1e9)
)
OBJECT = Field("an object", lambda value: isinstance(value, dict))
