"""Runs, contexts, batches, status, reasons and errors as cards: plain values in, plain values out."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.files import file_exists
from data_engine.flow.batch import Batch, FileRef, ItemError
from data_engine.flow.context import FlowContext
from data_engine.formatting import beginning, duration_words, local_time, plural, zoned_words
from data_engine.lease.status import FETCHED_BY, NOT_ALL_HERE
from data_engine.ledger.logs import warned_words
from data_engine.marks import Mark, mark_of
from data_engine.model import Backfill, Deployment, LogEntry, Run, StepRun
from data_engine.notebook.catalog import CatalogEntry
from data_engine.reasons.kinds import DaemonSilent
from data_engine.reasons.remedies import SILENT_FIX
from data_engine.status.explain import Explanation, ways
from data_engine.status.record import FlowStatus, WorkspaceStatus
from data_engine.status.run_comparison import Comparison
from data_engine.status.runs import rejected_words, rows_words, slot_words, started, with_words
from data_engine.status.sentences import (
    GOES_ON,
    GONE,
    first_line,
    held_words,
    is_source_gone,
    none_named_words,
    reason_of,
    short_error,
    short_reason,
    told_once,
    undelivered_words,
)
from jupyter_extension.card import MOST_ROWS, Card, Cell, Code, Faint, Lines, Link, Note, Pairs, Part, Picture, table
from jupyter_extension.timeline import outcome_words, runs_picture, steps_picture

_MOST_ERRORS = 3


def runs_card(runs: Sequence[Run], *, now_s: float, zone: tzinfo | None = None) -> Card:
    """Runs by time and as a table, in the order given; what failed with its whole error, folded.

    Runs from the future are in the table only.
    """
    rows = [
        (
            mark_of(run.status),
            run.flow,
            _file(run.source) or slot_words(run, run.tz),
            started(run) if run.from_the_future else _without_year(run.started_at_utc),
            duration_words(run.elapsed_s),
            with_words(run),
            Code(run.run_id[:8], run.run_id),
            _log_mark(run.warnings, rejected_words(run)),
            short_error(run.error or run.cause, run.why),
        )
        for run in runs[:MOST_ROWS]
    ]
    columns = ("Status", "Flow", "Source", "Started", "Time", "Params", "Run", "Log", "Why")
    timely = [run for run in runs if not run.from_the_future]
    parts: list[Part] = [Picture(runs_picture(timely, now_s=now_s, zone=zone))] if len(timely) > 1 else []
    parts.append(table(columns, rows, right=("Time",), total=len(runs)))
    failed = [run for run in runs if run.error and "\n" in run.error]
    for run in failed[:_MOST_ERRORS]:
        summary = f"error of run {run.run_id[:8]}" if len(runs) > 1 else ""
        parts.append(Lines(tuple((run.error or "").splitlines()), summary))
    return Card(plural(len(runs), "run"), (outcome_words(runs),), tuple(parts))


def _log_mark(warnings: int | None, rejected: str) -> Cell:
    words = ", ".join(filter(None, [rejected, warned_words(warnings or 0)]))
    return Mark(words, "warn", "triangle") if words else ""


def backfill_card(backfill: Backfill) -> Card:
    """One backfill: its progress, and the planned runs or those that did not succeed."""
    bad = [run for run in backfill.runs if run.status not in ("success", "started")]
    facts: tuple[Cell, ...] = (backfill.text, Code(backfill.id[:8], backfill.id)) if backfill.id else (backfill.text,)
    if (none := none_named_words(backfill)) is not None:
        return Card(f"{backfill.flow}: backfill", facts, (Note(Mark(none, "warn", "triangle")),))
    if bad or not backfill.planned:
        rows = [
            (
                mark_of(run.status),
                zoned_words(run.scheduled_for, backfill.tz),
                _file(run.source),
                Code(run.run_id[:8], run.run_id),
                short_error(run.error or run.cause, run.why),
            )
            for run in bad[:MOST_ROWS]
        ]
        parts = (table(("Status", "Slot", "Source", "Run", "Why"), rows, total=len(bad)),) if bad else ()
        return Card(f"{backfill.flow}: backfill", facts, parts)
    runs, zone = backfill.planned, backfill.tz
    slots = [(zoned_words(run.scheduled_for, zone), Code(run.source or "")) for run in runs[:MOST_ROWS]]
    return Card(f"{backfill.flow}: backfill", facts, (table(("Slot", "Source"), slots, total=len(runs)),))


def backfills_card(backfills: Sequence[Backfill]) -> Card:
    """Backfills with their progress, the newest first."""
    rows = [
        (Code(entry.id[:8], entry.id), entry.flow, entry.by, local_time(entry.at_utc), entry.text)
        for entry in backfills[:MOST_ROWS]
    ]
    columns = ("Backfill", "Flow", "Asked by", "At", "Progress")
    return Card(plural(len(backfills), "backfill"), (), (table(columns, rows, total=len(backfills)),))


def steps_card(steps: Sequence[StepRun], *, now_s: float) -> Card:
    """The steps of one run by time, with their outputs and errors."""
    rows = [
        (
            mark_of(step.status),
            step.label,
            duration_words(step.elapsed_s),
            rows_words(step),
            _file(step.output_path),
            short_error(step.error, step.why),
        )
        for step in steps
    ]
    columns = ("Status", "Step", "Time", "Rows", "Output", "Error")
    picture = Picture(steps_picture(steps, now_s=now_s))
    facts = (Code(steps[0].run_id[:8], steps[0].run_id),) if steps else ()
    return Card(plural(len(steps), "step"), facts, (picture, table(columns, rows, right=("Time", "Rows"))))


def comparison_card(comparison: Comparison) -> Card:
    """What differs between two runs; differences in code with their lines, folded."""
    rows = [(kind, Code(words.partition("\n")[0])) for kind, words in comparison.lines()]
    parts: list[Part] = (
        [table(("What", "Difference"), rows)] if rows else [Note(Mark("nothing differs", "good", "disc"))]
    )
    parts += [Lines(part.lines, part.name) for part in comparison.code[:_MOST_ERRORS]]
    return Card(f"{comparison.flow}: {comparison.run_a[:8]} → {comparison.run_b[:8]}", (), tuple(parts))


def log_card(lines: Sequence[LogEntry]) -> Card:
    """What a run printed and logged; the last lines when there are many."""
    most = 5 * MOST_ROWS
    rows = [
        (local_time(line.created_at_utc), Faint(line.step or ""), _level(line.level), Code(line.message))
        for line in lines[-most:]
    ]
    facts = (f"the last {most}",) if len(lines) > most else ()
    return Card(plural(len(lines), "log line"), facts, (table(("Time", "Step", "Level", "Message"), rows),))


def contexts_card(contexts: Sequence[FlowContext]) -> Card:
    """What `run_once()` returned: for each source its outcome, its last result, and what it saved and wrote."""
    rows = [_context_row(context) for context in contexts[:MOST_ROWS]]
    columns = ("Status", "Source", "Current", "Objects", "Wrote", "Log", "Error")
    failed = sum(context.error is not None for context in contexts)
    facts = (f"{failed} failed",) if failed else ()
    names = dict.fromkeys(context.flow_name for context in contexts)
    title = f"{', '.join(names)}: {plural(len(contexts), 'run')}"
    return Card(title, facts, (table(columns, rows, total=len(contexts)),))


def context_card(context: FlowContext) -> Card:
    """The card of one context."""
    return contexts_card([context])


def _context_row(context: FlowContext) -> tuple[Cell, ...]:
    from data_engine.flow.steps import outputs_of

    status = "success" if context.error is None else "failed" if isinstance(context.error, ValueError) else "stopped"
    source = context.source
    wrote = [path for value in (context.metadata.get("step_outputs") or {}).values() for path in outputs_of(value)]
    more = f" and {len(wrote) - 1} more" if len(wrote) > 1 else ""
    return (
        mark_of(status),
        _file(None if source is None else str(source.path or source.root)),
        _item(context.current) if context.error is None else "",
        Code(", ".join(context.objects)),
        Code(f"{Path(wrote[0]).name}{more}", "\n".join(wrote[:MOST_ROWS])) if wrote else "",
        _log_mark(context.warnings, "; ".join(check.words for check in context.control.checked if check.rejected)),
        "" if context.error is None else first_line(str(context.error)),
    )


def batch_card(batch: Batch[Any]) -> Card:
    """The first items of a batch; an item that failed with its error."""
    failed = sum(isinstance(item, ItemError) for item in batch)
    rows: list[tuple[Cell, ...]] = []
    for number, item in enumerate(batch.items[:MOST_ROWS], start=1):
        if isinstance(item, ItemError):
            error = f"{type(item.error).__name__}: {first_line(str(item.error))}"
            rows.append((Faint(str(number)), _item(item.item), "", Mark(error, "bad", "cross")))
        elif isinstance(item, (FileRef, Path)):
            rows.append((Faint(str(number)), _item(item), Faint(str(item.parent)), ""))
        else:
            rows.append((Faint(str(number)), _item(item), "", ""))
    facts = (Mark(f"{failed} failed", "bad", "cross"),) if failed else ()
    shown = table(("#", "Item", "Folder", "Error"), rows, right=("#",), total=len(batch))
    return Card(f"Batch of {plural(len(batch), 'item')}", facts, (shown,) if rows else ())


def _item(item: object) -> Cell:
    return _file(str(item)) if isinstance(item, (FileRef, Path)) else Code(short_text(item))


def status_card(status: WorkspaceStatus) -> Card:
    """A workspace's status: daemon, engine, lease, each flow, and the active runs."""
    daemon, engine, lease = status.daemon, status.engine, status.lease
    facts: list[Cell] = [*_daemon_marks(status)]
    if lease.state not in ("available", "mine"):
        facts.append(Mark(lease.line, "warn", "triangle"))
    rows = [_flow_row(flow) for flow in status.flows[: 5 * MOST_ROWS]]
    columns = ("Flow", "Group", "State", "Next run", "Last run", "", "Note")
    parts: list[Part] = [table(columns, rows, total=len(status.flows))] if rows else []
    if daemon.silent:
        parts.insert(0, Note(Mark("this was read without the daemon", "warn", "triangle"), SILENT_FIX))
    if engine.goes_on:
        parts.insert(0, Note(Mark(GOES_ON, "warn", "triangle"), "%flow start"))
    if lease.is_behind:
        parts.insert(0, Note(Mark(NOT_ALL_HERE, "warn", "triangle"), FETCHED_BY))
    if status.trouble is not None:
        parts.insert(0, Note(Mark(status.trouble.what, "bad", "cross"), status.trouble.fix or ""))
    parts += [_warning(warning) for warning in status.warnings]
    parts += [
        _warning(undelivered_words(alert, local_time, n)) for alert, n in told_once(status.undelivered)[:MOST_ROWS]
    ]
    if status.active_runs:
        active = [
            (
                Mark(run.flow, "warn", "square") if run.stopping else Mark(run.flow, "live", "play"),
                _file(run.source),
                ", ".join(filter(None, ["stopping" if run.stopping else "", run.step])),
                local_time(run.started_at_utc),
                Code(run.run_id[:8], run.run_id),
            )
            for run in status.active_runs[:MOST_ROWS]
        ]
        parts.append(table(("Running", "Source", "Step", "Since", "Run"), active, total=len(status.active_runs)))
    if status.waiting_runs:
        waiting = [
            (
                Mark(group.flow, "live", "half"),
                f"{group.count:,}",
                _file(group.source),
                group.reason,
                Code(group.runs[0].run_id[:8], group.runs[0].run_id) if group.runs else "",
            )
            for group in status.waiting_runs[:MOST_ROWS]
        ]
        parts.append(
            table(("Waiting", "Runs", "Next source", "Why", "Next run"), waiting, total=len(status.waiting_runs))
        )
    return Card(status.workspace_id, (Code(status.workspace_root), *facts), tuple(parts))


def _daemon_marks(status: WorkspaceStatus) -> tuple[Mark, Mark]:
    """The marks of the engine and of its daemon."""
    daemon, engine = status.daemon, status.engine
    if daemon.silent:
        return Mark("engine not known"), Mark(DaemonSilent(daemon.pid).text, "warn", "triangle")
    on = Mark("engine on", "good", "disc") if engine.on else Mark("engine off")
    if engine.stopping:
        on = Mark("engine stopping", "warn", "square")
    return on, Mark(f"daemon runs, pid {daemon.pid}", "good", "disc") if daemon.running else Mark("daemon not running")


def _flow_row(flow: FlowStatus) -> tuple[Cell, ...]:
    last, why = flow.last_run, flow.why
    held = held_words(flow.name, flow.held, None if why is None else why.kind)
    warned = None if flow.warned is None else flow.warned.text
    edit = None if flow.edit is None else flow.edit.replace("\n", "; ")
    expected = None if flow.expected is None else flow.expected.text
    gone = f"of its last run: {GONE}" if is_source_gone(flow, file_exists) else None
    return (
        flow.name,
        Faint(flow.group or ""),
        replace(flow.mark, word=flow.state_text),
        _next_run(flow),
        mark_of(last.status) if last else "",
        Faint(_without_year(last.started_at_utc)[: len("01-05 06:30")]) if last else "",
        "; ".join(filter(None, [warned, gone, first_line(reason_of(flow)), held, edit, expected])),
    )


def deployments_card(deployments: Sequence[Deployment]) -> Card:
    """What production runs and ran, a line for each deployment, in the order given."""
    from data_engine.status.deployed_before import deployment_cells

    rows: list[tuple[str | Code, ...]] = [
        (Code(row.id[:8], row.id), *deployment_cells(row)) for row in deployments[:MOST_ROWS]
    ]
    columns = ("Id", "Flow", "When", "Who", "What", "Changed", "Git", "Compared", "Note")
    return Card(plural(len(deployments), "deployment"), (), (table(columns, rows, total=len(deployments)),))


def reasons_card(reasons: Sequence[Explanation]) -> Card:
    """What `explain` says, a line for each candidate or tick."""
    rows = [
        (reason.flow, _file(reason.source), reason.why.mark(short_reason(reason.why, reason.cause)))
        for reason in reasons[: 5 * MOST_ROWS]
    ]
    shown = table(("Flow", "Source", "Reason"), rows, total=len(reasons))
    changes = Pairs(tuple((kind, way) for kind, _, way in (line.partition(": ") for line in ways(reasons))))
    return Card("Why it runs, or does not", (), (shown, changes))


def entries_card(entries: Sequence[CatalogEntry], deployment: Mapping[str, str]) -> Card:
    """Flow modules with their state in production, and the errors of broken ones."""
    rows = [
        (
            mark_of("good" if entry.error is None else "broken"),
            Code(entry.path.name, str(entry.path)),
            Faint(entry.group or ""),
            deployment.get(entry.name, ""),
            first_line("" if entry.error is None else entry.error.what),
        )
        for entry in entries
    ]
    parts: list[Part] = [table(("Module", "File", "Group", "Production", "Error"), rows)] if rows else []
    warnings: set[str] = set()
    for entry in entries:
        parts += [_warning(warning) for warning in entry.warnings if warning not in warnings]
        warnings.update(entry.warnings)
        if entry.error is not None:
            parts.append(Pairs(_places(entry.error)))
    if len(rows) == 1 and entries[0].error is None:
        return Card(entries[0].path.name, (deployment.get(entries[0].name, ""),), tuple(parts[1:]))
    return Card(plural(len(entries), "flow module"), (), tuple(parts))


def error_card(error: FlowValidationError, href: str | None = None) -> Card:
    """What is wrong, where and the fix; `href` leads to its cell."""
    parts: list[Part] = [Pairs(_places(error, href))]
    if error.trace:
        parts.append(Lines(error.trace, "how it got there"))
    return Card(error.what, (Faint(type(error).__name__),), tuple(parts), tone="bad")


def _places(error: FlowValidationError, href: str | None = None) -> tuple[tuple[str, Cell], ...]:
    where: Cell = Code(error.where or "")
    line: Cell = ""
    if isinstance(error, FlowExecutionError) and error.cell:
        where = Link(error.cell, href) if href else Code(error.cell)
        line = Code((error.source_line or "").strip())
    return (("where", where), ("line", line), ("fix", error.fix or ""))


def _warning(warning: object, fix: str | None = None) -> Note:
    return Note(Mark(str(warning), "warn", "triangle"), fix or "")


def _level(level: str) -> Cell:
    tones = {"WARNING": Mark("warning", "warn", "triangle"), "ERROR": Mark("error", "bad", "cross")}
    return tones.get(level, Faint(level.lower()))


def _file(path: str | None) -> Cell:
    """The name of a file, its whole path as the tip."""
    return "" if path is None else Code(path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path, path)


def _without_year(utc: str) -> str:
    return local_time(utc)[len("2026-") :]


def _next_run(flow: FlowStatus) -> str:
    """The next run in the zone of its schedule, without the year and the seconds."""
    day, _, rest = zoned_words(flow.next_run_utc, flow.tz).partition(" ")
    time, _, zone = rest.partition(" ")
    return f"{day[len('2026-') :]} {time[: len('06:30')]} {zone}" if zone else ""


_LIBRARIES = frozenset({"polars", "duckdb", "pyarrow", "pandas", "numpy", "_duckdb"})
"""The text of their values is long, or even runs a query: they are described by type and shape."""


class _Short(reprlib.Repr):
    def repr_instance(self, x: Any, level: int) -> str:
        return _of_object(x)

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x) if len(x) <= self.maxstring else f"{type(x).__name__} of {len(x):,}"

    repr_bytearray = repr_bytes


_ENOUGH = 1_000
"""Characters of a text that are looked at: no more can be among the 80."""

_short = _Short()
_short.maxstring = _short.maxother = 60


def short_text(value: Any) -> str:
    """`value` in at most 80 letters; never raises, whatever the value's own `repr` does.

    Example:
        >>> short_text([1, 2]), short_text(list(range(1000))), short_text(Batch((1, 2, 3)))
        ('[1, 2]', '[0, 1, 2, 3, 4, 5, ...]', 'Batch of 3')
    """
    try:
        text = _of_object(value) if isinstance(value, (Batch, PathLike)) else _short.repr(value)
    except Exception:  # a class that is called list and is none
        text = _of_object(value)
    text = " ".join(text[:_ENOUGH].split())
    return beginning(text, 80)


def _of_object(value: Any) -> str:
    kind = type(value)
    name = kind.__qualname__
    try:
        if kind.__module__.partition(".")[0] in _LIBRARIES:
            return _of_library(name, value)
        if isinstance(value, Batch):
            return f"Batch of {len(value):,}"
        if isinstance(value, PathLike):
            return str(fspath(value))
        return repr(value)
    except Exception:  # a broken repr is the value's, not ours
        return f"<{name}>"


def _of_library(name: str, value: Any) -> str:
    shape = getattr(value, "shape", None) if name not in ("LazyFrame", "DuckDBPyRelation") else None
    if isinstance(shape, tuple) and len(shape) == 2:
        return f"{name}, {plural(shape[0], 'row')} × {plural(shape[1], 'column')}"
    if isinstance(shape, tuple) and len(shape) == 1:
        return f"{name}, {plural(shape[0], 'value')}"
    is_told = name in ("LazyFrame", "DuckDBPyRelation") or (isinstance(shape, tuple) and len(shape) > 0)
    return name if is_told else repr(value)
