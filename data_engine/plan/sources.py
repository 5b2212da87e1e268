"""Which sources a plan runs for: those that production really saw, the newest first, as far as they are still what it saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from data_engine.engine.candidates import Source, is_unchanged, listed_source, signature_of, startup_sources
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Trigger
from data_engine.formatting import first_few
from data_engine.model import Signature
from data_engine.plan.plan import PlannedSource
from data_engine.record import frozen

_MOST_RUNS = 1000
_MOST_NAMES = 3


@frozen
class Seen:
    """A source that production has read well, as it was then (None: not known), and when."""

    source: Source
    at_utc: str
    signature: Signature | None = None

    @property
    def name(self) -> str:
        """Its path inside the source folder, or the file's name."""
        return name_of(self.source)


@frozen
class Chosen:
    """The sources to run for, with what is to be told of those that are not."""

    sources: tuple[Source, ...]
    told: tuple[PlannedSource, ...]
    notes: tuple[str, ...] = ()


def name_of(source: Source) -> str:
    """What people call a source: its path inside the source folder."""
    if source.key is not None and source.key.path:
        return source.key.path
    shown = source.path or source.root
    return "" if shown is None else shown.name


def sources_seen(flow: Flow, home: LocalWorkspace, count: int) -> Chosen:
    """The last `count` sources that production has read well, newest first.

    Raises:
        FlowValidationError: there is no source at all.
    """
    trigger = flow.trigger
    if trigger is None or trigger.source is None:
        return Chosen((Source(),), (PlannedSource(""),))
    seen = sorted(_seen(flow, trigger, home), key=lambda one: one.at_utc, reverse=True)
    if trigger.run_as == "batch":
        return _batch(flow, seen)
    chosen, notes = choose(seen, count)
    if not chosen:
        found = _failed_first(flow, home)[:count]
        if not found:
            raise FlowValidationError(
                f"there is no file for a plan in {trigger.source}",
                where=f'flow "{flow.name}"',
                fix="put a file there that production would read",
            )
        first = (
            "production has read no source that is still there; these are the first, those that failed before others"
        )
        chosen, notes = [Seen(source, "") for source in found], [*notes, first]
    elif len(chosen) == count < len(seen):
        notes = [
            *notes,
            f"of the {len(seen):,} sources that production has read, the last {count}; --sources N takes more",
        ]
    told = tuple(PlannedSource(one.name, one.source.text, one.at_utc or None) for one in chosen)
    return Chosen(tuple(one.source for one in chosen), told, tuple(notes))


def _failed_first(flow: Flow, home: LocalWorkspace) -> list[Source]:
    """All sources in sort order; those that failed before others, and one of each error before a second of the same."""
    failed = {state.key: state.error or "" for state in home.ledger().source_states(flow.name or "").not_good()}
    of_error: Counter[str] = Counter()

    def place(source: Source) -> tuple[bool, int]:
        error = failed.get(source.key, "").replace(source.text or "", "") if source.key is not None else ""
        of_error[error] += 1
        return source.key not in failed, of_error[error]

    return sorted(startup_sources(flow), key=place)


def choose(seen: Iterable[Seen], count: int) -> tuple[list[Seen], list[str]]:
    """The first `count` that are still what production saw, and what to tell of newer ones that are not."""
    chosen: list[Seen] = []
    gone: list[str] = []
    changed: list[str] = []
    for one in seen:
        if len(chosen) == count:
            break
        path = one.source.path
        if path is None or signature_of(path) is None:
            gone.append(one.name)
        elif (one.signature is not None and not is_unchanged(path, one.signature)) or (
            one.signature is None and _is_newer(path, one.at_utc)
        ):
            changed.append(one.name)
        else:
            chosen.append(one)
    told = ((gone, "not there any more"), (changed, "changed since production read it"))
    return chosen, [f"not planned with {first_few(names, _MOST_NAMES)}: {why}" for names, why in told if names]


def _seen(flow: Flow, trigger: Trigger, home: LocalWorkspace) -> list[Seen]:
    """The sources whose last good run is known: by the state of each, else by the runs themselves."""
    ledger = home.ledger()
    found = [
        Seen(listed_source(trigger, state.key.path), state.success_at_utc or "", state.success)
        for state in ledger.source_states(flow.name or "").values()
        if state.success is not None and state.key.root == (trigger.source_as_authored or "")
    ]
    if found:
        return found
    assert trigger.source is not None
    newest: dict[str, Seen] = {}
    for run in ledger.runs(flow.name, _MOST_RUNS):
        path = None if run.source is None else Path(run.source)
        if run.status != "success" or path is None or run.source in newest:
            continue
        if path == trigger.source:
            newest[str(path)] = Seen(listed_source(trigger, ""), run.started_at_utc)
        elif path.is_relative_to(trigger.source):
            name = path.relative_to(trigger.source).as_posix()
            newest[str(path)] = Seen(listed_source(trigger, name), run.started_at_utc)
    return list(newest.values())


def _batch(flow: Flow, seen: list[Seen]) -> Chosen:
    (source,) = startup_sources(flow)
    changed = [
        one.name
        for one in seen
        if one.signature is not None and (one.source.path is None or not is_unchanged(one.source.path, one.signature))
    ]
    notes = (f"changed since production read it: {first_few(changed, _MOST_NAMES)}",) if changed else ()
    at_utc = max((one.at_utc for one in seen), default="")
    return Chosen((source,), (PlannedSource(name_of(source), source.text, at_utc or None),), notes)


def _is_newer(path: Path, at_utc: str) -> bool:
    found = signature_of(path)
    return found is None or (bool(at_utc) and found.mtime_ns > datetime.fromisoformat(at_utc).timestamp() * 1e9)
