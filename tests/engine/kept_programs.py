"""Random programs of calls that give rows for tables, run with rows kept and written at once."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl

from data_engine import Workspace
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.helpers import read_table, replace_rows_by_file, replace_rows_by_values, replace_table
from data_engine.helpers.duckdb.connection import reading
from tests.support import WorkspaceFiles

DATABASES, TABLES, KEYS = ("one", "two"), ("t", "s.u"), ("a", "b", "c")
VALUES: dict[str, list[Any]] = {
    "Int64": [0, 1, -5, 2**40, None],
    "Int8": [1, 2, None],
    "Float64": [0.5, 2.0, -1e300, None],
    "String": ["1", "x", "", "2024-01-01", None],
    "Boolean": [True, False, None],
    "Date": [19000, 0, None],
    "Null": [None],
}
FLOW = """
import json
from data_engine import Flow
from tests.engine.kept_programs import act

PROGRAM = json.loads({program!r})

def first(context):
    for op in PROGRAM["first"]:
        act(op, context.workspace_root / "databases", READ, context)
    return [str(number) for number in range(len(PROGRAM["items"]))]

def each(context, item):
    for op in PROGRAM["items"][int(item)]:
        act(op, context.workspace_root / "databases", READ, context)
    return item

def last(context):
    for op in PROGRAM["last"]:
        act(op, context.workspace_root / "databases", READ, context)
    (context.workspace_root / "read.json").write_text(json.dumps(READ))

READ = []

def build():
    return Flow(group="G"){mirror}.step(first).map(each, max_parallel=3).step(last)
"""


class MeantToFailError(Exception):
    """What a program ends with that is to fail."""


def frame_of(columns: dict[str, tuple[str, list[Any]]]) -> pl.DataFrame:
    """The frame of a call; its content travels as JSON."""
    series = []
    for name, (kind, values) in columns.items():
        kind_of = getattr(pl, kind)
        series.append(
            pl.Series(name, values, dtype=pl.Int32).cast(pl.Date)
            if kind == "Date"
            else pl.Series(name, values, dtype=kind_of)
        )
    return pl.DataFrame(series)


def act(op: list[Any], databases: Path, read: list[Any], context: Any = None) -> None:
    """Do one call of a program."""
    word, *rest = op
    if word == "fail":
        raise MeantToFailError
    if word == "publish":
        if context is not None:
            context.mirror.publish()
        return
    db, table, *more = rest
    path = databases / f"{db}.duckdb"
    if word == "read":
        try:
            frame = read_table(path, table)
        except FlowValidationError:
            read.append([db, table, "none"])
        else:
            read.append([db, table, [str(kind) for kind in frame.dtypes], frame.columns, repr(frame.rows())])
        return
    frame = frame_of(more[-1])
    try:
        if word == "file":
            replace_rows_by_file(path, table, df=frame, file_hash=more[0])
        elif word == "values":
            replace_rows_by_values(path, table, df=frame, column="k")
        else:
            replace_table(path, table, df=frame)
    except FlowValidationError as error:
        read.append(["refused", error.what.partition(" (")[0]])


def program(seed: int) -> dict[str, Any]:
    """A program: the calls of the first step, of each item, of the last step."""
    rng = random.Random(seed)

    def columns() -> dict[str, tuple[str, list[Any]]]:
        height = rng.choice([0, 1, 2, 3])
        made = {"k": ("String", [rng.choice(KEYS) for _ in range(height)])}
        for name in rng.sample(["n", "m", "o"], rng.randint(1, 3)):
            kind = rng.choice(list(VALUES)) if rng.random() < 0.4 else "Int64"
            made[name] = (kind, [rng.choice(VALUES[kind]) for _ in range(height)])
        return made

    def call(*, reads: bool = True) -> list[Any]:
        db, table = rng.choice(DATABASES), rng.choice(TABLES)
        word = rng.choice(["file", "file", "file", "values", "values", "table", *(["read"] * 3 if reads else [])])
        if word == "read":
            return [word, db, table]
        return [word, db, table, *([rng.choice(KEYS)] if word == "file" else []), columns()]

    mirror = rng.random() < 0.5
    first = [call() for _ in range(rng.randint(0, 6))]
    last = [call() for _ in range(rng.randint(0, 6))]
    if mirror and rng.random() < 0.4:
        first.insert(rng.randint(0, len(first)), ["publish"])
    items = [[call(reads=False) for _ in range(rng.randint(0, 2))] for _ in range(rng.choice([1, 1, 3]))]
    if rng.random() < 0.35:
        place = rng.choice([first, last, *items])
        place.insert(rng.randint(0, len(place)), ["fail"])
    before = [call(reads=False) for _ in range(rng.randint(0, 5))]
    return {"before": before, "first": first, "items": items, "last": last, "mirror": mirror}


def tables_in(databases: Path) -> dict[str, Any]:
    """What stands in the tables: types, columns, rows in their order."""
    found = {}
    for db in DATABASES:
        path = databases / f"{db}.duckdb"
        if not path.exists():
            continue
        with reading(path, wait="5s") as database:
            names = database.table_names()
        for name in names:
            frame = read_table(path, name)
            found[f"{db}:{name}"] = ([str(kind) for kind in frame.dtypes], frame.columns, repr(frame.rows()))
    return found


def compare(seed: int, folder: Path, kind: str = "threads") -> None:
    """Run the program of this seed in both ways.

    Raises:
        AssertionError: the tables, or what was read, differ.
    """
    made = program(seed)
    ws = WorkspaceFiles(folder / "ws")
    databases, plain = ws.root / "databases", folder / "plain"
    plain.mkdir()
    for place in (databases, plain):
        place.mkdir(exist_ok=True)
        for op in made["before"]:
            act(op, place, [])
    (ws.root / "config").mkdir(exist_ok=True)
    (ws.root / "config" / "data_engine.toml").write_text(f'[executor]\nkind = "{kind}"\n')
    mirror = '.mirror(root="../out", staged=True)' if made["mirror"] else ""
    ws.notebook("prog", FLOW.format(program=json.dumps(made), mirror=mirror))
    kept = tables_in(databases)
    assert kept == tables_in(plain)
    read: list[Any] = []
    try:
        for op in [*made["first"], *(op for item in made["items"] for op in item), *made["last"]]:
            act(op, plain, read)
            if op == ["publish"]:
                kept = tables_in(plain)
    except MeantToFailError:
        try:
            Workspace(ws.root).load_flow("prog").run_once()
        except FlowExecutionError:
            assert tables_in(databases) == kept, (seed, made)
            return
        raise AssertionError(f"seed {seed} did not fail") from None
    refusals = [one for one in read if one[0] == "refused"]
    late = None
    try:
        Workspace(ws.root).load_flow("prog").run_once()
    except FlowValidationError as error:
        late = error.what
    if late is not None:  # items were checked in another order than theirs
        assert refusals, (seed, made, late)
        assert len(made["items"]) > 1, (seed, made, late)
        assert "prog.ipynb, cell" in late
        assert tables_in(databases) == kept, (seed, made)
        return
    assert tables_in(databases) == tables_in(plain), (seed, made)
    seen = json.loads((ws.root / "read.json").read_text())
    assert [one for one in seen if one[0] != "refused"] == [one for one in read if one[0] != "refused"], (seed, made)
    assert len([one for one in seen if one[0] == "refused"]) == len(refusals), (seed, made)
