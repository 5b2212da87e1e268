"""The list of generations: the newest one, the one arbiter that appends, whole snapshots, collection.

    state/generations/<10 digits>/entry.json        a generation
    state/generations/<10 digits>/stage-<nonce>/    the next one being prepared, inside its predecessor
    state/<table>/<10 digits>-<nonce>.parquet       immutable segments, named by the generation they were written for

A stage lies inside its predecessor so that collection can never free a number for a late writer: a number is touched only
after the one before it is gone, and with that go all stages from which the number could be published.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from functools import partial

from data_engine.lease.folder import GENERATIONS, FileSystem, forget_gone, make, names_in, put_aside, read_each, remove
from data_engine.lease.protocol import (
    Damaged,
    Generation,
    InDoubt,
    Lost,
    NewerFormat,
    Replaced,
    Segment,
    ShorterList,
    segment_number,
)
from data_engine.lease.records import LARGEST_ENTRY_BYTES, digest, encode, generation_of
from data_engine.ledger.segments import TABLES
from data_engine.nofollow import NotFollowedError

KEEP = 4
"""The newest generations are never collected, so that a slow reader finds what it is reading."""

_TRIES = 3
_LOOKED_AT = 32


class GenerationList:
    """The list as one machine sees it. `known` is the highest number ever seen, `nonce` that of the generation there.

    `known` goes back only where the list tells of a repair that is not in `repairs`, the nonces of those seen before: then
    the list has lost its end. `newest` is the last entry that `top` returned or `publish` won. `left_alone` holds, by its
    path, what lies among our files and is none of them, and why it was not touched.
    """

    def __init__(self, folder: FileSystem, known: int, *, nonce: str = "", repairs: Collection[str] = ()) -> None:
        self.folder = folder
        self.known = known
        self.nonce = nonce
        self.repairs = frozenset(repairs)
        self.newest: Generation | None = None
        self.left_alone: dict[str, str] = {}

    def top(self) -> Generation | None:
        """The newest generation; None before the first. Found by what the folder shows and by what was seen before.

        Raises:
            StaleView: the share shows less than this machine has seen.
            Damaged: the newest one cannot be read; `Replaced`: the list is another one than this machine knows.
            OSError: the share is away.
        """
        numbers = self.numbers()
        if numbers is None:
            return None
        number, newest = self._newest_of(numbers)
        if number != self.known:
            try:
                entry = self.look(self.known)
            except FileNotFoundError:  # collected, or lost
                if number < self.known and not self._tells_of_a_repair(newest):
                    raise ShorterList(f"the list ends at generation {number}, {self.known} was seen before") from None
            else:
                self._check_same(entry, newest)
                if number < self.known and not self._tells_of_a_repair(newest):
                    number, newest = self.known, entry
        else:
            self._check_same(newest, newest)
        while True:
            following = newest.next_number if isinstance(newest, Generation) else number + 1
            try:
                newest = self.look(following)
            except FileNotFoundError:
                break
            number = following
        self._check_no_hole(following, numbers)
        if isinstance(newest, Damaged):
            if number > self.known:
                self.known, self.nonce = number, ""
            raise newest
        if newest.goes_on_at:
            raise ShorterList(f"a repair that goes on at generation {newest.goes_on_at} has not ended")
        self._saw(newest)
        return newest

    def _newest_of(self, numbers: list[int]) -> tuple[int, Generation | Damaged]:
        """The highest number whose folder holds an entry. Folders above it that hold none are no generations."""
        for number in reversed(numbers[-_LOOKED_AT:]):
            with suppress(FileNotFoundError):
                return number, self.look(number)
        last = numbers[-1] if numbers else -1
        raise ShorterList(f"the list ends at generation {last}, and no entry is there")

    def _check_same(self, entry: Generation | Damaged, newest: Generation | Damaged) -> None:
        """Refuse another entry at the known number than was seen there, unless the list tells of a repair."""
        is_other = isinstance(entry, Generation) and self.nonce not in ("", entry.nonce)
        if is_other and not self._tells_of_a_repair(newest):
            raise Replaced("holds another generation than this machine has seen there", file=path_of(self.known))

    def _check_no_hole(self, following: int, numbers: list[int]) -> None:
        """Refuse a folder without an entry where the next generation belongs: it was damaged, or is not seen yet."""
        for number in numbers:
            if number == following:
                raise ShorterList(f"generation {number} is listed, and its entry is not there")
            if number > following:
                self.left_alone[path_of(number)] = "it is no generation: it holds no entry"

    def _tells_of_a_repair(self, newest: Generation | Damaged) -> bool:
        """Whether the list was repaired since this machine has looked: then what it knew beyond that is lost."""
        return isinstance(newest, Generation) and any(repair.nonce not in self.repairs for repair in newest.repairs)

    def _saw(self, newest: Generation) -> None:
        self.known, self.nonce, self.newest = newest.number, newest.nonce, newest
        self.repairs |= {repair.nonce for repair in newest.repairs}

    def look(self, number: int) -> Generation | Damaged:
        """The entry at `number`, or why it cannot be read."""
        path = f"{path_of(number)}/entry.json"
        try:
            return generation_of(self.folder.read(path, LARGEST_ENTRY_BYTES), number)
        except (NotFollowedError, NotADirectoryError) as error:
            return Damaged(f"is not Data Engine's: {error.strerror}", file=self._relative(error, path), is_foreign=True)
        except Damaged as error:
            error.file = error.file or path
            return error

    def _relative(self, error: OSError, path: str) -> str:
        """The path below the state folder that the error is about."""
        name = str(error.filename or "").replace("\\", "/")
        parts = path.split("/")
        heads = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        return next((head for head in heads if name.endswith(f"/{head}")), path)

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
        """The numbers the share shows, ascending, whatever was seen before.

        Raises:
            Damaged: something else stands where the list belongs, or more than a list ever holds.
            OSError: the share is away; FileNotFoundError when there is no list.
        """
        try:
            names = self.folder.listdir(GENERATIONS)
        except (NotFollowedError, NotADirectoryError) as error:
            where = self._relative(error, GENERATIONS)
            raise Damaged(f"is not Data Engine's: {error.strerror}", file=where, is_foreign=True) from None
        return sorted(int(name) for name in names if len(name) == 10 and name.isascii() and name.isdecimal())

    def create(self, first: Generation) -> None:
        """Make the folders and the list itself, which appears by one rename with `first` in it, once for ever.

        Raises:
            OSError: the share is away, full or read-only.
        """
        for path in ("available", "leased", "stale", "leases", "control_requests", "state"):
            make(self.folder, path)
        for table in TABLES:
            make(self.folder, f"state/{table}")
        with suppress(FileNotFoundError):
            if self.all_numbers():
                return
        seed = f"init-{first.nonce}"
        self.folder.mkdir(seed)
        self.folder.mkdir(f"{seed}/{first.number:010d}")
        self.folder.write(f"{seed}/{first.number:010d}/entry.json", encode(first.record()))
        try:
            self.folder.rename_dir(seed, GENERATIONS)
        except OSError:
            self.folder.listdir(GENERATIONS)  # somebody else's list is as good
            self.left_alone |= remove(self.folder, seed)

    def begin_again(self, first: Generation) -> None:
        """Make a new list that begins with `first`, where the old one is gone with all its folders.

        Raises:
            Lost: somebody else has made one.
            OSError: the share is away, full or read-only.
        """
        with suppress(OSError):
            self.folder.rmdir(GENERATIONS)  # refused where it is filled
        self.create(first)
        try:
            entry = self.look(first.number)
        except FileNotFoundError:
            raise Lost("somebody else has made a new list") from None
        if not isinstance(entry, Generation) or entry.nonce != first.nonce:
            raise Lost("somebody else has made a new list")
        self._saw(first)

    def publish(self, generation: Generation, after: Generation | None, *, in_number: int | None = None) -> None:
        """Win the number of `generation`, which follows `after`, the generation `in_number` (the one before, if not said).

        The one arbiter. `after` is None where the generation there cannot be read.

        Raises:
            Lost: the number is taken, or its predecessor was collected or replaced.
            InDoubt: the share did not say; it may have been published, or may be yet.
            OSError: it could not be prepared.
        """
        number, before = generation.number, generation.number - 1 if in_number is None else in_number
        stage = f"{path_of(before)}/stage-{generation.nonce}"
        try:
            self._check_unchanged(before, after)
            if {number, number + 1} & set(self.all_numbers()):  # also where its entry is gone
                raise Lost(f"generation {number} is there")
            self.folder.mkdir(stage)
            self.folder.write(f"{stage}/entry.json", encode(generation.record()))
        except FileNotFoundError:
            raise Lost(f"generation {before} was collected") from None
        is_moved = False
        for _ in range(_TRIES):
            try:
                self.folder.rename_dir(stage, path_of(number))
                is_moved = True
            except OSError:
                pass  # taken, refused, or done and the answer was lost: whose nonce is there decides
            entry: Generation | Damaged | None = None
            with suppress(OSError):
                entry = self.look(number)
            if isinstance(entry, Generation) and entry.nonce != generation.nonce:
                raise Lost(f"generation {number} is taken")
            if isinstance(entry, Generation) or is_moved:
                if not generation.goes_on_at:  # else it is only half of a repair
                    self._saw(generation)
                return
        raise InDoubt(f"{generation.kind} {number}")  # not known, and renaming again had no end either

    def check_whole(self, generation: Generation, taken: Collection[str]) -> None:
        """Return when every segment that `generation` lists is there, and whole where it is not in `taken`.

        `taken` are the names of segments that are only looked for.

        Raises:
            Damaged: one is missing or not what was written; it says which.
            FileNotFoundError: one was collected, `generation` is not the newest any more.
            OSError: the share is away.
        """
        for table, segments in generation.files.items():
            names = self._listed(table) if segments else set()
            unread = [segment for segment in segments if segment.name not in taken or segment.name not in names]
            for segment, is_there in zip(
                unread, read_each(self.folder, partial(self._is_there, table), unread), strict=True
            ):
                if not is_there:
                    self.fetch_listed(table, segment, generation.nonce)

    def _is_there(self, table: str, segment: Segment) -> bool:
        try:
            self.fetch(table, segment)
        except FileNotFoundError:
            return False
        return True

    def _listed(self, table: str) -> set[str]:
        try:
            return set(names_in(self.folder, f"state/{table}"))
        except (NotFollowedError, NotADirectoryError) as error:
            raise Damaged(f"is not Data Engine's: {error.strerror}", file=f"state/{table}", is_foreign=True) from None

    def broken_segments(self, generation: Generation, refused: Collection[str] = ()) -> dict[str, list[str]]:
        """Per table the segments of `generation` that are missing or not what was written; all of them are read.

        `refused` are names of segments that are whole, but none that a Data Engine writes.

        Raises:
            OSError: the share is away.
        """
        broken: dict[str, list[str]] = {}
        for table, segments in generation.files.items():
            for segment in segments:
                try:
                    self.fetch(table, segment)
                    is_broken = segment.name in refused
                except (FileNotFoundError, Damaged):
                    is_broken = True
                if is_broken:
                    broken.setdefault(table, []).append(segment.name)
        return broken

    def fetch_listed(self, table: str, segment: Segment, nonce: str) -> bytes:
        """The content of a segment that the generation with this nonce lists.

        Raises:
            Damaged: it is not what was written, or is missing while that generation is still the newest.
            FileNotFoundError: it was collected, there is a newer generation.
        """
        try:
            return self.fetch(table, segment)
        except FileNotFoundError:
            top = self.top()
            if top is None or top.nonce != nonce:
                raise
        try:
            return self.fetch(table, segment)
        except FileNotFoundError:
            raise Damaged("is missing", file=f"state/{table}/{segment.name}") from None

    def fetch(self, table: str, segment: Segment) -> bytes:
        """The content of one segment.

        Raises:
            Damaged: it is not what was written.
            FileNotFoundError: it was collected.
        """
        path = f"state/{table}/{segment.name}"
        try:
            data = self.folder.read(path, segment.size_bytes)
        except NotFollowedError as error:
            raise Damaged(f"is not what was written: {error.strerror}", file=path) from None
        if len(data) != segment.size_bytes or digest(data) != segment.digest:
            raise Damaged("does not match its checksum", file=path)
        return data

    def upload(self, table: str, number: int, nonce: str, content: bytes) -> Segment:
        """A new segment under a fresh name; nobody sees it before a generation lists it."""
        segment = Segment(f"{number:010d}-{nonce}.parquet", len(content), digest(content))
        path = f"state/{table}/{segment.name}"
        try:
            self.folder.write(path, content)
        except FileNotFoundError:  # the table's folder is gone
            make(self.folder, f"state/{table}")
            self.folder.write(path, content)
        return segment

    def collect(self, head: Generation) -> None:
        """Remove what neither `head` nor the generations kept before it list, then old generations, oldest first.

        Safe also for an owner that is fenced and does not know it: it goes by its own head, and a kept generation that
        is gone ends the collection before anything is removed. It ends where `head` is not there any more as well: somebody
        has restored a backup.
        """
        forget_gone(self.folder, self.left_alone)
        numbers = self.numbers() or []
        live = set(head.names)
        for number in numbers:
            if head.number - KEEP < number < head.number:
                generation = self.look(number)
                if isinstance(generation, NewerFormat):
                    raise generation
                if isinstance(generation, Generation):  # nobody can read the segments of a damaged one
                    live |= generation.names
        for table in TABLES:
            self._collect_segments(table, live, head)
        for number in numbers:
            if number > head.number - KEEP:
                break
            self._check_unchanged(head.number, head)
            self._collect_generation(number)  # raises when it cannot be removed: then the next number stays, too

    def _collect_segments(self, table: str, live: Collection[str], head: Generation) -> None:
        try:
            names = names_in(self.folder, f"state/{table}")
        except (NotFollowedError, NotADirectoryError) as error:
            self.left_alone |= {f"state/{table}": str(error.strerror)}
            return
        for name in names:
            written_for = segment_number(name)
            if name not in live and written_for is not None and written_for <= head.number:
                self._check_unchanged(head.number, head)
                self.left_alone |= remove(self.folder, f"state/{table}/{name}")

    def _collect_generation(self, number: int) -> None:
        """Remove an old generation. What in it is not ours is put aside, so that the folder can go.

        The folder must go before the next number is touched, because it can hold a stage for that number; and it is never
        renamed away, because a late writer may still have it open.
        """
        path = path_of(number)
        left = remove(self.folder, path)
        if path in left:  # a link in place of an old generation: nobody ever writes through it
            self.left_alone |= left
            return
        for foreign in left:
            self.left_alone |= put_aside(self.folder, foreign, f"{number:010d}")
        if left:
            remove(self.folder, path)

    def newest_readable(self, numbers: list[int]) -> tuple[Generation | None, list[int]]:
        """The newest entry that can be read, None when there is none, and the newer numbers whose entry is not found.

        Raises:
            NewerFormat: one was written by a newer Data Engine.
        """
        missing = []
        for number in reversed(numbers):
            try:
                entry = self.look(number)
            except FileNotFoundError:
                missing.append(number)
                continue
            if isinstance(entry, NewerFormat):
                raise entry
            if isinstance(entry, Generation):
                return entry, missing
        return None, missing

    def give_up(self, number: int) -> None:
        """Make the missing entry of `number` missing for ever. An exclusive create tells what a cache cannot.

        Raises:
            Lost: it is there after all, or all of it is gone: what was seen is out of date.
            OSError: the share is away, full or read-only.
        """
        try:
            self.folder.write(f"{path_of(number)}/entry.json", b"lost\n")
        except (FileExistsError, FileNotFoundError):
            raise Lost(f"generation {number} is not as it was seen") from None

    def _check_unchanged(self, number: int, expected: Generation | None) -> None:
        try:
            entry = self.look(number)
        except FileNotFoundError:
            if expected is not None:
                raise
            return
        if (entry.nonce if isinstance(entry, Generation) else None) != (expected.nonce if expected else None):
            raise Lost(f"generation {number} was replaced")


def path_of(number: int) -> str:
    """The folder of a generation."""
    return f"{GENERATIONS}/{number:010d}"
