"""The zones that the slots of runs are told in."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.model import Run
from data_engine.notebook.catalog import clock_zone, read_catalog


def slot_zones(home: LocalWorkspace, runs: Iterable[Run]) -> dict[str, str | None]:
    """By flow the zone of its schedule, of those that have run for a slot; None is this machine's.

    A flow whose module is gone or broken has the zone of the workspace.
    """
    flows = {run.flow for run in runs if run.scheduled_for is not None}
    if not flows:
        return {}
    timezone = home.settings().timezone
    zones: dict[str, str | None] = dict.fromkeys(flows, timezone or None)
    for name in flows:
        with suppress(FlowValidationError):
            for entry in read_catalog(home.modules(), only=name, kept=home.descriptions()):
                if entry.name == name and entry.flow is not None:
                    zones[name] = clock_zone(entry, timezone)
    return zones
