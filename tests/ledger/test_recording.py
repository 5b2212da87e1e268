"""What a run reports is what the ledger answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine.cause import other
from data_engine.errors import LedgerError
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.logs import RECORDED_BYTES, RECORDED_LINES
from data_engine.model import (
    Event,
    LogEntry,
    Run,
    Signature,
    SourceKey,
    SourceState,
    StepProgress,
    StepRun,
    Switch,
    utc_text,
)
from tests.ledger.events import begin, end, finish, line, seen, start

KEY = SourceKey("../in", "a.csv")


def test_a_whole_run_reads_back_as_it_was_reported(ledger: Ledger) -> None:
    """Run, steps, log and source state hold every field of the events."""
    for event in (
        start("r1", source="/in/a.csv", sees=(seen(digest="ab"),)),
        begin("r1", 0),
        StepProgress("r1", 0, "Step 0", 1, 2, 1.2),
        line("r1", "halfway"),
        end("r1", 0, outputs=("/out/a.parquet", "/out/b.parquet")),
        begin("r1", 1, at=2.0),
        end("r1", 1, at=2.5, elapsed_s=0.5),
        finish("r1", seen=(seen(digest="ab"),)),
    ):
        ledger.record(event)

    assert ledger.run("r1") == Run(
        "r1", "claims", "G", "/in/a.csv", "success", utc_text(0), utc_text(3), elapsed_s=3.0, error=None, why=None
    )
    assert ledger.steps("r1") == [
        StepRun("r1", 0, "Step 0", "success", utc_text(1), utc_text(2), 1.0, None, "/out/a.parquet"),
        StepRun("r1", 1, "Step 1", "success", utc_text(2), utc_text(2.5), 0.5, None, None),
    ]
    assert ledger.log("r1") == [LogEntry("r1", "claims", None, "INFO", "halfway", utc_text(1.5))]
    assert ledger.outputs("claims") == {"/out/a.parquet", "/out/b.parquet"}
    assert ledger.source_states("claims") == {
        KEY: SourceState(
            flow="claims",
            key=KEY,
            status="success",
            last=Signature(10, 100, "ab"),
            last_run_id="r1",
            last_at_utc=utc_text(3),
            success=Signature(10, 100, "ab"),
            success_run_id="r1",
            success_at_utc=utc_text(3),
        )
    }


@pytest.mark.parametrize("status", ["failed", "stopped", "killed"])
def test_a_run_that_did_not_succeed_keeps_the_last_success(ledger: Ledger, status: str) -> None:
    """Only the last signature, status and error move; what succeeded before stays known."""
    ledger.record(start("r1", sees=(seen(),)))
    ledger.record(finish("r1", seen=(seen(),)))
    ledger.record(start("r2", sees=(seen(size=11),)))
    ledger.record(finish("r2", status, at=9.0, error="boom", seen=(seen(size=11),)))

    state = ledger.source_states("claims")[KEY]
    assert (state.status, state.last, state.error, state.last_run_id) == (status, Signature(11, 100), "boom", "r2")
    assert (state.success, state.success_run_id, state.success_at_utc) == (Signature(10, 100), "r1", utc_text(3))


def test_a_first_failure_knows_no_success(ledger: Ledger) -> None:
    """`success` is None until a run ended well; without an error text the cause is the reason."""
    ledger.record(start("r1", sees=(seen(),)))
    ledger.record(finish("r1", "killed", why=other("the time limit was reached"), seen=(seen(),)))

    state = ledger.source_states("claims")[KEY]
    assert (state.success, state.success_run_id, state.error) == (None, None, "the time limit was reached")


def test_success_clears_the_error_and_moves_the_success_signature(ledger: Ledger) -> None:
    """A source that failed and then succeeded is clean."""
    for number, (status, error) in enumerate((("failed", "boom"), ("success", None))):
        ledger.record(start(f"r{number}"))
        ledger.record(finish(f"r{number}", status, error=error, seen=(seen(size=number),)))

    state = ledger.source_states("claims")[KEY]
    assert (state.status, state.error, state.success, state.success_run_id) == (
        "success",
        None,
        Signature(1, 100),
        "r1",
    )


def test_a_step_written_in_two_flushes_is_one_row(ledger: Ledger) -> None:
    """A slow step is seen while it runs, and keeps its start when it ends."""
    ledger.record(start("r1"))
    ledger.record(begin("r1"))
    ledger.flush()
    live = ledger.steps("r1")
    ledger.record(end("r1", at=9.0, elapsed_s=1.0))
    ledger.flush()

    assert live == [StepRun("r1", 0, "Step 0", "started", utc_text(1))]
    assert ledger.steps("r1") == [StepRun("r1", 0, "Step 0", "success", utc_text(1), utc_text(9), 1.0)]


def test_a_step_whose_start_was_never_reported_begins_where_its_time_says(ledger: Ledger) -> None:
    """Nothing is lost when only the end of a step arrives."""
    ledger.record(start("r1"))
    ledger.record(end("r1", at=9.0, elapsed_s=2.0))
    ledger.flush()

    assert [step.started_at_utc for step in ledger.steps("r1")] == [utc_text(7)]


def test_steps_with_one_label_are_two_rows(ledger: Ledger) -> None:
    """A step is known by its number, not by its label."""
    ledger.record(start("r1"))
    for index in (0, 1):
        ledger.record(end("r1", index, label="Clean", outputs=(f"/out/{index}",)))
    ledger.flush()

    assert [(step.index, step.label, step.output_path) for step in ledger.steps("r1")] == [
        (0, "Clean", "/out/0"),
        (1, "Clean", "/out/1"),
    ]


def test_a_run_that_ends_leaves_no_step_open(ledger: Ledger) -> None:
    """The step a killed run was in gets the run's status and end."""
    ledger.record(start("r1"))
    ledger.record(begin("r1"))
    ledger.record(finish("r1", "killed"))

    assert [(step.status, step.finished_at_utc) for step in ledger.steps("r1")] == [("killed", utc_text(3))]


def test_the_first_end_of_a_run_decides(ledger: Ledger) -> None:
    """A late end, a late start and late steps change nothing; a late line is still kept."""
    ledger.record(start("r1"))
    ledger.record(finish("r1", "killed", why=other("by request"), seen=(seen(),)))
    before = ledger.run("r1"), ledger.source_states("claims")
    ledger.record(begin("r1"))
    ledger.record(end("r1"))
    ledger.record(line("r1", "last words"))
    ledger.record(finish("r1", "success", seen=(seen(size=99),)))
    ledger.record(start("r1", at=5.0))

    assert (ledger.run("r1"), ledger.source_states("claims")) == before
    assert ledger.steps("r1") == []
    assert [entry.message for entry in ledger.log("r1")] == ["last words"]


def test_events_of_a_run_that_never_began_leave_no_rows(ledger: Ledger) -> None:
    """Nothing that nobody would ever close."""
    ledger.record(begin("ghost"))
    ledger.record(end("ghost", outputs=("/out/x",)))
    ledger.record(finish("ghost", seen=(seen(),)))

    assert (ledger.runs(), ledger.steps("ghost"), ledger.source_states("claims")) == ([], [], {})


def test_a_batch_settles_every_source_it_saw(ledger: Ledger) -> None:
    """All of them in the transaction of the run's end."""
    sources = tuple(seen(f"{number}.csv", size=number) for number in range(500))
    ledger.record(start("r1", source="/in", sees=sources))
    ledger.record(finish("r1", seen=sources))

    states = ledger.source_states("claims")
    assert {key: state.success for key, state in states.items()} == {one.key: one.signature for one in sources}


def test_a_log_is_bounded_by_lines(ledger: Ledger, path: Path) -> None:
    """After the bound one line says that the rest is missing, also when the ledger is opened again in between."""
    ledger.record(start("r1"))
    for number in range(RECORDED_LINES + 5):
        ledger.record(line("r1", str(number)))
    ledger.flush()
    with Ledger.open(path) as again:
        again.record(line("r1", "more"))
        again.flush()

    log = ledger.log("r1")
    assert [entry.message for entry in log[:-1]] == [str(number) for number in range(RECORDED_LINES)]
    assert log[-1].message.startswith("log truncated")


def test_a_log_is_bounded_by_bytes(ledger: Ledger) -> None:
    """Text counts as bytes; other runs keep their own room."""
    ledger.record(start("r1"))
    ledger.record(start("r2"))
    for _ in range(3):
        ledger.record(line("r1", "ä" * (RECORDED_BYTES // 4)))
        ledger.flush()
    ledger.record(line("r2"))
    ledger.flush()

    assert [len(entry.message) > 100 for entry in ledger.log("r1")] == [True, True, False]
    assert ledger.log("r1")[-1].message.startswith("log truncated")
    assert len(ledger.log("r2")) == 1


def test_names_that_are_no_text_come_back_as_they_were(ledger: Ledger) -> None:
    """A file whose name is no UTF-8 is recognised at the next scan, and spoils nothing that waits with it."""
    odd = seen("a\udcff.csv")
    ledger.record(start("r1", source="/in/a\udcff.csv", sees=(odd,)))
    ledger.record(end("r1", outputs=("/out/\udcff",)))
    ledger.record(line("r1", "read a\udcff.csv"))
    ledger.record(finish("r1", seen=(odd,)))

    run = ledger.run("r1")
    assert run is not None
    assert run.source == "/in/a\udcff.csv"
    assert ledger.runs(source="/in/a\udcff.csv") == [run]
    assert set(ledger.source_states("claims")) == {odd.key}
    assert ledger.outputs("claims") == {"/out/\udcff"}
    assert ledger.log("r1")[0].message == "read a\\udcff.csv"


def test_every_written_row_carries_a_newer_revision(ledger: Ledger) -> None:
    """A publisher that takes the rows above the last revision it knows misses none."""
    tables = ("runs", "step_runs", "file_state", "logs")

    def newest() -> dict[str, int]:
        return {table: ledger.rows(f"SELECT IFNULL(MAX(rev), 0) FROM {table}")[0][0] for table in tables}

    ledger.record(start("r1"))
    first = newest()
    ledger.record(begin("r1"))
    ledger.record(line("r1"))
    ledger.flush()
    second = newest()
    ledger.record(finish("r1", seen=(seen(),)))
    third = newest()

    assert first["runs"] > 0
    assert second["step_runs"] == second["logs"] > first["runs"]
    assert third["runs"] == third["step_runs"] == third["file_state"] > second["logs"]


def test_a_closed_ledger_says_so(path: Path) -> None:
    """Closing twice is fine; using it afterwards is a typed error."""
    ledger = Ledger.open(path)
    ledger.close()
    ledger.close()

    for call in (
        ledger.runs,
        ledger.flush,
        lambda: ledger.record(start("r1")),
        lambda: ledger.set_switch("a", Switch(True)),
    ):
        with pytest.raises(LedgerError, match="closed"):
            call()


def test_the_source_that_a_step_returns_is_no_output(ledger: Ledger) -> None:
    """It was read, not written; the step's own record still names it."""
    ledger.record(start("r1", source="/in/a.csv"))
    ledger.record(end("r1", outputs=("/in/a.csv", "/in/a.out")))
    ledger.record(finish("r1"))

    assert ledger.outputs("claims") == {"/in/a.out"}
    assert ledger.steps("r1")[0].output_path == "/in/a.csv"


@pytest.mark.parametrize("status", ["success", "failed"])
def test_a_run_that_begins_and_ends_in_one_write_is_kept_as_one_that_was_written_bit_by_bit(
    tmp_path: Path, status: str
) -> None:
    """Also where others run meanwhile, a step is left open, and something comes after the end."""
    sees = (seen(digest="ab"),)
    events = (
        start("r1", source="/in/a.csv", sees=sees),
        begin("r1", 0),
        start("r2", flow="other", at=0.5),
        line("r1", "halfway"),
        end("r1", 0, outputs=("/out/a.parquet", "/in/a.csv")),
        begin("r1", 1, at=2.0),
        begin("r2", 0, at=2.0),
        finish("r1", status, seen=sees, error="oh" if status == "failed" else None),
        end("r1", 1, at=9.0),
        finish("r1", "killed", at=9.0, seen=sees),
        end("r2", 0),
        finish("r2", at=4.0),
    )

    def kept(name: str, batches: tuple[tuple[Event, ...], ...]) -> object:
        with Ledger.open(tmp_path / f"{name}.sqlite") as ledger:
            for batch in batches:
                ledger.record(*batch)
                ledger.flush()
            rows = [(ledger.run(one), ledger.steps(one), ledger.log(one)) for one in ("r1", "r2")]
            return rows, ledger.outputs("claims"), ledger.source_states("claims"), ledger.running()

    assert kept("whole", (events,)) == kept("bits", tuple((event,) for event in events))
