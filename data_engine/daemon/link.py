"""A workspace's link to its daemon on this machine: found or started when it is asked for, kept while the daemon lives."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from data_engine.cause import Cause
from data_engine.daemon.control import (
    DaemonClient,
    DaemonGoneError,
    read_endpoint,
    silent_daemon,
    was_stopped,
)
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import (
    FlowValidationError,
    OwnedElsewhereError,
    RequestExpiredError,
    RequestFailedError,
    ShortInterrupt,
    WorkspaceError,
)
from data_engine.platforms.host import LONGEST_CALL_S
from data_engine.record import frozen
from data_engine.trial import refuse_in_trial

if TYPE_CHECKING:
    from data_engine.commands.command import Command
    from data_engine.status.offline import OfflineFacts

_QUIET_S = 1.0
_WAIT_S = 20.0
_DYING_S, _LOOK_AGAIN_S = 5.0, 0.05
_COMING_S, _ANSWER_S = 10.0, 25.0
_LEAVING_S = 1.0
"""For a daemon that has ended its work: it answers no more, and its process is still there."""
_clients: dict[Path, DaemonClient] = {}

T = TypeVar("T")


@frozen
class ForwardedRequest:
    """A request that was left with the `owner` of the workspace, which is another workstation."""

    owner: str
    request_id: str


@frozen
class DaemonLink:
    """The way to the daemon of one workspace."""

    home: LocalWorkspace

    def find(self, *, tells: bool = True) -> DaemonClient | None:
        """A client of the daemon that runs; None without one, or where it does not answer, which it `tells` who waits."""
        return self._client() or self._keep(DaemonClient.connect(self.home.local, tells=tells))

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
        """Refuse to go on where the daemon did not answer, and does not end either.

        Raises:
            DaemonGoneError: it is there; says how to end it.
        """
        from data_engine.daemon.start import wait_until_gone
        from data_engine.reasons.kinds import DaemonSilent
        from data_engine.reasons.remedies import SILENT_FIX

        silent = silent_daemon(self.home.local)
        if silent is not None and not wait_until_gone(self.home, _LEAVING_S):
            raise DaemonGoneError(DaemonSilent(silent.pid).text, where=str(self.home.layout.root), fix=SILENT_FIX)

    def start(self) -> DaemonClient:
        """A client of the daemon, which is started where none runs, or none that is there to stay.

        Raises:
            WorkspaceError: it cannot start; says why.
        """
        from data_engine.daemon.start import fits, start_daemon

        refuse_in_trial("the daemon")
        client = self._client()
        if client is not None and client.answers() and fits(client, self.home):
            return client
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
            from data_engine.daemon.one_commit import no_daemon

            raise no_daemon(self.home)
        return daemon

    def carry_out(self, command: Command[T], *, waits: bool = True) -> T | None:
        """The command's answer, from here or from the owner that was asked; None where nobody `waits` for the owner's.

        Raises:
            FlowValidationError: it is refused.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.
            DaemonGoneError: this machine's daemon does not answer.
        """
        answer = self.send(command, waits=waits)
        if not isinstance(answer, ForwardedRequest):
            return answer
        return self._answer(command, answer) if waits else None

    def send(self, command: Command[T], *, waits: bool) -> T | ForwardedRequest:
        """The command's answer, from this machine's daemon (started where it needs one) or this process; or the request that was
        left with another owner, who carries it out while somebody `waits` for it.

        A daemon that is coming or going is waited for, and one is started to ask another owner.

        Raises:
            FlowValidationError: it is refused.
            DaemonGoneError: the daemon does not answer.
        """
        from data_engine.commands.fields import to_json

        refuse_in_trial(command.name)
        body = to_json(command) | ({} if waits else {"wait": False})
        until_s, is_to_start = time.monotonic() + _COMING_S, command.needs_daemon
        while True:
            daemon = self.start() if is_to_start else self.find()
            try:
                if daemon is None:
                    return self._here(command)
                answer = daemon.post(f"/{command.name}", body, timeout_s=command.timeout_s)
            except KeyboardInterrupt:  # it was asked, and nobody has heard the answer
                raise ShortInterrupt(
                    f"interrupted here only: the daemon was asked to {command.phrase}, and does it; `data-engine status` shows what runs"
                ) from None
            except DaemonGoneError:
                self._forget()
                if command.needs_daemon or time.monotonic() > until_s:
                    self.refuse_silent()
                    raise
                time.sleep(_LOOK_AGAIN_S)
            except OwnedElsewhereError:
                if daemon is not None or command.asks is None:
                    raise
                is_to_start = True
            else:
                if "request_id" in answer:
                    return ForwardedRequest(answer["owner"], answer["request_id"])
                return command.read(answer)

    def _here(self, command: Command[T]) -> T:
        from data_engine.daemon.one_commit import ProcessOwner, run_now

        self.refuse_silent()
        return run_now(command.carry_out(ProcessOwner(self.home)))

    def _answer(self, command: Command[T], left: ForwardedRequest) -> T:
        """The owner's answer to a request that was left with it."""
        owner = left.owner
        print(f"{owner} owns the workspace: it was asked, waiting for its answer", file=sys.stderr)
        while True:
            body = {"request_id": left.request_id, "timeout_s": min(_ANSWER_S, LONGEST_CALL_S)}
            reply = self.require().post("/answer", body)
            if reply["state"] == "answered":
                break
        answer = reply["answer"]
        what = str(answer.get("what", "it failed there"))
        if reply["outcome"] == "expired" or answer.get("is_off"):
            fix = "ask again, or ask for the workspace: `data-engine lease request`"
            raise RequestExpiredError(f"{owner} did not do it: {what}", where=owner, fix=fix)
        if reply["outcome"] == "done" or "run_ids" in answer:
            return command.read(answer)
        fix = answer.get("fix") or "`data-engine status` shows what was done"
        raise RequestFailedError(f"{owner} did not do it: {what}", where=answer.get("where") or owner, fix=fix)

    def ask(self, question: Callable[[DaemonClient], T], *, otherwise: Callable[[], T]) -> T:
        """The daemon's answer; without one, or where it is just leaving, that of `otherwise`."""
        daemon = self.find()
        if daemon is not None:
            with suppress(DaemonGoneError):
                return question(daemon)
            self._forget()
        return otherwise()

    def offline(self) -> OfflineFacts:
        """The facts of the workspace without asking its daemon."""
        from data_engine.daemon.control import was_engine_on
        from data_engine.daemon.environment import recorded_interpreter
        from data_engine.status.offline import OfflineFacts
        from data_engine.status.record import DaemonFacts, ServiceFacts

        service = ServiceFacts()
        if self.home.local.service_path.exists():
            from data_engine.daemon.service import service_facts

            service = service_facts(self.home)
        ledger, silent = self.home.ledger(), silent_daemon(self.home.local)
        daemon = DaemonFacts(interpreter=recorded_interpreter(ledger))
        if silent is not None:
            daemon = replace(daemon, running=True, silent=True, idle=False, pid=silent.pid)
            daemon = replace(daemon, version=silent.version, daemon_id=silent.daemon_id)
        return OfflineFacts(self.home, daemon, was_engine_on(ledger), service)

    def behind_text(self) -> str:
        """The words for what was published and is not here yet; "" where a daemon follows the workspace, or nothing is known."""
        with suppress(FlowValidationError):
            return self.home.lease().behind_text if self.find() is None else ""
        return ""

    def wait_for_runs(self, run_ids: Sequence[str], say: Callable[[str], None]) -> None:
        """Return when all these runs have ended; `say` gets, once each, why none of them runs.

        Raises:
            WorkspaceError: the daemon ended before one of them began, or it is there and does not answer.
        """
        texts: set[str] = set()
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
            if why is not None and why["text"] not in texts:
                texts.add(why["text"])
                say(why["text"])
            timeout_s = min(_WAIT_S, LONGEST_CALL_S)

    def _require_they_ended(self, run_ids: Sequence[str]) -> None:
        ledger, until_s = self.home.ledger(), time.monotonic() + _DYING_S
        # one that is only stopped ends its runs first
        why = Cause("daemon_killed") if was_stopped(self.home.local) else None
        while True:
            ledger.recover(why=why)
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

    def _client(self) -> DaemonClient | None:
        """The open client, where its daemon is the one that runs."""
        client = _clients.get(self.home.layout.root)
        if client is None or (read_endpoint(self.home.local) == client.endpoint and client.endpoint.is_alive()):
            return client
        self._forget()
        return None

    def _keep(self, client: DaemonClient | None) -> DaemonClient | None:
        if client is not None:
            _clients[self.home.layout.root] = client
        return client

    def _forget(self) -> None:
        client = _clients.pop(self.home.layout.root, None)
        if client is not None:
            client.close()
