"""What keying costs a first preview, and how soon a second one is there after an edit of its last step.

The floor of an edit is the edited step alone: called with the frame that it is given, by nobody who keeps or compares anything.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import sys
import tempfile
import time
import timeit
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from benchmarks.figures import finish, median_s, report
from data_engine.engine.access.file_events import guarding
from data_engine.engine.memo import runner
from data_engine.engine.preview import clear_preview_cache, last_report

SLOW_THEN_CHEAP = """
import time
import polars as pl
from data_engine import Flow

def slow(context):
    frame = pl.read_csv(context.source.path)
    time.sleep(1)
    return frame

def clean(context):
    return context.current.with_columns(total=pl.col("a") + pl.col("b")).filter(pl.col("total") >= 0)

def totals(context):
    return context.current.group_by("c").agg(pl.col("total").sum()).sort("c").head({rows})

def build():
    flow = Flow(group="Benchmark", name="slow").watch(mode="manual", source={folder!r})
    return flow.step(slow, save_as="raw").step(clean, save_as="clean").step(totals, save_as="totals")
"""

TEN = """
import polars as pl
from data_engine import Flow

RATES = {{"a": 1.0, "b": 2.0}}
COLUMNS = ["a", "b", "c"]

def rate(name):
    return RATES[name]

def tidy(frame):
    return frame.select(COLUMNS).with_columns(pl.col("a") * rate("a"))

def start(context):
    return 1

{steps}

def build():
    flow = Flow(group="Benchmark", name="ten").step(start)
    for step in ({names}):
        flow = flow.step(step, save_as=step.__name__)
    return flow
"""

WRITES = """
import polars as pl
from data_engine import Flow

def read(context):
    return pl.read_csv(context.source.path)

def write(context):
    target = context.mirror.with_suffix(".parquet")
    context.current.filter(pl.col("a") > 5).write_parquet(target)
    return target

def build():
    flow = Flow(group="Benchmark", name="writes").watch(mode="manual", source={folder!r}).mirror(root={mirror!r})
    return flow.step(read).step(write)
"""

ONE_OF_TEN = """
def step{number}(context):
    if len(COLUMNS) > 5:
        return tidy(pl.DataFrame({{"a": [rate("a")], "b": [context.current]}}))
    return rate("b") + {number}
"""


def names_of(text: str) -> dict[str, Any]:
    """The names a cell with this text defines."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(text, names)
    return names


def after_an_edit_ms(folder: Path, age_s: float) -> tuple[float, float]:
    """Milliseconds of a preview after the cheap last step was edited, behind a step of a second and 100k rows; and of that step alone.

    The source was written `age_s` before. For two seconds its content is compared, because its times could hide a change.
    """
    import polars as pl

    frame = pl.DataFrame(
        {"a": range(100_000), "b": range(100_000), "c": [str(number % 97) for number in range(100_000)]}
    )
    frame.write_csv(folder / "a.csv")
    time.sleep(age_s)
    clear_preview_cache()
    times, floors = list[float](), list[float]()
    clean = frame.with_columns(total=pl.col("a") + pl.col("b")).filter(pl.col("total") >= 0)
    for rows in range(5, 15):
        names = names_of(SLOW_THEN_CHEAP.format(rows=rows, folder=str(folder)))
        names["build"]().preview()
        made = last_report()
        assert made is not None
        if rows > 5:
            assert [step.name for step in made.steps if step.ran] == ["totals"], made
            times.append(made.elapsed_s)
            floors.append(median_s(partial(names["totals"], SimpleNamespace(current=clean)), 1))
    return statistics.median(times) * 1000, statistics.median(floors) * 1000


def first_of_ten_ms() -> tuple[float, float]:
    """Milliseconds of a first preview of ten steps beyond the bare steps, and of a second one."""
    from data_engine.engine.access.code import code_facts
    from data_engine.flow.context import FlowContext
    from data_engine.flow.control import StepControl
    from data_engine.flow.steps import run_steps

    steps = "".join(ONE_OF_TEN.format(number=number) for number in range(9))
    flow = names_of(TEN.format(steps=steps, names=", ".join(f"step{number}" for number in range(9))))["build"]()

    def bare() -> None:
        for _ in run_steps(flow, FlowContext("ten", "Benchmark"), control=StepControl()):
            pass

    def first() -> None:
        code_facts.cache_clear()
        clear_preview_cache()
        flow.preview()

    bare_s, first_s = median_s(bare, 50), median_s(first, 50)
    return (first_s - bare_s) * 1000, median_s(flow.preview, 50) * 1000


def audited_event_us() -> float:
    """Microseconds of an event that Python audits, such as an opened file, when nothing else takes the processor."""
    many = timeit.repeat(lambda: sys.audit("open", "a.csv", "r", 0), number=10_000, repeat=60)
    return min(many) * 100


def with_and_without_guard_s(folder: Path) -> tuple[float, float]:
    """CPU seconds of the calling thread of a first preview that reads and writes a file, guarded and not, in turn."""
    (folder / "in").mkdir()
    (folder / "in" / "a.csv").write_text("a,b,c\n" + "".join(f"{number},1,2\n" for number in range(100_000)))
    flow = names_of(WRITES.format(folder=str(folder / "in"), mirror=str(folder / "out")))["build"]()
    guarded, bare = list[float](), list[float]()
    for _ in range(150):
        for times, guard in ((guarded, guarding), (bare, lambda guard: contextlib.nullcontext())):
            clear_preview_cache()
            with patch.object(runner, "guarding", guard):
                started_s = time.thread_time()
                flow.preview()
                times.append(time.thread_time() - started_s)
    return statistics.median(guarded), statistics.median(bare)


def main() -> None:
    """Every figure; captions are not shown."""
    unheard_us = audited_event_us()
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        guarded_s, bare_s = with_and_without_guard_s(Path(name))
    heard_us = audited_event_us()
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        after_ms, alone_ms = after_an_edit_ms(Path(name), 2.1)
        fresh_ms, fresh_alone_ms = after_an_edit_ms(Path(name), 0)
        first_ms, second_ms = first_of_ten_ms()
    note = f"{guarded_s * 1000:.1f} and {bare_s * 1000:.1f} ms"
    report("guarding a preview that reads 100k rows and writes a file", guarded_s / bare_s, 1.03, "x", note)
    report("an audited event of the process while nothing is previewed", heard_us - unheard_us, 0.3, "us")
    note = f"{after_ms:.1f} of {alone_ms:.1f} ms"
    report("preview after an edit of the last step, 100k rows, by that step alone", after_ms / alone_ms, 5, "x", note)
    note = f"{fresh_ms:.1f} of {fresh_alone_ms:.1f} ms"
    report("... of a source that was just written", fresh_ms / fresh_alone_ms, 5, "x", note)
    report("first preview of 10 steps, beyond the bare steps", first_ms, 5, "ms")
    report("second preview of 10 steps", second_ms, 5, "ms")
    finish()


if __name__ == "__main__":
    main()
