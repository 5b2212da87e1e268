"""The environment that a daemon and its workers start with, and the Python that a workspace's workers run with on this machine.

A person may choose that Python; without a choice it is the one of whoever started the daemon last, so that production has
the libraries the preview had. Both are kept in this machine's ledger of the workspace, and neither is published.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping

from data_engine.errors import WorkspaceError
from data_engine.platforms.names import with_home
from data_engine.platforms.processes import apart, program_of
from data_engine.version import __version__, import_folder
from data_engine.workspace.layout import without_kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from data_engine.ledger.ledger import Ledger

MARK = "DATA_ENGINE_WORKER"
"""Set in the environment of every worker, and so of all it starts."""


def environment_of_workers(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of workers: the daemon's without what a kernel has put there.

    Example:
        >>> sorted(environment_of_workers({"PATH": "/bin", "JPY_SESSION_NAME": "a.ipynb", "MPLBACKEND": "agg"}))
        ['DATA_ENGINE_WORKER', 'MPLBACKEND', 'PATH']
    """
    return without_kernel(environment) | {MARK: "1"}


def import_path(environment: Mapping[str, str]) -> dict[str, str]:
    """`-P` leaves the working directory out of `sys.path`; a package that is imported from a checkout must be found still.

    An installed package is found by its own interpreter; its folder would give another one libraries that are not its own.
    """
    folder = import_folder()
    before = environment.get("PYTHONPATH", "")
    if os.path.basename(folder) in ("site-packages", "dist-packages"):
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [folder, before]))}


_TRY_S = 60.0


def try_python(python: str, code: str, environment: Mapping[str, str]) -> tuple[str, str | None]:
    """The last line that `code` prints in a fresh process of that Python, in an empty folder; and why it failed, None where it
    did not."""
    program, started_in = program_of(python, environment)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows removes none that a process is in
        try:
            process = subprocess.run(
                [program, "-P", "-c", code],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TRY_S,
                cwd=folder,
                env=started_in,
                check=False,
                **apart(),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return "", str(error)
    if process.returncode != 0:
        return "", _last_line(process.stderr) or f"it ended with exit code {process.returncode}"
    return _last_line(process.stdout), None


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2].strip()


# -- the Python of the workers ---------------------------------------------------------------------------------------

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


def checked_interpreter(path: str | os.PathLike[str]) -> str:
    """`path` as an absolute path, when that Python has this very Data Engine; links are kept, they make a venv.

    Raises:
        WorkspaceError: it is not there, is no Python, or has no or another Data Engine.
    """
    if not isinstance(path, (str, os.PathLike)) or not str(path).strip():
        raise WorkspaceError(
            f"an interpreter cannot be {path!r}", where="interpreter", fix="give the path of a Python executable"
        )
    full = os.path.abspath(with_home(path))
    if not os.path.exists(full):
        raise unusable(full, "it does not exist")
    if os.path.isdir(full) or not os.access(full, os.X_OK):
        raise unusable(full, "it is not a program")
    version, why = try_python(full, _TRY, environment_of_workers(os.environ) | import_path(os.environ))
    if why is None and version != __version__:
        why = f"it has version {version or '?'}, and this is {__version__}"
    if why is not None:
        raise unusable(full, why)
    return full


def unusable(path: str, why: str) -> WorkspaceError:
    """The error for an interpreter that workers cannot run with, chosen just now or recorded before."""
    install = f"or install it there: {path} -m pip install data-engine=={__version__}"
    other = (
        "give the path of a Python executable that has Data Engine (Workspace(path).set_interpreter), or None for that"
    )
    return WorkspaceError(
        f"runs cannot use {path}: {why}",
        where="interpreter",
        fix=f"{other} of whoever starts the daemon; {install}",
    )
