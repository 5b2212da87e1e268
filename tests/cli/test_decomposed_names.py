"""A flow whose file a Mac named, with letters in two parts, is found by its name as everybody types it."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from data_engine import FlowValidationError, Workspace
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

FLOW = "from data_engine import Flow\ndef build():\n    return Flow(group='G').step(print)"
TYPED = "täglich"
FILED = unicodedata.normalize("NFD", TYPED)

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="there both are one name")


@pytest.fixture(autouse=True)
def inside(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    ws.notebook(FILED, FLOW)
    monkeypatch.chdir(ws.root)


def test_each_command_finds_it(cli: Cli) -> None:
    for words in (
        *(("compile", TYPED), ("deploy", TYPED), ("show", TYPED), ("explain", TYPED), ("run", "--once", TYPED)),
        *(("runs", TYPED), ("deployments", TYPED), ("disable", TYPED), ("enable", TYPED), ("undeploy", TYPED)),
    ):
        answer = cli(*words)
        assert answer.code == 0, (words, answer)
    assert cli("runs", TYPED, "--json").json[0]["flow"] == FILED


def test_a_name_that_is_there_as_it_was_typed_is_that(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.notebook(TYPED, FLOW)

    assert cli("compile", TYPED, "--json").json["name"] == TYPED
    assert cli("compile", FILED, "--json").json["name"] == FILED


def test_python_says_how_it_is_written(ws: WorkspaceFiles) -> None:
    with pytest.raises(FlowValidationError) as caught:
        Workspace(ws.root).load_flow(TYPED)

    assert "is written with other characters that look the same" in (caught.value.fix or "")
    assert "'ta\\u0308glich'" in (caught.value.fix or "")
