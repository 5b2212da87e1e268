"""What helps where a step takes its context, or a part of it, for what it stands for: the frame, the file, a path to write to."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from contextlib import suppress
from inspect import signature, unwrap
from pathlib import Path

from data_engine.errors import message_of
from data_engine.flow.context import FlowContext
from data_engine.flow.control import ItemFailed
from data_engine.flow.locations import MirrorContext, SourceContext
from data_engine.flow.spec import StepSpec
from data_engine.flow.suggestions import nearest_name

OF_ALL_FILES = 'find them with .collect(".csv") and read each with .map(...), or read below context.source.root'
"""What a step does that is run for all files of a folder."""

_CONTEXT_NAMES = ("c", "context", "ctx")
_LIBRARIES = ("duckdb", "fastexcel", "pandas", "polars", "pyarrow")
_NO_PATH = (".read() method", "non file-like object", "must be a string or bytes")
"""What readers say of what is no path, without naming it."""

_FILE_LIKE = {*dir(Path), "path", "read", "write"}
_OTHER_PATHS = {*dir(SourceContext), *SourceContext.__dataclass_fields__, "current", "database", "mirror"}
_MISUSED = re.compile(
    r"not subscriptable|iterable|has no len|operand|item assignment|os\.PathLike|not supported between|(?<!FlowContext' )object is not callable"
)
_NAMED = re.compile(r"\b(FlowContext|SourceContext|MirrorContext)\b(?!\.\w+\(\))")


def misused_context(step: StepSpec, context: FlowContext, error: BaseException) -> str | None:
    """The fix where a step takes its context or a part of it for something else; None of any other error."""
    cause = error.error if isinstance(error, ItemFailed) else error
    with suppress(Exception):  # of what others' values do when they are looked at
        if isinstance(cause, AttributeError) and cause.name is not None:
            return _lacking(step, context, error, cause.obj, cause.name)
        return _given(step, context, error, message_of(cause)[:2000])
    return None


def _lacking(step: StepSpec, context: FlowContext, error: BaseException, asked: object, name: str) -> str | None:
    """The fix of an attribute that the context or a part of it does not have."""
    if asked is context:
        return _context_words(step, context, error, name)
    if asked is context.source or asked is context.mirror:
        return _place_words(context, asked, name) if name in _FILE_LIKE else None
    if asked is context.params and isinstance(asked, Mapping):
        return f'a flow without Flow.params is given a mapping: context.params["{name}"], or context.params.get("{name}", default)'
    return None


def _given(step: StepSpec, context: FlowContext, error: BaseException, said: str) -> str | None:
    """The fix of the context or a part of it in a place where a frame or a path belongs."""
    if said.startswith(f"{FlowContext.log.__qualname__}() takes 2 positional"):
        return 'context.log takes one text: context.log(f"{len(frame)} rows")'
    cause = error.error if isinstance(error, ItemFailed) else error
    found = _NAMED.search(said) if _tells_of_misuse(cause, said) else None
    parts: tuple[object, ...] = (context, context.source, context.mirror)
    if found is not None:
        given: object = next((part for part in parts if type(part).__name__ == found[1]), None)
    elif any(words in said for words in _NO_PATH):
        given = _read_from(cause, parts)
    else:
        given = None
    if given is None:
        return None
    if given is context:
        return _context_words(step, context, error, is_path=found is None or "PathLike" in said)
    return _place_words(context, given, joined="for /:" in said)


def _tells_of_misuse(cause: BaseException, said: str) -> bool:
    """Whether an error that names a class says that something else is needed there: in Python's words, or in a library's."""
    if not isinstance(cause, (TypeError, ValueError)):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
    return _MISUSED.search(said) is not None or _library_of(frames[-1].f_globals.get("__name__")) is not None


def _read_from(cause: BaseException, parts: tuple[object, ...]) -> object:
    """The part of the context that a reader was given in place of a path; None where it was something else."""
    frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
    readers = [frame for frame in frames if _library_of(frame.f_globals.get("__name__")) is not None]
    for frame in readers:
        given = [value for one in frame.f_locals.values() for value in (one if isinstance(one, tuple) else (one,))]
        found = next((part for part in parts if part is not None and any(one is part for one in given)), None)
        if found is not None:
            return found
    authors = [frame for frame in frames if not str(frame.f_globals.get("__name__")).startswith("data_engine.")]
    if readers or not authors:
        return None
    names = {*authors[-1].f_code.co_names}  # what is written in C has no frame
    return parts[1] if "source" in names and not names & _OTHER_PATHS else None


def _context_words(
    step: StepSpec, context: FlowContext, error: BaseException, name: str | None = None, *, is_path: bool = False
) -> str | None:
    """What is said of the context in place of a frame or a file; of an attribute (`name`) only where that has it."""
    if isinstance(error, ItemFailed):
        names = [*signature(getattr(unwrap(step.fn), "fn", step.fn)).parameters]
        if names[0] in _CONTEXT_NAMES or (name is not None and name not in dir(error.item)):
            return None
        return f"map gives {step.function_name} the context first: def {step.function_name}(context, item)"
    current, source = context.current, context.source
    if current is not None and not (is_path and source is not None):
        is_frame = _library_of(type(current).__module__) is not None
        if name is not None and name not in dir(current) and (not is_frame or nearest_name(name, dir(context))):
            return None
        kind, written = type(current).__name__, "context.current"
    elif source is None or (name is not None and name not in _FILE_LIKE):
        return None
    else:
        kind, written = ("folder", "context.source.root") if source.path is None else ("file", "context.source.path")
    has_it = name is not None and not name.startswith("_") and (current is None or name in dir(current))
    return f"a step is given the context, and the {kind} is {written}{f': write {written}.{name}' if has_it else ''}"


def _library_of(module: object) -> str | None:
    library = str(module).partition(".")[0]
    return library if library in _LIBRARIES else None


def _place_words(context: FlowContext, place: object, name: str | None = None, *, joined: bool = False) -> str:
    """What is said of `context.source` or `context.mirror` in place of a path."""
    if isinstance(place, MirrorContext):
        return 'context.mirror is not a path: context.mirror.file("NAME") is one to write to, context.mirror.root is the folder'
    assert isinstance(place, SourceContext)
    if joined:
        return 'context.source is not a path: context.source.file("NAME") is one beside the file, context.source.root is the folder'
    if place.path is None:
        return f"context.source is not a path, and this run is for all files of the folder: {OF_ALL_FILES}"
    attribute = f".{name}" if name is not None and hasattr(place.path, name) else ""
    return f"context.source is not a path: write context.source.path{attribute}"
