"""The kinds of fields of commands and queries, and their one codec: from Python, from JSON and to JSON, each value checked.

A field of a command is `field(metadata=argument(TEXT, "one line of help"))`; a query has a table of kinds by name.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import MISSING, fields, replace
from datetime import date
from typing import Any, TypeAlias, TypeVar

from data_engine.argument_checks import is_text, is_unicode
from data_engine.errors import FlowValidationError
from data_engine.formatting import beginning
from data_engine.platforms.names import is_too_long
from data_engine.record import frozen

MOST_COUNTED = 1_000_000_000
_LONGEST_TEXT = 2_000
_REQUIRED = object()
_SET_ID = re.compile(r"[0-9a-f]{24}")

C = TypeVar("C")


class BadRequestError(FlowValidationError):
    """A field of a request is missing, or of the wrong type."""


@frozen
class Field:
    """A kind of value: `words` name its type, `fits` checks a JSON value, and `read` converts it; `from_python` converts a caller's value
    (its error says `where` it is wrong), `from_request` one that another workstation sent."""

    words: str
    fits: Callable[[Any], bool]
    default: Any = _REQUIRED
    read: Callable[[Any], Any] = lambda value: value
    from_python: Callable[[Any, str], Any] = lambda value, where: value
    from_request: Callable[[Any], Any] = lambda value: value

    def or_else(self, default: Any) -> Field:
        """The same for a field that may be missing, or null."""
        return replace(self, default=default)

    @property
    def optional(self) -> Field:
        """The same for a field that is None when it is missing."""
        return self.or_else(None)

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is _REQUIRED


Fields: TypeAlias = Mapping[str, Field]
Answer: TypeAlias = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def checked(values: Mapping[str, Any], fields: Fields, where: str) -> dict[str, Any]:
    """The checked values of these fields; other names are left out.

    Raises:
        BadRequestError: one is missing, or of the wrong type.

    Example:
        >>> checked({"flow": "claims"}, {"flow": TEXT, "now": FLAG.or_else(False)}, "run")
        {'flow': 'claims', 'now': False}
        >>> checked({"flow": 3}, {"flow": TEXT}, "run")
        Traceback (most recent call last):
        ...
        data_engine.commands.fields.BadRequestError: flow must be a text, not 3
          where: run
          fix:   give flow as a text
    """
    return {name: _value(values.get(name), name, field, where) for name, field in fields.items()}


def asked(act: Answer, where: str, /, **fields: Field) -> Answer:
    """`act`, called with the checked values of these fields."""

    async def answer(body: dict[str, Any]) -> dict[str, Any]:
        return await act(checked(body, fields, where))

    return answer


@frozen
class Argument:
    """A field of a command: its kind and its line of help. One that `is_local` is for this machine only and in no request; one that
    `is_sent` is in every request."""

    kind: Field
    help: str
    is_local: bool = False
    is_sent: bool = False


_ARGUMENTS: dict[type[Any], Mapping[str, Argument]] = {}
"""The arguments of each command, once they were read."""


def argument(kind: Field, help: str, *, is_local: bool = False, is_sent: bool = False) -> dict[str, Argument]:
    """The metadata of a field of a command."""
    return {"argument": Argument(kind, help, is_local, is_sent)}


def arguments_of(command: type[Any]) -> Mapping[str, Argument]:
    """The arguments of a command by name, each with its default.

    Example:
        >>> from dataclasses import dataclass, field
        >>> @dataclass
        ... class Touch:
        ...     flow: str = field(metadata=argument(TEXT, "The flow."))
        ...     note: str = field(default="", metadata=argument(ANY_TEXT, "The reason."))
        >>> [(name, field.help, field.kind.is_required) for name, field in arguments_of(Touch).items()]
        [('flow', 'The flow.', True), ('note', 'The reason.', False)]
    """
    if command in _ARGUMENTS:
        return _ARGUMENTS[command]
    arguments = {}
    for field in fields(command):
        argument: Argument = field.metadata["argument"]
        if field.default is not MISSING:
            argument = replace(argument, kind=argument.kind.or_else(field.default))
        elif field.default_factory is not MISSING:
            argument = replace(argument, kind=argument.kind.or_else(field.default_factory()))
        arguments[field.name] = argument
    _ARGUMENTS[command] = arguments
    return arguments


def help_of(command: type[Any], name: str) -> str:
    """The line of help of a command's field.

    Example:
        >>> from data_engine.commands.switches import Enable
        >>> help_of(Enable, "flow")
        'The flow.'
    """
    return arguments_of(command)[name].help


def kinds_of(command: type[Any]) -> dict[str, Field]:
    """The kind of each field in a command's JSON."""
    return {name: argument.kind for name, argument in arguments_of(command).items()}


def of_json(command: type[C], data: Mapping[str, Any], where: str) -> C:
    """The command in a JSON object; unknown fields are left out.

    Raises:
        BadRequestError: a field is missing, or of the wrong type.
    """
    return command(**checked(data, kinds_of(command), where))


def of_request(command: type[C], data: Mapping[str, Any]) -> C:
    """The command of a request's arguments, checked as input from another machine.

    Raises:
        FlowValidationError: an argument is missing or wrong.
    """
    table = arguments_of(command)
    lacking = [name for name, argument in table.items() if argument.is_sent and data.get(name) in (None, "")]
    if lacking:
        raise BadRequestError(f"the request names no {lacking[0]}", where="request", fix="ask again")
    sent = {name: data[name] for name in table if data.get(name) not in (None, "") and not table[name].is_local}
    kinds = kinds_of(command)
    read = checked(sent, kinds, "request")
    return command(**{name: kinds[name].from_request(value) if name in sent else value for name, value in read.items()})


def to_json(command: Any) -> dict[str, Any]:
    """The fields of a command that are not None, for JSON."""
    return {name: value for name in arguments_of(type(command)) if (value := getattr(command, name)) is not None}


def as_given(command: C, call: str) -> C:
    """The command with its fields converted from the values of a caller of the Python method `call`.

    Raises:
        FlowValidationError: a value is wrong; names the argument.
    """
    table = arguments_of(type(command))
    values = {name: getattr(command, name) for name in table}
    args = {
        name: value if value is None else table[name].kind.from_python(value, f"{call}({name}=...)")
        for name, value in values.items()
    }
    return command if args == values else replace(command, **args)  # type: ignore[type-var]


def given_text(text: object, where: str) -> str:
    """A text of a few words.

    Raises:
        FlowValidationError: any other type, or too long.
    """
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
        shown = beginning(repr(text), 60)
        raise FlowValidationError(f"{where} cannot be {shown}", where=where, fix="give a text of a few words")
    return text


def given_day(day: object, where: str) -> str | None:
    """A day, month or time as text; None for None.

    Raises:
        FlowValidationError: any other type.

    Example:
        >>> from datetime import date
        >>> given_day(date(2013, 3, 1), "x"), given_day("2013-03", "x"), given_day(None, "x")
        ('2013-03-01', '2013-03', None)
    """
    if day is None:
        return None
    if isinstance(day, date):  # a datetime is one
        return day.isoformat()
    if isinstance(day, str) and 0 < len(day.strip()) <= _LONGEST_TEXT:
        return day.strip()
    raise FlowValidationError(
        f"{where} cannot be {day!r}", where=where, fix='give a date, or a text such as "2013-03-01" or "2013-03"'
    )


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


def _inside_source(path: str) -> str:
    from data_engine.ledger.checks import is_inside

    if not is_inside(path):
        raise BadRequestError(
            "a source of a request is named by its path inside the flow's source folder",
            where="source",
            fix="give that path",
        )
    return path


def _flow_name(name: Any, where: str = "") -> str:
    from data_engine.notebook.catalog import check_flow_name

    return check_flow_name(name)


TEXT = Field("a text", _is_text, from_python=given_text)
ANY_TEXT = Field("a text", is_text, from_python=given_text, from_request=lambda text: text[:_LONGEST_TEXT])
FLOW = Field("a text", _is_text, from_python=_flow_name, from_request=_flow_name)
DAY = Field("a text", _is_text, from_python=given_day)
SET_ID = Field("the id of a set", lambda value: is_text(value) and bool(_SET_ID.fullmatch(value)))
PATH = Field("a path", _is_path, from_python=lambda path, where: os.fspath(path))
SOURCE = replace(PATH, from_request=_inside_source)
TEXTS = Field("a list of texts", lambda value: isinstance(value, list) and all(map(_is_text, value)))
PATHS = Field("a list of paths", lambda value: isinstance(value, list) and all(map(_is_path, value)))
FLAG = Field("true or false", lambda value: isinstance(value, bool))
COUNT = Field("a whole number", _is_count, read=int)
SECONDS = Field(
    "a number of seconds", lambda value: _is_number(value) and 0 <= value < math.inf, read=lambda value: min(value, 1e9)
)
OBJECT = Field("an object", lambda value: isinstance(value, dict))
