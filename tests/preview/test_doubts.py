"""What was read and hardly meant so is told with its fix: below the cell of a preview, and in the log of a run."""

from __future__ import annotations

import logging
from pathlib import Path

import polars as pl
import pytest

from data_engine import Workspace
from data_engine.engine.memo.caption import caption
from data_engine.engine.memo.doubts import doubts_of, utf8_read_as
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
FINE = (
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
        "path, other, plain = (f'{folder}/{name}.csv' for name in 'abc')\n"
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
    return tmp_path


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

    assert "CHECK" not in told()


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
