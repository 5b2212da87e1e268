"""The progress line appears after a second of work, for maps and for runs over several sources."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from data_engine.engine.result_display import ProgressLine
from data_engine.model import RunFinished, RunStarted, StepFinished, StepProgress, StepStarted


class Stage:
    """A clock set by hand, and a terminal that remembers what was drawn."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.terminal = io.StringIO()

    def line(self, sources: int = 1) -> ProgressLine:
        console = Console(file=self.terminal, force_terminal=True, force_jupyter=False, width=100, color_system=None)
        return ProgressLine(sources, clock=lambda: self.now_s, console=console)

    def drawn(self) -> list[str]:
        """Each line that stood there for a while, without the bar and the time that is left."""
        lines = re.split(r"\x1b\[[?\d;]*[a-zA-Z]|[\r\n]", self.terminal.getvalue())
        texts = (re.sub(r"[━╸╺]|[-\d]+:[-\d:]+", " ", line) for line in lines)
        return list(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))


def progress(done: int) -> StepProgress:
    return StepProgress("r", 0, "Clean", done, 10, 0.0)


def test_nothing_is_drawn_in_the_first_second() -> None:
    stage = Stage()
    line = stage.line()

    line(StepStarted("r", 0, "Clean", 0.0))
    stage.now_s = 0.99
    line(progress(5))

    assert stage.drawn() == []


def test_a_map_shows_its_items_and_the_bar_goes_with_the_step() -> None:
    stage = Stage()
    line = stage.line()

    line(StepStarted("r", 0, "Clean", 0.0))
    stage.now_s = 1.0
    line(progress(5))
    line(progress(6))
    line(StepFinished("r", 0, "Clean", "success", 0.0, 1.0))

    assert stage.drawn() == ["Clean 5/10", "Clean 6/10"]
    assert stage.terminal.getvalue().endswith("\x1b[2K")  # the line is cleared


def test_the_bar_goes_with_the_last_item_where_nobody_tells_of_steps() -> None:
    stage = Stage()
    line = stage.line()

    stage.now_s = 1.0
    line(progress(9))
    line(progress(10))

    assert stage.terminal.getvalue().endswith("\x1b[2K")  # the line is cleared


def test_several_sources_are_counted() -> None:
    stage = Stage()
    line = stage.line(sources=3)

    line(RunStarted("r", "f", "g", "/in/a.csv", 0.0))
    stage.now_s = 1.5
    line(RunFinished("r", "success", 0.0, 1.0))
    stage.now_s = 1.55
    line(RunStarted("r", "f", "g", "/in/b.csv", 0.0))
    stage.now_s = 1.65
    line(RunStarted("r", "f", "g", "/in/c.csv", 0.0))

    assert stage.drawn() == ["sources 1/3", "sources 1/3 c.csv"]  # ten times a second are enough


def test_without_a_terminal_nothing_is_drawn_and_nothing_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """The work goes on."""
    stage = Stage()
    for sources in (1, 2):
        line = ProgressLine(sources, clock=lambda: stage.now_s)
        line(RunStarted("r", "flow", "G", "/in/a.csv", 0.0))
        stage.now_s += 2
        line(StepStarted("r", 0, "Clean", 0.0))
        for done in range(3):
            line(progress(done))
        line(progress(1)._replace(label="Write"))
        line.close()

    assert capsys.readouterr() == ("", "")


def test_the_count_that_stays_is_the_whole_one() -> None:
    """However soon the last source ends after what was drawn."""
    stage = Stage()
    line = stage.line(sources=3)
    stage.now_s = 2.0

    for number in range(3):
        line(RunFinished(str(number), "success", 0.0, 0.0))

    assert stage.drawn() == ["sources 1/3", "sources 3/3"]
