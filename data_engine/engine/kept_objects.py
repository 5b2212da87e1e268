"""Which step of a run changes an object itself that a later step takes by its name: found by small copies, as a preview finds it by its cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from data_engine.engine.memo.value_copy import copy_of, is_unchanged
from data_engine.flow.object_names import taken_changed, taken_later
from data_engine.flow.spec import StepSpec

MOST_BYTES = 8 * 1024 * 1024
"""A larger object is not looked at: a run is not to be slower, or to need more memory, by what it is warned of."""


class _Kept(NamedTuple):
    value: Any
    before: Any
    until: int


class KeptObjects:
    """The objects that a step of these saves and a later one takes by its name, each with a copy as long as one can change it."""

    def __init__(self, steps: Sequence[StepSpec]) -> None:
        self._steps = steps
        self._takers = taken_later(steps)
        self._kept: dict[str, _Kept] = {}

    def after(self, index: int, objects: Mapping[str, Any]) -> list[str]:
        """What is said after step number `index` (from 0), which ended well: that it has changed what a later one takes.

        Example:
            >>> from data_engine import Flow
            >>> kept = KeptObjects(Flow("G").step(list, save_as="raw").step(sorted).step(len, use="raw").steps)
            >>> rows = [2, 1]
            >>> kept.after(0, {"raw": rows}), rows.sort(), len(kept.after(1, {"raw": rows}))
            ([], None, 1)
        """
        if not self._takers:
            return []
        said = []
        for name, kept in list(self._kept.items()):
            is_there = objects.get(name) is kept.value
            if is_there and index < kept.until and _is_as_it_was(kept):
                continue
            del self._kept[name]
            if is_there and index < kept.until:
                said += taken_changed(self._steps, index, [name])
        saved, until = self._steps[index].save_as, self._takers.get(index)
        if saved is not None and until is not None:
            self._keep(saved, objects.get(saved), until)
        return said

    def _keep(self, name: str, value: Any, until: int) -> None:
        try:
            copied = copy_of(value, most_bytes=MOST_BYTES)
        except Exception:  # what an author's object does when it is copied is no error of the run
            return
        if copied.size_bytes <= MOST_BYTES:
            self._kept[name] = _Kept(value, copied.value, until)


def _is_as_it_was(kept: _Kept) -> bool:
    try:
        return is_unchanged(kept.value, kept.before)
    except Exception:  # nor what it does when it is compared
        return True
