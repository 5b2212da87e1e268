"""From an exception to the notebook cell (or helper line) it came from."""

from __future__ import annotations

import linecache
import os
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.notebook.compile import CompiledNotebook

_CELL_FILE = re.compile(r"(?P<path>.+\.ipynb), cell (?P<cell>\d+)")
_OWN_FOLDER = str(Path(__file__).parent.parent) + os.sep

ErrorT = TypeVar("ErrorT", bound=FlowValidationError)


@dataclass(frozen=True, slots=True)
class Place:
    """A line of an author's code. `cell` counts the code cells from 1 (None in a `.py` file); `text` is the line.

    Example:
        >>> print(Place(Path("/ws/flow_modules/claims.ipynb"), 3, "raise", cell=4, execution_count=12))
        claims.ipynb, cell 4 (In [12]), line 3
    """

    path: Path
    line: int
    text: str
    cell: int | None = None
    execution_count: int | None = None

    def __str__(self) -> str:
        if self.cell is None:
            parent = self.path.parent.name
            name = f"{parent}/{self.path.name}" if parent not in ("", "flow_modules") else self.path.name
            return f"{name}, line {self.line}"
        count = f" (In [{self.execution_count}])" if self.execution_count is not None else ""
        return f"{self.path.name}, cell {self.cell}{count}, line {self.line}"


def show_cells(compiled: CompiledNotebook) -> None:
    """Let Python's own tracebacks and pdb show the cells' text."""
    for chunk in compiled.chunks:
        name = cell_file(compiled.path, chunk.cell)
        lines = chunk.original.splitlines(keepends=True)
        linecache.cache[name] = (len(chunk.original), None, lines, name)


def cell_file(path: Path, cell: int) -> str:
    """The file name the code of a cell is compiled with."""
    return f"{path}, cell {cell}"


def place_of(error: BaseException) -> Place | None:
    """The innermost line of an author's code in the error's traceback; None when there is none."""
    if isinstance(error, SyntaxError) and error.filename and _is_authored_file(error.filename):
        return _place(error.filename, error.lineno or 1)
    places = [_place(name, line) for name, line in _author_frames(error.__traceback__)]
    return places[-1] if places else None


def annotate(error: ErrorT) -> ErrorT:
    """`error` with the cell and line it came from in its `where`, when its traceback knows them."""
    if isinstance(error, FlowExecutionError):
        if error.cell is None and (place := place_of(error.__cause__ or error)) is not None:
            error.cell, error.source_line = str(place), place.text
            error.where = error._place()
        return error
    place = place_of(error)
    if place is not None and str(place) not in (error.where or ""):
        spot = f"{place}: {place.text.strip()}" if place.text.strip() else str(place)
        error.where = f"{spot} ({error.where})" if error.where else spot
    return error


def _author_frames(trace: TracebackType | None) -> Iterator[tuple[str, int]]:
    for frame, line in traceback.walk_tb(trace):
        name = frame.f_code.co_filename
        module = frame.f_globals.get("__name__", "")
        is_author = module == "__main__" or module.startswith("data_engine_flows.")
        if is_author and not name.startswith(("<", _OWN_FOLDER)):
            yield name, line


def _is_authored_file(name: str) -> bool:
    return _CELL_FILE.fullmatch(name) is not None or f"{os.sep}flow_modules{os.sep}" in name


def _place(file_name: str, line: int) -> Place:
    text = linecache.getline(file_name, line).rstrip("\r\n")
    match = _CELL_FILE.fullmatch(file_name)
    if match is None:
        return Place(Path(file_name), line, text)
    path, cell = Path(match["path"]), int(match["cell"])
    return Place(path, line, text, cell, _execution_count(path, cell, file_name))


def _execution_count(path: Path, cell: int, file_name: str) -> int | None:
    """The In [n] of the cell, when the notebook file holds one and the cell's text is still the one that ran."""
    from data_engine.notebook.read import read_cells

    try:
        cells = read_cells(path.read_bytes(), path=path)
    except (OSError, FlowValidationError):
        return None
    ran = "".join(linecache.getlines(file_name)).rstrip("\n")
    if cell <= len(cells) and cells[cell - 1].text.rstrip("\n") == ran:
        return cells[cell - 1].execution_count
    return None
