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

import errno
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data_engine.engine.access.access_log import not_logged
from data_engine.engine.access.file_events import current_guard
from data_engine.engine.candidates import Source
from data_engine.engine.kept_tables import (
    TABLES,
    TargetHeldError,
    apply_kept,
    keeping_of,
    list_calls,
    source_of_rows,
)
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.publication import (
    STAGING,
    RunsById,
    TargetChangedError,
    cannot_publish,
    clear,
    finish,
    left_stages,
    opened_stage,
    remove_stage,
    replace,
    spares,
    staging_of,
    take_place,
)
from data_engine.engine.staged_files import listed
from data_engine.errors import FlowValidationError
from data_engine.files import trouble_of
from data_engine.flow.batch import Batch, is_lazy_frame, is_relation
from data_engine.flow.context import FlowContext
from data_engine.flow.control import StepControl
from data_engine.flow.flow import Flow
from data_engine.formatting import first_few, plural
from data_engine.keeping import Keeping, RunOfRows
from data_engine.ledger.outputs import RunOfStage, runs_of_stages
from data_engine.model import PublishStarted, SeenSource
from data_engine.nofollow import FoundFile, OpenFolder, inside, is_link, opened, walk
from data_engine.platforms.files import CAN_REPLACE_OPEN_FILES, changed_ns
from data_engine.platforms.host import host_name
from data_engine.workspace.machine import machine_id

if TYPE_CHECKING:
    from data_engine.helpers.duckdb.kept import KeptTables

_MOST_NAMED = 3
_Facts = tuple[int, int, int]


_machine_of = cache(machine_id)


class Maker(NamedTuple):
    """The maker of a stage: machine and run; `made_of` is the size and time of the source, `source` its path for people."""

    machine: str
    run_id: str
    made_of: tuple[int, int] | None = None
    source: str = ""

    @property
    def name(self) -> str:
        """The name of the stage."""
        return f"{self.machine}-{self.run_id}"


class Stage:
    """The places of a run of the `flow` whose mirror is staged (flow/locations.py), and the rows that it keeps for tables of the
    workspace's `databases`, beside which the stage of a flow without a mirror lies. Nothing is made before the first path is asked for.

    `runs` looks up runs in the history; a flow of no workspace has none: nothing of it is ever finished. `record` keeps what is about to be published where only this machine can write, before it returns; `before` does what must be done
    before the first file takes its place.
    """

    def __init__(
        self,
        flow: Flow,
        maker: Maker,
        source: tuple[str, str] | None = None,
        *,
        databases: Path | None = None,
        runs: RunsById = lambda run_ids: {},
        record: Callable[[PublishStarted], None] = lambda event: None,
        log: Callable[..., None] = lambda text, level="INFO": None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        final_root = flow.mirror_spec.root if flow.is_staged and flow.mirror_spec is not None else databases
        assert final_root is not None
        self.final_root = final_root
        self.folder = staging_of(self.final_root) / maker.name
        self.keeping: Keeping | None = None
        if databases is not None:
            run = RunOfRows(maker.run_id, flow.name or "", maker.source)
            self.keeping = keeping_of(databases, run, self.folder / TABLES, self._begin)
        self._databases = databases
        self.finished: str | None = None
        self._maker, self._flow, self._source, self._runs = maker, flow, source, runs
        self._record, self._log, self._before = record, log, before
        self._lock = threading.Lock()
        self._began_ns: int | None = None
        self._facts: dict[Path, _Facts | None] = {}
        self._is_pending = False

    # -- what a context asks ---------------------------------------------------------------------------------------------

    def root(self, final: Path) -> Path:
        """The folder of the stage."""
        return self.folder

    def enter(self, place: Path, *, is_folder: bool) -> None:
        """Make the stage, and remember the target as it is now.

        Raises:
            FlowValidationError: there can be no stage.
        """
        self._begin()
        with self._lock:
            if not is_folder:
                final = self.final(place)
                if final not in self._facts:
                    self._facts[final] = _facts_of(final)

    def _begin(self) -> None:
        with self._lock:
            if self._began_ns is None:
                self._make()

    def database(self, final: Path, *, read_only: bool) -> Path:
        """The database itself: the rows for it are kept apart."""
        return final

    def final(self, path: Path) -> Path:
        """The final path of a staged file."""
        return self.final_root / path.relative_to(self.folder) if path.is_relative_to(self.folder) else path

    def publish(self) -> None:
        """Let all that is in the stage take its place.

        Raises:
            TargetChangedError: a target is not as it was.
            TargetHeldError: a target is held open by another program.
            FlowValidationError: a target cannot be replaced.
        """
        tables = self._tables
        count = 0 if self._began_ns is None else self._publish()
        if count > 1 or tables is not None:
            self._record(PublishStarted(self._maker.run_id, self.final_root.name))  # steps may write there again
        if tables is not None:
            tables.forget()
        self._log(f"published {plural(count, 'file')} of the stage")

    # -- its end ---------------------------------------------------------------------------------------------------------

    def succeed(self, code: Callable[[], str]) -> int:
        """Publish the stage of a run that has succeeded, and remove it; the number of files. `code` gives the digest of the code, where
        that fails for now.

        Raises: as `publish`.
        """
        if self._began_ns is None:
            return 0
        try:
            return self._publish(code)
        except TargetHeldError:
            self._is_pending = True
            raise

    def publish_what_was_made(self) -> bool:
        """Finish what earlier runs of this flow have begun to publish, and remove what those have left whose process is gone; whether
        the steps need not run again for this source.

        Raises: as `Stage.publish`.
        """
        is_done = False
        for left in left_stages(self.final_root, self._runs):
            run = left.run
            if run is None or run.flow != (self._flow.name or "") or run.status == "started":
                continue
            record = run.publication
            if record is None or run.source != self._source or record.mirror != self.final_root.name:
                clear(self.final_root, left, databases=self._databases)
                continue
            is_same = record.code is not None and record.code == self._code() and record.made_of == self._maker.made_of
            is_whole = finish(self.final_root, left.name, record, is_own=run.is_own, databases=self._databases)
            is_same = is_same and is_whole
            self._log(f"published what run {record.run_id[:8]} had made" + ("" if is_same else ", and runs again"))
            is_done = is_done or is_same
            self.finished = record.run_id
        return is_done

    def end(self, context: FlowContext) -> None:
        """Publish after all steps have succeeded, and let the context name the files by their final paths.

        Raises: as `Stage.publish`.
        """
        if self._began_ns is None:
            return
        for name, value in {"the result": context.current, **context.objects}.items():
            if self._is_lazy_over_stage(value):
                self._log(
                    f"{name} still reads from the stage, which is removed now: collect it in the step, or scan"
                    " context.mirror.final(path) after the run",
                    "WARNING",
                )
        with not_logged():
            self.succeed(self._code)
        context.current = self._final_value(context.current)
        context.objects = {name: self._final_value(value) for name, value in context.objects.items()}
        outputs = context.metadata.get("step_outputs", {})
        context.metadata["step_outputs"] = {name: self._final_value(value) for name, value in outputs.items()}

    def _final_value(self, value: Any) -> Any:
        """The value with every path of the stage in it replaced by the final one."""
        if isinstance(value, Path):
            return self.final(value)
        if isinstance(value, Batch):
            return Batch(tuple(map(self._final_value, value.items)))
        if type(value) is tuple:
            return tuple(map(self._final_value, value))
        if type(value) is list:
            return list(map(self._final_value, value))
        if type(value) is dict:
            return {key: self._final_value(item) for key, item in value.items()}
        return value

    def _is_lazy_over_stage(self, value: Any) -> bool:
        if is_lazy_frame(value):
            return _names(value.explain(optimized=False), self.folder)
        return is_relation(value) and _names(value.sql_query(), self.folder)

    def _code(self) -> str:
        """The digest of the flow's code and all it reaches."""
        from data_engine.engine.memo.fingerprint import code_fingerprint
        from data_engine.engine.memo.tracer import digest_of

        return digest_of([sorted(code_fingerprint(step).parts.items()) for step in self._flow.steps]).hex()

    def close(self) -> None:
        """Remove the stage, unless it waits for a target that is held open."""
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
                if self._flow.is_staged:
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

    def _make_in(self, beside: OpenFolder) -> int:
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
                kept: list[FoundFile] = []
                entries: list[FoundFile] = []
                for file in walk(stage):
                    (kept if file.folder[:1] == (TABLES,) else entries).append(file)
                files = [file for file in entries if file.is_regular]
                if odd := ["/".join((*file.folder, file.name)) for file in entries if not file.is_regular]:
                    self._log(f"only plain files are published, not {first_few(odd, _MOST_NAMED)}", "WARNING")
                with ExitStack() as targets:
                    self._publish_all(targets, beside, stage, files, kept, code)
                return len(files)
        except OSError as error:
            raise FlowValidationError(
                f"the stage of the run cannot be read: {trouble_of(error)}",
                where=str(error.filename or self.folder),
                fix="run it again, and look who else writes there; nothing was published",
            ) from error

    @property
    def _tables(self) -> KeptTables | None:
        """The rows that the run has kept, where there are any."""
        tables: KeptTables | None = None if self.keeping is None else self.keeping.tables
        return tables if tables is not None and tables.calls else None

    def _publish_all(
        self,
        targets: ExitStack,
        beside: OpenFolder,
        stage: OpenFolder,
        files: Sequence[FoundFile],
        kept: Sequence[FoundFile],
        code: Callable[[], str] | None,
    ) -> None:
        """Apply the kept rows and let the files take their place, after all of it was tried."""
        maker, replaced = self._maker, dict[str, tuple[int, int] | None]()
        groups = [(folder, list(group)) for folder, group in groupby(files, lambda file: file.folder)]
        if groups:
            out = targets.enter_context(self._target(beside, (self.final_root.name,), self.final_root))
        for folder, group in groups:
            with self._target(out, folder, self.final_root.joinpath(*folder)) as there:
                if not os.access(there.at("."), os.W_OK, dir_fd=there.descriptor):
                    raise cannot_publish(there.path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
                for file in group:
                    replaced["/".join((*folder, file.name))] = self._try(there, file)

        tables = self._tables
        numbers: dict[Path, int | str] = {} if tables is None else tables.numbers()

        def record(code: str | None = None) -> None:
            rows = listed(stage, files, replaced)
            if tables is not None and self.keeping is not None:
                rows += list_calls(stage, kept, self.keeping, numbers)
            self._record(PublishStarted(maker.run_id, self.final_root.name, rows, maker.made_of, code))

        def before(now: Mapping[Path, int | str]) -> None:
            numbers.update(now)
            self._before()
            if len(files) + len(numbers) > 1:  # one file, or one database, changes at once
                record()

        try:
            if tables is None or self.keeping is None:
                before({})
            else:
                apply_kept(self.keeping, before)
            for folder, group in groups:
                with inside(stage, folder) as here, inside(out, folder) as there:
                    for file in group:
                        final = self.final_root.joinpath(*folder, file.name)
                        take_place(here, file.name, there, final)
                        self._facts[final] = _facts_of(final)
        except TargetHeldError:
            if code is not None:
                record(code())
            raise

    @contextmanager
    def _target(self, place: OpenFolder, names: Sequence[str], final: Path) -> Iterator[OpenFolder]:
        """A folder of the mirror, made where it is missing."""
        with ExitStack() as stack:
            try:
                there = stack.enter_context(inside(place, names, make=True))
            except OSError as error:
                raise cannot_publish(final, error) from error
            yield there

    def _try(self, there: OpenFolder, file: FoundFile) -> tuple[int, int] | None:
        """Refuse a target that could not be replaced, before any is; the size and time of the file there."""
        final = self.final_root.joinpath(*file.folder, file.name)
        if (guard := current_guard()) is not None:
            guard.about_to_write(str(final))
        facts = there.facts(file.name)
        now = None if facts is None else _signature(facts)
        if now is not None and now != self._facts.get(final, now):
            raise _changed(final)
        if facts is not None and final not in self._facts:
            changed_at_ns = max(facts.st_mtime_ns, changed_ns(str(final), facts))  # by the file server's clock
            if changed_at_ns > (self._began_ns or 0):
                raise _changed(final)
        if facts is not None and stat.S_ISDIR(facts.st_mode):
            raise cannot_publish(final, IsADirectoryError(errno.EISDIR, "there is a folder of that name"))
        if not CAN_REPLACE_OPEN_FILES and now is not None:
            replace(there, file.name, there, final)  # changes nothing, and fails where another program has it open
        return None if facts is None else (facts.st_size, facts.st_mtime_ns)


def staged_run(
    flow: Flow,
    source: Source,
    seen: tuple[SeenSource, ...],
    *,
    home: LocalWorkspace | None,
    control: StepControl,
    before: Callable[[], None],
) -> Stage | None:
    """The stage of a run whose flow has a staged mirror, or none in a workspace; None for every other flow."""
    databases = None if home is None else home.databases
    if not flow.is_staged and (databases is None or flow.mirror_spec is not None):
        return None
    machine = host_name() if home is None else _machine_of(home.local.state_root)
    made_of = seen[0].signature[:2] if source.path is not None and seen else None
    key = None if source.key is None else (source.key.root, source.key.path)

    def runs(run_ids: Collection[str]) -> Mapping[str, RunOfStage]:
        return {} if home is None else runs_of_stages(home.local.ledger_path, run_ids)

    maker = Maker(machine, control.run_id, made_of, source_of_rows(source, home))
    return Stage(flow, maker, key, databases=databases, runs=runs, record=control.emit, log=control.log, before=before)


def _names(text: str, folder: Path) -> bool:
    """Whether a plan or a query names the folder, with whichever separators, escaped or not."""
    spelled = re.compile(r"[\\/]+")
    return spelled.sub("/", str(folder)) in spelled.sub("/", text)


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
        return _signature(os.lstat(final))
    except OSError:
        return None


def _signature(facts: os.stat_result) -> _Facts:
    return facts.st_size, facts.st_mtime_ns, facts.st_ino
