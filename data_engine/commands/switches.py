"""The commands that turn flows, the engine and this machine's daemon on and off, choose the Python of runs, and change who owns the
workspace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import ClassVar

from data_engine.commands.command import OTHERS, Acknowledged, Command, Owner, Refusal, Situation, first, unless, when
from data_engine.commands.fields import ANY_TEXT, FLAG, FLOW, PATH, argument, to_json
from data_engine.lease.status import LeaseStatus
from data_engine.record import Record, frozen


@frozen
class Enable(Command[Acknowledged]):
    """Let a flow run by itself again."""

    name: ClassVar = "enable"
    asks: ClassVar = ("enable", {})

    flow: str = field(metadata=argument(FLOW, "The flow."))

    def check(self, at: Situation) -> Refusal | None:
        flow = at.flow(self.flow)
        is_on = flow is not None and flow.enabled
        return first((at.owner_is_silent, _by_hand(self.flow, at), when(is_on, "enabled", "it is enabled")))

    async def carry_out(self, owner: Owner) -> Acknowledged:
        return await _switch(owner, self.flow, True, "")


@frozen
class Disable(Command[Acknowledged]):
    """Let a flow run by hand only."""

    name: ClassVar = "disable"
    asks: ClassVar = ("disable", {})

    flow: str = field(metadata=argument(FLOW, "The flow."))
    note: str = field(default="", metadata=argument(ANY_TEXT, "The reason, shown with who disabled it."))

    def check(self, at: Situation) -> Refusal | None:
        flow = at.flow(self.flow)
        is_off = flow is not None and not flow.enabled
        return first((at.owner_is_silent, _by_hand(self.flow, at), when(is_off, "disabled", "it is disabled")))

    async def carry_out(self, owner: Owner) -> Acknowledged:
        return await _switch(owner, self.flow, False, self.note)


async def _switch(owner: Owner, flow: str, is_enabled: bool, note: str) -> Acknowledged:
    from data_engine.model import Switch

    await owner.switch(flow, Switch.now(is_enabled, owner.asker.by, owner.asker.machine, note=note))
    return Acknowledged()


def _by_hand(name: str, at: Situation) -> Refusal | None:
    flow = at.flow(name)
    return when(flow is not None and flow.mode == "manual", "by_hand", "it runs by hand only")


@frozen
class Start(Command[Acknowledged]):
    """Start the daemon, not yet its engine."""

    name: ClassVar = "start"
    needs_daemon: ClassVar = True
    is_urgent: ClassVar = True

    def check(self, at: Situation) -> Refusal | None:
        return when(at.status.daemon.running, "running", "it is running")

    async def carry_out(self, owner: Owner) -> Acknowledged:
        return Acknowledged()


@frozen
class StartEngine(Command[Acknowledged]):
    """Let polled and scheduled flows run by themselves from now on."""

    name: ClassVar = "start-engine"
    needs_daemon: ClassVar = True

    def check(self, at: Situation) -> Refusal | None:
        return first(self._refusals(at))

    def refusal(self, at: Situation) -> Refusal | None:
        return at.leaving

    def _refusals(self, at: Situation) -> Iterator[Refusal | None]:
        engine, flows = at.status.engine, at.status.flows
        yield at.leaving
        yield when(engine.on, "engine_on", "the engine is on")
        yield when(engine.starting, "starting", "the engine is starting")
        yield at.elsewhere
        is_reading = any(flow.state_kind == "being_read" for flow in flows)
        yield when(is_reading, "being_read", "the modules are being read")
        runs_by_itself = any(flow.mode != "manual" for flow in flows)
        yield unless(runs_by_itself, "nothing_by_itself", "no flow polls or has a schedule")

    async def carry_out(self, owner: Owner) -> Acknowledged:
        await owner.turn_engine(is_on=True)
        return Acknowledged()


@frozen
class StopEngine(Command[Acknowledged]):
    """Let running work finish and start nothing more by itself, also in the next daemon."""

    name: ClassVar = "stop-engine"

    def check(self, at: Situation) -> Refusal | None:
        if at.status.engine.goes_on:
            return None
        is_leaving = when(at.leaving, "daemon_ending", "the daemon is ending")
        return first((at.no_daemon, is_leaving, unless(at.status.engine.on, "engine_off", "the engine is off")))

    async def carry_out(self, owner: Owner) -> Acknowledged:
        await owner.turn_engine(is_on=False)
        return Acknowledged()


@frozen
class Shutdown(Command[Acknowledged]):
    """End the daemon when its running work is done."""

    name: ClassVar = "shutdown"
    is_urgent: ClassVar = True

    kill: bool = field(default=False, metadata=argument(FLAG, "End its running work, too.", is_local=True))

    def check(self, at: Situation) -> Refusal | None:
        return first((at.no_daemon, when(at.leaving, "daemon_ending", "the daemon is ending")))

    async def carry_out(self, owner: Owner) -> Acknowledged:
        await owner.shut_down(kill=self.kill)
        return Acknowledged()


@frozen
class SetInterpreter(Command[Acknowledged]):
    """Let workers run with another Python, which was tried and recorded."""

    name: ClassVar = "set-interpreter"
    is_urgent: ClassVar = True

    path: str = field(metadata=argument(PATH, "The Python."))

    async def carry_out(self, owner: Owner) -> Acknowledged:
        await owner.use_interpreter(self.path)
        return Acknowledged()


@frozen
class Look(Command[Acknowledged]):
    """Look at once at the modules and at what is deployed, which somebody has changed."""

    name: ClassVar = "look"

    async def carry_out(self, owner: Owner) -> Acknowledged:
        await owner.look()
        return Acknowledged()


# -- who owns the workspace ----------------------------------------------------------------------------------------------


@frozen
class LeaseAnswer(Record):
    """The lease afterwards, and a sentence about what was done."""

    lease: LeaseStatus = field(metadata={"of": LeaseStatus.read})
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


COMMANDS = (
    *(Enable, Disable, Start, StartEngine, StopEngine, Shutdown, SetInterpreter, Look),
    *(RequestControl, WithdrawRequest, ReleaseControl, TakeOver, RepairLease),
)
