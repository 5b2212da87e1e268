"""The last verdict on each notebook of a workspace, as this machine keeps it."""

from __future__ import annotations

import json
from pathlib import Path

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.platforms.files import content_of
from data_engine.proof.compare import texts_of
from data_engine.proof.verdict import NEVER, Verdict, cells_of

_KEY = "verdict {}"


def keep(home: LocalWorkspace, name: str, verdict: Verdict) -> None:
    """Keep the verdict on the notebook of this name.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    home.ledger().set_setting(_KEY.format(name), json.dumps(verdict.as_dict()))


def kept(home: LocalWorkspace, name: str) -> Verdict | None:
    """The last verdict on the notebook of this name.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    text = home.ledger().setting(_KEY.format(name))
    try:
        return None if text is None else Verdict.read(json.loads(text))
    except (ValueError, KeyError, TypeError):  # of another version
        return None


def verdict_words(home: LocalWorkspace, path: Path) -> str:
    """What is told of a notebook's last comparison, by its saved cells: "as in the kernel of 10:32"; "" of a module that is none.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    if path.suffix != ".ipynb" or not path.is_file():
        return ""
    verdict = kept(home, path.stem)
    return NEVER if verdict is None else verdict.words(_cells_now(path))


def differences_now(home: LocalWorkspace, path: Path) -> Verdict | None:
    """The verdict on a notebook whose cells are still those that were compared, where something differed; else None.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    verdict = kept(home, path.stem)
    is_of_now = verdict is not None and not verdict.is_same and verdict.cells == _cells_now(path)
    return verdict if is_of_now else None


def _cells_now(path: Path) -> tuple[str, ...]:
    try:
        return cells_of(texts_of(path, content_of(path)))
    except (OSError, FlowValidationError):
        return ()
