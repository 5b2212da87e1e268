"""A command as a value: its fields, its reasons to be refused, its form in a request, and what its owner does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from data_engine.errors import FlowValidationError, OwnedElsewhereError
from data_engine.lease.status import shown_machine
from data_engine.record import Record, frozen

if TYPE_CHECKING:
    from data_engine.lease.status import LeaseStatus
    from data_engine.model import ActiveRun, Backfill, Switch
    from data_engine.planning.backfill import Wanted
    from data_engine.status.record import FlowStatus, WorkspaceStatus


OTHERS = ("owned", "control_requested", "takeover_available")
"""The states in which a workstation has control, or had it until it fell silent."""


@frozen
class Refusal:
    """Why a command is not carried out now: its button is disabled, and asking for it all the same fails."""

    kind: str
    sentence: str
    fix: str = ""

    def error(self, where: str) -> FlowValidationError:
        """The refusal as an error."""
        kind = OwnedElsewhereError if self.kind == "owned_elsewhere" else FlowValidationError
        return kind(self.sentence, where=where, fix=self.fix or None)


class Situation:
    """The status as this machine (`machine_id`) reads it; `look` makes it when it is first needed."""

    def __init__(self, look: Callable[[], WorkspaceStatus], machine_id: str | None = None) -> None:
        self._look, self.machine_id = look, machine_id

    @cached_property
    def status(self) -> WorkspaceStatus:
        """The status."""
        return self._look()

    # -- the workspace ---------------------------------------------------------------------------------------------------

    @property
    def elsewhere(self) -> Refusal | None:
        """The refusal while another workstation has control, or nobody can see who has."""
        lease = self.status.lease
        if lease.state in ("unreachable", "damaged"):
            return Refusal("owned_elsewhere", f"the workspace is {lease.line}")
        if lease.state not in OTHERS or self.is_mine:
            return None
        return Refusal("owned_elsewhere", f"{shown_machine(lease.owner)} has control of this workspace")

    @property
    def owner_is_silent(self) -> Refusal | None:
        """The refusal while the workstation that has control cannot be asked, because it is silent."""
        return None if self.status.lease.state in ("owned", "control_requested") else self.elsewhere

    @property
    def is_mine(self) -> bool:
        """Whether this workstation has control."""
        return self.status.lease.is_mine

    @property
    def is_asked_from_here(self) -> bool:
        """Whether this workstation has asked for control."""
        asking = self.status.lease.requested_by
        return asking is not None and self.machine_id is not None and asking["machine_id"] == self.machine_id

    @property
    def no_daemon(self) -> Refusal | None:
        """The refusal without a daemon."""
        return unless(self.status.daemon.running, "no_daemon", "no daemon runs here")

    @property
    def is_leaving(self) -> bool:
        """Whether the daemon only waits for its running work."""
        return self.status.engine.stopping or self.status.daemon.ending

    @property
    def leaving(self) -> Refusal | None:
        """The refusal while the daemon only waits for its running work."""
        if not self.is_leaving:
            return None
        fix = "wait until it has ended and start it again, or end it now with `data-engine kill`"
        return Refusal("daemon_ending", "the daemon is ending: it only waits for its running work", fix)

    # -- a flow ----------------------------------------------------------------------------------------------------------

    def flow(self, name: str | None) -> FlowStatus | None:
        """The flow of this name."""
        return self.status.flow(name)

    def running(self, name: str | None) -> tuple[ActiveRun, ...]:
        """The runs of the flow that are under way; of every flow without a name."""
        return tuple(run for run in self.status.active_runs if name in (None, run.flow))

    def not_runnable(self, name: str) -> Refusal | None:
        """The refusal where production cannot run the flow, or its owner cannot be asked."""
        flow = self.flow(name)
        if (owner_is_silent := self.owner_is_silent) is not None or flow is None:
            return owner_is_silent
        if flow.state_kind == "broken":
            return Refusal("broken", "the module is broken: fix it first")
        return when(flow.state_kind == "not_deployed", "not_deployed", "it is not deployed: deploy it first")

    def gone(self, name: str | None) -> Refusal | None:
        """The refusal for a flow whose notebook is gone, with what to do where it lies elsewhere now."""
        flow = self.flow(name)
        if flow is None or flow.deployment_status.kind != "gone":
            return None
        return self.found_again(name) or Refusal("gone", "its notebook is gone: restore it, or undeploy the flow")

    def found_again(self, name: str | None) -> Refusal | None:
        """The refusal of a second copy for a flow whose notebook lies elsewhere now; says what to do with it."""
        flow = self.flow(name)
        status = None if flow is None else flow.deployment_status
        if status is None:
            return None
        if status.moved_to is not None:
            return Refusal("moved", f"move {status.moved_to} back into flow_modules itself")
        if status.renamed_to is not None:
            return Refusal("renamed", f"deploy {status.renamed_to}, as its notebook is called now")
        return None


def first(refusals: Iterable[Refusal | None]) -> Refusal | None:
    """The first refusal, if any."""
    return next((refusal for refusal in refusals if refusal is not None), None)


def when(is_so: object, kind: str, sentence: str) -> Refusal | None:
    """A refusal if `is_so`."""
    return Refusal(kind, sentence) if is_so else None


def unless(is_so: object, kind: str, sentence: str) -> Refusal | None:
    """A refusal if not `is_so`."""
    return None if is_so else Refusal(kind, sentence)


@frozen
class Asker:
    """Who asks: a person on a machine; for a request from another workstation also the owner of its file there, and its id."""

    by: str
    machine: str
    file_owner: str | None = None
    request_id: str | None = None

    @property
    def who(self) -> str:
        """The person and machine, as a run and a deployment name who began them."""
        return f"{self.by}@{self.machine}"

    @classmethod
    def here(cls) -> Asker:
        """The person who owns this process."""
        from data_engine.workspace.machine import person

        return cls(*person())


class Work(Protocol):
    """What a daemon runs, and what it puts on the share for another workstation. Each method raises `FlowValidationError` where it refuses."""

    async def require_flow(self, flow: str, /) -> None:
        """Return when there is such a flow, or a module that could be one."""

    async def put_set(self) -> str:
        """Put the authored modules where the owner finds them; the id of their set."""

    async def compared(self, set_id: str, flow: str | None, /) -> dict[str, Any]:
        """The verdict of the flow's notebook, or of each, by its content in the set."""

    def checked_params(self, flow: str, params: dict[str, Any], /) -> dict[str, Any]:
        """The params as the flow takes them."""

    def inside_source(self, flow: str, path: str, /) -> str:
        """A source file by its path inside the flow's source."""

    async def run(self, flow: str, source: str | None, params: dict[str, Any], /) -> list[str]:
        """Run the flow once for each source, or for one; the ids of the runs to come."""

    async def ends_of(self, run_ids: list[str], /) -> list[str | None]:
        """The status of each run, when all have ended."""

    async def backfill(
        self, flow: str, wanted: Wanted, params: dict[str, Any], /, *, is_dry: bool, digest: str | None
    ) -> Backfill:
        """Run the flow again for what is wanted, exactly the runs that `digest` stands for; with `is_dry` only list it."""

    async def stop_backfill(self, backfill_id: str, /) -> Backfill:
        """Begin no more runs of a backfill."""

    async def retry_backfill(self, backfill_id: str, /) -> Backfill:
        """Run again what failed of a backfill, and what a stop left out."""

    def known_backfill(self, backfill_id: str, /) -> tuple[str, str]:
        """The whole id of the backfill whose id begins so, and its flow."""


class Owner(Protocol):
    """Carries out commands. Each method raises `FlowValidationError` where the owner refuses, by its state under its lock;
    `OwnedElsewhereError` where the workspace is another's."""

    @property
    def asker(self) -> Asker:
        """Who asks for the command."""

    @property
    def work(self) -> Work:
        """Runs and backfills, which only a daemon has; a process for one commit refuses."""

    @property
    def production(self) -> Any:
        """What changes which code runs: `deploy.deploying.Production`, whose commands are made of what is here."""

    async def switch(self, flow: str, switch: Switch) -> None:
        """Let a flow run by itself, or not."""

    async def stop_flow(self, flow: str) -> tuple[list[str], bool]:
        """Ask the runs of a flow to end, and drop those that wait; their ids, and whether the flow was disabled for that."""

    async def end_run(self, run_id: str, *, kill: bool) -> tuple[str, bool]:
        """Ask a run to end, or end its process; its id, and whether it was still waiting."""

    async def retry(
        self, flow: str | None, source: str | None, *, accept: bool = False
    ) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
        """Free held sources; their number, what was accepted, and what stays held until it is."""

    async def reset(self, flow: str | None) -> int:
        """Forget history and freshness; the number of runs removed."""

    async def turn_engine(self, *, is_on: bool) -> None:
        """Let flows run by themselves, or not."""

    async def shut_down(self, *, kill: bool) -> None:
        """End the daemon."""

    async def use_interpreter(self, path: str) -> None:
        """Let workers run with this Python."""

    async def look(self) -> None:
        """Look at the modules, and at what is deployed."""

    async def lease(self, do: str, *, now: bool = False, client: str = "ui") -> tuple[LeaseStatus, str | None]:
        """Change the ownership; the lease afterwards, and a sentence about it."""


A = TypeVar("A")


@frozen
class Acknowledged(Record):
    """The answer of a command that has nothing to tell."""


class Command(Generic[A]):
    """A verb: a frozen dataclass whose fields say, by `argument`, what they hold; its docstring's first line says what it does.

    `name` is its route, `answer` the class of its answer. `asks` is its form in a request to another workstation: a verb, and what
    marks it among those of this verb; None where nobody else can be asked. Without a daemon, one is started for it if it
    `needs_daemon`, else this process carries it out. One that `is_urgent` does not wait until flows are known.
    """

    __slots__ = ()

    name: ClassVar[str]
    answer: ClassVar[Any] = Acknowledged
    asks: ClassVar[tuple[str, Mapping[str, Any]] | None] = None
    needs_daemon: ClassVar[bool] = False
    is_urgent: ClassVar[bool] = False
    timeout_s: ClassVar[float] = 60.0

    def check(self, at: Situation) -> Refusal | None:
        """Why the status says that it cannot be carried out, or would change nothing; None where it can."""
        return None

    def refusal(self, at: Situation) -> Refusal | None:
        """The part of `check` by which its owner refuses at once; for the rest it looks first: who owns, what was just saved."""
        return None

    def require_valid(self) -> None:
        """Check that its fields fit together.

        Raises:
            FlowValidationError: they do not.
        """

    @property
    def is_question(self) -> bool:
        """Whether it changes nothing, so that nobody else is asked."""
        return False

    async def before_asking(self, owner: Owner) -> Command[A]:
        """The command as another workstation can carry it out, checked here as far as it can be.

        Raises:
            FlowValidationError: it is refused here.
        """
        return self

    async def carry_out(self, owner: Owner) -> A:
        """Carry out the command.

        Raises:
            FlowValidationError: it is refused.
        """
        raise NotImplementedError

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> A:
        """The answer from its `as_dict`."""
        answer: A = cls.answer.read(data)
        return answer

    def outcome(self, answer: A) -> str:
        """The outcome of a request for it: "done" or "failed".

        Raises:
            FlowValidationError: the answer says why it was refused.
        """
        return "done"

    @property
    def phrase(self) -> str:
        """The command in words: "enable claims".

        Example:
            >>> from data_engine.commands.switches import Enable
            >>> Enable("claims").phrase
            'enable claims'
        """
        flow = getattr(self, "flow", None)
        return f"{self.name.replace('-', ' ')} {flow}" if flow else self.name.replace("-", " ")
