"""What was deployed is remembered, with who and why, and can be taken back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.errors import DamagedSetError
from data_engine.formatting import local_time
from data_engine.model import KernelComparison
from data_engine.notebook.catalog import find_module
from data_engine.notebook.deployments import changed_config
from data_engine.proof.verdict import Verdict, cells_in
from data_engine.proof.verdict_store import keep
from data_engine.status.deployed_before import history_of, rolled_back_text
from tests.support import WorkspaceFiles

CELLS = (
    "from data_engine import Flow\nfrom flow_helpers.rates import RATE",
    "def one(context):\n    return {value} * RATE",
    "def build():\n    return Flow(group='G').step(one)",
)


def write(ws: WorkspaceFiles, value: int) -> None:
    ws.notebook("claims", CELLS[0], CELLS[1].format(value=value), CELLS[2])


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Workspace:
    ws.helper("rates", "RATE = 10\n")
    write(ws, 1)
    return Workspace(ws.root)


def deployed_value(workspace: Workspace) -> object:
    """What the deployed flow gives, run from its deployment."""
    modules = workspace.home.deployments().modules_of("claims")
    assert modules is not None
    return modules.load(find_module(modules, "claims")).flow.run_once()[0].current


def blobs(workspace: Workspace) -> list[Path]:
    return sorted((workspace.root / ".workspace_state" / "deployments" / "blobs").iterdir())


def test_a_deployment_is_recorded_with_who_why_and_what(ws: WorkspaceFiles, workspace: Workspace) -> None:
    workspace.deploy("claims", note="first")
    write(ws, 2)
    ws.helper("rates", "RATE = 20\n")
    workspace.deploy("claims", note="twice")

    second, first = workspace.deployments("claims")
    assert (first.note, first.is_live, first.cells, first.helpers) == ("first", False, (), ())
    assert (second.note, second.is_live, second.cells) == ("twice", True, (2,))
    assert second.helpers == ("flow_helpers/rates.py",)
    assert second.who == first.who
    assert "@" in second.who
    assert workspace.deployments("other") == []


def test_nothing_is_recorded_where_nothing_changed(workspace: Workspace) -> None:
    workspace.deploy()

    workspace.deploy()

    assert len(workspace.deployments()) == 1


def test_a_rollback_lets_the_old_code_run_and_leaves_the_notebook(ws: WorkspaceFiles, workspace: Workspace) -> None:
    workspace.deploy()
    write(ws, 2)
    workspace.deploy()
    assert deployed_value(workspace) == 20

    row = workspace.rollback("claims", note="wrong rate")

    assert deployed_value(workspace) == 10
    assert workspace.load_flow("claims").run_once(edited=True)[0].current == 20
    words = rf"rolled back to {(row.of or '')[:8]} on \S+ \d\d:\d\d; the notebook differs: cell 2"
    assert re.fullmatch(words, workspace.deployment("claims"))
    assert "rolled back to" in workspace.explain("claims")[0].reason
    assert workspace.deployments("claims")[0] == row.__class__.read(row.as_dict() | {"is_live": True, "number": 3})
    assert (row.kind, row.note) == ("rollback", "wrong rate")


def test_after_a_rollback_an_edit_is_told_as_one(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Also where somebody rolled back twice nobody has edited the notebook; a saved edit of it somebody has."""
    for value in (1, 2, 3):
        write(ws, value)
        workspace.deploy()
    workspace.rollback("claims")
    workspace.rollback("claims")
    twice = workspace.deployment("claims")

    write(ws, 4)

    assert twice.startswith("rolled back to ")
    assert workspace.deployment("claims") == "edited, not deployed: cell 2"


def test_who_rolls_back_twice_goes_back_twice_and_forward_by_name(ws: WorkspaceFiles, workspace: Workspace) -> None:
    for value in (1, 2, 3):
        write(ws, value)
        workspace.deploy()
    newest = workspace.deployments("claims")[0]

    workspace.rollback("claims")
    assert deployed_value(workspace) == 20
    workspace.rollback("claims")
    assert deployed_value(workspace) == 10
    with pytest.raises(FlowValidationError, match="no earlier deployment"):
        workspace.rollback("claims")

    back = workspace.rollback("claims", to=newest.id[:8])
    assert deployed_value(workspace) == 30
    assert back is not None
    told = rolled_back_text(workspace.home.ledger(), back)
    assert told.startswith(f"claims runs again as it was deployed on {local_time(newest.at_utc)} ({newest.id[:8]})")
    assert told.endswith("; no good run of it is known")


def test_a_flow_that_was_deployed_once_has_nothing_to_go_back_to(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """No choice is named where there is none; once there is one, it is."""
    workspace.deploy()
    with pytest.raises(FlowValidationError, match="no earlier deployment") as once:
        workspace.rollback("claims")
    write(ws, 2)
    workspace.deploy()
    workspace.rollback("claims")
    with pytest.raises(FlowValidationError, match="no earlier deployment") as twice:
        workspace.rollback("claims")

    assert once.value.fix == (
        "it has only the one that runs: change its notebook and deploy it, or end it in production with `data-engine undeploy claims`"
    )
    assert "`data-engine rollback claims --to ID` takes any" in (twice.value.fix or "")


def test_what_cannot_be_gone_back_to_says_so(workspace: Workspace) -> None:
    with pytest.raises(FlowValidationError, match="claims was never deployed"):
        workspace.rollback("claims")
    workspace.deploy()
    with pytest.raises(FlowValidationError, match="is what runs"):
        workspace.rollback("claims", to=workspace.deployments("claims")[0].id)
    with pytest.raises(FlowValidationError, match="no deployment of claims begins with 'zz'"):
        workspace.rollback("claims", to="zz")


def test_a_rollback_to_a_damaged_set_is_refused_and_nothing_moves(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Where this machine has no copy of its own any more."""
    workspace.deploy()
    write(ws, 2)
    workspace.deploy()
    workspace.home.deployments().collect(in_use=set())
    for blob in blobs(workspace):
        if b"return 1 * RATE" in blob.read_bytes():
            blob.write_bytes(b"print('evil')")

    with pytest.raises(DamagedSetError, match="is not what was deployed"):
        workspace.rollback("claims")

    assert deployed_value(workspace) == 20
    assert len(workspace.deployments()) == 2


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ('context.config.require("rates")', ["rates.toml"]),
        ('context.config.get("years")', ["years.toml"]),
        ('open("../config/rates.toml")', ["rates.toml"]),
        ("context.config.all()", ["rates.toml", "years.toml"]),
        ("context.config.get(context.flow_name)", ["rates.toml", "years.toml"]),
        ("1", []),
    ],
)
@pytest.mark.parametrize("is_in_helper", [False, True])
def test_config_that_changed_since_and_may_be_read_is_named(
    ws: WorkspaceFiles, workspace: Workspace, code: str, named: list[str], is_in_helper: bool
) -> None:
    """By the flow or a helper of it; all that changed where the code does not say which."""
    for name in ("rates", "years"):
        ws.source(f"config/{name}.toml", "a = 1")
    ws.helper("rates", f"def read(context):\n    return {code if is_in_helper else 1}\nRATE = 10\n")
    own = CELLS[1].format(value=1 if is_in_helper else f"len([{code}])")
    ws.notebook("claims", CELLS[0], own, CELLS[2])
    workspace.deploy()
    for name in ("rates", "years"):
        ws.source(f"config/{name}.toml", "a = 2")

    assert (
        list(changed_config(workspace.layout, workspace.home.deployments(), workspace.deployments("claims")[0]))
        == named
    )


def test_config_that_only_an_edit_reads_is_named_in_its_plan(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.source("config/years.toml", "a = 1")
    workspace.deploy()
    ws.source("config/years.toml", "a = 2")
    assert workspace.plan("claims").config == ()

    ws.notebook("claims", CELLS[0], CELLS[1].format(value='context.config.get("years")["a"]'), CELLS[2])
    assert workspace.plan("claims").config == ("years.toml",)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_git_commit_and_whether_files_differ_are_recorded(ws: WorkspaceFiles, workspace: Workspace) -> None:
    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(ws.root), *words],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    git("init", "-q")
    ws.source(".gitignore", ".workspace_state\n")
    git("add", "-A")
    git("commit", "-qm", "x")
    workspace.deploy()
    write(ws, 2)
    workspace.deploy()

    second, first = workspace.deployments()
    assert (first.git_commit, first.git_dirty) == (git("rev-parse", "HEAD"), False)
    assert second.git_dirty is True


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_programs_that_a_repository_names_are_not_run(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Whoever can write to the share can name one."""
    subprocess.run(["git", "init", "-q", str(ws.root)], check=True)
    ran = ws.root.parent / "ran"
    ws.source(".gitattributes", "* filter=evil\n")
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(ws.root), "commit", "-qm", "x", "--allow-empty"],
        check=True,
    )
    for key, value in (("filter.evil.clean", f"touch {ran}; cat"), ("core.fsmonitor", f"touch {ran}")):
        subprocess.run(["git", "-C", str(ws.root), "config", key, value], check=True)
    subprocess.run(["git", "-C", str(ws.root), "add", "-A"], check=False, capture_output=True)
    ran.unlink(missing_ok=True)

    workspace.deploy()

    assert not ran.exists()
    assert workspace.deployments()[0].git_dirty is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_what_the_repository_keeps_for_one_worktree_is_looked_at_too(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """It is another file, which the repository's own configuration can name."""

    def git(*words: str) -> None:
        name = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *name, "-C", str(ws.root), *words], check=True, capture_output=True)

    ran = ws.root.parent / "ran"
    ws.source(".gitattributes", "* filter=evil\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "x")
    git("config", "extensions.worktreeConfig", "true")
    git("config", "--worktree", "filter.evil.clean", f"touch {ran}; cat")
    write(ws, 2)

    workspace.deploy()

    assert not ran.exists()
    assert workspace.deployments()[0].git_dirty is None


def test_without_git_nothing_of_it_is_recorded(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    workspace.deploy()

    assert workspace.deployments()[0].git_commit is None


def test_only_so_many_are_kept_to_go_back_to(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.source("config/data_engine.toml", "[deploy]\nkeep = 2\n[history]\nretention_days = 1\n")
    for value in (1, 2, 3):
        write(ws, value)
        workspace.deploy()

    assert [one.is_kept for one in workspace.deployments()] == [True, True, True]  # a run of today may have used each
    ledger = workspace.home.ledger()
    with ledger.writing() as (connection, _):
        connection.execute("UPDATE deployments SET at_utc = '2020-01-01T00:00:00+00:00'")
    assert [one.is_kept for one in history_of(workspace.home)] == [True, True, False]
    with pytest.raises(FlowValidationError, match="is not kept any more"):
        workspace.rollback("claims", to=workspace.deployments()[2].id)


def test_what_this_machine_had_deployed_before_is_taken_over_once(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """A list of pointers on this machine, as earlier versions kept it."""
    deployments = workspace.home.deployments()
    stored = deployments.store()
    before = deployments.root / "deployed.json"
    before.write_text(json.dumps({"claims": {"set": stored.id, "digest": stored.digests["claims"]}}))
    write(ws, 2)
    ws.module("other", "from data_engine import Flow\n\ndef build():\n    return Flow(group='G').step(print)\n")

    workspace.deploy("other")

    assert deployed_value(workspace) == 10
    assert "before deployments travelled" in workspace.deployments("claims")[0].note
    assert not before.exists()


def test_how_it_compared_with_its_kernel_is_recorded(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Never, by these very cells, and not since one changed; a rollback has what it goes back to."""
    workspace.deploy()
    path = ws.modules / "claims.ipynb"
    keep(workspace.home, "claims", Verdict("2026-01-05T09:32:00+00:00", cells_in(path, path.read_bytes())))
    write(ws, 2)
    workspace.deploy()
    write(ws, 1)
    workspace.deploy()
    workspace.rollback("claims")

    again, same, changed, never = (one.compared for one in workspace.deployments())
    assert never == KernelComparison()
    assert changed == KernelComparison("2026-01-05T09:32:00+00:00", changed=(2,))
    assert same == KernelComparison("2026-01-05T09:32:00+00:00")
    assert again == changed


def test_a_module_has_nothing_that_was_compared(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """It runs whole."""
    ws.module(
        "audit",
        "from data_engine import Flow\ndef one(context): return 1\ndef build(): return Flow(group='G').step(one)",
    )
    workspace.deploy("audit")

    assert workspace.deployments("audit")[0].compared is None
