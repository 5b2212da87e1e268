"""What a step trips over in a file or a table is told with what to write instead."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_engine import Flow, FlowContext, FlowExecutionError
from data_engine.engine.preview import clear_preview_cache
from data_engine.flow.hints.tables import separator_of
from data_engine.flow.locations import SourceContext
from data_engine.secret import Secret
from tests.flow.running import run

HEADER_IS_FURTHER = "the header of a.csv is further down, then skip_lines= leaves out what stands above; or one of its lines is too long"


def failed(*steps: Callable[[FlowContext], Any], path: Path | None = None) -> FlowExecutionError:
    """The error of a flow of these steps, the results of which are saved as `first`, `second`."""
    flow = Flow("G", "claims")
    for step, name in zip(steps, ("first", "second"), strict=False):
        flow = flow.step(step, save_as=name)
    source = None if path is None else SourceContext(path.parent, path, Path(path.name))
    with pytest.raises(FlowExecutionError) as caught:
        run(flow, source=source)
    return caught.value


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    import xlsxwriter

    with xlsxwriter.Workbook(path) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    return path


@pytest.mark.parametrize(
    ("text", "options", "fix"),
    [
        ("city;amount\nOslo;1,5\nRome;2,5,1\n", {}, 'a.csv has ";" between its columns: read it with separator=";"'),
        ("city|amount\nOslo|1,5\nRome|2,5\n", {}, 'a.csv has "|" between its columns: read it with separator="|"'),
        ("city\tamount\nOslo\t1,5\nX\t2\n", {}, 'a.csv has "\\t" between its columns: read it with separator="\\t"'),
        ("Sales\n\ncity;amount\nOslo;1\nRome;2\n", {"separator": ";"}, HEADER_IS_FURTHER),
        ("Sales\n\ncity,amount\nOslo,1\nRome,2\n", {}, HEADER_IS_FURTHER),
    ],
)
def test_a_line_with_too_many_columns_names_what_stands_between_them(
    tmp_path: Path, text: str, options: dict[str, Any], fix: str
) -> None:
    """By what the file has and what the reader was told; Polars' advice, which leaves data out, is not shown."""
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")

    error = failed(lambda context: pl.read_csv(tmp_path / "a.csv", **options))

    assert error.fix == fix
    assert "found more fields than defined" in error.detail
    assert "truncate_ragged_lines" not in error.detail


def test_a_lazy_file_is_the_source_of_the_step(tmp_path: Path) -> None:
    """Nobody tells how it was read; where no source is known either, both ways are named."""
    path = tmp_path / "a.csv"
    path.write_text("city;amount\nOslo;1,5\nRome;2,5,1\n", encoding="utf-8")

    def read(context: FlowContext) -> pl.DataFrame:
        return pl.scan_csv(path).collect()

    said = 'a.csv has ";" between its columns: read it with separator=";"; where that is done, the header of a.csv'
    assert str(failed(read, path=path).fix).startswith(said)
    assert str(failed(read).fix).startswith("name what the file has between its columns")


def test_a_separator_is_what_stands_in_most_lines() -> None:
    assert separator_of("title\ncity;amount\nOslo;1,5\nRome;2,25\n") == ";"
    assert separator_of("city,note\nOslo,a;b\nRome,c;d\n") is None
    assert separator_of("city,note\nOslo,1\n") is None
    assert separator_of("") is None


@pytest.mark.parametrize(
    "ask",
    [
        lambda context: context.current.filter(pl.col("city") == "Oslo"),
        lambda context: context.current["city"],
        lambda context: context.current.lazy().select("city").collect(),
    ],
)
def test_one_column_with_all_headings_names_the_separator(ask: Callable[[FlowContext], Any]) -> None:
    error = failed(lambda context: pl.DataFrame({"city;amount": ["Oslo;1"]}), ask)

    assert error.fix == (
        'the only column is "city;amount": the file has ";" between its columns, so read it with separator=";"'
    )


def test_one_column_with_commas_was_read_with_another_separator(tmp_path: Path) -> None:
    """Where the rows have commas too; a text in quotes, whose rows have none, is one column."""
    (tmp_path / "a.csv").write_text("city,amount\nOslo,1\nRome,2\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text('"city, town"\nOslo\nRome\n', encoding="utf-8")
    of_a, of_b = (
        failed(lambda context, name=name: pl.read_csv(tmp_path / name, separator=";").select("amount")).fix
        for name in ("a.csv", "b.csv")
    )

    assert of_a is not None
    assert 'the only column is "city,amount"' in of_a
    assert 'read it with separator=","' in of_a
    assert "separator" not in str(of_b)


def test_columns_that_are_numbers_may_be_a_row_or_of_another_sheet(tmp_path: Path) -> None:
    """As where somebody has swapped the sheets; the ways that are told read it."""
    path = workbook(tmp_path / "a.xlsx", New=[[1, 2], [3, 4]], Data=[["Menge", "Preis"], [5, 6]])
    fix = failed(lambda context: pl.read_excel(path).select("Menge")).fix

    assert fix is not None
    assert 'the names of all columns are numbers ("1", "2")' in fix
    assert "sheet_name= takes another sheet" in fix
    assert pl.read_excel(path, has_header=False).height == 2
    assert "numbers" not in str(failed(lambda context: pl.DataFrame({"2026": [1], "x": [2]}).select("Menge")).fix)


def test_a_column_that_a_good_table_lacks_has_no_such_fix() -> None:
    assert (
        failed(lambda context: pl.DataFrame({"city": [1], "a;b": [2]}), lambda context: context.current["town"]).fix
        == 'the columns are "city", "a;b"'
    )


def test_a_title_above_the_header_names_the_row(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", Data=[["Sales report"], ["city", "amount"], ["Oslo", 1]])

    error = failed(lambda context: pl.read_excel(path), lambda context: context.current.select("city"))

    assert error.fix == (
        'the first row that was read is no header ("Sales report"): name its row, counted from 0, as'
        ' read_options={"header_row": 3} for row 4 of the sheet'
    )


FILIALE = 'did you mean "Filiale"?'
BETRAG = 'did you mean "Betrag "? Its name has blanks around it: {} takes them off all columns'


@pytest.mark.parametrize(
    ("ask", "fix"),
    [
        (lambda frame: frame.select("Filale"), FILIALE),
        (lambda frame: frame["Filale"], FILIALE),
        (lambda frame: frame.lazy().filter(pl.col("Filale") > 0).collect(), FILIALE),
        (lambda frame: frame.rename({"Filale": "x"}), FILIALE),
        (lambda frame: frame.select("FILIALE"), f"{FILIALE} Upper and lower case matter"),
        (lambda frame: frame.sort("betrag"), BETRAG.format("rename(str.strip)")),
        (lambda frame: frame.select("Kunde"), None),
    ],
)
def test_a_column_is_told_by_the_name_that_was_meant(ask: Callable[[Any], Any], fix: str | None) -> None:
    """Once: where Polars offers a name itself, its line is not shown too."""
    error = failed(lambda context: pl.DataFrame({"Filiale": [1], "Betrag ": [2]}), lambda context: ask(context.current))

    assert error.fix == fix
    assert "Did you mean" not in error.detail


def test_a_typing_error_beside_a_column_without_a_name_is_one() -> None:
    """An empty heading alone does not say that the header is elsewhere."""
    frame = pl.DataFrame({"Filiale": [1], "__UNNAMED__1": [2]})

    assert failed(lambda context: frame.select("Filale")).fix == FILIALE
    assert str(failed(lambda context: frame.select("Monat")).fix).startswith("the first row that was read is no header")


@pytest.mark.parametrize(
    ("ask", "fix"),
    [
        (lambda frame: frame["Filale"], FILIALE),
        (lambda frame: frame[["Filale", "Filiale"]], FILIALE),
        (lambda frame: frame.groupby("Filiale")["Filale"].sum(), FILIALE),
        (lambda frame: frame.sort_values("Betrag"), BETRAG.format("rename(columns=str.strip)")),
        (lambda frame: frame["Kunde"], 'the columns are "Filiale", "Betrag "'),
        (lambda frame: {"Filiale": frame}["Filale"], None),
        (lambda frame: frame.set_index("Filiale").loc[7], None),
    ],
)
def test_pandas_columns_are_told_alike(ask: Callable[[Any], Any], fix: str | None) -> None:
    """It tells no columns itself; a dictionary's key and a row's label are none."""
    pandas = pytest.importorskip("pandas")

    frame = pandas.DataFrame({"Filiale": [1], "Betrag ": [2]})

    assert failed(lambda context: frame, lambda context: ask(context.current)).fix == fix


HEADER = "where that is its header, read the file with header="


@pytest.mark.parametrize(
    ("text", "options", "fix"),
    [
        ("city;amount\nOslo;1,5\nRome;2,5,1\n", {}, 'a.csv has ";" between its columns: read it with sep=";"'),
        ("Sales\nby city\n\ncity;amount\nOslo;1\n", {"sep": ";"}, HEADER_IS_FURTHER.replace("skip_lines", "skiprows")),
        ("Sales\n\ncity,amount\nOslo,1\n", {}, f'"city" stands in row 1 of the table: {HEADER}1'),
        ("Sales,\n,\ncity,amount\nOslo,1\n", {}, f'"city" stands in row 2 of the table: {HEADER}2'),
        ("city;amount\nOslo;1\n", {}, 'the only column is "city;amount": the file has ";" between its columns, so'),
        ("", {}, "a.csv is empty: write it again"),
        ("Straße,city\nä,1\n", {}, 'the file is not UTF-8: say what it is, such as encoding="cp1252"'),
        ("city\n1;2\n", {"dtype": float}, None),
    ],
)
def test_a_file_that_pandas_reads_in_a_wrong_way_is_told_with_its_options(
    tmp_path: Path, text: str, options: dict[str, Any], fix: str | None
) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode("cp1252"))

    found = failed(lambda context: pandas.read_csv(path, **options), lambda context: context.current["city"]).fix

    assert found is None if fix is None else str(found).startswith(fix)


def test_pandas_names_the_sheets_and_the_row_of_the_header(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = workbook(tmp_path / "a.xlsx", Summe=[["Sales"], ["city", "amount"], ["Oslo", 1]], Nord=[["a"], [1]])

    def fix(**options: Any) -> str | None:
        return failed(lambda context: pandas.read_excel(path, **options)["city"]).fix

    assert fix(sheet_name="Nrod") == 'the sheets of a.xlsx: "Nord", "Summe"'
    assert fix(sheet_name=7) == 'the sheets of a.xlsx: "Summe", "Nord"'
    assert fix() == f'"city" stands in row 1 of the table: {HEADER}1'
    assert list(pandas.read_excel(path, header=1)["city"]) == ["Oslo"]


def test_a_decimal_comma_is_told_with_the_option_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"amount": ["1,5", "2"]})

    fix = 'the table holds "1,5": read the file with decimal=",", or replace "," by "." before the cast'
    assert failed(lambda context: frame["amount"].astype(float)).fix == fix
    assert failed(lambda context: pandas.to_numeric(frame["amount"])).fix == fix
    assert failed(lambda context: float("1,5")).fix is None


@pytest.mark.parametrize(
    ("query", "fix"),
    [
        ("select Filale from frame", FILIALE),
        ("select f.Filale from frame f", FILIALE),
        ("select Betrag from frame", 'did you mean "Betrag "?'),
        ("select Kunde from frame", None),
    ],
)
def test_a_column_that_a_query_does_not_find_is_told_by_the_name_that_was_meant(query: str, fix: str | None) -> None:
    import duckdb

    frame = pl.DataFrame({"Filiale": [1], "Betrag ": [2]})

    def ask(context: FlowContext) -> Any:
        with duckdb.connect() as connection:
            connection.register("given", frame.to_arrow())
            connection.execute("create table frame as select * from given")
            return connection.execute(query).fetchall()

    assert failed(ask).fix == fix


def test_an_empty_file_is_told_without_the_noise_of_its_path(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.touch()

    error = failed(lambda context: pl.read_csv(path, encoding="cp1252"))

    assert error.detail.replace("/", os.sep) == f"NoDataError: nothing to read in {path}"


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ({"sheet_name": "Nrod"}, 'the sheets of a.xlsx: "Nord", "Summe", "West"'),
        ({"sheet_name": ["Nord", "sume"]}, 'the sheets of a.xlsx: "Summe", "West", "Nord"'),
        ({"sheet_id": 7}, 'the sheets of a.xlsx: "Summe", "West", "Nord"'),
    ],
)
def test_a_wrong_sheet_names_those_there_are(tmp_path: Path, options: dict[str, Any], fix: str) -> None:
    """The nearest first; of a number in their order."""
    path = workbook(tmp_path / "a.xlsx", Summe=[["a"], [1]], West=[["a"], [1]], Nord=[["a"], [1]])

    assert failed(lambda context: pl.read_excel(path, **options)).fix == fix


@pytest.mark.parametrize("options", [{}, {"encoding": "cp1252"}])
def test_an_empty_file_names_the_way_on(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "empty.csv"
    path.touch()

    fix = failed(lambda context: pl.read_csv(path, **options)).fix

    assert fix == "empty.csv is empty: write it again, or take it out of the folder"


def test_a_number_is_quoted_as_its_file_has_it(tmp_path: Path) -> None:
    """Also where the step has put a point for its comma; what stands so nowhere in the file is told as it is."""
    path = tmp_path / "a.csv"
    path.write_text("a;b\n1;12,x\n2;3.z\n", encoding="utf-8")

    def fix(row: int) -> str:
        def step(context: object) -> object:
            table = pl.read_csv(path, separator=";").slice(row, 1)
            return table.with_columns(pl.col("b").str.replace(",", ".").cast(pl.Float64))

        return str(failed(step, path=path).fix)

    assert fix(0).startswith('column "b" holds "12,x" ("12.x" when it is cast), which is not a number')
    assert fix(1).startswith('column "b" holds "3.z", which is not a number')


def test_a_file_and_a_sheet_of_which_nothing_is_left_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    book = workbook(tmp_path / "a.xlsx", Data=[])

    assert str(failed(lambda context: pl.read_csv(path, skip_lines=9)).fix).startswith(
        "nothing is left of a.csv to read"
    )
    assert str(failed(lambda context: pl.read_excel(book)).fix).startswith("the sheet is empty: name another")


DAYS = pl.col("day").str.to_date("%d.%m.%Y")


@pytest.mark.parametrize(
    ("values", "what", "fix"),
    [
        (
            ["31.12.2026", "2026-01-01"],
            DAYS,
            'column "day" holds "2026-01-01", which has the format "%Y-%m-%d", and others have another one: correct',
        ),
        (["1/2/2026"], DAYS, 'column "day" holds "1/2/2026", which has the format "%d/%m/%Y" or "%m/%d/%Y": name that'),
        (["11/25/2026"], DAYS, 'column "day" holds "11/25/2026", which has the format "%m/%d/%Y": name that'),
        (["1/2/2026", "25/2/2026"], DAYS, 'column "day" holds "1/2/2026", which has the format "%d/%m/%Y": name that'),
        (["31.12.2026", "soon"], DAYS, 'column "day" holds "soon", which does not have the format that the step names'),
        (
            ["1,5", "2.0"],
            pl.col("day").cast(pl.Float64),
            'column "day" holds "1,5": read a CSV file with decimal_comma=True',
        ),
        (
            ["none", "2.0"],
            pl.col("day").cast(pl.Float64),
            'column "day" holds "none", which is not a number: correct the file',
        ),
        (["many"], pl.col("day").cast(pl.Int64), 'column "day" holds "many", which is not a whole number: correct the'),
        (["2.0"], pl.col("day").cast(pl.Int64), 'column "day" holds "2.0", which has a decimal point: cast to'),
        (["300"], pl.col("day").cast(pl.UInt8), 'column "day" holds "300", which u8 cannot hold: correct the file, or'),
        (["red"], pl.col("day").cast(pl.Enum(["blue"])), 'column "day" holds "red", which is none of its categories:'),
        (["1h"], pl.col("day").cast(pl.Duration), 'column "day" holds "1h", which is no duration: correct the file'),
    ],
)
def test_a_value_of_another_form_is_told_with_its_column(values: list[str], what: pl.Expr, fix: str) -> None:
    """And not with the advice to empty what cannot be read."""
    error = failed(lambda context: pl.DataFrame({"day": values}).with_columns(what))

    assert str(error.fix).startswith(fix)
    assert "failed in column 'day'" in error.detail
    assert "strict=False" not in error.detail


def test_a_saved_object_is_asked_for_by_name() -> None:
    """In a run as in a preview, which calls the context by the same name."""
    flow = (
        Flow("G", "claims").step(lambda context: 1, save_as="first").step(lambda context: context.first, label="Uses")
    )

    for call in (flow.run_once, flow.preview):
        with pytest.raises(FlowExecutionError) as caught:
            call()
        assert "first is what step 'Lambda' saved: take it by context.objects" in str(caught.value.fix)
        assert caught.value.detail == "AttributeError: 'FlowContext' object has no attribute 'first'"
    clear_preview_cache()


def test_a_previewed_context_shows_itself_as_that_of_a_run() -> None:
    """The class that watches it is nobody's matter."""
    shown = Flow("G", "claims").step(lambda context: repr(context), save_as="shown").preview()

    assert shown.startswith("FlowContext(flow_name='claims'")
    clear_preview_cache()


@pytest.mark.parametrize(
    "use",
    [len, lambda secret: "user:" + secret, lambda secret: secret.encode(), lambda secret: "".join([secret]), Path],
)
def test_a_secret_that_is_used_as_text_names_reveal(use: Callable[[Any], Any]) -> None:
    fix = failed(lambda context: use(Secret("ftp", "correct horse"))).fix

    assert fix == 'a secret shows its text only when you ask for it: context.secret("name").reveal()'


def cast_of(text: str, path: Path, **options: Any) -> str | None:
    """The fix of a cast of the column `amount` of a file that was read with these options."""
    path.write_text(text, encoding="utf-8")
    read = pl.read_csv(path, separator=";", **options)
    return failed(lambda context: read.with_columns(pl.col("amount").cast(pl.Float64)), path=path).fix


@pytest.mark.parametrize("options", [{}, {"decimal_comma": True}])
@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1.234,50", "2,5", "1.000"], [1234.5, 2.5, 1000.0]),
        (["1,234.50", "2.5"], [1234.5, 2.5]),
        (["1,234,567"], [1234567.0]),
        (["1'234.50", "-7"], [1234.5, -7.0]),
        (["1 234,5"], [1234.5]),
        (["1.234,50", "n/a"], [1234.5, None]),
        (["n/a", "2,5"], [2.5, None]),
    ],
)
def test_the_fix_of_numbers_as_people_write_them_reads_them(
    tmp_path: Path, options: dict[str, Any], texts: list[str], numbers: list[float | None]
) -> None:
    """Also where the file was read as the fix of another number says: the same is not told again."""
    text = "name;amount\n" + "".join(f"x;{one}\n" for one in texts)
    fix = str(cast_of(text, tmp_path / "a.csv", **options))

    assert "decimal_comma" not in fix
    found = pl.DataFrame({"amount": texts}).select(eval(fix.partition(": write ")[2], {"pl": pl}))
    assert sorted(found["amount"].to_list(), key=str) == sorted(numbers, key=str)


def test_commas_alone_are_read_by_an_option_of_text_files_only(tmp_path: Path) -> None:
    """A workbook has no option for it: a number there is a number, or a text."""
    text = "name;amount\nx;1,5\n"
    way = 'write pl.col("amount").str.replace(",", ".").cast(pl.Float64)'
    book = workbook(tmp_path / "a.xlsx", Data=[["name", "amount"], ["x", "1,5"]])

    def of_book(context: object) -> pl.DataFrame:
        return pl.read_excel(book).with_columns(pl.col("amount").cast(pl.Float64))

    assert (
        cast_of(text, tmp_path / "a.csv")
        == f'column "amount" holds "1,5": read the file with decimal_comma=True, or {way}'
    )
    assert pl.read_csv(tmp_path / "a.csv", separator=";", decimal_comma=True)["amount"].to_list() == [1.5]
    assert failed(of_book, path=book).fix == f'column "amount" holds "1,5": {way}'
    assert failed(of_book).fix == f'column "amount" holds "1,5": read a CSV file with decimal_comma=True, or {way}'


def test_a_comma_that_was_replaced_before_the_point_of_thousands_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("name;amount\nx;1.234,50\n", encoding="utf-8")

    def step(context: object) -> pl.DataFrame:
        return pl.read_csv(path, separator=";").with_columns(pl.col("amount").str.replace(",", ".").cast(pl.Float64))

    fix = failed(step, path=path).fix
    assert fix == (
        'column "amount" holds "1.234,50" ("1.234.50" when it is cast): write'
        ' pl.col("amount").str.replace_all(".", "", literal=True).str.replace(",", ".").cast(pl.Float64)'
    )


def test_a_point_that_stands_for_every_letter_is_told() -> None:
    """It is the file that is right; a text that is empty in the file is told so."""
    frame = pl.DataFrame({"amount": ["1.234"], "none": [""]})
    number = pl.col("amount").str.replace_all(".", "").cast(pl.Int64)

    every = 'in replace_all(".", "") the "." stands for every letter: write replace_all(".", "", literal=True)'
    assert failed(lambda context: frame.with_columns(number)).fix == (
        f'nothing is left of column "amount" when it is cast: {every}'
    )
    assert failed(lambda context: frame["none"].cast(pl.Float64)).fix == (
        f'column "none" holds "" when it is cast: empty it before, .replace({{"": None}}); or {every}'
    )


def test_a_point_may_be_that_of_thousands_where_a_whole_number_is_meant() -> None:
    frame = pl.DataFrame({"amount": ["1.234"]})
    fix = str(failed(lambda context: frame.with_columns(pl.col("amount").cast(pl.Int64))).fix)

    way = fix.partition("; where the point is that of thousands, write ")[2]
    assert frame.select(eval(way, {"pl": pl}))["amount"].to_list() == [1234]
    assert "thousands" not in str(failed(lambda context: pl.Series(["2.5"]).cast(pl.Int64)).fix)


def test_pandas_is_told_the_mark_of_thousands() -> None:
    pandas = pytest.importorskip("pandas")
    fix = str(failed(lambda context: pandas.Series(["1.234,50"]).astype(float)).fix)

    assert fix == 'the table holds "1.234,50": read the file with decimal=",", thousands="."'


def test_days_of_a_workbook_in_two_forms_are_told_with_what_reads_both(tmp_path: Path) -> None:
    """As Excel's own days beside days that somebody typed as text; what is told reads them all."""
    frame = pl.DataFrame({"day": ["2026-12-01 00:00:00", "31.12.2026", "2026-12-02 00:00:00"]})
    fix = str(failed(lambda context: frame.with_columns(DAYS)).fix)

    assert fix.startswith(
        'column "day" holds "2026-12-01 00:00:00", which has the format "%Y-%m-%d %H:%M:%S", and others'
    )
    read = eval(fix.partition("or write ")[2].partition(", which leaves")[0], {"pl": pl})
    assert [str(one) for one in frame.select(read)["day"]] == ["2026-12-01", "2026-12-31", "2026-12-02"]


@pytest.mark.parametrize("values", [["2026-1-1", "2026-01-02"], ["1/2/2026", "2026-01-01", "3.1.2026"]])
def test_days_of_one_form_or_of_an_unsure_one_are_told_by_their_format(values: list[str]) -> None:
    """Nobody knows whether the day or the month of 1/2/2026 comes first."""
    fix = str(failed(lambda context: pl.DataFrame({"day": values}).with_columns(DAYS)).fix)

    assert "name that one, or correct the file" in fix
    assert "coalesce" not in fix


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
@pytest.mark.parametrize(
    ("title", "way"), [("", "leave out no line, {}=0"), ("Bericht\n\n", "leave out 2 lines above it, {}=2")]
)
def test_a_header_that_was_left_out_is_told_by_its_line(tmp_path: Path, title: str, way: str, encoding: str) -> None:
    """It stands in the file, above the line whose values became names; what is told reads it."""
    path = tmp_path / "a.csv"
    path.write_bytes(f"{title}Straße;Betrag\nMüllerweg;5\nAmselweg;7\n".encode(encoding))
    skipped = title.count("\n") + 1

    def read(context: object, lines: int = skipped) -> pl.DataFrame:
        return pl.read_csv(path, separator=";", skip_lines=lines, encoding="utf8" if encoding == "utf-8" else encoding)

    said = f'"Straße" stands in line {skipped} of a.csv, and line {skipped + 1} was read as the header: '
    for ask in (lambda context: context.current.select("Straße"), lambda context: context.current["Straße"]):
        assert failed(read, ask, path=path).fix == said + way.format("skip_lines")
    assert read(None, skipped - 1).columns == ["Straße", "Betrag"]


def test_a_column_that_stands_nowhere_above_is_no_header_that_was_left_out(tmp_path: Path) -> None:
    """A word of a title, and a value below."""
    path = tmp_path / "a.csv"
    path.write_text("Umsatz\n\nOrt;Betrag\nKunde;5\n", encoding="utf-8")

    def read(context: object) -> pl.DataFrame:
        return pl.read_csv(path, separator=";", skip_lines=2)

    for name in ("Umsatz", "Kunde", "Monat"):
        assert "stands in line" not in str(
            failed(read, lambda context, name=name: context.current[name], path=path).fix
        )


def test_a_day_among_the_names_may_be_a_row(tmp_path: Path) -> None:
    """Several of them are those of a pivot."""
    frame = pl.DataFrame({"31.12.2026": ["1.1.2027"], "Oslo": ["Rome"]})
    pivot = pl.DataFrame({"city": ["Oslo"], "2026-01-01": [1], "2026-01-02": [2]})

    assert str(failed(lambda context: frame.select("Datum")).fix).startswith(
        'the name of a column is a day ("31.12.2026"): where that is a row, its header was left out'
    )
    assert failed(lambda context: pivot.select("Datum")).fix is None


@pytest.mark.parametrize(
    "text", ["<html><body><table><tr><td>1</td></tr></table></body></html>", "city\tamount\nOslo\t1\n"]
)
def test_a_workbook_by_name_only_is_told_as_such(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.xls"
    path.write_text(text, encoding="utf-8")

    fix = str(failed(lambda context: pl.read_excel(path)).fix)

    assert fix.startswith("this .xls is no workbook of Excel, but HTML or text under that name")


def test_the_file_of_a_map_is_known_as_that_of_a_run(tmp_path: Path) -> None:
    """So that a workbook is told as one."""
    workbook(tmp_path / "a.xlsx", Data=[["amount"], ["1,5"]])
    flow = Flow("G", "claims").collect(".xlsx", root=tmp_path).map(lambda file: amounts(file.path))

    def amounts(path: Path) -> pl.DataFrame:
        return pl.read_excel(path).with_columns(pl.col("amount").cast(pl.Float64))

    with pytest.raises(FlowExecutionError) as caught:
        run(flow)
    assert "decimal_comma" not in str(caught.value.fix)
