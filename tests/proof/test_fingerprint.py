"""Fingerprints: equal content gives equal bytes in any process, changed content others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine import secret
from data_engine.engine.memo.tracer import Tracer
from data_engine.proof.fingerprint import COMPARED, show
from tests.support import examples

_CHILD = """
import sys, dataclasses, collections, decimal, datetime, itertools, pathlib, random
import polars as pl
from data_engine.engine.memo.tracer import Tracer
from data_engine.proof.fingerprint import COMPARED
@dataclasses.dataclass
class Point:
    x: object
    y: object = None
class Slots:
    __slots__ = ("a",)
    def __init__(self, a):
        self.a = a
def gen(n):
    yield n
    yield n + 1
def started(g):
    next(g)
    return g
print("ready", flush=True)
for line in sys.stdin:
    value = eval(line)
    tracer = Tracer(COMPARED)
    print(tracer.value(value, "v").hex(), sorted((k, d.hex()) for k, d in tracer.parts.items()), tracer.doubts, flush=True)
"""


class Elsewhere:
    """A process with a hash seed of its own, which says the fingerprint of what an expression gives."""

    def __init__(self, seed: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def of(self, expression: str) -> str:
        """The fingerprint of an expression."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(expression.replace("\n", " ") + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def close(self) -> None:
        """End it."""
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.wait()


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Elsewhere, Elsewhere]]:
    """Two processes whose sets of texts have another order."""
    both = (Elsewhere("1"), Elsewhere("2"))
    yield both
    for one in both:
        one.close()


_texts = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=5)
_plain = st.one_of(
    st.integers(-9, 9),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    _texts,
    st.booleans(),
    st.none(),
    st.binary(max_size=3),
).map(repr)
_hashable = st.one_of(_plain, st.lists(_plain, max_size=3).map(lambda parts: f"frozenset([{', '.join(parts)}])"))


def _containers(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    some = st.lists(parts, max_size=3).map(", ".join)
    return st.one_of(
        some.map(lambda text: f"[{text}]"),
        some.map(lambda text: f"tuple([{text}])"),
        st.lists(_hashable, max_size=6).map(lambda texts: f"set([{', '.join(texts)}])"),
        st.lists(st.tuples(_hashable, parts), max_size=3).map(
            lambda pairs: "dict([" + ", ".join(f"({key}, {part})" for key, part in pairs) + "])"
        ),
        parts.map(lambda part: f"Point({part})"),
        parts.map(lambda part: f"Slots({part})"),
        some.map(lambda text: f"collections.deque([{text}])"),
        some.map(lambda text: f"iter([{text}])"),
        some.map(lambda text: f"zip([{text}], [1, 2])"),
        st.lists(_hashable, max_size=4).map(lambda texts: f"iter(set([{', '.join(texts)}]))"),
        st.integers(0, 5).map(lambda n: f"gen({n})"),
        st.integers(0, 5).map(lambda n: f"random.Random({n})"),
        st.lists(st.integers(0, 3), max_size=4).map(lambda numbers: f"pl.DataFrame({{'a': {numbers}}})"),
        some.map(lambda text: f"(lambda x=[{text}]: x)"),
    )


_values = st.recursive(_plain, _containers, max_leaves=6)


@settings(deadline=None, max_examples=examples(50), database=None)
@given(_values)
def test_equal_content_gives_equal_bytes_in_two_processes(two: tuple[Elsewhere, Elsewhere], expression: str) -> None:
    """Neither the order of sets nor addresses count."""
    one, other = (elsewhere.of(expression) for elsewhere in two)

    assert one == other
    assert "{}" in one  # without doubt


@settings(deadline=None, max_examples=examples(30), database=None)
@given(_values, _plain)
def test_changed_content_gives_other_bytes(two: tuple[Elsewhere, Elsewhere], expression: str, more: str) -> None:
    """One value more, however deep, is another content."""
    changed = f"[{expression}, {more}]"

    assert two[0].of(f"[{expression}]") != two[1].of(changed)
    assert two[0].of(f"{{'k': [{expression}]}}") != two[1].of(f"{{'k': {changed}}}")


def digest(value: Any) -> tuple[bytes, dict[str, bytes], dict[str, str]]:
    """The fingerprint of a value in this process."""
    tracer = Tracer(COMPARED)
    own = tracer.value(value, "v")
    return own, tracer.parts, tracer.doubts


SAME = {
    "a started generator": ("started(gen(1))", "started(gen(1))"),
    "a frame in one chunk or two": ("pl.DataFrame({'a': [1, 2]})", "pl.concat([pl.DataFrame({'a': [1]}), pl.DataFrame({'a': [2]})])"),
    "a frame with nulls": (
        "pl.DataFrame({'a': ['x', None], 'b': [1, None]})",
        "pl.DataFrame({'a': ['x', 'y', None], 'b': [1, 2, None]}).filter(pl.col('a') != 'y').vstack(pl.DataFrame({'a': [None], 'b': [None]}, schema={'a': pl.String, 'b': pl.Int64}))",
    ),
    "categories": ("pl.Series('c', ['a', 'b'], dtype=pl.Categorical)", "pl.Series('c', ['b', 'a', 'b'], dtype=pl.Categorical)[1:]"),
}  # fmt: skip
OTHER = {
    "a generator further on": ("gen(1)", "started(gen(1))"),
    "a used iterator": ("iter([1, 2])", "started(iter([1, 2]))"),
    "a drawn stream": ("random.Random(1)", "(lambda r: (r.random(), r)[1])(random.Random(1))"),
    "a type": ("1", "1.0"),
    "a column's type": ("pl.DataFrame({'a': [1]})", "pl.DataFrame({'a': [1.0]})"),
    "a null": ("pl.DataFrame({'a': [1, None]})", "pl.DataFrame({'a': [1, 0]})"),
    "a default": ("(lambda x=1: x)", "(lambda x=2: x)"),
    "an attribute": ("Point(1)", "Point(1, 2)"),
}


@pytest.mark.parametrize("name", SAME)
def test_what_is_made_otherwise_and_is_equal_has_equal_bytes(two: tuple[Elsewhere, Elsewhere], name: str) -> None:
    """How a value came to be does not count."""
    one, other = SAME[name]

    assert two[0].of(one) == two[1].of(other)


@pytest.mark.parametrize("name", OTHER)
def test_what_differs_has_other_bytes(two: tuple[Elsewhere, Elsewhere], name: str) -> None:
    """Position, type, nulls and defaults count."""
    one, other = OTHER[name]

    assert two[0].of(one) != two[1].of(other)


def test_databases_are_compared_by_their_rows() -> None:
    """SQLite in memory and DuckDB: an equal content has equal bytes, another row others."""
    import sqlite3

    import duckdb

    def filled(connect: Any, *rows: int) -> Any:
        connection = connect(":memory:")
        connection.execute("CREATE TABLE t (a INTEGER)")
        for row in rows:
            connection.execute(f"INSERT INTO t VALUES ({row})")
        return connection

    for connect in (sqlite3.connect, duckdb.connect):
        made = [filled(connect, 1, 2), filled(connect, 1, 2), filled(connect, 1, 3)]
        one, same, other = map(digest, made)

        assert one == same
        assert one != other
        for connection in made:
            connection.close()


def test_an_open_file_counts_by_its_name_and_place(tmp_path: Path) -> None:
    """A file that was read on is another one."""
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n")
    with path.open() as one, path.open() as other:
        before = digest(one)
        other.readline()
        one.read(0)

        assert digest(one) == before
        assert digest(other) != before


def test_pandas_counts_by_columns() -> None:
    """Blocks in another order are the same frame."""
    pandas: Any = pytest.importorskip("pandas")
    one = pandas.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, 2.5]})
    other = pandas.DataFrame({"c": [1.5, 2.5]})
    other.insert(0, "b", ["x", None])
    other.insert(0, "a", [1, 2])
    changed = one.copy()
    changed.loc[0, "b"] = "y"

    assert digest(one) == digest(other)
    assert digest(one) != digest(changed)
    assert digest(one["a"]) != digest(one["a"].rename("z"))
    assert digest(one) != digest(one.set_index("a"))


WITHOUT = """
import sys, time
sys.modules[sys.argv[1]] = None
import pandas, polars as pl
from data_engine.engine.memo.tracer import Tracer
from data_engine.proof.fingerprint import COMPARED
def digest(value):
    tracer = Tracer(COMPARED)
    return tracer.value(value, "v"), tracer.doubts
make = {make}
one, same, other = make(1), make(1), make(2)
print(digest(one) == digest(same), digest(one) != digest(other), digest(one)[1])
"""


@pytest.mark.parametrize(
    ("library", "make"),
    [
        ("numpy", "lambda n: pl.DataFrame({'a': [*range(500_000), n], 'b': 'x', 'c': [None] * 500_000 + [n]})"),
        ("pyarrow", "lambda n: pandas.DataFrame({'a': [n, 1], 'b': ['x', None], 'c': pandas.array([n, None])})"),
        ("pyarrow", "lambda n: pl.DataFrame({'a': [n], 'b': [[n]]})"),
    ],
)
def test_frames_are_compared_without_a_library_that_is_missing(library: str, make: str) -> None:
    """Polars without NumPy, which ends in a panic there; pandas and Polars without PyArrow."""
    pytest.importorskip("pandas")
    code = WITHOUT.replace("{make}", make).replace("pandas, " if library == "numpy" else "", "")
    done = subprocess.run([sys.executable, "-c", code, library], capture_output=True, text=True, check=False)

    assert done.stdout == "True True {}\n", done.stderr


def test_a_frame_of_objects_counts_by_what_they_take() -> None:
    """A cell is more than its reference: what is too large is a doubt before its objects are looked at."""
    pandas: Any = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": pandas.Series([None], dtype=object).repeat(5_000_000)})

    assert any("256 MB" in why for why in digest(frame)[2].values())


def test_a_value_of_a_library_of_another_version_is_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be taken apart as it was."""
    import polars as pl

    monkeypatch.delattr(pl.DataFrame, "get_columns")

    assert digest(pl.DataFrame({"a": [1]}))[2]


def test_what_a_library_keeps_in_a_cache_is_no_difference() -> None:
    """As models of statsmodels do when somebody looks at their summary; a size of a cache is a setting."""
    from argparse import Namespace

    before = digest(Namespace(params=[1.0], cache_size=200, _cache={}))
    seen = {"_cache": {"bse": 1.0}, "_summary_cache": {}, "_cached_hash": 7}  # the last as charts of Altair do

    assert digest(Namespace(params=[1.0], cache_size=200, **seen)) == before
    assert digest(Namespace(params=[1.0], cache_size=500, _cache={})) != before
    assert digest(Namespace(params=[2.0], cache_size=200, _cache={})) != before


def test_what_cannot_be_compared_is_doubted() -> None:
    """A lock, a reader in the middle, a function that remembers: told, and no difference."""
    import functools
    import threading

    @functools.cache
    def twice(x: int) -> int:
        return 2 * x

    assert digest(twice)[2] == {}
    twice(1)

    assert digest(twice)[2]
    assert digest(threading.Lock())[2]


@pytest.mark.parametrize(
    ("value", "shown"),
    [({"EUR": 1.1}, "{'EUR': 1.1}"), (object(), "a object"), ("x" * 999, f"'{'x' * 22}...{'x' * 23}'")],
)
def test_values_are_shown_in_short(value: Any, shown: str) -> None:
    """Never an address, never more than a line."""
    assert show(value) == shown


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict is kept and printed; it says that the value differs, and not which it is."""
    monkeypatch.setattr(secret, "_forms", secret.forms_of(["p@ss w0rd!", "x" * 60]))

    assert show({"token": "p@ss w0rd!"}) == "{'token': '***'}"
    assert show("x" * 60) == "'***'"
