"""The path to write a file to, and one kind of error when that fails."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_engine.argument_checks import is_text
from data_engine.errors import FlowValidationError
from data_engine.files import resolve
from data_engine.platforms.names import why_too_long, with_home


def target_of(path: object) -> Path:
    """The file to write, absolute; its folder is made.

    Raises:
        FlowValidationError: no path of a file, a folder, a device or a pipe, or a folder that cannot be made.
        TypeError: no path.
    """
    target = local_path(path, argument="path", fix="give the file to write")
    if target.is_dir():
        raise FlowValidationError(f"{target} is a folder", where="path=", fix="name a file in it")
    if target.exists() and not target.is_file():
        raise FlowValidationError(f"{target} is not an ordinary file", where="path=", fix="name another one")
    with whole_or_nothing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


@contextmanager
def whole_or_nothing(target: Path, *also: type[Exception]) -> Iterator[None]:
    """Turn what fails in writing `target` into one kind of error; `also` are a library's own."""
    from polars.exceptions import PolarsError

    try:
        yield
    except FlowValidationError:
        raise
    except Exception as error:
        if not isinstance(error, (OSError, PolarsError, TypeError, ValueError, AttributeError, LookupError, *also)):
            raise
        raise FlowValidationError(
            f"{target.name} was not written: {error}",
            where=str(target),
            fix="the file that was there before is unchanged; see the cause above",
        ) from error


_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+:[/\\]|(md|motherduck):", re.IGNORECASE)


def local_path(value: object, *, argument: str, fix: str) -> Path:
    """The path of a file on this machine or a share, absolute; whether there is one, nobody has looked.

    Raises:
        TypeError: no path, or one of bytes.
        FlowValidationError: blank, too long or with a NUL; an address such as `s3://bucket/a.parquet`, which would become folders.
    """
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise TypeError(f"{argument} must be a path, not {type(value).__name__} {value!r}")
    text = str(os.fspath(value))
    if not text.strip() or text.startswith(":memory:") or not is_text(text):
        raise FlowValidationError(f"{text!r} names no file", where=f"{argument}=", fix=fix)
    if _ADDRESS.match(text):
        raise FlowValidationError(
            f"{text!r} is an address, not a file on this machine or a share", where=f"{argument}=", fix=fix
        )
    path = Path(with_home(text))
    try:
        path = resolve(path)
        path.exists()
    except OSError as error:
        raise FlowValidationError(
            f"{path} cannot be a file: {error.strerror}", where=f"{argument}=", fix=fix
        ) from error
    if (problem := why_too_long(str(path))) is not None:
        raise FlowValidationError(f"{path} cannot be a file: {problem[0]}", where=f"{argument}=", fix=problem[1])
    return path


@contextmanager
def asking(argument: str) -> Iterator[None]:
    """Ask something of the lazy frame given as `argument`.

    Raises:
        FlowValidationError: its query fails; what it raised is the cause.
    """
    try:
        yield
    except Exception as error:  # the query may call any Python function
        reason = str(error).strip().split("\n\n")[0]
        raise FlowValidationError(
            f"the query of the LazyFrame fails: {reason}",
            where=f"{argument}=",
            fix="collect it by itself to see where",
        ) from error
