"""The trends of a flow in pictures and words: as a card, and as the panel shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from data_engine.engine.params import value_text
from data_engine.engine.quarantine import RejectedRows
from data_engine.formatting import duration_text, local_time, plural
from data_engine.marks import Mark
from data_engine.model import Run
from data_engine.record import frozen
from data_engine.status.run_comparison import Trend, TrendPoint, Trends
from data_engine.view.card import Card, Note, Pairs, Part, Picture, Section
from data_engine.view.svg import clean

_WIDE, _HIGH, _EDGE = 320, 64, 6


@frozen
class TrendRow:
    """A trend as the panel shows it."""

    name: str
    words: str
    picture: str


@frozen
class TrendsView:
    """All trends of a flow; `said` names their runs."""

    said: str
    rows: tuple[TrendRow, ...]


@frozen
class RejectedView:
    """What checks of a flow reject now, by source; and the trend of each rule over the last runs."""

    sources: tuple[RejectedRows, ...]
    rules: tuple[TrendRow, ...]


def rejected_view(sources: Sequence[RejectedRows], runs: Sequence[Run]) -> RejectedView:
    """The rejected rows of `sources`, with the trend of each rule over those of `runs` (newest first) that checked rows."""
    checked = [run for run in reversed(runs) if run.checks]
    rows = []
    broken = [rule for source in sources for rule in source.rules]
    for rule in dict.fromkeys([*broken, *(check.rule for run in checked[-1:] for check in run.checks)]):
        counts = [(run, sum(c.failed + c.unknown for c in run.checks if c.rule == rule)) for run in checked]
        trend = Trend(rule, "rows", tuple(TrendPoint(run.run_id, run.last_at_utc, bad) for run, bad in counts))
        now = sum(source.rules.get(rule, 0) for source in sources)
        words = f"{plural(now, 'row')} now · over {plural(len(counts), 'run')}"
        rows.append(TrendRow(rule, words, trend_picture(trend) if counts else ""))
    return RejectedView(tuple(sources), tuple(rows))


def trends_view(trends: Trends) -> TrendsView:
    """The trends as the panel shows them."""
    files = short_names([trend.name for trend in trends.trends if trend.of == "output"])
    params = ", ".join(f"{name}={value_text(value)}" for name, value in trends.params.items())
    heading = f"{plural(trends.runs, 'good run')}{f' given {params}' if params else ''}"
    names = [files[trend.name] if trend.of == "output" else trend.name or "whole run" for trend in trends.trends]
    rows = (
        TrendRow(f"{name}: {trend.kind}", " · ".join(_words(trend)), trend_picture(trend))
        for name, trend in zip(names, trends.trends, strict=True)
    )
    return TrendsView(heading, tuple(rows))


def trends_card(trends: Trends) -> Card:
    """The trends as a card, a picture for each; in the card's text the words of each."""
    view = trends_view(trends)
    parts: list[Part] = (
        [] if view.rows else [Note(Mark("nothing to show", "idle", "ring"), "A trend needs two good runs.")]
    )
    parts += [Section(row.name, (Picture(row.picture), Pairs((("", row.words),)))) for row in view.rows]
    return Card(f"{trends.flow}: trends", (view.said,), tuple(parts))


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The shortest end of each path that no other path has: its name, with as many folders as needed.

    Example:
        >>> list(short_names(["/out/2013/sum.parquet", "/out/2014/sum.parquet", r"C:\\out\\days.parquet"]).values())
        ['2013/sum.parquet', '2014/sum.parquet', 'days.parquet']
    """
    parts = {path: re.split(r"[/\\]+", path.rstrip("/\\")) for path in paths}
    names = {}
    for path, own in parts.items():
        others = [other for key, other in parts.items() if key != path]
        tails = (own[-length:] for length in range(1, len(own) + 1))
        names[path] = "/".join(next((tail for tail in tails if all(o[-len(tail) :] != tail for o in others)), own))
    return names


def trend_picture(trend: Trend) -> str:
    """The values from left to right as one SVG element, the last one marked.

    Example:
        >>> points = tuple(TrendPoint(str(n), "2026-01-05T06:30:00+00:00", 100.0 + n) for n in range(3))
        >>> 'aria-label="rows of Read over 3 runs"' in trend_picture(Trend("Read", "rows", points))
        True
    """
    values = [point.value for point in trend.points]
    bottom, top = min(values), max(values)
    if top == bottom:
        top, bottom = top + 1, bottom - 1

    def y(value: float) -> float:
        return _EDGE + (_HIGH - 2 * _EDGE) * (top - value) / (top - bottom)

    def x(number: int) -> float:
        return _EDGE + (_WIDE - 2 * _EDGE) * number / max(len(values) - 1, 1)

    line = " ".join(f"{x(number):.1f},{y(value):.1f}" for number, value in enumerate(values))
    at, last = local_time(trend.points[-1].at_utc)[: len("2026-01-05 06:30")], len(values) - 1
    tip = clean(f"{at}: {_value(trend, values[-1])}")
    label = clean(f"{trend.kind} of {trend.name or 'the whole run'} over {plural(len(values), 'run')}")
    return (
        f'<svg class="de-trend" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" width="{_WIDE}"'
        f' height="{_HIGH}" viewBox="0 0 {_WIDE} {_HIGH}"><desc>{label}</desc>{_STYLE}'
        f'<polyline class="de-ty" points="{line}"/>'
        f'<circle class="de-te" cx="{x(last):.1f}" cy="{y(values[-1]):.1f}" r="4"><title>{tip}</title></circle></svg>'
    )


def _words(trend: Trend) -> Iterator[str]:
    values = [point.value for point in trend.points]
    yield f"last run: {_value(trend, values[-1])}"
    if min(values) == max(values):
        yield "always the same"
    else:
        yield f"lowest {_value(trend, min(values))}"
        yield f"highest {_value(trend, max(values))}"


def _value(trend: Trend, value: float) -> str:
    if trend.kind == "rows":
        return f"{value:,.0f} row{'' if round(value) == 1 else 's'}"
    return duration_text(value)


_STYLE = (
    "<style>"
    ".de-trend{max-width:100%}"
    ".de-trend .de-ty{fill:none;stroke:var(--de-dim,gray);stroke-width:1.5}"
    ".de-trend .de-te{fill:var(--de-fg,currentColor)}"
    "</style>"
)
