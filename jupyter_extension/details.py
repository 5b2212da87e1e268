"""The panel's details of one flow and of one run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_engine.client import Workspace
from data_engine.engine.kept_inputs import kept_facts
from data_engine.errors import FlowValidationError
from data_engine.files import file_exists
from data_engine.flow.expectation import Expectation, expectation_text
from data_engine.flow.trigger import skipped_days
from data_engine.formatting import path_in
from data_engine.ledger.deployments import present_name, renamings
from data_engine.ledger.run_warnings import warnings_of
from data_engine.marks import Mark
from data_engine.model import Deployment, Run, StepRun
from data_engine.notebook.catalog import unknown_flow
from data_engine.notebook.module_sets import file_facts
from data_engine.plan.making import code_changes
from data_engine.planning.slots import Slots, slot_text, zone_of
from data_engine.proof.verdict_store import unsettled_texts
from data_engine.record import frozen
from data_engine.status.deployed_before import changed_text, git_text
from data_engine.status.runs import facts_of, rows_text, source_names, trigger_text, with_text
from data_engine.status.sentences import places_of, short_error
from data_engine.view.feed import from_child
from data_engine.view.panel import WhyNot, run_mark

MOST_DEPLOYMENTS = 100
MOST_LINES = 5000
_LOOK_BACK = 3
_NO_ANSWER = "the drive of its output does not answer"


@frozen
class StepView:
    """A step with the state of its newest run; `rows` counts what went in and came out. `output` is the newest file it returned;
    `inspect` why it cannot be looked at."""

    label: str
    mark: Mark
    started_at_utc: str | None
    elapsed_s: float | None
    error: str | None
    output: str | None
    inspect: WhyNot
    rows: str = ""


@frozen
class RunView:
    """One line of the history; `error` is the first line of it, `cells` the places it names."""

    run_id: str
    source: str | None
    source_name: str | None
    mark: Mark
    started_at_utc: str
    elapsed_s: float | None
    cause: str | None
    why: Mapping[str, Any] | None
    error: str | None
    cells: tuple[Mapping[str, Any], ...]
    from_the_future: bool
    began_by: str = ""
    params: str = ""
    warnings: int = 0
    ended_at_utc: str | None = None


@frozen
class DeploymentView:
    """One line of the history of deployments; `rollback` is why production cannot go back to it."""

    id: str
    word: str
    at_utc: str
    who: str
    changed: str
    git: str
    note: str
    rollback: WhyNot
    compared: str = ""


@frozen
class FlowView:
    """One flow in detail. `about` are label and value pairs; `parameters` what it declares, None where it takes any,
    `last_params` the newest of a run; `changes` has the changed lines of each cell or file that differs from what is
    deployed, `gate` is the setting for deploys,
    `deployments` the history of what production ran of it; `digest` changes with the code that is shown, None where there is none."""

    name: str
    title: str
    description: str
    path: str
    about: tuple[tuple[str, str], ...]
    parameters: tuple[Mapping[str, Any], ...] | None
    last_params: Mapping[str, Any] | None
    warnings: tuple[str, ...]
    steps: tuple[StepView, ...]
    run_id: str | None
    runs: tuple[RunView, ...]
    changes: tuple[tuple[str, tuple[str, ...]], ...]
    gate: str
    deployments: tuple[DeploymentView, ...]
    error: Mapping[str, Any] | None
    error_cells: tuple[Mapping[str, Any], ...]
    digest: str | None = None


def flow_details(ws: Workspace, flow: str, *, limit: int = 100) -> FlowView:
    """The flow with its newest runs and the cells that differ from what is deployed.

    Raises:
        FlowValidationError: there is no such flow.
    """
    # first: an edit that is saved while the rest is read then counts as another
    digest = ws.home.deployments().digest_of(flow)
    entry = flow_entry(ws, flow)
    runs = ws.runs(flow, limit)
    newest = ws.home.ledger().last_run(flow) or next((run for run in runs if not run.from_the_future), None)
    warned = warnings_of(ws.home.ledger(), [run.run_id for run in runs])
    error = entry.get("error")
    names = source_names((run.source for run in runs if run.source is not None), ws.root)
    views = [run_view(run, warned.get(run.run_id, 0), now=flow) for run in runs]
    return FlowView(
        name=flow,
        title=entry["title"],
        description=entry["description"],
        path=entry["path"],
        about=_about(entry, _next_times(ws, entry["options"]), ws.root),
        parameters=None if entry.get("parameters") is None else tuple(entry["parameters"]),
        last_params=next((run.params for run in runs if run.params), None),
        warnings=unsettled_texts(ws.home, Path(entry["path"]), entry["warnings"]),
        steps=_steps(ws, entry["steps"], newest, runs),
        run_id=None if newest is None else newest.run_id,
        runs=tuple(view if view.source is None else replace(view, source_name=names[view.source]) for view in views),
        changes=tuple((change.where, change.lines) for change in code_changes(ws.home.deployments(), ws.home, flow)),
        gate=ws.home.settings_shown().deploy.gate,
        deployments=tuple(deployment_view(row, flow) for row in ws.deployments(flow)[:MOST_DEPLOYMENTS]),
        error=error,
        error_cells=places_of(error),
        digest=digest,
    )


def deployment_view(row: Deployment, flow: str) -> DeploymentView:
    """A deployment as a line of the panel's history of a flow, which may have had another name then."""
    why = "it is what runs" if row.is_live else None if row.is_kept else "it is not kept any more"
    if row.flow != flow:
        why = f"the flow was called {row.flow} then"
    word = "live" if row.is_live else row.word
    compared = "" if row.compared is None else row.compared.words
    return DeploymentView(row.id, word, row.at_utc, row.who, changed_text(row), git_text(row), row.note, why, compared)


def run_view(run: Run, warnings: int = 0, now: str | None = None) -> RunView:
    """A run of the ledger as a line of the panel's history; `now` is the present name of a flow that was renamed."""
    error = run.error or None
    return RunView(
        run_id=run.run_id,
        source=run.source,
        source_name=None if run.source is None else Path(run.source).name,
        mark=run_mark(run.status, run.why),
        started_at_utc=run.started_at_utc,
        ended_at_utc=run.finished_at_utc,
        elapsed_s=run.elapsed_s,
        cause=run.cause,
        why=None if run.why is None else run.why.as_dict(),
        error=None if error is None else short_error(error, run.why),
        cells=places_of(run.why, was=run.flow, now=now or run.flow),
        from_the_future=run.from_the_future,
        began_by=trigger_text(run.trigger),
        params=with_text(run),
        warnings=warnings,
    )


def run_details(ws: Workspace, run_id: str) -> dict[str, Any]:
    """A run with its steps, log lines and whole error.

    Raises:
        FlowValidationError: there is no such run.
    """
    run = ws.run_record(run_id)
    lines = ws.log(run.run_id)
    return {
        "run": run_view(run, now=present_name(renamings(ws.home.ledger()), run.flow, run.started_at_utc)),
        "reports": [page.path for page in run.reports],
        "flow": run.flow,
        "error": run.error,
        "locals": kept_facts(ws.home.local.replays_dir, run.run_id).locals if run.status == "failed" else {},
        "facts": facts_of(run, _slot_zone(ws, run)),
        "steps": [_step(step, ws.root) for step in ws.steps(run.run_id)],
        "lines": [
            {"at_utc": line.created_at_utc, "level": line.level, "step": line.step, "message": line.message}
            for line in lines[-MOST_LINES:]
        ],
        "left_out": max(len(lines) - MOST_LINES, 0),
    }


def _slot_zone(ws: Workspace, run: Run) -> str | None:
    """The zone in which a run's slot is shown: that of the flow's schedule, or of the workspace where the flow is gone."""
    if run.scheduled_for is None:
        return None
    zones = {flow.name: flow.tz for flow in ws.status().flows}
    return zones[run.flow] if run.flow in zones else ws.home.settings_shown().timezone or None


def debug_frames(ws: Workspace) -> list[dict[str, Any]]:
    """What steps saved with `context.debug`, the newest first."""
    frames = []
    for path in ws.home.local.debug_dir.glob("*__*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            facts = json.loads(path.read_text(encoding="utf-8"))["debug"]
            names = ("flow_name", "step_name", "run_id", "source_path", "artifact_kind", "saved_at_utc", "rows")
            saved = str(facts["artifact_path"])
            label = Path(saved).stem.split("__")[3:] or [""]
            frames.append({name: facts.get(name) for name in names} | {"path": saved, "label": label[0]})
    return sorted(frames, key=lambda frame: str(frame["saved_at_utc"]), reverse=True)


_listings: dict[Path, tuple[Any, dict[str, Any]]] = {}


def flow_entry(ws: Workspace, name: str) -> dict[str, Any]:
    """The facts of a flow: as the daemon runs it, else as a child process reads it."""
    daemon = ws.link.find()
    if daemon is not None:
        return daemon.get("/flow", name=name)
    folder = ws.layout.flow_modules_dir
    facts = file_facts(folder)
    listing = _listings.get(ws.root)
    if listing is None or listing[0] != facts:
        listing = _listings[ws.root] = (facts, {entry["name"]: entry for entry in from_child(ws.root, "list")})
    if name not in listing[1]:
        raise unknown_flow(name, folder, listing[1])
    entry: dict[str, Any] = listing[1][name]
    return entry


def _next_times(ws: Workspace, options: Mapping[str, Any]) -> str:
    """The next times of a flow that runs by the clock, in its zone."""
    zone = zone_of(options.get("tz") or ws.home.settings_shown().timezone)
    lines, file = tuple(options.get("cron_lines") or ()), options.get("skip_file")
    with suppress(FlowValidationError):  # the flow's reason says what is wrong with the file
        without = skipped_days(options.get("skip") or (), file and Path(file))
        return slot_text(Slots(lines, zone, without).upcoming(time.time()), zone)
    return ""


def _about(entry: Mapping[str, Any], times: str, root: Path) -> tuple[tuple[str, str], ...]:
    def place(path: str | None) -> str | None:
        return path and path_in(root, path)

    options = entry["options"]
    mirror = place(entry["mirror"])
    rows = [
        ("Flow", entry["name"]),
        ("Group", entry["group"]),
        ("Mode", entry["mode"]),
        ("Runs", None if entry["trigger"] == "-" else entry["trigger"]),
        ("Next times", times),
        ("Expected", _expected(entry)),
        ("Source", place(entry["source"])),
        ("Extensions", ", ".join(options.get("extensions") or ())),
        ("Settle", f"{options['settle']:g} s" if "settle" in options else None),
        (
            "Runs as",
            {"individual": "one run for each file", "batch": "one run for all files"}.get(options.get("run_as", ""))
            if entry["source"]
            else None,
        ),
        ("Max parallel", options.get("max_parallel")),
        ("Catch up", options.get("catch_up") if entry["mode"] == "schedule" else None),
        ("Target", mirror and mirror + (" (staged)" if entry["staged"] else "")),
        ("Module", place(entry["path"])),
    ]
    return tuple((label, str(value)) for label, value in rows if value)


def _expected(entry: Mapping[str, Any]) -> str:
    calls: list[dict[str, Any]] = [
        {name: tuple(value) if isinstance(value, list) else value for name, value in call.items()}
        for call in entry.get("expectations") or ()
    ]
    return expectation_text([Expectation(**call) for call in calls])


def _steps(ws: Workspace, labels: list[str], newest: Run | None, runs: list[Run]) -> tuple[StepView, ...]:
    ran = {} if newest is None else {step.index: step for step in ws.steps(newest.run_id)}
    outputs: dict[str, str] = {}
    for run in [run for run in runs if run.status == "success" and not run.from_the_future][:_LOOK_BACK]:
        for step in ws.steps(run.run_id):
            if step.output_path:
                outputs.setdefault(step.label, step.output_path)
    return tuple(_step(ran.get(index), ws.root, label, outputs.get(label)) for index, label in enumerate(labels))


def is_on_another_host(output: str, root: Path) -> bool:
    r"""Whether a look at an output that another machine may have named would speak to a host, or to a device, of its choice.

    Only a person may ask for such a look.

    Example:
        >>> here = Path("/srv/ws")
        >>> [is_on_another_host(path, here) for path in ("/data/x.csv", "//host/share/x.csv", "\\\\.\\pipe\\x")]
        [False, True, True]
    """
    return output[:2].replace("\\", "/") == "//" and not Path(output).is_relative_to(root)


def _step(step: StepRun | None, root: Path, label: str = "", output: str | None = None) -> StepView:
    output = (None if step is None else step.output_path) or output
    is_unasked = output is not None and is_on_another_host(output, root)
    exists = True if is_unasked else file_exists(output) if output else False
    why = None if exists else _NO_ANSWER if exists is None else "no output is available for this step yet"
    if step is None:
        return StepView(label, Mark("not run"), None, None, None, output, why)
    mark = run_mark(step.status)
    rows = rows_text(step)
    return StepView(step.label, mark, step.started_at_utc, step.elapsed_s, step.error, output, why, rows)
