"""Output files are looked into a page at a time, sorted and filtered, in a process that holds the data alone."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from data_engine import FlowValidationError
from data_engine import files as file_check
from data_engine.answering_process import ParentProcess
from data_engine.compare.comparing import compare
from data_engine.files import file_exists
from jupyter_extension.inspect_child import InspectChild, serve
from jupyter_extension.inspector import CHUNK, OPS, export, inspect
from tests.support import end_now, until

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="pipes and sockets of POSIX")

FRAME = pl.DataFrame(
    {
        "city": ["Oslo", "Rome", None, "oslo", ""],
        "amount": [3, None, 5, 4, 1],
        "day": [dt.date(2025, 1, number) for number in (1, 2, 3, 4, 5)],
        "good": [True, False, True, None, False],
        "tags": [["a"], [], None, ["b", "c"], ["a"]],
    }
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out") / "table.parquet"
    FRAME.write_parquet(path)
    return path


def page(path: Path, **request: Any) -> dict[str, Any]:
    return inspect({"path": str(path), **request})


def amounts(path: Path, **request: Any) -> list[Any]:
    return [row[1] for row in page(path, **request)["rows"]]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".json", ".ndjson", ".arrow", ".xlsx"])
def test_tables_of_every_kind_are_shown(tmp_path: Path, suffix: str) -> None:
    """With their columns, types and number of rows."""
    frame = pl.DataFrame({"city": ["Oslo", "Rome"], "amount": [3, 5]})
    path = tmp_path / f"out{suffix}"
    write(frame, path)

    found = page(path)

    assert found["kind"] == "table"
    assert [column["name"] for column in found["columns"]] == ["city", "amount"]
    assert (found["rows"], found["total"]) == ([["Oslo", 3], ["Rome", 5]], 2)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    """A published row may name a device, a pipe nobody ever writes to, or a link to one."""
    os.mkfifo(tmp_path / "pipe.parquet")
    (tmp_path / "link.csv").symlink_to("/dev/zero")

    for path in (tmp_path / "pipe.parquet", tmp_path / "link.csv", "/dev/zero", "//./pipe/x", "\\\\.\\pipe\\x"):
        with pytest.raises(FlowValidationError, match="only regular files are shown"):
            inspect({"path": str(path)})


def test_pages_follow_each_other(table: Path) -> None:
    """Together they are the whole, in the order asked for; missing values come last."""
    first = page(table, offset=0, limit=2, sort=[["amount", True]])
    second = page(table, offset=2, limit=2, sort=[["amount", True]])

    assert [row[1] for row in first["rows"] + second["rows"]] == [5, 4, 3, 1]
    assert (second["offset"], second["total"]) == (2, 5)
    assert amounts(table, sort=[["good", False], ["amount", False]]) == [1, None, 3, 5, 4]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        ({"column": "city", "op": "equals", "value": "OSLO"}, [3, 4]),
        ({"column": "city", "op": "not equals", "value": "oslo"}, [None, 5, 1]),
        ({"column": "city", "op": "contains", "value": "o"}, [3, None, 4]),
        ({"column": "city", "op": "not contains", "value": "o"}, [5, 1]),
        ({"column": "city", "op": "begins", "value": "ro"}, [None]),
        ({"column": "city", "op": "ends", "value": "me"}, [None]),
        ({"column": "city", "op": "in", "value": ["Oslo", None]}, [3, 5]),
        ({"column": "city", "op": "blank"}, [5, 1]),
        ({"column": "city", "op": "not blank"}, [3, None, 4]),
        ({"column": "amount", "op": ">=", "value": "4"}, [5, 4]),
        ({"column": "amount", "op": "<", "value": "3.5"}, [3, 1]),
        ({"column": "day", "op": ">", "value": "2025-01-03"}, [4, 1]),
        ({"column": "day", "op": "<=", "value": "2025-01-02"}, [3, None]),
        ({"column": "good", "op": "in", "value": [True]}, [3, 5]),
        ({"column": "tags", "op": "contains", "value": "a"}, [3, 1]),
        ({"column": "city", "op": "contains", "value": ".*"}, []),
    ],
)
def test_filters_keep_what_passes(table: Path, one: dict[str, Any], expected: list[Any]) -> None:
    """Text ignores case and is no pattern; numbers and dates compare as such."""
    assert amounts(table, filters=[one]) == expected


def test_the_values_of_a_column_are_counted(table: Path) -> None:
    """The most frequent first, blanks too; other filters count."""
    found = page(table, distinct="tags", filters=[{"column": "amount", "op": ">=", "value": "1"}])

    assert found["values"][0] == {"value": '["a"]', "count": 2}
    assert found["is_cut"] is False


def test_numbers_to_choose_from_stand_in_their_order(tmp_path: Path) -> None:
    """Not as texts, and not the most frequent first; a blank is last."""
    path = tmp_path / "amounts.parquet"
    pl.DataFrame({"amount": [99.9, None, 1234.5, 0.5, 1234.5]}).write_parquet(path)

    assert [one["value"] for one in page(path, distinct="amount")["values"]] == [0.5, 99.9, 1234.5, None]


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        ({"filters": [{"column": "no", "op": "equals", "value": "x"}]}, "no column 'no'"),
        ({"filters": [{"column": "amount", "op": "like", "value": "x"}]}, "no filter 'like'"),
        ({"filters": [{"column": "amount", "op": ">=", "value": "many"}]}, "'many' is not a number"),
    ],
)
def test_a_filter_that_does_not_fit_says_so(table: Path, request_: dict[str, Any], what: str) -> None:
    """With the fix."""
    with pytest.raises(FlowValidationError, match=what) as raised:
        page(table, **request_)

    assert raised.value.fix


def test_quak_is_offered_where_it_is_installed(table: Path) -> None:
    """The page adds a cell that opens the file with it."""
    assert page(table)["has_quak"] == (find_spec("quak") is not None)


def test_all_rows_that_pass_are_saved_as_a_workbook(table: Path, tmp_path: Path) -> None:
    """In the order asked for, not only the page; what a sheet has no type for is text."""
    found = page(
        table, export=True, limit=1, sort=[["amount", True]], filters=[{"column": "amount", "op": ">=", "value": "3"}]
    )
    data, is_last = b"", False
    while not is_last:
        got = inspect({"path": str(table), "part": {"name": found["name"], "offset": len(data)}})
        data, is_last = data + base64.b64decode(got["base64"]), got["is_last"]
    (tmp_path / "saved.xlsx").write_bytes(data)
    with pytest.raises(FlowValidationError, match="not there any more"):
        inspect({"path": str(table), "part": {"name": "../x.xlsx", "offset": 0}})
    saved = pl.read_excel(tmp_path / "saved.xlsx")

    assert saved.columns == pl.read_parquet(table).columns
    assert saved["amount"].to_list() == [5, 4, 3]
    assert '"a"' in "".join(text or "" for text in saved["tags"])
    assert found["said"] == "Saved 3 rows."


def test_every_filter_the_panel_offers_is_known() -> None:
    """The page's list of conditions is the inspector's, but for the one its check boxes make."""
    import jupyter_extension

    script = (Path(jupyter_extension.__file__).parent / "static" / "filters.js").read_text()
    offered = json.loads(re.search(r"const OPS = (\[.*?\]);", script)[1])  # type: ignore[index]

    assert set(offered) | {"in"} == set(OPS)


def test_a_folder_of_parquet_is_one_table(tmp_path: Path) -> None:
    """Also when its files lie deeper."""
    for number in range(3):
        folder = tmp_path / "part" / str(number)
        folder.mkdir(parents=True)
        pl.DataFrame({"a": [number]}).write_parquet(folder / "x.parquet")

    assert page(tmp_path)["total"] == 3


CSVS = {
    "as Excel writes it in Germany": ("Ort;Betrag;Tag\nK\xf6ln;3,50;2025-01-02\nRom;1200,25;2025-01-03\n", "cp1252"),
    "with a comma in a name": ("Ort;Betrag, netto;Tag\nKöln;3,50;2025-01-02\nRom;1200,25;2025-01-03\n", "utf-8"),
    "from a text editor of Windows": ("Ort;Betrag;Tag\nKöln;3,50;2025-01-02\nRom;1200,25;2025-01-03\n", "utf-16"),
    "with tabs": ("Ort\tBetrag\tTag\nKöln\t3,50\t2025-01-02\nRom\t1200,25\t2025-01-03\n", "utf-8-sig"),
    "as programs write it": ('Ort,Betrag,Tag\nKöln,3.50,2025-01-02\n"Rom",1200.25,2025-01-03\n', "utf-8"),
}


@pytest.mark.parametrize("name", CSVS)
def test_a_csv_file_is_read_as_it_is_written(tmp_path: Path, name: str) -> None:
    """Separator, encoding and decimal mark are told by the file; the cell's code reads the same."""
    text, encoding = CSVS[name]
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    found = page(tmp_path / "a.csv")

    assert found["rows"] == [["Köln", 3.5, "2025-01-02"], ["Rom", 1200.25, "2025-01-03"]]
    assert ran(page(tmp_path / "a.csv", code="plain")["code"]).rows() == [tuple(row) for row in found["rows"]]


def test_points_between_thousands_are_none_of_the_number(tmp_path: Path) -> None:
    """Where nothing else is in the column: a version or a date stays the text it is."""
    (tmp_path / "a.csv").write_text(
        "Betrag;Stück;Version;Tag\n1.234,50;1.200;1.2.3;01.02.2025\n-12,00;7;4.5;02.02.2025\n;;;\n"
    )
    found = page(tmp_path / "a.csv")

    assert found["rows"][:2] == [[1234.5, 1200.0, "1.2.3", "01.02.2025"], [-12.0, 7.0, "4.5", "02.02.2025"]]
    assert ran(page(tmp_path / "a.csv", code="plain")["code"]).rows() == [tuple(row) for row in found["rows"]]


def ran(code: str) -> pl.DataFrame:
    """What the last line of a cell is."""
    *lines, last = re.split(r"\n\n", code, maxsplit=1)
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    made: pl.DataFrame = eval(last, names)
    return made


@pytest.mark.parametrize(
    "one",
    [
        {"column": "city", "op": "not contains", "value": "O'{x}"},
        {"column": "city", "op": "in", "value": ["Oslo", None]},
        {"column": "city", "op": "not blank"},
        {"column": "amount", "op": ">=", "value": "4"},
        {"column": "day", "op": ">", "value": "2025-01-03"},
        {"column": "tags", "op": "contains", "value": "a"},
    ],
)
def test_the_cell_keeps_filter_and_sort(table: Path, one: dict[str, Any]) -> None:
    """What it shows are the rows that the panel shows."""
    asked = {"filters": [one], "sort": [["good", True], ["amount", False]]}

    assert ran(page(table, code="plain", **asked)["code"])["amount"].to_list() == amounts(table, **asked)


def test_a_folder_of_csv_is_one_table(tmp_path: Path) -> None:
    """Files that lack a column have blanks in it; the cell's code reads the same."""
    (tmp_path / "b").mkdir()
    (tmp_path / "a.csv").write_text("city;amount\nOslo;1,5\n")
    (tmp_path / "b" / "b.csv").write_text("city;more\nRome;2\n")
    found = page(tmp_path)

    assert found["rows"] == [["Oslo", 1.5, None], ["Rome", None, 2]]
    assert ran(page(tmp_path, code="plain")["code"]).rows() == [("Oslo", 1.5, None), ("Rome", None, 2)]


def test_a_page_of_half_a_million_rows_comes_in_chunks(tmp_path: Path) -> None:
    """In the order asked for; the table is sorted once for all of them."""
    path = tmp_path / "many.parquet"
    pl.DataFrame({"n": range(600_000)}).write_parquet(path)
    asked: dict[str, Any] = {"limit": 500_000, "sort": [["n", True]]}
    first, last = page(path, **asked), page(path, first=499_000, **asked)

    assert (first["count"], first["total"], len(first["rows"])) == (500_000, 600_000, CHUNK)
    assert (first["rows"][0], last["rows"][0], last["first"]) == ([599_999], [100_999], 499_000)


def test_cells_and_whole_columns_are_copied(tmp_path: Path) -> None:
    """Whole texts with tabs between columns, also those that a page cuts; a nested value as the page shows it."""
    path = tmp_path / "a.parquet"
    pl.DataFrame({"text": ["x" * 900, "a\tb", None], "n": [1, 2, 3], "tags": [["a"], [], None]}).write_parquet(path)
    column = page(path, copy={"first": 0, "count": 3, "columns": ["text"]})
    cells = page(path, copy={"first": 1, "count": 2, "columns": ["n", "tags"]})

    assert (column["text"], column["rows"]) == ("x" * 900 + '\n"a\tb"\n', 3)
    assert cells["text"] == "2\t[]\n3\t"


def test_a_workbook_has_as_many_sheets_as_it_needs() -> None:
    """No row is left out."""
    made = export(pl.DataFrame({"n": range(25)}).lazy(), {}, sheet_rows=10)

    assert made["said"] == "Saved 25 rows in 3 sheets."


def test_other_files_are_text_or_a_note(tmp_path: Path) -> None:
    """JSON that is no table is shown indented; what is no text is told so."""
    (tmp_path / "a.json").write_text('{"a": {"b": [1]}, "c": "x"}')
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "a.log").write_text("x" * 300_000)
    (tmp_path / "a.pdf").write_bytes(b"%PDF\0\0")

    assert page(tmp_path / "bad.json")["kind"] == "text"
    assert page(tmp_path / "a.log")["is_cut"]
    assert page(tmp_path / "a.pdf")["note"] == ".pdf cannot be previewed here"


def test_a_file_that_is_gone_or_damaged_says_so(tmp_path: Path) -> None:
    """And what to do."""
    (tmp_path / "bad.parquet").write_bytes(b"PAR1nope")
    with pytest.raises(FlowValidationError, match="there is no file"):
        page(tmp_path / "none.parquet")
    with pytest.raises(FlowValidationError, match="cannot be read as a table"):
        page(tmp_path / "bad.parquet")


@pytest.fixture(scope="module")
def child() -> Iterator[InspectChild]:
    child = InspectChild()
    yield child
    child.close()


def test_the_child_answers_and_stays(child: InspectChild, table: Path) -> None:
    """The second question meets the same process."""
    first = child.ask({"path": str(table), "limit": 1})
    pid = child._kept.process.pid if child._kept.process else None

    assert first["rows"][0][1] == 3
    assert child.ask({"path": str(table)})["total"] == 5
    assert child._kept.process is not None
    assert child._kept.process.pid == pid


def test_its_errors_come_through(child: InspectChild, tmp_path: Path) -> None:
    """As ours."""
    with pytest.raises(FlowValidationError, match="there is no file"):
        child.ask({"path": str(tmp_path / "none.csv")})


def test_a_child_that_dies_is_replaced(child: InspectChild, table: Path) -> None:
    """The question it died of says so; the next one is answered."""
    child.ask({"path": str(table)})
    process = child._kept.process
    assert process is not None
    end_now(process.pid)
    until(lambda: not process.is_there)

    assert child.ask({"path": str(table)})["total"] == 5


def test_a_slow_look_is_ended(child: InspectChild, table: Path) -> None:
    """Within the time it was given."""
    child.close()

    with pytest.raises(FlowValidationError, match=r"took longer than 0\.01 s"):
        child.ask({"path": str(table)}, timeout_s=0.01)


def odd_paths(folder: Path) -> dict[str, Path]:
    """Paths that are there and may never be read to an end."""
    os.mkfifo(folder / "pipe.csv")
    (folder / "link.csv").symlink_to("pipe.csv")
    (folder / "loop.csv").symlink_to("loop.csv")
    with contextlib.chdir(folder), socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.log")
    names = ("pipe.csv", "link.csv", "loop.csv", "socket.log")
    return {name: folder / name for name in names} | {"a device": Path("/dev/zero"), "a terminal": Path("/dev/tty")}


@posix_only
def test_only_regular_files_are_opened(tmp_path: Path, child: InspectChild) -> None:
    """Pipes, sockets, devices and links to them are refused at once, by the panel's own path; their names may be anybody's."""
    for name, path in odd_paths(tmp_path).items():
        with pytest.raises(FlowValidationError, match=r"only regular files are shown|cannot be read") as caught:
            child.ask({"path": str(path)}, timeout_s=20)
        assert caught.value.fix, name


@posix_only
def test_a_folder_with_loops_and_pipes_shows_its_regular_files(tmp_path: Path, child: InspectChild) -> None:
    """A link to the folder above is not followed, and a pipe by a table's name is not opened."""
    (tmp_path / "a").mkdir()
    pl.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / "a" / "x.parquet")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "b.parquet").symlink_to("x.parquet")
    os.mkfifo(tmp_path / "a" / "pipe.parquet")
    (tmp_path / "empty").mkdir()

    assert child.ask({"path": str(tmp_path)}, timeout_s=20)["total"] == 4
    with pytest.raises(FlowValidationError, match="holds no files that are a table"):
        child.ask({"path": str(tmp_path / "empty")})


@posix_only
def test_a_look_that_cannot_be_ended_holds_up_nobody(tmp_path: Path) -> None:
    """As on a drive that does not answer: the time limit holds though the child's end cannot be seen, and the next is asked."""
    (held := tmp_path / "held").mkdir()
    child = InspectChild(f"{__name__}:be_stuck", str(held))
    for _ in range(2):
        with pytest.raises(FlowValidationError, match=r"took longer than 0\.5 s") as caught:
            child.ask({"path": "/share/a.parquet"}, timeout_s=0.5)
    child.close()
    for holder in held.iterdir():
        end_now(int(holder.name))

    assert caught.value.where == "/share/a.parquet"


def test_a_drive_that_does_not_answer_leaves_the_question_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a moment; once several wait for an answer nobody waits any more, until they have one."""
    monkeypatch.setattr(file_check, "PATIENCE_S", 0.01)
    answers = threading.Event()

    def look(path: str) -> bool:
        return answers.wait(60)

    assert [file_exists("/share/a", look) for _ in range(file_check.MOST_STUCK + 3)] == [None] * (
        file_check.MOST_STUCK + 3
    )
    assert len([one for one in threading.enumerate() if one.name == "data-engine-look"]) == file_check.MOST_STUCK
    answers.set()
    for thread in list(file_check._stuck):
        thread.join()
    monkeypatch.setattr(file_check, "PATIENCE_S", 60.0)
    assert file_exists("/share/a", look) is True


def test_texts_stay_texts_in_a_workbook(tmp_path: Path) -> None:
    """Nothing that somebody wrote into a file is a formula or a link of whoever opens the download; what Excel would round is whole."""
    texts = [
        '=HYPERLINK("https://example.org/?" & A1)',
        "=cmd|' /C calc'!A0",
        "+1+1",
        "@SUM(1)",
        "{=1}",
        "https://example.org",
    ]
    path = tmp_path / "a.parquet"
    pl.DataFrame(
        {"text": texts, "=1+1": texts, "n": [2**60 + n for n in range(6)], "list": [[one] for one in texts]}
    ).write_parquet(path)

    made = page(path, export=True)
    inspect({"path": str(path), "part": {"name": made["name"], "offset": 0}})
    data = base64.b64decode(
        inspect({"path": str(path), "part": {"name": page(path, export=True)["name"], "offset": 0}})["base64"]
    )
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        sheet = "".join(book.read(name).decode() for name in book.namelist() if "sheet" in name)

    assert "<f>" not in sheet
    assert "hyperlink" not in sheet.lower()
    saved = pl.read_excel(io.BytesIO(data))
    assert saved["text"].to_list() == texts
    assert saved["n"].to_list() == [str(2**60 + n) for n in range(6)]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".json", ".ndjson", ".arrow", ".xlsx"])
@pytest.mark.parametrize("name", ["a[1]", "a{1,2}", "ü [!x]", *(["a*", "a?"] if os.name == "posix" else [])])
def test_a_file_is_opened_by_its_name_and_never_as_a_pattern(tmp_path: Path, name: str, suffix: str) -> None:
    """Neither shown, nor in the code for a cell, nor below a folder, nor compared."""
    folder = tmp_path / "in [1]"
    for place in (folder, tmp_path / "in 1"):
        place.mkdir()
        for one in (name, "a1", "a2", "ü x"):
            write(pl.DataFrame({"n": [one]}), place / f"{one}{suffix}")
    path = folder / f"{name}{suffix}"
    code = page(path, code="polars")["code"]

    assert page(path)["rows"] == [[name]]
    assert runs(code)["n"].to_list() == [name]
    if suffix not in (".json", ".xlsx"):
        of_folder = page(folder, code="polars")["code"]
        assert (
            sorted(row[0] for row in page(folder)["rows"])
            == sorted(runs(of_folder)["n"])
            == sorted([name, "a1", "a2", "ü x"])
        )
    assert not compare(path, folder / f"a1{suffix}").equal
    assert compare(path, shutil.copyfile(path, tmp_path / f"same{suffix}")).equal


@pytest.mark.parametrize(
    "asked",
    [{"sort": [["text", True]]}, {"sort": [["n", True]], "limit": 500_000}, {"export": True}, {"limit": 500_000}],
)
def test_a_small_file_that_is_large_in_memory_is_refused_before_it_is_read(
    tmp_path: Path, asked: dict[str, Any]
) -> None:
    """By rows times bytes; its first page is shown all the same, and so is what a filter leaves."""
    path = tmp_path / "bomb.parquet"
    write_large(path)
    assert path.stat().st_size < 100_000

    with pytest.raises(FlowValidationError, match="GB of memory") as raised:
        page(path, **asked)

    assert "filter" in str(raised.value.fix)
    assert page(path)["total"] == 6000
    assert page(path, **{**asked, "export": False}, filters=[{"column": "n", "op": "<", "value": "3"}])["total"] == 3


def test_what_takes_too_much_memory_while_it_runs_is_ended(tmp_path: Path) -> None:
    """What no estimate foresees: the child says so, and the next one answers."""
    path = tmp_path / "bomb.parquet"
    write_large(path, small_at_first=True)
    child = InspectChild(f"{__name__}:answer_within_a_gigabyte")
    try:
        with pytest.raises(FlowValidationError, match="GB of memory") as raised:
            child.ask({"path": str(path), "sort": [["text", True], ["n", True]]})
        assert "in a cell" in str(raised.value.fix)
        assert child.ask({"path": str(path)})["total"] == 6000
    finally:
        child.close()


def answer_within_a_gigabyte(asker: ParentProcess) -> None:
    """As the inspector."""
    serve(asker, inspect, failed="no", most_bytes=1 * 2**30)


def be_stuck(asker: ParentProcess, held: str) -> None:
    """Answer nothing, and let another process keep the pipes open."""
    holder = subprocess.Popen(["sleep", "600"], close_fds=False)
    (Path(held) / str(holder.pid)).touch()
    time.sleep(600)


def write_large(path: Path, *, small_at_first: bool = False) -> None:
    """A few kilobytes of Parquet that are 6 GB of texts."""
    indices = [0 if small_at_first and n < 1000 else 1 for n in range(6000)]
    texts = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), ["y", "x" * 1_000_000])
    parquet.write_table(pa.table({"n": range(6000), "text": texts}), path, store_schema=False)


def write(frame: pl.DataFrame, path: Path) -> None:
    """The frame as the file that its suffix says."""
    kind = {".tsv": "csv", ".arrow": "ipc", ".xlsx": "excel"}.get(path.suffix, path.suffix[1:])
    with open(path, "wb") as file:
        getattr(frame, f"write_{kind}")(file, **({"separator": "\t"} if path.suffix == ".tsv" else {}))


def runs(code: str) -> pl.DataFrame:
    """The table that a cell with this code makes."""
    *before, last = code.split("\n\n")
    names: dict[str, Any] = {}
    exec("\n".join(before), names)
    made: pl.DataFrame = eval(last, names)
    return made


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "1e999", "Infinity", "1" * 5000, "__import__('os')", "3)", "", None, [], {}, True]
)
def test_a_filter_of_a_number_takes_numbers_only(table: Path, text: Any) -> None:
    with pytest.raises(FlowValidationError, match="is not a number") as raised:
        page(table, filters=[{"column": "amount", "op": ">", "value": text}])

    assert (raised.value.where, raised.value.fix) == ("filter of amount", "give a number such as -12.5")


def test_a_long_whole_number_is_not_rounded(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"n": [2**60, 2**60 + 1]}).write_parquet(path)

    assert page(path, filters=[{"column": "n", "op": ">", "value": str(2**60)}])["total"] == 1
    assert page(path, filters=[{"column": "n", "op": "<", "value": "1" + "0" * 40}])["total"] == 2
