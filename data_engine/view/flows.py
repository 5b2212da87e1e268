"""Flows: the list of them, one with its facts, and why they run or do not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from data_engine.display_hook import Listing
from data_engine.errors import FlowValidationError
from data_engine.flow.expectation import expectation_text
from data_engine.flow.trigger import Schedule
from data_engine.formatting import beginning, cli_line, path_in, plural, zoned_text
from data_engine.lease.status import shown_machine
from data_engine.ledger.run_warnings import runs_as_json
from data_engine.marks import Mark, mark_of
from data_engine.model import utc_text
from data_engine.notebook.catalog import CatalogEntry, clock_zone, describe, read_catalog, trigger_here
from data_engine.notebook.deployments import with_gone
from data_engine.notebook.flow_files import not_flows, notebooks_in_subfolders
from data_engine.planning.due import disabled_by
from data_engine.planning.slots import slot_text, slots_of, zone_of
from data_engine.reasons.kinds import Disabled, Held, LastRunFailed, RetryLater
from data_engine.status.explain import Explanation, ways
from data_engine.status.places import with_source_warnings
from data_engine.status.runs import last_run, last_run_text
from data_engine.status.sentences import first_line, short_error
from data_engine.view.card import Card, Cell, Code, Column, Faint, Lines, Note, Pairs, Part, Picture, file_cell, table
from data_engine.view.errors import error_places
from data_engine.view.flow_picture import flow_card
from data_engine.view.verb import Answer, Place, Subject

if TYPE_CHECKING:
    from datetime import tzinfo

    from data_engine.client import Workspace
    from data_engine.flow.flow import Flow
    from data_engine.model import Run
    from data_engine.notebook.deployment_status import DeploymentStatus
    from data_engine.reasons.remedies import Reason

_LONGEST_ERROR = 160
"""Letters of the error of one held source among others."""
_MOST_REASONS = 100
"""Sources that a cell explains."""

FlowName = Annotated[str | None, Subject("NAME", "The flow: its file's name without the ending.", "flow")]


# -- all flows --------------------------------------------------------------------------------------------------------


def flows(place: Place) -> Answer:
    """The flows, as production runs them where an edit is not deployed, and what is wrong with broken modules."""
    ws = place.workspace
    with place.inside():
        modules = read_catalog(ws.home.modules(), cache=ws.home.descriptions())
        deployments = ws.home.deployments()
        deployment = deployments.statuses({entry.name for entry in modules} | deployments.deployed().keys())
        entries = with_gone(modules, deployments, deployment, ws.home.deployed_descriptions())
        coming, expected = ws.next_runs(), expected_of(ws, entries)
    off = disabled_flows(ws)

    def facts() -> Any:
        return [
            entry.as_dict()
            | deployment[entry.name].as_json()
            | {"next_run_utc": coming.get(entry.name), "expected": expected.get(entry.name)}
            | {"disabled": off.get(entry.name)}
            for entry in with_source_warnings(entries)
        ]

    def card() -> Card:
        folder = ws.layout.flow_modules_dir
        if not entries:
            return Card(f"There are no flows in {folder} yet.")
        lease = ws.lease()
        is_unknown = lease.is_elsewhere and ws.link.find() is None
        texts = {
            name: "module gone"
            if state.kind == "gone"
            else "not known here"
            if is_unknown and state.kind == "not_deployed"
            else state.text
            for name, state in deployment.items()
        }
        rows = [_flow_row(ws, entry, coming, texts, expected, off.get(entry.name)) for entry in entries]
        columns = (
            *(Column("Name", "name"), Column("Title", "name", is_spare=True), Column("Group", "name", is_spare=True)),
            *(Column("Mode", is_spare=True), Column("Trigger", "name"), Column("Source", "path"), "Next"),
            *(Column("Production", "text"), Column("Expected", "name")),
        )
        shown = table(columns, rows, most=len(rows), whole=f"`{cli_line('show')} NAME` shows it in full.")
        return Card("", (), (shown, *_troubles(ws, entries, deployment, texts)))

    told = [*filter(None, [ws.home.settings_error()]), *_not_flows(ws.layout.flow_modules_dir)]
    return Answer(card, facts, tuple(map(Note.warning, told)), value=Listing(entries))


def _flow_row(
    ws: Workspace,
    entry: CatalogEntry,
    coming: Mapping[str, str],
    texts: Mapping[str, str],
    expected: Mapping[str, Reason],
    off: Disabled | None,
) -> tuple[Cell, ...]:
    if entry.error is not None:
        broken = Mark("edit broken" if texts[entry.name].startswith("edited") else "broken", "bad", "cross")
        return (entry.name, entry.title, "", "", broken, "", "", texts[entry.name], "")
    timezone = ws.home.settings_shown().timezone
    next_run = zoned_text(coming.get(entry.name), clock_zone(entry, timezone))
    production = texts[entry.name] if off is None else f"{texts[entry.name]}; {off.text}"
    will = expectation_text(entry.flow.expectations) if entry.flow is not None else ""
    return (
        *(entry.name, entry.title, entry.group or "", entry.mode, trigger_here(entry, timezone)),
        *(_place(entry.source, ws.root), next_run, production),
        expected[entry.name].text if entry.name in expected else will,
    )


def _troubles(
    ws: Workspace, entries: Sequence[CatalogEntry], deployment: Mapping[str, DeploymentStatus], texts: Mapping[str, str]
) -> Iterator[Part]:
    """What is wrong with flows: modules that are gone or broken. Their warnings are said by `show` and where they are deployed."""
    lease = ws.lease()
    if lease.owner is not None and "not known here" in texts.values():
        what = f"What {shown_machine(lease.owner)} deployed is known here after a daemon has started"
        yield Note.warning(what, cli_line("start", "--no-engine"))
    for _, state in sorted(deployment.items()):
        if state.kind == "gone":
            yield Note.warning(state.edit or "")
    for entry in entries:
        if entry.error is not None:
            what = f"{entry.path.name} is broken: {entry.error.what}"
            if deployment[entry.name].is_edited:
                what = f"the edit of {entry.path.name} is broken, production runs on: {entry.error.what}"
            yield Note(Mark(f"{what} (whole: `{cli_line('show', entry.name)}`)", "bad", "cross"))


def settings_warnings(ws: Workspace) -> Sequence[object]:
    """Settings that nobody reads, or that cannot be used."""
    error = ws.home.settings_error()
    return ws.settings().warnings if error is None else (error,)


def _not_flows(folder: Path) -> tuple[str, ...]:
    """Notebooks that are no flows because of their folder or name."""
    return tuple(f"{text}." for text in not_flows(folder, notebooks_in_subfolders(folder)))


def disabled_flows(ws: Workspace) -> dict[str, Disabled]:
    """Who disabled flows, and when, by the flows' names."""
    reasons = {flow: disabled_by(switch) for flow, switch in ws.home.ledger().switches().items()}
    return {flow: why for flow, why in reasons.items() if why is not None}


def expected_of(ws: Workspace, entries: Sequence[CatalogEntry]) -> dict[str, Reason]:
    """The state of each flow's expectation, by name; looked up only where there are any."""
    if not any(entry.flow is not None and entry.flow.expectations for entry in entries):
        return {}
    return {flow.name: flow.expected for flow in ws.status().flows if flow.expected is not None}


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
    parts: list[Part] = (
        [table(("Module", "File", "Group", "Production", "Error"), rows, most=len(rows))] if rows else []
    )
    warnings: set[str] = set()
    for entry in entries:
        parts += [Note.warning(warning) for warning in entry.warnings if warning not in warnings]
        warnings.update(entry.warnings)
        if entry.error is not None:
            parts.append(Pairs(error_places(entry.error)))
    if len(rows) == 1 and entries[0].error is None:
        return Card(entries[0].path.name, (deployment.get(entries[0].name, ""),), tuple(parts[1:]))
    return Card(plural(len(entries), "flow module"), (), tuple(parts))


# -- one flow ---------------------------------------------------------------------------------------------------------


def show(place: Place, name: FlowName = None) -> Answer:
    """One flow: its trigger, paths and steps, what production runs of it, and its last run."""
    ws = place.workspace
    with place.inside():
        flow = place.flow(name)
    name = place.flow_name(name)
    path = ws.home.modules().folder / f"{name}.ipynb"
    entry = next((entry for entry in ws.catalog() if entry.name == name), None) or describe(flow, path)
    last = last_run(ws.home, name)
    deployment = ws.deployment_status(name)
    live = next((row for row in ws.deployments(name) if row.is_live), None)
    compared = None if live is None else live.compared
    timezone = ws.home.settings_shown().timezone
    slots, zone = _next_slots(flow, timezone)
    expected = expected_of(ws, [entry]).get(name)
    off, coming = disabled_flows(ws).get(name), ws.next_runs().get(name)

    def facts() -> Any:
        return (
            entry.as_dict()
            | deployment.as_json()
            | {
                "steps": [
                    {"label": step.label, "function": step.function_name, "use": step.use, "save_as": step.save_as}
                    for step in flow.steps
                ],
                "next_run_utc": coming,
                "last_run": None if last is None else runs_as_json(ws.home.ledger(), [last])[0],
                "next_times_utc": [utc_text(slot_s) for slot_s in slots],
                "expected": expected,
                "disabled": off,
                "compared": None if compared is None else compared.as_dict(),
            }
        )

    def card() -> Card:
        cron, tz = getattr(flow.trigger, "cron", None), clock_zone(entry, timezone)
        pairs = (
            ("name", name),
            ("file", _place(str(entry.path), ws.root)),
            ("group", entry.group or ""),
            ("mode", entry.mode),
            ("trigger", trigger_here(entry, timezone) + (f" (cron {cron})" if cron else "")),
            ("next times", slot_text(slots, zone)),
            (
                "expected",
                "; ".join(
                    filter(None, [expectation_text(flow.expectations), "" if expected is None else expected.text])
                ),
            ),
            ("source", _place(entry.source, ws.root)),
            ("mirror", _place(entry.mirror, ws.root) + (", staged" if entry.as_dict()["staged"] else "")),
            ("production", "; ".join(filter(None, [deployment.text, "" if compared is None else compared.words]))),
            ("next run", f"- ({off.text})" if off is not None else zoned_text(coming, tz) or "-"),
            ("last run", last_run_text(ws.home, last, ws.status)),
        )
        steps = ((step.label, step.function_name, step.use or "", step.save_as or "") for step in flow.steps)
        drawn = flow_card(flow, now_s=time.time(), zone=timezone).parts
        listed = table(("Step", "Function", "Uses", "Saves as"), steps, most=len(flow.steps))
        pictures = (replace(part, text=listed) for part in drawn if isinstance(part, Picture))
        described = Lines(tuple(filter(None, [entry.description])))
        (shown,) = with_source_warnings([entry])
        warned = map(Note.warning, shown.warnings)
        return Card(flow.title, (), (described, Pairs(pairs), *pictures, *_last_error(last), *warned))

    return Answer(card, facts)


def _last_error(last: Run | None) -> Iterator[Part]:
    if last is not None and last.error:
        yield Note(Mark(f"the last run's error: {last.error}", "bad", "cross"))


def _next_slots(flow: Flow, timezone: str | None) -> tuple[list[float], tzinfo]:
    """The next times of a flow that runs by the clock, and the zone they are meant in."""
    if not isinstance(flow.trigger, Schedule):
        return [], zone_of(timezone)
    slots = slots_of(flow.trigger, timezone)
    return slots.upcoming(time.time()), slots.zone


def _place(path: str | None, root: Path) -> str:
    return "-" if path is None else path_in(root, path)


def unknown_flow_of_source(verb: str, *named: str) -> FlowValidationError:
    """The error of `--source` without the flow whose file it is; `named` is the rest of a line of the verb that says it.

    Example:
        >>> str(unknown_flow_of_source("retry", "FLOW", "--source", "PATH")).splitlines()[-1].strip()
        'fix:   name the flow: data-engine retry FLOW --source PATH'
    """
    what = "--source says which file, but not of which flow"
    return FlowValidationError(what, where=cli_line(verb, "--source"), fix=f"name the flow: {cli_line(verb, *named)}")


# -- why --------------------------------------------------------------------------------------------------------------


def explain(
    place: Place,
    subject: Annotated[
        str | None, Subject("FLOW_OR_FILE", "A flow, a file of its source, or a table: w.duckdb:sales.", "flow or file")
    ] = None,
) -> Answer:
    """Why a flow, or a file, does or does not run; for an output or a table, which run wrote it."""
    ws = place.workspace
    behind = [Note.warning(words) for words in [ws.link.behind_text()] if words]
    try:
        reasons = ws.explain(name := place.flow_name(subject))
    except FlowValidationError:
        for note in behind:
            place.tell(note)
        raise
    return Answer(
        lambda: reasons_card(reasons, ws.root, name),
        lambda: [row.as_dict() for row in reasons],
        tuple(behind),
        value=reasons,
    )


def reasons_card(reasons: Sequence[Explanation], root: Path | None = None, subject: str | None = None) -> Card:
    """What `explain` says of the `subject`, a line for each candidate or tick, and what changes it; sources as seen from the workspace's `root`."""
    whole = cli_line("explain", subject or (reasons[0].flow if reasons else "FLOW"), "--json")
    rows = (
        (
            reason.flow,
            file_cell(reason.source)
            if root is None or reason.source is None
            else Code(path_in(root, reason.source), reason.source),
            reason.why.mark(_bounded(reason)),
            zoned_text(reason.next_run_utc, reason.tz),
        )
        for reason in reasons
    )
    columns = (Column("Flow", "name"), Column("Source", "path"), Column("Reason", "text"), "Next")
    shown = table(columns, rows, most=_MOST_REASONS, whole=f"`{whole}` shows it in full.")
    changes = Pairs(tuple((kind, way) for kind, _, way in (line.partition(": ") for line in ways(reasons))))
    return Card("", (), (shown, changes))


def _bounded(reason: Explanation) -> str:
    """The reason in words; of a held source only the beginning of its error, without the place of the source."""
    if not isinstance(reason.why, (Held, RetryLater, LastRunFailed)) or not reason.why.error:
        return reason.reason
    error = beginning(short_error(reason.why.error, reason.cause), _LONGEST_ERROR)
    return replace(reason, why=replace(reason.why, error=error)).reason
