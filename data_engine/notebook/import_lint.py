"""Warnings of a flow about what is outside its cells: secrets and dropped calls in the modules it imports, and misleading names."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

from data_engine.notebook.flow_files import case_warnings, module_files, name_warnings
from data_engine.notebook.load import FlowModules
from data_engine.notebook.mistakes import dropped_calls, secret_text, written_secrets
from data_engine.notebook.module_sets import own_code, python_files, reached_files
from data_engine.platforms.files import content_of
from data_engine.record import frozen


@frozen
class ModuleWarning:
    """A warning of a flow, and its fix; `file` and `line` are its place, None where it has no line.

    Example:
        >>> print(ModuleWarning("`TOKEN` holds a secret", "read it in a step", "flow_helpers/shop.py", 3))
        flow_helpers/shop.py, line 3: `TOKEN` holds a secret (read it in a step)
        >>> print(ModuleWarning("claims and Claims differ only in upper and lower case"))
        claims and Claims differ only in upper and lower case
    """

    message: str
    fix: str | None = None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}: " if self.file is not None else ""
        return f"{place}{self.message}{f' ({self.fix})' if self.fix else ''}"


def module_warnings(modules: FlowModules, path: Path) -> list[ModuleWarning]:
    """The warnings of the flow in the file `path` of the folder, which compiles; nothing of it is executed.

    Raises:
        OSError, FlowValidationError: the folder or the file cannot be read.
    """
    files = module_files(modules.content)
    code = own_code(modules.authored(path), content_of(path), modules.cache_dir)
    names = name_warnings(path, case_warnings(files), files.get(path.stem, ()))
    return [*map(ModuleWarning, names), *import_warnings(path.name, code, python_files(modules.content))]


def import_warnings(file: str, code: bytes, python: Mapping[str, bytes]) -> list[ModuleWarning]:
    """The warnings of the `.py` files that the module in `file`, with this code, runs with (itself where it is one). `python` are
    all of the workspace, by path inside its flow_modules folder.

    Example:
        >>> files = {"flow_helpers/shop.py": b"import os\\nTOKEN = 'h4rd-to-guess'", "flow_helpers/other.py": b"PASSWORD = 'x1y2z3'"}
        >>> [(warning.file, warning.line) for warning in import_warnings("claims.ipynb", b"from flow_helpers.shop import TOKEN", files)]
        [('flow_helpers/shop.py', 2)]
        >>> for warning in import_warnings("claims.ipynb", b"import statistics", {"statistics.py": b"X = 1"}):
        ...     print(warning)
        statistics.py hides the module statistics of Python: `import statistics` means this file here (rename it)
    """
    reached = sorted(reached_files(file, code, python)) if python else []
    warnings = [warning for name in reached for warning in _lines_warned(name, python[name])]
    return [*warnings, *_hidden_libraries(file, reached)]


def _hidden_libraries(file: str, reached: Collection[str]) -> Iterator[ModuleWarning]:
    """The `.py` files that are imported in place of a library of the same name."""
    for name in sorted({*reached} - {file}):
        stem = name.removesuffix(".py")
        library = _library_called(stem) if "/" not in name else None
        if library is not None:
            yield ModuleWarning(f"{name} hides {library}: `import {stem}` means this file here", "rename it")


@lru_cache(maxsize=1024)
def _library_called(name: str) -> str | None:
    """The library that a module of this name hides, in words; None where it hides none."""
    if name in sys.stdlib_module_names:
        return f"the module {name} of Python"
    import sysconfig

    places = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    spec = PathFinder.find_spec(name, [place for place in places if place])
    return None if spec is None or spec.origin is None else f"the installed package {name}"


@lru_cache(maxsize=1024)
def _lines_warned(file: str, data: bytes) -> tuple[ModuleWarning, ...]:
    """The secrets and the dropped calls in the text of a module."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()  # the import itself fails
    places = [(line, *secret_text(name)) for name, line in written_secrets(tree)]
    places += [(call.line, call.message, call.fix) for statement in tree.body for call in dropped_calls(statement)]
    return tuple(ModuleWarning(message, fix, file, line) for line, message, fix in sorted(set(places)))
