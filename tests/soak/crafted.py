"""`python -m tests.soak.crafted [--seconds S | --cases N] [--seed SEED]`: what a hostile writer could put on the share, without end.

Segments with mutated bytes, of any Arrow columns, and of odd values; entries, heartbeats and requests with mutated bytes and
odd fields, all with their right checksums. After each case: it was taken in or refused by the one error for it, never anything
else; what was refused has changed nothing; what was taken in can be shown, folded, settled and published again, and is then
taken in elsewhere whole. A child does the cases, in the bounds of the product's own; one that dies of a case is told and replaced.
The seed is printed; the exit code is 1 when something broke.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from data_engine.errors import RefusedSegmentError
from data_engine.lease.protocol import Damaged
from data_engine.lease.records import digest, encode, generation_of, lease_of, request_of
from data_engine.ledger import parquet_process
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.replication import UnpublishedRows
from data_engine.ledger.segments import TABLES
from data_engine.ledger.share import SharedHistory
from data_engine.model import RUN_STATUSES, Switch
from data_engine.platforms.processes import limit_memory
from tests.ledger.crafted import GOOD, odd_bytes, odd_columns, odd_rows, segment

CASES_A_LEDGER = 25
ROOT = Path("/mnt/ws")
ENTRY: dict[str, Any] = {
    "format": 1, "number": 7, "kind": "claim", "token": 7, "nonce": "n7", "engine_on": True, "at_utc": "2026-01-01",
    "handoff_to": "", "handoff_name": "", "machine_id": "A", "daemon_id": "A1", "host_name": "ANNA-PC", "pid": 7,
    "app_version": "1.0", "lock_id": "l", "host_id": "h", "heartbeat_s": 30.0, "stale_after_s": 90.0,
    "files": {"runs": [["0000000004-x.parquet", 1, "00" * 8]]},
}  # fmt: skip
LEASE = {"workspace": "w", "token": 7, "beat": 3, "machine_id": "A", "host_name": "ANNA-PC", "stale_after_s": 90.0}
REQUEST = {"workspace": "w", "request_id": "r", "beat": 3, "requester_machine_id": "B", "requester_host_name": "BEN-PC"}
ODD_JSON: tuple[Any, ...] = (
    None, True, -1, 0, 7, 2**31, 2**62, 10**400, 1.5, 1e300, math.nan, math.inf, "", "x" * 5_000, "\x1b[2J", "\udc80", "..",
    "../../x", [], [[]], {}, {"runs": 1}, {"runs": [[]]}, {"../x": []}, {"runs": [["../x.parquet", 1, "00" * 8]]}, "claim",
)  # fmt: skip


class Workstation:
    """A ledger that takes in what was crafted, and one that takes in what the first has published since."""

    def __init__(self, folder: Path) -> None:
        self.ledgers = [Ledger.open(folder / f"{n}.sqlite") for n in range(2)]
        self.here, self.there = (
            SharedHistory(ledger, ROOT, perform=parquet_process.perform) for ledger in self.ledgers
        )
        self.generation = 1
        self.there.hydrate(1, {}, _nothing, owner=None)
        self.here.hydrate(1, {}, _nothing, owner=1, mine=True)

    def close(self) -> None:
        for ledger in self.ledgers:
            ledger.close()

    def take_in(self, table: str, data: bytes) -> str:
        """What became of it."""
        before = self.content()
        self.generation += 1
        name = f"{self.generation:010d}-x.parquet"
        try:
            self.here.hydrate(self.generation, {table: [name]}, lambda *key: data, owner=1)
        except RefusedSegmentError as error:
            refused = error
        else:
            refused = None
        if refused is not None:
            assert (refused.table, refused.name) == (table, name)
            assert self.content() == before, "what was refused has changed the ledger"
            return "refused"
        self.look()
        self.fold(table, name, data)
        return "taken in"

    def content(self) -> str:
        """All of the ledger but what it says of itself."""
        with self.ledgers[0].reading() as connection:
            return hashlib.sha256(
                repr(
                    [
                        connection.execute(f"SELECT * FROM {'tombstones' if table == 'resets' else table}").fetchall()
                        for table in TABLES
                    ]
                ).encode()
            ).hexdigest()

    def look(self) -> None:
        """What people and planning would, and the take-over."""
        ledger = self.ledgers[0]
        for run in ledger.runs(limit=1000):
            assert run.status in RUN_STATUSES
            for text in (run.started_at_utc, run.finished_at_utc):
                assert text is None or datetime.fromisoformat(text).astimezone().year < 3000
            json.dumps([run.as_dict(), *(step.as_dict() for step in ledger.steps(run.run_id))])
            ledger.log(run.run_id)
        for flow in ("claims", "audit"):
            for key, state in ledger.source_states(flow).items():
                assert ".." not in key.path.split("/")
                assert state.success is None or state.success.mtime_ns + state.last.mtime_ns is not None
            for slot in ledger.served_slots(flow):
                datetime.fromisoformat(slot)
            assert all(path.startswith(("/", "\\", "C:")) for path in ledger.outputs(flow))
        with ledger.reading() as connection:
            for table in TABLES:
                if table not in ("logs", "outputs"):
                    name = "tombstones" if table == "resets" else table
                    assert connection.execute(f"SELECT 1 FROM {name} WHERE seen_token > 1").fetchall() == []

    def fold(self, table: str, name: str, data: bytes) -> None:
        """As the owner would, with a good one: what comes out is taken in whole."""
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / "0", Path(folder) / "1"]
            for file, content in zip(files, (segment(table, GOOD[table]), data), strict=True):
                file.write_bytes(content)
            parts = [(table, "good", files[0]), (table, name, files[1])]
            folded = parquet_process.perform(parquet_process.MergeSegments(parts, 1))
        self.elsewhere({table: folded}, "a fold")

    def publish(self) -> None:
        """Settle what was taken in as its new owner and publish: nobody leaves any of that out."""
        self.generation += 1
        self.here.hydrate(self.generation, {}, _nothing, owner=1, mine=True, now_s=1e9)
        self.ledgers[0].set_switch("claims", Switch(True))
        while True:
            batch = self.here.unpublished(1)
            if batch is None:
                return
            assert isinstance(batch, UnpublishedRows)
            self.elsewhere(batch.tables, "a commit")
            self.generation += 1
            self.here.mark_published(batch, self.generation)

    def elsewhere(self, tables: dict[str, bytes], what: str) -> None:
        self.generation += 1
        names = {table: [f"{self.generation:010d}-y.parquet"] for table in tables}
        self.there.hydrate(self.generation, names, lambda table, name: tables[table], owner=1)
        assert self.there.left_out is None, f"{what} of ours was not believed: {self.there.left_out}"


def one_record(rng: random.Random) -> str:
    """A record with odd fields or bytes; what became of it."""
    kind = rng.choice(["entry", "lease", "request"])
    record = dict({"entry": ENTRY, "lease": LEASE, "request": REQUEST}[kind])
    for _ in range(rng.randint(0, 2)):
        record[rng.choice([*record, "more"])] = rng.choice(ODD_JSON)
    body = json.dumps(record).encode()
    if rng.random() < 0.5:
        body = odd_bytes(body + b"0" * 16, rng)
    data = digest(body).encode() + b"\n" + body
    try:
        if kind == "entry":
            entry = generation_of(data, 7)
            assert generation_of(encode(entry.record()), 7) == entry
        elif kind == "lease":
            assert lease_of(data).beat >= 0
        else:
            assert request_of(data).shown is not None
    except Damaged as error:
        said = str(error)
    else:
        return "record believed"
    assert len(said) < 500
    return "record refused"


def play(seed: int, first: int, cases: int, seconds: float) -> None:
    """As the child: so many cases from the first on, each named before it is tried and told after."""
    limit_memory(parquet_process.MOST_MEMORY_BYTES)
    until_s = time.monotonic() + seconds
    for base in range(first, first + cases, CASES_A_LEDGER):
        with tempfile.TemporaryDirectory() as folder:
            station = Workstation(Path(folder))
            try:
                for case in range(base, min(base + CASES_A_LEDGER, first + cases)):
                    print("begin", case, flush=True)
                    print("end", case, one_case(station, random.Random(f"{seed}/{case}")), flush=True)
                    if time.monotonic() > until_s:
                        return
                station.publish()
            finally:
                station.close()
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def one_case(station: Workstation, rng: random.Random) -> str:
    """What became of it."""
    what = rng.randrange(4)
    if what == 0:
        return one_record(rng)
    table = rng.choice(list(TABLES))
    made = [odd_rows, odd_columns][rng.random() < 0.4](table, rng)
    return station.take_in(table, odd_bytes(made, rng) if what == 1 else made)


def campaign(seed: int, *, cases: int = 10**9, seconds: float = math.inf) -> tuple[Counter[str], list[str]]:
    """What became of the cases, and what broke."""
    counts: Counter[str] = Counter()
    broken: list[str] = []
    until_s, case = time.monotonic() + seconds, 0
    while case < cases and time.monotonic() < until_s and len(broken) < 10:
        left_s = min(until_s - time.monotonic(), 1e9)
        numbers = [f"--play={case}", f"--seed={seed}", f"--cases={cases - case}", f"--seconds={left_s}"]
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.crafted", *numbers],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with child:
            told, said = child.communicate()
        lines = [line.split(" ", 2) for line in told.splitlines()]
        counts.update(line[2] for line in lines if line[0] == "end")
        case = max([case, *(int(line[1]) + 1 for line in lines if line[0] == "begin")])
        if child.returncode < 0:
            counts[f"ended its process with signal {-child.returncode}"] += 1
        elif child.returncode:
            broken.append(f"seed {seed}, case {case - 1}: {said.strip()[-2000:]}")
        elif case < cases and time.monotonic() < until_s:
            broken.append(f"seed {seed}: the child ended before case {case}")
    return counts, broken


def _nothing(table: str, name: str) -> bytes:
    raise AssertionError(f"{table}/{name} was asked for")


def main() -> int:
    """0 when nothing broke."""
    asked = argparse.ArgumentParser(prog="python -m tests.soak.crafted")
    asked.add_argument("--seconds", type=float, default=3600.0)
    asked.add_argument("--cases", type=int, default=10**9)
    asked.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    asked.add_argument("--play", type=int, help="be the child, from this case on")
    given = asked.parse_args()
    if given.play is not None:
        play(given.seed, given.play, given.cases, given.seconds)
        return 0
    print(f"seed {given.seed}", flush=True)
    counts, broken = campaign(given.seed, cases=given.cases, seconds=given.seconds)
    for what, count in sorted(counts.items()):
        print(f"{count:10,}  {what}")
    for one in broken:
        print(f"BROKEN by {one}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
