"""`python -m tests.soak.table_programs [PROGRAMS] [SEED]`: random programs of helper calls, staged against unstaged.

Each is run twice from the same two databases: at once, and with kept rows. When it succeeds, the tables are the same (rows in their order,
columns in theirs, and their types), and so is all that the program read; when it fails, they are as they were, or as
`context.mirror.publish()` has left them.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from textwrap import indent
from typing import Any

import duckdb

from data_engine import Workspace
from data_engine.errors import FlowValidationError
from tests.support import WorkspaceFiles

DATABASES = ("v.duckdb", "w.duckdb")
TABLES = ("sales", "stock", "main.sales", "raw.days")
SETUP = (
    "CREATE TABLE sales AS SELECT i::TINYINT AS n, 'k' || i % 3 AS k, 'f' || i % 2 AS file_key FROM range(6) r(i)",
    "CREATE SCHEMA raw; CREATE TABLE raw.days (k VARCHAR, d DATE DEFAULT '2020-01-01'); INSERT INTO raw.days VALUES ('k1', NULL)",
)
KINDS = {
    "Int8": ("1", "-7", "None"),
    "Int32": ("100000", "3", "None"),
    "Int64": ("2**40", "0"),
    "Float64": ("0.5", "2.0", "None"),
    "String": ("'7'", "'x'", "None"),
    "Date": ("date(2020, 1, 1)", "None"),
    "Boolean": ("True", "None"),
    "Null": ("None",),
}
USUAL = {
    "n": ("Int8", "Int32", "Int64", "Float64"),
    "d": ("Date", "Null"),
    "Extra": ("String", "Null"),
    "z": ("Boolean", "Null"),
}
MODULE = """
import json, polars as pl, shutil
from datetime import date
from data_engine import Flow, helpers

def read(context, name, kind, table):
    path = context.database(name)
    if kind == "sql":
        frame = helpers.read_sql(path, sql=f"SELECT * FROM {{table}}")
    else:
        frame = helpers.read_table(path, table)
    with open({reads!r}, "a") as file:
        file.write(json.dumps([str(frame.schema), str(frame.rows())]) + "\\n")

def publish(context):
    {publish}

def first(context):
{first}
    return {items}

def item(context, name):
{item}

def last(context):
{last}

def build():
    flow = Flow(group="G").mirror(root="../out", staged={staged}).step(first)
    return flow.map(item, max_parallel={parallel}).step(last)
"""


class Program:
    """A random program of this seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.executor = self._random.choice(["threads"] * 4 + ["processes"])
        self.indexed = self._random.random() < 0.3
        self.items = [f"i{number}" for number in range(self._random.randrange(1, 4))]
        self.first, self.last = self._part(5), self._part(4)
        self.item = self._part(3, of_item=True)
        if self._random.random() < 0.3:
            self.last.insert(self._random.randrange(len(self.last) + 1), "raise ValueError")
        elif self._random.random() < 0.1:
            self.item.append(f"if name == {self.items[-1]!r}: raise ValueError")

    def _part(self, most: int, *, of_item: bool = False) -> list[str]:
        return [self._line(of_item=of_item) for _ in range(self._random.randrange(most + 1))] or ["pass"]

    def _line(self, *, of_item: bool) -> str:
        choose = self._random.choice
        name, table, kind = choose(DATABASES), choose(TABLES), choose("ffffvvvtrrsp")
        about = f'context.database("{name}"), "{table}", df={self._frame(is_keyed=kind == "v")}'
        widen = choose(["", *[', widen="text"'] * 6])
        if kind == "f":
            key = "name" if of_item and self._random.random() < 0.7 else f'"f{self._random.randrange(3)}"'
            return f"helpers.replace_rows_by_file({about}, file_hash={key}, return_df=False{widen})"
        if kind == "v":
            return f'helpers.replace_rows_by_values({about}, column="k", return_df=False{widen})'
        if kind == "t":
            return f"helpers.replace_table({about}, return_df=False)"
        if of_item:
            return "pass"
        if kind == "p":
            return "publish(context)"
        return f'read(context, "{name}", "{"sql" if kind == "s" else "table"}", "{choose([*TABLES[:1], table])}")'

    def _frame(self, *, is_keyed: bool) -> str:
        count = self._random.choice([0, 1, 2, 3, 3, 5])
        names = [name for name in ("n", "d", "Extra", "z") if self._random.random() < 0.4]
        names += ["k"] if is_keyed or not names or self._random.random() < 0.5 else []
        self._random.shuffle(names)
        kinds = {name: "String" if name == "k" else self._kind(name) for name in names}
        columns = []
        for name, kind in kinds.items():
            values = ("'k1'", "'k2'", "'k5'", "None") if name == "k" else KINDS[kind]
            cells = ", ".join(self._random.choice(values) for _ in range(count))
            columns.append(f'pl.Series("{name}", [{cells}], pl.{kind})')
        return f"pl.DataFrame([{', '.join(columns)}])"

    def _kind(self, name: str) -> str:
        return self._random.choice(list(KINDS) if self._random.random() < 0.08 else USUAL[name])

    def module(self, reads: Path, copies: Path, *, staged: bool) -> str:
        """Its text; unstaged it copies the databases where it would publish."""
        copy = f"shutil.copytree({str(copies.with_name('databases'))!r}, {str(copies)!r}, dirs_exist_ok=True)"
        return MODULE.format(
            reads=str(reads),
            publish="context.mirror.publish()" if staged else copy,
            first=indent("\n".join(self.first), "    "),
            items=self.items,
            item=indent("\n".join(self.item), "    "),
            last=indent("\n".join(self.last), "    "),
            staged=staged,
            parallel=3 if staged else 1,
        )


class Outcome:
    """What a program has left in a folder: whether it succeeded, what it read, and its tables at the end and where it last published."""

    def __init__(self, program: Program, folder: Path, *, staged: bool) -> None:
        ws, reads = WorkspaceFiles(folder), folder / "reads.txt"
        databases, copies = folder / "databases", folder / "copies"
        databases.mkdir()
        for name in DATABASES:
            with duckdb.connect(databases / name) as conn:
                for statement in SETUP:
                    conn.execute(statement)
                if program.indexed:
                    conn.execute("CREATE INDEX of_n ON sales (n)")
        shutil.copytree(databases, copies)
        (folder / "config").mkdir(exist_ok=True)
        kind = program.executor if staged else "threads"
        (folder / "config" / "data_engine.toml").write_text(f'[executor]\nkind = "{kind}"\nworkers = 2\n')
        ws.module("program", program.module(reads, copies, staged=staged))
        self.error = ""
        try:
            Workspace(folder).load_flow("program").run_once()
        except FlowValidationError as error:
            self.error = str(error)
        self.reads = reads.read_text().splitlines() if reads.exists() else []
        self.tables, self.published = contents(databases), contents(copies)


def contents(databases: Path) -> dict[str, Any]:
    """The columns with their types, and the rows, of each table."""
    content = {}
    for name in DATABASES:
        with duckdb.connect(databases / name, read_only=True) as conn:
            for schema, table in conn.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE schema_name <> '_data_engine' ORDER BY ALL"
            ).fetchall():
                place = f'"{schema}"."{table}"'
                columns = [row[:2] for row in conn.execute(f"DESCRIBE {place}").fetchall()]
                content[f"{name}:{schema}.{table}"] = (columns, conn.execute(f"FROM {place}").fetchall())
    return content


def check(seed: int, folder: Path) -> bool:
    """Run the program of this seed both ways; whether it succeeded.

    Raises:
        AssertionError: they differ.
    """
    program = Program(seed)
    plain = Outcome(program, folder / "plain", staged=False)
    staged = Outcome(program, folder / "staged", staged=True)
    about = json.dumps(
        {"seed": seed, **{key: value for key, value in vars(program).items() if key[0] != "_"}}, indent=1
    )
    assert bool(plain.error) == bool(staged.error), f"{about}\nat once: {plain.error}\nkept: {staged.error}"
    wanted = plain.published if plain.error else plain.tables
    assert staged.tables.keys() == wanted.keys(), about
    for name, table in wanted.items():
        assert staged.tables[name] == table, f"{about}\n{name} at once: {table}\nkept: {staged.tables[name]}"
    reads = list(zip(plain.reads, staged.reads, strict=False))
    assert plain.error or len(plain.reads) == len(staged.reads), about
    for number, (left, right) in enumerate(reads):
        assert left == right, f"{about}\nread {number} at once: {left}\nkept: {right}"
    return not plain.error


def main() -> None:
    """So many programs, of the seeds from SEED on."""
    numbers = [int(text) for text in sys.argv[1:]]
    count, first = [*numbers, *(300, random.SystemRandom().randrange(10**9))[len(numbers) :]]
    print(f"{count} programs, seeds from {first}", flush=True)
    succeeded, failures = 0, 0
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory() as name:
            os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
            os.environ["XDG_CONFIG_HOME"] = str(Path(name) / "config")
            try:
                succeeded += check(seed, Path(name))
            except AssertionError as error:
                failures += 1
                print(f"seed {seed}: {error}\n", flush=True)
    print(f"{succeeded} succeeded, {count - succeeded - failures} failed, and {failures} differed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
