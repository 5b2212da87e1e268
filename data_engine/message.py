"""A message to people: its facts, and the plain text and the HTML that one function makes of them.

Everything in it is one line or cut to a length, masked (`data_engine/secret.py`) and free of control characters; in the
HTML it is escaped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime

from data_engine.formatting import visible_lines
from data_engine.record import Record, frozen
from data_engine.secret import masked

TROUBLES = (
    "failed",
    "held",
    "missed",
    "late",
    "overlong",
    "silent_owner",
    "unreachable",
    "rejected",
    "drift",
    "recovered",
)
"""The kinds of troubles that people can choose to get messages about."""

KINDS = (*TROUBLES, "report", "digest", "test")
"""Every kind a message can be of; "report" brings a page that a run has made, and only `Flow.alert` asks for it."""

MOST_NOTICES = 20
"""Notices shown in a message; the rest is counted."""

_LONGEST_SUBJECT = 150
_LONGEST_ERROR = 4000
_LONGEST_OF_MANY = 500
_LONGEST_LINE = 500


@frozen
class Notice:
    """One notice in a message: what happened in one line, and the known facts.

    `reason` is what prevented it, `since` a time as people read it, `fix` what to do, `page` the path of a report, `more` how often the
    like happened besides.
    """

    headline: str
    flow: str | None = None
    source: str | None = None
    step: str | None = None
    cell: str | None = None
    error: str | None = None
    reason: str | None = None
    since: str | None = None
    fix: str | None = None
    page: str | None = None
    more: int = 0


@frozen
class Message:
    """A message to people. `id` is the same for the same trouble, sent again; `to` names the secrets that hold the addresses.
    `attachment` is the path of a report's page that goes with it."""

    id: str
    kind: str
    flow: str | None
    subject: str
    text: str
    html: str
    to: tuple[str, ...]
    at: datetime
    attachment: str | None = None


@frozen
class Undelivered(Record):
    """A message that one of its recipients has not received: `state` is "waiting" or "given_up" (in a history also "sent"), `error`
    that of the last try.

    `to` is the name of the secret that holds the address; `next_try_utc` is None after the last try.
    """

    message_id: str = ""
    to: str = ""
    state: str = "waiting"
    kind: str = ""
    flow: str | None = None
    subject: str = ""
    since_utc: str = ""
    tries: int = 0
    error: str | None = None
    next_try_utc: str | None = None


def message_id(*parts: object) -> str:
    """The id of a message: the same parts give the same id on every machine.

    Example:
        >>> message_id("failed", "claims", 3) == message_id("failed", "claims", 3) != message_id("failed", "claims", 4)
        True
    """
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def message(
    kind: str,
    subject: str,
    notices: Sequence[Notice],
    *,
    id: str,
    to: Iterable[str],
    at: datetime,
    sender: str,
    flow: str | None = None,
    attachment: str | None = None,
) -> Message:
    """The message with these notices; those above a limit are only counted. `sender` says where it is from ("sales on ws-7").

    Raises:
        ValueError: `kind` is no kind of message.

    Example:
        >>> from datetime import UTC, datetime
        >>> mail = message("failed", "claims failed", [Notice("The flow claims failed.", flow="claims", error="no <b>")],
        ...     id="3fa2", to=["ops"], at=datetime(2026, 1, 5, tzinfo=UTC), sender="sales on ws-7")
        >>> print(mail.text)
        The flow claims failed.
        <BLANKLINE>
        Flow: claims
        Error: no <b>
        <BLANKLINE>
        --
        Data Engine, sales on ws-7
        Message 3fa2
        >>> "no &lt;b&gt;" in mail.html
        True
    """
    if kind not in KINDS:
        raise ValueError(f"no message is of the kind {kind!r}: use one of {', '.join(KINDS)}")
    shown, left_out = list(notices[:MOST_NOTICES]), max(0, len(notices) - MOST_NOTICES)
    longest_error = _LONGEST_ERROR if len(shown) == 1 else _LONGEST_OF_MANY
    paragraphs = ["\n\n".join([_line(notice.headline), *_facts(notice, longest_error)]) for notice in shown]
    end = [] if not left_out else [f"And {left_out:,} more: data-engine status"]
    footer = "\n".join(["--", f"Data Engine, {_line(sender)}", f"Message {_line(id)}"])
    body = "\n\n".join([*paragraphs, *end, footer])
    recipients, words = tuple(dict.fromkeys(to)), _line(subject, _LONGEST_SUBJECT)
    return Message(id, kind, flow, words, body, _as_html(body), recipients, at, attachment)


def clean(text: str, longest: int) -> str:
    """`text` as it may leave this machine: masked, with control characters made visible, valid in UTF-8, cut to a length.

    Example:
        >>> clean("a\\x1b[31m\\r\\nb", 100), clean("x" * 12, 10)
        ('a\\\\x1b[31m\\nb', 'xxxxxxxxxx ... (2 more characters)')
    """
    text = visible_lines(masked(text)).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= longest else f"{text[:longest]} ... ({len(text) - longest:,} more characters)"


def _line(text: str, longest: int = _LONGEST_LINE) -> str:
    return clean(" ".join(text.split()), longest)


def _facts(notice: Notice, longest_error: int) -> list[str]:
    """The facts of a notice below its headline, as one paragraph; empty without any."""
    error = None if notice.error is None else clean(notice.error.strip(), longest_error)
    if error is not None and "\n" in error:
        error = "\n" + "\n".join(f"    {line}" for line in error.split("\n"))
    facts = {
        "Flow": notice.flow and _line(notice.flow),
        "Source": notice.source and _line(notice.source),
        "Step": notice.step and _line(notice.step),
        "Cell": notice.cell and _line(notice.cell),
        "Reason": notice.reason and _line(notice.reason),
        "Since": notice.since and _line(notice.since),
        "Error": error,
        "Page": notice.page and _line(notice.page),
        "Besides": f"{notice.more:,} more of the kind" if notice.more else "",
        "What to do": notice.fix and _line(notice.fix),
    }
    lines = [f"{label}: {value}".replace(": \n", ":\n", 1) for label, value in facts.items() if value]
    return ["\n".join(lines)] if lines else []


def _as_html(text: str) -> str:
    """The text as HTML with line breaks, from which a mail program that shows no HTML can make the plain text again."""
    from html import escape

    return "<br>".join(escape(line).replace("  ", "&nbsp; ") for line in text.split("\n"))
