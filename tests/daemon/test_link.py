"""What waits for a daemon is heard when a person breaks it off."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from data_engine.daemon import link
from data_engine.daemon.link import DaemonLink


class Daemon:
    """One whose run ends after some questions; `asked` has how long each was to wait."""

    def __init__(self, questions: int) -> None:
        self.questions = questions
        self.asked: list[float] = []

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(body["timeout_s"])
        return {"pending": body["run_ids"] if len(self.asked) < self.questions else [], "why": None}


@pytest.mark.parametrize(("longest_s", "at_most_s"), [(1.0, 1.0), (float("inf"), 20.0)])
def test_no_question_waits_longer_than_a_call_may(
    monkeypatch: pytest.MonkeyPatch, longest_s: float, at_most_s: float
) -> None:
    """On Windows Ctrl-C is heard between two calls only; elsewhere it breaks one off, and the daemon is asked seldom."""
    daemon = Daemon(4)
    monkeypatch.setattr(link, "LONGEST_CALL_S", longest_s)
    monkeypatch.setattr(DaemonLink, "require", lambda self: daemon)

    DaemonLink(SimpleNamespace()).wait_for_runs(["3f9c"], print)  # type: ignore[arg-type]

    assert daemon.asked == [1.0, at_most_s, at_most_s, at_most_s]
