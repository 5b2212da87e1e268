"""The commands that only look: `status`, `list`, `show`, `runs`, `log` and `explain`. Each imports what it shows when it is called."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from data_engine.cli.options import (
    AsJson,
    FlowName,
    chosen_workspace,
    in_flow_modules,
    load_module,
    named,
    say_not_flows,
    say_settings,
)
from data_engine.cli.output import complain, print_json, say, status_style, table
from data_engine.errors import FlowValidationError
from data_engine.formatting import beginning, cli_line, first_few, path_in, zoned_words

if TYPE_CHECKING:
    from datetime import tzinfo

    from data_engine.cli.output import Table
    from data_engine.client import Workspace
    from data_engine.flow.flow import Flow
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.notebook.deployment_status import DeploymentStatus
    from data_engine.reasons.kinds import Disabled
    from data_engine.reasons.remedies import Reason
    from data_engine.status.explain import Explanation

RunStatus: TypeAlias = Literal["started", "success", "failed", "stopped", "killed", "abandoned"]

MOST_RUNS = 20
"""How many runs are listed without `--limit`."""

_ID_LENGTH = 8
_LONGEST_ERROR = 160
"""Letters of the error of one held source among others."""


def list_flows(ctx: typer.Context, as_json: AsJson = False) -> int:
    """The flows, as production runs them where an edit is not deployed, and what is wrong with broken modules."""
    from data_engine.lease.status import shown_machine
    from data_engine.notebook.catalog import read_catalog
    from data_engine.notebook.deployments import with_gone
    from data_engine.status.places import with_source_warnings

    ws = chosen_workspace(ctx)
    with in_flow_modules(ws):
        modules = read_catalog(ws.home.modules(), cache=ws.home.descriptions())
        deployments = ws.home.deployments()
        deployment = deployments.statuses({entry.name for entry in modules} | deployments.deployed().keys())
        gone = {name: state for name, state in deployment.items() if state.kind == "gone"}
        entries = with_gone(modules, deployments, deployment, ws.home.deployed_descriptions())
        coming, stands = ws.next_runs(), expected_of(ws, entries)
    say_settings(ws)
    off = disabled_flows(ws)
    if as_json:
        print_json(
            [
                entry.as_dict()
                | deployment[entry.name].as_json()
                | {"next_run_utc": coming.get(entry.name), "expected": stands.get(entry.name)}
                | {"disabled": off.get(entry.name)}
                for entry in with_source_warnings(entries)
            ]
        )
        return 0
    if not entries:
        say(f"There are no flows in {ws.layout.flow_modules_dir} yet.")
        say_not_flows(ws)
        return 0
    lease = ws.lease()
    is_unknown = lease.is_elsewhere and ws.link.find() is None
    texts = {
        name: "not known here" if is_unknown and state.kind == "not_deployed" else state.text
        for name, state in deployment.items()
    }
    say(_flows_table(ws, entries, coming, texts, stands))
    for entry in entries:
        if entry.name in off:
            say(f"{entry.name}: {off[entry.name].text}")
    if lease.owner is not None and "not known here" in texts.values():
        complain(
            f"What {shown_machine(lease.owner)} deployed is known here after a daemon has started: data-engine start --no-engine"
        )
    say_misleading_names(ws, [entry.path for entry in modules if entry.error is None])
    say_what_is_wrong(entries, gone)
    if warned := [
        f"{entry.name} ({len(entry.warnings)})" for entry in modules if entry.warnings
    ]:  # all would bury the list
        complain()
        complain(f"warnings of {first_few(warned, 5)}: `data-engine compile` shows them", style="yellow")
    say_not_flows(ws)
    return 0


def _flows_table(
    ws: Workspace,
    entries: Sequence[CatalogEntry],
    coming: Mapping[str, str],
    texts: Mapping[str, str],
    stands: Mapping[str, Reason],
) -> Table:
    from data_engine.notebook.catalog import clock_zone, trigger_here

    columns = ("NAME", "TITLE", "GROUP", "MODE", "TRIGGER", "SOURCE", "NEXT", "PRODUCTION")
    has_expected = any(entry.flow is not None and entry.flow.expectations for entry in entries)
    timezone = ws.home.settings_shown().timezone
    flows = table(
        *(*columns, *(["EXPECTED"] if has_expected else [])),
        cut=("NAME", "TITLE", "GROUP", "TRIGGER", "SOURCE", "PRODUCTION", "EXPECTED"),
        spare=("TITLE", "MODE", "GROUP"),
        whole=f"`{cli_line('show')} NAME` shows it in full.",
    )
    for entry in entries:
        if entry.error is None:
            source = short_path(entry.source, ws.root)
            shown = (
                entry.title,
                entry.group,
                entry.mode,
                trigger_here(entry, timezone),
                source,
                zoned_words(coming.get(entry.name), clock_zone(entry, timezone)),
            )
            flows.add_row(entry.name, *shown, texts[entry.name], *([_expected(entry, stands)] if has_expected else []))
        else:
            more = [""] if has_expected else []
            flows.add_row(entry.name, entry.title, "", "broken", "", "", "", texts[entry.name], *more, style="red")
    return flows


def disabled_flows(ws: Workspace) -> dict[str, Disabled]:
    """Who disabled flows, and when, by the flows' names."""
    from data_engine.planning.due import disabled_by

    reasons = {flow: disabled_by(switch) for flow, switch in ws.home.ledger().switches().items()}
    return {flow: why for flow, why in reasons.items() if why is not None}


def expected_of(ws: Workspace, entries: Sequence[CatalogEntry]) -> dict[str, Reason]:
    """The state of each flow's expectation, by name; looked up only where there are any."""
    if not any(entry.flow is not None and entry.flow.expectations for entry in entries):
        return {}
    return {flow.name: flow.expected for flow in ws.status().flows if flow.expected is not None}


def _expected(entry: CatalogEntry, stands: Mapping[str, Reason]) -> str:
    from data_engine.flow.expectation import expectation_words

    if entry.name in stands:
        return stands[entry.name].text
    return "" if entry.flow is None else expectation_words(entry.flow.expectations)


def _say_behind(ws: Workspace) -> None:
    """Warn where more was published than this machine has; a daemon fetches it."""
    if words := ws.link.behind_words():
        complain(words, style="yellow")


def bounded_reason(reason: Explanation) -> str:
    """The reason in words; of a held source only the beginning of its error, without the place of the source."""
    from dataclasses import replace

    from data_engine.reasons.kinds import Held, LastRunFailed, RetryLater
    from data_engine.status.sentences import short_error

    if not isinstance(reason.why, (Held, RetryLater, LastRunFailed)) or not reason.why.error:
        return reason.reason
    error = beginning(short_error(reason.why.error, reason.cause), _LONGEST_ERROR)
    return replace(reason, why=replace(reason.why, error=error)).reason


def show(ctx: typer.Context, name: FlowName, as_json: AsJson = False) -> int:
    """One flow: its trigger, paths, steps and last run."""
    from data_engine.flow.expectation import expectation_words
    from data_engine.ledger.run_warnings import runs_as_json
    from data_engine.model import utc_text
    from data_engine.notebook.catalog import clock_zone, describe, trigger_here
    from data_engine.planning.slots import slot_words
    from data_engine.status.runs import facts_of, last_run, last_run_words

    ws = chosen_workspace(ctx)
    with in_flow_modules(ws):
        module = load_module(ws, name)
    entry = describe(module.flow, module.path, module.description, module.warnings)
    last = last_run(ws.home, entry.name)
    coming = ws.next_runs().get(entry.name)
    deployment = ws.deployment_status(entry.name)
    runs = next((row for row in ws.deployments(entry.name) if row.is_live), None)
    compared = None if runs is None else runs.compared
    timezone = ws.home.settings_shown().timezone
    slots, zone = _next_slots(module.flow, timezone)
    stands = expected_of(ws, [entry]).get(entry.name)
    off = disabled_flows(ws).get(entry.name)
    if as_json:
        live = {
            "steps": [
                {"label": step.label, "function": step.function_name, "use": step.use, "save_as": step.save_as}
                for step in module.flow.steps
            ],
            "next_run_utc": coming,
            "last_run": None if last is None else runs_as_json(ws.home.ledger(), [last])[0],
            "next_times_utc": [utc_text(slot_s) for slot_s in slots],
            "expected": stands,
            "disabled": off,
            "compared": None if compared is None else compared.as_dict(),
        }
        print_json(entry.as_dict() | deployment.as_json() | live)
        return 0
    expected = filter(None, [expectation_words(module.flow.expectations), "" if stands is None else stands.text])
    cron, tz = getattr(module.flow.trigger, "cron", None), clock_zone(entry, timezone)
    facts = {
        "name": entry.name,
        "file": short_path(str(entry.path), ws.root),
        "group": entry.group or "",
        "mode": entry.mode,
        "trigger": trigger_here(entry, timezone) + (f" (cron {cron})" if cron else ""),
        "next times": slot_words(slots, zone),
        "expected": "\n".join(expected),
        "source": short_path(entry.source, ws.root),
        "mirror": short_path(entry.mirror, ws.root) + (", staged" if entry.as_dict()["staged"] else ""),
        "production": deployment.text if compared is None else f"{deployment.text}\n{compared.words}",
        "next run": f"- ({off.text})" if off is not None else zoned_words(coming, tz) or "-",
        "last run": last_run_words(ws.home, last, ws.status),
    }
    _say_flow(module.flow, entry.description, facts, [] if last is None else facts_of(last, tz))
    if last is not None and last.error:
        say("")
        say(f"the last run's error: {last.error}", style=status_style(last.status))
    return 0


def _say_flow(flow: Flow, description: str | None, facts: Mapping[str, str], last: Sequence[tuple[str, str]]) -> None:
    """Print a flow with its facts, its steps and the facts of its last run."""
    say(flow.title, style="bold")
    if description:
        say(description)
    say("")
    for name, value in facts.items():
        if value:
            say(f"{name:12}{value}".replace("\n", f"\n{'':12}"))
    say("")
    shown = table("STEP", "FUNCTION", "USES", "SAVES AS")
    for step in flow.steps:
        shown.add_row(step.label, step.function_name, step.use or "", step.save_as or "")
    say(shown)
    if last:
        say("")
    for label, words in last:
        say(f"{label:12}{words}")


def _next_slots(flow: Flow, timezone: str | None) -> tuple[list[float], tzinfo]:
    """The next times of a flow that runs by the clock, and the zone they are meant in."""
    from data_engine.flow.trigger import Schedule
    from data_engine.planning.slots import slots_of, zone_of

    if not isinstance(flow.trigger, Schedule):
        return [], zone_of(timezone)
    slots = slots_of(flow.trigger, timezone)
    return slots.upcoming(time.time()), slots.zone


def explain(
    ctx: typer.Context,
    subject: Annotated[
        str, typer.Argument(metavar="FLOW_OR_FILE", callback=named, help="A flow, or a file of a flow's source.")
    ],
    as_json: AsJson = False,
) -> int:
    """Why a flow, or a source file, does or does not run; for an output, which run wrote it."""
    ws = chosen_workspace(ctx)
    try:
        reasons = ws.explain(subject)
    except FlowValidationError:
        if not as_json:
            _say_behind(ws)
        raise
    if as_json:
        print_json([reason.as_dict() for reason in reasons])
        return 0
    from data_engine.status.explain import ways

    has_next = any(reason.next_run_utc is not None for reason in reasons)
    shown = table(
        *("FLOW", "SOURCE", "REASON", *(["NEXT"] if has_next else [])),
        cut=("FLOW", "SOURCE"),
        wrap=("REASON",),
        whole=f"`{cli_line('explain', subject, '--json')}` shows it in full.",
    )
    for reason in reasons:
        source = "" if reason.source is None else short_path(reason.source, ws.root)
        next_run = [zoned_words(reason.next_run_utc, reason.tz)] if has_next else []
        shown.add_row(reason.flow, source, bounded_reason(reason), *next_run)
    say(shown)
    for number, way in enumerate(ways(reasons)):
        say(way if number else f"\n{way}")
    _say_behind(ws)
    return 0


def say_misleading_names(ws: Workspace, paths: Sequence[Path]) -> None:
    """Warn of modules with the name of another module, which would be imported in their place."""
    from data_engine.notebook.import_lint import misleading_names

    with suppress(OSError, FlowValidationError):  # it was there a moment ago
        for warning in misleading_names(ws.home.modules(), paths):
            complain(f"warning: {warning}", style="yellow")


def say_what_is_wrong(entries: Sequence[CatalogEntry], gone: Mapping[str, DeploymentStatus]) -> None:
    """Print missing sources, modules that are gone, and the errors of broken ones."""
    from data_engine.status.places import all_source_warnings

    flows = [entry.flow for entry in entries if entry.flow is not None]
    for warning in (warning for warnings in all_source_warnings(flows) for warning in warnings):
        complain(f"warning: {warning}", style="yellow")
    for _, state in sorted(gone.items()):
        complain()
        complain(state.edit or "", style="yellow")
    for entry in entries:
        if entry.error is not None:
            complain()
            complain(f"{entry.path.name} is broken: {entry.error}", style="red")


def short_path(path: str | None, root: Path) -> str:
    """`path` as seen from the workspace's root when it lies in it; "-" for none.

    Example:
        >>> short_path("/team/claims/data/in", Path("/team/claims")), short_path(None, Path("/team/claims"))
        ('data/in', '-')
    """
    return "-" if path is None else path_in(root, path)
