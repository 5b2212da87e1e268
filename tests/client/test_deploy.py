"""Deployments are immutable copies; a flow stays on its last good one; what differs is told by cell."""

from __future__ import annotations

import shutil
import threading

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.notebook.catalog import CatalogEntry, find_module, read_catalog
from data_engine.notebook.deploy import ModuleSet
from data_engine.notebook.load import FlowModules
from tests.support import WorkspaceFiles

CELLS = (
    "from data_engine import Flow\nfrom flow_helpers.rates import RATE",
    "scratch = 1",
    "def one(context):\n    return {value}",
    "def build():\n    return Flow(group='G').step(one).step(lambda context: context.current * RATE)",
)


def write(ws: WorkspaceFiles, value: str = "1", *, scratch: str = "scratch = 1") -> None:
    ws.notebook("claims", CELLS[0], scratch, CELLS[2].format(value=value), CELLS[3])


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Workspace:
    ws.helper("rates", "RATE = 10\n")
    write(ws)
    return Workspace(ws.root)


def deployed_value(workspace: Workspace) -> object:
    """What the deployed flow gives, run from its deployment."""
    modules = workspace.home.deployments().modules_of("claims")
    assert modules is not None
    return modules.load(find_module(modules, "claims")).flow.run_once()[0].current


def test_an_edit_changes_nothing_in_production_until_it_is_deployed(ws: WorkspaceFiles, workspace: Workspace) -> None:
    assert workspace.deployment("claims") == "not deployed"
    workspace.deploy()

    write(ws, "2")
    ws.helper("rates", "RATE = 100\n")

    assert deployed_value(workspace) == 10
    assert workspace.load_flow("claims").run_once()[0].current == 200
    assert workspace.deployment("claims") == "edited, not deployed: cell 3"

    workspace.deploy("claims")
    assert deployed_value(workspace) == 200
    assert workspace.deployment("claims") == "as deployed"


@pytest.mark.parametrize("first", [".py", ".ipynb"])
def test_a_second_file_of_one_name_is_an_edit_that_cannot_be_deployed(ws: WorkspaceFiles, first: str) -> None:
    """Whichever of the two is deployed."""
    workspace = Workspace(ws.root)
    source = "from data_engine import Flow\n\ndef build():\n    return Flow(group='G').step(lambda context: 1)"
    files = {".py": lambda: ws.module("parts", source), ".ipynb": lambda: ws.notebook("parts", source)}
    files.pop(first)()
    workspace.deploy()

    for second in files.values():
        second()

    assert workspace.deployment("parts").startswith("edited, not deployed")
    (entry,) = [entry for entry in workspace.deploy() if entry.name == "parts"]
    assert "exists twice" in str(entry.error)
    assert workspace.deployment("parts").startswith("edited, not deployed")


def test_a_broken_edit_leaves_the_flow_on_its_last_good_deployment(ws: WorkspaceFiles, workspace: Workspace) -> None:
    workspace.deploy()
    write(ws, "1 +")
    ws.notebook("other", "from data_engine import Flow", "def build():\n    return Flow(group='G')")

    entries = {entry.name: entry.error for entry in workspace.deploy()}

    assert entries["other"] is None
    assert "claims.ipynb, cell 3" in str(entries["claims"])
    assert deployed_value(workspace) == 10
    assert workspace.deployment("claims") == "edited, not deployed: cell 3"
    assert workspace.deployment("other") == "as deployed"


def test_scratch_cells_outputs_and_counts_are_no_edit(ws: WorkspaceFiles, workspace: Workspace) -> None:
    workspace.deploy()

    write(ws, scratch="scratch = 2\nprint(scratch)")
    assert workspace.deployment("claims") == "as deployed"


def test_a_changed_helper_is_an_edit_without_cells(ws: WorkspaceFiles, workspace: Workspace) -> None:
    workspace.deploy()

    ws.helper("rates", "RATE = 11\n")

    assert workspace.deployment("claims") == "edited, not deployed"


def test_errors_of_deployed_code_speak_of_the_authored_notebook(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """The text shown is that which ran, and the edit since is said."""
    write(ws, "1 / 0")
    workspace.deploy()
    write(ws, "2")

    with pytest.raises(FlowValidationError) as caught:
        deployed_value(workspace)

    assert "claims.ipynb, cell 3, line 2: return 1 / 0 (cell 3 was edited" in str(caught.value)


def test_a_removed_module_is_withdrawn_and_old_sets_are_collected(ws: WorkspaceFiles, workspace: Workspace) -> None:
    workspace.deploy()
    deployments = workspace.home.deployments()
    (old,) = {set_id for set_id, _ in deployments.deployed().values()}
    (ws.modules / "claims.ipynb").unlink()
    ws.notebook("other", "from data_engine import Flow", "def build():\n    return Flow(group='G')")

    workspace.deploy()
    assert set(deployments.deployed()) == {"other"}
    folder = workspace.home.local.runtime_dir / "deployments"
    deployments.collect(in_use={old})
    assert (folder / old).is_dir()
    deployments.collect(in_use=set())
    assert not (folder / old).exists()
    assert workspace.deployment("other") == "as deployed"


def test_equal_content_is_one_set(workspace: Workspace) -> None:
    deployments = workspace.home.deployments()

    assert deployments.store() == deployments.store()


def test_deploying_an_unknown_flow_is_refused(workspace: Workspace) -> None:
    with pytest.raises(FlowValidationError, match="'nope' is not available"):
        workspace.deploy("nope")
    assert workspace.home.deployments().deployed() == {}


def test_only_what_a_flow_imports_is_its_edit(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """A new or changed helper concerns the flows that reach it, also through other helpers."""
    ws.helper("rates", "from .more import VALUE\nRATE = VALUE\n")
    ws.helper("more", "VALUE = 10\n")
    workspace.deploy()

    ws.helper("unrelated", "x = 1\n")
    assert workspace.deployment("claims") == "as deployed"

    ws.helper("more", "VALUE = 11\n")
    assert workspace.deployment("claims") == "edited, not deployed"


def test_computed_imports_count_every_helper(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.helper("rates", "import importlib\nRATE = importlib.import_module('flow_helpers.' + 'more').VALUE\n")
    ws.helper("more", "VALUE = 10\n")
    workspace.deploy()

    ws.helper("more", "VALUE = 11\n")

    assert workspace.deployment("claims") == "edited, not deployed"


def test_a_flow_whose_copies_are_gone_is_not_deployed_and_can_be_again(workspace: Workspace) -> None:
    workspace.deploy()
    shutil.rmtree(
        workspace.home.local.runtime_dir / "deployments" / workspace.home.deployments().deployed()["claims"][0]
    )

    assert workspace.deployment("claims") == "not deployed"
    workspace.deploy()
    assert deployed_value(workspace) == 10


def test_a_daemon_that_tidies_takes_no_set_from_a_deploy_under_way(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between storing a set and pointing to it nothing does, and it is kept all the same."""
    deployments = workspace.home.deployments()

    def read_while_another_tidies(modules: FlowModules) -> tuple[CatalogEntry, ...]:
        deployments.collect(in_use=set())
        return read_catalog(modules)

    monkeypatch.setattr("data_engine.client.read_catalog", read_while_another_tidies)
    workspace.deploy()

    assert workspace.deployment("claims") == "as deployed"
    assert deployed_value(workspace) == 10


def test_two_who_deploy_at_once_both_count(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Whoever writes the list of deployments reads what the other has written."""
    ws.notebook("other", "from data_engine import Flow", "def build():\n    return Flow(group='G')")
    deployments = workspace.home.deployments()
    stored = deployments.store()
    names = [f"flow_{number}" for number in range(40)]
    digests = dict.fromkeys(names, "d")
    both = ModuleSet(stored.id, stored.folder, digests)

    def deploy(mine: list[str]) -> None:
        for name in mine:
            workspace.home.deployments().deploy(both, {name})

    threads = [threading.Thread(target=deploy, args=(names[part::2],)) for part in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(deployments.deployed()) == set(names)


def test_a_file_that_cannot_be_read_costs_only_whoever_needs_it(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """A notebook that is a dangling link, and a helper nobody imports: the other flow is deployed, the notebook broken."""
    (ws.modules / "locked.ipynb").symlink_to(ws.root / "nowhere.ipynb")
    (ws.modules / "flow_helpers" / "unused.py").symlink_to(ws.root / "nowhere.py")

    entries = {entry.name: entry for entry in workspace.deploy()}

    assert entries["claims"].error is None
    assert entries["locked"].error is not None
    assert "locked.ipynb cannot be read: No such file" in entries["locked"].error.what
    assert workspace.deployment("claims") == "as deployed"
    assert deployed_value(workspace) == 10
