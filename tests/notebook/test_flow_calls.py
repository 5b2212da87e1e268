"""Calls of a Flow that lose a step, or make steps in a loop that all take its last value, are told where they stand."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.notebook.compile import compile_notebook
from data_engine.notebook.flow_calls import doubtful_calls
from tests.support import WorkspaceFiles


def calls_in(body: str, name: str = "build") -> list[tuple[int, str, str]]:
    """Line, message and fix of what is doubtful in a function of this body; its first line is line 2."""
    text = f"def {name}():\n" + "\n".join(f"    {line}" for line in dedent(body).strip().splitlines())
    return [(call.line, call.message, call.fix) for call in doubtful_calls(ast.parse(text).body[0])]


@pytest.mark.parametrize(
    ("body", "lost", "fix"),
    [
        ("flow = Flow('A')\nflow.step(add)\nreturn flow", "step", "flow = flow.step(...)"),
        ("f = de.Flow('A').step(read)\nf.mirror(root='../out')\nreturn f", "mirror", "f = f.mirror(...)"),
        ("flow = base()\nflow.map(one).step(all)\nreturn flow", "step", "flow = flow.map(...)"),
        (
            "flow = base()\nflow.watch(mode='manual').step(x)\nreturn flow.step(y)",
            "trigger and step",
            "flow.watch(...)",
        ),
        (
            "flow: Flow = Flow('A')\nif late:\n    flow.expect(every='1d')\nreturn flow",
            "expectation",
            "flow.expect(...)",
        ),
        (
            "flow = Flow('A')\nplus = flow.step(add)\nreturn flow",
            "step",
            "return `plus`, which nothing reads, or write",
        ),
        ("flow = Flow('A')\nplus: Flow = flow.step(add)\nreturn flow", "step", "or write `flow = flow.step(...)`"),
        ("plus = Flow('A').mirror(root='x').step(add)\nreturn Flow('B')", "mirror and step", "return `plus`"),
        ("flow = Flow('A')\nout = flow\nflow = flow.step(add)\nreturn out", "step", "return `flow`, which nothing"),
        ("flow = Flow('A')\nfor s in 'ab':\n    plus = flow.step(s)\nreturn flow", "step", "return `plus`"),
    ],
)
def test_a_flow_that_nobody_keeps_loses_its_step(body: str, lost: str, fix: str) -> None:
    """Whatever gave the flow, wherever in the function the call stands."""
    [(_, message, told)] = calls_in(body)

    assert f"so this {lost} is lost" in message
    assert fix in told


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
        "flow = Flow('A')\nfor s in 'ab':\n    flow = flow.step(s)\nfor s in 'ab':\n    flow.show()\n    flow = flow.step(s)",
        "flow = Flow('A')\ndef whole():\n    return plus\nplus = flow.step(add)\nreturn whole()",
        "flow = Flow('A')\nplus = flow.step(add)\nreturn pick(**locals())",
        "global plus\nplus = Flow('A').step(add)\nreturn Flow('B')",
        "flow = Flow('A')\nself.plus = flow.step(add)\n_ = flow.step(add)\nreturn flow",
        "flow = one = Flow('A').step(add)\nreturn flow",
        "return (plus := Flow('A').step(add))",
    ],
)
def test_nothing_is_said_of_flows_that_are_kept_and_of_other_objects(body: str) -> None:
    """A word of these would be false, or a guess."""
    assert calls_in(body) == []


def test_in_another_function_only_what_the_text_shows_is_a_flow() -> None:
    """What it returns may be anything there."""
    assert calls_in("report = load()\nreport.step(1)\nreturn report", "load_report") == []
    assert len(calls_in("flow = Flow('A')\nflow.step(1)\nreturn flow", "base")) == 1


@pytest.mark.parametrize(
    ("body", "names", "fix"),
    [
        (
            "flow = Flow('A')\nfor s in 'ab':\n    flow = flow.step(lambda c: c.current[s], save_as=s)\nreturn flow",
            "`s`",
            "lambda c, s=s: ...",
        ),
        (
            "flow = Flow('A')\nfor s in 'ab':\n    def add(context):\n        return s\n    flow = flow.step(add)\nreturn flow",
            "`s`",
            "def add(context, s=s):",
        ),
        (
            "flow = base()\nfor a, b in pairs:\n    up = a.upper()\n    for d in 'xy':\n"
            "        flow = flow.map(lambda item: (item, up, b, d))\nreturn flow",
            "`b`, `d`, `up`",
            "lambda item, b=b, d=d, up=up: ...",
        ),
    ],
)
def test_steps_of_a_loop_that_read_its_names_late_are_told_once(body: str, names: str, fix: str) -> None:
    """All of them read a name when they run, so the last value of the loop."""
    [(_, message, told)] = calls_in(body)

    assert f"read {names} when they run" in message
    assert fix in told


@pytest.mark.parametrize(
    "step",
    [
        "lambda c, s=s: c.current[s]",
        "partial(add, s)",
        "make(s)",
        "lambda c: c.current[0]",
        "lambda s: s",
        "lambda c: [s for s in c.current]",
    ],
)
def test_nothing_is_said_of_steps_that_bind_what_they_read(step: str) -> None:
    """Each has its own value."""
    assert calls_in(f"flow = Flow('A')\nfor s in 'ab':\n    flow = flow.step({step}, save_as=s)\nreturn flow") == []


CELL = """
from data_engine import Flow

def one(context):
    return [1]

def plus(context):
    return [2]

def build():
    flow = Flow(group="G").step(one, save_as="a")
    flow.step(plus, save_as="b")
    for s in ["x", "y"]:
        flow = flow.step(lambda c: s, save_as=s)
    return flow
"""


@pytest.mark.parametrize("kind", ["notebook", "module"])
def test_compile_and_deploy_tell_both(ws: WorkspaceFiles, kind: str) -> None:
    """Of a notebook with the cell, of a module with its file; the fixes they name give what was meant."""
    getattr(ws, kind)("claims", CELL)
    [entry] = Workspace(ws.root).deploy("claims")
    told = "\n".join(entry.warnings)

    assert "flow.step(plus, save_as='b')" in told
    assert "all of them take the last value" in told
    assert f"claims.{'ipynb, cell 1' if kind == 'notebook' else 'py'}, line 11: build() drops" in told


def test_the_fixes_are_compiled_and_give_what_was_meant(ws: WorkspaceFiles) -> None:
    """A default binds the value in production too."""
    path = ws.notebook(
        "claims", CELL.replace("    flow.step(", "    flow = flow.step(").replace("lambda c:", "lambda c, s=s:")
    )
    flow = Workspace(ws.root).load_flow("claims")

    assert compile_notebook(path).warnings == ()
    assert [flow.preview(use=name) for name in ("b", "x", "y")] == [[2], "x", "y"]


def test_a_preview_of_what_a_lost_step_saves_names_that_step(ws: WorkspaceFiles) -> None:
    """Not "add save_as": it has it."""
    ws.notebook("claims", CELL)
    with pytest.raises(FlowValidationError) as caught:
        Workspace(ws.root).load_flow("claims").preview(use="b")

    assert "drops what `flow.step(plus, save_as='b')` gives" in caught.value.what
    assert caught.value.fix == "write `flow = flow.step(...)` in line 3 of build()"


def test_a_preview_in_a_kernel_tells_it_below_the_result(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its build() comes from a cell, which nothing has compiled."""
    from tests.engine.test_in_a_kernel import run_in_kernel

    path: Path = ws.notebook("claims", CELL, "build().preview()", "build().preview(use='b')")
    _, shown, failed = run_in_kernel(path, monkeypatch)

    assert "so this step is lost" in shown
    assert "read `s` when they run" in shown
    assert "write `flow = flow.step(...)` in line 3 of build()" in failed
