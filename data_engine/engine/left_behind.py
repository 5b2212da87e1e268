"""Find outputs and rejected rows whose sources are gone, and move them aside and back. Nothing is deleted.

    <mirror's parent>/.data_engine_set_aside/<time>/<mirror's name>/   what was moved at that time, by its path inside the mirror

The folder is hidden, so that no flow takes what lies there for a source. Others may write there and in the mirror: only plain
files are moved, and no link is followed (nofollow.py). The times are UTC, so that they sort as they were; those without a "Z" are
of an earlier Data Engine, in this machine's zone.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from data_engine.engine.quarantine import rejected_folder, rejected_rows
from data_engine.errors import FlowValidationError
from data_engine.files import files_below, trouble_of
from data_engine.flow.flow import Flow
from data_engine.ledger.deployments import present_name, renamings
from data_engine.ledger.ledger import Ledger
from data_engine.model import WrittenFile, utc_text
from data_engine.nofollow import OpenFolder, inside, move, opened, walk
from data_engine.notebook.mirror_warnings import folders_of, is_read
from data_engine.record import Record, frozen
from data_engine.workspace.layout import WorkspaceLayout

SET_ASIDE = ".data_engine_set_aside"
_STAMP, _LOCAL_STAMP = "%Y-%m-%d_%H-%M-%S.%fZ", "%Y-%m-%d_%H-%M-%S"
MOST_RUNS = 20_000
"""The number of newest runs whose outputs are looked at."""


@frozen
class LeftBehind(Record):
    """An output in the mirror of `flow`, written at `at_utc` for a `source` that is gone; `mirror` is the root it lies in.

    Of rows in a table, `path` is the database, and `number` that of their record. Of a database that nobody can look into, `busy` says
    who has it.
    """

    sparse: ClassVar = ("table", "rows", "number", "busy")

    path: str
    flow: str
    source: str
    at_utc: str
    mirror: str
    size_bytes: int | None = None
    table: str = ""
    rows: int = 0
    number: int = 0
    busy: str = ""


def all_left_behind(
    written: Iterable[WrittenFile], layout: WorkspaceLayout, flows: Sequence[Flow], ledger: Ledger
) -> list[LeftBehind]:
    """The outputs, the rejected rows and the rows in tables of these flows whose sources are gone."""
    rows = rows_left_behind(layout, flows, ledger)
    return [*left_behind(written, flows), *rejected_left_behind(layout.root, flows), *rows]


def set_all_aside(left: Sequence[LeftBehind], databases: Path) -> list[Path]:
    """Move all of these out of their mirrors and tables; where they are now. Databases in use stay.

    Raises:
        FlowValidationError: something cannot be moved; what was before it was.
    """
    files = set_aside([entry for entry in left if not entry.table and not entry.busy])
    return [*files, *set_rows_aside([entry for entry in left if entry.table], databases)]


def put_all_back(layout: WorkspaceLayout, flows: Sequence[Flow], ledger: Ledger) -> list[Path]:
    """Move back what was moved out of the mirrors and tables of these flows last; where it is now.

    Raises:
        FlowValidationError: something cannot be moved; what was before it was.
    """
    mirrors = [flow.mirror_spec.root for flow in flows if flow.mirror_spec is not None]
    files = put_back([*mirrors, *(rejected_folder(layout.root, flow.name or "") for flow in flows)])
    return [*files, *put_rows_back(layout.databases_dir, flows, ledger)]


def left_behind(written: Iterable[WrittenFile], flows: Iterable[Flow]) -> list[LeftBehind]:
    """The written files in the mirrors of these flows whose sources are all gone, sorted by path.

    A flow that runs for a folder as a whole leaves none, and of a source folder that is away nothing is known.
    """
    places = [place for flow in flows if (place := _places(flow)) is not None]
    outputs: dict[str, LeftBehind] = {}
    for file in written:
        path = Path(file.path)
        for name, source, mirror in places:
            is_ours = path.is_relative_to(mirror) and all(source in Path(text).parents for text in file.sources)
            if is_ours and is_source_gone(file) and os.path.exists(file.path):
                outputs[file.path] = LeftBehind(
                    file.path, name, file.sources[0], file.at_utc, str(mirror), size_bytes=file.size_bytes
                )
    return [outputs[path] for path in sorted(outputs)]


def rejected_left_behind(root: Path, flows: Sequence[Flow]) -> list[LeftBehind]:
    """The rejected rows in the workspace at `root` whose source is gone, as outputs in the mirror `rejected/<flow>`."""
    entries = rejected_rows(root)
    gone = gone_sources(((entry.flow, entry.source) for entry in entries), flows)
    folders = {flow.name or "": flow.trigger.source for flow in flows if flow.trigger is not None}
    outputs = []
    for entry in entries:
        if (entry.flow, entry.source) in gone:
            source, facts = os.path.join(folders[entry.flow] or "", entry.source or ""), os.stat(entry.path)
            mirror, at_utc = str(rejected_folder(root, entry.flow)), utc_text(facts.st_mtime)
            outputs.append(LeftBehind(entry.path, entry.flow, source, at_utc, mirror, size_bytes=facts.st_size))
    return outputs


def rows_left_behind(layout: WorkspaceLayout, flows: Iterable[Flow], ledger: Ledger) -> list[LeftBehind]:
    """The rows that runs of these flows wrote for one file of their source that is gone; a database in use is listed as `busy`."""
    databases = layout.databases_dir
    paths = _databases(databases)
    if not paths:
        return []
    from data_engine.helpers.duckdb.aside import rows_of_files
    from data_engine.helpers.duckdb.connection import DatabaseBusyError

    of_files = [flow for flow in flows if flow.trigger is not None and flow.trigger.run_as != "batch"]
    folders = {flow.name: flow.trigger.source for flow in of_files if flow.trigger is not None}
    left, renamed = [], renamings(ledger)
    for path in paths:
        try:
            records = [replace(row, flow=present_name(renamed, row.flow, row.at)) for row in rows_of_files(path)]
        except FlowValidationError as error:
            if isinstance(error, DatabaseBusyError):
                left.append(LeftBehind(str(path), "", "", "", str(databases), busy=error.what))
            continue
        sources = {row.number: os.path.normpath(layout.root / row.source) for row in records if row.source}
        gone = gone_sources(((row.flow, sources.get(row.number)) for row in records), of_files)
        for row in records:
            source, folder = sources.get(row.number, ""), folders.get(row.flow)
            if (row.flow, source) in gone and folder in Path(source).parents:
                table = row.table if row.schema == "main" else f"{row.schema}.{row.table}"
                entry = LeftBehind(str(path), row.flow, source, row.at, str(databases))
                left.append(replace(entry, table=table, rows=row.rows, number=row.number))
    return left


def set_rows_aside(left: Sequence[LeftBehind], databases: Path) -> list[Path]:
    """Move these rows out of their tables, into Parquet files; where they are now.

    Raises:
        FlowValidationError: a database is in use; rows before those were moved.
    """
    from data_engine.helpers.duckdb.aside import move_rows

    stamp = datetime.now(UTC).strftime(_STAMP)
    moved = []
    for entry in left:
        folder = databases.joinpath(SET_ASIDE, stamp, Path(entry.path).relative_to(databases))
        folder.mkdir(parents=True, exist_ok=True)
        if (file := move_rows(Path(entry.path), entry.number, folder)) is not None:
            moved.append(file)
    return moved


def put_rows_back(databases: Path, flows: Iterable[Flow], ledger: Ledger) -> list[Path]:
    """Move back the rows of these flows that were moved out of tables last; the databases, for each file of rows.

    Raises:
        FlowValidationError: a database is in use; rows before those were moved.
    """
    store, names = databases / SET_ASIDE, {flow.name for flow in flows}
    stamps = [(at_s, path) for path in store.glob("*") if (at_s := _when_s(path.name)) is not None]
    if not stamps:
        return []
    from data_engine.helpers.duckdb import aside

    renamed = renamings(ledger)
    for _, stamp in sorted(stamps, reverse=True):
        back = []
        for file in sorted(stamp.rglob("*.parquet")):
            database, row = databases / file.parent.relative_to(stamp), aside.record_in(file)
            is_of_flows = present_name(renamed, row.flow, row.at) in names
            if database.is_file() and is_of_flows and aside.put_rows_back(database, file):
                back.append(database)
        if back:
            return back
    return []


DATABASES = (".duckdb", ".db", ".ddb")


def _databases(folder: Path) -> list[Path]:
    """The database files below the folder, but for hidden ones."""
    paths = [path for path in files_below(folder) if path.suffix in DATABASES]
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def known_elsewhere(written: Iterable[WrittenFile], flows: Iterable[Flow]) -> list[WrittenFile]:
    """The outputs of these flows that are recorded only at paths where not even the folder is left.

    So it is after their mirror was moved by itself: outputs at the new place look like files of other people.
    """
    mirrors = {places[0]: places[2] for flow in flows if (places := _places(flow)) is not None}
    again: set[tuple[str, str]] = set()
    files = []
    for file in written:
        mirror = mirrors.get(file.flow)
        if mirror is None or not any(file.sources):
            continue
        if Path(file.path).is_relative_to(mirror) or os.path.isdir(os.path.dirname(file.path)):
            again.update((file.flow, source) for source in file.sources)
        elif not all((file.flow, source) in again for source in file.sources):
            files.append(file)
    return files


def gone_sources(sources: Iterable[tuple[str, str | None]], flows: Iterable[Flow]) -> frozenset[tuple[str, str]]:
    """The sources, each with its flow, that are gone from a folder that is there; a source that is no file of a folder never is."""
    folders = {flow.name: flow.trigger.source for flow in flows if flow.trigger is not None}
    rows = [(flow, source, folder) for flow, source in sources if source and (folder := folders.get(flow)) is not None]
    in_folder = Counter((folder / source).parent for _, source, folder in rows)
    listed = {place: _names_in(place) for place, count in in_folder.items() if count > _FEW_LOOKS}
    return frozenset(
        (flow, source)
        for flow, source, folder in rows
        if (path := folder / source).name not in listed.get(path.parent, ())
        and not os.path.exists(path)
        and folder.is_dir()
    )


_FEW_LOOKS = 100
"""More files of one folder are looked for in its list, which a share gives at once."""


def _names_in(folder: Path) -> frozenset[str]:
    with suppress(OSError):
        return frozenset(os.listdir(folder))
    return frozenset()


def is_source_gone(file: WrittenFile) -> bool:
    """Whether every source that the file was written for is gone, from a folder that is there."""
    if file.source_root is None or not file.sources or not os.path.isdir(file.source_root):
        return False
    return not any(os.path.exists(source) for source in file.sources)


def set_aside(outputs: Sequence[LeftBehind], *, now_s: float | None = None) -> list[Path]:
    """Move these outputs out of their mirrors; where they are now. What is no plain file any more stays.

    Raises:
        FlowValidationError: one cannot be moved; those before it were.
    """
    stamp = datetime.fromtimestamp(time.time() if now_s is None else now_s, UTC).strftime(_STAMP)
    moved = []
    for output in outputs:
        mirror, path = Path(output.mirror), Path(output.path)
        *folders, name = path.relative_to(mirror).parts
        new_folders = (SET_ASIDE, stamp, mirror.name, *folders)
        target = mirror.parent.joinpath(*new_folders, name)
        try:
            if ".." in folders:
                raise OSError(errno.EINVAL, "its path leads out of its mirror")
            with opened(mirror.parent) as parent, inside(parent, (mirror.name, *folders)) as origin:
                facts = origin.facts(name)
                if facts is None or not stat.S_ISREG(facts.st_mode):
                    continue
                with inside(parent, new_folders, make=True) as destination:
                    move(origin, name, destination)
        except OSError as error:
            raise _cannot_move(path, target, error) from error
        moved.append(target)
    return moved


def is_set_aside(path: Path) -> bool:
    """Whether the output that was at `path` lies where `set_aside` moved it to."""
    with suppress(OSError):
        folders = [folder for folder in path.parents if (folder / SET_ASIDE).is_dir()]
        return any(
            os.path.lexists(stamp / path.relative_to(folder))
            for folder in folders
            for stamp in (folder / SET_ASIDE).iterdir()
        )
    return False


def put_back(mirrors: Iterable[Path]) -> list[Path]:
    """Move back the files that were moved out of these mirrors last, where their place is still free; where they are now.

    Raises:
        FlowValidationError: one cannot be moved; those before it were.
    """
    moved = []
    for mirror in sorted(set(mirrors)):
        try:
            with opened(mirror.parent) as parent, inside(parent, (SET_ASIDE,)) as store:
                stamps = [(at_s, name) for name in store.names() if (at_s := _when_s(name)) is not None]
                for _, stamp in sorted(stamps, reverse=True):
                    back = list(_put_back_from(parent, (SET_ASIDE, stamp, mirror.name), mirror))
                    _remove_empty(store, stamp)
                    moved += back
                    if back:
                        break
                os.rmdir(parent.at(SET_ASIDE), dir_fd=parent.descriptor)
        except OSError:  # nothing was moved aside, or more lies there still
            continue
    return moved


def _put_back_from(parent: OpenFolder, names: tuple[str, ...], mirror: Path) -> Iterator[Path]:
    try:
        with inside(parent, names) as origin:
            files = [file for file in walk(origin) if file.is_regular]
    except OSError:  # of another mirror, or a link
        return
    for folder, name, _ in files:
        target = mirror.joinpath(*folder, name)
        try:
            with (
                inside(parent, (*names, *folder)) as origin,
                inside(parent, (mirror.name, *folder), make=True) as destination,
            ):
                if destination.facts(name) is not None:
                    continue
                move(origin, name, destination)
        except OSError as error:
            raise _cannot_move(mirror.parent.joinpath(*names, *folder, name), target, error) from error
        yield target


def _when_s(stamp: str) -> float | None:
    """When files were moved aside, by the name of their folder; None for another name."""
    with suppress(ValueError, OverflowError):
        if stamp.endswith("Z"):
            return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
        return datetime.strptime(stamp, _LOCAL_STAMP).astimezone().timestamp()
    return None


def readers_of(mirrors: Iterable[Path], flows: Iterable[Flow]) -> list[str]:
    """The flows that read in one of these folders, by their source or by `collect`."""
    roots = list(mirrors)
    return sorted({flow.name or "" for flow in flows if any(is_read(root, folders_of(flow).reads) for root in roots)})


def _places(flow: Flow) -> tuple[str, Path, Path] | None:
    trigger, mirror = flow.trigger, flow.mirror_spec
    if trigger is None or trigger.source is None or mirror is None or trigger.run_as == "batch":
        return None
    return (flow.name or "", trigger.source, mirror.root) if trigger.source.is_dir() else None


def _cannot_move(path: Path, target: Path, error: OSError) -> FlowValidationError:
    return FlowValidationError(
        f"{path} cannot be moved: {trouble_of(error)}",
        where=str(target),
        fix="close it where it is open, check the permissions of both folders and that no link is in the way, and ask again",
    )


def _remove_empty(place: OpenFolder, name: str) -> None:
    """Remove the folder `name` with the folders in it, as far as they hold nothing else."""
    with suppress(OSError):
        with inside(place, (name,)) as folder:
            for child in folder.names():
                _remove_empty(folder, child)
        os.rmdir(place.at(name), dir_fd=place.descriptor)
