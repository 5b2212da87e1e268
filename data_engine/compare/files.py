"""What a file is to be compared as: a table, several tables, a JSON value, or its bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

import polars as pl

from data_engine.compare.tables import Frame, ParquetFile, Table
from data_engine.platforms.files import content_of, open_to_read
from data_engine.record import frozen

_NUMBERS = r"^[+-]?(?:0|[1-9]\d*)$"
_FLOATS = r"^(?:[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|NaN|[+-]?inf)$"
_DUCKDB = (8, b"DUCK")


@frozen
class OneTable:
    """It is one table."""

    table: Table
    path: Path | None = None


@frozen
class Several:
    """It holds several things by name: the sheets of a workbook, the tables of a database, the files of a folder."""

    things: Mapping[str, Any]
    path: Path | None = None


@frozen
class Json:
    """It is a value as JSON has them."""

    value: object
    path: Path | None = None


@frozen
class Bytes:
    """Nothing is known of it but its bytes."""

    path: Path | None


@frozen
class NoTable:
    """It is not what its name says, for a reason."""

    path: Path | None
    why: str = field(default="")


Content = OneTable | Several | Json | Bytes | NoTable


def read_file(path: Path) -> Content:
    """What the file is to be compared as; one that cannot be read as what its name says is compared by its bytes.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = path.write_text("id,code\\n1,007\\n")
        >>> dict(read_file(path).table.schema)
        {'id': Int64, 'code': String}
    """
    try:
        return _read(path)
    except Exception as error:  # of any library
        first = str(error).strip().partition("\n")[0]
        return NoTable(path, f"{path.name} cannot be read as what its name says: {type(error).__name__}: {first[:200]}")


def _read(path: Path) -> Content:
    kind = path.suffix.lower()
    if kind == ".gz":
        kind = Path(path.stem).suffix.lower()
    if kind in (".parquet", ".pq"):
        return OneTable(ParquetFile(path), path)
    if kind in (".csv", ".tsv"):
        return OneTable(Frame(_read_csv(path, "\t" if kind == ".tsv" else ",")), path)
    if kind in (".arrow", ".feather", ".ipc"):
        return OneTable(Frame(pl.read_ipc(content_of(path))), path)
    if kind in (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"):
        sheets = pl.read_excel(path, sheet_id=0, raise_if_empty=False)
        return Several({name: Frame(frame) for name, frame in sheets.items()}, path)
    if kind in (".jsonl", ".ndjson"):
        return Json([json.loads(line) for line in content_of(path).decode().splitlines() if line.strip()], path)
    if kind == ".json":
        return Json(json.loads(content_of(path).decode("utf-8-sig")), path)
    if _is_duckdb(path):
        return Several(_tables_of(path), path)
    return Bytes(path)


def _read_csv(path: Path, separator: str) -> pl.DataFrame:
    """The file's columns as texts, and as numbers where no text is lost by that: 007 stays what it is."""
    raw = content_of(path)
    if not raw.strip():
        return pl.DataFrame()
    if separator == "," and path.suffix.lower() == ".csv":
        first = raw[: raw.find(b"\n") if b"\n" in raw else len(raw)]
        separator = ";" if first.count(b";") > first.count(b",") else ","
    texts = pl.read_csv(raw, separator=separator, infer_schema=False)
    return texts.select(_as_numbers(texts.get_column(name)) for name in texts.columns)


def _as_numbers(texts: pl.Series) -> pl.Series:
    if texts.null_count() == len(texts):
        return texts
    for pattern, dtype in ((_NUMBERS, pl.Int64), (_FLOATS, pl.Float64)):
        if bool(texts.str.contains(pattern).all()):
            numbers = texts.cast(dtype, strict=False)
            if numbers.null_count() == texts.null_count():
                return numbers
    return texts


def _is_duckdb(path: Path) -> bool:
    at, magic = _DUCKDB
    with open_to_read(path) as file:
        return file.read(at + len(magic))[at:] == magic


def _tables_of(path: Path) -> dict[str, Frame]:
    import duckdb

    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute(
            "select schema_name, table_name from duckdb_tables() where not internal order by all"
        ).fetchall()
        tables = {}
        for schema, name in found:
            quoted = ".".join('"' + one.replace('"', '""') + '"' for one in (schema, name))
            shown = name if schema == "main" else f"{schema}.{name}"
            frame = pl.DataFrame(connection.sql(f"select * from {quoted}").to_arrow_table())
            tables[shown] = Frame(frame)
    return tables
