"""The whole daemon, in processes of its own: started once, runs what is due, survives what happens, tells the truth."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.daemon.control import read_endpoint
from data_engine.model import Run
from tests.daemon.support import ended, flow_of
from tests.support import WorkspaceFiles, end_now, until

POLL = """
    from data_engine import Flow

    def read(context):
        text = context.source.path.read_text()
        if text == "bad":
            raise KeyError("amount")
        print("read", text)
        return text

    def write(context):
        target = context.mirror.with_suffix(".out")
        target.write_text(context.current)
        return target

    def build():
        return (
            Flow(group="G").watch(mode="poll", source="../in", interval="200ms", extensions=".txt", settle=0)
            .mirror(root="../out").step(read).step(write)
        )
"""
MANUAL = """
    import os
    import time
    from pathlib import Path
    from data_engine import Flow

    def work(context):
        how = context.params.get("how")
        if how == "exit":
            os._exit(3)
        while context.params.get("until") and not Path(__file__).with_name(context.params["until"]).exists():
            time.sleep(0.01)
        for number in range(context.params.get("beats", 0)):
            time.sleep(0.01)
            context.progress(number)
        return os.getpid()

    def build():
        return Flow(group="M").step(work)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
    (ws.root / "in").mkdir()
    ws.notebook("poll", POLL)
    ws.notebook("manual", MANUAL)
    found = Workspace(ws.root)
    yield found
    found.kill()


def test_starting_twice_is_one_daemon_that_outlives_who_started_it(workspace: Workspace) -> None:
    code = f"from data_engine import Workspace; Workspace({str(workspace.root)!r}).start()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    first = workspace.status()["daemon"]
    workspace.start()

    assert first["running"] is True
    assert workspace.status()["daemon"] == first
    assert first["pid"] != os.getpid()
    assert psutil.Process(first["pid"]).ppid() != os.getpid()


def test_a_run_by_hand_is_recorded_and_returned(workspace: Workspace) -> None:
    (run,) = workspace.run("manual", params={"beats": 1})

    assert isinstance(run, Run)
    assert (run.flow, run.status, run.cause) == ("manual", "success", None)
    assert [step.status for step in workspace.steps(run.run_id)] == ["success"]


def test_a_name_of_no_flow_is_refused_as_without_a_daemon(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """With the nearest name there is, and with why a module that is there is no flow."""
    ws.module("scratch", "x = 1")
    ws.module("Untitled3", "def build():\n    pass")
    workspace.start_engine()
    for name in ("manua", "nope", "scratch", "Untitled3"):
        with pytest.raises(FlowValidationError) as direct:
            workspace.load_flow(name)
        for ask in (workspace.run, workspace.retry, workspace.enable):
            with pytest.raises(FlowValidationError) as refused:
                ask(name)
            assert refused.value.as_dict() == direct.value.as_dict()
        assert (direct.value.fix == "did you mean manual?") == (name == "manua")
    with pytest.raises(FlowValidationError, match=r"did you mean manual\?"):
        workspace.explain("manua")


def test_dropped_files_are_run_once_each_and_a_failed_one_is_held(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.source("in/backlog.txt", "1")
    workspace.start_engine()
    until(lambda: ended(workspace, "poll", 1))
    ws.source("in/later.txt", "2")
    ws.source("in/broken.txt", "bad")
    runs = until(lambda: ended(workspace, "poll", 3))

    assert {Path(run.source or "").name: run.status for run in runs} == {
        "backlog.txt": "success",
        "later.txt": "success",
        "broken.txt": "failed",
    }
    assert (ws.root / "out/later.out").read_text() == "2"
    until(lambda: not any("running" in one["reason"] for one in workspace.explain("poll")))
    reasons = {Path(one["source"]).name: one["reason"] for one in workspace.explain("poll") if one["source"]}
    assert reasons["broken.txt"].startswith("held")
    assert reasons["later.txt"].startswith("already done")
    log = [line.message for line in workspace.log(next(run.run_id for run in runs if "later" in str(run.source)))]
    assert "read 2" in log

    freed = [workspace.retry("poll", ws.root / "in/later.txt"), workspace.retry("poll", ws.root / "in/broken.txt")]
    assert freed == [0, 1]
    until(lambda: ended(workspace, "poll", 4))
    ws.source("in/broken.txt", "good now")
    until(lambda: flow_of(workspace, "poll")["last_run"]["status"] == "success")


def test_a_died_worker_costs_only_its_run(workspace: Workspace) -> None:
    (run,) = workspace.run("manual", params={"how": "exit"})
    (next_run,) = workspace.run("manual")

    assert isinstance(run, Run)
    assert isinstance(next_run, Run)
    assert run.status == "failed"
    assert "its process died" in (run.cause or "")
    assert next_run.status == "success"


def test_a_run_can_be_stopped_and_killed(workspace: Workspace) -> None:
    for end, status in ((workspace.stop_run, "stopped"), (workspace.kill_run, "killed")):
        (run_id,) = workspace.run("manual", wait=False, params={"beats": 10_000})
        until(lambda run_id=run_id: [run for run in workspace.status()["active_runs"] if run["run_id"] == run_id])  # type: ignore[misc]
        end(str(run_id))
        run = until(lambda run_id=run_id: [r for r in ended(workspace, "manual", 1) if r.run_id == run_id])[0]  # type: ignore[misc]
        assert run.status == status
    with pytest.raises(FlowValidationError, match="had ended already, and nothing was stopped: killed"):
        workspace.stop_run(run.run_id)


def test_an_edit_is_deployed_and_a_broken_one_is_told(workspace: Workspace, ws: WorkspaceFiles) -> None:
    workspace.start_engine()
    ws.notebook("manual", MANUAL.replace("return os.getpid()", "return 1 +"))
    edit = until(lambda: flow_of(workspace, "manual")["edit"])
    assert "edited, not deployed: cell 1" in edit
    assert isinstance(run := workspace.run("manual")[0], Run)
    assert run.status == "success"

    ws.notebook("manual", MANUAL.replace("return os.getpid()", "raise ValueError('new')"))
    run = until(lambda: next((run for run in workspace.run("manual") if isinstance(run, Run) and run.error), None))
    assert "ValueError: new" in run.error
    assert "manual.ipynb, cell 1" in run.error
    assert flow_of(workspace, "manual")["edit"] is None


def test_a_module_that_was_just_saved_can_be_run_and_explained_at_once(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    workspace.start()
    workspace.run("manual")

    ws.notebook("fresh", MANUAL)
    (run,) = workspace.run("fresh")
    ws.notebook("fresher", MANUAL)

    assert isinstance(run, Run)
    assert run.status == "success"
    assert workspace.explain("fresher")[0].why.kind == "by_hand"


def test_a_disabled_flow_does_not_run_by_itself(workspace: Workspace, ws: WorkspaceFiles) -> None:
    workspace.start_engine()
    workspace.disable("poll")
    assert flow_of(workspace, "poll")["state"] == "disabled"
    ws.source("in/a.txt", "1")
    assert workspace.explain("poll")[0]["reason"].startswith("disabled by ")

    workspace.enable("poll")
    until(lambda: ended(workspace, "poll", 1))


def test_a_killed_daemon_leaves_nothing_behind_and_the_next_goes_on(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Its workers are gone before its runs are called abandoned; the engine comes back on, and misses nothing."""
    workspace.start_engine()
    (run_id,) = workspace.run("manual", wait=False, params={"beats": 10_000})
    until(lambda: workspace.status()["active_runs"])
    pid = workspace.status()["daemon"]["pid"]
    workers = psutil.Process(pid).children(recursive=True)
    end_now(pid)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    ws.source("in/meanwhile.txt", "1")

    assert workspace.status()["daemon"]["running"] is False
    workspace.start()

    until(lambda: ended(workspace, "poll", 1))
    assert workspace.status()["engine"]["on"] is True
    until(lambda: not [one for one in workers if one.is_running() and one.status() != psutil.STATUS_ZOMBIE])
    assert next(run for run in workspace.runs("manual") if run.run_id == run_id).status == "abandoned"


def test_stopping_lets_work_finish_and_shutdown_ends_the_process(workspace: Workspace) -> None:
    workspace.start_engine()
    (run_id,) = workspace.run("manual", wait=False, params={"beats": 30})
    workspace.stop_engine()
    workspace.shutdown()
    endpoint = read_endpoint(workspace.home.local)

    until(lambda: not workspace.status()["daemon"]["running"])
    assert workspace.run_record(str(run_id)).status == "success"
    until(lambda: endpoint is None or not endpoint.is_alive())
    workspace.shutdown()
    workspace.stop_engine()


def test_a_daemon_that_cannot_start_says_why(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.source("config/data_engine.toml", "[executor]\nworkers = 0\n")

    with pytest.raises(FlowValidationError, match=r"did not start(.|\n)*workers"):
        workspace.start()


def test_an_idle_daemon_leaves(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.source("config/data_engine.toml", '[daemon]\nidle_exit = "1s"\n')
    workspace.start()
    endpoint = read_endpoint(workspace.home.local)
    assert endpoint is not None

    until(lambda: not endpoint.is_alive())


def test_a_schedule_runs_and_tells_its_next_time(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.notebook(
        "tick",
        """
        from data_engine import Flow
        def build():
            return Flow(group="T").watch(mode="schedule", interval="300ms").step(lambda context: 1)
        """,
    )
    ws.notebook(
        "nightly",
        """
        from data_engine import Flow
        def build():
            return Flow(group="T").watch(mode="schedule", time="03:30", tz="Europe/Berlin").step(lambda context: 1)
        """,
    )
    workspace.start_engine()

    assert len(until(lambda: ended(workspace, "tick", 2))) >= 2
    assert until(lambda: flow_of(workspace, "nightly")["next_run_utc"]).endswith("+00:00")
    assert workspace.runs("nightly") == []


def test_a_worker_that_dies_in_one_source_takes_no_other_along(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Whether a person or a schedule asked: the sources after it still run, and the slot is served by them all."""
    for number in range(6):
        ws.source(f"many/{number}.txt", "x")
    flow = """
        import os
        from data_engine import Flow
        def read(context):
            if context.source.path.name == "2.txt":
                os._exit(1)
        def build():
            return Flow(group="{name}").watch({trigger}, source="../many").step(read)
        """
    ws.notebook("asked", flow.format(name="asked", trigger='mode="manual"'))
    ws.notebook("ticks", flow.format(name="ticks", trigger='mode="schedule", interval="400ms"'))

    runs = workspace.run("asked")
    statuses = [run.status for run in runs if isinstance(run, Run)]
    assert statuses == ["success", "success", "failed", "success", "success", "success"]

    workspace.start_engine()
    first_tick = list(reversed(until(lambda: ended(workspace, "ticks", 6))))[:6]
    assert sorted(run.status for run in first_tick) == ["failed", *["success"] * 5]
    assert len({run.source for run in first_tick}) == 6


def test_old_deployments_go_but_never_under_running_work(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """A run keeps the code it began with, whatever is deployed meanwhile."""
    folder = workspace.home.local.runtime_dir / "deployments"
    (run_id,) = workspace.run("manual", wait=False, params={"until": "go"})
    until(lambda: workspace.status()["active_runs"])
    (first,) = [path for path in folder.iterdir() if path.is_dir()]
    manual = (ws.modules / "manual.ipynb").read_bytes()
    ws.modules.joinpath("manual.ipynb").write_bytes(manual.replace(b"build():", b"build():  # edited"))
    for number in range(3):
        ws.notebook("poll", POLL.replace('print("read"', f'print("read {number}"'))
        workspace.deploy()
        until(lambda: not flow_of(workspace, "poll")["edit"])
    workspace.start_engine()

    assert first.is_dir()
    (ws.modules / "go").touch()
    until(lambda: workspace.run_record(str(run_id)).status == "success")
    ws.notebook("poll", POLL.replace('print("read"', 'print("once more"'))
    until(lambda: not first.exists())
    until(lambda: len([path for path in folder.iterdir() if path.is_dir()]) <= 2)


def test_stopping_the_engine_keeps_what_a_person_asked_for(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Requests by hand wait for their group also when the flow's own work is dropped."""
    ws.notebook("poll", POLL.replace('group="G"', 'group="M"'))
    ws.source("in/a.txt", "1")
    workspace.start()
    workspace.run("manual", wait=False, params={"beats": 60})
    (asked,) = workspace.run("poll", wait=False)
    workspace.start_engine()
    workspace.stop_engine()

    until(lambda: workspace.home.ledger().run(str(asked)))
    until(lambda: workspace.run_record(str(asked)).status == "success")


def test_what_was_deployed_is_what_runs_next(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Without waiting for the daemon's next look."""
    workspace.start()
    for number in range(4):
        ws.notebook("hand", MANUAL.replace("return os.getpid()", f"print({number})"))
        workspace.deploy("hand")
        (run,) = workspace.run("hand")
        assert isinstance(run, Run)
        assert [line.message for line in workspace.log(run.run_id)] == [str(number)]
        assert flow_of(workspace, "hand")["why"]["kind"] == "by_hand"


def test_a_person_who_kills_and_starts_again_loses_nothing(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """What ran is abandoned and done again, what had failed is tried again, and no engine comes back before it is asked for."""
    ws.notebook("poll", POLL.replace("print(", "import time; time.sleep(float(text)); print("))
    ws.source("in/bad.txt", "bad")
    ws.source("in/slow.txt", "600")
    workspace.start_engine()
    until(lambda: [run.status for run in workspace.runs("poll")].count("failed") == 1)
    until(lambda: any(run.status == "started" for run in workspace.runs("poll")))
    workspace.kill()
    (slow,) = [run for run in workspace.runs("poll") if run.source and run.source.endswith("slow.txt")]
    assert slow.status == "abandoned"

    workspace.run("manual")
    assert workspace.status()["engine"]["on"] is False
    ws.source("in/slow.txt", "0")
    workspace.start_engine()
    until(lambda: [run.status for run in workspace.runs("poll")].count("failed") == 2)
    until(lambda: "success" in [run.status for run in workspace.runs("poll")])


def test_a_person_who_starts_an_engine_that_came_back_frees_what_it_held(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    """By itself, after a death, it frees nothing."""
    ws.source("in/bad.txt", "bad")
    workspace.start_engine()
    until(lambda: ended(workspace, "poll", 1))
    endpoint = read_endpoint(workspace.home.local)
    assert endpoint is not None
    end_now(endpoint.pid)
    until(lambda: not endpoint.is_alive())
    workspace.start()
    until(lambda: workspace.status()["engine"]["on"])
    until(lambda: flow_of(workspace, "poll")["held"] == 1)
    assert len(workspace.runs("poll")) == 1

    workspace.start_engine()
    until(lambda: ended(workspace, "poll", 2))


def test_an_edit_of_the_settings_holds_for_what_is_looked_at_already(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Without a restart: the zone of a schedule, and how often a failed source is tried again."""
    ws.notebook("daily", MANUAL.replace('Flow(group="M")', 'Flow(group="M").watch(mode="schedule", time="07:00")'))
    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
    workspace.start_engine()
    before = workspace.next_runs()["daily"]
    text = 'timezone = "Asia/Tokyo"\n[deploy]\nmode = "auto"\nquiet = "0s"\n[retry]\nretries = 1\ndelay = "100ms"\n'
    ws.source("config/data_engine.toml", text)
    until(lambda: workspace.next_runs().get("daily", before) != before)
    assert workspace.next_runs()["daily"][11:16] == "22:00"

    ws.source("in/bad.txt", "bad")
    until(lambda: ended(workspace, "poll", 2))


SPOILS = {
    "closed": "sys.stdout.close()",
    "none": "sys.stdout = None",
    "errors": "sys.stderr = open(os.devnull, 'w'); sys.stderr.close()",
    "both": "sys.stdout = sys.stderr = open(os.devnull, 'w'); print(1); sys.stdout.close()",
}


def test_a_step_that_closes_the_screen_spoils_nothing(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Neither its own run nor the next one of its worker, nor a run in this process."""
    ws.source("config/data_engine.toml", "[executor]\nworkers = 1\n")
    for name, spoils in SPOILS.items():
        ws.notebook(name, MANUAL.replace("return os.getpid()", f"import sys; {spoils}"))
    for name in SPOILS:
        for asked in (name, "manual", name, "manual"):
            (run,) = workspace.run(asked)
            assert isinstance(run, Run)
            assert (run.status, run.error) == ("success", None), asked
        workspace.load_flow(name).run_once()
        print("still here", flush=True)
        print("and here", file=sys.stderr, flush=True)
