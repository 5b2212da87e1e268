"""`deploy` says what goes live and what starts at once, and asks on a terminal before everything goes live."""

from __future__ import annotations

import io

import pytest

from data_engine import Workspace
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles, until

POLLED = """
    from data_engine import Flow

    def build():
        return Flow(group="{name}").watch(mode="poll", source="../in", interval="1s", settle={settle}{more}).step(print)
"""
MANUAL = "from data_engine import Flow\n\ndef build():\n    return Flow(group='H').step({step})"


class AnsweredTerminal(io.StringIO):
    """A terminal at which somebody has typed this."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def flows(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    monkeypatch.chdir(ws.root)
    ws.notebook("many", POLLED.format(name="many", settle=1, more=""))
    ws.notebook("batch", POLLED.format(name="batch", settle=1, more=", run_as='batch', extensions='.csv'"))
    ws.notebook("byhand", MANUAL.format(step="print"))
    for name in ("a.csv", "b.csv", "c.txt"):
        ws.source(f"in/{name}")


def deployed(ws: WorkspaceFiles) -> set[str]:
    return set(Workspace(ws.root).home.deployments().deployed())


def test_a_deploy_by_name_says_in_one_line_what_starts(cli: Cli, ws: WorkspaceFiles) -> None:
    """Files that are done do not count, though other code did them; a disabled flow starts nothing."""
    assert "many: 3 files run once the engine is on (data-engine start)" in cli("deploy", "many").out
    assert cli("deploy", "batch", "--json").json[0]["starts"] == {"files": 2, "is_batch": True, "slots": []}
    assert "starts" not in cli("deploy", "byhand").out

    assert cli("run", "--once", "many").code == 0
    ws.source("in/d.txt")
    ws.notebook("many", POLLED.format(name="many", settle=2, more=""))
    assert "many: 1 file runs once" in cli("deploy", "many").out
    cli("disable", "many")
    ws.notebook("many", POLLED.format(name="many", settle=3, more=""))
    assert "1 file runs" not in cli("deploy", "many").out


def test_with_the_engine_on_it_runs_now(cli: Cli, ws: WorkspaceFiles) -> None:
    """Whatever has run before the command has ended counts too."""
    workspace = Workspace(ws.root)
    ws.notebook("many", POLLED.format(name="many", settle=0, more=""))
    workspace.start_engine()
    try:
        deployed = cli("deploy", "many").out
        assert "many: 3 files run now" in deployed
        assert "not again" not in deployed  # though some are done by now
        until(lambda: len(workspace.runs("many")) == 3)
    finally:
        workspace.kill()


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_on_a_terminal_a_deploy_of_everything_is_asked_once(
    cli: Cli, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    """After what would go live, how it runs by itself, and what starts; who says no deploys nothing."""
    monkeypatch.setattr("sys.stdin", AnsweredTerminal(answer))

    asked = cli("deploy")

    assert asked.code == code
    assert "many (not deployed): every 1 s when files change; 3 files run once the engine is on" in asked.out
    assert "batch (not deployed): every 1 s when files change; a batch of 2 files runs once" in asked.out
    assert "byhand (not deployed): by hand only" in asked.out
    assert asked.err.count("Deploy all 3?") == 1
    assert deployed(ws) == ({"many", "batch", "byhand"} if answer == "y\n" else set())


def test_a_flow_that_a_deploy_ends_is_named_in_the_question(
    cli: Cli, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook that was moved away is no reason to say yes to "Deploy it?"."""
    cli("deploy", "--yes")
    (ws.modules / "byhand.ipynb").unlink()
    monkeypatch.setattr("sys.stdin", AnsweredTerminal("n\n"))

    asked = cli("deploy")

    assert "byhand.ipynb is gone: production stops running byhand" in asked.out
    assert "Undeploy byhand?" in asked.err
    ws.notebook("many", POLLED.format(name="many", settle=2, more=""))
    monkeypatch.setattr("sys.stdin", AnsweredTerminal("n\n"))
    assert "Deploy many and undeploy byhand?" in cli("deploy").err
    assert "byhand" in deployed(ws)


def test_a_rollback_goes_back_to_what_ran_and_never_to_what_was_rolled_back(ws: WorkspaceFiles) -> None:
    """Also after another deploy, and after the flow was ended."""
    workspace = Workspace(ws.root)
    for step in ("len", "bad", "sum"):
        ws.notebook("byhand", MANUAL.format(step=f"lambda context, kind='{step}': kind"))
        workspace.deploy("byhand")
        if step == "bad":
            workspace.rollback("byhand")
    first = workspace.deployments("byhand")[-1]

    assert workspace.rollback("byhand").of == first.id
    workspace.undeploy("byhand")
    assert workspace.rollback("byhand").of == first.id


@pytest.mark.parametrize("arguments", [["--yes"], ["many"]])
def test_nobody_is_asked_who_said_what_to_deploy(
    cli: Cli, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", AnsweredTerminal(""))

    assert cli("deploy", *arguments).code == 0

    assert "many" in deployed(ws)


def test_a_script_says_yes_and_is_told_what_starts(cli: Cli, ws: WorkspaceFiles) -> None:
    refused = cli("deploy")
    assert (refused.code, deployed(ws)) == (2, set())
    assert "--yes" in refused.err

    done = cli("deploy", "--yes")

    assert deployed(ws) == {"many", "batch", "byhand"}
    assert "many: 3 files run once the engine is on" in done.out


def test_a_dry_run_shows_what_would_change_and_deploys_nothing(cli: Cli, ws: WorkspaceFiles) -> None:
    """What is deployed as it is, undeployed or broken would not change; a module that is gone would end its flow."""
    cli("deploy", "--yes")
    assert cli("deploy", "--dry-run").out == "Nothing would change.\n"

    ws.notebook("byhand", MANUAL.format(step="str"))
    (ws.modules / "many.ipynb").unlink()
    ws.notebook("broken", "import nothing_of_that_name\n\ndef build():\n    return nothing_of_that_name.flow")
    cli("undeploy", "batch")
    told = cli("deploy", "--dry-run").out

    assert "byhand (edited, not deployed: cell 1): by hand only" in told
    assert "many.ipynb is gone" in told
    assert (told.count("\n"), "broken" in told, "batch" in told) == (3, False, False)
    assert deployed(ws) == {"many", "byhand"}
    assert [one["flow"] for one in cli("deploy", "--dry-run", "--json").json] == ["byhand", "many"]


def test_files_that_a_renamed_flow_did_start_nothing(cli: Cli, ws: WorkspaceFiles) -> None:
    cli("deploy", "many")
    assert cli("run", "--once", "many").code == 0
    (ws.modules / "many.ipynb").rename(ws.modules / "more.ipynb")
    ws.source("in/new.csv")

    (more,) = (one for one in cli("deploy", "--dry-run", "--json").json if one["flow"] == "more")
    assert more["starting"]["files"] == 1
    assert "more: 1 file runs once the engine is on" in cli("deploy", "more").out


def test_the_deployed_flows_that_read_what_it_writes_are_named(cli: Cli, ws: WorkspaceFiles) -> None:
    """In one line, by what deploys it, plans that, and takes it away; a flow that nobody reads has none."""
    ws.notebook("many", POLLED.format(name="many", settle=1, more="").replace(".step", ".mirror(root='../out').step"))
    ws.notebook("batch", POLLED.format(name="batch", settle=1, more="").replace("../in", "../out/north"))
    line = "feeds         many: what it writes is read by batch"
    assert line not in cli("deploy", "many").out  # it is not deployed yet

    assert line not in cli("deploy", "batch").out
    ws.notebook("many", POLLED.format(name="many", settle=2, more="").replace(".step", ".mirror(root='../out').step"))
    assert line in cli("plan", "many").out
    assert line in cli("deploy", "many").out

    assert line in cli("undeploy", "many").out
    assert "feeds" not in cli("undeploy", "batch").out
