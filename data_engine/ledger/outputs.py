"""The files that runs wrote: which run wrote one, for which source, what a run was about to publish, and where files are now.

The history names files by where the workspace was: before it was moved or renamed, or on another workstation.

Each function raises `LedgerError` where the ledger cannot be used.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from data_engine.ledger.connection import connect_to_look
from data_engine.ledger.rows import (
    RUN_COLUMNS,
    SHORT_RUN_COLUMNS,
    file_facts,
    files_of,
    restored,
    run_of,
    staged_files_of,
    storable,
)
from data_engine.model import PublishStarted, Run, WrittenFile, future_utc
from data_engine.record import frozen

if TYPE_CHECKING:
    from data_engine.ledger.ledger import Ledger
    from data_engine.workspace.layout import WorkspaceLayout

MOST_OUTPUTS = 20
"""The most outputs of one name that are shown, the first by their paths."""


class NewPage(NamedTuple):
    """A page that a run has made, and that is not as the run before left it: its path, its note or title, and the end of the run."""

    run_id: str
    path: str
    text: str
    source: str | None
    at_utc: str


def new_pages(ledger: Ledger, flow: str, since_utc: str, counts: Callable[[Run], bool]) -> list[NewPage]:
    """The pages that good runs of the flow have made or changed since then, oldest first, of runs that count."""
    until_utc, good = future_utc(time.time()), "flow_name = ? AND reports IS NOT NULL AND status = 'success'"
    rows = ledger.rows(
        f"SELECT {SHORT_RUN_COLUMNS} FROM runs WHERE {good} AND finished_at_utc > ? AND finished_at_utc <= ?"
        " ORDER BY finished_at_utc",
        *(flow, since_utc, until_utc),
    )
    runs = [run for run in map(run_of, rows) if counts(run)]
    paths = {page.path for run in runs for page in run.reports}
    before: dict[str, str] = {}
    query = f"SELECT reports FROM runs WHERE {good} AND finished_at_utc <= ? ORDER BY finished_at_utc DESC LIMIT ?"
    for (text,) in ledger.rows(query, flow, since_utc, _MOST_BEFORE) if paths else ():
        for path, digest, _ in json.loads(text):
            before.setdefault(path, digest)
        if paths <= before.keys():
            break
    pages = []
    for run in runs:
        for page in run.reports:
            if before.get(page.path) != page.digest:
                pages.append(NewPage(run.run_id, page.path, page.text, run.source, run.last_at_utc))
            before[page.path] = page.digest
    return pages


_MOST_BEFORE = 10_000
"""The runs before that are looked through for the pages as they were."""

MOST_RUNS = 500
"""The newest runs of the flow that are looked through."""


@frozen
class OutputRun:
    """An output of a flow, as it was recorded, with the newest run that wrote it; None where that is forgotten."""

    flow: str
    path: str
    run: Run | None


def output_runs(ledger: Ledger, path: str, endings: Sequence[str] = ()) -> list[OutputRun]:
    """The runs that wrote the file at this absolute path; without any, files whose path ends with one of `endings`, such as its name.

    A flow without such a run is left out where another one wrote the same file: it has its outputs from a flow that was renamed.
    """
    runs: list[OutputRun] = []
    with ledger.reading() as connection:
        rows = connection.execute(
            "SELECT flow_name, output_path FROM outputs WHERE output_path = ?", storable((path,))
        ).fetchall()
        for ending in () if rows else endings:
            rows += connection.execute(
                "SELECT flow_name, output_path FROM outputs WHERE substr(output_path, -length(?1)) = ?1"
                " ORDER BY output_path LIMIT ?2",
                storable((os.sep + ending, MOST_OUTPUTS)),
            ).fetchall()
        for flow, written in dict.fromkeys(rows):
            run = connection.execute(
                f"SELECT {RUN_COLUMNS} FROM runs WHERE flow_name = ? AND outputs IS NOT NULL AND instr(outputs, ?)"
                " ORDER BY started_at_utc DESC, rowid DESC LIMIT 1",
                (flow, json.dumps(restored(written))),
            ).fetchone()
            runs.append(OutputRun(restored(flow), restored(written), None if run is None else run_of(tuple(run))))
    known = {output.path for output in runs if output.run is not None}
    return [output for output in runs if output.run is not None or output.path not in known]


def outputs_beside_sources(ledger_path: Path, flow: str, root: str) -> frozenset[str]:
    """The files below the source folder `root` that the flow has written and never read as sources; the history is only opened to
    read, and none are known where that fails."""
    lead = root.rstrip(os.sep) + os.sep
    with suppress(sqlite3.Error, OSError), closing(connect_to_look(ledger_path)) as connection:
        query = "SELECT output_path FROM outputs WHERE flow_name = ?1 AND substr(output_path, 1, length(?2)) = ?2"
        outputs = {restored(path) for (path,) in connection.execute(query, storable((flow, lead)))}
        if outputs:
            keys = connection.execute("SELECT source_key FROM file_state WHERE flow_name = ?", storable((flow,)))
            outputs.difference_update(os.path.join(lead, *restored(key).split("/")) for (key,) in keys)
        return frozenset(outputs)
    return frozenset()


def writers_of_gone(ledger: Ledger, root: str) -> tuple[str, ...]:
    """The flows that wrote files below the folder `root` which are gone, in order."""
    lead = root.rstrip(os.sep) + os.sep
    query = "SELECT flow_name, output_path FROM outputs WHERE substr(output_path, 1, length(?1)) = ?1"
    gone = (flow for flow, path in ledger.rows(query, lead) if not os.path.lexists(restored(path)))
    return tuple(sorted(set(map(restored, gone))))


_BEFORE = "SELECT 1 FROM outputs WHERE flow_name = ? AND output_path = ?"
_WRITERS = """
SELECT source_path, outputs, finished_at_utc FROM (
    SELECT source_path, outputs, finished_at_utc, status, run_id FROM runs WHERE flow_name = ? ORDER BY started_at_utc DESC LIMIT ?
) WHERE status = 'success' AND run_id <> ? AND source_path IS NOT NULL AND source_path <> ? AND instr(outputs, ?)
"""

Writer: TypeAlias = tuple[str, float]
"""The source that a run was for, and when it had written."""


def other_writers(
    ledger_path: Path, flow: str, paths: Sequence[str], *, source: str, run_id: str
) -> dict[str, list[Writer]]:
    """The other sources for which the newest runs of the flow wrote each path, newest first; none where the history cannot be read."""
    writers: dict[str, list[Writer]] = {}
    with suppress(sqlite3.Error, OSError), closing(connect_to_look(ledger_path)) as connection:
        for path in paths:
            if connection.execute(_BEFORE, storable((flow, path))).fetchone() is None:
                continue
            values = storable((flow, MOST_RUNS, run_id, source, json.dumps(path)[1:-1]))
            for other, outputs, ended in connection.execute(_WRITERS, values):
                if any(file.path == path for file in files_of(outputs)[0]):
                    writers.setdefault(path, []).append((restored(other), datetime.fromisoformat(ended).timestamp()))
    return writers


_STAGES = """
SELECT run_id, flow_name, source_root, source_key, status, runner_id IS NOT NULL, publication FROM runs
    WHERE run_id IN (SELECT value FROM json_each(?))
"""


class RunOfStage(NamedTuple):
    """The facts of a run by which its stage is judged: `source` is the identity of its source, `is_own` whether this machine has run it,
    `publication` what it was about to publish when it ended."""

    run_id: str
    flow: str
    source: tuple[str, str] | None
    status: str
    is_own: bool
    publication: PublishStarted | None


def runs_of_stages(ledger_path: Path, run_ids: Collection[str]) -> Mapping[str, RunOfStage]:
    """The runs that the ledger knows, by id; none where it cannot be read, as on a node of a cluster.

    It is opened to read only: a worker has no ledger of its own.
    """
    ids = json.dumps(list(run_ids))
    try:
        with closing(sqlite3.connect(f"{ledger_path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return {row[0]: _run_of_stage(*row) for row in connection.execute(_STAGES, (ids,))}
    except sqlite3.Error:
        return {}


_KNOWN_FOR_S = 60.0
_known: WeakKeyDictionary[Ledger, tuple[Path, float, tuple[PurePath, ...]]] = WeakKeyDictionary()
"""By ledger: the root of its workspace, when its former roots were asked for, and the former roots."""


def former_roots(folders: Iterable[tuple[str, str]], layout: WorkspaceLayout) -> tuple[PurePath, ...]:
    """The former roots of the workspace, from its source folders: each as its author wrote it, and its path in past runs.

    Only a relative path of a folder inside the workspace shows one.

    Example:
        >>> from data_engine.workspace.layout import WorkspaceLayout
        >>> layout = WorkspaceLayout(Path("/new"))
        >>> folders = [("../in", "/old/in"), ("/data", "/data"), ("../in", str(Path("/new/in")))]
        >>> [root.as_posix() for root in former_roots(folders, layout)]
        ['/old']
    """
    roots: dict[PurePath, None] = {}
    for authored, folder in folders:
        path = PurePath(os.path.normpath(layout.flow_modules_dir / authored))
        old = _pure(folder)
        if not path.is_relative_to(layout.root) or authored[:1] == "/" or PureWindowsPath(authored).is_absolute():
            continue
        inside = path.relative_to(layout.root).parts
        if inside and _are_same(old.parts[-len(inside) :], inside) and len(old.parts) > len(inside):
            root = type(old)(*old.parts[: -len(inside)])
            if str(root) != str(layout.root):
                roots[root] = None
    return tuple(roots)


def current_path(path: str, root: Path, former: Sequence[PurePath]) -> str:
    """The current path of a file of the workspace; any other path as it is.

    Example:
        >>> PurePath(current_path("/old/out/a.csv", Path("/new"), [PurePosixPath("/old")])).as_posix(), current_path("/x", Path("/new"), [])
        ('/new/out/a.csv', '/x')
    """
    if not any(path.startswith(str(old_root)) for old_root in former) or Path(path).is_relative_to(root):
        return path
    old = _pure(path)
    for old_root in former:
        if type(old_root) is type(old) and old.is_relative_to(old_root):
            return str(root.joinpath(*old.relative_to(old_root).parts))
    return path


def path_mover(ledger: Ledger, layout: WorkspaceLayout, paths: Iterable[str]) -> Callable[[str], str]:
    """A function from each of these paths to its current path; the history is asked only where one lies elsewhere, and not again
    within `_KNOWN_FOR_S`: a flow that polls asks each time.
    """
    inside = f"{layout.root}{os.sep}"
    if all(path.startswith(inside) for path in paths):
        return lambda path: path
    now_s = time.monotonic()
    root, asked_s, former = _known.get(ledger, (None, 0.0, ()))
    if root != layout.root or now_s - asked_s > _KNOWN_FOR_S:
        former = former_roots(ledger.source_folders(), layout)
        _known[ledger] = layout.root, now_s, former
    return lambda path: current_path(path, layout.root, former)


def own_outputs(ledger: Ledger, layout: WorkspaceLayout, flow: str) -> set[str]:
    """The current path of every file that the flow's steps ever returned."""
    outputs = ledger.outputs(flow)
    return set(map(path_mover(ledger, layout, outputs), outputs))


def outputs_here(ledger: Ledger, layout: WorkspaceLayout, run_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The current paths of the files that each of these runs wrote, by run id."""
    outputs = ledger.outputs_of(run_ids)
    moved = path_mover(ledger, layout, (path for paths in outputs.values() for path in paths))
    return {run_id: tuple(map(moved, paths)) for run_id, paths in outputs.items()}


def written_here(ledger: Ledger, layout: WorkspaceLayout, most_runs: int) -> list[WrittenFile]:
    """The files that the newest runs wrote, and their sources, by their current paths; each as its newest run left it."""
    written = ledger.written(most_runs)
    moved = path_mover(ledger, layout, (path for file in written for path in (file.path, *filter(None, file.sources))))
    files: dict[str, WrittenFile] = {}
    for file in written:
        path, sources = moved(file.path), tuple(map(moved, file.sources))
        newer = files.get(path)
        if newer is not None:
            files[path] = replace(newer, sources=tuple(dict.fromkeys((*newer.sources, *sources))))
        else:
            root = None if file.source_root is None else moved(file.source_root)
            files[path] = replace(file, path=path, sources=sources, source_root=root)
    return list(files.values())


class FileUse(NamedTuple):
    """The newest use of a file by a flow: the run that read or wrote it, its rows, and the cell that did; None where no run of it is known."""

    flow: str
    path: str
    run_id: str | None = None
    at_utc: str | None = None
    rows: int | None = None
    cell: int | None = None


_NEWEST_RUNS = 100
_OF_FLOW = f"""
SELECT run_id, finished_at_utc, source_path, {{0}} FROM (
    SELECT run_id, finished_at_utc, source_path, {{0}}, status FROM runs WHERE flow_name = ?1 ORDER BY started_at_utc DESC LIMIT {_NEWEST_RUNS}
) WHERE status = 'success'
"""
_OF_SOURCE = """
SELECT flow_name, run_id, max(finished_at_utc) FROM runs WHERE source_path = ? AND status = 'success' GROUP BY flow_name
"""
_WRITERS_BELOW = "SELECT DISTINCT flow_name FROM outputs WHERE substr(output_path, 1, length(?1)) = ?1"


def flow_uses(ledger: Ledger, layout: WorkspaceLayout, flow: str, *, written: bool) -> dict[str, FileUse]:
    """The files that the newest runs of the flow have read, or all that it ever wrote, by their current paths."""
    uses: dict[str, FileUse] = {}
    for column in ("outputs", "inputs") if written else ("inputs",):
        for run_id, at_utc, source, files in ledger.rows(_OF_FLOW.format(column), flow):
            for path, rows, cell in _paths_in(files, column, written=written):
                uses.setdefault(path, FileUse(flow, path, run_id, at_utc, rows, cell))
            if source is not None and not written:
                uses.setdefault(restored(source), FileUse(flow, restored(source), run_id, at_utc))
    for path in ledger.outputs(flow) if written else ():
        uses.setdefault(path, FileUse(flow, path))
    moved = path_mover(ledger, layout, uses)
    paths = ((use, moved(use.path)) for use in uses.values())
    return {path: use if use.path == path else use._replace(path=path) for use, path in paths}


def file_uses(ledger: Ledger, place: str, *, written: bool) -> list[FileUse]:
    """The newest use of a file by each flow that has written it, or that has read it in its newest runs or as its source."""
    if written:
        uses = {output.flow: _written_use(output, place) for output in output_runs(ledger, place)}
    else:
        sources = ledger.rows(_OF_SOURCE, place)
        uses = {restored(flow): FileUse(restored(flow), place, run_id, at_utc) for flow, run_id, at_utc in sources}
    for flow, run_id, at_utc, _, files in _newest_uses(ledger, _all_flows(ledger), "inputs", json.dumps(place)):
        for path, rows, cell in _paths_in(files, "inputs", written=written):
            if path == place:
                uses[flow] = FileUse(flow, place, run_id, at_utc, rows, cell)
    return list(uses.values())


def folder_uses(ledger: Ledger, place: str, *, written: bool) -> list[FileUse]:
    """The newest use of the files in a folder by each flow that has written some, or whose newest runs have read some."""
    lead = os.path.join(place, "")
    writers = [restored(flow) for (flow,) in ledger.rows(_WRITERS_BELOW, lead)] if written else []
    uses = {flow: FileUse(flow, place) for flow in writers}
    for column, flows in (("outputs", writers), ("inputs", _all_flows(ledger))):
        of_source = None if written else lead
        for flow, run_id, at_utc, source, files in _newest_uses(
            ledger, flows, column, json.dumps(lead)[:-1], of_source
        ):
            cells = [cell for path, _, cell in _paths_in(files, column, written=written) if path.startswith(lead)]
            if cells or (not written and source is not None and source.startswith(lead)):
                uses[flow] = FileUse(flow, place, run_id, at_utc, cell=next(iter(cells), None))
    return list(uses.values())


def _written_use(output: OutputRun, place: str) -> FileUse:
    run = output.run
    if run is None:
        return FileUse(output.flow, place)
    rows, cell = next(((file.rows, file.cell) for file in run.outputs if file.path == place), (None, None))
    return FileUse(output.flow, place, run.run_id, run.last_at_utc, rows, cell)


def _all_flows(ledger: Ledger) -> list[str]:
    return [restored(flow) for (flow,) in ledger.rows("SELECT DISTINCT flow_name FROM runs")]


def _newest_uses(
    ledger: Ledger, flows: Iterable[str], column: str, pattern: str, lead: str | None = None
) -> Iterator[tuple[Any, ...]]:
    """The newest run of each flow whose files contain the `pattern` of JSON, or whose source begins with `lead`: flow, id, time, source and
    files."""
    query = f"{_OF_FLOW.format(column)} AND (instr({column}, ?2) OR substr(source_path, 1, length(?3)) = ?3) LIMIT 1"
    for flow in flows:
        for row in ledger.rows(query, flow, pattern, lead):
            yield flow, *row


def _paths_in(files: str | None, column: str, *, written: bool) -> Iterator[tuple[str, int | None, int | None]]:
    """The paths, rows and cells in a text of `files_as_text`, of the files that were `written`, or read; none where it cannot be read.
    Among what was read are the databases whose tables helpers wrote."""
    try:
        packed = [] if files is None else json.loads(files)["files"]
        found = [file_facts(*file) for file in packed]
    except (ValueError, TypeError, KeyError, RecursionError):  # what another machine wrote
        return
    for file in found:
        if column == "outputs" or bool(file.tables) == written:
            yield restored(file.path), file.rows, file.cell


def _run_of_stage(
    run_id: str, flow: str, root: str | None, key: str | None, status: str, is_own: int, text: str | None
) -> RunOfStage:
    publication = None
    if text is not None:
        mirror, packed, made_of, code = json.loads(text)
        files = tuple(file._replace(name=restored(file.name)) for file in staged_files_of(packed))
        publication = PublishStarted(run_id, restored(mirror), files, made_of and tuple(made_of), code)
    source = None if root is None or key is None else (restored(root), restored(key))
    return RunOfStage(run_id, restored(flow), source, status, bool(is_own), publication)


def _pure(path: str) -> PurePath:
    is_windows = path[1:3] in (":\\", ":/") or path.startswith("\\\\")
    return PureWindowsPath(path) if is_windows else PurePosixPath(path)


def _are_same(*paths: Sequence[str]) -> bool:
    return len({tuple(unicodedata.normalize("NFC", part) for part in path) for path in paths}) == 1
