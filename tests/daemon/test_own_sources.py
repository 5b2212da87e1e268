"""A short `tests.soak.overwriting`: no writer overwrites a source, in a preview, in `run --once` and in the daemon."""

from __future__ import annotations

import pytest

from tests.soak.overwriting import Campaign
from tests.support import WorkspaceFiles

SAMPLE = [  # one of each way by which a writer is held back
    "polars.DataFrame.write_csv",
    "pyarrow.OSFile",
    "pyarrow.fs.LocalFileSystem.open_output_stream",
    "pyarrow.parquet.write_table",
    "pandas.DataFrame.to_parquet",
    "numpy.ndarray.tofile",
    "openpyxl.Workbook.save",
    "xlsxwriter.Workbook",
    "duckdb.copy",
    "duckdb.duckdb.sql",
    "python.builtins.open",
    "python.os.replace",
    "python.zipfile.ZipFile.extractall",
    "python.a pool",
]


def test_no_writer_overwrites_a_source_wherever_its_step_runs(ws: WorkspaceFiles) -> None:
    for library in ("pandas", "pyarrow", "xlsxwriter", "openpyxl"):
        pytest.importorskip(library)
    campaign = Campaign(ws, SAMPLE, together=True)

    campaign.run()

    assert campaign.tries == 9 * len(SAMPLE)
