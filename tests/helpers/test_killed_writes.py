"""A process killed in the middle of an atomic write leaves nothing for ever in the folder it wrote to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from data_engine import Workspace
from data_engine.helpers import write_parquet_atomic
from data_engine.unfinished import _folder, noted_target, remove_unfinished
from tests.support import WorkspaceFiles, end_now, until

WRITE = """
import sys, time
from pathlib import Path
import polars as pl
from data_engine.helpers import sink_parquet_atomic, write_excel_atomic, write_parquet_atomic

def slowly(frame):
    time.sleep(60)
    return frame

class Slow(pl.DataFrame):
    def write_parquet(self, path, **options):
        Path(path).write_bytes(b"half")
        time.sleep(60)

    def write_excel(self, book, **options):
        time.sleep(60)

frame, target = pl.DataFrame({"a": [1]}), sys.argv[2]
if sys.argv[1] == "sink":
    sink_parquet_atomic(frame.lazy().map_batches(slowly), target)
else:
    write_parquet_atomic(Slow(frame), target)
"""
FLOW = """
    import time
    from data_engine import Flow
    from data_engine.helpers import sink_parquet_atomic
    import polars as pl

    def slowly(frame):
        time.sleep(60)
        return frame

    def work(context):
        frame = pl.DataFrame({"a": [1]}).lazy().map_batches(slowly)
        return sink_parquet_atomic(frame, context.mirror.root_file("deep/a.parquet"))

    def build():
        return Flow(group="G").mirror(root="../out").step(work)
"""


def hidden(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*.tmp"))


def kill_in_the_middle(how: str, target: Path) -> Path:
    """What a writer killed with -9 in the middle of its write has left."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", WRITE, how, str(target)]) as writer:
        until(lambda: hidden(target.parent))
        writer.kill()
    (left,) = hidden(target.parent)
    return left


@pytest.mark.parametrize("how", ["sink", "write"])
def test_what_a_killed_writer_left_goes_with_the_next_write_anywhere(tmp_path: Path, how: str) -> None:
    """Of another process, to another folder; the old file and what only looks alike stay."""
    target = tmp_path / "out" / "a.parquet"
    write_parquet_atomic(pl.DataFrame({"a": [0]}), target)
    left = kill_in_the_middle(how, target)
    alike = [left.with_name(name) for name in (".a.parquet.0123456789ab.tmp", ".b.tmp", "a.parquet.0123456789ab.tmp")]
    for path in alike:
        path.write_text("the user's")
    code = f"import polars as pl; from data_engine.helpers import write_parquet_atomic as w; w(pl.DataFrame(), {str(tmp_path / 'else' / 'b.parquet')!r})"

    subprocess.run([sys.executable, "-c", code], check=True)

    assert not left.exists()
    assert all(path.read_text() == "the user's" for path in alike)
    assert pl.read_parquet(target).rows() == [(0,)]
    assert os.listdir(_folder()) == []


def test_a_daemon_removes_what_its_killed_worker_left(ws: WorkspaceFiles) -> None:
    """At once, though nothing is written any more."""
    ws.notebook("claims", FLOW)
    workspace = Workspace(ws.root)
    folder = ws.root / "out" / "deep"
    try:
        (run_id,) = workspace.run("claims", wait=False)
        until(lambda: folder.exists() and hidden(folder))
        workspace.kill_run(str(run_id))
        until(lambda: not hidden(folder))
        (run_id,) = workspace.run("claims", wait=False)
        until(lambda: hidden(folder))
        end_now(workspace.status()["daemon"]["pid"])
        until(lambda: not workspace.status()["daemon"]["running"])
        (left,) = hidden(folder)
        workspace.start()
        until(lambda: not left.exists())
        assert list(folder.iterdir()) == []
    finally:
        workspace.kill()


def test_what_is_being_written_is_left_alone(tmp_path: Path) -> None:
    """By its own process and by others."""
    target = tmp_path / "a.txt"
    with noted_target(target) as fresh:
        fresh.write_text("whole")
        remove_unfinished()
        subprocess.run(
            [sys.executable, "-c", "from data_engine.unfinished import remove_unfinished as r; r()"], check=True
        )
        assert fresh.read_text() == "whole"

    assert target.read_text() == "whole"
    assert os.listdir(_folder()) == []


def test_what_lies_on_a_drive_that_is_away_is_removed_when_it_is_back(tmp_path: Path) -> None:
    """The note waits, and is gone with the file."""
    target = tmp_path / "share" / "out" / "a.parquet"
    left = kill_in_the_middle("write", target)
    (tmp_path / "share").rename(tmp_path / "away")
    remove_unfinished()
    remove_unfinished()
    (tmp_path / "away").rename(tmp_path / "share")
    assert left.exists()

    remove_unfinished()
    assert not left.exists()
    assert os.listdir(_folder()) == []


OURS = ".a.parquet.0123456789ab.tmp"


@pytest.mark.parametrize(
    ("name", "kind"), [("letter.txt", "file"), (".a.parquet.tmp", "file"), (OURS, "link"), (OURS, "folder")]
)
def test_a_note_removes_nothing_that_is_no_file_of_its_shape(tmp_path: Path, name: str, kind: str) -> None:
    """Whatever it says."""
    precious = tmp_path / "precious.txt"
    precious.write_text("the user's")
    named = tmp_path / name
    if kind == "link":
        named.symlink_to(precious)
    elif kind == "folder":
        named.mkdir()
    else:
        named.write_text("the user's")
    _folder().mkdir(parents=True)
    (_folder() / "x.json").write_text(json.dumps({"path": str(named), "device": 1}))
    (_folder() / "y.json").write_text('{"path": 3')

    remove_unfinished()

    assert named.exists()
    assert precious.read_text() == "the user's"
    assert os.listdir(_folder()) == []


def test_where_no_note_can_be_kept_the_file_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(tmp_path / "file"))

    assert pl.read_parquet(write_parquet_atomic(pl.DataFrame({"a": [1]}), tmp_path / "a.parquet")).rows() == [(1,)]
