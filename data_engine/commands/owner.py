"""Whoever owns the workspace just now, as commands need it: a daemon, also for another workstation, or a process for one commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from data_engine.record import frozen

if TYPE_CHECKING:
    from data_engine.lease.status import LeaseStatus
    from data_engine.ledger.switch import Switch
    from data_engine.model import Backfill
    from data_engine.planning.backfill import Wanted


@frozen
class Asker:
    """Who asks: a person on a machine; of a request of another workstation also who owns its file there, and its id."""

    by: str
    machine: str
    file_owner: str | None = None
    request_id: str | None = None

    @property
    def who(self) -> str:
        """As a run and a deployment name who began it."""
        return f"{self.by}@{self.machine}"

    @classmethod
    def here(cls) -> Asker:
        """The person whom this process belongs to."""
        from data_engine.workspace.machine import person

        return cls(*person())


class DaemonWork(Protocol):
    """What only a daemon does: runs and backfills, and what is found out for another workstation that is asked."""

    async def run(self, flow: str, source: str | None, params: dict[str, Any]) -> list[str]:
        """Let a flow run once for each source, or for one; the ids of its runs."""

    async def ends_of(self, run_ids: list[str]) -> list[str | None]:
        """The status of each run, when all have ended."""

    async def backfill(
        self, flow: str, wanted: Wanted, params: dict[str, Any], *, is_dry: bool, digest: str | None
    ) -> Backfill:
        """Run a flow again for what is wanted."""

    async def stop_backfill(self, backfill_id: str) -> Backfill:
        """Begin no more runs of a backfill."""

    async def retry_backfill(self, backfill_id: str) -> Backfill:
        """Run again what failed of a backfill."""

    def known_backfill(self, backfill_id: str) -> tuple[str, str]:
        """The whole id of the backfill whose id begins so, and its flow."""

    async def require_flow(self, flow: str) -> None:
        """Return when there is such a flow, or a module that could be one."""

    async def put_set(self) -> str:
        """Put the modules as they are now where other workstations find them; the id of their set."""

    async def compared(self, set_id: str, flow: str | None) -> dict[str, Any]:
        """How the notebook of the flow, or each one, compared with its kernel on this machine, by its content in the set."""

    def checked_params(self, flow: str, params: dict[str, Any]) -> dict[str, Any]:
        """The params as the flow takes them."""

    def inside_source(self, flow: str, path: str) -> str:
        """A source file by its path inside the flow's source, which is the same on every machine."""


class Owner(Protocol):
    """What commands are carried out with. Each method raises `FlowValidationError` where the owner refuses, as it finds things under its
    lock; `OwnedElsewhereError` where the workspace is another's."""

    @property
    def asker(self) -> Asker:
        """Who asks for what is carried out."""

    @property
    def work(self) -> DaemonWork:
        """What a daemon does; a process for one commit has none."""

    @property
    def production(self) -> Any:
        """What changes which code runs: `deployments.ChangesProduction`."""

    async def switch(self, flow: str, switch: Switch) -> None:
        """Let a flow run by itself, or not."""

    async def stop_flow(self, flow: str) -> tuple[list[str], bool]:
        """Ask the runs of a flow to end, and begin none that waits; their ids, and whether it was disabled for that."""

    async def end_run(self, run_id: str, *, kill: bool) -> tuple[str, bool]:
        """Ask a run to end, or end its process; its id, and whether it had not begun."""

    async def retry(self, flow: str | None, source: str | None) -> int:
        """Hold sources no longer; how many were."""

    async def reset(self, flow: str | None) -> int:
        """Forget history and freshness; how many runs went."""

    async def turn_engine(self, *, is_on: bool) -> None:
        """Let flows run by themselves, or not."""

    async def shut_down(self, *, kill: bool) -> None:
        """End the daemon."""

    async def use_interpreter(self, path: str) -> None:
        """Let workers run with this Python."""

    async def look(self) -> None:
        """Look at the modules, and at what is deployed."""

    async def lease(self, do: str, *, now: bool = False, client: str = "ui") -> tuple[LeaseStatus, str | None]:
        """Do something about the ownership; the lease as it is then, and what is said of it."""
