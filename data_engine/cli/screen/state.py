"""What a person does with the screen, as one frozen value: the flow that is chosen, what was said last, what is asked, the log that is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_engine.marks import Tone
from jupyter_extension.view import FlowRow, PanelView


@dataclass(frozen=True, slots=True)
class Said:
    """What is told below the list: an answer, or why a key does nothing now."""

    text: str
    tone: Tone = "idle"


@dataclass(frozen=True, slots=True)
class Question:
    """What is done when somebody presses y: the request `action` with `args`; `text` says what that starts or ends, `busy`
    what is told until its answer is there."""

    text: str
    action: str
    args: Mapping[str, Any]
    busy: str


@dataclass(frozen=True, slots=True)
class OpenLog:
    """The log of one run, or without a `run_id` the held files of the flow; no `lines` until they are read. `at` is the first line
    that is shown; None where it follows the end."""

    run_id: str | None
    flow: str
    title: str
    lines: tuple[tuple[str, str], ...] | None = None
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The whole of it. `looking` tells what is being looked up, which may be left; `doing` what was asked for, until its answer."""

    chosen: str | None = None
    said: Said | None = None
    looking: str | None = None
    doing: str | None = None
    question: Question | None = None
    log: OpenLog | None = None
    shows_keys: bool = False


def names_of(view: PanelView) -> tuple[str, ...]:
    """The flows in the order of the list: by group, as the panel has them."""
    return tuple(name for group in view.groups for name in group.flows)


def chosen_row(view: PanelView, seen: Seen) -> FlowRow | None:
    """The flow that keys act on: the chosen one, else the first; None where there is none."""
    names = names_of(view)
    if not names:
        return None
    return view.flows.get(seen.chosen or "") or view.flows[names[0]]
