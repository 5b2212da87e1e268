"""A lazy query that fails, as one kind of error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from data_engine.errors import FlowValidationError


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
