"""The flow of this kernel's notebook: what its cells build, its name, and whether its file holds the same."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from data_engine.errors import FlowValidationError

if TYPE_CHECKING:
    from data_engine.verbs import Flow

UserNames: TypeAlias = Mapping[str, Any]
"""The names of the notebook's cells."""


def own_flow(names: UserNames, command: str) -> Flow:
    """Call the `build()` of the notebook's cells.

    Raises:
        FlowValidationError: there is none, or it gives no flow.
    """
    from data_engine.verbs import Flow

    build = names.get("build")
    if not callable(build):
        raise FlowValidationError(
            "no cell of this notebook has defined build() yet"
            if build is None
            else f"build is not a function but {build!r}",
            where="build()",
            fix=f"run the cell that defines build(), or name a flow of the workspace: %flow {command} NAME",
        )
    flow = build()
    if not isinstance(flow, Flow):
        raise FlowValidationError(
            f"build() returned {'None' if flow is None else type(flow).__name__}, not a Flow",
            where="build()",
            fix="end it with `return Flow(group=...).step(...)`",
        )
    return flow


def own_name(names: UserNames, command: str) -> str:
    """The name of the flow of this kernel's notebook.

    Raises:
        FlowValidationError: it is none.
    """
    from data_engine.notebook.flow_files import how_to_move, no_flow_outside, no_flow_there
    from data_engine.workspace.layout import FLOW_MODULES, NOTEBOOK_VARIABLE, authored_folder, current_notebook

    place = current_notebook()
    if place is not None and place.problem is not None:
        raise FlowValidationError(
            place.problem, where=str(place.path), fix=f"{place.fix}, or name the flow: %flow {command} NAME"
        )
    if place is None:
        raise FlowValidationError(
            "which flow? This kernel does not know which notebook it runs, for example when nbclient, papermill or a console started it",
            where=f"%flow {command}",
            fix=f"name the flow: %flow {command} NAME; or say which notebook this is: %env {NOTEBOOK_VARIABLE}=PATH",
        )
    if place.path.parent.name != FLOW_MODULES:
        folder = authored_folder()
        another = f"name another flow: %flow {command} NAME"
        if folder is None:
            what = f"which flow? {no_flow_outside(place.path)}"
            fix = f"{how_to_move(place.path, _nearest_modules(place.path))}; or {another}"
        else:
            what, fix = no_flow_there(place.path.relative_to(folder).as_posix()), another
        raise FlowValidationError(what, where=f"%flow {command}", fix=fix)
    return place.path.stem


def _nearest_modules(path: Path) -> Path:
    """The folder of the flows of the workspace that a notebook lies in, else of the selected one."""
    from data_engine.workspace.layout import FLOW_MODULES
    from data_engine.workspace.select import select_workspace

    around = next((folder / FLOW_MODULES for folder in path.parents if (folder / FLOW_MODULES).is_dir()), None)
    if around is not None:
        return around
    with suppress(FlowValidationError):
        return select_workspace().flow_modules_dir
    return Path(FLOW_MODULES)


def unsaved_text(names: UserNames, path: Path) -> str:
    """The message that `path`, this kernel's notebook, was not saved since cells ran that make its flow; "" where it was."""
    from data_engine.notebook.locate import SEVERAL, place_of_function
    from data_engine.workspace.layout import current_notebook

    place = current_notebook()
    build = names.get("build")
    if place is None or place.problem is not None or place.path != path or build is None:
        return ""
    functions = [build]
    with suppress(Exception):  # the command itself reports it
        functions += [getattr(step.fn, "fn", step.fn) for step in own_flow(names, "deploy").steps]
    spots = [spot for function in functions if (spot := place_of_function(function)) is not None]
    not_held = [spot for spot in spots if spot.note and spot.note != SEVERAL]
    unsaved = sorted({spot.execution_count for spot in not_held if spot.execution_count is not None})
    if not unsaved:
        return ""
    return f"{path.name} was not saved since {', '.join(f'In [{number}]' for number in unsaved)} ran"
