"""The process that sends messages to one address, one after the other; nothing else of Data Engine imports Apprise.

Its first message is `{"to": NAME}`, answered when the address can be used; then comes one for each message, answered when it is
sent. An address may lead to several people: each is sent to by itself, and who has it is answered at once, so that nobody
gets it again because another did not. The address is read here, by the name of its secret: it is in no argument, no environment and no answer. What
Apprise says is answered only where a message was not sent, and without the parts of the address.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

from data_engine.alerting.wording import address_fix, has_form
from data_engine.answering_process import ParentProcess
from data_engine.errors import FlowValidationError
from data_engine.flow.report_page import is_page
from data_engine.message import clean
from data_engine.platforms.files import open_to_read
from data_engine.platforms.parent import end_with
from data_engine.secret import SHORTEST, learn, learn_text

MOST_ATTACHED_BYTES = 5 * 1000 * 1000
"""A larger page is not attached: the message says where it is."""

SOCKET_LIMIT_S = 20.0
"""A late server is waited for: whoever gives up too early sends twice."""

NOT_INSTALLED = "Apprise, which sends messages, is not installed"
INSTALL = "pip install 'data-engine[alerts]'"

_LONGEST_REASON = 400
_MOST_REASONS = 3
_SHORTEST_HIDDEN = 3
_PLAIN_WORDS = frozenset(
    "insecure starttls ssl html text markdown yes no true false split upstream truncate get post put localhost".split()
)
_SERVERS = ("smtp",)
"""Parameters that name a server, which may be shown."""


class _AppriseLog(logging.Handler):
    """Apprise's log of the message that is being sent: its warnings, and the exceptions it hides among its details."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING or "Exception" in text:
            self.lines = [*self.lines[-20:], text]


class Address:
    """The address that a secret holds.

    Raises:
        FlowValidationError: there is no such secret, Apprise is not there, or it knows no such address.
    """

    _KINDS: ClassVar[Mapping[str, str]] = {
        "recovered": "success",
        "test": "info",
        "report": "info",
        "digest": "warning",
    }

    def __init__(self, to: str) -> None:
        from data_engine.workspace.secret_store import find_secret

        where = f"the secret {to!r}"
        url, no_address = find_secret(to, where).reveal().strip(), f"{where} holds no address that Apprise knows"
        try:
            import apprise
        except ImportError as error:
            what = NOT_INSTALLED if error.name == "apprise" else f"Apprise cannot be imported: {clean(str(error), 200)}"
            fix = INSTALL
            if not has_form(url):  # told at once, so that nobody installs it to hear of the next
                what, fix = f"{what}, and {no_address}", f"{INSTALL}; then {address_fix(to)}"
            raise FlowValidationError(what, where=where, fix=fix) from None
        self._apprise: Any = apprise
        self._log = _listen()
        values, words = private_parts(url)
        learn(*values)
        learn_text(*words)
        asset = apprise.AppriseAsset(app_id="Data Engine", app_desc="Data Engine", app_url="")
        service = None
        if has_form(url):
            service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if service is None:
            raise FlowValidationError(no_address, where=where, fix=address_fix(to))
        query = url.partition("?")[2]
        if "cto=" not in query:
            service.socket_connect_timeout = SOCKET_LIMIT_S
        if "rto=" not in query:
            service.socket_read_timeout = SOCKET_LIMIT_S
        self._service: Any = service
        targets = getattr(service, "targets", None)
        self._targets: list[Any] = list(targets) if isinstance(targets, list) and len(targets) > 1 else []
        self._sender = apprise.Apprise(asset=asset)
        self._sender.add(service)

    @property
    def service(self) -> str:
        """The kind of service it leads to, such as "E-Mail"."""
        return clean(str(self._service.service_name or "unknown"), 60)

    def send(self, message: Mapping[str, Any], report: Callable[[str], object]) -> str | None:
        """Send the message; None when it was taken, else why not. `report` gets the mark of each of several people who has it."""
        if not self._targets:
            return self._send(message)
        errors = []
        for target in self._targets:
            mark = hashlib.sha256(f"{message['id']} {target!r}".encode()).hexdigest()[:16]
            if mark in message["has_it"]:
                continue
            self._service.targets = [target]
            error = self._send(message)
            if error is None:
                report(mark)
            else:
                errors.append(error)
        return None if not errors else _reason("; ".join(dict.fromkeys(errors)))

    def _send(self, message: Mapping[str, Any]) -> str | None:
        self._log.lines = []
        is_html = self._takes_html()
        headers = getattr(self._service, "headers", None)
        if isinstance(headers, dict):
            headers["X-Data-Engine-Message"] = message["id"]
        kind = self._KINDS.get(message["kind"], "failure")
        form = self._apprise.NotifyFormat
        page = self._page(message.get("attachment"))
        try:
            is_sent = self._sender.notify(
                title=message["subject"],
                body=message["html"] if is_html else message["text"],
                body_format=form.HTML if is_html else form.TEXT,
                notify_type=getattr(self._apprise.NotifyType, kind.upper()),
                attach=page,
            )
        except Exception as error:  # of any library that a service uses
            return _reason(f"{type(error).__name__}: {error}")
        if is_sent:
            return None
        reasons = list(dict.fromkeys(line.strip() for line in self._log.lines))[-_MOST_REASONS:]
        return _reason("; ".join(reasons) or "it was not taken, and Apprise does not say why")

    def _page(self, path: str | None) -> Any:
        """The page of a report as an attachment; None where the service takes none, or the file is no page of ours that fits: its
        path may come from another machine's history, and no other file may leave this one."""
        takes_files = getattr(self._service, "attachment_support", False)
        if path is None or not takes_files or not os.path.isfile(path):
            return None
        try:
            with open_to_read(path) as file:
                data = file.read(MOST_ATTACHED_BYTES + 1)
        except OSError:
            return None
        if len(data) > MOST_ATTACHED_BYTES or not is_page(data.decode("utf-8", "replace")):
            return None
        from apprise.attachment import memory

        make: Any = memory.AttachMemory
        attachment = self._apprise.AppriseAttachment()
        attachment.add(make(content=data, name=Path(path).name, mimetype="text/html"))
        return attachment

    def _takes_html(self) -> bool:
        """Whether HTML is what the service has by default, or what its address asks for."""
        resolve = getattr(self._service, "resolve_format", None)  # of those that have several; Apprise 1 knows one
        form = self._service.notify_format if resolve is None else resolve()
        return str(getattr(form, "value", form)).lower() == "html"


def _reason(text: str) -> str:
    return clean(" ".join(text.split()), _LONGEST_REASON)


def private_parts(url: str) -> tuple[list[str], list[str]]:
    """The private parts of an address: values to hide everywhere, and words that are too short for that.

    Example:
        >>> private_parts("mailto://ann:pass1@example.org?smtp=mail.example.org&to=team-leads@example.org")
        (['ann:pass1', 'team-leads@example.org'], ['ann', 'pass1'])
    """
    parts = sorted(set(_private_parts(url)))
    words = [part for part in parts if _SHORTEST_HIDDEN <= len(part) < SHORTEST]
    return [part for part in parts if len(part) >= SHORTEST], words


def _private_parts(url: str) -> Iterator[str]:
    """The user, the password, tokens and recipients; and the name of the server where no server is meant by it."""
    scheme, _, rest = url.partition("://")
    before, _, query = rest.partition("?")
    login, at, place = before.rpartition("@")
    server, _, path = place.partition("/")
    is_login = bool(at) and "/" not in login  # else it is a name such as @ann at the end of a path
    server_is_meant = is_login or scheme.rstrip("s") in ("json", "xml", "form", "mailto", "apprise", "http")
    values = [] if server_is_meant else [server, *server.split(":")]
    values += [login, *re.split("[:/]", login), *path.split("/")]
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name.lower() not in _SERVERS:
            values += [value, *re.split(r"[,; ]+", unquote(value))]
    for value in values:
        for form in (value, unquote(value)):
            if form.lower() not in _PLAIN_WORDS:
                yield form


def _listen() -> _AppriseLog:
    """Send what Apprise logs to us, and nowhere else."""
    handler, logger = _AppriseLog(), logging.getLogger("apprise")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    return handler


def main(asker: ParentProcess, parent: str) -> None:
    """Answer one message after the other until whoever asks, whose process is `parent`, closes."""
    end_with(int(parent))

    def answer(**fields: Any) -> None:
        asker.send(json.dumps(fields).encode())

    to = json.loads(asker.receive())["to"]
    try:
        address = Address(to)
    except FlowValidationError as error:
        answer(what=error.what, where=error.where, fix=error.fix)
        return
    except Exception as error:
        answer(
            what=clean(f"its address cannot be used: {type(error).__name__}: {error}", 300), where=f"the secret {to!r}"
        )
        return
    answer(service=address.service)
    while True:
        answer(error=address.send(json.loads(asker.receive()), lambda mark: answer(has_it=mark)))
