"""The caller's side of the control channel: what a daemon leaves on this machine, and one kept-alive HTTP connection to it.

It leaves which process listens where, whether its engine is on, and whether it was stopped on purpose. The token is sent only to the
process that wrote the endpoint file, after its pid, start time and owner were checked.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import data_engine.errors
from data_engine import private
from data_engine.errors import FlowExecutionError, FlowValidationError, WorkspaceError, error_of
from data_engine.files import trouble_of, write_text_atomic
from data_engine.formatting import cli_line
from data_engine.ledger.ledger import Ledger
from data_engine.platforms.access import is_private
from data_engine.platforms.processes import create_time_of, is_this_users, is_zombie
from data_engine.record import frozen
from data_engine.workspace.layout import LocalLayout

if TYPE_CHECKING:
    import http.client
    import socket

API = "/v1"
_PING = "/ping"
MAX_BODY_BYTES = 1_000_000
_MOST_PATH_BYTES = 60_000
PING_S = 5.0
TOLD_AFTER_S = 3.0
"""After so long a person who waits hears that a daemon does not answer."""
GIVEN_UP_AFTER_S = 20.0
"""A daemon that answers no ping for so long is silent, whatever it was asked."""
_HEARS_S = 2.0
"""For a question in between, of a daemon that may just be long about another one."""
LONG_S = 60.0
"""For what a daemon may take long to answer: a request may have to be published before, on a share that is slow."""


_LEAST_S = 0.1
_AGAIN_S, _STAYS_SILENT_S = 0.5, 10.0
"""A daemon that has kept somebody waiting in vain is given only so long to answer the next ping of this process, for so long."""
_silent_until_s: dict[str, float] = {}
_told_silent: set[str] = set()
"""The silent daemons that a person has heard of, until they answer again."""

_ENGINE = "engine_is_on"
_BACKFILL = "backfill"
_TAKES_S = 0.5


class DaemonGoneError(WorkspaceError):
    """The daemon does not answer (any more)."""


class UnknownRouteError(FlowValidationError):
    """The daemon is of another revision and has no such request."""


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
        record = json.loads(text)
        return Endpoint(
            int(record["pid"]),
            float(record["create_time"]),
            int(record["port"]),
            str(record["version"]),
            str(record["daemon_id"]),
            str(record["workspace_root"]),
        )
    except (ValueError, TypeError, KeyError):
        return None


def silent_daemon(local: LocalLayout) -> Endpoint | None:
    """The daemon that runs and did not answer (it is frozen, or its machine swaps); None where it is gone, or listens no more."""
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
    """Record that a person ends the daemon: until the next logon no service starts it again by itself."""
    from data_engine.platforms.service import session_id

    with suppress(OSError):  # a full disk keeps nobody from ending a daemon
        private.make_folder(local.runtime_dir)
        write_text_atomic(local.daemon_stopped_path, session_id(), durable=False, mode=private.FILE)


def forget_stop(local: LocalLayout) -> None:
    """Forget that a person has ended the daemon: one starts it."""
    with suppress(OSError):
        local.daemon_stopped_path.unlink(missing_ok=True)


def was_stopped(local: LocalLayout) -> bool:
    """Whether a person has ended the daemon in this logon session and not started it since."""
    from data_engine.platforms.service import session_id

    stopped_in = _read_private(local.daemon_stopped_path)
    return stopped_in is not None and stopped_in == session_id()


def tell_silent(endpoint: Endpoint) -> None:
    """Say once, to the person who waits, that the daemon does not answer, and what ends the wait.

    Requests of other threads are a panel's or a screen's, which show it in their own place.
    """
    if endpoint.daemon_id in _told_silent or threading.current_thread() is not threading.main_thread():
        return
    from data_engine.reasons.kinds import DaemonSilent

    _told_silent.add(endpoint.daemon_id)
    ways = f"Ctrl-C ends only this wait, `{cli_line('kill')}` ends the daemon"
    print(f"waiting: {DaemonSilent(endpoint.pid).text}; {ways}", file=sys.stderr)


class DaemonClient:
    """Requests to one daemon; may be used from several threads. `is_ending` is whether it was, when the client connected.

    A client that `tells` says on standard error when a person has to wait for a daemon that does not answer.

    Raises:
        DaemonGoneError: from every request, when the daemon is gone.
        FlowValidationError: the daemon refused the request; the error is the daemon's own, with its fix.
    """

    def __init__(self, endpoint: Endpoint, token: str, *, tells: bool = False) -> None:
        self.endpoint = endpoint
        self._tells = tells
        self.is_ending = False
        self._token = token
        self._lock = threading.Lock()
        self._connections: list[http.client.HTTPConnection] = []
        self._is_closed = False

    @classmethod
    def connect(cls, local: LocalLayout, *, tells: bool = False, timeout_s: float | None = None) -> DaemonClient | None:
        """A client of the workspace's daemon when one runs and answers within `timeout_s`, else None."""
        endpoint = read_endpoint(local)
        token = read_token(local)
        if endpoint is None or token is None or not endpoint.is_alive():
            return None
        client = cls(endpoint, token, tells=tells)
        is_silent = time.monotonic() < _silent_until_s.get(endpoint.daemon_id, 0.0)
        patience_s = PING_S if timeout_s is None else timeout_s
        try:
            answer = client.get(_PING, min(patience_s, _AGAIN_S) if is_silent else patience_s)
            if answer.get("daemon_id") == endpoint.daemon_id:
                _silent_until_s.pop(endpoint.daemon_id, None)
                client.is_ending = answer.get("ending") is True
                return client
        except FlowValidationError:
            pass  # gone, or somebody else who does not know this token
        client.close()
        return None

    def get(self, path: str, timeout_s: float = 5.0, **query: Any) -> dict[str, Any]:
        """The daemon's answer to a question."""
        fields = {key: value for key, value in query.items() if value is not None}
        text = urlencode(fields, errors="surrogateescape")  # the name of a file may be no UTF-8
        return self._request("GET", f"{path}?{text}" if fields else path, None, timeout_s)

    def post(self, path: str, body: dict[str, Any] | None = None, *, timeout_s: float = LONG_S) -> dict[str, Any]:
        """The daemon's answer to a request."""
        return self._request("POST", path, body or {}, timeout_s)

    def answers(self) -> bool:
        """Whether the daemon answers now, and is not about to end."""
        try:
            return self.get(_PING, PING_S).get("ending") is not True
        except DaemonGoneError:
            return False

    def close(self) -> None:
        """Let the connections go."""
        with self._lock:
            self._is_closed = True
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()

    def _request(self, method: str, path: str, body: dict[str, Any] | None, timeout_s: float) -> dict[str, Any]:
        import http.client

        payload = None if body is None else json.dumps(body).encode()
        size, most = (len(path), _MOST_PATH_BYTES) if payload is None else (len(payload), MAX_BODY_BYTES)
        if size > most:
            raise FlowValidationError(
                f"the request has {size:,} bytes, and a daemon takes at most {most:,}",
                where=path.partition("?")[0].strip("/"),
                fix="put large values into a file, and give its path",
            )
        with self._lock:  # whoever waits long for an answer keeps its own connection, and nobody else
            connection = self._connections.pop() if self._connections else None
        try:
            try:
                status, data = self._exchange(
                    connection or self._connected(timeout_s), method, path, payload, timeout_s
                )
            except (OSError, http.client.HTTPException) as error:
                if connection is None or method != "GET" or (isinstance(error, TimeoutError) and not self._hears()):
                    raise
                # A kept connection may have been closed in between, or the daemon be long about it; a question may be asked twice.
                status, data = self._exchange(self._connected(timeout_s), method, path, payload, timeout_s)
            answer = json.loads(data)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, TimeoutError) and timeout_s >= PING_S:
                _silent_until_s[self.endpoint.daemon_id] = time.monotonic() + _STAYS_SILENT_S
            raise self._gone(error) from error
        if status == 404:
            raise UnknownRouteError(
                _as_error(answer).what, where=path.strip("/"), fix=f"`{cli_line('start')}` starts this one"
            )
        if status != 200:
            raise _as_error(answer)
        return answer if isinstance(answer, dict) else {}

    def _connected(self, timeout_s: float) -> http.client.HTTPConnection:
        import http.client
        import socket

        connection = http.client.HTTPConnection("127.0.0.1", self.endpoint.port, timeout=timeout_s)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, payload: bytes | None, timeout_s: float
    ) -> tuple[int, bytes]:
        """The daemon's answer; the connection is kept for the next request, or closed."""
        is_kept = False
        try:
            connection.sock.settimeout(timeout_s)
            connection.request(
                method,
                f"{API}{path}",
                body=payload,
                headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            )
            self._wait_for_answer(connection.sock, path, timeout_s)
            response = connection.getresponse()
            data = response.read()
            with self._lock:
                is_kept = not (response.will_close or self._is_closed)
                if is_kept:
                    self._connections.append(connection)
            return response.status, data
        finally:
            if not is_kept:
                connection.close()

    def _wait_for_answer(self, sock: socket.socket, path: str, timeout_s: float) -> None:
        """Return when the answer begins, or when it may soon be too late for it; who waits hears that a daemon is silent.

        Raises:
            TimeoutError: it has been silent for too long.
        """
        import socket

        heard_s = time.monotonic()
        until_s = heard_s + timeout_s
        while (left_s := until_s - time.monotonic()) > TOLD_AFTER_S:
            sock.settimeout(TOLD_AFTER_S)
            try:
                sock.recv(1, socket.MSG_PEEK)
                _told_silent.discard(self.endpoint.daemon_id)
                break
            except TimeoutError:
                if path != _PING and self._hears():
                    heard_s = time.monotonic()
                    continue
                if self._tells:
                    tell_silent(self.endpoint)
                if time.monotonic() - heard_s > GIVEN_UP_AFTER_S:
                    raise
        sock.settimeout(max(left_s, _LEAST_S))

    def _hears(self) -> bool:
        """Whether the daemon answers another question meanwhile."""
        other = DaemonClient(self.endpoint, self._token)
        try:
            other.get(_PING, _HEARS_S)
        except DaemonGoneError:
            return False
        finally:
            other.close()
        return True

    def _gone(self, error: Exception) -> DaemonGoneError:
        return DaemonGoneError(
            f"the daemon (pid {self.endpoint.pid}) does not answer: {type(error).__name__}: {error}",
            where=f"127.0.0.1:{self.endpoint.port}",
            fix="start it again with `data-engine start`; its log is in `data-engine doctor`",
        )


def _as_error(answer: Any) -> FlowValidationError:
    """The error a daemon sent, as the class it was there."""
    reply = answer if isinstance(answer, dict) else {}
    parts = reply.get("error", {})
    kind = getattr(data_engine.errors, str(reply.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, FlowValidationError)) or issubclass(kind, FlowExecutionError):
        kind = FlowValidationError  # those of a run need more than what, where and fix
    return error_of({"what": "the daemon refused the request"} | parts, kind)
