"""Rows of the ledger as the records the other floors know, and texts as SQLite can hold them.

SQLite holds UTF-8. A path whose bytes are no UTF-8 has lone surrogates in Python; they are stored as `\\udcXX` and come
back as they were, so that such a file is recognised at the next scan.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import starmap
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from data_engine.cause import Cause, cause_from
from data_engine.formatting import by_name
from data_engine.model import (
    FileFacts,
    Frame,
    FrameChange,
    PublishStarted,
    Reference,
    Run,
    RunCheck,
    RunFile,
    RunReport,
    RunTrigger,
    SeenSource,
    Signature,
    SourceKey,
    SourceState,
    StagedFile,
    StepRun,
    future_utc,
    utc_text,
)

if TYPE_CHECKING:
    from sqlite3 import Connection

IS_PUBLISHED = "(seen_token > 0 OR rev <= (SELECT value FROM meta WHERE key = 'published_rev'))"
"""Whether others could see a deployment or a request, also where a repair lets it be published once more."""

RUN_COLUMNS = (
    "run_id, flow_name, group_name, source_path, status, started_at_utc, finished_at_utc, elapsed_s, error_text, cause,"
    " cause_kind, cause_data, trigger_kind, trigger_detail, run_by, params, deployment_id, git_commit, git_dirty, python,"
    " environment, inputs, outputs, peak_memory_bytes, cpu_s, scheduled_for, checks, rejected,"
    " edited, drift, reports, metadata, (SELECT frames FROM frame_schemas WHERE digest = schema)"
)
"""In the order of `Run`'s fields; its `why` in three columns, its `trigger` in two, its files and frames as JSON."""

SHORT_RUN_COLUMNS = (
    RUN_COLUMNS.replace(" inputs, outputs,", " NULL, NULL,").rpartition(", metadata, ")[0] + ", NULL, NULL"
)
"""The same without its files, metadata and frames, for those who ask often."""

STEP_COLUMNS = (
    "run_id, step_index, step_label, status, started_at_utc, finished_at_utc, elapsed_s, error_text, output_path,"
    " rows_in, rows_out"
)
"""In the order of `StepRun`'s fields."""

LOG_COLUMNS = "run_id, flow_name, step_label, level, message, created_at_utc"
"""In the order of `LogEntry`'s fields."""

STATE_COLUMNS = (
    "source_root, source_key, last_status, size_bytes, mtime_ns, content_hash, last_run_id, last_at_utc,"
    " last_error_text, success_size_bytes, success_mtime_ns, success_content_hash, last_success_run_id,"
    " last_success_at_utc, abandoned_in_a_row"
)
"""In the order of the rows of `SourceStates`."""


_T = TypeVar("_T")
Packing: TypeAlias = tuple[Callable[[Any], Any], Callable[[Any], Any]]
"""How a field is stored in a column, and read from it."""

FLAG: Packing = (int, bool)
MAPPING: Packing = (lambda mapping: json.dumps(dict(mapping)), json.loads)
LIST: Packing = (
    json.dumps,
    lambda text: tuple(tuple(entry) if isinstance(entry, list) else entry for entry in json.loads(text)),
)


class RowShape(Generic[_T]):
    """The rows of one table as records of one class, whose first fields stand in the order of `columns`.

    `packed` says of fields that are no texts or numbers how they are stored and read, such as `FLAG`; None stays None.

    Example:
        >>> from data_engine.model import Switch
        >>> shape = RowShape("flow_switches", "enabled, decided_by", Switch, is_enabled=FLAG)
        >>> shape.row(Switch(False, "anna")), shape.record((0, "anna")).who
        ((0, 'anna'), 'anna@')
    """

    def __init__(self, table: str, columns: str, kind: Callable[..., _T], **packed: Packing) -> None:
        self._table = table
        self._columns = columns
        self._kind = kind
        names = [field.name for field in fields(kind)][: columns.count(",") + 1]  # type: ignore[arg-type]
        self._fields = [(name, *packed.get(name, (_as_it_is, _restored))) for name in names]

    def row(self, record: _T) -> tuple[Any, ...]:
        """The values of the columns."""
        values = ((getattr(record, name), pack) for name, pack, _ in self._fields)
        return tuple(None if value is None else pack(value) for value, pack in values)

    def record(self, row: Sequence[Any]) -> _T:
        """The record of a row."""
        values = zip(row, self._fields, strict=True)
        return self._kind(*(None if value is None else read(value) for value, (_, _, read) in values))

    def insert(self, connection: Connection, rev: int, records: Iterable[_T]) -> None:
        """Add records; a row whose key is there already stays as it is."""
        marks = ", ".join("?" * (len(self._fields) + 1))
        connection.executemany(
            f"INSERT INTO {self._table} ({self._columns}, rev) VALUES ({marks}) ON CONFLICT DO NOTHING",
            [storable((*self.row(record), rev)) for record in records],
        )

    def select(self, connection: Connection, where: str, *parameters: Any) -> list[_T]:
        """The records for which the SQL condition, with what may follow it, holds."""
        rows = connection.execute(
            f"SELECT {self._columns} FROM {self._table} WHERE {where}", storable(parameters)
        ).fetchall()
        return [self.record(row) for row in rows]


def _as_it_is(value: Any) -> Any:
    return value


def _restored(value: Any) -> Any:
    return restored(value) if isinstance(value, str) else value


class SourceStates(Mapping[SourceKey, SourceState]):
    """The states of a flow's sources. A folder may have a hundred thousand: each record is made when it is asked for.

    Example:
        >>> states = SourceStates("claims")
        >>> key, signature = SourceKey("../in", "a.csv"), Signature(5, 7)
        >>> states.put(SourceState("claims", key, "success", signature, success=signature))
        >>> states[key].status, states.is_good(key, signature), states.is_good(key, Signature(6, 7))
        ('success', True, False)
    """

    def __init__(self, flow: str, rows: Iterable[tuple[Any, ...]] = ()) -> None:
        self._flow = flow
        self._known: dict[tuple[str, str], tuple[Any, ...]] = {
            (restored(row[0]), restored(row[1])): row for row in rows
        }

    def __getitem__(self, key: SourceKey) -> SourceState:
        entry = self._known[key]
        return entry if isinstance(entry, SourceState) else source_state(self._flow, entry)

    def __iter__(self) -> Iterator[SourceKey]:
        return starmap(SourceKey, list(self._known))  # a copy: whoever explains asks while others make some known

    def __len__(self) -> int:
        return len(self._known)

    def put(self, state: SourceState) -> None:
        """Store the state of its source."""
        self._known[state.key] = state

    def is_good(self, key: SourceKey, signature: Signature) -> bool:
        """Whether the source's last run ended well and size and time are to the bit what they were then."""
        entry = self._known.get(key)
        if entry is None:
            return False
        if isinstance(entry, SourceState):
            return entry.status == "success" and entry.last[:2] == signature[:2]
        return bool(entry[2] == "success" and entry[3] == signature[0] and entry[4] == signature[1])

    def not_good(self) -> Iterator[SourceState]:
        """The states of the sources whose last run did not end well."""
        for key, entry in self._known.items():
            if entry[2] != "success":  # the status, of a row and of a record
                yield self[SourceKey(*key)]


def run_of(row: tuple[Any, ...]) -> Run:
    """The record of a row of `RUN_COLUMNS`."""
    run_id, flow, group, source, status, began, ended, elapsed_s, error, cause, kind, data, *rest = row
    trigger, detail, by, params, deployment_id, commit, is_dirty, python, environment, *rest = rest
    read, wrote, peak, cpu_s, scheduled_for, checks, rejected, edited, drift, reports, metadata, frames = rest
    (inputs, more_inputs), (outputs, more_outputs) = files_of(read), files_of(wrote)
    why = cause_from(kind, data, cause)
    is_future = began > future_utc(time.time())
    source = source and restored(source)
    return Run(
        run_id,
        flow,
        group,
        source,
        status,
        began,
        ended,
        elapsed_s,
        error,
        why,
        is_future,
        None if trigger is None else RunTrigger(trigger, detail),
        by,
        json_object(params),
        deployment_id,
        commit,
        None if is_dirty is None else bool(is_dirty),
        python,
        environment,
        inputs,
        more_inputs,
        outputs,
        more_outputs,
        peak,
        cpu_s,
        scheduled_for,
        tuple(RunCheck(*check) for check in json.loads(checks or "[]")),
        rejected,
        edited,
        by_name((frame.name, frame.columns) for frame in frames_of(frames)),
        drift_of(drift),
        tuple(RunReport(*page) for page in json.loads(reports or "[]")),
        json_object(metadata) or {},
    )


LONGEST_FRAMES = 5_000_000
"""The most characters of the frames of a run, so of some 150,000 columns: a longer text is not taken from another workstation."""


def frames_as_text(frames: Sequence[Frame]) -> str:
    """The frames of a run for a column.

    Example:
        >>> frames_as_text([Frame("raw", "c0de", (("day", "Date"),))])
        '[["raw","c0de",[["day","Date"]]]]'
    """
    return _to_json(frames)


def frames_of(text: str | None) -> tuple[Frame, ...]:
    """The frames in a text of `frames_as_text`; none where it cannot be read.

    Example:
        >>> frames_of('[["raw","c0de",[["day","Date"]]]]')[0].columns, frames_of("[1]"), frames_of(None)
        ((('day', 'Date'),), (), ())
    """
    try:
        packed = [] if text is None else json.loads(text)
        return tuple(
            Frame(str(name), str(code), tuple((str(column), str(kind)) for column, kind in columns))
            for name, code, columns in packed
        )
    except (ValueError, TypeError, RecursionError):  # what another machine wrote
        return ()


def drift_as_text(changes: Sequence[FrameChange]) -> str | None:
    """How a run's frames differ from those before, for a column; None where they do not.

    Example:
        >>> drift_of(drift_as_text([FrameChange("raw", ("day",))]))[0].gone, drift_as_text([])
        (('day',), None)
    """
    return _to_json(changes_as_json(changes)) if changes else None


def changes_as_json(changes: Iterable[FrameChange]) -> list[list[Any]]:
    """Changes of frames as lists, for JSON."""
    return [[c.name, c.gone, c.new, c.retyped, c.until] for c in changes]


def drift_of(text: str | None) -> tuple[FrameChange, ...]:
    """The changes in a text of `drift_as_text`; none where it cannot be read."""
    try:
        packed = [] if text is None else json.loads(text)
        return tuple(
            FrameChange(
                str(name),
                tuple(map(str, gone)),
                tuple(map(str, new)),
                tuple((str(column), str(before), str(now)) for column, before, now in retyped),
                until and str(until),
            )
            for name, gone, new, retyped, until in packed
        )
    except (ValueError, TypeError, RecursionError):  # what another machine wrote
        return ()


def files_as_text(files: Sequence[FileFacts], more: int) -> str | None:
    """The files that a run read or wrote, for a column; None where there are none.

    Example:
        >>> files_as_text([FileFacts("/in/a.csv", 10, 0, 3)], 2)
        '{"files":[["/in/a.csv",10,0,3]],"more":2}'
    """
    if not files and not more:
        return None
    return _to_json(
        {"files": [file[: 6 if file.tables else 4 if file.cell is None else 5] for file in files], "more": more}
    )


def file_facts(path: str, *facts: Any) -> FileFacts:
    """A file from its list in JSON."""
    file = FileFacts(path, *facts)
    return file._replace(tables=tuple(file.tables)) if file.tables else file


def files_of(text: str | None) -> tuple[tuple[RunFile, ...], int]:
    """The files in a text of `files_as_text`, with times as texts, and how many more; none where it cannot be read.

    Example:
        >>> files_of('{"files":[["/in/a.csv",10,0,3]],"more":2}')[1], files_of("{"), files_of(None)
        (2, ((), 0), ((), 0))
    """
    if text is None:
        return (), 0
    try:
        packed = json.loads(text)
        files = tuple(
            RunFile(
                restored(path), size, None if mtime is None else utc_text(mtime / 1_000_000_000), rows, cell, tables
            )
            for path, size, mtime, rows, cell, tables in (file_facts(*file) for file in packed["files"])
        )
        return files, int(packed["more"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):  # what another machine wrote
        return (), 0


def references_as_text(references: Sequence[Reference]) -> str:
    """The references of a run, for a column.

    Example:
        >>> references_as_text([Reference("/ref/a.csv", 10, 0)])
        '[["/ref/a.csv",10,0,null]]'
    """
    return _to_json(references)


def references_of(text: str) -> tuple[Reference, ...]:
    """The references in a text of `references_as_text`; none where it cannot be read.

    Example:
        >>> references_of('[["/ref/a.csv",10,0,null]]')[0].size_bytes, references_of("{")
        (10, ())
    """
    try:
        return tuple(Reference(restored(path), *facts) for path, *facts in json.loads(text))
    except (ValueError, TypeError, RecursionError):  # what another machine wrote
        return ()


def publication_as_text(event: PublishStarted) -> str | None:
    """The publication as the row of its run has it; None when all has taken its place.

    Example:
        >>> publication_as_text(PublishStarted("3f", "out", (StagedFile("a.csv", 5, 7),)))
        '["out",[["a.csv",5,7,null,null]],null,null]'
    """
    if not event.files:
        return None
    return _to_json(event[1:])


def staged_files_of(packed: Iterable[Any]) -> tuple[StagedFile, ...]:
    """The files of a publication, from JSON's lists."""
    return tuple(
        StagedFile(name, size, time_ns, digest, replaces and tuple(replaces))
        for name, size, time_ns, digest, replaces in packed
    )


def json_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object in a column; None where it cannot be read, as from another machine."""
    try:
        value = None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def step_of(row: tuple[Any, ...], cause: Cause | None) -> StepRun:
    """The record of a row of `STEP_COLUMNS`; `cause` is why its run ended, where that was not well."""
    run_id, index, label, status, started, finished, elapsed_s, error, output, rows_in, rows_out = row
    why = None if status in ("success", "started") else cause
    output = output and restored(output)
    return StepRun(run_id, index, label, status, started, finished, elapsed_s, error, output, why, rows_in, rows_out)


def source_state(flow: str, row: tuple[Any, ...]) -> SourceState:
    """The record of a row of `STATE_COLUMNS`."""
    root, path, status, size, mtime, digest, run_id, at_utc, error, *good, good_run_id, good_at_utc, abandoned = row
    key = SourceKey(restored(root), restored(path))
    success = None if good[0] is None else Signature(*good)
    last = Signature(size, mtime, digest)
    return SourceState(flow, key, status, last, run_id, at_utc, error, success, good_run_id, good_at_utc, abandoned)


def seen_as_text(sources: Iterable[SeenSource]) -> str | None:
    """The sources of a run that begins, for the column that is read only when the run is abandoned."""
    rows = [(*source.key, *source.signature) for source in sources]
    return _to_json(rows) if rows else None


def seen_from_text(text: str | None) -> tuple[SeenSource, ...]:
    """The sources in a text of `seen_as_text`.

    Example:
        >>> seen = (SeenSource(SourceKey("in", "a.csv"), Signature(5, 7)),)
        >>> seen_from_text(seen_as_text(seen)) == seen, seen_from_text(None)
        (True, ())
    """
    if text is None:
        return ()
    return tuple(
        SeenSource(SourceKey(root, path), Signature(size, mtime, digest))
        for root, path, size, mtime, digest in json.loads(text)
    )


def storable(value: Any) -> Any:
    r"""`value` with every text in it (also inside tuples and named tuples) as UTF-8 can hold it.

    Example:
        >>> storable(SourceKey("in", "a\udcff.csv"))
        SourceKey(root='in', path='a\\udcff.csv')
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, tuple):
        parts = [storable(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def restored(text: str) -> str:
    r"""A path as it was before `storable`.

    Example:
        >>> restored("a\\udcff.csv") == "a\udcff.csv"
        True
    """
    return re.sub(_SURROGATE, lambda match: chr(int(match[1], 16)), text) if "\\udc" in text else text


_to_json = json.JSONEncoder(separators=(",", ":")).encode  # `dumps` makes an encoder a call
_SURROGATE = r"\\u(dc[89a-f][0-9a-f])"
