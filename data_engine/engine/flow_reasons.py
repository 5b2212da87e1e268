"""What is said of a flow, beside why its sources and slots are due or not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, TypeAlias

from data_engine.engine.fact import Fact, clock_words, lasting_words, silent_words, time_words, zoned_words
from data_engine.errors import FlowValidationError
from data_engine.flow.control import STOPS_AT
from data_engine.ledger.warned import warned_words
from data_engine.model import duration_words
from data_engine.notebook.standing import Standing
from data_engine.typed import typed

_SLOW_LOOK_S = 0.5
_FEW = 3


@dataclass(frozen=True, slots=True, eq=False)
class Looks(Fact):
    """How often a poll flow's folder is looked through, as measured; `wakes` when file events come in between."""

    kind: ClassVar = "looks"

    every_s: float
    took_s: float = 0.0
    wakes: bool = False

    @property
    def text(self) -> str:
        events = ", and when a file changes" if self.wakes else ""
        slow = f" (a look takes {lasting_words(self.took_s)})" if self.took_s >= _SLOW_LOOK_S else ""
        return f"looks every {lasting_words(self.every_s)}{events}{slow}"


@dataclass(frozen=True, slots=True, eq=False)
class Broken(Fact):
    """The module does not become a flow: the parts of its error."""

    kind: ClassVar = "broken"

    what: str
    where: str | None = None
    fix: str | None = None

    @property
    def text(self) -> str:
        return f"broken: {FlowValidationError(self.what, where=self.where, fix=self.fix)}"


@dataclass(frozen=True, slots=True, eq=False)
class Edited(Fact):
    """The module differs from what is deployed, in these cells and helpers where they are known; `error` is why it is broken now,
    or waits for somebody who knows that the deployed flow `shares_with` writes its mirror. Nobody has edited it since production
    was `rolled_back_to` an earlier deployment, where that is given."""

    kind: ClassVar = "edited"
    sparse: ClassVar = ("rolled_back_to", "rolled_back_utc")

    cells: tuple[int, ...] = ()
    error: str | None = None
    helpers: tuple[str, ...] = ()
    shares_with: str | None = None
    rolled_back_to: str | None = None
    rolled_back_utc: str | None = None

    @property
    def text(self) -> str:
        names = ("cells", "helpers", "rolled_back_to", "rolled_back_utc")
        standing = Standing("edited", **{name: getattr(self, name) for name in names})
        return f"{standing.text}: what is deployed runs" + (f"\n{self.error}" if self.error else "")


@dataclass(frozen=True, slots=True, eq=False)
class ModuleGone(Fact):
    """The `file` of the flow is not there any more, and what is deployed runs on; `renamed_to` is the flow that it is now,
    `moved_to` where it lies in a subfolder."""

    kind: ClassVar = "module_gone"

    file: str
    renamed_to: str | None = None
    moved_to: str | None = None

    @property
    def standing(self) -> Standing:
        """The same as a standing, which words it."""
        return Standing("gone", file=self.file, renamed_to=self.renamed_to, moved_to=self.moved_to)

    @property
    def text(self) -> str:
        return self.standing.text


@dataclass(frozen=True, slots=True, eq=False)
class Undeployed(Fact):
    """The `flow` ran here once, and its module is gone; `by` let it run no more. `renamed_to` is the flow that goes on in its
    place, `is_kept` says that its code is still there.

    Example:
        >>> print(Undeployed("claims", "2026-01-05T06:00:00+00:00", "anna@ANNA-PC", is_kept=False).text.partition("; ")[2])
        no copy of it is kept any more
    """

    kind: ClassVar = "undeployed"

    flow: str
    at_utc: str
    by: str
    renamed_to: str | None = None
    is_kept: bool = True

    @property
    def text(self) -> str:
        when = f"on {time_words(self.at_utc)} by {self.by}"
        if self.renamed_to is not None:
            return f"renamed to {self.renamed_to} {when}"
        said = f"undeployed {when}, and its module is gone"
        return said if self.is_kept else f"{said}; no copy of it is kept any more"


@dataclass(frozen=True, slots=True, eq=False)
class NotDeployed(Fact):
    """Nobody has deployed the flow, so production does not run it; `error` is why it cannot be, `goes_live_s` when it is by itself,
    `shares_with` the deployed flow that writes its mirror. It is `doubtful` where another workstation may have deployed what is not known here."""

    kind: ClassVar = "not_deployed"
    sparse: ClassVar = ("doubtful",)

    flow: str
    error: str | None = None
    goes_live_s: float | None = None
    shares_with: str | None = None
    doubtful: bool = False

    @property
    def text(self) -> str:
        if self.doubtful:
            return "not deployed, as far as is known here"
        if self.goes_live_s is not None:
            return f"not deployed: it goes live in {max(0.0, self.goes_live_s - time.time()):.0f} s"
        if self.error is None and self.shares_with is not None:
            return f"not deployed: it writes to the same mirror as {self.shares_with}"
        return f"not deployed: {self.error or typed('deploy', self.flow)}"

    @property
    def in_short(self) -> NotDeployed:
        """The same as each of its files says it, where the flow itself tells what to do."""
        error = None if self.error is None or self.shares_with is not None else self.error.partition("\n")[0]
        return replace(self, error=error)


@dataclass(frozen=True, slots=True, eq=False)
class Requested(Fact):
    """Somebody has asked the owner, on another workstation, to do something with the flow; `said` is how far that is."""

    kind: ClassVar = "requested"

    said: str

    @property
    def text(self) -> str:
        return self.said


@dataclass(frozen=True, slots=True, eq=False)
class Stopping(Fact):
    """Its run was asked to end, and has not yet.

    Example:
        >>> Stopping("0123456789ab").text
        'stopping: run 01234567 ends at its next step, map item, context.log or context.progress'
    """

    kind: ClassVar = "stopping"

    run_id: str

    @property
    def text(self) -> str:
        return f"stopping: run {self.run_id[:8]} ends at its {STOPS_AT}"


@dataclass(frozen=True, slots=True, eq=False)
class Trouble(Fact):
    """This machine cannot start or store any work just now; `fix` is what helps."""

    kind: ClassVar = "trouble"

    what: str
    fix: str | None = None

    @property
    def text(self) -> str:
        return self.what


@dataclass(frozen=True, slots=True, eq=False)
class NotLookedAt(Fact):
    """The engine has not come to it yet."""

    kind: ClassVar = "not_looked_at"
    sentence: ClassVar = "not looked at yet"


@dataclass(frozen=True, slots=True, eq=False)
class Expected(Fact):
    """When the next success is due, as `Flow.expect` says. `tz` is the zone that time is meant in, None for this machine's."""

    kind: ClassVar = "expected"

    due_utc: str
    tz: str | None = None

    @property
    def text(self) -> str:
        at = clock_words(self.due_utc, self.tz)
        left_s = datetime.fromisoformat(self.due_utc).timestamp() - time.time()
        return f"due by {at}, {duration_words(left_s)} left" if left_s > 0 else f"due by {at}"


@dataclass(frozen=True, slots=True, eq=False)
class Late(Fact):
    """No success by the time that `Flow.expect` says, and `reason` is what is in the way, as far as that is known."""

    kind: ClassVar = "late"

    since_utc: str
    tz: str | None = None
    reason: str | None = None

    @property
    def text(self) -> str:
        return f"late since {clock_words(self.since_utc, self.tz)}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True, eq=False)
class Overlong(Fact):
    """A run that has begun at `since_utc` takes longer than the `within_s` that `Flow.expect` gives it; `pid` is its process, where
    that is not the daemon's."""

    kind: ClassVar = "overlong"

    since_utc: str
    within_s: float
    run_id: str = ""
    tz: str | None = None
    pid: int | None = None

    @property
    def text(self) -> str:
        return f"running since {clock_words(self.since_utc, self.tz)}, longer than the {duration_words(self.within_s)} allowed"


_DONE_AGAIN: Mapping[str | None, str] = {
    "slot": "its slot is run again as soon as the engine is on",
    "newest_slot": "its slot, or a newer one, is run as soon as the engine is on",
    "interval": "it runs again with the next interval, as soon as the engine is on",
    "backfill": "its backfill goes on as soon as a daemon runs",
    "nothing": "nothing runs it again by itself",
}
"""What follows for a run that was abandoned."""


@dataclass(frozen=True, slots=True, eq=False)
class LastRunFailed(Fact):
    """The last run of a flow that holds no files did not end well; `error` is the first line of why. `again` says of one that was
    abandoned what does it again: "slot", "newest_slot", "interval", "backfill" or "nothing".

    Example:
        >>> LastRunFailed("killed", "3f9c12ab77", "2026-01-05T06:30:00+00:00", "killed by request").text.partition(": ")[2]
        'killed by request'
        >>> LastRunFailed("abandoned", "3f9c12ab77", "2026-01-05T06:30:00+00:00", "it died", "slot").text.partition(": ")[2]
        'it died; its slot is run again as soon as the engine is on'
    """

    kind: ClassVar = "last_run_failed"

    status: str
    run_id: str
    at_utc: str
    error: str | None = None
    again: str | None = None

    @property
    def text(self) -> str:
        ended = {"failed": "failed", "killed": "was killed", "abandoned": "was abandoned"}.get(self.status, self.status)
        because = f": {self.error}" if self.error else ""
        again = f"; {_DONE_AGAIN[self.again]}" if self.again in _DONE_AGAIN else ""
        return f"its last run {ended} on {time_words(self.at_utc)} (run {self.run_id[:8]}){because}{again}"


@dataclass(frozen=True, slots=True, eq=False)
class LastWritten(Fact):
    """Which run wrote the file at `path` last, with which `params`; of a run without a source its `inputs`, and how many `more`. `state`
    is how the file is now: "as_written", "changed", "gone" or "unknown". A run that is forgotten has no id.

    Example:
        >>> LastWritten("/out/a.csv", "3f9c12ab77", "2026-01-05T06:30:00+00:00", "month=2026-01", ("/in/b.csv",)).text.partition(", ")[2]
        'with month=2026-01, from /in/b.csv'
        >>> LastWritten("/out/a.csv").text
        '/out/a.csv is an output of this flow; the run that wrote it is not in the history any more'
    """

    kind: ClassVar = "last_written"

    path: str
    run_id: str | None = None
    at_utc: str | None = None
    params: str = ""
    inputs: tuple[str, ...] = ()
    more: int = 0
    state: str = "unknown"

    @property
    def text(self) -> str:
        if self.run_id is None:
            return f"{self.path} is an output of this flow; the run that wrote it is not in the history any more"
        parts = [
            f"{self.path} was written last by run {self.run_id[:8]} on {time_words(self.at_utc)}",
            f"with {self.params}" if self.params else "",
            f"from {', '.join(self.inputs[:_FEW])}" if self.inputs else "",
        ]
        left = self.more + max(0, len(self.inputs) - _FEW)
        parts[-1] += f" and {left:,} more" if left else ""
        now = {
            "changed": "; it has changed since",
            "gone": "; it is gone",
            "as_written": ", and has not changed since",
        }
        return ", ".join(filter(None, parts)) + now.get(self.state, "")


@dataclass(frozen=True, slots=True, eq=False)
class LastRunWarned(Fact):
    """The flow's last run has so many warnings in its log.

    Example:
        >>> LastRunWarned(2, "3f9c12ab77").text
        '2 warnings in its last run'
    """

    kind: ClassVar = "last_run_warned"

    count: int
    run_id: str

    @property
    def text(self) -> str:
        return f"{warned_words(self.count)} in its last run"


@dataclass(frozen=True, slots=True, eq=False)
class More(Fact):
    """So many more sources than are listed."""

    kind: ClassVar = "more"

    count: int

    @property
    def text(self) -> str:
        return f"and {self.count:,} more: ask for one by its path"


@dataclass(frozen=True, slots=True, eq=False)
class Other(Fact):
    """A reason that this version does not know, in the words of the daemon that told it."""

    kind: ClassVar = "other"

    said: str = ""

    @property
    def text(self) -> str:
        return self.said


@dataclass(frozen=True, slots=True, eq=False)
class SlotsPassed(Fact):
    """So many slots of the schedule passed without a run, and none will have one by itself, from `first_utc` to `last_utc`.

    Example:
        >>> SlotsPassed(1, "2026-01-09T07:00:00+00:00", "2026-01-09T07:00:00+00:00", "UTC").text
        '1 slot passed without a run: 2026-01-09 07:00:00 UTC (the engine was off, or the flow disabled)'
    """

    kind: ClassVar = "slots_passed"

    count: int
    first_utc: str
    last_utc: str
    tz: str | None = None

    @property
    def text(self) -> str:
        because, last = "(the engine was off, or the flow disabled)", zoned_words(self.last_utc, self.tz)
        if self.count == 1:
            return f"1 slot passed without a run: {last} {because}"
        first, _ = self.days
        return f"{self.count:,} slots since {first} passed without a run, the last of them {last} {because}"

    @property
    def days(self) -> tuple[str, str]:
        """The first and the last day, in the zone of the schedule."""
        return zoned_words(self.first_utc, self.tz)[:10], zoned_words(self.last_utc, self.tz)[:10]


@dataclass(frozen=True, slots=True, eq=False)
class DaemonSilent(Fact):
    """This machine's daemon is there and does not answer, so nobody knows what it does."""

    kind: ClassVar = "daemon_silent"

    pid: int

    @property
    def text(self) -> str:
        return silent_words(self.pid)


OfFlow: TypeAlias = (
    Looks
    | SlotsPassed
    | Broken
    | Edited
    | ModuleGone
    | Undeployed
    | NotDeployed
    | Requested
    | Stopping
    | Trouble
    | NotLookedAt
    | DaemonSilent
    | Expected
    | Late
    | Overlong
    | LastRunFailed
    | LastWritten
    | LastRunWarned
    | More
    | Other
)
