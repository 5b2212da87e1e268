"""What a key does: from what a person sees, what they do next, and what has to be done for it. Nothing is begun without a `y`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from data_engine.cli.screen.questions import stop_question
from data_engine.cli.screen.state import OpenLog, Said, Seen, chosen_row, names_of
from data_engine.status.buttons import WhyNot
from data_engine.status.view import PanelFlow, PanelView

KEYS: Mapping[str, tuple[str, str, str]] = {
    "r": ("r", "run", "the flow: shows what would run, and asks"),
    "s": ("s", "stop", "its runs: asks"),
    "t": ("t", "try again", "its held files: shows them, and asks"),
    "h": ("h", "held files", "each with its reason"),
    "l": ("l", "log", "of its run, or of its last one"),
    "up": ("up, down", "choose", "a flow; also k and j, page up and down, home and end"),
    "q": ("q", "quit", "the daemon and its runs go on"),
}
"""Each key with its name, its word, and what that does."""

_BUTTONS = {"r": "run", "s": "stop", "t": "retry"}
_OF_FLOW = (*_BUTTONS, "h", "l")
_PAGE = 10


@dataclass(frozen=True, slots=True)
class Quit:
    """The screen is left."""


@dataclass(frozen=True, slots=True)
class LookFirst:
    """What would run is looked up, and then asked about."""

    verb: Literal["run", "retry"]
    flow: str


@dataclass(frozen=True, slots=True)
class Do:
    """The request that somebody said yes to."""

    action: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Read:
    """The log of a run is read; without one, the list of the flow's held files."""

    flow: str
    run_id: str | None = None


Wish: TypeAlias = Quit | LookFirst | Do | Read


def why_not(key: str, row: PanelFlow | None) -> WhyNot:
    """Why a key does nothing for this flow now, as the panel says it of its buttons; None where it does.

    Example:
        >>> why_not("r", None), why_not("q", None)
        ('there is no flow', None)
    """
    if key not in _OF_FLOW:
        return None
    if row is None:
        return "there is no flow"
    if key == "l":
        return "it never ran on this machine" if row.last_run is None else None
    if key == "h":
        return None if row.held else "nothing of it is held"
    return row.buttons.get(_BUTTONS[key])


def pressed(key: str, view: PanelView | None, seen: Seen, page: int = _PAGE) -> tuple[Seen, Wish | None]:
    """What is seen after a key, and what has to be done; keys that mean nothing here change nothing. `page`: rows of a log."""
    if key == "q" and seen.question is None and seen.log is None:
        return seen, Quit()
    if view is None:
        return seen, None
    if seen.question is not None:
        return _answered(key, seen)
    if seen.log is not None:
        return replace(seen, log=_scrolled(key, seen.log, max(page, 1))), None
    if key in _MOVES:
        return _moved(key, view, seen), None
    if key == "?":
        return replace(seen, shows_keys=not seen.shows_keys), None
    if key == "escape":
        return replace(seen, said=None, looking=None, shows_keys=False), None
    return _asked(key, view, replace(seen, said=None)) if key in _OF_FLOW else (seen, None)


def _asked(key: str, view: PanelView, seen: Seen) -> tuple[Seen, Wish | None]:
    row = chosen_row(view, seen)
    why = why_not(key, row)
    if why is not None or row is None:
        title = "" if row is None else f", {row.title}"
        return replace(seen, said=Said(f"{KEYS[key][1].capitalize()}{title}: not now, {why}.", "warn")), None
    if seen.looking is not None or seen.doing is not None:
        return replace(seen, said=None), None
    if key == "s":
        return replace(seen, question=stop_question(row, view), shows_keys=False), None
    if key == "h":
        return replace(seen, log=OpenLog(None, row.name, f"Held files of {row.title}")), Read(row.name)
    if key == "l":
        return _opened(row, view, seen)
    verb: Literal["run", "retry"] = "run" if key == "r" else "retry"
    return replace(seen, looking=f"Looking up what would run of {row.title}", shows_keys=False), LookFirst(
        verb, row.name
    )


def _opened(row: PanelFlow, view: PanelView, seen: Seen) -> tuple[Seen, Wish | None]:
    run_id = next((run.run_id for run in view.active if run.flow == row.name), None)
    if run_id is None:
        assert row.last_run is not None
        run_id = row.last_run.run_id
    log = OpenLog(run_id, row.name, f"{row.title}, run {run_id[:8]}")
    return replace(seen, log=log), Read(row.name, run_id)


def _answered(key: str, seen: Seen) -> tuple[Seen, Wish | None]:
    question = seen.question
    assert question is not None
    if key == "y":
        return replace(seen, question=None, doing=question.busy), Do(question.action, question.args)
    if key in ("n", "escape", "q"):
        return replace(seen, question=None, said=Said("Nothing was done.")), None
    return seen, None


def _scrolled(key: str, log: OpenLog, page: int) -> OpenLog | None:
    """The log at another line; None when it is closed. Whoever comes to its end follows it."""
    if key in ("escape", "h", "l", "q"):
        return None
    last = max(len(log.lines or ()) - page, 0)
    at = last if log.at is None else log.at
    moves = {"up": at - 1, "k": at - 1, "down": at + 1, "j": at + 1, "pageup": at - page, "pagedown": at + page}
    to = (moves | {"home": 0, "end": last}).get(key)
    return log if to is None else replace(log, at=max(to, 0) if to < last else None)


def _moved(key: str, view: PanelView, seen: Seen) -> Seen:
    names, row = names_of(view), chosen_row(view, seen)
    if row is None:
        return seen
    at = _MOVES[key](names.index(row.name), len(names))
    return replace(seen, chosen=names[min(max(at, 0), len(names) - 1)], said=None)


_MOVES: Mapping[str, Callable[[int, int], int]] = {
    "up": lambda at, count: at - 1,
    "k": lambda at, count: at - 1,
    "down": lambda at, count: at + 1,
    "j": lambda at, count: at + 1,
    "pageup": lambda at, count: at - _PAGE,
    "pagedown": lambda at, count: at + _PAGE,
    "home": lambda at, count: 0,
    "end": lambda at, count: count - 1,
}
