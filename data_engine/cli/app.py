"""The command `data-engine`: its commands, its exit codes, and how errors are shown.

0 done; 1 it ran and failed; 2 the request was wrong; 3 another workstation holds the lease; 130 interrupted. A Python
traceback is shown only with `--debug` or DATA_ENGINE_DEBUG=1. The module of a command is loaded when the command is called.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from data_engine.cli.options import command_group, light
from data_engine.cli.output import complain, lenient_streams, only_json, tell_error
from data_engine.formatting import visible_lines

COMMANDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Every day": {
        "demo": ("browser:demo", "Make a small workspace with flows to try."),
        "lab": ("browser:lab_app", "Open JupyterLab on the workspace."),
        "list": ("looks:list_flows", "List the flows, and what is wrong with broken ones."),
        "show": ("looks:show", "Show a flow: its trigger, paths, steps and last run."),
        "preview": ("notebooks:preview", "Run a flow without writing to production."),
        "deploy": ("deploying:deploy", "Put a flow, or all, into production."),
        "rollback": ("deploying:rollback", "Go back to an earlier deployment of a flow."),
        "start": ("daemon:start", "Start the daemon and its engine."),
        "stop": ("daemon:stop", "Stop a flow or a run, or the engine and the daemon."),
        "status": ("looks:status", "Show what runs, what waits, and why."),
        "run": ("running:run", "Run a flow now."),
        "runs": ("looks:runs", "List what ran on this machine."),
        "log": ("looks:log", "Show what a run printed and logged."),
        "explain": ("looks:explain", "Say why a flow or a file does or does not run."),
    },
    "Notebooks and deployments": {
        "compile": ("notebooks:compile_flows", "Compile notebooks into modules, or check them."),
        "plan": ("notebooks:plan", "Show what a deploy would change in the data."),
        "test": ("notebooks:check", "Compare flows with their goldens."),
        "deployments": ("deploying:deployments", "List what was deployed, and when."),
        "undeploy": ("deploying:undeploy", "Take a flow out of production."),
        "restore": ("deploying:restore", "Write a deployed notebook back to flow_modules."),
    },
    "Runs": {
        "retry": ("daemon:retry", "Try failed sources again."),
        "backfill": ("history:backfill", "Run a flow for files or slots of the past."),
        "compare": ("history:compare", "Show what differs between two runs."),
        "rejected": ("history:rejected", "List the rows that checks reject, or write a workbook of them."),
        "enable": ("daemon:enable", "Let flows run by themselves again."),
        "disable": ("daemon:disable", "Keep flows from running by themselves."),
        "kill": ("daemon:kill", "End a run's process now, or the daemon and all it runs."),
        "reset": ("history:reset", "Forget what was done, so that it is done again."),
        "tidy": ("history:tidy", "Move outputs away whose sources are gone."),
    },
    "Workspace and machine": {
        "workspace": ("workspaces:workspace_app", "Create, list, choose and copy workspaces."),
        "lease": ("workspaces:lease_app", "See who owns the workspace, and change it."),
        "panel": ("browser:panel", "Open the control panel in a browser."),
        "secret": ("machine:secret_app", "Keep secrets for flows."),
        "alert": ("machine:alert_app", "Try who is told of failures, and see what was told."),
        "service": ("machine:service_app", "Start the daemon at logon."),
        "doctor": ("machine:doctor", "Measure whether this machine and its drives will do."),
        "import": ("workspaces:import_workspace", "Bring a workspace from the older system."),
        "docs": ("browser:docs", "Open the documentation."),
    },
}
"""The commands by group, in the order of `--help`: the function that carries each out, and one line of help."""


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
    """A command, or a group of them, whose module is loaded when it is called; `home` is the module and its function."""

    def __init__(self, name: str, home: str, help_line: str) -> None:
        super().__init__(name, help=help_line, rich_markup_mode=None)
        self._home = home

    def loaded(self) -> Any:
        """The command with its options and arguments."""
        module, function = self._home.split(":")
        target = getattr(import_module(f"data_engine.cli.{module}"), function)
        if function.endswith("_app"):
            command = light(get_command(target()))
            command.name = self.name
            return command
        app = command_group("")
        app.command(self.name)(target)
        return light(get_command(app))

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """The context of the command itself."""
        if not self._home.startswith("looks:"):
            gc.freeze()  # what is imported so far stays
            gc.enable()
        return self.loaded().make_context(*arguments, **named)


class _Root(TyperGroup):
    """All commands; its help shows them by group."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, help_line) for name, (_, help_line) in commands.items()], col_max=14)


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
    for commands in COMMANDS.values():
        for name, (home, help_line) in commands.items():
            command.add_command(LazyCommand(name, home, help_line))
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
    from data_engine.workspace.two_packages import two_packages_words

    if (words := two_packages_words()) is not None:
        complain(f"warning: {words}", style="yellow")
