"""What a step logs as a warning is told below the cell of a preview, as often as a run counts it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import xlsxwriter

from data_engine import Workspace
from data_engine.engine.memo.caption import caption
from data_engine.engine.preview import last_report
from data_engine.errors import FlowExecutionError
from tests.preview.conftest import Cells
from tests.support import WorkspaceFiles


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
