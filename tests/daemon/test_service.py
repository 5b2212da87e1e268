"""A daemon that a service keeps: started as systemd starts it, killed, stopped on purpose, waiting for a drive or its turn."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from data_engine import Workspace
from data_engine.daemon.daemon import KeepsAwake
from data_engine.daemon.doctor import examine
from data_engine.daemon.service import command_of, examined, install, read_record, service_facts, uninstall
from data_engine.errors import WorkspaceError
from data_engine.platforms.service import Systemd
from data_engine.status.record import ServiceFacts
from tests.service_managers import StandIns
from tests.support import WorkspaceFiles, end_now, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the commands' stand-ins are shell scripts")

LOGON = ["PATH", "HOME", "TMPDIR"]
"""What a user manager starts programs with, more or less."""

SLOW = """
    from pathlib import Path
    import time
    from data_engine import Flow

    def work(context):
        while not Path(context.params["until"]).exists():
            time.sleep(0.01)

    def build():
        return Flow(group="G").watch(mode="manual").step(work)
"""
Run = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    return StandIns(tmp_path / "commands", monkeypatch)


@pytest.fixture
def manager(tmp_path: Path, system: StandIns) -> Systemd:
    return Systemd(os.getuid(), tmp_path / "units")


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.notebook("manual", SLOW)
    found = Workspace(ws.root)
    yield found
    found.kill()


@pytest.fixture
def service(workspace: Workspace, manager: Systemd, tmp_path: Path) -> Iterator[Run]:
    """Runs the installed unit's own command line as systemd would: nothing of this shell's environment, in the root folder."""
    done = install(workspace.home, manager=manager)
    started: list[subprocess.Popen[bytes]] = []

    def run() -> subprocess.Popen[bytes]:
        (line,) = [one for one in done.place.read_text(encoding="utf-8").splitlines() if one.startswith("ExecStart=")]
        command = shlex.split(line.partition("=")[2].replace("%%", "%").replace("$$", "$"))
        environment = {name: os.environ[name] for name in LOGON if name in os.environ}
        started.append(subprocess.Popen(command, env=environment, cwd="/", start_new_session=True))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def serving(workspace: Workspace, process: subprocess.Popen[bytes]) -> bool:
    """Whether the daemon that answers is this process."""
    return workspace.status().daemon.pid == process.pid


def of_an_earlier_logon(workspace: Workspace) -> None:
    """Let the last stop be one of a session before this one."""
    path = workspace.home.local.daemon_stopped_path
    path.write_text(f"earlier {path.read_text(encoding='utf-8')}", encoding="utf-8")


def test_a_daemon_that_died_comes_back_with_its_engine_on(workspace: Workspace, service: Run) -> None:
    """As after a power cut: the service starts it, and nobody has to do anything."""
    first = service()
    until(lambda: serving(workspace, first))
    workspace.start_engine()
    end_now(first.pid)
    assert first.wait(10) != 0  # so a manager restarts it

    second = service()

    until(lambda: serving(workspace, second) and workspace.status().engine.on)
    assert workspace.status().service.state == "serving"


def test_status_tells_at_once_of_a_service_that_comes_or_goes(workspace: Workspace, manager: Systemd) -> None:
    """A daemon that runs does not tell what it knew a moment ago."""
    workspace.start()
    for _ in range(3):
        install(workspace.home, manager=manager)
        assert workspace.status().service.installed
        uninstall(workspace.home, manager=manager)
        found = examined(workspace.home, workspace.status().service, manager=manager)
        assert (found.installed, found.trouble) == (False, None)


def test_a_daemon_that_was_stopped_is_not_restarted_before_the_next_logon(workspace: Workspace, service: Run) -> None:
    """`data-engine stop` means it; the repetition of a Windows task asks again and again."""
    first = service()
    until(lambda: serving(workspace, first))
    workspace.shutdown()
    assert first.wait(20) == 0  # so no manager restarts it

    assert [service().wait(20), service().wait(20)] == [0, 0]
    assert not workspace.status().daemon.running
    assert workspace.status().service.state == "stopped"

    of_an_earlier_logon(workspace)
    last = service()
    until(lambda: serving(workspace, last))


def test_a_daemon_that_was_killed_on_purpose_is_not_restarted_either(workspace: Workspace, service: Run) -> None:
    """`data-engine kill` may leave no time to say so itself."""
    process = service()
    until(lambda: serving(workspace, process))
    psutil.Process(process.pid).suspend()
    workspace.kill()
    process.wait(10)

    assert service().wait(20) == 0


def test_a_stop_while_the_service_comes_back_counts(workspace: Workspace, service: Run) -> None:
    """No daemon hears of it, and none starts afterwards."""
    process = service()
    until(lambda: serving(workspace, process))
    end_now(process.pid)
    process.wait(10)

    workspace.shutdown()

    assert service().wait(20) == 0


def test_a_start_by_hand_ends_the_stop(workspace: Workspace, service: Run, system: StandIns) -> None:
    """And lets the service stand by for the daemon that was started."""
    workspace.start()
    workspace.shutdown()
    until(lambda: not workspace.status().daemon.running)
    system.asked()

    workspace.start()

    assert system.told() == [f"systemctl --user start --no-block data-engine-{workspace.home.local.identity}.service"]
    assert workspace.status().service.state == "waiting"
    process = service()
    time.sleep(1)
    end_now(workspace.status().daemon.pid)
    until(lambda: serving(workspace, process), timeout_s=15)


@pytest.mark.parametrize("is_on_purpose", [False, True])
def test_the_service_succeeds_a_daemon_that_somebody_else_started(
    workspace: Workspace, service: Run, is_on_purpose: bool
) -> None:
    """Its death, with the engine where it was; not its end on purpose."""
    workspace.start_engine()
    pid = workspace.status().daemon.pid
    process = service()
    time.sleep(0.5)
    assert process.poll() is None
    assert workspace.status().daemon.pid == pid

    if is_on_purpose:
        workspace.shutdown()
        assert process.wait(20) == 0
    else:
        end_now(pid)
        until(lambda: serving(workspace, process) and workspace.status().engine.on)


def test_the_service_waits_for_a_drive(workspace: Workspace, service: Run, tmp_path: Path) -> None:
    """At logon a share may come later than the person."""
    process = service()
    until(lambda: serving(workspace, process))
    workspace.start_engine()
    end_now(process.pid)
    process.wait(10)
    workspace.root.rename(tmp_path / "away")

    process = service()
    time.sleep(1)
    assert process.poll() is None
    (tmp_path / "away").rename(workspace.root)

    until(lambda: serving(workspace, process) and workspace.status().engine.on)


def test_another_workspace_in_its_place_is_let_alone(workspace: Workspace, service: Run, tmp_path: Path) -> None:
    """Somebody put another folder where it was."""
    workspace.root.rename(tmp_path / "away")
    Workspace.create(workspace.root)

    assert service().wait(30) == 1

    assert not any((workspace.root / ".workspace_state").glob("state/*"))


def test_a_daemon_with_a_service_stays_when_it_is_idle_and_without_one_does_not(
    workspace: Workspace, service: Run, manager: Systemd, ws: WorkspaceFiles
) -> None:
    """It watches for the owner; `[daemon] idle_exit` is for those that somebody started. Uninstalling ends nothing."""
    ws.source("config/data_engine.toml", '[daemon]\nidle_exit = "1s"\n')
    process = service()
    until(lambda: serving(workspace, process))
    until(lambda: workspace.status().service.installed)
    time.sleep(4)
    assert process.poll() is None

    assert uninstall(workspace.home, manager=manager) is True

    assert process.poll() is None
    assert process.wait(20) == 0
    assert workspace.status().service == ServiceFacts()
    left = command_of(workspace.home.local.service_path, sys.executable)
    assert subprocess.run(left, timeout=60).returncode == 0  # nothing is left to start
    assert uninstall(workspace.home, manager=manager) is False


def test_installing_twice_changes_nothing(workspace: Workspace, manager: Systemd, system: StandIns) -> None:
    """Neither what is stored, nor what runs."""
    assert install(workspace.home, manager=manager).changed
    record = workspace.home.local.service_path.read_bytes()
    system.asked()

    assert not install(workspace.home, manager=manager).changed

    assert system.told() == []
    assert workspace.home.local.service_path.read_bytes() == record


def test_each_workspace_has_a_service_of_its_own(workspace: Workspace, manager: Systemd, tmp_path: Path) -> None:
    """And one is taken away without the other."""
    other = Workspace.create(tmp_path / "other")
    first, second = install(workspace.home, manager=manager), install(other.home, manager=manager)
    assert first.place != second.place

    uninstall(workspace.home, manager=manager)

    assert (first.place.exists(), second.place.exists()) == (False, True)
    assert service_facts(other.home).installed


def test_no_secret_of_the_environment_is_kept(
    workspace: Workspace, manager: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what decides where things are."""
    monkeypatch.setenv("DATA_ENGINE_SECRET_MAIL", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")

    place = install(workspace.home, manager=manager).place

    kept = workspace.home.local.service_path.read_text(encoding="utf-8")
    assert "hunter2" not in kept + place.read_text(encoding="utf-8")
    assert json.loads(kept)["environment"]["DATA_ENGINE_STATE_ROOT"] == os.environ["DATA_ENGINE_STATE_ROOT"]


def test_an_installation_that_fails_leaves_nothing(
    workspace: Workspace, manager: Systemd, system: StandIns, tmp_path: Path
) -> None:
    """And says what the manager said, with a way out."""
    system.refuse("systemctl", "Failed to connect to bus: No medium found")

    with pytest.raises(WorkspaceError, match="No medium found") as raised:
        install(workspace.home, manager=manager)

    assert "data-engine start" in str(raised.value.fix)
    assert not workspace.home.local.service_path.exists()
    assert not list(tmp_path.glob("units/*"))


def test_boot_is_turned_on_and_off_again(workspace: Workspace, manager: Systemd, system: StandIns) -> None:
    """What a person had before is left to them."""
    done = install(workspace.home, boot=True, manager=manager)
    assert (done.boot, done.why_no_boot) == (True, None)
    assert not install(workspace.home, boot=True, manager=manager).changed

    uninstall(workspace.home, manager=manager)
    assert not manager.starts_at_boot()

    manager.start_at_boot(True)
    install(workspace.home, boot=True, manager=manager)
    uninstall(workspace.home, manager=manager)
    assert manager.starts_at_boot()


def test_a_system_that_does_not_allow_boot_says_why(workspace: Workspace, manager: Systemd, system: StandIns) -> None:
    """The service starts at logon then."""
    system.refuse("loginctl", "Could not enable linger: Interactive authentication required.")

    done = install(workspace.home, boot=True, manager=manager)

    assert not done.boot
    assert "Interactive authentication required" in str(done.why_no_boot)
    assert done.place.exists()


def test_a_python_that_is_gone_is_told_with_the_fix(workspace: Workspace, manager: Systemd) -> None:
    """An environment was moved or deleted; `status` sees it, and so does the doctor."""
    install(workspace.home, manager=manager)
    path = workspace.home.local.service_path
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | {"python": "/gone/bin/python"}), encoding="utf-8")

    found = workspace.status().service

    assert found.trouble == "its Python is gone: /gone/bin/python"
    assert "data-engine service install" in str(found.fix)
    finding = next(one for one in examine(workspace.layout) if one.name == "service")
    assert (finding.ok, finding.measured, finding.fix) == (False, found.trouble, found.fix)


def test_a_python_without_data_engine_is_told(workspace: Workspace, manager: Systemd, tmp_path: Path) -> None:
    """It is there, and it was emptied."""
    install(workspace.home, manager=manager)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'data_engine'\" >&2\nexit 1\n")
    python.chmod(0o755)
    path = workspace.home.local.service_path
    path.write_text(json.dumps(json.loads(path.read_text()) | {"python": str(python)}), encoding="utf-8")

    found = examined(workspace.home, service_facts(workspace.home), manager=manager)

    assert found.trouble == "its Python cannot run Data Engine: ModuleNotFoundError: No module named 'data_engine'"


def test_a_definition_that_was_taken_away_is_told(workspace: Workspace, manager: Systemd) -> None:
    """By hand, past us."""
    place = install(workspace.home, manager=manager).place
    place.unlink()

    found = examined(workspace.home, service_facts(workspace.home), manager=manager)

    assert (found.trouble, found.fix) == (
        "the systemd user unit is not there any more",
        "data-engine service install",
    )


def test_a_workspace_that_was_moved_is_told(workspace: Workspace, manager: Systemd, tmp_path: Path) -> None:
    """The service would wait for ever where it was; installing it again leads it to the new place."""
    install(workspace.home, manager=manager)
    moved = Workspace(workspace.root.rename(tmp_path / "moved"))

    found = moved.status().service

    assert found.trouble == f"it waits for the workspace at {workspace.root}"
    assert install(moved.home, manager=manager).changed
    assert moved.status().service.trouble is None
    moved.root.rename(workspace.root)


def test_a_record_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    """Of another version, or damaged; the service leaves quietly then."""
    path = tmp_path / "service.json"
    path.write_text('{"workspace_root": "/x", "what": 1}')

    assert read_record(path) is None
    assert read_record(tmp_path / "none") is None
    assert subprocess.run(command_of(path, sys.executable), timeout=60).returncode == 0


# -- keep_awake ------------------------------------------------------------------------------------------------------------


def test_the_machine_is_kept_awake_while_a_run_is_active(
    workspace: Workspace, system: StandIns, tmp_path: Path, ws: WorkspaceFiles
) -> None:
    """And may sleep again when it has ended, or when the daemon dies."""
    program = system.folder / "systemd-inhibit"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/inhibited\nexec cat\n')
    program.chmod(0o755)
    ws.source("config/data_engine.toml", "[daemon]\nkeep_awake = true\n")
    workspace.deploy()
    (run_id,) = workspace.run("manual", wait=False, params={"until": str(tmp_path / "go")})

    said = until(lambda: (tmp_path / "inhibited").exists() and (tmp_path / "inhibited").read_text())
    daemon = psutil.Process(workspace.status().daemon.pid)
    holders = [one for one in daemon.children() if one.name() == "cat"]

    assert "--what=sleep:idle" in said
    assert f"runs of {workspace.workspace_id}" in said
    assert len(holders) == 1
    (tmp_path / "go").touch()
    workspace.wait([str(run_id)])
    until(lambda: not holders[0].is_running() or holders[0].status() == psutil.STATUS_ZOMBIE)


def test_a_machine_that_cannot_be_kept_awake_is_told_once(
    workspace: Workspace, system: StandIns, tmp_path: Path, ws: WorkspaceFiles
) -> None:
    """In the log once, and in the status as long as it is so."""
    program = system.folder / "systemd-inhibit"
    program.write_text('#!/bin/sh\necho "Failed to inhibit: Access denied" >&2\nexit 1\n')
    program.chmod(0o755)
    ws.source("config/data_engine.toml", "[daemon]\nkeep_awake = true\n")
    workspace.deploy()
    workspace.run("manual", wait=False, params={"until": str(tmp_path / "go")})

    (warning,) = until(lambda: workspace.status().warnings)

    time.sleep(3)
    assert warning == (
        "keep_awake: this machine cannot be kept awake (systemd-inhibit: Failed to inhibit: Access denied)"
    )
    assert workspace.home.local.daemon_log_path.read_text(encoding="utf-8").count("cannot be kept awake") == 1
    (tmp_path / "go").touch()


def test_nothing_is_asked_for_where_it_is_not_set() -> None:
    """The setting decides, and a person who sets it anew lets it be tried anew."""
    asked: list[str] = []

    def refuse(why: str) -> None:
        asked.append(why)
        raise FileNotFoundError(2, "No such file or directory", "systemd-inhibit")

    keeps = KeepsAwake("claims", refuse)  # type: ignore[arg-type]
    keeps.look(is_active=True, is_set=False)
    assert asked == []
    keeps.look(is_active=True, is_set=True)
    keeps.look(is_active=True, is_set=True)
    assert (asked, "systemd-inhibit No such file" in str(keeps.trouble)) == (["runs of claims"], True)
    keeps.look(is_active=True, is_set=False)
    keeps.look(is_active=True, is_set=True)
    assert len(asked) == 2
