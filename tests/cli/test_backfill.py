"""`backfill` on the command line: shown before it is asked for, then told how far it is."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from data_engine import Workspace
from data_engine.platforms.host import shell_line
from data_engine.view.backfills import backfill_card
from data_engine.view.runs import runs_card
from data_engine.view.text import text
from jupyter_extension.details import run_details
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles, until

FLOW = """
    from pathlib import Path
    from data_engine import Flow

    def check(context):
        if Path("../bad").exists() and context.source.path.name == "b.csv":
            raise ValueError("no amount")

    def build():
        return Flow(group="G").watch(mode="manual", source="../in").step(check)
"""


@pytest.fixture(autouse=True)
def inside(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    ws.notebook("claims", FLOW)
    ws.source("bad")
    for name in "abc":
        ws.source(f"in/{name}.csv")
    monkeypatch.setenv("DATA_ENGINE_WORKSPACE_ROOT", str(ws.root))
    monkeypatch.chdir(ws.root)
    workspace = Workspace(ws.root)
    workspace.deploy("claims")
    yield
    workspace.kill()


def ended(cli: Cli) -> str:
    return str(
        until(lambda: (one := cli("backfill", "--status", "--json").json[0])["state"] != "running" and one["text"])
    )


def test_nothing_runs_that_was_not_shown_and_meant(cli: Cli, ws: WorkspaceFiles) -> None:
    """Without a terminal it needs --yes; the failures are told, and tried again by the same id."""
    asked = cli("backfill", "claims", "--reprocess", "all", "--where", "[ab].csv")
    assert (asked.code, "claims: 2 of 2 in the range" in asked.out, "--yes" in asked.err) == (2, True, True)
    assert "that would be 1 run, and" in cli("backfill", "claims", "--reprocess", "all", "--where", "a.csv").err
    assert cli("backfill", "--status").out == "No backfills.\n"
    until(lambda: not Workspace(ws.root).status().daemon.running)  # it was started to look, and for nothing else
    assert cli("backfill", "claims", "--reprocess", "all", "--json").json["total"] == 3
    until(lambda: not Workspace(ws.root).status().daemon.running)

    begun = cli("backfill", "claims", "--reprocess", "all", "--yes")
    assert (begun.code, "runs to come, after everything that is due" in begun.out) == (0, True)
    assert ended(cli) == "3 of 3, 1 failed, done"
    (one,) = cli("backfill", "--status", "claims", "--json").json
    told = cli("backfill", "--status", one["id"][:8])
    assert "ValueError: no amount" in told.out
    assert f"--retry {one['id'][:8]}" in told.out
    assert f"claims: 3 of 3, 1 failed, done  ({one['id'][:8]})" in cli("status").out
    nothing = cli("backfill", "claims", "--since", "2099-01-01")
    assert Workspace(ws.root).status().daemon.running
    assert (nothing.code, "no file is in the range" in nothing.out) == (0, True)

    (ws.root / "bad").unlink()
    again = cli("backfill", "--retry", one["id"][:8])
    short = one["id"][:8]
    assert (again.code, again.out.splitlines()[-1]) == (
        0,
        f"Its progress: data-engine backfill --status {short}; to end it: data-engine backfill --stop {short}",
    )
    assert ended(cli) == "3 of 3, done"
    assert cli("backfill", "--stop", one["id"][:8]).code == 2


@pytest.mark.parametrize(
    ("where", "nearest"),
    [
        ("clams-01.csv", "There is claims-01.csv."),
        ("A.CSV", "There is a.csv."),
        ("*.xlsx", "There are a.csv, b.csv, c.csv."),
    ],
)
def test_a_name_that_no_file_has_is_told_with_the_nearest(
    cli: Cli, ws: WorkspaceFiles, where: str, nearest: str
) -> None:
    """On the command line, in JSON and in a cell; where a file has it, a range that is empty stays what is told."""
    ws.source("in/claims-01.csv")

    asked = cli("backfill", "claims", "--reprocess", "all", "--where", where)
    assert (asked.code, asked.out) == (
        0,
        f"Nothing to run: no file of the source of claims is named {where!r}. {nearest}\n",
    )
    listed = Workspace(ws.root).backfill("claims", where=where, dry_run=True)
    assert listed is not None
    assert nearest in text(backfill_card(listed))
    assert listed["nearest"][0] in nearest

    none_in_range = cli("backfill", "claims", "--where", "a.csv", "--since", "2099-01-01")
    assert none_in_range.out == ("Nothing to run: no file is in the range, by the day on which the files changed.\n")


def test_the_plan_says_by_what_the_range_goes_and_what_it_leaves_out(cli: Cli, ws: WorkspaceFiles) -> None:
    """A person who means the month in the names of files is told that the days count on which they changed."""
    for path in (ws.root / "in").iterdir():
        os.utime(path, (1_000_000_000, 1_000_000_000))  # 2001-09-09
    month = ("--since", "2001-09", "--until", "2001-09")
    glob = shell_line(["--where", "*2001-09*"])
    by = f"by the day on which the files changed (by name: {glob})"

    assert cli("backfill", "claims", *month).out == (
        f"Nothing to run: 3 in the range, {by}; none failed in its last run or is held. "
        "--reprocess missing runs those that never succeeded: 3.\n"
    )

    assert cli("run", "claims").code == 1
    assert cli("backfill", "claims", *month).out.splitlines()[2:] == [
        "b.csv",
        f"claims: 1 of 3 in the range, {by}",
        "Only those whose last run failed or that are held. --reprocess all runs all of them: 3.",
    ]
    assert cli("backfill", "claims", "--reprocess", "all").out.splitlines()[-1] == "claims: 3 of 3 in the range"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "which flow?"),
        (["--stop"], "which backfill?"),
        (["x", "--stop", "--retry"], "cannot be combined"),
        (["claims", "--since", "soon"], "since cannot be 'soon'"),
        (["--status", "nobody"], "there is no backfill 'nobody'"),
        (["nobody"], "nobody"),
    ],
)
def test_a_wrong_request_says_why(cli: Cli, arguments: list[str], why: str) -> None:
    found = cli("backfill", *arguments)

    assert (found.code, why in found.err) == (2, True)


NIGHTLY = """
    from data_engine import Flow

    def build():
        return Flow(group="N").watch(mode="schedule", time="00:30"TZ, catch_up="none").step(lambda context: 1 / 0)
"""


@pytest.mark.parametrize("tz", [', tz="Asia/Tokyo"', ""])
def test_slots_are_told_in_the_zone_of_their_flow(cli: Cli, ws: WorkspaceFiles, tz: str) -> None:
    """Else in that of the workspace; in the list, in its end, in a cell, and of the run also when its module is gone."""
    if not tz:
        ws.source("config/data_engine.toml", 'timezone = "Asia/Tokyo"\n')
    path = ws.notebook("nightly", NIGHTLY.replace("TZ", tz))
    workspace = Workspace(ws.root)
    workspace.deploy("nightly")
    days = ("--since", "2026-03-01", "--until", "2026-03-01", "--reprocess", "all")

    assert "2026-03-01 00:30:00 Asia/Tokyo" in cli("backfill", "nightly", *days).out
    shown = workspace.backfill("nightly", "2026-03-01", "2026-03-01", reprocess="all", dry_run=True)
    assert shown is not None
    assert "2026-03-01 00:30:00 Asia/Tokyo" in text(backfill_card(shown))
    assert cli("backfill", "nightly", *days, "--yes").code == 0
    ended(cli)
    (begun,) = workspace.backfills("nightly")
    assert "2026-03-01 00:30:00 Asia/Tokyo" in cli("backfill", "--status", begun.id[:8]).out

    (run,) = workspace.runs("nightly")
    assert run.tz == "Asia/Tokyo"
    assert "2026-03-01 00:30 Asia/Tokyo" in text(runs_card([run], now_s=0.0))
    assert "2026-03-01 00:30 Asia/Tokyo" in dict(run_details(workspace, run.run_id)["facts"])["Started"]

    path.unlink()
    workspace.undeploy("nightly")
    assert "2026-03-01 00:30 Asia/Tokyo" in cli("runs", "nightly").out
