"""Find the indexes of a table, and make one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from data_engine.errors import FlowValidationError
from data_engine.helpers.duckdb.connection import DEFAULT_WAIT, Database, TableName, own_columns, writing
from data_engine.helpers.duckdb.names import column_list, folded, quoted, table_parts
from data_engine.record import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    from data_engine.helpers.duckdb.connection import Wait


_ITEM = re.compile(r"'((?:[^'\\]|\\.)*)'|([^\[\],\s]+)")


@frozen
class Index:
    """An index made by CREATE INDEX: where it is, its name, its table's, what it is on, as SQL."""

    database: str
    schema: str
    name: str
    table: str
    items: tuple[str, ...]
    is_unique: bool

    @property
    def sql_name(self) -> str:
        return ".".join(map(quoted, (self.database, self.schema, self.name)))

    def covers(self, column: str) -> bool:
        """Whether it is on the column, or on an expression that may use it."""
        name = folded(column)
        return any(_plain(item) == name or (item[0] == "(" and name in folded(item)) for item in self.items)

    def is_on(self, columns: Sequence[str]) -> bool:
        """Whether it is on these columns, in this order."""
        return [_plain(item) for item in self.items] == [folded(column) for column in columns]

    def create_sql(self, table: TableName) -> str:
        unique = "UNIQUE " if self.is_unique else ""
        return f"CREATE {unique}INDEX IF NOT EXISTS {quoted(self.name)} ON {table.sql} ({', '.join(self.items)})"


def _plain(item: str) -> str:
    return folded(item[1:-1].replace('""', '"') if item[0] == '"' else item)


def indexes_of(database: Database, table: TableName) -> list[Index]:
    """The indexes made on the table, by name; those behind constraints are not among them."""
    return [index for index in _all_indexes(database, table.schema) if folded(index.table) == folded(table.name)]


def _all_indexes(database: Database, schema: str) -> list[Index]:
    rows = database.execute(
        "SELECT database_name, schema_name, index_name, table_name, expressions, is_unique FROM duckdb_indexes()"
        " WHERE database_name = current_database() AND sql IS NOT NULL ORDER BY index_name"
    )
    return [
        Index(catalog, schema_name, name, on, _items(expressions), bool(unique))
        for catalog, schema_name, name, on, expressions, unique in rows
        if folded(schema_name) == folded(schema)
    ]


def _items(listed: str) -> tuple[str, ...]:
    """DuckDB lists expressions as the text of a list: `[a, '"b c"', '((a + 1))']`."""
    return tuple(bare or re.sub(r"\\(.)", r"\1", text) for text, bare in _ITEM.findall(listed))


def ensure_index(
    db_path: str | PathLike[str],
    table: str,
    *,
    columns: str | list[str],
    name: str | None = None,
    wait: Wait = DEFAULT_WAIT,
) -> str:
    """The name of an index on `columns` of the table, made unless it is there.

    Without `name` it is called after the table and its columns. An index makes looking up few rows of a big table faster,
    and writing slower; DuckDB scans fast enough without one for most tables.

    Args:
        db_path: the database file, which must be there.
        table: its name, or "schema.name".
        wait: how long to wait for another process that has the database open, such as "60s".

    Raises:
        FlowValidationError: no such database, table or column; blank names; an index of that name is on something else.
        TypeError: a name is not a text.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import ensure_index, replace_table
        >>> db = tempfile.mkdtemp() + "/mart.duckdb"
        >>> _ = replace_table(db, "sales", df=pl.DataFrame({"id": [1, 2]}))
        >>> ensure_index(db, "sales", columns="id", name="by_id")
        'by_id'
    """
    table_parts(table)
    names = column_list(columns, argument="columns")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a text, not {name!r}")
    if name is not None and (not name.strip() or "\0" in name):
        raise FlowValidationError(
            "an index needs a non-empty name", where=f"name={name!r}", fix="leave it out for a default"
        )
    with writing(db_path, wait=wait, create=False) as database:
        target = database.table(table)
        own = own_columns(target, database.known_columns(target), names, argument="columns")
        if name is None:
            text = "|".join(folded(part) for part in (target.schema, target.name, *own))
            name = f"idx_de_{hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]}"
        indexes = _all_indexes(database, target.schema)
        existing = next((index for index in indexes if folded(index.name) == folded(name)), None)
        if existing is None:
            database.execute(f"CREATE INDEX {quoted(name)} ON {target.sql} ({', '.join(map(quoted, own))})")
        elif folded(existing.table) != folded(target.name) or not existing.is_on(own):
            raise FlowValidationError(
                f'there is an index "{name}" already, on {", ".join(existing.items)} of "{existing.table}"',
                where="name=",
                fix="choose another name, or leave it out",
            )
        return name
