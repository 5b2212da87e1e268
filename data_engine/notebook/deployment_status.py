"""The deployment status of a flow module; and from the history of deployments: which holds, which are kept, and what to go back to."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Literal

from data_engine.errors import FlowValidationError
from data_engine.formatting import cells_text, cli_line
from data_engine.model import Deployment
from data_engine.record import Record, frozen
from data_engine.suggestions import near_offer


@frozen
class DeploymentStatus(Record):
    """The deployment status of a module. Of an edit: the `cells` and `helpers` that differ, where they are known,
    and the `error` that keeps it from being good. `goes_live_s`, seconds since the epoch, is when it is deployed by itself;
    `shares_with` is the deployed flow whose mirror it would write too, which a person has to confirm. A module that is "gone"
    runs on as it is deployed; `file` is what it was called, and `renamed_to` the module that it is now, as far as that shows;
    `moved_to` is where a notebook of its name lies in a subfolder. Nobody has edited one that is as it was before production was
    `rolled_back_to` an earlier deployment. `digest` changes with the code of an edit, or of a module that is not deployed.

    Example:
        >>> DeploymentStatus("as_deployed").text, DeploymentStatus("edited", (3, 7), "SyntaxError: oh").edit
        ('as deployed', 'edited, not deployed: cells 3, 7\\nSyntaxError: oh')
        >>> DeploymentStatus("edited", (3,), rolled_back_to="3693cb92aa", rolled_back_utc="2026-01-05T06:00:00+00:00").text[:24]
        'rolled back to 3693cb92 '
        >>> print(DeploymentStatus("gone", file="claims.ipynb").edit)
        claims.ipynb is gone; production runs on as it was deployed
        to get it back: `data-engine restore claims`; to end it: `data-engine undeploy claims`
    """

    sparse: ClassVar = (
        "helpers",
        "goes_live_s",
        "shares_with",
        "file",
        "renamed_to",
        "moved_to",
        "rolled_back_to",
        "rolled_back_utc",
        "digest",
    )

    kind: Literal["as_deployed", "not_deployed", "edited", "gone"]
    cells: tuple[int, ...] = ()
    error: str | None = None
    helpers: tuple[str, ...] = ()
    goes_live_s: float | None = None
    shares_with: str | None = None
    file: str = ""
    renamed_to: str | None = None
    moved_to: str | None = None
    rolled_back_to: str | None = None
    rolled_back_utc: str | None = None
    digest: str = ""

    @property
    def is_edited(self) -> bool:
        """Whether the module differs from what is deployed of it."""
        return self.kind == "edited"

    @property
    def is_edit_broken(self) -> bool:
        """Whether an error keeps that edit from being deployed."""
        return self.is_edited and self.error is not None

    @property
    def text(self) -> str:
        """One line for people."""
        if self.kind == "gone":
            gone = "is gone"
            if self.renamed_to is not None:
                gone = f"was renamed to {self.renamed_to}{self.file[self.file.rfind('.') :]}"
            elif self.moved_to is not None:
                gone = f"is in a subfolder now ({self.moved_to}), which is not searched for flows"
            return f"{self.file} {gone}; production runs on as it was deployed"
        words = self._edited_text if self.is_edited else self.kind.replace("_", " ")
        if self.goes_live_s is None:
            return words
        return f"{words} (goes live in {max(0.0, self.goes_live_s - time.time()):.0f} s)"

    @property
    def differs(self) -> tuple[str, ...]:
        """What of an edit differs from what is deployed, as far as it is known: its cells, and each helper."""
        return (*([cells_text(self.cells)] if self.cells else []), *self.helpers)

    @property
    def _edited_text(self) -> str:
        where = ", ".join(self.differs)
        if self.rolled_back_to is None:
            return f"edited, not deployed: {where}" if where else "edited, not deployed"
        what = "the notebook differs" if self.cells or not self.helpers else "the helpers differ"
        utc = self.rolled_back_utc
        when = "?" if utc is None else f"{datetime.fromisoformat(utc).astimezone():%Y-%m-%d %H:%M}"
        back = f"rolled back to {self.rolled_back_to[:8]} on {when}; {what}"
        return f"{back}: {where}" if where else back

    @property
    def edit(self) -> str | None:
        """An edit for people, on further lines its error or what can be done about it; None without one."""
        if self.kind == "gone":
            return f"{self.text}\n{self.fix}"
        return (self.text + (f"\n{self.error}" if self.error else "")) if self.is_edited else None

    @property
    def fix(self) -> str | None:
        """The fix where the module is gone, with both ways on; None else."""
        if self.kind != "gone":
            return None
        flow = self.file.rpartition(".")[0]
        end = f"to end it: `{cli_line('undeploy', flow)}`"
        if self.renamed_to is not None:
            return f"to let production run it: `{cli_line('deploy', self.renamed_to)}`; {end}"
        if self.moved_to is not None:
            return f"to continue with it: move it back into flow_modules itself; {end}"
        return f"to get it back: `{cli_line('restore', flow)}`; {end}"

    def as_json(self) -> dict[str, Any]:
        """The status in the JSON of a flow: in words under `deployment`, and for programs under `deployment_status`."""
        return {"deployment": self.text, "deployment_status": self.as_dict()}


AS_DEPLOYED, NOT_DEPLOYED = DeploymentStatus("as_deployed"), DeploymentStatus("not_deployed")


def live_deployments(history: Iterable[Deployment]) -> dict[str, Deployment]:
    """The deployment that each flow runs: its newest, unless that withdraws it.

    Example:
        >>> first, last = (Deployment(f"d{n}", n, "claims", "deploy", f"s{n}") for n in (1, 2))
        >>> live_deployments([last, first])["claims"].id, live_deployments([first, Deployment("d3", 3, "claims", "withdraw", "")])
        ('d2', {})
    """
    newest: dict[str, Deployment] = {}
    for deployment in history:
        current = newest.get(deployment.flow)
        if current is None or (current.number, current.id) < (deployment.number, deployment.id):
            newest[deployment.flow] = deployment
    return {flow: deployment for flow, deployment in newest.items() if deployment.kind != "withdraw"}


@frozen
class RolledBack:
    """A roll back of a flow to the deployment `to`; `digest` is of the module that was deployed last."""

    to: str
    at_utc: str
    digest: str


def rollbacks(history: Sequence[Deployment]) -> dict[str, RolledBack]:
    """The roll back of each flow that runs an earlier deployment again; `history` has the newest first.

    Example:
        >>> first, last = (Deployment(f"d{n}", n, "claims", "deploy", f"s{n}", f"c{n}") for n in (1, 2))
        >>> back = Deployment("d3", 3, "claims", "rollback", "s1", "c1", at_utc="2026-01-03", of="d1")
        >>> rollbacks([back, last, first]), rollbacks([last, first])
        ({'claims': RolledBack(to='d1', at_utc='2026-01-03', digest='c2')}, {})
    """
    by_flow = {}
    for flow, now in live_deployments(history).items():
        deploys = (row for row in history if row.flow == flow and row.kind == "deploy" and row.number < now.number)
        if now.kind == "rollback" and (before := next(deploys, None)) is not None:
            by_flow[flow] = RolledBack(now.of or now.id, now.at_utc, before.digest)
    return by_flow


def ended_deployments(history: Iterable[Deployment]) -> dict[str, Deployment]:
    """The last deployment of each flow that runs no more, and did not go on under another name.

    Example:
        >>> first = Deployment("d1", 1, "claims", "deploy", "s1")
        >>> ended_deployments([first, Deployment("d2", 2, "claims", "withdraw", "")])["claims"].id
        'd1'
        >>> ended_deployments([first]), ended_deployments([first, Deployment("d2", 2, "claims", "withdraw", "", of="d3")])
        ({}, {})
    """
    rows = sorted(history, key=lambda row: (row.number, row.id))
    newest = {row.flow: row for row in rows}
    ran = {row.flow: row for row in rows if row.kind != "withdraw"}
    return {
        flow: ran[flow] for flow, row in newest.items() if row.kind == "withdraw" and row.of is None and flow in ran
    }


def kept_deployments(history: Iterable[Deployment], *, keep: int, since_utc: str) -> set[str]:
    """The ids of the deployments whose sets stay: each flow's newest `keep`, and each that was live after `since_utc`.

    A run that is remembered began after `since_utc`, so what it used is among them.

    Example:
        >>> days = [Deployment(f"d{n}", n, "claims", "deploy", f"s{n}", at_utc=f"2026-01-0{n}") for n in (1, 2, 3)]
        >>> sorted(kept_deployments(days, keep=1, since_utc="2026-01-09")), sorted(kept_deployments(days, keep=1, since_utc="2026-01-02"))
        (['d3'], ['d2', 'd3'])
    """
    by_flow: dict[str, list[Deployment]] = {}
    for row in sorted(history, key=lambda row: (-row.number, row.id)):
        by_flow.setdefault(row.flow, []).append(row)
    stays: set[str] = set()
    for rows in by_flow.values():
        pointing = [row for row in rows if row.kind != "withdraw"]
        stays |= {row.id for row in pointing[:keep]}
        ended_utc = "9999"
        for row in rows:
            if row.kind != "withdraw" and ended_utc > since_utc:
                stays.add(row.id)
            ended_utc = min(ended_utc, row.at_utc)
    return stays


def marked_history(history: Iterable[Deployment], *, kept_ids: Collection[str]) -> list[Deployment]:
    """The history for people, the newest first, each with whether it holds and can be rolled back to."""
    rows = sorted(history, key=lambda row: (-row.number, row.id))
    holds = {row.id for row in live_deployments(rows).values()}
    return [
        replace(row, is_live=row.id in holds, is_kept=row.kind != "withdraw" and row.id in kept_ids) for row in rows
    ]


def to_roll_back_to(history: Sequence[Deployment], flow: str, to: str | None) -> Deployment:
    """The deployment of `flow` whose id is or begins with `to`; without `to` the one before that which runs.

    `history` is that of `marked_history`. A deployment that was rolled back is not chosen again: two roll backs go back twice. Where
    none runs, it is the one that ran last.

    Raises:
        FlowValidationError: there is none, it is not kept, or it is what runs.

    Example:
        >>> days = [Deployment(f"d{n}", n, "claims", "deploy", f"s{n}", f"c{n}") for n in (3, 2, 1)]
        >>> to_roll_back_to(days, "claims", None).id, to_roll_back_to(days, "claims", "d1").id
        ('d2', 'd1')
        >>> back = Deployment("d4", 4, "claims", "rollback", "s2", "c2", of="d2")
        >>> to_roll_back_to([back, *days], "claims", None).id
        'd1'
        >>> mended = Deployment("d5", 5, "claims", "deploy", "s5", "c5")
        >>> to_roll_back_to([mended, back, *days], "claims", None).id
        'd2'
        >>> ended = Deployment("d6", 6, "claims", "withdraw", "")
        >>> to_roll_back_to([ended, back, *days], "claims", None).id
        'd2'
    """
    rows = [row for row in history if row.flow == flow]
    if not rows:
        raise _never_deployed(f"{flow} was never deployed", flow, history)
    now = live_deployments(rows).get(flow)
    chosen = _predecessor(now, rows, flow) if to is None else _by_id(to, rows, flow)
    if chosen.kind == "withdraw" or not chosen.is_kept:
        what = f"deployment {chosen.id[:8]} of {flow} is not kept any more"
        raise _no_choice(what, flow, "choose a kept one: {list}; [deploy] keep says how many are")
    if now is not None and (now.set_id, now.digest) == (chosen.set_id, chosen.digest):
        raise _no_choice(f"deployment {chosen.id[:8]} of {flow} is what runs", flow, "choose another one: {list}")
    return chosen


def to_restore(history: Sequence[Deployment], flow: str, to: str | None) -> Deployment:
    """The deployment of `flow` whose id is or begins with `to`; without `to` the one that runs, else the newest.

    Raises:
        FlowValidationError: there is none, or it is not kept.
    """
    rows = [row for row in history if row.flow == flow and row.kind != "withdraw"]
    if not rows:
        raise _never_deployed(f"{flow} was never deployed, so no copy of it is kept", flow, history)
    chosen = live_deployments(history).get(flow, rows[0]) if to is None else _by_id(to, rows, flow)
    if not chosen.is_kept:
        raise _no_choice(
            f"deployment {chosen.id[:8]} of {flow} is not kept any more", flow, "choose a kept one: {list}"
        )
    return chosen


def _never_deployed(what: str, flow: str, history: Sequence[Deployment]) -> FlowValidationError:
    offer = near_offer(flow, {row.flow for row in history})
    fix = f"{offer}`data-engine deployments` lists what was deployed, and `data-engine list` the flows"
    return FlowValidationError(what, where=f'flow "{flow}"', fix=fix)


def _by_id(to: str, rows: Sequence[Deployment], flow: str) -> Deployment:
    """The deployment whose id is `to`, or the only one that begins with it."""
    matches = [row for row in rows if row.id == to] or [row for row in rows if row.id.startswith(to)]
    if len(matches) != 1:
        what = f"{len(matches)} deployments of {flow} begin" if matches else f"no deployment of {flow} begins"
        raise _no_choice(f"{what} with {to!r}", flow)
    return matches[0]


def _predecessor(now: Deployment | None, rows: Sequence[Deployment], flow: str) -> Deployment:
    """The deployment of another content that ran before the one that runs; what ran last where none runs."""
    ran: list[Deployment] = []
    for row in sorted(rows, key=lambda one: one.number):
        at = next((at for at, other in enumerate(ran) if row.kind == "rollback" and other.id == row.of), None)
        if at is not None:
            del ran[at + 1 :]  # what was rolled back does not come again
        elif row.kind != "withdraw":
            ran.append(row)
    for row in reversed(ran):
        if now is None or row.digest != now.digest:
            return row
    others = any(row.is_kept and row.kind != "withdraw" and (now is None or row.digest != now.digest) for row in rows)
    fix = (
        "{rollback} takes any that {command} lists"
        if others
        else "it has only the one that runs: change its notebook and deploy it, or end it in production with {undeploy}"
    )
    raise _no_choice(f"there is no earlier deployment of {flow}", flow, fix)


def _no_choice(what: str, flow: str, fix: str = "{list}") -> FlowValidationError:
    listing = cli_line("deployments", flow)
    names = {
        "list": f"`{listing}` lists them",
        "command": f"`{listing}`",
        "rollback": f"`{cli_line('rollback', flow)} --to ID`",
        "undeploy": f"`{cli_line('undeploy', flow)}`",
    }
    return FlowValidationError(what, where=f'flow "{flow}"', fix=fix.format_map(names))
