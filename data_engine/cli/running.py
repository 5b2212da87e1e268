"""`run --once` and `run --watch`: flows here and now, or as they become due; with a line for each run as it ends."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from data_engine.cli.options import (
    AsJson,
    FlowNames,
    Params,
    SourcePath,
    Wait,
    chosen_workspace,
    in_flow_modules,
    is_confirmed,
    load_module,
    say_settings,
    source_from_shell,
)
from data_engine.cli.output import complain, print_json, say, status_style
from data_engine.errors import FlowStoppedError, FlowValidationError, OwnedElsewhereError, WorkspaceError
from data_engine.flow.parameters import read_params
from data_engine.formatting import duration_words, plural, visible
from data_engine.ledger.logs import counts_as_warning, warned_words
from data_engine.ledger.run_warnings import runs_as_json
from data_engine.model import Event, LogLine, RunFinished, RunStarted, StepFinished
from data_engine.platforms.terminals import is_terminal
from data_engine.record import frozen
from data_engine.status.runs import also_read_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from data_engine.client import Workspace
    from data_engine.flow.flow import Flow
    from data_engine.flow.parameters import TypedValue
    from data_engine.notebook.catalog import CatalogEntry

OnError = Annotated[
    Literal["continue", "raise"],
    typer.Option("--on-error", help="After a failure: try the flow's other sources, or leave them."),
]


def run(
    ctx: typer.Context,
    names: FlowNames = None,
    once: Annotated[bool, typer.Option("--once", help="Run here and now, once for each source.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Run here as sources and slots become due, until Ctrl-C.")
    ] = False,
    source: SourcePath = None,
    param: Params = None,
    on_error: OnError = "continue",
    edited: Annotated[
        bool, typer.Option("--edited", help="With --once or --watch: also run code that is not what is deployed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --once and without NAME: do not ask.")] = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> int:
    """Run a flow in the daemon, or here: once for each source, or as they become due.

    Without an option the deployed flow NAME runs in the daemon, which is started if need be; ends with 1 when a run failed.
    With --once one flow, or without NAME, after a question, every flow of the workspace, one after the other, each after those whose mirrors it reads; ends with 1 when any run failed.
    With --watch the flows named, or all that are not manual, until Ctrl-C: running steps end first, a second Ctrl-C leaves at
    once; ends with 130. The runs are recorded. Both run the notebooks as they are: where one is not what is deployed, nothing
    runs (2), but with --edited; such runs are marked "not deployed", and change nothing of what is due, done or held.
    """
    if watch:
        _refuse_beside_watch(once=once, source=source, param=param, on_error=on_error)
        return _watch(chosen_workspace(ctx), names or [], as_json, edited=edited)
    if names and len(names) > 1:
        raise FlowValidationError(
            f"{len(names)} flows were named, and one can run at a time",
            where="data-engine run",
            fix="name one; a name that holds blanks stands in quotation marks, and a file behind --source",
        )
    name = names[0] if names else None
    if not once:
        _refuse_without_once(edited=edited, yes=yes)
        from data_engine.cli.daemon import run_in_daemon

        return run_in_daemon(chosen_workspace(ctx), name, source_from_shell(source), read_params(param), as_json, wait)
    if source is not None and name is None:
        raise FlowValidationError(
            "--source says which file, but not of which flow",
            where="data-engine run --source",
            fix="name the flow: data-engine run --once NAME --source PATH",
        )
    ws = chosen_workspace(ctx)
    ws.settings()  # nothing runs by settings that cannot be used
    say_settings(ws)
    go = OnceOptions(source_from_shell(source), read_params(param), on_error, edited, yes)
    return _run_once(ws, name, go, as_json)


@frozen
class OnceOptions:
    """What `run --once` was given besides the flow."""

    source: str | None
    params: Mapping[str, TypedValue]
    on_error: str
    edited: bool
    yes: bool


def _run_once(ws: Workspace, name: str | None, options: OnceOptions, as_json: bool) -> int:
    """Run one flow, or all of them; the exit code."""
    from data_engine.engine.recording import readers_watched
    from data_engine.runs import refuse_edited, run_once

    report, source = Report(quiet=as_json, keep_ids=True), options.source
    go = partial(
        run_once,
        source=source,
        params=options.params,
        on_error=options.on_error,
        edited=options.edited,
        listen=report,
    )
    try:
        with in_flow_modules(ws), readers_watched():  # before a module makes objects that write
            flows, broken = _flows(ws, name, source, options.params)
            if not options.edited:
                refuse_edited(ws.home, flows)
            if name is None and not options.yes and flows and not _is_wanted(ws, flows, as_json):
                say("Nothing was run.")
                return 1
            for entry in broken:
                assert entry.error is not None
                report.say_broken(entry.name, entry.error)
            _say_never_deployed(ws, flows)
            _run_each(flows, report, go)
    except KeyboardInterrupt:
        if not as_json:
            report.say_sum()
        raise
    if as_json:
        ledger = ws.home.ledger()
        runs = [run for run_id in report.run_ids if (run := ledger.run(run_id)) is not None]
        print_json({"runs": runs_as_json(ledger, runs), "broken": report.broken})
    else:
        for run in map(ws.home.ledger().run, report.run_ids if source is not None else ()):
            if run is not None and (words := also_read_words(run)):  # it is for one file, and read others of its folder
                say(f"          {words}")
        report.say_sum()
    return 1 if report.failed or report.broken else 0


class Report:
    """Listens to runs, prints a line for each as it ends, and counts failures.

    `broken` are the flows that could not be run at all, with their errors. `run_ids` are those of all runs, where they are
    kept.
    """

    def __init__(self, *, quiet: bool, keep_ids: bool = False) -> None:
        self.run_ids: list[str] = []
        self.started = 0
        self.failed = 0
        self.stopped = 0
        self.broken: list[dict[str, Any]] = []
        self._quiet = quiet
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
            if not self._quiet:
                self._say_run(started, event, warnings)

    def say_broken(self, flow: str, error: FlowValidationError, word: str = "broken") -> None:
        """Print that a flow could not run: `word` says whether its module is broken, or it was refused."""
        self.broken.append({"flow": flow, "error": error.as_dict()})
        if not self._quiet:
            self._say_failure(word, flow, str(error))

    def say_nothing_to_do(self, flow: Flow) -> None:
        """Print that a flow had no sources."""
        if not self._quiet:
            from data_engine.status.places import why_nothing

            say(f"{'-':9} {flow.name}  {why_nothing(flow)}")

    def say_sum(self) -> None:
        """Print the sums."""
        broken = f", {plural(len(self.broken), 'flow')} could not run" if self.broken else ""
        done, failed = self.started - self.failed - len(self._started), self.failed - self.stopped
        stopped = f", {self.stopped} stopped" if self.stopped else ""
        cut = f", {len(self._started)} cut short" if self._started else ""
        warned = f", {warned_words(self._warned)}" if self._warned else ""
        counts = f"{plural(self.started, 'run')}: {done} success, {failed} failed{stopped}{cut}{broken}{warned}"
        say(f"{counts}, {duration_words(self._elapsed_s)}")

    def _say_run(self, started: RunStarted, finished: RunFinished, warnings: Sequence[LogLine]) -> None:
        source = visible(source_name(started))
        line = f"{started.flow}{f'  {source}' if source else ''}  {duration_words(finished.elapsed_s)}"
        if started.about is not None and started.about.edited:
            line += f", not deployed ({started.about.edited})"
        if warnings:
            line += f", {warned_words(len(warnings))}"
        outputs = self._outputs.pop(finished.run_id, [])
        if finished.status == "success":
            say(f"{finished.status:9} {line}")
            for text in [*outputs, *(f"warning: {warning.message}" for warning in warnings)]:
                _say_indented(text)
        else:
            self._say_failure(finished.status, line, finished.error or finished.cause or "", started.source)

    def _say_failure(self, status: str, line: str, error: str, source: str | None = None) -> None:
        say(f"{status:9} {line}", style=status_style(status) or "red")
        alike = error.replace(source, "") if source else error
        if alike == self._last_error:
            say("          the same error as above")
            return
        self._last_error = alike
        _say_indented(error)


def _say_indented(text: str) -> None:
    for line in text.splitlines():
        say(f"          {line}")


def _refuse_beside_watch(*, once: bool, source: str | None, param: list[str] | None, on_error: str) -> None:
    options = {
        "--once": once,
        "--source": source is not None,
        "--set": bool(param),
        "--on-error": on_error != "continue",
    }
    wrong = [option for option, is_given in options.items() if is_given]
    if wrong:
        raise FlowValidationError(
            f"{' and '.join(wrong)} cannot be combined with --watch",
            where="data-engine run --watch",
            fix="leave it out, or run once: data-engine run --once",
        )


def _refuse_without_once(*, edited: bool, yes: bool) -> None:
    for option in [option for option, is_given in (("--edited", edited), ("--yes", yes)) if is_given]:
        raise FlowValidationError(
            f"{option} goes with --once",
            where=f"{option} of `data-engine run`",
            fix="leave it out: the daemon runs what is deployed; or run here: data-engine run --once NAME",
        )


def _is_wanted(ws: Workspace, flows: Sequence[Flow], as_json: bool) -> bool:
    """Whether all these flows are to run: somebody at a terminal saw them, and says yes."""
    what = f"that would run {plural(len(flows), 'flow')}"
    if is_terminal(sys.stdin) and not as_json:
        deployed = ws.home.deployments().deployed()
        for flow in flows:
            say(f"{flow.name}  {'as deployed' if flow.name in deployed else 'not deployed'}")
    return is_confirmed(
        f"Run {'it' if len(flows) == 1 else f'all {len(flows)}'} now, for each source?", what, "run --once"
    )


def _say_never_deployed(ws: Workspace, flows: Sequence[Flow]) -> None:
    from data_engine.engine.standing import never_deployed_words

    deployed = ws.home.deployments().deployed()
    for name in [flow.name or "" for flow in flows if flow.name not in deployed]:
        complain(never_deployed_words(name), style="yellow")


def _watch(ws: Workspace, names: list[str], as_json: bool, *, edited: bool) -> int:
    from data_engine.engine.local_workspace import forget_workspaces
    from data_engine.runs import run_workspace

    report = Report(quiet=as_json)
    ledger = ws.home.ledger()

    def listen(event: Event) -> None:
        report(event)
        if as_json and isinstance(event, RunFinished) and (run := ledger.run(event.run_id)) is not None:
            print_json(runs_as_json(ledger, [run])[0], indent=None)

    def broken(entry: CatalogEntry) -> None:
        assert entry.error is not None
        report.say_broken(entry.name, entry.error, "broken" if entry.group is None else "not run")
        if as_json:
            print_json(report.broken[-1], indent=None)

    def tell(line: str) -> None:
        complain(line, style="yellow")

    try:
        with in_flow_modules(ws):
            run_workspace(ws.home, names, edited=edited, listen=listen, broken=broken, tell=tell)
    except KeyboardInterrupt:
        forget_workspaces()
        complain("interrupted", style="bold red")
        sys.stdout.flush()
        os._exit(130)  # not sys.exit: Python would wait for the threads of a step that is left behind
    if not as_json:
        report.say_sum()
    return 130


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
    ws: Workspace, name: str | None, source: str | None, params: Mapping[str, TypedValue]
) -> tuple[list[Flow], list[CatalogEntry]]:
    """The flow of this name, which takes this source and these params; else every flow, each after those whose mirrors it reads, and
    the entries that are none."""
    if name is not None:
        from data_engine.engine.candidates import pick_to_run
        from data_engine.engine.params import params_for

        flow = load_module(ws, name).flow
        if source is not None:
            pick_to_run(flow, source)
        params_for(flow, params)
        return [flow], []
    from data_engine.notebook.mirror_warnings import Folders, folders_of, reading_order

    entries = {entry.name: entry for entry in ws.catalog()}
    folders = {name: Folders() if module.flow is None else folders_of(module.flow) for name, module in entries.items()}
    ordered = [entries[name] for name in reading_order(folders)]
    return [entry.flow for entry in ordered if entry.flow is not None], [
        entry for entry in ordered if entry.flow is None
    ]


def _run_each(flows: Iterable[Flow], report: Report, run_once: Callable[[Flow], object]) -> None:
    for flow in flows:
        failed, runs = report.failed, report.started
        try:
            run_once(flow)
        except (WorkspaceError, OwnedElsewhereError):
            raise  # the workspace, not the flow: the next one would meet it again
        except (FlowValidationError, FlowStoppedError) as error:
            if report.failed == failed:  # otherwise its run was printed
                if isinstance(error, FlowStoppedError):
                    raise
                report.say_broken(flow.name or "", error, "not run")
        else:
            if report.started == runs:
                report.say_nothing_to_do(flow)
