"""What the panel's Outputs tab lists: the files that flows wrote, as the history tells of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_engine.client import Workspace
from data_engine.model import WrittenFile
from jupyter_extension.details import is_on_another_host
from jupyter_extension.file_check import file_exists

MOST_RUNS = 20_000
"""The newest runs, whose files are listed."""

_known: dict[Path, tuple[int, list[WrittenFile]]] = {}


@dataclass(frozen=True, slots=True)
class OutputView:
    """A file that a flow wrote, as its newest run left it. `folder` is below the workspace where it lies there; `is_there` is None
    where its drive was not asked, or does not say."""

    path: str
    name: str
    folder: str
    flow: str
    run_id: str
    at_utc: str
    size_bytes: int | None
    rows: int | None
    is_there: bool | None


@dataclass(frozen=True, slots=True)
class OutputsView:
    """The files that were asked for, the newest first; `total` counts all, `found` those that pass the search."""

    total: int
    found: int
    files: tuple[OutputView, ...]


def flow_outputs(ws: Workspace, *, search: str, limit: int) -> OutputsView:
    """The files of which each word of `search` is in the path or the flow's name.

    Raises:
        LedgerError: the history cannot be read.
    """
    ledger = ws.home.ledger()
    version = ledger.data_version()
    known = _known.get(ws.root)
    if known is None or known[0] != version:
        known = _known[ws.root] = (version, ledger.written(MOST_RUNS))
    words = search.casefold().split()
    found = [one for one in known[1] if all(word in f"{one.path} {one.flow}".casefold() for word in words)]
    page = found[:limit]
    there = _there([one.path for one in page if not is_on_another_host(one.path, ws.root)])
    return OutputsView(len(known[1]), len(found), tuple(_view(one, ws.root, there.get(one.path)) for one in page))


def _there(paths: Sequence[str]) -> dict[str, bool]:
    """Which of the paths are there, as far as their drives say so in a second."""
    found: dict[str, bool] = {}

    def look(_: str) -> bool:
        found.update((path, os.path.exists(path)) for path in paths)
        return True

    file_exists("", look)
    return dict(found)


def _view(one: WrittenFile, root: Path, is_there: bool | None) -> OutputView:
    folder, name = os.path.split(one.path)
    inside = os.path.relpath(folder, root) if Path(folder).is_relative_to(root) else folder
    return OutputView(one.path, name, inside, one.flow, one.run_id, one.at_utc, one.size_bytes, one.rows, is_there)
