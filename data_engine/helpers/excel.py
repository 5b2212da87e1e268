"""Workbooks written whole, or not at all."""

from __future__ import annotations

import io
from pathlib import Path

from data_engine.errors import FlowValidationError
from data_engine.files import atomic_target
from data_engine.helpers.targets import target_of, whole_or_nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import Any

    import polars as pl

__all__ = ["write_excel_atomic"]

_MOST_ROWS, _MOST_COLUMNS, _LONGEST_TEXT = 1_048_576, 16_384, 32_767
_LARGEST_INT = 2**53


def write_excel_atomic(
    df: pl.DataFrame, path: str | PathLike[str], worksheet: str | None = None, **options: Any
) -> Path:
    """The path, absolute, after the frame became the workbook there, whole and on the drive; its folder is made.

    Until the new file is complete the old one stays, whatever fails; who has it open goes on reading the old (on Windows,
    Excel itself must be closed: nothing else can replace the file then). What a worksheet would cut or round is refused.

    Args:
        worksheet: the sheet's name, "Sheet1" by default.
        options: of `polars.DataFrame.write_excel`.

    Raises:
        FlowValidationError: too many rows or columns, texts longer than 32,767 letters, whole numbers beyond 2**53 (Excel
            keeps 15 digits), a wrong option, no room, no permission.
        TypeError: no DataFrame.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import write_excel_atomic
        >>> path = write_excel_atomic(pl.DataFrame({"a": [1]}), tempfile.mkdtemp() + "/a.xlsx", worksheet="amounts")
        >>> pl.read_excel(path, sheet_name="amounts").rows()
        [(1,)]
    """
    import polars as pl
    import xlsxwriter
    from xlsxwriter.exceptions import XlsxWriterException

    if not isinstance(df, pl.DataFrame):
        raise TypeError(f"df must be a Polars DataFrame, not {type(df).__name__}; collect a LazyFrame first")
    if worksheet is not None and not isinstance(worksheet, str):
        raise TypeError(f"worksheet must be a sheet's name, not {worksheet!r}")
    _check_fits(df)
    target = target_of(path)
    with whole_or_nothing(target, XlsxWriterException), atomic_target(target) as fresh:
        zipped = io.BytesIO()  # not the file itself: a ZipFile on a full disk fails again when it is collected
        with xlsxwriter.Workbook(zipped) as book:
            df.write_excel(book, worksheet=worksheet, **options)
        fresh.write_bytes(zipped.getbuffer())
    return target


def _check_fits(df: pl.DataFrame) -> None:
    """xlsxwriter leaves out what does not fit a sheet, and Excel rounds what has more digits than a double."""
    import polars as pl

    if len(df) >= _MOST_ROWS or df.width > _MOST_COLUMNS:
        raise FlowValidationError(
            f"a worksheet holds {_MOST_ROWS - 1:,} rows under its header and {_MOST_COLUMNS:,} columns, not {len(df):,} and {df.width:,}",
            where="df=",
            mend="write Parquet, or split the frame",
        )
    for series in df:
        if series.dtype == pl.String and (series.str.len_chars().max() or 0) > _LONGEST_TEXT:  # type: ignore[operator]
            raise FlowValidationError(
                f'a cell holds {_LONGEST_TEXT:,} letters; a text in "{series.name}" is longer',
                where="df=",
                mend="cut it, or write Parquet",
            )
        if series.dtype.is_integer() and max(abs(series.min() or 0), abs(series.max() or 0)) > _LARGEST_INT:  # type: ignore[arg-type]
            raise FlowValidationError(
                f'Excel rounds whole numbers of more than 15 digits; "{series.name}" holds such',
                where="df=",
                mend=f'cast it to text: pl.col("{series.name}").cast(pl.String)',
            )
