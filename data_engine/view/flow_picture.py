"""A flow as a picture: one line each for its trigger, source, steps, mirror and next run, tied by what passes between them.

The trunk carries each step's result to the next. A step that takes an object by name (`use=`) gets it through a side line
from the step that saved it, and the trunk before it is only dotted: it says the order, and carries nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from data_engine.flow.check import Check
from data_engine.flow.expectation import expectation_text
from data_engine.flow.flow import Flow
from data_engine.flow.object_names import replaced_unasked
from data_engine.flow.report import Report
from data_engine.flow.spec import Collect, Map, StepSpec
from data_engine.flow.trigger import Manual, Poll, Schedule, interval_text
from data_engine.formatting import local_time, zoned_text
from data_engine.marks import Mark, mark_of
from data_engine.notebook.catalog import trigger_text
from data_engine.planning.slots import slot_text, slots_of
from data_engine.reasons.kinds import ByHand
from data_engine.record import frozen
from data_engine.status.record import FlowStatus
from data_engine.status.sentences import short_error
from data_engine.view.card import Card, Cell, Code, Picture
from data_engine.view.svg import clean, fit, shape_svg, width

_ROW = 28
_LANE = 12
_GAP = 20
_LABEL_WIDE = 72
_MOST_STEP, _MOST_LINE, _MOST_NAME = 260, 480, 180
_LOST = " (no step saves it)"


@frozen
class Line:
    """One line of the picture: its node, its words, and what it takes and saves.

    `kind` is "trigger", "source", "step", "each" (a map), "check", "mirror", "next", "last", "error", "times" or
    "expected"; `node` is a step's number or the
    trigger's mode. `uses` is the object a step takes by name, and `origin` the line of the step that saved it: None when no
    step before does. `again` says which step saved under the same name what this one replaces, though it does not take it.
    """

    kind: str
    node: str
    text: str
    detail: str = ""
    saves: str = ""
    uses: str = ""
    origin: int | None = None
    state: Mark | None = None
    again: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether it uses an object that no step saved."""
        return bool(self.uses) and self.origin is None

    @property
    def is_step(self) -> bool:
        """Whether the line is a step's."""
        return self.kind in ("step", "each", "check")


def flow_card(
    flow: Flow,
    *,
    now_s: float,
    live: FlowStatus | None = None,
    zone: str | None = None,
    is_source_there: bool | None = None,
    trouble: str | None = None,
) -> Card:
    """The picture of `flow`; `live` is its entry in the daemon's status, None when no daemon runs.

    The flow is drawn as the notebook has it; what `live` says is production's, and marked so. `zone` is that of the
    workspace, for schedules that name none; a source that is not there is marked, None where that is not known. `trouble` is
    why it cannot be a flow of the workspace.

    Example:
        >>> flow = Flow(group="Claims", name="claims").step(len, save_as="size").step(str, use="size")
        >>> from data_engine.view.text import text
        >>> print(text(flow_card(flow, now_s=0)))
        Claims  claims  manual
        trigger  by hand
        step 1   Len  len              saves size
        step 2   Str  str  takes size
    """
    lines = tuple(lines_of(flow, now_s=now_s, live=live, zone=zone, is_source_there=is_source_there))
    words = "\n".join(_words(lines))
    facts: list[Cell] = []
    if flow.name is not None and flow.name != flow.title:
        facts.append(Code(flow.name))
    if flow.group != flow.title:
        facts.append(f"group {flow.group}")
    facts.append(flow.mode)
    if not flow.steps:
        facts.append(Mark(_NO_STEPS, "warn", "triangle"))
    if live is not None and live.edit:
        facts.append(Mark(live.edit, "warn", "triangle"))
    if trouble is not None:
        facts.append(Mark(trouble, "warn", "triangle"))
    return Card(flow.title, tuple(facts), (Picture(_svg(flow.title, lines, words), words),))


def lines_of(
    flow: Flow,
    *,
    now_s: float,
    live: FlowStatus | None = None,
    zone: str | None = None,
    is_source_there: bool | None = None,
) -> Iterator[Line]:
    """The lines of the picture, from top to bottom."""
    trigger = flow.trigger
    cron = getattr(trigger, "cron", None)
    words = "by hand" if flow.mode == "manual" else trigger_text(flow)
    yield Line("trigger", flow.mode, words, f"cron {cron}" if cron else "")
    first = 1
    if trigger is not None and trigger.source is not None:
        lost = Mark("does not exist", "bad", "cross") if is_source_there is False else None
        yield Line("source", "", trigger.source_as_authored or str(trigger.source), _source_text(trigger), state=lost)
        first = 2
    saved: dict[str, int] = {}
    replaced = replaced_unasked(flow.steps)
    for number, step in enumerate(flow.steps):
        use = step.use if step.use is not None and step.use != "current" else ""
        kind = "each" if isinstance(step.fn, Map) else "check" if isinstance(step.fn, Check) else "step"
        again = f"step {replaced[number] + 1} saves it too" if number in replaced else ""
        words, saves = _step_text(step), step.save_as or ""
        yield Line(kind, str(number + 1), step.label, words, saves, use, saved.get(use), again=again)
        if step.save_as:
            saved[step.save_as] = first + number
    if flow.mirror_spec is not None:
        words = "mirror, staged" if flow.mirror_spec.staged else "mirror"
        yield Line("mirror", "", flow.mirror_spec.root_as_authored, words)
    yield from _next_lines(flow, now_s, live, zone)
    if isinstance(trigger, Schedule) and trigger.cron_lines:
        slots = slots_of(trigger, zone)
        yield Line("times", "", slot_text(slots.upcoming(now_s), slots.zone))
    yield from _expected_lines(flow, live)


def _expected_lines(flow: Flow, live: FlowStatus | None) -> Iterator[Line]:
    if flow.expectations:
        stands = None if live is None or live.expected is None else live.expected.mark()
        words = "" if stands is None else _PRODUCTION
        yield Line("expected", "", expectation_text(flow.expectations), words, state=stands)


def _source_text(trigger: Manual | Poll | Schedule) -> str:
    parts = [", ".join(trigger.extensions)] if trigger.extensions else []
    if trigger.run_as == "batch":
        parts.append("one run for the folder")
    elif trigger.max_parallel > 1:
        parts.append(f"{trigger.max_parallel} files at once")
    return ", ".join(parts)


def _step_text(step: StepSpec) -> str:
    if isinstance(step.fn, Collect):
        root = "" if step.fn.root is None else f" in {step.fn.root.text}"
        return f"{', '.join(step.fn.extensions)}{root}"
    if isinstance(step.fn, Map):
        at_once = f", {step.fn.max_parallel} at once" if step.fn.max_parallel else ""
        return f"{step.function_name}, each item{at_once}"
    if isinstance(step.fn, (Check, Report)):
        return step.fn.words
    return step.function_name if step.function_name != "<lambda>" else ""


def _next_lines(flow: Flow, now_s: float, live: FlowStatus | None, zone: str | None) -> Iterator[Line]:
    trigger = flow.trigger or Manual()
    if live is None:
        if not isinstance(trigger, Manual):  # its trigger says that it runs by hand
            yield Line("next", "", _next_without_daemon(trigger, now_s, zone))
        return
    if live.deployment_status.kind == "not_deployed":  # production knows nothing of it
        words = "by hand, once it is deployed" if isinstance(trigger, Manual) else "once it is deployed"
        yield Line("next", "", words, state=mark_of("not deployed"))
        return
    if live.next_run_utc:
        words = zoned_text(live.next_run_utc, live.tz)
    elif live.state_kind in ("running", "stopping"):
        words = f"{live.state} now"
    else:
        words = live.reason or _WAITS.get(live.mode, "")
    if not isinstance(live.why, ByHand):
        yield Line("next", "", words, _PRODUCTION, state=None if live.state_kind == "manual" else live.mark)
    last = live.last_run
    if last is not None:
        yield Line("last", "", local_time(last.started_at_utc), _PRODUCTION, state=mark_of(last.status))
        if last.error:
            yield Line("error", "", short_error(last.error, last.why), _PRODUCTION)


_NO_STEPS = "no steps yet: add .step(...)"
_PRODUCTION = "in production"
_OF_RUNS = ("next", "last", "error", "times", "expected")
_WAITS = {"manual": "by hand", "poll": "when a file is new or changed", "schedule": "at its next time"}


def _next_without_daemon(trigger: Poll | Schedule, now_s: float, zone: str | None) -> str:
    if isinstance(trigger, Poll):
        return "when a file is new or changed, once it is deployed and the engine is on"
    if trigger.interval is not None:
        return f"{interval_text(trigger.interval)} after the engine was started, once it is deployed"
    slots = slots_of(trigger, zone)
    slot_s = slots.next(now_s)
    if slot_s is None:
        return "no further time"
    return f"{slot_text([slot_s], slots.zone)}, if it is deployed and the engine is on by then"


_NAMES = {
    "trigger": "trigger",
    "source": "source",
    "mirror": "mirror",
    "next": "next run",
    "last": "last run",
    "error": "last error",
    "times": "next times",
    "expected": "expected",
}


def _words(lines: Sequence[Line]) -> list[str]:
    """The picture in words, in columns."""
    rows = []
    for line in lines:
        lost = " (no step before saves it)" if line.is_lost else ""
        rows.append(
            (
                _NAMES.get(line.kind) or f"step {line.node}",
                " ".join(line.text.split()),
                ""
                if line.kind == "mirror"
                else ", ".join(filter(None, [line.state.word if line.state else "", " ".join(line.detail.split())])),
                f"takes {line.uses}{lost}" if line.uses else "",
                f"saves {line.saves}{f' ({line.again})' if line.again else ''}" if line.saves else "",
            )
        )
    columned = [row for row in rows if any(row[2:])] or rows[:1]
    widths = [max(len(row[0]) for row in rows), *(max(len(row[n]) for row in columned) for n in range(1, 5))]
    return [
        "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True) if wide).rstrip() for row in rows
    ]


# -- the picture ---------------------------------------------------------------------------------------------------


@frozen
class _Words:
    """A line's words, cut to fit, and about how wide they are."""

    text: str
    text_wide: float
    detail: str
    detail_wide: float
    uses: str
    uses_wide: float
    saves: str

    @classmethod
    def of(cls, line: Line) -> _Words:
        most = _MOST_STEP if line.is_step else _MOST_LINE
        text = fit(line.text, most)
        detail, uses = fit(line.detail, _MOST_STEP, 12), fit(line.uses, _MOST_NAME, 12, is_mono=True)
        lost = width(_LOST, 12) if line.is_lost else 0.0
        return cls(
            text,
            width(text) * (1.08 if line.is_step else 1),
            detail,
            width(detail, 12),
            uses,
            width("takes ", 12) + width(uses, 12, is_mono=True) + lost if uses else 0.0,
            fit(line.saves, _MOST_NAME, 12, is_mono=True),
        )


def _svg(title: str, lines: Sequence[Line], words: str) -> str:
    lanes = side_lanes(lines)
    trunk = 10 + (8 + _LANE * len(set(lanes.values())) if lanes else 0)
    left = trunk + _GAP
    shown = [_Words.of(line) for line in lines]
    steps = [words for line, words in zip(lines, shown, strict=True) if line.is_step]
    columns: list[float] = [left]
    for part in ("text", "detail", "uses"):
        widest = max((getattr(texts, f"{part}_wide") for texts in steps), default=0.0)
        columns.append(columns[-1] + widest + (_GAP if widest else 0))
    ends, parts = [left + 100.0], []
    for row, (line, texts) in enumerate(zip(lines, shown, strict=True)):
        y = row * _ROW + _ROW / 2
        parts.append(_node(line, trunk, y))
        x: float = left
        if line.kind in _OF_RUNS:
            parts.append(_text(x, y, _NAMES[line.kind], "de-d"))
            x += _LABEL_WIDE
        parts.append(_text(x, y, texts.text, "de-h" if line.is_step else "", line.text))
        x += texts.text_wide + _GAP
        if line.state is not None:
            parts.append(shape_svg(line.state, x - 8, y - 6) + _text(x + 10, y, line.state.word, "de-d"))
            x += 10 + width(line.state.word, 12) + _GAP
        if texts.detail:
            x = columns[1] if line.is_step else x
            parts.append(_text(x, y, texts.detail, "de-d", line.detail))
            x += texts.detail_wide + _GAP
        if texts.uses:
            x = columns[2]
            parts.append(_uses(x, y, texts.uses, line))
            x += texts.uses_wide + _GAP
        if texts.saves:
            x = columns[3]
            parts.append(_chip(x, y, texts.saves, line.saves))
            x += _chip_wide(texts.saves) + _GAP
        if line.again:
            parts.append(_text(x - 12, y, line.again, "de-d de-b"))
            x += width(line.again, 12) + _GAP - 12
        ends.append(x - _GAP)
    wide, high = round(max(ends) + 6), len(lines) * _ROW
    return (
        f'<svg class="de-flow" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{clean(f"Flow {title}")}"'
        f' width="{wide}" height="{high}" viewBox="0 0 {wide} {high}">'
        f"<desc>{clean(words)}</desc>{_PICTURE_STYLE}"
        f"{''.join(_trunk(lines, trunk))}{''.join(_sides(lines, lanes, trunk))}{''.join(parts)}</svg>"
    )


_PICTURE_STYLE = (
    "<style>"
    ".de-flow text{fill:var(--de-fg,currentColor);font:13px var(--de-font,system-ui,sans-serif)}"
    ".de-flow .de-h{font-weight:600}"
    ".de-flow .de-d{fill:var(--de-dim,gray);font-size:12px}.de-flow .de-b{fill:var(--de-bad,#c00)}"
    ".de-flow .de-n{font-size:12px;text-anchor:middle}"
    ".de-flow .de-c{font:12px var(--de-mono,monospace);fill:var(--de-accent,#1976d2)}"
    ".de-flow .de-t{stroke:var(--de-dim,gray);stroke-width:1.4;fill:none}"
    ".de-flow .de-o{stroke-dasharray:1 4;stroke-linecap:round}"
    ".de-flow .de-u{stroke:var(--de-accent,#1976d2);stroke-width:1.4;fill:none}"
    ".de-flow .de-k{stroke:var(--de-dim,gray);stroke-width:1.4;fill:var(--de-back,none);stroke-linejoin:round}"
    ".de-flow .de-s{stroke:var(--de-accent,#1976d2);stroke-width:1;fill:none;opacity:.55}"
    "</style>"
)


def side_lanes(lines: Sequence[Line]) -> dict[int, int]:
    """For each line whose object is taken past the next step: which lane its side line runs in, 0 nearest to the trunk.

    Lines that meet at a node do not share a lane, or one object would look like another.
    """
    spans: dict[int, int] = {}
    for row, line in enumerate(lines):
        if line.origin is not None and line.origin != row - 1:
            spans[line.origin] = row
    lanes: dict[int, int] = {}
    for start, end in sorted(spans.items(), key=lambda span: (span[1] - span[0], span[0])):
        taken = {lanes[other] for other in lanes if other <= end and spans[other] >= start}
        lanes[start] = next(lane for lane in range(len(spans)) if lane not in taken)
    return lanes


def _trunk(lines: Sequence[Line], x: float) -> Iterator[str]:
    rows = [row for row, line in enumerate(lines) if line.kind not in _OF_RUNS]
    for above, below in pairwise(rows):
        line = lines[below]
        is_fed = line.is_step and not line.is_lost and line.origin in (None, above)
        carries = is_fed and lines[above].kind != "trigger"
        kind = "de-t" if carries else "de-t de-o"
        y1, y2 = above * _ROW + _ROW / 2 + 9, below * _ROW + _ROW / 2 - 9
        yield f'<path class="{kind}" d="M{x:g} {y1:g}V{y2:g}"/>'


def _sides(lines: Sequence[Line], lanes: dict[int, int], trunk: float) -> Iterator[str]:
    for row, line in enumerate(lines):
        if line.origin is None or line.origin == row - 1:
            continue
        x = trunk - 20 - _LANE * lanes[line.origin]
        y1, y2 = line.origin * _ROW + _ROW / 2 + 4, row * _ROW + _ROW / 2 - 4
        edge = trunk - 8.5
        yield (
            f'<path class="de-u" d="M{edge:g} {y1:g}H{x + 5:g}Q{x:g} {y1:g} {x:g} {y1 + 5:g}V{y2 - 5:g}'
            f'Q{x:g} {y2:g} {x + 5:g} {y2:g}H{edge:g}m-3.5 -3l3.5 3l-3.5 3"/>'
        )


def _text(x: float, y: float, words: str, kind: str, whole: str = "") -> str:
    tip = f"<title>{clean(whole)}</title>" if whole and words != " ".join(whole.split()) else ""
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:g}" y="{y + 4.5:g}">{clean(words)}{tip}</text>'


def _uses(x: float, y: float, name: str, line: Line) -> str:
    lost = f'<tspan class="de-b">{_LOST}</tspan>' if line.is_lost else ""
    tone = "de-c de-b" if line.is_lost else "de-c"
    return (
        f'<text class="de-d" x="{x:g}" y="{y + 4.5:g}">takes <tspan class="{tone}">{clean(name)}</tspan>{lost}</text>'
    )


def _chip_wide(name: str) -> float:
    return width(name, 12, is_mono=True) + 14


def _chip(x: float, y: float, name: str, whole: str) -> str:
    return f'<rect class="de-s" x="{x:g}" y="{y - 9.5:g}" width="{_chip_wide(name):g}" height="19" rx="9.5"/>' + _text(
        x + 7, y - 0.5, name, "de-c", whole
    )


def _node(line: Line, x: float, y: float) -> str:
    if line.kind in _OF_RUNS:
        return ""
    if line.is_step:
        shape = f'<circle class="de-k" cx="{x:g}" cy="{y:g}" r="8.5"/>'
        if line.kind == "each":
            shape = f'<circle class="de-k" cx="{x + 3:g}" cy="{y:g}" r="8.5"/>{shape}'
        elif line.kind == "check":
            shape = f'<rect class="de-k" x="{x - 8:g}" y="{y - 8:g}" width="16" height="16" rx="3"/>'
        return f'{shape}<text class="de-n" x="{x:g}" y="{y + 4:g}">{line.node}</text>'
    return f'<g class="de-k" transform="translate({x - 8:g} {y - 8:g})">{_ICONS[line.node if line.kind == "trigger" else line.kind]}</g>'


_FOLDER = '<path d="M1.5 13V3.5h4.5l1.5 2h7V13z"/>'
_ICONS = {
    "manual": '<path d="M4.5 2.5l8 5.5l-8 5.5z"/>',
    "poll": '<path d="M.8 8Q8 0 15.2 8Q8 16 .8 8z"/><circle cx="8" cy="8" r="2.2"/>',
    "schedule": '<circle cx="8" cy="8" r="6.8"/><path d="M8 4v4l2.8 1.8" fill="none"/>',
    "source": _FOLDER,
    "mirror": f'{_FOLDER}<path d="M8 7.2v3.6m-1.8 -1.8l1.8 1.8l1.8 -1.8" fill="none"/>',
}
