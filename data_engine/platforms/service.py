"""What starts a user's program at logon and again when it dies: systemd, launchd, or the Task Scheduler.

Each definition can be written on every system; only its own manager can install it. `session_id` tells one logon from the next.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from data_engine.platforms._service import Definition, Known, RefusedError, ServiceManager

__all__ = ["Definition", "Known", "RefusedError", "ServiceManager", "service_manager", "session_id"]

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    from data_engine.platforms._service_tasks import Tasks
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

    def service_manager() -> ServiceManager:
        """The one of this system, for this user."""
        return Tasks(account_name())

    def session_id() -> str:
        """What stays the same from one logon of this user to the next, and never comes again; "" where it is not known.

        Reference: WTSQuerySessionInformationW, WTSINFOW.LogonTime.
        """
        with suppress(OSError, AttributeError):
            library = ctypes.WinDLL("wtsapi32")
            found, size = ctypes.POINTER(_SessionInformation)(), wintypes.DWORD()
            ask = library.WTSQuerySessionInformationW
            ask.argtypes = (wintypes.HANDLE, wintypes.DWORD, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
            library.WTSFreeMemory.argtypes = (ctypes.c_void_p,)
            if ask(None, _THIS_SESSION, _SESSION_INFORMATION, ctypes.byref(found), ctypes.byref(size)):
                logged_on = found.contents.LogonTime if size.value >= ctypes.sizeof(_SessionInformation) else ""
                library.WTSFreeMemory(found)
                return str(logged_on)
        return ""

else:
    import os
    from pathlib import Path

    if sys.platform == "darwin":
        from data_engine.platforms._service_launchd import Launchd

        _OF_A_SESSION = "loginwindow"

        def service_manager() -> ServiceManager:
            """The one of this system, for this user."""
            return Launchd(os.getuid())

        def _boot_id() -> str:
            import subprocess

            asked = ["sysctl", "-n", "kern.bootsessionuuid"]
            with suppress(OSError, subprocess.SubprocessError):
                return subprocess.run(asked, capture_output=True, text=True, timeout=5).stdout.strip()
            return ""

    else:
        from data_engine.platforms._service_systemd import Systemd

        _OF_A_SESSION = "systemd"

        def service_manager() -> ServiceManager:
            """The one of this system, for this user."""
            return Systemd(os.getuid())

        def _boot_id() -> str:
            with suppress(OSError):
                return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            return ""

    def session_id() -> str:
        """What stays the same from one logon of this user to the next, and never comes again; "" where it is not known.

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
