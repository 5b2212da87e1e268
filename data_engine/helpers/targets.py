"""Where a file is to be written, and one kind of error when it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_engine.errors import FlowValidationError
from data_engine.helpers.paths import local_path


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
            fix="the file that was there before is unchanged; see the cause above",
        ) from error
