"""How the rows and the durations of a flow went over its runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from data_engine.display_hook import Displayable
from data_engine.ledger.ledger import Ledger
from data_engine.model import Run, StepRun
from data_engine.record import Record, frozen
from data_engine.status.runs import by_label

SHOWN = 100
"""The newest runs that a trend shows."""

_MOST = 300
"""The newest runs of which those that are alike are taken."""

_OFTEN = 0.5


@frozen
class TrendPoint(Record):
    """One run and its value: rows, or seconds."""

    run_id: str
    at_utc: str
    value: float


@frozen
class Trend(Record):
    """A value over the runs, the oldest first, `of` a "step" by its label (of two alike the second is "Clean (2)"), an "output"
    by its path or its folder's, or the whole "run", whose `name` is "".

    `kind` is "rows" or "duration" (seconds).
    """

    name: str
    kind: str
    points: tuple[TrendPoint, ...] = field(metadata={"of": TrendPoint.read})
    of: str = "step"


@frozen
class Trends(Displayable, Record):
    """The trends of a flow over its newest `runs` like runs: good ones that were given the same `params`."""

    flow: str
    runs: int
    params: Mapping[str, object] = field(default_factory=dict)
    trends: tuple[Trend, ...] = field(default=(), metadata={"of": Trend.read})


def trends_of(ledger: Ledger, flow: str) -> Trends:
    """The trends of a flow by its history on this machine.

    Raises:
        LedgerError: the history cannot be read.
    """
    runs = [run for run in ledger.runs(flow, _MOST, status="success") if not run.from_the_future]
    like = like_runs(runs)
    steps = ledger.steps_of([run.run_id for run in like])
    return Trends(flow, len(like), (like[-1].params or {}) if like else {}, tuple(_trends(like, steps)))


def like_runs(newest: Sequence[Run]) -> list[Run]:
    """Those of the runs that were given what most of them were given, the oldest first.

    Example:
        >>> def run(run_id, **params):
        ...     return Run(run_id, "claims", "Claims", None, "success", "2026-01-05T06:30:00+00:00", params=params)
        >>> [one.run_id for one in like_runs([run("c"), run("b", month="2013-01"), run("a")])]
        ['a', 'c']
    """
    given = [json.dumps(run.params or {}, sort_keys=True, default=str) for run in newest]
    if not given:
        return []
    [(most, _)] = Counter(given).most_common(1)
    return [run for run, params in zip(newest, given, strict=True) if params == most][::-1]


def _trend(name: str, kind: str, told: Sequence[tuple[Run, float]], *, of: str = "step") -> Trend:
    newest = (TrendPoint(run.run_id, run.started_at_utc, value) for run, value in told[-SHOWN:])
    return Trend(name, kind, tuple(newest), of)


def _trends(runs: Sequence[Run], steps: Mapping[str, Sequence[StepRun]]) -> Iterator[Trend]:
    """Rows first: of outputs, then of each step; then how long the run and each step took."""
    written: dict[str, list[tuple[Run, float]]] = {}
    for run, name, rows in _written(runs):
        written.setdefault(name, []).append((run, rows))
    told: dict[tuple[str, str], list[tuple[Run, float]]] = {}
    for run in runs:
        for label, step in by_label(steps.get(run.run_id, ())).items():
            if step.rows_out is not None:
                told.setdefault((label, "rows"), []).append((run, float(step.rows_out)))
            if step.elapsed_s is not None:
                told.setdefault((label, "duration"), []).append((run, step.elapsed_s))
    yield from (_trend(name, "rows", values, of="output") for name, values in written.items() if len(values) > 1)
    yield from (
        _trend(name, kind, values) for (name, kind), values in told.items() if kind == "rows" and len(values) > 1
    )
    whole = [(run, run.elapsed_s) for run in runs if run.elapsed_s is not None]
    if len(whole) > 1:
        yield _trend("", "duration", whole, of="run")
    yield from (
        _trend(name, kind, values) for (name, kind), values in told.items() if kind != "rows" and len(values) > 1
    )


def _written(runs: Sequence[Run]) -> Iterator[tuple[Run, str, float]]:
    """The rows of each output: by its path where most runs write it, else all that a run wrote into its folder.

    A run that wrote more files than are named by their paths says nothing of a folder.
    """
    often = Counter(file.path for run in runs for file in run.outputs if file.rows is not None)
    for run in runs:
        rows: Counter[str] = Counter()
        for file in run.outputs:
            if file.rows is None:
                continue
            if often[file.path] >= _OFTEN * len(runs):
                rows[file.path] += file.rows
            elif not run.more_outputs:
                rows[_folder(file.path)] += file.rows
        yield from ((run, name, float(number)) for name, number in rows.items())


def _folder(path: str) -> str:
    """The folder of a file as its run named it, on whichever system.

    Example:
        >>> _folder("/out/days/1.parquet"), _folder(r"C:\\out\\1.parquet")
        ('/out/days', 'C:\\\\out')
    """
    return path[: max(path.rfind("/"), path.rfind("\\"), 1)]
