"""The commands about runs: begin them, for a flow or a backfill, end them, retry failures, forget history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from data_engine.commands.command import Command, Owner, Refusal, Situation, first, unless, when
from data_engine.commands.fields import DAY, FLAG, FLOW, OBJECT, PATH, SOURCE, TEXT, argument, given_text
from data_engine.formatting import cli_line
from data_engine.model import Backfill
from data_engine.reasons.kinds import FeedShrunk
from data_engine.record import Record, frozen

if TYPE_CHECKING:
    from data_engine.planning.backfill import Reprocess, Wanted
    from data_engine.status.record import FlowStatus

_PATTERN = replace(PATH, from_python=given_text)


@frozen
class RunsBegun(Record):
    """The ids of the runs, which may still wait for their turn; with their statuses where another workstation ran them."""

    sparse: ClassVar = ("statuses",)

    run_ids: tuple[str, ...] = ()
    statuses: tuple[str | None, ...] = ()


@frozen
class FlowStopped(Record):
    """The runs that end at their next step or item, and whether the flow was disabled, so that it begins none by itself."""

    run_ids: tuple[str, ...] = ()
    disabled: bool = False


@frozen
class RunEnded(Record):
    """A run that ends, or does not begin because it still `waited` for its turn."""

    run_id: str
    waited: bool = False


@frozen
class FreedCount(Record):
    """The number of sources that are no longer held; `accepted` is what was accepted, `left` what stays held until it is, each in words."""

    sparse: ClassVar = ("accepted", "left")

    freed: int = 0
    accepted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@frozen
class Forgotten(Record):
    """The number of runs removed from the history."""

    count: int = 0


@frozen
class Run(Command[RunsBegun]):
    """Run the deployed flow in the daemon, once for each source."""

    name: ClassVar = "run"
    answer: ClassVar = RunsBegun
    asks: ClassVar = ("run", {})
    needs_daemon: ClassVar = True

    flow: str = field(metadata=argument(FLOW, "The flow."))
    source: str | None = field(default=None, metadata=argument(SOURCE, "Only this file of the source."))
    params: dict[str, Any] = field(default_factory=dict, metadata=argument(OBJECT, "Parameters by name."))

    def check(self, at: Situation) -> Refusal | None:
        return at.leaving or at.not_runnable(self.flow)

    def refusal(self, at: Situation) -> Refusal | None:
        return at.leaving

    async def before_asking(self, owner: Owner) -> Run:
        params = owner.work.checked_params(self.flow, self.params)
        source = None if self.source is None else owner.work.inside_source(self.flow, self.source)
        return replace(self, source=source, params=params)

    async def carry_out(self, owner: Owner) -> RunsBegun:
        run_ids = await owner.work.run(self.flow, self.source, self.params)
        if owner.asker.request_id is None:
            return RunsBegun(tuple(run_ids))
        return RunsBegun(tuple(run_ids), tuple(await owner.work.ends_of(run_ids)))

    def outcome(self, answer: RunsBegun) -> str:
        return "done" if all(status == "success" for status in answer.statuses) else "failed"


@frozen
class StopFlow(Command[FlowStopped]):
    """Ask all runs of a flow to end at their next step or item, and begin none that waits."""

    name: ClassVar = "stop-flow"
    answer: ClassVar = FlowStopped

    flow: str = field(metadata=argument(FLOW, "The flow."))

    def check(self, at: Situation) -> Refusal | None:
        return first(_not_to_end(self.flow, at))

    async def carry_out(self, owner: Owner) -> FlowStopped:
        run_ids, is_disabled = await owner.stop_flow(self.flow)
        return FlowStopped(tuple(run_ids), is_disabled)


@frozen
class _EndRun(Command[RunEnded]):
    answer: ClassVar = RunEnded
    is_urgent: ClassVar = True
    kills: ClassVar[bool]

    run_id: str = field(metadata=argument(TEXT, "The run's id, or its beginning."))

    async def carry_out(self, owner: Owner) -> RunEnded:
        return RunEnded(*await owner.end_run(self.run_id, kill=self.kills))


@frozen
class StopRun(_EndRun):
    """Ask a run to end at its next step or item, or let one that waits not begin."""

    name: ClassVar = "stop-run"
    kills: ClassVar = False


@frozen
class KillRun(_EndRun):
    """End a run's process now."""

    name: ClassVar = "kill-run"
    kills: ClassVar = True


@frozen
class Retry(Command[FreedCount]):
    """Do not hold failed sources any more."""

    name: ClassVar = "retry"
    answer: ClassVar = FreedCount
    asks: ClassVar = ("retry", {})

    flow: str | None = field(default=None, metadata=argument(FLOW, "Only those of this flow."))
    source: str | None = field(default=None, metadata=argument(SOURCE, "Only this file of the flow's source."))
    accept: bool | None = field(
        default=None,
        metadata=argument(
            FLAG,
            "Also what holds the flow until somebody accepts it: sources that are gone, columns that are not as before.",
        ),
    )

    def check(self, at: Situation) -> Refusal | None:
        """Why nothing is tried again.

        Example:
            >>> from data_engine.status.record import FlowStatus, WorkspaceStatus
            >>> status = WorkspaceStatus("team", "/team", flows=(FlowStatus("claims", mode="poll", enabled=False),))
            >>> print(Retry("claims").check(Situation(lambda: status)).fix)
            `data-engine enable claims`, then `data-engine start`, which tries whatever is held; or run it by hand: `data-engine run claims`
        """
        return first(self._refusals(at))

    def refusal(self, at: Situation) -> Refusal | None:
        if self.source is not None and self.flow is None:
            return Refusal("no_flow", "the source says which file, but not of which flow", "name the flow too")
        if self.source is not None and self.accept:
            fix = f"leave the file out: `{cli_line('retry', str(self.flow), '--accept')}`"
            return Refusal("no_batch", "what is accepted holds the flow, and not one file", fix)
        return first(self._not_tried(at)) if at.elsewhere is None and self._unknown(at) is None else None

    def _refusals(self, at: Situation) -> Iterator[Refusal | None]:
        yield at.owner_is_silent
        flow = at.flow(self.flow)
        if flow is not None and self._accepts_columns(flow):
            return
        yield self._unknown(at)
        yield from self._not_tried(at)
        is_shrunk = flow is not None and isinstance(flow.why, FeedShrunk)
        if flow is not None and at.elsewhere is None and not is_shrunk:
            yield unless(flow.mode == "poll", "no_files", "only polled flows hold files; run it again")
            yield unless(flow.held or flow.retried, "nothing_held", "no file of it is held")

    def _unknown(self, at: Situation) -> Refusal | None:
        """The refusal where there is no such flow to run; its owner finds that out."""
        if self.flow is None:
            return None
        return at.not_runnable(self.flow) or unless(at.flow(self.flow), "unknown", "there is no such flow")

    def _not_tried(self, at: Situation) -> Iterator[Refusal | None]:
        is_on = at.status.engine.on is True or (at.elsewhere is not None and at.status.lease.engine_on)
        flow = at.flow(self.flow)
        if flow is not None and self._accepts_columns(flow):
            return
        if flow is not None:
            yield self._of_flow(flow.mode, is_enabled=flow.enabled, is_on=is_on)
        yield None if is_on else engine_off()
        if (
            flow is not None
            and isinstance(flow.why, FeedShrunk)
            and not self.accept
            and not (flow.held or flow.retried)
        ):
            fix = f"put them back, or accept it: `{cli_line('retry', flow.name, '--accept')}`"
            yield Refusal("feed_shrunk", f"{flow.name} stays held: {flow.why.what}", fix)

    def _accepts_columns(self, flow: FlowStatus) -> bool:
        """Whether it accepts the columns by which the flow's last run failed: that needs no engine, and no file that is held."""
        why = None if flow.last_run is None else flow.last_run.why
        return bool(self.accept) and why is not None and why.kind == "feed_changed"

    def _of_flow(self, mode: str, *, is_enabled: bool, is_on: bool) -> Refusal | None:
        flow = str(self.flow)
        if mode == "manual":
            fix = f"run it: {cli_line('run', flow)}"
            return Refusal("by_hand", f"{flow} runs by hand only, so it holds no files back", fix)
        if is_enabled:
            return None
        then = (
            f", then `{cli_line('retry', flow)}`"
            if is_on
            else f", then `{cli_line('start')}`, which tries whatever is held"
        )
        fix = f"`{cli_line('enable', flow)}`{then}; or run it by hand: `{cli_line('run', flow)}`"
        return Refusal("disabled", f"{flow} is disabled: nothing of it runs by itself", fix)

    async def before_asking(self, owner: Owner) -> Retry:
        if self.flow is None:
            return self
        await owner.work.require_flow(self.flow)
        source = None if self.source is None else owner.work.inside_source(self.flow, self.source)
        return replace(self, source=source)

    async def carry_out(self, owner: Owner) -> FreedCount:
        return FreedCount(*await owner.retry(self.flow, self.source, accept=bool(self.accept)))


@frozen
class Reset(Command[Forgotten]):
    """Forget the history and freshness of a flow on this machine; every source is due again."""

    name: ClassVar = "reset"
    answer: ClassVar = Forgotten

    flow: str | None = field(default=None, metadata=argument(FLOW, "Only that of this flow."))

    def check(self, at: Situation) -> Refusal | None:
        running = at.running(self.flow)
        if self.flow is not None:
            return first((at.elsewhere, when(running, "running", "a run of it is under way")))
        is_on = when(at.status.engine.on, "engine_on", "the engine is on: stop it first")
        what = f"a run of {running[0].flow} is under way" if running else ""
        return first((at.elsewhere, is_on, when(running, "running", what)))

    async def carry_out(self, owner: Owner) -> Forgotten:
        return Forgotten(await owner.reset(self.flow))


def engine_off() -> Refusal:
    """The refusal of a retry while the engine is off; says what starts it."""
    fix = f"start it with `{cli_line('start')}`, which tries whatever is held"
    return Refusal("engine_off", "the engine is off: nothing is tried again before it is started", fix)


def _not_to_end(flow: str, at: Situation) -> Iterator[Refusal | None]:
    running = at.running(flow)
    if not running:
        yield Refusal("no_run", "no run of it is under way")
    elif not any(run.in_daemon for run in running):
        what = f"it runs in a kernel or a command line (process {running[0].pid}): stop it there"
        yield Refusal("runs_elsewhere", what)


# -- backfills ---------------------------------------------------------------------------------------------------------


@frozen
class BackfillAnswer(Record):
    """A backfill as it is now; one that is only listed has the runs to come."""

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
    reprocess: str = field(
        default="failed",
        metadata=argument(TEXT, "failed (or held), missing (no success), outdated (what it read has changed), or all."),
    )
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
        """Check its range."""
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
        answer = await owner.work.backfill(self.flow, self.wanted, self.params, is_dry=self.dry_run, digest=self.digest)
        return BackfillAnswer(answer if owner.asker.request_id is None else replace(answer, planned=()))


@frozen
class _OneBackfill(Command[BackfillAnswer]):
    answer: ClassVar = BackfillAnswer
    needs_daemon: ClassVar = True

    id: str = field(metadata=argument(TEXT, "The backfill's id, or its beginning."))
    flow: str | None = field(default=None, metadata=argument(FLOW, "Its flow."))

    def check(self, at: Situation) -> Refusal | None:
        return at.owner_is_silent

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


COMMANDS = (Run, StopFlow, StopRun, KillRun, Retry, Reset, StartBackfill, StopBackfill, RetryBackfill)
