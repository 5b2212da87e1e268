"""What the helpers cost over the best plain SQL for the same result: `python -m benchmarks.helpers [ROWS [NAME...]]`.

ROWS is 1,000,000 by default; with names, only the cases that have one of them in their own. Each measurement is a process of
its own that opens a copy of the same database: processor and wall time of each call, and the process's peak memory. Helper
and plain SQL take turns; of each call, the lowest of all rounds counts, and the sum of these is compared. Processor time is held against the limit, because a
busy machine does not change it; wall time, disk waits included, stands beside it. Frames of "all" have ROWS rows, slices
10,000; the dimension has a tenth of ROWS.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import finish, report

if TYPE_CHECKING:
    import polars as pl

SLICE = 10_000
ROUNDS = 5
TIME_LIMIT, MEMORY_LIMIT = 1.1, 1.2


def frame(rows: int, first: int = 0) -> pl.DataFrame:
    """Sales of `rows` rows from number `first` on: 10,000 a day."""
    import polars as pl

    n = pl.int_range(first, first + rows)
    return pl.select(
        day=n // SLICE,
        id=n,
        customer=pl.format("customer {}", n * 7919 % 100_003),
        amount=(n * 37 % 10_007) / 7,
        sold=pl.date(2020, 1, 1) + pl.duration(days=n % 700),
    )


def keyed(rows: int, total: int) -> pl.DataFrame:
    """Rows whose natural keys are among those of the dimension, one in a hundred missing there."""
    import polars as pl

    n = pl.int_range(rows) * 7919 % (total // 10 + total // 1000)
    return pl.select(n=pl.int_range(rows), city=pl.format("city {}", n // 7), zone=n % 7, amount=n / 3)


def prepare(path: Path, total: int) -> None:
    """A database with the sales, a copy of them by file, and a dimension."""
    import duckdb
    import polars as pl

    n = pl.int_range(total // 10)
    with duckdb.connect(str(path)) as conn:
        conn.register("sales_frame", frame(total))
        conn.execute("CREATE TABLE sales AS FROM sales_frame")
        conn.execute("CREATE TABLE files AS SELECT *, CAST(day AS VARCHAR) AS file_key FROM sales_frame")
        conn.register("dim_frame", pl.select(dimension_key=n + 1, city=pl.format("city {}", n // 7), zone=n % 7))
        conn.execute("CREATE TABLE dim AS FROM dim_frame")
        conn.execute("CREATE TABLE gone AS FROM sales_frame")
        conn.execute("DROP TABLE gone")


@contextmanager
def plain(db: Path, given: Any = None, *, read_only: bool = False) -> Iterator[Any]:
    """A connection that sees the frame as `f`; a transaction unless it only reads."""
    import duckdb

    with duckdb.connect(str(db), read_only=read_only) as conn:
        if given is not None:
            conn.register("f", given)
        if not read_only:
            conn.execute("BEGIN")
        yield conn
        if not read_only:
            conn.execute("COMMIT")


MATCH = "d.city IS NOT DISTINCT FROM f.city AND d.zone IS NOT DISTINCT FROM f.zone"
ADD = f"""INSERT INTO dim SELECT (SELECT max(dimension_key) FROM dim) + row_number() OVER (), * FROM (
    SELECT * FROM (SELECT DISTINCT city, zone FROM f) AS f WHERE NOT EXISTS (SELECT 1 FROM dim AS d WHERE {MATCH})
    ORDER BY city NULLS LAST, zone NULLS LAST)"""
MAPPING = f"""SELECT city, zone, dimension_key FROM dim AS d WHERE EXISTS (SELECT 1 FROM f WHERE {MATCH})
    ORDER BY city NULLS LAST, zone NULLS LAST"""
ATTACH = f"SELECT f.* EXCLUDE (i), d.dimension_key FROM f LEFT JOIN dim AS d ON {MATCH} ORDER BY f.i"


def cases(
    total: int,
) -> dict[str, tuple[Callable[[], Any], int, Callable[[Path, Any, int], Any], Callable[[Path, Any, int], Any]]]:
    """By name: what makes the frame, how many calls, the helper's call and plain SQL's."""
    from data_engine import helpers

    def by_file_plain(db: Path, given: Any, number: int) -> Any:
        import polars as pl

        key = str(number)
        with plain(db, given) as conn:
            conn.execute("DELETE FROM files WHERE file_key = ?", [key])
            conn.execute("INSERT INTO files SELECT *, CAST(? AS VARCHAR) FROM f", [key])
        return given.with_columns(pl.lit(key).alias("file_key"))

    def by_values_plain(db: Path, given: Any, number: int) -> Any:
        with plain(db, given) as conn:
            conn.execute("DELETE FROM sales WHERE day IN (SELECT DISTINCT day FROM f)")
            conn.execute("INSERT INTO sales FROM f")
        return given

    def table_plain(db: Path, given: Any, number: int) -> Any:
        with plain(db, given) as conn:
            conn.execute("CREATE OR REPLACE TABLE sales AS FROM f")
        return given

    def read_plain(db: Path, given: Any, number: int) -> Any:
        with plain(db, read_only=True) as conn:
            return conn.sql("FROM sales").pl()

    def sql_plain(db: Path, given: Any, number: int) -> Any:
        with plain(db, read_only=True) as conn:
            return conn.sql(f"SELECT * FROM sales WHERE day = {number}").pl()

    def values_plain(db: Path, given: Any, number: int) -> Any:
        with plain(db, given, read_only=True) as conn:
            return conn.sql("SELECT s.* FROM sales AS s JOIN f ON s.day = f.day ORDER BY f.position, s.rowid").pl()

    def build_plain(db: Path, given: Any, number: int) -> Any:
        with plain(db, given) as conn:
            conn.execute(ADD)
            return conn.sql(MAPPING).pl()

    def attach_plain(db: Path, given: Any, number: int) -> Any:
        with plain(db, given.with_row_index("i"), read_only=True) as conn:
            return conn.sql(ATTACH).pl()

    def normalize_plain(db: Path, given: Any, number: int) -> Any:
        with plain(db, given.with_row_index("i")) as conn:
            conn.execute(ADD)
            return conn.sql(ATTACH.replace("EXCLUDE (i)", "EXCLUDE (i, city, zone)")).pl()

    def denormalize_plain(db: Path, given: Any, number: int) -> Any:
        with plain(db, given.with_row_index("i"), read_only=True) as conn:
            return conn.sql(
                "SELECT f.* EXCLUDE (i), d.city, d.zone FROM f LEFT JOIN dim AS d USING (dimension_key) ORDER BY f.i"
            ).pl()

    def index_plain(db: Path, given: Any, number: int) -> Any:
        with plain(db) as conn:
            conn.execute("CREATE INDEX by_id ON sales (id)")

    def compact_plain(db: Path, given: Any, number: int) -> Any:
        import duckdb

        with duckdb.connect(str(db)) as conn:
            conn.execute("CHECKPOINT")
            for table in ("sales", "files", "dim"):
                conn.execute(f"SELECT count(COLUMNS(*)) FROM {table}").fetchall()
            conn.execute(f"ATTACH '{db}.new' AS fresh")
            conn.execute(f"COPY FROM DATABASE {db.stem} TO fresh")
            conn.execute("DETACH fresh")
        Path(f"{db}.new").replace(db)

    def keys(rows: int) -> Any:
        import polars as pl

        return pl.select(dimension_key=pl.int_range(rows) * 7919 % (total // 10) + 1, n=pl.int_range(rows))

    def days(count: int) -> Any:
        import polars as pl

        return pl.select(day=(pl.int_range(count) * 7 + 3) % (total // SLICE), position=pl.int_range(count))

    names = ["city", "zone"]
    found: dict[str, Any] = {
        "replace_rows_by_file, slice": (
            lambda: frame(SLICE), 10, lambda db, f, k: helpers.replace_rows_by_file(db, "files", df=f, file_hash=str(k)), by_file_plain,
        ),
        "replace_rows_by_values, slice": (
            lambda: frame(SLICE), 10, lambda db, f, k: helpers.replace_rows_by_values(db, "sales", df=f, column="day"), by_values_plain,
        ),
        "replace_table, all": (lambda: frame(total), 1, lambda db, f, k: helpers.replace_table(db, "sales", df=f), table_plain),
        "read_table, all": (lambda: None, 1, lambda db, f, k: helpers.read_table(db, "sales"), read_plain),
        "read_sql, slice": (
            lambda: None, 10, lambda db, f, k: helpers.read_sql(db, sql=f"SELECT * FROM sales WHERE day = {k}"), sql_plain,
        ),
        "read_rows_by_values, slice": (
            lambda: days(1), 10,
            lambda db, f, k: helpers.read_rows_by_values(db, "sales", column="day", is_in=f["day"], select="*"), values_plain,
        ),
        "read_rows_by_values, 10 slices": (
            lambda: days(10), 3,
            lambda db, f, k: helpers.read_rows_by_values(db, "sales", column="day", is_in=f["day"], select="*"), values_plain,
        ),
        "ensure_index, all": (lambda: None, 1, lambda db, f, k: helpers.ensure_index(db, "sales", columns="id"), index_plain),
        "compact_database, all": (lambda: None, 1, lambda db, f, k: helpers.compact_database(db), compact_plain),
    }  # fmt: skip
    for size, rows, calls in (("slice", SLICE, 10), ("all", total, 1)):
        found |= {
            f"build_dimension, {size}": (
                lambda rows=rows: keyed(rows, total).select(names), calls,
                lambda db, f, k: helpers.build_dimension(db, "dim", df=f), build_plain,
            ),
            f"attach_dimension, {size}": (
                lambda rows=rows: keyed(rows, total), calls,
                lambda db, f, k: helpers.attach_dimension(db, "dim", df=f, on=names), attach_plain,
            ),
            f"normalize_columns, {size}": (
                lambda rows=rows: keyed(rows, total), calls,
                lambda db, f, k: helpers.normalize_columns(db, "dim", df=f, on=names), normalize_plain,
            ),
            f"denormalize_columns, {size}": (
                lambda rows=rows: keys(rows), calls,
                lambda db, f, k: helpers.denormalize_columns(db, "dim", df=f), denormalize_plain,
            ),
        }  # fmt: skip
    return found


def measure(name: str, side: str, db: Path, total: int) -> None:
    """In a process of its own: processor and wall seconds of each call and the peak memory in MB, as JSON."""
    import duckdb  # noqa: F401
    import polars as pl
    import pyarrow  # noqa: F401

    from data_engine import helpers

    for public in helpers.__all__:  # imported before the clock runs, as DuckDB and what it needs for frames is
        getattr(helpers, public)
    make, calls, helper, sql = cases(total)[name]
    given = make()
    call = helper if side == "helper" else sql
    cpu_s, wall_s = [], []
    for number in range(calls):
        started, started_wall = time.process_time(), time.perf_counter()
        result = call(db, given, number)
        cpu_s.append(time.process_time() - started)
        wall_s.append(time.perf_counter() - started_wall)
    peak_mb = _peak_mb()
    shape = list(result.shape) if isinstance(result, pl.DataFrame) and not name.startswith("compact") else None
    print(json.dumps([cpu_s, wall_s, peak_mb, shape]))


def _peak_mb() -> float:
    """Of this process alone; what getrusage tells began before exec, with the parent's memory."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return _most_rss_mb()


if sys.platform == "win32":

    def _most_rss_mb() -> float:
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6

else:

    def _most_rss_mb() -> float:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(name: str, base: Path, total: int) -> None:
    """Report both figures of one case."""
    best: dict[str, list[Any]] = {}
    shapes = []
    for _ in range(ROUNDS):
        for side in ("plain", "helper"):
            db = base.with_name("run.duckdb")
            shutil.copyfile(base, db)
            command = [sys.executable, "-m", "benchmarks.helpers", "--measure", name, side, str(db), str(total)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            cpu_s, wall_s, peak_mb, shape = json.loads(done.stdout)
            db.unlink()
            shapes.append(shape)
            old = best.get(side, [cpu_s, wall_s, peak_mb])
            best[side] = [list(map(min, cpu_s, old[0])), list(map(min, wall_s, old[1])), min(peak_mb, old[2])]
    assert all(shape == shapes[0] for shape in shapes), (name, shapes)
    plain_s, plain_wall_s, plain_mb = sum(best["plain"][0]), sum(best["plain"][1]), best["plain"][2]
    helper_s, helper_wall_s, helper_mb = sum(best["helper"][0]), sum(best["helper"][1]), best["helper"][2]
    note = f"{helper_s * 1000:.0f} / {plain_s * 1000:.0f} ms, wall {helper_wall_s / plain_wall_s:.2f}x"
    report(f"{name}: time", helper_s / plain_s, TIME_LIMIT, "x", note)
    report(f"{name}: memory", helper_mb / plain_mb, MEMORY_LIMIT, "x", f"{helper_mb:.0f} / {plain_mb:.0f} MB")


def count_days(side: str, holidays: int) -> None:
    """In a process of its own: the fewest processor seconds of ten counts over 10M rows."""
    from datetime import date

    import polars as pl

    from data_engine.helpers import networkdays

    n = pl.int_range(10_000_000)
    days = pl.select(
        a=pl.date(2020, 1, 1) + pl.duration(days=n * 7919 % 3000),
        b=pl.date(2021, 6, 1) + pl.duration(days=n * 104_729 % 3000),
    )
    off = [date(2021, 12, 20 + day) for day in range(holidays)]
    count = networkdays if side == "helper" else pl.business_day_count
    best_s = 1e9
    for _ in range(10):
        started = time.process_time()
        days.select(count("a", "b", holidays=off))
        best_s = min(best_s, time.process_time() - started)
    print(best_s)


def working_days() -> None:
    """`networkdays` over 10M rows beside Polars' own count of business days with the same arguments."""
    for holidays in (0, 10):
        best = {"plain": 1e9, "helper": 1e9}
        for _ in range(ROUNDS):
            for side in best:
                command = [sys.executable, "-m", "benchmarks.helpers", "--days", side, str(holidays)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                best[side] = min(best[side], float(done.stdout))
        note = f"{best['helper'] * 1000:.0f} / {best['plain'] * 1000:.0f} ms"
        report(f"networkdays over 10M rows, {holidays} holidays", best["helper"] / best["plain"], 1.2, "x", note)


def registration() -> None:
    """What `import data_engine.helpers` adds to an import of Polars."""
    code = (
        "import polars, time; started = time.process_time(); import data_engine.helpers;"
        "print((time.process_time() - started) * 1000)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(9)
    ]
    report("registering frame.de after an import of Polars", min(times), 5, "ms")


def main(total: int, names: list[str]) -> None:
    chosen = [case for case in cases(total) if not names or any(name in case for name in names)]
    if not names or "registration" in names:
        registration()
    if not names or "networkdays" in names:
        working_days()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name).resolve() / "base.duckdb"
        subprocess.run(
            [
                sys.executable,
                "-c",
                f"from pathlib import Path; from benchmarks.helpers import prepare; prepare(Path({str(base)!r}), {total})",
            ],
            check=True,
        )
        for case in chosen:
            compare(case, base, total)
    finish()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--days"]:
        count_days(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, sys.argv[2:])
