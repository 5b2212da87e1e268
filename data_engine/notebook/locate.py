"""Finds the notebook cells (or helper lines) that an exception came through.

Code of a flow module is compiled with file names such as `claims.ipynb, cell 4`; code that runs in a kernel has IPython's
file names, which are traced back to `In [12]` and from there to the cell of the notebook file.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.util import decode_source
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from data_engine.errors import FlowExecutionError, FlowValidationError, cell_place
from data_engine.flow.paths import loading_module_folder
from data_engine.formatting import MOST_CELL, MOST_TEXT, both_ends
from data_engine.notebook.compiled import CompiledNotebook
from data_engine.notebook.read import NotebookCell, read_cells
from data_engine.platforms.files import content_of
from data_engine.record import frozen
from data_engine.secret import masked
from data_engine.workspace.layout import current_notebook, ipython_shell

_WORD = re.compile(r"\w+")
_CELL_FILE = re.compile(r"(?P<path>.+\.ipynb), cell (?P<cell>\d+)")
_OWN_FOLDER = str(Path(__file__).parent.parent) + os.sep

ErrorT = TypeVar("ErrorT", bound=FlowValidationError)


SEVERAL = "several cells have this text"
"""The note of code that the saved notebook holds more than once."""

UNSAVED = "not saved since it ran"
"""The note of a cell that the saved notebook does not hold as it ran."""


@frozen
class CodeLine:
    """A line of an author's code.

    `cell` counts the notebook's code cells from 1; it is None in a `.py` file, and for kernel code whose cell the
    notebook file does not hold. `note` says when the notebook is not what it was when the code was read.

    Example:
        >>> print(CodeLine(Path("/ws/flow_modules/claims.ipynb"), 3, "raise", cell=4, execution_count=12))
        claims.ipynb, cell 4 (In [12]), line 3
    """

    path: Path | None
    line: int
    text: str
    cell: int | None = None
    execution_count: int | None = None
    note: str | None = None

    def as_places(self) -> tuple[dict[str, Any], ...]:
        """The cell as `FlowValidationError.places` has it; empty where the place is in no cell."""
        if self.path is None or self.cell is None:
            return ()
        return (cell_place(self.path.name, self.cell, self.line),)

    def __str__(self) -> str:
        parts = []
        if self.path is not None:
            parent = self.path.parent.name
            is_helper = self.path.suffix == ".py" and parent not in ("", "flow_modules")
            parts.append(f"{parent}/{self.path.name}" if is_helper else self.path.name)
        count = "" if self.execution_count is None else f"In [{self.execution_count}]"
        if self.cell is not None:
            parts.append(f"cell {self.cell} ({count})" if count else f"cell {self.cell}")
        elif count:
            parts.append(count)
        return ", ".join([*parts, f"line {self.line}"])


def show_cells(compiled: CompiledNotebook) -> None:
    """Make Python's own tracebacks and pdb show the cells' text."""
    for chunk in compiled.chunks:
        name = f"{compiled.path}, cell {chunk.cell}"
        linecache.cache[name] = (len(chunk.original), None, [f"{line}\n" for line in chunk.original.split("\n")], name)


def show_file(path: Path, data: bytes) -> None:
    """Make tracebacks show this text for a `.py` file, whatever the file holds by then."""
    text = decode_source(data)
    linecache.cache[str(path)] = (len(text), None, text.splitlines(keepends=True), str(path))


def place_of(error: BaseException) -> CodeLine | None:
    """The innermost line of an author's code in the error's traceback; None when there is none."""
    frames = _frames_to(error)
    return _place(*frames[-1]) if frames else None


def author_frame(error: BaseException | None) -> FrameType | None:
    """The innermost frame of an author's code in the error's traceback, with its variables; None where there is none."""
    frames = () if error is None else traceback.walk_tb(error.__traceback__)
    return next((frame for frame, _ in reversed(list(frames)) if _is_author(frame)), None)


def led_to(frames: Sequence[tuple[str, int]]) -> tuple[str, int] | None:
    """The author's frame that led into a helper, among these (file name and line, the innermost last): the innermost one in another
    notebook cell, else in a module beside it. None where none led there.

    Example:
        >>> led_to([("/ws/flow_modules/a.ipynb, cell 4", 2), ("/ws/flow_modules/flow_helpers/rates.py", 7)])
        ('/ws/flow_modules/a.ipynb, cell 4', 2)
        >>> led_to([("/ws/flow_modules/a.ipynb, cell 4", 2), ("/ws/flow_modules/a.ipynb, cell 3", 7)])
        ('/ws/flow_modules/a.ipynb, cell 4', 2)
        >>> led_to([("/ws/flow_modules/flow_helpers/rates.py", 7), ("/ws/flow_modules/a.ipynb, cell 4", 2)]) is None
        True
    """
    callers = [frame for frame in frames[:-1] if frame[0] != frames[-1][0]]
    cells = [frame for frame in callers if _is_cell(frame[0])]
    if not cells and not _is_cell(frames[-1][0] if frames else ""):
        cells = [frame for frame in callers if Path(frame[0]).parent.name == "flow_modules"]
    return next(reversed(cells), None)


def _is_cell(file_name: str) -> bool:
    return _CELL_FILE.fullmatch(file_name) is not None or _kernel_count(file_name) is not None


def _frames_to(error: BaseException) -> list[tuple[str, int]]:
    """The author's frames of an error, the innermost last; that may be a line that cannot be parsed."""
    frames = list(_author_frames(error))
    if isinstance(error, SyntaxError) and error.filename and _is_authored_file(error.filename):
        frames.append((error.filename, error.lineno or 1))
    return frames


def place_of_function(function: object) -> CodeLine | None:
    """The place where a function was defined, with a note when the notebook file differs; None for what has no code."""
    code = getattr(function, "__code__", None)
    return None if code is None else _place(code.co_filename, code.co_firstlineno)


def places_of(file_name: str, line: int) -> tuple[dict[str, Any], ...]:
    """The notebook cell that code was compiled from under this file name; empty for any other file.

    Example:
        >>> places_of("/ws/flow_modules/claims.ipynb, cell 4", 3)
        ({'notebook': 'claims.ipynb', 'cell': 4, 'line': 3},)
    """
    match = _CELL_FILE.fullmatch(file_name)
    return () if match is None else (cell_place(Path(match["path"]).name, int(match["cell"]), line),)


def annotate(error: ErrorT) -> ErrorT:
    """`error` with the cell and line it came from, and the author's part of its traceback as text.

    An error that knows its place already keeps it.
    """
    if error.trace:
        return error
    frames = _frames_to((error.__cause__ or error) if isinstance(error, FlowExecutionError) else error)
    if frames:
        _set_place(error, _place(*frames[-1]), _led(error, frames))
    error.trace = tuple(_trace_lines(error))
    return error


def _set_place(error: FlowValidationError, place: CodeLine, led: CodeLine | None) -> None:
    """Write the place of the error into it, and which line `led` there."""
    if not error.places:
        error.places = place.as_places() + (() if led is None else led.as_places())
    through = "" if led is None else f"called in {led}: {led.text.strip()}".removesuffix(": ")
    if isinstance(error, FlowExecutionError):
        if error.cell is None:
            note = None if place.note == UNSAVED else place.note  # the trace says it
            error.set_place(str(place), place.text, "; ".join(filter(None, [note, through])))
    elif str(place) not in (error.where or ""):
        text = place.text.strip()
        spot = f"{place}: {text}" if text else str(place)
        called, _, options = (error.where or "").partition("(")
        words = [called.rpartition(".")[2], *_WORD.findall(options)]
        more = "; ".join(filter(None, [through, "" if all(word in text for word in words) else error.where]))
        error.where = f"{spot} ({more})" if more else spot


def _led(error: FlowValidationError, frames: Sequence[tuple[str, int]]) -> CodeLine | None:
    """The line that led to the innermost one, where that is in a helper; None for an authoring error in a cell that was just run."""
    outer = led_to(frames)
    if outer is None or (not isinstance(error, FlowExecutionError) and _kernel_count(frames[-1][0]) is not None):
        return None
    return _place(*outer)


def annotate_call(error: FlowValidationError) -> None:
    """Place an error by the author's line that made the call, when the error came from no code of the author's."""
    if error.trace or loading_module_folder() is not None:
        return  # placed already, or the loader will place it
    place = _author_place()
    if place is not None:
        error.trace = (str(place), f"    {place.text.strip()}")


def author_line() -> str:
    """The author's line that runs now, as "claims.ipynb, cell 4, line 3"; empty where none does."""
    return str(_author_place() or "")


def _author_place() -> CodeLine | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not _is_author(frame):
        frame = frame.f_back
    return None if frame is None else _place(frame.f_code.co_filename, frame.f_lineno)


def _trace_lines(error: BaseException) -> Iterator[str]:
    """The author's frames of an error and of what led to it, oldest first, as text; other frames are folded away."""
    ids: set[int] = set()
    chain: list[tuple[BaseException, str]] = []
    current: BaseException | None = error.__cause__ if isinstance(error, FlowExecutionError) else error
    link = ""
    while current is not None and id(current) not in ids:
        ids.add(id(current))
        chain.append((current, link))
        if current.__cause__ is not None:
            current, link = current.__cause__, "which was the direct cause of:"
        elif current.__context__ is not None and not current.__suppress_context__:
            current, link = current.__context__, "and while that was handled:"
        else:
            current = None
    for number, (cause, _) in enumerate(reversed(chain)):
        if number:
            yield chain[len(chain) - number][1]
        yield from _frame_lines(cause)
        is_told = isinstance(error, FlowExecutionError) and cause is error.__cause__  # its text is in the error's own
        if cause is not error and not is_told:
            text = masked("".join(traceback.format_exception_only(cause))).rstrip("\n")
            yield from both_ends(text, MOST_TEXT).split("\n")


def _frame_lines(error: BaseException) -> Iterator[str]:
    for (file_name, line), _ in groupby(_author_frames(error)):  # before 3.12 a comprehension is a frame
        place = _place(file_name, line)
        yield f"{place}" + (f" ({place.note})" if place.note else "")
        if place.text.strip():
            yield f"    {place.text.strip()}"


def _author_frames(error: BaseException) -> Iterator[tuple[str, int]]:
    written = error.written_at if isinstance(error, FlowValidationError) else None
    if written is not None and _is_authored(written[0], written[2]):
        yield written[:2]
    for frame, line in traceback.walk_tb(error.__traceback__):
        if _is_author(frame):
            yield frame.f_code.co_filename, line


def _is_author(frame: FrameType) -> bool:
    return _is_authored(frame.f_code.co_filename, frame.f_globals.get("__name__") or "")


def _is_authored(name: str, module: str) -> bool:
    is_theirs = module == "__main__" or module.startswith("data_engine_flows.") or _is_authored_file(name)
    return is_theirs and not name.startswith(_OWN_FOLDER) and (not name.startswith("<") or name.startswith("<ipython-"))


def _is_authored_file(name: str) -> bool:
    return _CELL_FILE.fullmatch(name) is not None or f"{os.sep}flow_modules{os.sep}" in name


def _place(file_name: str, line: int) -> CodeLine:
    text = both_ends(linecache.getline(file_name, line).rstrip("\r\n"), MOST_CELL)
    match = _CELL_FILE.fullmatch(file_name)
    if match is not None:
        path, cell = Path(match["path"]), int(match["cell"])
        count, note = _module_cell(path, cell, "".join(linecache.getlines(file_name)))
        return CodeLine(path, line, text, cell, count, note)
    number = _kernel_count(file_name)
    if number is not None:
        return _kernel_place(number, line, text)
    return CodeLine(Path(file_name), line, text)


def _module_cell(path: Path, cell: int, ran: str) -> tuple[int | None, str | None]:
    """The In [n] of a module's cell and a note, by what the notebook file holds now."""
    cells = _cells_now(path)
    if cells is None:
        return None, "the notebook is no longer there or cannot be read"
    if cell <= len(cells) and cells[cell - 1].text.rstrip() == ran.rstrip():
        return cells[cell - 1].execution_count, None
    return None, f"cell {cell} was edited, moved or removed since it was loaded"


def _kernel_count(file_name: str) -> int | None:
    """The n of In [n] for the file name IPython compiled a cell with."""
    shell = ipython_shell()
    names: Any = getattr(getattr(shell, "compile", None), "_filename_map", {})
    number = names.get(file_name)
    return number if isinstance(number, int) else None


def _kernel_place(number: int, line: int, text: str) -> CodeLine:
    notebook = current_notebook()
    if notebook is None or notebook.kind != "notebook":
        return CodeLine(None, line, text, None, number)
    if notebook.problem is not None:
        return CodeLine(notebook.path, line, text, None, number, "no notebook of this name is there now")
    raw = getattr(getattr(ipython_shell(), "history_manager", None), "input_hist_raw", [])
    ran = raw[number] if number < len(raw) else ""
    cells = _cells_now(notebook.path) or ()
    same = [cell for cell in cells if cell.text.rstrip() == ran.rstrip()]
    exact = [cell for cell in same if cell.execution_count == number] or same
    if len(exact) == 1:
        return CodeLine(notebook.path, line, text, exact[0].number, number)
    note = SEVERAL if same else UNSAVED
    return CodeLine(notebook.path, line, text, None, number, note)


def _cells_now(path: Path) -> tuple[NotebookCell, ...] | None:
    try:
        return read_cells(content_of(path), path=path)
    except (OSError, FlowValidationError):
        return None
