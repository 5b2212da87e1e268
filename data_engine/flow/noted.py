"""What an author puts into `context.metadata`, as it is kept with the run: plain, with secrets masked, and bounded."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from numbers import Integral, Real
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, NamedTuple

from data_engine.errors import FlowValidationError
from data_engine.flow.context import FlowContext
from data_engine.formatting import beginning, plural
from data_engine.model import StepFinished
from data_engine.secret import MASK, Secret, masked

MOST_BYTES = 64 * 1024
"""The JSON that is kept of one run."""

SEEDED = ("started_at_utc", "run_id", "step_outputs", "file_hash")
"""The keys of `context.metadata` that are not the author's."""

_MOST_BITS = 10_000
_DEEPEST = 50
_MISSING = object()


class Noted(NamedTuple):
    """The author's `values` as plain ones, the same as JSON `text`, and the names of those that are too large to be kept."""

    values: dict[str, Any]
    text: str
    beyond: tuple[str, ...]


def noted(metadata: Mapping[Any, Any]) -> Noted:
    """The author's part of `context.metadata`.

    Example:
        >>> noted({"run_id": "3f", "batch_no": 7, "day": date(2026, 1, 5), "seen": {"a", "b"}, "pages": "x" * 70_000})[1:]
        ('{"batch_no":7,"day":"2026-01-05","seen":["a","b"]}', ('pages',))
    """
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    beyond: list[str] = []
    left = MOST_BYTES - len("{}")
    for key, value in list(metadata.items()):
        if key in SEEDED:
            continue
        try:
            parts = _Parts()
            name, kept = parts.key(key), parts.plain(value)
            text = f"{_to_json(name)}:{_to_json(kept)}"
        except _TooLargeError:
            beyond.append(beginning(str(key), _LONGEST_NAME))
            continue
        size = len(text.encode()) + (len(",") if texts else 0)
        if size > left:
            beyond.append(beginning(name, _LONGEST_NAME))
            continue
        left -= size
        values[name] = kept
        texts[name] = text
    return Noted(values, f"{{{','.join(texts.values())}}}", tuple(beyond))


class NotedOfRun:
    """The author's metadata of one run, step by step: `values` are those when its last good step had ended."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._text = "{}"
        self._beyond: tuple[str, ...] = ()

    def take(self, event: StepFinished, context: FlowContext) -> StepFinished:
        """The end of a step, with the metadata where it has changed; what is not kept is named in the log, once."""
        metadata = context.metadata
        if self._text == "{}" and all(key in SEEDED for key in metadata):
            return event
        now = noted(metadata)
        if event.status == "success":
            self.values = now.values
        if now.beyond and now.beyond != self._beyond:
            context.log(not_kept_text(now.beyond), level="WARNING")
        text, self._text, self._beyond = self._text, now.text, now.beyond
        return event if text == now.text else event._replace(metadata=now.text)


def not_kept_text(beyond: tuple[str, ...]) -> str:
    """The warning for values that are too large to be kept with the run."""
    names = ", ".join(f"metadata[{name!r}]" for name in beyond)
    are = "is" if len(beyond) == 1 else "are"
    return (
        f"{names} {are} not kept with the run: {MOST_BYTES // 1024} KiB of JSON are kept of a run; note what is smaller"
    )


def seeded_of(context: FlowContext) -> Callable[[], None]:
    """A check, to be called when a step of the context has returned, that the step has left the keys alone that are not the author's.

    The check raises:
        FlowValidationError: names the key.
    """
    attributes: Mapping[str, Any] = vars(FlowContext)["__dict__"].__get__(
        context
    )  # a preview notices who looks otherwise
    begun, run_id, outputs, file_hash = values = [attributes["metadata"].get(key, _MISSING) for key in SEEDED]

    def check() -> None:
        get = attributes["metadata"].get
        if (
            get("run_id", _MISSING) is run_id
            and get("started_at_utc", _MISSING) is begun
            and get("step_outputs", _MISSING) is outputs
            and get("file_hash", _MISSING) is file_hash
        ):
            return
        for key, value in zip(SEEDED, values, strict=True):
            if get(key, _MISSING) is not value:
                raise FlowValidationError(
                    f"context.metadata[{key!r}] is set by Data Engine, and not for a step to change",
                    where=f"context.metadata[{key!r}]",
                    fix=f'use a key of your own, such as context.metadata["my_{key}"] = ...',
                )

    return check


def type_and_shape(value: object) -> str:
    """A value in a few words, without its `repr`: its type, and of a frame or array its shape.

    Example:
        >>> import polars as pl
        >>> type_and_shape(pl.DataFrame({"a": [1, 2]})), type_and_shape(object())
        ('polars.DataFrame, 2 rows × 1 column', 'object')
    """
    kind = type(value)
    name = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
    name = name.removeprefix("builtins.").removeprefix("data_engine.")
    if name.partition(".")[0] not in ("polars", "pandas", "numpy", "pyarrow") or kind.__name__ == "LazyFrame":
        return name
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or not shape:
        return name
    if len(shape) == 2:
        return f"{name}, {plural(shape[0], 'row')} × {plural(shape[1], 'column')}"
    return f"{name}, {' × '.join(f'{size:,}' for size in shape)}"


class _TooLargeError(Exception):
    """A value is larger than all that is kept of a run, or nested too deeply, as one that holds itself."""


class _Parts:
    """The plain values of one value, whose parts are counted."""

    def __init__(self) -> None:
        self._count = self._depth = 0

    def key(self, key: object) -> str:
        """A key of a mapping as text."""
        plain = self.plain(key)
        return plain if isinstance(plain, str) else _to_json(plain).strip('"')

    def plain(self, value: Any) -> Any:
        """The value as a plain one that shares nothing with it."""
        self._count += 1
        if self._count > MOST_BYTES:
            raise _TooLargeError
        if isinstance(value, (list, tuple, set, frozenset, dict, MappingProxyType)):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise _TooLargeError
            held = self._held(value)
            self._depth -= 1
            return held
        return _leaf(value)

    def _held(self, value: Any) -> Any:
        if len(value) > MOST_BYTES:
            raise _TooLargeError
        if isinstance(value, (dict, MappingProxyType)):
            return {self.key(key): self.plain(part) for key, part in list(value.items())}
        parts = [self.plain(part) for part in value]
        return sorted(parts, key=_to_json) if isinstance(value, (set, frozenset)) else parts


def _leaf(value: Any) -> Any:
    if value is None or isinstance(value, (bool, date, time, timedelta, Decimal)):
        return value
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, PurePath):
        text = _text(str(value))
        return value if text == str(value) else text
    if isinstance(value, Integral):
        number = int(value)
        if number.bit_length() > _MOST_BITS:
            raise _TooLargeError
        return number
    if isinstance(value, Real):
        real = float(value)
        return real if math.isfinite(real) else str(real)
    return _text(type_and_shape(value))


def _text(text: str) -> str:
    if len(text) > MOST_BYTES:
        raise _TooLargeError
    return masked(str(text)).encode("utf-8", "backslashreplace").decode()


def _other(value: object) -> str:
    return value.isoformat() if isinstance(value, (datetime, date, time)) else str(value)


_LONGEST_NAME = 200
_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_other).encode
