"""Whether a flow runs by itself."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

from data_engine.commands.command import Command, Done
from data_engine.commands.fields import ANY_TEXT, FLOW, argument
from data_engine.commands.owner import Owner
from data_engine.commands.situation import Refusal, Situation, first, when
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
    from data_engine.ledger.switch import Switch

    await owner.switch(flow, Switch.now(is_enabled, owner.asker.by, owner.asker.machine, note=note))
    return Done()


def _by_hand(name: str, at: Situation) -> Refusal | None:
    flow = at.flow(name)
    return when(flow is not None and flow.mode == "manual", "by_hand", "it runs by hand only")


COMMANDS = (Enable, Disable)
