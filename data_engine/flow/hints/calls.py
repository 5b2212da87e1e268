"""What helps where a call was meant for something else: words of Polars for a frame of pandas, an option that its function does not
have, a module that is no function, a list that is no frame. Read from the error, its traceback, and what the libraries take."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Collection, Iterator
from contextlib import suppress
from types import FrameType, ModuleType
from typing import Any

from data_engine.cut import first_few
from data_engine.errors import message_of
from data_engine.flow.batch import Batch
from data_engine.flow.context import FlowContext
from data_engine.flow.hints.columns import quoted
from data_engine.flow.suggestions import mistyped_name

_LIBRARIES = {"polars": "Polars", "pandas": "pandas"}
_MADE_BY = {
    "polars": "pl.from_pandas(frame) makes a Polars frame of it first",
    "pandas": "frame.to_pandas() makes a pandas frame of it first",
}
_SHORT = {"polars": "pl", "pandas": "pd"}
_FRAMES = ("DataFrame", "LazyFrame", "Series")
_MAKERS = ("from_pandas", "to_pandas", "__init__")
_MOST_READERS = 3
_MOST_VALUES = 20
_OPTION = re.compile(r"([\w.<>]+)\(\) got an unexpected keyword argument '(\w+)'")
_CALL = re.compile(r"([^\W\d][\w.]*)\s*\(")
_ALIKE = (
    ("sep", "separator", "delimiter"),
    ("usecols", "columns"),
    ("names", "new_columns"),
    ("dtype", "schema_overrides", "dtypes"),
    ("na_values", "null_values"),
    ("decimal", "decimal_comma"),
    ("nrows", "n_rows"),
    ("skiprows", "skip_rows"),
    ("sheet_name", "sheet", "sheetname", "sheet_id", "worksheet"),
    ("parse_dates", "try_parse_dates"),
    ("frac", "fraction"),
    ("id_vars", "index"),
    ("value_vars", "on"),
    ("periods", "n"),
    ("suffixes", "suffix"),
    ("min_periods", "min_samples"),
)
"""Options for the same thing, as libraries and their earlier versions call them."""

_OPPOSITES = {"ascending": "descending", "descending": "ascending"}


def call_hint(error: BaseException) -> str | None:
    """The fix of a call that was meant for something else; None where nothing is known.

    Example:
        >>> import polars as pl
        >>> try:
        ...     pl.read_csv("sales.csv", sep=";")
        ... except TypeError as error:
        ...     call_hint(error)
        'did you mean separator=?'
    """
    with suppress(Exception):  # of what others' values do when they are looked at
        return _of_frames(error) or _of_list(error) or _of_option(error) or _of_module(error)
    return None


# -- two libraries ------------------------------------------------------------------------------------------------------


def _of_frames(error: BaseException) -> str | None:
    """The fix of a frame that is of the other library."""
    if isinstance(error, AttributeError):
        said = _column_asked_for(error) or _word_of_library(error) or _lazy_or_not(error) or _word_of_other(error)
        if said is not None:
            return said
    if "with type Expr" in message_of(error)[:2000]:
        return f"a column holds Polars expressions, which a pandas frame does not compute: {_MADE_BY['polars']}"
    frames = [
        (_library_of(frame.f_globals.get("__name__")), frame) for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    is_refused = isinstance(error, (TypeError, AttributeError)) and frames[-1][0] is not None
    for library, frame in frames:
        if library is None:
            continue
        if frame.f_code.co_name in _MAKERS:
            break
        for value in _values_of(frame):
            other, kind = _library_of(type(value).__module__), type(value).__name__
            if other in (None, library):
                continue
            if library == "pandas" and kind == "Expr":
                return f"this is a pandas frame, which takes no Polars expression: {_MADE_BY['polars']}"
            if is_refused and kind in _FRAMES:
                return f"{_LIBRARIES[library]} was given a {_LIBRARIES[str(other)]} frame: {_MADE_BY[library]}"
    return None


def _column_asked_for(error: AttributeError) -> str | None:
    """The fix of a column of a Polars frame that is asked for as an attribute."""
    kind, name = type(error.obj).__name__, str(error.name)
    if _library_of(type(error.obj).__module__) != "polars" or kind not in ("DataFrame", "LazyFrame"):
        return None
    asked: Any = error.obj
    columns = asked.columns if kind == "DataFrame" else asked.collect_schema().names()
    found = name if name in columns else next((one for one in columns if one.casefold() == name.casefold()), None)
    if found is None:
        return None
    return f"{found} is a column: pl.col({quoted(found)}) in an expression" + (
        f", frame[{quoted(found)}] by itself" if kind == "DataFrame" else ""
    )


def _word_of_library(error: AttributeError) -> str | None:
    """The fix of a name that people know from pandas, from lists or from texts: what this library writes for it."""
    from data_engine.flow.hints.frame_words import pandas_for, polars_for

    asked: Any = error.obj
    kind = type(asked).__name__
    is_module = isinstance(asked, ModuleType) and asked.__name__ in _LIBRARIES
    library = asked.__name__ if is_module else _library_of(type(asked).__module__)
    of_library = {"polars": polars_for, "pandas": pandas_for}.get(str(library))
    said = None if of_library is None else of_library(kind, str(error.name))
    return None if said is None else f"in {_LIBRARIES[str(library)]}: {said}"


def _lazy_or_not(error: AttributeError) -> str | None:
    """The fix of what only a frame with rows has, asked of a lazy one, and of `collect` asked of one with rows."""
    kind, name = type(error.obj).__name__, str(error.name)
    if _library_of(type(error.obj).__module__) != "polars":
        return None
    if kind == "LazyFrame" and hasattr(_named("polars", "DataFrame"), name):
        sink = name.replace("write_", "sink_")
        beside = f", frame.{sink}(...)" if sink != name and hasattr(error.obj, sink) else ""
        return f"this is a lazy frame, which has no rows before it is collected: frame.collect().{name}{beside}"
    if kind == "DataFrame" and hasattr(_named("polars", "LazyFrame"), name):
        return "this frame is not lazy, its rows are here: " + (
            f"leave .{name}() out" if name.startswith("collect") else f"frame.lazy().{name}"
        )
    return None


def _word_of_other(error: AttributeError) -> str | None:
    """The fix of a method that only the frames of the other library have."""
    library, kind, name = _library_of(type(error.obj).__module__), type(error.obj).__name__, error.name
    if library is None or name is None:
        return None
    other = next(one for one in _LIBRARIES if one != library)
    if kind not in _FRAMES or not hasattr(getattr(sys.modules.get(other), kind, None), name):
        return None
    near = next((one for one in dir(error.obj) if one.replace("_", "") == name.replace("_", "")), None)
    offer = "" if near is None else f"; or did you mean {near!r}?"
    return f"this is a {_LIBRARIES[library]} frame, and {name} is of {_LIBRARIES[other]}: {_MADE_BY[other]}{offer}"


def _of_list(error: BaseException) -> str | None:
    """The fix of a list of rows, or of frames, that was taken for one frame."""
    if not isinstance(error, AttributeError) or not isinstance(error.obj, (list, tuple, Batch)):
        return None
    kind, name, first = type(error.obj).__name__, str(error.name), next(iter(error.obj), None)
    made = next((short for one, short in _SHORT.items() if hasattr(_named(one, "DataFrame"), name)), None)
    if made is None or hasattr(dict, name) or hasattr(set, name):
        return None
    if type(first).__name__ in _FRAMES and _library_of(type(first).__module__) is not None:
        return f"this is a {kind} of frames, and {name} is of one frame: {made}.concat(frames) makes one of them"
    if isinstance(first, (dict, list, tuple)) or not error.obj:
        return f"this is a {kind}, and {name} is of a frame: {made}.DataFrame(rows) makes one of a list of rows"
    return None


def _values_of(frame: FrameType) -> Iterator[object]:
    """What a function was given, and the first of what lists, tuples and dicts of it hold."""
    for value in tuple(frame.f_locals.values()):
        yield value
        if type(value) in (list, tuple):
            yield from value[:_MOST_VALUES]
        elif type(value) is dict:
            yield from list(value.values())[:_MOST_VALUES]


def _library_of(module: object) -> str | None:
    library = str(module).partition(".")[0]
    return library if library in _LIBRARIES else None


# -- options ------------------------------------------------------------------------------------------------------------


def _of_option(error: BaseException) -> str | None:
    """The fix of an option that a function does not have: the one that was meant, or the reader of its library that has it."""
    from data_engine.flow.hints.frame_words import option_for

    found = _OPTION.search(message_of(error)[:2000]) if isinstance(error, TypeError) else None
    if found is None:
        return None
    name, option = found[1].replace("NDFrame.", "DataFrame."), found[2]
    # pl.col makes a column of whatever it is asked, also of `__qualname__`
    function = next((one for one in _called(error) if str(getattr(one, "__qualname__", None)) == found[1]), None)
    if function is None:  # such as a method in a chain of calls
        library = next((one for one in _LIBRARIES if "." in name and _options(_named(one, name))), None)
        function = _named(library, name)
    else:
        library = _library_of(getattr(function, "__module__", None))
    known = _options(function)
    is_of_polars = library == "polars" or name.partition(".")[0].endswith("NameSpace")
    if is_of_polars and (said := option_for(name.rpartition(".")[2], option)) is not None:
        return said
    alike = next((group for group in _ALIKE if option in group), (option,))
    near = _meant_option(option, known, () if library is None else alike)
    if near is not None or library is None or not known:
        return near
    return _other_reader(library, name, option, alike)


def _meant_option(option: str, known: Collection[str], alike: Collection[str]) -> str | None:
    """The offer of a known option that is meant by this one; None where none is."""
    if (opposite := _OPPOSITES.get(option)) in known:
        return f"its option is {opposite}=, which says the opposite"
    near = next((one for one in alike if one in known), None) or mistyped_name(option, known)
    return None if near is None else f"did you mean {near}=?"


def _other_reader(library: str, name: str, option: str, alike: Collection[str]) -> str:
    """The readers of a library that have an option, where `name` is a reader that has not."""
    readers = [one for one in dir(sys.modules[library]) if one.startswith("read_") and one != name]
    having = [one for one in readers if {*alike}.intersection(_options(_named(library, one)))]
    if not having or not name.startswith(("read_", "scan_")):
        return f"{name} of {_LIBRARIES[library]} has no {option}=: leave it out"
    others = first_few(having, _MOST_READERS)
    return f"{option}= is an option of {others}, not of {name}: leave it out, or read the file with {having[0]}"


def _named(library: str | None, name: str) -> object:
    """The function or method of a library that is called so; None where there is none."""
    found: object = sys.modules.get(library or "")
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _options(function: object) -> tuple[str, ...]:
    """The names of its parameters; none of what takes whatever it is given."""
    with suppress(ValueError, TypeError):
        parameters = inspect.signature(function).parameters  # type: ignore[arg-type]
        if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            return tuple(name for name, one in parameters.items() if one.kind is not one.VAR_POSITIONAL)
    return ()


def _called(error: BaseException) -> Iterator[object]:
    """What the line that raised calls by a name."""
    frame = list(traceback.walk_tb(error.__traceback__))[-1][0]
    for dotted in _CALL.findall(traceback.extract_tb(error.__traceback__)[-1].line or ""):
        first, *rest = dotted.split(".")
        value: Any = frame.f_locals.get(first, frame.f_globals.get(first))
        for part in rest:
            value = getattr(value, part, None)
        yield value


# -- modules ------------------------------------------------------------------------------------------------------------


def _of_module(error: BaseException) -> str | None:
    """The fix of a module that was called: what of it was meant, or the method of a step's context that is called so."""
    if not isinstance(error, TypeError) or not message_of(error).startswith("'module' object is not callable"):
        return None
    module = next((one for one in _called(error) if isinstance(one, ModuleType)), None)
    if module is None:
        return None
    package, _, name = module.__name__.rpartition(".")
    said = f"{module.__name__} is a module, which cannot be called"
    if package == "data_engine" and callable(getattr(FlowContext, name, None)):
        return f"{said}: a step asks its context, context.{name}(...)"
    if callable(getattr(module, name, None)):
        return f"{said}: did you mean {name}.{name}(...)?"
    beside = [one for one in dir(sys.modules.get(package)) if one.casefold() == name.casefold() and one != name]
    if beside:
        return f"{said}: did you mean {beside[0]}, from {package} import {beside[0]}?"
    return f"{said}: import from it what you mean, from {module.__name__} import NAME"
