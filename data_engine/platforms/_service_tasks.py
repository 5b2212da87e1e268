"""`service` on Windows: a task of the Task Scheduler that runs in its user's session, without administrator's rights.

Reference: the Task Scheduler schema of Microsoft's documentation; schtasks.
"""

from __future__ import annotations

import os
import subprocess
from html import escape
from pathlib import Path

from data_engine.platforms._service import Definition, Known, ask, one_line, store, tell

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


class Tasks:
    """The tasks of the account, `DOMAIN\\name`."""

    kind = "logon task"
    why_no_boot: str | None = (
        "Windows starts a task before anybody has logged on only with administrator's rights or the account's password; "
        "what an administrator can do: a task with the trigger 'At startup' and 'Run whether user is logged on or not'"
    )

    def __init__(self, account: str) -> None:
        self._account = account

    def program(self, python: str) -> str:
        """`pythonw.exe` beside it, which opens no window."""
        silent = os.path.join(os.path.dirname(python), "pythonw.exe")
        return silent if os.path.exists(silent) else python

    def text(self, one: Definition) -> str:
        """The task."""
        return _TASK.format(
            title=escape(one_line(one.title), quote=False),
            account=escape(self._account, quote=False),
            program=escape(one.command[0], quote=False),
            arguments=escape(subprocess.list2cmdline(one.command[1:]), quote=False),
        )

    def place(self, one: Definition) -> Path:
        """What was registered last; the system keeps a copy of its own."""
        return one.folder / "service.xml"

    def install(self, one: Definition) -> bool:
        """Register the task, and start it."""
        place = self.place(one)
        is_new = store(place, self.text(one).encode("utf-16")) or not self._is_registered(one)
        if is_new:
            tell("schtasks", "/Create", "/TN", one.name, "/XML", str(place), "/F")
        self.start(one)
        return is_new

    def start(self, one: Definition) -> None:
        """Start the task; nothing where it runs."""
        tell("schtasks", "/Run", "/TN", one.name)

    def remove(self, one: Definition) -> bool:
        """Take the task away; what runs of it goes on."""
        is_there = self._is_registered(one)
        if is_there:
            tell("schtasks", "/Delete", "/TN", one.name, "/F")
        self.place(one).unlink(missing_ok=True)
        return is_there

    def known(self, one: Definition) -> Known:
        """Whether the task is registered."""
        return Known(self._is_registered(one))

    def starts_at_boot(self) -> bool:
        """Never."""
        return False

    def start_at_boot(self, is_wanted: bool) -> None:
        """Nothing: `why_no_boot`."""

    def _is_registered(self, one: Definition) -> bool:
        return ask("schtasks", "/Query", "/TN", one.name)[0] == 0
