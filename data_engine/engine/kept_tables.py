"""The rows that a run keeps for tables, in its stage: what the helpers are given to keep them, and their application.

    <stage>/.data_engine_tables/3.arrow        the rows of a call
    <stage>/.data_engine_tables/calls.json     the calls in their order, made before the first database is changed; the record of the
                                               publication names it, and it names the files

Each database has a record of what was applied to it (helpers/duckdb/applied.py), so that finishing after a crash does nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from data_engine.engine.access.access_log import active_logs, bound, not_logged
from data_engine.engine.access.file_events import about_to_open_database
from data_engine.engine.access.recorders import record_paths
from data_engine.engine.staged_files import is_as_listed, listed
from data_engine.errors import FlowValidationError
from data_engine.formatting import path_in
from data_engine.keeping import Keeping, Order, RunOfRows, keeping
from data_engine.model import StagedFile
from data_engine.nofollow import FoundFile, OpenFolder, inside, opened_file
from data_engine.notebook.locate import author_line
from data_engine.platforms.files import read_at

if TYPE_CHECKING:
    from data_engine.engine.candidates import Source
    from data_engine.engine.local_workspace import LocalWorkspace
    from data_engine.helpers.duckdb.kept import KeptCall

TABLES = ".data_engine_tables"
LIST = f"{TABLES}/calls.json"


class TargetHeldError(FlowValidationError):
    """Another program holds a target open; what was made waits in the stage."""


def source_of_rows(source: Source, home: LocalWorkspace | None) -> str:
    """The source of a run as records in a database name it: relative to the workspace where it lies in it."""
    text = source.text or ""
    return text if home is None else path_in(home.layout.root, text)


def keeping_of(
    databases: Path, run: RunOfRows, folder: Path | None = None, begin: Callable[[], None] = lambda: None
) -> Keeping:
    """What the helpers of a run are given: its rows are kept below `folder`, or, without one, written at once."""
    return Keeping(databases, run, folder, begin=begin, cell=author_line, opens=_opens, unseen=not_logged)


def _opens(path: Path, to_write: bool) -> None:
    """Show a database that a run reads or keeps rows for to its guard and its record."""
    record_paths([path], "database", active_logs(), native=False, is_appended=to_write)
    if to_write:
        about_to_open_database(str(path))


# -- items of a map in other processes -------------------------------------------------------------------------------------

KeptSoFar = tuple[Path, RunOfRows, Path | None, tuple[Any, ...]]
"""What the items of a map are sent: databases, run and folder of its `Keeping`, and the calls so far."""


def kept_so_far(run: Keeping | None) -> KeptSoFar | None:
    """What the items of a map that begins now are sent."""
    if run is None:
        return None
    if run.folder is not None:
        run.begin()
    return run.root, run.run, run.folder, () if run.tables is None else tuple(run.tables.calls)


@contextmanager
def rows_of_item(kept: KeptSoFar | None, order: Order, tell: Callable[[list[Any], list[Any]], None]) -> Iterator[None]:
    """Inside, an item of this order runs; `tell` gets the calls that it has made, and what it has written at once."""
    if kept is None:
        yield
        return
    databases, run, folder, before = kept
    own = keeping_of(databases, run, folder)
    own.order, own.before = order, before
    if before:
        from data_engine.helpers.duckdb.kept import tables_of

        tables_of(own)
    try:
        with bound(keeping, own):
            yield
    finally:
        calls = []
        if own.tables is not None:
            calls = own.tables.own_calls
            own.tables.close()
        if calls or own.written:
            tell(calls, list(own.written))


def take_rows(run: Keeping, calls: list[Any], written: list[tuple[Path, str]]) -> None:
    """Take home what `rows_of_item` has told."""
    run.written.update(dict.fromkeys(written))
    if calls:
        from data_engine.helpers.duckdb.kept import tables_of

        tables_of(run).take_home(calls)


# -- publication -----------------------------------------------------------------------------------------------------------


def apply_kept(run: Keeping, before: Callable[[Mapping[Path, int | str]], None]) -> None:
    """Apply what the run has kept; `before` is called before the first commit, with the number of the last application to each database.

    Raises:
        TargetHeldError: a database is in use elsewhere.
        FlowValidationError: a call is refused, naming its cell; nothing is changed.
    """
    from data_engine.helpers.duckdb.connection import DatabaseBusyError
    from data_engine.helpers.duckdb.kept import apply

    assert run.folder is not None
    try:
        with not_logged():
            apply(run.tables.calls, run.folder, run.run, before=before)
    except DatabaseBusyError as error:
        raise _held(error) from error


def list_calls(
    stage: OpenFolder, files: Sequence[FoundFile], run: Keeping, numbers: Mapping[Path, int | str]
) -> tuple[StagedFile, ...]:
    """Write the list of the calls into the stage, whose kept rows are these `files`; its entry in the record of the publication."""
    calls: list[KeptCall] = run.tables.calls
    with inside(stage, (TABLES,)) as here:
        content = {
            "flow": run.run.flow,
            "source": run.run.source,
            "files": listed(stage, [file for file in files if file.name.endswith(".arrow")], {}),
            "numbers": {_inner(path, run): numbers[path] for path in {call.path for call in calls}},
            "calls": [
                [
                    *(call.order, _inner(call.path, run), _fields(call)),
                    *(call.file, call.rows, call.wait_s, call.cell, call.number),
                ]
                for call in sorted(calls, key=lambda call: call.order)
            ],
        }
        path = here.path / PurePosixPath(LIST).name
        path.write_text(json.dumps(content), encoding="utf-8", newline="\n")
        facts = here.facts(path.name)
        assert facts is not None
    return listed(stage, [FoundFile((TABLES,), path.name, facts)], {})


def finish_tables(stage: OpenFolder, file: StagedFile, run_id: str, databases: Path, *, is_own: bool) -> bool:
    """Apply the rest of what a run had kept, as its list says it; whether all of it stands in the tables now.

    What is not as it was listed is not applied, nor is what later rows have taken the place of.

    Raises:
        TargetHeldError: a database is in use elsewhere.
        FlowValidationError: a call is refused, naming its cell; nothing is changed.
    """
    from data_engine.helpers.duckdb.connection import DatabaseBusyError
    from data_engine.helpers.duckdb.kept import KeptCall, apply
    from data_engine.helpers.duckdb.rows import NewRows

    with inside(stage, (TABLES,)) as here:
        content = _content(here, file, is_own=is_own)
        if content is None:
            return False
        root = {name: databases / PurePosixPath(name) for name in content["numbers"]}
        calls = [
            KeptCall(tuple(order), root[name], NewRows(*fields), *rest)
            for order, name, fields, *rest in content["calls"]
        ]
        since = {path: content["numbers"][name] for name, path in root.items()}
        run = RunOfRows(run_id, content["flow"], content["source"])
        try:
            with not_logged():
                return apply(calls, here.path, run, since=since)
        except DatabaseBusyError as error:
            raise _held(error) from error


def _content(here: OpenFolder, file: StagedFile, *, is_own: bool) -> dict[str, Any] | None:
    """The list of the calls; None where it, or a file that it names, is not as it was."""
    name = PurePosixPath(LIST).name
    facts = here.facts(name)
    if facts is None or not is_as_listed(here, name, facts, file, is_own=is_own):
        return None
    with opened_file(here, name) as descriptor:
        content: dict[str, Any] = json.loads(read_at(descriptor, file.size_bytes, 0))
    for row in content["files"]:
        entry = StagedFile(*row)
        name = PurePosixPath(entry.name).name
        facts = here.facts(name)
        if facts is None or not is_as_listed(here, name, facts, entry, is_own=is_own):
            return None
    return content


def _inner(path: Path, run: Keeping) -> str:
    return path.relative_to(run.root).as_posix()


def _fields(call: KeptCall) -> list[Any]:
    return [call.new.table, call.new.kind, call.new.column, call.new.key, call.new.widen]


def _held(error: FlowValidationError) -> TargetHeldError:
    return TargetHeldError(
        error.what,
        where=error.where,
        fix="close it there; then `data-engine retry` publishes what was made, without running the steps again",
    )
