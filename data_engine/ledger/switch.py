"""Whether a flow runs by itself, and who said so."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Self

from data_engine.model import utc_text
from data_engine.record import frozen


@frozen
class Switch:
    """Whether a flow runs by itself, as somebody said last: `by` whom on which `machine`, when, and a `note` why.

    What an older version has written tells only whether; a flow that nobody has switched is as its author left it.

    Example:
        >>> Switch(False, "anna", "ANNA-PC").who, Switch().is_enabled
        ('anna@ANNA-PC', True)
    """

    is_enabled: bool = True
    by: str = ""
    machine: str = ""
    at_utc: str | None = None
    note: str = ""

    @classmethod
    def now(cls, is_enabled: bool, by: str, machine: str, *, note: str = "") -> Self:
        """What a person at a machine says at this moment."""
        return cls(is_enabled, by, machine, utc_text(time.time()), note)

    def after(self, before: Switch) -> Switch:
        """This, said after `before`: to disable again without a note leaves the note of before.

        Example:
            >>> Switch(False, "ben").after(Switch(False, "anna", note="until Monday")).note
            'until Monday'
            >>> Switch(True, "ben").after(Switch(False, "anna", note="until Monday")).note
            ''
        """
        is_same = not (self.is_enabled or before.is_enabled or self.note)
        return replace(self, note=before.note) if is_same else self

    @property
    def who(self) -> str:
        """The person and the machine; "" where that is not known."""
        return f"{self.by}@{self.machine}" if self.by else ""
