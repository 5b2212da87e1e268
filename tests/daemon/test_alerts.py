"""What a real daemon puts into the outbox of what happens to its flows: once, over restarts, until it is good again."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_engine import Workspace
from tests.daemon.stations import POLL, Make, Station, drop, shared_workspace
from tests.daemon.support import ended, flow_of
from tests.support import WorkspaceFiles, end_now, until

FILES = """
    from pathlib import Path
    from data_engine import Flow

    def check(context):
        if context.source.path.read_text().startswith("bad"):
            raise ValueError("bad file")

    def build():
        return Flow(group="G").watch(mode="poll", source="../in", interval="200ms", settle=0){more}.step(check)
"""
ALERTS = '[alerts]\nto = ["ops"]\ndigest = "1s"\n'


def outbox(workspace: Workspace) -> list[tuple[str, str | None, str]]:
    """The messages that were put, oldest first: kind, flow, subject."""
    connection = sqlite3.connect(workspace.home.ledger().path)
    try:
        return connection.execute("SELECT kind, flow_name, subject FROM outbox ORDER BY rowid").fetchall()
    finally:
        connection.close()


def kinds(workspace: Workspace) -> list[str]:
    return [kind for kind, _, _ in outbox(workspace)]


@pytest.fixture
def make(ws: WorkspaceFiles) -> Iterator[Any]:
    """Makes the workspace with one flow `claims`, whose files are in `in/`, and starts its engine."""
    made: list[Workspace] = []

    def make(more: str = "", settings: str = ALERTS, *, files: str = "bad") -> Workspace:
        ws.source("config/data_engine.toml", settings)
        ws.source("in/a.csv", files)
        ws.notebook("claims", FILES.replace("{more}", more))
        workspace = Workspace(ws.root)
        made.append(workspace)
        workspace.deploy()
        workspace.start_engine()
        return workspace

    yield make
    for one in made:
        one.kill()


def test_a_failure_is_told_once_and_so_is_its_end(make: Any) -> None:
    """Over a restart of the daemon, and a daemon that is killed; the message names the cell and the source."""
    workspace = make()
    until(lambda: outbox(workspace))
    assert outbox(workspace) == [("failed", "claims", "claims failed in Check: ValueError: bad file")]
    connection = sqlite3.connect(workspace.home.ledger().path)
    ((text,),) = connection.execute("SELECT body_text FROM outbox").fetchall()
    connection.close()
    assert [part in text for part in ("a.csv", "claims.ipynb, cell 1", "data-engine retry claims")] == [True] * 3, text

    for end in (workspace.shutdown, workspace.kill):
        count = len(workspace.runs("claims")) + 1
        end()
        workspace.start_engine()  # what is held is tried again, and fails as before
        until(lambda count=count: ended(workspace, "claims", count))
        time.sleep(2.0)
        assert [kind for kind in kinds(workspace) if kind != "digest"] == ["failed"]

    (workspace.root / "in/a.csv").write_text("good now")
    until(lambda: "recovered" in kinds(workspace))
    assert outbox(workspace)[-1] == ("recovered", "claims", "claims has recovered")


def test_one_good_file_of_two_is_not_good_again(make: Any) -> None:
    """The flow is good when nothing of it is held."""
    workspace = make()
    until(lambda: outbox(workspace))
    (workspace.root / "in/b.csv").write_text("good")
    until(lambda: ended(workspace, "claims", 2))
    time.sleep(2.5)

    assert "recovered" not in kinds(workspace)
    (workspace.root / "in/a.csv").write_text("good now")
    until(lambda: "recovered" in kinds(workspace))


REPORTED = """
    from data_engine import Flow

    def build():
        return (
            Flow(group="G").watch(mode="poll", source="../in", interval="200ms", settle=0).mirror(root="../out", staged=True)
            .alert(to=["boss"], on=["report"])
            .step(lambda context: context.source.path.read_text(), save_as="text").report("text", title="Delays")
        )
"""


def test_a_new_page_is_sent_once_and_an_unchanged_one_never(ws: WorkspaceFiles, make: Any) -> None:
    """Over a daemon that is killed; two pages that follow within the digest are one message."""
    ws.source("in/b.csv", "12 late")
    ws.notebook("delays", REPORTED)
    workspace = make(files="good")
    page = workspace.root / "out" / "b.html"

    def told() -> list[tuple[str, str]]:
        return [(kind, words) for kind, flow, words in outbox(workspace) if flow == "delays"]

    until(lambda: len(told()) >= 1)
    until(lambda: ended(workspace, "delays", 2))
    until(lambda: len(workspace.home.ledger().runs("delays")) == 2)
    time.sleep(2.0)
    connection = sqlite3.connect(workspace.home.ledger().path)
    rows = connection.execute(
        "SELECT attachment, body_text FROM outbox WHERE flow_name = 'delays' ORDER BY rowid"
    ).fetchall()
    connection.close()
    before = told()
    assert {kind for kind, _ in before} == {"report"}
    assert len(before) <= 2  # the files of both were there
    assert page.exists()
    assert rows[-1][0] in (str(page), str(page.with_name("a.html")))
    assert "Delays" in rows[-1][1]

    workspace.kill()
    workspace.start_engine()
    (workspace.root / "in/b.csv").write_text("12 late")  # the same again: a run, and the same page
    until(lambda: ended(workspace, "delays", 3))
    time.sleep(2.0)
    assert told() == before

    (workspace.root / "in/b.csv").write_text("13 late")
    until(lambda: len(told()) == len(before) + 1)
    assert told()[-1] == ("report", "delays: a new report")


def test_the_pages_of_a_backfill_are_one_message(ws: WorkspaceFiles, make: Any) -> None:
    """With the newest of them, when it has ended, however much longer than a digest it takes."""
    for name in "bcd":
        ws.source(f"in/{name}.csv", "12 late")
    text = REPORTED.replace(
        "context.source.path.read_text()", "str(__import__('time').sleep(0.8) or __import__('time').time())"
    )
    ws.notebook("delays", text)
    workspace = make(files="good")

    def told() -> list[str]:
        return [words for _, flow, words in outbox(workspace) if flow == "delays"]

    def pages() -> int:
        return sum(int(words.split()[1].replace("a", "1")) for words in told())

    until(lambda: ended(workspace, "delays", 4))
    until(lambda: pages() == 4)
    time.sleep(2.0)
    before = told()

    workspace.backfill("delays", reprocess="all")
    until(lambda: ended(workspace, "delays", 8))
    until(lambda: len(told()) > len(before))
    time.sleep(2.5)

    assert told()[len(before) :] == ["delays: 4 new reports, the newest of them"]


def test_without_alerts_nothing_is_put_and_lateness_is_seen_all_the_same(make: Any) -> None:
    """In status, list, explain and the panel's view."""
    workspace = make('.expect(every="1s")', settings="")
    until(lambda: ended(workspace, "claims", 1))

    flow = until(lambda: (found := flow_of(workspace, "claims"))["expected"]["kind"] == "late" and found)

    assert "ValueError: bad file" in flow["expected"]["reason"]
    assert any(one.why.kind == "late" for one in workspace.explain("claims"))
    assert outbox(workspace) == []
    connection = sqlite3.connect(workspace.home.ledger().path)
    assert connection.execute("SELECT count(*) FROM troubles").fetchone() == (0,)
    connection.close()


def test_late_and_good_again_are_told(make: Any) -> None:
    """A flow that has not succeeded within its interval; and then does."""
    workspace = make('.expect(every="4s").alert(on=["late", "recovered"])', files="good")
    until(lambda: ended(workspace, "claims", 1))
    assert flow_of(workspace, "claims")["expected"]["kind"] == "expected"

    until(lambda: kinds(workspace) == ["late"])
    (workspace.root / "in/a.csv").write_text("good again")

    until(lambda: kinds(workspace)[:2] == ["late", "recovered"])


def test_a_run_with_other_params_says_nothing(ws: WorkspaceFiles) -> None:
    """It is an experiment: it neither tells of trouble nor ends it."""
    ws.source("config/data_engine.toml", ALERTS)
    ws.notebook(
        "claims",
        """
        from data_engine import Flow

        def check(context):
            if dict(context.params):
                raise ValueError("experiment")

        def build():
            return Flow(group="G").step(check)
        """,
    )
    workspace = Workspace(ws.root)
    try:
        workspace.deploy()
        workspace.run("claims", params={"month": "2013-01"})
        time.sleep(1.5)
        assert outbox(workspace) == []
    finally:
        workspace.kill()


def test_a_run_that_takes_too_long_is_told_while_it_runs(ws: WorkspaceFiles) -> None:
    ws.source("config/data_engine.toml", ALERTS)
    ws.source("wait", "")
    ws.notebook(
        "claims",
        """
        import time
        from pathlib import Path
        from data_engine import Flow

        def wait(context):
            while Path("../wait").exists():
                time.sleep(0.05)

        def build():
            return Flow(group="G").expect(within="1s").step(wait)
        """,
    )
    workspace = Workspace(ws.root)
    try:
        workspace.deploy()
        workspace.run("claims", wait=False)
        until(lambda: kinds(workspace) == ["overlong"])
        assert flow_of(workspace, "claims")["expected"]["kind"] == "overlong"
        os.unlink(ws.root / "wait")
        until(lambda: ended(workspace, "claims", 1))
        workspace.run("claims")
        until(lambda: kinds(workspace) == ["overlong", "recovered"])
    finally:
        workspace.kill()


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A shared workspace with a poll flow, whose people are told."""
    root = shared_workspace(tmp_path / "team", poll=POLL)
    path = root / "config" / "data_engine.toml"
    path.write_text(path.read_text() + ALERTS)
    return root


def test_a_new_owner_neither_repeats_nor_forgets(team: Path, station: Make) -> None:
    """What the dead owner told travels with the workspace: the next one says only that it is good again."""

    def told_by(one: Station) -> list[str]:
        return [kind for (kind,) in rows_of(one, "SELECT kind FROM outbox ORDER BY rowid")]

    anna, ben = station("anna"), station("ben")
    anna.start()
    ben.start(engine=False)
    drop(team, "a.txt", "no number")
    until(lambda: told_by(anna) == ["failed"])
    until(lambda: rows_of(ben, "SELECT told_at_utc FROM troubles WHERE is_closed = 0 AND told_at_utc IS NOT NULL"))
    end_now(anna.pid)
    anna.end()

    ben.take_over()
    until(lambda: flow_state(ben)["state"] == "failing")
    time.sleep(4.0)
    assert told_by(ben) == []
    drop(team, "a.txt", "0.0")
    until(lambda: told_by(ben) == ["recovered"])


def rows_of(one: Station, question: str) -> list[Any]:
    connection = sqlite3.connect(one.local.ledger_path)
    try:
        return connection.execute(question).fetchall()
    finally:
        connection.close()


def flow_state(one: Station) -> dict[str, Any]:
    return next(flow for flow in one.daemon.get("/status")["flows"] if flow["name"] == "poll")


def test_a_slot_that_did_not_start_is_told(ws: WorkspaceFiles) -> None:
    """The machine was off at its time; when it is back, and the flow catches nothing up, people learn of it."""
    ws.source("config/data_engine.toml", ALERTS)
    ws.module(
        "nightly",
        """
        from data_engine import Flow

        def build():
            flow = Flow(group="G").watch(mode="schedule", cron="* * * * *", tz="UTC", catch_up="none")
            return flow.expect(grace="0s").step(lambda context: 1, label="One")
        """,
    )
    workspace = Workspace(ws.root)
    try:
        workspace.deploy()
        workspace.start_engine()
        until(lambda: flow_of(workspace, "nightly")["next_run_utc"])
        end_now(workspace.status().daemon.pid or 0)
        minute = int(time.time()) // 60
        until(lambda: int(time.time()) // 60 > minute, timeout_s=70)
        time.sleep(0.5)
        workspace.start_engine()  # by a person, who did not have it off

        until(lambda: kinds(workspace) == ["missed"])
    finally:
        workspace.kill()
