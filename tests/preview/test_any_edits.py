"""Whatever is edited in whatever order, a preview gives what a run of every step gives."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_engine import load_flow
from data_engine.engine.preview import clear_preview_cache
from tests.preview.conftest import reasons
from tests.support import WorkspaceFiles, examples_on_files

BODIES = [
    "len(read(context))",
    "RATE",
    "[RATE, *tail(context)]",
    "rate() + 1",
    "context.config.require('rates')['rate']",
    "(context.source.path.name, read(context))",
    "{'rate': rate(), 'was': context.current}",
    "pl.DataFrame({'a': [RATE, rate()]})",
    "pl.LazyFrame({'a': [RATE]})",
    "context.current",
    "str(context.current)",
    "sorted(context.objects)",
    "(context.objects.get('s0'), RATE)",
    "change(context.current)",
    "change(context.objects.get('s0'))",
    "iter([RATE, rate()])",
    "write(context)",
    "look(context)",
    "Path(FOLDER, 'da' + 'ta').read_text()",
    "context.params.get('n', RATE)",
]
HELPER = "RATE = {rate}\ndef rate():\n    return deep() * {factor}\ndef deep():\n    return RATE\n"
MODULE = """
from pathlib import Path
import polars as pl
from data_engine import Flow
from flow_helpers.rates import rate
RATE = {rate}
FOLDER = {folder!r}
def read(context): return context.source.path.read_text()
def tail(context): return [str(context.current)][-1:]
def change(value):
    if isinstance(value, list): value.append({rate})
    if isinstance(value, dict): value["changed"] = {rate}
    if isinstance(value, pl.DataFrame): value.columns = ["b"]
    return str(type(value).__name__)
def write(context):
    path = context.mirror.with_suffix(".txt")
    path.write_text(str(rate()))
    return path
def look(context):
    path = context.mirror.with_suffix(".txt")
    return path.read_text() if path.exists() else None
{steps}
def build():
    flow = Flow(group="G").watch(mode="manual", source="../in").mirror(root="../out")
    return flow{chain}
"""

EDITS = st.one_of(
    st.tuples(st.just("rate"), st.integers(1, 3)),
    st.tuples(st.just("helper rate"), st.integers(1, 3)),
    st.tuples(st.just("factor"), st.integers(1, 3)),
    st.tuples(st.just("config"), st.integers(1, 3)),
    st.tuples(st.just("source"), st.sampled_from(["a", "b", "cc"])),
    st.tuples(st.just("data"), st.sampled_from(["1", "2"])),
    st.tuples(st.just("output gone"), st.just(0)),
    st.tuples(st.just("body"), st.tuples(st.integers(0, 3), st.sampled_from(BODIES))),
    st.tuples(st.just("use"), st.tuples(st.integers(1, 3), st.sampled_from([None, "s0", "s1"]))),
    st.tuples(st.just("n"), st.integers(0, 1)),
    st.tuples(st.just("nothing"), st.just(0)),
)


class Notebook:
    """A flow of four steps with its helper, config and files."""

    def __init__(self, root: Path, bodies: list[str]) -> None:
        self.ws = WorkspaceFiles(root)
        self.facts: dict[str, Any] = {
            "rate": 1,
            "helper rate": 1,
            "factor": 1,
            "config": 1,
            "source": "a",
            "data": "1",
            "n": 0,
        }
        self.bodies = bodies
        self.uses: list[str | None] = [None] * 4
        self.write()

    def edit(self, what: str, value: Any) -> None:
        if what == "body":
            self.bodies[value[0]] = value[1]
        elif what == "use":
            self.uses[value[0]] = value[1] if value[1] is None or int(value[1][1]) < value[0] else None
        elif what == "output gone":
            (self.ws.root / "out/a.txt").unlink(missing_ok=True)
        else:
            self.facts[what] = value
        self.write()

    def write(self) -> None:
        facts, ws = self.facts, self.ws
        steps = "\n".join(f"def step{n}(context):\n    return {body}" for n, body in enumerate(self.bodies))
        chain = "".join(f".step(step{n}, save_as='s{n}', use={use!r})" for n, use in enumerate(self.uses))
        ws.source("data", facts["data"])
        ws.source("in/a.csv", facts["source"])
        ws.source("config/rates.toml", f"rate = {facts['config']}")
        ws.helper("rates", HELPER.format(rate=facts["helper rate"], factor=facts["factor"]))
        ws.module("f", MODULE.format(rate=facts["rate"], folder=str(ws.root), steps=steps, chain=chain))

    def preview(self, use: str, *, fresh: bool) -> str:
        value = load_flow("f", data_root=self.ws.root).preview(use=use, fresh=fresh, params={"n": self.facts["n"]})
        if type(value).__name__ == "LazyFrame":
            value = value.collect()
        text = str(list(value)) if type(value).__name__ == "list_iterator" else repr(value)
        return re.sub(r"0x[0-9A-Fa-f]+", "", text)


@settings(max_examples=examples_on_files(15), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    bodies=st.lists(st.sampled_from(BODIES), min_size=4, max_size=4),
    edits=st.lists(st.tuples(EDITS, st.sampled_from(["s3", "s3", "s2", "s1"])), min_size=1, max_size=7),
)
def test_a_preview_equals_a_fresh_one(bodies: list[str], edits: list[tuple[tuple[str, Any], str]]) -> None:
    """After each of a series of edits; files are looked at before the fresh run can write any."""
    clear_preview_cache()
    with tempfile.TemporaryDirectory() as folder:
        notebook = Notebook(Path(folder).resolve() / "ws", list(bodies))
        for edit, use in edits:
            notebook.edit(*edit)
            out = notebook.ws.root / "out/a.txt"
            before = out.read_text() if out.exists() else None
            seen = notebook.preview(use, fresh=False)
            made = reasons()
            if before is None:
                out.unlink(missing_ok=True)
            elif out.read_text() != before:
                out.write_text(before)
            assert seen == notebook.preview(use, fresh=True), (notebook.bodies, notebook.uses, notebook.facts, made)
