"""What helps where a step's relative path leads to no file: where it leads, and which file of the workspace may be meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from data_engine.errors import message_of

_MISSING = (
    re.compile(r"^No such file or directory \(os error [23]\): ([^\n]+)"),
    re.compile(r"^The system cannot find the (?:file|path) specified\. \(os error [23]\): ([^\n]+)"),
    re.compile(r"^no workbook found at path '([^\n]+)'"),
    re.compile(r'No files found that match the pattern "([^"\n]+)"'),
)
"""What Polars and DuckDB say of a file that is not there; Python's own error names it."""

_MOST_FOLDERS = 200


def path_hint(error: BaseException, workspace: Path | None) -> str | None:
    """The fix of a relative path that leads to no file; None of any other error.

    Example:
        >>> print(path_hint(FileNotFoundError(2, "No such file", "prices.csv"), None).replace(os.getcwd(), "/w/flow_modules"))
        "prices.csv" means /w/flow_modules/prices.csv: a relative path starts in /w/flow_modules
    """
    name = _named(error)
    if name is None or os.path.isabs(name) or any(one in name for one in "*?[:"):
        return None
    here = os.getcwd()
    said = f'"{name}" means {os.path.abspath(name)}: a relative path starts in {here}'
    found = None if workspace is None else next(_meant(name, workspace), None)
    if found is None:
        return said
    with suppress(ValueError):  # another drive of Windows
        return f'{said}; {found} is there: write "{Path(os.path.relpath(found, here)).as_posix()}"'
    return f"{said}; {found} is there"


def _named(error: BaseException) -> str | None:
    """The path of the file that is missing, as the step has it."""
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
        return error.filename
    text = message_of(error)[:2000]
    found = next(filter(None, (pattern.search(text) for pattern in _MISSING)), None)
    return None if found is None else found[1]


def _meant(name: str, workspace: Path) -> Iterator[Path]:
    """The file of that path in the workspace's folder; of a bare name, which a step can only have read, those in its folders too."""
    folders = [workspace]
    if os.path.basename(name) == name:
        with suppress(OSError), os.scandir(workspace) as entries:
            inside = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
            folders += [workspace / folder for folder in inside[:_MOST_FOLDERS]]
    for folder in folders:
        with suppress(OSError):
            if (folder / name).is_file():
                yield Path(os.path.abspath(folder / name))
