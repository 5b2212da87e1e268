"""The table of commands in the documentation, made of the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import data_engine
from data_engine.commands.command import Command
from data_engine.commands.fields import arguments_of
from data_engine.commands.registry import COMMANDS

PAGE = Path(data_engine.__file__).parent / "docs" / "pages" / "reference" / "owner.md"
HEAD = "| command | what it does | what it takes | elsewhere |\n|---|---|---|---|\n"


def row(kind: type[Command[Any]]) -> str:
    """A command's line of the table."""
    does = (kind.__doc__ or "").strip().splitlines()[0]
    takes = " ".join(f"`{name}`: {one.help}" for name, one in arguments_of(kind).items())
    return f"| `{kind.name}` | {does} | {takes} | {'yes' if kind.asks else ''} |\n"


def table() -> str:
    """The whole table."""
    return HEAD + "".join(row(COMMANDS[name]) for name in sorted(COMMANDS))


def text_with_table() -> str:
    """The page, its table made anew."""
    before, _, _ = PAGE.read_text(encoding="utf-8").partition(HEAD)
    return before + table()
