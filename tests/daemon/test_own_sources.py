"""A short `tests.soak.overwriting`: no writer overwrites a source, in a preview, in `run --once` and in the daemon."""

from __future__ import annotations

import pytest

from tests.soak.overwriting import Campaign
from tests.support import WorkspaceFiles

SAMPLE = [  # one of each way by which a writer is held back
    "polars.DataFrame.write_csv",
    "polars.LazyFrame.sink_parquet",
    "polars.PartitionBy",
    "pyarrow.OSFile",
    "pyarrow.dataset.write_dataset",
    "pyarrow.fs.LocalFileSystem.open_output_stream",
    "pyarrow.parquet.write_table",
    "pandas.DataFrame.to_parquet",
    "pandas.DataFrame.to_excel",
    "numpy.ndarray.tofile",
    "openpyxl.Workbook.save",
    "xlsxwriter.Workbook",
    "duckdb.copy",
    "duckdb.prepared with a value",
    "duckdb.DuckDBPyRelation.write_parquet",
    "duckdb.duckdb.sql",
    "python.builtins.open",
    "python.os.replace",
    "python.os.truncate",
    "python.shutil.copy2",
    "python.zipfile.ZipFile.extractall",
    "python.logging.FileHandler",
    "python.a pool",
]


def test_no_writer_overwrites_a_source_wherever_its_step_runs(ws: WorkspaceFiles) -> None:
    for library in ("pandas", "pyarrow", "xlsxwriter", "openpyxl"):
        pytest.importorskip(library)
    campaign = Campaign(ws, SAMPLE, together=True)

    campaign.run()

    assert campaign.tries == 9 * len(SAMPLE)
