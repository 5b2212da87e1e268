"""The interface of what runs handed-out work, and the values that go in and come back.

There are two: the daemon's pool of worker processes (`daemon.worker_pool`), and the caller's own process
(`scheduler.foreground`). Each is built around the dispatcher's callbacks: `on_events(job, events)` gets what happens in a
job's runs, after it was recorded, and `on_done(job, end)` how the job ended, both on the thread of the loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from data_engine.cause import Cause
from data_engine.engine.candidates import Source
from data_engine.model import RunAbout, SeenSource


class SourceRun(NamedTuple):
    """One run to come, from where it waits to where it runs.

    `run_id` is the id it shall have ("": any), `seen` what it settles (None: what is seen when it begins), `about` who began it and
    why (None: for the executor to say).
    """

    source: Source = Source()
    run_id: str = ""
    seen: tuple[SeenSource, ...] | None = None
    about: RunAbout | None = None


@dataclass(frozen=True)
class Job:
    """What one worker does in one go: runs of one flow, one after the other, or the description of flows.

    `content` is the folder of the deployed set to take modules from (None: the authored folder). `run_timeout_s` is for
    each run. A description without `flow` is of every module. Jobs with one `pass_number` share an execution of the module
    where they follow each other in a worker; `ends_pass` where no more of them will come.
    """

    job_id: str
    kind: Literal["run", "describe"]
    flow: str | None = None
    content: str | None = None
    runs: tuple[SourceRun, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    run_timeout_s: float | None = None
    pass_number: int | None = None
    ends_pass: bool = True


@dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    `status` is "done"; "refused" when no (further) run could begin; "crashed" or "killed" when its worker died.
    `error` and `why` say why those in `not_begun` do not run; both are None when nothing stands in their way but
    that the worker died in the run before, whose own end says of what. With `is_passing` it was this machine that could
    not do it just now (disk full, ledger locked): they are to be tried again. `described` are the entries of a description,
    each for `notebook.catalog.entry_of_message`.
    """

    status: Literal["done", "crashed", "killed", "refused"]
    described: tuple[dict[str, Any], ...] | None = None
    error: dict[str, Any] | None = None
    why: Cause | None = None
    not_begun: tuple[SourceRun, ...] = ()
    is_passing: bool = False

    @property
    def cause(self) -> str | None:
        """Why, as a sentence."""
        return None if self.why is None else self.why.text


class Executor(Protocol):
    """Runs jobs. The dispatcher calls it on the thread of the loop; nothing here waits for a run."""

    def free(self) -> int:
        """How many more jobs may be started now."""

    def submit(self, job: Job) -> None:
        """Start the job; `on_done` is called later, whatever happens, never from here."""

    def leave(self, job_id: str, *, stop_for: Cause | None = None) -> None:
        """Let the job begin no further run; what it has not begun comes back with its end.

        With `stop_for`, the cause, the run that it is in ends at its next step or item, also one that nobody has heard of yet.
        """

    def end_pass(self, pass_number: int) -> None:
        """Let go of the modules of a pass that is over."""

    def wind_down(self, *, stop_for: Cause | None = None) -> None:
        """Let no job begin another run; with `stop_for`, the cause, those that run end at their next step or item."""
