"""The Python a workspace's workers run with on this machine: which it is, and whether it can.

A person may choose one; without that it is the one of whoever started the daemon last, so that production has the
libraries the preview had. Both are kept in this machine's ledger of the workspace, and neither is published.
"""

from __future__ import annotations

import os

from data_engine.errors import WorkspaceError
from data_engine.ledger.ledger import Ledger
from data_engine.platforms.names import with_home
from data_engine.version import __version__

_CHOSEN = "interpreter"
_OF_LAST_START = "interpreter of the last start"
_TRY = (
    "import data_engine, data_engine.daemon.worker, data_engine.ledger.connection, psutil, tomlkit;"
    " print(data_engine.__version__)"
)


def recorded_interpreter(ledger: Ledger) -> str | None:
    """The interpreter that was chosen, else that of the last start; None when nobody has started a daemon.

    Raises:
        LedgerError: it cannot be read.
    """
    return ledger.setting(_CHOSEN) or ledger.setting(_OF_LAST_START) or None


def choose_interpreter(ledger: Ledger, path: str | None) -> None:
    """Keep a person's choice; None leaves it to whoever starts the daemon.

    Raises:
        LedgerError: it cannot be kept.
    """
    ledger.set_setting(_CHOSEN, path or "")


def note_start(ledger: Ledger, path: str) -> None:
    """Keep the interpreter of whoever starts the daemon.

    Raises:
        LedgerError: it cannot be kept.
    """
    if ledger.setting(_OF_LAST_START) != path:
        ledger.set_setting(_OF_LAST_START, path)


def checked_interpreter(path: str | os.PathLike[str], *, is_given: bool = False) -> str:
    """`path` as an absolute path, when that Python has this very Data Engine; links are kept, they make a venv. It `is_given` by a
    person just now, else recorded.

    Raises:
        WorkspaceError: it is not there, is no Python, or has no or another Data Engine.
    """
    from data_engine.daemon.environment import environment_of_workers, import_path, tried

    if not isinstance(path, (str, os.PathLike)) or not str(path).strip():
        raise WorkspaceError(
            f"an interpreter cannot be {path!r}", where="interpreter", fix="give the path of a Python executable"
        )
    full = os.path.abspath(with_home(path))
    if (why := _why_no_program(full)) is not None:
        raise _refused(full, why, _GIVE) if is_given else unusable(full, why, fix=_CHOOSE)
    found, why = tried(full, _TRY, environment_of_workers(os.environ) | import_path(os.environ))
    if why is None and found != __version__:
        why = f"it has version {found or '?'}, and this is {__version__}"
    if why is not None:
        raise _refused(full, why, f"{_install(full)}; or {_GIVE}") if is_given else unusable(full, why)
    return full


def _why_no_program(path: str) -> str | None:
    if not os.path.exists(path):
        return "it does not exist"
    return "it is not a program" if os.path.isdir(path) or not os.access(path, os.X_OK) else None


def _refused(path: str, why: str, fix: str) -> WorkspaceError:
    """The error for an interpreter that somebody chooses, and that workers cannot run with."""
    return WorkspaceError(f"runs cannot use {path}: {why}", where="interpreter", fix=fix)


def unusable(path: str, why: str, *, fix: str | None = None) -> WorkspaceError:
    """The error for an interpreter that workers cannot run with."""
    return WorkspaceError(
        f"the Python recorded for this workspace's workers on this machine cannot run Data Engine: {why}",
        where=path,
        fix=fix or f"{_install(path)}; or {_CHOOSE}",
    )


def _install(path: str) -> str:
    return f"install it there: {path} -m pip install data-engine=={__version__}"


_CHOOSE = (
    "choose another: Workspace(path).set_interpreter(sys.executable) in the Python that is meant, or "
    "set_interpreter(None) for that of whoever starts the daemon"
)
_GIVE = (
    "give the path of a Python executable that has Data Engine; without one, runs use the Python that starts the daemon"
)
