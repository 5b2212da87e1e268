"""Look at the references of flows, files that their runs read beside the sources, and find which outputs are outdated."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from data_engine import user_files
from data_engine.flow.flow import Flow
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.outputs import outputs_here
from data_engine.ledger.references import GoodRun, newest_good_runs, put_sightings, sightings, writers_of
from data_engine.model import Reference, utc_text
from data_engine.notebook.mirror_warnings import Folders, folders_of
from data_engine.planning.outdated import OutdatedRun, by_reads, current, looked, not_references, outdated
from data_engine.platforms.files import is_database
from data_engine.workspace.layout import WorkspaceLayout

MOST_LOOKS = 100
"""The most files of a look; more are looked at in turn."""

EVERY_S = 5.0
"""The pause between two looks; after a slow look it is longer, so that looks take at most a twentieth of the time."""

_HEAD_BYTES = 20
_MOST_HASHED_BYTES = 256 * 1024**2
_MOST_DIGESTS = 10_000
_digests: dict[tuple[str, int, int], str | None] = {}


def reference_of(path: str, size_bytes: int, mtime_ns: int) -> Reference | None:
    """The file that was so when it was read, with the digest of its content where it is still so; None for a database, and for a file
    that cannot be read. Each version is hashed once in a process.

    Example:
        >>> facts = os.stat(__file__)
        >>> reference = reference_of(__file__, facts.st_size, facts.st_mtime_ns)
        >>> len(reference.digest), reference_of(__file__, facts.st_size, 0).digest
        (64, None)
    """
    key = (path, size_bytes, mtime_ns)
    with suppress(OSError, ValueError):
        if key not in _digests:
            if is_database(user_files.head_of(Path(path), _HEAD_BYTES)):
                return None
            digest = user_files.sha256_of(Path(path)) if size_bytes <= _MOST_HASHED_BYTES else None
            facts = os.stat(path)
            if (facts.st_size, facts.st_mtime_ns) != key[1:]:
                return Reference(*key)  # it was changed meanwhile, and nobody knows what it held
            while len(_digests) >= _MOST_DIGESTS:
                _digests.pop(next(iter(_digests)), None)
            _digests[key] = digest
        return Reference(*key, _digests[key])
    return None


class References:
    """The references of a workspace's flows, as its history knows them; it is read again only when somebody has written there.

    `outdated` looks at no file; `look` does, on the machine of the owner, and `changed` for whoever asks for one. `facts` gives the size and the time of a file. One thread at a time.
    """

    def __init__(
        self,
        ledger: Ledger,
        layout: WorkspaceLayout,
        facts: Callable[[str], os.stat_result] = os.stat,
    ) -> None:
        self._ledger, self._layout, self._facts = ledger, layout, facts
        self._version: object = None
        self._runs: Sequence[GoodRun] = ()
        self._now: dict[str, Reference] = {}
        self._no: dict[str, set[str]] = {}
        self._outdated: list[OutdatedRun] = []
        self._next = 0

    def outdated(self, flows: Iterable[Flow]) -> list[OutdatedRun]:
        """The runs of these flows whose results are outdated, oldest first.

        Raises:
            LedgerError: the history cannot be read.
        """
        folders = {flow.name or "": folders_of(flow) for flow in flows}
        version = self._ledger.version(), folders
        if version != self._version:
            self._read(folders)
            self._version = version
        return self._outdated

    def read_by(self) -> dict[str, Counter[str]]:
        """How many runs of each flow, of those that `outdated` was asked for, have read each reference, by its path."""
        read: dict[str, Counter[str]] = {}
        for flow, references, starts in by_reads(self._runs):
            for reference in references:
                if reference.path not in self._no.get(flow, ()):
                    read.setdefault(reference.path, Counter())[flow] += len(starts)
        return read

    def look(self, flows: Iterable[Flow], of: str | None = None) -> None:
        """Look at the references of these flows, of only one with its name in `of`, and store what has changed.

        Raises:
            LedgerError: the history cannot be used.
        """
        self.outdated(flows)
        paths = sorted(path for path, flows_of in self.read_by().items() if of is None or of in flows_of)
        if of is None and len(paths) > MOST_LOOKS:
            self._next = 0 if self._next >= len(paths) else self._next
            paths = paths[self._next : self._next + MOST_LOOKS]
            self._next += MOST_LOOKS
        news = [new for path in paths if (new := self._look_at(self._now[path])) is not None]
        if news:
            put_sightings(self._ledger, news, utc_text(time.time()))

    def changed(self, path: str) -> Reference | None:
        """How the reference at this path, one that `outdated` was asked for, is now; None where it is as it is known."""
        return self._look_at(self._now[path])

    def take(self, seen: Reference) -> None:
        """Let what `changed` has seen count in the answers of this object; it is not stored."""
        self._now[seen.path] = seen
        self._find()

    def _look_at(self, before: Reference) -> Reference | None:
        try:
            facts = self._facts(before.path)
        except (FileNotFoundError, NotADirectoryError):
            is_away = not os.path.isdir(os.path.dirname(before.path))  # a drive, or another machine's folder
            return None if is_away else looked(before, None, lambda size, time_ns: None)
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(facts.st_mode):
            return None
        return looked(before, (facts.st_size, facts.st_mtime_ns), lambda size, at: reference_of(before.path, size, at))

    def _read(self, folders: dict[str, Folders]) -> None:
        ledger, layout = self._ledger, self._layout
        self._runs = [run for run in newest_good_runs(ledger, layout) if run.flow in folders]
        self._now = current(self._runs, sightings(ledger, layout) if self._runs else {})
        writers = writers_of(ledger, layout, self._now) if self._now else {}
        self._no = not_references(self._runs, folders, writers)
        self._find()

    def _find(self) -> None:
        self._outdated = outdated(
            self._runs, self._now, self._no, lambda ids: outputs_here(self._ledger, self._layout, ids)
        )
