"""Feeds that change: what is said of their columns, once, and not where the author has changed the steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.csv
import pytest

from data_engine import Batch, Flow, FlowExecutionError, Workspace
from data_engine.engine.feed_schemas import MOST_COLUMNS
from data_engine.errors import LedgerError
from data_engine.flow.context import FlowContext
from data_engine.ledger.feed_schemas import accept_feeds, drifting_runs
from data_engine.ledger.rows import RUN_COLUMNS
from data_engine.status.run_comparison import compare
from data_engine.status.runs import facts_of

FEED = """day,flight,carrier,dep_delay,fare
2013-01-01,1545,UA,2,120.50
2013-01-02,1714,UA,4,99.00
2013-01-03,1141,AA,2,80.25
"""


def changed(old: str, new: str) -> str:
    assert old in FEED
    return FEED.replace(old, new)


def columns(*names: str) -> str:
    """The feed with these columns only, in this order."""
    return pl.read_csv(FEED.encode(), infer_schema=False).select(names).write_csv()


EMPTY = FEED.partition("\n")[0] + "\n"

CHANGES: list[tuple[str, str, str]] = [
    # renamed
    ("a column is renamed", changed("dep_delay", "departure_delay"), "`dep_delay` is gone, `departure_delay` is new"),
    ("two are renamed", changed("flight,carrier", "number,airline"), "`flight`, `carrier` are gone, `number`, `airline` are new"),
    ("all are renamed", changed("day,flight,carrier,dep_delay,fare", "a,b,c,d,e"), "`day`, `flight`, `carrier`, `dep_delay`, `fare` are gone, `a`, `b`, `c`, `d`, `e` are new"),
    ("a header is translated", changed("carrier", "Fluggesellschaft"), "`carrier` is gone, `Fluggesellschaft` is new"),
    ("a unit comes into a name", changed("dep_delay", "dep_delay_min"), "`dep_delay` is gone, `dep_delay_min` is new"),
    ("two swap their names", changed("carrier,dep_delay", "dep_delay,carrier"), "`dep_delay` was Int64 and is String, `carrier` was String and is Int64"),
    # removed
    ("a column is removed", columns("day", "flight", "carrier", "fare"), "`dep_delay` is gone"),
    ("two are removed", columns("day", "carrier", "fare"), "`flight`, `dep_delay` are gone"),
    ("all but one are removed", columns("day"), "`flight`, `carrier`, `dep_delay`, `fare` are gone"),
    # added
    ("a column comes at the end", FEED.replace("\n", ",x\n").replace("fare,x", "fare,note"), "`note` is new"),
    ("a column comes at the beginning", "".join(f"{n if n else 'row'},{line}\n" for n, line in enumerate(FEED.splitlines())), "`row` is new"),
    ("an index of pandas comes along", "".join(f"{n if n else ''},{line}\n" for n, line in enumerate(FEED.splitlines())), "`` is new"),
    ("a trailing comma", FEED.replace("\n", ",\n"), "`` is new"),
    ("seven columns come", "".join(f"{line},{','.join('abcdefg' if not n else '1234567')}\n" for n, line in enumerate(FEED.splitlines())), "`a`, `b`, `c`, `d`, `e` and 2 more are new"),
    # retyped by one bad value
    ("n/a in a number", changed("2013-01-02,1714,UA,4", "2013-01-02,1714,UA,n/a"), "`dep_delay` was Int64 and is String"),
    ("a dash in a price", changed("99.00", "-"), "`fare` was Float64 and is String"),
    ("a unit in a value", changed("UA,4", "UA,4 min"), "`dep_delay` was Int64 and is String"),
    ("a blank in a value", changed("UA,4", "UA, 4"), "`dep_delay` was Int64 and is String"),
    ("a fraction among whole numbers", changed("UA,4", "UA,4.5"), "`dep_delay` was Int64 and is Float64"),
    ("an exponent", changed("1714", "1.7e3"), "`flight` was Int64 and is Float64"),
    ("a number in quotes", changed("1545", '"15 45"'), "`flight` was Int64 and is String"),
    ("true among numbers", changed("UA,4", "UA,true"), "`dep_delay` was Int64 and is String"),
    ("prices without cents", FEED.replace(".50", "").replace(".00", "").replace(".25", ""), "`fare` was Float64 and is Int64"),
    ("too large for a whole number", changed("1714", "99999999999999999999"), "`flight` was Int64 and is Int128"),
    ("a total row", FEED + "total,,,8,\n", "`day` was Date and is String"),
    # reordered is nothing, beside something it does not count
    ("reordered and one is gone", columns("fare", "dep_delay", "flight", "day"), "`carrier` is gone"),
    # case, spaces, invisible characters
    ("another case", changed("carrier", "Carrier"), "`carrier` is gone, `Carrier` is new"),
    ("a blank before the name", changed(",carrier", ", carrier"), "`carrier` is gone, ` carrier` is new"),
    ("a blank after the name", changed("carrier,", "carrier ,"), "`carrier` is gone, `carrier ` is new"),
    ("a blank inside the name", changed("dep_delay", "dep delay"), "`dep_delay` is gone, `dep delay` is new"),
    ("a hard blank", changed("carrier", "carrier\u00a0"), "`carrier` is gone, `carrier\\u00a0` is new"),
    ("a BOM in the second line of a joined file", changed("day", "\ufeff\ufeffday"), "`day` is gone, `\\ufeffday` is new"),
    ("a tab in the name", changed("carrier", "carrier\t"), "`carrier` is gone, `carrier\\t` is new"),
    ("an accent in two characters", changed("fare", "fare\u0301"), "`fare` is gone, `fare\u0301` is new"),
    # numbers and dates in another notation
    ("decimal commas", changed("120.50", '"120,50"'), "`fare` was Float64 and is String"),
    ("thousands", changed("1714", '"1,714"'), "`flight` was Int64 and is String"),
    ("dates as texts", FEED.replace("2013-01-0", "01/0").replace(",1545", "/2013,1545"), "`day` was Date and is String"),
    ("dates with a time", FEED.replace("-01-01,", "-01-01T00:00:00,").replace("-01-02,", "-01-02T00:00:00,").replace("-01-03,", "-01-03T00:00:00,"), "`day` was Date and is Datetime(time_unit='us', time_zone=None)"),
    ("dates as numbers", FEED.replace("2013-01-0", "2013010"), "`day` was Date and is Int64"),
    # nothing in it
    ("a header alone", EMPTY, "`day` was Date and is String, `flight` was Int64 and is String, `dep_delay` was Int64 and is String, `fare` was Float64 and is String"),
    ("a column without a value", FEED.replace(",2,", ",,").replace(",4,", ",,"), "`dep_delay` was Int64 and is String"),
    ("another separator", FEED.replace(",", ";"), "`day`, `flight`, `carrier`, `dep_delay`, `fare` are gone, `day;flight;carrier;dep_delay;fare` is new"),
]  # fmt: skip

SAME: list[tuple[str, str]] = [
    ("the same", FEED),
    ("other rows", FEED + "2013-01-04,725,B6,-1,75.10\n"),
    ("reordered", columns("fare", "dep_delay", "carrier", "flight", "day")),
    ("a BOM at the beginning", "\ufeff" + FEED),
    ("line ends of Windows", FEED.replace("\n", "\r\n")),
    ("a value that is missing", changed("99.00", "")),
    ("a last line without its end", FEED.rstrip("\n")),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Workspace.create(tmp_path / "ws").root


def read(context: FlowContext) -> pl.DataFrame:
    assert context.source is not None
    assert context.source.path is not None
    return pl.read_csv(context.source.path, try_parse_dates=True)


def tidy(context: FlowContext) -> Any:
    return context.current.with_columns(pl.lit(1).alias("one"))


def flow_of(root: Path, reader: Callable[[FlowContext], Any] = read) -> Flow:
    flow = Flow(group="G", name="flights", _workspace_root=root)
    flow = flow.watch(mode="poll", source=root / "in", interval="1s", settle=0, extensions=".csv")
    return flow.step(reader, save_as="raw_df", label="Read")


def feed(root: Path, text: str, name: str = "feed.csv") -> Path:
    path = root / "in" / name
    path.parent.mkdir(exist_ok=True)
    for other in path.parent.iterdir():
        other.unlink()
    path.write_text(text, encoding="utf-8")
    return path


def said(root: Path) -> list[str]:
    return [change.text for change in Workspace(root).runs()[0].drift]


@pytest.mark.parametrize(("text", "words"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_a_change_of_a_feed_is_said_once(root: Path, text: str, words: str) -> None:
    """In the run that first has it, in the words for it, and not again of a frame that is made from it."""
    flow = flow_of(root).step(tidy, save_as="tidy_df", label="Tidy")
    feed(root, FEED, "may.csv")
    flow.run_once()
    feed(root, text, "june.csv")

    flow.run_once()

    assert said(root) == [f"raw_df: {words}; it was as before until may.csv"]
    flow.run_once()
    assert said(root) == []


@pytest.mark.parametrize("text", [case[1] for case in SAME], ids=[case[0] for case in SAME])
def test_what_is_no_change_is_not_said(root: Path, text: str) -> None:
    flow = flow_of(root)
    feed(root, FEED)
    flow.run_once()
    feed(root, text)

    flow.run_once()

    assert said(root) == []


@pytest.mark.parametrize("text", [case[1] for case in CHANGES[:12]], ids=[case[0] for case in CHANGES[:12]])
def test_nothing_is_said_where_the_author_has_changed_the_steps(root: Path, text: str) -> None:
    """It is then as its author wants it; the next change is one again."""
    feed(root, FEED)
    flow_of(root).run_once()
    feed(root, text)

    def edited(context: FlowContext) -> pl.DataFrame:
        return read(context).head(1_000)

    flow_of(root, edited).run_once()

    assert said(root) == []
    feed(root, FEED)
    flow_of(root, edited).run_once()
    assert said(root) != []


def test_a_change_of_a_later_step_begins_nothing_anew(root: Path) -> None:
    feed(root, FEED)
    flow_of(root).step(tidy, save_as="tidy_df").run_once()
    feed(root, changed("carrier", "airline"))

    flow_of(root).step(lambda context: context.current.with_columns(two=2), save_as="tidy_df").run_once()

    assert said(root) == ["raw_df: `carrier` is gone, `airline` is new; it was as before until feed.csv"]


def delay(context: FlowContext) -> Any:
    return context.current.select(pl.col("dep_delay") + 1)


@pytest.mark.parametrize("text", [changed("dep_delay", "departure_delay"), columns("day", "flight")])
def test_a_failing_run_says_first_what_of_its_feed_is_not_as_before(root: Path, text: str) -> None:
    """Before near names, once in the error, and so in the history."""
    flow = flow_of(root).step(delay)
    feed(root, FEED, "2013-01-14.csv")
    flow.run_once()
    feed(root, text, "2013-01-15.csv")

    with pytest.raises(FlowExecutionError) as caught:
        flow.run_once()

    first = "raw_df: `" + ("dep_delay` is gone" if "departure" in text else "carrier`, `dep_delay`, `fare` are gone")
    assert str(caught.value.fix).startswith(first)
    assert "it was as before until 2013-01-14.csv" in str(caught.value.fix).partition("\n")[0]
    (run,) = Workspace(root).runs(limit=1)
    assert str(run.error).count("it was as before") == 1


def test_a_failing_run_says_nothing_of_columns_that_a_good_run_had(root: Path) -> None:
    """Two suppliers: it fails for another reason."""

    def fails_for_large(context: FlowContext) -> Any:
        if context.current.height > 3:
            raise ValueError("too many")
        return context.current

    flow = flow_of(root).step(fails_for_large)
    for text in (changed("carrier", "airline"), FEED):
        feed(root, text)
        flow.run_once()
    feed(root, changed("carrier", "airline") + "2013-01-04,725,B6,-1,75.10\n")

    with pytest.raises(FlowExecutionError) as caught:
        flow.run_once()

    assert "airline" not in str(caught.value)


def test_suppliers_that_alternate_drift_once(root: Path) -> None:
    flow, drifted = flow_of(root), []
    for night in range(6):
        feed(root, changed("carrier", "airline") if night % 2 else FEED)
        flow.run_once()
        drifted.append(bool(said(root)))

    assert drifted == [False, True, False, False, False, False]


def test_many_files_of_one_schema_are_one_row_and_say_nothing(root: Path) -> None:
    """500 files, of which each is a run."""
    flow = flow_of(root)
    feed(root, FEED)
    for number in range(499):
        (root / "in" / f"{number:03}.csv").write_text(FEED)

    flow.run_once()

    ledger = Workspace(root).home.ledger()
    assert ledger.rows("SELECT count(*), count(DISTINCT schema), count(drift) FROM runs") == [(500, 1, 0)]
    assert ledger.rows("SELECT count(*) FROM frame_schemas") == [(1,)]


def test_frames_of_a_batch_are_compared_by_their_kinds(root: Path) -> None:
    """One file among many has other columns."""
    flow = Flow(group="G", name="flights", _workspace_root=root)
    flow = flow.collect(".csv", root=root / "in").map(lambda file: pl.read_csv(file.path), save_as="raw")
    feed(root, FEED)
    for number in range(20):
        (root / "in" / f"{number}.csv").write_text(FEED)
    flow.run_once()
    (root / "in" / "7.csv").write_text(changed("carrier", "airline"))

    flow.run_once()

    (run,) = Workspace(root).runs(limit=1)
    assert [change.text.partition(";")[0] for change in run.drift] == ["raw: `carrier` is gone, `airline` is new"]
    assert list(run.schemas) == ["raw", "raw (2)"]
    ledger = Workspace(root).home.ledger()
    assert list(drifting_runs(ledger)) == ["flights"]
    (root / "in" / "7.csv").write_text(FEED)
    flow.run_once()
    assert drifting_runs(ledger) == {}


def scan(context: FlowContext) -> pl.LazyFrame:
    assert context.source is not None
    return pl.scan_csv(context.source.path, try_parse_dates=True)


def read_arrow(context: FlowContext) -> Any:
    assert context.source is not None
    return pyarrow.csv.read_csv(context.source.path)


def read_pandas(context: FlowContext) -> Any:
    assert context.source is not None
    return pd.read_csv(context.source.path)


def read_relation(context: FlowContext) -> Any:
    assert context.source is not None
    return duckdb.connect().read_csv(str(context.source.path))


@pytest.mark.parametrize(
    ("reader", "kind"),
    [(scan, "Int64"), (read_arrow, "int64"), (read_pandas, "int64"), (read_relation, "BIGINT")],
)
def test_each_kind_of_frame_has_its_columns(root: Path, reader: Callable[[FlowContext], Any], kind: str) -> None:
    feed(root, FEED)
    flow_of(root, reader).run_once()
    feed(root, changed("carrier", "airline"))
    flow_of(root, reader).run_once()

    assert said(root) == ["raw_df: `carrier` is gone, `airline` is new; it was as before until feed.csv"]
    schema = dict(Workspace(root).runs()[0].schemas["raw_df"])
    assert schema["dep_delay"] == kind


def test_the_schema_of_a_scan_is_resolved_once(root: Path) -> None:
    """It is known when the frame is collected, though the file's header is another one by then: nothing was read a second time."""
    path = feed(root, FEED)
    lazy = pl.scan_csv(path)
    lazy.collect_schema()
    path.write_text("other\n1\n")

    assert lazy.filter(pl.col("flight") > 0).collect_schema().names() == FEED.partition("\n")[0].split(",")


def test_a_frame_that_is_very_wide_is_left_out(root: Path) -> None:
    wide = pl.DataFrame({f"c{number}": [1] for number in range(MOST_COLUMNS + 1)})
    flow = Flow(group="G", name="wide", _workspace_root=root).step(lambda context: wide, save_as="raw")

    flow.run_once()

    assert Workspace(root).runs()[0].schemas == {}


def test_a_run_that_cannot_be_compared_is_good_all_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the history has frames that another version wrote."""
    feed(root, FEED)
    flow_of(root).run_once()
    ledger = Workspace(root).home.ledger()
    with ledger.writing() as (connection, _):
        connection.execute("UPDATE frame_schemas SET frames = '[1]'")
    feed(root, changed("carrier", "airline"))

    flow_of(root).run_once()

    assert said(root) == []


def test_two_runs_are_compared_by_their_columns(root: Path) -> None:
    feed(root, FEED)
    flow_of(root).run_once()
    feed(root, changed("carrier", "airline"))
    flow_of(root).run_once()
    ws = Workspace(root)
    now, before = ws.runs()

    comparison = compare(ws.home, ws.run_record(before.run_id), ws.run_record(now.run_id))

    assert ("columns", "raw_df: `carrier` is gone, `airline` is new") in comparison.lines()
    assert not comparison.is_equal
    assert dict(facts_of(now))["Feed"].startswith("raw_df: `carrier` is gone")
    assert now.as_dict()["schemas"]["raw_df"][2] == ["airline", "String"]


def test_a_flow_has_drifted_until_a_good_run_without_it(root: Path) -> None:
    """Also while its new columns stay."""
    flow, ledger = flow_of(root), Workspace(root).home.ledger()
    feed(root, FEED)
    flow.run_once()
    assert drifting_runs(ledger) == {}
    feed(root, changed("carrier", "airline"))
    flow.run_once()
    first = drifting_runs(ledger)["flights"]
    flow.run_once()
    assert drifting_runs(ledger) == {"flights": first}
    feed(root, FEED)
    flow.run_once()

    assert drifting_runs(ledger) == {}


# -- as_before -------------------------------------------------------------------------------------------------------------


def test_columns_as_before_let_nothing_after_them_run(root: Path) -> None:
    """A run fails again in the same way until somebody accepts it; then both schemas pass."""
    written: list[list[str]] = []
    flow = flow_of(root).check(schema="as_before").step(lambda context: written.append(context.current.columns))
    feed(root, FEED)
    flow.run_once()
    path = feed(root, changed("carrier", "airline"), "june.csv")
    words = "raw_df: `carrier` is gone, `airline` is new; it was as before until feed.csv"
    for _ in range(2):
        with pytest.raises(FlowExecutionError) as caught:
            flow.run_once()
        assert str(caught.value).count(words) == 1
        assert "data-engine retry flights --accept" in str(caught.value.fix)
    ws = Workspace(root)
    (run,) = ws.runs(limit=1)
    assert (run.status, run.why and run.why.kind, len(written)) == ("failed", "feed_changed", 1)

    assert [change.text for change in accept_feeds(ws.home.ledger(), "flights")] == [words]

    flow.run_once()
    path.write_text(FEED)
    flow.run_once()
    path.write_text(columns("day", "fare"))
    with pytest.raises(FlowExecutionError):
        flow.run_once()
    assert (len(written), accept_feeds(ws.home.ledger(), "audit")) == (3, ())


def test_a_node_of_a_cluster_does_not_let_columns_pass_that_it_cannot_judge(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no history: the run fails there, and says where such a flow runs."""
    monkeypatch.setenv("DATA_ENGINE_NODE", "1")
    feed(root, FEED)

    with pytest.raises(FlowExecutionError, match="does not know the runs before"):
        flow_of(root).check(schema="as_before").run_once()


def wide(count: int, last: str) -> pl.DataFrame:
    return pl.DataFrame({f"c{number}": [1] for number in range(count - 1)} | {last: [1]})


@pytest.mark.parametrize("count", [2_500, 2_501, MOST_COLUMNS + 1, 20_000])
def test_all_columns_of_a_wide_frame_are_as_before(root: Path, count: int) -> None:
    """The last one counts, and those of other frames do not make it one too many."""
    last = "total"
    flow = Flow(group="G", name="wide", _workspace_root=root)
    flow = flow.step(lambda context: wide(MOST_COLUMNS, "c"), save_as="other_df")
    flow = flow.step(lambda context: wide(count, (root / "last").read_text()), save_as="raw_df").check(
        schema="as_before"
    )
    (root / "last").write_text(last)
    flow.run_once()
    (root / "last").write_text("sum")

    with pytest.raises(FlowExecutionError, match="raw_df: `total` is gone, `sum` is new"):
        flow.run_once()

    accept_feeds(Workspace(root).home.ledger(), "wide")
    flow.run_once()


def test_all_frames_of_a_batch_are_as_before(root: Path) -> None:
    """Of a batch of many kinds of frames the last counts, too."""
    names = [f"c{number}" for number in range(70)]
    flow = Flow(group="G", name="batch", _workspace_root=root)
    flow = flow.step(lambda context: Batch(tuple(pl.DataFrame({name: [1]}) for name in names))).check(
        schema="as_before"
    )
    flow.run_once()
    names[-1] = "other"

    with pytest.raises(FlowExecutionError, match="`other` is new"):
        flow.run_once()


def test_the_end_of_a_long_type_is_as_before(root: Path) -> None:
    fields = [f"field_{number}" for number in range(60)]
    flow = Flow(group="G", name="struct", _workspace_root=root)
    flow = flow.step(lambda context: pl.DataFrame({"row": [dict.fromkeys(fields, 1)]})).check(schema="as_before")
    flow.run_once()
    fields[-1] = "other"

    with pytest.raises(FlowExecutionError, match="`row` was Struct"):
        flow.run_once()


def test_columns_as_before_of_a_name_that_two_steps_save(root: Path) -> None:
    """The frame that the check is given counts, not the first of its name."""
    added = ["one"]
    flow = flow_of(root).step(lambda context: context.current.with_columns(pl.lit(1).alias(added[0])), save_as="raw_df")
    flow = flow.check(schema="as_before")
    feed(root, FEED)
    flow.run_once()
    added[0] = "two"

    with pytest.raises(FlowExecutionError, match="`one` is gone, `two` is new"):
        flow.run_once()


def test_more_columns_than_a_run_can_keep_fail_a_check_of_them(root: Path) -> None:
    """From the first run on: the next one could not tell."""
    frame = wide(200_000, "total")
    flow = Flow(group="G", name="wide", _workspace_root=root).step(lambda context: frame).check(schema="as_before")

    with pytest.raises(FlowExecutionError, match="fewer than its 200,000 columns"):
        flow.run_once()


def test_a_history_that_cannot_be_read_fails_a_check_of_columns(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise LedgerError("the history is locked", where="ledger", fix="wait")

    monkeypatch.setattr("data_engine.engine.feed_schemas.known_frames", broken)
    feed(root, FEED)

    with pytest.raises(FlowExecutionError, match="the history is locked"):
        flow_of(root).check(schema="as_before").run_once()


def test_columns_as_before_beside_rules(root: Path) -> None:
    """Where they are not, the rules that are not true are named as well, and no row is rejected."""
    flow = flow_of(root).check({"late": "dep_delay > 2"}, schema="as_before", on_fail="quarantine")
    feed(root, FEED)
    (context,) = flow.run_once()
    assert context.current.height == 1
    feed(root, changed("dep_delay", "departure_delay"))

    with pytest.raises(FlowExecutionError, match="`dep_delay` is gone, `departure_delay` is new"):
        flow.run_once()

    assert Workspace(root).runs()[0].checks == ()

    feed(root, changed("carrier", "airline"))
    with pytest.raises(FlowExecutionError) as caught:
        flow.run_once()
    assert "`carrier` is gone, `airline` is new" in str(caught.value)
    assert "late is not true of " in str(caught.value)
    assert Workspace(root).runs()[0].checks == ()


def test_columns_as_before_that_only_warn(root: Path) -> None:
    flow = flow_of(root).check(schema="as_before", on_fail="warn")
    feed(root, FEED)
    flow.run_once()
    feed(root, changed("carrier", "airline"))

    (context,) = flow.run_once()

    assert (context.error, context.warnings, "airline" in context.current.columns) == (None, 1, True)


def test_a_preview_judges_columns_as_a_run_does(root: Path) -> None:
    flow = flow_of(root).check(schema="as_before")
    feed(root, FEED)
    flow.run_once()
    feed(root, changed("carrier", "airline"))

    with pytest.raises(FlowExecutionError, match="`carrier` is gone, `airline` is new"):
        flow.preview()


def test_a_deploy_that_changed_the_steps_before_begins_anew(root: Path) -> None:
    feed(root, FEED)
    flow_of(root).check(schema="as_before").run_once()
    feed(root, changed("carrier", "airline"))

    flow_of(root, lambda context: read(context)).check(schema="as_before").run_once()

    assert Workspace(root).runs()[0].status == "success"


def test_the_columns_of_old_runs_stay_with_the_newest_good_run(root: Path) -> None:
    """When runs are pruned, what comes next is still compared."""
    from data_engine.ledger.wall_clock import _OLD_RUNS

    feed(root, FEED)
    for _ in range(3):
        flow_of(root).run_once()
    ledger = Workspace(root).home.ledger()

    (pruned,) = ledger.rows(f"SELECT count(*) {_OLD_RUNS.replace(':before', '?1')}", "2999")

    assert pruned == (2,)
    assert "frame_schemas" in RUN_COLUMNS


def test_a_run_without_frames_has_no_columns(root: Path) -> None:
    """Programs find the key in each run."""
    feed(root, FEED)
    flow_of(root, lambda context: "a text").run_once()

    (run,) = Workspace(root).runs()
    assert run.as_dict()["schemas"] == {}
