"""A backfill in a real daemon: after all that is due, exactly once each, over stops, deaths and other owners."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data_engine import Workspace
from data_engine.cli.app import run as command
from data_engine.errors import FlowValidationError
from data_engine.model import Backfill
from tests.daemon.support import flow_of
from tests.support import WorkspaceFiles, end_now, until

FILES = """
    import time
    from dataclasses import dataclass
    from pathlib import Path
    from data_engine import Flow

    @dataclass
    class Settings:
        month: str = "all"

    def work(context):
        while Path("../wait").exists() or Path(f"../wait.{context.source.path.name}").exists():
            time.sleep(0.01)
        if context.source.path.name in Path("../bad").read_text().split():
            raise ValueError("bad file")
        with open("../ran.txt", "a") as file:
            file.write(f"{context.source.path.name} {context.params.month}\\n")

    def build():
        return (
            Flow(group="G").watch(mode="poll", source="../in", interval="200ms", settle=0).params(Settings).step(work)
        )
"""
SLOTS = """
    from pathlib import Path
    from data_engine import Flow

    def work(context):
        with open("../slots.txt", "a") as file:
            file.write(f"{context.scheduled_for.isoformat()}\\n")

    def build():
        return Flow(group="S").watch(mode="schedule", time="02:30", tz="Europe/Berlin", catch_up="none").step(work)
"""
DUE = """
    from data_engine import Flow

    def build():
        return Flow(group="G").watch(mode="schedule", interval="100ms").step(lambda context: 1)
"""
ALL = 100_000


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("bad", "")
    ws.source("config/data_engine.toml", "[executor]\nworkers = 1\n")
    for number in range(20):
        path = ws.source(f"in/{number:02d}.csv", "a\n")
        at_s = datetime(2013, 3, 1 + number, 12, tzinfo=UTC).timestamp()
        os.utime(path, (at_s, at_s))
    ws.notebook("claims", FILES)
    ws.notebook("daily", SLOTS)
    found = Workspace(ws.root)
    found.deploy()
    yield found
    found.kill()


def ran(workspace: Workspace, name: str = "ran.txt") -> list[str]:
    path = workspace.root / name
    return path.read_text().splitlines() if path.exists() else []


def done(workspace: Workspace, begun: Backfill | None) -> Backfill:
    assert begun is not None
    until(lambda: workspace.backfill_status(begun.id).state != "running")
    return workspace.backfill_status(begun.id)


def begin(workspace: Workspace, name: str = "claims", **options: Any) -> Backfill:
    begun = workspace.backfill(name, **options)
    assert begun is not None
    return begun


def test_it_is_shown_first_and_runs_exactly_that(workspace: Workspace) -> None:
    """A range of days has both ends in it; each run carries the backfill's id; and what ran well is not due any more."""
    shown = begin(workspace, since="2013-03-03", until="2013-03-05", reprocess="missing", dry_run=True)
    assert (shown.state, [one.source for one in shown.planned]) == ("planned", ["02.csv", "03.csv", "04.csv"])
    assert shown.known == {"all": 3, "missing": 3, "failed": 0}
    assert (workspace.backfills(), ran(workspace)) == ([], [])

    options: dict[str, Any] = {"since": "2013-03-03", "until": "2013-03-05", "reprocess": "missing"}
    ended = done(workspace, begin(workspace, **options, digest=shown.digest))

    assert (ended.state, ended.text) == ("done", "3 of 3, done")
    assert ran(workspace) == ["02.csv all", "03.csv all", "04.csv all"]
    runs = workspace.runs("claims")
    assert [(run.trigger and run.trigger.kind, run.trigger and run.trigger.detail) for run in runs] == [
        ("backfill", ended.id)
    ] * 3
    assert {run.run_id for run in ended.runs} == {run.run_id for run in runs}
    assert begin(workspace, **options, dry_run=True).total == 0
    with pytest.raises(FlowValidationError, match="has changed since it was shown: 0 runs now"):
        workspace.backfill("claims", **options, digest=shown.digest)
    workspace.start_engine()
    until(lambda: len(ran(workspace)) == 20)
    until(lambda: not workspace.status().active_runs)
    assert len(workspace.runs("claims", ALL)) == 20


def test_what_failed_is_tried_again_under_the_same_id(workspace: Workspace) -> None:
    """And nothing else of it."""
    (workspace.root / "bad").write_text("03.csv 07.csv")
    begun = begin(workspace, reprocess="all")
    ended = done(workspace, begun)
    assert (ended.total, ended.ended, ended.failed, ended.state) == (20, 20, 2, "done")
    assert begin(workspace, dry_run=True).total == 2

    (workspace.root / "bad").write_text("")
    workspace.retry_backfill(begun.id[:8])
    ended = done(workspace, begun)

    assert (ended.ended, ended.failed) == (20, 0)
    assert sorted(ran(workspace)) == [f"{number:02d}.csv all" for number in range(20)]
    with pytest.raises(FlowValidationError, match="nothing of backfill"):
        workspace.retry_backfill(begun.id)


def test_other_params_change_nothing_of_what_is_due_or_done(workspace: Workspace) -> None:
    """The default, given by hand, is as none given; `explain` says what was written last."""
    done(workspace, begin(workspace, where="0[0-2].csv", reprocess="all", params={"month": "all"}))
    (workspace.root / "bad").write_text("01.csv")
    other = done(workspace, begin(workspace, where="0[0-3].csv", reprocess="all", params={"month": "2013-03"}))
    assert (other.ended, other.failed, dict(other.params)) == (4, 1, {"month": "2013-03"})
    reasons = {Path(row.source or "").name: row for row in workspace.explain("claims")}
    run = next(run for run in other.runs if run.source and run.source.endswith("00.csv"))

    assert reasons["00.csv"].why.kind == "done"
    assert reasons["00.csv"].reason.endswith(f"last written by run {run.run_id[:8]} with month=2013-03")
    assert (reasons["01.csv"].why.kind, reasons["01.csv"].reason.count("last written")) == ("done", 0)
    assert reasons["03.csv"].why.kind == "engine_off"
    (workspace.root / "bad").write_text("")
    workspace.start_engine()
    until(lambda: "03.csv all" in ran(workspace))
    assert not any(one.endswith("00.csv all") for one in ran(workspace)[3:])


def test_due_work_goes_first_and_is_not_done_a_second_time(workspace: Workspace) -> None:
    """Of what is missing or failed a backfill runs what nobody else has run since."""
    (workspace.root / "wait").write_text("")
    workspace.start_engine()
    until(lambda: workspace.status().active_runs)
    begun = begin(workspace, reprocess="missing")
    (workspace.root / "wait").unlink()
    ended = done(workspace, begun)

    assert (begun.total, ended.ended, ended.failed, len(ended.runs)) == (20, 20, 0, 0)
    assert sorted(ran(workspace)) == [f"{number:02d}.csv all" for number in range(20)]


@pytest.mark.parametrize("by", ["kill -9", "kill"])
def test_a_daemon_that_dies_in_the_middle_goes_on_with_it(workspace: Workspace, by: str) -> None:
    """Nothing is lost and nothing is done twice, but for the run that was cut off."""
    workspace.disable("claims")
    gate = workspace.root / "wait.05.csv"
    gate.write_text("")
    begun = begin(workspace, reprocess="all")
    until(lambda: len(ran(workspace)) == 5 and workspace.status().active_runs)
    if by == "kill":
        workspace.kill()
    else:
        end_now(workspace.status().daemon.pid or 0)
    gate.unlink()
    until(lambda: not workspace.status().daemon.running)
    assert workspace.backfill_status(begun.id).state == "running"
    workspace.start()
    if by == "kill":
        workspace.start_engine()
    ended = done(workspace, begun)

    assert (ended.ended, ended.failed) == (20, 0)
    assert sorted(set(ran(workspace))) == [f"{number:02d}.csv all" for number in range(20)]
    assert len(ran(workspace)) <= 21
    assert len({run.run_id for run in ended.runs if run.status == "success"}) == 20


def test_it_can_be_stopped_and_gone_on_with(workspace: Workspace) -> None:
    """What runs ends by itself; what was left out runs when somebody asks for it again."""
    (workspace.root / "wait").write_text("")
    begun = begin(workspace, reprocess="all")
    until(lambda: workspace.status().active_runs)
    assert workspace.status().backfills[0].text.startswith("0 of 20")
    stopped = workspace.stop_backfill(begun.id)
    (workspace.root / "wait").unlink()
    until(lambda: not workspace.status().active_runs)

    assert stopped is not None
    assert stopped.state == "stopped"
    time.sleep(0.5)
    assert len(ran(workspace)) == 1
    with pytest.raises(FlowValidationError, match="does not run"):
        workspace.stop_backfill(begun.id)
    workspace.retry_backfill(begun.id)
    assert done(workspace, begun).ended == 20
    assert sorted(ran(workspace)) == [f"{number:02d}.csv all" for number in range(20)]


def test_what_is_due_waits_for_one_run_at_most(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """In the group of the backfill and with the only worker, though many quick runs were handed ahead; a person goes first too."""
    ws.notebook("due", DUE)
    workspace.deploy("due")
    workspace.disable("claims")
    done(workspace, begin(workspace, reprocess="all"))  # how quick its runs are is known then
    begun = begin(workspace, reprocess="all")
    (workspace.root / "wait").write_text("")
    until(lambda: workspace.status().active_runs)
    workspace.start_engine()
    until(lambda: (found := flow_of(workspace, "due")["why"]) and found["kind"] == "waiting_for_group")
    before = len(ran(workspace))
    (workspace.root / "wait").unlink()
    until(lambda: workspace.runs("due"))
    first, ended = workspace.runs("due", ALL)[-1], done(workspace, begun)

    assert ended.ended == 20
    between = [run for run in ended.runs if run.started_at_utc < first.started_at_utc]
    assert len(between) <= before - 20 + 1


def test_slots_run_for_their_time_also_where_a_day_is_short_or_long(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the flow's zone, as `runs` and `log` tell too; a slot that ran well counts as served, and is not missing any more."""
    begun = begin(workspace, "daily", since="2026-03-28", until="2026-03-30", reprocess="missing")
    ended = done(workspace, begun)

    assert ran(workspace, "slots.txt") == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]
    assert [run.scheduled_for for run in reversed(ended.runs)] == [one.scheduled_for for one in begun.planned]
    assert (
        begin(workspace, "daily", since="2026-03-28", until="2026-03-30", reprocess="missing", dry_run=True).total == 0
    )
    served = workspace.home.ledger().served_slots("daily", since_utc="2026-03-28")
    assert {one.scheduled_for for one in begun.planned} <= served

    command(["--workspace", str(workspace.root), "runs", "daily"])
    assert "2026-03-29 03:00 Europe/Berlin" in capsys.readouterr().out
    command(["--workspace", str(workspace.root), "log", ended.runs[0].run_id])
    told = capsys.readouterr().out
    assert f"Started   by a backfill ({begun.id}) for 2026-03-30 02:30 Europe/Berlin" in told
    assert "Asked by  " in told


CANNOT_BE: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("claims", {"since": "yesterday"}, "since cannot be 'yesterday'"),
    ("claims", {"since": "2013-03-05", "until": "2013-03-04"}, "the range ends"),
    ("claims", {"reprocess": "some"}, "reprocess cannot be 'some'"),
    ("claims", {"params": {"moth": "x"}}, "there is no parameter 'moth'"),
    ("daily", {"reprocess": "all"}, "no first slot"),
    ("daily", {"since": "2026-01-01", "where": "*.csv"}, "does not run file by file"),
    ("nobody", {}, "nobody"),
)


def test_what_cannot_be_is_said_before_anything_runs(workspace: Workspace) -> None:
    for name, options, why in CANNOT_BE:
        with pytest.raises(FlowValidationError, match=why):
            workspace.backfill(name, **options)
    assert workspace.backfills() == []
