"""The daemon, in five parts: `python -m benchmarks.daemon [life] [idle] [first-pass] [restart] [service]`; all without arguments.

`life` is cold start, status, memory, and how soon a request or a dropped file runs; `idle` what it takes to wait; `first-pass` a first poll pass
over many tiny files, with one worker and with two; `restart` a daemon that comes back to many known files and a new one;
`service` one that dies with all it has started, and is started as its service would.
"""

from __future__ import annotations

import http.client
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from benchmarks.figures import finish, report
from data_engine import Workspace
from data_engine.daemon.control import DaemonClient
from data_engine.daemon.service import command_of, record_of, write_record
from data_engine.model import utc_text

FILES = 10_000
KNOWN_FILES, FILES_A_FOLDER = 100_000, 1000
IDLE_S = 20
PASSES = 3
STARTED = "SELECT started_at_utc FROM runs WHERE source_path = ?"
MANUAL = """
import time
from data_engine import Flow

def work(context):
    return time.time()

def build():
    return Flow(group="Group {number}").step(work)
"""
POLL = """
from data_engine import Flow

def read(context):
    return context.source.path.read_bytes()

def count(context):
    return len(context.current)

def build():
    return (
        Flow(group="{group}").watch(mode="poll", source="{source}", interval="1s", settle=0, max_parallel={parallel})
        .step(read).step(count)
    )
"""

BARE = """
import sys, sqlite3, json, asyncio, threading, pathlib, dataclasses, functools, subprocess
import psutil, tomlkit, watchdog.observers
import tornado.httpserver, tornado.netutil, tornado.web

class Status(tornado.web.RequestHandler):
    def get(self):
        self.write(json.loads(text))

@functools.cache
def worker():
    code = "import sys, time\\nfor line in sys.stdin: print(time.time(), flush=True)"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

class Ask(tornado.web.RequestHandler):
    def get(self):
        worker().stdin.write("\\n")
        worker().stdin.flush()
        self.write(worker().stdout.readline())

async def serve():
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    pages = [("/status", Status), ("/ask", Ask)]
    tornado.httpserver.HTTPServer(tornado.web.Application(pages)).add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

text = sys.stdin.readline()
asyncio.run(serve())
"""
"""A server that loads what the daemon loads, answers one text, and asks a process that waits what time it is."""


def until(question: Callable[[], Any], timeout_s: float = 120.0, every_s: float = 0.002) -> Any:
    """The first true answer."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if answer := question():
            return answer
        time.sleep(every_s)
    raise TimeoutError


def family_mb(pid: int, *, with_children: bool) -> float:
    """Resident memory of the daemon, with its workers or without."""
    process = psutil.Process(pid)
    family = [process, *(process.children(recursive=True) if with_children else [])]
    return sum(one.memory_info().rss for one in family) / 1e6


class Bare:
    """A process that does nothing but answer `text`, started and asked as the daemon is."""

    def __init__(self, text: str = "{}") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(text.replace("\n", " ") + "\n")
        self.process.stdin.flush()
        self.connection = http.client.HTTPConnection("127.0.0.1", int(self.process.stdout.readline()))
        self.get()

    def get(self, path: str = "/status") -> Any:
        """What it answers."""
        self.connection.request("GET", path)
        return json.loads(self.connection.getresponse().read())

    def close(self) -> None:
        """End it."""
        self.connection.close()
        self.process.kill()
        self.process.communicate()


def cold_starts_s(workspace: Workspace) -> tuple[float, float]:
    """Seconds from asking for the daemon until it answers, and the same of a bare server, in turn."""
    times: list[float] = []
    floors: list[float] = []
    for _ in range(5):
        workspace.deploy()
        started = time.perf_counter()
        workspace.start()
        times.append(time.perf_counter() - started)
        workspace.kill()
        started = time.perf_counter()
        bare = Bare()
        floors.append(time.perf_counter() - started)
        bare.close()
    return statistics.median(times), statistics.median(floors)


def statuses_ms(workspace: Workspace) -> tuple[list[float], list[float]]:
    """Milliseconds of a thousand statuses of 20 flows over a kept connection, and of a bare server's same answer, in turn, sorted."""
    client = DaemonClient.connect(workspace.home.local)
    assert client is not None
    bare = Bare(json.dumps(client.get("/status")))
    times: list[float] = []
    floors: list[float] = []
    for _ in range(1000):
        for call, taken in ((lambda: client.get("/status"), times), (bare.get, floors)):
            started = time.perf_counter()
            call()
            taken.append((time.perf_counter() - started) * 1000)
    client.close()
    bare.close()
    return sorted(times), sorted(floors)


def request_to_step_ms(workspace: Workspace) -> tuple[float, float]:
    """Median milliseconds from a request by hand to the start of its step in its worker; and how many times what a bare server takes
    that passes each request to a process which waits for it."""
    times, floors = list[float](), list[float]()
    bare = Bare()
    bare.get("/ask")
    for _ in range(30):
        asked_s = time.time()
        floors.append((bare.get("/ask") - asked_s) * 1000)
        asked_s = time.time()
        (run_id,) = workspace.run("flow_00", wait=False)
        # Not too often: a question takes locks, which cost the daemon more than us under Wine.
        until(
            lambda run_id=run_id: (run := workspace.home.ledger().run(str(run_id))) and run.status == "success",  # type: ignore[misc]
            every_s=0.02,
        )
        (step,) = workspace.steps(str(run_id))
        times.append((datetime.fromisoformat(step.started_at_utc).timestamp() - asked_s) * 1000)
    bare.close()
    return statistics.median(times), _ratio(times, floors)


def _ratio(times: list[float], floors: list[float]) -> float:
    return statistics.median(ours / floor for ours, floor in zip(times, floors, strict=True))


class Seen(FileSystemEventHandler):
    """When each file was first heard of, by its path."""

    def __init__(self) -> None:
        self.at_s: dict[str, float] = {}

    def on_any_event(self, event: FileSystemEvent) -> None:
        self.at_s.setdefault(str(event.src_path), time.time())


def heard_ms(path: Path, seen: Seen) -> float:
    """Milliseconds from a file's drop into a watched folder until the watcher tells of it."""
    dropped_s = time.time()
    path.write_text("x")
    return float(1000 * (until(lambda: seen.at_s.get(str(path))) - dropped_s))


def drop_to_run_ms(workspace: Workspace) -> tuple[float, float]:
    """Median milliseconds from a file's drop to the start of its run (interval 1 s, settle 0); and how many times what it takes until a
    watcher of a folder, with nothing behind it, tells of a file."""
    times, floors = list[float](), list[float]()
    seen, observer = Seen(), Observer()
    (workspace.root / "watched").mkdir()
    observer.schedule(seen, str(workspace.root / "watched"))
    observer.start()
    for number in range(20):
        floors.append(heard_ms(workspace.root / "watched" / f"drop{number}.txt", seen))
        path = workspace.root / "in" / f"drop{number}.txt"
        time.sleep(0.05)
        dropped_s = time.time()
        path.write_text("x")
        run = until(lambda path=path: [run for run in workspace.runs("poll", 5) if run.source == str(path)])[0]  # type: ignore[misc]
        times.append((datetime.fromisoformat(run.started_at_utc).timestamp() - dropped_s) * 1000)
    observer.stop()
    observer.join()
    return statistics.median(times), _ratio(times, floors)


def family_cpu_s(pid: int) -> tuple[float, float]:
    """CPU seconds the daemon has used, and its workers that are still there."""
    process = psutil.Process(pid)
    times = [one.cpu_times() for one in [process, *process.children(recursive=True)]]
    return times[0].user + times[0].system, sum(one.user + one.system for one in times[1:])


def scheduled_s(pid: int) -> float:
    """CPU seconds of the process by the scheduler's own account, which sees what is shorter than a tick."""
    if not Path("/proc/self/schedstat").exists():
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def idle_ms(pid: int) -> float:
    """CPU milliseconds a second that the daemon and its workers use."""
    pids = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    before = sum(map(scheduled_s, pids))
    time.sleep(IDLE_S)
    return 1000 * (sum(map(scheduled_s, pids)) - before) / IDLE_S


def empty_waits_ms() -> float:
    """The same of a process that does nothing but wake ten times a second."""
    code = f"import threading\nwait = threading.Event().wait\nfor _ in range({10 * IDLE_S + 50}): wait(0.1)"
    with subprocess.Popen([sys.executable, "-c", code]) as waiting:
        time.sleep(1)
        found = idle_ms(waiting.pid)
        waiting.kill()
    return found


def known(connection: sqlite3.Connection) -> int:
    """How many sources the ledger knows; cheap, so that asking takes nothing from what is measured."""
    return int(connection.execute("SELECT COUNT(*) FROM file_state").fetchone()[0])


def measure_life(folder: Path) -> None:
    """A daemon with 20 flows by hand and two that poll empty folders."""
    workspace = Workspace.create(folder / "ws")
    modules = workspace.root / "flow_modules"
    for number in range(18):
        (modules / f"flow_{number:02}.py").write_text(MANUAL.format(number=number))
    for name, source in (("poll", "in"), ("other", "empty")):
        (workspace.root / source).mkdir()
        (modules / f"{name}.py").write_text(POLL.format(parallel=1, source=f"../{source}", group=name))
    try:
        start_s, bare_s = cold_starts_s(workspace)
        report(
            "daemon: cold start until it answers, by a bare server's", start_s / bare_s, 6.0, "x", f"{start_s:.2f} s"
        )
        workspace.start()
        until(lambda: len(workspace.status()["flows"]) > 20)
        pid = workspace.status()["daemon"]["pid"]
        report("daemon alone, engine off, RSS", family_mb(pid, with_children=False), 60, "MB")
        times, floors = statuses_ms(workspace)
        for name, at, most in (("p50", 500, 1.5), ("p99", 990, 2.0)):
            note = f"{times[at]:.2f} ms"
            report(
                f"status of 20 flows, {name}, by a bare server's same answer", times[at] / floors[at], most, "x", note
            )
        took_ms, ratio = request_to_step_ms(workspace)
        report("request by hand to its step, by a bare server's to a process", ratio, 8, "x", f"{took_ms:.1f} ms")
        workspace.deploy()
        workspace.start_engine()
        family = []
        for _ in range(30):
            time.sleep(0.5)
            family.append(family_mb(pid, with_children=True))
        with_more = f"{max(family):.0f} MB at most, with the process that publishes"
        report("daemon with its workers, engine on, RSS when it has settled", min(family), 150, "MB", with_more)
        took_ms, ratio = drop_to_run_ms(workspace)
        report("file drop to run start, by a bare watcher's word", ratio, 15, "x", f"{took_ms:.1f} ms")
    finally:
        workspace.kill()


def measure_idle(folder: Path) -> None:
    """A daemon that polls two empty folders each second."""
    workspace = Workspace.create(folder / "idle")
    for name in ("one", "other"):
        (workspace.root / name).mkdir()
        module = POLL.format(parallel=1, source=f"../{name}", group=name)
        (workspace.root / "flow_modules" / f"{name}_flow.py").write_text(module)
    try:
        workspace.deploy()
        workspace.start_engine()
        pid = workspace.status().daemon.pid or 0
        time.sleep(15)  # what the start of the engine has set going is done
        idle, waits = idle_ms(pid), empty_waits_ms()
    finally:
        workspace.kill()
    report("CPU with two empty poll folders at 1 s", idle / 10, 0.2, "%", f"{idle:.2f} ms a second")
    report("... by that of ten empty timed waits a second", idle / waits, 1.2, "x", f"{waits:.2f} ms a second")


def measure_first_pass(folder: Path) -> None:
    """A first poll pass over tiny files with a flow of two steps: the best of a few, and CPU time for each file."""
    source = folder / "tiny"
    source.mkdir()
    for number in range(FILES):
        (source / f"{number:05}.txt").write_text("x")
    for parallel in (1, 2):
        took_s, daemon_s, workers_s = min(
            first_pass(folder / f"many{parallel}-{number}", source, parallel) for number in range(PASSES)
        )
        each = 1e6 / FILES
        report(
            f"first pass of {FILES:,} tiny files, max_parallel={parallel}: 1,000 files",
            took_s * 1000 / FILES,
            0.5,
            "s",
            f"{FILES / took_s:,.0f} files/s; CPU a file: daemon {daemon_s * each:.0f} us, workers {workers_s * each:.0f} us",
        )


def first_pass(root: Path, source: Path, parallel: int, module: str = POLL) -> tuple[float, float, float]:
    """Seconds from the start of the engine until every file is done; CPU seconds of the daemon and of its workers."""
    workspace = Workspace.create(root)
    (workspace.root / "flow_modules" / "many.py").write_text(
        module.format(parallel=parallel, source=source, group="Many")
    )
    try:
        workspace.start()
        until(lambda: any(flow["name"] == "many" for flow in workspace.status()["flows"]))
        pid = workspace.status()["daemon"]["pid"]
        with closing(sqlite3.connect(workspace.home.local.ledger_path)) as connection:
            before = family_cpu_s(pid)
            started = time.perf_counter()
            workspace.deploy()
            workspace.start_engine()
            until(lambda: known(connection) == FILES, every_s=0.02)
            took_s = time.perf_counter() - started
        after = family_cpu_s(pid)
    finally:
        workspace.kill()
    return took_s, after[0] - before[0], after[1] - before[1]


def end_family(workspace: Workspace) -> None:
    """End the daemon and all that it has started, as a machine that loses its power does: its engine is still on."""
    daemon = psutil.Process(workspace.status().daemon.pid)
    for one in (daemon, *daemon.children(recursive=True)):
        one.kill()


def measure_restart(folder: Path) -> None:
    """A daemon whose engine was on comes back after it died: seconds from asking for it to the run of the one file that is new."""
    workspace = Workspace.create(folder / "known")
    source = workspace.root / "in"
    for number in range(KNOWN_FILES):
        if number % FILES_A_FOLDER == 0:
            (source / f"{number // FILES_A_FOLDER:03}").mkdir(parents=True)
        (source / f"{number // FILES_A_FOLDER:03}" / f"{number:06}.txt").write_text("x")
    (workspace.root / "flow_modules" / "known.py").write_text(POLL.format(parallel=1, source="../in", group="Known"))
    workspace.home.ledger()
    with closing(sqlite3.connect(workspace.home.local.ledger_path)) as connection, connection:
        remember_all(connection, source)
    times = []
    try:
        workspace.deploy()
        workspace.start_engine()
        for number in range(PASSES):
            time.sleep(3)  # it has looked once
            end_family(workspace)
            path = source / "000" / f"new{number}.txt"
            path.write_text("x")
            asked_s = time.time()
            workspace.start()
            with closing(sqlite3.connect(workspace.home.local.ledger_path)) as connection:
                started = until(lambda path=path, ledger=connection: ledger.execute(STARTED, (str(path),)).fetchone())  # type: ignore[misc]
            times.append(datetime.fromisoformat(started[0]).timestamp() - asked_s)
    finally:
        workspace.kill()
    report(f"restart with {KNOWN_FILES:,} known files and a new one, to its run", min(times), 1.0, "s")


def measure_service(folder: Path) -> None:
    """A daemon killed with its workers, then started by the command line of its service: until its engine is on, the worst."""
    workspace = Workspace.create(folder / "served")
    home, times = workspace.home, []
    write_record(home.local, record_of(home))
    command = command_of(home.local.service_path, sys.executable)
    try:
        workspace.deploy()
        workspace.start_engine()
        for _ in range(5):
            time.sleep(1)
            end_family(workspace)
            started = time.perf_counter()
            served = subprocess.Popen(command, cwd="/", start_new_session=True)
            until(lambda pid=served.pid: (at := workspace.status()).daemon.pid == pid and at.engine.on, every_s=0.01)  # type: ignore[misc]
            times.append(time.perf_counter() - started)
    finally:
        workspace.kill()
    report("killed, started as its service would, to the engine on, worst", max(times), 3, "s")


def remember_all(connection: sqlite3.Connection, source: Path) -> None:
    """Write a good run of each file, with its two steps, as the daemon would have."""
    runs, steps, states = [], [], []
    at = utc_text(time.time() - 3600)
    for path in source.glob("*/*"):
        facts = path.stat()
        run_id = uuid.uuid4().hex
        key = path.relative_to(source).as_posix()
        runs.append((run_id, str(path), key, at, at))
        steps += [(run_id, index, label, at, at) for index, label in enumerate(("Read", "Count"))]
        mark = facts.st_size, facts.st_mtime_ns
        states.append((key, *mark, run_id, at, *mark, run_id, at))
    connection.executemany(
        "INSERT INTO runs (run_id, flow_name, group_name, source_path, source_root, source_key, status, started_at_utc,"
        " finished_at_utc, elapsed_s, rev) VALUES (?, 'known', 'Known', ?, '../in', ?, 'success', ?, ?, 0.001, 1)",
        runs,
    )
    connection.executemany(
        "INSERT INTO step_runs (run_id, step_index, flow_name, step_label, status, started_at_utc, finished_at_utc,"
        " elapsed_s, rev) VALUES (?, ?, 'known', ?, 'success', ?, ?, 0.001, 1)",
        steps,
    )
    connection.executemany(
        "INSERT INTO file_state (flow_name, source_root, source_key, size_bytes, mtime_ns, last_status, last_run_id,"
        " last_at_utc, success_size_bytes, success_mtime_ns, last_success_run_id, last_success_at_utc, rev)"
        " VALUES ('known', '../in', ?, ?, ?, 'success', ?, ?, ?, ?, ?, ?, 1)",
        states,
    )


def main() -> None:
    """Each part that was asked for, in machine folders of its own."""
    parts = {
        "life": measure_life,
        "idle": measure_idle,
        "first-pass": measure_first_pass,
        "restart": measure_restart,
        "service": measure_service,
    }
    asked = sys.argv[1:] or list(parts)
    if unknown := set(asked) - set(parts):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        for part in asked:
            parts[part](Path(name))
    finish()


if __name__ == "__main__":
    main()
