"""Finds the fix of an error that a step raised: one table, whose first row with an answer gives the fix.

A row has the names of the errors' types ("" for all), a pattern that the error's text must hold, and the help: a text, into which the named
groups of the pattern are put, or a function of the `StepFailure` that answers None where it knows nothing. A near name is offered by the
rule of `nearest_name` only: a wrong guess costs more than none. At the end: whether a step's author forgot to write `return`, or to
compute the LazyFrame that it ends with.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from functools import partial, reduce
from inspect import signature, unwrap
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, cast

from data_engine.errors import FlowValidationError, message_of
from data_engine.flow.batch import Batch, is_lazy_frame
from data_engine.flow.context import FlowContext
from data_engine.flow.flow import Flow
from data_engine.flow.locations import MirrorContext, SourceContext
from data_engine.flow.object_names import how_to_take
from data_engine.flow.scan import WRITE_SLASHES
from data_engine.flow.spec import StepSpec, function_name
from data_engine.formatting import beginning, first_few
from data_engine.platforms.files import open_to_read
from data_engine.record import frozen
from data_engine.secret import masked
from data_engine.storage_version import attached_files, fix_of_newer
from data_engine.suggestions import nearest_name, syntax_fix
from data_engine.workspace.layout import kernel_shell

SEPARATORS = (";", "\t", "|")
_LONGEST_TEXT = 20_000
_LONGEST_VALUE = 60
_MOST_COLUMNS = 20
_SURE_LETTERS = 5
_FILES = ("source", "filepath_or_buffer", "io")
_NO_ITEM = object()
_COLLECT = 'find them with .collect(".csv") and read each with .map(...), or read below context.source.root'


@frozen
class StepFailure:
    """An error, and the facts of the step that raised it. `before` is the step that ran before this flow's first one, `savers`
    are the names that earlier steps saved, with their labels; `item` is what a map was at, `source` the file it was for."""

    error: BaseException
    source: Path | None = None
    flow: Flow | None = None
    step: StepSpec | None = None
    context: FlowContext | None = None
    before: StepSpec | None = None
    savers: Mapping[str, str] = field(default_factory=dict)
    item: object = _NO_ITEM

    @property
    def text(self) -> str:
        return masked(message_of(self.error))[:_LONGEST_TEXT]

    @property
    def owner(self) -> Any:
        """The object that lacks an attribute."""
        return getattr(self.error, "obj", None)

    @property
    def name(self) -> str:
        """The attribute or the name that is missing."""
        return str(getattr(self.error, "name", None) or "")

    def frames(self, *libraries: str) -> list[FrameType]:
        """The frames that the error passed, the outermost first: those of these libraries, else those of no code of ours."""
        walk = traceback.walk_tb(self.error.__traceback__)
        frames = [(_library_of(frame.f_globals.get("__name__")), frame) for frame, _ in walk]
        return [frame for library, frame in frames if (library in libraries if libraries else library != "data_engine")]

    def uses(self, *names: str) -> bool:
        """Whether the code of one of the frames uses all of these names."""
        return any({*names} <= {*frame.f_code.co_names} for frame in self.frames())

    def option(self, of_polars: str, of_pandas: str) -> str:
        """The option's name in the library that raised."""
        return of_pandas if self.frames("pandas") else of_polars


Help = str | Callable[[StepFailure, re.Match[str]], str | None]


class HintRow(NamedTuple):
    """A row of the table."""

    key: str
    errors: str
    pattern: str
    help: Help


def hint_for(failure: StepFailure) -> tuple[str, str] | None:
    """The key of the row that knows the fix of an error, and the fix; None where no row does.

    Example:
        >>> try:
        ...     "a".uper()
        ... except AttributeError as error:
        ...     hint_for(StepFailure(error))
        ('near_name', "did you mean 'upper'?")
    """
    kinds, text = {kind.__name__ for kind in type(failure.error).__mro__}, failure.text
    for hint in HINTS:
        if hint.errors and kinds.isdisjoint(hint.errors.split()):
            continue
        if (match := re.search(hint.pattern, text)) is None:
            continue
        with suppress(Exception):  # other libraries' values may raise when they are read
            fix = hint.help.format(**match.groupdict()) if isinstance(hint.help, str) else hint.help(failure, match)
            if fix is not None:
                return hint.key, fix
    return None


def fix_for(failure: StepFailure) -> str | None:
    """The fix of an error; None where nothing is known."""
    answer = hint_for(failure)
    return None if answer is None else answer[1]


def is_of_its_file(error: BaseException) -> bool:
    """Whether the file that a step had may be the reason of its error: it is not plain that the code is, or a file beside it.

    Example:
        >>> is_of_its_file(ValueError("no header")), is_of_its_file(NameError("name 'rate' is not defined"))
        (True, False)
    """
    hint = hint_for(StepFailure(error))
    return not isinstance(error, _CODE_ERRORS) if hint is None else hint[0] in _ROWS_OF_FILES


def plain_text(text: str) -> str:
    """The text of an error without the advice of Polars, some of which leaves data out.

    Example:
        >>> plain_text("found more fields\\n\\nConsider setting 'truncate_ragged_lines=True'.")
        'found more fields'
    """
    return _ADVICE.sub("\n", text).replace("\n\n\n", "\n\n").rstrip("\n") if _ADVICE.search(text) else text


_ADVICE = re.compile(
    r"\n\n(?:You might want to try:\n(?:- .*(?:\n|$))+|Consider setting '\w+=\w+'\.|Did you mean \"[^\n]*\"\?)"
)


def quoted(text: str) -> str:
    """The text in quotes, as Python reads it; special blanks are shown by their numbers."""
    return json.dumps(text, ensure_ascii=False).translate(
        {ord(blank): f"\\u{ord(blank):04x}" for blank in "\ufeff\u00a0\u200b"}
    )


def _library_of(module: object) -> str:
    return str(module).partition(".")[0]


# -- the objects of the step --------------------------------------------------------------------------------------------


def _no_place(f: StepFailure, match: re.Match[str]) -> str | None:
    places = (
        ("mirror", MirrorContext, '.mirror(root="../out")'),
        ("source", SourceContext, '.watch(..., source="../in")'),
    )
    fixes = [
        f"context.{name} is None: add {verb} to the flow"
        for name, kind, verb in places
        if getattr(f.context, name, kind) is None and match["name"] in (*dir(kind), *kind.__dataclass_fields__)
    ]
    return "; or ".join(fixes) or None


def _is_batch(f: StepFailure) -> bool:
    return f.context is not None and f.context.source is not None and f.context.source.path is None


def _no_file(f: StepFailure, match: re.Match[str]) -> str | None:
    if not _is_batch(f) or (f.name and f.name not in dir(Path)) or not f.uses("source", "path"):
        return None
    return f'with run_as="batch" a run is for all files of the folder, so context.source.path is None: {_COLLECT}'


def _none_returned(f: StepFailure, match: re.Match[str]) -> str | None:
    if f.context is None or f.flow is None or f.step is None:
        return None
    current, use = f.context.current, f.step.use
    has_none = isinstance(current, Batch) and any(item is None for item in current) and f.uses("current")
    if current is not None and not has_none:
        return None
    steps = f.flow.steps[: f.flow.steps.index(f.step)]
    giver = ([f.before] + [step for step in steps if use in (None, "current", step.save_as)])[-1]
    if giver is None:
        return None
    words = f"step {giver.label!r} before it returned {'a Batch with None in it' if has_none else 'None'}"
    if not _returns_a_value(getattr(giver.fn, "fn", giver.fn)):  # of a map its function
        return f"{words}: is its `return` missing?"
    go_on = (
        "leave them out, [one for one in context.current if one is not None]"
        if has_none
        else "begin this step with `if context.current is None: return`"
    )
    return f"{words} by its `return`; where that is meant, {go_on}"


def _first_step(f: StepFailure, match: re.Match[str]) -> str | None:
    if f.context is None or f.context.current is not None or not f.uses("current"):
        return None
    words = "context.current is None in the first step"
    if f.context.source is None:
        return f"{words}: let a step before it give something"
    return (
        f"{words}, and this run is for all files: {_COLLECT}"
        if _is_batch(f)
        else f"{words}: the file is context.source.path"
    )


def _item_not_context(f: StepFailure, match: re.Match[str]) -> str | None:
    if f.step is None or f.owner is not f.item or getattr(unwrap(f.step.fn), "takes_context", False):
        return None
    if f.name not in (*dir(FlowContext), *FlowContext.__dataclass_fields__):
        return None
    name, kind = f.step.function_name, type(f.item).__name__
    return f"map gives {name} the item ({kind}) and not the context: write def {name}(item), or def {name}(context, item), which gets both"


def _saved_object(f: StepFailure, match: re.Match[str]) -> str | None:
    name = f.name or match[1]
    if f.context is None or (
        isinstance(f.error, AttributeError) and id(f.owner) not in map(id, (f.context, f.context.objects))
    ):
        return None
    if name not in f.savers and name not in f.context.objects:
        return None
    what = f"what step {f.savers[name]!r} saved" if name in f.savers else "a saved object"
    return f"{name} is {what}: {how_to_take(name)}"


def _context_as_value(f: StepFailure, match: re.Match[str]) -> str | None:
    if f.context is None or (isinstance(f.error, AttributeError) and f.owner is not f.context):
        return None
    current, source = f.context.current, f.context.source
    if current is not None and (not f.name or hasattr(current, f.name)) and "PathLike" not in f.text:
        kind, written = type(current).__name__, "context.current"
    elif source is not None and (not f.name or hasattr(Path, f.name)):
        kind, written = ("folder", "context.source.root") if _is_batch(f) else ("file", "context.source.path")
    else:
        return None
    return f"a step is given the context, and the {kind} is {written}" + (
        f": write {written}.{f.name}" if f.name else ""
    )


# -- names and calls ----------------------------------------------------------------------------------------------------

_NO_INDEX = "a Polars frame has no index: leave it out"
_PANDAS_WORDS = {
    "apply": '.with_columns(pl.col("a") * 2), an expression',
    "astype": ".cast(pl.Float64)",
    "drop_duplicates": ".unique(maintain_order=True)",
    "dropna": ".drop_nulls()",
    "fillna": ".fill_null(0)",
    "groupby": '.group_by("a")',
    "iloc": "[0:5] (rows by their number)",
    "isin": 'pl.col("a").is_in([1, 2])',
    "isna": 'pl.col("a").is_null()',
    "isnull": 'pl.col("a").is_null()',
    "loc": '.filter(pl.col("a") > 1) (rows), ["a"] (a column)',
    "merge": '.join(other, on="a")',
    "notna": 'pl.col("a").is_not_null()',
    "notnull": 'pl.col("a").is_not_null()',
    "reset_index": _NO_INDEX,
    "set_index": _NO_INDEX,
    "sort_values": '.sort("a")',
    "to_csv": '.write_csv("a.csv"), of a lazy frame .sink_csv("a.csv")',
    "to_excel": '.write_excel("a.xlsx"), of a lazy frame after .collect()',
}
"""The Polars code for a word of pandas."""

_SAME_OPTIONS = {"sep": "separator", "separator": "sep", "dtype": "schema_overrides", "usecols": "columns"}
"""Options that Polars and pandas have for the same thing."""


def _pandas_word(f: StepFailure, match: re.Match[str]) -> str | None:
    kind = type(f.owner)
    if _library_of(kind.__module__) != "polars" or kind.__name__ not in ("DataFrame", "LazyFrame", "Series", "Expr"):
        return None
    if kind.__name__ == "DataFrame" and f.name in f.owner.columns:
        return f"{f.name} is a column: pl.col({quoted(f.name)}) in an expression, frame[{quoted(f.name)}] by itself"
    if f.name == "de":
        return "add `import data_engine.helpers` to the notebook: it gives frames .de"
    return f"in Polars: {_PANDAS_WORDS[f.name]}" if f.name in _PANDAS_WORDS else None


def _near_name(f: StepFailure, match: re.Match[str]) -> str | None:
    names = dir(f.owner if isinstance(f.error, AttributeError) else sys.modules.get(f.name))
    near = None if match["name"].startswith("_") else nearest_name(match["name"], names)
    return None if near is None else f"did you mean {near!r}?"


_PACKAGES = {"PIL": "pillow", "bs4": "beautifulsoup4", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Modules whose name is not that of their package."""


def _missing_package(f: StepFailure, match: re.Match[str]) -> str | None:
    from importlib.metadata import packages_distributions
    from importlib.util import find_spec

    name = next(filter(None, match.groups())).partition(".")[0]
    if name == "flow_helpers" or find_spec(name) is not None:  # it is there, and a part of it is not
        return None
    is_sure = len(name) >= _SURE_LETTERS and name not in _PACKAGES  # `toml` is none of `tomli`
    near = nearest_name(name, packages_distributions()) if is_sure else None
    words = f"{'' if near is None else f'did you mean {near}? Else, '}if it is a package, "
    package = _PACKAGES.get(name, name)
    if kernel_shell() is None:
        return f"{words}install it where this runs: {sys.executable} -m pip install {package}"
    return (
        f"{words}add it to this kernel: %pip install {package}; if the daemon runs flows with another "
        f"Python (Workspace.current().interpreter() names it), install it there too: PYTHON -m pip install {package}"
    )


def _near_option(f: StepFailure, match: re.Match[str]) -> str | None:
    called, option = match["call"], match["option"]
    functions: list[Any] = [
        reduce(lambda value, part: getattr(value, part, None), called.split("."), library)
        for library in map(sys.modules.get, ("polars", "pandas"))
    ]
    signatures = [signature(function).parameters for function in functions if function is not None]
    options = next(parameters for parameters in signatures if option not in parameters)
    if option == "ascending" and "descending" in options:
        return "its option is descending=, which says the opposite"
    same = _SAME_OPTIONS.get(option)
    near = same if same in options else nearest_name(option, options)
    return None if near is None else f"did you mean {near}=?"


# -- tables and files ---------------------------------------------------------------------------------------------------


def only_column_fix(columns: Sequence[str], option: str, among: Sequence[str] = SEPARATORS) -> str | None:
    """The fix of a table whose only column is all columns of its file in one; None of another. `among` are the possible separators.

    Example:
        >>> only_column_fix(["city;amount"], "separator"), only_column_fix(["city", "a;b"], "separator")
        ('the only column is "city;amount": the file has ";" between its columns, so read it with separator=";"', None)
    """
    separator = next((sign for sign in among if sign in columns[0]), None) if len(columns) == 1 else None
    if separator is None:
        return None
    words = f"the only column is {quoted(beginning(columns[0], _LONGEST_VALUE))}: the file has {quoted(separator)}"
    return f"{words} between its columns, so read it with {option}={quoted(separator)}"


def _frame_columns(f: StepFailure) -> list[str] | None:
    """The columns of the frame that Polars or pandas worked on when it raised."""
    for value in (value for frame in f.frames("polars", "pandas") for value in frame.f_locals.values()):
        for table in (value, getattr(value, "obj", None)):  # of a `groupby` of pandas
            if type(table).__name__ == "DataFrame" and _library_of(type(table).__module__) in ("polars", "pandas"):
                return [name for name in cast(Any, table).columns if isinstance(name, str)]
    return None


def _missing_column(f: StepFailure, match: re.Match[str]) -> str | None:
    name = next(filter(None, match.groups()))
    listing = re.search(r"(?:valid columns: |Candidate bindings: )([^\n]*)", f.text)
    texts = None if listing is None else re.findall(r'"(?:[^"\\]|\\.)*"', listing[1])
    columns = _frame_columns(f) if texts is None else list(map(json.loads, texts))
    if columns is None or name in columns:
        return None
    if not columns:
        return _EMPTY
    if (fix := only_column_fix(columns, f.option("separator", "sep"))) is not None:
        return fix
    if (near := nearest_name(name, columns)) is not None:
        return f"did you mean {quoted(near)}?" + (" Its name has blanks around it" if near.strip() != near else "")
    return f"the columns are {first_few(list(map(quoted, columns)), _MOST_COLUMNS)}" if listing is None else None


def workbook_fix(path: str | Path) -> str | None:
    """The fix of a file that is read as text and begins as workbooks of Excel do; None of another."""
    with open_to_read(path) as file:
        is_workbook = file.read(4) == b"PK\x03\x04"
    return (
        f"{os.path.basename(path)} is a workbook of Excel and no text: read it with read_excel" if is_workbook else None
    )


def _relative_path(f: StepFailure, match: re.Match[str]) -> str | None:
    name = next(filter(None, (getattr(f.error, "filename", None), *match.groups())))
    if "\\" in name and os.sep == "/":
        return WRITE_SLASHES
    if os.path.isabs(name) or any(sign in name for sign in "*?[:"):
        return None
    folder, root = os.getcwd(), None if f.context is None else f.context.workspace_root
    what = f"{quoted(name)} means {os.path.abspath(name)}: a relative path starts in {folder}"
    if root is None or not (root / name).is_file():
        return what
    return f'{what}; {os.path.abspath(root / name)} is there: write "{Path(os.path.relpath(root / name, folder)).as_posix()}"'


def _not_utf8(f: StepFailure, match: re.Match[str]) -> str:
    read = [frame.f_locals.get(name) for frame in f.frames("polars", "pandas") for name in _FILES]
    read += re.findall(r"^ *file = (.+)$", f.text, re.MULTILINE)  # of DuckDB
    path = next((value for value in read if isinstance(value, (str, os.PathLike))), f.source)
    if path is not None and os.path.isfile(path) and (fix := workbook_fix(Path(path))) is not None:
        return fix
    begin = f.error.object[:_SAMPLE_BYTES] if isinstance(f.error, UnicodeDecodeError) else b""
    if not begin and path is not None and os.path.isfile(path):
        with open_to_read(Path(path)) as file:
            begin = file.read(_SAMPLE_BYTES)
    if (encoding := _wide_encoding(begin)) is not None:
        return f'the file is UTF-16 (of Excel: "Unicode text"): say encoding="{encoding}"'
    return (
        'the file is not UTF-8: say what it is, such as encoding="cp1252" (Excel on Windows); or it is not a text file'
    )


_SAMPLE_BYTES = 64


def _wide_encoding(begin: bytes) -> str | None:
    """The encoding of a text of two bytes a letter, by how its file begins; None of another.

    Example:
        >>> [_wide_encoding("city;1".encode(name)) for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-8")]
        ['utf-16', 'utf-16-le', 'utf-16-be', None]
    """
    if begin.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    first, second = any(begin[::2]), any(begin[1::2])
    return None if first == second else "utf-16-le" if first else "utf-16-be"


def _newer_database(f: StepFailure, match: re.Match[str]) -> str | None:
    """With the name of the file, which DuckDB leaves out: what was connected to or attached."""
    calls = [frame.f_locals for frame in f.frames("data_engine")]
    texts = [value for call in calls for value in (call.get("text"), call.get("query")) if isinstance(value, str)]
    files = [call["place"] for call in calls if "place" in call] + [
        file for text in texts for file in attached_files(text)
    ]
    return fix_of_newer(f.text, *(os.path.basename(file) for file in files[-1:]))


def _odd_name(f: StepFailure, match: re.Match[str]) -> str | None:
    try:
        f"{f.source}{'' if f.item is _NO_ITEM else f.item}".encode()
    except UnicodeEncodeError:
        return "the file's name holds bytes that are not UTF-8, so that Polars, DuckDB and others cannot open it: rename it"
    return None


_EMPTY = (
    "the frame is empty here: look at what the steps before leave of it; where it may be empty, ask frame.is_empty() (pandas:"
    " frame.empty) first"
)
_EMPTY_WORDS = r"of length 0\b|shape=\(0, \d|^cannot concat empty list$|^No objects to concatenate$"
_CONCAT_WORDS = r"unable to (?:vstack, column names|append to a DataFrame of width)|^'union'/'concat' inputs|^column name mismatch: expected"

_TO_NUMBER = r"conversion from `\w+\S*` to `(?:[iuf]\d|decimal)\S*` failed in column"
_PARSED = r"could not parse `.*?` as dtype `[iuf]\d+` at column|(?:string to float: |parse string )'[+-]?[0-9.]+,"
_PACKAGE_WORDS = (
    r"No module named '([\w.]+)'|'(\w+)' module to be installed|package '(\w+)' not found|^(\w+)\S* is required"
    r"|^`Import (\w+)` failed|^Missing optional dependency '(\w+)'"
)
_COLUMN_WORDS = r'(?:unable to find column |Referenced column |have a column named |^)"((?:[^"\\]|\\.)+)"'
_TEXT_WORDS = (
    r"operation not supported for dtypes? `str`|dtype: String|cannot compare string with numeric|division with 'String'"
    r"|arithmetic on dtypes (?:str|\S+ and str)\b"
)
_MISSING_WORDS = r"\(os error [23]\): ([^\n]+)|^no workbook found at path '([^\n]+)'|that match the pattern \"([^\"\n]+)\"|\[Errno 2\]"
_NO_WORKBOOK_WORDS = (
    "(?i)could not find eocd|invalid zip archive|is not a zip file|cannot detect file format|cfb error"
    "|invalid ole signature|not an ole2 structured|expected bof record"
)

_FULL_WORDS = r"(?i)no space left on device|disk quota exceeded|not enough space on the disk|\(os error 112\)"
_MISUSE = "AttributeError TypeError ValueError"

_CODE_ERRORS = (AttributeError, ImportError, NameError, TypeError, FileNotFoundError, FlowValidationError)
_ROWS_OF_FILES = (
    "odd_name",
    "too_many_fields",
    "number",
    "empty_file",
    "empty_frame",
    "day_format",
    "not_utf8",
    "no_workbook",
)

HINTS = (
    HintRow("odd_name", "", "", _odd_name),
    HintRow("syntax", "SyntaxError", "", lambda f, match: syntax_fix(f.text)),
    HintRow("no_place", "AttributeError", r"'NoneType' object has no attribute '(?P<name>\w+)'", _no_place),
    HintRow("no_file", "", r"NoneType|empty input: paths: \[\]|\.read\(\) method|must be a string or bytes", _no_file),
    HintRow("none_returned", "", "NoneType", _none_returned),
    HintRow("first_step", "AttributeError TypeError", "NoneType", _first_step),
    HintRow("item_not_context", "AttributeError", "", _item_not_context),
    HintRow("saved_object", "NameError AttributeError", r"'(\w+)'", _saved_object),
    HintRow(
        "secret_as_text",
        "TypeError AttributeError",
        r"\bSecret\b",
        'a secret is no text: context.secret("name").reveal()',
    ),
    HintRow(
        "context_as_value",
        _MISUSE,
        r"\bFlowContext\b(?!\.|' object is not callable)",
        _context_as_value,
    ),
    HintRow("pandas_word", "AttributeError", "", _pandas_word),
    HintRow(
        "near_name",
        "AttributeError ImportError",
        r"(?:has no attribute|cannot import name) '(?P<name>\w+)'",
        _near_name,
    ),
    HintRow(
        "source_as_path",
        _MISUSE,
        r"SourceContext\b(?!\.)",
        'the file is context.source.path, the folder context.source.root, a file in it context.source.file("NAME")',
    ),
    HintRow("mirror_as_path", _MISUSE, r"MirrorContext\b(?!\.)", 'write to a path of it: context.mirror.file("NAME")'),
    HintRow(
        "exit", "SystemExit", "", "end the step with return; where the run is to fail, raise ValueError with the reason"
    ),
    HintRow(
        "input",
        "EOFError",
        "reading a line",
        "nobody answers input() in production: take a parameter, context.params['name']",
    ),
    HintRow("missing_package", "ImportError PanicException", _PACKAGE_WORDS, _missing_package),
    HintRow(
        "near_option",
        "TypeError",
        r"(?P<call>[\w.<>]+)\(\) got an unexpected keyword argument '(?P<option>\w+)'",
        _near_option,
    ),
    HintRow("missing_column", "ColumnNotFoundError BinderException", _COLUMN_WORDS, _missing_column),
    HintRow(
        "missing_column",
        "KeyError",
        r"^\"\['(.+?)'[\],]|\[Index\(\['(.+?)'|^'(?:Column not found: )?(.+)'$",
        _missing_column,
    ),
    HintRow(
        "too_many_fields",
        "",
        r"found more fields than defined|Expected \d+ fields in line \d+",
        'the file has another separator (separator=";" in Polars, sep=";" in pandas), its header is further down (skip_lines=, skiprows=),'
        " or one of its lines is too long",
    ),
    HintRow(
        "number",
        "",
        f"{_TO_NUMBER}|{_PARSED}",
        "a value is no number as Python writes it: with a decimal comma read the column as text (infer_schema=False) and write"
        ' parse_decimal("NAME", decimal=",", thousands=".") (from data_engine.helpers; pandas: decimal="," where it is read);'
        " with a decimal point cast to pl.Float64",
    ),
    HintRow(
        "empty_file",
        "NoDataError EmptyDataError",
        "",
        "there is nothing to read: the file, or this sheet of it, is empty, or skip_lines= (pandas: skiprows=) leaves out too much",
    ),
    HintRow(
        "day_format",
        "",
        r"conversion from `str` to `(?:date|time)\S*` failed in column '(?P<column>.*?)' for [^\n]*?: \[\"(?P<value>.*?)\"",
        'column "{column}" holds "{value}", which does not have the format of the step, or is no day: "%d.%m.%Y" reads 31.12.2026,'
        ' "%Y-%m-%d" 2026-12-31, "%m/%d/%Y" 12/31/2026',
    ),
    HintRow(
        "text_for_number",
        "",
        _TEXT_WORDS,
        'a column is text: make numbers of it first, pl.col("NAME").cast(pl.Float64), or compare it with a text, in quotes',
    ),
    HintRow(
        "concat_types",
        "SchemaError",
        "failed to vstack column '(?P<column>.+?)'",
        'column "{column}" has two types in these tables: read all of them with schema_overrides={{"{column}": ...}}; where both are'
        ' numbers, pl.concat(..., how="vertical_relaxed")',
    ),
    HintRow(
        "concat_columns",
        "ShapeError SchemaError InvalidOperationError",
        _CONCAT_WORDS,
        'these tables have other columns, or the same ones in another order: pl.concat(..., how="diagonal") puts columns of one name'
        " together, with null where a table lacks one; a name that is only written otherwise is renamed first",
    ),
    HintRow("empty_frame", "", _EMPTY_WORDS, _EMPTY),
    HintRow(
        "join_types",
        "SchemaError",
        r"join keys don't match - `(?P<left>.+?)`: (?P<a>\S+) on left does not match `(?P<right>.+?)`: (?P<b>\S+) on right",
        'the key "{left}" is {a} on the left, and "{right}" is {b} on the right: give both one type before the join, such as'
        ' pl.col("{right}").cast(pl.String)',
    ),
    HintRow("relative_path", "", _MISSING_WORDS, _relative_path),
    HintRow("not_utf8", "", r"(?i)'utf-?8' codec can't decode|invalid utf-?8|not utf-8 encoded", _not_utf8),
    HintRow(
        "no_workbook",
        "",
        _NO_WORKBOOK_WORDS,
        "this is no workbook of Excel, or one with a password: open it in Excel and save it as .xlsx. Text is read with read_csv; a file"
        " that was copied in part is copied again",
    ),
    HintRow("full_drive", "", _FULL_WORDS, "the drive that the step writes to is full: free some space there"),
    HintRow("newer_database", "", "version number", _newer_database),
)
"""The rows in the order in which they are tried: the objects of the step and words of pandas come before near names."""


_NAMES_OF_USE = re.compile(r"collect|sink|write|save|export|\bsql\b|fetch")
"""Words in the text of a function that may compute a LazyFrame, also by a function of its own."""


def forgotten_return(step: StepSpec, result: object) -> str | None:
    """The text for a saved result that is None where the step's function returns a value nowhere; else None.

    `return None` is meant. There is no text for a function whose source is not at hand, and for a lambda.

    Example:
        >>> def read(context): return None
        >>> forgotten_return(StepSpec(read, None, "raw_df", "Read", "read"), None) is None
        True
    """
    if result is not None or step.save_as is None or _returns_a_value(step.fn):
        return None
    return f"{step.save_as} is None: is the `return` of {function_name(step.fn)} missing?"


def never_computed(step: StepSpec, result: object) -> str | None:
    """The text for a LazyFrame that the last step returned and does not collect or write itself; None for every other result.

    There is no text for a function whose source is not at hand, and for a lambda.

    Example:
        >>> never_computed(StepSpec(len, None, "raw_df", "Read", "read"), None) is None
        True
    """
    if not is_lazy_frame(result):
        return None
    body = _body_of(step.fn)
    if body is None or _NAMES_OF_USE.search(body):
        return None
    return (
        f"the last step, {function_name(step.fn)}, gives a LazyFrame, of which nothing is computed before it is collected:"
        " end with .collect(), or write it, frame.sink_parquet(...)"
    )


def _body_of(fn: object) -> str | None:
    """The source text of a function; None where it is not at hand, and of a lambda."""
    import inspect

    try:
        while isinstance(fn, partial):
            fn = fn.func
        fn = inspect.unwrap(fn)  # type: ignore[arg-type]
        if not (inspect.isfunction(fn) or inspect.ismethod(fn)) or fn.__name__ == "<lambda>":
            return None
        return inspect.getsource(fn)
    except (OSError, TypeError, ValueError):
        return None


def _returns_a_value(fn: object) -> bool:
    """Whether a function has a `return` with a value, which may be None; True where its source is not at hand."""
    from textwrap import dedent

    try:
        [function] = ast.parse(dedent(_body_of(fn) or "")).body
    except (ValueError, SyntaxError):
        return True
    if not isinstance(function, ast.FunctionDef):
        return True
    return any(isinstance(node, ast.Return) and node.value is not None for node in _own_statements(function.body))


def _own_statements(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
    """All nodes below `nodes` outside of functions and classes defined there."""
    todo: list[ast.AST] = list(nodes)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))
