"""Looks into output files in a process of its own: a page of rows at a time, sorted and filtered by Polars.

Run as `python -m jupyter_extension.inspector`; see `child_loop` for how it is asked.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_engine.cut import beginning
from data_engine.errors import FlowValidationError
from data_engine.flow.debug import json_safe
from data_engine.platforms.files import NO_WAIT
from jupyter_extension.child_loop import most_memory_bytes, serve
from jupyter_extension.conditions import NESTED, condition, condition_code
from jupyter_extension.excel_export import export, part
from jupyter_extension.tables import EXCEL, TABLES, reading_code, scan

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
"""So often a table is in memory while it is sorted."""
_kept: dict[str, tuple[int, pl.DataFrame]] = {}
"""The page that was asked for last, by what it was asked with."""


def inspect(request: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the file (or of the table that the files under a folder are) `path`. Only regular files are opened: the path
    may come from another machine's history, and a pipe, a device or a socket may never give an answer.

    A table's page has `columns` ({name, dtype}), `rows` of texts, numbers and None, `total` (rows that pass), `offset` and
    `count` (rows of the page). Of a page of many rows so many as `CHUNK` come, from its row `first` on. `sort` is a list of
    [column, is_descending]; `filters` a list of {column, op, value}. Instead of rows: `distinct` names a column whose values
    are wanted; `copy` ({first, count, columns}) wants cells of the page as text with tabs; `code` the Python that makes the
    table in a cell; `export` all rows that pass as an Excel file, whose bytes are fetched with `part` ({name, offset}).
    Text has `text`; anything else a `note`.

    Raises:
        FlowValidationError: it is not a regular file and no folder, it cannot be read, or a filter does not fit its column.
    """
    import polars as pl

    if wanted := request.get("part"):
        return part(str(wanted["name"]), int(wanted["offset"]))
    text = str(request["path"])
    if text[:4].replace("\\", "/") == "//./":  # on Windows a pipe answers when it is looked for
        raise FlowValidationError(
            f"{text} is a device; only regular files are shown", where=text, fix="choose an output file of a flow"
        )
    path = Path(text)
    looked = _looked_at(path)
    facts = {"path": str(path), "name": path.name, "size_bytes": looked.st_size}
    suffix = path.suffix.lower()
    if suffix not in (*TABLES, *EXCEL) and not path.is_dir():
        return facts | _text(path, suffix, wants_code=bool(request.get("code")))
    try:
        frame, sheets = scan(path, request.get("sheet"))
        schema = frame.collect_schema()
        chosen = frame.filter(*(condition(schema, one) for one in request.get("filters") or ()))
        if request.get("code"):
            return facts | {"kind": "code", "code": _code(path, schema, request, sheets)}
        if column := request.get("distinct"):
            return facts | _distinct(chosen, str(column))
        if request.get("export"):
            _require_room(chosen, schema, request)
            return facts | export(_ordered(chosen, schema, request), _no_type_in_a_sheet(schema))
        key = json.dumps(
            [str(path), looked.st_mtime_ns, looked.st_size, {name: request.get(name) for name in _OF_PAGE}]
        )
        if path.is_dir():
            _kept.pop(key, None)  # a file below it may have changed
        if (cells := request.get("copy")) is not None:
            return facts | _copied(_page(chosen, schema, request, key)[1], cells)
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


def _looked_at(path: Path) -> os.stat_result:
    """What is known of a file or folder that may be opened; its name may come from another machine."""
    try:
        found = path.stat()
    except FileNotFoundError:
        fix = "check its folder and its name; what a flow wrote comes again when the flow runs again"
        raise FlowValidationError(f"there is no file {path}", where=str(path), fix=fix) from None
    except OSError as error:
        raise FlowValidationError(
            f"{path} cannot be read: {error.strerror or error}",
            where=str(path),
            fix="check the path and its links",
        ) from error
    if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
        return found
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "not a regular file")
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
    conditions = [condition_code(schema, one) for one in request.get("filters") or ()]
    lines += [f".filter({one})" for one in conditions]
    sort = [(str(name), bool(down)) for name, down in request.get("sort") or () if name in schema]
    if sort:
        names, downs = zip(*sort, strict=True)
        lines.append(f".sort({list(names)!r}, descending={list(downs)!r}, nulls_last=True)")
    made = lines[0] if len(lines) == 1 else "(\n    " + "\n    ".join(lines) + "\n)"
    needs = ["import json"] if any(NESTED in one for one in conditions) else []
    needs += ["from pathlib import Path"] if "Path(" in made else []
    if request["code"] == "quak":
        return "\n".join([*needs, "import polars as pl", "import quak", "", f"quak.Widget({made})"])
    return "\n".join([*needs, "import polars as pl", "", made])


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

    if key not in _kept:
        offset = max(int(request.get("offset", 0)), 0)
        limit = min(max(int(request.get("limit", 200)), 1), MOST_ROWS)
        _require_room(frame, schema, request, offset + limit)
        total, page = pl.collect_all([frame.select(pl.len()), _ordered(frame, schema, request).slice(offset, limit)])
        _kept.clear()
        _kept[key] = (int(total.item()), page)
    return _kept[key]


def _require_room(frame: pl.LazyFrame, schema: pl.Schema, request: Mapping[str, Any], rows: int | None = None) -> None:
    """Return when so many rows, by default all, and what they are sorted by fit into the memory they may take: a small file can hold
    gigabytes of texts.

    Raises:
        FlowValidationError: they do not.
    """
    import polars as pl

    keys = [name for name, _ in request.get("sort") or () if name in schema]
    if rows is not None and rows <= CHUNK and not keys:
        return
    sample = frame.head(_SAMPLE_ROWS).collect()
    total = len(sample) if len(sample) < _SAMPLE_ROWS else int(frame.select(pl.len()).collect().item())
    kept = total if rows is None else min(rows, total)
    bytes_needed = (sample.estimated_size() * kept + sample.select(keys).estimated_size() * total) / max(len(sample), 1)
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


def _copied(page: pl.DataFrame, cells: Mapping[str, Any]) -> dict[str, Any]:
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
    serve(inspect, failed="the file cannot be shown", most_bytes=most_memory_bytes())
