"""One look at who owns a workspace, for whoever runs something without a daemon. Nothing is written."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_engine.errors import OwnedElsewhereError
from data_engine.lease.folder import GENERATIONS, OsFolder
from data_engine.lease.status import LeaseStatus, status_of
from data_engine.workspace.machine import machine_id

if TYPE_CHECKING:
    from data_engine.lease.view import View


def peek(
    workspace_state_dir: Path,
    identity: str,
    *,
    state_root: Path | None = None,
    known: tuple[int, str, frozenset[str]] = (-1, "", frozenset()),
    taken: Collection[str] | None = None,
) -> LeaseStatus:
    """The ownership as one look shows it: how long the owner has been silent takes longer to see, and is None.

    `identity` is the workspace's, `state_root` this machine's for who knows it already. A daemon of this machine that owns it
    shows as `mine`. `known` is what this machine has kept of the list of generations: one that shows less is told; `taken` are the segments whose rows its ledger has, where that is to be told.

    Raises:
        WorkspaceError: this machine's name cannot be kept.
    """
    folder = OsFolder(workspace_state_dir)
    if known[0] <= 0 and _has_no_list(folder):
        # Without asking who this machine is, and without what claims and writes: runs of a workspace nobody shares wait for it.
        return LeaseStatus("available")
    from data_engine.lease.observer import Observer
    from data_engine.lease.protocol import Identity, Limits

    observer = Observer(
        *(folder, Identity("", daemon_id="")),
        workspace=identity,
        limits=Limits(),
        holds_lock=lambda: False,
        known_list=known,
    )
    view = observer.poll()
    if view.state == "available" and view.top is None:
        return LeaseStatus("available")
    me = Identity(machine_id(state_root), daemon_id="")
    if view.state == "reserved" and view.top is not None and view.top.handoff_to == me.machine_id:
        view = replace(view, state="available")
    is_behind = taken is not None and _lists_more(view, taken)
    status = replace(
        status_of(view, me), heartbeat_age_s=None, takeover_in_s=None, owned_for_s=0.0, is_behind=is_behind
    )
    if status.owner is not None and status.owner["machine_id"] == me.machine_id:
        return replace(status, state="mine" if status.state == "owned" else status.state, is_mine=True, is_behind=False)
    return status


def _has_no_list(folder: OsFolder) -> bool:
    """Whether nobody has ever owned the workspace; not where its folder cannot be looked at."""
    try:
        folder.listdir(GENERATIONS)
    except FileNotFoundError:
        with suppress(OSError):
            folder.listdir("")  # an unmounted share is no new workspace
            return True
    except OSError:
        return False
    return False


def _lists_more(view: View, taken: Collection[str]) -> bool:
    """Whether segments are published whose rows are not here; of a damaged list its damage is told."""
    if view.top is None or view.damage is not None:
        return False
    return any(one.name not in taken for segments in view.top.files.values() for one in segments)


def refuse_owned_elsewhere(
    workspace_state_dir: Path, identity: str, *, what: str, or_else: str = "", state_root: Path | None = None
) -> None:
    """Return when no other workstation owns the workspace, as far as one look can tell; it holds for a second while nothing changes there.

    `what` is what must not be done then, such as "run_once()"; `or_else` is one more fix, such as "give force=True"; the
    rest is as for `peek`.

    Raises:
        OwnedElsewhereError: another workstation owns it.
    """
    marks, now_s = _marks(workspace_state_dir), time.monotonic()
    known_marks, looked_s = _nobody_else.get(workspace_state_dir, (None, 0.0))
    if marks is not None and marks == known_marks and now_s - looked_s < _LOOK_S:
        return
    status = peek(workspace_state_dir, identity, state_root=state_root)
    if not status.is_elsewhere:
        _nobody_else[workspace_state_dir] = marks, now_s
        return
    raise OwnedElsewhereError(
        f"{what} is not done here: the workspace is {status.words}",
        where=str(workspace_state_dir.parent),
        fix="do it there, or ask for the workspace: `data-engine lease request`" + (or_else and f"; or {or_else}"),
    )


_LOOK_S = 1.0
_Marks = tuple[int | None, ...]
_nobody_else: dict[Path, tuple[_Marks | None, float]] = {}


def _marks(workspace_state_dir: Path) -> _Marks | None:
    """When names in the folders that tell of owners changed last; None where the state of the workspace cannot be looked at."""
    marks = tuple(_changed_ns(f"{workspace_state_dir}{os.sep}{name}") for name in ("", GENERATIONS))
    return None if marks[0] is None else marks


def _changed_ns(folder: str) -> int | None:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return None
