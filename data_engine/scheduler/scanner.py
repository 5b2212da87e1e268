"""Seeing the files of a source: what is new, changed or gone since the last look, by `os.scandir`.

The scanner keeps one map per folder, from name to signature, so a steady scan costs a stat for each file and allocates
nothing; a name is filtered once. It decides nothing, and forgets nothing it could not look at.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from data_engine.flow.scan import is_candidate_name
from data_engine.model import Signature
from data_engine.platforms.files import is_folder_itself, is_link, is_placeholder, who_locks

_HIDDEN = (".", "~$")


class Scan(NamedTuple):
    """What a look found. Names are paths inside the root with forward slashes; a single file is "".

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
        for found in self.scan_by_folder():
            whole.seen.update(found.seen)
            whole.gone.extend(found.gone)
            whole.troubles.update(found.troubles)
        return whole

    def scan_by_folder(self, *, newest_first: bool = False) -> Iterator[Scan]:
        """Look at everything, folder after folder, and give what each look found, if anything.

        `newest_first` takes first the subfolder in which a name was added or removed last: there new files are.
        """
        found = Scan({}, [], {})
        try:
            facts = os.stat(self.root)
        except OSError as error:
            found.troubles[""] = _reason(error)
            yield found
            return
        if not stat.S_ISDIR(facts.st_mode):
            self._drop("", found)
            self._see_single(facts, found)
            yield found
            return
        if self._single is not None:
            self._single = None
            found.gone.append("")
        for _ in self._walk([""], found, newest_first=newest_first):
            if found.seen or found.gone or found.troubles:
                yield Scan(found.seen.copy(), found.gone.copy(), found.troubles.copy())
                for part in found:
                    part.clear()

    def look_at(self, paths: Iterable[str]) -> Scan:
        """Look at these files and folders only: absolute paths under the root, that an event named.

        A folder is looked through with all below it: it may be another one than before, or have changed elsewhere.
        """
        found = Scan({}, [], {})
        walked = None
        for path in sorted(paths):
            if path == self.root:
                return self.scan()
            is_below = walked is not None and path.startswith(walked)
            if not is_below and path.startswith(self.root.rstrip(os.sep) + os.sep) and self._look_at(path, found):
                walked = path + os.sep
        return found

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
        """The candidate as it is now, which is kept; None when it is gone."""
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
        """The next look that sees the candidate takes it for new."""
        if not name:
            self._single = None
        elif (folder := self._folders.get(_split(name)[0])) is not None:
            folder.files.pop(_split(name)[1], None)

    def _look_at(self, path: str, found: Scan) -> bool:
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
                self._look_through(prefix, found)
            return False
        folder = self._folders[prefix]
        try:
            facts = os.stat(path)
        except OSError:
            if folder.files.pop(last, None) is not None:
                found.gone.append(name)
            if f"{name}/" in folder.children:
                folder.children.discard(f"{name}/")
                self._drop(f"{name}/", found)
            return False
        if stat.S_ISDIR(facts.st_mode):
            if not is_link(path):
                self._look_through(f"{name}/", found)
                return True
        elif stat.S_ISREG(facts.st_mode) and self._is_wanted(last):
            signature = Signature(facts.st_size, facts.st_mtime_ns)
            if folder.files.get(last) != signature:
                folder.files[last] = found.seen[name] = signature
        return False

    def _look_through(self, prefix: str, found: Scan) -> None:
        self._folders[_split(prefix[:-1])[0]].children.add(prefix)
        deque(self._walk([prefix], found), maxlen=0)

    def _see_single(self, facts: os.stat_result, found: Scan) -> None:
        signature = Signature(facts.st_size, facts.st_mtime_ns)
        if signature != self._single:
            self._single = found.seen[""] = signature

    def _walk(self, prefixes: list[str], found: Scan, *, newest_first: bool = False) -> Iterator[None]:
        """Look through the folders and those below them; a pause after each."""
        while prefixes:
            prefix = prefixes.pop()
            folder = self._folders.get(prefix)
            if folder is None:
                folder = self._folders[prefix] = _Folder()
            before = folder.children
            try:
                children = self._read(prefix, folder, found)
            except OSError as error:
                if prefix and isinstance(error, FileNotFoundError):
                    continue  # gone since its parent was read: the parent's next listing says so
                found.troubles[prefix] = _reason(error)
                yield
                continue
            for gone in before - children:
                self._drop(gone, found)
            folder.children = children
            ordered = sorted(children, reverse=True)  # the last one is taken next
            prefixes.extend(sorted(ordered, key=self._changed_ns) if newest_first else ordered)
            yield

    def _changed_ns(self, prefix: str) -> int:
        try:
            return os.stat(self.path(prefix)).st_mtime_ns
        except OSError:
            return 0

    def _read(self, prefix: str, folder: _Folder, found: Scan) -> set[str]:
        """Compare one folder with what is known of it; the prefixes of its subfolders."""
        files, passed_over = folder.files, folder.passed_over
        present: list[str] = []
        passed: list[str] = []
        children: set[str] = set()
        with os.scandir(self.path(prefix)) as entries:
            for entry in entries:
                name = entry.name
                known = files.get(name)
                if known is not None:
                    try:
                        facts = entry.stat()
                    except OSError:
                        continue
                    if not stat.S_ISREG(facts.st_mode):
                        continue
                    if facts.st_mtime_ns != known[1] or facts.st_size != known[0]:
                        files[name] = found.seen[prefix + name] = Signature(facts.st_size, facts.st_mtime_ns)
                    present.append(name)
                elif name in passed_over:
                    passed.append(name)
                elif (signature := self._meet(entry, prefix, passed, children)) is not None:
                    files[name] = found.seen[prefix + name] = signature
                    present.append(name)
        if len(present) != len(files):
            for name in files.keys() - present:
                del files[name]
                found.seen.pop(prefix + name, None)
                found.gone.append(prefix + name)
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

    def _drop(self, prefix: str, found: Scan) -> None:
        folder = self._folders.pop(prefix, None)
        if folder is not None:
            found.gone.extend(prefix + name for name in folder.files)
            for child in folder.children:
                self._drop(child, found)


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
