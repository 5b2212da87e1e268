"""The sets of a workspace on this machine, from which flows run, and the deployment status of its modules.

A set is a folder named by the hash of everything in it: each flow points to the set it was last deployed from, so a broken
edit of one notebook keeps its flow on the last good set while the others move on, and a run keeps the set it began with.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from data_engine import private
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.files import rename_folder
from data_engine.locks import Holding, OsLock
from data_engine.model import Deployment
from data_engine.nofollow import is_link, opened, remove_tree
from data_engine.notebook.catalog import CatalogEntry, Descriptions, read_catalog
from data_engine.notebook.deployment_status import AS_DEPLOYED, NOT_DEPLOYED, DeploymentStatus, RolledBack
from data_engine.notebook.flow_files import SCRATCH_NAME, notebooks_in_subfolders
from data_engine.notebook.load import FlowModules
from data_engine.notebook.module_sets import (
    ModuleSet,
    changed_helpers,
    files_of,
    hashes_of,
    helpers_of,
    module_digests,
    own_code,
    python_files,
    read_contents,
    read_module,
    set_id,
)
from data_engine.record import frozen
from data_engine.workspace.layout import WorkspaceLayout

if TYPE_CHECKING:
    from data_engine.flow.flow import Flow
    from data_engine.notebook.compiled import CellPart, CompiledNotebook


def deployed_entries(
    deployments: Deployments, names: Iterable[str], cache: Descriptions | None = None
) -> list[CatalogEntry]:
    """The catalog entries of these flows as they are deployed, without those whose deployment cannot be had here; `cache` holds
    the descriptions by other processes."""
    entries = []
    for name in sorted(names):
        modules = deployments.modules_of(name)
        if modules is not None:
            entries += [entry for entry in read_catalog(modules, only=name, cache=cache) if entry.name == name]
    return entries


def deployed_flow(deployments: Deployments, name: str) -> Flow | None:
    """The flow as it is deployed; None where that cannot be had here, or is broken."""
    return next((entry.flow for entry in deployed_entries(deployments, [name]) if entry.flow is not None), None)


def in_production(
    entries: Sequence[CatalogEntry], deployments: Deployments, edited: Collection[str], cache: Descriptions
) -> list[CatalogEntry]:
    """The entries of modules, where the `edited` ones are as they are deployed, if that can be had and is good."""
    runs = {entry.name: entry for entry in deployed_entries(deployments, edited, cache) if entry.error is None}
    return [runs.get(entry.name, entry) for entry in entries]


def with_gone(
    entries: Sequence[CatalogEntry],
    deployments: Deployments,
    statuses: Mapping[str, DeploymentStatus],
    cache: Descriptions,
) -> list[CatalogEntry]:
    """The entries of modules and of those that are gone, by name: as production runs them, where an edit is good."""
    edited = [entry.name for entry in entries if entry.error is None and statuses[entry.name].is_edited]
    gone = deployed_entries(deployments, [name for name, status in statuses.items() if status.kind == "gone"])
    return sorted([*in_production(entries, deployments, edited, cache), *gone], key=lambda entry: entry.name)


_LOCK_WAIT_S = 120.0


@frozen
class Pointer:
    """The set that a flow runs from, the digest of its module in it, and the roll back that led there, if any."""

    set_id: str
    digest: str
    back: RolledBack | None = None


@frozen
class Authored:
    """The authored folder, read once: the `contents` of its files, all `files` that are there, also those that cannot be read, and the
    `digests` of its modules by their names."""

    contents: Mapping[str, bytes]
    files: frozenset[str]
    digests: Mapping[str, str]


class Deployments:
    """The deployments of one workspace on this machine, their sets in `root`; `modules` is the authored folder.

    `pointers` gives what each flow runs; `fetch` the files of a set from where all workstations have it.

    Raises:
        WorkspaceError: they cannot be read or written.
    """

    def __init__(
        self,
        modules: FlowModules,
        root: Path,
        pointers: Callable[[], Mapping[str, Pointer]],
        fetch: Callable[[str], Mapping[str, bytes]],
    ) -> None:
        self._modules = modules
        self.root = root
        self._pointers = pointers
        self._fetch = fetch

    def deployed(self) -> dict[str, Pointer]:
        """The set and digest of each deployed flow."""
        return dict(self._pointers())

    def store(self) -> ModuleSet:
        """The authored folder as it is now, stored as a set; nothing points to it yet."""
        contents, unreadable = read_contents(self._modules.content)
        return self._stored(contents, unreadable)

    def copy_of(self, name: str) -> ModuleSet:
        """The set `name` on this machine, fetched and verified where it is not there yet.

        Raises:
            DamagedSetError: what is on the share is not that set.
            WorkspaceError: it cannot be fetched or stored.
        """
        folder = self.root / name
        contents = self.contents_of(name)
        if contents is None:
            return self._stored(self._fetch(name), {})
        return ModuleSet(name, folder, self._digests(contents))

    def contents_of(self, name: str) -> dict[str, bytes] | None:
        """The files of the set `name` as they lie on this machine; None where they are not all there, or not those."""
        if not self.has(name):
            return None
        contents, _ = read_contents(self.root / name)
        return contents if set_id(hashes_of(contents)) == name else None

    def has(self, name: str) -> bool:
        """Whether the set is on this machine."""
        folder = self.root / name
        return folder.is_dir() and not is_link(folder)

    def _stored(self, contents: Mapping[str, bytes], unreadable: Mapping[str, str]) -> ModuleSet:
        name = set_id(hashes_of(contents))
        folder = self.root / name
        try:
            if self.contents_of(name) is None:
                if self.has(name):  # somebody removed or changed a file of it
                    remove_tree(self.root.parent, folder)
                fresh = self.root / f".{name}.{os.urandom(6).hex()}.tmp"
                private.make_folder(fresh)
                for file, data in contents.items():
                    target = fresh / file
                    private.make_folder(target.parent)
                    with open(target, "xb", opener=private.open_file) as written:
                        written.write(data)
                try:
                    rename_folder(fresh, folder)
                except OSError:
                    remove_tree(self.root.parent, fresh)
                    if not self.has(name):
                        raise
        except OSError as error:
            what = f"a deployment cannot be stored: {error.strerror}"
            raise WorkspaceError(what, where=str(folder), fix="free some space on this machine") from error
        return ModuleSet(name, folder, self._digests(contents), unreadable)

    def keeping_sets(self) -> Holding:
        """A context in which no process removes a set: a stored one is still there when flows are pointed to it."""
        lock = OsLock(self.root / ".keep.lock")

        def wait() -> None:
            if not lock.wait(timeout_s=_LOCK_WAIT_S):
                raise WorkspaceError(
                    f"another process has been deploying for more than {_LOCK_WAIT_S:g} s",
                    where=str(self.root),
                    fix="end the other `data-engine deploy`, or wait for it",
                )

        return Holding(lock, wait)

    def collect(self, in_use: Collection[str]) -> None:
        """Remove the sets that no flow points to and that are not `in_use`: they can be fetched from the share again.

        Does nothing while another process is deploying: its set has no flow yet. Foreign files stay and are logged.
        """
        keep = OsLock(self.root / ".keep.lock")
        if not keep.try_acquire():
            return
        try:
            stays = {*in_use, *(pointer.set_id for pointer in self.deployed().values())}
            with opened(self.root.parent, self.root) as place:
                old = [name for name, kind in place.entries() if kind != "file" and name not in stays]
            for path in (path for name in old for path in remove_tree(self.root.parent, self.root / name)):
                import logging

                logging.getLogger(__name__).warning("an old deployment was not removed: %s", path)
        except OSError:
            return
        finally:
            keep.release()

    def modules_of(self, name: str) -> FlowModules | None:
        """The modules flow `name` runs from, under their authored names; None when it is not deployed, or cannot be had."""
        pointer = self.deployed().get(name)
        return None if pointer is None else self.modules_in(pointer.set_id)

    def modules_in(self, set_id: str) -> FlowModules | None:
        """The modules of a set, under their authored names; None when it cannot be had."""
        if not self.has(set_id):
            try:
                self.copy_of(set_id)
            except FlowValidationError:
                return None
        content = self.root / set_id
        return FlowModules(self._modules.folder, cache_dir=self._modules.cache_dir, content=content)

    def diff(self, name: str) -> dict[int, list[str]]:
        """The lines that went (-) and came (+) in each cell of notebook `name` that differs from what is deployed.

        Empty when nothing differs, when it is not deployed, or when it does not compile.
        """
        was, now = self._compiled_pair(name)
        return {} if was is None or now is None else cell_differences(was.chunks, now.chunks)

    def statuses(self, names: Iterable[str]) -> dict[str, DeploymentStatus]:
        """The deployment status of each of these modules."""
        deployed, edits = self.deployed(), self.edits()
        return {name: edits.get(name, AS_DEPLOYED) if name in deployed else NOT_DEPLOYED for name in names}

    def standing(self, name: str) -> DeploymentStatus:
        """The deployment status of one module; only where it is not as deployed, more than it and its helpers is read."""
        pointer = self.deployed().get(name)
        if pointer is None:
            return NOT_DEPLOYED
        return AS_DEPLOYED if self.digest_of(name) == pointer.digest else self.edit(name, self.authored())

    def gone(self, name: str) -> FlowValidationError | None:
        """The error for a deployed flow whose module is gone, with both ways on; None where it is there, or not deployed."""
        if name not in self.deployed() or any(os.path.lexists(self._modules.content / file) for file in files_of(name)):
            return None
        status = self.where_gone(name, read_contents(self._modules.content)[0])
        return FlowValidationError(status.text, where=str(self._modules.folder), fix=status.fix)

    def edits(self) -> dict[str, DeploymentStatus]:
        """The deployment status of each deployed flow whose module is not as deployed."""
        return self.edits_among(self.authored()) if self.deployed() else {}

    def authored(self) -> Authored:
        """The authored folder as it is now."""
        contents, unreadable = read_contents(self._modules.content)
        return Authored(contents, frozenset(contents.keys() | unreadable.keys()), self._digests(contents))

    def edits_among(self, authored: Authored) -> dict[str, DeploymentStatus]:
        """As `edits`, for an authored folder that was read already."""
        return {
            name: self.edit(name, authored)
            for name, pointer in self.deployed().items()
            if authored.digests.get(name) != pointer.digest
        }

    def edit(self, name: str, authored: Authored) -> DeploymentStatus:
        """The deployment status of a deployed flow whose module is not as deployed. One that cannot be read is there, and not gone."""
        contents, digest = authored.contents, authored.digests.get(name, "")
        if not files_of(name) & authored.files:
            return self.where_gone(name, contents)
        cells, helpers = self.changed_cells(name) or (), self.changed_helpers(name, contents)
        status = DeploymentStatus("edited", cells, helpers=helpers, digest=digest)
        back = self.deployed()[name].back
        if back is None or digest != back.digest:
            return status
        return replace(status, rolled_back_to=back.to, rolled_back_utc=back.at_utc)

    def where_gone(self, name: str, contents: Mapping[str, bytes]) -> DeploymentStatus:
        """The deployment status of a flow whose module is not among the authored `contents`, with its new name or place, as far as that
        shows."""
        file = self.file_of(name)
        below = (path for path in notebooks_in_subfolders(self._modules.content) if path.rpartition("/")[2] == file)
        return DeploymentStatus(
            "gone", file=file, renamed_to=self.renamed_to(name, contents), moved_to=next(below, None)
        )

    def digest_of(self, name: str) -> str | None:
        """The digest of the authored module `name` as it is now; None where there is none."""
        folder = self._modules.content
        return self._digests(read_module(folder, name, cache_dir=self._modules.cache_dir)).get(name)

    def file_of(self, name: str) -> str:
        """The file name that the deployed module `name` had in the authored folder."""
        pointer = self.deployed().get(name)
        folder = None if pointer is None else self.root / pointer.set_id
        is_python = folder is not None and (folder / f"{name}.py").is_file()
        return f"{name}.py" if is_python else f"{name}.ipynb"

    def renamed_to(self, name: str, contents: Mapping[str, bytes]) -> str | None:
        """The module among the authored `contents`, not deployed, that the deployed flow `name` has become by a new file name."""
        pointer = self.deployed().get(name)
        return None if pointer is None else self.became(name, pointer.set_id, contents)

    def became(self, name: str, set_id: str, contents: Mapping[str, bytes], *, may_fetch: bool = False) -> str | None:
        """The module among the authored `contents`, not deployed, that the module `name` of a set has become; None also where the
        set is not on this machine, and may not be fetched or cannot be."""
        if may_fetch:
            with suppress(FlowValidationError):
                self.copy_of(set_id)
        old = self.contents_of(set_id)
        if old is None:
            return None
        file = f"{name}.py" if f"{name}.py" in old else f"{name}.ipynb"
        deployed = self.deployed()
        new = {
            file: data
            for file, data in contents.items()
            if "/" not in file and Path(file).stem not in deployed and not SCRATCH_NAME.fullmatch(Path(file).stem)
        }
        target = moved_to(file, old.get(file, b""), new)
        return None if target is None else Path(target).stem

    def changed_helpers(self, name: str, contents: Mapping[str, bytes]) -> tuple[str, ...]:
        """The `.py` files that flow `name` runs with and that differ from what is deployed."""
        pointer = self.deployed().get(name)
        old = None if pointer is None else self.contents_of(pointer.set_id)
        return () if old is None else changed_helpers(old, contents, name, self._modules.folder)

    def edited_helpers(self, name: str) -> tuple[str, ...]:
        """As `changed_helpers` of the authored folder as it is now; where no helper differs, no notebook is read."""
        pointer = self.deployed().get(name)
        if pointer is None or python_files(self.root / pointer.set_id) == python_files(self._modules.content):
            return ()
        return self.changed_helpers(name, read_contents(self._modules.content)[0])

    def _digests(self, contents: Mapping[str, bytes]) -> dict[str, str]:
        return module_digests(contents, self._modules.folder, cache_dir=self._modules.cache_dir)

    def changed_cells(self, name: str, of: str | None = None) -> tuple[int, ...] | None:
        """The cells of notebook `name`, as authored or in the set `of`, whose part in production differs from what is deployed.

        In order; a cell that is gone counts with its old number. Empty when the notebook is as deployed; None when it is not
        deployed, is no notebook, or its deployment is gone.
        """
        was = self._compiled(name)
        if was is None:
            return None
        new = (self._modules.content if of is None else self.root / of) / f"{name}.ipynb"
        try:
            data = new.read_bytes()
        except OSError:
            return None
        return cells_that_differ(was, data, path=self._modules.folder / new.name)

    def statements(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The statements of notebook `name` that production runs, and those it would run of the notebook as it is saved; empty where
        it is not deployed, is no notebook, or does not compile."""
        was, now = self._compiled_pair(name)
        if was is None:
            return (), ()
        return tuple(chunk.text for chunk in was.chunks), tuple(chunk.text for chunk in now.chunks) if now else ()

    def _compiled_pair(self, name: str) -> tuple[CompiledNotebook | None, CompiledNotebook | None]:
        """Notebook `name` as it is deployed and as it is saved; None where it is not there, or does not compile."""
        was = self._compiled(name)
        return was, None if was is None else _compiled_from(self._modules.content, was.path)

    def _compiled(self, name: str) -> CompiledNotebook | None:
        """Notebook `name` as it is deployed; None where it is not, or is no notebook."""
        deployed = self.modules_of(name)
        path = self._modules.folder / f"{name}.ipynb"
        return None if deployed is None else _compiled_from(deployed.content, path)


def _compiled_from(content: Path, path: Path) -> CompiledNotebook | None:
    """The notebook at `path` as it lies in `content`; None where it is not there, or does not compile."""
    try:
        return _compiled(path, (content / path.name).read_bytes())
    except OSError:
        return None


def _compiled(path: Path, data: bytes) -> CompiledNotebook | None:
    from data_engine.notebook.artifacts import load_artifact

    try:
        return load_artifact(path, data, cache_dir=None).compiled
    except FlowValidationError:
        return None


def cells_that_differ(was: CompiledNotebook, data: bytes, *, path: Path) -> tuple[int, ...]:
    """The cells of the notebook content `data` whose part in production is not that of `was`.

    When `data` does not compile, whole cells are compared. Comparison goes by text, so a moved cell is no difference.
    """
    from data_engine.notebook.read import read_cells

    if (compiled := _compiled(path, data)) is not None:
        now = [(chunk.cell, chunk.text) for chunk in compiled.chunks]
        before = [(chunk.cell, chunk.text) for chunk in was.chunks]
    else:
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


def moved_to(file: str, was: bytes, new: Mapping[str, bytes]) -> str | None:
    """The name of the file among `new` that the module `file` with the content `was` has become; None where none or several
    could be.

    It runs the same code; or it is a notebook that holds more than half of the other's code cells, by id and text.

    Example:
        >>> moved_to("claims.py", b"x = 1", {"claims 2013.py": b"x = 1", "parts.py": b"y = 1"})
        'claims 2013.py'
    """
    alike = {name: data for name, data in new.items() if Path(name).suffix == Path(file).suffix}
    code = own_code(Path(file), was, None)  # under one name: the text of a compiled notebook begins with it
    same = [name for name, data in alike.items() if own_code(Path(file), data, None) == code]
    if not same and file.endswith(".ipynb"):
        cells = _code_cells(was)
        same = [name for name, data in alike.items() if 2 * len(cells & _code_cells(data)) > len(cells)]
    return same[0] if len(same) == 1 else None


def _code_cells(notebook: bytes) -> set[tuple[str, str]]:
    """The code cells of a notebook by id and text; none where it cannot be read or its cells have no ids."""
    try:
        cells = json.loads(notebook)["cells"]
        return {(cell["id"], "".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"}
    except (ValueError, KeyError, TypeError, RecursionError):
        return set()


def config_of(layout: WorkspaceLayout) -> tuple[tuple[str, str], ...]:
    """The SHA-256 of each of the workspace's config files, which code reads as they are when it runs."""
    hashes = []
    for path in sorted(layout.config_dir.glob("*.toml")):
        if path != layout.settings_path:
            try:
                hashes.append((path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
            except OSError:
                continue
    return tuple(hashes)


def changed_config(
    layout: WorkspaceLayout, deployments: Deployments, since: Deployment, edit: Mapping[str, bytes] | None = None
) -> tuple[str, ...]:
    """The config files that changed since a deployment, and that the deployed code or the `edit` may read."""
    then, now = dict(since.config), dict(config_of(layout))
    changed = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    if not changed:
        return ()
    folder, was = layout.flow_modules_dir, deployments.contents_of(since.set_id)
    read = set(changed) if was is None else configs_read(was, since.flow, folder, changed)
    if edit is not None:
        read |= configs_read(edit, since.flow, folder, changed)
    return tuple(name for name in changed if name in read)


def configs_read(contents: Mapping[str, bytes], name: str, folder: Path, files: Collection[str]) -> set[str]:
    """Those of the config `files` that the module `name` of a set may read, with the helpers that it runs with: the files that stand in a
    text of the code, and all of them where it speaks of config and names none.
    """
    own = [own_code(folder / file, contents[file], None) for file in files_of(name) & contents.keys()]
    read: set[str] = set() if own else {*files}
    for code in [*own, *helpers_of(contents, name, folder).values()]:
        text = code.decode("utf-8", "replace")
        named = {
            file for file in files if re.search(rf"[\"'/]{re.escape(file.removesuffix('.toml'))}(\.toml)?[\"']", text)
        }
        read |= named or ({*files} if "config" in text else set())
    return read


_MOST_LINES = 200
_ENDS = "only empty lines, or how lines end, differ"


def code_differences(
    old: Mapping[str, bytes], new: Mapping[str, bytes], flow: str, folder: Path
) -> dict[str, list[str]]:
    """The lines that went ("- ") and came ("+ "), by "cell 3" or by the name of a file; of helpers too.

    `folder` is the authored one, by which the notebook is known.

    Example:
        >>> code_differences({"a.py": b"x = 1\\n"}, {"a.py": b"x = 2\\n"}, "a", Path("/ws/flow_modules"))
        {'a.py': ['- x = 1', '+ x = 2']}
    """
    differences: dict[str, list[str]] = {}
    notebook = f"{flow}.ipynb"
    if notebook in old and notebook in new and old[notebook] != new[notebook]:
        was, now = (_compiled(folder / notebook, content[notebook]) for content in (old, new))
        if was is None or now is None:
            differences[notebook] = ["the notebook differs, and one of the two does not compile"]
        else:
            differences = {f"cell {cell}": lines for cell, lines in cell_differences(was.chunks, now.chunks).items()}
    data = {name for name in {**old, **new} if "/" in name and not name.endswith(".py")}
    for name in [f"{flow}.py", *sorted(data.union(changed_helpers(old, new, flow, folder)))]:
        before, after = old.get(name, b""), new.get(name, b"")
        if before != after:
            differences[name] = _lines(before.decode("utf-8", "replace"), after.decode("utf-8", "replace")) or [_ENDS]
    return {name: lines[:_MOST_LINES] for name, lines in differences.items()}


def cell_differences(was: Sequence[CellPart], now: Sequence[CellPart]) -> dict[int, list[str]]:
    """The lines that went ("- "), and then those that came ("+ "), by the number of the cell; of one that is gone, by its old number.

    Cells are the same that have the same text, or else the same id, or else the same place between such: a copy of a notebook,
    or a tool that writes cells anew, changes ids.

    Example:
        >>> from data_engine.notebook.compiled import CellPart
        >>> was, now = [CellPart(1, "a", "x = 1", ""), CellPart(2, "b", "y = 1", "")], [CellPart(1, "c", "x = 1", ""), CellPart(2, "d", "y = 2", "")]
        >>> cell_differences(was, now)
        {2: ['- y = 1', '+ y = 2']}
    """
    partner: dict[int, int] = {}
    free = dict.fromkeys(range(len(was)))
    keys: tuple[Callable[[CellPart], object], ...] = (
        lambda chunk: (chunk.cell_id, _code(chunk)),
        _code,
        attrgetter("cell_id"),
    )
    for key in keys:
        waiting: dict[object, list[int]] = {}
        for index in reversed(free):
            waiting.setdefault(key(was[index]), []).append(index)
        for index, chunk in enumerate(now):
            if index not in partner and (same := waiting.get(key(chunk))):
                partner[index] = same.pop()
                del free[partner[index]]
    last = -1
    for index in range(len(now)):
        if index not in partner and last + 1 in free:
            partner[index] = last + 1
            del free[last + 1]
        last = partner.get(index, last)
    pairs = [(chunk.cell, was[partner[at]].text if at in partner else "", chunk.text) for at, chunk in enumerate(now)]
    pairs += [(was[index].cell, was[index].text, "") for index in free]
    differences: dict[int, list[str]] = {}
    for cell, before, after in sorted(pairs, key=lambda pair: pair[0]):
        if lines := _lines(before, after):
            differences.setdefault(cell, []).extend(lines)
    return differences


def _code(chunk: CellPart) -> object:
    return tuple(_code_lines(chunk.text))


def _code_lines(text: str) -> list[str]:
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]


def _lines(before: str, after: str) -> list[str]:
    from difflib import ndiff

    lines = list(ndiff(_code_lines(before), _code_lines(after)))
    return [line for sign in ("- ", "+ ") for line in lines if line.startswith(sign)]
