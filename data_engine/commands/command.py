"""A command as a value: its fields, why it cannot be carried out now, how a request tells of it, and what its owner does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

from data_engine.commands.owner import Owner
from data_engine.commands.situation import Refusal, Situation
from data_engine.record import Record, frozen

A = TypeVar("A")


@frozen
class Done(Record):
    """The answer of a command that has nothing to tell."""


class Command(Generic[A]):
    """A verb: a frozen dataclass whose fields say, by `argument`, what they hold; its docstring's first line says what it does.

    `name` is its route, `answer` the class of what comes of it. `asks` is how a request to another
    workstation tells of it: a verb, and what marks it among those of this verb; None where nobody else can be asked. Without a daemon
    one is started for it where it `needs_daemon`, else this process does it. One that `is_urgent` does not wait until flows are known.
    """

    __slots__ = ()

    name: ClassVar[str]
    answer: ClassVar[Any] = Done
    asks: ClassVar[tuple[str, Mapping[str, Any]] | None] = None
    needs_daemon: ClassVar[bool] = False
    is_urgent: ClassVar[bool] = False
    timeout_s: ClassVar[float] = 60.0

    def check(self, at: Situation) -> Refusal | None:
        """Why it cannot be carried out, or would change nothing, as far as the status says; None where it can."""
        return None

    def require_valid(self) -> None:
        """Return when its fields fit together.

        Raises:
            FlowValidationError: they do not.
        """

    @property
    def is_question(self) -> bool:
        """Whether it changes nothing, so that nobody else is asked."""
        return False

    async def before_asking(self, owner: Owner) -> Command[A]:
        """The command as another workstation can carry it out, checked here as far as it can be.

        Raises:
            FlowValidationError: it is refused here.
        """
        return self

    async def carry_out(self, owner: Owner) -> A:
        """Do it.

        Raises:
            FlowValidationError: it is refused.
        """
        raise NotImplementedError

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> A:
        """The answer that its `as_dict` tells of."""
        found: A = cls.answer.read(told)
        return found

    def outcome(self, answer: A) -> str:
        """What a request of it came to: "done" or "failed".

        Raises:
            FlowValidationError: the answer says why it was refused.
        """
        return "done"

    @property
    def phrase(self) -> str:
        """What it is to do, in words: "enable claims".

        Example:
            >>> from data_engine.commands.switches import Enable
            >>> Enable("claims").phrase
            'enable claims'
        """
        flow = getattr(self, "flow", None)
        return f"{self.name.replace('-', ' ')} {flow}" if flow else self.name.replace("-", " ")
