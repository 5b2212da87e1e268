"""Texts cut to what somebody reads, with a word on how much was left out; and what a terminal would obey made visible."""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST_TEXT = 20_000
"""Characters of one text, such as an error's, that people are shown."""

MOST_CELL = 4_000
"""Characters of one cell of a table, or of one line of code."""


_OBEYED = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters but for the tab, and what lets text run the other way."""


def visible(text: str) -> str:
    """`text` as one line that can be printed whoever wrote it: a name of a file may hold what clears a screen or turns words around.

    Example:
        >>> visible("a\\x1b[2J\\nb.csv"), visible("Zürich 1.csv")
        ('a\\\\x1b[2J\\\\nb.csv', 'Zürich 1.csv')
    """
    return _OBEYED.sub(lambda one: one[0].encode("unicode_escape").decode(), text)


def visible_lines(text: str) -> str:
    """`text` likewise, but for its ends of lines."""
    return "\n".join(visible(line.removesuffix("\r")) for line in text.split("\n"))


def both_ends(text: str, most: int) -> str:
    """The text, or of one that is longer than `most` its two ends: an error says at its end what it is.

    Example:
        >>> both_ends("a" * 100 + "KeyError: 3", 90)
        'aaaaaaaaaaaaaaa … 66 characters are left out … aaaaaaaaaaaaaaaaaaaKeyError: 3'
    """
    if len(text) <= most:
        return text
    room = max(most - 45, 0)
    last = room * 2 // 3
    first = room - last
    return f"{text[:first]} … {len(text) - room:,} characters are left out … {text[len(text) - last :]}"


def beginning(text: str, most: int) -> str:
    """The text, or of one that is longer than `most` its beginning with an ellipsis.

    Example:
        >>> beginning("supplier", 8), beginning("suppliers", 8)
        ('supplier', 'supplie…')
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def first_few(texts: Sequence[str], most: int, between: str = ", ", *, more: int = 0) -> str:
    """The first `most` of the texts in one line, and how many more there are; `more` of them are not among the texts.

    Example:
        >>> first_few("abc", 3), first_few("abcde", 3), first_few("abcde", 3, "; ")
        ('a, b, c', 'a, b, c and 2 more', 'a; b; c; and 2 more')
        >>> first_few("ab", 3, more=1200)
        'a, b and 1,200 more'
    """
    more += max(0, len(texts) - most)
    last = "" if not more else f"{' ' if between == ', ' else between}and {more:,} more"
    return between.join(texts[:most]) + last
