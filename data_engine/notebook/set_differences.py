"""What differs between two deployed sets in the code of one flow: its notebook cell by cell, its module and its helpers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_engine.errors import FlowValidationError
from data_engine.notebook.artifacts import load_artifact
from data_engine.notebook.compiled import Chunk

_MOST_LINES = 200
_ENDS = "only empty lines, or how lines end, differ"


def code_differences(
    old: Mapping[str, bytes], new: Mapping[str, bytes], flow: str, folder: Path
) -> dict[str, list[str]]:
    """The lines that went ("- ") and came ("+ "), by "cell 3" or by the name of a file; of helpers too.

    `folder` is the authored one, by which the notebook is known.

    Example:
        >>> code_differences({"a.py": b"x = 1\\n"}, {"a.py": b"x = 2\\n"}, "a", Path("/ws/flow_modules"))
        {'a.py': ['- x = 1', '+ x = 2']}
    """
    found: dict[str, list[str]] = {}
    notebook = f"{flow}.ipynb"
    if notebook in old and notebook in new:
        found |= _cells(old[notebook], new[notebook], folder / notebook)
    others = [name for name in {**old, **new} if "/" in name or name == f"{flow}.py"]
    for name in sorted(others):
        before, after = old.get(name, b""), new.get(name, b"")
        if before != after:
            found[name] = _lines(before.decode("utf-8", "replace"), after.decode("utf-8", "replace")) or [_ENDS]
    return {name: lines[:_MOST_LINES] for name, lines in found.items()}


def _cells(old: bytes, new: bytes, path: Path) -> dict[str, list[str]]:
    if old == new:
        return {}
    try:
        was, now = (_chunks(data, path) for data in (old, new))
    except FlowValidationError:
        return {path.name: ["the notebook differs, and one of the two does not compile"]}
    return {f"cell {cell}": lines for cell, lines in cell_differences(was, now).items()}


def cell_differences(was: Sequence[Chunk], now: Sequence[Chunk]) -> dict[int, list[str]]:
    """The lines that went ("- "), and then those that came ("+ "), by the number of the cell; of one that is gone, by its old number.

    Cells are the same that have the same text, or else the same id, or else the same place between such: a copy of a notebook,
    or a tool that writes cells anew, changes ids.

    Example:
        >>> was, now = [Chunk(1, "a", "x = 1", ""), Chunk(2, "b", "y = 1", "")], [Chunk(1, "c", "x = 1", ""), Chunk(2, "d", "y = 2", "")]
        >>> cell_differences(was, now)
        {2: ['- y = 1', '+ y = 2']}
    """
    partner: dict[int, int] = {}
    free = dict.fromkeys(range(len(was)))
    for key in (_id_and_code, _code, _id):
        waiting: dict[object, list[int]] = {}
        for index in reversed(free):
            waiting.setdefault(key(was[index]), []).append(index)
        for index, chunk in enumerate(now):
            if index not in partner and (same := waiting.get(key(chunk))):
                partner[index] = same.pop()
                del free[partner[index]]
    last = -1
    for index in range(len(now)):
        if index not in partner and last + 1 in free:
            partner[index] = last + 1
            del free[last + 1]
        last = partner.get(index, last)
    pairs = [(chunk.cell, was[partner[at]].text if at in partner else "", chunk.text) for at, chunk in enumerate(now)]
    pairs += [(was[index].cell, was[index].text, "") for index in free]
    found: dict[int, list[str]] = {}
    for cell, before, after in sorted(pairs, key=lambda pair: pair[0]):
        if lines := _lines(before, after):
            found.setdefault(cell, []).extend(lines)
    return found


def _id(chunk: Chunk) -> object:
    return chunk.cell_id


def _code(chunk: Chunk) -> object:
    return tuple(line.rstrip("\r") for line in chunk.text.split("\n") if line.strip())


def _id_and_code(chunk: Chunk) -> object:
    return _id(chunk), _code(chunk)


def _chunks(data: bytes, path: Path) -> tuple[Chunk, ...]:
    return tuple(load_artifact(path, data, cache_dir=None).compiled.chunks)


def _lines(before: str, after: str) -> list[str]:
    was, now = ([line.rstrip("\r") for line in text.split("\n") if line.strip()] for text in (before, after))
    lines = list(difflib.ndiff(was, now))
    return [line for sign in ("- ", "+ ") for line in lines if line.startswith(sign)]
