"""The machine itself: its id, the shell that people type hints into, long paths and power; and who runs this process.

Users are as the operating system knows them: no environment variable is believed.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

_ON_WINDOWS = sys.platform == "win32"

SHELL_ESCAPE = "" if _ON_WINDOWS else "\\"
"""The character that escapes the next one in a typed line; none on Windows, where `C:\\data` is a path."""

LONGEST_CALL_S = 1.0 if _ON_WINDOWS else math.inf
"""How long a call of a person may wait in the system: Ctrl-C breaks none off on Windows, and is heard after it."""

IS_STYLED_BY_CALLS = _ON_WINDOWS
"""Whether a terminal may want calls of the system for its colours: older consoles show escape codes as letters."""

LONG_PATHS_FIX = (
    "in PowerShell as administrator: New-ItemProperty -Path HKLM:\\SYSTEM\\CurrentControlSet\\Control\\FileSystem "
    "-Name LongPathsEnabled -Value 1 -PropertyType DWord -Force; then restart what is running"
)

STAY_AWAKE = {
    "win32": "powercfg /change standby-timeout-ac 0",
    "darwin": "`caffeinate -s` in a terminal that stays open, or `sudo pmset -c sleep 0`",
}.get(sys.platform, "")
"""How to let the machine stay awake."""

MORE_EVENTS = (
    "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances"
    if sys.platform == "linux"
    else "ask again when this machine has less to do"
)
"""The advice where the system does not report new files."""

if sys.platform == "win32":
    import subprocess
    import winreg

    def system_id() -> str:
        """The operating system's own id; "" where there is none.

        Reference: the registry's MachineGuid.
        """
        with suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:
            return str(winreg.QueryValueEx(key, "MachineGuid")[0])
        return ""

    def host_name() -> str:
        """The name of this machine."""
        import socket

        return socket.gethostname()

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
        if set(word) & set("$`"):
            return "'" + word.replace("'", "''") + "'"
        return subprocess.list2cmdline([word]) if set(word) & set(' \t"') else f'"{word}"'

    def takes_long_paths() -> bool | None:
        """Whether programs that ask for it may use paths of more than 260 characters; None where that is no question."""
        with (
            suppress(OSError),
            winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key,
        ):
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
        return False

    def sleeps_after_s() -> int | None:
        """The time without a person after which this machine sleeps on mains power, 0 for never; None where it is not known.

        Reference: PowerReadACValueIndex, GUID_SLEEP_SUBGROUP, GUID_STANDBY_TIMEOUT.
        """
        import ctypes
        import uuid

        group = uuid.UUID("238c9fa8-0aad-41ed-83f4-97be242c8f20").bytes_le
        timeout = uuid.UUID("29f6c1db-86da-48c5-9fdb-f2b67b1f44da").bytes_le
        scheme, seconds = ctypes.c_void_p(), ctypes.c_uint32()
        try:
            library = ctypes.WinDLL("powrprof")
            if library.PowerGetActiveScheme(None, ctypes.byref(scheme)):
                return None
            wrong = library.PowerReadACValueIndex(None, scheme, group, timeout, ctypes.byref(seconds))
        except (OSError, AttributeError):
            return None
        finally:
            ctypes.windll.kernel32.LocalFree(scheme)
        return None if wrong else seconds.value

    @cache
    def user_name() -> str:
        """The account's name; "somebody" where it has none."""
        try:
            return os.getlogin() or "somebody"  # GetUserNameW, which asks the process's token
        except OSError:
            return "somebody"

    def account_name() -> str:
        """The account with its domain or machine, as the system's own settings name it: `DOMAIN\\name`.

        Reference: GetUserNameExW, NameSamCompatible.
        """
        import ctypes

        size = ctypes.c_uint32(512)
        text = ctypes.create_unicode_buffer(size.value)
        if ctypes.WinDLL("secur32").GetUserNameExW(2, text, ctypes.byref(size)) and text.value:
            return text.value
        return user_name()

else:

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

    def host_name() -> str:
        """The name of this machine; `socket` gives the same, but its import takes longer."""
        return os.uname().nodename

    def shell_line(words: Sequence[str]) -> str:
        """The command as a shell takes it.

        Example:
            >>> shell_line(["data-engine", "run", "/my flows"])
            "data-engine run '/my flows'"
        """
        import shlex

        return shlex.join(words)

    def takes_long_paths() -> bool | None:
        """Whether programs that ask for it may use paths of more than 260 characters; None where that is no question."""
        return None

    def sleeps_after_s() -> int | None:
        """The time without a person after which this machine sleeps on mains power, 0 for never; None where it is not known.

        Reference: pmset(1) of macOS.
        """
        if sys.platform == "darwin":
            import re
            import subprocess

            with suppress(OSError, subprocess.SubprocessError):
                text = subprocess.run(["pmset", "-g"], capture_output=True, text=True, timeout=5, check=True).stdout
                if match := re.search(r"^ *sleep +(\d+)", text, re.MULTILINE):
                    return int(match[1]) * 60
        return None

    @cache
    def user_name() -> str:
        """The account's name, or its number where it has none, as in some containers."""
        import pwd

        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return f"uid {os.geteuid()}"
