"""What a task on a node of a cluster asks first: versions, the workspace, and what the flow works with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.errors import ClusterError
from data_engine.version import __version__
from data_engine.workspace.layout import WorkspaceLayout


class WorkspaceOf(NamedTuple):
    """The workspace as its owner has it: the folder, and its identity."""

    root: str
    identity: str


def workspace_here(workspace: WorkspaceOf, address: str) -> Path:
    """Where this node has the workspace: where DATA_ENGINE_WORKSPACE_ROOT says, or under the owner's path.

    Raises:
        ClusterError: nowhere.
    """
    said = os.environ.get("DATA_ENGINE_WORKSPACE_ROOT", "").strip()
    tried = [Path(one) for one in (said, workspace.root) if one]
    for root in tried:
        if (root / "flow_modules").is_dir() and _identity_at(root) in (None, workspace.identity):
            return root
    raise ClusterError(
        f"the cluster's worker {address} does not see the workspace at {' or '.join(map(str, tried))}",
        where=address,
        fix="mount it there under the same path, or set DATA_ENGINE_WORKSPACE_ROOT in the worker's environment to its path",
    )


def _identity_at(root: Path) -> str | None:
    try:
        return str(json.loads(WorkspaceLayout(root).identity_path.read_bytes())["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def require_places(places: Iterable[tuple[str, Path]], address: str) -> None:
    """Return when this node sees each ("source" or "mirror", folder); a mirror may be made.

    Raises:
        ClusterError: it does not; names the worker and the path.
    """
    for what, place in places:
        if not (place.exists() or (what == "mirror" and place.parent.exists())):
            raise ClusterError(
                f"the cluster's worker {address} does not see the {what} {place}",
                where=address,
                fix="mount it there under the same path, or keep it inside the workspace",
            )


def require_version(version: str, address: str) -> None:
    """Return when the owner has the same Data Engine as this node.

    Raises:
        ClusterError: it has another.
    """
    if version != __version__:
        raise ClusterError(
            f"the cluster's worker {address} has Data Engine {__version__}, and this machine {version}",
            where=address,
            fix="install the same version on both",
        )


def host_of(address: str) -> str:
    """The host in a worker's address.

    Example:
        >>> host_of("tls://10.0.0.7:4711")
        '10.0.0.7'
    """
    return address.rpartition("://")[2].rpartition(":")[0]


def is_cancelled(worker: Any, key: str) -> bool:
    """Whether nobody wants the result of a task any more: it was cancelled, or its client is gone."""
    task = worker.state.tasks.get(key)
    return task is None or task.state in ("cancelled", "resumed")
