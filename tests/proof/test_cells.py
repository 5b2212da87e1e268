"""Which cell changed what: quick looks after each cell."""

from __future__ import annotations

import random
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from data_engine.proof import cells
from data_engine.proof.cells import CellChanges, quick_mark, ran_otherwise
from data_engine.proof.data import PYPLOT


def test_the_cells_after_which_a_name_changed_are_noted() -> None:
    """A change in place, by another name, and of a random stream; a look changes nothing."""
    rows: list[int] = [1]
    changes = CellChanges()
    changes.look({"rows": rows}, "rows = [1]")
    changes.look({"rows": rows, "other": rows}, "other = rows")
    rows.append(2)
    random.random()
    changes.look({"rows": rows, "other": rows}, "other.append(2)")

    names, left = {"rows": rows, "other": rows}, ["other = rows", "other.append(2)"]
    assert changes.cells_behind("rows", names, (), left) == ["other.append(2)"]
    assert changes.cells_behind("the stream of random", names, (), left) == ["other.append(2)"]


def ran(*cells: str) -> tuple[CellChanges, dict[str, Any]]:
    """What cells changed that ran in this order, and the namespace that they left."""
    changes, names = CellChanges(), dict[str, Any]()
    for cell in cells:
        exec(cell, names)
        changes.look({name: value for name, value in names.items() if name != "__builtins__"}, cell)
    return changes, names


@pytest.mark.parametrize(
    ("cells", "name", "behind"),
    [
        (["rows = [1]", "best = rows", "rows.append(2)"], "best", [2]),
        (["rows = [1]", "rows.append(2)", "total = sum(rows)"], "total", [1]),
        (["rows = [1]", "rows.append(2)", "rows = [3]", "rows.append(4)"], "rows", [3]),
        (["rows = [1]", "def grow():\n    rows.append(2)", "grow()", "total = sum(rows)"], "total", [2]),
        (["rates = {}", "def rate():\n    return rates", "rates.update(a=1)", "x = [rate()]"], "x", [2]),
        (["rows = {'a': []}\nrows['a'].append(2)\nbest = rows['a']\nprint(best)"], "best", [0]),
        (["rows = [1]", "vars()['x'] = 1"], "rows", []),
        (["rows = [1]", "best = [[[[[rows]]]]]", "rows.append(2)", "best.append(3)"], "best", [2, 3]),
        (["rows = [1]", "total = sum(rows)", "rows = [2]\nrows.append(3)"], "total", []),
        (["rows = [1]", "rows.append(2)", "x = sum(rows)", "for x in rows: ..."], "x", [1, 3]),
    ],
)
def test_the_left_out_cells_behind_a_name_are_found(cells: list[str], name: str, behind: list[int]) -> None:
    """By any name of the same object; of a value made anew, those that changed what it was made of before, and the loop that left it."""
    changes, names = ran(*cells)
    apart = ("grow()", "vars()['x'] = 1", "for x in rows: ...")
    left = [cell for cell in cells if "append" in cell or "update" in cell or cell in apart]

    found = changes.cells_behind(name, names, {name}, left)

    assert sorted(cells.index(text) for text in found) == behind


def test_a_kept_cell_needs_the_left_out_cells_that_drew_before_it() -> None:
    """So that its draws are as they were: since the last seed, and from its own stream only."""
    cells = [
        "import random\nother = random.Random(1)\nrandom.random()",
        "random.seed(1)\nrows = []",
        "print(random.random())",
        "print(other.random())",
        "rows.append(random.random())",
        "print(random.random(), 2)",
    ]
    changes, names = ran(*cells)

    assert changes.cells_behind("rows", names, {"rows"}, [*cells[:1], *cells[2:]]) == [cells[4], cells[2]]


def test_a_cell_that_draws_beside_is_needed_by_later_draws_of_the_same_stream() -> None:
    """Though it is taken for what it makes: of a statement that is left out nothing is drawn."""
    cells = ["import random\nrng = random.Random(1)\nnoise = rng.random()\nprint(noise)", "x = [rng.random()]"]
    changes, names = ran(*cells)

    assert changes.cells_behind("x", names, {"x"}, cells[:1]) == cells[:1]


def test_a_cell_that_draws_into_the_current_figure_is_behind_what_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of pyplot, whose figures are a state of the process."""
    axis = SimpleNamespace(lines=[])
    axis.get_children = lambda: axis.lines
    figure = SimpleNamespace(canvas=SimpleNamespace(figure=SimpleNamespace(axes=[axis])))
    helpers: Any = ModuleType("matplotlib._pylab_helpers")
    helpers.Gcf = SimpleNamespace(get_all_fig_managers=lambda: [figure])
    pyplot: Any = ModuleType(PYPLOT)
    pyplot.plot, pyplot.gca = axis.lines.append, lambda: axis
    monkeypatch.setitem(sys.modules, PYPLOT, pyplot)
    monkeypatch.setitem(sys.modules, helpers.__name__, helpers)
    cells = [f"import sys\nplt = sys.modules['{PYPLOT}']", "plt.plot(1)", "print(1)", "count = len(plt.gca().lines)"]
    changes, names = ran(*cells)

    assert changes.cells_behind("count", names, {"count"}, cells[1:3]) == [cells[1]]


def test_where_no_cell_is_seen_to_be_behind_a_value_all_that_its_slice_binds_counts() -> None:
    """Such as a list that a function changed in the cell that made it."""
    cells = ["from heapq import heapify\nrows = [2, 1]\nheapify(rows)", "least = rows[0]\nprint(least)"]
    changes, names = ran(*cells)

    assert changes.cells_behind("least", names, {"rows", "least"}, cells) == [cells[1], cells[0]]


def test_where_only_the_cell_that_makes_a_value_is_behind_it_it_is_named() -> None:
    """A line of it is left out; and where none made it, whatever changed something that the slice binds."""
    made = "total = sum([1])\nprint(total)"
    changes, names = ran("rows = [1]", "rows.append(2)", made)

    assert changes.cells_behind("total", names, {"rows"}, [made]) == [made]
    assert changes.cells_behind("total", names, {"rows"}, ["rows.append(2)"]) == ["rows.append(2)"]


def test_a_cell_that_is_named_since_it_makes_a_value_needs_what_it_reads() -> None:
    """Kept whole, it reads more than the line of it that production has."""
    cells = [
        "class Axis:\n    top = 0\n    def plot(self, rows):\n        self.top = max(rows)",
        "rows = [1]",
        "rows.append(2)",
        "axis = Axis()\naxis.plot(rows)\ntop = axis.top",
    ]
    changes, names = ran(*cells)

    assert changes.cells_behind("top", names, {"Axis", "axis", "top"}, cells[2:]) == [cells[3], cells[2]]


@pytest.mark.parametrize(
    "change",
    [
        "value['a'].append(1)",
        "value['b'].x = 3",
        "next(value['g'])",
        "value['f'].insert_column(0, pl.Series('z', [1]))",
        "value['r'].random()",
        "value['k'].n = 4",
    ],
)
def test_a_change_in_place_is_seen(change: str) -> None:
    """In a list, an object, a generator, a frame, a stream, a class."""
    import polars as pl

    class Kind:
        n = 1

    class Box:
        x = 1

    value = {
        "a": [1],
        "b": Box(),
        "g": (n for n in [1]),
        "f": pl.DataFrame({"a": [1]}),
        "r": random.Random(1),
        "k": Kind,
    }
    before = {key: quick_mark(part) for key, part in value.items()}
    exec(change, {"value": value, "pl": pl})

    changed = [key for key, part in value.items() if quick_mark(part) != before[key]]
    assert changed == [change.partition("'")[2][0]]


def test_frames_of_pandas_are_sampled() -> None:
    """A column more or a value that is looked at."""
    pandas: Any = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    before = quick_mark(frame)

    frame.loc[0, "b"] = "z"

    assert quick_mark(frame) != before


def test_a_look_at_huge_values_takes_no_time() -> None:
    """A list of a million, a large frame and two hundred names: as fast as a small one."""
    import polars as pl

    huge = {f"n{number}": [number] * 50 for number in range(200)}
    huge |= {"rows": list(range(1_000_000)), "frame": pl.DataFrame({"a": range(1_000_000)})}  # type: ignore[dict-item]
    changes = CellChanges()
    began_s = time.thread_time()
    changes.look(huge, "a")
    changes.look(huge, "b")

    assert time.thread_time() - began_s < 0.5


def test_a_look_out_of_time_still_sees_the_names_of_its_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else changed counts as it was."""
    monkeypatch.setattr(cells, "_MOST_S", -1.0)
    names: dict[str, Any] = {"rows": [1], "other": [1]}
    changes = CellChanges()
    changes.look(names, "rows = [1]; other = [1]")
    names["rows"].append(2)
    names["other"].append(2)

    changes.look(names, "rows.append(2)")

    left = ["rows = [1]; other = [1]", "rows.append(2)"]
    assert changes.cells_behind("rows", names, (), left) == left[1:]
    assert changes.cells_behind("other", names, (), left) == left[:1]


def test_no_method_of_the_authors_is_called_after_a_cell() -> None:
    """One that is slow, or never ends, would hold up each cell."""
    called = []

    def note(*_: object) -> Any:
        called.append(1)
        raise RuntimeError

    names = (
        "__iter__", "__len__", "__getitem__", "__hash__", "__eq__", "__repr__", "__getattr__", "__getattribute__", "__length_hint__",
        "__bool__", "__reduce_ex__", "keys", "items", "tell", "getstate",
    )  # fmt: skip
    methods = dict.fromkeys(names, note) | {"__class__": property(note)}
    bases: tuple[type, ...] = (object, dict, list, tuple, set, frozenset, str, int)
    kinds = [type("Random", (base,), dict(methods)) for base in bases]
    values = [kind.__new__(kind) for kind in kinds]
    space = {
        f"v{number}": held
        for number, held in enumerate([*values, [*values], {1: values[0]}, (lambda one: lambda: one)(values[0])])
    }

    changes = CellChanges()
    changes.look(space, "v0")
    changes.look(space, "v1")

    assert not called


SAVED = (
    "%config InlineBackend.figure_format = 'svg'",
    "import random",
    "rate = 1",
    "rows = [rate]",
    "other = 5\nprint(other)",
    "rows.append(2)",
    "def total():\n    return sum(rows)",
    "x = total()",
)


@pytest.mark.parametrize(
    ("ran", "why"),
    [
        (SAVED, ""),
        ((*SAVED[:2], "rate = 7", *SAVED[3:]), "made by a cell that is not saved as it ran (cell 3)"),
        ((*SAVED[:5], *SAVED[6:]), "cell 6 has not run"),
        ((*SAVED[:6], SAVED[5], *SAVED[6:]), "cell 6 ran twice"),
        ((*SAVED[:6], SAVED[5], SAVED[5], *SAVED[6:]), "cell 6 ran several times"),
        ((*SAVED[:6], SAVED[5], *SAVED[3:]), ""),  # its list was made anew after that
        (
            (*SAVED[:6], "rows.append(9)", *SAVED[6:]),
            "`rows` was made or changed by a cell that is not in the notebook",
        ),
        ((*SAVED[:3], SAVED[3], SAVED[6], SAVED[7], SAVED[4], SAVED[5]), "cell 7 ran before cell 6"),
        ((*SAVED, SAVED[4], SAVED[4]), ""),  # what has nothing to do with it
        ((*SAVED[:4], "other = 6", *SAVED[5:]), ""),
        ((SAVED[2], *SAVED), ""),
    ],
)
def test_what_ran_otherwise_than_it_stands_is_named(ran: tuple[str, ...], why: str) -> None:
    """Edited, not run, run twice, deleted, in another order; of the cells that the value comes from, and of no other."""
    assert ran_otherwise("x", SAVED, ran) == why


TWINS = ("x = [1]", "x.append(2)", "x[0] += 1", "x.append(2)")


@pytest.mark.parametrize(
    ("ran", "failed", "why"),
    [
        (TWINS, (), ""),
        (TWINS[:3], (), "cell 4 has not run"),
        ((*TWINS, TWINS[1]), (), "cells 2, 4 ran several times"),
        (TWINS[::2], (TWINS[1],), "cell 2 has not run to its end"),
    ],
)
def test_cells_of_the_same_text_are_several_cells(ran: tuple[str, ...], failed: tuple[str, ...], why: str) -> None:
    """Each has its own run; a run that failed is none."""
    assert ran_otherwise("x", TWINS, ran, failed) == why
