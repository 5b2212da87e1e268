"""Ending one run of a daemon: one that runs, one that its worker was handed, or one that waits for its turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from data_engine.daemon.daemon import Daemon
from data_engine.daemon.refusals import not_here
from data_engine.daemon.worker_pool import STOP_REQUESTED
from data_engine.errors import FlowValidationError
from data_engine.ledger.ledger import Ledger
from data_engine.model import Run
from data_engine.status.runs import no_run


def known_run(ledger: Ledger, run_id: str) -> Run:
    """The run of this id, or of the only one that begins so.

    Raises:
        FlowValidationError: there is none, or several begin so.
    """
    run = ledger.run(run_id)
    if run is None:
        fix = "take the id from `data-engine runs`; `data-engine status` has the ids of runs that wait"
        raise no_run(ledger, run_id, f"there is no run {run_id!r}", fix)
    return run


def stop_run(daemon: Daemon, run_id: str) -> dict[str, Any]:
    """Ask a run to end at its next step or item, or let it not begin; its id, and whether it `waited` for its turn.

    Raises:
        FlowValidationError: no worker has it, and it does not wait.
    """
    told = _end(daemon, run_id, daemon.workers.stop)
    if not told["waited"]:
        daemon.dispatcher.note_stop(told["run_id"])
    return told


def kill_run(daemon: Daemon, run_id: str) -> dict[str, Any]:
    """End a run's process now, or let it not begin; as `stop_run`.

    Raises:
        FlowValidationError: no worker has it, and it does not wait.
    """
    return _end(daemon, run_id, daemon.workers.kill)


def _end(daemon: Daemon, run_id: str, act: Callable[[str], bool]) -> dict[str, Any]:
    waiting = [one for one in daemon.dispatcher.ids_waiting() if one.startswith(run_id)] if run_id else []
    if len(waiting) > 1 and run_id not in waiting:
        ids = ", ".join(waiting[:3]) + (", ..." if len(waiting) > 3 else "")
        raise FlowValidationError(
            f"several runs that wait begin with {run_id!r}: {ids}", where="run id", fix="give more characters of the id"
        )
    if waiting and daemon.ledger.run(run_id) is None:
        waits = run_id if run_id in waiting else waiting[0]
        if act(waits) or daemon.dispatcher.stop_waiting(waits, STOP_REQUESTED):  # a worker may have been handed it
            return {"run_id": waits, "waited": True}
    run = known_run(daemon.ledger, run_id)
    if not act(run.run_id):
        raise not_here(run)
    return {"run_id": run.run_id, "waited": False}
