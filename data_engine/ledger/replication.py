"""Select a ledger's rows for the shared history, and take in those of others, inside a transaction of the caller.

One rule decides everywhere: a row that was published is newer than the local one when its version is greater than that of
the published row the local one was taken from or is based on (`seen_token`, `seen_rev`). So a file state that another
machine has settled since goes for theirs, and the source is done again rather than never. What this machine's own
runners report of their runs is never overwritten: nobody else knows better.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.cause import Cause
from data_engine.errors import RefusedSegmentError
from data_engine.ledger.checks import LONGEST_SEEN, LONGEST_TEXT, is_absolute, refused_rows
from data_engine.ledger.connection import meta
from data_engine.ledger.rows import IS_PUBLISHED, storable
from data_engine.ledger.segments import LARGEST_SEGMENT_BYTES, TABLES, decode, encode
from data_engine.ledger.writer import abandon_runs

HISTORY = ("step_runs", "logs")
"""Tables that only tell more about runs: taken in after all others, a segment at a time, so that nobody waits for them."""

LOST = Cause("owner_lost")
"""The cause of runs that were running where the workspace was taken away."""

_AGES = {
    "runs": ("finished_at_utc", "started_at_utc"),
    "step_runs": ("finished_at_utc", "started_at_utc"),
    "logs": ("created_at_utc",),
    **dict.fromkeys(("requests", "backfills", "backfill_items", "troubles"), ("at_utc",)),
}
_NEWEST_REV = 2**62
_RESET_TABLES = ("runs", "step_runs", "logs", "file_state")
_LONG_TEXTS = {
    "runs": (
        *("error_text", "cause", "cause_data", "group_name", "started_seen", "trigger_detail", "run_by", "params"),
        *("inputs", "outputs", "publication"),
    ),
    "step_runs": ("error_text", "step_label"),
    "logs": ("message", "step_label", "level"),
    "file_state": ("last_error_text",),
    "deployments": ("note",),
    "requests": ("answer",),
    "backfills": ("asked", "params"),
    "troubles": ("detail",),
    "read_sets": ("files",),
}
_JSON_TEXTS = ("started_seen", "cause_data", "params", "inputs", "outputs", "publication", "asked", "detail", "files")
_BATCH_CHARS = 16_000_000
_MOST_CHARS = 100_000_000
"""The most characters of the long texts of one segment: what one transaction of the ledger has written cannot be published in parts."""
_CUT_AT = (LONGEST_TEXT, 10_000, 100)

_BULK_BYTES = 500_000
_FEW_RUNS = 20_000

_IS_OWN_RUN = "EXISTS (SELECT 1 FROM runs AS mine WHERE mine.run_id = {run_id} AND mine.runner_id IS NOT NULL)"
_GUARDS = {"runs": "runs.runner_id IS NULL", "step_runs": "NOT " + _IS_OWN_RUN.format(run_id="step_runs.run_id")}
_FIXED = ("logs", "outputs")
_STAYS_PUBLISHED = dict.fromkeys(("deployments", "requests"), ", seen_token = max(seen_token, 1)")
"""Tables whose rows hold only once they are published, and never change: how such a row keeps that it was."""
# A reset made here waits for its claim, also when somebody else's of the same flow is taken in before.
_KEPT_REV = (
    "CASE WHEN tombstones.rev > (SELECT value FROM meta WHERE key = 'published_rev') THEN tombstones.rev ELSE 0 END"
)
_ADD_LINE = """
INSERT INTO logs (run_id, line_no, flow_name, step_label, level, message, created_at_utc, run_bytes, rev)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0 WHERE ?2 IS NOT NULL OR NOT EXISTS (SELECT 1 FROM logs
    WHERE created_at_utc = ?7 AND run_id IS ?1 AND line_no IS NULL AND flow_name IS ?3 AND level = ?5 AND message = ?6)
ON CONFLICT DO NOTHING
"""
_ADD_OUTPUT = "INSERT INTO outputs (flow_name, output_path, rev) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING"


class UnpublishedRows(NamedTuple):
    """Rows to publish: per table the bytes of a segment, and the time of its newest row; `rev` is the last revision in it."""

    token: int
    rev: int
    rows: int
    tables: dict[str, bytes]
    newest: dict[str, str | None]


class Incoming(NamedTuple):
    """A segment that a generation lists and that was not taken in yet; `path` is where its bytes wait."""

    table: str
    name: str
    path: Path


class UnreadableRows(NamedTuple):
    """The number of rows of a segment that were not taken in, because no Data Engine writes such rows; `why`: the reason of one."""

    table: str
    name: str
    rows: int
    why: str


def begin_token(connection: sqlite3.Connection, token: int, rev: int) -> None:
    """Remember that this ledger publishes under `token`; what runs here is published again, as running under it."""
    if connection.execute("INSERT INTO own_tokens VALUES (?) ON CONFLICT DO NOTHING", (token,)).rowcount:
        mine = "status = 'started' AND runner_id IS NOT NULL"
        connection.execute(
            f"UPDATE step_runs SET rev = ? WHERE status = 'started' AND run_id IN (SELECT run_id FROM runs WHERE {mine})",
            (rev,),
        )
        connection.execute(f"UPDATE runs SET rev = ? WHERE {mine}", (rev,))
        # What was decided or taken under an earlier token and did not get out never was.
        for table in _STAYS_PUBLISHED:
            connection.execute(f"DELETE FROM {table} WHERE NOT {IS_PUBLISHED}")
    # A reset that was made here counts from now on for all that others published before this claim.
    pending = connection.execute(
        "SELECT flow_name FROM tombstones WHERE seen_token < ?"
        " AND rev > (SELECT value FROM meta WHERE key = 'published_rev')",
        (token,),
    ).fetchall()
    for flow in pending:
        for table in _RESET_TABLES:
            connection.execute(f"DELETE FROM {table} WHERE rev = 0 AND flow_name = ?", flow)
        connection.execute("UPDATE tombstones SET seen_token = ?, seen_rev = rev WHERE flow_name = ?", (token, *flow))


def has_unpublished(connection: sqlite3.Connection, until: int) -> bool:
    """Whether a row was written after the last one that was published, up to the revision `until`."""
    since = meta(connection, "published_rev")
    return any(
        connection.execute(
            f"SELECT 1 FROM {_local(table)} WHERE rev > ? AND rev <= ? AND rev > 0 LIMIT 1", (since, until)
        ).fetchone()
        for table in TABLES
    )


def unpublished(connection: sqlite3.Connection, token: int, root: Path, *, limit: int) -> UnpublishedRows | None:
    """The rows written after the last one that was published, about `limit` per table at most; None when there are none.

    Texts longer than any that is taken in are cut, so that nobody refuses what is published here.
    """
    since = meta(connection, "published_rev")
    last = meta(connection, "rev")
    for table in TABLES:
        row = connection.execute(
            f"SELECT rev FROM {_local(table)} WHERE rev > ? AND rev > 0 ORDER BY rev LIMIT 1 OFFSET ?", (since, limit)
        ).fetchone()
        if row is not None:
            last = min(last, row[0])
    for table, names in _LONG_TEXTS.items():
        chars = " + ".join(f"coalesce(length({name}), 0)" for name in names)
        row = connection.execute(
            f"SELECT rev FROM (SELECT rev, sum({chars}) OVER (ORDER BY rev) AS chars FROM {table} WHERE rev > ? AND rev > 0"
            " AND rev <= ?) WHERE chars > ? ORDER BY rev LIMIT 1",
            (since, last, _BATCH_CHARS),
        ).fetchone()
        if row is not None:
            last = min(last, row[0])
    tables: dict[str, bytes] = {}
    newest: dict[str, str | None] = {}
    count = 0
    for table in TABLES:
        rows = connection.execute(_select(table), {"since": since, "last": last, "token": token}).fetchall()
        if rows:
            columns = list(zip(*rows, strict=True))
            _change_paths(table, columns, _outgoing(os.fspath(root)))
            tables[table] = _encoded(table, columns)
            newest[table] = _newest(table, columns)
            count += len(rows)
    return UnpublishedRows(token, last, count, tables, newest) if tables else None


def publish_again(
    connection: sqlite3.Connection, tables: Collection[str], rev: int, *, after: int | None = None
) -> None:
    """Let the rows of these tables be published once more: the segments they were in are lost.

    `after` is the generation that the list goes on from, where it has lost its end: the tokens beyond it never were, as
    far as others know, so that whatever is published from now on is newer than rows under such a token.

    Resets are not among them: one that is published again would be newer than all that was done since it was made.
    """
    published = "(SELECT value FROM meta WHERE key = 'published_rev')"
    for table in TABLES:
        if table not in tables or table == "resets":
            continue
        connection.execute(
            f"UPDATE {table} SET rev = ?{_STAYS_PUBLISHED.get(table, '')} WHERE rev <= {published}", (rev,)
        )
        if after is not None and table not in _FIXED:
            newest = max(after, 1) if table in _STAYS_PUBLISHED else after
            connection.execute(
                f"UPDATE {table} SET seen_token = ?1, seen_rev = ?2 WHERE seen_token > ?1", (newest, _NEWEST_REV)
            )


def take_in(
    connection: sqlite3.Connection,
    incoming: Sequence[Incoming],
    root: Path,
    *,
    token: int,
    begin: Callable[[Incoming], None] = lambda segment: None,
) -> list[UnreadableRows]:
    """Put the rows of these segments in place; what is newer here stays. Resets come first: they say which rows are too old.

    `token` is that of the generation that lists them. `begin` gets each segment before it is read.

    Raises:
        RefusedSegmentError: a segment is none that a Data Engine writes.
    """
    left_out: list[UnreadableRows] = []
    for table in ("resets", *(table for table in TABLES if table != "resets")):
        segments = [segment for segment in incoming if segment.table == table]
        with _bulk(connection, table, segments):
            for segment in segments:
                begin(segment)
                try:
                    left_out += _take_segment(connection, segment, root, token)
                except MemoryError as error:
                    why = "its rows need more memory than is given to them"
                    raise RefusedSegmentError(why, table=table, name=segment.name) from error
    return left_out


def abandon_lost(connection: sqlite3.Connection, owner: int | None) -> None:
    """Show what still runs under any other token than the owner's as abandoned; its end, published later, overrides that.

    Nothing is said of its sources: that is for the owner, who alone may publish it.
    """
    connection.execute(
        "UPDATE runs SET status = 'abandoned', cause = ?, cause_kind = ? WHERE status = 'started' AND runner_id IS NULL"
        " AND seen_token IS NOT ?",
        (LOST.text, LOST.kind, owner),
    )
    connection.execute(f"UPDATE step_runs SET status = 'abandoned' WHERE status = 'started' AND {_OF_PRESUMED}")


def settle_lost(connection: sqlite3.Connection, *, now_s: float, rev: int) -> list[str]:
    """As the new owner: close the runs of others that nobody else will, with steps and sources; returns their ids, oldest first."""
    connection.execute(
        f"UPDATE step_runs SET status = 'started' WHERE status = 'abandoned' AND finished_at_utc IS NULL AND {_OF_PRESUMED}"
    )
    connection.execute("UPDATE runs SET status = 'started' WHERE status = 'abandoned' AND finished_at_utc IS NULL")
    lost = connection.execute(
        "SELECT run_id, started_seen FROM runs WHERE status = 'started' AND runner_id IS NULL"
        " ORDER BY started_at_utc, rowid"
    ).fetchall()
    return abandon_runs(connection, lost, why=LOST, at_s=now_s, rev=rev)


def note_seen(connection: sqlite3.Connection, token: int, rev: int) -> None:
    """Remember the newest version of any row that was published."""
    if (token, rev) > (meta(connection, "seen_token"), meta(connection, "seen_rev")):
        connection.execute("UPDATE meta SET value = ? WHERE key = 'seen_token'", (token,))
        connection.execute("UPDATE meta SET value = ? WHERE key = 'seen_rev'", (rev,))


_OF_PRESUMED = "run_id IN (SELECT run_id FROM runs WHERE status = 'abandoned' AND finished_at_utc IS NULL)"


def _take_segment(connection: sqlite3.Connection, segment: Incoming, root: Path, token: int) -> list[UnreadableRows]:
    table = segment.table
    statement = _upsert(table)
    # A line or an output never changes, so its version is not kept.
    width = len(TABLES[table].columns) - (2 if table in _FIXED else 0)
    resets = {
        flow: (token, rev)
        for flow, token, rev in connection.execute("SELECT flow_name, seen_token, seen_rev FROM tombstones").fetchall()
    }
    newest: str | None = None
    version = (0, 0)
    left_out: Counter[str] = Counter()
    for columns in decode(table, segment.path.read_bytes(), segment.name):
        if refused := refused_rows(table, columns, token=token):
            left_out.update(refused.values())
            is_good = [number not in refused for number in range(len(columns[0]))]
            columns = [list(compress(column, is_good)) for column in columns]
        versions = list(zip(*columns[-2:], strict=True))
        version = max((version, *versions))
        newest = max(filter(None, (newest, _newest(table, columns))), default=None)
        names = list(TABLES[table].columns)
        flows = columns[names.index("flow_name")] if "flow_name" in names else []
        if table == "resets":
            _forget(connection, [f for f, v in zip(flows, versions, strict=True) if v > resets.get(f, (0, 0))])
        _change_paths(table, columns, _incoming(os.fspath(root)))
        rows: Iterable[tuple[Any, ...]] = zip(*columns[:width], strict=True)
        if table in _RESET_TABLES and resets:
            are_new = [v > resets.get(f, (-1, -1)) for f, v in zip(flows, versions, strict=True)]
            rows = compress(rows, are_new)
        connection.executemany(statement, rows)
    note_seen(connection, *version)
    connection.execute(
        "INSERT INTO taken_segments VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (table, segment.name, newest)
    )
    return [UnreadableRows(table, segment.name, left_out.total(), next(iter(left_out)))] if left_out else []


def _forget(connection: sqlite3.Connection, flows: Iterable[str]) -> None:
    """All that is here of these flows was there, or was begun, before the reset was known."""
    for flow in flows:
        connection.execute(
            "DELETE FROM logs WHERE flow_name = ?1 OR run_id IN (SELECT run_id FROM runs WHERE flow_name = ?1)", (flow,)
        )
        for table in ("step_runs", "file_state", "runs"):
            connection.execute(f"DELETE FROM {table} WHERE flow_name = ?", (flow,))


@contextmanager
def _bulk(connection: sqlite3.Connection, table: str, segments: Sequence[Incoming]) -> Iterator[None]:
    """Where very many runs come to few, their indexes are built afterwards: sorting once is cheaper than finding each place."""
    indexes: list[tuple[str, str]] = []
    if table == "runs" and sum(segment.path.stat().st_size for segment in segments) > _BULK_BYTES:
        few = connection.execute("SELECT count(*) FROM (SELECT 1 FROM runs LIMIT ?)", (_FEW_RUNS,)).fetchone()[0]
        if few < _FEW_RUNS:
            indexes = connection.execute(
                "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'runs' AND sql IS NOT NULL"
            ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    for _, sql in indexes:
        connection.execute(sql)


def _upsert(table: str) -> str:
    if table == "logs":
        return _ADD_LINE
    if table == "outputs":
        return _ADD_OUTPUT
    local = _local(table)
    columns = [*list(TABLES[table].columns)[:-2], "seen_token", "seen_rev"]
    key = TABLES[table].key
    values = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key)
    return (
        f"INSERT INTO {local} ({', '.join(columns)}, rev) VALUES ({', '.join('?' * len(columns))}, 0)"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {values}, rev = {_KEPT_REV if table == 'resets' else '0'}"
        f" WHERE (excluded.seen_token, excluded.seen_rev) > ({local}.seen_token, {local}.seen_rev)"
        f" AND NOT (excluded.seen_rev <= {local}.rev AND excluded.seen_token IN (SELECT token FROM own_tokens))"
        f" AND {_GUARDS.get(table, '1')}"
    )


def _select(table: str) -> str:
    local = _local(table)
    columns = [":token" if column == "fencing_token" else column for column in TABLES[table].columns]
    if table == "logs":
        # A reset goes by the flow, also for a line that came without.
        columns[columns.index("flow_name")] = (
            "coalesce(flow_name, (SELECT runs.flow_name FROM runs WHERE runs.run_id = logs.run_id))"
        )
    return f"SELECT {', '.join(columns)} FROM {local} WHERE rev > :since AND rev <= :last AND rev > 0 ORDER BY rev"


def _local(table: str) -> str:
    return "tombstones" if table == "resets" else table


def _newest(table: str, columns: Sequence[Sequence[Any]]) -> str | None:
    """The time of the newest of the rows, for the tables whose rows grow old."""
    ages = [columns[list(TABLES[table].columns).index(name)] for name in _AGES.get(table, ())]
    return max((age for column in ages for age in column if age is not None), default=None)


def _change_paths(table: str, columns: list[Any], translate: Callable[[str], str]) -> None:
    for at, name in enumerate(TABLES[table].columns):
        if name in ("source_path", "output_path", "reference_path"):
            columns[at] = [path and translate(path) for path in columns[at]]
        elif table == "runs" and name in ("inputs", "outputs"):
            columns[at] = [text and _with_paths(text, translate) for text in columns[at]]
        elif table == "read_sets" and name == "files":
            columns[at] = [text and _translated(text, translate) for text in columns[at]]


def _with_paths(text: str, translate: Callable[[str], str]) -> str:
    """The files of a run with their paths translated."""
    content = json.loads(text)
    files = [[translate(path), *facts] for path, *facts in content["files"]]
    return json.dumps({"files": files, "more": content["more"]}, separators=(",", ":"))


def _translated(text: str, translate: Callable[[str], str]) -> str:
    """References with their paths translated."""
    return json.dumps([[translate(path), *facts] for path, *facts in json.loads(text)], separators=(",", ":"))


def _encoded(table: str, columns: list[Any]) -> bytes:
    """The bytes of a segment that everybody takes in, with texts cut where they are too long."""
    names = list(TABLES[table].columns)
    for longest in _CUT_AT:
        chars = 0
        for name in _LONG_TEXTS.get(table, ()):
            at = names.index(name)
            columns[at] = [_cut(text, longest) if name not in _JSON_TEXTS else _whole(text) for text in columns[at]]
            chars += sum(len(text) for text in columns[at] if text is not None)
        if chars <= _MOST_CHARS and len(data := encode(table, columns)) <= LARGEST_SEGMENT_BYTES:
            return data
    return encode(table, columns)


def _cut(text: str | None, longest: int) -> str | None:
    return text if text is None or len(text) <= longest else text[: longest - 1] + "…"


def _whole(text: str | None) -> str | None:
    """A text in JSON, which cannot be cut; without its sources a machine that takes over does a run again."""
    return text if text is None or len(text) <= LONGEST_SEEN else None


def _outgoing(root: str) -> Callable[[str], str]:
    """A path inside the root relative to it, with forward slashes; any other as it is."""
    prefix = str(storable(root.rstrip(os.sep) + os.sep))

    def translate(path: str) -> str:
        inside = os.path.normpath(path) if ".." in path else path  # an author may climb within the workspace
        return inside[len(prefix) :].replace(os.sep, "/") if inside.startswith(prefix) else path

    return translate


def _incoming(root: str) -> Callable[[str], str]:
    """A relative path as it is on this machine; what any system calls absolute as it is."""
    prefix = str(storable(root.rstrip(os.sep) + os.sep))

    def translate(path: str) -> str:
        return path if is_absolute(path) else prefix + path.replace("/", os.sep)

    return translate
