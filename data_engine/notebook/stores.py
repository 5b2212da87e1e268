"""What statements store in which objects, so that what an object leads to is known under each of its names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from data_engine.notebook.statements import Statement
from data_engine.notebook.values import Origin, Outcome


class Stores:
    """The stores of a notebook, in the order of its statements; each is followed once, when somebody asks behind it."""

    def __init__(self, statements: Sequence[Statement], outcome: Callable[[Statement], Outcome]) -> None:
        self._statements = statements
        self._outcome = outcome
        self._followed = 0
        self._known: dict[Origin, list[tuple[int, frozenset[Origin]]]] = {}
        self._changed: dict[Origin, list[int]] = {}

    def between(self, begin: int, end: int, origins: frozenset[Origin], *, known_until: int) -> frozenset[Origin]:
        """What the statements between two store in these objects, and in what is stored there.

        What a statement from `known_until` on stores is not known yet, because it is followed now.
        """
        self._follow(min(end, known_until))
        found: set[Origin] = set()
        waiting = list(origins)
        for origin in waiting:
            for index, stored in self._known.get(origin, ()):
                if begin < index < end:
                    waiting += stored - found - origins
                    found |= stored
        return frozenset(found)

    def are_changed(self, begin: int, end: int, origins: frozenset[Origin]) -> bool:
        """Whether a statement between two changes one of these objects, or may."""
        self._follow(end)
        return any(begin < index < end for origin in origins for index in self._changed.get(origin, ()))

    def _follow(self, end: int) -> None:
        while self._followed < min(end, len(self._statements)):
            statement = self._statements[self._followed]
            self._followed += 1
            outcome = self._outcome(statement)
            for touch in outcome.touches:
                for origin in touch.origins:
                    self._changed.setdefault(origin, []).append(statement.index)
            for into, stored in outcome.stores:
                for origin in into:
                    self._changed.setdefault(origin, []).append(statement.index)
                    self._known.setdefault(origin, []).append((statement.index, stored))
