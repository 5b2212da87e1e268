"""A workspace's status as it changes: from the daemon's stream, else from a child process now and then.

The author's code is never imported here: a Jupyter server or a kernel follows a workspace without running any of it.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from data_engine.client import Workspace
from data_engine.daemon.control import API, DaemonClient, Endpoint, read_token, silent_daemon
from data_engine.daemon.environment import import_path
from data_engine.errors import FlowValidationError, LedgerError, error_of
from data_engine.flow.spec import title_text
from data_engine.formatting import both_ends
from data_engine.notebook.catalog import CatalogEntry
from data_engine.notebook.flow_files import module_files
from data_engine.notebook.module_sets import file_facts
from data_engine.platforms.processes import apart
from data_engine.status.build import FlowFacts, WorkspaceFacts, build_status
from data_engine.status.record import WorkspaceStatus
from data_engine.status.troubles import History, Known
from data_engine.view.panel import render
from data_engine.workspace.machine import machine_id, person

View: TypeAlias = dict[str, Any]
"""A panel's view as JSON, as a page receives it."""

Listener: TypeAlias = Callable[[View], None]
Answer: TypeAlias = dict[str, Any]

PAUSE_S = 0.2
LOOK_EVERY_S = 1.0
SILENT_AFTER_S = 40.0
CHILD_TIMEOUT_S = 60.0
STARTS_WITHIN_S = 30.0


class ViewSender:
    """Sends a workspace's view to its listeners, now and whenever it changes, from a thread of its own."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._view: View | None = None
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._facts: tuple[Any, ...] | None = None
        self._status: WorkspaceStatus | None = None
        self._starts_until_s = 0.0
        self._telling = threading.Lock()
        self._history: History | None = None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each view from now on, the last one at once; the returned function ends that."""
        with self._lock:
            self._listeners.append(listener)
            if self._view is not None:
                listener(self._view)
            if self._thread is None:
                self._wake.clear()
                self._thread = threading.Thread(target=self._follow, name="data-engine-feed", daemon=True)
                self._thread.start()
        return lambda: self._leave(listener)

    def look(self) -> None:
        """Look now: somebody has just changed something."""
        self._facts = None
        self._wake.set()

    def while_starts(self, start: Callable[[], Answer]) -> Answer:
        """Call `start`, which starts the engine: the view shows it as starting until the daemon says that it is on."""
        self._starts_until_s = time.monotonic() + STARTS_WITHIN_S
        if self._listeners:
            self._tell(self.known(), keep=False)
        answer = start()
        if "error" in answer:
            self._starts_until_s = 0.0
            if self._listeners:
                self._tell(self.known(), keep=False)
        return answer

    def _leave(self, listener: Listener) -> None:
        with self._lock:
            with suppress(ValueError):
                self._listeners.remove(listener)
            is_last = not self._listeners
        if is_last:
            self._hang_up()

    def _hang_up(self) -> None:
        self._wake.set()
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _is_wanted(self) -> bool:
        """Whether anybody listens; when nobody does, the thread is about to end."""
        with self._lock:
            if not self._listeners:
                self._thread = None
                self._view = None
                self._facts = None
                return False
            return True

    def _follow(self) -> None:
        while self._is_wanted():
            began_s = time.monotonic()
            try:
                client = DaemonClient.connect(self._ws.home.local)
                if client is not None:
                    client.close()
                    self._facts = None
                    try:
                        for status in self._stream(client.endpoint):
                            self._tell(status)
                            if not self._listeners:
                                break
                    finally:
                        began_s = time.monotonic()  # no look took so long: the next one comes soon
                else:
                    self._look_without_daemon()
            except FlowValidationError as error:
                self._tell(self.known(), problem=f"{error.what}. {error.fix or ''}".strip())
            except (OSError, http.client.HTTPException, ValueError):
                pass  # the daemon has just gone: look again
            except Exception as error:  # a daemon of another version, for example: the panel must not just stand still
                self._status = None
                self._tell(self.known(), problem=f"The status cannot be shown: {type(error).__name__}: {error}")
            if self._listeners:
                self._wake.wait(max(LOOK_EVERY_S, 10 * min(time.monotonic() - began_s, 1.0)))
                self._wake.clear()

    def _stream(self, endpoint: Endpoint) -> Iterator[WorkspaceStatus]:
        """Each status that the daemon sends, until it ends."""
        token = read_token(self._ws.home.local)
        connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=SILENT_AFTER_S)
        self._connection = connection
        try:
            connection.request("GET", f"{API}/events?pause_s={PAUSE_S}", headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            if response.status != 200:
                raise OSError(f"HTTP {response.status}")
            while line := response.readline():
                if line.startswith(b"data: "):
                    yield WorkspaceStatus.read(json.loads(line[6:]))
        except TimeoutError:
            if self._status is not None:
                self._tell(self._status, problem="The daemon does not answer; what is shown may be old.")
        finally:
            self._connection = None
            connection.close()

    def _look_without_daemon(self) -> None:
        home = self._ws.home
        ledger = home.ledger()
        facts = (
            file_facts(home.layout.flow_modules_dir),
            ledger.data_version(),
            _mtime(home.layout.settings_path),
            silent_daemon(home.local),
        )
        if facts == self._facts:
            return
        if self._facts is None and self._status is None:
            self._tell(self.known(), keep=False)
        status = WorkspaceStatus.read(from_child(self._ws.root, "status"))
        self._facts = facts
        self._tell(status)

    def known(self) -> WorkspaceStatus:
        """The last status; before the first one the modules by their files, with nothing run."""
        if self._status is not None:
            return self._status
        try:
            names = list(module_files(self._ws.layout.flow_modules_dir))
        except FlowValidationError:
            names = []
        entries = [
            CatalogEntry(name, self._ws.layout.flow_modules_dir / name, title_text(name, "Flow")) for name in names
        ]
        flows = [FlowFacts(entry, is_read=False) for entry in entries]
        facts = WorkspaceFacts(self._ws.workspace_id, str(self._ws.root), flows)
        with suppress(FlowValidationError):
            facts = replace(facts, lease=replace(self._ws.lease(), is_shared=False))
        return build_status(facts)

    def view_of(self, status: WorkspaceStatus, *, problem: str | None = None) -> View:
        """The status as the panel shows it."""
        ledger = self._ws.home.ledger()
        if self._history is None or self._history.ledger is not ledger:
            self._history = History(ledger, "@".join(person()))
        try:
            known = self._history.of(status)
        except LedgerError:  # the history was just closed: the panel shows the status all the same
            self._history, known = None, Known()
        return render(status, problem=problem, machine_id=machine_id(), known=known).as_dict()

    def _tell(self, status: WorkspaceStatus, *, problem: str | None = None, keep: bool = True) -> None:
        with self._telling:  # starting the engine tells listeners, too, beside the thread that follows
            status = while_starting(status, self._status, is_asked=False)
            if status.engine.on:
                self._starts_until_s = 0.0
            is_asked = time.monotonic() < self._starts_until_s
            view = self.view_of(while_starting(status, None, is_asked=is_asked), problem=problem)
            with self._lock:
                if keep:
                    self._status = status
                self._view = view
                listeners = list(self._listeners)
            for listener in listeners:
                listener(view)


def while_starting(status: WorkspaceStatus, last: WorkspaceStatus | None, *, is_asked: bool) -> WorkspaceStatus:
    """The status while a daemon or its engine starts: the flows of the last one, and the engine as starting.

    A daemon that has just begun knows no flow yet. `is_asked` where somebody waits for the engine to be on.

    Example:
        >>> from data_engine.status.record import EngineFacts, FlowStatus
        >>> last = WorkspaceStatus("ws", "/ws", flows=(FlowStatus("claims"),))
        >>> begun = WorkspaceStatus("ws", "/ws", engine=EngineFacts(starting=True))
        >>> [flow.name for flow in while_starting(begun, last, is_asked=False).flows]
        ['claims']
        >>> while_starting(last, None, is_asked=True).engine.starting
        True
    """
    if status.engine.starting and not status.flows and last is not None:
        status = replace(status, flows=last.flows)
    if is_asked and not status.engine.on:
        status = replace(status, engine=replace(status.engine, starting=True))
    return status


def from_child(root: Path, *arguments: str) -> Any:
    """What `data-engine ... --json` prints, run in a child process in the workspace.

    Raises:
        FlowValidationError: as `child_answer`.
    """
    return child_answer(root, "data_engine", "--workspace", str(root), *arguments, "--json")


def child_answer(
    folder: Path, module: str, *arguments: str, request: str | None = None, timeout_s: float | None = None
) -> Any:
    """The JSON that a module prints, run in a child process in the folder; it reads the `request` from standard input.

    Raises:
        FlowValidationError: its own error; or it took too long, or gave no answer.
    """
    limit_s = CHILD_TIMEOUT_S if timeout_s is None else timeout_s
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module, *arguments],
            capture_output=True,
            input=(request or "").encode(),
            timeout=limit_s,
            cwd=folder,
            env=os.environ | import_path(os.environ),
            check=False,
            **apart(),
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise FlowValidationError(
            f"reading the flow modules took longer than {limit_s:g} s",
            where=str(folder),
            fix="`data-engine list` shows which module is slow; move slow work from the module into a step",
        ) from error
    except ValueError as error:
        text = both_ends(done.stderr.decode(errors="replace").strip(), 500)
        raise FlowValidationError(
            f"the flow modules cannot be read: {text or f'the reader ended with exit code {done.returncode}'}",
            where=str(folder),
            fix="`data-engine list` shows the cause",
        ) from error
    if isinstance(answer, dict) and "error" in answer and "name" not in answer:
        raise error_of(answer["error"])
    return answer


def _mtime(path: Path) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None
