"""What a check costs over the bare Polars filter and its negation: `python -m benchmarks.checks [ROWS]`.

ROWS (1,000,000 by default) of ten columns, five rules, one row in a hundred rejected. The floor is what a good author of Polars writes by hand for the same
result: each rule asked once, the good rows filtered on all cores, and the few others picked by their numbers with the names of the rules that they break (as one
text that is split again: a tenth of the time of `concat_list`).
Floor, check and dataframely (where it is installed; the rules as its Schema, alone and in a check) take turns in one process; the median of
the rounds' ratios counts, and processor time stands beside it. Memory is the peak of a process of its own beyond what it holds with the frame, in frames.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.figures import finish, report

if TYPE_CHECKING:
    import polars as pl

ROUNDS = 25
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
    """What a good author writes by hand."""
    import polars as pl

    named = rules()
    masks = given.select(**named)
    is_good = masks.select(pl.all_horizontal(pl.all().fill_null(False))).to_series()
    at = (~is_good).arg_true()
    names = [pl.when(~pl.col(name).fill_null(False)).then(pl.lit(name)) for name in named]
    broken = masks[at].select(_rules=pl.concat_str(names, separator=",", ignore_nulls=True).str.split(","))
    return given.lazy().filter(is_good).collect(), given[at].with_columns(broken.to_series())


def checked(given: pl.DataFrame, by: Any = None) -> object:
    """A check as a run has it, of the rules or of a Schema."""
    from data_engine.flow.check import make_check
    from data_engine.flow.context import FlowContext

    check = make_check(by or rules(), schema=None, on_fail="quarantine", at_most=None, rejected=None, label="Check")
    return check(FlowContext("claims", "G", current=given))


def schema() -> Any:
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
    return type("Claims", (dy.Schema,), {**columns, **named})


def filtered(given: pl.DataFrame, claims: Any) -> object:
    """What dataframely does for the same."""
    good, failed = claims.filter(given)
    return good, failed.details()


def memory(rows: int) -> float:
    """The peak of this process when it checks such a frame, in frames."""
    from data_engine.platforms.processes import forget_peak, memory_bytes, usage

    checked(frame(1000))
    given = frame(rows)
    gc.collect()
    before = memory_bytes()
    forget_peak()
    checked(given)
    return (usage().peak_bytes - before) / given.estimated_size() + 1


def main(rows: int = 1_000_000) -> None:
    """Print the figures beside their limits."""
    apart = "import sys; from benchmarks.checks import memory; print(memory(int(sys.argv[1])))"
    # first: a process begins with the peak of its parent
    done = subprocess.run([sys.executable, "-c", apart, str(rows)], check=True, capture_output=True, text=True)
    report("memory in frames", float(done.stdout), MEMORY_LIMIT, "frames")
    given, claims = frame(rows), schema()
    ways: dict[str, Callable[[], object]] = {"floor": lambda: floor(given), "check": lambda: checked(given)}
    if claims is not None:
        ways["dataframely"] = lambda: filtered(given, claims)
        ways["check of its Schema"] = lambda: checked(given, claims)
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter(), time.process_time()
            way()
            took[name].append((time.perf_counter() - started[0], time.process_time() - started[1]))
    compare(took, "check", "floor", TIME_LIMIT)
    if claims is not None:
        compare(took, "check", "dataframely", 1.0)
        compare(took, "check of its Schema", "dataframely", 1.0)
    finish()


def compare(took: Mapping[str, Sequence[tuple[float, float]]], ours: str, theirs: str, limit: float) -> None:
    """Report how many times as long the one takes as the other: the median over pairs in turn, so that both meet the same weather."""
    pairs = list(zip(took[ours], took[theirs], strict=True))
    wall, cpu = (statistics.median(one[at] / other[at] for one, other in pairs) for at in (0, 1))
    name = f"{ours} ({min(took[ours])[0] * 1000:.0f} ms) over {theirs} ({min(took[theirs])[0] * 1000:.0f} ms)"
    report(name, wall, limit, "x", f"{cpu:.2f} x of its processor time")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
