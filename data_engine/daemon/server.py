"""The daemon's control channel: a small HTTP API on loopback, authenticated, that refuses what it does not know."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import weakref
from typing import Any

import tornado.httpserver
import tornado.iostream
import tornado.netutil
import tornado.web

from data_engine.commands.fields import Answer, BadRequestError
from data_engine.daemon.api import DaemonApi
from data_engine.daemon.control import API, MAX_BODY_BYTES
from data_engine.errors import FlowValidationError

IDLE_CONNECTION_S = 3600
SLOW_BODY_S = 10
STREAM_SILENCE_S = 15
STUCK_STREAM_S = 60.0
STRANGER_S = 10.0
MOST_STRANGERS = 256
LONGEST_PAUSE_S = 10.0

log = logging.getLogger(__name__)


def make_application(requests: DaemonApi, token: str) -> tornado.web.Application:
    """The API over `requests`; every call needs the token and a loopback Host."""
    shared = {"requests": requests, "token": token}
    return tornado.web.Application(
        [
            (rf"{API}/events", _Events, shared),
            (rf"{API}/([a-z-]+)", _Call, shared),
            (r".*", _Unknown, shared),
        ],
        log_function=lambda handler: None,
        known=weakref.WeakSet(),
    )


def listen(application: tornado.web.Application) -> tuple[tornado.httpserver.HTTPServer, int]:
    """A server on a free loopback port, and the port."""
    server = _Server(
        application,
        max_body_size=MAX_BODY_BYTES,
        max_buffer_size=2 * MAX_BODY_BYTES,
        idle_connection_timeout=IDLE_CONNECTION_S,
        body_timeout=SLOW_BODY_S,
    )
    server.known, server.strangers = application.settings["known"], {}
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    return server, sockets[0].getsockname()[1]


class _Server(tornado.httpserver.HTTPServer):
    """Lets connections go that do not show the token in time, the oldest at once when there are too many of them.

    Without it, whoever can reach loopback could use up the daemon's file descriptors.
    """

    known: weakref.WeakSet[tornado.iostream.IOStream]
    strangers: dict[tornado.iostream.IOStream, None]

    def handle_stream(self, stream: tornado.iostream.IOStream, address: tuple[Any, ...]) -> None:
        if len(self.strangers) >= MOST_STRANGERS:
            self._let_go(next(iter(self.strangers)))
        self.strangers[stream] = None
        asyncio.get_running_loop().call_later(STRANGER_S, self._let_go, stream)
        super().handle_stream(stream, address)

    def _let_go(self, stream: tornado.iostream.IOStream) -> None:
        self.strangers.pop(stream, None)
        if stream not in self.known:
            stream.close()


class _Authenticated(tornado.web.RequestHandler):
    def initialize(self, requests: DaemonApi, token: str) -> None:
        self.requests = requests
        self._token = token

    def prepare(self) -> None:
        host = self.request.host.rpartition(":")[0] or self.request.host
        given = self.request.headers.get("Authorization", "")
        if host not in ("127.0.0.1", "localhost"):
            self._refuse(403, "this host name is not served", "call 127.0.0.1")
        elif not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            self._refuse(401, "the token is missing or wrong", "send the token of the private file as a bearer token")
        else:
            self.application.settings["known"].add(self.request.connection.stream)  # type: ignore[union-attr]

    def _refuse(self, status: int, what: str, fix: str, kind: str = "FlowValidationError") -> None:
        self._send(status, {"error": {"what": what, "where": self.request.path, "fix": fix}, "kind": kind})

    def _send(self, status: int, value: dict[str, Any]) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(value, allow_nan=False))

    def compute_etag(self) -> None:
        """No answer is asked for a second time."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self._refuse(status_code, f"the request was refused (HTTP {status_code})", "see the API's documentation")


class _Call(_Authenticated):
    async def get(self, name: str) -> None:
        # Not `get_query_argument`: it refuses the names of files that are no UTF-8, and strips others.
        query = {
            key: values[-1].decode("utf-8", "surrogateescape") for key, values in self.request.query_arguments.items()
        }
        await self._answer(self.requests.questions, name, query)

    async def post(self, name: str) -> None:
        try:
            body = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError) as error:
            self._refuse(400, f"the body is not JSON: {error}", "send a JSON object")
            return
        if not isinstance(body, dict):
            self._refuse(400, "the body is not a JSON object", "send a JSON object")
            return
        await self._answer(self.requests.commands, name, body)

    async def _answer(self, known: dict[str, Answer], name: str, given: dict[str, Any]) -> None:
        answer = known.get(name)
        if answer is None:
            self._refuse(404, f"there is no request {name!r}", f"known requests: {', '.join(sorted(known))}")
            return
        try:
            value = await answer(given)
        except FlowValidationError as error:
            self._send(
                400 if isinstance(error, BadRequestError) else 422,
                {"error": error.as_dict(), "kind": type(error).__name__},
            )
        except Exception as error:
            log.exception("request %s failed", name)
            what = f"the daemon failed at {name!r}: {type(error).__name__}: {error}"
            self._send(500, {"error": {"what": what, "where": None, "fix": "see the daemon's log"}, "kind": None})
        else:
            self._send(200, value)


class _Events(_Authenticated):
    """Server-sent events: the whole status first, then each new one; a comment now and then shows who is still there.

    With `pause_s` at most one in so many seconds: what changes meanwhile is told together.
    """

    async def get(self) -> None:
        pause_s = _seconds(self.get_query_argument("pause_s", "0"))
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.requests.watcher(+1)
        number = -1
        try:
            while True:
                try:
                    number, status = await asyncio.wait_for(self.requests.next_status(number), STREAM_SILENCE_S)
                except TimeoutError:
                    self.write(": still here\n\n")
                else:
                    self.write(f"id: {number}\nevent: status\ndata: {json.dumps(status)}\n\n")
                await asyncio.wait_for(self.flush(), STUCK_STREAM_S)
                await asyncio.sleep(pause_s)
        except tornado.iostream.StreamClosedError:
            pass
        except TimeoutError:  # it reads nothing, and counts as a client no longer
            self.request.connection.stream.close()  # type: ignore[union-attr]
        finally:
            self.requests.watcher(-1)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return min(seconds, LONGEST_PAUSE_S) if seconds > 0 else 0.0


class _Unknown(_Authenticated):
    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            self._refuse(404, f"there is no {self.request.path}", f"the API is under {API}/")
