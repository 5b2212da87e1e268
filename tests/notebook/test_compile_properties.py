"""Properties of the compiler: it never breaks, repeats itself to the byte, and its slice is as good as the notebook."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data_engine.errors import NotebookCompileError
from data_engine.notebook.compile import compile_with_codes
from data_engine.notebook.compiled import CompiledNotebook
from data_engine.notebook.read import NotebookCell, read_cells
from tests.support import examples

PATH = Path("flow.ipynb")
QUIET = settings(
    deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def cells(texts: list[str]) -> list[NotebookCell]:
    return [NotebookCell(number, f"c{number}", text) for number, text in enumerate(texts, start=1)]


def outcome(texts: list[str]) -> CompiledNotebook | NotebookCompileError:
    try:
        return compile_with_codes(cells(texts), PATH)[0]
    except NotebookCompileError as error:
        return error


def outcome_of_file(data: bytes) -> CompiledNotebook | NotebookCompileError:
    try:
        return compile_with_codes(read_cells(data, path=PATH), PATH)[0]
    except NotebookCompileError as error:
        return error


# Pieces that strangers' cells are made of: broken, odd, and half-IPython.
PIECES = [
    "x = 1", "x += y", "y = [x]", "y.append(x)", "del x", "import os", "from a import *", "from . import b",
    "from __future__ import annotations", "def f(a=x): return y", "class C(B): x = x", "@deco\ndef g(): ...",
    "for x in y: pass", "for i in y:\n    x = i", "with a as x: z = x", "if x: y = 1", "try: z\nexcept NameError: z = 1",
    "match x:\n    case [y, *z]: pass", "lambda: x", "[x for x in y if (z := x)]", "%time x = 1", "%%time", "%%bash", "!ls",
    "x?", "a = !ls", "await x", "return", "x = ((", "'''", "\\", "#| keep", "#| skip", "global x", "nonlocal x", "\0",
    "\ud800", "\f", "\u2028", "é = 'ü'; x = é", "  ", "\t", "build = 1", "def build(): return x, y, z, f",
    "build().preview()", "x = build().preview()", "duckdb.sql('select * from y')", "os.environ['a'] = x", "print(x);",
    "x: 'C' = 1", "async def h(): await x", "x, *y = y", "y[0] = x", "f(x).b = 1", "raise", "s = '''\n# c'''; t = s", "for s in y: s['a'] = x", "DESCRIPTION = x",
]  # fmt: skip

messy_cells = st.lists(
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=5).map("\n".join), max_size=6
)


@QUIET
@given(messy_cells)
@example(["a = 1; build = lambda: a; \\\n b = 2"])
def test_any_text_compiles_or_raises_the_one_error(texts: list[str]) -> None:
    """Strangers' notebooks hold anything; nothing but NotebookCompileError may come out, and what compiles is whole."""
    first, second = outcome(texts), outcome(texts)

    if isinstance(first, NotebookCompileError):
        assert str(first) == str(second)
        assert first.fix
        assert str(first.cell).startswith("flow.ipynb, cell ")
        str(first).encode()
    else:
        assert first == second
        module = [ast.dump(node) for node in ast.parse(first.source).body if "__future__" not in ast.dump(node)]
        assert [ast.dump(node) for chunk in first.chunks for node in ast.parse(chunk.text).body] == module
        for chunk in first.chunks:
            compile(chunk.text, "chunk", "exec", dont_inherit=True)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
odd_cells = st.fixed_dictionaries(
    {},
    optional={
        "cell_type": st.sampled_from(["code", "markdown"]) | json_values,
        "source": st.sampled_from(["def build(): return 1", "x = ("]) | json_values,
        "metadata": st.fixed_dictionaries({"tags": json_values}) | json_values,
        "id": json_values,
        "execution_count": json_values,
        "input": json_values,
    },
)
odd_notebooks = st.fixed_dictionaries(
    {},
    optional={
        "nbformat": st.sampled_from([1, 2, 3, 4, 4, 4, 5]) | json_values,
        "nbformat_minor": json_values,
        "metadata": json_values,
        "cells": st.lists(odd_cells | json_values, max_size=4) | json_values,
        "worksheets": st.lists(st.fixed_dictionaries({"cells": st.lists(odd_cells, max_size=2)}), max_size=2)
        | json_values,
    },
)


@QUIET
@given(odd_notebooks | json_values)
def test_any_json_is_read_or_raises_the_one_error(content: Any) -> None:
    """Wrong types anywhere in the file never surface as KeyError or AttributeError."""
    found = outcome_of_file(json.dumps(content).encode())

    assert isinstance(found, CompiledNotebook) or found.fix


@QUIET
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 200))
def test_any_bytes_are_read_or_raise_the_one_error(junk: bytes, start: int, length: int) -> None:
    """Half-written and overwritten files too."""
    whole = json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": "def build(): return 1"}]}).encode()
    found = outcome_of_file(whole[:start] + junk + whole[start + length :])

    assert isinstance(found, CompiledNotebook) or found.fix


NUMBERS = ["a", "b", "c", "d"]
LISTS = ["P", "Q", "R"]
FUNCTIONS = ["f", "g"]

number = st.sampled_from(NUMBERS)
rows = st.sampled_from(LISTS)
function = st.sampled_from(FUNCTIONS)
constant = st.integers(0, 9).map(str)
call_free = st.one_of(
    constant,
    number,
    st.tuples(number, number).map(" + ".join),
    rows.map(lambda name: f"len({name})"),
    rows.map(lambda name: f"sum({name})"),
    st.tuples(rows, number).map(lambda pair: f"sum(i * {pair[1]} for i in {pair[0]})"),
    st.tuples(rows, number).map(lambda pair: f"max([0, *{pair[0]}], key=lambda i: i * {pair[1]})"),
    number.map(lambda name: f"(lambda: {name})()"),
)
value = st.one_of(call_free, function.map(lambda name: f"{name}()"))


def one(template: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda values: template.format(*values))


statement = st.one_of(
    one("{0} = {1}", number, value),
    one("{0} += {1}", number, value),
    one("{0}, {1} = {2}, {3}", number, number, value, value),
    one("{0} = [{1}, {2}]", rows, value, value),
    one("{0} = {1}", rows, rows),
    one("{0} = {1} + [{2}]", rows, rows, value),
    one("{0} = sorted({1})", rows, rows),
    one("{0}.append({1})", rows, value),
    one("{0} += [{1}]", rows, value),
    one("{0}[:1] = [{1}]", rows, value),
    one("{0}.sort()", rows),
    one("if {0} > 4:\n    {1} = {2}", value, number, value),
    one("if {0} > 4:\n    {1} = {2}\nelse:\n    {1} = {3}", value, number, value, value),
    one("for item in list({0}):\n    {1} = {1} + item", rows, number),
    one("for item in list({0}):\n    {1}.append(item + {2})", rows, rows, number),
    one("try:\n    {0} = {1} // {2}\nexcept ZeroDivisionError:\n    {0} = {3}", number, value, number, value),
    one("if ({0} := {1}) > 3:\n    pass", number, value),
    one("def {0}():\n    return {1}", function, value),
    # Python 3.13 does not end a recursion whose calls leave out a parameter: it takes all memory there is.
    one("def {0}(n={1}):\n    return n + {2}", function, value, call_free),
    one("{0} = lambda: {1}", function, value),
    one("note({0}, {1})", rows, value),
    one("{0} = note({1}, {2})", number, rows, value),
    one("{0} = push({1})", number, value),
    one("[push(i) for i in ({0}, {1})]", value, value),
    one("{0} = Item({1}).size({2})", number, value, rows),
    one("print({0})", value),
    one("{0}", value),
)
programs = st.lists(st.lists(statement, min_size=1, max_size=4), min_size=1, max_size=5)


CHANGERS = """
def note(rows, item):
    rows.append(item)
    return item
def push(item):
    return note(R, item)
class Item:
    def __init__(self, size):
        P.append(size)
    def size(self, rows):
        rows.append(0)
        return len(rows)
"""


def results(namespace: dict[str, Any]) -> Any:
    try:
        return namespace["build"]()
    except (NameError, RecursionError, TypeError) as error:
        return type(error)


@settings(QUIET, max_examples=examples(80))
@given(
    programs, st.lists(st.sampled_from(NUMBERS + LISTS + [f"{name}()" for name in FUNCTIONS]), min_size=1, max_size=3)
)
def test_the_slice_gives_what_the_whole_notebook_gives(program: list[list[str]], wanted: list[str]) -> None:
    """Without side effects, `build()` of the compiled module returns what it returns in a kernel after "Run All"."""
    start = (
        "a, b, c, d = 1, 2, 3, 4\nP, Q, R = [1], [2, 3], []\ndef f():\n    return 5\ndef g():\n    return 6" + CHANGERS
    )
    texts = [start, *("\n".join(cell) for cell in program), f"def build():\n    return [{', '.join(wanted)}]"]
    whole: dict[str, Any] = {"print": lambda *_: None}
    try:
        for text in texts:
            exec(text, whole)
    except (NameError, RecursionError, TypeError):
        return  # the notebook itself does not run from top to bottom

    sliced: dict[str, Any] = {"print": lambda *_: None}
    for _, code in compile_with_codes(cells(texts), PATH)[1]:
        exec(code, sliced)

    assert results(sliced) == results(whole)
