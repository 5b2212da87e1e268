"""Going on after the drive lost or damaged what was published: from the newest generation that can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from data_engine.lease.generations import Generations
from data_engine.lease.protocol import Damaged, Entry, Identity, Segment, ShorterList, next_entry


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair did: the generation it appended, None when a shorter list was only accepted.

    `lost_generations` could not be read or are gone; `lost_segments` (`table/name`) are missing or damaged.
    """

    entry: Entry | None
    lost_generations: tuple[int, ...]
    lost_segments: tuple[str, ...]


def repair(
    generations: Generations,
    me: Identity,
    nonce: str,
    at_utc: str,
    *,
    check: Callable[[Entry], None],
    begin: Callable[[], None],
    accepts_shorter: bool,
) -> Repaired | None:
    """Append from the newest readable generation what of it is whole; nobody owns the workspace then.

    None when nothing is damaged. `check` sees the generation it will go on from, and may raise to leave all as it is;
    `begin` is called before anything is written. With `accepts_shorter` a list that ends before the highest known generation is accepted as it is.

    Raises:
        ShorterList: it ends there, and that may be a late cache.
        Damaged: no generation can be read; `NewerFormat`: one needs a newer Data Engine.
        Lost, InDoubt: somebody else appended meanwhile, or the share did not say.
        OSError: the share is away, full or read-only.
    """
    known = generations.known
    numbers = generations.all_numbers()
    base, missing = generations.newest_readable(numbers)
    newest = numbers[-1]
    if newest < known and not accepts_shorter:
        raise ShorterList(f"the list ends at generation {newest}, {known} was seen before")
    check(base)
    whole, lost_segments = _whole(generations, base)
    lost = (*range(base.number + 1, newest + 1), *range(newest + 1, known + 1))
    if not (missing or lost or lost_segments):
        return None
    begin()
    for number in missing:
        generations.give_up(number)
    entry = None
    if base.number < newest or lost_segments:
        entry = next_entry(replace(base, number=newest), "repair", me, nonce, at_utc, files=whole)
        generations.publish(entry, base if base.number == newest else None)
    generations.known = newest if entry is None else entry.number
    return Repaired(entry, lost, lost_segments)


def _whole(generations: Generations, base: Entry) -> tuple[dict[str, tuple[Segment, ...]], tuple[str, ...]]:
    whole: dict[str, tuple[Segment, ...]] = {}
    lost: list[str] = []
    for table, segments in base.files.items():
        kept = []
        for segment in segments:
            try:
                generations.fetch(table, segment)
            except (FileNotFoundError, Damaged):
                lost.append(f"{table}/{segment.name}")
            else:
                kept.append(segment)
        whole[table] = tuple(kept)
    return whole, tuple(lost)
