"""Reads single values of parameters: the accepted forms of each type, and their JSON."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data_engine.duration import parse_duration
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line
from data_engine.record import frozen


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


READERS: Mapping[str, Callable[[Any], Any]] = {
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


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong_param(text, f"it is not JSON: {error}") from error
    assert isinstance(value, dict)
    return value


def _wrong_param(text: str, reason: str) -> FlowValidationError:
    name = text.strip() if text.strip().isidentifier() else "NAME"
    fix = f"""write --set {name}=VALUE, or --set '{{"{name}": VALUE}}'; `{cli_line("show")} FLOW` lists a flow's parameters"""
    return FlowValidationError(f"{text!r} gives no parameter: {reason}", where="--set", fix=fix)
