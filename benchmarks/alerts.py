"""Alerts: `python -m benchmarks.alerts [files] [rounds] [failures]`: how long after a failure the notifier calls, and what a pass in which
everything fails costs beside the same pass without anybody to tell. The messages go to a webhook of this process."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

from benchmarks.figures import finish, report
from data_engine import Workspace

FILES = 10_000
ROUNDS = 2
FAILURES = 100
SETTINGS = '[executor]\nworkers = 1\n[alerts]\nto = ["hook"]\ndigest = "5s"\n'
FAILING = """
from data_engine import Flow

def work(context):
    raise KeyError("amount")

def build():
    return Flow(group="{group}").watch(mode="manual").step(work)
"""
POLLED = """
from data_engine import Flow

def work(context):
    raise KeyError("amount")

def build():
    return Flow(group="G").watch(mode="poll", source="../in", interval="1s", settle=0).step(work){told}
"""


class Hook:
    """The webhook: when each message came, and what it said."""

    def __init__(self) -> None:
        self.came: list[tuple[float, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                at_s = time.time()
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.came.append((at_s, f"{told['title']}\n{told['message']}"))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        os.environ["DATA_ENGINE_SECRET_HOOK"] = f"json://127.0.0.1:{self._server.server_address[1]}/"

    def until(self, count: int, timeout_s: float) -> list[tuple[float, str]]:
        """What came, once there are so many or the time is up."""
        until_s = time.monotonic() + timeout_s
        while len(self.came) < count and time.monotonic() < until_s:
            time.sleep(0.1)
        return list(self.came)


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else FILES
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    failures = int(sys.argv[3]) if len(sys.argv) > 3 else FAILURES
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(folder) / "state")
        hook = Hook()
        first_failures(Path(folder) / "first", hook, failures)
        a_pass_that_fails(Path(folder) / "pass", hook, files, rounds)
    finish()


def first_failures(root: Path, hook: Hook, failures: int) -> None:
    """The first failure of each of so many flows, by its own message."""
    names = [f"flow{number:03}" for number in range(failures)]
    ws = workspace(root, {name: FAILING.format(group=name) for name in names})
    delays = []
    try:
        ws.start()
        for name in names:
            (run,) = ws.run(name)
            assert not isinstance(run, str)
            assert run.status == "failed"
            assert run.finished_at_utc is not None
            ended_s = datetime.fromisoformat(run.finished_at_utc).timestamp()
            until_s = time.monotonic() + 60
            while not (told := [at_s for at_s, text in hook.came if name in text]) and time.monotonic() < until_s:
                time.sleep(0.02)
            delays.append(told[0] - ended_s if told else 60.0)
    finally:
        ws.kill()
    p99_s = statistics.quantiles(delays, n=100)[-1]
    note = f"median {statistics.median(delays):.2f} s"
    report(f"failure to the notifier's call, p99 of {failures}", p99_s, 5.0, "s", note)


def a_pass_that_fails(root: Path, hook: Hook, files: int, rounds: int) -> None:
    """The same files fail with somebody to tell and with nobody, in turn."""
    modules: dict[str, str] = {}
    for number in range(rounds):
        modules |= {f"told{number}": POLLED.format(told=""), f"untold{number}": POLLED.format(told=".alert(to=[])")}
    ws = workspace(root, modules)
    (root / "in").mkdir()
    for number in range(files):
        (root / "in" / f"{number:05d}.csv").write_text("a")
    spent: dict[str, list[float]] = {"told": [], "untold": []}
    grown: dict[str, list[float]] = {"told": [], "untold": []}
    messages = []
    for number in range(rounds):
        for kind in ("untold", "told") if number % 2 else ("told", "untold"):
            name, before = f"{kind}{number}", len(hook.came)
            ws.deploy(name)
            try:
                ws.start()
                daemon = psutil.Process(ws.status().daemon.pid)
                held, cpu = daemon.memory_info().rss, cpu_s(daemon)
                ws.start_engine()
                highest = held
                while sum(run.status == "failed" for run in ws.runs(name, files + 1)) < files:
                    highest = max(highest, daemon.memory_info().rss)
                    time.sleep(1.0)
                ws.stop_engine()
                spent[kind].append(cpu_s(daemon) - cpu)
                grown[kind].append((highest - held) / 1e6)
                if kind == "told":
                    hook.until(before + 2, 30)
                    time.sleep(6)
                    messages.append(len(hook.came) - before)
            finally:
                ws.kill()
                ws.disable(name)
    told, untold = min(spent["told"]), min(spent["untold"])
    report(f"{files:,} failures in one pass: messages", max(messages), 2.0, "")
    more_mb = min(grown["told"]) - min(grown["untold"])
    report(f"{files:,} failures in one pass: more memory of the daemon", more_mb, 5.0, "MB")
    note = f"{told:.1f} s of CPU of the daemon and its worker, {untold:.1f} s with nobody to tell"
    report(f"{files:,} failures in one pass: beside the same with nobody to tell", told / untold, 1.02, "x", note)


def workspace(root: Path, modules: dict[str, str]) -> Workspace:
    """A workspace with these flows, deployed as they are needed."""
    (root / "flow_modules").mkdir(parents=True)
    for name, text in modules.items():
        (root / "flow_modules" / f"{name}.py").write_text(text)
    (root / "config").mkdir()
    (root / "config" / "data_engine.toml").write_text(SETTINGS)
    ws = Workspace(root)
    if "flow000" in modules:
        for name in modules:
            ws.deploy(name)
    return ws


def cpu_s(daemon: psutil.Process) -> float:
    """What the daemon and its workers have spent."""
    spent = 0.0
    for process in (daemon, *daemon.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        spent += times.user + times.system
    ended = daemon.cpu_times()
    return spent + ended.children_user + ended.children_system


if __name__ == "__main__":
    main()
