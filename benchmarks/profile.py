"""What a profile costs: `python -m benchmarks.profile [ROWS]`, beside Polars' `describe()` of the same frame.

ROWS (1,000,000 by default) of twenty columns: numbers, floats, texts, dates, times and truths, with few values and with many, keys in order and one that is not. Both take turns in one process,
the median of the rounds' ratios counts, and processor time stands beside it. Then 20,000 columns of 1,000 rows, in memory and as a Parquet file that is
scanned, from the frame to the card in HTML in a fresh process, its imports left out. What a relation of DuckDB takes has no limit.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from benchmarks.figures import finish, median_s, report
from data_engine.compare.profile import profile_of
from data_engine.view.profile import profile_card
from jupyter_extension.html import html

ROUNDS = 15
COLUMNS = 20_000


def frame(rows: int) -> pl.DataFrame:
    """Twenty columns as an analyst has them."""
    number = pl.int_range(rows, dtype=pl.Int64)
    mixed = number.hash(3) % 1_000_003
    made = pl.select(
        id=number,
        customer=mixed % 50_000,
        day_number=number % 3000,
        quantity=mixed % 100,
        line=number % 7,
        invoice=number * 7919 % 1_000_003,
        amount=(mixed * 0.01).cast(pl.Float64),
        price=(mixed % 777) * 1.25,
        share=mixed / 1_000_003,
        weight=(number * 0.1) / 3,
        tax=pl.when(number % 10 == 0).then(None).otherwise((mixed % 10_007) * 0.19),
        name=pl.format("customer {}", mixed % 50_000),
        city=pl.format("city {}", mixed % 300),
        code=pl.format("{}-{}", mixed % 97, number % 13),
        note=pl.when(mixed % 3 == 0).then(pl.format("see {}", number)).otherwise(None),
        state=pl.when(mixed % 20 == 0).then(pl.lit("held")).otherwise(pl.lit("done")),
        day=(pl.lit(15_000) + number % 3000).cast(pl.Int32).cast(pl.Date),
        at=(pl.lit(1_400_000_000_000_000) + number * 1_000_003).cast(pl.Datetime("us")),
        is_open=number % 3 == 0,
        is_new=mixed % 50 == 0,
    )
    return pl.DataFrame(made.to_arrow())  # as it is read: that columns are in order is not known


def speed(rows: int) -> None:
    """Beside `describe()`, in turn."""
    given = frame(rows)
    took: dict[str, list[tuple[float, float]]] = {"profile": [], "describe": []}
    for _ in range(ROUNDS):
        for name, way in (("profile", lambda: profile_of(given)), ("describe", lambda: given.describe())):
            started = time.perf_counter(), time.process_time()
            way()
            took[name].append((time.perf_counter() - started[0], time.process_time() - started[1]))
    pairs = list(zip(took["profile"], took["describe"], strict=True))
    wall, cpu = (statistics.median(ours[at] / theirs[at] for ours, theirs in pairs) for at in (0, 1))
    best = {name: min(times)[0] * 1000 for name, times in took.items()}
    name = f"profile of {rows:,} x {given.width} ({best['profile']:.0f} ms) over describe() ({best['describe']:.0f} ms)"
    report(name, wall, 2.0, "x", f"{cpu:.2f} x of its processor time")
    with duckdb.connect() as connection:
        connection.register("given", given.to_arrow())
        relation = connection.sql("select * from given")
        print(f"  of a relation of DuckDB {median_s(lambda: profile_of(relation), 1, warm_up=0):.2f} s")


def wide(source: str) -> float:
    """The seconds from a wide frame to its card, for the first time in this process."""
    given: Any = pl.scan_parquet(source) if source else wide_frame()
    started_s = time.perf_counter()
    html(profile_card(profile_of(given)))
    return time.perf_counter() - started_s


def wide_frame() -> pl.DataFrame:
    """More columns than anybody reads."""
    return pl.select(pl.int_range(1000).alias("n")).select(
        (pl.col("n") * at % 997).alias(f"c{at}") for at in range(COLUMNS)
    )


def main(rows: int) -> None:
    """All figures."""
    speed(rows)
    apart = "import sys; from benchmarks.profile import wide; print(wide(sys.argv[1]))"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wide.parquet"
        wide_frame().write_parquet(path)
        for name, source in (("in memory", ""), ("of a Parquet file", str(path))):
            done = subprocess.run([sys.executable, "-c", apart, source], check=True, capture_output=True, text=True)
            report(f"profile of {COLUMNS:,} columns {name}", float(done.stdout), 1.0, "s")
    finish()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
