"""Run flows: in the daemon, or here and now; with a line for each run as it ends here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from data_engine.daemon.control import silent_daemon, was_engine_on
from data_engine.display_hook import Listing
from data_engine.engine.candidates import pick_to_run
from data_engine.engine.params import params_for
from data_engine.engine.recording import readers_watched
from data_engine.engine.standing import never_deployed_text
from data_engine.errors import FlowStoppedError, FlowValidationError, OwnedElsewhereError, WorkspaceError
from data_engine.flow.parameters import read_params
from data_engine.formatting import cli_line, duration_text, first_few, plural, visible
from data_engine.ledger.logs import counts_as_warning, warned_text
from data_engine.ledger.run_warnings import runs_as_json, warning_texts
from data_engine.marks import Mark
from data_engine.model import Event, LogLine, Run, RunFinished, RunStarted, StepFinished
from data_engine.notebook.deployments import deployed_flow
from data_engine.notebook.mirror_warnings import Folders, folders_of, reading_order
from data_engine.record import frozen
from data_engine.status.deployed_before import find_flow
from data_engine.status.places import why_nothing
from data_engine.status.runs import also_read_text
from data_engine.view.card import Card, Cell, Lines, Note, Pairs
from data_engine.view.flows import settings_warnings, unknown_flow_of_source
from data_engine.view.results import contexts_card
from data_engine.view.runs import runs_card
from data_engine.view.verb import Answer, Option, Params, Place, Source, Subject, said, was_asked

if TYPE_CHECKING:
    from data_engine.flow.flow import Flow
    from data_engine.flow.parameters import TypedValue
    from data_engine.notebook.catalog import CatalogEntry

_MOST_NAMED = 5
_INDENT = " " * 10


def run(
    place: Place,
    names: Annotated[
        list[str] | None,
        Subject("NAME", "The flow: its file's name without the ending; several with --watch.", "flows"),
    ] = None,
    once: Annotated[bool, Option("Run here and now, once for each source.")] = False,
    source: Source = None,
    param: Params = None,
    on_error: Annotated[
        Literal["continue", "raise"],
        Option("After a failure: try the flow's other sources, or leave them.", "continue|raise"),
    ] = "continue",
    edited: Annotated[
        bool, Option("Also run code that is not what is deployed; such runs are marked. Only here.")
    ] = False,
    yes: Annotated[bool, Option("With --once and without NAME: do not ask.", only="shell")] = False,
    wait: Annotated[bool, Option("Wait for the runs, and for another workstation's answer, or not.")] = True,
) -> Answer:
    """Run a flow in the daemon, or here: once for each source, or in a terminal as they become due.

    Without an option the deployed flow NAME runs in the daemon, which is started if need be; ends with 1 when a run failed.
    With --once one flow; in a terminal without NAME, after a question, every flow of the workspace, one after the other, each after
    those whose mirrors it reads; ends with 1 when any run failed. A terminal's --watch runs the flows named, or all that are not
    manual, until Ctrl-C: running steps end first, a second Ctrl-C leaves at once; ends with 130. The runs are recorded. Both run the
    notebooks as they are: where one is not what is deployed, nothing runs (2), but with --edited; such runs are marked "not
    deployed", and change nothing of what is due, done or held.
    """
    if names and len(names) > 1:
        what = f"{len(names)} flows were named, and one can run at a time"
        fix = "name one; a name that holds blanks stands in quotation marks, and a file behind --source"
        raise FlowValidationError(what, where=cli_line("run"), fix=fix)
    name = names[0] if names else None
    if once:
        options = OnceOptions(place.path(source), read_params(param), on_error, edited, yes)
        return _run_here(place, name, options) if place.names is not None else _run_once(place, name, options)
    for option in [option for option, is_set in (("--edited", edited), ("--yes", yes)) if is_set]:
        fix = f"leave it out: the daemon runs what is deployed; or run here: {cli_line('run', '--once', option)}"
        raise FlowValidationError(f"{option} goes with --once", where=f"{option} of {cli_line('run')}", fix=fix)
    return _run_in_daemon(place, place.flow_name(name), place.path(source), read_params(param), wait)


# -- in the daemon ----------------------------------------------------------------------------------------------------


def _run_in_daemon(place: Place, name: str, source: str | None, params: Mapping[str, Any], wait: bool) -> Answer:
    """Let the daemon run the deployed flow, and wait for its runs; 1 when any failed."""
    ws = place.workspace
    if words := place.unsaved(ws.layout.flow_modules_dir / f"{name}.ipynb"):
        place.tell(Note.warning(f"{words}: save it, so that this uses the same code"))
    begun = _ask_for_runs(place, name, source, params, wait)
    if not wait and not begun and ws.lease().is_elsewhere:
        return was_asked()
    has_ended = bool(begun) and isinstance(begun[0], Run)
    try:
        if not has_ended:
            _tell_what_is_not_run(place, name)
        if not wait and begun:
            ids = first_few([run_id[:8] for run_id in begun], _MOST_NAMED)
            text = f"Asked for {plural(len(begun), 'run')}: {ids}. `{cli_line('runs', name)}` shows them."
            return said(text, {"asked": True, "run_ids": begun}, value=begun)
        if not has_ended:
            begun = ws.wait(begun)
    except FlowValidationError as error:
        raise place.failed(error) from error
    runs: Listing[Run] = Listing(begun)
    ledger = ws.home.ledger()

    def card() -> Card:
        if not runs:
            return Card(_why_nothing(place, name))
        shown = runs_card(runs, now_s=time.time(), root=ws.root, has_errors=True)
        lines = [words for run in runs if source is not None and (words := also_read_text(run))]
        lines += [
            f"`{cli_line('log', run.run_id[:8])}` shows its warnings."
            for run in [run for run in runs if run.warnings][:_MOST_NAMED]
        ]
        return Card(shown.title, shown.facts, (*shown.parts, Lines(tuple(lines))))

    warnings = tuple(map(Note.warning, warning_texts(ledger, runs)))
    is_any_bad = any(run.status != "success" for run in runs)
    return Answer(card, lambda: {"runs": runs_as_json(ledger, runs)}, warnings, int(is_any_bad), runs)


def _why_nothing(place: Place, name: str) -> str:
    """Why the deployed flow has no file to run for now."""
    with place.inside():
        flow = deployed_flow(place.workspace.home.deployments(), name)
        return f"{name}: {'nothing ran' if flow is None else why_nothing(flow)}"


def _ask_for_runs(place: Place, name: str, source: str | None, params: Mapping[str, Any], wait: bool) -> list[Any]:
    """Ask for runs: their ids, or the ended runs where the owner is another workstation; tell what was started for it."""
    ws = place.workspace
    is_daemon_missing = ws.link.find() is None and silent_daemon(ws.home.local) is None
    is_elsewhere = ws.lease().is_elsewhere
    if is_daemon_missing and not is_elsewhere and name not in ws.home.deployments().deployed():
        find_flow(ws.home, name)  # no daemon is started for a name that was mistyped
    goes_on = is_daemon_missing and not is_elsewhere and was_engine_on(ws.home.ledger())
    try:
        answer = ws.run(name, wait=wait and is_elsewhere, source=source, params=params)
    except FlowValidationError as error:
        if any(flow.name == name and flow.state_kind == "broken" for flow in ws.status().flows):
            raise place.failed(error) from error
        raise
    if is_daemon_missing:
        place.tell(Note.warning(f"No daemon ran: one was started for this. `{cli_line('stop')}` ends it."))
    if goes_on:
        off = f"is on again: {cli_line('stop')} turns it off"
        place.tell(Note.warning(f"The engine was on when the last daemon died, and {off}."))
    return answer


def _tell_what_is_not_run(place: Place, name: str) -> None:
    status = place.workspace.deployment_status(name)
    if status.kind == "gone":
        place.tell(Note.warning(status.edit or ""))
    if status.is_edited:
        edit = f"`{cli_line('preview', name)}` shows it, `{cli_line('deploy', name)}` lets production run it"
        way = "" if status.rolled_back_to else f". The edit: {edit}"
        place.tell(Note.warning(f"{status.text}: what is deployed runs{way}"))


# -- here -------------------------------------------------------------------------------------------------------------


@frozen
class OnceOptions:
    """What `run --once` was given besides the flow."""

    source: str | None
    params: Mapping[str, TypedValue]
    on_error: str
    edited: bool
    yes: bool


def _run_here(place: Place, name: str | None, options: OnceOptions) -> Answer:
    """Run one flow in this kernel; a context for each source."""
    flow: Any = place.flow(name)
    contexts = flow.run_once(
        source=options.source, params=options.params, on_error=options.on_error, edited=options.edited
    )
    return Answer(lambda: contexts_card(contexts), list, value=contexts)


def _run_once(place: Place, name: str | None, options: OnceOptions) -> Answer:
    """Run one flow, or all of them."""
    from data_engine.runs import refuse_edited, run_once

    source = options.source
    if source is not None and name is None:
        raise unknown_flow_of_source("run", "--once", "NAME", "--source", "PATH")
    ws = place.workspace
    ws.settings()  # nothing runs by settings that cannot be used
    for warning in settings_warnings(ws):
        place.tell(Note.warning(warning))
    listener = RunListener(place, keep_ids=True)
    go = partial(
        run_once,
        source=source,
        params=options.params,
        on_error=options.on_error,
        edited=options.edited,
        listen=listener,
    )
    try:
        with place.inside(), readers_watched():  # before a module makes objects that write
            flows, broken = _flows(place, name, source, options.params)
            if not options.edited:
                refuse_edited(ws.home, flows)
            if name is None and flows and not _is_wanted(place, flows, yes=options.yes):
                return said("Nothing was run.", {"runs": [], "broken": []}, code=1)
            for entry in broken:
                assert entry.error is not None
                listener.show_broken(entry.name, entry.error)
            _tell_never_deployed(place, flows)
            _run_each(flows, listener, go)
    except KeyboardInterrupt:
        place.show(Lines((listener.sum_text(),)))
        raise
    ledger = ws.home.ledger()
    runs = [run for run_id in listener.run_ids if (run := ledger.run(run_id)) is not None]
    # a run for one file may have read others of its folder
    also = [words for run in runs if source is not None and (words := also_read_text(run))]
    lines = (*(f"{_INDENT}{words}" for words in also), listener.sum_text())
    return Answer(
        lambda: Card("", (), (Lines(lines),)),
        lambda: {"runs": runs_as_json(ledger, runs), "broken": listener.broken},
        code=1 if listener.failed or listener.broken else 0,
    )


class RunListener:
    """Listens to runs, shows a line for each as it ends, and counts failures.

    `broken` are the flows that could not be run at all, with their errors. `run_ids` are those of all runs, where they are
    kept.
    """

    def __init__(self, place: Place, *, keep_ids: bool = False) -> None:
        self._place = place
        self.run_ids: list[str] = []
        self.started = 0
        self.failed = 0
        self.stopped = 0
        self.broken: list[dict[str, Any]] = []
        self._keeps_ids = keep_ids
        self._started: dict[str, RunStarted] = {}
        self._outputs: dict[str, list[str]] = {}
        self._lines: dict[str, list[LogLine]] = {}
        self._warned = 0
        self._elapsed_s = 0.0
        self._last_error = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.started += 1
            if self._keeps_ids:
                self.run_ids.append(event.run_id)
            self._started[event.run_id] = event
        elif isinstance(event, StepFinished) and event.outputs:
            more = f" and {len(event.outputs) - 1} more" if len(event.outputs) > 1 else ""
            self._outputs.setdefault(event.run_id, []).append(f"wrote {event.outputs[0]}{more}")
        elif isinstance(event, LogLine) and counts_as_warning(event.level, "success"):
            self._lines.setdefault(event.run_id, []).append(event)
        elif isinstance(event, RunFinished):
            self.failed += event.status != "success"
            self.stopped += event.status == "stopped"
            self._elapsed_s += event.elapsed_s
            started = self._started.pop(event.run_id)
            lines = self._lines.pop(event.run_id, [])
            warnings = [line for line in lines if counts_as_warning(line.level, event.status)]
            self._warned += len(warnings)
            self._show_run(started, event, warnings)

    def show_broken(self, flow: str, error: FlowValidationError, word: str = "broken") -> None:
        """Show that a flow could not run: `word` says whether its module is broken, or it was refused."""
        self.broken.append({"flow": flow, "error": error.as_dict()})
        self._show_failure(word, flow, str(error))

    def show_nothing_to_do(self, flow: Flow) -> None:
        """Show that a flow had no sources."""
        self._show("-", f"{flow.name}  {why_nothing(flow)}")

    def sum_text(self) -> str:
        """The sums in words."""
        broken = f", {plural(len(self.broken), 'flow')} could not run" if self.broken else ""
        done, failed = self.started - self.failed - len(self._started), self.failed - self.stopped
        stopped = f", {self.stopped} stopped" if self.stopped else ""
        cut = f", {len(self._started)} cut short" if self._started else ""
        warned = f", {warned_text(self._warned)}" if self._warned else ""
        counts = f"{plural(self.started, 'run')}: {done} success, {failed} failed{stopped}{cut}{broken}{warned}"
        return f"{counts}, {duration_text(self._elapsed_s)}"

    def _show_run(self, started: RunStarted, finished: RunFinished, warnings: Sequence[LogLine]) -> None:
        source = visible(source_name(started))
        line = f"{started.flow}{f'  {source}' if source else ''}  {duration_text(finished.elapsed_s)}"
        if started.about is not None and started.about.edited:
            line += f", not deployed ({started.about.edited})"
        if warnings:
            line += f", {warned_text(len(warnings))}"
        outputs = self._outputs.pop(finished.run_id, [])
        if finished.status == "success":
            self._show(finished.status, line)
            for text in [*outputs, *(f"warning: {warning.message}" for warning in warnings)]:
                self._show_indented(text)
        else:
            self._show_failure(finished.status, line, finished.error or finished.cause or "", started.source)

    def _show_failure(self, status: str, line: str, error: str, source: str | None = None) -> None:
        self._show(status, Mark(line, "warn" if status == "stopped" else "bad"))
        alike = error.replace(source, "") if source else error
        if alike == self._last_error:
            self._show_indented("the same error as above")
            return
        self._last_error = alike
        self._show_indented(error)

    def _show(self, status: str, cell: Cell) -> None:
        self._place.show(Pairs(((f"{status:8}", cell),)))

    def _show_indented(self, text: str) -> None:
        self._place.show(Lines(tuple(f"{_INDENT}{line}" for line in text.splitlines())))


def _is_wanted(place: Place, flows: Sequence[Flow], *, yes: bool) -> bool:
    """Whether all these flows are to run: a person saw them, and says yes."""
    deployed = place.workspace.home.deployments().deployed()
    lines = tuple(f"{flow.name}  {'as deployed' if flow.name in deployed else 'not deployed'}" for flow in flows)
    count = "it" if len(flows) == 1 else f"all {len(flows)}"
    question = Card(f"Run {count} now, for each source?", (), (Lines(lines),))
    return place.confirm(question, f"that would run {plural(len(flows), 'flow')}", yes=yes)


def _tell_never_deployed(place: Place, flows: Sequence[Flow]) -> None:
    deployed = place.workspace.home.deployments().deployed()
    for name in [flow.name or "" for flow in flows if flow.name not in deployed]:
        place.tell(Note.warning(never_deployed_text(name)))


def source_name(started: RunStarted) -> str:
    """The run's source as its folder lists it; "" for a flow without one.

    Example:
        >>> from data_engine.model import SourceKey
        >>> source_name(RunStarted("3f", "claims", "C", "/in/a/b.csv", 0.0, SourceKey("../in", "a/b.csv")))
        'a/b.csv'
    """
    if started.key is not None and started.key.path:
        return started.key.path
    return "" if started.source is None else Path(started.source).name


def _flows(
    place: Place, name: str | None, source: str | None, params: Mapping[str, TypedValue]
) -> tuple[list[Flow], list[CatalogEntry]]:
    """The flow of this name, which takes this source and these params; else every flow, each after those whose mirrors it reads, and
    the entries that are none."""
    if name is not None:
        flow: Flow = place.flow(name)
        if source is not None:
            pick_to_run(flow, source)
        params_for(flow, params)
        return [flow], []
    entries = {entry.name: entry for entry in place.workspace.catalog()}
    folders = {name: Folders() if module.flow is None else folders_of(module.flow) for name, module in entries.items()}
    ordered = [entries[name] for name in reading_order(folders)]
    return [entry.flow for entry in ordered if entry.flow is not None], [
        entry for entry in ordered if entry.flow is None
    ]


def _run_each(flows: Sequence[Flow], listener: RunListener, run_once: Callable[[Flow], object]) -> None:
    for flow in flows:
        failed, runs = listener.failed, listener.started
        try:
            run_once(flow)
        except (WorkspaceError, OwnedElsewhereError):
            raise  # the workspace, not the flow: the next one would meet it again
        except (FlowValidationError, FlowStoppedError) as error:
            if listener.failed == failed:  # otherwise its run was printed
                if isinstance(error, FlowStoppedError):
                    raise
                listener.show_broken(flow.name or "", error, "not run")
        else:
            if listener.started == runs:
                listener.show_nothing_to_do(flow)
