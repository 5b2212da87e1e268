"""What the items of a map change of their function's surroundings in another process, where it stays."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import islice
from types import FunctionType
from typing import Any

_MOST_NAMES = 100
_MOST_VALUES = 1_000
_CONTAINERS = (list, dict, set, bytearray, deque)

Look = dict[str, tuple[int, ...]]
"""What a name holds: its identity, and of a container its length and the identities of what is in it."""


class LostChanges:
    """Compares the globals and the closure of a map's function before and after its items.

    Example:
        >>> seen = []
        >>> changes = LostChanges(lambda item: seen.append(item))
        >>> changes.names(), seen.append(1), changes.names(), changes.names()
        ([], None, ['seen'], [])
    """

    def __init__(self, call: Any) -> None:
        while isinstance(call, partial):
            call = call.func
        call = getattr(call, "__func__", call)
        self._fn = call if isinstance(call, FunctionType) else None
        self._before = self._look()

    def names(self) -> list[str]:
        """The names whose values have changed since the last time."""
        before, self._before = self._before, self._look()
        return sorted(name for name in before | self._before if before.get(name) != self._before.get(name))

    def _look(self) -> Look:
        if self._fn is None:
            return {}
        code = self._fn.__code__
        named = {name: self._fn.__globals__[name] for name in code.co_names if name in self._fn.__globals__}
        for name, cell in zip(code.co_freevars, self._fn.__closure__ or (), strict=False):
            try:
                named[name] = cell.cell_contents
            except ValueError:  # it is not bound yet
                continue
        return {name: _look_at(value) for name, value in islice(named.items(), _MOST_NAMES)}


def _look_at(value: Any) -> tuple[int, ...]:
    if not isinstance(value, _CONTAINERS):
        return (id(value),)
    inside: Iterable[Any] = value.values() if isinstance(value, dict) else value
    return (id(value), len(value), *map(id, islice(inside, _MOST_VALUES)))


def lost_words(name: str) -> str:
    """What the log of a run says of such a name."""
    return (
        f"items changed {name}, and ran in other processes: what they change there does not come back."
        " Let the function return it, and put it together in a step behind the map"
    )
