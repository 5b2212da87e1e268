"""Two owners cannot arise, one of the older system and one of this: each refuses beside the other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.cli.options import in_flow_modules
from data_engine.daemon.older_check import check_older_owner
from data_engine.errors import OwnedElsewhereError
from data_engine.lease.folder import OsFolder
from data_engine.lease.older_owner import older_markers, why_not_ours
from data_engine.moving import move, older_lease
from tests.moving.conftest import Claims, Cli, files_of
from tests.older_system import could_own, this_host
from tests.support import until


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

    refused = cli("import", claims.root, "--yes", "--rewrite-keys")

    assert refused.code == 3
    for words in ("old-host (pid 4711)", "Force Stop Daemon", "Then import again"):
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

    assert cli("import", claims.root, "--yes", "--keep-keys").code == 0


def test_a_marker_that_was_left_behind_is_set_aside(cli: Cli, claims: Claims) -> None:
    """As the older system does it; nothing of it is lost."""
    claims.has_run("a.csv", 1)
    claims.left(marker="leased")
    heartbeat = claims.older.heartbeat(time.time() - 600).read_bytes()

    shown = cli("import", claims.root, "--yes", "--keep-keys")

    assert (shown.code, "its last owner is gone and left its marker behind: old-host" in shown.out) == (0, True)
    (bundle,) = (claims.older.shared / "stale").glob("claims__*__old-host")
    assert (bundle / "metadata" / "lease.parquet").read_bytes() == heartbeat
    assert not could_own(claims.older.shared, "claims", time.time())


def test_a_marker_without_a_heartbeat_waits_for_its_owner_to_write_one(cli: Cli, claims: Claims) -> None:
    """The older system claims first and writes then; what is old enough was left by a kill."""
    claims.has_run("a.csv", 1)
    claims.left(marker="leased")
    assert cli("import", claims.root, "--yes").code == 3

    let_markers_be_old(claims)
    assert cli("import", claims.root, "--yes", "--keep-keys").code == 0


def test_an_owner_of_this_machine_is_judged_by_its_process(cli: Cli, claims: Claims) -> None:
    claims.has_run("a.csv", 1)
    claims.left(marker="leased")
    daemon = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "data_engine.hosts.daemon.app"])
    try:
        claims.older.heartbeat(time.time() - 600, machine=this_host(), pid=daemon.pid)
        assert cli("import", claims.root, "--yes").code == 3  # asleep, say
    finally:
        daemon.kill()
        daemon.wait()
    claims.older.heartbeat(time.time(), machine=this_host(), pid=daemon.pid)
    assert cli("import", claims.root, "--yes").code == 3  # of another machine of this name, say
    claims.older.heartbeat(time.time() - 600, machine=this_host(), pid=daemon.pid)

    assert cli("import", claims.root, "--yes", "--keep-keys").code == 0


@pytest.mark.parametrize("marker", ["available", "leased"])
def test_this_system_owns_nothing_that_was_not_moved(claims: Claims, workspace: Workspace, marker: str) -> None:
    """Neither for an engine nor for one commit; looking works."""
    claims.has_run("a.csv", 1)
    claims.left(marker=marker)

    with pytest.raises(OwnedElsewhereError, match="data-engine import"):
        workspace.deploy("claims")
    workspace.start()
    with pytest.raises(OwnedElsewhereError, match="older system"):
        workspace.start_engine()
    assert workspace.status().lease.state == "available"
    assert [flow.name for flow in workspace.flows()] == ["claims"]


def test_nothing_runs_here_beside_an_older_owner_unless_forced(claims: Claims, workspace: Workspace) -> None:
    """Without a daemon neither: the older one runs the same flow."""
    claims.has_run("a.csv", 1)
    claims.left(marker="leased")
    flow = workspace.load_flow("claims")

    with pytest.raises(OwnedElsewhereError, match="a daemon of the older system owns the workspace"):
        flow.run_once()
    assert len(flow.run_once(force=True)) == 1


def test_an_older_owner_that_was_quicker_keeps_the_workspace(claims: Claims) -> None:
    """Between the look and the seal it has renamed the marker: just one can."""
    claims.has_run("a.csv", 1)
    claims.left()
    (lease,) = older_lease.look(claims.older.shared, "claims")
    (claims.older.shared / "available" / "claims").rename(claims.older.shared / "leased" / "claims")

    with pytest.raises(OwnedElsewhereError, match="older system"):
        older_lease.seal(claims.older.shared, lease, "ann@here")

    assert not (claims.older.shared / "leased" / "claims" / older_lease.SEAL).exists()
    assert not list((claims.older.shared / "leases").glob("*.parquet"))


def test_an_owner_that_has_just_begun_keeps_its_heartbeat(claims: Claims) -> None:
    """Taken away, another older daemon would take its workspace for left behind."""
    claims.has_run("a.csv", 1)
    claims.left()
    (lease,) = older_lease.look(claims.older.shared, "claims")
    (claims.older.shared / "available" / "claims").rename(claims.older.shared / "leased" / "claims")
    heartbeat = claims.older.heartbeat(time.time())
    before = heartbeat.read_bytes()

    with pytest.raises(OwnedElsewhereError, match="one of its daemons owns the workspace: old-host"):
        older_lease.seal(claims.older.shared, lease, "ann@here")

    assert heartbeat.read_bytes() == before
    assert list((claims.older.shared / "stale").iterdir()) == []


def test_who_thinks_long_about_the_plan_is_refused_beside_a_new_owner(claims: Claims, workspace: Workspace) -> None:
    """Between the plan and the yes somebody has started the older system."""
    claims.has_run("a.csv", 1)
    claims.left()
    with in_flow_modules(workspace):
        found = move.look(workspace.layout, move.Asked())
    (claims.older.shared / "available" / "claims").rename(claims.older.shared / "leased" / "claims")
    claims.older.heartbeat(time.time())
    before = files_of(claims.older.shared)

    with pytest.raises(OwnedElsewhereError, match="one of its daemons owns the workspace: old-host"):
        move.carry_out(workspace.layout, found.plan)

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
        (lease,) = older_lease.look(claims.older.shared, "claims")
        with monkeypatch.context() as patch:
            cut_at(patch, stop_at)
            with pytest.raises(Cut):
                older_lease.seal(claims.older.shared, lease, "ann@here")
        assert why_not_ours(OsFolder(claims.older.shared), "claims") is not None
        let_markers_be_old(claims)
    assert cli("import", claims.root, "--yes", "--keep-keys").code == 0
    assert not could_own(claims.older.shared, "claims", time.time())


def test_a_seal_that_was_taken_off_by_half_is_off_after_the_next_time(
    cli: Cli, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between any two of its file operations: never may both own, and undoing again gives the marker back."""
    claims.has_run("a.csv", 1)
    claims.left()
    shared = claims.older.shared
    for stop_at in range(1, 4):
        assert cli("import", claims.root, "--yes", "--keep-keys").code == 0
        with monkeypatch.context() as patch:
            cut_at(patch, stop_at)
            with pytest.raises(Cut):
                older_lease.take_seal_off(shared, "claims")
        may_be_ours = why_not_ours(OsFolder(shared), "claims") is None
        assert not (may_be_ours and could_own(shared, "claims", time.time()))

        assert cli("import", claims.root, "--undo", "--json").json == {"unsealed": ["claims"]}
        assert could_own(shared, "claims", time.time())
        assert not (shared / "leases" / "claims.parquet").exists()


def test_a_seal_whose_heartbeat_was_taken_away_is_told_and_guarded_again(cli: Cli, claims: Claims) -> None:
    """Force Stop Daemon in an older window does that; a daemon that starts then would own."""
    claims.has_run("a.csv", 1)
    claims.left()
    cli("import", claims.root, "--yes", "--keep-keys")
    layout = Workspace(claims.root).layout
    told = check_older_owner(layout)
    assert told is not None
    assert told.ok
    (claims.older.shared / "leases" / "claims.parquet").unlink()

    told = check_older_owner(layout)
    assert told is not None
    assert (told.ok, "leases/claims.parquet is gone" in told.measured) == (False, True)
    again = cli("import", claims.root, "--yes", "--keep-keys")

    assert "the heartbeat that keeps its daemons away is gone" in again.out
    assert not could_own(claims.older.shared, "claims", time.time())
    told = check_older_owner(layout)
    assert told is not None
    assert told.ok


def test_start_names_the_older_systems_machine(cli: Cli, claims: Claims, workspace: Workspace) -> None:
    claims.left(marker="leased").heartbeat(time.time() - 5)

    refused = cli("--workspace", claims.root, "start")

    assert refused.code == 3
    assert "old-host (pid 4711)" in refused.err


def test_an_older_daemon_that_starts_beside_an_owner_of_ours_stops_it(claims: Claims, workspace: Workspace) -> None:
    """The workspace never was the older system's; its daemon takes a marker that nobody held."""
    claims.root.joinpath("config", "data_engine.toml").write_text(
        '[lease]\nheartbeat = "500ms"\nstale_after = "2500ms"\n'
    )
    claims.put("a.csv", 1)
    workspace.deploy("claims")
    workspace.start()
    workspace.start_engine()
    until(lambda: [run.status for run in workspace.runs("claims")] == ["success"])

    claims.older.marker("leased")
    claims.older.heartbeat(time.time())

    lease = until(
        lambda: (now := workspace.lease()).state == "available" and "other_owner" in now.trouble_kinds and now
    )
    assert "leased/claims says that one of its daemons owns the workspace" in (lease.trouble or "")
    assert not workspace.status().engine.on
    claims.put("b.csv", 2)
    with pytest.raises(OwnedElsewhereError, match="older system"):
        workspace.start_engine()
    assert [Path(run.source or "").name for run in workspace.runs("claims")] == ["a.csv"]


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


def test_a_moved_workspace_is_owned_and_the_seal_goes_only_when_nobody_owns(
    cli: Cli, claims: Claims, workspace: Workspace
) -> None:
    claims.has_run("a.csv", 1)
    claims.left()
    cli("import", claims.root, "--yes", "--keep-keys")
    workspace.deploy("claims")
    workspace.start()
    workspace.start_engine()

    assert workspace.status().lease.state == "mine"
    assert cli("import", claims.root, "--undo").code == 2  # this machine's daemon works in it
    assert cli("import", claims.root, "--yes", "--keep-keys").code == 2
    workspace.kill()
    assert not could_own(claims.older.shared, "claims", time.time())
