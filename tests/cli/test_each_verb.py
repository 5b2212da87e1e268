"""Each verb that a terminal and a cell share, once on each of them."""

from __future__ import annotations

import pytest

from data_engine import Workspace
from data_engine.daemon import link
from data_engine.display_hook import bundle_of
from data_engine.view.verbs import VERBS
from jupyter_extension.magics import run_line
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

ASKED = {
    "list": "",
    "show": "claims",
    "compile": "claims",
    "deploy": "claims --note first",
    "run": "claims --once",
    "runs": "claims",
    "log": "RUN",
    "compare": "RUN RUN",
    "explain": "claims",
    "preview": "claims",
    "golden": "claims --name one --update",
    "test": "claims",
    "plan": "claims",
    "status": "",
    "start": "",
    "enable": "claims",
    "disable": "claims --note Monday",
    "backfill": "--status",
    "retry": "",
    "deployments": "claims",
    "rejected": "claims",
    "tidy": "--yes",
    "reset": "claims --yes",
    "undeploy": "claims",
    "rollback": "claims",
    "restore": "claims --copy",
    "lease": "status",
    "workspace": "list",
    "secret": "list",
    "alert": "history",
    "service": "status",
    "stop": "",
    "kill": "--yes",
    "doctor": "",
    "import": ". --dry-run",
}
"""What is typed of each verb that has a home in `view`, in an order in which each has something to do."""


@pytest.mark.parametrize("surface", ["text", "json", "cell"])
def test_each_verb_answers(surface: str, ws: WorkspaceFiles, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a card, as JSON, and as a value that a cell shows."""
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    notebook = ws.notebook(
        "claims", "from data_engine import Flow\n\ndef build():\n    return Flow(group='C').step(lambda context: [1])"
    )
    monkeypatch.chdir(ws.root)
    wrong = []
    try:
        for name, typed in ASKED.items():
            words = [Workspace(ws.root).runs()[0].run_id if word == "RUN" else word for word in typed.split()]
            if name == "restore":
                notebook.unlink()
            if surface == "cell" and VERBS[name].twin:
                value = run_line(" ".join([name, *words]), {})
                is_good = bundle_of(value) is not None or value == [1]  # what the flow gives
                wrong += [] if is_good else [(name, value)]
            elif surface != "cell":
                answer = cli(name, *words, *(["--json"] if surface == "json" else []))
                is_good = answer.code == 0 and (answer.json is not None if surface == "json" else bool(answer.out))
                wrong += [] if is_good else [(name, answer)]
    finally:
        Workspace(ws.root).kill()
        for known in link._clients.values():
            known.close()

    assert wrong == []
    assert set(ASKED) == {name for name, verb in VERBS.items() if verb.home.startswith("view.")}
