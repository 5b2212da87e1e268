"""What `list` warns of below its table: names that mislead, modules that are gone or broken, sources that are not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from data_engine.cli.output import complain
from data_engine.cut import first_few
from data_engine.errors import FlowValidationError

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.notebook.standing import Standing


def say_warned(entries: Sequence[CatalogEntry]) -> None:
    """Which modules are warned of, beside what is told here: all their warnings would bury the list."""
    warned = [f"{entry.name} ({len(entry.warnings)})" for entry in entries if entry.warnings]
    if warned:
        complain()
        complain(f"warnings of {first_few(warned, 5)}: `data-engine compile` shows them", style="yellow")


def say_misleading_names(ws: Workspace, paths: Sequence[Path]) -> None:
    """Which of these modules are named like something else, so that another one is imported than was meant."""
    from data_engine.notebook.beside import misleading_names

    with suppress(OSError, FlowValidationError):  # it was there a moment ago
        for warning in misleading_names(ws.home.modules(), paths):
            complain(f"warning: {warning}", style="yellow")


def say_what_is_wrong(entries: Sequence[CatalogEntry], gone: Mapping[str, Standing]) -> None:
    """What of sources is not there, which modules are gone, and what is wrong with broken ones."""
    from data_engine.status.source_trouble import all_source_warnings

    flows = [entry.flow for entry in entries if entry.flow is not None]
    for warning in (warning for warnings in all_source_warnings(flows) for warning in warnings):
        complain(f"warning: {warning}", style="yellow")
    for _, one in sorted(gone.items()):
        complain()
        complain(one.edit or "", style="yellow")
    for entry in entries:
        if entry.error is not None:
            complain()
            complain(f"{entry.path.name} is broken: {entry.error}", style="red")
