"""Finds what a rule compares, and the rows where that is NaN: there the rule is unknown, unless it asks for NaN itself.

Polars and DuckDB hold NaN for the largest number, so `amount >= 0` would be true of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import polars as pl

_OPERATORS = frozenset({"==", "!=", "==v", "!=v", "<", "<=", ">", ">="})
_COMPARING = frozenset({"is_between", "is_in", "is_close", "eval"})
"""Polars 1.30 writes `list.eval` without what it asks, so all of it may compare."""
_COMPARING_IN_SQL = re.compile("sql_(eq|ne|lt|gt|le|ge|is_in|is_between|not_eq)")
_ASKING = frozenset({"is_nan", "is_not_nan", "is_finite"})
_ASKING_IN_SQL = frozenset({"isnan", "isfinite"})
_MAY_BE_NAN = re.compile(r"nan|series|^\[", re.IGNORECASE)


def nan_rows(frame: pl.DataFrame, rule: pl.Expr) -> pl.Series | None:
    """For each row whether something that the rule compares is NaN, or one value for all of them; None where nothing is.

    Example:
        >>> frame = pl.DataFrame({"a": [1.0, float("nan")]})
        >>> nan_rows(frame, pl.col("a") >= 0).to_list(), nan_rows(frame, pl.col("a").is_nan() | (pl.col("a") >= 0))
        ([False, True], None)
    """
    operands: dict[str, pl.Expr] = {}
    asked: set[str] = set()
    every = set(_columns(rule, frame))
    for node, inputs, place in _nodes(rule, ()):
        said, first = str(node), str(inputs[0])
        called = _call(said, first)
        if called in _ASKING:
            asked |= set(_columns(inputs[0], frame)) or every
        elif (
            called in _COMPARING
            or called.startswith("sql_")
            or (len(inputs) == 2 and _operator(said, first) in _OPERATORS)
        ):
            names = [name for one in inputs for name in _columns(one, frame)]
            if any(map(_is_nan_itself, inputs)):
                asked |= set(names) or every
            given = inputs if "element()" not in said else [pl.col(sorted(every))]
            operands |= {str(one): one.over(place) if place else one for one in given}
    found = None
    for operand in operands.values():
        names = _columns(operand, frame)
        if names and not set(names) <= asked:
            found = both(found, _nan_of(frame, operand, sorted(every - asked)))
    return found


def asks_for_nan(rule: pl.Expr) -> bool:
    """Whether a rule asks itself for NaN."""
    for node, inputs, _ in _nodes(rule, ()):
        if _call(str(node), str(inputs[0])) in _ASKING or any(map(_is_nan_itself, inputs)):
            return True
    return False


def both(one: pl.Series | None, other: pl.Series | None) -> pl.Series | None:
    """Where the one or the other is true; one value stands for all rows."""
    if one is None or other is None:
        return other if one is None else one
    return one if len(other) == 1 and not other[0] else other if len(other) == 1 else one | other


def nan_values(values: pl.Series) -> pl.Series:
    """For each value whether it is NaN, or holds one; one answer for all where none is."""
    if values.dtype.is_float():
        total = values.sum()  # far sooner than to ask each, and NaN where one of them is
        return values.is_nan().fill_null(False) if total != total else pl.Series([False])
    return values.to_frame("v").select(_has_nan(pl.col("v"), values.dtype).fill_null(False)).to_series()


def holds_floats(kind: pl.DataType) -> bool:
    """Whether values of this type can be NaN, or hold one."""
    inner = getattr(kind, "inner", None)
    fields = getattr(kind, "fields", None) if isinstance(kind, pl.Struct) else None
    return (
        kind.is_float()
        or (isinstance(inner, pl.DataType) and holds_floats(inner))
        or any(isinstance(field.dtype, pl.DataType) and holds_floats(field.dtype) for field in fields or ())
    )


def _nan_of(frame: pl.DataFrame, operand: pl.Expr, columns: Sequence[str]) -> pl.Series | None:
    """Where the operand is NaN; one that can be asked only within its rule stands for these columns of the rule."""
    if (name := operand.meta.output_name(raise_if_undetermined=False)) in frame.columns and operand.meta.eq(
        pl.col(name)
    ):
        return _nan_in(frame, [frame[name]])
    for asked in (operand, pl.col(columns)):
        with suppress(Exception):  # the operand has no meaning outside of its rule: Polars refuses it, or panics
            if not any(map(holds_floats, frame.lazy().select(asked).collect_schema().dtypes())):
                return None
            return _nan_in(frame, frame.select(asked))
    return None


def _nan_in(frame: pl.DataFrame, columns: Iterable[pl.Series]) -> pl.Series | None:
    found = None
    for values in columns:
        if holds_floats(values.dtype) and (rows := nan_values(values)).any():
            found = both(found, rows if len(rows) == frame.height else pl.Series([True]))
    return found


def _has_nan(value: pl.Expr, kind: Any) -> pl.Expr:
    if kind.is_float():
        return value.is_nan()
    if isinstance(kind, pl.Struct):
        fields = [(field.name, kind_of) for field in kind.fields if holds_floats(kind_of := field.dtype)]  # type: ignore[arg-type]
        return pl.any_horizontal(_has_nan(value.struct.field(name), kind_of) for name, kind_of in fields)
    values = value.arr.to_list() if isinstance(kind, pl.Array) else value
    return values.list.eval(_has_nan(pl.element(), kind.inner).fill_null(False)).list.any()


def _nodes(node: pl.Expr, place: Sequence[pl.Expr]) -> Iterator[tuple[pl.Expr, list[pl.Expr], Sequence[pl.Expr]]]:
    """Each part of an expression with its inputs, and what it is asked `over`."""
    try:
        inputs = node.meta.pop()[::-1]
    except pl.exceptions.PolarsError:  # over several columns: Polars 1.30 takes that not apart
        if re.search(r"\) (==|!=|<|>|<=|>=)v? \(", str(node)) and "nan()" not in str(node):
            yield pl.all() >= 0, [pl.all(), pl.lit(0)], place
        return
    if inputs:
        yield node, inputs, place
        is_over = _call(str(node), str(inputs[0])) == "over"
        for at, one in enumerate(inputs):
            yield from _nodes(one, inputs[1:] if is_over and at == 0 else place)


def _call(said: str, first: str) -> str:
    return said[len(first) + 1 :].partition("(")[0] if said.startswith(f"{first}.") else ""


def _operator(said: str, first: str) -> str:
    return said[len(first) + 4 :].partition(" (")[0] if said.startswith(f"[({first}) ") else ""


def _columns(expression: pl.Expr, frame: pl.DataFrame) -> list[str]:
    """The columns that an expression reads."""
    with suppress(Exception):  # an expression that does not fit the frame is an error of its rule
        if expression.meta.has_multiple_outputs():
            return frame.lazy().select(expression).collect_schema().names()
        return expression.meta.root_names()
    return []


def _is_nan_itself(value: pl.Expr) -> bool:
    """Whether a value that reads no column is NaN, or holds it."""
    with suppress(Exception):  # a value that Polars cannot compute alone is not NaN by itself
        if not value.meta.root_names() and _MAY_BE_NAN.search(str(value)):
            values = pl.select(value).to_series()
            return holds_floats(values.dtype) and bool(nan_values(values).any())
    return False


# -- rules of DuckDB -----------------------------------------------------------------------------------------------------


class ComparedTerms(NamedTuple):
    """What a rule in SQL compares, each as a text of SQL or a column's name by itself, and whether it changes the number of rows."""

    operands: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    changes_rows: bool = False


def compared_in_sql(text: str, columns: Sequence[str], ask: Callable[[str], str]) -> ComparedTerms:
    """What a rule of DuckDB compares; `columns` of the result are those of the rule whose NaN it does not ask for itself.

    `ask` gives the value of an expression of SQL. Reference: https://duckdb.org/docs/stable/data/json/sql_to_and_from_json
    """
    tree = json.loads(ask(f"json_serialize_sql({_literal(f'SELECT ({text})')})"))
    if tree["error"]:
        return ComparedTerms()
    node = tree["statements"][0]["node"]
    known = {name.lower(): name for name in columns}
    every = set(_names(node["select_list"], known))
    parts = list(_parts(node["select_list"]))
    asked = {name for part in parts for name in _asked(part, known, every)}
    operands: dict[str, None] = {}
    for one in (one for part in parts for one in _inputs(part)):
        names = set(_names(one, known)) or (
            every if _reads(one) else set()
        )  # the name of a lambda's value is no column
        if not names <= asked:
            said = ask(f"json_deserialize_sql({_literal(json.dumps(_of_one(tree, node, one)))})")
            operands[said.removeprefix("SELECT ")] = None
    is_unnested = any(part.get("function_name", "").lower() in ("unnest", "unlist") for part in parts)
    return ComparedTerms(tuple(operands), tuple(sorted(every - asked)), is_unnested)


def _asked(part: dict[str, Any], known: dict[str, str], every: set[str]) -> set[str]:
    """The columns whose NaN a part of a rule asks for."""
    compared = _inputs(part)
    if part.get("class") == "FUNCTION" and part["function_name"].lower() in _ASKING_IN_SQL:
        return set(_names(part, known)) or every
    if any(_is_nan_constant(one) and not _names(one, known) for one in compared):
        return {name for one in compared for name in _names(one, known)} or every
    return set()


def _reads(tree: Any) -> bool:
    return any(part.get("class") in ("COLUMN_REF", "LAMBDA_REF") for part in _parts(tree))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _of_one(tree: dict[str, Any], node: dict[str, Any], said: Any) -> dict[str, Any]:
    """The statement that gives this one value."""
    return {**tree, "statements": [{**tree["statements"][0], "node": {**node, "select_list": [{**said, "alias": ""}]}}]}


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """Each part of an expression, without the queries in it."""
    if isinstance(tree, dict):
        yield tree
        for name, value in tree.items():
            if name != "subquery":
                yield from _parts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _parts(value)


def _inputs(part: dict[str, Any]) -> list[Any]:
    """What a part of an expression compares."""
    if str(part.get("type", "")).startswith("COMPARE_"):
        named = [part[name] for name in ("left", "right", "input", "lower", "upper") if part.get(name)]
        return named or list(part.get("children") or ())
    if part.get("class") == "SUBQUERY" and part.get("subquery_type") == "ANY" and part.get("child"):
        return [part["child"]]
    return []


def _names(tree: Any, known: dict[str, str]) -> list[str]:
    refs = [part["column_names"] for part in _parts(tree) if part.get("class") == "COLUMN_REF"]
    return [known[name.lower()] for names in refs for name in names if name.lower() in known]


def _is_nan_constant(tree: Any) -> bool:
    constants = [part for part in _parts(tree) if part.get("class") == "CONSTANT"]
    texts = [value for constant in constants for part in _parts(constant) for value in part.values()]
    return any(isinstance(text, str) and text.strip().lower().lstrip("+-") == "nan" for text in texts)
