"""The commands that turn flows, the engine and this machine's daemon on and off, and choose the Python of runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import ClassVar

from data_engine.commands.command import Command, Done, Owner, Refusal, Situation, first, unless, when
from data_engine.commands.fields import ANY_TEXT, FLAG, FLOW, PATH, argument
from data_engine.record import frozen


@frozen
class Enable(Command[Done]):
    """Let a flow run by itself again."""

    name: ClassVar = "enable"
    asks: ClassVar = ("enable", {})

    flow: str = field(metadata=argument(FLOW, "The flow."))

    def check(self, at: Situation) -> Refusal | None:
        flow = at.flow(self.flow)
        is_on = flow is not None and flow.enabled
        return first((at.unheard, _by_hand(self.flow, at), when(is_on, "enabled", "it is enabled")))

    async def carry_out(self, owner: Owner) -> Done:
        return await _switch(owner, self.flow, True, "")


@frozen
class Disable(Command[Done]):
    """Let a flow run by hand only."""

    name: ClassVar = "disable"
    asks: ClassVar = ("disable", {})

    flow: str = field(metadata=argument(FLOW, "The flow."))
    note: str = field(default="", metadata=argument(ANY_TEXT, "The reason, shown with who disabled it."))

    def check(self, at: Situation) -> Refusal | None:
        flow = at.flow(self.flow)
        is_off = flow is not None and not flow.enabled
        return first((at.unheard, _by_hand(self.flow, at), when(is_off, "disabled", "it is disabled")))

    async def carry_out(self, owner: Owner) -> Done:
        return await _switch(owner, self.flow, False, self.note)


async def _switch(owner: Owner, flow: str, is_enabled: bool, note: str) -> Done:
    from data_engine.model import Switch

    await owner.switch(flow, Switch.now(is_enabled, owner.asker.by, owner.asker.machine, note=note))
    return Done()


def _by_hand(name: str, at: Situation) -> Refusal | None:
    flow = at.flow(name)
    return when(flow is not None and flow.mode == "manual", "by_hand", "it runs by hand only")


@frozen
class Start(Command[Done]):
    """Start the daemon, not yet its engine."""

    name: ClassVar = "start"
    needs_daemon: ClassVar = True
    is_urgent: ClassVar = True

    def check(self, at: Situation) -> Refusal | None:
        return when(at.status.daemon.running, "running", "it is running")

    async def carry_out(self, owner: Owner) -> Done:
        return Done()


@frozen
class StartEngine(Command[Done]):
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

    async def carry_out(self, owner: Owner) -> Done:
        await owner.turn_engine(is_on=True)
        return Done()


@frozen
class StopEngine(Command[Done]):
    """Let running work finish and start nothing more by itself, also in the next daemon."""

    name: ClassVar = "stop-engine"

    def check(self, at: Situation) -> Refusal | None:
        if at.status.engine.goes_on:
            return None
        is_leaving = when(at.leaving, "daemon_ending", "the daemon is ending")
        return first((at.no_daemon, is_leaving, unless(at.status.engine.on, "engine_off", "the engine is off")))

    async def carry_out(self, owner: Owner) -> Done:
        await owner.turn_engine(is_on=False)
        return Done()


@frozen
class Shutdown(Command[Done]):
    """End the daemon when its running work is done."""

    name: ClassVar = "shutdown"
    is_urgent: ClassVar = True

    kill: bool = field(default=False, metadata=argument(FLAG, "End its running work, too.", is_local=True))

    def check(self, at: Situation) -> Refusal | None:
        return first((at.no_daemon, when(at.leaving, "daemon_ending", "the daemon is ending")))

    async def carry_out(self, owner: Owner) -> Done:
        await owner.shut_down(kill=self.kill)
        return Done()


@frozen
class SetInterpreter(Command[Done]):
    """Let workers run with another Python, which was tried and recorded."""

    name: ClassVar = "set-interpreter"
    is_urgent: ClassVar = True

    path: str = field(metadata=argument(PATH, "The Python."))

    async def carry_out(self, owner: Owner) -> Done:
        await owner.use_interpreter(self.path)
        return Done()


@frozen
class Look(Command[Done]):
    """Look at once at the modules and at what is deployed, which somebody has changed."""

    name: ClassVar = "look"

    async def carry_out(self, owner: Owner) -> Done:
        await owner.look()
        return Done()


COMMANDS = (Enable, Disable, Start, StartEngine, StopEngine, Shutdown, SetInterpreter, Look)
