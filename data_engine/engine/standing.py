"""How the code that a flow would run with compares with what is deployed of it: the caption of a preview says it, and a run of an edit
needs a yes."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.memo.caption import show_caption
from data_engine.engine.stale import stale_helpers
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow, Shape
from data_engine.formatting import cli_line
from data_engine.record import frozen
from data_engine.workspace.layout import kernel_shell


@frozen
class Standing:
    """How the code of a flow compares with its deployment; nothing else is known of one that is not deployed.

    `differs` names what is not as it is deployed: cells, helpers, or names with the `In` number that defined them. `text` says it in
    a line, "" where nothing differs. With `in_cells` what ran in this kernel was compared, and not the file; `saved` are the statements
    that production would run of the notebook as it is saved, and `is_behind` says that the kernel holds an earlier form of an edited helper.
    """

    is_deployed: bool = True
    differs: tuple[str, ...] = ()
    text: str = ""
    in_cells: bool = False
    saved: tuple[str, ...] = ()
    is_behind: bool = False


def standing_of(
    home: LocalWorkspace, flow: Flow, *, is_loaded: bool, stale: Collection[Path] | None = None
) -> Standing | None:
    """The standing of a settled flow; None where its notebook is gone.

    Of a flow that cells of a kernel made, and that is not `is_loaded` from its file, the code that ran counts, else the file as it is
    now, but of a flow of a deployed set that set. Edited helpers that are `stale`, so that the kernel holds an earlier form of them, are left out.
    """
    name, deployments = flow.name or "", home.deployments()
    if flow._set is not None:
        return Standing()
    if kernel_shell() is not None and not is_loaded:
        deployed, saved = deployments.statements(name)
        if deployed:
            older = {helper.path for helper in stale_helpers()} if stale is None else stale
            folder = home.layout.flow_modules_dir
            helpers = deployments.edited_helpers(name)
            imported = [helper for helper in helpers if folder / helper not in older]
            ran = (*differences(deployed, cells_run(), saved), *imported)
            text = f"what ran differs from the deployed flow: {', '.join(ran)}" if ran else ""
            return Standing(True, ran, text, in_cells=True, saved=saved, is_behind=bool(helpers))
    status = deployments.standing(name)
    if status.is_edited:
        return Standing(True, status.differs or (deployments.file_of(name),), status.text)
    return None if status.kind == "gone" else Standing(status.kind == "as_deployed")


def as_it_may_run(flow: Flow, home: LocalWorkspace, standing: Standing | None, *, edited: bool) -> Flow:
    """A settled flow as it is about to run: marked where its code is not what is deployed, which `edited` allows.

    A flow that is not as its `build()` gives it, such as `build().step(extra)`, is not what is deployed either.

    Raises:
        FlowValidationError: the code is not what is deployed, and not `edited`.
    """
    if standing is None or not standing.is_deployed:
        return flow
    beside = _differences_from_build(flow)
    differs = (*standing.differs, *beside)
    if not differs:
        return flow
    if not edited:
        text = f"this flow is not as build() gives it: {', '.join(beside)}" if beside else ""
        words = "; ".join(filter(None, [standing.text, text]))
        raise edited_error({flow.name or "": words}, str(home.layout.flow_modules_dir))
    return replace(flow, _edited=", ".join(differs))


def _differences_from_build(flow: Flow) -> tuple[str, ...]:
    """What of a flow is not as the `build` of its module gives it; of one made in cells or a script, as theirs does now."""
    if (built := flow._built) is None:
        shell = kernel_shell()
        build = (vars(sys.modules["__main__"]) if shell is None else shell.user_ns).get("build")
        made = build() if callable(build) else None
        if not isinstance(made, Flow):
            return ("no build() made it",)
        built = Shape.of(made)
    return Shape.of(flow).differences(built)


def say_never_deployed(flow: Flow, standing: Standing | None) -> None:
    """Say, once in this process, that a flow has run here though it was never deployed."""
    name, place = flow.name or "", (flow._workspace_root, flow.name)
    if standing is not None and not standing.is_deployed and place not in _told:
        _told.add(place)
        show_caption(never_deployed_text(name))


_told: set[tuple[Path | None, str | None]] = set()


def edited_error(edits: Mapping[str, str], where: str) -> FlowValidationError:
    """The error of flows that were about to write production's outputs with an edit; `edits` says by their names what differs.

    Example:
        >>> print(edited_error({"claims": "edited, not deployed: cell 3"}, "flow_modules").what)
        nothing was run, because a run writes production's outputs: claims is not what is deployed (edited, not deployed: cell 3)
    """
    flows = ", ".join(f"{name} is not what is deployed ({text})" for name, text in edits.items())
    name = next(iter(edits))
    return FlowValidationError(
        f"nothing was run, because a run writes production's outputs: {flows}",
        where=where,
        fix=f"save the notebook; look at the edit: `{cli_line('preview', name)}` (Flow.preview() in a cell); let production run it:"
        f" `{cli_line('deploy', name)}` (%flow deploy); to run the edit here all the same, marked as not deployed, add --edited"
        " (edited=True in a cell)",
    )


def never_deployed_text(name: str) -> str:
    """The line about a flow that runs here though it was never deployed.

    Example:
        >>> never_deployed_text("claims")
        'claims is not deployed: it runs here as it is now, and nothing runs it by itself'
    """
    return f"{name} is not deployed: it runs here as it is now, and nothing runs it by itself"


def differences(deployed: Iterable[str], cells: Sequence[str], saved: Iterable[str] = ()) -> tuple[str, ...]:
    """The differences of the cells run in a kernel from production: names that they define otherwise, each with its `In` number,
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
    statements = [statement for text in deployed for statement in _statements(text)]
    needed = {name: dump for names, dump in statements for name in names}
    changed = [
        (defined[name][0], name) for name, dump in needed.items() if name in defined and defined[name][1] != dump
    ]
    new = {dump for text in saved for names, dump in _statements(text) if not names} - {dump for _, dump in statements}
    changed += [(effects[dump], "") for dump in new if dump in effects]
    return tuple(f"{name} (In [{number}])" if name else f"In [{number}]" for number, name in sorted(set(changed)))


def cells_run() -> tuple[str, ...]:
    """The texts that this kernel has run, by `In` number; empty outside of a kernel."""
    shell = kernel_shell()
    history = getattr(shell, "history_manager", None)
    return tuple(getattr(history, "input_hist_parsed", ()))


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
        yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
