"""Reads output files in a process of its own: a page of rows at a time, sorted and filtered by Polars.

`main` runs in a child; see `inspect_child` for how it is asked.
"""

from __future__ import annotations

import base64
import json
import math
import os
import stat
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_engine.answering_process import ParentProcess
from data_engine.errors import FlowValidationError
from data_engine.flow.debug import json_safe
from data_engine.flow.report_page import MOST_BYTES as REPORT_BYTES
from data_engine.flow.report_page import is_page
from data_engine.formatting import beginning, plural
from data_engine.helpers.excel import misfit, write_sheets
from data_engine.platforms.files import NO_WAIT
from jupyter_extension.inspect_child import most_memory_bytes, serve
from jupyter_extension.tables import EXCEL, TABLES, reading_code, scan, scratch

if TYPE_CHECKING:
    import polars as pl

MOST_ROWS = 500_000
"""Of one page."""

CHUNK = 1000
"""So many rows of a page come in one answer."""

MOST_DISTINCT = 500
MOST_COPIED = 20_000_000
MOST_TEXT_BYTES = 200_000
_TEXT = (".txt", ".log", ".md", ".yaml", ".yml", ".xml", ".html", ".sql", ".py", ".toml", ".ini", ".cfg")
_LONGEST = 500
_SAMPLE_ROWS = 100
_COPIES = 3
"""So many copies of a table are in memory while it is sorted."""
_pages: dict[str, tuple[int, pl.DataFrame]] = {}
"""The last page, by its request."""


def inspect(request: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the file (or of the table that the files under a folder are) `path`. Only regular files are opened: the path
    may come from another machine's history, and a pipe, a device or a socket may never give an answer.

    A table's page has `columns` ({name, dtype}), `rows` of texts, numbers and None, `total` (rows that pass), `offset` and
    `count` (rows of the page). Of a page of many rows so many as `CHUNK` come, from its row `first` on. `sort` is a list of
    [column, is_descending]; `filters` a list of {column, op, value}. Instead of rows: `distinct` names a column whose values
    are wanted; `copy` ({first, count, columns}) wants cells of the page as text with tabs; `code` the Python that makes the
    table in a cell; `export` all rows that pass as an Excel file, whose bytes are fetched with `part` ({name, offset}).
    Text has `text`, a page of a report `html`; anything else a `note`.

    Raises:
        FlowValidationError: it is not a regular file and no folder, it cannot be read, or a filter does not fit its column.
    """
    import polars as pl

    if piece := request.get("part"):
        return part(str(piece["name"]), int(piece["offset"]))
    text = str(request["path"])
    if text[:4].replace("\\", "/") == "//./":  # on Windows a pipe answers when it is looked for
        raise FlowValidationError(
            f"{text} is a device; only regular files are shown", where=text, fix="choose an output file of a flow"
        )
    path = Path(text)
    state = _state_of(path)
    facts = {"path": str(path), "name": path.name, "size_bytes": state.st_size}
    suffix = path.suffix.lower()
    if suffix in (".html", ".htm") and not request.get("code") and (page := _report(path, state.st_size)) is not None:
        return facts | {"kind": "page", "html": page}
    if suffix not in (*TABLES, *EXCEL) and not path.is_dir():
        return facts | _text(path, suffix, wants_code=bool(request.get("code")))
    try:
        frame, sheets = scan(path, request.get("sheet"))
        schema = frame.collect_schema()
        chosen = frame.filter(*(condition(schema, entry) for entry in request.get("filters") or ()))
        if request.get("code"):
            return facts | {"kind": "code", "code": _code(path, schema, request, sheets)}
        if column := request.get("distinct"):
            return facts | _distinct(chosen, str(column))
        if request.get("export"):
            _require_room(chosen, schema, request)
            return facts | export(_ordered(chosen, schema, request), _no_type_in_a_sheet(schema))
        key = json.dumps([str(path), state.st_mtime_ns, state.st_size, {name: request.get(name) for name in _OF_PAGE}])
        if path.is_dir():
            _pages.pop(key, None)  # a file below it may have changed
        if (cells := request.get("copy")) is not None:
            return facts | _cell_text(_page(chosen, schema, request, key)[1], cells)
        return (
            facts
            | {
                "kind": "table",
                "sheets": sheets,
                "has_quak": find_spec("quak") is not None,
            }
            | _chunk(schema, request, *_page(chosen, schema, request, key))
        )
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


_OF_PAGE = ("sheet", "sort", "filters", "offset", "limit")


def _state_of(path: Path) -> os.stat_result:
    """The state of a regular file or a folder; its name may come from another machine."""
    try:
        state = path.stat()
    except FileNotFoundError:
        fix = "check its folder and its name; what a flow wrote comes again when the flow runs again"
        raise FlowValidationError(f"there is no file {path}", where=str(path), fix=fix) from None
    except OSError as error:
        raise FlowValidationError(
            f"{path} cannot be read: {error.strerror or error}",
            where=str(path),
            fix="check the path and its links",
        ) from error
    if stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode):
        return state
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    kind = kinds.get(stat.S_IFMT(state.st_mode), "not a regular file")
    raise FlowValidationError(
        f"{path} is {kind}; only regular files are shown", where=str(path), fix="choose an output file of a flow"
    )


def _ordered(frame: pl.LazyFrame, schema: pl.Schema, request: Mapping[str, Any]) -> pl.LazyFrame:
    sort = [(str(name), bool(down)) for name, down in request.get("sort") or () if name in schema]
    if not sort:
        return frame
    names, downs = zip(*sort, strict=True)
    return frame.sort(*names, descending=list(downs), nulls_last=True, maintain_order=False)


def _code(path: Path, schema: pl.Schema, request: Mapping[str, Any], sheets: list[str]) -> str:
    """The cell that makes the table as it is shown: read, filtered and sorted."""
    lines = [reading_code(path, sheets[0] if sheets else None)]
    conditions = [condition_code(schema, entry) for entry in request.get("filters") or ()]
    lines += [f".filter({text})" for text in conditions]
    sort = [(str(name), bool(down)) for name, down in request.get("sort") or () if name in schema]
    if sort:
        names, downs = zip(*sort, strict=True)
        lines.append(f".sort({list(names)!r}, descending={list(downs)!r}, nulls_last=True)")
    table = lines[0] if len(lines) == 1 else "(\n    " + "\n    ".join(lines) + "\n)"
    needs = ["import json"] if any(NESTED in text for text in conditions) else []
    needs += ["from pathlib import Path"] if "Path(" in table else []
    if request["code"] == "quak":
        return "\n".join([*needs, "import polars as pl", "import quak", "", f"quak.Widget({table})"])
    return "\n".join([*needs, "import polars as pl", "", table])


def _no_type_in_a_sheet(schema: pl.Schema) -> dict[str, pl.Expr]:
    """The columns that are written into a sheet as text."""
    import polars as pl

    plain = (pl.String, pl.Boolean, pl.Date, pl.Time)
    return {
        name: pl.col(name).map_elements(_nested_text, return_dtype=pl.String)
        for name, dtype in schema.items()
        if not (dtype.is_numeric() or dtype in plain or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None))
    }


def _page(frame: pl.LazyFrame, schema: pl.Schema, request: Mapping[str, Any], key: str) -> tuple[int, pl.DataFrame]:
    """How many rows pass, and those of the page; the last page is kept, because its chunks are asked for one after another."""
    import polars as pl

    if key not in _pages:
        offset = max(int(request.get("offset", 0)), 0)
        limit = min(max(int(request.get("limit", 200)), 1), MOST_ROWS)
        _require_room(frame, schema, request, offset + limit)
        total, page = pl.collect_all([frame.select(pl.len()), _ordered(frame, schema, request).slice(offset, limit)])
        _pages.clear()
        _pages[key] = (int(total.item()), page)
    return _pages[key]


def _require_room(frame: pl.LazyFrame, schema: pl.Schema, request: Mapping[str, Any], rows: int | None = None) -> None:
    """Require that so many rows, by default all, fit into memory with their sort keys: a small file can hold gigabytes of texts.

    Raises:
        FlowValidationError: they do not.
    """
    import polars as pl

    keys = [name for name, _ in request.get("sort") or () if name in schema]
    if rows is not None and rows <= CHUNK and not keys:
        return
    sample = frame.head(_SAMPLE_ROWS).collect()
    total = len(sample) if len(sample) < _SAMPLE_ROWS else int(frame.select(pl.len()).collect().item())
    rows = total if rows is None else min(rows, total)
    bytes_needed = (sample.estimated_size() * rows + sample.select(keys).estimated_size() * total) / max(len(sample), 1)
    if bytes_needed > most_memory_bytes() / _COPIES:
        raise FlowValidationError(
            f"{total:,} rows take about {bytes_needed / 2**30:.1f} GB of memory, more than the panel takes for a table",
            where=str(request["path"]),
            fix="filter it first, sort by a column of short values, or open it in a cell",
        )


def _chunk(schema: pl.Schema, request: Mapping[str, Any], total: int, page: pl.DataFrame) -> dict[str, Any]:
    import polars as pl

    first = max(int(request.get("first") or 0), 0)
    cut = pl.col(pl.String).str.head(_LONGEST + 1)
    return {
        "columns": [{"name": name, "dtype": str(dtype)} for name, dtype in schema.items()],
        "rows": [[_shown(value) for value in row] for row in page.slice(first, CHUNK).with_columns(cut).rows()],
        "offset": max(int(request.get("offset", 0)), 0),
        "first": first,
        "count": len(page),
        "total": total,
    }


def _cell_text(page: pl.DataFrame, cells: Mapping[str, Any]) -> dict[str, Any]:
    """Cells as text, whole: a line for each row, with tabs between the columns, as a spreadsheet takes them."""
    import polars as pl

    names = [str(name) for name in cells["columns"] if name in page.columns]
    chosen = page.slice(max(int(cells["first"]), 0), max(int(cells["count"]), 0)).select(names)
    texts = [
        pl.col(name).map_elements(_nested_text, return_dtype=pl.String)
        if dtype.is_nested() or dtype == pl.Binary
        else pl.col(name).cast(pl.String, strict=False)
        for name, dtype in chosen.schema.items()
    ]
    text = (
        chosen.select(texts).write_csv(separator="\t", include_header=False, quote_style="necessary").removesuffix("\n")
    )
    if len(text) > MOST_COPIED:
        raise FlowValidationError(
            f"the cells are {len(text):,} characters", where="copy", fix="copy fewer rows, or download them for Excel"
        )
    return {"kind": "copied", "text": text, "rows": len(chosen)}


def _nested_text(item: Any) -> str:
    return str(_shown(item.to_list() if hasattr(item, "to_list") else item))


def _distinct(frame: pl.LazyFrame, column: str) -> dict[str, Any]:
    import polars as pl

    counted = (
        frame.group_by(pl.col(column)).len(name="__count").sort("__count", descending=True).head(MOST_DISTINCT + 1)
    )
    rows = counted.collect().rows()
    is_cut, rows = len(rows) > MOST_DISTINCT, rows[:MOST_DISTINCT]
    if not any(isinstance(value, (str, list, dict)) for value, _ in rows):  # numbers and days in their order
        rows.sort(key=lambda row: (row[0] is None, row[0]))
    values = [{"value": _shown(value), "count": count} for value, count in rows]
    return {"kind": "distinct", "column": column, "values": values, "is_cut": is_cut}


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return beginning(value, _LONGEST) if isinstance(value, str) else value
    if isinstance(value, (int, float)):
        return value if abs(value) < 2**53 and value == value else str(value)
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = str(value) if not isinstance(value, (list, dict)) else json.dumps(json_safe(value), ensure_ascii=False)
    return beginning(text, _LONGEST)


def _text(path: Path, suffix: str, *, wants_code: bool = False) -> dict[str, Any]:
    if wants_code:
        return {"kind": "code", "code": f"from pathlib import Path\n\nPath({str(path)!r})"}
    descriptor = os.open(path, os.O_RDONLY | NO_WAIT)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            _state_of(path)  # it was another file a moment ago
        data = file.read(MOST_TEXT_BYTES + 1)
    if suffix not in (*_TEXT, ".json") and b"\0" in data[:4096]:
        return {"kind": "note", "note": f"{suffix or 'this kind of file'} cannot be previewed here"}
    text = data[:MOST_TEXT_BYTES].decode("utf-8", errors="replace")
    if suffix == ".json" and len(data) <= MOST_TEXT_BYTES:
        with suppress(ValueError):
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return {"kind": "text", "text": text, "is_cut": len(data) > MOST_TEXT_BYTES}


def _report(path: Path, size_bytes: int) -> str | None:
    """The page that a report step wrote; None for any other file, which is shown as text."""
    if size_bytes > REPORT_BYTES or not path.is_file():
        return None
    with open(os.open(path, os.O_RDONLY | NO_WAIT), "rb") as file:
        text = file.read(REPORT_BYTES + 1).decode("utf-8", errors="replace")
    return text if is_page(text) else None


NESTED = (
    'lambda item: json.dumps(item.to_list() if hasattr(item, "to_list") else item, default=str, ensure_ascii=False)'
)
"""The code that writes a list or a struct as text."""

_TEXT_OPS = {
    "equals": "{lower} == {text!r}",
    "not equals": "({lower} != {text!r}) | {column}.is_null()",
    "contains": "{lower}.str.contains({text!r}, literal=True)",
    "not contains": "~{lower}.str.contains({text!r}, literal=True) | {column}.is_null()",
    "begins": "{lower}.str.starts_with({text!r})",
    "ends": "{lower}.str.ends_with({text!r})",
}
_ORDER_OPS = (">=", "<=", ">", "<")
OPS = (*_TEXT_OPS, *_ORDER_OPS, "in", "blank", "not blank")


def condition_code(schema: pl.Schema, entry: Mapping[str, Any]) -> str:
    """The expression of one filter, {column, op, value}. Text ignores case and is no pattern.

    Raises:
        FlowValidationError: there is no such column or filter, or the value does not fit.

    Example:
        >>> import polars as pl
        >>> condition_code(pl.Schema({"amount": pl.Int64}), {"column": "amount", "op": ">=", "value": "3"})
        "pl.col('amount') >= 3"
    """
    name, op, value = str(entry.get("column")), str(entry.get("op")), entry.get("value")
    if name not in schema:
        raise FlowValidationError(f"there is no column {name!r}", where="the filter", fix="choose another column")
    column = f"pl.col({name!r})"
    as_text = f"{column}.cast(pl.String, strict=False)"
    if schema[name].is_nested():
        as_text = f"{column}.map_elements({NESTED}, return_dtype=pl.String)"
    if op in ("blank", "not blank"):
        blank = f'{column}.is_null() | ({as_text}.str.strip_chars() == "")'
        return blank if op == "blank" else f"~({blank})"
    if op == "in":
        values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        texts = [str(item) if not isinstance(item, bool) else str(item).lower() for item in values if item is not None]
        chosen = f"{as_text}.is_in({texts!r})"
        return f"{chosen} | {column}.is_null()" if None in values else chosen
    text = str(value or "")
    if op in _TEXT_OPS:
        return _TEXT_OPS[op].format(lower=f"{as_text}.str.to_lowercase()", column=column, text=text.lower())
    if op not in _ORDER_OPS:
        raise FlowValidationError(f"there is no filter {op!r}", where="the filter", fix=f"use one of {', '.join(OPS)}")
    if not schema[name].is_numeric():
        return f"{as_text} {op} {text!r}"  # ISO text sorts as its times do
    return f"{column} {op} {_number(text, name)!r}"


def _number(text: str, column: str) -> int | float:
    """The number, whole where it is written so: a float would round a long one.

    Raises:
        FlowValidationError: it is none, or not finite, which is no literal in code.
    """
    with suppress(ValueError):
        if abs(whole := int(text)) < 2**63:
            return whole
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    what = f"{beginning(text, 100)!r} is not a number"
    raise FlowValidationError(what, where=f"filter of {column}", fix="give a number such as -12.5")


def condition(schema: pl.Schema, entry: Mapping[str, Any]) -> pl.Expr:
    """The expression of a filter, from its code.

    Raises:
        FlowValidationError: as `condition_code`.
    """
    import polars as pl

    names = {"pl": pl, "json": json, "__builtins__": {"str": str, "hasattr": hasattr}}
    expression: pl.Expr = eval(condition_code(schema, entry), names)  # values stand in it as Python literals only
    return expression


SHEET_ROWS = 1_048_575
"""Rows of an Excel sheet below its header."""

PART_BYTES = 4 * 1024 * 1024
_FITTED_ROWS = 10_000


def export(frame: pl.LazyFrame, as_text: Mapping[str, pl.Expr], *, sheet_rows: int = SHEET_ROWS) -> dict[str, Any]:
    """Write the rows as a workbook; the answer names the file, for `part`. `as_text` are the columns that a sheet has no type for;
    numbers that a sheet would round become texts, too.

    Raises:
        FlowValidationError: a text is too long for a cell, or two columns are one to Excel.
    """
    import polars as pl

    rows = frame.collect().with_columns(**as_text)
    rows = rows.with_columns(column.cast(pl.String) for column in rows if column.dtype != pl.String and misfit(column))
    name = f"{uuid.uuid4().hex}.xlsx"
    firsts = range(0, max(len(rows), 1), sheet_rows)
    parts = {f"Sheet{number}": rows.slice(first, sheet_rows) for number, first in enumerate(firsts, 1)}
    write_sheets(parts, scratch() / name, autofit=len(rows) <= _FITTED_ROWS)
    sheets = len(parts)
    message = f"Saved {plural(len(rows), 'row')}" + (f" in {sheets} sheets." if sheets > 1 else ".")
    return {"kind": "file", "name": name, "size_bytes": (scratch() / name).stat().st_size, "said": message}


def part(name: str, offset: int) -> dict[str, Any]:
    """The next bytes of a workbook that was written, in base64; the last ones remove it.

    Raises:
        FlowValidationError: there is no such file any more.
    """
    path = scratch() / name
    if path.parent != scratch() or path.suffix != ".xlsx" or not path.is_file():
        raise FlowValidationError("the workbook is not there any more", where=name, fix="download it again")
    with open(path, "rb") as file:
        file.seek(offset)
        data = file.read(PART_BYTES)
        is_last = not file.read(1)
    if is_last:
        path.unlink(missing_ok=True)
    return {"kind": "part", "base64": base64.b64encode(data).decode(), "is_last": is_last}


def main(asker: ParentProcess) -> None:
    """Answer as the child."""
    serve(asker, inspect, failed="the file cannot be shown", most_bytes=most_memory_bytes())
