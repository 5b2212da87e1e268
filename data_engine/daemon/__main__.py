"""`python -m data_engine.daemon WORKSPACE`: the background process of one workspace on this machine.

Exactly one runs for a workspace and machine: it holds a lock for its life, and a second one leaves quietly. With `--service
RECORD`, as a service starts it, it waits for its turn instead, and stays when it is idle. Who ends it on purpose gets the
exit code 0, upon which no service starts it again before the next logon.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import logging.handlers
import math
import os
import secrets
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from functools import partial
from io import TextIOWrapper
from pathlib import Path

from data_engine import private
from data_engine.daemon.api import DaemonApi, listen, make_application
from data_engine.daemon.control import Endpoint, was_stopped, write_endpoint
from data_engine.daemon.daemon import Daemon
from data_engine.daemon.environment import checked_interpreter, note_start, recorded_interpreter
from data_engine.daemon.ownership import keeper_of
from data_engine.daemon.service import read_record
from data_engine.daemon.worker_pool import WorkerPool, WorkerSetup
from data_engine.daemon.worker_process import end_orphans, wait_for_beginners
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.files import is_full, trouble_of, write_text_atomic
from data_engine.ledger.ledger import Ledger
from data_engine.locks import OsLock
from data_engine.platforms.files import read_plainly
from data_engine.platforms.processes import create_time_of, new_event_loop, on_end_signals
from data_engine.unfinished import remove_unfinished
from data_engine.version import __version__
from data_engine.workspace.identity import keep_identity, layout_of
from data_engine.workspace.layout import is_workspace
from data_engine.workspace.two_packages import two_packages_text

LOG_BYTES = 1_000_000
LOG_FILES = 3
_GARBAGE_THRESHOLD = (
    20_000  # what is known of a hundred thousand files is no garbage; looking for some costs more than it
)
_PLACE_LOOK_S = 4.0
_GONE_S = 86400.0
_GONE_IDLE_S = 60.0
_HERE, _GONE, _OTHER = "is there", "is gone", "is another workspace now"

_REMOVING = "unfinished"
_LOOKERS_S = 0.5
"""Whoever only looks whether a daemon is there holds its lock for a moment."""

log = logging.getLogger("data_engine.daemon")


def main() -> int:
    """Serve the workspace named by the first argument until there is nothing to do, or that of a service until it is ended.

    The second one, if any, is the interpreter of whoever starts it, to be recorded.
    """
    read_plainly()
    lock: OsLock | None = None
    by_service, started_by = sys.argv[1] == "--service", None
    try:
        if by_service:
            turn = wait_for_turn(Path(sys.argv[2]))
            if turn is None:
                return 0
            where, lock = turn
        else:
            started_by = sys.argv[2] if len(sys.argv) > 2 else None
            where = local_workspace(Path(sys.argv[1]))
            private.make_folder(where.local.runtime_dir)
            lock = OsLock(where.local.daemon_lock_path)
            if not lock.wait(timeout_s=_LOOKERS_S):
                return 0
        os.chdir(where.local.runtime_dir)
        _log_to(where.local.daemon_log_path)
        for place in where.local.private_places:
            for exposure in private.fix(place):
                log.warning("not ours alone: %s", exposure)
        gc.freeze()
        gc.set_threshold(_GARBAGE_THRESHOLD)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_serve(where, started_by, by_service=by_service))
    except FlowValidationError as error:
        log.error("%s", error)  # noqa: TRY400 - it says all there is to say
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if logging.root.handlers:  # else there is no log yet, and nobody wants a traceback in its place
            log.exception("the daemon ended")
        where_is = None if error.filename is None else str(error.filename)
        fix = "free some space on that drive, and start it again" if is_full(error) else None
        print(WorkspaceError(trouble_of(error), where=where_is, fix=fix), file=sys.stderr)
        return 1
    except Exception:
        log.exception("the daemon ended")
        raise
    finally:
        if lock is not None:
            lock.release()
    return 0


def _let_starter_go(path: Path) -> None:
    """Send the standard streams to a file from now on: whoever started this daemon reads them no longer."""
    try:
        file = private.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    except OSError:  # the disk is full, or a link is in its place; the log is what counts
        file = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)


def _interpreter(ledger: Ledger, started_by: str | None) -> str:
    """The Python for the workers.

    Raises:
        WorkspaceError: the recorded one cannot be used; no other is taken in its place.
    """
    if started_by is not None:
        note_start(ledger, started_by)
    path = recorded_interpreter(ledger)
    if path is None or path == sys.executable:
        return sys.executable
    return checked_interpreter(path)


async def _serve(where: LocalWorkspace, started_by: str | None, *, by_service: bool) -> None:
    pids = _Pids(where.local.runtime_dir / "workers.json")
    for pid in end_orphans(pids.recorded()):
        log.warning("ended worker %s of a daemon that is gone", pid)
    if not wait_for_beginners(where.local.runtime_dir):
        log.warning("a worker of a daemon that is gone does not end: it hangs while it begins")
    pids.clear()
    _remove_unfinished()
    ledger = where.ledger()
    for run_id in ledger.recover():
        log.warning("run %s was abandoned: its process died", run_id)

    interpreter = _interpreter(ledger, started_by)
    where.settings()  # those it starts with must be good
    where = replace(where, keeps_settings=True)

    def forget(pid: int) -> None:
        pids.forget(pid)
        _remove_unfinished()

    setup = WorkerSetup(
        interpreter=interpreter,
        workspace_root=where.layout.root,
        local=where.local,
        new_journal=ledger.new_journal,
        remember=pids.remember,
        work_until=0.0,
    )
    make_workers = partial(WorkerPool, setup, limit=where.settings().executor.workers, forget=forget)
    ending = asyncio.Event()
    how = {"kill": False}

    def shut_down(kill: bool) -> None:
        how["kill"] = how["kill"] or kill
        ending.set()

    daemon_id, token = uuid.uuid4().hex, secrets.token_urlsafe(32)
    daemon = Daemon(where, make_workers, keeper_of(where, daemon_id), by_service=by_service)
    requests = DaemonApi(daemon, daemon_id=daemon_id, version=__version__, shut_down=shut_down)
    server, port = listen(make_application(requests, token))
    endpoint = Endpoint(os.getpid(), create_time_of(os.getpid()), port, __version__, daemon_id, str(where.layout.root))
    on_end_signals(asyncio.get_running_loop(), lambda: shut_down(False))
    write_endpoint(where.local, endpoint, token)
    _let_starter_go(where.local.runtime_dir / "daemon-start.log")
    if (words := two_packages_text()) is not None:
        log.warning("%s", words)
    log.info("daemon %s of %s listens on port %s", os.getpid(), where.layout.root, port)
    try:
        daemon.on_tick = _Idleness(daemon, requests, where, ending).look
        await daemon.start()
        await ending.wait()
        log.info("ending: %s", "at once" if how["kill"] else "when the running work is done")
        await daemon.close(kill=how["kill"])
    finally:
        where.local.daemon_endpoint_path.unlink(missing_ok=True)
        server.stop()
        await server.close_all_connections()


class _Idleness:
    """Ends the daemon when nobody has needed it for `[daemon] idle_exit`, or its workspace is gone. `look` is called each tick.

    A workspace that is gone may lie on a share that comes back: an engine that is on waits for it for a day, others a minute.
    A daemon that a service keeps is never idle, and waits for ever.
    """

    def __init__(self, daemon: Daemon, requests: DaemonApi, where: LocalWorkspace, ending: asyncio.Event) -> None:
        self._daemon, self._requests, self._where, self._ending = daemon, requests, where, ending
        self._busy_s = self._there_s = self._look_s = time.monotonic()
        self._place = _HERE
        self._looking: asyncio.Future[str] | None = None

    def look(self) -> None:
        now_s = time.monotonic()
        is_needed = not self._daemon.is_idle or self._daemon.notifier.is_waiting or self._daemon.is_kept
        if is_needed or self._requests.watchers:
            self._busy_s = now_s
        needed_s = max(self._busy_s, self._requests.last_request_s)
        if now_s - needed_s > self._where.settings().daemon.idle_exit_s or self._is_gone(now_s):
            self._ending.set()

    def _is_gone(self, now_s: float) -> bool:
        if self._looking is not None and self._looking.done():
            state, self._looking = self._looking.result(), None
            if state != self._place:
                level = logging.INFO if state == _HERE else logging.ERROR
                log.log(level, "%s %s", self._where.layout.root, state)
            self._place = state
        if self._looking is None and now_s >= self._look_s:  # a share that hangs holds up this look, and nothing else
            self._look_s = now_s + _PLACE_LOOK_S
            self._looking = asyncio.ensure_future(asyncio.to_thread(_look_at_place, self._where))
        if self._place != _GONE:
            self._there_s = now_s
        waits_s = math.inf if self._daemon.is_kept else _GONE_S if self._daemon.is_engine_on else _GONE_IDLE_S
        return self._place == _OTHER or (self._place == _GONE and now_s - self._there_s > waits_s)


def _look_at_place(where: LocalWorkspace) -> str:
    """Whether the workspace is still in its place, in a few words."""
    try:
        if not where.layout.flow_modules_dir.is_dir():
            return _GONE
        return _HERE if keep_identity(where.layout, where.local.identity) else _OTHER
    except (WorkspaceError, OSError) as error:
        return f"is not quite there: {error}"


def _remove_unfinished() -> None:
    """Remove what killed workers left half written, where nothing waits for a drive that does not answer."""
    if sum(thread.name == _REMOVING for thread in threading.enumerate()) < 2:
        threading.Thread(target=remove_unfinished, name=_REMOVING, daemon=True).start()


class _Pids:
    """The worker processes of this daemon, kept so that the next one can end what this one leaves behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pids: dict[int, float] = {}

    def recorded(self) -> list[tuple[int, float]]:
        try:
            return [(int(pid), float(created)) for pid, created in json.loads(self._path.read_text()).items()]
        except (OSError, ValueError, AttributeError):
            return []

    def remember(self, pid: int, create_time: float) -> None:
        self._pids[pid] = create_time
        self._write()

    def forget(self, pid: int) -> None:
        self._pids.pop(pid, None)
        with suppress(OSError):  # the disk is full; a pid too many does no harm, its start time is no other's
            self._write()

    def clear(self) -> None:
        self._pids.clear()
        self._write()

    def _write(self) -> None:
        write_text_atomic(self._path, json.dumps(self._pids), durable=False, mode=private.FILE)


class _PrivateLog(logging.handlers.RotatingFileHandler):
    """A log that only this user can read, also the one it begins when the last is full."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=private.open_file)


def _log_to(path: Path) -> None:
    handler = _PrivateLog(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.raiseExceptions = False  # of a full disk nobody needs a traceback for each line that is not written


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


if __name__ == "__main__":
    sys.exit(main())
