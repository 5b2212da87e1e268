"""What sharing costs a ledger: a commit on a short and on a long history, and an observer's refresh."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.figures import finish, median_s, report
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.share import Share
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

NOW_S = 1_750_000_000.0
TOKEN = 7


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


def record(ledger: Ledger, first: int, last: int) -> None:
    """The runs of these numbers, many in one commit."""
    for number in range(first, last, 500):
        ledger.record(*(event for one in range(number, min(number + 500, last)) for event in run_events(one)))


class Shelf:
    """Segments by name, in place of the folder."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.data: dict[str, bytes] = {}
        self.number = 0

    def publish(self, share: Share) -> int:
        """One commit; its bytes."""
        batch = share.unpublished(TOKEN)
        assert batch is not None
        self.number += 1
        names = {table: f"{self.number:010d}-{table}.parquet" for table in batch.tables}
        for table, name in names.items():
            self.names.setdefault(table, []).append(name)
            self.data[name] = batch.tables[table]
        share.mark_published(batch, self.number, names)
        return sum(map(len, batch.tables.values()))

    def sizes(self) -> dict[str, list[tuple[str, int]]]:
        """The segments a generation lists."""
        return {table: [(name, len(self.data[name])) for name in names] for table, names in self.names.items()}

    def fetch(self, table: str, name: str) -> bytes:
        """What the share answers."""
        return self.data[name]

    def fold(self, share: Share) -> None:
        """Fold as an owner does after each commit."""
        for table, (names, data) in share.folds(self.sizes(), self.fetch).items():
            self.number += 1
            new = f"{self.number:010d}-{table}.parquet"
            at = self.names[table].index(names[0])
            self.names[table][at : at + len(names)] = [new]
            self.data[new] = data
            share.mark_published(None, self.number, folded={table: (names, new)})


def cpu_s() -> float:
    """Processor seconds of this process and of the children it has waited for."""
    return sum(os.times()[:4])


def commit_s(share: Share, ledger: Ledger, shelf: Shelf, first: int) -> tuple[float, float, int]:
    """The least seconds and processor seconds of five commits of 1,000 new runs, and the bytes of one."""
    times, efforts, size = [], [], 0
    for number in range(5):
        record(ledger, first + number * 1000, first + (number + 1) * 1000)
        started_s, spent_s = time.perf_counter(), cpu_s()
        size = shelf.publish(share)
        times.append(time.perf_counter() - started_s)
        efforts.append(cpu_s() - spent_s)
    return min(times), min(efforts), size


def refresh_s(folder: Path, shelf: Shelf, names: dict[str, list[str]]) -> float:
    """The least seconds of three first refreshes of an observer."""
    times = []
    for number in range(3):
        with Ledger.open(folder / f"observer-{len(names)}-{number}" / "ledger.sqlite") as ledger:
            share = Share(ledger, folder)
            started_s = time.perf_counter()
            share.hydrate(shelf.number, names, shelf.fetch, owner=TOKEN)
            times.append(time.perf_counter() - started_s)
    return min(times)


def main() -> None:
    """Print each figure beside its limit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Ledger.open(folder / "owner" / "ledger.sqlite") as ledger:
            share = Share(ledger, folder)
            shelf = Shelf()
            known = 0
            base: tuple[float, int] | None = None
            for published in (1_000, 10_000, 100_000):
                for first in range(known, published, 5_000):
                    record(ledger, first, min(first + 5_000, published))
                    shelf.publish(share)
                    shelf.fold(share)
                took_s, spent_s, size = commit_s(share, ledger, shelf, published)
                base = base or (spent_s, size)
                report(f"commit 1,000 runs on {published:,}", took_s * 1000, 500, "ms", f"{size / 1000:.0f} kB")
                report("  its processor time, as a multiple of the first", spent_s / base[0], 1.3, "x")
                report("  its bytes, as a multiple of the first", size / base[1], 1.1, "x")
                known = published + 5_000
            before = psutil.Process().memory_info().rss
            assert "pyarrow" not in sys.modules
            runs = {table: names for table, names in shelf.names.items() if table not in ("step_runs", "logs")}
            size = sum(len(shelf.data[name]) for names in shelf.names.values() for name in names)
            report(f"first refresh: {known:,} runs are seen", refresh_s(folder, shelf, runs), 1, "s")
            whole_s = refresh_s(folder, shelf, shelf.names)
            report("first refresh: their steps and logs too", whole_s, 4, "s", f"{size / 1e6:.0f} MB")
            with Ledger.open(folder / "observer-last" / "ledger.sqlite") as other:
                observer = Share(other, folder)
                observer.hydrate(shelf.number, shelf.names, shelf.fetch, owner=TOKEN)
                same_s = median_s(lambda: observer.hydrate(shelf.number, shelf.names, shelf.fetch, owner=TOKEN), 20)
                report("refresh when nothing has changed", same_s * 1000, 50, "ms")
                record(ledger, known, known + 10)
                shelf.publish(share)
                started_s = time.perf_counter()
                observer.hydrate(shelf.number, shelf.names, shelf.fetch, owner=TOKEN)
                report("refresh of ten new runs", (time.perf_counter() - started_s) * 1000, 500, "ms")
            grown = (psutil.Process().memory_info().rss - before) / 1e6
            report("this process grows by, in all refreshes", grown, 20, "MB")
    finish()


if __name__ == "__main__":
    main()
