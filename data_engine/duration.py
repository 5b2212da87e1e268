"""The one grammar for durations: "10ms" "5s" "15m" "1.5h" "2d" "1w", or a `datetime.timedelta`."""

from __future__ import annotations

import math
import sys

from data_engine.errors import FlowValidationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta
    from typing import TypeGuard

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_WORDS_S = {word: _UNITS_S[word[0]] for word in ("sec", "second", "min", "minute", "hour", "day", "week")}
_ENDINGS = _WORDS_S | {f"{word}s": seconds for word, seconds in _WORDS_S.items()} | _UNITS_S
"""As people write them, too: "5 min", "2 hours". Words come first, so that "mins" is not taken for so many seconds."""

_LONGEST_S = 36525 * 86400.0
_EXAMPLE = 'give a number and a unit (ms, s, m, h, d, w), such as "30s" or "1.5h", or a datetime.timedelta'


def parse_duration(value: object, *, where: str, allow_zero: bool = False) -> float:
    """Seconds meant by `value`; positive and at most a century, or zero where `allow_zero`.

    Raises:
        FlowValidationError: any other type, an unknown unit, not finite, too long, or not positive; names `where`.

    Example:
        >>> from datetime import timedelta
        >>> parse_duration("1.5h", where="example"), parse_duration(timedelta(minutes=5), where="example")
        (5400.0, 300.0)
        >>> parse_duration("5 min", where="example"), parse_duration("2 hours", where="example")
        (300.0, 7200.0)
        >>> parse_duration("0s", where="example", allow_zero=True)
        0.0
    """
    if isinstance(value, str):
        seconds = _parse_text(value, where)
    elif is_timedelta(value):
        seconds = value.total_seconds()
    else:
        raise FlowValidationError(
            f"a duration cannot be {type(value).__name__} {value!r}: invalid duration", where=where, fix=_EXAMPLE
        )
    if not math.isfinite(seconds):
        raise FlowValidationError(f"the duration {value!r} is not finite: invalid duration", where=where, fix=_EXAMPLE)
    if seconds < 0 or (seconds == 0 and not allow_zero):
        raise FlowValidationError(f"the duration {value!r} must be positive", where=where, fix=_EXAMPLE)
    if seconds > _LONGEST_S:  # timers and dates overflow somewhere beyond
        raise FlowValidationError(
            f"the duration {value!r} is longer than a century: invalid duration", where=where, fix=_EXAMPLE
        )
    return seconds


def is_timedelta(value: object) -> TypeGuard[timedelta]:
    """Whether `value` is a `datetime.timedelta`; there is none before `datetime` was imported, so it is not imported here."""
    datetime = sys.modules.get("datetime")
    return datetime is not None and isinstance(value, datetime.timedelta)


def _parse_text(text: str, where: str) -> float:
    compact = text.strip().lower()
    unit = next((unit for unit in _ENDINGS if compact.endswith(unit)), None)
    if unit is None:
        raise FlowValidationError(f"Unsupported duration format {text!r}", where=where, fix=_EXAMPLE)
    try:
        amount = float(compact.removesuffix(unit))
    except ValueError:
        raise FlowValidationError(f"Invalid duration {text!r}", where=where, fix=_EXAMPLE) from None
    return amount * _ENDINGS[unit]
