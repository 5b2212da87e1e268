"""What runs that are over have left in stages beside a mirror: what had begun to be published is finished, all else is removed.

A run that is over is one whose row in the history says so. Of a run that the history does not know, nothing is believed: its
stage is removed when nothing in it has changed for seven days.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from data_engine.engine.publication import STAGING, finish, remove_stage
from data_engine.engine.stage import spares
from data_engine.errors import FlowValidationError
from data_engine.ledger.publications import RunOfStage
from data_engine.nofollow import inside, opened, walk

OLD_S = 7 * 86_400.0
"""A stage of an unknown run, and one that waits for a retry, are removed when nothing in them has changed for so long."""

GRACE_S = 60.0
"""A stage in which something changed so lately is not touched, unless the process of its run is gone."""

_GONE = ("abandoned", "killed")
"""How runs end whose process is gone."""

RunsById = Callable[[Collection[str]], Mapping[str, RunOfStage]]
"""The runs with these ids that the history knows (ledger/publications.py)."""


class LeftStage(NamedTuple):
    """A stage of a run that is not of this process's making now; `run` is what the history knows of it."""

    name: str
    machine: str
    run: RunOfStage | None


def left_stages(final_root: Path, runs: RunsById) -> Iterator[LeftStage]:
    """The stages beside the mirror, but for the one that waits for the next run here."""
    staging = final_root.parent / STAGING
    try:
        with opened(final_root.parent, STAGING) as place:
            names = {
                name.removesuffix(".json") for name in place.names()
            }  # an earlier Data Engine wrote its lists there
    except OSError:
        return
    stages = [name for name in sorted(names) if not spares.is_spare(staging, name)]
    known = runs([name.rpartition("-")[2] for name in stages])
    for name in stages:
        machine, _, run_id = name.rpartition("-")
        yield LeftStage(name, machine, known.get(run_id))


def tidy(final_root: Path, *, machine: str, runs: RunsById, is_owner: bool, now_s: float) -> int:
    """Finish and remove what runs that are over have left beside the mirror; how many stages went.

    This machine's own, and as the owner those of others. A stage of another mirror in the same folder is left to its own.
    """
    count = 0
    for left in list(left_stages(final_root, runs)):
        if left.machine == machine or is_owner:
            count += clear(final_root, left, now_s=now_s)
    with suppress(OSError), opened(final_root.parent) as beside:
        os.rmdir(beside.at(STAGING), dir_fd=beside.descriptor)  # where none is left
    return count


def clear(final_root: Path, left: LeftStage, *, now_s: float | None = None) -> bool:
    """Finish or remove what a run has left, if it is over; whether the stage is gone now."""
    run, now_s = left.run, time.time() if now_s is None else now_s
    made = None if run is None else run.publication
    if run is not None and run.status == "started":
        return False
    if made is not None and made.mirror != final_root.name:
        return False
    idle_s = _idle_s(final_root, left.name, now_s)
    if idle_s is None:
        return run is not None and _remove_list(final_root, left.name)
    waits_s = GRACE_S
    if run is None or (made is not None and made.code is not None):  # nobody has retried it
        waits_s = OLD_S
    elif run.is_own and run.status in _GONE:
        waits_s = 0.0
    if idle_s < waits_s:
        return False
    if run is not None and made is not None and made.code is None:
        with suppress(FlowValidationError):
            finish(final_root, left.name, made, is_own=run.is_own)
            return True
        return False
    remove_stage(final_root, left.name)
    return True


def _remove_list(final_root: Path, name: str) -> bool:
    """Remove what an earlier Data Engine has listed there, whose stage is gone; whether it was there."""
    with suppress(OSError), opened(final_root.parent, STAGING) as staging:
        os.unlink(staging.at(f"{name}.json"), dir_fd=staging.descriptor)
        return True
    return False


def _idle_s(final_root: Path, name: str, now_s: float) -> float | None:
    """How long nothing in the stage has changed, a time in the future is a change just now; None where there is no such folder."""
    try:
        with opened(final_root.parent) as beside, inside(beside, (STAGING,)) as staging:
            facts = staging.facts(name)
            if facts is None:
                return None
            with inside(staging, (name,)) as stage:
                newest_s = max([facts.st_mtime, *(one.facts.st_mtime for one in walk(stage))])
    except OSError:
        return None
    return max(now_s - newest_s, 0.0)
