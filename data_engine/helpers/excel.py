"""Workbooks written whole, or not at all."""

from __future__ import annotations

import io
from pathlib import Path

from data_engine.errors import FlowValidationError
from data_engine.helpers.targets import target_of, whole_or_nothing
from data_engine.unfinished import noted_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from typing import Any

    import polars as pl

__all__ = ["write_excel_atomic"]

_MOST_ROWS, _MOST_COLUMNS, _LONGEST_TEXT = 1_048_576, 16_384, 32_767
_LARGEST_INT, _MOST_DIGITS = 2**53, 15
_OPTIONS = {
    "nan_inf_to_errors": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,  # of more than 65,530 links, and of long ones, xlsxwriter leaves the cell out
    "default_date_format": "yyyy-mm-dd;@",
}


def write_excel_atomic(
    df: pl.DataFrame, path: str | PathLike[str], worksheet: str | None = None, **options: Any
) -> Path:
    """The absolute path of the workbook, after the frame was written there, whole and on the drive; its folder is made.

    Until the new file is complete the old one stays, whatever fails; a program that has it open goes on reading the old (on Windows,
    Excel itself must be closed: nothing else can replace the file then). Text stays text, also "=1+1" and web addresses; NaN
    and infinity become Excel's errors #NUM! and #DIV/0!. Excel itself keeps about 15 digits of
    a float, milliseconds of a moment or a time (what is finer is cut, so that none becomes the next day), and of an empty text
    an empty cell. Whatever else a worksheet would cut, round or leave out is refused.

    Args:
        worksheet: the sheet's name, "Sheet1" by default.
        options: of `polars.DataFrame.write_excel`.

    Raises:
        FlowValidationError: too many rows or columns, names equal but for their case, texts longer than 32,767 characters, whole
            numbers beyond 2**53 or decimals of more than 15 digits, days before 1900, time zones, bytes; a wrong option, no
            room, no permission.
        TypeError: no DataFrame.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import write_excel_atomic
        >>> path = write_excel_atomic(pl.DataFrame({"a": [1]}), tempfile.mkdtemp() + "/a.xlsx", worksheet="amounts")
        >>> pl.read_excel(path, sheet_name="amounts").rows()
        [(1,)]
    """
    import polars as pl

    if not isinstance(df, pl.DataFrame):
        raise TypeError(f"df must be a Polars DataFrame, not {type(df).__name__}; collect a LazyFrame first")
    if worksheet is not None and not isinstance(worksheet, str):
        raise TypeError(f"worksheet must be a sheet's name, not {worksheet!r}")
    return write_sheets({worksheet: df}, path, **options)


def write_sheets(sheets: Mapping[Any, pl.DataFrame], path: str | PathLike[str], **options: Any) -> Path:
    """The absolute path of the workbook, after each frame was written there as the sheet of its name; else as `write_excel_atomic`."""
    import xlsxwriter
    from xlsxwriter.exceptions import XlsxWriterException

    for df in sheets.values():
        _check_fits(df)
    target = target_of(path)
    with whole_or_nothing(target, XlsxWriterException), noted_target(target) as fresh:
        zipped = io.BytesIO()  # not the file itself: a ZipFile on a full disk fails again when it is collected
        with xlsxwriter.Workbook(zipped, {**_OPTIONS, "use_zip64": bool(options.pop("use_zip64", False))}) as book:
            for name, df in sheets.items():
                _to_milliseconds(df).write_excel(book, worksheet=name, **options)
            if any(df.width and not sheet.tables for df, sheet in zip(sheets.values(), book.worksheets(), strict=True)):
                raise ValueError("xlsxwriter warned and left the table out; look at the options, such as table_name=")
        fresh.write_bytes(zipped.getbuffer())
    return target


def _to_milliseconds(df: pl.DataFrame) -> pl.DataFrame:
    """The frame with what Excel cannot tell apart cut off its times: it would round 23:59:59.9999 up into the next day."""
    import polars as pl

    fine = [series for series in df if series.dtype in (pl.Datetime, pl.Time)]
    return df.with_columns(_cut(series) for series in fine)


def _cut(series: pl.Series) -> pl.Series:
    import polars as pl

    unit = "ns" if series.dtype == pl.Time else series.dtype.time_unit  # type: ignore[attr-defined]
    per_ms = {"ns": 1_000_000, "us": 1_000, "ms": 1}[unit]
    numbers = series.to_physical()
    return (numbers - numbers % per_ms).cast(series.dtype)


def _check_fits(df: pl.DataFrame) -> None:
    """Refuse what xlsxwriter would leave out or alter: it says so in a warning at best."""
    if len(df) >= _MOST_ROWS or df.width > _MOST_COLUMNS:
        raise FlowValidationError(
            f"a worksheet holds {_MOST_ROWS - 1:,} rows under its header and {_MOST_COLUMNS:,} columns, not {len(df):,} and {df.width:,}",
            where="df=",
            fix="write Parquet, or split the frame",
        )
    names: dict[str, str] = {}
    for name in df.columns:
        other = names.setdefault(name.casefold(), name)
        if other != name or not name:
            raise FlowValidationError(
                f'Excel treats the columns "{other}" and "{name}" as one' if name else "df has a column without a name",
                where="df=",
                fix="rename it",
            )
    for series in df:
        problem = misfit(series)
        if problem is not None:
            what, fix = problem
            raise FlowValidationError(f'{what}; the column "{series.name}" holds such', where="df=", fix=fix)


def misfit(series: pl.Series) -> tuple[str, str] | None:
    """The reason why a column does not fit the cells of a sheet, and its remedy; None where it does."""
    import polars as pl

    kind, column = series.dtype, f'pl.col("{series.name}")'
    if kind in (pl.Binary, pl.Object):
        return "a cell cannot hold bytes or Python objects", "drop it, or write Parquet"
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        return (
            "a cell cannot hold a time zone",
            f'keep its clock: {column}.dt.replace_time_zone(None), or make it text: {column}.dt.to_string("iso")',
        )
    if kind in (pl.Date, pl.Datetime) and series.dt.year().min() is not None and series.dt.year().min() < 1900:  # type: ignore[operator]
        return "Excel's dates begin in 1900", f'make it text: {column}.dt.to_string("iso")'
    if kind.is_integer() and max(abs(series.min() or 0), abs(series.max() or 0)) > _LARGEST_INT:  # type: ignore[arg-type, call-overload, unused-ignore]
        return "Excel rounds whole numbers of more than 15 digits", f"make it text: {column}.cast(pl.String)"
    if kind.is_decimal() and _digits(series) > _MOST_DIGITS:
        return "Excel rounds decimals of more than 15 digits", f"round it: {column}.round(2)"
    if kind in (pl.String, pl.Categorical, pl.Enum) or kind.is_nested():
        texts = (
            pl.Series([str(value) for value in series.to_list()], dtype=pl.String)
            if kind.is_nested()
            else series.cast(pl.String)
        )
        if (texts.str.len_chars().max() or 0) > _LONGEST_TEXT:  # type: ignore[operator]
            return f"a cell holds at most {_LONGEST_TEXT:,} characters", "cut it, or write Parquet"
    return None


def _digits(series: pl.Series) -> int:
    """The most digits a value needs."""
    import polars as pl

    texts = series.cast(pl.String).str.replace("-", "", literal=True)
    digits = texts.str.replace(r"(\.\d*?)0*$", "$1").str.replace(".", "", literal=True).str.strip_chars_start("0")
    return digits.str.len_chars().max() or 0  # type: ignore[return-value]
