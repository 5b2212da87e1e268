"""What kind of object a call gives, and which methods of each kind change it: the tables behind the warnings of a slice.

A kind is known from the dotted name that made the object (`pandas.read_csv()` gives a frame), never from a method's name.
Of an object whose kind nobody knows, only methods that no known kind changes itself with count as readers.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache

from data_engine.notebook import effects
from data_engine.notebook.analysis import MUTATORS

UNKNOWN, PLAIN, CONTAINER, DEFAULTS, CALLED = "unknown", "plain", "container", "defaultdict", "called"
FRAME, POLARS, ARRAY, DATA, PLOT, CELL = "frame", "polars", "array", "data", "plot", "cell"
ESTIMATOR, PIPELINE, MODEL = "estimator", "pipeline", "model"
QUEUE, ITERATOR, STREAM, CONNECTION, RELATION, MODULE, GLOBALS, FUNCTION = (
    "queue",
    "iterator",
    "stream",
    "connection",
    "relation",
    "module",
    "globals",
    "function",
)
"""Kinds: nobody knows, cannot change, list or dict, dict that makes entries, computes something when it is called, pandas, Polars, NumPy, pandas or NumPy, chart,
cell or row of pandas, scikit-learn, trains its steps with itself, statsmodels, queue, used up as it is read, gives random numbers, database, its answer, imported,
`globals()`, function."""
TABLES = frozenset({FRAME, ARRAY, DATA})
COMPUTE = frozenset({CALLED, ARRAY, PLOT})
"""Kinds that change nothing when they are called, as `interp1d(x, y)` and a colour map are: an array itself is not."""
TRAINED = frozenset({ESTIMATOR, PIPELINE, MODEL})
VALUES = TABLES | {PLAIN, POLARS, PLOT}
"""Kinds of data that changes when it is written to; that learn; and that hold nothing which learns."""
KNOWN = VALUES | TRAINED | {CONTAINER}
"""Kinds of which the methods that change the object are known, so that an object of one of them is changed by no others."""

_MADE = [
    (re.compile(pattern, re.VERBOSE), kind)
    for pattern, kind in (
        (r"(numpy\.)?random\.(default_rng|RandomState|Generator|Random|SystemRandom|SeedSequence)|sklearn\.utils\.check_random_state", STREAM),
        (r"pandas\.(tseries\.\w+\.)?(Timestamp|Timedelta|Period|DateOffset|NaT|isna|isnull)|pandas\.api\..*", PLAIN),
        (r"sympy(\.\w+)*\.(symbols|Symbol|Function|Rational|Integer|Float|Eq|sin|cos|tan|exp|log|sqrt|diff|integrate|simplify|expand"
         r"|factor|limit|series|Sum|Integral|Derivative|Array|parse_expr|sympify)", PLAIN),
        (r"sympy\.lambdify|skimage\.transform\.(\w+Transform|estimate_transform)", CALLED),
        (r"(pandas|geopandas)(\.\w+)*|seaborn\.load_dataset|(plotly\.express|vega_datasets)\.data\.\w+", FRAME),
        (r"polars(\.\w+)*", POLARS),
        (r"(?!numpy\.(vectorize|frompyfunc)$)(numpy|scipy)(\.\w+)*|skimage\.(?!graph\.)(\w+\.)*(?!regionprops$|ransac$|\w+_(transform|collection)$|pyramid_)[a-z]\w*", ARRAY),
        (r"(matplotlib|mpl_toolkits|seaborn|plotly|altair|bokeh)(\.\w+)*|sklearn(\.\w+)*\.\w+Display(\.\w+)?", PLOT),
        (r"statsmodels(\.\w+)*\.(graphics(\.\w+)+|qqplot\w*|plot_\w+)", PLOT),
        (r"(statsmodels|sklearn|imblearn)(\.\w+)*\.datasets(\.\w+)+", DATA),
        (r"statsmodels((\.\w+)*\.[A-Z]\w*(\.from_\w+)?|\.formula\.api\.\w+)|lmfit(\.models?)?\.\w*Model", MODEL),
        (r"(sklearn|imblearn)\.pipeline\.(Pipeline|FeatureUnion|make_pipeline|make_union)", PIPELINE),
        (r"(sklearn|imblearn|xgboost|lightgbm|catboost)(\.\w+)*\.([A-Z]\w*|clone|make_column_transformer)", ESTIMATOR),
        (r"statsmodels(\.\w+)*\.[a-z]\w*", DATA),
        (r"sklearn(\.\w+)*\.(?!cross_validate$|make_scorer$)(?!gen_)[a-z]\w*", DATA),
        (r"(sqlite3|duckdb|psycopg2?|pymysql|pyodbc|oracledb)\.connect|sqlalchemy\.create_engine", CONNECTION),
        (r"duckdb\.(sql|query|execute|table|view|values|from_\w+|read_\w+|query_df)", RELATION),
        (r"collections\.defaultdict", DEFAULTS),
        (r"(queue|asyncio|multiprocessing)\.(\w*Queue)", QUEUE),
        (r"collections\.(deque|Counter|OrderedDict)", CONTAINER),
        (r"re\.finditer|skimage\.transform\.pyramid_(gaussian|laplacian)|os\.(scandir|f?walk)|glob\.iglob", ITERATOR),
        (r"(csv\.(reader|DictReader)|itertools\.\w+|io\.(StringIO|BytesIO)|(io\.|gzip\.|bz2\.|lzma\.|codecs\.)?open)", ITERATOR),
        (r"(datetime|pathlib|decimal|fractions|math|re|uuid|zoneinfo|time|operator|statistics|hashlib|os|string|data_engine)(\.\w+)*", PLAIN),
    )
]  # fmt: skip
_NAMES = 4096
"""As many dotted names are remembered with what they mean: a notebook says the same ones again and again."""
_BUILTINS = {
    **dict.fromkeys(("list", "dict", "set", "sorted", "tuple", "frozenset", "bytearray", "vars", "dir"), CONTAINER),
    **dict.fromkeys(("zip", "map", "filter", "enumerate", "reversed", "iter", "open"), ITERATOR),
    **dict.fromkeys(
        ("len", "int", "float", "str", "bool", "bytes", "complex", "repr", "format", "hash", "id", "ord", "chr", "hex",
         "isinstance", "issubclass", "callable", "hasattr", "any", "all", "range", "type", "print", "input", "ascii", "bin"),
        PLAIN,
    ),
    "globals": GLOBALS,
}  # fmt: skip
_FRAME_MAKERS = frozenset({"to_pandas", "fetchdf", "to_frame"})
_RELATES = frozenset(
    {"filter", "project", "select", "order", "sort", "limit", "join", "aggregate", "set_alias", "query", "union", "distinct"}
)  # fmt: skip

CHANGERS = {
    FRAME: MUTATORS - {"add", "subtract"} | {"isetitem"},  # also those of a list in a cell
    CELL: MUTATORS - {"add", "subtract", "insert"},
    POLARS: frozenset(
        {"insert_column", "replace_column", "drop_in_place", "extend", "append", "insert_at_idx", "hstack", "__setitem__", "register",
         "register_many", "register_globals", "unregister"}
    ),
    ARRAY: MUTATORS | {"fill", "put", "itemset", "resize", "partition", "setflags", "setfield"},
    CONTAINER: MUTATORS,
    DEFAULTS: MUTATORS,
    PLAIN: frozenset(),
    CALLED: frozenset({"estimate"}),
    FUNCTION: frozenset({"register", "cache_clear"}),
    GLOBALS: MUTATORS,
    RELATION: frozenset(
        {"create", "create_view", "to_table", "to_view", "insert", "insert_into", "fetchone", "fetchmany", "fetch_record_batch"}
    ),
}  # fmt: skip
"""Of the kinds that are wholly known: the methods that change the object. All others read."""
CHANGERS[DATA] = CHANGERS[FRAME] | CHANGERS[ARRAY] | {"set", "add_many"}

READERS = {
    PLOT: frozenset(),
    QUEUE: frozenset({"qsize", "empty", "full", "maxsize"}),
    STREAM: frozenset({"bit_generator", "getstate", "get_state", "generate_state", "entropy"}),
    ITERATOR: frozenset({"fileno", "name", "getvalue", "getbuffer", "tell"}),
}  # fmt: skip
"""Of the kinds of which any other method changes the object: those that only read."""
_TRAINS = re.compile(
    r"(re|partial_|iterative_)?fit(?!_report)|set_|train|update|initiali|remove|load|clear|reset|append|extend|add_|densify|sparsify|smooth|filter|simulate"
    r"|eval_uncertainty|conf_interval"
)
"""Methods that change what learns; its others tell what it learnt."""
_NEVER_TRAIN = frozenset({"set_axis", "set_index", "set_flags", "filter", "update"})

_HOLDS = frozenset(
    {"steps", "named_steps", "transformers_", "named_transformers_", "transformer_list", "model", "_results"}
)
_LABELS = frozenset({"index", "columns", "axes", "names", "levels"})
_TEXT_METHODS = frozenset(name for name in dir(str) if not name.startswith("_"))
_NEVER_SURE = frozenset(
    {"sort", "execute", "drop", "collect", "fetch", "fetchone", "fetchall", "fetchmany", "fetchdf", "sample", "append"}
)
"""Names that are readers of one kind and change another."""
_MOVES_ON = re.compile(r"get_(next|nowait|one|message|chunk|batch|and|or)(_.*)?|(read|scan)_(?!text$|bytes$).*")
"""Methods that sound like readers and move on, so that the next call gives something else."""
_GIVES = {STREAM: ARRAY, CELL: UNKNOWN}
"""What every method of a kind gives."""

_FRAME_ONLY = frozenset(
    {"groupby", "group_by", "iloc", "loc", "iterrows", "itertuples", "iter_rows", "dropna", "fillna", "sort_values", "sort_index",
     "reset_index", "set_index", "pivot_table", "unstack", "with_columns", "value_counts", "isnull", "isna", "drop_duplicates",
     "nunique", "n_unique", "select_dtypes", "memory_usage", "drop_nulls", "fill_null", "unpivot", "melt", "estimated_size",
     "read_csv", "columns", "dtypes", "describe", "to_csv", "to_parquet", "write_parquet", "crosstab", "null_count", "with_row_index",
     "nlargest", "nsmallest", "glimpse", "head", "tail", "reindex", "astype", "duplicated", "rolling", "resample"}
)  # fmt: skip

_ESTIMATOR_ONLY = frozenset(
    {
        "predict",
        "predict_proba",
        "decision_function",
        "score",
        "score_samples",
        "transform",
        "fit_transform",
        "fit_predict",
    }
)

_CHANGES_ARGUMENT = re.compile(
    r"""
      (numpy\.)?random\.shuffle | numpy\.(fill_diagonal|put|place|copyto|putmask|put_along_axis|\w+\.at)
    | numpy\.ndarray\.(sort|fill|put|itemset|resize|partition) | operator\.(setitem|delitem|i(add|and|concat|or|sub|mul|xor))
    | heapq\.\w+ | bisect\.insort\w* | (random|numpy\.random)\.setstate | pickle\.load | json\.load
    | torch\.nn\.init\.\w+ | scipy\.linalg\.\w+_inplace | skimage\.(draw\.set_color|feature\.plot_\w+) | matplotlib\.pyplot\.(setp|colorbar|delaxes) | skimage\.graph\.(cut|merge)_\w+
    | lmfit(\.\w+)*\.conf_interval\w*
    """,
    re.VERBOSE,
)
_PURE = (
    frozenset(sys.stdlib_module_names)
    - {"heapq", "bisect"}
    | {"numpy", "pandas", "polars", "scipy", "sklearn", "matplotlib", "seaborn", "plotly", "altair", "bokeh", "statsmodels", "pyarrow",
       "duckdb", "IPython", "data_engine", "tqdm", "requests", "httpx", "ipywidgets", "missingno", "networkx", "sympy", "folium",
       "geopandas", "shapely", "hvplot", "holoviews", "plotnine", "great_tables", "tabulate", "rich", "pprint", "pydantic",
       "dateutil", "openpyxl", "xlsxwriter", "yaml", "toml", "tomli", "graphviz", "wordcloud", "yellowbrick", "shap", "cycler", "skimage", "imblearn", "lmfit"}
)  # fmt: skip
_OUT_BEHIND = re.compile(
    r"numpy\.((?P<two>add|subtract|multiply|divide|true_divide|floor_divide|power|maximum|minimum|mod|remainder|logical_\w+)"
    r"|sqrt|exp|log|log1p|expm1|abs|absolute|negative|square|sign|floor|ceil|rint|sin|cos|tanh)"
)
_VIEWS = re.compile(
    r"memoryview|numpy\.(frombuffer|nditer|lib\.stride_tricks\.\w+|as\w*array|ravel|reshape|squeeze|transpose|atleast_\dd|broadcast_to|diagonal|expand_dims|swapaxes|moveaxis"
    r"|\w*split|real|imag|flip\w*|rot90)|skimage(\.\w+)*\.(img_as_\w+|view_as_\w+|crop|montage|unique_rows)|sklearn(\.\w+)*\.(check_(?!random_state|cv)\w+|column_or_1d|indexable|as_float_array)"
)
_CHART_READERS = re.compile(r"(get|to|write|is|has)_|(show|display|savefig|save|print_figure)$")
_CHART_DATA = re.compile(
    r"get_(?!(figure|children|lines|patches|legend\w*|\w*(axes|axis|ticklabels|ticklines|gridlines))$)"
)
_ASKS_THE_CHART = re.compile(r"matplotlib\.pyplot\.(axis|[xyr]lim|[xy]ticks|gca|gcf|gci|get_\w+)")
CHART = ("chart", "matplotlib.pyplot")
"""What stands for the chart at hand, into which a cell draws."""
LOG = frozenset({("log", "")})
"""What stands for the files that are logged to."""
CAREFUL = "leaves its data alone"
"""The text of an unknown object that a known package made."""
GOES = "goes to a folder"
"""The text of what changes the working directory while it is entered."""
FIXED = "holds the same for ever"
"""The text of a tuple as written."""
OVERWRITES = ("overwrites", "")
"""What an estimator holds that may write into the data it is given."""
IN_PLACE = ("in place", "")
"""What a dict of options holds that asks a method to change its own object."""
_DEEP_COPIES = frozenset(
    {"copy.deepcopy", "json.dumps", "json.loads", "json.load", "pickle.dumps", "pickle.loads", "pickle.load"}
)
_KEPT_PARTS = re.compile(
    r"(pandas|geopandas)\.(DataFrame|Series|Index|concat|MultiIndex)\b.*|numpy\.(asarray|array)|copy\.copy"
)


def keeps_results(dotted: str) -> bool:
    """Whether a decorator makes a function that keeps what it gave.

    Example:
        >>> keeps_results("functools.lru_cache"), keeps_results("functools.wraps")
        (True, False)
    """
    return dotted in ("functools.cache", "functools.lru_cache", "functools.cached_property", "cachetools.cached")


@lru_cache(maxsize=_NAMES)
def made_by(dotted: str) -> str:
    """The kind of what calling a dotted name gives.

    Example:
        >>> made_by("pandas.read_csv"), made_by("numpy.random.default_rng"), made_by("flow_helpers.tables.load")
        ('frame', 'stream', 'unknown')
    """
    if dotted in _BUILTINS:
        return _BUILTINS[dotted]
    return next((kind for pattern, kind in _MADE if pattern.fullmatch(dotted)), UNKNOWN)


def iterates(builtin: str) -> bool:
    """Whether a built-in function may read what it is given to its end.

    Example:
        >>> iterates("list"), iterates("print")
        (True, False)
    """
    return _BUILTINS.get(builtin) != PLAIN or builtin in ("any", "all")


def result_of(kind: str, method: str) -> tuple[str, bool]:
    """The kind of what a method gives, and whether that may share parts with the object.

    Example:
        >>> result_of("frame", "fillna"), result_of("array", "reshape"), result_of("unknown", "run")
        (('frame', False), ('array', True), ('unknown', True))
    """
    if kind == FRAME:
        known = {"to_numpy": ARRAY, "to_dict": CONTAINER, "to_list": CONTAINER, "tolist": CONTAINER}
        known |= dict.fromkeys(("itertuples", "iterrows"), ITERATOR)
        return known.get(method, FRAME), method in ("to_numpy", "pipe")
    if kind == POLARS:
        known = {"to_dict": CONTAINER, "to_dicts": CONTAINER, "to_list": CONTAINER, "rows": CONTAINER, "item": PLAIN}
        known |= {"to_numpy": ARRAY, "to_pandas": FRAME, "iter_rows": ITERATOR, "height": PLAIN}
        return known.get(method, POLARS), method == "pipe"
    if kind == ARRAY:
        shares = method in ("reshape", "ravel", "view", "transpose", "squeeze", "swapaxes", "diagonal")
        return (CONTAINER if method == "tolist" else ARRAY), shares
    if kind == PLAIN:
        found = dict.fromkeys(("split", "splitlines", "rsplit"), CONTAINER)
        return (found | dict.fromkeys(("iterdir", "glob", "rglob", "finditer"), ITERATOR)).get(method, PLAIN), False
    if kind == DATA:
        known = {"to_dict": CONTAINER, "to_list": CONTAINER, "tolist": CONTAINER}
        return known.get(method, DATA), method == "to_numpy" or result_of(ARRAY, method)[1]
    if kind in _GIVES:
        return _GIVES[kind], False
    if kind == PLOT:
        return (DATA if _CHART_DATA.match(method) else PLOT), True
    if kind in TRAINED:
        return (kind, True) if _TRAINS.match(method) and not method.startswith("fit_") else (DATA, False)
    if kind == RELATION:
        return (
            (FRAME, False) if method in _FRAME_MAKERS else (RELATION, True) if method in _RELATES else (UNKNOWN, False)
        )
    if kind == CONTAINER and method in ("copy", "keys", "values", "items"):
        return CONTAINER, True
    return (FRAME if method in _FRAME_MAKERS else UNKNOWN), True


def changes_itself(kind: str, method: str, text: str, has_arguments: bool) -> bool | None:
    """Whether a method changes the object it is called on; None where nobody knows.

    Example:
        >>> [changes_itself(kind, "sort", "", False) for kind in ("polars", "array", "unknown")]
        [False, True, None]
    """
    if kind == ARRAY and method == "byteswap":
        return has_arguments
    if kind == DATA and _TRAINS.match(method) and method not in _NEVER_TRAIN:
        return None  # a part of an estimator that is an estimator itself
    if kind in CHANGERS:
        return method in CHANGERS[kind]
    if kind in READERS:
        reads = _CHART_READERS.match(method) if kind == PLOT else method.startswith("plot")
        return not (method in READERS[kind] or reads)
    if kind in TRAINED:
        return _is_trained_by(kind, method)
    if kind == MODULE:
        return False
    if method == "sort":
        return False if has_arguments else None
    if method in _NEVER_SURE and method not in ("execute", "drop", "collect"):
        return None
    if _MOVES_ON.fullmatch(method):
        return None
    return False if method in _TEXT_METHODS or effects.only_looks(method, text) else None


def _is_trained_by(kind: str, method: str) -> bool | None:
    if not _TRAINS.match(method) or (kind == MODEL and method in ("append", "extend")):
        return False  # results that are given more data are new ones
    return True if kind != MODEL and method.startswith(("fit", "partial_fit")) else None


def may_be_called(method: tuple[str, ...], *, is_surely: bool) -> bool:
    """Whether handing over a method, such as `rows.append`, may change its object; `is_surely`: it is there to be called.

    Example:
        >>> may_be_called(("append",), is_surely=False), may_be_called(("coef_",), is_surely=False)
        (True, False)
    """
    return any(
        name in MUTATORS or (is_surely and changes_itself(UNKNOWN, name, "", has_arguments=True) is None)
        for name in method
    )


def plainly(attributes: set[str]) -> str:
    """What a notebook's use of an object says that it is: three different names that frames have, or that estimators have.

    Example:
        >>> plainly({"fillna", "groupby", "head"}), plainly({"fit", "predict", "labels_"}), plainly({"transform", "head"})
        ('frame', 'estimator', 'unknown')
    """
    if len(attributes & _FRAME_ONLY) >= 3:
        return FRAME
    learnt = {
        name for name in attributes if name in _ESTIMATOR_ONLY or (name.endswith("_") and not name.startswith("_"))
    }
    return ESTIMATOR if "fit" in attributes and len(learnt) >= 2 else UNKNOWN


@lru_cache(maxsize=_NAMES)
def leaves_arguments_alone(dotted: str) -> bool:
    """Whether a function's package is known to change nothing it is given, but for what `changes_argument` lists.

    Example:
        >>> leaves_arguments_alone("seaborn.heatmap"), leaves_arguments_alone("flow_helpers.tables.clean")
        (True, False)
    """
    return dotted.partition(".")[0] in _PURE or effects.only_looks(dotted.rpartition(".")[2], "")


@lru_cache(maxsize=_NAMES)
def changes_argument(dotted: str) -> bool:
    """Whether a function changes its first argument.

    Example:
        >>> changes_argument("numpy.add.at"), changes_argument("random.shuffle"), changes_argument("numpy.add")
        (True, True, False)
    """
    return _CHANGES_ARGUMENT.fullmatch(dotted) is not None


def changes_module(dotted: str, *, as_list: bool = False) -> bool:
    """Whether a call is one of a list or dict that an imported module holds, and changes it; `as_list`: it is made as a list's are.

    Example:
        >>> changes_module("flow_helpers.rates.RATES.update"), changes_module("matplotlib.rcParams.update"), changes_module("numpy.char.add")
        (True, True, False)
    """
    path, _, method = dotted.rpartition(".")
    whole = path.rpartition(".")[2]
    if method not in MUTATORS or not path.count("."):
        return False
    if path.partition(".")[0] in _PURE:
        return whole.lower() in ("rcparams", "types_map", "meta_path", "dispatch_table")
    is_known = method not in ("add", "remove", "sort", "insert", "reverse", "rotate", "subtract")
    return is_known or as_list or whole.isupper()


def is_known_package(name: str) -> bool:
    """Whether a package is known to keep nothing from call to call but what the rule names.

    Example:
        >>> is_known_package("pandas.concat"), is_known_package("flow_helpers.rates.load")
        (True, False)
    """
    return name.partition(".")[0] in _PURE


def leaves_its_data_alone(dotted: str) -> bool:
    """Whether what a call makes comes from a known package outside of the standard library: it never changes the frames and
    arrays that it holds, unless it is given functions that do.

    Example:
        >>> leaves_its_data_alone("lmfit.Minimizer"), leaves_its_data_alone("threading.Thread"), leaves_its_data_alone("own.Box")
        (True, False, False)
    """
    return is_known_package(dotted) and "." in dotted and dotted.partition(".")[0] not in sys.stdlib_module_names


def moves_on(dotted: str) -> bool:
    """Whether a function of another module tells by its name that it gives something else each time.

    Example:
        >>> moves_on("flow_helpers.ids.next_id"), moves_on("flow_helpers.rates.load"), moves_on("math.nextafter")
        (True, False, False)
    """
    is_named = re.match(r"(get_)?next(_|$|[A-Z])", dotted.rpartition(".")[2]) is not None
    return is_named and "." in dotted and not is_known_package(dotted)


def place_of_out(dotted: str, count: int) -> int:
    """The place of the array that a function of NumPy writes its result to, 0 for none.

    Example:
        >>> place_of_out("numpy.add", 3), place_of_out("numpy.sqrt", 2), place_of_out("numpy.add", 2)
        (2, 1, 0)
    """
    match = _OUT_BEHIND.fullmatch(dotted)
    place = 0 if match is None else 2 if match["two"] else 1
    return place if count == place + 1 else 0


@lru_cache(maxsize=_NAMES)
def shares_arguments(dotted: str) -> str:
    """How what a function gives shares its arguments: "view", "parts" or "".

    Example:
        >>> shares_arguments("numpy.ravel"), shares_arguments("pandas.Series"), shares_arguments("numpy.sum")
        ('view', 'parts', '')
    """
    if _VIEWS.fullmatch(dotted):
        return "view"
    if dotted.endswith(".clone") or dotted in _DEEP_COPIES:
        return ""
    holds = made_by(dotted) in (UNKNOWN, PLOT, CONTAINER, ITERATOR) or made_by(dotted) in TRAINED
    return "parts" if holds or _KEPT_PARTS.fullmatch(dotted) else ""


def part_of(kind: str, attribute: str) -> str:
    """The kind of an attribute of what learns: what it learnt is data, what it is made of learns itself.

    Example:
        >>> part_of("estimator", "coef_"), part_of("estimator", "best_estimator_"), part_of("estimator", "steps")
        ('data', 'estimator', 'estimator')
    """
    return kind if attribute in _HOLDS or attribute.rstrip("_").endswith(("estimator", "estimators")) else DATA


def is_of_labels(attribute: str) -> bool:
    """Whether an attribute of a frame is about its labels, not its data.

    Example:
        >>> is_of_labels("index"), is_of_labels("loc")
        (True, False)
    """
    return attribute in _LABELS


def overwrites(dotted: str, false_keywords: set[str]) -> bool:
    """Whether what scikit-learn is told by `copy=False` lets it write into what it is given.

    Example:
        >>> overwrites("sklearn.preprocessing.StandardScaler", {"copy"}), overwrites("pandas.DataFrame", {"copy"})
        (True, False)
    """
    return dotted.startswith("sklearn.") and not false_keywords.isdisjoint(("copy", "copy_X", "copy_x"))


def draws_a_chart(dotted: str) -> bool:
    """Whether a function draws into the chart at hand, or opens one.

    Example:
        >>> draws_a_chart("matplotlib.pyplot.plot"), draws_a_chart("seaborn.lineplot"), draws_a_chart("numpy.sum")
        (True, True, False)
    """
    return dotted.startswith(("matplotlib.pyplot.", "seaborn."))


def asks_the_chart(dotted: str, *, has_arguments: bool) -> bool:
    """Whether what a function gives comes from the chart at hand; with arguments, `axis` and its like set what they give.

    Example:
        >>> asks_the_chart("matplotlib.pyplot.axis", has_arguments=False)
        True
        >>> asks_the_chart("matplotlib.pyplot.axis", has_arguments=True)
        False
    """
    return not has_arguments and _ASKS_THE_CHART.fullmatch(dotted) is not None
