"""What a real daemon tells of a feed that has changed, and how it is accepted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_engine import Workspace
from data_engine.view.panel import flow_buttons
from jupyter_extension.actions import answer
from tests.cli.conftest import Cli, cli  # noqa: F401
from tests.daemon.support import ended, flow_of
from tests.daemon.test_alerts import ALERTS, kinds, outbox
from tests.support import WorkspaceFiles, until

FLIGHTS = """
    import polars as pl
    from data_engine import Flow

    def read(context):
        return pl.read_csv(context.source.path)

    def write(context):
        context.current.write_parquet(context.mirror.with_extension(".parquet"))

    def build():
        flow = Flow(group="G").watch(mode="poll", source="../in", interval="100ms", settle=0, extensions=".csv")
        return flow.mirror(root="../out", staged=True).step(read, save_as="raw_df"){check}.step(write)
"""
TOTAL = """
    from data_engine import Flow

    def build():
        flow = Flow(group="G").watch(mode="poll", source="../out", interval="100ms", settle=0, extensions=".parquet", run_as="batch")
        return flow.step(lambda context: None)
"""
BEFORE, AFTER = "day,dep_delay\n1,2\n", "day,departure_delay\n1,2\n"
WORDS = "raw_df: `dep_delay` is gone, `departure_delay` is new; it was as before until 1.csv"


@pytest.fixture
def begin(ws: WorkspaceFiles) -> Iterator[Any]:
    """Makes the workspace with the flow `flights`, whose first file is done."""
    made: list[Workspace] = []

    def begin(check: str = "") -> Workspace:
        ws.source("config/data_engine.toml", ALERTS + '[deploy]\nmode = "auto"\nquiet = "0s"\n')
        ws.notebook("flights", FLIGHTS.replace("{check}", check))
        ws.notebook("total", TOTAL)
        ws.source("in/1.csv", BEFORE)
        workspace = Workspace(ws.root)
        made.append(workspace)
        workspace.start_engine()
        until(lambda: ended(workspace, "flights", 1))
        return workspace

    yield begin
    for one in made:
        one.kill()


def body(workspace: Workspace) -> str:
    with sqlite3.connect(workspace.home.ledger().path) as connection:
        ((text,),) = connection.execute("SELECT body_text FROM outbox WHERE kind = 'drift'").fetchall()
    connection.close()
    return str(text)


def test_drift_is_told_once_with_who_reads_it(begin: Any, ws: WorkspaceFiles, cli: Cli) -> None:  # noqa: F811
    """In status and card, and as a message; it is over when a good run has no such columns."""
    workspace = begin()
    ws.source("in/2.csv", AFTER)
    until(lambda: "drift" in kinds(workspace))

    assert next(subject for kind, _, subject in outbox(workspace) if kind == "drift").startswith(
        "the feed of flights has changed: raw_df: `dep_delay` is gone"
    )
    assert "what it writes is read by total" in body(workspace)
    assert WORDS in body(workspace)
    assert [change["text"] for change in flow_of(workspace, "flights")["drift"]] == [WORDS]
    shown = " ".join(cli("--workspace", workspace.root, "status").out.split())
    assert f"its feed has changed: {WORDS}" in shown
    drifted = next(run for run in workspace.runs("flights") if run.drift)
    assert WORDS in cli("--workspace", workspace.root, "log", drifted.run_id).out
    ws.source("in/3.csv", AFTER)
    until(lambda: ended(workspace, "flights", 3))
    assert flow_of(workspace, "flights")["drift"]

    ws.source("in/4.csv", BEFORE)
    until(lambda: not flow_of(workspace, "flights").get("drift"))

    until(lambda: "recovered" in kinds(workspace))
    ws.source("in/5.csv", AFTER)
    until(lambda: ended(workspace, "flights", 5))
    assert (kinds(workspace).count("drift"), flow_of(workspace, "flights").get("drift")) == (1, [])


def test_a_deploy_ends_drift(begin: Any, ws: WorkspaceFiles) -> None:
    workspace = begin()
    ws.source("in/2.csv", AFTER)
    until(lambda: flow_of(workspace, "flights").get("drift"))

    ws.notebook("flights", FLIGHTS.replace("{check}", '.step(lambda context: context.current, save_as="clean_df")'))

    until(lambda: not flow_of(workspace, "flights").get("drift"))


def test_columns_that_are_not_as_before_hold_a_file_until_they_are_accepted(
    begin: Any,
    ws: WorkspaceFiles,
    cli: Cli,  # noqa: F811
) -> None:
    """A plain retry fails again in the same way; nothing is written, and what follows passes too."""
    workspace = begin('.check(schema="as_before")')
    ws.source("in/2.csv", AFTER)
    until(lambda: flow_of(workspace, "flights")["held"] == 1)
    assert workspace.retry("flights") == 1
    until(lambda: len(ended(workspace, "flights", 3)) == 3)
    until(lambda: flow_of(workspace, "flights")["held"] == 1)
    assert [path.name for path in Path(ws.root / "out").iterdir()] == ["1.parquet"]
    assert flow_of(workspace, "flights")["last_run"]["why"]["kind"] == "feed_changed"

    told = cli("--workspace", workspace.root, "retry", "flights", "--accept")

    assert told.out.startswith(f"1 held source runs again. Accepted: flights: {WORDS}.")
    until(lambda: flow_of(workspace, "flights")["held"] == 0)
    ws.source("in/3.csv", AFTER)
    ws.source("in/4.csv", BEFORE)
    until(lambda: len(ended(workspace, "flights", 6)) == 6)
    assert [run.status for run in workspace.runs("flights", status="failed")] == ["failed", "failed"]
    assert not any(run.drift for run in workspace.runs("flights"))


def test_the_panel_accepts_columns(begin: Any, ws: WorkspaceFiles) -> None:
    workspace = begin('.check(schema="as_before")')
    ws.source("in/2.csv", AFTER)
    until(lambda: flow_of(workspace, "flights")["held"] == 1)
    assert flow_buttons(flow_of(workspace, "flights"), workspace.status())["accept"] is None

    done = answer(str(workspace.root), "retry", {"flow": "flights", "accept": True})

    assert f"Accepted: flights: {WORDS}." in str(done["result"])
    until(lambda: flow_of(workspace, "flights")["held"] == 0)


def test_columns_are_accepted_without_a_daemon(begin: Any, ws: WorkspaceFiles, cli: Cli) -> None:  # noqa: F811
    workspace = begin('.check(schema="as_before")')
    workspace.kill()
    ws.source("in/2.csv", AFTER)
    assert cli("--workspace", workspace.root, "run", "flights", "--once").code == 1

    told = cli("--workspace", workspace.root, "retry", "flights", "--accept")

    assert told.out.startswith(f"Accepted: flights: {WORDS}.")
    assert cli("--workspace", workspace.root, "run", "flights", "--once").code == 0


def test_a_flow_that_holds_no_files_accepts_columns_too(begin: Any, ws: WorkspaceFiles, cli: Cli) -> None:  # noqa: F811
    """With the engine off, too: it runs, and is good."""
    workspace = begin()
    text = FLIGHTS.replace("{check}", '.check(schema="as_before")')
    text = text.replace('mode="poll"', 'mode="manual"').replace(', interval="100ms", settle=0', "")
    ws.notebook("by_hand", text.replace("../out", "../by_hand"))
    workspace.deploy("by_hand")
    workspace.run("by_hand")
    until(lambda: ended(workspace, "by_hand", 1))
    workspace.stop_engine()
    (ws.root / "in" / "1.csv").unlink()
    ws.source("in/2.csv", AFTER)
    workspace.run("by_hand")
    until(lambda: len(ended(workspace, "by_hand", 2)) == 2)
    plain = cli("--workspace", workspace.root, "retry", "by_hand")
    assert (plain.code, "runs by hand only" in plain.err) == (2, True)

    told = cli("--workspace", workspace.root, "retry", "by_hand", "--accept")

    assert told.out.startswith(f"Accepted: by_hand: {WORDS}.")
    until(lambda: len(ended(workspace, "by_hand", 3)) == 3)
    assert workspace.runs("by_hand")[0].status == "success"
