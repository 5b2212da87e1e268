"""The caller's side of the control channel: one kept-alive HTTP connection to this machine's daemon.

The token is sent only to the process that wrote the endpoint file, after its pid, start time and owner were checked.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from typing import Any
from urllib.parse import urlencode

import data_engine.errors
from data_engine.daemon.endpoint import Endpoint, read_endpoint, read_token
from data_engine.errors import FlowExecutionError, FlowValidationError, WorkspaceError
from data_engine.workspace.layout import LocalLayout

API = "/v1"


class DaemonGoneError(WorkspaceError):
    """The daemon does not answer (any more)."""


class DaemonClient:
    """Requests to one daemon; may be used from several threads.

    Raises:
        DaemonGoneError: from every request, when the daemon is gone.
        FlowValidationError: the daemon refused the request; the error is the daemon's own, with its mend.
    """

    def __init__(self, endpoint: Endpoint, token: str) -> None:
        self.endpoint = endpoint
        self._token = token
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None

    @classmethod
    def connect(cls, local: LocalLayout) -> DaemonClient | None:
        """A client of the workspace's daemon when one runs, else None."""
        endpoint = read_endpoint(local)
        token = read_token(local)
        if endpoint is None or token is None or not endpoint.is_alive():
            return None
        client = cls(endpoint, token)
        try:
            if client.get("/ping").get("daemon_id") == endpoint.daemon_id:
                return client
        except FlowValidationError:
            pass  # gone, or somebody else who does not know this token
        client.close()
        return None

    def get(self, path: str, timeout_s: float = 5.0, **query: Any) -> dict[str, Any]:
        """The daemon's answer to a question."""
        given = {key: value for key, value in query.items() if value is not None}
        return self._request("GET", f"{path}?{urlencode(given)}" if given else path, None, timeout_s)

    def post(self, path: str, body: dict[str, Any] | None = None, *, timeout_s: float = 5.0) -> dict[str, Any]:
        """The daemon's answer to a request."""
        return self._request("POST", path, body or {}, timeout_s)

    def close(self) -> None:
        """Let the connection go."""
        with self._lock:
            self._drop()

    def _request(self, method: str, path: str, body: dict[str, Any] | None, timeout_s: float) -> dict[str, Any]:
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        with self._lock:
            was_kept = self._connection is not None
            try:
                status, data = self._exchange(method, path, payload, headers, timeout_s)
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                if not was_kept or method != "GET":
                    raise self._gone(error) from error
                try:  # a kept connection may have been closed in between; a question may be asked twice
                    status, data = self._exchange(method, path, payload, headers, timeout_s)
                except (OSError, http.client.HTTPException) as again:
                    self._drop()
                    raise self._gone(again) from again
        try:
            answer = json.loads(data)
        except ValueError as error:
            raise self._gone(error) from error
        if status != 200:
            raise _as_error(answer)
        return answer if isinstance(answer, dict) else {}

    def _exchange(
        self, method: str, path: str, payload: bytes | None, headers: dict[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.endpoint.port, timeout=timeout_s)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sock.settimeout(timeout_s)
        self._connection.request(method, f"{API}{path}", body=payload, headers=headers)
        response = self._connection.getresponse()
        data = response.read()
        if response.will_close:
            self._drop()
        return response.status, data

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _gone(self, error: Exception) -> DaemonGoneError:
        return DaemonGoneError(
            f"the daemon (pid {self.endpoint.pid}) does not answer: {type(error).__name__}: {error}",
            where=f"127.0.0.1:{self.endpoint.port}",
            mend="start it again with `data-engine start`; its log is in `data-engine doctor`",
        )


def _as_error(answer: Any) -> FlowValidationError:
    """The error a daemon sent, as the class it was there."""
    found = answer if isinstance(answer, dict) else {}
    parts = found.get("error", {})
    kind = getattr(data_engine.errors, str(found.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, FlowValidationError)) or issubclass(kind, FlowExecutionError):
        kind = FlowValidationError  # those of a run need more than what, where and mend
    error: FlowValidationError = kind(
        str(parts.get("what", "the daemon refused the request")), where=parts.get("where"), mend=parts.get("mend")
    )
    return error
