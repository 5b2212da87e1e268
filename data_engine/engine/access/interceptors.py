"""The entry points of readers and writers, replaced while a preview runs so that what a step reads and writes is recorded.

Native readers (`polars.read_csv`, `duckdb.connect`, ...) raise no audit event, and an audit hook can never be taken out
again; so their public entry points are replaced while a step of a preview runs, and put back after the last one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial, wraps
from types import FunctionType
from typing import Any

from data_engine.engine.access import access_log, recorders
from data_engine.engine.access.access_log import (
    AccessLog,
    Namespace,
    active_logs,
    current_files,
    logging_to,
    not_logged,
)
from data_engine.engine.access.doubts import doubts_of, doubts_of_table
from data_engine.engine.access.file_events import about_to_write, current_guard
from data_engine.record import frozen

_lock = threading.RLock()


class Interceptors:
    """The replaced entry points of one preview: `with Interceptors() as interceptors`, and `interceptors.intercept(...)` around each step."""

    def __init__(self) -> None:
        self._opened: dict[tuple[int, str], tuple[_Place, str]] = {}
        self._all_of: object = None

    def __enter__(self) -> Interceptors:
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            for place, name in reversed(self._opened.values()):
                _remove(place, name)
            self._opened.clear()

    def _open(self, places: Iterable[tuple[_Place, str]]) -> None:
        for place, name in places:
            key = _place_key(place, name)
            if key not in self._opened:
                with _lock:
                    if _install(place, name):
                        self._opened[key] = (place, name)

    @contextmanager
    def intercept(self, access_log: AccessLog, captured: Iterable[tuple[Namespace, str]] = ()) -> Iterator[None]:
        """Inside, what this context reads is noted; `captured` are names in the author's modules that hold a reader."""
        entry_points = _entry_points(recheck=True)
        if entry_points is not self._all_of:
            self._open(entry_points)
            self._all_of = entry_points
        self._open((_Names(space), name) for space, name in captured)
        with logging_to(access_log):
            yield


class RunReaders:
    """The entry points whose files a run names or must not write, replaced from `open()` to `close()`; opened again, those
    imported since.

    Of classes only what writes files: it is called once a file, while a method that reads may be called for each row.
    """

    def __init__(self) -> None:
        self._opened: list[_RunPoint] = []
        self._all_of: object = None

    def open(self) -> None:
        """Replace them; those that are replaced already stay so."""
        entry_points = _entry_points()
        if entry_points is self._all_of:
            return
        self.close()
        with _lock:
            for point in _run_points(entry_points):
                key, place, name, original, wrapper = point
                known = _opened.get(key)
                if known is not None:
                    known[0] += 1
                elif vars(place).get(name) is original:
                    setattr(place, name, wrapper)
                    _opened[key] = [1, original, wrapper]
                else:
                    continue  # somebody else's is in its place
                self._opened.append(point)
        self._all_of = entry_points

    def close(self) -> None:
        """Put them back."""
        with _lock:
            for key, place, name, original, wrapper in self._opened:
                known = _opened[key]
                known[0] -= 1
                if not known[0]:
                    del _opened[key]
                    if vars(place).get(name) is wrapper:
                        setattr(place, name, original)
        self._opened, self._all_of = [], None


_RunPoint = tuple[tuple[int, str], Any, str, Any, Any]
"""An entry point: its key in `_opened`, the module or class and its name there, what it is, and its wrapper."""

_run_points_of: tuple[object, list[_RunPoint]] = (None, [])


def _run_points(entry_points: list[tuple[_Place, str]]) -> list[_RunPoint]:
    """Those of the entry points that name files (readers given a path, `open`, connections to databases), or write them."""
    global _run_points_of
    if _run_points_of[0] is not entry_points:
        found: list[_RunPoint] = []
        for place, name in entry_points:
            note = _notes((_label_of(place), name), name)
            is_pandas = isinstance(place, type) and place.__module__.partition(".")[0] == "pandas"  # it calls `open`
            is_for_runs = note in _WRITTEN_BY or note in _CARRIED or (note in _NAMED_BY and not isinstance(place, type))
            if is_pandas or not is_for_runs:
                continue
            known = _opened.get(_place_key(place, name))
            original = vars(place).get(name) if known is None else known[1]
            wrapper = _wrapper_of(place, name, original) if known is None else known[2]
            if wrapper is not None:
                found.append((_place_key(place, name), place, name, original, wrapper))
        _run_points_of = entry_points, found
    return _run_points_of[1]


def _label_of(place: _Place) -> str:
    return f"{place.__module__}.{place.__qualname__}" if isinstance(place, type) else str(place.__name__)


def is_reader(value: object) -> bool:
    """Whether `value` is one of the functions that are replaced while a preview runs."""
    return callable(value) and (_is_wrapper(value) or id(value) in _readers())


def is_intercepted(place: object, name: str) -> bool:
    """Whether what lies there under this name is replaced while a preview runs."""
    return (id(place), name) in _intercepted_keys()


def intercepted(fn: Any) -> Any:
    """`fn`, or its noting wrapper when it is a reader given as a step itself, such as `map(polars.read_csv)`."""
    if isinstance(fn, partial):
        return partial(intercepted(fn.func), *fn.args, **fn.keywords)
    known = _readers().get(id(fn))
    return fn if known is None else known[1]


def _is_wrapper(value: object) -> bool:
    function = value.__func__ if isinstance(value, staticmethod) else value
    return type(function) is FunctionType and "_records_reads" in function.__dict__


# -- where a reader is found, and its wrapper there --------------------------------------------------------------------


@frozen
class _Names:
    """A module's names, which can be set like attributes."""

    namespace: Namespace


_Place = Any  # a module, a class, or _Names
_opened: dict[tuple[int, str], list[Any]] = {}


def _place_key(place: _Place, name: str) -> tuple[int, str]:
    return (id(place.namespace) if isinstance(place, _Names) else id(place), name)


def _names(place: _Place) -> Any:
    return place.namespace if isinstance(place, _Names) else vars(place)


def _set(place: _Place, name: str, value: Any) -> None:
    if isinstance(place, _Names):
        place.namespace[name] = value
    else:
        setattr(place, name, value)


def _install(place: _Place, name: str) -> bool:
    key = _place_key(place, name)
    known = _opened.get(key)
    if known is not None:
        known[0] += 1
        return True
    original = _names(place).get(name)
    wrapper = _wrapper_of(place, name, original)
    if wrapper is None:
        return False
    try:
        _set(place, name, wrapper)
    except (AttributeError, TypeError):
        return False
    _opened[key] = [1, original, wrapper]
    return True


def _remove(place: _Place, name: str) -> None:
    key = _place_key(place, name)
    known = _opened[key]
    known[0] -= 1
    if known[0] == 0:
        del _opened[key]
        if _names(place).get(name) is known[2]:
            _set(place, name, known[1])


_wrappers: dict[tuple[str, str], tuple[Any, Any]] = {}
"""The wrapper of each reader by its place; made once, so that a copy somebody keeps stays recognisable."""


def _wrapper_of(place: _Place, name: str, original: Any) -> Any:
    if original is None or _is_wrapper(original):
        return None
    if isinstance(place, _Names):
        known = _readers().get(id(original))
        return None if known is None else known[1]
    label = (_label_of(place), name)
    made = _wrappers.get(label)
    if made is not None and made[0] is original:
        return made[1]
    note = _notes(label, name)
    wrapper = _make_wrapper(original, note)
    _wrappers[label] = (original, wrapper)
    return wrapper


def _make_wrapper(original: Any, note: Callable[..., Any]) -> Any:
    named, written = _NAMED_BY.get(note), _WRITTEN_BY.get(note)
    is_doubted, is_carried = note in (_READ, recorders.record_open), note in _CARRIED

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        who, files = active_logs(), None if named is None else current_files()
        if named is not None and files is not None:
            with suppress(Exception):  # what is noted of a run is not worth its end
                for path in named(args, kwargs):
                    files.note(path)
        told = [] if not is_doubted else [one.doubts for one in (*who, files) if one is not None]
        if told:
            _tell(told, lambda: doubts_of(original, args, kwargs))
        if who or is_carried:
            read = note(original, who, args, kwargs)
        else:
            if written is not None and current_guard() is not None:
                for path in written(args, kwargs):
                    if isinstance(path, (str, os.PathLike)):
                        about_to_write(os.fspath(path))
            read = original(*args, **kwargs)
        if told:
            _tell(told, lambda: doubts_of_table(original, read, args, kwargs))
        return read

    with suppress(AttributeError, TypeError):
        wrapper = wraps(original)(wrapper)
    wrapper._records_reads = True  # type: ignore[attr-defined]
    return staticmethod(wrapper) if isinstance(original, staticmethod) else wrapper


def _tell(told: Iterable[dict[str, None]], doubts: Callable[[], Iterable[str]]) -> None:
    """Add what is doubtful to what these are told; looking for it never fails a step, and is no read of it."""
    with suppress(Exception), not_logged():
        for said in doubts():
            for one in told:
                one.setdefault(said)


_known: tuple[object, dict[int, tuple[Any, Any]]] = (None, {})


def _readers() -> dict[int, tuple[Any, Any]]:
    """Each reader that is a plain function, by its identity, with its wrapper."""
    global _known
    entry_points = _entry_points()
    if _known[0] is not entry_points:
        found: dict[int, tuple[Any, Any]] = {}
        with _lock:
            for place, name in entry_points:
                if isinstance(place, type):
                    continue
                value = vars(place).get(name)
                if _is_wrapper(value):
                    value = next(original for original, wrapper in _wrappers.values() if wrapper is value)
                wrapper = _wrapper_of(place, name, value)
                if wrapper is not None:
                    found[id(value)] = (value, wrapper)
        _known = (entry_points, found)
    return _known[1]


# -- which entry points there are ------------------------------------------------------------------------------------

_READ = recorders.reader("content")
_SQL_NAMES = ("sql", "query", "execute", "executemany", "from_query", "query_df")
_RECORDERS: dict[str, dict[str, Callable[..., Any]]] = {
    "builtins": {"open": recorders.record_open},
    "io": {"open": recorders.record_open},
    "bz2": {"_builtin_open": recorders.record_open},
    "tarfile": {"bltn_open": recorders.record_open},
    "tokenize": {"_builtin_open": recorders.record_open},
    "glob._StringGlobber": {"scandir": recorders.record_listing, "lstat": recorders.record_lstat,
                            "lexists": recorders.record_question},  # Path.glob, from Python 3.13 on
    "os": {
        "open": recorders.record_os_open,
        "stat": recorders.record_stat,
        "lstat": recorders.record_lstat,
        "listdir": recorders.record_listing,
        "scandir": recorders.record_listing,
        "readlink": recorders.reader("link"),
        "access": recorders.reader("stat"),
    },
    "threading.Thread": {"start": recorders.record_thread},
    "concurrent.futures.thread.ThreadPoolExecutor": {"submit": recorders.record_submit},
    os.path.__name__: dict.fromkeys(
        ("exists", "isfile", "isdir", "islink", "lexists", "ismount", "getsize", "getmtime", "getctime", "getatime", "samefile",
         "realpath"),
        recorders.record_question,
    ),
    "sqlite3": {"connect": recorders.record_database},
    "duckdb": {"connect": recorders.record_duckdb, **dict.fromkeys(_SQL_NAMES, recorders.record_module_sql)},
    "duckdb.DuckDBPyConnection": {
        **dict.fromkeys(_SQL_NAMES, recorders.record_method_sql),
        **dict.fromkeys(("read_csv", "read_parquet", "read_json", "from_parquet", "from_csv_auto"), recorders.method_reader),
        **dict.fromkeys(("table_function", "tf", "install_extension", "load_extension", "create_function", "query_appender",
                         "register_filesystem"), recorders.record_unseen("what a DuckDB connection was given")),
    },
    "duckdb.DuckDBPyRelation": {
        "query": recorders.record_relation_query,
        **dict.fromkeys(("filter", "project", "select", "aggregate", "order", "sort", "join"), recorders.record_fragments),
        "sample": recorders.record_unseen("random numbers (a sampled relation)"),
        **dict.fromkeys(("create", "create_view", "to_table", "to_view", "insert", "insert_into", "update"),
                        recorders.record_unseen("tables it makes in a DuckDB connection")),
        **dict.fromkeys(("to_csv", "write_csv", "to_parquet", "write_parquet"), recorders.record_writer),
    },
    "polars": {"sql": recorders.record_frames_sql},
    "polars.SQLContext": {"execute": recorders.record_frames_sql},
    "polars.DataFrame": {"sample": recorders.record_sample},
    "polars.Series": {"sample": recorders.record_sample, "shuffle": recorders.record_sample, "rank": recorders.record_rank},
    "polars.Expr": {"sample": recorders.record_sample, "shuffle": recorders.record_sample, "rank": recorders.record_rank},
    "polars.LazyFrame": {},
    "pandas.DataFrame": {"sample": recorders.record_sample},
    "pandas.Series": {"sample": recorders.record_sample},
    "pandas": {},
    "numpy": dict.fromkeys(("load", "fromfile", "loadtxt", "genfromtxt"), _READ),
    "fastexcel": {},
    "pyarrow": {"memory_map": _READ, "input_stream": _READ},
    "pyarrow.csv": {"read_csv": _READ, "open_csv": _READ, "write_csv": recorders.record_writer},
    "pyarrow.json": {"read_json": _READ, "open_json": _READ},
    "pyarrow.parquet": {
        **dict.fromkeys(("read_table", "read_pandas", "read_schema", "read_metadata"), _READ),
        "write_table": recorders.record_writer,
    },
    "pyarrow.parquet.ParquetWriter": {"__init__": recorders.record_writer},
    "pyarrow.parquet.ParquetFile": {"__init__": recorders.method_reader},
    "pyarrow.parquet.ParquetDataset": {"__init__": recorders.method_reader},
    "pyarrow.dataset": {"dataset": _READ, "parquet_dataset": _READ},
    "pyarrow.feather": {"read_table": _READ, "read_feather": _READ, "write_feather": recorders.record_writer},
    "pyarrow.feather.FeatherDataset": {"__init__": recorders.method_reader},
    "pyarrow.ipc": {"open_file": _READ, "open_stream": _READ},
    "pyarrow.orc": {"read_table": _READ},
    "pyarrow.orc.ORCFile": {"__init__": recorders.method_reader},
}  # fmt: skip
_NAMED_BY: dict[Callable[..., Any], Callable[[tuple[Any, ...], dict[str, Any]], Iterable[object]]] = {
    _READ: access_log.of_reader,
    recorders.record_open: access_log.of_open,
    recorders.record_database: access_log.of_database,
    recorders.record_duckdb: access_log.of_duckdb,
}
"""What names the files of a run, of the entry points that production replaces too."""
_WRITTEN_BY: dict[Callable[..., Any], Callable[[tuple[Any, ...], dict[str, Any]], Iterable[object]]] = {
    recorders.record_writer: access_log.of_writer,
}
"""What names the files that a run is about to write, past Python."""
_CARRIED = (recorders.record_thread, recorders.record_submit)
"""What hands the guard of a run or a preview to other threads."""
_SEEN_LIBRARIES = ("polars", "pandas", "duckdb", "fastexcel")
"""Every public `read_*` and `scan_*` of these is an entry point, whatever the version."""
_NO_PATH = {
    "read_clipboard": "the clipboard",
    "read_database": "a database through polars",
    "read_database_uri": "a database through polars",
    "read_delta": "a Delta table",
    "scan_delta": "a Delta table",
    "scan_iceberg": "an Iceberg table",
    "scan_lance": "a Lance table",
    "scan_external_reader": "a reader of its own",
    "read_sql": "a database through pandas",
    "read_sql_query": "a database through pandas",
    "read_sql_table": "a database through pandas",
    "read_gbq": "the network",
    "read_iceberg": "an Iceberg table",
}
_WRITERS = ("polars.DataFrame", "polars.LazyFrame", "pandas.DataFrame")


@cache
def watched_libraries() -> frozenset[str]:
    """The top-level names of the libraries with entry points."""
    return frozenset(label.partition(".")[0] for label in _RECORDERS)


def _notes(label: tuple[str, str], name: str) -> Callable[..., Any]:
    place = label[0]
    place = {
        "polars.dataframe.frame.DataFrame": "polars.DataFrame",
        "polars.lazyframe.frame.LazyFrame": "polars.LazyFrame",
        "polars.series.series.Series": "polars.Series",
        "polars.expr.expr.Expr": "polars.Expr",
        "polars.sql.context.SQLContext": "polars.SQLContext",
    }.get(place, place)
    for known, entry_points in _RECORDERS.items():
        if name in entry_points and (known == place or known.rpartition(".")[2] == place.rpartition(".")[2]):
            return entry_points[name]
    if name.startswith(("write_", "sink_", "to_")):
        return recorders.record_writer
    return recorders.record_unseen(_NO_PATH[name]) if name in _NO_PATH else _READ


_ALL_LABELS = frozenset(_RECORDERS)
_entry_points_then: tuple[frozenset[str], list[tuple[_Place, str]]] = (frozenset(), [])
_modules_then = -1


def _entry_points(*, recheck: bool = False) -> list[tuple[_Place, str]]:
    """Every entry point of the libraries imported so far; none is imported for it."""
    global _entry_points_then, _modules_then
    if len(sys.modules) == _modules_then and not recheck:
        return _entry_points_then[1]
    _modules_then = len(sys.modules)
    absent = _ALL_LABELS - _entry_points_then[0]
    loaded = _entry_points_then[0] | {
        label for label in absent if label.partition(".")[0] in sys.modules and _find(label)
    }
    if loaded != _entry_points_then[0]:
        found: list[tuple[_Place, str]] = []
        for label in _RECORDERS:
            place = _find(label) if label in loaded else None
            if place is None:
                continue
            names = dict.fromkeys(_RECORDERS[label])
            if label in _SEEN_LIBRARIES:
                names |= dict.fromkeys(
                    name for name in vars(place) if name.startswith(("read_", "scan_", "from_parquet", "from_csv"))
                )
            if label in _WRITERS:
                prefixes = ("write_", "sink_", "to_csv", "to_parquet", "to_excel", "to_json", "to_feather", "to_pickle")
                names |= dict.fromkeys(name for name in vars(place) if name.startswith(prefixes))
            found += [(place, name) for name in names if callable(vars(place).get(name))]
        _entry_points_then = (loaded, found)
    return _entry_points_then[1]


def _intercepted_keys() -> frozenset[tuple[int, str]]:
    global _keys_of
    entry_points = _entry_points()
    if _keys_of[0] is not entry_points:
        _keys_of = (entry_points, frozenset(_place_key(place, name) for place, name in entry_points))
    return _keys_of[1]


_keys_of: tuple[object, frozenset[tuple[int, str]]] = (None, frozenset())


def _find(label: str) -> Any:
    module = sys.modules.get(label)
    if module is not None:
        return module
    owner, _, name = label.rpartition(".")
    value = vars(sys.modules[owner]).get(name) if owner in sys.modules else None
    return value if isinstance(value, type) else None
