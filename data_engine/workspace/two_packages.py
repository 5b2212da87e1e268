"""Whether the older system is installed beside this one: both distributions have a package called `data_engine`.

Whichever was installed last has overwritten files of the other, and removing one of them removes files of both.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

OLDER = "py-data-engine"
"""The older system's distribution."""

ORDER = (
    "remove both, then install this one again: pip uninstall -y py-data-engine data-engine, then pip install data-engine"
    " (or give the older system an environment of its own)"
)

_FOLDERS = ("py_data_engine-", "py-data-engine-")


def older_version(folders: Iterable[str] | None = None) -> str | None:
    """The version of the older system in this environment, found by the names in its folders; None where it is not there.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp(suffix="site-packages")
        >>> older_version([folder])
        >>> os.mkdir(os.path.join(folder, "py_data_engine-0.3.9.dist-info"))
        >>> older_version([folder])
        '0.3.9'
    """
    for folder in dict.fromkeys(sys.path if folders is None else folders):
        if not folder.endswith(("site-packages", "dist-packages")):
            continue
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            lowered = name.lower()
            if lowered.startswith(_FOLDERS) and lowered.endswith((".dist-info", ".egg-info")):
                return name.rpartition(".")[0].removeprefix(name[: len(_FOLDERS[0])]).split("-")[0]
    return None


def two_packages_text() -> str | None:
    """The problem of two packages in this environment, and its fix, in one line; None without it."""
    version = older_version()
    if version is None:
        return None
    return f"{OLDER} {version} is installed here too, and both have a package called data_engine: {ORDER}"
