"""The keys of files in DuckDB tables: what the older system wrote there with `replace_rows_by_file`, and what this one writes.

The older `file_hash` is of the path inside the source only, this one's of the source as authored too. A file that runs here for
the first time would find none of its rows, and add them once more. So the old keys are exchanged, a database at a time: a copy
is kept first, then all its tables change in one transaction.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_engine.counted import counted
from data_engine.engine.clone import copy_database
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.files import identity_of, trouble_of
from data_engine.helpers.duckdb.connection import Database, reading, writing
from data_engine.helpers.duckdb.names import quoted
from data_engine.model import SourceKey
from data_engine.platforms.names import with_home

WAIT = "5s"
_HASH = re.compile(r"[0-9a-f]{40}")
_SUFFIXES = (".duckdb", ".db", ".ddb")


@dataclass(frozen=True, slots=True)
class TableKeys:
    """One column of one table: `exchanged` old keys by the new ones, `rows` of how many rows.

    `unknown` keys are of files nobody knows, and stay. `problem` says why the column is left as it is.
    """

    table: tuple[str, str]
    column: str
    exchanged: Mapping[str, str]
    rows: int
    unknown: int = 0
    problem: str | None = None

    @property
    def shown(self) -> str:
        """The table's name for people."""
        schema, name = self.table
        return name if schema == "main" else f"{schema}.{name}"


@dataclass(frozen=True, slots=True)
class DatabaseKeys:
    """The columns of one database that hold older keys; `problem` says why it could not be looked into."""

    path: Path
    tables: tuple[TableKeys, ...] = ()
    problem: str | None = None

    @property
    def is_due(self) -> bool:
        """Whether anything is to be exchanged."""
        return any(table.exchanged and table.problem is None for table in self.tables)


@dataclass(frozen=True, slots=True)
class Exchange:
    """The old key of each source file of a flow by its new one, and the flow's text, which names its tables."""

    flow: str
    keys: Mapping[str, str]
    names: frozenset[str] = field(default_factory=frozenset)


def older_hash(key: SourceKey, root: str) -> str:
    """The key that the older system gave a file: of its path inside the source, of a single file of its name.

    Example:
        >>> older_hash(SourceKey("../in", "2026/04/claims.xlsx"), "/team/in")
        'a0def75be4230055c46e136c3595dd6e948e97f1'
    """
    return _sha1(key.path or root.rpartition("/")[2])


def this_hash(key: SourceKey) -> str:
    """The key that this system gives the file, as `context.metadata["file_hash"]`."""
    return _sha1(f"{key.root}/{key.path}" if key.path else key.root)


def names_in(text: str) -> frozenset[str]:
    """The texts in a module's code: its tables are among them, and its databases."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return frozenset()
    return frozenset(
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def databases_in(folder: Path) -> list[Path]:
    """The files below a folder that may be DuckDB databases."""
    try:
        return sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())
    except OSError:
        return []


def databases_named(exchanges: Iterable[Exchange], flow_modules: Path) -> list[Path]:
    """The databases that the flows' code names by an absolute path, or by one from `flow_modules`, and that are there."""
    names = {name for one in exchanges for name in one.names if name.endswith(_SUFFIXES) and "\0" not in name}
    found = (os.path.normpath(os.path.join(flow_modules, with_home(name))) for name in sorted(names))
    return [Path(path) for path in found if os.path.isfile(path)]


def find_keys(paths: Iterable[Path], exchanges: Sequence[Exchange]) -> list[DatabaseKeys]:
    """What older keys the databases hold; only looked at. Those without any are left out."""
    found = []
    for path in dict.fromkeys(paths):
        try:
            with reading(path, wait=WAIT) as database:
                tables = tuple(_keys_of(database, exchanges, path))
        except FlowValidationError as error:
            if "not a valid DuckDB" not in error.what:  # a database of another kind has no such tables
                found.append(DatabaseKeys(path, problem=error.what.splitlines()[0]))
            continue
        if tables:
            found.append(DatabaseKeys(path, tables))
    return found


def decide(
    held: Mapping[str, int], exchanges: Iterable[Exchange], table: Collection[str]
) -> tuple[dict[str, str], int, int, str | None]:
    """Which keys of a column to exchange, of how many rows, how many nobody knows, and why none; pure.

    `held` maps the keys in the column to their rows, `table` are the names that a flow's code may call the table by. Where
    flows that name the table are known, only their files count.

    Example:
        >>> one, other = Exchange("a", {"o1": "a1"}), Exchange("b", {"o1": "b1"}, frozenset(["sales"]))
        >>> decide({"o1": 2}, [one, other], ["sales"])
        ({'o1': 'b1'}, 2, 0, None)
        >>> decide({"o1": 2}, [one, Exchange("b", {"o1": "b1"})], ["sales"])[3]
        '1 key is of files of several flows: a, b'
        >>> decide({"o1": 2, "a1": 2}, [one], ["sales"])[3]
        '1 file has rows under both keys: it has run in both systems'
    """
    every = list(exchanges)
    naming = [one for one in every if not one.names.isdisjoint(table)]
    chosen = naming or every
    exchanged: dict[str, str] = {}
    several: set[str] = set()
    clashes = both = rows = unknown = 0
    new = {key for one in every for key in one.keys.values()}
    for old, count in held.items():
        of_flows = {one.flow: one.keys[old] for one in chosen if old in one.keys}
        if not of_flows:
            unknown += old not in new and _HASH.fullmatch(old) is not None
        elif len(set(of_flows.values())) > 1:
            clashes += 1
            several |= of_flows.keys()
        else:
            exchanged[old] = next(iter(of_flows.values()))
            both += exchanged[old] in held
            rows += count
    problem = None
    if clashes:
        problem = f"{counted(clashes, 'key is', 'keys are')} of files of several flows: {', '.join(sorted(several))}"
    elif both:
        problem = f"{counted(both, 'file has', 'files have')} rows under both keys: it has run in both systems"
    return exchanged, rows, unknown, problem


def backup_of(path: Path) -> Path:
    """A name for a copy of the database that nothing has yet."""
    number = 1
    while (found := path.with_name(f"{path.name}.before_move{'' if number == 1 else number}")).exists():
        number += 1
    return found


def exchange(found: DatabaseKeys, exchanges: Sequence[Exchange]) -> tuple[Path, int]:
    """The copy that was kept of the database, and of how many rows the key was exchanged: all of them, or none.

    Raises:
        FlowValidationError: it is in use, or refuses the change; it is as it was.
        WorkspaceError: no copy could be kept; nothing was changed.
    """
    backup = backup_of(found.path)
    try:
        with reading(found.path, wait=WAIT):  # nobody writes meanwhile
            copy_database(found.path, backup)
            copied = identity_of(found.path)
    except OSError as error:
        with suppress(OSError):
            backup.unlink()
        raise WorkspaceError(
            f"no copy of {found.path.name} could be kept, so it was left as it is: {trouble_of(error)}",
            where=str(backup),
            fix="make room beside it, and make its folder writable",
        ) from error
    if identity_of(found.path) != copied:
        with suppress(OSError):
            backup.unlink()
        raise FlowValidationError(
            f"{found.path.name} was written while a copy of it was made", where=str(found.path), fix="try again"
        )
    rows = 0
    with writing(found.path, wait=WAIT, create=False) as database:
        now = {(one.table, one.column): one for one in _keys_of(database, exchanges, found.path)}
        for shown in found.tables:
            one = now.get((shown.table, shown.column))
            if shown.problem is None and one is not None and one.problem is None:
                rows += _exchange_in(database, one)
    return backup, rows


def _exchange_in(database: Database, one: TableKeys) -> int:
    import pyarrow as pa

    where = _sql(database, one.table)
    pairs = pa.table({"old": list(one.exchanged), "new": list(one.exchanged.values())})
    database.conn.register("exchanged_keys", pairs)
    try:
        column = quoted(one.column)
        ((count,),) = database.execute(
            f"UPDATE {where} AS held SET {column} = k.new FROM exchanged_keys AS k WHERE held.{column} = k.old"
        )
    finally:
        database.conn.unregister("exchanged_keys")
    if count != one.rows:
        raise FlowValidationError(
            f"of {one.rows:,} rows of {one.shown} only {count:,} could be replaced",
            where=f"{one.shown}.{one.column}",
            fix="the database was not changed; try again while nothing writes it",
        )
    return int(count)


def _keys_of(database: Database, exchanges: Sequence[Exchange], path: Path) -> Iterable[TableKeys]:
    columns = database.execute(
        "SELECT c.schema_name, c.table_name, c.column_name FROM duckdb_columns() AS c JOIN duckdb_tables() AS t"
        " ON c.table_oid = t.table_oid AND c.database_name = t.database_name AND c.schema_name = t.schema_name"
        " WHERE c.database_name = current_database() AND c.data_type = 'VARCHAR' AND NOT c.internal"
        " ORDER BY 1, 2, 3"
    )
    known = {old for one in exchanges for old in one.keys}
    for schema, table, column in columns:
        where, name = _sql(database, (schema, table)), quoted(column)
        held: dict[str, Any] = dict(
            database.execute(
                f"SELECT {name}, count(*) FROM {where} WHERE length({name}) = 40 AND regexp_full_match({name}, '[0-9a-f]{{40}}')"
                " GROUP BY 1"
            )
        )
        if known.isdisjoint(held):
            continue
        called = {table, f"{schema}.{table}", f"{path.stem}.{schema}.{table}", f"{path.stem}.{table}"}
        exchanged, rows, unknown, problem = decide(held, exchanges, called)
        if exchanged or problem:
            yield TableKeys((schema, table), column, exchanged, rows, unknown, problem)


def _sql(database: Database, table: tuple[str, str]) -> str:
    return ".".join(map(quoted, (database.name(), *table)))


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
