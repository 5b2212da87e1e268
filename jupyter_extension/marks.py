"""How a state looks: a word, a shape and a tone. The word is always there; shape and colour only help the eye."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from data_engine.engine.flow_reasons import Broken, Expected, LastRunFailed, Late, Overlong, Stopping
from data_engine.engine.reasons import (
    Disabled,
    Done,
    Held,
    HeldSlot,
    Locked,
    MayBeOutput,
    NotYet,
    Reason,
    RetryLater,
    Running,
    Settling,
    Unreachable,
    Waiting,
    WaitsForSettling,
    WhyDue,
)
from data_engine.status.record import FlowStatus

Tone: TypeAlias = Literal["good", "bad", "warn", "live", "idle"]
Shape: TypeAlias = Literal["disc", "cross", "square", "diamond", "triangle", "play", "ring", "half", "bar"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A state in words, with its shape and tone; `kind` is the state for programs."""

    word: str
    tone: Tone = "idle"
    shape: Shape = "ring"
    kind: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", self.kind or self.word.replace(" ", "_"))


_LOOKS: dict[str, tuple[Tone, Shape]] = {
    # of a run
    "success": ("good", "disc"),
    "failed": ("bad", "cross"),
    "killed": ("bad", "diamond"),
    "abandoned": ("bad", "triangle"),
    "stopped": ("warn", "square"),
    "started": ("live", "play"),
    # of a flow
    "running": ("live", "play"),
    "stopping": ("warn", "square"),
    "polling": ("good", "half"),
    "scheduled": ("good", "half"),
    "broken": ("bad", "cross"),
    "failing": ("bad", "cross"),
    "unreachable": ("bad", "triangle"),
    "edit has errors": ("warn", "triangle"),
    "module gone": ("warn", "triangle"),
    "disabled": ("warn", "bar"),
    "not deployed": ("warn", "bar"),
    # of a statement, a module, an item
    "taken": ("good", "disc"),
    # of a comparison, a golden
    "equal": ("good", "disc"),
    "holds": ("good", "disc"),
    "updated": ("good", "disc"),
    "differs": ("warn", "triangle"),
    "not compared": ("idle", "ring"),
    "left": ("idle", "ring"),
    "good": ("good", "disc"),
    "deployed": ("good", "disc"),
    "item": ("good", "disc"),
}


def mark_of(word: str, kind: str = "") -> Mark:
    """The mark of a run's status or a flow's state, of this `kind` for programs; words it does not know are idle.

    Example:
        >>> mark_of("failed"), mark_of("engine off").shape
        (Mark(word='failed', tone='bad', shape='cross', kind='failed'), 'ring')
    """
    tone, shape = _LOOKS.get(word, ("idle", "ring"))
    return Mark(word, tone, shape, kind)


def flow_mark(flow: FlowStatus) -> Mark:
    """The mark of what a flow does: one that fails is neither good nor at rest, whatever it does besides.

    Example:
        >>> flow_mark(FlowStatus("claims", state_kind="polling")).tone
        'good'
        >>> flow_mark(FlowStatus("claims", state_kind="polling", held=2)).tone
        'bad'
    """
    mark = mark_of(flow.state, flow.state_kind)
    return replace(mark, tone="bad", shape="cross") if flow.is_failing and mark.tone in ("good", "idle") else mark


def reason_mark(why: Reason, word: str | None = None) -> Mark:
    """The mark of one of `explain`'s reasons, by its kind; `word` stands for its sentence.

    Example:
        >>> reason_mark(Held("2026-01-05T06:30:00+00:00", "failed", "KeyError")).tone, reason_mark(NotYet(None)).tone
        ('bad', 'good')
    """
    tone, shape = _REASONS.get(why.kind, ("idle", "ring"))
    return Mark(why.text if word is None else word, tone, shape, why.kind)


_REASONS: dict[str, tuple[Tone, Shape]] = {
    **{kind.kind: ("live", "play") for kind in (*get_args(WhyDue), Running)},
    **{kind.kind: ("live", "half") for kind in (*get_args(Waiting), Settling, WaitsForSettling, Locked, MayBeOutput)},
    Stopping.kind: ("warn", "square"),
    Done.kind: ("good", "disc"),
    NotYet.kind: ("good", "half"),
    Held.kind: ("bad", "cross"),
    HeldSlot.kind: ("bad", "cross"),
    RetryLater.kind: ("warn", "triangle"),
    Broken.kind: ("bad", "cross"),
    LastRunFailed.kind: ("bad", "cross"),
    Unreachable.kind: ("bad", "triangle"),
    Disabled.kind: ("warn", "bar"),
    Expected.kind: ("good", "half"),
    Late.kind: ("bad", "triangle"),
    Overlong.kind: ("warn", "triangle"),
}


def _drawings() -> dict[Shape, str]:
    """The drawing of each shape. Its home is a module of the panel's that is JSON but for its first two words."""
    module = (Path(__file__).parent / "static" / "shapes.js").read_text(encoding="utf-8")
    found: dict[Shape, str] = json.loads(module.removeprefix("export default "))
    return found


_PATHS = _drawings()


def shape_svg(mark: Mark, x: float = 0, y: float = 0, *, title: str = "") -> str:
    """The mark's shape as a group of 12 by 12 at (x, y) inside a picture; `title` is escaped already."""
    tip = f"<title>{title}</title>" if title else ""
    return f'<g class="de-{mark.tone}" transform="translate({x:g} {y:g})">{tip}{_PATHS[mark.shape]}</g>'


def icon_svg(mark: Mark) -> str:
    """The mark's shape as a picture of its own, for a line of text; the word must stand beside it."""
    return (
        f'<svg class="de-icon de-{mark.tone}" width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">'
        f"{_PATHS[mark.shape]}</svg>"
    )
