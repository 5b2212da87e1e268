"""Which workbook a step reads just now: what its reader logs says neither the file nor the sheet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_place: ContextVar[str | None] = ContextVar("being_read", default=None)


@contextmanager
def reading(place: str | None) -> Iterator[None]:
    """Inside, `place` is being read."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def being_read() -> str | None:
    """What is being read here now, in words; None where that is not known.

    Example:
        >>> with reading('a.xlsx, sheet "Sales"'):
        ...     being_read()
        'a.xlsx, sheet "Sales"'
        >>> being_read()
    """
    return _place.get()
