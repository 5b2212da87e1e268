"""The Python face: a workspace, its flows and history, and runs made here in the caller's process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

from data_engine.daemon.control import DaemonClient, DaemonGoneError
from data_engine.daemon.endpoint import read_endpoint
from data_engine.engine.candidates import pick_source, refuse_loop, startup_sources
from data_engine.engine.continuous import run_until_interrupted
from data_engine.engine.groups import holding_group
from data_engine.engine.home import Home, home, home_of, settle_flow
from data_engine.engine.progress import ProgressLine
from data_engine.engine.run import check_params, run_source
from data_engine.errors import FlowStoppedError, FlowValidationError, WorkspaceError
from data_engine.flow.context import FlowContext
from data_engine.flow.flow import Flow
from data_engine.flow.scan import walk
from data_engine.model import Event, Facts, LogEntry, Run, StepRun, facts
from data_engine.notebook.catalog import CatalogEntry, find_module, read_catalog
from data_engine.notebook.deploy import module_digests, read_contents
from data_engine.notebook.load import FlowModules
from data_engine.notebook.locate import annotate_call
from data_engine.workspace.layout import WorkspaceLayout, is_workspace
from data_engine.workspace.provision import provision_workspace
from data_engine.workspace.select import select_workspace
from data_engine.workspace.settings import WorkspaceSettings

_PRUNE_EVERY_S = 3600.0
_REREAD_EVERY_S = 2.0


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
        if not isinstance(path, (str, os.PathLike)) or not str(path).strip():
            raise WorkspaceError(
                f"a workspace cannot be {path!r}", where="Workspace(path)", mend="give the path of a workspace folder"
            )
        root = Path(path).expanduser().resolve()
        if not is_workspace(root):
            what = (
                "is a file" if root.is_file() else "has no flow_modules folder" if root.is_dir() else "does not exist"
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
        return cls(provision_workspace(Path(path)).root)

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
    def home(self) -> Home:
        """The workspace as this machine sees it: local paths, ledger, settings."""
        return home(self.root)

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
        return modules.load(find_module(modules, _checked_name(name))).flow

    def deploy(self, name: str | None = None) -> tuple[CatalogEntry, ...]:
        """Let production run the modules as they are now: the flow `name`, or every flow; their entries.

        Only what compiles and builds is deployed; a broken module's entry has its `error`, and its flow stays on the last
        good deployment.

        Raises:
            FlowValidationError: no such module, or the deployment cannot be stored.
        """
        modules = self.home.modules()
        if name is not None:
            find_module(modules, _checked_name(name))
        deployments = self.home.deployments()
        stored = deployments.store()
        entries = read_catalog(FlowModules(modules.folder, cache_dir=modules.cache_dir, content=stored.folder))
        wanted = tuple(entry for entry in entries if name is None or entry.name == name)
        deployments.deploy(stored, {entry.name for entry in wanted if entry.error is None})
        if name is None:
            deployments.withdraw(set(deployments.deployed()) - {entry.name for entry in entries})
        return wanted

    def deployment(self, name: str) -> str:
        """How the flow's module stands to what production runs, in a few words.

        "as deployed", "not deployed", or "edited, not deployed" with the cells that differ.
        """
        deployments = self.home.deployments()
        pointer = deployments.deployed().get(name)
        if pointer is None:
            return "not deployed"
        folder = self.layout.flow_modules_dir
        if module_digests(read_contents(folder), folder).get(name) == pointer[1]:
            return "as deployed"
        cells = deployments.changed_cells(name)
        if not cells:
            return "edited, not deployed"
        return f"edited, not deployed: cell{'s' if len(cells) > 1 else ''} {', '.join(map(str, cells))}"

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
        return ledger.runs(flow, limit)

    def run_record(self, run_id: str) -> Run:
        """The run with this id, or with the only id that begins so.

        Raises:
            FlowValidationError: there is none.
        """
        run = self.home.ledger().run(run_id)
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
        return self.home.ledger().log(self.run_record(run_id).run_id)

    def steps(self, run_id: str) -> list[StepRun]:
        """The run's steps, in order.

        Raises:
            FlowValidationError: there is no such run.
        """
        return self.home.ledger().steps(self.run_record(run_id).run_id)

    def reset(self, flow: str | None = None) -> int:
        """Forget the history and freshness of `flow` (of every flow without one) on this machine; how many runs went.

        Raises:
            LedgerError: a run of it is running.
        """
        ledger = self.home.ledger()
        return ledger.reset_all() if flow is None else ledger.reset_flow(_checked_name(flow))

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
        """Let running work finish and start nothing more by itself; does nothing without a daemon."""
        daemon = self._daemon()
        if daemon is not None:
            with suppress(DaemonGoneError):
                daemon.post("/engine", {"on": False})

    def shutdown(self) -> None:
        """End the daemon when its running work is done; does nothing without one."""
        daemon = self._daemon()
        if daemon is not None:
            with suppress(DaemonGoneError):
                daemon.post("/shutdown")

    def kill(self) -> bool:
        """End the daemon and whatever it runs, now; whether there was one. Its runs become `abandoned`."""
        from data_engine.daemon.start import kill_daemon

        return kill_daemon(self.home)

    def run(
        self,
        name: str,
        wait: bool = True,
        source: str | os.PathLike[str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[Run] | list[str]:
        """Let the daemon (started if need be) run the deployed flow `name`, once for each source: the ended runs in order.

        A failed run is returned with its status and error, not raised. With `wait=False` the ids of the runs to come.

        Raises:
            FlowValidationError: no such flow or source, or the module is broken.
        """
        body = {"flow": _checked_name(name), "params": dict(check_params(params))}
        if source is not None:
            body["source"] = os.fspath(source)
        daemon = self._daemon(start=True)
        run_ids: list[str] = daemon.post("/run", body, timeout_s=_LONG_S)["run_ids"]
        if not wait:
            return run_ids
        pending = run_ids
        while pending:
            pending = daemon.post("/wait", {"run_ids": pending, "timeout_s": 20}, timeout_s=_LONG_S)["pending"]
        return [self.run_record(run_id) for run_id in run_ids]

    def stop_run(self, run_id: str) -> None:
        """Ask a run of the daemon to end at its next step, item, or log line.

        Raises:
            FlowValidationError: it is not running there.
        """
        self._running_daemon().post("/stop-run", {"run_id": run_id})

    def kill_run(self, run_id: str) -> None:
        """End the process of a run of the daemon, now.

        Raises:
            FlowValidationError: it is not running there.
        """
        self._running_daemon().post("/kill-run", {"run_id": run_id})

    def retry(self, flow: str | None = None, source: str | os.PathLike[str] | None = None) -> None:
        """Hold failed sources no longer: those of `flow`, or only `source`, or all.

        Raises:
            FlowValidationError: no daemon runs, or no such flow or source.
        """
        body = {"flow": flow, "source": None if source is None else os.fspath(source)}
        self._running_daemon().post("/retry", body)

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
        last, switches = ledger.last_runs(), ledger.switches()
        status = {
            "workspace_id": self.workspace_id,
            "workspace_root": str(self.root),
            "daemon": {"running": False, "pid": None, "version": None},
            "engine": {"on": False, "stopping": False},
            "lease": {"state": "available", "owner": None, "token": 0, "heartbeat_age_s": None, "requested_by": None},
            "flows": [
                {
                    "name": entry.name,
                    "group": entry.group,
                    "title": entry.title,
                    "mode": entry.mode,
                    "trigger": entry.trigger,
                    "enabled": switches.get(entry.name, True),
                    "state": "broken" if entry.error is not None else "manual" if entry.mode == "manual" else "engine off",
                    "reason": None if entry.error is None else entry.error.what,
                    "next_run_utc": None,
                    "last_run": last[entry.name].as_dict() if entry.name in last else None,
                    "error": None if entry.error is None else entry.error.as_dict(),
                }
                for entry in self.catalog()
            ],
            "active_runs": [
                {"run_id": run.run_id, "flow": run.flow, "source": run.source, "step": None,
                 "started_at_utc": run.started_at_utc}
                for run in ledger.running()
            ],
        }  # fmt: skip
        return Facts(facts(status))

    def explain(self, flow_or_path: str | os.PathLike[str]) -> list[Facts]:
        """Why a flow, or a source file, does or does not run: `flow`, `source` and `reason` of each.

        Raises:
            FlowValidationError: no daemon runs, or neither a flow nor a source file.
        """
        subject = os.fspath(flow_or_path)
        if os.sep in subject or Path(subject).exists():
            subject = str(Path(subject).resolve())
        return [Facts(one) for one in self._running_daemon().get("/explain", subject=subject)["reasons"]]

    def _switch(self, name: str, is_enabled: bool) -> None:
        daemon = self._daemon()
        if daemon is not None:
            daemon.post("/enable", {"flow": name, "enabled": is_enabled})
            return
        find_module(self.home.modules(), _checked_name(name))
        self.home.ledger().set_switch(name, is_enabled)

    @overload
    def _daemon(self, *, start: Literal[True]) -> DaemonClient: ...
    @overload
    def _daemon(self) -> DaemonClient | None: ...
    def _daemon(self, *, start: bool = False) -> DaemonClient | None:
        """The client of a daemon that runs; started if wanted. Kept while that daemon lives."""
        known = _daemons.get(self.root)
        if known is not None and read_endpoint(self.home.local) == known.endpoint and known.endpoint.is_alive():
            return known
        if known is not None:
            _daemons.pop(self.root).close()
        if start:
            from data_engine.daemon.start import start_daemon

            client: DaemonClient | None = start_daemon(self.home)
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


def run_once(
    flow: Flow,
    *,
    source: str | os.PathLike[str] | None = None,
    params: Mapping[str, Any] | None = None,
    on_error: str = "raise",
    force: bool = False,
    listen: Callable[[Event], None] | None = None,
) -> list[FlowContext]:
    """Run `flow` now for each of its sources, recorded when it belongs to a workspace; one context for each.

    `listen` is called with every event, after it was recorded.

    Raises:
        FlowExecutionError: with `on_error="raise"`, the first failure; `.completed` holds the finished contexts.
        FlowStoppedError: a run was stopped; `.completed` likewise.
        GroupBusyError: the flow's group is running further up in this very call.
    """
    try:
        return _run_once(flow, source, params, on_error, listen)
    except FlowValidationError as error:
        annotate_call(error)
        raise


def _run_once(
    flow: Flow,
    source: str | os.PathLike[str] | None,
    params: Mapping[str, Any] | None,
    on_error: str,
    listen: Callable[[Event], None] | None,
) -> list[FlowContext]:
    flow = settle_flow(flow)
    if on_error not in ("raise", "continue"):
        raise FlowValidationError(
            f"on_error={on_error!r} is not possible", where="Flow.run_once", mend="use 'raise' or 'continue'"
        )
    given = check_params(params)
    sources = startup_sources(flow) if source is None else (pick_source(flow, source),)
    where = home_of(flow)
    line = ProgressLine(len(sources))
    ledger = None if where is None else where.ledger()

    def sink(event: Event) -> None:
        if ledger is not None:
            ledger.record(event)
        line(event)
        if listen is not None:
            listen(event)

    finished: list[FlowContext] = []
    try:
        for one in sources:
            with holding_group(flow, where):
                context = run_source(flow, one, home=where, sink=sink, params=given)
            if context.error is not None and on_error == "raise":
                assert isinstance(context.error, (FlowValidationError, FlowStoppedError))
                context.error.completed = finished
                raise context.error
            finished.append(context)
    finally:
        line.close()
        if where is not None:
            _prune_when_due(where)
    return finished


def run(*flows: Flow, force: bool = False) -> list[FlowContext]:
    """Run `flows` here as they become due, until Ctrl-C; groups side by side, the flows of one group one at a time.

    A poll flow runs for each source that is new or changed, a schedule at its times, a manual flow once at the start. Runs
    are recorded when the flow belongs to a workspace; one that fails is told in a line and ends nothing. At Ctrl-C the
    running steps end, their runs are recorded as stopped, and the answer is empty; a second Ctrl-C leaves at once.
    When all flows are manual, it returns once they have run, with their contexts.

    Raises:
        FlowValidationError: no flow, something else, two of one name, or one that would feed on its own mirror.
        FlowExecutionError: all flows are manual, and one failed; `.completed` holds the finished contexts.

    Example:
        >>> flow = Flow(group="Demo", name="answer").step(lambda context: 42)
        >>> [context.current for context in run(flow)]
        [42]
    """
    for flow in flows:
        if not isinstance(flow, Flow):
            raise FlowValidationError(
                f"run() takes flows, not {flow!r}",
                where="run(*flows)",
                mend='give what build() or load_flow("name") returns',
            )
    if not flows:
        raise FlowValidationError(
            "run() was given no flow", where="run(*flows)", mend="run(flow, ...), such as run(*discover_flows())"
        )
    homes = {where.layout.root: where for flow in flows if (where := home_of(settle_flow(flow))) is not None}

    def upkeep() -> None:
        for where in homes.values():
            _prune_when_due(where)

    return run_until_interrupted(flows, upkeep=upkeep)


def run_workspace(
    ws: Workspace, names: Sequence[str] = (), *, listen: Callable[[Event], None], broken: Callable[[CatalogEntry], None]
) -> None:
    """Run the workspace's flows (those named, or all that are not manual) as they become due, until Ctrl-C.

    Modules are read again when their files change; new ones join, and one that breaks goes on as it was last good. `broken`
    is called with the entry of each that does not become a flow, again when its files change.

    Raises:
        FlowValidationError: a name that is no flow, or nothing to watch.
    """
    for name in names:
        find_module(ws.home.modules(), _checked_name(name))
    good: dict[str, Flow] = {}
    seen: object = None
    looked_s = float("-inf")
    is_any_broken = False

    def reread() -> list[Flow] | None:
        nonlocal seen, looked_s, is_any_broken
        if time.monotonic() - looked_s < _REREAD_EVERY_S:
            return None
        looked_s, before, seen = time.monotonic(), seen, _authored_files(ws.layout.flow_modules_dir)
        if before == seen:
            return None
        there = set()
        for entry in ws.catalog():
            if names and entry.name not in names:
                continue
            there.add(entry.name)
            if entry.flow is None:
                is_any_broken = True
                broken(entry)
                continue
            if entry.flow.mode == "manual" and not names:
                good.pop(entry.name, None)
                continue
            try:
                refuse_loop(entry.flow)
            except FlowValidationError as error:
                is_any_broken = True
                broken(replace(entry, flow=None, error=error))
            else:
                good[entry.name] = entry.flow
        for name in good.keys() - there:
            del good[name]
        return list(good.values())

    flows = reread() or []
    if not flows and not is_any_broken:
        raise FlowValidationError(
            "there is nothing to watch: no flow polls or has a schedule",
            where=str(ws.layout.flow_modules_dir),
            mend='give a flow .watch(mode="poll", ...) or .watch(mode="schedule", ...), or name the manual ones',
        )
    run_until_interrupted(
        flows, load=ws.load_flow, reread=reread, listen=listen, upkeep=lambda: _prune_when_due(ws.home)
    )


def show(flow: Flow) -> Any:
    """The final result of a flow with exactly one source.

    Raises:
        FlowValidationError: it has none or several.
    """
    settled = settle_flow(flow)
    count = len(startup_sources(settled))
    if count != 1:
        raise FlowValidationError(
            f"show() needs exactly one result, but the flow has {count} sources",
            where="Flow.show",
            mend="use preview(source=...) for one file, or run_once() for all",
        )
    return run_once(settled)[0].current


def _prune_when_due(where: Home) -> None:
    """Drop history past its retention, at most once an hour on this machine."""
    ledger = where.ledger()
    now_s = time.time()
    last = ledger.setting("pruned_at_s")
    if last is None or now_s - float(last) > _PRUNE_EVERY_S or float(last) > now_s:
        ledger.set_setting("pruned_at_s", str(now_s))
        ledger.prune(retention_days=where.settings().history.retention_days, now_s=now_s)


def _authored_files(folder: Path) -> list[tuple[str, int, int]]:
    """Every module and helper with its time and size: equal while nobody edits."""
    found = walk(folder, (".ipynb", ".py"), on_error=lambda _: None)
    facts = ((name, _stat(entry)) for name, entry in found)
    return sorted((name, fact.st_mtime_ns, fact.st_size) for name, fact in facts if fact is not None)


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:
        return None


def _workspace(data_root: str | os.PathLike[str] | None) -> Workspace:
    return Workspace.current() if data_root is None else Workspace(data_root)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise FlowValidationError(f"a flow name cannot be {name!r}", where="flow name", mend="give the file's stem")
    return name
