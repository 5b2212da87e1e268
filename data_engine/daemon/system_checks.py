"""What `data-engine doctor` looks at of the operating system: long paths, sleep, the virus scanner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from data_engine.daemon.finding import Finding
from data_engine.platforms import host

_NEVER = 0


def check_system(folders: Sequence[Path]) -> Iterator[Finding]:
    """What of this system concerns flows; nothing of what is no question on it. `folders` are those with many small files."""
    if (long_paths := judge_long_paths(host.takes_long_paths())) is not None:
        yield long_paths
    if (sleep := judge_sleep(host.sleeps_after_s())) is not None:
        yield sleep
    if note := host.virus_scanner_note(folders):
        yield Finding("virus scanner", True, note)


def judge_long_paths(is_on: bool | None) -> Finding | None:
    """Whether paths of more than 259 characters can be used; None where that is no question.

    Example:
        >>> judge_long_paths(True).measured
        'paths of more than 259 characters can be used'
    """
    if is_on is None:
        return None
    if is_on:
        return Finding("long paths", True, "paths of more than 259 characters can be used")
    return Finding(
        "long paths",
        None,
        "paths of more than 259 characters are refused on this machine, also of outputs deep in a mirror",
        host.LONG_PATHS_FIX,
    )


def judge_sleep(after_s: int | None) -> Finding | None:
    """Whether this machine sleeps when nobody uses it; None where that is not known. Sleep is told and no fault.

    Example:
        >>> judge_sleep(1800).measured
        'this machine sleeps after 30 min without input; no flow runs meanwhile, and another workstation may take over'
    """
    if after_s is None:
        return None
    if after_s == _NEVER:
        return Finding("sleep", True, "this machine does not sleep by itself on mains power")
    return Finding(
        "sleep",
        None,
        f"this machine sleeps after {after_s // 60} min without input; no flow runs meanwhile, and another workstation "
        "may take over",
        f"to let flows run at night: {host.STAY_AWAKE}",
    )
