"""How a deploy, an undeploy and a rollback are carried out: once, for a daemon and for a process that owns the workspace for one commit."""

from __future__ import annotations

import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from data_engine.commands.command import Asker
from data_engine.commands.deployments import Deploy, Outcome, Rollback, Undeploy
from data_engine.deploy.deploying import (
    Decision,
    Looked,
    decision,
    done_already,
    new_deployments,
    rolled_back,
    withdrawal,
)
from data_engine.deploy.gate import GoldenGate
from data_engine.deploy.sets import mend
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.ledger import deployments as ledger_rows
from data_engine.model import Deployment, utc_text
from data_engine.notebook.catalog import CatalogEntry
from data_engine.notebook.deploy import HeldBack, Move, SharesMirror, shares_mirror_error
from data_engine.notebook.mirror_warnings import shared_words
from data_engine.status.deployed_before import find_flow
from data_engine.workspace.machine import person

T = TypeVar("T")


class Production(ABC):
    """What a workspace runs, as its owner changes it. An owner says how it owns the workspace, looks at modules and publishes, and where
    it does what blocks; `gate` holds back what its goldens do not let go live."""

    __slots__ = ()

    home: LocalWorkspace
    gate: GoldenGate

    @abstractmethod
    def owned(self, look: Callable[[], Coroutine[Any, Any, T]]) -> AbstractAsyncContextManager[T]:
        """Own the workspace until the end of the block, which gets what `look` gives.

        Raises:
            OwnedElsewhereError: another workstation owns it, or the share cannot be used.
        """

    @abstractmethod
    async def look(self, asked: Deploy) -> Looked:
        """The modules as they are now, or as they are in the set that is asked for."""

    @abstractmethod
    async def publish(self, rows: list[Deployment]) -> None:
        """Put the sets of these deployments on the share, and let them be what flows run.

        Raises:
            FlowValidationError: it cannot be published.
            OwnedElsewhereError: the workspace is not ours any more.
        """

    @abstractmethod
    async def call(self, work: Callable[..., T], *given: object) -> T:
        """What `work` gives, which may block."""

    @abstractmethod
    async def follow(self) -> None:
        """Show what was published, where somebody sees it."""

    def unchanged_for_s(self, name: str, digest: str) -> float:
        """How long a module has had a digest, as far as that counts."""
        return 0.0

    async def deploy(self, asked: Deploy, asker: Asker) -> Outcome:
        """Deploy the module that was asked for, or every one.

        Raises:
            FlowValidationError: there is no such module, or it cannot be published.
            DamagedSetError: the set on the share is not what its name says.
        """
        if asked.flow is not None and asked.set_id is None:
            await self.call(find_flow, self.home, asked.flow)
        damaged = await self.call(_damaged, self.home, asked)  # before the modules are put on the share again
        async with self.owned(lambda: self.look(asked)) as looked:
            await self.take_over_local()
            if asked.flow is not None and asked.flow not in looked.entries:
                place = self.home.layout.flow_modules_dir if asked.set_id is None else f"the set {asked.set_id[:8]}"
                what = f"there is no flow {asked.flow!r} to deploy"
                raise FlowValidationError(what, where=str(place), fix="save the notebook first")
            decided = await self.decide(looked, asked, damaged=damaged)
            rows = await self.put_live(looked, decided, asked, asker)
        await self.follow()
        return Outcome(
            answered(looked, decided, asked),
            tuple(rows),
            tuple(sorted(decided.gone)),
            mended=tuple(sorted(decided.mended)),
            lost=tuple(sorted(decided.lost)),
        )

    async def undeploy(self, asked: Undeploy, asker: Asker) -> Outcome:
        """Run a flow no more.

        Raises:
            FlowValidationError: it is not deployed, or would be deployed again by itself.
        """
        row = await self._add(asked, lambda: withdrawal(self.home, asked, asker))
        return Outcome((), (row,), (row.flow,))

    async def roll_back(self, asked: Rollback, asker: Asker) -> Deployment:
        """Let a flow run what it ran before.

        Raises:
            FlowValidationError: there is nothing to go back to.
        """
        return await self._add(asked, lambda: rolled_back(self.home, asked, asker))

    async def _add(self, asked: Undeploy | Rollback, make: Callable[[], Deployment]) -> Deployment:
        async with self.owned(_nothing):
            await self.take_over_local()
            row = await self.call(done_already, self.home, asked)
            if row is None:
                row = await self.call(make)
                await self.publish([row])
        await self.follow()
        return row

    async def decide(
        self, looked: Looked, asked: Deploy | None, *, by_itself: bool = False, damaged: Collection[str] = ()
    ) -> Decision:
        """What to do about the modules, and about those flows of which files were `damaged`.

        Raises:
            FlowValidationError: what was asked for cannot be.
        """
        return await self.call(
            lambda: decision(
                self.home,
                looked,
                asked,
                self.gate,
                by_itself=by_itself,
                unchanged_for_s=self.unchanged_for_s,
                damaged=damaged,
            )
        )

    async def put_live(self, looked: Looked, decided: Decision, asked: Deploy | None, asker: Asker) -> list[Deployment]:
        """Publish what was decided; the rows that say it.

        Raises:
            FlowValidationError: it cannot be published.
        """
        if not (decided.going or decided.gone):
            return []
        rows = await self.call(new_deployments, self.home, looked, decided, asked, asker)
        await self.publish(rows)
        return rows

    async def take_over_local(self) -> None:
        """Let what was deployed on this machine, before deployments travelled, be the first of the workspace's; once.

        Raises:
            OwnedElsewhereError, WorkspaceError: it cannot be published; another time it is.
        """
        rows = await self.call(_deployed_locally, self.home)
        if rows:
            await self.publish(rows)
        path = _local_list(self.home)
        with suppress(OSError):
            path.replace(path.with_suffix(".taken"))


async def _nothing() -> None:
    """There is nothing to look at."""


def _damaged(home: LocalWorkspace, asked: Deploy) -> set[str]:
    """The flows that are asked for of which a file of what they run is missing or damaged; none where the share is away, which is told
    by what needs it."""
    flows = list(filter(asked.is_about, home.deployments().deployed()))
    with suppress(OSError):
        if flows:
            found = mend(home, flows, may_write=False)
            return {*found.mended, *found.lost}
    return set()


def _deployed_locally(home: LocalWorkspace) -> list[Deployment]:
    """The rows for what this machine alone had deployed; of no flow that has a history already, nor without its set."""
    try:
        found = json.loads(_local_list(home).read_text(encoding="utf-8"))
        pointers = {str(name): (str(value["set"]), str(value["digest"])) for name, value in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []
    known = {one.flow for one in ledger_rows.published(home.ledger())}
    sets = home.deployments()
    there = {set_id for set_id in {set_id for set_id, _ in pointers.values()} if sets.contents_of(set_id) is not None}
    note, at_utc = "was deployed on this machine before deployments travelled", utc_text(time.time())
    return [
        Deployment(uuid.uuid4().hex, 0, name, "deploy", set_id, digest, *person(), at_utc, note)
        for name, (set_id, digest) in sorted(pointers.items())
        if name not in known and set_id in there
    ]


def _local_list(home: LocalWorkspace) -> Path:
    return home.local.runtime_dir / "deployments" / "deployed.json"


def answered(looked: Looked, decided: Decision, asked: Deploy) -> tuple[CatalogEntry, ...]:
    """The modules that a person asked for, each with why it was not deployed; who asks for every one did not ask for those that
    somebody undeployed. What a refusal says of two flows and their mirror is not said again as a warning."""
    left_out, moves = decided.undeployed if asked.flow is None else (), decided.moves
    about = {name: one for name, one in looked.entries.items() if asked.is_about(name) and name not in left_out}
    told = {
        shared_words(Path(entry.mirror), (name, move.other))
        for name, entry in about.items()
        if isinstance(move := moves.get(name), SharesMirror) and entry.mirror is not None
    }
    entries = (_refused(entry, moves.get(name)) for name, entry in sorted(about.items()))
    return tuple(replace(one, warnings=tuple(w for w in one.warnings if w not in told)) for one in entries)


def _refused(entry: CatalogEntry, move: Move | None) -> CatalogEntry:
    """The entry with its error where it was asked for and a person has to say more."""
    if isinstance(move, HeldBack):
        return replace(entry, error=move.error)
    if isinstance(move, SharesMirror):
        error = shares_mirror_error(entry.name, entry.mirror, str(entry.path), move.other, is_gone=move.is_gone)
        return replace(entry, error=error)
    return entry
