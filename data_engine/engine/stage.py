"""A stage beside a mirror: what a run writes lies there until the run has succeeded, and then takes its place at once.

    out/                                    the mirror root
    .data_engine_staging/<machine>-<run>/   what the run has written so far, by its path inside the root; an empty one waits
                                            for the next run of this process
    .data_engine_staging/<machine>-<run>.json   what is being published; it is there as long as that may be half done

Each file takes its place by one rename on one drive. All targets are tried before the first; of several the list is written
down before, so that a crash in between is only ever finished. Nothing is flushed: this holds against the death of processes.

Reference: POSIX rename(2) replaces its target atomically; the times of a folder that was just made are those of its file
server's clock, so that later changes of a target are told without trusting any other clock.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data_engine import nofollow
from data_engine.counted import counted
from data_engine.errors import FlowValidationError
from data_engine.files import files_below, identity_of, trouble_of
from data_engine.platforms.drives import network_drive
from data_engine.platforms.files import CAN_REPLACE_OPEN_FILES, changed_ns, is_open_elsewhere
from data_engine.platforms.holders import who_holds

STAGING = ".data_engine_staging"
OLD_S = 7 * 86_400.0
"""The owner removes a stage of another machine that has not changed for so long."""

GRACE_S = 60.0
"""A stage in which something changed so lately is never touched: its run may not be known yet."""

HELD_S = 10.0
_PAUSE_S = 0.1
_Facts = tuple[int, int, int]


class TargetChangedError(FlowValidationError):
    """Somebody else has changed a target since the run began; the source is due again."""


class TargetHeldError(FlowValidationError):
    """Another program holds a target open; what was made waits in the stage."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What is being published: `files` are paths inside the root with their size and time; `made_of` is the source as seen.

    `code` is what the flow's code was, where nothing but the publishing failed: the steps need not run again then.
    """

    final_root: str
    machine: str
    run_id: str
    flow: str
    files: list[tuple[str, int, int]]
    source: list[Any] = field(default_factory=list)
    made_of: list[Any] = field(default_factory=list)
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Maker:
    """Whose stage it is: machine, run and flow, the identity of the source, and the source as it was seen."""

    machine: str
    run_id: str
    flow: str
    source: tuple[str, str] | None = None
    made_of: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Of the stage."""
        return f"{self.machine}-{self.run_id}"


class Stage:
    """The places of a run whose mirror is staged (flow/places.py). Nothing is made before the first path is asked for."""

    def __init__(self, final_root: Path, maker: Maker, *, log: Callable[..., None] = lambda text: None) -> None:
        self.final_root = final_root
        self.folder = staging_of(final_root) / maker.name
        self._maker = maker
        self._log = log
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
                self._seen.setdefault(final, identity_of(final))

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
        self._log(f"published {counted(count, 'file')} of the stage")

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
        if not _spares.keep(self.folder):
            _remove(self.folder)

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
                if facts.st_dev != os.stat(parent).st_dev:
                    raise FlowValidationError(
                        f"the mirror {self.final_root} cannot be staged: its parent folder is on another drive",
                        where="Flow.mirror(staged=True)",
                        fix="mirror into a folder below the top folder of that drive, such as root=.../out, or leave staged=True out",
                    )
            if not _spares.take(self.folder):
                self.folder.parent.mkdir(exist_ok=True)
                self.folder.mkdir(exist_ok=True)
            self._began_ns = os.stat(self.folder).st_mtime_ns
        except OSError as error:
            is_file = isinstance(error, (NotADirectoryError, FileExistsError))
            raise FlowValidationError(
                f"the folder of the mirror {self.final_root} cannot be written: {trouble_of(error)}",
                where="context.mirror",
                fix="move that file away, or mirror into another folder"
                if is_file
                else "check that its drive is there and that its parent folder can be written",
            ) from error

    def _publish(self, code: Callable[[], str] | None = None) -> int:
        files = list(files_below(self.folder))
        for path in files:
            self._try(path, self.final(path))
        rows = [(path.relative_to(self.folder).as_posix(), *_size_and_time(path)) for path in files]
        maker = self._maker
        made = Publication(
            str(self.final_root),
            maker.machine,
            maker.run_id,
            maker.flow,
            rows,
            list(maker.source or ()),
            list(maker.made_of or ()),
        )
        note = list_of(self.folder)
        if len(files) > 1:
            _write(note, made)
        try:
            for path in files:
                final = self.final(path)
                _replace(path, final)
                self._seen[final] = identity_of(final)
        except TargetHeldError:
            _write(note, made if code is None else _with_code(made, code()))
            raise
        if len(files) > 1:
            note.unlink(missing_ok=True)
        return len(files)

    def _try(self, path: Path, final: Path) -> None:
        """Refuse what could not be replaced, before anything is."""
        now = identity_of(final)
        if now is not None and now != self._seen.get(final, now):
            raise _changed(final)
        if final not in self._seen and self._is_newer(final):
            raise _changed(final)
        try:
            if now is not None and final.is_dir():
                raise IsADirectoryError(errno.EISDIR, "there is a folder of that name", str(final))
            if not final.parent.is_dir():
                final.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(final.parent, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(final.parent))
        except OSError as error:
            raise _cannot(final, error) from error
        if not CAN_REPLACE_OPEN_FILES and now is not None:
            _replace(final, final)  # changes nothing, and fails where another program has it open

    def _is_newer(self, final: Path) -> bool:
        """Whether a target nobody asked for by name has changed since the stage was made, by the file server's clock."""
        try:
            facts = os.stat(final)
        except OSError:
            return False
        return max(facts.st_mtime_ns, changed_ns(str(final), facts)) > (self._began_ns or 0)


class _Spares:
    """Empty stages of this process that the next run takes: a drive may need milliseconds to make and remove a folder.

    Only on drives of this machine, whose clock is ours: a stage that is taken again gets the time of now.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: dict[Path, Path] = {}
        self._is_local: dict[Path, bool] = {}

    def take(self, folder: Path) -> bool:
        """Let a spare one be `folder` from now on; whether there was one."""
        with self._lock:
            spare = self._folders.pop(folder.parent, None)
        if spare is None:
            return False
        try:
            os.rename(spare, folder)
            os.utime(folder)
        except OSError:  # somebody has tidied it away
            return False
        return True

    def keep(self, folder: Path) -> bool:
        """Keep the stage for the next run, where it is empty, and the only one; whether it is kept."""
        staging = folder.parent
        if staging not in self._is_local:
            self._is_local[staging] = network_drive(staging) is None
        try:
            if not self._is_local[staging] or os.listdir(folder):
                return False
        except OSError:
            return False
        with self._lock:
            if not self._folders:
                atexit.register(self.remove)
            return self._folders.setdefault(staging, folder) == folder

    def remove(self) -> None:
        """Remove them; at the end of the process."""
        with self._lock:
            for folder in self._folders.values():
                with suppress(OSError):
                    os.rmdir(folder)
                    os.rmdir(folder.parent)
            self._folders.clear()


_spares = _Spares()


# -- what runs have left ---------------------------------------------------------------------------------------------------


def staging_of(final_root: Path) -> Path:
    """The folder of all stages of a mirror: beside its root, never below it."""
    return final_root.parent / STAGING


def list_of(stage: Path) -> Path:
    """Where it is written down what of the stage is being published."""
    return stage.with_name(f"{stage.name}.json")


def pending(final_root: Path) -> Iterator[tuple[Path, Publication]]:
    """The stages of this mirror whose publication was begun and not ended, with what they publish."""
    for note in sorted(staging_of(final_root).glob("*.json")):
        made = _read(note)
        if made is not None and Path(made.final_root).name == final_root.name:
            yield note.with_suffix(""), made


def finish(final_root: Path, stage: Path, made: Publication) -> None:
    """Publish the rest of a stage; what was published, or replaced since, stays.

    Raises:
        TargetHeldError: a target is still held open.
        FlowValidationError: a target cannot be replaced.
    """
    for name, size, time_ns in made.files:
        path = stage / name
        if _size_and_time(path) == (size, time_ns):
            final = final_root / name
            try:
                final.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _cannot(final, error) from error
            _replace(path, final)
    _remove(stage)


def tidy(final_root: Path, *, machine: str, is_under_way: Callable[[str], bool], is_owner: bool, now_s: float) -> int:
    """Finish and remove what runs that are over have left beside the mirror; how many stages went.

    This machine's own are removed; those of others only by the owner, where nothing in them has changed for seven days. What
    had begun to be published is finished. Nothing is done to a stage within a minute of its last change.
    """
    count = 0
    for stage, made in list(pending(final_root)):
        is_ours = made.machine == machine
        is_left = (not is_under_way(made.run_id) if is_ours else is_owner) and _idle_s(list_of(stage), now_s) > GRACE_S
        if is_left and made.code is None:
            with suppress(FlowValidationError):
                finish(final_root, stage, made)
                count += 1
        elif is_left and _idle_s(list_of(stage), now_s) > OLD_S:  # nobody has retried it
            _remove(stage)
            count += 1
    for stage in _stages(final_root):
        if list_of(stage).exists():
            continue
        owner, _, run_id = stage.name.rpartition("-")
        idle_s = _idle_s(stage, now_s)
        if (not is_under_way(run_id) and idle_s > GRACE_S) if owner == machine else (is_owner and idle_s > OLD_S):
            _remove(stage)
            count += 1
    with suppress(OSError):
        staging_of(final_root).rmdir()  # where none is left
    return count


def _stages(final_root: Path) -> list[Path]:
    try:
        return sorted(path for path in staging_of(final_root).iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return []


def _idle_s(path: Path, now_s: float) -> float:
    """How long nothing below the path has changed; a time in the future is a change just now."""
    newest_s = 0.0
    for one in (path, *(files_below(path) if path.is_dir() else ())):
        with suppress(OSError):
            newest_s = max(newest_s, os.stat(one).st_mtime)
    return now_s - newest_s


def _replace(path: Path, final: Path) -> None:
    """Let the file take its place; one that another program holds open is waited for.

    Raises:
        TargetHeldError: it is still held; says by whom, where that is known.
        FlowValidationError: it cannot be replaced.
    """
    deadline_s = time.monotonic() + HELD_S
    while True:
        try:
            os.replace(path, final)
        except FileNotFoundError as error:
            if path.exists():
                raise _cannot(final, error) from error
            return  # another one has finished the same
        except OSError as error:
            if not is_open_elsewhere(error) and error.errno != errno.ETXTBSY:
                raise _cannot(final, error) from error
            if time.monotonic() >= deadline_s:
                raise TargetHeldError(
                    f"{final.name} is open in {who_holds(final) or 'another program'}, so the new one cannot take its place",
                    where=str(final),
                    fix="close it there; then `data-engine retry` publishes what was made, without running the steps again",
                ) from error
            time.sleep(_PAUSE_S)
        else:
            return


def _changed(final: Path) -> TargetChangedError:
    at = ""
    with suppress(OSError):
        at = time.strftime(" at %H:%M:%S", time.localtime(os.stat(final).st_mtime))
    return TargetChangedError(
        f"{final.name} was changed by another run or a person{at}, after this run began, and is not replaced",
        where=str(final),
        fix="the source is due again, and runs on what is there now; let each flow write files of its own",
    )


def _cannot(final: Path, error: OSError) -> FlowValidationError:
    return FlowValidationError(
        f"{final.name} cannot be published: {trouble_of(error)}",
        where=str(final),
        fix="check that its folder can be written and has room, and that no folder has that name; nothing was published",
    )


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        facts = os.lstat(path)
    except OSError:
        return -1, -1
    return facts.st_size, facts.st_mtime_ns


def _remove(stage: Path) -> None:
    with suppress(OSError):
        nofollow.remove_tree(stage.parent, stage)
        list_of(stage).unlink(missing_ok=True)


def _with_code(made: Publication, code: str) -> Publication:
    return Publication(**{**asdict(made), "code": code})


def _write(note: Path, made: Publication) -> None:
    fresh = note.with_name(f".{note.name}.tmp")
    try:
        fresh.write_text(json.dumps(asdict(made)), encoding="utf-8")
        os.replace(fresh, note)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise FlowValidationError(
            f"the list of files to publish cannot be written: {trouble_of(error)}",
            where=str(note),
            fix="make room on the drive of the mirror; nothing was published",
        ) from error


def _read(note: Path) -> Publication | None:
    """What a list says; None for one that no Data Engine wrote, which is left alone."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        told = json.loads(note.read_text(encoding="utf-8"))
        files = [(str(name), int(size), int(time_ns)) for name, size, time_ns in told.pop("files")]
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name, _, _ in files):
            return None
        return Publication(files=files, **told)
    return None
