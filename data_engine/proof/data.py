"""The content of values of libraries: frames by columns, arrays, generators, open files, databases up to a bound."""

from __future__ import annotations

import hashlib
import io
import sys
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any

_MOST_ROWS = 1_000_000
"""A database whose tables have more rows is told as doubt."""
_MOST_PARTS = 50
_MOST_ROWS_NAMED = 200
_MOST_BYTES = 256 * 1024**2
_BYTES_BESIDE_REFERENCE = 56
_HELD = frozenset({"DataFrame", "Series", "Table", "RecordBatch", "ndarray", "ChunkedArray"})
_SIZED = ("DataFrame", "Series", "LazyFrame", "Table")
_WEAK = frozenset(
    {"ReferenceType", "weakref", "WeakValueDictionary", "WeakKeyDictionary", "WeakSet", "CallableProxyType"}
)

Doubt = Callable[[str], None]


def of_library(value: Any, kind: type, doubt: Doubt) -> bytes | None:
    """The content of a frame, an array or a buffer; None for any other value. A very large one is compared by its size and columns.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"a": [1, 2]})
        >>> of_library(frame, type(frame), print) == of_library(frame.clone(), type(frame), print), of_library(1, int, print)
        (True, None)
    """
    library = kind.__module__.partition(".")[0]
    make = _LIBRARIES.get(library)
    if make is not None and size_bytes(value, kind) > _MOST_BYTES:
        doubt(f"it holds more than {_MOST_BYTES >> 20} MB, of which only the size and the columns are compared")
        return f"{shape_of(value)} {getattr(value, 'schema', getattr(value, 'dtypes', getattr(value, 'dtype', '')))}".encode()
    return None if make is None else make(value, kind)


def size_bytes(value: Any, kind: type) -> int:
    """The size of a frame or an array in memory, as far as the library knows it without counting, of an object of Python about;
    0 of anything else."""
    if kind.__name__ not in _HELD:
        return 0
    if kind.__module__.startswith("polars"):
        return int(value.estimated_size())
    if kind.__module__.startswith("pandas"):
        usage, is_series = value.memory_usage(index=False), kind.__name__ == "Series"
        of_objects = sum(str(dtype) == "object" for dtype in ([value.dtype] if is_series else value.dtypes))
        return int((usage if is_series else usage.sum()) + of_objects * len(value) * _BYTES_BESIDE_REFERENCE)
    return int(getattr(value, "nbytes", 0))


def taken_apart(value: Any, kind: type, doubt: Doubt) -> Sequence[Any] | None:
    """The pieces that stand for what Python can take apart only so: generators, files, databases; None for any other value."""
    if isinstance(value, types.GeneratorType):
        return _generator(value, doubt)
    if isinstance(value, (io.StringIO, io.BytesIO)):
        return ["closed"] if value.closed else [value.getvalue(), value.tell()]
    if isinstance(value, io.IOBase):
        if value in (sys.stdin, sys.stdout, sys.stderr):
            return ["standard"]
        return _file(value, doubt)
    if kind.__name__ == "set_iterator":
        return [frozenset(value.__reduce__()[1][0])]
    if kind.__name__ in _WEAK:
        doubt("a weak reference")
        return []
    if kind.__module__.startswith("pandas.core.groupby"):
        return [value.obj, value.keys, str(value.level), value.as_index, value.sort]
    if (pieces := _python_objects(value, kind)) is not None:
        return pieces
    if kind.__module__ == "sqlite3" and kind.__name__ == "Connection":
        return _sqlite(value, doubt)
    if kind.__module__.partition(".")[0] in ("duckdb", "_duckdb"):
        return _duckdb(value, kind, doubt)
    return None


def _generator(value: types.GeneratorType[Any, Any, Any], doubt: Doubt) -> Sequence[Any]:
    """The code, place and locals of a generator."""
    frame = value.gi_frame
    if frame is None:
        return ["ended"]
    if value.gi_yieldfrom is not None:
        doubt("a generator in the middle of another one")
    names = [name for name in frame.f_locals if not name.startswith(".")]
    outer = [frame.f_locals[name] for name in frame.f_locals if name.startswith(".")]
    cells = tuple(types.CellType() for _ in value.gi_code.co_freevars)
    function = types.FunctionType(value.gi_code, frame.f_globals, closure=cells)
    return [function, frame.f_lasti, *outer, *((name, frame.f_locals[name]) for name in names)]


def _python_objects(value: Any, kind: type) -> Sequence[Any] | None:
    """The values of a frame or array that holds objects of Python."""
    library = kind.__module__.partition(".")[0]
    if library == "pandas" and kind.__name__ == "DataFrame":
        columns = [value.iloc[:, place].tolist() for place in range(value.shape[1])]
        return [list(map(str, value.dtypes)), value.index, value.columns, columns]
    if library == "pandas" and (kind.__name__ == "Series" or hasattr(value, "nlevels")):
        return [str(getattr(value, "dtype", "")), str(value.name), getattr(value, "index", None), value.tolist()]
    if library == "polars" and kind.__name__ in ("DataFrame", "Series"):
        return [
            str(getattr(value, "schema", "")),
            value.to_list() if kind.__name__ == "Series" else value.to_dict(as_series=False),
        ]
    if library == "numpy" and kind.__name__ == "ndarray":
        return [value.shape, value.tolist()]
    return None


def _file(value: Any, doubt: Doubt) -> Sequence[Any]:
    if value.closed:
        return [str(getattr(value, "name", "")), "closed"]
    try:
        return [str(getattr(value, "name", "")), str(getattr(value, "mode", "")), value.tell()]
    except (OSError, ValueError):
        doubt("a reader in the middle")
        return []


def _sqlite(connection: Any, doubt: Doubt) -> Sequence[Any]:
    try:
        (file,) = [row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"]
        if file:
            return [file]
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = sum(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables)
        if rows > _MOST_ROWS:
            doubt("a database of more rows than are compared")
            return tables
        pragmas = ("user_version", "application_id")
        return [*connection.iterdump(), *(connection.execute(f"PRAGMA {pragma}").fetchone() for pragma in pragmas)]
    except Exception:
        doubt("a connection that is closed, or used by another thread")
        return []


def _duckdb(value: Any, kind: type, doubt: Doubt) -> Sequence[Any] | None:
    if kind.__name__ == "DuckDBPyRelation":
        return [value.sql_query()]
    if kind.__name__ != "DuckDBPyConnection":
        return None
    try:
        return _tables(value.cursor(), doubt)
    except Exception:
        doubt("a connection that is closed")
        return []


def _tables(cursor: Any, doubt: Doubt) -> Sequence[Any]:
    """The tables of a DuckDB connection, by the sums of the hashes of their rows."""
    tables = cursor.execute(
        "SELECT database_name, schema_name, table_name, estimated_size, sql FROM duckdb_tables() ORDER BY ALL"
    ).fetchall()
    views = cursor.execute("SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY ALL").fetchall()
    files = cursor.execute(
        "SELECT database_name, path FROM duckdb_databases() WHERE NOT internal ORDER BY ALL"
    ).fetchall()
    content: list[Any] = [views, files]
    if sum(row[3] for row in tables) > _MOST_ROWS:
        doubt("a database of more rows than are compared")
        return [*content, tables]
    for database, schema, table, _, sql in tables:
        name = ".".join('"' + part.replace('"', '""') + '"' for part in (database, schema, table))
        row = cursor.execute(f"SELECT count(*), sum(hash(t)::HUGEINT) FROM {name} AS t").fetchone()
        content.append([schema, table, sql, *map(str, row)])
    return content


PYPLOT = "matplotlib.pyplot"


def stream_state(module: str) -> Any:
    """The state of the process that the functions of a module use: the stream that they draw from, the open figures of pyplot; None for
    a module without one.

    Example:
        >>> stream_state("math") is None, stream_state("random") is None
        (True, False)
    """
    if module == "random":
        return sys.modules["random"].getstate()
    if module == PYPLOT:
        return sys.modules[PYPLOT].get_fignums()
    return sys.modules["numpy"].random.get_state() if module == "numpy.random" else None


def stream_of(method: Any) -> str:
    """The module from whose process-wide stream a bound method draws, as `random` after `from random import *`; "" for any other.

    Example:
        >>> import random
        >>> stream_of(random.shuffle), stream_of(random.Random(1).shuffle), stream_of(len)
        ('random', '', '')
    """
    owner = getattr(method, "__self__", None)
    for module, name in (("random", "random"), ("numpy.random", "rand")):
        if module in sys.modules and owner is getattr(sys.modules[module], name).__self__:
            return module
    return ""


@lru_cache(maxsize=1000)
def remembered_by(kind: type) -> frozenset[str]:
    """The attributes in which objects of a class remember what they have computed from the others, each by its descriptor."""
    return frozenset(
        name
        for base in kind.__mro__
        for name, attribute in vars(base).items()
        if type(attribute).__name__ in ("cached_property", "CachedAttribute", "CachedProperty")
    )


def is_remembered(kind: type, name: object) -> bool:
    """Whether an attribute of a library's object holds what was computed from the others: by its descriptor, or called a cache."""
    return str(name).endswith("_cache") or str(name).startswith("_cached") or name in remembered_by(kind)


def name_in_library(value: Any, kind: type) -> str:
    """The name under which the module of a value's class holds it, as `scipy.stats.norm`; "" for a value that nobody holds."""
    if kind.__name__ == "ufunc":
        return f"ufunc {value.__name__}"
    module = kind.__module__
    while module:
        space = dict(vars(sys.modules[module])) if module in sys.modules else {}
        if module != "numpy.random.mtrand" and id(value) in map(id, space.values()):
            return f"{module}.{next(name for name, content in space.items() if content is value)}"
        module = module.rpartition(".")[0]
    return ""


def shape_of(value: Any) -> str | None:
    """A frame or array in short; None for any other value."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    shape = getattr(value, "shape", None) if library in _LIBRARIES else None
    if not isinstance(shape, tuple) or not shape:
        return None
    if len(shape) == 2 and kind.__name__ in _SIZED:
        return f"{shape[0]:,} rows, {shape[1]:,} columns"
    if shape[0] <= 6 and len(shape) == 1 and hasattr(value, "tolist"):
        return f"{kind.__name__} {value.tolist()}"
    return f"{kind.__name__} of {' x '.join(f'{length:,}' for length in shape)}"


def parts_of(value: Any) -> list[tuple[str, Any]]:
    """The parts that a value holds under names: keys, columns, rows of a column, attributes, defaults; at most some of them.

    Example:
        >>> parts_of({"a": 1, 2: 3})
        [("['a']", 1), ('[2]', 3)]
    """
    kind = type(value)
    if isinstance(value, dict):
        return [(f"[{key!r}]", part) for key, part in list(value.items())[:_MOST_PARTS] if isinstance(key, (str, int))]
    if kind.__name__ == "DataFrame" and hasattr(value, "columns"):
        with suppress(Exception):  # of another library: it is no frame after all
            return [(f"[{name!r}]", value[name]) for name in list(value.columns)[:_MOST_PARTS]]
    if shape_of(value) is not None and len(value.shape) == 1:
        some = value[:_MOST_ROWS_NAMED]
        rows = some.to_list() if hasattr(some, "to_list") else some.tolist()
        return [(f"[{place}]", part) for place, part in enumerate(rows)]
    if kind is types.FunctionType:
        defaults, code = value.__defaults__ or (), value.__code__
        names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
        return [
            (f"({name}=)", part)
            for name, part in [*zip(names, defaults, strict=True), *(value.__kwdefaults__ or {}).items()]
        ]
    state = getattr(value, "__dict__", None)
    if isinstance(state, dict) and not isinstance(value, (type, types.ModuleType, types.FunctionType)):
        return [(f".{name}", part) for name, part in list(state.items())[:_MOST_PARTS] if not is_remembered(kind, name)]
    return []


# columns and arrays


def _array(value: Any) -> bytes | None:
    """An array of NumPy: without padding, which holds what was in memory before."""
    numpy: Any = sys.modules["numpy"]
    if isinstance(value, numpy.ma.MaskedArray) or not isinstance(value, (numpy.ndarray, numpy.generic)):
        return repr(value).encode() if isinstance(value, numpy.dtype) else None
    if value.dtype.hasobject:
        return None
    digest = hashlib.sha256(_dtype_text(value.dtype) + repr(value.shape).encode())
    for part in _plain_fields(value) if value.size else ():
        digest.update(memoryview(numpy.ascontiguousarray(part).reshape(-1).view(numpy.uint8)))
    return digest.digest()


def _plain_fields(value: Any) -> list[Any]:
    """The arrays of a structured array's fields, in order; of any other array itself."""
    names = value.dtype.names
    return [value] if names is None else [part for name in names for part in _plain_fields(value[name])]


@lru_cache(maxsize=1000)
def _dtype_text(dtype: Any) -> bytes:
    return (dtype.str if dtype.names is None else repr(dtype)).encode()


@cache
def _has_numpy() -> bool:
    """Whether NumPy is there: without it Polars ends in a panic."""
    return find_spec("numpy") is not None


def _polars_series(series: Any) -> bytes:
    """A column by its values: what stands below nulls and how it is cut into chunks do not count."""
    dtype = series.dtype
    head = f"{dtype!r} {len(series)} ".encode()
    if _has_numpy() and dtype.is_numeric() and not dtype.is_decimal() and not series.null_count():
        return (
            hashlib.sha256(head + memoryview(series.rechunk().to_numpy()).cast("B")).digest() if len(series) else head
        )
    if str(dtype).startswith(("Categorical", "Enum")):
        series = series.cast(sys.modules["polars"].String)
    try:
        polars, stream = sys.modules["polars"], io.BytesIO()
        columns = {"hashes": series.hash(), "nulls": series.is_null().cast(polars.UInt8)}
        polars.DataFrame(columns).rechunk().write_ipc_stream(stream)
    except Exception:  # a type that has none
        return hashlib.sha256(head + repr(series.to_list()).encode()).digest()
    return hashlib.sha256(head + stream.getbuffer()).digest()


def _polars(value: Any, kind: type) -> bytes | None:
    polars: Any = sys.modules["polars"]
    if isinstance(value, polars.DataFrame):
        if any(dtype == polars.Object for dtype in value.dtypes):
            return None
        columns = [_polars_series(column) for column in value.get_columns()]
        return hashlib.sha256(repr((value.columns, value.height)).encode() + b"".join(columns)).digest()
    if isinstance(value, polars.Series) and value.dtype != polars.Object:
        return str(value.name).encode() + _polars_series(value)
    if isinstance(value, polars.Expr):
        return str(value.meta.serialize(format="json")).encode()
    if isinstance(value, polars.LazyFrame):
        return str(value.explain(optimized=False)).encode()
    if isinstance(value, polars.DataType) or (isinstance(value, type) and issubclass(value, polars.DataType)):
        return repr(value).encode()
    return None


def _arrow(value: Any, kind: type) -> bytes | None:
    if kind.__name__ in ("Table", "RecordBatch"):
        schema = f"{value.schema.to_string()} {value.schema.metadata!r} {value.num_rows}".encode()
        return hashlib.sha256(schema + b"".join(map(_arrow_column, value.columns))).digest()
    if kind.__name__.endswith("Array"):
        return _arrow_column(value)
    if kind.__name__.endswith(("Schema", "Field", "DataType", "Type")):
        return f"{value!r} {getattr(value, 'metadata', '')!r}".encode()
    if kind.__name__.endswith("Scalar"):
        return f"{value.type} {value.as_py()!r}".encode()
    return None


def _arrow_column(column: Any) -> bytes:
    try:
        import polars

        return f"{column.type}".encode() + _polars_series(polars.Series(column))
    except Exception:
        return hashlib.sha256(f"{column.type} {column.to_pylist()!r}".encode()).digest()


def _pandas_column(values: Any) -> bytes | None:
    """The values of a column or index of pandas; None where only Python objects tell."""
    array = values.to_numpy() if values.dtype.kind in "biufcmM" else None
    if array is not None and not array.dtype.hasobject:
        return _array(array)
    try:
        import pyarrow
    except ImportError:
        return None
    with suppress(pyarrow.ArrowException, TypeError, ValueError):
        return _arrow_column(pyarrow.array(values, from_pandas=True))
    return None


def _pandas(value: Any, kind: type) -> bytes | None:
    pandas: Any = sys.modules["pandas"]
    if isinstance(value, pandas.DataFrame):
        columns = [_pandas_column(value.iloc[:, place]) for place in range(value.shape[1])]
        index, names = _pandas_column_of_index(value.index), _pandas_column_of_index(value.columns)
        if index is None or names is None or None in columns:
            return None
        head = repr((list(map(str, value.dtypes)), value.attrs)).encode()
        return hashlib.sha256(b"".join([head, index, names, *(column or b"" for column in columns)])).digest()
    if isinstance(value, pandas.Series):
        column, index = _pandas_column(value), _pandas_column_of_index(value.index)
        return None if column is None or index is None else f"{value.dtype} {value.name!r}".encode() + column + index
    if isinstance(value, pandas.Index):
        return _pandas_column_of_index(value)
    return None


def _pandas_column_of_index(index: Any) -> bytes | None:
    head = repr((type(index).__name__, list(index.names), getattr(index, "freqstr", None))).encode()
    if type(index).__name__ == "RangeIndex":
        return head + repr((index.start, index.stop, index.step)).encode()
    if index.nlevels > 1:
        levels = [_pandas_column(index.get_level_values(level)) for level in range(index.nlevels)]
        return None if None in levels else head + b"".join(level or b"" for level in levels)
    column = _pandas_column(index)
    return None if column is None else head + str(index.dtype).encode() + column


_LIBRARIES: dict[str, Callable[[Any, type], bytes | None]] = {
    "numpy": lambda value, kind: _array(value),
    "polars": _polars,
    "pyarrow": _arrow,
    "pandas": _pandas,
}
