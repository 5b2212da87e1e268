"""What was read and hardly meant so is told with its fix: below the cell of a preview, and in the log of a run."""

from __future__ import annotations

import linecache
import logging
from pathlib import Path

import pytest
import xlsxwriter

from data_engine import Workspace
from data_engine.engine.access.interceptors import utf8_read_as
from data_engine.engine.memo.caption import caption
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
    "pl.read_csv(twice, separator=';')": 'the heading "amount" stands twice',
    "pl.read_csv(folder + '/f.xlsx', encoding='latin-1')": "f.xlsx is a workbook of Excel and no text: read it with read_excel",
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
    "pl.read_csv(twice, separator=';').rename({'amount_duplicated_0': 'net'})",
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
    (tmp_path / "f.xlsx").write_bytes(b"PK\x03\x04" + "city\nKöln\n".encode())
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
    path = ws.root / "rates.csv"
    path.write_text("amount,city,amount\n1,Oslo,2\n", encoding="ascii")
    read = f"def read(context):\n    return pl.read_csv({str(path)!r})"
    build = "def build():\n    return Flow('G').step(read)"
    ws.notebook("claims", "import polars as pl\nfrom data_engine import Flow", read, build)
    workspace = Workspace(ws.root)

    workspace.load_flow("claims").run_once()

    (run,) = workspace.runs("claims")
    (line,) = (line for line in workspace.log(run.run_id) if "amount_duplicated_0" in line.message)
    assert (line.level, run.status) == ("WARNING", "success")


NAMED_ANEW = """
import polars as pl
from pathlib import Path
from data_engine import Flow
def read(context):
    return pl.read_csv({path!r})
def named(context):
    return context.current.rename({{"amount": "gross", "amount_duplicated_0": "net"}})
def write(context):
    Path(context.workspace_root, "said.txt").write_text(str(context.current))
def build():
    return Flow("G", "claims").step(read, save_as="raw").step(named, save_as="named").step(write)
"""


def test_a_doubled_heading_is_told_until_the_columns_are_named_anew(ws: WorkspaceFiles) -> None:
    """A warning that stays when it was acted on is not read the next time: in a run, and in a preview that goes on behind it."""
    path = ws.source("in/a.csv", "amount,amount\n1,2\n")
    ws.notebook("claims", NAMED_ANEW.format(path=str(path)))
    workspace = Workspace(ws.root)
    flow = workspace.load_flow("claims")

    flow.run_once()

    (run,) = workspace.runs("claims")
    assert run.warnings == 0
    for use, is_told in (("raw", True), ("named", False), ("raw", True), (None, False)):
        flow.preview(use=use, write=use is None)
        assert ("stands twice" in told()) is is_told, use


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


def late(path: Path) -> Path:
    """A workbook of which column "b" has no value in its rows, and "c" no heading either."""
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("Data")
        sheet.write_row(0, 0, ["a", "b", "c", "", "d"])
        for number in range(1, 151):
            sheet.write_row(number, 0, [number, None, None, None, 1])
    return path


def test_an_empty_column_of_a_workbook_is_no_warning(
    cells: Cells, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reader logs one for each; the run's log has its words as no warning, with the column as people count."""
    path = late(tmp_path / "late.xlsx")
    cells.run(cell(tmp_path, f"pl.read_excel({str(path)!r})"))

    cells.preview()
    (context,) = cells.run("contexts = build().run_once()").names["contexts"]

    assert "warning" not in told()
    assert context.warnings == 0
    assert "dtype" not in capsys.readouterr().err


def test_an_empty_column_stands_in_the_log_of_a_run(ws: WorkspaceFiles) -> None:
    path = late(ws.root / "late.xlsx")
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
    assert sorted(set(said)) == [("INFO", f"column {number} of a sheet {words}") for number in (2, 3, 4)]
    assert run.warnings == 0
