"""The control channel answers its own user's clients, keeps their connections, and refuses everybody else."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_engine.daemon import control as endpoint_module
from data_engine.daemon.api import MAX_BODY_BYTES, listen, make_application
from data_engine.daemon.control import (
    DaemonClient,
    DaemonGoneError,
    Endpoint,
    UnknownRouteError,
    read_endpoint,
    read_token,
    write_endpoint,
)
from data_engine.daemon.worker_process import create_time_of
from data_engine.errors import FlowValidationError, GroupBusyError
from data_engine.platforms.processes import new_event_loop
from data_engine.workspace.layout import LocalLayout


class Answers:
    """A daemon of three requests."""

    def __init__(self) -> None:
        self.questions = {"ping": self.ping, "fail": self.fail, "break": self.crash}
        self.commands = {"echo": self.echo}
        self.watchers = 0
        self.number = 0

    async def ping(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"daemon_id": "d1", "given": given}

    async def echo(self, given: dict[str, Any]) -> dict[str, Any]:
        return given

    async def fail(self, given: dict[str, Any]) -> dict[str, Any]:
        raise GroupBusyError("busy", where="group", fix="wait")

    async def crash(self, given: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("x")

    async def next_status(self, after: int) -> tuple[int, dict[str, Any]]:
        if after >= 1:
            await asyncio.Event().wait()
        return after + 1, {"number": after + 1}

    def watcher(self, change: int) -> None:
        self.watchers += change


class Served:
    """A server in a thread of its own."""

    def __init__(self, token: str) -> None:
        self.answers = Answers()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(token,))
        self._thread.start()
        self._ready.wait()

    def _run(self, token: str) -> None:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(self._serve(token))

    async def _serve(self, token: str) -> None:
        server, self.port = listen(make_application(self.answers, token))
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        server.stop()
        await server.close_all_connections()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    server = Served("secret")
    yield server
    server.close()


@pytest.fixture
def local(tmp_path: Path) -> LocalLayout:
    return LocalLayout(tmp_path / "state", "id", "claims")


def endpoint(port: int, **changes: Any) -> Endpoint:
    mine = os.getpid()
    return replace(Endpoint(mine, create_time_of(mine), port, "0.1.0", "d1", "/ws"), **changes)


@pytest.fixture
def client(served: Served, local: LocalLayout) -> Iterator[DaemonClient]:
    write_endpoint(local, endpoint(served.port), "secret")
    found = DaemonClient.connect(local)
    assert found is not None
    yield found
    found.close()


def raw(served: Served, *, headers: dict[str, str] | None = None, path: str = "/v1/ping", method: str = "GET",
        body: bytes | None = None) -> tuple[int, dict[str, Any]]:  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    try:
        connection.request(method, path, body=body, headers={"Authorization": "Bearer secret"} | (headers or {}))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_questions_and_commands_are_answered(client: DaemonClient) -> None:
    assert client.get("/ping", flow="a b&c", limit=None) == {"daemon_id": "d1", "given": {"flow": "a b&c"}}
    assert client.post("/echo", {"x": [1, None, "ü"]}) == {"x": [1, None, "ü"]}


def test_one_connection_serves_many_requests(client: DaemonClient) -> None:
    client.get("/ping")
    (before,) = client._connections
    for _ in range(5):
        client.get("/ping")
    assert client._connections == [before]


def test_errors_arrive_as_what_they_were(client: DaemonClient) -> None:
    with pytest.raises(GroupBusyError) as caught:
        client.get("/fail")
    assert caught.value.as_dict() == {"what": "busy", "where": "group", "fix": "wait"}
    with pytest.raises(FlowValidationError, match="the daemon failed at 'break': KeyError"):
        client.get("/break")
    with pytest.raises(UnknownRouteError, match="there is no request 'nothing'"):
        client.get("/nothing")


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong", "secret", "Basic secret", "Bearer sécret"])
def test_without_the_token_nothing_is_answered(served: Served, given: str) -> None:
    headers = {"Authorization": given.encode("utf-8").decode("latin-1")}
    for method, path in (
        ("GET", "/v1/ping"),
        ("POST", "/v1/echo"),
        ("GET", "/v1/events"),
        ("GET", "/"),
        ("GET", "/v1/no"),
    ):
        status, answer = raw(served, headers=headers, method=method, path=path)
        assert (status, answer["error"]["what"]) == (401, "the token is missing or wrong")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::1]:1"])
def test_another_host_name_is_refused(served: Served, host: str) -> None:
    """A page that lets its own name point to this machine gets nothing."""
    assert raw(served, headers={"Host": host})[0] == 403


@pytest.mark.parametrize("body", [b"{", b"[1]", b"5", b"\xff", b"[" * 100_000])
def test_a_malformed_body_is_refused(served: Served, body: bytes) -> None:
    status, answer = raw(served, method="POST", path="/v1/echo", body=body)
    assert status == 400
    assert answer["error"]["fix"] == "send a JSON object"


def test_a_huge_body_is_refused_and_the_server_lives(served: Served) -> None:
    with pytest.raises((OSError, http.client.HTTPException, AssertionError, ValueError)):
        assert raw(served, method="POST", path="/v1/echo", body=b"x" * (MAX_BODY_BYTES * 5))[0] == 200
    assert raw(served)[0] == 200


def test_a_slow_client_holds_up_nobody(served: Served) -> None:
    """Its body is waited for beside the others' requests."""
    with socket.create_connection(("127.0.0.1", served.port)) as slow:
        slow.sendall(b"POST /v1/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        assert raw(served)[0] == 200


def test_the_stream_tells_each_new_status(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.request("GET", "/v1/events", headers={"Authorization": "Bearer secret"})
    response = connection.getresponse()
    lines = [response.readline().decode().strip() for _ in range(8)]
    assert served.answers.watchers == 1
    response.close()
    connection.close()

    assert [line for line in lines if line] == [
        *("id: 0", "event: status", 'data: {"number": 0}'),
        *("id: 1", "event: status", 'data: {"number": 1}'),
    ]


@pytest.mark.parametrize(("pause", "least_s"), [("0.2", 0.2), ("-1", 0.0), ("nan", 0.0), ("soon", 0.0)])
def test_a_stream_may_ask_for_a_pause_between_statuses(served: Served, pause: str, least_s: float) -> None:
    """What changes meanwhile is told together; a pause that is none is none."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.request("GET", f"/v1/events?pause_s={pause}", headers={"Authorization": "Bearer secret"})
    response = connection.getresponse()
    told_s = []
    while len(told_s) < 2:
        if response.readline().startswith(b"data: "):
            told_s.append(time.monotonic())
    response.close()
    connection.close()

    assert told_s[1] - told_s[0] >= least_s * 0.9


def test_what_is_written_of_an_endpoint_is_read(local: LocalLayout) -> None:
    token = "a token"
    write_endpoint(local, endpoint(1), token)

    assert read_token(local) == token
    assert read_endpoint(local) == endpoint(1)


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX; tests/platforms/test_access.py is the twin")
def test_the_files_are_private(local: LocalLayout) -> None:
    write_endpoint(local, endpoint(1), "a token")

    for path in (local.daemon_endpoint_path, local.daemon_token_path):
        assert path.stat().st_mode & 0o077 == 0
        os.chmod(path, 0o644)
    assert read_token(local) is None
    assert read_endpoint(local) is None


@pytest.mark.parametrize(
    "changes", [{"pid": 2**22 - 3}, {"create_time": 1.0}, {"pid": 1}, {"daemon_id": "another"}], ids=str
)
def test_the_token_is_never_sent_to_another_process(
    served: Served, local: LocalLayout, changes: dict[str, Any]
) -> None:
    """A dead daemon's pid or port may be somebody else's by now."""
    write_endpoint(local, endpoint(served.port, **changes), "secret")
    assert DaemonClient.connect(local) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x"}'])
def test_a_damaged_endpoint_file_means_no_daemon(local: LocalLayout, text: str) -> None:
    write_endpoint(local, endpoint(1), "t")
    local.daemon_endpoint_path.write_text(text)
    assert read_endpoint(local) is None


def test_a_daemon_that_went_away_is_said(local: LocalLayout) -> None:
    server = Served("secret")
    write_endpoint(local, endpoint(server.port), "secret")
    client = DaemonClient.connect(local)
    assert client is not None
    server.close()

    with pytest.raises(DaemonGoneError, match="does not answer"):
        client.get("/ping")
    client.close()
    assert DaemonClient.connect(local) is None
    assert endpoint_module.read_endpoint(local) is not None
