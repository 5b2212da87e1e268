"""What a workspace does with its daemon on this machine: start, stop and ask it, and who owns the workspace."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Any

from data_engine.errors import FlowValidationError
from data_engine.workspace_base import WorkspaceBase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from data_engine.lease.status import LeaseStatus
    from data_engine.status.offline import OfflineFacts
    from data_engine.status.record import WorkspaceStatus


class DaemonVerbs(WorkspaceBase):
    """The verbs of a workspace that its daemon carries out, and what is known without one."""

    def start(self) -> None:
        """Start this machine's daemon of the workspace, not yet its engine; does nothing when it runs.

        Raises:
            WorkspaceError: it cannot start; says why.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.start()
            >>> ws.status().daemon.running, ws.kill()
            (True, True)
        """
        self.link.start()

    def start_engine(self) -> None:
        """Run polled and scheduled flows by themselves from now on, in the daemon (started if need be).

        Raises:
            WorkspaceError: the daemon cannot start; says why.
            OwnedElsewhereError: another workstation owns the workspace.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.start_engine()
            >>> ws.status().engine.on, ws.kill()
            (True, True)
        """

        self.link.start().post("/engine", {"on": True})

    def stop_engine(self) -> None:
        """Let running work finish and start nothing more by itself, also in the next daemon.

        Raises:
            WorkspaceError: the daemon is there, and does not answer.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.stop_engine()
            >>> ws.status().engine.on
            False
        """
        from data_engine.daemon.endpoint import remember_engine

        self.link.change(
            lambda daemon: daemon.post("/engine", {"on": False}),
            otherwise=lambda: remember_engine(self.home.ledger(), is_on=False),
        )

    def shutdown(self) -> None:
        """End the daemon when its running work is done; a service (`data-engine service`) starts it again at the next logon.

        Raises:
            WorkspaceError: the daemon is there, and does not answer.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.shutdown()
            >>> ws.status().daemon.running
            False
        """
        from data_engine.daemon.endpoint import remember_stop

        self.link.change(lambda daemon: daemon.post("/shutdown"), otherwise=lambda: remember_stop(self.home.local))

    def kill(self) -> bool:
        """End the daemon and its runs now; whether there was one. Its runs become `abandoned`.

        The engine is off until a person starts it, also where another daemon is started for something else; a backfill goes on
        when a daemon owns the workspace again.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.kill()
            False
        """
        from data_engine.daemon.endpoint import remember_backfill, remember_engine
        from data_engine.daemon.start import kill_daemon

        was_there = kill_daemon(self.home)
        with suppress(FlowValidationError):  # a history that cannot be written keeps nobody from ending a daemon
            remember_engine(self.home.ledger(), is_on=False)
            remember_backfill(self.home.ledger(), is_on=False)
        return was_there

    def stop_flow(self, name: str) -> bool:
        """Ask all runs of the flow in the daemon to end at their next step, map item, `context.log` or `context.progress`, and begin none that waits.

        What is due by itself waits until the flow is enabled again; whether it was disabled for that.

        Raises:
            FlowValidationError: no such flow, or no daemon runs here.
            WorkspaceError: the daemon is there, and does not answer.
            OwnedElsewhereError: another workstation owns the workspace.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> ws.start()
            >>> ws.stop_flow("example"), ws.kill()
            (False, True)
        """
        from data_engine.notebook.catalog import check_flow_name

        check_flow_name(name)
        daemon = self.link.find_heard()
        if daemon is None:
            from data_engine.status.refusals import no_stop_here

            raise no_stop_here(self.home, name)
        return bool(daemon.post("/stop-flow", {"flow": name})["disabled"])

    def stop_run(self, run_id: str) -> bool:
        """Ask a run of the daemon to end at its next step, map item, `context.log` or `context.progress`; one that waits does not begin.

        Whether it had begun. One that had not is recorded as stopped, too: a file that was due is held then, as after any stop.

        Raises:
            FlowValidationError: it is not running there, and does not wait.

        Example:
            >>> import tempfile
            >>> from data_engine import FlowValidationError, Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> try:
            ...     ws.stop_run("3f9c")
            ... except FlowValidationError as error:
            ...     print(error.fix)
            start it with `data-engine start`, or Workspace.start()
        """
        return self._end_run("/stop-run", run_id)

    def kill_run(self, run_id: str) -> bool:
        """End the process of a run of the daemon, now; one that waits for its turn does not begin. Whether it had begun.

        Raises:
            FlowValidationError: it is not running there, and does not wait.

        Example:
            >>> import tempfile
            >>> from data_engine import FlowValidationError, Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> try:
            ...     ws.kill_run("3f9c")
            ... except FlowValidationError as error:
            ...     print(error.fix)
            start it with `data-engine start`, or Workspace.start()
        """
        return self._end_run("/kill-run", run_id)

    def _end_run(self, path: str, run_id: str) -> bool:
        daemon = self.link.find_heard()
        if daemon is None:
            from data_engine.status.refusals import no_stop_run_here

            raise no_stop_run_here(self.home, run_id)
        return not daemon.post(path, {"run_id": run_id}).get("waited", False)

    def status(self) -> WorkspaceStatus:
        """The state of daemon, engine and flows: attributes and keys are those `data-engine status --json` prints.

        Raises:
            FlowValidationError: the flow_modules folder cannot be read.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> status = ws.status()
            >>> status.daemon.running, [flow.name for flow in status.flows], status["engine"]["on"]
            (False, ['example'], False)
        """
        from data_engine.status.build import build_status
        from data_engine.status.record import WorkspaceStatus

        return self.link.ask(
            lambda daemon: WorkspaceStatus.read(daemon.get("/status")),
            otherwise=lambda: build_status(self._offline().facts()),
        )

    def _offline(self) -> OfflineFacts:
        from data_engine.daemon.endpoint import silent_daemon, was_engine_on
        from data_engine.daemon.interpreter import recorded_interpreter
        from data_engine.daemon.service import service_facts
        from data_engine.status.offline import OfflineFacts
        from data_engine.status.record import DaemonFacts

        ledger = self.home.ledger()
        service, silent = service_facts(self.home), silent_daemon(self.home.local)
        daemon = DaemonFacts(interpreter=recorded_interpreter(ledger))
        if silent is not None:
            daemon = replace(
                daemon,
                running=True,
                silent=True,
                idle=False,
                pid=silent.pid,
                version=silent.version,
                daemon_id=silent.daemon_id,
            )
        return OfflineFacts(self.home, daemon, was_engine_on(ledger), service)

    def next_runs(self) -> dict[str, str]:
        """When the next slot or tick of each schedule comes, in UTC; empty while the engine is off.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.next_runs()
            {}
        """
        flows: list[dict[str, Any]] = self.link.ask(lambda daemon: daemon.get("/status")["flows"], otherwise=list)
        return {flow["name"]: flow["next_run_utc"] for flow in flows if flow["next_run_utc"] is not None}

    def interpreter(self) -> str:
        """The Python the workers run with on this machine: the one that was chosen, else that of the last start.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> import sys
            >>> ws.interpreter() == sys.executable
            True
        """
        from data_engine.daemon.interpreter import recorded_interpreter

        return self.link.ask(
            lambda daemon: str(daemon.get("/ping")["interpreter"]),
            otherwise=lambda: recorded_interpreter(self.home.ledger()) or sys.executable,
        )

    def set_interpreter(self, path: str | os.PathLike[str] | None) -> None:
        """Let workers run with this Python from now on; None: with that of whoever starts the daemon. Runs under way go on.

        Raises:
            WorkspaceError: it is not there, or does not have this version of Data Engine.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.set_interpreter(None)
            >>> import sys
            >>> ws.interpreter() == sys.executable
            True
        """
        from data_engine.daemon.interpreter import checked_interpreter, choose_interpreter, recorded_interpreter

        chosen = None if path is None else checked_interpreter(path, is_given=True)
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
            >>> from data_engine import Workspace
            >>> Workspace.create(tempfile.mkdtemp()).lease().state
            'available'
        """
        from data_engine.lease.status import LeaseStatus
        from data_engine.status.offline import offline_lease

        return self.link.ask(
            lambda daemon: LeaseStatus.read(daemon.get("/status")["lease"]),
            otherwise=lambda: offline_lease(self.home),
        )

    def request_control(self) -> LeaseStatus:
        """Ask the owner for the workspace: this machine's daemon (started if need be) owns it once the owner agrees.

        Nothing is interrupted there. The request stands until `withdraw_request`, or until this machine's daemon ends.

        Raises:
            OwnedElsewhereError: the shared folder cannot be written.
            WorkspaceError: the daemon cannot start; says why.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.request_control().state, ws.kill()
            ('mine', True)
        """
        return self._ask_lease("request", start=True, client="python")

    def withdraw_request(self) -> LeaseStatus:
        """Do not ask for the workspace any more.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.withdraw_request().state
            'available'
        """
        return self._ask_lease("withdraw")

    def release_control(self, now: bool = False) -> LeaseStatus:
        """Give the workspace up when its running work is done: to whoever has asked for it, else to anybody.

        With `now=True` running work is stopped first, as `stop_run` does it. The engine goes on at the new owner when one
        has asked for the workspace; else it is off. Where this machine does not own it nothing happens, and `said` of what
        comes back says why.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.release_control().said
            'no owner of the workspace is seen, it is available: nothing was given up'
        """
        from data_engine.lease.status import why_no_release
        from data_engine.workspace.machine import machine_id

        why = why_no_release(self.lease(), machine_id(), has_daemon=self.link.find() is not None)
        return replace(self._ask_lease("release", now=now), why=why)

    def take_over(self) -> LeaseStatus:
        """Own the workspace of an owner that has been silent for the stale threshold, or that nobody owns.

        The engine goes on where it was on.

        Raises:
            OwnedElsewhereError: the owner has not been silent for long enough, or the drive cannot guarantee a single owner.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.take_over().state, ws.kill()
            ('mine', True)
        """
        return self._ask_lease("take-over", start=True)

    def repair_lease(self) -> str:
        """Fix a damaged list of generations from its newest readable one; what was lost, or that nothing was damaged, in words.

        Raises:
            WorkspaceError: nothing can be read, or its owner may still be at work.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.repair_lease(), ws.kill()
            ('nothing of the shared history is damaged: nothing was changed', True)
        """

        return str(self.link.start().post("/lease", {"do": "repair"})["said"])

    def _ask_lease(self, do: str, *, start: bool = False, **more: Any) -> LeaseStatus:
        from data_engine.lease.status import LeaseStatus

        daemon = self.link.start() if start else self.link.find_heard()
        if daemon is None:
            return self.lease()
        return LeaseStatus.read(daemon.post("/lease", {"do": do, **more})["lease"])
