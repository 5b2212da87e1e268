"""Backfills: what would run of a range, how far they are, and how they begin, end and go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event
from typing import TYPE_CHECKING, Annotated

from data_engine.commands.fields import help_of
from data_engine.commands.runs import StartBackfill
from data_engine.display_hook import Listing
from data_engine.engine.params import value_text
from data_engine.errors import FlowValidationError
from data_engine.flow.parameters import read_params
from data_engine.formatting import cli_line, local_time, plural, zoned_text
from data_engine.marks import mark_of
from data_engine.model import Backfill
from data_engine.planning.backfill import Reprocess
from data_engine.status.sentences import none_named_text, nothing_text, other_text, range_text, short_error
from data_engine.view.card import MOST_ROWS, Card, Cell, Code, Column, Lines, Part, run_id, table
from data_engine.view.verb import Answer, Option, Params, Place, Subject, Wait, said, was_asked

if TYPE_CHECKING:
    from data_engine.client import Workspace


def backfill(
    place: Place,
    name: Annotated[
        str | None,
        Subject("NAME|ID", "The flow; or with --status, --stop or --retry, the id of a backfill.", "flow or id"),
    ] = None,
    since: Annotated[str | None, Option(f"{help_of(StartBackfill, 'since')[:-1]}: 2013-03-01, 2013-03.", "D")] = None,
    until: Annotated[str | None, Option(help_of(StartBackfill, "until"), "D")] = None,
    where: Annotated[str | None, Option(help_of(StartBackfill, "where"), "GLOB")] = None,
    param: Params = None,
    reprocess: Annotated[
        Reprocess, Option(help_of(StartBackfill, "reprocess"), "failed|missing|outdated|all")
    ] = "failed",
    yes: Annotated[bool, Option("Do not ask.")] = False,
    status: Annotated[bool, Option("Show the progress of all backfills, or of the one with this ID.")] = False,
    stop: Annotated[bool, Option("End the backfill ID: no more of its runs begin.")] = False,
    retry: Annotated[
        bool, Option("Run the failed runs of the backfill ID again, and those that --stop prevented.")
    ] = False,
    wait: Wait = True,
) -> Answer:
    """Run a flow again for a range: its files by their time and name, or the slots of its schedule.

    First it shows exactly what would run, and asks. Then the daemon does the runs, after everything that is due; `--status`
    shows the progress. It goes on after a crash or a hand-over.
    """
    given = [option for option, is_set in (("--status", status), ("--stop", stop), ("--retry", retry)) if is_set]
    if len(given) > 1:
        what = f"{' and '.join(given)} cannot be combined"
        raise FlowValidationError(what, where=cli_line("backfill"), fix="give one")
    ws = place.workspace
    if status:
        return _progress(ws, name)
    if given:
        if name is None:
            fix = f"{cli_line('backfill', *given)} ID; {cli_line('backfill', '--status')} shows their ids"
            raise FlowValidationError("which backfill?", where=cli_line("backfill"), fix=fix)
        return _of(ws.stop_backfill(name, wait) if stop else ws.retry_backfill(name, wait))
    name, params = place.flow_name(name), read_params(param)
    with _daemon_only_if_needed(ws) as needed:
        shown = ws.backfill(name, since, until, where, params, reprocess, dry_run=True)
        assert shown is not None
        if not shown.total or (place.reader == "program" and not yes):
            return _of(shown)
        question = Card(f"Run {'it' if shown.total == 1 else 'these'} now?", (), backfill_card(shown).parts)
        if not place.confirm(question, f"that would be {plural(shown.total, 'run')}", yes=yes):
            return said("Nothing was started.", shown.as_dict(), code=1)
        needed.set()
    return _of(ws.backfill(name, since, until, where, params, reprocess, wait=wait, digest=shown.digest))


def _of(backfill: Backfill | None) -> Answer:
    """The answer of one backfill; None where another workstation was asked."""
    if backfill is None:
        return was_asked()
    return Answer(lambda: backfill_card(backfill), backfill.as_dict, value=backfill)


def _progress(ws: Workspace, which: str | None) -> Answer:
    """The backfill of this id; else all, or those of a flow."""
    if which is not None and not any(flow.name == which for flow in ws.status().flows):
        return _of(ws.backfill_status(which))
    entries = ws.backfills(which)
    return Answer(
        lambda: backfills_card(entries) if entries else Card("No backfills."),
        lambda: [entry.as_dict() for entry in entries],
        value=Listing(entries) or None,
    )


@contextmanager
def _daemon_only_if_needed(ws: Workspace) -> Iterator[Event]:
    """End the daemon that the block starts to look, unless the event is set, or the daemon has other work by then."""
    needed = Event()
    before = _pid_of_daemon(ws)  # a daemon that is about to end is not the one that the block finds
    try:
        yield needed
    finally:
        if not needed.is_set() and _pid_of_daemon(ws) not in (before, None):
            with suppress(FlowValidationError):
                status = ws.status()
                if not (status.engine.on or status.service.installed or status.active_runs or status.waiting_runs):
                    ws.shutdown()


def _pid_of_daemon(ws: Workspace) -> int | None:
    daemon = ws.link.find()
    return None if daemon is None else daemon.endpoint.pid


def backfill_card(backfill: Backfill) -> Card:
    """One backfill: what would run, or its progress, the runs that did not succeed, and what to type next."""
    if backfill.state == "planned":
        nothing = none_named_text(backfill) or ("" if backfill.total else nothing_text(backfill))
        return Card(nothing) if nothing else Card("", (), tuple(_planned(backfill)))
    asked = f"asked by {backfill.by}, {local_time(backfill.at_utc)}"
    bad = [run for run in backfill.runs if run.status not in ("success", "started")]
    rows = [
        (
            mark_of(run.status),
            zoned_text(run.scheduled_for, backfill.tz),
            Code(run.source or ""),
            run_id(run.run_id),
            short_error(run.error or run.cause, run.why),
        )
        for run in bad[:MOST_ROWS]
    ]
    columns = ("Status", "Slot", Column("Source", "path"), Column("Run", "id"), Column("Why", "text"))
    parts: list[Part] = [table(columns, rows, total=len(bad))] if bad else []
    facts: tuple[Cell, ...] = (backfill.text, Code(backfill.id[:8], backfill.id), asked)
    return Card(f"{backfill.flow}: backfill", facts, (*parts, Lines(tuple(_next(backfill)))))


def _planned(backfill: Backfill) -> Iterator[Part]:
    """The runs that would begin, by what they were chosen, and what was left out."""
    zone, every = backfill.tz, "" if any(run.scheduled_for for run in backfill.planned) else "(the whole folder)"
    slots = [(zoned_text(run.scheduled_for, zone), Code(run.source or every)) for run in backfill.planned[:MOST_ROWS]]
    yield table(("Slot", Column("Source", "path")), slots, total=len(backfill.planned))
    params = ", ".join(f"{name}={value_text(value)}" for name, value in backfill.params.items())
    by = "".join(f", {words}" for words in (range_text(backfill), f"with {params}" if params else "") if words)
    lines = [f"{backfill.flow}: {backfill.total:,} of {backfill.known['all']:,} in the range{by}"]
    if others := [*other_text(backfill)]:
        failed = backfill.reprocess == "failed"
        chosen = "those whose last run failed or that are held" if failed else "those that never succeeded"
        lines.append(" ".join([f"Only {chosen}.", *others]))
    yield Lines(tuple(lines))


def _next(backfill: Backfill) -> Iterator[str]:
    """What becomes of the runs that are left, and what to type."""
    short, left = backfill.id[:8], backfill.total - backfill.ended
    if backfill.state == "running":
        yield f"{plural(left, 'run')} to come, after everything that is due."
        yield f"Its progress: {cli_line('backfill', '--status', short)}; to end it: {cli_line('backfill', '--stop', short)}"
        return
    if backfill.state == "stopped":
        yield "No more runs begin; a run that has begun goes on to its end."
    if again := left + backfill.failed:
        them = "it" if again == 1 else "them"
        yield f"{plural(again, 'run')} failed or did not begin; to run {them} again: {cli_line('backfill', '--retry', short)}"


def backfills_card(backfills: Sequence[Backfill]) -> Card:
    """Backfills with their progress, the newest first."""
    rows = [(run_id(one.id), one.flow, one.by, local_time(one.at_utc), one.text) for one in backfills]
    columns = (Column("Backfill", "id"), "Flow", "Asked by", "At", "Progress")
    return Card(plural(len(backfills), "backfill"), (), (table(columns, rows),))
