"""What flow modules are, kept by content for other processes: who only tells of them need not execute them again.

A file beside the compiled notebooks. What is kept counts while module, helpers, config files, Python and Data Engine are as
they were; a broken module is executed each time, so that a repair shows at once. A damaged or unwritable file is no error.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_engine import private
from data_engine.files import write_text_atomic
from data_engine.version import __version__

_FORMAT = 2
_LARGEST_BYTES = 16_000_000


@dataclass(slots=True)
class Descriptions:
    """What is kept in `file`; `config` is the folder of files that modules may read when they are executed.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> kept = Descriptions(folder / "described.json", folder)
        >>> kept.put("claims", "a1", {"name": "claims"}), kept.save()
        (None, None)
        >>> again = Descriptions(folder / "described.json", folder)
        >>> again.get("claims", "a1"), again.get("claims", "b2")
        ({'name': 'claims'}, None)
    """

    file: Path
    config: Path
    _kept: dict[str, tuple[str, dict[str, Any]]] | None = None
    _asked: set[str] = field(default_factory=set)
    _is_changed: bool = False
    _around: str | None = None

    def get(self, name: str, content: str) -> dict[str, Any] | None:
        """What was kept of the module `name` when it had this content."""
        self._asked.add(name)
        key, message = self._read().get(name, ("", {}))
        return message if key == self._key(content) else None

    def put(self, name: str, content: str, message: dict[str, Any]) -> None:
        """Keep what the module is."""
        self._asked.add(name)
        self._read()[name] = self._key(content), message
        self._is_changed = True

    def save(self) -> None:
        """Write what is new, without the modules that nobody asked for."""
        if not self._is_changed:
            return
        kept = {name: value for name, value in self._read().items() if name in self._asked}
        with suppress(OSError):
            private.make_folder(self.file.parent)
            write_text_atomic(self.file, json.dumps([_FORMAT, kept]), durable=False, mode=private.FILE)

    def _read(self) -> dict[str, tuple[str, dict[str, Any]]]:
        if self._kept is None:
            self._kept = {}
            with suppress(OSError, ValueError, TypeError, RecursionError):
                if os.stat(self.file).st_size <= _LARGEST_BYTES:
                    number, kept = json.loads(self.file.read_text(encoding="utf-8"))
                    if number == _FORMAT:
                        self._kept = {str(name): (str(key), dict(message)) for name, (key, message) in kept.items()}
        return self._kept

    def _key(self, content: str) -> str:
        if self._around is None:
            config = []
            with suppress(OSError):
                for path in sorted(self.config.glob("*.toml")):
                    facts = path.stat()
                    config.append((path.name, facts.st_size, facts.st_mtime_ns))
            self._around = repr((__version__, sys.version, sys.prefix, config))
        return hashlib.sha256(f"{content} {self._around}".encode()).hexdigest()
