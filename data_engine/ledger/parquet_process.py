"""Work on a ledger's file that needs PyArrow, done by a short-lived child: a daemon that imported it would be twice as large.

In the daemon PyArrow costs 38 MB for as long as it lives, and a first refresh of 100,000 runs would hold its other
threads up for a second; a child costs half a second of a core when it begins, so that one that collects stays for what
follows soon.

The child also unfolds what others have written. It may use so much memory and so much of a processor and no more, and
when it dies of a file, the file is refused and the daemon lives. Its replies are texts, numbers and the bytes of segments.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data_engine.answering_process import AnsweringProcess, KeptProcess, NoAnswer, ParentProcess
from data_engine.errors import LedgerError, RefusedSegmentError, error_of
from data_engine.ledger.replication import HISTORY, Incoming, UnpublishedRows, UnreadableRows, take_in, unpublished
from data_engine.platforms.processes import is_crash, limit_memory

if TYPE_CHECKING:
    import sqlite3

MOST_MEMORY_BYTES = 1_500_000_000
"""The limit of a child that reads segments, beyond what it has when it begins: six times the largest fold."""

_LOOK_EVERY_S = 0.2
_LEAST_CPU_S, _CPU_S_A_BYTE = 120.0, 20e-6
"""To take segments in, twenty times what it takes; time on a processor, so that a machine may sleep or be busy meanwhile."""

LEAST_GROWTH_BYTES, _GROWTH_A_BYTE = 1_000_000_000, 50
"""The growth of a ledger by all the segments that are taken in at once; what a Data Engine publishes unfolds to some 10 bytes a byte."""

_FOLD_CPU_S = 30.0
"""The owner's heartbeat waits for it."""

_CACHE_KIB = 64 * 1024

LINGER_S = 10.0
"""So long a child that has collected waits for more: a deploy, its runs and their ends are published within seconds."""


class ReadUnpublished(NamedTuple):
    """Read the rows that were not published yet."""

    ledger: Path
    token: int
    root: Path
    limit: int


class TakeIn(NamedTuple):
    """Put the rows of segments, whose bytes wait in files, in place; `(table, name, file)` each.

    `token` is that of the generation that lists them.
    """

    ledger: Path
    root: Path
    segments: Sequence[tuple[str, str, Path]]
    token: int


class MergeSegments(NamedTuple):
    """Make one segment of those of a table, whose bytes wait in files; the rest as for `TakeIn`."""

    segments: Sequence[tuple[str, str, Path]]
    token: int


Request = ReadUnpublished | TakeIn | MergeSegments


class Bounds(NamedTuple):
    """The limits of a child."""

    memory_bytes: int
    cpu_s: float


def bounds_of(request: Request) -> Bounds | None:
    """The limits for a request that reads what others have written; None where it reads only this machine's own."""
    if isinstance(request, ReadUnpublished):
        return None
    if isinstance(request, MergeSegments):
        return Bounds(MOST_MEMORY_BYTES, _FOLD_CPU_S)
    size = sum(file.stat().st_size for _, _, file in request.segments)
    return Bounds(MOST_MEMORY_BYTES, _LEAST_CPU_S + _CPU_S_A_BYTE * size)


def collect_here(request: Request) -> Any:
    """The reply of `in_child`, with `ReadUnpublished` done in this process: it reads nothing from others.

    Raises:
        RefusedSegmentError, LedgerError: as `perform`.
    """
    return perform(request) if isinstance(request, ReadUnpublished) else in_child(request)


def in_child(request: Request, bounds: Bounds | None = None) -> Any:
    """The reply of `perform`, done by a child process within `bounds`, by default those of the request.

    Raises:
        LedgerError: what `perform` raised, or the child could not be started or died.
        RefusedSegmentError: what `perform` raised, or the child died of a segment, or needed too much for it.
    """
    with _new_child() as child, _bounded(child, bounds or bounds_of(request)):
        return _value_of(_reply(child, request))


class WithOwnChild:
    """`in_child`, with a child for `ReadUnpublished` that is kept for `linger_s`: it reads nothing from others.

    It ends by itself when this process does. Calls may come from several threads.
    """

    def __init__(self, linger_s: float = LINGER_S) -> None:
        self._kept = KeptProcess(_new_child, linger_s)

    def __call__(self, request: Request) -> Any:
        """The reply of `in_child`.

        Raises:
            RefusedSegmentError, LedgerError: as `in_child`.
        """
        if not isinstance(request, ReadUnpublished):
            return in_child(request)
        with self._kept.use() as child:
            reply = _reply(child, request)
        return _value_of(reply)

    @property
    def pid(self) -> int | None:
        """The process id of the child; None without one."""
        child = self._kept.process
        return None if child is None else child.pid

    def close(self) -> None:
        """End the child, where there is one."""
        self._kept.close()


def perform(
    request: Request,
    *,
    begin: Callable[[str, str], None] = lambda table, name: None,
    least_growth_bytes: int = LEAST_GROWTH_BYTES,
) -> Any:
    """Carry the request out here: a `UnpublishedRows` or None for `ReadUnpublished`, the rows left out (`UnreadableRows`) for `TakeIn`, the bytes for `MergeSegments`.

    `begin` gets the table and name of each segment before it is read. The ledger may grow by `least_growth_bytes`, and more
    where segments are large.

    Raises:
        LedgerError: the ledger cannot be used.
        RefusedSegmentError: a segment is none that a Data Engine writes.
    """
    import sqlite3

    from data_engine.ledger.checks import refused_rows
    from data_engine.ledger.connection import as_ledger_error, connect, transaction
    from data_engine.ledger.segments import fold

    if isinstance(request, MergeSegments):
        (table,) = {table for table, _, _ in request.segments}

        def contents() -> Iterator[tuple[str, bytes]]:
            for _, name, file in request.segments:
                begin(table, name)
                yield name, file.read_bytes()

        return fold(table, contents(), lambda columns: refused_rows(table, columns, token=request.token))
    try:
        connection = connect(request.ledger, busy_timeout_s=30.0)
        try:
            if isinstance(request, ReadUnpublished):
                # One read transaction, so that all tables are as of one revision.
                connection.execute("BEGIN")
                return unpublished(connection, request.token, request.root, limit=request.limit)
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            segments = [Incoming(*segment) for segment in request.segments]
            size = sum(segment.path.stat().st_size for segment in segments)
            most_bytes = _bytes_of(connection) + least_growth_bytes + _GROWTH_A_BYTE * size

            def begin_with(segment: Incoming) -> None:
                if _bytes_of(connection) > most_bytes:
                    why = "those before it unfold to more than is taken in at once"
                    raise RefusedSegmentError(why, table=segment.table, name=segment.name)
                begin(segment.table, segment.name)

            history = [[segment] for segment in segments if segment.table in HISTORY]
            left_out = []
            for batch in ([segment for segment in segments if segment.table not in HISTORY], *history):
                with transaction(connection):
                    left_out += take_in(connection, batch, request.root, token=request.token, begin=begin_with)
            return left_out
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise as_ledger_error(error, request.ledger) from error


def _bytes_of(connection: sqlite3.Connection) -> int:
    pages, size = (connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "page_size"))
    return int(pages * size)


def answer(asker: ParentProcess) -> None:
    """Run as the child: a message for each segment that is begun, and one with the reply, for each request.

    NumPy is kept out, which PyArrow imports where it is, and does not need here: that is half of the child's start.
    """
    sys.modules.setdefault("numpy", None)  # type: ignore[arg-type]

    def begin(table: str, name: str) -> None:
        asker.send(_packed({"begun": [table, name]}))

    while True:
        request = _request_of(asker.receive())
        if not isinstance(request, ReadUnpublished):
            limit_memory(MOST_MEMORY_BYTES)
        try:
            reply = _packed_reply(perform(request, begin=begin))
        except RefusedSegmentError as error:
            reply = _packed({"refused": error.why, "table": error.table, "name": error.name})
        except LedgerError as error:
            reply = _packed({"error": error.as_dict()})
        asker.send(reply)


# -- the daemon's side of one request ---------------------------------------------------------------------------------------


def _new_child() -> AnsweringProcess:
    """A child that waits for requests.

    Raises:
        LedgerError: it could not be started.
    """
    # Arrow's own pools take far more address space than memory, and that is what can be limited.
    variables = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"}
    try:
        return AnsweringProcess(f"{__name__}:answer", environment=variables, stderr=subprocess.PIPE)
    except OSError as error:
        raise _failed("start", str(error)) from error


@contextmanager
def _bounded(child: AnsweringProcess, bounds: Bounds | None) -> Iterator[None]:
    """End the child when it passes a limit."""
    is_done = threading.Event()

    def watch(bounds: Bounds) -> None:
        while not is_done.wait(_LOOK_EVERY_S):
            if why := _too_much(child.pid, bounds):
                child.end(why)

    if bounds is not None:
        threading.Thread(target=watch, args=(bounds,), name="bounds of a child", daemon=True).start()
    try:
        yield
    finally:
        is_done.set()


def _reply(child: AnsweringProcess, request: Request) -> dict[str, Any]:
    """The child's last message, with a `value` or an error that `perform` has raised there.

    Raises:
        LedgerError, RefusedSegmentError: as `in_child`.
    """
    begun: list[str] = []
    try:
        child.send(_packed({"request": type(request).__name__, **request._asdict()}))
        while "begun" in (reply := _value(request, child.receive())):
            begun = reply["begun"]
    except NoAnswer as ended:
        if not isinstance(request, ReadUnpublished) and (ended.ended_for or is_crash(ended.status or 0)):
            known = [(table, name) for table, name, _ in request.segments]
            table, name = next((key for key in known if list(key) == begun), known[0])
            why = ended.ended_for or f"reading it ended a process ({ended.status})"
            raise RefusedSegmentError(why, table=table, name=name) from None
        raise _failed(type(request).__name__, ended.errors.rpartition("\n")[2] or str(ended)) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        child.end()
        raise _failed(type(request).__name__, f"it gave an answer that is none ({type(error).__name__})") from error
    return reply


def _value_of(reply: Mapping[str, Any]) -> Any:
    if "error" in reply:
        raise error_of(reply["error"], LedgerError)
    if "refused" in reply:
        raise RefusedSegmentError(str(reply["refused"]), table=str(reply["table"]), name=str(reply["name"]))
    return reply["value"]


def _too_much(pid: int, bounds: Bounds) -> str:
    """The limit that the child has passed, in words; "" when none."""
    import psutil

    try:
        process = psutil.Process(pid)
        used, times = process.memory_info().rss, process.cpu_times()
    except psutil.Error:
        return ""
    if used > bounds.memory_bytes:
        return f"reading it took more than {bounds.memory_bytes:,} bytes of memory"
    return f"reading it took more than {bounds.cpu_s:.0f} s" if times.user + times.system > bounds.cpu_s else ""


def _failed(where: str, why: str) -> LedgerError:
    return LedgerError(
        f"the process that reads and writes the shared history has failed: {why}",
        where=where,
        fix="run data-engine doctor",
    )


# -- messages: a line of JSON, and bytes behind it; nothing is unpickled of a child that reads what others have written -------


def _packed(fields: Mapping[str, Any], *contents: bytes) -> bytes:
    return b"\n".join([json.dumps(fields, default=str).encode(), b"".join(contents)])


def _packed_reply(value: Any) -> bytes:
    if isinstance(value, bytes):
        return _packed({}, value)
    if isinstance(value, UnpublishedRows):
        sizes = {table: len(content) for table, content in value.tables.items()}
        return _packed({"batch": {**value._asdict(), "tables": sizes}}, *value.tables.values())
    return _packed({"batch": None, "left_out": value})


def _request_of(message: bytes) -> Request:
    fields, _ = _split(message)
    kind = {kind.__name__: kind for kind in (ReadUnpublished, TakeIn, MergeSegments)}[fields.pop("request")]
    fields |= {name: Path(fields[name]) for name in ("ledger", "root") if name in fields}
    if "segments" in fields:
        fields["segments"] = [(table, name, Path(file)) for table, name, file in fields["segments"]]
    request: Request = kind(**fields)
    return request


def _split(message: bytes) -> tuple[dict[str, Any], bytes]:
    line, _, content = message.partition(b"\n")
    return dict(json.loads(line)), content


def _value(request: Request, message: bytes) -> dict[str, Any]:
    """The child's message with the `value` that `perform` has given there, believed no further than its fields can be read."""
    fields, content = _split(message)
    if fields.keys() & {"begun", "error", "refused"}:
        return fields
    if isinstance(request, MergeSegments):
        return {"value": content}
    if isinstance(request, TakeIn):
        rows = [(str(table), str(name), int(count), str(why)) for table, name, count, why in fields["left_out"]]
        return {"value": [UnreadableRows(*row) for row in rows]}
    if (batch := fields["batch"]) is None:
        return {"value": None}
    tables, first = {}, 0
    for table, size in batch["tables"].items():
        tables[table] = content[first : first + int(size)]
        first += int(size)
    newest = {table: None if at is None else str(at) for table, at in batch["newest"].items()}
    return {"value": UnpublishedRows(int(batch["token"]), int(batch["rev"]), int(batch["rows"]), tables, newest)}
