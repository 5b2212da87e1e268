"""Deployments are immutable copies; a flow stays on its last good one; what differs is told by cell."""

from __future__ import annotations

import os
import shutil

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.notebook.catalog import CatalogEntry, find_module, read_catalog
from data_engine.notebook.load import FlowModules
from data_engine.plan.plan import LIMIT_S
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
    assert workspace.load_flow("claims").run_once(edited=True)[0].current == 200
    assert workspace.deployment("claims") == "edited, not deployed: cell 3, flow_helpers/rates.py"

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
    ws.notebook("other", "from data_engine import Flow", "def build():\n    return Flow(group='G').step(print)")

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


def test_a_changed_helper_is_an_edit_of_every_flow_that_imports_it(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.module("other", "from data_engine import Flow\n\ndef build():\n    return Flow(group='G').step(print)\n")
    workspace.deploy()

    ws.helper("rates", "RATE = 11\n")

    assert workspace.deployment("claims") == "edited, not deployed: flow_helpers/rates.py"
    assert workspace.deployment("other") == "as deployed"


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
    (old,) = {pointer.set_id for pointer in deployments.deployed().values()}
    (ws.modules / "claims.ipynb").unlink()
    ws.notebook("other", "from data_engine import Flow", "def build():\n    return Flow(group='G').step(print)")

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
    assert workspace.deployment("claims") == "edited, not deployed: flow_helpers/more.py"


def test_a_notebook_that_cannot_be_read_is_not_told_to_differ_in_other_flows(
    ws: WorkspaceFiles, workspace: Workspace
) -> None:
    """What it imports now is not known; what it ran with is."""
    ws.module("b1", "RATE = 1\n")
    workspace.deploy("claims")

    path = ws.modules / "claims.ipynb"
    path.write_bytes(path.read_bytes()[:-40])
    ws.module("b1", "RATE = 2\n")
    assert workspace.deployment_status("claims").helpers == ()

    ws.helper("rates", "RATE = 100\n")
    assert workspace.deployment_status("claims").helpers == ("flow_helpers/rates.py",)


def test_computed_imports_count_every_helper(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.helper("rates", "import importlib\nRATE = importlib.import_module('flow_helpers.' + 'more').VALUE\n")
    ws.helper("more", "VALUE = 10\n")
    workspace.deploy()

    ws.helper("more", "VALUE = 11\n")

    assert workspace.deployment("claims") == "edited, not deployed: flow_helpers/more.py"


def test_a_flow_whose_copy_on_this_machine_is_gone_is_fetched_again(workspace: Workspace) -> None:
    workspace.deploy()
    pointer = workspace.home.deployments().deployed()["claims"]
    shutil.rmtree(workspace.home.local.runtime_dir / "deployments" / pointer.set_id)

    assert workspace.deployment("claims") == "as deployed"
    assert deployed_value(workspace) == 10


def test_a_daemon_that_tidies_takes_no_set_from_a_deploy_under_way(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between storing a set and pointing to it nothing does, and it is kept all the same."""
    deployments = workspace.home.deployments()

    def read_while_another_tidies(modules: FlowModules, only: str | None) -> tuple[CatalogEntry, ...]:
        deployments.collect(in_use=set())
        return read_catalog(modules, only=only)

    monkeypatch.setattr("data_engine.daemon.one_commit.read_catalog", read_while_another_tidies)
    workspace.deploy()

    assert workspace.deployment("claims") == "as deployed"
    assert deployed_value(workspace) == 10


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


def test_a_use_that_no_step_saves_is_warned_of_with_the_nearest_name(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """A step may have put it into `context.objects`, so that it is deployed all the same."""
    ws.notebook(
        "typo",
        "from data_engine import Flow",
        "def one(context):\n    return 1",
        'def build():\n    return Flow(group="G").step(one, save_as="raw_df").step(one, use="raw_fd")',
    )

    (entry,) = workspace.deploy("typo")

    assert entry.error is None
    assert entry.warnings == (
        "step 'One' uses 'raw_fd', which no earlier step saves (saved so far: raw_df): did you mean raw_df?",
    )


def test_a_name_that_two_steps_save_is_warned_of_unless_one_takes_what_it_replaces(
    ws: WorkspaceFiles, workspace: Workspace
) -> None:
    """`save_as=` twice comes by copy and paste; who takes the object and saves it again means it."""
    again = {"pasted": "", "refined": 'use="raw_df", '}
    for name, use in again.items():
        ws.notebook(
            name,
            "from data_engine import Flow",
            "def one(context):\n    return 1",
            'def build():\n    flow = Flow(group="G").step(one, save_as="raw_df", label="Read")\n'
            f'    return flow.step(one, {use}save_as="raw_df", label="Sum").step(one, use="raw_df")',
        )

    deployed = {entry.name: entry.warnings for name in again for entry in workspace.deploy(name)}

    (told,) = deployed["pasted"]
    assert told.startswith("'raw_df' is saved by 2 steps (step 1 'Read', step 2 'Sum'): it is the result of step 2")
    assert deployed["refined"] == ()
    assert {entry.name: entry.warnings for entry in workspace.catalog() if entry.name in again} == deployed


def test_names_that_differ_only_in_case_are_warned_of(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Where both can be there: a colleague on Windows or macOS gets one of the two."""
    ws.notebook(
        "Claims",
        "from data_engine import Flow\ndef one(context):\n    return 1",
        'def build():\n    return Flow(group="G").step(one)',
    )
    if len([*ws.modules.glob("*.ipynb")]) == 1:
        pytest.skip("this system holds one of them")

    (entry,) = workspace.deploy("Claims")
    assert any("differ only in upper and lower case" in warning for warning in entry.warnings)
    assert [sum("lower case" in one for one in entry.warnings) for entry in workspace.catalog()] == [1, 1]


@pytest.mark.skipif(os.name == "nt", reason="no file of this name can be there")
def test_a_name_that_not_every_system_holds_is_told_alike_everywhere(ws: WorkspaceFiles) -> None:
    """With the character and the fix, before it is deployed too."""
    workspace = Workspace(ws.root)
    name = """Bob's "Test" ü"""
    ws.notebook(name, *CELLS[2:3], 'def build():\n    return Flow(group="G").step(one)')

    errors = [next(one.error for one in workspace.catalog() if one.name == name)]
    with pytest.raises(FlowValidationError) as caught:
        workspace.deploy(name)
    errors.append(caught.value)
    errors += [entry.error for entry in workspace.deploy()]
    assert len(errors) == 3
    for error in errors:
        assert error is not None
        assert "Windows allows no '\"' in the name" in error.what
        assert error.fix == "rename it: leave that character out"


def test_a_renamed_copy_is_not_deployed_beside_its_original_unasked(ws: WorkspaceFiles) -> None:
    """It would run over the whole inbox and rewrite the original's outputs."""
    text = (
        "from data_engine import Flow\n\ndef build():\n    return Flow(group='G').mirror(root='../out').step(print)\n"
    )
    workspace = Workspace(ws.root)
    ws.module("claims", text)
    workspace.deploy()
    ws.module("claims_2", text)

    with pytest.raises(FlowValidationError, match="as claims does, which is deployed"):
        workspace.deploy("claims_2")
    assert [entry.error is None for entry in workspace.deploy()] == [True, False]
    assert workspace.deployment("claims_2") == "not deployed"

    (entry,) = workspace.deploy("claims_2", force=True)
    assert entry.error is None
    assert {entry.name: entry.error for entry in workspace.deploy()} == {"claims": None, "claims_2": None}


def test_of_two_new_flows_with_one_mirror_only_the_first_goes(ws: WorkspaceFiles) -> None:
    text = "from data_engine import Flow\n\ndef build():\n    return Flow(group='G').mirror(root='{}').step(print)\n"
    ws.module("a", text.format("../out"))
    ws.module("b", text.format("../in/../out"))

    assert [entry.error is None for entry in Workspace(ws.root).deploy()] == [True, False]


def test_a_flow_without_steps_is_refused_by_every_verb(ws: WorkspaceFiles) -> None:
    ws.module("empty", "from data_engine import Flow\n\ndef build():\n    return Flow(group='G')\n")
    workspace = Workspace(ws.root)
    flow = workspace.load_flow("empty")

    assert workspace.deployment("empty") == "not deployed"
    words = set()
    for verb in (lambda: workspace.deploy("empty"), flow.run_once, flow.run, flow.preview):
        with pytest.raises(FlowValidationError, match="has no steps") as caught:
            verb()
        words.add(str(caught.value))
    with pytest.raises(FlowValidationError, match="has no steps"):
        flow.show()
    assert len(words) == 1


def test_one_flow_moves_alone(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.module("other", "from data_engine import Flow\n\ndef build():\n    return Flow(group='G').step(print)\n")
    workspace.deploy()
    write(ws, "2")
    ws.module("other", "from data_engine import Flow\n\ndef build():\n    return Flow(group='H').step(print)\n")

    assert [entry.name for entry in workspace.deploy("claims")] == ["claims"]

    assert workspace.deployment("claims") == "as deployed"
    assert workspace.deployment("other") == "edited, not deployed"


def test_an_answer_is_waited_for_as_long_as_the_goldens_of_a_gate_may_take(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that is still busy with them is not told as one that does not answer."""
    waited_s = []

    class Daemon:
        def post(self, path: str, body: object, *, timeout_s: float = 0.0) -> dict[str, object]:
            waited_s.append(timeout_s)
            return {"request_id": "r1", "owner": "ben"}

    monkeypatch.setattr(type(workspace.link), "find", lambda link: Daemon())
    workspace.deploy("claims", wait=False)

    assert waited_s[0] > LIMIT_S


def test_a_deploy_tells_of_recipients_that_this_machine_does_not_know(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the nearest and the known ones: else the first failure is the first time anybody hears of it. It is deployed all the same."""
    monkeypatch.setenv("DATA_ENGINE_SECRET_OPS", "mailto://ops@example.org")
    ws.source("config/data_engine.toml", '[alerts]\nto = ["mail_team"]\n')
    flow = "from data_engine import Flow\ndef build():\n    return Flow(group='G').alert(to={to}).step(len)"
    ws.notebook("claims", flow.format(to=["opss", "ops"]))
    ws.notebook("quiet", flow.format(to=["ops"]))
    workspace = Workspace(ws.root)

    claims, quiet = workspace.deploy()

    fix = "did you mean ops? Else `data-engine secret set opss` stores its address; known here: mail_team, ops"
    assert claims.warnings == (f"claims: Flow.alert(to=...) names 'opss', and this machine has no such secret: {fix}",)
    assert (quiet.warnings, workspace.deployment("claims")) == ((), "as deployed")
