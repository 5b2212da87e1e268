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
