"""Servers on loopback that take messages: a mail server and a webhook that answers as a test says."""

from __future__ import annotations

import email
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

PASSWORD = "c4nary-b1rd-9f2e"
"""Of the mail server, and the token of the webhook: nowhere else may it be found."""


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Mailbox:
    """What the mail server took; it refuses everything with `refusal`, such as "554 no"."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refusal: str | None = None
        self.refuses: set[str] = set()
        self.port = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refuses:
            return "550 nobody here is called so"
        envelope.rcpt_tos.append(address)
        return "250 known"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if not session.authenticated:
            return "530 log in first"
        if self.refusal is not None:
            return self.refusal
        self.mails.append(email.message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]
        return "250 taken"

    def url(self, *, to: str = "team@example.org", password: str = PASSWORD) -> str:
        """Its Apprise address."""
        return f"mailto://reports:{password}@localhost:{self.port}?smtp=127.0.0.1&mode=insecure&to={to}"

    def part(self, number: int, kind: str) -> str:
        """The plain or the html part of a mail that came."""
        body = self.mails[number].get_body((kind,))
        assert body is not None
        return str(body.get_content())


def _login(server: Any, session: Any, envelope: Any, mechanism: str, given: object) -> AuthResult:
    is_right = isinstance(given, LoginPassword) and given.password == PASSWORD.encode()
    return AuthResult(success=is_right, handled=False)


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    """A mail server that wants a login."""
    mailbox = Mailbox()
    mailbox.port = free_port()
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=mailbox.port,
        authenticator=_login,
        auth_require_tls=False,
    )
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


class Webhook:
    """What was posted. `status` is its answer; while `holds` is set it does not answer."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.delay_s = 0.0
        self.answer_now = threading.Event()
        self.answer_now.set()
        self.port = 0

    def url(self) -> str:
        """Its Apprise address."""
        return f"json://127.0.0.1:{self.port}/{PASSWORD}"

    def ids(self) -> list[str]:
        """The ids of the messages, as they came."""
        return [headers["X-Data-Engine-Message"] for headers in self.headers]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A server that takes JSON."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"]))
            hook.headers.append(dict(self.headers))
            hook.posts.append(json.loads(text))
            hook.answer_now.wait(60)
            threading.Event().wait(hook.delay_s)
            try:
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:  # nobody waits any more
                pass

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook.answer_now.set()
        server.shutdown()
        server.server_close()


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that takes connections and never says a word; its port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield int(listening.getsockname()[1])
