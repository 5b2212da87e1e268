"""Runs and steps by time, as pictures: made of plain values, the same picture for the same values.

Where several runs fall on one spot, the worst outcome is the one seen, and the tip counts them all: a failure never hides
behind the runs around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo

from data_engine.formatting import duration_text, plural
from data_engine.marks import mark_of
from data_engine.model import Run, StepRun
from data_engine.status.sentences import first_line
from data_engine.view.svg import clean, fit, shape_svg, width

WIDE = 640
MOST_LANES = 12
_ROW = 24
_SPOT = 14
_LABEL = 180
_BY_WEIGHT = ("failed", "killed", "abandoned", "stopped", "started", "success")
_STEPS_S = (
    1,
    5,
    15,
    30,
    60,
    300,
    900,
    1800,
    3600,
    3 * 3600,
    6 * 3600,
    12 * 3600,
    86400,
    2 * 86400,
    7 * 86400,
    28 * 86400,
)


def runs_picture(runs: Sequence[Run], *, now_s: float, zone: tzinfo | None = None) -> str:
    """Runs by time, a lane for each flow, as one SVG element; the newest `MOST_LANES` flows. Times are those of `zone`.

    Example:
        >>> run = Run("3f", "claims", "Claims", None, "failed", "2026-01-05T06:30:00+00:00", elapsed_s=2.0)
        >>> 'aria-label="1 run by time: 1 failed"' in runs_picture([run], now_s=1767594700)
        True
    """
    newest = sorted(runs, key=lambda run: run.started_at_utc, reverse=True)
    flows = list(dict.fromkeys(run.flow for run in newest))[:MOST_LANES]
    shown = [run for run in newest if run.flow in flows]
    axis = _Axis.over([(_start_s(run), _end_s(run, now_s)) for run in shown], max(map(width, flows), default=0.0), zone)
    parts = list(axis.draw(len(flows)))
    for lane, flow in enumerate(flows):
        y = lane * _ROW + _ROW / 2
        parts.append(_label(flow, y))
        parts.append(f'<path class="de-l" d="M{axis.left:g} {y:g}H{WIDE - _SPOT / 2:g}"/>')
        parts += _lane([run for run in shown if run.flow == flow], axis, y)
    title = f"{plural(len(shown), 'run')} by time: {outcome_text(shown)}"
    return _svg(title, parts, len(flows) * _ROW + 20)


def steps_picture(steps: Sequence[StepRun], *, now_s: float) -> str:
    """The steps of one run by time, as one SVG element: a bar from its start to its end, with its duration.

    Example:
        >>> step = StepRun("3f", 0, "Read", "success", "2026-01-05T06:30:00+00:00", elapsed_s=2.0)
        >>> 'aria-label="1 step by time"' in steps_picture([step], now_s=1767594700)
        True
    """
    spans = [(_start_s(step), _end_s(step, now_s)) for step in steps]
    begin = min((start for start, _ in spans), default=0.0)
    length = max((end for _, end in spans), default=0.0) - begin or 1.0
    left = min(max((width(step.label) for step in steps), default=0.0), _LABEL) + 30
    room = WIDE - left - 110
    parts = []
    for row, (step, (start, end)) in enumerate(zip(steps, spans, strict=True)):
        y = row * _ROW + _ROW / 2
        mark = mark_of(step.status)
        x = left + room * (start - begin) / length
        wide = max(3.0, room * (end - start) / length)
        took = duration_text(end - start if step.status == "started" else step.elapsed_s)
        words = ", ".join(filter(None, (step.status, took)))
        tip = clean(f"{step.label}: {words}{f': {first_line(step.error)}' if step.error else ''}")
        parts.append(shape_svg(mark, 0, y - 6, title=tip) + _label(step.label, y, 20))
        parts.append(
            f'<rect class="de-r de-{mark.tone}" x="{x:.1f}" y="{y - 5:g}" width="{wide:.1f}" height="10" rx="2"><title>{tip}</title></rect>'
            f'<text class="de-d" x="{WIDE}" y="{y + 4:g}">{clean(took if step.status == "success" else words)}</text>'
        )
    return _svg(f"{plural(len(steps), 'step')} by time", parts, max(1, len(steps)) * _ROW)


def outcome_text(runs: Sequence[Run]) -> str:
    """How many runs ended how, the worst first.

    Example:
        >>> run = Run("3f", "claims", "Claims", None, "failed", "2026-01-05T06:30:00+00:00")
        >>> outcome_text([run, run])
        '2 failed'
    """
    statuses = [run.status for run in runs]
    words = [word for word in _BY_WEIGHT if word in statuses]
    others = sorted(set(statuses) - set(_BY_WEIGHT))
    return ", ".join(f"{statuses.count(word):,} {word}" for word in [*words, *others]) or "none"


class _Axis:
    """Where a time lies between `left` and the right edge."""

    def __init__(self, begin_s: float, end_s: float, left: float, zone: tzinfo | None) -> None:
        self.begin_s, self.end_s, self.left, self.zone = begin_s, end_s, left, zone

    @classmethod
    def over(cls, spans: Sequence[tuple[float, float]], label_wide: float, zone: tzinfo | None) -> _Axis:
        begin = min((start for start, _ in spans), default=0.0)
        end = max((end for _, end in spans), default=0.0)
        return cls(begin, max(end, begin + 1), min(label_wide, _LABEL) + 16, zone)

    def x(self, at_s: float) -> float:
        return self.left + _SPOT / 2 + (WIDE - self.left - _SPOT) * (at_s - self.begin_s) / (self.end_s - self.begin_s)

    def draw(self, lanes: int) -> Iterator[str]:
        """The ticks with their times, under the lanes."""
        low = lanes * _ROW
        last = 0.0
        for at_s, words in self.ticks():
            x = self.x(at_s)
            yield f'<path class="de-l" d="M{x:.1f} 2V{low:g}"/>'
            half = width(words, 12) / 2
            middle = min(max(x, self.left + half), WIDE - half)
            if middle - half >= last:
                yield f'<text class="de-a" x="{middle:.1f}" y="{low + 14:g}">{words}</text>'
                last = middle + half + 8

    def ticks(self) -> Iterator[tuple[float, str]]:
        length_s = self.end_s - self.begin_s
        step_s = next(
            (step for step in _STEPS_S if length_s / step <= 6), _STEPS_S[-1] * (1 + int(length_s / _STEPS_S[-1] / 6))
        )
        start = datetime.fromtimestamp(self.begin_s, self.zone).astimezone(self.zone)
        offset_s = (start.utcoffset() or timedelta()).total_seconds()
        at_s = -((-self.begin_s - offset_s) // step_s) * step_s - offset_s
        day = ""
        while at_s <= self.end_s:
            at = datetime.fromtimestamp(at_s, self.zone).astimezone(self.zone)
            form = "" if step_s >= 86400 else "%H:%M" if step_s >= 60 else "%H:%M:%S"
            date = at.strftime("%Y-%m-%d" if not day else "%m-%d")
            yield (
                at_s,
                " ".join(
                    filter(None, [date if at.strftime("%m-%d") != day else "", at.strftime(form) if form else ""])
                ),
            )
            day = at.strftime("%m-%d")
            at_s += step_s


def _lane(runs: Sequence[Run], axis: _Axis, y: float) -> Iterator[str]:
    """The marks of one flow's runs, from left to right; those on one spot are one mark."""
    spots: dict[int, list[Run]] = {}
    weights = {word: number for number, word in enumerate(_BY_WEIGHT)}
    for run in runs:
        spots.setdefault(int(axis.x(_start_s(run)) / _SPOT), []).append(run)
    for spot in sorted(spots):
        group = spots[spot]
        worst = min(group, key=lambda run: (weights.get(run.status, len(weights)), _start_s(run)))
        tip = f"{plural(len(group), 'run')}: {outcome_text(group)}" if len(group) > 1 else _run_text(worst, axis.zone)
        yield shape_svg(mark_of(worst.status), axis.x(_start_s(worst)) - 6, y - 6, title=clean(tip))


def _run_text(run: Run, zone: tzinfo | None) -> str:
    start = datetime.fromisoformat(run.started_at_utc).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    source = "" if run.source is None else f", {run.source.replace(chr(92), '/').rpartition('/')[2]}"
    took = f", {duration_text(run.elapsed_s)}" if run.elapsed_s is not None else ""
    return f"{run.status} {start}{took}{source}{f': {first_line(run.error)}' if run.error else ''}"


def _start_s(run: Run | StepRun) -> float:
    return datetime.fromisoformat(run.started_at_utc).timestamp()


def _end_s(run: Run | StepRun, now_s: float) -> float:
    start = _start_s(run)
    if run.elapsed_s is not None:
        return start + max(0.0, run.elapsed_s)
    return max(start, now_s) if run.status == "started" else start  # nobody knows when an abandoned one ended


def _label(words: str, y: float, x: float = 0) -> str:
    short = fit(words, _LABEL)
    tip = f"<title>{clean(words)}</title>" if short != words else ""
    return f'<text x="{x:g}" y="{y + 4.5:g}">{clean(short)}{tip}</text>'


def _svg(title: str, parts: Sequence[str], high: float) -> str:
    return (
        f'<svg class="de-time" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{clean(title)}"'
        f' width="{WIDE}" height="{high:g}" viewBox="0 0 {WIDE} {high:g}">'
        f"<desc>{clean(title)}</desc>{_PICTURE_STYLE}{''.join(parts)}</svg>"
    )


_PICTURE_STYLE = (
    "<style>"
    ".de-time text{fill:var(--de-fg,currentColor);font:13px var(--de-font,system-ui,sans-serif)}"
    ".de-time .de-d{fill:var(--de-dim,gray);font-size:12px;text-anchor:end}"
    ".de-time .de-a{fill:var(--de-dim,gray);font-size:12px;text-anchor:middle}"
    ".de-time .de-l{stroke:var(--de-line,#ddd);fill:none}"
    ".de-time .de-r{fill:currentColor;opacity:.8}"
    "</style>"
)
