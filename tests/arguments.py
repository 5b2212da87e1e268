"""Wrong arguments of every kind, and what is an answer to them."""

from __future__ import annotations

import inspect
import linecache
import random
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any

from data_engine import FlowStoppedError, FlowValidationError

LONG = "x" * 300
"""A name that no file system takes."""

CIRCLE: dict[str, Any] = {}
CIRCLE["self"] = CIRCLE


class Odd:
    """An object that can do nothing."""

    def __repr__(self) -> str:
        return "Odd()"


VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    5,
    10**30,
    2.5,
    float("nan"),
    float("inf"),
    "",
    " ",
    "nope",
    "a.csv",
    "../..",
    "a/b",
    "a\0b",
    "a\nb",
    "\ud800",
    "\udcff",
    LONG,
    "é" * 200,
    "x/" * 3_000,
    b"a",
    b"\xff",
    [],
    ["a"],
    [None],
    [["a"]],
    ("a", 5),
    {"a"},
    {},
    {"a": 1},
    {1: 2},
    {"\ud800": "\ud800"},
    {"a": Odd()},
    {"a": float("nan")},
    {"a": 10**30},
    CIRCLE,
    date(2013, 1, 5),
    Path("nope"),
    Path(LONG),
    Odd(),
    Odd,
    len,
    1j,
)


def calls_of(
    call: Callable[..., Any], required: dict[str, Any], seed: int, *, each: int, together: int = 3, is_ours: bool = True
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Arguments for `call`: `each` wrong values for every parameter with the others as they should be, then all wrong at once; and, where the call
    itself `is_ours` and not Python's, too many and unknown ones."""
    chance = random.Random(f"{getattr(call, '__qualname__', call)} {seed}")
    names = [
        one.name
        for one in inspect.signature(call).parameters.values()
        if one.name != "self" and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    ]
    good = {name: value for name, value in required.items() if name in names}
    for name in names:
        for value in chance.sample(VALUES, min(each, len(VALUES))):
            yield (), {**good, name: value}
    for _ in range(together if names else 0):
        yield (), {name: chance.choice(VALUES) for name in names}
    if is_ours:
        yield (Odd(),) * 30, {}
        yield (), {"no_such_option": 1}


def trouble(call: Callable[[], Any], *, helper: bool = False) -> str | None:
    """What is raw in how `call` ends: anything but an answer or a typed error. A helper raises ValueError and TypeError, which it must
    have raised itself."""
    try:
        call()
    except (FlowValidationError, FlowStoppedError) as error:
        return None if _is_typed(error) else f"{type(error).__name__} without a fix: {error}"
    except (ValueError, TypeError) as error:
        if helper and type(error) in (ValueError, TypeError) and _was_raised_by_us(error.__traceback__):
            return None
        return _told(error)
    except BaseException as error:
        return _told(error)
    return None


def _is_typed(error: BaseException) -> bool:
    text = getattr(error, "what", "")
    return "the daemon failed" not in text and "does not answer" not in text


def _told(error: BaseException) -> str:
    frames = []
    trace = error.__traceback__
    while trace is not None:
        if (
            "data_engine" in trace.tb_frame.f_code.co_filename
            or "jupyter_extension" in trace.tb_frame.f_code.co_filename
        ):
            frames.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__}: {str(error)[:150]!r} at {' < '.join(reversed(frames[-3:]))}"


def _was_raised_by_us(trace: TracebackType | None) -> bool:
    """Whether the last frame is ours, and raises."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    file = trace.tb_frame.f_code.co_filename
    lines = "".join(linecache.getline(file, trace.tb_lineno - back) for back in range(9))
    return "data_engine" in file and "raise " in lines
