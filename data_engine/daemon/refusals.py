"""Why a retry or a stop cannot be done now, and what works instead: with a daemon, and without one."""

from __future__ import annotations

from data_engine.commands.runs import Retry
from data_engine.commands.situation import Situation
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.formatting import typed
from data_engine.model import Run
from data_engine.notebook.deploy import not_deployed
from data_engine.status.build import FlowFacts, WorkspaceFacts, build_status
from data_engine.status.deployed_before import find_flow
from data_engine.status.offline import OfflineFacts

_ID_LENGTH = 8


def no_retry_here(home: LocalWorkspace, flow: str | None, source: str | None) -> FlowValidationError:
    """Why nothing of the flow (None: of any) is tried again while no daemon runs here, and what works now.

    Raises:
        FlowValidationError: there is no such flow.
    """
    known = OfflineFacts(home).facts()
    found = None if flow is None else _flow(home, known, flow)
    if found is not None and known.elsewhere is None:
        refusal = Retry(flow, source).check(Situation(build_status(known)))
        refused = None if refusal is None or not refusal.binds else refusal.error("retry")
        if (error := _of_draft(found) or refused) is not None:
            return error
    return no_daemon(home, f"start it with `{typed('start')}`, which tries whatever is held")


def no_stop_here(home: LocalWorkspace, flow: str) -> FlowValidationError:
    """That nothing of the flow runs in a daemon here, and what keeps it from running by itself.

    Raises:
        FlowValidationError: there is no such flow.
    """
    known = OfflineFacts(home).facts()
    found = _flow(home, known, flow)
    there = [run for run in known.active if run.flow == flow]
    if there:
        return no_daemon(
            home,
            f"end its run where it runs, in process {there[0].pid}: with Ctrl-C, or by an interrupt of the kernel",
        )
    if found.entry.mode == "manual" or found.standing.kind == "not_deployed":
        return no_daemon(home, f"there is nothing to stop: nothing of {flow} runs, and it does not run by itself")
    if not found.is_enabled:
        return no_daemon(home, f"there is nothing to stop: nothing of {flow} runs, and it is disabled")
    return no_daemon(
        home, f"nothing of {flow} runs; to keep it from running by itself later: `{typed('disable', flow)}`"
    )


def no_stop_run_here(home: LocalWorkspace, run_id: str) -> FlowValidationError:
    """Why a run cannot be ended while no daemon runs here: as far as it is known, it has ended, or another process has it."""
    ledger = home.ledger()
    ledger.recover()
    run = ledger.run(run_id)
    return no_daemon(home) if run is None else not_here(run)


def not_here(run: Run) -> FlowValidationError:
    """Why a run cannot be ended by a daemon that does not have it.

    Example:
        >>> print(not_here(Run("3f9c12ab77", "claims", "Claims", None, "success", "2026-01-05T06:00:00+00:00")))
        run 3f9c12ab had ended already, and nothing was stopped: success
          where: run id
          fix:   `data-engine log 3f9c12ab` shows it; `data-engine status` shows what runs
    """
    short = run.run_id[:_ID_LENGTH]
    if run.status == "started":
        return FlowValidationError(
            f"run {short} is not running in this daemon: another process runs it",
            where="run id",
            fix="stop it where it was started, with Ctrl-C or by interrupting its kernel",
        )
    return FlowValidationError(
        f"run {short} had ended already, and nothing was stopped: {run.status}",
        where="run id",
        fix=f"`{typed('log', short)}` shows it; `{typed('status')}` shows what runs",
    )


def _flow(home: LocalWorkspace, known: WorkspaceFacts, name: str) -> FlowFacts:
    found = known.flow(name)
    if found is None:
        find_flow(home, name)
        raise FlowValidationError(f"there is no flow {name!r}", where="flow name", fix=typed("list"))
    return found


def _of_draft(found: FlowFacts) -> FlowValidationError | None:
    """The error of a flow that production cannot run."""
    entry = found.entry
    if entry.flow is None:
        return entry.error
    if found.standing.kind != "not_deployed":
        return None
    return not_deployed(entry.name, str(entry.path), found.standing.shares_with)


def no_daemon(home: LocalWorkspace, fix: str | None = None) -> WorkspaceError:
    """That no daemon runs here, and what starts it, or another `fix`."""
    return WorkspaceError(
        f"no daemon of {home.layout.workspace_id} runs on this machine",
        where=str(home.layout.root),
        fix=fix or f"start it with `{typed('start')}`, or Workspace.start()",
    )
