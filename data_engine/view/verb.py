"""A verb as a function: its parameters say what may be typed, its answer what is shown, whoever asks.

A verb is `def verb(place, ...) -> Answer` in the module of its noun. The options of the command line, those of `%flow`, and the help of both
are made of its signature; the card of its answer is drawn by a terminal, a cell or the panel, and its facts are what `--json` prints.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias, get_args, get_origin, get_type_hints

from data_engine.display_hook import Displayable
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line
from data_engine.record import frozen
from data_engine.view.card import Card, Note, Part

if TYPE_CHECKING:
    from pathlib import Path

    from data_engine.client import Workspace
    from data_engine.verbs import Flow


# -- what is answered -------------------------------------------------------------------------------------------------


@frozen
class Answer:
    """The answer of a verb: people see its `card`, and its `notes` beside it; programs get its `facts`, and a cell its `value`.

    Card and facts are functions: only one of them is asked for. `code` is the exit code: 0 done, 1 it ran and failed; a cell raises
    the `error` of what failed.
    """

    card: Callable[[], Card]
    facts: Callable[[], Any]
    notes: tuple[Note, ...] = ()
    code: int = 0
    value: Any = None
    error: FlowValidationError | None = None


def said(text: str, facts: Any = None, *, code: int = 0, notes: tuple[Note, ...] = (), value: Any = None) -> Answer:
    """An answer of a sentence, or of several lines.

    Example:
        >>> said("Nothing was forgotten.", code=1).card().title
        'Nothing was forgotten.'
    """
    return Answer(lambda: Card(text), lambda: facts, notes, code, value)


def was_asked() -> Answer:
    """The answer of a verb that another workstation was asked to carry out, and whose answer nobody waits for."""
    return said(f"The owner was asked; `{cli_line('status')}` shows the answer.", {"asked": True})


class Shown(Displayable):
    """A card that a cell shows."""

    __slots__ = ("card",)

    def __init__(self, card: Card) -> None:
        self.card = card


# -- who asks ---------------------------------------------------------------------------------------------------------

Reader: TypeAlias = Literal["person", "program", "script"]
"""A `person` can be asked; a `program` reads JSON; a `script` goes on by the exit code."""


class Place(Protocol):
    """Where a verb is asked for: a terminal, a cell, the panel. What is answered here holds where there is no kernel and no shell."""

    @property
    def workspace(self) -> Workspace:
        """The workspace that is meant."""

    @property
    def root(self) -> str | None:
        """The folder of the workspace as it was typed; None where it is found."""
        return None

    @property
    def reader(self) -> Reader:
        """Who reads the answer."""
        return "person"

    def flow_name(self, name: str | None) -> str:
        """The flow that is named; without a name that of the notebook.

        Raises:
            FlowValidationError: none is named, and this is no notebook's kernel.
        """

    def own_name(self, name: str | None) -> str | None:
        """The flow that is named; without a name that of the notebook in a cell, and all of them elsewhere: None."""
        return name

    @property
    def names(self) -> Mapping[str, Any] | None:
        """The names of the kernel that asks; None elsewhere."""
        return None

    def unsaved(self, path: Path) -> str:
        """Says that `path` is this kernel's notebook, and its file does not hold what its cells ran; "" where that is not so."""
        return ""

    def failed(self, error: FlowValidationError) -> Exception:
        """The error of what was asked for rightly and went wrong; the command line ends with 1 then, and not with 2."""
        return error

    def flow(self, name: str | None) -> Flow:
        """The flow as it is here: as this kernel made it, else as it is saved.

        Raises:
            FlowValidationError: as `flow_name`, or it is broken.
        """

    def path(self, text: str | None) -> str | None:
        """A path that was typed, as it is meant from here."""
        return text

    def inside(self, workspace: Workspace | None = None) -> AbstractContextManager[None]:
        """Where modules are loaded: the command line enters flow_modules for it, of `workspace` where that is not the one that is meant."""
        return nullcontext()

    def show(self, part: Part) -> None:
        """Show a part of the answer at once; a program and the panel get the end alone."""
        return

    def tell(self, note: Note) -> None:
        """Show a note at once, before the answer."""

    def unseen(self, label: str) -> str:
        """A text that nobody may see, typed at a prompt or written to standard input.

        Raises:
            FlowValidationError: nothing can be typed unseen here.
        """
        raise FlowValidationError(f"{label} cannot be typed here", where="here", fix="use a terminal")

    def confirm(self, question: Card, what: str, *, yes: bool) -> bool:
        """Whether a person agrees. `yes` is an answer that was given; `what` says what would be done, where nobody can be asked.

        Raises:
            FlowValidationError: nobody can be asked here; the fix is to say yes.
        """


@frozen
class VerbGroup:
    """Verbs behind a word, as in `lease request`, and the help of the word."""

    help: str
    verbs: Mapping[str, Callable[..., Answer]]


# -- what may be typed ------------------------------------------------------------------------------------------------

Takes: TypeAlias = Literal["flow", "flows", "flow or file", "flow or id", "flow or run", "run", "object", "text"]
"""What stands for a subject: `flow` is the name of one, without which a cell means its own; `object` is what a step saves."""


@frozen
class Subject:
    """What stands behind the verb without a name of its own. One that is hidden is in no help: a verb says itself why it takes none."""

    metavar: str
    help: str
    takes: Takes = "text"
    is_hidden: bool = False


@frozen
class Option:
    """What has a name: `--note TEXT`; a switch where the parameter is a bool. `flags` replace the flag that follows from the
    parameter's name. `only` keeps an option from the other surface."""

    help: str
    metavar: str = ""
    flags: tuple[str, ...] = ()
    least: int | None = None
    only: Literal["", "shell", "cell"] = ""


@frozen
class VerbParameter:
    """A parameter of a verb: what of it is typed, and its type."""

    name: str
    about: Subject | Option
    kind: Any
    default: Any = field(default=None, compare=False)

    @property
    def flags(self) -> tuple[str, ...]:
        """The option's flags."""
        if not isinstance(self.about, Option):
            return ()
        if self.about.flags:
            return self.about.flags
        flag = f"--{self.name.replace('_', '-')}"
        return (f"{flag}/--no-{flag[2:]}",) if self.default is True else (flag,)

    @property
    def is_switch(self) -> bool:
        """Whether it is there or not."""
        return self.kind is bool

    @property
    def is_repeated(self) -> bool:
        """Whether it may be given several times."""
        return any(get_origin(kind) is list for kind in (self.kind, *get_args(self.kind)))

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts that it may be; none where it may be any."""
        kinds = (self.kind, *get_args(self.kind))
        return next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())


Params = Annotated[
    list[str] | None,
    Option(
        "A parameter of the run, or a JSON object of them. May be repeated.",
        "NAME=VALUE",
        ("--set", "--param", "--params"),
    ),
]
Key = Annotated[list[str] | None, Option("A column by which rows are matched. May be repeated.", "COL")]
Use = Annotated[str | None, Option("The object to show; by default the last result.", "OBJECT")]
Source = Annotated[str | None, Option("Only this file, such as the one that failed.", "PATH")]
Wait = Annotated[bool, Option("If another workstation owns the workspace: wait for its answer, or not.")]


def parameters_of(verb: Callable[..., Answer]) -> Iterator[VerbParameter]:
    """The parameters of a verb that a person may type, in their order.

    Example:
        >>> from typing import Annotated
        >>> def forget(place: Place, name: Annotated[str, Subject("FLOW", "The flow.")], yes: Annotated[bool, Option("Do not ask.")] = False) -> Answer: ...
        >>> [(parameter.name, parameter.flags) for parameter in parameters_of(forget)]
        [('name', ()), ('yes', ('--yes',))]
    """
    kinds = get_type_hints(verb, include_extras=True)
    for name, parameter in inspect.signature(verb).parameters.items():
        kind = kinds.get(name)
        about = next((one for one in getattr(kind, "__metadata__", ()) if isinstance(one, (Subject, Option))), None)
        if about is not None:
            yield VerbParameter(name, about, get_args(kind)[0], parameter.default)
