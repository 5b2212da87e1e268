"""What the panel shows is one pure function of the status: words, shapes, and for each button whether it works and why not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine.cause import Cause
from data_engine.errors import cell_place
from data_engine.lease.status import DamageStatus, LeaseStatus
from data_engine.marks import mark_of
from data_engine.model import Run
from data_engine.record import as_json
from data_engine.status.build import WorkspaceFacts, build_status
from data_engine.status.record import FlowStatus, WorkspaceStatus
from data_engine.status.sentences import places_of
from data_engine.status.troubles import Known
from data_engine.view.panel import NO_FLOWS, PanelView, delta, render

ME, ANN = {"machine_id": "me-1", "host_name": "my-pc"}, {"machine_id": "ann-1", "host_name": "ann-pc"}

LATE = {"kind": "late", "since_utc": "2026-01-05T10:00:00+00:00", "tz": "UTC", "reason": "the engine is off"}


def flow(name: str = "claims", state: str = "polling", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "group": "Claims",
        "title": name.capitalize(),
        "mode": "poll",
        "trigger": "every 5 s when files change",
        "enabled": True,
        "state_kind": state.replace(" ", "_"),
        "why": None,
        "deployment_status": {"kind": "as_deployed"},
        "held": 0,
        "next_run_utc": None,
        "last_run": None,
        "error": None,
    } | changes


def run(status: str = "success", **changes: Any) -> dict[str, Any]:
    return {
        "run_id": "r1",
        "flow": "claims",
        "group": "Claims",
        "source": "/in/a.csv",
        "status": status,
        "started_at_utc": "2026-01-05T06:30:00+00:00",
        "finished_at_utc": None,
        "elapsed_s": 1.5,
        "error": None,
        "why": None,
    } | changes


def active(name: str = "claims", **changes: Any) -> dict[str, Any]:
    return {
        "run_id": "r2",
        "flow": name,
        "group": "Claims",
        "source": "/in/a.csv",
        "step": "read",
        "started_at_utc": "2026-01-05T06:30:00+00:00",
        "in_daemon": True,
        "pid": 7,
    } | changes


def status(*flows: dict[str, Any], on: bool = True, running: bool = True, **changes: Any) -> dict[str, Any]:
    lease = {"state": "mine" if on else "available", "is_mine": on, "owner": None, "token": 1, "heartbeat_age_s": None}
    found = {
        "workspace_id": "ws",
        "workspace_root": "/team/ws",
        "daemon": {"running": running, "pid": 7, "version": "0.1.0"},
        "engine": {"on": on, "stopping": False},
        "lease": lease | {"requested_by": None, "takeover_in_s": None},
        "flows": list(flows),
        "active_runs": [],
    }
    return found | changes


def leased(state: str, **changes: Any) -> dict[str, Any]:
    found = {
        "state": state,
        "is_mine": state == "mine",
        "owner": ANN,
        "token": 3,
        "heartbeat_age_s": 2.0,
        "requested_by": None,
        "takeover_in_s": None,
    }
    return found | changes


def shown(*flows: dict[str, Any], **changes: Any) -> PanelView:
    return render(WorkspaceStatus.read(status(*flows, **changes)), machine_id="me-1")


@pytest.mark.parametrize(
    ("state", "changes", "word", "tone", "shape"),
    [
        ("polling", {}, "polling", "good", "half"),
        ("scheduled", {"mode": "schedule"}, "scheduled", "good", "half"),
        ("poll ready", {"why": {"kind": "engine_off"}}, "idle", "idle", "ring"),
        ("edit broken", {}, "edit has errors", "warn", "triangle"),
        ("manual", {"mode": "manual"}, "manual", "idle", "ring"),
        (
            "module gone",
            {"deployment_status": {"kind": "gone", "cells": [], "file": "a.py"}},
            "module gone",
            "warn",
            "triangle",
        ),
        ("running", {}, "running", "live", "play"),
        ("disabled", {"enabled": False}, "disabled", "warn", "bar"),
        ("broken", {"error": {"what": "bad", "where": None, "fix": None}}, "broken", "bad", "cross"),
        ("a state of tomorrow", {}, "a state of tomorrow", "idle", "ring"),
    ],
)
def test_a_flow_has_a_word_a_shape_and_a_tone(
    state: str, changes: dict[str, Any], word: str, tone: str, shape: str
) -> None:
    """Never a colour alone; a state the panel does not know is shown by its own word."""
    mark = shown(flow(state=state, **changes)).flows["claims"].mark

    assert (mark.word, mark.tone, mark.shape) == (word, tone, shape)


@pytest.mark.parametrize(("state", "shape"), [("failing", "cross"), ("unreachable", "triangle"), ("broken", "cross")])
def test_a_state_that_needs_somebody_is_bad(state: str, shape: str) -> None:
    """In every display that takes a state's mark."""
    assert (mark_of(state).tone, mark_of(state).shape) == ("bad", shape)


@pytest.mark.parametrize(
    ("state", "changes", "tone"),
    [
        ("polling", {}, "good"),
        ("polling", {"held": 3}, "bad"),
        ("polling", {"last_run": run("failed"), "held": 1}, "bad"),
        ("poll_ready", {"held": 3}, "bad"),
        ("running", {"held": 3}, "live"),
        ("disabled", {"held": 3}, "warn"),
        ("scheduled", {"expected": LATE}, "bad"),
        ("manual", {"mode": "manual", "last_run": run("abandoned")}, "bad"),
        ("edit_broken", {"deployment_status": {"kind": "edited", "cells": [], "error": "SyntaxError"}}, "warn"),
    ],
)
def test_a_flow_that_needs_somebody_never_looks_good_or_at_rest(state: str, changes: dict[str, Any], tone: str) -> None:
    """And it is counted on the side bar's icon, in the status bar and in its group."""
    row = shown(flow(state=state, **changes)).flows["claims"]

    assert (row.mark.tone, row.is_failing) == (tone, tone != "good")


@pytest.mark.parametrize(
    ("changes", "tone"),
    [
        ({"mode": "poll", "last_run": run("failed")}, "idle"),
        ({"mode": "poll", "last_run": run("failed"), "held": 1}, "bad"),
        ({"mode": "manual", "last_run": run("failed")}, "bad"),
        ({"mode": "manual", "last_run": run("killed") | {"why": {"kind": "kill_requested"}}}, "idle"),
        ({"mode": "manual", "last_run": run("killed") | {"why": {"kind": "out_of_memory"}}}, "bad"),
    ],
)
def test_a_last_run_that_needs_nobody_is_told_in_words_only(changes: dict[str, Any], tone: str) -> None:
    """The file that failed is gone, or a person ended the run."""
    mark = shown(flow(**changes)).flows["claims"].last_mark

    assert mark is not None
    assert (mark.word, mark.tone) == (changes["last_run"]["status"], tone)


def test_a_last_run_whose_file_is_gone_says_that() -> None:
    """In place of why it failed, which stands for nothing any more."""
    status = WorkspaceStatus("ws", "/ws", flows=(FlowStatus.read(flow(last_run=run("failed"))),))

    row = render(status, known=Known(gone={"claims"})).flows["claims"]

    assert row.last_mark is not None
    assert (row.is_source_gone, row.last_mark.tone) == (True, "idle")


@pytest.mark.parametrize(
    ("ended", "word", "tone"),
    [
        ("success", "success", "good"),
        ("failed", "failed", "bad"),
        ("stopped", "stopped", "warn"),
        ("killed", "killed", "bad"),
        ("abandoned", "abandoned", "bad"),
        ("started", "running", "live"),
    ],
)
def test_the_last_outcome_is_said_in_a_word(ended: str, word: str, tone: str) -> None:
    """With its time and how long it took."""
    row = shown(flow(mode="manual", last_run=run(ended, why=Cause("code_raised").as_dict()))).flows["claims"]

    assert row.last_run is not None
    assert row.last_mark is not None
    assert (row.last_mark.word, row.last_mark.tone) == (word, tone)
    assert (row.last_run.elapsed_s, row.last_run.cause) == (1.5, "its code raised an error")


def test_how_long_ago_a_run_was_counts_from_its_end() -> None:
    """A killed run says when it was killed; one that runs, when it began."""
    ended_utc = "2026-01-05T07:45:00+00:00"

    assert Run.read(run("killed", finished_at_utc=ended_utc)).last_at_utc == ended_utc
    assert Run.read(run("started")).last_at_utc == "2026-01-05T06:30:00+00:00"


BUTTONS = [
    (
        "of a good polled flow",
        {},
        {},
        {"run": None, "retry": "no file of it is held", "disable": None, "stop": "no run of it is under way"},
    ),
    ("of a flow that holds files", {"held": 1}, {}, {"retry": None}),
    ("of an enabled flow", {}, {}, {"enable": "it is enabled"}),
    ("of a disabled flow", {"enabled": False}, {}, {"enable": None, "disable": "it is disabled"}),
    (
        "of a manual flow",
        {"mode": "manual", "state": "manual"},
        {},
        {"enable": "it runs by hand only", "retry": "claims runs by hand only, so it holds no files back"},
    ),
    (
        "of a broken module",
        {"state": "broken"},
        {},
        {"run": "the module is broken: fix it first", "retry": "the module is broken: fix it first"},
    ),
    (
        "while it runs",
        {},
        {"active_runs": [active()]},
        {"stop": None, "kill": None, "reset": "a run of it is under way"},
    ),
    (
        "while a kernel runs it",
        {},
        {"active_runs": [active(in_daemon=False, pid=99)]},
        {"stop": "it runs in a kernel or a command line (process 99): stop it there"},
    ),
    (
        "with the engine off",
        {},
        {"on": False},
        {"retry": "the engine is off: nothing is tried again before it is started"},
    ),
    (
        "of an observer",
        {},
        {"lease": leased("owned")},
        {
            "run": None,
            "disable": None,
            "rollback": None,
            "reset": "ann-pc has control of this workspace",
        },
    ),
    (
        "of an observer whose owner is silent",
        {},
        {"lease": leased("takeover_available")},
        {
            "run": "ann-pc has control of this workspace",
            "retry": "ann-pc has control of this workspace",
            "rollback": "ann-pc has control of this workspace",
        },
    ),
    (
        "of a flow that nobody has deployed",
        {"deployment_status": {"kind": "not_deployed", "cells": []}, "state_kind": "not_deployed"},
        {},
        {"run": "it is not deployed: deploy it first", "deploy": None},
    ),
    (
        "of what is deployed",
        {},
        {},
        {"deploy": "it is deployed as it is", "plan": "it is deployed as it is: there is nothing to compare"},
    ),
    (
        "of an edit",
        {"deployment_status": {"kind": "edited", "cells": [3]}},
        {},
        {"deploy": None, "plan": None, "restore": "its notebook is there", "undeploy": None},
    ),
    (
        "of a flow whose notebook is gone",
        {"deployment_status": {"kind": "gone", "cells": [], "file": "claims.ipynb"}, "state_kind": "module_gone"},
        {},
        {
            "deploy": "its notebook is gone: restore it, or undeploy the flow",
            "restore": None,
            "undeploy": None,
            "run": None,
        },
    ),
    (
        "of a flow whose notebook lies in a subfolder",
        {"deployment_status": {"kind": "gone", "file": "claims.ipynb", "moved_to": "old/claims.ipynb"}},
        {},
        dict.fromkeys(["deploy", "restore"], "move old/claims.ipynb back into flow_modules itself")
        | {"undeploy": None},
    ),
    (
        "of a flow whose notebook was renamed",
        {"deployment_status": {"kind": "gone", "file": "claims.ipynb", "renamed_to": "parts"}},
        {},
        {"restore": "deploy parts, as its notebook is called now", "undeploy": None},
    ),
]


@pytest.mark.parametrize(("case", "one", "whole", "expected"), BUTTONS, ids=[case for case, *_ in BUTTONS])
def test_a_button_of_a_flow_works_or_says_why_not(
    case: str, one: dict[str, Any], whole: dict[str, Any], expected: dict[str, Any]
) -> None:
    """None means that it works."""
    buttons = shown(flow(**one), **whole).flows["claims"].buttons

    assert {name: buttons[name] for name in expected} == expected


WHOLE = [
    (
        "with no daemon",
        {"on": False, "running": False},
        {"start_daemon": None, "start_engine": None, "kill": "no daemon runs here"},
    ),
    (
        "with the engine off",
        {"on": False},
        {"start_engine": None, "stop_engine": "the engine is off", "shutdown": None},
    ),
    ("with the engine on", {}, {"start_engine": "the engine is on", "stop_engine": None, "release": None}),
    (
        "while the daemon ends",
        {"engine": {"on": True, "stopping": True}},
        {
            "start_engine": "the daemon is ending: it only waits for its running work",
            "stop_engine": "the daemon is ending",
        },
    ),
    (
        "of an observer",
        {"on": False, "lease": leased("owned")},
        {
            "start_engine": "ann-pc has control of this workspace",
            "request": None,
            "release": "this workstation does not have control",
            "take_over": "possible only after the owner has been silent for long enough",
            "reset_all": "ann-pc has control of this workspace",
        },
    ),
    (
        "after asking",
        {"on": False, "lease": leased("control_requested", requested_by=ME)},
        {
            "request": "already requested",
            "withdraw": None,
            "take_over": "possible only after the owner has been silent for long enough",
        },
    ),
    ("of a dead owner", {"on": False, "lease": leased("takeover_available")}, {"take_over": None, "request": None}),
    (
        "when asked for control",
        {"lease": leased("mine", owner=ME, requested_by=ANN)},
        {"hand_over": None, "release": None, "request": "this workstation has control"},
    ),
    ("when nobody asks", {}, {"hand_over": "no other workstation asks for control"}),
    (
        "of a drive that is away",
        {"lease": leased("unreachable")},
        {"request": "the shared state cannot be read", "repair": "nothing is damaged"},
    ),
    ("while something runs", {"on": False, "active_runs": [active()]}, {"reset_all": "a run of claims is under way"}),
    ("while files are looked for", {}, {"reset_all": "the engine is on: stop it first"}),
]


@pytest.mark.parametrize(("case", "whole", "expected"), WHOLE, ids=[case for case, *_ in WHOLE])
def test_a_button_of_the_workspace_works_or_says_why_not(
    case: str, whole: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Engine, daemon and lease."""
    buttons = shown(flow(), **whole).buttons

    assert {name: buttons[name] for name in expected} == expected


def test_who_works_alone_reads_nothing_of_ownership() -> None:
    """As long as no other workstation was ever seen and all is well; then it is a word, and where there is trouble a line."""
    mine = LeaseStatus("mine", is_mine=True, is_shared=False)

    leases = (mine, replace(mine, is_shared=True), replace(mine, lapsed=True))
    lines = [render(WorkspaceStatus("ws", "/ws", lease=one)).lease_line for one in leases]

    assert [render(WorkspaceStatus("ws", "/ws", lease=one)).lease.word for one in leases[:2]] == ["", "owned here"]
    assert lines[:2] == ["", ""]
    assert lines[2] == "Owned by this workstation · nothing new starts until its heartbeat can be written"


def test_the_engine_has_nothing_to_do_for_flows_that_run_by_hand() -> None:
    """Its button says so."""
    view = shown(flow(mode="manual", state="manual"), on=False)

    assert view.buttons["start_engine"] == "no flow polls or has a schedule"


@pytest.mark.parametrize(
    ("lease", "line"),
    [
        (leased("available", owner=None), "Owned by nobody"),
        (leased("mine", owner=ME), ""),
        (leased("owned"), "Owned by ann-pc"),
        (leased("owned", owned_for_s=720.0), "Owned by ann-pc for 12 min"),
        (leased("owned", engine_on=True), "Owned by ann-pc · its engine is on"),
        (leased("owned", takeover_in_s=41.6), "Owned by ann-pc"),
        (leased("owned", takeover_in_s=41.6, is_overdue=True), "Owned by ann-pc, takeover available in 42 s"),
        (
            leased("control_requested", owner=ME, is_mine=True, requested_by=ANN),
            "Owned by this workstation, control requested by ann-pc",
        ),
        (
            leased("mine", owner=ME, releasing=True),
            "Owned by this workstation · it is given up when the running work has ended: the engine is off then, and no flow runs by itself",
        ),
        (leased("control_requested", requested_by=ME), "Owned by ann-pc, control requested by my-pc"),
        (leased("takeover_available"), "Owned by ann-pc, takeover available"),
        (leased("unreachable", owner=None, note="host is down"), "Unreachable: host is down"),
        (leased("damaged", owner=None), "Damaged"),
        (leased("owned", owner=None), "Owned by another workstation"),
    ],
)
def test_the_lease_is_told_in_a_sentence(lease: dict[str, Any], line: str) -> None:
    """Whoever has, wants or lost the workspace is named, in the words of the command line."""
    assert shown(lease=lease).lease_line == line


def test_the_engine_waits_for_the_modules_to_be_read() -> None:
    """Before that nobody knows what polls."""
    view = shown(flow(mode="manual", state="being read"), on=False)

    assert view.buttons["start_engine"] == "the modules are being read"


def test_groups_are_counted_in_words() -> None:
    """By name, without a group last; what runs and what fails is counted."""
    view = shown(
        flow("b"),
        flow("a", mode="manual", last_run=run("failed")),
        flow("c", group="Books", state="running"),
        flow("x", group=None, state="broken"),
        active_runs=[active("c")],
    )

    assert [(group.name, group.summary, group.flows) for group in view.groups] == [
        ("Books", "1 flow · 1 running", ("c",)),
        ("Claims", "2 flows · 1 failing", ("a", "b")),
        ("", "1 flow · 1 failing", ("x",)),
    ]


def test_an_empty_workspace_says_so() -> None:
    """And nothing can be started."""
    view = shown(on=False)

    assert view.empty == NO_FLOWS
    assert view.buttons["start_engine"] == "no flow polls or has a schedule"


def test_a_machine_that_does_not_know_all_that_ran_says_so() -> None:
    """With what fetches it; nothing where it does."""
    found = status(flow(), on=False, running=False)
    behind = found | {"lease": found["lease"] | {"is_behind": True}}

    assert [(one.tone, one.text, one.fix) for one in render(WorkspaceStatus.read(behind)).notices] == [
        ("warn", "Not all of what other workstations ran is known here", "`data-engine start --no-engine` fetches it")
    ]
    assert render(WorkspaceStatus.read(found)).notices == ()


def test_trouble_and_an_old_status_are_noticed() -> None:
    """What a person should know stands above everything else, with its fix."""
    found = status(flow(), lease=leased("mine", owner=ME, requested_by=ANN))
    found["lease"] |= {"trouble": "the drive is away", "lost_to": "ann-pc"}
    file = f"{found['workspace_root']}/config/data_engine.toml: deploy.gate"
    found["trouble"] = {"what": "gate cannot be 'goldn'", "where": file, "fix": "see the log"}
    found["warnings"] = ['unknown setting "quite"']
    found["service"] = {"installed": True, "trouble": "its Python is gone: /x", "fix": "install it again"}

    notices = render(WorkspaceStatus.read(found), problem="The daemon does not answer").notices

    assert [(notice.tone, notice.text, notice.fix) for notice in notices] == [
        ("warn", "The daemon does not answer", None),
        ("bad", "config/data_engine.toml: deploy.gate: gate cannot be 'goldn'", "see the log"),
        ("warn", 'unknown setting "quite"', None),
        ("warn", "the service of this workspace: its Python is gone: /x", "install it again"),
        ("bad", "the drive is away", "check whether the shared drive is connected"),
        ("warn", "ann-pc has taken this workspace over", None),
    ]


def test_a_request_that_failed_is_told_to_each_side_in_its_own_words() -> None:
    """Who asked is told what to do; the owner that nothing is asked of it. Both can put it away, and it has its time."""
    asked = {"request_id": "q1", "verb": "run", "flow": "claims", "state": "answered", "outcome": "failed"}
    asked |= {"by": "ann", "machine": "ann-pc", "at_utc": "2026-01-05T06:30:00+00:00"}

    def told(state: str, **changes: Any) -> list[Any]:
        found = status(flow(), lease=leased(state, **changes), requests=[asked])
        return [(one.text, one.fix, one.id, one.at_utc) for one in render(WorkspaceStatus.read(found)).notices]

    text, at_utc = "ann@ann-pc asked to run claims: failed", asked["at_utc"]
    owners = "done for another workstation, which was told so; nothing is asked of you here"
    assert told("mine", owner=ME) == [(text, owners, "q1", at_utc)]
    assert told("owned") == [(text, "ask again, or ask for the workspace", "q1", at_utc)]


def test_a_damaged_share_is_told_with_the_command_that_mends_it() -> None:
    """And not with a look at its drive, which is there."""
    found = WorkspaceStatus(
        "ws", "/ws", lease=LeaseStatus("damaged", damage=DamageStatus("the list is gone", fix="repair it"))
    )
    found = replace(found, lease=replace(found.lease, trouble="the heartbeat cannot be written"))

    notices = render(found).notices

    assert [(one.text, one.fix) for one in notices] == [("the heartbeat cannot be written", "repair it")]


def test_the_status_of_a_workspace_without_anything_can_be_shown() -> None:
    """The one shape everybody reads is the one the panel reads."""
    view = render(build_status(WorkspaceFacts("ws", "/team/ws", flows=())))

    assert (view.daemon.word, view.engine.word, view.lease.word) == ("not running", "off", "available")


def test_a_daemon_that_does_not_answer_is_shown_as_one() -> None:
    """Not as none, which a button would start; it is ended by its own button, and nothing else is asked of it."""
    silent = {"running": True, "pid": 7, "version": "0.1.0", "silent": True}
    view = shown(flow(state="poll_ready"), daemon=silent, engine={"on": None})

    assert (view.daemon.word, view.daemon.tone, view.engine.word) == ("does not answer", "warn", "not known")
    assert view.details["daemon"] == "pid 7, version 0.1.0"
    assert [(one.text, one.fix) for one in view.notices] == [
        (
            "The daemon (pid 7) does not answer",
            "wait until it answers, or end it: `data-engine kill` (in the panel: Settings, Force stop daemon)",
        )
    ]
    why = "the daemon (pid 7) does not answer; `data-engine kill` ends it"
    assert {name for name, reason in view.buttons.items() if reason != why} == {"kill"}
    assert view.buttons["kill"] is None
    assert {name for name, reason in view.flows["claims"].buttons.items() if reason != why} == {"plan", "restore"}


def test_a_view_is_plain_json() -> None:
    """It is sent to pages and kept in notebooks."""
    view = as_json(shown(flow(last_run=run()), active_runs=[active(done=1, total=3)]))

    assert json.loads(json.dumps(view, allow_nan=False)) == view
    assert view["active"][0]["total"] == 3


@pytest.mark.parametrize(
    ("told", "cells"),
    [
        (None, []),
        (Cause("code_raised"), []),
        (
            Cause("code_raised", {"places": [cell_place("claims.ipynb", 4, 3), cell_place("claims.ipynb", 2, 1)]}),
            [{"notebook": "claims.ipynb", "cell": 4, "line": 3}, {"notebook": "claims.ipynb", "cell": 2, "line": 1}],
        ),
        (
            {"places": [cell_place("claims 2025.ipynb", 1)]},
            [{"notebook": "claims 2025.ipynb", "cell": 1, "line": None}],
        ),
        ({"places": [cell_place("a.ipynb", 1, 2)] * 2}, [{"notebook": "a.ipynb", "cell": 1, "line": 2}]),
    ],
)
def test_an_error_leads_to_its_cells(told: Any, cells: list[dict[str, Any]]) -> None:
    """Each place once, in order."""
    assert list(places_of(told)) == cells


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3)),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3)),
    st.integers(0, 2),
    st.integers(0, 2),
)
def test_a_change_turns_the_old_view_into_the_new(
    old: dict[str, int], new: dict[str, int], engine: int, later: int
) -> None:
    """And is empty exactly when they are equal."""
    before, after = {"engine": engine, "flows": old}, {"engine": later, "flows": new}

    change = delta(before, after)

    flows = {
        name: row
        for name, row in (before["flows"] | change.get("flows", {})).items()
        if name not in change.get("gone", [])
    }  # type: ignore[operator]
    assert before | change.get("set", {}) | {"flows": flows} == after
    assert bool(change) == (before != after)


def test_a_run_changes_one_row_only() -> None:
    """Of 500 flows, what is sent after the first view is what moved."""
    flows = [flow(f"flow_{number}", group=f"G{number % 20}") for number in range(500)]
    before = as_json(shown(*flows))
    flows[7] = flow("flow_7", group="G7", held=1, last_run=run("failed"))

    change = delta(before, as_json(shown(*flows)))

    assert list(change["flows"]) == ["flow_7"]
    assert set(change["set"]) == {"groups"}


def test_notebooks_that_are_no_flows_are_told_below_the_list() -> None:
    """The first few whole, and where the others are named."""
    told = [f"claims-Copy{number}.ipynb is a copy: rename it to make it a flow" for number in range(1, 8)]

    assert shown(flow(), not_flows=told[:2]).not_flows == tuple(told[:2])
    assert shown(flow(), not_flows=told).not_flows == (*told[:5], "and 2 more that `data-engine list` names")
