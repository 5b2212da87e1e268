"""How a cell of this kernel calls the command line: by its name, or by the kernel's interpreter where that is not on PATH."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import sysconfig

from jupyter_extension.cell_hints import shell_of


def shell_here() -> str:
    """What stands before the words of a command in a cell of this kernel; looked up once for each PATH."""
    return _shell_with(os.environ.get("PATH", ""))


@functools.cache
def _shell_with(path: str) -> str:
    found = shutil.which("data-engine", path=path)
    folder, name = os.path.split(sys.executable)
    python = os.path.join(os.path.realpath(folder), name)  # the interpreter itself may be a link out of its environment
    scripts = os.path.realpath(sysconfig.get_path("scripts"))
    return shell_of(python, None if found is None else os.path.realpath(found), scripts)
