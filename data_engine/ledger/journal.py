"""The journal of a worker: a file that keeps its events until the ledger has them.

A worker appends each event before it goes on, so that a run's start is kept before its first step and its end before the
next run, whoever is killed then; no answer is waited for. The daemon reads what is new now and then and records it, many
runs in one commit. When a job has ended and all of it is recorded the daemon empties the file. Of a daemon that died
`Ledger.recover` reads the journals before it calls any of its runs abandoned.

    journal = line*
    line    = JSON list: name of the event's class, then its fields in order; "\\n"

Of a log that is longer than what is kept of its beginning (`logs`) the last lines stand in a second file, written over and
over and never larger than `SIZE_BYTES`. Of a run that ends by itself the worker puts its last lines into its journal; of one
whose process died they are read from there.

    last lines = record*, each in the place of the oldest ones
    record     = number of 12 digits, counted from the first line that was held, " ", the line as in a journal

What was written is kept through the end of any process, as SQLite's log with `synchronous = NORMAL` is; after a power cut the
end of either may be missing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_engine import private
from data_engine.cause import Cause
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.files import is_full, trouble_of
from data_engine.formatting import beginning, both_ends
from data_engine.ledger.logs import LAST_BYTES, LAST_LINES, clipped, end_of_log, size_of
from data_engine.ledger.rows import file_facts, staged_files_of, storable
from data_engine.ledger.writer import write_events
from data_engine.model import (
    Event,
    FeedCount,
    FeedSchema,
    Frame,
    FrameChange,
    LogLine,
    PublishStarted,
    Reference,
    ReportFacts,
    RuleCount,
    RunAbout,
    RunFinished,
    RunSpent,
    RunStarted,
    SeenSource,
    Signature,
    SourceKey,
    StepFinished,
    StepProgress,
    StepStarted,
    utc_text,
)
from data_engine.nofollow import opened, remove_tree
from data_engine.platforms.files import read_at, write_at

MAX_ERROR = 100_000
_READ_BYTES = 1024 * 1024
_TRY_AGAIN_S = 0.1
_SUFFIX = ".events"

SIZE_BYTES = 1024 * 1024
_DIGITS = 12


class JournalWriter:
    """Appends the events of a worker to its journal. The file is there already; only this writes to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = private.open_file(path, os.O_WRONLY | os.O_APPEND)
        self._identity = _identity(self._file)

    def begin(self, event: RunStarted) -> None:
        """Keep the start of a run.

        Raises:
            LedgerError: it cannot be kept now; nothing of it is.
        """
        size_bytes = self._size_bytes()
        line = event_line(event)
        try:
            if os.write(self._file, line) == len(line):
                return
            trouble = "the disk is full"
        except OSError as error:
            trouble = trouble_of(error)
        os.ftruncate(self._file, size_bytes)
        raise LedgerError(
            f"the start of a run cannot be kept: {trouble}", where=str(self._path), fix="free some space on that drive"
        )

    def append(self, *events: Event) -> None:
        """Keep events of a run, in this order; waits while there is no room, because they have happened.

        Raises:
            OSError: the file was closed under us.
        """
        self._size_bytes()
        lines = b"".join(map(event_line, events))
        while lines:
            try:
                lines = lines[os.write(self._file, lines) :]
            except OSError as error:
                if not is_full(error):
                    raise
                time.sleep(_TRY_AGAIN_S)

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            os.close(self._file)

    def _size_bytes(self) -> int:
        # Code that closes all files may open one of its own under our number.
        facts = os.fstat(self._file)
        if (facts.st_dev, facts.st_ino) != self._identity:
            raise OSError("the journal was closed")
        return facts.st_size


class JournalReader:
    """Makes a journal for the daemon, and reads the new events in it.

    `damage` is the error of a line that is no event of ours; nothing after it can be understood.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = private.open_file(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self._offset = 0
        self.damage: FlowValidationError | None = None

    def read(self) -> list[Event]:
        """The events since the last reading, up to a damaged line."""
        events: list[Event] = []
        size = _READ_BYTES
        while self.damage is None and (data := read_at(self._file, size, self._offset)):
            end = data.rfind(b"\n") + 1
            self._offset += end
            if end:
                try:
                    events += events_in(data[:end])
                except FlowValidationError as error:
                    self.damage = error
                    events += _up_to_damage(data[:end])
            if len(data) < size:
                break
            if not end:
                size *= 2
        return events

    def clear(self) -> None:
        """Empty the file between two jobs of its worker: all that was read is recorded."""
        if self._offset:
            with suppress(OSError):  # it is emptied another time
                os.ftruncate(self._file, 0)
                self._offset = 0

    def close(self, *, keep: bool = False) -> None:
        """Close the file, and remove it unless `keep`: something in it is not recorded yet."""
        os.close(self._file)
        if not keep:
            remove_tree(self.path.parent.parent, self.path)


class LastLinesWriter:
    """Keeps the last log lines of a worker. Makes no file before the first line; on a full disk no line is kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._identity = (0, 0)
        self._offset = self._number = 0

    def put(self, line: LogLine) -> None:
        """Keep a line, in the place of older ones. One thread at a time."""
        self._number += 1
        record = b"%0*d %b" % (_DIGITS, self._number, event_line(line))
        if self._offset + len(record) > SIZE_BYTES:
            self._offset = 0
        with suppress(OSError):
            if not self._is_ours():
                self._file = private.open_file(self._path, os.O_RDWR | os.O_CREAT)
                self._identity = _identity(self._file)
            write_at(self._file, record, self._offset)
        self._offset += len(record)

    def clear(self) -> None:
        """Forget the lines: another run begins."""
        if self._number:
            with suppress(OSError):
                if self._is_ours():
                    os.ftruncate(self._file, 0)
            self._offset = self._number = 0

    def close(self) -> None:
        """Close the file."""
        if self._is_ours():
            os.close(self._file)
        self._file = -1

    def _is_ours(self) -> bool:
        # Code that closes all files may open one of its own under our number.
        try:
            return self._file >= 0 and _identity(self._file) == self._identity
        except OSError:
            return False


def journal_path(folder: Path, runner_id: str, name: str) -> Path:
    """The path of the journal of a worker of this runner."""
    return folder / f"{runner_id}.{name}{_SUFFIX}"


def journals_of(folder: Path, runner_id: str) -> list[Path]:
    """The existing journals of the runner's workers."""
    try:
        with opened(folder.parent, folder) as place:
            names = [name for name, kind in place.entries() if kind == "file"]
    except OSError:
        return []
    return [folder / name for name in names if name.startswith(f"{runner_id}.") and name.endswith(_SUFFIX)]


def recorded_later(path: Path) -> list[Event]:
    """The events in a journal, without an unfinished last line, and without what follows a damaged line."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    return _up_to_damage(data[: data.rfind(b"\n") + 1])


def last_lines_path(journal: Path) -> Path:
    """The path of the last lines of a journal's worker."""
    return journal.with_suffix(".last")


def read_last_lines(path: Path, run_id: str) -> list[LogLine]:
    """The last lines of the run's log, after a line that says how many are left out; nothing without a file."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    by_number: dict[int, LogLine] = {}
    for record in data.split(b"\n"):  # the first and the last may be what is left of older ones
        digits, _, rest = record.partition(b" ")
        if len(digits) == _DIGITS and digits.isdigit():
            with suppress(FlowValidationError):
                by_number |= {int(digits): event for event in events_in(rest + b"\n") if isinstance(event, LogLine)}
    newest = max((number for number, line in by_number.items() if line.run_id == run_id), default=0)
    lines: list[LogLine] = []
    size_bytes = 0
    for number in range(newest, 0, -1):
        line = by_number.get(number)
        if line is None or line.run_id != run_id or len(lines) == LAST_LINES or size_bytes > LAST_BYTES:
            break
        lines.append(line)
        size_bytes += size_of(line.message)
    return end_of_log(newest - len(lines), lines[::-1])


def replay(connection: sqlite3.Connection, events: Iterable[Event], *, runner_id: str, rev: int) -> None:
    """Write the events that the ledger lacks, inside a transaction of the caller; runs that have ended stay as they are.

    Raises:
        sqlite3.Error: the rows cannot be written.
    """
    unrecorded: list[Event] = []
    ended: dict[str, bool] = {}
    lines: dict[str, set[tuple[str, str]]] = {}
    for event in map(storable, events):
        run_id = event.run_id
        if run_id not in ended:
            row = connection.execute("SELECT status FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            ended[run_id] = row is not None and row[0] != "started"
            rows = connection.execute("SELECT created_at_utc, message FROM logs WHERE run_id = ?", (run_id,))
            lines[run_id] = set(rows.fetchall())
        is_known = type(event) is LogLine and (utc_text(event.at_s), event.message) in lines[run_id]
        if not ended[run_id] and not is_known and type(event) is not StepProgress:
            unrecorded.append(event)
    write_events(connection, unrecorded, runner_id=runner_id, rev=rev)


def event_line(event: Event) -> bytes:
    """An event as a line; of very long texts both ends are kept.

    Example:
        >>> event_line(StepStarted("3f", 0, "Read", 1.5))
        b'["StepStarted","3f",0,"Read",1.5]\\n'
    """
    if isinstance(event, StepStarted):  # those of steps are most of all; `dumps` makes an encoder for each
        return (
            f'["StepStarted",{_text(event.run_id)},{event.step_index},{_text(event.label)},{event.at_s!r}]\n'.encode()
        )
    if isinstance(event, LogLine):
        event = clipped(event)
    elif isinstance(event, (StepFinished, RunFinished)) and event.error is not None and len(event.error) > MAX_ERROR:
        event = event._replace(error=both_ends(event.error, MAX_ERROR))
    return _to_json([type(event).__name__, *event]).encode() + b"\n"


def events_in(lines: bytes) -> list[Event]:
    """The events of whole lines.

    Raises:
        FlowValidationError: one is no event of ours.

    Example:
        >>> events_in(event_line(StepStarted("3f", 0, "Read", 1.5)))
        [StepStarted(run_id='3f', step_index=0, label='Read', at_s=1.5)]
    """
    try:
        packed = json.loads(b"[%b]" % lines[:-1].replace(b"\n", b","))
    except (ValueError, RecursionError) as error:
        raise _refused(f"{beginning(repr(lines), 200)} is no event") from error
    return [_event(entry) for entry in packed]


def _up_to_damage(lines: bytes) -> list[Event]:
    events: list[Event] = []
    with suppress(FlowValidationError):
        for line in lines.split(b"\n")[:-1]:
            events += events_in(line + b"\n")
    return events


def seen_of(packed: Any) -> tuple[SeenSource, ...]:
    """The sources as a run saw them, from JSON's lists."""
    return tuple(SeenSource(SourceKey(*key), Signature(*signature)) for key, signature in packed)


def _packed(value: Any) -> Any:
    if isinstance(value, FrameChange):
        return value.as_dict()
    return [value.kind, dict(value.data)] if isinstance(value, Cause) else json.JSONEncoder().default(value)


_text = json.encoder.encode_basestring_ascii
_to_json = json.JSONEncoder(separators=(",", ":"), default=_packed).encode
_EVENTS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (RunStarted, StepStarted, StepProgress, StepFinished, LogLine, PublishStarted, RunFinished)
}


def _event(packed: Any) -> Event:
    try:
        name, *fields = packed
        kind = _EVENTS[name]
        if kind is StepFinished:
            fields[7] = tuple(fields[7])
        elif kind is PublishStarted:
            fields[2:4] = staged_files_of(fields[2]), fields[3] and tuple(fields[3])
        elif kind is RunFinished:
            fields[5:7] = fields[5] and Cause(*fields[5]), seen_of(fields[6])
            fields[7:] = [part and _spent(*part) for part in fields[7:]]
        elif kind is RunStarted:
            fields[5:7] = fields[5] and SourceKey(*fields[5]), seen_of(fields[6])
            fields[7:] = [part and RunAbout(*part) for part in fields[7:]]
        event: Event = kind(*fields)
    except (TypeError, ValueError, LookupError) as error:
        raise _refused(f"{beginning(str(packed), 200)} is no event") from error
    return event


def _spent(inputs: Any, more_inputs: int, outputs: Any, more_outputs: int, *more: Any) -> RunSpent:
    files = (tuple(file_facts(*row) for row in rows) for rows in (inputs, outputs))
    peak, cpu_s, checks, rejected, feed, schema, references, reports = more
    return RunSpent(
        next(files),
        more_inputs,
        next(files),
        more_outputs,
        peak,
        cpu_s,
        tuple(RuleCount(*row) for row in checks),
        rejected,
        feed and FeedCount(dict(feed[0])),
        schema and _schema(*schema),
        tuple(Reference(*row) for row in references),
        tuple(ReportFacts(*row) for row in reports),
    )


def _schema(digest: str, frames: Any, drift: Any) -> FeedSchema:
    columns = (Frame(name, code, tuple(map(tuple, columns))) for name, code, columns in frames or ())
    return FeedSchema(digest, None if frames is None else tuple(columns), tuple(map(FrameChange.read, drift)))


def _refused(what: str) -> FlowValidationError:
    return FlowValidationError(
        what,
        where="in the journal of a worker",
        fix="stop the daemon with `data-engine kill` and start it again; if it comes back, both sides differ in version",
    )


def _identity(descriptor: int) -> tuple[int, int]:
    facts = os.fstat(descriptor)
    return facts.st_dev, facts.st_ino
