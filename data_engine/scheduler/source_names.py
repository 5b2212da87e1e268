"""How the files of one source are called: by their path in it as the drive spells it, and by a key that is the same everywhere."""

from __future__ import annotations

import os
import unicodedata

from data_engine.flow.paths import portable_text
from data_engine.model import SourceKey
from data_engine.scheduler.scanner import Scanner


class SourceNames:
    """The names of the files that a scanner has found below a root as it was authored."""

    def __init__(self, scanner: Scanner, root_as_authored: str) -> None:
        self._scanner, self._root_as_authored = scanner, root_as_authored

    def key(self, name: str) -> SourceKey:
        """The same on every workstation, however its drive spells it; of two files that only differ in that, its own."""
        portable = name if name.isascii() else portable_text(name)
        is_taken = portable != name and self._scanner.signature(portable) is not None
        return SourceKey(self._root_as_authored, name if is_taken else portable)

    def inside(self, path: str) -> str | None:
        """The name of a candidate at this absolute path; None when it lies elsewhere."""
        root = self._scanner.root
        if path == root:
            return ""
        lead = root.rstrip(os.sep) + os.sep
        return path[len(lead) :].replace(os.sep, "/") if path.startswith(lead) else None


def spellings(name: str) -> set[str]:
    """The name, and those a drive may take for another file though people read the same.

    Example:
        >>> spellings("a.csv"), len(spellings("caf\u00e9.csv"))
        ({'a.csv'}, 2)
    """
    return {name} if name.isascii() else {name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))}
