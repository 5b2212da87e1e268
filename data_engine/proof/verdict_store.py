"""The last verdict on each notebook of a workspace, as this machine keeps it."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.model import KernelComparison
from data_engine.notebook.artifacts import load_artifact
from data_engine.notebook.catalog import CatalogEntry
from data_engine.notebook.compiled import CompileWarning
from data_engine.platforms.files import content_of

if TYPE_CHECKING:
    from data_engine.proof.verdict import Verdict

_KEY = "verdict {}"


def keep(home: LocalWorkspace, name: str, verdict: Verdict) -> None:
    """Keep the verdict on the notebook of this name.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    home.ledger().set_setting(_KEY.format(name), json.dumps(verdict.as_dict()))


def last_verdict(home: LocalWorkspace, name: str) -> Verdict | None:
    """The last verdict on the notebook of this name.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    text = home.ledger().setting(_KEY.format(name))
    if text is None:
        return None
    from data_engine.proof.verdict import Verdict  # and what takes fingerprints

    try:
        return Verdict.read(json.loads(text))
    except (ValueError, KeyError, TypeError):  # of another version
        return None


def compared(home: LocalWorkspace, path: Path, data: bytes | None = None) -> KernelComparison | None:
    """How the notebook at `path` compared last, where its content is `data` (None: as it is saved); None of what is no notebook.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    if path.suffix != ".ipynb" or (data is None and not os.path.isfile(path)):
        return None
    verdict = last_verdict(home, path.stem)
    if verdict is None:
        return KernelComparison()
    from data_engine.proof.verdict import cells_in

    try:
        return verdict.compared(cells_in(path, content_of(path) if data is None else data))
    except (OSError, FlowValidationError):
        return KernelComparison()


def compared_in(
    home: LocalWorkspace, contents: Mapping[str, bytes], names: Iterable[str]
) -> dict[str, KernelComparison]:
    """How the notebooks of these names compared last, by their contents in a set of modules.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    files = {name: f"{name}.ipynb" for name in names}
    folder = home.layout.flow_modules_dir
    answers = {name: compared(home, folder / file, contents[file]) for name, file in files.items() if file in contents}
    return {name: answer for name, answer in answers.items() if answer is not None}


def unsettled(home: LocalWorkspace, path: Path, warnings: Iterable[CompileWarning]) -> tuple[CompileWarning, ...]:
    """The warnings of the notebook at `path`, but for guesses that the comparison of these very cells settled: nothing differed.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    verdict, last = last_verdict(home, path.stem), compared(home, path)
    if verdict is None or last is None or last.changed or last.differences:
        return tuple(warnings)
    doubted = " ".join(verdict.doubts)
    return tuple(warning for warning in warnings if not warning.may_change or f"`{warning.may_change}`" in doubted)


def unsettled_texts(home: LocalWorkspace, path: Path, texts: Collection[str]) -> tuple[str, ...]:
    """As `unsettled`, of warnings as texts, some of which the compiler did not give.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    settled: set[str] = set()
    if texts and path.suffix == ".ipynb":
        with suppress(OSError, FlowValidationError):
            warnings = load_artifact(path, content_of(path), cache_dir=home.modules().cache_dir).compiled.warnings
            settled = {*map(str, warnings)} - {*map(str, unsettled(home, path, warnings))}
    return tuple(text for text in texts if text not in settled)


def with_unsettled(home: LocalWorkspace, entries: Iterable[CatalogEntry]) -> list[CatalogEntry]:
    """The entries, each without the warnings that a comparison settled.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    return [replace(entry, warnings=unsettled_texts(home, entry.path, entry.warnings)) for entry in entries]
