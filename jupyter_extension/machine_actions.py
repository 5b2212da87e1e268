"""What the panel asks for outside a workspace: which there are, which is meant, and this machine's settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.platforms.names import real_path, with_home
from data_engine.workspace.layout import is_workspace
from data_engine.workspace.machine import (
    load_machine_settings,
    machine_id,
    machine_settings_path,
    save_machine_settings,
)
from data_engine.workspace.provision import provision_workspace
from data_engine.workspace.select import discover_workspaces, select_workspace, use_workspace

Args: TypeAlias = Mapping[str, Any]


def workspaces(root: str | None, args: Args) -> Any:
    """The workspaces that could be meant: of the collection, beside the one shown, and under the places given; each once, where it really is."""
    found: dict[str, str] = {}
    machine = load_machine_settings()
    collection = os.environ.get("DATA_ENGINE_WORKSPACE_COLLECTION_ROOT") or machine.collection_root
    places = [collection, Path(root).parent if root else None, *args["near"]]
    selected = None
    with suppress(FlowValidationError):
        selected = str(select_workspace().root)
        places.append(Path(selected).parent)
    if root is not None and not is_workspace(root):
        root = None
    for given in filter(None, [root, selected]):
        found[real_path(given)] = Path(real_path(given)).name
    for place in filter(None, places):
        for layout in discover_workspaces(place):
            found.setdefault(real_path(layout.root), Path(real_path(layout.root)).name)
    first = next(iter(found)) if root or selected or len(found) == 1 else None
    listed = [{"root": path, "id": name} for path, name in sorted(found.items(), key=lambda item: item[1].casefold())]
    return {"workspaces": listed, "selected": first, "machine_id": machine_id()}


def save_settings(root: str | None, args: Args) -> str:
    """Keep where this machine's workspaces lie; an empty text forgets it."""
    text = args["collection_root"].strip()
    save_machine_settings(collection_root=Path(with_home(text)) if text else None)
    return f"Workspace folder: {text}" if text else "No workspace folder is set."


def use(root: str | None, args: Args) -> str:
    """Mean this workspace from now on."""
    layout = use_workspace(Path(args["path"]))
    return f"{layout.workspace_id} is the default workspace from now on."


def provision(root: str | None, args: Args) -> Any:
    """Create a workspace, or what one lacks."""
    text = with_home(args["path"])
    if not os.path.isabs(text):
        collection = load_machine_settings().collection_root
        if collection is None:
            raise WorkspaceError(f"{text!r} is not an absolute path", where="the panel", fix="give the full path")
        text = str(collection / text)
    made = provision_workspace(text)
    names = ", ".join(str(path.relative_to(made.root)) for path in made.created if made.root in path.parents)
    said = f"Workspace {made.root.name}: {f'created {names}' if names else 'nothing was missing'}."
    return {"root": str(made.root), "said": said}


def machine() -> dict[str, Any]:
    """The settings of this machine."""
    settings = load_machine_settings()
    return {
        "file": str(machine_settings_path()),
        "collection_root": None if settings.collection_root is None else str(settings.collection_root),
        "default_workspace": settings.default_workspace,
        "machine_id": machine_id(),
    }
