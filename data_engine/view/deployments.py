"""The cards of deployments."""

from __future__ import annotations

from collections.abc import Sequence

from data_engine.formatting import plural
from data_engine.model import Deployment
from data_engine.view.card import (
    MOST_ROWS,
    Card,
    Code,
    table,
)


def deployments_card(deployments: Sequence[Deployment]) -> Card:
    """What production runs and ran, a line for each deployment, in the order given."""
    from data_engine.status.deployed_before import deployment_cells

    rows: list[tuple[str | Code, ...]] = [
        (Code(row.id[:8], row.id), *deployment_cells(row)) for row in deployments[:MOST_ROWS]
    ]
    columns = ("Id", "Flow", "When", "Who", "What", "Changed", "Git", "Compared", "Note")
    return Card(plural(len(deployments), "deployment"), (), (table(columns, rows, total=len(deployments)),))
