"""What all groups of commands have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer


def command_group(help_text: str, commands: Mapping[str, Callable[..., int]] | None = None) -> typer.Typer:
    """A group of these commands; its help and its errors are plain text."""
    group = typer.Typer(help=help_text, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    for name, command in (commands or {}).items():
        group.command(name)(command)
    return group
