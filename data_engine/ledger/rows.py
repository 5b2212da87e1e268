"""Rows of the ledger as the records the other floors know, and texts as SQLite can hold them.

SQLite holds UTF-8. A path whose bytes are no UTF-8 has lone surrogates in Python; they are stored as `\\udcXX` and come
back as they were, so that such a file is recognised at the next scan.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from data_engine.model import SeenSource, Signature, SourceKey, SourceState

RUN_COLUMNS = (
    "run_id, flow_name, group_name, source_path, status, started_at_utc, finished_at_utc, elapsed_s, error_text, cause"
)
"""In the order of `Run`'s fields."""

STEP_COLUMNS = (
    "run_id, step_index, step_label, status, started_at_utc, finished_at_utc, elapsed_s, error_text, output_path"
)
"""In the order of `StepRun`'s fields."""

LOG_COLUMNS = "run_id, flow_name, step_label, level, message, created_at_utc"
"""In the order of `LogEntry`'s fields."""

STATE_COLUMNS = (
    "source_root, source_key, last_status, size_bytes, mtime_ns, content_hash, last_run_id, last_at_utc,"
    " last_error_text, success_size_bytes, success_mtime_ns, success_content_hash, last_success_run_id,"
    " last_success_at_utc, abandoned_in_a_row"
)
"""As `source_state` takes them."""


def source_state(flow: str, row: tuple[Any, ...]) -> SourceState:
    """A row of `STATE_COLUMNS` as a record."""
    root, path, status, size, mtime, digest, run_id, at_utc, error, good_size, good_mtime, good_digest, *rest = row
    good_run_id, good_at_utc, abandoned_in_a_row = rest
    return SourceState(
        flow=flow,
        key=SourceKey(restored(root), restored(path)),
        status=status,
        last=Signature(size, mtime, digest),
        last_run_id=run_id,
        last_at_utc=at_utc,
        error=error,
        success=None if good_size is None else Signature(good_size, good_mtime, good_digest),
        success_run_id=good_run_id,
        success_at_utc=good_at_utc,
        abandoned_in_a_row=abandoned_in_a_row,
    )


def seen_as_text(seen: Iterable[SeenSource]) -> str | None:
    """The sources of a run that begins, for the column that is read only when the run is abandoned."""
    rows = [(*one.key, *one.signature) for one in seen]
    return json.dumps(rows, separators=(",", ":")) if rows else None


def seen_from_text(text: str | None) -> tuple[SeenSource, ...]:
    """What `seen_as_text` was given.

    Example:
        >>> seen = (SeenSource(SourceKey("in", "a.csv"), Signature(5, 7)),)
        >>> seen_from_text(seen_as_text(seen)) == seen, seen_from_text(None)
        (True, ())
    """
    if text is None:
        return ()
    return tuple(
        SeenSource(SourceKey(root, path), Signature(size, mtime, digest))
        for root, path, size, mtime, digest in json.loads(text)
    )


def storable(value: Any) -> Any:
    r"""`value` with every text in it (also inside tuples and named tuples) as UTF-8 can hold it.

    Example:
        >>> storable(SourceKey("in", "a\udcff.csv"))
        SourceKey(root='in', path='a\\udcff.csv')
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, tuple):
        parts = [storable(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def restored(text: str) -> str:
    r"""A path as it was before `storable`.

    Example:
        >>> restored("a\\udcff.csv") == "a\udcff.csv"
        True
    """
    return _SURROGATE.sub(lambda found: chr(int(found[1], 16)), text) if "\\udc" in text else text


_SURROGATE = re.compile(r"\\u(dc[89a-f][0-9a-f])")
