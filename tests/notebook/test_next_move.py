"""When a module goes into production: only what is good, when somebody asked for it; in auto mode when it is quiet."""

from __future__ import annotations

import pytest

from data_engine import FlowValidationError
from data_engine.notebook.deploy import Move, Sighting, next_move

WRONG = FlowValidationError("x")
BROKEN, ASKED = Move("broken", error=WRONG), Move("deploy")
EDITED = {"current": "b", "deployed": "a"}


@pytest.mark.parametrize(
    ("what", "seen", "mode", "move"),
    [
        ("nothing changed", Sighting("a", "a"), "ask", Move("up_to_date")),
        ("nothing changed, although it is asked for", Sighting("a", "a", is_asked=True), "ask", Move("up_to_date")),
        ("a new module waits for somebody", Sighting("b", None, unchanged_for_s=99), "ask", Move("awaits_request")),
        ("and so does an edit", Sighting(**EDITED, unchanged_for_s=99), "ask", Move("awaits_request")),
        ("who asks gets it at once", Sighting(**EDITED, is_asked=True), "ask", ASKED),
        ("also a new one", Sighting("b", None, is_asked=True), "ask", ASKED),
        ("asking does not deploy what is broken", Sighting(**EDITED, error=WRONG, is_asked=True), "ask", BROKEN),
        ("a new but broken module is told", Sighting("b", None, error=WRONG), "auto", BROKEN),
        (
            "in auto a new module waits until it is quiet",
            Sighting("b", None, unchanged_for_s=29),
            "auto",
            Move("quiet", 1),
        ),
        ("an edit waits until it is quiet", Sighting(**EDITED, unchanged_for_s=29), "auto", Move("quiet", 1)),
        (
            "a quiet edit goes",
            Sighting(**EDITED, unchanged_for_s=30),
            "auto",
            Move("deploy"),
        ),
        ("a quiet but broken edit does not", Sighting(**EDITED, error=WRONG, unchanged_for_s=99), "auto", BROKEN),
        ("who asks does not wait for quiet", Sighting(**EDITED, is_asked=True), "auto", ASKED),
        (
            "a copy that writes the mirror of another flow does not go by itself",
            Sighting("b", None, shares_with="claims", unchanged_for_s=99),
            "auto",
            Move("shares_mirror", other="claims"),
        ),
        (
            "nor when somebody asks who was not told",
            Sighting("b", None, shares_with="claims", is_asked=True),
            "ask",
            Move("shares_mirror", other="claims"),
        ),
        (
            "but when that is confirmed",
            Sighting("b", None, shares_with="claims", is_asked=True, is_confirmed=True),
            "ask",
            ASKED,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_rule(what: str, seen: Sighting, mode: str, move: Move) -> None:
    assert next_move(seen, mode=mode, quiet_s=30) == move
