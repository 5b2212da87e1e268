"""The state of a workspace in one shape: which word, and which reason, each flow gets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from data_engine import Flow
from data_engine.cause import Cause
from data_engine.errors import FlowValidationError
from data_engine.model import ActiveRun, Run, Switch
from data_engine.notebook.catalog import CatalogEntry, describe
from data_engine.notebook.deployment_status import AS_DEPLOYED, NOT_DEPLOYED, DeploymentStatus
from data_engine.reasons.kinds import (
    DaysUnknown,
    GroupRun,
    HeldSlot,
    Late,
    NotYet,
    OwnedElsewhere,
    Unreachable,
    WaitingForGroup,
    WaitingForWorker,
)
from data_engine.reasons.waiting import NextRun, WaitingRuns
from data_engine.status.build import FlowFacts, StatusWriter, WorkspaceFacts, build_status, flow_status
from data_engine.status.record import DaemonFacts, EngineFacts, FlowStatus, WorkspaceStatus

NOON = "2026-06-01T12:00:00.000000+00:00"


def entry(mode: Literal["manual", "poll", "schedule"]) -> CatalogEntry:
    options: dict[str, Any] = {
        "manual": {},
        "poll": {"source": "/in", "interval": "5s"},
        "schedule": {"time": "08:15"},
    }[mode]
    return describe(Flow("Claims", "claims").watch(mode=mode, **options), Path("/ws/flow_modules/claims.py"))


BROKEN = CatalogEntry("claims", Path("claims.py"), "Claims", error=FlowValidationError("it does not parse"))
POLL, SCHEDULE, MANUAL = FlowFacts(entry("poll")), FlowFacts(entry("schedule")), FlowFacts(entry("manual"))
ANNA = OwnedElsewhere("anna", is_engine_on=True)
GONE = Unreachable("2026-01-05T06:30:00+00:00", "No such file or directory")
BROKEN_EDIT = DeploymentStatus("edited", (3,), error="it does not parse")
BAD_RUN = Run("r1", "claims", "Claims", None, "failed", "2026-01-05T06:30:00+00:00")
GOOD_RUN = replace(BAD_RUN, status="success")
WAITING = WaitingForGroup("Claims", (GroupRun("audit", "0123456789", 77),))
UNDER_WAY = ActiveRun("r2", "claims", "Claims", "/in/a.csv", NOON, 77, in_daemon=True)


def shown(
    flow: FlowFacts, *, is_on: bool = True, is_running: bool = False, elsewhere: OwnedElsewhere | None = None
) -> FlowStatus:
    """The flow beside this engine, owner and run."""
    active = [UNDER_WAY] if is_running else []
    known = WorkspaceFacts("ws", "/ws", [flow], active, engine=EngineFacts(on=is_on), elsewhere=elsewhere)
    return flow_status(known, flow)


@pytest.mark.parametrize(
    ("known", "is_on", "is_running", "elsewhere", "state", "reason"),
    [
        pytest.param(POLL, True, False, None, "polling", None, id="a poll flow polls while the engine is on"),
        pytest.param(
            replace(POLL, held=2), True, False, None, "failing", None, id="one that holds files looks failing"
        ),
        pytest.param(
            replace(POLL, why=GONE), True, False, None, "unreachable", GONE.text, id="one whose folder is gone says so"
        ),
        pytest.param(
            replace(POLL, deployment_status=BROKEN_EDIT),
            True,
            False,
            None,
            "edit has errors",
            None,
            id="a broken edit is seen",
        ),
        pytest.param(replace(SCHEDULE, last_run=BAD_RUN), True, False, None, "failing", None, id="a bad slot is seen"),
        pytest.param(
            replace(SCHEDULE, last_run=replace(BAD_RUN, status="abandoned")),
            *(True, False, None, "failing", None),
            id="so is one that was cut off",
        ),
        pytest.param(
            replace(POLL, last_run=BAD_RUN), True, False, None, "polling", None, id="files count, not the last"
        ),
        pytest.param(replace(POLL, retried=1), True, False, None, "failing", None, id="one that is tried again counts"),
        pytest.param(
            replace(MANUAL, deployment_status=BROKEN_EDIT),
            *(True, False, None, "edit has errors", "runs by hand only"),
            id="a broken edit is seen where people run the flow",
        ),
        pytest.param(
            replace(POLL, deployment_status=BROKEN_EDIT),
            *(False, False, None, "edit has errors", "the engine is off"),
            id="and with the engine off",
        ),
        pytest.param(
            replace(POLL, deployment_status=BROKEN_EDIT, switch=Switch(False)),
            *(True, False, None, "disabled", "disabled"),
            id="a switch beats the edit",
        ),
        pytest.param(POLL, False, False, None, "idle", "the engine is off", id="else it could"),
        pytest.param(SCHEDULE, False, False, None, "idle", "the engine is off", id="so could a schedule"),
        pytest.param(POLL, True, True, None, "running", None, id="a run under way comes first"),
        pytest.param(POLL, False, True, None, "running", None, id="also one by hand"),
        pytest.param(MANUAL, True, False, None, "manual", "runs by hand only", id="a manual flow waits for people"),
        pytest.param(
            replace(POLL, switch=Switch(False)),
            True,
            False,
            None,
            "disabled",
            "disabled",
            id="a switch beats the engine",
        ),
        pytest.param(
            replace(MANUAL, switch=Switch(False, "anna", "ANNA-PC", note="holidays")),
            *(True, False, None, "manual", "disabled by anna@ANNA-PC: holidays"),
            id="what is noted on a manual flow is told",
        ),
        pytest.param(
            FlowFacts(BROKEN), True, False, None, "broken", "it does not parse", id="a broken module says why"
        ),
        pytest.param(POLL, False, False, ANNA, "idle", ANNA.text, id="the owner is named"),
        pytest.param(
            replace(MANUAL, deployment_status=NOT_DEPLOYED),
            *(False, False, ANNA, "not deployed", "not deployed: data-engine deploy claims"),
            id="what is not deployed says so beside another owner too",
        ),
        pytest.param(
            replace(POLL, waiting=WAITING),
            True,
            False,
            None,
            "polling",
            'waiting for group "Claims": flow "audit" (run 01234567, pid 77)',
            id="who waits is told for whom",
        ),
        pytest.param(
            replace(MANUAL, waiting=WaitingForWorker()),
            False,
            False,
            None,
            "manual",
            WaitingForWorker().text,
            id="a request by hand waits too",
        ),
        pytest.param(
            replace(SCHEDULE, why=NotYet(NOON)),
            True,
            False,
            None,
            "scheduled",
            NotYet(NOON).text,
            id="what planning said",
        ),
        pytest.param(
            replace(SCHEDULE, why=HeldSlot(NOON, NOON, "it died")),
            True,
            False,
            None,
            "failing",
            HeldSlot(NOON, NOON, "it died").text,
            id="a held slot",
        ),
        pytest.param(
            replace(SCHEDULE, why=DaysUnknown("'31.12.' is not a date", "holidays.txt, line 2")),
            *(True, False, None, "failing"),
            "'31.12.' is not a date: holidays.txt, line 2; correct the file, or skip= of the flow",
            id="a schedule that cannot be due is not called scheduled",
        ),
        pytest.param(
            replace(POLL, why=Unreachable(NOON, "gone")),
            True,
            False,
            None,
            "unreachable",
            Unreachable(NOON, "gone").text,
            id="a share that is away",
        ),
    ],
)
def test_each_flow_has_a_word_and_a_reason(
    known: FlowFacts, is_on: bool, is_running: bool, elsewhere: OwnedElsewhere | None, state: str, reason: str | None
) -> None:
    found = shown(known, is_running=is_running, is_on=is_on, elsewhere=elsewhere)

    assert (found["state"], found["reason"]) == (state, reason)


@pytest.mark.parametrize(
    ("known", "is_failing"),
    [
        (POLL, False),
        (replace(POLL, held=1), True),
        (replace(POLL, last_run=BAD_RUN), False),
        (replace(POLL, last_run=BAD_RUN, held=1), True),
        (replace(MANUAL, last_run=BAD_RUN), True),
        (replace(MANUAL, last_run=replace(BAD_RUN, status="killed", why=Cause("kill_requested"))), False),
        (replace(SCHEDULE, last_run=replace(BAD_RUN, status="killed", why=Cause("out_of_memory"))), True),
        (replace(MANUAL, last_run=replace(BAD_RUN, status="abandoned")), True),
        (replace(MANUAL, last_run=replace(BAD_RUN, status="stopped")), False),
        (replace(SCHEDULE, why=HeldSlot(NOON, NOON, "it died")), True),
        (replace(POLL, why=GONE), True),
        (replace(SCHEDULE, expected=Late(NOON)), True),
        (FlowFacts(BROKEN), True),
        (replace(POLL, deployment_status=BROKEN_EDIT), False),
    ],
)
def test_a_flow_fails_where_something_of_it_is_bad_in_production(known: FlowFacts, is_failing: bool) -> None:
    """A broken edit is not: production runs on as deployed. A poll flow whose last run failed and that holds no file lost it; what a
    person killed is as they wanted it."""
    assert shown(known).is_failing is is_failing


def test_a_flow_that_fails_beside_a_good_last_run_says_why_in_its_state() -> None:
    """So that the two do not contradict each other; programs read the state alone, and the numbers."""
    held, again = (replace(POLL, last_run=GOOD_RUN, **count) for count in ({"held": 1200}, {"retried": 2}))
    slot = replace(SCHEDULE, last_run=GOOD_RUN, why=HeldSlot(NOON, NOON, "it died"))
    told = [shown(known) for known in (held, again, slot, POLL)]
    idle = shown(held, is_on=False)

    assert [one.state_text for one in told] == [
        "failing, 1,200 held",
        "failing, 2 to retry",
        "failing, slot held",
        "polling",
    ]
    assert (idle.state_text, idle.is_failing) == ("idle, 1,200 held", True)
    assert [one["state"] for one in told] == ["failing", "failing", "failing", "polling"]
    assert [one.as_dict().get("retried") for one in told] == [None, 2, None, None]


def test_a_daemon_that_does_not_answer_is_the_reason_of_each_flow() -> None:
    """Not that the engine is off, which nobody knows; who else owns the workspace, and who disabled a flow, come first."""
    facts = WorkspaceFacts(
        "ws", "/ws", [POLL], daemon=DaemonFacts(running=True, pid=7, silent=True), engine=EngineFacts(on=None)
    )
    disabled = replace(facts, flows=[replace(POLL, switch=Switch(False))])
    found = [build_status(one).flows[0].reason for one in (facts, disabled, replace(facts, elsewhere=ANNA))]

    assert found == ["the daemon (pid 7) does not answer", "disabled", ANNA.text]


@pytest.mark.parametrize("known", [MANUAL, POLL])
def test_of_another_owner_it_is_said_what_is_not_known_of_deployments(known: FlowFacts) -> None:
    """While more was published than this machine has, or before its daemon has read it; the buttons stay as they are."""
    facts = WorkspaceFacts("ws", "/ws", [replace(known, deployment_status=NOT_DEPLOYED)], elsewhere=ANNA)
    behind = replace(facts, lease=replace(facts.lease, is_behind=True))
    starting = replace(facts, engine=replace(facts.engine, starting=True))
    just_published = replace(facts, are_deployments_read=False)
    own = replace(behind, elsewhere=None)

    for doubtful in (behind, starting, just_published):
        (flow,) = build_status(doubtful).flows
        assert flow.reason == ("not deployed, as far as is known here" if known is MANUAL else ANNA.text)
        assert flow.state == ("manual" if known is MANUAL else "idle")
        assert WorkspaceStatus.read(build_status(doubtful).as_dict()) == build_status(doubtful)
    assert build_status(own).flows[0].reason == "not deployed: data-engine deploy claims"


@pytest.mark.parametrize(
    ("deployment_status", "edit", "deployment"),
    [
        (NOT_DEPLOYED, None, "not deployed"),
        (AS_DEPLOYED, None, "as deployed"),
        (
            DeploymentStatus("edited", (3,), "SyntaxError"),
            "edited, not deployed: cell 3\nSyntaxError",
            "edited, not deployed: cell 3",
        ),
    ],
)
def test_how_a_flow_stands_to_production_is_one_line(
    deployment_status: DeploymentStatus, edit: str | None, deployment: str
) -> None:
    known = replace(POLL, deployment_status=deployment_status)
    found = shown(known, is_on=False)

    assert (found["deployment"], found["edit"]) == (deployment, edit)


def test_the_whole_shape() -> None:
    """As CONTRACT section 11 has it: every key, with a daemon and without."""
    run = Run("r1", "claims", "Claims", None, "success", NOON, NOON, 1.0)
    active = ActiveRun("r2", "claims", "Claims", "/in/a.csv", NOON, 77, in_daemon=False, step="Read")
    known = WorkspaceFacts("ws", "/ws", [replace(POLL, last_run=run, next_run_utc=NOON)], [active])
    status = build_status(known)
    with_daemon = build_status(
        replace(known, daemon=DaemonFacts(True, 5, "1.0", "d1", "/bin/python"), engine=EngineFacts(on=True))
    )

    assert set(status) == set(with_daemon)
    for part in ("daemon", "engine", "lease"):
        assert set(status[part]) == set(with_daemon[part])
    assert status["daemon"]["running"] is False
    assert {"running", "pid", "version"} <= set(status["daemon"])
    assert {"on", "stopping"} <= set(status["engine"])
    assert set(status["lease"]) >= {"state", "owner", "token", "heartbeat_age_s", "requested_by"}
    (flow,) = status["flows"]
    assert {
        key: flow[key] for key in ("name", "group", "title", "mode", "enabled", "state", "next_run_utc", "error")
    } == {
        "name": "claims",
        "group": "Claims",
        "title": "Claims",
        "mode": "poll",
        "enabled": True,
        "state": "running",
        "next_run_utc": NOON,
        "error": None,
    }
    assert flow["last_run"] == run.as_dict()
    assert {key: status["active_runs"][0][key] for key in ("run_id", "flow", "source", "step", "pid")} == {
        "run_id": "r2",
        "flow": "claims",
        "source": "/in/a.csv",
        "step": "Read",
        "pid": 77,
    }


def test_a_flow_whose_runs_were_all_asked_to_end_is_stopping() -> None:
    """One that goes on keeps it running; the runs say it, each of itself."""
    one = ActiveRun("r2", "claims", "Claims", "/in/a.csv", NOON, 77, in_daemon=True, stopping=True)
    going_on = replace(one, run_id="r3", stopping=False)

    def states(*active: ActiveRun) -> tuple[str, list[bool]]:
        status = build_status(WorkspaceFacts("ws", "/ws", [POLL], active))
        return status["flows"][0]["state"], [run["stopping"] for run in status["active_runs"]]

    assert states(one) == ("stopping", [True])
    assert states(one, going_on) == ("running", [True, False])


def test_what_waits_is_part_of_the_status() -> None:
    """Of each flow how much and why, the same after it was sent."""
    waits = WaitingRuns(
        "claims", "Claims", 12, "C:\\in\\a.csv", WaitingForWorker(), (NextRun("3f9c", "C:\\in\\a.csv"),)
    )
    status = build_status(WorkspaceFacts("ws", "/ws", [POLL], waiting=[waits]))
    sent = json.loads(json.dumps(status.as_dict()))

    (told,) = sent["waiting_runs"]
    assert told == {
        "flow": "claims",
        "group": "Claims",
        "count": 12,
        "source": "C:\\in\\a.csv",
        "why": {"kind": "waiting_for_worker"},
        "runs": [{"run_id": "3f9c", "source": "C:\\in\\a.csv"}],
        "text": f"claims: 12 runs wait, the next for a.csv: {WaitingForWorker().text}",
    }
    assert WorkspaceStatus.read(sent) == status
    assert WaitingRuns("claims", "Claims", 1).text == "claims: 1 run waits: about to begin"


def test_a_status_written_again_and_again_is_the_one_that_is_built() -> None:
    """Whatever changed in between: a flow's own facts, whether it runs, the engine, another owner, and which flows there are."""
    writer = StatusWriter()
    other = replace(POLL, entry=replace(POLL.entry, name="other"))
    active = ActiveRun("r2", "claims", "Claims", "/in/a.csv", NOON, 77, in_daemon=False)
    calm = WorkspaceFacts("ws", "/ws", [POLL, other])
    for known in (
        calm,
        calm,
        replace(calm, flows=[replace(POLL, held=3), other]),
        replace(calm, active=[active]),
        replace(calm, active=[replace(active, stopping=True)]),
        replace(calm, engine=EngineFacts(on=True)),
        replace(calm, elsewhere=OwnedElsewhere("ANNA-PC", True)),
        replace(calm, daemon=DaemonFacts(running=True, pid=7, silent=True), engine=EngineFacts(on=None)),
        replace(calm, flows=[other]),
        replace(calm, flows=[]),
        calm,
    ):
        written = writer.write(known)

        assert written == build_status(known).as_dict()
        assert list(written) == list(build_status(known).as_dict())
