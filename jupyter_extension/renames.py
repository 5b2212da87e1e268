"""What the Jupyter server knows of renames, kept where the kernels find it: which notebook each of them belongs to now.

JupyterLab renames or moves a file, or a folder above it, by the contents service, whose event tells both names, and tells the
session only then. A kernel knows the name that it was started with. So the new one is put beside its connection file, which it
knows too, in the same private folder. Nothing is known of kernels on other machines, nor of files that lie in no folder.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_engine.files import write_text_atomic
from data_engine.platforms.names import with_home
from data_engine.workspace.here import renamed_file

_CONTENTS = "https://events.jupyter.org/jupyter_server/contents_service/v1"
_KERNELS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"
_PRIVATE = 0o600


def moved_path(path: str, before: str, now: str) -> str | None:
    """What a file is called after the rename of it or of a folder above it; None when it is another one.

    Names are those of Jupyter's API, below the server's root; a session that is shared has a word and a colon before its own.

    Example:
        >>> moved_path("claims/daily.ipynb", "claims", "old/claims")
        'old/claims/daily.ipynb'
        >>> moved_path("RTC:daily.ipynb", "daily.ipynb", "weekly.ipynb"), moved_path("daily.ipynb", "day", "night")
        ('weekly.ipynb', None)
    """
    path, before, now = (one.rpartition(":")[2].strip("/") for one in (path, before, now))
    if path in (before, now):  # the session was told already
        return now
    if path.startswith(f"{now}/"):
        return path
    return now + path.removeprefix(before) if path.startswith(f"{before}/") else None


class Renames:
    """Follows the renames of one Jupyter server for the kernels that it runs itself."""

    def __init__(self, root: str, sessions: Any, connection_dir: str) -> None:
        self._root, self._sessions, self._connection_dir = root, sessions, connection_dir

    async def renamed(self, logger: object, schema_id: str, data: dict[str, Any]) -> None:
        """A file or a folder was given another name."""
        if data.get("action") != "rename":
            return
        for session in await self._sessions.list_sessions():
            path = moved_path(session["path"], data["source_path"], data["path"])
            if path is not None and session["type"] == "notebook":
                self._keep(session["kernel"]["id"], path)

    async def ended(self, logger: object, schema_id: str, data: dict[str, Any]) -> None:
        """A kernel was shut down: nobody asks any more."""
        if data.get("action") == "shutdown" and "kernel_id" in data:
            with suppress(OSError):
                os.unlink(self._file(data["kernel_id"]))

    def _keep(self, kernel_id: str, path: str) -> None:
        with suppress(OSError):  # the kernel says that its notebook is gone
            write_text_atomic(self._file(kernel_id), os.path.join(self._root, *path.split("/")), mode=_PRIVATE)

    def _file(self, kernel_id: str) -> Path:
        return Path(renamed_file(os.path.join(self._connection_dir, f"kernel-{kernel_id}.json")))


def follow_renames(app: Any) -> None:
    """Let kernels of this server know when their notebooks are renamed, where both lie on this machine."""
    root = getattr(getattr(app, "contents_manager", None), "root_dir", None)
    connection_dir = getattr(getattr(app, "kernel_manager", None), "connection_dir", None)
    events = getattr(app, "event_logger", None)
    if not (root and connection_dir and events):
        return
    renames = Renames(os.path.abspath(with_home(root)), app.session_manager, connection_dir)
    events.add_listener(schema_id=_CONTENTS, listener=renames.renamed)
    events.add_listener(schema_id=_KERNELS, listener=renames.ended)
