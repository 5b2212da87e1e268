"""A workspace's link to its daemon on this machine: found or started when it is asked for, kept while the daemon lives."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from data_engine.daemon.control import DaemonClient, DaemonGoneError
from data_engine.daemon.endpoint import read_endpoint, silent_daemon
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.machine_facts import SILENT_FIX, silent_words
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.platforms.host import LONGEST_CALL_S
from data_engine.trial import refuse_in_trial

_QUIET_S = 1.0
_WAIT_S = 20.0
_DYING_S, _LOOK_AGAIN_S = 5.0, 0.05
_LEAVING_S = 1.0
"""For a daemon that has ended its work: it answers no more, and its process is still there."""
_clients: dict[Path, DaemonClient] = {}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DaemonLink:
    """The way to the daemon of one workspace."""

    home: LocalWorkspace

    def find(self, *, tells: bool = True) -> DaemonClient | None:
        """A client of the daemon that runs; None without one, or where it does not answer, which it `tells` who waits."""
        return self._kept() or self._keep(DaemonClient.connect(self.home.local, tells=tells))

    def find_heard(self) -> DaemonClient | None:
        """A client of the daemon that runs; None without one.

        Raises:
            DaemonGoneError: one is there, and does not answer.
        """
        daemon = self.find()
        if daemon is None:
            self.refuse_silent()
        return daemon

    def refuse_silent(self) -> None:
        """Refuse what cannot be asked of the daemon, of one that was asked and did not answer, and does not end either.

        Raises:
            DaemonGoneError: it is there; says how to end it.
        """
        from data_engine.daemon.start import wait_until_gone

        silent = silent_daemon(self.home.local)
        if silent is not None and not wait_until_gone(self.home, _LEAVING_S):
            raise DaemonGoneError(silent_words(silent.pid), where=str(self.home.layout.root), fix=SILENT_FIX)

    def start(self) -> DaemonClient:
        """A client of the daemon, which is started where none runs, or none that is there to stay.

        Raises:
            WorkspaceError: it cannot start; says why.
        """
        from data_engine.daemon.start import fits, start_daemon

        refuse_in_trial("the daemon")
        known = self._kept()
        if known is not None and known.answers() and fits(known, self.home):
            return known
        self._forget()
        client = start_daemon(self.home, interpreter=sys.executable)
        self._keep(client)
        return client

    def require(self) -> DaemonClient:
        """A client of the daemon that runs.

        Raises:
            WorkspaceError: none does, or it does not answer.
        """
        daemon = self.find_heard()
        if daemon is None:
            raise WorkspaceError(
                f"no daemon of {self.home.layout.workspace_id} runs on this machine",
                where=str(self.home.layout.root),
                fix="start it with `data-engine start`, or Workspace.start()",
            )
        return daemon

    def ask(self, question: Callable[[DaemonClient], T], *, otherwise: Callable[[], T]) -> T:
        """What the daemon answers; without one, or where it is just leaving, what is done here instead."""
        daemon = self.find()
        if daemon is not None:
            with suppress(DaemonGoneError):
                return question(daemon)
            self._forget()
        return otherwise()

    def change(self, request: Callable[[DaemonClient], object], *, otherwise: Callable[[], object]) -> None:
        """Let the daemon do it, or do `otherwise` here where there is none.

        Raises:
            DaemonGoneError: one is there, and does not answer: it would not know of what is done here.
        """

        def here() -> None:
            self.refuse_silent()
            otherwise()

        self.ask(request, otherwise=here)

    def behind_words(self) -> str:
        """That more was published than this machine has, and what fetches it; "" where a daemon follows the workspace, or nothing is known of it."""
        from data_engine.engine.offline import offline_lease
        from data_engine.lease.status import behind_words

        with suppress(FlowValidationError):
            return behind_words(offline_lease(self.home)) if self.find() is None else ""
        return ""

    def wait_for_runs(self, run_ids: Sequence[str], say: Callable[[str], None]) -> None:
        """Return when all these runs have ended; `say` is told, once each, why none of them runs.

        Raises:
            WorkspaceError: the daemon ended before one of them began, or it is there and does not answer.
        """
        said: set[str] = set()
        pending, timeout_s = list(run_ids), _QUIET_S
        silent_since_s = None
        while pending:
            try:
                answer = self.require().post("/wait", {"run_ids": pending, "timeout_s": timeout_s})
            except WorkspaceError:
                from data_engine.daemon.start import wait_until_gone

                self._forget()
                if wait_until_gone(self.home, _LOOK_AGAIN_S):
                    self._require_they_ended(pending)
                    return
                silent_since_s = silent_since_s or time.monotonic()
                if time.monotonic() - silent_since_s > _DYING_S:
                    raise
                continue
            silent_since_s = None
            pending, why = answer["pending"], answer["why"]
            if why is not None and why["text"] not in said:
                said.add(why["text"])
                say(why["text"])
            timeout_s = min(_WAIT_S, LONGEST_CALL_S)

    def _require_they_ended(self, run_ids: Sequence[str]) -> None:
        ledger, until_s = self.home.ledger(), time.monotonic() + _DYING_S
        while True:
            ledger.recover()
            runs = {run_id: ledger.run(run_id) for run_id in run_ids}
            if not any(run and run.status == "started" for run in runs.values()) or time.monotonic() > until_s:
                break
            time.sleep(_LOOK_AGAIN_S)  # a process that dies lets go of one lock after the other
        lost = [run_id for run_id, run in runs.items() if run is None or run.status == "started"]
        if lost:
            raise WorkspaceError(
                f"the daemon ended before {len(lost)} of the runs began: runs asked for by hand are not kept",
                where=str(self.home.local.daemon_log_path),
                fix="ask for it again; `data-engine runs` shows what did run",
            )

    def _kept(self) -> DaemonClient | None:
        """The client that is kept, where its daemon is the one that runs and lives."""
        known = _clients.get(self.home.layout.root)
        if known is None or (read_endpoint(self.home.local) == known.endpoint and known.endpoint.is_alive()):
            return known
        self._forget()
        return None

    def _keep(self, client: DaemonClient | None) -> DaemonClient | None:
        if client is not None:
            _clients[self.home.layout.root] = client
        return client

    def _forget(self) -> None:
        known = _clients.pop(self.home.layout.root, None)
        if known is not None:
            known.close()
