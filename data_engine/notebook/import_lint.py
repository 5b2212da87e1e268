"""What is warned of a flow though it stands in no cell of it: secrets and doubtful calls in
the modules it imports, and names that mislead."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from data_engine.notebook.flow_calls import doubtful_calls, may_hold_flow
from data_engine.notebook.flow_files import case_warnings, module_files, name_warnings, twin_warning
from data_engine.notebook.load import FlowModules
from data_engine.notebook.module_sets import imports_of, own_code, python_files, reached_files
from data_engine.notebook.secrets_written import secret_words, written_secrets
from data_engine.platforms.files import content_of
from data_engine.record import frozen


@frozen
class WarningBeside:
    """Something to know of a flow, and its fix; `file` and `line` are where it stands, None where it is no line.

    Example:
        >>> print(WarningBeside("`TOKEN` holds a secret", "read it in a step", "flow_helpers/shop.py", 3))
        flow_helpers/shop.py, line 3: `TOKEN` holds a secret (read it in a step)
        >>> print(WarningBeside("claims and Claims differ only in upper and lower case"))
        claims and Claims differ only in upper and lower case
    """

    message: str
    fix: str | None = None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}: " if self.file is not None else ""
        return f"{place}{self.message}{f' ({self.fix})' if self.fix else ''}"


def warnings_beside(modules: FlowModules, path: Path) -> list[WarningBeside]:
    """What is warned of the flow in the file `path` of the folder, which compiles; nothing of it is executed.

    Raises:
        OSError, FlowValidationError: the folder or the file cannot be read.
    """
    files = module_files(modules.content)
    code = own_code(modules.authored(path), content_of(path), modules.cache_dir)
    told = name_warnings(path, case_warnings(files), files.get(path.stem, ()))
    return [
        *map(WarningBeside, told),
        *imports_warned(path.name, code, PythonFiles.of(python_files(modules.content))),
    ]


def misleading_names(modules: FlowModules, paths: Collection[Path]) -> list[str]:
    """What is warned of the names of these flow modules and of the files they import; each once, and no secret.

    Raises:
        OSError, FlowValidationError: the folder or a file cannot be read.
    """
    files = module_files(modules.content)
    told = [twin for path in paths if (twin := twin_warning(files.get(path.stem, ()), path)) is not None]
    if any(path.suffix == ".py" and _library_called(name) for name, there in files.items() for path in there):
        python = PythonFiles.of(python_files(modules.content))
        for path in paths:
            code = own_code(modules.authored(path), content_of(path), modules.cache_dir)
            told += map(str, hidden_beside(path.name, code, python))
    return list(dict.fromkeys(told))


class PythonFiles(NamedTuple):
    """The `.py` files of a workspace by path inside its flow_modules folder, and which of them each imports."""

    contents: Mapping[str, bytes]
    imports: Mapping[str, set[str] | None]

    @classmethod
    def of(cls, contents: Mapping[str, bytes]) -> PythonFiles:
        """Those with these contents."""
        return cls(contents, imports_of(contents))


def imports_warned(file: str, code: bytes, python: PythonFiles) -> list[WarningBeside]:
    """What is warned of the `.py` files that the module in `file`, of this code, runs with."""
    return [
        *secrets_beside(file, code, python),
        *calls_beside(file, code, python),
        *hidden_beside(file, code, python),
    ]


def secrets_beside(file: str, code: bytes, python: PythonFiles) -> list[WarningBeside]:
    """The secrets that stand as text in the `.py` files which the module in `file`, of this code, runs with; itself where it is one.

    Each place is told once.

    Example:
        >>> files = {"flow_helpers/shop.py": b"import os\\nTOKEN = 'h4rd-to-guess'", "flow_helpers/other.py": b"PASSWORD = 'x1y2z3'"}
        >>> code = b"from flow_helpers.shop import TOKEN"
        >>> [(one.file, one.line) for one in secrets_beside("claims.ipynb", code, PythonFiles.of(files))]
        [('flow_helpers/shop.py', 2)]
    """
    return [one for name in sorted(_reached(file, code, python)) for one in _secrets_in(name, python.contents[name])]


def calls_beside(file: str, code: bytes, python: PythonFiles) -> list[WarningBeside]:
    """The doubtful calls of flows in the `.py` files which the module in `file`, of this code, runs with; itself where it is one.

    Example:
        >>> code = b"def build():\\n    flow = Flow('A')\\n    flow.step(read)\\n    return flow"
        >>> [(one.file, one.line) for one in calls_beside("claims.py", code, PythonFiles.of({"claims.py": code}))]
        [('claims.py', 3)]
    """
    return [one for name in sorted(_reached(file, code, python)) for one in _calls_in(name, python.contents[name])]


def hidden_beside(file: str, code: bytes, python: PythonFiles) -> list[WarningBeside]:
    """The `.py` files of `flow_modules` that the module in `file` imports in place of a library of the same name.

    Example:
        >>> files = {"statistics.py": b"X = 1", "own_tools.py": b""}
        >>> for one in hidden_beside("claims.ipynb", b"import statistics, own_tools", PythonFiles.of(files)):
        ...     print(one)
        statistics.py hides the module statistics of Python: `import statistics` means this file here (rename it)
    """
    reached = _reached(file, code, python)
    found = []
    for name in sorted(reached - {file}):
        stem = name.removesuffix(".py")
        library = _library_called(stem) if "/" not in name else None
        if library is not None:
            found.append(WarningBeside(f"{name} hides {library}: `import {stem}` means this file here", "rename it"))
    return found


def _reached(file: str, code: bytes, python: PythonFiles) -> set[str]:
    """The `.py` files that the module in `file` runs with; its code is not read where there are none."""
    return reached_files(file, code, python.contents, python.imports) if python.contents else set()


@lru_cache(maxsize=1024)
def _library_called(name: str) -> str | None:
    """What is hidden by a module of this name, in words; None where nothing is."""
    if name in sys.stdlib_module_names:
        return f"the module {name} of Python"
    import sysconfig

    places = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    found = PathFinder.find_spec(name, [place for place in places if place])
    return None if found is None or found.origin is None else f"the installed package {name}"


@lru_cache(maxsize=1024)
def _secrets_in(file: str, data: bytes) -> tuple[WarningBeside, ...]:
    return tuple(dict.fromkeys(_found_in(file, data)))


def _found_in(file: str, data: bytes) -> Iterator[WarningBeside]:
    for name, line in sorted(written_secrets(_parsed(data)), key=lambda one: one[1]):
        yield WarningBeside(*secret_words(name), file, line)


@lru_cache(maxsize=1024)
def _calls_in(file: str, data: bytes) -> tuple[WarningBeside, ...]:
    if not may_hold_flow(data):
        return ()
    calls = [call for statement in _parsed(data).body for call in doubtful_calls(statement)]
    return tuple(WarningBeside(call.message, call.fix, file, call.line) for call in calls)


def _parsed(data: bytes) -> ast.Module:
    try:
        return ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])  # told where it is imported
