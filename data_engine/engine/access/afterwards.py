"""See after a step of a preview what no hook can stop: a class of C code, a program, a file or a connection that a cell opened before.

Looked at are the previewed sources, the files that the step names, reads, or holds open. Each costs one `stat`.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from data_engine.engine.access.access_log import AccessLog
from data_engine.engine.access.guards import Facts, PreviewGuard

_MOST_LOOKED_AT = 500


class Before:
    """The files that a step must leave as they are, as they were before it; `held` are the values that its code reaches.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.txt"
        >>> _ = file.write_text("a")
        >>> before = Before(PreviewGuard(), [str(file)], [])
        >>> before.changed(), file.write_text("other"), before.changed() == str(file)
        (None, 5, True)
    """

    def __init__(self, guard: PreviewGuard, files: Iterable[str], held: Iterable[object]) -> None:
        self._guard = guard
        held = list(held)
        self._handles = [(value, path, _position(value)) for value in held if (path := _written_by(value)) is not None]
        bases = [
            base for value in held for path in _databases_of(value) for base in (path, f"{path}-wal", f"{path}.wal")
        ]
        paths = [*(path for _, path, _ in self._handles), *bases, *islice(files, _MOST_LOOKED_AT)]
        self._files: dict[str, Facts | None] = {path: _facts(path) for path in dict.fromkeys(paths)}
        self._bases = frozenset(bases)

    def changed(self, log: AccessLog | None = None) -> str | None:
        """The first file that is not as it was, before the step or when it was read; None where all are."""
        read = {} if log is None else dict(islice(_read(log), _MOST_LOOKED_AT))
        for path, facts in (read | self._files).items():
            if (facts is not None or path in self._bases) and _facts(path) != facts and self._is_kept(path):
                return path
        for value, path, position in self._handles:
            if _position(value) != position and self._is_kept(path):
                return path
        return None

    def _is_kept(self, path: str) -> bool:
        """Whether a preview must leave the file: it is gone, or there and nobody of the preview's has made it."""
        return not self._guard.is_free(os.path.realpath(path)) and (
            not os.path.lexists(path) or self._guard.protects(path)
        )


def _facts(path: str) -> Facts | None:
    """The size and time of a file, which a link may lead to, as a reader sees it; None of anything else."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    return (facts.st_size, facts.st_mtime_ns) if stat.S_ISREG(facts.st_mode) else None


def first_sources(path: Path | None, root: Path | None) -> Iterator[str]:
    """The previewed source, and what lies beside it."""
    if path is not None:
        yield str(path)
    folder = root if root is not None and root.is_dir() else None
    with suppress(OSError):
        if folder is not None:
            with os.scandir(folder) as entries:
                yield from (entry.path for entry in islice(entries, _MOST_LOOKED_AT // 2))


def _read(log: AccessLog) -> Iterator[tuple[str, Facts]]:
    for (kind, path), signature in log.reads.items():
        numbers: Any = signature.facts  # of a file: its times, its size, and where it lies
        if (
            kind == "content"
            and path not in log.copied
            and isinstance(numbers, tuple)
            and numbers[0:1]
            and isinstance(numbers[0], int)
        ):
            yield path, (numbers[2], numbers[0])


def _written_by(value: object) -> str | None:
    """The file that a handle writes."""
    with suppress(Exception):  # an author's handle, whose methods may raise anything
        if isinstance(value, io.IOBase) and not value.closed and value.writable() and not value.isatty():
            name = getattr(value, "name", None)
            return os.path.abspath(os.fsdecode(name)) if isinstance(name, (str, bytes, os.PathLike)) else None
    return None


def _position(value: Any) -> int | None:
    with suppress(Exception):  # no handle, or one that cannot tell
        return int(value.tell())
    return None


def _databases_of(value: Any) -> list[str]:
    """The files of a connection that was opened before."""
    rows: list[Any] = []
    with suppress(Exception):  # a closed connection, or one of another thread
        if type(value).__module__ == "sqlite3" and type(value).__name__ == "Connection":
            rows = [row[2:3] for row in value.execute("pragma database_list")]
        elif type(value).__name__ == "DuckDBPyConnection":
            with value.cursor() as cursor:
                rows = cursor.execute("select path from duckdb_databases() where not readonly").fetchall()
    return [str(row[0]) for row in rows if row[0]]
