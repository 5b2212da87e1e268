"""Of what a process has died, by its exit status."""

from __future__ import annotations

import signal
from contextlib import suppress

from data_engine.cause import Cause, signalled
from data_engine.platforms.processes import crash_name, was_killed


def cause_of_death(status: int, *, lacked_memory: bool) -> Cause:
    """What an exit status says; `lacked_memory` is whether the system has killed for lack of memory in the meantime.

    Example:
        >>> cause_of_death(-11, lacked_memory=False).text, cause_of_death(3, lacked_memory=False).text
        ('its process died: killed by signal 11 (SIGSEGV)', 'its process died: exit code 3')
    """
    if was_killed(status) and status > 0:
        return Cause("process_ended", {"exit_code": status})
    if was_killed(status):
        return Cause("out_of_memory" if lacked_memory else "process_killed")
    if crash := crash_name(status):
        return Cause("process_crashed", {"what": crash, "exit_code": status})
    if status >= 0:
        return Cause("process_exited", {"exit_code": status})
    name = None
    with suppress(ValueError):
        name = signal.Signals(-status).name
    return signalled(-status, name)


def how_it_ended(status: str) -> str:
    """How a run of this status ended, as a sentence about its flow says it.

    Example:
        >>> how_it_ended("killed"), how_it_ended("failed")
        ('was killed', 'failed')
    """
    return "was killed" if status == "killed" else "failed"
