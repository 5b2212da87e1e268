"""Whatever the order of events, flushes and reopenings, the rows are those of a plain model."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.cause import other
from data_engine.ledger.ledger import Ledger
from data_engine.model import (
    Event,
    FeedSchema,
    FileFacts,
    Frame,
    FrameChange,
    LogEntry,
    LogLine,
    ReportFacts,
    RuleCount,
    Run,
    RunAbout,
    RunCheck,
    RunFile,
    RunFinished,
    RunReport,
    RunSpent,
    RunStarted,
    RunTrigger,
    SeenSource,
    Signature,
    SourceKey,
    SourceState,
    StepFinished,
    StepRun,
    StepStarted,
    utc_text,
)
from tests.support import examples

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


def as_utf8(text: str) -> str:
    """What the log keeps of a text that is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


COUNTS = st.none() | st.integers(0, 9)
FILES = st.lists(
    st.builds(FileFacts, st.sampled_from(["/a", "/b\udcff"]), COUNTS, COUNTS, COUNTS, COUNTS), max_size=2
).map(tuple)
ABOUT = st.none() | st.builds(
    lambda detail, by, days: RunAbout(
        "slot", detail, by, f'{{"days":{days}}}', "d1", None, True, "3.11", "ab", '["x 1"]'
    ),
    st.none() | TEXTS.map(as_utf8),
    TEXTS.map(as_utf8),
    st.integers(0, 9),
)
CHECKS = st.lists(
    st.builds(RuleCount, *[st.sampled_from(["Check", "positive"])] * 2, *[st.integers(0, 9)] * 3), max_size=2
).map(tuple)
CHANGES = st.sampled_from([(), (FrameChange("raw", ("day",), until="a.csv"),)])
SCHEMAS = st.none() | st.builds(
    FeedSchema, st.just("0c25"), st.just((Frame("raw", "c0de", (("a", "Int64"),)),)), CHANGES
)
SPENT = st.none() | st.builds(
    RunSpent,
    FILES,
    st.integers(0, 9),
    FILES,
    st.integers(0, 9),
    COUNTS,
    st.none() | ELAPSED,
    CHECKS,
    COUNTS,
    schema=SCHEMAS,
    reports=st.sampled_from([(), (ReportFacts("/out/a.html", "ab", "Delays"),)]),
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        lambda run, at, seen, about: RunStarted(run, FLOW_OF[run], "G", None, at, None, seen, about),
        RUNS,
        TIMES,
        SEEN,
        ABOUT,
    ),
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
        COUNTS,
        COUNTS,
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
        SPENT,
    ),
)
MOVES = st.lists(st.one_of(EVENTS, st.sampled_from(["flush", "reopen"])), max_size=40)


def told_of(about: RunAbout) -> dict[str, Any]:
    """What a run's record says of how it began."""
    return {
        "trigger": RunTrigger(about.trigger, about.detail),
        "by": about.by,
        "params": json.loads(about.params or "null"),
        "deployment_id": about.deployment_id,
        "git_commit": about.git_commit,
        "git_dirty": about.git_dirty,
        "python": about.python,
        "environment": about.environment,
    }


def told_of_end(spent: RunSpent) -> dict[str, Any]:
    """What it says of what the run took and made."""

    def files(found: tuple[FileFacts, ...]) -> tuple[RunFile, ...]:
        times = [None if one.mtime_ns is None else utc_text(one.mtime_ns / 1e9) for one in found]
        return tuple(
            RunFile(one.path, one.size_bytes, at, one.rows, one.cell, one.tables)
            for one, at in zip(found, times, strict=True)
        )

    return {
        "inputs": files(spent.inputs),
        "more_inputs": spent.more_inputs,
        "outputs": files(spent.outputs),
        "more_outputs": spent.more_outputs,
        "peak_memory_bytes": spent.peak_memory_bytes,
        "cpu_s": spent.cpu_s,
        "checks": tuple(RunCheck(*one) for one in spent.checks),
        "rejected": spent.rejected,
        "schemas": {} if spent.schema is None else {one.name: one.columns for one in spent.schema.frames or ()},
        "drift": () if spent.schema is None else spent.schema.drift,
        "reports": tuple(RunReport(*one) for one in spent.reports),
    }


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
                begun = Run(event.run_id, event.flow, event.group, event.source, "started", started)
                self.runs[event.run_id] = begun if event.about is None else replace(begun, **told_of(event.about))
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
                rows_in=event.rows_in,
                rows_out=event.rows_out,
            )
        elif isinstance(event, RunFinished):
            self.runs[run.run_id] = replace(
                run,
                status=event.status,
                finished_at_utc=at_utc,
                elapsed_s=event.elapsed_s,
                error=event.error,
                why=event.why,
                **({} if event.spent is None else told_of_end(event.spent)),
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
@settings(max_examples=examples(50), deadline=None)
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
