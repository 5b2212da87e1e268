"""The Python face: a workspace, its flows and history, and runs made here in the caller's process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_engine.engine.candidates import pick_source, startup_sources
from data_engine.engine.groups import holding_group
from data_engine.engine.home import Home, home, home_of, settle_flow
from data_engine.engine.progress import ProgressLine
from data_engine.engine.run import check_params, run_source
from data_engine.errors import FlowStoppedError, FlowValidationError, WorkspaceError
from data_engine.flow.context import FlowContext
from data_engine.flow.flow import Flow
from data_engine.model import Event, LogEntry, Run, StepRun
from data_engine.notebook.catalog import CatalogEntry, find_module, read_catalog
from data_engine.notebook.deploy import module_digests, read_contents
from data_engine.notebook.load import FlowModules
from data_engine.workspace.layout import WorkspaceLayout, is_workspace
from data_engine.workspace.provision import provision_workspace
from data_engine.workspace.select import select_workspace
from data_engine.workspace.settings import WorkspaceSettings

_PRUNE_EVERY_S = 3600.0


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


def _workspace(data_root: str | os.PathLike[str] | None) -> Workspace:
    return Workspace.current() if data_root is None else Workspace(data_root)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise FlowValidationError(f"a flow name cannot be {name!r}", where="flow name", mend="give the file's stem")
    return name
