"""Notebooks made from a seed: streams, fits, changes in place, helpers with `global`, aliases, closures, loops.

`tests/proof/oracle.py` runs each whole and as its slice.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

PRELUDE = """\
import copy, functools, itertools, operator, random
from collections import defaultdict
from functools import partial
import polars as pl
from tests.notebook.small_tools import Mean, Table, countdown, double, total, train
random.seed(1)"""

HELPERS = [
    "N = 1\ndef count_up(step=1):\n    global N\n    N += step\n    return N",
    "CFG = {'rate': 1}\ndef configure(rate):\n    global CFG\n    CFG = {'rate': rate}",
    "CFG2 = {'rate': 1}\ndef set_rate(rate):\n    CFG2['rate'] = rate\n    return rate",
    "def clean(t):\n    t.drop('a', inplace=True)\n    return t",
    "def clean_copy(t):\n    t = t.copy()\n    t['z'] = [1]\n    return t",
    "def add(to, item):\n    to.append(item)\n    return item",
    "def add_twice(to, item):\n    add(to, item)\n    inner = to\n    inner.append(item)",
    "def look(xs):\n    return sum(xs)",
    "def refit(m, xs):\n    return m.fit(xs).predict(1)",
    "def remember(x, acc=[]):\n    acc.append(x)\n    return list(acc)",
    "def make_counter():\n    n = 0\n    def step(by=1):\n        nonlocal n\n        n += by\n        return n\n    return step",
    "def make_box():\n    rows = []\n    def put(x):\n        rows.append(x)\n    def get():\n        return list(rows)\n    return put, get",
    "def numbers(n):\n    for i in range(n):\n        yield i",
    "def draw():\n    return random.random()",
    "def draw_from(g):\n    return g.random()",
    "def apply_to(f, x):\n    return f(x)",
    "K = 1\n@functools.cache\ndef scaled(x):\n    return x * K\ndef set_k(k):\n    global K\n    K = k",
    "@functools.lru_cache\ndef kept_list(x):\n    return [x]",
    "class Count:\n    seen = []\n    def __get__(self, me, owner):\n        Count.seen.append(1)\n        return len(Count.seen)",
    "class Page:\n    hits = Count()\npage = Page()",
    "class Log:\n    lines = []\n    def __init__(self, rows):\n        self.rows = rows\n    def write(self, x):\n        self.rows.append(x)\n    def note(self, x):\n        Log.lines.append(x)\n    def size(self):\n        return len(self.rows)",
]  # fmt: skip

READ = {
    "list": "{}", "dict": "{}", "num": "{}", "table": "{}", "rng": "{}.random()", "iter": "list({})", "model": "{}.predict(2)",
    "step": "{}()", "get": "{}()", "log": "({0}.rows, {0}.lines)", "frame": "{}.rows()", "defaults": "dict({})", "set": "sorted({})",
    "nested": "{}",
}  # fmt: skip
"""How each kind of variable is read as a value."""

# kind of the new variable ("" for none), what it needs, text. `{v}` is the new variable, `{kind}` one that is there, `$` an int.
TEMPLATES: list[tuple[str, str]] = [
    ("list", "{v} = [$, $, $]"), ("list", "{v} = {list}"), ("list", "{v} = {list}[:2]"), ("list", "{v} = list({list})"),
    ("list", "{v} = sorted({list})"), ("list", "{v} = {table}['a']"), ("list", "{v} = [x + {num} for x in {list}]"),
    ("dict", "{v} = {{'rows': {list}, 'n': {num}}}"), ("dict", "{v} = {dict}"), ("dict", "{v} = dict({dict})"),
    ("dict", "{v} = copy.copy({dict})"), ("dict", "{v} = copy.deepcopy({dict})"),
    ("num", "{v} = $"), ("num", "{v} = {num} + $"), ("num", "{v} = sum({list})"), ("num", "{v} = len({list})"),
    ("num", "{v} = {rng}.random()"), ("num", "{v} = random.random()"), ("num", "{v} = draw()"), ("num", "{v} = draw_from({rng})"),
    ("num", "{v} = {model}.predict({num})"), ("num", "{v} = {model}.fit({list}).predict($)"), ("num", "{v} = train({model}, {list})"),
    ("num", "{v} = refit({model}, {list})"), ("num", "{v} = next({iter}, 0)"), ("num", "{v} = sum({iter})"),
    ("num", "{v} = count_up()"), ("num", "{v} = N"), ("num", "{v} = CFG['rate']"), ("num", "{v} = CFG2['rate']"),
    ("num", "{v} = set_rate($)"), ("num", "{v} = add({list}, $)"), ("num", "{v} = {step}()"), ("num", "{v} = total({list})"),
    ("num", "{v} = {log}.size()"), ("num", "{v} = look({list})"), ("num", "{v} = apply_to({step}, $)"),
    ("num", "{v} = apply_to(look, {list})"), ("num", "{v} = {frame}['x'].sum()"), ("num", "{v} = {frame}.height"),
    ("num", "{v} = {dict}.get('n', 0)"), ("num", "{v} = max({list}, default=0)"), ("num", "{v} = {dict}.pop('n', 3)"),
    ("num", "{v} = len({defaults}[$])"), ("num", "{v} = ({list}.append($), $)[1]"), ("num", "{v} = {list}.pop() if {list} else 0"),
    ("table", "{v} = Table(a=[$, $], b={list})"), ("table", "{v} = {table}"), ("table", "{v} = {table}.copy()"),
    ("table", "{v} = {table}.head()"), ("table", "{v} = clean({table})"), ("table", "{v} = clean_copy({table})"),
    ("table", "{v} = {table}.drop('a')"),
    ("rng", "{v} = random.Random($)"), ("rng", "{v} = {rng}"),
    ("iter", "{v} = iter({list})"), ("iter", "{v} = (x * 2 for x in {list})"), ("iter", "{v} = zip({list}, {list})"),
    ("iter", "{v} = map(abs, {list})"), ("iter", "{v} = numbers(4)"), ("iter", "{v} = countdown(4)"),
    ("iter", "{v} = itertools.chain({list}, {iter})"), ("iter", "{v} = enumerate({iter})"),
    ("model", "{v} = Mean($)"), ("model", "{v} = {model}"), ("model", "{v} = {model}.fit({list})"), ("model", "{v} = Mean({num}).fit({list})"),
    ("model", "{v} = copy.deepcopy({model})"),
    ("step", "{v} = make_counter()"), ("step", "{v} = {step}"), ("step", "{v} = partial({step}, $)"), ("step", "{v} = lambda: {step}($)"),
    ("log", "{v} = Log({list})"), ("log", "{v} = {log}"), ("log", "{v} = Log([])"),
    ("frame", "{v} = pl.DataFrame({{'x': [$, $, $]}})"), ("frame", "{v} = {frame}"), ("frame", "{v} = {frame}.sort('x')"),
    ("frame", "{v} = {frame}.with_columns(y=pl.col('x') + $)"), ("frame", "{v} = {frame}.clone()"),
    ("defaults", "{v} = defaultdict(list)"), ("defaults", "{v} = {defaults}"), ("set", "{v} = {{$, $}}"), ("set", "{v} = set({list})"),
    ("nested", "{v} = [{list}, {list}]"), ("nested", "{v} = ({list}, [$])"), ("nested", "{v} = {nested}"),
    ("list", "{v} = {nested}[0]"), ("list", "{v}, w = {nested}"), ("list", "{v} = {dict}['rows']"), ("list", "{v} = {log}.rows"),
    ("list", "{v} = {list} if {num} > 3 else {list}"), ("list", "{v} = {model}.fit_predict({list})"), ("list", "{v} = remember($)"),
    ("list", "{v} = [{rng}.random() for _ in range(2)]"), ("list", "{v} = list({iter})"), ("list", "{v} = [add({list}, x) for x in range(2)]"),
    ("list", "{v} = {get}()"), ("list", "{v} = {defaults}[$]"), ("list", "{v} = {rng}.sample({list}, min(2, len({list})))"),
    ("", "{list}.append($)"), ("", "{list}.sort()"), ("", "{list}[:1] = [$]"), ("", "{list} += [$]"), ("", "del {list}[:1]"),
    ("", "double({list})"), ("", "random.shuffle({list})"), ("", "{rng}.shuffle({list})"), ("", "{dict}['rows'].append($)"),
    ("", "{dict}['k'] = {list}"), ("", "{dict}.update(k=$)"), ("", "{dict}['n'] = $"), ("", "{dict}.setdefault('rows', []).append($)"),
    ("", "{num} += 1"), ("", "random.seed($)"), ("", "random.random()"), ("", "{rng}.random()"), ("", "{rng}.seed($)"),
    ("", "draw()"), ("", "{model}.fit({list})"), ("", "print({model}.fit({list}).predict($))"), ("", "print({model}.predict($))"),
    ("", "{model}.seen.append($)"), ("", "next({iter}, None)"), ("", "print(list({iter}))"), ("", "for x in {iter}:\n    print(x)"),
    ("", "count_up()"), ("", "count_up({num})"), ("", "configure($)"), ("", "set_rate({num})"), ("", "print(count_up())"),
    ("", "for x in range(2):\n    add({list}, x)"), ("", "for x in range(2):\n    count_up()"), ("", "add({list}, $)"),
    ("", "add_twice({list}, $)"), ("", "remember($)"), ("", "print(remember($))"), ("", "{step}()"), ("", "print({step}())"),
    ("", "clean({table})"), ("", "clean_copy({table})"), ("", "{table}['c'] = {list}"), ("", "{table}.drop('b', inplace=True)"),
    ("", "_ = {table}.drop('a', inplace=True)"), ("", "{table}.drop('a')"), ("", "{table}.pop('a')"), ("", "{table}.sort()"),
    ("", "{table}.head()"), ("", "{table}['a'].append($)"), ("", "for t in [{table}, {table}]:\n    t['z'] = [$]"),
    ("", "for t in [{table}]:\n    t.pop('b')"), ("", "for row in {nested}:\n    row.append($)"), ("", "[row.append($) for row in {nested}]"),
    ("", "{nested}[0].append($)"), ("", "{log}.write($)"), ("", "{log}.note($)"), ("", "print({log}.size())"), ("", "apply_to({list}.append, $)"),
    ("", "list(map({list}.append, [$]))"), ("", "apply_to(lambda x: {list}.append(x), $)"), ("", "{frame}.head()"), ("", "{frame}.sort('x')"),
    ("", "{frame}.insert_column(0, pl.Series('q' + str({frame}.width), [0] * {frame}.height))"), ("", "print({frame})"),
    ("", "{defaults}[$]"), ("", "{defaults}[$].append($)"), ("", "globals()['{num}'] = $"), ("", "exec('{num} = $')"),
    ("", "if {num} > 2:\n    {list}.append($)"), ("", "try:\n    {list}.remove($)\nexcept ValueError:\n    pass"),
    ("", "with open('/dev/null') as f:\n    {list}.append($)"), ("", "{set}.add($)"), ("", "{set} |= {{$}}"), ("", "{set}.discard($)"),
    ("", "N = N + 1"), ("", "CFG2['rate'] = $"), ("", "CFG = {{'rate': $}}"), ("", "{num}, {num} = {num}, $"), ("", "print(sum({list}))"),
    ("", "f = {list}.append\nf($)"), ("", "setattr({model}, 'seen', [$])"), ("", "while {num} > 9:\n    {list}.append($)\n    break"),
    ("", "x = {dict}\nx['rows'] = {list}"), ("", "x = {nested}\nx += [{list}]"), ("", "f = {nested}.append\nf({list})"),
    ("", "setattr({log}, 'rows', {list})"), ("", "{nested}[0] = {list}"), ("", "{dict}.setdefault('more', []).append({list})"),
    ("", "g = {rng}\nprint(g.random())"), ("", "x = y = {list}\ny.append($)"), ("", "(x := {list}).append($)"),
    ("num", "{v} = scaled($)"), ("", "print(scaled({num}))"), ("", "K = K + $"), ("", "set_k($)"),
    ("list", "{v} = kept_list($)"), ("", "kept_list($).append($)"), ("", "partial(double, {list})()"), ("num", "{v} = partial(total, {list})()"),
    ("", "operator.methodcaller('append', $)({list})"), ("", "list(map(operator.methodcaller('append', $), {nested}))"),
    ("", "match {nested}:\n    case [first, *rest]:\n        first.append($)"), ("iter", "{v}, w = itertools.tee({iter})"),
    ("", "{table}.drop('b', **{{'inplace': True}})"), ("num", "{v} = page.hits"), ("", "print(page.hits)"),
    ("num", "{v} = 0\nfor x in range(3):\n    w = {rng}.random()\n    {v} += x"), ("num", "{v} = 0\nfor x in range(3):\n    w = {rng}.random()\n    {v} += w"),
    ("list", "{v} = []\nfor x in range(2):\n    w = draw()\n    {v}.append({num})"), ("list", "{v} = [$]\nif {num} > 1:\n    w = random.random()\n    {v} = [w]"),
    ("num", "{v} = 0\nfor x in range(4):\n    w = random.random()\n    if w > 0.5:\n        {v} += x"), ("", "for row in {nested}[:1]:\n    row.append($)"),
    ("", "for name, row in [('a', {list}), ('b', [$])]:\n    row.append($)"), ("", "one, n = pair = ({model}, $)\none.fit([n])"),
    ("", "pairs = (('a', {list}), ('b', {list}))\nfor name, row in pairs:\n    row.append($)"), ("", "pair = ({model}, $)\npair[0].fit({list})"),
    ("", "for name, row in {dict}.items():\n    if name == 'rows':\n        row.append($)"), ("", "first, second = ({list}, $)\nfirst.append(second)"),
    ("", "functools.reduce(lambda a, b: a.extend(b) or a, {nested})"), ("", "sorted({nested}, key=lambda row: row.append($) or 0)"),
    ("", "x = {list} if {num} > 3 else {dict}\nx.clear()"), ("", "x = ({list}, {table})\nx[1]['c'] = x[0]"), ("", "x = copy.copy({nested})\nx[0].append($)"),
    ("nested", "{v} = [{list}, {list}][:1] + [[$]]"), ("list", "{v} = {{'a': {list}, 'b': [$]}}['a']"), ("list", "{v} = [row for row in {nested}][-1]"),
    ("model", "{v} = ({model}, {table})[0]"), ("model", "{v} = {{'a': {model}}}.get('a')"), ("list", "{v} = min([{list}, [$]])"),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Generated:
    """A notebook whose `build()` gives one value."""

    seed: int
    cells: tuple[str, ...]


def generate(seed: int) -> Generated:
    """The notebook of a seed, always the same."""
    chance = random.Random(seed)
    known: dict[str, list[str]] = {}
    texts = [
        "a0 = [3, 1, 2]",
        "n0 = 2",
        "t0 = Table(a=[2, 1], b=[1])",
        "m0 = Mean(1)",
        "r0 = random.Random(7)",
        "i0 = iter([1, 2, 3])",
    ]
    texts += [
        "d0 = {'rows': [1], 'n': 1}",
        "e0 = [[1], [2]]",
        "s0 = make_counter()",
        "put, get = make_box()",
        "l0 = Log([])",
    ]
    texts += ["f0 = pl.DataFrame({'x': [2, 1]})", "g0 = defaultdict(list)", "h0 = {1, 2}"]
    starts = zip(("list", "num", "table", "model", "rng", "iter", "dict", "nested", "step", "get", "log", "frame", "defaults", "set"), texts, strict=True)  # fmt: skip
    used = [(kind, text) for kind, text in starts if chance.random() < 0.6 or kind in ("list", "num")]
    for kind, text in used:
        known[kind] = ["get" if kind == "get" else text.split(" = ")[0]]
    body = [text for _, text in used]
    for place in range(chance.randint(3, 12)):
        if "get" in known and chance.random() < 0.1:
            body.append(f"put({chance.randint(1, 5)})")
            continue
        made = _statement(chance, known, f"v{place}")
        if made:
            body.append(made)
    cells = [PRELUDE, "\n".join(HELPERS)]
    while body:
        size = chance.randint(1, 3)
        cells.append("\n".join(body[:size]))
        body = body[size:]
    kind = chance.choice([*known, "num", "list"])
    extra = chance.choice(
        [
            "",
            "",
            "",
            "N",
            "CFG",
            "CFG2",
            "Log.lines",
            "remember(9)",
            "random.random()",
            "draw()",
            "count_up()",
            "scaled(2)",
            "kept_list(2)",
            "page.hits",
        ]
    )
    value = READ[kind].format(chance.choice(known[kind]))
    cells.append(f"def build():\n    return [{', '.join(filter(None, (value, extra)))}]")
    return Generated(seed, tuple(cells))


def _statement(chance: random.Random, known: dict[str, list[str]], variable: str) -> str:
    """One statement over what is known; "" when a template needs what is not there."""
    kind, template = chance.choice(TEMPLATES)
    needed = set(re.findall(r"(?<!\{)\{(\w+)\}(?!\})", template)) - {"v"}
    if not needed <= known.keys():
        return ""
    text = re.sub(r"\$", lambda _: str(chance.randint(1, 5)), template)
    for name in sorted(needed):
        while f"{{{name}}}" in text:
            text = text.replace(f"{{{name}}}", chance.choice(known[name]), 1)
    is_again = kind and known.get(kind) and chance.random() < 0.15
    new = chance.choice(known[kind]) if is_again else variable
    text = text.replace("{v}", new).replace("{{", "{").replace("}}", "}")
    if kind and not is_again:
        known.setdefault(kind, []).append(variable)
    return text
