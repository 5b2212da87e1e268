"""What the status says of the daemon and its engine, of a flow's last run, and of one whose runs were asked to end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from data_engine.ledger.warned import warned_words
from data_engine.reasons.kinds import Stopping
from data_engine.reasons.remedies import SILENT_FIX
from data_engine.status.sentences import GOES_ON, last_status_words, moved_words
from data_engine.times import local_time
from data_engine.typed import typed

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.model import ActiveRun
    from data_engine.status.record import FlowStatus, WorkspaceStatus

_ID_LENGTH = 8


def daemon_lines(found: WorkspaceStatus, ws: Workspace) -> Iterator[tuple[str, str]]:
    """Lines of the daemon and its engine, each with its style; one that is there and does not answer is not told as none."""
    daemon, engine = found.daemon, found.engine
    ending = ", ends when its running work is done" if daemon.ending else ""
    if daemon.silent:
        yield f"daemon   pid {daemon.pid} is there, and does not answer", "yellow"
        yield f"         {SILENT_FIX}", "yellow"
        yield "engine   not known", ""
        return
    yield f"daemon   {f'running, pid {daemon.pid}' if daemon.running else 'not running'}{ending}", ""
    if daemon.running and not os.path.exists(found.workspace_root):
        yield f"         {moved_words(str(ws.root))}", "yellow"
    if daemon.cluster is not None:
        yield f"         {daemon.cluster.text}", ""
    yield f"engine   {'on' if engine.on else 'off'}", ""
    if engine.goes_on:
        yield f"         {GOES_ON}: data-engine start", "yellow"


def ending_words(flow: FlowStatus, runs: Sequence[ActiveRun]) -> str | None:
    """Of a flow whose runs were asked to end, when they do, and what ends the first of them now."""
    run_id = next((run.run_id for run in runs if run.flow == flow.name and run.stopping), None)
    if flow.state_kind != "stopping" or run_id is None:
        return None
    return f"{Stopping(run_id).text}; to end it now: `{typed('kill', run_id[:_ID_LENGTH])}`"


def last_run_words(flow: FlowStatus, exists: Callable[[str], bool | None]) -> str:
    """How a flow's last run ended, how many warnings it has, and when it began; "" without one. `exists` is asked of its file."""
    warned = "" if flow.warned is None else warned_words(flow.warned.count)
    began = "" if flow.last_run is None else local_time(flow.last_run.started_at_utc)
    return ", ".join(filter(None, [last_status_words(flow, exists), warned, began]))
