"""What was read and hardly meant so is told with its fix: below the cell of a preview, and in the log of a run."""

from __future__ import annotations

import linecache
import logging
import re
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter

from data_engine import Workspace
from data_engine.engine.memo.caption import caption
from data_engine.engine.memo.doubts import doubts_of, doubts_of_table, utf8_read_as
from data_engine.engine.preview import last_report
from data_engine.errors import FlowExecutionError
from tests.preview.conftest import Cells
from tests.support import WorkspaceFiles

AS_CP1252 = (
    "pl.read_csv(path, encoding='cp1252')",
    "pl.read_csv(source=path, encoding='latin-1').filter(True)",
    "pandas.read_csv(path, encoding='cp1252')",
    "open(path, encoding='cp1252').read()",
    "Path(path).read_text(encoding='cp1252')",
)
ODD = {
    "open(other, encoding='utf-16-le', errors='replace').read()": 'b.csv is not UTF-16 and was read as utf-16-le, so "ci" became "楣"',
    "pl.read_csv(twice, separator=';')": 'd.csv has the heading "amount" twice: the second column is called "amount_duplicated_0"',
    "pl.scan_csv(twice, separator=';', skip_rows=0).collect()": 'd.csv has the heading "amount" twice',
}
TOGETHER = {
    "pl.read_csv(folder + '/semi.csv')": 'separator=";"',
    "pl.read_csv(folder + '/semi.csv', decimal_comma=True)": 'separator=";"',
    "pl.scan_csv(folder + '/semi.csv').collect()": 'separator=";"',
    "pl.scan_csv(folder + '/semi.csv').rename(str.upper)": 'separator=";"',
    "pandas.read_csv(folder + '/comma.csv')": 'sep=";"',
    "pandas.read_csv(folder + '/comma.csv', decimal=',')": 'sep=";"',
    "pandas.read_table(folder + '/semi.csv')": 'sep=";"',
}
APART = (
    "pl.read_csv(folder + '/one.csv')",
    "pl.read_csv(folder + '/one.csv', separator='\\x1f')",
    "pl.read_csv(folder + '/semi.csv', separator='\\n')",
    "pl.read_csv(folder + '/semi.csv', separator=';')",
    "pl.read_csv(folder + '/semi.csv', separator=';', columns=['amount'])",
    "pl.read_csv(folder + '/quoted.csv')",
    "pandas.read_csv(folder + '/comma.csv', sep=';', decimal=',')",
    "pandas.read_csv(folder + '/comma.csv', sep=None, engine='python')",
    "pandas.read_csv(folder + '/quoted.csv')",
    "pl.read_csv(folder + '/odd.csv')",
)
FINE = (
    "open(wide, encoding='utf-16').read()",
    "pl.read_csv(twice, separator=';', has_header=False)",
    "pl.read_csv(twice, separator=';', skip_lines=1)",
    "pl.read_csv(path)",
    "pl.read_csv(path, encoding='utf8-lossy')",
    "open(path, encoding='utf-8').read()",
    "open(path, 'rb').read()",
    "pl.read_csv(other, encoding='cp1252')",
    "pl.read_csv(plain, encoding='cp1252')",
)


def cell(path: Path, read: str) -> str:
    of_pandas = "import pandas\n" if "pandas" in read else ""
    return (
        f"{of_pandas}import polars as pl\nfrom pathlib import Path\nfrom data_engine import Flow\n"
        f"folder = {str(path)!r}\n"
        "path, other, plain, twice, wide = (f'{folder}/{name}.csv' for name in 'abcde')\n"
        f"def read(context):\n    return {read}\n"
        "def build():\n    return Flow('G', 'claims').step(read, save_as='raw')\n"
    )


def told() -> str:
    report = last_report()
    assert report is not None
    return caption(report)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text("city\nKöln\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("city\nKöln\n", encoding="cp1252")
    (tmp_path / "c.csv").write_text("city\nRome\n", encoding="ascii")
    (tmp_path / "d.csv").write_text("amount;city;amount\n1;Oslo;2\n", encoding="ascii")
    (tmp_path / "e.csv").write_text("city\nKöln\n", encoding="utf-16")
    return tmp_path


@pytest.mark.parametrize(("read", "said"), ODD.items())
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_other_letters_and_doubled_headings_are_told(cells: Cells, files: Path, read: str, said: str) -> None:
    cells.run(cell(files, read)).preview(use="raw")

    assert said in told()


@pytest.mark.parametrize("read", AS_CP1252)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_utf8_that_is_read_as_something_else_is_told_with_the_fix(cells: Cells, files: Path, read: str) -> None:
    """Once, and again when the step is reused: the letters are still wrong."""
    if "pandas" in read:
        pytest.importorskip("pandas")
    cells.run(cell(files, read))
    for _ in range(2):
        cells.preview()

        assert told().count("1 warning: a.csv is UTF-8 and was read as") == 1
        assert 'so "ö" became "Ã¶": read it with encoding="utf8"' in told()


@pytest.mark.parametrize("read", FINE)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_read_as_it_is_gets_no_word(cells: Cells, files: Path, read: str) -> None:
    """UTF-8 as UTF-8, Windows-1252 as that, and letters that are the same in both."""
    cells.run(cell(files, read)).preview()

    assert "warning" not in told()


@pytest.fixture
def separated(tmp_path: Path) -> Path:
    (tmp_path / "semi.csv").write_text("city;amount\nOslo;1\nRome;2\n", encoding="ascii")
    (tmp_path / "comma.csv").write_text("city;amount\nOslo;1,5\nRome;2,5\n", encoding="ascii")
    (tmp_path / "plain.csv").write_text("city,amount\nOslo,1\n", encoding="ascii")
    (tmp_path / "one.csv").write_text("note\nOslo; late\nRome; early\n", encoding="ascii")
    (tmp_path / "quoted.csv").write_text('"name, first"\n"Berg, Ann"\n"Dahl, Bo"\n', encoding="ascii")
    (tmp_path / "odd.csv").write_text("city; town\nOslo\nRome\n", encoding="ascii")
    return tmp_path


@pytest.mark.parametrize(("read", "option"), TOGETHER.items())
def test_a_file_read_into_one_column_is_told_with_its_separator(
    cells: Cells, separated: Path, read: str, option: str
) -> None:
    """With the same words as the error of a later step that asks for a column; again when the step is reused."""
    if "pandas" in read:
        pytest.importorskip("pandas")
    name = "comma.csv" if "comma.csv" in read else "semi.csv"
    cells.run(cell(separated, read))
    for _ in range(2):
        cells.preview()

        assert (
            f'1 warning: {name}: the only column is "city;amount": the file has ";" between its columns,'
            f" so read it with {option} " in told()
        )


def test_a_file_with_commas_that_is_read_with_another_separator_is_told(cells: Cells, separated: Path) -> None:
    cells.run(cell(separated, "pl.read_csv(folder + '/plain.csv', separator=';')")).preview()

    assert 'plain.csv: the only column is "city,amount": the file has "," between its columns' in told()


@pytest.mark.parametrize("read", APART)
def test_a_file_of_one_column_gets_no_word(cells: Cells, separated: Path, read: str) -> None:
    """Also where values hold what stands between columns elsewhere, or lines are read as they are."""
    if "pandas" in read:
        pytest.importorskip("pandas")
    cells.run(cell(separated, read)).preview()

    assert "warning" not in told()


def test_only_the_beginning_of_a_file_is_looked_at(tmp_path: Path) -> None:
    """A letter behind it, and one that is cut in two at its end, decide nothing."""
    path = tmp_path / "large.csv"
    path.write_bytes(b"x" * (256 * 1024 - 1) + "ö".encode())
    assert utf8_read_as(str(path), "cp1252") is None
    path.write_bytes("ö".encode() + b"x" * (256 * 1024 - 3) + "ö".encode())
    assert utf8_read_as(str(path), "cp1252") is not None


def workbook(path: Path) -> Path:
    """Two sheets as openpyxl writes them: formulas without results. The text "" is a result."""
    import openpyxl

    book = openpyxl.Workbook()
    first, second = book.active, book.create_sheet("Rates")
    first.title = "Data"
    for row in (["a", "b", "sum", "double"], [1, 2, "=A2+B2", "=2*A2"]):
        first.append(row)
    second.append(["rate"])
    second.append([1.5])
    book.save(path)
    return path


def test_formulas_without_a_stored_result_are_told_by_sheet_and_column(cells: Cells, tmp_path: Path) -> None:
    """They are read as empty. Only the sheets that are read count, however they are named."""
    path = workbook(tmp_path / "plan.xlsx")
    said = (
        'plan.xlsx, sheet "Data": formulas in columns C, D have no stored result and are read as empty: '
        "open the file in Excel or LibreOffice and save it, or compute the column in the step"
    )

    cells.run(cell(tmp_path, f"pl.read_excel({str(path)!r})")).preview()
    assert told().count(f": {said}") == 1  # the reader logs warnings of its own

    for options in ({"sheet_name": "Data"}, {"sheet_id": 1}, {"sheet_id": 0}, {"sheet_name": ["Rates", "Data"]}):
        assert list(doubts_of(pl.read_excel, (path,), options)) == [said], options
    for options in ({"sheet_name": "Rates"}, {"sheet_id": [2]}):
        assert list(doubts_of(pl.read_excel, (path,), options)) == [], options


def test_stored_results_and_what_is_no_workbook_get_no_word(tmp_path: Path) -> None:
    """Also a result that is an empty text."""
    frame = pl.DataFrame({"a": [1, 2]})
    frame.write_excel(tmp_path / "good.xlsx", formulas={"twice": "=[@a]*2"})
    (tmp_path / "bad.xlsx").write_bytes(b"no zip")

    assert list(doubts_of(pl.read_excel, (tmp_path / "good.xlsx",), {})) == []
    assert list(doubts_of(pl.read_excel, (tmp_path / "bad.xlsx",), {})) == []
    assert list(doubts_of(pl.read_excel, (tmp_path / "none.xlsx",), {})) == []


def doubled(path: Path) -> Path:
    """Three sheets: doubled headings in the first row that is not empty, below a title, and none."""
    import xlsxwriter

    with xlsxwriter.Workbook(path) as book:
        data, title, fine = (book.add_worksheet(name) for name in ("Data", "Title", "Fine"))
        for number, row in enumerate([["City", "Amount & tax", "Amount & tax", 2024, 2024], ["Oslo", 1, 2, 3, 4]]):
            data.write_row(number + 2, 1, row)
        data.set_row(0, 30)
        for number, row in enumerate([["Sales", "Sales"], [], ["city", "City", "amount", "", ""], ["Oslo", "x", 1]]):
            title.write_row(number, 0, row)
        fine.write_row(0, 0, ["city", "City", "Oslo"])
        fine.write_row(1, 0, ["Oslo", "Oslo", "Oslo"])
    return path


def test_doubled_headings_of_a_workbook_are_told_by_sheet_and_cell(cells: Cells, tmp_path: Path) -> None:
    """Once, and again when the step is reused; what the second column is called is what the reader calls it."""
    path = doubled(tmp_path / "sales.xlsx")
    said = 'sales.xlsx, sheet "Data": the heading "Amount & tax" is in C3 and in D3: the second column is called "Amount & tax_1"'

    cells.run(cell(tmp_path, f"pl.read_excel({str(path)!r})"))
    for _ in range(2):
        cells.preview()
        assert told().count(f"1 warning: {said}. Name them all, frame.columns = [...], or correct the file") == 1
    assert "Amount & tax_1" in pl.read_excel(path).columns


@pytest.mark.parametrize(
    ("options", "told_of"),
    [
        ({"sheet_id": 0}, ['"Amount & tax" is in C3', '"Sales" is in A1']),
        ({"sheet_name": "Title"}, ['"Sales" is in A1 and in B1']),
        ({"sheet_name": "Title", "read_options": {"header_row": 2}}, []),
        ({"read_options": {"header_row": 2}}, ['"Amount & tax" is in C3']),
        ({"read_options": {"header_row": 1}}, []),
        ({"sheet_name": "Fine"}, []),
        ({"has_header": False}, []),
        ({"columns": ["City"]}, []),
        ({"read_options": {"column_names": ["a", "b", "c", "d", "e"]}}, []),
    ],
)
def test_only_the_headings_that_are_read_count(tmp_path: Path, options: dict[str, Any], told_of: list[str]) -> None:
    path = doubled(tmp_path / "sales.xlsx")

    found = list(doubts_of(pl.read_excel, (path,), options))

    assert len(found) == len(told_of)
    assert all(part in one for part, one in zip(told_of, found, strict=True))
    assert pl.read_excel(path, **options) is not None


def test_a_column_is_told_by_the_name_that_each_reader_gives_it(tmp_path: Path) -> None:
    """Also where texts stand in the cells themselves, and for pandas, which counts its header from the sheet's first row."""
    pandas = pytest.importorskip("pandas")
    path = doubled(tmp_path / "sales.xlsx")
    for reader, options in (
        (pl.read_excel, {"engine": "openpyxl", "sheet_name": "Title"}),
        (pandas.read_excel, {"header": 2}),
    ):
        (said,) = doubts_of(reader, (path,), options)
        name = said.partition('is called "')[2].partition('"')[0]
        assert name in list(reader(path, **options).columns)
    assert list(doubts_of(pandas.read_excel, (path,), {})) == []
    inline = (
        b'<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c><c r="B1" t="inlineStr"><is><t>a</t></is></c></row>'
    )
    with zipfile.ZipFile(path) as book, zipfile.ZipFile(tmp_path / "inline.xlsx", "w") as other:
        for part in book.namelist():
            data = book.read(part)
            if part == "xl/worksheets/sheet1.xml":
                data = re.sub(rb"<sheetData>.*</sheetData>", rb"<sheetData>" + inline + rb"</sheetData>", data)
            other.writestr(part, data)
    (said,) = doubts_of(pl.read_excel, (tmp_path / "inline.xlsx",), {})
    assert '"a" is in A1 and in B1' in said


def test_a_run_warns_in_its_log(ws: WorkspaceFiles) -> None:
    """In production nobody sees a caption."""
    ws.source("in/a.csv", "city\nKöln\n")
    ws.notebook(
        "claims",
        "import polars as pl\nfrom data_engine import Flow",
        "def read(context):\n    return pl.read_csv(context.source.path, encoding='cp1252')",
        "def build():\n    return Flow('G').watch(mode='manual', source='../in', extensions='csv').step(read)",
    )
    workspace = Workspace(ws.root)

    workspace.load_flow("claims").run_once()

    (run,) = workspace.runs("claims")
    warnings = [line.message for line in workspace.log(run.run_id) if line.level == "WARNING"]
    assert warnings == ['a.csv is UTF-8 and was read as cp1252, so "ö" became "Ã¶": read it with encoding="utf8"']
    assert run.status == "success"


def test_a_run_warns_of_a_doubled_heading_once(ws: WorkspaceFiles) -> None:
    path = doubled(ws.root / "rates.xlsx")
    read = f"def read(context):\n    return [pl.read_excel({str(path)!r}) for _ in range(2)][0]"
    build = "def build():\n    return Flow('G').step(read)"
    ws.notebook("claims", "import polars as pl\nfrom data_engine import Flow", read, build)
    workspace = Workspace(ws.root)

    workspace.load_flow("claims").run_once()

    (run,) = workspace.runs("claims")
    (line,) = (line for line in workspace.log(run.run_id) if "is in C3 and in D3" in line.message)
    assert (line.level, run.status) == ("WARNING", "success")


FORGOTTEN = """
from data_engine import Flow
def read(context):
    len("forgot")
def look(context):
    return None
def build():
    return Flow(group="G", name="claims").step(read, save_as="raw_df").step(look, save_as="none").step(look)
"""


def test_a_run_warns_of_a_forgotten_return(ws: WorkspaceFiles) -> None:
    """And not of a None that was meant."""
    ws.notebook("claims", FORGOTTEN)
    workspace = Workspace(ws.root)

    workspace.load_flow("claims").run_once()

    (run,) = workspace.runs("claims")
    warnings = [line.message for line in workspace.log(run.run_id) if line.level == "WARNING"]
    assert warnings == ["raw_df is None: is the `return` of read missing?"]


def test_a_preview_tells_a_forgotten_return_in_its_line(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the step is reused."""
    monkeypatch.setitem(linecache.cache, "<cell>", (1, None, FORGOTTEN.splitlines(keepends=True), "<cell>"))
    cells.run(FORGOTTEN)

    for _ in range(2):
        cells.preview()
        report = last_report()
        assert report is not None
        assert "1 warning: raw_df is None: is the `return` of read missing? ·" in caption(report)


def test_what_a_step_logs_as_a_warning_is_told_below_its_preview(cells: Cells) -> None:
    """As often as a run would count it, each text once; again when the step is reused. What is only told is not."""
    cells.run("""
    from data_engine import Flow
    def read(context):
        context.log("all is well")
        for day in ("Monday", "Tuesday", "Monday"):
            context.log(f"no rows on {day}", level="warning")
        context.log("the total is wrong", level="ERROR")
        return 1
    def build():
        return Flow("G", "claims").step(read, save_as="raw")
    """)
    for _ in range(2):
        cells.preview()

        assert " · 4 warnings: no rows on Monday; no rows on Tuesday; the total is wrong · " in told()
    cells.run("def read(context):\n    context.log('all is well')\n    return 1")
    cells.preview()
    assert "warning" not in told()


@pytest.mark.parametrize("how", [".step(each)", ".map(each, max_parallel=2)"])
def test_what_other_libraries_log_in_a_preview_is_told_as_a_run_counts_it(
    cells: Cells, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """By the standard library's logging, in threads too; it is shown as before, and the step is reused."""
    monkeypatch.setattr(logging.root, "handlers", [])
    cells.run(f"""
    import logging
    from data_engine import Batch, Flow
    def read(context):
        return Batch((1, 2))
    def each(_):
        logging.getLogger("some.library").warning("no rows")
        print("all is well")
        return 1
    def build():
        return Flow("G", "claims").step(read){how}
    """)
    count = 2 if "map" in how else 1
    for is_shown in (True, False):
        cells.preview()

        assert f" · {count} warning{'s' * (count > 1)}: no rows · " in told()
        shown = capsys.readouterr()
        assert (shown.err.count("no rows\n"), shown.out) == (count * is_shown, "all is well\n" * count * is_shown)
    (context,) = cells.run("contexts = build().run_once()").names["contexts"]
    assert context.warnings == count


def test_a_run_inside_a_preview_has_its_own_log(cells: Cells) -> None:
    cells.run("""
    import logging
    from data_engine import Flow
    def warn(context):
        logging.warning("no rows")
        return 1
    def outer(context):
        return Flow("H", "inner").step(warn).run_once()[0].warnings
    def build():
        return Flow("G", "claims").step(outer)
    """)

    assert cells.preview() == 1
    assert "warning" not in told()


@pytest.mark.parametrize("read", ["pl.read_csv(other)", "Path(other).read_text(encoding='utf-8')"])
def test_a_file_that_is_not_utf8_fails_with_the_fix(cells: Cells, files: Path, read: str) -> None:
    with pytest.raises(FlowExecutionError) as caught:
        cells.run(cell(files, read)).preview()

    assert (caught.value.fix or "").startswith('the file is not UTF-8: say what it is, such as encoding="cp1252"')


@pytest.mark.parametrize(
    ("raises", "fix"),
    [
        ("ValueError('zip: Could not find EOCD')", "this is not a valid .xlsx file"),
        ("ValueError('CalamineError: Workbook is password protected')", "save a copy without a password"),
        ("UnicodeError('UTF-16 stream does not start with BOM')", 'the file is not UTF-16: say encoding="cp1252"'),
        ("OSError(28, 'No space left on device')", "is full: free some space there (the mirror is "),
    ],
)
def test_the_words_of_parsers_and_systems_get_a_fix(ws: WorkspaceFiles, raises: str, fix: str) -> None:
    ws.notebook(
        "claims",
        f"""
        from data_engine import Flow
        def read(context):
            raise {raises}
        def build():
            return Flow(group="G").mirror(root="../out").step(read)
        """,
    )
    with pytest.raises(FlowExecutionError) as caught:
        Workspace(ws.root).load_flow("claims").run_once()

    assert fix in (caught.value.fix or "")


def test_a_text_that_is_called_a_workbook_is_told_as_such(cells: Cells, tmp_path: Path) -> None:
    """By the words that this version of the reader really has."""
    pytest.importorskip("fastexcel")
    (tmp_path / "a.xlsx").write_text("city;amount")
    with pytest.raises(FlowExecutionError) as caught:
        cells.run(cell(tmp_path, "pl.read_excel(f'{folder}/a.xlsx')")).preview(use="raw")

    assert "this is not a valid .xlsx file" in (caught.value.fix or "")


def late(path: Path, first: int, *, title: int = 0, text: bool = False, count: int = 150) -> Path:
    """A workbook whose column "b" has its first value in this row of its data; "c" has none, and "" no heading either."""
    import xlsxwriter

    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("Data")
        for number in range(title):
            sheet.write(number, 0, "Sales report")
        sheet.write_row(title, 0, ["a", "b", "c", "", "d"])
        for number in range(1, count + 1):
            sheet.write_row(
                title + number, 0, [number, ("x" if text else 5) if number >= first else None, None, None, 1]
            )
    return path


LATE = (
    'late.xlsx, sheet "Data": column B: no value in the first 100 rows, so that the numbers below are read as text:'
    " read all rows first with infer_schema_length=None"
)


@pytest.mark.parametrize(
    ("made", "options", "is_told"),
    [
        ({"first": 101}, {}, True),
        ({"first": 100}, {}, False),
        ({"first": 101, "title": 3}, {"read_options": {"header_row": 3}}, True),
        ({"first": 100, "title": 3}, {"read_options": {"header_row": 3}}, False),
        ({"first": 101}, {"infer_schema_length": None}, False),
        ({"first": 101}, {"schema_overrides": {"b": pl.Int64}}, False),
        ({"first": 101, "text": True}, {}, False),
        ({"first": 999}, {}, False),
    ],
)
def test_numbers_that_come_too_late_are_told(
    tmp_path: Path, made: dict[str, Any], options: dict[str, Any], is_told: bool
) -> None:
    """Where Polars takes them as text, and only there."""
    path = late(tmp_path / "late.xlsx", **made)

    assert list(doubts_of(pl.read_excel, (path,), options)) == [LATE] * is_told

    has_numbers = not made.get("text") and made["first"] < 999
    assert (has_numbers and pl.read_excel(path, **options).schema["b"] == pl.String) is is_told


def test_an_empty_column_of_a_workbook_is_no_warning(
    cells: Cells, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reader logs one for each; the run's log has its words as no warning, with the column as people count."""
    path = late(tmp_path / "late.xlsx", 999)
    cells.run(cell(tmp_path, f"pl.read_excel({str(path)!r})"))

    cells.preview()
    (context,) = cells.run("contexts = build().run_once()").names["contexts"]

    assert "warning" not in told()
    assert context.warnings == 0
    assert "dtype" not in capsys.readouterr().err


def test_an_empty_column_stands_in_the_log_of_a_run(ws: WorkspaceFiles) -> None:
    path = late(ws.root / "late.xlsx", 999)
    read = f"def read(context):\n    return pl.read_excel({str(path)!r})"
    ws.notebook(
        "claims",
        "import polars as pl\nfrom data_engine import Flow",
        read,
        "def build():\n    return Flow('G').step(read)",
    )
    workspace = Workspace(ws.root)

    workspace.load_flow("claims").run_once()

    (run,) = workspace.runs("claims")
    said = [(line.level, line.message) for line in workspace.log(run.run_id) if "is empty" in line.message]
    words = "is empty in the rows that decide its type, so it is read as text"
    assert sorted(set(said)) == [("INFO", f'late.xlsx, sheet "Data": column {number} {words}') for number in (2, 3, 4)]
    assert run.warnings == 0


ALIKE = {
    "pl.concat([pl.DataFrame({'Amount ': [1]}), pl.DataFrame({'amount': [2]})], how='diagonal')": (
        '"Amount " and "amount" differ only by blanks or case: before frames become one, give each the same names: frame.rename(lambda'
    ),
    "pl.DataFrame({'day': [1], 'Net 1': [1], 'net\\u200b1': [2], 'Day': [1]})": 'the columns "day" and "Day"; "Net 1" and "net\\u200b1" differ',
    "pandas.DataFrame({'Amount ': [1], 'amount': [2], 3: [1]})": "frame.rename(columns=lambda",
    "pandas.DataFrame([[1, 2, 3]], columns=['a', 'a', 'A'])": 'the columns "a" and "A" differ',
}
UNLIKE = (
    "pl.DataFrame({'amount': [1], 'amounts': [2], 'a_mount': [3]})",
    "pandas.DataFrame([[1, 2]], columns=['a', 'a'])",
    "[pl.DataFrame({'Amount': [1]}), pl.DataFrame({'amount': [1]})]",
    "pl.LazyFrame({'Amount': [1], 'amount': [1]})",
)


@pytest.mark.parametrize(("made", "said"), ALIKE.items())
def test_columns_that_differ_only_by_blanks_or_case_are_told_below_a_preview(
    cells: Cells, tmp_path: Path, made: str, said: str
) -> None:
    """Also where the step is reused: the frame is what it was."""
    if "pandas" in made:
        pytest.importorskip("pandas")
    cells.run(cell(tmp_path, made))
    for _ in range(2):
        cells.preview()

        assert said in told()


@pytest.mark.parametrize("made", UNLIKE)
def test_other_columns_get_no_word(cells: Cells, tmp_path: Path, made: str) -> None:
    """Names that differ by more, one name twice, columns of several frames, and a lazy frame, whose names cost a plan."""
    if "pandas" in made:
        pytest.importorskip("pandas")
    cells.run(cell(tmp_path, made)).preview()

    assert "warning" not in told()


def test_columns_alike_are_warned_of_once_in_the_log_of_a_run(ws: WorkspaceFiles) -> None:
    """However many steps hand them on, and whether or not the step's result has a name."""
    ws.notebook(
        "claims",
        """
        import polars as pl
        from data_engine import Flow
        def read(context):
            frames = [pl.DataFrame({"Amount ": [1]}), pl.DataFrame({"amount": [2]})]
            return pl.concat(frames, how="diagonal")
        def on(context):
            return context.current.head(1)
        def count(context):
            return context.current.height
        def build():
            return Flow(group="G").step(read).step(on).step(count, save_as="rows")
        """,
    )
    workspace = Workspace(ws.root)
    workspace.load_flow("claims").run_once()

    (run,) = workspace.runs("claims")
    said = [line.message for line in workspace.log(run.run_id) if line.level == "WARNING"]
    assert [text[:42] for text in said] == ['the columns "Amount " and "amount" differ ']
    assert run.warnings == 1


def emptied(path: Path) -> Path:
    """Beside columns that lose something: one of text, one without a heading, and texts that are kept."""
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("Data")
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(0, 0, ["n/a", "amount", "day", "note", "rate", "open", "count"])
        for row in range(1, 4):
            sheet.write_row(row, 0, ["x", row])
            sheet.write_number(row, 2, 46000 + row, day)
            sheet.write_row(row, 3, ["n/a", row, row, row])
        sheet.write_string(2, 1, "n/a")
        sheet.write_string(3, 1, "NULL")
        sheet.write_string(2, 2, "N/A")
        sheet.write_formula(2, 4, "=1/0", None, "#DIV/0!")
        sheet.write_string(2, 5, "offen")
        sheet.write_string(3, 5, "n/a")
        sheet.write_blank(3, 6, None)
    return path


EMPTIED = [
    'column "amount" is Int64, and 2 texts in it ("n/a", "NULL") were read as empty: read it with'
    ' schema_overrides={"amount": pl.String} and clean it, or correct the file',
    'column "day" is Date, and 1 text in it ("N/A") was read as empty: read it with'
    ' schema_overrides={"day": pl.String} and clean it, or correct the file',
]
OF_ERRORS = "errors of formulas are read as empty: column E (1 #DIV/0!). Correct them in the workbook, or compute the column in the step"


def test_texts_and_errors_of_a_workbook_that_were_read_as_empty_are_told(tmp_path: Path) -> None:
    """Not of a column of text, where texts stay, nor of cells that are empty; with the column as text they stay."""
    path = emptied(tmp_path / "a.xlsx")
    place = 'a.xlsx, sheet "Data": '

    def of(**options: Any) -> list[str]:
        return list(doubts_of_table(pl.read_excel, pl.read_excel(path, **options), (path,), options))

    assert of() == [place + said for said in EMPTIED]
    assert list(doubts_of(pl.read_excel, (path,), {})) == [place + OF_ERRORS]
    as_text = {"amount": pl.String, "day": pl.String}
    assert of(schema_overrides={"amount": pl.String}) == [place + EMPTIED[1]]
    assert pl.read_excel(path, schema_overrides=as_text)["amount"].to_list() == ["1", "n/a", "NULL"]
    assert of(columns=["count"]) == []


@pytest.mark.parametrize("rows", [[["a", "n/a"], [1, 2]], [["a"], [1], [None], [3]], [["a"], ["x"], ["n/a"]]])
def test_headings_empty_cells_and_columns_of_text_are_no_loss(tmp_path: Path, rows: list[list[Any]]) -> None:
    path = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("Data")
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)

    assert list(doubts_of_table(pl.read_excel, pl.read_excel(path), (path,), {})) == []
    assert list(doubts_of(pl.read_excel, (path,), {})) == []


def test_what_a_workbook_lost_stands_in_the_line_of_a_preview(cells: Cells, tmp_path: Path) -> None:
    emptied(tmp_path / "a.xlsx")
    cells.run(cell(tmp_path / "a.xlsx", f"pl.read_excel({str(tmp_path / 'a.xlsx')!r})")).preview()

    assert EMPTIED[0] in told()
    assert OF_ERRORS in told()
