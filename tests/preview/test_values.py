"""What is kept of a result, and that nothing done to one preview's objects reaches the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_engine import Flow
from data_engine.engine.memo.cache import PreviewCache
from data_engine.engine.memo.runner import KeptResults, PreviewRunner
from data_engine.engine.memo.values import CannotCopy, copy_of
from data_engine.engine.preview import last_report
from tests.preview.conftest import Cells, ran, reasons
from tests.support import WorkspaceFiles

KEPT = {
    "a number": "1.5",
    "a text": "'x' * 9",
    "a date": "datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)",
    "a path": "Path('nowhere')",
    "a list of lists": "[[1], [2, [3]]]",
    "a dict of frames": "{'a': pl.DataFrame({'x': [1]})}",
    "a set": "{1, 2}",
    "a named tuple": "N(1, [2])",
    "a dataclass": "D([1])",
    "a frame": "pl.DataFrame({'x': [1, None], 'y': ['a', 'b'], 'z': [[1], [2]]})",
    "a series": "pl.Series('s', [1.0, float('nan')])",
    "an Arrow table": "pa.table({'x': [1]})",
    "a batch": "Batch((1, 2))",
    "a file": "FileRef('nowhere')",
    "nothing": "None",
}
SETUP = """
    import datetime, duckdb, polars as pl, pyarrow as pa
    from dataclasses import dataclass
    from pathlib import Path
    from typing import NamedTuple
    from data_engine import Batch, FileRef, Flow
    class N(NamedTuple):
        a: int
        b: list
    @dataclass
    class D:
        a: list
    class Other: pass
    def step(context): return {value}
    def after(context): return {use}
    def build(): return Flow(group="G", name="f").step(step, save_as="s").step(after, save_as="t")
"""


@pytest.mark.parametrize("value", KEPT.values(), ids=list(KEPT))
def test_a_result_is_kept_where_a_copy_is_sound_and_cheap(cells: Cells, value: str) -> None:
    cells.run(SETUP.format(value=value, use="1"))
    first = cells.preview(use="s")
    second = cells.preview(use="s")

    assert ran() == []
    assert type(second) is type(first)
    assert second.equals(first) if hasattr(first, "equals") else str(second) == str(first)


NOT_KEPT = {
    "a lazy frame": ("pl.LazyFrame({'x': [1]})", "context.current.collect()['x'].to_list()", "LazyFrame"),
    "a relation": ("duckdb.sql('select 1 as x')", "context.current.fetchall()", "DuckDBPyRelation"),
    "a generator": ("iter(n for n in [1, 2])", "list(context.current)", "generator"),
    "an open file": ("open('f.txt')", "context.current.read()", "TextIOWrapper"),
    "a connection": ("duckdb.connect()", "context.current.execute('select 1').fetchall()", "DuckDBPyConnection"),
    "an object of some class": ("Other()", "type(context.current).__name__", "Other"),
    "a function": ("(lambda: 1)", "context.current()", "function"),
    "a frame of objects": (
        "pl.DataFrame({'x': [Other()]}, schema={'x': pl.Object})",
        "context.current.height",
        "objects",
    ),
    "too much": ("[b'x' * 1000 for _ in range(60_000)] + [[]]", "len(context.current)", "50 MB"),
}


@pytest.mark.parametrize(("value", "use", "said"), NOT_KEPT.values(), ids=list(NOT_KEPT))
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_not_kept_does_not_spoil_what_comes_after(cells: Cells, value: str, use: str, said: str) -> None:
    """It is made again only when a later step needs it; the caption says that it is not kept."""
    Path("f.txt").write_text("x")
    cells.run(SETUP.format(value=value, use=use).replace('save_as="s"', 'label="s"'))
    first = cells.preview()
    report = last_report()
    assert report is not None
    assert said in str(report.steps[0].not_kept)
    assert cells.preview() == first
    assert ran() == []
    cells.run(f"def after(context): return ({use}, 2)")
    assert cells.preview() == (first, 2)
    assert reasons()["t"] == "its code changed"
    assert "not kept" in str(reasons()["s"])
    cells.preview()
    assert ran() == []


def test_a_generator_saved_for_several_steps_is_never_half_used(cells: Cells) -> None:
    """Who reads it first leaves the rest to the next; that order cannot be replayed from the middle."""
    cells.run("""
        from data_engine import Flow
        def make(context): return iter([1, 2, 3])
        def one(context): return next(context.current)
        def rest(context): return list(context.current)
        def build():
            return Flow(group="G", name="f").step(make, save_as="g").step(one, use="g", save_as="a").step(rest, use="g", save_as="b")
    """)
    assert cells.check() == [2, 3]
    cells.run("def rest(context): return [*context.current, 4]")
    assert cells.check() == [2, 3, 4]
    assert cells.check() == [2, 3, 4]


IN_PLACE = {
    "a list": ("[1]", "value.append(2)"),
    "something deep": ("{'a': [[1]]}", "value['a'][0].append(2)"),
    "a frame's column": ("pl.DataFrame({'x': [1]})", "value.insert_column(0, pl.Series('y', [2]))"),
    "a frame's cell": ("pl.DataFrame({'x': [1]})", "value[0, 'x'] = 2"),
    "a frame's names": ("pl.DataFrame({'x': [1]})", "setattr(value, 'columns', ['z'])"),
    "a series": ("pl.Series([1])", "value.append(pl.Series([2]))"),
    "a frame in a dict": ("{'a': pl.DataFrame({'x': [1]})}", "value['a'].extend(pl.DataFrame({'x': [2]}))"),
    "a dataclass": ("D([1])", "value.a.append(2)"),
    "a set": ("{1}", "value.add(2)"),
}


@pytest.mark.parametrize(("value", "change"), IN_PLACE.values(), ids=list(IN_PLACE))
def test_a_value_changed_by_its_user_reaches_no_later_preview(cells: Cells, value: str, change: str) -> None:
    """Whether it came from a run or from the cache."""
    cells.run(SETUP.format(value=value, use="1"))
    untouched = str(cells.preview(use="s", fresh=True))
    for _ in range(3):
        shown = cells.preview(use="s")
        assert str(shown) == untouched
        exec(change, {"value": shown, "pl": cells.names["pl"]})
        assert str(shown) != untouched
    assert ran() == []


@pytest.mark.parametrize(("value", "change"), IN_PLACE.values(), ids=list(IN_PLACE))
def test_a_value_changed_by_a_later_step_reaches_no_later_preview(cells: Cells, value: str, change: str) -> None:
    """That step always runs, and those after it see what they would see in production."""
    cells.run(SETUP.format(value=value, use="1"))
    cells.run("def after(context):\n    value = context.current\n    " + change + "\n    return 1")
    cells.run("def look(context): return str(context.objects['s'])")
    cells.run(
        "def build(): return Flow(group='G', name='f').step(step, save_as='s').step(after, save_as='t').step(look, save_as='u')"
    )
    untouched, changed = str(cells.preview(use="s")), cells.preview(fresh=True)
    assert changed != untouched
    for _ in range(3):
        assert str(cells.preview(use="s")) == untouched
        assert cells.preview() == changed
        assert ran() == ["t", "u"]
    assert reasons()["t"] == "it changes s in place"


def test_of_changed_objects_the_step_is_told_that_changes_them(cells: Cells) -> None:
    """A step that only takes what another one has changed changes nothing; one that changes something more does."""
    cells.run("""
        from data_engine import Flow
        def make(context): return [1]
        def first(context): context.current.append(2)
        def look(context): return len(context.current)
        def second(context): context.current.append(2)
        def build():
            flow = Flow(group="G", name="f").step(make, save_as="a").step(make, save_as="b")
            flow = flow.step(first, use="a", save_as="x").step(look, use="a", save_as="seen")
            return flow.step(second, use="b", save_as="y").step(look, use="b", save_as="last")
    """)

    assert [cells.preview() for _ in range(3)] == [2, 2, 2]
    assert reasons() == {
        "a": None,
        "b": None,
        "x": "it changes a in place",
        "seen": "x changes a in place",
        "y": "it changes b in place",
        "last": "y changes b in place",
    }


def test_values_that_share_parts_share_them_in_a_preview_too(cells: Cells) -> None:
    """A step that changes one of two results which hold the same list changes both, as in production."""
    cells.run("""
        from data_engine import Flow
        def one(context): return [1]
        def two(context): return {"inside": context.current}
        def change(context): context.objects["b"]["inside"].append(2)
        def look(context): return context.objects["a"], context.objects["b"]
        def build():
            return Flow(group="G", name="f").step(one, save_as="a").step(two, save_as="b").step(change).step(look, save_as="c")
    """)
    for _ in range(3):
        assert cells.preview() == ([1, 2], {"inside": [1, 2]})
    cells.run("def look(context): return len(context.objects['a'])")
    for _ in range(2):
        assert cells.preview() == 2
    cells.run("def change(context): pass")
    assert cells.check() == 1


def test_current_is_the_saved_object_itself(cells: Cells) -> None:
    cells.run("""
        import polars as pl
        from data_engine import Flow
        def one(context): return pl.DataFrame({"x": [1]})
        def same(context): return context.current
        def look(context): return context.current is context.objects["a"] is context.objects["b"], context.params.get("n")
        def build(): return Flow(group="G", name="f").step(one, save_as="a").step(same, save_as="b").step(look, save_as="c")
    """)

    assert cells.preview() == (True, None)
    assert cells.preview(params={"n": 1}) == (True, 1)


SIDE_EFFECTS = {
    "a global": ("SEEN = []", "SEEN.append(1) or len(SEEN)"),
    "a counter": ("N = 0\ndef up():\n    global N\n    N += 1\n    return N", "up()"),
    "a toggle": ("N = [True]", "N.reverse() or N.insert(0, not N[0]) or N[0]"),
    "a default argument": ("def up(n=[]):\n    n.append(1)\n    return len(n)", "up()"),
    "a closure": (
        "def make():\n    n = [0]\n    def up():\n        n[0] += 1\n        return n[0]\n    return up\nup = make()",
        "up()",
    ),
    "a class": ("class T: n = 0\ndef up():\n    T.n += 1\n    return T.n", "up()"),
    "an iterator": ("N = iter(range(99))", "next(N)"),
    "a counter of itertools": ("import itertools\nN = itertools.count()", "next(N)"),
    "a function's attribute": ("def up():\n    up.n += 1\n    return up.n\nup.n = 0", "up()"),
    "saved objects": ("", "context.objects.setdefault('mine', []).append(1) or len(context.objects['mine'])"),
    "metadata": ("", "context.metadata.setdefault('mine', 1)"),
    "the context": ("", "setattr(context, 'mine', 1)"),
}


@pytest.mark.parametrize(("before", "result"), SIDE_EFFECTS.values(), ids=list(SIDE_EFFECTS))
def test_a_step_that_changes_more_than_its_result_always_runs(cells: Cells, before: str, result: str) -> None:
    cells.run("from data_engine import Flow").run(before)
    cells.run(f"def step(context): return {result}\ndef after(context): return context.current")
    cells.run("def build(): return Flow(group='G', name='f').step(step, save_as='s').step(after, save_as='t')")
    for _ in range(3):
        cells.preview()
        assert ran() == ["s", "t"]


WRITES = {
    "another saved object": "context.objects['a'] = 'new'",
    "a saved object taken away": "context.objects.pop('a')",
    "an object of its own": "context.objects['z'] = 5",
    "all saved objects": "context.objects = {'a': 1, 'z': 2}",
    "no saved objects": "context.objects.clear()",
    "metadata": "context.metadata['z'] = 5",
    "the outputs of steps": "context.metadata['step_outputs'].update(z=5)",
    "an attribute": "context.z = 5",
    "nothing": "None",
}


@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
def test_what_a_step_writes_to_the_context_is_there_for_later_steps_as_in_a_run(cells: Cells, write: str) -> None:
    """First, again, from the cache, after an edit of a step before it and of one after it, and once it writes no more."""
    cells.run("""
        from data_engine import Flow
        def make(context): return "old"
        def between(context): return "between"
        def look(context):
            outputs = {name: value for name, value in context.metadata["step_outputs"].items() if name == "z"}
            return context.current, dict(context.objects), context.metadata.get("z"), outputs, getattr(context, "z", None)
        def last(context): return context.current, context.objects.get("a")
        def build():
            return (Flow(group="G", name="f").step(make, save_as="a").step(between, save_as="b").step(change)
                    .step(look, save_as="l").step(last, save_as="m"))
    """)

    def in_a_run() -> Any:
        cells.run("_ran = build().run_once()[0].current")
        return cells.names["_ran"]

    cells.run(f"def change(context):\n    {write}\n    return 1")
    cells.preview(use="b")
    for _ in range(3):
        assert cells.preview() == in_a_run()
    cells.run("def make(context): return 'other'")
    assert cells.preview() == in_a_run()
    cells.run("def last(context): return context.current, sorted(context.objects)")
    assert cells.preview() == in_a_run()
    cells.run("def change(context): return 1")
    for _ in range(2):
        assert cells.preview() == in_a_run()
    cells.run(f"def change(context):\n    {write}\n    return 1")
    assert cells.preview() == in_a_run()


RETURNED = """
    from pathlib import Path
    from data_engine import Flow
    def write(context):
        path = context.mirror.with_suffix(".txt")
        path.write_text("1")
        return {result}
    def read(context): return Path(context.objects["w"] or context.params["path"]).read_text()
    def build():
        return (Flow(group="G", name="f").watch(mode="manual", source={source!r}).mirror(root={mirror!r})
                .step(write, save_as="w").step(read, save_as="r"))
"""


@pytest.mark.parametrize("result", ["path", "str(path)", "None"])
@pytest.mark.parametrize("change", ["gone", "other content", "replaced"])
def test_a_step_whose_file_is_not_as_it_left_it_runs_again(
    cells: Cells, tmp_path: Path, result: str, change: str
) -> None:
    """Whether it returned the path or not; the caption says what was written through the mirror."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("x")
    out = tmp_path / "out/a.txt"
    cells.run(RETURNED.format(result=result, source=str(tmp_path / "in"), mirror=str(tmp_path / "out")))
    params = {"path": str(out)}
    assert cells.preview(params=params, write=True) == "1"
    report = last_report()
    assert report is not None
    assert report.wrote == (out,)
    assert cells.preview(params=params, write=True) == "1"
    assert ran() == []
    assert last_report().wrote == ()  # type: ignore[union-attr]
    if change == "gone":
        out.unlink()
    elif change == "replaced":
        (tmp_path / "new").write_text("2")
        (tmp_path / "new").replace(out)
    else:
        out.write_text("2")

    assert cells.preview(params=params, write=True) == "1"
    assert reasons()["w"] == ("file a.txt is gone" if change == "gone" else "file a.txt is changed")


def test_a_file_a_step_adds_to_is_added_to_each_time(cells: Cells, tmp_path: Path) -> None:
    cells.run("from data_engine import Flow\nfrom pathlib import Path")
    cells.run(
        f"def step(context):\n    with open({str(tmp_path)!r} + '/log', 'a') as log: log.write('x')\n"
        f"    return Path({str(tmp_path)!r} + '/log').read_text()"
    )
    cells.run("def build(): return Flow(group='G', name='f').step(step, save_as='s')")

    assert [cells.preview() for _ in range(3)] == ["x", "xx", "xxx"]


def walk(flow: Flow, cache: PreviewCache, limit_bytes: int) -> list[bool]:
    """Which steps of a preview with this cache ran."""
    from data_engine.engine.candidates import Source
    from data_engine.flow.context import FlowContext
    from data_engine.flow.control import StepControl

    control = StepControl(run_id="preview")
    one = PreviewRunner(
        flow, FlowContext("f", "G", control=control), control, Source(), KeptResults(cache, limit_bytes)
    )
    one.run(len(flow.steps), ["current"])
    return [one.reports[index].ran for index in sorted(one.reports)]


def test_the_cache_drops_the_least_recently_used_beyond_its_size() -> None:
    cache, room_for_two = PreviewCache(), 80_000
    flows = [Flow(group="G", name="f").step(lambda context, n=n: [n] * 1000) for n in range(3)]
    assert [walk(flows[n], cache, room_for_two) for n in (0, 1, 0)] == [[True], [True], [False]]
    assert walk(flows[2], cache, room_for_two) == [True]

    assert 60_000 < cache.used_bytes <= room_for_two
    assert [walk(flows[n], cache, room_for_two) for n in (2, 0, 1)] == [[False], [False], [True]]
    cache.clear()
    assert cache.used_bytes == 0


def test_a_result_larger_than_the_cache_is_not_kept() -> None:
    cache = PreviewCache()
    flow = Flow(group="G", name="f").step(lambda context: [1] * 1000)

    assert [walk(flow, cache, 100), walk(flow, cache, 100)] == [[True], [True]]
    assert cache.used_bytes <= 100


def test_the_size_of_the_cache_is_a_setting(ws: WorkspaceFiles) -> None:
    from data_engine import load_flow

    ws.source("config/data_engine.toml", '[preview]\ncache = "100B"\n')
    ws.module("f", "from data_engine import Flow\ndef build(): return Flow(group='G').step(lambda context: [1] * 99)\n")
    for _ in range(2):
        load_flow("f", data_root=ws.root).preview()
        assert ran() == ["Lambda"]
    ws.source("config/data_engine.toml", '[preview]\ncache = "1MiB"\n')
    for expected in (["Lambda"], []):
        load_flow("f", data_root=ws.root).preview()
        assert ran() == expected


def test_a_cleared_cache_runs_everything(cells: Cells) -> None:
    import data_engine

    cells.run(SETUP.format(value="1", use="2")).preview()
    data_engine.clear_preview_cache()
    cells.preview()

    assert reasons() == {"s": "first preview", "t": "first preview"}


def test_a_step_that_raises_keeps_what_came_before(cells: Cells) -> None:
    cells.run(SETUP.format(value="[1]", use="1 / 0"))
    for _ in range(2):
        with pytest.raises(ValueError, match="ZeroDivisionError"):
            cells.preview()
    cells.run("def after(context): return 1")
    cells.preview()

    assert ran() == ["t"]


def test_what_is_over_50_mb_is_weighed_without_being_copied() -> None:
    """Frames and Arrow tables share their buffers and may be of any size."""
    with pytest.raises(CannotCopy, match="50 MB"):
        copy_of([bytes(1000)] * 60_000)
    import polars as pl

    frame = pl.DataFrame({"x": range(10_000_000)})
    assert copy_of(frame).size_bytes >= 80_000_000


def test_numpy_and_pandas_values_are_copied_whole(cells: Cells) -> None:
    numpy: Any = pytest.importorskip("numpy")
    pandas: Any = pytest.importorskip("pandas")
    cells.names |= {"np": numpy, "pd": pandas}
    cells.run(SETUP.format(value="{'a': np.zeros(3), 'b': pd.DataFrame({'x': [1], 'y': ['a']})}", use="1"))
    shown = cells.preview(use="s")
    shown["a"][0], shown["b"].loc[0, "x"] = 5, 5
    again = cells.preview(use="s")

    assert ran() == []
    assert again["a"].tolist() == [0, 0, 0]
    assert again["b"]["x"].tolist() == [1]
