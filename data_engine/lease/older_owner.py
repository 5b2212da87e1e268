"""Whether the older system may own a workspace: its markers on the share, and the seal that ends its owning.

    available/<id>/                           its marker: nobody owns
    leased/<id>/                              its marker: one of its daemons owns, or left it behind
    leased/<id>/moved-to-data-engine.json     the seal of this system: the workspace was moved
    leases/<id>.parquet                       the heartbeat of its owner; beside a seal one that never grows old

Its ids are names of folders, those of this system are random. Nothing of its files is opened here.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Literal, NamedTuple

from data_engine.lease.folder import FileSystem
from data_engine.lease.protocol import SEGMENT_NAME

SEAL = "moved-to-data-engine.json"
"""The file in the older system's marker that says the workspace was moved."""

TABLES = ("runs", "step_runs", "logs", "file_state")
"""What the older system publishes, each as `state/<table>/<id>.parquet`."""

_OWN_ID = re.compile(r"(?:path-)?[0-9a-f]{20}")
_WITHOUT_A_NAME = "default"
"""Its id of a workspace that is its collection at the same time."""


class OlderMarker(NamedTuple):
    """What the older system's markers say of the workspace that it calls `older_id`."""

    older_id: str
    state: Literal["available", "leased", "sealed"]


def older_markers(folder: FileSystem, workspace_id: str) -> list[OlderMarker]:
    """The markers of the older system in a workspace's state folder, by id; `workspace_id` is the name of its folder.

    A folder among the markers that nothing tells to be the older system's is none.
    """
    found: dict[str, OlderMarker] = {}
    for name in _markers(folder, "available"):
        if _is_older(folder, name, workspace_id):
            found[name] = OlderMarker(name, "available")
    for name in _markers(folder, "leased"):
        if SEAL in _names(folder, f"leased/{name}"):
            found[name] = OlderMarker(name, "sealed")
        elif _is_older(folder, name, workspace_id):
            found[name] = OlderMarker(name, "leased")
    return [found[name] for name in sorted(found)]


def older_ids(folder: FileSystem, workspace_id: str) -> list[str]:
    """The ids under which the older system has left anything in the state folder."""
    ids = {marker.older_id for marker in older_markers(folder, workspace_id)}
    for place in ("leases", *(f"state/{table}" for table in TABLES)):
        ids |= {name.removesuffix(".parquet") for name in _names(folder, place) if _is_published(name)}
    return sorted(ids)


def why_not_ours(folder: FileSystem, workspace_id: str) -> str | None:
    """Why this system must not own the workspace: one of the older one's daemons owns it by its marker, alive or not, or may; what helps.
    None once it was moved, and where it never was."""
    markers = {marker.state: marker.older_id for marker in older_markers(folder, workspace_id)}
    if "leased" in markers:
        return (
            f"the older system's marker leased/{markers['leased']} says that one of its daemons owns the workspace;"
            " end that, then move the workspace: `data-engine import PATH`"
        )
    if "available" in markers:
        return (
            "it is a workspace of the older system, which could own it at the same time;"
            " move it first: `data-engine import PATH`"
        )
    return None


def _markers(folder: FileSystem, place: str) -> list[str]:
    """The names of folders there that this system does not make."""
    found = []
    for name in _names(folder, place):
        with suppress(OSError):
            if not _OWN_ID.fullmatch(name) and name[0] != "." and folder.kind(f"{place}/{name}") == "folder":
                found.append(name)
    return found


def _is_older(folder: FileSystem, name: str, workspace_id: str) -> bool:
    published = ("leases", *(f"state/{table}" for table in TABLES))
    is_named = name.casefold() in (workspace_id.casefold(), _WITHOUT_A_NAME)
    return is_named or any(f"{name}.parquet" in _names(folder, place) for place in published)


def _is_published(name: str) -> bool:
    """Whether it is no segment of this system, which have a number and a random part."""
    return name.endswith(".parquet") and SEGMENT_NAME.fullmatch(name) is None and name[0] != "."


def _names(folder: FileSystem, path: str) -> list[str]:
    """The names in a folder; none where it cannot be looked into, which whoever claims is told of."""
    try:
        return folder.listdir(path)
    except OSError:
        return []
