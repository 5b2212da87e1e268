"""Keeps frames and values of a run on this machine, to look at later."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

from data_engine import private
from data_engine.errors import FlowValidationError
from data_engine.files import atomic_target, write_text_atomic
from data_engine.flow.batch import Batch
from data_engine.flow.control import StepControl
from data_engine.model import utc_text
from data_engine.secret import knows_any, masked, masked_in


@dataclass(eq=False)
class FlowDebugContext:
    """A place on this machine that keeps frames and values of a run, to look at later."""

    root: Path
    workspace_id: str
    flow_name: str
    run_id: str
    source_path: str | None
    control: StepControl | None = None

    @property
    def step_name(self) -> str | None:
        """The label of the step that runs."""
        return None if self.control is None else self.control.label

    def save_frame(self, frame: Any, *, name: str | None = None, info: Mapping[str, Any] | None = None) -> Path:
        """Write a Polars DataFrame or LazyFrame (collected) as Parquet with a JSON description; its path.

        Raises:
            FlowValidationError: not a Polars frame, or it cannot be written.

        Example:
            >>> import tempfile
            >>> root = Path(tempfile.mkdtemp())
            >>> debug = FlowDebugContext(root, workspace_id="team", flow_name="claims", run_id="3f", source_path=None)
            >>> import polars as pl
            >>> path = debug.save_frame(pl.DataFrame({"amount": [1, 2]}), name="clean")
            >>> pl.read_parquet(path).height, path.with_suffix(".json").is_file()
            (2, True)
        """
        import polars as pl

        if isinstance(frame, pl.LazyFrame):
            frame = frame.collect()
        if knows_any() and isinstance(frame, pl.DataFrame):
            frame = masked_frame(frame)
        if not isinstance(frame, pl.DataFrame):
            raise FlowValidationError(
                f"save_frame cannot keep {type(frame).__name__}",
                where="context.debug.save_frame",
                fix="give a Polars DataFrame or LazyFrame, or use save_json",
            )
        saved_at = utc_text(time.time())
        path = self._path(saved_at, name, ".parquet")
        facts = self._facts("dataframe", path, saved_at) | {"rows": frame.height, "columns": frame.columns}
        try:
            with atomic_target(path, durable=False, mode=private.FILE) as fresh:
                frame.write_parquet(fresh)
        except OSError as error:
            raise self._unwritable(path, error) from error
        self._write_json(path.with_suffix(".json"), {"debug": facts} | _info(info))
        return path

    def save_json(self, value: Any, *, name: str | None = None, info: Mapping[str, Any] | None = None) -> Path:
        """Write `value` as JSON (paths and dates as text, sets as lists, anything else by its repr); its path.

        Raises:
            FlowValidationError: it contains itself, or cannot be written.

        Example:
            >>> import tempfile
            >>> root = Path(tempfile.mkdtemp())
            >>> debug = FlowDebugContext(root, workspace_id="team", flow_name="claims", run_id="3f", source_path=None)
            >>> path = debug.save_json({"rows": 3}, name="counts")
            >>> path.name.startswith("claims__step__"), path.name.endswith("__counts.json")
            (True, True)
        """
        saved_at = utc_text(time.time())
        path = self._path(saved_at, name, ".json")
        try:
            content = _info(info) | {"data": json_safe(value)}
        except RecursionError:
            raise FlowValidationError(
                "save_json cannot keep a value that contains itself",
                where="context.debug.save_json",
                fix="give the part you want to look at",
            ) from None
        self._write_json(path, {"debug": self._facts("json", path, saved_at)} | content)
        return path

    def _path(self, saved_at: str, name: str | None, suffix: str) -> Path:
        stamp = saved_at.replace(":", "-").replace(".", "-")
        tokens = [_token(self.flow_name, "flow"), _token(self.step_name, "step"), stamp, _token(name, "artifact")]
        try:
            private.make_folder(self.root)
        except OSError as error:
            raise self._unwritable(self.root, error) from error
        stem, number = "__".join(tokens), 2
        unique = stem
        while (self.root / f"{unique}.json").exists():  # both kinds have one; clocks can be coarse
            unique, number = f"{stem}-{number}", number + 1
        return self.root / (unique + suffix)

    def _facts(self, kind: str, path: Path, saved_at: str) -> dict[str, Any]:
        return {
            "workspace_id": self.workspace_id,
            "flow_name": self.flow_name,
            "step_name": self.step_name,
            "run_id": self.run_id,
            "source_path": self.source_path,
            "artifact_kind": kind,
            "artifact_path": str(path),
            "saved_at_utc": saved_at,
            "display_name": f"{self.flow_name} / {self.step_name or 'Step'} / {saved_at}",
        }

    def _write_json(self, path: Path, value: Any) -> None:
        import json

        try:
            write_text_atomic(
                path, json.dumps(masked_in(value), indent=2, sort_keys=True) + "\n", durable=False, mode=private.FILE
            )
        except OSError as error:
            raise self._unwritable(path, error) from error

    def _unwritable(self, path: Path, error: OSError) -> FlowValidationError:
        return FlowValidationError(
            f"{path} cannot be written: {error.strerror}", where="context.debug", fix="free some space on this machine"
        )


def _token(text: object, fallback: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "" if text is None else masked(str(text))).strip("-._") or fallback


def masked_frame(frame: Any) -> Any:
    """The frame with `***` for each secret in its texts, also those inside lists and structures."""
    import polars as pl

    columns = []
    for column in frame.get_columns():
        if column.dtype == pl.String:
            if (texts := column.to_list()) != (hidden := masked_in(texts)):
                column = pl.Series(column.name, hidden, dtype=pl.String)
        elif column.dtype.is_nested() or column.dtype in (pl.Categorical, pl.Enum):
            values = [json_safe(value) for value in column.to_list()]
            hidden = masked_in(values)
            if hidden != values:
                texts = [None if value is None else str(value) for value in hidden]
                column = pl.Series(column.name, texts, dtype=pl.String)
        columns.append(column.alias(masked(column.name)))
    return pl.DataFrame(columns)


def _info(info: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if info is None else {"info": json_safe(info)}


def json_safe(value: Any) -> Any:
    """`value` as JSON can hold it: containers walked, paths and dates as text, anything else by its repr.

    Example:
        >>> json_safe({"p": Path("a"), 1: {3}, "x": 1.5})
        {'p': 'a', '1': [3], 'x': 1.5}
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else repr(value)
    if isinstance(value, (os.PathLike, date)):
        return value.isoformat() if isinstance(value, date) else os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return [json_safe(item) for item in sorted(value, key=repr)]
    if isinstance(value, (list, tuple, Batch)):
        return [json_safe(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {name: json_safe(getattr(value, name)) for name in value.__dataclass_fields__}
    return repr(value)
