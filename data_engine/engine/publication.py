"""Move the files of a stage to their place in the mirror: one rename each, between two folders that are held open. And keep the stages
that wait: empty ones for the next run, and those of runs that are over.

Others may write to the folders around a mirror. So nothing here follows a link, a junction or a mount point below the folder
that holds the mirror: each folder is opened by its name in the one above (nofollow.py), and only plain files are published.

Reference: POSIX rename(2) replaces its target atomically.
"""

from __future__ import annotations

import atexit
import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data_engine.engine.kept_tables import LIST, TargetHeldError, finish_tables
from data_engine.engine.staged_files import is_as_listed, sha256_of
from data_engine.errors import FlowValidationError
from data_engine.files import trouble_of
from data_engine.ledger.outputs import RunOfStage
from data_engine.model import PublishStarted, StagedFile
from data_engine.nofollow import OpenFolder, inside, move, opened, opened_file, remove_tree, walk
from data_engine.platforms.drives import network_drive
from data_engine.platforms.files import has_locks_to_lose, is_open_elsewhere, read_at, who_holds
from data_engine.user_files import CHUNK_BYTES

STAGING = ".data_engine_staging"
HELD_S = 10.0
_PAUSE_S = 0.1


class TargetChangedError(FlowValidationError):
    """Somebody else has changed a target since the run began; the source is due again."""


def staging_of(final_root: Path) -> Path:
    """The folder of all stages of a mirror: beside its root, never below it."""
    return final_root.parent / STAGING


@contextmanager
def opened_stage(final_root: Path, name: str) -> Iterator[tuple[OpenFolder, OpenFolder]]:
    """The folder that holds the mirror, and the stage of this name.

    Raises:
        OSError: it is not there, or something else is in its place.
    """
    with opened(final_root.parent, sees_binds=False) as beside, inside(beside, (STAGING, name)) as stage:
        yield beside, stage


def take_place(here: OpenFolder, name: str, there: OpenFolder, final: Path) -> None:
    """Let a staged file take its place in the open folder; a published file of the same bytes stays as it is.

    Raises:
        TargetHeldError: another program holds the target open; says who, where that is known.
        FlowValidationError: it cannot be replaced.
    """
    with suppress(OSError):  # it cannot be read, as one that another program holds: what replaces it says so
        if _is_same(here, name, there):
            os.unlink(here.at(name), dir_fd=here.descriptor)
            return
    replace(here, name, there, final)


def replace(here: OpenFolder, name: str, there: OpenFolder, final: Path) -> None:
    """Let a file take its place; one that another program holds open is waited for.

    Raises: as `take_place`.
    """
    deadline_s = time.monotonic() + HELD_S
    while True:
        try:
            move(here, name, there)
        except FileNotFoundError as error:
            if here.facts(name) is not None:
                raise cannot_publish(final, error) from error
            return  # another one has finished the same
        except OSError as error:
            if not is_open_elsewhere(error) and error.errno != errno.ETXTBSY:
                raise cannot_publish(final, error) from error
            if time.monotonic() >= deadline_s:
                raise TargetHeldError(
                    f"{final.name} is open in {who_holds(final) or 'another program'}, so the new one cannot take its place",
                    where=str(final),
                    fix="close it there; then `data-engine retry` publishes what was made, without running the steps again",
                ) from error
            time.sleep(_PAUSE_S)
        else:
            return


def finish(
    final_root: Path, stage_name: str, record: PublishStarted, *, is_own: bool, databases: Path | None = None
) -> bool:
    """Publish the rest of a stage, as its record says it, and remove the stage; whether all that it lists is in place now. The rows that
    the run kept for tables of the workspace's `databases` are applied first.

    What is not as it was listed, and what would replace a target that has changed since, is not published. `is_own`: the
    record is of this machine, which knows its files by size and time where they were too large to be hashed.

    Raises:
        TargetHeldError: a target is still held open.
        FlowValidationError: a target cannot be replaced.
    """
    is_whole = True
    files = [(PurePosixPath(file.name), file) for file in record.files if file.name != LIST]
    kept = next((file for file in record.files if file.name == LIST), None)
    try:
        with opened_stage(final_root, stage_name) as (beside, stage):
            if kept is not None:
                is_whole = databases is not None and finish_tables(stage, kept, record.run_id, databases, is_own=is_own)
            for folder, group in groupby(files, lambda pair: pair[0].parent.parts):
                try:
                    with inside(stage, folder) as here, inside(beside, (final_root.name, *folder), make=True) as there:
                        for path, file in group:
                            final = final_root / path
                            is_whole = _finish_file(here, there, path.name, file, final, is_own=is_own) and is_whole
                except OSError:  # the folder is gone, or another one lies there: nothing of ours is in it
                    is_whole = False
    except OSError:
        return False
    remove_stage(final_root, stage_name)
    return is_whole


def _finish_file(
    here: OpenFolder, there: OpenFolder, name: str, file: StagedFile, final: Path, *, is_own: bool
) -> bool:
    facts, old = here.facts(name), there.facts(name)
    target = None if old is None else (old.st_size, old.st_mtime_ns)
    if facts is None:
        return target == (file.size_bytes, file.mtime_ns)
    if not is_as_listed(here, name, facts, file, is_own=is_own) or target != file.replaces:
        return False
    take_place(here, name, there, final)
    return True


def remove_stage(final_root: Path, stage_name: str) -> None:
    """Remove the stage with all that is in it."""
    remove_tree(final_root.parent, Path(STAGING, stage_name), with_links=True)


def cannot_publish(final: Path, error: OSError) -> FlowValidationError:
    """The error of a file that cannot take its place."""
    return FlowValidationError(
        f"{final.name} cannot be published: {trouble_of(error)}",
        where=str(final),
        fix="check that its folder can be written and has room, and that no folder has that name and no link is in its way; "
        "nothing was published",
    )


def _is_same(here: OpenFolder, name: str, there: OpenFolder) -> bool:
    """Whether the same bytes lie in the place of the staged file already."""
    new, old = here.facts(name), there.facts(name)
    if new is None or old is None or not stat.S_ISREG(old.st_mode) or new.st_size != old.st_size:
        return False
    if has_locks_to_lose(name):
        return sha256_of(here, name, new.st_size) == sha256_of(there, name, old.st_size)
    with opened_file(here, name) as source, opened_file(there, name) as other:
        offset = 0
        while data := read_at(source, CHUNK_BYTES, offset):
            if data != read_at(other, CHUNK_BYTES, offset):
                return False
            offset += len(data)
    return offset == old.st_size


class _Spares:
    """Empty stages of this process that the next run takes: a drive may need milliseconds to make and remove a folder.

    Only on drives of this machine, whose clock is ours: a stage that is taken again gets the time of now.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[Path, str] = {}
        self._is_local: dict[Path, bool] = {}

    def take(self, staging: OpenFolder, name: str) -> bool:
        """Give a spare stage this name; whether there was a spare."""
        with self._lock:
            spare = self._names.pop(staging.path, None)
        if spare is None:
            return False
        at = staging.descriptor
        try:
            os.rename(staging.at(spare), staging.at(name), src_dir_fd=at, dst_dir_fd=at)
            os.utime(staging.at(name), dir_fd=at, follow_symlinks=at is None)
        except OSError:  # somebody has tidied it away
            return False
        return True

    def keep(self, final_root: Path, name: str) -> bool:
        """Keep the stage for the next run, where it is empty, and the only one; whether it is kept."""
        staging = staging_of(final_root)
        if staging not in self._is_local:
            self._is_local[staging] = network_drive(staging) is None
        try:
            if not self._is_local[staging] or os.listdir(staging / name):
                return False
        except OSError:
            return False
        with self._lock:
            if not self._names:
                atexit.register(self.remove)
            return self._names.setdefault(staging, name) == name

    def is_spare(self, staging: Path, name: str) -> bool:
        """Whether it waits here for the next run."""
        return self._names.get(staging) == name

    def remove(self) -> None:
        """Remove the spare stages, at the end of the process."""
        with self._lock:
            for staging, name in self._names.items():
                with suppress(OSError), opened(staging.parent) as beside:
                    with inside(beside, (STAGING,)) as place:
                        os.rmdir(place.at(name), dir_fd=place.descriptor)
                    os.rmdir(beside.at(STAGING), dir_fd=beside.descriptor)
            self._names.clear()


spares = _Spares()


OLD_S = 7 * 86_400.0
"""A stage of an unknown run, and one that waits for a retry, are removed when nothing in them has changed for so long."""

GRACE_S = 60.0
"""A stage in which something changed so lately is not touched, unless the process of its run is gone."""

_GONE = ("abandoned", "killed")
"""The ends of runs whose process is gone."""

RunsById = Callable[[Collection[str]], Mapping[str, RunOfStage]]
"""The runs with these ids that the history knows (ledger/outputs.py)."""


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
            names = place.names()
    except OSError:
        return
    stages = [name for name in sorted(names) if not spares.is_spare(staging, name)]
    entries = runs([name.rpartition("-")[2] for name in stages])
    for name in stages:
        machine, _, run_id = name.rpartition("-")
        yield LeftStage(name, machine, entries.get(run_id))


def tidy(
    final_root: Path, *, machine: str, runs: RunsById, is_owner: bool, now_s: float, databases: Path | None = None
) -> int:
    """Finish and remove what runs that are over have left beside the mirror; how many stages went.

    This machine's own, and as the owner those of others. A stage of another mirror in the same folder is left to its own.
    """
    count = 0
    for left in list(left_stages(final_root, runs)):
        if left.machine == machine or is_owner:
            count += clear(final_root, left, now_s=now_s, databases=databases)
    with suppress(OSError), opened(final_root.parent) as beside:
        os.rmdir(beside.at(STAGING), dir_fd=beside.descriptor)  # where none is left
    return count


def clear(final_root: Path, left: LeftStage, *, now_s: float | None = None, databases: Path | None = None) -> bool:
    """Finish or remove what a run has left, if it is over; whether the stage is gone now."""
    run, now_s = left.run, time.time() if now_s is None else now_s
    record = None if run is None else run.publication
    if run is not None and run.status == "started":
        return False
    if record is not None and record.mirror != final_root.name:
        return False
    idle_s = _idle_s(final_root, left.name, now_s)
    if idle_s is None:
        return False
    waits_s = GRACE_S
    if run is None or (record is not None and record.code is not None):  # nobody has retried it
        waits_s = OLD_S
    elif run.is_own and run.status in _GONE:
        waits_s = 0.0
    if idle_s < waits_s:
        return False
    if run is not None and record is not None and record.code is None:
        with suppress(FlowValidationError):
            finish(final_root, left.name, record, is_own=run.is_own, databases=databases)
            return True
        return False
    remove_stage(final_root, left.name)
    return True


def _idle_s(final_root: Path, name: str, now_s: float) -> float | None:
    """The seconds since the last change in the stage, 0 for a time in the future; None where there is no such folder."""
    try:
        with opened(final_root.parent) as beside, inside(beside, (STAGING,)) as staging:
            facts = staging.facts(name)
            if facts is None:
                return None
            with inside(staging, (name,)) as stage:
                newest_s = max([facts.st_mtime, *(file.facts.st_mtime for file in walk(stage))])
    except OSError:
        return None
    return max(now_s - newest_s, 0.0)
