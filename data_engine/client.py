"""The Python face: a workspace, its flows and history, and its daemon."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, overload

from data_engine.daemon.control import DaemonClient, DaemonGoneError
from data_engine.daemon.endpoint import read_endpoint
from data_engine.daemon.interpreter import checked_interpreter, choose_interpreter, recorded_interpreter
from data_engine.daemon.memory import remember_engine, was_engine_on
from data_engine.engine.at_rest import explain_at_rest, facts_at_rest, lease_at_rest
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.engine.run import check_params
from data_engine.engine.status import status_of
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.files import resolve
from data_engine.flow.flow import Flow
from data_engine.lease.glance import refuse_owned_elsewhere
from data_engine.lease.status import lease_facts, why_no_release
from data_engine.model import Facts, LogEntry, Run, StepRun, facts
from data_engine.notebook.catalog import (
    CatalogEntry,
    check_flow_name,
    find_module,
    module_files,
    read_catalog,
    with_unreadable,
)
from data_engine.notebook.load import FlowModules
from data_engine.shown import Listing
from data_engine.workspace.layout import WorkspaceLayout, is_workspace
from data_engine.workspace.machine import machine_id
from data_engine.workspace.provision import provision_workspace
from data_engine.workspace.select import select_workspace
from data_engine.workspace.settings import WorkspaceSettings


class Workspace:
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
        root = _folder(path, "Workspace(path)")
        if not is_workspace(root):
            what = (
                "is a file"
                if os.path.isfile(root)
                else "has no flow_modules folder"
                if os.path.isdir(root)
                else "does not exist"
            )
            raise WorkspaceError(
                f"{root} is no workspace: it {what}",
                where="Workspace(path)",
                mend=f"choose another folder, or make one: data-engine workspace create {root}",
            )
        self.root = root

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Workspace:
        """A workspace at `path`, provisioned with what is missing; nothing that exists is changed.

        Raises:
            WorkspaceError: a file is in the way, or the folder cannot be written.
        """
        return cls(provision_workspace(_folder(path, "Workspace.create(path)")).root)

    @classmethod
    def current(cls) -> Workspace:
        """The workspace of this kernel's notebook or script, else of the working directory, else the selected one.

        Raises:
            WorkspaceError: there is none; says how to choose one.
        """
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

    @property
    def home(self) -> LocalWorkspace:
        """The workspace as this machine sees it: local paths, ledger, settings."""
        return local_workspace(self.root)

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
        return read_catalog(self.home.modules())

    def flows(self) -> tuple[Flow, ...]:
        """The good flows, sorted by name; `catalog()` tells of the broken modules."""
        return tuple(entry.flow for entry in self.catalog() if entry.flow is not None)

    def load_flow(self, name: str) -> Flow:
        """The flow of the module `name`, executed afresh.

        Raises:
            FlowValidationError: no such module, or it is broken.
        """
        modules = self.home.modules()
        return modules.load(find_module(modules, name)).flow

    def deploy(self, name: str | None = None) -> tuple[CatalogEntry, ...]:
        """Let production run the modules as they are now: the flow `name`, or every flow; their entries.

        Only what compiles and builds is deployed; a broken module's entry has its `error`, and its flow stays on the last
        good deployment.

        Raises:
            FlowValidationError: no such module, or the deployment cannot be stored.
        """
        modules = self.home.modules()
        if name is not None:
            find_module(modules, name)
        deployments = self.home.deployments()
        with deployments.keeping_sets():
            stored = deployments.store()
            content = FlowModules(modules.folder, cache_dir=modules.cache_dir, content=stored.folder)
            entries = with_unreadable(read_catalog(content), modules.folder, stored.unreadable)
            wanted = tuple(entry for entry in entries if name is None or entry.name == name)
            deployments.deploy(stored, {entry.name for entry in wanted if entry.error is None})
            if name is None:
                deployments.withdraw(set(deployments.deployed()) - {entry.name for entry in entries})
        daemon = self._daemon()
        if daemon is not None:
            with suppress(DaemonGoneError):
                daemon.post("/look", timeout_s=_LONG_S)  # what is asked for next runs what was deployed
        return wanted

    def deployment(self, name: str) -> str:
        """How the flow's module stands to what production runs, in a few words.

        "as deployed", "not deployed", or "edited, not deployed" with the cells that differ.

        Raises:
            FlowValidationError: no such module, and none is deployed.
        """
        deployments = self.home.deployments()
        standing = deployments.standing([check_flow_name(name)])[name]
        if name not in deployments.deployed():
            find_module(self.home.modules(), name)
        return standing

    def runs(self, flow: str | None = None, limit: int = 100) -> list[Run]:
        """The newest runs, newest first; of one flow when named.

        Raises:
            LedgerError: the history cannot be read.
        """
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise FlowValidationError(
                f"limit={limit!r} must be a whole number", where="Workspace.runs", mend="limit=100"
            )
        ledger = self.home.ledger()
        ledger.recover()
        return Listing(ledger.runs(None if flow is None else check_flow_name(flow), limit))

    def run_record(self, run_id: str) -> Run:
        """The run with this id, or with the only id that begins so.

        Raises:
            FlowValidationError: there is none.
        """
        run = self.home.ledger().run(run_id) if isinstance(run_id, str) else None
        if run is None:
            raise FlowValidationError(
                f"there is no run {run_id!r} in the history of {self.workspace_id}",
                where="run id",
                mend="take an id from `data-engine runs`",
            )
        return run

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

    def reset(self, flow: str | None = None) -> int:
        """Forget the history and freshness of `flow` (of every flow without one) on this machine; how many runs went.

        Every source is due again, in a daemon that runs at once; a schedule owes nothing for the time before.

        Raises:
            FlowValidationError: no such flow, neither as a module nor in the history; a run of it is under way, here or in
                another process of this machine.
            OwnedElsewhereError: another workstation owns the workspace, and its history.
        """
        name = None if flow is None else check_flow_name(flow)
        daemon = self._daemon()
        if daemon is not None:
            with suppress(DaemonGoneError):  # it was just leaving
                return int(daemon.post("/reset", {"flow": name}, timeout_s=_LONG_S)["count"])
        refuse_owned_elsewhere(self.layout.workspace_state_dir, self.home.local.identity, what="forgetting history")
        ledger = self.home.ledger()
        ledger.recover()
        if name is not None:
            if not ledger.runs(name, 1):
                find_module(self.home.modules(), name)
            return ledger.reset_flow(name)
        return ledger.reset_all(module_files(self.layout.flow_modules_dir))

    # -- the daemon ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start this machine's daemon of the workspace, not yet its engine; does nothing when it runs.

        Raises:
            WorkspaceError: it cannot start; says why.
        """
        self._daemon(start=True)

    def start_engine(self) -> None:
        """Run polled and scheduled flows by themselves from now on, in the daemon (started if need be)."""
        self._daemon(start=True).post("/engine", {"on": True}, timeout_s=_LONG_S)

    def stop_engine(self) -> None:
        """Let running work finish and start nothing more by itself, also in the next daemon."""
        daemon = self._daemon()
        if daemon is not None:
            with suppress(DaemonGoneError):
                daemon.post("/engine", {"on": False})
                return
        remember_engine(self.home.ledger(), is_on=False)

    def shutdown(self) -> None:
        """End the daemon when its running work is done; does nothing without one."""
        daemon = self._daemon()
        if daemon is not None:
            with suppress(DaemonGoneError):
                daemon.post("/shutdown")

    def kill(self) -> bool:
        """End the daemon and whatever it runs, now; whether there was one. Its runs become `abandoned`.

        The engine is off until a person starts it, also where another daemon is started for something else.
        """
        from data_engine.daemon.start import kill_daemon

        was_there = kill_daemon(self.home)
        with suppress(FlowValidationError):  # a history that cannot be written keeps nobody from ending a daemon
            remember_engine(self.home.ledger(), is_on=False)
        return was_there

    def run(
        self,
        name: str,
        wait: bool = True,
        source: str | os.PathLike[str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[Run] | list[str]:
        """Let the daemon (started if need be) run the deployed flow `name`, once for each source: the ended runs in order.

        A failed run is returned with its status and error, not raised. With `wait=False` the ids of the runs to come, for
        `wait()`. Who is interrupted while waiting leaves the runs to the daemon.

        Raises:
            FlowValidationError: no such flow or source, the module is broken, or `params` are no JSON.
        """
        body: dict[str, Any] = {"flow": check_flow_name(name), "params": _json_params(params)}
        if source is not None:
            body["source"] = _path_text(source, "run(source=...)")
        run_ids: list[str] = self._daemon(start=True).post("/run", body, timeout_s=_LONG_S)["run_ids"]
        return self.wait(run_ids) if wait else run_ids

    def wait(self, run_ids: Sequence[str]) -> list[Run]:
        """The runs that `run(..., wait=False)` asked for, when all have ended, in the order of their ids.

        Whom they wait for is said on standard error.

        Raises:
            WorkspaceError: the daemon ended before one of them began, or it is there and does not answer.
        """
        if isinstance(run_ids, (str, bytes)) or not isinstance(run_ids, Sequence):
            raise FlowValidationError(
                f"{run_ids!r} is no list of run ids",
                where="wait(run_ids)",
                mend="give what run(..., wait=False) returned",
            )
        run_ids = [_run_id(one) for one in run_ids]
        said: set[str] = set()
        pending, timeout_s = list(run_ids), _QUIET_S
        silent_since_s = None
        while pending:
            try:
                daemon = self._running_daemon()
                body = {"run_ids": pending, "timeout_s": timeout_s}
                answer = daemon.post("/wait", body, timeout_s=_LONG_S)
            except WorkspaceError:
                from data_engine.daemon.start import wait_until_gone

                if wait_until_gone(self.home, _LOOK_AGAIN_S):
                    self._require_they_ended(pending)
                    break
                silent_since_s = silent_since_s or time.monotonic()
                if time.monotonic() - silent_since_s > _DYING_S:
                    raise
                continue
            silent_since_s = None
            pending, why = answer["pending"], answer["why"]
            if why is not None and why not in said:
                said.add(why)
                print(why, file=sys.stderr)
            timeout_s = _WAIT_S
        return Listing(self.run_record(run_id) for run_id in run_ids)

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
                f"the daemon ended before {len(lost)} of the runs began: what was asked for by hand is not kept",
                where=str(self.home.local.daemon_log_path),
                mend="ask for it again; `data-engine runs` shows what did run",
            )

    def stop_run(self, run_id: str) -> None:
        """Ask a run of the daemon to end at its next step, item, or log line.

        Raises:
            FlowValidationError: it is not running there.
        """
        self._running_daemon().post("/stop-run", {"run_id": _run_id(run_id)})

    def kill_run(self, run_id: str) -> None:
        """End the process of a run of the daemon, now.

        Raises:
            FlowValidationError: it is not running there.
        """
        self._running_daemon().post("/kill-run", {"run_id": _run_id(run_id)})

    def retry(self, flow: str | None = None, source: str | os.PathLike[str] | None = None) -> int:
        """Hold failed sources no longer: those of `flow`, or only its `source`, or all; how many were held.

        Raises:
            FlowValidationError: the engine is off, no such flow or source, or the flow runs by hand only.
        """
        body = {
            "flow": flow if flow is None else check_flow_name(flow),
            "source": None if source is None else _path_text(source, "retry(source=...)"),
        }
        return int(self._running_daemon().post("/retry", body)["freed"])

    def enable(self, name: str) -> None:
        """Let the flow run by itself again.

        Raises:
            FlowValidationError: no such flow.
        """
        self._switch(name, True)

    def disable(self, name: str) -> None:
        """Let the flow run by hand only.

        Raises:
            FlowValidationError: no such flow.
        """
        self._switch(name, False)

    def status(self) -> Facts:
        """The state of daemon, engine and flows: attributes and keys are those `data-engine status --json` prints.

        Raises:
            FlowValidationError: the flow_modules folder cannot be read.
        """
        daemon = self._daemon()
        if daemon is not None:
            with suppress(DaemonGoneError):  # it was just leaving
                return Facts(facts(daemon.get("/status")))
        ledger = self.home.ledger()
        interpreter = recorded_interpreter(ledger)
        at_rest = facts_at_rest(self.home, interpreter=interpreter, was_engine_on=was_engine_on(ledger))
        return Facts(facts(status_of(at_rest)))

    def next_runs(self) -> dict[str, str]:
        """When the next slot or tick of each schedule comes, in UTC; empty while the engine is off."""
        daemon = self._daemon()
        if daemon is not None:
            with suppress(DaemonGoneError):
                flows = daemon.get("/status")["flows"]
                return {flow["name"]: flow["next_run_utc"] for flow in flows if flow["next_run_utc"] is not None}
        return {}

    def interpreter(self) -> str:
        """The Python the workers run with on this machine: the one that was chosen, else that of the last start."""
        daemon = self._daemon()
        if daemon is not None:
            with suppress(DaemonGoneError):
                return str(daemon.get("/ping")["interpreter"])
        return recorded_interpreter(self.home.ledger()) or sys.executable

    def set_interpreter(self, path: str | os.PathLike[str] | None) -> None:
        """Let workers run with this Python from now on; None: with that of whoever starts the daemon. Runs under way go on.

        Raises:
            WorkspaceError: it is not there, or does not have this version of Data Engine.
        """
        chosen = None if path is None else checked_interpreter(path)
        ledger = self.home.ledger()
        choose_interpreter(ledger, chosen)
        daemon = self._daemon()
        if daemon is not None:
            with suppress(DaemonGoneError):
                daemon.post("/interpreter", {"path": recorded_interpreter(ledger) or sys.executable})

    def lease(self) -> Facts:
        """Who owns the workspace and what could be done about it; `words` says it in a line. Only a daemon sees ages.

        Raises:
            WorkspaceError: this machine's state cannot be used.

        Example:
            >>> import tempfile
            >>> Workspace.create(tempfile.mkdtemp()).lease().state
            'available'
        """
        daemon = self._daemon()
        if daemon is not None:
            with suppress(DaemonGoneError):
                return Facts(facts(daemon.get("/status")["lease"]))
        return Facts(facts(lease_facts(lease_at_rest(self.home))))

    def request_control(self) -> Facts:
        """Ask the owner for the workspace: this machine's daemon (started if need be) owns it once the owner agrees.

        Nothing is interrupted there. The request stands until `withdraw_request`, or until this machine's daemon ends.

        Raises:
            OwnedElsewhereError: the shared folder cannot be written.
        """
        return self._ask_lease("request", start=True, client="python")

    def withdraw_request(self) -> Facts:
        """Ask for the workspace no longer."""
        return self._ask_lease("withdraw")

    def release_control(self, now: bool = False) -> Facts:
        """Give the workspace up when its running work is done: to whoever has asked for it, else to anybody.

        With `now=True` running work is stopped at its next step or item first. The engine goes on at the new owner when one
        has asked for the workspace; else it is off. Where this machine does not own it nothing happens, and `said` of what
        comes back says why.
        """
        why = why_no_release(self.lease(), machine_id(), has_daemon=self._daemon() is not None)
        return Facts({**self._ask_lease("release", now=now), "said": why})

    def take_over(self) -> Facts:
        """Own the workspace of an owner that has been silent for the stale threshold; the engine goes on where it was on.

        Raises:
            OwnedElsewhereError: the owner has not been silent for long enough, or the drive cannot keep one owner.
        """
        return self._ask_lease("take-over", start=True)

    def repair_lease(self) -> str:
        """Mend a damaged list of generations from its newest readable one; what was lost, in words.

        Raises:
            WorkspaceError: nothing is damaged, nothing can be read, or its owner may still be at work.
        """
        return str(self._daemon(start=True).post("/lease", {"do": "repair"}, timeout_s=_LONG_S)["said"])

    def _ask_lease(self, do: str, *, start: bool = False, **more: Any) -> Facts:
        daemon = self._daemon(start=True) if start else self._daemon()
        if daemon is None:
            return self.lease()
        return Facts(facts(daemon.post("/lease", {"do": do, **more}, timeout_s=_LONG_S)["lease"]))

    def explain(self, flow_or_path: str | os.PathLike[str]) -> list[Facts]:
        """Why a flow, or a source file, does or does not run: `flow`, `source`, `reason` and `next_run_utc` of each.

        A row without a source is about the whole flow. A file is named by its path, or by its path inside the source.

        Raises:
            FlowValidationError: neither a flow nor a source file.

        Example:
            >>> import tempfile
            >>> Workspace.create(tempfile.mkdtemp()).explain("example")[0].reason
            'runs when somebody asks'
        """
        subject = _path_text(flow_or_path, "explain(flow_or_path)")
        file = str(Path(subject).expanduser().resolve())
        daemon = self._daemon()
        if daemon is not None:
            with suppress(DaemonGoneError):  # it was just leaving
                return Listing(
                    map(Facts, daemon.get("/explain", timeout_s=_LONG_S, subject=subject, file=file)["reasons"])
                )
        return Listing(map(Facts, explain_at_rest(self.home, subject, file)))

    def _switch(self, name: str, is_enabled: bool) -> None:
        check_flow_name(name)
        daemon = self._daemon()
        if daemon is not None:
            daemon.post("/enable", {"flow": name, "enabled": is_enabled})
            return
        find_module(self.home.modules(), name)
        refuse_owned_elsewhere(
            self.layout.workspace_state_dir, self.home.local.identity, what="switching a flow on or off"
        )
        self.home.ledger().set_switch(name, is_enabled)

    @overload
    def _daemon(self, *, start: Literal[True]) -> DaemonClient: ...
    @overload
    def _daemon(self) -> DaemonClient | None: ...
    def _daemon(self, *, start: bool = False) -> DaemonClient | None:
        """The client of a daemon that runs; started if wanted. Kept while that daemon lives."""
        known = _daemons.get(self.root)
        is_there = known is not None and read_endpoint(self.home.local) == known.endpoint and known.endpoint.is_alive()
        if known is not None and is_there and (not start or known.answers()):
            return known
        if known is not None:
            _daemons.pop(self.root).close()
        if start:
            from data_engine.daemon.start import start_daemon

            client: DaemonClient | None = start_daemon(self.home, interpreter=sys.executable)
        else:
            client = DaemonClient.connect(self.home.local)
        if client is not None:
            _daemons[self.root] = client
        return client

    def _running_daemon(self) -> DaemonClient:
        daemon = self._daemon()
        if daemon is None:
            raise WorkspaceError(
                f"no daemon of {self.workspace_id} runs on this machine",
                where=str(self.root),
                mend="start it with `data-engine start`, or Workspace.start()",
            )
        return daemon


_LONG_S = 60.0
_QUIET_S = 1.0
_DYING_S, _LOOK_AGAIN_S = 5.0, 0.05
_WAIT_S = 20.0
_daemons: dict[Path, DaemonClient] = {}


def load_flow(name: str, *, data_root: str | os.PathLike[str] | None = None) -> Flow:
    """The flow of the module `name` in the workspace at `data_root` (the current one without), executed afresh.

    Raises:
        FlowValidationError: no such module or workspace, or the module is broken.

    Example:
        >>> import tempfile
        >>> ws = Workspace.create(tempfile.mkdtemp())
        >>> flow = load_flow("example", data_root=ws.root)
        >>> flow.name, flow.mode, [context.error for context in flow.run_once()]
        ('example', 'manual', [None])
    """
    return _workspace(data_root).load_flow(name)


def discover_flows(*, data_root: str | os.PathLike[str] | None = None) -> tuple[Flow, ...]:
    """The good flows of the workspace at `data_root` (the current one without), sorted by name.

    A broken module never hides the others: it is reported on standard error (`Workspace.catalog()` has the errors).

    Raises:
        FlowValidationError: no such workspace.

    Example:
        >>> import tempfile
        >>> ws = Workspace.create(tempfile.mkdtemp())
        >>> [flow.title for flow in discover_flows(data_root=ws.root)]
        ['Example']
    """
    entries = _workspace(data_root).catalog()
    for entry in entries:
        if entry.error is not None:
            print(f"flow module {entry.path.name} is broken: {entry.error}", file=sys.stderr)
    return tuple(entry.flow for entry in entries if entry.flow is not None)


def _workspace(data_root: str | os.PathLike[str] | None) -> Workspace:
    return Workspace.current() if data_root is None else Workspace(data_root)


def _folder(path: object, where: str) -> Path:
    wrong: Exception | None = None
    if isinstance(path, (str, os.PathLike)) and str(path).strip() and "\0" not in str(path):
        try:
            return resolve(Path(path).expanduser())
        except (
            OSError,
            RuntimeError,
            UnicodeError,
        ) as error:  # too long, a loop of links, no such user, no file's name
            wrong = error
    why = "" if wrong is None else f": {getattr(wrong, 'strerror', None) or wrong}"
    raise WorkspaceError(
        f"a workspace cannot be {path!r}{why}", where=where, mend="give the path of a workspace folder"
    ) from wrong


def _path_text(path: object, where: str) -> str:
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str) or "\0" in text:
        raise FlowValidationError(f"{path!r} is no path", where=where, mend="give a text or a pathlib.Path")
    return text


def _run_id(run_id: object) -> str:
    if not isinstance(run_id, str) or not run_id.strip():
        raise FlowValidationError(f"{run_id!r} is no run id", where="run id", mend="take an id from `data-engine runs`")
    return run_id


def _json_params(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a daemon can be sent: it and its workers are other processes."""
    checked = dict(check_params(params))
    try:
        json.dumps(checked)
    except (TypeError, ValueError, RecursionError) as error:
        raise FlowValidationError(
            f"params cannot be sent to the daemon: {error}",
            where="params=",
            mend="give texts, numbers, true, false, null, lists and mappings of them; a date as text",
        ) from error
    return checked
