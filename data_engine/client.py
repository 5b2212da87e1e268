"""The Python face: a workspace, its flows and history, and its daemon."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_engine.errors import FlowValidationError
from data_engine.given import (
    given_folder,
    given_limit,
    given_path,
    given_run_id,
    given_workspace,
)
from data_engine.owners_verbs import OwnersVerbs
from data_engine.planning_verbs import PlanningVerbs
from data_engine.shown import Listing
from data_engine.verbs import Flow
from data_engine.workspace.layout import WorkspaceLayout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from data_engine.engine.explain import Explanation
    from data_engine.engine.offline import OfflineFacts
    from data_engine.engine.run_comparison import Comparison
    from data_engine.engine.status import Status
    from data_engine.engine.trends import Trends
    from data_engine.lease.status import LeaseStatus
    from data_engine.model import LogEntry, Run, StepRun
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.workspace.settings import WorkspaceSettings


class Workspace(OwnersVerbs, PlanningVerbs):
    """One workspace folder: its flows, its history on this machine, and its settings.

    Raises:
        WorkspaceError: `path` is no workspace.

    Example:
        >>> import tempfile
        >>> ws = Workspace.create(tempfile.mkdtemp())
        >>> [flow.name for flow in ws.flows()]
        ['example']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.root = given_workspace(path)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Workspace:
        """A workspace at `path`, provisioned with what is missing; nothing that exists is changed.

        Raises:
            WorkspaceError: a file is in the way, or the folder cannot be written.
        """
        from data_engine.workspace.provision import provision_workspace

        return cls(provision_workspace(given_folder(path, "Workspace.create(path)")).root)

    @classmethod
    def current(cls) -> Workspace:
        """The workspace of this kernel's notebook or script, else of the working directory, else the selected one.

        Raises:
            WorkspaceError: there is none; says how to choose one.
        """
        from data_engine.workspace.select import select_workspace

        return cls(select_workspace().root)

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    def __eq__(self, other: object) -> bool:
        return self.root == other.root if isinstance(other, Workspace) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.root)

    @property
    def workspace_id(self) -> str:
        """The name people see: the folder's."""
        return self.layout.workspace_id

    @property
    def layout(self) -> WorkspaceLayout:
        """Every path of the shared folder."""
        return WorkspaceLayout(self.root)

    def settings(self) -> WorkspaceSettings:
        """The workspace's settings.

        Raises:
            SettingsError: `config/data_engine.toml` holds something it cannot mean.
        """
        return self.home.settings()

    def catalog(self) -> tuple[CatalogEntry, ...]:
        """One entry for each flow module, sorted by name; a broken module has its `error` instead of a flow.

        Raises:
            FlowValidationError: the flow_modules folder cannot be read.
        """
        from data_engine.notebook.catalog import read_catalog

        return read_catalog(self.home.modules())

    def flows(self) -> tuple[Flow, ...]:
        """The good flows, sorted by name; `catalog()` tells of the broken modules."""
        return tuple(Flow.of(entry.flow) for entry in self.catalog() if entry.flow is not None)

    def load_flow(self, name: str) -> Flow:
        """The flow of the module `name`, executed afresh.

        Raises:
            FlowValidationError: no such module, or it is broken.
        """
        from data_engine.notebook.catalog import find_module

        modules = self.home.modules()
        return Flow.of(modules.load(find_module(modules, name)).flow)

    def runs(self, flow: str | None = None, limit: int = 100) -> list[Run]:
        """The newest runs, newest first; of one flow when named.

        Raises:
            LedgerError: the history cannot be read.
        """
        from data_engine.notebook.catalog import check_flow_name

        given_limit(limit)
        ledger = self.home.ledger()
        ledger.recover()
        return Listing(ledger.runs(None if flow is None else check_flow_name(flow), limit))

    def log(self, run_id: str) -> list[LogEntry]:
        """What the run printed and logged, oldest first.

        Raises:
            FlowValidationError: there is no such run.
        """
        return Listing(self.home.ledger().log(self.run_record(run_id).run_id))

    def steps(self, run_id: str) -> list[StepRun]:
        """The run's steps, in order.

        Raises:
            FlowValidationError: there is no such run.
        """
        return Listing(self.home.ledger().steps(self.run_record(run_id).run_id))

    def compare(self, run_a: str, run_b: str) -> Comparison:
        """What differs from one run to another, most telling first: code by cell, params, inputs, environment, rows, durations.

        Raises:
            FlowValidationError: there is no such run.
        """
        from data_engine.engine.run_comparison import compare

        a, b = self.run_record(given_run_id(run_a)), self.run_record(given_run_id(run_b))
        return compare(self.home, a, b)

    def trends(self, flow: str) -> Trends:
        """How many rows the flow's outputs and steps had and how long they took, over its newest good runs that were given the same.

        From 50 such runs on, what is unusual is marked: less than one of 1,000 values that are drawn like those before.

        Raises:
            FlowValidationError: there is no such flow, neither as a module nor in the history.
            LedgerError: the history cannot be read.
        """
        from data_engine.engine.trends import trends_of
        from data_engine.notebook.catalog import check_flow_name

        return trends_of(self.home.ledger(), check_flow_name(flow))

    def reset(self, flow: str | None = None) -> int:
        """Forget the history and freshness of `flow` (of every flow without one) on this machine; how many runs went.

        Every source is due again, in a daemon that runs at once; a schedule owes nothing for the time before.

        Raises:
            FlowValidationError: no such flow, neither as a module nor in the history; a run of it is under way, here or in
                another process of this machine.
            OwnedElsewhereError: another workstation owns the workspace, and its history.
        """
        from data_engine.engine.offline import reset_offline
        from data_engine.notebook.catalog import check_flow_name

        name = None if flow is None else check_flow_name(flow)
        return self.link.ask(
            lambda daemon: int(daemon.post("/reset", {"flow": name})["count"]),
            otherwise=lambda: reset_offline(self.home, name),
        )

    # -- the daemon ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start this machine's daemon of the workspace, not yet its engine; does nothing when it runs.

        Raises:
            WorkspaceError: it cannot start; says why.
        """
        self.link.start()

    def start_engine(self) -> None:
        """Run polled and scheduled flows by themselves from now on, in the daemon (started if need be)."""
        self.link.start().post("/engine", {"on": True})

    def stop_engine(self) -> None:
        """Let running work finish and start nothing more by itself, also in the next daemon."""
        from data_engine.daemon.endpoint import remember_engine

        self.link.ask(
            lambda daemon: daemon.post("/engine", {"on": False}),
            otherwise=lambda: remember_engine(self.home.ledger(), is_on=False),
        )

    def shutdown(self) -> None:
        """End the daemon when its running work is done; a service (`data-engine service`) starts it again at the next logon."""
        from data_engine.daemon.endpoint import remember_stop

        self.link.ask(lambda daemon: daemon.post("/shutdown"), otherwise=lambda: remember_stop(self.home.local))

    def kill(self) -> bool:
        """End the daemon and whatever it runs, now; whether there was one. Its runs become `abandoned`.

        The engine is off until a person starts it, also where another daemon is started for something else; a backfill goes on
        when a daemon owns the workspace again.
        """
        from data_engine.daemon.endpoint import remember_backfill, remember_engine
        from data_engine.daemon.start import kill_daemon

        was_there = kill_daemon(self.home)
        with suppress(FlowValidationError):  # a history that cannot be written keeps nobody from ending a daemon
            remember_engine(self.home.ledger(), is_on=False)
            remember_backfill(self.home.ledger(), is_on=False)
        return was_there

    def stop_flow(self, name: str) -> bool:
        """Ask all runs of the flow in the daemon to end at their next step, item, or log line, and begin none that waits.

        What is due by itself waits until the flow is enabled again; whether it was disabled for that.

        Raises:
            FlowValidationError: no such flow, or no daemon runs here.
            OwnedElsewhereError: another workstation owns the workspace.
        """
        from data_engine.notebook.catalog import check_flow_name

        return bool(self.link.require().post("/stop-flow", {"flow": check_flow_name(name)})["disabled"])

    def stop_run(self, run_id: str) -> None:
        """Ask a run of the daemon to end at its next step, item, or log line.

        Raises:
            FlowValidationError: it is not running there.
        """
        self.link.require().post("/stop-run", {"run_id": given_run_id(run_id)})

    def kill_run(self, run_id: str) -> None:
        """End the process of a run of the daemon, now.

        Raises:
            FlowValidationError: it is not running there.
        """
        self.link.require().post("/kill-run", {"run_id": given_run_id(run_id)})

    def status(self) -> Status:
        """The state of daemon, engine and flows: attributes and keys are those `data-engine status --json` prints.

        Raises:
            FlowValidationError: the flow_modules folder cannot be read.
        """
        from data_engine.engine.status import Status, build_status

        return self.link.ask(
            lambda daemon: Status.read(daemon.get("/status")),
            otherwise=lambda: build_status(self._offline().facts()),
        )

    def _offline(self) -> OfflineFacts:
        from data_engine.daemon.endpoint import was_engine_on
        from data_engine.daemon.interpreter import recorded_interpreter
        from data_engine.daemon.service import service_facts
        from data_engine.engine.offline import OfflineFacts

        ledger = self.home.ledger()
        service = service_facts(self.home)
        return OfflineFacts(self.home, recorded_interpreter(ledger), was_engine_on(ledger), service)

    def next_runs(self) -> dict[str, str]:
        """When the next slot or tick of each schedule comes, in UTC; empty while the engine is off."""
        flows: list[dict[str, Any]] = self.link.ask(lambda daemon: daemon.get("/status")["flows"], otherwise=list)
        return {flow["name"]: flow["next_run_utc"] for flow in flows if flow["next_run_utc"] is not None}

    def interpreter(self) -> str:
        """The Python the workers run with on this machine: the one that was chosen, else that of the last start."""
        from data_engine.daemon.interpreter import recorded_interpreter

        return self.link.ask(
            lambda daemon: str(daemon.get("/ping")["interpreter"]),
            otherwise=lambda: recorded_interpreter(self.home.ledger()) or sys.executable,
        )

    def set_interpreter(self, path: str | os.PathLike[str] | None) -> None:
        """Let workers run with this Python from now on; None: with that of whoever starts the daemon. Runs under way go on.

        Raises:
            WorkspaceError: it is not there, or does not have this version of Data Engine.
        """
        from data_engine.daemon.interpreter import checked_interpreter, choose_interpreter, recorded_interpreter

        chosen = None if path is None else checked_interpreter(path)
        ledger = self.home.ledger()
        choose_interpreter(ledger, chosen)
        body = {"path": recorded_interpreter(ledger) or sys.executable}
        self.link.ask(lambda daemon: daemon.post("/interpreter", body), otherwise=dict)

    def lease(self) -> LeaseStatus:
        """Who owns the workspace and what could be done about it; `words` says it in a line. Only a daemon sees ages.

        Raises:
            WorkspaceError: this machine's state cannot be used.

        Example:
            >>> import tempfile
            >>> Workspace.create(tempfile.mkdtemp()).lease().state
            'available'
        """
        from data_engine.engine.offline import offline_lease
        from data_engine.lease.status import LeaseStatus

        return self.link.ask(
            lambda daemon: LeaseStatus.read(daemon.get("/status")["lease"]),
            otherwise=lambda: offline_lease(self.home),
        )

    def request_control(self) -> LeaseStatus:
        """Ask the owner for the workspace: this machine's daemon (started if need be) owns it once the owner agrees.

        Nothing is interrupted there. The request stands until `withdraw_request`, or until this machine's daemon ends.

        Raises:
            OwnedElsewhereError: the shared folder cannot be written.
        """
        return self._ask_lease("request", start=True, client="python")

    def withdraw_request(self) -> LeaseStatus:
        """Ask for the workspace no longer."""
        return self._ask_lease("withdraw")

    def release_control(self, now: bool = False) -> LeaseStatus:
        """Give the workspace up when its running work is done: to whoever has asked for it, else to anybody.

        With `now=True` running work is stopped at its next step or item first. The engine goes on at the new owner when one
        has asked for the workspace; else it is off. Where this machine does not own it nothing happens, and `said` of what
        comes back says why.
        """
        from data_engine.lease.status import why_no_release
        from data_engine.workspace.machine import machine_id

        why = why_no_release(self.lease(), machine_id(), has_daemon=self.link.find() is not None)
        return replace(self._ask_lease("release", now=now), why=why)

    def take_over(self) -> LeaseStatus:
        """Own the workspace of an owner that has been silent for the stale threshold; the engine goes on where it was on.

        Raises:
            OwnedElsewhereError: the owner has not been silent for long enough, or the drive cannot keep one owner.
        """
        return self._ask_lease("take-over", start=True)

    def repair_lease(self) -> str:
        """Fix a damaged list of generations from its newest readable one; what was lost, in words.

        Raises:
            WorkspaceError: nothing is damaged, nothing can be read, or its owner may still be at work.
        """
        return str(self.link.start().post("/lease", {"do": "repair"})["said"])

    def _ask_lease(self, do: str, *, start: bool = False, **more: Any) -> LeaseStatus:
        from data_engine.lease.status import LeaseStatus

        daemon = self.link.start() if start else self.link.find()
        if daemon is None:
            return self.lease()
        return LeaseStatus.read(daemon.post("/lease", {"do": do, **more})["lease"])

    def explain(self, flow_or_path: str | os.PathLike[str]) -> list[Explanation]:
        """Why a flow, or a source file, does or does not run: `flow`, `source`, `reason` and `next_run_utc` of each.

        `why` holds the reason for programs: its `kind` and data. A row without a source is about the whole flow. A file is
        named by its path, or by its path inside the source.

        Raises:
            FlowValidationError: neither a flow nor a source file.

        Example:
            >>> import tempfile
            >>> Workspace.create(tempfile.mkdtemp()).explain("example")[0].reason
            'not deployed: data-engine deploy example'
        """
        from data_engine.daemon.control import LONG_S
        from data_engine.engine.explain import Explanation, explain

        subject = given_path(flow_or_path, "explain(flow_or_path)")
        file = str(Path(os.path.expanduser(subject)).resolve())
        return Listing(
            self.link.ask(
                lambda daemon: [
                    Explanation.read(row)
                    for row in daemon.get("/explain", timeout_s=LONG_S, subject=subject, file=file)["reasons"]
                ],
                otherwise=lambda: explain(self._offline(), self._offline().facts(), subject, file),
            )
        )
