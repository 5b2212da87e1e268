"""The deployed flows of a daemon, by the rule of `notebook.deploy`, without importing a line of the authors' code."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from data_engine.commands.command import Asker
from data_engine.commands.deployments import Deploy
from data_engine.daemon.ownership import Ownership
from data_engine.deploy.deploying import DeployDecision, Looked, Production, write_deployments
from data_engine.deploy.gate import GoldenGate, golden_facts
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError, OwnedElsewhereError
from data_engine.flow.spec import title_text
from data_engine.ledger import deployments as ledger_rows
from data_engine.model import Deployment
from data_engine.notebook import deployment_status
from data_engine.notebook.catalog import CatalogEntry, with_no_steps_refused, with_unreadable
from data_engine.notebook.deploy import Move, sharing
from data_engine.notebook.deployment_status import NOT_DEPLOYED, DeploymentStatus
from data_engine.notebook.deployments import Pointer
from data_engine.notebook.flow_files import not_flows, notebooks_in_subfolders
from data_engine.notebook.module_sets import ModuleSet, file_facts
from data_engine.record import frozen
from data_engine.workspace.machine import person

log = logging.getLogger(__name__)

_AWAY = "away"

T = TypeVar("T")

Describe = Callable[[Path], Awaitable[tuple[CatalogEntry, ...]]]


@frozen
class Deployed:
    """A flow as production runs it: what it is, the set it runs from (None: from none), how its module stands to that, and
    the deployment that decided it."""

    entry: CatalogEntry
    content: Path | None
    edit: DeploymentStatus | None = None
    deployment: Deployment | None = None

    @property
    def is_live(self) -> bool:
        """Whether production can run it."""
        return self.content is not None and self.entry.flow is not None


@dataclass(slots=True)
class Deployer(Production):
    """The deployed flows of one workspace. `describe` lets a worker describe the modules in a folder, `in_use` gives the sets
    that running work holds; all other sets nobody points to are removed when flows are deployed. `ownership` publishes deployments,
    `may_publish` says whether what is due by itself may be deployed from here, `interpreter` what runs the goldens that hold a deploy back;
    `on_change` is called after a person changed what runs.

    `flows` holds every deployed flow, and every module that is not deployed with no content; `not_flows` names notebooks that
    look like flows and are none. `shown_mark` is that of the published deployments (`published_mark`) that `flows` shows.
    """

    home: LocalWorkspace
    describe: Describe
    in_use: Callable[[], set[str]]
    ownership: Ownership
    may_publish: Callable[[], bool]
    interpreter: Callable[[], str] = lambda: sys.executable
    on_change: Callable[[], None] = lambda: None
    gate: GoldenGate = field(init=False)
    flows: dict[str, Deployed] = field(default_factory=dict)
    shown_mark: tuple[int, int] = (0, 0)
    _files: tuple[tuple[str, int, int, int], ...] | None = None
    _basis: object = None
    _known_pointers: dict[str, Pointer] = field(default_factory=dict)
    _pointers_at: tuple[int, int] | None = None
    _is_quiet: bool = False
    _current: Looked | None = None
    _first_seen_s: dict[str, float] = field(default_factory=dict)
    _entries: dict[str, dict[str, CatalogEntry]] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _going_live: asyncio.Lock = field(default_factory=asyncio.Lock)
    trouble: FlowValidationError | None = None
    not_flows: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.gate = GoldenGate(self.home, self.interpreter)

    async def refresh(self) -> bool:
        """Look at the authored folder and what is deployed, and deploy what is due by itself; whether any flow changed."""
        before = dict(self.flows), self.not_flows
        async with self._lock:
            try:
                mark = ledger_rows.published_mark(
                    self.home.ledger()
                )  # of before: what comes meanwhile is looked at again
                basis = await asyncio.to_thread(self._read_basis)
                is_gone = self._is_set_gone()
                if self._is_quiet or basis != self._basis or is_gone:
                    if basis[0] != self._files or is_gone:
                        await self._look()
                        self._files = basis[0]
                    if self._current is not None:
                        await self._put_live_by_itself(self._current)
                    self._basis = basis  # of before: what changed meanwhile, here or elsewhere, is looked at once more
                else:
                    self.shown_mark = mark  # it changed nothing of what runs
                self.trouble = self._unread_helpers()
            except (
                OwnedElsewhereError
            ) as error:  # what goes live by itself does so there; a share that is silent is a trouble
                self.trouble = error if self.ownership.elsewhere is None else self._unread_helpers()
            except FlowValidationError as error:
                self.trouble = error
            except OSError as error:
                self.trouble = FlowValidationError(
                    f"the flow modules cannot be read: {error.strerror or error}",
                    where=str(error.filename or self.home.layout.flow_modules_dir),
                    fix="check whether its drive is connected and readable",
                )
        return before != (self.flows, self.not_flows)

    async def settled(self) -> None:
        """Return when `flows` are what is deployed: what is going live is, and what was published is known here."""
        async with self._going_live:
            pass
        if ledger_rows.published_mark(self.home.ledger()) != self.shown_mark:
            await self.refresh()

    @asynccontextmanager
    async def owned(self, look: Callable[[], Coroutine[Any, Any, T]]) -> AsyncIterator[T]:
        """Own the workspace until the end of the block, in which nothing goes live by itself."""
        async with self.ownership.for_one_commit(), self._lock:
            self._basis = None  # what this changes may be changed back before the next look
            yield await look()

    async def look(self, asked: Deploy) -> Looked:
        """The modules as they are now, or as they are in the set that is asked for, described by a worker."""
        if asked.set_id is None:
            return await self._look()
        return await self._described(await self.call(self.home.deployments().copy_of, asked.set_id))

    async def publish(self, rows: list[Deployment]) -> None:
        """Let these deployments be what flows run."""
        async with self.ownership.for_one_commit():
            await self.ownership.publish(lambda: write_deployments(self.home, rows))

    async def call(self, work: Callable[..., T], *arguments: object) -> T:
        """Do `work` in a thread: others do not wait for it."""
        return await asyncio.to_thread(work, *arguments)

    async def follow(self) -> None:
        """Show what runs now, and let the daemon follow."""
        await self.settled()
        self.on_change()

    async def decide(
        self, looked: Looked, asked: Deploy | None, *, by_itself: bool = False, damaged: Collection[str] = ()
    ) -> DeployDecision:
        """Decide about the modules; what nobody asked for waits for its quiet time."""
        decided = await Production.decide(self, looked, asked, by_itself=by_itself, damaged=damaged)
        self._is_quiet = any(move.kind == "quiet" for move in decided.moves.values())
        if asked is None:
            away = self._away_for_a_moment(decided.gone - set(decided.renames.values()), looked)
            decided = replace(decided, gone=decided.gone - away)
        return decided

    async def put_live(
        self, looked: Looked, decided: DeployDecision, asked: Deploy | None, asker: Asker
    ) -> list[Deployment]:
        """Publish what was decided, and show it; a run waits for that."""
        shown = dict(decided.moves) if looked is self._current else {}
        if not (decided.going or decided.gone):
            await self._tell(shown)
            return []
        async with self._going_live:
            try:
                rows = await Production.put_live(self, looked, decided, asked, asker)
            except FlowValidationError:
                await self._tell(shown)  # what is there is shown all the same
                raise
            self.home.deployments().collect(self.in_use() | {looked.stored.id})
            await self._tell(shown)
        return rows

    async def _put_live_by_itself(self, looked: Looked) -> None:
        """Deploy by the rule what nobody asked for."""
        is_auto = self.home.settings().deploy.mode == "auto" and self.home.settings_error() is None
        by_itself = is_auto and self.may_publish()
        decided = await self.decide(looked, None, by_itself=by_itself)
        await self.put_live(looked, decided, None, Asker("data-engine", person()[1]))

    def _read_basis(self) -> tuple[tuple[tuple[str, int, int, int], ...], object, object]:
        """What a decision rests on: while it is the same and no edit waits for its quiet time, so is the decision."""
        self.home.refresh_settings()
        files = file_facts(self.home.layout.flow_modules_dir)
        deploy = self.home.settings().deploy, self.home.settings_error() is None
        return files, self._pointers(), (deploy, self.may_publish(), golden_facts(self.home))

    def _pointers(self) -> dict[str, Pointer]:
        version = self.home.ledger().version()
        if version != self._pointers_at:
            self._known_pointers, self._pointers_at = self.home.deployments().deployed(), version
        return self._known_pointers

    def _unread_helpers(self) -> FlowValidationError | None:
        """The trouble of helpers that cannot be read; unreadable modules have an error of their own."""
        unread = {} if self._current is None else self._current.stored.unreadable
        helpers = {name: why for name, why in unread.items() if "/" in name}
        if not helpers:
            return None
        name, why = next(iter(helpers.items()))
        more = f" (and {len(helpers) - 1} more)" if len(helpers) > 1 else ""
        return FlowValidationError(
            f"{name} cannot be read{more}: {why}; flows that need it stay as they are deployed",
            where=str(self.home.layout.flow_modules_dir / name),
            fix="check that the file is readable",
        )

    def _is_set_gone(self) -> bool:
        """Whether somebody removed this machine's copy of a set: of the modules as they are now, or of what is deployed."""
        folders = {flow.content for flow in self.flows.values() if flow.content is not None}
        if self._current is not None:
            folders.add(self._current.stored.folder)
        return not all(folder.is_dir() for folder in folders)

    async def _look(self) -> Looked:
        folder = self.home.layout.flow_modules_dir
        below = await asyncio.to_thread(notebooks_in_subfolders, folder)
        self.not_flows = await asyncio.to_thread(not_flows, folder, below)
        stored = await asyncio.to_thread(self.home.deployments().store)
        if self._current is None or self._current.stored.id != stored.id or self._current.stored != stored:
            self._current = await self._described(stored)
        self._current = replace(self._current, moved=frozenset(Path(path).stem for path in below))
        return self._current

    async def _described(self, stored: ModuleSet) -> Looked:
        catalog = await self._entries_of(stored.id, stored.folder)
        entries = with_unreadable(catalog.values(), self.home.layout.flow_modules_dir, stored.unreadable)
        return Looked(stored, {entry.name: entry for entry in with_no_steps_refused(entries)})

    async def _entries_of(self, set_id: str, folder: Path) -> dict[str, CatalogEntry]:
        if set_id not in self._entries:
            self._entries[set_id] = {entry.name: entry for entry in await self.describe(folder)}
        return self._entries[set_id]

    def _away_for_a_moment(self, gone: Collection[str], looked: Looked) -> set[str]:
        """The flows to be withdrawn by themselves whose module has not been away for the quiet time yet."""
        for name in looked.entries:
            self._first_seen_s.pop(f"{name} {_AWAY}", None)
        quiet_s = self.home.settings().deploy.quiet_s
        stay = {name for name in gone if self.unchanged_for_s(name, _AWAY) < quiet_s}
        self._is_quiet = self._is_quiet or bool(stay)
        return stay

    def unchanged_for_s(self, name: str, digest: str) -> float:
        """How long this daemon has seen the module so."""
        now_s = time.monotonic()
        return now_s - self._first_seen_s.setdefault(f"{name} {digest}", now_s)

    async def _tell(self, moves: dict[str, Move]) -> None:
        assert self._current is not None
        entries, deployments = self._current.entries, self.home.deployments()
        mark = ledger_rows.published_mark(self.home.ledger())  # of before: what comes meanwhile is looked at again
        pointers = deployments.deployed()
        live = deployment_status.live_deployments(ledger_rows.published(self.home.ledger()))
        authored = None
        flows: dict[str, Deployed] = {}
        for name, pointer in pointers.items():
            try:
                stored = await asyncio.to_thread(self._copy_of, pointer.set_id)
                catalog = await self._entries_of(pointer.set_id, stored)
            except FlowValidationError as error:
                log.warning("%s cannot be run: %s", name, error)
                path = self.home.layout.flow_modules_dir / name
                flows[name] = Deployed(CatalogEntry(name, path, title_text(name, "Flow"), error=error), None)
                continue
            entry = catalog.get(name)
            if entry is None:
                continue
            edit = None
            move = moves.get(name, Move("up_to_date") if name in entries else None)
            if move is None or move.kind not in ("up_to_date", "deploy"):  # only those need a look at the share
                if authored is None:
                    authored = await asyncio.to_thread(deployments.authored)
                edit = await asyncio.to_thread(deployments.edit, name, authored)
            status = None if edit is None else _with_move(name, edit, move)
            flows[name] = Deployed(entry, stored, status, live.get(name))
        for name, entry in entries.items():
            if name not in flows:
                status = replace(NOT_DEPLOYED, digest=self._current.stored.digests.get(name, ""))
                flows[name] = Deployed(entry, None, _with_move(name, status, moves.get(name)))
        used = {pointer.set_id for pointer in pointers.values()} | {self._current.stored.id}
        self._entries = {set_id: catalog for set_id, catalog in self._entries.items() if set_id in used}
        self.flows, self.shown_mark = flows, mark

    def _copy_of(self, set_id: str) -> Path:
        deployments = self.home.deployments()
        return deployments.root / set_id if deployments.has(set_id) else deployments.copy_of(set_id).folder


def _with_move(name: str, status: DeploymentStatus, move: Move | None) -> DeploymentStatus:
    """The deployment status with what the rule says of it: its error, or when it goes live by itself."""
    if move is None:
        return status
    if move.kind == "broken":  # of a module that is not deployed the entry has it
        return replace(status, error=str(move.error)) if status.is_edited else status
    if move.kind == "held_back" and move.error is not None:
        return replace(status, error=move.error.what)
    if move.kind == "quiet":
        return replace(status, goes_live_s=time.time() + move.left_s)
    return sharing(name, status, move.other) if move.kind == "shares_mirror" else status
