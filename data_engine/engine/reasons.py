"""Why something is due, or is not: one frozen value for each reason, with its words for people.

The planner returns them, and so `explain`, the panel and the engine's own choice cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias

# -- due ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class New:
    """No run has settled this source yet."""

    @property
    def text(self) -> str:
        return "due: new"


@dataclass(frozen=True, slots=True)
class Changed:
    """The source differs from what its last good run read (or from what its last run read, without a good one)."""

    @property
    def text(self) -> str:
        return "due: changed since its last run"


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The last run was abandoned: its process or machine died."""

    @property
    def text(self) -> str:
        return "due: its last run was abandoned"


@dataclass(frozen=True, slots=True)
class Freed:
    """A held source that somebody freed: by `retry`, or by starting the engine."""

    status: str

    @property
    def text(self) -> str:
        return f"due: tried again, its last run was {self.status}"


@dataclass(frozen=True, slots=True)
class Retried:
    """A held source that the workspace's `[retry]` settings try again; `attempt` counts from 1."""

    attempt: int
    of: int

    @property
    def text(self) -> str:
        return f"due: retry {self.attempt} of {self.of}"


@dataclass(frozen=True, slots=True)
class Slot:
    """A wall-clock slot. `is_missed` when it passed while nothing ran; `skipped_before_utc` when older ones are too old;
    `is_freed` when it was held and somebody freed it."""

    slot_utc: str
    is_missed: bool = False
    skipped_before_utc: str | None = None
    is_freed: bool = False

    @property
    def text(self) -> str:
        missed = ", tried again" if self.is_freed else ", missed while nothing ran" if self.is_missed else ""
        skipped = (
            "" if self.skipped_before_utc is None else f"; slots before {_shown(self.skipped_before_utc)} are skipped"
        )
        return f"due: the slot of {_shown(self.slot_utc)}{missed}{skipped}"


@dataclass(frozen=True, slots=True)
class Tick:
    """An interval has passed; `number` counts the intervals since the engine started."""

    number: int

    @property
    def text(self) -> str:
        return "due: its interval has passed"


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asked for it."""

    @property
    def text(self) -> str:
        return "due: asked for"


# -- not due ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """The last good run read the source as it is now."""

    run_id: str | None
    at_utc: str | None

    @property
    def text(self) -> str:
        return f"already done at {_shown(self.at_utc)} by run {(self.run_id or '?')[:8]}"


@dataclass(frozen=True, slots=True)
class NotThere:
    """No such file was seen; how its last run ended, when there was one.

    Example:
        >>> NotThere().text, NotThere("success", "1f3c9d2e7a41", "2026-01-05T06:30:00+00:00").text[:45]
        ('no such file was seen', 'not there any more; its last run: success, at')
    """

    status: str | None = None
    run_id: str | None = None
    at_utc: str | None = None

    @property
    def text(self) -> str:
        if self.status is None:
            return "no such file was seen"
        return (
            f"not there any more; its last run: {self.status}, at {_shown(self.at_utc)}, run {(self.run_id or '?')[:8]}"
        )


@dataclass(frozen=True, slots=True)
class Settling:
    """The source has not been seen unchanged for long enough; `left_s` seconds are left."""

    left_s: float

    @property
    def text(self) -> str:
        return f"settling ({self.left_s:.1f} s left)"


@dataclass(frozen=True, slots=True)
class WaitsForSettling:
    """A batch that is due, while `count` of its candidates settle."""

    count: int
    left_s: float

    @property
    def text(self) -> str:
        return f"waiting until {self.count} of its files settle ({self.left_s:.1f} s left)"


@dataclass(frozen=True, slots=True)
class NeedsHash:
    """Size or time moved, and content decides: the planner needs the source's hash to go on."""

    @property
    def text(self) -> str:
        return "comparing its content"


@dataclass(frozen=True, slots=True)
class Held:
    """The last run did not end well, and nothing has changed since; `error` is the first line of why."""

    since_utc: str | None
    status: str
    error: str | None = None

    @property
    def text(self) -> str:
        because = f": {self.error}" if self.error else ""
        return f"held since {_shown(self.since_utc)}, {self.status}{because}"


@dataclass(frozen=True, slots=True)
class HeldSlot:
    """The runs of a wall-clock slot were abandoned twice; it counts as served until somebody tries it again."""

    slot_utc: str
    since_utc: str | None
    cause: str | None = None

    @property
    def text(self) -> str:
        because = f": {self.cause}" if self.cause else ""
        return f"the slot of {_shown(self.slot_utc)} is held since {_shown(self.since_utc)}, abandoned twice{because}"


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Like `Held`, and the `[retry]` settings try it again at `at_utc`."""

    at_utc: str
    attempt: int
    of: int
    error: str | None = None

    @property
    def text(self) -> str:
        because = f": {self.error}" if self.error else ""
        return f"failed, retry {self.attempt} of {self.of} at {_shown(self.at_utc)}{because}"


@dataclass(frozen=True, slots=True)
class Running:
    """A run for it is under way, or next in line."""

    @property
    def text(self) -> str:
        return "running, or next in line"


@dataclass(frozen=True, slots=True)
class NameFiltered:
    """The name is that of a hidden, temporary or lock file, or it lies in a hidden folder (`part`)."""

    part: str

    @property
    def text(self) -> str:
        return f"name filtered: {self.part!r} is hidden, temporary or a lock file"


@dataclass(frozen=True, slots=True)
class NotListed:
    """The extension is none of the flow's."""

    extensions: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"extension not listed: the flow takes {', '.join(self.extensions)}"


@dataclass(frozen=True, slots=True)
class OwnOutput:
    """The flow wrote the file itself."""

    @property
    def text(self) -> str:
        return "written by this flow itself"


@dataclass(frozen=True, slots=True)
class MayBeOutput:
    """A run of the flow was under way when the file was first seen, and may have written it."""

    @property
    def text(self) -> str:
        return "first seen while the flow ran: judged when that run has told what it wrote"


@dataclass(frozen=True, slots=True)
class NoFiles:
    """The source has no candidates."""

    @property
    def text(self) -> str:
        return "no files"


@dataclass(frozen=True, slots=True)
class NotYet:
    """The next slot or tick is at `next_utc`; None when there is none."""

    next_utc: str | None

    @property
    def text(self) -> str:
        return "no slot is left" if self.next_utc is None else f"next at {_shown(self.next_utc)}"

    def left_s(self, now_s: float) -> float:
        """Seconds until then; none without a next one."""
        return 0.0 if self.next_utc is None else datetime.fromisoformat(self.next_utc).timestamp() - now_s


@dataclass(frozen=True, slots=True)
class Looks:
    """How often a poll flow's folder is looked through, as measured; `wakes` when file events come in between."""

    every_s: float
    took_s: float = 0.0
    wakes: bool = False

    @property
    def text(self) -> str:
        events = ", and when a file changes" if self.wakes else ""
        slow = f" (a look takes {_lasting(self.took_s)})" if self.took_s >= _SLOW_LOOK_S else ""
        return f"looks every {_lasting(self.every_s)}{events}{slow}"


@dataclass(frozen=True, slots=True)
class ByHand:
    """A manual flow runs when somebody asks."""

    @property
    def text(self) -> str:
        return "runs when somebody asks"


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The source cannot be read since then."""

    since_utc: str
    error: str

    @property
    def text(self) -> str:
        return f"unreachable since {_shown(self.since_utc)}: {self.error}"


@dataclass(frozen=True, slots=True)
class Disabled:
    """Somebody switched the flow off."""

    @property
    def text(self) -> str:
        return "disabled"


@dataclass(frozen=True, slots=True)
class OwnedElsewhere:
    """Another workstation owns the workspace; whether its engine is on, None where that is not known to be so still."""

    owner: str
    is_engine_on: bool | None = None

    @property
    def text(self) -> str:
        engine = "" if self.is_engine_on is None else f", and its engine is {'on' if self.is_engine_on else 'off'}"
        return f"{self.owner} owns the workspace{engine}"


@dataclass(frozen=True, slots=True)
class EngineOff:
    """Nobody has started the engine."""

    @property
    def text(self) -> str:
        return "the engine is off"


GOES_ON = "the daemon is not running; its engine goes on with the next daemon"
"""What is said where the last daemon died with its engine on: the next one turns it on by itself."""


class GroupRun(NamedTuple):
    """A run that keeps its group busy, in the process `pid`."""

    flow: str
    run_id: str
    pid: int


@dataclass(frozen=True, slots=True)
class WaitingForGroup:
    """Another run of the group is under way on this machine; `runs` are those that are known."""

    group: str
    runs: tuple[GroupRun, ...] = ()

    @property
    def text(self) -> str:
        whom = "; ".join(f'flow "{run.flow}" (run {run.run_id[:8]}, pid {run.pid})' for run in self.runs)
        return f'waiting for group "{self.group}": {whom or "another run"}'


@dataclass(frozen=True, slots=True)
class WaitingForWorker:
    """As many runs as the workspace's `[executor] workers` allows are under way."""

    @property
    def text(self) -> str:
        return "waiting for a worker: as many runs as [executor] workers allows are under way"


@dataclass(frozen=True, slots=True)
class WaitingForShare:
    """This machine owns the workspace, and cannot prove it just now."""

    @property
    def text(self) -> str:
        return "waiting for the workspace's drive: nothing new starts until this machine's heartbeat can be written"


Waiting: TypeAlias = WaitingForGroup | WaitingForWorker | WaitingForShare
WhyDue: TypeAlias = New | Changed | Interrupted | Freed | Retried | Slot | Tick | Asked
WhyNot: TypeAlias = (
    Done
    | NotThere
    | Settling
    | WaitsForSettling
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
    | WaitingForGroup
    | WaitingForWorker
    | WaitingForShare
    | HeldSlot
)
Reason: TypeAlias = WhyDue | WhyNot


def held_words(flow: str, count: int, beside: str | None = None) -> str | None:
    """That so many files of a flow are held, and how they run again; None for none. `beside` is the reason told of the flow.

    Example:
        >>> held_words("claims", 1)
        '1 file is held: it runs again when it changes, or with `data-engine retry claims`'
        >>> held_words("claims", 2, EngineOff().text), held_words("claims", 0)
        ('2 files are held, and tried again when the engine is started', None)
    """
    if not count:
        return None
    held = "1 file is held" if count == 1 else f"{count:,} files are held"
    if beside is None:
        again = "it runs again when it changes" if count == 1 else "they run again when they change"
        return f"{held}: {again}, or with `data-engine retry {flow}`"
    return f"{held}, and tried again when the engine is started" if beside == EngineOff().text else held


def freed_words(count: int) -> str:
    """What a retry says that has freed so many sources.

    Example:
        >>> freed_words(2), freed_words(0)
        ('What was held is due again (2).', 'Nothing was held; `data-engine explain` says why something does not run.')
    """
    if not count:
        return "Nothing was held; `data-engine explain` says why something does not run."
    return f"What was held is due again ({count:,})."


_SLOW_LOOK_S = 0.5


def _lasting(seconds: float) -> str:
    """A duration in words.

    Example:
        >>> _lasting(0.503), _lasting(40.2), _lasting(300), _lasting(5400)
        ('0.5 s', '40 s', '5 min', '1.5 h')
    """
    for size_s, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size_s:
            return f"{seconds / size_s:.2g} {unit}"
    return f"{seconds:.2g} s"


def _shown(utc: str | None) -> str:
    return "?" if utc is None else datetime.fromisoformat(utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")
