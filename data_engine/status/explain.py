"""Explain why a flow, or each of its sources, does or does not run: planning's own reasons, a row each.

`explain` reads a source of facts: the running daemon, or the files and the ledger. With the engine on, the reasons are those
of its last scan; with the engine off, the folder is scanned once, now.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import ClassVar, get_args

from data_engine.cause import Cause, read_cause
from data_engine.clock import boot_clock
from data_engine.engine.candidates import names_there
from data_engine.engine.references import References
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Poll, Schedule
from data_engine.formatting import first_few
from data_engine.ledger.backfills import newest_writer, written_with_params
from data_engine.ledger.outputs import outputs_here
from data_engine.model import Run, SourceKey, SourceState, utc_text
from data_engine.notebook.flow_files import SCRATCH_NAME, how_to_be_a_flow
from data_engine.planning.due import (
    PlannedFlow,
    SourceRules,
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
    FeedShrunk,
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
    Outdated,
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
from data_engine.status.build import (
    FactSource,
    FlowFacts,
    WorkspaceFacts,
    blocked_by,
    flow_status,
    outdated_there,
    references_changed,
)
from data_engine.status.deployed_before import history_of, names_of, tell_earlier, undeployed
from data_engine.status.places import (
    gone_outputs,
    gone_text,
    last_written,
    rows_recorded,
    table_meant,
    within_the_limit,
)
from data_engine.status.runs import with_text
from data_engine.suggestions import as_typed, near_offer, nearest_files
from data_engine.workspace.layout import WorkspaceLayout

MOST_ROWS = 1000
"""Rows for one flow; a folder may hold a hundred thousand files."""

WOULD_RUN = (Running, Settling, WaitsForSettling, Locked, NeedsHash, *get_args(WhyDue))
_SINCE = (Held, RetryLater, *WOULD_RUN)
"""Reasons that show that the source of an output has changed since."""
_FEW = 2


@frozen
class Explanation(Record):
    """One row of an explanation; without a source it is about the whole flow. `reason` is `why` in words, `cause` why the last
    run of a held source failed, and `fix` the command that changes it. `written_by` is a newer run with other params or code
    (`written_with`). `run_id` is the run that is under way, or waits. `blocked_by` are the kinds of reasons that keep the whole
    flow from running, where the `fix` depends on them. `tz` is the zone of `next_run_utc`, None for this machine's. `gone` are
    outputs of the last good run that do not exist any more. A flow that `is_batch` runs for all of its files at once.
    `abandoned` is the last run of a source that is due again, and cannot run now.

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
        words = self.why.text
        if self.run_id is not None and self.run_id[:8] not in words:
            words = f"{words} (as run {self.run_id[:8]})"
        if self.abandoned is not None:
            lost = self.abandoned
            run = "" if lost.run_id is None else f" ({lost.run_id[:8]})"
            because = f": {lost.error}" if lost.error else ""
            again = _WHEN.get(self.why.kind, "it runs again then")
            words = f"{words}; its last run{run} was abandoned{because}; {again}"
        if self.gone:
            words = f"{words}; {gone_text(self.gone)}"
        if self.written_by is None:
            return words
        return f"{words}; last written by run {self.written_by[:8]} with {self.written_with}"

    @property
    def fix(self) -> str | None:
        """The command or action that changes it; None where it changes by itself, or nothing is wrong."""
        return remedy_of(self.why, self.flow, self.source, _mend(self), self.blocked_by, is_batch=self.is_batch)


def explain(source: FactSource, facts: WorkspaceFacts, subject: str, file: str) -> list[Explanation]:
    """Explain why the flow `subject` or the file at `file` does or does not run, or which run wrote an output last.

    `subject` may be the file's path inside a flow's source. `facts` are those of the source, now.

    Raises:
        FlowValidationError: neither a flow, nor a source file, nor an output.
        LedgerError: the history cannot be read.
    """
    blocked = {flow.entry.name: blocked_by(facts, flow) for flow in facts.flows}
    flows = [flow.entry.flow for flow in facts.flows if flow.entry.flow is not None]
    batches = {flow.name for flow in flows if flow.trigger is not None and flow.trigger.run_as == "batch"}
    rows = tell_earlier(_explained(source, facts, subject, file), source.home.ledger())
    shrunk = {row.flow: (row.why.kind,) for row in rows if isinstance(row.why, FeedShrunk)}
    return [
        replace(
            row, blocked_by=(*blocked.get(row.flow, FLOW_GONE), *shrunk.get(row.flow, ())), is_batch=row.flow in batches
        )
        if row.why.kind in DEPEND
        else row
        for row in _with_gone(source, facts, rows)
    ]


def explain_table(subject: str, databases: Path, root: Path) -> list[Explanation] | None:
    """Whose rows stand in the table of a database: a row for each record, the newest first; None where `subject` names no database.

    Sources are as seen from the workspace's `root`.

    Raises:
        FlowValidationError: no such table, or the database is in use by a program that writes it.
    """
    meant = table_meant(databases, subject)
    if meant is None:
        return None
    rows = [Explanation(flow, source, why) for flow, source, why in rows_recorded(*meant, root)]
    more = [Explanation("", None, More(len(rows) - MOST_ROWS, by=""))] if len(rows) > MOST_ROWS else []
    return [*rows[:MOST_ROWS], *more]


def _with_gone(source: FactSource, facts: WorkspaceFacts, rows: list[Explanation]) -> list[Explanation]:
    """Add the outputs that are gone: of its run to each row that is done, of the last run to a flow that reads no folder."""
    last = {flow.entry.name: flow.last_run for flow in facts.flows}

    def run_of(row: Explanation) -> str | None:
        if isinstance(row.why, Done):
            return row.why.run_id
        run = last.get(row.flow) if isinstance(row.why, (ByHand, NotYet)) and row.source is None else None
        return run.run_id if run is not None and run.status == "success" else None

    runs = {number: run_id for number, row in enumerate(rows) if (run_id := run_of(row)) is not None}
    home, run_ids = source.home, list(dict.fromkeys(runs.values()))
    written = outputs_here(home.ledger(), home.layout, run_ids) if run_ids else {}
    gone = gone_outputs(written, workspace=facts.workspace_root)
    return [replace(row, gone=gone.get(runs.get(number, ""), ())) for number, row in enumerate(rows)] if gone else rows


def _explained(source: FactSource, facts: WorkspaceFacts, subject: str, file: str) -> list[Explanation]:
    flow = flow_meant(facts, subject, file)
    if flow is not None:
        subject = flow.entry.name
        edit = flow.deployment_status
        back = edit.rolled_back_to, edit.rolled_back_utc
        edited = Edited(edit.cells, edit.error, edit.helpers, edit.shares_with, *back)
        rows = [Explanation(subject, None, edited)] if edit.is_edited else []
        if edit.kind == "gone":
            rows = [Explanation(subject, None, ModuleGone(edit.file, edit.renamed_to, edit.moved_to))]
        requests = [request for request in facts.requests if request.flow == subject and request.state != "answered"]
        rows += [Explanation(subject, None, Requested(request.text)) for request in requests]
        rows += _with_writers(source, flow, _with_runs(facts, _of_flow(source, facts, flow)))
        is_running = any(run.flow == subject for run in facts.active)
        rows += _of_last_run(flow, is_running=is_running)
        rows += [Explanation(subject, None, why) for why in flow.changed]
        rows += _of_passed_slots(source, flow, is_busy=is_running or flow.waiting is not None)
        expected = flow_status(facts, flow).expected
        return rows if expected is None else [*rows, Explanation(subject, None, expected)]
    rows = _of_file(source, facts, Path(file), subject)
    for path in () if rows else source.home.ledger().sources_called(subject, file):
        rows += _of_file(source, facts, Path(path), path)
    rows += _of_output(source, facts, subject, file, by_name=not rows)
    rows += _of_reference(source, facts, subject, file)
    if not rows and (ended := undeployed(history_of(source.home), subject)) is not None:
        rows = [Explanation(subject, None, ended)]
    if not rows:
        raise why_no_flow(facts, subject, file) or _nothing_to_explain(subject, facts)
    return rows


def _of_file(source: FactSource, facts: WorkspaceFacts, path: Path, subject: str) -> list[Explanation]:
    """The rows of each flow whose source contains the file."""
    rows = []
    for flow, file, inside, why in flows_of_file(facts, path, named=subject):
        if why is not None:
            rows.append(Explanation(flow.entry.name, str(file), why))
        else:
            rows += _with_writers(source, flow, _with_runs(facts, _of_flow(source, facts, flow, inside or None)))
    return rows


def _of_output(
    source: FactSource, facts: WorkspaceFacts, subject: str, file: str, *, by_name: bool
) -> Iterator[Explanation]:
    """The runs that wrote the file last, and their sources that have changed since."""
    for name, of, why in last_written(
        source.home.ledger(), subject, file, workspace=facts.workspace_root, by_name=by_name
    ):
        yield Explanation(name, of, why)
        for row in [] if of is None else _of_file(source, facts, Path(of), of):
            if row.flow == name and isinstance(row.why, _SINCE):
                yield row


def _of_reference(source: FactSource, facts: WorkspaceFacts, subject: str, file: str) -> Iterator[Explanation]:
    """The outputs that were made before the file, a reference, changed, a row each; else how many were made with it as it is."""
    flows = [flow.entry.flow for flow in facts.flows if flow.entry.flow is not None]
    references = References(source.home.ledger(), source.home.layout)
    references.outdated(flows)
    read, ending = references.read_by(), f"{os.sep}{os.path.normpath(subject)}"
    for path in [file] if file in read else [path for path in read if path.endswith(ending)]:
        if (seen := within_the_limit(partial(references.changed, path), None)) is not None:
            references.take(seen)
        rows = outdated_there(references.outdated(flows), flows)
        bad = [
            Explanation(
                run.flow,
                run.source,
                Outdated(
                    path,
                    1,
                    now.change,
                    False,
                    run.run_id,
                    run.finished_at_utc,
                    output,
                ),
            )
            for row in rows
            for run, now in ((row.run, now) for now in row.references if now.path == path)
            for output in row.outputs or (None,)
        ]
        yield from bad[:MOST_ROWS]
        if len(bad) > MOST_ROWS:
            yield Explanation("", None, More(len(bad) - MOST_ROWS, by="its flow"))
        changed = references_changed(rows, flows)
        for flow, count in sorted(read[path].items()):
            why = next((why for why in changed.get(flow, ()) if why.path == path), Outdated(path, count, "as_read"))
            yield Explanation(flow, None, why)


def _of_last_run(flow: FlowFacts, *, is_running: bool) -> Iterator[Explanation]:
    """Rows for a last run that failed, or has warnings."""
    name, run = flow.entry.name, flow.last_run
    if flow.failed is not None and run is not None and not is_running:
        yield Explanation(name, None, flow.failed, cause=run.why)
    if flow.warned is not None:
        yield Explanation(name, None, flow.warned)


def _of_passed_slots(source: FactSource, flow: FlowFacts, *, is_busy: bool) -> Iterator[Explanation]:
    """A row for the slots of a deployed schedule that passed without a run."""
    trigger = None if flow.entry.flow is None else flow.entry.flow.trigger
    if isinstance(trigger, Schedule) and flow.deployment_status.kind != "not_deployed":
        name, now_s = flow.entry.name, time.time()
        served = source.home.ledger().slots(name, utc_text(now_s - LOOK_BACK_S))
        passed = passed_slots(trigger, served, timezone=flow.timezone, now_s=now_s, is_busy=is_busy)
        if passed is not None:
            yield Explanation(name, None, passed)


def ways(rows: Sequence[Explanation]) -> list[str]:
    """The remedies for these rows, one line for each reason, also where several sources share it.

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
    lines = []
    for (flow, kind, _), some in alike.items():
        way = some[0].fix if len({row.source for row in some}) == 1 else replace(some[0], source=None).fix
        names = [os.path.basename(row.source) for row in some if row.source is not None and kinds[flow, kind] > 1]
        of = f" ({first_few(names, _FEW)})" if names else ""
        lines.append(f"{word_of(some[0].why)}{of}: {way}")
    return list(dict.fromkeys(lines))


def _mend(row: Explanation) -> str | None:
    """The fix of the error that holds the source."""
    return None if row.cause is None else row.cause.get("fix")


def _of_flow(source: FactSource, facts: WorkspaceFacts, flow: FlowFacts, path: str | None = None) -> list[Explanation]:
    """The rows of each source of the flow, of the one at `path` in its folder, or of the flow as a whole."""
    entry = flow.entry
    if entry.flow is None:
        error = entry.error or FlowValidationError("unknown")
        return [Explanation(entry.name, None, Broken(error.what, error.where, error.fix))]
    watch = PlannedFlow.of(entry.flow)
    under_way: dict[str | None, Reason] = {
        run.source: Stopping(run.run_id) if run.stopping else Running(run.run_id, None if run.in_daemon else run.pid)
        for run in facts.active
        if run.flow == entry.name
    }
    blocked = what_blocks(facts, flow)
    if isinstance(watch.trigger, Poll):
        poller = source.poller(entry.name) if blocked is None else look_now(source, watch)
        if poller is not None:
            return _of_folder(source, watch, poller, path, blocked=blocked, waiting=flow.waiting, under_way=under_way)
    elif isinstance(blocked, NotDeployed) and not under_way:
        return [Explanation(entry.name, None, blocked)]
    if path is not None and watch.trigger.source is not None:
        return _of_one_file(source, facts, flow, watch, blocked, path, under_way)
    reasons = _as_a_whole(flow, watch, blocked, list(under_way.values()))
    zone = None if flow.next_run_utc is None else flow.tz
    in_zone = [replace(why, tz=flow.tz) if isinstance(why, NotYet) else why for why in reasons]
    return [Explanation(entry.name, None, why, flow.next_run_utc, tz=zone) for why in in_zone]


def _of_one_file(
    source: FactSource,
    facts: WorkspaceFacts,
    flow: FlowFacts,
    watch: PlannedFlow,
    blocked: Reason | None,
    path: str,
    under_way: Mapping[str | None, Reason],
) -> list[Explanation]:
    """The rows of the file at `path` alone, for a flow that scans no folder."""
    name, root = flow.entry.name, watch.trigger.source
    assert root is not None
    file = str(root / path)
    if not any(run.source == file for queue in facts.waiting if queue.flow == name for run in queue.runs):
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
    """The reasons of a flow that has no sources, or whose sources nobody scans."""
    reasons: list[Reason | None]
    if under_way or flow.waiting is not None:
        reasons = [*under_way, flow.waiting]
    else:
        reasons = [by_hand(flow.switch) if watch.trigger.mode == "manual" else blocked or flow.why]
    return [reason for reason in reasons if reason is not None] or [NotLookedAt()]


def what_blocks(facts: WorkspaceFacts, flow: FlowFacts) -> Reason | None:
    """The reason that keeps the whole flow from running by itself; None without one."""
    status = flow.deployment_status
    if status.kind == "not_deployed" and (facts.elsewhere is None or facts.is_all_known):
        return NotDeployed(flow.entry.name, status.error, status.goes_live_s, status.shares_with)
    return why_blocked(flow.switch, is_engine_on=facts.engine.on is True, unasked=facts.unasked)


def reason_now(
    why: Reason, *, under_way: Reason | None, blocked: Reason | None = None, waiting: Reason | None = None
) -> Reason:
    """Why a source does or does not run now, from the reason `why` of its verdict.

    `under_way` is the reason of its run under way, `blocked` the one that keeps its whole flow from running, `waiting` why work
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


def look_now(source: FactSource, watch: PlannedFlow, sources: KnownSources | None = None) -> FolderPoller:
    """Scan the flow's folder now; starts and retries nothing. `sources` is what is known of them, by default as of now."""
    memory = sources or source.memory(watch.flow)
    poller = FolderPoller(
        watch, read=lambda: memory, rules=replace(SourceRules.of(source.home.settings_shown()), retries=0)
    )
    poller.poll()
    while poller.is_scanning:
        poller.poll()
    return poller


def _with_runs(facts: WorkspaceFacts, rows: list[Explanation]) -> list[Explanation]:
    """Add to each row of a run that is under way or waits its id, by which it can be stopped alone."""
    waiting: dict[tuple[str, str | None], str] = {}
    for queue in facts.waiting:
        for run in queue.runs:
            waiting.setdefault((queue.flow, run.source), run.run_id)
            waiting.setdefault((queue.flow, None), run.run_id)

    def run_of(row: Explanation) -> str | None:
        if isinstance(row.why, (Running, Stopping)) and row.why.run_id is not None:
            return row.why.run_id
        return waiting.get((row.flow, row.source)) if isinstance(row.why, (Running, *get_args(Waiting))) else None

    return [row if (run_id := run_of(row)) is None else replace(row, run_id=run_id) for row in rows]


def _with_writers(source: FactSource, flow: FlowFacts, rows: list[Explanation]) -> list[Explanation]:
    """Add to the row of each source the newer run with other params or with code that was not deployed, if any."""
    planned = flow.entry.flow
    written = {} if planned is None else written_with_params(source.home.ledger(), flow.entry.name)
    if planned is None or not written:
        return rows
    from data_engine.engine.params import is_of_production

    runs = {key: run for key, run in written.items() if not is_of_production(planned, run)}
    writers = _newest_writers(source, flow, planned, runs)
    return [
        replace(row, written_by=writer.run_id, written_with=with_text(writer))
        if (writer := writers.get(row.source)) is not None
        else row
        for row in rows
    ]


def _newest_writers(
    source: FactSource, flow: FlowFacts, planned: Flow, runs: Mapping[str | None, Run]
) -> dict[str | None, Run]:
    """The `runs` with other params or code (by path in the source) that are newer than production's, by source."""
    trigger = planned.trigger
    if not isinstance(trigger, Poll):
        newest = newest_writer(source.home.ledger(), flow.entry.name)
        run_ids = {run.run_id for run in runs.values()}
        return {None: newest} if newest is not None and newest.run_id in run_ids else {}
    states = source.memory(flow.entry.name).states
    writers: dict[str | None, Run] = {}
    for key, run in runs.items():
        state = states.get(SourceKey(trigger.source_as_authored or "", key or ""))
        newest_utc = (None if state is None else state.success_at_utc) or ""
        if (run.finished_at_utc or "") > newest_utc:
            writers[str(trigger.source / key) if trigger.source is not None and key else str(trigger.source)] = run
    return writers


def _of_folder(
    source: FactSource,
    watch: PlannedFlow,
    poller: FolderPoller,
    path: str | None,
    *,
    blocked: Reason | None,
    waiting: Reason | None,
    under_way: Mapping[str | None, Reason],
) -> list[Explanation]:
    """The verdict on each source in the folder. `blocked` says why the flow does not run by itself, else how often the engine scans is
    added; `waiting` is why work that could start does not."""
    each = blocked.in_short if path is None and isinstance(blocked, NotDeployed) else blocked
    behind = waiting or (WaitingForOwnRun() if under_way else None)

    def why_of(name: str, verdict: Verdict) -> Reason:
        return reason_now(verdict.why, under_way=under_way.get(name), blocked=each, waiting=behind)

    rows = _rows(source, poller, path, why_of)
    if path is not None:
        return rows
    if blocked is not None:
        return [Explanation(watch.flow, None, blocked), *rows]
    if poller.unreachable is None:
        next_utc = utc_text(time.time() + max(0.0, poller.next_scan_s - boot_clock()))
        rows.append(Explanation(watch.flow, None, poller.looks, next_utc))
    return rows


def _rows(
    source: FactSource, poller: FolderPoller, path: str | None, why_of: Callable[[str, Verdict], Reason]
) -> list[Explanation]:
    flow, root = poller.planned.flow, poller.root
    verdicts = list(poller.verdicts(path))
    if not verdicts:
        nothing = NoFiles() if path is None else poller.why_not_there(path)
        return [Explanation(flow, str(root / (path or "")), nothing)]
    # first what somebody may wait for, then by path
    verdicts.sort(
        key=lambda verdict: (isinstance(verdict.why, (Done, OwnOutput)), verdict.key.path if verdict.key else "")
    )
    causes: Mapping[str, Cause] = {}
    if any(isinstance(verdict.why, (Held, RetryLater)) for verdict in verdicts[:MOST_ROWS]):
        causes = source.home.ledger().causes(*names_of(source.home.ledger(), flow))
    rows = []
    for verdict in verdicts[:MOST_ROWS]:
        name = str(root / verdict.key.path) if verdict.key is not None and verdict.key.path else str(root)
        why = why_of(name, verdict)
        cause = causes.get(why.run_id or "") if isinstance(why, (Held, RetryLater)) else None
        is_owed = isinstance(verdict.why, WOULD_RUN) and not isinstance(why, (Running, Stopping, Interrupted))
        lost = abandoned(poller.state(verdict.key.path)) if is_owed and verdict.key is not None else None
        rows.append(Explanation(flow, name, why, cause=cause, abandoned=lost))
    if len(verdicts) > MOST_ROWS:
        rows.append(Explanation(flow, None, More(len(verdicts) - MOST_ROWS)))
    return rows


def _nothing_to_explain(subject: str, facts: WorkspaceFacts) -> FlowValidationError:
    flows = sorted(flow.entry.name for flow in facts.flows)
    listings = (names_there(flow.entry.flow) for flow in facts.flows if flow.entry.flow is not None and "." in subject)
    near = nearest_files(subject, (path for paths in listings for path in paths))
    begin = f"did you mean {as_typed(near[0])}? Else " if near else near_offer(subject, flows)
    return FlowValidationError(
        f"{subject!r} is neither a flow nor a file of any flow's source, nor an output of a run",
        where="explain",
        fix=f"{begin}name a flow ({', '.join(flows) or 'none'}), a path under a source folder, an output, or a table as in w.duckdb:sales",
    )


_SUFFIXES = (".ipynb", ".py")


def flow_meant(facts: WorkspaceFacts, subject: str, file: str) -> FlowFacts | None:
    """The flow named `subject`, or the one whose module is the file at `file` or has the file name `subject`."""
    flow = facts.flow(subject)
    if flow is not None:
        return flow
    path = _module(facts, subject, file)
    return None if path is None else facts.flow(path.stem)


def why_no_flow(facts: WorkspaceFacts, subject: str, file: str) -> FlowValidationError | None:
    """The error for a file in `flow_modules` that is not a flow; None for any other."""
    path = _module(facts, subject, file)
    if path is None:
        return None
    fix = how_to_be_a_flow("it", path, is_scratch=SCRATCH_NAME.fullmatch(path.stem) is not None)
    return FlowValidationError(f"{path.name} is not a flow, so nothing runs it", where=str(path), fix=fix)


def flows_of_file(
    facts: WorkspaceFacts, path: Path, *, named: str
) -> Iterator[tuple[FlowFacts, Path, str, NameFiltered | NotListed | OwnOutput | None]]:
    """The flows whose source contains the file, each with the file, its path inside, and why its name rules it out, if so.

    The file is at the absolute `path`, or `named` by its path inside the source.
    """
    for flow in sorted(facts.flows, key=lambda flow: flow.entry.name):
        watch = None if flow.entry.flow is None else PlannedFlow.of(flow.entry.flow)
        source = None if watch is None else watch.trigger.source
        if watch is None or source is None:
            continue
        file = path if path.is_relative_to(source) else Path(os.path.normpath(source / named))
        if file.is_relative_to(source) and (file == path or (file != source and file.exists())):
            inside = "" if file == source else file.relative_to(source).as_posix()
            yield flow, file, inside, why_no_candidate(watch, inside) if inside else None


def _module(facts: WorkspaceFacts, subject: str, file: str) -> Path | None:
    folder = WorkspaceLayout(Path(facts.workspace_root)).flow_modules_dir
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
    """The slots of the last `LOOK_BACK_S` that no run has served or will serve; None without any.

    With `catch_up="none"` these are all, with "latest" those before the newest that a run served. `served` are the slots in the
    ledger, each with its run; one without a run that is no time of this schedule is when the schedule was first seen, and nothing
    before it counts. While the flow `is_busy` the newest may still get its run.

    Example:
        >>> from data_engine.flow.flow import Flow
        >>> daily = Flow("A").watch(mode="schedule", time="07:00", catch_up="none", tz="UTC").trigger
        >>> served = [("2026-01-05T12:00:00.000000+00:00", ""), ("2026-01-06T07:00:00.000000+00:00", "r1")]
        >>> now_s = datetime.fromisoformat("2026-01-09T08:00+00:00").timestamp()
        >>> passed_slots(daily, served, timezone=None, now_s=now_s).text.partition(" (")[0]
        '3 slots since 2026-01-07 passed without a run, the last of them 2026-01-09 07:00:00 UTC'
    """
    if trigger.interval_seconds is not None or trigger.catch_up == "all" or not served:
        return None
    name = trigger.tz or timezone
    runs = {datetime.fromisoformat(slot_utc).timestamp(): run_id for slot_utc, run_id in served}
    slots = _newest(slots_of(trigger, timezone), max(now_s - LOOK_BACK_S, min(runs)), now_s - _MAY_BEGIN_S)
    times = set(slots)
    floor_s = max((at_s for at_s, run_id in runs.items() if not run_id and at_s not in times), default=0.0)
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
    """The slots between these times, in order; of very many only those of the newest days."""
    slots: list[float] = []
    while until_s > after_s and len(slots) < _MOST:
        begin_s = max(after_s, until_s - _DAY_S)
        slots = [*rule.between(begin_s, until_s), *slots]
        until_s = begin_s
    return slots


_WHEN = {
    EngineOff.kind: "it runs again as soon as the engine is on",
    Disabled.kind: "it runs again as soon as the flow is enabled",
    NotDeployed.kind: "it runs again as soon as the flow is deployed",
}


def abandoned(state: SourceState | None) -> Interrupted | None:
    """The abandoned last run of a source that runs again; None also after two, which hold the source."""
    if state is None or state.status != "abandoned" or holds(state):
        return None
    return Interrupted(state.last_run_id, (state.error or "").partition("\n")[0] or None)
