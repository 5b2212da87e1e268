"""`enable` and `disable` take several flows, and say what was missed and runs at once."""

from __future__ import annotations

import re
import time

import pytest

from data_engine import Workspace
from data_engine.model import utc_text
from data_engine.workspace.machine import user_name
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

NIGHTLY = """
    from data_engine import Flow

    def build():
        return Flow(group="N").watch(mode="schedule", time="07:00", tz="UTC", catch_up="{catch_up}").step(print)
"""
POLLED = """
    from data_engine import Flow

    def build():
        return Flow(group="P").watch(mode="poll", source="../in", interval="1s", extensions=".csv", settle=0).step(print)
"""


@pytest.fixture(autouse=True)
def flows(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    monkeypatch.chdir(ws.root)
    for catch_up in ("all", "latest", "none"):
        ws.notebook(catch_up, NIGHTLY.format(catch_up=catch_up))
    ws.notebook("polled", POLLED)
    ws.source("in/a.csv")
    Workspace(ws.root).deploy()


def enabled(ws: WorkspaceFiles) -> dict[str, bool]:
    return {flow.name: flow.enabled for flow in Workspace(ws.root).status().flows}


def test_a_flow_without_a_trigger_runs_by_hand_whatever_is_switched(cli: Cli, ws: WorkspaceFiles) -> None:
    """That is what is said of it, and the note on it is shown in the status."""
    ws.notebook("byhand", "from data_engine import Flow\n\ndef build():\n    return Flow(group='H').step(print)")
    Workspace(ws.root).deploy("byhand")
    disabled = cli("disable", "byhand", "--note", "until Monday").out
    shown = cli("status", "--json").json["flows"]
    enabled = cli("enable", "byhand").out

    assert disabled.startswith(
        "byhand has no trigger, so it runs by hand only as before; with one it does so too, until"
    )
    (flow,) = (one for one in shown if one["name"] == "byhand")
    assert (flow["state"], flow["reason"].endswith(": until Monday")) == ("manual", True)
    assert enabled == "byhand is enabled. It has no trigger: it runs when somebody runs it (data-engine run byhand).\n"


def test_several_are_switched_or_none(cli: Cli, ws: WorkspaceFiles) -> None:
    """Where one of the names is misspelt nothing is."""
    answer = cli("disable", "all", "nome", "polled")
    assert (answer.code, "'nome' is not available" in answer.err) == (2, True)
    assert enabled(ws) == {"all": True, "latest": True, "none": True, "polled": True}

    answer = cli("disable", "all", "polled")
    assert answer.out.splitlines() == [
        "all runs by hand only, until it is enabled: data-engine enable all",
        "polled runs by hand only, until it is enabled: data-engine enable polled",
    ]
    assert enabled(ws) == {"all": False, "latest": True, "none": True, "polled": False}
    assert cli("enable", "all", "--json").json["enabled"] is True
    assert [one["flow"] for one in cli("disable", "all", "none", "--json").json] == ["all", "none"]


def test_who_disabled_a_flow_and_when_is_told(cli: Cli, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, wherever somebody looks; enabling it ends that."""
    monkeypatch.setenv("DATA_ENGINE_MACHINE_ID", "PC7")
    assert cli("disable", "polled", "--note", "stock-taking until Monday").code == 0

    (row,) = (one for one in cli("status", "--json").json["flows"] if one["name"] == "polled")
    said = row["reason"]
    assert re.fullmatch(
        rf"disabled by {user_name()}@PC7 on \d{{4}}-\d\d-\d\d [\d:]{{8}}: stock-taking until Monday", said
    )
    assert (row["disabled"]["by"], row["why"]["note"]) == (f"{user_name()}@PC7", "stock-taking until Monday")
    assert "disabled" not in next(one for one in cli("status", "--json").json["flows"] if one["name"] == "none")
    assert said in " ".join(cli("list").out.split())
    assert said in cli("show", "polled").out
    assert cli("show", "polled", "--json").json["disabled"]["at_utc"] == row["disabled"]["at_utc"]
    assert cli("explain", "polled", "--json").json[0]["reason"] == said

    cli("enable", "polled")
    assert all("disabled by" not in cli(*words).out for words in (["list"], ["show", "polled"], ["status"]))


def test_a_flow_that_is_disabled_again_keeps_its_note(cli: Cli, ws: WorkspaceFiles) -> None:
    """Until another one is given, or it is enabled."""

    def note() -> str:
        return Workspace(ws.root).home.ledger().switch("polled").note

    cli("disable", "polled", "--note", "weekend")
    assert cli("disable", "polled").code == 0
    assert note() == "weekend"
    cli("disable", "polled", "--note", "stock-taking")
    assert note() == "stock-taking"
    cli("enable", "polled")
    cli("disable", "polled")
    assert note() == ""


def test_what_was_missed_is_told(cli: Cli, ws: WorkspaceFiles) -> None:
    """The engine is off, so it is done once that is on; a flow that was not disabled missed nothing by that."""
    ledger = Workspace(ws.root).home.ledger()
    for name in ("all", "latest", "none"):
        ledger.serve_slot(name, utc_text(time.time() - 3 * 86400), "")
    assert "once the engine is on" not in cli("enable", "all").out
    cli("disable", "all", "latest", "none", "polled")

    told = {name: cli("enable", name).out for name in ("all", "latest", "none", "polled")}

    assert "3 slots that it missed run once the engine is on (data-engine start): 20" in told["all"]
    assert told["all"].count("07:00:00 UTC") == 3
    assert told["latest"].count("07:00:00 UTC") == 1
    assert "once the engine is on" not in told["none"]
    assert "1 file runs once the engine is on" in told["polled"]


def test_the_status_is_asked_once_for_all_flows(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("disable", "all", "latest", "polled")
    asked: list[Workspace] = []
    status = Workspace.status
    monkeypatch.setattr(Workspace, "status", lambda ws: asked.append(ws) or status(ws))

    said = cli("enable", "all", "latest", "polled").out

    assert said.count("is enabled") == 3
    assert "1 file runs once the engine is on" in said
    assert len(asked) == 1


def test_a_deployment_of_a_disabled_flow_says_that_it_stays_so(cli: Cli, ws: WorkspaceFiles) -> None:
    cli("disable", "polled")
    ws.notebook("polled", POLLED.replace("print", "str"))

    said = cli("deploy", "polled").out

    assert (
        "polled: it stays disabled, and runs by hand only. To let it run by itself: data-engine enable polled" in said
    )
    assert enabled(ws)["polled"] is False
