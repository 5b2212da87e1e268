"""Flows as they are deployed, also where their modules are gone from the authored folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from data_engine.notebook.catalog import CatalogEntry, read_catalog
from data_engine.notebook.deployments import Deployments
from data_engine.notebook.descriptions import Descriptions


def deployed_entries(
    deployments: Deployments, names: Iterable[str], kept: Descriptions | None = None
) -> list[CatalogEntry]:
    """The catalog entries of these flows as they are deployed, with `kept` as other processes found them; without those whose
    deployment cannot be had here."""
    found = []
    for name in sorted(names):
        modules = deployments.modules_of(name)
        if modules is not None:
            found += [entry for entry in read_catalog(modules, only=name, kept=kept) if entry.name == name]
    return found


def in_production(
    entries: Sequence[CatalogEntry], deployments: Deployments, edited: Collection[str], kept: Descriptions
) -> list[CatalogEntry]:
    """The entries of modules, of which those that are `edited` are as they are deployed, where that can be had and is good."""
    runs = {one.name: one for one in deployed_entries(deployments, edited, kept) if one.error is None}
    return [runs.get(one.name, one) for one in entries]
