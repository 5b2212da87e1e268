"""A verb in a cell: `%flow NAME`, its options from its signature, its answer shown."""

from __future__ import annotations

import inspect
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

from data_engine.display_hook import Listing
from data_engine.errors import FlowValidationError
from data_engine.view.card import Card, Note, Part
from data_engine.view.text import text
from data_engine.view.verb import Answer, Place, Shown, Subject, VerbParameter
from jupyter_extension.own_flow import UserNames, own_flow, own_name, unsaved_text

if TYPE_CHECKING:
    from pathlib import Path

    from data_engine.client import Workspace
    from data_engine.verbs import Flow


class Cell(Place):
    """A cell of a notebook, which asks for a verb with the names of its kernel; `line` is what was asked for."""

    def __init__(self, names: UserNames, line: str, in_this_kernel: Callable[[str], str]) -> None:
        self._names, self._line, self._in_this_kernel = names, line, in_this_kernel

    @property
    def names(self) -> UserNames:
        """The names of its kernel."""
        return self._names

    @property
    def workspace(self) -> Workspace:
        """The notebook's workspace."""
        from data_engine.client import Workspace

        return Workspace.current()

    def flow_name(self, name: str | None) -> str:
        """The name, else that of the notebook."""
        return name or own_name(self._names, self._line)

    def own_name(self, name: str | None) -> str | None:
        """The name, else that of the notebook."""
        return self.flow_name(name)

    def unsaved(self, path: Path) -> str:
        """Says that the notebook has edits that ran and are not saved."""
        return unsaved_text(self._names, path)

    def flow(self, name: str | None) -> Flow:
        """The flow that the cells of this notebook build; one that is named as it is saved."""
        return own_flow(self._names, self._line) if name is None else self.workspace.load_flow(name)

    def show(self, part: Part) -> None:
        """Print a part."""
        print(self._in_this_kernel(text(Card("", parts=(part,))).strip()))

    def tell(self, note: Note) -> None:
        """Print a note, which says of a warning that it is one."""
        kind = "warning: " if note.mark.tone == "warn" else ""
        print(self._in_this_kernel(kind + text(Card("", parts=(note,))).strip()))

    def confirm(self, question: Card, what: str, *, yes: bool) -> bool:
        """Whether it was said: a cell cannot be asked, so the question is printed, and how to say yes."""
        if not yes:
            print(self._in_this_kernel(text(question)))
            print(f"Repeat the line with --yes to do it: {what}.")
        return yes


def carry_out(name: str, verb: Callable[..., Answer], cell: Cell, values: dict[str, Any]) -> Any:
    """Ask for a verb; the value for the cell, or the card of the answer."""
    answer = verb(cell, **values)
    for note in answer.notes:
        cell.tell(note)
    if answer.error is not None:
        raise answer.error
    if isinstance(answer.value, Listing):
        answer.value.card = answer.card()
    return Shown(answer.card()) if answer.value is None else answer.value


def values_of(verb: str, parameters: list[VerbParameter], args: Namespace) -> dict[str, Any]:
    """The values of a line that was parsed, as the verb takes them.

    Raises:
        FlowValidationError: one is not what its option takes.
    """
    values: dict[str, Any] = {}
    for parameter in parameters:
        if isinstance(parameter.about, Subject):
            value = args.subject
            if parameter.about.takes == "flows":
                value = [] if value is None else [value]
        else:
            value = getattr(args, option_name(parameter).removeprefix("--").replace("-", "_"), None)
            if parameter.is_switch:
                value = bool(value) if parameter.default is not True else not value
        if value is None and parameter.default is inspect.Parameter.empty:
            what, where = f"which {parameter.name.partition('_')[0]}?", f"%flow {verb}"
            raise FlowValidationError(
                what, where=where, fix=f"{where} {parameter.about.metavar}; %flow runs shows their ids"
            )
        if value is None:
            value = parameter.default
        elif parameter.choices and value not in parameter.choices:
            fix = f"one of {', '.join(parameter.choices)}"
            raise FlowValidationError(f"{value!r} is none of its values", where=option_name(parameter), fix=fix)
        elif int in (parameter.kind, *get_args(parameter.kind)) and isinstance(value, str):
            value = _whole(value, option_name(parameter))
        values[parameter.name] = value
    return values


def option_name(parameter: VerbParameter) -> str:
    """The option as a cell takes it; of one that is on by default the one that turns it off."""
    flag = parameter.flags[0]
    return flag.rpartition("/")[2]


def _whole(words: str, option: str) -> int:
    try:
        return int(words)
    except ValueError:
        raise FlowValidationError(f"{words!r} is not a whole number", where=option, fix=f"{option} 3") from None
