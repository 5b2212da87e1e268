"""Two owners cannot arise, one of the older system and one of this: each refuses beside the other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_engine import Workspace, importing
from data_engine.cli.options import in_flow_modules
from data_engine.errors import OwnedElsewhereError
from data_engine.lease import older_owner
from data_engine.lease.folder import OsFolder
from data_engine.lease.older_owner import older_markers, why_not_ours
from tests.importing.conftest import Claims, Cli, files_of
from tests.older_system import could_own


@pytest.fixture
def workspace(claims: Claims) -> Iterator[Workspace]:
    yield (ws := Workspace(claims.root))
    ws.kill()


def let_markers_be_old(claims: Claims) -> None:
    """They were made long ago."""
    past, folder = time.time() - 600, claims.older.shared / "leased"
    for path in (*folder.iterdir(), folder):
        os.utime(path, (past, past))


@pytest.mark.parametrize("heartbeat_age_s", [0, 60, 80])
def test_beside_a_live_owner_nothing_is_done(cli: Cli, claims: Claims, heartbeat_age_s: int) -> None:
    """It says who, and how to end it."""
    claims.has_run("a.csv", 1)
    claims.left(marker="leased")
    claims.older.heartbeat(time.time() - heartbeat_age_s)
    before = files_of(claims.root)

    refused = cli("import", claims.root, "--yes")

    assert refused.code == 3
    for words in ("old-host", "Force Stop Daemon", "Then `data-engine import PATH`"):
        assert words in refused.err, words
    assert files_of(claims.root) == before


def test_an_owner_whose_clock_is_behind_is_live_all_the_same(cli: Cli, claims: Claims) -> None:
    """Its file is as young as the drive says."""
    claims.has_run("a.csv", 1)
    claims.left(marker="leased")
    claims.older.heartbeat(time.time() - 600, written_s=time.time() - 10)

    assert cli("import", claims.root, "--yes").code == 3


def test_a_heartbeat_from_the_future_is_judged_by_its_file(cli: Cli, claims: Claims) -> None:
    claims.has_run("a.csv", 1)
    claims.left(marker="leased")
    claims.older.heartbeat(time.time() + 86_400, written_s=time.time() - 600)

    assert cli("import", claims.root, "--yes").code == 0


def test_a_marker_that_was_left_behind_is_set_aside(cli: Cli, claims: Claims) -> None:
    """As the older system does it."""
    claims.has_run("a.csv", 1)
    claims.left(marker="leased")
    claims.older.heartbeat(time.time() - 600)

    shown = cli("import", claims.root, "--yes")

    assert shown.code == 0
    assert len(list((claims.older.shared / "stale").glob("claims__*"))) == 1
    assert not could_own(claims.older.shared, "claims", time.time())


def test_a_marker_without_a_heartbeat_waits_for_its_owner_to_write_one(cli: Cli, claims: Claims) -> None:
    """The older system claims first and writes then; what is old enough was left by a kill."""
    claims.has_run("a.csv", 1)
    claims.left(marker="leased")
    assert cli("import", claims.root, "--yes").code == 3

    let_markers_be_old(claims)
    assert cli("import", claims.root, "--yes").code == 0


@pytest.mark.parametrize("marker", ["available", "leased"])
def test_this_system_owns_nothing_that_was_not_moved(claims: Claims, workspace: Workspace, marker: str) -> None:
    """Neither for an engine nor for one commit; looking works."""
    claims.has_run("a.csv", 1)
    claims.left(marker=marker)

    state, _ = workspace.layout.workspace_state_dir, workspace.status()  # which gives the folder its identity
    before = sorted(state.rglob("*"))
    with pytest.raises(OwnedElsewhereError, match="data-engine import"):
        workspace.deploy("claims")
    assert sorted(state.rglob("*")) == before
    workspace.start()
    with pytest.raises(OwnedElsewhereError, match="older system"):
        workspace.start_engine()
    assert workspace.status().lease.state == "available"
    assert [flow.name for flow in workspace.flows()] == ["claims"]


def test_start_names_the_older_systems_machine(cli: Cli, claims: Claims, workspace: Workspace) -> None:
    claims.left(marker="leased").heartbeat(time.time() - 5)

    refused = cli("--workspace", claims.root, "start")

    assert refused.code == 3
    assert "old-host" in refused.err
    refused = cli("--workspace", claims.root, "run", "--once", "claims")
    assert (refused.code, "old-host" in refused.err, workspace.runs()) == (3, True, [])


def test_an_older_owner_that_was_quicker_keeps_the_workspace(claims: Claims) -> None:
    """Between the look and the seal it has renamed the marker: just one can."""
    claims.has_run("a.csv", 1)
    claims.left()
    (lease,) = older_owner.look_at_leases(claims.older.shared, "claims")
    (claims.older.shared / "available" / "claims").rename(claims.older.shared / "leased" / "claims")

    with pytest.raises(OwnedElsewhereError, match="older system"):
        older_owner.seal(claims.older.shared, lease, "ann@here")

    assert not (claims.older.shared / "leased" / "claims" / older_owner.SEAL).exists()


def test_an_owner_that_has_just_begun_keeps_its_heartbeat(claims: Claims) -> None:
    """Taken away, another older daemon would take its workspace for left behind."""
    claims.has_run("a.csv", 1)
    claims.left()
    (lease,) = older_owner.look_at_leases(claims.older.shared, "claims")
    (claims.older.shared / "available" / "claims").rename(claims.older.shared / "leased" / "claims")
    heartbeat = claims.older.heartbeat(time.time())
    before = heartbeat.read_bytes()

    with pytest.raises(OwnedElsewhereError, match="older system owns the workspace: old-host"):
        older_owner.seal(claims.older.shared, lease, "ann@here")

    assert heartbeat.read_bytes() == before


def test_who_thinks_long_about_the_plan_is_refused_beside_a_new_owner(claims: Claims, workspace: Workspace) -> None:
    """Between the plan and the yes somebody has started the older system."""
    claims.has_run("a.csv", 1)
    claims.left()
    with in_flow_modules(workspace):
        plan = importing.look(workspace.layout)
    (claims.older.shared / "available" / "claims").rename(claims.older.shared / "leased" / "claims")
    claims.older.heartbeat(time.time())
    before = files_of(claims.older.shared)

    with pytest.raises(OwnedElsewhereError, match="older system owns the workspace: old-host"):
        importing.carry_out(workspace.layout, plan)

    assert files_of(claims.older.shared) == before
    assert workspace.runs() == []


class Cut(BaseException):
    """The process was killed."""


def cut_at(patch: pytest.MonkeyPatch, stop_at: int) -> None:
    """Let the file operation of this number be the last one."""
    calls = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            nonlocal calls
            calls += 1
            if calls >= stop_at:
                raise Cut
            return real(*args)

        return call

    for name in ("write", "rename_dir", "replace", "unlink"):
        patch.setattr(OsFolder, name, counted(getattr(OsFolder, name)))


def test_a_seal_that_was_cut_short_is_finished_by_the_next_import(
    cli: Cli, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between any two of its file operations: afterwards either can own, never both, and importing again seals."""
    claims.has_run("a.csv", 1)
    claims.left()
    for stop_at in range(1, 4):
        (lease,) = older_owner.look_at_leases(claims.older.shared, "claims")
        with monkeypatch.context() as patch:
            cut_at(patch, stop_at)
            with pytest.raises(Cut):
                older_owner.seal(claims.older.shared, lease, "ann@here")
        assert why_not_ours(OsFolder(claims.older.shared), "claims") is not None
        let_markers_be_old(claims)
    assert cli("import", claims.root, "--yes").code == 0
    assert not could_own(claims.older.shared, "claims", time.time())


@pytest.mark.parametrize("older_id", ["default", "CLAIMS"])
def test_what_the_older_system_may_call_the_workspace(claims: Claims, older_id: str) -> None:
    """`default` where it is its collection too; drives may not tell case apart. It has published nothing yet."""
    (claims.older.shared / "leased" / older_id).mkdir(parents=True)

    assert older_markers(OsFolder(claims.older.shared), "claims") == [(older_id, "leased")]


def test_what_is_not_the_older_systems_is_no_marker(tmp_path: Path) -> None:
    state = tmp_path / "claims" / ".workspace_state"
    for name in ("available/0123456789abcdef0123", "leased/somebodys", "available/.DS_Store", "state/runs"):
        (state / name).mkdir(parents=True)
    (state / "available" / "claims").touch()
    (state / "state" / "runs" / "0000000001-abc.parquet").touch()

    assert older_markers(OsFolder(state), "claims") == []
    assert why_not_ours(OsFolder(state), "claims") is None


def test_a_moved_workspace_is_owned(cli: Cli, claims: Claims, workspace: Workspace) -> None:
    claims.has_run("a.csv", 1)
    claims.left()
    cli("import", claims.root, "--yes")
    workspace.deploy("claims")
    workspace.start()
    workspace.start_engine()

    assert workspace.status().lease.state == "mine"
    assert cli("import", claims.root, "--yes").code == 2  # this machine's daemon works in it
    workspace.kill()
    assert not could_own(claims.older.shared, "claims", time.time())
