"""The trends of a flow in pictures and words: as a card, and as the panel shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

from data_engine.cli.output import count, seconds
from data_engine.engine.run_facts import value_words
from data_engine.engine.trends import Trend, TrendPoint, Trends
from data_engine.engine.unusual import LEAST
from jupyter_extension.card import Card, Note, Pairs, Part, Picture, Section, clean
from jupyter_extension.marks import Mark

_WIDE, _HIGH, _EDGE = 320, 64, 6


@dataclass(frozen=True, slots=True)
class TrendRow:
    """A trend as the panel shows it; `unusual` are the runs of its marks, newest first, with what is said of each."""

    name: str
    words: str
    picture: str
    mark: Mark | None
    unusual: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TrendsView:
    """All trends of a flow; `said` is what they are of."""

    said: str
    rows: tuple[TrendRow, ...]


def trends_view(found: Trends) -> TrendsView:
    """The trends as the panel shows them."""
    return TrendsView(_said(found), tuple(_row(one) for one in found.trends))


def trends_card(found: Trends) -> Card:
    """The trends as a card, a picture for each; in the card's text the words of each."""
    parts: list[Part] = (
        [] if found.trends else [Note(Mark("nothing to show", "idle", "ring"), "A trend needs two good runs.")]
    )
    for row in trends_view(found).rows:
        title = row.mark and Mark(f"{row.name}: {row.mark.word}", row.mark.tone, row.mark.shape)
        inside: list[Part] = [
            Picture(row.picture),
            Pairs((("", row.words), *(("unusual", words) for _, words in row.unusual))),
        ]
        parts.append(Section(title or row.name, tuple(inside)))
    return Card(f"{found.flow}: trends", (_said(found),), tuple(parts))


def trend_picture(trend: Trend) -> str:
    """The values from left to right as one SVG element, what is usual behind them as a band, what is unusual marked.

    Example:
        >>> points = tuple(TrendPoint(str(n), "2026-01-05T06:30:00+00:00", 100.0 + n) for n in range(3))
        >>> 'aria-label="rows of Read over 3 runs"' in trend_picture(Trend("Read", "rows", points))
        True
    """
    values = [point.value for point in trend.points]
    edges = [edge for edge in (trend.low, trend.high) if edge is not None]
    top, bottom = max(*values, *edges, values[0]), min(*values, *edges, values[0])
    if top == bottom:
        top, bottom = top + 1, bottom - 1

    def y(value: float) -> float:
        return _EDGE + (_HIGH - 2 * _EDGE) * (top - value) / (top - bottom)

    def x(number: int) -> float:
        return _EDGE + (_WIDE - 2 * _EDGE) * number / max(len(values) - 1, 1)

    parts = []
    if trend.low is not None and trend.high is not None:
        high = y(trend.low) - y(trend.high)
        parts.append(f'<rect class="de-tb" x="0" y="{y(trend.high):.1f}" width="{_WIDE}" height="{high:.1f}"/>')
    line = " ".join(f"{x(number):.1f},{y(value):.1f}" for number, value in enumerate(values))
    parts.append(f'<polyline class="de-ty" points="{line}"/>')
    for number, point in enumerate(trend.points):
        is_last = number == len(values) - 1
        if point.is_unusual or is_last:
            kind = "de-tu" if point.is_unusual else "de-te"
            tip = clean(_point_words(trend, point))
            parts.append(
                f'<circle class="{kind}" cx="{x(number):.1f}" cy="{y(point.value):.1f}" r="4"><title>{tip}</title></circle>'
            )
    told = clean(f"{_what(trend)} over {count(len(values), 'run')}")
    return (
        f'<svg class="de-trend" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{told}" width="{_WIDE}"'
        f' height="{_HIGH}" viewBox="0 0 {_WIDE} {_HIGH}"><desc>{told}</desc>{_STYLE}{"".join(parts)}</svg>'
    )


def _said(found: Trends) -> str:
    given = ", ".join(f"{name}={value_words(value)}" for name, value in found.params.items())
    wait = f"; from {LEAST} on, what is unusual is marked" if found.runs < LEAST else ""
    return f"{count(found.runs, 'good run')}{f' given {given}' if given else ''}{wait}"


def _row(trend: Trend) -> TrendRow:
    marked = [point for point in reversed(trend.points) if point.is_unusual]
    is_last = trend.points[-1].is_unusual
    mark = Mark("unusual", "warn", "triangle") if is_last else None
    return TrendRow(
        _name(trend),
        " · ".join(_words(trend)),
        trend_picture(trend),
        mark,
        tuple((point.run_id, _point_words(trend, point)) for point in marked),
    )


def _words(trend: Trend) -> Iterator[str]:
    yield f"last {_value(trend, trend.points[-1].value)}"
    if trend.low is not None and trend.high is not None:
        yield f"usual {_value(trend, trend.low)} to {_value(trend, trend.high)}"


def _name(trend: Trend) -> str:
    whole = trend.name or "whole run"
    return f"{PurePath(whole).name if '/' in whole or chr(92) in whole else whole}: {trend.kind}"


def _what(trend: Trend) -> str:
    return f"{trend.kind} of {trend.name or 'the whole run'}"


def _value(trend: Trend, value: float) -> str:
    return f"{value:,.0f} rows" if trend.kind == "rows" else seconds(value)


def _point_words(trend: Trend, point: TrendPoint) -> str:
    at = datetime.fromisoformat(point.at_utc).astimezone().strftime("%Y-%m-%d %H:%M")
    return f"{at}: {_value(trend, point.value)}{', unusual' if point.is_unusual else ''}"


_STYLE = (
    "<style>"
    ".de-trend{max-width:100%}"
    ".de-trend .de-tb{fill:var(--de-line,#ddd);opacity:.4}"
    ".de-trend .de-ty{fill:none;stroke:var(--de-dim,gray);stroke-width:1.5}"
    ".de-trend .de-te{fill:var(--de-fg,currentColor)}"
    ".de-trend .de-tu{fill:var(--de-warn,#b35900);stroke:var(--de-bg,#fff)}"
    "</style>"
)
