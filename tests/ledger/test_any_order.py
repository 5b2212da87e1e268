"""Whatever the order of events, flushes and reopenings, the rows are those of a plain model."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.cause import other
from data_engine.ledger.ledger import Ledger
from data_engine.model import (
    Event,
    LogEntry,
    LogLine,
    Run,
    RunFinished,
    RunStarted,
    SeenSource,
    Signature,
    SourceKey,
    SourceState,
    StepFinished,
    StepRun,
    StepStarted,
    utc_text,
)

RUNS = st.sampled_from(["r1", "r2", "r3"])
FLOW_OF = {"r1": "claims", "r2": "claims", "r3": "audit"}
TIMES = st.integers(0, 10**9).map(float)
ELAPSED = st.integers(0, 100).map(float)
INDEXES = st.integers(0, 2)
TEXTS = st.text(max_size=5)
SEEN = st.lists(
    st.builds(
        SeenSource,
        st.builds(SourceKey, st.just("in"), st.sampled_from(["a", "b\udcff", "ü"])),
        st.builds(Signature, st.integers(0, 9), st.integers(0, 9), st.none() | st.just("ab")),
    ),
    max_size=3,
    unique_by=lambda one: one.key,
).map(tuple)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(lambda run, at, seen: RunStarted(run, FLOW_OF[run], "G", None, at, None, seen), RUNS, TIMES, SEEN),
    st.builds(StepStarted, RUNS, INDEXES, TEXTS, TIMES),
    st.builds(
        StepFinished,
        RUNS,
        INDEXES,
        TEXTS,
        st.sampled_from(["success", "failed"]),
        TIMES,
        ELAPSED,
        st.none() | TEXTS,
        st.lists(st.sampled_from(["/a", "/b\udcff"]), max_size=2).map(tuple),
    ),
    st.builds(lambda run, text, at: LogLine(run, FLOW_OF[run], None, "INFO", text, at), RUNS, TEXTS, TIMES),
    st.builds(
        RunFinished,
        RUNS,
        st.sampled_from(["success", "failed", "stopped", "killed"]),
        TIMES,
        ELAPSED,
        st.none() | TEXTS,
        st.none() | st.builds(other, TEXTS),
        SEEN,
    ),
)
MOVES = st.lists(st.one_of(EVENTS, st.sampled_from(["flush", "reopen"])), max_size=40)


def as_utf8(text: str) -> str:
    """What the log keeps of a text that is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


class Model:
    """The ledger as dictionaries."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.steps: dict[tuple[str, int], StepRun] = {}
        self.logs: list[LogEntry] = []
        self.states: dict[tuple[str, SourceKey], SourceState] = {}
        self.outputs: dict[str, set[str]] = {"claims": set(), "audit": set()}

    def record(self, event: Event) -> None:
        run = self.runs.get(event.run_id)
        if isinstance(event, LogLine):
            self.logs.append(
                LogEntry(event.run_id, event.flow, None, "INFO", as_utf8(event.message), utc_text(event.at_s))
            )
        elif isinstance(event, RunStarted):
            if run is None:
                started = utc_text(event.at_s)
                self.runs[event.run_id] = Run(event.run_id, event.flow, event.group, event.source, "started", started)
        elif run is not None:
            if isinstance(event, StepFinished):
                self.outputs[run.flow] |= set(event.outputs)
            if run.status == "started":
                self._change(run, event)

    def _change(self, run: Run, event: Event) -> None:
        at_utc = utc_text(event.at_s)
        if isinstance(event, StepStarted):
            key = run.run_id, event.step_index
            self.steps[key] = StepRun(run.run_id, event.step_index, as_utf8(event.label), "started", at_utc)
        elif isinstance(event, StepFinished):
            key = run.run_id, event.step_index
            known = self.steps.get(key)
            self.steps[key] = StepRun(
                run_id=run.run_id,
                index=event.step_index,
                label=as_utf8(event.label),
                status=event.status,
                started_at_utc=known.started_at_utc if known else utc_text(event.at_s - event.elapsed_s),
                finished_at_utc=at_utc,
                elapsed_s=event.elapsed_s,
                error=event.error,
                output_path=event.outputs[0] if event.outputs else None,
            )
        elif isinstance(event, RunFinished):
            self.runs[run.run_id] = replace(
                run,
                status=event.status,
                finished_at_utc=at_utc,
                elapsed_s=event.elapsed_s,
                error=event.error,
                why=event.why,
            )
            for key, step in self.steps.items():
                if key[0] == run.run_id and step.status == "started":
                    self.steps[key] = replace(step, status=event.status, finished_at_utc=at_utc)
            for one in event.seen:
                self._settle(run, event, one, at_utc)

    def _settle(self, run: Run, event: RunFinished, one: SeenSource, at_utc: str) -> None:
        is_good = event.status == "success"
        known = self.states.get((run.flow, one.key)) or SourceState(run.flow, one.key, "", one.signature)
        state = known._replace(
            status=event.status,
            last=one.signature,
            last_run_id=run.run_id,
            last_at_utc=at_utc,
            error=None if is_good else event.error or event.cause,
        )
        if is_good:
            state = state._replace(success=one.signature, success_run_id=run.run_id, success_at_utc=at_utc)
        self.states[run.flow, one.key] = state


@given(moves=MOVES)
@settings(max_examples=150, deadline=None)
def test_any_order_of_events_gives_the_rows_of_the_model(moves: list[Event | str]) -> None:
    """Several runs at once, flushed anywhere, the ledger closed and opened anywhere."""
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        ledger = Ledger.open(path)
        for move in moves:
            if move == "flush":
                ledger.flush()
            elif move == "reopen":
                ledger.close()
                ledger = Ledger.open(path)
            elif not isinstance(move, str):
                ledger.record(move)
                model.record(move)
        ledger.close()
        with Ledger.open(path) as ledger:
            assert {run.run_id: run for run in ledger.runs()} == model.runs
            assert {(step.run_id, step.index): step for run in FLOW_OF for step in ledger.steps(run)} == model.steps
            assert {run: ledger.log(run) for run in FLOW_OF} == {
                run: [entry for entry in model.logs if entry.run_id == run] for run in FLOW_OF
            }
            for flow in ("claims", "audit"):
                assert {(flow, key): state for key, state in ledger.source_states(flow).items()} == {
                    key: state for key, state in model.states.items() if key[0] == flow
                }
                assert ledger.outputs(flow) == model.outputs[flow]
