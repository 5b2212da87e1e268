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
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from data_engine.errors import LedgerError, WorkspaceError
from data_engine.flow.paths import portable_text
from data_engine.ledger.connection import connect_to_look
from data_engine.platforms.names import with_home

LEDGERS = ("runtime_cache.sqlite", "runtime_ledger.sqlite")
"""The names of its ledgers, the newer version's first."""

_SETTINGS = "settings/app_settings.sqlite"


@dataclass(frozen=True, slots=True)
class OlderPlaces:
    """What of the older system was found on this machine. `elsewhere` are ledgers of the same id under another path."""

    settings_path: Path | None = None
    settings: Mapping[str, str] | None = None
    ledgers: tuple[Path, ...] = ()
    elsewhere: tuple[Path, ...] = ()
    looked_in: tuple[Path, ...] = ()


def find_places(
    root: Path, ids: Iterable[str], *, state: Path | None = None, ledger: Path | None = None
) -> OlderPlaces:
    """The older system's places for the workspace at `root`, which it calls by one of `ids`.

    `state` is its state root and `ledger` a ledger's file, for who knows; else the usual places are looked in.

    Raises:
        WorkspaceError: what was named is not there, or its settings cannot be read.
    """
    for named, option in ((state, "--state"), (ledger, "--ledger")):
        if named is not None and not named.exists():
            raise WorkspaceError(
                f"{named} does not exist", where=option, fix="give the path of what the older system left"
            )
    roots = [state] if state is not None else _state_roots()
    found = next((path for folder in roots if (path := folder / _SETTINGS).is_file()), None)
    settings = {} if found is None else read_settings(found)
    artifacts = [folder / "artifacts" for folder in roots]
    named_folders = (settings.get("runtime_root"), os.environ.get("DATA_ENGINE_RUNTIME_ROOT", "").strip())
    artifacts += [Path(folder) for folder in named_folders if folder]
    ids = sorted({*ids, root.name})
    ledgers = [ledger] if ledger is not None else _own_ledgers(root, ids, artifacts)
    others = _ledgers_in(
        folder for base in artifacts for one in ids for folder in _folders_of(base / "runtime_state", one)
    )
    elsewhere = tuple(path for path in dict.fromkeys(others) if path not in ledgers)
    return OlderPlaces(found, settings, tuple(dict.fromkeys(ledgers)), elsewhere, tuple(dict.fromkeys(roots)))


def _own_ledgers(root: Path, ids: Sequence[str], artifacts: Sequence[Path]) -> list[Path]:
    """The ledgers of the workspace at this very path, and the one that the older system's variable names."""
    names = [namespace(one, spelling) for one in (*ids, "default") for spelling in _spellings(root)]
    found = _ledgers_in(base / "runtime_state" / name for base in artifacts for name in names)
    named = os.environ.get("DATA_ENGINE_RUNTIME_CACHE_DB_PATH", "").strip()
    return [*found, Path(named)] if named and Path(named).is_file() else found


def namespace(older_id: str, root: str) -> str:
    """The name of the older system's folder for the workspace `older_id` at the absolute path `root`.

    Example:
        >>> namespace("claims", "/team/claims")
        'claims_c7ec96f12b25'
    """
    return f"{older_id}_{hashlib.sha1(portable_text(root).encode(), usedforsecurity=False).hexdigest()[:12]}"


def read_settings(path: Path) -> dict[str, str]:
    """The older system's settings of this machine.

    Raises:
        LedgerError: the file cannot be read, or has no settings.
    """
    try:
        with closing(connect_to_look(path)) as connection:
            return {str(key): str(value) for key, value in connection.execute("SELECT key, value FROM settings")}
    except sqlite3.Error as error:
        raise LedgerError(
            f"the older system's settings cannot be read: {error}",
            where=str(path),
            fix="leave them out: --without settings",
        ) from error


def _state_roots() -> list[Path]:
    import platformdirs

    named = [
        os.environ.get("DATA_ENGINE_STATE_ROOT", "").strip(),
        f"{app}/.data_engine_state" if (app := os.environ.get("DATA_ENGINE_APP_ROOT", "").strip()) else "",
    ]
    usual = (
        platformdirs.user_state_path("data_engine", appauthor=False),
        platformdirs.user_data_path("data_engine", appauthor=False),
    )
    return list(dict.fromkeys([*(Path(os.path.abspath(with_home(one))) for one in named if one), *usual]))


def _spellings(root: Path) -> list[str]:
    """The path as the versions of the older system may have spelt it."""
    texts = [os.path.abspath(root), os.path.realpath(root)]
    return list(dict.fromkeys([*texts, *(text.casefold() for text in texts)]))


def _ledgers_in(folders: Iterable[Path]) -> list[Path]:
    return [path for folder in folders for name in LEDGERS if (path := folder / name).is_file()]


def _folders_of(runtime_state: Path, older_id: str) -> list[Path]:
    try:
        names = sorted(os.listdir(runtime_state))
    except OSError:
        return []
    return [
        runtime_state / name
        for name in names
        if name.rpartition("_")[0] == older_id and len(name.rpartition("_")[2]) == 12
    ]
