"""What `data-engine doctor` looks at of the older system: its distribution beside this one, and its marker in the workspace."""

from __future__ import annotations

from data_engine.daemon.finding import Finding
from data_engine.lease.folder import OsFolder
from data_engine.lease.older_owner import heartbeat_of, older_markers, unguarded, why_not_ours
from data_engine.workspace.layout import WorkspaceLayout
from data_engine.workspace.two_packages import OLDER, ORDER


def check_packages(version: str | None) -> Finding:
    """Whether the older system's distribution is in this environment; `version` is what was found of it.

    Example:
        >>> check_packages(None).ok, check_packages("0.3.9").measured
        (True, 'py-data-engine 0.3.9 is installed in this environment too, and both have a package called data_engine')
    """
    if version is None:
        return Finding("packages", True, "one distribution has the package data_engine")
    measured = f"{OLDER} {version} is installed in this environment too, and both have a package called data_engine"
    return Finding("packages", False, measured, ORDER)


def check_older_owner(layout: WorkspaceLayout) -> Finding | None:
    """Whether the older system may own the workspace; None where it never has."""
    folder = OsFolder(layout.workspace_state_dir)
    markers = older_markers(folder, layout.workspace_id)
    if not markers:
        return None
    why = why_not_ours(folder, layout.workspace_id)
    if why is not None:
        what, _, fix = why.partition("; ")
        return Finding("older system", False, what, fix)
    if lacking := unguarded(folder, layout.workspace_id):
        measured = f"the workspace was moved, but {heartbeat_of(lacking[0])} is gone: a daemon of the older system could own it"
        return Finding("older system", False, measured, "restore it: `data-engine import PATH`")
    return Finding("older system", True, "the workspace was moved: no daemon of the older system can own it")
