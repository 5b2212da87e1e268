"""What a status tells of this machine: its daemon, the daemon's engine, the cluster its runs go to, and what starts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from data_engine.record import Record
from data_engine.typed import typed


@dataclass(frozen=True, slots=True, eq=False)
class ClusterFacts(Record):
    """The Dask cluster that the daemon's runs go to: its scheduler and dashboard, its workers, their threads and those
    that run something; `trouble` says why nothing can be given to it."""

    scheduler: str
    dashboard: str | None = None
    workers: int = 0
    threads: int = 0
    in_use: int = 0
    trouble: str | None = None

    @property
    def text(self) -> str:
        """One line for people."""
        return self.trouble or f"cluster: {self.in_use} of {self.threads} threads in use on {self.workers} workers"


@dataclass(frozen=True, slots=True, eq=False)
class DaemonFacts(Record):
    """This machine's daemon; all None without one. One that is `silent` is there and does not answer: what is told of the
    workspace was then read without it. `interpreter` is the Python its workers run with, `cluster` where whole runs go when
    they do not stay on this machine."""

    sparse: ClassVar = ("silent",)

    running: bool = False
    pid: int | None = None
    version: str | None = None
    daemon_id: str | None = None
    interpreter: str | None = None
    idle: bool = True
    ending: bool = False
    cluster: ClusterFacts | None = field(default=None, metadata={"of": ClusterFacts.read})
    silent: bool = False

    @property
    def answers(self) -> bool:
        """Whether there is one that can be asked."""
        return self.running and not self.silent


def silent_words(pid: int | None) -> str:
    """What is said of a daemon that is there and does not answer: it is frozen, or its machine swaps.

    Example:
        >>> silent_words(77)
        'the daemon (pid 77) does not answer'
    """
    return f"the daemon (pid {pid}) does not answer"


SILENT_FIX = f"wait until it answers, or end it: `{typed('kill')}`"
"""What can be done about it."""

ServiceState: TypeAlias = Literal["serving", "waiting", "stopped", "off"]
"""What an installed service does: this daemon is its own; it waits to succeed one that somebody else has started; a person
has stopped the daemon, until the next logon; nothing of it runs."""

_SERVICE_WORDS: Mapping[str, str] = {
    "serving": "keeps this daemon running, and starts it at logon",
    "waiting": "this daemon was started without the service; when it ends, the service starts the next one",
    "stopped": "stopped on purpose: it starts the daemon at the next logon, or with `data-engine start`",
    "off": "installed, but its daemon does not run",
}


@dataclass(frozen=True, slots=True, eq=False)
class ServiceFacts(Record):
    """What starts this machine's daemon at logon (with `boot`: with the machine) and again when it dies, with which Python.
    `kind` and `place` are its definition in the system, where that was asked; `trouble` says why it will not, with its `fix`."""

    computed: ClassVar = ("text",)

    installed: bool = False
    state: ServiceState = "off"
    python: str | None = None
    trouble: str | None = None
    fix: str | None = None
    boot: bool | None = None
    kind: str | None = None
    place: str | None = None

    @property
    def text(self) -> str:
        """One line for people."""
        if not self.installed:
            return "not installed: after a reboot nothing starts by itself"
        return self.trouble or _SERVICE_WORDS[self.state]


@dataclass(frozen=True, slots=True, eq=False)
class EngineFacts(Record):
    """Whether flows run by themselves, None where the daemon does not answer; `starting` while the daemon reads them,
    `stopping` while it ends.

    `goes_on` without a daemon: the last one died with its engine on, and the next one turns it on by itself.
    """

    on: bool | None = False
    stopping: bool = False
    starting: bool = False
    goes_on: bool = False
