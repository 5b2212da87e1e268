"""The card of an error."""

from __future__ import annotations

from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.view.card import (
    Card,
    Cell,
    Code,
    Faint,
    Lines,
    Link,
    Pairs,
    Part,
)


def error_card(error: FlowValidationError, href: str | None = None) -> Card:
    """What is wrong, where and the fix; `href` leads to its cell."""
    parts: list[Part] = [Pairs(error_places(error, href))]
    if error.trace:
        parts.append(Lines(error.trace, "how it got there"))
    return Card(error.what, (Faint(type(error).__name__),), tuple(parts), tone="bad")


def error_places(error: FlowValidationError, href: str | None = None) -> tuple[tuple[str, Cell], ...]:
    """Where an error is and how to fix it, as pairs; `href` leads to its cell."""
    where: Cell = Code(error.where or "")
    line: Cell = ""
    if isinstance(error, FlowExecutionError) and error.cell:
        where = Link(error.cell, href) if href else Code(error.cell)
        line = Code((error.source_line or "").strip())
    return (("where", where), ("line", line), ("fix", error.fix or ""))
