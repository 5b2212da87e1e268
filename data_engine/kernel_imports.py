"""Let a notebook's cells import the modules beside it as production does, from any working directory, and as they are now.

Once a kernel has imported `Flow`, `flow_helpers` and the modules of the notebook's `flow_modules` folder are found wherever the
kernel was started, and `%flow` loads itself. Before each cell, helpers whose files have changed are forgotten, so that the cell
that imports one gets the edited helper at once. A mistake that a cell shows is placed in it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from data_engine.errors import FlowValidationError, place_with
from data_engine.keeping import in_cells
from data_engine.workspace.layout import authored_folder, kernel_shell


def watch_imports() -> None:
    """Install these imports in this kernel, once; does nothing in any other process."""
    shell = kernel_shell()
    if shell is None or any(isinstance(finder, AuthoredFinder) for finder in sys.meta_path):
        return
    if "flow" not in shell.magics_manager.magics["line"]:
        shell.register_magic_function(_load_flow, "line", "flow")
    in_cells.append(_copy_in_cell)
    sys.meta_path.append(AuthoredFinder())
    shell.events.register("pre_run_cell", _forget_edited)


def _load_flow(line: str) -> Any:
    """The magic of data_engine, loaded at its first use: `%load_ext data_engine`."""
    shell = kernel_shell()
    shell.run_line_magic("load_ext", "data_engine")
    return shell.run_line_magic("flow", line)


def _copy_in_cell(database: Path) -> Path:
    from data_engine.engine.read_copies import copy_in_cell

    return copy_in_cell(database)


def _place(error: FlowValidationError) -> None:
    """Say which cell a mistake came from."""
    from data_engine.notebook.locate import annotate

    annotate(error)


place_with(_place)


class AuthoredFinder:
    """Finds modules in the `flow_modules` folder of this kernel's notebook, after all other places."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The place of the module; None for one inside a package, and without a notebook in such a folder."""
        folder = None if path is not None else authored_folder()
        return None if folder is None else PathFinder.find_spec(name, [str(folder)])


def _forget_edited(info: object) -> None:
    folder = authored_folder()
    if folder is None:
        return
    lead = str(folder)
    if any(str(getattr(module, "__file__", "")).startswith(lead) for module in list(sys.modules.values())):
        from data_engine.engine.stale import stale_helpers

        stale_helpers()
