"""A daemon that its service starts: it waits until the workspace is there and no other daemon of this machine has it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from data_engine import private
from data_engine.daemon.endpoint import was_stopped
from data_engine.daemon.service import read_record
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.errors import WorkspaceError
from data_engine.locks import OsLock
from data_engine.workspace.identity import layout_of
from data_engine.workspace.layout import is_workspace

_LOOK_S = 0.5
_LOOK_AT_A_DRIVE_S = 2.0


def wait_for_turn(record_path: Path) -> tuple[LocalWorkspace, OsLock] | None:
    """The workspace that the service of this record is for, and the lock of its daemon, which is ours now.

    It succeeds a daemon that somebody else has started, and waits for a drive that is not connected yet. None when there is
    nothing to do: the service was uninstalled, or a person has stopped the daemon in this logon session.

    Raises:
        WorkspaceError: another workspace is in its place, or its state on this machine cannot be used.
        OSError: this machine's folder cannot be made.
    """
    record = read_record(record_path)
    if record is None:
        return None
    os.environ.update(record.environment)
    root = Path(record.workspace_root)
    local = layout_of(root, record.identity)
    private.make_folder(local.runtime_dir)
    lock = OsLock(local.daemon_lock_path)
    while not was_stopped(local) and read_record(record_path) == record:
        if not lock.try_acquire():
            time.sleep(_LOOK_S)
            continue
        lock.release()  # a drive that hangs is waited for without it
        if not is_workspace(root):
            time.sleep(_LOOK_AT_A_DRIVE_S)
        elif lock.try_acquire():
            if was_stopped(local):  # by whoever had it until now
                break
            return _checked(root, record.identity, lock), lock
    lock.release()
    return None


def _checked(root: Path, identity: str, lock: OsLock) -> LocalWorkspace:
    where = local_workspace(root)
    if where.local.identity == identity:
        return where
    lock.release()
    raise WorkspaceError(
        f"the service is for another workspace than the one at {root} now",
        where=str(root),
        fix="run `data-engine service install` for the workspace that is meant",
    )
