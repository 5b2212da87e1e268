"""A flow that runs here never becomes the second writer of a mirror that production fills under another name."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from data_engine import FlowValidationError, Workspace, run
from tests.cli.conftest import Cli, cli  # noqa: F401
from tests.support import WorkspaceFiles

WRITE = """
    from data_engine import Flow

    def write(context):
        target = context.mirror.root_file("out.txt")
        target.parent.mkdir(exist_ok=True)
        target.write_text("{text}")
        return target

    def build():
        return Flow(group="{group}").mirror(root="../out").step(write)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Workspace:
    """With a flow that is deployed and has run, and a copy of its notebook that is not deployed."""
    ws.notebook("claims", WRITE.format(text="claims", group="G"))
    workspace = Workspace(ws.root)
    workspace.deploy()
    workspace.load_flow("claims").run_once()
    ws.notebook("claims_2", WRITE.format(text="copy", group="H"))
    return workspace


def written(workspace: Workspace) -> str:
    return (workspace.root / "out" / "out.txt").read_text()


@pytest.mark.parametrize(
    "attempt",
    [
        lambda ws: ws.load_flow("claims_2").run_once(),
        lambda ws: run(ws.load_flow("claims_2")),
        lambda ws: ws.load_flow("claims_2").preview(write=True),
    ],
    ids=["run_once", "run", "preview with write"],
)
def test_a_copy_that_is_not_deployed_writes_nothing(
    workspace: Workspace, attempt: Callable[[Workspace], object]
) -> None:
    with pytest.raises(
        FlowValidationError, match=r"claims_2 writes to .*, as claims does, which is deployed"
    ) as refused:
        attempt(workspace)

    assert "give it a mirror of its own" in (refused.value.fix or "")
    assert "run_once(force=True)" in (refused.value.fix or "")
    assert written(workspace) == "claims"
    assert len(workspace.runs()) == 1


def test_what_the_message_names_for_a_cell_runs_in_one(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its import, as it is pasted."""
    monkeypatch.chdir(workspace.layout.flow_modules_dir)
    with pytest.raises(FlowValidationError) as refused:
        workspace.load_flow("claims_2").run_once()
    code = re.findall(r"`(from data_engine [^`]*)`", refused.value.fix or "")
    assert len(code) == 1
    exec(code[0], {})

    assert written(workspace) == "copy"


def test_the_command_line_refuses_it_and_runs_the_others(cli: Cli, workspace: Workspace) -> None:  # noqa: F811
    named = cli("--workspace", workspace.root, "run", "--once", "claims_2")
    every = cli("--workspace", workspace.root, "run", "--once", "--yes")

    assert named.code == every.code == 1
    assert "not run   claims_2\n" in named.out
    assert "claims_2 writes to" in named.out
    assert "broken" not in named.out + every.out
    assert "data-engine deploy claims_2 --yes" in named.out
    assert "claims_2 writes to" in every.out
    assert [(one.flow, one.status) for one in workspace.runs()] == [("claims", "success"), ("claims", "success")]
    assert written(workspace) == "claims"


def test_watching_tells_of_it(workspace: Workspace) -> None:
    """Nothing else is left to watch: it goes on until Ctrl-C, so only what it does first is asked here."""
    from data_engine.notebook.catalog import read_catalog
    from data_engine.runs import _with_shared_mirror_refused

    entries = {
        one.name: _with_shared_mirror_refused(workspace.home, one) for one in read_catalog(workspace.home.modules())
    }

    assert entries["claims"].error is None
    assert "claims_2 writes to" in str(entries["claims_2"].error)


def test_an_edit_of_the_deployed_flow_runs(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.notebook("claims", WRITE.format(text="edited", group="G"))

    workspace.load_flow("claims").run_once(edited=True)

    assert written(workspace) == "edited"


def test_one_that_was_renamed_runs_under_its_new_name(ws: WorkspaceFiles, workspace: Workspace) -> None:
    (ws.modules / "claims_2.ipynb").unlink()
    (ws.modules / "claims.ipynb").rename(ws.modules / "parts.ipynb")

    workspace.load_flow("parts").run_once()

    assert [one.flow for one in workspace.runs()] == ["parts", "claims"]


def test_one_that_is_gone_is_named_so(ws: WorkspaceFiles, workspace: Workspace) -> None:
    (ws.modules / "claims.ipynb").unlink()
    ws.notebook("claims_2", WRITE.format(text="another", group="H"), "x = 1", "y = 1", "z = 1")

    with pytest.raises(FlowValidationError, match="whose module is gone") as refused:
        workspace.load_flow("claims_2").run_once()

    assert "data-engine undeploy claims" in (refused.value.fix or "")


def test_a_person_who_means_it_gets_it(workspace: Workspace) -> None:
    workspace.load_flow("claims_2").run_once(force=True)
    assert written(workspace) == "copy"

    workspace.deploy("claims_2", force=True)
    workspace.load_flow("claims_2").run_once()
    assert len(workspace.runs()) == 3


def test_what_tells_of_it_without_a_daemon_names_the_way_that_works(workspace: Workspace) -> None:
    flow = next(one for one in workspace.status().flows if one.name == "claims_2")

    assert flow.deployment_status.shares_with == "claims"
    confirm = "or confirm that both may write there: `data-engine deploy claims_2 --yes`"
    assert confirm in (flow.reason or "")
    (row,) = workspace.explain("claims_2")
    assert row.reason.startswith(
        "not deployed: it writes to the same mirror as claims, which is deployed: give it a mirror of its own"
    )
    assert row.fix == (
        "give it another mirror(root=...) than that of claims, then `data-engine deploy claims_2` lets production run it;"
        " `data-engine deploy claims_2 --yes` lets both write there"
    )


def test_an_explanation_says_once_what_to_do_about_it(ws: WorkspaceFiles, cli: Cli, workspace: Workspace) -> None:  # noqa: F811
    """Its files say in short that it is so; one that is asked for alone says all of it."""
    ws.source("in/a.csv")
    ws.source("in/b.csv")
    watched = '.watch(mode="poll", source="../in", interval="1s").mirror('
    ws.notebook("claims_2", WRITE.format(text="copy", group="H").replace(".mirror(", watched))

    whole, *files = workspace.explain("claims_2")
    assert "--yes" in whole.reason
    assert {row.reason for row in files} == {"not deployed: it writes to the same mirror as claims"}
    assert len(files) == 2
    told = cli("--workspace", workspace.root, "explain", "claims_2").out
    assert (told.count("--yes`"), told.count("same mirror as claims")) == (
        2,
        2 + 1,
    )  # once in the reason, once in the way on
    (row,) = workspace.explain(str(ws.root / "in" / "a.csv"))
    assert "--yes" in row.reason


def test_a_refused_deploy_tells_of_the_shared_mirror_once(
    ws: WorkspaceFiles,
    cli: Cli,  # noqa: F811
    workspace: Workspace,
) -> None:
    """Not again as a warning; of a third flow, or where both write by now, it is still one."""
    one, every = (cli("--workspace", workspace.root, "deploy", *names) for names in (["claims_2"], []))
    assert "claims_2 writes to" in one.out
    assert "is shared by" not in one.out + one.err + every.out + every.err

    ws.notebook("claims_3", WRITE.format(text="third", group="I"))
    assert cli("--workspace", workspace.root, "deploy", "claims_3", "--yes").code == 0
    assert "is shared by claims, claims_3" in cli("--workspace", workspace.root, "deploy", "claims", "--yes").err
    (ws.modules / "claims_3.ipynb").unlink()
    assert cli("--workspace", workspace.root, "deploy", "claims_2", "--yes").code == 0
    assert "is shared by claims, claims_2\n" in cli("--workspace", workspace.root, "deploy", "--yes").err


def test_a_yes_to_all_confirms_no_shared_mirror(ws: WorkspaceFiles, cli: Cli, workspace: Workspace) -> None:  # noqa: F811
    """It answers what would be asked of all; that two flows write to one mirror is confirmed by name."""
    ws.module("other", "from data_engine import Flow\ndef build(): return Flow(group='G').step(lambda context: 1)")

    done = cli("--workspace", workspace.root, "deploy", "--yes")

    assert done.code == 1
    assert "not deployed  claims_2.ipynb: claims_2 writes to" in done.out
    assert {row.flow for row in workspace.deployments()} == {"claims", "other"}
