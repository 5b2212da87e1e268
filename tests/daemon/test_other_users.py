"""What other users of this machine find: nothing they could read, and no lock that they could hold."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import data_engine
from data_engine import Workspace
from data_engine.daemon.doctor import check_private
from data_engine.workspace.machine import state_root
from tests.daemon.support import ended
from tests.support import WorkspaceFiles, until

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="modes of POSIX; tests/platforms/test_access.py is the twin"
)
NOBODY = 65534
FLOW = """
    from data_engine import Flow
    import polars as pl

    def work(context):
        print("amount of Ann Smith: 17")
        context.debug.save_frame(pl.DataFrame({"amount": [17]}), name="amounts")
        context.debug.save_json({"amount": 17}, name="facts")

    def build():
        return Flow(group="G").watch(mode="manual").step(work)
"""
USE = """
import sys
from data_engine import Workspace
ws = Workspace(sys.argv[1])
ws.deploy()
ws.start_engine()
ws.run("claims")
"""
TAKE = """
import fcntl, os, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
got = []
for path in sys.argv[1:]:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        got.append("opened " + path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        got.append("locked " + path)
    except OSError:
        pass
print(sorted(got))
"""


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state root in a place that every user can reach, as a machine's own would be."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(place / "state"))
    yield place / "state"
    shutil.rmtree(place)


@pytest.fixture
def workspace(ws: WorkspaceFiles, state: Path) -> Iterator[Workspace]:
    ws.notebook("claims", FLOW)
    found = Workspace(ws.root)
    yield found
    found.kill()


def used(workspace: Workspace, umask: int) -> None:
    """A daemon with an engine that has run the flow, all of it under this umask."""
    environment = os.environ | {"PYTHONPATH": str(Path(data_engine.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", USE, str(workspace.root)], check=True, umask=umask, env=environment)
    until(lambda: ended(workspace, "claims", 1))
    assert [run.status for run in workspace.runs("claims")] == ["success"]


def too_open(folder: Path) -> dict[str, str]:
    """Every folder that is not 0700 and every file that is not 0600."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        facts = path.lstat()
        wanted = 0o700 if stat.S_ISDIR(facts.st_mode) else 0o600
        if stat.S_IMODE(facts.st_mode) != wanted:
            found[str(path.relative_to(folder))] = oct(stat.S_IMODE(facts.st_mode))
    return found


def taken_by_another_user(paths: list[Path]) -> str:
    """What another user of this machine can open to read, and hold a lock on."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", TAKE, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("umask", [0o000, 0o077], ids="umask {:03o}".format)
def test_every_file_of_a_machine_at_work_is_private(workspace: Workspace, umask: int) -> None:
    """Ledger and its log, lock files, daemon's log, deployments, debug frames, compiled modules, journals, endpoint."""
    used(workspace, umask)

    assert too_open(state_root()) == {}
    names = {path.name for path in state_root().rglob("*")}
    assert {"runtime_ledger.sqlite-wal", "daemon.log", ".daemon.lock", "daemon.json"} <= names
    assert [path for path in state_root().rglob("deployments/*/*") if path.is_file()]
    assert {path.suffix for path in state_root().rglob("*")} >= {".parquet", ".artifact", ".lock", ".events"}
    assert check_private().ok is True


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="only root can become another user")
def test_another_user_can_neither_read_nor_lock_anything(workspace: Workspace, state: Path) -> None:
    """Not a single file, not even one whose path they know."""
    used(workspace, 0o000)
    public = state.parent / "public"
    public.touch(mode=0o644)
    assert taken_by_another_user([public]) == f"['locked {public}', 'opened {public}']"

    assert taken_by_another_user([path for path in state_root().rglob("*") if path.is_file()]) == "[]"


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="only root can become another user")
def test_the_files_stand_by_themselves(workspace: Workspace, state: Path) -> None:
    """Where somebody opens the folders, each file is closed still."""
    used(workspace, 0o000)
    for folder in [state_root(), *(path for path in state_root().rglob("*") if path.is_dir())]:
        folder.chmod(0o755)

    assert taken_by_another_user([path for path in state_root().rglob("*") if path.is_file()]) == "[]"


def opened_up(folder: Path) -> None:
    """As an earlier version left it, or a hand."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.suffix == ".lock" else 0o644)


def test_what_an_earlier_version_left_is_repaired_at_the_first_use(workspace: Workspace) -> None:
    """Of any process: here one that only asks for runs."""
    used(workspace, 0o022)
    workspace.kill()
    opened_up(state_root())

    code = f"from data_engine import Workspace; print(len(Workspace({str(workspace.root)!r}).runs()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "1\n"
    assert too_open(state_root()) == {}


def test_a_start_of_the_daemon_repairs_what_is_in_a_closed_folder(workspace: Workspace) -> None:
    """Where the folder was closed by hand, its files may not be."""
    used(workspace, 0o022)
    workspace.kill()
    opened_up(state_root())
    state_root().chmod(0o700)

    workspace.start()

    assert too_open(state_root()) == {}


def test_files_elsewhere_are_private_and_their_folder_stays_as_it_is(
    ws: WorkspaceFiles, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger and a runtime root that were put into folders of the user's own."""
    ledgers, runtime = tmp_path / "ledgers", tmp_path / "runtime"
    for folder in (ledgers, runtime):
        folder.mkdir()
        folder.chmod(0o755)
        (folder / "mine").touch(mode=0o644)
    monkeypatch.setenv("DATA_ENGINE_RUNTIME_DB_PATH", str(ledgers / "claims.sqlite"))
    monkeypatch.setenv("DATA_ENGINE_RUNTIME_ROOT", str(runtime))
    ws.notebook("claims", FLOW)
    workspace = Workspace(ws.root)
    try:
        used(workspace, 0o000)

        open_here = {"mine": "0o644", ".": "0o755"}
        assert too_open(ledgers) == open_here
        assert too_open(runtime) == open_here
        assert too_open(state_root()) == {}
        assert check_private(workspace.home.local.private_places).ok is True
        (ledgers / "claims.sqlite").chmod(0o644)
        assert "claims.sqlite: mode 0644" in check_private(workspace.home.local.private_places).measured
    finally:
        workspace.kill()


def test_the_doctor_names_what_is_open_and_leaves_by_one(workspace: Workspace) -> None:
    """It only looks; what it says to do puts it right."""
    workspace.home.ledger().close()
    root = state_root()
    opened_up(root)
    doctor = [sys.executable, "-m", "data_engine", "--workspace", str(workspace.root), "doctor", "--json"]

    done = subprocess.run(doctor, capture_output=True, text=True, check=False)

    (found,) = [one for one in json.loads(done.stdout)["findings"] if one["name"] == "other users"]
    assert (done.returncode, found["ok"]) == (1, False)
    assert f"{root}: mode 0755" in found["measured"]
    assert stat.S_IMODE(root.stat().st_mode) == 0o755
    command = found["fix"].partition(": ")[2].partition(";")[0]
    assert command == f"chmod -R go-rwx {root}"
    subprocess.run(command.split(), check=True)
    assert check_private().ok is True


def test_the_doctor_tells_a_folder_of_another_user(workspace: Workspace) -> None:
    """And what to do; so does whatever needs the folder."""
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    state_root().mkdir(parents=True, exist_ok=True)
    os.chown(state_root(), NOBODY, NOBODY)

    finding = check_private()
    done = subprocess.run(
        [sys.executable, "-m", "data_engine", "--workspace", str(workspace.root), "runs"],
        capture_output=True,
        text=True,
        check=False,
    )
    os.chown(state_root(), os.getuid(), os.getgid())

    assert (finding.ok, "belongs to another user" in finding.measured) == (False, True)
    assert done.returncode != 0
    assert "belongs to another user" in done.stderr
    assert "Traceback" not in done.stderr
