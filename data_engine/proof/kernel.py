"""The comparison from within the notebook's own kernel, and the cells that changed what differs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.notebook.artifacts import load_artifact
from data_engine.notebook.read import read_cells
from data_engine.platforms.files import content_of
from data_engine.proof.cells import CHANGES
from data_engine.proof.compare import compare, names_of
from data_engine.proof.kept import keep, kept
from data_engine.proof.verdict import Verdict
from data_engine.workspace.here import here


def is_own_notebook(namespace: Mapping[str, Any], path: Path) -> bool:
    """Whether this process is the kernel of the notebook at `path`, and has run the cell with its `build`."""
    place = here()
    is_here = place is not None and place.problem is None and place.path == path
    return is_here and path.suffix == ".ipynb" and callable(namespace.get("build"))


def compare_kernel(home: LocalWorkspace, path: Path, namespace: Mapping[str, Any]) -> Verdict:
    """The verdict on the notebook at `path`, by what its kernel holds; kept from then on. Of notes, those that were told before
    of the same content are left out.

    Raises:
        NotebookCompileError: the notebook cannot become a module.
        FlowExecutionError: its slice cannot be executed.
        OSError: it cannot be read.
    """
    data = content_of(path)
    before = kept(home, path.stem)
    verdict = compare(namespace, path, data)
    if not verdict.is_same:
        verdict = _with_cells(verdict, path, data, namespace)
    keep(home, path.stem, verdict)
    if before is None:
        return verdict
    varying = tuple(name for name in verdict.varying if name not in before.varying)
    return replace(verdict, varying=varying, doubts=tuple(one for one in verdict.doubts if one not in before.doubts))


def _with_cells(verdict: Verdict, path: Path, data: bytes, namespace: Mapping[str, Any]) -> Verdict:
    """The verdict, each difference with the left-out cells of this kernel that are behind it."""
    artifact = load_artifact(path, data, cache_dir=None)
    parts_left = {cell.number for cell in artifact.compiled.cells if not all(one.taken for one in cell.statements)}
    left = {cell.text.strip(): cell.number for cell in read_cells(data, path=path) if cell.number in parts_left}
    bound = names_of(artifact)

    def cells_behind(name: str) -> tuple[int, ...]:
        root = re.split(r"[.\[]", name)[0]
        return tuple(sorted({left[text] for text in CHANGES.cells_behind(root, namespace, bound, left)}))

    return replace(
        verdict, differences=tuple(replace(one, cells=cells_behind(one.name)) for one in verdict.differences)
    )
