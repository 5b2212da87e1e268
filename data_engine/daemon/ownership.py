"""The ownership of one daemon: asking for the workspace, and what follows when it has it or loses it.

The keeper's thread talks to the share; everything here happens on the daemon's loop. A process that owns for one commit makes a
keeper by `keeper_of` and has no loop: asyncio, which takes a tenth of its start, is imported where there is one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Protocol, TypeVar

from data_engine.clock import boot_clock
from data_engine.deploy.sets import DeployedSets
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import OwnedElsewhereError
from data_engine.lease.folder import OsFolder, host_id, lock_id, probe, server_ahead_s, sync_client
from data_engine.lease.keeper import Keeper, KeeperRules
from data_engine.lease.observer import Observer
from data_engine.lease.older_owner import why_not_ours
from data_engine.lease.protocol import NEVER, Identity, Limits
from data_engine.lease.status import LeaseStatus, aged
from data_engine.ledger import parquet_process
from data_engine.ledger.share import SharedHistory
from data_engine.ledger.wall_clock import WallClock
from data_engine.platforms.host import host_name
from data_engine.reasons.kinds import OwnedElsewhere
from data_engine.status.build import owned_elsewhere
from data_engine.version import __version__
from data_engine.workspace.machine import machine_id

log = logging.getLogger(__name__)

PATIENCE_S = 20.0
_T = TypeVar("_T")


class Engine(Protocol):
    """The work that the ownership lets go on, holds up or ends."""

    def owned(self, *, engine_on: bool, is_again: bool) -> None:
        """Take up the workspace, which is ours now, or again; `engine_on` travelled with it."""
        ...

    def lost(self, to: str) -> None:
        """End what runs at its next step, and start nothing: somebody else owns the workspace."""
        ...

    def may_work_until(self, boot_s: float) -> None:
        """Let steps and items begin until then."""
        ...

    def noticed(self) -> None:
        """Follow a change of the ownership."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether nothing needs the workspace to be ours."""
        ...


class Ownership:
    """One daemon's ownership, by its `keeper`, which is started by whoever made it; until then nothing can be owned."""

    def __init__(self, keeper: Keeper, engine: Engine) -> None:
        import asyncio

        self.keeper = keeper
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._before = keeper.state
        self._machine_id = keeper.me.machine_id
        self.is_releasing = False
        self._users, self._is_brief, self._is_late = 0, False, False
        self._turn = asyncio.Lock()
        keeper.on_change = self._call_changed

    # -- memory only -------------------------------------------------------------------------------------------------

    def can_work(self) -> bool:
        """Whether new work may start now."""
        return not self.is_releasing and self.keeper.can_work()

    @property
    def is_held(self) -> bool:
        """Whether this daemon owns the workspace, also while it may not work because the share is away."""
        return self.keeper.state.token is not None

    @property
    def token(self) -> int | None:
        """The fencing token while this daemon owns the workspace."""
        return self.keeper.state.token

    @property
    def asks(self) -> str | None:
        """The workstation that would carry out a request: it owns the workspace, and was heard of; None without one."""
        elsewhere = self.elsewhere
        state = self.keeper.state.lease.state
        return None if elsewhere is None or state == "takeover_available" else elsewhere.owner

    @property
    def is_requested(self) -> bool:
        """Whether somebody has asked for the workspace that is ours."""
        return self.is_held and self.keeper.state.lease.requested_by is not None

    @property
    def elsewhere(self) -> OwnedElsewhere | None:
        """The workstation that owns the workspace, when it is another one."""
        return None if self.is_held else owned_elsewhere(self.keeper.state.lease, self._machine_id)

    @property
    def is_waiting(self) -> bool:
        """Whether this daemon is there to own the workspace later: it has asked for it, watches a silent owner, or its share is silent."""
        return self.keeper.is_waiting or self._is_late

    @property
    def is_for_one_commit(self) -> bool:
        """Whether the workspace is ours only until one commit is made."""
        return self._is_brief

    def lease(self) -> LeaseStatus:
        """The lease as a status shows it."""
        state = self.keeper.state
        return replace(
            aged(state.lease, self.keeper.age_s()),
            releasing=self.is_releasing,
            lapsed=self.is_held and not self.keeper.can_work() and not self.is_releasing,
            lost_to=state.lost_to,
            trouble=state.trouble,
            trouble_kinds=state.trouble_kinds,
        )

    def require_not_elsewhere(self) -> None:
        """Return when no other workstation owns the workspace.

        Raises:
            OwnedElsewhereError: one does.
        """
        if self.elsewhere is not None:
            raise OwnedElsewhereError(
                f"the workspace is {self.lease().words}",
                where="the workspace's lease",
                fix="do it there, or ask for the workspace: `data-engine lease request`",
            )

    # -- what people and the engine want --------------------------------------------------------------------------------

    async def own(self) -> None:
        """Own the workspace from here on.

        Raises:
            OwnedElsewhereError: another workstation owns it, or the share cannot be used.
        """
        await self._claim(is_brief=False)

    async def own_however_late(self, is_wanted: Callable[[], bool]) -> None:
        """Own the workspace, also when its share begins to answer late; not once it is not wanted any more.

        Raises:
            OwnedElsewhereError: another workstation owns it, or the share cannot be used.
        """
        self._is_late = False
        try:
            while is_wanted():
                try:
                    await self.own()
                except OwnedElsewhereError as error:
                    if not isinstance(error.__cause__, TimeoutError):
                        raise
                    if not self._is_late:
                        log.warning("the engine waits: %s", error)
                    self._is_late = True
                else:
                    return
        finally:
            self._is_late = False

    async def _claim(self, *, is_brief: bool) -> None:
        async with self._turn:  # not while what was owned for one commit is being given back
            if not self.is_held:
                await self.done(self.keeper.own())
                self._is_brief = is_brief
                self._changed()
            elif self.is_releasing:
                raise OwnedElsewhereError(
                    "this machine is giving the workspace up",
                    where="the workspace's lease",
                    fix="wait until that is done, then ask for it again",
                )
            self._is_brief = self._is_brief and is_brief

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        """Inside, what is owned for one commit is not given back: something that may need it longer begins here.

        The last one to leave gives it back, if one commit was all it was for.
        """
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            async with self._turn:
                is_over = self._is_brief and not self._users and self.is_held
                if is_over and self._engine.is_idle:
                    self._is_brief = False
                    await self.release()

    async def take_over(self) -> None:
        """Own the workspace of an owner that has been silent for long enough.

        Raises:
            OwnedElsewhereError: it has not been, or the share cannot be used.
        """
        await self.done(self.keeper.take_over())
        self._is_brief = False
        self._changed()

    async def publish(self, write: Callable[[], None]) -> None:
        """Do `write` on the share's thread while the workspace is ours, and publish what it has written.

        Raises:
            OwnedElsewhereError: the workspace is not ours, or is not any more; nothing was published.
            WorkspaceError: it is not known to be published.
        """
        await self.done(self.keeper.publish(write))

    @asynccontextmanager
    async def for_one_commit(self) -> AsyncIterator[None]:
        """Inside, the workspace is ours; it is given back at the end if that was all it was for.

        Raises:
            OwnedElsewhereError: another workstation owns it, or the share cannot be used.
        """
        async with self.in_use():
            await self._claim(is_brief=True)
            yield

    async def release(self) -> None:
        """Give the workspace up, to whoever has asked for it; all work has ended.

        Raises:
            OwnedElsewhereError: the share cannot be used; the workspace is kept.
        """
        await self.done(self.keeper.release(to_requester=True))
        self._changed()

    async def close(self, *, release: bool) -> None:
        """Look no longer, after giving the workspace up if wanted."""
        import asyncio

        self.keeper.on_change = lambda: None
        await asyncio.to_thread(self.keeper.close, release=release)

    async def done(self, future: Future[_T]) -> _T:
        """The keeper's answer to a request.

        Raises:
            OwnedElsewhereError: the share has not answered in time.
            whatever the future raises.
        """
        import asyncio

        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), PATIENCE_S)
        except TimeoutError as silence:
            raise share_silent(PATIENCE_S) from silence

    def _call_changed(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._changed)

    def _changed(self) -> None:
        now, before = self.keeper.state, self._before
        self._before = now
        if now.token is not None and now.token != before.token:
            # What the last token began ends before anything may go on.
            self.is_releasing = False
            self._engine.owned(engine_on=now.engine_on, is_again=now.is_again)
        elif now.token is None and before.token is not None:
            self._engine.may_work_until(NEVER)
            self.is_releasing = False
            if now.lost_to is not None:
                self._engine.lost(now.lost_to)
        if now.token is not None and now.work_until_s != before.work_until_s:
            self._engine.may_work_until(now.work_until_s)
        # A machine that was asleep may have lapsed and come back without anybody having been told in between.
        has_lapsed = before.token is not None and before.work_until_s <= boot_clock()
        if now.unaged != before.unaged or (has_lapsed and now.work_until_s != before.work_until_s):
            self._engine.noticed()


def keeper_of(where: LocalWorkspace, daemon_id: str, *, is_brief: bool = False) -> Keeper:
    """The keeper of a workspace, for the daemon that holds the workspace's lock on this machine, or `is_brief` for one commit.

    Raises:
        WorkspaceError: this machine's name or the id of its lock cannot be kept.
    """

    def limits() -> Limits:
        settings = where.settings().lease
        return Limits(settings.heartbeat_s, settings.stale_after_s)

    name = machine_id()
    host = name if os.environ.get("DATA_ENGINE_MACHINE_ID", "").strip() else host_name()
    lock = lock_id(where.local.daemon_lock_path.with_suffix(".id"))
    me = Identity(name, daemon_id, host, os.getpid(), __version__, lock, host_id())
    perform = parquet_process.collect_here if is_brief else parquet_process.WithOwnChild()
    folder = OsFolder(where.layout.workspace_state_dir)

    is_tried = False

    def why_unfit_place() -> str | None:
        """Asked before each claim. A drive that was fit once is not tried again; one that was not may be by now: a full disk gets room."""
        nonlocal is_tried
        if is_tried or (is_brief and share.has_owned):  # the drive was tried then
            return None
        if (client := sync_client(where.layout.root)) is not None:
            return (
                f"{client} copies this folder between machines, which keeps no order between them; "
                "put the workspace on a network drive or a local one"
            )
        wrong = probe(folder)
        is_tried = not wrong
        return None if is_tried else f"its drive cannot guarantee a single owner: {'; '.join(wrong)}"

    share = SharedHistory(where.ledger(), where.layout.root, perform=perform)
    observer = Observer(
        folder,
        me,
        workspace=where.local.identity,
        limits=limits(),
        holds_lock=lambda: True,  # the daemon holds it for its life
        known_list=share.known_list,
    )
    sets = DeployedSets(where)
    rules = KeeperRules(
        limits,
        unfit=lambda: why_not_ours(folder, where.layout.workspace_id) or why_unfit_place(),
        takes_over_by_itself=lambda: where.settings().lease.takeover == "auto",
        retention_days=lambda: where.settings().history.retention_days,
        judge_clock=WallClock(
            where.ledger(), lambda: server_ahead_s(where.layout.workspace_state_dir), runs=True
        ).judge,
        check_sets=sets.check,
        collect_sets=sets.collect,
    )
    return Keeper(observer, share, rules, is_brief=is_brief)


def share_silent(for_s: float) -> OwnedElsewhereError:
    """The error of a share that does not answer."""
    return OwnedElsewhereError(
        f"the shared folder has not answered for {for_s:g} s",
        where="the workspace's lease",
        fix="check whether its drive is connected; `data-engine doctor` measures it",
    )
