"""Rows as an Excel workbook on this machine's disk, which the page takes in parts: as many sheets as the rows need."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data_engine.counted import counted
from data_engine.errors import FlowValidationError
from data_engine.helpers.excel import misfit, write_sheets
from jupyter_extension.tables import scratch

if TYPE_CHECKING:
    import polars as pl

SHEET_ROWS = 1_048_575
"""What a sheet of Excel holds below its header."""

PART_BYTES = 4 * 1024 * 1024
_FITTED_ROWS = 10_000


def export(frame: pl.LazyFrame, as_text: Mapping[str, pl.Expr], *, sheet_rows: int = SHEET_ROWS) -> dict[str, Any]:
    """Write the rows; `as_text` are the columns a sheet has no type for, and of what a sheet would round it has the text too. The answer
    names the file, for `part`.

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
    said = f"Saved {counted(len(rows), 'row')}" + (f" in {sheets} sheets." if sheets > 1 else ".")
    return {"kind": "file", "name": name, "size_bytes": (scratch() / name).stat().st_size, "said": said}


def part(name: str, offset: int) -> dict[str, Any]:
    """The next bytes of a workbook that was written, in base64; the last ones take it away.

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
