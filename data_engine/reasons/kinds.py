"""The table of reasons: the fields of each kind, its sentence for people, its remedy and its look.

The planner returns them, so `explain`, the panel and the engine's own choice cannot disagree. Programs read `kind` and the
fields, never the words. `data_engine/reasons/remedies.py` fills the sentences.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import MISSING, field, fields, replace
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line, clock_text, duration_text, plural, zoned_text
from data_engine.marks import BARRED, DOUBTFUL, FAILED, GOOD, LIVE, LOST, PENDING, READY, STOPPED
from data_engine.notebook.deployment_status import DeploymentStatus
from data_engine.reasons import remedies
from data_engine.reasons.remedies import KINDS, STOPS_AT, Reason, filled, reason
from data_engine.record import Record, frozen

_SLOW_LOOK_S = 0.5
_FEW = 3
_OFF_OR_DISABLED = "(the engine was off, or the flow disabled)"

# -- due ----------------------------------------------------------------------------------------------------------


@reason("new", "due: new", look=LIVE)
class New(Reason):
    """No run has settled this source yet."""


@reason("changed", "due: changed since its last run", look=LIVE)
class Changed(Reason):
    """The source differs from what its last good run read (or from what its last run read, without a good one)."""


@reason("interrupted", "due: its last run was abandoned", look=LIVE)
class Interrupted(Reason):
    """The last run was abandoned: its process or machine died; `error` is the first line of why."""

    run_id: str | None = field(default=None, compare=False)
    error: str | None = field(default=None, compare=False)


@reason("freed", "due: tried again; its last run: {status}", look=LIVE)
class Freed(Reason):
    """A held source that somebody freed: by `retry`, or by starting the engine."""

    status: str


@reason("retried", "due: retry {attempt} of {of}", look=LIVE)
class Retried(Reason):
    """A held source that the workspace's `[retry]` settings try again; `attempt` counts from 1."""

    attempt: int
    of: int


def _slot_text(why: Slot) -> str:
    missed = ", tried again" if why.is_freed else ", missed while nothing ran" if why.is_missed else ""
    skipped = "[; slots before {skipped_before_utc:zoned} are skipped]"
    return filled(f"due: the slot of {{slot_utc:zoned}}{missed}{skipped}", why)


@reason("slot", _slot_text, look=LIVE)
class Slot(Reason):
    """A wall-clock slot. `is_missed` when it passed while nothing ran; `skipped_before_utc` when older ones are too old;
    `is_freed` when it was held and somebody freed it."""

    slot_utc: str
    is_missed: bool = False
    skipped_before_utc: str | None = None
    is_freed: bool = False


@reason("tick", "due: its interval has passed", look=LIVE)
class Tick(Reason):
    """An interval has passed; `number` counts the intervals since the engine started."""

    number: int


@reason("asked", "due: started by hand", look=LIVE)
class Asked(Reason):
    """Somebody asked for it."""


# -- not due ------------------------------------------------------------------------------------------------------


@reason(
    "done",
    "already done at {at_utc:time} by run {run_id:id}[, with an earlier deployment{by_earlier:if}]",
    remedies.done,
    GOOD,
)
class Done(Reason):
    """The last good run read the source as it is now; `by_earlier` code, where production runs another deployment since."""

    sparse: ClassVar = ("by_earlier",)

    run_id: str | None
    at_utc: str | None
    by_earlier: bool = False


def _not_there_text(why: NotThere) -> str:
    if why.status is None:
        return filled("no such file was seen[: did you mean {near:or}?]", why)
    return filled("not there any more; its last run: {status}, at {at_utc:time}, run {run_id:id}", why)


@reason("not_there", _not_there_text)
class NotThere(Reason):
    """No such file was seen; how its last run ended, when there was one, else which files have names like it (`near`)."""

    sparse: ClassVar = ("near",)

    status: str | None = None
    run_id: str | None = None
    at_utc: str | None = None
    near: tuple[str, ...] = ()


@reason("settling", "settling ({left_s:.1f} s left)", look=PENDING)
class Settling(Reason):
    """The source has not been seen unchanged for long enough; `left_s` seconds are left."""

    left_s: float


@reason("waits_for_settling", "waiting until {count} of its files settle ({left_s:.1f} s left)", look=PENDING)
class WaitsForSettling(Reason):
    """A batch that is due, while `count` of its candidates settle."""

    count: int
    left_s: float


@reason(
    "locked",
    "open in {by}, which does not let others read it; it is tried until it is free",
    "close it there",
    PENDING,
)
class Locked(Reason):
    """A program has the source open so that nobody else can read it (on Windows); `by` says who."""

    by: str


@reason("needs_hash", "comparing its content")
class NeedsHash(Reason):
    """Size or time moved, and content decides: the planner needs the source's hash to go on."""


@reason("held", "held since {since_utc:time}, {status}[: {error}]", remedies.held, FAILED)
class Held(Reason):
    """The last run did not end well, and nothing has changed since; `error` is the first line of why."""

    since_utc: str | None
    status: str
    error: str | None = None
    run_id: str | None = field(default=None, compare=False)


@reason(
    "held_slot",
    "the slot of {slot_utc:zoned} is held since {since_utc:time}, abandoned twice[: {cause}]; a retry runs it again",
    remedies.retried,
    FAILED,
)
class HeldSlot(Reason):
    """The runs of a wall-clock slot were abandoned twice; it counts as served until somebody tries it again."""

    slot_utc: str
    since_utc: str | None
    cause: str | None = None


_GONE = "{gone:,} of the {before:,} sources that its last good run took are gone[, outputs of {flows:list}]"


@reason(
    "feed_shrunk", f"held: {_GONE}; it runs when they are back, or somebody accepts that", remedies.feed_shrunk, FAILED
)
class FeedShrunk(Reason):
    """A batch with far fewer sources than its last good run took: `gone` of `before`; `flows` are those whose outputs they were."""

    gone: int
    before: int
    flows: tuple[str, ...] = ()
    run_id: str | None = field(default=None, compare=False)
    since_utc: str | None = field(default=None, compare=False)

    @property
    def what(self) -> str:
        """What has shrunk, in words."""
        return filled(_GONE, self)


def _upstream_text(why: UpstreamRunning) -> str:
    what = "what is due there has not run yet" if why.run_id is None else "run {run_id:id} is under way"
    return filled(f'waiting since {{since_utc:time}} for flow "{{flow}}", which feeds it: {what}', why)


@reason("upstream_running", _upstream_text, remedies.upstream_running, PENDING)
class UpstreamRunning(Reason):
    """A batch that is due waits, since then, for what ran or was due in the flows that write its sources; `flow` is one of them that is
    not done, with its run where one is under way."""

    flow: str
    run_id: str | None = None
    since_utc: str | None = field(default=None, compare=False)


@reason("retry_later", "failed, retry {attempt} of {of} at {at_utc:time}[: {error}]", remedies.retried, DOUBTFUL)
class RetryLater(Reason):
    """Like `Held`, and the `[retry]` settings try it again at `at_utc`."""

    at_utc: str
    attempt: int
    of: int
    error: str | None = None
    run_id: str | None = field(default=None, compare=False)


def _running_text(why: Running) -> str:
    return "running, or next in line" if why.run_id is None else filled("running: run {run_id:id}", why)


@reason("running", _running_text, remedies.end_run, LIVE)
class Running(Reason):
    """A run for it is under way (`run_id`), or next in line; `pid` is its process where that is not the daemon's."""

    run_id: str | None = field(default=None, compare=False)
    pid: int | None = field(default=None, compare=False)


@reason("name_filtered", "name filtered: {part:quoted} is hidden, temporary or a lock file", remedies.name_filtered)
class NameFiltered(Reason):
    """The name is that of a hidden, temporary or lock file, or it lies in a hidden folder (`part`)."""

    part: str


@reason(
    "not_listed",
    "extension not listed: the flow takes {extensions:list}",
    "name its extension in watch(extensions=...), then `{on_flow:deploy}`",
)
class NotListed(Reason):
    """The extension is none of the flow's."""

    extensions: tuple[str, ...]


@reason("own_output", "written by this flow itself")
class OwnOutput(Reason):
    """The flow wrote the file itself."""


@reason(
    "may_be_output",
    "first seen while the flow ran, which may have written it: decided when that run has ended",
    look=PENDING,
)
class MayBeOutput(Reason):
    """A run of the flow was under way when the file was first seen, and may have written it."""


@reason("no_files", "no files", "put a file there, or correct source= or extensions=")
class NoFiles(Reason):
    """The source has no candidates."""


def _not_yet_text(why: NotYet) -> str:
    coming = "no further run is scheduled" if why.next_utc is None else filled("next at {next_utc:zoned}", why)
    return coming + filled("[; none at {skipped_utc:zoned}, a day in {by}]", why)


@reason("not_yet", _not_yet_text, remedies.RUN_NOW, READY)
class NotYet(Reason):
    """The next slot or tick is at `next_utc`; None when there is none. `tz` is the zone it is meant in, None for this machine's.

    At `skipped_utc`, of the last day or before the next one, is no slot: the days without slots, which stand `by` a file or `skip=`, have it.
    """

    next_utc: str | None
    tz: str | None = None
    skipped_utc: str | None = None
    by: str = ""

    def left_s(self, now_s: float) -> float:
        """Seconds until then; none without a next one."""
        return 0.0 if self.next_utc is None else datetime.fromisoformat(self.next_utc).timestamp() - now_s


@reason(
    "days_unknown",
    "{error}[: {where}]; correct the file, or skip= of the flow",
    "correct the file, or skip= of the flow",
    LOST,
)
class DaysUnknown(Reason):
    """The days on which a schedule has no slots cannot be read, so that it does not run."""

    error: str
    where: str = ""


@reason("by_hand", "runs by hand only", "`{on_flow:run}` runs it")
class ByHand(Reason):
    """A manual flow runs by hand only."""


@reason("unreachable", "unreachable since {since_utc:time}[: {folder}][: {error}]", remedies.CORRECT_SOURCE, LOST)
class Unreachable(Reason):
    """The source, which is this `folder`, cannot be read since then."""

    since_utc: str
    error: str
    folder: str = ""


def _disabled_text(why: Disabled) -> str:
    note = " ".join(why.note.split())
    return filled("disabled[ by {by}][ on {at_utc:time}]", why) + (f": {note}" if note else "")


@reason("disabled", _disabled_text, remedies.disabled, BARRED)
class Disabled(Reason):
    """Somebody disabled the flow: `by` whom, when, and the `note` on it, where that was kept."""

    by: str = ""
    at_utc: str | None = None
    note: str = ""


def _owned_elsewhere_text(why: OwnedElsewhere) -> str:
    engine = "" if why.is_engine_on is None else f", and its engine is {'on' if why.is_engine_on else 'off'}"
    return f"{why.owner} owns the workspace{engine}"


@reason(
    "owned_elsewhere",
    _owned_elsewhere_text,
    lambda facts: f"`{facts.command('lease request')}` asks {facts.why.owner} for the workspace",
)
class OwnedElsewhere(Reason):
    """Another workstation owns the workspace; whether its engine is on, None where that is not known any more."""

    owner: str
    is_engine_on: bool | None = None


@reason("engine_off", "the engine is off", lambda facts: f"{facts.start} lets flows run by themselves")
class EngineOff(Reason):
    """Nobody has started the engine."""


@frozen
class GroupRun(Record):
    """A run that keeps its group busy, in the process `pid`; `in_daemon` where that is the daemon, which alone can end a run by
    request."""

    flow: str
    run_id: str
    pid: int
    in_daemon: bool = True


def _group_text(why: WaitingForGroup) -> str:
    whom = "; ".join(filled('flow "{flow}" (run {run_id:id}, pid {pid})', run) for run in why.runs)
    return f'waiting for group "{why.group}": {whom or "another run"}'


@reason("waiting_for_group", _group_text, remedies.waits_for_group, PENDING)
class WaitingForGroup(Reason):
    """Another run of the group is under way on this machine; `runs` are those that are known."""

    group: str
    runs: tuple[GroupRun, ...] = field(default=(), metadata={"of": GroupRun.read})


@reason(
    "waiting_for_worker",
    "waiting for a worker: as many runs as [executor] workers allows are under way",
    remedies.SEE_STATUS,
    PENDING,
)
class WaitingForWorker(Reason):
    """As many runs as the workspace's `[executor] workers` allows are under way."""


@reason(
    "waiting_for_share",
    "waiting for the workspace's drive: nothing new starts until this machine's heartbeat can be written",
    "`{command:doctor}` says what is wrong with the drive",
    PENDING,
)
class WaitingForShare(Reason):
    """This machine owns the workspace, but cannot write its heartbeat now."""


@reason(
    "waiting_for_own_run",
    "waiting for a run of this flow to end (max_parallel)",
    remedies.SEE_STATUS,
    PENDING,
)
class WaitingForOwnRun(Reason):
    """As many runs of the flow as its `max_parallel` allows are under way."""


# -- of a flow, beside why its sources and slots are due or not ---------------------------------------------------------


def _looks_text(why: Looks) -> str:
    events = ", and when a file changes" if why.wakes else ""
    slow = f" (a look takes {duration_text(why.took_s)})" if why.took_s >= _SLOW_LOOK_S else ""
    return f"looks every {duration_text(round(why.every_s, 1))}{events}{slow}"


@reason("looks", _looks_text)
class Looks(Reason):
    """How often a poll flow's folder is scanned, as measured; `wakes` when file events come in between."""

    every_s: float
    took_s: float = 0.0
    wakes: bool = False


@reason(
    "broken",
    lambda why: f"broken: {FlowValidationError(why.what, where=why.where, fix=why.fix)}",
    "`{on_flow:compile}` checks it again",
    FAILED,
)
class Broken(Reason):
    """The module is no flow: the parts of its error."""

    what: str
    where: str | None = None
    fix: str | None = None


def _edited_text(why: Edited) -> str:
    names = ("cells", "helpers", "rolled_back_to", "rolled_back_utc")
    status = DeploymentStatus("edited", **{name: getattr(why, name) for name in names})
    return f"{status.text}: what is deployed runs" + (f"\n{why.error}" if why.error else "")


@reason("edited", _edited_text, lambda facts: f"{remedies.not_deployed(facts)} as it is now")
class Edited(Reason):
    """The module differs from what is deployed, in these cells and helpers where known; `error` is why it is broken now, or needs a
    confirmation because the deployed flow `shares_with` writes its mirror. With `rolled_back_to`, the deployment that production
    went back to, nobody has edited it since then."""

    sparse: ClassVar = ("rolled_back_to", "rolled_back_utc")

    cells: tuple[int, ...] = ()
    error: str | None = None
    helpers: tuple[str, ...] = ()
    shares_with: str | None = None
    rolled_back_to: str | None = None
    rolled_back_utc: str | None = None


@reason("module_gone", lambda why: why.deployment_status.text, lambda facts: facts.why.deployment_status.fix)
class ModuleGone(Reason):
    """The `file` of the flow is not there any more, and what is deployed runs on; `renamed_to` is the flow that it is now,
    `moved_to` where it lies in a subfolder."""

    file: str
    renamed_to: str | None = None
    moved_to: str | None = None

    @property
    def deployment_status(self) -> DeploymentStatus:
        """The reason as a deployment status, which has its words."""
        return DeploymentStatus("gone", file=self.file, renamed_to=self.renamed_to, moved_to=self.moved_to)


def _undeployed_text(why: Undeployed) -> str:
    if why.renamed_to is not None:
        return filled("renamed to {renamed_to} on {at_utc:time} by {by}", why)
    text = filled("undeployed on {at_utc:time} by {by}, and its module is gone", why)
    return text if why.is_kept else f"{text}; no copy of it is kept any more"


@reason("undeployed", _undeployed_text, remedies.undeployed)
class Undeployed(Reason):
    """The `flow` ran here once, and its module is gone; the person `by` ended it. `renamed_to` is the flow that replaces it, `is_kept`
    says that its code is kept."""

    flow: str
    at_utc: str
    by: str
    renamed_to: str | None = None
    is_kept: bool = True


def _not_deployed_text(why: NotDeployed) -> str:
    if why.doubtful:
        return "not deployed, as far as is known here"
    if why.goes_live_s is not None:
        return f"not deployed: it goes live in {max(0.0, why.goes_live_s - time.time()):.0f} s"
    if why.error is None and why.shares_with is not None:
        return f"not deployed: it writes to the same mirror as {why.shares_with}"
    return f"not deployed: {why.error or cli_line('deploy', why.flow)}"


@reason("not_deployed", _not_deployed_text, remedies.not_deployed)
class NotDeployed(Reason):
    """Nobody has deployed the flow, so production does not run it; `error` is why it cannot be, `goes_live_s` when it is by itself,
    `shares_with` the deployed flow that writes its mirror. It is `doubtful` where another workstation may have deployed what is not known here."""

    sparse: ClassVar = ("doubtful",)

    flow: str
    error: str | None = None
    goes_live_s: float | None = None
    shares_with: str | None = None
    doubtful: bool = False

    @property
    def in_short(self) -> NotDeployed:
        """The reason for each of its files, without the remedy, which the flow's own row has."""
        error = None if self.error is None or self.shares_with is not None else self.error.partition("\n")[0]
        return replace(self, error=error)


@reason("requested", "{said}", "`{command:status}` shows the answer")
class Requested(Reason):
    """Somebody has asked the owner, on another workstation, to do something with the flow; `said` is its progress in words."""

    said: str


@reason(
    "stopping",
    f"stopping: run {{run_id:id}} ends at its {STOPS_AT}",
    "`{on_run:kill}` ends its process now",
    STOPPED,
)
class Stopping(Reason):
    """Its run was asked to end, and has not yet."""

    run_id: str


@reason("trouble", "{what}", lambda facts: facts.why.fix or filled("`{command:doctor}` says what is wrong", facts))
class Trouble(Reason):
    """This machine cannot start or store any work just now; `fix` is what helps."""

    what: str
    fix: str | None = None


@reason("not_looked_at", "not looked at yet")
class NotLookedAt(Reason):
    """The engine has not come to it yet."""


@reason("daemon_silent", "the daemon (pid {pid}) does not answer", remedies.SILENT_FIX)
class DaemonSilent(Reason):
    """This machine's daemon does not answer, so its state is unknown: it is frozen, or its machine swaps."""

    pid: int | None


def _expected_text(why: Expected) -> str:
    at = clock_text(why.due_utc, why.tz)
    left_s = datetime.fromisoformat(why.due_utc).timestamp() - time.time()
    return f"due by {at}, {duration_text(max(60, left_s // 60 * 60))} left" if left_s > 0 else f"due by {at}"


@reason("expected", _expected_text, look=READY)
class Expected(Reason):
    """When the next success is due by `Flow.expect`. `tz` is the zone of that time, None for this machine's."""

    due_utc: str
    tz: str | None = None


@reason("late", "late since {since_utc:clock}[: {reason}]", remedies.RUN_NOW, LOST)
class Late(Reason):
    """No success by the time of `Flow.expect`; `reason` is what prevents it, as far as known."""

    since_utc: str
    tz: str | None = None
    reason: str | None = None


@reason(
    "overlong",
    lambda why: (
        filled("running since {since_utc:clock}, longer than the ", why) + f"{duration_text(why.within_s)} allowed"
    ),
    remedies.end_run,
    DOUBTFUL,
)
class Overlong(Reason):
    """A run that began at `since_utc` takes longer than the `within_s` of `Flow.expect`; `pid` is its process where that is not the
    daemon's."""

    since_utc: str
    within_s: float
    run_id: str = ""
    tz: str | None = None
    pid: int | None = None


_DONE_AGAIN: Mapping[str | None, str] = {
    "slot": "its slot is run again as soon as the engine is on",
    "newest_slot": "its slot, or a newer one, is run as soon as the engine is on",
    "interval": "it runs again with the next interval, as soon as the engine is on",
    "backfill": "its backfill goes on as soon as a daemon runs",
    "nothing": "nothing runs it again by itself",
}
"""What runs an abandoned run again, in words."""


def _last_run_failed_text(why: LastRunFailed) -> str:
    ended = {"killed": "was killed", "abandoned": "was abandoned"}.get(why.status, why.status)
    again = f"; {_DONE_AGAIN[why.again]}" if why.again in _DONE_AGAIN else ""
    return filled(f"its last run {ended} on {{at_utc:time}} (run {{run_id:id}})[: {{error}}]", why) + again


@reason("last_run_failed", _last_run_failed_text, remedies.last_run_failed, FAILED)
class LastRunFailed(Reason):
    """The last run of a flow that holds no files did not end well; `error` is the first line of why. `again` is what runs an abandoned
    one again: "slot", "newest_slot", "interval", "backfill" or "nothing"."""

    status: str
    run_id: str
    at_utc: str
    error: str | None = None
    again: str | None = None


_NOW = {
    "gone": "; it is gone",
    "source_gone": "; it is gone, and so is its source",
    "set_aside": "; it was moved aside, as its source is gone",
    "changed": "; it has changed since",
    "as_written": ", and has not changed since",
}


def _last_written_text(why: LastWritten) -> str:
    if why.run_id is None:
        return f"{why.path} is an output of this flow; the run that wrote it is not in the history any more"
    inputs = f", from {', '.join(why.inputs[:_FEW])}" if why.inputs else ""
    left = why.more + max(0, len(why.inputs) - _FEW)
    more = f" and {left:,} more" if left else ""
    written = filled("{path} was written last by run {run_id:id} on {at_utc:time}[, with {params}]", why)
    return f"{written}{inputs}{more}{_NOW.get(why.state, '')}"


@reason("last_written", _last_written_text, remedies.last_written)
class LastWritten(Reason):
    """The run that wrote the file at `path` last, with its `params`; for a run without a source also its `inputs`, and how many `more`.
    `state` of the file now: "as_written", "changed", "gone", "source_gone" (it and its source), "set_aside" (by `tidy`) or "unknown". A run
    that the history has forgotten has no id."""

    path: str
    run_id: str | None = None
    at_utc: str | None = None
    params: str = ""
    inputs: tuple[str, ...] = ()
    more: int = 0
    state: str = "unknown"


def _rows_recorded_text(why: RowsRecorded) -> str:
    if why.run_id is None:
        return f"no run has recorded rows here ({why.table})"
    of = f" of {why.column} {why.key}".rstrip() if why.column else ""
    return f"{plural(why.rows, 'row')}{of} in {why.table}, {filled('written by run {run_id:id} on {at_utc:time}', why)}"


@reason("rows_recorded", _rows_recorded_text, remedies.rows_recorded)
class RowsRecorded(Reason):
    """Rows that a run wrote to the `table` of a database, and that no later run has replaced: those of a `key` in the `column`, of values
    in it, or without a column the whole table. Without an id no run has recorded any."""

    table: str
    run_id: str | None = None
    at_utc: str | None = None
    rows: int = 0
    column: str = ""
    key: str = ""


@reason(
    "last_run_warned",
    lambda why: f"{plural(why.count, 'warning')} in its last run",
    "`{on_run:log}` shows them",
)
class LastRunWarned(Reason):
    """The flow's last run has `count` warnings in its log."""

    count: int
    run_id: str


@reason("outdated", remedies.outdated_text, remedies.outdated, DOUBTFUL)
class Outdated(Reason):
    """So many `outputs`, or the `output` of a run, were made before the reference at `path` "changed" or was "gone", which is its
    `state`, or with it "as_read". A flow without files and slots is run again `by_hand`."""

    path: str
    outputs: int = 1
    state: str = "changed"
    by_hand: bool = False
    run_id: str | None = None
    at_utc: str | None = None
    output: str | None = None


@reason("more", "and {count:,} more[: ask for one by {by}]")
class More(Reason):
    """The `count` of sources, or of rows of a table, that are not listed."""

    count: int
    by: str = "its path"


@reason("other", "{said}")
class Other(Reason):
    """A reason that this version does not know, in the words of the daemon that sent it."""

    said: str = ""


def _slots_passed_text(why: SlotsPassed) -> str:
    last = f"{zoned_text(why.last_utc, why.tz)} {_OFF_OR_DISABLED}"
    if why.count == 1:
        return f"1 slot passed without a run: {last}"
    return f"{why.count:,} slots since {why.days[0]} passed without a run, the last of them {last}"


@reason("slots_passed", _slots_passed_text, remedies.slots_passed)
class SlotsPassed(Reason):
    """`count` slots of the schedule passed without a run and will not get one by themselves, from `first_utc` to `last_utc`."""

    count: int
    first_utc: str
    last_utc: str
    tz: str | None = None

    @property
    def days(self) -> tuple[str, str]:
        """The first and the last day, in the zone of the schedule."""
        return zoned_text(self.first_utc, self.tz)[:10], zoned_text(self.last_utc, self.tz)[:10]


Waiting: TypeAlias = WaitingForGroup | WaitingForWorker | WaitingForShare | WaitingForOwnRun | Trouble
WhyDue: TypeAlias = New | Changed | Interrupted | Freed | Retried | Slot | Tick | Asked


def read_reason(facts: Mapping[str, Any]) -> Reason:
    """The reason in a JSON object.

    Example:
        >>> read_reason(Settling(0.5).as_dict()), read_reason({"kind": "of tomorrow"}).kind
        (Settling(left_s=0.5), 'other')
    """
    kind: Any = KINDS.get(str(facts.get("kind")), Other)
    required = {spec.name for spec in fields(kind) if spec.default is MISSING and spec.default_factory is MISSING}
    why: Reason = kind.read(facts) if facts.keys() >= required else Other(str(facts.get("kind")))
    return why


def word_of(why: Reason) -> str:
    """The words that begin a reason's remedy.

    Example:
        >>> word_of(EngineOff()), word_of(Undeployed("claims", "2026-01-05T06:00:00+00:00", "anna", "parts"))
        ('engine off', 'renamed to parts')
    """
    if isinstance(why, Undeployed) and why.renamed_to is not None:
        return f"renamed to {why.renamed_to}"
    return why.kind.replace("_", " ")
