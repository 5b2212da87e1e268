"""Deployments: immutable sets of modules and helpers, and the rule that decides when an edit goes into production.

A set is a folder named by the hash of everything in it: each flow points to the set it was last deployed from, so a broken
edit of one notebook keeps its flow on the last good set while the others move on, and a run keeps the set it began with.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from data_engine import private
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.files import write_text_atomic
from data_engine.locks import Holding, OsLock
from data_engine.nofollow import is_link, opened, remove_tree
from data_engine.notebook.artifacts import load_artifact
from data_engine.notebook.compiled import Chunk, CompiledNotebook
from data_engine.notebook.load import FlowModules
from data_engine.notebook.standing import AS_DEPLOYED, NOT_DEPLOYED, Standing

HELPERS = "flow_helpers"

_OTHERS_TAKE_S = 120.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is known of one module when its deployment is decided.

    `current` and `deployed` are digests of the module with all helpers (None: not deployed yet); `error` is why the
    current one is not good; `unchanged_for_s` is how long it has stayed as it is; `is_asked` that a person asked for it.
    """

    current: str
    deployed: str | None
    error: str | None = None
    unchanged_for_s: float = 0.0
    is_asked: bool = False


@dataclass(frozen=True, slots=True)
class UpToDate:
    """What runs is what is there."""


@dataclass(frozen=True, slots=True)
class Deploy:
    """Deploy now; `why` in a few words."""

    why: str


@dataclass(frozen=True, slots=True)
class Quiet:
    """A good edit that must stay unchanged for another `left_s`, because editors save half an edit."""

    left_s: float


@dataclass(frozen=True, slots=True)
class AwaitsRequest:
    """A good edit that waits for somebody to ask (`[deploy] mode = "ask"`)."""


@dataclass(frozen=True, slots=True)
class Broken:
    """An edit that does not compile or build; the last good deployment goes on."""

    error: str


Move: TypeAlias = UpToDate | Deploy | Quiet | AwaitsRequest | Broken


def next_move(seen: Sighting, *, mode: str, quiet_s: float, is_start: bool) -> Move:
    """What to do about a module: only what is good is deployed; an edit when it is quiet or asked for.

    `mode` is "auto" or "ask"; `is_start` says that the daemon or its engine is being started, which deploys all that is
    good.

    Example:
        >>> next_move(Sighting("b", "a", unchanged_for_s=10), mode="auto", quiet_s=30, is_start=False)
        Quiet(left_s=20)
    """
    if seen.current == seen.deployed:
        return UpToDate()
    if seen.error is not None:
        return Broken(seen.error)
    if seen.deployed is None:
        return Deploy("new")
    if seen.is_asked or is_start:
        return Deploy("asked for" if seen.is_asked else "everything good is deployed at a start")
    if mode == "ask":
        return AwaitsRequest()
    if seen.unchanged_for_s < quiet_s:
        return Quiet(quiet_s - seen.unchanged_for_s)
    return Deploy("the edit is good and quiet")


@dataclass(frozen=True, slots=True)
class ModuleSet:
    """An immutable set of modules and helpers, stored in `folder`; `digests` has one for each module, with all helpers.

    `unreadable` says of each file that could not be read, by its path in the authored folder, why; the set goes without.
    """

    id: str
    folder: Path
    digests: Mapping[str, str]
    unreadable: Mapping[str, str] = field(default_factory=dict)


class Deployments:
    """The deployments of one workspace on this machine, in `root`; `modules` is the authored folder.

    Raises:
        WorkspaceError: they cannot be read or written.
    """

    def __init__(self, modules: FlowModules, root: Path) -> None:
        self._modules = modules
        self._root = root
        self._pointer = root / "deployed.json"

    def store(self) -> ModuleSet:
        """The authored folder as it is now, stored as a set; nothing points to it yet."""
        contents, unreadable = read_contents(self._modules.content)
        digest = hashlib.sha256()
        for name, data in sorted(contents.items()):
            digest.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
        set_id = digest.hexdigest()[:24]
        folder = self._root / set_id
        try:
            if not _is_set(folder):
                fresh = self._root / f".{set_id}.{os.urandom(6).hex()}.tmp"
                private.make_folder(fresh)
                for name, data in contents.items():
                    target = fresh / name
                    private.make_folder(target.parent)
                    with open(target, "xb", opener=private.open_file) as file:
                        file.write(data)
                try:
                    os.rename(fresh, folder)
                except OSError:
                    remove_tree(self._root.parent, fresh)
                    if not _is_set(folder):
                        raise
        except OSError as error:
            raise _unwritable(folder, error) from error
        return ModuleSet(set_id, folder, self._digests(contents), unreadable)

    def deployed(self) -> dict[str, tuple[str, str]]:
        """For each deployed flow the id of its set and its digest; a flow whose set is gone is not deployed."""
        try:
            found = json.loads(self._pointer.read_text(encoding="utf-8"))
            pointers = {str(name): (str(value["set"]), str(value["digest"])) for name, value in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise WorkspaceError(
                f"the list of deployments cannot be read: {error}",
                where=str(self._pointer),
                fix="remove the file and deploy again with `data-engine deploy`",
            ) from error
        there = {set_id for set_id in {set_id for set_id, _ in pointers.values()} if _is_set(self._root / set_id)}
        return {name: pointer for name, pointer in pointers.items() if pointer[0] in there}

    def facts(self) -> tuple[int, ...] | None:
        """Equal while nobody deploys and no set goes; None before anything was deployed."""
        try:
            pointer, folder = os.stat(self._pointer), os.stat(self._root)
        except OSError:
            return None
        return pointer.st_ino, pointer.st_mtime_ns, pointer.st_size, folder.st_nlink, folder.st_mtime_ns

    def keeping_sets(self) -> Holding:
        """Inside, no process removes a set: one that was stored is there when flows are pointed to it."""
        return self._locked("keep")

    def deploy(self, stored: ModuleSet, names: set[str]) -> None:
        """Let these flows run from `stored` from now on; sets nobody points to any more are kept for running work."""
        with self._locked("pointer"):
            self._point(self.deployed() | {name: (stored.id, stored.digests[name]) for name in names})

    def withdraw(self, names: set[str]) -> None:
        """Forget these flows' deployments: their modules were removed."""
        with self._locked("pointer"):
            self._point({name: pointer for name, pointer in self.deployed().items() if name not in names})

    def update(self, since: Mapping[str, tuple[str, str]], stored: ModuleSet, going: set[str], gone: set[str]) -> bool:
        """Deploy `going` from `stored` and withdraw `gone`, as decided on the pointers `since`; whether that was done.

        False, and nothing is changed, when somebody has deployed since then: the decision may be about older modules.
        """
        with self._locked("pointer"):
            if self.deployed() != since:
                return False
            new = {name: (stored.id, stored.digests[name]) for name in going}
            if going or gone:
                self._point({name: pointer for name, pointer in since.items() if name not in gone} | new)
            return True

    def _locked(self, what: str) -> Holding:
        lock = OsLock(self._root / f".{what}.lock")

        def wait() -> None:
            if not lock.wait(timeout_s=_OTHERS_TAKE_S):
                raise WorkspaceError(
                    f"another process has been deploying for more than {_OTHERS_TAKE_S:g} s",
                    where=str(self._root),
                    fix="end the other `data-engine deploy`, or wait for it",
                )

        return Holding(lock, wait)

    def _point(self, pointers: Mapping[str, tuple[str, str]]) -> None:
        value = {name: {"set": set_id, "digest": digest} for name, (set_id, digest) in pointers.items()}
        try:
            private.make_folder(self._root)
            text = json.dumps(value, indent=1, sort_keys=True) + "\n"
            write_text_atomic(self._pointer, text, mode=private.FILE)
        except OSError as error:
            raise _unwritable(self._pointer, error) from error

    def collect(self, in_use: set[str]) -> None:
        """Remove the sets no flow points to, but for those in `in_use` (ids that running work holds).

        Does nothing while another process is deploying: its set has no flow yet. What is foreign is left and told.
        """
        keep = OsLock(self._root / ".keep.lock")
        if not keep.try_acquire():
            return
        try:
            kept = in_use | {set_id for set_id, _ in self.deployed().values()}
            with opened(self._root.parent, self._root) as place:
                old = [name for name, kind in place.entries() if kind != "file" and name not in kept]
            for left in (one for name in old for one in remove_tree(self._root.parent, self._root / name)):
                _log.warning("an old deployment was not removed: %s", left)
        except OSError:
            return
        finally:
            keep.release()

    def modules_of(self, name: str) -> FlowModules | None:
        """The modules flow `name` runs from, under their authored names; None when it is not deployed."""
        pointer = self.deployed().get(name)
        if pointer is None:
            return None
        return FlowModules(self._modules.folder, cache_dir=self._modules.cache_dir, content=self._root / pointer[0])

    def diff(self, name: str) -> dict[int, list[str]]:
        """For each cell of notebook `name` that differs from what is deployed, the lines that went (-) and came (+).

        Cells are matched by their ids. Empty when nothing differs, when it is not deployed, or when it does not compile.
        """
        deployed = self.modules_of(name)
        if deployed is None:
            return {}
        try:
            was, now = (
                load_artifact(self._modules.folder / f"{name}.ipynb", path.read_bytes(), cache_dir=None).compiled.chunks
                for path in (deployed.content / f"{name}.ipynb", self._modules.content / f"{name}.ipynb")
            )
        except (OSError, FlowValidationError):
            return {}
        old = {chunk.cell_id: chunk for chunk in was}
        new = {chunk.cell_id: chunk for chunk in now}
        found = {}
        for cell_id in dict.fromkeys([*new, *old]):
            before, after = (_lines(chunks.get(cell_id)) for chunks in (old, new))
            lines = [line for line in difflib.ndiff(before, after) if line[:2] in ("- ", "+ ")]
            if lines:
                found[(new.get(cell_id) or old[cell_id]).cell] = lines
        return found

    def standing(self, names: Iterable[str]) -> dict[str, Standing]:
        """How each of these modules stands to what production runs."""
        deployed, edits = self.deployed(), self.edits()
        return {name: edits.get(name, AS_DEPLOYED) if name in deployed else NOT_DEPLOYED for name in names}

    def edits(self) -> dict[str, Standing]:
        """The standing of each deployed flow whose module is not as deployed."""
        pointers = self.deployed()
        digests = self._digests(read_contents(self._modules.content)[0]) if pointers else {}
        return {
            name: Standing("edited", self.changed_cells(name) or ())
            for name, (_, digest) in pointers.items()
            if digests.get(name) != digest
        }

    def _digests(self, contents: Mapping[str, bytes]) -> dict[str, str]:
        return module_digests(contents, self._modules.folder, cache_dir=self._modules.cache_dir)

    def changed_cells(self, name: str) -> tuple[int, ...] | None:
        """The cells of notebook `name` whose part in production differs from what is deployed, in order.

        A cell that is gone counts with its old number. Empty when the notebook is as deployed; None when it is not
        deployed, is no notebook, or its deployment is gone.
        """
        deployed = self.modules_of(name)
        if deployed is None:
            return None
        old, new = deployed.content / f"{name}.ipynb", self._modules.content / f"{name}.ipynb"
        try:
            was = load_artifact(self._modules.folder / old.name, old.read_bytes(), cache_dir=None).compiled
            data = new.read_bytes()
        except (OSError, FlowValidationError):
            return None
        return cells_that_differ(was, data, path=self._modules.folder / new.name)

    def statements(self, name: str) -> tuple[str, ...]:
        """The statements of notebook `name` that production runs; empty where it is not deployed, or is no notebook."""
        deployed = self.modules_of(name)
        if deployed is None:
            return ()
        path = deployed.content / f"{name}.ipynb"
        try:
            compiled = load_artifact(self._modules.folder / path.name, path.read_bytes(), cache_dir=None).compiled
        except (OSError, FlowValidationError):
            return ()
        return tuple(chunk.text for chunk in compiled.chunks)


def cells_that_differ(was: CompiledNotebook, data: bytes, *, path: Path) -> tuple[int, ...]:
    """The cells of the notebook content `data` whose part in production is not that of `was`.

    When `data` does not compile, whole cells are compared. Comparison goes by text, so a moved cell is no difference.
    """
    from data_engine.notebook.read import read_cells

    try:
        now = [(chunk.cell, chunk.text) for chunk in load_artifact(path, data, cache_dir=None).compiled.chunks]
        before = [(chunk.cell, chunk.text) for chunk in was.chunks]
    except FlowValidationError:
        before = [(chunk.cell, chunk.original) for chunk in was.chunks]
        try:
            cells = read_cells(data, path=path)
        except FlowValidationError:
            return tuple(number for number, _ in before)
        texts = {text.strip() for _, text in before}
        taken = {number for number, _ in before}
        now = [(cell.number, cell.text) for cell in cells if cell.text.strip() in texts or cell.number in taken]
    old_texts = {text.strip() for _, text in before}
    new_texts = {text.strip() for _, text in now}
    changed = {number for number, text in now if text.strip() not in old_texts}
    gone = {number for number, text in before if text.strip() not in new_texts}
    return tuple(sorted(changed or gone))


def read_contents(folder: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Every file of a set by path inside it: the modules at the top of `folder` and everything under its helpers.

    And of those that cannot be read why: each costs only whoever needs it.
    """
    contents: dict[str, bytes] = {}
    unreadable: dict[str, str] = {}
    paths = [path for name in sorted(os.listdir(folder)) if (path := folder / name).suffix in (".py", ".ipynb")]
    modules = frozenset(paths)
    for parent, folders, names in os.walk(folder / HELPERS):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        paths += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
    for path in paths:
        if path.name.startswith("."):
            continue
        name = path.relative_to(folder).as_posix()
        try:
            is_file = stat.S_ISREG(path.stat().st_mode)
            if is_file:
                contents[name] = path.read_bytes()
            elif path in modules:
                unreadable[name] = "it is no file"
        except OSError as error:
            unreadable[name] = error.strerror or str(error)
    return contents, unreadable


def file_facts(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Path, size, time and rights of every file that could be part of a set: equal while nobody edits."""
    found = []
    for parent, folders, names in os.walk(folder):
        at_top = Path(parent) == folder
        folders[:] = (
            [name for name in folders if name == HELPERS] if at_top else [n for n in folders if n[0] not in "._"]
        )
        for name in names:
            if at_top and not name.endswith((".py", ".ipynb")):
                continue
            path = os.path.join(parent, name)
            try:
                facts = os.stat(path)
            except OSError:
                continue
            found.append((path, facts.st_size, facts.st_mtime_ns, facts.st_mode))
    return tuple(sorted(found))


def module_digests(contents: Mapping[str, bytes], folder: Path, *, cache_dir: Path | None) -> dict[str, str]:
    """For each module of a set a digest of what it runs with: its own code and the `.py` files it imports, and they import.

    A notebook counts by what production takes of it, so a saved output is no edit; one that does not compile by its bytes.
    A module that imports by computed names counts with every `.py` file.
    """
    imports = {name: imported_files(data, name, contents) for name, data in contents.items() if name.endswith(".py")}
    digests: dict[str, str] = {}
    for name, data in contents.items():
        if "/" in name:
            continue
        code = _own_code(folder / name, data, cache_dir)
        reached = {name} if name in imports else set()
        waiting = [imports[name]] if name in imports else [imported_files(code, name, contents)]
        while waiting:
            wanted = waiting.pop()
            for file in (set(imports) if wanted is None else wanted) - reached:
                reached.add(file)
                waiting.append(imports[file])
        stem = Path(name).stem
        other = digests.get(stem, "")  # two files of one stem are one broken module, which is none of the two
        digest = hashlib.sha256(other.encode() + name.encode() + b"\0" + code)
        for file in sorted(reached):
            digest.update(b"\0" + file.encode() + b"\0" + hashlib.sha256(contents[file]).digest())
        digests[stem] = digest.hexdigest()
    return digests


def imported_files(code: bytes, name: str, contents: Mapping[str, bytes]) -> set[str] | None:
    """The files of a set that the module `name` with this code imports; None when only running it could tell.

    Example:
        >>> files = {"flow_helpers/__init__.py": b"", "flow_helpers/rates.py": b"", "flow_helpers/other.py": b""}
        >>> sorted(imported_files(b"from flow_helpers.rates import RATE", "claims.py", files))
        ['flow_helpers/__init__.py', 'flow_helpers/rates.py']
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    package = name.split("/")[:-1]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            lead = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*lead, *filter(None, [node.module])])
            names |= {base, *(f"{base}.{alias.name}" if base else alias.name for alias in node.names)}
        elif isinstance(node, (ast.Name, ast.Attribute)):
            word = node.id if isinstance(node, ast.Name) else node.attr
            if word in ("import_module", "__import__", "exec", "eval"):
                return None
    found = set()
    for dotted in names:
        parts = dotted.split(".")
        for end in range(1, len(parts) + 1):
            path = "/".join(parts[:end])
            found |= {file for file in (f"{path}.py", f"{path}/__init__.py") if file in contents}
    return found


def _lines(chunk: Chunk | None) -> list[str]:
    return [] if chunk is None else [line for line in chunk.text.split("\n") if line.strip()]


def _own_code(path: Path, data: bytes, cache_dir: Path | None) -> bytes:
    if path.suffix == ".ipynb":
        with suppress(FlowValidationError):
            return load_artifact(path, data, cache_dir=cache_dir).compiled.source.encode()
    return data


def _is_set(folder: Path) -> bool:
    return folder.is_dir() and not is_link(folder)


def _unwritable(path: Path, error: OSError) -> WorkspaceError:
    return WorkspaceError(
        f"a deployment cannot be stored: {error.strerror}", where=str(path), fix="free some space on this machine"
    )
