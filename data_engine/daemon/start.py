"""Starting this machine's daemon of a workspace: detached from whoever starts it, once, and with the cause when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from data_engine import private
from data_engine.cause import Cause
from data_engine.daemon.control import (
    DaemonClient,
    forget_stop,
    read_endpoint,
    remember_stop,
    silent_daemon,
    tell_silent,
)
from data_engine.daemon.environment import import_path
from data_engine.daemon.service import start_service
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.files import trouble_of
from data_engine.formatting import TextEnd
from data_engine.locks import OsLock
from data_engine.platforms.processes import detached, program_of
from data_engine.version import __version__
from data_engine.workspace.layout import is_workspace, without_kernel

WAIT_S = 20.0
START_S = 60.0
"""For a daemon that lives and does not answer yet, or ends without work: after a log-on, when all is read and scanned, it is slow."""
_SILENT_S = 2.0
"""After so long a person hears that a daemon is waited for."""
_POLL_S = 0.01
_SAYS_POLL_S = 0.1
"""While a daemon that was started may still say why it cannot; that it can is heard at once."""
_LAST_WORDS_S = 2.0
_MOST_SAID_BYTES = 4000


def start_daemon(home: LocalWorkspace, *, interpreter: str | None = None) -> DaemonClient:
    """A client of the workspace's daemon, which is started when none runs; it answers when this returns.

    It outlives the interrupt, restart and end of the process that starts it. An idle daemon of another version of this
    package is replaced; a busy one is kept, which is said on standard error. One whose workspace was moved away under it is
    replaced by one that works in the new place. One that is ending is waited for. An installed service stands by for it. Workers of a
    daemon that is started run with `interpreter` when nobody has chosen one; without it with the one recorded before.

    Raises:
        WorkspaceError: it cannot start; the message holds what it said, or what its log says.
    """
    client = DaemonClient.connect(home.local, tells=True)
    if client is not None:
        if not client.is_ending and fits(client, home):
            return client
        client.close()
    try:
        return _start(home, interpreter)
    except OSError as error:
        raise _failed(home, f"{error.filename or 'its folder'}: {trouble_of(error)}") from error


def _start(home: LocalWorkspace, interpreter: str | None) -> DaemonClient:
    lock = OsLock(home.local.daemon_start_lock_path)
    if not lock.wait(timeout_s=START_S):
        raise _failed(home, "another process has been starting it for too long")
    try:
        client = _settled(home)
        if client is None or (not fits(client, home) and _replace(client, home)):
            forget_stop(home.local)
            client = _spawn(home, interpreter)
            start_service(home.local)
        return client
    finally:
        lock.release()


def fits(client: DaemonClient, home: LocalWorkspace) -> bool:
    """Whether a daemon is of this version, and works where the workspace is."""
    return client.endpoint.version == __version__ and not _was_left_behind(client, home)


def _was_left_behind(client: DaemonClient, home: LocalWorkspace) -> bool:
    """Whether the workspace is not where the daemon looks for it any more: it was moved, or mounted elsewhere."""
    root = Path(client.endpoint.workspace_root)
    return root != home.layout.root and not is_workspace(root)


def _settled(home: LocalWorkspace) -> DaemonClient | None:
    """The client of the daemon that is there, once it answers; None once there is none.

    The lock decides: a process that was killed may still be seen, and its port may still take a connection.
    """
    lock = OsLock(home.local.daemon_lock_path)
    began_s, is_told = time.monotonic(), False
    deadline_s = began_s + WAIT_S
    while not lock.try_acquire():
        client = DaemonClient.connect(home.local, tells=True)
        if client is not None and not client.is_ending:
            return client
        why = _why_it_stays(home, answers=client is not None)
        if client is not None:
            client.close()
        if not is_told and time.monotonic() - began_s > _SILENT_S:
            is_told = True
            if client is not None:
                print(f"waiting: {why}; `data-engine kill` ends it now", file=sys.stderr)
            elif (silent := silent_daemon(home.local)) is not None:
                tell_silent(silent)
        if time.monotonic() > deadline_s:
            raise _failed(home, why, fix="end it now with `data-engine kill`, or wait for its work")
        time.sleep(_POLL_S)
    lock.release()
    return None


def _why_it_stays(home: LocalWorkspace, *, answers: bool) -> str:
    endpoint = read_endpoint(home.local)
    pid = "" if endpoint is None else f" (pid {endpoint.pid})"
    does = "is ending and waits for its running work" if answers else "neither answers nor ends"
    return f"the one before it{pid} {does}"


def _replace(client: DaemonClient, home: LocalWorkspace) -> bool:
    """End a daemon of another version when it is idle, or one whose workspace was moved; whether it is gone."""
    if _was_left_behind(client, home):
        print(
            f"the daemon (pid {client.endpoint.pid}) is ended: {client.endpoint.workspace_root} is gone",
            file=sys.stderr,
        )
        return _end(client, home)
    status = client.get("/status")
    own = [run for run in status.get("active_runs", ()) if run.get("in_daemon", True)]
    if own or status.get("engine", {}).get("on") or not status.get("daemon", {}).get("idle", True):
        print(
            f"the daemon (pid {client.endpoint.pid}) has Data Engine {client.endpoint.version}, this is {__version__}: "
            "it has work and goes on; `data-engine stop` and `data-engine start` replace it",
            file=sys.stderr,
        )
        return False
    return _end(client, home)


def _end(client: DaemonClient, home: LocalWorkspace) -> bool:
    client.post("/shutdown")
    client.close()
    return wait_until_gone(home, START_S)


def wait_until_gone(home: LocalWorkspace, timeout_s: float) -> bool:
    """Whether the daemon was gone within `timeout_s`: its lock is free."""
    lock = OsLock(home.local.daemon_lock_path)
    if not lock.wait(timeout_s=timeout_s):
        return False
    lock.release()
    return True


def _spawn(home: LocalWorkspace, interpreter: str | None) -> DaemonClient:
    local = home.local
    private.make_folder(local.runtime_dir)
    environment = without_kernel(os.environ)
    before = read_endpoint(local)
    program, started_in = program_of(sys.executable, environment | import_path(environment))
    process = _popen_detached(
        [program, "-P", "-m", "data_engine.daemon", str(home.layout.root), *filter(None, [interpreter])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,  # not a file: the drive may be full, and that is what it then has to say
        stderr=subprocess.STDOUT,
        close_fds=True,
        cwd=local.runtime_dir,
        env=started_in,
    )
    assert process.stdout is not None
    words = _LastWords(process.stdout)
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        endpoint = read_endpoint(local)
        # By what it says of itself and not by its number: in an environment on Windows the process that was started is a
        # launcher, and the daemon its child.
        if endpoint is not None and (before is None or endpoint.daemon_id != before.daemon_id):
            client = DaemonClient.connect(local)
            if client is not None:
                process.returncode = 0  # it is not ours to wait for: it outlives us
                return client
        if process.poll() is not None:
            other = _settled(home) if process.returncode == 0 else None
            if other is not None:
                return other  # somebody else's daemon was quicker
            raise _failed(home, words.text() or f"it ended with exit code {process.returncode}")
        words.wait_for_more()
    with suppress(OSError):
        process.kill()
    process.wait()
    raise _failed(home, words.text() or f"it did not answer within {START_S:g} s")


def _popen_detached(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    *first, last = detached()
    for how in first:
        with suppress(PermissionError):  # the job of a terminal or an editor that lets nothing leave it
            return subprocess.Popen(command, **options, **how)
    return subprocess.Popen(command, **options, **last)


class _LastWords:
    """The output of a daemon until it works by itself, and so lets go of this pipe."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._end = TextEnd(_MOST_SAID_BYTES)
        self._thread = threading.Thread(target=self._listen, name="daemon-start", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """The end of it, once the daemon is gone."""
        self._thread.join(_LAST_WORDS_S)
        return self._end.text()

    def wait_for_more(self) -> None:
        """Wait until it has let go of the pipe, as it does when it says where it is, or for a moment.

        Each look at what it says opens a file, and where it starts slowly the looks make it slower.
        """
        if self._thread.is_alive():
            self._thread.join(_SAYS_POLL_S)
        else:
            time.sleep(_POLL_S)

    def _listen(self) -> None:
        with self._pipe:
            while data := self._pipe.read1(_MOST_SAID_BYTES):  # type: ignore[attr-defined]
                self._end.add(data)


def kill_daemon(home: LocalWorkspace, *, timeout_s: float = 0.5) -> bool:
    """End the daemon and its workers now, whatever they do; whether there was one.

    It is asked first and given `timeout_s`; the runs that it leaves behind become `abandoned`.
    """
    import psutil

    endpoint = read_endpoint(home.local)
    remember_stop(home.local)
    if endpoint is None or not endpoint.is_alive():
        return False
    with suppress(FlowValidationError):
        client = DaemonClient.connect(home.local, timeout_s=timeout_s)
        if client is not None:
            client.post("/shutdown", {"kill": True}, timeout_s=timeout_s)
            client.close()
    if wait_until_gone(home, timeout_s):
        return True
    ledger = None
    with suppress(FlowValidationError):  # opened before its runs are lost, or that would say why they are
        ledger = home.ledger()
    with suppress(psutil.Error):
        process = psutil.Process(endpoint.pid)
        family = [process, *process.children(recursive=True)]
        for member in family:
            with suppress(psutil.Error):
                member.kill()
        psutil.wait_procs(family, timeout=2)
    home.local.daemon_endpoint_path.unlink(missing_ok=True)
    if ledger is not None:
        with suppress(FlowValidationError):  # whoever looks at the history next does it
            ledger.recover(why=Cause("daemon_killed"))
    return True


def _failed(home: LocalWorkspace, cause: str, *, fix: str | None = None) -> WorkspaceError:
    return WorkspaceError(
        f"the daemon of {home.layout.workspace_id} did not start: {cause}",
        where=str(home.local.daemon_log_path),
        fix=fix or "fix the cause and start it again; `data-engine doctor` checks this machine",
    )
