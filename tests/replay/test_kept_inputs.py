"""What a failed run keeps is private, whole or not there, within its bounds, and without secrets; what is gone is said."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.engine import kept_inputs as kept_inputs_module
from data_engine.engine.kept_inputs import keep, kept_inputs, remove_old
from data_engine.workspace.settings import ReplaySettings
from tests.support import WorkspaceFiles, examples, until

CELL = """
import polars as pl
from data_engine import Flow

def raw(context):
    return pl.DataFrame({"text": ["x" * 1000] * 1000})

def read(context):
    return context.source.path.read_text()

def bad(context):
    password, rows = "hunter22", {"a": [1, 2]}
    raise ValueError("bad")
"""
STEPS = '.step(raw, save_as="raw").step(bad)'
WATCH = '.watch(mode="poll", source="../in", interval="1h", extensions=".csv")'


def failing(ws: WorkspaceFiles, steps: str = STEPS, settings: str = "", watch: str = "", cell: str = CELL) -> Workspace:
    """A workspace with a flow that fails."""
    if settings:
        ws.source("config/data_engine.toml", settings)
    ws.notebook("claims", cell, f'def build():\n    return Flow(group="G"){watch}{steps}')
    return Workspace(ws.root)


def run(workspace: Workspace) -> str:
    """The id of a run that fails now."""
    workspace.load_flow("claims").run_once(on_error="continue")
    return workspace.runs()[0].run_id


def files(workspace: Workspace) -> list[Path]:
    """What is kept."""
    folder = workspace.home.local.replays_dir
    return sorted(folder.iterdir()) if folder.is_dir() else []


def test_a_run_that_succeeds_keeps_nothing(ws: WorkspaceFiles) -> None:
    """Only failures are kept."""
    workspace = failing(ws, ".step(raw)")
    run_id = run(workspace)

    assert files(workspace) == []
    with pytest.raises(FlowValidationError, match="has no step that failed: it is success"):
        workspace.replay(run_id)


@pytest.mark.skipif(sys.platform == "win32", reason="access lists are tested with the state root")
def test_only_its_user_can_read_it(ws: WorkspaceFiles) -> None:
    """Folder and file are closed to others, whatever the umask."""
    workspace = failing(ws)
    before = os.umask(0)
    try:
        run(workspace)
    finally:
        os.umask(before)

    (file,) = files(workspace)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not file.is_relative_to(ws.root)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root becomes another user")
def test_another_user_of_the_machine_can_read_none_of_it(ws: WorkspaceFiles) -> None:
    """Not by the file's name, not through the folder, though every folder above is open."""
    workspace = failing(ws)
    run(workspace)
    (file,) = files(workspace)
    for folder in file.parent.parents:
        folder.chmod(folder.stat().st_mode | 0o055)
    script = f"""
import os
os.setgid(65534)
os.setuid(65534)
os.stat({str(file.parent)!r})
for look in (lambda: open({str(file)!r}, "rb"), lambda: os.listdir({str(file.parent)!r}), lambda: os.stat({str(file)!r})):
    try:
        look()
    except PermissionError:
        print("refused")
"""
    seen = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, cwd="/", check=False)

    assert seen.stdout.split() == ["refused"] * 3, seen.stderr


def test_a_drive_that_fills_while_it_is_written_is_told(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is recorded as it failed; what is offered says why nothing is kept, and is made again."""
    workspace = failing(ws)
    write = kept_inputs_module._write_frame

    def fills(frame: object, kind: str, stream: object) -> None:
        write(frame, kind, stream)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept_inputs_module, "_write_frame", fills)
    run_id = run(workspace)
    monkeypatch.undo()

    assert workspace.run_record(run_id).status == "failed"
    assert [file.name.startswith(".") for file in files(workspace)] == [False]
    replay = workspace.replay(run_id)
    assert replay.missing["current"] == "the disk is full; made again by the steps before"
    assert replay.locals["password"] == "'hunter22'"
    assert replay.context.current.height == 1000


def test_nothing_is_kept_where_the_setting_says_so(ws: WorkspaceFiles) -> None:
    """`keep = "0s"` keeps nothing; a replay makes all again."""
    workspace = failing(ws, settings='[replay]\nkeep = "0s"\n')
    replay = workspace.replay(run(workspace))

    assert files(workspace) == []
    assert replay.context.current.height == 1000
    assert "made again" in replay.missing["current"]


def test_what_is_larger_than_the_size_is_told_and_made_again(ws: WorkspaceFiles) -> None:
    """A frame beyond `size` is not kept."""
    workspace = failing(ws, settings='[replay]\nsize = "100KB"\n')
    replay = workspace.replay(run(workspace))

    assert files(workspace)[0].stat().st_size < 10_000
    assert "larger than [replay] size" in replay.missing["current"]
    assert replay.context.objects["raw"].height == 1000


def test_the_newest_three_of_one_error_are_kept(ws: WorkspaceFiles) -> None:
    """One flow that fails all night does not push out what others have kept."""
    workspace = failing(ws)
    ids = [run(workspace) for _ in range(5)]

    assert {file.name.partition("-")[0] for file in files(workspace)} == set(ids[2:])


def test_a_thousand_failures_take_no_more_than_the_total(ws: WorkspaceFiles, tmp_path: Path) -> None:
    """The oldest go first, before the new one is written."""
    workspace = failing(ws)
    run_id = run(workspace)
    inputs = kept_inputs(workspace.home.local.replays_dir, run_id, ReplaySettings())
    assert inputs is not None
    one = files(workspace)[0].stat().st_size
    settings, folder = ReplaySettings(total_bytes=5 * one + one // 2), tmp_path / "replays"
    folder.mkdir(mode=0o700)
    most = 0
    for number in range(examples(100)):
        keep(folder, inputs._replace(run_id=f"{number:032x}"), f"{number:016x}", settings)
        most = max(most, sum(file.stat().st_size for file in folder.iterdir()))

    assert most <= settings.total_bytes
    assert len(list(folder.iterdir())) == 5
    assert kept_inputs(folder, f"{examples(100) - 1:032x}", settings) is not None


def test_it_goes_by_age(ws: WorkspaceFiles) -> None:
    """What is older than `keep` is neither offered nor left."""
    workspace = failing(ws)
    run_id = run(workspace)
    (file,) = files(workspace)
    settings, folder = ReplaySettings(keep_s=60.0), file.parent
    facts = file.stat()

    os.utime(file, (facts.st_atime, time.time() - 59))
    assert kept_inputs(folder, run_id, settings) is not None
    remove_old(folder, settings)
    assert file.exists()
    os.utime(file, (facts.st_atime, time.time() - 61))
    assert kept_inputs(folder, run_id, settings) is None
    remove_old(folder, settings)
    assert not file.exists()


def test_a_daemon_removes_what_is_too_old(ws: WorkspaceFiles) -> None:
    """Also where no run fails and nobody asks."""
    workspace = failing(ws)
    run(workspace)
    (file,) = files(workspace)
    long_ago_s = time.time() - 15 * 86400
    os.utime(file, (long_ago_s, long_ago_s))
    workspace.start()
    try:
        until(lambda: not file.exists())
    finally:
        workspace.kill()


def test_secrets_are_never_kept(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as a value, nor in a text, a frame, or a variable."""
    monkeypatch.setenv("DATA_ENGINE_SECRET_DWH", "correct horse battery")
    cell = """
    import polars as pl
    from data_engine import Flow

    def secret(context):
        return context.secret("dwh")
    def text(context):
        return "dsn=" + context.current.reveal()
    def frame(context):
        return pl.DataFrame({"dsn": [context.current], "n": [1]})
    def bad(context):
        plain, url = context.objects["text"], context.objects["secret"]
        raise ValueError("bad")
    """
    steps = '.step(secret, save_as="secret").step(text, save_as="text").step(frame, save_as="frame").step(bad)'
    workspace = failing(ws, steps, cell=cell)
    run_id = run(workspace)

    (file,) = files(workspace)
    assert b"correct horse" not in file.read_bytes()
    replay = workspace.replay(run_id)
    assert replay.locals == {"plain": "'dsn=***'", "url": "***"}
    assert "secret" in replay.missing["secret"]
    assert "secret" in replay.missing["text"]
    assert "secret" in replay.missing["frame"]
    assert replay.context.objects["text"] == "dsn=correct horse battery"


def test_what_is_gone_is_made_again_on_the_same_version_only(ws: WorkspaceFiles) -> None:
    """Another content of the source is no replay: the error says what was kept."""
    file = ws.source("in/a.csv", "one")
    workspace = failing(ws, '.step(read, save_as="text").step(lambda context: [1]).step(bad)', watch=WATCH)
    run_id = run(workspace)
    assert workspace.replay(run_id).context.current == [1]

    file.write_text("other")
    with pytest.raises(FlowValidationError) as raised:
        workspace.replay(run_id)
    assert "the version of a.csv" in raised.value.what
    assert "kept are text" in str(raised.value.fix)


def test_what_was_kept_is_there_when_the_source_is_gone(ws: WorkspaceFiles) -> None:
    """Nothing has to be made again, so the failure is open, and the change is told."""
    file = ws.source("in/a.csv", "one")
    workspace = failing(ws, '.step(read, save_as="text").step(bad)', watch=WATCH)
    run_id = run(workspace)
    file.unlink()

    replay = workspace.replay(run_id)
    assert replay.context.current == "one"
    assert replay.missing[str(file)] == "it is gone"


def test_a_half_written_file_is_never_offered(ws: WorkspaceFiles) -> None:
    """Whenever its writer is killed, there is a whole file or none."""
    workspace = failing(ws)
    run_id = run(workspace)
    (whole,) = files(workspace)
    content = whole.read_bytes()
    writer = f"""
import sys
from data_engine.engine import kept_inputs as kept_inputs_module
from data_engine.engine.kept_inputs import keep, _read
from data_engine.workspace.settings import ReplaySettings
from pathlib import Path
inputs = _read(Path({str(whole)!r}))
print("begun", flush=True)
number = 0
while True:
    number += 1
    keep(Path({str(whole.parent)!r}), inputs._replace(run_id=f"{{number:032x}}"), f"{{number:016x}}", ReplaySettings(total_bytes=10**10))
"""
    for pause_s in (0.003, 0.011, 0.02, 0.05):
        child = subprocess.Popen([sys.executable, "-c", writer], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(pause_s)
        child.kill()
        child.wait()
        child.stdout.close()
        for file in files(workspace):
            if not file.name.startswith("."):
                inputs = kept_inputs(whole.parent, file.name.partition("-")[0], ReplaySettings())
                assert inputs is not None
                assert inputs.current.height == 1000
    assert whole.read_bytes() == content
    for file in files(workspace):
        if file.name.startswith("."):
            os.utime(file, (0, time.time() - 7200))
    remove_old(whole.parent, ReplaySettings())
    assert not [file for file in files(workspace) if file.name.startswith(".")]
    assert workspace.replay(run_id).context.current.height == 1000


def test_a_drive_that_takes_nothing_leaves_the_record_whole(ws: WorkspaceFiles) -> None:
    """The run is recorded as it failed, nothing is kept, and the log says why."""
    workspace = failing(ws)
    folder = workspace.home.local.replays_dir
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way of the folder")
    run_id = run(workspace)

    assert workspace.run_record(run_id).status == "failed"
    assert [step.status for step in workspace.steps(run_id)] == ["success", "failed"]
    assert any("not kept for a replay" in line.message for line in workspace.log(run_id))
    assert workspace.replay(run_id).context.current.height == 1000


def test_variables_are_short_texts_and_no_repr_is_called(ws: WorkspaceFiles) -> None:
    """An object is told by its type, a frame by its shape; `log` shows them."""
    cell = """
    import polars as pl
    from data_engine import Flow

    class Shy:
        def __repr__(self):
            raise SystemExit("nobody may ask")
        __str__ = __repr__

    def bad(context):
        frame, lazy, shy = pl.DataFrame({"a": [1]}), pl.LazyFrame({"a": [1]}), Shy()
        text, rows, shies, nothing = "x" * 500, {"a": 1}, [shy], None
        raise ValueError("bad")
    """
    workspace = failing(ws, ".step(bad)", cell=cell)
    run_id = run(workspace)

    texts = workspace.replay(run_id).locals
    assert len(texts["text"]) <= 200
    del texts["text"]
    assert texts == {
        "frame": "polars.DataFrame, 1 row × 1 column",
        "lazy": "polars.LazyFrame",
        "shy": "data_engine_flows.Shy" if "data_engine_flows.Shy" in texts["shy"] else texts["shy"],
        "rows": "{'a': 1}",
        "shies": "list of 1",
        "nothing": "None",
    }
    assert texts["shy"].endswith("Shy")


def test_a_worker_of_the_daemon_keeps_them(ws: WorkspaceFiles) -> None:
    """The night's failure: begun by the daemon, opened in the morning."""
    workspace = failing(ws)
    workspace.deploy("claims")
    try:
        (ended,) = workspace.run("claims")
        run_id = ended.run_id
        replay = until(lambda: workspace.replay(run_id) if files(workspace) else None)
    finally:
        workspace.shutdown()
    assert replay.missing == {}
    assert isinstance(replay.context.current, pl.DataFrame)
    assert replay.locals == {
        "password": "'hunter22'",
        "rows": "{'a': [1, 2]}" if replay.locals["rows"][0] == "{" else "dict of 1",
    }


def test_run_goes_on_with_the_code_as_it_is_now_and_other_parameters(ws: WorkspaceFiles) -> None:
    """After the fix the same inputs pass, in scratch."""
    cell = """
    from data_engine import Flow

    def number(context):
        return 3
    def divide(context):
        return context.current / context.params["by"]
    def write(context):
        path = context.mirror.file("out.txt")
        path.write_text(str(context.current))
        return path
    """
    steps = '.mirror(root="../out").step(number).step(divide).step(write)'
    workspace = failing(ws, steps, cell=cell)
    workspace.load_flow("claims").run_once(params={"by": 0}, on_error="continue")
    replay = workspace.replay(workspace.runs()[0].run_id)

    path = replay.run(by=2)
    assert path.read_text() == "1.5"
    assert not (ws.root / "out").exists()
    failing(ws, steps, cell=cell.replace('context.params["by"]', "6"))
    assert replay.run().read_text() == "0.5"
