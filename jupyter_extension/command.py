"""One subcommand of `%flow` as a value: its name, what may stand behind it, its options, and what it does."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any, Literal

from data_engine.record import frozen
from jupyter_extension.own_flow import UserNames


@frozen
class Option:
    """An option; a switch when it has no `value` (what stands for its value in the help)."""

    name: str
    help: str
    value: str = ""
    is_repeated: bool = False


@frozen
class Command:
    """One subcommand. `takes` is what may stand behind its name: a flow, a flow or file, a run, "clear" or "info", or nothing."""

    name: str
    summary: str
    twin: str
    do: Callable[[Namespace, UserNames], Any]
    takes: Literal["flow", "flow or file", "flow or id", "run", "clear or info", ""] = ""
    options: tuple[Option, ...] = ()

    @property
    def takes_params(self) -> bool:
        """Whether parameters of a run may stand behind it."""
        return any(option.name == "--set" for option in self.options)

    @property
    def usage(self) -> str:
        """How it is written."""
        takes = {
            "flow": " [NAME]",
            "flow or file": " [NAME or FILE]",
            "flow or id": " [NAME or ID]",
            "run": " RUN",
            "clear or info": " [clear|info]",
            "": "",
        }[self.takes]
        options = (f" [{option.name}{f' {option.value}' if option.value else ''}]" for option in self.options)
        pairs = " [NAME=VALUE]..." if self.takes_params else ""
        return f"%flow {self.name}{takes}{''.join(options)}{pairs}"
