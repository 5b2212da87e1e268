"""`secret`, `alert`, `service` and `doctor`: this person's secrets, the recipients of alerts, the daemon at logon, and checks of drive and machine.

The value of a secret is typed unseen or read from standard input, and never printed.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.formatting import cli_line, local_time, plural
from data_engine.marks import Mark
from data_engine.model import utc_text
from data_engine.suggestions import nearest_name
from data_engine.view.card import Card, Cell, Column, Lines, Note, table
from data_engine.view.verb import Answer, Option, Place, Subject, VerbGroup, said

if TYPE_CHECKING:
    from data_engine.daemon.notifier import Tried
    from data_engine.engine.local_workspace import LocalWorkspace


# -- secret -----------------------------------------------------------------------------------------------------------

SecretName = Annotated[str, Subject("NAME", "What flows ask for: context.secret(NAME).")]


def keep_secret(
    place: Place,
    name: SecretName,
    value: Annotated[list[str] | None, Subject("VALUE", "Refused.", is_hidden=True)] = None,
) -> Answer:
    """Keep a secret, read from a prompt, or from standard input where that is no terminal."""
    from data_engine.alerting.wording import address_fix, has_form
    from data_engine.workspace.secret_store import check_name, refuse_twin, set_secret

    check_name(name)
    if value:
        what = "the value of a secret is never given on the command line: it would be in the shell's history and the list of processes"
        fix = f"data-engine secret set {name}, which asks for it; or let a program write it to standard input"
        raise FlowValidationError(what, where="data-engine secret set", fix=fix)
    refuse_twin(name)
    typed = place.unseen(f"Value of {name}")
    kept_in = set_secret(name, typed)
    is_named = name in _alert_secrets(place)
    text, warning = f"Kept the secret {name} in {kept_in}.", None
    if is_named and not has_form(typed):
        warning = f"[alerts] to names {name}, and what it holds now is no address that a message can be sent to: {address_fix(name)}"
    elif has_form(typed):
        text += (
            f"\n{'Alerts' if is_named else 'If alerts'} go to it: `{cli_line('alert', 'test', name)}` sends one now."
        )
    notes = () if warning is None else (Note.warning(warning),)
    return said(text, {"name": name, "place": kept_in, "warning": warning}, notes=notes)


def _alert_secrets(place: Place) -> tuple[str, ...]:
    """The secrets that [alerts] of the workspace names; none without a workspace that can be read."""
    with suppress(FlowValidationError, OSError):
        return place.workspace.settings().alerts.to
    return ()


def list_secrets(place: Place) -> Answer:
    """The names of the secrets that are here, and where each is. Values are not shown, nor asked for."""
    from data_engine.workspace.secret_store import keyring_trouble, stored_secrets

    secrets, trouble = stored_secrets(), keyring_trouble()
    shown = table(("NAME", "PLACE"), ((secret.name, secret.place) for secret in secrets))
    part = shown if secrets else Lines((f"There are no secrets here yet: {cli_line('secret', 'set', 'NAME')}",))
    plain_file = f"{trouble}: secrets are kept in a private file, in plain text"
    notes = () if trouble is None else (Note(Mark(plain_file, "idle")),)
    return Answer(
        lambda: Card("", (), (part, *notes)),
        lambda: {"secrets": [asdict(secret) for secret in secrets], "keyring": trouble},
    )


def forget_secret(place: Place, name: SecretName) -> Answer:
    """Forget a secret. What the environment says stays as it is."""
    from data_engine.workspace.secret_store import remove_secret, stored_secrets

    names = [secret.name for secret in stored_secrets() if secret.place != "environment"]
    if not remove_secret(name):
        near = nearest_name(name, names)
        fix = f"did you mean {near}?" if near else f"there are: {', '.join(names) or 'none'}"
        what = f"there is no secret {name!r} here to forget"
        raise FlowValidationError(what, where="data-engine secret remove", fix=fix)
    return said(f"Forgot the secret {name}.", {"name": name, "removed": True})


SECRET = VerbGroup(
    "Keep secrets for flows in this person's keyring.",
    {"set": keep_secret, "list": list_secrets, "remove": forget_secret},
)


# -- alert ------------------------------------------------------------------------------------------------------------


def send_test(
    place: Place,
    name: Annotated[
        str | None,
        Subject("NAME", "The secret that holds the address; by default each one that `to` in [alerts] names."),
    ] = None,
) -> Answer:
    """Send a message now, and say for each recipient what became of it. Exits 1 where one was not reached."""
    from data_engine.daemon.notifier import trial_message, try_all
    from data_engine.ledger.outbox import hurry
    from data_engine.workspace.machine import person
    from data_engine.workspace.secret_store import find_secret

    ws = place.workspace
    to = (name,) if name is not None else ws.settings().alerts.to
    if name is not None:
        find_secret(name, f"data-engine alert test {name}")  # a missing name is reported before anything else
    if not to:
        what = "nobody is told of troubles: [alerts] to is empty"
        fix = 'data-engine secret set ops, with an address such as mailtos://USER:PASSWORD@HOST; then write to = ["ops"] below [alerts]'
        raise FlowValidationError(what, where=str(ws.layout.settings_path), fix=fix)
    trials = try_all(trial_message(f"{ws.workspace_id} on {person()[1]}", to))
    due = {trial.to: hurry(ws.home.ledger(), trial.to, time.time()) for trial in trials if trial.sent}
    is_sent = all(trial.sent for trial in trials)
    sent = tuple(_sent_text(trial, due[trial.to]) for trial in trials if trial.sent)
    notes = [
        Note(Mark(f"{trial.to}: not sent: {trial.what}", "bad"), trial.fix or "") for trial in trials if not trial.sent
    ]
    return Answer(
        lambda: Card("", (), (Lines(sent),)),
        lambda: {"sent": is_sent, "recipients": [trial.as_dict() for trial in trials]},
        notes=tuple(notes),
        code=0 if is_sent else 1,
    )


def _sent_text(trial: Tried, due: int) -> str:
    waiting = "" if not due else f"; {due} that waited {'is' if due == 1 else 'are'} sent now, if a daemon runs"
    return f"{trial.to}: sent ({trial.service}, {trial.took_s:.1f} s){waiting}"


def alert_history(place: Place, limit: Annotated[int, Option("How many, newest first.", least=1)] = 20) -> Answer:
    """The messages of the last week, and what became of each. After that, `status` no longer shows those that were given up."""
    from data_engine.ledger import outbox

    ledger = place.workspace.home.ledger()
    messages = outbox.history(ledger, limit)

    def card() -> Card:
        if not messages:
            return Card("No messages were sent from this machine in the last week.")
        rows: list[tuple[Cell, ...]] = []
        for row in messages:
            state = row.state.replace("_", " ")
            error = "" if row.state == "sent" else " ".join((row.error or "").split())
            shown_state = Mark(state, "bad", "cross") if row.state == "given_up" else state
            rows.append((local_time(row.since_utc), row.to, shown_state, row.subject, error))
        whole = f"`{cli_line('alert', 'history', '--json')}` shows it in full."
        columns = ("WHEN", "TO", "STATE", Column("MESSAGE", "name"), Column("ERROR", "name"))
        parts = [table(columns, rows, most=limit, whole=whole)]
        outbox.are_shown(ledger, messages, time.time())
        if left := sum(message.state == "given_up" for message in outbox.undelivered(ledger, 10_000)):
            return Card(
                "", (), (*parts, Lines((f"{left:,} more were given up: --limit {limit + left} shows them too.",)))
            )
        return Card("", (), tuple(parts))

    return Answer(card, lambda: [message.as_dict() for message in messages])


ALERT = VerbGroup(
    "Tell people of troubles: see [alerts] in config/data_engine.toml.", {"test": send_test, "history": alert_history}
)


# -- service ----------------------------------------------------------------------------------------------------------


def install(
    place: Place,
    boot: Annotated[bool, Option("Also start with the machine, before anybody logs on, where the system can.")] = False,
) -> Answer:
    """Start the daemon of the workspace at logon from now on, and now. A second time changes nothing. Exits 1 if --boot is not possible."""
    from data_engine.daemon.service import KEYRING_NOTE
    from data_engine.daemon.service import install as install_service

    ws = place.workspace
    ws.settings()
    done = install_service(ws.home, boot=boot)
    when = "with the machine" if done.boot else "at logon"
    lines = [
        f"{'Installed' if done.changed else 'Installed already'}: the daemon of {ws.workspace_id} starts {when}.",
        f"  {done.kind}: {done.place}",
        *([f"  {KEYRING_NOTE}"] if done.boot else []),
    ]
    notes = [] if done.why_no_boot is None else [f"It starts at logon only, not with the machine: {done.why_no_boot}"]
    return said("\n".join(lines), asdict(done), code=len(notes), notes=tuple(map(Note.warning, notes)))


def service_status(place: Place) -> Answer:
    """Whether the service is installed and works, and what it does. Exits 1 when something is wrong with it."""
    from data_engine.daemon.service import examined

    ws = place.workspace
    service = examined(ws.home, ws.status().service)
    lines = [service.text]
    if service.fix is not None:
        lines.append(f"fix: {service.fix}")
    if not service.installed:
        lines.append(f"install it: {cli_line('service', 'install')}")
    elif service.kind is not None:
        lines.append(f"{service.kind}, {'with the machine' if service.boot else 'at logon'}: {service.place}")
    if service.installed:
        lines.append(f"Python: {service.python}")
    return said("\n".join(lines), service.as_dict(), code=1 if service.trouble else 0)


def uninstall(place: Place) -> Answer:
    """Do not start the daemon by itself any more. A running daemon goes on, and ends when it is idle."""
    from data_engine.daemon.link import DaemonLink
    from data_engine.daemon.service import uninstall as uninstall_service

    homes = _homes(place)
    taken_away = [uninstall_service(home) for home in homes]
    was_there = any(taken_away)
    text = "No service was installed."
    if was_there:
        text = f"Uninstalled: nothing starts the daemon of {homes[0].layout.workspace_id} by itself any more."
        if any(DaemonLink(home).find() is not None for home in homes):
            text += f" The running daemon goes on: `{cli_line('stop')}` ends it."
    return said(text, {"was_installed": was_there})


def _homes(place: Place) -> list[LocalWorkspace]:
    """The workspace; where it is gone, the files that this machine keeps for those that were there."""
    try:
        return [place.workspace.home]
    except WorkspaceError:
        from data_engine.engine.local_workspace import LocalWorkspace
        from data_engine.workspace.identity import layouts_seen_at
        from data_engine.workspace.layout import WorkspaceLayout

        gone = [] if place.root is None else [Path(place.root).absolute()]
        homes = [LocalWorkspace(WorkspaceLayout(root), local) for root in gone for local in layouts_seen_at(root)]
        if not homes:
            raise
        return homes


SERVICE = VerbGroup(
    "Let the system start the daemon at logon, and again when it dies.",
    {"install": install, "status": service_status, "uninstall": uninstall},
)


# -- doctor -----------------------------------------------------------------------------------------------------------

_FOUND: dict[bool | None, Cell] = {
    True: "ok",
    False: Mark("wrong", "bad", "cross"),
    None: Mark("unknown", "warn", "triangle"),
}


def doctor(
    place: Place,
    accept_clock: Annotated[
        bool,
        Option("First confirm that this machine's clock is right: it decides which history is too old and is removed."),
    ] = False,
    daemons: Annotated[
        bool, Option("Only list the daemons of this machine and user, and how to end those of no use.")
    ] = False,
) -> Answer:
    """Measure what the workspace needs of its drive and this machine; say what to set. Exits 1 when something is wrong."""
    if daemons:
        return _daemons()
    from data_engine.daemon.doctor import examine

    ws = place.workspace
    if accept_clock:
        from data_engine.ledger.wall_clock import accept_clock as accept

        now_s = time.time()
        accept(ws.home.ledger(), now_s)
        place.show(Lines((f"The clock of this machine is right: it is {local_time(utc_text(now_s))}.", "")))
    findings = list(examine(ws.layout))
    wrong = [finding for finding in findings if finding.ok is False]
    to_do = [f"{one.name}: {one.fix}" for one in findings if one.fix is not None and one.ok is not True]

    def card() -> Card:
        rows = ((finding.name, _FOUND[finding.ok], finding.measured) for finding in findings)
        lines = [
            line for text in [*to_do, f"{plural(len(findings), 'check')}, {len(wrong)} wrong"] for line in ("", text)
        ]
        shown = table(("CHECK", "FOUND", Column("MEASURED", "text")), rows, most=len(findings))
        return Card("", (), (shown, Lines(tuple(lines))))

    facts: Any = {"ok": not wrong, "findings": [asdict(row) for row in findings]}
    return Answer(card, lambda: facts, code=1 if wrong else 0)


_DAEMON_STATES: dict[str, Cell] = {
    "answers": "answers",
    "starting": "starting",
    "silent": Mark("does not answer", "bad", "cross"),
    "workspace gone": Mark("its workspace is gone", "bad", "cross"),
}


def _daemons() -> Answer:
    """The daemons of this machine and user, of all workspaces."""
    from data_engine.daemon.running_daemons import running_daemons

    found = running_daemons()
    useless = [daemon for daemon in found if daemon.end is not None]

    def card() -> Card:
        rows = (
            (
                *(daemon.workspace, str(daemon.pid), local_time(daemon.since_utc)),
                {True: "on", False: "off", None: "?"}[daemon.engine],
                *(daemon.version or "?", _DAEMON_STATES[daemon.state]),
            )
            for daemon in found
        )
        columns = (Column("WORKSPACE", "path"), "PID", "SINCE", "ENGINE", "VERSION", "STATE")
        lines = [f"{daemon.end}    ends that of {daemon.workspace}" for daemon in useless]
        count = f"{plural(len(found), 'daemon')}, {len(useless)} of no use"
        return Card("", (), (table(columns, rows, most=len(found)), Lines((*lines, count))))

    facts: Any = {"ok": not useless, "daemons": [daemon.as_dict() for daemon in found]}
    return Answer(card, lambda: facts, code=1 if useless else 0)
