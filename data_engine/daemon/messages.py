"""The messages between the daemon and its workers over a private socket: JSON, never pickles.

    frame   = size content            size: 4 bytes, big-endian; content: that many bytes of JSON, an object
    daemon  = hello | job | stop | leave | end_pass | work_until | bye
    worker  = ready | describing | loaded | texts | secret | done | idle

Each object has its kind under "kind". What happens in runs is not sent: the worker keeps it in its journal
(`ledger.journal`), where the daemon looks before it takes a frame or a written text, and now and then. So a fast run wakes
nobody, and what a worker that dies has reported is there all the same. After `texts` the worker waits for a byte on a socket of
its own: what it has written so far was taken, and it may report its step's end. Likewise after `secret`, the value of one
that a step asked for: from then on the daemon hides it in what the worker, and what it started, write to their streams.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data_engine.engine.candidates import Source
from data_engine.errors import FlowValidationError
from data_engine.formatting import beginning
from data_engine.ledger.journal import seen_of
from data_engine.model import RunAbout, SourceKey
from data_engine.scheduler.executor import Job, SourceRun

LOAD_TIMEOUT_S = 120.0
"""How long a module may take to be imported, unless a pool has another limit."""
DESCRIBE_TIMEOUT_S = 30.0
"""The same for each module when all are described: the others wait for it when the daemon starts."""
MAX_FRAME_BYTES = 256 * 1024 * 1024
IMPORT_FIX = "move what takes long or ends the process out of the module's top level, into a step"
_SIZE_BYTES = 4

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """The frame of a message.

    Raises:
        FlowValidationError: it is not JSON, or too large.

    Example:
        >>> encode({"kind": "bye"})
        b'\\x00\\x00\\x00\\x0e{"kind":"bye"}'
    """
    try:
        content = _to_json(message).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise FlowValidationError(
            f"a message of kind {message.get('kind')!r} cannot be sent: {error}",
            where="between the daemon and a worker",
            fix="give params of texts, numbers, lists and dicts only",
        ) from error
    if len(content) > MAX_FRAME_BYTES:
        raise _refused(f"a message of kind {message.get('kind')!r} has {len(content):,} bytes")
    return len(content).to_bytes(_SIZE_BYTES, "big") + content


class Frames:
    """Takes bytes as they come and gives whole messages.

    Example:
        >>> frames = Frames()
        >>> frame = encode({"kind": "bye"})
        >>> list(frames.feed(frame[:7])), list(frames.feed(frame[7:] + frame))
        ([], [{'kind': 'bye'}, {'kind': 'bye'}])
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole with `data`.

        Raises:
            FlowValidationError: what came is no frame of ours; nothing after it can be understood.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _SIZE_BYTES:
            content = start + _SIZE_BYTES
            size = int.from_bytes(buffer[start:content], "big")
            if size > MAX_FRAME_BYTES:
                raise _refused(f"a frame says it has {size:,} bytes")
            if len(buffer) - content < size:
                break
            start = content + size
            yield _message(buffer[content:start])
        del buffer[:start]


def pack_job(job: Job) -> Message:
    """A job as JSON can hold it."""
    runs = [(_text(source.root), _text(source.path), source.key, *rest) for source, *rest in job.runs]
    return {"kind": "job", "job": vars(job) | {"runs": runs}}


def unpack_job(message: Message, here: Callable[[str], str] = str) -> Job:
    """The job that was packed; `here` gives the place of a path on this machine.

    Raises:
        FlowValidationError: it is none.
    """
    try:
        fields = dict(message["job"])
        runs = tuple(_run(here, *packed) for packed in fields.pop("runs"))
        return Job(**fields, runs=runs)
    except (TypeError, ValueError, KeyError) as error:
        raise _refused(f"{beginning(str(message), 200)} is not a job") from error


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _run(here: Callable[[str], str], root: Any, path: Any, key: Any, run_id: Any, seen: Any, about: Any) -> SourceRun:
    source = Source(
        None if root is None else Path(here(root)),
        None if path is None else Path(here(path)),
        None if key is None else SourceKey(*key),
    )
    return SourceRun(
        source, run_id, None if seen is None else seen_of(seen), None if about is None else RunAbout(*about)
    )


_to_json = json.JSONEncoder(separators=(",", ":")).encode


def _message(content: bytearray) -> Message:
    try:
        message = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise _refused(f"a frame holds no JSON ({error})") from error
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise _refused("a frame holds no message")
    return message


def _refused(what: str) -> FlowValidationError:
    return FlowValidationError(
        what,
        where="between the daemon and a worker",
        fix="stop the daemon with `data-engine kill` and start it again; if it comes back, both sides differ in version",
    )
