"""Uses of the public names that both type checkers must accept, with what they know of each. Checked, never run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, assert_type

import polars as pl

import data_engine
from data_engine import (
    Batch,
    FileRef,
    Flow,
    FlowContext,
    FlowExecutionError,
    FlowStoppedError,
    FlowValidationError,
    ItemError,
    Secret,
    Workspace,
    clear_preview_cache,
    compile_notebook,
    discover_flows,
    load_flow,
    panel,
    run,
)
from data_engine.helpers import TableSchema, networkdays, read_table, replace_rows_by_file, write_parquet_atomic
from jupyter_extension.panel import Panel


def read(context: FlowContext) -> pl.DataFrame:
    assert context.source is not None
    assert context.source.path is not None
    return pl.read_csv(context.source.path)


def line_count(file: FileRef) -> int:
    return len(file.path.read_text().splitlines())


def with_context(context: FlowContext, item: object) -> str:
    return f"{item} of {context.params}"


def build() -> Flow:
    """Each verb gives a flow, so that they chain in any order."""
    return (
        Flow(group="Claims", name="claims", label="Claims of the day")
        .watch(
            mode="poll", source=Path("/in"), interval=timedelta(seconds=30), extensions=[".csv", "xlsx"], settle="5s"
        )
        .mirror(root="/out")
        .expect(by=["07:00"], every=timedelta(days=1), within="30m", days="mon-fri", tz="Europe/Berlin")
        .alert(to="ops", on=["failed", "late"])
        .collect(".csv", root=Path("/in"), recursive=True, save_as="files")
        .map(line_count, use="files", max_parallel=4, on_error="collect")
        .map(with_context)
        .check(
            {"positive": pl.col("amount") > 0, "known": "id IS NOT NULL"},
            on_fail="quarantine",
            at_most=0.1,
            rejected="bad_df",
        )
        .check(schema="as_before", on_fail="warn")
        .step(read, save_as="claims_df", label="Read")
        .step(lambda context: context.current)
    )


@dataclass
class Settings:
    month: date = date(2013, 1, 1)
    dwh: Secret | None = None


def parameters(flow: Flow, context: FlowContext) -> None:
    assert_type(flow.params(Settings), Flow)
    flow.params(Settings).form(use="claims_df")
    assert_type(context.secret("dwh").reveal(), str)
    settings: Settings = context.params
    assert_type(settings.month, date)


def schedules() -> list[Flow]:
    flow = Flow(group="Month")
    return [
        flow.watch(mode="manual"),
        flow.watch(mode="schedule", time=("08:15", "17:00"), tz="Europe/Berlin", catch_up="all"),
        flow.watch(mode="schedule", cron="0 6 * * 1-5", run_as="batch", max_parallel=2),
    ]


def running(flow: Flow) -> None:
    assert_type(flow.mode, str)
    assert_type(flow.preview(use="claims_df", params={"days": 3}, fresh=True), Any)
    assert_type(flow.preview(use="claims_df", against="deployed", key=["id"]), Any)
    assert_type(flow.profile("claims_df", params={"days": 3}).shown[0].nulls, int)
    assert_type(flow.golden("claims_df", key="id", drop=["name"]).rows, int | None)
    assert_type(flow.run_once(), list[FlowContext])
    assert_type(run(flow), list[FlowContext])
    clear_preview_cache()


def batches(batch: Batch[int]) -> None:
    assert_type(batch.ok(), Batch[int])
    for one in batch:
        assert_type(one, int)


def contexts(context: FlowContext) -> None:
    context.log("read")
    context.progress(1, 10)
    context.metadata["rows"] = 3
    assert_type(context.params["days"], Any)
    if context.debug is not None:
        context.debug.save_frame(pl.DataFrame(), name="claims")


def workspaces(folder: Path) -> None:
    workspace = Workspace.create(folder)
    assert_type(Workspace(str(folder)), Workspace)
    assert_type(Workspace.current().workspace_id, str)
    assert_type(workspace.flows(), tuple[Flow, ...])
    assert_type(workspace.load_flow("claims"), Flow)
    assert_type(workspace.plan("claims", key="id").equal, bool)
    assert_type([result.status for result in workspace.test("claims")], list[str])
    assert_type(workspace.retry("claims", source=folder / "a.csv"), int)
    for one in workspace.runs("claims", limit=10):
        assert_type(one.status, str)
        assert_type(one.elapsed_s, float | None)
        assert_type(workspace.log(one.run_id)[0].message, str)
    workspace.start_engine()
    workspace.release_control(now=True)
    assert_type(load_flow("claims", data_root=folder), Flow)
    assert_type(discover_flows(data_root=folder), tuple[Flow, ...])
    assert_type(panel(workspace), Panel)


def errors(error: FlowExecutionError | FlowStoppedError | FlowValidationError | ItemError) -> str:
    if isinstance(error, ItemError):
        assert_type(error.error, BaseException)
        return str(error.item)
    return str(error) if isinstance(error, FlowStoppedError) else error.what


def helpers(frame: pl.DataFrame, database: Path) -> None:
    replace_rows_by_file(database, "claims", df=frame, file_hash="3f")
    assert_type(read_table(database, "claims"), pl.DataFrame)
    assert_type(networkdays("start", "end"), pl.Expr)
    write_parquet_atomic(frame, database.with_name("claims.parquet"))
    assert_type(data_engine.__version__, str)
    assert_type(TableSchema({"day": pl.Date}), TableSchema)


def compiled(notebook: Path) -> None:
    compile_notebook(notebook)
