"""The command `data-engine`: its commands, its exit codes, and how errors are shown.

0 done; 1 it ran and failed; 2 the request was wrong; 3 another workstation holds the lease; 130 interrupted. A Python
traceback is shown only with `--debug` or DATA_ENGINE_DEBUG=1. The module of a command is loaded when the command is called.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from data_engine.cli.options import command_group, light
from data_engine.cli.output import complain, lenient_streams, only_json, tell_error
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line, visible_lines
from data_engine.view.verbs import GROUPS, VERBS, Verb

_LOOKS = frozenset("status list show runs log explain".split())
"""Commands that only look, and end before it pays to collect garbage."""


def main() -> NoReturn:
    """Run the command line with this process's arguments, and end the process with its exit code."""
    code = run(sys.argv[1:])
    if not gc.isenabled():
        os._exit(code)  # a look has closed what it opened, and the system frees memory faster than Python does
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command of `arguments`, and return its exit code."""
    own = list(arguments[: list(arguments).index("--")] if "--" in arguments else arguments)
    with lenient_streams() as lost:
        if "--json" in own:
            with only_json(lost):
                code = _run(arguments, own)
        else:
            code = _run(arguments, own)
        sys.stdout.flush()
        sys.stderr.flush()
        if lost and code == 0:
            complain(f"error: the output could not be written: {lost[0].strerror}")
            code = 1
    return code


def _run(arguments: Sequence[str], own: Sequence[str]) -> int:
    try:
        try:
            return _invoke(list(arguments) or ["--help"])
        finally:
            home = sys.modules.get("data_engine.engine.local_workspace")
            if home is not None:
                home.forget_workspaces()
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in own or os.environ.get("DATA_ENGINE_DEBUG", "").strip() not in ("", "0"):
            import traceback

            from data_engine.secret import masked

            sys.stderr.write(visible_lines(masked("".join(traceback.format_exception(error)))))
        return tell_error(error, "--json" in own)


def _invoke(arguments: list[str]) -> int:
    command = make_command()
    try:
        with command.make_context("data-engine", arguments) as ctx:
            result = command.invoke(ctx)
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.Abort as leaving:
        raise KeyboardInterrupt from leaving
    return result if isinstance(result, int) else 0


class LazyCommand(TyperCommand):
    """A command, or a group of them, whose module is loaded when it is called."""

    def __init__(self, name: str, verb: Verb) -> None:
        super().__init__(name, help=verb.summary, rich_markup_mode=None)
        self._verb = verb

    def loaded(self) -> Any:
        """The command with its options and arguments."""
        name, target = str(self.name), self._verb.load()
        if self._verb.home.startswith("view."):
            from data_engine.cli.terminal import typer_app

            app = typer_app(name, target)
        elif self._verb.home.endswith("_app"):
            app = target()
        else:
            app = command_group("", {name: target})
        command = light(get_command(app))
        command.name = name
        return command

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """The context of the command itself."""
        if self.name not in _LOOKS:
            gc.freeze()  # what is imported so far stays
            gc.enable()
        return self.loaded().make_context(*arguments, **named)


class _Root(TyperGroup):
    """All commands; its help shows them by group."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, verbs in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, verb.summary) for name, verb in verbs.items()], col_max=14)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called; a command of a group is named where its group was left out.

        Raises:
            FlowValidationError: it is one of a group.
        """
        for group, verb in VERBS.items() if args and args[0] not in self.commands else ():
            if verb.home.rpartition(":")[2].isupper() and args[0] in cast(Any, self.commands[group]).loaded().commands:
                what = f"{args[0]} is a command of {group}"
                raise FlowValidationError(what, where="data-engine", fix=cli_line(group, *args))
        return super().resolve_command(ctx, args)


def make_command() -> TyperGroup:
    """The command `data-engine` with all its commands.

    Example:
        >>> sorted(param.opts[0] for param in make_command().commands["undeploy"].loaded().params)
        ['--json', '--note', '--wait', 'name']
    """
    app = command_group("Write a data flow in a JupyterLab notebook; run the same notebook in production.")
    app.info.cls = _Root
    app.callback()(_global_options)
    command = light(get_command(app))
    assert isinstance(command, TyperGroup)
    for name, verb in VERBS.items():
        command.add_command(LazyCommand(name, verb))
    return command


def _show_version(wanted: bool) -> None:
    if wanted:
        from data_engine.version import __version__

        print(f"data-engine {__version__}")
        raise typer.Exit


def _global_options(
    workspace: Annotated[
        str | None, typer.Option("--workspace", metavar="PATH", help="The workspace; without it, the one you are in.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show Python's traceback with an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Write a data flow in a JupyterLab notebook; run the same notebook in production."""
    from data_engine.workspace.two_packages import two_packages_text

    if (words := two_packages_text()) is not None:
        complain(f"warning: {words}", style="yellow")
