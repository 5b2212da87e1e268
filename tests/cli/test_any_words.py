"""Whatever words a command is given: it ends with an exit code of its own and says what was wrong; no error of Python's comes through."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from data_engine.cli.app import LazyCommand, make_command
from tests.cli.conftest import Answer, Cli
from tests.support import WorkspaceFiles

FLOW = """
    from data_engine import Flow

    def build():
        return Flow(group="G").watch(mode="manual", source="../in").step(lambda context: 1, save_as="one")
"""
LEFT_OUT = {
    "lab": "starts JupyterLab",
    "panel": "starts a server, and a browser",
    "demo": "makes a workspace and starts JupyterLab",
    "docs": "makes the documentation, and opens a browser",
    "start": "starts a daemon",
    "service install": "installs a service of this user",
    "service uninstall": "changes the services of this user",
    "lease request": "starts a daemon",
    "lease take-over": "starts a daemon",
    "lease repair": "starts a daemon",
    "doctor": "measures this machine for seconds; it takes no name",
}
"""Commands that are not called, and why."""
WAITS = ("--watch", "--follow", "--open", "--engine")
"""Options that are not given: they wait, or start what is left out above."""
WORDS = (
    "",
    " ",
    "x" * 3_000,
    "é" * 200,
    "x/" * 3_000,
    "\ud800",
    "\udcff.csv",
    "a\0b",
    "a\nb",
    "\x1b[2J",
    "../..",
    "/dev/null/at/all",
    "*",
    "[",
    "--",
    "-",
    "-1",
    "0",
    "5",
    "1" * 400,
    "1e999",
    "nan",
    "claims",
    "a.csv",
    "{",
    '{"a": 1e999}',
    "[" * 5_000,
    "{" * 5_000,
    "a=" + "x" * 3_000,
    "a=\ud800",
    "=",
    "2013-99-99",
    "99999999999s",
)
RAW = re.compile(r"Traceback|unexpected \w+:|\b\w+Error\b|Exception\b|\[Errno|Bad (?:file|address)")


class Told(NamedTuple):
    """A command, the words that name it, and what it takes."""

    words: tuple[str, ...]
    options: tuple[Any, ...]
    arguments: tuple[Any, ...]


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[Told]:
    """All that are below a command."""
    for name, one in sorted(command.commands.items()):
        one = one.loaded() if isinstance(one, LazyCommand) else one
        if hasattr(one, "commands"):
            yield from commands(one, (*words, name))
            continue
        options = tuple(
            each for each in one.params if each.param_type_name == "option" and not set(each.opts) & set(WAITS)
        )
        arguments = tuple(each for each in one.params if each.param_type_name == "argument")
        yield Told((*words, name), options, arguments)


ALL = [one for one in commands(make_command()) if " ".join(one.words) not in LEFT_OUT]


def lines_of(told: Told) -> Iterator[list[str]]:
    """Wrong words for a command: for each of its arguments and options, then for all at once, and too many."""
    chance = random.Random(" ".join(told.words))
    good = ["claims" for one in told.arguments if one.required]
    for number, _ in enumerate(told.arguments):
        for word in chance.sample(WORDS, 6):
            yield [*good[:number], word, *good[number + 1 :]]
    for option in told.options:
        if option.is_flag:
            continue
        for word in chance.sample(WORDS, 2):
            yield [*good, option.opts[0], word]
    for word in chance.sample(WORDS, 1):
        yield [word] * 30
        yield [option.opts[0] for option in told.options if option.is_flag and "--help" not in option.opts] + [word]
    yield ["--no-such-option"]


@pytest.fixture(autouse=True)
def inside(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.notebook("claims", FLOW)
    ws.source("in/a.csv")
    monkeypatch.chdir(ws.root)
    monkeypatch.setattr("data_engine.cli.app.make_command", cache(make_command))
    monkeypatch.setattr("data_engine.cli.app.LazyCommand.loaded", cache(LazyCommand.loaded))
    monkeypatch.setattr("sys.stdin", io.StringIO())


@pytest.mark.parametrize("told", ALL, ids=[" ".join(one.words) for one in ALL])
def test_no_command_ends_with_a_raw_error(cli: Cli, told: Told) -> None:
    raw: dict[str, str] = {}
    for line in lines_of(told):
        answer = cli(*told.words, *line)
        if (found := trouble(answer, is_json="--json" in line)) is not None:
            raw.setdefault(found, f"{[one[:60] for one in line]}: {found}")
    assert not raw, "\n".join(raw.values())


def trouble(answer: Answer, *, is_json: bool) -> str | None:
    """What is raw in how a command ended."""
    if answer.code not in (0, 1, 2, 3):
        return f"exit code {answer.code}: {answer.err[:600]}"
    told = answer.out if is_json and answer.code else answer.err
    errors = [one for one in told.splitlines() if one.lstrip().startswith(("error", "Traceback", '"what"'))]
    if any(RAW.search(one) for one in errors):
        return f"raw: {told[:900]}"
    return f"no fix: {told[:900]}" if answer.code == 2 and "fix" not in told else None
