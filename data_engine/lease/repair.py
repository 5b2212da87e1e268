"""Repair a list that the drive has lost or damaged: go on from the newest generation that can be read.

The number of a repair is higher than any this machine has ever seen, so that no number, and no token, is used twice. Where
the list has lost its end, or some of its segments, that stands in every later generation: machines that had seen more
follow, and whoever still holds the lost rows publishes them again.

    ... 42  43            what a restored backup shows; this machine has seen 92
    ... 42  43  44  93    44 wins the place after 43, so that nobody goes on from there, and says that 93 comes next
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from data_engine.lease.generations import GenerationList
from data_engine.lease.held_lease import Participant
from data_engine.lease.protocol import (
    KEPT_REPAIRS,
    Damaged,
    Generation,
    Identity,
    Repair,
    Segment,
    ShorterList,
    next_generation,
)
from data_engine.ledger.segments import TABLES
from data_engine.record import frozen


@frozen
class Repaired:
    """The result of a repair: the generation that it appended.

    `lost_generations` could not be read or are gone; `lost_segments` (`table/name`) are missing or damaged.
    """

    generation: Generation
    lost_generations: tuple[int, ...]
    lost_segments: tuple[str, ...]


def repair(
    participant: Participant,
    *,
    check: Callable[[Generation | None], None],
    begin: Callable[[], None],
    accepts_shorter: bool,
    is_replaced: bool = False,
    refused: Collection[str] = (),
) -> Repaired | None:
    """Append from the newest readable generation what of it is whole; nobody owns the workspace then.

    None when nothing is damaged. `check` sees the generation it will go on from, None where there is none, and may raise to
    leave all as it is; `begin` is called before anything is written. With `accepts_shorter` a list that ends before the
    highest known generation is taken for what is left. With `is_replaced` it is another list than the one known here.
    `refused` are names of segments that are whole, but none that a Data Engine writes.

    Raises:
        ShorterList: it ends there, and that may be a late cache.
        Damaged: no generation can be read; `NewerFormat`: one needs a newer Data Engine.
        Lost, InDoubt: somebody else appended meanwhile, or the share did not say.
        OSError: the share is away, full or read-only.
    """
    generations, me, new_id, at_utc = participant.generations, participant.me, participant.new_id, participant.utc()
    survey = _survey(generations, accepts_shorter=accepts_shorter, refused=refused, check=check)
    if not (survey.is_damaged or is_replaced):
        return None
    begin()
    for number in survey.missing:
        generations.give_up(number)
    tables = tuple(TABLES) if survey.lost or is_replaced else tuple(survey.broken)
    fact = Repair(survey.target, new_id(), survey.first.number, tables, me.shown, at_utc)
    after = next_generation(
        replace(survey.first, number=survey.target - 1, goes_on_at=0),
        "repair",
        me,
        new_id(),
        at_utc,
        files=_without(survey.first.files, survey.broken),
        repairs=(*survey.first.repairs, fact)[-KEPT_REPAIRS:],
    )
    _publish(generations, survey, after, new_id)
    segments = tuple(f"{table}/{name}" for table, names in survey.broken.items() for name in names)
    return Repaired(after, survey.lost, segments)


@frozen
class _Survey:
    """The rest of a damaged list. The repair goes on from `first`, the newest readable generation (an empty one, -1, where
    there is none), at `place`, and stands at `target`. `newest` is the highest number there is, `missing` are those above
    `first` without an entry, `lost` those that are gone, `broken` the segments of `first` that are.
    """

    first: Generation
    newest: int
    place: int
    target: int
    missing: tuple[int, ...]
    lost: tuple[int, ...]
    broken: Mapping[str, list[str]]
    is_unfinished: bool

    @property
    def is_damaged(self) -> bool:
        return bool(self.missing or self.lost or self.broken or self.is_unfinished)


def _survey(
    generations: GenerationList,
    *,
    accepts_shorter: bool,
    refused: Collection[str],
    check: Callable[[Generation | None], None],
) -> _Survey:
    highest = generations.known
    numbers = _numbers(generations)
    base, missing = generations.newest_readable(numbers)
    if base is None and highest <= 0:
        raise Damaged("no generation can be read, and this machine has never seen one")
    newest = numbers[-1] if numbers else -1
    if newest < highest and not accepts_shorter:
        raise ShorterList(f"the list ends at generation {newest}, {highest} was seen before")
    check(base)
    first = base or Generation(-1, "genesis", 0, "", Identity("", ""))
    is_unfinished = first.number == newest and first.goes_on_at > 0
    place = first.goes_on_at if is_unfinished else newest + 1
    return _Survey(
        first,
        newest,
        place,
        # The turn must not be where an owner that does not know of it would go on from, with the next number.
        target=max(place, highest + 2 if place == highest else highest + 1),
        missing=tuple(missing),
        lost=tuple(range(first.next_number, max(newest, highest) + 1)),
        broken=generations.broken_segments(first, refused),
        is_unfinished=is_unfinished,
    )


def _publish(generations: GenerationList, survey: _Survey, after: Generation, new_id: Callable[[], str]) -> None:
    """Append `after` where the list ends, or behind a turn that says at which number it goes on."""
    before = survey.first if 0 <= survey.first.number == survey.newest else None
    if survey.newest < 0:
        generations.begin_again(after)
    elif survey.target > survey.place:
        turn = replace(after, number=survey.place, token=survey.place, nonce=new_id(), goes_on_at=survey.target)
        generations.publish(turn, before, in_number=survey.newest)
        generations.publish(after, turn, in_number=survey.place)
    else:
        generations.publish(after, before, in_number=survey.newest)


def _numbers(generations: GenerationList) -> list[int]:
    try:
        return generations.all_numbers()
    except FileNotFoundError:
        generations.folder.listdir("")  # an unmounted share is no lost list
        return []


def _without(
    files: Mapping[str, tuple[Segment, ...]], broken: Mapping[str, list[str]]
) -> dict[str, tuple[Segment, ...]]:
    return {
        table: tuple(segment for segment in segments if segment.name not in broken.get(table, ()))
        for table, segments in files.items()
    }
