"""The code cells of a notebook file, whatever nbformat version wrote it and whatever damaged it since."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from data_engine.errors import NotebookCompileError, cell_place
from data_engine.formatting import beginning, cli_line
from data_engine.record import frozen

_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OPEN_AND_SAVE = "open the file in JupyterLab and save it again, or restore an earlier version"
REPLAY = "replay"
"""The tag of a cell that opens a replay: it is no part of the flow, and is neither read nor counted."""
_CONFLICT = re.compile(r"^(<{7}|>{7})( .*)?\r?$", re.MULTILINE)


@frozen
class NotebookCell:
    """One code cell. `number` counts the notebook's code cells from 1, without those that open a replay; line ends in `text` are `\\n`.

    `id` is the file's own cell id; a cell without one (nbformat before 4.5) is called `cell-<number>`.
    """

    number: int
    id: str
    text: str
    tags: frozenset[str] = frozenset()
    execution_count: int | None = None


@frozen
class TextCell:
    """A cell that is no code: its `kind` ("Markdown" or "raw"), the number of the code cell it stands behind (0: none), its text."""

    kind: str
    after: int
    text: str


def read_cells(data: bytes, *, path: Path) -> tuple[NotebookCell, ...]:
    """The code cells of the notebook file content `data`, in order; `path` only names it in errors.

    nbformat 4 is read directly; older files are upgraded in memory with the nbformat library.

    Raises:
        NotebookCompileError: not JSON, not a notebook, or a cell is damaged (named by its number).

    Example:
        >>> cells = read_cells(b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": ["x = 1"]}]}', path=Path("a.ipynb"))
        >>> cells[0].number, cells[0].id, cells[0].text
        (1, 'cell-1', 'x = 1')
    """
    return read_notebook(data, path=path)[0]


def read_notebook(data: bytes, *, path: Path) -> tuple[tuple[NotebookCell, ...], tuple[TextCell, ...]]:
    """The code cells as `read_cells` gives them, and the others.

    Raises:
        NotebookCompileError: as `read_cells`.
    """
    notebook = _parse_json(data, path)
    entries = _cell_entries(notebook, data, path)
    cells: list[NotebookCell] = []
    texts: list[TextCell] = []
    ids: set[str] = set()
    for position, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise _damaged(path, f"entry {position} of its list of cells is {_kind(entry)}, not a cell")
        if (kind := entry.get("cell_type")) != "code":
            if kind in ("markdown", "raw"):
                texts.append(
                    TextCell("Markdown" if kind == "markdown" else kind, len(cells), _text_as_is(entry.get("source")))
                )
            continue
        number = len(cells) + 1
        cell_id, tags = entry.get("id"), _tags_of(entry)
        if REPLAY in tags:
            continue
        if not isinstance(cell_id, str) or not _CELL_ID.fullmatch(cell_id) or cell_id in ids:
            cell_id = f"cell-{number}"
            while cell_id in ids:
                cell_id += "-"
        ids.add(cell_id)
        count = entry.get("execution_count")
        cells.append(
            NotebookCell(
                number=number,
                id=cell_id,
                text=_text(entry.get("source"), number, path),
                tags=tags,
                execution_count=count if isinstance(count, int) and not isinstance(count, bool) else None,
            )
        )
    return tuple(cells), tuple(texts)


def _tags_of(entry: dict[str, Any]) -> frozenset[str]:
    metadata = entry.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return frozenset(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else frozenset()


def _parse_json(data: bytes, path: Path) -> dict[str, Any]:
    if not data.strip():
        raise _damaged(path, "the file is empty", "write a cell and save the notebook, or delete the file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"the file is not UTF-8 text (byte {error.start})"
        raise _damaged(path, problem, _get_it_back(path)) from error
    try:
        try:
            notebook = json.loads(text)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer with more digits than Python converts, say in an output
            notebook = json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 30 else digits)
    except json.JSONDecodeError as error:
        if line := conflict_line(text):
            fix = "resolve the conflict in Git (keep one side), then open the notebook in JupyterLab and save it"
            raise _damaged(path, f"the file holds a Git conflict marker (line {line} of the file)", fix) from error
        problem = f"the file is not JSON: {error.msg} (line {error.lineno} of the file)"
        raise _damaged(path, problem, _get_it_back(path)) from error
    except (RecursionError, MemoryError) as error:
        raise _damaged(path, "the file is nested too deeply", _get_it_back(path)) from error
    if not isinstance(notebook, dict):
        raise _damaged(path, f"the file holds {_kind(notebook)}, not a notebook", _get_it_back(path))
    return notebook


def conflict_line(text: str) -> int | None:
    """The line of the first conflict marker of Git, counted from 1; None without one.

    Example:
        >>> conflict_line("x = 1\\n<<<<<<< HEAD\\ny = 1\\n"), conflict_line("x = 1")
        (2, None)
    """
    match = _CONFLICT.search(text)
    return None if match is None else text.count("\n", 0, match.start()) + 1


def _get_it_back(path: Path) -> str:
    """The fix where JupyterLab cannot open the file either."""
    return (
        f"JupyterLab cannot open it either: rename the file (to {path.name}.broken), then `{cli_line('restore', path.stem)}` brings it back"
        " as it was deployed; one that was never deployed is in Git, in a backup or in .ipynb_checkpoints"
    )


def _cell_entries(notebook: dict[str, Any], data: bytes, path: Path) -> list[Any]:
    version = notebook.get("nbformat", 3 if "worksheets" in notebook else 4)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _damaged(path, f"its nbformat is {beginning(repr(version), 40)}, not a version number")
    if version > 4:
        raise _damaged(
            path, f"it is written in nbformat {version}, which is not known here", "save it as nbformat 4, or update"
        )
    if version < 4:
        notebook = _upgrade(data, path, version)
    entries = notebook.get("cells")
    if not isinstance(entries, list):
        problem = "it has no list of cells" if entries is None else f"its cells are {_kind(entries)}, not a list"
        raise _damaged(path, problem)
    return entries


def _upgrade(data: bytes, path: Path, version: int) -> dict[str, Any]:
    import nbformat

    library: Any = nbformat  # untyped
    try:
        upgraded = library.convert(library.reader.reads(data.decode("utf-8-sig")), 4)
    except Exception as error:  # the library raises what its upgrade happens to meet
        raise _damaged(
            path, f"its nbformat {version} content cannot be upgraded ({beginning(repr(error), 200)})"
        ) from error
    for cell in upgraded.cells:
        if isinstance(cell, dict):
            cell.pop("id", None)  # made up at random by the upgrade
    return dict(upgraded)


def _text(source: object, number: int, path: Path) -> str:
    if isinstance(source, list):
        for line in source:
            if not isinstance(line, str):
                raise _damaged(path, f"the source of the cell holds {_kind(line)} among its lines", cell=number)
        source = "".join(source)
    if not isinstance(source, str):
        problem = "the cell has no source" if source is None else f"the source of the cell is {_kind(source)}, not text"
        raise _damaged(path, problem, cell=number)
    return source.replace("\r\n", "\n").replace("\r", "\n") if "\r" in source else source


def _text_as_is(source: object) -> str:
    """The text of a cell that is no code, which may be damaged without harm."""
    lines = source if isinstance(source, list) else [source]
    return "".join(line for line in lines if isinstance(line, str)).replace("\r\n", "\n")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _damaged(path: Path, problem: str, fix: str = _OPEN_AND_SAVE, *, cell: int | None = None) -> NotebookCompileError:
    place = path.name if cell is None else f"{path.name}, cell {cell}"
    error = NotebookCompileError(flow_name=path.stem, detail=problem, cell=place, fix=fix)
    error.places = () if cell is None else (cell_place(path.name, cell),)
    return error
