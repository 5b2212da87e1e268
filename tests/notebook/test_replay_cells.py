"""A cell that opens a replay is no part of the flow: compiler, edit state and deployments do not see it."""

from __future__ import annotations

import json

from data_engine import Workspace, compile_notebook
from tests.support import WorkspaceFiles

CELLS = (
    "from data_engine import Flow\nLIMIT = 2",
    "def bad(context):\n    return LIMIT",
    "def build():\n    return Flow(group='G').step(bad)",
)


def test_a_replay_cell_changes_neither_module_nor_edit_state(ws: WorkspaceFiles) -> None:
    """With it, anywhere in the notebook, the flow is as deployed, and nothing is warned of."""
    path = ws.notebook("claims", *CELLS)
    workspace = Workspace(ws.root)
    workspace.deploy("claims")
    before, cells = compile_notebook(path), [cell.number for cell in compile_notebook(path).cells]
    notebook = json.loads(path.read_bytes())
    cell = {**notebook["cells"][0], "id": "new", "metadata": {"tags": ["replay"]}}
    cell["source"] = ["%flow replay 1a2b3c4d\n", "LIMIT = bad(context)"]
    notebook["cells"].insert(2, cell)
    path.write_text(json.dumps(notebook))
    after = compile_notebook(path)

    assert after.warnings == before.warnings == ()
    assert [statement.taken for cell in after.cells for statement in cell.statements] == [
        statement.taken for cell in before.cells for statement in cell.statements
    ]
    assert workspace.deployment("claims") == "as deployed"
    assert workspace.load_flow("claims").run_once()[0].current == 2
    assert len(after.cells) >= len(cells)
