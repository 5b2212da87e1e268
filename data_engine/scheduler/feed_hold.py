"""Whether a flow's batch is held because files that it takes are gone, for both planners."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from data_engine.model import FeedCount, utc_text
from data_engine.planning.due import PlannedFlow
from data_engine.planning.feeds import intakes, shrunk
from data_engine.reasons.kinds import FeedShrunk

_COUNT_EVERY_S = 2.0


class FeedHold:
    """Counts what a batch would take, where it has to look not more often than it may cost, and remembers what a person accepts.

    `why` is the reason that holds the batch now; `is_accepted` until it has run.
    """

    def __init__(self, planned: PlannedFlow) -> None:
        self.intakes = intakes(planned) if planned.trigger.shrink == "hold" else ()
        self._again_s = 0.0
        self.why: FeedShrunk | None = None
        self.is_accepted = False

    def judge(
        self,
        feed: FeedCount | None,
        writers_of_gone: Callable[[str], tuple[str, ...]],
        *,
        local_s: float,
        now_s: float,
        sources: int | None = None,
    ) -> FeedShrunk | None:
        """The reason that holds the batch; `sources` are those that a poll has found, None for a slot."""
        if self.is_accepted or not self.intakes or feed is None:
            return None
        looked = [intake for intake in self.intakes if sources is None or not intake.is_source]
        if looked and self.why is not None and local_s < self._again_s:
            return self.why
        counts = {intake: sources for intake in self.intakes if sources is not None and intake.is_source}
        began_s = time.monotonic()
        for intake in looked:
            try:
                counts[intake] = sum(1 for _ in intake.files())
            except OSError:
                continue  # its run fails, and says so
        self._again_s = local_s + max(_COUNT_EVERY_S, 20 * (time.monotonic() - began_s))
        held, before = shrunk(feed, counts, is_slot=sources is None), self.why
        if held is None:
            return None
        intake, why = held
        if before is not None and before.gone == why.gone:
            return before
        return replace(why, flows=writers_of_gone(str(intake.root)), since_utc=utc_text(now_s))
