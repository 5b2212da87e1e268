"""The subcommands of `%flow` as data: what each takes, what it does, and the plain Python that does the same."""

from __future__ import annotations

import inspect
from argparse import Namespace
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

from data_engine.errors import FlowValidationError
from data_engine.formatting import size_text
from data_engine.record import frozen
from data_engine.view.verb import Option as ViewOption
from data_engine.view.verb import Subject, Takes, parameters_of
from data_engine.view.verbs import VERBS, Verb
from jupyter_extension.cell import Cell, carry_out, option_name, values_of
from jupyter_extension.cell_hints import in_cell, shell_here
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
    """One subcommand. `takes` is what may stand behind its name: a flow, a flow or file, a run, "clear" or "info", or nothing; `metavar`
    is that in its usage."""

    name: str
    summary: str
    twin: str
    do: Callable[[Namespace, UserNames], Any]
    takes: Takes | Literal["clear or info", ""] = ""
    metavar: str = ""
    options: tuple[Option, ...] = ()

    @property
    def takes_params(self) -> bool:
        """Whether parameters of a run may stand behind it."""
        return any(option.name == "--set" for option in self.options)

    @property
    def usage(self) -> str:
        """The line that the help shows."""
        options = (f" [{option.name}{f' {option.value}' if option.value else ''}]" for option in self.options)
        pairs = " [NAME=VALUE]..." if self.takes_params else ""
        return f"%flow {' '.join(filter(None, [self.name, self.metavar]))}{''.join(options)}{pairs}"


def _panel(args: Namespace, names: UserNames) -> Any:
    try:
        from jupyter_extension.panel import panel
    except ImportError as error:
        raise FlowValidationError(
            f"the control panel cannot be loaded: {error}",
            where="%flow panel",
            fix="pip install anywidget, and restart the kernel; until then: %flow status",
        ) from error
    return panel()


def _cache(args: Namespace, names: UserNames) -> None:
    from data_engine.engine.preview import cached_bytes, clear_preview_cache

    size = cached_bytes()
    if args.subject == "clear":
        clear_preview_cache()
        print(f"Forgot {size_text(size)} of previewed results.")
    else:
        print(f"Previews keep {size_text(size)} of results in this kernel. %flow cache clear forgets them.")


COMMANDS = {
    command.name: command
    for command in (
        Command("panel", "The control panel.", "data_engine.panel()", _panel),
        Command(
            "cache",
            "How much previews keep in this kernel; with clear, forget it.",
            "clear_preview_cache()",
            _cache,
            "clear or info",
            "[clear|info]",
        ),
    )
}


@cache
def all_commands() -> dict[str, Command]:
    """Every subcommand by its name, in the order of `data-engine --help`: the verbs that a terminal shares, and those above."""
    found = COMMANDS | {name: _of_verb(name, verb) for name, verb in VERBS.items() if verb.twin}
    return {name: found[name] for name in (*VERBS, *found) if name in found}


def _of_verb(name: str, verb: Verb) -> Command:
    """A verb that a terminal has, too."""
    function = verb.load()
    parameters = [
        one for one in parameters_of(function) if not (isinstance(one.about, ViewOption) and one.about.only == "shell")
    ]
    takes: Any = ""
    metavar = ""
    for about, default in [(one.about, one.default) for one in parameters if isinstance(one.about, Subject)][:1]:
        takes = {"flows": "flow", "text": "flow"}.get(about.takes, about.takes)
        is_needed = about.takes == "run" and default is inspect.Parameter.empty
        metavar = about.metavar if is_needed else f"[{about.metavar}]"
    options = tuple(
        Option(option_name(one), one.about.help, one.about.metavar, one.is_repeated)
        for one in parameters
        if isinstance(one.about, ViewOption)
    )

    def do(args: Namespace, names: UserNames) -> Any:
        return carry_out(name, function, Cell(names, name, in_this_kernel), values_of(name, parameters, args))

    return Command(name, verb.summary, verb.twin, do, takes, metavar, options)


def in_this_kernel(text: str) -> str:
    """The text, with its commands as a cell of this kernel takes them where `%flow` is loaded."""
    return in_cell(text, magics(), shell_here()) if "data-engine " in text else text


def magics() -> dict[str, tuple[str, ...]]:
    """The options of each subcommand; imports the verbs, so only a text that names a command asks for them."""
    return {command.name: tuple(option.name for option in command.options) for command in all_commands().values()}
