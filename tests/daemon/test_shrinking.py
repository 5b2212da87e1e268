"""A batch whose folder was emptied: nothing shrinks in silence."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from data_engine import Workspace
from data_engine.errors import FlowValidationError
from data_engine.view.panel import flow_buttons
from jupyter_extension.actions import answer
from tests.cli.conftest import Cli, cli  # noqa: F401
from tests.daemon.stations import Make, Station, drop, shared_workspace
from tests.daemon.support import ended, flow_of
from tests.daemon.test_alerts import kinds, outbox
from tests.support import PATIENCE, WorkspaceFiles, until

TOTAL = """
    from data_engine import Flow

    def count(context):
        return sum(1 for _ in context.source.root.glob("*.csv"))

    def build():
        return Flow(group="T").watch(mode="poll", source="../in", interval="100ms", settle=0, run_as="batch", extensions=".csv"{more}).step(count)
"""
NAMES = [f"{number}.csv" for number in range(10)]


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    found = Workspace(ws.root)
    yield found
    found.kill()


def begin(workspace: Workspace, ws: WorkspaceFiles, more: str = "") -> None:
    ws.notebook("total", TOTAL.replace("{more}", more))
    for name in NAMES:
        ws.source(f"in/{name}", name)
    workspace.start_engine()
    until(lambda: len(ended(workspace, "total", 1)) == 1)


def shrink(ws: WorkspaceFiles) -> None:
    for name in NAMES[1:]:
        (ws.root / "in" / name).unlink()
    ws.source("in/0.csv", "changed since")


def held(workspace: Workspace) -> bool:
    return (flow_of(workspace, "total")["why"] or {}).get("kind") == "feed_shrunk"


def test_a_batch_whose_sources_are_gone_is_held_until_somebody_accepts_it(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    begin(workspace, ws)
    shrink(ws)
    until(lambda: held(workspace))

    row = next(row for row in workspace.explain("total") if "are gone" in row["reason"])
    assert row["reason"].startswith("held: 9 of the 10 sources that its last good run took are gone")
    assert flow_of(workspace, "total")["state"] == "failing"
    with pytest.raises(FlowValidationError, match="stays held: 9 of the 10"):
        workspace.retry("total")
    workspace.stop_engine()
    workspace.start_engine()
    ws.source("in/0.csv", "changed once more")
    until(lambda: held(workspace))
    assert len(workspace.runs("total")) == 1

    assert workspace.retry("total", accept=True) == 1

    assert until(lambda: len(ended(workspace, "total", 2)) == 2)
    assert {run.status for run in workspace.runs("total")} == {"success"}
    ws.source("in/0.csv", "and again, which is now as many as before")
    until(lambda: len(ended(workspace, "total", 3)) == 3)


def test_a_batch_runs_by_itself_when_its_sources_are_back(workspace: Workspace, ws: WorkspaceFiles) -> None:
    begin(workspace, ws)
    shrink(ws)
    until(lambda: held(workspace))

    for name in NAMES[1:]:
        ws.source(f"in/{name}", name)

    assert until(lambda: len(ended(workspace, "total", 2)) >= 2)  # half of them may be a batch of its own
    assert {run.status for run in workspace.runs("total")} == {"success"}


def test_a_batch_whose_sources_are_renamed_is_not_held(workspace: Workspace, ws: WorkspaceFiles) -> None:
    begin(workspace, ws)

    for name in NAMES:
        (ws.root / "in" / name).rename(ws.root / "in" / f"renamed {name}")

    assert until(lambda: len(ended(workspace, "total", 2)) >= 2)
    assert not held(workspace)


def test_accept_says_so_where_nothing_is_held(workspace: Workspace, ws: WorkspaceFiles, cli: Cli) -> None:  # noqa: F811
    """What is accepted holds a flow, never one file of it."""
    begin(workspace, ws)

    told = cli("--workspace", workspace.root, "retry", "total", "--accept")

    assert (told.code, told.out) == (0, "Nothing is held; `data-engine explain FLOW` says why it does not run.\n")
    assert workspace.retry("total", accept=True) == 0
    with pytest.raises(FlowValidationError, match="holds the flow, and not one file"):
        workspace.retry("total", "0.csv", accept=True)


def test_the_panel_accepts_it(workspace: Workspace, ws: WorkspaceFiles) -> None:
    begin(workspace, ws)
    shrink(ws)
    until(lambda: held(workspace))
    assert flow_buttons(flow_of(workspace, "total"), workspace.status())["accept"] is None

    done = answer(str(workspace.root), "retry", {"flow": "total", "accept": True})

    assert str(done["result"]).startswith("Accepted: total: 9 of the 10 sources that its last good run took are gone.")
    assert until(lambda: len(ended(workspace, "total", 2)) == 2)


def test_a_run_by_hand_is_never_held(workspace: Workspace, ws: WorkspaceFiles) -> None:
    begin(workspace, ws)
    shrink(ws)
    until(lambda: held(workspace))

    workspace.run("total")

    assert until(lambda: len(ended(workspace, "total", 2)) == 2)
    assert {run.status for run in workspace.runs("total")} == {"success"}
    until(lambda: not held(workspace))


def test_tell_runs_it_and_warns(workspace: Workspace, ws: WorkspaceFiles) -> None:
    begin(workspace, ws, ', shrink="tell"')

    shrink(ws)

    until(
        lambda: any(
            "9 of the 10 sources" in line.message
            for run in workspace.runs("total")
            for line in workspace.log(run.run_id)
        )
    )


SLOTS = """
    from data_engine import Flow

    def build():
        return Flow(group="T").watch(
            mode="schedule", source="../in", interval="200ms", run_as="batch", extensions=".csv"
        ).step(lambda context: 1)
"""


def test_a_slot_that_finds_none_of_its_sources_is_held(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.notebook("total", SLOTS)
    ws.source("in/a.csv")
    ws.source("in/keep.txt")
    workspace.start_engine()
    until(lambda: ended(workspace, "total", 1))

    (ws.root / "in" / "a.csv").unlink()
    until(lambda: held(workspace))
    count = len(workspace.runs("total"))
    ws.source("in/a.csv")

    assert until(lambda: len(workspace.runs("total")) > count)


MONTHLY = """
    from data_engine import Flow

    def move(context):
        for file in context.current if {moves} else ():
            file.path.rename(file.path.parent.parent / "done" / file.path.name)

    def build():
        return Flow(group="T").watch(mode="schedule", interval="200ms").collect(".csv", root="../sales").step(move)
"""


def begin_monthly(workspace: Workspace, ws: WorkspaceFiles, *, moves: bool = False) -> None:
    ws.notebook("total", MONTHLY.replace("{moves}", str(moves)))
    (ws.root / "done").mkdir()
    ws.source("sales/notes.txt")
    for name in NAMES:
        ws.source(f"sales/{name}", name)
    workspace.start_engine()
    until(lambda: ended(workspace, "total", 1))


def test_a_slot_whose_collect_finds_far_fewer_files_is_held(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """The flow has no source: only its `collect` says what it takes."""
    begin_monthly(workspace, ws)
    for name in NAMES[1:]:
        (ws.root / "sales" / name).unlink()

    until(lambda: held(workspace))
    count = len(workspace.runs("total"))
    time.sleep(1.0)

    assert len(workspace.runs("total")) == count
    assert (flow_of(workspace, "total")["why"]["gone"], flow_of(workspace, "total")["why"]["before"]) == (9, 10)
    assert workspace.retry("total", accept=True) == 1
    assert until(lambda: len(workspace.runs("total")) > count)


def test_a_run_that_moves_what_it_collects_makes_no_slot_held(workspace: Workspace, ws: WorkspaceFiles) -> None:
    begin_monthly(workspace, ws, moves=True)

    until(lambda: len(ended(workspace, "total", 3)) >= 3)

    assert len(list((ws.root / "done").iterdir())) == 10
    assert not held(workspace)


ARCHIVING = TOTAL.replace(
    '("*.csv"))', '("*.csv") if file.rename(context.source.root.parent / "done" / file.name))'
).replace("for _ in", "for file in")


def test_a_batch_that_archives_its_sources_takes_a_few_new_ones(workspace: Workspace, ws: WorkspaceFiles) -> None:
    (ws.root / "done").mkdir()
    ws.notebook("total", ARCHIVING.replace("{more}", ""))
    for name in NAMES:
        ws.source(f"in/{name}", name)
    workspace.start_engine()
    until(lambda: len(list((ws.root / "done").iterdir())) == 10)
    until(lambda: ended(workspace, "total", 1))

    ws.source("in/new.csv")

    assert until(lambda: (ws.root / "done" / "new.csv").exists())
    until(lambda: {run.status for run in workspace.runs("total")} == {"success"})


def test_a_held_batch_is_told_once_and_so_is_its_end(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.source("config/data_engine.toml", '[alerts]\nto = ["ops"]\ndigest = "1s"\n')
    begin(workspace, ws)
    shrink(ws)
    until(lambda: kinds(workspace) == ["held"])
    workspace.shutdown()
    workspace.start_engine()
    until(lambda: held(workspace))
    time.sleep(2.0)
    assert [kind for kind in kinds(workspace) if kind != "digest"] == ["held"]

    workspace.retry("total", accept=True)

    until(lambda: [kind for kind in kinds(workspace) if kind != "digest"] == ["held", "recovered"])


def test_a_slot_that_is_held_is_late_and_not_missed(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.source("config/data_engine.toml", '[alerts]\nto = ["ops"]\ndigest = "1s"\n')
    ws.notebook("total", EACH_MINUTE)
    for name in NAMES:
        ws.source(f"sales/{name}", name)
    workspace.deploy()
    assert workspace.run("total")
    until(lambda: ended(workspace, "total", 1))
    for name in NAMES[1:]:
        (ws.root / "sales" / name).unlink()

    workspace.start_engine()
    until(lambda: held(workspace), timeout_s=70)

    until(lambda: troubles(workspace) == {"held", "late"})
    assert outbox(workspace)[0][2] == "total is held: 9 of the 10 sources that its last good run took are gone"


def troubles(workspace: Workspace) -> set[str]:
    connection = sqlite3.connect(workspace.home.ledger().path)
    try:
        return {kind for (kind,) in connection.execute("SELECT kind FROM troubles")}
    finally:
        connection.close()


EACH_MINUTE = """
    from data_engine import Flow

    def build():
        flow = Flow(group="T").watch(mode="schedule", cron="* * * * *", tz="UTC").collect(".csv", root="../sales")
        return flow.expect(grace="1s").alert(on=["late", "missed", "held"])
"""


def why_of(one: Station) -> str | None:
    found = next(flow for flow in one.daemon.get("/status")["flows"] if flow["name"] == "total")
    return (found["why"] or {}).get("kind")


@pytest.fixture
def team(tmp_path: Path) -> Path:
    return shared_workspace(tmp_path / "team", total=dedent(TOTAL.replace("{more}", "")))


def test_another_workstation_holds_it_too_and_the_first_may_accept_it(station: Make, team: Path) -> None:
    for name in NAMES:
        drop(team, name)
    anna = station("anna").start()
    until(lambda: any(run["status"] == "success" for run in anna.daemon.get("/runs", limit=9)["runs"]))
    for name in NAMES[1:]:
        (team / "in" / name).unlink()
    drop(team, NAMES[0], "changed")
    until(lambda: why_of(anna) == "feed_shrunk")
    bert = station("bert").start(engine=False)
    until(lambda: bert.lease["state"] == "owned")
    anna.lease_do("release-control")
    until(lambda: bert.lease["state"] == "available")
    bert.daemon.post("/start-engine", {}, timeout_s=30 * PATIENCE)

    until(lambda: why_of(bert) == "feed_shrunk")
    assert len(bert.daemon.get("/runs", limit=9)["runs"]) == 1

    until(lambda: anna.lease["state"] == "owned")  # she has seen whose it is
    code, answer = anna.command("retry", "total", "--accept")

    assert code == 0, answer
    until(lambda: len(bert.daemon.get("/runs", limit=9)["runs"]) == 2)


ONE = """
    from data_engine import Flow

    def build():
        return Flow(group="T").watch(mode="poll", source="../in", interval="100ms", settle=0).step(lambda context: 1)
"""


def test_a_source_with_the_bytes_of_another_one_runs_and_its_log_says_so(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    settings = ws.root / "config" / "data_engine.toml"
    before = settings.read_text(encoding="utf-8") if settings.exists() else ""
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(f'freshness = "content"\n{before}', encoding="utf-8")
    ws.notebook("one", ONE)
    ws.source("in/a.csv", "x\n1\n")
    ws.source("in/empty.csv", "")
    workspace.start_engine()
    until(lambda: len(ended(workspace, "one", 2)) == 2)

    ws.source("in/b.csv", "x\n1\n")
    ws.source("in/empty_too.csv", "")
    until(lambda: len(ended(workspace, "one", 4)) == 4)

    lines = [line.message for run in workspace.runs("one") for line in workspace.log(run.run_id)]
    assert [line for line in lines if "same bytes" in line] == [
        "b.csv has the same bytes as a.csv, which is done: both count"
    ]
