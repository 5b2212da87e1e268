"""When a module goes into production: only what is good, when somebody asked for it; in auto mode when it is quiet."""

from __future__ import annotations

import pytest

from data_engine.notebook.deploy import (
    AwaitsRequest,
    Broken,
    Deploy,
    Quiet,
    SharesMirror,
    Sighting,
    UpToDate,
    next_move,
)

EDITED = {"current": "b", "deployed": "a"}


@pytest.mark.parametrize(
    ("what", "seen", "mode", "move"),
    [
        ("nothing changed", Sighting("a", "a"), "ask", UpToDate()),
        ("nothing changed, although it is asked for", Sighting("a", "a", is_asked=True), "ask", UpToDate()),
        ("a new module waits for somebody", Sighting("b", None, unchanged_for_s=99), "ask", AwaitsRequest()),
        ("and so does an edit", Sighting(**EDITED, unchanged_for_s=99), "ask", AwaitsRequest()),
        ("who asks gets it at once", Sighting(**EDITED, is_asked=True), "ask", Deploy("asked for")),
        ("also a new one", Sighting("b", None, is_asked=True), "ask", Deploy("asked for")),
        ("asking does not deploy what is broken", Sighting(**EDITED, error="x", is_asked=True), "ask", Broken("x")),
        ("a new but broken module is told", Sighting("b", None, error="x"), "auto", Broken("x")),
        ("in auto a new module waits until it is quiet", Sighting("b", None, unchanged_for_s=29), "auto", Quiet(1)),
        ("an edit waits until it is quiet", Sighting(**EDITED, unchanged_for_s=29), "auto", Quiet(1)),
        (
            "a quiet edit goes",
            Sighting(**EDITED, unchanged_for_s=30),
            "auto",
            Deploy("it is good, and unchanged for [deploy] quiet"),
        ),
        ("a quiet but broken edit does not", Sighting(**EDITED, error="x", unchanged_for_s=99), "auto", Broken("x")),
        ("who asks does not wait for quiet", Sighting(**EDITED, is_asked=True), "auto", Deploy("asked for")),
        (
            "a copy that writes the mirror of another flow does not go by itself",
            Sighting("b", None, shares_with="claims", unchanged_for_s=99),
            "auto",
            SharesMirror("claims"),
        ),
        (
            "nor when somebody asks who was not told",
            Sighting("b", None, shares_with="claims", is_asked=True),
            "ask",
            SharesMirror("claims"),
        ),
        (
            "but when that is confirmed",
            Sighting("b", None, shares_with="claims", is_asked=True, is_confirmed=True),
            "ask",
            Deploy("asked for"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_rule(what: str, seen: Sighting, mode: str, move: object) -> None:
    assert next_move(seen, mode=mode, quiet_s=30) == move
