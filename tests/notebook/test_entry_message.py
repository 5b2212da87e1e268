"""What a worker tells of a flow is all that planning needs, and comes back as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from data_engine import Flow, FlowValidationError
from data_engine.flow.trigger import Schedule
from data_engine.notebook.catalog import CatalogEntry, describe, entry_message, entry_of_message

FLOWS = {
    "without a trigger": Flow("G", "f", "A title"),
    "manual": Flow("G", "f").watch(mode="manual", source="/in", extensions=[".csv", ".csv.gz"]),
    "poll": Flow("G", "f").watch(mode="poll", source="/in", interval="1.5h", settle="500ms", max_parallel=3),
    "times": Flow("G", "f").watch(mode="schedule", time=["06:30", "18:00"], tz="Europe/Berlin", catch_up="all"),
    "cron": Flow("G", "f").watch(mode="schedule", cron="0 6 * * 1-5", run_as="batch", source="/in"),
    "days": Flow("G", "f").watch(mode="schedule", time="06:00", skip=["2026-12-25"]),
    "a file of days": Flow("G", "f", trigger=Schedule(times=("06:00",), skip_file=Path("/ws/config/holidays.txt"))),
    "interval": Flow("G", "f").watch(mode="schedule", interval="5m").mirror(root="/out"),
    "expected": Flow("G", "f")
    .watch(mode="schedule", time="06:00")
    .expect(by=["07:00", "9:30"], days="mon-fri", grace="10m"),
    "told of": Flow("G", "f").expect(every="1h", within="30m").alert(to="ops", on=["late"]).alert(to=[]),
}


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_comes_back_without_its_steps(name: str) -> None:
    flow = replace(FLOWS[name], _workspace_root=Path("/ws"))
    entry = describe(
        flow.step(lambda context: 1, label="One"), Path("/ws/flow_modules/f.ipynb"), "What for", ("careful",)
    )

    found = entry_of_message(json.loads(json.dumps(entry_message(entry))))

    assert found == replace(entry, flow=flow)
    assert found.steps == ("One",)


def test_a_broken_module_comes_back_with_its_error() -> None:
    entry = CatalogEntry("f", Path("f.py"), "F", error=FlowValidationError("what", where="where", fix="fix"))

    found = entry_of_message(json.loads(json.dumps(entry_message(entry))))

    assert found.flow is None
    assert found.error is not None
    assert found.error.as_dict() == {"what": "what", "where": "where", "fix": "fix"}
