"""The filters of a table, as the code of a Polars expression: what the panel shows and what its cell runs are the same text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from data_engine.cut import beginning
from data_engine.errors import FlowValidationError

if TYPE_CHECKING:
    import polars as pl

NESTED = (
    'lambda item: json.dumps(item.to_list() if hasattr(item, "to_list") else item, default=str, ensure_ascii=False)'
)
"""How a list or a struct reads."""

_TEXT_OPS = {
    "equals": "{lower} == {text!r}",
    "not equals": "({lower} != {text!r}) | {column}.is_null()",
    "contains": "{lower}.str.contains({text!r}, literal=True)",
    "not contains": "~{lower}.str.contains({text!r}, literal=True) | {column}.is_null()",
    "begins": "{lower}.str.starts_with({text!r})",
    "ends": "{lower}.str.ends_with({text!r})",
}
_ORDER_OPS = (">=", "<=", ">", "<")
OPS = (*_TEXT_OPS, *_ORDER_OPS, "in", "blank", "not blank")


def condition_code(schema: pl.Schema, one: Mapping[str, Any]) -> str:
    """The expression of one filter, {column, op, value}. Text ignores case and is no pattern.

    Raises:
        FlowValidationError: there is no such column or filter, or the value does not fit.

    Example:
        >>> import polars as pl
        >>> condition_code(pl.Schema({"amount": pl.Int64}), {"column": "amount", "op": ">=", "value": "3"})
        "pl.col('amount') >= 3"
    """
    name, op, value = str(one.get("column")), str(one.get("op")), one.get("value")
    if name not in schema:
        raise FlowValidationError(f"there is no column {name!r}", where="the filter", fix="choose another column")
    column = f"pl.col({name!r})"
    as_text = f"{column}.cast(pl.String, strict=False)"
    if schema[name].is_nested():
        as_text = f"{column}.map_elements({NESTED}, return_dtype=pl.String)"
    if op in ("blank", "not blank"):
        blank = f'{column}.is_null() | ({as_text}.str.strip_chars() == "")'
        return blank if op == "blank" else f"~({blank})"
    if op == "in":
        values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        texts = [str(item) if not isinstance(item, bool) else str(item).lower() for item in values if item is not None]
        chosen = f"{as_text}.is_in({texts!r})"
        return f"{chosen} | {column}.is_null()" if None in values else chosen
    text = str(value or "")
    if op in _TEXT_OPS:
        return _TEXT_OPS[op].format(lower=f"{as_text}.str.to_lowercase()", column=column, text=text.lower())
    if op not in _ORDER_OPS:
        raise FlowValidationError(f"there is no filter {op!r}", where="the filter", fix=f"use one of {', '.join(OPS)}")
    if not schema[name].is_numeric():
        return f"{as_text} {op} {text!r}"  # ISO text sorts as its times do
    return f"{column} {op} {_number(text, name)!r}"


def _number(text: str, column: str) -> int | float:
    """The number, whole where it is written so: a float would round a long one.

    Raises:
        FlowValidationError: it is none, or not finite, which is no literal in code.
    """
    with suppress(ValueError):
        if abs(whole := int(text)) < 2**63:
            return whole
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    what = f"{beginning(text, 100)!r} is not a number"
    raise FlowValidationError(what, where=f"filter of {column}", fix="give a number such as -12.5")


def condition(schema: pl.Schema, one: Mapping[str, Any]) -> pl.Expr:
    """The filter itself, of its code.

    Raises:
        FlowValidationError: as `condition_code`.
    """
    import polars as pl

    names = {"pl": pl, "json": json, "__builtins__": {"str": str, "hasattr": hasattr}}
    found: pl.Expr = eval(condition_code(schema, one), names)  # values stand in it as Python literals only
    return found
