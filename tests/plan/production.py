"""A flow in production: deployed, run over three files, and then edited."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from data_engine.client import Workspace
from tests.support import WorkspaceFiles

FLOW = """
import polars as pl
from data_engine import Flow

def read(context):
    return pl.read_csv(context.source.path)

def clean(context):
    return context.current.filter(pl.col("amount") > {least})

def write(context):
    target = context.mirror.with_suffix(".parquet")
    context.current.write_parquet(target)
    return target

def build():
    return (
        Flow(group="Sales")
        .watch(mode="poll", source="../in", interval="5s", extensions="csv", settle=0)
        .mirror(root="../out")
        .step(read, save_as="raw_df").step(clean, save_as="clean_df").step(write)
    )
"""


def cells(text: str) -> list[str]:
    """The flow as the cells of a notebook: what stands between empty lines."""
    return [cell for cell in text.strip().split("\n\n") if cell.strip()]


class Production:
    """A workspace with a flow `sales`, whose notebook is written by `edit`."""

    def __init__(self, files: WorkspaceFiles) -> None:
        self.files = files
        self.edit(least="0")
        for number, name in enumerate(("april", "may", "june")):
            frame = pl.DataFrame({"id": [1, 2, 3], "amount": [number * 10 + 1, number * 10 + 2, 50]})
            self.put(f"{name}.csv", frame.write_csv())
        self.ws = Workspace(files.root)

    @classmethod
    def live(cls, root: Path) -> Production:
        """Deployed there, and run for every file."""
        made = cls(WorkspaceFiles(root))
        made.go()
        return made

    def edit(self, text: str = FLOW, **values: str) -> Path:
        for name, value in values.items():
            text = text.replace("{" + name + "}", value)
        return self.files.notebook("sales", *cells(text))

    def put(self, name: str, text: str) -> Path:
        return self.files.source(f"in/{name}", text)

    def go(self) -> None:
        """Deploy, and let production read every file."""
        self.ws.deploy("sales")
        for name in ("april", "may", "june"):
            self.ws.load_flow("sales").run_once(source=f"{name}.csv")

    def outputs(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.files.root / "out").rglob("*")) if path.is_file()}


def scratch_files(ws: Workspace) -> list[Path]:
    """Every file in the scratch folders of plans."""
    found = ws.home.local.runtime_dir / "scratch"
    return [Path(parent, name) for parent, _, names in os.walk(found) for name in names if "~" in parent]
