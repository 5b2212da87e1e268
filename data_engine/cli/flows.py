"""`list` and `show`: what flows there are, and everything about one."""

from __future__ import annotations

import time
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from data_engine.cli.looks import disabled_flows, in_flow_modules, standing_to_expected, tell_flows
from data_engine.cli.options import AsJson, FlowName, chosen_workspace, load_module
from data_engine.cli.output import print_json, say, status_style, table
from data_engine.cli.short_paths import short_path
from data_engine.flow.expectation import expectation_words
from data_engine.flow.trigger import Schedule
from data_engine.ledger.warned import runs_as_json
from data_engine.model import utc_text
from data_engine.scheduler.slots import next_slots, slot_words, zone_of
from data_engine.status.runs import facts_of, last_run, last_run_words
from data_engine.times import zoned_words

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.flow.flow import Flow
    from data_engine.model import Run
    from data_engine.notebook.catalog import CatalogEntry


def list_flows(ctx: typer.Context, as_json: AsJson = False) -> int:
    """The flows, and what is wrong with broken modules."""
    return tell_flows(chosen_workspace(ctx), as_json)


def show(ctx: typer.Context, name: FlowName, as_json: AsJson = False) -> int:
    """One flow: its trigger, paths, steps and last run."""
    from data_engine.notebook.catalog import clock_zone, describe, trigger_here

    ws = chosen_workspace(ctx)
    with in_flow_modules(ws):
        module = load_module(ws, name)
    entry = describe(module.flow, module.path, module.description, module.warnings)
    ledger = ws.home.ledger()
    last = last_run(ws.home, entry.name)
    steps = [
        {"label": step.label, "function": step.function_name, "use": step.use, "save_as": step.save_as}
        for step in module.flow.steps
    ]
    coming = ws.next_runs().get(entry.name)
    deployment = ws.standing(entry.name)
    runs = next((one for one in ws.deployments(entry.name) if one.is_live), None)
    compared = None if runs is None else runs.compared
    slots, zone = _next_slots(ws, module.flow)
    stands = standing_to_expected(ws, [entry]).get(entry.name)
    off = disabled_flows(ws).get(entry.name)
    if as_json:
        times = [utc_text(slot_s) for slot_s in slots]
        live = {
            "next_run_utc": coming,
            "last_run": None if last is None else runs_as_json(ledger, [last])[0],
            "next_times_utc": times,
            "expected": stands,
            "disabled": off,
            "compared": None if compared is None else compared.as_dict(),
        }
        print_json(entry.as_dict() | {"steps": steps} | deployment.as_json() | live)
    else:
        expected = "\n".join(
            filter(None, [expectation_words(module.flow.expectations), "" if stands is None else stands.text])
        )
        trigger = trigger_here(entry, ws.home.settings_shown().timezone)
        ended = last_run_words(ws.home, last, ws.status)
        tz = clock_zone(entry, ws.home.settings_shown().timezone)
        coming = f"- ({off.text})" if off is not None else zoned_words(coming, tz)
        stands_at = deployment.text if compared is None else f"{deployment.text}\n{'':12}{compared.words}"
        _say_flow(entry, trigger, steps, last, ended, coming, stands_at, ws.root, slot_words(slots, zone), expected, tz)
    return 0


def _next_slots(ws: Workspace, flow: Flow) -> tuple[list[float], tzinfo]:
    """The next times of a flow that runs by the clock, and the zone they are meant in."""
    lines = flow.trigger.cron_lines if isinstance(flow.trigger, Schedule) else ()
    zone = zone_of(
        (flow.trigger.tz if isinstance(flow.trigger, Schedule) else None) or ws.home.settings_shown().timezone
    )
    return next_slots(lines, zone, time.time()), zone


def _say_flow(
    entry: CatalogEntry,
    trigger: str,
    steps: list[dict[str, Any]],
    last: Run | None,
    ended: str,
    coming: str | None,
    deployment: str,
    root: Path,
    times: str,
    expected: str,
    tz: str | None,
) -> None:
    say(entry.title, style="bold")
    if entry.description:
        say(entry.description)
    say("")
    cron = getattr(None if entry.flow is None else entry.flow.trigger, "cron", None)
    facts = {
        "name": entry.name,
        "file": short_path(str(entry.path), root),
        "group": entry.group,
        "mode": entry.mode,
        "trigger": trigger + (f" (cron {cron})" if cron else ""),
        **({"next times": times} if times else {}),
        **({"expected": expected.replace("\n", "\n" + " " * 12)} if expected else {}),
        "source": short_path(entry.source, root),
        "mirror": short_path(entry.mirror, root) + (", staged" if entry.as_dict()["staged"] else ""),
        "production": deployment,
        "next run": coming or "-",
        "last run": ended,
    }
    for name, value in facts.items():
        say(f"{name:12}{value}")
    say("")
    shown = table("STEP", "FUNCTION", "USES", "SAVES AS")
    for step in steps:
        shown.add_row(step["label"], step["function"], step["use"] or "", step["save_as"] or "")
    say(shown)
    if last is not None:
        say("")
        for label, words in facts_of(last, tz):
            say(f"{label:12}{words}")
    if last is not None and last.error:
        say("")
        say(f"the last run's error: {last.error}", style=status_style(last.status))
