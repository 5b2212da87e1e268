"""Whatever JSON is sent to a real daemon: a field of the wrong type is refused as that, and nothing ever fails inside."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_engine import Workspace
from data_engine.commands.fields import SECONDS, TEXT, TEXTS, Field, Fields, kinds_of
from data_engine.commands.registry import COMMANDS
from data_engine.daemon.control import read_endpoint, read_token
from tests.support import AUTO, WorkspaceFiles, examples

FLOW = """
    from data_engine import Flow
    def build():
        return Flow(group="G").step(lambda context: 1)
"""
QUESTIONS: dict[str, Fields] = {
    "wait": {"run_ids": TEXTS, "timeout_s": SECONDS.or_else(30.0)},
    "answer": {"request_id": TEXT, "timeout_s": SECONDS.or_else(30.0)},
}
FIELDS = QUESTIONS | {name: kinds_of(kind) for name, kind in COMMANDS.items()}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["\ud800", "\udcff", "x" * 300, "é" * 200, "x/" * 3_000, "poll"])
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def is_wrong(kind: Field, value: Any) -> bool:
    """Whether a value is certainly not of this kind."""
    return not (value is None and not kind.is_required) and not kind.fits(value)


def good(kind: Field) -> Any:
    """A value of this kind."""
    if not kind.is_required:
        return None
    return next(one for one in (False, 0, [], "none", "0" * 24) if kind.fits(one))


class Caller:
    """Sends the daemon whatever it is told to."""

    def __init__(self, workspace: Workspace) -> None:
        endpoint, token = read_endpoint(workspace.home.local), read_token(workspace.home.local)
        assert endpoint is not None
        self._connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
        self._headers = {"Authorization": f"Bearer {token}"}

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """The status and the answer."""
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method, f"/v1/{path}", data, self._headers)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    folder = tmp_path_factory.mktemp("asked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_ENGINE_STATE_ROOT", str(folder / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        ws = WorkspaceFiles(folder / "ws", AUTO)
        ws.notebook("manual", FLOW)
        workspace = Workspace(ws.root)
        workspace.start()
        caller = Caller(workspace)
        yield caller
        caller.close()
        workspace.kill()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("wait", {"run_ids": [], "timeout_s": "soon"}),
        ("wait", {"run_ids": [], "timeout_s": [1]}),
        ("wait", {"run_ids": ["a", 3]}),
        ("set-interpreter", {"path": 3}),
        ("set-interpreter", {}),
        ("run", {"flow": "manual", "source": 3}),
        ("deploy", {"flow": {"a": 1}}),
        ("release-control", {"now": "no"}),
        ("shutdown", {"kill": 1}),
    ],
)
def test_a_wrong_type_is_a_bad_request_with_its_fix(call: Caller, path: str, body: dict[str, Any]) -> None:
    """Named with its field; the daemon goes on."""
    status, answer = call("POST", path, body)

    assert status == 400
    assert "must be" in answer["error"]["what"]
    assert answer["error"]["where"] == path
    assert answer["error"]["fix"]
    assert call("GET", "ping")[1]["ending"] is False


def test_no_json_makes_any_request_fail_inside(call: Caller) -> None:
    """In every field of every request: what is of no use is refused with 400, what is unknown with 422."""

    @settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
    @given(path=st.sampled_from(sorted(name for name, fields in FIELDS.items() if fields)), data=st.data())
    def send(path: str, data: st.DataObject) -> None:
        fields = FIELDS[path]
        wrong = data.draw(st.sampled_from(sorted(fields)))
        value = data.draw(JSON.filter(lambda value: path != "shutdown" or is_wrong(fields[wrong], value)))
        body = {name: good(kind) for name, kind in fields.items()} | {wrong: value}
        status, answer = call("POST", path, body)

        assert status in (200, 400, 422), f"{path} {body}: {answer}"
        assert status == 200 or answer["error"]["what"]
        if is_wrong(fields[wrong], value):
            assert status == 400, f"{path} {body}: {answer}"

    send()
    assert call("GET", "ping")[1]["ending"] is False


@pytest.mark.parametrize(
    "query",
    [{"limit": "many"}, {"limit": "-1"}, {"limit": "9" * 40}, {"limit": "1.5"}, {"flow": " "}, {"flow": "a\0b"}],
)
def test_a_wrong_question_is_a_bad_request(call: Caller, query: dict[str, str]) -> None:
    status, answer = call("GET", f"runs?{urlencode(query)}")

    assert status == 400
    assert answer["error"]["fix"]
