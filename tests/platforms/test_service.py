"""The three definitions of a service, and what each manager is asked when one is installed, seen and taken away."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from data_engine.platforms.service import (
    Definition,
    Launchd,
    RefusedError,
    ServiceManager,
    Systemd,
    Tasks,
    session_id,
)
from tests.service_managers import StandIns

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="the commands' stand-ins are shell scripts")
GOLDEN = Path(__file__).parent / "golden"
NAME = "data-engine-3f2a"
TASKS = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def definition(
    folder: Path = Path("/state/3f2a"), *, title: str = "Data Engine: claims & more (/team/100% claims)"
) -> Definition:
    python = "/opt/my envs/.venv/bin/python"
    return Definition(
        NAME,
        title,
        (python, "-P", "-m", "data_engine.daemon", "--service", f"{folder.as_posix()}/service.json"),
        folder,
    )


def managers(folder: Path) -> dict[str, ServiceManager]:
    return {
        "systemd": Systemd(1000, folder / "units"),
        "launchd": Launchd(501, folder / "agents"),
        "tasks": Tasks("CLINIC\\ann & co"),
    }


KINDS = ["systemd", "launchd", "tasks"]


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    return StandIns(tmp_path / "commands", monkeypatch)


OF_MACOS = pytest.mark.skipif(sys.platform == "win32", reason="launchd and the paths it is told are of macOS")


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("systemd", "service.service"),
        pytest.param("launchd", "service.plist", marks=OF_MACOS),
        ("tasks", "service.xml"),
    ],
)
def test_a_definition_is_written_as_the_golden_one(kind: str, file: str, tmp_path: Path) -> None:
    """Small, and read by people."""
    text = managers(tmp_path)[kind].text(definition())

    assert text == (GOLDEN / file).read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """Its own verifier, with a program that is there, whatever characters the paths have."""
    folder = tmp_path / 'a "b" 100% $c'
    folder.mkdir()
    one = Definition(NAME, "t", (sys.executable, "-m", "data_engine.daemon", "--service", f"{folder}/s.json"), folder)
    unit = tmp_path / f"{NAME}.service"
    unit.write_text(Systemd(1000, tmp_path).text(one), encoding="utf-8")

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60
    )

    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_agent_reads_back_as_it_was_meant(tmp_path: Path) -> None:
    """It is started at logon, and again when it died but not when it was ended."""
    one = definition()
    read = plistlib.loads(Launchd(501, tmp_path).text(one).encode())

    assert read["Label"] == NAME
    assert read["ProgramArguments"] == list(one.command)
    assert (read["RunAtLoad"], read["KeepAlive"]) == (True, {"SuccessfulExit": False})


def test_the_task_reads_back_as_it_was_meant(tmp_path: Path) -> None:
    """For its user alone, without a limit of time, on battery too, once at a time and again every five minutes."""
    one = definition(title="<claims>")
    root = ET.fromstring(Tasks("CLINIC\\ann").text(one).encode("utf-16"))

    def said(path: str) -> str | None:
        return root.findtext("/".join(TASKS + part for part in path.split("/")))

    assert said("RegistrationInfo/Description") == "<claims>"
    assert said("Triggers/LogonTrigger/UserId") == said("Principals/Principal/UserId") == "CLINIC\\ann"
    assert said("Triggers/TimeTrigger/Repetition/Interval") == "PT5M"
    assert said("Principals/Principal/RunLevel") == "LeastPrivilege"
    assert said("Settings/ExecutionTimeLimit") == "PT0S"
    assert said("Settings/MultipleInstancesPolicy") == "IgnoreNew"
    assert said("Settings/DisallowStartIfOnBatteries") == said("Settings/StopIfGoingOnBatteries") == "false"
    assert said("Actions/Exec/Command") == one.command[0]
    assert said("Actions/Exec/Arguments") == "-P -m data_engine.daemon --service /state/3f2a/service.json"


def test_no_title_can_write_a_line_of_its_own(tmp_path: Path) -> None:
    """A workspace's folder may have any name."""
    text = Systemd(1000, tmp_path).text(definition(title="x\nExecStartPre=/bin/evil"))

    assert "\nExecStartPre" not in text


def test_a_task_runs_without_a_window(tmp_path: Path) -> None:
    """`pythonw.exe`, where it is there."""
    (tmp_path / "pythonw.exe").touch()

    assert Tasks("a").program(str(tmp_path / "python.exe")) == str(tmp_path / "pythonw.exe")
    assert Tasks("a").program("/elsewhere/python.exe") == "/elsewhere/python.exe"


INSTALLS = {
    "systemd": [
        "systemctl --user daemon-reload",
        f"systemctl --user enable {NAME}.service",
        f"systemctl --user start --no-block {NAME}.service",
    ],
    "launchd": ["launchctl bootstrap gui/501 {place}"],
    "tasks": [f"schtasks /Create /TN {NAME} /XML {{place}} /F", f"schtasks /Run /TN {NAME}"],
}
SECOND = {"systemd": [], "launchd": [], "tasks": [f"schtasks /Run /TN {NAME}"]}
REMOVES = {
    "systemd": [f"systemctl --user disable {NAME}.service", "systemctl --user daemon-reload"],
    "launchd": [],
    "tasks": [f"schtasks /Delete /TN {NAME} /F"],
}


@posix_only
@pytest.mark.parametrize("kind", KINDS)
def test_a_service_is_installed_once_and_taken_away_whole(kind: str, tmp_path: Path, system: StandIns) -> None:
    """The second time nothing is changed; what runs of it is never ended."""
    manager, one = managers(tmp_path)[kind], definition(tmp_path / "own")
    place = manager.place(one)

    assert manager.trouble(one) == f"the {manager.kind} is not there any more"
    assert manager.install(one) is True
    assert system.told() == [line.format(place=place) for line in INSTALLS[kind]]
    assert manager.trouble(one) is None
    system.asked()

    assert manager.install(one) is False
    assert system.told() == SECOND[kind]

    assert manager.remove(one) is True
    assert system.told() == REMOVES[kind]
    assert not place.exists()
    assert manager.trouble(one) == f"the {manager.kind} is not there any more"
    assert manager.remove(one) is False
    assert not any(name.startswith(("enabled", "task")) for name in system.left())


@posix_only
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_definition_is_told_and_a_dead_service_started(kind: str, tmp_path: Path, system: StandIns) -> None:
    """After an environment was moved, or the daemon was stopped."""
    manager, one = managers(tmp_path)[kind], definition(tmp_path / "own")
    manager.install(one)
    system.died(f"{NAME}.service" if kind == "systemd" else NAME)
    system.asked()
    moved = Definition(one.name, one.title, ("/moved/python", *one.command[1:]), one.folder)

    assert manager.install(moved) is True

    told = system.told()
    encoding = "utf-16" if kind == "tasks" else "utf-8"
    assert "/moved/python" in manager.place(one).read_text(encoding=encoding)
    assert (
        told
        == {
            "systemd": ["systemctl --user daemon-reload", f"systemctl --user start --no-block {NAME}.service"],
            "launchd": [f"launchctl bootout gui/501/{NAME}", f"launchctl bootstrap gui/501 {manager.place(one)}"],
            "tasks": [f"schtasks /Create /TN {NAME} /XML {manager.place(one)} /F", f"schtasks /Run /TN {NAME}"],
        }[kind]
    )


@posix_only
@pytest.mark.parametrize(
    ("kind", "command"), [("systemd", "systemctl"), ("launchd", "launchctl"), ("tasks", "schtasks")]
)
def test_a_manager_that_refuses_is_quoted(kind: str, command: str, tmp_path: Path, system: StandIns) -> None:
    """With what it said, and no traceback."""
    system.refuse(command, "Access is denied.")

    with pytest.raises(RefusedError, match="Access is denied"):
        managers(tmp_path)[kind].install(definition(tmp_path / "own"))


@posix_only
def test_a_machine_without_a_manager_says_so(tmp_path: Path, system: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the command that is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RefusedError, match="there is no systemctl on this machine"):
        managers(tmp_path)["systemd"].install(definition(tmp_path / "own"))


@posix_only
def test_only_systemd_starts_services_with_the_machine(tmp_path: Path, system: StandIns) -> None:
    """The others say why not."""
    found = managers(tmp_path)
    systemd = found["systemd"]

    assert systemd.why_no_boot is None
    assert systemd.starts_at_boot() is False
    systemd.start_at_boot(True)
    assert systemd.starts_at_boot() is True
    systemd.start_at_boot(False)
    assert systemd.starts_at_boot() is False
    assert "administrator" in str(found["launchd"].why_no_boot)
    assert "administrator" in str(found["tasks"].why_no_boot)


def test_a_session_has_one_id_for_all_its_processes() -> None:
    """Else a stop on purpose would not be known by the service."""
    code = "from data_engine.platforms.service import session_id; print(session_id())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert other.stdout.strip() == session_id()
