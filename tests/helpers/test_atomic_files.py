"""A file is replaced whole or not at all, whatever fails and whoever reads it."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_engine import files
from data_engine.errors import FlowValidationError
from data_engine.helpers import sink_parquet_atomic, write_excel_atomic, write_parquet_atomic

FRAME = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
Writer = Callable[..., Path]
WRITERS: list[tuple[Writer, Callable[[pl.DataFrame], Any], str]] = [
    (write_parquet_atomic, lambda frame: frame, "parquet"),
    (sink_parquet_atomic, lambda frame: frame.lazy(), "parquet"),
    (write_excel_atomic, lambda frame: frame, "xlsx"),
]


def read(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_excel(path)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize(("write", "given", "kind"), WRITERS)
def test_the_file_is_there_with_its_folder(folder: Path, write: Writer, given: Any, kind: str) -> None:
    """Alone, absolute, with the mode of an ordinary file; a second call replaces it."""
    target = folder / "deep" / f"a.{kind}"

    assert write(given(FRAME.head(1)), target) == target
    assert write(given(FRAME), os.path.relpath(target)) == target

    assert read(target).rows() == FRAME.rows()
    assert names_in(target.parent) == [f"a.{kind}"]
    plain = target.with_name("plain")
    plain.touch()
    assert target.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize(("write", "given", "kind"), WRITERS)
def test_a_failure_leaves_the_old_file(
    folder: Path, write: Writer, given: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong option, a failing query, a failing flush to the drive: nothing but the old file is there."""
    target = folder / f"a.{kind}"
    write(given(FRAME), target)
    before = target.read_bytes()

    with pytest.raises(FlowValidationError, match="was not written"):
        write(given(FRAME), target, no_such_option=1)
    if kind == "parquet":
        with pytest.raises(FlowValidationError, match="was not written"):
            write(given(FRAME), target, compression="tar")
    if write is sink_parquet_atomic:
        with pytest.raises(FlowValidationError, match="was not written"):
            write(FRAME.lazy().with_columns(pl.col("b").cast(pl.Int64)), target)

        with pytest.raises(FlowValidationError, match="was not written") as raised:
            write(FRAME.lazy().map_batches(lambda frame: 1 / 0), target)  # type: ignore[arg-type,return-value]
        assert isinstance(raised.value.__cause__, ZeroDivisionError)

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync_file", fail)
    with pytest.raises(FlowValidationError, match="No space left"):
        write(given(FRAME), target)

    assert target.read_bytes() == before
    assert names_in(folder) == [f"a.{kind}"]


@pytest.mark.parametrize(("write", "given", "kind"), WRITERS)
def test_the_content_reaches_the_drive_before_the_name(
    folder: Path, write: Writer, given: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync of the file, then the rename, then fsync of the folder."""
    done: list[str] = []
    for name in ("sync_file", "replace_file", "sync_folder"):
        original = getattr(files, name)
        monkeypatch.setattr(
            files, name, lambda *args, name=name, original=original: (done.append(name), original(*args))[1]
        )

    write(given(FRAME), folder / f"a.{kind}")

    assert done == ["sync_file", "replace_file", "sync_folder"]


@pytest.mark.skipif(os.name == "nt", reason="Windows replaces no file that a reader has open: the next test")
@pytest.mark.parametrize(("write", "given", "kind"), WRITERS)
def test_a_reader_goes_on_with_the_old_file(folder: Path, write: Writer, given: Any, kind: str) -> None:
    """Open or mapped, it sees the old content to its end."""
    target = folder / f"a.{kind}"
    write(given(FRAME), target)
    before = target.read_bytes()
    lazy = pl.scan_parquet(target) if kind == "parquet" else None

    with target.open("rb") as reader:
        head = reader.read(10)
        write(given(FRAME.reverse()), target)
        rest = reader.read()

    assert head + rest == before
    assert read(target).rows() == FRAME.reverse().rows()
    if lazy is not None:
        assert lazy.collect().rows() == FRAME.reverse().rows()


@pytest.mark.skipif(os.name != "nt", reason="only Windows refuses to replace a file that a reader has open")
@pytest.mark.parametrize(("write", "given", "kind"), WRITERS)
def test_a_file_that_a_reader_has_open_stays_and_the_error_says_so(
    folder: Path, write: Writer, given: Any, kind: str
) -> None:
    target = folder / f"a.{kind}"
    write(given(FRAME), target)
    before = target.read_bytes()

    with target.open("rb"), pytest.raises(FlowValidationError, match=r"(another program|this process .*) has it open"):
        write(given(FRAME.reverse()), target)

    assert target.read_bytes() == before
    write(given(FRAME.reverse()), target)
    assert read(target).rows() == FRAME.reverse().rows()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = os.name == "posix" and os.geteuid() == 0
    if (
        not mounted
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs to mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize(("write", "given", "kind"), WRITERS)
def test_a_full_disk_leaves_the_old_file(small_disk: Path, write: Writer, given: Any, kind: str) -> None:
    """And no half-written one; with room again it works."""
    target = small_disk / f"a.{kind}"
    write(given(FRAME), target)
    before = target.read_bytes()
    big = pl.select(a=pl.int_range(40_000)).with_columns(b=pl.col("a").hash().cast(pl.String))

    with pytest.raises(FlowValidationError, match="was not written"):
        write(given(big), target)

    assert target.read_bytes() == before
    assert names_in(small_disk) == [f"a.{kind}"]
    write(given(FRAME.reverse()), target)
    assert read(target).rows() == FRAME.reverse().rows()


@pytest.mark.parametrize(("write", "given", "kind"), WRITERS)
@pytest.mark.parametrize(
    ("path", "error", "message"),
    [("", ValueError, "names no file"), (None, TypeError, "must be a path"), (".", ValueError, "is a folder"), ("a\0b", ValueError, "names no file"), ("s3://bucket/a", ValueError, "is an address"), ("x" * 300, ValueError, "cannot be a file"), pytest.param("/dev/null/a", ValueError, "was not written", marks=pytest.mark.skipif(os.name == "nt", reason="/dev is of POSIX"))],
)  # fmt: skip
def test_wrong_paths_are_refused(
    write: Writer, given: Any, kind: str, path: Any, error: type[Exception], message: str
) -> None:
    """With one kind of error."""
    with pytest.raises(error, match=message):
        write(given(FRAME), path)


@pytest.mark.skipif(os.name == "nt", reason="pipes with names are of POSIX")
@pytest.mark.parametrize(("write", "given", "kind"), WRITERS)
def test_a_pipe_or_a_device_is_not_replaced(tmp_path: Path, write: Writer, given: Any, kind: str) -> None:
    """As root, a rename would put a file in the place of /dev/null."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(FlowValidationError, match="not an ordinary file"):
        write(given(FRAME), pipe)
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda path: write_parquet_atomic(FRAME, path, partition_by="a"), ValueError, "writes one file"),
        (lambda path: write_excel_atomic(FRAME, path, formulas=5), ValueError, "was not written"),
        (lambda path: write_parquet_atomic(FRAME.lazy(), path), TypeError, "sink_parquet_atomic"),
        (lambda path: sink_parquet_atomic(FRAME, path), TypeError, "LazyFrame"),
        (lambda path: sink_parquet_atomic(FRAME.lazy(), path, lazy=True), ValueError, "eager sink"),
        (lambda path: write_excel_atomic(FRAME.lazy(), path), TypeError, "collect"),
        (lambda path: write_excel_atomic(FRAME, path, worksheet=3), TypeError, "worksheet"),
        (lambda path: write_excel_atomic(FRAME, path, worksheet="a/b"), ValueError, "was not written"),
    ],
)
def test_wrong_frames_and_options_are_refused(folder: Path, call: Any, error: type[Exception], message: str) -> None:
    """Nothing is written."""
    with pytest.raises(error, match=message):
        call(folder / "a.x")
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"a": ["x" * 32_768]}), "32,767 characters"),
        (pl.DataFrame({"a": [2**53 + 1]}), "15 digits"),
        (pl.DataFrame({"a": [-(2**53) - 1]}), "15 digits"),
        (pl.DataFrame({"a": ["x" * 32_768]}, schema={"a": pl.Categorical}), "32,767 characters"),
        (pl.DataFrame({"a": [["x" * 32_768]]}), "32,767 characters"),
        (pl.DataFrame({"a": [Decimal("123456789012345.6")]}), "15 digits"),
        (pl.DataFrame({"a": [date(1899, 12, 31)]}), "begin in 1900"),
        (pl.DataFrame({"a": [datetime(1899, 12, 31)]}), "begin in 1900"),
        (pl.DataFrame({"a": [datetime(2024, 1, 1, tzinfo=UTC)]}), "cannot hold a time zone"),
        (pl.DataFrame({"a": [b"x"]}), "cannot hold bytes"),
        (pl.DataFrame({"a": [object()]}), "bytes or Python objects"),
        (pl.DataFrame({"a": [1], "A": [2]}), "as one"),
        (pl.DataFrame({"": [1]}), "without a name"),
        (pl.select(a=pl.int_range(1_048_576, dtype=pl.Int32)), "1,048,575 rows"),
        (pl.DataFrame({str(number): [1] for number in range(16_385)}), "16,384"),
    ],
)
def test_what_a_worksheet_would_cut_is_refused(folder: Path, frame: pl.DataFrame, message: str) -> None:
    """Before anything is written; xlsxwriter would leave it out in silence."""
    with pytest.raises(FlowValidationError, match=message):
        write_excel_atomic(frame, folder / "a.xlsx")
    assert not folder.exists()


def test_a_worksheet_has_its_name_and_options(folder: Path) -> None:
    """Those of Polars."""
    path = write_excel_atomic(FRAME, folder / "a.xlsx", worksheet="amounts", float_precision=1, autofilter=False)

    assert pl.read_excel(path, sheet_name="amounts").rows() == FRAME.rows()


def test_text_stays_text_in_a_worksheet(folder: Path) -> None:
    """Formulas, web addresses and numbers in text are what they were."""
    texts = ["=1+1", "{=SUM(A1)}", "http://example.org", "internal:Sheet1!A1", "007", "1e5", "@x"]

    path = write_excel_atomic(
        pl.DataFrame({"a": texts, "b": [Decimal("123456789012.340"), *[None] * 6]}), folder / "a.xlsx"
    )

    assert pl.read_excel(path)["a"].to_list() == texts
    assert pl.read_excel(path)["b"][0] == 123456789012.34


def test_a_last_microsecond_stays_in_its_day(folder: Path) -> None:
    """A worksheet keeps milliseconds; the rest is cut, where Excel would round it up."""
    last = [datetime(1960, 1, 31, 23, 59, 59, 999_999), None, datetime(2024, 5, 6, 7, 8, 9, 1)]
    clock = [time(23, 59, 59, 999_999), None, time(7, 8, 9, 1)]
    frame = pl.DataFrame({"a": last, "b": pl.Series(last, dtype=pl.Datetime("ns")), "c": clock, "d": 1})

    found = pl.read_excel(write_excel_atomic(frame, folder / "a.xlsx"))

    cut = [datetime(1960, 1, 31, 23, 59, 59, 999_000), None, datetime(2024, 5, 6, 7, 8, 9)]
    assert found["a"].to_list() == found["b"].to_list() == cut
    assert found["c"].dt.time().to_list() == [time(23, 59, 59, 999_000), None, time(7, 8, 9)]


def test_nan_is_an_error_of_excel(folder: Path) -> None:
    """It has no such number; the cell says so."""
    path = write_excel_atomic(pl.DataFrame({"a": [float("nan"), float("inf"), 1.5]}), folder / "a.xlsx")

    sheet = zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml").decode()
    assert re.findall("<v>(.*?)</v>", sheet)[1:] == ["#NUM!", "#DIV/0!", "1.5"]


@pytest.mark.filterwarnings("ignore:Name '1 2'")
def test_a_table_xlsxwriter_leaves_out_is_refused(folder: Path) -> None:
    """It only warns, and the sheet would be empty."""
    with pytest.raises(FlowValidationError, match="table_name"):
        write_excel_atomic(FRAME, folder / "a.xlsx", table_name="1 2")
    assert list(folder.iterdir()) == []


def test_a_link_that_leads_to_itself_is_no_target(folder: Path) -> None:
    """Said by every Python; pathlib tells of it up to 3.12 only, and by a RuntimeError."""
    folder.mkdir(exist_ok=True)
    (folder / "loop.parquet").symlink_to(folder / "loop.parquet")

    with pytest.raises(FlowValidationError, match="cannot be a file"):
        write_parquet_atomic(FRAME, folder / "loop.parquet")
