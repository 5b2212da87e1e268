"""One whole generation as a reader has it: its segments, each as it was written, read again where the list has gone on meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from data_engine.lease.observer import Observer
from data_engine.lease.protocol import Generation, StaleView

_TRIES = 5


class Snapshot(NamedTuple):
    """One whole generation. `new` holds the contents of the segments not seen before: table -> name -> bytes, in order."""

    generation: Generation
    new: Mapping[str, Mapping[str, bytes]]


def snapshot_of(observer: Observer, seen: Collection[str] = ()) -> Snapshot | None:
    """The newest generation, with the contents of its segments that are not in `seen`; None before the first.

    Raises:
        StaleView: the list changes faster than it can be read.
        Damaged: a segment or the newest generation is missing or cannot be read.
        OSError: the share is away.
    """
    generations, read = observer.generations, dict[str, bytes]()
    for _ in range(_TRIES):
        top = generations.top()
        if top is None:
            return None
        try:
            for table, segments in top.files.items():
                for segment in segments:
                    if segment.name not in seen and segment.name not in read:
                        read[segment.name] = generations.fetch_listed(table, segment, top.nonce)
        except FileNotFoundError:  # collected meanwhile: begin again at the new top
            continue
        return Snapshot(
            top, {table: {s.name: read[s.name] for s in rows if s.name in read} for table, rows in top.files.items()}
        )
    raise StaleView("no snapshot stayed whole while it was read")
