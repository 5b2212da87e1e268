"""What all groups of commands have in common, and how their words become values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import typer


def command_group(help_text: str, commands: Mapping[str, Callable[..., int]] | None = None) -> typer.Typer:
    """A group of these commands; its help and its errors are plain text."""
    group = typer.Typer(help=help_text, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    for name, command in (commands or {}).items():
        group.command(name)(command)
    return group


def light(command: Any) -> Any:
    """The command, converting texts itself: Typer asks Pydantic, whose import takes longer than all the rest of a look."""
    for param in command.get_params(typer.Context(command)):
        if (own := getattr(param, "get_runtime_param", None)) is not None:  # older ones do without Pydantic
            param.get_runtime_param = partial(_Converter, own)
    for one in getattr(command, "commands", {}).values():
        light(one)
    return command


class _Converter:
    """Gives texts, and what was not given, as they are; `own` is Typer's converter of the rest."""

    def __init__(self, own: Callable[[], Any]) -> None:
        self._own = own

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of what was typed for a parameter."""
        kind, has_several = param.type_descriptor.annotation, param.multiple or param.nargs == -1
        if value is None:
            return () if has_several else None
        if kind is str and isinstance(value, str):
            return value
        if kind == list[str] and isinstance(value, (list, tuple)):
            return list(value)
        return self._own().coerce(value, param=param, ctx=ctx)
