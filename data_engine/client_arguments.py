"""Check the arguments of the Python face before anything is done with them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.files import resolve
from data_engine.workspace.layout import is_workspace


def folder_argument(path: object, where: str) -> Path:
    """The folder of a workspace, resolved.

    Raises:
        WorkspaceError: it cannot be one.
    """
    wrong: Exception | None = None
    if isinstance(path, (str, os.PathLike)) and str(path).strip() and "\0" not in str(path):
        try:
            return resolve(Path(path).expanduser())
        # too long, a loop of links, no such user, no file's name
        except (OSError, RuntimeError, UnicodeError) as error:
            wrong = error
    why = "" if wrong is None else f": {getattr(wrong, 'strerror', None) or wrong}"
    raise WorkspaceError(
        f"a workspace cannot be {path!r}{why}", where=where, fix="give the path of a workspace folder"
    ) from wrong


def workspace_argument(path: object) -> Path:
    """The folder of an existing workspace.

    Raises:
        WorkspaceError: it is no workspace.
    """
    root = folder_argument(path, "Workspace(path)")
    if is_workspace(root):
        return root
    from data_engine.formatting import cli_line

    is_there = os.path.isdir(root)  # not pathlib's, which raises for names that are too long
    what = "has no flow_modules folder" if is_there else "is a file" if os.path.isfile(root) else "does not exist"
    raise WorkspaceError(
        f"{root} is not a workspace: it {what}",
        where="Workspace(path)",
        fix=f"choose another folder, or make one: {cli_line('workspace', 'create', str(root))}",
    )


def params_argument(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Params that can be sent to a daemon, whose workers are other processes.

    Raises:
        FlowValidationError: no mapping, or no JSON.
    """
    from data_engine.engine.params import check_params

    checked = dict(check_params(params))
    if (why := why_no_json(checked)) is not None:
        raise FlowValidationError(
            f"params cannot be sent to the daemon: {why}",
            where="params=",
            fix="give texts, numbers, true, false, null, lists and mappings of them; a date as text, or declare it with"
            " Flow.params",
        )
    return checked


def why_no_json(params: Mapping[str, Any]) -> str | None:
    """Why the params are no JSON; None where they are."""
    try:
        json.dumps(params)
    except (TypeError, ValueError, RecursionError) as error:
        return str(error)
    return None
