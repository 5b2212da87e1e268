"""The modules of a workspace as one immutable set: its files, the id made of them, and the files that each module runs with."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import field
from functools import lru_cache
from pathlib import Path

from data_engine.errors import FlowValidationError
from data_engine.platforms.files import content_of
from data_engine.platforms.names import why_windows_refuses
from data_engine.record import frozen

HELPERS = "flow_helpers"

_PART = r"(?!\.)[^\x00-\x1f\x7f/\\:\ud800-\udfff]{1,255}"
_FEW, _READERS = 4, 8
"""A share answers several at once; one after the other a hundred notebooks are a hundred waits. For a few files threads take longer to start."""


@frozen
class ModuleSet:
    """An immutable set of modules and helpers, stored in `folder`; `digests` has one for each module, with all helpers.

    `unreadable` says of each file that could not be read, by its path in the authored folder, why; the set goes without.
    """

    id: str
    folder: Path
    digests: Mapping[str, str]
    unreadable: Mapping[str, str] = field(default_factory=dict)


def set_id(hashes: Mapping[str, str]) -> str:
    """The id of a set whose files have these SHA-256 hashes, in hex by path.

    Example:
        >>> set_id({}), len(set_id({"claims.py": "00" * 32}))
        ('e3b0c44298fc1c149afbf4c8', 24)
    """
    digest = hashlib.sha256()
    for name, value in sorted(hashes.items()):
        digest.update(name.encode() + b"\0" + bytes.fromhex(value))
    return digest.hexdigest()[:24]


def hashes_of(contents: Mapping[str, bytes]) -> dict[str, str]:
    """The SHA-256 of each file, in hex."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}


def is_module_path(path: object) -> bool:
    """Whether a set may hold a file of this path: a module at the top, or anything below the helpers, by names of every system.

    Example:
        >>> [is_module_path(path) for path in ("claims.py", "flow_helpers/a/b.csv", "../x.py", "/x.py", "flow_helpers/..", "aux.py")]
        [True, True, False, False, False, False]
    """
    if not isinstance(path, str) or len(path) > 1000 or trouble_with_name(path) is not None:
        return False
    *folders, name = path.split("/")
    return folders[0] == HELPERS if folders else name.endswith((".py", ".ipynb"))


def trouble_with_name(path: str) -> tuple[str, str] | None:
    """The problem of a path that not every machine of a workspace can hold, and the fix; None for a good one.

    Example:
        >>> trouble_with_name("who?.ipynb")
        ("Windows allows no '?' in the name 'who?.ipynb'", 'rename it: leave that character out')
    """
    if (refused := why_windows_refuses(path)) is not None:
        return refused[0], f"rename it: {refused[1]}"
    if all(re.fullmatch(_PART, part) for part in path.split("/")):
        return None
    return (
        f"not every system can hold a file of the name {path!r}",
        "rename it: letters, digits, space, _ and - are safe",
    )


def files_of(name: str) -> set[str]:
    """The files that may be the module `name`."""
    return {f"{name}.py", f"{name}.ipynb"}


def python_names(folder: Path) -> list[str]:
    """The paths of the `.py` files of a set inside it; none where the folder is gone."""
    with suppress(OSError):
        return [name for name in _files_in(folder) if name.endswith(".py")]
    return []


def python_files(folder: Path) -> dict[str, bytes]:
    """The `.py` files of a set by path inside it, as `read_contents` has them; without those that cannot be read."""
    contents = {name: _read(folder / name) for name in python_names(folder)}
    return {name: data for name, data in contents.items() if isinstance(data, bytes)}


def read_contents(folder: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Every file of a set by path inside it: the modules at the top of `folder` and everything under its helpers.

    And the reason for each that cannot be read: it fails only the modules that need it.
    """
    names = _files_in(folder)
    if len(names) <= _FEW:
        files = {name: _content(folder, name) for name in names}
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_READERS) as readers:
            files = dict(zip(names, readers.map(lambda name: _content(folder, name), names), strict=True))
    contents = {name: data for name, data in files.items() if isinstance(data, bytes)}
    return contents, {name: why for name, why in files.items() if isinstance(why, str)}


def read_module(folder: Path, name: str, *, cache_dir: Path | None) -> dict[str, bytes]:
    """The part of `read_contents` that is the module `name` and the `.py` files it runs with: its digest is the same among these."""
    paths = frozenset(_files_in(folder))
    contents: dict[str, bytes] = {}
    waiting, reached = files_of(name) & paths, set[str]()
    while waiting - reached:
        reached.add(file := (waiting - reached).pop())
        data = _content(folder, file)
        if isinstance(data, bytes):
            contents[file] = data
            imports = imported_files(own_code(folder / file, data, cache_dir), file, paths)
            waiting |= {path for path in paths if path.endswith(".py")} if imports is None else imports
    return contents


def _files_in(folder: Path) -> list[str]:
    """The paths that may be files of a set, the modules first."""
    names = [name for name in sorted(os.listdir(folder)) if name.endswith((".py", ".ipynb"))]
    for parent, folders, files in os.walk(folder / HELPERS):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        inside = Path(parent).relative_to(folder).as_posix()
        names += [f"{inside}/{name}" for name in sorted(files)]
    return [name for name in names if not name.rpartition("/")[2].startswith(".")]


def _content(folder: Path, name: str) -> bytes | str | None:
    """The content of a file of a set, else why it cannot be had; None of what is no file and not needed."""
    if (trouble := trouble_with_name(name)) is not None:
        return trouble[0]
    if not is_module_path(name):
        return "its path is too long"
    data = _read(folder / name)
    if isinstance(data, OSError):
        return data.strerror or str(data)
    return "it is not a file" if data is None and "/" not in name else data


def _read(path: Path) -> bytes | OSError | None:
    """The content of a file; None of what is no file."""
    try:
        return content_of(path) if stat.S_ISREG(path.stat().st_mode) else None
    except OSError as error:
        return error


def file_facts(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Path, size, time and rights of every file that could be part of a set: equal while nobody edits."""
    rows, names = [], list[str]()
    with suppress(OSError):
        names = _files_in(folder)
    for name in names:
        with suppress(OSError):
            facts = os.stat(os.path.join(folder, name))
            rows.append((name, facts.st_size, facts.st_mtime_ns, facts.st_mode))
    return tuple(rows)


def module_digests(contents: Mapping[str, bytes], folder: Path, *, cache_dir: Path | None) -> dict[str, str]:
    """The digest of each module of a set: of its own code and the `.py` files that it imports, and they import.

    A notebook counts by what production takes of it, so a saved output is no edit; one that does not compile by its bytes.
    A module that imports by computed names counts with every `.py` file.
    """
    digests: dict[str, str] = {}
    for name, data in contents.items():
        if "/" in name or _is_only_beside(name, contents, folder, cache_dir):
            continue
        code = own_code(folder / name, data, cache_dir)
        stem = Path(name).stem
        other = digests.get(stem, "")  # two files of one stem are one broken module, which is none of the two
        digest = hashlib.sha256(other.encode() + name.encode() + b"\0" + code)
        for file in sorted(reached_files(name, code, contents)):
            digest.update(b"\0" + file.encode() + b"\0" + hashlib.sha256(contents[file]).digest())
        digests[stem] = digest.hexdigest()
    return digests


def _is_only_beside(name: str, contents: Mapping[str, bytes], folder: Path, cache_dir: Path | None) -> bool:
    """Whether this file is no flow, while the other one with its stem is."""
    stem, suffix = name.rsplit(".", 1)
    other = f"{stem}.{'py' if suffix == 'ipynb' else 'ipynb'}"
    if other not in contents:
        return False
    return _is_flow(other, contents[other], folder, cache_dir) and not _is_flow(name, contents[name], folder, cache_dir)


def _is_flow(name: str, data: bytes, folder: Path, cache_dir: Path | None) -> bool:
    """Whether a module defines `build`; one that cannot be read as what it is counts as one."""
    from data_engine.notebook.artifacts import is_flow

    try:
        return is_flow(folder / name, data, cache_dir)
    except FlowValidationError:
        return True


def changed_helpers(old: Mapping[str, bytes], new: Mapping[str, bytes], name: str, folder: Path) -> tuple[str, ...]:
    """The `.py` files beside the module `name` that it runs with, and that differ between two sets; sorted."""
    then, now = (helpers_of(contents, name, folder) for contents in (old, new))
    return tuple(sorted(file for file in then.keys() | now.keys() if old.get(file) != new.get(file)))


def helpers_of(contents: Mapping[str, bytes], name: str, folder: Path) -> dict[str, bytes]:
    """The `.py` files of a set that the module `name` runs with, without itself."""
    helpers: dict[str, bytes] = {}
    for own in (f"{name}.ipynb", f"{name}.py"):
        if own in contents:
            code = own_code(folder / own, contents[own], None)
            helpers |= {file: contents[file] for file in reached_files(own, code, contents) if file != own}
    return helpers


def reached_files(name: str, code: bytes, contents: Mapping[str, bytes]) -> set[str]:
    """The `.py` files of a set that running the module `name` with this code reads, with itself where it is one.

    Example:
        >>> files = {"flow_helpers/rates.py": b"import years", "years.py": b"", "other.py": b""}
        >>> sorted(reached_files("claims.ipynb", b"from flow_helpers.rates import RATE", files))
        ['flow_helpers/rates.py', 'years.py']
    """
    reached = {name} if name.endswith(".py") and name in contents else set()
    waiting = [imported_files(code, name, contents)]
    while waiting:
        imports = waiting.pop()
        for file in ({path for path in contents if path.endswith(".py")} if imports is None else imports) - reached:
            reached.add(file)
            waiting.append(imported_files(contents[file], file, contents))
    return reached


def imported_files(code: bytes, name: str, contents: Collection[str]) -> set[str] | None:
    """The files of a set that the module `name` with this code imports; None when only running it could tell.

    Example:
        >>> files = {"flow_helpers/__init__.py": b"", "flow_helpers/rates.py": b"", "flow_helpers/other.py": b""}
        >>> sorted(imported_files(b"from flow_helpers.rates import RATE", "claims.py", files))
        ['flow_helpers/__init__.py', 'flow_helpers/rates.py']
    """
    names = _imported_names(code, tuple(name.split("/")[:-1]))
    if names is None:
        return None
    files = set()
    for dotted in names:
        parts = dotted.split(".")
        for end in range(1, len(parts) + 1):
            path = "/".join(parts[:end])
            files |= {file for file in (f"{path}.py", f"{path}/__init__.py") if file in contents}
    return files


@lru_cache(maxsize=4096)
def _imported_names(code: bytes, package: tuple[str, ...]) -> frozenset[str] | None:
    """The dotted names that code in this package imports; None when only running it could tell. Broken code imports nothing."""
    import ast

    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return frozenset()
    except (RecursionError, MemoryError):
        return None
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
    return frozenset(names)


def own_code(path: Path, data: bytes, cache_dir: Path | None) -> bytes:
    """The code of a module that production runs: the slice of a notebook; all of one that does not compile, and of a `.py` file."""
    if path.suffix == ".ipynb":
        from data_engine.notebook.artifacts import load_artifact

        with suppress(FlowValidationError):
            return load_artifact(path, data, cache_dir=cache_dir).compiled.source.encode()
    return data
