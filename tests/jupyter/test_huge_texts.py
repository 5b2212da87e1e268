"""One huge text in a value or an error: what a notebook keeps of it is bounded, and says what was cut."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from data_engine import Workspace
from data_engine.compare.comparing import compare
from data_engine.compare.comparing import words as words_of
from data_engine.display_hook import Listing
from data_engine.engine.memo.caption import PreviewedStep, PreviewSummary, caption
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.flow.batch import Batch, ItemError
from data_engine.flow.context import FlowContext
from data_engine.formatting import MOST_CELL, MOST_TEXT
from data_engine.marks import Mark
from data_engine.model import Run, RunTrigger
from data_engine.view.card import Card, Code, Lines, Link, Marked, Note, Pairs, table
from data_engine.view.differences import difference_card, marked
from data_engine.view.results import short_text
from data_engine.view.svg import fit
from data_engine.view.text import text
from jupyter_extension.display import bundle
from jupyter_extension.html import html
from tests.support import WorkspaceFiles

HUGE = 50_000_000
A_MEGABYTE = 1_000_000
LEFT_OUT = "left out"

CELLS = (
    "%load_ext data_engine",
    """
    import polars as pl
    from data_engine import Flow, Workspace

    LONG = "x" * 5_000_000
    """,
    """
    def long_text(context):
        return LONG + " the end"

    def listed(context):
        return [1, {"long": LONG}]

    def binary(context):
        return LONG.encode()

    def framed(context):
        return pl.DataFrame({"id": [1, 2], "note": [LONG, "short"]})

    def failing(item):
        raise ValueError(LONG + " the cause")

    def raises(context):
        failing(1)
    """,
    """
    def build():
        return (
            Flow(group="G")
            .step(long_text, save_as="text")
            .step(listed, save_as="listed")
            .step(binary, save_as="binary")
            .step(framed, save_as="framed")
            .step(lambda context: [1, 2])
            .map(failing, on_error="collect", save_as="items")
            .step(raises)
        )
    """,
)
EDITS = """
def long_text(context):
    return LONG + " another end"

def framed(context):
    return pl.DataFrame({"id": [1, 2], "note": [LONG + "y", "short"]})
"""
SHOWN = {
    "build().preview(use='text')": LEFT_OUT,
    "build().preview(use='listed')": LEFT_OUT,
    "build().preview(use='binary')": LEFT_OUT,
    "build().preview(use='framed')": "short",
    "build().preview(use='items')": LEFT_OUT,
    "(build().preview(use='items'), 3)": LEFT_OUT,
    "build().preview()": LEFT_OUT,
    "build().preview(use=LONG)": LEFT_OUT,
    "Flow(group='G').step(long_text).preview()": LEFT_OUT,
    "build().run_once(on_error='continue')": "ValueError",
    "Workspace.current().runs()": "ValueError",
    "Workspace.current().log(Workspace.current().runs()[0].run_id)": LEFT_OUT,
    "Workspace.current().explain('claims')": "claims",
    "%flow preview --use text": LEFT_OUT,
    EDITS: "",
    "build().preview(use='text', against='deployed')": "differs",
    "build().preview(use='framed', against='deployed', key='id')": "1 row",
}


def test_a_notebook_stays_small_whatever_it_shows(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a real kernel: of each cell's outputs all that is kept, with the word that something was left out."""
    import nbformat
    from nbclient import NotebookClient

    path = ws.notebook("claims", *CELLS)
    Workspace(ws.root).deploy("claims")
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    notebook = nbformat.read(path, as_version=4)
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in SHOWN]
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=120, allow_errors=True, resources=resources, kernel_name="python3").execute()

    shown = {cell.source: json.dumps(cell.outputs) for cell in notebook.cells[len(CELLS) :]}
    assert {source: len(outputs) for source, outputs in shown.items() if len(outputs) > A_MEGABYTE} == {}
    assert {source: outputs[:2000] for source, outputs in shown.items() if SHOWN[source] not in outputs} == {}
    widgets = json.dumps(notebook.metadata.get("widgets", {}))
    assert len(widgets) < A_MEGABYTE


def test_another_cell_shows_values_as_ever(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is bounded is the display of that object in that cell, and small ones look as IPython draws them."""
    from tests.engine.test_in_a_kernel import run_in_kernel

    path = ws.notebook(
        "claims",
        "from data_engine import Flow\nnested = {'b': [1, (2, 3)], 'a': {'x' * 30: 'y' * 60}}",
        "def build(): return Flow(group='G').step(lambda context: 'z' * 300_000, save_as='z').step(lambda context: nested)",
        "kept = build().preview(use='z')\nkept",
        "len(repr(kept)), len(get_ipython().display_formatter.format(kept)[0]['text/plain'])",
        "build().preview()",
        "nested",
    )

    texts = run_in_kernel(path, monkeypatch)

    assert LEFT_OUT in texts[2]
    assert texts[3] == "(300002, 300002)"
    assert texts[4].split("\npreview ")[0] == texts[5]


HUGE_TEXT = "x" * HUGE
CARDS = {
    "a title": Card(HUGE_TEXT[: 10 * A_MEGABYTE]),
    "facts": Card("t", (HUGE_TEXT, Code("a", HUGE_TEXT), Mark(HUGE_TEXT), Link(HUGE_TEXT, "#"))),
    "a cell": Card("t", parts=(table(("a", "b"), [(HUGE_TEXT, Marked(((HUGE_TEXT, True), ("b", False))))]),)),
    "a note": Card("t", parts=(Note(Mark(HUGE_TEXT, "bad", "cross"), HUGE_TEXT),)),
    "a line": Card("t", parts=(Lines((HUGE_TEXT, "b")),)),
    "lines": Card("t", parts=(Lines(("x" * 50,) * A_MEGABYTE),)),
    "pairs": Card("t", parts=(Pairs((("fix", HUGE_TEXT),)),)),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_bounded(name: str) -> None:
    """As HTML, with its tips, and as text."""
    card = CARDS[name]

    assert len(html(card)) < 400_000
    assert len(text(card)) < 400_000
    assert LEFT_OUT in html(card)


def test_what_a_card_cuts_is_counted_and_its_end_is_there() -> None:
    """An error says at its end what it is; of lines those that follow are counted."""
    shown = html(Card("t", parts=(Pairs((("what", HUGE_TEXT + " the cause"),)), Lines(("x" * 99,) * 10_000))))

    assert f"{HUGE - MOST_CELL + 10 + 45:,} characters are left out" in shown
    assert "the cause" in shown
    assert "8,000 more lines are left out" in shown


def test_a_text_of_usual_length_is_whole() -> None:
    """A cell of a few hundred letters, a function of a hundred lines."""
    lines = tuple(f"    total += rates[{number}]" for number in range(300))
    shown = html(Card("t", parts=(table(("a",), [("y" * 900,)]), Lines(lines))))

    assert "y" * 900 in shown
    assert lines[-1].strip() in shown
    assert LEFT_OUT not in shown


def test_values_in_a_few_words_cost_nothing() -> None:
    """Of bytes, texts and what holds them."""
    values: list[Any] = [HUGE_TEXT, HUGE_TEXT.encode(), [HUGE_TEXT], {"a": HUGE_TEXT.encode()}, " " * HUGE]

    assert all(len(short_text(value)) <= 80 for value in values)
    assert short_text(HUGE_TEXT.encode()) == "bytes of 50,000,000"
    assert len(words_of(HUGE_TEXT)) == 60
    assert words_of("a" * 58) == repr("a" * 58)


def test_a_long_label_is_cut_to_its_room_at_once() -> None:
    assert fit(HUGE_TEXT, 100).endswith("…")
    assert len(fit("i" * HUGE, 100)) < 40


@pytest.mark.timeout(20)
def test_what_differs_of_long_texts_is_found_at_once() -> None:
    """Not letter by letter: two texts of fifty million letters that differ in one."""
    half = "x" * (HUGE // 2)

    before, after = marked(f"{half}a{half}", f"{half}b{half}")

    assert (before.text, after.text) == ("…xxxxxxxxxxxx[a]xxxxxxxxxxxx…", "…xxxxxxxxxxxx[b]xxxxxxxxxxxx…")


def test_the_samples_of_a_difference_are_bounded() -> None:
    """Added, removed and changed rows."""
    before = pl.DataFrame({"id": [1, 2], "note": [HUGE_TEXT, HUGE_TEXT]})
    after = pl.DataFrame({"id": [1, 3], "note": [HUGE_TEXT + "y", HUGE_TEXT]})

    card = difference_card(compare(before, after, key="id"), samples=True)

    assert len(html(card)) < 100_000
    assert len(text(card)) < 100_000


def test_an_error_keeps_both_ends_of_its_texts() -> None:
    """Whoever raises it: what, where and the fix; and the words around what the code raised."""
    error = FlowValidationError(HUGE_TEXT + " the end", where=HUGE_TEXT, fix=HUGE_TEXT)
    raised = FlowExecutionError(
        flow_name="claims", phase="step", detail=f"ValueError: {HUGE_TEXT} the cause", step_label="Read"
    )

    assert len(str(error)) < 4 * MOST_TEXT
    assert error.what.endswith(" the end")
    assert raised.what.startswith('Flow "claims" failed in step "Read": ValueError: xxx')
    assert raised.what.endswith(" the cause")
    assert raised.what.count(LEFT_OUT) == 1
    shown = bundle(raised) or {}
    assert sum(map(len, shown.values())) < 200_000


def test_our_values_inside_others_are_bounded() -> None:
    """IPython shows a tuple of them by their own texts."""
    from IPython.lib.pretty import pretty

    context = FlowContext(flow_name="claims", group="G", current=HUGE_TEXT)
    batch = Batch((HUGE_TEXT, ItemError("b.csv", ValueError(HUGE_TEXT))))

    for value in ((context, 1), [batch], batch, Listing([context])):
        assert len(pretty(value)) < 5 * MOST_TEXT
        assert len(html_of(value)) < A_MEGABYTE


def html_of(value: Any) -> str:
    return str((bundle(value) or {}).get("text/html", ""))


def test_runs_with_long_params_are_bounded() -> None:
    """Twenty rows of the longest params that are recorded, and an error."""
    run = Run(
        "3f",
        "claims",
        "G",
        None,
        "failed",
        "2026-01-05T06:30:00+00:00",
        trigger=RunTrigger("hand", None),
        params={"rows": "x" * 19_000},
        error="x" * 100_000 + "\nthe cause",
    )

    shown = bundle(Listing([run] * 20)) or {}

    assert sum(map(len, shown.values())) < 400_000


def test_a_caption_is_a_line_whatever_its_notes_say() -> None:
    report = PreviewSummary("claims", (PreviewedStep("raw", ran=True, why=HUGE_TEXT),), 0.01)

    assert len(caption(report)) <= MOST_CELL
