"""Merge runs, states of sources and outputs from elsewhere, such as the older system, into the ledger; each transaction whole or not at all.

Rows get the revision of their transaction, so that they are published to the other workstations like any others. What this
ledger knows already stays, but for a source of which the older system knows something newer; what a reset has forgotten stays so.

Each function raises `LedgerError` where the ledger cannot be used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from data_engine.formatting import beginning
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.rows import STATE_COLUMNS, source_state, storable
from data_engine.ledger.writer import end_run, write_events
from data_engine.model import Event, RunStarted, SourceKey, SourceState, utc_text

LONGEST_ERROR = 10_000


def known_runs(ledger: Ledger) -> set[str]:
    """The ids of all runs that are in the ledger."""
    return {run_id for (run_id,) in ledger.rows("SELECT run_id FROM runs")}


def resets(ledger: Ledger) -> dict[str, str]:
    """The time of the last reset of each flow, by flow."""
    return dict(ledger.rows("SELECT flow_name, reset_at_utc FROM tombstones"))


def known_states(ledger: Ledger) -> dict[tuple[str, SourceKey], SourceState]:
    """The state of every source of every flow."""
    rows = ledger.rows(f"SELECT flow_name, {STATE_COLUMNS} FROM file_state")
    states = (source_state(flow, tuple(row)) for flow, *row in rows)
    return {(state.flow, state.key): state for state in states}


def newer_states(
    states: Iterable[SourceState], known: Mapping[tuple[str, SourceKey], SourceState], forgotten: Mapping[str, str]
) -> list[SourceState]:
    """The states that are newer than the known ones, and than the reset of their flow.

    Example:
        >>> from data_engine.model import Signature
        >>> seen = Signature(5, 7)
        >>> old = SourceState("claims", SourceKey("../in", "a.csv"), "success", seen, "r1", "2026-04-01")
        >>> new = old._replace(last_run_id="r2", last_at_utc="2026-04-02")
        >>> [len(newer_states([state], {("claims", old.key): old}, {})) for state in (old, new)]
        [0, 1]
        >>> newer_states([new], {}, {"claims": "2026-04-03"})
        []
    """
    newer = []
    for state in states:
        before = known.get((state.flow, state.key))
        at_utc = state.last_at_utc or ""
        if at_utc < forgotten.get(state.flow, "") or (before is not None and at_utc <= (before.last_at_utc or "")):
            continue
        newer.append(state)
    return newer


def put_states(ledger: Ledger, states: Sequence[SourceState]) -> int:
    """Store the states that are newer than the known ones; returns how many those are."""
    ledger.flush()
    newer = newer_states(states, known_states(ledger), resets(ledger))
    with ledger.writing(durable=True) as (connection, rev):
        connection.executemany(_PUT_STATE, [storable((*_state_row(state), rev)) for state in newer])
    return len(newer)


def put_runs(ledger: Ledger, runs: Iterable[Sequence[Event]]) -> int:
    """Add the runs that are neither there nor reset, each as its events from start to end; returns how many."""
    ledger.flush()
    run_ids, forgotten = known_runs(ledger), resets(ledger)
    new = [
        events
        for events in runs
        if isinstance(began := events[0], RunStarted)
        and began.run_id not in run_ids
        and utc_text(began.at_s) >= forgotten.get(began.flow, "")
    ]
    with ledger.writing(durable=True) as (connection, rev):
        for *events, ended in (storable(tuple(events)) for events in new):
            write_events(connection, events, runner_id=None, rev=rev)
            end_run(connection, ended, rev, is_timed=ended.status != "abandoned")
    return len(new)


def put_outputs(ledger: Ledger, flow: str, paths: Collection[str]) -> None:
    """Record that the flow wrote these files."""
    with ledger.writing(durable=True) as (connection, rev):
        connection.executemany(_PUT_OUTPUT, [storable((flow, path, rev)) for path in sorted(paths)])


def _state_row(state: SourceState) -> tuple[object, ...]:
    good, error = state.success or (None, None, None), state.error and beginning(state.error, LONGEST_ERROR)
    return (
        *(state.flow, *state.key, state.status, *state.last[:2], state.last.content_hash, state.last_run_id),
        *(state.last_at_utc, error, *good, state.success_run_id, state.success_at_utc),
        state.abandoned_in_a_row,
    )


_PUT_OUTPUT = "INSERT INTO outputs (flow_name, output_path, rev) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_STATE_NAMES = [name.strip() for name in STATE_COLUMNS.split(",")]
_PUT_STATE = (
    f"INSERT INTO file_state (flow_name, {STATE_COLUMNS}, rev) VALUES ({', '.join('?' * (len(_STATE_NAMES) + 2))})"
    " ON CONFLICT (flow_name, source_root, source_key) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in (*_STATE_NAMES[2:], "rev"))
)
