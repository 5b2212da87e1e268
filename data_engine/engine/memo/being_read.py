"""Which workbook a step reads just now: what its reader logs says neither the file nor the sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_place: ContextVar[Callable[[], str | None] | None] = ContextVar("being_read", default=None)


@contextmanager
def reading(place: Callable[[], str | None]) -> Iterator[None]:
    """Inside, `place()` is being read: it is asked for only where a reader logs something."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def being_read() -> str | None:
    """What is being read here now, in words; None where that is not known.

    Example:
        >>> with reading(lambda: 'a.xlsx, sheet "Sales"'):
        ...     being_read()
        'a.xlsx, sheet "Sales"'
        >>> being_read()
    """
    place = _place.get()
    return None if place is None else place()
