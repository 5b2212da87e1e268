"""What an author notes of a run in `context.metadata` is with the run wherever one looks at it."""

from __future__ import annotations

import json
from datetime import date

import pytest

from data_engine import FlowExecutionError, Workspace
from data_engine.model import RunStarted, StepFinished
from data_engine.status.run_comparison import compare
from data_engine.status.runs import facts_of
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

FLOW = """
    from datetime import date
    import polars as pl
    from data_engine import Flow

    def read(context):
        context.metadata["batch_no"] = 7
        context.metadata["days"] = [date(2026, 1, 5)]
        return pl.DataFrame({"a": [1]})

    def keep(context):
        context.metadata["days"].append(date(2026, 1, 6))
        context.metadata["seen"] = context.metadata["batch_no"] + 1
        if context.source.path.stem == "bad":
            raise ValueError("nothing here")
        return context.current

    def build():
        return Flow(group="G").watch(mode="manual", source="../in", extensions=".csv").step(read).step(keep)
"""


@pytest.fixture
def claims(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(ws.root)
    ws.source("in/a.csv")
    ws.module("claims", FLOW)
    return Workspace(ws.root)


NOTED = {"batch_no": 7, "days": ["2026-01-05", "2026-01-06"], "seen": 8}


def test_a_run_has_what_its_steps_noted(claims: Workspace, cli: Cli) -> None:
    claims.load_flow("claims").run_once()

    (run,) = claims.runs("claims")
    assert run.metadata == NOTED
    assert dict(facts_of(run))["Noted"] == 'batch_no=7, days=["2026-01-05", "2026-01-06"], seen=8'
    (listed,) = json.loads(cli("runs", "claims", "--json").out)
    assert listed["metadata"] == NOTED
    assert json.loads(cli("log", run.run_id, "--json").out)["run"]["metadata"] == NOTED
    assert "Noted" in cli("log", run.run_id).out


def test_two_runs_are_compared_by_it(claims: Workspace, ws: WorkspaceFiles) -> None:
    flow = claims.load_flow("claims")
    flow.run_once()
    ws.module("claims", FLOW.replace('"] = 7', '"] = 9'))
    claims.load_flow("claims").run_once()

    b, a = claims.runs("claims")
    difference = compare(claims.home, a, b)

    assert not difference.is_equal
    assert difference.lines()[:2] == [("metadata", "batch_no: 7 → 9"), ("metadata", "seen: 8 → 10")]


def test_a_replay_has_what_the_failing_step_was_given(claims: Workspace, ws: WorkspaceFiles) -> None:
    ws.source("in/bad.csv")
    with pytest.raises(FlowExecutionError):
        claims.load_flow("claims").run_once(source="bad.csv")

    (run,) = claims.runs("claims")
    replay = claims.replay(run.run_id)

    assert run.metadata == NOTED
    assert replay.context.metadata["days"] == [date(2026, 1, 5)]
    assert replay.context.metadata["batch_no"] == 7
    assert "seen" not in replay.context.metadata
    with pytest.raises(FlowExecutionError):
        replay.run()


def test_what_is_too_large_is_named_in_the_log_and_fails_nothing(claims: Workspace, ws: WorkspaceFiles) -> None:
    ws.module("claims", FLOW.replace('"] = 7', '"] = 7; context.metadata["pages"] = "x" * 70_000'))
    claims.load_flow("claims").run_once()

    (run,) = claims.runs("claims")

    assert run.metadata == NOTED
    (line,) = [line for line in claims.log(run.run_id) if "pages" in line.message]
    assert line.message.startswith("metadata['pages'] is not kept with the run")


def test_it_is_seen_while_the_run_goes_on(claims: Workspace) -> None:
    """Each step that has changed it says so when it ends."""
    ledger = claims.home.ledger()
    ledger.record(RunStarted("3f", "claims", "G", None, 0.5))
    ledger.record(StepFinished("3f", 0, "read", "success", 1.0, 0.1, metadata='{"batch_no":7}'))
    ledger.flush()

    run = ledger.run("3f")

    assert run is not None
    assert (run.status, run.metadata) == ("started", {"batch_no": 7})


def test_a_run_without_anything_says_so(ws: WorkspaceFiles, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its JSON has the keys all the same."""
    monkeypatch.chdir(ws.root)
    ws.module(
        "plain",
        "from data_engine import Flow\n\ndef one(context): return 1\n\ndef build(): return Flow(group='G').step(one)",
    )
    Workspace(ws.root).load_flow("plain").run_once()

    (listed,) = json.loads(cli("runs", "plain", "--json").out)

    assert (listed["schemas"], listed["metadata"]) == ({}, {})
