"""The commands that speak to the daemon: start and stop it, and act on its runs and flows (`enable`, `disable`: whether they run by themselves)."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_engine.cli.options import (
    AsJson,
    SomeFlowName,
    Wait,
    chosen_workspace,
    done,
    in_flow_modules,
    named,
    say_left,
    source_from_shell,
)
from data_engine.cli.output import Failed, complain, print_json, say, status_style
from data_engine.errors import FlowValidationError, OwnedElsewhereError, WorkspaceError
from data_engine.formatting import cli_line, duration_words, first_few, plural
from data_engine.ledger.logs import warned_words
from data_engine.ledger.run_warnings import runs_as_json, warning_texts, warnings_of
from data_engine.platforms.terminals import is_terminal
from data_engine.status.runs import also_read_words
from data_engine.status.sentences import ended_words, ends_words, freed_words, never_begins_words
from data_engine.view.status import fresh_status

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.model import ActiveRun, Run
    from data_engine.status.deploy_lines import Starting
    from data_engine.status.record import FlowStatus, WorkspaceStatus


_MOST_NAMED = 3


def start(
    ctx: typer.Context,
    engine: Annotated[
        bool, typer.Option("--engine/--no-engine", help="Also start the engine, so that flows run by themselves.")
    ] = True,
    as_json: AsJson = False,
) -> int:
    """Start the daemon and its engine. They keep running when this shell or kernel ends."""
    ws = chosen_workspace(ctx)
    ws.settings()  # nothing is started by settings that cannot be used; the status has their warnings
    if not engine and ws.link.find() is None:
        ws.stop_engine()  # else it would come back where an earlier daemon died with its engine on
    before = ws.status() if engine and not as_json and ws.link.find() is not None else None
    ws.start()
    if engine:
        _start_engine(ws)
    if as_json:
        print_json(fresh_status(ws).as_dict())
        return 0
    for line in started_lines(ws.status()):
        say(line)
    if before is not None and (words := tried_again_words(before.flows)):
        say(words)
    return 0


def _start_engine(ws: Workspace) -> None:
    """Start the engine; where the older system owns the workspace, the error names the machine."""
    try:
        ws.start_engine()
    except OwnedElsewhereError as error:
        from data_engine.lease.older_owner import look_at_leases

        leases = look_at_leases(ws.layout.workspace_state_dir, ws.layout.workspace_id)
        owners = [lease.owner for lease in leases if lease.state in ("live", "left_behind")]
        if not owners:
            raise
        raise OwnedElsewhereError(f"{error.what} ({', '.join(owners)})", where=error.where, fix=error.fix) from error


def started_lines(status: WorkspaceStatus) -> tuple[str, str]:
    """The lines about a started daemon: itself, and its engine with the number of flows that run by themselves.

    Example:
        >>> from data_engine.status.record import DaemonFacts, EngineFacts, FlowStatus, WorkspaceStatus
        >>> flows = (FlowStatus("claims", mode="poll"), FlowStatus("parts"))
        >>> daemon, engine = DaemonFacts(running=True, pid=7), EngineFacts(on=True)
        >>> started_lines(WorkspaceStatus("c", "/c", daemon=daemon, engine=engine, flows=flows))
        ('The daemon runs (pid 7).', 'The engine is on: 1 of 2 flows runs by itself.')
    """
    daemon, flows = f"The daemon runs (pid {status.daemon.pid}).", status.flows
    if not status.engine.on:
        return daemon, f"The engine is off: `{cli_line('start')}` turns it on."
    count = sum(
        flow.mode != "manual" and flow.enabled and flow.deployment_status.kind != "not_deployed" for flow in flows
    )
    of_all = f"{count:,} of {plural(len(flows), 'flow')}"
    return daemon, f"The engine is on: {of_all} {'runs by itself' if count == 1 else 'run by themselves'}."


def tried_again_words(flows: Sequence[FlowStatus]) -> str:
    """The line about what a person who starts the engine lets run again; "" for nothing. `flows` are as they were before.

    Example:
        >>> from data_engine.status.record import FlowStatus
        >>> tried_again_words([FlowStatus("claims", held=2), FlowStatus("parts"), FlowStatus("rates", retried=1)])
        'What was held, or waited to be tried again, runs again now: claims (2 files), rates (1 file).'
    """
    counts = {flow.name: flow.held + flow.retried for flow in flows if flow.enabled}
    again = [f"{name} ({plural(count, 'file')})" for name, count in counts.items() if count]
    return (
        f"What was held, or waited to be tried again, runs again now: {first_few(again, _MOST_NAMED)}." if again else ""
    )


def stop(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="FLOW|RUN", callback=named, help="A flow, or the id of a run or its first characters."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Stop a flow or a run at its next step; without a name the engine, and the daemon when its running work is done."""
    ws = chosen_workspace(ctx)
    if name is None:
        return _stop_engine(ws, as_json)
    if _is_run(ws, name):
        return _stop_run(ws, name, as_json)
    is_disabled = ws.stop_flow(name)
    ending = [run.run_id for run in ws.status().active_runs if run.flow == name and run.in_daemon]
    text = f"{ends_words(name, is_disabled=is_disabled)}{ending_now_words(ending)}"
    return done({"flow": name, "disabled": is_disabled}, text, as_json)


def _is_run(ws: Workspace, name: str) -> bool:
    """Whether a name is the id of a run: it looks like one, and no flow has this name."""
    from data_engine.status.deployed_before import find_flow

    if re.fullmatch(r"[0-9a-f-]{2,}", name) is None:
        return False
    try:
        find_flow(ws.home, name)
    except FlowValidationError:
        return True
    return False


def _stop_engine(ws: Workspace, as_json: bool) -> int:
    was_running, status = ws.link.find_heard() is not None, None
    if was_running:
        with suppress(FlowValidationError):  # a daemon without a status is stopped all the same
            status = ws.status()
    ws.stop_engine()
    ws.shutdown()
    running = [run for run in status.active_runs if run.in_daemon] if status is not None else []
    text = stopping_words(running, is_ending=status is not None and status.daemon.ending)
    return done({"was_running": was_running}, text if was_running else "No daemon was running.", as_json)


def ending_now_words(run_ids: Sequence[str]) -> str:
    """The commands that end stopping runs at once, after a blank; "" without runs.

    Example:
        >>> ending_now_words(["3f9c12ab77"]), ending_now_words([])
        (' To end one at once: `data-engine kill 3f9c12ab`.', '')
    """
    if not run_ids:
        return ""
    ways = " or ".join(f"`{cli_line('kill', run_id[:8])}`" for run_id in run_ids[:_MOST_NAMED])
    more = f", and so on: `{cli_line('status')}` has the ids" if len(run_ids) > _MOST_NAMED else ""
    return f" To end one at once: {ways}{more}."


def stopping_words(running: Sequence[ActiveRun], *, is_ending: bool) -> str:
    """What a stopped daemon waits for; it `is_ending` when somebody stopped it before.

    Example:
        >>> from data_engine.model import ActiveRun
        >>> run = ActiveRun("3f9c12ab77", "claims", "C", None, "", 7, in_daemon=True)
        >>> stopping_words([run], is_ending=False)
        'The daemon ends when its running work is done: claims (run 3f9c12ab). `data-engine kill` ends it now.'
        >>> stopping_words([], is_ending=True)
        'The daemon is ending already.'
    """
    begin = "The daemon is ending already" if is_ending else "The daemon ends when its running work is done"
    if not running:
        return f"{begin}."
    first = f"{running[0].flow} (run {running[0].run_id[:8]})"
    more = f" and {plural(len(running) - 1, 'more run')}" if len(running) > 1 else ""
    waits = ", and waits for" if is_ending else ":"
    return f"{begin}{waits} {first}{more}. `{cli_line('kill')}` ends it now."


def kill(
    ctx: typer.Context,
    run_id: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The id of a run, or its first characters: only its process.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="End the daemon without asking.")] = False,
    as_json: AsJson = False,
) -> int:
    """End the process of a run now; without one, after a question on a terminal, the daemon and all it runs. Those runs are marked as abandoned; what began by itself is done again later."""
    if run_id is not None:
        return _kill_run(chosen_workspace(ctx), run_id, as_json)
    root = ctx.find_root().params.get("workspace")
    running: list[ActiveRun] = []
    try:
        ws = chosen_workspace(ctx)
        if ws.link.find(tells=False) is not None:
            with suppress(FlowValidationError):  # a daemon without a status is ended all the same
                running = [run for run in ws.status().active_runs if run.in_daemon]
            if not (yes or as_json or _is_confirmed(running)):
                say("Nothing was ended.")
                return 1
        was_running = ws.kill()
    except WorkspaceError:
        if root is None or not _kill_left_behind(Path(root)):
            raise
        was_running = True
    text = "Ended the daemon and its workers" if was_running else "No daemon was running"
    if was_running and running:
        named = first_few([f"{run.flow} (run {run.run_id[:8]})" for run in running], _MOST_NAMED)
        text += f", and with them {plural(len(running), 'run')}: {named}"
    return done({"was_running": was_running}, f"{text}.", as_json)


def _is_confirmed(running: Sequence[ActiveRun]) -> bool:
    """Whether somebody at a terminal says yes; without a terminal it counts as yes."""
    runs = f", and with it {plural(len(running), 'run')}" if running else ""
    return not is_terminal(sys.stdin) or typer.confirm(f"End the daemon now{runs}?", err=True)


def _kill_left_behind(root: Path) -> bool:
    """End the daemons of workspaces that were at `root` before; whether there was one."""
    from data_engine.daemon.start import kill_daemon
    from data_engine.engine.local_workspace import LocalWorkspace
    from data_engine.workspace.identity import layouts_seen_at
    from data_engine.workspace.layout import WorkspaceLayout

    ended = [kill_daemon(LocalWorkspace(WorkspaceLayout(root), local)) for local in layouts_seen_at(root)]
    return any(ended)


def retry(
    ctx: typer.Context,
    name: SomeFlowName = None,
    source: Annotated[str | None, typer.Option("--source", metavar="PATH", help="Only this file.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Accept what holds the flow, such as sources that are gone.")
    ] = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> int:
    """Try failed sources again: of one flow, of all, or one file."""
    from data_engine.commands.runs import Freed

    if source is not None and name is None:
        raise FlowValidationError(
            "--source says which file, but not of which flow",
            where="data-engine retry --source",
            fix="name the flow: data-engine retry FLOW --source PATH",
        )
    answer = chosen_workspace(ctx)._retry(name, source_from_shell(source), wait, accept) or Freed()
    runs = cli_line("runs", *([] if name is None else [name]))
    then = f" `{runs}` shows the result." if answer.freed or answer.accepted else ""
    words = freed_words(answer.freed, answer.accepted, answer.left)
    facts = {"flow": name, "source": source, "freed": answer.freed, "accepted": answer.accepted, "left": answer.left}
    return done(facts, f"{words}{then}", as_json)


def is_not_deployed(ws: Workspace, name: str) -> bool:
    """Whether the flow is not deployed; False where another workstation owns the workspace."""
    return not is_owned_elsewhere(ws) and ws.deployment_status(name).kind == "not_deployed"


def _stop_run(ws: Workspace, run_id: str, as_json: bool) -> int:
    """Ask a run of the daemon to end at its next step, map item, context.log or context.progress; one that waits does not begin."""
    had_begun = ws.stop_run(run_id)
    text = (
        f"{ends_words()}{ending_now_words([run_id])}" if had_begun else never_begins_words(ws.home.ledger().run(run_id))
    )
    return done({"run_id": run_id, "had_begun": had_begun}, text, as_json)


def _kill_run(ws: Workspace, run_id: str, as_json: bool) -> int:
    """End the process of a run of the daemon, now; a run that waits does not begin."""
    had_begun = ws.kill_run(run_id)
    text = "Its process was ended." if had_begun else never_begins_words(ws.home.ledger().run(run_id))
    return done({"run_id": run_id, "had_begun": had_begun}, text, as_json)


def run_in_daemon(
    ws: Workspace,
    name: str | None,
    source: str | None,
    params: Mapping[str, Any],
    as_json: bool,
    wait: bool = True,
) -> int:
    """Let the daemon run the deployed flow, and wait for its runs; 1 when any failed."""
    if name is None:
        raise FlowValidationError(
            "which flow?", where="data-engine run", fix="name it: data-engine run NAME; `data-engine list` shows them"
        )
    answer = _ask_for_runs(ws, name, source, params, wait)
    if not wait and not answer:
        return say_left(as_json)
    runs = answer if answer and not isinstance(answer[0], str) else _wait_for(ws, name, answer)
    failed = sum(run.status != "success" for run in runs)
    if as_json:
        print_json({"runs": runs_as_json(ws.home.ledger(), runs)})
    else:
        warnings = warnings_of(ws.home.ledger(), [run.run_id for run in runs])
        for run in runs:
            _say_run(run, warnings.get(run.run_id, 0))
            if source is not None and (words := also_read_words(run)):
                say(f"  {words}")
        for text in warning_texts(ws.home.ledger(), runs):
            complain(f"warning: {text}", style="yellow")
        if not runs:
            _say_why_nothing(ws, name)
        warned = warned_words(sum(warnings.values()))
        say(", ".join(filter(None, [ended_words([run.status for run in runs]), warned])))
    return 1 if failed else 0


def _say_why_nothing(ws: Workspace, name: str) -> None:
    """Print why the deployed flow has no file to run for now."""
    from data_engine.notebook.deployments import deployed_entries
    from data_engine.status.places import why_nothing

    with in_flow_modules(ws):
        for entry in deployed_entries(ws.home.deployments(), [name]):
            if entry.flow is not None:
                say(f"{'-':<8} {name}  {why_nothing(entry.flow)}")


def is_owned_elsewhere(ws: Workspace) -> bool:
    """Whether another workstation owns the workspace."""
    return ws.lease().is_elsewhere


def _ask_for_runs(ws: Workspace, name: str, source: str | None, params: Mapping[str, Any], wait: bool) -> list[Any]:
    """Ask for runs: their ids, or the ended runs where the owner is another workstation; say what was started for it."""
    from data_engine.daemon.control import silent_daemon, was_engine_on
    from data_engine.status.deployed_before import find_flow

    is_daemon_missing = ws.link.find() is None and silent_daemon(ws.home.local) is None
    is_elsewhere = is_owned_elsewhere(ws)
    if is_daemon_missing and not is_elsewhere and name not in ws.home.deployments().deployed():
        find_flow(ws.home, name)  # no daemon is started for a name that was mistyped
    goes_on = is_daemon_missing and not is_elsewhere and was_engine_on(ws.home.ledger())
    try:
        answer = ws.run(name, wait=wait and is_elsewhere, source=source, params=params)
    except FlowValidationError as error:
        if any(flow.name == name and flow.state_kind == "broken" for flow in ws.status().flows):
            raise Failed(error) from error
        raise
    if is_daemon_missing:
        complain(f"No daemon ran: one was started for this. `{cli_line('stop')}` ends it.", style="yellow")
    if goes_on:
        complain(
            "The engine was on when the last daemon died, and is on again: data-engine stop turns it off.",
            style="yellow",
        )
    return answer


def _say_what_is_not_run(ws: Workspace, name: str) -> None:
    status = ws.deployment_status(name)
    if status.kind == "gone":
        complain(status.edit or "", style="yellow")
    if status.is_edited:
        edit = f"`{cli_line('preview', name)}` shows it, `{cli_line('deploy', name)}` lets production run it"
        way = "" if status.rolled_back_to else f". The edit: {edit}"
        complain(f"{status.text}: what is deployed runs{way}", style="yellow")


def _wait_for(ws: Workspace, name: str, run_ids: list[Any]) -> list[Run]:
    try:
        _say_what_is_not_run(ws, name)
        return ws.wait(run_ids)
    except FlowValidationError as error:
        raise Failed(error) from error


def _say_run(run: Run, warnings: int) -> None:
    taken = ", ".join(filter(None, [duration_words(run.elapsed_s), warned_words(warnings)]))
    say(
        f"{run.status:<8} {run.flow}  {run.source or ''}  {taken}  run {run.run_id[:8]}",
        style=status_style(run.status),
    )
    if run.error or (run.cause and run.status != "success"):
        say(f"  {run.error or run.cause}")
    if warnings:
        say(f"  `{cli_line('log', run.run_id[:8])}` shows {'it' if warnings == 1 else 'them'}")


Names = Annotated[
    list[str],
    typer.Argument(metavar="NAME", callback=named, help="The flows: their files' names without the ending."),
]


def enable(ctx: typer.Context, names: Names, wait: Wait = True, as_json: AsJson = False) -> int:
    """Let flows run by themselves again."""
    from data_engine.status.deploy_lines import Starting

    ws = chosen_workspace(ctx)
    _require_known(ws, names)
    facts: list[dict[str, Any]] = []
    lines: list[str] = []
    before = ws.status()
    manual = _manual(before)
    disabled = set() if is_owned_elsewhere(ws) else {flow.name for flow in before.flows if not flow.enabled}
    for name in dict.fromkeys(names):
        starts = _starting(ws, name) if name in disabled else Starting()
        ws.enable(name, wait)
        facts.append({"flow": name, "enabled": True, "slots": starts.slots, "files": starts.files})
        if is_not_deployed(ws, name):
            lines.append(f"{name} is enabled, but runs by itself only when it is deployed: {cli_line('deploy', name)}")
        elif name in manual:
            lines.append(
                f"{name} is enabled. It has no trigger: it runs when somebody runs it ({cli_line('run', name)})."
            )
        else:
            lines.append(f"{name} is enabled: it runs as its trigger says while the engine is on.")
            lines += filter(None, [starts.when(is_on=before.engine.on is True, how=cli_line("start"))])
    return done(facts[0] if len(facts) == 1 else facts, "\n".join(lines), as_json)


def disable(
    ctx: typer.Context,
    names: Names,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="The reason, for others who see them.")] = "",
    wait: Wait = True,
    as_json: AsJson = False,
) -> int:
    """Let flows run by hand only. Who disabled them, and when, is recorded and shown."""
    ws = chosen_workspace(ctx)
    _require_known(ws, names)
    facts: list[dict[str, Any]] = []
    lines: list[str] = []
    manual = _manual(ws.status())
    for name in dict.fromkeys(names):
        ws.disable(name, wait, note)
        facts.append({"flow": name, "enabled": False})
        if is_not_deployed(ws, name):
            lines.append(
                f"{name} is not deployed, so nothing of it runs by itself. Once it is deployed, it runs by hand only, until you enable it: {cli_line('enable', name)}"
            )
        elif name in manual:
            lines.append(
                f"{name} has no trigger, so it runs by hand only as before; with one it does so too, until it is enabled: {cli_line('enable', name)}"
            )
        else:
            lines.append(f"{name} runs by hand only, until it is enabled: {cli_line('enable', name)}")
    return done(facts[0] if len(facts) == 1 else facts, "\n".join(lines), as_json)


def _manual(status: WorkspaceStatus) -> set[str]:
    """The flows that only people run."""
    return {flow.name for flow in status.flows if flow.mode == "manual"}


def _require_known(ws: Workspace, names: Sequence[str]) -> None:
    """Require that each of several flows exists: a misspelt name must not leave half of them switched."""
    from data_engine.status.deployed_before import find_flow

    if len(names) > 1:
        deployed = ws.home.deployments().deployed()
        for name in names:
            if name not in deployed:
                find_flow(ws.home, name)


def _starting(ws: Workspace, name: str) -> Starting:
    """What starts once a disabled flow is enabled; nothing where that is not known."""
    from data_engine.notebook.deployments import deployed_entries
    from data_engine.status.deploy_lines import Starting, starting

    with suppress(FlowValidationError), in_flow_modules(ws):  # it is enabled all the same
        for entry in deployed_entries(ws.home.deployments(), [name]):
            if entry.flow is not None:
                return starting(ws.home, entry.flow)
    return Starting()
