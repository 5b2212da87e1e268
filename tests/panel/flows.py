"""Flows the panel is tried with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.engine.local_workspace import forget_workspaces
from tests.support import notebook_bytes

GOOD = """
from data_engine import Flow

DESCRIPTION = "Adds up"

def read(context):
    return [1, 2, 3]

def total(context):
    print("adding")
    return sum(context.current)

def build():
    return Flow(group="Claims").step(read, save_as="numbers").step(total, label="Total: of all")
"""
SLOW = """
import time
from data_engine import Flow

def beat(context):
    for number in range(600):
        context.progress(number, 600)
        time.sleep(0.05)

def build():
    return Flow(group="Slow").step(beat)
"""
FAILING = (
    "from data_engine import Flow",
    'def read(context):\n    return {"amount": 3}',
    'def bad(context):\n    row = context.current\n    return row["total"]',
    'def build():\n    return Flow(group="Claims").step(read).step(bad)',
)
BROKEN = """
from data_engine import Flow

def build():
    return Flow(group="Claims").watch(mode="poll")
"""
POLLED = """
import polars as pl
from data_engine import Flow

def read(context):
    frame = pl.read_csv(context.source.path)
    if "amount" not in frame.columns:
        raise ValueError("no column amount")
    return frame

def write(context):
    target = context.mirror.with_extension(".parquet")
    context.debug.save_frame(context.current, name="before")
    context.current.write_parquet(target)
    return target

def build():
    return (
        Flow(group="Files")
        .watch(mode="poll", source="../in", interval="1s", settle=0, extensions=".csv")
        .mirror(root="../out").step(read).step(write)
    )
"""
NIGHTLY = """
from data_engine import Flow

def build():
    return Flow(group="Files").watch(mode="schedule", time="02:30", tz="Asia/Tokyo").step(print)
"""


environments: dict[Path, dict[str, str]] = {}
"""Those of the JupyterLabs that ran, by their roots."""


def fill(workspace: Path, **modules: str | tuple[str, ...]) -> None:
    """Write these modules as notebooks: the text of one cell, or of several; below a JupyterLab those that are good are deployed."""
    for name, cells in modules.items():
        texts = (cells,) if isinstance(cells, str) else cells
        (workspace / "flow_modules" / f"{name}.ipynb").write_bytes(notebook_bytes(*texts))
    settings = workspace / "config" / "data_engine.toml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text('[deploy]\nmode = "auto"\nquiet = "0s"\n')
    deploy(workspace)


def deploy(workspace: Path) -> None:
    """Deploy every good module, as somebody in the JupyterLab above it would; nothing where there is none."""
    environment = next((environments[root] for root in workspace.parents if root in environments), None)
    if environment is None:
        return
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("DATA_ENGINE_", "XDG_"))]:
            patch.delenv(name)
        for name in [name for name in environment if name.startswith(("DATA_ENGINE_", "XDG_"))]:
            patch.setenv(name, environment[name])
        Workspace(workspace).deploy()
        forget_workspaces()  # they have the state of this JupyterLab


def sources(workspace: Path, *, good: int = 4, bad: int = 1) -> None:
    """Files for POLLED: some it can read, and some it cannot."""
    folder = workspace / "in"
    folder.mkdir(exist_ok=True)
    for number in range(good):
        (folder / f"{number:02}.csv").write_text(f"city,amount\nOslo,{number}\nRome,{number + 1}\n")
    for number in range(bad):
        (folder / f"bad-{number}.csv").write_text("city\nOslo\n")


TYPED = (
    "from dataclasses import dataclass, field\nfrom datetime import date\nfrom typing import Literal\nfrom data_engine import Flow",
    "@dataclass\nclass Settings:\n"
    "    month: date = field(default=date(2013, 1, 1), metadata={'label': 'The month', 'help': 'Its first day'})\n"
    "    mode: Literal['all', 'late'] = 'all'\n    full: bool = False\n"
    "    days: int = field(default=3, metadata={'label': 'Days back'})",
    "def look(context):\n    print(context.params)",
    "def build():\n    return Flow(group='G').params(Settings).step(look)",
)
"""A flow that declares its parameters."""
