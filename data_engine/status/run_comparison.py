"""Compare two runs, the most important first (code, parameters, metadata, inputs, environment, columns, rows, durations), and show how rows and
durations of a flow developed over its runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar

from data_engine.display_hook import Displayable
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.params import value_text
from data_engine.errors import FlowValidationError
from data_engine.formatting import beginning, duration_text
from data_engine.ledger import deployments as ledger_rows
from data_engine.ledger.ledger import Ledger
from data_engine.model import Deployment, FrameChange, Run, RunFile, StepRun
from data_engine.notebook.deployments import code_differences
from data_engine.planning.drift import changes as frame_changes
from data_engine.record import Record, frozen
from data_engine.status.runs import by_label

_MOST = 50
_LONGEST = 200
_KINDS = ("params", "metadata", "inputs", "environment", "schemas", "rows", "durations")
"""The kinds of differences beside code, the most telling first."""
_SLOWER, _LEAST_S = 1.2, 0.05
_NOTHING_READ = (
    "no file that they read was seen: what a step reads by a pattern (*.parquet) or from a database may differ"
)


@frozen
class Change(Record):
    """A named value in the first run and in the second; None where it did not exist, or is not known."""

    name: str
    before: Any = None
    after: Any = None


@frozen
class CodeChange(Record):
    """A cell or file whose code differs: the lines that went ("- ") and came ("+ ")."""

    name: str
    lines: tuple[str, ...]


@frozen
class Comparison(Displayable, Record):
    """The differences between two runs; `notes` say what cannot be known.

    Each kind has the first fifty. `durations`, in seconds, has what took a fifth longer or less, and differs by 0.05 s at least.
    """

    computed: ClassVar = ("is_equal",)

    run_a: str
    run_b: str
    flow: str
    code: tuple[CodeChange, ...] = field(default=(), metadata={"of": CodeChange.read})
    params: tuple[Change, ...] = field(default=(), metadata={"of": Change.read})
    metadata: tuple[Change, ...] = field(default=(), metadata={"of": Change.read})
    inputs: tuple[Change, ...] = field(default=(), metadata={"of": Change.read})
    environment: tuple[Change, ...] = field(default=(), metadata={"of": Change.read})
    schemas: tuple[FrameChange, ...] = field(default=(), metadata={"of": FrameChange.read})
    rows: tuple[Change, ...] = field(default=(), metadata={"of": Change.read})
    durations: tuple[Change, ...] = field(default=(), metadata={"of": Change.read})
    notes: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs but how long it took."""
        return not any(getattr(self, kind) for kind in (*_KINDS[:-1], "code"))

    def lines(self) -> list[tuple[str, str]]:
        """Each difference in words, after its kind.

        Example:
            >>> Comparison("3f", "4a", "claims", params=(Change("month", "2013-01", "2013-02"),)).lines()
            [('params', 'month: 2013-01 → 2013-02')]
        """
        return list(self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        for cell in self.code:
            yield "code", "\n".join([cell.name, *(f"    {line}" for line in cell.lines)])
        for kind in _KINDS:
            for change in getattr(self, kind):
                if isinstance(change, FrameChange):
                    yield "columns", change.text
                    continue
                words = _seconds if kind == "durations" else _words
                yield kind, f"{change.name}: {words(change.before)} → {words(change.after)}"
        for note in self.notes:
            yield "note", note


def compare(home: LocalWorkspace, a: Run, b: Run) -> Comparison:
    """Compare run `a` with run `b`.

    Raises:
        LedgerError: the history cannot be read.
    """
    ledger = home.ledger()
    code, notes = _code(home, a, b)
    if a.flow != b.flow:
        notes = (f"they are of different flows: {a.flow} and {b.flow}", *notes)
    if unknown := [run.run_id[:8] for run in (a, b) if run.environment is None]:
        notes = (*notes, f"for {' and '.join(unknown)}, only times, steps and errors were recorded")
    elif not (a.inputs or b.inputs):
        notes = (*notes, _NOTHING_READ)
    before, after = by_label(ledger.steps(a.run_id)), by_label(ledger.steps(b.run_id))
    return Comparison(
        a.run_id,
        b.run_id,
        b.flow,
        code,
        changes(a.params or {}, b.params or {}),
        changes(a.metadata, b.metadata),
        _inputs(a, b),
        _environment(a, b, ledger.environment(a.environment or ""), ledger.environment(b.environment or "")),
        frame_changes(a.schemas, b.schemas)[:_MOST],
        _rows(a, b, before, after),
        _durations(a, b, before, after),
        notes,
    )


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """The values that differ between two mappings, in their order; the first fifty.

    Example:
        >>> changes({"a": 1, "b": 2}, {"b": 3, "a": 1, "c": 4})
        (Change(name='b', before=2, after=3), Change(name='c', before=None, after=4))
    """
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return tuple(Change(name, before.get(name), after.get(name)) for name in names[:_MOST])


def _code(home: LocalWorkspace, a: Run, b: Run) -> tuple[tuple[CodeChange, ...], tuple[str, ...]]:
    if a.deployment_id is None or b.deployment_id is None:
        return _by_commit(a, b)
    if a.deployment_id == b.deployment_id:
        return (), ()
    rows = {row.id: row for row in ledger_rows.published(home.ledger())}
    was, now = rows.get(a.deployment_id), rows.get(b.deployment_id)
    if was is None or now is None:
        return (), (
            f"the deployments {a.deployment_id[:8]} and {b.deployment_id[:8]} are not both in the history here",
        )
    if (was.set_id, was.digest) == (now.set_id, now.digest):
        return (), ()
    try:
        old, new = (_contents(home, row) for row in (was, now))
    except (FlowValidationError, OSError) as error:
        what = error.what if isinstance(error, FlowValidationError) else str(error)
        return (), (f"the code of the two deployments cannot be read: {what}",)
    differences = code_differences(old, new, b.flow, home.layout.flow_modules_dir)
    return tuple(CodeChange(name, tuple(lines)) for name, lines in list(differences.items())[:_MOST]), ()


def _contents(home: LocalWorkspace, row: Deployment) -> Mapping[str, bytes]:
    deployments = home.deployments()
    deployments.copy_of(row.set_id)
    return deployments.contents_of(row.set_id) or {}


def _by_commit(a: Run, b: Run) -> tuple[tuple[CodeChange, ...], tuple[str, ...]]:
    """Compare by Git commit: of a run without a deployment nothing else is known."""
    notes = [
        f"run {run.run_id[:8]} ran the modules as they were in the folder"
        + (f" at commit {run.git_commit[:8]}{', with edits' if run.git_dirty else ''}" if run.git_commit else "")
        for run in (a, b)
        if run.deployment_id is None
    ]
    if a.git_commit != b.git_commit and a.git_commit and b.git_commit:
        return (CodeChange("Git commit", (f"- {a.git_commit}", f"+ {b.git_commit}")),), tuple(notes)
    return (), tuple(notes)


def _inputs(a: Run, b: Run) -> tuple[Change, ...]:
    before, after = ({file.path: _file(file) for file in run.inputs} for run in (a, b))
    differences = changes(before, after)
    if a.more_inputs != b.more_inputs:
        differences = (*differences, Change("further files", a.more_inputs, b.more_inputs))
    return differences


def _file(file: RunFile) -> str:
    size = "gone" if file.size_bytes is None else f"{file.size_bytes:,} bytes"
    return f"{size}, {(file.modified_at_utc or '?')[:19]}"


def _environment(a: Run, b: Run, before: Sequence[str], after: Sequence[str]) -> tuple[Change, ...]:
    if a.environment == b.environment:
        return ()
    differences = changes({"Python": a.python}, {"Python": b.python})
    if a.environment and b.environment and (not before or not after):
        return (*differences, Change("packages", a.environment, b.environment))
    lists: list[dict[str, Any]] = [dict(line.partition(" ")[::2] for line in part) for part in (before, after)]
    return (*differences, *changes(*lists))[:_MOST] if before and after else differences


def _rows(a: Run, b: Run, before: Mapping[str, StepRun], after: Mapping[str, StepRun]) -> tuple[Change, ...]:
    steps = [
        {f"{label} {word}": getattr(step, f"rows_{word}") for label, step in part.items() for word in ("in", "out")}
        for part in (before, after)
    ]
    outputs = [{file.path: file.rows for file in run.outputs} for run in (a, b)]
    return (*changes(*steps), *changes(*outputs))[:_MOST]


def _durations(a: Run, b: Run, before: Mapping[str, StepRun], after: Mapping[str, StepRun]) -> tuple[Change, ...]:
    times = [
        {"the run": run.elapsed_s, **{label: step.elapsed_s for label, step in steps.items()}}
        for run, steps in ((a, before), (b, after))
    ]
    return tuple(change for change in changes(*times) if _is_telling(change.before, change.after))


def _is_telling(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return True
    least, most = sorted((before, after))
    return most - least >= _LEAST_S and most >= _SLOWER * least


def _words(value: Any) -> str:
    if value is None:
        return "-"
    return (
        f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool)
        else beginning(value_text(value), _LONGEST)
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else duration_text(value)


SHOWN = 100
"""The newest runs that a trend shows."""

_MOST_RUNS = 300
"""The newest runs from which the like runs are taken."""

_OFTEN = 0.5


@frozen
class TrendPoint(Record):
    """One run and its value: rows, or seconds."""

    run_id: str
    at_utc: str
    value: float


@frozen
class Trend(Record):
    """A value over the runs, the oldest first, `of` a "step" by its label (a second one is "Clean (2)"), an "output" by its path
    or its folder's, or the whole "run", whose `name` is "".

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
    runs = [run for run in ledger.runs(flow, _MOST_RUNS, status="success") if not run.from_the_future]
    like = like_runs(runs)
    steps = ledger.steps_of([run.run_id for run in like])
    return Trends(flow, len(like), (like[-1].params or {}) if like else {}, tuple(_trends(like, steps)))


def like_runs(newest: Sequence[Run]) -> list[Run]:
    """The runs that have the params of most of them, the oldest first.

    Example:
        >>> def run(run_id, **params):
        ...     return Run(run_id, "claims", "Claims", None, "success", "2026-01-05T06:30:00+00:00", params=params)
        >>> [like.run_id for like in like_runs([run("c"), run("b", month="2013-01"), run("a")])]
        ['a', 'c']
    """
    texts = [json.dumps(run.params or {}, sort_keys=True, default=str) for run in newest]
    if not texts:
        return []
    [(most, _)] = Counter(texts).most_common(1)
    return [run for run, params in zip(newest, texts, strict=True) if params == most][::-1]


def _trend(name: str, kind: str, values: Sequence[tuple[Run, float]], *, of: str = "step") -> Trend:
    newest = (TrendPoint(run.run_id, run.started_at_utc, value) for run, value in values[-SHOWN:])
    return Trend(name, kind, tuple(newest), of)


def _trends(runs: Sequence[Run], steps: Mapping[str, Sequence[StepRun]]) -> Iterator[Trend]:
    """Rows first: of outputs, then of each step; then how long the run and each step took."""
    written: dict[str, list[tuple[Run, float]]] = {}
    for run, name, rows in _written(runs):
        written.setdefault(name, []).append((run, rows))
    by_step: dict[tuple[str, str], list[tuple[Run, float]]] = {}
    for run in runs:
        for label, step in by_label(steps.get(run.run_id, ())).items():
            if step.rows_out is not None:
                by_step.setdefault((label, "rows"), []).append((run, float(step.rows_out)))
            if step.elapsed_s is not None:
                by_step.setdefault((label, "duration"), []).append((run, step.elapsed_s))
    yield from (_trend(name, "rows", values, of="output") for name, values in written.items() if len(values) > 1)
    yield from (
        _trend(name, kind, values) for (name, kind), values in by_step.items() if kind == "rows" and len(values) > 1
    )
    whole = [(run, run.elapsed_s) for run in runs if run.elapsed_s is not None]
    if len(whole) > 1:
        yield _trend("", "duration", whole, of="run")
    yield from (
        _trend(name, kind, values) for (name, kind), values in by_step.items() if kind != "rows" and len(values) > 1
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
