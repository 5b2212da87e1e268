"""What modules are is kept by content: a second process tells of them without executing a line of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.notebook import catalog
from data_engine.notebook.catalog import CatalogEntry, read_catalog
from tests.support import WorkspaceFiles

MODULE = """
from pathlib import Path
from data_engine import Flow
with open(Path(__file__).parent.parent / "executed.txt", "a") as file:
    file.write("x")

DESCRIPTION = "Claims of the day"

def build():
    flow = Flow(group="G").watch(mode="poll", source="../in", interval="5s", extensions=".csv", max_parallel=2)
    return flow.mirror(root="../out", staged=True).step(print, label="Say")
"""


@pytest.fixture
def home(ws: WorkspaceFiles) -> LocalWorkspace:
    ws.source("flow_modules/claims.py", MODULE)
    return local_workspace(ws.root)


def told(home: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> CatalogEntry:
    """The entry as a process finds it that has read no module yet."""
    monkeypatch.setattr(catalog, "_remembered", {})
    (entry,) = read_catalog(home.modules(), cache=home.descriptions())
    return entry


def executed(home: LocalWorkspace) -> int:
    return len((home.layout.root / "executed.txt").read_text())


def test_a_module_is_executed_once_for_its_content(home: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = told(home, monkeypatch), told(home, monkeypatch)

    assert executed(home) == 1
    assert first.as_dict() == second.as_dict()
    assert first.flow is not None
    assert second.flow is not None
    assert (second.flow.trigger, second.flow.mirror_spec) == (first.flow.trigger, first.flow.mirror_spec)


@pytest.mark.parametrize(
    "edited", ["flow_modules/claims.py", "flow_modules/flow_helpers/rates.py", "config/rates.toml"]
)
def test_an_edit_is_looked_at(
    home: LocalWorkspace, monkeypatch: pytest.MonkeyPatch, ws: WorkspaceFiles, edited: str
) -> None:
    """Of the module, of a helper, and of what it may read when it is executed."""
    told(home, monkeypatch)
    ws.source(edited, (MODULE if edited.endswith("claims.py") else "") + "a = 1\n")

    told(home, monkeypatch)

    assert executed(home) == 2


def test_a_broken_module_is_executed_each_time(
    home: LocalWorkspace, monkeypatch: pytest.MonkeyPatch, ws: WorkspaceFiles
) -> None:
    """What it needs may be there now."""
    ws.source("flow_modules/claims.py", MODULE + "\n1 / 0\n")

    for _ in range(2):
        assert told(home, monkeypatch).error is not None
    assert executed(home) == 2


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'[1, {"claims": 3}]', b"\xff" * 9, b"[2, {}]"])
def test_a_damaged_file_is_no_error(home: LocalWorkspace, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    told(home, monkeypatch)
    home.descriptions().file.write_bytes(data)

    assert told(home, monkeypatch).title == "Claims"
    assert executed(home) == 2


def test_who_needs_the_steps_executes_it(home: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same process, after it was only told of."""
    told(home, monkeypatch)
    told(home, monkeypatch)

    (entry,) = read_catalog(home.modules())

    assert entry.flow is not None
    assert [step.label for step in entry.flow.steps] == ["Say"]
    assert isinstance(entry.path, Path)
