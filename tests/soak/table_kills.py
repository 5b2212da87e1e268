"""`python -m tests.soak.table_kills [KILLS] [SEED]`: kill -9 runs while their rows are applied, their files published, and both finished.

A run replaces rows in two databases, and a file. It is killed at a random moment, or at a named point: at the first or second COMMIT, after
it, or before it replaces the file. In half of the rounds another process then runs a flow that gives rows for the same tables. What
finishes the first is killed, too, and runs again to its end. After each death each database is wholly before or wholly after; in the end
databases and file are of one run, but for what the later run has replaced, which stays.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from data_engine import Workspace
from data_engine.daemon.daemon import StageSweeper
from data_engine.engine import publication, stage
from data_engine.engine.publication import STAGING, tidy
from data_engine.errors import FlowValidationError
from data_engine.helpers.duckdb import kept
from data_engine.ledger.outputs import runs_of_stages
from data_engine.workspace.machine import machine_id
from tests.support import WorkspaceFiles

POINTS = ("any", "at commit 1", "at commit 2", "after commit 1", "after commit 2", "at file")
FLOW = """
from pathlib import Path
import polars as pl
from data_engine import Flow, helpers

def store(context):
    number = int(Path({number!r}).read_text())
    rows = pl.DataFrame({{"n": [number] * 100}})
    for name in {databases}:
        helpers.replace_rows_by_file(context.database(name), "sales", df=rows, file_hash="jan")
        helpers.replace_table(context.database(name), "whole", df=rows)
    {write}

def build():
    return Flow(group="G").mirror(root="../{mirror}", staged=True).step(store)
"""
Numbers = tuple[int, int]


def die(*_: object) -> None:
    """At once, without any clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)


class Dies:
    """A connection that dies at this point."""

    commits = 0

    def __init__(self, conn: Any, point: str) -> None:
        self._conn, self._point = conn, point

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)

    def execute(self, sql: str, *values: Any) -> Any:
        is_commit = sql == "COMMIT"
        Dies.commits += is_commit
        if is_commit and self._point == f"at commit {Dies.commits}":
            die()
        answer = self._conn.execute(sql, *values)
        if is_commit and self._point == f"after commit {Dies.commits}":
            die()
        return answer


def die_at(point: str, after_s: float) -> None:
    """Die at this point of what follows, "any" so many seconds after the application has begun."""
    transaction, apply = kept.transaction, kept.apply

    def applied(*args: Any, **more: Any) -> Any:
        kept.transaction = lambda database: transaction(kept.replace(database, conn=Dies(database.conn, point)))
        if point == "any":
            threading.Thread(target=lambda: (time.sleep(after_s), die()), daemon=True).start()
        return apply(*args, **more)

    kept.apply = applied
    if point == "at file":
        stage.take_place = publication.take_place = die  # type: ignore[attr-defined]


def run(root: Path, name: str, point: str, after_s: float) -> None:
    """Run a flow in this process, which dies at the point."""
    if point:
        die_at(point, after_s)
    Workspace(root).load_flow(name).run_once()


def finish(root: Path, point: str, after_s: float) -> None:
    """Sweep as a daemon does; with a point, in this process, which dies at it."""
    home = Workspace(root).home
    home.ledger().flush()
    if not point:
        StageSweeper(home.ledger(), home).sweep([Workspace(root).load_flow("first")], is_owner=True)
        return
    die_at(point, after_s)
    runs = partial(runs_of_stages, home.local.ledger_path)
    machine = machine_id(home.local.state_root)
    tidy(root / "out", machine=machine, runs=runs, is_owner=True, now_s=time.time(), databases=home.databases)


def numbers_in(root: Path, name: str) -> Numbers:
    """The numbers of the runs whose rows stand in both tables of a database: one in each."""
    with duckdb.connect(root / "databases" / name, read_only=True) as conn:
        found = [
            conn.execute(f"SELECT DISTINCT n, count(*) FROM {table} GROUP BY n").fetchall()
            for table in ("sales", "whole")
        ]
    (sales,), (whole,) = found
    assert (sales[1], whole[1]) == (100, 100), found
    return sales[0], whole[0]


class Campaign:
    """Rounds in one workspace; each run's rows and file hold the round's number, those of the later run its negative."""

    def __init__(self, root: Path, seed: int) -> None:
        self._random, self.root = random.Random(seed), root
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload([__name__])
        ws = WorkspaceFiles(root)
        for name, databases in (("first", ["v.duckdb", "w.duckdb"]), ("v", ["v.duckdb"]), ("w", ["w.duckdb"])):
            is_first = name == "first"
            write = '(context.mirror.root / "jan.txt").write_text(str(number))' if is_first else "pass"
            mirror, place = "out" if is_first else "other", str(root / "number.txt")
            ws.module(name, FLOW.format(databases=databases, write=write, mirror=mirror, number=place))
        self.counts: Counter[str] = Counter()

    def do(self, *call: Any) -> bool:
        """Whether a process that does this was killed.

        Raises:
            AssertionError: it failed.
        """
        process = self._processes.Process(target=call[0], args=(self.root, *call[1:]))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
        return process.exitcode != 0

    def state(self) -> tuple[Numbers, Numbers, int]:
        """Whose rows stand in both databases, and whose file lies there."""
        file = self.root / "out" / "jan.txt"
        return numbers_in(self.root, "v.duckdb"), numbers_in(self.root, "w.duckdb"), int(file.read_text())

    def begin(self) -> None:
        """The first run, which nobody kills."""
        self._set_number(1_000_000)
        assert not self.do(run, "first", "", 0.0)

    def _set_number(self, number: int) -> None:
        (self.root / "number.txt").write_text(str(number))

    def round(self, number: int) -> None:
        """One kill, perhaps a later run, perhaps a kill of what finishes, and the finishing."""
        point, before = self._random.choice(POINTS), self.state()
        self._set_number(number)
        was_killed = self.do(run, "first", point, self._random.uniform(0, 0.3))
        after = self.state()
        about = f"round {number}, {point}: {before} -> {after}"
        new = (number, number)
        assert all(now in (old, one) for now, old, one in zip(after, before, (new, new, number), strict=True)), about
        self.counts[f"killed: {point}" if was_killed else "ended before"] += 1
        later = self._random.choice(["", "", "v", "w"])
        if later:
            self._set_number(-number)
            assert not self.do(run, later, "", 0.0)
            self.counts["a later run between"] += 1
        again = self._random.choice(["", *POINTS])
        if again and self.do(finish, again, self._random.uniform(0, 0.2)):
            self.counts["its finishing killed"] += 1
            between = self.state()
            assert all(one[0] == one[1] for one in between[:2]), f"{about}, finishing {again} -> {between}"
        assert not self.do(finish, "", 0.0)
        end = self.state()
        about = f"{about}, later {later!r}, finishing {again} -> {end}"
        begun = number in (after[0][0], after[1][0], after[2]) or end[2] == number
        whole = (new, new, number) if begun else before
        wanted = [whole[0], whole[1], whole[2]]
        if later:
            wanted["vw".index(later)] = (-number, -number)
        assert list(end) == wanted, f"{about}, wanted {wanted}"
        assert was_killed or end[2] == number, about
        self.counts["finished" if begun and was_killed else "left as before" if was_killed else "whole at once"] += 1
        left = [path for path in self.root.glob(f"**/{STAGING}/*/**/*") if path.is_file() and path.suffix == ".arrow"]
        assert not left, f"{about}: {left}"


def main() -> None:
    """KILLS rounds."""
    numbers = [int(text) for text in sys.argv[1:]]
    kills, seed = [*numbers, *(200, random.SystemRandom().randrange(10**9))[len(numbers) :]]
    print(f"{kills} rounds, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        os.environ["XDG_CONFIG_HOME"] = str(Path(name) / "config")
        campaign = Campaign(Path(name) / "ws", seed)
        campaign.begin()
        failures = 0
        for number in range(1, kills + 1):
            try:
                campaign.round(number)
            except (AssertionError, FlowValidationError, ValueError) as error:
                failures += 1
                print(f"{error}", flush=True)
                campaign.do(finish, "", 0.0)
            if number % 5 == 0:
                print(f"{number} rounds, {failures} wrong", flush=True)
    print(", ".join(f"{count} {what}" for what, count in sorted(campaign.counts.items())))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
