"""Where an explanation takes its facts from: a daemon that runs, or what lies there while none does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from data_engine.cause import Cause
from data_engine.engine.status import WorkspaceFacts
from data_engine.ledger.output_runs import OutputRun
from data_engine.model import Deployment, Run
from data_engine.scheduler.folder_poller import FolderPoller
from data_engine.scheduler.plan import Rules
from data_engine.scheduler.source_memory import KnownSources


class FactSource(Protocol):
    """Where the facts of a workspace come from. May be asked from any thread, but for `facts`."""

    def facts(self) -> WorkspaceFacts:
        """Everything a status is made of.

        Raises:
            FlowValidationError: it cannot be read.
        """
        ...

    def poller(self, flow: str) -> FolderPoller | None:
        """The engine's own look at the flow's folder; None where nobody looks."""
        ...

    def memory(self, flow: str) -> KnownSources:
        """What is known of the flow's sources.

        Raises:
            LedgerError: the history cannot be read.
        """
        ...

    def rules(self) -> Rules:
        """What else decides about sources."""
        ...

    def causes(self, flow: str) -> Mapping[str, Cause]:
        """Why the flow's runs that did not end well ended so, by the ids of the newest of them.

        Raises:
            LedgerError: the history cannot be read.
        """
        ...

    def written_with_params(self, flow: str) -> Mapping[str | None, Run]:
        """Of each of the flow's sources the newest good run that was given params and wrote, by its path inside the folder.

        Raises:
            LedgerError: the history cannot be read.
        """
        ...

    def newest_writer(self, flow: str) -> Run | None:
        """The newest good run of the flow that wrote, whatever it was given.

        Raises:
            LedgerError: the history cannot be read.
        """
        ...

    def slots(self, flow: str, since_utc: str) -> Sequence[tuple[str, str]]:
        """The flow's slots that count as served from then on, each with the id of its run, "" for none.

        Raises:
            LedgerError: the history cannot be read.
        """
        ...

    def past(self) -> Sequence[Deployment]:
        """Every deployment there was, the newest first.

        Raises:
            LedgerError: the history cannot be read.
        """
        ...

    def outputs(self, run_ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The files that each of these runs is recorded to have written, by its id.

        Raises:
            LedgerError: the history cannot be read.
        """
        ...

    def ran_earlier_code(self, flow: str, run_ids: Sequence[str]) -> frozenset[str]:
        """Those of these runs of the flow that ran another deployment's code than it runs now.

        Raises:
            LedgerError: the history cannot be read.
        """
        ...

    def output_runs(self, path: str, endings: Sequence[str]) -> Sequence[OutputRun]:
        """Who wrote the file at this path; where nobody did, those whose path ends with one of these.

        Raises:
            LedgerError: the history cannot be read.
        """
        ...

    def sources_called(self, name: str, path: str) -> Sequence[str]:
        """The paths of the sources that ever ran and have this `path`, or end with `name`.

        Raises:
            LedgerError: the history cannot be read.
        """
        ...
