"""Looks into output files in a process of its own: a page of rows at a time, sorted and filtered by Polars.

Run as `python -m jupyter_extension.inspector`; see `child_loop` for how it is asked.
"""

from __future__ import annotations

import base64
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_engine.errors import FlowValidationError
from data_engine.flow.debug import json_safe
from data_engine.platforms.files import NO_WAIT
from jupyter_extension.child_loop import serve

if TYPE_CHECKING:
    import polars as pl

MOST_ROWS = 1000
MOST_DISTINCT = 500
MOST_EXPORTED = 100_000
MOST_TEXT_BYTES = 200_000
MOST_FILES = 10_000
_TABLES = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".arrow", ".feather", ".ipc")
_EXCEL = (".xlsx", ".xls", ".xlsm", ".xlsb")
_TEXT = (".txt", ".log", ".md", ".yaml", ".yml", ".xml", ".html", ".sql", ".py", ".toml", ".ini", ".cfg")
_excel: dict[tuple[str, int, str | None], Any] = {}


def inspect(request: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the file (or of the Parquet files under the folder) `path`. Only regular files are opened: the path may come
    from another machine's history, and a pipe, a device or a socket may never give an answer.

    A table's page has `columns` ({name, dtype}), `rows` of texts, numbers and None, `total` (rows that pass) and `offset`.
    `sort` is a list of [column, is_descending]; `filters` a list of {column, op, value}; `distinct` names a column whose
    values are wanted instead, and with `export` all rows that pass come as an Excel file (`base64`). Text has `text`;
    anything else a `note`.

    Raises:
        FlowValidationError: it is no regular file and no folder, it cannot be read, or a filter does not fit its column.
    """
    import polars as pl

    text = str(request["path"])
    if text[:4].replace("\\", "/") == "//./":  # on Windows a pipe answers when it is looked for
        raise FlowValidationError(
            f"{text} is a device; only regular files are shown", where=text, fix="choose an output file of a flow"
        )
    path = Path(text)
    facts = {"path": str(path), "name": path.name, "size_bytes": _looked_at(path).st_size}
    suffix = path.suffix.lower()
    if suffix not in (*_TABLES, *_EXCEL) and not path.is_dir():
        return facts | _text(path, suffix)
    try:
        frame, sheets = _scan(path, request.get("sheet"))
        schema = frame.collect_schema()
        chosen = frame.filter(*(_condition(schema, one) for one in request.get("filters") or ()))
        if column := request.get("distinct"):
            return facts | _distinct(chosen, str(column))
        if request.get("export"):
            return facts | _exported(_ordered(chosen, schema, request))
        has_quak = find_spec("quak") is not None
        return facts | {"kind": "table", "sheets": sheets, "has_quak": has_quak} | _page(chosen, schema, request)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        if isinstance(error, FlowValidationError):
            raise
        if suffix == ".json":
            return facts | _text(path, suffix)
        raise FlowValidationError(
            f"{path.name} cannot be read as a table: {str(error).splitlines()[0]}",
            where=str(path),
            fix="open it in a cell to see the whole error",
        ) from error


def _looked_at(path: Path) -> os.stat_result:
    """What is known of a file or folder that may be opened; its name may come from another machine."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise FlowValidationError(f"{path} is not there", where=str(path), fix="run the flow again") from None
    except OSError as error:
        raise FlowValidationError(
            f"{path} cannot be looked at: {error.strerror or error}",
            where=str(path),
            fix="check the path and its links",
        ) from error
    if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
        return found
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "no regular file")
    raise FlowValidationError(
        f"{path} is {kind}; only regular files are shown", where=str(path), fix="choose an output file of a flow"
    )


def _parquet_files(folder: Path) -> Iterator[str]:
    """The Parquet files below a folder, in order; links to folders are not followed, and only regular files count."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            with suppress(OSError):
                if name.endswith(".parquet") and stat.S_ISREG(os.stat(path).st_mode):
                    yield path


def _scan(path: Path, sheet: Any) -> tuple[pl.LazyFrame, list[str]]:
    import polars as pl

    suffix = path.suffix.lower()
    if path.is_dir():
        files = list(islice(_parquet_files(path), MOST_FILES + 1))
        if not 0 < len(files) <= MOST_FILES:
            raise FlowValidationError(
                f"{path} holds {'no' if not files else f'more than {MOST_FILES:,}'} Parquet files",
                where=str(path),
                fix="choose a file, or a folder that holds some",
            )
        return pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore"), []
    if suffix == ".parquet":
        return pl.scan_parquet(path), []
    if suffix in (".csv", ".tsv"):
        separator = "\t" if suffix == ".tsv" else ","
        return pl.scan_csv(path, separator=separator, infer_schema_length=10_000, ignore_errors=True), []
    if suffix in (".jsonl", ".ndjson"):
        return pl.scan_ndjson(path), []
    if suffix in (".arrow", ".feather", ".ipc"):
        return pl.scan_ipc(path), []
    if suffix == ".json":
        return pl.read_json(path).lazy(), []
    import fastexcel

    names = fastexcel.read_excel(path).sheet_names
    wanted = sheet if sheet in names else names[0]
    key = (str(path), path.stat().st_mtime_ns, wanted)
    if key not in _excel:
        _excel.clear()
        _excel[key] = pl.read_excel(path, sheet_name=wanted)
    return _excel[key].lazy(), [wanted, *(name for name in names if name != wanted)]


def _ordered(frame: pl.LazyFrame, schema: pl.Schema, request: Mapping[str, Any]) -> pl.LazyFrame:
    sort = [(str(name), bool(down)) for name, down in request.get("sort") or () if name in schema]
    if not sort:
        return frame
    names, downs = zip(*sort, strict=True)
    return frame.sort(*names, descending=list(downs), nulls_last=True, maintain_order=False)


def _exported(frame: pl.LazyFrame) -> dict[str, Any]:
    """The rows as an Excel file; columns a sheet has no type for are written as text."""
    import polars as pl

    rows = frame.head(MOST_EXPORTED + 1).collect()
    is_cut, rows = len(rows) > MOST_EXPORTED, rows.head(MOST_EXPORTED)
    plain = (pl.String, pl.Boolean, pl.Date, pl.Time)
    as_text = [
        pl.col(name).map_elements(_nested_text, return_dtype=pl.String)
        for name, dtype in rows.schema.items()
        if not (dtype.is_numeric() or dtype in plain or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None))
    ]
    book = io.BytesIO()
    rows.with_columns(as_text).write_excel(book, autofit=len(rows) <= 10_000)
    said = f"Saved {len(rows):,} row{'' if len(rows) == 1 else 's'}" + (": only the first ones." if is_cut else ".")
    return {"kind": "file", "base64": base64.b64encode(book.getvalue()).decode(), "said": said}


def _page(frame: pl.LazyFrame, schema: pl.Schema, request: Mapping[str, Any]) -> dict[str, Any]:
    import polars as pl

    offset = max(int(request.get("offset", 0)), 0)
    limit = min(max(int(request.get("limit", 200)), 1), MOST_ROWS)
    total, page = pl.collect_all([frame.select(pl.len()), _ordered(frame, schema, request).slice(offset, limit)])
    return {
        "columns": [{"name": name, "dtype": str(dtype)} for name, dtype in schema.items()],
        "rows": [[_shown(value) for value in row] for row in page.rows()],
        "offset": offset,
        "total": int(total.item()),
    }


def _distinct(frame: pl.LazyFrame, column: str) -> dict[str, Any]:
    import polars as pl

    counted = (
        frame.group_by(pl.col(column)).len(name="__count").sort("__count", descending=True).head(MOST_DISTINCT + 1)
    )
    rows = counted.collect().rows()
    values = [{"value": _shown(value), "count": count} for value, count in rows[:MOST_DISTINCT]]
    return {"kind": "distinct", "column": column, "values": values, "is_cut": len(rows) > MOST_DISTINCT}


def _condition(schema: pl.Schema, one: Mapping[str, Any]) -> pl.Expr:
    import polars as pl

    name, op, value = str(one.get("column")), str(one.get("op")), one.get("value")
    if name not in schema:
        raise FlowValidationError(f"there is no column {name!r}", where="the filter", fix="choose another column")
    column = pl.col(name)
    as_text = column.cast(pl.String, strict=False)
    if schema[name].is_nested():
        as_text = column.map_elements(_nested_text, return_dtype=pl.String)
    if op in ("blank", "not blank"):
        blank = column.is_null() | (as_text.str.strip_chars() == "")
        return blank if op == "blank" else ~blank
    if op == "in":
        values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        texts = [str(item) if not isinstance(item, bool) else str(item).lower() for item in values if item is not None]
        chosen = as_text.is_in(texts)
        return chosen | column.is_null() if None in values else chosen
    text = str(value or "")
    lower = as_text.str.to_lowercase()
    if op in _TEXT_OPS:
        made: pl.Expr = _TEXT_OPS[op](lower, text.lower())
        return made
    if op not in _ORDER_OPS:
        raise FlowValidationError(f"there is no filter {op!r}", where="the filter", fix=f"use one of {', '.join(OPS)}")
    bound = pl.lit(text)
    if schema[name].is_numeric():
        try:
            bound = pl.lit(float(text))
        except ValueError:
            raise FlowValidationError(
                f"{text!r} is no number", where=f"filter of {name}", fix="give a number"
            ) from None
    elif schema[name].is_temporal():
        column = as_text  # ISO text sorts as its times do
    else:
        column = as_text
    ordered: pl.Expr = _ORDER_OPS[op](column, bound)
    return ordered


_TEXT_OPS: dict[str, Any] = {
    "equals": lambda column, text: column == text,
    "not equals": lambda column, text: (column != text) | column.is_null(),
    "contains": lambda column, text: column.str.contains(text, literal=True),
    "not contains": lambda column, text: ~column.str.contains(text, literal=True) | column.is_null(),
    "begins": lambda column, text: column.str.starts_with(text),
    "ends": lambda column, text: column.str.ends_with(text),
}
_ORDER_OPS: dict[str, Any] = {
    ">=": lambda column, bound: column >= bound,
    "<=": lambda column, bound: column <= bound,
    ">": lambda column, bound: column > bound,
    "<": lambda column, bound: column < bound,
}
OPS = (*_TEXT_OPS, *_ORDER_OPS, "in", "blank", "not blank")


def _nested_text(item: Any) -> str:
    return str(_shown(item.to_list() if hasattr(item, "to_list") else item))


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value if not isinstance(value, str) or len(value) <= 500 else value[:500] + "…"
    if isinstance(value, (int, float)):
        return value if abs(value) < 2**53 and value == value else str(value)
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = str(value) if not isinstance(value, (list, dict)) else json.dumps(json_safe(value), ensure_ascii=False)
    return text if len(text) <= 500 else text[:500] + "…"


def _text(path: Path, suffix: str) -> dict[str, Any]:
    descriptor = os.open(path, os.O_RDONLY | NO_WAIT)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            _looked_at(path)  # it was another one a moment ago
        data = file.read(MOST_TEXT_BYTES + 1)
    if suffix not in (*_TEXT, ".json") and b"\0" in data[:4096]:
        return {"kind": "note", "note": f"{suffix or 'this kind of file'} cannot be previewed here"}
    text = data[:MOST_TEXT_BYTES].decode("utf-8", errors="replace")
    if suffix == ".json" and len(data) <= MOST_TEXT_BYTES:
        with suppress(ValueError):
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return {"kind": "text", "text": text, "is_cut": len(data) > MOST_TEXT_BYTES}


if __name__ == "__main__":
    serve(inspect, failed="the file cannot be shown")
