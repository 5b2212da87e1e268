"""A workspace as the older system left it, and the command line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_engine.helpers import replace_rows_by_file
from tests.cli.conftest import Cli, cli
from tests.older_system import OlderSystem, older_hash
from tests.support import notebook_bytes

__all__ = ["Cli", "cli"]

CLAIMS = (
    """
    import polars as pl
    from data_engine import Flow
    from data_engine.helpers import replace_rows_by_file
    """,
    """
    def load(context):
        return pl.read_csv(context.source.path)

    def keep(context):
        db = context.database("claims.duckdb")
        replace_rows_by_file(db, "claims", df=context.current, file_hash=context.metadata["file_hash"])
    """,
    """
    def build():
        watched = Flow(group="Claims").watch(mode="poll", source="../../data/in", interval="200ms", settle=0)
        return watched.step(load).step(keep)
    """,
    "build().preview()",
)
TOTALS = """
    from data_engine import Flow

    def build():
        watched = Flow(group="Totals").watch(mode="poll", run_as="batch", source="../../data/in", interval="200ms", settle=0)
        return watched.step(lambda context: None, label="Load")
"""


class Claims:
    """The workspace `claims` with two flows, whose files lie beside it in `data/in`."""

    def __init__(self, folder: Path, state_root: Path) -> None:
        self.older = OlderSystem(folder / "claims", state_root)
        self.root, self.source = self.older.root, folder / "data" / "in"
        self.source.mkdir(parents=True)
        self.database = self.root / "databases" / "claims.duckdb"
        modules = self.root / "flow_modules"
        (modules / "claims.ipynb").write_bytes(notebook_bytes(*CLAIMS))

    def add_totals(self) -> None:
        """The batch over the same files."""
        (self.root / "flow_modules" / "totals.ipynb").write_bytes(notebook_bytes(TOTALS))

    def put(self, name: str, *amounts: int) -> Path:
        """A source file."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("amount\n" + "".join(f"{amount}\n" for amount in amounts), encoding="utf-8")
        return path

    def has_run(
        self, name: str, *amounts: int, at_s: float | None = None, status: str = "success", **more: Any
    ) -> Path:
        """A source file that the older system's flow has run for, with its rows in the table."""
        path = self.put(name, *amounts)
        self.older.run("claims", path, at_s=time.time() - 3600 if at_s is None else at_s, status=status, **more)
        frame = pl.DataFrame({"amount": amounts})
        if status == "success":
            replace_rows_by_file(self.database, "claims", df=frame, file_hash=older_hash(name))
        return path

    def left(self, *, marker: str | None = "available") -> OlderSystem:
        """Let the older system end: its ledger and what it published are there."""
        self.older.write_ledger()
        self.older.publish()
        if marker is not None:
            self.older.marker(marker)
        return self.older


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    return Claims(tmp_path / "team", tmp_path / "machine" / "state")


def files_of(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file below the folder by its path: size, time and content."""
    return {
        path.relative_to(root).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
