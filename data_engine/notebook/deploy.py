"""Decides whether and when a module goes into production."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line
from data_engine.model import Deployment
from data_engine.notebook.deployment_status import DeploymentStatus
from data_engine.record import frozen


@frozen
class Sighting:
    """The facts of one module that decide its deployment.

    `current` and `deployed` are digests of the module with all helpers (None: not deployed yet); `error` is why the
    current one is not good; `shares_with` is the deployed flow of another name that already writes its mirror;
    `unchanged_for_s` is how long it has stayed as it is; `is_asked` that a person asked for it, `is_confirmed` that the
    person was told of the shared mirror.
    """

    current: str
    deployed: str | None
    error: FlowValidationError | None = None
    shares_with: str | None = None
    unchanged_for_s: float = 0.0
    is_asked: bool = False
    is_confirmed: bool = False


@frozen
class Move:
    """The move for a module, by its `kind`:

    - "up_to_date": production runs the module as it is
    - "deploy": it goes live now
    - "quiet": it is good, and must stay unchanged for another `left_s`, because editors save half an edit
    - "awaits_request": it is good, and waits for somebody to ask
    - "shares_mirror": it is good, but `other`, which is deployed, writes its mirror too: a person has to confirm it. `is_gone` says
      that the module of `other` is gone
    - "broken": it does not compile or build, or has no steps (`error`); the last good deployment goes on
    - "held_back": it is good, but its goldens do not hold (`error`): a person has to approve that
    """

    kind: Literal["up_to_date", "deploy", "quiet", "awaits_request", "shares_mirror", "broken", "held_back"]
    left_s: float = 0.0
    other: str = ""
    is_gone: bool = False
    error: FlowValidationError | None = None


def next_move(sighting: Sighting, *, mode: str, quiet_s: float) -> Move:
    """The move for a module: a good one is deployed when a person asked; with `mode` "auto" also when it is quiet.

    Example:
        >>> next_move(Sighting("b", "a", unchanged_for_s=10), mode="auto", quiet_s=30).left_s
        20
        >>> next_move(Sighting("b", None), mode="ask", quiet_s=30).kind
        'awaits_request'
    """
    if sighting.current == sighting.deployed:
        return Move("up_to_date")
    if sighting.error is not None:
        return Move("broken", error=sighting.error)
    if sighting.shares_with is not None and not sighting.is_confirmed:
        return Move("shares_mirror", other=sighting.shares_with)
    if sighting.is_asked:
        return Move("deploy")
    if mode == "ask":
        return Move("awaits_request")
    if sighting.unchanged_for_s < quiet_s:
        return Move("quiet", quiet_s - sighting.unchanged_for_s)
    return Move("deploy")


def not_deployed(name: str, where: str, shares_with: str | None = None) -> FlowValidationError:
    """The error of a flow that was never deployed, with both ways on; `shares_with` is the flow whose mirror it would write."""
    what = f"{name} is not deployed: production runs what somebody deployed, and nothing else"
    if shares_with is not None:
        return FlowValidationError(
            f"{what}; it would write into the mirror of {shares_with}, which is deployed",
            where=where,
            fix=f"give it a mirror of its own, then `{cli_line('deploy', name)}`; to let both write there: `{cli_line('deploy', name, '--yes')}`",
        )
    return FlowValidationError(
        what,
        where=where,
        fix=f"deploy it: `{cli_line('deploy', name)}` (%flow deploy); or run it here once, as it is now: `{cli_line('run', '--once', name)}`",
    )


def mirror_key(mirror: str | None, folder: Path) -> str | None:
    """A mirror as every workstation calls it: its path from the authored `folder`, with forward slashes.

    Example:
        >>> mirror_key("/team/ws/out", Path("/team/ws/flow_modules")), mirror_key(None, Path("/team"))
        ('../out', None)
    """
    if mirror is None:
        return None
    try:
        return os.path.relpath(mirror, folder).replace(os.sep, "/")
    except ValueError:  # another drive of Windows
        return mirror.replace(os.sep, "/")


def shared_mirror(name: str, mirror: str | None, live: Iterable[Deployment]) -> str | None:
    """The deployed flow of another name that writes this mirror; None where there is none, or this flow is deployed with it.

    Example:
        >>> claims, copy = (Deployment(f, 1, f, "deploy", "s", mirror="../out") for f in ("claims", "claims_2"))
        >>> shared_mirror("claims_2", "../out", [claims]), shared_mirror("claims_2", "../out", [claims, copy])
        ('claims', None)
    """
    writers = [] if mirror is None else [row for row in live if row.mirror == mirror]
    if any(row.flow == name for row in writers):
        return None
    return min((row.flow for row in writers), default=None)


def sharing(name: str, status: DeploymentStatus, other: str) -> DeploymentStatus:
    """The deployment status of the flow `name` whose mirror `other`, which is deployed, writes too.

    Example:
        >>> from data_engine.notebook.deployment_status import NOT_DEPLOYED
        >>> print(sharing("parts", NOT_DEPLOYED, "claims").error)
        it writes to the same mirror as claims, which is deployed: give it a mirror of its own, or confirm that both may write there: `data-engine deploy parts --yes`
    """
    words = (
        f"it writes to the same mirror as {other}, which is deployed: give it a mirror of its own,"
        f" or confirm that both may write there: `{cli_line('deploy', name, '--yes')}`"
    )
    return replace(status, error=words, shares_with=other)


def shares_mirror_error(
    name: str, mirror: str | None, where: str, other: str, *, is_gone: bool = False, is_run: bool = False
) -> FlowValidationError:
    """The error for two flows that write one mirror; `is_gone` says that the other's module is gone, `is_run` that the flow was
    to run here, and not to be deployed."""
    confirmed = cli_line("deploy", name, "--yes")
    if is_gone:
        return FlowValidationError(
            f"{name} writes to {mirror}, as {other} does, whose module is gone and which runs on as it was deployed",
            where=where,
            fix=f"if {name} is {other} under a new name, let it replace {other}: `{cli_line('deploy', name, '--replaces', other)}`"
            f" (what {other} did does not run again); to end {other} alone: `{cli_line('undeploy', other)}`;"
            f" to let both write there: `{confirmed}`",
        )
    all_the_same = (
        f"to let both write there: `{confirmed}`; to run it once all the same, in a cell:"
        f' `from data_engine import load_flow; load_flow("{name}").run_once(force=True)`'
        if is_run
        else f"to deploy it all the same: `{confirmed}`, or in a cell"
        f' `from data_engine import Workspace; Workspace.current().deploy("{name}", force=True)`'
    )
    return FlowValidationError(
        _both_write(name, mirror, other),
        where=where,
        fix=f"give it a mirror of its own; {all_the_same}",
    )


def mirror_taken_error(back: Deployment, other: str) -> FlowValidationError:
    """The error for a roll back to the deployment `back`, whose mirror another flow writes by now."""
    return FlowValidationError(
        _both_write(back.flow, back.mirror, other),
        where=f"deployment {back.id[:8]}",
        fix=f"to let {back.flow} run in its place: `{cli_line('undeploy', other)}`, then `{cli_line('rollback', back.flow, '--to', back.id[:8])}`",
    )


def _both_write(name: str, mirror: str | None, other: str) -> str:
    return f"{name} writes to {mirror}, as {other} does, which is deployed: they would overwrite each other's outputs"
