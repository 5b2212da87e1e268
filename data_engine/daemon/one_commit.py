"""A process as the owner of a workspace, without a daemon: for one commit, and for what is remembered for the next daemon."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from data_engine import private
from data_engine.commands.owner import Asker, DaemonWork
from data_engine.daemon.control import DaemonGoneError
from data_engine.daemon.endpoint import remember_engine, remember_stop
from data_engine.daemon.ownership import keeper_of
from data_engine.deploy.decision import decision
from data_engine.deploy.deploying import (
    Asked,
    Looked,
    Outcome,
    answered,
    done_already,
    new_deployments,
    require_found,
    rolled_back,
    withdrawal,
    write_deployments,
)
from data_engine.deploy.gate import GoldenGate
from data_engine.deploy.taken_over import forget_local, local_deployments
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import OwnedElsewhereError
from data_engine.lease.keeper import Keeper
from data_engine.lease.status import LeaseStatus
from data_engine.ledger.switch import Switch
from data_engine.locks import OsLock
from data_engine.model import Deployment
from data_engine.notebook.catalog import read_catalog, with_unreadable
from data_engine.notebook.deploy import with_no_steps_refused
from data_engine.notebook.flow_files import module_files
from data_engine.notebook.load import FlowModules
from data_engine.notebook.subfolders import moved_into_subfolders, notebooks_in_subfolders
from data_engine.status.deployed_before import find_flow
from data_engine.status.offline import reset_offline

_LOCK_S = 0.5
_PATIENCE_S = 30.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProcessOwner:
    """The owner that this process is while no daemon of the workspace runs here. Its methods wait for nothing but the share, so that
    `run_now` carries a command out."""

    home: LocalWorkspace

    @property
    def asker(self) -> Asker:
        """The person whom this process belongs to."""
        return Asker.here()

    @property
    def work(self) -> DaemonWork:
        """It has none."""
        from data_engine.daemon.refusals import no_daemon

        raise no_daemon(self.home)

    async def deploy(self, asked: Asked, set_id: str | None = None) -> Outcome:
        """Deploy what was asked for, or withdraw it."""
        home = self.home
        if asked.is_withdrawal:
            return self._withdraw(asked)
        deployments, modules = home.deployments(), home.modules()
        found: list[Looked] = []
        put: set[str] = set()

        def look() -> None:
            stored = deployments.store()
            content = FlowModules(modules.folder, cache_dir=modules.cache_dir, content=stored.folder)
            read = with_unreadable(read_catalog(content, only=asked.name), modules.folder, stored.unreadable)
            with suppress(OSError):  # told where it is needed
                home.deployment_files().put(deployments.contents_of(stored.id) or {})
                put.add(stored.id)
            entries = {one.name: one for one in with_no_steps_refused(read) if asked.is_about(one.name)}
            found.append(Looked(stored, entries, moved_into_subfolders(notebooks_in_subfolders(modules.folder))))

        with deployments.keeping_sets(), owning(home, look) as keeper:
            (looked,) = found
            require_found(asked.name, looked, str(modules.folder))
            take_over_local(home, lambda write: publish(keeper, write))
            decided = decision(
                home,
                looked,
                asked,
                GoldenGate(home),
                pointers=deployments.deployed(),
                is_all=asked.name is None,
                goes_live=True,
                unchanged_for_s=lambda name, digest: 0.0,
            )
            rows = new_deployments(home, looked, decided.going, decided.gone, asked, decided.renames)
            if rows:
                publish(keeper, lambda: write_deployments(home, rows, put))
            entries = answered(looked, decided.moves, asked, decided.undeployed)
        return Outcome(entries, tuple(rows), tuple(sorted(decided.gone)))

    def _withdraw(self, asked: Asked) -> Outcome:
        home = self.home
        with owning(home) as keeper:
            take_over_local(home, lambda write: publish(keeper, write))
            if (row := done_already(home, asked)) is None:
                row = made = withdrawal(home, module_files(home.layout.flow_modules_dir), asked)
                publish(keeper, lambda: write_deployments(home, [made]))
        return Outcome((), (row,), (row.flow,))

    async def roll_back(self, flow: str, to: str | None, asked: Asked) -> Deployment:
        """Let `flow` run what it ran before."""
        home = self.home
        with owning(home) as keeper:
            take_over_local(home, lambda write: publish(keeper, write))
            if (done := done_already(home, asked)) is not None:
                return done
            row = rolled_back(home, flow, to, asked)
            publish(keeper, lambda: write_deployments(home, [row]))
            return row

    async def switch(self, flow: str, switch: Switch) -> None:
        """Let the flow run by itself or not."""
        home = self.home
        if flow not in home.deployments().deployed():  # which runs on where its module is gone
            find_flow(home, flow)
        with owning(home) as keeper:
            publish(keeper, lambda: home.ledger().set_switch(flow, switch))

    async def stop_flow(self, flow: str) -> tuple[list[str], bool]:
        """No run is its own."""
        from data_engine.daemon.refusals import no_stop_here

        raise no_stop_here(self.home, flow)

    async def end_run(self, run_id: str, *, kill: bool) -> tuple[str, bool]:
        """No run is its own."""
        from data_engine.daemon.refusals import no_stop_run_here

        raise no_stop_run_here(self.home, run_id)

    async def retry(self, flow: str | None, source: str | None) -> int:
        """Nothing is tried again without a daemon."""
        from data_engine.daemon.refusals import no_retry_here

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
        """The next daemon reads which was recorded."""

    async def look(self) -> None:
        """The next daemon looks by itself."""

    async def lease(self, do: str, *, now: bool = False, client: str = "ui") -> tuple[LeaseStatus, str | None]:
        """The lease as one look shows it: there is nothing of this machine to withdraw or to give up."""
        return self.home.lease(), None


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that waits for nothing; the thread may have an event loop that runs.

    Example:
        >>> async def three() -> int:
        ...     return 3
        >>> run_now(three())
        3
    """
    try:
        work.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
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


def take_over_local(home: LocalWorkspace, publish_rows: Callable[[Callable[[], None]], None]) -> None:
    """Let what was deployed on this machine, before deployments travelled, be the first of the workspace's; once.

    Raises:
        OwnedElsewhereError, WorkspaceError: it cannot be published; another time it is.
    """
    rows = local_deployments(home)
    if rows:
        publish_rows(lambda: write_deployments(home, rows))
    forget_local(home)


def _result(future: Future[None]) -> None:
    try:
        future.result(_PATIENCE_S)
    except FutureTimeoutError:
        raise OwnedElsewhereError(
            f"the shared folder has not answered for {_PATIENCE_S:g} s",
            where="the workspace's lease",
            fix="check whether its drive is connected; `data-engine doctor` measures it",
        ) from None
