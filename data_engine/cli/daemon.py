"""`run` in the daemon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data_engine.cli.options import (
    in_flow_modules,
    say_left,
)
from data_engine.cli.output import Failed, complain, print_json, say, status_style
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line, duration_words
from data_engine.ledger.logs import warned_words
from data_engine.ledger.run_warnings import runs_as_json, warning_texts, warnings_of
from data_engine.status.runs import also_read_words
from data_engine.status.sentences import ended_words

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.model import Run


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
