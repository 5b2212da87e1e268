"""Typed parameters on their way through the daemon: checked there before a worker has them, made an instance in the worker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.flow.parameters import TypedValue
from tests.support import AUTO, WorkspaceFiles

FLOW = """
    from dataclasses import dataclass
    from datetime import date
    from data_engine import Flow

    @dataclass
    class Settings:
        month: date
        code: str = ""

    def work(context):
        context.log(repr(context.params))

    def build():
        return Flow(group="G").params(Settings).step(work)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("config/data_engine.toml", AUTO)
    ws.notebook("monthly", FLOW)
    found = Workspace(ws.root)
    found.deploy("monthly")
    yield found
    found.kill()


def test_every_way_gives_the_same_and_a_wrong_value_begins_nothing(workspace: Workspace) -> None:
    """A value of Python, a text as typed, and JSON; texts are not guessed at where the type is known."""
    ways = (
        {"month": date(2013, 3, 1), "code": "007"},
        {"month": TypedValue.text("2013-03"), "code": TypedValue.text("007")},
        {"month": "2013-03-01", "code": "007"},
    )
    for params in ways:
        run = workspace.run("monthly", params=params)[0]
        lines = [line.message for line in workspace.log(run.run_id)]  # type: ignore[union-attr]
        assert lines == ["Settings(month=datetime.date(2013, 3, 1), code='007')"]

    for params, words in (({}, "was not given"), ({"mnth": "2013-03"}, "no parameter"), ({"month": "May"}, "month")):
        with pytest.raises(FlowValidationError, match=words):
            workspace.run("monthly", params=params)
    assert len(workspace.runs()) == len(ways)
