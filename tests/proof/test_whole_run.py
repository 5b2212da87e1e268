"""`data-engine compile NAME --run`: the whole notebook in a fresh kernel, compared; production is not touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine.engine.local_workspace import local_workspace
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.proof.kernel import run_and_compare
from data_engine.proof.verdict_store import compared, last_verdict
from tests.support import WorkspaceFiles

CELLS = (
    "from data_engine import Flow\nRATES = {'EUR': 1.0}",
    "def rates(context):\n    return RATES\ndef build():\n    return Flow(group='G').step(rates)",
    "kept = vars()['RATES']\nkept['EUR'] = 1.1",
)


def test_a_notebook_is_executed_and_compared_and_its_verdict_is_kept(ws: WorkspaceFiles) -> None:
    """What a left-out cell changes is named with the cell; terminals tell it from then on."""
    path = ws.notebook("claims", *CELLS)
    home = local_workspace(ws.root)

    verdict = run_and_compare(home, path)

    assert [str(one) for one in verdict.differences] == [
        "`RATES['EUR']` is 1.1 here, 1.0 in production: cell 3 changes it and is left out"
    ]
    assert last_verdict(home, "claims") == verdict
    found = compared(home, path)
    assert found is not None
    assert found.differences == tuple(map(str, verdict.differences))


def test_productions_verbs_are_refused_there(ws: WorkspaceFiles, capfd: pytest.CaptureFixture[str]) -> None:
    """A cell that deploys fails, and nothing was deployed; so does one that raises. The kernel's own warnings are not shown."""
    path = ws.notebook("claims", *CELLS[:2], "build().run_once()")
    home = local_workspace(ws.root)

    with pytest.raises(FlowExecutionError, match="run_once is refused") as caught:
        run_and_compare(home, path)

    assert caught.value.cell == "claims.ipynb, cell 3"
    assert "import" not in caught.value.what
    assert "WARNING" not in capfd.readouterr().err
    assert last_verdict(home, "claims") is None


@pytest.mark.parametrize("verb", ["deploy", "run", "enable", "rollback"])
def test_each_verb_of_production_is_refused_in_a_trial(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Whatever asks the daemon or commits here."""
    from data_engine import Workspace

    ws.notebook("claims", *CELLS[:2])
    monkeypatch.setattr("data_engine.trial._is_trial", True)

    with pytest.raises(FlowValidationError, match="is refused while"):
        getattr(Workspace(ws.root), verb)("claims")


def test_a_module_has_nothing_to_compare(ws: WorkspaceFiles) -> None:
    """It runs whole."""
    with pytest.raises(FlowValidationError, match="production runs the whole of it"):
        run_and_compare(local_workspace(ws.root), Path("claims.py"))
