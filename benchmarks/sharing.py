"""What sharing costs, in two parts: `python -m benchmarks.sharing [history] [daemon]`; both without arguments.

`history` is a commit on a short and on a long history and an observer's refresh, each as a daemon's share thread does it on
a folder of this machine; `daemon` the memory of a daemon that owns and publishes, what an idle owner writes on the share,
and how soon a dead owner is taken over.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from benchmarks.figures import finish, median_s, report
from data_engine import Workspace
from data_engine.lease.folder import OsFolder
from data_engine.lease.keeper import Keeper, KeeperRules
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import Identity, Limits, Segment
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.share import SharedHistory
from data_engine.model import (
    Event,
    LogLine,
    RunFinished,
    RunStarted,
    SeenSource,
    Signature,
    SourceKey,
    StepFinished,
    StepStarted,
)
from data_engine.platforms import processes
from tests.daemon.stations import Station
from tests.support import until

NOW_S = 1_750_000_000.0
HISTORIES = (1_000, 10_000, 100_000)
COMMITS = 7
LIMITS = Limits(600, 3600)
"""Nothing is due by itself while the share thread's work is done by hand."""

HEARTBEAT_S, STALE_AFTER_S = 1.0, 5.0
IDLE_BEATS = 20
DEATHS = 3
POLL = """
from data_engine import Flow

def count(context):
    return len(context.source.path.read_bytes())

def build():
    return Flow(group="Poll").watch(mode="poll", source="../in", interval="1s", settle=0).step(count)
"""


BARE = """
import json, sqlite3, sys, time
began_s = time.perf_counter()
import pyarrow.parquet as parquet
database = sqlite3.connect(sys.argv[1])
took = {}
for table, files in json.loads(sys.argv[2]).items():
    for file in files:
        rows = parquet.read_table(file)
        kept = [name for name in rows.column_names if table != "logs" or name not in ("fencing_token", "rev")]
        names = [{"fencing_token": "seen_token", "rev": "seen_rev"}.get(name, name) for name in kept]
        insert = f"INSERT OR REPLACE INTO {table} ({', '.join(names)}, rev) VALUES ({', '.join('?' * len(names))}, 0)"
        database.executemany(insert, zip(*(rows[name].to_pylist() for name in kept)))
    database.commit()
    took[table] = time.perf_counter() - began_s
print(json.dumps(took))
"""
"""Reads the same segments and inserts their rows into an empty ledger, table after table, and nothing else."""


def run_events(number: int) -> Iterator[Event]:
    """Every event of one good run of two steps over one of 1,000 sources, with one line of log."""
    run_id = f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:016x}"
    key = SourceKey("../../input", f"claims_{number % 1000:04}.csv")
    seen = (SeenSource(key, Signature(1000 + number, 10**18 + number)),)
    at_s = NOW_S + number
    yield RunStarted(run_id, f"flow_{number % 20}", "Claims", f"/mnt/share/input/{key.path}", at_s, key, seen)
    for index in range(2):
        yield StepStarted(run_id, index, f"Step {index}", at_s)
        yield StepFinished(run_id, index, f"Step {index}", "success", at_s, 0.0001 * number)
    yield LogLine(run_id, f"flow_{number % 20}", None, "INFO", f"{number} rows read", at_s)
    yield RunFinished(run_id, "success", at_s, 0.001 * number, seen=seen)


class CountedFolder(OsFolder):
    """Counts what is written: operations by their name, and bytes."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.written: Counter[str] = Counter()

    def write(self, path: str, data: bytes) -> None:
        self.written["bytes"] += len(data)
        super().write(path, data)


class Machine:
    """A workstation's ledger and its share thread, which is not started: its work is done, and timed, from here."""

    def __init__(self, name: str, folder: Path) -> None:
        self.ledger = Ledger.open(folder / name / "ledger.sqlite")
        self.folder = CountedFolder(folder / "share")
        me = Identity(name, f"{name}-daemon", name, os.getpid(), "1", f"{name}-lock", "host")
        observer = Observer(self.folder, me, workspace="w", limits=LIMITS, holds_lock=lambda: True)
        self.keeper = Keeper(observer, SharedHistory(self.ledger, folder / "share"), KeeperRules(lambda: LIMITS))

    def commit(self) -> int:
        """Publish what is new, as the share thread does; the bytes written, folds and the list's entry included."""
        before = self.folder.written["bytes"]
        held = self.keeper._held
        assert held is not None
        self.keeper._commit(held)
        return self.folder.written["bytes"] - before

    def look(self) -> None:
        """One look at the share, with a refresh when there is something new."""
        self.keeper._look()
        assert self.keeper.state.trouble is None, self.keeper.state.trouble

    def record(self, first: int, last: int) -> None:
        """The runs of these numbers, many in one transaction."""
        for number in range(first, last, 500):
            self.ledger.record(*(event for one in range(number, min(number + 500, last)) for event in run_events(one)))

    def runs(self) -> int:
        """How many it knows."""
        with self.ledger.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])


def cpu_s() -> float:
    """Processor seconds of this process and of the children it has waited for."""
    return sum(os.times()[:4])


def commit_cost(owner: Machine, first: int) -> tuple[float, float, float]:
    """The median seconds, processor seconds and bytes of a few commits of 1,000 new runs."""
    times, efforts, sizes = [], [], []
    for number in range(COMMITS):
        owner.record(first + number * 1000, first + (number + 1) * 1000)
        started_s, spent_s = time.perf_counter(), cpu_s()
        sizes.append(owner.commit())
        times.append(time.perf_counter() - started_s)
        efforts.append(cpu_s() - spent_s)
    return statistics.median(times), statistics.median(efforts), statistics.median(sizes)


def refresh_s(machine: Machine, expected: int) -> tuple[float, float]:
    """Seconds of a first refresh until the runs are seen, and until their steps and logs are there too."""
    started_s = time.perf_counter()
    refresh = threading.Thread(target=machine.look)
    refresh.start()
    until(lambda: machine.runs() == expected, timeout_s=60)
    seen_s = time.perf_counter() - started_s
    refresh.join()
    return seen_s, time.perf_counter() - started_s


def bare_refresh_s(folder: Path, segments: Mapping[str, Sequence[Segment]]) -> tuple[float, float]:
    """The same for a process that does nothing but read the segments and insert their rows."""
    tables = {
        table: [str(folder / "share" / "state" / table / one.name) for one in segments[table]]
        for table in ("file_state", "runs", "step_runs", "logs")
    }
    path = folder / f"bare-{time.monotonic_ns()}" / "ledger.sqlite"
    Ledger.open(path).close()
    command = [sys.executable, "-c", BARE, str(path), json.dumps(tables)]
    started_s = time.perf_counter()
    took = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    whole_s = time.perf_counter() - started_s
    return whole_s - took["logs"] + took["runs"], whole_s


def measure_history(folder: Path) -> None:
    """Commits on histories of different lengths, and refreshes of an observer from the longest."""
    (folder / "share").mkdir()
    owner = Machine("owner", folder)
    owner.keeper._own()
    known, base = 0, (0.0, 0.0)
    for published in HISTORIES:
        for first in range(known, published, 5_000):
            owner.record(first, min(first + 5_000, published))
            owner.commit()
        if published == HISTORIES[-1]:
            measure_refresh(folder, owner, published)
        took_s, spent_s, size = commit_cost(owner, published)
        base = base if known else (spent_s, size)
        report(f"commit 1,000 runs on {published:,}", took_s * 1000, 500, "ms", f"{size / 1000:.0f} kB written")
        report("  its processor time, as a multiple of the first", spent_s / base[0], 1.3, "x")
        report("  its bytes, as a multiple of the first", size / base[1], 1.1, "x")
        known = published + COMMITS * 1000


def measure_refresh(folder: Path, owner: Machine, known: int) -> None:
    """An observer's refreshes from all that was published."""
    held = owner.keeper._held
    assert held is not None
    content = sum(segment.size_bytes for segments in held.head.files.values() for segment in segments)
    report("all that was written, by what is kept", owner.folder.written["bytes"] / content, 8, "x")
    before = psutil.Process().memory_info().rss
    assert "pyarrow" not in sys.modules
    times, bare = [], []
    for number in range(3):  # in turn, as the machine does other work too
        times.append(refresh_s(Machine(f"observer-{number}", folder), known))
        bare.append(bare_refresh_s(folder, held.head.files))
    for what, at, most in ((f"{known:,} runs are seen", 0, 1.5), ("their steps and logs too", 1, 1.5)):
        took_s, floor_s = min(one[at] for one in times), min(one[at] for one in bare)
        note = f"{took_s:.2f} s, {content / 1e6:.0f} MB"
        report(f"first refresh: {what}, by a bare read and insert", took_s / floor_s, most, "x", note)
    observer = Machine("observer-last", folder)
    observer.look()
    report("refresh when nothing has changed", median_s(observer.look, 20) * 1000, 50, "ms")
    owner.record(10**6, 10**6 + 10)
    owner.commit()
    started_s = time.perf_counter()
    observer.look()
    assert observer.runs() == known + 10
    report("refresh of ten new runs", (time.perf_counter() - started_s) * 1000, 500, "ms")
    grown = (psutil.Process().memory_info().rss - before) / 1e6
    report("this process grows by, in all refreshes", grown, 20, "MB")


def measure_daemon(folder: Path) -> None:
    """Real daemons with state roots of their own on one folder; heartbeats shortened, the rest as it is."""
    workspace = Workspace.create(folder / "team")
    settings = f'[lease]\nheartbeat = "{HEARTBEAT_S:g}s"\nstale_after = "{STALE_AFTER_S:g}s"\ntakeover = "auto"\n[deploy]\nmode = "auto"\nquiet = "0s"\n'
    (workspace.root / "config" / "data_engine.toml").write_text(settings)
    (workspace.root / "flow_modules" / "example.ipynb").unlink()
    (workspace.root / "flow_modules" / "poll.py").write_text(POLL)
    (workspace.root / "in").mkdir()
    made: list[Station] = []

    def station(*, engine: bool = True) -> Station:
        made.append(Station(f"station-{len(made)}", workspace.root, folder / "stations"))
        return made[-1].start(engine=engine)

    try:
        owner = station()
        report("daemon that owns and publishes, RSS, most in 2,000 runs", publishing_mb(owner, workspace), 85, "MB")
        time.sleep(2 * HEARTBEAT_S)  # the last commit
        writes, size = writes_of_idle(workspace.root / ".workspace_state")
        report("writes of an idle owner on the share", writes, 2, "a beat", f"{size:.0f} bytes a beat")
        delays = []
        for _ in range(DEATHS):
            heir = station(engine=False)
            until(lambda heir=heir: heir.lease["state"] == "owned" and heir.lease["engine_on"])  # type: ignore[misc]
            time.sleep(STALE_AFTER_S / 2)
            processes.kill(owner.pid)
            died_s = time.monotonic()
            until(lambda heir=heir: heir.lease["state"] == "mine" and heir.daemon.get("/status")["engine"]["on"])  # type: ignore[misc]
            delays.append(time.monotonic() - died_s)
            owner.end()
            owner = heir
        most_s = STALE_AFTER_S + Limits(HEARTBEAT_S, STALE_AFTER_S).poll_s
        report(f"owner's death to the next engine, stale_after {STALE_AFTER_S:g} s", max(delays), most_s, "s")
    finally:
        for one in made:
            one.end()


def publishing_mb(owner: Station, workspace: Workspace) -> float:
    """The most memory of the owner's daemon, without its workers, while it runs and publishes 2,000 files."""
    process, most = psutil.Process(owner.pid), 0
    for number in range(2000):
        (workspace.root / "in" / f"{number:04}.txt").write_text("x")
    while len(owner.daemon.get("/runs", limit=5000)["runs"]) < 2000 or owner.daemon.get("/status")["active_runs"]:
        most = max(most, process.memory_info().rss)
        time.sleep(0.02)
    return most / 1e6


def writes_of_idle(folder: Path) -> tuple[float, float]:
    """Files created or renamed below `folder` for each heartbeat, and their bytes, as the system tells it."""
    from watchdog.events import FileClosedEvent, FileMovedEvent, FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer as Events

    seen: Counter[str] = Counter()

    class Count(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if isinstance(event, (FileClosedEvent, FileMovedEvent)):
                seen["writes" if isinstance(event, FileClosedEvent) else "renames"] += 1
                seen["beats"] += "leases/" in str(event.dest_path)

    events = Events()
    events.schedule(Count(), str(folder), recursive=True)
    events.start()
    try:
        time.sleep(IDLE_BEATS * HEARTBEAT_S)
    finally:
        events.stop()
        events.join()
    lease = next(path for path in (folder / "leases").iterdir() if path.suffix == ".json")
    assert seen["beats"] > IDLE_BEATS / 2, seen
    return (seen["writes"] + seen["renames"]) / seen["beats"], lease.stat().st_size


def main() -> None:
    """Each part that was asked for."""
    parts: dict[str, Callable[[Path], None]] = {"history": measure_history, "daemon": measure_daemon}
    asked = sys.argv[1:] or list(parts)
    if unknown := set(asked) - set(parts):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    for part in asked:
        with tempfile.TemporaryDirectory() as name:
            parts[part](Path(name))
    finish()


if __name__ == "__main__":
    main()
