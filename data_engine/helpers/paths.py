"""Paths that people give, checked once for all helpers."""

from __future__ import annotations

import os
import re
from pathlib import Path

from data_engine.argument_checks import is_text
from data_engine.errors import FlowValidationError
from data_engine.files import resolve
from data_engine.platforms.names import why_too_long, with_home

_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+:[/\\]|(md|motherduck):", re.IGNORECASE)


def local_path(given: object, *, argument: str, fix: str) -> Path:
    """The path of a file on this machine or a share, absolute; whether there is one, nobody has looked.

    Raises:
        TypeError: no path, or one of bytes.
        FlowValidationError: blank, too long or with a NUL; an address such as `s3://bucket/a.parquet`, which would become folders.
    """
    if not isinstance(given, (str, os.PathLike)) or not isinstance(os.fspath(given), str):
        raise TypeError(f"{argument} must be a path, not {type(given).__name__} {given!r}")
    text = str(os.fspath(given))
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
    if (wrong := why_too_long(str(path))) is not None:
        raise FlowValidationError(f"{path} cannot be a file: {wrong[0]}", where=f"{argument}=", fix=wrong[1])
    return path
