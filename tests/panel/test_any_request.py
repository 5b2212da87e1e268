"""Whatever is sent to a route of the Jupyter server: an answer, or an error with its parts; nothing ever fails inside."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from data_engine import Workspace
from data_engine.docs.site import FIRST
from jupyter_extension import server
from jupyter_extension.actions import all_actions, fields_of
from jupyter_extension.files import reader
from jupyter_extension.panel_server import PanelServer
from tests.arguments import VALUES
from tests.panel import flows
from tests.support import WorkspaceFiles

TOKEN = "a-token-of-the-tests"
ENDING = ("shutdown", "kill")
"""Actions that are not called: they take nothing, and end the daemon that the others ask."""
FEW = {"plan": 0, "deploy": 1}
"""So many values for each argument of those that start a process each time."""
GOOD: dict[str, Any] = {
    "flow": "polled",
    "name": "polled",
    "run_id": "nope",
    "id": "nope",
    "path": "../in/00.csv",
    "do": "nope",
    "run_a": "nope",
    "run_b": "nope",
}
RAW = re.compile(r"failed: \w+:|Traceback|\w+Error\b|unexpected|cannot be shown:")


def is_sent(value: Any) -> bool:
    """Whether JSON can hold a value."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


DEEP: Any = "end"
for _ in range(50):
    DEEP = [DEEP]
SENT = [
    *filter(is_sent, VALUES),
    "x" * 3_000,
    "x" * 200_000,
    "*",
    "--",
    "--json",
    "C:\\CON",
    "\u202egnp.exe",
    "\x1b[2J",
    DEEP,
    [["a", True]],
    [["\ud800", 1]],
    [{"column": "amount", "op": ">=", "value": float("inf")}],
    [{"column": "\ud800", "op": "equals", "value": {}}],
    [{"column": "amount", "op": "in", "value": [10**400, None, "\ud800"]}],
    {"name": "../../etc/passwd", "offset": 10**9},
    {"first": 10**9, "count": 10**9, "columns": ["\0"]},
]


class Panel:
    """The panel's server in this process."""

    def __init__(self, port: int) -> None:
        self._port = port

    def send(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """The status and the text of what is answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request(method, f"/data-engine/{path}", body, {"Authorization": f"token {TOKEN}"})
        answer = connection.getresponse()
        is_stream = answer.getheader("Content-Type", "").startswith("text/event-stream")
        found = answer.status, b"" if is_stream else answer.read()
        connection.close()
        return found

    def trouble(self, method: str, path: str, body: bytes | None = None) -> str | None:
        """What is raw in the answer to a request."""
        status, text = self.send(method, path, body)
        if status not in (200, 400):
            return f"status {status}: {text[:200]!r}"
        try:
            found = json.loads(text)
        except ValueError:
            return f"no JSON: {text[:200]!r}"
        error = found.get("error")
        if error is None:
            return None if status == 200 else f"status {status} without an error"
        if set(error) < {"what", "where", "fix"} or not error["what"] or not error["fix"]:
            return f"without its parts: {error}"
        return f"raw: {error['what'][:300]}" if RAW.search(error["what"]) else None


class _Served(PanelServer):
    def init_signal(self) -> None:
        """The signals are those of the tests."""


MACHINE = ("DATA_ENGINE_STATE_ROOT", "XDG_CONFIG_HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("asked")


@pytest.fixture(scope="module")
def machine(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in MACHINE:
            patch.setenv(name, str(folder / name))
        patch.setenv("JUPYTER_NO_CONFIG", "1")
        yield


@pytest.fixture(autouse=True)
def its_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MACHINE:
        monkeypatch.setenv(name, str(folder / name))


@pytest.fixture(scope="module")
def workspace(folder: Path, machine: None) -> Iterator[Workspace]:
    """A workspace whose daemon runs, and whose settings and state are its own."""
    root = WorkspaceFiles(folder / "team" / "ws").root
    flows.fill(root, good=flows.GOOD, polled=flows.POLLED, broken=flows.BROKEN)
    flows.sources(root, good=2)
    found = Workspace(root)
    found.deploy("good")
    found.deploy("polled")
    found.start()
    yield found
    found.kill()
    reader.close()


@pytest.fixture(scope="module")
def panel(workspace: Workspace) -> Iterator[Panel]:
    """The server, in a thread of this process."""
    loop = asyncio.new_event_loop()
    sockets = bind_sockets(0, "127.0.0.1")

    async def serve() -> None:
        app = _Served(token=TOKEN, root_dir=str(workspace.root.parent), open_browser=False, log_level=50)
        app.initialize([], find_extensions=False, new_httpserver=False)
        HTTPServer(app.web_app).add_sockets(sockets)

    thread = threading.Thread(target=loop.run_forever, name="panel", daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(serve(), loop).result(60)
    yield Panel(sockets[0].getsockname()[1])
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def arguments_of(action: str) -> Iterator[dict[str, Any]]:
    """Wrong arguments of an action: some values for each of them with the others as they should be, then all wrong at once, and others."""
    chance, fields = random.Random(action), fields_of(action) or {}
    good = {name: GOOD[name] for name in fields if name in GOOD}
    for name in fields:
        for value in chance.sample(SENT, FEW.get(action, 6)):
            yield {**good, name: value}
    for _ in range(3):
        yield {name: chance.choice(SENT) for name in fields}
    yield {**good, "no such field": 1}
    yield {}


@pytest.mark.parametrize("action", sorted(set(all_actions()) - set(ENDING)))
def test_no_action_fails_inside(panel: Panel, workspace: Workspace, action: str) -> None:
    raw = {}
    for args in arguments_of(action):
        body = json.dumps({"root": str(workspace.root), "action": action, "args": args}).encode()
        if (found := panel.trouble("POST", "do", body)) is not None:
            raw.setdefault(found, f"{action}({json.dumps(args):.300}): {found}")

    assert not raw, "\n".join(raw.values())


NO_OBJECTS = [
    b"",
    b"{",
    b"[]",
    b"5",
    b"null",
    b'"x"',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"root": 1e999}',
    b"{}" * 2,
    b'{"a": ' + b"1" * 5_000 + b"}",
]


@pytest.mark.parametrize(
    ("route", "fields"),
    [("hello", ("root", "path")), ("match", ("root", "identity", "machine_id")), ("do", ("root", "action", "args"))],
)
def test_no_body_of_a_request_fails_inside(panel: Panel, route: str, fields: tuple[str, ...]) -> None:
    """Whatever its fields hold, and where it is no JSON at all."""
    good = {"action": "settings"} if route == "do" else {}
    bodies = [*NO_OBJECTS, *(json.dumps({**good, name: value}).encode() for name in fields for value in SENT[::2])]

    raw = {body[:80]: found for body in bodies if (found := panel.trouble("POST", route, body)) is not None}

    assert not raw


NAMES = [
    "%00",
    "%ff",
    "%ED%A0%80",
    "%0d%0aX:y",
    "..%2f..%2fetc%2fpasswd",
    "x" * 3_000,
    "x/" * 3_000,
    "%2e%2e",
    "*",
    "CON",
    "%F0%9F%92%A9",
]


def test_no_address_fails_inside(panel: Panel, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the stream, the scripts, the page and the documentation."""
    site = folder / "site"
    site.mkdir()
    (site / FIRST).write_text("made")
    monkeypatch.setattr(server.site, "site_folder", lambda: site)
    raw: dict[str, Any] = {}
    for name in NAMES:
        if (found := panel.trouble("GET", f"events?root={name}")) is not None:
            raw[f"events {name[:40]}"] = found
        for path in (f"static/{name}", f"docs/{name}", f"panel?{name}={name}"):
            status, text = panel.send("GET", path)
            if (
                status not in ((302, 400, 404) if path.startswith("static") else (200, 403, 404))
                or b"Traceback" in text
            ):
                raw[path[:40]] = status, text[-200:]

    assert not raw
