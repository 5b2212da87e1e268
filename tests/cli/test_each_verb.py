"""Each verb that a terminal and a cell share, once on each of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data_engine import Workspace
from data_engine.daemon import link
from data_engine.display_hook import bundle_of
from data_engine.view.verbs import GROUPS, VERBS
from jupyter_extension.magics import run_line
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

EVERY_DAY = "demo lab list show preview deploy rollback start stop status run runs log explain"


ASKED = {
    "list": "",
    "show": "claims",
    "compile": "claims",
    "deploy": "claims --note first",
    "run": "claims --once",
    "runs": "claims",
    "log": "RUN",
    "compare": "RUN RUN",
    "replay": "FAILED",
    "explain": "claims",
    "preview": "claims",
    "profile": "one --flow claims",
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
    "lineage": "claims",
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


_VARIES = re.compile(r"[0-9a-f]{8,}|[0-9][0-9:.,-]*|`|%flow|data-engine|!")
"""Ids, times and numbers, which differ from run to run, and how a command is written on each surface."""


def words_of(text: str, root: Path) -> set[str]:
    """The words of an answer, without what differs from run to run."""
    text = text.replace(str(root), "ROOT").replace("warning: ", "").casefold()
    return {word.strip("().:;,…·─") for word in _VARIES.sub(" ", text).split()} - {""}


@pytest.fixture
def asked(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[str, list[str]], Any]], dict[str, Any]]]:
    """Ask each verb once of a workspace with a flow; the answers by name."""
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    notebook = ws.notebook(
        "claims",
        "import polars as pl\nfrom data_engine import Flow\n\ndef build():\n"
        "    flow = Flow(group='C').step(lambda context: pl.DataFrame({'a': [1]}), save_as='one')\n"
        "    return flow.step(lambda context: [1] if not context.params else 1 / 0)",
    )
    monkeypatch.chdir(ws.root)

    def ask(one: Callable[[str, list[str]], Any]) -> dict[str, Any]:
        answers = {}
        for name, typed in ASKED.items():
            if name == "replay":
                Workspace(ws.root).load_flow("claims").run_once(params={"fail": True}, on_error="continue")
            words = [
                Workspace(ws.root).runs()[0].run_id if word in ("RUN", "FAILED") else word for word in typed.split()
            ]
            if name == "restore":
                notebook.unlink()
            answers[name] = one(name, words)
        return answers

    yield ask
    Workspace(ws.root).kill()
    for known in link._clients.values():
        known.close()


@pytest.mark.parametrize("surface", ["text", "json"])
def test_each_verb_answers_in_a_terminal(surface: str, asked: Any, cli: Cli) -> None:
    """As a card, and as JSON."""
    as_json = ["--json"] if surface == "json" else []
    answers = asked(lambda name, words: cli(name, *words, *as_json))

    wrong = [one for one in answers.items() if one[1].code != 0 or (one[1].json is None if as_json else not one[1].out)]
    assert wrong == []
    assert set(ASKED) == {name for name, verb in VERBS.items() if verb.home.startswith("view.")}


LOOKS = ("list", "show", "runs", "log", "explain", "test", "status", "deployments", "rejected", "lineage")


def test_a_cell_says_what_a_terminal_says(
    asked: Any, cli: Cli, ws: WorkspaceFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each verb has an answer in a cell; what only looks is asked in a terminal right after it, and has the same words."""
    differ: dict[str, set[str]] = {}

    def both(name: str, words: list[str]) -> None:
        if not VERBS[name].twin:
            cli(name, *words)
            return
        capsys.readouterr()
        value = run_line(" ".join([name, *words]), {})
        cell = capsys.readouterr().out + (bundle_of(value) or {}).get("text/plain", "")
        assert bundle_of(value) is not None or value == [1], (name, value)
        if name in LOOKS:
            terminal = cli(name, *words)
            differ[name] = words_of(cell, ws.root) ^ words_of(terminal.out + terminal.err, ws.root)

    asked(both)

    assert {name: words for name, words in differ.items() if words} == {}


def test_help_lists_the_fourteen_of_every_day_first(cli: Cli) -> None:
    """What is typed now and then is in the groups below."""
    assert list(GROUPS["Every day"]) == EVERY_DAY.split()
    first, others = cli("--help").out.split("Notebooks and deployments")
    assert ("rollback" in first, "profile" in first, "profile" in others) == (True, False, True)
