"""Lay the demo workspace out in a folder: its data, flow modules and config."""

from __future__ import annotations

import shutil
from pathlib import Path

from data_engine.errors import WorkspaceError
from data_engine.files import atomic_target
from data_engine.flow.scan import walk
from data_engine.workspace.provision import for_this_python

FLOWS = ("daily_flights", "carrier_summary", "delay_report")
"""The demo's flows in the order in which they build on each other."""

_SHIPPED = Path(__file__).parent
_FOLDERS = ("data", "flow_modules", "config")
_KINDS = (".csv", ".xlsx", ".md", ".ipynb", ".py", ".toml")


def lay_out(root: Path) -> None:
    """Copy the demo's data, flow modules and config into the workspace folder `root`; what is there already stays as it is.

    Raises:
        WorkspaceError: the folder cannot be written; every file that was written by then is complete.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> lay_out(root)
        >>> sorted(path.name for path in root.iterdir()), len(list(root.glob("data/flights/*")))
        (['config', 'data', 'flow_modules'], 14)
    """
    try:
        for folder in _FOLDERS:
            for name, entry in sorted(walk(_SHIPPED / folder, _KINDS)):
                _copy(Path(entry.path), root / folder / name)
    except OSError as error:
        raise WorkspaceError(
            f"the demo cannot be written to {root}: {error.strerror} ({error.filename})",
            where=str(root),
            fix="name an empty folder that you may write to",
        ) from error


def _copy(shipped: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_target(target, durable=False) as fresh:
        if shipped.suffix == ".ipynb":
            fresh.write_bytes(for_this_python(shipped.read_text(encoding="utf-8")).encode())
        else:
            shutil.copyfile(shipped, fresh)
