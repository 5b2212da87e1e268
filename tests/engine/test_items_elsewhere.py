"""One table of behaviours for the items of a map, wherever they run: threads, processes, a Dask cluster."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pytest

from data_engine import (
    Batch,
    FileRef,
    Flow,
    FlowExecutionError,
    FlowStoppedError,
    FlowValidationError,
    ItemError,
    Secret,
    secret,
)
from data_engine.cause import Cause
from data_engine.engine.capture import captured
from data_engine.engine.run import ItemExecutor
from data_engine.flow.context import WorkspaceConfigContext
from data_engine.flow.control import RunInterrupted, StepControl
from data_engine.flow.locations import MirrorContext, SourceContext
from data_engine.flow.parameters import GivenParams
from data_engine.model import LogLine, StepProgress
from data_engine.storage_version import lead_below, new_databases, number_of
from tests.engine.elsewhere import ELSEWHERE, KINDS, Runner, make_executor
from tests.flow.running import stop_after
from tests.support import WorkspaceFiles

_shared: dict[str, ItemExecutor] = {}


@pytest.fixture(scope="module", autouse=True)
def executors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield
    for one in _shared.values():
        one.close()
    _shared.clear()


def runner_of(kind: str, ws: WorkspaceFiles) -> Runner:
    if kind in ("dask", "apart"):
        return Runner(kind, make_executor(kind, ws.root), ws.root)  # it belongs to a workspace; its cluster is shared
    if kind not in _shared:
        _shared[kind] = make_executor(kind, ws.root)
    return Runner(kind, _shared[kind], ws.root)


@pytest.fixture(params=KINDS)
def each(request: pytest.FixtureRequest, ws: WorkspaceFiles) -> Iterator[Runner]:
    """Each way to run items."""
    runner = runner_of(request.param, ws)
    yield runner
    if request.param in ("dask", "apart"):
        runner.executor.close()


@pytest.fixture(params=ELSEWHERE)
def far(request: pytest.FixtureRequest, ws: WorkspaceFiles) -> Iterator[Runner]:
    """Each way to run items outside of this process."""
    runner = runner_of(request.param, ws)
    yield runner
    if request.param in ("dask", "apart"):
        runner.executor.close()


def lines(runner: Runner) -> list[tuple[str, str]]:
    """What the items told the log; not what we say of the executor."""
    found = [event for event in runner.events if isinstance(event, LogLine)]
    return sorted((one.level, one.message) for one in found if not one.message.startswith("items run in"))


# -- results -----------------------------------------------------------------------------------------------------------


def test_results_are_in_input_order(each: Runner) -> None:
    """However long each item takes, and however many there are."""
    assert each.mapped(range(40), lambda item: (time.sleep(0.001 * (item % 3)), item * 2)[1]) == Batch(
        tuple(range(0, 80, 2))
    )


def test_closures_lambdas_and_their_values_come_along(each: Runner) -> None:
    """What a function closes over is as it was when the map began."""
    factor, table = 3, {"a": [1, 2]}

    def make(shift: int) -> Callable[[int], int]:
        return lambda item: item * factor + shift + len(table["a"])

    assert each.mapped([1, 2, 3], make(10)).items == (15, 18, 21)


def test_functions_and_classes_of_the_author_come_back(each: Runner) -> None:
    """A dataclass of this process is the same class when it comes back; a function that is a result works."""

    @dataclasses.dataclass
    class Claim:
        amount: int

    given = [Claim(1), Claim(2)]

    def double(claim: Claim) -> tuple[Claim, Callable[[], int]]:
        return Claim(claim.amount * 2), lambda: claim.amount

    results = each.mapped(given, double).items

    assert [one for one, _ in results] == [Claim(2), Claim(4)]
    assert all(type(one) is Claim for one, _ in results)
    assert [call() for _, call in results] == [1, 2]


def test_files_and_paths_travel(each: Runner) -> None:
    """Those of the workspace and others."""
    given = [FileRef(each.root / "in/a.csv"), Path("elsewhere/b.csv"), each.root / "in/c.csv"]

    assert each.mapped(given, lambda item: item).items == tuple(given)


def test_frames_come_back_as_they_are(each: Runner) -> None:
    """With the kinds of their columns; a large one too."""
    import polars as pl

    def frame(rows: int) -> pl.DataFrame:
        text = pl.Series(["x", "y", None], dtype=pl.Enum(["x", "y"]))
        return pl.DataFrame({"number": pl.int_range(3 * rows, eager=True)}).with_columns(
            text=pl.concat([text] * rows) if rows < 10 else pl.lit("x"), when=pl.lit("2013-01-01").str.to_date()
        )

    small, large = each.mapped([1, 500_000], frame).items

    assert small.equals(frame(1))
    assert small.schema == frame(1).schema
    assert large.equals(frame(500_000))
    assert large.estimated_size() > 10 * 1024 * 1024


# -- errors ------------------------------------------------------------------------------------------------------------


def invert(number: int) -> float:
    return 1 / number


def test_the_first_error_in_order_names_item_step_and_cause(each: Runner) -> None:
    """And says the same wherever the item ran; where it was raised is known."""
    here: dict[str, Any] = {}
    exec(compile("def fails(number):\n    return 1 / number\n", "/ws/flow_modules/a.ipynb, cell 4", "exec"), here)

    with pytest.raises(FlowExecutionError) as caught:
        each.mapped([1, 0, 2, 0], here["fails"])

    assert caught.value.what == (
        'Flow "claims" failed in step "Each" (function fails): ZeroDivisionError: division by zero (item 2 of 4: 0)'
    )
    trace = caught.value.__cause__ and caught.value.__cause__.__traceback__
    files = []
    while trace is not None:
        files.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    assert ("/ws/flow_modules/a.ipynb, cell 4", 2) in files


def test_kept_errors_stay_in_their_places(each: Runner) -> None:
    """With their items, and what led to them."""

    class Unlike(Exception):
        def __init__(self, one: str, other: str) -> None:
            super().__init__(f"{one} is unlike {other}")

    def item(number: int) -> float:
        try:
            return 1 / number
        except ZeroDivisionError as error:
            raise Unlike("this", "that") from error

    batch = each.mapped([1, 0, 2], item, on_error="collect")

    assert [type(one).__name__ for one in batch] == ["float", "ItemError", "float"]
    (kept,) = batch.errors()
    assert isinstance(kept, ItemError)
    assert (kept.item, type(kept.error).__name__, str(kept.error)) == (0, "Unlike", "this is unlike that")
    assert isinstance(kept.error.__cause__, ZeroDivisionError)


def test_a_stop_of_the_author_is_no_item_error(each: Runner) -> None:
    """Also where errors are kept."""

    def item(number: int) -> None:
        raise FlowStoppedError("enough")

    with pytest.raises(FlowStoppedError, match="enough"):
        each.mapped([1, 2], item, on_error="collect")


def test_sys_exit_in_an_item_fails_it(each: Runner) -> None:
    """And ends nobody's process."""
    with pytest.raises(FlowExecutionError, match="SystemExit: 3"):
        each.mapped([1, 2], lambda item: sys.exit(3))


def panicking(number: int) -> int:
    import polars as pl

    if number == 0:
        raise pl.exceptions.PanicException("the engine gave up")
    return number


def test_an_error_that_is_no_exception_is_kept_like_any_other(each: Runner) -> None:
    """A panic of Polars, a cancelled task of asyncio, `sys.exit()`; each keeps its class wherever the item ran."""

    def item(number: int) -> int:
        if number == 1:
            raise asyncio.CancelledError
        if number == 2:
            sys.exit(3)
        return panicking(number)

    kept = each.mapped([0, 1, 2, 3], item, on_error="collect").items

    panic = pl.exceptions.PanicException
    assert [type(one.error) for one in kept[:3]] == [panic, asyncio.CancelledError, SystemExit]
    assert str(kept[0].error) == "the engine gave up"
    assert kept[3] == 3


def test_an_error_that_is_no_exception_names_its_item(each: Runner) -> None:
    """As every other one does."""
    with pytest.raises(FlowExecutionError, match=r"PanicException: the engine gave up \(item 2 of 2: 0\)"):
        each.mapped([1, 0], panicking)


def test_what_cannot_travel_is_named(far: Runner) -> None:
    """A connection that a function uses, an item, a result."""
    import sqlite3

    connection = sqlite3.connect(":memory:")
    try:
        with pytest.raises(FlowExecutionError, match=r"connection \(a Connection\) cannot travel to another process"):
            far.mapped([1, 2], lambda item: connection.execute("select 1"))
        with pytest.raises(FlowExecutionError, match=r"the item \(a generator\) cannot travel"):
            far.mapped([(one for one in ()), 2], lambda item: 1)
        with pytest.raises(FlowExecutionError, match=r"the result \(a generator\) cannot travel") as caught:
            far.mapped([1, 2], lambda item: (one for one in ()))
    finally:
        connection.close()
    assert caught.value.fix
    assert "instead of a generator" in caught.value.fix


# -- the context -------------------------------------------------------------------------------------------------------


def test_the_context_is_there(each: Runner, tmp_path: Path) -> None:
    """Objects, current, params, source, mirror, config, metadata."""
    (each.root / "config").mkdir(exist_ok=True)
    (each.root / "config/lists.toml").write_text("keep = [1, 2]\n")
    (each.root / "in").mkdir()
    source = SourceContext(each.root / "in", each.root / "in/a.csv", Path("a.csv"))

    def item(context: Any, number: int) -> Any:
        return (
            context.objects["first"] + sorted(context.objects),
            len(context.current),
            context.params["month"],
            context.source.path,
            context.mirror.file("out.csv"),
            context.config.require("lists")["keep"],
            context.metadata["run_id"],
            context.database("a.duckdb").name,
            context.flow_name,
        )

    flow = (
        Flow("G", "claims")
        .step(lambda context: [1, 2], save_as="first")
        .step(lambda context: [5, 6, 7], save_as="items")
        .map(item, max_parallel=2)
    )
    result = each.run(
        flow,
        source=source,
        mirror=MirrorContext(each.root / "out", source.path, source.relative_path),
        params=MappingProxyType(GivenParams({"month": "2013-01"})),
        config=WorkspaceConfigContext(each.root),
        metadata={"run_id": "r1"},
    ).current

    wanted = (
        [1, 2, "first", "items"],
        3,
        "2013-01",
        each.root / "in/a.csv",
        each.root / "out/out.csv",
        [1, 2],
        "r1",
        "a.duckdb",
        "claims",
    )
    assert result.items == (wanted,) * 3
    assert (each.root / "out").is_dir()


def test_what_items_change_in_other_processes_is_told_once(far: Runner) -> None:
    """It does not come back. What an item only reads, or changes of its own, is none of that."""
    seen: list[int] = []
    counts: dict[str, int] = {"all": 0}
    rates = {"EUR": 1.1}

    def item(number: int) -> float:
        seen.append(number)
        counts["all"] += 1
        own = [number]
        own.append(2)
        return number * rates["EUR"]

    flow = Flow("G", "claims").step(lambda context: range(8)).map(item, max_parallel=2)
    flow = flow.step(lambda context: range(8)).map(item, max_parallel=2)
    far.run(flow)

    told = [text for level, text in lines(far) if level == "WARNING"]
    assert [text.partition(",")[0] for text in told] == ["items changed counts", "items changed seen"]
    assert seen == []


def test_threads_share_what_items_change(ws: WorkspaceFiles) -> None:
    """Nothing is told there."""
    here = runner_of("threads", ws)
    seen: list[int] = []

    here.mapped(range(4), seen.append)

    assert (sorted(seen), lines(here)) == ([0, 1, 2, 3], [])


def test_an_object_that_cannot_travel_costs_only_those_who_look_at_it(far: Runner) -> None:
    """And is named."""
    flow = Flow("G", "claims").step(lambda context: (one for one in ()), save_as="rows").step(lambda context: [1, 2])

    assert far.run(flow.map(lambda context, item: item, max_parallel=2)).current.items == (1, 2)
    with pytest.raises(FlowExecutionError, match=r"context.objects\['rows'\] \(a generator\) cannot travel"):
        far.run(flow.map(lambda context, item: context.objects["rows"], max_parallel=2))


def test_log_lines_prints_and_records_come_home(each: Runner) -> None:
    """Under the step's name, whole lines."""

    def item(context: Any, number: int) -> None:
        context.log(f"logged {number}", level="WARNING")
        print("printed", number, end="!\n")
        logging.getLogger("of.author").error("recorded %s", number)

    control = StepControl(each.events.append, run_id="r1", flow="claims", label="Each")
    with captured(control):
        each.mapped([1, 2], item)

    assert lines(each) == [
        ("ERROR", "recorded 1"),
        ("ERROR", "recorded 2"),
        ("INFO", "printed 1!"),
        ("INFO", "printed 2!"),
        ("WARNING", "logged 1"),
        ("WARNING", "logged 2"),
    ]
    assert {one.step for one in each.events if isinstance(one, LogLine)} == {"Each"}


def test_progress_ends_with_all_items(each: Runner) -> None:
    """An item's own progress is told too."""

    def item(context: Any, number: int) -> None:
        context.progress(number, 77)

    each.mapped([1, 2, 3], item)

    told = [(one.done, one.total) for one in each.events if isinstance(one, StepProgress)]
    assert told[-1] == (3, 3)


def test_secrets_and_typed_params_come_along_and_stay_hidden(each: Runner) -> None:
    """To processes of this machine, and to a cluster on a way that nobody else sees; also what an item finds out itself."""

    @dataclasses.dataclass
    class Settings:
        month: str
        dwh: Secret

    def item(context: Any, number: int) -> Any:
        own = Secret("own", f"found in item {number}")
        print(f"secret: {context.params.dwh.reveal()} {own.reveal()}\n", end="")
        context.log(f"secret: {own.reveal()}")
        if number == 2:
            raise ValueError(f"no access with {context.params.dwh.reveal()}")
        return context.params.month, context.params.dwh.name, len(context.params.dwh.reveal())

    params = Settings("2013-01", Secret("dwh", "correct horse battery"))
    flow = Flow("G", "claims").step(lambda context: [1, 2]).map(item, max_parallel=2, on_error="collect")
    control = StepControl(each.events.append, run_id="r1", flow="claims", label="Each")
    with captured(control):
        batch = each.run(flow, params=params).current

    told = [secret.masked(text) for _, text in lines(each)]
    assert {text for text in told if "secret" in text} == {"secret: *** ***", "secret: ***"}
    if each.kind != "apart":  # its way is not encrypted: there it is asked for on the node
        assert batch[0] == ("2013-01", "dwh", 21)
        assert secret.masked(str(batch[1])) == "2: ValueError: no access with ***"


# -- modules -----------------------------------------------------------------------------------------------------------

HELPED = """
    from data_engine import Flow
    from flow_helpers import rates
    from flow_helpers.rates import Rate

    FACTOR = 2

    def each(item):
        from flow_helpers.rates import rate as imported_late
        import sibling
        assert isinstance(imported_late(1), Rate)
        return rates.rate(item * FACTOR + sibling.SHIFT)

    def check(context):
        assert all(isinstance(one, rates.Rate) for one in context.current), "another class came back"
        return [one.value for one in context.current]

    def build():
        return Flow(group="G").step(lambda context: [1, 2, 3]).map(each, max_parallel=2).step(check)
"""


def test_helpers_come_along(each: Runner, ws: WorkspaceFiles) -> None:
    """Imported at the top or late, as modules or by name; what they define is the same class when it comes back."""
    ws.helper(
        "rates",
        """
        from dataclasses import dataclass
        from threading import Lock

        LOCK = Lock()

        @dataclass
        class Rate:
            value: float

        def rate(value):
            return Rate(value * 10)
        """,
    )
    ws.module("sibling", "SHIFT = 1\n")

    assert each.run(each.loaded(ws, HELPED)).current == [30, 50, 70]


def test_a_map_inside_an_item_works(each: Runner, ws: WorkspaceFiles) -> None:
    """A flow that an item runs goes through its own items in threads."""

    def item(number: int) -> Any:
        inner = Flow("H", "inner").step(lambda context: range(number)).map(lambda one: one + 1, max_parallel=2)
        return sum(inner.run_once()[0].current)

    assert each.mapped([2, 3], item).items == (3, 6)


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_a_stop_ends_a_map_at_its_next_item(each: Runner) -> None:
    """Items already done do not help."""
    flow = (
        Flow("G", "claims")
        .step(lambda context: range(10_000))
        .map(lambda item: time.sleep(0.002), max_parallel=2, on_error="collect")
    )
    begun_s = time.monotonic()

    with pytest.raises(RunInterrupted):
        each.run(flow, may_work=stop_after(12))
    assert time.monotonic() - begun_s < 8


def test_a_stop_ends_an_item_where_it_tells_how_far_it_is(each: Runner) -> None:
    """Its own `except Exception` does not swallow it."""
    asked = [0]

    def may_work() -> None:
        asked[0] += 1
        if asked[0] > 6:
            raise RunInterrupted("stopped", Cause("stop_requested"))

    def item(context: Any, number: int) -> None:
        for done in range(3000):
            with contextlib.suppress(Exception):
                context.progress(done, 3000)
            time.sleep(0.01)

    flow = Flow("G", "claims").step(lambda context: [1, 2]).map(item, max_parallel=2)
    with pytest.raises(RunInterrupted):
        each.run(flow, may_work=may_work)


# -- processes ---------------------------------------------------------------------------------------------------------


def test_items_run_elsewhere_and_not_more_at_once_than_asked(far: Runner) -> None:
    """In as many processes as `max_parallel` allows."""
    pids = set(far.mapped(range(12), lambda item: (time.sleep(0.02), os.getpid())[1]))

    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2


CONNECT = "with duckdb.connect(path) as con: con.execute('CREATE TABLE t AS SELECT 1 AS a')"
ATTACH = "with duckdb.connect() as con: con.execute(f\"ATTACH '{path}' AS mart\"); con.execute('CREATE TABLE mart.t AS SELECT 1 AS a')"


@pytest.mark.parametrize("made", [CONNECT, ATTACH], ids=["duckdb.connect", "ATTACH"])
def test_a_database_that_an_item_makes_has_the_format_of_the_runs(far: Runner, ws: WorkspaceFiles, made: str) -> None:
    """Whichever process makes it; 65 is that of the version said here, and no other one's."""
    flow = far.loaded(
        ws,
        f"""
        import duckdb
        from data_engine import Flow

        def write(context, name):
            path = context.database(f"{{name}}.duckdb")
            {made}

        def build():
            return Flow(group="G").step(lambda context: ["a", "b"]).map(write, max_parallel=2)
        """,
    )
    with new_databases("v1.2.0", lead_below(ws.root)):
        far.run(flow)

    assert [number_of(ws.root / "databases" / f"{name}.duckdb") for name in "ab"] == [65, 65]


def test_an_item_whose_process_dies_is_tried_once_more(far: Runner, tmp_path: Path) -> None:
    """And nobody sees it but in the log."""
    marker = tmp_path / "tried"

    def item(number: int) -> int:
        if number == 2 and not marker.exists():
            marker.write_text("x")
            os._exit(7)
        return number

    assert far.mapped([1, 2, 3, 4], item).items == (1, 2, 3, 4)
    assert [text for _, text in lines(far)] == ["item 2 is tried once more: its process died: exit code 7"]


def test_a_poison_item_costs_itself_only(far: Runner) -> None:
    """The error names the item and how the process ended."""

    def item(number: int) -> int:
        if number == 2:
            os._exit(7)
        return number

    batch = far.mapped([1, 2, 3, 4], item, on_error="collect")

    assert [one for one in batch if not isinstance(one, ItemError)] == [1, 3, 4]
    (kept,) = batch.errors()
    assert kept.item == 2
    assert str(kept).startswith("2: ProcessDiedError: its process died: exit code 7")
    with pytest.raises(FlowExecutionError, match=r"exit code 7.*\(item 2 of 4: 2\)") as caught:
        far.mapped([1, 2, 3, 4], item)
    assert isinstance(caught.value.__cause__, FlowValidationError)
    assert far.mapped([1, 2], lambda item: item).items == (1, 2)


def test_cores_are_shared(far: Runner) -> None:
    """Polars and DuckDB get their part, unless somebody has said how much."""

    def item(number: int) -> Any:
        import duckdb

        with duckdb.connect() as mine, duckdb.connect(config={"threads": 3}) as told:
            threads = [one.execute("select current_setting('threads')").fetchone()[0] for one in (mine, told)]
        return os.environ["POLARS_MAX_THREADS"], os.environ["OMP_NUM_THREADS"], threads

    share = str(max(1, (os.cpu_count() or 1) // 2))
    expected = (share, share, [int(share), 3])
    end_s = time.monotonic() + 20  # all workers of a cluster may not have joined yet
    while (found := far.mapped([1, 2], item).items[0]) != expected:
        assert time.monotonic() < end_s, found
