"""The progress line appears after a second of work, for maps and for runs over several sources."""

from __future__ import annotations

from typing import Any

import pytest

from data_engine.engine.progress import ProgressLine
from data_engine.model import RunFinished, RunStarted, StepFinished, StepProgress, StepStarted


class Bar:
    """A bar that remembers what it showed."""

    def __init__(self, label: str, total: int | None) -> None:
        self.desc = label
        self.total = total
        self.n = 0
        self.shown: list[tuple[int, int | None]] = []
        self.is_closed = False

    def refresh(self) -> None:
        self.shown.append((self.n, self.total))

    def set_postfix_str(self, text: str, refresh: bool) -> None:
        self.postfix = text

    def close(self) -> None:
        self.is_closed = True


class Stage:
    """A clock set by hand, and every bar that was made."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.bars: list[Bar] = []

    def line(self, sources: int = 1) -> ProgressLine:
        return ProgressLine(sources, clock=lambda: self.now_s, make_bar=self.make_bar)

    def make_bar(self, label: str, total: int | None) -> Any:
        self.bars.append(Bar(label, total))
        return self.bars[-1]


def progress(done: int) -> StepProgress:
    return StepProgress("r", 0, "Clean", done, 10, 0.0)


def test_nothing_is_drawn_in_the_first_second() -> None:
    stage = Stage()
    line = stage.line()

    line(StepStarted("r", 0, "Clean", 0.0))
    stage.now_s = 0.99
    line(progress(5))

    assert stage.bars == []


def test_a_map_shows_its_items_and_the_bar_goes_with_the_step() -> None:
    stage = Stage()
    line = stage.line()

    line(StepStarted("r", 0, "Clean", 0.0))
    stage.now_s = 1.0
    line(progress(5))
    line(progress(6))
    line(StepFinished("r", 0, "Clean", "success", 0.0, 1.0))

    (bar,) = stage.bars
    assert (bar.desc, bar.shown, bar.is_closed) == ("Clean", [(5, 10), (6, 10)], True)


def test_the_bar_goes_with_the_last_item_where_nobody_tells_of_steps() -> None:
    stage = Stage()
    line = stage.line()

    stage.now_s = 1.0
    line(progress(9))
    line(progress(10))

    assert [bar.is_closed for bar in stage.bars] == [True]


def test_several_sources_are_counted() -> None:
    stage = Stage()
    line = stage.line(sources=3)

    line(RunStarted("r", "f", "g", "/in/a.csv", 0.0))
    stage.now_s = 1.5
    line(RunFinished("r", "success", 0.0, 1.0))
    line(RunStarted("r", "f", "g", "/in/b.csv", 0.0))

    (bar,) = stage.bars
    assert (bar.desc, bar.shown, bar.postfix) == ("sources", [(1, 3), (1, 3)], "b.csv")


def test_without_a_terminal_nothing_is_drawn_and_nothing_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """The real bar is then an empty shell; the work goes on."""
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
