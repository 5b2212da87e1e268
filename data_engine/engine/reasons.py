"""Why something is due, or is not: one frozen value for each reason, with its kind, its data, and its words for people.

The planner returns them, and so `explain`, the panel and the engine's own choice cannot disagree. Programs read `kind`,
which is one of `KINDS`; nothing reads the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, TypeAlias, get_args

from data_engine.engine.fact import Fact, disabled_words, required_fields, time_words, zoned_words
from data_engine.engine.flow_reasons import OfFlow, Other
from data_engine.record import Record

# -- due ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class New(Fact):
    """No run has settled this source yet."""

    kind: ClassVar = "new"
    sentence: ClassVar = "due: new"


@dataclass(frozen=True, slots=True, eq=False)
class Changed(Fact):
    """The source differs from what its last good run read (or from what its last run read, without a good one)."""

    kind: ClassVar = "changed"
    sentence: ClassVar = "due: changed since its last run"


@dataclass(frozen=True, slots=True, eq=False)
class Interrupted(Fact):
    """The last run was abandoned: its process or machine died; `error` is the first line of why."""

    kind: ClassVar = "interrupted"
    sentence: ClassVar = "due: its last run was abandoned"

    run_id: str | None = field(default=None, compare=False)
    error: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Freed(Fact):
    """A held source that somebody freed: by `retry`, or by starting the engine."""

    kind: ClassVar = "freed"

    status: str

    @property
    def text(self) -> str:
        return f"due: tried again; its last run: {self.status}"


@dataclass(frozen=True, slots=True, eq=False)
class Retried(Fact):
    """A held source that the workspace's `[retry]` settings try again; `attempt` counts from 1."""

    kind: ClassVar = "retried"

    attempt: int
    of: int

    @property
    def text(self) -> str:
        return f"due: retry {self.attempt} of {self.of}"


@dataclass(frozen=True, slots=True, eq=False)
class Slot(Fact):
    """A wall-clock slot. `is_missed` when it passed while nothing ran; `skipped_before_utc` when older ones are too old;
    `is_freed` when it was held and somebody freed it."""

    kind: ClassVar = "slot"

    slot_utc: str
    is_missed: bool = False
    skipped_before_utc: str | None = None
    is_freed: bool = False

    @property
    def text(self) -> str:
        missed = ", tried again" if self.is_freed else ", missed while nothing ran" if self.is_missed else ""
        before = self.skipped_before_utc
        skipped = "" if before is None else f"; slots before {zoned_words(before)} are skipped"
        return f"due: the slot of {zoned_words(self.slot_utc)}{missed}{skipped}"


@dataclass(frozen=True, slots=True, eq=False)
class Tick(Fact):
    """An interval has passed; `number` counts the intervals since the engine started."""

    kind: ClassVar = "tick"

    number: int

    @property
    def text(self) -> str:
        return "due: its interval has passed"


@dataclass(frozen=True, slots=True, eq=False)
class Asked(Fact):
    """Somebody asked for it."""

    kind: ClassVar = "asked"
    sentence: ClassVar = "due: started by hand"


# -- not due ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Done(Fact):
    """The last good run read the source as it is now; `by_earlier` code, where production runs another deployment since."""

    kind: ClassVar = "done"
    sparse: ClassVar = ("by_earlier",)

    run_id: str | None
    at_utc: str | None
    by_earlier: bool = False

    @property
    def text(self) -> str:
        by = f"run {(self.run_id or '?')[:8]}" + (", with an earlier deployment" if self.by_earlier else "")
        return f"already done at {time_words(self.at_utc)} by {by}"


@dataclass(frozen=True, slots=True, eq=False)
class NotThere(Fact):
    """No such file was seen; how its last run ended, when there was one, else which files have names like it (`near`).

    Example:
        >>> NotThere(near=("may.csv", "day.csv")).text, NotThere("success").text[:45]
        ('no such file was seen: did you mean may.csv or day.csv?', 'not there any more; its last run: success, at')
    """

    kind: ClassVar = "not_there"
    sparse: ClassVar = ("near",)

    status: str | None = None
    run_id: str | None = None
    at_utc: str | None = None
    near: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        if self.status is None:
            return "no such file was seen" + (f": did you mean {' or '.join(self.near)}?" if self.near else "")
        return f"not there any more; its last run: {self.status}, at {time_words(self.at_utc)}, run {(self.run_id or '?')[:8]}"


@dataclass(frozen=True, slots=True, eq=False)
class Settling(Fact):
    """The source has not been seen unchanged for long enough; `left_s` seconds are left."""

    kind: ClassVar = "settling"

    left_s: float

    @property
    def text(self) -> str:
        return f"settling ({self.left_s:.1f} s left)"


@dataclass(frozen=True, slots=True, eq=False)
class WaitsForSettling(Fact):
    """A batch that is due, while `count` of its candidates settle."""

    kind: ClassVar = "waits_for_settling"

    count: int
    left_s: float

    @property
    def text(self) -> str:
        return f"waiting until {self.count} of its files settle ({self.left_s:.1f} s left)"


@dataclass(frozen=True, slots=True, eq=False)
class Locked(Fact):
    """A program has the source open so that nobody else can read it (on Windows); `by` says who.

    Example:
        >>> Locked("Microsoft Excel (process 7)").text
        'open in Microsoft Excel (process 7), which does not let others read it; it is tried until it is free'
    """

    kind: ClassVar = "locked"

    by: str

    @property
    def text(self) -> str:
        return f"open in {self.by}, which does not let others read it; it is tried until it is free"


@dataclass(frozen=True, slots=True, eq=False)
class NeedsHash(Fact):
    """Size or time moved, and content decides: the planner needs the source's hash to go on."""

    kind: ClassVar = "needs_hash"
    sentence: ClassVar = "comparing its content"


@dataclass(frozen=True, slots=True, eq=False)
class Held(Fact):
    """The last run did not end well, and nothing has changed since; `error` is the first line of why."""

    kind: ClassVar = "held"

    since_utc: str | None
    status: str
    error: str | None = None
    run_id: str | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        because = f": {self.error}" if self.error else ""
        return f"held since {time_words(self.since_utc)}, {self.status}{because}; it runs again when it changes, is retried, or the engine is started"


@dataclass(frozen=True, slots=True, eq=False)
class HeldSlot(Fact):
    """The runs of a wall-clock slot were abandoned twice; it counts as served until somebody tries it again."""

    kind: ClassVar = "held_slot"

    slot_utc: str
    since_utc: str | None
    cause: str | None = None

    @property
    def text(self) -> str:
        because = f": {self.cause}" if self.cause else ""
        return f"the slot of {zoned_words(self.slot_utc)} is held since {time_words(self.since_utc)}, abandoned twice{because}; a retry runs it again"


@dataclass(frozen=True, slots=True, eq=False)
class RetryLater(Fact):
    """Like `Held`, and the `[retry]` settings try it again at `at_utc`."""

    kind: ClassVar = "retry_later"

    at_utc: str
    attempt: int
    of: int
    error: str | None = None
    run_id: str | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        because = f": {self.error}" if self.error else ""
        return f"failed, retry {self.attempt} of {self.of} at {time_words(self.at_utc)}{because}"


@dataclass(frozen=True, slots=True, eq=False)
class Running(Fact):
    """A run for it is under way, the one of this id, or next in line; `pid` is another process than the daemon's that it is in."""

    kind: ClassVar = "running"

    run_id: str | None = field(default=None, compare=False)
    pid: int | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        return "running, or next in line" if self.run_id is None else f"running: run {self.run_id[:8]}"


@dataclass(frozen=True, slots=True, eq=False)
class NameFiltered(Fact):
    """The name is that of a hidden, temporary or lock file, or it lies in a hidden folder (`part`)."""

    kind: ClassVar = "name_filtered"

    part: str

    @property
    def text(self) -> str:
        return f"name filtered: {self.part!r} is hidden, temporary or a lock file"


@dataclass(frozen=True, slots=True, eq=False)
class NotListed(Fact):
    """The extension is none of the flow's."""

    kind: ClassVar = "not_listed"

    extensions: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"extension not listed: the flow takes {', '.join(self.extensions)}"


@dataclass(frozen=True, slots=True, eq=False)
class OwnOutput(Fact):
    """The flow wrote the file itself."""

    kind: ClassVar = "own_output"
    sentence: ClassVar = "written by this flow itself"


@dataclass(frozen=True, slots=True, eq=False)
class MayBeOutput(Fact):
    """A run of the flow was under way when the file was first seen, and may have written it."""

    kind: ClassVar = "may_be_output"
    sentence: ClassVar = "first seen while the flow ran, which may have written it: decided when that run has ended"


@dataclass(frozen=True, slots=True, eq=False)
class NoFiles(Fact):
    """The source has no candidates."""

    kind: ClassVar = "no_files"
    sentence: ClassVar = "no files"


@dataclass(frozen=True, slots=True, eq=False)
class NotYet(Fact):
    """The next slot or tick is at `next_utc`; None when there is none. `tz` is the zone it is meant in, None for this machine's."""

    kind: ClassVar = "not_yet"

    next_utc: str | None
    tz: str | None = None

    @property
    def text(self) -> str:
        at = zoned_words(self.next_utc, self.tz)
        return f"next at {at}" if at else "no further run is scheduled"

    def left_s(self, now_s: float) -> float:
        """Seconds until then; none without a next one."""
        return 0.0 if self.next_utc is None else datetime.fromisoformat(self.next_utc).timestamp() - now_s


@dataclass(frozen=True, slots=True, eq=False)
class ByHand(Fact):
    """A manual flow runs by hand only."""

    kind: ClassVar = "by_hand"
    sentence: ClassVar = "runs by hand only"


@dataclass(frozen=True, slots=True, eq=False)
class Unreachable(Fact):
    """The source, which is this `folder`, cannot be read since then."""

    kind: ClassVar = "unreachable"
    since_utc: str
    error: str
    folder: str = ""

    @property
    def text(self) -> str:
        return ": ".join(filter(None, [f"unreachable since {time_words(self.since_utc)}", self.folder, self.error]))


@dataclass(frozen=True, slots=True, eq=False)
class Disabled(Fact):
    """Somebody disabled the flow: `by` whom, when, and the `note` on it, where that was kept."""

    kind: ClassVar = "disabled"

    by: str = ""
    at_utc: str | None = None
    note: str = ""

    @property
    def text(self) -> str:
        return disabled_words(self.by, self.at_utc, self.note)


@dataclass(frozen=True, slots=True, eq=False)
class OwnedElsewhere(Fact):
    """Another workstation owns the workspace; whether its engine is on, None where that is not known to be so still."""

    kind: ClassVar = "owned_elsewhere"

    owner: str
    is_engine_on: bool | None = None

    @property
    def text(self) -> str:
        engine = "" if self.is_engine_on is None else f", and its engine is {'on' if self.is_engine_on else 'off'}"
        return f"{self.owner} owns the workspace{engine}"


@dataclass(frozen=True, slots=True, eq=False)
class EngineOff(Fact):
    """Nobody has started the engine."""

    kind: ClassVar = "engine_off"
    sentence: ClassVar = "the engine is off"


@dataclass(frozen=True, slots=True, eq=False)
class GroupRun(Record):
    """A run that keeps its group busy, in the process `pid`; `in_daemon` where that is the daemon, which alone it can be asked of to
    end it."""

    flow: str
    run_id: str
    pid: int
    in_daemon: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class WaitingForGroup(Fact):
    """Another run of the group is under way on this machine; `runs` are those that are known."""

    kind: ClassVar = "waiting_for_group"

    group: str
    runs: tuple[GroupRun, ...] = field(default=(), metadata={"of": GroupRun.read})

    @property
    def text(self) -> str:
        whom = "; ".join(f'flow "{run.flow}" (run {run.run_id[:8]}, pid {run.pid})' for run in self.runs)
        return f'waiting for group "{self.group}": {whom or "another run"}'


@dataclass(frozen=True, slots=True, eq=False)
class WaitingForWorker(Fact):
    """As many runs as the workspace's `[executor] workers` allows are under way."""

    kind: ClassVar = "waiting_for_worker"
    sentence: ClassVar = "waiting for a worker: as many runs as [executor] workers allows are under way"


@dataclass(frozen=True, slots=True, eq=False)
class WaitingForShare(Fact):
    """This machine owns the workspace, and cannot prove it just now."""

    kind: ClassVar = "waiting_for_share"
    sentence: ClassVar = (
        "waiting for the workspace's drive: nothing new starts until this machine's heartbeat can be written"
    )


@dataclass(frozen=True, slots=True, eq=False)
class WaitingForOwnRun(Fact):
    """As many runs of the flow as its `max_parallel` allows are under way."""

    kind: ClassVar = "waiting_for_own_run"
    sentence: ClassVar = "waiting for a run of this flow to end: as many as max_parallel allows are under way"


Waiting: TypeAlias = WaitingForGroup | WaitingForWorker | WaitingForShare | WaitingForOwnRun
WhyDue: TypeAlias = New | Changed | Interrupted | Freed | Retried | Slot | Tick | Asked
WhyNot: TypeAlias = (
    Done
    | NotThere
    | Settling
    | WaitsForSettling
    | Locked
    | NeedsHash
    | Held
    | RetryLater
    | Running
    | NameFiltered
    | NotListed
    | OwnOutput
    | MayBeOutput
    | NoFiles
    | NotYet
    | ByHand
    | Unreachable
    | Disabled
    | OwnedElsewhere
    | EngineOff
    | Waiting
    | HeldSlot
)
Reason: TypeAlias = WhyDue | WhyNot | OfFlow

KINDS: Mapping[str, type[Fact]] = {kind.kind: kind for kind in get_args(Reason)}
"""Every kind a reason can be of."""


def read_reason(told: Mapping[str, Any]) -> Reason:
    """The reason that a JSON object tells of.

    Example:
        >>> read_reason(Settling(0.5).as_dict()), read_reason({"kind": "of tomorrow"}).kind
        (Settling(left_s=0.5), 'other')
    """
    kind: Any = KINDS.get(str(told.get("kind")), Other)
    reason: Reason = kind.read(told) if told.keys() >= required_fields(kind) else Other(str(told.get("kind")))
    return reason
