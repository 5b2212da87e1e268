"""How many rows a value has, where it can say so without being run: frames, Arrow tables, batches, and Parquet files; and whether it is
a LazyFrame, which cannot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_engine.flow.batch import Batch

_PARQUET = (".parquet", ".pq")


def rows_of(value: object) -> int | None:
    """The rows of a DataFrame or an Arrow table, the items of a Batch, or the rows of the Parquet file that a path names; else None.

    A lazy frame, a relation or a query is never run for it.

    Example:
        >>> rows_of(Batch((1, 2, 3))), rows_of([1, 2]), rows_of(None)
        (3, None, None)
    """
    kind = type(value)
    if kind not in _counters:
        if len(_counters) > 1000:  # classes that are made anew for each run
            _counters.clear()
        _counters[kind] = _counter_of(kind)
    counter = _counters[kind]
    if counter is None:
        return None
    with suppress(Exception):  # another library's value
        return counter(value)
    return None


def is_lazy_frame(value: object) -> bool:
    """Whether a value is a LazyFrame of Polars.

    Example:
        >>> import polars as pl
        >>> is_lazy_frame(pl.LazyFrame({"a": [1]})), is_lazy_frame(pl.DataFrame({"a": [1]}))
        (True, False)
    """
    polars: Any = sys.modules.get("polars")
    return polars is not None and isinstance(value, polars.LazyFrame)


def parquet_rows(path: str) -> int | None:
    """The rows that a Parquet file says it has, by whichever library is here already; None where none is, or it is no such file."""
    if not path.lower().endswith(_PARQUET):
        return None
    with suppress(Exception):  # it is damaged, or gone: that is for whoever reads it
        if (parquet := sys.modules.get("pyarrow.parquet")) is not None:
            return int(parquet.read_metadata(path).num_rows)
        if (polars := sys.modules.get("polars")) is not None:
            return int(polars.scan_parquet(path, glob=False).select(polars.len()).collect().item())
        if (duckdb := sys.modules.get("duckdb")) is not None:
            with duckdb.connect() as connection:
                found = connection.execute("SELECT num_rows FROM parquet_file_metadata(?)", [path]).fetchone()
                return int(found[0])
    return None


_counters: dict[type, Callable[[Any], int | None] | None] = {}


def _counter_of(kind: type) -> Callable[[Any], int | None] | None:
    if kind is Batch:
        return len
    if issubclass(kind, Path):
        return lambda path: parquet_rows(str(path))
    library = kind.__module__.partition(".")[0]
    if (library, kind.__name__) == ("polars", "DataFrame"):
        return lambda frame: int(frame.height)
    if library == "pandas" and kind.__name__ == "DataFrame":
        return len
    if library == "pyarrow" and kind.__name__ in ("Table", "RecordBatch"):
        return lambda table: int(table.num_rows)
    return None
