"""`run --once`: a flow, or every flow, here and now, with a line for each run as it ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from data_engine.cli.options import (
    AsJson,
    Params,
    SomeFlowName,
    SourcePath,
    chosen_workspace,
    in_flow_modules,
    load_module,
    read_params,
    source_from_shell,
)
from data_engine.cli.output import count, print_json, say, seconds, status_style
from data_engine.errors import FlowStoppedError, FlowValidationError, OwnedElsewhereError, WorkspaceError
from data_engine.model import Event, RunFinished, RunStarted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from data_engine.client import Workspace
    from data_engine.flow.flow import Flow

OnError = Annotated[
    Literal["continue", "raise"],
    typer.Option("--on-error", help="After a failure: try the flow's other sources, or leave them."),
]


def run(
    ctx: typer.Context,
    name: SomeFlowName = None,
    once: Annotated[bool, typer.Option("--once", help="Run here and now, once for each source.")] = False,
    source: SourcePath = None,
    param: Params = None,
    on_error: OnError = "continue",
    as_json: AsJson = False,
) -> int:
    """Run a flow once for each of its sources.

    Without NAME every flow of the workspace, one after the other. The runs are recorded. Ends with 1 when any of them failed.
    """
    if not once:
        raise FlowValidationError(
            "runs in the background are not in this version",
            where="data-engine run",
            mend=f"run it here and now: data-engine run --once{'' if name is None else f' {name}'}",
        )
    if source is not None and name is None:
        raise FlowValidationError(
            "--source says which file, but not of which flow",
            where="data-engine run --source",
            mend="name the flow: data-engine run --once NAME --source PATH",
        )
    ws = chosen_workspace(ctx)
    params = read_params(param)
    source = source_from_shell(source)
    report = Report(quiet=as_json)
    with in_flow_modules(ws):
        if name is None:
            _run_all(ws, report, params, on_error)
        else:
            flow = load_module(ws, name).flow
            if source is not None:
                from data_engine.engine.candidates import pick_source

                pick_source(flow, source)
            _run_one(flow, report, params, on_error, source)
    if as_json:
        ledger = ws.home.ledger()
        runs = [run.as_dict() for run_id in report.run_ids if (run := ledger.run(run_id)) is not None]
        print_json({"runs": runs, "broken": report.broken})
    else:
        report.say_sum()
    return 1 if report.failed or report.broken else 0


class Report:
    """Listens to runs and says a line for each as it ends; counts what went wrong.

    `broken` are the flows that could not be run at all, with their errors.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.run_ids: list[str] = []
        self.failed = 0
        self.broken: list[dict[str, Any]] = []
        self._quiet = quiet
        self._started: dict[str, RunStarted] = {}
        self._elapsed_s = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.run_ids.append(event.run_id)
            self._started[event.run_id] = event
        elif isinstance(event, RunFinished):
            self.failed += event.status != "success"
            self._elapsed_s += event.elapsed_s
            if not self._quiet:
                self._say_run(self._started.pop(event.run_id), event)

    def say_broken(self, flow: str, error: FlowValidationError) -> None:
        """A flow could not be run."""
        self.broken.append({"flow": flow, "error": error.as_dict()})
        if not self._quiet:
            self._say_failure("broken", flow, str(error))

    def say_nothing_to_do(self, flow: Flow) -> None:
        """A flow had no sources."""
        if not self._quiet:
            source = "" if flow.trigger is None else f" in {flow.trigger.source}"
            say(f"{'-':9} {flow.name}  no files to run for{source}")

    def say_sum(self) -> None:
        """The last line."""
        broken = f", {count(len(self.broken), 'flow')} could not run" if self.broken else ""
        done = len(self.run_ids) - self.failed
        say(
            f"{count(len(self.run_ids), 'run')}: {done} success, {self.failed} failed{broken}, {seconds(self._elapsed_s)}"
        )

    def _say_run(self, started: RunStarted, finished: RunFinished) -> None:
        source = source_name(started)
        line = f"{started.flow}{f'  {source}' if source else ''}  {seconds(finished.elapsed_s)}"
        if finished.status == "success":
            say(f"{finished.status:9} {line}")
        else:
            self._say_failure(finished.status, line, finished.error or finished.cause or "")

    def _say_failure(self, status: str, line: str, error: str) -> None:
        say(f"{status:9} {line}", style=status_style(status) or "red")
        for text in error.splitlines():
            say(f"          {text}")


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


def _run_all(ws: Workspace, report: Report, params: Mapping[str, Any], on_error: Literal["continue", "raise"]) -> None:
    for entry in ws.catalog():
        if entry.flow is None:
            assert entry.error is not None
            report.say_broken(entry.name, entry.error)
        else:
            _run_one(entry.flow, report, params, on_error)


def _run_one(
    flow: Flow,
    report: Report,
    params: Mapping[str, Any],
    on_error: Literal["continue", "raise"],
    source: str | None = None,
) -> None:
    from data_engine.client import run_once

    failed = report.failed
    runs = len(report.run_ids)
    try:
        run_once(flow, source=source, params=params, on_error=on_error, listen=report)
    except (WorkspaceError, OwnedElsewhereError):
        raise  # the workspace, not the flow: the next one would meet it again
    except (FlowValidationError, FlowStoppedError) as error:
        if report.failed == failed:  # otherwise its run has been told
            if isinstance(error, FlowStoppedError):
                raise
            report.say_broken(flow.name or "", error)
        return
    if len(report.run_ids) == runs:
        report.say_nothing_to_do(flow)
