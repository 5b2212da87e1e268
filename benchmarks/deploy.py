"""Deploying one flow in a workspace of 100, on a local folder and on a slow share; and rolling back into the next run."""

from __future__ import annotations

import builtins
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.figures import finish, report
from data_engine import Workspace

FLOWS = 100
TIMES = 5
SLOW_S = 0.005
FLOW = """
from data_engine import Flow
from flow_helpers.rates import RATE

def work(context):
    print({value})
    return RATE

def build():
    return Flow(group="G{number}").step(work)
"""
OPERATIONS = ("open", "stat", "lstat", "listdir", "scandir", "rename", "replace", "unlink", "mkdir", "rmdir", "fsync")


def fill(root: Path) -> Workspace:
    """A workspace of 100 flows, all deployed."""
    ws = Workspace.create(root)
    (root / "flow_modules" / "flow_helpers" / "rates.py").write_text("RATE = 3\n")
    for number in range(FLOWS):
        write(ws, number, 0)
    ws.deploy()
    return ws


def write(ws: Workspace, number: int, value: int) -> None:
    """An edit of one flow."""
    (ws.root / "flow_modules" / f"flow_{number:03}.py").write_text(FLOW.format(number=number, value=value))


def seconds(ws: Workspace, value: int) -> float:
    """How long it takes to deploy an edit of one flow."""
    write(ws, 7, value)
    began_s = time.perf_counter()
    (entry,) = ws.deploy("flow_007")
    assert entry.error is None
    return time.perf_counter() - began_s


@contextmanager
def slow_share(root: Path) -> Iterator[list[int]]:
    """Each file operation below `root` takes 5 ms more; how many there were."""
    count = [0]

    def is_there(path: Any, dir_fd: int | None) -> bool:
        if isinstance(path, int):
            path, dir_fd = "", path
        if dir_fd is not None:
            try:
                path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), os.fspath(path))
            except OSError:
                return False
        return str(path).startswith(str(root))

    def slowed(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(path: Any = ".", *arguments: Any, **named: Any) -> Any:
            if is_there(path, named.get("dir_fd", named.get("src_dir_fd"))):
                count[0] += 1
                time.sleep(SLOW_S)
            return real(path, *arguments, **named)

        return operation

    patches = [patch.object(os, name, slowed(getattr(os, name))) for name in OPERATIONS]
    patches += [patch.object(io, "open", slowed(io.open)), patch.object(builtins, "open", slowed(builtins.open))]
    for one in patches:
        one.start()
    try:
        yield count
    finally:
        for one in patches:
            one.stop()


def main() -> None:
    """Print each figure beside its limit."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(folder) / "state")
        ws = fill(Path(folder) / "ws")
        local_s = statistics.median(seconds(ws, 10 + number) for number in range(TIMES))
        report(f"deploy of one flow of {FLOWS}, local folder", local_s * 1000, 300, "ms")
        with slow_share(ws.root) as count:
            slow_s = statistics.median(seconds(ws, 20 + number) for number in range(3))
        report(f"the same, 5 ms added to each of {count[0] // 3} file operations", slow_s * 1000, 2000, "ms")
        try:
            ws.start()
            ws.run("flow_007")
            began_s = time.perf_counter()
            ws.rollback("flow_007")
            ws.run("flow_007")
            took_s = time.perf_counter() - began_s
            (run,) = ws.runs("flow_007", 1)
            report("rollback, to the end of the next run", took_s * 1000, 2000, "ms")
            assert run.status == "success"
            assert ws.log(run.run_id)[0].message == "21"
        finally:
            ws.kill()
    finish()


if __name__ == "__main__":
    main()
