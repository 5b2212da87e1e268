"""Tables without Rich look as Rich draws them; the commands that only look import neither Rich nor Typer."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.cli.output import _print, _print_with_rich, say, table
from data_engine.cli.plain import Table, fitted, lines_of, ragged
from tests.cli.conftest import REPOSITORY
from tests.support import WorkspaceFiles

CELLS = st.sampled_from(
    ["", "a", "x y", "é", "[red]x[/red]", "long " * 20, "two\nlines", " lead", "trail  ", "…", "日本", "\t"]
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    columns = draw(st.lists(st.sampled_from(["A", "BB", "CCC", "NAME"]), min_size=1, max_size=4, unique=True))
    made = table(*columns, right=columns[:1] if draw(st.booleans()) else ())
    for row in draw(st.lists(st.lists(CELLS, min_size=len(columns), max_size=len(columns)), max_size=4)):
        made.add_row(*row)
    return made


@settings(deadline=None, max_examples=100)
@given(tables())
def test_a_table_is_laid_out_as_rich_does(made: Table) -> None:
    """To the letter; what is not plain is left to Rich."""
    lines, drawn = lines_of(made, most=10_000, coloured=False), io.StringIO()
    _print_with_rich(made, "", drawn)

    assert lines is None or "".join(f"{line}\n" for line in ragged(lines)) == drawn.getvalue()


@pytest.mark.parametrize("error", ["it failed " * 30, "日本 " * 90, "/a/long/path" * 30])
@pytest.mark.parametrize("kind", ["cut", "wrap"])
def test_a_long_text_makes_no_table_wide(capsys: pytest.CaptureFixture[str], error: str, kind: str) -> None:
    """It is cut, and what shows it in full is named; or it goes on in further lines, whole."""
    made = table("RUN", "ERROR", "SINCE", whole="`data-engine log RUN` shows it in full.", **{kind: ("ERROR",)})
    made.add_row("3f9c", error, "noon")

    say(made)
    out = capsys.readouterr().out

    *lines, last = out.splitlines()
    assert max(map(len, lines)) <= 120
    if kind == "cut":
        assert "…" in lines[2]
        assert lines[2].endswith("noon")
        assert (lines[3:], last) == ([""], "… `data-engine log RUN` shows it in full.")
    else:
        assert "…" not in out
        words = "".join(line[7:] for line in [*lines[2:], last]).replace("noon", "").replace(" ", "")
        assert words == error.replace(" ", "")


def test_what_is_short_is_neither_cut_nor_told_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    made = table("RUN", "ERROR", cut=("ERROR",), whole="`data-engine log RUN` shows it in full.")
    made.add_row("3f9c", "KeyError: 3")

    say(made)

    assert capsys.readouterr().out.splitlines() == ["RUN    ERROR", "─" * 12, "3f9c   KeyError: 3"]


@pytest.mark.parametrize("error", ["it failed " * 30, "日本 " * 90])
def test_a_table_whose_texts_may_not_be_cut_is_as_wide_as_they_are(
    capsys: pytest.CaptureFixture[str], error: str
) -> None:
    """One long error makes one long line, whole: neither the other rows nor the line below the head get longer."""
    made = table("RUN", "FLOW", "ERROR")
    made.add_row("3f9c", "claims", error)
    made.add_row("77aa", "nightly", "")

    say(made)

    assert capsys.readouterr().out.splitlines() == [
        "RUN    FLOW      ERROR",
        "─" * 22,
        f"3f9c   claims    {error.rstrip()}",
        "77aa   nightly",
    ]


@pytest.mark.parametrize("letters", ["日本", "a\tb", "\x1b[31m"])
def test_what_is_not_one_column_a_letter_is_left_to_rich(letters: str) -> None:
    """Wide letters, tabs and escape codes; and a table that is wider than the terminal."""
    assert lines_of(Table(("A",), rows=[((letters,), "")]), most=80, coloured=True) is None
    assert lines_of(Table(("A",), rows=[(("x" * 81,), "")]), most=80, coloured=True) is None


@pytest.mark.parametrize("words", [["status"], ["list"], ["runs"], ["explain", "claims"], ["status", "--json"]])
def test_who_only_looks_waits_for_no_library(ws: WorkspaceFiles, words: list[str]) -> None:
    """Once the modules are described nothing heavy is imported, so that an answer takes about as long as `--help`."""
    ws.notebook("claims", "from data_engine import Flow\ndef build():\n    return Flow(group='G').step(len)")
    code = f"""
import sys
from data_engine.cli.app import run
assert run({words}) == 0
print([name for name in ("typer", "rich", "polars", "psutil", "http.client", "asyncio", "nbformat") if name in sys.modules], file=sys.stderr)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DATA_ENGINE_WORKSPACE_ROOT": str(ws.root)}
    done = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        for _ in range(2)
    ]

    assert done[1].stderr == "[]\n"
    assert "claims" in done[1].stdout or words[0] == "runs"


def test_a_file_that_has_no_letter_for_the_line_below_the_head_gets_a_plain_one() -> None:
    """As where a Windows program writes into a file or a pipe; the rest is the same, and Rich is not asked."""
    written = io.BytesIO()
    made = table("RUN", "FLOW")
    made.add_row("3f9c", "Größe")

    with io.TextIOWrapper(written, encoding="cp1252", newline="") as stream:
        _print(made, "", stream)
        stream.flush()
        said = written.getvalue()

    assert said.decode("cp1252") == "RUN    FLOW\n-----------\n3f9c   Größe\n"


def test_on_a_narrow_screen_empty_columns_are_left_out_and_no_word_is_broken() -> None:
    """What fits keeps all its columns; a file or a pipe keeps them too, whatever reads them."""
    made = table(
        *("FLOW", "GROUP", "NEXT", "LAST RUN", "REASON"),
        cut=("REASON",),
        whole="`data-engine explain FLOW` tells the whole reason.",
    )
    made.add_row(
        "claims_of_the_north", "Claims", "", "success, 2 warnings, 2026-11-27 15:20:14", "edited, not deployed"
    )
    made.add_row("rates", "Claims", None, "", "")

    wide, _ = fitted(made, 200, is_screen=True)
    narrow, _ = fitted(made, 70, is_screen=True)
    file, _ = fitted(made, 70)

    assert wide.columns == file.columns == made.columns
    assert file.rows[0][0][3] == "success, 2 warnings, 2026-11-27 15:20:14"
    assert narrow.columns == ("FLOW", "GROUP", "LAST RUN", "REASON")
    lines = lines_of(narrow, most=70, coloured=False)
    assert lines is not None
    words = {word for line in lines for word in line.split()}
    assert {"claims_of_the_north", "warnings,", "2026-11-27", "15:20:14", "deployed"} <= words


@pytest.mark.parametrize("width", range(20, 130, 5))
def test_no_width_of_a_screen_breaks_a_word_or_loses_a_row(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Spare columns are left out before names are cut short; where no columns fit, each row is told in lines."""
    made = table(
        *("NAME", "TITLE", "TRIGGER", "TIME", "PRODUCTION"),
        right=("TIME",),
        cut=("NAME", "TRIGGER"),
        spare=("TITLE",),
        whole="`data-engine show NAME` shows it in full.",
    )
    made.add_row(
        "claims_of_the_north", "Claims Of The North", "every 10 s when files change", "0.47 s", "not deployed: edited"
    )
    made.add_row("rates", "Rates", "by hand", "12.00 s", "deployed")
    screen = Screen(width)
    monkeypatch.setattr("data_engine.cli.output.terminal_width", lambda stream: stream.width)

    _print(made, "", screen)

    lines = screen.getvalue().splitlines()
    words = {word for line in lines for word in line.split() if "…" not in word}
    known = {word for row, _ in [*made.rows, (made.columns, "")] for cell in row for word in cell.split()}
    assert words <= known | {"─" * width, *screen.rules(), *"`data-engine show NAME` shows it in full.".split()}
    assert {"rates", "deployed"} <= words
    assert max(map(len, lines)) <= max(width, len("… `data-engine show NAME` shows it in full."))
    assert ("claims_of_the_north" in words) or 30 < width < 60


@pytest.mark.parametrize(
    "folder", ["/home/ann/My Documents/Sales Team/in", "C:\\My Documents\\Sales Team\\in", "/home/ann/売上 2026/in"]
)
def test_paths_that_are_cut_keep_their_files_names(folder: str) -> None:
    """As of runs before a workspace was moved: cut at their ends, they would all look the same."""
    made = table("RUN", "SOURCE", "ERROR", cut=("SOURCE", "ERROR"))
    for month in range(1, 4):
        made.add_row("3f9c", f"{folder}/sales 2026-0{month}.csv", "the column price is not there: it was in/out before")

    rows = [row for row, _ in fitted(made, 60)[0].rows]

    assert [source.partition("…")[2][-18:] for _, source, _ in rows] == [
        f"/sales 2026-0{month}.csv" for month in (1, 2, 3)
    ]
    assert {error for _, _, error in rows} == {"the column price is not…"}


class Screen(io.TextIOWrapper):
    """A terminal of so many columns."""

    def __init__(self, width: int) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="\n", write_through=True)
        self.width = width

    def getvalue(self) -> str:
        return re.sub("\x1b\\[[0-9;]*m", "", self.buffer.getvalue().decode())  # type: ignore[attr-defined]

    def rules(self) -> set[str]:
        return {line for line in self.getvalue().splitlines() if line and not line.strip("─")}


def test_a_table_without_rows_keeps_its_columns() -> None:
    made = table("FLOW", "REASON")

    assert fitted(made, 5, is_screen=True)[0].columns == ("FLOW", "REASON")
