"""Keep a workspace's identity in the shared folder, so that a move keeps its history and a copy starts anew.

`.workspace_state/identity.json` holds the identity and the inode of the folder it was made in. Each machine remembers
under its state root where it has seen which identity. When an identity turns up in a second place while the first is
still there, a probe file tells one folder seen twice (two mounts) from a copy. Of two different folders the copy is the
one that is not in the inode the identity was made in or, where that tells nothing, the one seen later.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from data_engine import private
from data_engine.errors import LedgerError, WorkspaceError
from data_engine.files import create_exclusive, trouble_of, write_text_atomic
from data_engine.locks import Holding, OsLock
from data_engine.nofollow import check_own, make_folder, opened
from data_engine.record import frozen
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout, is_workspace
from data_engine.workspace.machine import absolute_folder, private_state_root, refuse_network_drive, state_root

_BY_PATH = "path-"
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_LOOK_AGAIN_S = (0.0, 0.1, 0.2)  # a network drive may show a new name a moment later
_FILLED_WITHIN_S = (0.0, 0.05, 0.1, 0.2, 0.4)
_LOCK_TIMEOUT_S = 30.0


def local_layout(layout: WorkspaceLayout) -> LocalLayout:
    """This machine's folder for the workspace, with DATA_ENGINE_RUNTIME_ROOT and DATA_ENGINE_RUNTIME_DB_PATH applied.

    Raises:
        WorkspaceError: as `workspace_identity`; or an override is no absolute path, or lies on a network drive; or a link
            or a mount point is where one of its folders belongs.
    """
    local = layout_of(layout.root, workspace_identity(layout))
    _check_private(local)
    return local


def known_local_layout(layout: WorkspaceLayout) -> LocalLayout | None:
    """This machine's folder for the workspace, None when it has not settled its identity; nothing is made.

    Raises:
        WorkspaceError: as `local_layout`.
    """
    record, root = _read(layout), os.path.realpath(layout.root)
    if record is None:
        before = _identity_before(layout, state_root() / "workspaces")
        return layout_of(layout.root, before or _path_identity(root))
    is_known = root in _known_roots(state_root() / "workspaces", record.identity)
    return layout_of(layout.root, record.identity) if is_known else None


def layout_of(root: Path, identity: str) -> LocalLayout:
    """This machine's folder for the workspace of this identity, which is or will be at `root`; nothing there is read.

    Raises:
        WorkspaceError: an override is no absolute path, or lies on a network drive.
    """
    return LocalLayout(
        state_root=state_root(),
        identity=identity,
        workspace_id=root.name,
        artifacts_override=_local_override("DATA_ENGINE_RUNTIME_ROOT"),
        ledger_override=_local_override("DATA_ENGINE_RUNTIME_DB_PATH"),
    )


def layouts_seen_at(root: Path) -> list[LocalLayout]:
    """This machine's folders for the workspaces it has seen at `root`, also when nothing is there any more."""
    place, places = os.path.realpath(root), state_root() / "workspaces"
    identities = sorted(path.stem for path in places.glob("*.json"))
    return [layout_of(root, identity) for identity in identities if place in _known_roots(places, identity)]


def workspace_identity(layout: WorkspaceLayout) -> str:
    """The workspace's lasting identity, made at the first call; a copy of a workspace that is still there gets its own.

    Where somebody cleaned `.workspace_state` away, this machine writes the identity again that it knows the folder by.

    A workspace that cannot be written and has no identity of its own gets one from its path, and nothing is written.

    Raises:
        WorkspaceError: no workspace is there, its identity file is damaged, or this machine's state cannot be kept.
    """
    _refuse_no_workspace(layout)
    places = private_state_root() / "workspaces"
    root = os.path.realpath(layout.root)
    record = _read(layout) or _make(layout, _identity_before(layout, places))
    if record is None:
        return _path_identity(root)
    if root in _known_roots(places, record.identity):
        return record.identity
    with _locked(places):
        return _settle(layout, root, places)


def _identity_before(layout: WorkspaceLayout, places: Path) -> str | None:
    """The identity this machine knows the folder by whose `.workspace_state` is gone; None where it knows none.

    A workspace that was made in the place of another has no file that was there when that one's history was written last.
    """
    root = os.path.realpath(layout.root)
    histories = [
        (max(times), path.stem)
        for path in places.glob("*.json")
        if root in _known_roots(places, path.stem)
        and (times := _written_s(layout_of(layout.root, path.stem).ledger_path))
    ]
    if not histories:
        return None
    last_s, identity = max(histories)
    if not any(made_s < last_s for made_s in _made_s(layout)):
        return None
    import logging

    logging.getLogger(__name__).warning("%s had no identity any more: it goes on as %s", layout.root, identity)
    return identity


def _written_s(ledger: Path) -> list[float]:
    """The times when the history's files were written."""
    times = []
    for path in (ledger, ledger.with_name(f"{ledger.name}-wal")):
        with suppress(OSError):
            times.append(path.stat().st_mtime)
    return times


def _made_s(layout: WorkspaceLayout) -> Iterator[float]:
    """The times when the workspace's files changed; on Windows when they were made. Nobody sets these times."""
    for folder in (layout.flow_modules_dir, layout.config_dir):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield entry.stat(follow_symlinks=False).st_ctime


def keep_identity(layout: WorkspaceLayout, identity: str) -> bool:
    """Whether the workspace still is the one of this identity; a file that vanished is written again.

    For a process that has been working in it: somebody cleaned `.workspace_state` away, and the history shall go on.

    Raises:
        WorkspaceError: the file is damaged, or cannot be written.
    """
    record = _read(layout)
    if record is None and not identity.startswith(_BY_PATH):
        record = _make(layout, identity)
    return record is None or record.identity == identity


def original_identity(layout: WorkspaceLayout) -> str | None:
    """The identity of a workspace that was made in this very folder; None for one without an identity, and for a copy.

    Raises:
        WorkspaceError: the identity file is damaged.
    """
    record = _read(layout)
    return record.identity if record is not None and _was_made_in(layout, record) else None


def fork_identity(layout: WorkspaceLayout) -> str:
    """A new identity for the workspace, which then starts without history.

    What the workstations shared under the old identity is set aside in `.workspace_state/before_<new identity>/`. The
    caller sees to it that nobody owns the workspace.

    Raises:
        WorkspaceError: no workspace is there, or it cannot be written.
    """
    _refuse_no_workspace(layout)
    places = private_state_root() / "workspaces"
    with _locked(places):
        return _fork(layout, os.path.realpath(layout.root), places)


@frozen
class _Record:
    identity: str
    folder: int


def _check_private(local: LocalLayout) -> None:
    """Refuse a link where its folders belong, and close what is open to others. What lies below these folders is checked when it is used."""
    root = local.artifacts_override or local.state_root
    ledger = local.ledger_override
    for chosen in (local.artifacts_override, *((ledger, ledger.parent) if ledger else ())):
        if chosen is not None:
            private.follow(chosen)
    try:
        for folder in (local.runtime_dir, local.compiled_flow_modules_dir):
            check_own(root, folder)
        for place in local.private_places:
            private.fix_if_open(place)
    except OSError as error:
        raise WorkspaceError(
            f"this machine's own folder cannot be used: {error.strerror or error}",
            where=str(error.filename or root),
            fix="remove it (what it leads to stays as it is), or set DATA_ENGINE_STATE_ROOT to another folder",
        ) from error


def _settle(layout: WorkspaceLayout, root: str, places: Path) -> str:
    record = _read(layout)  # again, now that no other process of this machine is deciding
    if record is None:
        raise WorkspaceError(
            "the workspace's identity vanished while it was looked at", where=str(layout.root), fix="try again"
        )
    others = [WorkspaceLayout(Path(path)) for path in _known_roots(places, record.identity) if _still_at(path, record)]
    same = [other for other in others if _is_one_folder(layout.workspace_state_dir, other.workspace_state_dir)]
    if others and not same and (not _was_made_in(layout, record) or any(_was_made_in(o, record) for o in others)):
        try:
            identity = _fork(layout, root, places)
        except WorkspaceError:
            return _path_identity(root)
        import logging

        logging.getLogger(__name__).warning(
            "%s is a copy of %s: it has its own identity now and starts without history", layout.root, others[0].root
        )
        return identity
    _remember(places, record.identity, [root, *(str(other.root) for other in same)])
    return record.identity


def _still_at(root: str, record: _Record) -> bool:
    try:
        current = _read(WorkspaceLayout(Path(root)))
    except WorkspaceError:
        return False
    return current is not None and current.identity == record.identity


def _was_made_in(layout: WorkspaceLayout, record: _Record) -> bool:
    try:
        return os.stat(layout.workspace_state_dir).st_ino == record.folder
    except OSError:
        return False


def _is_one_folder(folder: Path, other: Path) -> bool:
    with suppress(OSError):
        if os.path.samefile(folder, other):
            return True
    for written, watched in ((folder, other), (other, folder)):
        name = f".probe-{os.urandom(6).hex()}.tmp"
        try:
            with opened(written.parent, written.name) as place:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                os.close(os.open(place.at(name), flags, 0o666, dir_fd=place.descriptor))
                try:
                    for delay_s in _LOOK_AGAIN_S:
                        time.sleep(delay_s)
                        if os.path.exists(watched / name):
                            return True
                    return False
                finally:
                    with suppress(OSError):
                        os.unlink(place.at(name), dir_fd=place.descriptor)
        except OSError:
            continue
    return False


def _fork(layout: WorkspaceLayout, root: str, places: Path) -> str:
    old = None
    with suppress(WorkspaceError):  # a damaged file is a reason to fork
        old = _read(layout)
    identity = _new_identity()
    folder = layout.workspace_state_dir
    try:
        make_folder(layout.root, folder)
        # First set aside, then renamed: interrupted between the two, it is noticed again and nothing is mixed up.
        _set_aside(layout, f"before_{identity}")
        record = {"identity": identity, "folder": folder.stat().st_ino, "forked_from": old and old.identity}
        write_text_atomic(layout.identity_path, json.dumps(record) + "\n")
    except OSError as error:
        raise _unwritable(folder, error, "make the workspace writable") from error
    if old is not None:
        _remember(places, old.identity, [path for path in _known_roots(places, old.identity) if path != root])
    _remember(places, identity, [root])
    return identity


def _set_aside(layout: WorkspaceLayout, folder: str) -> None:
    with opened(layout.root, layout.workspace_state_dir) as place:
        at = place.descriptor
        stays = ("before_", ".probe-", layout.identity_path.name)
        entries = [entry for entry in place.entries() if not entry.name.startswith(stays)]
        moved = [name for name, kind in entries if kind != "foreign"]
        for name in (name for name, kind in entries if kind == "foreign"):
            import logging

            logging.getLogger(__name__).warning(
                "%s is a link or a mount point, and is left where it is", place.path / name
            )
        if moved:
            os.mkdir(place.at(folder), dir_fd=at)
        for name in moved:
            os.rename(place.at(name), os.path.join(place.at(folder), name), src_dir_fd=at, dst_dir_fd=at)


def _make(layout: WorkspaceLayout, identity: str | None = None) -> _Record | None:
    folder = layout.workspace_state_dir
    is_new = False
    try:
        is_new = not folder.exists()
        make_folder(layout.root, folder)
        record = {"identity": identity or _new_identity(), "folder": folder.stat().st_ino}
        create_exclusive(layout.identity_path, json.dumps(record) + "\n")
    except OSError as error:
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        if error.errno in _READ_ONLY:
            return None
        fix = "make room on that drive, or take away what is in the way"
        raise _unwritable(layout.identity_path, error, fix) from error
    return _read(layout)


def _read(layout: WorkspaceLayout) -> _Record | None:
    path = layout.identity_path
    try:
        text = _filled_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    identity = content.get("identity") if isinstance(content, dict) else None
    if not isinstance(identity, str) or not re.fullmatch(r"[0-9a-zA-Z-]{8,64}", identity):
        raise _damaged(path, "it holds no identity")
    folder = content.get("folder")
    return _Record(identity, folder if isinstance(folder, int) else -1)


def _filled_text(path: Path) -> str:
    # On drives without hard links another workstation's new file is empty for an instant.
    text = ""
    for delay_s in _FILLED_WITHIN_S:
        time.sleep(delay_s)
        text = path.read_text(encoding="utf-8")
        if text.strip():
            break
    return text


def _damaged(path: Path, reason: str) -> WorkspaceError:
    return WorkspaceError(
        f"the workspace's identity cannot be read: {reason}",
        where=str(path),
        fix="restore that file from a backup, or start without history: `data-engine workspace fork PATH`",
    )


def _unwritable(where: Path, error: OSError, fix: str) -> WorkspaceError:
    return WorkspaceError(f"the workspace's identity cannot be written: {trouble_of(error)}", where=str(where), fix=fix)


def _new_identity() -> str:
    return os.urandom(10).hex()


def _path_identity(root: str) -> str:
    import hashlib

    return _BY_PATH + hashlib.sha1(os.path.normcase(root).encode("utf-8", "surrogatepass")).hexdigest()[:20]


def _known_roots(places: Path, identity: str) -> list[str]:
    try:
        roots = json.loads((places / f"{identity}.json").read_text(encoding="utf-8"))["roots"]
        return [root for root in roots if isinstance(root, str)]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # nothing remembered, or nothing readable: as good as a new machine


def _remember(places: Path, identity: str, roots: list[str]) -> None:
    try:
        private.make_folder(places)
        write_text_atomic(places / f"{identity}.json", json.dumps({"roots": roots}) + "\n", mode=private.FILE)
    except OSError as error:
        raise _unkept(places, error) from error


def _locked(places: Path) -> Holding:
    lock = OsLock(places / ".lock")

    def wait() -> None:
        try:
            is_held = lock.wait(timeout_s=_LOCK_TIMEOUT_S)
        except LedgerError as error:
            raise _unkept(places, error) from error
        if not is_held:
            raise _unkept(places, TimeoutError(f"another process has held {lock.path} for {_LOCK_TIMEOUT_S:g} s"))

    return Holding(lock, wait)


def _unkept(places: Path, error: Exception) -> WorkspaceError:
    return WorkspaceError(
        f"this machine cannot remember its workspaces: {trouble_of(error)}",
        where=str(places),
        fix="make the state root writable or set DATA_ENGINE_STATE_ROOT to another folder on a local drive",
    )


def _local_override(variable: str) -> Path | None:
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    path = absolute_folder(text, where=variable)
    refuse_network_drive(path, where=variable)
    return path


def _refuse_no_workspace(layout: WorkspaceLayout) -> None:
    if not is_workspace(layout.root):
        raise WorkspaceError(
            f"{layout.root} is not a workspace: it has no flow_modules folder, or cannot be reached",
            where=str(layout.root),
            fix="name a workspace, or make one with `data-engine workspace create PATH`",
        )
