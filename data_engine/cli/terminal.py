"""A verb on the command line: its options from its signature, its answer printed, its exit code."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_engine.cli.options import (
    AsJson,
    chosen_workspace,
    command_group,
    in_flow_modules,
    load_module,
    named,
    source_from_shell,
)
from data_engine.cli.output import Failed, print_json, say_card, say_note
from data_engine.errors import FlowValidationError
from data_engine.formatting import visible
from data_engine.platforms.terminals import is_terminal
from data_engine.view.card import Card, Note, Part
from data_engine.view.verb import Answer, Option, Place, Reader, VerbGroup, VerbParameter, parameters_of

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.verbs import Flow


class Terminal(Place):
    """A terminal, a pipe or a script, which asks for a verb: `ctx` is Typer's, `line` what was asked for, for errors."""

    def __init__(self, ctx: typer.Context, line: str, *, as_json: bool = False) -> None:
        self._ctx, self._line, self._as_json = ctx, line, as_json

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace of `--workspace`, else the one that is found, as seen from where the command was typed."""
        return chosen_workspace(self._ctx)

    @property
    def root(self) -> str | None:
        """The folder of `--workspace`."""
        root: str | None = self._ctx.find_root().params.get("workspace")
        return root

    @property
    def reader(self) -> Reader:
        """A program with `--json`, else a person where there is a terminal."""
        return "program" if self._as_json else "person" if is_terminal(sys.stdin) else "script"

    def flow_name(self, name: str | None) -> str:
        """The name, which must be there."""
        if name is None:
            fix = f"name it: data-engine {self._line} NAME; `data-engine list` shows them"
            raise FlowValidationError("which flow?", where=f"data-engine {self._line}", fix=fix)
        return name

    def failed(self, error: FlowValidationError) -> Exception:
        """The error that ends with 1."""
        return Failed(error)

    def flow(self, name: str | None) -> Flow:
        """The flow as it is saved."""
        return load_module(self.workspace, self.flow_name(name)).flow  # type: ignore[return-value]  # as verbs build it

    def path(self, text: str | None) -> str | None:
        """A path as the shell means it."""
        return source_from_shell(text)

    def inside(self, workspace: Workspace | None = None) -> AbstractContextManager[None]:
        """The folder of the modules as the working directory."""
        return in_flow_modules(workspace or self.workspace)

    def show(self, part: Part) -> None:
        """Print a part, unless a program reads."""
        if not self._as_json:
            say_card(Card("", parts=(part,)))

    def tell(self, note: Note) -> None:
        """Print a note to standard error."""
        say_note(note)

    def unseen(self, label: str) -> str:
        """What is typed twice at a prompt, or all of standard input where that is no terminal."""
        if is_terminal(sys.stdin):
            return str(typer.prompt(label, hide_input=True, confirmation_prompt=True, err=True))
        text = "" if sys.stdin is None else sys.stdin.read()
        return text.removesuffix("\n").removesuffix("\r")

    def confirm(self, question: Card, what: str, *, yes: bool) -> bool:
        """Whether somebody at the terminal says yes; with `--json` nobody is asked."""
        if yes:
            return True
        if self._as_json:  # what the question is about is not shown
            what, where = f"{what}, and with --json nothing is asked", f"data-engine {self._line}"
            raise FlowValidationError(what, where=where, fix="add --yes to confirm")
        say_card(Card("", question.facts, question.parts))
        if is_terminal(sys.stdin):
            return typer.confirm(visible(question.title), err=True)
        what, where = f"{what}, and there is no terminal to ask on", f"data-engine {self._line}"
        raise FlowValidationError(what, where=where, fix="add --yes to confirm")


def show(answer: Answer, *, as_json: bool) -> int:
    """Print an answer; its exit code."""
    if as_json:
        print_json(answer.facts())
    else:
        say_card(answer.card())
    for note in answer.notes:
        say_note(note)
    return answer.code


SCREENS = {
    "run": ("data_engine.cli.running", "Run here as sources and slots become due, until Ctrl-C."),
    "status": ("data_engine.cli.watch", "A screen that follows it, with keys to run, stop and retry."),
}
"""The verbs that have a `--watch`: the module whose `watch` goes on until somebody leaves it, and the option's help."""


CHANGING = frozenset("deploy rollback undeploy run retry backfill start stop kill enable disable reset tidy".split())
"""The verbs that first name the workspace where only the machine's settings do, and not the folder that they were typed in."""


def typer_command(name: str, verb: Callable[..., Answer]) -> Callable[..., int]:
    """The verb as Typer takes it.

    Example:
        >>> from data_engine.view.verb import Subject, said
        >>> def forget(place: Any, name: Annotated[str, Subject("FLOW", "The flow.")], yes: Annotated[bool, Option("Do not ask.")] = False) -> Answer:
        ...     return said(f"Forgot {name}.")
        >>> list(inspect.signature(typer_command("forget", forget)).parameters)
        ['ctx', 'name', 'yes', 'as_json']
    """
    parameters = [
        one for one in parameters_of(verb) if not (isinstance(one.about, Option) and one.about.only == "cell")
    ]

    def command(ctx: typer.Context, *, as_json: bool, watch: bool = False, **values: Any) -> int:
        if watch:
            gc.enable()
            code: int = import_module(SCREENS[name][0]).watch(Terminal(ctx, name, as_json=as_json), values)
            return code
        from data_engine.workspace.select import is_from_settings

        terminal = Terminal(ctx, name, as_json=as_json)
        if name in CHANGING and not as_json and terminal.root is None and is_from_settings():
            print(visible(f"workspace {terminal.workspace.root}"), file=sys.stderr)
        return show(verb(terminal, **values), as_json=as_json)

    own = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    kinds: dict[str, Any] = {"as_json": AsJson}
    if name in SCREENS:
        kinds = {"watch": Annotated[bool, typer.Option("--watch", help=SCREENS[name][1])]} | kinds
    more = [
        inspect.Parameter(one, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for one, kind in kinds.items()
    ]
    command.__signature__ = inspect.Signature([own, *map(_typed, parameters), *more])  # type: ignore[attr-defined]
    command.__annotations__ = {"ctx": typer.Context} | kinds | {one.name: _annotation(one) for one in parameters}
    command.__doc__ = verb.__doc__
    return command


def typer_app(name: str, verb: VerbGroup | Callable[..., Answer]) -> typer.Typer:
    """The verb, or the verbs of a group, as Typer takes them."""
    if isinstance(verb, VerbGroup):
        verbs = {word: typer_command(f"{name} {word}", one) for word, one in verb.verbs.items()}
        return command_group(verb.help, verbs)
    return command_group("", {name: typer_command(name, verb)})


def _typed(parameter: VerbParameter) -> inspect.Parameter:
    return inspect.Parameter(
        parameter.name, inspect.Parameter.KEYWORD_ONLY, default=parameter.default, annotation=_annotation(parameter)
    )


def _annotation(parameter: VerbParameter) -> Any:
    about = parameter.about
    if isinstance(about, Option):
        metavar = about.metavar or None
        return Annotated[
            parameter.kind, typer.Option(*parameter.flags, help=about.help, min=about.least, metavar=metavar)
        ]
    callback = named if about.takes.startswith("flow") else None
    argument = typer.Argument(metavar=about.metavar, help=about.help, callback=callback, hidden=about.is_hidden)
    return Annotated[parameter.kind, argument]
