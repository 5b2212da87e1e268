"""What helps when DuckDB refuses something: its own words, and a fix for the kinds that are common."""

from __future__ import annotations

from pathlib import Path

from data_engine.errors import FlowValidationError
from data_engine.storage_version import fix_of_newer

_FIXES = (
    ("not a valid DuckDB database", "name a file that DuckDB made; for a new database, a file that is not there yet"),
    ("No space left", "free some space on its drive"),
    (
        "Cannot execute statement of type",
        "write with replace_rows_by_file, replace_rows_by_values or replace_table; this only reads",
    ),
    ("type View", "name a table, or drop the view first: a view is not written to"),
    ("base table", "name a table: a view is not written to, and has no index"),
    ("ALTER VIEW", "name a table: a view is not written to"),
    ("is not an table", "name a table: a view is not written to"),
    ("foreign key", "fix the rows of the other table that refer to these first"),
    ("main key table", "drop the table that refers to it first, or replace its rows with replace_rows_by_values"),
    ("depends on", "drop what depends on it first, or replace its rows with replace_rows_by_values"),
    ("Constraint Error", "fix the rows that the table's constraint refuses; the table was not changed"),
    ("arameter", "give one value in params= for each ? in the SQL, or a dict with one for each $name"),
    ("python value", "give params= numbers, texts, dates, times or None"),
    ("Conversion Error", "fix the value, or read text that does not fit as null: TRY_CAST(x AS type)"),
    ("Out of Range", "cast to a wider type before computing: CAST(x AS DOUBLE)"),
    ("Parser Error", "fix the SQL in sql= or where=; write texts in single quotes, names in double quotes"),
    ("Binder Error", "fix the SQL in sql= or where=; it may use the table's own columns and DuckDB's functions"),
    ("Catalog Error", "fix the name, or make what it names first"),
    ("Out of KnownSources", "read fewer rows or columns at once"),
)
"""What stands in DuckDB's message, and what helps then; the first counts."""


def refusal(error: Exception, path: Path) -> FlowValidationError:
    """The error to raise in place of one of DuckDB's, or of Polars' on the way out of it.

    Example:
        >>> import duckdb
        >>> print(refusal(duckdb.ConstraintException("Constraint Error: NOT NULL constraint failed"), Path("mart.duckdb")))
        DuckDB refused it: Constraint Error: NOT NULL constraint failed
          where: mart.duckdb
          fix:   fix the rows that the table's constraint refuses; the table was not changed
    """
    what = str(error).strip().split("\n\n")[0]
    known = next((fix for words, fix in _FIXES if words in what), "try it with DuckDB itself, which may say more")
    fix = fix_of_newer(what) or known
    return FlowValidationError(f"DuckDB refused it: {what}", where=str(path), fix=fix)
