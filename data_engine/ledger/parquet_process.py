"""Work on a ledger's file that needs PyArrow, done by a short-lived child: a daemon that imported it would be twice as large.

In the daemon PyArrow costs 38 MB for as long as it lives, and a first refresh of 100,000 runs would hold its other
threads up for a second; a child costs half a second of a core when it begins, so that one that collects stays for what
follows soon. Requests and replies are pickled over its pipes.

The child also unfolds what others have written. It may use so much memory and so much of a processor and no more, and
when it dies of a file, the file is refused and the daemon lives. The reply stays a pickle: a file that could make the child
answer with one of its own making already runs as this user, and needs no pickle any more; short of that the child answers
with what it has read as texts and numbers.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data_engine.errors import FlowValidationError, LedgerError, RefusedSegmentError
from data_engine.platforms.processes import apart, is_crash, limit_memory, program_of
from data_engine.version import import_folder

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


class Collect(NamedTuple):
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


class Fold(NamedTuple):
    """Make one segment of those of a table, whose bytes wait in files; the rest as for `TakeIn`."""

    segments: Sequence[tuple[str, str, Path]]
    token: int


Request = Collect | TakeIn | Fold


class Bounds(NamedTuple):
    """The limits of a child."""

    memory_bytes: int
    cpu_s: float


def bounds_of(request: Request) -> Bounds | None:
    """The limits for a request that reads what others have written; None where it reads only this machine's own."""
    if isinstance(request, Collect):
        return None
    if isinstance(request, Fold):
        return Bounds(MOST_MEMORY_BYTES, _FOLD_CPU_S)
    size = sum(file.stat().st_size for _, _, file in request.segments)
    return Bounds(MOST_MEMORY_BYTES, _LEAST_CPU_S + _CPU_S_A_BYTE * size)


def collect_here(request: Request) -> Any:
    """The reply of `in_child`, with `Collect` done in this process: it reads nothing from others.

    Raises:
        RefusedSegmentError, LedgerError: as `perform`.
    """
    return perform(request) if isinstance(request, Collect) else in_child(request)


def in_child(request: Request, bounds: Bounds | None = None) -> Any:
    """The reply of `perform`, done by a child process within `bounds`, by default those of the request.

    Raises:
        LedgerError: what `perform` raised, or the child could not be started or died.
        RefusedSegmentError: what `perform` raised, or the child died of a segment, or needed too much for it.
    """
    child = _new_child(request)
    with child:
        try:
            reply, errors, ended_for = _watch(child, request, bounds or bounds_of(request))
        except BaseException:
            child.kill()
            raise
    output = errors.decode(errors="replace").strip()
    if child.returncode == 0:
        return _value_of(pickle.loads(reply))
    if not isinstance(request, Collect) and (ended_for or is_crash(child.returncode)):
        table, name = _read_last(request, output)
        why = ended_for or f"reading it ended a process ({child.returncode})"
        raise RefusedSegmentError(why, table=table, name=name)
    raise _no_answer(request, output.rpartition("\n")[2] or f"it ended with exit code {child.returncode}")


class WithOwnChild:
    """`in_child`, with a child for `Collect` that is kept for `linger_s`: it reads nothing from others.

    It ends by itself when this process does. Calls may come from several threads.
    """

    def __init__(self, linger_s: float = LINGER_S) -> None:
        self._linger_s = linger_s
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None

    def __call__(self, request: Request) -> Any:
        """The reply of `in_child`.

        Raises:
            RefusedSegmentError, LedgerError: as `in_child`.
        """
        if not isinstance(request, Collect):
            return in_child(request)
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            reply = self._ask(request)
            self._timer = threading.Timer(self._linger_s, self._leave)
            self._timer.daemon = True
            self._timer.start()
        return _value_of(reply)

    @property
    def pid(self) -> int | None:
        """The process id of the child; None without one."""
        child = self._child
        return None if child is None else child.pid

    def _ask(self, request: Collect) -> Any:
        if self._child is not None:
            with suppress(LedgerError):  # somebody ended it meanwhile: another one does it
                return self._exchange(self._child, request)
        self._child = _new_child(request)
        return self._exchange(self._child, request)

    def _exchange(self, child: subprocess.Popen[bytes], request: Collect) -> Any:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            pickle.dump(request, child.stdin)
            child.stdin.flush()
            return pickle.load(child.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise _no_answer(request, self._end() or type(error).__name__) from error
        except BaseException:  # what it says next would be the answer to this
            self._end()
            raise

    def _leave(self) -> None:
        with self._lock:
            if self._timer is threading.current_thread():  # else it was asked again just now
                self._end()

    def _end(self) -> str:
        """End the child; the last line of its error output."""
        child, self._child = self._child, None
        if child is None:
            return ""
        child.kill()
        output = b""
        with suppress(OSError), child:  # a pipe to one that is dead
            output = b"" if child.stderr is None else child.stderr.read()
        return output.decode(errors="replace").strip().rpartition("\n")[2]


def perform(
    request: Request,
    *,
    begin: Callable[[str, str], None] = lambda table, name: None,
    least_growth_bytes: int = LEAST_GROWTH_BYTES,
) -> Any:
    """Carry the request out here: a `Batch` or None for `Collect`, the rows left out (`LeftOut`) for `TakeIn`, the bytes for `Fold`.

    `begin` gets the table and name of each segment before it is read. The ledger may grow by `least_growth_bytes`, and more
    where segments are large.

    Raises:
        LedgerError: the ledger cannot be used.
        RefusedSegmentError: a segment is none that a Data Engine writes.
    """
    import sqlite3

    from data_engine.ledger.checks import refused_rows
    from data_engine.ledger.connection import as_ledger_error, connect, transaction
    from data_engine.ledger.replication import HISTORY, Incoming, take_in, unpublished
    from data_engine.ledger.segments import fold

    if isinstance(request, Fold):
        (table,) = {table for table, _, _ in request.segments}

        def contents() -> Iterator[tuple[str, bytes]]:
            for _, name, file in request.segments:
                begin(table, name)
                yield name, file.read_bytes()

        return fold(table, contents(), lambda columns: refused_rows(table, columns, token=request.token))
    try:
        connection = connect(request.ledger, busy_timeout_s=30.0)
        try:
            if isinstance(request, Collect):
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


def answer() -> None:
    """Run as the child: write a reply to standard output for each request from standard input, until that ends.

    NumPy is kept out, which PyArrow imports where it is, and does not need here: that is half of the child's start.
    """
    sys.modules.setdefault("numpy", None)  # type: ignore[arg-type]
    with suppress(EOFError):
        while True:
            request = pickle.load(sys.stdin.buffer)
            if not isinstance(request, Collect):
                limit_memory(MOST_MEMORY_BYTES)
            try:
                # The last line tells of which segment it died.
                reply = perform(
                    request, begin=lambda table, name: print(f"{table}/{name}", file=sys.stderr, flush=True)
                )
            except (LedgerError, RefusedSegmentError) as error:
                reply = error
            pickle.dump(reply, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def _new_child(request: Request) -> subprocess.Popen[bytes]:
    """A child that waits for requests.

    Raises:
        LedgerError: it could not be started for this one.
    """
    home = import_folder()
    path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    # Arrow's own pools take far more address space than memory, and that is what can be limited.
    variables = os.environ | {"PYTHONPATH": path, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    program, environment = program_of(sys.executable, variables)  # what is bounded is what works, and no launcher
    try:
        return subprocess.Popen(
            [program, "-P", "-c", "from data_engine.ledger.parquet_process import answer; answer()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            **apart(),
        )
    except OSError as error:
        raise _no_answer(request, str(error)) from error


def _value_of(reply: Any) -> Any:
    if isinstance(reply, FlowValidationError):
        raise reply
    return reply


def _watch(child: subprocess.Popen[bytes], request: Request, bounds: Bounds | None) -> tuple[bytes, bytes, str]:
    """The child's reply and error output, and why it was ended; "" when it ended by itself."""
    payload: bytes | None = pickle.dumps(request)
    ended_for = ""
    while True:
        try:
            reply, errors = child.communicate(payload, timeout=_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            payload = None
            if bounds is not None and not ended_for and (ended_for := _too_much(child.pid, bounds)):
                child.kill()
        else:
            return reply, errors, ended_for


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


def _read_last(request: TakeIn | Fold, output: str) -> tuple[str, str]:
    """The table and name of the segment that the child had begun to read."""
    begun = {f"{table}/{name}": (table, name) for table, name, _ in request.segments}
    return next((begun[line] for line in reversed(output.splitlines()) if line in begun), request.segments[0][:2])


def _no_answer(request: Request, why: str) -> LedgerError:
    return LedgerError(
        f"the process that reads and writes the shared history has failed: {why}",
        where=type(request).__name__,
        fix="run data-engine doctor",
    )
