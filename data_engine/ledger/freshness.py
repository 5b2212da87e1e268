"""The freshness of a flow, from its runs in the ledger: which successes count, whether all is good since a failure, and how many rows the
newest good run of each source rejects: what `rejected/` of the workspace holds, without a look at the share.

A run with other params than a schedule would give it does not count, nor one of code that was not deployed, nor of a backfill of files. A run for a slot
is as old as its slot, whenever it ran.

Each function raises `LedgerError` where the ledger cannot be used.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from data_engine.ledger.ledger import Ledger
from data_engine.ledger.rows import RUN_COLUMNS, restored, run_of, storable
from data_engine.model import Run, future_utc, utc_text

Counts: TypeAlias = Callable[[Mapping[str, Any]], bool]
"""Whether a run with these params counts."""

_MOST_ROWS = 1000
_DAY_S = 86_400.0
_NEWEST = (
    "SELECT coalesce(now.value, flow_name) AS flow, coalesce(source_key, '') AS source, rejected, max(at_utc) AS at_utc, ran FROM"
    " (SELECT flow_name, source_key, rejected, max(finished_at_utc) AS at_utc, rowid AS ran FROM runs INDEXED BY runs_checked"
    " WHERE rejected IS NOT NULL AND finished_at_utc <= ?1{} GROUP BY flow_name, source_key)"
    " LEFT JOIN json_each(?2) AS now ON now.key = flow_name GROUP BY flow, source"
)
"""The newest good run of each source whose rows could be put apart; without a source as with one folder."""

_MOST_SOURCES = 100
_BY_ITSELF = "scheduled_for IS NULL AND trigger_kind IS NOT 'backfill'"


class Fresh(NamedTuple):
    """The newest moment that a good run was for (its slot, else its end), and the newest end of one that was not for a slot
    further back than an interval; seconds since the epoch, None where there is none."""

    for_s: float | None = None
    ended_s: float | None = None


def fresh_of(ledger: Ledger, flow: str, *, counts: Counts, every_s: float | None) -> Fresh:
    """How fresh the flow is; `every_s` is the interval within which it is to succeed."""
    until = future_utc(time.time())

    with ledger.reading() as connection:

        def newest(columns: str, where: str, order: str) -> Iterable[tuple[Any, ...]]:
            return connection.execute(
                f"SELECT params, {columns} FROM runs WHERE flow_name = ? AND status = 'success' AND edited IS NULL AND {where}"
                f" AND {order} <= ? ORDER BY {order} DESC LIMIT {_MOST_ROWS}",
                storable((flow, until)),
            )

        slot = _first(newest("scheduled_for", "scheduled_for IS NOT NULL", "scheduled_for"), counts)
        end = _first(newest("finished_at_utc", _BY_ITSELF, "finished_at_utc"), counts)
        near_end = None
        if every_s is not None:
            rows = newest(
                "finished_at_utc, started_at_utc, scheduled_for", "scheduled_for IS NOT NULL", "finished_at_utc"
            )
            near = (row for row in rows if _seconds(row[2]) - _seconds(row[3]) <= every_s)
            near_end = _first(near, counts)
    return Fresh(_newest(slot, end), None if every_s is None else _newest(near_end, end))


def is_good_since(ledger: Ledger, flow: str, since_utc: str, *, counts: Counts) -> bool:
    """Whether the flow has recovered: sources ran since then, and the newest run of each ended well.

    Of a flow that runs by slots only the newest slot and later runs count.
    """
    with ledger.reading() as connection:
        ((floor,),) = connection.execute(
            "SELECT min(started_at_utc) FROM runs WHERE flow_name = ?1 AND started_at_utc >= ?2 AND scheduled_for ="
            " (SELECT max(scheduled_for) FROM runs WHERE flow_name = ?1 AND started_at_utc >= ?2)",
            storable((flow, since_utc)),
        ).fetchall()
        rows = connection.execute(
            "SELECT source_key, status, params FROM runs WHERE flow_name = ? AND started_at_utc >= ? AND edited IS NULL"
            " ORDER BY started_at_utc, rowid",
            storable((flow, floor or since_utc)),
        )
        last = {key: status for key, status, params in rows if _counts(params, counts)}
    return bool(last) and set(last.values()) == {"success"}


def failures_between(
    ledger: Ledger, flow: str, since_utc: str, until_utc: str, *, told: Collection[str] = (), of_files: bool = False
) -> int:
    """How many files or slots of the flow failed from `since_utc` until `until_utc`, besides those of the runs `told`: what is tried
    again is counted once. A run without either is counted by itself, or where the flow is `of_files` as all of them.
    """
    day_before = utc_text(datetime.fromisoformat(since_utc).timestamp() - _DAY_S)
    ((count,),) = ledger.rows(
        f"SELECT count(DISTINCT {_TRIED}) FROM runs WHERE flow_name = ?1 AND started_at_utc >= ?2"
        " AND finished_at_utc >= ?3 AND finished_at_utc <= ?4"
        " AND (status = 'failed' OR (status = 'killed' AND cause_kind = 'time_limit'))"
        f" AND {_TRIED} NOT IN (SELECT {_TRIED} FROM runs WHERE run_id IN (SELECT value FROM json_each(?6)))",
        *(flow, day_before, since_utc, until_utc, of_files, json.dumps([*told])),
    )
    return int(count)


_TRIED = (
    "CASE WHEN source_key IS NOT NULL THEN coalesce(source_root, '') || char(10) || source_key"
    " WHEN ?5 THEN '' ELSE coalesce(scheduled_for, run_id) END"
)
"""The file, the slot or the run that a run is about."""


def rejected_by_source(ledger: Ledger, names: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """How many rows the newest good run of each flow and source rejects; `names` has the new name of each renamed flow."""
    renamed = json.dumps({storable(old): storable(new) for old, new in names.items()})
    query = f"SELECT flow, source, rejected FROM ({_NEWEST.format('')}) WHERE rejected > 0"
    rows = ledger.rows(query, future_utc(time.time()), renamed)
    return {(restored(flow), restored(source)): rejected for flow, source, rejected in rows}


def newest_checked(ledger: Ledger, flow: str, *, rejecting_since: str, sources: Iterable[str]) -> dict[str, Run]:
    """The newest good run of each source in `sources`, and of the newest sources that reject rows since then; by the source's path inside
    its folder, "" of a run for all.
    """
    text = json.dumps([storable(source) for source in sources])
    rows = ledger.rows(
        f"SELECT coalesce(source_key, ''), {RUN_COLUMNS} FROM runs WHERE rowid IN (SELECT ran FROM"
        f" ({_NEWEST.format(' AND flow_name = ?3')}) WHERE source IN (SELECT value FROM json_each(?4))"
        f" OR (rejected > 0 AND at_utc >= ?5)) ORDER BY finished_at_utc DESC LIMIT {_MOST_SOURCES}",
        *(future_utc(time.time()), "{}", flow, text, rejecting_since),
    )
    return {restored(source): run_of(tuple(row)) for source, *row in rows}


def deployed_since(ledger: Ledger, flow: str) -> float | None:
    """The time since which the flow is in production; None where it is not known."""
    ((at_utc,),) = ledger.rows(
        "SELECT min(at_utc) FROM deployments WHERE flow_name = ?1 AND number > (SELECT coalesce(max(number), 0)"
        " FROM deployments WHERE flow_name = ?1 AND kind = 'withdraw')",
        flow,
    )
    return None if at_utc is None else _seconds(at_utc)


def began_at(ledger: Ledger, flow: str, slot_utc: str) -> str | None:
    """The time when the first run for this slot began; "" where it was served without a run, None where it was not served."""
    ((began,),) = ledger.rows(
        "SELECT min(started_at_utc) FROM runs WHERE flow_name = ? AND scheduled_for = ?", flow, slot_utc
    )
    if began is not None:
        return str(began)
    # The moment a schedule was first seen is kept as a slot without a run: nothing before it is owed.
    served = ledger.rows(
        "SELECT 1 FROM schedule_slots WHERE flow_name = ?1 AND (slot_utc = ?2 OR (slot_utc > ?2 AND run_id = '')) LIMIT 1",
        *(flow, slot_utc),
    )
    return "" if served else None


def _first(rows: Iterable[tuple[Any, ...]], counts: Counts) -> float | None:
    return next((_seconds(row[1]) for row in rows if _counts(row[0], counts)), None)


def _counts(params: str | None, counts: Counts) -> bool:
    if params is None:
        return True
    try:
        values = json.loads(params)
    except (ValueError, RecursionError):  # what another machine wrote
        return False
    return isinstance(values, dict) and counts(values)


def _newest(*times: float | None) -> float | None:
    return max((at_s for at_s in times if at_s is not None), default=None)


def _seconds(utc: str) -> float:
    return datetime.fromisoformat(utc).timestamp()
