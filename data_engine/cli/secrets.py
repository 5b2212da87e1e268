"""`secret set|list|remove`: this person's secrets on this machine. A value is read from a prompt or standard input, and never printed."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated

import typer

from data_engine.cli.options import AsJson, chosen_workspace, command_group, done
from data_engine.cli.output import complain, print_json, say, table
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line
from data_engine.platforms.terminals import is_terminal

SecretName = Annotated[str, typer.Argument(metavar="NAME", help="What flows ask for: context.secret(NAME).")]


def make_app() -> typer.Typer:
    """The commands below `data-engine secret`."""
    group = command_group("Keep secrets for flows in this person's keyring.")
    group.command("set", context_settings={"allow_extra_args": True})(set_one)  # a value given here is refused with why
    group.command("list")(list_all)
    group.command("remove")(remove)
    return group


def set_one(ctx: typer.Context, name: SecretName, as_json: AsJson = False) -> int:
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
    given = _asked(name)
    place = set_secret(name, given)
    is_named = name in _told_of_alerts(ctx)
    warning = None
    if is_named and not has_form(given):
        warning = f"[alerts] to names {name}, and what it holds now is no address that a message can be sent to: {address_fix(name)}"
    if as_json:
        print_json({"name": name, "place": place, "warning": warning})
        return 0
    say(f"Kept the secret {name} in {place}.")
    if warning is not None:
        complain(f"warning: {warning}", style="yellow")
    elif has_form(given):
        say(f"{'Alerts' if is_named else 'If alerts'} go to it: `{cli_line('alert', 'test', name)}` sends one now.")
    return 0


def _told_of_alerts(ctx: typer.Context) -> tuple[str, ...]:
    """The secrets that [alerts] names in the workspace that is meant; none where there is no workspace, or it cannot be read."""
    with suppress(FlowValidationError, OSError):
        return chosen_workspace(ctx).settings().alerts.to
    return ()


def list_all(as_json: AsJson = False) -> int:
    """The names of the secrets that are here, and where each is. Values are not shown, nor asked for."""
    from data_engine.workspace.secret_store import keyring_trouble, stored_secrets

    found, trouble = stored_secrets(), keyring_trouble()
    if as_json:
        print_json({"secrets": [{"name": one.name, "place": one.place} for one in found], "keyring": trouble})
        return 0
    if found:
        shown = table("NAME", "PLACE")
        for one in found:
            shown.add_row(one.name, one.place)
        say(shown)
    else:
        say("There are no secrets here yet: data-engine secret set NAME")
    if trouble is not None:
        say(f"{trouble}: secrets are kept in a private file, in plain text", style="yellow")
    return 0


def remove(name: SecretName, as_json: AsJson = False) -> int:
    """Forget a secret. What the environment says stays as it is."""
    from data_engine.flow.suggestions import nearest_name
    from data_engine.workspace.secret_store import remove_secret, stored_secrets

    known = [one.name for one in stored_secrets() if one.place != "environment"]
    if not remove_secret(name):
        near = nearest_name(name, known)
        fix = f"did you mean {near}?" if near else f"there are: {', '.join(known) or 'none'}"
        raise FlowValidationError(
            f"there is no secret {name!r} here to forget", where="data-engine secret remove", fix=fix
        )
    return done({"name": name, "removed": True}, f"Forgot the secret {name}.", as_json)


def _asked(name: str) -> str:
    if is_terminal(sys.stdin):
        return str(typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True))
    text = "" if sys.stdin is None else sys.stdin.read()
    return text.removesuffix("\n").removesuffix("\r")
