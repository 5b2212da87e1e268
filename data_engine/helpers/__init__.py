"""The chores of an analyst's flow in one line each: DuckDB tables, Polars expressions, names and schemas, files.

    import data_engine.helpers              # frames now have `.de`
    from data_engine.helpers import replace_rows_by_file, networkdays

Every function stands here, in its module (`data_engine.helpers.duckdb`, `.polars`, `.schema`, `.excel`) and, where it takes a
frame, at `frame.de`, on DataFrame and LazyFrame, with the frame left out:

    context.current.de.replace_rows_by_file(db, "sales", file_hash=key)

Importing this package imports neither Polars nor DuckDB. `frame.de` is there once both this package and Polars were imported,
in either order, and Polars is waited for: a flow that uses it says `import data_engine.helpers`. Its methods are the public functions
themselves with the frame left out; nothing is listed twice.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

from data_engine.after_import import AfterImport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
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
    "parse_decimal",
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
    return sorted((*__all__, *_MODULES))


_FRAMES = ("df", "lf", "frame")
"""The names by which functions take their frame."""


def _register_frames(functions: Callable[[], dict[str, Any]]) -> None:
    """Give frames `.de`, now if Polars was imported and else as soon as it is."""
    if "polars" in sys.modules and hasattr(sys.modules["polars"], "api"):
        _register(sys.modules["polars"], functions)
    else:

        def register(polars: ModuleType) -> None:
            hook.remove()
            _register(polars, functions)

        hook = AfterImport("polars".__eq__, register)
        hook.install()


def _register(polars: Any, functions: Callable[[], dict[str, Any]]) -> None:
    for kind, register in (
        ("DataFrame", polars.api.register_dataframe_namespace),
        ("LazyFrame", polars.api.register_lazyframe_namespace),
    ):
        members = {"__doc__": _Namespace.__doc__, "_kind": kind, "_functions": staticmethod(functions)}
        register("de")(type(f"DataEngine{kind}Namespace", (_Namespace,), members))


class _Namespace:
    """Data Engine's helpers with this frame as their frame; those that give expressions are here for completion."""

    _kind: str
    _functions: Callable[[], dict[str, Any]]
    _is_filled = False

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        if not self._is_filled:  # with the first frame asked, so that an import of Polars does not wait for the helpers
            cls = type(self)
            for name, function in cls._functions().items():
                method = _method(function, cls._kind)
                if method is not None:
                    setattr(cls, name, method)
            cls._is_filled = True


def _method(function: Any, kind: str) -> Any:
    """The function as a method of frames of this kind; None when it takes no such frame and gives no expression."""
    annotations = getattr(function, "__annotations__", {})
    if annotations.get("return") == "pl.Expr":
        return staticmethod(function)
    name = next((argument for argument in _FRAMES if argument in annotations), None)
    if name is None or annotations[name] not in ("Frame", f"pl.{kind}", "pl.DataFrame | pl.LazyFrame"):
        return None
    parameters = inspect.signature(function).parameters
    is_keyword = parameters[name].kind is inspect.Parameter.KEYWORD_ONLY

    def method(self: _Namespace, *args: Any, **options: Any) -> Any:
        if is_keyword:
            return function(*args, **{name: self._frame}, **options)
        return function(self._frame, *args, **options)

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    rest = [parameter for parameter in parameters.values() if parameter.name != name]
    method.__name__ = method.__qualname__ = function.__name__
    method.__doc__ = function.__doc__
    method.__signature__ = inspect.Signature([own, *rest])  # type: ignore[attr-defined]
    return method


_register_frames(lambda: {name: __getattr__(name) for name in __all__})
