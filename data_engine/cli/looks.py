"""What the commands print that only look: `status`, `list`, `runs` and `explain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

from data_engine.cli.daemon_lines import daemon_lines, ending_words, last_run_words
from data_engine.cli.fresh_status import fresh_status
from data_engine.cli.list_warnings import say_misleading_names, say_warned, say_what_is_wrong
from data_engine.cli.output import complain, local_time, print_json, say, seconds, started, status_style, table
from data_engine.cli.short_paths import short_path, source_names
from data_engine.cut import beginning
from data_engine.engine.fact import zoned_words
from data_engine.engine.failures import short_error
from data_engine.engine.reasons import Disabled, NotYet
from data_engine.engine.run_facts import slot_words
from data_engine.engine.wording import held_words, in_the_way, told_once, undelivered_words
from data_engine.errors import FlowValidationError
from data_engine.file_check import file_exists
from data_engine.lease.status import lease_lines
from data_engine.ledger.warned import runs_as_json, warned_words, warnings_of
from data_engine.typed import typed

if TYPE_CHECKING:
    from data_engine.cli.output import Table
    from data_engine.client import Workspace
    from data_engine.engine.explain import Explanation
    from data_engine.engine.fact import Fact
    from data_engine.engine.status import ActiveRun, FlowStatus, Status
    from data_engine.engine.waiting_runs import WaitingRuns
    from data_engine.model import Run
    from data_engine.notebook.catalog import CatalogEntry

RunStatus: TypeAlias = Literal["started", "success", "failed", "stopped", "killed", "abandoned"]

MOST_RUNS = 20
"""How many runs are told without `--limit`."""

_ID_LENGTH = 8
_LONGEST_ERROR = 160
"""Of one held source among others, in letters."""
_MOST_UNDELIVERED = 5
_MOST_WAITING = 5
"""Runs of one flow that are listed, each to be stopped alone; `status --json` has more."""


def tell_status(ws: Workspace, as_json: bool) -> int:
    """What the daemon, its engine and each flow do, what runs now, and what waits and why."""
    found = fresh_status(ws)
    if as_json:
        print_json(found.as_dict())
        return 0
    _say_workspace(found, ws)
    _say_requests(found)
    for one in found.backfills:
        if one.state == "running" or one.failed:
            say(f"backfill {one.flow}: {one.text}  ({one.id[:8]})")
    say("")
    _say_flows(found.flows, found.active_runs)
    if found.active_runs:
        say("")
        _say_active(found.active_runs)
    if found.waiting_runs:
        say("")
        _say_waiting(found.waiting_runs)
    return 0


def tell_flows(ws: Workspace, as_json: bool) -> int:
    """The flows, as production runs them where an edit is not deployed, and what is wrong with broken modules."""
    from data_engine.engine.source_trouble import with_source_warnings
    from data_engine.lease.status import shown_machine
    from data_engine.notebook.catalog import read_catalog
    from data_engine.notebook.deployed import with_gone

    with in_flow_modules(ws):
        there = read_catalog(ws.home.modules(), kept=ws.home.descriptions())
        deployments = ws.home.deployments()
        deployment = deployments.standing({entry.name for entry in there} | deployments.deployed().keys())
        gone = {name: one for name, one in deployment.items() if one.kind == "gone"}
        entries = with_gone(there, deployments, deployment, ws.home.deployed_descriptions())
        coming, stands = ws.next_runs(), standing_to_expected(ws, entries)
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
        name: "not known here" if is_unknown and one.kind == "not_deployed" else one.text
        for name, one in deployment.items()
    }
    say(_flows_table(ws, entries, coming, texts, stands))
    for entry in entries:
        if entry.name in off:
            say(f"{entry.name}: {off[entry.name].text}")
    if lease.owner is not None and "not known here" in texts.values():
        complain(
            f"What {shown_machine(lease.owner)} deployed is known here after a daemon has started: data-engine start --no-engine"
        )
    say_misleading_names(ws, [entry.path for entry in there if entry.error is None])
    say_what_is_wrong(entries, gone)
    say_warned(there)
    say_not_flows(ws)
    return 0


def _flows_table(
    ws: Workspace,
    entries: Sequence[CatalogEntry],
    coming: Mapping[str, str],
    texts: Mapping[str, str],
    stands: Mapping[str, Fact],
) -> Table:
    from data_engine.notebook.catalog import clock_zone, trigger_here

    columns = ("NAME", "TITLE", "GROUP", "MODE", "TRIGGER", "SOURCE", "NEXT", "PRODUCTION")
    has_expected = any(entry.flow is not None and entry.flow.expectations for entry in entries)
    timezone = ws.home.settings_shown().timezone
    flows = table(
        *(*columns, *(["EXPECTED"] if has_expected else [])),
        cut=("NAME", "TITLE", "GROUP", "TRIGGER", "SOURCE", "PRODUCTION", "EXPECTED"),
        spare=("TITLE", "MODE", "GROUP"),
        whole=f"`{typed('show')} NAME` shows it in full.",
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
    from data_engine.scheduler.plan import disabled_by

    found = {flow: disabled_by(switch) for flow, switch in ws.home.ledger().switches().items()}
    return {flow: why for flow, why in found.items() if why is not None}


def standing_to_expected(ws: Workspace, entries: Sequence[CatalogEntry]) -> dict[str, Fact]:
    """How the flows stand to what is expected of them, by name; asked only where anything is."""
    if not any(entry.flow is not None and entry.flow.expectations for entry in entries):
        return {}
    return {flow.name: flow.expected for flow in ws.status().flows if flow.expected is not None}


def _expected(entry: CatalogEntry, stands: Mapping[str, Fact]) -> str:
    from data_engine.flow.expectation import expectation_words

    if entry.name in stands:
        return stands[entry.name].text
    return "" if entry.flow is None else expectation_words(entry.flow.expectations)


def tell_runs(
    ws: Workspace,
    name: str | None,
    limit: int | None,
    as_json: bool,
    *,
    status: RunStatus | None = None,
    since: str | None = None,
    until: str | None = None,
) -> int:
    """What ran on this machine, newest first, and how many of them are not told."""
    from data_engine.engine.found_runs import find_runs, wanted_runs
    from data_engine.engine.slot_zones import slot_zones

    ledger = ws.home.ledger()
    ledger.recover()
    asked = find_runs(ws.home, name, MOST_RUNS if limit is None else limit, wanted_runs(status, since, until))
    found = asked.runs
    given = {"--limit": asked.total, "--status": status, "--since": since, "--until": until}
    again = typed("runs", *_given(name, given), *(["--json"] if as_json else []))
    left = f"The newest {len(found):,} of {asked.total:,} runs: `{again}` shows all." if asked.cut else ""
    if as_json:
        print_json(runs_as_json(ledger, found))
        if left and limit is None:  # who gives a limit knows of it
            complain(left)
    elif not found:
        say("No such runs on this machine.")
        _say_behind(ws)
    else:
        warned = warnings_of(ledger, [run.run_id for run in found])
        shown = table(
            *("RUN", "FLOW", "SOURCE", "STATUS", "STARTED", "TIME", "ERROR"),
            right=("TIME",),
            cut=("FLOW", "SOURCE", "ERROR"),
            spare=("TIME",),
            whole=f"`{typed('log')} RUN` shows all of a run; `--json` shows these runs in full.",
        )
        names = source_names((run.source for run in found if run.source is not None), ws.root)
        zones = slot_zones(ws.home, (run for run in found if run.source is None))
        for run in found:
            told = slot_words(run, zones.get(run.flow)) if run.source is None else names[run.source]
            row = _row(run, warned.get(run.run_id, 0), told)
            shown.add_row(*row, style=status_style(run.status) if run.status != "success" else "")
        say(shown)
        if left:
            say(f"\n{left}")
        _say_behind(ws)
    return 0


def _say_behind(ws: Workspace) -> None:
    """Tell where more was published than this machine has; a daemon takes it in."""
    if words := ws.link.behind_words():
        complain(words, style="yellow")


def _given(name: str | None, options: Mapping[str, object]) -> list[str]:
    """The name and the options that were given, as words of a command."""
    given = [(option, str(value)) for option, value in options.items() if value is not None]
    return [*([] if name is None else [name]), *(word for pair in given for word in pair)]


def tell_reasons(ws: Workspace, subject: str, as_json: bool) -> int:
    """Why a flow, or a source file, does or does not run; for an output, which run wrote it."""
    try:
        reasons = ws.explain(subject)
    except FlowValidationError:
        if not as_json:
            _say_behind(ws)
        raise
    if as_json:
        print_json([one.as_dict() for one in reasons])
        return 0
    from data_engine.engine.explain import ways

    has_next = any(one.next_run_utc is not None for one in reasons)
    shown = table(
        *("FLOW", "SOURCE", "REASON", *(["NEXT"] if has_next else [])),
        cut=("FLOW", "SOURCE"),
        wrap=("REASON",),
        whole=f"`{typed('explain', subject, '--json')}` shows it in full.",
    )
    for one in reasons:
        source = "" if one.source is None else short_path(one.source, ws.root)
        shown.add_row(
            one.flow, source, bounded_reason(one), *([zoned_words(one.next_run_utc, one.tz)] if has_next else [])
        )
    say(shown)
    for number, way in enumerate(ways(reasons)):
        say(way if number else f"\n{way}")
    _say_behind(ws)
    return 0


def bounded_reason(one: Explanation) -> str:
    """The reason in words; of what is held the error only as far as it tells what failed, and not where its source lies."""
    from dataclasses import replace

    from data_engine.engine.flow_reasons import LastRunFailed
    from data_engine.engine.reasons import Held, RetryLater

    if not isinstance(one.why, (Held, RetryLater, LastRunFailed)) or not one.why.error:
        return one.reason
    error = beginning(short_error(one.why.error, one.cause), _LONGEST_ERROR)
    return replace(one, why=replace(one.why, error=error)).reason


def say_not_flows(ws: Workspace) -> None:
    """Name the notebooks that are no flows because of where they lie or what they are called."""
    from data_engine.notebook.subfolders import not_flows, notebooks_in_subfolders

    folder = ws.layout.flow_modules_dir
    for one in not_flows(folder, notebooks_in_subfolders(folder)):
        complain(f"{one}.", style="yellow")


@contextmanager
def in_flow_modules(ws: Workspace) -> Iterator[None]:
    """Inside, the working directory is the authored folder, as for every run that is not in the caller's own process."""
    try:
        going = chdir(ws.layout.flow_modules_dir)
        going.__enter__()
    except OSError as error:
        raise FlowValidationError(
            f"the flow_modules folder cannot be entered: {error.strerror}",
            where=str(ws.layout.flow_modules_dir),
            fix="check its permissions and whether its drive is connected",
        ) from error
    try:
        yield
    finally:
        going.__exit__(None, None, None)


def say_settings(ws: Workspace) -> None:
    """Tell of settings nobody reads, or that cannot be used, where nothing is run by them."""
    error = ws.home.settings_error()
    for warning in ws.settings().warnings if error is None else (error,):
        complain(f"warning: {warning}", style="yellow")


def require_known(ws: Workspace, name: str) -> None:
    """Refuse a name that is neither in the history nor a module's."""
    from data_engine.engine.deployed_before import find_flow

    find_flow(ws.home, name)


def _say_workspace(found: Status, ws: Workspace) -> None:
    say(f"{found.workspace_id}  {found.workspace_root}")
    for text, style in daemon_lines(found, ws):
        say(text, style=style)
    if found.service.installed:
        say(f"service  {found.service.text}", style="red" if found.service.trouble else "")
        if found.service.fix is not None:
            say(f"         fix: {found.service.fix}")
    for number, line in enumerate(lease_lines(found.lease) if found.lease.is_worth_words else ()):
        say(f"{'' if number else 'lease':<8} {line}")
    if found.trouble is not None:
        say(f"trouble  {found.trouble.what}", style="red")
        for part in ("where", "fix"):
            if found.trouble[part]:
                say(f"         {part}: {found.trouble[part]}")
    for warning in found.warnings:
        say(f"warning  {warning}", style="yellow")
    _say_unsent(found)


def _say_unsent(found: Status) -> None:
    unsent = told_once(found.undelivered)
    for number, (one, count) in enumerate(unsent[:_MOST_UNDELIVERED]):
        say(f"{'' if number else 'unsent':<8} {undelivered_words(one, local_time, count)}", style="red")
    if (more := len(unsent) - _MOST_UNDELIVERED) > 0:
        say(f"         and {more:,} more")
    if any(one.state == "given_up" for one, _ in unsent):
        say(
            f"         {typed('alert', 'history')} shows all of them; after that, those that were given up are left out here"
        )


def _say_requests(found: Status) -> None:
    for number, one in enumerate(found.requests):
        say(f"{'' if number else 'asked':<8} {one.text}")


def _say_flows(flows: Sequence[FlowStatus], runs: Sequence[ActiveRun]) -> None:
    shown = table(
        *("FLOW", "GROUP", "STATE", "NEXT", "LAST RUN", "REASON"),
        cut=("FLOW", "GROUP", "REASON"),
        spare=("GROUP",),
        whole=f"`{typed('explain')} FLOW` shows the full reason and what to do.",
    )
    for flow in flows:
        ended = last_run_words(flow, file_exists)
        held = held_words(flow.name, flow.held, None if flow.why is None else flow.why.kind)
        expected = None if flow.expected is None else flow.expected.text
        ending = ending_words(flow, runs)
        note = "; ".join(filter(None, [flow.edit, ending or reason_of(flow), held, expected]))
        row = (flow.name, flow.group or "", flow.state_text, zoned_words(flow.next_run_utc, flow.tz), ended, note)
        shown.add_row(*row, style="red" if flow.is_failing or flow.standing.is_edit_broken else "")
    say(shown)


def reason_of(flow: FlowStatus) -> str | None:
    """Why a flow does not run now, as a row of the status says it; of one that only waits for its time, which NEXT tells, and whose last run failed, why that did."""
    failed = in_the_way(flow.why, held=0, last_run=flow.last_run, is_running=False) if flow.is_failing else None
    return failed if isinstance(flow.why, NotYet) and failed is not None else flow.reason


def _say_active(runs: Sequence[ActiveRun]) -> None:
    columns = ("RUN", "FLOW", "SOURCE", "STATE", "STEP", "SINCE", "PROCESS")
    whole = f"`{typed('log')} RUN` shows all of a run."
    active = table(*columns, cut=("FLOW", "SOURCE", "STEP"), whole=whole)
    for run in runs:
        since = local_time(run.started_at_utc)
        process = "daemon" if run.in_daemon else f"pid {run.pid}"
        state = "stopping" if run.stopping else "running"
        active.add_row(run.run_id[:8], run.flow, run.source or "", state, run.step or "", since, process)
    say(active)


def _say_waiting(runs: Sequence[WaitingRuns]) -> None:
    columns = ("WAITING", "RUNS", "NEXT RUN", "SOURCE", "WHY")
    whole = f"`{typed('explain')} FLOW` shows it in full, and what to do."
    waiting = table(*columns, right=("RUNS",), cut=("WAITING", "SOURCE", "WHY"), whole=whole)
    for one in runs:
        first = one.runs[0].run_id if one.runs else ""
        waiting.add_row(one.flow, f"{one.count:,}", first[:_ID_LENGTH], one.source_name, one.reason)
        for then in one.runs[1:_MOST_WAITING]:
            waiting.add_row("", "", then.run_id[:_ID_LENGTH], then.source_name, "")
    say(waiting)


def _row(run: Run, warnings: int, told: str) -> tuple[str, ...]:
    """A run as a row, with its source or slot as it is `told`."""
    return (
        run.run_id[:_ID_LENGTH],
        run.flow,
        told,
        ", ".join(filter(None, [run.status, warned_words(warnings)])),
        started(run),
        seconds(run.elapsed_s),
        short_error(run.error or run.cause, run.why),
    )
