"""The one line a preview says about itself, and where it says it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from data_engine.engine.memo.caption import PreviewedStep, PreviewSummary, caption, caption_html
from tests.engine.test_in_a_kernel import run_in_kernel
from tests.preview.conftest import Cells
from tests.support import WorkspaceFiles

OLD = {"ran": False, "at_s": 0.0}
CAPTIONS = {
    "a first preview": (
        [PreviewedStep("raw", True, "first preview"), PreviewedStep("clean", True, "first preview")],
        1.25,
        (),
        "preview claims · raw, clean ran: first preview · 1.2 s",
    ),
    "many steps reused": (
        [
            *(PreviewedStep(name, False, at_s=9.0) for name in "abcd"),
            PreviewedStep("e", True, "helper parse_date changed"),
        ],
        0.0142,
        (),
        "preview claims · 4 steps reused (at 9) · e ran: helper parse_date changed · 14 ms",
    ),
    "something not kept": (
        [PreviewedStep("lazy", True, "its code changed", not_kept="LazyFrame")],
        0.002,
        (),
        "preview claims · lazy ran: its code changed · lazy not kept (LazyFrame) · 2 ms",
    ),
    "one file written": (
        [PreviewedStep("out", True, "first preview")],
        0.002,
        (Path("/out/a.parquet"),),
        "preview claims · wrote a.parquet (scratch) · out ran: first preview · 2 ms",
    ),
    "several files written": (
        [PreviewedStep("out", True, "first preview")],
        0.002,
        (Path("/out/a"), Path("/out/b"), Path("/out/c")),
        "preview claims · wrote a and 2 more (scratch) · out ran: first preview · 2 ms",
    ),
    "no steps": ([], 0.0, (), "preview claims · <1 ms"),
}


@pytest.mark.parametrize(("steps", "elapsed_s", "wrote", "line"), CAPTIONS.values(), ids=list(CAPTIONS))
def test_the_line_says_what_was_reused_what_ran_and_why(
    steps: list[PreviewedStep], elapsed_s: float, wrote: tuple[Path, ...], line: str
) -> None:
    report = PreviewSummary("claims", tuple(steps), elapsed_s, wrote)

    assert caption(report, at=lambda at_s: f"at {at_s:.0f}") == line


def test_a_script_reads_it_on_standard_error(cells: Cells, capsys: pytest.CaptureFixture[str]) -> None:
    """What a program prints stays its own."""
    cells.run(
        "from data_engine import Flow\ndef build(): return Flow(group='G', name='f').step(lambda c: 1, label='one')"
    )
    cells.preview()

    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("preview f · one ran: first preview · ")


def test_a_notebook_shows_it_under_the_result(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when cells are run again; an edited cell runs its step and those after it."""
    path = ws.notebook(
        "claims",
        "from data_engine import Flow\nRATE = 2",
        """
        def raw(context):
            return [1, 2]
        def total(context):
            return sum(context.current) * RATE
        def build():
            return Flow(group="G").step(raw, save_as="raw").step(total, save_as="total")
        """,
        "build().preview()",
        "RATE = 3",
        "build().preview()",
        "build().preview(use='raw')\nbuild().preview()",
    )

    texts = run_in_kernel(path, monkeypatch)
    assert texts[2].splitlines()[0] == "6"
    assert texts[2].splitlines()[1].startswith("preview claims · raw, total ran: first preview · ")
    assert texts[4].splitlines()[0] == "9"
    assert texts[4].splitlines()[1].startswith("preview claims · raw reused (")
    assert ") · total ran: constant RATE changed · " in texts[4]
    assert [line.split(" · ")[1].split(" (")[0] for line in texts[5].splitlines()[1:]] == [
        "raw reused",
        "raw, total reused",
    ]


def test_below_a_cell_one_short_line_opens_the_rest_and_what_is_to_be_acted_on_stands_out() -> None:
    """Of ten lines in the same grey nobody reads the one that matters."""
    steps = tuple(
        PreviewedStep(f"a_rather_long_name_{number}", True, f"constant NAME_{number} changed") for number in range(9)
    )
    report = PreviewSummary("claims", steps, 1.0, (Path("/out/a"),), standing=("same code as the deployed flow",))
    well = caption_html(report)
    (summary,) = re.findall("<summary>(.*?)</summary>", well)
    written = caption_html(replace(report, is_in_place=True, outside=(Path("/r/b.csv"),), notes=("a helper is <old>",)))

    assert len(summary) <= 80
    assert summary.startswith("wrote a (scratch) · ")
    assert "same code as the deployed flow" not in summary
    assert "same code as the deployed flow" in well
    assert "▲" not in well
    assert re.findall("▲ (.*?)</div>", written) == [
        "WROTE IN PRODUCTION: a",
        "wrote outside the context&#x27;s folders, for real: /r/b.csv",
        "a helper is &lt;old&gt;",
    ]
