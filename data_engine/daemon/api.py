"""The daemon's HTTP API on loopback: authenticates and checks each request, hands it to the engine, and answers in JSON."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import time
import weakref
from functools import partial
from typing import Any

import tornado.httpserver
import tornado.iostream
import tornado.netutil
import tornado.web

from data_engine.commands.fields import (
    ANY_TEXT,
    COUNT,
    FLAG,
    PATH,
    SECONDS,
    TEXT,
    TEXTS,
    Answer,
    BadRequestError,
    asked,
    checked,
    of_json,
)
from data_engine.commands.registry import COMMANDS, request_of
from data_engine.daemon.backfiller import newest_backfills
from data_engine.daemon.control import API, MAX_BODY_BYTES
from data_engine.daemon.daemon import Daemon
from data_engine.daemon.live import LiveFacts
from data_engine.daemon.owner import DaemonOwner
from data_engine.errors import FlowValidationError
from data_engine.status.build import StatusWriter, build_status
from data_engine.status.explain import explain
from data_engine.status.record import DaemonFacts
from data_engine.status.source_files import FileLists

LONGEST_WAIT_S = 30.0


FILES = {"flow": TEXT, "search": ANY_TEXT.or_else(""), "group": ANY_TEXT.or_else(""), "limit": COUNT.or_else(300)}


class DaemonApi:
    """The requests of one daemon; `shut_down(kill)` ends its process."""

    def __init__(self, daemon: Daemon, *, daemon_id: str, version: str, shut_down: Any) -> None:
        self.daemon = daemon
        self.last_request_s = time.monotonic()
        self.watchers = 0
        self._daemon_id, self._version = daemon_id, version
        self._shut_down = shut_down
        self._source = LiveFacts(daemon, self._facts)
        self._files = FileLists(self._source)
        self._writer = StatusWriter()
        self._is_ending = False
        self.owner = DaemonOwner(daemon, lambda: build_status(self._source.facts()), self._is_leaving, self._end)
        daemon.handle_request = self.owner.handle
        self.questions: dict[str, Answer] = {
            "ping": asked(self.ping, "ping"),
            "status": asked(self.status, "status"),
            "runs": asked(self.runs, "runs", flow=TEXT.optional, limit=COUNT.or_else(100)),
            "explain": asked(self.explain, "explain", subject=PATH, file=PATH.optional),
            "files": asked(self.files, "files", **FILES),
            "flow": asked(self.flow, "flow", name=TEXT),
            "backfills": asked(self.backfills, "backfills", flow=TEXT.optional, id=TEXT.optional),
        }
        self.commands: dict[str, Answer] = {
            "wait": asked(self.wait, "wait", run_ids=TEXTS, timeout_s=SECONDS.or_else(LONGEST_WAIT_S)),
            "answer": asked(self.answer, "answer", request_id=TEXT, timeout_s=SECONDS.or_else(LONGEST_WAIT_S)),
        } | {route: partial(self._command, route) for route in COMMANDS}

    # -- questions -------------------------------------------------------------------------------------------------

    async def ping(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The daemon's facts."""
        return self._facts().as_dict() | {"workspace_root": str(self.daemon.home.layout.root)}

    async def status(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The whole state: daemon, engine, flows and active runs."""
        return self._status()

    async def runs(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The newest runs, of one `flow` when given."""
        return {"runs": [run.as_dict() for run in self.daemon.ledger.runs(fields["flow"], fields["limit"])]}

    async def flow(self, fields: dict[str, Any]) -> dict[str, Any]:
        """One flow as it is deployed: its module, steps, source and mirror."""
        await self.daemon.ready.wait()
        name = fields["name"]
        return (await self.owner.named(name)).entry.as_dict()

    async def explain(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Why a flow, or each flow that could take a file, does or does not run."""
        await self.daemon.ready.wait()
        subject = fields["subject"]
        if os.sep not in subject:
            await self.owner.notice(subject)
        file = fields["file"] or subject
        rows = await asyncio.to_thread(explain, self._source, self._source.facts(), subject, file)
        return {"reasons": [row.as_dict() for row in rows]}

    async def files(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The files of a flow's source: how many of which kind, and those a search finds."""
        await self.daemon.ready.wait()
        await self.owner.notice(fields["flow"])
        facts = self._source.facts()
        page = await asyncio.to_thread(self._files.page, facts, fields.pop("flow"), **fields)
        return page.as_dict()

    async def backfills(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The newest backfills, of one `flow` when given; or the one with this `id`, with its runs."""
        rows = newest_backfills(self.daemon.ledger, self.daemon.backfiller.under_way(), fields["flow"], fields["id"])
        return {"backfills": [row.as_dict() for row in rows]}

    async def wait(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The `run_ids` that have not ended, at the latest after `timeout_s` (30 s at most); `why` none of them runs."""
        run_ids = fields["run_ids"]
        until_s, dispatcher = time.monotonic() + min(fields["timeout_s"], LONGEST_WAIT_S), self.daemon.dispatcher
        while True:
            to_come = dispatcher.to_come()
            pending = [run_id for run_id in run_ids if run_id in to_come]
            left_s = until_s - time.monotonic()
            if not pending or left_s <= 0:
                why = dispatcher.why_none_began(pending)
                return {"pending": pending, "why": None if why is None else {"text": why.text} | why.as_dict()}
            await self.daemon.wait_for_change(left_s)

    async def answer(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request that was left with another workstation, at the latest after `timeout_s` (30 s at most)."""
        return await self.daemon.sender.answer(fields["request_id"], min(fields["timeout_s"], LONGEST_WAIT_S))

    # -- commands --------------------------------------------------------------------------------------------------

    async def _command(self, route: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Carry a command out; or leave a request for it where another workstation owns the workspace: its id, and the owner."""
        kind = COMMANDS[route]
        command = of_json(kind, fields, kind.name)
        waits = checked(fields, {"wait": FLAG.or_else(True)}, kind.name)["wait"]
        if not kind.is_urgent:
            await self.daemon.ready.wait()
        self.owner.refuse(command)
        owner = self.daemon.ownership.asks
        if owner is None or kind.asks is None or command.is_question:
            answer: dict[str, Any] = (await command.carry_out(self.owner)).as_dict()
            return answer
        command = await command.before_asking(self.owner)
        verb, arguments = request_of(command)
        sent = await self.daemon.sender.send(verb, getattr(command, "flow", None), arguments, waits=waits)
        return {"request_id": sent.request.request_id, "owner": owner}

    # -- the stream ------------------------------------------------------------------------------------------------

    async def next_status(self, after: int) -> tuple[int, dict[str, Any]]:
        """The status once its number is past `after`."""
        while self.daemon.number <= after:
            await self.daemon.wait_for_change(LONGEST_WAIT_S)
        return self.daemon.number, self._status()

    def watcher(self, change: int) -> None:
        """Count one more or one less client that listens."""
        self.watchers += change
        self.last_request_s = time.monotonic()

    # -- parts -----------------------------------------------------------------------------------------------------

    def _end(self, kill: bool) -> None:
        self._is_ending = True
        self._shut_down(kill)

    def _is_leaving(self) -> bool:
        return self._is_ending or self.daemon.is_stopping

    def _status(self) -> dict[str, Any]:
        return self._writer.write(self._source.facts())

    def _facts(self) -> DaemonFacts:
        daemon = self.daemon
        return DaemonFacts(
            running=True,
            pid=os.getpid(),
            version=self._version,
            daemon_id=self._daemon_id,
            interpreter=daemon.workers.pool.interpreter,
            idle=daemon.is_idle,
            ending=self._is_leaving(),
            cluster=daemon.workers.cluster_facts(),
        )


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
        header = self.request.headers.get("Authorization", "")
        if host not in ("127.0.0.1", "localhost"):
            self._refuse(403, "this host name is not served", "call 127.0.0.1")
        elif not hmac.compare_digest(header.encode(), f"Bearer {self._token}".encode()):
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

    async def _answer(self, answers: dict[str, Answer], name: str, fields: dict[str, Any]) -> None:
        answer = answers.get(name)
        if answer is None:
            self._refuse(404, f"there is no request {name!r}", f"known requests: {', '.join(sorted(answers))}")
            return
        if name != "ping":  # which does not count as a client
            self.requests.last_request_s = time.monotonic()
        try:
            value = await answer(fields)
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

    With `pause_s` at most one in so many seconds: what changes meanwhile is sent together.
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
