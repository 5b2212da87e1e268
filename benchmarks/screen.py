"""The screen of `status --watch`: how soon it is there, and what it costs while nobody presses a key."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.cli import cost_of
from benchmarks.figures import finish, report
from data_engine import Workspace

FLOWS, IDLE_S, STARTS = 20, 20, 5
MODULE = """
import time
from data_engine import Flow

def work(context):
    for number in range(100_000):
        time.sleep(0.1)
        context.progress(number, 100_000)

def build():
    return Flow(group="Group {number}").step(work)
"""


class Watched:
    """The screen in a terminal that nobody looks at."""

    def __init__(self, root: Path) -> None:
        openpty: Any = getattr(os, "openpty", None)
        if openpty is None:
            raise SystemExit("Windows has no pseudo terminal that a program could open")
        master, slave = openpty()
        self.seen = threading.Event()
        self._master = master
        self.seen_cpu_s = 0.0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "data_engine", "--workspace", str(root), "status", "--watch"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        text = b""
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            text += data
            if b"flow_00" in text and not self.seen.is_set():
                self.seen_cpu_s = self.cpu_s()
                self.seen.set()

    def first_s(self) -> float:
        """The CPU seconds until the first flow was shown."""
        if not self.seen.wait(60):
            raise TimeoutError
        return self.seen_cpu_s

    def cpu_s(self) -> float:
        """What it has used, with the processes it has started and that have ended."""
        times: Any = psutil.Process(self.process.pid).cpu_times()
        return float(
            times.user + times.system + getattr(times, "children_user", 0) + getattr(times, "children_system", 0)
        )

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()
        os.close(self._master)


@contextmanager
def watched(root: Path) -> Iterator[Watched]:
    one = Watched(root)
    try:
        one.first_s()
        yield one
    finally:
        one.end()


def share_of_a_core(one: Watched) -> float:
    """Percent, once what was read at the beginning is read."""
    before = -1.0
    while one.cpu_s() - before > 0.2:
        before = one.cpu_s()
        time.sleep(5)
    before, began_s = one.cpu_s(), time.monotonic()
    time.sleep(IDLE_S)
    return 100 * (one.cpu_s() - before) / (time.monotonic() - began_s)


def main() -> None:
    """With a daemon, with a run of it, and without one."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "ws"
        (root / "flow_modules").mkdir(parents=True)
        for number in range(FLOWS):
            (root / "flow_modules" / f"flow_{number:02}.py").write_text(MODULE.format(number=number))
        os.environ["DATA_ENGINE_STATE_ROOT"] = f"{name}/state"
        ws = Workspace(root)
        ws.start()
        try:
            ws.deploy()
            firsts = []
            for _ in range(STARTS):
                with watched(root) as one:
                    firsts.append(one.first_s())
            help_s = statistics.median(
                cost_of(dict(os.environ), "-m", "data_engine", "--help")[0] for _ in range(STARTS)
            )
            first_s = statistics.median(firsts)
            report(
                "screen: until the first flow is shown, CPU by --help's", first_s / help_s, 6, "x", f"{first_s:.2f} s"
            )
            with watched(root) as one:
                report("screen: idle, of a core", share_of_a_core(one), 1, "%")
                report("screen: memory", psutil.Process(one.process.pid).memory_info().rss / 1e6, 80, "MB")
                ws.run("flow_00", wait=False)
                report("screen: while a run tells of its progress, of a core", share_of_a_core(one), 5, "%")
        finally:
            ws.kill()
        with watched(root) as one:
            report("screen: idle without a daemon, of a core", share_of_a_core(one), 1, "%")
    finish()


if __name__ == "__main__":
    main()
