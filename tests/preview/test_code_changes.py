"""What counts as a change of a step's code: everything its function reaches, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.preview.conftest import Cells, ran, reasons

THREE = """
    from data_engine import Flow

    def first(context):
        return 20

    def second(context):
        return context.current + 1

    def third(context):
        return context.current * 2

    def build():
        return Flow(group="G", name="f").step(first, save_as="a").step(second, save_as="b").step(third, save_as="c")
"""


def test_a_second_preview_runs_nothing(cells: Cells) -> None:
    cells.run(THREE)

    assert cells.preview() == 42
    assert reasons() == {"a": "first preview", "b": "first preview", "c": "first preview"}
    assert cells.preview() == 42
    assert ran() == []


def test_a_changed_step_runs_with_all_after_it(cells: Cells) -> None:
    cells.run(THREE).preview()
    cells.run("def second(context): return context.current + 2")

    assert cells.preview() == 44
    assert reasons() == {"a": None, "b": "its code changed", "c": "b before it changed"}


def test_a_later_step_more_or_less_changes_nothing_before_it(cells: Cells) -> None:
    cells.run(THREE).preview(use="b")
    assert cells.preview() == 42
    assert ran() == ["c"]
    assert cells.preview(use="a") == 20
    assert ran() == []


def test_going_back_to_an_earlier_text_runs_nothing(cells: Cells) -> None:
    cells.run(THREE).preview()
    cells.run("def third(context): return -1").preview()
    cells.run("def third(context):\n    return context.current * 2")

    assert cells.preview() == 42
    assert ran() == []


def test_fresh_runs_everything(cells: Cells) -> None:
    cells.run(THREE).preview()

    assert cells.preview(fresh=True) == 42
    assert reasons() == {"a": "fresh=True", "b": "fresh=True", "c": "fresh=True"}


def test_comments_and_formatting_change_nothing(cells: Cells) -> None:
    cells.run("""
        from data_engine import Flow
        def parts(x, y, z=3): return [x, y, z]
        def step(context):
            out = []
            for n in range(3):
                if n and n < 2: continue
                try:
                    with open("none") as f: out += f
                except OSError as error: out.append(parts(n, str(error), z=4))
            return out
        def build(): return Flow(group="G", name="f").step(step, save_as="s")
    """).preview()
    cells.run("""
        # a comment
        def parts(
            x,
            y,   # more
            z=3,
        ):
            return [
                x, y,
                z,
            ]

        def step(context):

            out = []
            for n in range(3):
                if (
                    n
                    and n < 2
                ):
                    continue
                try:
                    # inside
                    with open("none") as f:
                        out += f
                except OSError as error:
                    out.append(
                        parts(n, str(error), z=4),
                    )
            return out
    """)

    cells.preview()
    assert ran() == []


REACHED = {
    "a helper": ("def rate(): return 1", "def rate(): return 2", "rate()", "helper rate changed"),
    "a helper of a helper": (
        "def deep(): return 1\ndef rate(): return deep()",
        "def deep(): return 2",
        "rate()",
        "helper deep changed",
    ),
    "the keyword of a call": (
        "def pick(a=1, b=2): return a, b\ndef f(): return pick(a=5)",
        "def f(): return pick(b=5)",
        "f()",
        "helper f changed",
    ),
    "helpers that call each other": (
        "def odd(n): return n and even(n - 1)\ndef even(n): return 1 if n == 0 else odd(n - 1)",
        "def even(n): return 2 if n == 0 else odd(n - 1)",
        "odd(3)",
        "helper even changed",
    ),
    "a constant": ("RATE = 1", "RATE = 2", "RATE", "constant RATE changed"),
    "the type of a constant": ("RATE = 1", "RATE = 1.0", "RATE", "constant RATE changed"),
    "the sign of zero": ("RATE = 0.0", "RATE = -0.0", "str(RATE)", "constant RATE changed"),
    "a list changed in place": ("NAMES = ['a']", "NAMES.append('b')", "len(NAMES)", "constant NAMES changed"),
    "something deep in a dict": (
        "C = {'a': [{'b': 1}]}",
        "C['a'][0]['b'] = 2",
        "C['a'][0]['b']",
        "constant C changed",
    ),
    "the order of a dict": ("C = {'a': 1, 'b': 2}", "C = {'b': 2, 'a': 1}", "list(C)", "constant C changed"),
    "a function in a dict": (
        "def f(): return 1\nD = {'f': f}",
        "def f(): return 2\nD['f'] = f",
        "D['f']()",
        "helper D changed",
    ),
    "a default argument": ("def f(x=1): return x", "def f(x=2): return x", "f()", "helper f changed"),
    "a changed default argument": (
        "def f(x=[]): return len(x)",
        "f.__defaults__[0].append(1)",
        "f()",
        "helper f changed",
    ),
    "a keyword default": ("def f(*, x=1): return x", "def f(*, x=2): return x", "f()", "helper f changed"),
    "a function attribute": ("def f(): return f.rate\nf.rate = 1", "f.rate = 2", "f()", "helper f changed"),
    "a closure": (
        "def make(n):\n    def inner(): return n\n    return inner\nf = make(1)",
        "f = make(2)",
        "f()",
        "constant n changed",
    ),
    "a list in a closure": (
        "def make(n):\n    def inner(): return len(n)\n    return inner\nL = []\nf = make(L)",
        "L.append(1)",
        "f()",
        "constant n changed",
    ),
    "a lambda": ("f = lambda: 1", "f = lambda: 2", "f()", "helper f changed"),
    "a decorator": (
        "def deco(fn): return lambda: fn() + 1\n@deco\ndef f(): return 1",
        "def deco(fn): return lambda: fn() + 2\n@deco\ndef f(): return 1",
        "f()",
        "helper f changed",
    ),
    "what a decorator wraps": (
        "import functools\ndef deco(fn):\n    @functools.wraps(fn)\n    def g(): return fn() + 1\n    return g\n"
        "@deco\ndef f(): return 1",
        "@deco\ndef f(): return 2",
        "f()",
        None,
    ),
    "a partial": (
        "from functools import partial\ndef g(x): return x\nf = partial(g, 1)",
        "f = partial(g, 2)",
        "f()",
        None,
    ),
    "a method": (
        "class T:\n    def go(self): return 1",
        "class T:\n    def go(self): return 2",
        "T().go()",
        "helper T.go changed",
    ),
    "a class attribute": ("class T:\n    rate = 1", "T.rate = 2", "T().rate", "constant T.rate changed"),
    "a method put in later": ("class T:\n    def go(self): return 1", "T.go = lambda self: 2", "T().go()", None),
    "a base class": (
        "class B:\n    def go(self): return 1\nclass T(B): pass",
        "B.go = lambda self: 2",
        "T().go()",
        None,
    ),
    "a property": (
        "class T:\n    @property\n    def go(self): return 1",
        "class T:\n    @property\n    def go(self): return 2",
        "T().go",
        None,
    ),
    "a static method": (
        "class T:\n    @staticmethod\n    def go(): return 1",
        "class T:\n    @staticmethod\n    def go(): return 2",
        "T.go()",
        None,
    ),
    "an object's state": (
        "class T:\n    def __init__(self, n): self.n = n\nt = T(1)",
        "t.n = 2",
        "t.n",
        "constant t changed",
    ),
    "a bound method's object": (
        "class T:\n    def __init__(self, n): self.n = n\n    def go(self): return self.n\nt = T(1)\ngo = t.go",
        "t.n = 2",
        "go()",
        None,
    ),
    "a dataclass's default": (
        "from dataclasses import dataclass\n@dataclass\nclass T:\n    n: int = 1",
        "@dataclass\nclass T:\n    n: int = 2",
        "T().n",
        None,
    ),
    "a dataclass's factory": (
        "from dataclasses import dataclass, field\n@dataclass\nclass T:\n    n: list = field(default_factory=lambda: [1])",
        "@dataclass\nclass T:\n    n: list = field(default_factory=lambda: [2])",
        "T().n[0]",
        None,
    ),
    "an enum": (
        "from enum import Enum\nclass E(Enum):\n    A = 1",
        "class E(Enum):\n    A = 2",
        "E.A.value",
        None,
    ),
    "a named tuple": (
        "from typing import NamedTuple\nclass N(NamedTuple):\n    a: int = 1",
        "class N(NamedTuple):\n    a: int = 2",
        "N().a",
        None,
    ),
    "a slot": (
        "class T:\n    __slots__ = ('n',)\nt = T()\nt.n = 1",
        "t.n = 2",
        "t.n",
        "constant t changed",
    ),
    "a context manager": (
        "from contextlib import contextmanager\n@contextmanager\ndef cm():\n    yield 1",
        "@contextmanager\ndef cm():\n    yield 2",
        "cm().__enter__()",
        None,
    ),
    "a nested function": (
        "def f():\n    def g(): return RATE\n    return g()\nRATE = 1",
        "RATE = 2",
        "f()",
        "constant RATE changed",
    ),
    "a comprehension": (
        "RATE = 1\ndef f(): return [RATE for _ in 'ab'][0]",
        "RATE = 2",
        "f()",
        "constant RATE changed",
    ),
    "a pattern": ("import re\nP = re.compile('a+')", "P = re.compile('b+')", "P.pattern", "constant P changed"),
    "a date": ("import datetime\nD = datetime.date(2020, 1, 1)", "D = datetime.date(2021, 1, 1)", "D.year", None),
    "a zone": (
        "import datetime, zoneinfo\nZ = zoneinfo.ZoneInfo('Europe/Berlin')",
        "Z = zoneinfo.ZoneInfo('UTC')",
        "str(Z)",
        None,
    ),
    "a name that was missing": (
        "def f():\n    try:\n        return EXTRA\n    except NameError:\n        return 0",
        "EXTRA = 1",
        "f()",
        None,
    ),
    "a builtin replaced": ("def f(): return len('ab')", "len = lambda text: 7", "f()", None),
    "a module's function replaced": (
        "import json\nold = json.dumps",
        "json.dumps = lambda value: 'mine'",
        "json.dumps(1)",
        None,
    ),
    "the decimal context": (
        "import decimal",
        "decimal.getcontext().prec = 5",
        "str(decimal.Decimal(1) / 3)",
        "the decimal context changed",
    ),
}


@pytest.mark.parametrize(("before", "edit", "result", "why"), REACHED.values(), ids=list(REACHED))
def test_a_step_runs_again_when_what_it_reaches_changed(
    cells: Cells, before: str, edit: str, result: str, why: str | None
) -> None:
    """And not when nothing did; the caption names the culprit."""
    import decimal
    import json

    dumps, context = json.dumps, decimal.getcontext().copy()
    try:
        cells.run("from data_engine import Flow").run(before)
        cells.run(f"def step(context): return {result}")
        cells.run("def build(): return Flow(group='G', name='f').step(step, save_as='s')")
        first = cells.preview()
        assert cells.preview() == first
        assert ran() == []
        cells.run(edit)

        second = cells.preview()
        assert ran() == ["s"]
        assert (second, type(second), str(second)) != (first, type(first), str(first))
        if why is not None:
            assert reasons()["s"] == why
        cells.preview()
        assert ran() == []
    finally:
        json.dumps = dumps
        decimal.setcontext(context)


def test_a_name_nobody_reaches_changes_nothing(cells: Cells) -> None:
    cells.run(THREE).run("OTHER = 1\ndef unused(): return OTHER").preview()
    cells.run("OTHER = 2\ndef unused(): return 3").preview()

    assert ran() == []


HELPER = "import os.path\nRATE = {rate}\ndef rate():\n    return RATE\ndef other():\n    return {other}\n"
FLOW = """
    from data_engine import Flow
    {imports}
    def step(context):
        {inside}
        return {call}
    def build():
        return Flow(group="G").step(step, save_as="s")
"""
IMPORTS = {
    "from the module": ("from flow_helpers.rates import rate", "pass", "rate()"),
    "the module": ("import flow_helpers.rates", "pass", "flow_helpers.rates.rate()"),
    "the module by another name": ("import flow_helpers.rates as r", "pass", "r.rate()"),
    "from the package": ("from flow_helpers import rates", "pass", "rates.rate()"),
    "inside the step": ("", "from flow_helpers.rates import rate", "rate()"),
    "inside the step, the module": ("", "import flow_helpers.rates as r", "r.rate()"),
    "inside the step, from the package": ("", "from flow_helpers import rates", "rates.rate()"),
    "by importlib": ("import importlib\nr = importlib.import_module('flow_helpers.rates')", "pass", "r.rate()"),
    "by name only": ("import flow_helpers.rates as r", "pass", "getattr(r, 'ra' + 'te')()"),
}


@pytest.mark.parametrize(("imports", "inside", "call"), IMPORTS.values(), ids=list(IMPORTS))
def test_a_helper_module_counts_by_what_is_used_of_it(ws, imports: str, inside: str, call: str) -> None:  # type: ignore[no-untyped-def]
    """However it is imported; another function of it counts only when the module is handed on as a whole."""
    from textwrap import indent

    from data_engine import load_flow

    ws.helper("rates", HELPER.format(rate=1, other=1))
    ws.module("f", FLOW.format(imports=indent(imports, "    ").strip(), inside=inside, call=call))

    def preview() -> object:
        return load_flow("f", data_root=ws.root).preview()

    assert preview() == 1
    preview()
    assert ran() == []
    ws.helper("rates", HELPER.format(rate=1, other=2))
    preview()
    assert ran() == (["s"] if "getattr" in call else [])
    ws.helper("rates", HELPER.format(rate=2, other=2))
    assert preview() == 2
    assert ran() == ["s"]


def test_two_lambdas_exchanged_are_a_change(cells: Cells) -> None:
    cells.run("from data_engine import Flow\nfs = [lambda: 1, lambda: 2]\ndef step(context): return fs[0]()")
    cells.run("def build(): return Flow(group='G', name='f').step(step)")
    assert cells.preview() == 1
    cells.run("fs.reverse()")

    assert cells.preview() == 2


def test_the_options_of_a_step_count(cells: Cells) -> None:
    cells.run("from data_engine import Flow\ndef half(x): return 10 / x")
    cells.run("def build(): return Flow(group='G', name='f').step(lambda context: [1, 2]).map(half, save_as='m')")
    cells.preview()
    cells.run(
        "def build(): return Flow(group='G', name='f').step(lambda context: [1, 2])"
        ".map(half, save_as='m', on_error='collect')"
    )
    cells.preview()

    assert reasons()["m"] == "its options changed"


def test_params_and_the_working_directory_count(cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells.run("from data_engine import Flow\nfrom pathlib import Path")
    cells.run("def step(context): return (context.params.get('n'), Path('x').absolute())")
    cells.run("def build(): return Flow(group='G', name='f').step(step, save_as='s')")
    assert cells.preview(params={"n": 1})[0] == 1
    assert cells.preview(params={"n": 2})[0] == 2
    assert reasons()["s"] == "params changed"
    assert cells.preview(params={"n": [2]})[0] == [2]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert cells.preview(params={"n": 1})[1].parent == tmp_path / "elsewhere"


@pytest.mark.parametrize("version", ["0.1", "9.9"])
def test_a_library_counts_by_its_version(cells: Cells, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries do not change in a process; their version is part of the key all the same."""
    from data_engine.engine.access.code import version_of
    from data_engine.engine.memo.fingerprint import code_fingerprint

    version_of.cache_clear()
    monkeypatch.setattr("tomlkit.__version__", version)
    cells.run("import tomlkit\nfrom data_engine import Flow\nflow = Flow(group='G').step(lambda c: tomlkit.dumps({}))")

    assert code_fingerprint(cells.names["flow"].steps[0]).parts["library tomlkit"] == version.encode()
    version_of.cache_clear()


READ_ELSEWHERE = {
    "the schema of a class": (
        "class Row: amount: {}",
        ("int", "float"),
        "sorted(map(str, Row.__annotations__.items()))",
    ),
    "a type of polars": (
        "import polars as pl\nclass Row: amount: {}",
        ("pl.Int64", "pl.Decimal(10, 2)"),
        "str(Row.__annotations__)",
    ),
    "the fields of a dataclass": (
        "import dataclasses\n@dataclasses.dataclass\nclass Row:\n    amount: {} = 1",
        ("int", "float"),
        "[str(one.type) for one in dataclasses.fields(Row)]",
    ),
    "the metadata of a field": (
        "import dataclasses\n@dataclasses.dataclass\nclass Row:\n    a: int = dataclasses.field(default=1, metadata=dict(unit={}))",
        ("'eur'", "'usd'"),
        "dataclasses.fields(Row)[0].metadata['unit']",
    ),
    "a typed dictionary": (
        "import typing\nclass Row(typing.TypedDict):\n    amount: {}",
        ("int", "float"),
        "str(typing.get_type_hints(Row))",
    ),
    "the annotations of a function": ("def rule(amount: {}): ...", ("int", "float"), "str(rule.__annotations__)"),
    "what a class matches": (
        "class Row:\n    __match_args__ = ({},)\n    a, b = 1, 2\ndef of(row):\n    match row:\n        case Row(x): return x",
        ("'a'", "'b'"),
        "of(Row())",
    ),
    "a docstring": ("def rule():\n    {}", ("'select 1'", "'select 2'"), "rule.__doc__"),
    "a docstring that is asked for": ("class Rule:\n    {}", ("'one'", "'two'"), "getattr(Rule, '__doc__')"),
    "what a bound method belongs to": ("def made(): return {}\nsize = made().__len__", ("[1]", "[1, 2]"), "size()"),
}


@pytest.mark.parametrize(("before", "edits", "result"), READ_ELSEWHERE.values(), ids=list(READ_ELSEWHERE))
def test_what_code_says_beside_what_it_does_counts_where_it_is_read(
    cells: Cells, before: str, edits: tuple[str, str], result: str
) -> None:
    cells.run("from data_engine import Flow").run(before.format(edits[0]))
    cells.run(
        f"def step(context): return {result}\ndef build(): return Flow(group='G', name='f').step(step, save_as='s')"
    )
    first = cells.preview()
    cells.run(before.format(edits[0]))
    assert cells.preview() == first
    assert ran() == []
    cells.run(before.format(edits[1]))
    assert cells.check() != first


def test_a_docstring_nobody_reads_does_not_count(cells: Cells) -> None:
    cells.run("from data_engine import Flow\ndef helper():\n    'one'\n    return 1")
    cells.run(
        "def step(context): return helper()\ndef build(): return Flow(group='G', name='f').step(step, save_as='s')"
    )
    cells.preview()
    cells.run("def helper():\n    'two'\n    return 1")
    cells.preview()
    assert ran() == []


@pytest.mark.parametrize(
    "change",
    [
        "RATES['a'] = 3 - RATES['a']",
        "RATES['b'].pop() if RATES['b'] else RATES['b'].append(1)",
        "global FACTOR; FACTOR = 3 - FACTOR",
        "rate.__defaults__ = (3 - rate.__defaults__[0],)",
        "rate.__kwdefaults__['y'] = 3 - rate.__kwdefaults__['y']",
        "Kind.factor = 3 - Kind.factor",
        "shop.RATE = 3 - shop.RATE",
        "cell = adder.__closure__[0]; cell.cell_contents = 3 - cell.cell_contents",
    ],
)
def test_what_a_step_changes_is_seen_by_the_helpers_of_all(
    cells: Cells, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though several steps reach it by the same helper, and every second time all is as it was before: the step runs each time, and so do those behind it."""
    shop = ModuleType("shop")
    exec("RATE = 1", vars(shop))
    monkeypatch.setitem(sys.modules, "shop", shop)
    kind = "Kind.factor" if "Kind" in change else "1"
    cells.run(f"""
        from data_engine import Flow
        import shop
        RATES, FACTOR = {{"a": 1, "b": []}}, 1
        class Kind:
            factor = 1
        def make(start):
            return lambda: start
        adder = make(1)
        def rate(x=1, *, y=1):
            return RATES["a"] + len(RATES["b"]) + FACTOR + x + y + {kind} + shop.RATE + adder()
        def first(context): return rate()
        def changes(context): {change}; return rate()
        def last(context): return rate()
        def build():
            return Flow(group="G", name="f").step(first, save_as="a").step(changes, save_as="b").step(last, save_as="c")
    """)

    for _ in range(4):
        assert cells.preview() == cells.names["rate"]()
        assert {"b", "c"} <= set(ran())


def test_a_module_that_code_only_mentions_is_not_imported(ws) -> None:  # type: ignore[no-untyped-def]
    """`import wsgiref` does not bring `wsgiref.validate`: a step that names it fails in a preview as it does in production."""
    import sys

    from data_engine import load_flow

    ws.helper("heavy", "LOADED = True")
    ws.module(
        "f",
        """
        import flow_helpers, wsgiref
        from data_engine import Flow
        def step(context):
            if not context.params:
                return [hasattr(flow_helpers, "heavy"), hasattr(wsgiref, "validate")]
            return flow_helpers.heavy.LOADED, wsgiref.validate.validator
        def build():
            return Flow(group="G").step(step, save_as="s")
        """,
    )

    assert load_flow("f", data_root=ws.root).preview() == [False, False]
    assert "wsgiref.validate" not in sys.modules
