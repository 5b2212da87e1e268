"""Work on a ledger's file that needs PyArrow, done by a short-lived child: a daemon that imported it would be twice as large.

In the daemon PyArrow costs 38 MB for as long as it lives, and a first refresh of 100,000 runs would hold its other
threads up for a second; a child costs 0.1 s each time. Request and reply are pickled over its pipes.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import data_engine
from data_engine.errors import LedgerError

_CACHE_KIB = 64 * 1024


class Collect(NamedTuple):
    """Read what was not published yet."""

    ledger: Path
    token: int
    root: Path
    limit: int


class TakeIn(NamedTuple):
    """Put the rows of segments, whose bytes wait in files, in place; `(table, name, file)` each."""

    ledger: Path
    root: Path
    segments: Sequence[tuple[str, str, Path]]


class Fold(NamedTuple):
    """Make one segment of those whose bytes wait in `files`."""

    table: str
    files: Sequence[Path]


Request = Collect | TakeIn | Fold


def in_child(request: Request) -> Any:
    """What `perform` gives, done by a child process.

    Raises:
        LedgerError: what `perform` raised, or the child could not be started or died.
    """
    home = os.path.dirname(os.path.dirname(data_engine.__file__))
    path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", "from data_engine.ledger.aside import answer; answer()"],
            input=pickle.dumps(request),
            capture_output=True,
            check=False,
            env=os.environ | {"PYTHONPATH": path},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise _no_answer(request, str(error)) from error
    if child.returncode != 0:
        said = child.stderr.decode(errors="replace").strip()
        raise _no_answer(request, said.rpartition("\n")[2] or f"it left with {child.returncode}")
    reply = pickle.loads(child.stdout)
    if isinstance(reply, LedgerError):
        raise reply
    return reply


def perform(request: Request) -> Any:
    """Do it here: a `Batch` or None for `Collect`, None for `TakeIn`, the bytes for `Fold`.

    Raises:
        LedgerError: the ledger cannot be used, or a segment is damaged.
    """
    import sqlite3

    from data_engine.ledger.connection import as_ledger_error, connect, transaction
    from data_engine.ledger.exchange import HISTORY, Incoming, take_in, unpublished
    from data_engine.ledger.segments import fold

    if isinstance(request, Fold):
        return fold(request.table, [file.read_bytes() for file in request.files])
    try:
        connection = connect(request.ledger, busy_timeout_s=30.0)
        try:
            if isinstance(request, Collect):
                # One read transaction, so that all tables are as of one revision.
                connection.execute("BEGIN")
                return unpublished(connection, request.token, request.root, limit=request.limit)
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            segments = [Incoming(*segment) for segment in request.segments]
            with transaction(connection):
                take_in(connection, [segment for segment in segments if segment.table not in HISTORY], request.root)
            for segment in segments:
                if segment.table in HISTORY:
                    with transaction(connection):
                        take_in(connection, [segment], request.root)
            return None
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise as_ledger_error(error, request.ledger) from error


def answer() -> None:
    """What the child does: one request from its standard input, one reply to its standard output."""
    request = pickle.load(sys.stdin.buffer)
    try:
        reply = perform(request)
    except LedgerError as error:
        reply = error
    pickle.dump(reply, sys.stdout.buffer)


def _no_answer(request: Request, why: str) -> LedgerError:
    return LedgerError(
        f"the process that reads and writes the shared history has failed: {why}",
        where=type(request).__name__,
        mend="run data-engine doctor",
    )
