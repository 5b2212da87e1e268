"""What a check costs over the bare Polars filter and its negation: `python -m benchmarks.checks [ROWS]`.

ROWS (1,000,000 by default) of ten columns, five rules, one row in a hundred rejected. The floor is what anybody has to do for the same result:
the rules as masks, the good rows, the others with the names of the rules that they break. Floor, check and dataframely (where it is installed) take turns in
one process; the lowest of all rounds counts. Memory is the peak of a process of its own beyond what it holds with the frame, in frames.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.figures import finish, report

if TYPE_CHECKING:
    import polars as pl

ROUNDS = 9
TIME_LIMIT, MEMORY_LIMIT = 1.3, 2.2


def frame(rows: int) -> pl.DataFrame:
    """Claims, of which one in a hundred breaks a rule."""
    import polars as pl

    n = pl.int_range(rows)
    amount = pl.when(n % 200 == 0).then(-1.0).otherwise(n % 1009 + 0.5)
    city = pl.when(n % 200 == 100).then(None).otherwise(pl.format("city {}", n % 97))
    numbers = [(n * (number + 3) % 10_007).alias(f"x{number}") for number in range(6)]
    return pl.select([n.alias("id"), amount.alias("amount"), city.alias("city"), (n // 1000).alias("day"), *numbers])


def rules() -> dict[str, pl.Expr]:
    """The same five for all."""
    import polars as pl

    return {
        "positive": pl.col("amount") > 0,
        "known": pl.col("city").is_not_null(),
        "low": pl.col("x0") < 20_000,
        "dated": pl.col("day") >= 0,
        "total": pl.col("x1") + pl.col("x2") >= 0,
    }


def floor(given: pl.DataFrame) -> object:
    """What anybody has to do."""
    import polars as pl

    named = rules()
    masks = given.select(**named)
    good = masks.select(pl.all_horizontal(pl.all().fill_null(False))).to_series()
    bad = masks.filter(~good)
    told = bad.select(
        pl.concat_list(pl.when(pl.col(name)).then(None).otherwise(pl.lit(name)) for name in named).list.drop_nulls()
    )
    return given.filter(good), given.filter(~good).with_columns(told.to_series().alias("_rules"))


def checked(given: pl.DataFrame) -> object:
    """A check as a run has it."""
    from data_engine.flow.check import make_check
    from data_engine.flow.context import FlowContext

    check = make_check(rules(), on_fail="quarantine", at_most=None, rejected=None, label="Check")
    return check(FlowContext("claims", "G", current=given))


def schema() -> Callable[[pl.DataFrame], Any] | None:
    """The same rules as dataframely has them; None where it is not installed."""
    try:
        import dataframely as dy
    except ImportError:
        return None

    def as_rule(expression: pl.Expr) -> Any:
        return dy.rule()(lambda cls: expression)

    named = {name: as_rule(expression) for name, expression in rules().items()}
    kinds = {"id": dy.Int64, "amount": dy.Float64, "city": dy.String, "day": dy.Int64}
    columns = {
        name: kind(nullable=True) for name, kind in (kinds | {f"x{number}": dy.Int64 for number in range(6)}).items()
    }
    claims: Any = type("Claims", (dy.Schema,), {**columns, **named})

    def filtered(given: pl.DataFrame) -> Any:
        good, failed = claims.filter(given)
        return good, failed.details()

    return filtered


def memory(rows: int) -> float:
    """The peak of a process that checks such a frame, in frames."""
    text = (
        "import gc, sys; from benchmarks.checks import checked, frame; from data_engine.platforms.usage import forget_peak, usage\n"
        "from data_engine.platforms.processes import memory_bytes\n"
        "checked(frame(1000)); given = frame(int(sys.argv[1])); gc.collect(); before = memory_bytes(); forget_peak()\n"
        "result = checked(given); print((usage().peak_bytes - before) / given.estimated_size() + 1)"
    )
    done = subprocess.run([sys.executable, "-c", text, str(rows)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main(rows: int = 1_000_000) -> None:
    """Print the figures beside their limits."""
    report(
        "memory in frames", memory(rows), MEMORY_LIMIT, "frames"
    )  # first: a process begins with the peak of its parent
    given = frame(rows)
    ways = {"floor": floor, "check": checked, "dataframely": schema()}
    took: dict[str, list[float]] = {name: [] for name, way in ways.items() if way is not None}
    for _ in range(ROUNDS):
        for name in took:
            way = ways[name]
            assert way is not None
            started_s = time.perf_counter()
            way(given)
            took[name].append(time.perf_counter() - started_s)
    best = {name: min(times) for name, times in took.items()}
    report(
        f"check of {rows:,} rows over the bare filter ({best['floor'] * 1000:.0f} ms)",
        best["check"] / best["floor"],
        TIME_LIMIT,
        "x",
    )
    if "dataframely" in best:
        report(
            f"the same over dataframely ({best['dataframely'] * 1000:.0f} ms)",
            best["check"] / best["dataframely"],
            1.0,
            "x",
        )
    finish()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
