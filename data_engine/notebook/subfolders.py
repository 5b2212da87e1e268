"""What looks like a flow of `flow_modules` and is none, and what to do: notebooks in subfolders, names for scratch, no `build()`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from data_engine.notebook.flow_files import SCRATCH_NAME
from data_engine.platforms.files import content_of
from data_engine.workspace.here import FLOW_MODULES, here

_COPY = re.compile(r"[^._].*-Copy\d+\.ipynb", re.DOTALL)
_BUILD = re.compile(rb"def build\(")


def notebooks_in_subfolders(folder: Path) -> tuple[str, ...]:
    """The notebooks with a `build()` below subfolders of `folder`, as paths inside it; none of hidden folders and of `_*`.

    Example:
        >>> notebooks_in_subfolders(Path("no such folder"))
        ()
    """
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        if parent != str(folder):
            paths = (Path(parent, name) for name in sorted(names) if name.endswith(".ipynb") and name[0] not in "._")
            found += [path.relative_to(folder).as_posix() for path in paths if _has_build(path)]
    return tuple(found)


def moved_into_subfolders(below: Iterable[str]) -> frozenset[str]:
    """The names of flows whose notebook is `below`, in a subfolder: somebody has moved such a one there, and not deleted it.

    Example:
        >>> moved_into_subfolders(["old/claims.ipynb"])
        frozenset({'claims'})
    """
    return frozenset(Path(path).stem for path in below)


def not_flows(folder: Path, below: Iterable[str]) -> tuple[str, ...]:
    """What to say of each notebook of `folder` with a `build()` that is no flow: copies as JupyterLab names them, and those
    `below`, as `notebooks_in_subfolders` finds them.

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
    """What to say of such a notebook.

    Example:
        >>> no_flow_there("old/claims.ipynb")
        'old/claims.ipynb is not a flow: it is in a subfolder. Move it into flow_modules itself'
    """
    return f"{path} is not a flow: it is in a subfolder. Move it into flow_modules itself"


def outside_words(name: str, folder: Path) -> tuple[str, str] | None:
    """What is said of a notebook of this name that lies beside `folder` (a `flow_modules`), or is this kernel's and lies in no such
    folder, and what to do; None without one.

    Example:
        >>> outside_words("claims", Path("no such folder/flow_modules")) is None
        True
    """
    found = folder.parent / f"{Path(name).stem}.ipynb"
    asking = here()
    if asking is not None and asking.path.stem == Path(name).stem and FLOW_MODULES not in asking.path.parts:
        found = asking.path
    return (no_flow_outside(found), how_to_move(found, folder)) if found.is_file() else None


def no_flow_outside(notebook: Path) -> str:
    """What is said of a notebook that lies in no `flow_modules`."""
    return f"{notebook} is not a flow: production runs only notebooks of flow_modules"


def how_to_move(notebook: Path, folder: Path) -> str:
    """How a notebook becomes one of `folder`, and what its relative paths mean then.

    Example:
        >>> root = Path("/ws")
        >>> print(how_to_move(root / "sales.ipynb", root / "flow_modules").replace(str(root), "/ws").replace(os.sep, "/"))
        move it into /ws/flow_modules (in JupyterLab drag it there); its relative paths begin there then: "inbox" becomes "../inbox"
    """
    renamed = ""
    if SCRATCH_NAME.fullmatch(notebook.stem):
        renamed = " and rename it (files called _*, Untitled* and *-Copy<n> are never flows)"
    told = f"move it into {folder} (in JupyterLab drag it there){renamed}"
    with suppress(ValueError):  # another drive of Windows
        before = Path(os.path.relpath(notebook.parent, folder)).as_posix()
        told += f'; its relative paths begin there then: "inbox" becomes "{before}/inbox"'
    return told


def how_to_be_a_flow(name: str, *, is_scratch: bool) -> str:
    """What makes a file of flow_modules a flow that is none: one with a name for scratch, or one without `build()`.

    Example:
        >>> how_to_be_a_flow("claims", is_scratch=False)
        'let claims define build(): without it, it is a scratch notebook or a module to import from'
    """
    if is_scratch:
        return f"rename {name}: files called _*, Untitled* and *-Copy<n> are never flows"
    return f"let {name} define build(): without it, it is a scratch notebook or a module to import from"


def _has_build(path: Path) -> bool:
    try:
        return _BUILD.search(content_of(path)) is not None
    except OSError:
        return False
