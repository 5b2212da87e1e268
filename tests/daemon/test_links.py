"""A link in this machine's own folder, or where the workstations share: nothing of ours writes or removes behind it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.daemon.doctor import check_private
from data_engine.errors import FlowValidationError, LedgerError, WorkspaceError
from data_engine.lease.folder import probe_folder
from data_engine.ledger.journal import event_line
from data_engine.ledger.ledger import Ledger
from data_engine.model import RunStarted
from data_engine.workspace.identity import fork_identity
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout
from data_engine.workspace.machine import state_root
from jupyter_extension.actions import answer
from tests.support import WorkspaceFiles

FLOW = """
    from data_engine import Flow
    import polars as pl

    def work(context):
        context.debug.save_frame(pl.DataFrame({"amount": [17]}), name="amounts")

    def build():
        return Flow(group="G").watch(mode="manual").step(work)
"""
USE_ALL = """
import sys, time
from data_engine import FlowValidationError, Workspace
from jupyter_extension.actions import answer

def attempt(action):
    try:
        action()
    except FlowValidationError as error:
        print("refused:", error.what)

def run():
    ws.run("claims", wait=False)
    while not any(run.status != "started" for run in ws.runs("claims")) and not ws.status()["trouble"]:
        time.sleep(0.05)

root = sys.argv[1]
ws = Workspace(root)
attempt(lambda: ws.load_flow("claims").run_once())
attempt(lambda: ws.deploy())
attempt(lambda: ws.start())
attempt(run)
attempt(lambda: ws.home.deployments().collect(set()))
attempt(lambda: ws.home.ledger().recover())
attempt(lambda: print(answer(root, "clear_debug", {})))
attempt(lambda: ws.kill())
"""


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Somebody's documents, with names that could be ours."""
    folder = tmp_path / "docs"
    for name in (
        *("letter.txt", "0123456789abcdef01234567/letter.txt", "claims__work__saved__amounts.json", "old.events"),
        *("claims-00000000-0123.artifact", "1-00.lock", "1-00.x.events", "flow_modules/letter.txt"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("dear")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def everything_in(folder: Path) -> dict[str, tuple[int, int, bytes | None]]:
    """Each path below with its mode, change time and content."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns if path.is_file() else 0,
            path.read_bytes() if path.is_file() else None,
        )
        for path in folder.rglob("*")
    }


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.notebook("claims", FLOW)
    found = Workspace(ws.root)
    yield found
    found.kill()


def in_place_of(path: Path, docs: Path) -> None:
    """A link to the documents where `path` is or would be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(docs)


FOLDERS: dict[str, Callable[[LocalLayout], Path]] = {
    "workspaces": lambda local: local.state_root / "workspaces",
    "artifacts": lambda local: local.artifacts_dir,
    "runtime_state": lambda local: local.runtime_dir.parent,
    "of the workspace": lambda local: local.runtime_dir,
    "workspace_cache": lambda local: local.compiled_flow_modules_dir.parent.parent,
    "compiled_flow_modules": lambda local: local.compiled_flow_modules_dir,
    "runners": lambda local: local.ledger_path.parent / "runners",
    "locks": lambda local: local.locks_dir,
    "deployments": lambda local: local.runtime_dir / "deployments",
    "debug_artifacts": lambda local: local.debug_dir,
}


@pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS)
def test_a_link_in_place_of_a_folder_of_ours_costs_nothing_behind_it(
    workspace: Workspace, docs: Path, folder: Callable[[LocalLayout], Path]
) -> None:
    """Whatever is done then works without it or is refused in words; the doctor names the link."""
    local = workspace.home.local
    in_place_of(folder(local), docs)
    before = everything_in(docs)

    done = subprocess.run(
        [sys.executable, "-c", USE_ALL, str(workspace.root)], capture_output=True, text=True, check=False
    )

    assert everything_in(docs) == before
    assert "Traceback" not in done.stdout + done.stderr
    assert folder(local).is_symlink()
    assert f"{folder(local)}: a link or a mount point" in check_private().measured


FILES: dict[str, Callable[[LocalLayout], Path]] = {
    "ledger": lambda local: local.ledger_path,
    "wal": lambda local: local.ledger_path.with_name(local.ledger_path.name + "-wal"),
    "daemon.log": lambda local: local.daemon_log_path,
    "daemon-start.log": lambda local: local.runtime_dir / "daemon-start.log",
    "daemon lock": lambda local: local.daemon_lock_path,
    "start lock": lambda local: local.daemon_start_lock_path,
    "endpoint": lambda local: local.daemon_endpoint_path,
    "token": lambda local: local.daemon_token_path,
    "workers": lambda local: local.runtime_dir / "workers.json",
    "pointer": lambda local: local.runtime_dir / "deployments" / "deployed.json",
}


@pytest.mark.parametrize(
    ("file", "target"), list(zip(FILES.values(), ["letter.txt", "new.txt"] * 5, strict=True)), ids=FILES
)
def test_a_link_in_place_of_a_file_of_ours_is_replaced_or_refused(
    workspace: Workspace, docs: Path, file: Callable[[LocalLayout], Path], target: str
) -> None:
    """What it names is neither written nor, where it is not there, made."""
    in_place_of(file(workspace.home.local), docs / target)
    before = everything_in(docs)

    done = subprocess.run(
        [sys.executable, "-c", USE_ALL, str(workspace.root)], capture_output=True, text=True, check=False
    )

    assert everything_in(docs) == before
    assert "Traceback" not in done.stdout + done.stderr


def test_old_deployments_go_and_a_link_among_them_stays(
    ws: WorkspaceFiles, workspace: Workspace, docs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and does not keep the others; one inside a set keeps only itself."""
    deployments = workspace.home.deployments()
    root = workspace.home.local.runtime_dir / "deployments"
    first = deployments.store().folder
    (first / "flow_helpers").symlink_to(docs)
    ws.module("more", "x = 1")
    second = deployments.store().folder
    (root / "0123").symlink_to(docs)
    before = everything_in(docs)

    deployments.collect(set())

    assert everything_in(docs) == before
    assert [path.name for path in first.iterdir()] == ["flow_helpers"]
    assert not second.exists()
    assert (root / "0123").is_symlink()
    told = " ".join(record.getMessage() for record in caplog.records)
    assert str(root / "0123") in told
    assert str(first / "flow_helpers") in told


def test_a_link_is_no_deployment(workspace: Workspace, docs: Path) -> None:
    """A set of this name would be taken for what its name says, whatever the link leads to."""
    deployments = workspace.home.deployments()
    stored = deployments.store()
    in_place_of(stored.folder, docs)

    assert not deployments.has(stored.id)
    assert deployments.contents_of(stored.id) is None
    with pytest.raises(WorkspaceError, match="cannot be stored"):
        deployments.store()
    assert list(stored.folder.parent.glob(".*.tmp")) == []


def test_journals_behind_a_link_are_not_recovered_and_stay(tmp_path: Path, docs: Path) -> None:
    """Neither read into the history nor removed with their runner."""
    with Ledger.open(tmp_path / "state" / "ledger.sqlite") as ledger:
        with ledger.writing() as (connection, _):
            connection.execute("INSERT INTO runners VALUES ('1-00', 1, 1.0, '2020')")
        (docs / "1-00.x.events").write_bytes(event_line(RunStarted("3f", "claims", "G", None, at_s=0.0)))
        ledger.runners_dir.symlink_to(docs)
        (docs / "1-00.lock").unlink()
        before = everything_in(docs)

        assert ledger.recover() == []

        assert everything_in(docs) == before
        with pytest.raises(LedgerError, match="it is a link"):
            ledger.record(RunStarted("4a", "claims", "G", None, at_s=0.0))
        assert everything_in(docs) == before


def test_saved_frames_go_and_what_is_no_file_of_ours_stays(workspace: Workspace, docs: Path) -> None:
    """A folder does not end the clearing either."""
    workspace.load_flow("claims").run_once()
    debug = workspace.home.local.debug_dir
    (debug / "a__b.json").symlink_to(docs / "letter.txt")
    (debug / "c__d").mkdir()
    before = everything_in(docs)

    said = answer(str(workspace.root), "clear_debug", {})["result"]

    assert said == f"Removed 1 saved frame. Not removed, because Data Engine did not write them: 2 in {debug}."
    assert sorted(path.name for path in debug.iterdir()) == ["a__b.json", "c__d"]
    assert everything_in(docs) == before


def test_old_compiled_modules_go_and_a_link_of_such_a_name_stays(
    ws: WorkspaceFiles, workspace: Workspace, docs: Path
) -> None:
    """It is none of ours."""
    folder = workspace.home.local.compiled_flow_modules_dir
    workspace.load_flow("claims")
    (old,) = folder.iterdir()
    link = old.with_name(old.name[:-20] + "0.artifact")
    link.symlink_to(docs)
    ws.notebook("claims", FLOW, "x = 1")

    Workspace(ws.root).load_flow("claims")

    assert (old.exists(), link.is_symlink()) == (False, True)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("is_deep", [False, True], ids=["the folder itself", "in it"])
def test_a_fork_moves_nothing_through_a_link(
    ws: WorkspaceFiles, docs: Path, caplog: pytest.LogCaptureFixture, is_deep: bool
) -> None:
    """Instead of the shared folder it is refused; in it the link stays where it is, and is told."""
    layout = WorkspaceLayout(ws.root)
    Workspace(ws.root).home.ledger()
    shared = layout.workspace_state_dir
    (shared / "state").mkdir()
    in_place_of(shared / "link" if is_deep else shared, docs)
    before = everything_in(docs)

    if is_deep:
        identity = fork_identity(layout)
        assert {path.name for path in shared.iterdir()} == {"identity.json", "link", f"before_{identity}"}
        assert (shared / f"before_{identity}" / "state").is_dir()
        assert str(shared / "link") in caplog.text
    else:
        with pytest.raises(WorkspaceError, match="it is a link"):
            fork_identity(layout)

    assert everything_in(docs) == before


def test_a_new_workspace_writes_no_identity_through_a_link(ws: WorkspaceFiles, docs: Path) -> None:
    """What the workstations share is a folder of the workspace."""
    (ws.root / ".workspace_state").symlink_to(docs)
    before = everything_in(docs)

    with pytest.raises(FlowValidationError, match="it is a link"):
        Workspace(ws.root).home  # noqa: B018

    assert everything_in(docs) == before


def test_roots_may_be_links(ws: WorkspaceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workspace's and the state root's are where the user put them."""
    ws.notebook("claims", FLOW)
    (tmp_path / "alias").symlink_to(ws.root)
    (tmp_path / "drive").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "drive")
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(tmp_path / "linked"))

    workspace = Workspace(tmp_path / "alias")
    workspace.deploy()
    workspace.load_flow("claims").run_once()

    assert workspace.deployment("claims") == "as deployed"
    assert (tmp_path / "drive" / state_root().name / "machine_id").parent.is_dir()


def test_the_probes_of_the_doctor_clean_up_no_further_than_a_link(tmp_path: Path, docs: Path) -> None:
    """Should somebody put one into their folder."""
    before = everything_in(docs)

    with probe_folder(tmp_path) as folder:
        (folder / "file").touch()
        (folder / "link").symlink_to(docs)

    assert [path.name for path in folder.iterdir()] == ["link"]
    assert everything_in(docs) == before


@pytest.mark.skipif(os.name != "posix", reason="bind mounts of Linux")
def test_an_old_deployment_with_something_mounted_in_it_costs_nothing_there(workspace: Workspace, docs: Path) -> None:
    """A bind mount is a folder by every look but one."""
    stored = workspace.home.deployments().store()
    (stored.folder / "mount").mkdir()
    if subprocess.run(["mount", "--bind", docs, stored.folder / "mount"], capture_output=True).returncode:
        pytest.skip("this user may not mount")
    before = everything_in(docs)
    try:
        workspace.home.deployments().collect(set())
        assert everything_in(docs) == before
    finally:
        subprocess.run(["umount", stored.folder / "mount"], check=True)
    workspace.home.deployments().collect(set())
    assert not stored.folder.exists()
