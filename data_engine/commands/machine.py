"""This machine's daemon and its engine: start and end them, and with which Python they run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import ClassVar

from data_engine.commands.command import Command, Done
from data_engine.commands.fields import FLAG, PATH, argument
from data_engine.commands.owner import Owner
from data_engine.commands.situation import Refusal, Situation, first, unless, when
from data_engine.record import frozen


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


COMMANDS = (Start, StartEngine, StopEngine, Shutdown, SetInterpreter, Look)
