"""What an address that messages are sent to looks like, told by its form alone. Pure; Apprise says whether it knows it."""

from __future__ import annotations

import re

from data_engine.typed import typed

_FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", re.ASCII)


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


def address_fix(name: str, text: str) -> str:
    """How the secret `name`, which holds `text` and so no address, is given one; of a mail address alone, what it lacks.

    Example:
        >>> print(address_fix("ops", "ann@example.com"))
        data-engine secret set ops, with mailtos://USER:PASSWORD@HOST?to=NAME@DOMAIN, whose USER and PASSWORD are those of the mailbox that sends: a mail address alone is not enough
        >>> print(address_fix("ops", "ops"))
        data-engine secret set ops, with one address such as mailto://... (github.com/caronc/apprise)
    """
    like = "one address such as mailto://... (github.com/caronc/apprise)"
    if "@" in text and "://" not in text:
        like = (
            "mailtos://USER:PASSWORD@HOST?to=NAME@DOMAIN, whose USER and PASSWORD are those of the mailbox that sends:"
            " a mail address alone is not enough"
        )
    return f"{typed('secret', 'set', name)}, with {like}"
