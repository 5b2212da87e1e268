"""What a run's record says more: it is stored, published, and taken in; old histories open, and old and new readers meet."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from data_engine.ledger.ledger import Ledger
from data_engine.ledger.segments import TABLES, decode
from data_engine.model import FileFacts, RuleCount, Run, RunAbout, RunCheck, RunFile, RunSpent, RunTrigger
from tests.ledger.events import begin, end, finish, start
from tests.ledger.sharing import Folder, Machine

NEW_COLUMNS = {
    "runs": (
        "trigger_kind trigger_detail run_by params deployment_id git_commit git_dirty python environment inputs outputs"
        " peak_memory_bytes cpu_s checks rejected"
    ).split(),
    "step_runs": ["rows_in", "rows_out"],
}


def about(detail: str = "t0") -> RunAbout:
    return RunAbout(
        "slot",
        detail,
        "anna@ANNA-PC",
        '{"month":"2013-01-01"}',
        "d1",
        "ab12",
        True,
        "3.11.7",
        "0c25",
        '["polars 2.1.0"]',
    )


def record(ledger: Ledger, root: Path, run_id: str = "r1") -> None:
    """A run with everything."""
    read, wrote = FileFacts(str(root / "in" / "a.csv"), 10, 0), FileFacts("/mart/b.parquet", 5, 0, 3)
    ledger.record(
        start(run_id)._replace(about=about()),
        begin(run_id),
        end(run_id, rows_in=10, rows_out=3),
        finish(
            run_id, spent=RunSpent((read,), 2, (wrote,), 0, 1000, 0.25, (RuleCount("Check", "positive", 9, 2, 1),), 3)
        ),
    )


ROOTS = (Path("/mnt/a"), Path("/mnt/b"))


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[Machine]]:
    folder = Folder()
    found = [Machine(folder, tmp_path / f"{root.name}.sqlite", root) for root in ROOTS]
    yield found
    for machine in found:
        machine.close()


def test_what_was_told_is_kept_published_and_taken_in(two: list[Machine]) -> None:
    """Another machine sees the same, with the workspace's files where they are there; the list of packages goes once."""
    a, b = two
    a.claim()
    record(a.ledger, ROOTS[0])
    record(a.ledger, ROOTS[0], "r2")
    a.commit()
    b.refresh()

    for machine, root in zip(two, ROOTS, strict=True):
        run = machine.ledger.run("r1")
        assert run is not None
        assert (run.trigger, run.by, run.params) == (RunTrigger("slot", "t0"), "anna@ANNA-PC", {"month": "2013-01-01"})
        assert (run.deployment_id, run.git_commit, run.git_dirty, run.python) == ("d1", "ab12", True, "3.11.7")
        assert [one.path for one in run.inputs] == [str(root / "in" / "a.csv")]
        assert run.outputs == (RunFile("/mart/b.parquet", 5, "1970-01-01T00:00:00.000000+00:00", 3),)
        assert (run.more_inputs, run.peak_memory_bytes, run.cpu_s) == (2, 1000, 0.25)
        assert (run.checks, run.rejected) == ((RunCheck("Check", "positive", 9, 2, 1),), 3)
        assert [(step.rows_in, step.rows_out) for step in machine.ledger.steps("r1")] == [(10, 3)]
        assert machine.ledger.environment(run.environment or "") == ("polars 2.1.0",)
        assert Run.read(run.as_dict()) == run


def test_old_and_new_segments_meet(two: list[Machine]) -> None:
    """An old reader leaves the new columns and the new table out; a new one finds nothing where an old segment has none."""
    a, _ = two
    a.claim()
    record(a.ledger, ROOTS[0])
    batch = a.share.unpublished(token=a.folder.head.number)
    assert batch is not None
    for table, names in NEW_COLUMNS.items():
        whole = parquet.read_table(io.BytesIO(batch.tables[table]))
        assert set(names) <= set(whole.column_names)
        sink = io.BytesIO()
        parquet.write_table(whole.drop_columns(names), sink, store_schema=False)
        old = next(decode(table, sink.getvalue()))
        at = {name: number for number, name in enumerate(TABLES[table].columns)}
        new = next(decode(table, batch.tables[table]))

        assert [old[at[name]] for name in names] == [[None]] * len(names)
        assert all(old[number] == new[number] for name, number in at.items() if name not in names)
        assert pa.types.is_string(whole.schema.field("run_id").type)


def test_an_output_of_the_workspace_stays_in_it(two: list[Machine], tmp_path: Path) -> None:
    """Paths inside the workspace travel relative to its root."""
    a, _ = two
    a.claim()
    record(a.ledger, ROOTS[0])
    batch = a.share.unpublished(token=a.folder.head.number)

    assert batch is not None
    columns = next(decode("runs", batch.tables["runs"]))
    inputs = columns[list(TABLES["runs"].columns).index("inputs")][0]
    assert inputs == '{"files":[["in/a.csv",10,0,null]],"more":2}'
