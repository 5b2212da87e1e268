"""Where a file is to be written, and one kind of error when it is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_engine.errors import FlowValidationError


def target_of(path: object) -> Path:
    """The file to write, absolute; its folder is made.

    Raises:
        FlowValidationError: blank, a folder, a device or a pipe, or a folder that cannot be made.
        TypeError: no path.
    """
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise TypeError(f"path must be a path, not {path!r}")
    text = os.fspath(path)
    if not str(text).strip() or "\0" in str(text):
        raise FlowValidationError(f"{text!r} names no file", where="path=", mend="give the file to write")
    target = Path(text).expanduser().resolve()
    if target.is_dir():
        raise FlowValidationError(f"{target} is a folder", where="path=", mend="name a file in it")
    if target.exists() and not target.is_file():
        raise FlowValidationError(f"{target} is no ordinary file", where="path=", mend="name another one")
    with whole_or_nothing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


@contextmanager
def whole_or_nothing(target: Path, *also: type[Exception]) -> Iterator[None]:
    """Say what failed about writing `target`, in one kind of error; `also` are a library's own."""
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
            mend="what was there before is still there; see the cause above",
        ) from error
