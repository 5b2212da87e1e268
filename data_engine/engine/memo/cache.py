"""What is kept of previewed steps, and what each step was made of when it was last previewed."""

from __future__ import annotations

import enum
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_engine.engine.access.access_log import Namespace
from data_engine.engine.access.signatures import Kind, Signature
from data_engine.engine.scratch import ScratchFile
from data_engine.record import frozen

DEFAULT_CACHE_BYTES = 1024**3
"""What a flow that belongs to no workspace may keep."""

_MAX_ENTRIES = 2000
Reads = dict[tuple[Kind, str], Signature]
"""Paths, by what of them was read, with what was seen there."""

Place = tuple[str, ...]
"""Which step this is, whatever its code: workspace, flow, group, source, name and number among its namesakes."""


class Input(enum.Enum):
    """What a step is given as `context.current`, where other values it is given have a name."""

    CURRENT = enum.auto()


@dataclass(slots=True)
class CacheEntry:
    """What one run of a step gave, and all it depended on beside its key.

    `unseen` is why it can never be reused, `not_kept` why there is no `value`; `same_as` is what it was given and handed on;
    `shares` says that its value holds a part of another's, `is_stateful` that its value can be used up. `versions` tells which
    contents it read of files that earlier steps wrote, `scratch` what it wrote itself to the preview's own folder; `doubts`
    says of what it read that its author hardly meant it so, `headings` the same of the frame that it gave, `warned` what it logged
    as a warning, `checked` what a check has found.
    """

    out_key: bytes
    reads: Reads
    frames: dict[tuple[int, str], tuple[Namespace, bytes]]
    files: Reads
    unseen: str | None
    needs_order: bool
    at_s: float
    not_kept: str | None = None
    is_stateful: bool = False
    same_as: str | Input | None = None
    shares: bool = False
    classes: frozenset[type] = frozenset()
    versions: Mapping[str, str] = field(default_factory=dict)
    scratch: dict[Path, ScratchFile] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    headings: tuple[str, ...] | None = None
    warned: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    value: Any = None
    size_bytes: int = 0

    @property
    def kept_bytes(self) -> int:
        """How large the copies are that were kept of what it wrote to scratch."""
        return sum(file.kept.size_bytes for file in self.scratch.values() if file.kept is not None)


@frozen
class StepMakeup:
    """What a step was made of when it was last previewed, to say what changed."""

    parts: Mapping[str, bytes]
    consumed: Mapping[str, bytes]


class PreviewCache:
    """Results of previewed steps, the least recently used dropped first; safe for several threads.

    Values in memory, and copies of files on the drive, may each be as large as the limit; a copy goes with its last entry.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, CacheEntry] = OrderedDict()
        self._pasts: OrderedDict[Place, StepMakeup] = OrderedDict()
        self._in_order: set[Place] = set()
        self._used_bytes = 0
        self._kept_bytes = 0

    @property
    def used_bytes(self) -> int:
        """The estimated size of what is kept in memory."""
        return self._used_bytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._pasts.clear()
            self._used_bytes = self._kept_bytes = 0

    def get(self, key: bytes) -> CacheEntry | None:
        """The entry of a key, now the most recently used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def put(self, key: bytes, entry: CacheEntry, limit_bytes: int) -> None:
        """Keep an entry, dropping the least recently used ones beyond `limit_bytes`."""
        if entry.kept_bytes > limit_bytes:
            entry.scratch = {path: replace(file, kept=None) for path, file in entry.scratch.items()}
        with self._lock:
            before = self._entries.pop(key, None)
            if before is not None:
                self._count(before, -1)
            self._count(entry, 1)
            self._entries[key] = entry
            while self._entries and self._is_over(limit_bytes):
                self._count(self._entries.popitem(last=False)[1], -1)

    def _count(self, entry: CacheEntry, sign: int) -> None:
        self._used_bytes += sign * entry.size_bytes
        self._kept_bytes += sign * entry.kept_bytes

    def _is_over(self, limit_bytes: int) -> bool:
        return max(self._used_bytes, self._kept_bytes) > limit_bytes or len(self._entries) > _MAX_ENTRIES

    def needs_order(self, place: Place) -> bool:
        """Whether a step of this flow changed more than its result last time."""
        return place in self._in_order

    def set_order(self, place: Place, *, needed: bool) -> None:
        """Remember whether one did."""
        with self._lock:
            self._in_order.discard(place)
            if needed:
                self._in_order.add(place)

    def past(self, place: Place, now: StepMakeup) -> StepMakeup | None:
        """What the step at `place` was made of last time; from now on it is `now`."""
        with self._lock:
            before = self._pasts.pop(place, None)
            self._pasts[place] = now
            while len(self._pasts) > _MAX_ENTRIES:
                self._pasts.popitem(last=False)
            return before
