"""History that was brought from the older system: put into the ledger beside what is there, each transaction whole or not at all.

Rows get the revision of their transaction, so that they are published to the other workstations like any others. What this
ledger knows already stays, but for a source of which the older system knows something newer; what a reset has forgotten stays so.

Each function raises `LedgerError` where the ledger cannot be used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from data_engine.ledger.ledger import Ledger
from data_engine.ledger.logs import RECORDED_BYTES, RECORDED_LINES
from data_engine.ledger.rows import STATE_COLUMNS, source_state, storable
from data_engine.model import SourceKey, SourceState

_LONGEST_ERROR = 10_000


class BroughtStep(NamedTuple):
    """A step of a run, in its place."""

    label: str
    status: str
    began_utc: str
    ended_utc: str
    elapsed_s: float | None
    error: str | None
    output: str | None


class BroughtLine(NamedTuple):
    """A line of a run's log."""

    step: str | None
    level: str
    message: str
    at_utc: str


class BroughtRun(NamedTuple):
    """A run that has ended, with its steps and lines; `key` is its source, where that is known."""

    run_id: str
    flow: str
    group: str
    source: str | None
    key: SourceKey | None
    status: str
    began_utc: str
    ended_utc: str
    elapsed_s: float | None
    error: str | None
    steps: Sequence[BroughtStep] = ()
    lines: Sequence[BroughtLine] = ()


def known_runs(ledger: Ledger) -> set[str]:
    """The ids of all runs that are in the ledger."""
    return {run_id for (run_id,) in ledger.rows("SELECT run_id FROM runs")}


def resets(ledger: Ledger) -> dict[str, str]:
    """When a flow's history was forgotten last, by flow."""
    return dict(ledger.rows("SELECT flow_name, reset_at_utc FROM tombstones"))


def known_states(ledger: Ledger) -> dict[tuple[str, SourceKey], SourceState]:
    """What is known of every source of every flow."""
    rows = ledger.rows(f"SELECT flow_name, {STATE_COLUMNS} FROM file_state")
    states = (source_state(flow, tuple(row)) for flow, *row in rows)
    return {(state.flow, state.key): state for state in states}


def newer_states(
    wanted: Iterable[SourceState], known: Mapping[tuple[str, SourceKey], SourceState], forgotten: Mapping[str, str]
) -> list[SourceState]:
    """Those of `wanted` that are newer than what is known, and than the reset of their flow.

    Example:
        >>> from data_engine.model import Signature
        >>> seen = Signature(5, 7)
        >>> old = SourceState("claims", SourceKey("../in", "a.csv"), "success", seen, "r1", "2026-04-01")
        >>> new = old._replace(last_run_id="r2", last_at_utc="2026-04-02")
        >>> [len(newer_states([one], {("claims", old.key): old}, {})) for one in (old, new)]
        [0, 1]
        >>> newer_states([new], {}, {"claims": "2026-04-03"})
        []
    """
    found = []
    for state in wanted:
        before = known.get((state.flow, state.key))
        at_utc = state.last_at_utc or ""
        if at_utc < forgotten.get(state.flow, "") or (before is not None and at_utc <= (before.last_at_utc or "")):
            continue
        found.append(state)
    return found


def put_states(ledger: Ledger, wanted: Sequence[SourceState]) -> int:
    """Know this of its source from now on, where it is newer than what is known; of how many it was."""
    ledger.flush()
    states = newer_states(wanted, known_states(ledger), resets(ledger))
    with ledger.writing(durable=True) as (connection, rev):
        connection.executemany(_PUT_STATE, [storable((*_state_row(state), rev)) for state in states])
    return len(states)


def put_runs(ledger: Ledger, runs: Sequence[BroughtRun]) -> int:
    """Add runs with their steps, lines and outputs, but for those that are there or forgotten; how many were added."""
    ledger.flush()
    there, forgotten = known_runs(ledger), resets(ledger)
    new = [run for run in runs if run.run_id not in there and run.began_utc >= forgotten.get(run.flow, "")]
    with ledger.writing(durable=True) as (connection, rev):
        for run in new:
            root, path = run.key or (None, None)
            row = (run.run_id, run.flow, run.group, run.source, root, path, run.status, run.began_utc, run.ended_utc)
            connection.execute(_PUT_RUN, storable((*row, run.elapsed_s, _cut(run.error), rev)))
            steps = [
                storable((run.run_id, number, run.flow, *step._replace(error=_cut(step.error)), rev))
                for number, step in enumerate(run.steps)
            ]
            connection.executemany(_PUT_STEP, steps)
            outputs = {step.output for step in run.steps if step.output and step.output != run.source}
            connection.executemany(_PUT_OUTPUT, [storable((run.flow, output, rev)) for output in sorted(outputs)])
            size, lines = 0, []
            for number, line in enumerate(run.lines[:RECORDED_LINES], start=1):
                size += len(line.message.encode("utf-8", "backslashreplace"))
                if size > RECORDED_BYTES:
                    break
                lines.append(storable((run.run_id, number, size, run.flow, *line, rev)))
            connection.executemany(_PUT_LINE, lines)
    return len(new)


def put_outputs(ledger: Ledger, flow: str, paths: Collection[str]) -> None:
    """Know that the flow wrote these files."""
    with ledger.writing(durable=True) as (connection, rev):
        connection.executemany(_PUT_OUTPUT, [storable((flow, path, rev)) for path in sorted(paths)])


def _state_row(state: SourceState) -> tuple[object, ...]:
    good = state.success or (None, None, None)
    return (
        *(state.flow, *state.key, state.status, *state.last[:2], state.last.content_hash, state.last_run_id),
        *(state.last_at_utc, _cut(state.error), *good, state.success_run_id, state.success_at_utc),
        state.abandoned_in_a_row,
    )


def _cut(text: str | None) -> str | None:
    return text if text is None else text[:_LONGEST_ERROR]


_PUT_RUN = """
INSERT INTO runs (run_id, flow_name, group_name, source_path, source_root, source_key, status, started_at_utc,
    finished_at_utc, elapsed_s, error_text, rev)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_PUT_STEP = """
INSERT INTO step_runs (run_id, step_index, flow_name, step_label, status, started_at_utc, finished_at_utc, elapsed_s,
    error_text, output_path, rev)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_PUT_OUTPUT = "INSERT INTO outputs (flow_name, output_path, rev) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_PUT_LINE = """
INSERT INTO logs (run_id, line_no, run_bytes, flow_name, step_label, level, message, created_at_utc, rev)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_STATE_NAMES = [name.strip() for name in STATE_COLUMNS.split(",")]
_PUT_STATE = (
    f"INSERT INTO file_state (flow_name, {STATE_COLUMNS}, rev) VALUES ({', '.join('?' * (len(_STATE_NAMES) + 2))})"
    " ON CONFLICT (flow_name, source_root, source_key) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in (*_STATE_NAMES[2:], "rev"))
)
