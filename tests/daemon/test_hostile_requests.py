"""Requests nobody should send, and clients that do not behave: each is refused or let go, and the daemon answers the others."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from data_engine.daemon import api as server_module
from tests.daemon.test_control_channel import Answers, Served, raw

TOKEN = b"Authorization: Bearer secret\r\n"
HOST = b"Host: 127.0.0.1\r\n"


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served("secret")
    yield server
    server.close()


def connection(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=10)


def exchange(served: Served, data: bytes) -> bytes:
    """What comes back for these bytes until the server is done with them; nothing when it cuts the connection."""
    answer = b""
    with connection(served) as channel:
        try:
            channel.sendall(data)
            channel.shutdown(socket.SHUT_WR)
            while piece := channel.recv(65536):
                answer += piece
        except OSError:
            pass
    return answer


def call(method: bytes = b"GET", path: bytes = b"/v1/ping", more: bytes = b"", version: bytes = b"1.1") -> bytes:
    return method + b" " + path + b" HTTP/" + version + b"\r\n" + HOST + TOKEN + more + b"\r\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\xfc" + bytes(range(128, 256)) + b"\r\n\r\n", id="a TLS hello"),
        pytest.param(b"\r\n" * 20_000, id="empty lines"),
        pytest.param(b"GET\r\n\r\n", id="half a request line"),
        pytest.param(b"GET /v1/ping HTTP/1.1\r\n" + TOKEN + b"\r\n", id="no host"),
        pytest.param(call(version=b"9.9"), id="another HTTP version"),
        pytest.param(call(more=b"X: " + b"a" * 200_000 + b"\r\n"), id="a huge header"),
        pytest.param(call(more=b"".join(b"X%d: aaaaaaaa\r\n" % number for number in range(9000))), id="many headers"),
        pytest.param(call(path=b"/v1/" + b"a" * 200_000), id="a huge path"),
        pytest.param(call(b"POST", b"/v1/echo", b"Content-Length: -5\r\n"), id="a negative length"),
        pytest.param(
            call(b"POST", b"/v1/echo", b"Content-Length: 2\r\nContent-Length: 3\r\n") + b"{}", id="two lengths"
        ),
        pytest.param(call(b"POST", b"/v1/echo", b"Content-Length: 99999999999\r\n"), id="a huge length"),
        pytest.param(
            call(b"POST", b"/v1/echo", b"Transfer-Encoding: chunked\r\n") + b"zz\r\n\r\n", id="a chunk of no length"
        ),
        pytest.param(
            call(b"POST", b"/v1/echo", b"Transfer-Encoding: chunked\r\n")
            + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 32
            + b"0\r\n\r\n",
            id="a huge body in chunks",
        ),
    ],
)
def test_what_is_no_request_of_ours_gets_no_answer(served: Served, data: bytes) -> None:
    """At most a bare 400, and the next caller is served."""
    answer = exchange(served, data)

    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 ", b"HTTP/1.1 413 ")) or answer == b""
    assert b"daemon_id" not in answer
    assert raw(served)[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/ping", 404),
        ("GET", "/ping", 404),
        ("GET", "/v1/../v1/ping", 404),
        ("GET", "/v1/echo", 404),
        ("POST", "/v1/ping", 404),
        ("DELETE", "/v1/ping", 405),
        ("OPTIONS", "/v1/ping", 405),
    ],
)
def test_another_version_method_or_name_is_refused_with_its_fix(
    served: Served, method: str, path: str, status: int
) -> None:
    found, answer = raw(served, method=method, path=path)

    assert found == status
    assert answer["error"]["fix"]


def test_who_does_not_show_the_token_in_time_is_let_go(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says nothing, one that drips its headers, one that was refused; not one that has shown it."""
    monkeypatch.setattr(server_module, "STRANGER_S", 0.3)
    with connection(served) as silent, connection(served) as slow, connection(served) as refused:
        known = connection(served)
        slow.sendall(b"GET /v1/ping HTTP/1.1\r\nHost:")
        refused.sendall(b"GET /v1/ping HTTP/1.1\r\n" + HOST + b"\r\n")
        assert b"401" in refused.recv(65536)
        known.sendall(call())
        assert b"200 OK" in known.recv(65536)

        assert [one.recv(100) for one in (silent, slow, refused)] == [b"", b"", b""]
        known.sendall(call())
        assert b"200 OK" in known.recv(65536)
        known.close()


def test_a_body_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SLOW_BODY_S", 0.3)
    served = Served("secret")
    try:
        with connection(served) as slow:
            slow.sendall(call(b"POST", b"/v1/echo", b"Content-Length: 100\r\n") + b"{")
            assert slow.recv(100) == b""
        assert raw(served)[0] == 200
    finally:
        served.close()


def test_two_hundred_connections_are_served(served: Served) -> None:
    """Kept alive, all of them at once."""
    channels = [connection(served) for _ in range(200)]
    for channel in channels:
        channel.sendall(call())
    answers = [channel.recv(65536) for channel in channels]
    for channel in channels:
        channel.sendall(call())
    answers += [channel.recv(65536) for channel in channels]
    for channel in channels:
        channel.close()

    assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers)


def test_strangers_use_up_no_descriptors(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections are opened; who has the token is served meanwhile."""
    monkeypatch.setattr(server_module, "MOST_STRANGERS", 20)
    me = psutil.Process()
    count = me.num_handles if sys.platform == "win32" else me.num_fds
    before = count()
    channels = [connection(served) for _ in range(100)]
    assert raw(served)[0] == 200
    held = count() - before - len(channels)
    for channel in channels:
        channel.close()

    assert held <= 25


class Chatty(Answers):
    """Has a large new status whenever it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.told = 0

    async def next_status(self, after: int) -> tuple[int, dict[str, Any]]:
        await asyncio.sleep(0)
        self.told += 1
        return after + 1, {"text": "x" * 200_000}


def test_streams_nobody_reads_cost_no_memory_and_count_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that takes nothing holds one state and, after a while, nothing."""
    monkeypatch.setattr(server_module, "STUCK_STREAM_S", 1.0)
    monkeypatch.setattr("tests.daemon.test_control_channel.Answers", Chatty)
    served = Served("secret")
    before = psutil.Process().memory_info().rss
    channels = [connection(served) for _ in range(20)]
    try:
        for channel in channels:
            channel.sendall(call(path=b"/v1/events"))
        deadline_s = time.monotonic() + 10
        while served.answers.watchers < 20:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        assert raw(served)[0] == 200
        grown = psutil.Process().memory_info().rss - before
        while served.answers.watchers > 0:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    finally:
        for channel in channels:
            channel.close()
        served.close()

    assert grown < 60_000_000


def test_a_stream_nobody_reads_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.daemon.test_control_channel.Answers", Chatty)
    served = Served("secret")
    with connection(served) as channel:
        channel.sendall(call(path=b"/v1/events"))
        assert channel.recv(1)
        ending = threading.Thread(target=served.close)
        ending.start()
        ending.join(10)

        assert not ending.is_alive()


def test_a_client_that_leaves_in_the_middle_is_forgotten(served: Served) -> None:
    """Before its request is whole, before its answer, and while it listens."""
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else None
    for data in (b"GET /v1/pi", call(), call(path=b"/v1/events"), call(b"POST", b"/v1/echo", b"Content-Length: 9\r\n")):
        channel = connection(served)
        channel.sendall(data)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        channel.close()
    deadline_s = time.monotonic() + 10
    while served.answers.watchers > 0 or (before is not None and len(os.listdir("/proc/self/fd")) > before):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)

    assert raw(served)[0] == 200
