"""The daemon and its engine: start them, stop them or one of their flows or runs, and end them now."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from data_engine.errors import FlowValidationError, OwnedElsewhereError, WorkspaceError
from data_engine.formatting import cli_line, first_few, plural
from data_engine.marks import Mark
from data_engine.status.deployed_before import find_flow
from data_engine.status.sentences import ends_text, never_begins_text
from data_engine.view.card import Card, Lines, Note
from data_engine.view.status import fresh_status
from data_engine.view.verb import Answer, Option, Place, Subject, said

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.model import ActiveRun
    from data_engine.status.record import FlowStatus, WorkspaceStatus

_MOST_NAMED = 3


def start(
    place: Place,
    engine: Annotated[bool, Option("Also start the engine, so that flows run by themselves.")] = True,
) -> Answer:
    """Start the daemon and its engine. They keep running when this terminal or kernel ends."""
    ws = place.workspace
    ws.settings()  # nothing is started by settings that cannot be used; the status has their warnings
    if not engine and ws.link.find() is None:
        ws.stop_engine()  # else it would come back where an earlier daemon died with its engine on
    before = ws.status().flows if engine and ws.link.find() is not None else ()
    ws.start()
    if engine:
        _start_engine(ws)
    status = fresh_status(ws)
    lines = tuple(filter(None, (*started_lines(status), tried_again_text(before))))
    stops = cli_line("stop")
    outlives = f"It keeps running when this kernel or JupyterLab ends: {stops} ends it when its running work is done."
    notes = () if place.names is None else (Note(Mark(outlives)),)
    return Answer(lambda: Card("", parts=(Lines(lines),)), status.as_dict, notes)


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


def started_lines(status: WorkspaceStatus) -> tuple[str, ...]:
    """The lines about a started daemon: itself, its engine with the number of flows that run by themselves, and those that do not because
    nobody has deployed them.

    Example:
        >>> from data_engine.notebook.deployment_status import DeploymentStatus
        >>> from data_engine.status.record import DaemonFacts, EngineFacts, FlowStatus, WorkspaceStatus
        >>> parts = FlowStatus("parts", deployment_status=DeploymentStatus("not_deployed"))
        >>> flows = (FlowStatus("claims", mode="poll"), parts)
        >>> daemon, engine = DaemonFacts(running=True, pid=7), EngineFacts(on=True)
        >>> started_lines(WorkspaceStatus("c", "/c", daemon=daemon, engine=engine, flows=flows))
        ('The daemon runs (pid 7).', 'The engine is on: 1 of 2 flows runs by itself.', 'Not deployed, so nothing of it runs by itself: parts. To deploy it: `data-engine deploy parts`.')
    """
    daemon, flows = f"The daemon runs (pid {status.daemon.pid}).", status.flows
    if not status.engine.on:
        return daemon, f"The engine is off: `{cli_line('start')}` turns it on."
    count = sum(
        flow.mode != "manual" and flow.enabled and flow.deployment_status.kind != "not_deployed" for flow in flows
    )
    of_all = f"{count:,} of {plural(len(flows), 'flow')}"
    engine = f"The engine is on: {of_all} {'runs by itself' if count == 1 else 'run by themselves'}."
    undeployed = [flow.name for flow in flows if flow.deployment_status.kind == "not_deployed"]
    if not undeployed:
        return daemon, engine
    what, command = ("it", cli_line("deploy", undeployed[0])) if len(undeployed) == 1 else ("them", cli_line("deploy"))
    named = first_few(undeployed, _MOST_NAMED)
    return daemon, engine, f"Not deployed, so nothing of {what} runs by itself: {named}. To deploy {what}: `{command}`."


def tried_again_text(flows: Sequence[FlowStatus]) -> str:
    """The line about what a person who starts the engine lets run again; "" for nothing. `flows` are as they were before.

    Example:
        >>> from data_engine.status.record import FlowStatus
        >>> tried_again_text([FlowStatus("claims", held=2), FlowStatus("parts"), FlowStatus("rates", retried=1)])
        'What was held, or waited to be tried again, runs again now: claims (2 files), rates (1 file).'
    """
    counts = {flow.name: flow.held + flow.retried for flow in flows if flow.enabled}
    again = [f"{name} ({plural(count, 'file')})" for name, count in counts.items() if count]
    return (
        f"What was held, or waited to be tried again, runs again now: {first_few(again, _MOST_NAMED)}." if again else ""
    )


def stop(
    place: Place,
    name: Annotated[
        str | None, Subject("FLOW|RUN", "A flow, or the id of a run or its first characters.", "flow or run")
    ] = None,
) -> Answer:
    """Stop a flow or a run at its next step; without a name the engine, and the daemon when its running work is done."""
    ws = place.workspace
    if name is None:
        return _stop_engine(ws)
    if _is_run(ws, name):
        had_begun = ws.stop_run(name)
        text = f"{ends_text()}{ending_now_text([name])}" if had_begun else _never_begins(ws, name)
        return said(text, {"run_id": name, "had_begun": had_begun})
    is_disabled = ws.stop_flow(name)
    ending = [run.run_id for run in ws.status().active_runs if run.flow == name and run.in_daemon]
    text = f"{ends_text(name, is_disabled=is_disabled)}{ending_now_text(ending)}"
    return said(text, {"flow": name, "disabled": is_disabled})


def _is_run(ws: Workspace, name: str) -> bool:
    """Whether a name is the id of a run: it looks like one, and no flow has this name."""
    if re.fullmatch(r"[0-9a-f-]{2,}", name) is None:
        return False
    try:
        find_flow(ws.home, name)
    except FlowValidationError:
        return True
    return False


def _never_begins(ws: Workspace, run_id: str) -> str:
    return never_begins_text(ws.home.ledger().run(run_id))


def _stop_engine(ws: Workspace) -> Answer:
    was_running, status = ws.link.find_heard() is not None, None
    if was_running:
        with suppress(FlowValidationError):  # a daemon without a status is stopped all the same
            status = ws.status()
    ws.stop_engine()
    ws.shutdown()
    running = [run for run in status.active_runs if run.in_daemon] if status is not None else []
    text = stopping_text(running, is_ending=status is not None and status.daemon.ending)
    return said(text if was_running else "No daemon was running.", {"was_running": was_running})


def ending_now_text(run_ids: Sequence[str]) -> str:
    """The commands that end stopping runs at once, after a blank; "" without runs.

    Example:
        >>> ending_now_text(["3f9c12ab77"]), ending_now_text([])
        (' To end one at once: `data-engine kill 3f9c12ab`.', '')
    """
    if not run_ids:
        return ""
    ways = " or ".join(f"`{cli_line('kill', run_id[:8])}`" for run_id in run_ids[:_MOST_NAMED])
    more = f", and so on: `{cli_line('status')}` has the ids" if len(run_ids) > _MOST_NAMED else ""
    return f" To end one at once: {ways}{more}."


def stopping_text(running: Sequence[ActiveRun], *, is_ending: bool) -> str:
    """What a stopped daemon waits for; it `is_ending` when somebody stopped it before.

    Example:
        >>> from data_engine.model import ActiveRun
        >>> run = ActiveRun("3f9c12ab77", "claims", "C", None, "", 7, in_daemon=True)
        >>> stopping_text([run], is_ending=False)
        'The daemon ends when its running work is done: claims (run 3f9c12ab). `data-engine kill` ends it now.'
        >>> stopping_text([], is_ending=True)
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
    place: Place,
    run_id: Annotated[
        str | None, Subject("RUN", "The id of a run, or its first characters: only its process.", "run")
    ] = None,
    yes: Annotated[bool, Option("End the daemon without asking.")] = False,
) -> Answer:
    """End the process of a run now; without one, after a question to a person, the daemon and all it runs. Those runs are marked as abandoned; what began by itself is done again later."""
    if run_id is not None:
        ws = place.workspace
        had_begun = ws.kill_run(run_id)
        text = "Its process was ended." if had_begun else _never_begins(ws, run_id)
        return said(text, {"run_id": run_id, "had_begun": had_begun})
    running: list[ActiveRun] = []
    try:
        ws = place.workspace
        if ws.link.find(tells=False) is not None:
            with suppress(FlowValidationError):  # a daemon without a status is ended all the same
                running = [run for run in ws.status().active_runs if run.in_daemon]
            runs = f", and with it {plural(len(running), 'run')}" if running else ""
            question = Card(f"End the daemon now{runs}?")
            if place.reader == "person" and not place.confirm(question, "that would end the daemon", yes=yes):
                return said("Nothing was ended.", {"was_running": True}, code=1)
        was_running = ws.kill()
    except WorkspaceError:
        if place.root is None or not _kill_left_behind(Path(place.root)):
            raise
        was_running = True
    text = "Ended the daemon and its workers" if was_running else "No daemon was running"
    if was_running and running:
        named = first_few([f"{run.flow} (run {run.run_id[:8]})" for run in running], _MOST_NAMED)
        text += f", and with them {plural(len(running), 'run')}: {named}"
    return said(f"{text}.", {"was_running": was_running})


def _kill_left_behind(root: Path) -> bool:
    """End the daemons of workspaces that were at `root` before; whether there was one."""
    from data_engine.daemon.start import kill_daemon
    from data_engine.engine.local_workspace import LocalWorkspace
    from data_engine.workspace.identity import layouts_seen_at
    from data_engine.workspace.layout import WorkspaceLayout

    ended = [kill_daemon(LocalWorkspace(WorkspaceLayout(root), local)) for local in layouts_seen_at(root)]
    return any(ended)
