"""Scan the files of a source with `os.scandir` for what is new, changed or gone, and choose the times of the scans.

File-system events only say where to look, the scan decides. Network drives tell nobody about what other machines do, so they get no
events; their scans come by the clock. On Windows the library of events is kept below 7 (pyproject.toml): from 7.0 on it hands events
over only after a second without any, so that a folder which is written to steadily gives none.

The scanner keeps one map per folder, from name to signature, so a steady scan costs a stat for each file and allocates
nothing; a name is filtered once. It decides nothing, and forgets nothing it could not look at.
"""

from __future__ import annotations

import math
import os
import stat
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.flow.scan import is_candidate_name
from data_engine.model import Signature, utc_text
from data_engine.platforms.drives import network_drive
from data_engine.platforms.files import is_folder_itself, is_link, is_placeholder, who_locks
from data_engine.reasons.kinds import Unreachable

_HIDDEN = (".", "~$")


class Scan(NamedTuple):
    """The changes that a look found. Names are paths inside the root with forward slashes; a single file is "".

    `seen` are the candidates that are new or changed, with their signatures; `troubles` says of each folder that could
    not be read ("" is the root) why. Without access to the root nothing else is known.
    """

    seen: dict[str, Signature]
    gone: list[str]
    troubles: dict[str, str]


class Scanner:
    """The candidates of one source, a folder with its subfolders or a single file. One thread at a time.

    Nothing under `skip` (the flow's own mirror) is seen. Linked folders are not followed, linked files count.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp()).resolve()
        >>> _ = (root / "a.csv").write_text("x"), (root / "b.csv.part").write_text("x")
        >>> scanner = Scanner(root, (".csv",))
        >>> list(scanner.scan().seen), list(scanner.scan().seen)
        (['a.csv'], [])
    """

    def __init__(self, root: Path, extensions: tuple[str, ...] | None, *, skip: Path | None = None) -> None:
        self.root = os.path.normpath(root)
        self._extensions = extensions
        self._skip = None if skip is None else os.path.normpath(skip)
        self._folders: dict[str, _Folder] = {}
        self._single: Signature | None = None

    def files(self) -> Iterator[tuple[str, Signature]]:
        """Every candidate as it was last seen."""
        if self._single is not None:
            yield "", self._single
        for prefix, folder in list(self._folders.items()):  # copies: who explains asks while a scan goes on
            for name, signature in list(folder.files.items()):
                yield prefix + name, signature

    def signature(self, path: str) -> Signature | None:
        """The candidate as it was last seen; None for one that was not seen, or is gone."""
        if not path:
            return self._single
        prefix, name = _split(path)
        folder = self._folders.get(prefix)
        return None if folder is None else folder.files.get(name)

    def path(self, name: str) -> str:
        """Where the candidate is."""
        return os.path.join(self.root, name) if name else self.root

    def scan(self) -> Scan:
        """Look at everything."""
        whole = Scan({}, [], {})
        for scan in self.scan_by_folder():
            whole.seen.update(scan.seen)
            whole.gone.extend(scan.gone)
            whole.troubles.update(scan.troubles)
        return whole

    def scan_by_folder(self, *, newest_first: bool = False) -> Iterator[Scan]:
        """Look at everything, folder after folder, and give what each look found, if anything.

        `newest_first` takes first the subfolder in which a name was added or removed last: there new files are.
        """
        scan = Scan({}, [], {})
        try:
            facts = os.stat(self.root)
        except OSError as error:
            scan.troubles[""] = _reason(error)
            yield scan
            return
        if not stat.S_ISDIR(facts.st_mode):
            self._drop("", scan)
            signature = Signature(facts.st_size, facts.st_mtime_ns)
            if signature != self._single:
                self._single = scan.seen[""] = signature
            yield scan
            return
        if self._single is not None:
            self._single = None
            scan.gone.append("")
        for _ in self._walk([""], scan, newest_first=newest_first):
            if scan.seen or scan.gone or scan.troubles:
                yield Scan(scan.seen.copy(), scan.gone.copy(), scan.troubles.copy())
                for part in scan:
                    part.clear()

    def look_at(self, paths: Iterable[str]) -> Scan:
        """Look at these files and folders only: absolute paths under the root, that an event named.

        A folder is looked through with all below it: it may be another one than before, or have changed elsewhere.
        """
        scan = Scan({}, [], {})
        walked = None
        for path in sorted(paths):
            if path == self.root:
                return self.scan()
            is_below = walked is not None and path.startswith(walked)
            if not is_below and path.startswith(self.root.rstrip(os.sep) + os.sep) and self._look_at(path, scan):
                walked = path + os.sep
        return scan

    def who_locks(self, name: str) -> str | None:
        """Who has the candidate open so that nobody else can read it now, in words; None when nobody has."""
        return who_locks(self.path(name))

    def is_elsewhere(self, name: str) -> bool:
        """Whether reading the candidate would fetch its content from a cloud or an archive."""
        try:
            return is_placeholder(os.stat(self.path(name)))
        except OSError:
            return False

    def see_again(self, name: str) -> Signature | None:
        """The candidate's signature now, which is kept; None when it is gone."""
        path = self.path(name)
        try:
            facts = os.stat(path)
        except OSError:
            return None
        if not stat.S_ISREG(facts.st_mode):
            return None
        signature = Signature(facts.st_size, facts.st_mtime_ns)
        if not name:
            self._single = signature
        else:
            prefix, last = _split(name)
            if prefix in self._folders:
                self._folders[prefix].files[last] = signature
        return signature

    def forget(self, name: str) -> None:
        """Forget the candidate: the next look that sees it takes it for new."""
        if not name:
            self._single = None
        elif (folder := self._folders.get(_split(name)[0])) is not None:
            folder.files.pop(_split(name)[1], None)

    def _look_at(self, path: str, scan: Scan) -> bool:
        """Look at one path; whether all below it was looked through."""
        name = path[len(self.root.rstrip(os.sep)) + 1 :].replace(os.sep, "/")
        prefix, last = _split(name)
        parts = name.split("/")
        if any(part.startswith(_HIDDEN) for part in parts) or self._is_skipped(path):
            return False
        if prefix not in self._folders:
            while prefix and _split(prefix[:-1])[0] not in self._folders:
                prefix = _split(prefix[:-1])[0]
            if prefix and os.path.isdir(self.path(prefix)):
                self._look_through(prefix, scan)
            return False
        folder = self._folders[prefix]
        try:
            facts = os.stat(path)
        except OSError:
            if folder.files.pop(last, None) is not None:
                scan.gone.append(name)
            if f"{name}/" in folder.children:
                folder.children.discard(f"{name}/")
                self._drop(f"{name}/", scan)
            return False
        if stat.S_ISDIR(facts.st_mode):
            if not is_link(path):
                self._look_through(f"{name}/", scan)
                return True
        elif stat.S_ISREG(facts.st_mode) and self._is_wanted(last):
            signature = Signature(facts.st_size, facts.st_mtime_ns)
            if folder.files.get(last) != signature:
                folder.files[last] = scan.seen[name] = signature
        return False

    def _look_through(self, prefix: str, scan: Scan) -> None:
        self._folders[_split(prefix[:-1])[0]].children.add(prefix)
        deque(self._walk([prefix], scan), maxlen=0)

    def _walk(self, prefixes: list[str], scan: Scan, *, newest_first: bool = False) -> Iterator[None]:
        """Look through the folders and those below them; a pause after each."""
        while prefixes:
            prefix = prefixes.pop()
            folder = self._folders.get(prefix)
            if folder is None:
                folder = self._folders[prefix] = _Folder()
            before = folder.children
            try:
                children = self._read(prefix, folder, scan)
            except OSError as error:
                if prefix and isinstance(error, FileNotFoundError):
                    continue  # gone since its parent was read: the parent's next listing says so
                scan.troubles[prefix] = _reason(error)
                yield
                continue
            for child in before - children:
                self._drop(child, scan)
            folder.children = children
            ordered = sorted(children, reverse=True)  # the last one is taken next
            prefixes.extend(sorted(ordered, key=self._changed_ns) if newest_first else ordered)
            yield

    def _changed_ns(self, prefix: str) -> int:
        try:
            return os.stat(self.path(prefix)).st_mtime_ns
        except OSError:
            return 0

    def _read(self, prefix: str, folder: _Folder, scan: Scan) -> set[str]:
        """Compare one folder with what is known of it; the prefixes of its subfolders."""
        files, passed_over = folder.files, folder.passed_over
        present: list[str] = []
        passed: list[str] = []
        children: set[str] = set()
        with os.scandir(self.path(prefix)) as entries:
            for entry in entries:
                name = entry.name
                signature = files.get(name)
                if signature is not None:
                    try:
                        facts = entry.stat()
                    except OSError:
                        continue
                    if not stat.S_ISREG(facts.st_mode):
                        continue
                    if facts.st_mtime_ns != signature[1] or facts.st_size != signature[0]:
                        files[name] = scan.seen[prefix + name] = Signature(facts.st_size, facts.st_mtime_ns)
                    present.append(name)
                elif name in passed_over:
                    passed.append(name)
                elif (signature := self._meet(entry, prefix, passed, children)) is not None:
                    files[name] = scan.seen[prefix + name] = signature
                    present.append(name)
        if len(present) != len(files):
            for name in files.keys() - present:
                del files[name]
                scan.seen.pop(prefix + name, None)
                scan.gone.append(prefix + name)
        if len(passed) != len(passed_over):
            folder.passed_over = set(passed)
        return children

    def _meet(self, entry: os.DirEntry[str], prefix: str, passed: list[str], children: set[str]) -> Signature | None:
        """The signature of an entry that is a candidate; others are noted, so that names are filtered once."""
        name = entry.name
        try:
            if name.startswith(_HIDDEN):
                passed.append(name)
            elif is_folder_itself(entry):
                if not self._is_skipped(entry.path):
                    children.add(f"{prefix}{name}/")
            elif not self._is_wanted(name):
                passed.append(name)
            elif entry.is_file():
                facts = entry.stat()
                return Signature(facts.st_size, facts.st_mtime_ns)
        except OSError:
            pass  # it went away between the listing and the look
        return None

    def _is_wanted(self, name: str) -> bool:
        return is_candidate_name(name) and (self._extensions is None or name.lower().endswith(self._extensions))

    def _is_skipped(self, path: str) -> bool:
        return self._skip is not None and (path == self._skip or path.startswith(self._skip + os.sep))

    def _drop(self, prefix: str, scan: Scan) -> None:
        folder = self._folders.pop(prefix, None)
        if folder is not None:
            scan.gone.extend(prefix + name for name in folder.files)
            for child in folder.children:
                self._drop(child, scan)


class _Folder:
    __slots__ = ("children", "files", "passed_over")

    def __init__(self) -> None:
        self.files: dict[str, Signature] = {}
        self.passed_over: set[str] = set()
        self.children: set[str] = set()


def _split(path: str) -> tuple[str, str]:
    """The folder's prefix ("" or with its trailing slash) and the name."""
    cut = path.rfind("/") + 1
    return path[:cut], path[cut:]


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


_PART_S = 0.1
_MOST_HINTS = 5000


class FolderScans:
    """Looks through one folder; `take` gets what was found. Any thread may call `hint`, one calls the rest.

    The first look is made `in_parts`, so that what it has found by then need not wait for the rest. `troubles` are those of the
    last whole look, which began at `whole_s`; `unreachable` says since when the folder is away.
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
        self.whole_s = -math.inf
        self._scanner, self._pace, self._events = scanner, pace, events
        self._in_parts, self._take, self._clock, self._wall = in_parts, take, clock, wall
        self._hints: deque[str] = deque()
        self._is_first = True
        self._scanning: Iterator[None] | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether a look has begun and not ended."""
        return self._scanning is not None

    def hint(self, path: str) -> None:
        """Look at this path at the next look."""
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
            self._scanning = self._scanning or self._scan(now_s)
            if all(self._clock() < now_s + _PART_S for _ in self._scanning):
                self._scanning = None
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

    def _scan(self, began_s: float) -> Iterator[None]:
        """Scan all, with a pause where a first scan may: what it has found by then need not wait for the rest."""
        self.troubles = {}
        has_changed, is_first = False, self._is_first
        has_events = self.has_listened and self._events.listen()
        for scan in self._scanner.scan_by_folder(newest_first=is_first):
            has_changed = has_changed or bool(scan.seen or scan.gone)
            self.troubles |= scan.troubles
            if "" in scan.troubles:
                break
            self._take(scan)
            if is_first and self._in_parts:
                yield
        took_s = self._clock() - began_s
        self._pace.end_scan(began_s, took_s=took_s, has_changed=has_changed, is_first=is_first, has_events=has_events)
        self.whole_s = began_s
        is_away = "" in self.troubles
        self._is_first = is_away or not self.has_listened
        if not is_away:
            self.unreachable = None
        elif self.unreachable is None:
            self.unreachable = Unreachable(utc_text(self._wall()), self.troubles[""], self._scanner.root)


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
        """Note that events have come."""
        self._has_heard_since = self._trusts_events = True

    def scan_soon(self, at_s: float | None = None) -> None:
        """Scan as soon as that may be, and not before this time."""
        self.next_s = min(self.next_s, self._may_scan_s if at_s is None else max(at_s, self._may_scan_s))

    def end_scan(self, began_s: float, *, took_s: float, has_changed: bool, is_first: bool, has_events: bool) -> None:
        """Plan the next scan after one; `has_events` where events came all the time since the one before."""
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


_KINDS = (
    "FileCreated",
    "FileModified",
    "FileAttrib",
    "FileMoved",
    "FileDeleted",
    "DirCreated",
    "DirMoved",
    "DirDeleted",
)


class FileEvents:
    """One watcher of folders for this process. Callbacks come from its thread, with the absolute path that changed.

    Not the library's polling observer, which costs a third of a core at 100,000 files and ends when a share is away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._observer: Any = None
        self._handlers: Counter[Any] = Counter()

    def watch(self, folder: Path, tell: Callable[[str], None], *, recursive: bool) -> Callable[[], None] | None:
        """Call `tell` with the path of whatever changes under `folder`, until what this gives is called; None where no events come.

        They do not for a network drive, for a folder that is not there, and when the system's watches are used up.
        """
        if network_drive(folder) is not None:
            return None
        handler = _Handler(tell)
        with self._lock:
            try:
                watch = self._schedule(handler, str(folder), recursive)
            except OSError:
                return None
            self._handlers[watch] += 1

        def forget() -> None:
            with self._lock, suppress(KeyError, OSError):
                self._handlers[watch] -= 1
                if self._observer is None:
                    return
                if self._handlers[watch]:
                    self._observer.remove_handler_for_watch(handler, watch)
                else:
                    self._observer.unschedule(watch)

        return forget

    def close(self) -> None:
        """End the watcher's threads."""
        with self._lock:
            observer, self._observer = self._observer, None
            self._handlers.clear()
        if observer is not None:
            observer.stop()
            observer.join()

    def _schedule(self, handler: _Handler, folder: str, recursive: bool) -> Any:
        import watchdog.events

        from data_engine.platforms.drives import new_observer

        if self._observer is None:
            import logging

            # What it says of its own threads is for whoever has set logging up, not for standard error.
            logging.getLogger("watchdog").addHandler(logging.NullHandler())
            self._observer = new_observer()
            self._observer.daemon = True
            self._observer.start()
        # Not DirModified: it comes with every file, and would have the whole folder looked through for each.
        kinds = [getattr(watchdog.events, f"{kind}Event", None) for kind in _KINDS]
        return self._observer.schedule(
            handler, folder, recursive=recursive, event_filter=[kind for kind in kinds if kind is not None]
        )


class FolderEvents:
    """The events of one folder, or of a single file's; `tell` gets the paths. Without `events` none ever come."""

    def __init__(self, events: FileEvents | None, root: Path, tell: Callable[[str], None]) -> None:
        self._events, self._root, self._tell = events, root, tell
        self._heard: tuple[Path, tuple[int, int]] | None = None
        self._stop: Callable[[], None] = lambda: None

    @property
    def come(self) -> bool:
        """Whether events come, as far as is known."""
        return self._heard is not None

    def listen(self) -> bool:
        """Listen to the folder that is there now, which may be another one than before; whether events come."""
        if self._events is None:
            return False
        try:
            facts = os.stat(self._root)
            folder = self._root
            if not stat.S_ISDIR(facts.st_mode):
                folder = self._root.parent
                facts = os.stat(folder)
        except OSError:
            self.forget()
            return False
        place = (folder, (facts.st_dev, facts.st_ino))
        if self._heard != place:
            self.forget()
            stop = self._events.watch(folder, self._tell, recursive=folder is self._root)
            if stop is None:
                return False
            self._heard, self._stop = place, stop
        return True

    def forget(self) -> None:
        """Listen no longer."""
        if self._heard is not None:
            self._heard = None
            self._stop()


class _Handler:
    """The handler of a watch; the library needs no more of it than `dispatch`."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def dispatch(self, event: Any) -> None:
        """Tell of the path, and of the new one when something moved: a writer that renames shows only so."""
        for path in filter(None, (event.src_path, event.dest_path)):
            self._tell(os.fsdecode(path))
