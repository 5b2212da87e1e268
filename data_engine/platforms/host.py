"""The machine itself: its id, the shell that people type hints into, long paths and power."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import subprocess
    import winreg

    SHELL_ESCAPE = ""
    """What takes its meaning from the next character in a typed line; none here, where `C:\\data` is a path."""

    def system_id() -> str:
        """The operating system's own id; "" where there is none.

        Reference: the registry's MachineGuid.
        """
        with suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:
            return str(winreg.QueryValueEx(key, "MachineGuid")[0])
        return ""

    def shell_line(words: Sequence[str]) -> str:
        """The command as PowerShell and the command prompt take it.

        Both take a word in double quotes. Only PowerShell reads `$` and a backtick in them, only the prompt `%`.

        Example:
            >>> shell_line(["data-engine", "run", "C:\\\\my flows"])
            'data-engine run "C:\\\\my flows"'
        """
        return " ".join(_quoted(word) for word in words)

    def _quoted(word: str) -> str:
        if word and not set(word) & set(" \t\"'&|<>^()%!;,$`@{}#"):
            return word
        if set(word) & set("$`") and "'" not in word:
            return f"'{word}'"
        return subprocess.list2cmdline([word]) if set(word) & set(' \t"') else f'"{word}"'

    def takes_long_paths() -> bool | None:
        """Whether programs that ask for it may use paths of more than 260 characters; None where that is no question."""
        with (
            suppress(OSError),
            winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key,
        ):
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
        return False

else:
    SHELL_ESCAPE = "\\"
    """What takes its meaning from the next character in a typed line."""

    def system_id() -> str:
        """The operating system's own id; "" where there is none.

        Reference: machine-id(5); on macOS the first network card's address.
        """
        for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
            with suppress(OSError, UnicodeDecodeError):
                text = Path(path).read_text(encoding="ascii").strip()
                if text and text != "uninitialized":
                    return text
        import uuid

        node = uuid.getnode()
        is_random = bool(
            node >> 40 & 1
        )  # RFC 4122: without a card's address the multicast bit is set, a new one each time
        return "" if is_random else f"{node:012x}"

    def shell_line(words: Sequence[str]) -> str:
        """The command as a shell takes it.

        Example:
            >>> shell_line(["data-engine", "run", "/my flows"])
            "data-engine run '/my flows'"
        """
        return shlex.join(words)

    def takes_long_paths() -> bool | None:
        """Whether programs that ask for it may use paths of more than 260 characters; None where that is no question."""
        return None
