"""The list of generations: the newest one, the one arbiter that appends, whole snapshots, collection.

    state/generations/<10 digits>/entry.json        a generation
    state/generations/<10 digits>/stage-<nonce>/    the next one being prepared, inside its predecessor
    state/<table>/<10 digits>-<nonce>.parquet       immutable segments, named by the generation they were written for

A stage lies inside its predecessor so that collection can never free a number for a late writer: a number is touched only
after the one before it is gone, and with that go all stages from which the number could be published.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from data_engine.lease.folder import FileSystem
from data_engine.lease.protocol import (
    TABLES,
    Damaged,
    Entry,
    InDoubt,
    Lost,
    NewerFormat,
    Segment,
    ShorterList,
    StaleView,
    digest,
    encode,
    entry_of,
    segment_number,
)

GENERATIONS = "state/generations"
KEEP = 4
"""The newest generations are never collected, so that a slow reader finds what it is reading."""

_TRIES = 3
_SNAPSHOT_TRIES = 5


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One whole generation. `new` holds the contents of the segments not seen before: table -> name -> bytes, in order."""

    entry: Entry
    new: Mapping[str, Mapping[str, bytes]]


class Generations:
    """The list as one machine sees it. `known` is the highest number ever seen and never goes back.

    `newest` is the last entry that `top` returned or `publish` won.
    """

    def __init__(self, folder: FileSystem, known: int) -> None:
        self.folder = folder
        self.known = known
        self.newest: Entry | None = None

    def top(self) -> Entry | None:
        """The newest generation, read from the highest known one forward; None before the first.

        Raises:
            StaleView: the share shows less than this machine has seen.
            Damaged: the newest one cannot be read.
            OSError: the share is away.
        """
        number = self.known
        try:
            newest = self.look(number)
        except FileNotFoundError:  # collected, or the first look
            numbers = self.numbers()
            if numbers is None:
                return None
            number = numbers[-1] if numbers else -1
            if number < self.known:
                raise ShorterList(f"the list ends at generation {number}, {self.known} was seen before") from None
            try:
                newest = self.look(number)
            except FileNotFoundError:
                raise StaleView("the list is changing") from None
        while True:
            try:
                newest = self.look(number + 1)
            except FileNotFoundError:
                break
            number += 1
        self.known = max(self.known, number)
        if isinstance(newest, Damaged):
            raise newest
        self.newest = newest
        return newest

    def look(self, number: int) -> Entry | Damaged:
        """The entry at `number`, or why it cannot be read."""
        data = self.folder.read(f"{path_of(number)}/entry.json")
        try:
            return entry_of(data, number)
        except Damaged as error:
            return error

    def numbers(self) -> list[int] | None:
        """The numbers the share shows, ascending; None when nobody has ever owned this workspace."""
        try:
            return self.all_numbers()
        except FileNotFoundError:
            self.folder.listdir("")  # an unmounted share is no new workspace
            if self.known > 0:
                raise ShorterList(f"the list is gone, generation {self.known} was seen before") from None
            return None

    def all_numbers(self) -> list[int]:
        """The numbers the share shows, ascending, whatever was seen before."""
        names = self.folder.listdir(GENERATIONS)
        return sorted(int(name) for name in names if len(name) == 10 and name.isascii() and name.isdecimal())

    def create(self, genesis: Entry) -> None:
        """Make the folders and the list itself, which appears by one rename, once for ever.

        Raises:
            OSError: the share is away, full or read-only.
        """
        for path in ("available", "leased", "stale", "leases", "control_requests", "state"):
            make(self.folder, path)
        for table in TABLES:
            make(self.folder, f"state/{table}")
        if self.numbers():
            return
        seed = f"init-{genesis.nonce}"
        self.folder.mkdir(seed)
        self.folder.mkdir(f"{seed}/{genesis.number:010d}")
        self.folder.write(f"{seed}/{genesis.number:010d}/entry.json", encode(genesis.record()))
        try:
            self.folder.rename_dir(seed, GENERATIONS)
        except OSError:
            self.folder.listdir(GENERATIONS)  # somebody else's list is as good
            remove(self.folder, seed)

    def publish(self, entry: Entry, after: Entry | None) -> None:
        """Win the number of `entry`, which follows `after`; None: it follows one that cannot be read. The one arbiter.

        Raises:
            Lost: the number is taken, or its predecessor was collected or replaced.
            InDoubt: the share did not say; it may have been published, or may be yet.
            OSError: it could not be prepared.
        """
        number, before = entry.number, path_of(entry.number - 1)
        stage = f"{before}/stage-{entry.nonce}"
        try:
            self._check_unchanged(number - 1, after)
            self.folder.mkdir(stage)
            self.folder.write(f"{stage}/entry.json", encode(entry.record()))
        except FileNotFoundError:
            raise Lost(f"generation {number - 1} was collected") from None
        is_moved = False
        for _ in range(_TRIES):
            try:
                self.folder.rename_dir(stage, path_of(number))
                is_moved = True
            except OSError:
                pass  # taken, refused, or done and the answer was lost: whose nonce is there decides
            there: Entry | Damaged | None = None
            with suppress(OSError):
                there = self.look(number)
            if isinstance(there, Entry) and there.nonce != entry.nonce:
                raise Lost(f"generation {number} is taken")
            if isinstance(there, Entry) or is_moved:
                self.known, self.newest = max(self.known, number), entry
                return
        raise InDoubt(f"{entry.kind} {number}")  # not known, and renaming again had no end either

    def snapshot(self, seen: Collection[str] = ()) -> Snapshot | None:
        """One whole generation; the contents of its segments that are not in `seen`. None before the first.

        Raises:
            StaleView: the list changes faster than it can be read.
            Damaged: a segment does not match its checksum, or the newest generation cannot be read.
            OSError: the share is away.
        """
        read: dict[str, bytes] = {}
        for _ in range(_SNAPSHOT_TRIES):
            top = self.top()
            if top is None:
                return None
            try:
                for table, segments in top.files.items():
                    for segment in segments:
                        if segment.name not in seen and segment.name not in read:
                            read[segment.name] = self.fetch(table, segment)
            except FileNotFoundError:  # collected meanwhile: begin again at the new top
                continue
            new = {table: {s.name: read[s.name] for s in rows if s.name in read} for table, rows in top.files.items()}
            return Snapshot(top, new)
        raise StaleView("no snapshot stayed whole while it was read")

    def fetch(self, table: str, segment: Segment) -> bytes:
        """The content of one segment.

        Raises:
            Damaged: it is not what was written.
            FileNotFoundError: it was collected.
        """
        data = self.folder.read(f"state/{table}/{segment.name}")
        if len(data) != segment.size_bytes or digest(data) != segment.digest:
            raise Damaged(f"state/{table}/{segment.name} does not match its checksum")
        return data

    def upload(self, table: str, number: int, nonce: str, content: bytes) -> Segment:
        """A new segment under a fresh name; nobody sees it before a generation lists it."""
        segment = Segment(f"{number:010d}-{nonce}.parquet", len(content), digest(content))
        self.folder.write(f"state/{table}/{segment.name}", content)
        return segment

    def collect(self, head: Entry) -> None:
        """Remove what neither `head` nor the generations kept before it list, then old generations, oldest first.

        Safe also for an owner that is fenced and does not know it: it goes by its own head, and a kept generation that
        is gone ends the collection before anything is removed.
        """
        numbers = self.numbers() or []
        live = set(head.names)
        for number in numbers:
            if head.number - KEEP < number < head.number:
                kept = self.look(number)
                if isinstance(kept, NewerFormat):
                    raise kept
                if isinstance(kept, Entry):  # nobody can read the segments of a damaged one
                    live |= kept.names
        for table in TABLES:
            for name in names_in(self.folder, f"state/{table}"):
                written_for = segment_number(name)
                if name not in live and written_for is not None and written_for <= head.number:
                    unlink(self.folder, f"state/{table}/{name}")
        for number in numbers:
            if number > head.number - KEEP:
                break
            remove(self.folder, path_of(number))  # raises when it cannot be removed: then the next number stays, too

    def newest_readable(self, numbers: list[int]) -> tuple[Entry, list[int]]:
        """The newest entry that can be read, and the newer numbers whose entry is not found.

        Raises:
            NewerFormat: one was written by a newer Data Engine.
            Damaged: there is none.
        """
        missing = []
        for number in reversed(numbers):
            try:
                found = self.look(number)
            except FileNotFoundError:
                missing.append(number)
                continue
            if isinstance(found, NewerFormat):
                raise found
            if isinstance(found, Entry):
                return found, missing
        raise Damaged("no generation can be read")

    def give_up(self, number: int) -> None:
        """Let the missing entry of `number` be missing for ever. An exclusive create tells what a cache cannot.

        Raises:
            Lost: it is there after all, or all of it is gone: what was seen is out of date.
            OSError: the share is away, full or read-only.
        """
        try:
            self.folder.write(f"{path_of(number)}/entry.json", b"lost\n")
        except (FileExistsError, FileNotFoundError):
            raise Lost(f"generation {number} is not as it was seen") from None

    def _check_unchanged(self, number: int, expected: Entry | None) -> None:
        try:
            found = self.look(number)
        except FileNotFoundError:
            if expected is not None:
                raise
            return
        if (found.nonce if isinstance(found, Entry) else None) != (expected.nonce if expected else None):
            raise Lost(f"generation {number} was replaced")


def path_of(number: int) -> str:
    """The folder of a generation."""
    return f"{GENERATIONS}/{number:010d}"


def make(folder: FileSystem, path: str) -> None:
    """Make a folder unless it is there."""
    with suppress(FileExistsError):
        folder.mkdir(path)


def unlink(folder: FileSystem, path: str) -> None:
    """Remove a file unless it is gone."""
    with suppress(FileNotFoundError):
        folder.unlink(path)


def names_in(folder: FileSystem, path: str) -> list[str]:
    """The names in a folder; none when it is not there."""
    try:
        return folder.listdir(path)
    except FileNotFoundError:
        return []


def remove(folder: FileSystem, path: str) -> None:
    """Remove a small folder with all in it, or a file, unless it is gone."""
    try:
        names = folder.listdir(path)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        unlink(folder, path)
        return
    for name in names:
        remove(folder, f"{path}/{name}")
    with suppress(FileNotFoundError):
        folder.rmdir(path)
