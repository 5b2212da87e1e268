"""Stand-ins for the commands of the service managers: they record what they were asked, and keep what they were told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_SCRIPT = """\
#!/bin/sh
# What is known of a service is a file in the folder of this script.
cd "$(dirname "$0")" || exit 9
name=$(basename "$0")
echo "$name $*" >> asked
if [ -e "refuse-$name" ]; then cat "refuse-$name"; exit 1; fi
case "$name $*" in
  "systemctl --user is-enabled "*) [ -e "enabled-$3" ] && echo enabled && exit 0; echo disabled; exit 1 ;;
  "systemctl --user is-active "*) [ -e "running-$3" ] && echo active && exit 0; echo inactive; exit 3 ;;
  "systemctl --user enable "*) touch "enabled-$3" ;;
  "systemctl --user disable "*) rm -f "enabled-$3" ;;
  "systemctl --user start --no-block "*) touch "running-$4" ;;
  "loginctl show-user "*) [ -e lingers ] && echo yes || echo no ;;
  "loginctl enable-linger"*) touch lingers ;;
  "loginctl disable-linger"*) rm -f lingers ;;
  "launchctl print "*) label=$(basename "$2"); [ -e "loaded-$label" ] || exit 113
                       [ -e "running-$label" ] && echo "    pid = 77"; exit 0 ;;
  "launchctl bootstrap "*) label=$(basename "$3" .plist); touch "loaded-$label" "running-$label" ;;
  "launchctl bootout "*) rm -f "loaded-$(basename "$2")" ;;
  "launchctl kickstart "*) touch "running-$(basename "$2")" ;;
  "schtasks /Query "*) [ -e "task-$3" ] ;;
  "schtasks /Create "*) touch "task-$3" ;;
  "schtasks /Delete "*) [ -e "task-$3" ] && rm "task-$3" ;;
  "schtasks /Run "*) touch "running-$3" ;;
esac
"""
_COMMANDS = ("systemctl", "loginctl", "launchctl", "schtasks")
_QUESTIONS = ("show-environment", "is-enabled", "is-active", "show-user", "launchctl print", "/Query")


class StandIns:
    """The commands, first on PATH while the test runs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        for name in _COMMANDS:
            (folder / name).write_text(_SCRIPT, encoding="utf-8")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def asked(self) -> list[str]:
        """What they were asked since the last look."""
        log = self.folder / "asked"
        found = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    def told(self) -> list[str]:
        """What of it was to change something."""
        return [one for one in self.asked() if not any(question in one for question in _QUESTIONS)]

    def refuse(self, name: str, said: str) -> None:
        """From now on the command says this and fails."""
        (self.folder / f"refuse-{name}").write_text(said, encoding="utf-8")

    def died(self, service: str) -> None:
        """What ran of the service runs no more."""
        (self.folder / f"running-{service}").unlink()

    def left(self) -> list[str]:
        """What they still know."""
        return sorted(path.name for path in self.folder.iterdir() if path.name not in (*_COMMANDS, "asked"))
