"""The zones that the slots of runs are told in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.ledger.deployments import published
from data_engine.model import Run
from data_engine.notebook.catalog import CatalogEntry, clock_zone, read_catalog
from data_engine.notebook.load import FlowModules


def slot_zones(home: LocalWorkspace, runs: Iterable[Run]) -> dict[str, str | None]:
    """By flow the zone of its schedule, of those that have run for a slot; None is this machine's."""
    return {flow: slot_zone(home, flow) for flow in {run.flow for run in runs if run.scheduled_for is not None}}


def with_zones(home: LocalWorkspace, runs: Sequence[Run]) -> list[Run]:
    """The runs, those that were for a slot with the zone of their flow's schedule."""
    zones = slot_zones(home, runs)
    return [run if run.scheduled_for is None else replace(run, tz=zones[run.flow]) for run in runs]


def slot_zone(home: LocalWorkspace, name: str) -> str | None:
    """The zone of the flow's schedule, of one whose module is gone or broken as it was deployed last; None is this machine's.

    Where nothing of it is left here, that of the workspace.
    """
    timezone = home.settings_shown().timezone
    entry = _entry(home, home.modules(), name) or _deployed_last(home, name)
    return (timezone or None) if entry is None else clock_zone(entry, timezone)


def _deployed_last(home: LocalWorkspace, name: str) -> CatalogEntry | None:
    rows = [row for row in published(home.ledger(), name) if row.set_id]
    if not rows:
        return None
    modules = home.deployments().modules_in(max(rows, key=lambda row: (row.number, row.id)).set_id)
    return None if modules is None else _entry(home, modules, name)


def _entry(home: LocalWorkspace, modules: FlowModules, name: str) -> CatalogEntry | None:
    """Of the flow of this name among the modules; None where it is not there, or broken."""
    with suppress(FlowValidationError):
        for entry in read_catalog(modules, only=name, kept=home.descriptions()):
            if entry.name == name and entry.flow is not None:
                return entry
    return None
