"""What of the environment of whoever starts a daemon it and its workers get: all but what a kernel, or a map, has put there."""

from __future__ import annotations

from collections.abc import Mapping

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
