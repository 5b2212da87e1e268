"""Staged mirrors: outputs appear whole when their run has succeeded, and a run that fails changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_engine import Flow, Workspace
from data_engine.engine import publication
from data_engine.engine.publication import STAGING, tidy
from data_engine.engine.stage import Maker, Stage
from data_engine.errors import FlowExecutionError, FlowValidationError, LedgerError
from data_engine.flow.context import FlowContext
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.outputs import runs_of_stages
from data_engine.model import RunFinished, RunStarted
from data_engine.nofollow import opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("a")
    return tmp_path


def staged(folder: Path, *steps: Callable[[FlowContext], Any], **more: Any) -> Flow:
    flow = Flow(group="G", name="f").watch(mode="manual", source=folder / "in", **more)
    flow = flow.mirror(root=folder / "out", staged=True)
    for step in steps:
        flow = flow.step(step)
    return flow


def is_empty(folder: Path) -> bool:
    """Whether nothing is left beside the mirror, but for an empty stage that the next run takes."""
    return (
        not [path for path in (folder / STAGING).rglob("*") if path.is_file()]
        and len(list((folder / STAGING).iterdir())) <= 1
    )


def outputs(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder / "out").as_posix(): path.read_text() for path in (folder / "out").rglob("*.*")}


def test_what_a_run_writes_takes_its_place_when_it_has_succeeded(folder: Path) -> None:
    """By final paths in what it returns, and nothing is left beside the mirror."""

    def write(context: FlowContext) -> list[Path]:
        assert context.mirror is not None
        one, other = context.mirror.with_suffix(".txt"), context.mirror.namespaced_file("deep.txt")
        one.write_text("one")
        other.write_text("other")
        (context.mirror.dir / "more.txt").write_text("more")
        assert not (folder / "out").exists()
        assert context.mirror.final(one) == folder / "out" / "a.txt"
        return [one, other]

    def read_back(context: FlowContext) -> str:
        return str([path.read_text() for path in context.current])

    (done,) = staged(folder, write, read_back).run_once()

    assert done.current == "['one', 'other']"
    assert done.metadata["step_outputs"] == {"Write": [folder / "out/a.txt", folder / "out/a/deep.txt"]}
    assert outputs(folder) == {"a.txt": "one", "a/deep.txt": "other", "a/more.txt": "more"}
    assert is_empty(folder)


def test_a_run_that_fails_changes_no_output(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "a.txt").write_text("good")

    def write(context: FlowContext) -> None:
        assert context.mirror is not None
        context.mirror.with_suffix(".txt").write_text("half")
        context.mirror.root_file("new.txt").write_text("half")
        raise ValueError("boom")

    with pytest.raises(FlowExecutionError):
        staged(folder, write).run_once()

    assert outputs(folder) == {"a.txt": "good"}
    assert is_empty(folder)


@pytest.mark.parametrize("look", ["run_once", "preview"])
def test_two_sources_of_one_output_are_told_by_the_output_as_people_know_it(folder: Path, look: str) -> None:
    """Not by the path it has in the stage or in a preview's scratch folder."""
    (folder / "in" / "a.txt").write_text("a")

    def write(context: FlowContext) -> None:
        assert context.mirror is not None
        context.mirror.with_suffix(".parquet").write_text("x")

    with pytest.raises(FlowExecutionError) as caught:
        getattr(staged(folder, write), look)(source="a.txt")

    assert f"a.csv and a.txt in {folder / 'in'} would both write {folder / 'out' / 'a.parquet'}" in caught.value.what


def test_what_is_published_is_read_by_its_name(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "a.txt").write_text("1")

    def append(context: FlowContext) -> None:
        assert context.mirror is not None
        before = context.mirror.published("a.txt").read_text()
        context.mirror.with_suffix(".txt").write_text(before + "2")

    staged(folder, append).run_once()

    assert outputs(folder) == {"a.txt": "12"}
    with pytest.raises(FlowValidationError):
        staged(folder, lambda context: context.mirror.published("../in/a.csv")).run_once()  # type: ignore[union-attr]


def test_a_long_run_publishes_before_its_end(folder: Path) -> None:
    seen: list[dict[str, str]] = []

    def write(context: FlowContext) -> None:
        assert context.mirror is not None
        for number in range(3):
            context.mirror.root_file("count.txt").write_text(str(number))
            context.mirror.publish()
            seen.append(outputs(folder))

    staged(folder, write).run_once()

    assert seen == [{"count.txt": str(number)} for number in range(3)]
    with pytest.raises(FlowExecutionError, match="not staged"):
        staged(folder, lambda context: context.mirror.publish()).mirror(root=folder / "plain").run_once()  # type: ignore[union-attr]


@pytest.mark.parametrize("by_name", [True, False])
def test_a_target_that_changed_meanwhile_is_not_replaced(folder: Path, by_name: bool) -> None:
    """Whether it was asked for by name or lies in a folder that was; nothing is published, and the source is due again."""
    (folder / "out").mkdir()
    target = folder / "out" / "a.txt"
    target.write_text("before")

    def write(context: FlowContext) -> None:
        assert context.mirror is not None
        if by_name:
            context.mirror.with_suffix(".txt").write_text("mine")
        else:
            (context.mirror.folder / "a.txt").write_text("mine")
        context.mirror.root_file("z.txt").write_text("mine")
        time.sleep(0.05)
        target.write_text("theirs")

    with pytest.raises(FlowValidationError, match=r"a\.txt was changed by another run or a person"):
        staged(folder, write).run_once()

    assert outputs(folder) == {"a.txt": "theirs"}


def test_all_targets_are_tried_before_the_first_takes_its_place(folder: Path) -> None:
    (folder / "out" / "z.txt").mkdir(parents=True)

    def write(context: FlowContext) -> None:
        assert context.mirror is not None
        context.mirror.root_file("a.txt").write_text("1")
        context.mirror.root_file("z.txt").write_text("2")

    with pytest.raises(FlowValidationError, match=r"z\.txt cannot be published: .*folder"):
        staged(folder, write).run_once()

    assert not (folder / "out" / "a.txt").exists()


def test_a_mirror_that_is_a_file_or_whose_folder_cannot_be_written_is_said(folder: Path) -> None:
    (folder / "out").write_text("a file")
    flow = staged(folder, lambda context: context.mirror.root_file("a.txt"))  # type: ignore[union-attr]

    with pytest.raises(FlowValidationError, match="cannot be written"):
        flow.run_once()


def test_a_lazy_frame_over_the_stage_is_named_in_the_log(folder: Path) -> None:
    def write(context: FlowContext) -> pl.LazyFrame:
        assert context.mirror is not None
        path = context.mirror.with_suffix(".parquet")
        pl.DataFrame({"x": [1]}).write_parquet(path)
        return pl.scan_parquet(path)

    ws = Workspace.create(folder / "ws")
    replace(staged(folder, write), _workspace_root=ws.root).run_once()

    (run,) = ws.runs("f")
    assert any("still reads from the stage" in line.message for line in ws.log(run.run_id))


KILLED = """
import os, sys
from pathlib import Path
from data_engine import Flow
from data_engine.engine import publication
folder = Path(sys.argv[1])
moved = publication.move
count = 0
def move(here, name, there, new_name=None):
    global count
    if here is not there and name.endswith(".txt"):  # a file onto itself only tries whether it is open
        count += 1
        if count == int(sys.argv[2]):
            os._exit(9)
    moved(here, name, there, new_name)
publication.move = move
def write(context):
    for number in range(3):
        context.mirror.root_file(f"{number}.txt").write_text("new")
flow = Flow(group="G", name="f", _workspace_root=folder / "ws").watch(mode="manual", source=folder / "in")
flow.mirror(root=folder / "out", staged=True).step(write).run_once()
"""


def killed_while_publishing(folder: Path, at: int) -> None:
    """A run of the flow in a process of its own, killed before its output number `at` takes its place."""
    (folder / "out").mkdir(exist_ok=True)
    for number in range(3):
        (folder / "out" / f"{number}.txt").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(at)], check=False)
    assert done.returncode == 9


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_crash_while_publishing_is_only_ever_finished(folder: Path, at: int) -> None:
    """By the next run of the source, which does its work again; no mixture of old and new is left."""
    ws = Workspace.create(folder / "ws")
    killed_while_publishing(folder, at)
    assert sorted(outputs(folder).values()) == ["new"] * (at - 1) + ["old"] * (4 - at)

    def look(context: FlowContext) -> list[str]:
        return sorted(outputs(folder).values())

    (context,) = replace(staged(folder, look), _workspace_root=ws.root).run_once()

    assert context.current == ["new"] * 3
    assert is_empty(folder)


@pytest.mark.parametrize("holder", [None, "Microsoft Excel (process 7)"])
def test_a_target_that_is_held_open_waits_and_a_retry_publishes_without_the_steps(
    folder: Path, monkeypatch: pytest.MonkeyPatch, holder: str | None
) -> None:
    """As Excel on Windows does; here the rename says so. Who holds it is named where the system tells."""
    monkeypatch.setattr(publication, "HELD_S", 0.2)
    calls: list[int] = []

    def write(context: FlowContext) -> None:
        calls.append(1)
        assert context.mirror is not None
        context.mirror.root_file("a.txt").write_text("new")

    ws = Workspace.create(folder / "ws")
    flow = replace(
        Flow(group="G", name="f")
        .watch(mode="poll", source=folder / "in", interval="1s")
        .mirror(root=folder / "out", staged=True)
        .step(write),
        _workspace_root=ws.root,
    )
    with monkeypatch.context() as held:

        def refuse(here: object, name: str, there: object) -> None:
            raise OSError(16, "Device or resource busy", name)

        held.setattr(publication, "move", refuse)
        held.setattr(publication, "who_holds", lambda path: holder)
        with pytest.raises(FlowValidationError, match=re.escape(f"a.txt is open in {holder or 'another program'}, ")):
            flow.run_once()
    (run,) = ws.runs("f")
    assert run.why is not None
    assert run.why.kind == "target_held"

    flow.run_once()

    assert outputs(folder) == {"a.txt": "new"}
    assert len(calls) == 1
    assert is_empty(folder)


@pytest.mark.parametrize(("number", "is_held"), [(99, True), (5, False)])
def test_what_says_that_a_target_is_held_is_decided_in_one_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_held: bool
) -> None:
    """A number that the system's own module takes for it is waited for, as one of a program that has the file mapped (1224)."""

    def refuse(here: object, name: str, there: object) -> None:
        raise OSError(number, "refused", name)

    monkeypatch.setattr(publication, "HELD_S", 0.0)
    monkeypatch.setattr(publication, "is_open_elsewhere", lambda error: error.errno == 99)
    monkeypatch.setattr(publication, "move", refuse)

    with opened(folder) as place, pytest.raises(FlowValidationError) as told:
        publication.replace(place, "a.txt", place, folder / "a.txt")
    assert isinstance(told.value, publication.TargetHeldError) is is_held


def test_stages_of_runs_that_are_over_are_removed_by_their_machine_or_by_the_owner(folder: Path) -> None:
    """Of a run that the history does not know only after a week; of one that goes on never."""
    out, staging = folder / "out", folder / STAGING
    out.mkdir()
    ledger = Ledger.open(folder / "ledger.sqlite")
    for run_id, status in {"r0": "failed", "r1": "failed", "r2": None, "r3": "failed", "r6": "abandoned"}.items():
        ledger.record(RunStarted(run_id, "f", "G", None, 1.0))
        if status is not None:
            ledger.record(RunFinished(run_id, status, 2.0, 1.0))
    for name in ("here-r0", "here-r1", "here-r2", "there-r3", "there-r4", "there-r5", "here-r6"):
        (staging / name / "deep").mkdir(parents=True)
        (staging / name / "deep" / "x.txt").write_text("x")
    week_ago_s = time.time() - 8 * 86_400
    for name in ("here-r1", "here-r2", "there-r3", "there-r4"):
        for path in (*(staging / name).rglob("*"), staging / name):
            os.utime(path, (week_ago_s, week_ago_s))
    (staging / "notes.json").write_text("not ours")

    def tidied(**more: Any) -> list[str]:
        runs = partial(runs_of_stages, ledger.path)
        tidy(out, machine="here", runs=runs, now_s=time.time(), **more)
        return sorted(path.name for path in staging.iterdir() if path.is_dir())

    assert tidied(is_owner=False) == ["here-r0", "here-r2", "there-r3", "there-r4", "there-r5"]
    assert tidied(is_owner=True) == ["here-r0", "here-r2", "there-r5"]
    assert (staging / "notes.json").read_text() == "not ours"
    ledger.close()


KILLED_AT_WORK = """
import os, sys
from pathlib import Path
from data_engine import Flow
folder = Path(sys.argv[1])
def write(context):
    context.mirror.root_file("a.txt").write_text("half")
    os._exit(9)
flow = Flow(group="G", name="f", _workspace_root=folder / "ws").watch(mode="manual", source=folder / "in")
flow.mirror(root=folder / "out", staged=True).step(write).run_once()
"""


def test_the_next_run_removes_the_stages_of_the_flows_runs_that_were_killed(folder: Path) -> None:
    """Where no daemon runs nobody else does; a stage of another flow, or of nobody, is left."""
    ws = Workspace.create(folder / "ws")
    subprocess.run([sys.executable, "-c", KILLED_AT_WORK, str(folder)], check=False)
    (folder / STAGING / "somebody-else").mkdir()
    assert len(list((folder / STAGING).iterdir())) == 2

    replace(staged(folder, lambda context: None), _workspace_root=ws.root).run_once()

    assert [path.name for path in (folder / STAGING).iterdir()] == ["somebody-else"]


def test_a_list_that_cannot_be_kept_publishes_nothing(folder: Path) -> None:
    """Without it nobody could finish what a crash has cut short."""

    def refuse(event: object) -> None:
        raise LedgerError("the disk is full", where="the ledger", fix="make room")

    stage = Stage(Flow("G").mirror(root=folder / "out", staged=True), Maker("here", "r"), record=refuse)
    for name in ("a.txt", "b.txt"):
        stage.enter(stage.folder / name, is_folder=False)
        (stage.folder / name).write_text("new")

    with pytest.raises(LedgerError):
        stage.succeed(lambda: "")
    assert list((folder / "out").iterdir()) == []


def test_an_output_that_is_byte_for_byte_as_it_was_stays_as_it_is(folder: Path) -> None:
    """So nothing that reads it becomes due; of two files only the one that differs is replaced."""
    staged(folder, lambda context: write_two(context, "same", "1")).run_once()
    before = {path.name: path.stat() for path in (folder / "out").iterdir()}

    staged(folder, lambda context: write_two(context, "same", "2")).run_once()

    after = {path.name: path.stat() for path in (folder / "out").iterdir()}
    assert (after["a.txt"].st_ino, after["a.txt"].st_mtime_ns) == (before["a.txt"].st_ino, before["a.txt"].st_mtime_ns)
    assert after["b.txt"].st_ino != before["b.txt"].st_ino
    assert outputs(folder) == {"a.txt": "same", "b.txt": "2"}
    assert is_empty(folder)


def write_two(context: FlowContext, one: str, other: str) -> None:
    assert context.mirror is not None
    context.mirror.root_file("a.txt").write_text(one)
    context.mirror.root_file("b.txt").write_text(other)
