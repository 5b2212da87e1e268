"""The daemon from the command line: started, asked, told, stopped; and what is said when it does not run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from data_engine import Workspace
from data_engine.cli.output import local_time
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles


@pytest.fixture(autouse=True)
def inside(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.notebook("claims", "from data_engine import Flow", "def build():\n    return Flow(group='C')")
    monkeypatch.chdir(ws.root)


@pytest.fixture
def daemon(cli: Cli, ws: WorkspaceFiles) -> Iterator[Cli]:
    ws.notebook(
        "parts",
        """
        from data_engine import Flow
        def work(context):
            if context.params.get("fail"):
                raise KeyError("amount")
            return 1
        def build():
            return Flow(group="G").watch(mode="schedule", time="03:30").step(work)
        """,
    )
    assert cli("start").code == 0
    yield cli
    Workspace(ws.root).kill()


def test_start_status_stop(daemon: Cli) -> None:
    status = daemon("status", "--json").json
    assert status["daemon"]["running"] is True
    assert status["engine"]["on"] is True
    flows = {flow["name"]: (flow["state"], flow["enabled"], bool(flow["next_run_utc"])) for flow in status["flows"]}
    assert flows["parts"][:2] == ("scheduled", True)
    assert "engine   on" in daemon("status").out

    assert daemon("stop").code == 0
    assert daemon("stop", "--json").code == 0


def test_the_next_run_is_shown_wherever_a_flow_is(daemon: Cli) -> None:
    """In `list`, `show`, `status` and `explain`, for people and as JSON."""
    found = daemon("explain", "parts", "--json").json
    while not found[0]["next_run_utc"]:
        found = daemon("explain", "parts", "--json").json
    next_utc = found[0]["next_run_utc"]

    for name in ("status", "list"):
        flows = daemon(name, "--json").json
        flows = flows["flows"] if isinstance(flows, dict) else flows
        assert {flow["name"]: flow["next_run_utc"] for flow in flows} == {"claims": None, "parts": next_utc}
    assert daemon("show", "parts", "--json").json["next_run_utc"] == next_utc
    for command in (("status",), ("list",), ("show", "parts"), ("explain", "parts")):
        assert local_time(next_utc) in daemon(*command).out
    assert "next run  -" in daemon("show", "claims").out


def test_run_waits_and_fails_with_1(daemon: Cli) -> None:
    good = daemon("run", "parts")
    assert (good.code, "success" in good.out) == (0, True)

    bad = daemon("run", "parts", "--param", "fail=true", "--json")
    assert bad.code == 1
    (run,) = bad.json["runs"]
    assert run["status"] == "failed"
    assert "parts.ipynb, cell 1, line 4" in run["error"]


def test_switches_and_reasons(daemon: Cli) -> None:
    assert daemon("explain", "parts").out.count("next at") == 1
    assert daemon("disable", "parts").code == 0
    assert daemon("explain", "parts", "--json").json[0]["reason"] == "disabled"
    assert daemon("enable", "parts").code == 0
    assert daemon("retry").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "nope"), "Unknown flow: 'nope'"),
        (("run",), "which flow?"),
        (("enable", "nope"), "Unknown flow: 'nope'"),
        (("explain", "nope"), "neither a flow nor a file"),
        (("stop-run", "00"), "there is no run '00'"),
        (("kill-run", "00"), "there is no run '00'"),
        (("retry", "--source", "a.csv"), "not of which flow"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_requests_end_with_2_and_a_mend(daemon: Cli, arguments: tuple[str, ...], said: str) -> None:
    answer = daemon(*arguments)
    assert answer.code == 2
    assert said in answer.err
    assert "mend:" in answer.err


def test_without_a_daemon_there_is_nothing_to_stop_and_switches_are_kept(cli: Cli) -> None:
    assert (cli("stop").code, cli("kill").code) == (0, 0)
    assert cli("status", "--json").json["daemon"]["running"] is False
    assert cli("disable", "claims").code == 0
    assert {flow["name"]: flow["enabled"] for flow in cli("status", "--json").json["flows"]}["claims"] is False
    answer = cli("explain", "claims")
    assert (answer.code, "data-engine start" in answer.err) == (2, True)


def test_a_setting_nobody_reads_is_told_before_a_run(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.source("config/data_engine.toml", 'timezon = "Europe/Berlin"\n')

    answer = cli("run", "--once", "claims")

    assert answer.code == 0
    assert "timezon" in answer.err
    assert "timezone" in answer.err
