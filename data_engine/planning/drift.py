"""Decide how the columns of a run's frames differ from those of good runs before: drift. Pure: no order of columns counts, and nothing is
said of a frame whose steps before it were changed by their author.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from data_engine.ledger.feed_schemas import KnownFrames
from data_engine.model import Frame, FrameChange


def difference(before: Frame, now: Frame, until: str | None = None) -> FrameChange | None:
    """How the columns of one frame differ from another's; None where they are the same in any order.

    Example:
        >>> raw = Frame("raw", "", (("day", "Date"), ("delay", "Int64")))
        >>> difference(raw, Frame("raw", "", (("delay", "String"), ("Day", "Date")))).text
        'raw: `day` is gone, `Day` is new, `delay` was Int64 and is String'
        >>> difference(raw, Frame("raw", "", (("delay", "Int64"), ("day", "Date"))))
    """
    was, is_now = dict(before.columns), dict(now.columns)
    gone = tuple(name for name in was if name not in is_now)
    new = tuple(name for name in is_now if name not in was)
    retyped = tuple((name, was[name], kind) for name, kind in is_now.items() if was.get(name, kind) != kind)
    return FrameChange(now.name, gone, new, retyped, until) if gone or new or retyped else None


def drift(frames: Iterable[Frame], known: Sequence[KnownFrames]) -> tuple[FrameChange, ...]:
    """How each of the `frames` differs from those of its name in the `known` runs, the newest first. Nothing is said of a frame that one of
    them had, nor of one that none had after the same steps: it is the first.

    Example:
        >>> new, old = (Frame("raw", "c0de", ((name, "Int64"),)) for name in ("departure_delay", "dep_delay"))
        >>> [change.text for change in drift([new], [KnownFrames((old,), "14.csv")])]
        ['raw: `dep_delay` is gone, `departure_delay` is new; it was as before until 14.csv']
        >>> drift([new], [KnownFrames((old,)), KnownFrames((new,))]), drift([new], [KnownFrames((old._replace(code="0ld"),))])
        ((), ())
    """
    said: list[FrameChange] = []
    for frame in frames:
        nearest: FrameChange | None = None
        for run in known:
            like = [before for before in run.frames if before[:2] == frame[:2]]
            found = [difference(before, frame, run.until) for before in like]
            if None in found:
                break
            if nearest is None:
                nearest = min((change for change in found if change is not None), key=_size, default=None)
        else:
            if nearest is not None and (news := _not_said(nearest, said)) is not None:
                said.append(news)
    return tuple(said)


def _not_said(change: FrameChange, said: Iterable[FrameChange]) -> FrameChange | None:
    """The change without what was said of an earlier frame, from which this one may be made; None where nothing is left."""
    gone, new, retyped = change.gone, change.new, change.retyped
    for other in said:
        gone = tuple(name for name in gone if name not in other.gone)
        new = tuple(name for name in new if name not in other.new)
        retyped = tuple(column for column in retyped if column not in other.retyped)
    return replace(change, gone=gone, new=new, retyped=retyped) if gone or new or retyped else None


def _size(change: FrameChange) -> int:
    return len(change.gone) + len(change.new) + len(change.retyped)


def changes(
    before: Mapping[str, tuple[tuple[str, str], ...]], now: Mapping[str, tuple[tuple[str, str], ...]]
) -> tuple[FrameChange, ...]:
    """How the frames of one run differ from those of another, by their names and whatever the code; of a frame that only one has nothing is
    said.

    Example:
        >>> changes({"raw": (("day", "Date"),)}, {"raw": (), "sum": ()})[0].text
        'raw: `day` is gone'
    """
    pairs = (
        (Frame(name, "", before[name]), Frame(name, "", columns)) for name, columns in now.items() if name in before
    )
    return tuple(change for was, frame in pairs if (change := difference(was, frame)) is not None)
