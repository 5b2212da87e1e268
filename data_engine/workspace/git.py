"""Read the state of a folder's Git repository without running any program that the repository names."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from data_engine.platforms.processes import apart

_TIMEOUT_S = 3.0
_FLAGS = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "--no-optional-locks")


class GitState(NamedTuple):
    """The commit that is checked out, and whether files of the folder differ from it; None where unknown."""

    commit: str | None = None
    is_dirty: bool | None = None


def git_state(folder: Path) -> GitState:
    """The state of `folder`; nothing is known where Git is not installed, or the folder is in no repository.

    A repository that names programs of its own for the content of files (filters) is not asked whether it is dirty: they
    would be run, and whoever can write to a share can name one.

    Example:
        >>> import tempfile
        >>> git_state(Path(tempfile.mkdtemp()))
        GitState(commit=None, is_dirty=None)
    """
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return GitState()
    git = shutil.which("git")
    commit = None if git is None else _ask(git, folder, "rev-parse", "--verify", "HEAD")
    if git is None or commit is None:
        return GitState()
    for scope in ("--local", "--worktree"):  # the latter has a file of its own where the repository says so
        if _ask(git, folder, "config", scope, "--get-regexp", r"^(filter\.|include)") != "":  # or nobody knows
            return GitState(commit)
    changes = _ask(git, folder, "status", "--porcelain", "--ignore-submodules", "--", ".")
    return GitState(commit, None if changes is None else bool(changes))


def _ask(git: str, folder: Path, *words: str) -> str | None:
    """Git's answer; None where it has none, or says that something is wrong; "" also where nothing was found."""
    try:
        process = subprocess.run(
            [git, *_FLAGS, "-C", str(folder), *words],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            env=os.environ | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            **apart(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() if process.returncode == 0 or words[0] == "config" else None
