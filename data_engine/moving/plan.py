"""What moving a workspace would do: facts of what was found, and their words. Nothing is read or written here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from data_engine.counted import counted
from data_engine.ledger.brought import BroughtLine, BroughtRun, BroughtStep, newer_states
from data_engine.model import SourceKey, SourceState
from data_engine.moving.edits import Edit
from data_engine.moving.keys import DatabaseKeys
from data_engine.moving.merging import Merged
from data_engine.moving.older_lease import OlderLease
from data_engine.moving.placing import FlowSource, Placed


@dataclass(frozen=True, slots=True)
class Plan:
    """What moving a workspace does. `states` and `runs` are those this machine's history lacks.

    `settings` are this machine's settings to be kept, by key; `kept_settings` those of the older system that stay as they are here.
    `notes` are sentences on what else was found.
    """

    root: Path
    read_from: tuple[str, ...] = ()
    leases: tuple[OlderLease, ...] = ()
    runs: tuple[BroughtRun, ...] = ()
    states: tuple[SourceState, ...] = ()
    runs_known: int = 0
    states_known: int = 0
    placed: Placed = field(default_factory=lambda: Placed((), 0, {}, ()))
    settings: Mapping[str, str] = field(default_factory=dict)
    kept_settings: Mapping[str, str] = field(default_factory=dict)
    databases: tuple[DatabaseKeys, ...] = ()
    edits: tuple[Edit, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def to_seal(self) -> list[OlderLease]:
        """The older system's leases that are to be sealed."""
        return [lease for lease in self.leases if lease.state != "sealed"]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do but the exchange of keys."""
        return not (self.runs or self.states or self.settings or self.to_seal)

    @property
    def due_databases(self) -> list[DatabaseKeys]:
        """The databases with keys to exchange."""
        return [one for one in self.databases if one.is_due]

    def lines(self) -> Iterator[str]:
        """What would be done, for people."""
        if self.read_from:
            yield "Read, and left as it is:"
            yield from (f"  {place}" for place in self.read_from)
        for lease in self.leases:
            yield f"Older system, {lease.older_id}: {lease.words}"
        yield ""
        if self.is_empty:
            yield "Nothing of the older system is left to take over."
        else:
            yield "This would be done:"
        for lease in self.to_seal:
            yield f"  seal      no daemon of the older system can own {lease.older_id} any more (--undo takes the seal off)"
        yield from (
            f"  setting   {key} = {value}, in this machine's settings.toml" for key, value in self.settings.items()
        )
        if self.runs or self.runs_known:
            steps, lines = (sum(len(getattr(run, name)) for run in self.runs) for name in ("steps", "lines"))
            known = f"; {self.runs_known:,} are here already" if self.runs_known else ""
            yield (
                f"  history   {counted(len(self.runs), 'run')} with {counted(steps, 'step')} and"
                f" {counted(lines, 'line')} of their logs{known}"
            )
        if self.states or self.states_known:
            yield from self._state_lines()
        for name, value in self.kept_settings.items():
            yield f"  ({name} is {value} in the older system, and stays as it is set here)"
        for flow, folder in sorted(self.placed.elsewhere.items()):
            yield f"  ({flow}: what another workstation calls {folder} is treated as the flow's source)"
        yield from self._unplaced_lines()
        yield from (f"  ({note})" for note in self.notes)

    def _state_lines(self) -> Iterator[str]:
        known = f"; {self.states_known:,} are known here as well or newer" if self.states_known else ""
        yield f"  files     what is known of {counted(len(self.states), 'source file')}{known}"
        if self.placed.implied:
            yield f"            not recorded by the older system, but read by a good run of the batch: {self.placed.implied:,} of them"
        counts = Counter((state.flow, state.status) for state in self.states)
        words = {
            "success": "done: they run again when they change",
            "failed": "failed, which the older system never tried again: held until they change, `retry`, or the engine is started",
            "stopped": "stopped: held until they change, `retry`, or the engine is started",
            "abandoned": "begun and never ended: they run when the engine does",
        }
        for (flow, status), count in sorted(counts.items()):
            yield f"            {flow}: {count:,} {words.get(status, status)}"

    def _unplaced_lines(self) -> Iterator[str]:
        by_why: dict[tuple[str, str], list[str]] = {}
        for flow, path, why in self.placed.unplaced:
            by_why.setdefault((flow, why), []).append(path)
        for (flow, why), paths in sorted(by_why.items()):
            yield f"  ({flow}: {counted(len(paths), 'file')} cannot be taken over: {why}, such as {paths[0]})"
        if any("does not load" in why for _, why in by_why):
            yield "  (correct those modules, then import again: what is there already stays)"

    def key_lines(self) -> Iterator[str]:
        """What the databases hold of the older system's keys, for people."""
        for one in self.databases:
            if one.problem is not None:
                yield f"  {one.path}: could not be read: {one.problem}"
            for table in one.tables:
                shown = f"  {one.path}: {table.shown}.{table.column}"
                if table.problem is not None:
                    yield f"{shown}: left as it is, {table.problem}"
                else:
                    gone = f"; {counted(table.unknown, 'key')} of unknown files stay" if table.unknown else ""
                    yield f"{shown}: {counted(len(table.exchanged), 'key')} in {counted(table.rows, 'row')}{gone}"

    def edit_lines(self) -> Iterator[str]:
        """What to look at in the modules, for people."""
        for edit in self.edits:
            yield f"  {edit.place}: {edit.what}"
            if edit.fix:
                yield f"      {edit.fix}"

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "workspace_root": self.root,
            "read_from": list(self.read_from),
            "older": [
                {"id": one.older_id, "state": one.state, "owner": one.owner, "pid": one.pid, "age_s": one.age_s}
                for one in self.leases
            ],
            "runs": len(self.runs),
            "runs_known": self.runs_known,
            "files": len(self.states),
            "files_known": self.states_known,
            "by_flow": [
                {"flow": flow, "status": status, "files": count}
                for (flow, status), count in sorted(Counter((s.flow, s.status) for s in self.states).items())
            ],
            "unplaced": [{"flow": flow, "path": path, "why": why} for flow, path, why in self.placed.unplaced],
            "settings": dict(self.settings),
            "databases": [_database_as_dict(one) for one in self.databases],
            "edits": [edit.as_dict() for edit in self.edits],
            "notes": list(self.notes),
        }


def make_plan(
    merged: Merged,
    sources: Mapping[str, FlowSource],
    placed: Placed,
    *,
    known_runs: set[str],
    known_states: Mapping[tuple[str, SourceKey], SourceState],
    forgotten: Mapping[str, str],
    facts: Plan,
) -> Plan:
    """`facts` with what of the merged history this machine lacks."""
    runs = tuple(
        brought_run(merged, run_id, sources)
        for run_id, run in merged.runs.items()
        if run_id not in known_runs and run.began_utc >= forgotten.get(run.flow, "")
    )
    states = tuple(newer_states(placed.states, known_states, forgotten))
    return replace(
        facts,
        runs=runs,
        states=states,
        runs_known=len(merged.runs) - len(runs),
        states_known=len(placed.states) - len(states),
        placed=placed,
    )


def brought_run(merged: Merged, run_id: str, sources: Mapping[str, FlowSource]) -> BroughtRun:
    """A run with its steps and lines as this system keeps them."""
    run = merged.runs[run_id]
    source = sources.get(run.flow)
    inside = None if source is None or run.source is None else source.inside(run.source)
    key = None if source is None or inside is None else SourceKey(source.authored, inside)
    steps: Sequence[BroughtStep] = [
        BroughtStep(
            step.label,
            step.status,
            step.began_utc,
            step.ended_utc or step.began_utc,
            step.elapsed_s,
            step.error,
            step.output,
        )
        for step in merged.steps.get(run_id, ())
    ]
    lines = [BroughtLine(line.step, line.level, line.message, line.at_utc) for line in merged.lines.get(run_id, ())]
    ended = run.ended_utc or run.began_utc
    error = run.error or ("the older system ended while it ran" if run.status == "abandoned" else None)
    elapsed_s = None if run.status == "abandoned" else seconds_between(run.began_utc, ended)
    return BroughtRun(
        run_id, run.flow, run.group, run.source, key, run.status, run.began_utc, ended, elapsed_s, error, steps, lines
    )


def seconds_between(began_utc: str, ended_utc: str) -> float:
    """How long it took; 0 where the clock was set back.

    Example:
        >>> seconds_between("2026-04-01T00:00:00+00:00", "2026-04-01T00:00:01.500000+00:00")
        1.5
    """
    return max(0.0, (datetime.fromisoformat(ended_utc) - datetime.fromisoformat(began_utc)).total_seconds())


def _database_as_dict(one: DatabaseKeys) -> dict[str, Any]:
    return {
        "path": one.path,
        "problem": one.problem,
        "tables": [
            {
                "table": table.shown,
                "column": table.column,
                "keys": len(table.exchanged),
                "rows": table.rows,
                "unknown": table.unknown,
                "problem": table.problem,
            }
            for table in one.tables
        ],
    }
