"""Replace the entry points of readers and writers while a preview runs, so that what a step reads and writes is recorded.

Native readers and writers (`polars.read_csv`, `pyarrow.parquet.ParquetWriter`, `duckdb.connect`, ...) raise no audit event, and an
audit hook can never be taken out again; so the public entry points of one table are replaced while steps run, and put back after the last
one. A library that is imported meanwhile gets its replacements as soon as its own code has run, whoever imports it: a finder at the head
of `sys.meta_path` sees that it comes.

A reader's result that its author did not mean is reported with the fix: UTF-8 read as another encoding, all columns of a file in one,
a workbook read as text, and a heading that stands twice. All end as values that look like data. Only the beginning of a file and the
names of columns are looked at.
"""

from __future__ import annotations

import codecs
import locale
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial, wraps
from itertools import chain, islice
from types import FunctionType, ModuleType
from typing import Any

from data_engine.after_import import AfterImport
from data_engine.engine.access import databases, recorders, writers
from data_engine.engine.access.access_log import (
    Namespace,
    ReadLog,
    active_logs,
    is_not_logged,
    logging_to,
    not_logged,
)
from data_engine.engine.access.code import code_facts, library_folders
from data_engine.engine.access.sqlite_guard import connection_class
from data_engine.flow.hints import SEPARATORS, only_column_fix, quoted, workbook_fix
from data_engine.platforms.files import open_to_read

_lock = threading.RLock()


class Interceptors:
    """The entry points that are replaced for a preview, until `close()`: `interceptors.intercept(...)` around each step. Or those
    `of_runs`, which name the files of a run or write them, from `open()` to `close()`. What is imported in between is replaced too.

    Of classes a run needs only what writes files: it is called once a file, while a method that reads may be called for each row.
    """

    def __init__(self, *, of_runs: bool = False) -> None:
        self._of_runs = of_runs
        self._opened: dict[_EntryPoint, None] = {}
        self._count = 0

    def open(self, captured: Iterable[tuple[Namespace, str]] = ()) -> None:
        """Replace the entry points of imported libraries. `captured` are names in the author's modules that hold one."""
        with _lock:
            if self not in _open:
                _open.append(self)
                if len(_open) == 1:
                    _HOOK.install()
                if sys.modules.keys() & _absent:
                    _entry_points(recheck=True)
            if len(points := _entry_points()) != self._count:
                self._count = len(points)
                self.take(_points_of_runs if self._of_runs else points)
            if captured:
                self.take(filter(None, map(_captured_point, captured)))

    def take(self, points: Iterable[_EntryPoint]) -> None:
        """Replace these too."""
        for point in points:
            if point not in self._opened and (point.is_of_runs or not self._of_runs):
                point.install()
                self._opened[point] = None

    def close(self) -> None:
        """Put the originals back."""
        with _lock:
            for point in reversed(self._opened):
                point.restore()
            self._opened, self._count = {}, 0
            if self in _open:
                _open.remove(self)
                if not _open:
                    _HOOK.remove()

    @contextmanager
    def intercept(self, log: ReadLog, captured: Iterable[tuple[Namespace, str]] = ()) -> Iterator[None]:
        """Inside, what this context reads is noted in the log."""
        self.open(captured)
        with logging_to(log):
            yield


_open: list[Interceptors] = []
"""Those that replace entry points now."""


def _appeared(module: Any) -> None:
    """Replace the entry points of a module whose code has just run, again where it was imported anew."""
    with _lock:
        for label in [label for label in _found if module.__name__ in (label, label.rpartition(".")[0])]:
            for point in [point for point in _points if point.label == label and point.users]:
                point.renew()
        points = _entry_points(recheck=True, new=module)
        for interceptors in _open:
            interceptors.take(points)


def _is_in_table(name: str) -> bool:
    return name in _modules()


_HOOK = AfterImport(_is_in_table, _appeared)


def is_reader(value: object) -> bool:
    """Whether `value` is one of the functions that are replaced while a preview runs."""
    return callable(value) and (_is_wrapper(value) or id(value) in _readers())


def is_intercepted(place: object, name: str) -> bool:
    """Whether the entry point of this name is replaced while a preview runs."""
    _entry_points()
    return (id(place), name) in _places


def intercepted(fn: Any) -> Any:
    """`fn`, or its noting wrapper when it is a reader given as a step itself, such as `map(polars.read_csv)`."""
    if isinstance(fn, partial):
        return partial(intercepted(fn.func), *fn.args, **fn.keywords)
    point = _readers().get(id(fn))
    return fn if point is None else point.wrapper


def _is_wrapper(value: object) -> bool:
    function = value.__func__ if isinstance(value, staticmethod) else value
    return isinstance(function, (FunctionType, type)) and "_records_reads" in function.__dict__


def _original_of(value: Any) -> Any:
    """What a wrapper stands for, which one module has taken from another; any other value itself."""
    if not _is_wrapper(value) or isinstance(value, staticmethod):
        return value
    return value.__mro__[1] if isinstance(value, type) else getattr(value, "__wrapped__", value)


_MOST_REACHED = 1_000


def held(functions: Iterable[Any]) -> list[tuple[Namespace, str]]:
    """The names that hold an entry point, in the namespaces of the author's functions that these functions reach.

    Example:
        >>> import types
        >>> from polars import read_csv
        >>> space = {"read": read_csv, "__name__": "author"}
        >>> step = types.FunctionType(compile("lambda context: read('a.csv')", "author.py", "eval").co_consts[0], space)
        >>> [name for _, name in held([step])]
        ['read']
    """
    todo, ids = list(functions), set[int]()
    found: dict[tuple[int, str], tuple[Namespace, str]] = {}
    while todo and len(ids) < _MOST_REACHED:
        value = todo.pop()
        if id(value) in ids:
            continue
        ids.add(id(value))
        for space, name in _names_of(value, todo):
            target = space.get(name)
            if id(target) in _readers():
                found[id(space), name] = space, name
            elif isinstance(target, (FunctionType, type, partial, dict)):
                todo.append(target)
    return list(found.values())


def _is_authors(fn: FunctionType) -> bool:
    is_ours = str(fn.__globals__.get("__name__")).partition(".")[0] == "data_engine"
    return not is_ours and not fn.__code__.co_filename.startswith((*library_folders(), "<frozen"))


def _names_of(value: Any, todo: list[Any]) -> Iterator[tuple[Namespace, str]]:
    """The names by which a function of the author's finds others, each with its namespace; what it holds in other ways is `todo`."""
    if isinstance(value, partial):
        todo += [value.func, *value.args]
    elif isinstance(value, dict):  # such as of the writer for each extension
        yield from ((value, name) for name in islice(value, _MOST_REACHED))
    elif isinstance(value, type):
        if value.__module__.partition(".")[0] not in sys.stdlib_module_names:
            todo += [one for one in vars(value).values() if isinstance(one, FunctionType)]
    elif not isinstance(value, FunctionType):
        called = vars(type(value)).get("__call__")
        todo += filter(None, (getattr(value, "fn", None), getattr(value, "__func__", None), called))
    elif _is_authors(value):
        for cell in value.__closure__ or ():
            with suppress(ValueError):  # it is not bound yet
                todo += [cell.cell_contents] if isinstance(cell.cell_contents, (FunctionType, partial)) else []
        for chain in code_facts(value.__code__).globals:
            space, name = value.__globals__, chain[0]
            if isinstance(module := space.get(name), ModuleType) and len(chain) > 1:
                if module.__name__ in _modules():
                    continue
                space, name = vars(module), chain[1]
            yield space, name


# -- where a reader is found, and its wrapper there --------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _EntryPoint:
    """A name in a module, a class or the author's namespace (a dict), and the wrapper that stands there while somebody `users` it.

    The wrapper is made once, so that a copy somebody keeps stays recognisable.
    """

    place: Any
    name: str
    note: Callable[..., Any]
    original: Any
    wrapper: Any
    label: str = ""
    is_of_runs: bool = False
    users: int = 0
    space: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.space = self.place if isinstance(self.place, dict) else vars(self.place)

    def install(self) -> None:
        """Let the wrapper stand there."""
        self.users += 1
        if self.users == 1:
            self.renew()

    def renew(self) -> None:
        """Let the wrapper of what stands there now stand there."""
        if (now := self.space.get(self.name)) is not self.original:
            if now is None or _is_wrapper(now):
                return
            self.original, self.wrapper = now, _make_wrapper(now, self.note)
        self._put(self.wrapper)

    def restore(self) -> None:
        """Put the original back, unless something else stands there now."""
        self.users -= 1
        if not self.users:
            if self.space.get(self.name) is self.wrapper:
                self._put(self.original)
            if _captured:
                _captured.pop((id(self.place), self.name), None)

    def _put(self, value: Any) -> None:
        if isinstance(self.space, dict):
            self.space[self.name] = value
            return
        try:
            setattr(self.place, self.name, value)
        except (AttributeError, TypeError):  # a class that cannot be changed keeps its own
            return


_captured: dict[tuple[int, str], _EntryPoint] = {}
"""The entry points in namespaces of the author's, while they are used."""


def _captured_point(captured: tuple[Namespace, str]) -> _EntryPoint | None:
    space, name = captured
    point = _captured.get((id(space), name))
    reader = _readers().get(id(space.get(name))) if point is None else None
    if reader is not None:
        point = _captured[id(space), name] = replace(reader, place=space, name=name, original=space[name], users=0)
    return point


def _make_wrapper(original: Any, note: Any) -> Any:
    if isinstance(note, writers.Double):
        return note.of(original)
    is_doubted = note in (_READ, recorders.record_open)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if is_not_logged():
            return original(*args, **kwargs)
        logs = active_logs()
        if not is_doubted:
            return note(original, logs, args, kwargs)
        if not logs:
            return original(*args, **kwargs)
        _tell(logs, lambda: doubts_of(original, args, kwargs))
        read = note(original, logs, args, kwargs)
        _tell(logs, lambda: doubts_of_table(original, read, args, kwargs))
        return read

    with suppress(AttributeError, TypeError):
        wrapper = wraps(original)(wrapper)
    wrapper._records_reads = True  # type: ignore[attr-defined]
    return staticmethod(wrapper) if isinstance(original, staticmethod) else wrapper


def _tell(logs: Iterable[ReadLog], doubts: Callable[[], Iterable[str]]) -> None:
    """Add doubts to the logs; looking for them never fails a step, and is no read of it."""
    with suppress(Exception), not_logged():  # whatever a library raises of a file that the step itself could read
        for doubt in doubts():
            for log in logs:
                log.doubts.setdefault(doubt)


# -- which entry points there are ------------------------------------------------------------------------------------

_READ = recorders.reader("content")
_WRITE = writers.writer(1)
_ENGINE_WRITE = writers.writer(2)
_PYARROW: dict[str, Any] = {
    "memory_map": writers.moded(writers.writer(0), _READ),
    "input_stream": _READ,
    "output_stream": writers.writer(0),
    "create_memory_map": writers.writer(0),
}
_PYARROW_CLASSES: dict[str, Any] = {
    "OSFile": writers.constructor(writers.moded(writers.writer(0), _READ)),
    "CompressedOutputStream": writers.constructor(writers.writer(0)),
    "MemoryMappedFile": writers.creator("create", writers.writer(0)),
}
_SQLITE: dict[str, Any] = {"connect": databases.record_database, "Connection": writers.Double(connection_class)}
_CHANGE_NAMES = ("append", "appender", "query_appender", "checkpoint")
_SQL_NAMES = ("sql", "query", "execute", "executemany", "from_query")
_RECORDERS: dict[str, dict[str, Any]] = {
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
    "multiprocessing.pool.Pool": dict.fromkeys(("apply_async", "_map_async", "imap", "imap_unordered"), writers.pool_call),
    os.path.__name__: dict.fromkeys(
        ("exists", "isfile", "isdir", "islink", "lexists", "ismount", "getsize", "getmtime", "getctime", "getatime", "samefile",
         "realpath"),
        recorders.record_question,
    ),
    "sqlite3": _SQLITE,
    "sqlite3.dbapi2": _SQLITE,
    "duckdb": {"connect": databases.record_duckdb, **dict.fromkeys(_SQL_NAMES, databases.record_module_sql),
               "query_df": databases.record_frame_query, "write_csv": databases.record_frame_file,
               **dict.fromkeys(_CHANGE_NAMES, databases.record_changes)},
    "duckdb.DuckDBPyConnection": {
        **dict.fromkeys(_SQL_NAMES, databases.record_method_sql),
        **dict.fromkeys(("read_csv", "read_parquet", "read_json", "from_parquet", "from_csv_auto"), recorders.method_reader),
        **dict.fromkeys(_CHANGE_NAMES, databases.record_changes),
        **dict.fromkeys(("table_function", "tf", "install_extension", "load_extension", "create_function",
                         "register_filesystem"), recorders.record_unseen("what a DuckDB connection was given")),
    },
    "duckdb.DuckDBPyRelation": {
        "query": databases.record_frame_query,
        **dict.fromkeys(("filter", "project", "select", "aggregate", "order", "sort", "join"), databases.record_fragments),
        "sample": recorders.record_unseen("random numbers (a sampled relation)"),
        **dict.fromkeys(("create", "create_view", "to_table", "to_view", "insert", "insert_into", "update"),
                        recorders.record_unseen("tables it makes in a DuckDB connection")),
        **dict.fromkeys(("to_csv", "write_csv", "to_parquet", "write_parquet"), databases.record_frame_file),
    },
    "polars": {"sql": databases.record_frames_sql},
    "polars.SQLContext": {"execute": databases.record_frames_sql},
    "polars.DataFrame": {"sample": recorders.record_sample, "serialize": _WRITE},
    "polars.Series": {"sample": recorders.record_sample, "shuffle": recorders.record_sample, "rank": recorders.record_rank},
    "polars.Expr": {"sample": recorders.record_sample, "shuffle": recorders.record_sample, "rank": recorders.record_rank},
    "polars.LazyFrame": {"serialize": _WRITE},
    "polars.expr.meta.ExprMetaNameSpace": {"serialize": _WRITE},
    "polars.lazyframe.engine._LocalEngine": {},
    "pandas.DataFrame": {"sample": recorders.record_sample},
    "pandas.Series": {"sample": recorders.record_sample},
    "pandas": {},
    "pandas.core.generic.NDFrame": {"to_hdf": _WRITE},
    "pandas.HDFStore": {"__init__": _WRITE},
    "numpy": dict.fromkeys(("load", "fromfile", "loadtxt", "genfromtxt"), _READ),
    "fastexcel": {},
    "pyarrow": {**_PYARROW, **_PYARROW_CLASSES},
    "pyarrow.lib": _PYARROW,  # its classes must stay: other modules of C code ask it for them
    "pyarrow.fs": {"copy_files": writers.copy_files, **dict.fromkeys(
        ("FileSystem", "LocalFileSystem", "SubTreeFileSystem"), writers.FILESYSTEM)},
    "pyarrow.csv": {"read_csv": _READ, "open_csv": _READ, "write_csv": _WRITE, "CSVWriter": writers.constructor(writers.writer(0))},
    "pyarrow.json": {"read_json": _READ, "open_json": _READ},
    "pyarrow.parquet": {
        **dict.fromkeys(("read_table", "read_pandas", "read_schema", "read_metadata"), _READ),
        "write_table": _WRITE,  # which removes the file when its writer fails
    },
    "pyarrow.parquet.ParquetWriter": {"__init__": _WRITE},
    "pyarrow.parquet.ParquetFile": {"__init__": recorders.method_reader},
    "pyarrow.parquet.ParquetDataset": {"__init__": recorders.method_reader},
    "pyarrow.dataset": {"dataset": _READ, "parquet_dataset": _READ, "write_dataset": writers.write_dataset},
    "pyarrow.feather": {"read_table": _READ, "read_feather": _READ, "write_feather": _WRITE},
    "pyarrow.feather.FeatherDataset": {"__init__": recorders.method_reader},
    "pyarrow.ipc": {"open_file": _READ, "open_stream": _READ},
    "pyarrow.ipc.RecordBatchFileWriter": {"__init__": _WRITE},
    "pyarrow.ipc.RecordBatchStreamWriter": {"__init__": _WRITE},
    "pyarrow.orc": {"read_table": _READ, "write_table": _WRITE},
    "pyarrow.orc.ORCFile": {"__init__": recorders.method_reader},
    "pyarrow.orc.ORCWriter": {"__init__": _WRITE},
    "dbm.gnu": {"open": writers.moded(writers.writer(0), _READ)},
    "dbm.ndbm": {"open": writers.moded(writers.suffixed((".db", ".dir", ".pag")), _READ)},
    "readline": {"write_history_file": writers.suffixed(("",)), "append_history_file": _WRITE},
}  # fmt: skip
_OF_RUNS = (_READ, recorders.record_open, databases.record_database, databases.record_duckdb)
"""The recorders of what names the files of a run, where it is no method."""
_ANYWHERE_OF_RUNS = (
    recorders.record_thread, recorders.record_submit, databases.record_module_sql, databases.record_method_sql,
    databases.record_fragments, databases.record_frame_query, databases.record_frame_file,
)  # fmt: skip
"""The recorders of what a run is about to write, past Python, and of what hands its guard to other threads."""
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
_SEEN_PREFIXES = ("read_", "scan_", "from_parquet", "from_csv")
_POLARS_ENGINE = "polars.lazyframe.engine._LocalEngine"
_WRITERS = ("polars.DataFrame", "polars.LazyFrame", _POLARS_ENGINE)
"""Every `write_*` and `sink_*` of these is an entry point, whatever the version."""
_WRITER_PREFIXES = ("write_", "sink_")


@cache
def watched_libraries() -> frozenset[str]:
    """The top-level names of the libraries with entry points."""
    return frozenset(_labels())


_points: list[_EntryPoint] = []
_points_of_runs: list[_EntryPoint] = []
_places: set[tuple[int, str]] = set()
_of_functions: dict[int, _EntryPoint] = {}
_found: dict[str, Any] = {}
_absent: set[str] = set()
"""The modules of the table that were not imported, or were being imported, when all were looked for."""
_modules_then = -1


@cache
def _modules() -> frozenset[str]:
    """The names of the modules of the table, and of the classes, which no import asks for."""
    return frozenset(name for labels in _labels().values() for pair in labels for name in pair)


def _readers() -> dict[int, _EntryPoint]:
    """The entry point of each reader that is a plain function, by its identity."""
    _entry_points()
    return _of_functions


def _entry_points(*, recheck: bool = False, new: Any = None) -> list[_EntryPoint]:
    """Every entry point of the libraries imported so far; none is imported for it, and later ones are added to the end. One that is
    being imported is left to the finder; `new` has been, just now."""
    global _modules_then
    if len(sys.modules) == _modules_then and not recheck:
        return _points
    with _lock:
        is_same, _modules_then = len(sys.modules) == _modules_then and new is None, len(sys.modules)
        _absent.clear()
        _absent.update(library for library in _labels() if library not in sys.modules)
        imported = (labels for library, labels in _labels().items() if library in sys.modules)
        for label, owner in chain.from_iterable(imported):
            if is_same and label in _found:
                continue
            module = sys.modules.get(label) or sys.modules.get(owner)
            is_coming = module is not new and getattr(getattr(module, "__spec__", None), "_initializing", False)
            place = None if is_coming else _find(label)
            if place is None:
                _absent.update((label, owner) if module is None or is_coming else (label,))
            elif place is not _found.get(label):
                _found[label] = place
                _points.extend(points := [*_points_of(label, place)])
                _points_of_runs.extend(point for point in points if point.is_of_runs)
    return _points


@cache
def _labels() -> Mapping[str, Sequence[tuple[str, str]]]:
    """The labels of the table by their library, each with what it is an attribute of where it is no module."""
    labels: dict[str, list[tuple[str, str]]] = {}
    for label in _RECORDERS:
        labels.setdefault(label.partition(".")[0], []).append((label, label.rpartition(".")[0]))
    return labels


def _points_of(label: str, place: Any) -> Iterator[_EntryPoint]:
    """The entry points of a module or a class."""
    prefixes = _SEEN_PREFIXES if label in _SEEN_LIBRARIES else _WRITER_PREFIXES if label in _WRITERS else ()
    is_class = isinstance(place, type)
    for name in dict.fromkeys((*_RECORDERS[label], *(name for name in vars(place) if name.startswith(prefixes)))):
        original = _original_of(vars(place).get(name))
        if callable(original):
            note = _RECORDERS[label].get(name) or (_ENGINE_WRITE if label == _POLARS_ENGINE else _note_of(name))
            is_of_runs = getattr(note, "is_of_runs", False) or note in _ANYWHERE_OF_RUNS
            is_of_runs = is_of_runs or (note in _OF_RUNS and not is_class)
            wrapper = original if _is_wrapper(original) else _make_wrapper(original, note)
            point = _EntryPoint(place, name, note, original, wrapper, label, is_of_runs)
            _places.add((id(place), name))
            if not is_class:
                _of_functions[id(original)] = point
            yield point


def _note_of(name: str) -> Callable[..., Any]:
    """The recorder of an entry point, by its name."""
    if name.startswith(_WRITER_PREFIXES):
        return _WRITE
    return recorders.record_unseen(_NO_PATH[name]) if name in _NO_PATH else _READ


def _find(label: str) -> Any:
    module = sys.modules.get(label)
    if module is not None:
        return module
    owner, _, name = label.rpartition(".")
    value = vars(sys.modules[owner]).get(name) if owner in sys.modules else None
    return value if isinstance(value, type) else None


_HEAD_BYTES = 256 * 1024
_FEW_ROWS = 20
_MOST_FILES = 3
_SEPARATORS = (*SEPARATORS, ",")
_SECOND = "_duplicated_0"
_TEXT_READERS = ("read_csv", "scan_csv", "read_table")


def doubts_of(reader: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[str]:
    """The doubts about what `reader(*args, **kwargs)` will give: a sentence with its fix for each file."""
    name = getattr(reader, "__name__", "")
    encoding = _encoding(name, args, kwargs)
    if encoding is None and name not in _TEXT_READERS:
        return
    for path in paths_of(args, kwargs):
        if name in _TEXT_READERS and (fix := workbook_fix(path)) is not None:
            yield fix
        elif encoding is not None:
            yield from filter(None, [utf8_read_as(path, encoding)])


def doubts_of_table(reader: Any, table: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[str]:
    """The doubt about the `table` that `reader(*args, **kwargs)` gave: that its only column is all columns of the file.

    A file that is read on purpose without a separator, such as by lines, shows in the separator that was named.

    Example:
        >>> import polars as pl
        >>> table = pl.DataFrame({"city;amount": ["Oslo;1"]})
        >>> list(doubts_of_table(pl.read_csv, table, ("in/may.csv",), {}))
        ['the only column is "city;amount": the file has ";" between its columns, so read it with separator=";"']
    """
    used = [kwargs[word] for word in ("separator", "sep", "delimiter") if word in kwargs] or [","]
    if getattr(reader, "__name__", "") not in _TEXT_READERS or used[0] not in _SEPARATORS:
        return
    paths = paths_of(args, kwargs)
    if type(table).__name__ == "LazyFrame" and paths and len(table.collect_schema()) == 1:
        table = table.head(_FEW_ROWS).collect()
    doubt = _all_in_one(table, [separator for separator in _SEPARATORS if separator not in used])
    if doubt is not None:
        yield doubt if len(paths) != 1 else f"{os.path.basename(paths[0])}: {doubt}"


def _all_in_one(table: Any, separators: list[str]) -> str | None:
    """The fix of a frame whose only column holds in its heading, and in most rows, what stands between columns."""
    columns = list(table.columns) if type(table).__name__ == "DataFrame" else []
    if len(columns) != 1 or not isinstance(columns[0], str):
        return None
    separator = next((mark for mark in separators if mark in columns[0]), "")
    rows = [str(value) for value in table[columns[0]].head(_FEW_ROWS)]
    if type(getattr(table, "index", None)).__name__ not in ("NoneType", "RangeIndex"):
        rows = [
            str(value) for value in table.index[:_FEW_ROWS]
        ]  # pandas, whose values before those of the header are the index
    if sum(separator in value for value in rows) * 2 < len(rows):
        return None
    option = "sep" if type(table).__module__.startswith("pandas") else "separator"
    return only_column_fix(columns, option, separators)


def headings_twice(result: Any) -> tuple[str, ...] | None:
    """The sentence for each column of a Polars frame that is the second with its heading and has the name that Polars gave it;
    None of anything else. Only the names are looked at. It holds until a later step gives a frame.

    Example:
        >>> import polars as pl
        >>> print(*headings_twice(pl.DataFrame({"amount": [1], "amount_duplicated_0": [2]})))
        the heading "amount" stands twice in what was read: the second column is called "amount_duplicated_0". Name them with new_columns=, rename it, or correct the file
        >>> headings_twice(pl.DataFrame({"amount": [1], "net": [2]})), headings_twice(None)
        ((), None)
    """
    if type(result).__name__ != "DataFrame" or not type(result).__module__.startswith("polars"):
        return None
    return tuple(
        f"the heading {quoted(name.removesuffix(_SECOND))} stands twice in what was read: the second column is called {quoted(name)}."
        " Name them with new_columns=, rename it, or correct the file"
        for name in result.columns
        if name.endswith(_SECOND)
    )


def utf8_read_as(path: str, encoding: str) -> str | None:
    r"""Say that a file is UTF-8 and is read as `encoding`; None where it is not, or has no letter that shows it.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = file.write_bytes("Köln".encode("utf-8"))
        >>> utf8_read_as(str(file), "cp1252")
        'a.csv is UTF-8 and was read as cp1252, so "ö" became "Ã¶": read it with encoding="utf8"'
        >>> _ = file.write_bytes("Köln".encode("cp1252"))
        >>> utf8_read_as(str(file), "cp1252")
    """
    with open_to_read(path) as file:
        head = file.read(_HEAD_BYTES)
    if head.isascii():
        return None
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    letter = next((char for char in text if not char.isascii() and char != "\ufeff"), None)
    if letter is None:
        return None
    became = letter.encode("utf-8").decode(encoding, "replace")
    name = os.path.basename(path)
    return f'{name} is UTF-8 and was read as {encoding}, so "{letter}" became "{became}": read it with encoding="utf8"'


def _encoding(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """The encoding that a text is read with, where it is not UTF-8 or ASCII."""
    encoding = kwargs.get("encoding")
    if name == "open":
        mode = args[1] if len(args) > 1 else kwargs.get("mode", "r")
        if not isinstance(mode, str) or "b" in mode or any(letter in mode for letter in "wxa"):
            return None
        encoding = (args[3] if len(args) > 3 else encoding) or locale.getencoding()
    if not isinstance(encoding, str):
        return None
    try:
        codec = codecs.lookup(encoding).name
    except LookupError:  # such as utf8-lossy, or a mistake that the reader tells
        return None
    return None if codec.startswith("utf") or codec == "ascii" else encoding


def paths_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str]:
    """The files among the arguments of a reader."""
    words = ("source", "path", "io", "filepath_or_buffer", "file")
    first = args[0] if args else next((kwargs[word] for word in words if word in kwargs), None)
    several = first[:_MOST_FILES] if isinstance(first, (list, tuple)) else [first]
    paths = [os.fspath(value) for value in several if isinstance(value, (str, os.PathLike))]
    return [path for path in paths if isinstance(path, str) and os.path.isfile(path)]
