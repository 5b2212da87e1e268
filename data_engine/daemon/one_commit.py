"""A process as the owner of a workspace, without a daemon: for one commit, and for settings of the next daemon; and the refusals of
a retry or a stop that cannot be done now."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from data_engine import private
from data_engine.commands.command import Asker, Situation, Work
from data_engine.commands.deployments import Deploy
from data_engine.commands.runs import Retry
from data_engine.daemon.control import DaemonGoneError, remember_engine, remember_stop
from data_engine.daemon.ownership import keeper_of, share_silent
from data_engine.deploy.deploying import Looked, Production, write_deployments
from data_engine.deploy.gate import GoldenGate
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.formatting import cli_line
from data_engine.lease.folder import OsFolder
from data_engine.lease.keeper import Keeper, require_fit
from data_engine.lease.older_owner import why_not_ours
from data_engine.lease.status import LeaseStatus
from data_engine.ledger.feed_schemas import unaccepted_runs
from data_engine.locks import OsLock
from data_engine.model import Deployment, Run, Switch
from data_engine.notebook.catalog import read_catalog, with_no_steps_refused, with_unreadable
from data_engine.notebook.deploy import not_deployed
from data_engine.notebook.flow_files import notebooks_in_subfolders
from data_engine.notebook.load import FlowModules
from data_engine.record import frozen
from data_engine.status.build import FlowFacts, WorkspaceFacts, build_status
from data_engine.status.deployed_before import find_flow
from data_engine.status.offline import OfflineFacts, reset_offline
from data_engine.status.runs import accepted_columns

_LOCK_S = 0.5
_PATIENCE_S = 30.0

_ID_LENGTH = 8

T = TypeVar("T")


@frozen
class ProcessOwner:
    """The owner that this process is while no daemon of the workspace runs here. Its methods wait for nothing but the share, so that
    `run_now` carries a command out."""

    home: LocalWorkspace

    @property
    def asker(self) -> Asker:
        """The person whom this process belongs to."""
        return Asker.here()

    @property
    def work(self) -> Work:
        """Refuse: only a daemon has work."""
        raise no_daemon(self.home)

    @property
    def production(self) -> Production:
        """The deployed flows, changed by this process."""
        return ProcessProduction(self.home)

    async def switch(self, flow: str, switch: Switch) -> None:
        """Let the flow run by itself or not."""
        home = self.home
        if flow not in home.deployments().deployed():  # which runs on where its module is gone
            find_flow(home, flow)
        with owning(home) as keeper:
            publish(keeper, lambda: home.ledger().set_switch(flow, switch))

    async def stop_flow(self, flow: str) -> tuple[list[str], bool]:
        """Refuse: this process has no run."""
        raise no_stop_here(self.home, flow)

    async def end_run(self, run_id: str, *, kill: bool) -> tuple[str, bool]:
        """Refuse: the run has ended, or another process has it."""
        ledger = self.home.ledger()
        ledger.recover()
        run = ledger.run(run_id)
        raise no_daemon(self.home) if run is None else not_here(run)

    async def retry(
        self, flow: str | None, source: str | None, *, accept: bool = False
    ) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
        """Accept columns that are not as before; refuse all else: nothing is tried again without a daemon."""
        if accept and flow is not None and unaccepted_runs(self.home.ledger(), flow):
            words: list[str] = []
            with owning(self.home) as keeper:
                publish(keeper, lambda: words.extend(accepted_columns(self.home.ledger(), [flow])))
            return 0, tuple(words), ()
        raise no_retry_here(self.home, flow, source)

    async def reset(self, flow: str | None) -> int:
        """Forget history and freshness; how many runs went."""
        return reset_offline(self.home, flow)

    async def turn_engine(self, *, is_on: bool) -> None:
        """Let the next daemon turn its engine on by itself, or not."""
        remember_engine(self.home.ledger(), is_on=is_on)

    async def shut_down(self, *, kill: bool) -> None:
        """Let no service start a daemon before the next logon."""
        remember_stop(self.home.local)

    async def use_interpreter(self, path: str) -> None:
        """Do nothing: the next daemon reads the recorded one."""

    async def look(self) -> None:
        """Do nothing: the next daemon looks by itself."""

    async def lease(self, do: str, *, now: bool = False, client: str = "ui") -> tuple[LeaseStatus, str | None]:
        """The lease as one look shows it: there is nothing of this machine to withdraw or to give up."""
        return self.home.lease(), None


class ProcessProduction(Production):
    """The deployed flows, which this process changes while it owns the workspace. The share answers while modules are looked at."""

    def __init__(self, home: LocalWorkspace) -> None:
        self.home, self.gate = home, GoldenGate(home)
        self._keeper: Keeper | None = None
        self._put: set[str] = set()

    @asynccontextmanager
    async def owned(self, look: Callable[[], Coroutine[Any, Any, T]]) -> AsyncIterator[T]:
        """Own the workspace until the end of the block."""
        looks: list[T] = []

        def meanwhile() -> None:
            looks.append(run_now(look()))

        with self.home.deployments().keeping_sets(), owning(self.home, meanwhile) as self._keeper:
            yield looks[0]

    async def look(self, asked: Deploy) -> Looked:
        """The modules as they are now; they are put on the share already."""
        deployments, modules = self.home.deployments(), self.home.modules()
        stored = deployments.store()
        content = FlowModules(modules.folder, cache_dir=modules.cache_dir, content=stored.folder)
        read = with_unreadable(read_catalog(content, only=asked.flow), modules.folder, stored.unreadable)
        with suppress(OSError):  # told where it is needed
            self.home.deployment_files().put(deployments.contents_of(stored.id) or {})
            self._put.add(stored.id)
        entries = {entry.name: entry for entry in with_no_steps_refused(read) if asked.is_about(entry.name)}
        moved = frozenset(Path(path).stem for path in notebooks_in_subfolders(modules.folder))
        return Looked(stored, entries, moved)

    async def publish(self, rows: list[Deployment]) -> None:
        """Let these deployments be what flows run."""
        assert self._keeper is not None
        publish(self._keeper, lambda: write_deployments(self.home, rows, self._put))

    async def call(self, work: Callable[..., T], *arguments: object) -> T:
        """Do `work`."""
        return work(*arguments)

    async def follow(self) -> None:
        """Do nothing: nobody sees it here."""


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing; the thread may have an event loop that runs.

    Example:
        >>> async def three() -> int:
        ...     return 3
        >>> run_now(three())
        3
    """
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    work.close()
    raise RuntimeError("it waits for something")


@contextmanager
def owning(home: LocalWorkspace, meanwhile: Callable[[], None] = lambda: None) -> Iterator[Keeper]:
    """Own the workspace from this process until the end of the block; its history is here, as far as others published it.

    `meanwhile` is done while the share answers.

    Raises:
        OwnedElsewhereError: another workstation owns it, or the share cannot be used.
        DaemonGoneError: a daemon of this machine is just coming or going: ask that one.
    """
    # Before anything is written.
    require_fit(why_not_ours(OsFolder(home.layout.workspace_state_dir), home.layout.workspace_id))
    private.make_folder(home.local.runtime_dir)
    lock = OsLock(home.local.daemon_lock_path)
    if not lock.wait(timeout_s=_LOCK_S):
        raise DaemonGoneError(
            "a daemon of this machine is just starting or ending",
            where=str(home.local.runtime_dir),
            fix="try again in a moment",
        )
    try:
        home.ledger().recover()
        keeper = keeper_of(home, uuid.uuid4().hex, is_brief=True)
        keeper.start()
        try:
            owned = keeper.own()
            try:
                meanwhile()
            finally:
                _result(owned)
            yield keeper
        finally:
            keeper.close(release=True)
    finally:
        lock.release()


def publish(keeper: Keeper, write: Callable[[], None]) -> None:
    """Do `write` on the keeper's thread and publish what it has written.

    Raises:
        OwnedElsewhereError, WorkspaceError: as `Keeper.publish`.
    """
    _result(keeper.publish(write))


def _result(future: Future[None]) -> None:
    try:
        future.result(_PATIENCE_S)
    except FutureTimeoutError:
        raise share_silent(_PATIENCE_S) from None


# -- refusals ----------------------------------------------------------------------------------------------------------


def no_retry_here(home: LocalWorkspace, flow: str | None, source: str | None) -> FlowValidationError:
    """Why nothing of the flow (None: of any) is tried again while no daemon runs here, and what works now.

    Raises:
        FlowValidationError: there is no such flow.
    """
    workspace = OfflineFacts(home).facts()
    facts = None if flow is None else _flow(home, workspace, flow)
    if facts is not None and workspace.elsewhere is None:
        refusal = Retry(flow, source).refusal(Situation(lambda: build_status(workspace)))
        refused = None if refusal is None else refusal.error("retry")
        if (error := _of_draft(facts) or refused) is not None:
            return error
    return no_daemon(home, f"start it with `{cli_line('start')}`, which tries whatever is held")


def no_stop_here(home: LocalWorkspace, flow: str) -> FlowValidationError:
    """The error that nothing of the flow runs in a daemon here, with what keeps it from running by itself.

    Raises:
        FlowValidationError: there is no such flow.
    """
    workspace = OfflineFacts(home).facts()
    facts = _flow(home, workspace, flow)
    if runs := [run for run in workspace.active if run.flow == flow]:
        where = f"end its run where it runs, in process {runs[0].pid}: with Ctrl-C, or by an interrupt of the kernel"
        return no_daemon(home, where)
    if facts.entry.mode == "manual" or facts.deployment_status.kind == "not_deployed" or not facts.is_enabled:
        return no_daemon(home, f"there is nothing to stop: nothing of {flow} runs, and it does not run by itself")
    later = f"to keep it from running by itself later: `{cli_line('disable', flow)}`"
    return no_daemon(home, f"nothing of {flow} runs; {later}")


def not_here(run: Run) -> FlowValidationError:
    """Why a run cannot be ended by a daemon that does not have it.

    Example:
        >>> print(not_here(Run("3f9c12ab77", "claims", "Claims", None, "success", "2026-01-05T06:00:00+00:00")))
        run 3f9c12ab had ended already, and nothing was stopped: success
          where: run id
          fix:   `data-engine log 3f9c12ab` shows it; `data-engine status` shows what runs
    """
    short = run.run_id[:_ID_LENGTH]
    if run.status == "started":
        return FlowValidationError(
            f"run {short} is not running in this daemon: another process runs it",
            where="run id",
            fix="stop it where it was started, with Ctrl-C or by interrupting its kernel",
        )
    return FlowValidationError(
        f"run {short} had ended already, and nothing was stopped: {run.status}",
        where="run id",
        fix=f"`{cli_line('log', short)}` shows it; `{cli_line('status')}` shows what runs",
    )


def _flow(home: LocalWorkspace, workspace: WorkspaceFacts, name: str) -> FlowFacts:
    flow = workspace.flow(name)
    if flow is None:
        find_flow(home, name)
        raise FlowValidationError(f"there is no flow {name!r}", where="flow name", fix=cli_line("list"))
    return flow


def _of_draft(flow: FlowFacts) -> FlowValidationError | None:
    """The error of a flow that production cannot run."""
    entry = flow.entry
    if entry.flow is None:
        return entry.error
    if flow.deployment_status.kind != "not_deployed":
        return None
    return not_deployed(entry.name, str(entry.path), flow.deployment_status.shares_with)


def no_daemon(home: LocalWorkspace, fix: str | None = None) -> WorkspaceError:
    """The error that no daemon runs here, with what starts it, or another `fix`."""
    return WorkspaceError(
        f"no daemon of {home.layout.workspace_id} runs on this machine",
        where=str(home.layout.root),
        fix=fix or f"start it with `{cli_line('start')}`, or Workspace.start()",
    )
