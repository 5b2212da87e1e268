"""The frozen records that travel between the floors: what a run reports, and what the ledger keeps.

A run is a stream of events. They are named tuples, because a step that takes a microsecond reports two of them.
Times are seconds since the epoch (`at_s`) until they are stored or shown; then they are UTC ISO-8601 with offset.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Self, TypeAlias

from data_engine.cause import Cause, read_cause
from data_engine.clock import utc_text as utc_text
from data_engine.display_hook import Displayable, Listing
from data_engine.formatting import cells_text, duration_text, first_few, plural, visible
from data_engine.record import Record, frozen


class StagedFile(NamedTuple):
    """A file of a stage: its path inside the mirror, its size and time, and its SHA-256 where it was taken.

    `replaces` is the size and time of what lay in its place, None where nothing did.
    """

    name: str
    size_bytes: int
    mtime_ns: int
    sha256: str | None = None
    replaces: tuple[int, int] | None = None


class PublishStarted(NamedTuple):
    """These files of the run's stage are about to take their place in the folder called `mirror`; sent before the first does.

    `made_of` is the size and time of the source; `code` stands for the flow's code where only the publishing failed: its steps
    need not run again then. An event without files says that all earlier ones have taken their place.
    """

    run_id: str
    mirror: str
    files: tuple[StagedFile, ...] = ()
    made_of: tuple[int, int] | None = None
    code: str | None = None


_SKEW_S = 300.0

RUN_STATUSES = ("started", "success", "failed", "stopped", "killed", "abandoned")
"""Every word a run's status can be."""

BAD_ENDS = ("failed", "killed", "abandoned")


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


TRIGGERS = ("slot", "file", "hand", "retry", "backfill", "flow")
"""What can begin a run: a time of its schedule, a file, a person, a retry of a failure, a backfill, a flow."""


class RunAbout(NamedTuple):
    """Who began a run, why, and with what; sent when it begins, as far as known then.

    `trigger` is one of `TRIGGERS`, `detail` more about it (the id of a backfill); `by` is person@machine, `params` JSON with
    secrets as "***". `environment` is the digest of Python and the installed distributions, `distributions` their list as JSON,
    sent once for each digest. `scheduled_for` is the slot of the run, in UTC. `edited` says what of its code was not as it was
    deployed ("cell 3"); None where nothing was, or the flow was never deployed.
    """

    trigger: str = "hand"
    detail: str | None = None
    by: str | None = None
    params: str | None = None
    deployment_id: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    python: str | None = None
    environment: str | None = None
    distributions: str | None = None
    scheduled_for: str | None = None
    edited: str | None = None


class FileFacts(NamedTuple):
    """A file that a run read or wrote: its absolute path, size and time, its rows where they are known, and the number of the notebook's
    cell that opened it first, or whose step wrote it, where code of a compiled notebook did. Of a database, the
    `tables` that the run wrote there; one that it also read is there a second time without them."""

    path: str
    size_bytes: int | None = None
    mtime_ns: int | None = None
    rows: int | None = None
    cell: int | None = None
    tables: tuple[str, ...] = ()


class Reference(NamedTuple):
    """A file that a run read beside its source, as it was then or is now: its absolute path, size, time and the SHA-256 of its content,
    where that is known. Without a size it is gone."""

    path: str
    size_bytes: int | None = None
    mtime_ns: int | None = None
    digest: str | None = None

    @property
    def change(self) -> str:
        """What became of it, where it is not as it was read."""
        return "gone" if self.size_bytes is None else "changed"


class RuleCount(NamedTuple):
    """The result of one rule of a check: of `rows` rows it is false for `failed`, and null for `unknown`. A rule about the frame judges
    one value: `rows` is 1."""

    check: str
    rule: str
    rows: int
    failed: int
    unknown: int


class FeedCount(NamedTuple):
    """How many files a good batch run took of each of its intakes, by name, less those that it moved or removed itself."""

    counts: dict[str, int]
    run_id: str | None = None


class Frame(NamedTuple):
    """The columns of a frame in a run, each with its type as text; `code` is the digest of the steps before it."""

    name: str
    code: str
    columns: tuple[tuple[str, str], ...]


class FeedSchema(NamedTuple):
    """The columns of all frames of a run: the `digest` of them, and the `frames`, sent once for each digest; `drift` is how they differ
    from those of every good run before."""

    digest: str
    frames: tuple[Frame, ...] | None = None
    drift: tuple[FrameChange, ...] = ()


class ReportFacts(NamedTuple):
    """A page that a report step wrote: its path, the digest of its bytes, and its note, else its title."""

    path: str
    digest: str
    text: str


class RunSpent(NamedTuple):
    """What a run used and made, sent at its end: the first files it read and wrote, how many more of each, the peak memory of its
    process, the CPU seconds meanwhile, and the results of its checks; `rejected` counts the rows they kept apart, None without such a
    check. `feed` counts the sources of a good batch, `schema` has the columns of its frames, `references` are what a good run read beside
    its source, `reports` the pages of a good run."""

    inputs: tuple[FileFacts, ...] = ()
    more_inputs: int = 0
    outputs: tuple[FileFacts, ...] = ()
    more_outputs: int = 0
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None
    checks: tuple[RuleCount, ...] = ()
    rejected: int | None = None
    feed: FeedCount | None = None
    schema: FeedSchema | None = None
    references: tuple[Reference, ...] = ()
    reports: tuple[ReportFacts, ...] = ()


class RunStarted(NamedTuple):
    """A run begins. `source` is the absolute path of the file (or batch root) for people; `key` is its lasting identity."""

    run_id: str
    flow: str
    group: str
    source: str | None
    at_s: float
    key: SourceKey | None = None
    seen: tuple[SeenSource, ...] = ()
    about: RunAbout | None = None


class StepStarted(NamedTuple):
    """Step number `step_index` (from 0) begins."""

    run_id: str
    step_index: int
    label: str
    at_s: float


class StepProgress(NamedTuple):
    """A step reports its progress; `total` is None where it cannot know."""

    run_id: str
    step_index: int
    label: str
    done: int
    total: int | None
    at_s: float


class StepFinished(NamedTuple):
    """A step ended with `status` "success", "failed" or "stopped"; `outputs` are the files it returned, as absolute paths.

    `rows_in` and `rows_out` count the rows of the frame, table or batch that went in and came out, where known. `metadata` is what the
    author has put into `context.metadata` so far, as JSON, where that is not as it was before the step.
    """

    run_id: str
    step_index: int
    label: str
    status: str
    at_s: float
    elapsed_s: float
    error: str | None = None
    outputs: tuple[str, ...] = ()
    rows_in: int | None = None
    rows_out: int | None = None
    metadata: str | None = None


STDERR = "STDERR"
"""The level of a line that was written to standard error: libraries write progress there as well as errors."""


class LogLine(NamedTuple):
    """One line a run printed, logged or passed to `context.log`; `level` is "INFO", "WARNING", "ERROR", ..., or `STDERR`."""

    run_id: str
    flow: str
    step: str | None
    level: str
    message: str
    at_s: float


class RunFinished(NamedTuple):
    """A run ended; `why` says why it did not end well. `seen` are the sources it settles, with the signatures they had before it began."""

    run_id: str
    status: str
    at_s: float
    elapsed_s: float
    error: str | None = None
    why: Cause | None = None
    seen: tuple[SeenSource, ...] = ()
    spent: RunSpent | None = None

    @property
    def cause(self) -> str | None:
        """Why it ended so, as a sentence."""
        return None if self.why is None else self.why.text


Event: TypeAlias = RunStarted | StepStarted | StepProgress | StepFinished | LogLine | PublishStarted | RunFinished


@frozen
class RunTrigger(Record):
    """What began a run: its `kind`, one of `TRIGGERS`, and more about it (`detail`)."""

    kind: str
    detail: str | None = None


@frozen
class RunFile(Record):
    """A file that a run read or wrote, as it was then; None for unknown values. `cell` is the number of the notebook's cell that did,
    `tables` are those that helpers wrote in a database."""

    sparse: ClassVar = ("cell", "tables")

    path: str
    size_bytes: int | None = None
    modified_at_utc: str | None = None
    rows: int | None = None
    cell: int | None = None
    tables: tuple[str, ...] = ()


@frozen
class WrittenFile(Record):
    """A file as the newest run that wrote it left it. `sources` are those of all runs that wrote it, the newest first, "" for a
    run without one; `source_root` is the folder that the newest lies in, None where that is no file of a folder."""

    path: str
    flow: str
    run_id: str
    at_utc: str
    size_bytes: int | None = None
    rows: int | None = None
    sources: tuple[str, ...] = ()
    source_root: str | None = None


@frozen
class RunCheck(Record):
    """The result of one rule of a check in a run: of `rows` rows it is false for `failed`, and null for `unknown`."""

    check: str
    rule: str
    rows: int
    failed: int
    unknown: int


@frozen
class FrameChange(Record):
    """How the columns of the frame `name` differ from those it had before: columns that are gone, new ones, and those `retyped`, each
    with its type before and now. Their order does not matter. `until` is the last source, or the time, with which it was as before.

    Example:
        >>> change = FrameChange("raw_df", ("dep_delay",), ("departure_delay",), until="2013-01-14.csv")
        >>> change.text
        'raw_df: `dep_delay` is gone, `departure_delay` is new; it was as before until 2013-01-14.csv'
        >>> FrameChange("raw_df", retyped=(("amount", "Int64", "String"),)).text
        'raw_df: `amount` was Int64 and is String'
    """

    computed: ClassVar = ("text",)

    name: str
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    retyped: tuple[tuple[str, str, str], ...] = ()
    until: str | None = None

    @property
    def text(self) -> str:
        """The change in a sentence."""
        lists = ((self.gone, "gone"), (self.new, "new"))
        parts = [
            f"{first_few([_column(name) for name in names], _MOST_COLUMNS)} {'is' if len(names) == 1 else 'are'} {word}"
            for names, word in lists
            if names
        ]
        if self.retyped:
            retyped = [f"{_column(name)} was {before} and is {now}" for name, before, now in self.retyped]
            parts.append(first_few(retyped, _MOST_COLUMNS))
        until = f"; it was as before until {self.until}" if self.until else ""
        return f"{self.name}: {', '.join(parts)}{until}"


def changes_text(changes: Iterable[FrameChange]) -> str:
    """How frames differ from those before, in a line; "" where they do not."""
    return "; ".join(change.text for change in changes)


def _column(name: str) -> str:
    """The name of a column for people: blanks that nobody sees by their numbers."""
    return f"`{visible(name.translate(_UNSEEN))}`"


_MOST_COLUMNS = 5
_UNSEEN = {ord(blank): f"\\u{ord(blank):04x}" for blank in "\ufeff\u00a0\u200b"} | {9: "\\t"}


@frozen
class RunReport(Record):
    """A page that a run wrote: its path, the digest of its bytes, and its note, else its title."""

    path: str
    digest: str
    text: str


@frozen
class Run(Record):
    """One execution as the ledger keeps it. Times are UTC ISO-8601 with offset; `elapsed_s` is None while it runs.

    `status` is one of `RUN_STATUSES`; `error` is the whole rendered text; `why` is the cause of the status, by its kind and data,
    and `cause` in a few words ("its code raised an error", "stopped by request", ...). `from_the_future`: it began later than the
    clock says now, so a clock was wrong; it is shown where its time sorts it, and is never the newest.

    `trigger` and `by` say why it ran and who began it, `params` are its parameters (a secret as "***"), `deployment_id`,
    `git_commit` and `git_dirty` name its code, `python` and `environment` (a digest) its packages. `inputs` and `outputs` are the
    first files it read and wrote, `more_inputs` and `more_outputs` count the others. `scheduled_for` is the slot that it ran for,
    `checks` the results of its checks, `rejected` the number of rows they kept apart. These are None or empty for runs that an older
    Data Engine recorded, or whose process died. `edited` says what of its code was not deployed ("cell 3"): such a run changes
    nothing of what is due, done or held. `schemas` are the columns of its frames, each with its type; `drift` is how they differ from
    those of every good run before. `metadata` is what its steps have put into `context.metadata`. `reports` are the pages that it wrote. `warnings` counts those in its log, None where nobody counted; `tz` is the zone of
    its slot, None for this machine's.

    Example:
        >>> run = Run("3f", "claims", "Claims", None, "stopped", utc_text(0), why=Cause("stop_requested"))
        >>> run.status, run["cause"], run["why"]["kind"]
        ('stopped', 'stopped by request', 'stop_requested')
    """

    computed: ClassVar = ("cause",)
    sparse: ClassVar = ("edited", "drift", "reports", "warnings", "tz")

    run_id: str
    flow: str
    group: str
    source: str | None
    status: str
    started_at_utc: str
    finished_at_utc: str | None = None
    elapsed_s: float | None = None
    error: str | None = None
    why: Cause | None = field(default=None, metadata={"of": read_cause})
    from_the_future: bool = False
    trigger: RunTrigger | None = field(default=None, metadata={"of": RunTrigger.read})
    by: str | None = None
    params: Mapping[str, Any] | None = None
    deployment_id: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    python: str | None = None
    environment: str | None = None
    inputs: tuple[RunFile, ...] = field(default=(), metadata={"of": RunFile.read})
    more_inputs: int = 0
    outputs: tuple[RunFile, ...] = field(default=(), metadata={"of": RunFile.read})
    more_outputs: int = 0
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None
    scheduled_for: str | None = None
    checks: tuple[RunCheck, ...] = field(default=(), metadata={"of": RunCheck.read})
    rejected: int | None = None
    edited: str | None = None
    schemas: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    drift: tuple[FrameChange, ...] = field(default=(), metadata={"of": FrameChange.read})
    reports: tuple[RunReport, ...] = field(default=(), metadata={"of": RunReport.read})
    metadata: Mapping[str, Any] = field(default_factory=dict)
    warnings: int | None = field(default=None, compare=False)
    tz: str | None = field(default=None, compare=False)

    @property
    def cause(self) -> str | None:
        """Why the status is what it is, as a sentence."""
        return None if self.why is None else self.why.text

    @property
    def last_at_utc(self) -> str:
        """When it ended; while it runs, when it began."""
        return self.finished_at_utc or self.started_at_utc


def ended_badly(run: Run | None) -> bool:
    """Whether the run ended badly, and not because a person ended it.

    Example:
        >>> ended_badly(Run("3f", "claims", "Claims", None, "killed", "", why=Cause("kill_requested")))
        False
    """
    return run is not None and run.status in BAD_ENDS and not (run.why is not None and run.why.is_by_a_person)


@frozen
class StepRun(Record):
    """One step of one run. `output_path` is the first file the step returned, absolute, or None; `why` is the cause of a run
    that ended in it; `rows_in` and `rows_out` are of the frame, table or batch that went in and came out, None where that
    is not known."""

    run_id: str
    index: int
    label: str
    status: str
    started_at_utc: str
    finished_at_utc: str | None = None
    elapsed_s: float | None = None
    error: str | None = None
    output_path: str | None = None
    why: Cause | None = field(default=None, compare=False, metadata={"of": read_cause})
    rows_in: int | None = None
    rows_out: int | None = None


@frozen
class ActiveRun(Record):
    """A run under way on this machine. `pid` is the process that answers for it: this daemon's where `in_daemon`, else a
    kernel's or a command line's, which alone can stop it. `step` began at `step_started_at_utc`, and is `done` of `total`
    far where it says so. `worker` is the cluster's worker that it is on. It is `stopping` when this daemon has asked it to end."""

    run_id: str
    flow: str
    group: str
    source: str | None
    started_at_utc: str
    pid: int
    in_daemon: bool
    step: str | None = None
    step_started_at_utc: str | None = None
    done: int | None = None
    total: int | None = None
    worker: str | None = None
    stopping: bool = False


@frozen
class PlannedRun(Record):
    """One run of a backfill: for the file at `source` inside the flow's source folder ("" is the whole folder, or a single
    file), for the slot `scheduled_for` in UTC, or for a file at a slot."""

    source: str | None = None
    scheduled_for: str | None = None


@frozen
class Backfill(Displayable, Record):
    """Runs of a range that somebody requested again, with one `id`: a backfill can be stopped, and goes on after a crash.

    `state` is "planned" (only listed), "running", "done" or "stopped". Of `total` runs `ended` have ended, `failed` of them badly;
    `left_s` estimates the time of the others. `planned` are the runs, where they were requested, and `runs` those that began, the
    newest first. `known` counts the range: "all", "missing" (without a success) and "failed". `tz` is the zone of its slots, None
    for this machine's. `nearest` are files of the source where `where` matches none: those with the most similar names, else the
    first.

    Example:
        >>> Backfill("b7", "claims", "running", total=3000, ended=214, failed=3, left_s=240.0).text
        '214 of 3,000, 3 failed, about 4 min'
    """

    computed: ClassVar = ("text",)
    sparse: ClassVar = ("planned", "runs", "known", "tz", "nearest")

    id: str
    flow: str
    state: str
    total: int = 0
    ended: int = 0
    failed: int = 0
    left_s: float | None = None
    kind: str = "files"
    since: str | None = None
    until: str | None = None
    where: str | None = None
    reprocess: str = "failed"
    params: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""
    at_utc: str = ""
    digest: str = ""
    waits_for: str | None = None
    known: Mapping[str, int] = field(default_factory=dict)
    planned: tuple[PlannedRun, ...] = field(default=(), metadata={"of": PlannedRun.read})
    runs: tuple[Run, ...] = field(default=(), metadata={"of": Run.read})
    tz: str | None = None
    nearest: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """How far it is, for people."""
        failed = f", {self.failed:,} failed" if self.failed else ""
        if self.state == "planned":
            return f"{plural(self.total, 'run')} planned"
        if self.state != "running":
            return f"{self.ended:,} of {self.total:,}{failed}, {self.state}"
        about = "" if self.left_s is None else f", about {duration_text(self.left_s)}"
        waits = "" if self.waits_for is None else f", {self.waits_for}"
        return f"{self.ended:,} of {self.total:,}{failed}{about}{waits}"


@frozen
class LogEntry(Record):
    """One line of a run's log."""

    run_id: str | None
    flow: str | None
    step: str | None
    level: str
    message: str
    created_at_utc: str


class SourceState(NamedTuple):
    """The state of one source of one flow; a named tuple, because a folder may have a hundred thousand.

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


def future_utc(now_s: float) -> str:
    """The time after which a run counts as from the future.

    The clocks of a team may differ by some minutes and neither is wrong: a domain admits no machine that is further off.

    Reference: RFC 4120 section 7.5.1 on clock skew.

    Example:
        >>> future_utc(0)
        '1970-01-01T00:05:00.000000+00:00'
    """
    return utc_text(now_s + _SKEW_S)


def but_for_text(names: Sequence[str]) -> str:
    """What follows "the same" where these names could not be compared.

    Example:
        >>> but_for_text(["`ax`", "`fig`"]), but_for_text([])
        (' but for `ax`, `fig`, which cannot be compared', '')
    """
    return f" but for {first_few(names, 3)}, which cannot be compared" if names else ""


@frozen
class KernelComparison(Record):
    """How a notebook compared with its kernel: when, what differed, the numbers of the cells that changed since, and the names that could not
    be compared; "" as time: never.

    Example:
        >>> KernelComparison().words, KernelComparison("2026-01-05T09:32:00+00:00", changed=(3, 7)).words
        ('', 'not compared with a kernel since cells 3, 7 changed')
    """

    at_utc: str = ""
    differences: tuple[str, ...] = ()
    changed: tuple[int, ...] = ()
    unsure: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The comparison in one sentence; "" where there was none, which a deploy alone says."""
        differences = "; ".join(self.differences)
        return f"{self.short_text}: {differences}" if differences else self.short_text

    @property
    def short_text(self) -> str:
        """The comparison without the differences: "as in the kernel of 10:32", on another day with its date."""
        if not self.at_utc:
            return ""
        if self.changed:
            return f"not compared with a kernel since {cells_text(self.changed)} changed"
        return (
            f"not as in {self.kernel_text}"
            if self.differences
            else f"as in {self.kernel_text}{but_for_text(self.unsure)}"
        )

    @property
    def kernel_text(self) -> str:
        """The kernel in words: "the kernel of 10:32"."""
        at = datetime.fromisoformat(self.at_utc).astimezone()
        is_today = at.date() == datetime.now().astimezone().date()
        return f"the kernel of {at:%H:%M}" if is_today else f"the kernel of {at:%Y-%m-%d %H:%M}"


@frozen
class Deployment(Record):
    """A decision about what production runs of one flow: `kind` is "deploy", "rollback" or "withdraw".

    `number` counts the workspace's decisions; the highest of a flow holds. `by` is the person who claims to have decided, on
    `machine`; `asked_by` owns the request's file on the share, if it came as one. `cells` and `helpers` differ from what ran
    before; `git_commit` and `git_dirty` are the state of the folder's Git repository, `config` the SHA-256 of each config file,
    `of` the deployment that a rollback points to. `mirror` is the folder it writes to, `watches` the folder or file that it polls
    or a slot reads, seen from `flow_modules`; `compared` is how the notebook compared with its kernel (None: not known). `is_live`
    says that it holds, `is_kept` that it can be rolled back to.

    Example:
        >>> Deployment("d1", 1, "claims", "deploy", "5f0c", by="anna", machine="ANNA-PC").who
        'anna@ANNA-PC'
    """

    computed: ClassVar = ("who",)

    id: str
    number: int
    flow: str
    kind: str
    set_id: str
    digest: str = ""
    by: str = ""
    machine: str = ""
    at_utc: str = ""
    note: str = ""
    cells: tuple[int, ...] = ()
    helpers: tuple[str, ...] = ()
    git_commit: str | None = None
    git_dirty: bool | None = None
    config: tuple[tuple[str, str], ...] = ()
    of: str | None = None
    asked_by: str | None = None
    mirror: str | None = None
    watches: str | None = None
    compared: KernelComparison | None = field(default=None, metadata={"of": KernelComparison.read})
    is_live: bool = False
    is_kept: bool = True

    @property
    def who(self) -> str:
        """The person and the machine."""
        return f"{self.by}@{self.machine}"

    @property
    def word(self) -> str:
        """Its kind for people: a flow that production does not run any more is "undeployed"."""
        return "undeployed" if self.kind == "withdraw" else self.kind


@frozen
class Switch:
    """The last decision whether a flow runs by itself: `by` whom on which `machine`, when, and a `note` why.

    A switch of an older version has no more than `is_enabled`; a flow that nobody switched runs as its author wrote it.

    Example:
        >>> Switch(False, "anna", "ANNA-PC").who, Switch().is_enabled
        ('anna@ANNA-PC', True)
    """

    is_enabled: bool = True
    by: str = ""
    machine: str = ""
    at_utc: str | None = None
    note: str = ""

    @classmethod
    def now(cls, is_enabled: bool, by: str, machine: str, *, note: str = "") -> Self:
        """The switch that a person on a machine makes now."""
        return cls(is_enabled, by, machine, utc_text(time.time()), note)

    def after(self, before: Switch) -> Switch:
        """This switch, made after `before`: to disable again without a note keeps the earlier note.

        Example:
            >>> Switch(False, "ben").after(Switch(False, "anna", note="until Monday")).note
            'until Monday'
            >>> Switch(True, "ben").after(Switch(False, "anna", note="until Monday")).note
            ''
        """
        is_same = not (self.is_enabled or before.is_enabled or self.note)
        return replace(self, note=before.note) if is_same else self

    @property
    def who(self) -> str:
        """The person and the machine; "" where that is not known."""
        return f"{self.by}@{self.machine}" if self.by else ""


class RunLog(Listing[LogEntry]):
    """What a run printed and logged, with the results of its `checks`."""

    __slots__ = ("checks",)

    def __init__(self, lines: Iterable[LogEntry], checks: tuple[RunCheck, ...]) -> None:
        super().__init__(lines)
        self.checks = checks
