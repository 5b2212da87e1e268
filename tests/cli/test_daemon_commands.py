"""The daemon from the command line: started, asked, told, stopped; and what is said when it does not run."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from data_engine import Workspace
from data_engine.daemon import control, link
from data_engine.formatting import zoned_text
from data_engine.reasons.remedies import STOPS_AT
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles, end_now, until

PARTS = """
    from data_engine import Flow
    def work(context):
        if context.params.get("fail"):
            raise KeyError("amount")
        return 1
    def build():
        return Flow(group="G").watch(mode="schedule", time="03:30").step(work)
"""
SLOW = """
    import time
    from data_engine import Flow
    def wait(context):
        time.sleep(600)
    def build():
        return Flow(group="S").step(wait)
"""
POLLED = """
    from data_engine import Flow
    def build():
        return Flow(group="P").watch(mode="poll", source="../in", interval="200ms", settle=0).step(lambda context: 1 / 0)
"""


@pytest.fixture(autouse=True)
def inside(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.notebook("claims", "from data_engine import Flow", "def build():\n    return Flow(group='C').step(str)")
    monkeypatch.chdir(ws.root)


@pytest.fixture
def daemon(cli: Cli, ws: WorkspaceFiles) -> Iterator[Cli]:
    ws.notebook("parts", PARTS)
    started = cli("start", "--json")
    assert started.code == 0
    assert [flow["name"] for flow in started.json["flows"] if flow["next_run_utc"]] == ["parts"]
    yield cli
    if ws.root.exists():
        Workspace(ws.root).kill()


@pytest.mark.skipif(os.name == "nt", reason="a folder that is somebody's working directory cannot be renamed there")
def test_a_workspace_that_was_moved_under_its_daemon_says_so(daemon: Cli, ws: WorkspaceFiles) -> None:
    """And what puts it right does."""
    here = ws.root.with_name("moved")
    ws.root.rename(here)
    words = f"the daemon runs at the workspace's old place {ws.root}\n  fix: data-engine start"
    try:
        assert words in daemon("--workspace", here, "status").out
        daemon("--workspace", here, "start")
        assert words not in daemon("--workspace", here, "status").out
    finally:
        Workspace(here).kill()


def test_a_workspace_that_a_daemon_works_in_is_not_forked(daemon: Cli, ws: WorkspaceFiles) -> None:
    daemon("run", "parts")

    refused = daemon("workspace", "fork", ws.root)

    assert (refused.code, f"--workspace {ws.root} kill" in refused.err) == (2, True)
    assert [run["flow"] for run in daemon("runs", "--json").json] == ["parts"]
    daemon("kill")
    assert daemon("workspace", "fork", ws.root).code == 0


def test_start_status_stop(daemon: Cli) -> None:
    status = daemon("status", "--json").json
    assert status["daemon"]["running"] is True
    assert status["engine"]["on"] is True
    flows = {flow["name"]: (flow["state"], flow["enabled"], bool(flow["next_run_utc"])) for flow in status["flows"]}
    assert flows["parts"][:2] == ("scheduled", True)
    said = daemon("status").out
    assert re.search("^engine +on$", said, re.M)
    assert not re.search("lease|control|Release", said)  # nobody else was ever seen

    assert daemon("stop").code == 0
    assert daemon("stop", "--json").code == 0


def test_a_daemon_that_ends_says_what_it_waits_for(daemon: Cli, ws: WorkspaceFiles) -> None:
    """Also when it is stopped again, and in what is said of its flows."""
    ws.notebook("slow", SLOW)
    workspace = Workspace(ws.root)
    workspace.deploy("slow")
    (run_id,) = workspace.run("slow", wait=False)
    until(lambda: workspace.status().active_runs)

    first, second = daemon("stop").out, daemon("stop").out

    waits = f"slow (run {run_id[:8]}). `data-engine kill` ends it now."
    assert first == f"The daemon ends when its running work is done: {waits}\n"
    assert second == f"The daemon is ending already, and waits for {waits}\n"
    (row,) = workspace.explain("parts")
    assert (row.why.kind, "once the daemon has ended" in row.fix) == ("engine_off", True)


def test_what_waits_and_what_was_asked_to_end_are_told(daemon: Cli, ws: WorkspaceFiles) -> None:
    """A second run of a flow waits for the first; one that was asked to stop says so until it does."""
    ws.notebook("slow", SLOW)
    workspace = Workspace(ws.root)
    workspace.deploy("slow")
    assert "WAITING" not in daemon("status").out
    (run_id,) = workspace.run("slow", wait=False)
    until(lambda: workspace.status().active_runs)
    (waits,) = workspace.run("slow", wait=False)

    until(lambda: workspace.status().waiting_runs)
    said = daemon("status").out
    assert re.search(f"^slow +1 +{waits[:8]} +waiting for a run of this flow to end", said, re.M)
    explained = [one.reason for one in workspace.explain("slow")]
    assert f"running: run {run_id[:8]}" in explained
    assert any("waiting for a run" in one and one.endswith(f"(as run {waits[:8]})") for one in explained)
    assert re.search(rf"^{run_id[:8]} +slow ", said, re.MULTILINE)

    assert daemon("stop", run_id).code == 0
    assert re.search(rf"^{run_id[:8]} +slow +stopping\b", daemon("status").out, re.MULTILINE)
    assert [flow.state for flow in workspace.status().flows if flow.name == "slow"] == ["stopping"]


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no pseudo terminals; without a terminal nothing is asked anywhere"
)
def test_on_a_terminal_kill_asks_first(ws: WorkspaceFiles) -> None:
    """It names what would end; Enter and `n` leave the daemon, `y` ends it, and `--yes` asks nothing."""
    from tests.cli.terminal import Terminal

    ws.notebook("slow", SLOW)
    workspace = Workspace(ws.root)
    workspace.deploy("slow")

    def asked(*arguments: str, key: str = "") -> tuple[int, bool]:
        """The exit code of `kill`, and whether the daemon is there afterwards."""
        with Terminal("kill", *arguments) as terminal:
            if key:
                terminal.wait_for("End the daemon now, and with it 1 run?")
                terminal.type(key)
            return terminal.end(), workspace.link.find() is not None

    workspace.run("slow", wait=False)
    until(lambda: workspace.status().active_runs)
    left = [asked(key="\r"), asked(key="n\r")]
    ended = asked(key="y\r")
    workspace.start()

    assert left == [(1, True), (1, True)]
    assert ended == (0, False)
    assert asked("--yes") == (0, False)


def test_what_ends_a_run_now_is_told_where_it_does_not_end(daemon: Cli, ws: WorkspaceFiles) -> None:
    """By the answer to `stop`, the row of the status, and by what takes an id where the flow was named."""
    ws.notebook("slow", SLOW)
    workspace = Workspace(ws.root)
    workspace.deploy("slow")
    (run_id,) = workspace.run("slow", wait=False)
    until(lambda: workspace.status().active_runs)
    short, way = run_id[:8], f"`data-engine kill {run_id[:8]}`"

    for command in ("kill", "log"):
        named = daemon(command, "slow")
        assert (named.code, "there is no run 'slow'" in named.err) == (2, True)
        assert f"slow is a flow; the id of its newest run (under way) is {short}" in named.err
    answer = daemon("stop", "slow").out
    explained = " ".join(daemon("explain", "slow").out.split())
    stopped = daemon("stop", run_id[:8]).out
    killed = daemon("kill").out

    assert all(STOPS_AT in one and way in one for one in (stopped, answer))
    assert f"{way} ends its process now" in explained
    assert killed == f"Ended the daemon and its workers, and with them 1 run: slow (run {short}).\n"
    assert f"is {short}" in daemon("log", "slow").err


def test_one_run_that_waits_is_stopped_alone(daemon: Cli, ws: WorkspaceFiles) -> None:
    """By the id that `status` shows; what runs and what else waits goes on."""
    ws.notebook("slow", SLOW)
    workspace = Workspace(ws.root)
    workspace.deploy("slow")
    (running,) = workspace.run("slow", wait=False)
    until(lambda: workspace.status().active_runs)
    first, second, third = (workspace.run("slow", wait=False)[0] for _ in range(3))

    answer = daemon("stop", second[:8])
    killed = daemon("kill", third)

    assert (answer.code, killed.code) == (0, 0), answer.err
    assert answer.out == "It was still waiting, and will not start; it is recorded as stopped.\n"
    assert [run.run_id for one in workspace.status().waiting_runs for run in one.runs] == [first]
    assert [one.run_id for one in workspace.status().active_runs] == [running]
    stopped = workspace.run_record(second)
    assert (stopped.status, stopped.started_at_utc is not None) == ("stopped", True)
    late = daemon("stop", second)
    assert (late.code, f"run {second[:8]} had ended already" in late.err) == (2, True)
    assert "there is no run" in daemon("stop", "0" * 32).err


def test_a_file_whose_run_was_stopped_while_it_waited_is_held(daemon: Cli, ws: WorkspaceFiles) -> None:
    """As one whose run was stopped later: else it would be due again at once."""
    ws.notebook("slow", SLOW)
    workspace = Workspace(ws.root)
    workspace.deploy("slow")
    workspace.run("slow", wait=False)
    until(lambda: workspace.status().active_runs)
    ws.source("in/a.txt")
    ws.notebook("polled", POLLED.replace('group="P"', 'group="S"').replace("1 / 0", "1"))
    workspace.deploy("polled")
    (waits,) = until(lambda: [run for one in workspace.status().waiting_runs for run in one.runs])

    assert not workspace.stop_run(waits.run_id)

    until(lambda: [one.held for one in workspace.status().flows if one.name == "polled"] == [1])
    assert workspace.status().waiting_runs == ()
    (row,) = (one for one in workspace.explain("polled") if one.source)
    assert (row.why.kind, row.why["run_id"]) == ("held", waits.run_id)


def test_a_failed_file_that_is_tried_again_waits(daemon: Cli, ws: WorkspaceFiles) -> None:
    """With the time of its next try, and neither as held nor as done."""
    ws.source("config/data_engine.toml", '[retry]\nretries = 2\ndelay = "1h"\n')
    ws.notebook("polled", POLLED)
    ws.source("in/bad.csv", "x")
    Workspace(ws.root).deploy("polled")

    until(lambda: re.search(r"^polled +1 +bad.csv +failed, retry 1 of 2 at ", daemon("status").out, re.MULTILINE))


def test_the_next_run_is_shown_wherever_a_flow_is(daemon: Cli) -> None:
    """In `list`, `show`, `status` and `explain`, for people and as JSON."""
    next_utc = daemon("explain", "parts", "--json").json[0]["next_run_utc"]

    for name in ("status", "list"):
        flows = daemon(name, "--json").json
        flows = flows["flows"] if isinstance(flows, dict) else flows
        assert {flow["name"]: flow["next_run_utc"] for flow in flows} == {"claims": None, "parts": next_utc}
    assert daemon("show", "parts", "--json").json["next_run_utc"] == next_utc
    for command in (("status",), ("list",), ("show", "parts"), ("explain", "parts")):
        assert zoned_text(next_utc) in daemon(*command).out
    assert "next run    -" in daemon("show", "claims").out


def test_an_edit_that_is_not_deployed_is_told_wherever_a_flow_is(daemon: Cli, ws: WorkspaceFiles) -> None:
    """In `status`, `list`, `show`, `explain` and `run`, with a daemon and without."""
    edit = "edited, not deployed: cell 1"
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    assert not any(edit in daemon(*command).out for command in (("list",), ("show", "parts"), ("explain", "parts")))
    assert edit not in daemon("run", "parts").err
    ws.notebook("parts", PARTS.replace("return 1", "return 2"))

    until(lambda: edit in daemon("status").out)
    assert f"{edit}: what is deployed runs" in daemon("run", "parts").err
    Workspace(ws.root).stop_engine()
    for _ in ("with a daemon", "without"):
        for command in (("status",), ("list",), ("show", "parts"), ("explain", "parts")):
            assert edit in daemon(*command).out, command
        assert [flow["deployment"] for flow in daemon("list", "--json").json] == ["as deployed", edit]
        assert daemon("show", "parts", "--json").json["deployment"] == edit
        daemon("kill")


def test_a_setting_nobody_reads_is_told_once(cli: Cli, ws: WorkspaceFiles) -> None:
    """With and without a daemon; a setting that cannot be used is told too, and what needs no settings works."""
    warning = 'unknown setting "deploy.quite", which is ignored: did you mean "deploy.quiet"?'
    ws.source("config/data_engine.toml", '[deploy]\nquite = "1s"\n')
    try:
        for is_running in (False, True):
            if is_running:
                assert cli("start", "--no-engine").code == 0
            for command, times in (("status", 1), ("list", 0)):
                answer = cli(command)
                assert (answer.code, (answer.out + answer.err).count(warning)) == (0, times), command
        (told,) = cli("status", "--json").json["warnings"]
        assert warning in told
    finally:
        Workspace(ws.root).kill()
    ws.source("config/data_engine.toml", '[deploy]\nquiet = "soon"\n')
    for command in (("status",), ("list",)):
        answer = cli(*command)
        assert (answer.code, (answer.out + answer.err).count("deploy.quiet")) == (0, 1), command
    assert cli("start").code == 2


def test_run_waits_and_fails_with_1(daemon: Cli) -> None:
    good = daemon("run", "parts")
    assert (good.code, "success" in good.out) == (0, True)

    bad = daemon("run", "parts", "--param", "fail=true", "--json")
    assert bad.code == 1
    (run,) = bad.json["runs"]
    assert run["status"] == "failed"
    assert "parts.ipynb, cell 1, line 4" in run["error"]


def test_a_run_for_one_file_of_several_is_refused_or_tells_which_it_read(cli: Cli, ws: WorkspaceFiles) -> None:
    """One file is no run of a batch; a flow that collects the folder for each file takes in the others."""
    text = """
        from data_engine import Flow
        def read(context):
            return [file.path.read_text() for file in context.current]
        def build():
            return Flow(group="G").watch(mode="manual", source="../in"{batch}).collect(".txt").step(read)
    """
    for number in range(3):
        ws.source(f"in/{number}.txt")
    ws.notebook("each", text.replace("{batch}", ""))
    ws.notebook("whole", text.replace("{batch}", ", run_as='batch'"))
    cli("deploy", "--yes")
    try:
        refused = cli("run", "whole", "--source", "1.txt")
        assert (refused.code, refused.out) == (2, "")
        assert "it cannot run for 1.txt alone" in refused.err
        assert cli("run", "whole").code == 0
        assert "it read 2 other files of that folder, too: 0.txt, 2.txt" in cli("run", "each", "--source", "1.txt").out
    finally:
        cli("kill")


def test_the_warnings_of_a_run_in_the_daemon_are_told_with_the_way_to_read_them(cli: Cli, ws: WorkspaceFiles) -> None:
    """What it only writes to standard error is none, also where another process writes it."""
    ws.module(
        "loud",
        """
        import os, subprocess, sys
        from data_engine import Flow

        def work(context):
            context.log("two rows were left out", level="ERROR")
            print("10%", file=sys.stderr)
            subprocess.run([sys.executable, "-c", "import sys; print('20%', file=sys.stderr)"], check=True)

        def build():
            return Flow(group="G").step(work)
        """,
    )
    cli("deploy", "loud")
    try:
        answer = cli("run", "loud")
        assert answer.code == 0
        (run,) = Workspace(ws.root).runs("loud")
        assert re.search(rf"^{run.run_id[:8]} +loud +success +1 warning ", answer.out, re.MULTILINE)
        assert answer.out.endswith(f"`data-engine log {run.run_id[:8]}` shows its warnings.\n")
        levels = {line.message: line.level for line in Workspace(ws.root).log(run.run_id)}
        assert levels == {"two rows were left out": "ERROR", "10%": "STDERR", "20%": "STDERR"}
    finally:
        Workspace(ws.root).kill()


def test_switches_and_reasons(daemon: Cli) -> None:
    assert daemon("explain", "parts").out.count("next at") == 1
    assert daemon("disable", "parts").code == 0
    assert daemon("explain", "parts", "--json").json[0]["reason"].startswith("disabled by ")
    assert daemon("enable", "parts").code == 0


def test_a_retry_says_whether_anything_was_held(daemon: Cli, ws: WorkspaceFiles) -> None:
    answer = daemon("retry")
    assert (answer.code, answer.out.startswith("Nothing is held")) == (0, True)
    assert daemon("retry", "--json").json["freed"] == 0

    ws.source("in/a.txt")
    ws.module("polled", POLLED)
    daemon("deploy", "polled")
    until(lambda: any(flow["held"] for flow in daemon("status", "--json").json["flows"]))
    told = daemon("status").out
    assert ("failing, 1 held" in told, "a.txt: " in told) == (True, True)
    assert "waited to be tried again, runs again now: polled (1 file)." in daemon("start").out
    until(lambda: len(Workspace(ws.root).runs("polled")) == 2)
    until(lambda: any(flow["held"] for flow in daemon("status", "--json").json["flows"]))
    assert "1 held source runs again. `data-engine runs polled` shows the result." in daemon("retry", "polled").out


def test_a_daemon_that_does_not_answer_is_not_told_as_none(
    daemon: Cli, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a frozen one is, or one on a machine that swaps: it is told while somebody waits, and nothing is done beside it."""
    before = daemon("status", "--json").json["daemon"]
    process = psutil.Process(before["pid"])
    monkeypatch.setattr(control, "TOLD_AFTER_S", 0.2)
    monkeypatch.setattr(control, "PING_S", 0.5)
    monkeypatch.setattr(link, "_LEAVING_S", 0.2)
    monkeypatch.setattr(link, "_COMING_S", 0.5)
    link.DaemonLink(Workspace(ws.root).home)._forget()  # as a command that begins does not have one
    process.suspend()
    try:
        text, told, explained = daemon("status"), daemon("status", "--json").json, daemon("explain", "parts")
        refused = [daemon("stop"), daemon("stop", "parts"), daemon("stop", "00"), daemon("retry", "parts")]
        enabled = daemon("enable", "parts", "--json")
    finally:
        process.resume()

    silent = f"the daemon (pid {process.pid}) does not answer"
    assert text.err == f"waiting: {silent}; Ctrl-C ends only this wait, `data-engine kill` ends the daemon\n"
    assert f"pid {process.pid} is there, and does not answer\n" in text.out
    assert re.search("^engine +not known$", text.out, re.M)
    assert "not running" not in text.out
    assert told["daemon"] == before | {"silent": True}
    assert told["engine"] == {"on": None, "stopping": False, "starting": False, "goes_on": False}
    assert {flow["why"]["kind"] for flow in told["flows"] if flow["name"] == "parts"} == {"daemon_silent"}
    assert silent in explained.out
    assert "engine is off" not in text.out + explained.out
    assert {one.code for one in refused} == {2}
    assert all(f"error: {silent}\n" in one.err and "data-engine kill" in one.err for one in refused)
    assert (enabled.code, enabled.json["error"]["what"]) == (2, silent)
    answers = daemon("status", "--json").json
    assert answers["daemon"] == before
    assert answers["engine"]["on"] is True


WRONG = {
    ("run", "nope"): "Flow module 'nope' is not available",
    ("run",): "which flow?",
    ("enable", "nope"): "Flow module 'nope' is not available",
    ("explain", "nope"): "neither a flow nor a file",
    ("stop", "00"): "there is no run '00'",
    ("kill", "00"): "there is no run '00'",
    ("retry", "--source", "a.csv"): "not of which flow",
    ("retry", "nope"): "Flow module 'nope' is not available",
    ("retry", "claims"): "runs by hand only, so it holds no files back",
}


def test_wrong_requests_end_with_2_and_a_fix(daemon: Cli) -> None:
    for arguments, said in WRONG.items():
        answer = daemon(*arguments)
        assert (answer.code, said in answer.err, "fix:" in answer.err) == (2, True, True), answer
        document = daemon(*arguments, "--json")
        assert document.code == 2
        assert said in document.json["error"]["what"]
        assert document.json["error"]["fix"]


def test_giving_up_what_is_not_owned_says_so(daemon: Cli) -> None:
    said = [daemon("lease", "release").out]
    until(lambda: daemon("lease", "status", "--json").json["state"] == "available")
    said.append(daemon("lease", "release").out)
    daemon("start")
    daemon("kill")
    said.append(daemon("lease", "release").out)

    assert "nothing was given up" not in said[0]
    assert "no owner of the workspace is seen, it is available: nothing was given up" in said[1]
    assert "the daemon of this workstation that owned the workspace is gone" in said[2]


def test_without_a_daemon_there_is_nothing_to_stop_and_switches_are_kept(cli: Cli) -> None:
    assert (cli("stop").code, cli("kill").code) == (0, 0)
    assert cli("status", "--json").json["daemon"]["running"] is False
    assert cli("disable", "claims").code == 0
    assert {flow["name"]: flow["enabled"] for flow in cli("status", "--json").json["flows"]}["claims"] is False
    assert "claims is not deployed" in cli("retry", "claims").err
    for command in ("retry", "stop 3f9c"):
        answer = cli(*command.split())
        assert (answer.code, "data-engine start" in answer.err) == (2, True)


def test_what_is_named_as_the_fix_works_without_a_daemon(cli: Cli, ws: WorkspaceFiles) -> None:
    """A draft, a flow that is disabled, one that is not, and a run that has ended."""
    ws.source("in/a.txt")
    ws.module("polled", POLLED)
    assert cli("run", "--once", "polled").code == 1
    assert (
        f"`data-engine run --once polled --source {ws.root / 'in' / 'a.txt'}` runs it here"
        in cli("explain", "polled").out
    )
    ws.module("polled", POLLED.replace("settle=0", "settle=0, run_as='batch'"))
    assert "`data-engine run --once polled` runs it for all of its files here" in cli("explain", "polled").out
    ws.module("polled", POLLED)
    assert "polled is not deployed" in cli("retry", "polled").err
    assert "nothing of polled runs, and it does not run by itself" in cli("stop", "polled").err
    cli("deploy", "polled")
    assert "`data-engine start` tries it again, with all that is held" in cli("explain", "polled").out
    assert "start it with `data-engine start`, which tries whatever is held" in cli("retry", "polled").err
    answer = cli("stop", "polled")
    assert (answer.code, "by itself later: `data-engine disable polled`" in answer.err) == (2, True)
    cli("disable", "polled")
    enable = "`data-engine enable polled`"
    assert f"{enable}, then `data-engine start` tries it again" in cli("explain", "polled").out
    assert f"{enable} lets it run by itself, and `data-engine start` starts the engine" in cli("explain", "polled").out
    assert f"{enable}, then `data-engine start`, which tries" in cli("retry", "polled").err
    assert "nothing of polled runs, and it does not run by itself" in cli("stop", "polled").err
    (run,) = Workspace(ws.root).runs("polled")
    assert f"run {run.run_id[:8]} had ended already, and nothing was stopped: failed" in cli("stop", run.run_id).err


def test_a_retry_that_would_do_nothing_is_refused(daemon: Cli, ws: WorkspaceFiles) -> None:
    """A disabled flow, an engine that is off: nobody is told that something is due again when it is not."""
    daemon("disable", "parts")
    assert "data-engine enable parts" in daemon("retry", "parts").err
    daemon("enable", "parts")
    assert daemon("retry", "parts").code == 0
    Workspace(ws.root).stop_engine()
    for arguments in (("retry",), ("retry", "parts")):
        answer = daemon(*arguments)
        assert (answer.code, "the engine is off" in answer.err, "data-engine start" in answer.err) == (2, True, True)


def test_a_broken_module_that_is_run_ends_with_1(daemon: Cli, ws: WorkspaceFiles) -> None:
    """As everywhere else: the request was right."""
    ws.notebook("torn", "def build():\n    return rate")
    while "torn" not in [flow["name"] for flow in daemon("status", "--json").json["flows"]]:
        time.sleep(0.05)
    answer = daemon("run", "torn")

    assert answer.code == 1
    assert "torn.ipynb, cell 1, line 2" in answer.err
    assert "broken: " in daemon("explain", "torn").out


def test_what_troubles_the_daemon_is_in_its_status(daemon: Cli, ws: WorkspaceFiles) -> None:
    ws.source("config/data_engine.toml", '[executor]\nworkers = "two"\n')
    while "error: workers cannot be 'two'" not in (told := daemon("status").out):
        time.sleep(0.05)

    assert "fix: write a whole number" in told


def test_a_setting_nobody_reads_is_told_before_a_run(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.source("config/data_engine.toml", 'timezon = "Europe/Berlin"\n')

    answer = cli("run", "--once", "claims")

    assert answer.code == 0
    assert "timezon" in answer.err
    assert "timezone" in answer.err


def test_a_run_asks_for_no_status_of_the_whole_workspace(daemon: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hundreds of flows lie on a slow share that takes longer than the run."""
    monkeypatch.setattr(Workspace, "status", lambda self: pytest.fail("a run asked for the status"))

    assert daemon("run", "claims").code == 0


def test_a_schedule_that_failed_shows_why_and_not_when_it_runs_next(daemon: Cli) -> None:
    """That is in a column of its own."""
    assert daemon("run", "parts", "--set", "fail=1").code == 1

    said = daemon("status").out
    (line,) = (line for line in said.splitlines() if line.startswith("parts"))
    assert "its last run failed in Work:" in line
    assert "its last run failed in Work" in said
    assert "03:30" in line
    assert "next " not in said


def test_a_run_by_hand_is_refused_where_a_setting_cannot_be_used(daemon: Cli, ws: WorkspaceFiles) -> None:
    """Also where the daemon runs, which works with the settings that were good: a success would say that it was used."""
    ws.source("config/data_engine.toml", '[executor]\nkind = "proceses"\n')

    answer = daemon("run", "claims")

    assert answer.code == 2
    assert "kind cannot be 'proceses'" in answer.err
    assert 'write "threads" or "processes" or "dask"' in answer.err


def test_a_misspelt_parameter_is_told_where_it_was_typed(daemon: Cli) -> None:
    """And not only in the log of the run."""
    answer = daemon("run", "claims", "--set", "mnat=1")

    assert answer.code == 0
    assert "warning: no step has read the params mnat, which the run was given" in answer.err


def test_a_run_of_a_mistyped_flow_starts_no_daemon(daemon: Cli, ws: WorkspaceFiles) -> None:
    """The name is looked up first."""
    Workspace(ws.root).kill()

    answer = daemon("run", "clams")

    assert answer.code == 2
    assert "did you mean claims?" in answer.err
    assert not Workspace(ws.root).status().daemon.running


def test_a_run_says_that_the_engine_goes_on_where_the_daemon_died(daemon: Cli, ws: WorkspaceFiles) -> None:
    workspace = Workspace(ws.root)
    workspace.deploy("claims")
    pid = workspace.status().daemon.pid
    assert pid is not None
    end_now(pid)
    until(lambda: not workspace.status().daemon.running)

    first, second = daemon("run", "claims"), daemon("run", "claims")

    assert "is on again: data-engine stop turns it off" in first.err
    assert "No daemon ran: one was started for this. `data-engine stop` ends it." in first.err
    assert ("is on again" in second.err, "was started" in second.err) == (False, False)
