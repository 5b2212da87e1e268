"""Seeing what a step reads: while a preview runs, the doors to files and databases note who goes through.

Native readers (`polars.read_csv`, `duckdb.connect`, ...) raise no audit event, and an audit hook can never be taken out
again; so their public entry points are replaced while a step of a preview runs, and put back after the last one. Who reads is
told by a context variable, which map threads inherit. Foreign threads have none: what they read counts for every
preview that runs at that moment.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial, wraps
from types import FrameType, FunctionType
from typing import Any

from data_engine.engine.reuse.bytecode import identifiers
from data_engine.engine.reuse.libraries import library_folders
from data_engine.engine.reuse.signatures import Kind, Look, look
from data_engine.engine.reuse.sql import Statement, read_sql

Namespace = dict[str, Any]


@dataclass(slots=True)
class Sightings:
    """What one step read and wrote while it ran.

    `written` are files it made anew, `targets` mirror paths it was given; `unseen` is the first reason why there may be more.
    """

    digest_frame: Callable[[object], bytes | None]
    reads: dict[tuple[Kind, str], Look] = field(default_factory=dict)
    frames: dict[tuple[int, str], tuple[Namespace, bytes]] = field(default_factory=dict)
    written: dict[str, None] = field(default_factory=dict)
    targets: dict[str, None] = field(default_factory=dict)
    is_duckdb_pristine: bool = False
    unseen: str | None = None

    def read(self, kind: Kind, path: str) -> None:
        """Note a read, with what is there now, before it is read."""
        key = (kind, path)
        if key not in self.reads and path not in self.written and not path.startswith(library_folders()):
            self.reads[key] = look(kind, path)

    def wrote(self, path: str) -> None:
        """Note that the step makes this file anew."""
        self.written.setdefault(path)

    def miss(self, reason: str) -> None:
        """Note that something cannot be seen."""
        if self.unseen is None:
            self.unseen = reason

    def frame(self, space: Namespace, name: str) -> None:
        """Note that a query read the author's frame of this name."""
        key = (id(space), name)
        if key not in self.frames:
            digest = self.digest_frame(space[name])
            if digest is None:
                self.miss(f"{name}, which a query reads")
            else:
                self.frames[key] = (space, digest)


_NOBODY = Sightings(lambda value: None)
_mine: ContextVar[Sightings | None] = ContextVar("preview_sightings", default=None)
_running: list[Sightings] = []
_lock = threading.RLock()


class Doors:
    """The replaced entry points of one preview: `with Doors() as doors`, and `doors.watch(...)` around each step."""

    def __init__(self) -> None:
        self._opened: dict[tuple[int, str], tuple[_Place, str]] = {}
        self._all_of: object = None

    def __enter__(self) -> Doors:
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            for place, name in reversed(self._opened.values()):
                _close_door(place, name)
            self._opened.clear()

    def _open(self, places: Iterable[tuple[_Place, str]]) -> None:
        for place, name in places:
            key = _door_key(place, name)
            if key not in self._opened:
                with _lock:
                    if _open_door(place, name):
                        self._opened[key] = (place, name)

    @contextmanager
    def watch(self, sightings: Sightings, captured: Iterable[tuple[Namespace, str]] = ()) -> Iterator[None]:
        """Inside, what this context reads is noted; `captured` are names in the author's modules that hold a reader."""
        doors = _doors(recheck=True)
        if doors is not self._all_of:
            self._open(doors)
            self._all_of = doors
        self._open((_Names(space), name) for space, name in captured)
        token = _mine.set(sightings)
        with _lock:
            _running.append(sightings)
        try:
            yield
        finally:
            with _lock:
                _running[:] = [one for one in _running if one is not sightings]
            _mine.reset(token)


def is_reader(value: object) -> bool:
    """Whether `value` is one of the functions that are replaced while a preview runs."""
    return callable(value) and (_is_double(value) or id(value) in _readers())


def is_door(place: object, name: str) -> bool:
    """Whether what lies there under this name is replaced while a preview runs."""
    return (id(place), name) in _door_keys()


def seen_through(fn: Any) -> Any:
    """`fn`, or its noting double when it is a reader given as a step itself, such as `map(polars.read_csv)`."""
    if isinstance(fn, partial):
        return partial(seen_through(fn.func), *fn.args, **fn.keywords)
    known = _readers().get(id(fn))
    return fn if known is None else known[1]


def _is_double(value: object) -> bool:
    return type(value) is FunctionType and "_notes_reads" in value.__dict__


# -- doors: where a reader is found, and its double there -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Names:
    """A module's names, which can be set like attributes."""

    namespace: Namespace


_Place = Any  # a module, a class, or _Names
_opened: dict[tuple[int, str], list[Any]] = {}


def _door_key(place: _Place, name: str) -> tuple[int, str]:
    return (id(place.namespace) if isinstance(place, _Names) else id(place), name)


def _names(place: _Place) -> Any:
    return place.namespace if isinstance(place, _Names) else vars(place)


def _set(place: _Place, name: str, value: Any) -> None:
    if isinstance(place, _Names):
        place.namespace[name] = value
    else:
        setattr(place, name, value)


def _open_door(place: _Place, name: str) -> bool:
    key = _door_key(place, name)
    known = _opened.get(key)
    if known is not None:
        known[0] += 1
        return True
    original = _names(place).get(name)
    double = _double(place, name, original)
    if double is None:
        return False
    try:
        _set(place, name, double)
    except (AttributeError, TypeError):
        return False
    _opened[key] = [1, original, double]
    return True


def _close_door(place: _Place, name: str) -> None:
    key = _door_key(place, name)
    known = _opened[key]
    known[0] -= 1
    if known[0] == 0:
        del _opened[key]
        if _names(place).get(name) is known[2]:
            _set(place, name, known[1])


_doubles: dict[tuple[str, str], tuple[Any, Any]] = {}
"""The double of each reader by its place; made once, so that a copy somebody keeps stays recognisable."""


def _double(place: _Place, name: str, original: Any) -> Any:
    if original is None or _is_double(original):
        return None
    if isinstance(place, _Names):
        known = _readers().get(id(original))
        return None if known is None else known[1]
    label = (f"{place.__module__}.{place.__qualname__}" if isinstance(place, type) else place.__name__, name)
    made = _doubles.get(label)
    if made is not None and made[0] is original:
        return made[1]
    note = _notes(label, name)
    double = _make_double(original, note)
    _doubles[label] = (original, double)
    return double


def _make_double(original: Any, note: Callable[..., Any]) -> Any:
    def double(*args: Any, **kwargs: Any) -> Any:
        seers = _seers()
        if not seers:
            return original(*args, **kwargs)
        return note(original, seers, args, kwargs)

    with suppress(AttributeError, TypeError):
        double = wraps(original)(double)
    double._notes_reads = True  # type: ignore[attr-defined]
    return double


def _seers() -> tuple[Sightings, ...]:
    mine = _mine.get()
    if mine is None:
        return tuple(_running)
    return () if mine is _NOBODY else (mine,)


_known: tuple[object, dict[int, tuple[Any, Any]]] = (None, {})


def _readers() -> dict[int, tuple[Any, Any]]:
    """Each reader that is a plain function, by its identity, with its double."""
    global _known
    doors = _doors()
    if _known[0] is not doors:
        found: dict[int, tuple[Any, Any]] = {}
        with _lock:
            for place, name in doors:
                if isinstance(place, type):
                    continue
                value = vars(place).get(name)
                if _is_double(value):
                    value = next(original for original, double in _doubles.values() if double is value)
                double = _double(place, name, value)
                if double is not None:
                    found[id(value)] = (value, double)
        _known = (doors, found)
    return _known[1]


# -- what each door notes ---------------------------------------------------------------------------------------------

_PATH_WORDS = frozenset(
    """source sources path paths file files io filepath filepath_or_buffer path_or_buf path_or_buffer path_or_file where filename
    database name uri input_file path_or_paths fname path_or_glob file_glob""".split()
)
_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


def _reader(kind: Kind) -> Callable[..., Any]:
    def note(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
        given = [*args[:1], *(value for word, value in kwargs.items() if word in _PATH_WORDS)]
        _note_paths(given, kind, seers)
        return original(*args, **kwargs)

    return note


def _method_reader(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    return _reader("content")(partial(original, args[0]), seers, args[1:], kwargs)


def _note_open(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    file = args[0] if args else kwargs.get("file")
    mode = args[1] if len(args) > 1 else kwargs.get("mode", "r")
    if isinstance(file, int):
        if file <= 2:
            _miss(seers, "the keyboard or a pipe")
        return original(*args, **kwargs)
    if isinstance(mode, str):
        reads = "r" in mode or "a" in mode or "+" in mode
        writes = any(letter in mode for letter in "wxa+")
        if reads and not ("w" in mode or "x" in mode):
            _note_paths([file], "content", seers, native=False)
        if writes:
            _note_written(file, seers)
    return original(*args, **kwargs)


def _note_os_open(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    flags = args[1] if len(args) > 1 else kwargs.get("flags", 0)
    path = args[0] if args else kwargs.get("path")
    is_anew = bool(flags & os.O_TRUNC or flags & os.O_EXCL)
    if kwargs.get("dir_fd") is not None:
        _miss(seers, "a file relative to an open folder")
    elif not is_anew:
        _note_paths([path], "content", seers, native=False)
    if flags & (os.O_WRONLY | os.O_RDWR):
        _note_written(path, seers)
    return original(*args, **kwargs)


_WALKERS = frozenset(
    {"os", "glob", "pathlib", "pathlib._local", "pathlib._abc", "pathlib._os", "shutil", "data_engine.flow.scan"}
)
_LOOKERS = frozenset(
    {"pathlib", "pathlib._local", "pathlib._abc", "genericpath", "posixpath", "ntpath", "zipfile", "shutil"}
)


def _note_stat(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    caller = sys._getframe(2)
    if caller.f_globals.get("__name__") in _LOOKERS and caller.f_code.co_name == "stat" and caller.f_back is not None:
        caller = caller.f_back
    if caller.f_code.co_name == "_stat" and caller.f_globals.get("__name__") == "shutil":
        return original(*args, **kwargs)  # a copy looks whether its target is a pipe; its source is opened
    is_question = caller.f_globals.get("__name__") in _LOOKERS
    question: Kind = "folder" if caller.f_code.co_name in ("is_dir", "isdir") else "kind"
    path = args[0] if args else kwargs.get("path")
    if kwargs.get("dir_fd") is not None:
        _miss(seers, "a file relative to an open folder")
    elif not isinstance(path, int):
        follows = kwargs.get("follow_symlinks", True)
        _note_paths([path], question if is_question else "stat" if follows else "link", seers, native=False)
        if not follows:
            _note_paths([path], "kind", seers, native=False)
    return original(*args, **kwargs)


def _note_lstat(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    path = args[0] if args else kwargs.get("path")
    if not isinstance(path, int):
        _note_paths([path], "kind", seers, native=False)
        _note_paths([path], "stat", seers, native=False)
    return original(*args, **kwargs)


def _note_listing(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    path = args[0] if args else kwargs.get("path", ".")
    is_scan = (
        getattr(original, "__name__", "") == "scandir" and sys._getframe(2).f_globals.get("__name__") not in _WALKERS
    )
    if isinstance(path, int):
        _miss(seers, "an open folder")
    else:
        _note_paths(["." if path is None else path], "entries" if is_scan else "names", seers, native=False)
    return original(*args, **kwargs)


_QUESTIONS: dict[str, Kind] = {
    **dict.fromkeys(("getsize", "getmtime", "getctime", "getatime", "samefile"), "stat"),
    "realpath": "link",
    "isdir": "folder",
}


def _note_question(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    name = getattr(original, "__name__", "")
    is_copy = name == "samefile" and sys._getframe(2).f_globals.get("__name__") == "shutil"
    if not is_copy:  # which looks whether its target is its source
        paths = [value for value in args if not isinstance(value, (int, bool))]
        _note_paths(paths, _QUESTIONS.get(name, "kind"), seers, native=False)
    token = _mine.set(_NOBODY)
    try:
        return original(*args, **kwargs)
    finally:
        _mine.reset(token)


def _note_database(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    place = args[0] if args else kwargs.get("database", ":memory:")
    text = place if isinstance(place, str) else None
    if text is not None and text in (":default:",):
        _miss(seers, "the default DuckDB connection")
    elif text is not None and (text.startswith(("file:", "md:", "motherduck:")) or "?" in text):
        _miss(seers, f"the database {text}")
    elif place not in (":memory:", "") and not (text or "").startswith(":memory:"):
        _note_paths([place], "database", seers, native=False)
    if kwargs.get("config"):
        _miss(seers, "a configured connection")
    return original(*args, **kwargs)


def _note_module_sql(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    given = kwargs.get("connection")
    duckdb: Any = sys.modules["duckdb"]
    if given is None and not all(one.is_duckdb_pristine for one in seers):
        if _is_pristine(duckdb):
            for one in seers:
                one.is_duckdb_pristine = True
        else:
            _miss(seers, "the state of the default DuckDB connection")
    _note_sql(seers, args[0] if args else kwargs.get("query"), is_shared=given is None)
    return _call_for_frames(original, args, kwargs)


def _note_method_sql(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    text = args[1] if len(args) > 1 else kwargs.get("query")
    _note_sql(seers, text, is_shared=args[0] is _default_connection())
    return _call_for_frames(original, args, kwargs)


def _note_relation_query(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    _note_sql(seers, args[-1] if args else None, is_shared=False)
    return _call_for_frames(original, args, kwargs)


def _note_frames_sql(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    texts = [value for value in (*args, *kwargs.values()) if isinstance(value, str)]
    if not texts:
        _miss(seers, "a query that is no text")
    for text in texts:
        _note_sql(seers, text, is_shared=False)
    return original(*args, **kwargs)


def _note_unseen(reason: str) -> Callable[..., Any]:
    def note(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
        _miss(seers, reason)
        return original(*args, **kwargs)

    return note


def _note_sample(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    if kwargs.get("seed") is None and kwargs.get("random_state") is None:
        _miss(seers, f"random numbers ({getattr(original, '__name__', 'sample')} without a seed)")
    return original(*args, **kwargs)


def _note_rank(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    if "random" in (*args[1:2], kwargs.get("method")) and kwargs.get("seed") is None:
        _miss(seers, "random numbers (a rank without a seed)")
    return original(*args, **kwargs)


def _note_fragments(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    for text in (*args, *kwargs.values()):
        if isinstance(text, str):
            _note_sql(seers, text, is_shared=False)
    return _call_for_frames(original, args, kwargs)


def _note_rename(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    _note_written(args[1] if len(args) > 1 else kwargs.get("dst"), seers)
    return original(*args, **kwargs)


def _note_writer(original: Any, seers: tuple[Sightings, ...], args: _Args, kwargs: _Kwargs) -> Any:
    for value in (*args[1:2], *(value for word, value in kwargs.items() if word in _PATH_WORDS or word == "target")):
        _note_written(value, seers)
    return original(*args, **kwargs)


def _miss(seers: tuple[Sightings, ...], reason: str) -> None:
    for one in seers:
        one.miss(reason)


def _note_written(value: object, seers: tuple[Sightings, ...]) -> None:
    for text in _texts_of(value) or ():
        for one in seers:
            one.wrote(os.path.abspath(text))


def _note_paths(values: Iterable[object], kind: Kind, seers: tuple[Sightings, ...], *, native: bool = True) -> None:
    """Note each path in `values`; native readers also take patterns, folders and addresses."""
    token = _mine.set(_NOBODY)
    try:
        for value in values:
            texts = _texts_of(value)
            if texts is None:
                _miss(seers, f"a reader given a {type(value).__name__}")
                continue
            for text in texts:
                if native and "://" in text:
                    _miss(seers, f"the address {text.partition('?')[0]}")
                    continue
                path = os.path.abspath(os.path.expanduser(text) if native else text)
                is_pattern = native and any(letter in text for letter in "*?[") and not os.path.exists(path)
                if path.startswith(("/proc/", "/sys/")) or (path.startswith("/dev/") and path != os.devnull):
                    _miss(seers, path)
                    continue
                for one in seers:
                    one.read("tree" if is_pattern else kind, path)
    finally:
        _mine.reset(token)


def _texts_of(value: object) -> list[str] | None:
    """The paths meant by an argument, [] for open files and other data, None when nobody can tell."""
    if isinstance(value, (str, os.PathLike)):
        return [os.fsdecode(value)]
    if isinstance(value, bytes):
        return [os.fsdecode(value)] if len(value) < 4096 and b"\n" not in value and b"\0" not in value else []
    if value is None or isinstance(value, (int, io.IOBase, bytearray, memoryview)) or hasattr(value, "read"):
        return []
    if isinstance(value, (list, tuple, set, frozenset)):
        found = [_texts_of(item) for item in value]
        return None if None in found else [text for texts in found for text in texts or ()]
    module = type(value).__module__.partition(".")[0]
    return [] if module in ("pyarrow", "polars", "pandas", "numpy", "duckdb", "_duckdb", "_polars_runtime_32") else None


def _note_sql(seers: tuple[Sightings, ...], text: object, *, is_shared: bool) -> None:
    if not isinstance(text, str):
        _miss(seers, "a query that is no text")
        return
    token = _mine.set(_NOBODY)
    try:
        statement: Statement = read_sql(text)
    finally:
        _mine.reset(token)
    if statement.unseen is not None:
        _miss(seers, statement.unseen)
    if is_shared and statement.changes:
        _miss(seers, "the default DuckDB connection, which it changes")
    _note_paths(statement.files, "content", seers)
    _note_paths(statement.databases, "database", seers, native=False)
    _note_written(list(statement.targets), seers)
    words = identifiers(text)
    frame: FrameType | None = sys._getframe(3)
    is_outside = False
    while frame is not None:
        space = frame.f_globals
        if space.get("__name__", "").startswith("data_engine.engine"):
            is_outside = True  # beyond the step: who called the preview
        else:
            for word in words & space.keys():
                if is_frame(space[word]):
                    for one in seers:
                        one.frame(space, word)
            if is_outside and frame.f_locals is not space:
                found = next((word for word in words & frame.f_locals.keys() if is_frame(frame.f_locals[word])), None)
                if found is not None:
                    _miss(seers, f"{found}, a variable of whoever called the preview")
        frame = frame.f_back


def is_frame(value: object) -> bool:
    """Whether SQL can read `value` by the name of its variable."""
    return type(value).__module__.partition(".")[0] in ("polars", "pyarrow", "pandas", "numpy", "duckdb", "_duckdb")


_CALL = compile("__data_engine_call__()", "<preview>", "eval")


def _call_for_frames(original: Any, args: _Args, kwargs: _Kwargs) -> Any:
    """Call DuckDB as if from the caller's own frame, where it looks for frames by name."""
    caller = sys._getframe(3)
    names = {**caller.f_locals, "__data_engine_call__": partial(original, *args, **kwargs)}
    return eval(_CALL, caller.f_globals, names)


def _default_connection() -> object:
    duckdb: Any = sys.modules["duckdb"]
    return duckdb.default_connection()


_STATE = """
    select (select count(*) from duckdb_tables()) + (select count(*) from duckdb_views() where not internal)
         + (select count(*) from duckdb_functions() where not internal)
         + (select count(*) from duckdb_types() where not internal),
    (select string_agg(concat(name, '=', value), ';' order by name) from duckdb_settings())
"""
_fresh_settings: list[object] = []


def _is_pristine(duckdb: Any) -> bool:
    """Whether the default connection is as a new one: no tables, no functions, no settings of its own."""
    token = _mine.set(_NOBODY)
    try:
        if not _fresh_settings:
            with duckdb.connect() as fresh:
                _fresh_settings.append(fresh.execute(_STATE).fetchone()[1])
        with duckdb.default_connection().cursor() as cursor:
            made, settings = cursor.execute(_STATE).fetchone()
        return bool(made == 0 and settings == _fresh_settings[0])
    finally:
        _mine.reset(token)


# -- which doors there are ----------------------------------------------------------------------------------------------

_READ = _reader("content")
_SQL_NAMES = ("sql", "query", "execute", "executemany", "from_query", "query_df")
_DOORS: dict[str, dict[str, Callable[..., Any]]] = {
    "builtins": {"open": _note_open},
    "io": {"open": _note_open},
    "bz2": {"_builtin_open": _note_open},
    "tarfile": {"bltn_open": _note_open},
    "tokenize": {"_builtin_open": _note_open},
    "os": {
        "open": _note_os_open,
        "stat": _note_stat,
        "lstat": _note_lstat,
        "listdir": _note_listing,
        "scandir": _note_listing,
        "rename": _note_rename,
        "replace": _note_rename,
        "readlink": _reader("link"),
        "access": _reader("stat"),
    },
    os.path.__name__: dict.fromkeys(
        ("exists", "isfile", "isdir", "islink", "lexists", "ismount", "getsize", "getmtime", "getctime", "getatime", "samefile",
         "realpath"),
        _note_question,
    ),
    "sqlite3": {"connect": _note_database},
    "duckdb": {"connect": _note_database, **dict.fromkeys(_SQL_NAMES, _note_module_sql)},
    "duckdb.DuckDBPyConnection": {
        **dict.fromkeys(_SQL_NAMES, _note_method_sql),
        **dict.fromkeys(("read_csv", "read_parquet", "read_json", "from_parquet", "from_csv_auto"), _method_reader),
        **dict.fromkeys(("table_function", "tf", "install_extension", "load_extension", "create_function", "query_appender",
                         "register_filesystem"), _note_unseen("what a DuckDB connection was given")),
    },
    "duckdb.DuckDBPyRelation": {
        "query": _note_relation_query,
        **dict.fromkeys(("filter", "project", "select", "aggregate", "order", "sort", "join"), _note_fragments),
        "sample": _note_unseen("random numbers (a sampled relation)"),
        **dict.fromkeys(("create", "create_view", "to_table", "to_view", "insert", "insert_into", "update"),
                        _note_unseen("tables it makes in a DuckDB connection")),
        **dict.fromkeys(("to_csv", "write_csv", "to_parquet", "write_parquet"), _note_writer),
    },
    "polars": {"sql": _note_frames_sql},
    "polars.SQLContext": {"execute": _note_frames_sql},
    "polars.DataFrame": {"sample": _note_sample},
    "polars.Series": {"sample": _note_sample, "shuffle": _note_sample, "rank": _note_rank},
    "polars.Expr": {"sample": _note_sample, "shuffle": _note_sample, "rank": _note_rank},
    "polars.LazyFrame": {},
    "pandas.DataFrame": {"sample": _note_sample},
    "pandas.Series": {"sample": _note_sample},
    "pandas": {},
    "numpy": dict.fromkeys(("load", "fromfile", "loadtxt", "genfromtxt"), _READ),
    "fastexcel": {},
    "pyarrow": {"memory_map": _READ, "input_stream": _READ},
    "pyarrow.csv": {"read_csv": _READ, "open_csv": _READ},
    "pyarrow.json": {"read_json": _READ, "open_json": _READ},
    "pyarrow.parquet": dict.fromkeys(("read_table", "read_pandas", "read_schema", "read_metadata"), _READ),
    "pyarrow.parquet.ParquetFile": {"__init__": _method_reader},
    "pyarrow.parquet.ParquetDataset": {"__init__": _method_reader},
    "pyarrow.dataset": {"dataset": _READ, "parquet_dataset": _READ},
    "pyarrow.feather": {"read_table": _READ, "read_feather": _READ},
    "pyarrow.feather.FeatherDataset": {"__init__": _method_reader},
    "pyarrow.ipc": {"open_file": _READ, "open_stream": _READ},
    "pyarrow.orc": {"read_table": _READ},
    "pyarrow.orc.ORCFile": {"__init__": _method_reader},
}  # fmt: skip
_SEEN_LIBRARIES = ("polars", "pandas", "duckdb", "fastexcel")
"""Every public `read_*` and `scan_*` of these is a door, whatever the version."""
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


def watched_libraries() -> frozenset[str]:
    """The top-level names of the libraries with doors."""
    return frozenset(label.partition(".")[0] for label in _DOORS)


def _notes(label: tuple[str, str], name: str) -> Callable[..., Any]:
    place = label[0]
    place = {
        "polars.dataframe.frame.DataFrame": "polars.DataFrame",
        "polars.lazyframe.frame.LazyFrame": "polars.LazyFrame",
        "polars.series.series.Series": "polars.Series",
        "polars.expr.expr.Expr": "polars.Expr",
        "polars.sql.context.SQLContext": "polars.SQLContext",
    }.get(place, place)
    for known, doors in _DOORS.items():
        if name in doors and (known == place or known.rpartition(".")[2] == place.rpartition(".")[2]):
            return doors[name]
    if name.startswith(("write_", "sink_", "to_")):
        return _note_writer
    return _note_unseen(_NO_PATH[name]) if name in _NO_PATH else _READ


_ALL_LABELS = frozenset(_DOORS)
_door_cache: tuple[frozenset[str], list[tuple[_Place, str]]] = (frozenset(), [])
_modules_then = -1


def _doors(*, recheck: bool = False) -> list[tuple[_Place, str]]:
    """Every door of the libraries imported so far; none is imported for it."""
    global _door_cache, _modules_then
    if len(sys.modules) == _modules_then and not recheck:
        return _door_cache[1]
    _modules_then = len(sys.modules)
    absent = _ALL_LABELS - _door_cache[0]
    loaded = _door_cache[0] | {label for label in absent if label.partition(".")[0] in sys.modules and _find(label)}
    if loaded != _door_cache[0]:
        found: list[tuple[_Place, str]] = []
        for label in _DOORS:
            place = _find(label) if label in loaded else None
            if place is None:
                continue
            names = dict.fromkeys(_DOORS[label])
            if label in _SEEN_LIBRARIES:
                names |= dict.fromkeys(
                    name for name in vars(place) if name.startswith(("read_", "scan_", "from_parquet", "from_csv"))
                )
            if label in _WRITERS:
                prefixes = ("write_", "sink_", "to_csv", "to_parquet", "to_excel", "to_json", "to_feather", "to_pickle")
                names |= dict.fromkeys(name for name in vars(place) if name.startswith(prefixes))
            found += [(place, name) for name in names if callable(vars(place).get(name))]
        _door_cache = (loaded, found)
    return _door_cache[1]


def _door_keys() -> frozenset[tuple[int, str]]:
    global _keys_of
    doors = _doors()
    if _keys_of[0] is not doors:
        _keys_of = (doors, frozenset(_door_key(place, name) for place, name in doors))
    return _keys_of[1]


_keys_of: tuple[object, frozenset[tuple[int, str]]] = (None, frozenset())


def _find(label: str) -> Any:
    module = sys.modules.get(label)
    if module is not None:
        return module
    owner, _, name = label.rpartition(".")
    value = vars(sys.modules[owner]).get(name) if owner in sys.modules else None
    return value if isinstance(value, type) else None
