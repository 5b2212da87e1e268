"""A stage beside a mirror: what a run writes lies there until the run has succeeded, and then takes its place at once.

    out/                                    the mirror root
    .data_engine_staging/<machine>-<run>/   what the run has written so far, by its path inside the root; an empty one waits
                                            for the next run of this process

Each file takes its place by one rename on one drive. All targets are tried before the first; of several the list is kept in
the run's history before (`PublishStarted`), so that a crash in between is only ever finished. What lies beside the mirror
says nothing: others may write there. Nothing is flushed: this holds against the death of processes.

Reference: the times of a folder that was just made are those of its file server's clock, so that later changes of a target
are told without trusting any other clock.
"""

from __future__ import annotations

import atexit
import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from data_engine.engine.publication import (
    STAGING,
    TargetChangedError,
    TargetHeldError,
    cannot_publish,
    listed,
    opened_stage,
    remove_stage,
    replace,
    staging_of,
    take_place,
)
from data_engine.errors import FlowValidationError
from data_engine.files import trouble_of
from data_engine.formatting import first_few, plural
from data_engine.model import PublishStarted
from data_engine.nofollow import FoundFile, Place, inside, is_link, opened, walk
from data_engine.platforms.drives import network_drive
from data_engine.platforms.files import CAN_REPLACE_OPEN_FILES, changed_ns

_MOST_NAMED = 3
_Facts = tuple[int, int, int]


class Maker(NamedTuple):
    """Whose stage it is: machine and run; `made_of` is the size and time of the source."""

    machine: str
    run_id: str
    made_of: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Of the stage."""
        return f"{self.machine}-{self.run_id}"


class Stage:
    """The places of a run whose mirror is staged (flow/locations.py). Nothing is made before the first path is asked for.

    `record` keeps what is about to be published where only this machine can write, before it returns; `before` does what must be done
    before the first file takes its place.
    """

    def __init__(
        self,
        final_root: Path,
        maker: Maker,
        *,
        record: Callable[[PublishStarted], None] = lambda event: None,
        log: Callable[..., None] = lambda text, level="INFO": None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self.final_root = final_root
        self.folder = staging_of(final_root) / maker.name
        self._maker = maker
        self._record, self._log, self._before = record, log, before
        self._lock = threading.Lock()
        self._began_ns: int | None = None
        self._seen: dict[Path, _Facts | None] = {}
        self._is_pending = False

    # -- what a context asks ---------------------------------------------------------------------------------------------

    def root(self, final: Path) -> Path:
        """The stage."""
        return self.folder

    def enter(self, place: Path, *, is_folder: bool) -> None:
        """Make the stage, and remember the target as it is now.

        Raises:
            FlowValidationError: there can be no stage.
        """
        with self._lock:
            if self._began_ns is None:
                self._make()
            if not is_folder:
                final = self.final(place)
                if final not in self._seen:
                    self._seen[final] = _facts_of(final)

    def database(self, final: Path, *, read_only: bool) -> Path:
        """The database itself: only mirrors are staged."""
        return final

    def final(self, path: Path) -> Path:
        """Where a staged file will be."""
        return self.final_root / path.relative_to(self.folder) if path.is_relative_to(self.folder) else path

    def publish(self) -> None:
        """Let all that is in the stage take its place.

        Raises:
            TargetChangedError: a target is not as it was.
            TargetHeldError: a target is held open by another program.
            FlowValidationError: a target cannot be replaced.
        """
        count = self._publish()
        if count > 1:
            self._record(PublishStarted(self._maker.run_id, self.final_root.name))  # steps may write there again
        self._log(f"published {plural(count, 'file')} of the stage")

    # -- its end ---------------------------------------------------------------------------------------------------------

    def succeed(self, code: Callable[[], str]) -> int:
        """The run has succeeded: publish, and remove the stage; how many files that were. `code` tells what the code was, where that
        fails for now.

        Raises: as `publish`.
        """
        if self._began_ns is None:
            return 0
        try:
            return self._publish(code)
        except TargetHeldError:
            self._is_pending = True
            raise

    def close(self) -> None:
        """Remove the stage, but for what only waits for a target that is held open."""
        if self._began_ns is None or self._is_pending:
            return
        if not spares.keep(self.final_root, self.folder.name):
            remove_stage(self.final_root, self.folder.name)

    def _make(self) -> None:
        parent = self.final_root.parent
        try:
            try:
                facts = os.stat(self.final_root)
            except FileNotFoundError:
                parent.mkdir(parents=True, exist_ok=True)
            else:
                if not stat.S_ISDIR(facts.st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, "there is a file of that name", str(self.final_root))
                self._check_root(facts)
            with opened(parent, sees_binds=False) as beside:
                try:
                    self._began_ns = self._make_in(beside)
                except FileNotFoundError:  # the last other run there has just removed the empty folder of all stages
                    self._began_ns = self._make_in(beside)
        except OSError as error:
            is_file = isinstance(error, (NotADirectoryError, FileExistsError))
            raise FlowValidationError(
                f"the folder of the mirror {self.final_root} cannot be written: {trouble_of(error)}",
                where="context.mirror",
                fix="move that file away, or mirror into another folder"
                if is_file
                else "check that its drive is there and that its parent folder can be written",
            ) from error

    def _make_in(self, beside: Place) -> int:
        """Make the stage in its folder, with nothing in it; when that was, by the clock of the drive."""
        name = self.folder.name
        with inside(beside, (STAGING,), make=True) as staging:
            if not spares.take(staging, name):
                with suppress(FileExistsError):
                    os.mkdir(staging.at(name), dir_fd=staging.descriptor)
            facts = staging.facts(name)
            if facts is None or not stat.S_ISDIR(facts.st_mode) or is_link(self.folder):
                raise FileExistsError(errno.EEXIST, "it is a link, or no folder", str(self.folder))
            if os.listdir(self.folder):  # of a try of this run that died
                remove_stage(self.final_root, name)
                os.mkdir(staging.at(name), dir_fd=staging.descriptor)
                facts = staging.facts(name)
        return 0 if facts is None else facts.st_mtime_ns

    def _check_root(self, facts: os.stat_result) -> None:
        if is_link(self.final_root):
            raise FlowValidationError(
                f"the mirror {self.final_root} cannot be staged: it is a link, which could lead elsewhere when the run ends",
                where="Flow.mirror(staged=True)",
                fix=f"mirror into the folder it leads to, {os.path.realpath(self.final_root)}",
            )
        if facts.st_dev != os.stat(self.final_root.parent).st_dev:
            raise FlowValidationError(
                f"the mirror {self.final_root} cannot be staged: its parent folder is on another drive",
                where="Flow.mirror(staged=True)",
                fix="mirror into a folder below the top folder of that drive, such as root=.../out, or leave staged=True out",
            )

    def _publish(self, code: Callable[[], str] | None = None) -> int:
        try:
            with opened_stage(self.final_root, self.folder.name) as (beside, stage):
                found = list(walk(stage))
                files = [one for one in found if one.is_regular]
                if odd := ["/".join((*one.folder, one.name)) for one in found if not one.is_regular]:
                    self._log(f"only plain files are published, not {first_few(odd, _MOST_NAMED)}", "WARNING")
                if files:
                    self._publish_files(beside, stage, files, code)
                return len(files)
        except OSError as error:
            raise FlowValidationError(
                f"the stage of the run cannot be read: {trouble_of(error)}",
                where=str(error.filename or self.folder),
                fix="run it again, and look who else writes there; nothing was published",
            ) from error

    def _publish_files(
        self, beside: Place, stage: Place, files: Sequence[FoundFile], code: Callable[[], str] | None
    ) -> None:
        maker, replaced = self._maker, dict[str, tuple[int, int] | None]()
        made = PublishStarted(maker.run_id, self.final_root.name, made_of=maker.made_of)
        groups = [(folder, list(group)) for folder, group in groupby(files, lambda one: one.folder)]
        with self._target(beside, (self.final_root.name,), self.final_root) as out:
            for folder, group in groups:
                with self._target(out, folder, self.final_root.joinpath(*folder)) as there:
                    self._try_folder(there)
                    for one in group:
                        replaced["/".join((*folder, one.name))] = self._try(there, one)
            self._before()
            if len(files) > 1:
                self._record(made._replace(files=listed(stage, files, replaced)))
            try:
                for folder, group in groups:
                    with inside(stage, folder) as here, inside(out, folder) as there:
                        for one in group:
                            final = self.final_root.joinpath(*folder, one.name)
                            take_place(here, one.name, there, final)
                            self._seen[final] = _facts_of(final)
            except TargetHeldError:
                if code is not None:
                    self._record(made._replace(files=listed(stage, files, replaced), code=code()))
                raise

    @contextmanager
    def _target(self, place: Place, names: Sequence[str], final: Path) -> Iterator[Place]:
        """A folder of the mirror, made where it is missing."""
        with ExitStack() as stack:
            try:
                there = stack.enter_context(inside(place, names, make=True))
            except OSError as error:
                raise cannot_publish(final, error) from error
            yield there

    def _try_folder(self, there: Place) -> None:
        if not os.access(there.at("."), os.W_OK, dir_fd=there.descriptor):
            raise cannot_publish(there.path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

    def _try(self, there: Place, one: FoundFile) -> tuple[int, int] | None:
        """Refuse what could not be replaced, before anything is; the size and time of what would be."""
        final = self.final_root.joinpath(*one.folder, one.name)
        facts = there.facts(one.name)
        now = None if facts is None else _told(facts)
        if now is not None and now != self._seen.get(final, now):
            raise _changed(final)
        if facts is not None and final not in self._seen and self._is_newer(final, facts):
            raise _changed(final)
        if facts is not None and stat.S_ISDIR(facts.st_mode):
            raise cannot_publish(final, IsADirectoryError(errno.EISDIR, "there is a folder of that name"))
        if not CAN_REPLACE_OPEN_FILES and now is not None:
            replace(there, one.name, there, final)  # changes nothing, and fails where another program has it open
        return None if facts is None else (facts.st_size, facts.st_mtime_ns)

    def _is_newer(self, final: Path, facts: os.stat_result) -> bool:
        """Whether a target nobody asked for by name has changed since the stage was made, by the file server's clock."""
        return max(facts.st_mtime_ns, changed_ns(str(final), facts)) > (self._began_ns or 0)


class _Spares:
    """Empty stages of this process that the next run takes: a drive may need milliseconds to make and remove a folder.

    Only on drives of this machine, whose clock is ours: a stage that is taken again gets the time of now.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[Path, str] = {}
        self._is_local: dict[Path, bool] = {}

    def take(self, staging: Place, name: str) -> bool:
        """Let a spare one have this name from now on; whether there was one."""
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
        """Remove them; at the end of the process."""
        with self._lock:
            for staging, name in self._names.items():
                with suppress(OSError), opened(staging.parent) as beside:
                    with inside(beside, (STAGING,)) as place:
                        os.rmdir(place.at(name), dir_fd=place.descriptor)
                    os.rmdir(beside.at(STAGING), dir_fd=beside.descriptor)
            self._names.clear()


spares = _Spares()


def _changed(final: Path) -> TargetChangedError:
    at = ""
    with suppress(OSError):
        at = time.strftime(" at %H:%M:%S", time.localtime(os.stat(final).st_mtime))
    return TargetChangedError(
        f"{final.name} was changed by another run or a person{at}, after this run began, and is not replaced",
        where=str(final),
        fix="the source is due again, and runs on what is there now; let each flow write files of its own",
    )


def _facts_of(final: Path) -> _Facts | None:
    try:
        return _told(os.lstat(final))
    except OSError:
        return None


def _told(facts: os.stat_result) -> _Facts:
    return facts.st_size, facts.st_mtime_ns, facts.st_ino
