"""Failures of every kind of step, as notebooks: each cell text is one way to fail, and says what of it must be the same in a replay."""

from __future__ import annotations

from textwrap import dedent
from typing import NamedTuple

HEAD = """
import polars as pl
from data_engine import Flow

RATE = {"a": 1}
LIMIT = 2

class Rate:
    def __init__(self, value):
        self.value = value

    def __repr__(self):
        raise RuntimeError("nobody may ask")

class OddRate(Exception):
    pass

def raw(context):
    return pl.DataFrame({"id": [1, 2, 3], "amount": ["1", "x", "3"]})
"""


class Failure(NamedTuple):
    """One way to fail: the cells' text, which ends with `flow`, the steps of the flow; whether all inputs are kept; settings and files."""

    name: str
    text: str
    is_kept: bool = True
    settings: str = ""
    watch: str = ""
    params: dict[str, object] = {}  # noqa: RUF012
    helper: str = ""

    def cells(self) -> list[str]:
        """The cells of its notebook."""
        text, _, steps = dedent(self.text).strip("\n").rpartition("\n")
        return [HEAD, text or "pass", f'def build():\n    return Flow(group="G"){self.watch}{steps}']


def raising(error: str) -> str:
    """A flow whose second step gets a frame and fails so."""
    return f"def bad(context):\n    {error}\n.step(raw, save_as='raw').step(bad)"


_LINES = {
    "key": "RATE['b']",
    "zero": "LIMIT / 0",
    "attribute": "context.current.nothing",
    "type": "context.current + object()",
    "value": "int('x')",
    "index": "[][3]",
    "assertion": "assert context.current.height == 4, 'four rows'",
    "own error": "raise OddRate('odd', 3)",
    "from": "raise OddRate('odd') from ValueError('inner')",
    "key error of a text": "{}['a text']",
    "unicode": "b'\\xff'.decode()",
    "file": "open('/nowhere/at/all')",
    "recursion": "raise RecursionError('too deep')",
    "system exit": "raise SystemExit(3)",
    "group": "raise ExceptionGroup('several', [ValueError('a'), KeyError('b')])",
    "polars column": "context.current.select('nope')",
    "polars cast": "context.current['amount'].cast(pl.Int64)",
    "polars lazy collect": "context.current.lazy().select(pl.col('nope')).collect()",
    "polars join": "context.current.join(context.objects['raw'], on='nope')",
    "polars filter": "context.current.filter(pl.col('id') > 'x')",
    "polars sql": "pl.SQLContext(t=context.current).execute('select nope from t').collect()",
    "polars in place": "context.current[0, 'id'] = 99; raise ValueError(str(context.objects['raw'].rows()))",
    "duckdb of frame": "import duckdb; raw = context.current; duckdb.sql('select nope from raw').fetchall()",
    "duckdb cast": "import duckdb; raw = context.current; duckdb.sql('select amount::int from raw').fetchall()",
    "objects": "context.objects['nothing']",
    "objects changed": "context.objects['raw'] = 1; context.current = 2; raise ValueError('changed')",
    "config": "context.config.require('nothing')",
    "config value": "context.config.require('rates')['nope']",
    "database": "import duckdb; duckdb.connect(context.database('mart.duckdb')).execute('select * from nothing')",
    "metadata": "raise ValueError(context.metadata['nothing'])",
    "run id": "raise ValueError(context.metadata['run_id'] + context.metadata['started_at_utc'])",
    "mirror": "raise ValueError('no ' + str(context.mirror.nothing))",
    "secret": "context.secret('not_here').reveal()",
    "params": "context.params['nothing']",
    "pandas": "import pandas as pd; pd.DataFrame({'a': [1]})['b']",
    "numpy": "import numpy as np; np.zeros(3).reshape(2, 2)",
    "arrow": "context.current.to_arrow().column('nope')",
}

FAILURES = [Failure(name, raising(line)) for name, line in _LINES.items()]

_BETWEEN = {
    "list": ("[1, 2]", False),
    "dict": ("{'a': [1]}", False),
    "text": ("'a text'", True),
    "number": ("3.5", True),
    "none": ("None", True),
    "tuple": ("(1, 'a', None)", True),
    "path": ("__import__('pathlib').Path('/somewhere/a.csv')", True),
    "date": ("__import__('datetime').date(2013, 1, 1)", True),
    "decimal": ("__import__('decimal').Decimal('1.10')", True),
    "series": ("context.current['id']", True),
    "arrow table": ("context.current.to_arrow()", True),
    "lazy": ("context.current.lazy()", False),
    "pandas": ("context.current.to_pandas()", False),
    "numpy": ("context.current['id'].to_numpy()", False),
    "relation": ("__import__('duckdb').sql('select 42 as a')", False),
    "class of the notebook": ("Rate(3)", False),
    "generator": ("(row for row in (1, 2))", False),
    "set": ("{1, 2}", False),
    "frames": ("context.current.partition_by('id')", False),
    "wide frame": ("pl.DataFrame({'d': [__import__('datetime').datetime(2013, 1, 1)], 'l': [[1, 2]], 's': [{'a': 1}], 'c': pl.Series(['x'], dtype=pl.Categorical)})", True),
    "empty frame": ("pl.DataFrame()", True),
    "object frame": ("pl.DataFrame({'o': pl.Series([Rate(1)], dtype=pl.Object)})", False),
}  # fmt: skip

FAILURES += [
    Failure(
        f"given {name}",
        f"""
        def make(context):
            return {value}
        def bad(context):
            raise ValueError(f"given {{type(context.current).__name__}}, saved {{sorted(context.objects)}}")
        .step(raw, save_as="raw").step(make, save_as="made").step(bad)""",
        is_kept,
    )
    for name, (value, is_kept) in _BETWEEN.items()
]

FAILURES += [
    Failure(
        f"saved {name} three steps before",
        f"""
        def make(context):
            return {value}
        def two(context):
            return 2
        def bad(context):
            raise ValueError(f"{{type(context.current).__name__}} {{context.current is context.objects['made']}}")
        .step(raw, save_as="raw").step(make, save_as="made").step(two).step(two).step(two).step(bad, use="made")""",
        is_kept,
    )
    for name, (value, is_kept) in _BETWEEN.items()
    if not name.startswith(("given", "object", "relation", "generator", "frames", "numpy", "number", "none", "wide"))
]

_MAP = """
def read(item):
    size = len(item.name)
    if item.name == "b.csv":
        raise ValueError(f"{{item.name}} is bad")
    return size
.collect(".csv").map(read{more})"""
_BATCH = '.watch(mode="poll", source="../in", interval="1h", run_as="batch")'
_EACH = '.watch(mode="poll", source="../in", interval="1h", extensions=".csv")'
PROCESSES = '[executor]\nkind = "processes"\nworkers = 2\n'
DASK = '[executor]\nkind = "dask"\nscheduler = "local"\nworkers = 2\n'
_PARTS = """
def parts(context):
    return {parts}
def each(context, item):
    number = LIMIT
    if {test}:
        raise KeyError(str(item), number, context.flow_name)
    return 1
.step(raw, save_as="raw").step(parts).map(each{more})"""

FAILURES += [
    Failure("map", _MAP.format(more=""), watch=_BATCH),
    Failure("map on threads", _MAP.format(more=", max_parallel=2"), watch=_BATCH),
    Failure("map on processes", _MAP.format(more=", max_parallel=2"), settings=PROCESSES, watch=_BATCH),
    Failure("map on Dask", _MAP.format(more=", max_parallel=2"), settings=DASK, watch=_BATCH),
    Failure("map of texts on Dask", _PARTS.format(parts="('a', 'b')", test="item == 'b'", more=", max_parallel=2"), settings=DASK),
    Failure("map of texts", _PARTS.format(parts="('a', 'b')", test="item == 'b'", more="")),
    Failure("map of a list", _PARTS.format(parts="['a', 'b']", test="item == 'b'", more=""), is_kept=False),
    Failure("map of frames", _PARTS.format(parts="context.current.partition_by('id')", test="item.height", more=""), False),
    Failure("map of lists", _PARTS.format(parts="([1], [2])", test="item == [2]", more=""), is_kept=False),
    Failure("map of a context on processes", _PARTS.format(parts="('a', 'b')", test="item == 'b'", more=", max_parallel=2"), settings=PROCESSES),
    Failure("map of a batch of frames", """
        def split(item):
            return item.head(1)
        def bad(item):
            item[0, "id"] = 77
            raise ValueError(str(item.rows()))
        .step(raw).step(lambda context: context.current.partition_by("id")).map(split, save_as="parts").map(bad)"""),
    Failure("source", 'def read(context):\n    raise ValueError(context.source.path.read_text())\n.step(read)', watch=_EACH),
    Failure("source in the second step", """
        def read(context):
            return context.source.path.read_text()
        def bad(context):
            raise ValueError(context.current + context.source.path.name + context.metadata["file_hash"])
        .step(read).step(bad)""", watch=_EACH),
    Failure("given params", 'def bad(context):\n    return 1 / context.params["by"]\n.step(raw).step(bad)', params={"by": 0}),
    Failure("declared params", """
        from dataclasses import dataclass
        @dataclass
        class Settings:
            month: str
            days: int = 3
        def bad(context):
            raise ValueError(f"{context.params.month} {context.params.days}")
        .params(Settings).step(raw).step(bad)""", params={"month": "2013-01"}),
    Failure("helper", "from flow_helpers.rates import rate\ndef bad(context):\n    return rate(context.current)\n.step(raw).step(bad)",
            helper="def rate(frame):\n    factor = 3\n    return frame.nothing"),
    Failure("helper as a step", "from flow_helpers.rates import rate\npass\n.step(raw).step(rate)",
            helper="def rate(context):\n    raise LookupError(context.current.columns)"),
    Failure("lambda", 'pass\n.step(raw).step(lambda context: context.current["nope"])'),
    Failure("method", """
        class Cleaner:
            def clean(self, context):
                raise ValueError("cleaned")
        cleaner = Cleaner()
        .step(raw).step(cleaner.clean)"""),
    Failure("partial", """
        from functools import partial
        def bad(context, by):
            return LIMIT / by
        .step(raw).step(partial(bad, by=0))"""),
    Failure("nested", """
        def inner(value):
            wanted = value + 1
            return [][wanted]
        def bad(context):
            return [inner(number) for number in range(3)]
        .step(raw).step(bad)"""),
    Failure("check", 'pass\n.step(raw).check({"positive": "id > 1"})'),
    Failure("check with rejected", 'pass\n.step(raw, save_as="raw").check({"positive": "id > 2"}, on_fail="quarantine", at_most=0.1)'),
    Failure("map of nothing", "def each(item):\n    return item\n.step(lambda context: ()).map(each)"),
    Failure("mirror of a step before", """
        def write(context):
            path = context.mirror.file("a.txt")
            path.write_text("mine")
            return path
        def bad(context):
            raise ValueError(context.current.read_text() + context.mirror.file("a.txt").read_text())
        .mirror(root="../out").step(write).step(bad)""", is_kept=False),
    Failure("staged mirror of a step before", """
        def write(context):
            path = context.mirror.file("a.txt")
            path.write_text("mine")
            return path
        def bad(context):
            raise ValueError(context.current.read_text())
        .mirror(root="../out", staged=True).step(write).step(bad)""", is_kept=False),
    Failure("table of a step before", """
        import duckdb
        def write(context):
            with duckdb.connect(context.database("mart.duckdb")) as connection:
                connection.execute("create table if not exists t (a int); insert into t values (1)")
            return 1
        def bad(context):
            with duckdb.connect(context.database("mart.duckdb")) as connection:
                raise ValueError(str(connection.execute("select distinct a from t").fetchall()))
        .step(write).step(bad)"""),
]  # fmt: skip
