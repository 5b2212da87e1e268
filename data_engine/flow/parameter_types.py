"""The fields of an author's dataclass as parameters, and back: from checked values to an instance of it."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import inspect
import pathlib
import re
import types
import typing
from collections.abc import Callable
from typing import Any

from data_engine.errors import FlowValidationError
from data_engine.formatting import beginning
from data_engine.secret import Secret

Facts = tuple[dict[str, Any], Any]
"""The fields of a `Parameter`, and the default as the author wrote it."""

_PLAIN: dict[Any, str] = {
    str: "str",
    int: "int",
    float: "float",
    bool: "bool",
    datetime.date: "date",
    datetime.datetime: "datetime",
    datetime.time: "time",
    datetime.timedelta: "timedelta",
    decimal.Decimal: "Decimal",
    pathlib.Path: "Path",
    Secret: "Secret",
}
_FROM_JSON: dict[str, Callable[[Any], Any]] = {
    "date": datetime.date.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda text: datetime.timedelta(seconds=float(text[:-1])),
    "Decimal": decimal.Decimal,
    "Path": pathlib.Path,
}
_TYPES = "str int float bool date datetime time timedelta Decimal Path Enum Literal list[...] X | None Secret"


class _Type(typing.NamedTuple):
    """The type in a field's annotation; `values` are the choices by their texts."""

    kind: str
    is_list: bool = False
    is_optional: bool = False
    values: dict[str, Any] | None = None
    aliases: tuple[tuple[str, str], ...] = ()


def read_fields(settings: object) -> list[Facts]:
    """The facts of each field.

    Raises:
        FlowValidationError: no dataclass, or a field whose type no parameter can have.
    """
    if not isinstance(settings, type) or not dataclasses.is_dataclass(settings):
        if isinstance(settings, type) and settings.__module__ != "builtins":
            what = f"class {settings.__name__} is not a dataclass, by which parameters are declared"
            fix = f"write @dataclass in the line above class {settings.__name__} (from dataclasses import dataclass)"
        elif dataclasses.is_dataclass(settings):
            what = f"parameters are declared by a dataclass, not by one {type(settings).__name__} of it"
            fix = f"give the class itself, without brackets: .params({type(settings).__name__})"
        else:
            what = f"parameters are declared by a dataclass, not by {type(settings).__name__} {beginning(repr(settings), 80)}"
            fix = "write a class with a line for each of them:\n@dataclass\nclass Settings:\n    month: date = date(2013, 1, 1)"
        raise FlowValidationError(what, where="Flow.params", fix=fix)
    lines, kinds = _docstring_lines(settings), _kinds(settings)
    fields = {field.name: field for field in dataclasses.fields(settings)}
    return [(_facts(fields[name], kind, lines), _default(fields[name])) for name, kind in kinds.items()]


def instance_of(settings: Any, values: dict[str, Any]) -> Any:
    """An instance of the dataclass from checked values, as JSON has them."""
    kinds = _kinds(settings)
    return settings(**{name: _from_json(kinds[name], value) for name, value in values.items()})


def _kinds(settings: type) -> dict[str, _Type]:
    try:
        hints = _hints(settings)
    except Exception as error:
        raise FlowValidationError(
            f"a type of {settings.__name__} cannot be understood: {error}", where="Flow.params", fix="import its name"
        ) from error
    fields = [field for field in dataclasses.fields(settings) if field.init]
    return {field.name: _type_of(hints[field.name], f"{settings.__name__}.{field.name}") for field in fields}


def _hints(settings: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(settings)
    except NameError:  # a class inside a function: its names cannot be looked up, only the usual ones
        names = {kind.__name__: kind for kind in (*_PLAIN, enum.Enum)} | {"Literal": typing.Literal}
        return typing.get_type_hints(settings, localns=names)


def _facts(field: dataclasses.Field[Any], kind: _Type, lines: dict[str, str]) -> dict[str, Any]:
    has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    return {
        "name": field.name,
        "kind": kind.kind,
        "choices": tuple(kind.values or ()),
        "aliases": kind.aliases,
        "is_list": kind.is_list,
        "is_optional": kind.is_optional,
        "has_default": has_default or kind.kind == "Secret",
        "label": str(field.metadata.get("label") or ""),
        "help": str(field.metadata.get("help") or lines.get(field.name, "")),
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _type_of(hint: Any, where: str) -> _Type:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        others = [part for part in inner if part is not type(None)]
        if len(others) == 1 and len(inner) == 2:
            return _type_of(others[0], where)._replace(is_optional=True)
    elif origin is list and len(inner) == 1:
        element = _type_of(inner[0], where)
        if not (element.is_list or element.is_optional or element.kind == "Secret"):
            return element._replace(is_list=True)
    elif origin is typing.Literal and all(isinstance(choice, (str, int, bool)) for choice in inner):
        return _Type("Literal", values={str(choice): choice for choice in inner})
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        aliases = tuple((str(member.value), member.name) for member in hint)
        return _Type("Enum", values={member.name: member for member in hint}, aliases=aliases)
    elif hint in _PLAIN:
        return _Type(_PLAIN[hint])
    raise FlowValidationError(
        f"{where} is of type {_type_name(hint)}, which parameters do not support",
        where="Flow.params",
        fix=f"use one of {_TYPES}",
    )


def _type_name(hint: Any) -> str:
    """A type as its author writes it: of a notebook's class the name alone."""
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _from_json(kind: _Type, value: Any) -> Any:
    if value is None or isinstance(value, Secret):
        return value
    if kind.is_list:
        return [_from_json(kind._replace(is_list=False), element) for element in value]
    if kind.values is not None:
        return kind.values[value]
    return _FROM_JSON.get(kind.kind, lambda same: same)(value)


_FIELD_LINE = re.compile(r"^(\s*)(\w+)(?: \([^)]*\))?: +(\S.*)$")


def _docstring_lines(settings: type) -> dict[str, str]:
    """The line for each field in the class's docstring."""
    names = {field.name for field in dataclasses.fields(settings)}
    lines: dict[str, str] = {}
    name, depth = "", 0
    for line in (inspect.cleandoc(settings.__doc__ or "")).splitlines():
        match = _FIELD_LINE.match(line)
        indent = len(line) - len(line.lstrip())
        if match is not None and match[2] in names:
            name, depth = match[2], indent
            lines[name] = match[3].strip()
        elif name and line.strip() and indent > depth:
            lines[name] += f" {line.strip()}"
        else:
            name = ""
    return lines
