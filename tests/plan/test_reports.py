"""A plan of a flow with a report: its objects are compared, and the page as a file beside production's."""

from __future__ import annotations

import pytest

from data_engine.client import Workspace
from tests.plan.production import Production

FLOW = """
import polars as pl
from data_engine import Flow

def read(context):
    return pl.read_csv(context.source.path)

def build():
    return (
        Flow(group="Sales")
        .watch(mode="poll", source="../in", interval="5s", extensions="csv", settle=0)
        .mirror(root="../out", staged=True)
        .step(read, save_as="raw_df")
        .step(lambda context: context.current.filter(pl.col("amount") > {least}), save_as="clean_df")
        .report("clean_df", title="Sales")
    )
"""


@pytest.fixture
def reported(production: Production) -> Workspace:
    production.edit(FLOW, least="0")
    production.go()
    return production.ws


def test_a_page_that_is_as_before_does_not_differ(reported: Workspace, production: Production) -> None:
    """Nor is what the report passes on compared once more."""
    production.edit(FLOW, least="(-1)")

    plan = reported.plan("sales")

    assert [name for name, difference in plan.objects.items() if not difference.equal] == []
    assert list(plan.objects) == ["raw_df", "clean_df"]
    assert [name for name, difference in plan.outputs.items() if not difference.equal] == []
    assert len(plan.outputs) == 3


def test_what_a_page_would_show_otherwise_is_told_by_its_objects(reported: Workspace, production: Production) -> None:
    """By rows; and the pages that change are named."""
    production.edit(FLOW, least="20")

    plan = reported.plan("sales")

    assert plan.objects["clean_df"].rows.removed > 0
    assert [name for name, difference in plan.outputs.items() if not difference.equal]
    assert not (reported.root / "out" / "gone.html").exists()
