"""Select the workspace that is meant.

The first of these that says anything decides, and a wrong answer is an error, never a reason to ask the next one:

1. an explicit path (`--workspace`, `Workspace(path)`);
2. the folder of this kernel's notebook, or of the running script;
3. DATA_ENGINE_WORKSPACE_ROOT;
4. the working directory, when it or a folder above it is a workspace;
5. the collection: DATA_ENGINE_WORKSPACE_COLLECTION_ROOT, else `collection_root` in the machine's settings.toml; in it
   the workspace named by DATA_ENGINE_WORKSPACE_ID, else by `default_workspace`, else the only one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from data_engine.errors import InvalidWorkspaceIdError, WorkspaceError
from data_engine.platforms.names import with_home
from data_engine.workspace.layout import FLOW_MODULES, WorkspaceLayout, authored_folder, is_workspace
from data_engine.workspace.machine import (
    MachineSettings,
    load_machine_settings,
    machine_settings_path,
    save_machine_settings,
)

_ROOT_VARIABLE = "DATA_ENGINE_WORKSPACE_ROOT"
_COLLECTION_VARIABLE = "DATA_ENGINE_WORKSPACE_COLLECTION_ROOT"
_ID_VARIABLE = "DATA_ENGINE_WORKSPACE_ID"
_CREATE = "`data-engine workspace create PATH`"


def discover_workspaces(collection_root: Path | str) -> tuple[WorkspaceLayout, ...]:
    """The workspaces in a folder, sorted by name: its children with a `flow_modules` folder, or the folder itself when
    it has one. A folder that is missing or cannot be read has none.
    """
    root = _absolute(collection_root)
    if is_workspace(root):
        return (WorkspaceLayout(root),)
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return ()
    return tuple(
        WorkspaceLayout(root / name) for name in names if not name.startswith(".") and is_workspace(root / name)
    )


def select_workspace(explicit: str | os.PathLike[str] | None = None) -> WorkspaceLayout:
    """The workspace that is meant, by the order at the top of this module.

    Raises:
        WorkspaceError: what was named is not a workspace, or nothing names one.
        InvalidWorkspaceIdError: the requested id cannot be a folder's name.
        SettingsError: the machine's settings.toml is wrong.
    """
    if explicit is not None:
        return _workspace_at(explicit, where=os.fspath(explicit))
    authored = authored_folder()
    if authored is not None and is_workspace(authored.parent):
        return WorkspaceLayout(authored.parent)
    if value := os.environ.get(_ROOT_VARIABLE, "").strip():
        return _workspace_at(value, where=_ROOT_VARIABLE)
    outer = _workspace_around(_absolute("."))
    return outer or _from_collection(load_machine_settings())


def is_from_settings() -> bool:
    """Whether nothing nearer than the machine's settings names the workspace: no notebook or script, no variable, no folder."""
    if authored_folder() is not None or os.environ.get(_ROOT_VARIABLE, "").strip():
        return False
    return _workspace_around(_absolute(".")) is None


def named_workspace(path_or_id: Path | str) -> WorkspaceLayout:
    """The workspace of this path or id: a plain name is first looked for in the collection, then beside the working directory.

    Raises:
        WorkspaceError: neither a workspace's path nor an id in the collection.
    """
    layout = _named_in_collection(path_or_id) if isinstance(path_or_id, str) else None
    return layout or _workspace_at(path_or_id, where=str(path_or_id))


def use_workspace(path_or_id: Path | str) -> WorkspaceLayout:
    """Select the workspace from now on where nothing nearer names one: kept in the machine's settings.toml.

    Raises:
        WorkspaceError: neither a workspace's path nor an id in the collection; nothing is kept.
    """
    layout = named_workspace(path_or_id)
    save_machine_settings(collection_root=layout.root.parent, default_workspace=layout.workspace_id)
    return layout


def lies_in_collection(root: Path) -> bool:
    """Whether this machine knows the folder around the workspace as the one of several workspaces."""
    folder = root.parent
    with suppress(WorkspaceError):
        collection, _ = _collection_root(load_machine_settings())
        if collection is not None and os.path.realpath(collection) == os.path.realpath(folder):
            return any(layout.root.name != root.name for layout in discover_workspaces(folder))
    return False


def check_workspace_id(text: object) -> str:
    """`text`, when it can be a workspace's id.

    Raises:
        InvalidWorkspaceIdError: blank, '.', '..', or with a separator in it.

    Example:
        >>> check_workspace_id("claims 2025")
        'claims 2025'
    """
    if not isinstance(text, str) or not text.strip() or text in (".", "..") or any(c in text for c in "/\\\0"):
        raise InvalidWorkspaceIdError(
            f"{text!r} cannot be a workspace id",
            where="workspace id",
            fix="use the workspace's folder name: not blank, not '.' or '..', and without '/', '\\' or NUL",
        )
    return text


def _workspace_at(path: str | os.PathLike[str], *, where: str) -> WorkspaceLayout:
    root = _absolute(path)
    if is_workspace(root):
        return WorkspaceLayout(root)
    if os.path.isfile(root):
        what, fix = f"{root} is a file, not a workspace", "name the workspace's folder"
    elif not os.path.isdir(root):
        what, fix = f"{root} does not exist or cannot be reached", f"correct the path, or make it with {_CREATE}"
    elif outer := _workspace_around(root):
        what, fix = f"{root} is a folder inside a workspace", f"name the workspace itself: {outer.root}"
    elif inside := discover_workspaces(root):
        what = f"{root} is not a workspace, but a folder of workspaces"
        fix = f"name one of them: {_names(inside)}"
    else:
        what, fix = f"{root} is not a workspace: it has no {FLOW_MODULES} folder", f"make it one with {_CREATE}"
    raise WorkspaceError(what, where=where, fix=fix)


def _workspace_around(folder: Path) -> WorkspaceLayout | None:
    for candidate in (folder, *folder.parents):
        if is_workspace(candidate):
            return WorkspaceLayout(candidate)
    return None


def _from_collection(settings: MachineSettings) -> WorkspaceLayout:
    collection, where = _collection_root(settings)
    if collection is None:
        raise WorkspaceError(
            "no workspace is named and the working directory is not in one",
            where=str(_absolute(".")),
            fix=f"go to a workspace, give its path (`--workspace PATH`), name one for always "
            f"(`data-engine workspace use PATH`), or make one ({_CREATE})",
        )
    layouts = discover_workspaces(collection)
    if not layouts:
        raise WorkspaceError(
            f"{collection} holds no workspace or cannot be reached",
            where=where,
            fix=f"correct it, or make a workspace there with {_CREATE}",
        )
    workspace_id, asked_by = os.environ.get(_ID_VARIABLE, "").strip(), _ID_VARIABLE
    if not workspace_id and settings.default_workspace:
        workspace_id, asked_by = settings.default_workspace, f"{machine_settings_path()}: default_workspace"
    if workspace_id:
        check_workspace_id(workspace_id)
        for layout in layouts:
            if layout.workspace_id == workspace_id:
                return layout
        raise WorkspaceError(
            f'{collection} has no workspace "{workspace_id}"', where=asked_by, fix=f"use one of: {_names(layouts)}"
        )
    if len(layouts) > 1:
        raise WorkspaceError(
            f"{collection} holds {len(layouts)} workspaces and none is chosen",
            where=where,
            fix=f"set {_ID_VARIABLE} or call `data-engine workspace use` with one of: {_names(layouts)}",
        )
    return layouts[0]


def _named_in_collection(name: str) -> WorkspaceLayout | None:
    if os.sep in name or (os.altsep and os.altsep in name):
        return None
    collection, _ = _collection_root(load_machine_settings())
    layouts = discover_workspaces(collection) if collection else ()
    named = next((layout for layout in layouts if layout.workspace_id == name), None)
    if named is None and layouts and not os.path.exists(name):
        raise WorkspaceError(
            f'"{name}" is neither a workspace in {collection} nor a path',
            where=name,
            fix=f"use a workspace's path or one of: {_names(layouts)}",
        )
    return named


def _collection_root(settings: MachineSettings) -> tuple[Path | None, str]:
    if value := os.environ.get(_COLLECTION_VARIABLE, "").strip():
        return _absolute(value), _COLLECTION_VARIABLE
    return settings.collection_root, f"{machine_settings_path()}: collection_root"


def _absolute(path: str | os.PathLike[str]) -> Path:
    text = os.fspath(path)
    if not text.strip() or "\0" in text:
        raise WorkspaceError(f"{text!r} is not a path", where="workspace path", fix="give a folder's path")
    try:
        return Path(os.path.abspath(with_home(text)))
    except FileNotFoundError as error:
        raise WorkspaceError(
            "the working directory no longer exists", where="working directory", fix="change to a folder that does"
        ) from error


def _names(layouts: tuple[WorkspaceLayout, ...]) -> str:
    return ", ".join(layout.workspace_id for layout in layouts)
