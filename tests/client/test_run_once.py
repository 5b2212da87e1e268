"""`run_once`: every source, recorded where the flow belongs, nothing lost on an error."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from data_engine import (
    Flow,
    FlowContext,
    FlowExecutionError,
    FlowStoppedError,
    FlowValidationError,
    Workspace,
    load_flow,
)
from data_engine.planning.due import PlannedFlow
from tests.support import WorkspaceFiles

READ = """
    from data_engine import Flow

    def read(context):
        text = context.source.path.read_text()
        if text == "bad":
            raise KeyError("amount")
        return text

    def build():
        return Flow(group="G").watch(mode="manual", source="../in", extensions=".txt").step(read, save_as="text")
"""


def filled(ws: WorkspaceFiles, *texts: str) -> None:
    for number, text in enumerate(texts):
        ws.source(f"in/{number}.txt", text)
    ws.notebook("claims", READ)


def test_one_context_for_each_source_in_sort_order(ws: WorkspaceFiles) -> None:
    filled(ws, "a", "b", "c")

    contexts = load_flow("claims", data_root=ws.root).run_once()

    assert [context.objects for context in contexts] == [{"text": "a"}, {"text": "b"}, {"text": "c"}]
    assert [context.error for context in contexts] == [None, None, None]


def test_the_end_of_a_file_is_in_the_history_before_the_next_one_is_read(ws: WorkspaceFiles) -> None:
    """Whoever dies in a later file loses none that was done; and after the last one nothing is open."""
    filled(ws, "a", "b", "c")
    ledger = Workspace(ws.root).home.local.ledger_path
    ws.notebook(
        "claims",
        f"""
        import sqlite3
        from data_engine import Flow

        def read(context):
            connection = sqlite3.connect({str(ledger)!r})
            return [status for (status,) in connection.execute("SELECT status FROM runs ORDER BY rowid")]

        def build():
            return Flow(group="G").watch(mode="manual", source="../in", extensions=".txt").step(read)
        """,
    )

    contexts = load_flow("claims", data_root=ws.root).run_once()

    assert [context.current for context in contexts] == [
        ["started"],
        ["success", "started"],
        ["success", "success", "started"],
    ]
    with closing(sqlite3.connect(ledger)) as connection:
        assert connection.execute("SELECT count(*) FROM runs WHERE status = 'success'").fetchone() == (3,)


def test_an_empty_folder_gives_no_context(ws: WorkspaceFiles) -> None:
    filled(ws)
    (ws.root / "in").mkdir()

    assert load_flow("claims", data_root=ws.root).run_once() == []


def test_the_first_failure_is_raised_with_what_finished_before(ws: WorkspaceFiles) -> None:
    filled(ws, "a", "bad", "c")

    with pytest.raises(FlowExecutionError) as caught:
        load_flow("claims", data_root=ws.root).run_once()

    assert [context.current for context in caught.value.completed] == ["a"]
    assert caught.value.step_label == "Read"
    assert isinstance(caught.value.__cause__, KeyError)
    assert [run.status for run in Workspace(ws.root).runs()] == ["failed", "success"]


def test_continue_tries_every_source_and_keeps_the_error(ws: WorkspaceFiles) -> None:
    filled(ws, "a", "bad", "c")

    contexts = load_flow("claims", data_root=ws.root).run_once(on_error="continue")

    assert [context.current for context in contexts] == ["a", None, "c"]
    assert isinstance(contexts[1].error, FlowExecutionError)
    assert [run.status for run in Workspace(ws.root).runs()] == ["success", "failed", "success"]


def test_source_picks_one_file_by_its_path_inside_the_root(ws: WorkspaceFiles) -> None:
    filled(ws, "a", "b")

    assert [c.current for c in load_flow("claims", data_root=ws.root).run_once(source="1.txt")] == ["b"]
    assert [c.current for c in load_flow("claims", data_root=ws.root).run_once(source=ws.root / "in/0.txt")] == ["a"]


@pytest.mark.parametrize("choice", ["none.txt", "", 5])
def test_a_source_that_is_none_of_the_flows_is_refused(ws: WorkspaceFiles, choice: object) -> None:
    filled(ws, "a")

    with pytest.raises(FlowValidationError) as caught:
        load_flow("claims", data_root=ws.root).run_once(source=choice)  # type: ignore[arg-type]

    assert caught.value.fix
    assert Workspace(ws.root).runs() == []


@pytest.mark.parametrize(
    ("choice", "what"),
    [
        ("~$mar.csv", "lock file"),
        (".~lock.mar.csv#", "lock file"),
        ("~nobody-of-this-name.csv", "not found"),
        ("deep", "is a folder"),
        (".", "is a folder"),
    ],
)
def test_a_source_that_is_no_data_says_what_it_is(ws: WorkspaceFiles, choice: str, what: str) -> None:
    """What completion offers beside the file that was meant."""
    ws.source("in/deep/x.csv")
    for name in ("~$mar.csv", ".~lock.mar.csv#"):
        ws.source(f"in/{name}")
    flow = Flow(group="G").watch(mode="manual", source=ws.root / "in").step(print)

    with pytest.raises(FlowValidationError, match=what):
        flow.preview(source=choice)


def test_a_source_that_may_not_be_read_is_refused_before_the_first_step(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what helps; the system's own error would come from the reader of some step."""
    secret = ws.source("in/secret.csv")

    def refuse(path: Path, size: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("data_engine.engine.candidates.head_of", refuse)
    flow = Flow(group="G").watch(mode="manual", source=ws.root / "in").step(print)

    with pytest.raises(FlowValidationError) as caught:
        flow.preview(source="secret.csv")

    assert caught.value.what == f"the source file cannot be read: {secret} (Permission denied)"
    assert caught.value.fix == "ask its owner for the right to read it, or close the program that has it open"


def test_a_mirror_in_the_source_folder_takes_what_is_no_source(ws: WorkspaceFiles) -> None:
    """Outputs lie beside their sources under another extension; one that would be a source itself is refused."""
    ws.source("in/a.csv")

    def write(context: FlowContext) -> Path:
        target = context.mirror.with_suffix(context.params.get("suffix", ".txt"))
        target.write_text("x")
        return target

    beside = Flow(group="G").watch(mode="manual", source=ws.root / "in", extensions=".csv").mirror(root=ws.root / "in")
    flow = beside.step(write)

    flow.run_once()
    assert [context.source.path.name for context in flow.run_once() if context.source] == ["a.csv"]
    assert sorted(os.listdir(ws.root / "in")) == ["a.csv", "a.txt"]
    ws.source("in/deep/b.csv")
    with pytest.raises(FlowValidationError, match="one more source"):
        beside.step(lambda context: context.mirror.root_file("out.csv")).run_once()
    assert PlannedFlow.of(replace(flow, name="f")).mirror is None  # else the folder would be passed over


def test_a_source_outside_the_root_is_refused(ws: WorkspaceFiles) -> None:
    filled(ws, "a")
    other = ws.source("other/a.txt")

    with pytest.raises(FlowValidationError, match="not under the flow's source"):
        load_flow("claims", data_root=ws.root).run_once(source=other)


def test_a_missing_source_is_a_recorded_failure_that_names_it(ws: WorkspaceFiles) -> None:
    ws.notebook("claims", READ)

    with pytest.raises(FlowValidationError, match="Source path not found"):
        load_flow("claims", data_root=ws.root).run_once()

    (run,) = Workspace(ws.root).runs()
    assert (run.status, run.source) == ("failed", str(ws.root / "in"))
    assert "Source path not found" in (run.error or "")


def test_a_source_that_was_meant_from_the_workspaces_folder_is_named(ws: WorkspaceFiles) -> None:
    """Relative paths start at `flow_modules`."""
    filled(ws, "a")
    ws.notebook("claims", READ.replace("../in", "in"))

    with pytest.raises(FlowValidationError, match=f"did you mean {re.escape(str(ws.root / 'in'))}"):
        load_flow("claims", data_root=ws.root).run_once()


def test_the_run_is_in_the_ledger_of_its_own_workspace(tmp_path: Path, ws: WorkspaceFiles) -> None:
    """Rows never go to the ledger of whatever workspace happens to be current."""
    filled(ws, "a")
    other = WorkspaceFiles(tmp_path / "other")
    other.notebook("claims", READ)

    load_flow("claims", data_root=ws.root).run_once()

    (run,) = Workspace(ws.root).runs()
    assert (run.flow, run.group, run.status, run.source) == ("claims", "G", "success", str(ws.root / "in/0.txt"))
    assert Workspace(other.root).runs() == []


def test_a_flow_that_belongs_to_no_workspace_leaves_nothing_behind(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))

    (context,) = Flow(group="G").step(lambda context: context.debug).run_once()

    assert context.current is None
    assert sorted(tmp_path.rglob("*")) == before


def test_steps_with_their_outputs_and_printed_lines_are_recorded(ws: WorkspaceFiles) -> None:
    ws.notebook(
        "claims",
        """
        import logging
        import sys
        from data_engine import Flow

        def write(context):
            print("to stdout")
            print("to stderr", file=sys.stderr)
            logging.getLogger("mine").warning("logged")
            context.log("by hand")
            target = context.mirror.root_file("out.txt")
            target.write_text("x")
            return target

        def build():
            return Flow(group="G").mirror(root="../out").step(write)
        """,
    )

    load_flow("claims", data_root=ws.root).run_once()

    workspace = Workspace(ws.root)
    (run,) = workspace.runs()
    (step,) = workspace.steps(run.run_id)
    assert (step.label, step.status, step.output_path) == ("Write", "success", str(ws.root / "out/out.txt"))
    assert [(line.level, line.step, line.message) for line in workspace.log(run.run_id)] == [
        ("INFO", "Write", "to stdout"),
        ("STDERR", "Write", "to stderr"),
        ("WARNING", "Write", "logged"),
        ("INFO", "Write", "by hand"),
    ]


def test_a_run_by_hand_of_a_poll_flow_settles_its_file(ws: WorkspaceFiles) -> None:
    source = ws.source("in/a.txt", "a")
    ws.notebook(
        "claims",
        """
        from data_engine import Flow
        def build():
            return Flow(group="G").watch(mode="poll", source="../in", interval="1s").step(lambda context: 1)
        """,
    )

    load_flow("claims", data_root=ws.root).run_once()

    (state,) = Workspace(ws.root).home.ledger().source_states("claims").values()
    facts = source.stat()
    assert (state.key.root, state.key.path, state.status) == ("../in", "a.txt", "success")
    assert state.success is not None
    assert (state.success.size_bytes, state.success.mtime_ns) == (facts.st_size, facts.st_mtime_ns)


def test_a_file_that_changed_while_it_was_read_is_not_done(ws: WorkspaceFiles) -> None:
    """The signature kept is the one before the run, so the changed file differs from it and is due again."""
    source = ws.source("in/a.txt", "a")
    ws.notebook(
        "claims",
        """
        import subprocess, sys
        from data_engine import Flow
        def somebody_writes(context):
            code = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('longer')"
            subprocess.run([sys.executable, "-c", code, str(context.source.path)], check=True)
        def build():
            return Flow(group="G").watch(mode="poll", source="../in", interval="1s").step(somebody_writes)
        """,
    )

    load_flow("claims", data_root=ws.root).run_once()

    workspace = Workspace(ws.root)
    (state,) = workspace.home.ledger().source_states("claims").values()
    assert state.success is not None
    assert state.success.size_bytes == 1 != source.stat().st_size
    (run,) = workspace.runs()
    assert "changed while it was read" in workspace.log(run.run_id)[-1].message


def test_metadata_is_seeded(ws: WorkspaceFiles) -> None:
    filled(ws, "a")

    (context,) = load_flow("claims", data_root=ws.root).run_once()

    assert context.metadata["file_hash"] == hashlib.sha1(b"../in/0.txt").hexdigest()
    assert context.metadata["started_at_utc"].endswith("+00:00")
    assert context.metadata["run_id"] == Workspace(ws.root).runs()[0].run_id
    assert context.metadata["step_outputs"] == {}


def test_params_reach_the_steps_and_cannot_be_changed_there() -> None:
    flow = Flow(group="G").step(lambda context: context.params["days"])

    assert flow.run_once(params={"days": 3})[0].current == 3
    with pytest.raises(FlowExecutionError, match="mappingproxy"):
        Flow(group="G").step(lambda context: context.params.update(x=1)).run_once(params={})


@pytest.mark.parametrize("params", [[1], "x", {1: 2}])
def test_params_that_are_no_mapping_of_names_are_refused(params: object) -> None:
    with pytest.raises(FlowValidationError, match="params"):
        Flow(group="G").step(str).run_once(params=params)  # type: ignore[arg-type]


def test_a_step_that_stops_the_flow_is_a_stopped_run(ws: WorkspaceFiles) -> None:
    ws.notebook(
        "claims",
        """
        from data_engine import Flow, FlowStoppedError
        def stop(context):
            raise FlowStoppedError("enough")
        def build():
            return Flow(group="G").step(stop)
        """,
    )

    with pytest.raises(FlowStoppedError, match="enough"):
        load_flow("claims", data_root=ws.root).run_once()

    (run,) = Workspace(ws.root).runs()
    assert (run.status, run.why and run.why.kind) == ("stopped", "stopped_by_flow")


def test_the_time_limit_acts_at_the_next_step(ws: WorkspaceFiles) -> None:
    ws.source("config/data_engine.toml", '[limits]\nrun_timeout = "200ms"\n')
    ws.notebook(
        "claims",
        """
        import time
        from data_engine import Flow
        def build():
            return Flow(group="G").step(lambda context: time.sleep(0.3)).step(lambda context: 1, label="Never")
        """,
    )

    with pytest.raises(FlowStoppedError, match="time limit"):
        load_flow("claims", data_root=ws.root).run_once()

    (run,) = Workspace(ws.root).runs()
    assert run.status == "killed"
    assert [step.label for step in Workspace(ws.root).steps(run.run_id)] == ["Lambda"]


def test_show_needs_exactly_one_source(ws: WorkspaceFiles) -> None:
    filled(ws, "a")
    assert load_flow("claims", data_root=ws.root).show() == "a"

    ws.source("in/9.txt", "b")
    with pytest.raises(FlowValidationError, match="exactly one result"):
        load_flow("claims", data_root=ws.root).show()


def test_a_run_inside_a_run_of_its_own_group_is_refused_not_deadlocked(ws: WorkspaceFiles) -> None:
    ws.notebook(
        "outer",
        f"""
        from data_engine import Flow, load_flow
        def build():
            return Flow(group="G").step(lambda context: load_flow("inner", data_root={str(ws.root)!r}).run_once())
        """,
    )
    ws.notebook(
        "inner",
        """
        from data_engine import Flow
        def build():
            return Flow(group="G").step(lambda context: 1)
        """,
    )

    with pytest.raises(FlowExecutionError, match="its own group"):
        load_flow("outer", data_root=ws.root).run_once()


def test_a_mirror_into_the_source_folder_itself_is_refused(ws: WorkspaceFiles) -> None:
    ws.source("in/a.txt")
    ws.notebook(
        "claims",
        """
        from data_engine import Flow
        def build():
            return Flow(group="G").watch(mode="poll", source="../in", interval="1s").mirror(root="../in")
        """,
    )

    with pytest.raises(FlowValidationError, match="source folder itself"):
        load_flow("claims", data_root=ws.root).run_once()


def test_what_a_flow_mirrors_into_its_source_folder_is_no_source(ws: WorkspaceFiles) -> None:
    ws.source("in/a.txt")
    ws.source("in/done/a.txt")
    ws.notebook(
        "claims",
        """
        from data_engine import Flow
        def build():
            return Flow(group="G").watch(mode="poll", source="../in", interval="1s").mirror(root="../in/done").step(str)
        """,
    )

    contexts = load_flow("claims", data_root=ws.root).run_once()

    assert [context.source.path for context in contexts if context.source] == [ws.root / "in/a.txt"]


BESIDE = """
    import threading, time
    from data_engine import Flow

    running, most, lock = [], [0], threading.Lock()

    def read(context):
        text = context.source.path.read_text()
        with lock:
            running.append(text)
            most[0] = max(most[0], len(running))
        deadline = time.monotonic() + {patience}
        while text != "bad" and most[0] < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        with lock:
            running.remove(text)
        if text == "bad":
            raise KeyError("amount")
        return text, most[0]

    def build():
        return (
            Flow(group="G")
            .watch(mode="manual", source="../in", extensions=".txt", max_parallel={at_once})
            .step(read, save_as="text")
        )
"""


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (2, 2)])
def test_as_many_sources_run_at_once_as_the_flow_says(ws: WorkspaceFiles, at_once: int, most: int) -> None:
    """And their contexts come in order."""
    filled(ws, "a", "b", "c", "d")
    ws.notebook("claims", BESIDE.format(at_once=at_once, patience=10 if at_once > 1 else 0.05))

    contexts = load_flow("claims", data_root=ws.root).run_once()

    assert [context.current[0] for context in contexts] == ["a", "b", "c", "d"]
    assert contexts[-1].current[1] == most
    assert [run.status for run in Workspace(ws.root).runs()] == ["success"] * 4


def test_of_sources_that_run_at_once_the_first_failure_is_raised(ws: WorkspaceFiles) -> None:
    """When what runs has ended; no more begin."""
    filled(ws, "a", "bad", "c", "d", "e", "f")
    ws.notebook("claims", BESIDE.format(at_once=2, patience=10))

    with pytest.raises(FlowExecutionError) as caught:
        load_flow("claims", data_root=ws.root).run_once()

    assert "a" in [context.current[0] for context in caught.value.completed]
    assert len(Workspace(ws.root).runs()) < 6


def test_of_sources_that_run_at_once_every_one_is_tried_where_errors_are_kept(ws: WorkspaceFiles) -> None:
    """As of those one after the other."""
    filled(ws, "a", "bad", "c")
    ws.notebook("claims", BESIDE.format(at_once=3, patience=10))

    contexts = load_flow("claims", data_root=ws.root).run_once(on_error="continue")

    assert [context.error is None for context in contexts] == [True, False, True]
