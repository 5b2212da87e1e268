"""The owner of a workspace in the older system, and the seal after which nobody can own it there any more.

    available/<id>/                           its marker: nobody owns
    leased/<id>/                              its marker: one of its daemons owns, or left it behind
    leased/<id>/moved-to-data-engine.json     the seal of this system: the workspace was moved
    leases/<id>.parquet                       the heartbeat of its owner; beside a seal one that never grows old

Its ids are names of folders, those of this system are random. Its one arbiter is a folder: who renames `available/<id>` to
`leased/<id>` owns. The seal takes it in just that way, so that it cannot be taken while an owner lives, and no older daemon can own
once it is there. The heartbeat beside it never grows old: the older system takes a marker without one for left behind.
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_engine.errors import OwnedElsewhereError, WorkspaceError
from data_engine.lease.folder import FileSystem, OsFolder, drive_text, make, put, server_ahead_s
from data_engine.lease.protocol import SEGMENT_NAME
from data_engine.model import utc_text
from data_engine.record import frozen
from data_engine.version import __version__

SEAL = "moved-to-data-engine.json"
"""The file in the older system's marker that says the workspace was moved."""

TABLES = ("runs", "step_runs", "logs", "file_state")
"""The tables that the older system publishes, each as `state/<table>/<id>.parquet`."""

_STALE_AFTER_S = 90.0
"""The older system's own threshold; its owners write their heartbeat every 30 s."""

_NEVER_STALE = "2999-12-31T00:00:00+00:00"
_MOVED = "Data Engine (this workspace was moved)"
_OWN_ID = re.compile(r"(?:path-)?[0-9a-f]{20}")
_WITHOUT_A_NAME = "default"
"""Its id of a workspace that is its collection at the same time."""


def older_markers(folder: FileSystem, workspace_id: str) -> list[tuple[str, str]]:
    """The markers of the older system in a workspace's state folder: each id with "available", "leased" or "sealed"; `workspace_id` is
    the name of its folder. A folder among the markers that nothing tells to be the older system's is none.
    """
    known = {workspace_id.casefold(), _WITHOUT_A_NAME}
    markers: dict[str, str] = {}
    for state in ("available", "leased"):
        for name in _names(folder, state):
            if _OWN_ID.fullmatch(name) or name[0] == ".":
                continue
            is_sealed = state == "leased" and SEAL in _names(folder, f"leased/{name}")
            with suppress(OSError):
                is_older = is_sealed or name.casefold() in known or name in _published_ids(folder)
                if is_older and folder.kind(f"{state}/{name}") == "folder":
                    markers[name] = "sealed" if is_sealed else state
    return sorted(markers.items())


def older_ids(folder: FileSystem, workspace_id: str) -> list[str]:
    """The ids under which the older system has left anything in the state folder."""
    return sorted({older_id for older_id, _ in older_markers(folder, workspace_id)} | _published_ids(folder))


def why_not_ours(folder: FileSystem, workspace_id: str) -> str | None:
    """Why this system must not own the workspace, and what helps: by its marker a daemon of the older system owns it, alive or not, or may.
    None once it was moved, and where it never was."""
    markers = {state: older_id for older_id, state in older_markers(folder, workspace_id)}
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


@frozen
class OlderLease:
    """The older system's lease of one id: "available", "unmarked", "sealed", "live" or "left_behind"; `owner` is of its heartbeat."""

    older_id: str
    state: str
    owner: str = ""


def look_at_leases(state: Path, workspace_id: str) -> list[OlderLease]:
    """The older system's leases of a workspace, by id; `state` is the workspace's `.workspace_state`."""
    folder, now_s = OsFolder(state), _server_now_s(state)
    leases = []
    for older_id, marker in older_markers(folder, workspace_id):
        if marker != "leased":
            leases.append(OlderLease(older_id, marker))
            continue
        path = state / f"leases/{older_id}.parquet"
        row = _row(path)
        # A claim makes its marker first and writes its heartbeat then.
        places = [path] if row else [path, state / "leased" / older_id, state / "leased"]
        ages = []
        for place in places:
            with suppress(OSError):
                ages.append(now_s - os.stat(place).st_mtime)
        with suppress(ValueError):  # clocks differ: an owner lives when either says so, and the future says nothing
            at = datetime.fromisoformat(str(row.get("last_checkpoint_at_utc")))
            ages.append(abs(time.time() - (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()))
        is_live = row.get("machine_id") != _MOVED and any(age < _STALE_AFTER_S for age in ages)
        owner = str(row.get("machine_id") or row.get("host_name") or "nobody says which")
        leases.append(OlderLease(older_id, "live" if is_live else "left_behind", owner))
    others = sorted(_published_ids(folder) - {lease.older_id for lease in leases})
    return leases + [OlderLease(older_id, "unmarked") for older_id in others]


def refuse_live(leases: list[OlderLease]) -> None:
    """Return when no daemon of the older system owns the workspace.

    Raises:
        OwnedElsewhereError: one does; says on which machine, and how to end it.
    """
    for lease in leases:
        if lease.state == "live":
            raise OwnedElsewhereError(
                f"a daemon of the older system owns the workspace: {lease.owner}",
                where=f".workspace_state/leased/{lease.older_id}",
                fix=f"stop its engine there and close its windows (its Settings have 'Force Stop Daemon'); it is free"
                f" {_STALE_AFTER_S:g} s after its last sign of life at the latest. Then `data-engine import PATH`",
            )


def seal(state: Path, lease: OlderLease, by: str) -> None:
    """Let nobody own the workspace in the older system any more.

    Raises:
        OwnedElsewhereError: one of its daemons was quicker.
        WorkspaceError: the share cannot be written.
    """
    folder, older_id = OsFolder(state), lease.older_id
    refuse_live([older for older in look_at_leases(state, older_id) if older.older_id == older_id])
    text = json.dumps({"moved_at_utc": utc_text(time.time()), "by": by, "version": __version__}, indent=2) + "\n"
    try:
        make(OsFolder(state.parent), state.name)
        for name in ("available", "leased", "leases", "stale"):
            make(folder, name)
        if lease.state == "left_behind":  # as the older system does with it
            folder.rename_dir(f"leased/{older_id}", f"stale/{older_id}__{secrets.token_hex(6)}")
        put(folder, f"leases/{older_id}.parquet", _heartbeat(older_id), secrets.token_hex(6))
        if lease.state == "available":
            folder.rename_dir(f"available/{older_id}", f"leased/{older_id}")
        else:
            folder.mkdir(f"leased/{older_id}")
        folder.write(f"leased/{older_id}/{SEAL}", text.encode())
    except (FileNotFoundError, FileExistsError) as error:
        raise OwnedElsewhereError(
            "a daemon of the older system has just taken the workspace",
            where=f".workspace_state/leased/{older_id}",
            fix="end it, then import again",
        ) from error
    except OSError as error:
        raise WorkspaceError(
            f"the older system's marker cannot be taken: {drive_text(error)}",
            where=str(state / "leased" / older_id),
            fix="make the workspace writable for this user, then import again",
        ) from error


def _published_ids(folder: FileSystem) -> set[str]:
    """The ids under which the older system has published files: a segment of this one has a number and a random part."""
    names = (name for place in ("leases", *(f"state/{table}" for table in TABLES)) for name in _names(folder, place))
    own = (name for name in names if name.endswith(".parquet") and not SEGMENT_NAME.fullmatch(name) and name[0] != ".")
    return {name.removesuffix(".parquet") for name in own}


def _names(folder: FileSystem, path: str) -> list[str]:
    """The names in a folder; none where it cannot be looked into: a claim reports that."""
    try:
        return folder.listdir(path)
    except OSError:
        return []


def _row(path: Path) -> dict[str, Any]:
    """The heartbeat; empty where it cannot be read: the older system takes that for none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.ParquetFile(io.BytesIO(path.read_bytes())).read().to_pylist()
    except (pa.ArrowException, OSError):
        return {}
    return rows[0] if rows else {}


def _heartbeat(older_id: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # No name of a workstation: where the older system finds its own, it takes the lease back.
    texts = {
        "workspace_id": older_id,
        "snapshot_generation_id": "moved",
        "daemon_id": "moved",
        "status": "idle",
        "machine_id": _MOVED,
        "host_name": _MOVED,
        "app_version": __version__,
        "last_checkpoint_at_utc": _NEVER_STALE,
        "started_at_utc": datetime.now(UTC).isoformat(),
    }
    target = io.BytesIO()
    columns = {name: pa.array([text], pa.string()) for name, text in texts.items()}
    pq.write_table(pa.table(columns | {"pid": pa.array([0], pa.int64())}), target)
    return target.getvalue()


def _server_now_s(state: Path) -> float:
    """The time by the clock of the drive that has the workspace; this machine's where nothing can be written there."""
    try:
        return time.time() + (server_ahead_s(state) or 0.0)
    except OSError:
        return time.time()
