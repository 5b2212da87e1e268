"""The frozen records that travel between the floors: what a run reports, and what the ledger keeps.

A run is a stream of events. They are named tuples, because a step that takes a microsecond reports two of them.
Times are seconds since the epoch (`at_s`) until they are stored or shown; then they are UTC ISO-8601 with offset.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from data_engine.shown import Shown

_SKEW_S = 300.0

RUN_STATUSES = ("started", "success", "failed", "stopped", "killed", "abandoned")
"""Every word a run's status can be."""


class SourceKey(NamedTuple):
    """A source file as every workstation knows it: the source root as authored and the path inside it.

    `root` has forward slashes, NFC, no trailing slash; `path` is "" for a single-file source.
    """

    root: str
    path: str


class Signature(NamedTuple):
    """What a source file looked like: its size, its modification time and, with content freshness, its hash."""

    size_bytes: int
    mtime_ns: int
    content_hash: str | None = None


class SeenSource(NamedTuple):
    """A source with the signature it had before the run began."""

    key: SourceKey
    signature: Signature


class RunStarted(NamedTuple):
    """A run begins. `source` is the file's (or batch root's) absolute path for people; `key` is its lasting identity."""

    run_id: str
    flow: str
    group: str
    source: str | None
    at_s: float
    key: SourceKey | None = None
    seen: tuple[SeenSource, ...] = ()


class StepStarted(NamedTuple):
    """Step number `step_index` (from 0) begins."""

    run_id: str
    step_index: int
    label: str
    at_s: float


class StepProgress(NamedTuple):
    """A step says how far it is; `total` is None when it cannot know."""

    run_id: str
    step_index: int
    label: str
    done: int
    total: int | None
    at_s: float


class StepFinished(NamedTuple):
    """A step ended with `status` "success", "failed" or "stopped"; `outputs` are the files it returned, as absolute paths."""

    run_id: str
    step_index: int
    label: str
    status: str
    at_s: float
    elapsed_s: float
    error: str | None = None
    outputs: tuple[str, ...] = ()


class LogLine(NamedTuple):
    """One line a run printed, logged or passed to `context.log`; `level` is "INFO", "WARNING", "ERROR", ..."""

    run_id: str
    flow: str
    step: str | None
    level: str
    message: str
    at_s: float


class RunFinished(NamedTuple):
    """A run ended. `seen` are the sources it settles, with the signatures they had before it began."""

    run_id: str
    status: str
    at_s: float
    elapsed_s: float
    error: str | None = None
    cause: str | None = None
    seen: tuple[SeenSource, ...] = ()


Event: TypeAlias = RunStarted | StepStarted | StepProgress | StepFinished | LogLine | RunFinished


@dataclass(frozen=True, slots=True)
class Run:
    """One execution as the ledger keeps it. Times are UTC ISO-8601 with offset; `elapsed_s` is None while it runs.

    `status` is one of `RUN_STATUSES`; `error` is the whole rendered text; `cause` says in a few words why the status
    is what it is ("the code raised", "its process died", "stopped by request", ...). `from_the_future`: it began later than
    the clock says now, so a clock was wrong; it is shown where its time sorts it, and is never the newest.
    """

    run_id: str
    flow: str
    group: str
    source: str | None
    status: str
    started_at_utc: str
    finished_at_utc: str | None = None
    elapsed_s: float | None = None
    error: str | None = None
    cause: str | None = None
    from_the_future: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The keys and values `data-engine runs --json` prints."""
        return {name: getattr(self, name) for name in self.__slots__}  # a status has one for each flow


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step of one run. `output_path` is the first file the step returned, absolute, or None."""

    run_id: str
    index: int
    label: str
    status: str
    started_at_utc: str
    finished_at_utc: str | None = None
    elapsed_s: float | None = None
    error: str | None = None
    output_path: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The keys and values `data-engine log --json` prints for each step."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a run's log."""

    run_id: str | None
    flow: str | None
    step: str | None
    level: str
    message: str
    created_at_utc: str

    def as_dict(self) -> dict[str, Any]:
        """The keys and values `data-engine log --json` prints for each line."""
        return asdict(self)


class SourceState(NamedTuple):
    """What is known of one source of one flow; a named tuple, because a folder may have a hundred thousand.

    `last` is the signature of the last run that ended, with its `status`, run and error; `success` the signature of the
    last run that ended well, None when there was none. `abandoned_in_a_row` counts the newest runs that were abandoned.
    """

    flow: str
    key: SourceKey
    status: str
    last: Signature
    last_run_id: str | None = None
    last_at_utc: str | None = None
    error: str | None = None
    success: Signature | None = None
    success_run_id: str | None = None
    success_at_utc: str | None = None
    abandoned_in_a_row: int = 0


class Facts(Shown, dict[str, Any]):
    """A JSON object whose keys are attributes too.

    Example:
        >>> status = facts({"engine": {"on": True}, "flows": [{"name": "claims"}]})
        >>> status.engine.on, status["flows"][0].name
        (True, 'claims')
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name!r}; there are {', '.join(self)}") from None


def facts(value: Any) -> Any:
    """`value` with every dict in it as `Facts`."""
    if isinstance(value, dict):
        return Facts({key: facts(item) for key, item in value.items()})
    return [facts(item) for item in value] if isinstance(value, list) else value


def future_utc(now_s: float) -> str:
    """What begins later than this is from the future.

    Two machines of a team may be some minutes apart and neither is wrong: a domain lets nobody in who is further away.

    Reference: RFC 4120 section 7.5.1 on clock skew.

    Example:
        >>> future_utc(0)
        '1970-01-01T00:05:00.000000+00:00'
    """
    return utc_text(now_s + _SKEW_S)


def utc_text(at_s: float) -> str:
    """Seconds since the epoch as UTC ISO-8601 with offset and microseconds.

    Example:
        >>> utc_text(0)
        '1970-01-01T00:00:00.000000+00:00'
    """
    second, microsecond = divmod(round(at_s * 1_000_000), 1_000_000)
    return f"{_second_text(second)}.{microsecond:06d}+00:00"


@lru_cache(maxsize=8)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]
