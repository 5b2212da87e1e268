"""With `[deploy] gate = "golden"` nothing goes live whose goldens do not hold, unless somebody approves that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import FlowValidationError
from data_engine.client import Workspace
from tests.cli.conftest import Cli, cli
from tests.plan.production import FLOW, Production
from tests.support import PATIENCE

__all__ = ["cli"]
GATE = '[deploy]\nmode = "ask"\ngate = "golden"\n'


@pytest.fixture
def gated(production: Production, monkeypatch: pytest.MonkeyPatch) -> Production:
    production.ws.load_flow("sales").golden("clean_df", "april.csv", key="id")
    production.files.source("config/data_engine.toml", GATE)
    monkeypatch.chdir(production.files.root)
    return production


def runs(production: Production) -> int:
    """How many deployments of the flow there are."""
    return len(production.ws.deployments("sales"))


def test_a_deploy_whose_goldens_differ_is_refused_with_the_difference(gated: Production, cli: Cli) -> None:
    """Production goes on as it was."""
    gated.edit(least="1")

    answer = cli("deploy", "sales")

    assert answer.code == 1
    assert "1 of its goldens does not hold: clean_df-april.csv differs: 1 row removed" in answer.out
    assert "--approve" in answer.out
    assert runs(gated) == 1
    assert gated.ws.deployment("sales") == "edited, not deployed: cell 3"


def test_it_goes_through_when_approved_and_it_is_recorded_who_did(gated: Production, cli: Cli) -> None:
    """In the history, with the note."""
    gated.edit(least="1")

    assert cli("deploy", "sales", "--approve", "--note", "no more ones").code == 0

    newest = gated.ws.deployments("sales")[0]
    assert newest.note == f"no more ones [goldens approved by {newest.who}]"


def test_an_edit_that_keeps_its_goldens_goes_through(gated: Production) -> None:
    """So does one whose goldens were updated, and a flow without any."""
    gated.edit(least="0.5")
    assert gated.ws.deploy("sales")[0].error is None
    gated.edit(least="1")
    with pytest.raises(FlowValidationError):
        gated.ws.deploy("sales")
    gated.ws.test("sales", update=True)
    assert gated.ws.deploy("sales")[0].error is None
    gated.files.module("other", "from data_engine import Flow\ndef build(): return Flow('G').step(str)")

    assert [entry.error for entry in gated.ws.deploy()] == [None, None]


def test_a_golden_that_ends_its_process_holds_up_its_deploy_only(gated: Production) -> None:
    """And says so."""
    gated.edit(FLOW.replace("def clean(context):", "def clean(context):\n    import os; os._exit(3)"), least="0")

    with pytest.raises(FlowValidationError) as caught:
        gated.ws.deploy("sales")

    assert caught.value.what == "sales is not deployed: its goldens could not be run: its process ended (exit code 3)"


def test_a_rollback_is_not_held_up_and_says_so(gated: Production, cli: Cli) -> None:
    """What ran before was right before."""
    gated.edit(least="1")
    gated.ws.deploy("sales", approve=True)

    answer = cli("rollback", "sales")

    assert answer.code == 0
    assert "The goldens were not run: a rollback is never held up by them." in answer.out


@pytest.fixture
def daemon(gated: Production) -> Iterator[Workspace]:
    gated.ws.start()
    yield gated.ws
    gated.ws.kill()


def test_a_daemon_holds_back_too(gated: Production, daemon: Workspace) -> None:
    """The same words, and the same way on."""
    gated.edit(least="1")

    with pytest.raises(FlowValidationError, match=r"clean_df-april\.csv differs: 1 row removed"):
        daemon.deploy("sales")

    assert daemon.deploy("sales", approve=True)[0].error is None
    assert "[goldens approved by " in daemon.deployments("sales")[0].note


def test_what_goes_live_by_itself_is_held_back_until_the_golden_is_right(gated: Production) -> None:
    """The status says why; an update of the golden lets it go."""
    gated.files.source("config/data_engine.toml", GATE.replace("ask", "auto") + 'quiet = "0s"\n')
    gated.ws.start()
    gated.ws.start_engine()
    try:
        gated.edit(least="1")
        _until(lambda: "does not hold" in (gated.ws.status().flows[0].edit or ""))
        assert runs(gated) == 1

        gated.ws.test("sales", update=True)

        _until(lambda: runs(gated) == 2)
    finally:
        gated.ws.kill()


def _until(is_so: object, limit_s: float = 40.0) -> None:
    assert callable(is_so)
    end_s = time.monotonic() + limit_s * PATIENCE
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.1)


def test_a_wrong_gate_is_refused(production: Production, cli: Cli, tmp_path: Path) -> None:
    """With the two words it may be."""
    production.files.source("config/data_engine.toml", '[deploy]\ngate = "goldens"\n')

    answer = cli("--workspace", production.files.root, "deploy", "sales")

    assert answer.code == 2
    assert "none" in answer.err
    assert "golden" in answer.err


def test_goldens_hold_up_the_deploy_of_a_renamed_flow(gated: Production, cli: Cli) -> None:
    """They follow its notebook, and are asked for under the new name."""
    gated.edit(least="1")
    modules = gated.files.root / "flow_modules"
    (modules / "sales.ipynb").rename(modules / "monthly.ipynb")

    answer = cli("deploy", "monthly")

    assert answer.code == 1
    assert "goldens" in answer.err + answer.out
    assert [one.flow for one in gated.ws.test()] == ["monthly"]
