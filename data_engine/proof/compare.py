"""Compares what `build` reaches in a kernel with the compiled slice, executed in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_engine.model import utc_text
from data_engine.notebook.artifacts import Artifact, load_artifact
from data_engine.notebook.read import read_cells
from data_engine.proof.fingerprint import STREAM, trace
from data_engine.proof.slice_process import SliceProcess
from data_engine.proof.verdict import Verdict, cells_of, differences_of, differing, doubts_of


def compare(namespace: Mapping[str, Any], path: Path, data: bytes) -> Verdict:
    """How the namespace of a kernel compares with the slice of its notebook at `path`, whose saved content is `data`.

    Raises:
        NotebookCompileError: the notebook cannot become a module.
        FlowExecutionError: the slice cannot be executed.
    """
    artifact = load_artifact(path, data, cache_dir=None)
    names = names_of(artifact)
    with SliceProcess(path, data, names) as process:
        tracer = trace(namespace, names)
        kernel, production = tracer.fingerprint(), process.fingerprint()
        labels, again = differing(kernel, production), production
        if labels or any(label.startswith(STREAM) for label in production.parts):
            with SliceProcess(path, data, names) as other:
                again = other.fingerprint()
        varying = [label for label in labels if again.parts.get(label) != production.parts.get(label)]
        labels = [label for label in labels if label not in varying]
        differences = differences_of(labels, kernel, tracer.details(labels), process.details(labels) if labels else {})
    return Verdict(
        utc_text(time.time()),
        cells_of(texts_of(path, data)),
        tuple(differences),
        tuple(label.partition("#")[0].removesuffix("()") for label in varying),
        tuple(doubts_of(kernel, production, again)),
    )


def names_of(artifact: Artifact) -> frozenset[str]:
    """The names that the slice binds or uses at its top level."""
    return frozenset(name for _, code in artifact.codes for name in code.co_names)


def texts_of(path: Path, data: bytes) -> list[str]:
    """The texts of all code cells."""
    return [cell.text for cell in read_cells(data, path=path)]
