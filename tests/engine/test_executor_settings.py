"""`[executor]` decides, and every way to run a flow goes by it: whole flows of notebooks, with errors that lead to a cell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_engine import FlowExecutionError, Workspace, load_flow
from data_engine.cluster.connection import own_facts, refuse_mismatch
from data_engine.engine.items.cluster import Cluster
from data_engine.engine.items.processes import Processes
from data_engine.engine.items.threads import IN_ITEM, ON_NODE, Threads
from data_engine.engine.local_workspace import local_workspace
from data_engine.engine.run import item_executor
from data_engine.errors import ClusterError
from tests.support import WorkspaceFiles

IMPORTS = "import os\nfrom data_engine import Flow\n"
EACH = """
def each(context, item):
    # the fourth line of its cell divides
    if context.params.get("fail"):
        1 / (item - 2)
    path = context.mirror.root_file(f"{item}.txt")
    path.write_text(str(item))
    return path, os.getpid()
"""
BUILD = """
def build():
    return (
        Flow(group="G")
        .mirror(root="../out", staged=True)
        .step(lambda context: [1, 2, 3, 4])
        .map(each, max_parallel=2, save_as="each")
        .step(lambda context: [path for path, _ in context.objects["each"]])
    )
"""


def with_settings(ws: WorkspaceFiles, text: str) -> None:
    ws.source("config/data_engine.toml", f"[executor]\n{text}\n")
    ws.notebook("claims", IMPORTS, EACH, BUILD)


def test_the_settings_decide(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """No workspace, and no settings, mean threads; so does an item that runs a flow itself. A preview stays here."""

    def kind(settings: str, *, stays_here: bool = False) -> type:
        with_settings(ws, settings)
        return type(item_executor(local_workspace(ws.root), stays_here=stays_here))

    dask = 'kind = "dask"\nscheduler = "tcp://127.0.0.1:1"'
    assert type(item_executor(None)) is Threads
    assert kind("") is Threads
    assert kind('kind = "processes"') is Processes
    assert kind(dask) is Cluster
    assert kind(dask, stays_here=True) is Processes
    monkeypatch.setenv(ON_NODE, "2")
    assert kind(dask) is Processes
    monkeypatch.setenv(ON_NODE, "1")
    assert kind(dask) is Threads
    monkeypatch.setenv(IN_ITEM, "1")
    assert kind('kind = "processes"') is Threads


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_staged_mirror_is_published_whoever_wrote_it(ws: WorkspaceFiles, kind: str) -> None:
    """The paths are final in the end."""
    with_settings(ws, f'kind = "{kind}"\nworkers = 2')
    (context,) = load_flow("claims", data_root=ws.root).run_once()

    assert context.current == [ws.root / "out" / f"{number}.txt" for number in (1, 2, 3, 4)]
    assert [path.read_text() for path in context.current] == ["1", "2", "3", "4"]
    assert (os.getpid() in {pid for _, pid in context.objects["each"]}) is (kind == "threads")
    assert [run.status for run in Workspace(ws.root).runs()] == ["success"]


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_error_leads_to_its_cell(ws: WorkspaceFiles, kind: str) -> None:
    """And the stage of the run that failed is gone."""
    with_settings(ws, f'kind = "{kind}"\nworkers = 2')

    with pytest.raises(FlowExecutionError) as caught:
        load_flow("claims", data_root=ws.root).run_once(params={"fail": 1})

    assert caught.value.cell == "claims.ipynb, cell 2, line 4"
    assert caught.value.source_line == "        1 / (item - 2)"
    assert "item 2 of 4" in caught.value.detail
    assert not list((ws.root / "out").glob("*"))


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_preview_writes_to_scratch_whoever_writes(
    ws: WorkspaceFiles, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And runs a step again whose items read what it cannot see."""
    with_settings(ws, f'kind = "{kind}"\nworkers = 2')
    flow = load_flow("claims", data_root=ws.root)
    for _ in range(2):
        paths = [path for path, _ in flow.preview(use="each")]

        assert [path.read_text() for path in paths] == ["1", "2", "3", "4"]
        assert not (ws.root / "out").exists()
        assert all(Path(ws.root) not in path.parents for path in paths)


def test_a_preview_runs_a_step_once_whoever_runs_its_items(
    ws: WorkspaceFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sending the context along is no look at its tables."""
    with_settings(ws, 'kind = "processes"\nworkers = 2')
    ws.notebook(
        "claims",
        IMPORTS,
        "def each(context, item):\n    print('ran', item)\n    return item",
        "def build():\n    return Flow(group='G').step(lambda c: [1, 2], save_as='a').map(each, max_parallel=2)",
    )
    load_flow("claims", data_root=ws.root).preview()

    assert sorted(line for line in capsys.readouterr().out.splitlines() if line.startswith("ran")) == ["ran 1", "ran 2"]


def test_versions_that_do_not_fit_are_named() -> None:
    """With the worker, what differs, and what to install."""
    mine = own_facts()
    for facts, words in (
        (mine | {"Python": "3.9"}, "has Python 3.9, and this machine"),
        (mine | {"Data Engine": "0.0.1"}, "has Data Engine 0.0.1"),
        ({name: mine[name] for name in mine if name != "Data Engine"}, "has no Data Engine"),
        (mine | {"Polars": "0"}, "has Polars 0"),
    ):
        with pytest.raises(ClusterError, match=words) as caught:
            refuse_mismatch("tcp://10.0.0.7:1", facts)
        assert "tcp://10.0.0.7:1" in caught.value.what
        assert caught.value.fix
    refuse_mismatch("tcp://10.0.0.7:1", mine)


def test_a_scheduler_that_is_not_there_is_an_error_of_the_step(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a hang, and not threads in silence."""
    monkeypatch.setattr("data_engine.cluster.connection._CONNECT_S", 0.5)
    with_settings(ws, 'kind = "dask"\nscheduler = "tcp://127.0.0.1:1"')

    with pytest.raises(FlowExecutionError, match="cannot be reached") as caught:
        load_flow("claims", data_root=ws.root).run_once()
    assert "dask scheduler" in str(caught.value.fix)
