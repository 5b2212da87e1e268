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
from data_engine.daemon.endpoint import read_endpoint, read_token
from tests.support import WorkspaceFiles

FLOW = """
    from data_engine import Flow
    def build():
        return Flow(group="G").step(lambda context: 1)
"""
TEXT, MAYBE_TEXT, MAYBE_BLANK, FLAG, MAYBE_FLAG, SECONDS, TEXTS, MAYBE_OBJECT = (
    "text",
    "text?",
    "blank?",
    "flag",
    "flag?",
    "seconds?",
    "texts",
    "object?",
)
COMMANDS: dict[str, dict[str, str]] = {
    "engine": {"on": FLAG},
    "run": {"flow": TEXT, "source": MAYBE_TEXT, "params": MAYBE_OBJECT},
    "wait": {"run_ids": TEXTS, "timeout_s": SECONDS},
    "stop-flow": {"flow": TEXT},
    "stop-run": {"run_id": TEXT},
    "kill-run": {"run_id": TEXT},
    "retry": {"flow": MAYBE_TEXT, "source": MAYBE_TEXT},
    "enable": {"flow": TEXT, "enabled": FLAG},
    "deploy": {"flow": MAYBE_TEXT, "note": MAYBE_BLANK, "force": MAYBE_FLAG, "replaces": MAYBE_TEXT, "id": MAYBE_TEXT},
    "rollback": {"flow": TEXT, "to": MAYBE_TEXT, "id": MAYBE_TEXT, "note": MAYBE_BLANK},
    "backfill": {
        **dict.fromkeys(("since", "until", "where", "digest"), MAYBE_TEXT),
        "flow": TEXT,
        "reprocess": MAYBE_TEXT,
        "params": MAYBE_OBJECT,
        "dry_run": MAYBE_FLAG,
    },
    "backfill-do": {"do": TEXT, "id": TEXT},
    "answer": {"request_id": TEXT, "timeout_s": SECONDS},
    "reset": {"flow": MAYBE_TEXT},
    "interpreter": {"path": TEXT},
    "lease": {"do": TEXT, "now": MAYBE_FLAG, "client": MAYBE_BLANK},
    "shutdown": {"kill": MAYBE_FLAG},
}
GOOD: dict[str, Any] = {
    TEXT: "none",
    MAYBE_TEXT: None,
    MAYBE_BLANK: None,
    FLAG: False,
    MAYBE_FLAG: None,
    SECONDS: 0,
    TEXTS: [],
    MAYBE_OBJECT: None,
}
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


def is_wrong(kind: str, value: Any) -> bool:
    """Whether a value is certainly not of this kind."""
    if kind.endswith("?") and value is None:
        return False
    kinds: dict[str, Any] = {
        "text": str,
        "blank": str,
        "flag": bool,
        "seconds": (int, float),
        "texts": list,
        "object": dict,
    }
    if kind.startswith("seconds"):
        return isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0
    if kind == TEXTS and isinstance(value, list):
        return not all(isinstance(one, str) and one.strip() for one in value)
    is_blank = kind.startswith("text") and isinstance(value, str) and not value.strip()
    return is_blank or not isinstance(value, kinds[kind.rstrip("?")])


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


@pytest.fixture
def call(ws: WorkspaceFiles) -> Iterator[Caller]:
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
        ("interpreter", {"path": 3}),
        ("interpreter", {}),
        ("run", {"flow": "manual", "source": 3}),
        ("deploy", {"flow": {"a": 1}}),
        ("lease", {"do": "release", "now": "no"}),
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

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(path=st.sampled_from(sorted(COMMANDS)), data=st.data())
    def send(path: str, data: st.DataObject) -> None:
        fields = COMMANDS[path]
        wrong = data.draw(st.sampled_from(sorted(fields)))
        value = data.draw(JSON.filter(lambda value: path != "shutdown" or is_wrong(fields[wrong], value)))
        body = {name: GOOD[kind] for name, kind in fields.items()} | {wrong: value}
        if path == "engine" and value is True:
            return
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
