"""Backfills: run a flow again for a range, end that, try again what failed of it."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from data_engine.commands.command import Command, Owner, Refusal, Situation
from data_engine.commands.fields import DAY, FLAG, FLOW, OBJECT, PATH, TEXT, argument, given_text
from data_engine.model import Backfill
from data_engine.record import Record, frozen

if TYPE_CHECKING:
    from data_engine.planning.backfill import Reprocess, Wanted

_PATTERN = replace(PATH, given=given_text)


@frozen
class BackfillAnswer(Record):
    """A backfill as it is now; of one that was only listed what would run."""

    backfill: Backfill = field(metadata={"of": Backfill.read})


@frozen
class StartBackfill(Command[BackfillAnswer]):
    """Run a flow again for a range of its files or slots, after all that is due."""

    name: ClassVar = "backfill"
    answer: ClassVar = BackfillAnswer
    asks: ClassVar = ("backfill", {})
    needs_daemon: ClassVar = True

    flow: str = field(metadata=argument(FLOW, "The flow."))
    since: str | None = field(default=None, metadata=argument(DAY, "From this day, month or time in the flow's zone."))
    until: str | None = field(
        default=None, metadata=argument(DAY, "Up to the end of this day or month in the flow's zone.")
    )
    where: str | None = field(
        default=None, metadata=argument(_PATTERN, "Only files with this name, or this path inside the source.")
    )
    reprocess: str = field(default="failed", metadata=argument(TEXT, "failed (or held), missing (no success), or all."))
    params: dict[str, Any] = field(default_factory=dict, metadata=argument(OBJECT, "Parameters by name."))
    dry_run: bool = field(default=False, metadata=argument(FLAG, "Only list what would run.", is_local=True))
    digest: str | None = field(default=None, metadata=argument(TEXT, "Exactly the runs that were listed, or none."))

    @property
    def wanted(self) -> Wanted:
        """The range.

        Raises:
            FlowValidationError: a text is no day, or says none of what can be run again.
        """
        from data_engine.planning.backfill import Wanted

        return Wanted(self.since, self.until, self.where, cast("Reprocess", self.reprocess))

    def require_valid(self) -> None:
        """Return when its range can be one."""
        _ = self.wanted

    @property
    def is_question(self) -> bool:
        """Whether it only lists."""
        return self.dry_run

    def check(self, at: Situation) -> Refusal | None:
        return at.leaving or at.not_runnable(self.flow)

    def refusal(self, at: Situation) -> Refusal | None:
        return at.leaving

    async def before_asking(self, owner: Owner) -> StartBackfill:
        return replace(self, params=owner.work.checked_params(self.flow, self.params))

    async def carry_out(self, owner: Owner) -> BackfillAnswer:
        found = await owner.work.backfill(self.flow, self.wanted, self.params, is_dry=self.dry_run, digest=self.digest)
        return BackfillAnswer(found if owner.asker.request_id is None else replace(found, planned=()))


@frozen
class _OneBackfill(Command[BackfillAnswer]):
    answer: ClassVar = BackfillAnswer
    needs_daemon: ClassVar = True

    id: str = field(metadata=argument(TEXT, "The backfill's id, or its beginning."))
    flow: str | None = field(default=None, metadata=argument(FLOW, "Its flow."))

    def check(self, at: Situation) -> Refusal | None:
        return at.unheard

    async def before_asking(self, owner: Owner) -> Self:
        whole, flow = owner.work.known_backfill(self.id)
        return replace(self, id=whole, flow=flow)


@frozen
class StopBackfill(_OneBackfill):
    """Begin no more runs of a backfill; what runs of it ends by itself."""

    name: ClassVar = "stop-backfill"
    asks: ClassVar = ("backfill", {"do": "stop"})

    async def carry_out(self, owner: Owner) -> BackfillAnswer:
        whole, _ = owner.work.known_backfill(self.id)
        return BackfillAnswer(await owner.work.stop_backfill(whole))


@frozen
class RetryBackfill(_OneBackfill):
    """Run again what failed of a backfill that has ended, and what a stop left out; it keeps its id."""

    name: ClassVar = "retry-backfill"
    asks: ClassVar = ("backfill", {"do": "retry"})

    async def carry_out(self, owner: Owner) -> BackfillAnswer:
        whole, _ = owner.work.known_backfill(self.id)
        return BackfillAnswer(await owner.work.retry_backfill(whole))


COMMANDS = (StartBackfill, StopBackfill, RetryBackfill)
