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


def differences(deployed: Iterable[str], cells: Sequence[str], saved: Iterable[str] = ()) -> tuple[str, ...]:
    """What the cells run in a kernel hold otherwise than production: names that they define otherwise, each with its `In` number,
    and the `In` number of a statement that binds no name, which production needs as the notebook is `saved`, not as it is deployed.

    `deployed` and `saved` are the statements that production needs, `cells[n]` is what ran as `In [n]`. Comments and layout are no
    difference; of a name that no cell has defined, and of an edit that has not run, nothing is said.

    Example:
        >>> differences(["RATE = 0.19", "def net(x): return x * RATE"], ["", "RATE = 0.2", "def net(x):  return x*RATE"])
        ('RATE (In [1])',)
        >>> differences(["NAMES = []"], ["", "NAMES = []", "NAMES.append(1)"], ["NAMES = []", "NAMES.append(1)", "NAMES.pop()"])
        ('In [2]',)
    """
    defined: dict[str, tuple[int, str]] = {}
    effects: dict[str, int] = {}
    for number, text in enumerate(cells):
        for names, dump in _statements(text):
            defined.update(dict.fromkeys(names, (number, dump)))
            if not names:
                effects[dump] = number
    wanted = [one for text in deployed for one in _statements(text)]
    needed = {name: dump for names, dump in wanted for name in names}
    changed = [
        (defined[name][0], name) for name, dump in needed.items() if name in defined and defined[name][1] != dump
    ]
    new = {dump for text in saved for names, dump in _statements(text) if not names} - {dump for _, dump in wanted}
    changed += [(effects[dump], "") for dump in new if dump in effects]
    return tuple(f"{name} (In [{number}])" if name else f"In [{number}]" for number, name in sorted(set(changed)))


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
def _statements(text: str) -> tuple[tuple[tuple[str, ...], str], ...]:
    """The top-level statements, each with the names that it binds."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return ()
    return tuple((tuple(_bound(node)), ast.dump(node)) for node in body)


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
