"""The chores of an analyst's flow in one line each: DuckDB tables, Polars expressions, names and schemas, files.

    import data_engine.helpers              # frames now have `.de`
    from data_engine.helpers import replace_rows_by_file, networkdays

Every function stands here, in its module (`data_engine.helpers.duckdb`, `.polars`, `.schema`, `.excel`) and, where it takes a
frame, at `frame.de`, on DataFrame and LazyFrame, with the frame left out:

    context.current.de.replace_rows_by_file(db, "sales", file_hash=key)

Importing this package imports neither Polars nor DuckDB. `frame.de` is there once both this package and Polars were imported,
in either order; a flow that uses it says `import data_engine.helpers`.
"""

from __future__ import annotations

from data_engine.helpers.frames import register_frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from data_engine.helpers.duckdb import (
        attach_dimension,
        build_dimension,
        compact_database,
        denormalize_columns,
        ensure_index,
        normalize_columns,
        read_rows_by_values,
        read_sql,
        read_table,
        replace_rows_by_file,
        replace_rows_by_values,
        replace_table,
    )
    from data_engine.helpers.excel import write_excel_atomic
    from data_engine.helpers.polars import (
        networkdays,
        propagate_first_value,
        propagate_last_value,
        remove_null_columns,
        sink_parquet_atomic,
        visit_counter,
        workday,
        write_parquet_atomic,
    )
    from data_engine.helpers.schema import (
        TableSchema,
        normalize_column_name,
        normalize_column_names,
        normalized_column_renames,
    )

__all__ = [
    "TableSchema",
    "attach_dimension",
    "build_dimension",
    "compact_database",
    "denormalize_columns",
    "ensure_index",
    "networkdays",
    "normalize_column_name",
    "normalize_column_names",
    "normalize_columns",
    "normalized_column_renames",
    "propagate_first_value",
    "propagate_last_value",
    "read_rows_by_values",
    "read_sql",
    "read_table",
    "remove_null_columns",
    "replace_rows_by_file",
    "replace_rows_by_values",
    "replace_table",
    "sink_parquet_atomic",
    "visit_counter",
    "workday",
    "write_excel_atomic",
    "write_parquet_atomic",
]

_MODULES = ("duckdb", "excel", "polars", "schema")


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"data_engine.helpers.{name}")
    if name in __all__:
        for module in (import_module(f"data_engine.helpers.{stem}") for stem in _MODULES):
            if name in module.__all__:
                globals()[name] = getattr(module, name)
                return globals()[name]
    raise AttributeError(f"module 'data_engine.helpers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_frames(lambda: {name: __getattr__(name) for name in __all__})
