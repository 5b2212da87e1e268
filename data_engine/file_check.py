"""Whether a file is there, asked so that a drive that does not answer holds up nobody for long."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

PATIENCE_S = 1.0
MOST_STUCK = 4
_stuck: list[threading.Thread] = []


def file_exists(path: str, look: Callable[[str], bool] = os.path.exists) -> bool | None:
    """Whether it is there; None when its drive does not say so in a second, or others still wait for an answer.

    Example:
        >>> file_exists(os.curdir), file_exists("no such file")
        (True, False)
    """
    _stuck[:] = [thread for thread in _stuck if thread.is_alive()]
    if len(_stuck) >= MOST_STUCK:
        return None
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(look(path)), name="data-engine-look", daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    if not found:
        _stuck.append(thread)
    return found[0] if found else None
