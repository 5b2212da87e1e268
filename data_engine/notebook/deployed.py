"""Flows as they are deployed, also where their modules are gone from the authored folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from data_engine.notebook.catalog import CatalogEntry, read_catalog
from data_engine.notebook.deployments import Deployments
from data_engine.notebook.descriptions import Descriptions
from data_engine.notebook.standing import Standing


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


def with_gone(
    entries: Sequence[CatalogEntry], deployments: Deployments, standings: Mapping[str, Standing], kept: Descriptions
) -> list[CatalogEntry]:
    """The entries of modules and of those that are gone, by name: as production runs them, where an edit is good."""
    edited = [one.name for one in entries if one.error is None and standings[one.name].is_edited]
    gone = deployed_entries(deployments, [name for name, one in standings.items() if one.kind == "gone"])
    return sorted([*in_production(entries, deployments, edited, kept), *gone], key=lambda entry: entry.name)
