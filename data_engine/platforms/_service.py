"""What the three service managers have in common: what they are told, what they answer, and how they are asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from data_engine.platforms.processes import apart
from data_engine.record import frozen

_PATIENCE_S = 20.0
DAEMON_ENDS_WITHIN_S = 90
"""How long a daemon that is asked to end by its manager may wait for its running work."""


@frozen
class Definition:
    """One service: its `name` among this user's, what people read of it, its command line, and a folder of its own."""

    name: str
    title: str
    command: tuple[str, ...]
    folder: Path


@frozen
class Known:
    """What a manager knows of a service. `trouble` says what is wrong with it there, if anything is."""

    is_known: bool
    trouble: str | None = None


class RefusedError(Exception):
    """A service manager is not there, or did not do what it was asked for; the text is what it said."""


class ServiceManager(Protocol):
    """What starts a user's programs at logon and again when they die, as one system has it."""

    kind: str
    """What people call it."""

    why_no_boot: str | None
    """Why it cannot start anything before its user logs on; None where it can."""

    def program(self, python: str) -> str:
        """The program that runs this Python without a window."""
        ...

    def text(self, one: Definition) -> str:
        """The definition as it is stored."""
        ...

    def place(self, one: Definition) -> Path:
        """The file it is stored in."""
        ...

    def install(self, one: Definition) -> bool:
        """Let the service start at logon, and now; whether anything was not so before. What runs of it goes on.

        Raises:
            RefusedError: the manager is not there, or refuses.
            OSError: the definition cannot be written.
        """
        ...

    def start(self, one: Definition) -> None:
        """Start it where it does not run.

        Raises:
            RefusedError: the manager is not there, or refuses.
        """
        ...

    def remove(self, one: Definition) -> bool:
        """Start it no more; whether it was there. What runs of it goes on.

        Raises:
            RefusedError: the manager is not there, or refuses.
            OSError: the definition cannot be removed.
        """
        ...

    def known(self, one: Definition) -> Known:
        """What the manager knows of it.

        Raises:
            RefusedError: the manager is not there.
        """
        ...

    def starts_at_boot(self) -> bool:
        """Whether this user's services start with the machine, before anybody logs on."""
        ...

    def start_at_boot(self, is_wanted: bool) -> None:
        """Let this user's services start with the machine, or not.

        Raises:
            RefusedError: the system does not allow it.
        """
        ...


def ask(*command: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The exit code of the command and what it said, in this environment or the one of this process.

    Raises:
        RefusedError: it is not there, or does not answer.
    """
    program = shutil.which(command[0])
    if program is None:
        raise RefusedError(f"there is no {command[0]} on this machine")
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            env=environment,
            **apart(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError(f"{command[0]}: {error}") from error
    return done.returncode, done.stdout.strip()


def tell(*command: str, environment: Mapping[str, str] | None = None) -> None:
    """Let the command be done.

    Raises:
        RefusedError: it was not.
    """
    code, said = ask(*command, environment=environment)
    if code:
        raise RefusedError(f"{' '.join(command[:3])}: {said or f'exit code {code}'}")


def store(path: Path, content: bytes) -> bool:
    """Write the file where it does not hold this already; whether it was written.

    Raises:
        OSError: it cannot be.
    """
    try:
        if path.read_bytes() == content:
            return False
    except OSError:
        path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    os.replace(fresh, path)
    return True


def one_line(text: str) -> str:
    """The text without anything that could begin another line of a definition."""
    return " ".join(text.split())
