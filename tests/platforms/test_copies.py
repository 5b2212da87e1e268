"""Who holds a database so that no state of it can be copied: whoever writes it, and nobody who reads it."""

from __future__ import annotations

from pathlib import Path

import duckdb

from data_engine.database_copy import take
from data_engine.user_files import writer_of


def test_a_database_is_copied_while_it_is_read_and_not_while_it_is_written(tmp_path: Path) -> None:
    """In this process as in others; DuckDB on Windows lets nobody write what it reads."""
    path, copied = tmp_path / "a.duckdb", tmp_path / "copy" / "a.duckdb"
    copied.parent.mkdir()
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE t AS SELECT 1 AS n")
        assert writer_of(path) is not None
        assert not take(path, copied, 10**9).is_copied

    with duckdb.connect(str(path), read_only=True):
        assert writer_of(path) is None
        assert take(path, copied, 10**9).is_copied

    with duckdb.connect(str(copied), read_only=True) as database:
        assert database.execute("SELECT n FROM t").fetchall() == [(1,)]
