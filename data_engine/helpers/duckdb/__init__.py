"""Warehouse chores on DuckDB files, one line each: tables by slices, dimensions, reads, upkeep.

Each call opens the database, does one thing in one transaction and closes it. Names compare as DuckDB compares them.
`duckdb` here is the library itself, imported when it is first used.
"""

from __future__ import annotations

from data_engine.helpers.duckdb.dimensions import (
    attach_dimension,
    build_dimension,
    denormalize_columns,
    normalize_columns,
)
from data_engine.helpers.duckdb.indexes import ensure_index
from data_engine.helpers.duckdb.reads import read_rows_by_values, read_sql, read_table
from data_engine.helpers.duckdb.slices import replace_rows_by_file, replace_rows_by_values, replace_table
from data_engine.helpers.duckdb.upkeep import compact_database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "attach_dimension",
    "build_dimension",
    "compact_database",
    "denormalize_columns",
    "ensure_index",
    "normalize_columns",
    "read_rows_by_values",
    "read_sql",
    "read_table",
    "replace_rows_by_file",
    "replace_rows_by_values",
    "replace_table",
]


def __getattr__(name: str) -> ModuleType:
    if name != "duckdb":
        raise AttributeError(f"module 'data_engine.helpers.duckdb' has no attribute {name!r}")
    from importlib import import_module

    return import_module("duckdb")
