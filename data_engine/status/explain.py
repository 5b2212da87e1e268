"""Why a flow, or each of its sources, does or does not run: planning's own values, a row each.

`explain` is the only one who answers, over a source of facts: a daemon that runs, or what lies there while none does. With
an engine that is on the reasons are those its last look was decided by; without one the folder is looked at once, here.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar, get_args

from data_engine.cause import Cause, read_cause
from data_engine.clock import boot_clock
from data_engine.engine.candidates import names_there
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.flow.suggestions import as_typed, near_offer, nearest_files
from data_engine.flow.trigger import Poll, Schedule
from data_engine.formatting import first_few
from data_engine.ledger.backfills import newest_writer, written_with_params
from data_engine.ledger.outputs import outputs_here
from data_engine.model import Run, SourceKey, SourceState, utc_text
from data_engine.notebook.flow_files import SCRATCH_NAME, how_to_be_a_flow
from data_engine.planning.due import (
    PlannedFlow,
    Rules,
    Verdict,
    by_hand,
    holds,
    why_blocked,
    why_no_candidate,
    why_not_there,
)
from data_engine.planning.slots import Slots, slots_of
from data_engine.reasons.kinds import (
    Broken,
    ByHand,
    Disabled,
    Done,
    Edited,
    EngineOff,
    Held,
    Interrupted,
    Locked,
    ModuleGone,
    More,
    NameFiltered,
    NeedsHash,
    NoFiles,
    NotDeployed,
    NotListed,
    NotLookedAt,
    NotYet,
    OwnOutput,
    Requested,
    RetryLater,
    Running,
    Settling,
    SlotsPassed,
    Stopping,
    Waiting,
    WaitingForOwnRun,
    WaitsForSettling,
    WhyDue,
    read_reason,
    word_of,
)
from data_engine.reasons.remedies import DEPEND, FLOW_GONE, Reason, remedy_of
from data_engine.record import Record, frozen
from data_engine.scheduler.folder_poller import FolderPoller, KnownSources
from data_engine.status.build import FactSource, FlowFacts, WorkspaceFacts, blocked_by, flow_status
from data_engine.status.deployed_before import history_of, names_of, tell_earlier, undeployed
from data_engine.status.places import gone_outputs, gone_words, last_written
from data_engine.status.runs import params_words
from data_engine.workspace.layout import WorkspaceLayout

MOST_ROWS = 1000
"""Of one flow; a folder may hold a hundred thousand files."""

WOULD_RUN = (Running, Settling, WaitsForSettling, Locked, NeedsHash, *get_args(WhyDue))
_SINCE = (Held, RetryLater, *WOULD_RUN)
"""What is told of the source of an output: that it has changed since."""
_FEW = 2


@frozen
class Explanation(Record):
    """One line of an explanation; without a source it is about the whole flow. `reason` is `why` in words; `cause` is why the
    last run of a held source ended as it did. `fix` is what changes it, with the command. `written_by` is the run that wrote last
    what a run of itself would not write, because it was given `written_with`. `run_id` is the run that is under way, or that waits.
    `blocked_by` are the kinds of what keeps the whole flow from running now, where the `fix` depends on it. `tz` is the zone that
    `next_run_utc` is meant in, None for this machine's. `gone` are outputs of the last good run that do not exist any more. A flow that
    `is_batch` runs for all of its files at once. `abandoned` is the last run of a source that is to be done again, though not now.

    Example:
        >>> row = Explanation("claims", "/in/a.csv", Settling(0.5))
        >>> row["reason"], row.why.kind, row["why"] == {"kind": "settling", "left_s": 0.5}
        ('settling (0.5 s left)', 'settling', True)
    """

    computed: ClassVar = ("reason", "fix")
    sparse: ClassVar = (
        "fix",
        "cause",
        "run_id",
        "written_by",
        "written_with",
        "blocked_by",
        "tz",
        "gone",
        "is_batch",
        "abandoned",
    )

    flow: str
    source: str | None
    why: Reason = field(metadata={"of": read_reason})
    next_run_utc: str | None = None
    cause: Cause | None = field(default=None, metadata={"of": read_cause})
    written_by: str | None = None
    written_with: str | None = None
    run_id: str | None = None
    blocked_by: tuple[str, ...] = ()
    tz: str | None = None
    gone: tuple[str, ...] = ()
    is_batch: bool = False
    abandoned: Interrupted | None = field(default=None, metadata={"of": read_reason})

    @property
    def reason(self) -> str:
        """The sentence for people."""
        said = self.why.text
        if self.run_id is not None and self.run_id[:8] not in said:
            said = f"{said} (as run {self.run_id[:8]})"
        if self.abandoned is not None:
            lost = self.abandoned
            run = "" if lost.run_id is None else f" ({lost.run_id[:8]})"
            because = f": {lost.error}" if lost.error else ""
            again = _WHEN.get(self.why.kind, "it runs again then")
            said = f"{said}; its last run{run} was abandoned{because}; {again}"
        if self.gone:
            said = f"{said}; {gone_words(self.gone)}"
        if self.written_by is None:
            return said
        return f"{said}; last written by run {self.written_by[:8]} with {self.written_with}"

    @property
    def fix(self) -> str | None:
        """What a person types, or does, to change it; None where it changes by itself, or is as it should be."""
        return remedy_of(self.why, self.flow, self.source, _mend(self), self.blocked_by, is_batch=self.is_batch)


def explain(source: FactSource, known: WorkspaceFacts, subject: str, file: str) -> list[Explanation]:
    """Why the flow `subject` does or does not run, or the file at `file`, which may be `subject` inside a flow's source; of an
    output which run wrote it last.

    `known` are the facts of the source as they are now.

    Raises:
        FlowValidationError: neither a flow, nor a source file, nor an output.
        LedgerError: the history cannot be read.
    """
    blocked = {one.entry.name: blocked_by(known, one) for one in known.flows}
    flows = [one.entry.flow for one in known.flows if one.entry.flow is not None]
    batches = {flow.name for flow in flows if flow.trigger is not None and flow.trigger.run_as == "batch"}
    rows = tell_earlier(_explained(source, known, subject, file), source.home.ledger())
    return [
        replace(row, blocked_by=blocked.get(row.flow, FLOW_GONE), is_batch=row.flow in batches)
        if row.why.kind in DEPEND
        else row
        for row in _with_gone(source, known, rows)
    ]


def _with_gone(source: FactSource, known: WorkspaceFacts, rows: list[Explanation]) -> list[Explanation]:
    """The rows, each of what is done with the outputs of that run which are gone; of a flow that reads no folder, its last run's."""
    last = {one.entry.name: one.last_run for one in known.flows}

    def run_of(row: Explanation) -> str | None:
        if isinstance(row.why, Done):
            return row.why.run_id
        run = last.get(row.flow) if isinstance(row.why, (ByHand, NotYet)) and row.source is None else None
        return run.run_id if run is not None and run.status == "success" else None

    runs = {number: run_id for number, row in enumerate(rows) if (run_id := run_of(row)) is not None}
    home, run_ids = source.home, list(dict.fromkeys(runs.values()))
    written = outputs_here(home.ledger(), home.layout, run_ids) if run_ids else {}
    gone = gone_outputs(written, workspace=known.workspace_root)
    return [replace(row, gone=gone.get(runs.get(number, ""), ())) for number, row in enumerate(rows)] if gone else rows


def _explained(source: FactSource, known: WorkspaceFacts, subject: str, file: str) -> list[Explanation]:
    flow = flow_meant(known, subject, file)
    if flow is not None:
        subject = flow.entry.name
        edit = flow.deployment_status
        back = edit.rolled_back_to, edit.rolled_back_utc
        edited = Edited(edit.cells, edit.error, edit.helpers, edit.shares_with, *back)
        rows = [Explanation(subject, None, edited)] if edit.is_edited else []
        if edit.kind == "gone":
            rows = [Explanation(subject, None, ModuleGone(edit.file, edit.renamed_to, edit.moved_to))]
        asked = [one for one in known.requests if one.flow == subject and one.state != "answered"]
        rows += [Explanation(subject, None, Requested(one.text)) for one in asked]
        rows += _with_writers(source, flow, _with_runs(known, _of_flow(source, known, flow)))
        is_running = any(run.flow == subject for run in known.active)
        rows += _of_last_run(flow, is_running=is_running)
        rows += _of_passed_slots(source, flow, is_busy=is_running or flow.waiting is not None)
        expected = flow_status(known, flow).expected
        return rows if expected is None else [*rows, Explanation(subject, None, expected)]
    rows = _of_file(source, known, Path(file), subject)
    for path in () if rows else source.home.ledger().sources_called(subject, file):
        rows += _of_file(source, known, Path(path), path)
    rows += _of_output(source, known, subject, file, by_name=not rows)
    if not rows and (ended := undeployed(history_of(source.home), subject)) is not None:
        rows = [Explanation(subject, None, ended)]
    if not rows:
        raise why_no_flow(known, subject, file) or _nothing_to_explain(subject, known)
    return rows


def _of_file(source: FactSource, known: WorkspaceFacts, path: Path, subject: str) -> list[Explanation]:
    """The rows of each flow under whose source the file lies."""
    rows = []
    for one, found, inside, why in flows_of_file(known, path, named=subject):
        if why is not None:
            rows.append(Explanation(one.entry.name, str(found), why))
        else:
            rows += _with_writers(source, one, _with_runs(known, _of_flow(source, known, one, inside or None)))
    return rows


def _of_output(
    source: FactSource, known: WorkspaceFacts, subject: str, file: str, *, by_name: bool
) -> Iterator[Explanation]:
    """Which run wrote the file last, and that its source has changed since."""
    for name, of, why in last_written(
        source.home.ledger(), subject, file, workspace=known.workspace_root, by_name=by_name
    ):
        yield Explanation(name, of, why)
        for row in [] if of is None else _of_file(source, known, Path(of), of):
            if row.flow == name and isinstance(row.why, _SINCE):
                yield row


def _of_last_run(flow: FlowFacts, *, is_running: bool) -> Iterator[Explanation]:
    """That the last run failed, or has warnings."""
    name, run = flow.entry.name, flow.last_run
    if flow.failed is not None and run is not None and not is_running:
        yield Explanation(name, None, flow.failed, cause=run.why)
    if flow.warned is not None:
        yield Explanation(name, None, flow.warned)


def _of_passed_slots(source: FactSource, flow: FlowFacts, *, is_busy: bool) -> Iterator[Explanation]:
    """That slots of a deployed schedule passed without a run."""
    trigger = None if flow.entry.flow is None else flow.entry.flow.trigger
    if isinstance(trigger, Schedule) and flow.deployment_status.kind != "not_deployed":
        name, now_s = flow.entry.name, time.time()
        served = source.home.ledger().slots(name, utc_text(now_s - LOOK_BACK_S))
        passed = passed_slots(trigger, served, timezone=flow.timezone, now_s=now_s, is_busy=is_busy)
        if passed is not None:
            yield Explanation(name, None, passed)


def ways(rows: Sequence[Explanation]) -> list[str]:
    """What changes what these rows say, each once: of several sources with the same reason as one.

    Example:
        >>> from data_engine.reasons.kinds import EngineOff
        >>> ways([Explanation("claims", f"/in/{number}.csv", EngineOff()) for number in range(3)])
        ['engine off: `data-engine start` lets flows run by themselves']
    """
    alike: dict[tuple[str, str, str | None], list[Explanation]] = {}
    for row in rows:
        if row.fix is not None and row.fix not in row.why.text:
            alike.setdefault((row.flow, row.why.kind, _mend(row)), []).append(row)
    kinds = Counter((flow, kind) for flow, kind, _ in alike)
    found = []
    for (flow, kind, _), some in alike.items():
        way = some[0].fix if len({row.source for row in some}) == 1 else replace(some[0], source=None).fix
        names = [os.path.basename(row.source) for row in some if row.source is not None and kinds[flow, kind] > 1]
        of = f" ({first_few(names, _FEW)})" if names else ""
        found.append(f"{word_of(some[0].why)}{of}: {way}")
    return list(dict.fromkeys(found))


def _mend(row: Explanation) -> str | None:
    """The fix of the error for which its source is held."""
    return None if row.cause is None else row.cause.get("fix")


def _of_flow(source: FactSource, known: WorkspaceFacts, flow: FlowFacts, path: str | None = None) -> list[Explanation]:
    """Each source of the flow, or the one at `path` inside its folder, or the flow as a whole."""
    entry = flow.entry
    if entry.flow is None:
        error = entry.error or FlowValidationError("unknown")
        return [Explanation(entry.name, None, Broken(error.what, error.where, error.fix))]
    watch = PlannedFlow.of(entry.flow)
    under_way: dict[str | None, Reason] = {
        run.source: Stopping(run.run_id) if run.stopping else Running(run.run_id, None if run.in_daemon else run.pid)
        for run in known.active
        if run.flow == entry.name
    }
    blocked = what_blocks(known, flow)
    if isinstance(watch.trigger, Poll):
        poller = None if blocked is not None else source.poller(entry.name)
        if poller is not None:
            return _as_the_engine_looks(source, poller, path, waiting=flow.waiting, under_way=under_way)
        if blocked is not None:
            return _as_a_look_shows(source, watch, blocked, path, under_way=under_way)
    elif isinstance(blocked, NotDeployed) and not under_way:
        return [Explanation(entry.name, None, blocked)]
    if path is not None and watch.trigger.source is not None:
        return _of_one_file(source, known, flow, watch, blocked, path, under_way)
    reasons = _as_a_whole(flow, watch, blocked, list(under_way.values()))
    zone = None if flow.next_run_utc is None else flow.tz
    in_zone = [replace(why, tz=flow.tz) if isinstance(why, NotYet) else why for why in reasons]
    return [Explanation(entry.name, None, why, flow.next_run_utc, tz=zone) for why in in_zone]


def _of_one_file(
    source: FactSource,
    known: WorkspaceFacts,
    flow: FlowFacts,
    watch: PlannedFlow,
    blocked: Reason | None,
    path: str,
    under_way: Mapping[str | None, Reason],
) -> list[Explanation]:
    """Of a flow that looks through no folder: what is said of the file at `path` inside it, and not of another that runs."""
    name, root = flow.entry.name, watch.trigger.source
    assert root is not None
    file = str(root / path)
    if not any(then.source == file for one in known.waiting if one.flow == name for then in one.runs):
        flow = replace(flow, waiting=None)
    own = [under_way[file]] if file in under_way else []
    is_missing = flow.entry.flow is not None and not os.path.lexists(root / path) and root.is_dir()
    if is_missing and not (own or flow.waiting or source.home.ledger().sources_called(Path(path).name, file)):
        assert flow.entry.flow is not None
        return [Explanation(name, file, why_not_there(None, path, names_there(flow.entry.flow)))]
    return [Explanation(name, file, why) for why in _as_a_whole(flow, watch, blocked, own)]


def _as_a_whole(
    flow: FlowFacts, watch: PlannedFlow, blocked: Reason | None, under_way: Sequence[Reason]
) -> list[Reason]:
    """Why a flow does or does not run that has no sources, or whose sources nobody looks at."""
    found: list[Reason | None]
    if under_way or flow.waiting is not None:
        found = [*under_way, flow.waiting]
    else:
        found = [by_hand(flow.switch) if watch.trigger.mode == "manual" else blocked or flow.why]
    return [one for one in found if one is not None] or [NotLookedAt()]


def what_blocks(known: WorkspaceFacts, flow: FlowFacts) -> Reason | None:
    """What keeps the whole flow from running by itself, whatever is due; None when nothing does."""
    status = flow.deployment_status
    if status.kind == "not_deployed" and (known.elsewhere is None or known.is_all_known):
        return NotDeployed(flow.entry.name, status.error, status.goes_live_s, status.shares_with)
    return why_blocked(flow.switch, is_engine_on=known.engine.on is True, unasked=known.unasked)


def reason_now(
    why: Reason, *, under_way: Reason | None, blocked: Reason | None = None, waiting: Reason | None = None
) -> Reason:
    """Why a source does or does not run, of the reason it was judged with.

    `under_way` is said of its run, where there is one, `blocked` is what keeps its whole flow from running, `waiting` why work
    that could start does not.

    Example:
        >>> from data_engine.reasons.kinds import EngineOff, New
        >>> reason_now(New(), under_way=None, blocked=EngineOff()).text
        'the engine is off'
    """
    if under_way is not None:
        return under_way
    if blocked is None:
        return (waiting or why) if isinstance(why, Running) else why
    return blocked if isinstance(why, WOULD_RUN) else why


def look_now(source: FactSource, watch: PlannedFlow, known: KnownSources | None = None) -> FolderPoller:
    """A look at the flow's folder now; it hands nothing over, and retries nothing. `known` is what is known, where not as it is now."""
    memory = known or source.memory(watch.flow)
    poller = FolderPoller(watch, read=lambda: memory, rules=replace(Rules.of(source.home.settings_shown()), retries=0))
    poller.poll()
    while poller.is_scanning:
        poller.poll()
    return poller


def _with_runs(known: WorkspaceFacts, rows: list[Explanation]) -> list[Explanation]:
    """The rows, each of a run that is under way or waits with its id, by which it can be stopped alone."""
    waiting: dict[tuple[str, str | None], str] = {}
    for one in known.waiting:
        for then in one.runs:
            waiting.setdefault((one.flow, then.source), then.run_id)
            waiting.setdefault((one.flow, None), then.run_id)

    def run_of(row: Explanation) -> str | None:
        if isinstance(row.why, (Running, Stopping)) and row.why.run_id is not None:
            return row.why.run_id
        return waiting.get((row.flow, row.source)) if isinstance(row.why, (Running, *get_args(Waiting))) else None

    return [row if (run_id := run_of(row)) is None else replace(row, run_id=run_id) for row in rows]


def _with_writers(source: FactSource, flow: FlowFacts, rows: list[Explanation]) -> list[Explanation]:
    """The rows, each that says nothing of a newer run with other params with that run."""
    planned = flow.entry.flow
    written = {} if planned is None else written_with_params(source.home.ledger(), flow.entry.name)
    if planned is None or not written:
        return rows
    from data_engine.engine.params import is_as_scheduled

    found = {key: run for key, run in written.items() if not is_as_scheduled(planned, run.params or {})}
    writers = _newest_writers(source, flow, planned, found)
    return [
        replace(row, written_by=writer.run_id, written_with=params_words(writer))
        if (writer := writers.get(row.source)) is not None
        else row
        for row in rows
    ]


def _newest_writers(
    source: FactSource, flow: FlowFacts, planned: Flow, found: Mapping[str | None, Run]
) -> dict[str | None, Run]:
    """Of runs with other params, by the path in the source, those that are newer than what production did; by source."""
    trigger = planned.trigger
    if not isinstance(trigger, Poll):
        newest = newest_writer(source.home.ledger(), flow.entry.name)
        return (
            {None: newest} if newest is not None and any(run.run_id == newest.run_id for run in found.values()) else {}
        )
    states = source.memory(flow.entry.name).states
    writers: dict[str | None, Run] = {}
    for key, run in found.items():
        state = states.get(SourceKey(trigger.source_as_authored or "", key or ""))
        newest_utc = (None if state is None else state.success_at_utc) or ""
        if (run.finished_at_utc or "") > newest_utc:
            writers[str(trigger.source / key) if trigger.source is not None and key else str(trigger.source)] = run
    return writers


def _as_the_engine_looks(
    source: FactSource,
    poller: FolderPoller,
    path: str | None,
    *,
    waiting: Reason | None,
    under_way: Mapping[str | None, Reason],
) -> list[Explanation]:
    """As the engine judges each source, and how often it looks. `waiting` is why work that could start does not."""

    behind = waiting or (WaitingForOwnRun() if under_way else None)

    def why_of(name: str, verdict: Verdict) -> Reason:
        return reason_now(verdict.why, under_way=under_way.get(name), waiting=behind)

    rows = _rows(source, poller, path, why_of)
    if path is None and poller.unreachable is None:
        next_utc = utc_text(time.time() + max(0.0, poller.next_scan_s - boot_clock()))
        rows.append(Explanation(poller.planned.flow, None, poller.looks, next_utc))
    return rows


def _as_a_look_shows(
    source: FactSource,
    watch: PlannedFlow,
    blocked: Reason,
    path: str | None,
    *,
    under_way: Mapping[str | None, Reason],
) -> list[Explanation]:
    """While nothing of the flow runs by itself, from a look at its folder now: `blocked` is why what would run does not."""

    def why_of(name: str, verdict: Verdict) -> Reason:
        return reason_now(verdict.why, under_way=under_way.get(name), blocked=each)

    each = blocked.in_short if path is None and isinstance(blocked, NotDeployed) else blocked
    poller = look_now(source, watch)
    rows = _rows(source, poller, path, why_of)
    return rows if path is not None else [Explanation(watch.flow, None, blocked), *rows]


def _rows(
    source: FactSource, poller: FolderPoller, path: str | None, why_of: Callable[[str, Verdict], Reason]
) -> list[Explanation]:
    flow, root = poller.planned.flow, poller.root
    found = list(poller.verdicts(path))
    if not found:
        nothing = NoFiles() if path is None else poller.why_not_there(path)
        return [Explanation(flow, str(root / (path or "")), nothing)]
    # what somebody may wait for comes first, then goes by path
    found.sort(key=lambda one: (isinstance(one.why, (Done, OwnOutput)), "" if one.key is None else one.key.path or ""))
    causes: Mapping[str, Cause] = {}
    if any(isinstance(verdict.why, (Held, RetryLater)) for verdict in found[:MOST_ROWS]):
        causes = source.home.ledger().causes(*names_of(source.home.ledger(), flow))
    rows = []
    for verdict in found[:MOST_ROWS]:
        name = str(root / verdict.key.path) if verdict.key is not None and verdict.key.path else str(root)
        why = why_of(name, verdict)
        cause = causes.get(why.run_id or "") if isinstance(why, (Held, RetryLater)) else None
        is_owed = isinstance(verdict.why, WOULD_RUN) and not isinstance(why, (Running, Stopping, Interrupted))
        lost = abandoned(poller.state(verdict.key.path)) if is_owed and verdict.key is not None else None
        rows.append(Explanation(flow, name, why, cause=cause, abandoned=lost))
    if len(found) > MOST_ROWS:
        rows.append(Explanation(flow, None, More(len(found) - MOST_ROWS)))
    return rows


def _nothing_to_explain(subject: str, known: WorkspaceFacts) -> FlowValidationError:
    flows = sorted(one.entry.name for one in known.flows)
    there = (names_there(one.entry.flow) for one in known.flows if one.entry.flow is not None and "." in subject)
    near = nearest_files(subject, (path for paths in there for path in paths))
    begin = f"did you mean {as_typed(near[0])}? Else " if near else near_offer(subject, flows)
    return FlowValidationError(
        f"{subject!r} is neither a flow nor a file of any flow's source, nor an output of a run",
        where="explain",
        fix=f"{begin}name a flow ({', '.join(flows) or 'none'}), a path under a source folder, or an output",
    )


_SUFFIXES = (".ipynb", ".py")


def flow_meant(known: WorkspaceFacts, subject: str, file: str) -> FlowFacts | None:
    """The flow that is called `subject`, or whose module is the file at `file`, or has that file name."""
    found = known.flow(subject)
    if found is not None:
        return found
    path = _module(known, subject, file)
    return None if path is None else known.flow(path.stem)


def why_no_flow(known: WorkspaceFacts, subject: str, file: str) -> FlowValidationError | None:
    """Why the file that is meant is no flow, though it lies in `flow_modules`; None where none is meant."""
    path = _module(known, subject, file)
    if path is None:
        return None
    fix = how_to_be_a_flow("it", is_scratch=SCRATCH_NAME.fullmatch(path.stem) is not None)
    return FlowValidationError(f"{path.name} is not a flow, so nothing runs it", where=str(path), fix=fix)


def flows_of_file(
    known: WorkspaceFacts, path: Path, *, named: str
) -> Iterator[tuple[FlowFacts, Path, str, NameFiltered | NotListed | OwnOutput | None]]:
    """The flows under whose source the file lies, with the file, its path inside, and why its name rules it out, if it does.

    A file at `path`, which is absolute, or one that is `named` by its path inside the source.
    """
    for flow in sorted(known.flows, key=lambda one: one.entry.name):
        watch = None if flow.entry.flow is None else PlannedFlow.of(flow.entry.flow)
        source = None if watch is None else watch.trigger.source
        if watch is None or source is None:
            continue
        found = path if path.is_relative_to(source) else Path(os.path.normpath(source / named))
        if found.is_relative_to(source) and (found == path or (found != source and found.exists())):
            inside = "" if found == source else found.relative_to(source).as_posix()
            yield flow, found, inside, why_no_candidate(watch, inside) if inside else None


def _module(known: WorkspaceFacts, subject: str, file: str) -> Path | None:
    folder = WorkspaceLayout(Path(known.workspace_root)).flow_modules_dir
    named = [Path(file), folder / subject, *(folder / f"{subject}{suffix}" for suffix in _SUFFIXES)]
    for path in named:
        if path.suffix in _SUFFIXES and path.is_file() and path.parent.resolve() == folder.resolve():
            return path
    return None


LOOK_BACK_S = 31 * 86400.0
_DAY_S = 86400.0
_MOST = 2_000
_MAY_BEGIN_S = 60.0


def passed_slots(
    trigger: Schedule, served: Sequence[tuple[str, str]], *, timezone: str | None, now_s: float, is_busy: bool = False
) -> SlotsPassed | None:
    """The slots of the last `LOOK_BACK_S` that no run has served and that none will: all with `catch_up="none"`, with "latest"
    those before the newest that one did; None where there are none.

    `served` are the slots as the ledger has them, each with its run; one without a run that is no time of this schedule is when
    the schedule was first seen, and nothing before it is told. While the flow `is_busy` the newest may have its run yet.

    Example:
        >>> from data_engine.flow.flow import Flow
        >>> daily = Flow("A").watch(mode="schedule", time="07:00", catch_up="none", tz="UTC").trigger
        >>> known = [("2026-01-05T12:00:00.000000+00:00", ""), ("2026-01-06T07:00:00.000000+00:00", "r1")]
        >>> now_s = datetime.fromisoformat("2026-01-09T08:00+00:00").timestamp()
        >>> passed_slots(daily, known, timezone=None, now_s=now_s).text.partition(" (")[0]
        '3 slots since 2026-01-07 passed without a run, the last of them 2026-01-09 07:00:00 UTC'
    """
    if trigger.interval_seconds is not None or trigger.catch_up == "all" or not served:
        return None
    name = trigger.tz or timezone
    runs = {_seconds(slot): run_id for slot, run_id in served}
    slots = _newest(slots_of(trigger, timezone), max(now_s - LOOK_BACK_S, min(runs)), now_s - _MAY_BEGIN_S)
    known = set(slots)
    floor_s = max((at_s for at_s, run_id in runs.items() if not run_id and at_s not in known), default=0.0)
    if is_busy:
        slots = slots[:-1]
    if trigger.catch_up == "latest":
        newest_s = max((slot_s for slot_s, run_id in runs.items() if run_id), default=0.0)
        slots = [slot_s for slot_s in slots if slot_s < newest_s]
    passed = [slot_s for slot_s in slots if slot_s > floor_s and slot_s not in runs]
    if not passed:
        return None
    return SlotsPassed(len(passed), utc_text(passed[0]), utc_text(passed[-1]), name)


def _newest(rule: Slots, after_s: float, until_s: float) -> list[float]:
    """The slots between these times, in order; of very many those of the newest days."""
    slots: list[float] = []
    while until_s > after_s and len(slots) < _MOST:
        begin_s = max(after_s, until_s - _DAY_S)
        slots = [*rule.between(begin_s, until_s), *slots]
        until_s = begin_s
    return slots


def _seconds(utc: str) -> float:
    return datetime.fromisoformat(utc).timestamp()


_WHEN = {
    EngineOff.kind: "it runs again as soon as the engine is on",
    Disabled.kind: "it runs again as soon as the flow is enabled",
    NotDeployed.kind: "it runs again as soon as the flow is deployed",
}


def abandoned(state: SourceState | None) -> Interrupted | None:
    """The last run of a source, where that was abandoned and is to be done again; None of one that was abandoned twice, too."""
    if state is None or state.status != "abandoned" or holds(state):
        return None
    return Interrupted(state.last_run_id, (state.error or "").partition("\n")[0] or None)
