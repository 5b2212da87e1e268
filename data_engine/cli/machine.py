"""`secret`, `alert`, `service` and `doctor`: this person's secrets, the recipients of alerts, the daemon at logon, and checks of drive and machine.

The value of a secret is read from a prompt or standard input, and never printed.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_engine.cli.options import AsJson, chosen_workspace, command_group, done
from data_engine.cli.output import complain, print_json, say, table
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.formatting import cli_line, local_time, plural
from data_engine.model import utc_text
from data_engine.platforms.terminals import is_terminal

if TYPE_CHECKING:
    from data_engine.daemon.notifier import Tried
    from data_engine.engine.local_workspace import LocalWorkspace


SecretName = Annotated[str, typer.Argument(metavar="NAME", help="What flows ask for: context.secret(NAME).")]


def secret_app() -> typer.Typer:
    """The commands below `data-engine secret`."""
    group = command_group("Keep secrets for flows in this person's keyring.")
    group.command("set", context_settings={"allow_extra_args": True})(keep_secret)  # a value given is refused
    group.command("list")(list_secrets)
    group.command("remove")(forget_secret)
    return group


def keep_secret(ctx: typer.Context, name: SecretName, as_json: AsJson = False) -> int:
    """Keep a secret, read from a prompt, or from standard input where that is no terminal."""
    from data_engine.alerting.wording import address_fix, has_form
    from data_engine.workspace.secret_store import check_name, refuse_twin, set_secret

    check_name(name)
    if ctx.args:
        raise FlowValidationError(
            "the value of a secret is never given on the command line: it would be in the shell's history and the list"
            " of processes",
            where="data-engine secret set",
            fix=f"data-engine secret set {name}, which asks for it; or let a program write it to standard input",
        )
    refuse_twin(name)
    value = _read_value(name)
    place = set_secret(name, value)
    is_named = name in _alert_secrets(ctx)
    warning = None
    if is_named and not has_form(value):
        warning = f"[alerts] to names {name}, and what it holds now is no address that a message can be sent to: {address_fix(name)}"
    if as_json:
        print_json({"name": name, "place": place, "warning": warning})
        return 0
    say(f"Kept the secret {name} in {place}.")
    if warning is not None:
        complain(f"warning: {warning}", style="yellow")
    elif has_form(value):
        say(f"{'Alerts' if is_named else 'If alerts'} go to it: `{cli_line('alert', 'test', name)}` sends one now.")
    return 0


def _alert_secrets(ctx: typer.Context) -> tuple[str, ...]:
    """The secrets that [alerts] of the chosen workspace names; none without a workspace that can be read."""
    with suppress(FlowValidationError, OSError):
        return chosen_workspace(ctx).settings().alerts.to
    return ()


def list_secrets(as_json: AsJson = False) -> int:
    """The names of the secrets that are here, and where each is. Values are not shown, nor asked for."""
    from data_engine.workspace.secret_store import keyring_trouble, stored_secrets

    secrets, trouble = stored_secrets(), keyring_trouble()
    if as_json:
        print_json({"secrets": [asdict(secret) for secret in secrets], "keyring": trouble})
        return 0
    if secrets:
        shown = table("NAME", "PLACE")
        for secret in secrets:
            shown.add_row(secret.name, secret.place)
        say(shown)
    else:
        say("There are no secrets here yet: data-engine secret set NAME")
    if trouble is not None:
        say(f"{trouble}: secrets are kept in a private file, in plain text", style="yellow")
    return 0


def forget_secret(name: SecretName, as_json: AsJson = False) -> int:
    """Forget a secret. What the environment says stays as it is."""
    from data_engine.suggestions import nearest_name
    from data_engine.workspace.secret_store import remove_secret, stored_secrets

    names = [secret.name for secret in stored_secrets() if secret.place != "environment"]
    if not remove_secret(name):
        near = nearest_name(name, names)
        fix = f"did you mean {near}?" if near else f"there are: {', '.join(names) or 'none'}"
        raise FlowValidationError(
            f"there is no secret {name!r} here to forget", where="data-engine secret remove", fix=fix
        )
    return done({"name": name, "removed": True}, f"Forgot the secret {name}.", as_json)


def _read_value(name: str) -> str:
    if is_terminal(sys.stdin):
        return str(typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True))
    text = "" if sys.stdin is None else sys.stdin.read()
    return text.removesuffix("\n").removesuffix("\r")


Recipient = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="The secret that holds the address; by default each one that `to` in [alerts] names."
    ),
]


def alert_app() -> typer.Typer:
    """The commands below `data-engine alert`."""
    return command_group(
        "Tell people of troubles: see [alerts] in config/data_engine.toml.",
        {"test": send_test, "history": alert_history},
    )


def send_test(ctx: typer.Context, name: Recipient = None, as_json: AsJson = False) -> int:
    """Send a message now, and say for each recipient what became of it. Exits 1 where one was not reached."""
    from data_engine.daemon.notifier import trial_message, try_all
    from data_engine.ledger.outbox import hurry
    from data_engine.workspace.machine import person
    from data_engine.workspace.secret_store import find_secret

    ws = chosen_workspace(ctx)
    to = (name,) if name is not None else ws.settings().alerts.to
    if name is not None:
        find_secret(name, f"data-engine alert test {name}")  # a missing name is reported before anything else
    if not to:
        raise FlowValidationError(
            "nobody is told of troubles: [alerts] to is empty",
            where=str(ws.layout.settings_path),
            fix='data-engine secret set ops, with an address such as mailtos://USER:PASSWORD@HOST; then write to = ["ops"] below [alerts]',
        )
    trials = try_all(trial_message(f"{ws.workspace_id} on {person()[1]}", to))
    due = {trial.to: hurry(ws.home.ledger(), trial.to, time.time()) for trial in trials if trial.sent}
    if as_json:
        print_json({"sent": all(trial.sent for trial in trials), "recipients": [trial.as_dict() for trial in trials]})
    else:
        for trial in trials:
            _say_trial(trial, due.get(trial.to, 0))
    return 0 if all(trial.sent for trial in trials) else 1


def alert_history(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> int:
    """The messages of the last week, and what became of each. After that, `status` no longer shows those that were given up."""
    from data_engine.ledger import outbox

    ledger = chosen_workspace(ctx).home.ledger()
    messages = outbox.history(ledger, limit)
    if as_json:
        print_json([message.as_dict() for message in messages])
        return 0
    if not messages:
        say("No messages were sent from this machine in the last week.")
        return 0
    shown = table(
        *("WHEN", "TO", "STATE", "MESSAGE", "ERROR"),
        cut=("MESSAGE", "ERROR"),
        whole="`data-engine alert history --json` shows it in full.",
    )
    for row in messages:
        style = "red" if row.state == "given_up" else ""
        error = "" if row.state == "sent" else " ".join((row.error or "").split())
        shown.add_row(local_time(row.since_utc), row.to, row.state.replace("_", " "), row.subject, error, style=style)
    say(shown)
    outbox.are_shown(ledger, messages, time.time())
    if left := sum(message.state == "given_up" for message in outbox.undelivered(ledger, 10_000)):
        say(f"{left:,} more were given up: --limit {limit + left} shows them too.")
    return 0


def _say_trial(trial: Tried, due: int) -> None:
    if trial.sent:
        waiting = "" if not due else f"; {due} that waited {'is' if due == 1 else 'are'} sent now, if a daemon runs"
        say(f"{trial.to}: sent ({trial.service}, {trial.took_s:.1f} s){waiting}")
        return
    complain(f"{trial.to}: not sent: {trial.what}", style="red")
    if trial.fix:
        complain(f"  fix: {trial.fix}")


Boot = Annotated[
    bool, typer.Option("--boot", help="Also start with the machine, before anybody logs on, where the system can.")
]


def service_app() -> typer.Typer:
    """The commands below `data-engine service`."""
    return command_group(
        "Let the system start the daemon at logon, and again when it dies.",
        {"install": install, "status": service_status, "uninstall": uninstall},
    )


def install(ctx: typer.Context, boot: Boot = False, as_json: AsJson = False) -> int:
    """Start the daemon of the workspace at logon from now on, and now. A second time changes nothing. Exits 1 if --boot is not possible."""
    from data_engine.daemon.service import KEYRING_NOTE
    from data_engine.daemon.service import install as install_service

    ws = chosen_workspace(ctx)
    ws.settings()
    done = install_service(ws.home, boot=boot)
    if as_json:
        print_json(asdict(done))
        return 1 if done.why_no_boot else 0
    when = "with the machine" if done.boot else "at logon"
    say(f"{'Installed' if done.changed else 'Installed already'}: the daemon of {ws.workspace_id} starts {when}.")
    say(f"  {done.kind}: {done.place}")
    if done.boot:
        say(f"  {KEYRING_NOTE}")
    if done.why_no_boot is not None:
        complain(f"It starts at logon only, not with the machine: {done.why_no_boot}", style="yellow")
        return 1
    return 0


def service_status(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Whether the service is installed and works, and what it does. Exits 1 when something is wrong with it."""
    from data_engine.daemon.service import examined

    ws = chosen_workspace(ctx)
    service = examined(ws.home, ws.status().service)
    if as_json:
        print_json(service.as_dict())
    else:
        say(service.text)
        if service.fix is not None:
            say(f"fix: {service.fix}")
        if not service.installed:
            say("install it: data-engine service install")
        elif service.kind is not None:
            say(f"{service.kind}, {'with the machine' if service.boot else 'at logon'}: {service.place}")
        if service.installed:
            say(f"Python: {service.python}")
    return 1 if service.trouble else 0


def uninstall(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Do not start the daemon by itself any more. A running daemon goes on, and ends when it is idle."""
    from data_engine.daemon.link import DaemonLink
    from data_engine.daemon.service import uninstall as uninstall_service

    homes = _homes(ctx)
    taken_away = [uninstall_service(home) for home in homes]
    was_there = any(taken_away)
    text = "No service was installed."
    if was_there:
        text = f"Uninstalled: nothing starts the daemon of {homes[0].layout.workspace_id} by itself any more."
        if any(DaemonLink(home).find() is not None for home in homes):
            text += " The running daemon goes on: `data-engine stop` ends it."
    return done({"was_installed": was_there}, text, as_json)


def _homes(ctx: typer.Context) -> list[LocalWorkspace]:
    """The workspace; where it is gone, the files that this machine keeps for those that were there."""
    named = ctx.find_root().params.get("workspace")
    try:
        return [chosen_workspace(ctx).home]
    except WorkspaceError:
        from data_engine.engine.local_workspace import LocalWorkspace
        from data_engine.workspace.identity import layouts_seen_at
        from data_engine.workspace.layout import WorkspaceLayout

        gone = [] if named is None else [Path(named).absolute()]
        homes = [LocalWorkspace(WorkspaceLayout(root), local) for root in gone for local in layouts_seen_at(root)]
        if not homes:
            raise
        return homes


_WORDS = {True: "ok", False: "wrong", None: "unknown"}
_STYLES = {True: "", False: "red", None: "yellow"}

AcceptClock = Annotated[
    bool,
    typer.Option(
        "--accept-clock",
        help="First confirm that this machine's clock is right: it decides which history is too old and is removed.",
    ),
]


def doctor(ctx: typer.Context, accept_clock: AcceptClock = False, as_json: AsJson = False) -> int:
    """Measure what the workspace needs of its drive and this machine; say what to set. Exits 1 when something is wrong."""
    from data_engine.daemon.doctor import examine

    ws = chosen_workspace(ctx)
    if accept_clock:
        from data_engine.ledger.wall_clock import accept_clock as accept

        now_s = time.time()
        accept(ws.home.ledger(), now_s)
        if not as_json:
            say(f"The clock of this machine is right: it is {local_time(utc_text(now_s))}.", "")
    layout = ws.layout
    findings = list(examine(layout))
    wrong = [finding for finding in findings if finding.ok is False]
    if as_json:
        print_json({"ok": not wrong, "findings": [asdict(row) for row in findings]})
        return 1 if wrong else 0
    shown = table("CHECK", "", "MEASURED")
    for finding in findings:
        shown.add_row(finding.name, _WORDS[finding.ok], finding.measured, style=_STYLES[finding.ok])
    say(shown)
    for finding in findings:
        if finding.fix is not None and finding.ok is not True:
            say("")
            say(f"{finding.name}: {finding.fix}")
    say("")
    say(f"{plural(len(findings), 'check')}, {len(wrong)} wrong")
    return 1 if wrong else 0
