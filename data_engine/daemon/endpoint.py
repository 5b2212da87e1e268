"""What a daemon leaves on this machine: which process listens where, whether its engine is on, and whether it was stopped on purpose."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from data_engine import private
from data_engine.errors import WorkspaceError
from data_engine.files import trouble_of, write_text_atomic
from data_engine.ledger.ledger import Ledger
from data_engine.platforms.access import is_private
from data_engine.platforms.processes import create_time_of, is_this_users, is_zombie
from data_engine.record import frozen
from data_engine.workspace.layout import LocalLayout

_ENGINE = "engine_is_on"
_BACKFILL = "backfill"
_TAKES_S = 0.5


@frozen
class Endpoint:
    """A daemon that listens on 127.0.0.1:`port`. `create_time` tells its process from a later one of the same `pid`."""

    pid: int
    create_time: float
    port: int
    version: str
    daemon_id: str
    workspace_root: str

    def is_alive(self) -> bool:
        """Whether that very process runs, as this user.

        Reference: a zombie still answers `os.kill(pid, 0)`, and a pid is used again; so status and start time decide.
        """
        import psutil

        try:
            process = psutil.Process(self.pid)
            if is_zombie(process) or abs(create_time_of(self.pid) - self.create_time) > 0.5:
                return False
            return is_this_users(process)
        except psutil.Error:
            return False

    def listens(self) -> bool:
        """Whether somebody takes connections there; the system does it for a process that is frozen."""
        import socket

        try:
            socket.create_connection(("127.0.0.1", self.port), _TAKES_S).close()
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
        return True


def write_endpoint(local: LocalLayout, endpoint: Endpoint, token: str) -> None:
    """Say where the daemon listens; both files are readable by this user alone.

    Raises:
        WorkspaceError: they cannot be written.
    """
    try:
        private.make_folder(local.runtime_dir)
        write_text_atomic(local.daemon_token_path, token, mode=private.FILE)
        write_text_atomic(local.daemon_endpoint_path, json.dumps(asdict(endpoint)), mode=private.FILE)
    except OSError as error:
        raise WorkspaceError(
            f"the daemon cannot say where it listens: {trouble_of(error)}",
            where=str(local.runtime_dir),
            fix="make the folder writable for this user",
        ) from error


def read_endpoint(local: LocalLayout) -> Endpoint | None:
    """The endpoint last written, None without a usable one; its process may be gone."""
    text = _read_private(local.daemon_endpoint_path)
    if text is None:
        return None
    try:
        found = json.loads(text)
        return Endpoint(
            int(found["pid"]),
            float(found["create_time"]),
            int(found["port"]),
            str(found["version"]),
            str(found["daemon_id"]),
            str(found["workspace_root"]),
        )
    except (ValueError, TypeError, KeyError):
        return None


def silent_daemon(local: LocalLayout) -> Endpoint | None:
    """The daemon that is there, of one that was asked and did not answer: it is frozen, or its machine swaps. None where it is
    gone, or about to be: it listens no more."""
    endpoint = read_endpoint(local)
    return endpoint if endpoint is not None and endpoint.is_alive() and endpoint.listens() else None


def read_token(local: LocalLayout) -> str | None:
    """The secret of the control channel; None when it is missing or somebody else could have written it."""
    return _read_private(local.daemon_token_path)


def _read_private(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read() if is_private(file.fileno()) else None
    except (OSError, UnicodeDecodeError):
        return None


def was_engine_on(ledger: Ledger) -> bool:
    """Whether the engine was on when the last daemon of this machine ended, however that was."""
    return ledger.setting(_ENGINE) == "1"


def was_backfilling(ledger: Ledger) -> bool:
    """Whether a backfill ran when the last daemon of this machine ended."""
    return ledger.setting(_BACKFILL) == "1"


def remember_backfill(ledger: Ledger, *, is_on: bool) -> None:
    """Let the next daemon go on with its backfills by itself, or only once it owns the workspace for something else."""
    if was_backfilling(ledger) != is_on:
        ledger.set_setting(_BACKFILL, "1" if is_on else "0")


def remember_engine(ledger: Ledger, *, is_on: bool) -> None:
    """Let the next daemon turn its engine on by itself, or not."""
    ledger.set_setting(_ENGINE, "1" if is_on else "0")


def remember_stop(local: LocalLayout) -> None:
    """A person ends the daemon: until the next logon no service starts it again by itself."""
    from data_engine.platforms.service import session_id

    with suppress(OSError):  # a full disk keeps nobody from ending a daemon
        private.make_folder(local.runtime_dir)
        write_text_atomic(local.daemon_stopped_path, session_id(), durable=False, mode=private.FILE)


def forget_stop(local: LocalLayout) -> None:
    """A person starts the daemon."""
    with suppress(OSError):
        local.daemon_stopped_path.unlink(missing_ok=True)


def was_stopped(local: LocalLayout) -> bool:
    """Whether a person has ended the daemon in this logon session and not started it since."""
    from data_engine.platforms.service import session_id

    stopped_in = _read_private(local.daemon_stopped_path)
    return stopped_in is not None and stopped_in == session_id()
