"""Hash, copy and look at files that are not ours alone; no lock that this process has on one is lost.

On POSIX a process that closes any descriptor of a file lets go of all locks it has on it, those of DuckDB and SQLite too: another
process may then write the database that a cell has open. So a process that may run authors' code leaves files with the name of a
database to a child process, which is kept for a while. One that is only known by its first bytes is read here, and its descriptor
stays open (`let_go`).

Reference: fcntl(2), "Advisory record locking"; https://www.sqlite.org/howtocorrupt.html
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import stat
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from data_engine.platforms import copies
from data_engine.platforms.files import (
    NO_WAIT,
    OWN,
    close_kept,
    has_locks_to_lose,
    let_go,
    open_shared,
    read_at,
    read_plainly,
)

if TYPE_CHECKING:
    from data_engine.answering_process import KeptProcess, ParentProcess

CHUNK_BYTES = 1024**2
_KEEP_S = 30.0
_children: dict[int, KeptProcess] = {}
"""The child of this process; under the numbers of others, theirs: a fork must not ask the child of its parent."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


def apart(function: Callable[Concatenate[Path, _P], _T]) -> Callable[Concatenate[Path, _P], _T]:
    """The function, which the child calls where its first argument has the name of a database. What it takes and gives is JSON, or bytes.

    Raises:
        OSError: what it raises, or the child gave no answer.

    Example:
        >>> apart(copies.head_of)(Path(__file__), 3)
        b'\"\"\"'
    """

    @wraps(function)
    def call(path: Path, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        if not has_locks_to_lose(path):
            return function(path, *args, **kwargs)
        answer: _T = _ask(f"{function.__module__}:{function.__qualname__}", [path, *args], kwargs)
        return answer

    return call


@apart
def sha256_of(path: Path, size_bytes: int | None = None, identity: tuple[int, int] | None = None) -> str:
    """The SHA-256, in hex, of the file or of its first bytes; with an `identity` (device, inode) of that plain file and no other.

    Raises:
        OSError: it cannot be read, or is another one.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.db"
        >>> path.write_bytes(b"abc"), sha256_of(path)[:8], sha256_of(path, 0) == hashlib.sha256().hexdigest()
        (3, 'ba7816bf', True)
    """
    descriptor = open_shared(path, os.O_RDONLY | OWN | NO_WAIT)
    try:
        if identity is not None:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode) or [*identity] != [facts.st_dev, facts.st_ino]:
                raise OSError(errno.EINVAL, "another file is in its place", str(path))
        return digest_of(descriptor, size_bytes)
    finally:
        let_go(descriptor, path)


def digest_of(descriptor: int, size_bytes: int | None = None) -> str:
    """The same for a descriptor of a file."""
    digest, offset, left = hashlib.sha256(), 0, CHUNK_BYTES if size_bytes is None else size_bytes
    while data := read_at(descriptor, min(CHUNK_BYTES, left), offset):
        digest.update(data)
        offset += len(data)
        left -= 0 if size_bytes is None else len(data)
    return digest.hexdigest()


copy, clone, head_of = apart(copies.copy), apart(copies.clone), apart(copies.head_of)
_locked_by = apart(copies.locked_by)


def writer_of(path: Path) -> str | None:
    """The program that holds the file open for writing, in words; None when none does, as far as the system tells."""
    return f"this process ({os.getpid()})" if copies.is_written_here(path) else _locked_by(path)


def end_reading() -> None:
    """End the child and close what stayed open, for when no author's code runs any more; what such code left open keeps its locks."""
    if (child := _children.get(os.getpid())) is not None:
        child.close()
    close_kept()


def answer(asker: ParentProcess) -> None:
    """Do, as the child, what this process is asked for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    read_plainly()
    while True:
        where, args, kwargs = json.loads(
            asker.receive(), object_hook=lambda fields: Path(fields["/"]) if "/" in fields else fields
        )
        module, _, name = where.partition(":")
        try:
            result = getattr(import_module(module), name)(*args, **kwargs)
            message = b"b" + result if isinstance(result, bytes) else b"j" + json.dumps(result).encode()
        except OSError as error:
            message = b"e" + json.dumps([error.errno, error.strerror, error.filename], default=str).encode()
        asker.send(message)


def _ask(where: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    from data_engine.answering_process import AnsweringProcess, KeptProcess, NoAnswer

    question = json.dumps([where, args, kwargs], default=lambda path: {"/": str(path.absolute())})
    new = KeptProcess(lambda: AnsweringProcess(f"{__name__}:answer"), _KEEP_S)
    try:
        with _children.setdefault(os.getpid(), new).use() as child:
            message = child.ask(question.encode())
    except NoAnswer as error:
        raise OSError(errno.EIO, f"the process that was to read it gave no answer: {error}", str(args[0])) from None
    if message[:1] == b"b":
        return message[1:]
    content = json.loads(message[1:])
    if message[:1] == b"e":
        raise OSError(*content)
    return content
