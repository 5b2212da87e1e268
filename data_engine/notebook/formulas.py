"""Formulas of statsmodels and patsy, as a notebook's calls say them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from data_engine.notebook.shapes import texts_in

FORMULA_CALLS = frozenset(
    {"ols", "wls", "gls", "glm", "gee", "rlm", "logit", "probit", "mnlogit", "poisson", "negativebinomial", "quantreg", "mixedlm",
     "phreg", "from_formula", "dmatrix", "dmatrices"}
)  # fmt: skip
"""Calls that take a formula, `"sold ~ per_day(price)"`, whose functions are the notebook's."""
_CALLED = re.compile(r"([^\W\d]\w*)\s*\(")


def formulas(call: ast.Call) -> list[ast.expr]:
    """Where a call that takes a formula has it: as its first argument, or as `formula=`."""
    return [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "formula")]


def called_in(formula: ast.expr) -> Iterator[str]:
    """The functions that a formula calls.

    Example:
        >>> list(called_in(ast.parse("'sold ~ per_day(price) + C(shop)'", mode="eval").body))
        ['per_day', 'C']
    """
    for text in texts_in(formula):
        yield from _CALLED.findall(text)
