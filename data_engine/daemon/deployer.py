"""Keeps the deployments current by the rule of `notebook.deploy`, without importing a line of the authors' code."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.notebook.catalog import CatalogEntry, with_unreadable
from data_engine.notebook.deploy import (
    AwaitsRequest,
    Broken,
    Deploy,
    ModuleSet,
    Move,
    Quiet,
    Sighting,
    file_facts,
    next_move,
)
from data_engine.notebook.standing import Standing

_TRIES = 3
"""Of a decision that somebody else's `data-engine deploy` may have outdated."""

Describe = Callable[[Path], Awaitable[tuple[CatalogEntry, ...]]]


@dataclass(frozen=True, slots=True)
class Deployed:
    """A flow as production runs it: what it is, the set it runs from, and what of its edit is not deployed."""

    entry: CatalogEntry
    content: Path | None
    edit: Standing | None = None


@dataclass(slots=True)
class Deployer:
    """The deployed flows of one workspace. `describe` lets a worker tell of the modules in a folder, `in_use` gives the sets
    that running work holds; all other sets nobody points to are removed when flows are deployed.

    `flows` holds every deployed flow, and every module that never was good with its error and no content.
    """

    home: LocalWorkspace
    describe: Describe
    in_use: Callable[[], set[str]]
    flows: dict[str, Deployed] = field(default_factory=dict)
    _files: tuple[tuple[str, int, int, int], ...] | None = None
    _basis: object = None
    _is_quiet: bool = False
    _current: tuple[ModuleSet, dict[str, CatalogEntry]] | None = None
    _first_seen_s: dict[str, float] = field(default_factory=dict)
    _told: dict[str, dict[str, CatalogEntry]] = field(default_factory=dict)
    trouble: FlowValidationError | None = None

    async def refresh(self, *, is_start: bool = False, asked: frozenset[str] | None = frozenset()) -> bool:
        """Look at the authored folder and deploy what the rule says; whether any flow changed. `asked` None asks for all."""
        before = dict(self.flows)
        is_asked = is_start or bool(asked) or asked is None
        try:
            basis = await asyncio.to_thread(self._read_basis)
            if is_asked or self._is_quiet or basis != self._basis:
                files = basis[0]
                is_to_look = is_asked or files != self._files or self._is_set_gone()
                for _ in range(_TRIES):
                    pointers = self.home.deployments().deployed()
                    if is_to_look:
                        await self._look()
                        self._files = files
                    if is_done := await self._decide(pointers, is_start, asked):
                        break
                    is_to_look = True
                self._basis = basis if is_done else None
            self.trouble = self._unread_helpers()
        except FlowValidationError as error:
            self.trouble = error
        except OSError as error:
            self.trouble = FlowValidationError(
                f"the flow modules cannot be read: {error.strerror or error}",
                where=str(error.filename or self.home.layout.flow_modules_dir),
                fix="check whether its drive is connected and readable",
            )
        return before != self.flows

    def _read_basis(self) -> tuple[tuple[tuple[str, int, int, int], ...], object, object]:
        """What a decision rests on: while it is the same and no edit waits for its quiet time, so is the decision."""
        self.home.refresh_settings()
        files = file_facts(self.home.layout.flow_modules_dir)
        return files, self.home.deployments().facts(), self.home.settings().deploy

    def _unread_helpers(self) -> FlowValidationError | None:
        """The helpers that cannot be read; modules that cannot be tell it themselves."""
        unread = {} if self._current is None else self._current[0].unreadable
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
        """Whether somebody removed the set that holds the modules as they are now."""
        return self._current is not None and not self._current[0].folder.is_dir()

    async def _look(self) -> None:
        stored = await asyncio.to_thread(self.home.deployments().store)
        if self._current is None or self._current[0].id != stored.id:
            self._told[stored.id] = {entry.name: entry for entry in await self.describe(stored.folder)}
        told = self._told[stored.id].values()
        entries = with_unreadable(told, self.home.layout.flow_modules_dir, stored.unreadable)
        self._current = (stored, {entry.name: entry for entry in entries})

    async def _decide(self, pointers: dict[str, tuple[str, str]], is_start: bool, asked: frozenset[str] | None) -> bool:
        """Do what the rule says, where `pointers` were the deployments before the modules were looked at.

        False when somebody else has deployed meanwhile: what was looked at may be older than that, and is looked at again.
        """
        if self._current is None:
            return True
        stored, entries = self._current
        deployments = self.home.deployments()
        settings = self.home.settings().deploy
        now_s = time.monotonic()
        moves: dict[str, Move] = {}
        for name, entry in entries.items():
            digest = stored.digests.get(name, "")
            seen_s = self._first_seen_s.setdefault(f"{name} {digest}", now_s)
            sighting = Sighting(
                current=digest,
                deployed=pointers[name][1] if name in pointers else None,
                error=None if entry.error is None else str(entry.error),
                unchanged_for_s=now_s - seen_s,
                is_asked=asked is None or name in asked,
            )
            moves[name] = next_move(sighting, mode=settings.mode, quiet_s=settings.quiet_s, is_start=is_start)
        self._is_quiet = any(isinstance(move, Quiet) for move in moves.values())
        going = {name for name, move in moves.items() if isinstance(move, Deploy)}
        gone = set(pointers) - set(entries)
        is_done = deployments.update(pointers, stored, going, gone)
        if is_done and (going or gone):
            deployments.collect(self.in_use() | {stored.id})
        await self._tell(moves)
        return is_done

    async def _tell(self, moves: dict[str, Move]) -> None:
        assert self._current is not None
        entries = self._current[1]
        deployments = self.home.deployments()
        root = self.home.local.runtime_dir / "deployments"
        flows: dict[str, Deployed] = {}
        for name, (set_id, _) in deployments.deployed().items():
            if set_id not in self._told:
                self._told[set_id] = {entry.name: entry for entry in await self.describe(root / set_id)}
            entry = self._told[set_id].get(name)
            if entry is not None:
                move = moves.get(name)
                edit = None
                if isinstance(move, (Quiet, AwaitsRequest, Broken)):  # only those need a look at the share
                    edit = await asyncio.to_thread(self._edit, name, move)
                flows[name] = Deployed(entry, root / set_id, edit)
        for name, entry in entries.items():
            if name not in flows:
                flows[name] = Deployed(entry, None)
        self.flows = flows

    def _edit(self, name: str, move: Quiet | AwaitsRequest | Broken) -> Standing:
        cells = self.home.deployments().changed_cells(name) or ()
        return Standing("edited", cells, move.error if isinstance(move, Broken) else None)
