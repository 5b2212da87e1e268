"""Report helper modules in a kernel that are older than their files, and forget them, so that their import cell gets the new code."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

from data_engine.errors import FlowValidationError
from data_engine.notebook.read import NotebookCell, read_cells
from data_engine.platforms.files import content_of
from data_engine.record import frozen
from data_engine.workspace.layout import authored_folder, current_notebook


@frozen
class StaleHelper:
    """A module of the workspace whose file changed since this kernel imported it, and the cells that import it."""

    path: Path
    cells: tuple[int, ...]

    def __str__(self) -> str:
        name = (
            self.path.name if self.path.parent.name == "flow_modules" else f"{self.path.parent.name}/{self.path.name}"
        )
        which = f"cell {', '.join(map(str, self.cells))}" if self.cells else "the cell that imports it"
        return f"{name} changed since this kernel imported it: run {which} again to use it"


_digests: dict[tuple[str, int], str] = {}
_reported: dict[str, StaleHelper] = {}


def stale_helpers() -> tuple[StaleHelper, ...]:
    """The workspace's helpers that this kernel holds in an older form than their files.

    Each is taken out of `sys.modules`, so that running its import again imports the file; it is reported until then.
    """
    folder = authored_folder()
    if folder is None or "ipykernel" not in sys.modules:
        return ()
    modules = _authored_modules(folder)
    changed = [module for module in modules if _is_stale(module)]
    fresh = {str(module.__file__) for module in modules} - {str(module.__file__) for module in changed}
    for name in fresh & set(_reported):
        del _reported[name]
    if changed:
        cells = _cells()
        for module in changed:
            path = Path(str(module.__file__))
            _reported[str(path)] = StaleHelper(path, _importing(cells, module.__name__))
        for module in modules:  # also those that imported the changed one
            sys.modules.pop(module.__name__, None)
    return tuple(_reported.values())


def _authored_modules(folder: Path) -> list[ModuleType]:
    modules = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and not name.startswith(("data_engine", "__main__")):
            path = Path(file)
            if path.suffix == ".py" and path.is_relative_to(folder):
                modules.append(module)
    return modules


def _is_stale(module: ModuleType) -> bool:
    """Whether the file differs from when the module was first seen here, or from the functions the module holds."""
    try:
        data = content_of(Path(str(module.__file__)))
    except OSError:
        return True
    digest = hashlib.sha256(data).hexdigest()
    key = (str(module.__file__), id(module))
    if key in _digests:
        return _digests[key] != digest
    _digests[key] = digest
    try:
        code = compile(data, str(module.__file__), "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return True
    return not set(_held(module)) <= set(_codes(code))


def _held(module: ModuleType) -> Iterator[CodeType]:
    for value in vars(module).values():
        if (
            isinstance(value, FunctionType)
            and value.__module__ == module.__name__
            and not hasattr(value, "__wrapped__")
        ) and value.__code__.co_filename == module.__file__:
            yield value.__code__


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _cells() -> tuple[NotebookCell, ...]:
    notebook = current_notebook()
    if notebook is None or notebook.kind != "notebook":
        return ()
    try:
        return read_cells(content_of(notebook.path), path=notebook.path)
    except (OSError, FlowValidationError):
        return ()


def _importing(cells: tuple[NotebookCell, ...], name: str) -> tuple[int, ...]:
    numbers = []
    for cell in cells:
        try:
            tree = ast.parse(cell.text)
        except (SyntaxError, ValueError):
            continue
        if any(_imports(node, name) for node in ast.walk(tree)):
            numbers.append(cell.number)
    return tuple(numbers)


def _imports(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name == name or name.startswith(f"{alias.name}.") for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module == name or any(f"{node.module}.{alias.name}" == name for alias in node.names)
    return False
