"""A short `tests.soak.overwriting`: no writer overwrites a source, in a preview, in `run --once` and in the daemon."""

from __future__ import annotations

import pytest

from tests.soak.overwriting import Campaign
from tests.support import WorkspaceFiles

SAMPLE = [  # one of each way by which a writer is held back, of libraries that are imported soon
    "polars.DataFrame.write_csv",
    "pyarrow.OSFile",
    "pyarrow.parquet.write_table",
    "duckdb.copy",
    "duckdb.duckdb.sql",
    "python.builtins.open",
    "python.os.replace",
]


def test_no_writer_overwrites_a_source_wherever_its_step_runs(ws: WorkspaceFiles) -> None:
    pytest.importorskip("pyarrow")
    campaign = Campaign(ws, SAMPLE, together=True)

    campaign.run()

    assert campaign.tries == 9 * len(SAMPLE)
