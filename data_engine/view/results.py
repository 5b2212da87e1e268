"""The cards of what a cell computed: contexts, batches, and values in a few letters."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from data_engine.flow.batch import Batch, FileRef, ItemError
from data_engine.flow.context import FlowContext
from data_engine.formatting import ShortRepr, beginning, plural
from data_engine.marks import Mark, mark_of
from data_engine.secret import masked
from data_engine.status.sentences import (
    first_line,
)
from data_engine.view.card import (
    MOST_ROWS,
    Card,
    Cell,
    Code,
    Column,
    Faint,
    file_cell,
    table,
)
from data_engine.view.runs import log_mark


def contexts_card(contexts: Sequence[FlowContext]) -> Card:
    """What `run_once()` returned: for each source its outcome, its last result, and what it saved and wrote."""
    rows = [_context_row(context) for context in contexts[:MOST_ROWS]]
    columns = ("Status", "Source", "Current", "Objects", "Wrote", "Log", "Error")
    failed = sum(context.error is not None for context in contexts)
    facts = (f"{failed} failed",) if failed else ()
    names = dict.fromkeys(context.flow_name for context in contexts)
    title = f"{', '.join(names)}: {plural(len(contexts), 'run')}"
    return Card(title, facts, (table(columns, rows, total=len(contexts)),))


def context_card(context: FlowContext) -> Card:
    """The card of one context."""
    return contexts_card([context])


def _context_row(context: FlowContext) -> tuple[Cell, ...]:
    from data_engine.flow.steps import outputs_of

    status = "success" if context.error is None else "failed" if isinstance(context.error, ValueError) else "stopped"
    source = context.source
    wrote = [path for value in (context.metadata.get("step_outputs") or {}).values() for path in outputs_of(value)]
    more = f" and {len(wrote) - 1} more" if len(wrote) > 1 else ""
    return (
        mark_of(status),
        file_cell(None if source is None else str(source.path or source.root)),
        _item(context.current) if context.error is None else "",
        Code(", ".join(context.objects)),
        Code(f"{Path(wrote[0]).name}{more}", "\n".join(wrote[:MOST_ROWS])) if wrote else "",
        log_mark(context.warnings, "; ".join(check.words for check in context.control.checked if check.rejected)),
        "" if context.error is None else first_line(str(context.error)),
    )


def batch_card(batch: Batch[Any]) -> Card:
    """The first items of a batch; an item that failed with its error."""
    failed = sum(isinstance(item, ItemError) for item in batch)
    rows: list[tuple[Cell, ...]] = []
    for number, item in enumerate(batch.items[:MOST_ROWS], start=1):
        if isinstance(item, ItemError):
            error = f"{type(item.error).__name__}: {first_line(str(item.error))}"
            rows.append((Faint(str(number)), _item(item.item), "", Mark(error, "bad", "cross")))
        elif isinstance(item, (FileRef, Path)):
            rows.append((Faint(str(number)), _item(item), Faint(str(item.parent)), ""))
        else:
            rows.append((Faint(str(number)), _item(item), "", ""))
    facts = (Mark(f"{failed} failed", "bad", "cross"),) if failed else ()
    shown = table((Column("#", "number"), "Item", "Folder", "Error"), rows, total=len(batch))
    return Card(f"Batch of {plural(len(batch), 'item')}", facts, (shown,) if rows else ())


def _item(item: object) -> Cell:
    return file_cell(str(item)) if isinstance(item, (FileRef, Path)) else Code(short_text(item))


_LIBRARIES = frozenset({"polars", "duckdb", "pyarrow", "pandas", "numpy", "_duckdb"})


"""The text of their values is long, or even runs a query: they are described by type and shape."""


class _Short(ShortRepr):
    def repr_instance(self, x: Any, level: int) -> str:
        return _of_object(x)

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x) if len(x) <= self.maxstring else f"{type(x).__name__} of {len(x):,}"

    repr_bytearray = repr_bytes


_ENOUGH = 1_000


"""Characters of a text that are looked at: no more can be among the 80."""


_short = _Short()


_short.maxstring = _short.maxother = 60


def short_text(value: Any) -> str:
    """`value` in at most 80 letters; never raises, whatever the value's own `repr` does.

    Example:
        >>> short_text([1, 2]), short_text(list(range(1000))), short_text(Batch((1, 2, 3)))
        ('[1, 2]', '[0, 1, 2, 3, 4, 5, ...]', 'Batch of 3')
    """
    try:
        text = _of_object(value) if isinstance(value, (Batch, PathLike)) else _short.repr(value)
    except Exception:  # a class that is called list and is none
        text = _of_object(value)
    return beginning(" ".join(masked(text)[:_ENOUGH].split()), 80)


def _of_object(value: Any) -> str:
    kind = type(value)
    name = kind.__qualname__
    try:
        if kind.__module__.partition(".")[0] in _LIBRARIES:
            return _of_library(name, value)
        if isinstance(value, Batch):
            return f"Batch of {len(value):,}"
        if isinstance(value, PathLike):
            return str(fspath(value))
        return repr(value)
    except Exception:  # a broken repr is the value's, not ours
        return f"<{name}>"


def _of_library(name: str, value: Any) -> str:
    shape = getattr(value, "shape", None) if name not in ("LazyFrame", "DuckDBPyRelation") else None
    if isinstance(shape, tuple) and len(shape) == 2:
        return f"{name}, {plural(shape[0], 'row')} × {plural(shape[1], 'column')}"
    if isinstance(shape, tuple) and len(shape) == 1:
        return f"{name}, {plural(shape[0], 'value')}"
    is_told = name in ("LazyFrame", "DuckDBPyRelation") or (isinstance(shape, tuple) and len(shape) > 0)
    return name if is_told else repr(value)
