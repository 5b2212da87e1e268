"""The fields of a record on the share, each checked: of its type, and within bounds that no Data Engine reaches.

Each check gives the value back, and raises `ValueError` or `TypeError` with the field's name where it is none to be believed.
"""

from __future__ import annotations

import re
from typing import Any

LONGEST_STALE_AFTER_S = 86_400.0
"""The settings allow no longer one: nobody can be made to wait for ever until an owner may be taken over."""

_LONGEST_TEXT = 1_000
_LARGEST_NUMBER = 10**10 - 1
"""As ten digits can say. Generations, tokens, beats and process ids stay far below it."""

_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
"""What no name of a machine has, and a terminal may take for an order."""


def checked_text(name: str, value: Any) -> str:
    """A name for people or machines, of one line."""
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or _NO_TEXT.search(value) is not None:
        raise ValueError(f"{name} is {shown(value)}")
    return value


def checked_number(name: str, value: Any) -> int:
    """A count or an id of a process; a bool is none."""
    if type(value) is not int or not 0 <= value <= _LARGEST_NUMBER:
        raise ValueError(f"{name} is {shown(value)}")
    return value


def checked_seconds(name: str, value: Any) -> float:
    """A time limit."""
    if type(value) not in (int, float) or not 0 <= value <= LONGEST_STALE_AFTER_S:
        raise ValueError(f"{name} is {shown(value)}")
    return float(value)


def checked_flag(name: str, value: Any) -> bool:
    """A yes or no."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {shown(value)}")
    return value


def checked_name(pattern: re.Pattern[str], text: Any) -> str:
    """A text of this form."""
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ValueError(f"name {shown(text)}")
    return text


def shown(value: Any) -> str:
    """At most a line of it: a number may have thousands of digits, and a list thousands of items."""
    if isinstance(value, str):
        return repr(value[:60])
    is_short = isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**64)
    return repr(value) if is_short else f"a {type(value).__name__}"
