"""Write a batch of events as rows, inside a transaction of the caller."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_engine.cause import Cause, data_text
from data_engine.ledger.logs import RECORDED_BYTES, RECORDED_LINES
from data_engine.ledger.rows import (
    drift_as_text,
    files_as_text,
    frames_as_text,
    publication_as_text,
    references_as_text,
    seen_as_text,
    seen_from_text,
    storable,
)
from data_engine.model import (
    Event,
    LogLine,
    PublishStarted,
    RunFinished,
    RunSpent,
    RunStarted,
    SeenSource,
    StepFinished,
    StepStarted,
    utc_text,
)

_START_RUN = """
INSERT INTO runs (run_id, flow_name, group_name, source_path, source_root, source_key, status, started_at_utc,
    runner_id, started_seen, trigger_kind, trigger_detail, run_by, params, deployment_id, git_commit, git_dirty, python,
    environment, scheduled_for, edited, rev)
VALUES (?, ?, ?, ?, ?, ?, 'started', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""

# A run that has ended when its start is written is put at once as it ended: it is never among the open ones.
_PUT_RUN = """
INSERT INTO runs (run_id, flow_name, group_name, source_path, source_root, source_key, started_at_utc, runner_id,
    trigger_kind, trigger_detail, run_by, params, deployment_id, git_commit, git_dirty, python, environment, scheduled_for,
    edited, status, finished_at_utc, elapsed_s, error_text, cause, cause_kind, cause_data, inputs, outputs, peak_memory_bytes, cpu_s,
    checks, rejected, feed, schema, drift, reads, reports, rev)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""

_PUT_READ_SET = "INSERT INTO read_sets (digest, files, rev) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"

_PUT_ENVIRONMENT = """
INSERT INTO environments (digest, python, distributions, rev) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
"""

_PUT_FRAMES = "INSERT INTO frame_schemas (digest, frames, rev) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"

_KEEP_STEP = """
ON CONFLICT (run_id, step_index) DO UPDATE SET step_label = excluded.step_label, status = excluded.status,
    started_at_utc = CASE WHEN ? THEN excluded.started_at_utc ELSE started_at_utc END,
    finished_at_utc = excluded.finished_at_utc, elapsed_s = excluded.elapsed_s, error_text = excluded.error_text,
    output_path = excluded.output_path, rows_in = excluded.rows_in, rows_out = excluded.rows_out, rev = excluded.rev
"""

_PUT_STEP = f"""
INSERT INTO step_runs (run_id, step_index, flow_name, step_label, status, started_at_utc, finished_at_utc, elapsed_s,
    error_text, output_path, rows_in, rows_out, rev) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
{_KEEP_STEP}"""
_FLOW_OF_OPEN = "SELECT flow_name FROM runs WHERE run_id = ? AND status = 'started'"

# A step that returns its own source has not written it: it stays a source, also after a reset.
_PUT_OUTPUT = """
INSERT INTO outputs (flow_name, output_path, rev) SELECT flow_name, ?, ? FROM runs WHERE run_id = ?
    AND source_path IS NOT ?
ON CONFLICT DO NOTHING
"""

_END_RUN = """
UPDATE runs SET status = ?, finished_at_utc = ?, elapsed_s = ?, error_text = ?, cause = ?, cause_kind = ?,
    cause_data = ?, started_seen = NULL, publication = CASE WHEN ? THEN NULL ELSE publication END, inputs = ?, outputs = ?, peak_memory_bytes = ?, cpu_s = ?,
    checks = ?, rejected = ?, feed = ?, schema = ?, drift = ?, reads = ?, reports = ?, rev = ?
WHERE run_id = ? AND status = 'started'
"""

_PUT_PUBLICATION = "UPDATE runs SET publication = ?, rev = ? WHERE run_id = ? AND status = 'started'"

_PUT_METADATA = "UPDATE runs SET metadata = ?, rev = ? WHERE run_id = ?"

_END_STEPS = """
UPDATE step_runs SET status = ?, finished_at_utc = ?, rev = ? WHERE run_id = ? AND status = 'started'
"""

_LAST_COLUMNS = (
    "flow_name, source_root, source_key, size_bytes, mtime_ns, content_hash, last_status, last_error_text,"
    " last_run_id, last_at_utc, abandoned_in_a_row, rev"
)
_SUCCESS_COLUMNS = (
    "success_size_bytes, success_mtime_ns, success_content_hash, last_success_run_id, last_success_at_utc"
)
_KEEP_LAST = """
ON CONFLICT (flow_name, source_root, source_key) DO UPDATE SET size_bytes = excluded.size_bytes,
    mtime_ns = excluded.mtime_ns, content_hash = excluded.content_hash, last_status = excluded.last_status,
    last_error_text = excluded.last_error_text, last_run_id = excluded.last_run_id, last_at_utc = excluded.last_at_utc,
    abandoned_in_a_row = excluded.abandoned_in_a_row * (abandoned_in_a_row + 1), rev = excluded.rev
"""
_SETTLE = f"""
INSERT INTO file_state ({_LAST_COLUMNS}) SELECT flow_name, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM runs WHERE run_id = ?
{_KEEP_LAST}
"""
_SETTLE_WELL = f"""
INSERT INTO file_state ({_LAST_COLUMNS}, {_SUCCESS_COLUMNS})
SELECT flow_name, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM runs WHERE run_id = ?
{_KEEP_LAST}, success_size_bytes = excluded.size_bytes, success_mtime_ns = excluded.mtime_ns,
    success_content_hash = excluded.content_hash, last_success_run_id = excluded.last_run_id,
    last_success_at_utc = excluded.last_at_utc
"""

_KNOWN_END = """
SELECT CASE WHEN last_run_id = run_id THEN last_status ELSE 'success' END,
    CASE WHEN last_run_id = run_id THEN last_at_utc ELSE last_success_at_utc END,
    CASE WHEN last_run_id = run_id THEN last_error_text END
FROM runs JOIN file_state USING (flow_name)
WHERE runs.run_id = ? AND file_state.source_root = ? AND file_state.source_key = ?
    AND run_id IN (last_run_id, last_success_run_id)
"""
_ENDED_SINCE = """
SELECT 1 FROM runs JOIN file_state USING (flow_name)
WHERE run_id = ? AND file_state.source_root = ? AND file_state.source_key = ? AND size_bytes = ? AND mtime_ns = ?
    AND last_at_utc > started_at_utc
"""
_SETTLED_SINCE = f"{_ENDED_SINCE} AND last_status <> 'abandoned'"

_DONE_ELSEWHERE_SINCE = f"""{_ENDED_SINCE} AND last_status = 'success'
    AND NOT EXISTS (SELECT 1 FROM runs AS theirs WHERE theirs.run_id = last_run_id AND theirs.runner_id IS NOT NULL)
"""

_PUT_LINE = """
INSERT INTO logs (run_id, line_no, run_bytes, flow_name, step_label, level, message, created_at_utc, rev)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_LAST_LINE = "SELECT line_no, run_bytes FROM logs WHERE run_id = ? ORDER BY line_no DESC LIMIT 1"


def write_events(connection: sqlite3.Connection, events: Iterable[Event], *, runner_id: str | None, rev: int) -> None:
    """Write `events` in their order. The first `RunFinished` of a run decides; what comes after it changes nothing but the log.

    Raises:
        sqlite3.Error: the rows cannot be written.
        UnicodeEncodeError: a text cannot be UTF-8; see `rows.storable`.
    """
    steps: dict[tuple[str, int], _Step] = {}
    noted: dict[str, str] = {}
    lines: list[LogLine] = []
    events = tuple(events)
    ends = _ends_of_whole_runs(events)
    whole: dict[str, str] = {}
    open_steps: defaultdict[str, set[int]] = defaultdict(set)
    for event in events:
        if isinstance(event, StepStarted):
            open_steps[event.run_id].add(event.step_index)
            steps[event.run_id, event.step_index] = _begun(event)
        elif isinstance(event, StepFinished):
            key = event.run_id, event.step_index
            open_steps[event.run_id].discard(event.step_index)
            steps[key] = _ended(event, steps.get(key))
            if event.metadata is not None:
                noted[event.run_id] = event.metadata
            if event.outputs:
                connection.executemany(_PUT_OUTPUT, [(path, rev, event.run_id, path) for path in event.outputs])
        elif isinstance(event, LogLine):
            lines.append(event)
        elif isinstance(event, PublishStarted):
            connection.execute(_PUT_PUBLICATION, (publication_as_text(event), rev, event.run_id))
        elif isinstance(event, (RunStarted, RunFinished)):
            _write_steps(connection, steps, noted, whole, rev)
            if isinstance(event, RunStarted):
                end = ends.get(event.run_id)
                if end is None:
                    row = (*_began(event, runner_id), seen_as_text(event.seen), *_about(connection, event, rev), rev)
                    connection.execute(_START_RUN, row)
                elif _put_run(connection, event, end, runner_id, rev):
                    whole[event.run_id] = event.flow
            elif whole.pop(event.run_id, None) is not None:
                _end_parts(connection, event, rev, has_open_steps=bool(open_steps.get(event.run_id)))
            else:
                end_run(connection, event, rev)
    _write_steps(connection, steps, noted, whole, rev)
    if lines:
        _write_lines(connection, lines, rev)


def _ends_of_whole_runs(events: Sequence[Event]) -> dict[str, RunFinished]:
    """The first end of each run that begins among the events, and of which nothing is published."""
    begun: set[str] = set()
    ends: dict[str, RunFinished] = {}
    for event in events:
        if isinstance(event, RunStarted):
            begun.add(event.run_id)
        elif isinstance(event, PublishStarted):
            begun.discard(event.run_id)
        elif isinstance(event, RunFinished) and event.run_id in begun:
            ends.setdefault(event.run_id, event)
    return ends


def _put_run(
    connection: sqlite3.Connection, began: RunStarted, end: RunFinished, runner_id: str | None, rev: int
) -> bool:
    """Write a run with its end, but for what it settles; False where it is there already, which is left as it is."""
    columns = _end_columns(end, end.elapsed_s)
    spent = _spent(connection, end.spent, rev)
    row = (*_began(began, runner_id), *_about(connection, began, rev), *columns, *spent, rev)
    return connection.execute(_PUT_RUN, row).rowcount > 0


def end_run(connection: sqlite3.Connection, ended: RunFinished, rev: int, *, is_timed: bool = True) -> None:
    """Close the run with its open steps, and settle the sources it saw; does nothing when it is closed already.

    A source that another machine has done since stays done: this run began before the workspace was taken over.
    """
    elapsed_s = ended.elapsed_s if is_timed else None
    spent = _spent(connection, ended.spent, rev)
    row = (*_end_columns(ended, elapsed_s), ended.status == "success", *spent, rev, ended.run_id)
    if connection.execute(_END_RUN, row).rowcount > 0:
        _end_parts(connection, ended, rev)


def _end_columns(end: RunFinished, elapsed_s: float | None) -> tuple[Any, ...]:
    cause, kind = (None, None) if end.why is None else (storable(end.why.text), end.why.kind)
    return end.status, utc_text(end.at_s), elapsed_s, end.error, cause, kind, data_text(end.why)


def _end_parts(connection: sqlite3.Connection, end: RunFinished, rev: int, *, has_open_steps: bool = True) -> None:
    """Close the open steps of a run that has just ended, and settle its sources."""
    run_id, status, at_utc = end.run_id, end.status, utc_text(end.at_s)
    if has_open_steps:
        connection.execute(_END_STEPS, (status, at_utc, rev, run_id))
    if not end.seen:
        return
    if status == "success":
        well = (
            (*key, *mark, status, None, run_id, at_utc, 0, rev, *mark, run_id, at_utc, run_id) for key, mark in end.seen
        )
        connection.executemany(_SETTLE_WELL, well)
    else:
        reason = end.error or (None if end.why is None else storable(end.why.text))
        count = int(status == "abandoned")
        ill = (
            (*key, *mark, status, reason, run_id, at_utc, count, rev, run_id)
            for key, mark in end.seen
            if not _is_since(_DONE_ELSEWHERE_SINCE, connection, run_id, SeenSource(key, mark))
        )
        connection.executemany(_SETTLE, ill)


def abandon_runs(
    connection: sqlite3.Connection, lost: Iterable[tuple[str, str | None]], *, why: Cause, at_s: float, rev: int
) -> list[str]:
    """Close runs that nobody else will, each with the text of the sources it saw; returns the ids of those abandoned.

    A run whose own end is known from a source (the source's row came, that of the run was lost) ended so. A source that
    was settled since the run began stays as it is: what is done is not done again for an older run that was cut short.
    """
    ids = []
    for run_id, text in lost:
        sources = storable(seen_from_text(text))
        if _end_as_known(connection, run_id, sources, rev):
            continue
        left = tuple(source for source in sources if not _is_since(_SETTLED_SINCE, connection, run_id, source))
        end_run(connection, RunFinished(run_id, "abandoned", at_s, 0.0, None, why, left), rev, is_timed=False)
        ids.append(run_id)
    return ids


def _end_as_known(connection: sqlite3.Connection, run_id: str, sources: Iterable[SeenSource], rev: int) -> bool:
    """Close the run as one of its sources says that it ended, if one does."""
    for source in sources:
        end = connection.execute(_KNOWN_END, (run_id, *source.key)).fetchone()
        if end is not None:
            status, at_utc, error = end
            connection.execute(
                _END_RUN,
                (status, at_utc, None, error, None, None, None, status == "success", *_NOT_SPENT, rev, run_id),
            )
            connection.execute(_END_STEPS, (status, at_utc, rev, run_id))
            return True
    return False


def _is_since(question: str, connection: sqlite3.Connection, run_id: str, source: SeenSource) -> bool:
    """Whether another run of the source, just as this one saw it, has ended since this one began, as `question` asks."""
    return connection.execute(question, (run_id, *source.key, *source.signature[:2])).fetchone() is not None


_Step = tuple[str, str, str, str | None, float | None, str | None, str | None, int | None, int | None, bool]
"""label, status, started_at_utc, finished_at_utc, elapsed_s, error, first output, rows, whether the start is known."""


def _begun(event: StepStarted) -> _Step:
    return event.label, "started", utc_text(event.at_s), None, None, None, None, None, None, True


def _ended(event: StepFinished, begun: _Step | None) -> _Step:
    started_at_utc = utc_text(event.at_s - event.elapsed_s) if begun is None else begun[2]
    output = event.outputs[0] if event.outputs else None
    is_start_known = begun is not None and begun[9]
    at_utc = utc_text(event.at_s)
    ended = (event.label, event.status, started_at_utc, at_utc, event.elapsed_s, event.error, output)
    return *ended, event.rows_in, event.rows_out, is_start_known


def _write_steps(
    connection: sqlite3.Connection,
    steps: dict[tuple[str, int], _Step],
    noted: dict[str, str],
    whole: Mapping[str, str],
    rev: int,
) -> None:
    """Write what has happened of steps, with the metadata that they have `noted`, but for those of runs that have ended or never began: nobody would ever close these rows.
    `whole` are the runs that were written with their end, and their flows."""
    flows: dict[str, str | None] = {**whole}
    rows: list[tuple[Any, ...]] = []
    for (run_id, index), step in steps.items():
        if run_id not in flows:
            flows[run_id] = next((flow for (flow,) in connection.execute(_FLOW_OF_OPEN, (run_id,))), None)
        if (flow := flows[run_id]) is not None:
            rows.append((run_id, index, flow, *step[:9], rev, step[9]))
    if rows:
        connection.executemany(_PUT_STEP, rows)
    if noted:
        texts = [(text, rev, run_id) for run_id, text in noted.items() if flows.get(run_id) is not None]
        connection.executemany(_PUT_METADATA, texts)
    steps.clear()
    noted.clear()


def _began(event: RunStarted, runner_id: str | None) -> tuple[Any, ...]:
    root, path = event.key or (None, None)
    return event.run_id, event.flow, event.group, event.source, root, path, utc_text(event.at_s), runner_id


def _about(connection: sqlite3.Connection, event: RunStarted, rev: int) -> tuple[Any, ...]:
    about = event.about
    if about is None:
        return _UNKNOWN
    if about.distributions is not None:
        connection.execute(_PUT_ENVIRONMENT, (about.environment, about.python, about.distributions, rev))
    return *about[:9], about.scheduled_for, about.edited


_UNKNOWN = (None,) * 11
"""The columns of a run whose start is not known."""


_NOT_SPENT = (None,) * 11


def _spent(connection: sqlite3.Connection, spent: RunSpent | None, rev: int) -> tuple[Any, ...]:
    if spent is None:
        return _NOT_SPENT
    inputs = files_as_text(spent.inputs, spent.more_inputs)
    outputs = files_as_text(spent.outputs, spent.more_outputs)
    checks = json.dumps(spent.checks, separators=(",", ":")) if spent.checks else None
    feed = None if spent.feed is None else json.dumps(spent.feed.counts, separators=(",", ":"))
    schema, digest, drift = spent.schema, None, None
    if schema is not None:
        digest, drift = schema.digest, drift_as_text(schema.drift)
        if schema.frames is not None:
            connection.execute(_PUT_FRAMES, (digest, frames_as_text(schema.frames), rev))
    reads = None
    if spent.references:
        text = references_as_text(spent.references)
        reads = hashlib.sha256(text.encode()).hexdigest()[:16]
        connection.execute(_PUT_READ_SET, (reads, text, rev))
    reports = json.dumps(spent.reports, separators=(",", ":")) if spent.reports else None
    return (
        inputs,
        outputs,
        spent.peak_memory_bytes,
        spent.cpu_s,
        checks,
        spent.rejected,
        feed,
        digest,
        drift,
        reads,
        reports,
    )


def _write_lines(connection: sqlite3.Connection, lines: Iterable[LogLine], rev: int) -> None:
    ends: dict[str, tuple[int, int]] = {}
    rows: list[tuple[Any, ...]] = []
    for line in lines:
        row = (line.flow or None, line.step, line.level, line.message, utc_text(line.at_s), rev)
        if not line.run_id:
            rows.append((None, None, None, *row))
            continue
        end = ends.get(line.run_id) or connection.execute(_LAST_LINE, (line.run_id,)).fetchone() or (0, 0)
        number, size = end[0] + 1, end[1] + len(line.message.encode())
        if end[1] > RECORDED_BYTES:
            ends[line.run_id] = end
            continue
        if number > RECORDED_LINES or size > RECORDED_BYTES:
            # A size above the bound marks the log as closed, also for a ledger that is opened later.
            size = RECORDED_BYTES + 1
            message = f"log truncated: {RECORDED_LINES:,} lines or {RECORDED_BYTES:,} bytes of a run are kept"
            row = (line.flow or None, line.step, "WARNING", message, utc_text(line.at_s), rev)
        ends[line.run_id] = number, size
        rows.append((line.run_id, number, size, *row))
    connection.executemany(_PUT_LINE, rows)
