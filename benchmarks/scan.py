"""Watching 100,000 files that nobody changes, and how soon a dropped file runs.

The steady pass is measured against a plain walk with a stat of each file, in turn with it, by processor time.
"""

from __future__ import annotations

import _thread
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.figures import finish, report
from data_engine import Flow, run
from data_engine.ledger.rows import SourceStates
from data_engine.model import Signature, SourceState
from data_engine.planning.due import PlannedFlow
from data_engine.scheduler.folder_poller import FolderPoller, KnownSources
from data_engine.scheduler.scanner import Scanner

FOLDERS, FILES = 100, 1000
PASSES = 7
DROPS = 20


def walk(root: str) -> int:
    """The bytes of all files below `root`: scandir, and a stat of each file."""
    total = 0
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    total += entry.stat().st_size
    return total


def cpu_s(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def steady_pass(root: Path) -> float:
    """The steady pass over a plain walk: the median of the ratios."""
    watch = PlannedFlow.of(
        Flow("G", "claims").watch(mode="poll", source=root, interval="1s", settle=0, extensions=".csv")
    )
    scanner = Scanner(root, (".csv",))
    scanner.scan()

    def state(name: str, seen: Signature) -> SourceState:
        return SourceState("claims", watch.key(name), "success", seen, "r1", None, None, seen, "r1")

    states = SourceStates("claims")
    for name, seen in scanner.files():
        states.put(state(name, seen))
    now_s = 0.0
    poller = FolderPoller(watch, read=lambda: KnownSources(states), clock=lambda: now_s)
    first_s = cpu_s(poller.poll)
    report("first look at 100,000 files that are done", first_s, 2.0, "s CPU")
    ratios = []
    for _ in range(PASSES):
        plain_s = cpu_s(lambda: walk(str(root)))
        now_s += 1000.0
        ratios.append(cpu_s(poller.poll) / plain_s)
    return statistics.median(ratios)


def drop_latency_ms(inbox: Path) -> float:
    """From the rename that puts a file in place to the first line of its step: the median."""
    started: dict[str, float] = {}
    dropped: dict[str, float] = {}

    def step(context: Any) -> None:
        started[context.source.path.name] = time.perf_counter()

    def drop() -> None:
        for number in range(-1, DROPS):
            name = f"{number}.csv"
            part = inbox / f"{name}.part"
            part.write_text("x")
            dropped[name] = time.perf_counter()
            part.rename(inbox / name)
            while name not in started:
                time.sleep(0.001)
            time.sleep(0.05)
        _thread.interrupt_main()

    flow = Flow("G", "claims").watch(mode="poll", source=inbox, interval="1s", settle=0).step(step)
    threading.Thread(target=drop).start()
    run(flow)
    return statistics.median((started[name] - dropped[name]) * 1000 for name in started if name != "-1.csv")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        for folder in range(FOLDERS):
            (root / f"many/{folder}").mkdir(parents=True)
            for number in range(FILES):
                (root / f"many/{folder}/file_{number}.csv").touch()
        report("steady pass over 100,000 files, against scandir and stat", steady_pass(root / "many"), 1.4, "x CPU")
        (root / "inbox").mkdir()
        report("file dropped to its step begun, interval 1 s, settle 0", drop_latency_ms(root / "inbox"), 50, "ms")
    finish()


if __name__ == "__main__":
    main()
