"""Who runs this process, as the operating system knows them: no environment variable is believed."""

from __future__ import annotations

import sys
from functools import cache

if sys.platform == "win32":

    @cache
    def user_name() -> str:
        """The account's name; "somebody" where it has none."""
        import os

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

    @cache
    def user_name() -> str:
        """The account's name; of one that has none, as in some containers, its number."""
        import os
        import pwd

        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return f"uid {os.geteuid()}"
