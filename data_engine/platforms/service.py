"""Start a user's program at logon and again when it dies, by systemd, launchd, or the Task Scheduler.

Each definition can be written on every system; only its own manager can install it. `session_id` tells one logon from the next.

Reference: systemd.unit(5), systemd.service(5), loginctl(1); launchd.plist(5), launchctl(1); the Task Scheduler schema of Microsoft's
documentation, schtasks.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from data_engine.platforms.processes import apart
from data_engine.record import frozen

_PATIENCE_S = 20.0
_DAEMON_ENDS_WITHIN_S = 90
"""How long a daemon that is asked to end by its manager may wait for its running work."""


@frozen
class Definition:
    """One service: its `name` among this user's, its title for people, its command line, and a folder of its own."""

    name: str
    title: str
    command: tuple[str, ...]
    folder: Path


class RefusedError(Exception):
    """A service manager is not there, or did not do what it was asked for; the text is its output."""


class ServiceManager(ABC):
    """Starts a user's programs at logon and again when they die, with the means of one system."""

    kind: str
    """Its name for people."""

    why_no_boot: str | None = None
    """Why it cannot start anything before its user logs on; None where it can."""

    def program(self, python: str) -> str:
        """The program that runs this Python without a window."""
        return python

    @abstractmethod
    def text(self, service: Definition) -> str:
        """The definition as it is stored."""

    @abstractmethod
    def place(self, service: Definition) -> Path:
        """The file it is stored in."""

    @abstractmethod
    def install(self, service: Definition) -> bool:
        """Let the service start at logon, and now; returns whether that was new. What runs of it goes on.

        Raises:
            RefusedError: the manager is not there, or refuses.
            OSError: the definition cannot be written.
        """

    @abstractmethod
    def start(self, service: Definition) -> None:
        """Start the service where it does not run.

        Raises:
            RefusedError: the manager is not there, or refuses.
        """

    @abstractmethod
    def remove(self, service: Definition) -> bool:
        """Remove the service; returns whether it was there. What runs of it goes on.

        Raises:
            RefusedError: the manager is not there, or refuses.
            OSError: the definition cannot be removed.
        """

    @abstractmethod
    def trouble(self, service: Definition) -> str | None:
        """What is wrong with the service by its manager, as that it is not there; None where all is well.

        Raises:
            RefusedError: the manager is not there.
        """

    def _gone(self) -> str:
        return f"the {self.kind} is not there any more"

    def starts_at_boot(self) -> bool:
        """Whether this user's services start with the machine, before anybody logs on."""
        return False

    def start_at_boot(self, is_wanted: bool) -> None:
        """Let this user's services start with the machine, or not.

        Raises:
            RefusedError: the system does not allow it.
        """
        raise RefusedError(str(self.why_no_boot))


def ask(*command: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The exit code of the command and its output, in this environment or that of this process.

    Raises:
        RefusedError: it is not there, or does not answer.
    """
    program = shutil.which(command[0])
    if program is None:
        raise RefusedError(f"there is no {command[0]} on this machine")
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            env=environment,
            **apart(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError(f"{command[0]}: {error}") from error
    return done.returncode, done.stdout.strip()


def tell(*command: str, environment: Mapping[str, str] | None = None) -> None:
    """Run the command.

    Raises:
        RefusedError: it failed.
    """
    code, output = ask(*command, environment=environment)
    if code:
        raise RefusedError(f"{' '.join(command[:3])}: {output or f'exit code {code}'}")


def store(path: Path, content: bytes) -> bool:
    """Write the file where it does not hold this already; returns whether it was written.

    Raises:
        OSError: it cannot be.
    """
    try:
        if path.read_bytes() == content:
            return False
    except OSError:
        path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    os.replace(fresh, path)
    return True


def one_line(text: str) -> str:
    """The text without anything that could begin another line of a definition."""
    return " ".join(text.split())


# A daemon that was ended leaves with 0 and stays away; one that died comes back, later each time it dies at once. Only the
# daemon hears that it shall end, it ends its workers itself; and a worker that took too much memory costs its run alone.
_UNIT = """\
# Written by `data-engine service install`; `data-engine service uninstall` removes it.
[Unit]
Description={title}
StartLimitIntervalSec=0

[Service]
ExecStart={command}
Restart=on-failure
RestartSec=1s
RestartSteps=8
RestartMaxDelaySec=5min
KillMode=mixed
TimeoutStopSec={ends_within_s}s
OOMPolicy=continue

[Install]
WantedBy=default.target
"""


class Systemd(ServiceManager):
    """The systemd manager of the user with this number; units lie in `folder`."""

    kind = "systemd user unit"

    def __init__(self, user_id: int, folder: Path | None = None) -> None:
        self._user_id = user_id
        config = os.environ.get("XDG_CONFIG_HOME", "").strip()
        self._folder = folder or (Path(config) if config else Path.home() / ".config") / "systemd" / "user"

    def text(self, service: Definition) -> str:
        return _UNIT.format(
            title=one_line(service.title).replace("%", "%%"),
            command=" ".join(map(_quoted, service.command)),
            ends_within_s=_DAEMON_ENDS_WITHIN_S,
        )

    def place(self, service: Definition) -> Path:
        return self._folder / _unit(service)

    def install(self, service: Definition) -> bool:
        self._require()
        is_new = store(self.place(service), self.text(service).encode())
        if is_new:
            self._tell("daemon-reload")
        is_enabled = self._ask("is-enabled", _unit(service))[1] == "enabled"
        if not is_enabled:
            self._tell("enable", _unit(service))
        is_active = self._ask("is-active", _unit(service))[0] == 0
        if not is_active:
            self.start(service)
        return is_new or not is_enabled or not is_active

    def start(self, service: Definition) -> None:
        self._tell("start", "--no-block", _unit(service))

    def remove(self, service: Definition) -> bool:
        place = self.place(service)
        if not os.path.lexists(place):
            return False
        try:
            self._require()
        except RefusedError:  # no manager, so nothing that is enabled in one; the links are files like the unit
            (place.parent / "default.target.wants" / place.name).unlink(missing_ok=True)
            place.unlink()
            return True
        self._tell("disable", _unit(service))
        place.unlink(missing_ok=True)
        self._tell("daemon-reload")
        return True

    def trouble(self, service: Definition) -> str | None:
        if not self.place(service).exists():
            return self._gone()
        self._require()
        enabled = self._ask("is-enabled", _unit(service))[1]
        if enabled != "enabled":
            return f"systemd says that the unit is {enabled or 'not known'}"
        state, unit = self._ask("is-active", _unit(service))[1], _unit(service)
        if state in ("failed", "activating"):
            return f"systemd cannot keep it running ({state}); journalctl --user -u {unit} says why"
        return None

    def starts_at_boot(self) -> bool:
        return ask("loginctl", "show-user", str(self._user_id), "--property=Linger", "--value")[1] == "yes"

    def start_at_boot(self, is_wanted: bool) -> None:
        tell("loginctl", "enable-linger" if is_wanted else "disable-linger")

    def _ask(self, *command: str) -> tuple[int, str]:
        return ask("systemctl", "--user", *command, environment=self._environment())

    def _tell(self, *command: str) -> None:
        tell("systemctl", "--user", *command, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        """Where the user manager is, also for a process that no logon session has told (of JupyterHub, of cron)."""
        place = f"/run/user/{self._user_id}"
        return {**({"XDG_RUNTIME_DIR": place} if os.path.isdir(place) else {}), **os.environ}

    def _require(self) -> None:
        code, output = self._ask("show-environment")
        if code:
            raise RefusedError(f"no systemd user manager answers here: {output.splitlines()[-1] if output else code}")


def _unit(service: Definition) -> str:
    return f"{service.name}.service"


def _quoted(word: str) -> str:
    """The word as a unit's command line takes it.

    Example:
        >>> _quoted('/my "100%" $data')
        '"/my \\\\"100%%\\\\" $$data"'
    """
    for letter, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$"), ("\n", "\\n")):
        word = word.replace(letter, written)
    return f'"{word}"'


class Launchd(ServiceManager):
    """The logon session of the user with this number; agents lie in `folder`."""

    kind = "LaunchAgent"
    why_no_boot = (
        "macOS starts a person's agents when they log on; what starts with the machine is installed by an administrator "
        "(a LaunchDaemon), or the machine logs on by itself (System Settings, Users & Groups, Automatic login)"
    )

    def __init__(self, user_id: int, folder: Path | None = None) -> None:
        self._domain = f"gui/{user_id}"
        self._folder = folder or Path.home() / "Library" / "LaunchAgents"

    def text(self, service: Definition) -> str:
        import plistlib

        return plistlib.dumps(
            {
                "Label": service.name,
                "ProgramArguments": list(service.command),
                "RunAtLoad": True,
                "KeepAlive": {"SuccessfulExit": False},
                "ThrottleInterval": 10,
                "ExitTimeOut": _DAEMON_ENDS_WITHIN_S,
                "ProcessType": "Interactive",  # else macOS slows down what flows compute
                "StandardErrorPath": str(service.folder / "service.log"),
            },
            sort_keys=False,
        ).decode()

    def place(self, service: Definition) -> Path:
        return self._folder / f"{service.name}.plist"

    def install(self, service: Definition) -> bool:
        place = self.place(service)
        is_new = store(place, self.text(service).encode())
        is_loaded, is_running = self._standing(service)
        if is_loaded and is_new and not is_running:
            tell("launchctl", "bootout", self._target(service))
            is_loaded = False
        if not is_loaded:
            tell("launchctl", "bootstrap", self._domain, str(place))
        elif not is_running:
            self.start(service)
        return is_new or not is_running

    def start(self, service: Definition) -> None:
        tell("launchctl", "kickstart", self._target(service))

    def remove(self, service: Definition) -> bool:
        place = self.place(service)
        was_there = place.exists()
        is_loaded, is_running = self._standing(service)
        place.unlink(missing_ok=True)
        if is_loaded and not is_running:
            tell("launchctl", "bootout", self._target(service))
        return was_there

    def trouble(self, service: Definition) -> str | None:
        if not self.place(service).exists():
            return self._gone()
        if not self._standing(service)[0]:
            return f"launchd has not loaded it: launchctl bootstrap {self._domain} {self.place(service)}"
        return None

    def _standing(self, service: Definition) -> tuple[bool, bool]:
        """Whether the agent is loaded, and whether it runs."""
        code, output = ask("launchctl", "print", self._target(service))
        return code == 0, code == 0 and re.search(r"^\s*pid = \d+", output, re.MULTILINE) is not None

    def _target(self, service: Definition) -> str:
        return f"{self._domain}/{service.name}"


# Started at the logon of this user (a trigger for anybody's needs an administrator), and again every five minutes from a
# moment in the past on: nothing where it runs, and how a daemon that died comes back. Without a limit (PT0S), on battery too.
_TASK = """\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>{title}</Description>
  </RegistrationInfo>
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
      <UserId>{account}</UserId>
    </LogonTrigger>
    <TimeTrigger>
      <Repetition>
        <Interval>PT5M</Interval>
        <StopAtDurationEnd>false</StopAtDurationEnd>
      </Repetition>
      <StartBoundary>2020-01-01T00:00:00</StartBoundary>
      <Enabled>true</Enabled>
    </TimeTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>{account}</UserId>
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <IdleSettings>
      <StopOnIdleEnd>false</StopOnIdleEnd>
      <RestartOnIdle>false</RestartOnIdle>
    </IdleSettings>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>5</Priority>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{program}</Command>
      <Arguments>{arguments}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


class Tasks(ServiceManager):
    """The tasks of the account, `DOMAIN\\name`."""

    kind = "logon task"
    why_no_boot = (
        "Windows starts a task before anybody has logged on only with administrator's rights or the account's password; "
        "what an administrator can do: a task with the trigger 'At startup' and 'Run whether user is logged on or not'"
    )

    def __init__(self, account: str) -> None:
        self._account = account

    def program(self, python: str) -> str:
        """`pythonw.exe` beside it, which opens no window."""
        silent = os.path.join(os.path.dirname(python), "pythonw.exe")
        return silent if os.path.exists(silent) else python

    def text(self, service: Definition) -> str:
        from html import escape

        return _TASK.format(
            title=escape(one_line(service.title), quote=False),
            account=escape(self._account, quote=False),
            program=escape(service.command[0], quote=False),
            arguments=escape(subprocess.list2cmdline(service.command[1:]), quote=False),
        )

    def place(self, service: Definition) -> Path:
        return service.folder / "service.xml"

    def install(self, service: Definition) -> bool:
        place = self.place(service)
        is_new = store(place, self.text(service).encode("utf-16")) or not self._is_registered(service)
        if is_new:
            tell("schtasks", "/Create", "/TN", service.name, "/XML", str(place), "/F")
        self.start(service)
        return is_new

    def start(self, service: Definition) -> None:
        tell("schtasks", "/Run", "/TN", service.name)

    def remove(self, service: Definition) -> bool:
        is_there = self._is_registered(service)
        if is_there:
            tell("schtasks", "/Delete", "/TN", service.name, "/F")
        self.place(service).unlink(missing_ok=True)
        return is_there

    def trouble(self, service: Definition) -> str | None:
        return None if self._is_registered(service) else self._gone()

    def _is_registered(self, service: Definition) -> bool:
        return ask("schtasks", "/Query", "/TN", service.name)[0] == 0


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    from data_engine.platforms.host import account_name

    class _SessionInformation(ctypes.Structure):
        """WTSINFOW."""

        _fields_ = (
            ("State", wintypes.DWORD),
            ("SessionId", wintypes.DWORD),
            ("Bytes", wintypes.DWORD * 6),
            ("WinStationName", wintypes.WCHAR * 32),
            ("Domain", wintypes.WCHAR * 17),
            ("UserName", wintypes.WCHAR * 21),
            ("ConnectTime", ctypes.c_int64),
            ("DisconnectTime", ctypes.c_int64),
            ("LastInputTime", ctypes.c_int64),
            ("LogonTime", ctypes.c_int64),
            ("CurrentTime", ctypes.c_int64),
        )

    _THIS_SESSION, _SESSION_INFORMATION = 0xFFFF_FFFF, 24

    def session_id() -> str:
        """The id of this user's logon, the same until the next one, and never used again; "" where it is not known.

        Reference: WTSQuerySessionInformationW, WTSINFOW.LogonTime.
        """
        with suppress(OSError, AttributeError):
            library = ctypes.WinDLL("wtsapi32")
            information, size = ctypes.POINTER(_SessionInformation)(), wintypes.DWORD()
            ask = library.WTSQuerySessionInformationW
            ask.argtypes = (wintypes.HANDLE, wintypes.DWORD, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
            library.WTSFreeMemory.argtypes = (ctypes.c_void_p,)
            if ask(None, _THIS_SESSION, _SESSION_INFORMATION, ctypes.byref(information), ctypes.byref(size)):
                logged_on = information.contents.LogonTime if size.value >= ctypes.sizeof(_SessionInformation) else ""
                library.WTSFreeMemory(information)
                return str(logged_on)
        return ""

else:
    _OF_A_SESSION = "loginwindow" if sys.platform == "darwin" else "systemd"

    def _boot_id() -> str:
        with suppress(OSError, subprocess.SubprocessError):
            if sys.platform == "darwin":
                command = ["sysctl", "-n", "kern.bootsessionuuid"]
                return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
            else:  # noqa: RET505 - what is not of this system is not checked
                return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return ""

    def session_id() -> str:
        """The id of this user's logon, the same until the next one, and never used again; "" where it is not known.

        Reference: the process that a logon session has of its own: the user manager of systemd, macOS's loginwindow.
        """
        import psutil

        from data_engine.platforms.processes import create_time_of

        began = sorted(
            create_time_of(process.pid)
            for process in psutil.process_iter(["name", "uids"])
            if process.info["name"] == _OF_A_SESSION
            and process.info["uids"] is not None
            and process.info["uids"].real == os.getuid()
        )
        return "/".join([_boot_id(), *map(str, began)])


def service_manager() -> ServiceManager:
    """The service manager of this system, for this user."""
    if sys.platform == "win32":
        return Tasks(account_name())
    elif sys.platform == "darwin":  # noqa: RET505 - what is not of this system is not checked
        return Launchd(os.getuid())
    else:
        return Systemd(os.getuid())
