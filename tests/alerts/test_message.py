"""A message: one set of facts, told in plain text and in HTML, masked, escaped and bounded."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from data_engine import secret
from data_engine.message import MOST_NOTICES, Notice, message, message_id
from tests.alerts.conftest import told


def test_both_bodies_tell_the_same_facts() -> None:
    """Flow, source, step, cell, error, what to do and since when; and the id, by which one that comes twice is known."""
    found = told()

    for body in (found.text, found.html.replace("&#x27;", "'")):
        for fact in (
            *("claims", "in/monday.csv", "Read", "claims.ipynb, cell 3, line 2", "KeyError: 'amount'", "10:02"),
            *("data-engine retry claims", "sales on ws-7", "Message 3fa2"),
        ):
            assert fact in body


def test_what_a_file_or_an_error_says_is_no_html() -> None:
    """Everything is escaped."""
    found = told(error="<script>alert(1)</script> & more")

    assert "<script>" not in found.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in found.html
    assert "<script>alert(1)</script> & more" in found.text


def test_secrets_are_masked_in_every_part() -> None:
    """Also in the subject, and as a URL has them."""
    secret.learn("pass w0rd/42")
    notice = Notice(
        "It said pass w0rd/42.", flow="pass w0rd/42", source="pass w0rd/42", error="at pass%20w0rd%2F42@dwh"
    )

    found = message(
        "failed", "pass w0rd/42", [notice], id="1", to=["ops"], at=datetime.now(UTC), sender="pass w0rd/42 on ws"
    )

    assert "w0rd" not in f"{found.subject} {found.text} {found.html}"


def test_a_subject_is_one_line_and_nothing_can_be_smuggled_into_a_header() -> None:
    """Names of files hold line ends, control characters, and bytes that are no text."""
    found = message(
        "failed", "a\r\nBcc: x\x00\u202e\udcff", [Notice("h")], id="1", to=["ops"], at=datetime.now(UTC), sender="s"
    )

    assert found.subject == r"a Bcc: x\x00\u202e\udcff"
    found.html.encode()


def test_a_message_is_bounded_however_much_it_has_to_tell() -> None:
    """A thousand long notices are some of them, shortened, and a count."""
    notices = [Notice(f"Flow {number} failed.", error="x" * 100_000, source="s" * 10_000) for number in range(1000)]

    found = message("digest", "1000 flows failed", notices, id="1", to=["ops"], at=datetime.now(UTC), sender="s")

    assert f"And {1000 - MOST_NOTICES:,} more: data-engine status" in found.text
    assert f"Flow {MOST_NOTICES - 1} failed." in found.text
    assert f"Flow {MOST_NOTICES} failed." not in found.text
    assert len(found.text) + len(found.html) < 100_000


def test_recipients_are_named_once_and_the_kind_is_known() -> None:
    """A name that flow and workspace both give gets one message."""
    found = told("1", "ops", "anna", "ops")

    assert found.to == ("ops", "anna")
    with pytest.raises(ValueError, match="no message is of the kind 'odd'"):
        message("odd", "s", [], id="1", to=[], at=datetime.now(UTC), sender="s")


def test_an_id_follows_from_what_the_trouble_is() -> None:
    """The same whoever derives it, and another for another."""
    assert message_id("failed", "a", "b") == message_id("failed", "a", "b")
    assert message_id("failed", "a", "b") != message_id("failed", "ab", "")
