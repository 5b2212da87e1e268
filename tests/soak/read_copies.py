"""`python -m tests.soak.read_copies [SECONDS] [EVERY]`: a flow writes a warehouse each 5 s, or so many, while five readers look at it all
the time.

Two readers are cells of Jupyter kernels (not on Windows), one keeps every copy open, one is killed while it copies, one reads and closes.
No write fails or waits for longer than a second; each reader sees a state whose sums balance, and how many writes that is behind the last
one is counted. At the end the copies together are within their bound.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

import duckdb

from data_engine import Workspace

EACH_S = 5.0
KERNELS = 0 if sys.platform == "win32" else 2
ROWS = 10_000_000
CACHE_BYTES = 10**9

FLOW = """
import time
import duckdb
from data_engine import Flow

def write(context):
    number, began = context.params["number"], time.monotonic()
    with duckdb.connect(str(context.database("w.duckdb"))) as connection:
        opened_s = time.monotonic() - began
        connection.execute("BEGIN")
        connection.execute(f"UPDATE accounts SET amount = amount + (CASE WHEN n % 2 = {number % 2} THEN 3 ELSE -3 END)")
        connection.execute(f"INSERT INTO moves SELECT {number}, range % 2 * 2 - 1 FROM range(100000)")
        connection.execute(f"UPDATE last SET number = {number}")
        connection.execute("COMMIT")
    return opened_s

def build():
    return Flow(group="G").step(write)
"""
WRITE = """
import json, sys, time
from pathlib import Path
from data_engine import Workspace
root, log, seconds, each_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
flow, until, number = Workspace(root).load_flow("writer"), time.monotonic() + float(seconds), 0
while time.monotonic() < until:
    began, number = time.monotonic(), number + 1
    (context,) = flow.run_once(params={"number": number}, on_error="continue")
    with log.open("a") as file:
        print(json.dumps([number, context.current or 0.0, str(context.error or ""), time.time()]), file=file, flush=True)
    time.sleep(max(0.0, began + each_s - time.monotonic()))
"""

LOOK = """
import duckdb, json, sys, time
from pathlib import Path
from data_engine import Workspace
root, written, looks, kind = {arguments!r}
ws, kept = Workspace(root), []

def look():
    before = len(Path(written).read_text().splitlines()) if Path(written).exists() else 0
    began = time.monotonic()
    connection = duckdb.connect(str(ws.database("w.duckdb")), read_only=True)
    took_s = time.monotonic() - began
    query = "SELECT (SELECT sum(amount) FROM accounts), (SELECT sum(step) FROM moves), (SELECT count(*) FROM moves), number FROM last"
    amount, steps, moves, number = connection.execute(query).fetchone()
    is_one = amount == 0 and (steps or 0) == 0 and moves == number * 100000
    if kind == "keeps open":
        kept.append(connection)
        del kept[:-200]
    else:
        connection.close()
    with Path(looks).open("a") as file:
        print(json.dumps([kind, bool(is_one), before - number, took_s]), file=file, flush=True)
"""
LOOP = (
    LOOK
    + """
while True:
    look()
    time.sleep(0.5)
"""
)


class Campaign:
    """One workspace, its writer and its readers."""

    def __init__(self, folder: Path, seconds: float, each_s: float) -> None:
        self.seconds, self.each_s, self.random = seconds, each_s, random.Random()
        self.ws = Workspace.create(folder / "ws")
        self.ws.layout.settings_path.write_text(f'[preview]\ncopy_limit = "1GB"\ncache = "{CACHE_BYTES}B"\n')
        (self.ws.layout.flow_modules_dir / "writer.py").write_text(FLOW)
        self.ws.layout.databases_dir.mkdir(exist_ok=True)
        self.database = self.ws.layout.databases_dir / "w.duckdb"
        self.written, self.looks = folder / "written", folder / "looks"
        self.kills = 0
        with duckdb.connect(str(self.database)) as connection:
            connection.execute(f"CREATE TABLE filler AS SELECT random() AS x FROM range({ROWS})")
            connection.execute("CREATE TABLE accounts AS SELECT range AS n, 0::BIGINT AS amount FROM range(100000)")
            connection.execute(
                "CREATE TABLE moves (number BIGINT, step BIGINT); CREATE TABLE last AS SELECT 0 AS number"
            )

    def reader(self, kind: str, text: str = LOOP) -> str:
        """The program of a reader."""
        return text.format(arguments=(str(self.ws.root), str(self.written), str(self.looks), kind))

    def start(self, kind: str) -> subprocess.Popen[bytes]:
        """A reader as a process; that it says how old a copy is goes nowhere."""
        return subprocess.Popen([sys.executable, "-c", self.reader(kind)], stderr=subprocess.DEVNULL)

    def run(self) -> None:
        """Write and read until the time is over."""
        from jupyter_client.manager import start_new_kernel

        kernels: list[Any] = [start_new_kernel() for _ in range(KERNELS)]
        processes = [self.start(kind) for kind in ("plain", "keeps open")]
        for _, client in kernels:
            client.execute_interactive(self.reader("kernel", LOOK), output_hook=lambda message: None)
        command = [sys.executable, "-c", WRITE, self.ws.root, self.written, self.seconds, self.each_s]
        writer = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
        try:
            while writer.poll() is None:
                for _, client in kernels:
                    answer = client.execute_interactive("look()", output_hook=lambda message: None)
                    assert answer["content"]["status"] == "ok", answer["content"]
                self.kill_a_reader()
                for process in processes:
                    assert process.poll() is None, "a reader has ended"
        finally:
            for process in (*processes, writer):
                process.kill()
                process.wait()
            for manager, _ in kernels:
                manager.shutdown_kernel(now=True)

    def kill_a_reader(self) -> None:
        """Start one, and kill it at some moment of its first look."""
        process = self.start("killed")
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.random.uniform(0.3, 2.0))
        process.kill()
        process.wait()
        self.kills += 1

    def judge(self) -> int:
        """Say what was done; the number of promises that did not hold."""
        writes = [json.loads(line) for line in self.written.read_text().splitlines()]
        looks = [json.loads(line) for line in self.looks.read_text().splitlines()]
        failed = [error for _, _, error, _ in writes if error]
        longest_s = max(opened_s for _, opened_s, _, _ in writes)
        torn = [kind for kind, is_one, _, _ in looks if not is_one]
        behind = [late for _, _, late, _ in looks]
        kinds = {kind: sum(look[0] == kind for look in looks) for kind in ("kernel", "plain", "keeps open", "killed")}
        self.ws.database("w.duckdb")
        root = self.ws.home.local.runtime_dir / "read_copies"
        copies = [path for path in root.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in copies)
        print(
            f"{len(writes)} writes, {len(failed)} failed, the longest waited {longest_s * 1000:.0f} ms to open; {failed[:3]}"
        )
        print(f"{len(looks)} looks {kinds}, {self.kills} readers killed; {len(torn)} of no one state")
        print(f"writes behind: {max(behind)} at most, {sum(late > 1 for late in behind)} looks more than one")
        print(f"slowest look {max(look[3] for look in looks):.1f} s; copies of {size / 1e6:.0f} MB are left")
        left = [path for path in root.rglob("*") if path.name.startswith(("making", "removed"))]
        is_too_much = size > CACHE_BYTES + self.database.stat().st_size
        return len(failed) + (longest_s > 1) + len(torn) + is_too_much + len(left)


def main() -> int:
    """The number of promises that did not hold."""
    seconds, each_s = (float(given or usual) for given, usual in zip_longest(sys.argv[1:], (3600.0, EACH_S)))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        campaign = Campaign(Path(name), seconds, each_s)
        campaign.run()
        return campaign.judge()


if __name__ == "__main__":
    sys.exit(main())
