"""The Python face: a workspace, its flows and history, and its daemon."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from data_engine.argument_checks import checked
from data_engine.display_hook import Listing
from data_engine.errors import FlowValidationError, ShortInterrupt
from data_engine.files import resolve
from data_engine.platforms.names import with_home
from data_engine.workspace.layout import WorkspaceLayout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import date

    from data_engine.commands.command import Command
    from data_engine.commands.deployments import Deploy, Outcome
    from data_engine.daemon.link import DaemonLink
    from data_engine.engine.left_behind import LeftBehind
    from data_engine.engine.local_workspace import LocalWorkspace
    from data_engine.engine.quarantine import RejectedRows
    from data_engine.flow.parameters import Parameters
    from data_engine.lease.status import LeaseStatus
    from data_engine.model import Backfill, Deployment, Event, Run, RunLog, StepRun
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.notebook.deployment_status import DeploymentStatus
    from data_engine.plan.golden import GoldenResult
    from data_engine.plan.plan import Plan
    from data_engine.planning.backfill import Reprocess
    from data_engine.replay import Replay
    from data_engine.status.explain import Explanation
    from data_engine.status.lineage import Lineage
    from data_engine.status.record import WorkspaceStatus
    from data_engine.status.run_comparison import Comparison, Trends
    from data_engine.verbs import Flow
    from data_engine.workspace.settings import WorkspaceSettings

T = TypeVar("T")
if "IPython" in sys.modules:
    from data_engine.kernel_imports import watch_imports

    watch_imports()


@checked()
class Workspace:
    """One workspace folder: its flows, its history on this machine, and its settings.

    Raises:
        WorkspaceError: `path` is not a workspace.

    Example:
        >>> import tempfile
        >>> ws = Workspace.create(tempfile.mkdtemp())
        >>> [flow.name for flow in ws.flows()]
        ['example']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        from data_engine.workspace.select import select_workspace

        self.root = resolve(select_workspace(path).root)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Workspace:
        """A workspace at `path`, provisioned with what is missing; nothing that exists is changed.

        Raises:
            WorkspaceError: a file is in the way, or the folder cannot be written.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> [path.name for path in ws.layout.flow_modules_dir.glob("*.ipynb")]
            ['example.ipynb']
        """
        from data_engine.workspace.provision import provision_workspace

        return cls(provision_workspace(path).root)

    @classmethod
    def current(cls) -> Workspace:
        """The workspace of this kernel's notebook or script, else of the working directory, else the selected one.

        Raises:
            WorkspaceError: there is none; says how to choose one.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> import os
            >>> before = os.getcwd()
            >>> os.chdir(ws.root)
            >>> Workspace.current() == ws
            True
            >>> os.chdir(before)
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

    @property
    def link(self) -> DaemonLink:
        """The way to this machine's daemon of the workspace."""
        from data_engine.daemon.link import DaemonLink

        return DaemonLink(self.home)

    @property
    def home(self) -> LocalWorkspace:
        """The workspace as this machine sees it: local paths, ledger, settings."""
        from data_engine.engine.local_workspace import local_workspace

        return local_workspace(self.root)

    def settings(self) -> WorkspaceSettings:
        """The workspace's settings.

        Raises:
            SettingsError: `config/data_engine.toml` holds an invalid value.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.settings().freshness, ws.settings().lease.heartbeat_s
            ('signature', 30.0)
        """
        return self.home.settings()

    def database(self, name: str, live: bool = False) -> Path:
        """The path of a read copy of `databases/<name>`: write-protected, on this machine, as the database was when nobody wrote it.

        It is made anew when the database has changed. While a program writes it the last copy is given, and a line says how old that
        is. In a preview, what that has of the database. With `live` it is production's own file: no run can write it while it is
        open. In a flow write `context.database(name, read_only=True)`.

        Raises:
            FlowValidationError: there is no such database, or the file is none; it is larger than `[preview] copy_limit`; or a program writes it and there
                is no copy yet.

        Example:
            >>> import sqlite3, tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.layout.databases_dir.mkdir(exist_ok=True)
            >>> sqlite3.connect(ws.layout.databases_dir / "mart.db").execute("CREATE TABLE sales (day)").connection.close()
            >>> sqlite3.connect(ws.database("mart.db")).execute("SELECT count(*) FROM sales").fetchone()
            (0,)
        """
        from data_engine.engine.read_copies import database_to_read

        return database_to_read(self.home, name, live=live)

    # -- flows, as they are written -----------------------------------------------------------------------------------------

    def catalog(self) -> tuple[CatalogEntry, ...]:
        """One entry for each flow module, sorted by name; a broken module has its `error` instead of a flow.

        Raises:
            FlowValidationError: the flow_modules folder cannot be read.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> [(entry.name, entry.mode, entry.steps, entry.error) for entry in ws.catalog()]
            [('example', 'manual', ('Make Sales', 'Add Up'), None)]
        """
        from data_engine.notebook.catalog import read_catalog

        return read_catalog(self.home.modules())

    def flows(self) -> tuple[Flow, ...]:
        """The good flows, sorted by name; `catalog()` lists the broken modules, too.

        Raises:
            FlowValidationError: the flow_modules folder cannot be read.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> [flow.title for flow in ws.flows()]
            ['Example']
        """
        from data_engine.verbs import Flow

        return tuple(Flow.of(entry.flow) for entry in self.catalog() if entry.flow is not None)

    def load_flow(self, name: str) -> Flow:
        """The flow of the module `name`, executed afresh.

        Raises:
            FlowValidationError: no such module, or it is broken.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.load_flow("example").preview(use="totals").rows()
            [('coffee', 4.5), ('tea', 5.5)]
        """
        from data_engine.status.deployed_before import find_flow
        from data_engine.verbs import Flow

        modules = self.home.modules()
        return Flow.of(modules.load(find_flow(self.home, name)).flow)

    def plan(
        self,
        name: str,
        sources: int = 3,
        use: str | None = None,
        key: str | Sequence[str] | None = None,
        params: Mapping[str, Any] | None = None,
        yes: bool = False,
        fresh: bool = False,
        sink: Callable[[Event], None] = lambda event: None,
    ) -> Plan:
        """What deploying the flow `name` as it is now would change: in its code, and in the data production really saw.

        The deployed version and the current one run over the last `sources` that production has read (or the batch), the
        newest first, each into one scratch folder of its own that begins as production is. The saved objects are compared (of
        `use` only that one) and the files both write; rows by the columns `key`, else whole rows. A version that fails is part
        of the plan. Steps are reused where earlier previews and plans of this process allow it, unless `fresh`. `yes`: steps
        that write elsewhere than through their context may run, twice. `sink` gets what happens.

        Raises:
            FlowValidationError: no such flow, never deployed, no source, no such object, or a step cannot be held back.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> ws.plan("example").equal
            True
        """
        from data_engine.compare.comparing import keys
        from data_engine.engine.params import check_params
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.plan.making import PlanRequest, make_plan

        request = PlanRequest(sources, use, keys(key), check_params(params), is_confirmed=yes, fresh=fresh)
        return make_plan(self.home, check_flow_name(name), request, sink)

    def test(self, name: str | None = None, update: bool = False) -> list[GoldenResult]:
        """How the goldens of the flow `name`, or of all, compare with the code as it is now: one result each.

        With `update` those that differ are kept as they are now: look at what differs first.

        Raises:
            FlowValidationError: no such flow, or it has no goldens.

        Example:
            >>> import tempfile
            >>> Workspace.create(tempfile.mkdtemp()).test()
            []
        """
        from data_engine.plan.keeping import goldens_checked

        return Listing(goldens_checked(self.home, name, update=update))

    # -- what production runs -----------------------------------------------------------------------------------------------

    def deploy(
        self,
        name: str | None = None,
        note: str = "",
        force: bool = False,
        wait: bool = True,
        approve: bool = False,
        replaces: str | None = None,
    ) -> tuple[CatalogEntry, ...]:
        """Let production run the modules as they are now: the flow `name` alone, or every flow that nobody has undeployed; their entries.

        Only what compiles, builds and has steps is deployed. Where `name` is not, the reason is raised; without a name its entry has the
        `error`. Its flow stays on the last deployment. A source or mirror that cannot be used now, or an alert recipient without a
        secret on this machine, is among its `warnings`. A flow that writes the mirror of a deployed flow of another name is deployed only
        with `force=True`, and with `[deploy] gate = "golden"` one whose goldens do not hold only with `approve=True`, which is recorded. A
        rename is followed where the notebook shows it; `replaces` names a flow whose notebook is gone and that `name` is now, so that it
        ends in the same moment and its files do not run again. In the kernel of its notebook the flow's slice is compared with the kernel
        first; where something differs it is deployed only with `force=True`. `deployments()` has the `note`; `rollback` undoes it.

        Where another workstation owns the workspace, its owner is asked to deploy exactly this; with `wait=False` nothing comes back.

        Raises:
            FlowValidationError: no such module, it is not deployed (with the reason), or the deployment cannot be stored or published.
            NotAsInKernelError: the notebook's slice holds other values than this kernel.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> [entry.name for entry in ws.deploy("example", note="first")], ws.deployments("example")[0].note
            (['example'], 'first')
        """
        from data_engine.commands.deployments import Deploy

        command = Deploy(name, note, force, approve, replaces)
        if (outcome := outcome_of(self, command, wait)) is None:
            return ()
        command.outcome(outcome)
        return outcome.entries

    def undeploy(self, name: str, note: str = "", wait: bool = True) -> Deployment | None:
        """Stop running the flow `name` in production, whether its notebook is there or gone; what was deployed is kept.

        It is in the history like a deployment, and `rollback(name)` undoes it. What runs now ends as it would. Where
        another workstation owns the workspace its owner is asked; with `wait=False` the answer, None, is not waited for.

        Raises:
            FlowValidationError: the flow is not deployed; or with `[deploy] mode = "auto"` its module is still there.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> ws.undeploy("example").kind, ws.deployment("example")
            ('withdraw', 'not deployed')
            >>> ws.rollback("example").kind, ws.deployment("example")
            ('rollback', 'as deployed')
        """
        from data_engine.commands.deployments import Undeploy

        outcome = self._do(Undeploy(name, note), wait)
        return None if outcome is None else outcome.deployments[0]

    def rollback(self, name: str, to: str | None = None, note: str = "", wait: bool = True) -> Deployment | None:
        """Let production run the flow as it was deployed before, or as the deployment `to` (its id, or the beginning of it).

        That is a deployment itself: it is in the history, and can be undone. The notebook stays as it is. Where
        another workstation owns the workspace its owner is asked; with `wait=False` the answer, None, is not waited for.

        Raises:
            FlowValidationError: there is nothing to go back to, it is not kept any more, or it is damaged.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> try:
            ...     ws.rollback("example")
            ... except FlowValidationError as error:
            ...     print(error.what)
            there is no earlier deployment of example
        """
        from data_engine.commands.deployments import Rollback

        return self._do(Rollback(name, to, note), wait)

    def deployments(self, name: str | None = None) -> list[Deployment]:
        """The history of deployments, of one flow when named (also under the names that it had before), the newest first: who, where,
        when, and what differed.

        `is_live` says which one a flow runs, `is_kept` which can be rolled back to.

        Raises:
            LedgerError: the history cannot be read.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example", note="first")
            >>> [(row.note, row.is_live) for row in ws.deployments("example")]
            [('first', True)]
        """
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.status.deployed_before import history_of

        return Listing(history_of(self.home, None if name is None else check_flow_name(name)))

    def deployment_status(self, name: str) -> DeploymentStatus:
        """How the flow's module stands to what production runs: its `kind`, the `cells` that differ, and in words.

        Raises:
            FlowValidationError: no such module, and none is deployed.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.deployment_status("example").kind
            'not_deployed'
        """
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.status.deployed_before import find_flow

        deployments = self.home.deployments()
        status = deployments.statuses([check_flow_name(name)])[name]
        if name not in deployments.deployed():
            find_flow(self.home, name)
        return status

    def deployment(self, name: str) -> str:
        """How the flow's module stands to what production runs, in a few words.

        "as deployed", "not deployed", or "edited, not deployed" with the cells that differ; after a rollback, while the module is as it
        was deployed before, "rolled back to" that deployment with its time and those cells.

        Raises:
            FlowValidationError: no such module, and none is deployed.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> before = ws.deployment("example")
            >>> _ = ws.deploy("example")
            >>> before, ws.deployment("example")
            ('not deployed', 'as deployed')
        """
        return self.deployment_status(name).text

    def restore(self, name: str, to: str | None = None, *, copy: bool = False) -> tuple[Path, ...]:
        """Restore the module of the flow `name` to `flow_modules`, as it was deployed last or in the deployment `to`; the paths written.

        Its missing helpers are written too. What production runs stays as it is. The name may be that of the module's file, or its
        path. A notebook that was renamed, or moved into a subfolder, is written a second time only as a `copy`.

        Raises:
            FlowValidationError: a module of this name is there, nothing is overwritten; it lies elsewhere now; or it was never deployed,
                or is not kept.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> (ws.layout.flow_modules_dir / "example.ipynb").unlink()
            >>> ws.deployment_status("example").kind, [path.name for path in ws.restore("example")], ws.deployment_status("example").kind
            ('gone', ['example.ipynb'], 'as_deployed')
        """
        from data_engine.commands.fields import given_text
        from data_engine.commands.switches import Look
        from data_engine.deploy.sets import restore

        written = restore(self.home, name, None if to is None else given_text(to, "restore(to=...)"), copy=copy)
        with suppress(FlowValidationError):  # it is put back; a daemon that cannot look now sees it at its next look
            self._do(Look())
        return written

    def enable(self, name: str, wait: bool = True) -> None:
        """Let the flow run by itself again.

        Raises:
            FlowValidationError: no such flow.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> ws.enable("example")
            >>> ws.status().flows[0].enabled
            True
        """
        from data_engine.commands.switches import Enable

        self._do(Enable(name), wait)

    def disable(self, name: str, wait: bool = True, note: str = "") -> None:
        """Let the flow run by hand only. Who disabled it, and when, is kept and shown with the `note`, which says why.

        Raises:
            FlowValidationError: no such flow.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> ws.disable("example", note="stock-taking until Monday")
            >>> ws.status().flows[0].enabled, ws.status().flows[0].disabled.note
            (False, 'stock-taking until Monday')
        """
        from data_engine.commands.switches import Disable

        self._do(Disable(name, note), wait)

    # -- runs ---------------------------------------------------------------------------------------------------------------

    def run(
        self,
        name: str,
        wait: bool = True,
        source: str | os.PathLike[str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> list[Run] | list[str]:
        """Let the daemon (started if need be) run the deployed flow `name`, once for each source: the ended runs in order.

        A failed run is returned with its status and error, not raised. With `wait=False` the ids of the runs to come, for
        `wait()`. An interrupt ends only the waiting; the runs go on in the daemon. Where another workstation owns the
        workspace its owner is asked to run it; with `wait=False` the ids are not known then.

        Raises:
            FlowValidationError: no such flow or source, the module is broken, a parameter is unknown, wrong or missing, or
                `params` of a flow that declares none are not JSON.
            SettingsError: the workspace's settings cannot be used.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> [(run.flow, run.status) for run in ws.run("example")]
            [('example', 'success')]
            >>> ws.kill()
            True
        """
        from data_engine.commands.runs import Run
        from data_engine.engine.params import sendable

        self.home.settings()  # one that cannot be used stops what depends on it
        place = None if source is None else os.fspath(source)
        values = sendable(params, lambda: self.parameters(name))
        begun = self._do(Run(name, place, values), wait)
        if begun is None:
            return []
        return self.wait(begun.run_ids) if wait else list(begun.run_ids)

    def wait(self, run_ids: Sequence[str]) -> list[Run]:
        """Wait for the runs of `run(..., wait=False)`; the ended runs, in the order of their ids.

        Standard error says what they wait for.

        Raises:
            WorkspaceError: the daemon ended before one of them began, or it is there and does not answer.
            KeyboardInterrupt: the waiting was interrupted; the runs go on in the daemon.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> run_ids = ws.run("example", wait=False)
            >>> [run.status for run in ws.wait(run_ids)], ws.kill()
            (['success'], True)
        """
        ids = list(run_ids)
        try:
            self.link.wait_for_runs(ids, lambda why: print(why, file=sys.stderr))
        except KeyboardInterrupt:
            what = f"run {ids[0][:8]} goes" if len(ids) == 1 else f"{len(ids)} runs go"
            raise ShortInterrupt(
                f"interrupted here only: {what} on in the daemon; `data-engine status` shows what runs, `data-engine stop RUN` ends it"
            ) from None
        return self._records(ids)

    def parameters(self, name: str) -> Parameters | None:
        """The parameters that the deployed flow declares with `Flow.params`; None for one that takes any. Asks its daemon (started if need be).

        Raises:
            FlowValidationError: no such flow.
            WorkspaceError: the daemon cannot be started.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> ws.parameters("example") is None, ws.kill()
            (True, True)
        """
        from data_engine.flow.parameters import Parameters
        from data_engine.notebook.catalog import check_flow_name

        answer = self.link.start().get("/flow", name=check_flow_name(name))
        return None if answer.get("parameters") is None else Parameters.of_json(answer["parameters"], name)

    def stop_flow(self, name: str) -> bool:
        """Ask all runs of the flow in the daemon to end at their next step, map item, `context.log` or `context.progress`, and begin none that waits.

        What is due by itself waits until the flow is enabled again; whether it was disabled for that.

        Raises:
            FlowValidationError: no such flow, or no daemon runs here.
            WorkspaceError: the daemon is there, and does not answer.
            OwnedElsewhereError: another workstation owns the workspace.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> ws.start()
            >>> ws.stop_flow("example"), ws.kill()
            (False, True)
        """
        from data_engine.commands.runs import StopFlow

        return self._done(StopFlow(name)).disabled

    def stop_run(self, run_id: str) -> bool:
        """Ask a run of the daemon to end at its next step, map item, `context.log` or `context.progress`; one that waits does not begin.

        Whether it had begun. One that had not is recorded as stopped, too: a file that was due is held then, as after any stop.

        Raises:
            FlowValidationError: it is not running there, and does not wait.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> try:
            ...     ws.stop_run("3f9c")
            ... except FlowValidationError as error:
            ...     print(error.fix)
            start it with `data-engine start`, or Workspace.start()
        """
        from data_engine.commands.runs import StopRun

        return not self._done(StopRun(run_id)).waited

    def kill_run(self, run_id: str) -> bool:
        """End the process of a run of the daemon, now; one that waits for its turn does not begin. Whether it had begun.

        Raises:
            FlowValidationError: it is not running there, and does not wait.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> try:
            ...     ws.kill_run("3f9c")
            ... except FlowValidationError as error:
            ...     print(error.fix)
            start it with `data-engine start`, or Workspace.start()
        """
        from data_engine.commands.runs import KillRun

        return not self._done(KillRun(run_id)).waited

    def retry(
        self,
        flow: str | None = None,
        source: str | os.PathLike[str] | None = None,
        wait: bool = True,
        accept: bool = False,
    ) -> int:
        """Do not hold failed sources any more: those of `flow`, or only its `source`, or all; how many those were.

        With `accept=True` also what holds a flow until somebody accepts it: a batch whose sources are gone runs with those that are there, and
        columns that a check `as_before` has failed pass from now on.

        Raises:
            FlowValidationError: the engine is off, no such flow or source, or the flow runs by hand only.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.start_engine()
            >>> ws.retry(), ws.kill()
            (0, True)
        """
        from data_engine.commands.runs import Retry

        answer = self._do(Retry(flow, None if source is None else os.fspath(source), accept or None), wait)
        return 0 if answer is None else answer.freed + len(answer.accepted)

    def backfill(
        self,
        name: str,
        since: str | date | None = None,
        until: str | date | None = None,
        where: str | None = None,
        params: Mapping[str, Any] | None = None,
        reprocess: Reprocess = "failed",
        dry_run: bool = False,
        wait: bool = True,
        digest: str | None = None,
    ) -> Backfill | None:
        """Run the flow again for a range: its files, by their modification time and name, or its slots; after all that is due.

        `since` and `until` are days ("2013-03-01"), months ("2013-03", all of it) or times, in the flow's zone, both in the
        range. `reprocess` says which of them: "failed" (held, or the last run failed), "missing" (no success), "outdated" (a
        reference that it read has changed) or "all".
        With `dry_run=True` they are only listed (`planned`); with the `digest` of that list exactly those run, or none. Without
        it begins at once, in the daemon (started if need be); `backfills()` and `backfill_status(id)` show its progress.

        A success with the params of a run that comes by itself counts as one; with other `params` a run changes neither
        what is due nor what is held. Where another workstation owns the workspace its owner is asked; with `wait=False` the
        answer, None, is not waited for.

        Raises:
            FlowValidationError: no such flow, params that it does not take, no day, or nothing that could be run again.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> code = (
            ...     "from data_engine import Flow\\n"
            ...     "def build(): return Flow('Demo').watch(mode='poll', source='../in', interval='5s').step(lambda context: 1)"
            ... )
            >>> _ = (ws.layout.flow_modules_dir / "daily.py").write_text(code)
            >>> (ws.root / "in").mkdir()
            >>> _ = (ws.root / "in" / "a.csv").write_text("1")
            >>> _ = ws.deploy("daily")
            >>> listed = ws.backfill("daily", reprocess="missing", dry_run=True)
            >>> [run.source for run in listed.planned]
            ['a.csv']
            >>> begun = ws.backfill("daily", reprocess="missing", digest=listed.digest)
            >>> begun.total, ws.backfill_status(begun.id).id == begun.id, ws.kill()
            (1, True, True)
        """
        from data_engine.commands.fields import given_day
        from data_engine.commands.runs import StartBackfill
        from data_engine.engine.params import sendable

        days = given_day(since, "backfill(since=...)"), given_day(until, "backfill(until=...)")
        values = sendable(params, lambda: self.parameters(name))
        answer = self._do(StartBackfill(name, *days, where, reprocess, values, dry_run, digest), wait)
        return None if answer is None else self._in_zone(answer.backfill)

    def backfills(self, name: str | None = None) -> list[Backfill]:
        """The newest backfills, of one flow when named, the newest first, each with how far it is.

        Raises:
            LedgerError: the history cannot be read.

        Example:
            >>> import tempfile
            >>> Workspace.create(tempfile.mkdtemp()).backfills()
            []
        """
        from data_engine.notebook.catalog import check_flow_name

        return Listing(self._backfills(None if name is None else check_flow_name(name), None))

    def backfill_status(self, backfill_id: str) -> Backfill:
        """One backfill: how far it is, what it was to run (`planned`) and the runs that were begun (`runs`).

        Raises:
            FlowValidationError: there is none with this id, or that begins so.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> try:
            ...     ws.backfill_status("b7")
            ... except FlowValidationError as error:
            ...     print(error.what)
            there is no backfill 'b7'
        """
        from data_engine.commands.fields import given_text

        return self._in_zone(self._backfills(None, given_text(backfill_id, "backfill id"))[0])

    def stop_backfill(self, backfill_id: str, wait: bool = True) -> Backfill | None:
        """Begin no more runs of a backfill; what runs of it ends by itself.

        Raises:
            FlowValidationError: there is none with this id, or it does not run.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> try:
            ...     ws.stop_backfill("b7")
            ... except FlowValidationError as error:
            ...     print(error.what)
            there is no backfill 'b7'
            >>> ws.kill()
            True
        """
        from data_engine.commands.runs import StopBackfill

        answer = self._do(StopBackfill(backfill_id), wait)
        return None if answer is None else self._in_zone(answer.backfill)

    def retry_backfill(self, backfill_id: str, wait: bool = True) -> Backfill | None:
        """Run again what failed of a backfill that has ended, and what a stop left out; it keeps its id.

        Raises:
            FlowValidationError: there is none with this id, it runs, or nothing of it failed.
            RequestFailedError, RequestExpiredError: the owner refused it, or did not take it.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> try:
            ...     ws.retry_backfill("b7")
            ... except FlowValidationError as error:
            ...     print(error.what)
            there is no backfill 'b7'
            >>> ws.kill()
            True
        """
        from data_engine.commands.runs import RetryBackfill

        answer = self._do(RetryBackfill(backfill_id), wait)
        return None if answer is None else self._in_zone(answer.backfill)

    # -- the history --------------------------------------------------------------------------------------------------------

    def runs(
        self,
        flow: str | None = None,
        limit: int = 100,
        *,
        status: str | None = None,
        since: str | date | None = None,
        until: str | date | None = None,
    ) -> list[Run]:
        """The newest runs, newest first; of one flow when named, also under the names that it had before, or of a source file.

        With a `status` ("failed") those that have it; with `since` and `until` those that began in that range: days, months ("2013-03") or
        times of this machine's clock, both included. A run for a slot has the zone of its schedule (`tz`), in which it is shown.

        Raises:
            LedgerError: the history cannot be read, or no run has that status.
            FlowValidationError: there is and was no such flow, nor a run of such a file (names the nearest); `limit` is not a whole
                number, or a text is not a day.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.load_flow("example").run_once()
            >>> [(run.flow, run.status) for run in ws.runs(limit=5)]
            [('example', 'success')]
            >>> ws.runs(until="2013-03")
            []
        """
        from data_engine.commands.fields import given_day, given_text
        from data_engine.status.runs import shown_runs, wanted_runs

        if flow is not None:
            from data_engine.notebook.catalog import check_flow_name

            flow = check_flow_name(flow)
        days = given_day(since, "runs(since=...)"), given_day(until, "runs(until=...)")
        query = wanted_runs(None if status is None else given_text(status, "runs(status=...)"), *days)
        if limit < 0:
            what = f"limit={limit!r} must be a whole number"
            raise FlowValidationError(what, where="Workspace.runs", fix="limit=100")
        return Listing(shown_runs(self.home, flow, limit, query))

    def run_record(self, run_id: str) -> Run:
        """The run with this id, or with the only id that begins so.

        Raises:
            FlowValidationError: there is none; says where this machine has not fetched all that others ran.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.load_flow("example").run_once()
            >>> run = ws.runs()[0]
            >>> ws.run_record(run.run_id[:8]) == run
            True
        """
        run = self.home.ledger().run(run_id) if isinstance(run_id, str) else None
        if run is None:
            from data_engine.status.runs import no_run

            what = f"there is no run {run_id!r} in the history of {self.root.name}"
            advice = "take an id from `data-engine runs`"
            behind = self.link.behind_text()
            raise no_run(self.home.ledger(), run_id, what, f"{behind}; else {advice}" if behind else advice)
        return run

    def log(self, run_id: str) -> RunLog:
        """What the run printed and logged, oldest first; its `checks` are the results of its checks, a rule each.

        Raises:
            FlowValidationError: there is no such run.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> code = "from data_engine import Flow\\ndef build(): return Flow('Demo').step(lambda context: print('hello'))"
            >>> _ = (ws.layout.flow_modules_dir / "greet.py").write_text(code)
            >>> _ = ws.load_flow("greet").run_once()
            hello
            >>> [(line.level, line.message) for line in ws.log(ws.runs("greet")[0].run_id)]
            [('INFO', 'hello')]
        """
        from data_engine.model import RunLog

        return RunLog(self.home.ledger().log((run := self.run_record(run_id)).run_id), run.checks)

    def steps(self, run_id: str) -> list[StepRun]:
        """The run's steps, in order.

        Raises:
            FlowValidationError: there is no such run.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.load_flow("example").run_once()
            >>> [(step.label, step.status, step.rows_out) for step in ws.steps(ws.runs()[0].run_id)]
            [('Make Sales', 'success', 3), ('Add Up', 'success', 2)]
        """
        return Listing(self.home.ledger().steps(self.run_record(run_id).run_id))

    def replay(self, run_id: str) -> Replay:
        """The failing step of a run with what it was given: its `context`, of a map the failing `item`, and `run()` to go on from there.

        What the run has kept on this machine is taken, all else is made again by the steps before; `missing` says which, and why. The
        code is that of this kernel's cells where the flow is their notebook's, else as it is saved. Mirror and databases are scratch.

        Raises:
            FlowValidationError: there is no such run, none of its steps failed, the flow has lost the step, or the version of the
                source that it read is gone, and something must be made again from it.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> code = "from data_engine import Flow\\ndef halve(context): return 1 / context.params['by']\\ndef build(): return Flow('Demo').step(halve)"
            >>> _ = (ws.layout.flow_modules_dir / "halves.py").write_text(code)
            >>> _ = ws.load_flow("halves").run_once(params={"by": 0}, on_error="continue")
            >>> replay = ws.replay(ws.runs("halves")[0].run_id)
            >>> replay.step.label, replay.context.params["by"], replay.run(by=2)
            ('Halve', 0, 0.5)
        """
        from data_engine.replay import replay

        return replay(self.home, self.run_record(run_id))

    def compare(self, run_a: str, run_b: str) -> Comparison:
        """What differs from one run to another, the most important first: code by cell, params, inputs, environment, rows, durations.

        Raises:
            FlowValidationError: there is no such run.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = [ws.load_flow("example").run_once() for _ in range(2)]
            >>> newer, older = ws.runs()
            >>> ws.compare(older.run_id, newer.run_id).is_equal
            True
        """
        from data_engine.status.run_comparison import compare

        a, b = self.run_record(run_a), self.run_record(run_b)
        return compare(self.home, a, b)

    def trends(self, flow: str) -> Trends:
        """How many rows the flow's outputs and steps had and how long they took, over its newest good runs with the same params.

        Raises:
            FlowValidationError: there is no such flow, neither as a module nor in the history.
            LedgerError: the history cannot be read.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = [ws.load_flow("example").run_once() for _ in range(2)]
            >>> trends = ws.trends("example")
            >>> trends.runs, [(trend.name, [point.value for point in trend.points]) for trend in trends.trends if trend.kind == "rows"]
            (2, [('Make Sales', [3.0, 3.0]), ('Add Up', [2.0, 2.0])])
        """
        from data_engine.notebook.catalog import check_flow_name, find_module
        from data_engine.status.run_comparison import trends_of

        ledger = self.home.ledger()
        if not ledger.runs(check_flow_name(flow), 1):
            find_module(self.home.modules(), flow)
        return trends_of(ledger, flow)

    def rejected(self, name: str | None = None) -> list[RejectedRows]:
        """The rows that checks reject now, of one flow or of all: for each source how many, and how many break each rule.

        Of a source file that is gone none; `set_aside` moves its rows out of the folder `rejected`.

        Raises:
            FlowValidationError: there is no flow `name`; offers the nearest.
            OSError: the folder `rejected` cannot be read.

        Example:
            >>> import tempfile
            >>> Workspace.create(tempfile.mkdtemp()).rejected()
            []
        """
        from data_engine.engine.left_behind import gone_sources
        from data_engine.engine.quarantine import rejected_rows
        from data_engine.notebook.catalog import check_flow_name, find_module

        if name is not None and (check_flow_name(name) in (".", "..") or not {*"/\\\0"}.isdisjoint(name)):
            find_module(self.home.modules(), name)  # it is no name of a folder; the error offers the nearest flow
            return []
        rows = rejected_rows(self.layout.root, name)
        if not rows and name is not None:
            self.runs(name, 1)  # an error where no flow has or had this name
        gone = gone_sources(((row.flow, row.source) for row in rows), self._in_production() if rows else ())
        return [row for row in rows if (row.flow, row.source) not in gone]

    def reset(self, flow: str | None = None) -> int:
        """Forget the history and freshness of `flow` (of every flow without one) on this machine; how many runs were removed.

        Every source is due again, at once if a daemon runs; a schedule does not catch up what was before.

        Raises:
            FlowValidationError: no such flow, neither as a module nor in the history; a run of it is under way, here or in
                another process of this machine.
            OwnedElsewhereError: another workstation owns the workspace, and its history.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.load_flow("example").run_once()
            >>> ws.reset("example"), ws.runs()
            (1, [])
        """
        from data_engine.commands.runs import Reset

        return self._done(Reset(flow)).count

    def left_behind(self, name: str | None = None) -> list[LeftBehind]:
        """The outputs and rejected rows, of the flow `name` or of all, whose source files are gone; as far as the history goes back.

        Also rows that `replace_rows_by_file` wrote in runs for one such file (`table`, `rows`), and databases in use (`busy` says by whom).
        A file of several sources counts when all are gone; of a source folder that is away nothing is known. `set_aside` moves them.

        Raises:
            FlowValidationError: there is no such flow.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.left_behind()
            []
        """
        from data_engine.engine.left_behind import MOST_RUNS, all_left_behind
        from data_engine.ledger.outputs import written_here

        flows, ledger = self._in_production(name), self.home.ledger()
        written = written_here(ledger, self.layout, MOST_RUNS)
        return Listing(all_left_behind(written, self.layout, flows, ledger))

    def set_aside(self, name: str | None = None) -> list[Path]:
        """Move what `left_behind(name)` lists out of the mirrors and tables, into a hidden folder beside each; where it is now.

        Nothing is deleted, and `put_back` moves it back. This makes no flow due that reads there.

        Raises:
            FlowValidationError: there is no such flow, or a file cannot be moved.
            OwnedElsewhereError: another workstation owns the workspace.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.set_aside(), ws.put_back()
            ([], [])
        """
        from data_engine.engine.left_behind import set_all_aside
        from data_engine.lease.status import refuse_owned_elsewhere

        refuse_owned_elsewhere(self.layout.workspace_state_dir, self.home.local.identity, what="moving outputs aside")
        return Listing(set_all_aside(self.left_behind(name), self.layout.databases_dir))

    def put_back(self, name: str | None = None) -> list[Path]:
        """Move back what `set_aside` moved last, except where something new was written; where they are now.

        Raises:
            FlowValidationError: there is no such flow, or a file cannot be moved.
            OwnedElsewhereError: another workstation owns the workspace.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.put_back()
            []
        """
        from data_engine.engine.left_behind import put_all_back
        from data_engine.lease.status import refuse_owned_elsewhere

        refuse_owned_elsewhere(self.layout.workspace_state_dir, self.home.local.identity, what="moving outputs back")
        return Listing(put_all_back(self.layout, self._in_production(name), self.home.ledger()))

    def explain(self, flow_or_path: str | os.PathLike[str]) -> list[Explanation]:
        """Why a flow, or a source file, does or does not run: `flow`, `source`, `reason` and `next_run_utc` of each; for an output, who wrote it.

        `why` holds the reason for programs: its `kind` and data. A row without a source is about the whole flow. A file is
        named by its path, or by its path inside the source. Of a table of a database (`warehouse.duckdb:sales`) each row says which
        run wrote which of its rows, the newest first.

        Raises:
            FlowValidationError: neither a flow, nor a source file, nor an output, nor a table; or a program writes the database now.

        Example:
            >>> import tempfile
            >>> Workspace.create(tempfile.mkdtemp()).explain("example")[0].reason
            'not deployed: data-engine deploy example'
        """
        from data_engine.daemon.control import LONG_S
        from data_engine.status.explain import Explanation, explain, explain_table

        subject = os.fspath(flow_or_path)
        if (table := explain_table(with_home(subject), self.layout.databases_dir, self.root)) is not None:
            return Listing(table)
        query = {"subject": subject, "file": str(Path(with_home(subject)).resolve())}
        rows = self.link.ask(
            lambda daemon: map(Explanation.read, daemon.get("/explain", timeout_s=LONG_S, **query)["reasons"]),
            otherwise=lambda: explain(source := self.link.offline(), source.facts(), **query),
        )
        return Listing(rows)

    def lineage(self, x: str | os.PathLike[str] | None = None, depth: int = 1) -> Lineage:
        """What a flow, a file, a folder or a table (`warehouse.duckdb:sales`) is made from, and what is made from it, `depth` edges each
        way; without `x` the map: all flows, each with its state, and the places between them. A notebook shows it as a picture.

        It is known from what runs have read and written, and from what flows declare before they ran: such edges have no `run_id`.

        Raises:
            FlowValidationError: nothing is known of `x`, or `depth` is less than 1.

        Example:
            >>> import tempfile
            >>> [(node.id, node.kind) for node in Workspace.create(tempfile.mkdtemp()).lineage("example").nodes]
            [('example', 'flow')]
        """
        from data_engine.status.lineage import lineage

        value = lineage(self.home, None if x is None else with_home(os.fspath(x)), depth)
        return value if x is not None else value.marked(self.status().flows)

    # -- this machine's daemon, and who owns the workspace ------------------------------------------------------------------

    def start(self) -> None:
        """Start this machine's daemon of the workspace, not yet its engine; does nothing when it runs.

        Raises:
            WorkspaceError: it cannot start; says why.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.start()
            >>> ws.status().daemon.running, ws.kill()
            (True, True)
        """
        from data_engine.commands.switches import Start

        self._do(Start())

    def start_engine(self) -> None:
        """Run polled and scheduled flows by themselves from now on, in the daemon (started if need be).

        Raises:
            WorkspaceError: the daemon cannot start; says why.
            OwnedElsewhereError: another workstation owns the workspace.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.start_engine()
            >>> ws.status().engine.on, ws.kill()
            (True, True)
        """
        from data_engine.commands.switches import StartEngine

        self._do(StartEngine())

    def stop_engine(self) -> None:
        """Let running work finish and start nothing more by itself, also in the next daemon.

        Raises:
            WorkspaceError: the daemon is there, and does not answer.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.stop_engine()
            >>> ws.status().engine.on
            False
        """
        from data_engine.commands.switches import StopEngine

        self._do(StopEngine())

    def shutdown(self) -> None:
        """End the daemon when its running work is done; a service (`data-engine service`) starts it again at the next logon.

        Raises:
            WorkspaceError: the daemon is there, and does not answer.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.shutdown()
            >>> ws.status().daemon.running
            False
        """
        from data_engine.commands.switches import Shutdown

        self._do(Shutdown())

    def kill(self) -> bool:
        """End the daemon and its runs now; whether there was one. Its runs become `abandoned`.

        The engine is off until a person starts it, also where another daemon is started for something else; a backfill goes on
        when a daemon owns the workspace again.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.kill()
            False
        """
        from data_engine.daemon.control import remember_backfill, remember_engine
        from data_engine.daemon.start import kill_daemon

        was_there = kill_daemon(self.home)
        with suppress(FlowValidationError):  # a history that cannot be written keeps nobody from ending a daemon
            remember_engine(self.home.ledger(), is_on=False)
            remember_backfill(self.home.ledger(), is_on=False)
        return was_there

    def status(self) -> WorkspaceStatus:
        """The state of daemon, engine and flows: attributes and keys are those `data-engine status --json` prints.

        Raises:
            FlowValidationError: the flow_modules folder cannot be read.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> status = ws.status()
            >>> status.daemon.running, [flow.name for flow in status.flows], status["engine"]["on"]
            (False, ['example'], False)
        """
        from data_engine.status.build import build_status
        from data_engine.status.record import WorkspaceStatus

        return self.link.ask(
            lambda daemon: WorkspaceStatus.read(daemon.get("/status")),
            otherwise=lambda: build_status(self.link.offline().facts()),
        )

    def next_runs(self) -> dict[str, str]:
        """When the next slot or tick of each schedule comes, in UTC; empty while the engine is off.

        Example:
            >>> import tempfile
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
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> import sys
            >>> ws.interpreter() == sys.executable
            True
        """
        from data_engine.daemon.environment import recorded_interpreter

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
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.set_interpreter(None)
            >>> import sys
            >>> ws.interpreter() == sys.executable
            True
        """
        from data_engine.commands.switches import SetInterpreter
        from data_engine.daemon.environment import checked_interpreter, choose_interpreter, recorded_interpreter

        ledger = self.home.ledger()
        choose_interpreter(ledger, None if path is None else checked_interpreter(path))
        self._do(SetInterpreter(recorded_interpreter(ledger) or sys.executable))

    def lease(self) -> LeaseStatus:
        """Who owns the workspace and what could be done about it; `words` says it in a line. Only a daemon sees ages.

        Raises:
            WorkspaceError: this machine's state cannot be used.

        Example:
            >>> import tempfile
            >>> Workspace.create(tempfile.mkdtemp()).lease().state
            'available'
        """
        from data_engine.lease.status import LeaseStatus

        return self.link.ask(
            lambda daemon: LeaseStatus.read(daemon.get("/status")["lease"]),
            otherwise=self.home.lease,
        )

    def request_control(self) -> LeaseStatus:
        """Ask the owner for the workspace: this machine's daemon (started if need be) owns it once the owner agrees.

        Nothing is interrupted there. The request stands until `withdraw_request`, or until this machine's daemon ends.

        Raises:
            OwnedElsewhereError: the shared folder cannot be written.
            WorkspaceError: the daemon cannot start; says why.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.request_control().state, ws.kill()
            ('mine', True)
        """
        from data_engine.commands.switches import RequestControl

        return self._done(RequestControl("python")).lease

    def withdraw_request(self) -> LeaseStatus:
        """Do not ask for the workspace any more.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.withdraw_request().state
            'available'
        """
        from data_engine.commands.switches import WithdrawRequest

        return self._done(WithdrawRequest()).lease

    def release_control(self, now: bool = False) -> LeaseStatus:
        """Give the workspace up when its running work is done: to whoever has asked for it, else to anybody.

        With `now=True` running work is stopped first, as `stop_run` does it. The engine goes on at the new owner when one
        has asked for the workspace; else it is off. Where this machine does not own it nothing happens, and `said` of what
        comes back says why.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.release_control().said
            'no owner of the workspace is seen, it is available: nothing was given up'
        """
        from data_engine.commands.switches import ReleaseControl
        from data_engine.lease.status import why_no_release
        from data_engine.workspace.machine import machine_id

        why = why_no_release(self.lease(), machine_id(), has_daemon=self.link.find() is not None)
        return replace(self._done(ReleaseControl(now)).lease, why=why)

    def take_over(self) -> LeaseStatus:
        """Own the workspace of an owner that has been silent for the stale threshold, or that nobody owns.

        The engine goes on where it was on.

        Raises:
            OwnedElsewhereError: the owner has not been silent for long enough, or the drive cannot guarantee a single owner.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.take_over().state, ws.kill()
            ('mine', True)
        """
        from data_engine.commands.switches import TakeOver

        return self._done(TakeOver()).lease

    def repair_lease(self) -> str:
        """Fix a damaged list of generations from its newest readable one; what was lost, or that nothing was damaged, in words.

        Raises:
            WorkspaceError: nothing can be read, or its owner may still be at work.

        Example:
            >>> import tempfile
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> ws.repair_lease(), ws.kill()
            ('nothing of the shared history is damaged: nothing was changed', True)
        """
        from data_engine.commands.switches import RepairLease

        return str(self._done(RepairLease()).said)

    # -- parts --------------------------------------------------------------------------------------------------------------

    def _do(self, command: Command[T], wait: bool = True) -> T | None:
        """Carry out the command; its answer, None where another owner was asked and nobody waits for it."""
        from data_engine.commands.fields import as_given

        command = as_given(command, command.name.replace("-", "_"))
        command.require_valid()
        return self.link.carry_out(command, waits=wait)

    def _done(self, command: Command[T]) -> T:
        """Carry out a command and wait; its answer."""
        answer = self._do(command)
        assert answer is not None
        return answer

    def _backfills(self, name: str | None, backfill_id: str | None) -> list[Backfill]:
        from data_engine.daemon.backfiller import newest_backfills
        from data_engine.model import Backfill

        return self.link.ask(
            lambda daemon: [
                Backfill.read(row) for row in daemon.get("/backfills", flow=name, id=backfill_id)["backfills"]
            ],
            otherwise=lambda: newest_backfills(self.home.ledger(), (), name, backfill_id),
        )

    def _in_zone(self, backfill: Backfill) -> Backfill:
        """The backfill with the zone of its slots."""
        from data_engine.status.runs import slot_zone

        return replace(backfill, tz=slot_zone(self.home, backfill.flow)) if backfill.kind == "slots" else backfill

    def _records(self, run_ids: Sequence[str]) -> list[Run]:
        """These runs, with the number of their warnings."""
        from data_engine.ledger.run_warnings import with_warnings

        return Listing(with_warnings(self.home.ledger(), map(self.run_record, run_ids)))

    def _in_production(self, name: str | None = None) -> list[Flow]:
        """The good flows as they are, and as they are deployed where their modules are gone; the one of this name.

        Raises:
            FlowValidationError: there is no such flow.
        """
        from data_engine.notebook.catalog import check_flow_name, read_catalog
        from data_engine.notebook.deployments import deployed_entries
        from data_engine.status.deployed_before import find_to_tidy
        from data_engine.verbs import Flow

        deployments = self.home.deployments()
        modules = read_catalog(self.home.modules(), cache=self.home.descriptions())
        gone = deployments.deployed().keys() - {entry.name for entry in modules}
        entries = [*modules, *deployed_entries(deployments, gone)]
        if name is not None and check_flow_name(name) not in {entry.name for entry in entries}:
            find_to_tidy(self.home, name)
        return [Flow.of(entry.flow) for entry in entries if entry.flow is not None and name in (None, entry.name)]


def outcome_of(ws: Workspace, command: Deploy, wait: bool = True) -> Outcome | None:
    """The outcome of a deploy, its entries with their warnings; None where another owner was asked and nobody waits for it.

    Raises:
        FlowValidationError, RequestFailedError, RequestExpiredError: as `Workspace.deploy`.
    """
    from data_engine.proof.verdict_store import with_unsettled
    from data_engine.status.places import with_recipient_warnings, with_source_warnings
    from data_engine.workspace.layout import kernel_shell

    if command.flow is not None and kernel_shell() is not None:
        from data_engine.proof.kernel import require_as_in_kernel
        from data_engine.status.deployed_before import find_flow

        require_as_in_kernel(ws.home, find_flow(ws.home, command.flow), may_differ=command.force)
    outcome = ws._do(command, wait)
    if outcome is None:
        return None
    entries = with_unsettled(ws.home, with_source_warnings(outcome.entries))
    return replace(outcome, entries=with_recipient_warnings(entries, ws.home.settings().alerts.to))
