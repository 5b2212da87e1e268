"""`explain` names the reason of every source: with an engine, with a daemon whose engine is off, and without a daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.flow.flow import Flow
from data_engine.formatting import zoned_text
from data_engine.ledger.rows import SourceStates
from data_engine.planning.due import PlannedFlow
from data_engine.reasons.kinds import Looks
from data_engine.scheduler.folder_poller import FolderPoller, KnownSources
from data_engine.status.explain import ways
from jupyter_extension.files import flow_files, reader
from tests.daemon.support import ended, flow_of
from tests.support import WorkspaceFiles, end_now, until

POLL = """
    from data_engine import Flow

    def read(context):
        if context.source.path.read_text() == "bad":
            raise KeyError("amount")

    def build():
        return Flow(group="P").watch(mode="poll", source="../in", interval="{interval}", extensions=".txt", settle=0).step(read)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
    ws.source("in/good.txt", "1")
    ws.source("in/bad.txt", "bad")
    ws.source("in/list.csv", "1")
    ws.notebook("poll", POLL.format(interval="200ms"))
    found = Workspace(ws.root)
    yield found
    found.kill()
    reader.close()  # it has the environment of this test


def reasons(workspace: Workspace, subject: str | Path = "poll") -> dict[str | None, str]:
    """The kind of each reason, by the file's name; None is the flow as a whole."""
    return {row.source and Path(row.source).name: row.why.kind for row in workspace.explain(subject)}


def test_what_ran_and_what_is_held_is_told_whether_or_not_anything_looks(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    """Without a daemon, without an engine and disabled: done stays done, held stays held, and the rest says what keeps it."""
    workspace.deploy()
    assert reasons(workspace) == {None: "engine_off", "good.txt": "engine_off", "bad.txt": "engine_off"}
    workspace.start_engine()
    until(lambda: ended(workspace, "poll", 2))
    known = {"good.txt": "done", "bad.txt": "held"}
    until(lambda: reasons(workspace) == {None: "looks", **known})
    workspace.disable("poll")
    ws.source("in/new.txt", "1")
    assert reasons(workspace) == {None: "disabled", "new.txt": "disabled", **known}
    workspace.enable("poll")
    until(lambda: reasons(workspace) == {None: "looks", "new.txt": "done", **known})
    workspace.stop_engine()
    ws.source("in/later.txt", "1")
    assert reasons(workspace, "bad.txt") == {"bad.txt": "held"}  # also by its path inside the source
    assert reasons(workspace, "list.csv") == {"list.csv": "not_listed"}
    for name in (" x .txt", "\udcff.txt"):
        assert reasons(workspace, ws.root / "in" / name) == {name: "not_there"}
    off = {None: "engine_off", "later.txt": "engine_off", "new.txt": "done", **known}
    assert reasons(workspace) == off
    order = [Path(row.source).name for row in workspace.explain("poll") if row.source is not None]
    assert order == ["bad.txt", "later.txt", "good.txt", "new.txt"]  # what somebody may wait for comes first
    workspace.kill()
    assert reasons(workspace) == off
    assert reasons(workspace, ws.root / "in/bad.txt") == reasons(workspace, "bad.txt") == {"bad.txt": "held"}
    assert reasons(workspace, ws.root / "in/list.csv") == {"list.csv": "not_listed"}
    assert reasons(workspace, ws.root / "in/none.txt") == {"none.txt": "not_there"}
    (ws.root / "in/new.txt").unlink()
    (gone,) = workspace.explain(ws.root / "in/new.txt")
    assert gone.reason.startswith("not there any more; its last run: success, at 20")
    with pytest.raises(FlowValidationError, match=r"neither a flow nor a file of any flow's source"):
        workspace.explain("nope")


def test_the_status_counts_what_is_held(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """With an engine, without one, disabled, and without a daemon; a file that is gone or changed is not held."""

    def held() -> tuple[int, str | None]:
        flow = flow_of(workspace, "poll")
        return flow["held"], flow["why"] and flow["why"]["kind"]

    ws.source("in/worse.txt", "bad")
    workspace.start_engine()
    until(lambda: held()[0] == 2)
    (ws.root / "in/worse.txt").unlink()
    until(lambda: held() == (1, None))
    workspace.disable("poll")
    until(lambda: held()[0] == 1 and held()[1] == "disabled")
    workspace.enable("poll")
    until(lambda: held() == (1, None))
    workspace.stop_engine()
    assert held() == (1, "engine_off")
    workspace.kill()  # what a daemon of this machine owned is not owned elsewhere
    assert held() == (1, "engine_off")
    workspace.start()
    until(lambda: workspace.status()["flows"] and held() == (1, "engine_off"))
    ws.source("in/bad.txt", "repaired")
    until(lambda: held() == (0, "engine_off"))
    workspace.kill()
    assert held() == (0, "engine_off")


def test_every_file_of_a_large_folder_can_be_asked_for(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Of the flow come those that need somebody, and how many are left out; a file's own reason comes whatever their number."""
    for number in range(1200):
        ws.source(f"in/many/{number:04d}.txt", "1")
    workspace.start()
    rows = workspace.explain("poll")
    assert len(rows) < 1100
    assert rows[-1].reason == "and 202 more: ask for one by its path"
    sources = [row.source for row in rows if row.source is not None]
    assert len(sources) > 900
    assert sources == sorted(sources)
    for name in ("0000.txt", "1199.txt"):
        assert reasons(workspace, ws.root / "in/many" / name) == {name: "engine_off"}


def test_a_share_that_is_away_is_the_reason_of_each_of_its_files(workspace: Workspace, ws: WorkspaceFiles) -> None:
    workspace.start_engine()
    until(lambda: ended(workspace, "poll", 2))
    (ws.root / "in").rename(ws.root / "away")
    until(lambda: "unreachable" in workspace.explain("poll")[0].reason)

    assert reasons(workspace, ws.root / "in/bad.txt") == {"bad.txt": "unreachable"}
    (ws.root / "away").rename(ws.root / "in")


def test_a_broken_module_is_told_with_its_line_and_fix(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.notebook("torn", "def build():\n    return rate")
    for is_running in (False, True):
        if is_running:
            workspace.start()
        (row,) = workspace.explain("torn")
        assert row.reason.startswith("broken: ")
        assert "torn.ipynb, cell 1, line 2" in row.reason
        assert "fix" in row.reason


@pytest.mark.parametrize(
    ("looks", "text"),
    [
        (Looks(5.003, 0.003), "looks every 5 s"),
        (Looks(0.203, 0.003, wakes=True), "looks every 200 ms, and when a file changes"),
        (Looks(40, 4), "looks every 40 s (a look takes 4 s)"),
        (Looks(300, 3, wakes=True), "looks every 5 min, and when a file changes (a look takes 3 s)"),
    ],
)
def test_how_often_a_folder_is_looked_at_is_said_as_it_is(looks: Looks, text: str) -> None:
    assert looks.text == text


def test_the_cadence_is_the_measured_one(tmp_path: Path) -> None:
    """A look that takes a second is made every ten, whatever the interval; and the next one is told."""
    watch = PlannedFlow.of(Flow("G", "a").watch(mode="poll", source=tmp_path, interval="1s", settle=0))
    now = [100.0]

    def clock() -> float:
        now[0] += 0.5
        return now[0]

    poller = FolderPoller(watch, read=lambda: KnownSources(SourceStates("a")), clock=clock)
    poller.poll()

    assert poller.looks.text.startswith("looks every 5 s (a look takes 500 ms)")
    assert poller.next_scan_s > now[0]


def test_the_next_look_is_told_as_a_time(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.notebook("poll", POLL.format(interval="1h"))
    workspace.start_engine()
    words = "looks every 1 h, and when a file changes"

    def next_s() -> float:
        row = next(row for row in workspace.explain("poll") if row.source is None)
        if row.reason != words:
            return 0.0
        return datetime.fromisoformat(row.next_run_utc).timestamp() - time.time()

    assert until(lambda: 3500 < next_s() < 3600)


def test_a_run_that_stops_is_told_and_what_ends_it_now(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Of a flow without a source, and of the file of one that reads files."""
    ws.notebook(
        "waits",
        "import time\nfrom data_engine import Flow\ndef build():\n    return Flow(group='W').step(lambda c: time.sleep(60))",
    )
    workspace.deploy()
    (run_id,) = workspace.run("waits", wait=False)
    until(lambda: [run for run in workspace.status().active_runs if run.step])
    (running,) = workspace.explain("waits")
    assert (running["why"]["kind"], running["why"]["run_id"]) == ("running", run_id)
    assert f"`data-engine stop {run_id[:8]}`" in running["fix"]

    workspace.stop_run(run_id)
    (row,) = until(lambda: [one for one in workspace.explain("waits") if one.why.kind == "stopping"])

    assert row["why"]["run_id"] == run_id
    assert f"`data-engine kill {run_id[:8]}`" in row["fix"]
    workspace.kill_run(run_id)


def test_the_fix_of_an_error_stands_beside_what_it_holds(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """As the run's log has it; and of a source that is not there."""
    ws.notebook(
        "poll", POLL.format(interval="200ms").replace('raise KeyError("amount")', "import no_such_package_here")
    )
    workspace.start_engine()
    (row,) = until(lambda: [one for one in workspace.explain(ws.root / "in/bad.txt") if one.why.kind == "held"])
    assert "pip install no_such_package_here" in row.fix
    assert f"data-engine retry poll --source {ws.root / 'in/bad.txt'}" in row.fix
    (ws.root / "in").rename(ws.root / "away")
    away = until(lambda: [one for one in workspace.explain("poll") if one.why.kind == "unreachable"])
    assert "connect its drive" in away[0].fix
    (ws.root / "away").rename(ws.root / "in")


def test_the_last_run_of_a_flow_that_holds_no_files_is_told_when_it_failed(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    """Beside its warnings, with what runs it again: here where it is not deployed, else in the daemon; gone once it is good."""
    code = """
        from pathlib import Path
        from data_engine import Flow
        def work(context):
            context.log("odd", level="WARNING")
            if not Path("good").exists():
                raise KeyError("amount")
        def build():
            return Flow(group="W").step(work)
        """
    ws.module("hand", code)
    with pytest.raises(FlowValidationError):
        workspace.load_flow("hand").run_once()
    (run,) = workspace.runs("hand")

    def told() -> dict[str, str | None]:
        return {row.why.kind: row.fix for row in workspace.explain("hand")}

    found = told()
    assert set(found) == {"not_deployed", "last_run_failed", "last_run_warned"}
    assert found["last_run_failed"] == (
        f"`data-engine log {run.run_id[:8]}` shows the whole error; `data-engine run --once hand` runs it again"
    )
    workspace.deploy("hand")
    assert str(told()["last_run_failed"]).endswith("`data-engine run hand` runs it again")
    (ws.modules / "good").touch()
    workspace.run("hand")
    assert set(told()) == {"by_hand", "last_run_warned"}


def test_a_file_is_explained_by_its_own_run_and_not_by_that_of_another(
    workspace: Workspace, ws: WorkspaceFiles, tmp_path: Path
) -> None:
    """Of a flow that runs by hand, and of one that looks into a folder: the one runs, the other waits."""
    for name, watch in {"hand": 'mode="manual"', "looks": 'mode="poll", interval="100ms", settle=0'}.items():
        ws.module(
            name,
            f"""
            import time
            from pathlib import Path
            from data_engine import Flow
            def work(context):
                while not Path({str(tmp_path / "go")!r}).exists():
                    time.sleep(0.01)
            def build():
                return Flow(group="{name}").watch({watch}, source="../files").step(work)
            """,
        )
    for name in "ab":
        ws.source(f"files/{name}.txt")
    workspace.deploy()
    workspace.run("hand", wait=False)
    workspace.start_engine()
    until(lambda: {run.flow for run in workspace.status().active_runs} >= {"hand", "looks"})

    rows = {
        (row.flow, Path(str(row.source)).name): row.why.kind.partition("_for_")[0]
        for name in "ab"
        for row in workspace.explain(ws.root / "files" / f"{name}.txt")
    }

    assert rows == {
        ("hand", "a.txt"): "running",
        ("hand", "b.txt"): "waiting",
        ("looks", "a.txt"): "running",
        ("looks", "b.txt"): "waiting",
    }
    (tmp_path / "go").touch()


def test_the_next_slot_is_told_in_the_zone_of_the_flow(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Whatever the zone of this machine is; also in the reason."""
    ws.module(
        "nightly",
        """
        from data_engine import Flow
        def build():
            return Flow(group="N").watch(mode="schedule", time="07:30", tz="Asia/Tokyo").step(print)
        """,
    )
    workspace.start_engine()
    (row,) = until(lambda: [one for one in workspace.explain("nightly") if one.next_run_utc])

    assert row.reason.endswith(" 07:30:00 Asia/Tokyo")
    assert zoned_text(row.next_run_utc, row.tz).endswith(" 07:30:00 Asia/Tokyo")


def test_a_run_that_its_daemon_left_is_told_with_what_does_it_again(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """After a kill, without a daemon: of a file that settles anew, of ticks, and of what a person began; then it is done."""
    step = "def busy(context):\n    while not done.exists():\n        context.log('busy')\n        time.sleep(0.1)"
    done = ws.root / "done"
    for name, watch in {
        "files": ".watch(mode='poll', source='../in', extensions='.csv', interval='200ms')",
        "ticks": ".watch(mode='schedule', interval='200ms')",
        "hand": "",
    }.items():
        head = f"import time\nfrom pathlib import Path\nfrom data_engine import Flow\ndone = Path({str(done)!r})"
        ws.notebook(name, head, step, f"def build():\n    return Flow(group={name!r}){watch}.step(busy)")
    ws.source("config/data_engine.toml", "[executor]\nworkers = 4\n")
    (ws.modules / "poll.ipynb").unlink()
    workspace.deploy()
    workspace.start_engine()
    workspace.run("hand", wait=False)
    until(lambda: {run.flow for run in workspace.status().active_runs} == {"files", "ticks", "hand"})
    pid = workspace.status().daemon.pid
    assert pid is not None
    end_now(pid)
    until(lambda: {run.status for run in workspace.runs()} == {"abandoned"})
    ids = {run.flow: run.run_id[:8] for run in workspace.runs()}

    def told(flow: str) -> str:
        return workspace.explain(flow)[-1].reason

    assert told("files").startswith(f"the engine is off; its last run ({ids['files']}) was abandoned: its process died")
    assert told("files").endswith("it runs again as soon as the engine is on")
    assert "it runs again with the next interval, as soon as the engine is on" in told("ticks")
    assert told("hand").endswith("nothing runs it again by itself")
    assert ways(workspace.explain("hand"))[-1].endswith("shows how far it got; `data-engine run hand` runs it again")
    workspace.disable("files")
    assert told("files").endswith("it runs again as soon as the flow is enabled")

    done.touch()
    workspace.enable("files")
    workspace.start_engine()
    until(lambda: told("files").startswith("looks") and workspace.runs("files")[0].status == "success")
    assert "abandoned" not in "".join(row.reason for row in workspace.explain("files"))


def test_what_an_earlier_deployment_did_is_told_and_how_it_is_done_again(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    """With a daemon and without: new code leaves what is done as it is, so that somebody must know; a rollback makes it its own again."""

    def good() -> tuple[str, str | None]:
        row = workspace.explain(ws.root / "in" / "good.txt")[0]
        return row.reason.partition(" by run ")[2][10:], row.fix

    def listed() -> str:
        found = flow_files(workspace, "poll", search="good", group="", limit=5)
        return found.files[0].reason.partition(" by run ")[2][10:]

    workspace.deploy()
    workspace.start_engine()
    until(lambda: ended(workspace, "poll", 2))
    before = good(), listed()
    ws.notebook("poll", POLL.format(interval="300ms"))
    workspace.deploy("poll")

    after = good(), listed()
    workspace.kill()
    offline = good(), listed()
    workspace.rollback("poll")

    again = "`data-engine backfill poll --reprocess all` runs all files again"
    told = ("with an earlier deployment", again), "with an earlier deployment; Backfill, all files, runs it again"
    assert (before[0][0], before[1]) == ("", "")
    assert after == offline == told
    assert good()[0] == ""
