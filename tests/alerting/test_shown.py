"""What is expected of a flow is seen wherever the flow is: with the time that is left, or since when it is late and why."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_engine import Flow, Workspace
from data_engine.cause import Cause
from data_engine.model import Run, Switch, utc_text
from data_engine.notebook.catalog import describe
from data_engine.reasons.kinds import Disabled, Expected, Held, Late, NotYet, Overlong, WaitingForGroup
from data_engine.reasons.remedies import Reason
from data_engine.status.build import FlowFacts, WorkspaceFacts, build_status
from data_engine.status.record import FlowStatus
from data_engine.status.sentences import in_the_way
from data_engine.view.flow_picture import flow_card
from data_engine.view.panel import render
from data_engine.view.text import text
from tests.support import WorkspaceFiles

SEVEN = "2026-01-05T06:00:00+00:00"
FLOW = (
    Flow("G", "claims")
    .watch(mode="schedule", time="06:00", tz="Europe/Berlin")
    .expect(by="07:00", days="mon-fri", tz="Europe/Berlin")
)
FAILED = Run(
    "r1",
    "claims",
    "G",
    None,
    "failed",
    SEVEN,
    error="Flow ...",
    why=Cause("code_raised", {"step": "Read", "detail": "KeyError: 3"}),
)


def status_of(expected: Expected | Late | Overlong | None, **facts: Any) -> FlowStatus:
    entry = describe(FLOW, Path("claims.ipynb"))
    known = WorkspaceFacts("w", "/w", [replace(FlowFacts(entry), expected=expected, **facts)])
    return build_status(known).flows[0]


def test_the_time_that_is_left_is_told() -> None:
    due = Expected(utc_text(time.time() + 12.2 * 60))

    assert re.fullmatch(r"due by .*\d\d:\d\d, 12 min left", due.text)
    assert re.fullmatch(r"due by Mon 2026-01-05 07:00 Europe/Berlin", Expected(SEVEN, "Europe/Berlin").text)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"last_run": FAILED}, "the engine is off"),
        ({"switch": Switch(False)}, "disabled"),
    ],
)
def test_what_is_late_says_what_is_in_the_way(facts: dict[str, Any], reason: str) -> None:
    flow = status_of(Late(SEVEN, "Europe/Berlin"), **facts)

    assert flow.expected is not None
    assert flow.expected.text == f"late since Mon 2026-01-05 07:00 Europe/Berlin: {reason}"
    assert flow.as_dict()["expected"]["reason"] == reason
    assert FlowStatus.read(flow.as_dict()) == flow


@pytest.mark.parametrize(
    ("why", "held", "last", "is_running", "expected"),
    [
        (WaitingForGroup("G"), 0, None, False, 'waiting for group "G": another run'),
        (Disabled(), 3, FAILED, False, "disabled"),
        (None, 0, FAILED, True, "it is running"),
        (None, 2, FAILED, False, "2 files are held; its last run failed in Read: KeyError: 3"),
        (NotYet(SEVEN), 0, FAILED, False, "its last run failed in Read: KeyError: 3"),
        (Held(None, "failed", "no"), 0, None, False, "held since ?, failed: no"),
        (NotYet(SEVEN), 0, replace(FAILED, status="success"), False, None),
    ],
)
def test_what_is_in_the_way(
    why: Reason | None, held: int, last: Run | None, is_running: bool, expected: str | None
) -> None:
    assert in_the_way(why, held=held, last_run=last, is_running=is_running) == expected


def test_a_picture_tells_it() -> None:
    """What is expected comes from the notebook, how it stands from production."""
    plain = text(flow_card(FLOW, now_s=0))
    late = text(flow_card(FLOW, now_s=0, live=status_of(Late(SEVEN, "Europe/Berlin"))))

    assert re.search(r"expected +done by 07:00 on business days \(Monday to Friday\), Europe/Berlin", plain)
    assert "late since Mon 2026-01-05 07:00 Europe/Berlin: the engine is off" in late


def test_the_panel_tells_it_and_counts_a_late_flow_as_failing() -> None:
    def row(expected: Expected | Late | Overlong | None) -> Any:
        entry = describe(FLOW, Path("claims.ipynb"))
        status = build_status(WorkspaceFacts("w", "/w", [replace(FlowFacts(entry), expected=expected)]))
        return render(status).flows["claims"]

    late, due = row(Late(SEVEN, "Europe/Berlin")), row(Expected(SEVEN, "Europe/Berlin"))

    assert (late.is_failing, late.expected_text) == (
        True,
        "late since Mon 2026-01-05 07:00 Europe/Berlin: the engine is off",
    )
    assert (due.is_failing, due.expected_text, due.expected.due_utc) == (
        False,
        "due by Mon 2026-01-05 07:00 Europe/Berlin",
        SEVEN,
    )
    assert row(Overlong(SEVEN, 1800.0, "r1")).expected.kind == "overlong"
    assert row(None).expected is None


def test_a_workspace_without_a_daemon_tells_it_too(ws: WorkspaceFiles) -> None:
    """What is deployed and late is late, whoever looks."""
    ws.module(
        "claims",
        'from data_engine import Flow\n\ndef build():\n    return Flow(group="G").expect(every="10ms").step(lambda context: 1, label="One")\n',
    )
    workspace = Workspace(ws.root)
    assert workspace.status().flows[0].expected is None

    workspace.deploy()
    time.sleep(0.05)

    (flow,) = workspace.status().flows
    assert not workspace.status().daemon.running
    assert isinstance(flow.expected, Late)
    assert flow.expected.reason == "it runs by hand only"
    assert [one.why.kind for one in workspace.explain("claims")] == ["by_hand", "late"]
