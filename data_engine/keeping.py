"""What a run gives the helpers that write tables: where its rows are kept until it has succeeded, and whose they are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.files import resolve

Order = tuple[int, ...]

OUR_SCHEMA = "_data_engine"
"""The schema of Data Engine's own records in a DuckDB database; no listing and no comparison sees it."""


class RunOfRows(NamedTuple):
    """The run that gives rows for tables, and the flow and source it is for."""

    run_id: str
    flow: str
    source: str


@dataclass(eq=False)
class Keeping:
    """The rows that one run gives for the databases below the folder `databases`: kept in `folder`, or, without one, written at once.

    `begin` is called before the first is kept, `cell` names the author's line that runs now, `opens` is told each database that is about to
    be read or (True) written, and what is done inside `unseen` is no access of the author's. `order` is the place of an item's calls
    among those of its run, `before` what the run had kept when the item began. `tables` is the helpers' own, set by the first call; `numbers` are drawn by calls
    and maps.
    """

    databases: Path
    run: RunOfRows
    folder: Path | None = None
    begin: Callable[[], None] = lambda: None
    cell: Callable[[], str] = str
    opens: Callable[[Path, bool], None] = lambda path, to_write: None
    unseen: Callable[[], AbstractContextManager[None]] = nullcontext
    order: Order = ()
    before: tuple[Any, ...] = ()
    tables: Any = None
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    written: dict[tuple[Path, str], None] = field(default_factory=dict)
    """The databases and tables that were written at once."""
    used: set[tuple[str, int]] = field(default_factory=set)
    """The tables that queries of the author's own have changed ("": a query that reads), and their connections: looked at once."""

    @cached_property
    def root(self) -> Path:
        """The folder of the databases, its links followed."""
        return resolve(self.databases)

    def wrote(self, *, is_good: bool) -> dict[str, tuple[str, ...]]:
        """The tables that the run has written, by the path of their database: at once, and, when it `is_good`, by what was kept."""
        kept = (
            [(call.path, call.new.table) for call in self.tables.calls] if is_good and self.tables is not None else []
        )
        tables: dict[str, list[str]] = {}
        for path, table in dict.fromkeys([*self.written, *kept]):
            tables.setdefault(str(path), []).append(table)
        return {path: tuple(names) for path, names in tables.items()}

    def next_order(self) -> Order:
        """The order of a call or a map that begins now: after all so far."""
        return *self.order, *item_order.get(), next(self.numbers)


keeping: ContextVar[Keeping | None] = ContextVar("keeping", default=None)
"""The rows of the run of this context; threads of a map inherit it."""

read_from: ContextVar[Callable[[Path], Path] | None] = ContextVar("read_from", default=None)
"""What gives the file to read in place of a database in a preview: a copy of it; None elsewhere."""

in_cells: list[Callable[[Path], Path]] = []
"""The same for the cells of this kernel, outside of previews and runs; empty in any other process."""

_live: set[Path] = set()


def is_looking() -> bool:
    """Whether this context is a preview, or a cell outside of runs."""
    return keeping.get() is None and (read_from.get() is not None or bool(in_cells))


def file_to_read(database: Path) -> Path:
    """The file that a helper reads for a database: in previews and cells perhaps a copy, in a run itself.

    Example:
        >>> file_to_read(Path("mart.duckdb")).name
        'mart.duckdb'
    """
    if keeping.get() is not None or is_live(database):
        return database
    give = read_from.get() or next(iter(in_cells), None)
    return database if give is None else give(database)


def read_live(database: Path) -> Path:
    """The database itself, which helpers read as it is from now on in this process."""
    _live.add(resolve(database))
    return database


def is_live(database: Path) -> bool:
    """Whether this process was asked to read the database as it is."""
    return resolve(database) in _live


item_order: ContextVar[Order] = ContextVar("item_order", default=())


@contextmanager
def of_item(order: Order) -> Iterator[None]:
    """Inside, calls are those of an item of a map: its `order` is the number that the map drew, and the item's.

    Example:
        >>> with of_item((3, 0)):
        ...     item_order.get()
        (3, 0)
    """
    token = item_order.set(order)
    try:
        yield
    finally:
        item_order.reset(token)
