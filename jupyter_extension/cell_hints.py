"""Hints that name a command of the shell, as a cell of a notebook takes them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_HINT = re.compile(r"(?<![/\\!\w.-])(`?)data-engine ([a-z][a-z-]*)([^`<\n;,)]*)")
"""Not in a path, and not what `!` hands to the shell already."""
_OPTION = re.compile(r"--[a-z-]+")
_ONLY_IN_A_TERMINAL = ("secret", "reset", "import", "lab", "--watch")
"""They ask something, or go on until Ctrl-C: a cell would hang."""


def in_cell(text: str, magics: Mapping[str, Collection[str]]) -> str:
    """The text, with each command of the shell in it as a cell takes it: `%flow` where that has the command and its options.

    `magics` are the options of each subcommand of `%flow` there is. What a cell cannot do stays a command of the shell.

    Example:
        >>> in_cell("not deployed: data-engine deploy claims; or `data-engine retry claims`", {"deploy": ["--yes"]})
        'not deployed: %flow deploy claims; or `!data-engine retry claims`'
        >>> in_cell("`data-engine deploy --json`, `data-engine secret set ops`", {"deploy": ["--yes"]})
        '`!data-engine deploy --json`, `data-engine secret set ops`'
        >>> in_cell("/home/anna/data-engine deploy/a.csv, `!data-engine deploy`", {"deploy": ["--yes"]})
        '/home/anna/data-engine deploy/a.csv, `!data-engine deploy`'
    """

    def of_cell(found: re.Match[str]) -> str:
        tick, word, rest = found.groups()
        options = _OPTION.findall(rest)
        if word in magics and set(options) <= {*magics[word]}:
            return f"{tick}%flow {word}{rest}"
        if not tick or any(one in _ONLY_IN_A_TERMINAL for one in (word, *options)):
            return found[0]
        return f"`!data-engine {word}{rest}"

    return _HINT.sub(of_cell, text)
