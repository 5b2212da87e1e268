"""Judges by their dotted names what calls and assignments at module level do beside giving a value.

A dotted name is an access path with its root resolved through the notebook's imports: `log.setLevel(10)` after
`log = logging.getLogger()` is "logging.getLogger().setLevel()"; an assignment to `os.environ["A"]` is "os.environ[] =".
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache

_NAMES = 4096  # are remembered: a notebook has the same ones again and again
_SETUP = re.compile(
    r"""
      os\.environ(\[\])?\ =  |  os\.environ\.(update|setdefault|pop|popitem|clear|__setitem__)\(\)  |  os\.(putenv|unsetenv|umask)\(\)
    | (.+\.)?load_dotenv\(\)  |  site\.addsitedir\(\)
    | sys\.path(\[\])?\ =  |  sys\.path\.(append|insert|extend|remove|clear|pop|sort|reverse)\(\)
    | sys\.(setrecursionlimit|setswitchinterval|set_int_max_str_digits)\(\)
    | sys\.(dont_write_bytecode|excepthook|tracebacklimit|modules\[\])\ =
    | locale\.setlocale\(\)  |  time\.tzset\(\)
    | decimal\.(getcontext\(\)|DefaultContext|BasicContext|ExtendedContext)[.\w\[\]]*\ =
    | decimal\.setcontext\(\)  |  decimal\.getcontext\(\)\.(clear_flags|clear_traps)\(\)
    | warnings\.(filterwarnings|simplefilter|resetwarnings)\(\)
    | warnings\.(filters|showwarning|formatwarning)(\[\])?\ =  |  warnings\.filters\.\w+\(\)
    | logging\.(basicConfig|captureWarnings|disable|addLevelName|setLoggerClass|setLogRecordFactory|config\.\w+)\(\)
    | logging\.(root|getLogger\(\))\.(setLevel|(add|remove)(Handler|Filter)|(handlers|filters)\.\w+)\(\)
    | logging\.(root|getLogger\(\))\.(level|propagate|disabled|handlers|filters)(\[\])?\ =
    | logging\.(handlers\.)?\w*Handler\(\)\.(setFormatter|setLevel|addFilter)\(\)
    | [\w.]+\.(seed|setstate|seterr|manual_seed(_all)?|use_deterministic_algorithms|reset_option|inject_into_ssl|pandas)\(\)
    | [\w.]+\.set_(state|seed|random_seed|options?|config|printoptions|eng_float_format|num_threads|cpu_count|default_\w+)\(\)
    | [\w.]+\.(enable|disable)_(string_cache|warnings)\(\)  |  [\w.]+\.Config(\(\))?(\.\w+)?(\(\)|\ =)  |  [\w.]+\.options(\.\w+)+\ =
    | [\w.]+\.logger\.(add|remove|configure|level|enable|disable)\(\)
    | csv\.(field_size_limit|register_dialect)\(\)  |  mimetypes\.(init|add_type)\(\)  |  codecs\.register\w*\(\)
    | sqlite3\.register_\w+\(\)  |  copyreg\.\w+\(\)  |  socket\.setdefaulttimeout\(\)
    | multiprocessing\.set_start_method\(\)  |  ssl\._create_default_https_context\ =
    | gc\.(enable|disable|freeze|set_threshold)\(\)  |  faulthandler\.enable\(\)
    """,
    re.VERBOSE,
)
_RUNS_A_FLOW = re.compile(
    r"(.*\.)?(preview|run_once)\(\)|(build\(\)|data_engine\.(Flow|load_flow)\(\)).*\.(show|run)\(\)|data_engine\.run\(\)"
)
_READS_DATA = re.compile(
    r"""
      (.*\.)?(read|scan)_(?!text\(|bytes\()\w+\(\)  |  (.*\.)?(load_workbook|loadtxt|genfromtxt|open_dataset)\(\)
    | \w+\.(sql|query|execute|from_(csv|parquet|json)\w*)\(\)  |  \w+\.connect\(\)\.(.+\.)?(sql|query|execute|table)\(\)
    """,
    re.VERBOSE,
)
_READS_OR_WRITES = re.compile(
    r"""
      (io\.|gzip\.|bz2\.|lzma\.|codecs\.)?open\(\)  |  (.*\.)?(read|write)_(text|bytes)\(\)  |  pathlib\.Path\(\).*\.open\(\)
    | (.*\.)?(write|sink)_\w+\(\)  |  (.*\.)?to_(csv|parquet|excel|sql|feather|pickle)\(\)
    | \w+\.(get|post|put|patch|delete|request|stream|create_connection|connect)\(\)  |  urllib\.request\.\w+\(\)  |  (.*\.)?(urlopen|urlretrieve)\(\)
    | subprocess\.\w+\(\)  |  os\.(system|popen|listdir|scandir|walk|mkdir|makedirs|remove|unlink|rename|replace|rmdir)\(\)
    | glob\.i?glob\(\)  |  (.*\.)?(glob|rglob|iterdir|mkdir|unlink|rmdir)\(\)  |  shutil\.\w+\(\)
    | input\(\)  |  getpass\.getpass\(\)
    """,
    re.VERBOSE,
)
_READERS = frozenset(
    {"head", "tail", "describe", "show", "plot", "info", "sample", "glimpse", "preview", "collect", "fetch",
     "explain", "display", "print", "print_schema", "limit", "filter", "select", "with_columns", "group_by",
     "groupby", "agg", "sort", "sort_values", "join", "merge", "unique", "value_counts", "n_unique",
     "null_count", "count", "sum", "min", "max", "mean", "median", "std", "var", "quantile", "corr", "len",
     "slice", "get_column", "get_columns", "item", "row", "rows", "iter_rows", "pipe", "drop", "rename", "cast",
     "equals", "estimated_size", "is_empty", "is_null", "is_duplicated", "to_pandas", "to_dict", "to_dicts",
     "to_string", "to_numpy", "to_list", "to_arrow", "to_frame", "to_html", "pl", "df", "arrow", "fetchall",
     "fetchone", "fetchdf", "fetchmany", "fetchnumpy", "lazy", "hist", "boxplot", "collect_schema", "schema",
     "dtypes", "columns", "keys", "values", "items", "get", "copy", "index", "startswith", "endswith", "format", "upper", "lower", "exists", "is_file", "is_dir", "stat", "resolve", "as_posix", "iterdir",
     "glob", "rglob", "read_text", "read_bytes", "names", "paths", "ok", "errors", "summarize", "debug", "warning", "error", "exception", "critical", "log", "isEnabledFor", "getEffectiveLevel", "most_common",
     "elements", "tolist", "astype", "transform", "predict", "score", "quantize", "round", "cumsum", "reshape", "ravel", "flatten", "argsort", "isoformat", "strftime", "timestamp"}
)  # fmt: skip
_FILLERS = frozenset({"read_string", "read_dict", "read_file", "read_env"})
"""Methods that read into their own object, as those of a ConfigParser."""
_LOOK_OR_WRITE = ("is_", "read_", "scan_", "plot_", "get_", "to_", "write_", "sink_", "print", "pretty", "summar")
"""Beginnings of methods that do not change their own object."""
_LOOKING_SQL = re.compile(r"\s*(select|from|with|describe|show|summarize|pragma|explain|values|table)\b", re.IGNORECASE)
_CHANGING_SQL = re.compile(
    r"\b(insert\s+(or\s+\w+\s+)?into|update\s+\S+\s+set|delete\s+from|merge\s+into|(nextval|setseed|setval)\s*\()|^\s*pragma\b[^=]*=",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"'(?:[^']|'')*'")
_SETUP_VERB = re.compile(
    r"(set|setup|init|initiali[sz]e|config|configure|install|register|enable|disable|patch|use|login|connect|activate|load_extension)"
    r"(_.*|$)|execute$|executemany$|seed(_.*|$)"
)
_SHOWS = re.compile(
    r"theme|style|palette|print|notebook|renderer|backend|display|plot|context|widget|matplotlib|progress"
)
"""Words in the names of functions that set up how things are shown."""
_REGISTERS = re.compile(r"(.*[._])?register(ed)?(_.*)?(\(\))?")
_OF_A_NOTEBOOK = re.compile(r"widget|magic", re.IGNORECASE)
"""Words in the names of decorators that give a notebook its controls and commands: production has neither."""


@lru_cache(maxsize=_NAMES)
def is_setup(name: str) -> bool:
    """Whether it sets up the whole process: environment, import path, locale, filters, logging, seeds and their like.

    Example:
        >>> is_setup("os.environ[] ="), is_setup("logging.getLogger().setLevel()"), is_setup("logging.info()")
        (True, True, False)
    """
    return _SETUP.fullmatch(name) is not None


@lru_cache(maxsize=_NAMES)
def kinds(name: str) -> frozenset[str]:
    """The kinds of a call: "flow" (it runs one), "read" (of data), "io" (other input or output).

    Example:
        >>> [sorted(kinds(name)) for name in ("polars.read_csv()", "build().preview()", "math.sqrt()")]
        [['read'], ['flow'], []]
    """
    is_read = _READS_DATA.fullmatch(name)
    does = {
        "flow": _RUNS_A_FLOW.fullmatch(name),
        "read": is_read,
        "io": not is_read and _READS_OR_WRITES.fullmatch(name),
    }
    return frozenset(kind for kind, is_done in does.items() if is_done)


def only_looks(method: str, text: str) -> bool:
    """Whether a method called for itself only shows something; `text` is its first text argument.

    Example:
        >>> only_looks("head", ""), only_looks("execute", "create table t(x int)"), only_looks("sql", "select 1")
        (True, False, True)
    """
    if text == "inplace":
        return False
    if method in ("sql", "query", "execute"):
        return looks(text)
    if method in _READERS:
        return True
    return (method.startswith(_LOOK_OR_WRITE) or method.endswith("_report")) and method not in _FILLERS


def looks(sql: str) -> bool:
    """Whether an SQL text only looks into a database, all its statements.

    Example:
        >>> looks("select 1"), looks("with t as (select 1) insert into u select * from t"), looks("select 1; drop table u")
        (True, False, False)
    """
    parts = [part for part in _QUOTED.sub("''", sql).split(";") if part.strip()]
    return bool(parts) and all(_LOOKING_SQL.match(part) and not _CHANGING_SQL.search(part) for part in parts)


def sounds_like_setup(imported: str) -> bool:
    """Whether an imported function called for itself probably sets something up, beyond how results are shown.

    Example:
        >>> sounds_like_setup("flow_helpers.logs.configure_logging"), sounds_like_setup("flow_helpers.settle")
        (True, False)
        >>> sounds_like_setup("sympy.init_printing")
        False
    """
    name = imported.rpartition(".")[2]
    return _SETUP_VERB.match(name) is not None and _SHOWS.search(name) is None


def may_register(name: str) -> bool:
    """Whether a decorator, base or metaclass of this dotted name may record the definition somewhere: of the standard library only
    those that say so, else all but the controls of a notebook.

    Example:
        >>> may_register("flow_helpers.registry.reader()"), may_register("dataclasses.dataclass()"), may_register("atexit.register")
        (True, False, True)
        >>> may_register("ipywidgets.interact()")
        False
    """
    root = name.partition(".")[0].removesuffix("()")
    if root in sys.stdlib_module_names:
        return _REGISTERS.fullmatch(name) is not None
    return _OF_A_NOTEBOOK.search(name) is None
