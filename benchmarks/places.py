"""What it costs where writing goes: `python -m benchmarks.places [FOLDER] [--before CHECKOUT]`.

Staged mirrors beside those written in place, and what a preview copies in. With a FOLDER on a drive that can clone (XFS,
Btrfs, APFS) previews are measured there too; everything else is on the temporary folder's drive. With the CHECKOUT of an
older revision a run of a flow that does not stage is measured beside the same there.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.daemon import FILES, first_pass
from benchmarks.figures import finish, report
from data_engine import Flow, Workspace
from data_engine.engine.preview import clear_preview_cache
from data_engine.engine.scratch import remove_scratch
from data_engine.flow.context import FlowContext
from data_engine.platforms.copies import clone

TARGET_BYTES, DATABASE_BYTES = 100_000_000, 200_000_000
RUNS = 400
ROUNDS = 9
PASSES = 2
WRITES = """
from data_engine import Flow

def write(context):
    target = context.mirror.with_suffix(".out")
    target.write_bytes(context.source.path.read_bytes())
    return target

def build():
    return (
        Flow(group="{group}").watch(mode="poll", source="{source}", interval="1s", settle=0, max_parallel={parallel})
        .mirror(root="../out", staged=STAGED).step(write)
    )
"""


IN_PLACE = """
import os, statistics, tempfile, time
from pathlib import Path
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    os.environ["DATA_ENGINE_STATE_ROOT"] = str(folder / "state")
    from data_engine import Flow, Workspace
    ws = Workspace.create(folder / "ws")
    (folder / "in").mkdir()
    (folder / "in" / "a.csv").write_text("x")
    def write(context):
        target = context.mirror.with_suffix(".out")
        target.write_text("x")
        return target
    flow = Flow(group="G", name="small", _workspace_root=ws.root).watch(mode="manual", source=folder / "in")
    flow = flow.mirror(root=folder / "out").step(write)
    times = []
    for _ in range(500):
        began = time.perf_counter()
        flow.run_once()
        times.append(time.perf_counter() - began)
    print(statistics.median(times[100:]))
"""


def bare_staging_s(folder: Path) -> float:
    """What the fewest file operations take that make one output appear whole, over writing it in place: a folder, a rename."""
    target, stage = folder / "bare.out", folder / "bare.stage"
    started = time.perf_counter()
    target.write_text("x")
    in_place_s = time.perf_counter() - started
    started = time.perf_counter()
    stage.mkdir()
    (stage / "bare.out").write_text("x")
    (stage / "bare.out").replace(target)
    stage.rmdir()
    return time.perf_counter() - started - in_place_s


def measure_staging(folder: Path) -> None:
    """One small output of a recorded run, in place and staged, in turn."""
    ws = Workspace.create(folder / "small")
    (folder / "in").mkdir()
    (folder / "in" / "a.csv").write_text("x")

    def write(context: FlowContext) -> Path:
        assert context.mirror is not None
        target = context.mirror.with_suffix(".out")
        target.write_text("x")
        return target

    plain = (
        Flow(group="G", name="small", _workspace_root=ws.root).watch(mode="manual", source=folder / "in").step(write)
    )
    flows = {staged: plain.mirror(root=folder / f"out{staged}", staged=staged) for staged in (False, True)}
    times: dict[bool, list[float]] = {False: [], True: []}
    bare: list[float] = []
    for _ in range(RUNS):
        bare.append(bare_staging_s(folder))
        for staged, flow in flows.items():
            started = time.perf_counter()
            flow.run_once()
            times[staged].append(time.perf_counter() - started)
    in_place_s, staged_s = (statistics.median(times[staged]) for staged in (False, True))
    more_s, floor_s = staged_s - in_place_s, statistics.median(bare)
    note = f"{more_s * 1000:.2f} of {floor_s * 1000:.2f} ms; a run in place {in_place_s * 1000:.2f} ms"
    report("staging and publishing one small output, by its bare file operations", more_s / floor_s, 4.0, "x", note)


def measure_pass(folder: Path) -> None:
    """A first pass over tiny files that each write an output, by the daemon."""
    source = folder / "tiny"
    source.mkdir()
    for number in range(FILES):
        (source / f"{number:05}.txt").write_text("x")
    best = {False: float("inf"), True: float("inf")}
    for number in range(PASSES):
        for staged in best:
            module = WRITES.replace("STAGED", str(staged))
            took_s = first_pass(folder / f"pass{staged}{number}", source, 1, module)[0]
            best[staged] = min(best[staged], took_s)
    note = f"{FILES / best[True]:,.0f} files/s staged"
    report(
        f"first pass of {FILES:,} tiny files, time staged by in place", best[True] / best[False], 1 / 0.85, "x", note
    )


def measure_unstaged(before: Path) -> None:
    """A recorded run of a flow that writes in place: here, and by the code of an older revision, in turn."""
    here = Path(__file__).parent.parent
    times: dict[Path, list[float]] = {here: [], before: []}
    for _ in range(ROUNDS):
        for code in times:
            environment = os.environ | {"PYTHONPATH": str(code)}
            done = subprocess.run(
                [sys.executable, "-c", IN_PLACE], capture_output=True, text=True, check=True, env=environment, cwd=code
            )
            times[code].append(float(done.stdout))
    note = f"{min(times[here]) * 1000:.3f} ms"
    report("a run in place, over that revision's", min(times[here]) / min(times[before]), 1.02, "x", note)


def measure_previews(folder: Path, *, clones: bool) -> None:
    """A preview that asks for a large target and a large database; again after an edit of the last step, with small ones."""
    where = "cloned" if clones else "copied"
    ws, flow = _previewed(folder / where, TARGET_BYTES, DATABASE_BYTES)
    given = [folder / where / "out" / "big.bin", ws.root / "databases" / "big.duckdb"]
    plain_s = min(_timed(lambda: _copy(given, folder / "plain")) for _ in range(3))
    times = []
    for _ in range(3):
        remove_scratch()  # what an earlier one brought in is not copied again
        times.append(_timed(lambda: _quiet(lambda: flow.preview(fresh=True))))
    took_s = min(times)
    if clones:
        report("preview that asks for 100 MB and a database of 200 MB, cloned", took_s * 1000, 30, "ms")
    else:
        note = f"{took_s * 1000:.0f} ms"
        report("preview that asks for 100 MB and a database of 200 MB, by a copy", took_s / plain_s, 1.3, "x", note)
        _, small = _previewed(folder / "small previews", 16_000_000, 16_000_000)
        _quiet(small.preview)
        time.sleep(3)  # what has just been written is compared by content, until clocks can tell
        times.clear()
        for number in range(12):
            edited = small.step(_edit(number), label="Last")
            times.append(_timed(lambda edited=edited: _quiet(edited.preview)))  # type: ignore[misc]
        report(
            "preview again after an edit of the last step, 16 MB each", statistics.median(times[2:]) * 1000, 10, "ms"
        )
    clear_preview_cache()


def _previewed(folder: Path, target_bytes: int, database_bytes: int) -> tuple[Workspace, Flow]:
    ws = Workspace.create(folder / "ws")
    out = folder / "out"
    out.mkdir()
    (out / "big.bin").write_bytes(os.urandom(1_000_000) * (target_bytes // 1_000_000))
    code = (
        "import duckdb, sys; con = duckdb.connect(sys.argv[1]); con.execute('create table t as select hash(range) as x"
        f" from range({database_bytes // 8})'); con.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(ws.root / "databases" / "big.duckdb")], check=True)
    flow = Flow(group="G", name="big", _workspace_root=ws.root).mirror(root=out).step(_ask, save_as="asked")
    return ws, replace(flow)


def _ask(context: FlowContext) -> int:
    assert context.mirror is not None
    with open(context.mirror.root_file("big.bin"), "ab") as file:
        file.write(b"x")
    with open(context.database("big.duckdb"), "r+b") as file:
        return len(file.read(10))


def _edit(number: int) -> Callable[[FlowContext], int]:
    made: dict[str, Any] = {}
    exec(f"def last(context): return {number}", made)
    last: Callable[[FlowContext], int] = made["last"]
    return last


def _copy(paths: list[Path], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in paths:
        shutil.copyfile(path, folder / path.name)


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _quiet(call: Callable[[], object]) -> None:
    with redirect_stderr(io.StringIO()):  # the caption
        call()


def main() -> None:
    """Every figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--before", type=Path)
    given = parser.parse_args()
    if given.before is not None:
        measure_unstaged(given.before.resolve())
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        measure_staging(Path(name))
        measure_previews(Path(name), clones=False)
        measure_pass(Path(name))
    if given.folder is not None:
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
            (Path(name) / "a").write_text("x")
            if not clone(Path(name) / "a", Path(name) / "b"):
                sys.exit(f"the drive of {given.folder} cannot clone")
            measure_previews(Path(name), clones=True)
    else:
        print("previews on a drive that clones: not measured; give a folder on one")
    finish()


if __name__ == "__main__":
    main()
