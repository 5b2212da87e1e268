"""What a batch takes, and whether that has shrunk since its last good run: one decision for polls, slots and runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from data_engine.flow.scan import walk
from data_engine.model import FeedCount
from data_engine.planning.due import PlannedFlow
from data_engine.reasons.kinds import FeedShrunk

_FEWEST_GONE = 3


class Intake(NamedTuple):
    """Files that a batch takes from one folder: its sources, or those of a `collect`. Counts are compared by its `name`."""

    name: str
    root: Path
    extensions: tuple[str, ...] | None
    recursive: bool = True
    skip: Path | None = None
    is_source: bool = False

    def files(self) -> Iterator[str]:
        """The paths, inside the root, of the files that are there.

        Raises:
            OSError: the folder cannot be read.
        """
        found = walk(os.path.realpath(self.root), self.extensions, recursive=self.recursive, skip=self.skip)
        return (name for name, _ in found)


def intakes(planned: PlannedFlow) -> tuple[Intake, ...]:
    """What a batch of the flow takes: the files of each `collect`, and its sources unless a `collect` takes from their folder. None
    for a flow that runs for one file at a time.

    Example:
        >>> from data_engine import Flow
        >>> monthly = Flow("Sales", "monthly").watch(mode="schedule", time="07:00").collect(".csv", root="/in")
        >>> [(intake.name, str(intake.root)) for intake in intakes(PlannedFlow.of(monthly))]
        [('collect /in .csv', '/in')]
    """
    trigger = planned.trigger
    source = trigger.source
    if source is not None and trigger.run_as != "batch":
        return ()
    found: dict[str, Intake] = {}
    for collect in planned.collects:
        root, text = (source, ".") if collect.root is None else (collect.root.path, collect.root.text)
        if root is not None:
            depth = " recursive" if collect.recursive else ""
            name = f"collect {text} {','.join(collect.extensions)}{depth}"
            found[name] = Intake(name, root, collect.extensions, collect.recursive)
    if source is not None and all(intake.root != source for intake in found.values()):
        name = f"sources {'*' if trigger.extensions is None else ','.join(trigger.extensions)}"
        found[name] = Intake(name, source, trigger.extensions, skip=planned.mirror, is_source=True)
    return tuple(found.values())


def shrunk(
    feed: FeedCount | None, counts: Mapping[Intake, int], *, is_slot: bool = False
) -> tuple[Intake, FeedShrunk] | None:
    """The intake that has shrunk most since the good run that left `feed`, with the reason that holds the batch: less than half of
    its files are there, and at least three are gone. A slot is held, too, where it finds none of them. None where it may run.

    Example:
        >>> intake = Intake("sources *", Path("/in"), None)
        >>> held = shrunk(FeedCount({"sources *": 10}), {intake: 4})
        >>> held and held[1].gone, shrunk(FeedCount({"sources *": 10}), {intake: 5})
        (6, None)
    """
    if feed is None:
        return None
    found = []
    for intake, count in counts.items():
        before = feed.counts.get(intake.name, 0)
        gone = before - count
        is_far_less = 2 * count < before and gone >= _FEWEST_GONE
        if is_far_less or (is_slot and count == 0 and gone > 0):
            found.append((intake, FeedShrunk(gone, before, run_id=feed.run_id)))
    return max(found, key=lambda entry: entry[1].gone, default=None)
