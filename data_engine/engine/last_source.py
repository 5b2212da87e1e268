"""Whether the file that a flow's last run failed with is gone, so that nothing is left of the failure."""

from __future__ import annotations

from collections.abc import Callable
from os.path import dirname

from data_engine.engine.status import FlowStatus
from data_engine.model import ended_badly

GONE = "its file is gone"


def is_source_gone(flow: FlowStatus, exists: Callable[[str], bool | None]) -> bool:
    """Whether the last run of a poll flow ended badly with a file that is not there any more, in a folder that is, and no other
    file of it is bad. `exists` is asked of both; None is not known.

    Example:
        >>> from data_engine.model import Run
        >>> failed = FlowStatus("claims", mode="poll", last_run=Run("3f", "claims", "C", "/in/a.csv", "failed", ""))
        >>> is_source_gone(failed, lambda path: path == "/in"), is_source_gone(failed, lambda path: False)
        (True, False)
    """
    last = flow.last_run
    if flow.mode != "poll" or last is None or last.source is None or not ended_badly(last):
        return False
    is_decided = not (flow.held or flow.retried or flow.state_kind == "unreachable")
    return is_decided and exists(last.source) is False and exists(dirname(last.source)) is True


def last_status_words(flow: FlowStatus, exists: Callable[[str], bool | None]) -> str:
    """How the flow's last run ended, and that its file is gone where that is all there is to a failure; "" without one.

    Example:
        >>> last_status_words(FlowStatus("claims"), lambda path: True)
        ''
    """
    if flow.last_run is None:
        return ""
    status = flow.last_run.status
    return f"{status} ({GONE})" if is_source_gone(flow, exists) else status
