"""What a piece of SQL reads and changes, judged by its words; what is not surely seen counts as unseen."""

from __future__ import annotations

import re
from functools import lru_cache

from data_engine.record import frozen


@frozen
class SqlAccess:
    """`files` and `databases` are paths in its text, `opened` those databases that it opens to write, `targets` files it writes;
    `changes` when it is no mere question."""

    files: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    changes: bool = False
    unseen: str | None = None


_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$\$.*?\$\$|[A-Za-z_]\w*|[^\s\w]|\d[\w.]*", re.DOTALL
)
_QUESTIONS = frozenset(
    {"select", "from", "with", "values", "describe", "summarize", "show", "explain", "pivot", "unpivot", "("}
)
_READERS = frozenset(
    """read_csv read_csv_auto read_parquet parquet_scan read_json read_json_auto read_json_objects read_json_objects_auto
    read_ndjson read_ndjson_auto read_ndjson_objects read_text read_blob glob sniff_csv parquet_metadata parquet_schema
    parquet_file_metadata parquet_kv_metadata parquet_bloom_probe""".split()
)
_UNSEEN = {
    **dict.fromkeys(("random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "setseed", "tablesample"), "random numbers in SQL"),
    **dict.fromkeys(
        ("now", "today", "current_date", "current_time", "current_timestamp", "get_current_timestamp", "get_current_time",
         "localtime", "localtimestamp", "transaction_timestamp", "current_localtime", "current_localtimestamp"),
        "the clock in SQL",
    ),
    **dict.fromkeys(("getenv", "getvariable", "current_setting"), "the environment in SQL"),
    **dict.fromkeys(("nextval", "currval", "pragma", "install", "load", "import", "export", "use", "prepare", "deallocate"), "the state of a connection"),
    **dict.fromkeys(("sqlite_scan", "sqlite_attach", "postgres_scan", "postgres_query", "mysql_scan", "mysql_query", "iceberg_scan",
                     "delta_scan", "st_read", "read_xlsx", "query", "query_table", "duckdb_secrets"), "a table function in SQL"),
}  # fmt: skip

_ALSO_NAMES = frozenset({"uuid", "query", "load", "use", "import", "export", "now", "today", "random"})
"""Words that are as likely the name of a column; they count where they are called or begin a statement."""


@lru_cache(maxsize=512)
def sql_access(text: str) -> SqlAccess:
    """The files, databases and dangers in `text`.

    Example:
        >>> sql_access("select * from 'a.csv' join read_parquet(['b/*.parquet']) using (id)").files
        ('a.csv', 'b/*.parquet')
        >>> sql_access("create table t as select random()")
        SqlAccess(files=(), databases=(), opened=(), targets=(), changes=True, unseen='random numbers in SQL')
        >>> sql_access("attach 'a.duckdb'; attach if not exists 'b.duckdb' as b (read_only)").opened
        ('a.duckdb',)
    """
    tokens = [token for token in _TOKEN.findall(text) if not token.startswith(("--", "/*"))]
    paths: dict[str, list[str]] = {"file": [], "database": [], "target": [], "opened": []}
    unseen: str | None = None
    for at, token in enumerate(tokens):
        unseen = unseen or _why_unseen(tokens, at)
        if token[0] in "'\"":
            role, path = _role(tokens, at), token[1:-1].replace(token[0] * 2, token[0])
            if role == "file" and "://" in path:
                unseen = unseen or f"the address {path.partition('?')[0]}"
            else:
                paths[role].append(path)
                if role == "database" and not _is_read_only(tokens, at):
                    paths["opened"].append(path)
    files = tuple(filter(_is_path, paths["file"]))
    opened = tuple(paths["opened"])
    return SqlAccess(files, tuple(paths["database"]), opened, tuple(paths["target"]), _changes(tokens), unseen)


def _changes(tokens: list[str]) -> bool:
    """Whether one of the statements is no mere question."""
    starts = [token for at, token in enumerate(tokens) if at == 0 or tokens[at - 1] == ";"]
    return any(start.lower() not in _QUESTIONS and start != ";" for start in starts)


def _why_unseen(tokens: list[str], at: int) -> str | None:
    """What the word at this place does that the text does not tell."""
    token, word = tokens[at], tokens[at].lower()
    before = tokens[at - 1].lower() if at else ""
    is_call = tokens[at + 1 : at + 2] == ["("]
    if word in _UNSEEN and (is_call or word not in _ALSO_NAMES or before in ("", ";")):
        return _UNSEEN[word]
    if word == "sample" and before == "using":
        return "random numbers in SQL"
    if word in _READERS and is_call and not _has_literal_path(tokens, at + 2):
        return "a path made in SQL"
    if word in ("attach", "copy") and not any(one.startswith("'") for one in tokens[at:]):
        return "a path made in SQL"
    return "a dollar-quoted text in SQL" if token.startswith("$$") else None


def _role(tokens: list[str], at: int) -> str:
    """What the quoted text at this place names: a file, a database or a target; a name of a table counts as a file."""
    before = " ".join(token.lower() for token in tokens[max(at - 5, 0) : at])
    if re.search(r"\battach( or replace)?( database)?( if not exists)?$", before):
        return "database"
    return "target" if before.endswith((" to", "export database")) else "file"


def _is_read_only(tokens: list[str], at: int) -> bool:
    """Whether the database that is attached at this place is opened to read."""
    rest = [token.lower() for token in tokens[at : tokens.index(";", at) if ";" in tokens[at:] else None]]
    return "read_only" in rest and rest[rest.index("read_only") + 1 :][:1] != ["false"]


def _has_literal_path(tokens: list[str], at: int) -> bool:
    """Whether the first argument is one text, or a list of texts."""
    if at < len(tokens) and tokens[at].startswith("'"):
        return at + 1 < len(tokens) and tokens[at + 1] in (",", ")")
    if at >= len(tokens) or tokens[at] != "[":
        return False
    for token in tokens[at + 1 :]:
        if token == "]":
            return True
        if token != "," and not token.startswith("'"):
            return False
    return False


def _is_path(text: str) -> bool:
    return 0 < len(text) < 1024 and "\n" not in text and "\0" not in text
