"""Whatever the order of calls, columns, types and names: the database holds what a model of lists and dicts holds."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.helpers.warehouse_model import (
    DATES,
    STAMPS,
    ByFile,
    ByValues,
    Call,
    Compact,
    Index,
    Keys,
    Model,
    Naturals,
    Refused,
    Rows,
    Slice,
    Whole,
    contents,
    do,
    expected,
)
from tests.support import examples

ROOT = Path(__file__).parents[2]
SERVE = (
    "import sys; from pathlib import Path; from tests.helpers.warehouse_model import serve; serve(Path(sys.argv[1]))"
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-3, 3),
    "float": st.sampled_from([-1.5, 0.0, 1.0, 2.5]),
    "text": st.sampled_from(["", "x", "ü🙂", "it's"]),
    "date": st.sampled_from(DATES),
    "stamp": st.sampled_from(STAMPS),
    "null": st.none(),
}


@st.composite
def slices(draw: st.DrawFn, names: list[list[str]], *, always: str | None = None, smallest: int = 0) -> Slice:
    """Some of the columns, each under one of its spellings, with values of one kind among nulls."""
    rows = draw(st.integers(smallest, 4))
    chosen = [one for one in names if one[0] == always or draw(st.booleans())] or names[:1]
    columns = []
    for spellings in draw(st.permutations(chosen)):
        kind = draw(st.sampled_from(sorted(VALUES)))
        values = draw(st.lists(VALUES[kind] | st.none(), min_size=rows, max_size=rows))
        columns.append((draw(st.sampled_from(spellings)), kind, values))
    return columns


@st.composite
def naturals(draw: st.DrawFn) -> Slice:
    """Natural columns whose numbers may come as floats, with doubles and nulls."""
    rows = draw(st.integers(0, 4))
    kind = draw(st.sampled_from(["int", "float"]))
    numbers = draw(st.lists(VALUES[kind] | st.none(), min_size=rows, max_size=rows))
    texts = draw(st.lists(VALUES["text"] | st.none(), min_size=rows, max_size=rows))
    return [("a", kind, numbers), ("b", "text", texts)]


NAMES = [["k", "K"], ["größe"], ['a "b"', 'A "B"'], ["É.x"], ["é.x"], ["order", "ORDER"]]
CALLS: st.SearchStrategy[Call] = st.one_of(
    st.builds(ByFile, st.sampled_from(["f", "F", "ü"]), slices(NAMES)),
    st.builds(ByValues, slices(NAMES, always="k", smallest=1)),
    st.builds(Whole, slices(NAMES)),
    st.builds(Keys, st.sampled_from(["normalize", "build", "attach"]), naturals()),
    st.builds(Naturals, st.lists(st.integers(1, 6) | st.none(), max_size=4)),
    st.builds(Rows, st.just("null"), st.none()),
    st.sampled_from(sorted(VALUES)).flatmap(
        lambda kind: st.builds(Rows, st.just(kind), st.lists(VALUES[kind] | st.none(), max_size=4))
    ),
    st.builds(Index),
    st.builds(Compact, st.booleans()),
)


def check(db: Path, model: Model, call: Call, answer: Any) -> None:
    """The call was refused as the model refuses it, or gave what it gives; the database holds what it holds."""
    try:
        given_back: Any = model.do(call)
    except Refused:
        given_back = "refused"
    assert answer == given_back, (call, expected(model))
    assert contents(db) == expected(model), call


def answer_here(db: Path, call: Call) -> Any:
    try:
        return do(db, call)
    except ValueError:
        return "refused"


@settings(
    max_examples=examples(8), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(st.lists(CALLS, min_size=1, max_size=8))
def test_the_database_holds_what_the_model_holds(calls: list[Call]) -> None:
    """Nulls, new columns, drifting types, doubles, empty frames, odd names: after each of the calls."""
    with tempfile.TemporaryDirectory() as folder:
        db, model = Path(folder) / "mart.duckdb", Model()
        for call in calls:
            check(db, model, call, answer_here(db, call))


class Elsewhere:
    """A process that makes calls, and is killed."""

    def __init__(self, db: Path) -> None:
        command = [sys.executable, "-c", SERVE, str(db)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)

    def do(self, call: Call) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        pickle.dump(call, self.process.stdin)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)

    def kill(self) -> None:
        with self.process:
            self.process.kill()


@settings(
    max_examples=examples(2),
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(st.tuples(CALLS, st.booleans()), min_size=4, max_size=8))
def test_a_process_killed_between_calls_loses_nothing(calls: list[tuple[Call, bool]]) -> None:
    """Between any two: the next process finds what the calls before had done, every time."""
    with tempfile.TemporaryDirectory() as folder:
        db, model = Path(folder) / "mart.duckdb", Model()
        writer = Elsewhere(db)
        for call, is_last in calls:
            answer = writer.do(call)
            if is_last:
                writer.kill()
                check(db, model, call, answer)
                writer = Elsewhere(db)
            else:  # nobody else looks, so that what the next process finds is what a killed one left
                with suppress(Refused):
                    model.do(call)
        writer.kill()
        assert contents(db) == expected(model)
