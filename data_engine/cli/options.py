"""What several commands share: the workspace, `--json`, a source named in the shell; and groups of commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_engine.cli.output import Failed, complain, print_json, say
from data_engine.errors import FlowValidationError
from data_engine.platforms.names import with_home

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.notebook.load import LoadedModule


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def named(ctx: typer.Context, value: Any) -> Any:
    """The name of a flow, or those of several, as their files have them; where no workspace is found, as they were typed."""
    names = [value] if isinstance(value, str) else list(value or ())
    if all(name.isascii() for name in names):
        return value
    from data_engine.notebook.flow_files import as_filed

    try:
        folder = chosen_workspace(ctx).layout.flow_modules_dir
    except FlowValidationError:  # a command that needs one says so
        return value
    stems = [as_filed(folder, name) for name in names]
    return stems[0] if isinstance(value, str) else stems


def chosen_workspace(ctx: typer.Context) -> Workspace:
    """The workspace that is meant: the one of `--workspace`, else as `select_workspace` finds it.

    Raises:
        WorkspaceError: none is named, or what is named is none.
    """
    from data_engine.client import Workspace
    from data_engine.workspace.select import select_workspace

    return Workspace(select_workspace(ctx.find_root().params.get("workspace")).root)


def load_module(ws: Workspace, name: str) -> LoadedModule:
    """The flow module `name`, executed and built.

    Raises:
        FlowValidationError: there is no such module.
        Failed: it is there and broken.
    """
    from data_engine.status.deployed_before import find_flow

    modules = ws.home.modules()
    path = find_flow(ws.home, name)
    try:
        loaded = modules.load(path)
    except FlowValidationError as error:
        raise Failed(error) from error
    for warning in loaded.warnings:
        complain(f"warning: {warning}", style="yellow")
    return loaded


def source_from_shell(source: str | None) -> str | None:
    """`source` as a whole path where it exists, seen from the shell; else as it is, for the source folder to find it."""
    if source is None:
        return None
    path = os.path.abspath(with_home(source))
    return path if source.strip() and os.path.exists(path) else source


@contextmanager
def in_flow_modules(ws: Workspace) -> Iterator[None]:
    """Inside, the working directory is the authored folder, as for every run that is not in the caller's own process."""
    try:
        change = chdir(ws.layout.flow_modules_dir)
        change.__enter__()
    except OSError as error:
        raise FlowValidationError(
            f"the flow_modules folder cannot be entered: {error.strerror}",
            where=str(ws.layout.flow_modules_dir),
            fix="check its permissions and whether its drive is connected",
        ) from error
    try:
        yield
    finally:
        change.__exit__(None, None, None)


def done(facts: Any, text: str, as_json: bool) -> int:
    """Print the text, or the facts for programs; exit code 0."""
    if as_json:
        print_json(facts)
    else:
        say(text)
    return 0


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
        if getattr(param, "hidden", False):  # it is in no line of usage either
            param.get_usage_pieces = lambda ctx: []
    for child in getattr(command, "commands", {}).values():
        light(child)
    return command


class _Converter:
    """Returns texts and missing values unchanged; `own` is Typer's converter of the rest."""

    def __init__(self, own: Callable[[], Any]) -> None:
        self._own = own

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Convert the text of a parameter."""
        kind, has_several = param.type_descriptor.annotation, param.multiple or param.nargs == -1
        if value is None:
            return () if has_several else None
        if kind is str and isinstance(value, str):
            return value
        if kind == list[str] and isinstance(value, (list, tuple)):
            return list(value)
        return self._own().coerce(value, param=param, ctx=ctx)
