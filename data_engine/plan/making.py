"""Make a plan: run both versions of a flow over what production saw, and compare them; or compare one object of both."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from types import FunctionType
from typing import Any

from data_engine.compare.difference import ColumnDifference, Difference, Named, Rows
from data_engine.engine.access.code import code_facts
from data_engine.engine.access.guards import WriteRefusedError
from data_engine.engine.candidates import (
    Source,
    is_unchanged,
    listed_source,
    pick_source,
    signature_of,
    startup_sources,
)
from data_engine.engine.local_workspace import LocalWorkspace, settle_flow, workspace_of
from data_engine.engine.memo.caption import show_caption
from data_engine.engine.memo.fingerprint import WATCHED
from data_engine.engine.memo.tracer import Tracer
from data_engine.engine.params import params_for
from data_engine.engine.preview import first_source, say_first, steps_until
from data_engine.engine.result_display import ProgressLine
from data_engine.errors import FlowExecutionError, FlowValidationError, NotHeldBackError
from data_engine.flow.check import Check, names_saved, with_rejected_named
from data_engine.flow.flow import Flow
from data_engine.flow.report import Report
from data_engine.flow.spec import Collect, Map, StepSpec
from data_engine.flow.trigger import Trigger
from data_engine.formatting import cli_line, first_few, plural
from data_engine.ledger import deployments as ledger_rows
from data_engine.ledger.deployments import published
from data_engine.model import Event, Signature
from data_engine.notebook import deployment_status
from data_engine.notebook.catalog import find_module
from data_engine.notebook.deployment_status import live_deployments
from data_engine.notebook.deployments import Deployments, changed_config, code_differences
from data_engine.notebook.locate import annotate_call
from data_engine.notebook.module_sets import read_contents
from data_engine.plan.plan import CodeChange, Elapsed, NotHeldBack, Plan, PlannedSource, SideError
from data_engine.plan.sides import Side, side_error
from data_engine.record import frozen
from data_engine.status.deployed_before import find_flow

CURRENT = "current"


@frozen
class PlanRequest:
    """The options of a plan: `sources` how many, `use` only this object, `key` the columns by which rows are paired.

    `is_confirmed`: steps that cannot be held back may run. `source` is the one to run for instead of those production saw.
    """

    sources: int = 3
    use: str | None = None
    key: tuple[str, ...] = ()
    params: Mapping[str, Any] | None = None
    source: str | os.PathLike[str] | None = None
    is_confirmed: bool = False
    fresh: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.sources, int) or isinstance(self.sources, bool) or self.sources < 1:
            what = f"sources={self.sources!r} must be a whole number, at least 1"
            raise FlowValidationError(what, where="plan(sources=...)", fix="sources=3")


def deployed_flow(home: LocalWorkspace, name: str) -> Flow:
    """The flow as production runs it, loaded here.

    Raises:
        FlowValidationError: it was never deployed, or what is deployed cannot be had or is broken.
    """
    deployments = home.deployments()
    if name not in deployments.deployed():
        raise FlowValidationError(
            f"{name} was never deployed, so there is nothing to compare it with",
            where=f'flow "{name}"',
            fix=f"look at it with preview(), then `{cli_line('deploy', name)}`",
        )
    modules = deployments.modules_of(name)
    if modules is None:
        raise FlowValidationError(
            f"the deployed version of {name} is not on this machine, and cannot be fetched",
            where=str(home.layout.workspace_state_dir / "deployments"),
            fix="check whether its drive is connected",
        )
    return modules.load(find_module(modules, name)).flow


def make_plan(
    home: LocalWorkspace, name: str, request: PlanRequest, sink: Callable[[Event], None] = lambda event: None
) -> Plan:
    """The plan of deploying the flow `name` as it is now.

    A version that does not load, or fails for a source, is in `errors`; Ctrl-C leaves nothing behind.

    Raises:
        FlowValidationError: no such flow, never deployed, no source, no such object in either version, or a step cannot be held back and
            that is not confirmed.
    """
    modules, path = home.modules(), find_flow(home, name)
    before = deployed_flow(home, name)
    errors: list[SideError] = []
    after = None
    try:
        after = modules.load(path).flow
    except FlowValidationError as error:
        errors.append(side_error(CURRENT, None, error))
    flows = {"deployed": before} | ({} if after is None else {CURRENT: after})
    _require_object(flows, request.use)
    steps = tuple(dict.fromkeys(step for flow in flows.values() for step in escapes(flow)))
    if steps and not request.is_confirmed:
        raise not_confirmed(name, steps)
    if request.source is None:
        selection = sources_seen(before, home, request.sources)
    else:
        source = pick_source(before, request.source)
        selection = SourceSelection((PastSource(source),))
    run = _Run(flows, home, request, sink, errors)
    with _ended(run.sides):
        objects = run.objects(selection)
        outputs = run.outputs()
    paths = dict.fromkeys(path for side in run.sides for path in side.outside)
    outside = tuple(NotHeldBack(path, "is a new file outside the context's folders") for path in paths)
    notes = [*selection.notes, *filter(None, [run.earlier])]
    if request.key and not any(difference.key for difference in _leaves([*objects.values(), *outputs.values()])):
        if run.wrong_key is not None:
            raise run.wrong_key
        notes.append(f"no table has the key {', '.join(request.key)}: whole rows were compared")
    live = deployment_status.live_deployments(ledger_rows.published(home.ledger()))[name]
    edit, _ = read_contents(home.layout.flow_modules_dir)
    return Plan(
        name,
        deployment=live.id,
        cells=code_changes(home.deployments(), home, name),
        sources=tuple(PlannedSource(past.name, past.source.text, past.at_utc or None) for past in selection.sources),
        objects=Named(objects),
        outputs=Named(outputs),
        errors=tuple(run.errors),
        not_held_back=(*steps, *outside),
        elapsed_s=Elapsed(**{side.of: side.elapsed_s for side in run.sides}),
        notes=tuple(notes),
        config=changed_config(home.layout, home.deployments(), live, edit),
    )


def not_confirmed(name: str, steps: Sequence[NotHeldBack]) -> NotHeldBackError:
    """The error of a plan that would do for real, twice, what it cannot hold back."""
    error = NotHeldBackError(
        f"a plan of {name} would run for real, once for each version: {'; '.join(step.text for step in steps)}",
        where=f'flow "{name}"',
        fix=f"`{cli_line('plan', name, '--yes')}` (in Python yes=True) when that does no harm, or use= an earlier object",
    )
    error.steps = tuple(steps)
    return error


def _require_object(flows: Mapping[str, Flow], use: str | None) -> None:
    failure: FlowValidationError | None = None
    for flow in flows.values():
        try:
            steps_until(flow, use)
        except FlowValidationError as error:
            failure = error
        else:
            return
    if failure is not None:
        raise failure


class _Run:
    """Both versions, source by source."""

    def __init__(
        self,
        flows: Mapping[str, Flow],
        home: LocalWorkspace,
        request: PlanRequest,
        sink: Callable[[Event], None],
        errors: list[SideError],
    ) -> None:
        self.errors = errors
        self.wrong_key: FlowValidationError | None = None
        self.earlier = ""
        self._request = request
        self.sides = [
            Side(of, named, home, params=params_for(flow, request.params), fresh=request.fresh, sink=sink)
            for of, flow in flows.items()
            for named in [replace(flow, steps=with_rejected_named(flow.steps))]
        ]

    def objects(self, selection: SourceSelection) -> dict[str, Difference]:
        """The difference of each saved object."""
        differences: dict[str, dict[str, Difference]] = {}
        for past in selection.sources:
            for name, difference in self._of_source(past.source).items():
                differences.setdefault(name, {})[past.name or name] = difference
        return {name: combined(parts) for name, parts in differences.items()}

    def _of_source(self, source: Source) -> dict[str, Difference]:
        from data_engine.compare.comparing import MISSING

        values = {side.of: self._values(side, source) for side in self.sides}
        before, after = values.get("deployed"), values.get(CURRENT)
        if before is None or after is None:
            return {}
        names = dict.fromkeys([*before, *after])
        return {name: self._compared(before.get(name, MISSING), after.get(name, MISSING)) for name in names}

    def _compared(self, before: object, after: object) -> Difference:
        from data_engine.compare.comparing import compare

        if self._request.key:
            try:
                return compare(before, after, key=self._request.key)
            except FlowValidationError as wrong:
                self.wrong_key = self.wrong_key or wrong
        return compare(before, after, key=self._request.key, is_strict=False)

    def _values(self, side: Side, source: Source) -> dict[str, Any] | None:
        use = self._request.use
        try:
            own = source if source.path is None or side.of == "deployed" else pick_source(side.flow, source.path)
            stop = len(side.flow.steps) if use is None else steps_until(side.flow, use)
            names = _names(side.flow) if use is None else [use]
            return {
                name: value
                for name, value in side.run(own, stop, names).items()
                if name != CURRENT or not _is_output(value)
            }
        except FlowValidationError as error:
            if use is not None and not any(use in names_saved(step) for step in side.flow.steps):
                return {}
            self.earlier = self.earlier or _earlier(side.flow, error)
            self.errors.append(side_error(side.of, name_of(source) or None, error))
        except Exception as error:
            self.errors.append(side_error(side.of, name_of(source) or None, error))
        return None

    def outputs(self) -> dict[str, Difference]:
        """The difference of each file that a version has written."""
        from data_engine.compare.comparing import MISSING

        if len(self.sides) < 2 or self._request.use is not None:
            return {}
        before, after = (side.outputs() for side in self.sides)
        names = dict.fromkeys([*before, *after])
        return {name: self._compared(before.get(name, MISSING), after.get(name, MISSING)) for name in names}


@contextmanager
def _ended(sides: Sequence[Side]) -> Iterator[None]:
    """Compare inside: then the sides end, or where that failed they leave nothing."""
    try:
        yield
        for side in sides:
            side.end()
    except BaseException:
        for side in sides:
            side.forget()
        raise


def combined(parts: Mapping[str, Difference]) -> Difference:
    """The difference of one object over several sources: of one source its own, of more all with their sum."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    values = list(parts.values())
    changed: dict[str, int] = {}
    for part in values:
        for name, number in part.changed_values.items():
            changed[name] = changed.get(name, 0) + number
    counts = ("before", "after", "added", "removed", "changed")
    rows = Rows(*(sum(getattr(part.rows, name) for part in values) for name in counts))
    columns = next((part.columns for part in values if not part.columns.are_equal), ColumnDifference())
    return Difference("parts", rows=rows, columns=columns, changed_values=Named(changed), parts=Named(parts))


def _earlier(flow: Flow, error: FlowValidationError) -> str:
    """The plan that is possible where a step would change files beside the context: of the object before it; "" for other errors."""
    if not isinstance(error, FlowExecutionError) or not isinstance(error.__cause__, WriteRefusedError):
        return ""
    before = takewhile(lambda step: step.label != error.step_label, flow.steps)
    saved = [name for step in before for name in names_saved(step)]
    words = "a step that changes files beside the context cannot be planned, but what comes before it can"
    return f"{words}: {cli_line('plan', flow.name or '', '--use', saved[-1])}" if saved else ""


def _names(flow: Flow) -> list[str]:
    saved = list(dict.fromkeys(name for step in flow.steps for name in names_saved(step)))
    last = next((step for step in reversed(flow.steps) if not isinstance(step.fn, Report)), flow.steps[-1])
    return saved if last.save_as else [*saved, CURRENT]


def _is_output(value: object) -> bool:
    """Whether a last result is nothing but files, which are compared as outputs."""
    if isinstance(value, os.PathLike):
        return True
    return bool(isinstance(value, (list, tuple)) and value and all(isinstance(path, os.PathLike) for path in value))


def _leaves(differences: Sequence[Difference]) -> Iterator[Difference]:
    for difference in differences:
        if difference.parts:
            yield from _leaves(list(difference.parts.values()))
        else:
            yield difference


def code_changes(deployments: Deployments, home: LocalWorkspace, name: str) -> tuple[CodeChange, ...]:
    """The differences between the code of the authored flow and the deployed one, by cell, then by helper."""
    pointer = live_deployments(published(home.ledger(), name)).get(name)
    if pointer is None or deployments.digest_of(name) == pointer.digest:
        return ()  # and no other module is read
    old = deployments.contents_of(pointer.set_id)
    folder = home.layout.flow_modules_dir
    changes = {} if old is None else code_differences(old, read_contents(folder)[0], name, folder)
    return tuple(
        CodeChange(where, tuple(lines), int(where[5:]) if where.startswith("cell ") else None)
        for where, lines in changes.items()
    )


_TALKERS = frozenset(
    """requests httpx aiohttp urllib3 boto3 botocore paramiko smtplib ftplib imaplib poplib telnetlib socket websockets
    sqlalchemy psycopg psycopg2 pymysql MySQLdb pyodbc oracledb cx_Oracle snowflake pymssql redis pymongo kafka pika
    fsspec s3fs gcsfs adlfs google azure slack_sdk slack apprise win32com pythoncom selenium playwright O365 exchangelib
    connectorx adbc_driver_manager turbodbc hdfs paho gspread pysftp fabric""".split()
)
"""Libraries that exist to talk to something else."""

_REASONS = {"the network": "talks to the network", "a subprocess": "starts a program"}
_WRITERS = frozenset({"to_sql", "to_gbq", "write_database"})
"""Methods that write a frame to a server, of any library."""


def escapes(flow: Flow) -> tuple[NotHeldBack, ...]:
    """The steps of the flow that show how they reach something beside files, each with how that shows.

    Example:
        >>> escapes(Flow("Demo").step(str))
        ()
    """
    return tuple(NotHeldBack(step.label, why) for step in flow.steps if (why := _why(step)) is not None)


def _why(step: StepSpec) -> str | None:
    fn: Any = step.fn
    if isinstance(fn, (Collect, Check, Report)):
        return None
    tracer = Tracer(WATCHED)
    tracer.root(fn.fn if isinstance(fn, Map) else fn)
    libraries = {name.removeprefix("library ") for name in tracer.parts if name.startswith("library ")}
    libraries |= {reason.partition(".")[0] for reason in tracer.reasons}
    if talkers := sorted(libraries & _TALKERS):
        return f"uses {', '.join(talkers)}"
    for reason, words in _REASONS.items():
        if reason in tracer.reasons:
            return words
    writers = sorted({*tracer.mentions, *_names_called(tracer)} & _WRITERS)
    return f"calls {', '.join(writers)}" if writers else None


def _names_called(tracer: Tracer) -> Iterator[str]:
    """The names that the functions reached read as globals, or import."""
    for reached in tracer.alive:
        if isinstance(reached, FunctionType):
            facts = code_facts(reached.__code__)
            for chain in facts.globals:
                yield from chain
            for _, _, chain in facts.imports:
                yield from chain


_MOST_RUNS = 1000
_MOST_NAMES = 3
_MOST_FAILED = 3
"""Sources whose last run failed that a plan also takes: an edit may mend them."""


@frozen
class PastSource:
    """A source that production has read well, as it was then (None: not known), and when ("": it has not)."""

    source: Source
    at_utc: str = ""
    signature: Signature | None = None

    @property
    def name(self) -> str:
        """Its path inside the source folder, or the file's name."""
        return name_of(self.source)


@frozen
class SourceSelection:
    """The sources to run for, with notes on those that are left out."""

    sources: tuple[PastSource, ...]
    notes: tuple[str, ...] = ()


def name_of(source: Source) -> str:
    """The name of a source for people: its path inside the source folder."""
    if source.key is not None and source.key.path:
        return source.key.path
    path = source.path or source.root
    return "" if path is None else path.name


def sources_seen(flow: Flow, home: LocalWorkspace, count: int) -> SourceSelection:
    """The last `count` sources that production has read well, newest first, and a few whose last run failed.

    Raises:
        FlowValidationError: there is no source at all.
    """
    trigger = flow.trigger
    if trigger is None or trigger.source is None:
        return SourceSelection((PastSource(Source()),))
    past = sorted(_past_sources(flow, trigger, home), key=lambda source: source.at_utc, reverse=True)
    if trigger.run_as == "batch":
        return _batch(flow, past)
    chosen, notes = choose(past, count)
    failed = [source for source in _failed(flow, trigger, home) if source not in [good.source for good in chosen]]
    few = failed[: min(count, _MOST_FAILED)]
    if len(chosen) == count < len(past):
        notes.append(f"of the {len(past):,} sources that production has read, the last {count}; --sources N takes more")
    if few:
        notes.append(f"also {len(few)} of {plural(len(failed), 'source')} whose last run failed")
    elif not chosen:
        few = list(startup_sources(flow)[:count])
        notes.append("production has read no source that is still there; these are the first")
    if not (chosen or few):
        raise FlowValidationError(
            f"there is no file for a plan in {trigger.source}",
            where=f'flow "{flow.name}"',
            fix="put a file there that production would read",
        )
    return SourceSelection((*chosen, *map(PastSource, few)), tuple(notes))


def _failed(flow: Flow, trigger: Trigger, home: LocalWorkspace) -> list[Source]:
    """The sources that are there whose last run failed, by path; one of each error before a second of the same."""
    states = home.ledger().source_states(flow.name or "").not_good()
    ours = [
        state for state in states if state.key.root == (trigger.source_as_authored or "") and state.status == "failed"
    ]
    of_error: Counter[str] = Counter()
    entries: list[tuple[int, int, Source]] = []
    for state in sorted(ours, key=lambda state: state.key.path):
        source = listed_source(trigger, state.key.path)
        if source.path is not None and signature_of(source.path) is not None:
            error = (state.error or "").replace(source.text or "", "")
            of_error[error] += 1
            entries.append((of_error[error], len(entries), source))
    return [source for _, _, source in sorted(entries)]


def choose(sources: Iterable[PastSource], count: int) -> tuple[list[PastSource], list[str]]:
    """The first `count` that are still what production saw, and notes on newer ones that are not."""
    chosen: list[PastSource] = []
    gone: list[str] = []
    changed: list[str] = []
    for past in sources:
        if len(chosen) == count:
            break
        path = past.source.path
        if path is None or signature_of(path) is None:
            gone.append(past.name)
        elif (past.signature is not None and not is_unchanged(path, past.signature)) or (
            past.signature is None and _is_newer(path, past.at_utc)
        ):
            changed.append(past.name)
        else:
            chosen.append(past)
    reasons = ((gone, "not there any more"), (changed, "changed since production read it"))
    return chosen, [f"not planned with {first_few(names, _MOST_NAMES)}: {why}" for names, why in reasons if names]


def _past_sources(flow: Flow, trigger: Trigger, home: LocalWorkspace) -> list[PastSource]:
    """The sources whose last good run is known: by the state of each, else by the runs themselves."""
    ledger = home.ledger()
    sources = [
        PastSource(listed_source(trigger, state.key.path), state.success_at_utc or "", state.success)
        for state in ledger.source_states(flow.name or "").values()
        if state.success is not None and state.key.root == (trigger.source_as_authored or "")
    ]
    if sources:
        return sources
    assert trigger.source is not None
    newest: dict[str, PastSource] = {}
    for run in ledger.runs(flow.name, _MOST_RUNS):
        path = None if run.source is None else Path(run.source)
        if run.status != "success" or path is None or run.source in newest:
            continue
        if path == trigger.source:
            newest[str(path)] = PastSource(listed_source(trigger, ""), run.started_at_utc)
        elif path.is_relative_to(trigger.source):
            name = path.relative_to(trigger.source).as_posix()
            newest[str(path)] = PastSource(listed_source(trigger, name), run.started_at_utc)
    return list(newest.values())


def _batch(flow: Flow, sources: list[PastSource]) -> SourceSelection:
    (source,) = startup_sources(flow)
    changed = [
        past.name
        for past in sources
        if past.signature and (past.source.path is None or not is_unchanged(past.source.path, past.signature))
    ]
    notes = (f"changed since production read it: {first_few(changed, _MOST_NAMES)}",) if changed else ()
    at_utc = max((past.at_utc for past in sources), default="")
    return SourceSelection((PastSource(source, at_utc),), notes)


def _is_newer(path: Path, at_utc: str) -> bool:
    signature = signature_of(path)
    return signature is None or (bool(at_utc) and signature.mtime_ns > datetime.fromisoformat(at_utc).timestamp() * 1e9)


def against_deployed(
    flow: Flow,
    *,
    use: str | None = None,
    source: str | os.PathLike[str] | None = None,
    params: Mapping[str, Any] | None = None,
    key: str | Sequence[str] | None = None,
    fresh: bool = False,
    force: bool = False,
) -> Difference:
    """The difference of the object `use` between the deployed flow (before) and `flow` (after), for one source.

    Both write to scratch folders of their own, which begin as production is.

    Raises:
        FlowValidationError: the flow belongs to no workspace, was never deployed, or has no such object; a step writes
            elsewhere than through its context, without `force`.
        FlowExecutionError: a step of either raised.
    """
    from data_engine.compare.comparing import compare, keys

    try:
        flow = settle_flow(flow)
        home = _require_home(flow)
        before = deployed_flow(home, flow.name or "")
        stops = {"deployed": steps_until(before, use), CURRENT: steps_until(flow, use)}
        columns = keys(key)
        side_params = {"deployed": params_for(before, params), CURRENT: params_for(flow, params)}
        chosen = pick_source(flow, source) if source is not None else first_source(flow)
        steps = tuple(dict.fromkeys((*escapes(before), *escapes(flow))))
        if steps and not force:
            raise not_confirmed(flow.name or "", steps)
    except FlowValidationError as wrong:
        annotate_call(wrong)
        raise
    line = ProgressLine()
    sides = [
        Side(of, side_flow, home, params=side_params[of], fresh=fresh, sink=line)
        for of, side_flow in (("deployed", before), (CURRENT, flow))
    ]
    name = use or CURRENT
    try:
        with _ended(sides):
            then, now = (_of_side(side, chosen, stops[side.of], name) for side in sides)
            difference = compare(then, now, key=columns)
    except BaseException as error:
        if source is None:
            say_first(error, flow, chosen)
        raise
    finally:
        line.close()
    took = " · ".join(f"{side.of} {side.elapsed_s * 1000:,.0f} ms" for side in sides)
    of = f" of {name_of(chosen)}" if chosen.path is not None else ""
    show_caption(f"{flow.name}{of} against what is deployed · {took}")
    return difference


def _of_side(side: Side, source: Source, stop: int, name: str) -> object:
    """The object of one side; an error says of which."""
    try:
        return side.run(source, stop, [name])[name]
    except FlowValidationError as error:
        of = "as it is now" if side.of == CURRENT else "as it is deployed"
        error.where = f"{error.where} ({of})" if error.where else f"the flow {of}"
        raise


def _require_home(flow: Flow) -> LocalWorkspace:
    home = workspace_of(flow)
    if home is None:
        raise FlowValidationError(
            "the flow belongs to no workspace, so nothing of it is deployed",
            where='Flow.preview(against="deployed")',
            fix="put its notebook into the flow_modules folder of a workspace, and deploy it",
        )
    return home
