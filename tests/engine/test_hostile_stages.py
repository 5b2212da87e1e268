"""Whoever may write beside a staged mirror can neither move nor overwrite a file elsewhere, nor make anybody wait or run out of memory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_engine import Flow, Workspace
from data_engine.daemon.daemon import StageSweeper
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.flow.context import FlowContext
from data_engine.workspace.machine import machine_id

STAGING = ".data_engine_staging"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that others may write to, with a mirror and somebody's home beside it."""
    for name in ("in", "share/out", "home/.ssh"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "in" / "a.csv").write_text("a")
    (tmp_path / "home" / ".ssh" / "id_rsa").write_text("private")
    (tmp_path / "home" / ".bashrc").write_text("mine")
    return tmp_path


@pytest.fixture
def ws(folder: Path) -> Workspace:
    return Workspace.create(folder / "ws")


def staged(folder: Path, step: Callable[[FlowContext], Any]) -> Flow:
    flow = Flow(group="G", name="f", _workspace_root=folder / "ws").watch(mode="manual", source=folder / "in")
    return flow.mirror(root=folder / "share" / "out", staged=True).step(step)


def nothing(context: FlowContext) -> None:
    pass


def home_of(folder: Path) -> dict[str, str]:
    home = folder / "home"
    return {path.relative_to(home).as_posix(): path.read_text() for path in home.rglob("*") if path.is_file()}


AS_IT_WAS = {".ssh/id_rsa": "private", ".bashrc": "mine"}


def plant(folder: Path, ws: Workspace, *names: str, run_id: str = "r0", machine: str | None = None) -> Path:
    """A stage's list as an earlier Data Engine wrote it, of these files as they are in the stage; where the stage is."""
    stage = folder / "share" / STAGING / f"{machine or machine_id(ws.home.local.state_root)}-{run_id}"
    facts = [(name, (stage / name).stat()) for name in names]
    crafted = {
        "final_root": str(folder / "share" / "out"),
        "machine": machine or machine_id(ws.home.local.state_root),
        "run_id": run_id,
        "flow": "f",
        "files": [(name, one.st_size, one.st_mtime_ns) for name, one in facts],
    }
    path = stage.with_name(f"{stage.name}.json")
    path.write_text(json.dumps(crafted))
    os.utime(path, (time.time() - 3600,) * 2)
    return stage


def sweep(folder: Path, ws: Workspace) -> None:
    sweeper = StageSweeper(ws.home.ledger(), ws.home)
    sweeper.sweep([staged(folder, nothing)], is_owner=True)


def both(folder: Path, ws: Workspace) -> None:
    """The daemon's sweep, and the next run of the flow."""
    sweep(folder, ws)
    staged(folder, nothing).run_once()


def test_a_link_in_place_of_a_stage_moves_nothing_into_the_mirror(folder: Path, ws: Workspace) -> None:
    (folder / "share" / STAGING).mkdir()
    stage = folder / "share" / STAGING / f"{machine_id(ws.home.local.state_root)}-r0"
    stage.symlink_to(folder / "home" / ".ssh")
    plant(folder, ws, "id_rsa")

    both(folder, ws)

    assert home_of(folder) == AS_IT_WAS
    assert list((folder / "share" / "out").iterdir()) == []


def test_a_link_inside_the_mirror_leads_nothing_out_of_it(folder: Path, ws: Workspace) -> None:
    stage = folder / "share" / STAGING / f"{machine_id(ws.home.local.state_root)}-r0"
    (stage / "sub").mkdir(parents=True)
    (stage / "sub" / ".bashrc").write_text("theirs")
    plant(folder, ws, "sub/.bashrc")
    (folder / "share" / "out" / "sub").symlink_to(folder / "home")

    both(folder, ws)

    assert home_of(folder) == AS_IT_WAS


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_does_not_publish_through_a_link_inside_its_mirror(folder: Path, ws: Workspace, count: int) -> None:
    """Nor make a folder there; all its outputs stay as they were."""
    (folder / "share" / "out" / "sub").symlink_to(folder / "home")

    def write(context: FlowContext) -> None:
        assert context.mirror is not None
        context.mirror.root_file("a.txt").write_text("new")
        for number in range(count):
            context.mirror.root_file(f"sub/deep{number}/.bashrc").write_text("new")

    with pytest.raises(FlowValidationError, match="cannot be published: it is a link"):
        staged(folder, write).run_once()

    assert home_of(folder) == AS_IT_WAS
    assert sorted(path.name for path in (folder / "home").iterdir()) == [".bashrc", ".ssh"]
    assert sorted(path.name for path in (folder / "share" / "out").iterdir()) == ["sub"]


@pytest.mark.parametrize("link", [STAGING, "out"])
def test_a_mirror_or_its_stages_that_are_a_link_are_refused_before_anything_is_written(
    folder: Path, ws: Workspace, link: str
) -> None:
    def write(context: FlowContext) -> None:
        assert context.mirror is not None
        context.mirror.root_file(".bashrc").write_text("new")

    flow = staged(folder, write)
    (folder / "share" / "out").rmdir()
    (folder / "share" / link).symlink_to(folder / "home")

    with pytest.raises(FlowExecutionError, match="it is a link"):
        flow.run_once()

    assert home_of(folder) == AS_IT_WAS


def test_a_stage_that_becomes_a_link_while_its_run_works_publishes_nothing(folder: Path, ws: Workspace) -> None:
    def write(context: FlowContext) -> None:
        assert context.mirror is not None
        stage = context.mirror.root_file("id_rsa").parent
        stage.rename(stage.with_name("elsewhere"))
        stage.symlink_to(folder / "home" / ".ssh")

    with pytest.raises(FlowValidationError, match="the stage of the run cannot be read"):
        staged(folder, write).run_once()

    assert home_of(folder) == AS_IT_WAS
    assert list((folder / "share" / "out").iterdir()) == []


def test_links_and_pipes_that_appear_in_a_stage_are_not_published_and_that_is_said(folder: Path, ws: Workspace) -> None:
    def write(context: FlowContext) -> None:
        assert context.mirror is not None
        stage = context.mirror.root_file("a.txt").parent
        (stage / "a.txt").write_text("new")
        (stage / "key").symlink_to(folder / "home" / ".ssh" / "id_rsa")
        (stage / "ssh").symlink_to(folder / "home" / ".ssh")
        os.mkfifo(stage / "pipe")

    staged(folder, write).run_once()

    (run,) = ws.runs("f")
    assert [path.name for path in (folder / "share" / "out").iterdir()] == ["a.txt"]
    assert any("only plain files are published, not key, pipe, ssh" in line.message for line in ws.log(run.run_id))
    assert home_of(folder) == AS_IT_WAS
    assert not [path for path in (folder / "share" / STAGING).rglob("*") if path.is_symlink() or path.is_file()]


SWEPT = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.engine.test_hostile_stages import both
from data_engine import Workspace
folder = Path(sys.argv[1])
ws = Workspace(folder / "ws")
ws.home.ledger()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_AS, (4_000_000_000, 4_000_000_000))
both(folder, ws)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("what", ["pipe for a list", "pipe for a stage", "pipe in a stage", "sparse list"])
def test_what_others_put_beside_a_mirror_costs_neither_time_nor_memory(folder: Path, ws: Workspace, what: str) -> None:
    staging = folder / "share" / STAGING
    name = f"{machine_id(ws.home.local.state_root)}-r0"
    staging.mkdir()
    if what == "pipe for a list":
        (staging / name).mkdir()
        os.mkfifo(staging / f"{name}.json")
    elif what == "pipe for a stage":
        os.mkfifo(staging / name)
    elif what == "pipe in a stage":
        (staging / name).mkdir()
        os.mkfifo(staging / name / "a.txt")
        plant(folder, ws, "a.txt")
    else:
        (staging / name).mkdir()
        with open(staging / f"{name}.json", "wb") as file:
            file.truncate(3_000_000_000)
    root = str(Path(__file__).parents[2])

    done = subprocess.run(
        [sys.executable, "-c", SWEPT, str(folder), root], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 100_000, "kB more than before"


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from data_engine.engine import publication
from tests.engine.test_hostile_stages import staged
moved = publication.move
def move(here, name, there, new_name=None):
    if here is not there and name == "b.txt":
        os._exit(9)
    moved(here, name, there, new_name)
publication.move = move
def write(context):
    for name in ("a.txt", "b.txt", "deep/c.txt"):
        context.mirror.root_file(name).write_text("new")
staged(Path(sys.argv[1]), write).run_once()
"""


def killed(folder: Path) -> Path:
    """The stage of a run that was killed while it published: a.txt is in place, b.txt and deep/c.txt are not."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), root], check=False)
    assert done.returncode == 9
    (stage,) = (path for path in (folder / "share" / STAGING).iterdir() if path.is_dir())
    return stage


def seen(folder: Path) -> dict[str, str]:
    out = folder / "share" / "out"
    found = [path for path in out.rglob("*") if path.is_file() and not path.is_symlink()]
    return {path.relative_to(out).as_posix(): path.read_text() for path in found}


@pytest.mark.parametrize("what", ["as it was", "pipe", "link", "other bytes", "gone"])
def test_only_what_was_listed_is_finished_after_a_kill(folder: Path, ws: Workspace, what: str) -> None:
    """With the bytes it had then; a plain file of another content, a link or a pipe never takes its place."""
    path = killed(folder) / "b.txt"
    facts = path.stat()
    if what != "as it was":
        path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to(folder / "home" / ".bashrc")
    elif what == "other bytes":
        path.write_text("NEW")
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    staged(folder, nothing).run_once()

    whole = {"a.txt": "new", "b.txt": "new", "deep/c.txt": "new"}
    assert seen(folder) == (whole if what == "as it was" else {"a.txt": "new", "deep/c.txt": "new"})
    assert home_of(folder) == AS_IT_WAS


@pytest.mark.parametrize("place", ["stage/deep", "out/deep", "stage", "out"])
def test_a_link_that_is_put_in_after_a_kill_leads_nowhere(folder: Path, ws: Workspace, place: str) -> None:
    flow, stage = staged(folder, nothing), killed(folder)
    where = stage / "deep" if place == "stage/deep" else stage
    if place.startswith("out"):
        where = folder / "share" / place
    if where.exists():
        where.rename(folder / "moved")
    where.symlink_to(folder / "home")

    StageSweeper(ws.home.ledger(), ws.home).sweep([flow], is_owner=True)
    flow.run_once()

    assert home_of(folder) == AS_IT_WAS
    assert sorted(path.name for path in (folder / "home").iterdir()) == [".bashrc", ".ssh"]


def test_a_target_that_changed_after_a_kill_is_not_replaced(folder: Path, ws: Workspace) -> None:
    """As by the next owner's run, when the former owner's machine comes back."""
    killed(folder)
    (folder / "share" / "out" / "b.txt").write_text("newer")

    staged(folder, nothing).run_once()

    assert seen(folder) == {"a.txt": "new", "b.txt": "newer", "deep/c.txt": "new"}


def test_a_stage_of_the_former_form_is_not_published_and_its_source_runs_again(folder: Path, ws: Workspace) -> None:
    """Nobody else vouches for its list. It is removed once it has not changed for a week, as of any run that nobody knows."""
    stage = folder / "share" / STAGING / f"{machine_id(ws.home.local.state_root)}-r0"
    stage.mkdir(parents=True)
    (stage / "a.txt").write_text("old form")
    plant(folder, ws, "a.txt")

    both(folder, ws)
    assert seen(folder) == {}
    assert (stage / "a.txt").exists()

    for path in (stage / "a.txt", stage):
        os.utime(path, (time.time() - 8 * 86_400,) * 2)
    sweep(folder, ws)
    assert seen(folder) == {}
    assert not stage.exists()


def test_hashes_are_of_whole_files() -> None:
    from data_engine.engine.staged_files import sha256_of
    from data_engine.nofollow import opened

    path = Path(__file__)
    with opened(path.parent) as place:
        assert sha256_of(place, path.name, path.stat().st_size) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the campaign forks")
def test_kills_while_links_are_put_in_touch_nothing_elsewhere_and_lose_nothing() -> None:
    """The short form of tests/soak/link_kills.py."""
    root = Path(__file__).parents[2]

    done = subprocess.run(
        [sys.executable, "-m", "tests.soak.link_kills", "6", "11"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    assert "6 kills, 1 runs in peace" in done.stdout
