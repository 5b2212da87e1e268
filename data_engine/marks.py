"""How a state looks: a word, a shape and a tone. The word is always there; shape and colour only help the eye."""

from __future__ import annotations

from dataclasses import field
from typing import Literal, TypeAlias

from data_engine.record import Record, frozen

Tone: TypeAlias = Literal["good", "bad", "warn", "live", "idle"]
Shape: TypeAlias = Literal["disc", "cross", "square", "diamond", "triangle", "play", "ring", "half", "bar"]
Look: TypeAlias = tuple[Tone, Shape]

IDLE: Look = ("idle", "ring")
GOOD: Look = ("good", "disc")
READY: Look = ("good", "half")
LIVE: Look = ("live", "play")
PENDING: Look = ("live", "half")
FAILED: Look = ("bad", "cross")
LOST: Look = ("bad", "triangle")
DOUBTFUL: Look = ("warn", "triangle")
STOPPED: Look = ("warn", "square")
BARRED: Look = ("warn", "bar")


@frozen
class Mark(Record):
    """A state in words, with its shape and tone; `kind` is the state for programs."""

    word: str
    tone: Tone = "idle"
    shape: Shape = "ring"
    kind: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", self.kind or self.word.replace(" ", "_"))


_LOOKS: dict[str, Look] = {
    # of a run
    "success": GOOD,
    "failed": FAILED,
    "killed": ("bad", "diamond"),
    "abandoned": LOST,
    "stopped": STOPPED,
    "started": LIVE,
    # of a flow
    "running": LIVE,
    "stopping": STOPPED,
    "polling": READY,
    "scheduled": READY,
    "broken": FAILED,
    "failing": FAILED,
    "unreachable": LOST,
    "edit has errors": DOUBTFUL,
    "module gone": DOUBTFUL,
    "disabled": BARRED,
    "not deployed": BARRED,
    # of a statement, a module, an item
    "taken": GOOD,
    "left": IDLE,
    "good": GOOD,
    "deployed": GOOD,
    "item": GOOD,
    # of a comparison, a golden
    "equal": GOOD,
    "holds": GOOD,
    "updated": GOOD,
    "differs": DOUBTFUL,
}


def mark_of(word: str, kind: str = "") -> Mark:
    """The mark of a run's status or a flow's state, of this `kind` for programs; words it does not know are idle.

    Example:
        >>> mark_of("failed"), mark_of("engine off").shape
        (Mark(word='failed', tone='bad', shape='cross', kind='failed'), 'ring')
    """
    tone, shape = _LOOKS.get(word, IDLE)
    return Mark(word, tone, shape, kind)
