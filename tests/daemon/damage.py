"""What happens to a `.workspace_state` on a drive that others can write: parts vanish, rot, are linked, replaced, restored.

Nothing here knows the product's code. What is removed is renamed out of the folder and kept, so that it can be said
afterwards which links were in it; what links lead to is compared with what it was.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TABLES = ("runs", "step_runs", "logs", "file_state")
FOLDERS = ("available", "leased", "stale", "leases", "control_requests")

_OF_FILES = ("delete", "truncate", "flip", "link", "other kind", "restore")
_OF_FOLDERS = ("delete", "link", "link inside", "other kind", "restore")
_WEIGHTS = {
    "segment": 6,
    "entry": 5,
    "generation": 4,
    "generations": 2,
    "table": 3,
    "state": 3,
    "heartbeat": 3,
    "request": 1,
    "notices": 4,
}
_A_FILE, _A_FOLDER = b"a file in place of a folder", b"a folder in place of a file"
_IS_OF_HISTORY = {"segment", "entry", "generation", "generations", "table", "state"}


@dataclass(frozen=True, slots=True)
class Strike:
    """One thing that was done. `is_of_history` tells whether it may take published rows away.

    `took` is the highest generation that it took out of the folder, -1 for none.
    """

    target: str
    deed: str
    path: str
    took: int

    @property
    def is_of_history(self) -> bool:
        return self.target in _IS_OF_HISTORY and self.deed != "link inside"

    def __str__(self) -> str:
        return f"{self.deed} {self.target} ({self.path})"


class Saboteur:
    """Damages the `.workspace_state` of the workspace at `root`; all it keeps lies in `aside`.

    `obstacles` are the things it put in a place of the product, by their path.
    """

    def __init__(self, root: Path, aside: Path, rng: random.Random) -> None:
        self.state = root / ".workspace_state"
        self.obstacles: set[str] = set()
        self._aside = aside
        self._rng = rng
        self._count = 0
        self._took = -1
        self._backups: list[Path] = []
        self._put: set[str] = set()
        self._canaries: dict[str, bytes] = {}
        self._foreign = self._put_foreign()
        self._canary.mkdir(parents=True)

    # -- what is not the product's --------------------------------------------------------------------------------------

    def _put_foreign(self) -> dict[Path, bytes]:
        """Files of colleagues, which nobody may change; the identity is among them."""
        files = [self.state / "notes.txt", self.state / "photos" / "summer.jpg"]
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(path.name.encode())
        return {path: path.read_bytes() for path in (*files, self.state / "identity.json")}

    def check(self) -> None:
        """What links lead to and what is not the product's is as it was, and every link is still there.

        Raises:
            AssertionError: something is not.
        """
        for path, content in self._foreign.items():
            assert _content(path) == content, f"{path} is not as it was"
        now = {str(path.relative_to(self._canary)): _content(path) for path in _walk(self._canary)}
        now.pop(".", None)
        assert now == self._canaries, f"behind links changed: {_difference(self._canaries, now)}"
        there = set(_foreign_in(self.state)) | set(
            _foreign_in(self.state)
        )  # one may be moved aside during the first walk
        assert there >= self._put, f"links or files of somebody else are gone: {sorted(self._put - there)}"

    # -- striking --------------------------------------------------------------------------------------------------------

    def back_up(self) -> None:
        """Copy the published state, as a backup does while it is in use."""
        self._count += 1
        copy = self._aside / "backups" / f"{self._count:05d}"
        with suppress(shutil.Error, OSError):  # names that go meanwhile
            shutil.copytree(self.state, copy, symlinks=True)
        self._backups = [*self._backups, copy][-4:]

    def strike(self) -> Strike:
        """Do one of the many things, to something that is there."""
        for _ in range(100):
            target = self._rng.choices([*_WEIGHTS], [*_WEIGHTS.values()])[0]
            path = self._find(target)
            if path is None:
                continue
            self._took = -1
            try:
                deed = self._do(path)
            except FileNotFoundError:  # it went meanwhile
                continue
            if deed is not None:
                return Strike(target, deed, self._name(path), self._took)
        raise AssertionError("there is nothing to damage")

    def is_there(self, name: str) -> bool:
        """Whether anything has this path."""
        return os.path.lexists(self.state / name)

    def take_away(self, name: str) -> None:
        """Somebody takes away what was put in the way."""
        self._discard(self.state / name)
        self.obstacles.discard(name)

    def _find(self, target: str) -> Path | None:
        state = self.state / "state"
        match target:
            case "state":
                return state
            case "generations":
                return state / "generations"
            case "table":
                return state / self._rng.choice(TABLES)
            case "notices":
                return self._some(self._notice_folders())
            case "heartbeat":
                return self._some([self.state / "leases" / f"{self._identity}.json"])
            case "request":
                return self._some(_children(self.state / "control_requests"))
            case "segment":
                return self._some(self._segments())
            case _:
                generations = _children(state / "generations")
                # The newest counts for more than all that are kept before it.
                found = self._some([*generations, *generations[-1:] * 5])
                return found if found is None or target == "generation" else found / "entry.json"

    def _segments(self) -> list[Path]:
        """Those that the newest entry lists, else all."""
        state = self.state / "state"
        listed: list[Path] = []
        for generation in reversed(_children(state / "generations")):
            with suppress(OSError, ValueError, KeyError):
                files = json.loads((generation / "entry.json").read_bytes().partition(b"\n")[2])["files"]
                listed = [state / table / name for table, rows in files.items() for name, *_ in rows]
                break
        there = [path for path in listed if path.is_file() and not path.is_symlink()]
        return there or [path for table in TABLES for path in _children(state / table)]

    def _notice_folders(self) -> list[Path]:
        inner = [self.state / "available" / self._identity, self.state / "leased" / self._identity]
        return [path for path in (*(self.state / name for name in FOLDERS), *inner) if path.is_dir()]

    def _do(self, path: Path) -> str | None:
        """Damage what is at `path` somehow; None where that means nothing there."""
        is_file = path.is_file() and not path.is_symlink()
        if not os.path.lexists(path) or path.is_symlink() or any(above.is_symlink() for above in path.parents):
            return self._restore(path) if self._rng.random() < 0.5 else None
        deed = self._rng.choice(_OF_FILES if is_file else _OF_FOLDERS)
        if deed == "restore":
            return self._restore(path)
        deeds: dict[str, Callable[[Path], None]] = {
            "delete": self._delete,
            "truncate": self._truncate,
            "flip": self._flip,
            "link": self._replace_by_link,
            "link inside": self._link_inside,
            "other kind": self._replace_by_other_kind,
        }
        deeds[deed](path)
        return deed

    def _delete(self, path: Path) -> None:
        self._discard(path)

    def _truncate(self, path: Path) -> None:
        with open(path, "r+b") as file:
            file.truncate(self._rng.randrange(max(1, os.fstat(file.fileno()).st_size)))

    def _flip(self, path: Path) -> None:
        with open(path, "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            for _ in range(self._rng.randrange(1, 4)):
                at = self._rng.randrange(max(1, size))
                file.seek(at)
                old = file.read(1) or b"\0"
                file.seek(at)
                file.write(bytes([old[0] ^ self._rng.randrange(1, 256)]))

    def _replace_by_link(self, path: Path) -> None:
        """A link to a copy of the very thing, or to something else, of the same kind or the other."""
        is_copy = self._rng.random() < 0.5
        leads_to = self._make_canary(path if is_copy else None, is_folder=self._rng.random() < 0.7)
        self._discard(path)
        self._link(path, leads_to)
        self.obstacles.add(self._name(path))

    def _link_inside(self, path: Path) -> None:
        """A link among what the folder holds, with a name that the product knows or one that it does not."""
        names = ["stage-x", "docs", "token-0000000001", "0000000001-x.parquet", "0000000001"]
        self._link(path / f"{self._rng.choice(names)}", self._make_canary(None, is_folder=self._rng.random() < 0.7))

    def _replace_by_other_kind(self, path: Path) -> None:
        is_file = path.is_file()
        self._discard(path)
        with suppress(FileExistsError):  # the product was quicker
            if is_file:
                path.mkdir()
                (path / f"readme{self._count}.txt").write_bytes(_A_FOLDER)
                self._put.add(f"readme{self._count}.txt")
            else:
                with open(path, "xb") as file:
                    file.write(_A_FILE)
            self.obstacles.add(self._name(path))

    def _restore(self, path: Path) -> str | None:
        """Bring an older copy back in place of what is there."""
        name = self._name(path)
        old = [copy / name for copy in self._backups if os.path.lexists(copy / name)]
        if not old or any(above.is_symlink() or above.is_file() for above in path.parents):
            return None
        chosen = self._rng.choice(old)
        if os.path.lexists(path):
            self._discard(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError, shutil.Error):  # the product wrote meanwhile
            if chosen.is_dir() and not chosen.is_symlink():
                shutil.copytree(chosen, path, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy2(chosen, path, follow_symlinks=False)
        self._note_obstacles(path)
        return "restore"

    # -- parts -----------------------------------------------------------------------------------------------------------

    @property
    def _identity(self) -> str:
        return str(json.loads((self.state / "identity.json").read_text())["identity"])

    @property
    def _canary(self) -> Path:
        return self._aside / "canary"

    def _some(self, paths: list[Path]) -> Path | None:
        return self._rng.choice(paths) if paths else None

    def _name(self, path: Path) -> str:
        return path.relative_to(self.state).as_posix()

    def _make_canary(self, like: Path | None, *, is_folder: bool) -> Path:
        """Something that a link will lead to, outside of the workspace; nobody may ever change it."""
        self._count += 1
        canary = self._canary / f"{self._count:05d}"
        if like is not None and like.is_dir():
            with suppress(shutil.Error, OSError):
                shutil.copytree(like, canary, symlinks=True)
        elif like is not None:
            shutil.copy2(like, canary)
        elif is_folder:
            (canary / "stage-y").mkdir(parents=True)
            for name in ("entry.json", "0000000000-a.parquet", "contract.docx", "stage-y/entry.json"):
                (canary / name).write_text(f"{name} of {self._count}")
        else:
            canary.write_text(f"of {self._count}")
        for path in _walk(canary):
            self._canaries[str(path.relative_to(self._canary))] = _content(path)
        return canary

    def _link(self, path: Path, leads_to: Path) -> None:
        with suppress(FileExistsError, FileNotFoundError, NotADirectoryError):
            path.symlink_to(leads_to)
            self._put.add(leads_to.name)

    def _discard(self, path: Path) -> None:
        """Take `path` out of the folder in one step; the links in it are no longer to be there, unless elsewhere."""
        self._count += 1
        gone = self._aside / "gone" / f"{self._count:05d}"
        gone.parent.mkdir(parents=True, exist_ok=True)
        os.rename(path, gone)
        self._put -= set(_foreign_in(gone))
        name = self._name(path)
        parts = {part for one in _walk(gone) for part in one.relative_to(gone).parts} | set(path.parts)
        self._took = max((int(part) for part in parts if re.fullmatch(r"\d{10}", part)), default=-1)
        self.obstacles = {one for one in self.obstacles if one != name and not one.startswith(f"{name}/")}

    def _note_obstacles(self, restored: Path) -> None:
        """Links and things of another kind that a backup brought back."""
        self._put |= set(_foreign_in(restored))
        self.obstacles |= {self._name(path) for path in _walk(restored) if path.is_symlink() or _is_of_other_kind(path)}


def _children(folder: Path) -> list[Path]:
    if folder.is_symlink():
        return []
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _walk(path: Path) -> Iterator[Path]:
    """`path` and all below it, without following a link."""
    yield path
    if path.is_dir() and not path.is_symlink():
        for inner in _children(path):
            yield from _walk(inner)


def _foreign_in(path: Path) -> Iterator[str]:
    """What each link at and below `path` leads to, by its name among the canaries, and the names of what was put there."""
    for one in _walk(path):
        if one.is_symlink():
            with suppress(FileNotFoundError):
                yield Path(os.readlink(one)).name
        elif found := re.search(r"readme\d+\.txt$", one.name):
            yield found[0]


def _is_of_other_kind(path: Path) -> bool:
    """Whether it was put in a place of the product by the saboteur, as a file for a folder or the other way round."""
    if path.is_symlink() or not path.exists():
        return False
    if path.is_dir():
        return any(re.fullmatch(r"readme\d+\.txt", inner.name) for inner in _children(path))
    return path.read_bytes() == _A_FILE


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return os.readlink(path).encode()
    return b"a folder" if path.is_dir() else path.read_bytes()


def _difference(before: dict[str, bytes], now: dict[str, bytes]) -> str:
    changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
    return f"gone {sorted(before.keys() - now.keys())}, new {sorted(now.keys() - before.keys())}, changed {changed}"
