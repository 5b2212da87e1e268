"""When a folder is scanned next: at its interval, not too often for its size, rarely where events tell what changes."""

from __future__ import annotations

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
