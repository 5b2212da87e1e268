"""The commands about ownership: ask for the workspace, give it up, take it over, repair its history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar

from data_engine.commands.command import OTHERS, Command, Owner, Refusal, Situation, first, unless, when
from data_engine.commands.fields import ANY_TEXT, FLAG, argument, to_json
from data_engine.record import Record, frozen

if TYPE_CHECKING:
    from data_engine.lease.status import LeaseStatus


def _lease(data: Mapping[str, Any]) -> LeaseStatus:
    from data_engine.lease.status import LeaseStatus

    return LeaseStatus.read(data)


@frozen
class LeaseAnswer(Record):
    """The lease afterwards, and a sentence about what was done."""

    lease: LeaseStatus = field(metadata={"of": _lease})
    said: str | None = None


@frozen
class _OfLease(Command[LeaseAnswer]):
    """A command about ownership; `does` is the verb of `Owner.lease`, which gets the fields of the command."""

    answer: ClassVar = LeaseAnswer
    does: ClassVar[str]

    async def carry_out(self, owner: Owner) -> LeaseAnswer:
        return LeaseAnswer(*await owner.lease(self.does, **to_json(self)))


@frozen
class RequestControl(_OfLease):
    """Ask the owner for the workspace."""

    name: ClassVar = "request-control"
    does: ClassVar = "request"
    needs_daemon: ClassVar = True

    client: str = field(default="ui", metadata=argument(ANY_TEXT, "From where it is asked.", is_local=True))

    def check(self, at: Situation) -> Refusal | None:
        state, free = at.status.lease.state, "no workstation has control: start the engine to take it"
        return first(
            (
                when(at.is_mine, "mine", "this workstation has control"),
                when(state == "available", "available", free),
                when(at.is_asked_from_here, "asked", "already requested"),
                unless(state in OTHERS, "unusable", "the shared state cannot be read"),
            )
        )


@frozen
class WithdrawRequest(_OfLease):
    """Do not ask for the workspace any more."""

    name: ClassVar = "withdraw-request"
    does: ClassVar = "withdraw"

    def check(self, at: Situation) -> Refusal | None:
        is_asked = at.is_asked_from_here and not at.is_mine
        return unless(is_asked, "not_asked", "this workstation has not asked for control")


@frozen
class ReleaseControl(_OfLease):
    """Give the workspace up when its running work is done."""

    name: ClassVar = "release-control"
    does: ClassVar = "release"

    now: bool = field(default=False, metadata=argument(FLAG, "Stop running work first."))

    def check(self, at: Situation) -> Refusal | None:
        no_control = unless(at.is_mine, "not_mine", "this workstation does not have control")
        return no_control or when(at.status.lease.releasing, "releasing", "it is being given up")


@frozen
class TakeOver(_OfLease):
    """Own the workspace of an owner that has been silent for long enough."""

    name: ClassVar = "take-over"
    does: ClassVar = "take-over"
    needs_daemon: ClassVar = True

    def check(self, at: Situation) -> Refusal | None:
        why = "possible only after the owner has been silent for long enough"
        return unless(at.status.lease.state == "takeover_available", "not_silent", why)


@frozen
class RepairLease(_OfLease):
    """Fix a damaged list of generations from its newest readable one."""

    name: ClassVar = "repair-lease"
    does: ClassVar = "repair"
    needs_daemon: ClassVar = True

    def check(self, at: Situation) -> Refusal | None:
        return unless(at.status.lease.state == "damaged", "whole", "nothing is damaged")


COMMANDS = (RequestControl, WithdrawRequest, ReleaseControl, TakeOver, RepairLease)
