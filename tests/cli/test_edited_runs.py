"""Code that is not what is deployed runs over production's outputs only on purpose, and such a run changes nothing of what is due."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine import Flow, FlowValidationError, Workspace, load_flow, run
from data_engine.ledger.freshness import fresh_of, is_good_since
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

POLLED = """
    from data_engine import Flow
    from flow_helpers.rates import RATE

    def build():
        flow = Flow(group="G").watch(mode="poll", source="../in", extensions=".txt", interval="1s", settle=0)
        return flow.mirror(root="../out").step(write)
"""
WRITE = """
    def write(context):
        target = context.mirror.with_suffix(".out")
        target.write_text(f"{EDIT}{context.source.path.read_text()}{RATE}")
        return target
"""


def write(ws: WorkspaceFiles, edit: str = "'first'") -> None:
    ws.notebook("claims", POLLED, WRITE.replace("EDIT", edit))


@pytest.fixture
def deployed(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(ws.root)
    ws.helper("rates", "RATE = 1\n")
    ws.source("in/a.txt")
    write(ws)
    workspace = Workspace(ws.root)
    workspace.deploy("claims")
    return workspace


def out(ws: WorkspaceFiles) -> str | None:
    path = ws.root / "out" / "a.out"
    return path.read_text() if path.exists() else None


def test_what_is_deployed_runs_without_a_word(
    ws: WorkspaceFiles, deployed: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    load_flow("claims").run_once()

    (ran,) = deployed.runs("claims")
    assert (out(ws), ran.edited, capsys.readouterr().err) == ("firstx1", None, "")
    assert "edited" not in ran.as_dict()


@pytest.mark.parametrize("verb", ["run_once", "run", "show", "module run"])
def test_an_edit_writes_nothing_and_is_named(ws: WorkspaceFiles, deployed: Workspace, verb: str) -> None:
    write(ws, "'second'")
    flow = load_flow("claims")

    with pytest.raises(FlowValidationError) as caught:
        run(flow) if verb == "module run" else getattr(flow, verb)()

    error = caught.value
    assert "claims is not what is deployed (edited, not deployed: cell 2)" in error.what
    assert all(word in (error.fix or "") for word in ("preview", "deploy", "edited=True"))
    assert (out(ws), deployed.runs("claims")) == (None, [])


def test_an_edited_helper_is_named(ws: WorkspaceFiles, deployed: Workspace) -> None:
    ws.helper("rates", "RATE = 2\n")

    with pytest.raises(FlowValidationError, match=r"flow_helpers/rates\.py"):
        load_flow("claims").run_once()

    assert out(ws) is None


def test_a_module_that_is_no_notebook_is_named_by_its_file(ws: WorkspaceFiles) -> None:
    text = "from data_engine import Flow\ndef build():\n    return Flow(group='G').step(lambda context: {})\n"
    ws.module("plain", text.format(1))
    workspace = Workspace(ws.root)
    workspace.deploy("plain")
    ws.module("plain", text.format(2))

    with pytest.raises(FlowValidationError, match="plain is not what is deployed"):
        workspace.load_flow("plain").run_once()
    workspace.load_flow("plain").run_once(edited=True)

    assert [ran.edited for ran in workspace.runs("plain")] == ["plain.py"]


def test_an_edit_that_runs_on_purpose_is_marked_and_settles_nothing(ws: WorkspaceFiles, deployed: Workspace) -> None:
    write(ws, "'second'")

    load_flow("claims").run_once(edited=True)

    (ran,) = deployed.runs("claims")
    assert (out(ws), ran.edited, ran.as_dict()["edited"]) == ("secondx1", "cell 2", "cell 2")
    ledger = deployed.home.ledger()
    assert not ledger.source_states("claims")
    assert fresh_of(ledger, "claims", counts=lambda params: True, every_s=None).ended_s is None
    assert not is_good_since(ledger, "claims", "2020", counts=lambda params: True)
    told = [row for row in deployed.explain("claims") if row.source is not None]
    assert [row.why.kind for row in told] == ["engine_off"]
    assert "code that was not deployed (cell 2)" in told[0].reason
    (written,) = deployed.explain(str(ws.root / "out" / "a.out"))
    assert "not deployed (cell 2)" in written.reason


def test_a_held_source_stays_held(ws: WorkspaceFiles, deployed: Workspace) -> None:
    write(ws, "1 / 0")
    deployed.deploy("claims")
    load_flow("claims").run_once(on_error="continue")
    before = deployed.home.ledger().source_states("claims")
    write(ws, "'good'")

    load_flow("claims").run_once(edited=True)

    assert deployed.home.ledger().source_states("claims") == before
    assert [row.why.kind for row in deployed.explain("claims") if row.source] == ["held"]


def test_an_edit_that_fails_holds_nothing(ws: WorkspaceFiles, deployed: Workspace) -> None:
    load_flow("claims").run_once()
    before = deployed.home.ledger().source_states("claims")
    write(ws, "1 / 0")

    load_flow("claims").run_once(edited=True, on_error="continue")

    assert deployed.home.ledger().source_states("claims") == before


def test_a_flow_that_was_never_deployed_runs_and_that_is_said_once(
    ws: WorkspaceFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    ws.helper("rates", "RATE = 1\n")
    ws.source("in/a.txt")
    write(ws)
    workspace = Workspace(ws.root)

    for _ in range(2):
        workspace.load_flow("claims").run_once()

    assert capsys.readouterr().err.count("claims is not deployed: it runs here as it is now") == 1
    assert [ran.edited for ran in workspace.runs("claims")] == [None, None]
    assert len(workspace.home.ledger().source_states("claims")) == 1


def test_a_flow_of_no_workspace_runs_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    assert [context.current for context in Flow(group="G").step(lambda context: 1).run_once(edited=True)] == [1]
    assert capsys.readouterr().err == ""


def test_an_edit_that_is_watched_runs_each_source_once_and_keeps_nothing_of_it(
    ws: WorkspaceFiles, deployed: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs what is due, and in this process it is done; for everybody else it is due as before."""
    from data_engine import runs as module

    ws.source("in/b.txt")
    load_flow("claims").run_once(source="b.txt")
    write(ws, "'second'")
    ledger = deployed.home.ledger()
    before = ledger.source_states("claims")

    def wait(flows: list[Flow], **more: object) -> list[object]:
        from data_engine.scheduler.foreground import _ForegroundRun, tell_failure

        running = _ForegroundRun(None, tell_failure, once=False)
        running.set_flows(flows)
        for _tick in range(8):
            running.nudged.wait(0.3)
            running.tick(None, None)
        running.stop()
        running.join()
        running.close()
        return []

    monkeypatch.setattr(module, "run_until_interrupted", wait)
    run(load_flow("claims"), edited=True)

    first, *_ = ran = [one for one in deployed.runs("claims") if one.edited]
    assert (len(ran), first.source) == (1, str(ws.root / "in" / "a.txt"))
    assert ledger.source_states("claims") == before
    assert out(ws) == "secondx1"


# -- the command line ----------------------------------------------------------------------------------------------------------


def test_the_command_names_the_cells_and_ends_with_2(ws: WorkspaceFiles, deployed: Workspace, cli: Cli) -> None:
    write(ws, "'second'")

    refused, as_json = cli("run", "--once", "claims"), cli("run", "--once", "claims", "--json")

    assert (refused.code, as_json.code, out(ws)) == (2, 2, None)
    for word in ("edited, not deployed: cell 2", "data-engine deploy claims", "data-engine preview claims", "--edited"):
        assert word in refused.err
    assert set(as_json.json["error"]) >= {"what", "where", "fix"}

    done = cli("run", "--once", "claims", "--edited")
    assert (done.code, out(ws)) == (0, "secondx1")
    for told in (done.out, cli("runs").out, cli("log", deployed.runs()[0].run_id).out):
        assert "not deployed (cell 2)" in " ".join(told.split())
    assert cli("runs", "--json").json[0]["edited"] == "cell 2"


def test_watching_an_edit_ends_with_2(ws: WorkspaceFiles, deployed: Workspace, cli: Cli) -> None:
    write(ws, "'second'")

    assert cli("run", "--watch").code == cli("run", "--watch", "claims").code == 2
    assert out(ws) is None


def test_without_a_name_off_a_terminal_it_needs_a_yes(ws: WorkspaceFiles, deployed: Workspace, cli: Cli) -> None:
    for command in (["run", "--once"], ["run", "--once", "--json"]):
        refused = cli(*command)
        assert refused.code == 2
        assert "--yes" in (refused.json["error"]["fix"] if "--json" in command else refused.err)
    assert out(ws) is None

    assert cli("run", "--once", "--yes").code == 0
    assert out(ws) == "firstx1"


def test_a_deploy_without_a_name_needs_a_yes_where_it_changes_something(
    ws: WorkspaceFiles, deployed: Workspace, cli: Cli
) -> None:
    assert cli("deploy").code == 0
    write(ws, "'second'")

    for command in (["deploy"], ["deploy", "--json"]):
        refused = cli(*command)
        assert refused.code == 2
        assert "--yes" in (refused.json["error"]["fix"] if "--json" in command else refused.err)


def test_without_a_name_one_edit_keeps_all_from_running(ws: WorkspaceFiles, deployed: Workspace, cli: Cli) -> None:
    ws.notebook(
        "other", "from data_engine import Flow\ndef build():\n    return Flow(group='G').step(lambda context: 1)"
    )
    write(ws, "'second'")

    refused = cli("run", "--once", "--yes")

    assert (refused.code, deployed.runs()) == (2, [])
    assert "claims is not what is deployed" in refused.err


def test_the_daemon_runs_no_flow_that_was_never_deployed(tmp_path: Path, cli: Cli) -> None:
    ws = WorkspaceFiles(tmp_path / "ws")
    ws.notebook(
        "other", "from data_engine import Flow\ndef build():\n    return Flow(group='G').step(lambda context: 1)"
    )
    workspace = Workspace(ws.root)
    try:
        refused = cli("--workspace", ws.root, "run", "other")
    finally:
        workspace.kill()

    assert refused.code == 2
    assert all(f"data-engine {way} other" in refused.err for way in ("deploy", "run --once"))


def test_no_option_is_taken_that_would_do_nothing(ws: WorkspaceFiles, deployed: Workspace, cli: Cli) -> None:
    assert cli("run", "claims", "--edited").code == cli("run", "claims", "--yes").code == 2


def test_status_and_its_remedies_never_offer_a_run_of_an_edit(
    ws: WorkspaceFiles, deployed: Workspace, cli: Cli
) -> None:
    load_flow("claims").run_once()
    write(ws, "'second'")

    assert "--once" not in cli("status").out + cli("explain", "claims").out
