"""What the last daemon of this machine had begun goes on in the next one: its engine, and its backfills."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from data_engine.daemon.endpoint import remember_backfill, remember_engine, was_engine_on
from data_engine.daemon.ownership import Ownership
from data_engine.errors import FlowValidationError
from data_engine.ledger.ledger import Ledger
from data_engine.record import frozen

log = logging.getLogger(__name__)


@frozen
class GoingOn:
    """How a daemon that starts takes up the last one's work.

    `take_over_local` publishes what was deployed here alone; `recall` reads, in a thread, what is known of sources.
    """

    ledger: Ledger
    ownership: Ownership
    take_over_local: Callable[[], Awaitable[None]]
    recall: Callable[[], None]

    async def with_engine(self, refreshed: Awaitable[object], turn_on: Callable[[], None]) -> None:
        """Turn the engine on once what is deployed is known, if the workspace is ours still, however late its share answers.

        A person who stops the engine, or starts it, is quicker.
        """
        async with self.ownership.in_use():
            try:
                await self.ownership.own_however_late(lambda: was_engine_on(self.ledger))
            except FlowValidationError as error:
                log.warning("the engine stays off: %s", error)
                remember_engine(self.ledger, is_on=False)
                return
            if not was_engine_on(self.ledger):
                return
            self.ownership.set_engine(True)
            await self.take_over_local()
            await asyncio.to_thread(self._recall)  # while a worker looks at the modules
            await refreshed
            turn_on()

    async def with_backfills(self) -> None:
        """Own what the last daemon of this machine owned for its backfills; the beat goes on with them."""
        try:
            async with self.ownership.in_use():
                await self.ownership.own()
        except FlowValidationError as error:
            log.warning("its backfills go on where the workspace is owned: %s", error)
            remember_backfill(self.ledger, is_on=False)

    def _recall(self) -> None:
        with suppress(FlowValidationError):
            self.recall()
