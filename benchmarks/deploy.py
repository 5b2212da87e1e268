"""Deploying one flow in a workspace of 100, on a local folder and on a slow share; and rolling back into the next run."""

from __future__ import annotations

import builtins
import hashlib
import io
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
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


def kept_s(ws: Workspace) -> float:
    """What nobody who keeps a set of these modules can do without: each is read, hashed and written to the drive, and a commit says so."""
    modules = sorted((ws.root / "flow_modules").rglob("*.py"))
    with tempfile.TemporaryDirectory() as name:
        began_s = time.perf_counter()
        for path in modules:
            data = path.read_bytes()
            (Path(name) / hashlib.sha256(data).hexdigest()).write_bytes(data)
        with closing(sqlite3.connect(Path(name) / "a.sqlite")) as connection, connection:
            connection.execute("CREATE TABLE sets (name TEXT)")
        return time.perf_counter() - began_s


def main() -> None:
    """Print each figure beside its limit."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(folder) / "state")
        ws = fill(Path(folder) / "ws")
        both = [(seconds(ws, 10 + number), kept_s(ws)) for number in range(TIMES)]
        local_s = statistics.median(ours for ours, _ in both)
        ratio = statistics.median(ours / floor for ours, floor in both)
        note = f"{local_s * 1000:.0f} ms"
        report(f"deploy of one flow of {FLOWS}, local folder, by reading and keeping all", ratio, 25, "x", note)
        with slow_share(ws.root) as count:
            slow_s = statistics.median(seconds(ws, 20 + number) for number in range(3))
        note = f"of {count[0] // 3} in all; {slow_s:.2f} s where each takes 5 ms more"
        report("... file operations that it waits for, one after another", (slow_s - local_s) / SLOW_S, 360, "", note)
        try:
            ws.start()
            ws.run("flow_007")
            began_s = time.perf_counter()
            ws.run("flow_007")
            alone_s = time.perf_counter() - began_s
            began_s = time.perf_counter()
            ws.rollback("flow_007")
            ws.run("flow_007")
            took_s = time.perf_counter() - began_s
            (run,) = ws.runs("flow_007", 1)
            note = f"a run alone takes {alone_s * 1000:.0f} ms"
            report("rollback, to the end of the next run", took_s * 1000, 2000, "ms", note)
            assert run.status == "success"
            assert ws.log(run.run_id)[0].message == "21"
        finally:
            ws.kill()
    finish()


if __name__ == "__main__":
    main()
