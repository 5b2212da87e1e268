"""One history of several: what the older system's ledger holds and what it published, the newest of each. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from data_engine.moving.older_history import OlderFile, OlderHistory, OlderLine, OlderRun, OlderStep, newest_time


class KnownFile(NamedTuple):
    """A source file with when its last run ended, as far as that is known, and with that run's id or one made for it."""

    file: OlderFile
    at_utc: str | None
    run_id: str


@dataclass(frozen=True, slots=True)
class Merged:
    """The runs by id, oldest first, with the steps and lines of each in order; and the newest of each flow's files."""

    runs: Mapping[str, OlderRun]
    steps: Mapping[str, Sequence[OlderStep]]
    lines: Mapping[str, Sequence[OlderLine]]
    files: tuple[KnownFile, ...]

    def batch_began_utc(self, flow: str) -> str | None:
        """When the newest good run of the flow that was for no single file began."""
        return newest_time(
            run.began_utc
            for run in self.runs.values()
            if run.flow == flow and run.source is None and run.status == "success"
        )


def merge(histories: Sequence[OlderHistory]) -> Merged:
    """One history of these; where two tell of one thing, the newer counts, else the earlier in their order.

    Example:
        >>> def one(status, at): return OlderFile("claims", "/in/a.csv", 1, 5, status, "r1", at, None)
        >>> times = "2026-04-01T00:00:00.000000+00:00", "2026-04-02T00:00:00.000000+00:00"
        >>> found = merge([OlderHistory("ledger", files=(one("success", times[0]),)), OlderHistory("share", files=(one("failed", times[1]),))])
        >>> [(known.file.status, known.at_utc[:10]) for known in found.files]
        [('failed', '2026-04-02')]
    """
    runs: dict[str, OlderRun] = {}
    for run in (run for history in histories for run in history.runs):
        known = runs.get(run.run_id)
        if known is None or (known.status == "abandoned" and run.status != "abandoned"):
            runs[run.run_id] = run
    steps: dict[str, Sequence[OlderStep]] = {}
    lines: dict[str, Sequence[OlderLine]] = {}
    for history in histories:
        for run_id, of_run in _by_run(history.steps).items():
            if len(of_run) > len(steps.get(run_id, ())):
                steps[run_id] = of_run
        for run_id, said in _lines_by_run(history.lines).items():
            if len(said) > len(lines.get(run_id, ())):
                lines[run_id] = said
    newest: dict[tuple[str, str], KnownFile] = {}
    last = _last_runs(runs.values())
    for file in (file for history in histories for file in history.files):
        found = _dated(file, last.get((file.flow, file.path)))
        other = newest.get((file.flow, file.path))
        if other is None or (found.at_utc or "") > (other.at_utc or ""):
            newest[file.flow, file.path] = found
    ordered = dict(sorted(runs.items(), key=lambda pair: (pair[1].began_utc, pair[0])))
    return Merged(ordered, steps, lines, tuple(newest[key] for key in sorted(newest)))


def _by_run(steps: Iterable[OlderStep]) -> dict[str, list[OlderStep]]:
    found: dict[str, list[OlderStep]] = {}
    for step in sorted(steps, key=lambda one: one.number):
        found.setdefault(step.run_id, []).append(step)
    return found


def _lines_by_run(lines: Iterable[OlderLine]) -> dict[str, list[OlderLine]]:
    found: dict[str, list[OlderLine]] = {}
    for line in sorted(lines, key=lambda one: one.number):
        found.setdefault(line.run_id, []).append(line)
    return found


def _last_runs(runs: Iterable[OlderRun]) -> dict[tuple[str, str], OlderRun]:
    last: dict[tuple[str, str], OlderRun] = {}
    for run in runs:
        if run.source is not None:
            known = last.get((run.flow, run.source))
            if known is None or run.began_utc > known.began_utc:
                last[run.flow, run.source] = run
    return last


def _dated(file: OlderFile, last: OlderRun | None) -> KnownFile:
    """The older system dates good runs of a file only: of another the run itself tells."""
    if file.status == "success":
        return KnownFile(file, file.success_at_utc, file.success_run_id or _made_id(file))
    if last is not None and last.status == file.status:
        return KnownFile(file, last.ended_utc, last.run_id)
    return KnownFile(file, file.success_at_utc, _made_id(file))


def _made_id(file: OlderFile) -> str:
    """What stands for a run that nobody knows any more: a source can be freed only by its run's id."""
    text = "\0".join((file.flow, file.path, file.status, str(file.mtime_ns)))
    return f"older-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
