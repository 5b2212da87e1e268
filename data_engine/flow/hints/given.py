"""What helps where a step takes what it is given for something else: a path or a slot that this run does not have, a result that an
earlier step did not give, an item of a map for the context."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from datetime import datetime
from inspect import unwrap
from pathlib import Path

from data_engine.errors import message_of
from data_engine.flow.batch import Batch, FileRef
from data_engine.flow.context import FlowContext
from data_engine.flow.control import ItemFailed
from data_engine.flow.flow import Flow
from data_engine.flow.hints.context import OF_ALL_FILES
from data_engine.flow.locations import MirrorContext, SourceContext
from data_engine.flow.object_names import how_to_take
from data_engine.flow.spec import StepSpec

_NO_SOURCE = (
    "NoneType",
    "empty input: paths: []",
    "Object does not have a .read() method",
    "source must be a string or bytes",
)
"""What Python and readers say of a None in place of a path."""

_LEVELS = {
    "info": "INFO",
    "print": "INFO",
    "warn": "WARNING",
    "warning": "WARNING",
    "exception": "ERROR",
    "critical": "ERROR",
}
"""Words of loggers, and the level of a line of the run's log that they stand for."""


def context_hints(
    flow: Flow, step: StepSpec, context: FlowContext, cause: BaseException, before: str | None
) -> tuple[str | None, ...]:
    """The fixes of what a step's context does not have; `before` is the label of the step before this flow's first one."""
    return (
        _no_place(context, cause),
        _no_slot(context, cause)
        or _no_file(context, cause)
        or _forgotten_return(flow, step, context, cause, before)
        or _nothing_before(flow, step, context, cause, before),
    )


def item_hint(step: StepSpec, error: BaseException) -> str | None:
    """A hint when the function of a map takes its item for the context, or gives a reader of Polars a `FileRef`."""
    if not isinstance(error, ItemFailed):
        return None
    cause, item, name = error.error, error.item, step.function_name
    if isinstance(item, FileRef) and ".read() method" in message_of(cause):
        return "Polars takes no FileRef, but its path: FILE.path, as in pl.read_csv(file.path)"
    if not isinstance(cause, AttributeError) or cause.obj is not item or cause.name is None:
        return None
    if getattr(unwrap(step.fn), "takes_context", False):
        return None
    if cause.name not in (*dir(FlowContext), *FlowContext.__dataclass_fields__):
        return None
    kind = type(item).__name__
    path = " and file.path" if isinstance(item, FileRef) else ""
    first = "file" if isinstance(item, FileRef) else "item"
    return (
        f"map gives {name} the item itself, here {'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}, and not the context: write "
        f"def {name}({first}){path}; def {name}(context, {first}) gets both"
    )


def _no_place(context: FlowContext, cause: BaseException) -> str | None:
    """A hint when a step asks for a path of the mirror or the source, and the flow has none."""
    if not isinstance(cause, AttributeError) or cause.obj is not None or cause.name is None:
        return None
    places = (
        ("mirror", context.mirror, MirrorContext, '.mirror(root="../out")'),
        ("source", context.source, SourceContext, '.watch(..., source="../in")'),
    )
    hints = [
        f"context.{name} is None: add {verb} to the flow"
        for name, value, kind, verb in places
        if value is None and cause.name in (*dir(kind), *kind.__dataclass_fields__)
    ]
    return "; or ".join(hints) or None


def saved_object(context: FlowContext, cause: BaseException, savers: Mapping[str, str]) -> str | None:
    """A hint when a step takes what an earlier step saved for a variable, or for an attribute of the context.

    `savers` are the names that earlier steps saved, with the labels of those steps.
    """
    name = _name_taken(context, cause)
    if name is None or not (name in savers or name in context.objects):
        return None
    what = f"what step {savers[name]!r} saved" if name in savers else "a saved object"
    return f"{name} is {what}: {how_to_take(name)}"


def _name_taken(context: FlowContext, cause: BaseException) -> str | None:
    """The name that the step took for a variable of its own, or for an attribute of the context."""
    if isinstance(cause, UnboundLocalError):
        name = _name_made_of_itself(cause)
    elif isinstance(cause, NameError) or (isinstance(cause, AttributeError) and _is_one_of(cause.obj, context)):
        name = cause.name
    else:
        name = None
    return name


def _is_one_of(asked: object, context: FlowContext) -> bool:
    return asked is context or asked is context.objects


def _name_made_of_itself(cause: UnboundLocalError) -> str | None:
    """The name in a line such as `raw_df = raw_df.head()`, which makes it a variable of the function."""
    line = traceback.extract_tb(cause.__traceback__)[-1].line or ""
    found = re.match(r"(\w+)\s*=[^=].*?\b\1\b", line)
    return found[1] if found and re.search(rf"variable '{found[1]}'", message_of(cause)) else None


def log_word(context: FlowContext, cause: BaseException) -> str | None:
    """A hint when a step asks the context itself, or its method `log`, for a word of a logger, such as `context.warn`."""
    if not isinstance(cause, AttributeError):
        return None
    asked, name = cause.obj, str(cause.name)
    is_log = getattr(asked, "__qualname__", None) == FlowContext.log.__qualname__
    level = "ERROR" if is_log and name == "error" else _LEVELS.get(name)
    if level is None or not (is_log or asked is context):
        return None
    told = "" if level == "INFO" else f', level="{level}"'
    return f'write context.log("..."{told}), which adds a line to the run\'s log'


def _no_slot(context: FlowContext, cause: BaseException) -> str | None:
    """A hint when a step trips over the slot that a run by hand does not have."""
    if context.scheduled_for is not None:
        return None
    if isinstance(cause, AttributeError):
        is_of_time = cause.obj is None and cause.name in dir(datetime)
    else:
        said = message_of(cause)
        is_of_time = "NoneType" in said and ("datetime" in said or "__format__" in said)
    if not is_of_time:
        return None
    if not _asked_for(cause, "scheduled_for"):
        return None
    return (
        "context.scheduled_for is None unless a schedule or a backfill began the run, so also by hand and in a preview:"
        " write (context.scheduled_for or datetime.now().astimezone())"
    )


def _no_file(context: FlowContext, cause: BaseException) -> str | None:
    """A hint when a step asks a run for all files of a folder for the path of the one it is for."""
    if context.source is None or context.source.path is not None:
        return None
    if isinstance(cause, AttributeError):
        is_of_path = cause.obj is None and cause.name in dir(Path)
    else:
        is_of_path = any(words in message_of(cause) for words in _NO_SOURCE)
    if not is_of_path or not _asked_for(cause, "source", "path"):
        return None
    return f'with run_as="batch" a run is for all files of the folder, so context.source.path is None: {OF_ALL_FILES}'


def _asked_for(cause: BaseException, *names: str) -> bool:
    """Whether the code of one of the error's frames, but for our own, uses all of these names."""
    frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
    authors = [one for one in frames if not str(one.f_globals.get("__name__")).startswith("data_engine.")]
    return any({*names} <= {*frame.f_code.co_names} for frame in authors)


def _forgotten_return(
    flow: Flow, step: StepSpec, context: FlowContext, cause: BaseException, before: str | None
) -> str | None:
    """A hint when a step trips over the None that an earlier step gave."""
    if "NoneType" not in message_of(cause):
        return None
    kind = "None"
    if isinstance(context.current, Batch):
        if not any(item is None for item in context.current) or not _asked_for(cause, "current"):
            return None
        kind = "a Batch with None in it"
    elif context.current is not None:
        return None
    earlier = [one.label for one in flow.steps[: flow.steps.index(step)] if step.use in (None, "current", one.save_as)]
    label = earlier[-1] if earlier else before
    return None if label is None else f"step {label!r} before it returned {kind}: is its `return` missing?"


def _nothing_before(
    flow: Flow, step: StepSpec, context: FlowContext, cause: BaseException, before: str | None
) -> str | None:
    """A hint when the first step asks for what a step before it gave."""
    is_first = before is None and step is flow.steps[0] and step.use is None
    is_none = isinstance(cause, (AttributeError, TypeError)) and "NoneType" in message_of(cause)
    if context.current is not None or not is_first or not is_none or not _asked_for(cause, "current"):
        return None
    said = "context.current is None in the first step"
    source = context.source
    if source is None:
        return f"{said}: let a step before it give something"
    if source.path is None:
        return f"{said}, and this run is for all files of the folder: {OF_ALL_FILES}"
    return f"{said}: the file is context.source.path"
