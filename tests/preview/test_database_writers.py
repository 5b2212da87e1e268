"""Each way by which DuckDB and SQLite write a file is refused before it does, in a preview and in a run; a new release's new one is seen."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import duckdb
import pytest

from data_engine.engine.access.duckdb_writes import SETTINGS
from data_engine.engine.access.file_events import ChangeRefusedError, FileGuard, guarding
from data_engine.engine.access.guards import OwnSources, PreviewGuard
from data_engine.engine.access.interceptors import Interceptors

ONE = "select 1 as a, 2 as b"
QUERIES = {  # of a connection `c`; {old} is a file that is there, alone in {folder}
    "copy": "copy ({ONE}) to '{old}'",
    "copy behind a comment": "/* x */ copy -- to 'x'\n ({ONE}) /* to 'y' */ to /**/ '{old}' (format csv)",
    "copy in capitals": "COPY({ONE})TO'{old}'",
    "copy of a table": "create table \"to\" as {ONE}; copy \"to\" (a) to '{old}' csv header",
    "copy of a pivot": "create table t as {ONE}; copy (pivot t on a using sum(b)) to '{old}'",
    "copy by its address": "copy ({ONE}) to 'file://{old}'",
    "copy to an escaped text": "copy ({ONE}) to E'{folder}/\\x6Fld.txt'",
    "copy to a dollar text": "copy ({ONE}) to $${old}$$",
    "copy to a concatenation": "copy ({ONE}) to ('{folder}' || '/old.txt')",
    "copy to a quoted name": 'copy ({ONE}) to "{old}"',
    "copy to a variable": "set variable x = '{old}'; copy ({ONE}) to (getvariable('x'))",
    "copy to a function of a variable": "set variable x = '{old}'; copy ({ONE}) to (concat(getvariable('x'), ''))",
    "copy to a folder that holds it": "copy ({ONE}) to '{folder}' (format csv, partition_by (a), overwrite true)",
    "copy to a folder as it pleases": "copy ({ONE}) to '{folder}' (format csv, overwrite_or_ignore, per_thread_output)",
    "copy to names of its own": "copy ({ONE}) to '{place}/new' (format csv, partition_by (a), filename_pattern '../../../folder/old')",
    "copy with non-ASCII before": "copy (select 'äöü€😀' as a) to '{old}'",
    "copy in a WITH clause": "with x as (copy ({ONE}) to '{old}') from x",
    "copy in a WITH clause of a table": "create table z as with x as materialized (copy ({ONE}) to '{old}') from x",
    "copy explained": "explain analyze copy ({ONE}) to '{old}'",
    "copy explained with options": "explain (analyze, format json) copy ({ONE}) to '{old}'",
    "prepared": "prepare p as copy ({ONE}) to '{old}'; execute p",
    "prepared with a value": "prepare p as copy ({ONE}) to $1; execute p('{old}')",
    "prepared with a named value": "prepare p as copy ({ONE}) to $x; execute p(x := '{folder}' || '/old.txt')",
    "prepared and explained": "prepare p as copy ({ONE}) to '{old}'; explain analyze execute p",
    "the last of several": "select 1; copy ({ONE}) to '{old}'",
    "the first of several": "copy ({ONE}) to '{old}'; select 1",
    "export": "create table old as {ONE}; export database '{folder}'",
    "export of a database": "create table old as {ONE}; export database memory to '{folder}' (format parquet)",
    "a sequence": "create sequence s; copy ({ONE}) to ('{folder}/ol' || chr(100 + 0 * nextval('s')::int) || '.txt')",
    "profiling": "set enable_profiling = 'json'; set profiling_output = '{folder}/old.json'; select 1",
    "profiling by its other name": "pragma enable_profiling = 'json'; pragma profile_output = '{folder}/old.json'; select 1",
    "profiling by a function": "call enable_profiling(save_location = '{folder}/old.json', format = 'json'); select 1",
    "the query log": "set log_query_path = '{old}'; select 1",
    "the query log to a concatenation": "set global log_query_path = concat('{folder}', '/old.txt'); select 1",
    "logging": "call enable_logging('QueryLog', storage = 'file', storage_path = '{folder}/old.csv'); select 1",
    "logging from": "from enable_logging('QueryLog', storage := 'file', storage_path := '{folder}/old.csv'); select 1",
    "logging with a structure": "call enable_logging('QueryLog', storage = 'file', storage_config = {{'path': '{folder}/old.csv'}}); select 1",
    "logging by a query that SQL makes": "from query('from enable_log' || 'ging(storage = ''file'', storage_path = ''{folder}/old.csv'')'); select 1",
    "an import": "import database '{place}'",
}  # fmt: skip
CALLS = {
    "DuckDBPyConnection.execute": "c.execute(f'copy ({ONE}) to ?', [old])",
    "DuckDBPyConnection.execute with a path": "c.execute(f'copy (select ? as a) to ?', [1, pathlib.Path(old)])",
    "DuckDBPyConnection.execute by a name": "c.execute(query=f'copy ({ONE}) to $path', parameters={'path': old})",
    "DuckDBPyConnection.execute of a statement": "c.execute(c.extract_statements(f\"copy ({ONE}) to '{old}'\")[0])",
    "DuckDBPyConnection.execute of a cursor": "c.cursor().execute(f\"copy ({ONE}) to '{old}'\")",
    "DuckDBPyConnection.execute of before": "BEFORE.execute(f\"copy ({ONE}) to '{old}'\")",
    "DuckDBPyConnection.execute of what was prepared before": "BEFORE.execute('execute early')",
    "DuckDBPyConnection.executemany": "c.executemany(f'copy ({ONE}) to $1', [[place + '/free'], [old]])",
    "DuckDBPyConnection.sql": "c.sql(f'copy ({ONE}) to $path', params={'path': old})",
    "DuckDBPyConnection.query": "c.query(f\"copy ({ONE}) to '{old}'\")",
    "DuckDBPyConnection.from_query": "c.from_query(f\"copy ({ONE}) to '{old}'\")",
    "DuckDBPyRelation.query": "c.sql(ONE).query('v', f\"copy v to '{old}'\")",
    "DuckDBPyRelation.to_csv": "c.sql(ONE).to_csv(old)",
    "DuckDBPyRelation.write_csv": "c.sql(ONE).write_csv(file_name=old)",
    "DuckDBPyRelation.write_csv of parts": "c.sql(ONE).write_csv(folder, partition_by=['a'], overwrite=True)",
    "DuckDBPyRelation.to_parquet": "c.sql(ONE).to_parquet(old)",
    "DuckDBPyRelation.write_parquet": "c.sql(ONE).write_parquet(old)",
    "DuckDBPyRelation.write_parquet with a pattern": "c.sql(ONE).write_parquet(place + '/n', per_thread_output=True, filename_pattern='../../folder/o')",
    "duckdb.sql": "duckdb.sql(f\"copy ({ONE}) to '{old}'\")",
    "duckdb.query": "duckdb.query(f\"copy ({ONE}) to '{old}'\", connection=c)",
    "duckdb.from_query": "duckdb.from_query(f\"copy ({ONE}) to '{old}'\")",
    "duckdb.execute": "duckdb.execute(f'copy ({ONE}) to ?', [old])",
    "duckdb.executemany": "duckdb.executemany(f'copy ({ONE}) to ?', [[old]])",
    "duckdb.query_df": "duckdb.query_df(pl.DataFrame({'a': [1]}), 'v', f\"copy v to '{old}'\")",
    "duckdb.write_csv": "duckdb.write_csv(pl.DataFrame({'a': [1]}), old)",
    "duckdb.connect": "duckdb.connect(config={'log_query_path': old}).execute('select 1')",
    "duckdb.connect to log": "duckdb.connect(':memory:', False, {'log_query_path': old}).execute('select 1')",
}  # fmt: skip
DATABASES = {  # how a preview would change {old}, a database
    "DuckDBPyConnection.execute attached": "c.execute(f\"attach '{old}' as o\"); c.execute('create table o.z as select 1')",
    "DuckDBPyConnection.execute attached otherwise": "c.execute(f\"attach or replace database 'duckdb:{old}' as o (read_only false)\")",
    "DuckDBPyConnection.execute attached behind a comment": "c.execute(f\"attach /* (read_only) */ if not exists '{old}' as o\")",
    "DuckDBPyConnection.execute attached by a variable": "c.execute(f\"set variable x = '{old}'; attach getvariable('x') as o\")",
    "DuckDBPyConnection.execute attached by a text of its own": 'c.execute(f"attach $${old}$$ as o")',
    "DuckDBPyConnection.execute to copy": "c.execute(f\"create table t as {ONE}; attach '{old}' as o; copy from database memory to o\")",
    "DuckDBPyConnection.execute of before": "BEFORE.execute('insert into t values (2)')",
    "DuckDBPyConnection.execute of before, a view": "BEFORE.execute('create view v as from t')",
    "DuckDBPyConnection.sql of before": "BEFORE.sql('with x as (insert into t values (3) returning a) from x')",
    "DuckDBPyConnection.checkpoint": "BEFORE.checkpoint()",
    "DuckDBPyConnection.append": "BEFORE.append('t', pl.DataFrame({'a': [3]}))",
    "DuckDBPyConnection.appender": "BEFORE.appender('t')",
    "DuckDBPyConnection.query_appender": "BEFORE.query_appender('insert into t select a from x', {'a': 'int'}, source='x')",
    "duckdb.checkpoint": "duckdb.checkpoint(connection=BEFORE)",
    "duckdb.append": "duckdb.append('t', pl.DataFrame({'a': [3]}), connection=BEFORE)",
    "duckdb.connect": "duckdb.connect(old)",
    "duckdb.connect by its address": "duckdb.connect('file://' + old)",
    "duckdb.connect by its kind": "duckdb.connect(database='duckdb:' + old, read_only=False)",
}
LITE = {
    "connect": "l = sqlite3.connect(old); l.execute('insert into t values (2)'); l.commit()",
    "connect by its address": "l = sqlite3.connect('file:' + old + '?mode=rw', uri=True); l.execute('delete from t'); l.commit()",
    "connect, autocommitting": "sqlite3.connect(old, isolation_level=None).execute('update t set a = 2')",
    "connect of dbapi2": "from sqlite3 import dbapi2; dbapi2.connect(old, isolation_level=None).execute('update t set a = 2')",
    "connect of _sqlite3": "import _sqlite3; _sqlite3.connect(old, isolation_level=None).execute('update t set a = 2')",
    "connect with a factory": "class C(sqlite3.Connection): pass\nsqlite3.connect(old, factory=C, isolation_level=None).execute('drop table t')",
    "Connection": "sqlite3.Connection(old, isolation_level=None).execute('update t set a = 2')",
    "Connection of its own class": "class C(sqlite3.Connection): pass\nC(old, isolation_level=None).execute('update t set a = 2')",
    "Connection.__init__": "l = sqlite3.connect(':memory:'); l.__init__(old, isolation_level=None); l.execute('update t set a = 2')",
    "Connection.backup": "sqlite3.connect(':memory:').backup(sqlite3.connect(old))",
    "Connection.blobopen": "sqlite3.connect(old).blobopen('t', 'a', 1).write(b'x')",
    "Connection.blobopen attached": "l = sqlite3.connect(':memory:'); l.execute('attach ? as o', [old]); l.blobopen('t', 'b', 1, name='o').write(b'x')",
    "Connection.execute": "sqlite3.connect(old).execute('pragma user_version = 5')",
    "Connection.execute of the log": "sqlite3.connect(old).execute('pragma journal_mode = wal')",
    "Connection.execute of the id": "sqlite3.connect(old).execute('pragma main.application_id = 5')",
    "Connection.execute to vacuum": "l = sqlite3.connect(old); l.execute('vacuum')",
    "Connection.execute attached": "l = sqlite3.connect(':memory:'); l.execute('attach ? as o', [old]); l.execute('delete from o.t'); l.commit()",
    "Connection.execute attached, a pragma": "l = sqlite3.connect(':memory:'); l.execute('attach ? as o', [old]); l.execute('pragma o.user_version = 5')",
    "Connection.execute attached, the log": "l = sqlite3.connect(':memory:'); l.execute(f\"attach '{old}' as o\"); l.execute('pragma journal_mode = wal')",
    "Connection.execute attached, to vacuum": "l = sqlite3.connect(':memory:'); l.execute(f\"attach '{old}' as o\"); l.execute('vacuum o')",
    "Connection.executemany": "l = sqlite3.connect(old); l.executemany('insert into t values (?)', [(2,)]); l.commit()",
    "Connection.executescript": "sqlite3.connect(old).executescript('drop table t; create table t (a)')",
    "Connection.cursor": "l = sqlite3.connect(old); l.cursor().execute('insert into t values (2, 3)'); l.commit()",
    "Connection.set_authorizer": "l = sqlite3.connect(old); l.set_authorizer(None); l.execute('delete from t'); l.commit()",
    "Connection.set_authorizer attached": "l = sqlite3.connect(':memory:'); l.execute('attach ? as o', [old]); l.set_authorizer(None)"
    "; l.execute('delete from o.t'); l.commit()",
    "Connection.set_authorizer of its own": "l = sqlite3.connect(':memory:'); l.execute('attach ? as o', [old]); l.set_authorizer(lambda *about: 0)"
    "; l.execute('delete from o.t'); l.commit()",
}  # fmt: skip
LITE_LOGGED = [name for name in LITE if "the log" not in name]
"""They are tried on a database with a write-ahead log, too, which is not opened to read only."""

READ = "read|fetch|df$|arrow|torch|^pl$|to_dicts|iter_rows|describe|description|rowcount|progress|profiling_information|show|preview|explain"
NO_FILE = {
    f"{READ}|extract_statements|get_table_names|tokenize|from_|table$|view$|values|value$": "gives rows, or words about them",
    r"type|dtype|Value|Exception|Error|Type|NUMBER|STRING|DATETIME|BINARY|ROWID|Warning|columns|shape|sql_query|alias": "types, values, words",
    "begin|commit|rollback|abort|close|complete|interrupt|cursor|duplicate|default_connection|token|paramstyle|version|apilevel|threadsafety"
    "|build_info|RenderMode|Statement|CSVLine|PythonExc": "a connection itself; what was changed in it before is seen after the step",
    "register|unregister|filesystem|function|extension|tf$|append|Append": "in memory, a connection's own tables, or code of the author's",
    "create|insert|update|drop|to_view|to_table|materialize|map$|apply": "a table of a connection, which was opened before: seen after the step",
    "enable_profiling|disable_profiling": "the terminal",
    "aggregate|filter|project|select|order|sort|limit|offset|join|union|intersect|except|cross|distinct|unique|group_by|head|pivot|unpivot"
    "|unnest|rename|with_columns|sample|value_counts|array_type|row_number|rank|n_?tile|lag|lead|first|last|nth|cume|dense|window": "a relation",
    "any_|arg_|avg|bit|bool|count|favg|fsum|geomean|histogram|list|max|mean|median|min|mode|product|quantile|std|stddev|string_agg|sum|var"
    "|coalesce|col|lit|Operator|star|when|fn|Expression|sql_expr|DuckDBPy": "a value, an expression, a class",
}  # fmt: skip


@pytest.mark.parametrize("name", ["duckdb", "DuckDBPyConnection", "DuckDBPyRelation"])
def test_each_public_function_of_duckdb_is_known(name: str) -> None:
    """A new one of a new release: add how it is called, or why it writes no file."""
    owner = duckdb if name == "duckdb" else getattr(duckdb, name)
    known = {statement.partition(" ")[0] for statement in (*CALLS, *DATABASES)}

    unknown = [
        attribute
        for attribute in dir(owner)
        if not attribute.startswith("_")
        and (callable(getattr(owner, attribute)) or name != "duckdb")
        and f"{name}.{attribute}" not in known
        and not any(re.search(pattern, attribute) for pattern in NO_FILE)
    ]

    assert unknown == []


def test_each_setting_of_duckdb_that_may_name_a_file_is_known() -> None:
    others = {
        "allowed_directories", "allowed_paths", "file_search_path", "search_path", "home_directory", "max_temp_directory_size",
        "arrow_output_list_view", "arrow_output_version", "disabled_log_types", "enabled_log_types", "enable_logging", "logging_level",
        "logging_mode", "logging_sink", "explain_output", "temp_file_encryption", "partitioned_write_max_open_files",
    }  # fmt: skip
    with duckdb.connect() as connection:
        rows = connection.execute("select name from duckdb_settings() where input_type like '%VARCHAR%'").fetchall()
    names = {name for (name,) in rows if re.search("path|director|output|file$|file_|^log|sink", name)}

    assert {name for name in names - SETTINGS.keys() - others if "cache" not in name} == set()


@pytest.mark.parametrize("name", ["Connection", "Cursor", "Blob"])
def test_each_public_method_of_sqlite_is_known(name: str) -> None:
    others = (
        "close commit rollback interrupt row_factory text_factory total_changes in_transaction isolation_level autocommit iterdump"
        " create_function create_aggregate create_window_function create_collation set_progress_handler set_trace_callback"
        " enable_load_extension load_extension getlimit setlimit getconfig setconfig serialize deserialize"
        " DataError DatabaseError Error IntegrityError InterfaceError InternalError NotSupportedError OperationalError"
        " ProgrammingError Warning"
    ).split()
    known = {statement.partition(" ")[0] for statement in LITE}
    attributes = [attribute for attribute in dir(getattr(sqlite3, name)) if not attribute.startswith("_")]

    unknown = [
        attribute for attribute in attributes if f"Connection.{attribute}" not in known and attribute not in others
    ]

    assert name != "Connection" or unknown == []
    assert name != "Cursor" or {one for one in unknown if "execute" in one} == set()


class Place:
    """A folder with one file, and a place where all is allowed."""

    def __init__(self, root: Path, name: str = "old.txt") -> None:
        self.folder, self.place = root / "folder", root / "free"
        for folder in (self.folder, self.place):
            folder.mkdir()
        self.old = self.folder / name
        (self.place / "schema.sql").write_text("select 1")
        (self.place / "load.sql").write_text(f"copy (select 1) to '{self.old}'")
        self.guard = PreviewGuard(free=(f"{os.path.realpath(self.place)}{os.sep}",))

    def refused(self, guard: FileGuard, interceptors: Interceptors, statement: str, before: object = None) -> None:
        facts = self.facts()
        names = {
            "folder": str(self.folder),
            "old": str(self.old),
            "place": str(self.place),
            "ONE": ONE,
            "BEFORE": before,
        }
        here = os.getcwd()
        with closing(interceptors), guarding(guard), duckdb.connect() as connection:
            interceptors.open()
            os.chdir(self.place)
            try:
                exec(f"import os, pathlib, sqlite3, duckdb, polars as pl\n{statement}", names | {"c": connection})
            except Exception:
                assert guard.refused
            finally:
                os.chdir(here)
        names.clear()
        assert guard.refused, "nothing was refused"
        assert isinstance(guard.refused[0], ChangeRefusedError)
        assert self.facts() == facts

    def facts(self) -> dict[str, str]:
        """What is in the files; of an open SQLite database its empty log and the memory that its readers share tell nothing."""
        contents = {file.name: file.read_bytes() for file in self.folder.iterdir() if not file.name.endswith("-shm")}
        return {
            name: hashlib.sha256(content).hexdigest()
            for name, content in contents.items()
            if content or not name.endswith("-wal")
        }


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    statement = request.node.callspec.params.get("statement", "")
    extension = next((ext for ext in (".json", ".csv") if f"old{ext}" in QUERIES.get(statement, "")), ".txt")
    place = Place(tmp_path, f"old{extension}")
    place.old.write_text("old")
    return place


def spelled(place: Place, statement: str) -> str:
    if statement in CALLS:
        return CALLS[statement]
    return f"c.execute({QUERIES[statement].format(ONE=ONE, old=place.old, folder=place.folder, place=place.place)!r})"


@pytest.fixture
def before(place: Place) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(f"prepare early as copy ({ONE}) to '{place.old}'")
        yield connection


@pytest.mark.parametrize("statement", [*QUERIES, *CALLS])
def test_a_preview_writes_no_file_by_duckdb(place: Place, before: duckdb.DuckDBPyConnection, statement: str) -> None:
    place.refused(place.guard, Interceptors(), spelled(place, statement), before)


@pytest.mark.parametrize("is_batch", [False, True], ids=["file", "batch"])
@pytest.mark.parametrize("statement", [*QUERIES, *CALLS])
def test_a_run_overwrites_no_source_by_duckdb(
    place: Place, before: duckdb.DuckDBPyConnection, statement: str, is_batch: bool
) -> None:
    guard = OwnSources(place.folder, None if is_batch else place.old)
    place.refused(guard, Interceptors(of_runs=True), spelled(place, statement), before)


@pytest.mark.parametrize("statement", DATABASES)
def test_a_preview_changes_no_database_of_duckdb(tmp_path: Path, statement: str) -> None:
    place = Place(tmp_path, "old.duckdb")
    with duckdb.connect(str(place.old)) as connection:
        connection.execute("create table t as select 1 as a; checkpoint")
        if "BEFORE" not in DATABASES[statement]:
            connection.close()
        place.refused(place.guard, Interceptors(), DATABASES[statement], connection)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("statement", "mode"), [*((name, "delete") for name in LITE), *((name, "wal") for name in LITE_LOGGED)]
)
def test_a_preview_changes_no_database_of_sqlite(tmp_path: Path, statement: str, mode: str) -> None:
    place = Place(tmp_path, "old.sqlite")
    with closing(sqlite3.connect(place.old)) as lite, closing(sqlite3.connect(":memory:")) as before:
        lite.execute(f"pragma journal_mode = {mode}")
        lite.execute("create table t (a, b)")
        lite.execute("insert into t values ('1', '2')")
        lite.commit()
        lite.close()
        place.refused(place.guard, Interceptors(), LITE[statement], before)


ALLOWED = {
    "rows": "assert c.execute('select ? as copy', [1]).fetchall() == [(1,)]",
    "a column called copy": "c.execute('create table t as select 1 as copy'); assert c.sql('select copy from t').fetchall() == [(1,)]",
    "a file that is new": "c.execute(f\"copy ({ONE}) to '{folder}/new.csv'\"); c.execute(f\"copy ({ONE}) to '{folder}/new.csv'\")",
    "a folder that is new": "c.execute(f\"copy ({ONE}) to '{folder}/new' (format csv, partition_by (a))\")",
    "a parameter": "c.execute('copy (select ? as a) to ?', [1, folder + '/new.csv']); assert pathlib.Path(folder, 'new.csv').read_text() == 'a\\n1\\n'",
    "what was prepared": "c.execute('prepare p as copy (select 1 as a) to $1'); c.execute(f\"execute p('{folder}/new.csv')\")"
    "; assert pathlib.Path(folder, 'new.csv').read_text() == 'a\\n1\\n'",
    "several statements": "c.execute(f\"set variable x = '{folder}/new.csv'; create table t as {ONE}; copy t to (getvariable('x')); from t\")"
    "; assert c.fetchall() == [(1, 2)]; assert os.path.exists(folder + '/new.csv')",
    "several of sql": "c.sql(f\"create table t as {ONE}; from t; copy t to '{place}/new.csv'\")"
    "; assert duckdb.sql(f\"copy (select 1) to '{place}/other.csv'; select 7\").fetchall() == [(7,)]"
    "; assert os.path.exists(place + '/new.csv')",
    "a frame by its name": "frame = pl.DataFrame({'a': [5]}); c.execute(f\"select 1; copy frame to '{place}/new.csv'\")"
    "; assert pathlib.Path(place, 'new.csv').read_text() == 'a\\n5\\n'",
    "a file that DuckDB reads": "c.execute('create table t (a varchar)'); c.execute(f\"copy t from '{old}'\"); assert c.sql('from t').fetchall() == [('old',)]",
    "settings": "c.execute('set threads = 1; set memory_limit = \\'1GB\\'; pragma database_list'); c.execute(f\"set temp_directory = '{place}'\")",
    "logging in memory": "c.execute(\"call enable_logging('QueryLog')\"); c.execute('call disable_logging()')",
    "a query that SQL makes": "assert c.execute(\"from query('select ' || '4')\").fetchall() == [(4,)]",
    "a relation": "c.sql(ONE).write_csv(place + '/new.csv'); c.sql(ONE).write_parquet(place + '/parts', partition_by=['a'])",
    "a mistake": "try: c.execute('copy to to to')\nexcept duckdb.ParserException: pass",
    "no such table": "try: c.execute(f\"copy missing to '{place}/x'\")\nexcept duckdb.CatalogException: pass",
    "a database that is new": "c.execute(f\"attach '{folder}/new.duckdb' as n; create table n.t as {ONE}; detach n\")",
    "SQLite": "l = sqlite3.connect(folder + '/new.sqlite'); l.execute('create table t (a)'); l.execute('pragma user_version = 2'); l.commit()"
    "; l.set_authorizer(None); m = sqlite3.Connection(':memory:'); l.backup(m); m.close(); l.close()",
    "a class of SQLite": "class C(sqlite3.Connection): pass\nl = sqlite3.connect(':memory:', factory=C)\nassert isinstance(l, C)\nl.close()\nC(':memory:').close()",
}  # fmt: skip


@pytest.mark.parametrize("statement", ALLOWED)
@pytest.mark.parametrize("is_run", [False, True], ids=["preview", "run"])
def test_what_is_allowed_works_as_ever(tmp_path: Path, statement: str, is_run: bool) -> None:
    place = Place(tmp_path)
    place.old.write_text("a\nold\n" if "reads" in statement else "old")
    guard = OwnSources(place.folder, place.old) if is_run else place.guard
    names = {"folder": str(place.folder), "old": str(place.old), "place": str(place.place), "ONE": ONE}
    with closing(Interceptors(of_runs=is_run)) as interceptors, guarding(guard), duckdb.connect() as connection:
        interceptors.open()
        exec(f"import os, pathlib, sqlite3, duckdb, polars as pl\n{ALLOWED[statement]}", names | {"c": connection})

    assert guard.refused == []


def test_a_connection_of_before_cannot_copy_over_a_database(tmp_path: Path) -> None:
    """It is none of ours; SQLite refuses it."""
    place = Place(tmp_path, "old.sqlite")
    with closing(sqlite3.connect(place.old)) as lite:
        lite.execute("create table t (a)")
    facts = place.facts()
    with closing(sqlite3.connect(":memory:")) as before, closing(Interceptors()) as interceptors, guarding(place.guard):
        interceptors.open()
        with closing(sqlite3.connect(place.old)) as target, pytest.raises(sqlite3.OperationalError, match="readonly"):
            before.backup(target)

    assert place.facts() == facts


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_that_a_preview_reads_is_left_as_it_is(tmp_path: Path, mode: str) -> None:
    place = Place(tmp_path, "old.sqlite")
    with closing(sqlite3.connect(place.old)) as lite:
        lite.execute(f"pragma journal_mode = {mode}")
        lite.executescript("create table t (a); insert into t values (1)")
    facts = place.facts()
    with closing(Interceptors()) as interceptors, guarding(place.guard):
        interceptors.open()
        for connect in (sqlite3.connect, sqlite3.Connection):
            with closing(connect(place.old)) as connection:
                assert connection.execute("select a from t").fetchall() == [(1,)]
                connection.execute("create temp table u as select 1")
                with suppress(sqlite3.Error):
                    connection.execute("pragma table_info(t)")

    assert place.guard.refused == []
    assert place.facts() == facts
    assert [file.name for file in place.folder.iterdir()] == ["old.sqlite"]
