"""What a daemon and its workers get of the environment of whoever starts them; and trying code in a Python that is perhaps another one."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping

from data_engine.daemon.process_tree import MARK
from data_engine.platforms.processes import apart, program_of
from data_engine.version import import_folder

_OF_KERNELS = ("JPY_", "JUPYTER_", "IPYTHON", "PYDEVD_", "COLAB_", "VSCODE_")
_SET_BY_KERNELS = {
    "TERM": "xterm-color",
    "CLICOLOR": "1",
    "CLICOLOR_FORCE": "1",
    "FORCE_COLOR": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
}


def without_kernel(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment as it was before a kernel began: a run is the same whoever started the daemon.

    Reference: ipykernel's `ZMQInteractiveShell.init_environment`; with its colours, logs would be full of escape codes.

    Example:
        >>> sorted(without_kernel({"PATH": "/bin", "JPY_SESSION_NAME": "a.ipynb", "MPLBACKEND": "agg", "PAGER": "cat"}))
        ['MPLBACKEND', 'PAGER', 'PATH']
        >>> without_kernel({"PATH": "/bin", **_SET_BY_KERNELS})
        {'PATH': '/bin'}
    """
    has_its_terminal = all(environment.get(name) == value for name, value in _SET_BY_KERNELS.items())
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(_OF_KERNELS)
        and not (name == "MPLBACKEND" and value.startswith("module://"))
        and not (has_its_terminal and name in _SET_BY_KERNELS)
        and name not in ("DATA_ENGINE_NOTEBOOK", "DATA_ENGINE_ITEM", "DATA_ENGINE_NODE")
    }


def environment_of_workers(environment: Mapping[str, str]) -> dict[str, str]:
    """What workers get of the daemon's environment: all but what a kernel has put there.

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
    known = environment.get("PYTHONPATH", "")
    if os.path.basename(folder) in ("site-packages", "dist-packages"):
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [folder, known]))}


_TRY_S = 60.0


def tried(python: str, code: str, environment: Mapping[str, str]) -> tuple[str, str | None]:
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
