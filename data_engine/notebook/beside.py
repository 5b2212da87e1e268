"""What is warned of a flow though it stands in no cell of it: secrets in the modules it imports, names that differ only in case."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from data_engine.notebook.flow_files import case_warnings, module_files
from data_engine.notebook.load import FlowModules
from data_engine.notebook.module_sets import imports_of, own_code, python_files, reached_files
from data_engine.notebook.secrets_written import secret_words, written_secrets
from data_engine.platforms.files import content_of


@dataclass(frozen=True, slots=True)
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
    twins = case_warnings(module_files(modules.content))
    code = own_code(modules.authored(path), content_of(path), modules.cache_dir)
    told = [WarningBeside(twins[path.stem])] if path.stem in twins else []
    return [*told, *secrets_beside(path.name, code, PythonFiles.of(python_files(modules.content)))]


class PythonFiles(NamedTuple):
    """The `.py` files of a workspace by path inside its flow_modules folder, and which of them each imports."""

    contents: Mapping[str, bytes]
    imports: Mapping[str, set[str] | None]

    @classmethod
    def of(cls, contents: Mapping[str, bytes]) -> PythonFiles:
        """Those with these contents."""
        return cls(contents, imports_of(contents))


def secrets_beside(file: str, code: bytes, python: PythonFiles) -> list[WarningBeside]:
    """The secrets that stand as text in the `.py` files which the module in `file`, of this code, runs with; itself where it is one.

    Each place is told once.

    Example:
        >>> files = {"flow_helpers/shop.py": b"import os\\nTOKEN = 'h4rd-to-guess'", "flow_helpers/other.py": b"PASSWORD = 'x1y2z3'"}
        >>> code = b"from flow_helpers.shop import TOKEN"
        >>> [(one.file, one.line) for one in secrets_beside("claims.ipynb", code, PythonFiles.of(files))]
        [('flow_helpers/shop.py', 2)]
    """
    reached = reached_files(file, code, python.contents, python.imports)
    return [one for name in sorted(reached) for one in _secrets_in(name, python.contents[name])]


@lru_cache(maxsize=1024)
def _secrets_in(file: str, data: bytes) -> tuple[WarningBeside, ...]:
    return tuple(dict.fromkeys(_found_in(file, data)))


def _found_in(file: str, data: bytes) -> Iterator[WarningBeside]:
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # told where it is imported
    for name, line in sorted(written_secrets(tree), key=lambda one: one[1]):
        yield WarningBeside(*secret_words(name), file, line)
