"""The sets of deployed modules on the share: content-addressed, so that each can be checked.

    deployments/sets/<set id>.json    {path: [SHA-256, size]}; its id is made of exactly these
    deployments/blobs/<SHA-256>       one file's content

Each is put by a temporary name and a rename, blobs before their set, and the set before anything points to it. What is read
is checked. Whoever can write to the share can put a set; what a flow runs is decided by the list of generations alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from itertools import compress
from typing import TypeVar

from data_engine.errors import DamagedSetError
from data_engine.lease.folder import FileSystem, names_in, put, read_each, unlink
from data_engine.lease.protocol import Damaged
from data_engine.lease.records import decode, encode
from data_engine.nofollow import NotFollowedError
from data_engine.notebook.module_sets import hashes_of, is_module_path, set_id

_T = TypeVar("_T")

ROOT = "deployments"
SETS, BLOBS = f"{ROOT}/sets", f"{ROOT}/blobs"
KEPT_UNREFERENCED_S = 3600.0
"""A set or blob nobody points to stays so long after it was first seen so: whoever put it may be about to point to it."""

LARGEST_SET_BYTES = 8_000_000
LARGEST_BLOB_BYTES = 64_000_000
MOST_FILES = 20_000

_SET_NAME = re.compile(r"([0-9a-f]{24})\.json")
_BLOB_NAME = re.compile(r"[0-9a-f]{64}")
_TEMP = re.compile(r"[0-9a-f.json]+\.[0-9a-z]+\.tmp")


class DeploymentFiles:
    """The sets of one workspace on the share; `new_id` names what is being written.

    Every method raises `OSError` where the share is away, full or read-only.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from data_engine.lease.folder import OsFolder
        >>> files = DeploymentFiles(OsFolder(Path(tempfile.mkdtemp())), iter("abcdef").__next__)
        >>> files.put({"claims.py": b"one"}), files.read(files.put({"claims.py": b"one"}))
        ('2d9e92e4f80b9fb1ce4aabf3', {'claims.py': b'one'})
    """

    def __init__(self, folder: FileSystem, new_id: Callable[[], str]) -> None:
        self.folder = folder
        self._new_id = new_id
        self._unreferenced_since_s: dict[str, float] = {}

    def put(self, contents: Mapping[str, bytes], *, anew: bool = False) -> str:
        """Put the set of these files on the share, whole, and return its id; `anew`: write all of it, whatever lies there."""
        hashes = hashes_of(contents)
        name = set_id(hashes)
        by_hash = {hashes[path]: data for path, data in contents.items()}
        blobs = set() if anew else set(names_in(self.folder, BLOBS))
        for blob, data in by_hash.items():
            if blob not in blobs:
                put(self.folder, f"{BLOBS}/{blob}", data, self._new_id())
        if anew or f"{name}.json" not in names_in(self.folder, SETS):
            files = {path: [hashes[path], len(data)] for path, data in contents.items()}
            record = encode({"format": 1, "files": files})
            put(self.folder, f"{SETS}/{name}.json", record, self._new_id())
        return name

    def read(self, name: str) -> dict[str, bytes]:
        """The files of the set `name`, each as it was deployed.

        Raises:
            DamagedSetError: it is missing, or something of it is not what its name says.
            OSError: the share is away.
        """
        files = self._listed(name)
        contents = read_each(self.folder, lambda entry: self._blob(name, *entry), files.items())
        return dict(zip(files, contents, strict=True))

    def whole(self, names: Collection[str], is_needed: Callable[[str], bool]) -> dict[str, dict[str, int]]:
        """The sets whose needed files are all there as they were deployed, each with the sizes of these files by path.

        `is_needed` is asked for each path. A file of several sets is read once.
        """
        sets = read_each(self.folder, lambda name: _or_none(lambda: self._listed(name)), names)
        listed = {
            name: {path: entry for path, entry in files.items() if is_needed(path)}
            for name, files in zip(names, sets, strict=True)
            if files is not None
        }
        blobs = sorted({blob for files in listed.values() for blob in files.values()})
        are_good = read_each(self.folder, lambda blob: _or_none(lambda: self._blob("", "", blob)) is not None, blobs)
        good = set(compress(blobs, are_good))
        return {
            name: {path: size for path, (_, size) in files.items()}
            for name, files in listed.items()
            if good.issuperset(files.values())
        }

    def collect(self, kept: Collection[str], *, now_s: float, may_go_on: Callable[[], bool]) -> None:
        """Remove the sets not in `kept` and then the blobs that no set names, each when it has been so for an hour here.

        `may_go_on` is asked before each is removed: an owner that may not work any more removes nothing.

        Raises:
            OSError: the share is away, or something is in use; call again some time.
        """
        names = names_in(self.folder, SETS)
        sets = {match[1] for name in names if (match := _SET_NAME.fullmatch(name))}
        gone = self._old(sets - set(kept), now_s)
        named: set[str] = set()
        for name in sets - gone:
            try:
                named |= {value for value, _ in self._listed(name).values()}
            except DamagedSetError:
                return  # what it names is not known, so nothing can be said to be unnamed
        blobs = {name for name in names_in(self.folder, BLOBS) if _BLOB_NAME.fullmatch(name)}
        unnamed = self._old(blobs - named, now_s)
        self._unreferenced_since_s = {
            name: since_s
            for name, since_s in self._unreferenced_since_s.items()
            if name in (sets - set(kept)) | (blobs - named)
        }
        for path in (
            *(f"{SETS}/{name}.json" for name in sorted(gone)),
            *(f"{BLOBS}/{name}" for name in sorted(unnamed)),
        ):
            if not may_go_on():
                return
            unlink(self.folder, path)
        for folder in (SETS, BLOBS):
            drafts = {name for name in names_in(self.folder, folder) if _TEMP.fullmatch(name)}
            for name in sorted(self._old(drafts, now_s)):
                unlink(self.folder, f"{folder}/{name}")

    def _old(self, names: Collection[str], now_s: float) -> set[str]:
        for name in names:
            self._unreferenced_since_s.setdefault(name, now_s)
        return {name for name in names if now_s - self._unreferenced_since_s[name] >= KEPT_UNREFERENCED_S}

    def _listed(self, name: str) -> dict[str, tuple[str, int]]:
        path = f"{SETS}/{name}.json"
        try:
            record = decode(self.folder.read(path, LARGEST_SET_BYTES), LARGEST_SET_BYTES)
            files = _files(record)
        except (FileNotFoundError, NotFollowedError, NotADirectoryError, IsADirectoryError) as error:
            raise _damaged(name, path, error.strerror or str(error)) from error
        except (Damaged, ValueError) as error:
            raise _damaged(name, path, str(error)) from error
        if set_id({path: value for path, (value, _) in files.items()}) != name:
            raise _damaged(name, path, "it lists other files than were deployed")
        return files

    def _blob(self, name: str, file: str, listed: tuple[str, int]) -> bytes:
        value, size = listed
        path = f"{BLOBS}/{value}"
        try:
            data = self.folder.read(path, LARGEST_BLOB_BYTES)
        except (FileNotFoundError, NotFollowedError, NotADirectoryError, IsADirectoryError) as error:
            raise _damaged(name, path, f"{file}: {error.strerror or error}") from error
        if len(data) != size or hashlib.sha256(data).hexdigest() != value:
            raise _damaged(name, path, f"{file} is not what was deployed")
        return data


def _or_none(read: Callable[[], _T]) -> _T | None:
    """What is read; None where it is damaged."""
    try:
        return read()
    except DamagedSetError:
        return None


def _files(record: Mapping[str, object]) -> dict[str, tuple[str, int]]:
    files = record.get("files")
    if not isinstance(files, dict) or len(files) > MOST_FILES:
        raise ValueError("it lists no files")
    entries: dict[str, tuple[str, int]] = {}
    for path, listed in files.items():
        if not is_module_path(path):
            raise ValueError(f"it lists {json.dumps(path)[:80]}, which is no module's path")
        value, size = listed if isinstance(listed, list) and len(listed) == 2 else (None, None)
        if not isinstance(value, str) or not _BLOB_NAME.fullmatch(value) or type(size) is not int or size < 0:
            raise ValueError("it lists a file without its hash and size")
        entries[path] = (value, size)
    return entries


def _damaged(name: str, path: str, why: str) -> DamagedSetError:
    return DamagedSetError(
        f"the deployment's set {name[:8]} is damaged: {why}",
        where=f".workspace_state/{path}",
        fix="deploy the flow again, or roll back to another deployment; nothing of a damaged set is run",
    )
