"""Which tables SQL reads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data_engine.engine.access.sql_tables import SqlState, SqlTables, tables_of

_DUCKDB = SqlState(
    "duckdb",
    "mart",
    "main",
    {"mart": "/ws/mart.duckdb", "ref": "/ws/ref.duckdb"},
    {
        **{
            ("mart", "main", name): name for name in ("sales", "customers", "products", "days", "order items", "totals")
        },
        ("mart", "staging", "raw_sales"): "raw_sales",
        ("mart", "_data_engine", "applied"): "applied",
        **{("ref", "main", name): name for name in ("rates", "regions")},
    },
    {
        ("mart", "main", "v_sales"): "CREATE VIEW v_sales AS SELECT * FROM sales;",
        (
            "mart",
            "main",
            "monthly",
        ): "CREATE VIEW monthly AS SELECT * FROM v_sales INNER JOIN customers USING (customer_id);",
        ("ref", "main", "v_rates"): "CREATE VIEW v_rates AS SELECT * FROM rates;",
    },
)
_SQLITE = SqlState(
    "sqlite",
    "main",
    "main",
    {"main": "/ws/claims.db", "old": "/ws/old.db"},
    {
        **{("main", "main", name): name for name in ("claims", "policies", "log")},
        ("old", "main", "claims_2025"): "claims_2025",
    },
    {("main", "main", "open_claims"): "CREATE VIEW open_claims AS SELECT * FROM claims WHERE status = 'open'"},
    {
        ("main", "main", "policies"): (
            "CREATE TRIGGER t AFTER INSERT ON policies BEGIN INSERT INTO log VALUES (new.no); END",
        )
    },
)
_STATES = {"duckdb": _DUCKDB, "sqlite": _SQLITE}
_FILES = {
    "/ws/mart.duckdb": "", "/ws/claims.db": "", "/ws/ref.duckdb": "ref:", "/ws/old.db": "old:", "/ws/other.duckdb": "other:",
    "/ws/new.db": "new:", "/ws/crm.db": "crm.db:",
}  # fmt: skip


def corpus() -> Iterator[tuple[str, str, str, str]]:
    """Dialect, tables read, tables written, and statement."""
    dialect = ""
    for block in (Path(__file__).parent / "sql_corpus.txt").read_text(encoding="utf-8").split("\n\n"):
        lines = block.strip().splitlines()
        if lines[0].startswith("["):
            dialect = lines.pop(0).strip("[]")
        reads, _, writes = lines[0].partition("->")
        yield dialect, reads.strip(), writes.strip(), "\n".join(lines[1:])


def named(tables: dict[str, dict[str, None]]) -> set[str]:
    return {f"{_FILES[path.replace(chr(92), '/')]}{name}" for path, names in tables.items() for name in names}


def words(text: str) -> set[str]:
    return set(text.replace("order items", "order_items").split())


def found(dialect: str, *texts: str) -> SqlTables:
    return tables_of([(_STATES[dialect], texts)])


def test_the_corpus_is_read_right_and_hardly_any_of_it_is_not_known() -> None:
    """None wrong; at most 3 % not known."""
    unknown, wrong, statements = [], [], list(corpus())
    for dialect, reads, writes, text in statements:
        tables = found(dialect, text)
        if tables.unknown:
            unknown.append(text)
            continue
        got = named(tables.reads), named(tables.writes)
        if tuple({name.replace(" ", "_") for name in names} for names in got) != (words(reads), words(writes)):
            wrong.append((text, got))

    assert len(statements) >= 200
    assert wrong == []
    assert len(unknown) <= 0.03 * len(statements), unknown
