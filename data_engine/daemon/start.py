"""Starting this machine's daemon of a workspace: detached from whoever starts it, once, and with the cause when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress

from data_engine import __version__
from data_engine.daemon.control import DaemonClient
from data_engine.daemon.endpoint import read_endpoint
from data_engine.engine.home import Home
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.locks import OsLock

WAIT_S = 20.0
_POLL_S = 0.01
_KERNEL_VARIABLES = ("JPY_", "JUPYTER", "IPYTHON", "MPLBACKEND", "COLAB_", "VSCODE_")


def start_daemon(home: Home) -> DaemonClient:
    """A client of the workspace's daemon, which is started when none runs; it answers when this returns.

    It outlives the interrupt, restart and end of the process that starts it. An idle daemon of another version of this
    package is replaced.

    Raises:
        WorkspaceError: it cannot start; the message holds what it said, or what its log says.
    """
    client = DaemonClient.connect(home.local)
    if client is not None and client.endpoint.version == __version__:
        return client
    lock = OsLock(home.local.daemon_start_lock_path)
    if not lock.wait(timeout_s=WAIT_S):
        raise _failed(home, "another process has been starting it for too long")
    try:
        client = DaemonClient.connect(home.local)
        if client is not None and (client.endpoint.version == __version__ or not _replaced(client, home)):
            return client
        return _spawn(home)
    finally:
        lock.release()


def _replaced(client: DaemonClient, home: Home) -> bool:
    """End a daemon of another version when it is idle; whether it is gone."""
    status = client.get("/status")
    if status.get("active_runs") or status.get("engine", {}).get("on"):
        return False
    client.post("/shutdown")
    client.close()
    return wait_until_gone(home, WAIT_S)


def wait_until_gone(home: Home, timeout_s: float) -> bool:
    """Whether the daemon was gone within `timeout_s`: its lock is free."""
    lock = OsLock(home.local.daemon_lock_path)
    if not lock.wait(timeout_s=timeout_s):
        return False
    lock.release()
    return True


def detached() -> dict[str, object]:
    """What `Popen` is told so that the child outlives the process that starts it."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW | subprocess.CREATE_BREAKAWAY_FROM_JOB
        return {"creationflags": flags}
    return {"start_new_session": True}


def _spawn(home: Home) -> DaemonClient:
    local = home.local
    local.runtime_dir.mkdir(parents=True, exist_ok=True)
    said = local.runtime_dir / "daemon-start.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_KERNEL_VARIABLES)}
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "data_engine.daemon", str(home.layout.root)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            close_fds=True,
            cwd=local.runtime_dir,
            env=environment | _import_path(environment),
            **detached(),  # type: ignore[call-overload]
        )
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        endpoint = read_endpoint(local)
        if endpoint is not None and endpoint.pid == process.pid:
            client = DaemonClient.connect(local)
            if client is not None:
                process.returncode = 0  # it is not ours to wait for: it outlives us
                return client
        if process.poll() is not None:
            other = DaemonClient.connect(local)
            if other is not None:
                return other  # somebody else's daemon was quicker
            raise _failed(
                home, said.read_text(errors="replace").strip()[-2000:] or f"it left with {process.returncode}"
            )
        time.sleep(_POLL_S)
    with suppress(OSError):
        process.kill()
    process.wait()
    raise _failed(home, said.read_text(errors="replace").strip()[-2000:] or f"it did not answer within {WAIT_S:g} s")


def _import_path(environment: dict[str, str]) -> dict[str, str]:
    """`-P` leaves the working directory out of `sys.path`; a package that is imported from a checkout must be found still."""
    import data_engine

    folder = os.path.dirname(os.path.dirname(os.path.abspath(data_engine.__file__)))
    known = environment.get("PYTHONPATH", "")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [folder, known]))}


def kill_daemon(home: Home, *, timeout_s: float = 0.5) -> bool:
    """End the daemon and its workers now, whatever they do; whether there was one.

    It is asked first and given `timeout_s`; what it leaves behind becomes `abandoned` when the ledger is next looked at.
    """
    import psutil

    endpoint = read_endpoint(home.local)
    if endpoint is None or not endpoint.is_alive():
        return False
    with suppress(FlowValidationError):
        client = DaemonClient.connect(home.local)
        if client is not None:
            client.post("/shutdown", {"kill": True}, timeout_s=timeout_s)
            client.close()
    if wait_until_gone(home, timeout_s):
        return True
    with suppress(psutil.Error):
        process = psutil.Process(endpoint.pid)
        family = [process, *process.children(recursive=True)]
        for one in family:
            with suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(family, timeout=2)
    home.local.daemon_endpoint_path.unlink(missing_ok=True)
    return True


def _failed(home: Home, cause: str) -> WorkspaceError:
    return WorkspaceError(
        f"the daemon of {home.layout.workspace_id} did not start: {cause}",
        where=str(home.local.daemon_log_path),
        mend="mend the cause and start it again; `data-engine doctor` checks this machine",
    )
