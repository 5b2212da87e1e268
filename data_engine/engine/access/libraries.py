"""Which code is the author's, which libraries only compute, and what in them a preview cannot see through.

A step is reused only when everything it reaches is the author's (and so part of its key), computes from its arguments, or
reads through an entry point that `interceptors` replaces. Whatever is on no list counts as unseen: that costs a re-run, never a stale result.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType

_COMPUTING = frozenset(
    """abc array ast base64 binascii bisect builtins bz2 calendar cmath codecs collections colorsys configparser
    contextlib contextvars copy copyreg csv dataclasses datetime decimal difflib enum errno fnmatch fractions functools
    genericpath glob graphlib gzip hashlib heapq hmac html io itertools json keyword logging lzma math marshal
    ntpath numbers opcode operator os pathlib pickle posixpath pprint quopri re reprlib shutil sqlite3 stat statistics
    string stringprep struct sys tarfile textwrap token tokenize tomllib types typing unicodedata uuid warnings
    weakref xml zipfile zlib zoneinfo __future__ _bisect _collections _collections_abc _csv _datetime _decimal _functools
    _heapq _io _json _operator _pickle _sqlite3 _sre _statistics _struct _weakref _pydecimal _weakrefset""".split()
)
_TRUSTED = frozenset(
    """attr attrs data_engine dateutil duckdb _duckdb fastexcel numpy openpyxl pandas polars _polars_runtime_32 polars_runtime_32
    pyarrow pytz tomlkit typing_extensions tzdata xlsxwriter yaml""".split()
)
_OS_FINE = frozenset(
    """DirEntry F_OK PathLike R_OK W_OK X_OK access altsep curdir devnull extsep fsdecode fsencode fspath getcwd lstat linesep
    link listdir makedirs mkdir name open close fdopen pardir path pathsep read readlink remove removedirs rename renames replace rmdir
    scandir sep stat strerror symlink unlink utime walk write chmod fsync truncate error""".split()
)
_SYS_FINE = frozenset(
    "byteorder float_info hash_info int_info maxsize maxunicode platform stderr stdout version version_info intern".split()
)
_DUCKDB_FINE = frozenset(
    """connect sql query execute from_query read_csv read_parquet read_json from_parquet from_csv_auto from_df from_arrow
    values col lit fn when coalesce star array_type decimal_type enum_type list_type map_type row_type sqltype string_type
    struct_type union_type dtype type sqltypes typing functional""".split()
)
_DATA_ENGINE_FINE = (
    "data_engine.flow",
    "data_engine.errors",
    "data_engine.helpers",
    "data_engine.model",
    "data_engine.duration",
)

_UNSEEN_BY_REASON = {
    "the clock": """
        datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today datetime.date.today time
        pandas.Timestamp.now pandas.Timestamp.today pandas.Timestamp.utcnow""",
    "random numbers": "random secrets uuid.uuid1 uuid.uuid4 os.urandom numpy.random polars.set_random_seed",
    "this machine": "uuid.getnode",
    "the environment": "os.environ os.environb os.getenv os.getenvb",
    "a subprocess": "os.system os.popen subprocess multiprocessing",
    "the network": """
        socket ssl http urllib.request ftplib smtplib asyncio pandas.read_gbq polars.Catalog pyarrow.flight""",
    "a database through pandas": "pandas.read_sql pandas.read_sql_query pandas.read_sql_table",
    "the clipboard": "pandas.read_clipboard polars.read_clipboard",
    "code made while it runs (eval)": "builtins.eval",
    "code made while it runs (exec)": "builtins.exec",
    "code made while it runs (compile)": "builtins.compile",
    "names looked up while it runs (globals)": "builtins.globals",
    "names looked up while it runs (locals)": "builtins.locals",
    "modules named while it runs (__import__)": "builtins.__import__",
    "io.FileIO": "io.FileIO _io.FileIO",
    "the keyboard": "builtins.input builtins.breakpoint io.stdin",
    "addresses in memory (id)": "builtins.id",
    "another flow's run": "data_engine.Workspace data_engine.load_flow data_engine.discover_flows",
    "another flow's notebook": "data_engine.compile_notebook",
}
_UNSEEN_ITSELF = """
    numpy.lib pandas.ExcelFile pandas.HDFStore numpy.memmap numpy.DataSource sqlite3.Connection pyarrow.fs
    pyarrow.cuda pyarrow.OSFile pyarrow.MemoryMappedFile io.open_code marshal weakref
    contextvars logging.config xml.sax"""
_UNSEEN = {name: reason for reason, names in _UNSEEN_BY_REASON.items() for name in names.split()}
_UNSEEN |= {name: name for name in _UNSEEN_ITSELF.split()}
_OS_ALIAS = re.compile(r"^(posix|nt)\.")
_SEEN = frozenset(
    {"time.sleep", "time.strptime", "time.struct_time", "uuid.UUID", "data_engine.notebook.load._display"}
)
_LOOSE_BY_REASON = {
    "the clock": "now utcnow today writestr",
    "the network": "urlopen",
    "the environment": "getenv environ",
    "a subprocess": "popen",
    "a path given to deserialize": "deserialize",
    "names looked up while it runs (frames)": "f_globals f_locals",
    "names looked up while it runs (__globals__)": "__globals__",
    "names looked up while it runs (__builtins__)": "__builtins__",
    "places in the code": "tb_lineno tb_frame tb_next f_lineno f_back gi_frame co_firstlineno",
    "an extension of SQLite": "enable_load_extension",
    "classes looked up while it runs (__subclasses__)": "__subclasses__",
    "a reader of its own": "register_io_source",
}
LOOSE = {name: reason for reason, names in _LOOSE_BY_REASON.items() for name in names.split()}
"""Attributes that mean no good wherever they are read from; a false alarm costs one re-run."""


def is_authored(module: object) -> bool:
    """Whether the module of this name holds the author's code: a cell, a flow module, a helper, a file beside them."""
    if not isinstance(module, str) or not module or module.startswith("_cython_"):
        return False
    top = module.partition(".")[0]
    if top in ("__main__", "data_engine_flows"):
        return True
    if top in sys.stdlib_module_names or top in _TRUSTED:
        return False
    found = sys.modules.get(module) or sys.modules.get(top)
    if found is None:
        return _is_authored_on_disk(top)
    return _is_authored_file(getattr(found, "__file__", None) or _first_folder(found), found.__name__)


def why_unseen(dotted: str) -> str | None:
    """What cannot be seen in a library's thing of this name ("datetime.datetime.now"); None when it can.

    Example:
        >>> why_unseen("datetime.datetime.now"), why_unseen("requests.get"), why_unseen("polars.read_csv")
        ('the clock', 'requests', None)
    """
    dotted = _OS_ALIAS.sub("os.", dotted)
    if dotted in _SEEN:
        return None
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        reason = _UNSEEN.get(".".join(parts[:end]))
        if reason is not None:
            return reason
    top = parts[0]
    if top not in _TRUSTED and top not in _COMPUTING and parts[:2] != ["urllib", "parse"]:
        return top
    is_fine = _FINE_PARTS.get(top)
    if is_fine is None or len(parts) == 1 or not parts[1] or is_fine(parts[1], dotted):
        return None
    return dotted if top in ("_duckdb", "data_engine") else f"{top}.{parts[1]}"


_FINE_PARTS: dict[str, Callable[[str, str], bool]] = {
    "os": lambda part, dotted: part in _OS_FINE or part.startswith("O_"),
    "sys": lambda part, dotted: part in _SYS_FINE,
    "duckdb": lambda part, dotted: part in _DUCKDB_FINE or part[0].isupper(),
    "_duckdb": lambda part, dotted: not part[0].islower(),
    "data_engine": lambda part, dotted: not part.islower() or dotted.startswith(_DATA_ENGINE_FINE),
}
"""Libraries of which only some parts are fine: whether this one is, by its name and its whole dotted name."""


@lru_cache(maxsize=256)
def version_of(top: str) -> str:
    """The version of a library by its top-level name; "" for one that tells none."""
    if top in sys.stdlib_module_names:
        return sys.version
    version = getattr(sys.modules.get(top), "__version__", None)
    if isinstance(version, str):
        return version
    from importlib import metadata  # whose imports are a tenth of those of a process that compares

    try:
        return metadata.version(top)
    except metadata.PackageNotFoundError:
        return ""


@lru_cache(maxsize=1024)
def _is_authored_file(file: str | None, name: str) -> bool:
    if file is None:
        return name not in sys.builtin_module_names  # made in memory: by a cell, a test, a loader
    path = os.path.realpath(file)
    return not path.startswith(library_folders()) and not path.endswith((".so", ".pyd"))


@lru_cache(maxsize=256)
def _is_authored_on_disk(top: str) -> bool:
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    folders = list(spec.submodule_search_locations or ())
    return _is_authored_file(spec.origin if spec.has_location else folders[0] if folders else None, top)


def _first_folder(module: ModuleType) -> str | None:
    paths = list(getattr(module, "__path__", ()))
    return paths[0] if paths else None


@lru_cache(maxsize=1)
def library_folders() -> tuple[str, ...]:
    """Where Python and installed packages live, each with a separator at its end."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found = {os.path.realpath(sysconfig.get_path(name)) for name in names}
    found |= {os.path.realpath(path) for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    return tuple(f"{path}{os.sep}" for path in sorted(found))
