"""The trends of a flow in pictures and words: as a card, and as the panel shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data_engine.counted import counted
from data_engine.engine.params import value_words
from data_engine.marks import Mark
from data_engine.status.trends import LEAST, Trend, TrendPoint, Trends
from data_engine.times import local_time, seconds
from jupyter_extension.card import Card, Note, Pairs, Part, Picture, Section, clean

MOST_TOLD = 5
"""The unusual runs of a trend that are told; the others are marked in its picture, and counted."""

_WIDE, _HIGH, _EDGE = 320, 64, 6
_FAR = 100


@dataclass(frozen=True, slots=True)
class TrendRow:
    """A trend as the panel shows it; `unusual` are the newest runs of its marks with what is said of each, `more` counts the others."""

    name: str
    words: str
    picture: str
    mark: Mark | None
    unusual: tuple[tuple[str, str], ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class TrendsView:
    """All trends of a flow; `said` is what they are of."""

    said: str
    rows: tuple[TrendRow, ...]


def trends_view(found: Trends) -> TrendsView:
    """The trends as the panel shows them."""
    files = short_names([one.name for one in found.trends if one.of == "output"])
    return TrendsView(_said(found), tuple(_row(one, files, found.runs) for one in found.trends))


def trends_card(found: Trends) -> Card:
    """The trends as a card, a picture for each; in the card's text the words of each."""
    view = trends_view(found)
    parts: list[Part] = (
        [] if view.rows else [Note(Mark("nothing to show", "idle", "ring"), "A trend needs two good runs.")]
    )
    for row in view.rows:
        title = row.mark and Mark(f"{row.name}: {row.mark.word}", row.mark.tone, row.mark.shape)
        told = [("unusual", words) for _, words in row.unusual]
        more = [("", f"and {row.more} more")] if row.more else []
        inside: list[Part] = [Picture(row.picture), Pairs((("", row.words), *told, *more))]
        parts.append(Section(title or row.name, tuple(inside)))
    return Card(f"{found.flow}: trends", (view.said,), tuple(parts))


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Each path with the end of it that no other one has: its name, and as many of its folders as it takes.

    Example:
        >>> list(short_names(["/out/2013/sum.parquet", "/out/2014/sum.parquet", r"C:\\out\\days.parquet"]).values())
        ['2013/sum.parquet', '2014/sum.parquet', 'days.parquet']
    """
    parts = {path: re.split(r"[/\\]+", path.rstrip("/\\")) for path in paths}
    names = {}
    for path, own in parts.items():
        others = [other for one, other in parts.items() if one != path]
        tails = (own[-length:] for length in range(1, len(own) + 1))
        names[path] = "/".join(next((tail for tail in tails if all(o[-len(tail) :] != tail for o in others)), own))
    return names


def trend_picture(trend: Trend) -> str:
    """The values from left to right as one SVG element, what is usual behind them as a band, what is unusual marked.

    Example:
        >>> points = tuple(TrendPoint(str(n), "2026-01-05T06:30:00+00:00", 100.0 + n) for n in range(3))
        >>> 'aria-label="rows of Read over 3 runs"' in trend_picture(Trend("Read", "rows", points))
        True
    """
    values = [point.value for point in trend.points]
    bottom, top = min(values), max(values)
    room = (top - bottom) or 1.0
    band: tuple[float, float] | None = None
    if trend.low is not None and trend.high is not None:
        band = max(trend.low, bottom - room), min(trend.high, top + room)  # far limits must not make the line flat
        bottom, top = min(bottom, band[0]), max(top, band[1])
    if top == bottom:
        top, bottom = top + 1, bottom - 1

    def y(value: float) -> float:
        return _EDGE + (_HIGH - 2 * _EDGE) * (top - value) / (top - bottom)

    def x(number: int) -> float:
        return _EDGE + (_WIDE - 2 * _EDGE) * number / max(len(values) - 1, 1)

    parts = []
    if band is not None:
        high = max(y(band[0]) - y(band[1]), 0.0)
        parts.append(f'<rect class="de-tb" x="0" y="{y(band[1]):.1f}" width="{_WIDE}" height="{high:.1f}"/>')
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
    told = clean(f"{_what(trend)} over {counted(len(values), 'run')}")
    return (
        f'<svg class="de-trend" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{told}" width="{_WIDE}"'
        f' height="{_HIGH}" viewBox="0 0 {_WIDE} {_HIGH}"><desc>{told}</desc>{_STYLE}{"".join(parts)}</svg>'
    )


def _said(found: Trends) -> str:
    given = ", ".join(f"{name}={value_words(value)}" for name, value in found.params.items())
    wait = f"; after {LEAST}, what is unusual is marked" if found.runs <= LEAST else ""
    return f"{counted(found.runs, 'good run')}{f' given {given}' if given else ''}{wait}"


def _row(trend: Trend, files: dict[str, str], runs: int) -> TrendRow:
    marked = [point for point in reversed(trend.points) if point.is_unusual]
    mark = Mark("unusual", "warn", "triangle") if trend.points[-1].is_unusual else None
    return TrendRow(
        f"{files[trend.name] if trend.of == 'output' else trend.name or 'whole run'}: {trend.kind}",
        " · ".join(_words(trend, runs)),
        trend_picture(trend),
        mark,
        tuple((point.run_id, _point_words(trend, point)) for point in marked[:MOST_TOLD]),
        len(marked[MOST_TOLD:]),
    )


def _words(trend: Trend, runs: int) -> Iterator[str]:
    values = [point.value for point in trend.points]
    yield f"last run: {_value(trend, values[-1])}"
    if min(values) == max(values):
        yield "always the same"
    else:
        yield f"lowest {_value(trend, min(values))}"
        yield f"highest {_value(trend, max(values))}"
    if trend.low is not None and trend.high is not None:
        is_far = trend.high > _FAR * max(1.0, *(point.value for point in trend.points))
        yield f"usual {_value(trend, trend.low)} {'or more' if is_far else f'to {_value(trend, trend.high)}'}"
    elif runs > LEAST:
        yield f"{counted(len(trend.points), 'value')}, too few to say what is usual"


def _what(trend: Trend) -> str:
    return f"{trend.kind} of {trend.name or 'the whole run'}"


def _value(trend: Trend, value: float) -> str:
    if trend.kind == "rows":
        return f"{value:,.0f} row{'' if round(value) == 1 else 's'}"
    return f"{value * 1000:.0f} ms" if value < 1 else seconds(value)


def _point_words(trend: Trend, point: TrendPoint) -> str:
    at = local_time(point.at_utc)[: len("2026-01-05 06:30")]
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
