"""Where the older system keeps its state on this machine: its settings, and the ledgers of a workspace.

    <state root>/settings/app_settings.sqlite
    <artifacts>/runtime_state/<id>_<12 hex digits>/runtime_cache.sqlite     version 0.3
    <artifacts>/runtime_state/<id>_<12 hex digits>/runtime_ledger.sqlite    version 0.1

The artifacts lie in the state root unless its settings say otherwise; the digits come of the workspace's absolute path.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import field
from pathlib import Path

from data_engine.errors import LedgerError, WorkspaceError
from data_engine.flow.paths import portable_text
from data_engine.ledger.connection import connect_to_look
from data_engine.platforms.names import with_home
from data_engine.record import frozen

_LEDGERS = ("runtime_cache.sqlite", "runtime_ledger.sqlite")
_SETTINGS = "settings/app_settings.sqlite"


@frozen
class OlderPlaces:
    """What of the older system was found on this machine."""

    settings: Mapping[str, str] = field(default_factory=dict)
    ledgers: tuple[Path, ...] = ()


def find_places(root: Path, ids: Iterable[str], ledger: Path | None) -> OlderPlaces:
    """The older system's places for the workspace at `root`, which it calls by one of `ids`.

    `ledger` is a ledger's file, for who knows it; else the usual places are looked in.

    Raises:
        WorkspaceError: what was named is not there.
        LedgerError: its settings cannot be read.
    """
    if ledger is not None and not ledger.exists():
        raise WorkspaceError(f"{ledger} does not exist", where="--ledger", fix="give the path of a ledger's file")
    roots = _state_roots()
    found = next((path for folder in roots if (path := folder / _SETTINGS).is_file()), None)
    settings = {} if found is None else _read_settings(found)
    others = (settings.get("runtime_root"), os.environ.get("DATA_ENGINE_RUNTIME_ROOT", "").strip())
    artifacts = [*(folder / "artifacts" for folder in roots), *(Path(one) for one in others if one)]
    texts = [os.path.abspath(root), os.path.realpath(root)]
    spellings = dict.fromkeys([*texts, *(text.casefold() for text in texts)])  # as its versions may have spelt it
    names = [namespace(one, spelling) for one in (*sorted({*ids, root.name}), "default") for spelling in spellings]
    folders = [base / "runtime_state" / name for base in artifacts for name in names]
    ledgers = [folder / name for folder in folders for name in _LEDGERS] if ledger is None else [ledger]
    return OlderPlaces(settings, tuple(dict.fromkeys(filter(Path.is_file, ledgers))))


def namespace(older_id: str, root: str) -> str:
    """The name of the older system's folder for the workspace `older_id` at the absolute path `root`."""
    return f"{older_id}_{hashlib.sha1(portable_text(root).encode(), usedforsecurity=False).hexdigest()[:12]}"


def _read_settings(path: Path) -> dict[str, str]:
    try:
        with closing(connect_to_look(path)) as connection:
            return {str(key): str(value) for key, value in connection.execute("SELECT key, value FROM settings")}
    except sqlite3.Error as error:
        fix = "restore them, or move them away"
        raise LedgerError(f"the older system's settings cannot be read: {error}", where=str(path), fix=fix) from error


def _state_roots() -> list[Path]:
    import platformdirs

    app = os.environ.get("DATA_ENGINE_APP_ROOT", "").strip()
    named = (os.environ.get("DATA_ENGINE_STATE_ROOT", "").strip(), f"{app}/.data_engine_state" if app else "")
    usual = (platformdirs.user_state_path, platformdirs.user_data_path)
    return [
        *(Path(os.path.abspath(with_home(one))) for one in named if one),
        *(folder("data_engine", appauthor=False) for folder in usual),
    ]
