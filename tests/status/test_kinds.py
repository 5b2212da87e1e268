"""Every reason, state and cause has a kind for programs, and its data; the words for people are made of them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import data_engine
from data_engine import Flow
from data_engine.cause import SENTENCES, Cause, cause_from, data_text, other, read_cause, signalled
from data_engine.cli.app import make_command
from data_engine.errors import FlowValidationError
from data_engine.model import Run
from data_engine.notebook.catalog import CatalogEntry, describe
from data_engine.notebook.deployment_status import DeploymentStatus
from data_engine.reasons import kinds as reasons
from data_engine.reasons.kinds import Done, GroupRun, Held, NotThere, read_reason
from data_engine.reasons.remedies import KINDS, Reason
from data_engine.record import as_json
from data_engine.status.build import FlowFacts, WorkspaceFacts, build_status
from data_engine.status.explain import Explanation, ways
from data_engine.status.record import State, WorkspaceStatus
from data_engine.view.panel import render

NOON = "2026-06-01T12:00:00.000000+00:00"
SNAKE = re.compile(r"[a-z]+(_[a-z]+)*")
SAMPLES: tuple[Reason, ...] = (
    reasons.New(),
    reasons.Changed(),
    reasons.Interrupted(),
    reasons.Freed("failed"),
    reasons.Retried(1, 2),
    reasons.Slot(NOON, is_missed=True),
    reasons.Tick(3),
    reasons.Asked(),
    reasons.Done("0123456789ab", NOON),
    reasons.NotThere("success", "0123456789ab", NOON),
    reasons.Settling(0.5),
    reasons.WaitsForSettling(2, 0.5),
    reasons.Locked("Microsoft Excel (process 7)"),
    reasons.NeedsHash(),
    reasons.Held(NOON, "failed", "KeyError: 3", "0123456789ab"),
    reasons.RetryLater(NOON, 1, 2, "KeyError: 3", "0123456789ab"),
    reasons.Running(),
    reasons.NameFiltered(".git"),
    reasons.NotListed((".csv", ".xlsx")),
    reasons.OwnOutput(),
    reasons.MayBeOutput(),
    reasons.NoFiles(),
    reasons.NotYet(NOON),
    reasons.DaysUnknown("No such file", "config/holidays.txt"),
    reasons.ByHand(),
    reasons.Unreachable(NOON, "gone"),
    reasons.Disabled(),
    reasons.OwnedElsewhere("anna", is_engine_on=True),
    reasons.EngineOff(),
    reasons.DaemonSilent(7),
    reasons.WaitingForGroup("G", (GroupRun("audit", "0123456789ab", 77),)),
    reasons.WaitingForWorker(),
    reasons.WaitingForShare(),
    reasons.WaitingForOwnRun(),
    reasons.HeldSlot(NOON, NOON, "it died"),
    reasons.FeedShrunk(8, 10, ("claims",)),
    reasons.UpstreamRunning("clean", "0123456789ab", NOON),
    reasons.Looks(5.0, wakes=True),
    reasons.Broken("it does not parse", "claims.ipynb, cell 3"),
    reasons.Edited((3, 7), "SyntaxError"),
    reasons.ModuleGone("claims.ipynb"),
    reasons.ModuleGone("claims.ipynb", moved_to="old/claims.ipynb"),
    reasons.Undeployed("claims", NOON, "anna@ANNA-PC"),
    reasons.NotDeployed("claims", goes_live_s=4e9),
    reasons.Requested("ANNA-PC was asked to run claims: waits for its answer"),
    reasons.Stopping("0123456789ab"),
    reasons.Trouble("the disk is full"),
    reasons.NotLookedAt(),
    reasons.Expected(NOON, "Europe/Berlin"),
    reasons.Late(NOON, None, "the engine is off"),
    reasons.LastRunFailed("failed", "0123456789ab", NOON, "KeyError: 3"),
    reasons.LastWritten("/out/a.csv", "0123456789ab", NOON, "month=2026-06", ("/in/a.csv",), 2, "changed"),
    reasons.RowsRecorded("sales", "0123456789ab", NOON, 2, "file_key", "jan.csv"),
    reasons.LastRunWarned(2, "0123456789ab"),
    reasons.Outdated("/ref/products.csv", 9),
    reasons.Outdated("/ref/products.csv", 1, "gone"),
    reasons.Outdated("/ref/products.csv", 3, by_hand=True),
    reasons.Outdated("/ref/products.csv", 1, run_id="0123456789ab", at_utc=NOON, output="/out/a.csv"),
    reasons.Overlong(NOON, 1800.0, "0123456789ab"),
    reasons.SlotsPassed(3, NOON, NOON, "Europe/Berlin"),
    reasons.More(12),
    reasons.Other("of tomorrow"),
)


def test_each_reason_there_is_has_a_kind_of_its_own() -> None:
    """Whoever adds a reason gives it one, lists it, and tries it here."""
    defined = {one for one in vars(reasons).values() if isinstance(one, type) and issubclass(one, Reason)} - {Reason}

    assert set(KINDS.values()) == defined == {type(one) for one in SAMPLES}
    assert len(KINDS) == len(defined)
    assert [kind for kind in KINDS if not SNAKE.fullmatch(kind)] == []


@pytest.mark.parametrize("why", SAMPLES, ids=lambda why: why.kind)
def test_a_reason_is_the_same_after_it_was_sent(why: Reason) -> None:
    """By its kind and data; the sentence is made anew, and stands beside them."""
    row = Explanation("claims", None, why)
    sent = json.loads(json.dumps(row.as_dict()))

    assert sent["why"]["kind"] == why.kind
    assert sent["reason"] == why.text != ""
    assert Explanation.read(sent) == row
    assert read_reason(sent["why"]).mark() == why.mark()
    assert why.mark().kind == why.kind


CHANGE_BY_THEMSELVES = {
    *(kind.kind for kind in get_args(reasons.WhyDue)),
    *("not_there", "settling", "waits_for_settling", "needs_hash", "own_output", "may_be_output"),
    *("looks", "not_looked_at", "expected", "more", "other"),
}


@pytest.mark.parametrize("why", SAMPLES, ids=lambda why: why.kind)
def test_each_state_that_a_person_can_change_names_the_command(why: Reason) -> None:
    """And each command that is named is one."""
    if why.kind == "running":
        why = reasons.Running("0123456789ab")
    way = Explanation("claims", "/in/a.csv", why).fix

    assert (way is None) == (why.kind in CHANGE_BY_THEMSELVES)
    commands: Any = make_command().commands
    for command, verb in re.findall(r"data-engine (\S+?)`?(?: (\w+))?\b", way or ""):
        assert command in commands
        assert verb in getattr(commands[command].loaded(), "commands", [verb])


def test_what_changes_many_rows_is_said_once() -> None:
    rows = [
        Explanation("claims", None, reasons.EngineOff()),
        *(Explanation("claims", f"/in/{n}.csv", reasons.EngineOff()) for n in range(3)),
        Explanation("claims", "/in/b.csv", reasons.Held(NOON, "failed", "oh", "0123456789ab"), cause=NO_PACKAGE),
        *(Explanation("audit", f"/in/{n}.csv", reasons.Held(NOON, "stopped", None, f"{n}" * 12)) for n in range(2)),
    ]

    assert ways(rows) == [
        "engine off: `data-engine start` lets flows run by themselves",
        "held: `data-engine log 01234567` shows the whole error; install it; `data-engine retry claims --source /in/b.csv`, or a change, tries it again",
        "held: `data-engine retry audit`, or a change, tries all of them again",
    ]


NO_PACKAGE = Cause("code_raised", {"step": "Read", "detail": "ModuleNotFoundError", "fix": "install it"})


def test_whole_run_ids_go_with_the_reasons_that_name_a_run() -> None:
    """The sentence shows eight letters; a program needs them all."""
    named = [why.as_dict() for why in SAMPLES if "01234567" in json.dumps(why.as_dict())]

    assert {one["kind"] for one in named} == {
        "done",
        "not_there",
        "held",
        "retry_later",
        "outdated",
        "waiting_for_group",
        "overlong",
        "last_run_failed",
        "last_run_warned",
        "last_written",
        "rows_recorded",
        "stopping",
        "upstream_running",
    }
    assert all("0123456789ab" in json.dumps(one) for one in named)


def test_every_flow_has_a_state_and_a_reason_with_a_kind() -> None:
    """In the status, in JSON and in the panel."""
    poll = Flow("Claims", "claims").watch(mode="poll", source="/in", interval="5s")
    broken = CatalogEntry("bad", Path("bad.py"), "Bad", error=FlowValidationError("it does not parse"))
    known = [
        FlowFacts(describe(poll, Path("/ws/flow_modules/claims.py")), DeploymentStatus("edited", (3,))),
        FlowFacts(broken),
        FlowFacts(CatalogEntry("new", Path("new.py"), "New"), is_read=False),
    ]
    status = build_status(WorkspaceFacts("ws", "/ws", known))
    view = as_json(render(status))

    assert [flow["state_kind"] for flow in status.as_dict()["flows"]] == ["poll_ready", "broken", "being_read"]
    assert {flow.state_kind for flow in status.flows} <= set(get_args(State))
    assert [flow["why"] and flow["why"]["kind"] for flow in status.as_dict()["flows"]] == ["engine_off", "broken", None]
    assert status.flows[0]["deployment_status"] == {"kind": "edited", "cells": [3], "error": None}
    assert {name: row["mark"]["kind"] for name, row in view["flows"].items()} == {
        "claims": "poll_ready",
        "bad": "broken",
        "new": "being_read",
    }
    assert (view["flows"]["claims"]["why"], view["flows"]["claims"]["deployment_status"]["kind"]) == (
        {"kind": "engine_off"},
        "edited",
    )
    assert WorkspaceStatus.read(json.loads(json.dumps(status.as_dict()))) == status


# -- why runs ended ------------------------------------------------------------------------------------------------


def causes_made() -> Iterator[str]:
    """The kinds of the causes that the package makes."""
    for path in Path(data_engine.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Cause":
                kind = node.args[0]
                for one in (kind.body, kind.orelse) if isinstance(kind, ast.IfExp) else (kind,):
                    if isinstance(one, ast.Constant):
                        yield str(one.value)


def test_every_cause_that_is_made_is_of_a_known_kind_and_every_kind_is_made() -> None:
    """So that the list of kinds is whole, and holds no dead ones."""
    assert set(causes_made()) == set(SENTENCES)
    assert [kind for kind in SENTENCES if not SNAKE.fullmatch(kind)] == []


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (Cause("time_limit", {"limit_s": 90.0}), "the time limit of 90 s ([limits] run_timeout) was reached"),
        (Cause("process_gone", {"pid": 7}), "its process died (pid 7)"),
        (signalled(11, "SIGSEGV"), "its process died: killed by signal 11 (SIGSEGV)"),
        (Cause("code_raised", {"step": "Read", "detail": "KeyError: 3", "places": []}), "its code raised an error"),
        (other("by the moon {x}"), "by the moon {x}"),
        (Cause("of_tomorrow", {"text": "a flood"}), "a flood"),
        (Cause("time_limit"), "time limit"),
    ],
    ids=lambda value: value.kind if isinstance(value, Cause) else "",
)
def test_a_cause_is_the_same_after_it_was_kept_and_sent(cause: Cause, text: str) -> None:
    """In the ledger's columns and as JSON; of another version, or damaged, it still has a kind and some words."""
    assert cause.text == text
    assert cause_from(cause.kind, data_text(cause), cause.text) == cause
    assert read_cause(json.loads(json.dumps(cause.as_dict()))) == cause


def test_a_run_of_before_there_were_kinds_has_one_too() -> None:
    run = Run("r1", "claims", "G", None, "failed", NOON, why=cause_from(None, None, "its process died: exit code 3"))

    assert (run.cause, run["why"]) == (
        "its process died: exit code 3",
        {"kind": "other", "text": "its process died: exit code 3"},
    )


def test_what_says_time_limit_is_none() -> None:
    """`[retry]` goes by the kind: an error that quotes the words is no time limit, and a time limit in other words is one."""
    from data_engine.model import RunFinished
    from data_engine.planning.due import is_retryable

    def ended(why: Cause) -> RunFinished:
        return RunFinished("r1", "killed", 0.0, 1.0, None, why)

    assert not is_retryable(ended(other("killed by request: over the time limit of patience")))
    assert not is_retryable(ended(Cause("kill_requested")))
    assert is_retryable(ended(Cause("time_limit", {"limit_s": 5.0})))


def test_what_fails_each_time_alike_is_not_retried() -> None:
    from data_engine.model import RunFinished
    from data_engine.planning.due import is_retryable

    def ended(why: str) -> RunFinished:
        return RunFinished("r1", "failed", 0.0, 1.0, None, Cause(why))

    assert is_retryable(ended("code_raised"))
    assert not is_retryable(ended("overwrites_source"))


def test_an_explanation_as_json_holds_whole_run_ids() -> None:
    """The sentence is short; what a program reads is whole."""
    run_id = "1f3c9d2e7a41" * 2
    for why in (Done(run_id, None), NotThere("success", run_id, None), Held(None, "failed", None, run_id)):
        assert Explanation("claims", "/in/a.csv", why).as_dict()["why"]["run_id"] == run_id


def test_files_that_are_held_for_other_errors_have_a_fix_each() -> None:
    """With the names of the files that it is of."""
    fixes = ("pip install polars", "name the column", "name the column")
    rows = [
        Explanation(
            "claims", f"/in/{n}.csv", reasons.Held(NOON, "failed", "oh", f"{n}" * 12), cause=Cause("x", {"fix": fix})
        )
        for n, fix in enumerate(fixes)
    ]

    told = ways(rows)

    assert [one.partition(": ")[0] for one in told] == ["held (0.csv)", "held (1.csv, 2.csv)"]
    assert "; pip install polars; " in told[0]
    assert "; name the column; " in told[1]
