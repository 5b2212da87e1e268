"""Statements that make another Flow and keep it nowhere are told where they stand."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

import pytest

from data_engine import Workspace
from data_engine.notebook.compile import compile_notebook
from data_engine.notebook.mistakes import dropped_calls
from tests.support import WorkspaceFiles


def calls_in(body: str, name: str = "build") -> list[tuple[int, str, str]]:
    """Line, message and fix of what is dropped in a function of this body; its first line is line 2."""
    text = f"def {name}():\n" + "\n".join(f"    {line}" for line in dedent(body).strip().splitlines())
    return [(call.line, call.message, call.fix) for call in dropped_calls(ast.parse(text).body[0])]


@pytest.mark.parametrize(
    ("body", "fix"),
    [
        ("flow = Flow('A')\nflow.step(add)\nreturn flow", "write `flow = flow.step(...)`"),
        ("f = de.Flow('A').step(read)\nf.mirror(root='../out')\nreturn f", "write `f = f.mirror(...)`"),
        ("flow = base()\nflow.map(one).step(all)\nreturn flow", "write `flow = flow.map(...)`"),
        ("flow = base()\nflow.watch(mode='manual').step(x)\nreturn flow.step(y)", "write `flow = flow.watch(...)`"),
        (
            "flow: Flow = Flow('A')\nif late:\n    flow.expect(every='1d')\nreturn flow",
            "write `flow = flow.expect(...)`",
        ),
        ("Flow('A').step(read)\nreturn Flow('B')", "give it a name, or return it"),
    ],
)
def test_a_flow_that_nobody_keeps_loses_its_step(body: str, fix: str) -> None:
    """Whatever gave the flow, wherever in the function the call stands."""
    [(_, message, offered)] = calls_in(body)

    assert "a Flow does not change" in message
    assert offered == fix


@pytest.mark.parametrize(
    "body",
    [
        "flow = Flow('A')\nflow = flow.step(add)\nreturn flow",
        "flow = Flow('A')\nreturn flow.step(add)",
        "flow = Flow('A')\nflow.preview()\nreturn flow",  # another verb gives no flow
        "other = make()\nother.step(add)\nreturn Flow('A').step(read)",  # nobody knows what it is
        "frame.collect()\nreturn Flow('A').step(read)",
        "def inner(flow):\n    flow.step(add)\nreturn Flow('A').step(inner)",
        "flow = Flow('A')\nplus = flow.step(add)\nreturn plus.step(more)",
        "flow = Flow('A')\nplus = flow.step(add)\nreturn finished(plus)",
        "flow = Flow('A')\nplus = flow.step(add)\nplus.preview()\nreturn flow",
        "flow = Flow('A')\nplus = flow.step(add)\nif late:\n    flow = plus\nreturn flow",
    ],
)
def test_nothing_is_said_of_flows_that_are_kept_and_of_other_objects(body: str) -> None:
    """A word of these would be false, or a guess."""
    assert calls_in(body) == []


def test_in_another_function_only_what_the_text_shows_is_a_flow() -> None:
    """What it returns may be anything there."""
    assert calls_in("report = load()\nreport.step(1)\nreturn report", "load_report") == []
    assert len(calls_in("flow = Flow('A')\nflow.step(1)\nreturn flow", "base")) == 1


CELL = """
from data_engine import Flow

def one(context):
    return [1]

def plus(context):
    return [2]

def build():
    flow = Flow(group="G").step(one, save_as="a")
    flow.step(plus, save_as="b")
    return flow
"""


@pytest.mark.parametrize("kind", ["notebook", "module"])
def test_compile_and_deploy_tell_it(ws: WorkspaceFiles, kind: str) -> None:
    """Of a notebook with the cell, of a module with its file; the fixes they name give what was meant."""
    getattr(ws, kind)("claims", CELL)
    [entry] = Workspace(ws.root).deploy("claims")
    told = "\n".join(entry.warnings)

    assert "flow.step(plus, save_as='b')" in told
    assert f"claims.{'ipynb, cell 1' if kind == 'notebook' else 'py'}, line 11: build() drops" in told


def test_the_fix_is_compiled_and_gives_what_was_meant(ws: WorkspaceFiles) -> None:
    """The step is there."""
    path = ws.notebook("claims", CELL.replace("    flow.step(", "    flow = flow.step("))
    flow = Workspace(ws.root).load_flow("claims")

    assert compile_notebook(path).warnings == ()
    assert flow.preview(use="b") == [2]


def test_a_preview_in_a_kernel_tells_it_below_the_result(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its build() comes from a cell, which nothing has compiled."""
    from tests.engine.test_in_a_kernel import run_in_kernel

    path: Path = ws.notebook("claims", CELL, "build().preview()")
    _, shown = run_in_kernel(path, monkeypatch)

    assert "build() drops what `flow.step(plus, save_as='b')` gives" in shown
