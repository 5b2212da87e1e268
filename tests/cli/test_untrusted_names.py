"""A name or a text that somebody else wrote is printed, and never obeyed by the terminal; programs get it exactly."""

from __future__ import annotations

import json
import os
import re

import pytest

from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

EVIL = "a\x1b[2J\x1b]0;owned\x07\r\nSPOOFED\x9b31m\u202egnp\u2066\u200e\x7f"
NAME = f"{EVIL}.csv"
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
FLOW = """
    from pathlib import Path
    from data_engine import Flow

    EVIL = {evil!r}

    def work(context):
        context.log(EVIL, level="WARNING")
        if not context.source.path.read_text():
            raise ValueError(EVIL)
        path = context.mirror.file(EVIL + ".txt")
        path.write_text("x")
        return path

    def build():
        return (
            Flow(group=EVIL.replace("\\n", ""), label=EVIL.replace("\\n", "")).watch(mode="poll", source="../in", interval="1h", settle=0)
            .mirror(root="../out").step(work, label=EVIL.replace("\\n", ""))
        )
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no file of Windows has such a name")


@pytest.mark.parametrize("is_styled", [False, True])
def test_no_command_prints_what_a_terminal_obeys(
    ws: WorkspaceFiles, cli: Cli, monkeypatch: pytest.MonkeyPatch, is_styled: bool
) -> None:
    """Of names of files, labels, notes, log lines and errors; as plain text, and as Rich draws it."""
    if is_styled:
        monkeypatch.setenv("FORCE_COLOR", "1")
    ws.module("evil", FLOW.format(evil=EVIL))
    ws.source(f"in/{NAME}", "x")
    ws.source(f"in/bad {NAME}", "")
    at = ("--workspace", ws.root)
    path = ws.root / "in" / NAME
    runs, wrong = [], []

    for words in (
        ("list",),
        ("list", "evil"),
        ("deploy", "evil", "--note", EVIL),
        ("deployments", "evil"),
        ("run", "--once", "evil"),
        ("run", "--once", "evil", "--source", path),
        ("run", "--once", "evil", "--source", f"{path}.none"),
        ("runs",),
        ("log", "evil"),
        ("explain", "evil"),
        ("explain", path),
        ("explain", f"{path}.none"),
        ("retry", "evil", "--source", path),
        ("disable", "evil", "--note", EVIL),
        ("status",),
        ("doctor",),
        ("compile", "--check"),
        ("preview", "evil", "--source", path),
        ("plan", "evil"),
        ("tidy",),
        ("rejected",),
        ("undeploy", "evil"),
        ("rollback", "evil"),
        ("run", "--once", EVIL),
        (EVIL,),
    ):
        found = cli(*at, *words)
        runs.append(found)
        for text in (found.out, found.err):
            text = re.sub(r"\x1b\[[0-9;]*m", "", text) if is_styled else text
            wrong += [(words, line) for line in text.split("\n") if OBEYED.search(line) or line.startswith("SPOOFED")]

    assert wrong == []
    assert sum("SPOOFED" in one.out + one.err for one in runs) > 9
    assert r"\x1b[2J" in "".join(one.out for one in runs)


def test_programs_get_the_name_as_it_is(ws: WorkspaceFiles, cli: Cli) -> None:
    """In JSON that no terminal obeys either."""
    ws.module("evil", FLOW.format(evil=EVIL))
    ws.source(f"in/{NAME}", "x")
    cli("--workspace", ws.root, "run", "--once", "evil")

    found = cli("--workspace", ws.root, "runs", "--json")

    assert [run["source"] for run in json.loads(found.out)] == [str(ws.root / "in" / NAME)]
    assert not OBEYED.search(found.out)
