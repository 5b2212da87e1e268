"""Flows as they are deployed, also where their modules are gone from the authored folder."""

from __future__ import annotations

from collections.abc import Iterable

from data_engine.notebook.catalog import CatalogEntry, read_catalog
from data_engine.notebook.deployments import Deployments


def deployed_entries(deployments: Deployments, names: Iterable[str]) -> list[CatalogEntry]:
    """The catalog entries of these flows as they are deployed; without those whose deployment cannot be had here."""
    found = []
    for name in sorted(names):
        modules = deployments.modules_of(name)
        if modules is not None:
            found += [entry for entry in read_catalog(modules, only=name) if entry.name == name]
    return found
