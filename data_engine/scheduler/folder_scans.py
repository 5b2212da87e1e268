"""The looks through the folder of one flow: at all of it when its pace says so, and in between where events hint at."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from data_engine.model import utc_text
from data_engine.reasons.kinds import Unreachable
from data_engine.scheduler.file_events import FolderEvents
from data_engine.scheduler.scanner import Scan, Scanner

_PART_S = 0.1
_MOST_HINTS = 5000


class FolderScans:
    """Looks through one folder; `take` gets what was found. Any thread may call `hint`, one calls the rest.

    The first look is made `in_parts`, so that what it has found by then need not wait for the rest. `troubles` are those of the
    last whole look; `unreachable` says since when the folder is away.
    """

    def __init__(
        self,
        scanner: Scanner,
        pace: ScanPace,
        events: FolderEvents,
        *,
        in_parts: bool,
        take: Callable[[Scan], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.troubles: dict[str, str] = {}
        self.unreachable: Unreachable | None = None
        self.has_listened = False
        self._scanner, self._pace, self._events = scanner, pace, events
        self._in_parts, self._take, self._clock, self._wall = in_parts, take, clock, wall
        self._hints: deque[str] = deque()
        self._is_first = True
        self._scanning: _Scanning | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether a look has begun and not ended."""
        return self._scanning is not None

    def hint(self, path: str) -> None:
        """Something may have happened at this path."""
        self._hints.append(path)

    def look(self) -> None:
        """Look where it is time to."""
        now_s = self._clock()
        hints = {self._hints.popleft() for _ in range(len(self._hints))}
        if hints:
            self._pace.hear()
        if len(hints) > _MOST_HINTS:
            self._pace.scan_soon()
            hints = set()
        was_in_parts = self.is_under_way
        if was_in_parts or now_s >= self._pace.next_s:
            self._scan(now_s)
            if not was_in_parts:
                hints = set()
        if self.is_under_way:
            self._hints.extend(hints)  # they may be of what the scan has passed already
        elif hints and self.unreachable is None:
            self._take(self._scanner.look_at(hints))

    def listen(self) -> None:
        """Begin to listen to events, once the first look has ended: for a large folder that takes a while."""
        if not self.has_listened and not self.is_under_way:
            self.has_listened = True
            if self._events.listen():  # what came between the first scan and now was seen by neither
                self._pace.scan_soon()

    def _scan(self, now_s: float) -> None:
        """Scan all, or a part of a first scan: what it has found by then need not wait for the rest."""
        if self._scanning is None:
            self.troubles = {}
            has_events = self.has_listened and self._events.listen()
            parts = self._scanner.scan_by_folder(newest_first=self._is_first)
            self._scanning = _Scanning(parts, now_s, has_events)
        scanning = self._scanning
        for found in scanning.parts:
            scanning.has_changed = scanning.has_changed or bool(found.seen or found.gone)
            self.troubles |= found.troubles
            if "" in found.troubles:
                break
            self._take(found)
            if self._is_first and self._in_parts and self._clock() >= now_s + _PART_S:
                return
        self._scanning = None
        self._end_scan(scanning)

    def _end_scan(self, scanning: _Scanning) -> None:
        self._pace.end_scan(
            scanning.began_s,
            took_s=self._clock() - scanning.began_s,
            has_changed=scanning.has_changed,
            is_first=self._is_first,
            has_events=scanning.has_events,
        )
        self._is_first = not self.has_listened
        if "" in self.troubles:
            if self.unreachable is None:
                self.unreachable = Unreachable(utc_text(self._wall()), self.troubles[""], self._scanner.root)
            self._is_first = True
            return
        self.unreachable = None


@dataclass(slots=True)
class _Scanning:
    """A look through the folder that is under way; `parts` go on with it."""

    parts: Iterator[Scan]
    began_s: float
    has_events: bool
    has_changed: bool = False


_SHARE_OF_TIME = 10
_SHARE_WITH_EVENTS = 100
_LONGEST_STRETCH_S = 300.0


class ScanPace:
    """The times of one folder's scans, on the clock of whoever asks.

    A scan takes a tenth of the time at most. Where events come, it takes a hundredth at most, as long as no scan finds a
    change that no event told of. `next_s` is the time of the next scan, `cadence_s` the time between two, `took_s` how long
    the last one took.

    Example:
        >>> pace = ScanPace(interval_s=30.0, now_s=0.0)
        >>> pace.end_scan(0.0, took_s=5.0, has_changed=False, is_first=True, has_events=False)
        >>> pace.next_s
        50.0
        >>> pace.end_scan(50.0, took_s=5.0, has_changed=False, is_first=False, has_events=True)
        >>> pace.next_s
        355.0
    """

    def __init__(self, *, interval_s: float, now_s: float) -> None:
        self._interval_s = interval_s
        self._may_scan_s = now_s
        self._trusts_events = True
        self._has_heard_since = False
        self.next_s = now_s
        self.cadence_s = interval_s
        self.took_s = 0.0

    def hear(self) -> None:
        """Events have come."""
        self._has_heard_since = self._trusts_events = True

    def scan_soon(self, at_s: float | None = None) -> None:
        """Scan as soon as that may be, and not before this time."""
        self.next_s = min(self.next_s, self._may_scan_s if at_s is None else max(at_s, self._may_scan_s))

    def end_scan(self, began_s: float, *, took_s: float, has_changed: bool, is_first: bool, has_events: bool) -> None:
        """A scan has ended; `has_events` where events came all the time since the one before."""
        self.took_s = took_s
        if has_changed and not is_first and not self._has_heard_since:
            self._trusts_events = False
        self._has_heard_since = False
        pause_s = took_s * (_SHARE_OF_TIME - 1)
        self._may_scan_s = began_s + took_s + pause_s
        pause_s = max(self._interval_s, pause_s)
        if has_events and self._trusts_events:
            pause_s = max(pause_s, min(took_s * (_SHARE_WITH_EVENTS - 1), _LONGEST_STRETCH_S))
        self.cadence_s = took_s + pause_s
        self.next_s = began_s + self.cadence_s
