"""Whom flows want told of troubles though this machine has no secret of that name: their messages would reach nobody."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.flow.suggestions import meant
from data_engine.formatting import cli_line
from data_engine.notebook.catalog import CatalogEntry


def with_recipient_warnings(entries: Iterable[CatalogEntry], others: Collection[str]) -> tuple[CatalogEntry, ...]:
    """The entries, each with the recipients that this machine does not know among its warnings; `others` are told of other flows.

    The keyring is asked only for names that are nowhere else.
    """
    known = tuple(entries)
    if not any(entry.flow is not None and entry.flow.alerts for entry in known):
        return known
    from data_engine.workspace.secret_store import has_secret, stored_secrets

    try:
        stored = {one.name for one in stored_secrets()}
        wanted = {name for entry in known if entry.flow is not None for name in recipients_of(entry.flow)}
        here = stored | {name for name in wanted - stored if has_secret(name)}
    except FlowValidationError:  # it cannot be known, which `doctor` tells; what is done is done
        return known
    found = []
    for entry in known:
        unknown = [] if entry.flow is None else [name for name in recipients_of(entry.flow) if name not in here]
        warnings = tuple(unknown_words(entry.name, name, sorted(stored | {*others} - {name})) for name in unknown)
        found.append(replace(entry, warnings=(*entry.warnings, *warnings)))
    return tuple(found)


def recipients_of(flow: Flow) -> tuple[str, ...]:
    """The secrets that `Flow.alert(to=...)` names.

    Example:
        >>> recipients_of(Flow(group="Claims").alert(to=["ops", "boss"]).alert(to="ops", on=["late"]))
        ('ops', 'boss')
    """
    return tuple(dict.fromkeys(name for rule in flow.alerts for name in rule.to or ()))


def unknown_words(flow: str, name: str, known: Collection[str]) -> str:
    """That a recipient is unknown, with the known ones.

    Example:
        >>> unknown_words("claims", "opss", ["ops", "mail_team"])
        "claims: Flow.alert(to=...) names 'opss', and this machine has no such secret: did you mean ops? Else \
`data-engine secret set opss` stores its address; known here: ops, mail_team"
    """
    here = f"; known here: {', '.join(known)}" if known else ""
    fix = f"{meant(name, known)}`{cli_line('secret', 'set', name)}` stores its address{here}"
    return f"{flow}: Flow.alert(to=...) names {name!r}, and this machine has no such secret: {fix}"
