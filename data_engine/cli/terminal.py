"""A verb on the command line: its options from its signature, its answer printed, its exit code."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_engine.cli.options import (
    AsJson,
    chosen_workspace,
    in_flow_modules,
    is_confirmed,
    load_module,
    named,
    source_from_shell,
)
from data_engine.cli.output import Failed, print_json, say_card, say_note
from data_engine.errors import FlowValidationError
from data_engine.view.card import Card, Note
from data_engine.view.verb import Answer, Option, Parameter, Place, parameters_of

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.verbs import Flow


class Terminal(Place):
    """A terminal, a pipe or a script, which asks for a verb: `ctx` is Typer's, `line` what was asked for, for errors."""

    def __init__(self, ctx: typer.Context, line: str, *, as_json: bool = False) -> None:
        self._ctx, self._line, self._as_json = ctx, line, as_json

    @property
    def workspace(self) -> Workspace:
        """The workspace of `--workspace`, else the one that is found."""
        return chosen_workspace(self._ctx)

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

    def inside(self) -> AbstractContextManager[None]:
        """The folder of the modules as the working directory."""
        return in_flow_modules(self.workspace)

    def tell(self, note: Note) -> None:
        """Print a note to standard error."""
        say_note(note)

    def confirm(self, question: Card, what: str, *, yes: bool) -> bool:
        """Whether somebody at the terminal says yes."""
        if yes:
            return True
        if not self._as_json:
            say_card(Card("", question.facts, question.parts))
        return is_confirmed(question.title, what, self._line)


def show(answer: Answer, *, as_json: bool) -> int:
    """Print an answer; its exit code."""
    if as_json:
        print_json(answer.facts())
    else:
        say_card(answer.card())
    for note in answer.notes:
        say_note(note)
    return answer.code


def status(
    ctx: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", help="A screen that follows it, with keys to run, stop and retry.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """What the daemon, its engine and each flow do, what runs now, and what waits and why."""
    from data_engine.view import status

    if not watch:
        return show(status.status(Terminal(ctx, "status")), as_json=as_json)
    if as_json:
        what = "--watch shows a screen, and --json prints one document"
        raise FlowValidationError(what, where="data-engine status", fix="leave one of them out")
    import gc

    from data_engine.cli import watch as screen

    gc.enable()
    return screen.show(chosen_workspace(ctx))


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

    def command(ctx: typer.Context, *, as_json: bool, **values: Any) -> int:
        return show(verb(Terminal(ctx, name, as_json=as_json), **values), as_json=as_json)

    own = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    as_json = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson)
    command.__signature__ = inspect.Signature([own, *map(_typed, parameters), as_json])  # type: ignore[attr-defined]
    command.__annotations__ = {"ctx": typer.Context, "as_json": AsJson} | {
        one.name: _annotation(one) for one in parameters
    }
    command.__doc__ = verb.__doc__
    return command


def _typed(parameter: Parameter) -> inspect.Parameter:
    return inspect.Parameter(
        parameter.name, inspect.Parameter.KEYWORD_ONLY, default=parameter.default, annotation=_annotation(parameter)
    )


def _annotation(parameter: Parameter) -> Any:
    about = parameter.about
    if isinstance(about, Option):
        metavar = about.metavar or None
        return Annotated[
            parameter.kind, typer.Option(*parameter.flags, help=about.help, min=about.least, metavar=metavar)
        ]
    callback = named if about.takes.startswith("flow") else None
    return Annotated[parameter.kind, typer.Argument(metavar=about.metavar, help=about.help, callback=callback)]
