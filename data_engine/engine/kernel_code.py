"""Whether what ran in this kernel is what is deployed: an edit that was run and not saved is a difference, too. And what is
doubtful of the `build()` that a flow came from."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from inspect import unwrap
from typing import Any

from data_engine.flow.flow import Flow
from data_engine.flow.spec import Map
from data_engine.notebook.flow_calls import DoubtfulCall, doubtful_calls_of
from data_engine.workspace.here import kernel_shell


def differences(deployed: Iterable[str], cells: Sequence[str]) -> tuple[str, ...]:
    """The names that production needs and that the cells run in a kernel define otherwise, each with its `In` number.

    `deployed` are the statements that are deployed, `cells[n]` is what ran as `In [n]`. Comments and layout are no
    difference; of a name that no cell has defined nothing is said.

    Example:
        >>> differences(["RATE = 0.19", "def net(x): return x * RATE"], ["", "RATE = 0.2", "def net(x):  return x*RATE"])
        ('RATE (In [1])',)
    """
    ran: dict[str, tuple[int, str]] = {}
    for number, text in enumerate(cells):
        ran.update({name: (number, dump) for name, dump in _bindings(text)})
    wanted = {name: dump for text in deployed for name, dump in _bindings(text)}
    changed = {name: ran[name][0] for name, dump in wanted.items() if name in ran and ran[name][1] != dump}
    return tuple(f"{name} (In [{number}])" for name, number in sorted(changed.items(), key=lambda one: one[1]))


def cells_run() -> tuple[str, ...]:
    """What this kernel has run, by `In` number; empty outside of a kernel."""
    shell = kernel_shell()
    history = getattr(shell, "history_manager", None)
    return tuple(getattr(history, "input_hist_parsed", ()))


def doubtful_calls_in_build(flow: Flow, *, only_here: bool = False) -> list[DoubtfulCall]:
    """The doubtful calls in the `build()` that stands beside the flow's steps; with `only_here` where this kernel's cells define it."""
    cells = getattr(kernel_shell(), "user_ns", {})
    places = [_globals_of(step.fn) for step in flow.steps] or [cells]
    beside = next((names for names in places if callable(names.get("build"))), None)
    if beside is None or (only_here and beside is not cells):
        return []
    return doubtful_calls_of(beside["build"])


def _globals_of(fn: Any) -> dict[str, Any]:
    fn = fn.fn if isinstance(fn, Map) else fn
    while isinstance(fn, partial):
        fn = fn.func
    return getattr(unwrap(fn), "__globals__", {})


@lru_cache(maxsize=5000)  # each preview asks again of every cell that the kernel has run
def _bindings(text: str) -> tuple[tuple[str, str], ...]:
    """The names that top-level statements bind, each with its statement."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return ()
    return tuple(bound for node in body for bound in _bound(node))


def _bound(node: ast.stmt) -> Iterator[tuple[str, str]]:
    names: list[str] = []
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        names = [node.name]
    elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        names = [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    yield from ((name, ast.dump(node)) for name in names)
