"""The daemons of this machine and user, of whatever workspace: found by their command lines, and asked how they are.

Nothing is ended here: of a daemon that is of no use any more the line that ends it is given.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data_engine.daemon.control import DaemonClient, read_endpoint
from data_engine.daemon.service import read_record
from data_engine.daemon.start import START_S
from data_engine.errors import FlowValidationError
from data_engine.model import utc_text
from data_engine.platforms.processes import end_line, is_this_users, is_zombie
from data_engine.record import Record, frozen
from data_engine.workspace.layout import LocalLayout, is_workspace

if TYPE_CHECKING:
    import psutil

_MODULE = "data_engine.daemon"
_ANSWERS_WITHIN_S = 2.0


@frozen
class RunningDaemon(Record):
    """A daemon process. `engine` is whether its engine is on, None where it does not say; `end` is the line that ends one that is of no
    use: its workspace is gone, or it does not answer."""

    workspace: str = ""
    pid: int = 0
    since_utc: str = ""
    state: Literal["answers", "starting", "silent", "workspace gone"] = "answers"
    engine: bool | None = None
    version: str | None = None
    end: str | None = None


def running_daemons() -> list[RunningDaemon]:
    """Find this user's daemons on this machine, the oldest first; each is asked within two seconds."""
    import psutil

    found: dict[int, tuple[psutil.Process, Path, Path]] = {}
    launchers = set[int]()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            place = _place(process.cmdline(), process)
            if place is not None and not is_zombie(process) and is_this_users(process):
                found[process.pid] = (process, *place)
                launchers.add(process.ppid())  # on Windows the process that was started starts the daemon
    return sorted(_described(found, launchers), key=lambda daemon: (daemon.since_utc, daemon.pid))


def _place(command: Sequence[str], process: psutil.Process) -> tuple[Path, Path] | None:
    """The workspace and this machine's folder for it, of a process with this command line; None of what is no daemon at work."""
    try:
        at = list(command).index(_MODULE)
    except ValueError:
        return None
    words = command[at + 1 :]
    if command[at - 1] != "-m" or not words:
        return None
    if words[0] != "--service":
        return Path(words[0]), Path(process.cwd())
    runtime, record = Path(words[-1]).parent, read_record(Path(words[-1]))
    endpoint = read_endpoint(_layout(runtime, runtime))
    if record is None or endpoint is None or endpoint.pid != process.pid:
        return None  # it stands by until it is needed
    return Path(record.workspace_root), runtime


def _layout(root: Path, runtime: Path) -> LocalLayout:
    artifacts = runtime.parent.parent
    return LocalLayout(artifacts.parent, runtime.name, root.name, artifacts_override=artifacts)


def _described(found: dict[int, tuple[psutil.Process, Path, Path]], launchers: set[int]) -> Iterator[RunningDaemon]:
    import psutil

    for pid, (process, root, runtime) in found.items():
        if pid in launchers:
            continue
        with suppress(psutil.Error):  # it has ended meanwhile
            began_s = process.create_time()
            yield _asked(pid, began_s, root, _layout(root, runtime))


def _asked(pid: int, began_s: float, root: Path, local: LocalLayout) -> RunningDaemon:
    endpoint, status = read_endpoint(local), None
    if endpoint is not None and endpoint.pid == pid:
        client = DaemonClient.connect(local, timeout_s=_ANSWERS_WITHIN_S)
        if client is not None:
            with suppress(FlowValidationError):
                status = client.get("/status", _ANSWERS_WITHIN_S)
            client.close()
    has_gone = not is_workspace(root)
    begins = status is None and not has_gone and time.time() - began_s < START_S
    useless = has_gone or (status is None and not begins)
    return RunningDaemon(
        workspace=os.fspath(root),
        pid=pid,
        since_utc=utc_text(began_s),
        state="workspace gone" if has_gone else "answers" if status is not None else "starting" if begins else "silent",
        engine=None if status is None else bool(status["engine"]["on"]),
        version=None if status is None or endpoint is None else endpoint.version,
        end=end_line(pid, is_silent=status is None) if useless else None,
    )
