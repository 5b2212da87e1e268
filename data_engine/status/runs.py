"""Show runs to people: their records in words, how to find them, and the zones of their slots."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.files import file_exists
from data_engine.formatting import (
    beginning,
    by_name,
    cli_line,
    duration_text,
    first_few,
    local_time,
    path_in,
    plural,
    zoned_text,
)
from data_engine.ledger.feed_schemas import accept_feeds
from data_engine.ledger.ledger import Ledger, RunsWanted
from data_engine.ledger.logs import warned_text
from data_engine.ledger.run_warnings import warnings_of, with_warnings
from data_engine.model import Run, RunFile, RunTrigger, StepRun, changes_text, ended_badly, utc_text
from data_engine.record import frozen

if TYPE_CHECKING:
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.notebook.load import FlowModules
    from data_engine.status.record import WorkspaceStatus

_FEW = 5
_MOST_NOTED = 20
_LONGEST_NOTED = 200
_TRIGGERS = {
    "slot": "by its schedule",
    "file": "by a file",
    "hand": "by hand",
    "retry": "by a retry",
    "backfill": "by a backfill",
    "flow": "by another flow",
}
_ASKED = ("hand", "backfill")
"""Triggers whose `by` is the person who asked; for others it is the daemon's account."""


def facts_of(run: Run, tz: str | None = None) -> list[tuple[str, str]]:
    """The facts of a run as labels and words, the most telling first; without unknown ones. `tz` is the zone of its slot.

    Example:
        >>> run = Run("3f", "claims", "G", None, "success", "t0", trigger=RunTrigger("backfill", "605d"), by="anna@ANNA-PC",
        ...           params={"month": "2013-01-01"}, peak_memory_bytes=52_428_800, cpu_s=1.5, scheduled_for="2026-01-01T06:00:00+00:00")
        >>> for label, words in facts_of(run, "Europe/Berlin"):
        ...     print(f"{label}: {words}")
        Started: by a backfill (605d) for 2026-01-01 07:00 Europe/Berlin
        Asked by: anna@ANNA-PC
        Params: month=2013-01-01
        Used: 50.0 MiB of memory, 1.5 s of CPU time
    """
    edits = " and edits" if run.git_dirty else ""
    code = [
        edited_text(run),
        f"deployment {run.deployment_id[:8]}" if run.deployment_id else "",
        f"commit {run.git_commit[:8]}{edits}" if run.git_commit is not None else "",
    ]
    environment = f"Python {run.python}, packages {run.environment[:8]}" if run.python and run.environment else ""
    used = [
        f"{run.peak_memory_bytes / 1024**2:,.1f} MiB of memory" if run.peak_memory_bytes is not None else "",
        f"{duration_text(run.cpu_s)} of CPU time" if run.cpu_s is not None else "",
    ]
    rows = [
        ("Started", _started_text(run, tz)),
        ("Asked by" if run.trigger is not None and run.trigger.kind in _ASKED else "Run as", run.by or ""),
        ("Params", params_text(run)),
        ("Noted", metadata_text(run)),
        ("Code", ", ".join(filter(None, code))),
        ("With", environment),
        ("Read", files_text([file for file in run.inputs if not file.tables], run.more_inputs)),
        ("Wrote", files_text([*run.outputs, *(file for file in run.inputs if file.tables)], run.more_outputs)),
        ("Checks", checks_text(run)),
        ("Feed", changes_text(run.drift)),
        ("Used", ", ".join(filter(None, used))),
    ]
    return [(label, words) for label, words in rows if words]


def accepted_columns(ledger: Ledger, flows: Iterable[str]) -> tuple[str, ...]:
    """Accept the columns by which runs of these flows failed, as `feed_schemas.accept_feeds` does; what was accepted of each, in words."""
    return tuple(f"{flow}: {change.text}" for flow in flows for change in accept_feeds(ledger, flow))


def checks_text(run: Run) -> str:
    """The findings of a run's checks, the rejected rows first; "" without checks.

    Example:
        >>> from data_engine.model import RunCheck
        >>> run = Run("3f", "claims", "G", None, "success", "t0", checks=(RunCheck("Check", "positive", 9, 2, 1),), rejected=3)
        >>> checks_text(run)
        '3 rows rejected (positive: 3 of 9)'
    """
    if not run.checks:
        return ""
    bad_rows = ((check, check.failed + check.unknown) for check in run.checks)
    broken = [f"{check.rule}: {bad:,} of {check.rows:,}" for check, bad in bad_rows if bad]
    words = rejected_text(run) or ("not all rules are true" if broken else "")
    return f"{words} ({first_few(broken, _FEW)})" if broken else f"{plural(len(run.checks), 'rule')}, all true"


def rejected_text(run: Run) -> str:
    """How many rows a run has rejected; "" for none."""
    return f"{plural(run.rejected, 'row')} rejected" if run.rejected else ""


def slot_text(run: Run, tz: str | None = None) -> str:
    """The slot of a run in the zone `tz` (None: this machine's), which is named; "" for a run without one."""
    return zoned_text(run.scheduled_for, tz).replace(":00 ", " ", 1)


def _started_text(run: Run, tz: str | None) -> str:
    trigger = run.trigger
    if trigger is None or run.scheduled_for is None:
        return trigger_text(trigger)
    why = RunTrigger(trigger.kind) if trigger.detail == run.scheduled_for else trigger
    return f"{trigger_text(why)} for {slot_text(run, tz)}"


def trigger_text(trigger: RunTrigger | None) -> str:
    """What began a run, in a few words; "" where that is not known."""
    if trigger is None:
        return ""
    words = _TRIGGERS.get(trigger.kind, trigger.kind)
    return f"{words} ({trigger.detail})" if trigger.detail else words


def params_text(run: Run) -> str:
    """The params of a run, as a person types them; "" for none."""
    if not run.params:
        return ""
    from data_engine.engine.params import value_text

    return ", ".join(f"{name}={value_text(value)}" for name, value in run.params.items())


def metadata_text(run: Run) -> str:
    """What its steps have put into `context.metadata`, each value in a few words; "" for nothing.

    Example:
        >>> metadata_text(Run("3f", "claims", "G", None, "success", "t0", metadata={"batch_no": 7, "files": ["a", "b"]}))
        'batch_no=7, files=["a", "b"]'
    """
    if not run.metadata:
        return ""
    from data_engine.engine.params import value_text

    words = [f"{name}={beginning(value_text(value), _LONGEST_NOTED)}" for name, value in run.metadata.items()]
    return first_few(words, _MOST_NOTED)


def edited_text(run: Run) -> str:
    """What of the code of a run was not deployed; "" for a run of what was, and of a flow that was never deployed.

    Example:
        >>> edited_text(Run("3f", "claims", "G", None, "success", "t0", edited="cell 3"))
        'not deployed (cell 3)'
    """
    return f"not deployed ({run.edited})" if run.edited else ""


def with_text(run: Run) -> str:
    """What sets a run apart from those of production: its params, and code that was not deployed; "" for nothing.

    Example:
        >>> with_text(Run("3f", "claims", "G", None, "success", "t0", params={"month": "May"}, edited="cells 3, 7"))
        'month=May, code that was not deployed (cells 3, 7)'
    """
    return ", ".join(filter(None, [params_text(run), run.edited and f"code that was {edited_text(run)}"]))


def source_names(sources: Iterable[str], root: Path) -> dict[str, str]:
    """The name to show for each source: the file's, or its path seen from the workspace where several share that.

    Example:
        >>> list(source_names(["/team/in/north/may.csv", "/team/in/south/may.csv", "/team/in/june.csv"], Path("/team")).values())
        ['in/north/may.csv', 'in/south/may.csv', 'june.csv']
    """
    names = {source: Path(source).name for source in sources}
    count = Counter(names.values())
    for source, name in names.items():
        if count[name] > 1:
            names[source] = path_in(root, source)
    return names


def files_text(files: Sequence[RunFile], more: int) -> str:
    """The first files with their rows, and how many more; `more` are not among the `files`.

    Example:
        >>> files = [RunFile(f"/in/{name}.csv") for name in "abcdef"]
        >>> files_text(files[:2], 3), files_text(files, 10)
        ('/in/a.csv, /in/b.csv and 3 more', '/in/a.csv, /in/b.csv, /in/c.csv, /in/d.csv, /in/e.csv and 11 more')
    """
    return first_few([f"{file.path}{_inside_text(file)}" for file in files], _FEW, more=more)


def _inside_text(file: RunFile) -> str:
    inside = ", ".join(file.tables) if file.rows is None else plural(file.rows, "row")
    return f" ({inside})" if inside else ""


def also_read_text(run: Run) -> str:
    """Say that a run for one file also read others of its folder, as a `collect` step does; "" where it did not.

    Example:
        >>> files = tuple(RunFile(f"/in/{name}.csv") for name in "abc")
        >>> also_read_text(Run("3f", "totals", "G", "/in/b.csv", "success", "t0", inputs=files))
        'it read 2 other files of that folder, too: a.csv, c.csv'
    """
    if run.source is None:
        return ""
    folder = PurePath(run.source).parent
    paths = [PurePath(file.path) for file in run.inputs if file.path != run.source and not file.tables]
    others = [path.relative_to(folder).as_posix() for path in paths if path.is_relative_to(folder)]
    if not others:
        return ""
    least = "at least " if run.more_inputs else ""
    count = plural(len(others), "other file")
    return f"it read {least}{count} of that folder, too: {first_few(others, _FEW)}"


def rows_text(step: StepRun) -> str:
    """The rows that went into a step and came out; without an unknown count, as of a step that reads a file.

    Example:
        >>> rows_text(StepRun("3f", 0, "Clean", "success", "t0", rows_in=1200, rows_out=1150))
        '1,200 → 1,150'
        >>> rows_text(StepRun("3f", 0, "Read", "success", "t0", rows_out=1200))
        '1,200 out'
    """
    if step.rows_in is not None and step.rows_out is not None:
        return f"{step.rows_in:,} → {step.rows_out:,}"
    counts = ((step.rows_in, "in"), (step.rows_out, "out"))
    return next((f"{count:,} {side}" for count, side in counts if count is not None), "")


def by_label(steps: Sequence[StepRun]) -> dict[str, StepRun]:
    """The steps of a run by their labels; a number is added to a label that is there already.

    Example:
        >>> list(by_label([StepRun("3f", number, "Clean", "success", "t0") for number in range(2)]))
        ['Clean', 'Clean (2)']
    """
    return by_name((step.label, step) for step in steps)


@frozen
class FoundRuns:
    """The newest runs of a search, the newest first, and the `total` of those that match."""

    runs: list[Run]
    total: int

    @property
    def cut(self) -> int:
        """How many were left out."""
        return self.total - len(self.runs)


def wanted_runs(status: str | None, since: str | None, until: str | None) -> RunsWanted:
    """A query for runs by status and by their begin, in a range of days, months or times of this machine, both ends included.

    Raises:
        FlowValidationError: a text is no day, or the range ends before it begins.

    Example:
        >>> wanted_runs("failed", "2026-03-01T06:00+00:00", None).since_utc
        '2026-03-01T06:00:00.000000+00:00'
    """
    if since is None and until is None:
        return RunsWanted(status=status)
    from data_engine.planning.backfill import bounds
    from data_engine.planning.slots import zone_of

    since_s, until_s = bounds(since, until, zone_of(None), of="runs")
    since_utc, until_utc = (None if bound_s is None else utc_text(bound_s) for bound_s in (since_s, until_s))
    return RunsWanted(None, status, None, since_utc, until_utc)


def find_runs(home: LocalWorkspace, name: str | None, limit: int, query: RunsWanted) -> FoundRuns:
    """The newest runs of a flow, also under the names that it had before, or of a source file by its name or path; None: of all.

    Raises:
        LedgerError: the history cannot be read, or the query is not possible.
        FlowValidationError: nothing in the history is called so, nor any flow; names the nearest.
    """
    ledger = home.ledger()
    if name is None:
        return _of_each(ledger, [query], limit)
    from data_engine.status.deployed_before import names_of

    newest = _of_each(ledger, [query.of(flow=flow) for flow in names_of(ledger, name)], limit)
    if not newest.runs:
        sources = ledger.sources_called(name, os.path.abspath(name))
        newest = _of_each(ledger, [query.of(source=source) for source in sources], limit)
        if not sources:
            _require_flow(home, ledger, name)
    return newest


def _ended(fix: str | None) -> str:
    """A fix with the words that join another to it."""
    return "" if not fix else f"{fix} Else" if fix.endswith("?") else f"{fix}; else"


def _of_each(ledger: Ledger, queries: list[RunsWanted], limit: int) -> FoundRuns:
    runs = [run for query in queries for run in ledger.runs_wanted(query, limit)]
    runs = sorted(runs, key=lambda run: run.started_at_utc, reverse=True)[:limit] if len(queries) > 1 else runs
    return FoundRuns(runs, len(runs) if len(runs) < limit else sum(map(ledger.count_wanted, queries)))


def _require_flow(home: LocalWorkspace, ledger: Ledger, name: str) -> None:
    """Refuse a name that neither a flow nor the history has; for the id of a run the fix shows that run."""
    from data_engine.status.deployed_before import require_flow

    try:
        require_flow(home, name)
    except FlowValidationError as error:
        if ledger.run(name) is not None:
            raise FlowValidationError(
                f"{name!r} is a run, and neither a flow nor a source file", where="runs", fix=cli_line("log", name)
            ) from error
        fix = f"{_ended(error.fix)} `{cli_line('list')}` shows the flows, and `{cli_line('runs')}` what ran, with its sources"
        raise FlowValidationError(error.what, where=error.where, fix=fix) from error


def slot_zones(home: LocalWorkspace, runs: Iterable[Run]) -> dict[str, str | None]:
    """The zone of the schedule of each flow that has run for a slot; None is this machine's."""
    return {flow: slot_zone(home, flow) for flow in {run.flow for run in runs if run.scheduled_for is not None}}


def shown_runs(home: LocalWorkspace, name: str | None, limit: int, query: RunsWanted) -> list[Run]:
    """The runs of `find_runs`, each with its warnings, and with the zone of its schedule if it was for a slot.

    Raises: as `find_runs`.
    """
    ledger = home.ledger()
    ledger.recover()
    return with_slot_zones(home, find_runs(home, name, limit, query).runs)


def with_slot_zones(home: LocalWorkspace, runs: Iterable[Run]) -> list[Run]:
    """The runs, each with its warnings, and with the zone of its schedule if it was for a slot."""
    runs = with_warnings(home.ledger(), runs)
    zones = slot_zones(home, runs)
    return [run if run.scheduled_for is None else replace(run, tz=zones[run.flow]) for run in runs]


def slot_zone(home: LocalWorkspace, name: str) -> str | None:
    """The zone of the flow's schedule, for a gone or broken module that of its last deployment; None is this machine's.

    Where nothing of the flow is left here, that of the workspace.
    """
    from data_engine.notebook.catalog import clock_zone

    timezone = home.settings_shown().timezone
    entry = _entry(home, home.modules(), name) or _deployed_last(home, name)
    return (timezone or None) if entry is None else clock_zone(entry, timezone)


def _deployed_last(home: LocalWorkspace, name: str) -> CatalogEntry | None:
    from data_engine.ledger.deployments import published

    rows = [row for row in published(home.ledger(), name) if row.set_id]
    if not rows:
        return None
    modules = home.deployments().modules_in(max(rows, key=lambda row: (row.number, row.id)).set_id)
    return None if modules is None else _entry(home, modules, name)


def _entry(home: LocalWorkspace, modules: FlowModules, name: str) -> CatalogEntry | None:
    """The entry of the flow of this name among the modules; None where it is missing or broken."""
    from data_engine.notebook.catalog import read_catalog

    with suppress(FlowValidationError):
        for entry in read_catalog(modules, only=name, cache=home.descriptions()):
            if entry.name == name and entry.flow is not None:
                return entry
    return None


def started(run: Run) -> str:
    """When a run began, for people; marked where a wrong clock dated it later than now."""
    return f"{local_time(run.started_at_utc)}{' (from the future)' if run.from_the_future else ''}"


def last_run_text(home: LocalWorkspace, last: Run | None, status: Callable[[], WorkspaceStatus]) -> str:
    """How the last run of a flow on this machine ended, and when it began; asks `status` only where its file may be gone."""
    if last is None:
        return "never on this machine"
    ended = last.status
    if last.source is not None and ended_badly(last):
        from data_engine.status.sentences import last_status_text

        flow = status().flow(last.flow)
        ended = ended if flow is None else last_status_text(replace(flow, last_run=last), file_exists)
    warned = warned_text(warnings_of(home.ledger(), [last.run_id]).get(last.run_id, 0))
    parts = filter(None, [ended, warned, local_time(last.started_at_utc), duration_text(last.elapsed_s)])
    return ", ".join([*parts, f"run {last.run_id[:8]}"])


def last_run(home: LocalWorkspace, name: str) -> Run | None:
    """The newest run of the flow, after runs of dead processes were marked as abandoned."""
    ledger = home.ledger()
    ledger.recover()
    return ledger.last_run(name)


def no_run(ledger: Ledger, run_id: object, what: str, fix: str) -> FlowValidationError:
    """The error for an id without a run; for a flow's name the fix has the id of its newest run, or of one under way."""
    if isinstance(run_id, str) and run_id and (own := ledger.runs(run_id, limit=1)):
        (run,) = ledger.runs(run_id, limit=1, status="started") or own
        ended = "under way" if run.status == "started" else run.status
        fix = f"{run_id} is a flow; the id of its newest run ({ended}) is {run.run_id[:8]}"
    return FlowValidationError(what, where="run id", fix=fix)
