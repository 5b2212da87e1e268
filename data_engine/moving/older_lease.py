"""Who owns a workspace in the older system, and the seal that lets nobody own it there any more.

The older system's one arbiter is a folder: who renames `available/<id>` to `leased/<id>` owns. So the seal is taken in just that
way: while an owner lives it cannot be, and once it is there no older daemon can own. Beside it lies a heartbeat that never grows
old, by which the older system says "Data Engine has control". Taking the seal off gives the marker back.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_engine.errors import OwnedElsewhereError, WorkspaceError
from data_engine.lease.folder import OsFolder, drive_words
from data_engine.lease.older_owner import SEAL, heartbeat_of, older_ids, older_markers, unguarded
from data_engine.lease.removal import make, put, unlink
from data_engine.model import utc_text
from data_engine.version import __version__

STALE_AFTER_S = 90.0
"""The older system's own threshold; its owners write their heartbeat every 30 s."""

_NEVER_STALE = "2999-12-31T00:00:00+00:00"
"""The older system subtracts the time of a heartbeat from its own."""

_MOVED = "moved"
"""The daemon that our heartbeat names."""

_DAEMON = "data_engine.hosts.daemon"


@dataclass(frozen=True, slots=True)
class OlderLease:
    """What the older system's lease of one id looks like now.

    `state` is "available", "unmarked" (it has no marker), "sealed", "unguarded" (sealed, but the heartbeat beside the seal is gone),
    "live" or "left_behind" (its owner is gone); `owner`, `pid` and `age_s` are of its heartbeat.
    """

    older_id: str
    state: str
    owner: str | None = None
    pid: int | None = None
    age_s: float | None = None

    @property
    def words(self) -> str:
        """In words.

        Example:
            >>> OlderLease("claims", "live", "host-a", 4711, 12.0).words
            'one of its daemons owns the workspace: host-a (pid 4711), heard of 12 s ago'
        """
        if self.state in ("available", "unmarked"):
            return "nobody owns the workspace there"
        if self.state == "sealed":
            return "the workspace was moved"
        if self.state == "unguarded":
            return "the workspace was moved, but the heartbeat that keeps its daemons away is gone"
        who = self.owner or "nobody says which"
        heard = "never heard of" if self.age_s is None else f"heard of {_age_words(self.age_s)} ago"
        if self.state == "live":
            return f"one of its daemons owns the workspace: {who}{f' (pid {self.pid})' if self.pid else ''}, {heard}"
        return f"its last owner is gone and left its marker behind: {who}, {heard}"


def judge(
    *,
    heartbeat_s: float | None,
    written_s: float | None,
    now_s: float,
    server_now_s: float,
    is_alive_here: bool,
) -> str:
    """Whether an older owner is "live" or was "left_behind", by its heartbeat's own time and by when its file was written.

    Clocks of workstations differ: an owner is live when either says so. A heartbeat from the future says nothing. A process of
    this machine that is alive owns, however old its heartbeat is; one that is gone proves nothing, as another machine may have
    the same name.

    Example:
        >>> times = {"now_s": 1000.0, "server_now_s": 1000.0, "is_alive_here": False}
        >>> [judge(heartbeat_s=at, written_s=at, **times) for at in (950.0, 900.0, None)]
        ['live', 'left_behind', 'left_behind']
        >>> judge(heartbeat_s=9999.0, written_s=100.0, **times), judge(heartbeat_s=100.0, written_s=990.0, **times)
        ('left_behind', 'live')
    """
    if is_alive_here:
        return "live"
    ages = [] if written_s is None else [server_now_s - written_s]
    if heartbeat_s is not None and now_s - heartbeat_s > -STALE_AFTER_S:
        ages.append(now_s - heartbeat_s)
    return "live" if any(age < STALE_AFTER_S for age in ages) else "left_behind"


def look(state: Path, workspace_id: str) -> list[OlderLease]:
    """The older system's leases of a workspace, by id; `state` is the workspace's `.workspace_state`."""
    folder = OsFolder(state)
    lacking = unguarded(folder, workspace_id)
    found = []
    for marker in older_markers(folder, workspace_id):
        if marker.state == "leased":
            found.append(_look_at(state, marker.older_id))
        else:
            is_lacking = marker.older_id in lacking
            found.append(OlderLease(marker.older_id, "unguarded" if is_lacking else marker.state))
    known = {lease.older_id for lease in found}
    found += [OlderLease(one, "unmarked") for one in older_ids(folder, workspace_id) if one not in known]
    return found


def sealed_ids(state: Path, workspace_id: str) -> list[str]:
    """The ids that are sealed, also by half: putting a seal on, or taking it off, was cut short."""
    halves = ("sealed", "unguarded")
    return [
        lease.older_id
        for lease in look(state, workspace_id)
        if lease.state in halves or _is_ours(state / heartbeat_of(lease.older_id))
    ]


def refuse_live(leases: Iterable[OlderLease]) -> None:
    """Return when no daemon of the older system owns the workspace.

    Raises:
        OwnedElsewhereError: one does; says which, and how to end it.
    """
    for lease in leases:
        if lease.state == "live":
            raise OwnedElsewhereError(
                f"the older system has the workspace: {lease.words}",
                where=f".workspace_state/leased/{lease.older_id}",
                fix=f"stop its engine there and close its windows (its Settings have 'Force Stop Daemon'); it is free"
                f" {STALE_AFTER_S:g} s after its last sign of life at the latest. Then import again",
            )


def seal(state: Path, lease: OlderLease, by: str) -> bool:
    """Let nobody own the workspace in the older system any more; whether it was done now, False where it is sealed already.

    The heartbeat is there before the marker is: the older system takes a marker without one for left behind.

    Raises:
        OwnedElsewhereError: one of its daemons owns it, or was quicker.
        WorkspaceError: the share cannot be written.
    """
    if lease.state == "sealed":
        return False
    folder, one = OsFolder(state), lease.older_id
    leased, heartbeat = f"leased/{one}", heartbeat_of(one)
    is_theirs = (state / heartbeat).exists() and not _is_ours(state / heartbeat)
    if lease.state == "left_behind" or is_theirs:
        refuse_live([_look_at(state, one)])  # again: another may have taken it over meanwhile
    text = json.dumps({"moved_at_utc": utc_text(time.time()), "by": by, "version": __version__}, indent=2) + "\n"
    try:
        make(OsFolder(state.parent), state.name)
        for name in ("available", "leased", "leases", "stale"):
            make(folder, name)
        if lease.state == "left_behind" or is_theirs:
            _set_aside(folder, lease)
        put(folder, heartbeat, _heartbeat(one), secrets.token_hex(6))
        if lease.state == "unguarded" and (state / leased / SEAL).exists():
            return True
        try:
            if lease.state == "available":
                folder.rename_dir(f"available/{one}", leased)
            else:
                folder.mkdir(leased)
        except (FileNotFoundError, FileExistsError):
            if (state / leased / SEAL).exists():  # by another import, which was quicker
                return False
            _take_back(state, one)
            raise
        folder.write(f"{leased}/{SEAL}", text.encode())
    except (FileNotFoundError, FileExistsError) as error:
        raise OwnedElsewhereError(
            "a daemon of the older system has just taken the workspace",
            where=f".workspace_state/{leased}",
            fix="end it, then import again",
        ) from error
    except OSError as error:
        raise WorkspaceError(
            f"the older system's marker cannot be taken: {drive_words(error)}",
            where=str(state / "leased" / one),
            fix="make the workspace writable for this user, then import again",
        ) from error
    return True


def take_seal_off(state: Path, older_id: str) -> None:
    """Give the older system's marker back, so that it can own the workspace again.

    The seal goes first and the heartbeat last: cut short in between, neither system can own, and doing it again ends it.

    Raises:
        WorkspaceError: the share cannot be written.
    """
    folder = OsFolder(state)
    try:
        unlink(folder, f"leased/{older_id}/{SEAL}")
        with suppress(FileNotFoundError):  # it was given back already
            folder.rename_dir(f"leased/{older_id}", f"available/{older_id}")
    except OSError as error:
        raise WorkspaceError(
            f"the older system's marker cannot be given back: {drive_words(error)}",
            where=str(state / "leased" / older_id),
            fix="make the workspace writable for this user, then try again",
        ) from error
    _take_back(state, older_id)


def _take_back(state: Path, older_id: str) -> None:
    """Remove our heartbeat, unless an owner of the older system has written its own there."""
    with suppress(OSError):
        if _is_ours(state / heartbeat_of(older_id)):
            OsFolder(state).unlink(heartbeat_of(older_id))


def _look_at(state: Path, older_id: str) -> OlderLease:
    path = state / heartbeat_of(older_id)
    is_ours = _is_ours(path)  # a move was cut short
    row = {} if is_ours else _row(path)
    owner = row.get("machine_id") or row.get("host_name") or None
    pid = row.get("pid") if isinstance(row.get("pid"), int) else None
    heartbeat_s = _seconds(row.get("last_checkpoint_at_utc"))
    # A claim makes its marker first and writes its heartbeat then; one that cannot be read just now may be young.
    written = [] if is_ours else [_written_s(path)]
    if not row:
        written += [_written_s(state / "leased" / older_id), _written_s(state / "leased")]
    written_s = max((at for at in written if at is not None), default=None)
    is_alive = owner == socket.gethostname() and bool(pid) and _is_daemon(pid or 0)
    now_s = time.time()
    server_now_s = _server_now_s(state, now_s)
    verdict = judge(
        heartbeat_s=heartbeat_s,
        written_s=written_s,
        now_s=now_s,
        server_now_s=server_now_s,
        is_alive_here=is_alive,
    )
    ages = [now_s - heartbeat_s] if heartbeat_s is not None and heartbeat_s <= now_s else []
    ages += [server_now_s - written_s] if written_s is not None else []
    return OlderLease(older_id, verdict, owner, pid, max(0.0, min(ages)) if ages else None)


def _row(path: Path) -> dict[str, Any]:
    """The heartbeat; nothing of one that cannot be read, which the older system takes for none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.ParquetFile(io.BytesIO(path.read_bytes())).read().to_pylist()
    except (pa.ArrowException, OSError):
        return {}
    return rows[0] if rows else {}


def _is_ours(heartbeat: Path) -> bool:
    """Whether it is the one that lies beside a seal."""
    return _row(heartbeat).get("daemon_id") == _MOVED


def _heartbeat(older_id: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # No name of a workstation: where the older system finds its own, it takes the lease back.
    texts = {
        "snapshot_generation_id": _MOVED,
        "workspace_id": older_id,
        "machine_id": "Data Engine (this workspace was moved)",
        "host_name": "Data Engine (this workspace was moved)",
        "daemon_id": _MOVED,
        "status": "idle",
        "last_checkpoint_at_utc": _NEVER_STALE,
        "started_at_utc": datetime.now(UTC).isoformat(),
        "app_version": __version__,
    }
    columns = {name: pa.array([text], pa.string()) for name, text in texts.items()}
    target = io.BytesIO()
    pq.write_table(pa.table(columns | {"pid": pa.array([0], pa.int64())}), target)
    return target.getvalue()


def _set_aside(folder: OsFolder, lease: OlderLease) -> None:
    """As the older system does with an owner that is gone: its marker and heartbeat go to `stale/`, and nothing is lost."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    machine = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in lease.owner or "unknown")
    bundle = f"stale/{lease.older_id}__{stamp}__{machine}"
    if lease.state == "left_behind":
        folder.rename_dir(f"leased/{lease.older_id}", bundle)
    else:
        make(folder, bundle)
    make(folder, f"{bundle}/metadata")
    with suppress(FileNotFoundError):
        folder.replace(heartbeat_of(lease.older_id), f"{bundle}/metadata/lease.parquet")


def _is_daemon(pid: int) -> bool:
    """Whether it is a daemon of the older system; a pid is used again."""
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and any(_DAEMON in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _seconds(value: object) -> float | None:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _written_s(path: Path) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def _server_now_s(state: Path, now_s: float) -> float:
    """The time by the clock of the drive that has the workspace; this machine's where nothing can be written there."""
    from data_engine.daemon.probes import server_ahead_s

    try:
        return now_s + (server_ahead_s(state) or 0.0)
    except OSError:
        return now_s


def _age_words(age_s: float) -> str:
    for size_s, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if age_s >= 2 * size_s:
            return f"{age_s / size_s:.0f} {unit}"
    return f"{age_s:.0f} s"
