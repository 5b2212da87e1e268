"""When an edit goes into production: only what is good, when it is new, quiet, asked for, or at a start."""

from __future__ import annotations

import pytest

from data_engine.notebook.deploy import AwaitsRequest, Broken, Deploy, Quiet, Sighting, UpToDate, next_move

EDITED = {"current": "b", "deployed": "a"}


@pytest.mark.parametrize(
    ("what", "seen", "options", "move"),
    [
        ("nothing changed", Sighting("a", "a"), {}, UpToDate()),
        ("nothing changed, although it is asked for", Sighting("a", "a", is_asked=True), {}, UpToDate()),
        ("a new module goes at once", Sighting("b", None), {}, Deploy("new")),
        ("also where edits are asked for", Sighting("b", None), {"mode": "ask"}, Deploy("new")),
        ("a new but broken module does not", Sighting("b", None, error="x"), {}, Broken("x")),
        ("an edit waits until it is quiet", Sighting(**EDITED, unchanged_for_s=29), {}, Quiet(1)),
        ("a quiet edit goes", Sighting(**EDITED, unchanged_for_s=30), {}, Deploy("the edit is good and quiet")),
        ("a quiet but broken edit does not", Sighting(**EDITED, error="x", unchanged_for_s=99), {}, Broken("x")),
        ("in ask mode it waits for somebody", Sighting(**EDITED, unchanged_for_s=99), {"mode": "ask"}, AwaitsRequest()),
        ("who asks gets it at once", Sighting(**EDITED, is_asked=True), {"mode": "ask"}, Deploy("asked for")),
        ("asking does not deploy what is broken", Sighting(**EDITED, error="x", is_asked=True), {}, Broken("x")),
        ("a start deploys everything good", Sighting(**EDITED), {"is_start": True, "mode": "ask"}, None),
        ("but nothing broken", Sighting(**EDITED, error="x"), {"is_start": True}, Broken("x")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_rule(what: str, seen: Sighting, options: dict[str, object], move: object) -> None:
    decided = next_move(seen, **({"mode": "auto", "quiet_s": 30, "is_start": False} | options))  # type: ignore[arg-type]

    assert decided == move if move is not None else isinstance(decided, Deploy)
