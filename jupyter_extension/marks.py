"""How a state looks: a word, a shape and a tone. The word is always there; shape and colour only help the eye."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from data_engine.engine.flow_reasons import Broken
from data_engine.engine.reasons import (
    Disabled,
    Done,
    Held,
    HeldSlot,
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
    "polling": ("good", "half"),
    "scheduled": ("good", "half"),
    "broken": ("bad", "cross"),
    "disabled": ("warn", "bar"),
    # of a statement, a module, an item
    "taken": ("good", "disc"),
    "left": ("idle", "ring"),
    "good": ("good", "disc"),
    "deployed": ("good", "disc"),
    "not deployed": ("bad", "cross"),
    "item": ("good", "disc"),
}


def mark_of(word: str) -> Mark:
    """The mark of a run's status or a flow's state; words it does not know are idle.

    Example:
        >>> mark_of("failed"), mark_of("engine off").shape
        (Mark(word='failed', tone='bad', shape='cross', kind='failed'), 'ring')
    """
    tone, shape = _LOOKS.get(word, ("idle", "ring"))
    return Mark(word, tone, shape)


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
    **{kind.kind: ("live", "half") for kind in (*get_args(Waiting), Settling, WaitsForSettling)},
    Done.kind: ("good", "disc"),
    NotYet.kind: ("good", "half"),
    Held.kind: ("bad", "cross"),
    HeldSlot.kind: ("bad", "cross"),
    RetryLater.kind: ("warn", "triangle"),
    Broken.kind: ("bad", "cross"),
    Unreachable.kind: ("bad", "triangle"),
    Disabled.kind: ("warn", "bar"),
}

_PATHS: dict[Shape, str] = {
    "disc": '<circle cx="6" cy="6" r="4.5" fill="currentColor"/>',
    "cross": '<path d="M2.5 2.5l7 7m0-7l-7 7" stroke="currentColor" stroke-width="2.2" stroke-linecap="round"/>',
    "square": '<rect x="2" y="2" width="8" height="8" rx="1" fill="currentColor"/>',
    "diamond": '<path d="M6 .8L11.2 6 6 11.2.8 6z" fill="currentColor"/>',
    "triangle": '<path d="M6 1.8L11 10.4H1z" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linejoin="round"/>',
    "play": '<path d="M3 1.8v8.4L10.5 6z" fill="currentColor" stroke="currentColor" stroke-linejoin="round"/>',
    "ring": '<circle cx="6" cy="6" r="3.9" fill="none" stroke="currentColor" stroke-width="1.5"/>',
    "half": '<circle cx="6" cy="6" r="3.9" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M6 2.1a3.9 3.9 0 0 1 0 7.8z" fill="currentColor"/>',
    "bar": '<circle cx="6" cy="6" r="4.2" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M3.2 6h5.6" stroke="currentColor" stroke-width="1.5"/>',
}


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
