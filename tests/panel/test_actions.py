"""What the panel asks for is answered alike with a daemon and without one, and no flow's code runs where it is asked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_engine import FlowExecutionError, FlowValidationError, Workspace, load_flow, panel
from data_engine.commands.fields import BadRequestError
from data_engine.model import Run, RunFinished, RunStarted
from data_engine.notebook.catalog import read_catalog
from data_engine.status.record import WorkspaceStatus
from data_engine.view.feed import ViewSender, from_child
from data_engine.view.panel import render
from jupyter_extension.actions import (
    all_actions,
    answer,
    changes,
    check,
    fields_of,
    is_here,
    new_flow_notebook,
    place_of,
)
from jupyter_extension.files import reader
from jupyter_extension.panel import PANEL_MIME, SNAPSHOT_FLOWS, snapshot
from tests.panel import flows
from tests.support import WorkspaceFiles, notebook_bytes, until


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    flows.fill(ws.root, good=flows.GOOD, failing=flows.FAILING, broken=flows.BROKEN, polled=flows.POLLED)
    flows.sources(ws.root, good=2)
    found = Workspace(ws.root)
    yield found
    found.kill()
    reader.close()  # it has the environment of this test


def ask(workspace: Workspace, action: str, **args: Any) -> Any:
    found = answer(str(workspace.root), action, args)
    assert "error" not in found, found
    return found["result"]


def deploy_all(workspace: Workspace) -> str:
    """Deploy everything, and agree to what would change; what is shown."""
    found = ask(workspace, "deploy")
    for _, key in found["question"]["answers"] if "question" in found else ():
        found = ask(workspace, "deploy", agreed=[key])
    return str(found["html"])


def test_a_flow_is_shown_alike_with_a_daemon_and_without(workspace: Workspace) -> None:
    """What it is does not depend on who is asked."""
    without = ask(workspace, "flow", flow="good")
    ask(workspace, "start")
    with_one = ask(workspace, "flow", flow="good")

    for name in ("title", "description", "path", "about"):
        assert without[name] == with_one[name]
    assert [step["label"] for step in with_one["steps"]] == ["Read", "Total: of all"]
    assert with_one["description"] == "Adds up"
    assert without["steps"][0]["inspect"] == "no output is available for this step yet"


def test_a_polled_flow_tells_how_it_polls(workspace: Workspace) -> None:
    """Where from, which files, how long they settle, and how many runs at once; to reload is answered in words."""
    about = dict(ask(workspace, "flow", flow="polled")["about"])

    assert about["Runs"] == "every 1 s when files change"
    assert (about["Extensions"], about["Settle"], about["Max parallel"]) == (".csv", "0 s", "1")
    assert about["Runs as"] == "one run for each file"
    assert ask(workspace, "reload") == "Reloaded flow definitions."


@pytest.mark.parametrize("has_daemon", [True, False], ids=["with a daemon", "without"])
def test_a_deploy_of_everything_names_the_flows_that_it_left_out(workspace: Workspace, has_daemon: bool) -> None:
    settings = workspace.root / "config" / "data_engine.toml"
    settings.write_text(settings.read_text().replace('mode = "auto"', 'mode = "ask"'))
    workspace.deploy()
    workspace.undeploy("good")
    if has_daemon:
        workspace.start()

    assert "left out      good: " in deploy_all(workspace)
    assert "deployed      good.ipynb" in ask(workspace, "deploy", name="good")["html"]
    assert "left out" not in deploy_all(workspace)


@pytest.mark.parametrize("has_daemon", [True, False], ids=["with a daemon", "without"])
def test_a_deploy_of_everything_is_asked_with_what_would_change_and_start(
    workspace: Workspace, has_daemon: bool
) -> None:
    """What is broken is no part of it; it is asked anew where something else would change than was agreed to, and not where nothing would."""
    settings = workspace.root / "config" / "data_engine.toml"
    settings.write_text(settings.read_text().replace('mode = "auto"', 'mode = "ask"'))
    if has_daemon:
        workspace.start()

    question = ask(workspace, "deploy")["question"]

    ((label, key),) = question["answers"]
    assert label == "Deploy all 3"
    assert "polled (not deployed): every 1 s when files change; 3 files run once the engine is on\n" in (
        question["text"] + "\n"
    )
    assert "broken" not in question["text"]
    modules = workspace.layout.flow_modules_dir
    (modules / "another.ipynb").write_bytes((modules / "good.ipynb").read_bytes())
    assert ask(workspace, "deploy", agreed=[key])["question"]["answers"][0][0] == "Deploy all 4"
    assert not workspace.deployments()

    (modules / "another.ipynb").unlink()
    flows.sources(workspace.root, good=5)  # files come while somebody reads
    found = ask(workspace, "deploy", agreed=[key])
    assert "polled: 6 files run once the engine is on (Start engine)" in found["html"]
    assert "not deployed  broken.ipynb" in found["html"]
    assert found["is_bad"]
    assert "unchanged     3 flows" in ask(workspace, "deploy")["html"]


@pytest.mark.parametrize("has_daemon", [True, False], ids=["with a daemon", "without"])
def test_a_deploy_of_everything_confirms_no_shared_mirror(workspace: Workspace, has_daemon: bool) -> None:
    """The list that was agreed to names the deploy that does."""
    settings = workspace.root / "config" / "data_engine.toml"
    settings.write_text(settings.read_text().replace('mode = "auto"', 'mode = "ask"'))
    copy = "from data_engine import Flow\ndef build(): return Flow(group='{}').mirror(root='../shared').step(lambda context: 1)"
    (workspace.root / "flow_modules" / "first.py").write_text(copy.format("G"))
    workspace.deploy("first")
    (workspace.root / "flow_modules" / "second.py").write_text(copy.format("H"))
    if has_daemon:
        workspace.start()

    assert (
        "only by `data-engine deploy second --yes`, as first, which is deployed"
        in ask(workspace, "deploy")["question"]["text"]
    )
    deploy_all(workspace)

    names = {row.flow for row in workspace.deployments()}
    assert "good" in names
    assert "second" not in names


@pytest.mark.parametrize("has_daemon", [True, False], ids=["with a daemon", "without"])
def test_a_deploy_tells_of_the_files_that_stay_held(workspace: Workspace, has_daemon: bool) -> None:
    """With the button that tries them again, where that can be used; they do not count as done."""
    settings = workspace.root / "config" / "data_engine.toml"
    settings.write_text(settings.read_text().replace('mode = "auto"', 'mode = "ask"'))
    flows.sources(workspace.root, good=1, bad=1)
    (workspace.root / "in" / "01.csv").unlink()
    workspace.deploy("polled")
    if has_daemon:
        workspace.start_engine()
        until(lambda: {one.name: one.held for one in workspace.status().flows}.get("polled") == 1)
        until(lambda: len(workspace.runs(status="success")) == 1)
    else:
        workspace.load_flow("polled").run_once(source="00.csv")
        with pytest.raises(FlowExecutionError):
            workspace.load_flow("polled").run_once(source="bad-0.csv")
    notebook = workspace.root / "flow_modules" / "polled.ipynb"
    notebook.write_bytes(notebook_bytes(flows.POLLED.replace("no column amount", "no amount")))

    found = ask(workspace, "deploy", name="polled")

    again = "Retry" if has_daemon else "Start engine"
    assert "polled: 1 file was done before and counts as done. To do it again: Backfill\n" in found["html"]
    assert f"failed or was stopped. To try it again: {again}<" in found["html"]
    assert found["offers"] == {"backfill": "polled"} | ({"retry": "polled"} if has_daemon else {})


def test_a_run_asks_first_where_edits_are_not_saved(workspace: Workspace) -> None:
    """It says what runs without them, also for one source; nothing is asked where all is saved, or nothing can run."""
    (workspace.root / "config" / "data_engine.toml").write_text('[deploy]\nmode = "ask"\n')
    workspace.deploy("good")
    workspace.deploy("polled")
    unsaved = {"take": "ask", "unsaved": ["good.ipynb"]}
    asked = ask(workspace, "run", flow="good", **unsaved)
    of_one = ask(workspace, "run", flow="polled", source="00.csv", **unsaved)
    of_all = ask(workspace, "run", flow="polled", **unsaved)

    told = "good.ipynb has unsaved edits: the flow runs as it is deployed, without them."
    assert (asked["run_ids"], asked["question"]) == ([], {"text": told, "answers": [["Run it", "all"]]})
    assert of_one["question"] == asked["question"]
    assert of_all["question"]["text"] == f"{told} Run Polled: 3 files are due."
    assert workspace.runs() == []
    assert len(ask(workspace, "run", flow="good", take="ask")["run_ids"]) == 1
    assert "not deployed" in answer(str(workspace.root), "run", {"flow": "failing", **unsaved})["error"]["what"]


def test_a_run_from_the_future_is_marked_and_its_steps_are_not_the_newest(workspace: Workspace) -> None:
    """What a wrong clock wrote stands first in the list; the flow is shown as its last run left it."""
    (last,) = workspace.run("good")
    ledger, at_s = workspace.home.ledger(), time.time() + 400 * 86_400
    ledger.record(RunStarted("ahead", "good", "G", None, at_s), RunFinished("ahead", "failed", at_s, 1.0))
    shown = ask(workspace, "flow", flow="good")

    assert isinstance(last, Run)
    assert [(run["run_id"], run["from_the_future"]) for run in shown["runs"]] == [("ahead", True), (last.run_id, False)]
    assert shown["run_id"] == last.run_id
    assert {step["mark"]["word"] for step in shown["steps"]} == {"success"}


def test_a_note_says_why_it_was_disabled_or_deployed(workspace: Workspace) -> None:
    """With a daemon and without one; none is asked for."""
    (workspace.root / "config" / "data_engine.toml").write_text("")
    for name, note in (("good", ""), ("polled", "new rates"), ("failing", "now with rates")):
        ask(workspace, "deploy", name=name, note=note)
        assert ask(workspace, "flow", flow=name)["deployments"][0]["note"] == note
        if name == "good":
            continue
        ask(workspace, "disable", flow="polled", note=note)
        flow = next(one for one in workspace.status().flows if one.name == "polled")
        assert flow.disabled is not None
        assert flow.disabled.note == note
        ask(workspace, "enable", flow="polled")
        ask(workspace, "start")


@pytest.mark.parametrize(
    ("given", "what", "fix"),
    [
        ({"since": "31.12.2026"}, "From cannot be '31.12.2026'", "write a day as 2026-12-31"),
        ({"until": "next week"}, "To the end of cannot be 'next week'", "write a day as 2026-12-31"),
        ({"since": "2026-02", "until": "2026-01"}, "the range ends (2026-01) before it begins (2026-02)", "From"),
    ],
)
def test_the_backfill_form_is_told_of_its_own_fields(
    workspace: Workspace, given: dict[str, str], what: str, fix: str
) -> None:
    """By the words that stand before them, and with how a day is written; a command line has its own."""
    error = answer(str(workspace.root), "backfill", {"flow": "polled", "dry_run": True, **given})["error"]

    assert error["what"] == what
    assert fix in error["fix"]
    assert "backfill(" not in str(error["where"])


def test_a_run_that_waits_is_shown_with_what_it_waits_for_and_a_second_click_says_so(workspace: Workspace) -> None:
    flows.fill(workspace.root, slow=flows.SLOW, other=flows.GOOD.replace("Claims", "Slow"))
    workspace.deploy()
    ask(workspace, "run", flow="slow")
    until(lambda: workspace.status().active_runs)
    first, second = (ask(workspace, "run", flow="other")["said"] for _ in range(2))
    row = render(workspace.status()).flows["other"]

    assert first.startswith('other: 1 run waits for group "Slow": flow "slow" (run ')
    assert second.startswith('other: 2 runs wait for group "Slow"')
    assert row.waits == second.removeprefix("other: ")


def test_a_run_is_shown_with_its_steps_log_and_error_by_cell(workspace: Workspace) -> None:
    """The error's first line in the list, all of it in the run; the cell can be opened."""
    asked = ask(workspace, "run", flow="failing")
    workspace.run("good")
    until(lambda: ask(workspace, "flow", flow="failing")["runs"][0]["elapsed_s"] is not None)
    newest = ask(workspace, "flow", flow="failing")["runs"][0]
    details = ask(workspace, "run_details", run_id=newest["run_id"])
    good = ask(workspace, "run_details", run_id=ask(workspace, "flow", flow="good")["run_id"])

    assert (asked["run_ids"], asked["said"]) == ([newest["run_id"]], "failing: 1 run started.")
    assert newest["mark"]["word"] == "failed"
    assert newest["cells"][0] == {"notebook": "failing.ipynb", "cell": 3, "line": 3}
    assert newest["error"] == "Bad: KeyError: 'total'"
    assert "failing.ipynb, cell 3, line 3" in details["error"]
    assert [(step["label"], step["mark"]["word"]) for step in details["steps"]] == [
        ("Read", "success"),
        ("Bad", "failed"),
    ]
    assert [(line["step"], line["message"]) for line in good["lines"]] == [("Total: of all", "adding")]


def test_the_link_of_a_broken_schedule_has_the_whole_name(ws: WorkspaceFiles) -> None:
    """Names are never cut out of texts: this one holds a quote, blanks and digits, as the error beside it does."""
    name = "it's 00' typo"
    ws.notebook(
        name, *flows.FAILING[:3], 'def build():\n    return Flow("G").watch(mode="schedule", time="25:00").step(bad)'
    )
    workspace = Workspace(ws.root)
    without = ask(workspace, "flow", flow=name)["error_cells"]
    ask(workspace, "start")
    with_one = ask(workspace, "flow", flow=name)["error_cells"]
    workspace.kill()

    assert without == with_one == [{"notebook": f"{name}.ipynb", "cell": 4, "line": 2}]


def test_while_the_engine_starts_the_last_known_state_stays(workspace: Workspace) -> None:
    """Marked as starting: no flow is taken for gone, and the engine is not told as off again before it is on."""
    feed, seen = ViewSender(workspace), []
    leave = feed.listen(seen.append)
    until(lambda: seen and seen[-1]["flows"]["polled"]["mark"]["kind"] != "being_read")
    before = len(seen)
    feed.while_starts(lambda: answer(str(workspace.root), "start_engine", {}))
    until(lambda: seen[-1]["engine"]["word"] == "on")
    leave()
    words = [view["engine"]["word"] for view in seen[before:]]

    assert {frozenset(view["flows"]) for view in seen} == {frozenset({"good", "failing", "broken", "polled"})}
    assert words[0] == "starting"
    assert words == sorted(words, key=["starting", "on"].index)


def test_an_engine_that_cannot_start_is_not_told_as_starting(workspace: Workspace) -> None:
    """The error is the answer; the state is what it was."""
    feed, seen = ViewSender(workspace), []
    leave = feed.listen(seen.append)
    until(lambda: seen)
    feed.while_starts(lambda: {"error": {"what": "no"}})
    leave()

    assert "starting" in [view["engine"]["word"] for view in seen]
    assert seen[-1]["engine"]["word"] == "off"


def test_files_that_need_somebody_come_first(workspace: Workspace) -> None:
    """With the reason of `explain`; one that is held can be retried, one that is done cannot."""
    workspace.run("polled")
    ask(workspace, "start_engine")

    def by_name() -> dict[str, Any]:
        return {file["name"]: file for file in ask(workspace, "files", flow="polled")["files"]}

    until(lambda: by_name().get("bad-0.csv", {}).get("reason", "").startswith("held"))
    files = by_name()

    assert next(iter(files)) == "bad-0.csv"
    assert files["bad-0.csv"]["retry"] is None
    assert files["00.csv"]["retry"] == "it is not held"
    assert files["00.csv"]["last"]["word"] == "success"


def test_the_outputs_of_steps_are_found_after_a_later_failure(workspace: Workspace) -> None:
    """The newest file each step returned in a good run, as long as it is there."""
    workspace.run("polled", source=workspace.root / "in" / "00.csv")
    workspace.run("polled", source=workspace.root / "in" / "bad-0.csv")

    write = ask(workspace, "flow", flow="polled")["steps"][1]
    page = ask(workspace, "inspect", path=write["output"])
    Path(write["output"]).unlink()

    assert write["inspect"] is None
    assert page["rows"] == [["Oslo", 0], ["Rome", 1]]
    assert ask(workspace, "flow", flow="polled")["steps"][1]["inspect"] is not None


def test_what_flows_wrote_is_listed_and_searched(workspace: Workspace) -> None:
    """Each file as its newest run left it: its rows and size, when, and by which flow; one that is gone says so."""
    for name in ("00.csv", "01.csv", "00.csv"):
        run = workspace.run("polled", source=workspace.root / "in" / name)[0]
    (workspace.root / "out" / "01.parquet").unlink()
    listed = ask(workspace, "outputs")
    newest, gone = listed["files"]

    assert (listed["total"], listed["found"]) == (2, 2)
    assert (newest["name"], newest["folder"], newest["flow"], newest["run_id"]) == (
        "00.parquet",
        "out",
        "polled",
        run.run_id,
    )
    assert (newest["rows"], newest["is_there"], gone["name"], gone["is_there"]) == (2, True, "01.parquet", False)
    assert newest["size_bytes"] > 0
    assert [one["name"] for one in ask(workspace, "outputs", search="POLLED 01")["files"]] == ["01.parquet"]
    assert [one["name"] for one in ask(workspace, "outputs", search=gone["path"])["files"]] == ["01.parquet"]
    assert ask(workspace, "outputs", search="nobody")["found"] == 0
    assert ask(workspace, "outputs", search=workspace.root.name)["found"] == 0


def test_saved_frames_are_listed_and_cleared(workspace: Workspace) -> None:
    """The newest first, with flow and step."""
    workspace.run("polled", source=workspace.root / "in" / "00.csv")
    (frame,) = ask(workspace, "debug")["frames"]

    assert (frame["flow_name"], frame["step_name"], frame["rows"]) == ("polled", "Write", 2)
    assert ask(workspace, "clear_debug") == "Removed 1 saved frame."
    assert ask(workspace, "debug") == {"frames": []}


def test_an_edit_is_shown_by_its_cells_until_it_is_deployed(ws: WorkspaceFiles) -> None:
    """Also without a daemon."""
    workspace = Workspace(ws.root)
    flows.fill(ws.root, good=flows.FAILING)
    assert "deployed      good.ipynb" in deploy_all(workspace)
    cells = list(flows.FAILING)
    cells[1] = cells[1].replace("3", "4")
    flows.fill(ws.root, good=tuple(cells))

    edited, (row,) = ask(workspace, "flow", flow="good"), WorkspaceStatus.read(from_child(ws.root, "status"))["flows"]
    ask(workspace, "deploy", name="good")
    (after,) = WorkspaceStatus.read(from_child(ws.root, "status"))["flows"]

    assert row["deployment"] == "edited, not deployed: cell 2"
    assert [where for where, _ in edited["changes"]] == ["cell 2"]
    assert (after["deployment"], ask(workspace, "flow", flow="good")["changes"]) == ("as deployed", [])


def test_what_a_module_prints_is_no_part_of_the_answer(ws: WorkspaceFiles) -> None:
    """A deploy without a daemon executes it in a process of its own, also what it prints from outside of Python."""
    ws.module("loud", f"import os\nprint('read')\nos.write(1, b'more')\n{flows.GOOD}")

    assert "deployed      loud.py" in deploy_all(Workspace(ws.root))


def test_no_flow_code_runs_where_the_panel_is_answered(ws: WorkspaceFiles) -> None:
    """A module that ends its process ends a child's at most."""
    ws.module("deadly", "import os\n\nos._exit(7)\n\ndef build():\n    pass")
    code = (
        "import json, sys\nfrom jupyter_extension.actions import answer\n"
        "print(json.dumps(answer(sys.argv[1], 'flow', {'flow': 'deadly'})))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ws.root)], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "error" in json.loads(done.stdout)


def test_a_file_is_looked_at_by_its_place_in_the_workspace_too(workspace: Workspace) -> None:
    """As the list of outputs shows it, or as a step writes it, which comes first."""
    for folder in ("out", "flow_modules/out"):
        (workspace.root / folder).mkdir()
    (workspace.root / "out" / "a.txt").write_text("of the workspace")
    (workspace.root / "out" / "b.txt").write_text("of the workspace")
    (workspace.root / "flow_modules" / "out" / "b.txt").write_text("of a step")
    found = [ask(workspace, "inspect", path=path)["path"] for path in ("out/a.txt", "../out/a.txt", "out/b.txt")]
    missing = answer(str(workspace.root), "inspect", {"path": "out/c.txt"})

    places = ("out/a.txt", "out/a.txt", "flow_modules/out/b.txt")
    assert found == [str(workspace.root / place) for place in places]
    assert "there is no file" in missing["error"]["what"]


def test_settings_are_shown_and_kept(workspace: Workspace, tmp_path: Path) -> None:
    """The folder of workspaces, the interpreter, the places of things."""
    before = ask(workspace, "settings")
    said = ask(workspace, "save_settings", collection_root=str(tmp_path))
    wrong = answer(str(workspace.root), "save_settings", {"collection_root": "not absolute"})
    absent = answer(str(workspace.root), "save_settings", {"collection_root": str(tmp_path / "nowhere")})
    mistyped = answer(str(workspace.root), "set_interpreter", {"path": str(tmp_path / "pyhton")})

    assert before["machine"]["collection_root"] is None
    assert before["interpreter"]["executable"] == sys.executable
    assert said == f"Workspace folder: {tmp_path}"
    assert "is not an absolute path" in wrong["error"]["what"]
    assert absent["error"]["what"] == f"{tmp_path / 'nowhere'} does not exist or cannot be reached"
    assert mistyped["error"]["what"] == f"runs cannot use {tmp_path / 'pyhton'}: it does not exist"
    assert mistyped["error"]["fix"].startswith("give the path of a Python executable")
    assert ask(workspace, "settings")["interpreter"]["executable"] == sys.executable
    assert ask(workspace, "settings")["machine"]["collection_root"] == str(tmp_path)


@pytest.mark.parametrize("wrong", ['[deploy]\ngate = "goldn"\n', "[deploy\n"], ids=["a value", "no TOML"])
@pytest.mark.parametrize("has_daemon", [False, True])
def test_wrong_settings_are_told_and_keep_nobody_from_looking(
    ws: WorkspaceFiles, workspace: Workspace, has_daemon: bool, wrong: str
) -> None:
    """As the trouble of the workspace, and by the Settings tab; what is to be done by them is refused."""
    workspace.load_flow("good").run_once()
    run_id = workspace.runs("good")[0].run_id
    if has_daemon:
        ask(workspace, "start")
    ws.source("config/data_engine.toml", wrong)

    looks: dict[str, dict[str, Any]] = {
        "flow": {"flow": "good"},
        "files": {"flow": "polled"},
        "run_details": {"run_id": run_id},
        "trends": {"flow": "good"},
        "outputs": {},
        "debug": {},
    }
    assert all(ask(workspace, action, **args) for action, args in looks.items())
    assert "data_engine.toml" in str(ask(workspace, "settings")["workspace"]["warnings"])
    until(lambda: workspace.status().trouble is not None)
    assert "data_engine.toml" in (workspace.status().trouble or {})["where"]
    if not has_daemon:
        assert "data_engine.toml" in answer(str(workspace.root), "deploy", {"name": "good"})["error"]["where"]
        assert not workspace.deployments()


def test_a_workspace_is_provisioned_and_offered(workspace: Workspace, tmp_path: Path) -> None:
    """What was made is said; those beside the one shown can be chosen."""
    made = ask(workspace, "provision", path=str(tmp_path / "second"))
    again = ask(workspace, "provision", path=str(tmp_path / "second"))
    offered = ask(workspace, "workspaces")["workspaces"]

    assert made["said"].startswith("Workspace second: created flow_modules")
    assert again["said"] == "Workspace second: nothing was missing."
    assert [one["id"] for one in offered] == ["second", "ws"]


def test_a_workspace_behind_a_link_is_offered_once_where_it_really_is(workspace: Workspace, tmp_path: Path) -> None:
    """By the root that its view and its details are called by."""
    links = tmp_path / "links"
    links.mkdir()
    (links / "by_link").symlink_to(workspace.root, target_is_directory=True)
    offered = ask(workspace, "workspaces", near=[str(links)])["workspaces"]
    named_by_link = answer(str(links / "by_link"), "workspaces", {})["result"]

    assert offered == [{"root": str(workspace.root), "id": "ws"}]
    assert named_by_link["selected"] == str(workspace.root)


def test_a_new_flow_is_a_flow_that_runs(ws: WorkspaceFiles) -> None:
    """Each gets a name of its own, and nothing that exists is overwritten."""
    first, second = new_flow_notebook(ws.modules), new_flow_notebook(ws.modules)
    entries = read_catalog(Workspace(ws.root).home.modules())

    assert (first.name, second.name) == ("new_flow.ipynb", "new_flow_2.ipynb")
    assert [(entry.name, entry.error) for entry in entries] == [("new_flow", None), ("new_flow_2", None)]
    assert [context.error for entry in entries if entry.flow for context in entry.flow.run_once()] == [None, None]


@pytest.mark.parametrize("name", ["", "_x", "a b", "../x", "Untitled/x"])
def test_a_name_that_cannot_be_a_flows_makes_no_file(ws: WorkspaceFiles, name: str) -> None:
    """And says what can."""
    found = answer(str(ws.root), "new_flow", {"name": name or " "})

    assert "cannot be a flow's name" in found["error"]["what"]
    assert list(ws.modules.iterdir()) == []


@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("run", {}),
        ("run", {"flow": 3}),
        ("stop_run", {"flow": "good"}),
        ("dance", {}),
        ("run_details", {"run_id": "no"}),
    ],
)
def test_a_wrong_request_is_answered_with_its_fix(ws: WorkspaceFiles, action: str, args: dict[str, Any]) -> None:
    """Never with an exception."""
    found = answer(str(ws.root), action, args)

    assert found["error"]["what"]
    assert found["error"]["fix"]


WRONG: tuple[Any, ...] = (3, -1, 1.5, True, "", "a\0b", "\ud800", [], [3], [None], {}, {"a": 1}, 10**400)


@pytest.mark.parametrize("action", sorted(all_actions()))
def test_every_field_of_every_action_is_checked(action: str) -> None:
    """Before anything is done with it: what does not fit its field is refused, by name."""
    fields = fields_of(action) or {}
    needed = {name for name, field in fields.items() if field.is_required}
    for name, field in fields.items():
        refused = [value for value in WRONG if not field.fits(value)]
        assert len(refused) > 5
        for value in refused:
            with pytest.raises(BadRequestError, match=f"^{name} must be {re.escape(field.words)}, not ") as caught:
                check(action, dict.fromkeys(needed, "x") | {name: value})
            assert caught.value.fix


@pytest.mark.parametrize("has_daemon", [False, True])
def test_a_flow_nobody_knows_cannot_be_reset(ws: WorkspaceFiles, has_daemon: bool) -> None:
    """Whoever asks, the panel or Python: it is told the nearest name; one that is gone but has a history can be."""
    flows.fill(ws.root, good=flows.GOOD)
    workspace = Workspace(ws.root)
    load_flow("good", data_root=ws.root).run_once()
    if has_daemon:
        workspace.start()
    (ws.modules / "good.ipynb").rename(ws.modules / "better.ipynb")
    try:
        found = answer(str(ws.root), "reset", {"flow": "bettr"})
        with pytest.raises(FlowValidationError, match="'bettr' is not available") as caught:
            workspace.reset("bettr")

        assert found["error"]["what"] == caught.value.what
        assert found["error"]["fix"] == caught.value.fix == "did you mean better?"
        assert answer(str(ws.root), "reset", {"flow": "good"})["result"] == (
            'Forgot 1 run of flow "good"; every source is due again.'
        )
    finally:
        workspace.kill()


def test_looking_changes_nothing() -> None:
    """After the others the status is read again."""
    assert all(map(changes, ("run", "start_engine", "deploy", "take_over", "reset")))
    assert not any(map(changes, ("flow", "run_details", "inspect", "settings")))


def test_a_place_is_known_by_everything_that_makes_it(ws: WorkspaceFiles) -> None:
    """Folder, identity, machine and state."""
    place = place_of(Workspace(ws.root))

    assert is_here(place)
    assert not any(is_here(place | {name: "other"}) for name in place)
    assert not is_here({})


def test_a_cell_shows_the_panel_and_a_snapshot_of_it(ws: WorkspaceFiles) -> None:
    """For JupyterLab, for any front-end with widgets, for those that show HTML, and as text."""
    ws.notebook("good", flows.GOOD)
    shown = panel(ws.root)
    data, _ = shown._repr_mimebundle_()
    shown.close()

    assert set(data) >= {PANEL_MIME, "application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert data[PANEL_MIME]["place"] == place_of(Workspace(ws.root))
    assert list(data[PANEL_MIME]["view"]["flows"]) == ["good"]
    assert "Snapshot of" in data["text/html"]
    assert "Run this cell again to go live" in data["text/html"]


def test_a_snapshot_stays_small() -> None:
    """Those flows that need somebody are kept, of many others only some."""
    marks = {f"flow_{number}": {"mark": {"tone": "bad" if number == 499 else "good"}} for number in range(500)}
    view = {"flows": marks, "groups": [{"name": "G", "flows": list(marks)}], "active": [1], "notices": [2]}

    kept = snapshot(view)

    assert len(kept["flows"]) == SNAPSHOT_FLOWS
    assert "flow_499" in kept["flows"]
    assert set(kept["groups"][0]["flows"]) == set(kept["flows"])
    assert (kept["active"], kept["notices"]) == ([], [])


def test_starting_the_engine_names_what_is_not_deployed(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """A new notebook does not run because an engine starts."""
    workspace.deploy()
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    assert ask(workspace, "start_engine") == (
        "The engine is on: 1 of 4 flows runs by itself. Not deployed, so nothing of it runs by itself: broken. To deploy it: Deploy."
    )
    ws.module("fresh", flows.GOOD)
    workspace.link.require().post("/look")
    fresh = ask(workspace, "start_engine")

    assert fresh.endswith(
        "Not deployed, so nothing of them runs by itself: broken, fresh. To deploy them: `data-engine deploy`."
    )


def test_without_a_daemon_an_edit_is_not_shown_as_what_production_runs(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    """Nor does it seem to run by itself: trigger, steps and description are those that the daemon will have."""
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    workspace.deploy()
    (ws.modules / "good.ipynb").write_bytes(notebook_bytes(flows.NIGHTLY))
    status = {flow.name: flow for flow in WorkspaceStatus.read(from_child(workspace.root, "status")).flows}["good"]
    closely = ask(workspace, "flow", flow="good")
    ask(workspace, "start")
    until(lambda: workspace.status().flows)
    with_daemon = {flow.name: flow for flow in workspace.status().flows}["good"]

    assert (status.mode, status.trigger, status.title) == ("manual", with_daemon.trigger, with_daemon.title)
    assert status.state == with_daemon.state
    assert status.deployment_status == with_daemon.deployment_status
    assert status.deployment_status.kind == "edited"
    assert closely["description"] == "Adds up"
    assert [step["label"] for step in closely["steps"]] == ["Read", "Total: of all"]


def test_a_run_of_a_polled_flow_asks_before_it_takes_files_that_are_done(workspace: Workspace) -> None:
    """What is due can be run alone; a flow without files, or one file by name, runs at once, and so does who has asked already."""
    workspace.deploy()
    first = ask(workspace, "run", flow="polled", take="ask")
    ask(workspace, "run", flow="polled", source="00.csv", take="ask")
    until(lambda: [run.status for run in workspace.runs("polled")] == ["success"])
    question = ask(workspace, "run", flow="polled", take="ask")["question"]
    due = ask(workspace, "run", flow="polled", take="due")
    until(lambda: sorted(run.status for run in workspace.runs("polled")) == ["failed", "success", "success"])

    assert first == {
        "run_ids": [],
        "question": {"text": "Run Polled: 3 files are due.", "answers": [["Run all 3", "all"]]},
    }
    assert question["text"] == "Run Polled: 2 files are due, 1 is done."
    assert question["answers"] == [["Run the 2 due", "due"], ["Run all 3", "all"]]
    assert (len(due["run_ids"]), due["said"]) == (2, "polled: 2 runs started.")
    assert len(ask(workspace, "run", flow="good", take="ask")["run_ids"]) == 1
    assert len(ask(workspace, "run", flow="polled")["run_ids"]) == 3


def test_a_deploy_is_asked_where_the_notebook_was_not_as_in_its_kernel(workspace: Workspace) -> None:
    """What differed is shown; the answer deploys it, and where nothing differed nothing is asked."""
    from data_engine.proof.verdict import ValueDifference, Verdict, cells_in
    from data_engine.proof.verdict_store import keep

    path = workspace.layout.flow_modules_dir / "compared.ipynb"
    path.write_bytes(
        notebook_bytes("from data_engine import Flow\ndef build():\n    return Flow(group='G').step(lambda c: 1)")
    )
    cells = cells_in(path, path.read_bytes())
    differs = Verdict("2026-01-05T09:32:00+00:00", cells, (ValueDifference("RATE", "2", "1", (3,)),))
    keep(workspace.home, "compared", differs)

    question = ask(workspace, "deploy", name="compared")["question"]

    assert "`RATE` is 2 here, 1 in production: cell 3 changes it" in question["text"]
    assert not workspace.deployments("compared")
    agreed = [question["answers"][0][1]]
    assert "deployed      compared.ipynb" in ask(workspace, "deploy", name="compared", agreed=agreed)["html"]
    keep(workspace.home, "compared", Verdict("2026-01-05T09:32:00+00:00", cells))
    assert "unchanged     compared.ipynb" in ask(workspace, "deploy", name="compared")["html"]
