"""What a step reads counts, however it reads; what nobody sees means that it always runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data_engine import Flow, FlowExecutionError
from data_engine.engine.access import code, interceptors
from tests.preview.conftest import Cells, ran, reasons
from tests.support import WorkspaceFiles

TRUE = ["cmd", "/c", "exit"] if os.name == "nt" else ["true"]
FLOW = """
    import csv, glob, io, json, os, shutil, sqlite3, zipfile, gzip, bz2, tarfile
    from pathlib import Path
    import duckdb
    import polars as pl
    import pyarrow.csv
    import pyarrow.parquet as pq
    import pyarrow.dataset
    from polars import read_csv as captured
    from data_engine import Flow

    DATA = {data!r}

    def step(context):
        path = Path(DATA, "x" + ".csv")
        return {read}

    def build():
        return Flow(group="G", name="f").step(step, save_as="s")
"""

READS = {
    "open": "open(path).read()",
    "Path.read_text": "path.read_text()",
    "io.open": "io.open(path).read()",
    "os.open": "os.read(os.open(path, os.O_RDONLY), 99)",
    "csv over open": "list(csv.reader(path.open()))",
    "polars.read_csv": "pl.read_csv(path)",
    "polars.read_csv of a text": "pl.read_csv(str(path))",
    "polars.read_csv by a captured name": "captured(path)",
    "polars.read_csv by a keyword": "pl.read_csv(source=path)",
    "polars.read_csv of a list": "pl.read_csv([path])",
    "polars.read_csv of bytes": "pl.read_csv(path.read_bytes())",
    "polars.read_csv inside a lambda": "(lambda read: read(path))(lambda p: pl.read_csv(p))",
    "polars.scan_csv": "pl.scan_csv(path).collect()",
    "polars.scan_csv of a pattern": "pl.scan_csv(DATA + '/x*.csv').collect()",
    "polars.read_csv by getattr": "getattr(pl, 'read_' + 'csv')(path)",
    "pyarrow.csv": "pl.from_arrow(pyarrow.csv.read_csv(path))",
    "pyarrow.dataset": "pl.from_arrow(pyarrow.dataset.dataset(str(path), format='csv').to_table())",
    "duckdb.read_csv": "duckdb.read_csv(str(path)).fetchall()",
    "duckdb.sql of a file": "duckdb.sql(f\"select * from '{path}'\").fetchall()",
    "duckdb.sql of read_csv": "duckdb.sql(f\"select * from read_csv('{path}')\").fetchall()",
    "duckdb.sql of a pattern": "duckdb.sql(f\"from read_csv(['{DATA}/x*.csv'])\").fetchall()",
    "a connection's execute": "duckdb.connect().execute(f\"from '{path}'\").fetchall()",
    "a connection's sql": "duckdb.connect().sql(f\"from '{path}'\").fetchall()",
    "a connection's read_csv": "duckdb.connect().read_csv(str(path)).fetchall()",
    "exists": "(path.exists(), os.path.getsize(path))",
    "stat": "path.stat().st_size",
    "getsize": "os.path.getsize(path)",
    "a folder's entries": "[entry.stat().st_size for entry in os.scandir(DATA)]",
    "shutil.copy": "Path(shutil.copy(path, DATA + '/../copy.csv')).read_text()",
    "a map thread": "path.read_text()",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "x.csv").write_text("a\n1\n")
    return folder


@pytest.mark.parametrize("read", READS.values(), ids=list(READS))
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_step_runs_again_when_a_file_it_read_changed(cells: Cells, data: Path, read: str) -> None:
    """Same size, just before and just after: times alone would not tell."""
    cells.run(FLOW.format(data=str(data), read=read))
    first = cells.preview()
    cells.preview()
    assert ran() == []
    (data / "x.csv").write_text("a\n2\n" if "size" not in read else "a\n1\n2\n")

    second = cells.preview()
    assert str(second) != str(first)
    assert reasons()["s"] in ("file x.csv changed", "file data changed", "file x*.csv changed")
    cells.preview()
    assert ran() == []


OTHER_READS: dict[str, tuple[str, Callable[[Path], object], Callable[[Path], object]]] = {
    "a listing": ("sorted(p.name for p in Path(DATA).iterdir())", lambda d: None, lambda d: (d / "y").write_text("")),
    "a glob": ("sorted(p.name for p in Path(DATA).glob('*.csv'))", lambda d: None, lambda d: (d / "y.csv").touch()),
    "glob.glob": ("sorted(glob.glob(DATA + '/*'))", lambda d: None, lambda d: (d / "y.csv").write_text("")),
    "os.walk": ("[names for _, _, names in os.walk(DATA)]", lambda d: None, lambda d: (d / "y.csv").write_text("")),
    "what is not there": ("Path(DATA, 'no' + 'ne').exists()", lambda d: None, lambda d: (d / "none").mkdir()),
    "an error for what is not there": (
        "json.dumps([os.path.isfile(DATA + '/' + n) for n in ('x.csv', 'z')])",
        lambda d: None,
        lambda d: (d / "z").write_text(""),
    ),
    "where a link leads": (
        "str(Path(DATA, 'li' + 'nk').resolve())",
        lambda d: (d / "link").symlink_to(d / "x.csv"),
        lambda d: ((d / "link").unlink(), (d / "link").symlink_to(d)),
    ),
    "whether it is a link": (
        "Path(DATA, 'li' + 'nk').is_symlink()",
        lambda d: (d / "link").symlink_to(d / "x.csv"),
        lambda d: ((d / "link").unlink(), (d / "link").write_text("")),
    ),
    "a link's text": (
        "os.readlink(DATA + '/l')",
        lambda d: (d / "l").symlink_to("one"),
        lambda d: ((d / "l").unlink(), (d / "l").symlink_to("two")),
    ),
    "a SQLite database": (
        "(lambda con: (con.execute('select count(*) from t').fetchone(), con.close()))(sqlite3.connect(DATA + '/d.db'))",
        lambda d: _sqlite(d / "d.db", "create table t (a)"),
        lambda d: _sqlite(d / "d.db", "insert into t values (1)"),
    ),
    "a DuckDB database": (
        "duckdb.connect(DATA + '/d.duckdb', read_only=True).execute('select count(*) from t').fetchone()",
        lambda d: _duckdb(d / "d.duckdb", "create table t (a int)"),
        lambda d: _duckdb(d / "d.duckdb", "insert into t values (1)"),
    ),
    "an attached database": (
        "duckdb.connect().execute(f\"attach '{DATA}/d.duckdb' as d (read_only); select count(*) from d.t\").fetchone()",
        lambda d: _duckdb(d / "d.duckdb", "create table t (a int)"),
        lambda d: _duckdb(d / "d.duckdb", "insert into t values (1)"),
    ),
    "a Parquet file": (
        "pl.read_parquet(DATA + '/p.parquet').to_dicts()",
        lambda d: _parquet(d / "p.parquet", 1),
        lambda d: _parquet(d / "p.parquet", 2),
    ),
    "a Parquet file through pyarrow": (
        "pq.read_table(DATA + '/p.parquet').to_pylist()",
        lambda d: _parquet(d / "p.parquet", 1),
        lambda d: _parquet(d / "p.parquet", 2),
    ),
    "a Parquet file's own class": (
        "pq.ParquetFile(DATA + '/p.parquet').read().to_pylist()",
        lambda d: _parquet(d / "p.parquet", 1),
        lambda d: _parquet(d / "p.parquet", 2),
    ),
    "a folder of Parquet files": (
        "pl.read_parquet(DATA + '/many').to_dicts()",
        lambda d: ((d / "many").mkdir(), _parquet(d / "many/a.parquet", 1)),
        lambda d: _parquet(d / "many/b.parquet", 2),
    ),
    "a pattern that matches more": (
        "pl.read_parquet(DATA + '/m*.parquet').to_dicts()",
        lambda d: _parquet(d / "m1.parquet", 1),
        lambda d: _parquet(d / "m2.parquet", 2),
    ),
    "a zip": (
        "zipfile.ZipFile(DATA + '/z.zip').namelist()",
        lambda d: _zip(d / "z.zip", "a"),
        lambda d: _zip(d / "z.zip", "b"),
    ),
    "a gzip": (
        "gzip.open(DATA + '/z.gz').read()",
        lambda d: (d / "z.gz").write_bytes(__import__("gzip").compress(b"a")),
        lambda d: (d / "z.gz").write_bytes(__import__("gzip").compress(b"b")),
    ),
    "a bz2": (
        "bz2.open(DATA + '/z.bz2').read()",
        lambda d: (d / "z.bz2").write_bytes(__import__("bz2").compress(b"a")),
        lambda d: (d / "z.bz2").write_bytes(__import__("bz2").compress(b"b")),
    ),
    "a sheet": (
        "pl.read_excel(DATA + '/s.xlsx').to_dicts()",
        lambda d: _sheet(d / "s.xlsx", 1),
        lambda d: _sheet(d / "s.xlsx", 2),
    ),
}


def _sqlite(path: Path, sql: str) -> None:
    import sqlite3

    connection = sqlite3.connect(path)
    with connection:
        connection.execute(sql)
    connection.close()


def _duckdb(path: Path, sql: str) -> None:
    import duckdb

    with duckdb.connect(str(path)) as connection:
        connection.execute(sql)


def _parquet(path: Path, value: int) -> None:
    import polars as pl

    pl.DataFrame({"a": [value]}).write_parquet(path)


def _zip(path: Path, name: str) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "")


def _sheet(path: Path, value: int) -> None:
    import polars as pl

    pl.DataFrame({"a": [value]}).write_excel(path)


@pytest.mark.parametrize(("read", "make", "change"), OTHER_READS.values(), ids=list(OTHER_READS))
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_step_runs_again_when_something_else_it_read_changed(
    cells: Cells, data: Path, read: str, make: Callable[[Path], object], change: Callable[[Path], object]
) -> None:
    """Folders, patterns, links, databases, what is not there."""
    make(data)
    cells.run(FLOW.format(data=str(data), read=read))
    first = cells.preview()
    cells.preview()
    assert ran() == []
    change(data)

    second = cells.preview()
    assert second != first
    assert ran() == ["s"]
    cells.preview()
    assert ran() == []


UNSEEN = {
    "the clock": ("import datetime", "datetime.datetime.now()"),
    "the clock by its class": ("from datetime import datetime", "datetime.now()"),
    "a captured method of the clock": ("from datetime import datetime\nnow = datetime.now", "now()"),
    "the clock by getattr": ("from datetime import datetime", "getattr(datetime, 'now')()"),
    "the clock by a name made": ("from datetime import datetime", "getattr(datetime, 'n' + 'ow')()"),
    "the clock by methodcaller": ("import operator, datetime", "operator.methodcaller('now')(datetime.datetime)"),
    "the clock in a dict": ("import datetime\nD = {'now': datetime.datetime.now}", "D['now']()"),
    "the clock as a default": ("import time\ndef f(clock=time.time): return clock()", "f()"),
    "the clock in a partial": ("import time, functools\nf = functools.partial(time.strftime, '%S')", "f()"),
    "a class of the clock handed on": ("import datetime\ndef f(kind): return kind.now()", "f(datetime.datetime)"),
    "a clock in SQLite": (
        "import sqlite3",
        "(lambda con: (con.execute(\"select datetime('now')\").fetchone(), con.close()))(sqlite3.connect(':memory:'))",
    ),
    "today": ("from datetime import date", "date.today()"),
    "the clock's seconds": ("import time", "time.time()"),
    "the clock by a captured name": ("from time import time", "time()"),
    "random": ("import random", "random.random()"),
    "a captured random": ("from random import random", "random()"),
    "a random identity": ("import uuid", "uuid.uuid4()"),
    "secrets": ("import secrets", "secrets.token_hex()"),
    "a sample without a seed": ("import polars as pl", "pl.DataFrame({'a': range(99)}).sample(5)"),
    "the environment": ("import os", "os.environ.get('HOME')"),
    "one variable": ("from os import getenv", "getenv('HOME')"),
    "a subprocess": ("import subprocess", f"subprocess.run({TRUE!r}).returncode"),
    "the network": ("import urllib.request", "urllib.request.Request('http://127.0.0.1:1')"),
    "a library nobody knows": ("import psutil", "psutil.cpu_count()"),
    "eval": ("", "eval('1')"),
    "names by globals()": ("X = 1", "globals()['X']"),
    "a remembered function": ("import functools\n@functools.cache\ndef f(): return 1", "f()"),
    "a handle among the globals": (
        "import sqlite3\ncon = sqlite3.connect(':memory:')",
        "con.execute('select 1').fetchone()",
    ),
    "a clock in SQL": ("import duckdb", "duckdb.sql('select now()').fetchall()"),
    "random in SQL": ("import duckdb", "duckdb.sql('select random()').fetchall()"),
    "a path made in SQL": ("import duckdb", "duckdb.sql(\"select * from glob('x' || '*')\").fetchall()"),
    "the run's own clock": ("", "context.metadata['started_at_utc']"),
    "metadata as a whole": ("", "dict(context.metadata)"),
    "metadata in a roundabout way": ("", "getattr(context, 'meta' + 'data')['started_at_utc']"),
    "the context's own dict": ("", "len(vars(context))"),
    "a reader in a closure": (
        "import polars as pl\ndef make(read): return lambda: read(b'a\\n1')\nf = make(pl.read_csv)",
        "f()",
    ),
    "another flow": ("from data_engine import load_flow", "load_flow"),
    "the clock in a helper": ("import time\ndef deep(): return time.time()\ndef f(): return deep()", "f()"),
    "the clock imported inside": ("def f():\n    import time\n    return time.monotonic()", "f()"),
}


@pytest.mark.parametrize(("before", "result"), UNSEEN.values(), ids=list(UNSEEN))
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_step_that_may_read_what_nobody_saw_always_runs(cells: Cells, before: str, result: str) -> None:
    """With everything after it; the caption says what could not be seen."""
    cells.run("from data_engine import Flow").run(before)
    cells.run(f"def step(context): return {result}\ndef after(context): return 1\ndef zero(context): return 0")
    cells.run(
        "def build(): return Flow(group='G', name='f').step(zero, save_as='z').step(step, save_as='s')"
        ".step(after, save_as='t')"
    )
    cells.preview()
    cells.preview()

    assert ran() == ["s", "t"]
    assert "cannot be tracked" in str(reasons()["s"])


def test_what_only_looks_dangerous_is_reused(cells: Cells) -> None:
    """A seeded sample, a formatted date, the file's hash, sleep."""
    cells.run("""
        import datetime, time, polars as pl
        from data_engine import Flow
        def step(context):
            time.sleep(0)
            frame = pl.DataFrame({"a": range(99)}).sample(5, seed=1)
            key = context.metadata["run_id"], context.metadata.get("file_hash")
            return frame["a"].to_list(), datetime.date(2020, 1, 1).isoformat(), datetime.timedelta(1), key
        def build(): return Flow(group="G", name="f").step(step)
    """).preview()
    cells.preview()

    assert ran() == []


def test_the_source_counts_and_each_source_has_results_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("1")
    (folder / "b.txt").write_text("2")
    flow = Flow(group="G", name="f").watch(mode="manual", source=folder)
    flow = flow.step(lambda context: context.source.path.name, save_as="s").step(lambda context: 1, save_as="t")
    assert flow.preview(use="s") == "a.txt"
    assert flow.preview(use="s", source="b.txt") == "b.txt"
    assert flow.preview() == 1
    assert ran() == ["t"]
    (folder / "a.txt").write_text("3")
    flow.preview()

    assert reasons() == {"s": "source a.txt changed", "t": "s before it changed"}


def test_collected_files_count(cells: Cells, tmp_path: Path) -> None:
    """One more, one less, one changed; another file of the folder does not."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("1")
    cells.run("from data_engine import Flow\nseen = len\ndef size(ref): return ref.path.stat().st_size")
    cells.run(
        f"def build(): return Flow(group='G', name='f').collect('.txt', root={str(folder)!r}, save_as='c')"
        ".map(size, save_as='m').step(lambda context: seen(context.current.items), save_as='n')"
    )
    assert cells.preview() == 1
    cells.preview()
    assert ran() == []
    (folder / "b.txt").write_text("1")
    assert cells.preview() == 2
    assert ran() == ["c", "m", "n"]
    (folder / "a.txt").write_text("22")
    cells.preview()
    assert ran() == ["c", "m", "n"]
    (folder / "c.log").write_text("")
    cells.preview()
    assert ran() in ([], ["c"])
    (folder / "a.txt").unlink()
    assert cells.preview() == 1


def test_config_and_databases_count_for_each_step_that_asks(ws: WorkspaceFiles) -> None:
    """Also for the second step, which the context answers from what it read for the first."""
    from data_engine import load_flow

    ws.source("config/rates.toml", "rate = 1")
    ws.module(
        "f",
        """
        from data_engine import Flow
        def first(context): return context.config.require("rates")["rate"]
        def second(context): return context.config.get("rates")["rate"] + 1
        def third(context): return context.config.names()
        def fourth(context): return context.database("d.duckdb").exists()
        def build():
            flow = Flow(group="G").step(lambda context: 0, save_as="z").step(first, use="z", save_as="a")
            flow = flow.step(second, use="z", save_as="b")
            return flow.step(third, save_as="c").step(fourth, save_as="d")
        """,
    )

    def preview(**options: object) -> object:
        return load_flow("f", data_root=ws.root).preview(**options)

    assert preview(use="b") == 2
    preview()
    preview()
    assert ran() == []
    ws.source("config/rates.toml", "rate = 5")
    assert preview(use="b") == 6
    assert reasons()["a"] == "config rates.toml changed"
    assert reasons()["b"] == "config rates.toml changed"
    ws.source("config/more.toml", "")
    assert preview(use="c") == ("more", "rates")
    preview()
    ws.source("databases/d.duckdb", "")
    assert preview() is True


def test_a_frame_read_by_its_name_in_sql_counts(cells: Cells) -> None:
    """Among the globals, in a text that is put together while it runs, for DuckDB and Polars."""
    cells.run("""
        import duckdb, polars as pl
        from data_engine import Flow
        lookup = pl.DataFrame({"a": [1]})
        NAME = "look" + "up"
        def written(context): return duckdb.sql("select a from lookup").fetchall()
        def made(context): return duckdb.sql(f"select a from {context.params['name']}").fetchall()
        def polars(context): return pl.sql(f"select a from {context.params['name']}", eager=True).to_dicts()
        def build(): return Flow(group="G", name="f").step(written, save_as="a").step(made, save_as="b").step(polars, save_as="c")
    """)
    for value in (1, 2):
        for use, expected in {"a": [(value,)], "b": [(value,)], "c": [{"a": value}]}.items():
            assert cells.preview(use=use, params={"name": "lookup"}) == expected
        cells.preview(params={"name": "lookup"})
        assert ran() == []
        cells.run("lookup = pl.DataFrame({'a': [2]})")


def test_frames_of_the_step_itself_are_found_by_name(cells: Cells) -> None:
    """Watching DuckDB must not stand between it and the step's own variables."""
    cells.run("""
        import duckdb, polars as pl
        from data_engine import Flow
        def step(context):
            mine = pl.DataFrame({"a": [3]})
            con = duckdb.connect()
            return duckdb.sql("from mine").fetchall() + con.sql("from mine").fetchall() + con.execute("from mine").fetchall()
        def build(): return Flow(group="G", name="f").step(step)
    """)

    assert cells.preview() == [(3,)] * 3
    cells.preview()
    assert ran() == []


def test_tables_of_the_default_connection_are_not_taken_for_known(cells: Cells) -> None:
    import duckdb

    cells.run("""
        import duckdb
        from data_engine import Flow
        def step(context): return duckdb.sql("select count(*) from hidden").fetchall()
        def build(): return Flow(group="G", name="f").step(step)
    """)
    duckdb.execute("create table hidden (a int)")
    try:
        assert cells.preview() == [(0,)]
        duckdb.execute("insert into hidden values (1)")
        assert cells.preview() == [(1,)]
    finally:
        duckdb.execute("drop table hidden")


def test_reads_in_map_threads_count(cells: Cells, data: Path) -> None:
    for name in "abc":
        (data / name).write_text("1")
    cells.run("from pathlib import Path\nfrom data_engine import Flow\ndef read(path): return path.read_text()")
    cells.run(f"def start(context): return [Path({str(data)!r}, name) for name in ('a', 'b', 'c')]")
    cells.run(
        "def build(): return Flow(group='G', name='f').step(start, save_as='s').map(read, max_parallel=3, save_as='m')"
    )
    cells.preview()
    cells.preview()
    assert ran() == []
    (data / "b").write_text("2")

    assert cells.preview().items == ("1", "2", "1")


def test_a_reader_given_as_the_step_itself_is_seen(cells: Cells, data: Path) -> None:
    cells.run(
        "import polars as pl\nfrom functools import partial\nfrom pathlib import Path\nfrom data_engine import Flow"
    )
    cells.run(f"def start(context): return [Path({str(data)!r}, 'x.csv')]")
    cells.run(
        "def build(): return Flow(group='G', name='f').step(start, save_as='s').map(pl.read_csv, save_as='m')"
        ".step(lambda c: c.objects['s'], save_as='p').map(partial(pl.scan_csv, has_header=False), save_as='n')"
    )
    cells.preview(use="m")
    cells.preview(use="m")
    assert ran() == []
    (data / "x.csv").write_text("a\n2\n")

    assert cells.preview(use="m")[0]["a"].to_list() == [2]
    assert cells.preview()[0].collect().height == 2


def test_readers_are_put_back_whatever_happens(cells: Cells) -> None:
    """Also when the step raises; the wrappers work without a preview."""
    import builtins
    import io
    import sys

    import duckdb
    import polars as pl

    before = (
        pl.read_csv,
        duckdb.connect,
        duckdb.sql,
        builtins.open,
        io.open,
        os.stat,
        os.path.exists,
        pl.DataFrame.sample,
    )
    cells.run("import polars as pl\nfrom polars import read_csv\nfrom data_engine import Flow\nkept = []")
    cells.run("def step(context): return read_csv(b'a') and pl.read_csv is read_csv or 1 / 0")
    cells.run("def build(): return Flow(group='G', name='f').step(step)")
    for _ in range(2):
        with pytest.raises(FlowExecutionError):
            cells.preview()

    after = (
        pl.read_csv,
        duckdb.connect,
        duckdb.sql,
        builtins.open,
        io.open,
        os.stat,
        os.path.exists,
        pl.DataFrame.sample,
    )
    assert after == before
    assert cells.names["read_csv"] is pl.read_csv
    assert not any(point.users for point in interceptors._points)
    assert sys.modules["polars"] is pl


def test_a_double_somebody_keeps_goes_on_working(cells: Cells, data: Path) -> None:
    """A module imported while a step runs takes the wrapper with it."""
    cells.run("import polars as pl\nfrom data_engine import Flow\nkept = {}")
    cells.run("def step(context): kept['read'] = pl.read_csv")
    cells.run("def build(): return Flow(group='G', name='f').step(step)")
    cells.preview()

    assert cells.names["kept"]["read"](data / "x.csv").height == 1
    cells.run(f"read = kept['read']\ndef step(context): return read({str(data)!r} + '/x.csv')").preview()
    cells.preview()
    assert ran() == []
    (data / "x.csv").write_text("a\n2\n")
    assert cells.preview()["a"].to_list() == [2]


def test_a_preview_imports_no_library_of_its_own() -> None:
    """A flow without frames needs none; one that imports Polars inside a step is watched all the same."""
    import subprocess
    import sys

    code = """
import sys, pathlib
from data_engine import Flow
flow = Flow(group="G", name="f").step(lambda context: [1], save_as="a").step(lambda context: {"b": context.current})
assert flow.preview() == {"b": [1]} and flow.preview() == {"b": [1]}
print([name for name in ("polars", "duckdb", "pandas", "pyarrow", "numpy") if name in sys.modules])
pathlib.Path("x.csv").write_text("a\\n1\\n")
def lazy(context):
    import polars
    return polars.read_csv("x" + ".csv")["a"].to_list()
flow = Flow(group="G", name="f").step(lazy, save_as="a")
assert flow.preview() == [1]
assert flow.preview() == [1]
pathlib.Path("x.csv").write_text("a\\n2\\n")
assert flow.preview() == [2]
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )

    assert done.stdout.strip() == "[]"
    assert done.stderr.count("f · a reused (") == 1


def test_two_previews_at_once_do_not_mix(cells: Cells, data: Path) -> None:
    """Each step's reads are its own; nothing is lost when one preview ends before the other."""
    import threading

    for name in "ab":
        (data / name).write_text("1")
    cells.run("from pathlib import Path\nfrom data_engine import Flow\nimport polars as pl")
    both = threading.Barrier(2)
    flows = []
    for name in "ab":
        cells.names["both"] = both
        cells.run(f"def step_{name}(context): return Path({str(data)!r}, '{name}').read_text()")
        cells.run(
            f"def wait_{name}(context): return pl.read_csv({str(data)!r} + '/' + '{name}', has_header=False).item()"
        )
        flows.append(
            Flow(group="G", name=name).step(cells.names[f"step_{name}"], save_as="s").step(cells.names[f"wait_{name}"])
        )

    def often(flow: Flow) -> None:
        both.wait()
        for _ in range(20):
            flow.preview()

    threads = [threading.Thread(target=often, args=(flow,)) for flow in flows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (data / "a").write_text("2")

    assert flows[1].preview() == 1
    assert ran() == []
    assert flows[0].preview() == 2
    assert reasons()["s"] == "file a changed"
    assert not any(point.users for point in interceptors._points)


def test_what_a_preview_compares_is_not_a_read_of_another_ones_step(cells: Cells, data: Path) -> None:
    import threading

    (data / "a").write_text("1")
    cells.run("import time\nfrom pathlib import Path\nfrom data_engine import Flow")
    cells.run(f"def read(context): return Path({str(data)!r}, 'a').read_text()")
    cells.run("def wait(context):\n    time.sleep(1)\n    return 1")
    reading = Flow(group="G", name="reading").step(cells.names["read"])
    waiting = Flow(group="G", name="waiting").step(cells.names["wait"])
    reading.preview()

    thread = threading.Thread(target=waiting.preview)
    thread.start()
    while thread.is_alive():
        reading.preview()
    (data / "a").write_text("2")

    assert waiting.preview() == 1
    assert ran() == []


def test_no_class_that_only_computes_holds_a_reader_of_its_own() -> None:
    """The standard library may bind `os.scandir` when a class is made, as `Path.glob` does from Python 3.13 on; there it is replaced too."""
    held = []
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] not in code._COMPUTING:
            continue
        for kind in [value for value in vars(module).values() if isinstance(value, type)]:
            for attribute, value in vars(kind).items():
                function = value.__func__ if isinstance(value, staticmethod) else value
                is_read = interceptors.is_reader(function)
                if is_read and not interceptors.is_intercepted(kind, attribute):
                    held.append(f"{name}.{kind.__qualname__}.{attribute}")

    assert held == []
