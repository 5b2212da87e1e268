"""Files that the history names by where the workspace was: before it was moved or renamed, or on another workstation."""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from weakref import WeakKeyDictionary

from data_engine.ledger.ledger import Ledger
from data_engine.model import WrittenFile
from data_engine.workspace.layout import WorkspaceLayout

_KNOWN_FOR_S = 60.0
_known: WeakKeyDictionary[Ledger, tuple[Path, float, tuple[PurePath, ...]]] = WeakKeyDictionary()
"""By its history where a workspace is, when it was asked, and where it was."""


def former_roots(folders: Iterable[tuple[str, str]], layout: WorkspaceLayout) -> tuple[PurePath, ...]:
    """Where the workspace was, by source folders as they were authored and as runs found them then; not where it is now.

    Only a relative path of a folder inside the workspace tells it.

    Example:
        >>> layout = WorkspaceLayout(Path("/new"))
        >>> found = [("../in", "/old/in"), ("/data", "/data"), ("../in", str(Path("/new/in")))]
        >>> [root.as_posix() for root in former_roots(found, layout)]
        ['/old']
    """
    found: dict[PurePath, None] = {}
    for authored, folder in folders:
        now = PurePath(os.path.normpath(layout.flow_modules_dir / authored))
        was = _pure(folder)
        if not now.is_relative_to(layout.root) or _is_absolute(authored):
            continue
        inside = now.relative_to(layout.root).parts
        if inside and _same(was.parts[-len(inside) :], inside) and len(was.parts) > len(inside):
            root = type(was)(*was.parts[: -len(inside)])
            if str(root) != str(layout.root):
                found[root] = None
    return tuple(found)


def here(path: str, root: Path, former: Sequence[PurePath]) -> str:
    """A file of the workspace by where it is now; any other path as it is.

    Example:
        >>> PurePath(here("/old/out/a.csv", Path("/new"), [PurePosixPath("/old")])).as_posix(), here("/x", Path("/new"), [])
        ('/new/out/a.csv', '/x')
    """
    if not any(path.startswith(str(one)) for one in former) or Path(path).is_relative_to(root):
        return path
    was = _pure(path)
    for one in former:
        if type(one) is type(was) and was.is_relative_to(one):
            return str(root.joinpath(*was.relative_to(one).parts))
    return path


def to_here(ledger: Ledger, layout: WorkspaceLayout, paths: Iterable[str]) -> Callable[[str], str]:
    """What makes of a path that is one of these the path that holds now; the history is asked only where one lies elsewhere, and
    not again within `_KNOWN_FOR_S`: a flow that polls asks each time.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    inside = f"{layout.root}{os.sep}"
    if all(path.startswith(inside) for path in paths):
        return lambda path: path
    now_s = time.monotonic()
    root, asked_s, former = _known.get(ledger, (None, 0.0, ()))
    if root != layout.root or now_s - asked_s > _KNOWN_FOR_S:
        former = former_roots(ledger.source_folders(), layout)
        _known[ledger] = layout.root, now_s, former
    return lambda path: here(path, layout.root, former)


def own_outputs(ledger: Ledger, layout: WorkspaceLayout, flow: str) -> set[str]:
    """Every file the flow's steps ever returned, by where it is now.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    outputs = ledger.outputs(flow)
    return set(map(to_here(ledger, layout, outputs), outputs))


def outputs_here(ledger: Ledger, layout: WorkspaceLayout, run_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The files that each of these runs wrote, by where they are now.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    found = ledger.outputs_of(run_ids)
    moved = to_here(ledger, layout, (path for paths in found.values() for path in paths))
    return {run_id: tuple(map(moved, paths)) for run_id, paths in found.items()}


def written_here(ledger: Ledger, layout: WorkspaceLayout, most_runs: int) -> list[WrittenFile]:
    """The files that the newest runs wrote, and their sources, by where they are now; each as its newest run left it.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    written = ledger.written(most_runs)
    moved = to_here(ledger, layout, (path for one in written for path in (one.path, *filter(None, one.sources))))
    found: dict[str, WrittenFile] = {}
    for one in written:
        path, sources = moved(one.path), tuple(map(moved, one.sources))
        newer = found.get(path)
        if newer is not None:
            found[path] = replace(newer, sources=tuple(dict.fromkeys((*newer.sources, *sources))))
        else:
            root = None if one.source_root is None else moved(one.source_root)
            found[path] = replace(one, path=path, sources=sources, source_root=root)
    return list(found.values())


def _pure(path: str) -> PurePath:
    is_windows = path[1:3] in (":\\", ":/") or path.startswith("\\\\")
    return PureWindowsPath(path) if is_windows else PurePosixPath(path)


def _is_absolute(authored: str) -> bool:
    return authored.startswith("/") or PureWindowsPath(authored).is_absolute()


def _same(these: Sequence[str], those: Sequence[str]) -> bool:
    return [unicodedata.normalize("NFC", one) for one in these] == [unicodedata.normalize("NFC", one) for one in those]
