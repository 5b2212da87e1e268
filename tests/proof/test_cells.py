"""Which cell changed what: quick looks after each cell."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from data_engine.proof import cells
from data_engine.proof.cells import CellChanges, quick_mark


def test_the_cells_after_which_a_name_changed_are_noted() -> None:
    """A change in place, by another name, and of a random stream; a look changes nothing."""
    rows: list[int] = [1]
    changes = CellChanges()
    changes.look({"rows": rows}, "rows = [1]")
    changes.look({"rows": rows, "other": rows}, "other = rows")
    rows.append(2)
    random.random()
    changes.look({"rows": rows, "other": rows}, "other.append(2)")

    assert changes.cells_that_changed("rows") == ["rows = [1]", "other.append(2)"]
    assert changes.cells_that_changed("random")[-1] == "other.append(2)"


def test_the_left_out_cells_behind_a_name_are_found() -> None:
    """By any name of the same object; of a value made anew, those that changed what the slice binds, or drew."""
    rows: list[int] = [1]
    changes = CellChanges()
    changes.look({"rows": rows}, "rows = [1]")
    rows.append(2)
    changes.look({"rows": rows}, "rows.append(2)")
    names: dict[str, Any] = {"rows": rows, "best": rows, "total": 3}
    changes.look(names, "best = rows\ntotal = sum(rows)")

    assert changes.cells_behind("best", names, {"rows"}, {"rows.append(2)": ()}) == ["rows.append(2)"]
    assert changes.cells_behind("total", names, {"rows"}, {"rows.append(2)": ()}) == ["rows.append(2)"]
    assert changes.cells_behind("total", names, set(), {"other": ()}) == []


def test_where_only_the_cell_that_makes_a_value_is_behind_it_others_may_be() -> None:
    """A line of it is left out; so is what changed something that the slice binds."""
    changes, made = CellChanges(), "total = sum(rows)\nprint(total)"
    changes.look({"rows": [1]}, "rows = [1]")
    changes.look({"rows": [1, 2]}, "grow(rows)")
    names = {"rows": [1, 2], "total": 3}
    changes.look(names, made)

    assert changes.cells_behind("total", names, {"rows"}, {made: ("total",), "grow(rows)": ()}) == [
        made,
        "grow(rows)",
    ]
    assert changes.cells_behind("total", names, {"rows"}, {made: ("total",)}) == [made]


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

    assert changes.cells_that_changed("rows") == ["rows = [1]; other = [1]", "rows.append(2)"]
    assert changes.cells_that_changed("other") == ["rows = [1]; other = [1]"]
