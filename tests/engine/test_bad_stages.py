"""Stages and scratch on drives that are full, away, read-only or others than they seem."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data_engine import Flow
from data_engine.engine.publication import STAGING
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.flow.context import FlowContext
from tests.engine.test_bad_places import mounted


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Path]:
    """A drive of 256 kB."""
    folder = tmp_path / "drive"
    folder.mkdir()
    yield from mounted(folder)


def flow_into(root: Path, step: Callable[[FlowContext], Any]) -> Flow:
    return Flow(group="G", name="f").mirror(root=root, staged=True).step(step)


def fill(size: int) -> Callable[[FlowContext], None]:
    def write(context: FlowContext) -> None:
        assert context.mirror is not None
        context.mirror.root_file("small.txt").write_text("new")
        context.mirror.root_file("large.bin").write_bytes(b"x" * size)

    return write


def test_a_drive_that_is_full_while_staging_changes_no_output(drive: Path) -> None:
    (drive / "out").mkdir()
    (drive / "out" / "small.txt").write_text("old")

    with pytest.raises(FlowExecutionError, match="No space left"):
        flow_into(drive / "out", fill(1_000_000)).run_once()

    assert (drive / "out" / "small.txt").read_text() == "old"
    assert [path for path in (drive / STAGING).rglob("*") if path.is_file()] == []
    flow_into(drive / "out", fill(1000)).run_once()
    assert (drive / "out" / "small.txt").read_text() == "new"


def test_a_drive_that_is_full_once_all_is_staged_publishes_all_the_same(drive: Path) -> None:
    """The last byte is taken between staging and publishing: the list is not kept there, and a rename needs no room."""
    (drive / "out").mkdir()
    for name in ("small.txt", "large.bin"):
        (drive / "out" / name).write_text("old")

    def write(context: FlowContext) -> None:
        fill(1000)(context)
        with open(drive / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass

    flow_into(drive / "out", write).run_once()

    assert {path.name: path.stat().st_size for path in (drive / "out").iterdir()} == {"small.txt": 3, "large.bin": 1000}


def test_a_mirror_that_is_a_drive_of_its_own_cannot_be_staged(drive: Path) -> None:
    """A file of the stage could not be renamed into it."""
    with pytest.raises(FlowExecutionError, match="is on another drive") as caught:
        flow_into(drive, fill(10)).run_once()

    assert "leave staged=True out" in str(caught.value.fix)
    assert list(drive.iterdir()) == []


def test_a_mirror_that_goes_away_or_becomes_a_file_while_a_run_works_is_said(tmp_path: Path) -> None:
    out = tmp_path / "away" / "out"
    out.mkdir(parents=True)

    def write(context: FlowContext) -> None:
        fill(10)(context)
        out.rmdir()
        out.write_text("a file now")

    with pytest.raises(FlowValidationError, match="cannot be published"):
        flow_into(out, write).run_once()

    assert out.read_text() == "a file now"


def test_of_two_runs_that_write_one_target_the_later_one_does_not_replace_the_earlier(tmp_path: Path) -> None:
    """In two threads, as two groups would; the one that published first stays."""
    first_is_done = threading.Event()

    def write(text: str, wait: threading.Event | None) -> Callable[[FlowContext], None]:
        def step(context: FlowContext) -> None:
            assert context.mirror is not None
            context.mirror.root_file("shared.txt").write_text(text)
            if wait is not None:
                assert wait.wait(10)

        return step

    slow = flow_into(tmp_path / "out", write("slow", first_is_done))
    errors: list[BaseException] = []

    def run_slow() -> None:
        try:
            slow.run_once()
        except FlowValidationError as error:
            errors.append(error)

    thread = threading.Thread(target=run_slow)
    thread.start()
    while not any((tmp_path / STAGING).glob("*/shared.txt")):
        pass
    Flow(group="H", name="g").mirror(root=tmp_path / "out", staged=True).step(write("quick", None)).run_once()
    first_is_done.set()
    thread.join()

    assert (tmp_path / "out" / "shared.txt").read_text() == "quick"
    assert [type(error).__name__ for error in errors] == ["TargetChangedError"]


def test_a_full_scratch_drive_stops_the_preview_with_its_fix(
    drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a flow without a workspace previews lies in the temporary folder."""
    monkeypatch.setattr("tempfile.tempdir", str(drive))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "large.bin").write_bytes(b"x" * 1_000_000)
    flow = Flow(group="G", name="f").mirror(root=tmp_path / "out")
    flow = flow.step(lambda context: context.mirror.root_file("large.bin"))  # type: ignore[union-attr]

    with pytest.raises(FlowValidationError, match="cannot copy what production has") as caught:
        flow.preview()

    assert "make room" in str(caught.value.fix)


TWO = """
import sys
from pathlib import Path
from data_engine import Flow
def write(context):
    path = context.mirror.root_file("a.txt")
    path.write_text(sys.argv[1])
    return path
path = Flow(group="G", name="f").mirror(root=sys.argv[2]).step(write).preview()
print(path.read_text(), flush=True)
sys.stdin.readline()
print(path.read_text(), flush=True)
"""


def test_two_kernels_preview_one_flow_side_by_side(tmp_path: Path) -> None:
    """Each has a scratch folder of its own."""
    kernels = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, text, str(tmp_path / "out")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for text in ("one", "two")
    ]
    seen = [kernel.stdout.readline().strip() for kernel in kernels]  # type: ignore[union-attr]
    again = [kernel.communicate("\n")[0].strip() for kernel in kernels]

    assert seen == again == ["one", "two"]
    assert not (tmp_path / "out").exists()
