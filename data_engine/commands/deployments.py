"""The commands that change what production runs: deploy, undeploy, roll back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from data_engine.commands.command import Command, Owner, Refusal, Situation, first, unless, when
from data_engine.commands.fields import ANY_TEXT, FLAG, FLOW, SET_ID, TEXT, Field, argument
from data_engine.ledger.checks import is_compared
from data_engine.model import Deployment
from data_engine.record import frozen

if TYPE_CHECKING:
    from data_engine.notebook.catalog import CatalogEntry

_NOTE = "The reason, for the history."
_ID = "The id of the deployment that this makes: who asks again, because the answer was lost, gets what was done."
_COMPARED = Field(
    "an object of comparisons", lambda value: isinstance(value, dict) and all(map(is_compared, value.values()))
)
GATE_S = 660.0
"""A deploy behind a gate may take as long as its goldens, and later commands wait; the death of a daemon is noticed at once."""


def _new_id() -> str:
    from uuid import uuid4

    return uuid4().hex


@frozen
class Outcome:
    """The outcome of a deploy: the `entries` of its modules, each with its error where it was not deployed; the new `deployments`;
    the flows that were `withdrawn`, and the new names of `renamed` ones. Of flows that stay as deployed and had damaged files those
    `mended`, and those `lost`, which nothing can mend."""

    entries: tuple[CatalogEntry, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    withdrawn: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def renamed(self) -> dict[str, str]:
        """The new names of renamed flows, by the old."""
        new = {row.id: row.flow for row in self.deployments}
        return {row.flow: new[row.of] for row in self.deployments if row.kind == "withdraw" and row.of in new}

    def as_dict(self) -> dict[str, Any]:
        """The outcome as JSON, for another process."""
        from data_engine.notebook.catalog import entry_message

        return {
            "entries": [entry_message(entry) for entry in self.entries],
            "deployments": [row.as_dict() for row in self.deployments],
            "withdrawn": list(self.withdrawn),
            "mended": list(self.mended),
            "lost": list(self.lost),
        }

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Outcome:
        """The outcome from its `as_dict`; its flows have no steps."""
        from data_engine.notebook.catalog import entry_of_message

        return cls(
            tuple(entry_of_message(entry) for entry in data["entries"]),
            tuple(Deployment.read(row) for row in data["deployments"]),
            tuple(data["withdrawn"]),
            tuple(data.get("mended", ())),  # of the revision before
            tuple(data.get("lost", ())),
        )


@frozen
class Deploy(Command[Outcome]):
    """Let production run the modules as they are now."""

    name: ClassVar = "deploy"
    answer: ClassVar = Outcome
    timeout_s: ClassVar = GATE_S
    asks: ClassVar = ("deploy", {})

    flow: str | None = field(default=None, metadata=argument(FLOW, "Only this flow; else all that nobody undeployed."))
    note: str = field(default="", metadata=argument(ANY_TEXT, _NOTE))
    force: bool = field(
        default=False, metadata=argument(FLAG, "Deploy even if another deployed flow writes to the same mirror.")
    )
    approve: bool = field(
        default=False, metadata=argument(FLAG, "Deploy even if its goldens do not hold; who approved it is recorded.")
    )
    replaces: str | None = field(
        default=None, metadata=argument(FLOW, "The earlier flow that this one replaces; its notebook is gone.")
    )
    set_id: str | None = field(
        default=None, metadata=argument(SET_ID, "The modules as somebody put them on the share.", is_sent=True)
    )
    compared: Mapping[str, Any] | None = field(
        default=None, metadata=argument(_COMPARED, "How the notebooks compared with their kernels, by flow.")
    )

    def is_about(self, name: str) -> bool:
        """Whether the command is for this module."""
        return self.flow in (None, name)

    def check(self, at: Situation) -> Refusal | None:
        if self.flow is None:
            return first((at.owner_is_silent, unless(at.status.flows, "no_module", "there is no module")))
        flow = at.flow(self.flow)
        is_current = flow is not None and flow.deployment_status.kind == "as_deployed"
        return first(
            (at.owner_is_silent, when(is_current, "as_deployed", "it is deployed as it is"), at.gone(self.flow))
        )

    async def before_asking(self, owner: Owner) -> Deploy:
        if self.flow is not None:
            await owner.work.require_flow(self.flow)
        set_id = await owner.work.put_set()
        return replace(self, set_id=set_id, compared=await owner.work.compared(set_id, self.flow))

    async def carry_out(self, owner: Owner) -> Outcome:
        outcome: Outcome = await owner.production.deploy(self, owner.asker)
        return outcome

    def outcome(self, answer: Outcome) -> str:
        refused = [entry.error for entry in answer.entries if entry.error is not None]
        if self.flow is not None and refused:
            raise refused[0]
        return "done"


@frozen
class Undeploy(Command[Outcome]):
    """Stop running a flow in production."""

    name: ClassVar = "undeploy"
    answer: ClassVar = Outcome
    timeout_s: ClassVar = GATE_S
    asks: ClassVar = ("deploy", {"withdraw": True})

    flow: str = field(metadata=argument(FLOW, "The flow."))
    note: str = field(default="", metadata=argument(ANY_TEXT, _NOTE))
    id: str = field(default_factory=_new_id, metadata=argument(TEXT, _ID, is_local=True))

    def check(self, at: Situation) -> Refusal | None:
        flow = at.flow(self.flow)
        is_out = flow is not None and flow.state_kind == "not_deployed"
        return first((at.owner_is_silent, when(is_out, "not_deployed", "it is not deployed: deploy it first")))

    async def carry_out(self, owner: Owner) -> Outcome:
        outcome: Outcome = await owner.production.undeploy(self, owner.asker)
        return outcome


@frozen
class Rollback(Command[Deployment]):
    """Let production run what it ran before."""

    name: ClassVar = "rollback"
    answer: ClassVar = Deployment
    asks: ClassVar = ("rollback", {})
    timeout_s: ClassVar = GATE_S

    flow: str = field(metadata=argument(FLOW, "The flow."))
    to: str | None = field(default=None, metadata=argument(TEXT, "The deployment's id, or its beginning."))
    note: str = field(default="", metadata=argument(ANY_TEXT, _NOTE))
    id: str = field(default_factory=_new_id, metadata=argument(TEXT, _ID, is_local=True))

    def check(self, at: Situation) -> Refusal | None:
        return at.owner_is_silent

    async def carry_out(self, owner: Owner) -> Deployment:
        deployment: Deployment = await owner.production.roll_back(self, owner.asker)
        return deployment


COMMANDS = (Deploy, Undeploy, Rollback)
