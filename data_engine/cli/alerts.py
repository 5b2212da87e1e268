"""`alert test`: a message to those who are told of troubles, now, and for each what became of it; `alert history`: those there were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from data_engine.cli.options import AsJson, chosen_workspace, command_group
from data_engine.cli.output import complain, print_json, say, table
from data_engine.errors import FlowValidationError
from data_engine.formatting import local_time

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.daemon.notifier import Tried

Recipient = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="The secret that holds the address; by default each one that `to` in [alerts] names."
    ),
]


def make_app() -> typer.Typer:
    """The commands below `data-engine alert`."""
    return command_group(
        "Tell people of troubles: see [alerts] in config/data_engine.toml.", {"test": send_test, "history": history}
    )


def send_test(ctx: typer.Context, name: Recipient = None, as_json: AsJson = False) -> int:
    """Send a message now, and say for each recipient what became of it. Exits 1 where one was not reached."""
    from data_engine.daemon.notifier import trial_message, try_all
    from data_engine.workspace.machine import person
    from data_engine.workspace.secret_store import find_secret

    ws = chosen_workspace(ctx)
    to = (name,) if name is not None else ws.settings().alerts.to
    if name is not None:
        find_secret(
            name, f"data-engine alert test {name}"
        )  # of a name that is not there the person is to hear before anything else
    if not to:
        raise FlowValidationError(
            "nobody is told of troubles: [alerts] to is empty",
            where=str(ws.layout.settings_path),
            fix='data-engine secret set ops, with an address such as mailtos://USER:PASSWORD@HOST; then write to = ["ops"] below [alerts]',
        )
    tried = try_all(trial_message(f"{ws.workspace_id} on {person()[1]}", to))
    due = {one.to: _hurry(ws, one.to) for one in tried if one.sent}
    if as_json:
        print_json({"sent": all(one.sent for one in tried), "recipients": [one.as_dict() for one in tried]})
    else:
        for one in tried:
            _tell(one, due.get(one.to, 0))
    return 0 if all(one.sent for one in tried) else 1


def history(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> int:
    """The messages of the last week, and what became of each. After that, `status` no longer shows those that were given up."""
    import time

    from data_engine.ledger import outbox

    ledger = chosen_workspace(ctx).home.ledger()
    found = outbox.history(ledger, limit)
    if as_json:
        print_json([one.as_dict() for one in found])
        return 0
    if not found:
        say("No messages were sent from this machine in the last week.")
        return 0
    shown = table(
        *("WHEN", "TO", "STATE", "MESSAGE", "ERROR"),
        cut=("MESSAGE", "ERROR"),
        whole="`data-engine alert history --json` shows it in full.",
    )
    for one in found:
        style = "red" if one.state == "given_up" else ""
        error = "" if one.state == "sent" else " ".join((one.error or "").split())
        shown.add_row(local_time(one.since_utc), one.to, one.state.replace("_", " "), one.subject, error, style=style)
    say(shown)
    outbox.are_shown(ledger, found, time.time())
    if left := sum(one.state == "given_up" for one in outbox.undelivered(ledger, 10_000)):
        say(f"{left:,} more were given up: --limit {limit + left} shows them too.")
    return 0


def _tell(one: Tried, due: int) -> None:
    if one.sent:
        waiting = "" if not due else f"; {due} that waited {'is' if due == 1 else 'are'} sent now, if a daemon runs"
        say(f"{one.to}: sent ({one.service}, {one.took_s:.1f} s){waiting}")
        return
    complain(f"{one.to}: not sent: {one.what}", style="red")
    if one.fix:
        complain(f"  fix: {one.fix}")


def _hurry(ws: Workspace, to: str) -> int:
    import time

    from data_engine.ledger.outbox import hurry

    return hurry(ws.home.ledger(), to, time.time())
