"""Rows as an Excel workbook on this machine's disk, which the page takes in parts: as many sheets as the rows need."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data_engine.counted import counted
from data_engine.errors import FlowValidationError
from jupyter_extension.tables import scratch

if TYPE_CHECKING:
    import polars as pl

SHEET_ROWS = 1_048_575
"""What a sheet of Excel holds below its header."""

PART_BYTES = 4 * 1024 * 1024
_FITTED_ROWS = 10_000


def export(frame: pl.LazyFrame, as_text: Mapping[str, pl.Expr], *, sheet_rows: int = SHEET_ROWS) -> dict[str, Any]:
    """Write the rows; `as_text` are the columns a sheet has no type for. The answer names the file, for `part`."""
    import xlsxwriter

    rows = frame.collect().with_columns(**as_text)
    name = f"{uuid.uuid4().hex}.xlsx"
    options = {"constant_memory": False, "nan_inf_to_errors": True, "strings_to_urls": False}
    with xlsxwriter.Workbook(scratch() / name, options) as book:
        for number, first in enumerate(range(0, max(len(rows), 1), sheet_rows)):
            part: pl.DataFrame = rows.slice(first, sheet_rows)
            part.write_excel(book, f"Sheet{number + 1}", autofit=len(rows) <= _FITTED_ROWS)
    sheets = -(-max(len(rows), 1) // sheet_rows)
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
