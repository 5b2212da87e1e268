"""`service` on Linux: a user unit of systemd.

Reference: systemd.unit(5), systemd.service(5), loginctl(1).
"""

from __future__ import annotations

import os
from pathlib import Path

from data_engine.platforms._service import (
    DAEMON_ENDS_WITHIN_S,
    Definition,
    Known,
    RefusedError,
    ask,
    one_line,
    store,
    tell,
)

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


class Systemd:
    """The systemd manager of the user with this number; units lie in `folder`."""

    kind = "systemd user unit"
    why_no_boot: str | None = None

    def __init__(self, user_id: int, folder: Path | None = None) -> None:
        self._user_id = user_id
        config = os.environ.get("XDG_CONFIG_HOME", "").strip()
        self._folder = folder or (Path(config) if config else Path.home() / ".config") / "systemd" / "user"

    def program(self, python: str) -> str:
        """It has no windows."""
        return python

    def text(self, one: Definition) -> str:
        """The unit."""
        return _UNIT.format(
            title=one_line(one.title).replace("%", "%%"),
            command=" ".join(map(_quoted, one.command)),
            ends_within_s=DAEMON_ENDS_WITHIN_S,
        )

    def place(self, one: Definition) -> Path:
        """The unit's file."""
        return self._folder / _unit(one)

    def install(self, one: Definition) -> bool:
        """Write, enable and start the unit."""
        self._require()
        is_new = store(self.place(one), self.text(one).encode())
        if is_new:
            self._tell("daemon-reload")
        is_enabled = self._ask("is-enabled", _unit(one))[1] == "enabled"
        if not is_enabled:
            self._tell("enable", _unit(one))
        is_active = self._ask("is-active", _unit(one))[0] == 0
        if not is_active:
            self.start(one)
        return is_new or not is_enabled or not is_active

    def start(self, one: Definition) -> None:
        """Start the unit."""
        self._tell("start", "--no-block", _unit(one))

    def remove(self, one: Definition) -> bool:
        """Disable the unit and remove it; systemd forgets it when what runs of it has ended."""
        place = self.place(one)
        if not os.path.lexists(place):
            return False
        try:
            self._require()
        except RefusedError:  # no manager, so nothing that is enabled in one; the links are files like the unit
            (place.parent / "default.target.wants" / place.name).unlink(missing_ok=True)
            place.unlink()
            return True
        self._tell("disable", _unit(one))
        place.unlink(missing_ok=True)
        self._tell("daemon-reload")
        return True

    def known(self, one: Definition) -> Known:
        """What systemd says of the unit."""
        if not self.place(one).exists():
            return Known(False)
        self._require()
        enabled = self._ask("is-enabled", _unit(one))[1]
        if enabled != "enabled":
            return Known(True, f"systemd says that the unit is {enabled or 'not known'}")
        active = self._ask("is-active", _unit(one))[1]
        if active in ("failed", "activating"):
            return Known(True, f"systemd cannot keep it running ({active}); journalctl --user -u {_unit(one)} says why")
        return Known(True)

    def starts_at_boot(self) -> bool:
        """Whether this user lingers."""
        return ask("loginctl", "show-user", str(self._user_id), "--property=Linger", "--value")[1] == "yes"

    def start_at_boot(self, is_wanted: bool) -> None:
        """Let this user linger, or not."""
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
        code, said = self._ask("show-environment")
        if code:
            raise RefusedError(f"no systemd user manager answers here: {said.splitlines()[-1] if said else code}")


def _unit(one: Definition) -> str:
    return f"{one.name}.service"


def _quoted(word: str) -> str:
    """The word as a unit's command line takes it.

    Example:
        >>> _quoted('/my "100%" $data')
        '"/my \\\\"100%%\\\\" $$data"'
    """
    for letter, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$"), ("\n", "\\n")):
        word = word.replace(letter, written)
    return f'"{word}"'
