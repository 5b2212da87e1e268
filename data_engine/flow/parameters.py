"""The parameters of a flow: the fields of a dataclass as a frozen value, and the one grammar of their values.

A value is given as itself (`date(2013, 1, 5)`), as JSON has it, or as a text; all of them are read here, wherever they come
from. Written as a text:

    str                     as it is
    int, float, Decimal     25, -3, 2.5, 1e6
    bool                    true, false, yes, no, on, off, 1, 0
    date                    2013-01-05; a month, 2013-01, is its first day
    datetime, time          2013-01-05T06:30, with or without an offset; 06:30
    timedelta               30s, 15m, 1.5h, 2d, 1w
    Path                    any path; a relative one starts at the flow_modules folder
    Enum, Literal           the name or the value of one of its choices
    list[...]               a, b, c; or a JSON list
    X | None                as X; none, or nothing at all, is None
    Secret                  never: it is asked for by its name; of `Secret | None` one that is missing is None

Reading a value needs no code of an author's, so that a daemon can check a request; only `make` needs the class.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, ClassVar

from data_engine.argument_checks import value_text
from data_engine.duration import parse_duration
from data_engine.errors import FlowValidationError, MissingParamError
from data_engine.record import Record, frozen
from data_engine.secret import MASK, Secret
from data_engine.suggestions import nearest_name

_WHERE = "params="


@frozen
class Parameter(Record):
    """One parameter: its `kind` is the type's name in words of the grammar, `choices` what an Enum or Literal allows.

    `aliases` are other texts of choices, with the choice. `default` is the default as JSON has it (of a list, a tuple);
    there is none without `has_default`.
    """

    computed: ClassVar = ("title", "type")

    name: str
    kind: str
    choices: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    is_list: bool = False
    is_optional: bool = False
    has_default: bool = False
    default: Any = None
    label: str = ""
    help: str = ""

    @property
    def title(self) -> str:
        """The title in a form: the label, or the name in words."""
        return self.label or self.name.replace("_", " ").strip().capitalize()

    @property
    def type(self) -> str:
        """The type for people, such as "list of date, or none"."""
        words = f"one of {', '.join(self.choices)}" if self.choices else self.kind
        return f"{'list of ' if self.is_list else ''}{words}{', or none' if self.is_optional else ''}"

    def parse(self, value: Any) -> Any:
        """`value` as JSON has it: a text, number, boolean, None, or a list of them.

        Raises:
            FlowValidationError: it is not of the type; names the parameter.
        """
        if self.kind == "Secret":
            if isinstance(value, Secret):
                return MASK
            raise self._refused(
                "a secret is never given as a value: the flow asks for it by its name",
                f"data-engine secret set {self.name}",
            )
        if self.is_optional and (
            value is None or (isinstance(value, str) and value.strip().lower() in ("", "none", "null"))
        ):
            return None
        if self.is_list:
            return [self._parse_item(item) for item in _items(self, value)]
        return self._parse_item(value)

    def _parse_item(self, value: Any) -> Any:
        if self.choices:
            return self._choice(value)
        try:
            return _READERS[self.kind](value)
        except (ValueError, TypeError, ArithmeticError, FlowValidationError) as error:
            raise self._refused(f"it cannot be {value_text(value)}", _EXAMPLES[self.kind]) from error

    def _choice(self, value: Any) -> str:
        text = str(wire_of(value)).strip()
        text = text if text in self.choices else dict(self.aliases).get(text, text)
        if text in self.choices:
            return text
        folded = [choice for choice in self.choices if choice.casefold() == text.casefold()]
        if len(folded) == 1:
            return folded[0]
        near = nearest_name(text, self.choices)
        fix = (
            f"did you mean {near}? It is one of {', '.join(self.choices)}"
            if near
            else f"give one of {', '.join(self.choices)}"
        )
        raise self._refused(f"it cannot be {value_text(value)}", fix)

    def _refused(self, why: str, fix: str) -> FlowValidationError:
        return FlowValidationError(f"parameter {self.name}: {why}", where=f"params[{self.name!r}]", fix=fix)


@frozen
class Parameters:
    """All parameters of a flow. `make` turns values into an instance of the author's class `settings`, where that is at hand.

    Example:
        >>> from datetime import date
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Settings:
        ...     month: date
        ...     late_minutes: int = 15
        >>> parameters = parameters_of(Settings)
        >>> parameters.check({"month": "2013-01"})
        {'month': '2013-01-01'}
        >>> parameters.make({"month": "2013-01", "late_minutes": "30"}, secret=print).late_minutes
        30
    """

    fields: tuple[Parameter, ...]
    title: str = ""
    settings: Any = field(default=None, repr=False, compare=False)

    @property
    def required(self) -> tuple[str, ...]:
        """The names of parameters without a default."""
        return tuple(parameter.name for parameter in self.fields if not parameter.has_default)

    def check(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The given values as JSON has them; parameters without one are left out.

        Raises:
            FlowValidationError: an unknown name (with the nearest known one), a wrong value, or a missing one.
        """
        by_name = {parameter.name: parameter for parameter in self.fields}
        for name in params:
            if name not in by_name:
                near = nearest_name(name, by_name)
                offer = f"did you mean {near}? " if near else ""
                raise FlowValidationError(
                    f"there is no parameter {name!r}",
                    where=f"params[{name!r}]",
                    fix=f"{offer}{self.title} has {', '.join(by_name) or 'none'}",
                )
        read = {name: by_name[name].parse(value) for name, value in params.items()}
        missing = [name for name in self.required if name not in read]
        if missing:
            first = by_name[missing[0]]
            raise FlowValidationError(
                f"parameter {first.name} has no default and was not given ({first.type})",
                where=f"params[{first.name!r}]",
                fix=f"give it: params={{{first.name!r}: ...}}, --set {first.name}=... on the command line",
            )
        return read

    def make(self, params: Mapping[str, Any], *, secret: Callable[[str], Secret]) -> Any:
        """An instance of the author's class; `secret` gives those that are asked for by name.

        Raises:
            FlowValidationError: as `check`; the class refuses the values; or a secret is not there.
        """
        from data_engine.flow.parameter_types import instance_of

        values = self.check(params)
        for parameter in self.fields:
            if parameter.kind == "Secret":
                own = params.get(parameter.name)
                values[parameter.name] = own if isinstance(own, Secret) else _secret(parameter, secret)
        try:
            return instance_of(self.settings, values)
        except (ValueError, TypeError) as error:
            if isinstance(error, FlowValidationError):
                raise
            raise FlowValidationError(
                f"{self.title} refuses these parameters: {error}", where=_WHERE, fix="give other values"
            ) from error

    def as_json(self) -> list[dict[str, Any]]:
        """The parameters for a form, and for a process without the author's code."""
        return [parameter.as_dict() for parameter in self.fields]

    @classmethod
    def of_json(cls, facts: list[Mapping[str, Any]], title: str = "") -> Parameters:
        """The parameters of `as_json`; they check values, but cannot `make`."""
        return cls(tuple(map(Parameter.read, facts)), title)


def parameters_of(settings: object) -> Parameters:
    """The parameters that a dataclass declares.

    A field's label and help come from `field(metadata={"label": ..., "help": ...})`; without help, from its line in the
    class's docstring (`name: what it is`).

    Raises:
        FlowValidationError: no dataclass, or a field whose type or default no parameter can have.
    """
    from data_engine.flow.parameter_types import read_fields  # typing and dataclasses' own are only needed here

    fields = tuple(_with_default(Parameter(**facts), default) for facts, default in read_fields(settings))
    assert isinstance(settings, type)
    return Parameters(fields, settings.__name__, settings)


@frozen
class TypedValue:
    """A value that a person typed for a parameter: as it is (`raw`), and for flows without declared ones (`loose`): as JSON where
    it can be read so.

    Example:
        >>> TypedValue.text("007"), TypedValue.text("15"), TypedValue.value([1])
        (TypedValue(raw='007', loose='007'), TypedValue(raw='15', loose=15), TypedValue(raw=[1], loose=[1]))
    """

    raw: Any
    loose: Any

    @classmethod
    def text(cls, text: str) -> TypedValue:
        """The value of a text."""
        return cls(text, _loose(text))

    @classmethod
    def value(cls, value: Any) -> TypedValue:
        """The value of one that came as JSON."""
        return cls(value, value)


def read_params(texts: Sequence[str] | None) -> dict[str, TypedValue]:
    """The values of `--set`: `name=value`, or a JSON object of several.

    Raises:
        FlowValidationError: a text that is neither.

    Example:
        >>> read_params(["minutes=15", '{"all": true}'])
        {'minutes': TypedValue(raw='15', loose=15), 'all': TypedValue(raw=True, loose=True)}
    """
    params: dict[str, TypedValue] = {}
    for text in texts or ():
        if text.lstrip().startswith("{"):
            params |= {name: TypedValue.value(value) for name, value in _object(text).items()}
            continue
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise _wrong_param(text, "it is not name=value")
        params[key.strip()] = TypedValue.text(value)
    return params


def texts_to_params(pairs: Mapping[str, TypedValue], parameters: Parameters | None) -> dict[str, Any]:
    """The values that a person typed: as they are for declared parameters, else JSON where it can be read so."""
    return {name: value.raw if parameters is not None else value.loose for name, value in pairs.items()}


def wire_of(value: Any) -> Any:
    """A value of Python as JSON has it; one that JSON cannot have stays as it is.

    Example:
        >>> from datetime import date, timedelta
        >>> wire_of([date(2013, 1, 5), timedelta(minutes=90)])
        ['2013-01-05', '5400s']
    """
    import datetime
    import decimal
    import enum

    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, (datetime.date, datetime.time)):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return _duration_text(value.total_seconds())
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return [wire_of(item) for item in value]
    if isinstance(value, Mapping):
        return {name: wire_of(item) for name, item in value.items()}
    return value


def _with_default(parameter: Parameter, default: Any) -> Parameter:
    if parameter.kind == "Secret" or not parameter.has_default:
        return parameter
    try:
        parsed = parameter.parse(default)
        return replace(parameter, default=tuple(parsed) if isinstance(parsed, list) else parsed)
    except FlowValidationError as error:
        raise FlowValidationError(
            f"the default of {parameter.name} is {default!r}: {error.what}",
            where="Flow.params",
            fix=f"give a default of the type: {parameter.type}",
        ) from error


def _items(parameter: Parameter, value: Any) -> list[Any]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                elements = json.loads(text)
            except ValueError as error:
                raise parameter._refused(
                    f"{value_text(value)} is not a JSON list", 'write a, b, c or ["a", "b"]'
                ) from error
            return list(elements)
        return [part.strip() for part in text.split(",")] if text else []
    if isinstance(value, (list, tuple)):
        return list(value)
    raise parameter._refused(f"it cannot be {value_text(value)}", "give a list, or a text such as a, b, c")


def _secret(parameter: Parameter, secret: Callable[[str], Secret]) -> Secret | None:
    try:
        return secret(parameter.name)
    except FlowValidationError:
        if not parameter.is_optional:
            raise
        return None


_EXAMPLES = {
    "str": "give a text",
    "int": "give a whole number, such as 15",
    "float": "give a number, such as 2.5",
    "Decimal": "give a number, such as 19.99",
    "bool": "give true or false",
    "date": "give a day as YYYY-MM-DD, or a month as YYYY-MM",
    "datetime": "give a time such as 2013-01-05T06:30 or 2013-01-05T06:30+01:00",
    "time": "give a time of day such as 06:30",
    "timedelta": 'give a duration such as "30s" or "1.5h"',
    "Path": "give a path",
}


def _loose(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(name)  # "NaN" and "Infinity" are no JSON; as words they stay texts


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(value)
    return value


def _int(value: Any) -> int:
    if isinstance(value, str):
        if not _WHOLE.fullmatch(value.strip()):
            raise ValueError(value)
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return value


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _decimal(value: Any) -> str:
    from decimal import Decimal

    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise TypeError(value)
    number = Decimal(repr(value) if isinstance(value, float) else value.strip() if isinstance(value, str) else value)
    if not number.is_finite():
        raise ValueError(value)
    return str(number)


_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _BOOLEANS:
        return _BOOLEANS[value.strip().lower()]
    raise ValueError(value)


def _date(value: Any) -> str:
    from datetime import date, datetime

    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    text = _str(value).strip()
    if _MONTH.fullmatch(text):
        text += "-01"
    if not _DAY.fullmatch(text):
        raise ValueError(value)
    return date.fromisoformat(text).isoformat()


def _datetime(value: Any) -> str:
    from datetime import date, datetime

    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        raise TypeError(value)
    return datetime.fromisoformat(_str(value).strip()).isoformat()


def _time(value: Any) -> str:
    from datetime import time

    if isinstance(value, time):
        return value.isoformat()
    text = _str(value).strip()
    return time.fromisoformat(f"0{text}" if _SHORT_HOUR.match(text) else text).isoformat()


def _timedelta(value: Any) -> str:
    from datetime import timedelta

    if isinstance(value, timedelta):
        return _duration_text(value.total_seconds())
    return _duration_text(parse_duration(_str(value), where="params=", allow_zero=True))


def _path(value: Any) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not _str(text).strip():
        raise ValueError(value)
    return str(text)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "str": _str,
    "int": _int,
    "float": _float,
    "Decimal": _decimal,
    "bool": _bool,
    "date": _date,
    "datetime": _datetime,
    "time": _time,
    "timedelta": _timedelta,
    "Path": _path,
}
"""The reader of each type of parameter; it gives the value as JSON has it."""

_WHOLE = re.compile(r"[+-]?\d+(?:_\d+)*", re.ASCII)
_MONTH = re.compile(r"\d{4}-\d\d", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SHORT_HOUR = re.compile(r"\d:", re.ASCII)


def _duration_text(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong_param(text, f"it is not JSON: {error}") from error
    assert isinstance(value, dict)
    return value


def _wrong_param(text: str, reason: str) -> FlowValidationError:
    name, _, value = text.strip().partition(" ")
    name, value = (name, value.strip() or "VALUE") if name.isidentifier() else ("NAME", "VALUE")
    fix = f"""write --set {name}={value}, or --set '{{"{name}": VALUE}}'"""
    return FlowValidationError(f"{text!r} gives no parameter: {reason}", where="--set", fix=fix)


LOOKED_AT = "\0looked at"
"""A key that is no parameter: through a read-only view of the mapping only `get` can ask for the names looked at."""


class GivenParams(dict[str, Any]):
    """The params of a run, and the names that were looked at; the error for a missing one says how to give it."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._looked_at: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self._looked_at.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        if name == LOOKED_AT:
            return self._looked_at
        self._looked_at.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self._looked_at.add(str(name))
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        self._looked_at.update(super().__iter__())
        return super().__iter__()

    def keys(self) -> Any:
        self._looked_at.update(super().__iter__())
        return super().keys()

    def values(self) -> Any:
        self._looked_at.update(super().__iter__())
        return super().values()

    def items(self) -> Any:
        self._looked_at.update(super().__iter__())
        return super().items()

    def __missing__(self, name: object) -> Any:
        near = nearest_name(str(name), self)
        offer = f"did you mean {near!r}? Otherwise give" if near else "give"
        raise MissingParamError(
            f"the run was given no param {name!r}; it was given: {', '.join(map(repr, self)) or 'none'}",
            where="context.params",
            fix=f"{offer} it: params={{{name!r}: ...}} in preview() and run_once(), --set {name}=... on the command line;"
            f" a flow that runs by itself is given no params: use context.params.get({name!r}, default), or declare it with"
            " Flow.params",
        )
