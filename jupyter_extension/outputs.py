"""What the panel's Outputs tab lists: the files that flows wrote, as the history tells of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from data_engine.client import Workspace
from data_engine.engine.left_behind import is_source_gone
from data_engine.file_check import file_exists
from data_engine.ledger.former_places import written_here
from data_engine.model import WrittenFile
from data_engine.record import frozen
from jupyter_extension.details import is_on_another_host

MOST_RUNS = 20_000
"""The newest runs, whose files are listed."""

_known: dict[Path, tuple[int, list[WrittenFile]]] = {}


@frozen
class OutputView:
    """A file that a flow wrote, as its newest run left it. `folder` is below the workspace where it lies there; `is_there` is None
    where its drive was not asked, or does not say; `is_source_gone` that every source it was written for is known to be gone."""

    path: str
    name: str
    folder: str
    flow: str
    run_id: str
    at_utc: str
    size_bytes: int | None
    rows: int | None
    is_there: bool | None
    is_source_gone: bool = False


@frozen
class OutputsView:
    """The files that were asked for, the newest first; `total` counts all, `found` those that pass the search."""

    total: int
    found: int
    files: tuple[OutputView, ...]


def flow_outputs(ws: Workspace, *, search: str, limit: int) -> OutputsView:
    """The files of which each word of `search` is in the path or the flow's name.

    Where the workspace is does not count: its folder is in every path. A whole path that is pasted finds its file.

    Raises:
        LedgerError: the history cannot be read.
    """
    ledger = ws.home.ledger()
    version = ledger.data_version()
    known = _known.get(ws.root)
    if known is None or known[0] != version:
        known = _known[ws.root] = (version, written_here(ledger, ws.layout, MOST_RUNS))
    root = f"{ws.root}{os.sep}"
    words = search.replace(root, "").casefold().split()
    found = [
        one for one in known[1] if all(word in f"{one.path.removeprefix(root)} {one.flow}".casefold() for word in words)
    ]
    page = found[:limit]
    there = _looked([one for one in page if not is_on_another_host(one.path, ws.root)])
    return OutputsView(
        len(known[1]), len(found), tuple(_view(one, ws.root, *there.get(one.path, _UNKNOWN)) for one in page)
    )


_UNKNOWN: tuple[bool | None, bool] = (None, False)


def _looked(files: Sequence[WrittenFile]) -> dict[str, tuple[bool | None, bool]]:
    """Of each path whether it is there, and whether its source is gone, as far as their drives say so in a second."""
    found: dict[str, tuple[bool | None, bool]] = {}

    def look(_: str) -> bool:
        found.update((one.path, (os.path.exists(one.path), is_source_gone(one))) for one in files)
        return True

    file_exists("", look)
    return dict(found)


def _view(one: WrittenFile, root: Path, is_there: bool | None, is_source_gone: bool) -> OutputView:
    folder, name = os.path.split(one.path)
    inside = os.path.relpath(folder, root) if Path(folder).is_relative_to(root) else folder
    size = (one.size_bytes, one.rows)
    return OutputView(one.path, name, inside, one.flow, one.run_id, one.at_utc, *size, is_there, is_source_gone)
