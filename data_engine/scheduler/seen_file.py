"""A file as it was seen, and when it is to be looked at for the second time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from data_engine.model import Signature
from data_engine.scheduler.plan import settling_s

_LOCKED_S = 1.0
"""A source that somebody lets nobody read is looked at again after so long, or after the flow's `settle` where that is longer."""


_TOGETHER_S = 0.25
"""Files that come within so long are taken in one look, and so in the order of their paths."""


def look_for_all_s(deadlines: Iterable[float]) -> float | None:
    """When to look, so that what comes at about the same time is taken together; None where nothing is to come.

    Example:
        >>> look_for_all_s([11.0, 10.9, 10.75, 12.0]), look_for_all_s([])
        (11.0, None)
    """
    times = list(deadlines)
    latest = min(times, default=0.0) + _TOGETHER_S
    return max((one for one in times if one <= latest), default=None)


class SeenFile(NamedTuple):
    """A file that was the same from `since_s` to `last_s`, first seen while the runs in `suspects` were under way.

    They are None until it is first judged, and empty for what is known to be a source. `locked_by` is who let nobody read it,
    `is_elsewhere` whether reading it would fetch its content from a cloud or an archive.
    """

    signature: Signature
    since_s: float
    last_s: float
    suspects: frozenset[str] | None = None
    locked_by: str | None = None
    is_elsewhere: bool = False

    def second_look_s(self, settle_s: float) -> float | None:
        """When to see whether it is still the same; None once it was so for as long as a flow's `settle_s`.

        Example:
            >>> one = SeenFile(Signature(7, 1), since_s=10.0, last_s=10.0)
            >>> one.second_look_s(5.0), one._replace(last_s=15.0).second_look_s(5.0)
            (15.0, None)
            >>> one._replace(locked_by="EXCEL.EXE").second_look_s(0.2)
            11.0
        """
        if self.locked_by is not None:
            settle_s = max(settle_s, _LOCKED_S)
        return self.since_s + settle_s if settling_s(self.since_s, self.last_s, settle_s) else None
