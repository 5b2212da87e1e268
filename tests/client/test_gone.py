"""A notebook that is gone, or has another name: what production does then is told, and both ways on work as typed."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.cli.app import run as command
from data_engine.platforms.host import shell_line
from data_engine.status.build import build_status
from data_engine.status.explain import ways
from data_engine.status.offline import OfflineFacts
from jupyter_extension.details import flow_details, run_details
from jupyter_extension.display import bundle
from jupyter_extension.files import flow_files
from tests.support import WorkspaceFiles

CELLS = (
    "from data_engine import Flow",
    "from flow_helpers.rates import RATE",
    "def one(context):\n    target = context.mirror.with_extension('.txt')\n    target.write_text(str(RATE))\n    return target",
    "def build():\n    return (Flow(group='G').watch(mode='poll', source='../in', interval='1s', settle=0)"
    ".mirror(root='../out').step(one))",
)
OTHER = ("from data_engine import Flow", "def build():\n    return Flow(group='G').step(print)")


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Workspace:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    ws.helper("rates", "RATE = 10\n")
    ws.source("in/a.csv")
    ws.notebook("claims", *CELLS)
    ws.notebook("other", *OTHER)
    workspace = Workspace(ws.root)
    workspace.deploy()
    return workspace


def gone(ws: WorkspaceFiles) -> None:
    (ws.modules / "claims.ipynb").unlink()


def renamed(ws: WorkspaceFiles, to: str = "monthly claims") -> None:
    (ws.modules / "claims.ipynb").rename(ws.modules / f"{to}.ipynb")


def typed(ws: WorkspaceFiles, line: str) -> int:
    """The exit code of a command as a person types it."""
    program, *words = shlex.split(line)
    assert program == "data-engine"
    return command(["--workspace", str(ws.root), *words])


def commands_in(text: str) -> list[str]:
    """The commands that a hint names."""
    return text.split("`")[1::2]


def state(workspace: Workspace) -> tuple[str, str | None]:
    """The state of the flow as it is without a daemon, and what is said of its module."""
    (flow,) = [one for one in build_status(OfflineFacts(workspace.home).facts()).flows if one.name == "claims"]
    return flow.state, flow.edit


def test_a_flow_whose_notebook_is_gone_says_so_everywhere(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """And that it runs on as it was deployed."""
    gone(ws)
    status, edit = workspace.deployment_status("claims"), state(workspace)[1]
    why = workspace.explain("claims")

    assert (status.kind, status.file, status.moved_to) == ("gone", "claims.ipynb", None)
    assert edit is not None
    assert commands_in(edit) == ["data-engine restore claims", "data-engine undeploy claims"]
    assert (why[0].why.kind, why[0].why.file) == ("module_gone", "claims.ipynb")
    assert bundle(why)["text/plain"].splitlines()[-2] == f"module gone  {state(workspace)[1].splitlines()[1]}"
    for line in ("list", "status", "explain claims"):
        assert typed(ws, f"data-engine {line}") == 0
        told = capsys.readouterr()
        assert status.text in told.out + told.err, line


def test_a_notebook_that_was_moved_into_a_subfolder_is_told_as_lying_there(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    (ws.modules / "old" / "years").mkdir(parents=True)
    (ws.modules / "claims.ipynb").rename(ws.modules / "old" / "years" / "claims.ipynb")
    status, edit = workspace.deployment_status("claims"), state(workspace)[1]
    why = workspace.explain("claims")[0].why

    assert (status.kind, status.moved_to) == ("gone", "old/years/claims.ipynb")
    assert edit is not None
    assert commands_in(edit) == ["data-engine undeploy claims"]
    assert (why.kind, why.moved_to) == ("module_gone", "old/years/claims.ipynb")
    fix = edit.splitlines()[-1]
    assert fix in bundle(workspace.explain("claims"))["text/plain"]
    assert typed(ws, "data-engine deploy claims") == 2
    told = capsys.readouterr().err
    assert "old/years/claims.ipynb" in told
    assert fix in told
    assert typed(ws, "data-engine deploy --yes") == 0
    assert "undeployed" not in capsys.readouterr().err
    assert workspace.deployments("claims")[0].is_live  # nobody has deleted it
    (ws.modules / "old" / "years" / "claims.ipynb").rename(ws.modules / "claims.ipynb")
    assert workspace.deployment("claims") == "as deployed"


@pytest.mark.parametrize("line", ["deploy claims", "show claims", "run --once claims"])
def test_a_command_that_needs_the_notebook_names_both_ways_on(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    gone(ws)

    assert typed(ws, f"data-engine {line}") == 2
    assert commands_in(capsys.readouterr().err) == ["data-engine restore claims", "data-engine undeploy claims"]


def test_a_flow_that_runs_on_without_its_notebook_is_switched_without_a_daemon(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    gone(ws)

    assert typed(ws, "data-engine disable claims") == 0
    assert state(workspace)[0] == "disabled"
    assert typed(ws, "data-engine enable claims") == 0
    assert typed(ws, "data-engine disable clams") == 2
    assert "clams" in capsys.readouterr().err


def test_the_first_way_brings_the_notebook_back_as_it_was_deployed(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """With its outputs and comments, and with helpers that are gone too; what is there is left as it is."""
    before = (ws.modules / "claims.ipynb").read_bytes()
    gone(ws)
    shutil.rmtree(ws.modules / "flow_helpers")
    back, _ = commands_in(state(workspace)[1] or "")

    assert typed(ws, back) == 0
    assert (ws.modules / "claims.ipynb").read_bytes() == before
    assert (ws.modules / "flow_helpers" / "rates.py").read_text() == "RATE = 10\n"
    assert workspace.deployment("claims") == "as deployed"


def test_nothing_that_is_there_is_replaced_by_what_was_deployed(ws: WorkspaceFiles, workspace: Workspace) -> None:
    mine = ws.notebook("claims", *CELLS, "mine = 1").read_bytes()

    with pytest.raises(FlowValidationError, match="is there, and nothing is overwritten"):
        workspace.restore("claims")
    assert (ws.modules / "claims.ipynb").read_bytes() == mine
    gone(ws)
    ws.helper("rates", "RATE = 11\n")
    workspace.restore("claims")
    assert (ws.modules / "flow_helpers" / "rates.py").read_text() == "RATE = 11\n"


@pytest.mark.parametrize(
    ("before", "to", "way_on"),
    [
        ((), "monthly.ipynb", "data-engine deploy monthly"),
        (("undeploy claims",), "monthly.ipynb", "data-engine deploy monthly"),
        (("deploy monthly",), "monthly.ipynb", "data-engine show monthly"),
        ((), "old/claims.ipynb", None),
        (("undeploy claims",), "old/claims.ipynb", None),
    ],
)
def test_a_notebook_that_lies_elsewhere_is_written_a_second_time_only_as_a_copy(
    ws: WorkspaceFiles,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
    before: tuple[str, ...],
    to: str,
    way_on: str | None,
) -> None:
    """Whether its flow goes on under the old name, was undeployed, or goes on under the new one; each command does as it is typed."""
    (ws.modules / "old").mkdir()
    (ws.modules / "claims.ipynb").rename(ws.modules / to)
    for line in before:
        assert typed(ws, f"data-engine {line}") == 0
    capsys.readouterr()

    assert typed(ws, "data-engine restore claims") == 2
    said = capsys.readouterr().err
    assert f"claims is not gone: it is flow_modules/{to} now" in said
    assert not (ws.modules / "claims.ipynb").exists()
    *named, copy = commands_in(said)
    assert named == ([] if way_on is None else [way_on])
    assert [typed(ws, line) for line in (*named, copy)] == [0] * len((*named, copy))
    assert (ws.modules / "claims.ipynb").read_bytes() == (ws.modules / to).read_bytes()


def test_a_flow_whose_new_notebook_is_gone_too_comes_back_under_either_name(
    ws: WorkspaceFiles, workspace: Workspace
) -> None:
    """And so does one that may have become either of two."""
    renamed(ws)
    workspace.deploy("monthly claims")
    (ws.modules / "monthly claims.ipynb").unlink()
    assert [path.name for path in workspace.restore("claims")] == ["claims.ipynb"]
    workspace.deploy("claims")
    for name in ("one", "two"):
        ws.notebook(name, *CELLS)
    gone(ws)

    assert [path.name for path in workspace.restore("claims")] == ["claims.ipynb"]


@pytest.mark.parametrize("file", ["claims.ipynb", "flow_helpers/rates.py"])
def test_a_link_that_leads_nowhere_is_named_and_nothing_is_written(
    ws: WorkspaceFiles, workspace: Workspace, file: str
) -> None:
    """Neither beside it nor where it points to."""
    gone(ws)
    link = ws.modules / file
    link.unlink(missing_ok=True)
    link.symlink_to(ws.root / "elsewhere")

    with pytest.raises(FlowValidationError, match="is a link to a file that is not there") as refused:
        workspace.restore("claims")

    assert "elsewhere" in (refused.value.fix or "")
    assert not (ws.root / "elsewhere").exists()
    assert not (ws.modules / "claims.ipynb").exists()


def test_the_second_way_ends_it_and_can_be_taken_back(ws: WorkspaceFiles, workspace: Workspace) -> None:
    gone(ws)
    _, end = commands_in(state(workspace)[1] or "")

    assert typed(ws, end) == 0
    assert set(workspace.home.deployments().deployed()) == {"other"}
    assert workspace.deployments("claims")[0].kind == "withdraw"
    assert typed(ws, "data-engine rollback claims") == 0
    assert set(workspace.home.deployments().deployed()) == {"claims", "other"}
    assert typed(ws, "data-engine undeploy nope") == 2


def test_a_flow_can_be_withdrawn_while_its_notebook_is_there(ws: WorkspaceFiles, workspace: Workspace) -> None:
    workspace.undeploy("other", note="not needed")

    assert workspace.deployment("other") == "not deployed"
    assert workspace.deployments("other")[0].note == "not needed"


def test_what_would_be_deployed_again_by_itself_is_not_withdrawn(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\n')

    with pytest.raises(FlowValidationError, match="would be deployed again at once"):
        workspace.undeploy("claims")
    assert "claims" in workspace.home.deployments().deployed()


def test_a_renamed_notebook_is_followed_by_its_flow(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """The old one does not write beside the new one, and no file that was done is due again."""
    workspace.load_flow("claims").run_once()
    (key,) = workspace.home.ledger().source_states("claims")
    renamed(ws)
    text = state(workspace)[1] or ""
    follow, end = commands_in(text)

    assert text.startswith("claims.ipynb was renamed to monthly claims.ipynb; production runs on as it was deployed")
    assert end == "data-engine undeploy claims"
    assert typed(ws, follow) == 0
    assert set(workspace.home.deployments().deployed()) == {"monthly claims", "other"}
    known = workspace.home.ledger().source_states("monthly claims")
    assert known[key].success == workspace.home.ledger().source_states("claims")[key].success is not None
    assert workspace.home.ledger().outputs("monthly claims") == {str(ws.root / "out" / "a.txt")}


def test_a_rename_is_followed_also_by_a_deploy_of_everything(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an edit of it made in between; a switch stays as it was."""
    workspace.disable("claims")
    gone(ws)
    ws.notebook("monthly", CELLS[0], CELLS[1], CELLS[2].replace("RATE", "2 * RATE"), CELLS[3])

    assert typed(ws, "data-engine deploy --yes") == 0
    assert "renamed       claims is monthly now" in capsys.readouterr().out
    assert set(workspace.home.deployments().deployed()) == {"monthly", "other"}
    assert workspace.home.ledger().switches()["monthly"].is_enabled is False


def test_a_copy_beside_a_renamed_notebook_does_not_write_where_production_does(
    ws: WorkspaceFiles, workspace: Workspace
) -> None:
    """As long as production has not followed the rename, the old flow runs on; then the new name writes there."""
    renamed(ws, "monthly")
    cells = [f"{text}\n# rewritten" for text in CELLS]
    for name in ("aside", "zest"):
        ws.notebook(name, *cells[:2], CELLS[2].replace("RATE", "3"), cells[3])
    assert workspace.deployment_status("claims").renamed_to == "monthly"

    with pytest.raises(FlowValidationError, match="as claims does"):
        workspace.deploy("aside")
    assert set(workspace.home.deployments().deployed()) == {"claims", "other"}

    errors = {entry.name: entry.error for entry in workspace.deploy()}
    assert {name for name, one in errors.items() if one is not None} == {"aside", "zest"}
    assert set(workspace.home.deployments().deployed()) == {"monthly", "other"}


@pytest.mark.parametrize("where", ["without a daemon", "with one", "after undeploy"])
def test_a_rename_with_a_copy_beside_it_is_followed_when_somebody_says_which_it_is(
    ws: WorkspaceFiles, workspace: Workspace, where: str
) -> None:
    """Both hold the same code, so that nobody else can tell; the refusal names the command, and no file that was done is due again."""
    workspace.load_flow("claims").run_once()
    (key,) = workspace.home.ledger().source_states("claims")
    shutil.copy(ws.modules / "claims.ipynb", ws.modules / "claims new.ipynb")
    renamed(ws)
    if where == "with one":
        workspace.start()
    with pytest.raises(FlowValidationError) as caught:
        workspace.deploy("monthly claims")
    assert "if monthly claims is claims under a new name, let it replace claims" in str(caught.value.fix)
    if where == "after undeploy":
        workspace.undeploy("claims")

    assert typed(ws, commands_in(caught.value.fix or "")[0]) == 0

    workspace.kill()
    assert set(workspace.home.deployments().deployed()) == {"monthly claims", "other"}
    assert workspace.home.ledger().source_states("monthly claims")[key].success is not None
    assert {one.flow: one.kind for one in workspace.deployments()[:2]} == {
        "claims": "withdraw",
        "monthly claims": "deploy",
    }


def test_a_flow_replaces_only_one_that_was_deployed_and_is_gone(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Each refusal says why, and nothing is deployed."""
    shutil.copy(ws.modules / "claims.ipynb", ws.modules / "monthly.ipynb")

    def why(name: str | None, replaces: str) -> str:
        with pytest.raises(FlowValidationError, match="cannot replace") as caught:
            workspace.deploy(name, replaces=replaces)
        return f"{caught.value.what.partition(': ')[2]} | {caught.value.fix}"

    assert why("monthly", "claims").startswith("the module of claims is still there")
    gone(ws)
    assert why("monthly", "clams").startswith("clams was never deployed | did you mean claims?")
    assert why("other", "claims").startswith("other is deployed itself")
    assert why(None, "claims").startswith("the flow that replaces it is not named")
    assert set(workspace.home.deployments().deployed()) == {"claims", "other"}
    workspace.deploy("monthly", replaces="claims")
    assert why("monthly", "claims").startswith("production follows it under another name already")


@pytest.mark.parametrize("what", ["the flow", "everything"])
def test_a_rename_is_followed_also_where_the_old_flow_was_undeployed_before(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    """And no file that was done is due again; also where this machine has the old code no more."""
    workspace.load_flow("claims").run_once()
    (key,) = workspace.home.ledger().source_states("claims")
    renamed(ws)
    workspace.undeploy("claims")
    workspace.home.deployments().collect(())

    assert typed(ws, "data-engine deploy" + (" 'monthly claims'" if what == "the flow" else " --yes")) == 0

    assert "claims is monthly claims now" in capsys.readouterr().out
    assert workspace.home.ledger().source_states("monthly claims")[key].success is not None
    assert set(workspace.home.deployments().deployed()) == {"monthly claims", "other"}
    assert [one.kind for one in workspace.deployments("claims")] == ["withdraw", "withdraw", "deploy"]
    workspace.undeploy("monthly claims")
    assert workspace.deploy("monthly claims")[0].error is None
    assert len(workspace.deployments("claims")) == 3


@pytest.mark.parametrize("where", ["without a daemon", "with one"])
def test_a_deploy_of_everything_leaves_out_what_somebody_undeployed(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    """It says so with the command that lets it run again, which works as typed; also where its edit is broken."""
    workspace.undeploy("claims")
    ws.notebook("claims", *CELLS[:3], "def build():\n    return Flow(group=nobody_knows)")
    ws.notebook("other", *OTHER, "1")
    if where == "with one":
        workspace.start()

    assert typed(ws, "data-engine deploy --yes") == 0

    assert set(workspace.home.deployments().deployed()) == {"other"}
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "claims" in line]
    assert line.startswith("left out      claims: ")
    ws.notebook("claims", *CELLS)
    assert typed(ws, line[line.index("data-engine") :]) == 0
    assert set(workspace.home.deployments().deployed()) == {"claims", "other"}
    workspace.kill()


def test_a_copy_that_was_deployed_beside_it_follows_no_flow_that_ends(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Each is a flow of its own, whichever ends first."""
    workspace.load_flow("claims").run_once()
    ws.notebook("copy", *CELLS)
    workspace.deploy("copy", force=True)
    for name in ("copy", "claims"):
        workspace.undeploy(name)
    gone(ws)

    workspace.deploy("copy")

    assert workspace.home.ledger().source_states("copy") == {}


@pytest.mark.parametrize("command", ["run", "show", "deploy", "run --once", "enable", "preview"])
def test_every_command_knows_what_was_undeployed_and_deleted(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Its error names what brings it back, and a new name where it has one; a flow there never was is asked to be spelled."""
    gone(ws)
    workspace.undeploy("claims")
    assert typed(ws, f"data-engine {command} claims") == 2
    said = capsys.readouterr().err
    assert "claims: undeployed on " in said
    assert "data-engine restore claims" in commands_in(said)
    assert typed(ws, f"data-engine {command} nope") == 2
    assert "check the spelling" in capsys.readouterr().err

    workspace.restore("claims")
    workspace.rollback("claims")
    renamed(ws, "monthly")
    workspace.deploy("monthly")
    assert typed(ws, f"data-engine {command} claims") == 2
    assert commands_in(capsys.readouterr().err) == ["data-engine show monthly"]
    workspace.kill()


@pytest.mark.parametrize("name", ["claims", "claims.ipynb", "flow_modules/claims.ipynb"])
def test_a_notebook_is_restored_also_by_its_file(ws: WorkspaceFiles, workspace: Workspace, name: str) -> None:
    gone(ws)
    assert typed(ws, f"data-engine restore {name}") == 0
    assert workspace.deployment("claims") == "as deployed"


def test_the_runs_of_a_flow_are_those_of_its_old_names_too(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Newest first, through two renames; the old name still has its own."""
    workspace.load_flow("claims").run_once()
    renamed(ws, "monthly")
    workspace.deploy("monthly")
    (ws.modules / "monthly.ipynb").rename(ws.modules / "yearly.ipynb")
    workspace.deploy("yearly")
    workspace.load_flow("yearly").run_once()

    assert [run.flow for run in workspace.runs("yearly")] == ["yearly", "claims"]
    assert [run.flow for run in workspace.runs("yearly", limit=1)] == ["yearly"]
    assert [run.flow for run in workspace.runs("claims")] == ["claims"]
    assert typed(ws, "data-engine runs monthly") == 0


def test_what_failed_under_the_old_name_is_told_of_the_new_one(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Its last run, why its file is held, the cell that leads to it, and what was deployed."""
    ws.helper("rates", "RATE = 10\n")
    ws.notebook("claims", CELLS[0], CELLS[2].replace("RATE", "1 / 0"), CELLS[3])
    workspace.deploy("claims", note="before")
    assert typed(ws, "data-engine run --once claims") == 1
    renamed(ws, "claims_new")
    workspace.deploy("claims_new", note="after")
    (flow,) = [one for one in workspace.status().flows if one.name == "claims_new"]
    details = flow_details(workspace, "claims_new")
    (file,) = flow_files(workspace, "claims_new", search="", group="", limit=9).files
    opened = run_details(workspace, details.runs[0].run_id)["run"]

    assert flow.last_run is not None
    assert (flow.last_run.status, flow.last_run.flow, flow.held) == ("failed", "claims", 1)
    assert [place["notebook"] for run in (details.runs[0], opened) for place in run.cells] == ["claims_new.ipynb"] * 2
    assert [step.mark.word for step in details.steps] == ["failed"]
    assert file.why is not None
    assert file.why["kind"] == "held"
    assert "One: ZeroDivisionError: division by zero" in file.reason
    assert 'Flow "claims"' not in file.reason
    told = [(one.note, one.rollback) for one in details.deployments if one.note]
    assert told == [("after", "it is what runs"), ("before", "the flow was called claims then")]
    assert [one.is_live for one in workspace.deployments("claims_new")] == [True, False, False]


def test_what_was_undeployed_and_deleted_is_known_to_the_history(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """When, by whom, and the ways back, which work as typed; of one that was renamed the name that it has now."""
    gone(ws)
    row = workspace.undeploy("claims")
    assert row is not None
    (told,) = workspace.explain("claims")

    assert told.why.kind == "undeployed"
    assert row.who in told.reason
    back, again = commands_in(told.fix or "")
    assert typed(ws, again) == typed(ws, back) == 0
    assert workspace.deployment("claims") == "as deployed"

    renamed(ws, "monthly")
    workspace.deploy("monthly")
    (told,) = workspace.explain("claims")
    assert "renamed to monthly on" in told.reason
    assert ways([told]) == ["renamed to monthly: `data-engine explain monthly` shows it"]
    with pytest.raises(FlowValidationError, match="neither a flow nor a file"):
        workspace.explain("claim")


def test_tidying_what_was_undeployed_and_deleted_names_the_folders_that_it_left(
    ws: WorkspaceFiles, workspace: Workspace
) -> None:
    """As long as they are there and production writes there no more; also under the name that it had before."""
    workspace.load_flow("claims").run_once()
    renamed(ws, "monthly")
    workspace.deploy("monthly")
    with pytest.raises(FlowValidationError, match="claims: renamed to monthly on"):
        workspace.left_behind("claims")
    (ws.modules / "monthly.ipynb").unlink()
    workspace.undeploy("monthly")

    with pytest.raises(FlowValidationError) as refused:
        workspace.set_aside("monthly")
    error = refused.value
    assert error.what.startswith("monthly was undeployed on 20")
    assert error.what.endswith(f"; what it left is in {ws.root / 'out'}")
    assert (error.fix or "").startswith("delete the folder, unless another flow reads there; or keep the flow: ")
    assert [typed(ws, line) for line in commands_in(error.fix or "")] == [0, 0]
    assert workspace.left_behind("monthly") == []

    (ws.modules / "monthly.ipynb").unlink()
    workspace.undeploy("monthly")
    shutil.rmtree(ws.root / "out")
    with pytest.raises(FlowValidationError, match=r"monthly: undeployed on .*, and its module is gone"):
        workspace.put_back("monthly")


def test_another_flow_with_like_cells_is_no_rename(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """A copy that writes elsewhere is deployed beside the flow whose notebook is gone, which runs on."""
    gone(ws)
    ws.notebook("copy", *CELLS[:3], CELLS[3].replace("../out", "../elsewhere"))
    assert workspace.deploy("copy")[0].error is None

    assert set(workspace.home.deployments().deployed()) == {"claims", "copy", "other"}
    assert workspace.deployment_status("claims").renamed_to is None


def test_a_flow_that_runs_on_is_named_where_another_would_write_its_mirror(
    ws: WorkspaceFiles, workspace: Workspace
) -> None:
    """A rename that does not show: either it is said to be one, or the old flow ends first; nobody writes beside it unasked."""
    gone(ws)
    cells = [f"{text}\n# rewritten" for text in CELLS]
    ws.notebook("my claims", *cells[:2], CELLS[2].replace("RATE", "3"), cells[3])
    with pytest.raises(FlowValidationError) as caught:
        workspace.deploy("my claims")

    replace, end, _ = commands_in(caught.value.fix or "")
    quoted = shell_line(
        ["data-engine", "deploy", "my claims", "--replaces", "claims"]
    )  # as this system's shell takes it
    assert (replace, end) == (quoted, "data-engine undeploy claims")
    assert typed(ws, end) == 0
    assert workspace.deploy("my claims")[0].error is None


def test_a_broken_notebook_of_a_new_name_leaves_the_old_flow_running(ws: WorkspaceFiles, workspace: Workspace) -> None:
    gone(ws)
    ws.notebook("monthly", *CELLS[:3], CELLS[3] + "\n1 +")

    workspace.deploy()

    assert "claims" in workspace.home.deployments().deployed()
    assert workspace.deployment_status("claims").renamed_to == "monthly"


def test_a_deploy_of_one_flow_says_nothing_of_the_others(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """`list` and `status` have a column; one line is what came of it, and how it compared."""
    for number in range(7):
        ws.notebook(f"more_{number}", *OTHER)

    assert typed(ws, "data-engine deploy claims") == 0
    told = capsys.readouterr()

    assert told.out == "unchanged     claims.ipynb: as deployed before\n"
    assert told.err == ""


def test_a_deploy_of_all_names_what_it_changed_and_counts_the_rest(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        ws.notebook(f"more_{number}", *OTHER)
    assert typed(ws, "data-engine deploy --yes") == 0
    assert capsys.readouterr().out.splitlines() == [
        *(f"deployed      more_{number}.ipynb" for number in range(3)),
        "unchanged     2 flows: as deployed before",
    ]
    ws.notebook("more_0", *OTHER[:-1], OTHER[-1] + "\n\nDESCRIPTION = 'edited'")
    ws.notebook("never", *OTHER)

    assert typed(ws, "data-engine deploy --yes") == 0
    assert capsys.readouterr().out.splitlines() == [
        "deployed      more_0.ipynb",
        "deployed      never.ipynb",
        "unchanged     4 flows: as deployed before",
    ]
    assert typed(ws, "data-engine deploy --yes --json") == 0
    assert [one["changed"] for one in json.loads(capsys.readouterr().out)] == [False] * 6


def test_runs_of_a_flow_that_never_was_are_refused_and_of_one_that_was_are_none(
    ws: WorkspaceFiles, workspace: Workspace
) -> None:
    """As the command line refuses them, with the name that was meant."""
    with pytest.raises(FlowValidationError, match="'clams' is not available") as caught:
        workspace.runs("clams")
    assert "did you mean claims?" in str(caught.value.fix)

    assert workspace.runs("claims") == []
    gone(ws)
    assert workspace.runs("claims") == []


def test_what_was_never_deployed_leads_to_what_was(workspace: Workspace) -> None:
    """Of a wrong name, and of a path in its place, which alone is enough to restore it."""
    for name in ("clams", "flow_modules/claims.ipynb"):
        for undo in (workspace.rollback, workspace.undeploy, *([workspace.restore] if name == "clams" else [])):
            with pytest.raises(FlowValidationError) as told:
                undo(name)
            assert (told.value.fix or "").startswith("did you mean claims? Else `data-engine deployments`")


def test_restoring_needs_a_deployment(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(FlowValidationError, match="was never deployed"):
        workspace.restore("nope")


def test_nothing_is_rolled_back_into_a_mirror_that_another_flow_writes_now(
    ws: WorkspaceFiles, workspace: Workspace
) -> None:
    """The way on, typed as it stands, ends the other first."""
    workspace.undeploy("claims")
    (ws.root / "flow_modules" / "claims.ipynb").rename(ws.root / "claims.ipynb")
    ws.notebook("other claims", *[f"{text}\n# rewritten" for text in CELLS])
    assert workspace.deploy("other claims")[0].error is None

    with pytest.raises(FlowValidationError, match="as other claims does") as error:
        workspace.rollback("claims")

    assert set(workspace.home.deployments().deployed()) == {"other claims", "other"}
    first, then = commands_in(error.value.fix or "")
    assert typed(ws, first) == typed(ws, then) == 0
    assert set(workspace.home.deployments().deployed()) == {"claims", "other"}


def test_a_copy_is_not_what_a_notebook_was_renamed_to(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """JupyterLab's Duplicate gives it a name that no flow has, so nothing could follow it."""
    renamed(ws, "claims-Copy1")

    assert state(workspace)[1] == (
        "claims.ipynb is gone; production runs on as it was deployed\n"
        "to get it back: `data-engine restore claims`; to end it: `data-engine undeploy claims`"
    )
