"""The Jupyter server's side: who may ask, what is answered, and what never leaves it."""

from __future__ import annotations

import gzip
import http.client
import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from data_engine.formatting import cli_line
from jupyter_extension.server import message_of
from tests.panel import flows
from tests.panel.lab import Lab


@pytest.fixture(scope="module")
def workspace(lab: Lab) -> Path:
    workspace = lab.workspace("asked")
    flows.fill(workspace, good=flows.GOOD, broken=flows.BROKEN)
    return workspace


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/data-engine/hello", {}),
        ("/data-engine/match", {}),
        ("/data-engine/do", {"root": None, "action": "workspaces"}),
        ("/data-engine/events?root=x", None),
        ("/data-engine/static/panel.js", None),
        ("/data-engine/static/panel.css", None),
        ("/data-engine/static/panel_page.js", None),
    ],
)
@pytest.mark.parametrize("token", ["", "wrong"])
def test_nobody_is_answered_without_the_servers_token(
    lab: Lab, path: str, body: dict[str, Any] | None, token: str
) -> None:
    """Every handler refuses, whatever it serves."""
    status, answer = lab.request(path, body, token=token)

    assert status == 403
    assert b"Panel" not in answer


def test_a_page_of_another_site_is_refused(lab: Lab, workspace: Path) -> None:
    """A cookie alone does not do: a form of another site lacks the XSRF header."""
    where = urlsplit(lab.base)
    assert where.hostname
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    connection.request("GET", f"/lab?token={lab.token}")
    login = connection.getresponse()
    login.read()
    cookies = "; ".join(value.split(";")[0] for name, value in login.getheaders() if name.lower() == "set-cookie")
    body = json.dumps({"root": str(workspace), "action": "start"})
    headers = {"Cookie": cookies, "Content-Type": "application/json"}

    connection.request("POST", "/data-engine/do", body, headers)
    without = connection.getresponse()
    without.read()
    connection.request("POST", "/data-engine/do", body, headers | {"Origin": "http://elsewhere.example"})
    elsewhere = connection.getresponse()
    elsewhere.read()
    connection.close()

    assert "username" in cookies
    assert (without.status, elsewhere.status) == (403, 404)


def test_a_mistake_is_an_answer_with_its_fix(lab: Lab, workspace: Path) -> None:
    """The page shows it; the browser's console stays quiet."""
    unknown = lab.do(workspace, "dance")["error"]
    nowhere = lab.do(Path("/nowhere"), "settings")["error"]
    flow = lab.do(workspace, "enable", flow="no_such")["error"]

    assert unknown["what"] == "the panel knows no action 'dance'"
    assert "does not exist" in nowhere["what"]
    assert "no_such" in flow["what"]
    assert all(error["fix"] for error in (unknown, nowhere, flow))


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b'{"root": 3, "action": "run"}',
        b'{"action": "run", "args": 3}',
        b'{"action": 3}',
        b'{"action": "run", "args": {"flow": 3}}',
        b'{"action": "run", "args": {"flow": "good", "params": [1]}}',
        b'{"action": "retry", "args": {"source": {}}}',
        b'{"action": "release_control", "args": {"now": "yes"}}',
        b'{"action": "flow", "args": {"flow": "good", "limit": "all"}}',
        b'{"action": "reset", "args": {"flow": ["good"]}}',
        b'{"action": "inspect", "args": {"path": "a.csv", "sort": [1]}}',
        b'{"action": "inspect", "args": {"path": "a.csv", "filters": "x"}}',
        b'{"action": "save_settings", "args": {"collection_root": 3}}',
        b'{"action": "inspect", "args": {"path": "a.csv", "part": {"name": "x", "offset": "x"}}}',
        b'{"action": "inspect", "args": {"path": "a.csv", "part": {"name": "x", "offset": -1}}}',
        b'{"action": "inspect", "args": {"path": "a.csv", "part": {"name": "\\u0000", "offset": 1}}}',
        b'{"action": "inspect", "args": {"path": "a.csv", "copy": {"first": 0, "count": "x", "columns": []}}}',
        b'{"action": "inspect", "args": {"path": "a.csv", "copy": {"first": 0, "count": 1, "columns": [1]}}}',
        b'{"action": "inspect", "args": {"path": "a.csv", "limit": 1e999}}',
        b'{"action": "files", "args": {"flow": "good", "limit": NaN}}',
    ],
)
def test_a_malformed_request_is_refused(lab: Lab, body: bytes) -> None:
    """With an HTTP error in the shape of every other one, and no traceback."""
    where = urlsplit(lab.base)
    assert where.hostname
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    connection.request("POST", "/data-engine/do", body, {"Authorization": f"token {lab.token}"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()

    assert answer.status == 400
    assert json.loads(text)["error"]["what"]
    assert json.loads(text)["error"]["fix"]
    assert b"Traceback" not in text


def test_no_path_or_root_is_a_fault_of_the_server(lab: Lab) -> None:
    """However long, and whatever is in it."""
    for odd in ("a" * 5000, "/".join(["a" * 300] * 20), "x:y", "..", "/../..", "~", " "):
        for path, body in (
            ("/data-engine/hello", {"path": odd, "root": odd}),
            ("/data-engine/match", {"root": odd, "other": [odd]}),
            ("/data-engine/do", {"root": odd, "action": "settings"}),
            (f"/data-engine/events?root={quote(odd)}", None),
        ):
            status, text = lab.request(path, body)
            assert (status, json.loads(text) != {}) == (200, True)
    for wrong in ("%ff", "%ED%A0%80"):
        status, text = lab.request(f"/data-engine/events?root={wrong}")
        assert (status, "fix" in json.loads(text)["error"]) == (400, True)


def test_the_stream_begins_with_the_whole_view(lab: Lab, workspace: Path) -> None:
    """Also without a daemon: the modules by name first, then as they are; compressed where the page takes it."""
    where = urlsplit(lab.base)
    assert where.hostname
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    headers = {"Authorization": f"token {lab.token}", "Accept-Encoding": "gzip"}
    connection.request("GET", f"/data-engine/events?root={quote(str(workspace))}", headers=headers)
    answer = connection.getresponse()
    unpack, text = zlib.decompressobj(31), ""
    while text.count("\n\n") < 2:
        text += unpack.decompress(answer.read1(65536)).decode()
    connection.close()
    first, second = text.split("\n\n")[:2]
    view = json.loads(first.split("data: ")[1])
    change = json.loads(second.split("data: ")[1])

    assert (first.splitlines()[0], second.splitlines()[0]) == ("event: view", "event: delta")
    assert sorted(view["flows"]) == ["broken", "good"]
    assert change["flows"]["broken"]["mark"]["word"] == "broken"
    assert change["flows"]["good"]["mark"]["word"] == "manual"


def test_a_workspace_that_is_none_has_no_stream(lab: Lab) -> None:
    """The answer says why."""
    status, body = lab.request("/data-engine/events?root=/nowhere")

    assert status == 200
    assert "does not exist" in json.loads(body)["error"]["what"]


def test_equal_views_send_nothing() -> None:
    """What has not changed costs no byte and no work of the page's."""
    view = {"engine": 1, "flows": {"a": 1}}

    assert message_of(view, dict(view)) == ""
    assert message_of(None, view).startswith("event: view\n")


def test_the_page_never_sees_the_daemons_token(lab: Lab, workspace: Path) -> None:
    """Neither in a view, nor in an answer, nor in the scripts."""
    lab.do(workspace, "start")
    tokens = [path.read_bytes().strip() for path in (lab.home / "state").rglob(".daemon-authkey")]
    answers = [
        lab.request("/data-engine/hello", {"root": str(workspace)})[1],
        json.dumps(lab.do(workspace, "settings")).encode(),
        json.dumps(lab.do(workspace, "flow", flow="good")).encode(),
        lab.request("/data-engine/static/panel.js")[1],
    ]
    lab.do(workspace, "kill")

    assert tokens
    assert not any(token in answer for answer in answers for token in tokens)


def test_the_server_says_how_to_open_a_workspace_it_does_not_serve(lab: Lab) -> None:
    """As a shell takes it; the words are of the command line."""
    told = [json.loads(lab.request("/data-engine/hello", body)[1])["lab"] for body in ({"root": "/my flows/team"}, {})]

    assert told == [cli_line("--workspace", "/my flows/team", "lab"), cli_line("lab")]


def test_only_the_same_state_of_the_same_machine_matches(lab: Lab, workspace: Path) -> None:
    """A kernel elsewhere may see the same path and the same workspace, and still not the same daemon."""
    _, body = lab.request("/data-engine/match", {"root": str(workspace)})
    code = "import json, sys; from data_engine import Workspace; from jupyter_extension.actions import place_of"
    text = f"{code}; print(json.dumps(place_of(Workspace(sys.argv[1]))))"
    made = subprocess.run(
        [sys.executable, "-c", text, str(workspace)], env=lab.environment, capture_output=True, check=True
    )
    place = json.loads(made.stdout)

    def matches(**changes: str) -> bool:
        return bool(json.loads(lab.request("/data-engine/match", place | changes)[1])["match"])

    assert json.loads(body) == {"match": False}
    assert matches()
    assert not matches(machine_id="another")
    assert not matches(runtime_dir="/elsewhere")
    assert not matches(identity="another")


def test_a_new_page_finds_the_workspace_of_the_notebook_it_shows(lab: Lab, workspace: Path) -> None:
    """And all that are near; the panel's script comes from the server, so both are of one version."""
    _, body = lab.request("/data-engine/hello", {"path": "asked/flow_modules/good.ipynb"})
    found = json.loads(body)
    status, script = lab.request("/data-engine/static/panel.js")

    assert found["selected"] == str(workspace)
    assert {"root": str(workspace), "id": "asked"} in found["workspaces"]
    assert found["root_dir"] == str(lab.root)
    assert (status, b"class Panel" in script) == (200, True)
    assert len(gzip.compress(script)) < 55_000
