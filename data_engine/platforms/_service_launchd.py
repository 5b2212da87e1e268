"""`service` on macOS: a LaunchAgent.

Reference: launchd.plist(5), launchctl(1).
"""

from __future__ import annotations

import plistlib
import re
from pathlib import Path

from data_engine.platforms._service import DAEMON_ENDS_WITHIN_S, Definition, Known, ask, store, tell


class Launchd:
    """The logon session of the user with this number; agents lie in `folder`."""

    kind = "LaunchAgent"
    why_no_boot: str | None = (
        "macOS starts a person's agents when they log on; what starts with the machine is installed by an administrator "
        "(a LaunchDaemon), or the machine logs on by itself (System Settings, Users & Groups, Automatic login)"
    )

    def __init__(self, user_id: int, folder: Path | None = None) -> None:
        self._domain = f"gui/{user_id}"
        self._folder = folder or Path.home() / "Library" / "LaunchAgents"

    def program(self, python: str) -> str:
        """An agent has no windows."""
        return python

    def text(self, one: Definition) -> str:
        """The property list."""
        return plistlib.dumps(
            {
                "Label": one.name,
                "ProgramArguments": list(one.command),
                "RunAtLoad": True,
                "KeepAlive": {"SuccessfulExit": False},
                "ThrottleInterval": 10,
                "ExitTimeOut": DAEMON_ENDS_WITHIN_S,
                "ProcessType": "Interactive",  # else macOS slows down what flows compute
                "StandardErrorPath": str(one.folder / "service.log"),
            },
            sort_keys=False,
        ).decode()

    def place(self, one: Definition) -> Path:
        """The property list's file."""
        return self._folder / f"{one.name}.plist"

    def install(self, one: Definition) -> bool:
        """Write and load the agent; one that runs goes on, and is as written from the next logon on."""
        place = self.place(one)
        is_new = store(place, self.text(one).encode())
        is_loaded, is_running = self._standing(one)
        if is_loaded and is_new and not is_running:
            tell("launchctl", "bootout", self._target(one))
            is_loaded = False
        if not is_loaded:
            tell("launchctl", "bootstrap", self._domain, str(place))
        elif not is_running:
            self.start(one)
        return is_new or not is_running

    def start(self, one: Definition) -> None:
        """Start the agent; nothing where it runs."""
        tell("launchctl", "kickstart", self._target(one))

    def remove(self, one: Definition) -> bool:
        """Remove the agent; one that runs is let alone, and not loaded at the next logon."""
        place = self.place(one)
        was_there = place.exists()
        is_loaded, is_running = self._standing(one)
        place.unlink(missing_ok=True)
        if is_loaded and not is_running:
            tell("launchctl", "bootout", self._target(one))
        return was_there

    def known(self, one: Definition) -> Known:
        """What launchd says of the agent."""
        if not self.place(one).exists():
            return Known(False)
        if not self._standing(one)[0]:
            return Known(True, f"launchd has not loaded it: launchctl bootstrap {self._domain} {self.place(one)}")
        return Known(True)

    def starts_at_boot(self) -> bool:
        """Never."""
        return False

    def start_at_boot(self, is_wanted: bool) -> None:
        """Nothing: `why_no_boot`."""

    def _standing(self, one: Definition) -> tuple[bool, bool]:
        """Whether the agent is loaded, and whether it runs."""
        code, said = ask("launchctl", "print", self._target(one))
        return code == 0, code == 0 and re.search(r"^\s*pid = \d+", said, re.MULTILINE) is not None

    def _target(self, one: Definition) -> str:
        return f"{self._domain}/{one.name}"
