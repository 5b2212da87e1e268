"""What differs between two deployed sets in the code of one flow: its notebook cell by cell, its module and its helpers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
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
    return found


def _cells(old: bytes, new: bytes, path: Path) -> dict[str, list[str]]:
    if old == new:
        return {}
    try:
        was, now = ({chunk.cell_id: chunk for chunk in _chunks(data, path)} for data in (old, new))
    except FlowValidationError:
        return {path.name: ["the notebook differs, and one of the two does not compile"]}
    found = {}
    for cell_id in dict.fromkeys([*now, *was]):
        texts = [chunks[cell_id].text if cell_id in chunks else "" for chunks in (was, now)]
        if lines := _lines(*texts):
            found[f"cell {(now.get(cell_id) or was[cell_id]).cell}"] = lines
    return found


def _chunks(data: bytes, path: Path) -> tuple[Chunk, ...]:
    return tuple(load_artifact(path, data, cache_dir=None).compiled.chunks)


def _lines(before: str, after: str) -> list[str]:
    was, now = ([line.rstrip("\r") for line in text.split("\n") if line.strip()] for text in (before, after))
    return [line for line in difflib.ndiff(was, now) if line[:2] in ("- ", "+ ")][:_MOST_LINES]
