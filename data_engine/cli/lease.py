"""`lease status|request|release|take-over|repair`: who owns the workspace, and how it changes hands."""

from __future__ import annotations

from typing import Annotated

import typer

from data_engine.cli.options import AsJson, chosen_workspace, command_group, done
from data_engine.cli.output import say
from data_engine.lease.status import LeaseStatus, lease_lines


def make_app() -> typer.Typer:
    """The commands below `data-engine lease`."""
    return command_group(
        "See who owns the workspace; request it, give it up or take it over.",
        {"status": status, "request": request, "release": release, "take-over": take_over, "repair": repair},
    )


def status(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Who owns the workspace, and what this machine could do about it."""
    return _tell(chosen_workspace(ctx).lease(), as_json)


def request(
    ctx: typer.Context,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Withdraw the request.")] = False,
    as_json: AsJson = False,
) -> int:
    """Ask the owner for the workspace. This machine's daemon waits, and owns it when the owner agrees."""
    ws = chosen_workspace(ctx)
    return _tell(ws.withdraw_request() if withdraw else ws.request_control(), as_json)


def release(
    ctx: typer.Context,
    now: Annotated[bool, typer.Option("--now", help="First stop running work at its next step.")] = False,
    as_json: AsJson = False,
) -> int:
    """Give the workspace up when the running work is done: to whoever has asked for it, else to anybody."""
    lease = chosen_workspace(ctx).release_control(now=now)
    if lease.said is not None and not as_json:
        say(lease.said)
    return _tell(lease, as_json)


def take_over(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Own the workspace of an owner that has been silent for the stale threshold. Exit code 3 when it has not."""
    return _tell(chosen_workspace(ctx).take_over(), as_json)


def repair(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Fix a damaged list of generations from its newest readable one, and say what was lost."""
    said = chosen_workspace(ctx).repair_lease()
    return done({"repaired": said}, said, as_json)


def _tell(lease: LeaseStatus, as_json: bool) -> int:
    return done(lease.as_dict(), "\n".join(lease_lines(lease)), as_json)
