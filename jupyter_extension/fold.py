"""The fold below a frame that a preview shows: its profile, made when the fold is opened."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import replace
from typing import Any

import ipywidgets as widgets

from data_engine.compare.profile import profile_of
from data_engine.errors import message_of
from data_engine.marks import Mark
from data_engine.view.card import Card, Note
from data_engine.view.profile import profile_card
from jupyter_extension.html import html

PROFILE_MIME = "application/vnd.data-engine.profile+json"
"""A renderer of ours shows the widget only where the kernel still has it: a notebook that is opened again shows no fold."""

_kept: deque[Any] = deque(maxlen=4)
"""The last frames that were shown without the kernel keeping them as a result; a fold alone keeps no frame."""


class ProfileFold(widgets.Accordion):  # type: ignore[misc]  # ipywidgets has no types
    """A closed fold; nothing of the frame is computed before somebody opens it.

    Example:
        >>> import polars as pl
        >>> fold = ProfileFold(pl.DataFrame({"size": [1, 2, 6]}))
        >>> fold.content.value
        ''
        >>> fold.selected_index = 0
        >>> "size" in fold.content.value
        True
    """

    def __init__(self, frame: Any) -> None:
        _kept.append(frame)
        self._frame = weakref.ref(frame)
        self.content = widgets.HTML()
        super().__init__([self.content], titles=("Profile",), selected_index=None)
        self.observe(self._open, "selected_index")

    def _open(self, _: Any) -> None:
        if not self.content.value:
            self.content.value = html(_card(self._frame()))


def _card(frame: Any) -> Card:
    if frame is None:
        gone = Note(Mark("This frame is no longer in the kernel.", "idle", "ring"), "Run the cell again.")
        return Card("", (), (gone,))
    try:
        profile = profile_of(frame)
        card = profile_card(profile)
        return replace(card, title=profile.text, facts=card.facts[1:])
    except Exception as error:  # of a query that is executed only now
        return Card("", (), (Note.warning(f"{type(error).__name__}: {message_of(error)}"),))


def fold(frame: Any) -> dict[str, Any]:
    """The fold as a cell's output, which keeps nothing of the frame."""
    output = ProfileFold(frame)._repr_mimebundle_()
    data: dict[str, Any] = output[0] if isinstance(output, tuple) else output or {}
    return {mime: value for mime, value in data.items() if mime.startswith("application/")} | {
        PROFILE_MIME: {},
        "text/plain": "",
    }
