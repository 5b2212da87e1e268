"""What commands print: tables as Rich draws them, and never wider than what they are shown on."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import Any

import pytest

from data_engine.cli.output import lenient_streams, say, say_card
from data_engine.reasons.kinds import Requested
from data_engine.status.record import FlowStatus, WorkspaceStatus
from data_engine.view.card import Card, Column, Table
from data_engine.view.status import status_card
from tests.cli.conftest import REPOSITORY
from tests.support import WorkspaceFiles

WHOLE = "`data-engine log RUN` shows it in full."


class Made:
    """A table of texts, as a card."""

    def __init__(
        self,
        *columns: str,
        cut: tuple[str, ...] = (),
        wrap: tuple[str, ...] = (),
        spare: tuple[str, ...] = (),
        whole: str = "",
    ) -> None:
        kinds: dict[str, Any] = {"RUN": "id", "ID": "id", "BACKFILL": "id", "NEXT RUN": "id"}
        kinds |= dict.fromkeys(wrap, "text") | {name: "path" if name == "SOURCE" else "name" for name in cut}
        self.columns = tuple(Column(name, kinds.get(name, "word"), name in spare) for name in columns)
        self.rows: list[tuple[str, ...]] = []
        self.whole = whole

    def add_row(self, *cells: str) -> None:
        self.rows.append(cells)

    @property
    def card(self) -> Card:
        return Card("", (), (Table(self.columns, tuple(self.rows), whole=self.whole),))


@pytest.mark.parametrize("error", ["it failed " * 30, "日本 " * 90, "/a/long/path" * 30])
def test_a_text_that_may_be_cut_makes_no_table_wide(capsys: pytest.CaptureFixture[str], error: str) -> None:
    """What shows it in full is named."""
    made = Made("RUN", "ERROR", "SINCE", cut=("ERROR",), whole=WHOLE)
    made.add_row("3f9c", error, "noon")

    say_card(made.card)

    head, rule, row, blank, note = capsys.readouterr().out.splitlines()
    assert (head.split(), set(rule), blank, note) == (["RUN", "ERROR", "SINCE"], {"─"}, "", f"… {WHOLE}")
    assert max(map(len, (head, rule, row))) <= 120
    assert "…" in row
    assert row.endswith("noon")


@pytest.mark.parametrize("error", ["it failed " * 30, "/a/long/path" * 30])
def test_a_text_that_may_be_wrapped_is_there_as_a_whole(capsys: pytest.CaptureFixture[str], error: str) -> None:
    """And nothing is said to be cut."""
    made = Made("RUN", "ERROR", "SINCE", wrap=("ERROR",), cut=("RUN",), whole=WHOLE)
    made.add_row("3f9c", error, "noon")

    say_card(made.card)

    _, _, *rows = capsys.readouterr().out.splitlines()
    assert max(map(len, rows)) <= 120
    assert "".join(row[7:] for row in rows).replace("noon", "").replace(" ", "") == error.replace(" ", "")


def test_what_is_short_is_neither_cut_nor_told_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    made = Made("RUN", "ERROR", cut=("ERROR",), whole=WHOLE)
    made.add_row("3f9c", "KeyError: 3")

    say_card(made.card)

    assert capsys.readouterr().out.splitlines() == ["RUN    ERROR", "─" * 18, "3f9c   KeyError: 3"]


def test_a_file_gets_whole_rows_of_what_may_not_be_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """A row stays one line, however long."""
    made = Made("RUN", "FLOW", "ERROR")
    made.add_row("3f9c", "claims", "it failed " * 30)
    made.add_row("77aa", "nightly", "")

    say_card(made.card)

    assert capsys.readouterr().out.splitlines()[2:] == [
        f"3f9c   claims    {'it failed ' * 30}".rstrip(),
        "77aa   nightly",
    ]


def test_markup_in_a_text_is_shown_and_wide_letters_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    made = Made("FLOW", "STATE")
    made.add_row("[red]x[/red]", "[link=x]:smile:")
    made.add_row("日本", "idle")

    say_card(made.card)
    say("[bold]a[/bold]", style="red")

    assert capsys.readouterr().out.splitlines()[2:] == [
        "[red]x[/red]   [link=x]:smile:",
        "日本           idle",
        "[bold]a[/bold]",
    ]


def test_a_file_that_has_no_letter_for_the_rule_gets_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a Windows program writes into a file or a pipe."""
    written = io.BytesIO()
    made = Made("RUN", "FLOW")
    made.add_row("3f9c", "Größe ✓")

    with io.TextIOWrapper(written, encoding="cp1252", newline="") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        with lenient_streams():
            say_card(made.card)
        said = written.getvalue().decode("cp1252")

    head, rule, row = said.splitlines()
    assert head.split("|")[0].strip() == "RUN"
    assert set(rule) <= set("-+|")
    assert row.endswith("Größe ?")


def shown_on(width: int, card: Card, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of a table on a terminal of so many columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    capsys.readouterr()
    say_card(card)
    return [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("width", range(40, 130, 10))
def test_no_terminal_is_too_narrow_for_a_table(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns without text and spare ones are left out before names are cut short."""
    made = Made(
        *("NAME", "TITLE", "NEXT", "TRIGGER", "PRODUCTION"), cut=("NAME", "TRIGGER"), spare=("TITLE",), whole=WHOLE
    )
    made.add_row("claims_of_the_north", "Claims Of The North", "", "every 10 s when files change", "deployed")
    made.add_row("rates", "Rates", "", "by hand", "deployed")

    *lines, note = shown_on(width, made.card, monkeypatch, capsys)

    assert max(map(len, lines)) <= width
    assert ("NEXT" in lines[0], "TITLE" in lines[0]) in [(True, True), (False, True), (False, False)]
    assert ("TITLE" in lines[0]) is (width > 60)
    assert "claims" in "".join(lines)
    assert (note == f"… {WHOLE}") is (width < 100)


@pytest.mark.parametrize("width", range(40, 130, 10))
@pytest.mark.parametrize("column", ["RUN", "ID", "BACKFILL"])
def test_an_id_can_be_copied_from_any_terminal(
    width: int, column: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What else does not fit goes on in further lines."""
    made = Made(column, "FLOW", "WHEN", "WHO", "WHAT")
    made.add_row("3f9c12ab", "claims_of_the_north", "2026-01-05 06:30:00", "anna@ANNA-PC", "deployed by hand")

    lines = shown_on(width, made.card, monkeypatch, capsys)

    assert "3f9c12ab" in [line.split(" ")[0] for line in lines]
    assert max(map(len, lines)) <= width


def test_paths_that_are_cut_keep_their_files_names(capsys: pytest.CaptureFixture[str]) -> None:
    """As of runs before a workspace was moved: cut at their ends, they would all look the same."""
    made = Made("RUN", "SOURCE", "ERROR", cut=("SOURCE", "ERROR"))
    for month in range(1, 4):
        made.add_row("3f9c", f"/home/ann/My Documents/売上/{'deep/' * 20}sales 2026-0{month}.csv", "it failed " * 20)

    say_card(made.card)

    rows = capsys.readouterr().out.splitlines()[2:]
    assert all(f"sales 2026-0{month}.csv " in row for month, row in enumerate(rows, 1))
    assert all("…" in row for row in rows)


@pytest.mark.parametrize("words", [["status"], ["list"], ["runs"], ["explain", "claims"], ["status", "--json"]])
def test_who_only_looks_waits_for_no_heavy_library(ws: WorkspaceFiles, words: list[str]) -> None:
    """Once the modules are described nothing is imported that an answer does not need."""
    ws.notebook("claims", "from data_engine import Flow\ndef build():\n    return Flow(group='G').step(len)")
    code = f"""
import sys
from data_engine.cli.app import run
assert run({words}) == 0
print([name for name in ("polars", "psutil", "http.client", "asyncio", "nbformat", "rich.markdown", "rich.traceback") if name in sys.modules], file=sys.stderr)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DATA_ENGINE_WORKSPACE_ROOT": str(ws.root)}
    done = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        for _ in range(2)
    ]

    assert done[1].stderr == "[]\n"
    assert "claims" in done[1].stdout or words[0] == "runs"


def test_the_status_shows_a_reason_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On 120 columns it goes on in further lines."""
    why = Requested("ANNA-PC was asked to run claims " + "and supplier_invoices_of_the_north " * 4 + "at once")
    status = WorkspaceStatus("ws", "/ws", flows=(FlowStatus("claims", state_kind="idle", why=why, mode="poll"),))

    lines = shown_on(120, status_card(status), monkeypatch, capsys)

    assert max(map(len, lines)) <= 120
    assert why.text in " ".join(" ".join(lines).split())
