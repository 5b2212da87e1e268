"""What an address that messages are sent to looks like, told by its form alone. Pure; Apprise says whether it knows it."""

from __future__ import annotations

import re

from data_engine.formatting import typed

_FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", re.ASCII)
_WEB = re.compile(r"(https?)://([^/?#]*@)?([^/?#:]+)", re.IGNORECASE)
_SERVICES = (
    (
        r"(\.webhook|\boutlook)\.office(365)?\.com$",
        "the address of a Teams workflow as Teams shows it (https://... of powerplatform.com or logic.azure.com):"
        " Apprise does not know this address of a connector, which Teams has retired",
    ),
    (
        r"\.logic\.azure\.\w+$|\.(power|apps)platform\.",
        'workflows://HOST:443/WORKFLOW/SIGNATURE: WORKFLOW is what follows "/workflows/" in this address, SIGNATURE what follows "sig="',
    ),
    (r"\bslack\.com$", 'slack://A/B/C, the three parts that follow "/services/" in the address of a Slack webhook'),
    (
        r"\bdiscord(app)?\.com$",
        'discord://ID/TOKEN, the two parts that follow "/webhooks/" in the address of a Discord webhook',
    ),
)
"""By the host of an address that Apprise does not take as it is (of most services it does): the form that it knows."""


def has_form(text: str) -> bool:
    """Whether a text has the form of an address: one word that names its service.

    Example:
        >>> has_form("json://hook.example/path"), has_form("ann@example.com"), has_form("json://one json://two")
        (True, False, False)
    """
    return _FORM.fullmatch(text.strip()) is not None


def is_mail_alone(text: str) -> bool:
    """Whether a text is somebody's mail address, and so not enough to send to.

    Example:
        >>> is_mail_alone("ann@example.com"), is_mail_alone("mailtos://ann:secret@example.com"), is_mail_alone("p@ssword")
        (True, False, False)
    """
    return re.fullmatch(r"[^\s@:/]+@[^\s@:/]+\.[^\s@:/]+", text.strip()) is not None


def has_unwritten_at(text: str) -> bool:
    """Whether the user or the password in an address holds an "@" as it is, so that its host cannot be told.

    Example:
        >>> has_unwritten_at("mailtos://ann@firm.example:secret@mail.firm.example?to=ops@firm.example")
        True
        >>> has_unwritten_at("mailtos://ann:secret@firm.example?to=ops@firm.example"), has_unwritten_at("a@b@c")
        (False, False)
    """
    return has_form(text) and re.split("[/?#]", text.strip().partition("://")[2])[0].count("@") > 1


def is_unusable(text: str) -> bool:
    """Whether a text can be no address, as far as its form tells; of services but mail only Apprise knows.

    Example:
        >>> is_unusable("ops"), is_unusable("mailto://ann@firm.example:secret@host"), is_unusable("json://hook.example")
        (True, True, False)
    """
    is_mail = text.strip().lower().startswith(("mailto://", "mailtos://"))
    return not has_form(text) or (is_mail and has_unwritten_at(text))


def address_fix(name: str, text: str) -> str:
    """How the secret `name`, which holds `text` and so no address, is given one: what a mail address alone lacks, how a service's own is written.

    Example:
        >>> print(address_fix("ops", "https://hook.example/path"))
        data-engine secret set ops, with jsons://HOST/PATH, which posts JSON to it, or with the form of its service (github.com/caronc/apprise)
        >>> print(address_fix("ops", "ann@example.com"))
        data-engine secret set ops, with mailtos://USER:PASSWORD@HOST?to=NAME@DOMAIN, whose USER and PASSWORD are those of the mailbox that sends: a mail address alone is not enough
        >>> print(address_fix("ops", "ops"))
        data-engine secret set ops, with one address such as mailto://... (github.com/caronc/apprise)
        >>> print(address_fix("ops", "mailtos://ann@firm.example:secret@mail.firm.example"))
        data-engine secret set ops, with %40 for each "@" in the user and in the password: mailtos://NAME%40DOMAIN:PASSWORD@HOST?to=NAME@DOMAIN
    """
    again = typed("secret", "set", name)
    if has_unwritten_at(text):
        service = text.strip().partition("://")[0]
        to = "?to=NAME@DOMAIN" if service.lower().startswith("mailto") else ""
        shown = f"{service}://NAME%40DOMAIN:PASSWORD@HOST{to}"
        return f'{again}, with %40 for each "@" in the user and in the password: {shown}'
    like = "one address such as mailto://... (github.com/caronc/apprise)"
    if web := _WEB.match(text.strip()):
        forms = (form for host, form in _SERVICES if re.search(host, web[3].lower()))
        as_json = f"json{'s' if web[1].lower() == 'https' else ''}://HOST/PATH, which posts JSON to it"
        like = next(forms, f"{as_json}, or with the form of its service (github.com/caronc/apprise)")
    elif "@" in text and "://" not in text:
        like = (
            "mailtos://USER:PASSWORD@HOST?to=NAME@DOMAIN, whose USER and PASSWORD are those of the mailbox that sends:"
            " a mail address alone is not enough"
        )
    return f"{again}, with {like}"
