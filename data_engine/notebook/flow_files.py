"""Finds the flows among the files of flow_modules, and says why files that look like flows are none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from data_engine.errors import FlowValidationError
from data_engine.platforms.files import content_of
from data_engine.workspace.layout import FLOW_MODULES, current_notebook

if TYPE_CHECKING:
    from data_engine.notebook.load import FlowModules

_COPY = re.compile(r"[^._].*-Copy\d+\.ipynb", re.DOTALL)
_BUILD = re.compile(rb"def build\(")
_FUNCTION = re.compile(rb"def (\w+)\(")


def notebooks_in_subfolders(folder: Path) -> tuple[str, ...]:
    """The notebooks with a `build()` below subfolders of `folder`, as paths inside it; none of hidden folders and of `_*`.

    Example:
        >>> notebooks_in_subfolders(Path("no such folder"))
        ()
    """
    notebooks = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        if parent != str(folder):
            paths = (Path(parent, name) for name in sorted(names) if name.endswith(".ipynb") and name[0] not in "._")
            notebooks += [path.relative_to(folder).as_posix() for path in paths if _has_build(path)]
    return tuple(notebooks)


def not_flows(folder: Path, below: Iterable[str]) -> tuple[str, ...]:
    """A text for each notebook of `folder` with a `build()` that is no flow: copies as JupyterLab names them, and those `below`,
    which `notebooks_in_subfolders` finds.

    Example:
        >>> not_flows(Path("no such folder"), [])
        ()
    """
    try:
        names = sorted(name for name in os.listdir(folder) if _COPY.fullmatch(name))
    except OSError:
        return ()
    copies = (f"{name} is a copy: rename it to make it a flow" for name in names if _has_build(folder / name))
    return (*copies, *map(no_flow_there, below))


def no_flow_there(path: str) -> str:
    """The text for a notebook in a subfolder.

    Example:
        >>> no_flow_there("old/claims.ipynb")
        'old/claims.ipynb is not a flow: it is in a subfolder. Move it into flow_modules itself'
    """
    return f"{path} is not a flow: it is in a subfolder. Move it into flow_modules itself"


def outside_text(name: str, folder: Path) -> tuple[str, str] | None:
    """The problem and the fix of a notebook of this name that lies beside `folder` (a `flow_modules`), or is this kernel's and lies
    in no such folder; None without one.

    Example:
        >>> outside_text("claims", Path("no such folder/flow_modules")) is None
        True
    """
    notebook = folder.parent / f"{Path(name).stem}.ipynb"
    current = current_notebook()
    if current is not None and current.path.stem == Path(name).stem and FLOW_MODULES not in current.path.parts:
        notebook = current.path
    return (no_flow_outside(notebook), how_to_move(notebook, folder)) if notebook.is_file() else None


def no_flow_outside(notebook: Path) -> str:
    """The text for a notebook that lies in no `flow_modules`."""
    return f"{notebook} is not a flow: production runs only notebooks of flow_modules"


def how_to_move(notebook: Path, folder: Path) -> str:
    """The fix that moves a notebook into `folder`, and what its relative paths mean then.

    Example:
        >>> root = Path("/ws")
        >>> print(how_to_move(root / "sales.ipynb", root / "flow_modules").replace(str(root), "/ws").replace(os.sep, "/"))
        move it into /ws/flow_modules (in JupyterLab drag it there); its relative paths begin there then: "inbox" becomes "../inbox"
    """
    renamed = ""
    if SCRATCH_NAME.fullmatch(notebook.stem):
        renamed = " and rename it (files called _*, Untitled* and *-Copy<n> are never flows)"
    fix = f"move it into {folder} (in JupyterLab drag it there){renamed}"
    with suppress(ValueError):  # another drive of Windows
        before = Path(os.path.relpath(notebook.parent, folder)).as_posix()
        fix += f'; its relative paths begin there then: "inbox" becomes "{before}/inbox"'
    return fix


def how_to_be_a_flow(name: str, path: Path, *, is_scratch: bool) -> str:
    """The fix that makes the file at `path` a flow: one with a name for scratch, one of another language, or one without `build()`, which
    may be misspelt there.

    Example:
        >>> how_to_be_a_flow("claims", Path("no such file"), is_scratch=False)
        'let claims define build(): without it, it is a scratch notebook or a module to import from'
    """
    from data_engine.suggestions import nearest_name

    if is_scratch:
        return f"rename {name}: files called _*, Untitled* and *-Copy<n> are never flows"
    content = _content(path)
    if (language := _LANGUAGE.search(content)) is not None and language[1].lower() != b"python":
        return f"write {name} in Python: it is a notebook of {language[1].decode('utf-8', 'replace')}, and flows are Python"
    functions = [function.decode("utf-8", "replace") for function in _FUNCTION.findall(content)]
    near = nearest_name("build", (function for function in functions if function != "build"))
    offer = "" if near is None else f"rename its {near}() to build(), or "
    return f"{offer}let {name} define build(): without it, it is a scratch notebook or a module to import from"


def _has_build(path: Path) -> bool:
    return _BUILD.search(_content(path)) is not None


def _content(path: Path) -> bytes:
    """The bytes of the file; none where it cannot be read."""
    try:
        return content_of(path)
    except OSError:
        return b""


_LANGUAGE = re.compile(rb'"language"\s*:\s*"([^"\\]{1,40})"')
"""That of a notebook's `kernelspec`. Reference: https://nbformat.readthedocs.io/en/latest/format_description.html"""
SCRATCH_NAME = re.compile(r"_.*|Untitled.*|.*-Copy\d+", re.DOTALL)


def module_files(folder: Path) -> dict[str, list[Path]]:
    """The files that may be flow modules, by stem, sorted; two files of one stem are both there.

    Raises:
        FlowValidationError: the folder does not exist or cannot be read.
    """
    files: dict[str, list[Path]] = {}
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise FlowValidationError(
            f"the flow_modules folder cannot be read: {folder} ({error.strerror})",
            where=str(folder),
            fix="create a workspace with `data-engine workspace create PATH`, or choose another one",
        ) from error
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix in (".py", ".ipynb") and not name.startswith(".") and not SCRATCH_NAME.fullmatch(stem):
            files.setdefault(stem, []).append(folder / name)
    return files


def as_filed(folder: Path, name: str) -> str:
    """The name of a module in the spelling of its file: a Mac may write an "ä" as two letters, which look like one.

    Example:
        >>> as_filed(Path("/nowhere"), "claims")
        'claims'
    """
    import unicodedata

    if name.isascii():
        return name
    try:
        stems = {os.path.splitext(file)[0] for file in os.listdir(folder) if file.endswith((".py", ".ipynb"))}
    except OSError:
        return name
    alike = [stem for stem in stems if unicodedata.normalize("NFC", stem) == unicodedata.normalize("NFC", name)]
    return alike[0] if name not in stems and len(alike) == 1 else name


def is_flow_file(modules: FlowModules, path: Path) -> bool:
    """Whether the file is a flow, or is meant to be one and is broken."""
    from data_engine.notebook.artifacts import is_flow

    try:
        return is_flow(modules.authored(path), content_of(path), modules.cache_dir)
    except FlowValidationError:
        return True  # a broken module is still a flow
    except OSError:
        return False


def require_parsed(path: Path) -> None:
    """Return when the Python module parses; nothing of it is run.

    Raises:
        FlowExecutionError: it does not; names the line.
    """
    import ast

    from data_engine.notebook.artifacts import unparsed

    try:
        ast.parse(content_of(path))
    except (SyntaxError, ValueError) as error:
        raise unparsed(path, error) from error


def case_warnings(names: Iterable[str]) -> dict[str, str]:
    """The warnings of modules whose names differ only in upper and lower case, by name.

    Example:
        >>> case_warnings(["claims", "Claims", "parts"])["claims"]
        'claims and Claims differ only in upper and lower case, and are one file on Windows and macOS: rename one of them'
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(name.casefold(), []).append(name)
    return {
        name: f"{' and '.join([name, *(other for other in same if other != name)])} differ only in upper and lower case,"
        " and are one file on Windows and macOS: rename one of them"
        for same in alike.values()
        if len(same) > 1
        for name in same
    }


def twin_warning(files: Iterable[Path], flow: Path) -> str | None:
    """The warning of a flow beside which a file of the same name, but another kind, is no flow; None without one.

    Example:
        >>> twin_warning([Path("claims.ipynb"), Path("claims.py")], Path("claims.ipynb"))
        'claims.py is beside claims.ipynb but is not part of it: the flow is claims.ipynb alone; rename or delete claims.py'
    """
    other = next((path.name for path in files if path.name != flow.name), None)
    if other is None:
        return None
    return (
        f"{other} is beside {flow.name} but is not part of it: the flow is {flow.name} alone; rename or delete {other}"
    )


def name_warnings(flow: Path, cases: Mapping[str, str], files: Iterable[Path]) -> list[str]:
    """The warnings of a flow's name: its own of `cases` (see `case_warnings`), and `twin_warning` of the `files` of its name.

    Example:
        >>> name_warnings(Path("claims.ipynb"), case_warnings(["claims", "parts"]), [Path("claims.ipynb")])
        []
    """
    return [text for text in (cases.get(flow.stem), twin_warning(files, flow)) if text is not None]
