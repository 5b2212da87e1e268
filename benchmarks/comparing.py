"""What a comparison costs: `python -m benchmarks.comparing [ROWS]`, and beside it the best plain DuckDB for the same.

Frames of ROWS x 10 (1,000,000 without it): whole numbers, floats, texts, dates and truths; the second in another order, with one row in a thousand
changed, one in ten thousand gone and as many new. `--from-parquet` compares 10,000,000 rows of files in a process of its own. Memory is what a
process takes beyond its imports, at its highest.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import psutil

from benchmarks import figures
from benchmarks.figures import finish, median_s, report
from data_engine.compare.comparing import compare

_PARTS = {"keyed": "compare by key", "whole": "compare as multiset"}


def frames(rows: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two frames of so many rows and ten columns that have nearly all in common."""
    number = pl.int_range(rows, dtype=pl.Int64)
    before = pl.select(
        id=number * 7 % (rows * 8 + 1),
        a=number % 1000,
        b=number * 31 % 65_521,
        x=(number * 0.1) / 3,
        y=(number % 777) * 1.25,
        name=pl.format("customer {}", number % 50_000),
        city=pl.format("city {}", number % 300),
        day=(pl.lit(15_000) + number % 3000).cast(pl.Int32).cast(pl.Date),
        at=(pl.lit(1_400_000_000_000_000) + number * 1_000_003).cast(pl.Datetime("us")),
        is_open=number % 3 == 0,
    )
    after = (
        before.with_row_index("n")
        .with_columns(y=pl.when(pl.col("n") % 1000 == 7).then(pl.col("y") + 1).otherwise("y"))
        .with_columns(id=pl.when(pl.col("n") % 10_000 == 11).then(-pl.col("id") - 1).otherwise("id"))
        .drop("n")
        .sample(fraction=1.0, shuffle=True, seed=7)
    )
    return before, after


def plain_join(before: pl.DataFrame, after: pl.DataFrame) -> tuple[object, ...]:
    """A full join by key in DuckDB, which counts what was added, removed and changed by column."""
    with duckdb.connect() as connection:
        connection.register("b", before.to_arrow())
        connection.register("a", after.to_arrow())
        counts = ", ".join(
            f'count(*) filter (b.id is not null and a.id is not null and b."{name}" is distinct from a."{name}")'
            for name in before.columns
            if name != "id"
        )
        found = connection.execute(
            f"select count(*) filter (b.id is null), count(*) filter (a.id is null), {counts} from b full join a on b.id = a.id"
        ).fetchone()
    assert found is not None
    return tuple(found)


def highest_bytes(call: Callable[[], object]) -> int:
    """The most memory this process takes while `call` runs, beyond what it takes before."""
    process = psutil.Process()
    start = process.memory_info().rss
    highest, is_over = [start], threading.Event()

    def look() -> None:
        while not is_over.wait(0.002):
            highest[0] = max(highest[0], process.memory_info().rss)

    thread = threading.Thread(target=look)
    thread.start()
    call()
    is_over.set()
    thread.join()
    return highest[0] - start


def speed(rows: int) -> None:
    """By key and as a multiset, beside the full join."""
    before, after = frames(rows)
    join_s = median_s(lambda: plain_join(before, after), 5)
    for part, key, limit in (("keyed", ["id"], 1.3), ("whole", [], 2.0)):
        took_s = median_s(lambda key=key: compare(before, after, key=key), 5)  # type: ignore[misc]
        note = f"{took_s * 1000:.0f} ms, the join {join_s * 1000:.0f} ms"
        report(f"{_PARTS[part]}, {rows:,} x 10, over a full join", took_s / join_s, limit, "x", note)
    found = compare(before, after, key="id")
    told = plain_join(before, after)
    assert (found.rows.added, found.rows.removed) == told[:2], (found.text, told)
    same_s = median_s(lambda: compare(before, before.clone(), key="id"), 5)
    print(f"  of two equal frames by key {same_s * 1000:.0f} ms")


def memory(rows: int) -> None:
    """Measured in a process of its own, so that nothing of what was measured before is counted."""
    for part in _PARTS:
        in_its_own("--memory", part, str(rows))


def warm_up() -> None:
    """Whatever is loaded and started once, before memory is looked at."""
    for key in ("id", None):
        compare(*frames(10_000), key=key)


def in_its_own(*arguments: str) -> None:
    """Measure in a process of its own, and remember when it was over a limit."""
    if subprocess.run([sys.executable, "-m", "benchmarks.comparing", *arguments]).returncode:
        figures.note_failure()


def measure_memory(part: str, rows: int) -> None:
    """How much memory a comparison needs at its highest, with both frames, in frames."""
    warm_up()
    before, after = frames(rows)
    size = before.estimated_size()
    more = highest_bytes(lambda: compare(before, after, key=["id"] if part == "keyed" else []))
    note = f"{(2 * size + more) / 1e6:.0f} MB, a frame {size / 1e6:.0f} MB"
    report(f"memory of {_PARTS[part]}, both frames with it, over one frame", (2 * size + more) / size, 3.0, "x", note)
    finish()


def from_parquet(rows: int) -> None:
    """Two files in bounded memory."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("before.parquet", "after.parquet")]
        code = (
            "import sys; from benchmarks.comparing import frames\n"
            f"for frame, path in zip(frames({rows}), {[str(path) for path in paths]!r}): frame.write_parquet(path)"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
        for part in _PARTS:
            in_its_own("--parquet", part, *map(str, paths))


def measure_parquet(part: str, paths: list[Path]) -> None:
    """The memory of a comparison of files, which holds neither of them."""
    warm_up()
    started_s = time.perf_counter()
    found: list[object] = []
    more = highest_bytes(lambda: found.append(compare(paths[0], paths[1], key=["id"] if part == "keyed" else [])))
    took_s = time.perf_counter() - started_s
    rows = int(pl.scan_parquet(paths[0]).select(pl.len()).collect().item())
    report(f"memory of {_PARTS[part]}, {rows:,} rows of Parquet", more / 1e6, 1500, "MB", f"{took_s:.1f} s; {found[0]}")
    finish()


def main(rows: int) -> None:
    """All figures."""
    speed(rows)
    memory(rows)
    from_parquet(rows * 10)
    finish()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        measure_memory(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ["--parquet"]:
        measure_parquet(sys.argv[2], [Path(path) for path in sys.argv[3:]])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
