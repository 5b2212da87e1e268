"""Which Python and which installed distributions a run has, as one short digest and the list that it stands for."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
from typing import NamedTuple

_FOLDER = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.]*)-(?P<version>[^-]+)(?:\.dist-info|(?:-py[\d.]+)?\.egg-info)", re.ASCII
)


class Environment(NamedTuple):
    """A Python with its distributions, "name version" each, sorted; `digest` tells one from another."""

    digest: str
    python: str
    distributions: tuple[str, ...]


_known: tuple[tuple[tuple[str, int], ...], Environment] | None = None


def environment() -> Environment:
    """The environment of this process, looked at again when something was installed or removed.

    The names of installed distributions are those of their folders in `sys.path`; none is opened.

    Reference: the specification "Recording installed projects" of packaging.python.org.

    Example:
        >>> found = environment()
        >>> found.python == platform.python_version(), len(found.digest), any(d.startswith("polars ") for d in found.distributions)
        (True, 16, True)
    """
    global _known
    places = tuple((path, changed) for path in dict.fromkeys(sys.path) if (changed := _changed_ns(path)))
    if _known is None or _known[0] != places:
        _known = places, _read([path for path, _ in places])
    return _known[1]


def _changed_ns(path: str) -> int:
    try:
        return os.stat(path or ".").st_mtime_ns if path.endswith(("site-packages", "dist-packages")) else 0
    except OSError:
        return 0


def _read(folders: list[str]) -> Environment:
    found: dict[str, str] = {}
    for folder in folders:  # the first of a name is the one that is imported
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            if match := _FOLDER.fullmatch(name):
                found.setdefault(re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"])
    python = platform.python_version()
    distributions = tuple(f"{name} {version}" for name, version in sorted(found.items()))
    text = "\n".join([python, *distributions])
    return Environment(hashlib.sha256(text.encode()).hexdigest()[:16], python, distributions)
